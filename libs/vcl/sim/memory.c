/* SPDX-License-Identifier: Apache-2.0
 * Counting allocator with injected failures: see memory.h. */
#include "memory.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* In front of each block, sized so that the block keeps malloc's alignment. */
struct block_header {
    _Alignas(max_align_t) size_t size;
    struct memory *owner;
    struct block_header *next, *previous;
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
    header->next = m->first;
    if (m->first)
        m->first->previous = header;
    m->first = header;
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
    if (header->previous)
        header->previous->next = header->next;
    else
        m->first = header->next;
    if (header->next)
        header->next->previous = header->previous;
    free(header);
}

/* FNV-1a (Fowler, Noll, Vo) over words of eight bytes: it need only be quick, and change when a bit does. */
static uint64_t digest_bytes(uint64_t hash, const uint8_t *bytes, size_t len)
{
    for (; len >= 8; bytes += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    for (; len > 0; bytes++, len--)
        hash = (hash ^ *bytes) * 0x100000001b3u;
    return hash;
}

uint64_t memory_digest(const struct memory *m, const struct memory_range *except, size_t nb_except)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (const struct block_header *b = m->first; b; b = b->next) {
        const uint8_t *bytes = (const uint8_t *)(b + 1);
        size_t at = 0;
        for (size_t i = 0; i < nb_except; i++) { /* sorted by from */
            if (except[i].block != bytes)
                continue;
            hash = digest_bytes(hash, bytes + at, except[i].from - at);
            at = except[i].to;
        }
        hash = digest_bytes(hash ^ b->size, bytes + at, b->size - at);
    }
    return hash;
}
