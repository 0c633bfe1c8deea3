/* SPDX-License-Identifier: Apache-2.0
 *
 * DATA and ACK, long and short (W10): the frames of one connection, protected by a seeded CRC32C (W7) or, sealed, by
 * an AEAD (aead.c, W11).
 */
#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "frame.h"
#include "postman/wire.h"

/* What a short frame may not carry because it has no room for it, and would have to be guessed otherwise (W10). */
static int short_rules(const struct pmw_frame *f)
{
    if ((f->flags & ~PMW_FLAGS_SHORT) != 0)
        return PMW_ERR_FLAGS;
    if (f->tx != 0 || f->tx_echo != 0 || f->epoch8 > PMW_SHORT_EPOCH_MAX || f->window != PMW_WINDOW_SILENT)
        return PMW_ERR_RESERVED;
    return f->seq > UINT16_MAX || f->ack > UINT16_MAX ? PMW_ERR_LIMIT : 0;
}

/* What makes a frame legal beside its length; the same rules when it is written and when it is read. */
static int frame_rules(const struct pmw_frame *f)
{
    if (f->type != PMW_DATA && f->type != PMW_ACK)
        return PMW_ERR_TYPE;
    if ((f->flags & ~PMW_FLAGS_KNOWN) != 0)
        return PMW_ERR_FLAGS;
    if (((f->flags & PMW_F_CHECK) != 0) == ((f->flags & PMW_F_SEALED) != 0))
        return PMW_ERR_FLAGS; /* exactly one of the two protects it */
    if (f->type == PMW_ACK && (f->flags & PMW_F_FIN) != 0)
        return PMW_ERR_FLAGS;
    if (((f->flags & PMW_F_SACK) != 0) != (f->nb_sacks > 0))
        return PMW_ERR_FLAGS;
    if (f->nb_sacks > PMW_SACK_MAX || f->payload_len > PMW_PAYLOAD_BYTES_MAX || f->tx > PMW_TX_MAX ||
        f->tx_echo > PMW_TX_MAX)
        return PMW_ERR_LIMIT;
    if (f->type == PMW_ACK && f->payload_len != 0)
        return PMW_ERR_LENGTH;
    for (unsigned i = 0; i < f->nb_sacks; i++) {
        if (f->sacks[i].len == 0)
            return PMW_ERR_LIMIT;
    }
    return (f->flags & PMW_F_SHORT) != 0 ? short_rules(f) : 0;
}

static size_t sack_bytes(const struct pmw_frame *f)
{
    return f->nb_sacks > 0 ? 1 + (size_t)f->nb_sacks * PMW_SACK_RANGE_BYTES : 0;
}

static void long_header_put(uint8_t *buf, const struct pmw_frame *f)
{
    put32(buf + 12, f->seq);
    put32(buf + 16, f->ack);
    put16(buf + 20, f->window);
    put16(buf + 22, f->payload_len);
    uint8_t *p = buf + PMW_FRAME_HEADER_BYTES;
    if (f->nb_sacks > 0)
        *p++ = f->nb_sacks;
    for (unsigned i = 0; i < f->nb_sacks; i++, p += PMW_SACK_RANGE_BYTES) {
        put32(p, f->sacks[i].start);
        put16(p + 4, f->sacks[i].len);
    }
}

static size_t head_bytes(const struct pmw_frame *f)
{
    return (f->flags & PMW_F_SHORT) != 0 ? (size_t)PMW_SHORT_HEADER_BYTES : PMW_FRAME_HEADER_BYTES + sack_bytes(f);
}

int pmw_frame_encode(uint8_t *buf, size_t cap, const struct pmw_frame *f, const uint8_t *payload)
{
    int rc = frame_rules(f);
    if (rc != 0)
        return rc;
    size_t head = head_bytes(f), trailer = frame_trailer_bytes(f->flags);
    size_t len = head + f->payload_len + trailer;
    if (len > cap)
        return PMW_ERR_SPACE;
    buf[0] = PMW_FIRST_BYTE(f->type);
    buf[1] = f->flags;
    buf[2] = f->epoch8;
    buf[3] = (uint8_t)(f->tx << 4 | f->tx_echo);
    put64(buf + 4, f->cid);
    if ((f->flags & PMW_F_SHORT) != 0) {
        put16(buf + 12, (uint16_t)f->seq);
        put16(buf + 14, (uint16_t)f->ack);
    } else {
        long_header_put(buf, f);
    }
    if (f->payload_len > 0 && payload != buf + head) /* else the caller has put it in its place */
        memcpy(buf + head, payload, f->payload_len);
    memset(buf + len - trailer, 0, trailer);
    if ((f->flags & PMW_F_SEALED) != 0)
        put32(buf + len - trailer, f->packet_number);
    return (int)len;
}

/* Reads the count and the ranges at offset 24; their bytes must lie before the trailer. */
static int sacks_decode(const uint8_t *buf, size_t len, size_t trailer, struct pmw_frame *out)
{
    const uint8_t *p = buf + PMW_FRAME_HEADER_BYTES;
    if (len < PMW_FRAME_HEADER_BYTES + 1 + trailer)
        return PMW_ERR_SHORT;
    out->nb_sacks = *p++;
    if (out->nb_sacks == 0 || out->nb_sacks > PMW_SACK_MAX)
        return PMW_ERR_LIMIT;
    if (len < PMW_FRAME_HEADER_BYTES + sack_bytes(out) + trailer)
        return PMW_ERR_SHORT;
    for (unsigned i = 0; i < out->nb_sacks; i++, p += PMW_SACK_RANGE_BYTES) {
        out->sacks[i].start = get32(p);
        out->sacks[i].len = get16(p + 4);
    }
    return 0;
}

