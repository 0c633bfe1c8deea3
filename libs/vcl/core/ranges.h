/* SPDX-License-Identifier: Apache-2.0
 *
 * A sorted set of disjoint intervals [start, end) of stream offsets: what arrived out of order. Bounded by
 * RANGES_MAX, so a peer cannot make it grow; storage comes with the first gap and goes with the last.
 */
#ifndef VCL_CORE_RANGES_H
#define VCL_CORE_RANGES_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

enum { RANGES_MAX = 128 };

struct range {
    uint64_t start, end;
};

struct ranges {
    struct range *list;
    uint32_t count, cap;
};

/* Adds [start, end) (not empty), merging with what touches it. false: no memory or RANGES_MAX; nothing changed. */
bool vcl__ranges_add(struct ranges *r, const struct mem *mem, uint64_t start, uint64_t end);
bool vcl__ranges_contains(const struct ranges *r, uint64_t start, uint64_t end);
/* Removes what lies at or below `from` and is contiguous with it; returns where that ends (>= from). */
uint64_t vcl__ranges_consume(struct ranges *r, uint64_t from);
void vcl__ranges_free(struct ranges *r, const struct mem *mem);

#endif
