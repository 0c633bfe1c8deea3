/* SPDX-License-Identifier: Apache-2.0
 *
 * Which batches are due, and which is next: a binary heap of (due time, slot), each slot at most once. set and remove
 * cost O(log n) and first costs O(1), so flushing costs nothing for servers that have nothing waiting.
 */
#ifndef POSTMAN_DUE_HEAP_H
#define POSTMAN_DUE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define DUE_NONE UINT64_MAX

struct due_node {
    uint64_t due_us;
    uint32_t slot;
};
struct due_heap {
    struct due_node *nodes;
    uint32_t *places; /* slot -> 1 + its place in nodes; 0: absent */
    uint32_t nb_nodes, slots_max;
};

size_t due_heap_bytes(uint32_t slots_max);
/* mem: due_heap_bytes() zeroed bytes, aligned for uint64_t, owned by the caller. */
void due_heap_init(struct due_heap *h, void *mem, uint32_t slots_max);
/* Insert the slot, or move it to another time. */
void due_heap_set(struct due_heap *h, uint32_t slot, uint64_t due_us);
void due_heap_remove(struct due_heap *h, uint32_t slot); /* absent: nothing happens */
/* The earliest due time and its slot; DUE_NONE when empty. */
uint64_t due_heap_first(const struct due_heap *h, uint32_t *slot);

#endif
