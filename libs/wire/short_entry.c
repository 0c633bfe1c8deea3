/* SPDX-License-Identifier: Apache-2.0
 *
 * Short entries (T6): a short frame (W10) of a bound flow, without what the binding knows. Payload and check, or packet
 * number and tag, travel untouched.
 */
#include <string.h>

#include "bytes.h"
#include "entry.h"
#include "frame.h"

enum {
    BIT_ACK = 0x20,
    BIT_SEALED = 0x10,
    BIT_WIDE = 0x08, /* 2 index bytes beside the 3 bits of the first byte, else 1 */
    INDEX_TOP_BITS = 0x07,
    INDEX_NARROW_MAX = 2047, /* 3 + 8 bits */
    FOUR_BITS_MAX = 15,
    PAYLOAD_BYTES_MAX = UINT8_MAX,
};
_Static_assert(PMW_ENTRY_INDEX_MAX == (1 << 19) - 1, "3 + 16 bits");

static size_t trailer_bytes(const struct pmw_short *e)
{
    return e->sealed ? PMW_SEAL_BYTES : PMW_CHECK_BYTES;
}

/* First byte, index, epoch and generation, seq, ack, and the length of what has one. */
static size_t head_bytes(bool wide, bool is_ack)
{
    return 1 + (wide ? 2 : 1) + 1 + 2 + 2 + (is_ack ? 0 : 1);
}

int pmw_short_encode(uint8_t *buf, size_t cap, const struct pmw_short *e)
{
    if (e->index > PMW_ENTRY_INDEX_MAX || e->epoch4 > FOUR_BITS_MAX || e->generation > FOUR_BITS_MAX)
        return PMW_ERR_LIMIT;
    if (e->is_ack && e->payload_len != 0)
        return PMW_ERR_LENGTH;
    bool wide = e->index > INDEX_NARROW_MAX;
    size_t head = head_bytes(wide, e->is_ack), rest = e->payload_len + trailer_bytes(e);
    if (head + rest > cap)
        return PMW_ERR_SPACE;
    uint8_t *p = buf;
    *p++ = (uint8_t)(PMW_ENTRY_SHORT | (e->is_ack ? BIT_ACK : 0) | (e->sealed ? BIT_SEALED : 0) |
                     (wide ? BIT_WIDE | e->index >> 16 : e->index >> 8));
    if (wide)
        *p++ = (uint8_t)(e->index >> 8);
    *p++ = (uint8_t)e->index;
    *p++ = (uint8_t)(e->epoch4 << 4 | e->generation);
    put16(p, e->seq);
    put16(p + 2, e->ack);
    p += 4;
    if (!e->is_ack)
        *p++ = e->payload_len;
    memcpy(p, e->payload, rest);
    return (int)(head + rest);
}

int short_entry_decode(const uint8_t *p, size_t left, struct pmw_any_entry *out)
{
    bool is_ack = (p[0] & BIT_ACK) != 0, wide = (p[0] & BIT_WIDE) != 0;
    size_t head = head_bytes(wide, is_ack);
    if (left < head)
        return PMW_ERR_ENTRY;
    struct pmw_short e = {.is_ack = is_ack, .sealed = (p[0] & BIT_SEALED) != 0, .payload = p + head};
    uint32_t top = p[0] & INDEX_TOP_BITS;
    e.index = wide ? top << 16 | get16(p + 1) : top << 8 | p[1];
    if (wide && e.index <= INDEX_NARROW_MAX) /* one way to write each index */
        return PMW_ERR_ENTRY;
    const uint8_t *q = p + (wide ? 3 : 2);
    e.epoch4 = q[0] >> 4;
    e.generation = q[0] & 0x0f;
    e.seq = get16(q + 1);
    e.ack = get16(q + 3);
    e.payload_len = is_ack ? 0 : q[5];
    size_t taken = head + e.payload_len + trailer_bytes(&e);
    if (left < taken)
        return PMW_ERR_ENTRY;
    out->kind = PMW_ENTRY_SHORT;
    out->as_short = e;
    return (int)taken;
}

bool pmw_short_of_frame(const uint8_t *frame, size_t len, struct pmw_short *out)
{
    struct pmw_frame f;
    if (pmw_frame_decode(frame, len, &f) != 0 || (f.flags & PMW_F_SHORT) == 0 || f.payload_len > PAYLOAD_BYTES_MAX)
        return false;
    *out = (struct pmw_short){
        .is_ack = f.type == PMW_ACK,
        .sealed = (f.flags & PMW_F_SEALED) != 0,
        .epoch4 = f.epoch8,
        .seq = (uint16_t)f.seq,
        .ack = (uint16_t)f.ack,
        .payload_len = (uint8_t)f.payload_len,
        .payload = f.payload,
    };
    return true;
}

int pmw_short_to_frame(uint8_t *buf, size_t cap, const struct pmw_short *e, uint64_t cid)
{
    if (e->epoch4 > PMW_SHORT_EPOCH_MAX)
        return PMW_ERR_LIMIT;
    if (e->is_ack && e->payload_len != 0)
        return PMW_ERR_LENGTH;
    size_t rest = e->payload_len + trailer_bytes(e);
    if (PMW_SHORT_HEADER_BYTES + rest > cap)
        return PMW_ERR_SPACE;
    memmove(buf + PMW_SHORT_HEADER_BYTES, e->payload, rest);
    buf[0] = PMW_FIRST_BYTE(e->is_ack ? PMW_ACK : PMW_DATA);
    buf[1] = (uint8_t)(PMW_F_SHORT | (e->sealed ? PMW_F_SEALED : PMW_F_CHECK));
    buf[2] = e->epoch4;
    buf[3] = 0;
    put64(buf + 4, cid);
    put16(buf + 12, e->seq);
    put16(buf + 14, e->ack);
    return (int)(PMW_SHORT_HEADER_BYTES + rest);
}
