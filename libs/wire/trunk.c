/* SPDX-License-Identifier: Apache-2.0
 *
 * Trunk batches: the header, and the walk over the entries (T3).
 */
#include <string.h>

#include "bytes.h"
#include "postman/wire.h"

int pmw_trunk_encode(uint8_t *buf, size_t cap, const struct pmw_trunk *h)
{
    if (h->nb_entries > PMW_TRUNK_ENTRIES_MAX)
        return PMW_ERR_LIMIT;
    if (cap < PMW_TRUNK_HEADER_BYTES)
        return PMW_ERR_SPACE;
    memset(buf, 0, PMW_TRUNK_HEADER_BYTES);
    buf[0] = PMW_FIRST_BYTE(PMW_TRUNK);
    put16(buf + 2, h->nb_entries);
    put16(buf + 4, h->helper_id);
    buf[6] = h->worker;
    buf[7] = h->shard;
    put32(buf + 8, h->incarnation);
    put32(buf + 12, h->batch_seq);
    put16(buf + 28, h->hold_us);
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
    if (buf[1] != 0)
        return PMW_ERR_FLAGS;
    if (!all_zero(buf + 16, 12) || !all_zero(buf + 30, 2))
        return PMW_ERR_RESERVED;
    *out = (struct pmw_trunk){
        .nb_entries = get16(buf + 2),
        .helper_id = get16(buf + 4),
        .worker = buf[6],
        .shard = buf[7],
        .incarnation = get32(buf + 8),
        .batch_seq = get32(buf + 12),
        .hold_us = get16(buf + 28),
    };
    return out->nb_entries <= PMW_TRUNK_ENTRIES_MAX ? 0 : PMW_ERR_LIMIT;
}

int pmw_entry_encode(uint8_t *buf, size_t cap, const struct pmw_entry *e)
{
    if (e->client.family != 4 && e->client.family != 6)
        return PMW_ERR_ENTRY;
    if (e->frame_len == 0 || e->frame_len > PMW_FRAME_BYTES_MAX)
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

int pmw_entry_next(const uint8_t *buf, size_t end, size_t *at, struct pmw_entry *out)
{
    if (*at >= end)
        return 0;
    const uint8_t *p = buf + *at;
    size_t left = end - *at;
    if (p[0] == PMW_ENTRY_PAD) {
        if (!all_zero(p, left))
            return PMW_ERR_ENTRY;
        *at = end;
        return 0;
    }
    if (p[0] != PMW_ENTRY_LONG_V4 && p[0] != PMW_ENTRY_LONG_V6)
        return PMW_ERR_ENTRY;
    size_t head = p[0] == PMW_ENTRY_LONG_V4 ? PMW_ENTRY_LONG_V4_BYTES : PMW_ENTRY_LONG_V6_BYTES;
    if (left < head)
        return PMW_ERR_ENTRY;
    size_t frame_len = get16(p + 1);
    if (frame_len == 0 || frame_len > PMW_FRAME_BYTES_MAX || frame_len > left - head)
        return PMW_ERR_ENTRY;
    *out = (struct pmw_entry){.frame = p + head, .frame_len = (uint16_t)frame_len};
    memcpy(out->client.ip, p + 3, head - 5);
    out->client.port = get16(p + head - 2);
    out->client.family = p[0] & 0x0f;
    *at += head + frame_len;
    return 1;
}
