/* SPDX-License-Identifier: Apache-2.0
 *
 * The last 256 batches of a worker, to whatever server, for 2 ms (T8): when a server misses one, the identical datagram
 * goes again, so that the messages of many flows need not wait for as many clients' timeouts. Each once. Soft state.
 */
#ifndef POSTMAN_RESEND_RING_H
#define POSTMAN_RESEND_RING_H

#include <stddef.h>
#include <stdint.h>

enum { RESEND_RING_BATCHES = 256, RESEND_RING_US = 2000 };

struct resend_batch {
    uint64_t seq, sent_us;
    uint32_t server_slot;
    uint32_t len; /* 0: none */
};
struct resend_ring {
    struct resend_batch *batches;
    uint8_t *bytes; /* by batch */
    uint32_t batch_bytes_max, next;
};

size_t resend_ring_bytes(uint32_t batch_bytes_max);
void resend_ring_init(struct resend_ring *r, void *mem, uint32_t batch_bytes_max); /* mem: zeroed */
void resend_ring_keep(struct resend_ring *r, uint64_t now, uint32_t server_slot, uint64_t seq, const uint8_t *buf,
                      uint32_t len);
/* Each kept batch to that server with a number from first to first + count - 1, one a call; it is kept no longer, its
 * bytes hold until the next keep. *cursor starts at 0. NULL: no more. */
const uint8_t *resend_ring_take(struct resend_ring *r, uint64_t now, uint32_t server_slot, uint64_t first,
                                uint32_t count, uint32_t *cursor, uint32_t *len);
/* The slot has another server, or other keys. */
void resend_ring_forget(struct resend_ring *r, uint32_t server_slot);

#endif
