/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots and indexes of the known server shards. See server_table.h.
 */
#include "server_table.h"

#include <string.h>

/* Index load is at most 1/4, so that a look-up is one or two probes. */
static uint32_t index_size(uint32_t slots_max)
{
    uint32_t size = 8;

    while (size < 4 * slots_max)
        size *= 2;
    return size;
}

size_t server_table_bytes(uint32_t slots_max)
{
    return slots_max * sizeof(struct server) + 2 * index_size(slots_max) * sizeof(uint32_t);
}

void server_table_init(struct server_table *t, void *mem, uint32_t slots_max)
{
    uint32_t size = index_size(slots_max);

    *t = (struct server_table){.slots = mem, .slots_max = slots_max, .index_mask = size - 1};
    t->by_id = (uint32_t *)(t->slots + slots_max);
    t->by_addr = t->by_id + size;
    for (uint32_t i = 0; i < slots_max; i++)
        t->slots[i].slot = (uint16_t)i;
}

/* Finalizer of MurmurHash3 (public domain): every input bit reaches every output bit. Keys come from the supervisor. */
static uint32_t mix(uint64_t x)
{
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(x ^ x >> 33);
}

static uint32_t hash_id(uint16_t server_id, uint8_t shard)
{
    return mix((uint64_t)server_id << 8 | shard);
}

static uint32_t hash_addr(const struct pmw_addr *a)
{
    uint64_t high, low;

    memcpy(&high, a->ip, 8);
    memcpy(&low, a->ip + 8, 8);
    return mix(high ^ mix(low ^ ((uint64_t)a->port << 8 | a->family)));
}

static void index_add(uint32_t *index, uint32_t mask, uint32_t hash, uint32_t slot)
{
    uint32_t at = hash & mask;

    while (index[at])
        at = (at + 1) & mask;
    index[at] = slot + 1;
}

static void rebuild(struct server_table *t)
{
    memset(t->by_id, 0, 2 * (size_t)(t->index_mask + 1) * sizeof(uint32_t));
    t->nb_live = 0;
    for (uint32_t i = 0; i < t->slots_max; i++) {
        const struct server *s = &t->slots[i];
        if (!s->live)
            continue;
        index_add(t->by_id, t->index_mask, hash_id(s->is.server_id, s->is.shard), i);
        index_add(t->by_addr, t->index_mask, hash_addr(&s->is.addr), i);
        t->nb_live++;
    }
}

static bool was_used(const struct server *s)
{
    return s->is.addr.family != 0;
}

static bool same_name(const struct relay_server *a, const struct relay_server *b)
{
    return a->server_id == b->server_id && a->shard == b->shard;
}

/* The slot that already carries this name, live or removed; else one never used; else a removed one. */
static struct server *slot_for(struct server_table *t, const struct relay_server *is)
{
    struct server *unused = NULL, *removed = NULL;

    for (uint32_t i = 0; i < t->slots_max; i++) {
        struct server *s = &t->slots[i];
        if (!was_used(s))
            unused = unused ? unused : s;
        else if (same_name(&s->is, is))
            return s;
        else if (!s->live)
            removed = removed ? removed : s;
    }
    return unused ? unused : removed;
}

static bool same_keys(const struct relay_server *a, const struct relay_server *b)
{
    return memcmp(a->trunk_key_to_server, b->trunk_key_to_server, sizeof(a->trunk_key_to_server)) == 0 &&
           memcmp(a->trunk_key_to_helper, b->trunk_key_to_helper, sizeof(a->trunk_key_to_helper)) == 0;
}

struct server *server_table_set(struct server_table *t, const struct relay_server *is, bool *fresh)
{
    struct server *s = slot_for(t, is);

    if (!s)
        return NULL;
    *fresh = !was_used(s) || !same_name(&s->is, is) || !same_keys(&s->is, is);
    if (*fresh)
        *s = (struct server){.slot = s->slot, .use = (uint16_t)(s->use + 1)};
    s->is = *is;
    s->live = true;
    rebuild(t);
    return s;
}

struct server *server_table_remove(struct server_table *t, uint16_t server_id)
{
    for (uint32_t i = 0; i < t->slots_max; i++) {
        struct server *s = &t->slots[i];
        if (s->live && s->is.server_id == server_id) {
            s->live = false;
            rebuild(t);
            return s;
        }
    }
    return NULL;
}

struct server *server_table_find(const struct server_table *t, uint16_t server_id, uint8_t shard)
{
    for (uint32_t at = hash_id(server_id, shard) & t->index_mask; t->by_id[at]; at = (at + 1) & t->index_mask) {
        struct server *s = &t->slots[t->by_id[at] - 1];
        if (s->is.server_id == server_id && s->is.shard == shard)
            return s;
    }
    return NULL;
}

struct server *server_table_at(const struct server_table *t, const struct pmw_addr *addr, uint32_t *cursor)
{
    uint32_t start = hash_addr(addr);

    for (;;) {
        uint32_t entry = t->by_addr[(start + (*cursor)++) & t->index_mask];
        if (entry == 0)
            return NULL;
        if (pmw_addr_equal(&t->slots[entry - 1].is.addr, addr))
            return &t->slots[entry - 1];
    }
}
