/* SPDX-License-Identifier: Apache-2.0
 *
 * The allocator that engines get in the simulator: it counts live bytes and blocks (leaks, caps) and can fail on
 * purpose.
 */
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block_header;

struct memory {
    struct block_header *first; /* live blocks, the newest first */
    uint64_t live_bytes, live_blocks, peak_bytes, allocations;
    uint64_t fail_at;    /* the allocation (counted from 1) that fails first; 0: none does */
    uint32_t fail_count; /* and how many in a row */
    uint64_t failures;
    bool lose_frees; /* planted fault: frees are not counted */
};

/* Zeroed memory or NULL; ctx is a struct memory. Shaped for struct vcl_config. */
void *memory_alloc(void *ctx, size_t size);
void memory_free(void *ctx, void *block);

/* Bytes of one block that a digest leaves out. */
struct memory_range {
    const void *block;
    size_t from, to;
};
/* A hash of all live blocks: what an engine knows, apart from the ranges. */
uint64_t memory_digest(const struct memory *m, const struct memory_range *except, size_t nb_except);

#endif
