/* SPDX-License-Identifier: Apache-2.0
 *
 * The batches that were sent last, as they were sent (T8): what a NACK asks for is repeated from here, once. One ring
 * for the engine, whatever the trunk: 380 KB, which 256 trunks could not have each. At 20 messages a batch it holds
 * 2 ms of 2.5 M messages a second.
 */
#ifndef VCL_CORE_NACK_RING_H
#define VCL_CORE_NACK_RING_H

#include "mem.h"
#include "postman/wire.h"

enum { NACK_RING_BATCHES = 256, NACK_RING_AGE_US = 2000 };

struct nack_slot {
    const void *trunk; /* whose numbers these are; NULL: free */
    uint64_t seq, sent_at;
    struct pmw_addr to;
    uint16_t len;
    bool asked; /* once: a second NACK for it changes nothing */
    bool waits; /* to be sent again */
    uint8_t bytes[PMW_TRUNK_BYTES_MAX];
};

struct nack_ring {
    struct nack_slot *slots; /* NULL until the first batch */
    uint32_t next, nb_waiting;
};

void vcl__nack_ring_free(struct nack_ring *r, const struct mem *mem);
/* Keeps a copy; without memory for the ring nothing is kept, and a NACK finds nothing. */
void vcl__nack_ring_put(struct nack_ring *r, const struct mem *mem, uint64_t now, const void *trunk, uint64_t seq,
                        const struct pmw_addr *to, const uint8_t *bytes, size_t len);
/* The peer of trunk misses [first, first + count). Returns how many will be repeated. */
uint32_t vcl__nack_ring_ask(struct nack_ring *r, uint64_t now, const void *trunk, uint64_t first, uint32_t count);
/* The next to be repeated, or NULL. */
const struct nack_slot *vcl__nack_ring_pop(struct nack_ring *r);
/* The trunk is gone, or its peer is another: its numbers mean nothing now. */
void vcl__nack_ring_forget(struct nack_ring *r, const void *trunk);

#endif