static int long_decode(const uint8_t *buf, size_t len, size_t trailer, struct pmw_frame *out)
{
    out->seq = get32(buf + 12);
    out->ack = get32(buf + 16);
    out->window = get16(buf + 20);
    out->payload_len = get16(buf + 22);
    return (out->flags & PMW_F_SACK) != 0 ? sacks_decode(buf, len, trailer, out) : 0;
}

/* The payload's length is what the datagram leaves: nothing else could say it, so no length can contradict. */
static int short_decode(const uint8_t *buf, size_t len, size_t trailer, struct pmw_frame *out)
{
    size_t payload_len = len - PMW_SHORT_HEADER_BYTES - trailer;
    if (payload_len > PMW_PAYLOAD_BYTES_MAX)
        return PMW_ERR_LIMIT;
    out->seq = get16(buf + 12);
    out->ack = get16(buf + 14);
    out->window = PMW_WINDOW_SILENT;
    out->payload_len = (uint16_t)payload_len;
    return 0;
}

int pmw_frame_decode(const uint8_t *buf, size_t len, struct pmw_frame *out)
{
    int type = pmw_type_of(buf, len);
    if (type < 0)
        return type;
    if (type != PMW_DATA && type != PMW_ACK)
        return PMW_ERR_TYPE;
    if (len < 2 || len < frame_bytes_min(buf[1]))
        return PMW_ERR_SHORT;
    bool is_short = (buf[1] & PMW_F_SHORT) != 0;
    size_t trailer = frame_trailer_bytes(buf[1]);
    *out = (struct pmw_frame){
        .type = (uint8_t)type,
        .flags = buf[1],
        .epoch8 = buf[2],
        .tx = buf[3] >> 4,
        .tx_echo = buf[3] & 0x0f,
        .cid = get64(buf + 4),
    };
    int rc = is_short ? short_decode(buf, len, trailer, out) : long_decode(buf, len, trailer, out);
    if (rc == 0)
        rc = frame_rules(out);
    if (rc != 0)
        return rc;
    size_t at = head_bytes(out), expected = at + out->payload_len + trailer;
    if (len != expected)
        return len < expected ? PMW_ERR_SHORT : PMW_ERR_LENGTH;
    out->payload = buf + at;
    if ((out->flags & PMW_F_SEALED) != 0)
        out->packet_number = get32(buf + len - trailer);
    return 0;
}

/* How many bytes before the payload: 0 when the SACK count cannot be read. */
size_t frame_head_bytes(const uint8_t *buf, size_t len)
{
    if (len < 2 || len < frame_bytes_min(buf[1]))
        return 0;
    if ((buf[1] & PMW_F_SHORT) != 0)
        return PMW_SHORT_HEADER_BYTES;
    if ((buf[1] & PMW_F_SACK) == 0)
        return PMW_FRAME_HEADER_BYTES;
    if (len < PMW_FRAME_HEADER_BYTES + 1 + frame_trailer_bytes(buf[1]))
        return 0;
    size_t head = PMW_FRAME_HEADER_BYTES + 1 + (size_t)buf[PMW_FRAME_HEADER_BYTES] * PMW_SACK_RANGE_BYTES;
    return buf[PMW_FRAME_HEADER_BYTES] <= PMW_SACK_MAX && head + frame_trailer_bytes(buf[1]) <= len ? head : 0;
}

size_t frame_meaning(uint8_t out[FRAME_MEANING_BYTES_MAX], const uint8_t *buf, size_t head,
                     const struct pmw_check_seed *seed)
{
    put64(out, seed->cid);
    put64(out + 8, seed->seq);
    put64(out + 16, seed->ack);
    put32(out + 24, seed->epoch);
    out[28] = buf[0];
    out[29] = buf[1] & (uint8_t)~PMW_F_URGENT; /* how a helper treated it, and it may be lost on the way (T6) */
    if ((buf[1] & PMW_F_SHORT) != 0)
        return 30;
    out[30] = buf[3];
    memcpy(out + 31, buf + 20, head - 20);
    return 31 + head - 20;
}

/* Over the secret, what the header means, and the payload; head as frame_head_bytes gave it. */
static uint32_t frame_crc(const uint8_t *buf, size_t len, size_t head, const struct pmw_check_seed *seed)
{
    uint8_t before[8 + FRAME_MEANING_BYTES_MAX];
    put64(before, seed->secret);
    size_t n = 8 + frame_meaning(before + 8, buf, head, seed);
    return pmw_crc32c(pmw_crc32c(0, before, n), buf + head, len - head - PMW_CHECK_BYTES);
}

void pmw_frame_seal(uint8_t *buf, size_t len, const struct pmw_check_seed *seed)
{
    size_t head = frame_head_bytes(buf, len);
    assert(head != 0 && (buf[1] & PMW_F_SEALED) == 0);
    put32(buf + len - PMW_CHECK_BYTES, frame_crc(buf, len, head, seed));
}

bool pmw_frame_check(const uint8_t *buf, size_t len, const struct pmw_check_seed *seed)
{
    size_t head = frame_head_bytes(buf, len);
    if (head == 0 || (buf[1] & PMW_F_SEALED) != 0)
        return false;
    return get32(buf + len - PMW_CHECK_BYTES) == frame_crc(buf, len, head, seed);
}
