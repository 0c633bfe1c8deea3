/* SPDX-License-Identifier: Apache-2.0
 *
 * DATA frames that wait for credit (O2): for each server slot a queue in order of arrival, bounded in frames and time;
 * and how long a client that is turned away shall wait (O3). Frames are copied: the pool is a few thousand for all
 * servers, taken at the start.
 */
#ifndef POSTMAN_HELD_H
#define POSTMAN_HELD_H

#include "due_heap.h"
#include "postman/wire.h"

enum {
    HELD_FRAMES_MAX = 256,      /* of one server shard */
    HELD_FRAMES_MAX_ALL = 4096, /* of a worker: 16 shards that have no credit at once */
    HELD_US_MAX = 5000,
    HELD_RETRY_US_MAX = 50000,
    HELD_RETRY_US_MIN = 500,
    HELD_RATE_US = 4000, /* the rate of credit is taken over so long */
};
#define HELD_NONE UINT32_MAX

struct held {
    struct pmw_addr from;
    uint64_t arrived_us;
    uint32_t next;
    uint16_t len;
    uint8_t bytes[PMW_FRAME_BYTES_BASE];
};
struct held_queue {
    uint32_t first, last, nb;
    uint32_t credit_limit; /* at rate_us */
    uint64_t rate_us;      /* since when credit is counted */
    uint32_t frame_us;     /* the last whole time's wait for one credit; 0: unknown */
};
struct held_pool {
    struct held *frames;
    struct held_queue *queues; /* by server slot */
    struct due_heap due;
    uint32_t first_free, nb_fresh; /* frames given back; how many were ever used */
    uint32_t nb, nb_frames;
};

size_t held_bytes(uint32_t servers_max);
void held_init(struct held_pool *p, void *mem, uint32_t servers_max); /* mem: zeroed */
/* Keeps a copy; false when the queue or the pool is full. */
bool held_push(struct held_pool *p, uint32_t slot, uint64_t now, const struct pmw_addr *from, const uint8_t *frame,
               uint32_t len, uint32_t credit_limit);
/* The frame that waits longest, or NULL. */
const struct held *held_first(const struct held_pool *p, uint32_t slot);
void held_pop(struct held_pool *p, uint32_t slot);
/* The server gave credit up to this. */
void held_credit(struct held_pool *p, uint32_t slot, uint64_t now, uint32_t credit_limit);
/* When credit for all that is held may have come. */
uint32_t held_retry_after_us(const struct held_pool *p, uint32_t slot);

static inline uint32_t held_count(const struct held_pool *p, uint32_t slot)
{
    return p->queues[slot].nb;
}

#endif
