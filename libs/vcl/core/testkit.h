/* SPDX-License-Identifier: Apache-2.0
 *
 * What the unit tests of the core's leaves share: cmocka with its includes in their order, a counting allocator that
 * can run dry, a seeded generator.
 */
#ifndef VCL_CORE_TESTKIT_H
#define VCL_CORE_TESTKIT_H

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "mem.h"

#include <stdlib.h>

struct heap {
    struct mem mem;
    int64_t left;      /* allocations until it is dry */
    int64_t allocated; /* blocks not yet freed */
};

static inline void *heap_alloc(void *ctx, size_t size)
{
    struct heap *h = ctx;
    if (h->left == 0)
        return NULL;
    h->left--;
    h->allocated++;
    return calloc(1, size);
}

static inline void heap_free(void *ctx, void *p)
{
    ((struct heap *)ctx)->allocated--;
    free(p);
}

static inline void heap_init(struct heap *h)
{
    *h = (struct heap){.mem = {h, heap_alloc, heap_free}, .left = INT64_MAX};
}

/* xorshift64*, Marsaglia 2003 */
static inline uint64_t draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static inline uint64_t below(uint64_t *state, uint64_t limit)
{
    return (draw(state) >> 20) % limit;
}

#endif
