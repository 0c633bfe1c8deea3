/* SPDX-License-Identifier: Apache-2.0
 *
 * 4-ary heap: half the depth of a binary one, and the four children share a cache line of pointers.
 */
#include "timers.h"

#include <assert.h>
#include <string.h>

enum { ARITY = 4, CAP_FIRST = 64 };

void vcl__timers_init(struct timers *h, const struct mem *mem)
{
    *h = (struct timers){.mem = mem};
}

void vcl__timers_free(struct timers *h)
{
    if (h->mem != NULL)
        mem_free(h->mem, h->heap);
    memset(h, 0, sizeof(*h));
}

int vcl__timers_reserve(struct timers *h)
{
    if (h->reserved + 1 >= h->cap) {
        uint32_t cap = h->cap == 0 ? CAP_FIRST : h->cap * 2;
        struct timer **heap = mem_alloc(h->mem, sizeof(*heap) * cap);
        if (heap == NULL)
            return -1;
        if (h->heap != NULL)
            memcpy(heap, h->heap, sizeof(*heap) * (h->count + 1));
        mem_free(h->mem, h->heap);
        h->heap = heap;
        h->cap = cap;
    }
    h->reserved++;
    return 0;
}

void vcl__timers_unreserve(struct timers *h)
{
    assert(h->reserved > 0);
    h->reserved--;
}

static void place(struct timers *h, uint32_t i, struct timer *t)
{
    h->heap[i] = t;
    t->index = i;
}

static void sift_up(struct timers *h, uint32_t i, struct timer *t)
{
    while (i > 1) {
        uint32_t parent = (i - 2) / ARITY + 1;
        if (h->heap[parent]->at <= t->at)
            break;
        place(h, i, h->heap[parent]);
        i = parent;
    }
    place(h, i, t);
}

static void sift_down(struct timers *h, uint32_t i, struct timer *t)
{
    for (;;) {
        uint32_t first = (i - 1) * ARITY + 2, best = 0;
        for (uint32_t k = first; k < first + ARITY && k <= h->count; k++)
            if (best == 0 || h->heap[k]->at < h->heap[best]->at)
                best = k;
        if (best == 0 || h->heap[best]->at >= t->at)
            break;
        place(h, i, h->heap[best]);
        i = best;
    }
    place(h, i, t);
}

void vcl__timers_arm(struct timers *h, struct timer *t, uint64_t at)
{
    if (at == UINT64_MAX)
        return;
    if (t->index == 0) {
        assert(h->count < h->reserved);
        t->at = at;
        h->count++;
        sift_up(h, h->count, t);
    } else if (at < t->at) {
        t->at = at;
        sift_up(h, t->index, t);
    }
}

void vcl__timers_disarm(struct timers *h, struct timer *t)
{
    uint32_t i = t->index;
    if (i == 0)
        return;
    assert(h->heap[i] == t);
    t->index = 0;
    struct timer *last = h->heap[h->count--];
    if (last == t)
        return;
    if (i > 1 && h->heap[(i - 2) / ARITY + 1]->at > last->at)
        sift_up(h, i, last);
    else
        sift_down(h, i, last);
}

struct timer *vcl__timers_pop_due(struct timers *h, uint64_t now)
{
    if (h->count == 0 || h->heap[1]->at > now)
        return NULL;
    struct timer *t = h->heap[1];
    vcl__timers_disarm(h, t);
    return t;
}

uint64_t vcl__timers_next(const struct timers *h)
{
    return h->count == 0 ? UINT64_MAX : h->heap[1]->at;
}
