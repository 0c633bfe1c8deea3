/* SPDX-License-Identifier: Apache-2.0
 *
 * DATA and ACK: the frames of one connection, protected by a seeded CRC32C (W7).
 */
#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "postman/wire.h"

enum { SEED_BYTES = 8 + 8 + 8 + 8 + 4 };

/* What makes a frame legal beside its length; the same rules when it is written and when it is read. */
static int frame_rules(const struct pmw_frame *f)
{
    if (f->type != PMW_DATA && f->type != PMW_ACK)
        return PMW_ERR_TYPE;
    if ((f->flags & ~PMW_FLAGS_KNOWN) != 0 || (f->flags & PMW_F_CHECK) == 0)
        return PMW_ERR_FLAGS;
    if (f->type == PMW_ACK && (f->flags & PMW_F_FIN) != 0)
        return PMW_ERR_FLAGS;
    if (((f->flags & PMW_F_SACK) != 0) != (f->nb_sacks > 0))
        return PMW_ERR_FLAGS;
    if (f->nb_sacks > PMW_SACK_MAX || f->payload_len > PMW_PAYLOAD_BYTES_MAX)
        return PMW_ERR_LIMIT;
    if (f->type == PMW_ACK && f->payload_len != 0)
        return PMW_ERR_LENGTH;
    for (unsigned i = 0; i < f->nb_sacks; i++) {
        if (f->sacks[i].len == 0)
            return PMW_ERR_LIMIT;
    }
    return 0;
}

static size_t sack_bytes(const struct pmw_frame *f)
{
    return f->nb_sacks > 0 ? 1 + (size_t)f->nb_sacks * PMW_SACK_RANGE_BYTES : 0;
}

int pmw_frame_encode(uint8_t *buf, size_t cap, const struct pmw_frame *f, const uint8_t *payload)
{
    int rc = frame_rules(f);
    if (rc != 0)
        return rc;
    size_t len = PMW_FRAME_HEADER_BYTES + sack_bytes(f) + f->payload_len + PMW_CHECK_BYTES;
    if (len > cap)
        return PMW_ERR_SPACE;
    buf[0] = PMW_FIRST_BYTE(f->type);
    buf[1] = f->flags;
    buf[2] = f->epoch8;
    buf[3] = f->tx;
    put64(buf + 4, f->cid);
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
    if (f->payload_len > 0)
        memcpy(p, payload, f->payload_len);
    memset(p + f->payload_len, 0, PMW_CHECK_BYTES);
    return (int)len;
}

/* Reads the count and the ranges at offset 24; their bytes must lie before the check. */
static int sacks_decode(const uint8_t *buf, size_t len, struct pmw_frame *out)
{
    const uint8_t *p = buf + PMW_FRAME_HEADER_BYTES;
    if (len < PMW_FRAME_HEADER_BYTES + 1 + PMW_CHECK_BYTES)
        return PMW_ERR_SHORT;
    out->nb_sacks = *p++;
    if (out->nb_sacks == 0 || out->nb_sacks > PMW_SACK_MAX)
        return PMW_ERR_LIMIT;
    if (len < PMW_FRAME_HEADER_BYTES + sack_bytes(out) + PMW_CHECK_BYTES)
        return PMW_ERR_SHORT;
    for (unsigned i = 0; i < out->nb_sacks; i++, p += PMW_SACK_RANGE_BYTES) {
        out->sacks[i].start = get32(p);
        out->sacks[i].len = get16(p + 4);
    }
    return 0;
}

int pmw_frame_decode(const uint8_t *buf, size_t len, struct pmw_frame *out)
{
    int type = pmw_type_of(buf, len);
    if (type < 0)
        return type;
    if (len < PMW_FRAME_HEADER_BYTES + PMW_CHECK_BYTES)
        return PMW_ERR_SHORT;
    *out = (struct pmw_frame){
        .type = (uint8_t)type,
        .flags = buf[1],
        .epoch8 = buf[2],
        .tx = buf[3],
        .cid = get64(buf + 4),
        .seq = get32(buf + 12),
        .ack = get32(buf + 16),
        .window = get16(buf + 20),
        .payload_len = get16(buf + 22),
    };
    int rc = (out->flags & PMW_F_SACK) != 0 ? sacks_decode(buf, len, out) : 0;
    if (rc == 0)
        rc = frame_rules(out);
    if (rc != 0)
        return rc;
    size_t at = PMW_FRAME_HEADER_BYTES + sack_bytes(out);
    size_t expected = at + out->payload_len + PMW_CHECK_BYTES;
    if (len != expected)
        return len < expected ? PMW_ERR_SHORT : PMW_ERR_LENGTH;
    out->payload = buf + at;
    return 0;
}

/* CRC32C over secret 8, cid 8, seq 8, ack 8, epoch 4, then the frame without its check. */
static uint32_t frame_crc(const uint8_t *buf, size_t len, const struct pmw_check_seed *seed)
{
    uint8_t s[SEED_BYTES];
    put64(s, seed->secret);
    put64(s + 8, seed->cid);
    put64(s + 16, seed->seq);
    put64(s + 24, seed->ack);
    put32(s + 32, seed->epoch);
    return pmw_crc32c(pmw_crc32c(0, s, sizeof(s)), buf, len - PMW_CHECK_BYTES);
}

void pmw_frame_seal(uint8_t *buf, size_t len, const struct pmw_check_seed *seed)
{
    assert(len >= PMW_FRAME_HEADER_BYTES + PMW_CHECK_BYTES);
    put32(buf + len - PMW_CHECK_BYTES, frame_crc(buf, len, seed));
}

bool pmw_frame_check(const uint8_t *buf, size_t len, const struct pmw_check_seed *seed)
{
    if (len < PMW_FRAME_HEADER_BYTES + PMW_CHECK_BYTES)
        return false;
    return get32(buf + len - PMW_CHECK_BYTES) == frame_crc(buf, len, seed);
}
