/* SPDX-License-Identifier: Apache-2.0
 * Counting allocator with injected failures: see memory.h. */
#include "memory.h"

#include <assert.h>
#include <stdlib.h>

/* In front of each block, sized so that the block keeps malloc's alignment. */
struct block_header {
    _Alignas(max_align_t) size_t size;
    struct memory *owner;
};

static bool must_fail(const struct memory *m)
{
    return m->fail_at != 0 && m->allocations >= m->fail_at && m->allocations < m->fail_at + m->fail_count;
}

void *memory_alloc(void *ctx, size_t size)
{
    struct memory *m = ctx;
    m->allocations++;
    if (must_fail(m)) {
        m->failures++;
        return NULL;
    }
    struct block_header *header = calloc(1, sizeof *header + size);
    if (!header)
        return NULL;
    header->size = size;
    header->owner = m;
    m->live_bytes += size;
    m->live_blocks++;
    if (m->live_bytes > m->peak_bytes)
        m->peak_bytes = m->live_bytes;
    return header + 1;
}

void memory_free(void *ctx, void *block)
{
    struct memory *m = ctx;
    if (!block)
        return;
    struct block_header *header = (struct block_header *)block - 1;
    assert(header->owner == m && "a block is freed into the allocator it came from");
    if (!m->lose_frees) {
        m->live_bytes -= header->size;
        m->live_blocks--;
    }
    header->owner = NULL;
    free(header);
}
