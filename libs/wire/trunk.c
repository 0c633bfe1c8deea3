/* SPDX-License-Identifier: Apache-2.0
 *
 * Trunk batches: the header, long entries (T3), and the walk over the entries of all kinds.
 */
#include <string.h>

#include "bytes.h"
#include "entry.h"

/* A field that no flag gives a meaning is zero, so that there is one way to write a header. */
static int trunk_rules(const struct pmw_trunk *h)
{
    if ((h->flags & ~(PMW_TRUNK_ACKS | PMW_TRUNK_CREDIT)) != 0)
        return PMW_ERR_FLAGS;
    if ((h->flags & PMW_TRUNK_ACKS) == 0 && (h->ack_batch != 0 || h->ack_bits != 0))
        return PMW_ERR_RESERVED;
    if ((h->flags & PMW_TRUNK_CREDIT) == 0 && h->credit != 0)
        return PMW_ERR_RESERVED;
    return h->nb_entries > PMW_TRUNK_ENTRIES_MAX ? PMW_ERR_LIMIT : 0;
}

int pmw_trunk_encode(uint8_t *buf, size_t cap, const struct pmw_trunk *h)
{
    int rc = trunk_rules(h);
    if (rc != 0)
        return rc;
    if (cap < PMW_TRUNK_HEADER_BYTES)
        return PMW_ERR_SPACE;
    buf[0] = PMW_FIRST_BYTE(PMW_TRUNK);
    buf[1] = h->flags;
    put16(buf + 2, h->nb_entries);
    put16(buf + 4, h->helper_id);
    buf[6] = h->worker;
    buf[7] = h->shard;
    put32(buf + 8, h->incarnation);
    put32(buf + 12, h->batch_seq);
    put32(buf + 16, h->ack_batch);
    put32(buf + 20, h->ack_bits);
    put32(buf + 24, h->credit);
    put16(buf + 28, h->hold_us);
    put16(buf + 30, h->ce_count);
    return PMW_TRUNK_HEADER_BYTES;
}

int pmw_trunk_decode(const uint8_t *buf, size_t len, struct pmw_trunk *out)
{
    int type = pmw_type_of(buf, len);
    if (type < 0)
        return type;
    if (type != PMW_TRUNK)
        return PMW_ERR_TYPE;
    if (len < PMW_TRUNK_BYTES_MIN)
        return PMW_ERR_SHORT;
    if (len > PMW_TRUNK_BYTES_MAX)
        return PMW_ERR_LENGTH;
    *out = (struct pmw_trunk){
        .flags = buf[1],
        .nb_entries = get16(buf + 2),
        .helper_id = get16(buf + 4),
        .worker = buf[6],
        .shard = buf[7],
        .incarnation = get32(buf + 8),
        .batch_seq = get32(buf + 12),
        .ack_batch = get32(buf + 16),
        .ack_bits = get32(buf + 20),
        .credit = get32(buf + 24),
        .hold_us = get16(buf + 28),
        .ce_count = get16(buf + 30),
    };
    return trunk_rules(out);
}

int pmw_entry_encode(uint8_t *buf, size_t cap, const struct pmw_entry *e)
{
    if (e->client.family != 4 && e->client.family != 6)
        return PMW_ERR_ENTRY;
    if (e->frame_len == 0 || e->frame_len > PMW_FRAME_BYTES_BASE)
        return PMW_ERR_LIMIT;
    size_t ip_bytes = e->client.family == 4 ? 4 : 16;
    size_t len = 3 + ip_bytes + 2 + e->frame_len;
    if (len > cap)
        return PMW_ERR_SPACE;
    buf[0] = e->client.family == 4 ? PMW_ENTRY_LONG_V4 : PMW_ENTRY_LONG_V6;
    put16(buf + 1, e->frame_len);
    memcpy(buf + 3, e->client.ip, ip_bytes);
    put16(buf + 3 + ip_bytes, e->client.port);
    memcpy(buf + 5 + ip_bytes, e->frame, e->frame_len);
    return (int)len;
}

static int long_decode(const uint8_t *p, size_t left, struct pmw_any_entry *out)
{
    size_t head = p[0] == PMW_ENTRY_LONG_V4 ? PMW_ENTRY_LONG_V4_BYTES : PMW_ENTRY_LONG_V6_BYTES;
    if (left < head)
        return PMW_ERR_ENTRY;
    size_t frame_len = get16(p + 1);
    if (frame_len == 0 || frame_len > PMW_FRAME_BYTES_BASE || frame_len > left - head)
        return PMW_ERR_ENTRY;
    out->kind = p[0];
    out->as_long = (struct pmw_entry){.frame = p + head, .frame_len = (uint16_t)frame_len};
    memcpy(out->as_long.client.ip, p + 3, head - 5);
    out->as_long.client.port = get16(p + head - 2);
    out->as_long.client.family = p[0] & 0x0f;
    return (int)(head + frame_len);
}

int pmw_entry_next(const uint8_t *buf, size_t end, size_t *at, struct pmw_any_entry *out)
{
    if (*at >= end)
        return 0;
    const uint8_t *p = buf + *at;
    size_t left = end - *at;
    int taken = PMW_ERR_ENTRY;
    if (p[0] == PMW_ENTRY_PAD) {
        if (!all_zero(p, left))
            return PMW_ERR_ENTRY;
        *at = end;
        return 0;
    }
    if (p[0] >> 6 == PMW_ENTRY_SHORT >> 6)
        taken = short_entry_decode(p, left, out);
    else if (p[0] == PMW_ENTRY_LONG_V4 || p[0] == PMW_ENTRY_LONG_V6)
        taken = long_decode(p, left, out);
    else
        taken = control_entry_decode(p, left, out);
    if (taken < 0)
        return taken;
    *at += (size_t)taken;
    return 1;
}
