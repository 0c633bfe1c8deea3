/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches that may be asked for again. See resend_ring.h.
 */
#include "resend_ring.h"

#include <assert.h>
#include <string.h>

size_t resend_ring_bytes(uint32_t batch_bytes_max)
{
    return RESEND_RING_BATCHES * (sizeof(struct resend_batch) + batch_bytes_max);
}

void resend_ring_init(struct resend_ring *r, void *mem, uint32_t batch_bytes_max)
{
    *r = (struct resend_ring){.batches = mem, .batch_bytes_max = batch_bytes_max};
    r->bytes = (uint8_t *)(r->batches + RESEND_RING_BATCHES);
}

static uint8_t *bytes_of(const struct resend_ring *r, uint32_t at)
{
    return r->bytes + (size_t)at * r->batch_bytes_max;
}

void resend_ring_keep(struct resend_ring *r, uint64_t now, uint32_t server_slot, uint64_t seq, const uint8_t *buf,
                      uint32_t len)
{
    assert(len <= r->batch_bytes_max);
    r->batches[r->next] = (struct resend_batch){.seq = seq, .sent_us = now, .server_slot = server_slot, .len = len};
    memcpy(bytes_of(r, r->next), buf, len);
    r->next = (r->next + 1) % RESEND_RING_BATCHES;
}

const uint8_t *resend_ring_take(struct resend_ring *r, uint64_t now, uint32_t server_slot, uint64_t first,
                                uint32_t count, uint32_t *cursor, uint32_t *len)
{
    while (*cursor < RESEND_RING_BATCHES) {
        uint32_t at = (*cursor)++;
        struct resend_batch *b = &r->batches[at];
        if (b->len == 0 || b->server_slot != server_slot || b->seq - first >= count ||
            now > b->sent_us + RESEND_RING_US)
            continue;
        *len = b->len;
        b->len = 0;
        return bytes_of(r, at);
    }
    return NULL;
}

void resend_ring_forget(struct resend_ring *r, uint32_t server_slot)
{
    for (uint32_t at = 0; at < RESEND_RING_BATCHES; at++)
        if (r->batches[at].server_slot == server_slot)
            r->batches[at].len = 0;
}
