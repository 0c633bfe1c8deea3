/* SPDX-License-Identifier: Apache-2.0
 *
 * An allocator for fuzzers of single parts: counts what is out, fails when the script says so.
 */
#ifndef VCL_FUZZ_COUNTED_MEM_H
#define VCL_FUZZ_COUNTED_MEM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "mem.h"
#include "require.h"

struct counted_mem {
    struct mem mem;
    int64_t blocks;
    bool fails;
};

static void *counted_alloc(void *ctx, size_t size)
{
    struct counted_mem *m = ctx;
    if (m->fails)
        return NULL;
    m->blocks++;
    void *block = calloc(1, size);
    REQUIRE(block != NULL);
    return block;
}

static void counted_free(void *ctx, void *block)
{
    struct counted_mem *m = ctx;
    REQUIRE(--m->blocks >= 0);
    free(block);
}

static inline void counted_mem_init(struct counted_mem *m)
{
    *m = (struct counted_mem){.mem = {.ctx = m, .alloc = counted_alloc, .free = counted_free}};
}

#endif
