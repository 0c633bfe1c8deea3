/* SPDX-License-Identifier: Apache-2.0
 *
 * Intrusive hash map from a 64-bit key to nodes that live inside their owners. Keys may repeat: walk them with
 * vcl__map_next. The bucket array doubles with the count; if there is no memory for that, chains just get longer.
 */
#ifndef VCL_CORE_MAP_H
#define VCL_CORE_MAP_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint64_t key;
    bool linked;
};

struct map {
    const struct mem *mem;
    struct map_node **buckets;
    uint64_t seed; /* so that a peer who chooses its own session ids cannot aim at one bucket */
    uint32_t count;
    uint8_t bits;
};

/* 0, or -1 when there is no memory. mem must outlive the map. */
int vcl__map_init(struct map *m, const struct mem *mem, uint64_t seed);
void vcl__map_free(struct map *m); /* the nodes are not touched */
void vcl__map_insert(struct map *m, struct map_node *node, uint64_t key);
void vcl__map_remove(struct map *m, struct map_node *node); /* harmless when it is in no map */
struct map_node *vcl__map_find(const struct map *m, uint64_t key);
struct map_node *vcl__map_next(const struct map_node *node); /* another node of the same key, or NULL */

#endif
