/* SPDX-License-Identifier: Apache-2.0
 *
 * Indexed binary heap of due times. See due_heap.h.
 */
#include "due_heap.h"

#include <assert.h>

size_t due_heap_bytes(uint32_t slots_max)
{
    return slots_max * (sizeof(struct due_node) + sizeof(uint32_t));
}

void due_heap_init(struct due_heap *h, void *mem, uint32_t slots_max)
{
    h->nodes = mem;
    h->places = (uint32_t *)(h->nodes + slots_max);
    h->nb_nodes = 0;
    h->slots_max = slots_max;
}

static void put(struct due_heap *h, uint32_t at, struct due_node node)
{
    h->nodes[at] = node;
    h->places[node.slot] = at + 1;
}

static void sift_up(struct due_heap *h, uint32_t at, struct due_node node)
{
    while (at > 0 && h->nodes[(at - 1) / 2].due_us > node.due_us) {
        put(h, at, h->nodes[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(h, at, node);
}

static void sift_down(struct due_heap *h, uint32_t at, struct due_node node)
{
    for (uint32_t child = 2 * at + 1; child < h->nb_nodes; child = 2 * at + 1) {
        if (child + 1 < h->nb_nodes && h->nodes[child + 1].due_us < h->nodes[child].due_us)
            child++;
        if (node.due_us <= h->nodes[child].due_us)
            break;
        put(h, at, h->nodes[child]);
        at = child;
    }
    put(h, at, node);
}

void due_heap_set(struct due_heap *h, uint32_t slot, uint64_t due_us)
{
    struct due_node node = {.due_us = due_us, .slot = slot};
    assert(slot < h->slots_max);

    if (h->places[slot] == 0) {
        sift_up(h, h->nb_nodes++, node);
        return;
    }
    uint32_t at = h->places[slot] - 1;
    if (h->nodes[at].due_us == due_us)
        return;
    if (due_us < h->nodes[at].due_us)
        sift_up(h, at, node);
    else
        sift_down(h, at, node);
}

void due_heap_remove(struct due_heap *h, uint32_t slot)
{
    assert(slot < h->slots_max);
    if (h->places[slot] == 0)
        return;
    uint32_t at = h->places[slot] - 1;
    struct due_node removed = h->nodes[at], last = h->nodes[--h->nb_nodes];
    h->places[slot] = 0;
    if (last.slot == slot)
        return;
    if (last.due_us < removed.due_us)
        sift_up(h, at, last);
    else
        sift_down(h, at, last);
}

uint64_t due_heap_first(const struct due_heap *h, uint32_t *slot)
{
    if (h->nb_nodes == 0)
        return DUE_NONE;
    *slot = h->nodes[0].slot;
    return h->nodes[0].due_us;
}
