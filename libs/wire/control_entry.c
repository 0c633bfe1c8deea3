/* SPDX-License-Identifier: Apache-2.0
 *
 * Control entries of a trunk: bindings (T6) and NACK (T8).
 */
#include <string.h>

#include "bytes.h"
#include "entry.h"

enum { BIND_REF_BYTES = 6, NACK_BYTES = 7, BIND_IP_AT = 7 };

static bool is_bind_ref(uint8_t kind)
{
    return kind == PMW_ENTRY_BIND_ACK || kind == PMW_ENTRY_BIND_ERR || kind == PMW_ENTRY_UNBIND;
}

/* 0 for a family that there is not. */
static size_t ip_bytes_of(uint8_t family)
{
    return family == 4 ? 4 : family == 6 ? 16 : 0;
}

int pmw_bind_encode(uint8_t *buf, size_t cap, const struct pmw_bind *b)
{
    size_t ip_bytes = ip_bytes_of(b->client.family);
    if (ip_bytes == 0)
        return PMW_ERR_ENTRY;
    if (b->index > PMW_ENTRY_INDEX_MAX)
        return PMW_ERR_LIMIT;
    size_t len = BIND_IP_AT + ip_bytes + 2 + 8;
    if (len > cap)
        return PMW_ERR_SPACE;
    buf[0] = PMW_ENTRY_BIND;
    put32(buf + 1, b->index);
    buf[5] = b->generation;
    buf[6] = b->client.family;
    memcpy(buf + BIND_IP_AT, b->client.ip, ip_bytes);
    put16(buf + BIND_IP_AT + ip_bytes, b->client.port);
    put64(buf + BIND_IP_AT + ip_bytes + 2, b->cid);
    return (int)len;
}

int pmw_bind_ref_encode(uint8_t *buf, size_t cap, enum pmw_entry_kind kind, const struct pmw_bind_ref *r)
{
    if (!is_bind_ref((uint8_t)kind))
        return PMW_ERR_ENTRY;
    if (r->index > PMW_ENTRY_INDEX_MAX)
        return PMW_ERR_LIMIT;
    if (cap < BIND_REF_BYTES)
        return PMW_ERR_SPACE;
    buf[0] = (uint8_t)kind;
    put32(buf + 1, r->index);
    buf[5] = r->generation;
    return BIND_REF_BYTES;
}

int pmw_nack_encode(uint8_t *buf, size_t cap, const struct pmw_nack *n)
{
    if (n->count == 0 || n->count > PMW_NACK_COUNT_MAX)
        return PMW_ERR_LIMIT;
    if (cap < NACK_BYTES)
        return PMW_ERR_SPACE;
    buf[0] = PMW_ENTRY_NACK;
    put32(buf + 1, n->first);
    put16(buf + 5, n->count);
    return NACK_BYTES;
}

static int bind_decode(const uint8_t *p, size_t left, struct pmw_bind *out)
{
    size_t ip_bytes = left > 6 ? ip_bytes_of(p[6]) : 0;
    size_t taken = BIND_IP_AT + ip_bytes + 2 + 8;
    if (ip_bytes == 0 || left < taken || get32(p + 1) > PMW_ENTRY_INDEX_MAX)
        return PMW_ERR_ENTRY;
    *out = (struct pmw_bind){
        .index = get32(p + 1),
        .generation = p[5],
        .client = {.port = get16(p + BIND_IP_AT + ip_bytes), .family = p[6]},
        .cid = get64(p + BIND_IP_AT + ip_bytes + 2),
    };
    memcpy(out->client.ip, p + BIND_IP_AT, ip_bytes);
    return (int)taken;
}

int control_entry_decode(const uint8_t *p, size_t left, struct pmw_any_entry *out)
{
    out->kind = p[0];
    if (p[0] == PMW_ENTRY_BIND)
        return bind_decode(p, left, &out->bind);
    if (is_bind_ref(p[0])) {
        if (left < BIND_REF_BYTES || get32(p + 1) > PMW_ENTRY_INDEX_MAX)
            return PMW_ERR_ENTRY;
        out->ref = (struct pmw_bind_ref){.index = get32(p + 1), .generation = p[5]};
        return BIND_REF_BYTES;
    }
    if (p[0] != PMW_ENTRY_NACK || left < NACK_BYTES)
        return PMW_ERR_ENTRY;
    out->nack = (struct pmw_nack){.first = get32(p + 1), .count = get16(p + 5)};
    return out->nack.count >= 1 && out->nack.count <= PMW_NACK_COUNT_MAX ? NACK_BYTES : PMW_ERR_ENTRY;
}
