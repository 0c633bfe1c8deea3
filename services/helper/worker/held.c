/* SPDX-License-Identifier: Apache-2.0
 *
 * Queues over one pool of frames. See held.h.
 */
#include "held.h"

#include <assert.h>
#include <string.h>

static uint32_t frames_in_pool(uint32_t servers_max)
{
    return servers_max < HELD_FRAMES_MAX_ALL / HELD_FRAMES_MAX ? servers_max * HELD_FRAMES_MAX : HELD_FRAMES_MAX_ALL;
}

size_t held_bytes(uint32_t servers_max)
{
    return frames_in_pool(servers_max) * sizeof(struct held) + servers_max * sizeof(struct held_queue) +
           due_heap_bytes(servers_max);
}

void held_init(struct held_pool *p, void *mem, uint32_t servers_max)
{
    *p = (struct held_pool){.frames = mem, .nb_frames = frames_in_pool(servers_max), .first_free = HELD_NONE};
    p->queues = (struct held_queue *)(p->frames + p->nb_frames);
    due_heap_init(&p->due, p->queues + servers_max, servers_max);
    for (uint32_t slot = 0; slot < servers_max; slot++)
        p->queues[slot].first = p->queues[slot].last = HELD_NONE;
}

static struct held *take_frame(struct held_pool *p)
{
    struct held *h = NULL;

    if (p->first_free != HELD_NONE) {
        h = &p->frames[p->first_free];
        p->first_free = h->next;
    } else if (p->nb_fresh < p->nb_frames) {
        h = &p->frames[p->nb_fresh++];
    }
    return h;
}

bool held_push(struct held_pool *p, uint32_t slot, uint64_t now, const struct pmw_addr *from, const uint8_t *frame,
               uint32_t len, uint32_t credit_limit)
{
    struct held_queue *q = &p->queues[slot];
    struct held *h = q->nb < HELD_FRAMES_MAX ? take_frame(p) : NULL;

    assert(len <= PMW_FRAME_BYTES_BASE);
    if (!h)
        return false;
    uint32_t at = (uint32_t)(h - p->frames);
    h->from = *from;
    h->arrived_us = now;
    h->next = HELD_NONE;
    h->len = (uint16_t)len;
    memcpy(h->bytes, frame, len);
    if (q->nb == 0) {
        *q = (struct held_queue){.first = at, .credit_limit = credit_limit, .rate_us = now};
        due_heap_set(&p->due, slot, now + HELD_US_MAX);
    } else {
        p->frames[q->last].next = at;
    }
    q->last = at;
    q->nb++;
    p->nb++;
    return true;
}

const struct held *held_first(const struct held_pool *p, uint32_t slot)
{
    return p->queues[slot].nb == 0 ? NULL : &p->frames[p->queues[slot].first];
}

void held_pop(struct held_pool *p, uint32_t slot)
{
    struct held_queue *q = &p->queues[slot];
    uint32_t at = q->first;

    assert(q->nb > 0);
    q->first = p->frames[at].next;
    p->frames[at].next = p->first_free;
    p->first_free = at;
    p->nb--;
    if (--q->nb == 0) {
        q->last = HELD_NONE;
        due_heap_remove(&p->due, slot);
    } else {
        due_heap_set(&p->due, slot, p->frames[q->first].arrived_us + HELD_US_MAX);
    }
}

void held_credit(struct held_pool *p, uint32_t slot, uint64_t now, uint32_t credit_limit)
{
    struct held_queue *q = &p->queues[slot];
    uint32_t gained = credit_limit - q->credit_limit;
    uint64_t took_us = now - q->rate_us;

    if (q->nb == 0 || took_us < HELD_RATE_US || gained == 0)
        return;
    q->frame_us = (uint32_t)(took_us / gained < HELD_RETRY_US_MAX ? took_us / gained + 1 : HELD_RETRY_US_MAX);
    q->credit_limit = credit_limit;
    q->rate_us = now;
}

uint32_t held_retry_after_us(const struct held_pool *p, uint32_t slot)
{
    const struct held_queue *q = &p->queues[slot];
    uint64_t wait_us = q->frame_us ? (uint64_t)q->nb * q->frame_us : HELD_US_MAX;

    return wait_us > HELD_RETRY_US_MAX   ? HELD_RETRY_US_MAX
           : wait_us < HELD_RETRY_US_MIN ? HELD_RETRY_US_MIN
                                         : (uint32_t)wait_us;
}
