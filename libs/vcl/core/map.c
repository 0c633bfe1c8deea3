/* SPDX-License-Identifier: Apache-2.0
 *
 * Chained hash map with a seeded multiplicative hash (Knuth 6.4; the multiplier is 2^64 / golden ratio).
 */
#include "map.h"

#include <assert.h>
#include <string.h>

enum { MAP_BITS_FIRST = 6, MAP_BITS_MAX = 24 };

static uint32_t bucket_of(const struct map *m, uint64_t key)
{
    uint64_t x = (key ^ m->seed) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((x ^ (x >> 29)) * UINT64_C(0xbf58476d1ce4e5b9) >> (64 - m->bits));
}

int vcl__map_init(struct map *m, const struct mem *mem, uint64_t seed)
{
    *m = (struct map){.mem = mem, .seed = seed, .bits = MAP_BITS_FIRST};
    m->buckets = mem_alloc(mem, sizeof(*m->buckets) << MAP_BITS_FIRST);
    return m->buckets == NULL ? -1 : 0;
}

void vcl__map_free(struct map *m)
{
    if (m->mem != NULL)
        mem_free(m->mem, m->buckets);
    memset(m, 0, sizeof(*m));
}

static void grow(struct map *m)
{
    struct map_node **old = m->buckets;
    size_t nb_old = (size_t)1 << m->bits;
    struct map_node **buckets = mem_alloc(m->mem, sizeof(*buckets) * nb_old * 2);
    if (buckets == NULL)
        return;
    m->buckets = buckets;
    m->bits++;
    for (size_t i = 0; i < nb_old; i++) {
        for (struct map_node *n = old[i], *next; n != NULL; n = next) {
            next = n->next;
            struct map_node **b = &m->buckets[bucket_of(m, n->key)];
            n->next = *b;
            *b = n;
        }
    }
    mem_free(m->mem, old);
}

void vcl__map_insert(struct map *m, struct map_node *node, uint64_t key)
{
    assert(!node->linked);
    if (m->count >= (uint32_t)1 << m->bits && m->bits < MAP_BITS_MAX)
        grow(m);
    struct map_node **b = &m->buckets[bucket_of(m, key)];
    *node = (struct map_node){.next = *b, .key = key, .linked = true};
    *b = node;
    m->count++;
}

void vcl__map_remove(struct map *m, struct map_node *node)
{
    if (!node->linked)
        return;
    struct map_node **at = &m->buckets[bucket_of(m, node->key)];
    while (*at != node) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = node->next;
    *node = (struct map_node){.next = NULL};
    m->count--;
}

struct map_node *vcl__map_find(const struct map *m, uint64_t key)
{
    for (struct map_node *n = m->buckets[bucket_of(m, key)]; n != NULL; n = n->next)
        if (n->key == key)
            return n;
    return NULL;
}

struct map_node *vcl__map_next(const struct map_node *node)
{
    for (struct map_node *n = node->next; n != NULL; n = n->next)
        if (n->key == node->key)
            return n;
    return NULL;
}
