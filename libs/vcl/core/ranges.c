/* SPDX-License-Identifier: Apache-2.0
 *
 * See ranges.h. Positions are found by bisection; insertion moves the tail, which RANGES_MAX bounds.
 */
#include "ranges.h"

#include <assert.h>
#include <string.h>

enum { CAP_FIRST = 8 };

/* Index of the first interval whose end is >= offset. */
static uint32_t lower(const struct ranges *r, uint64_t offset)
{
    uint32_t lo = 0, hi = r->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (r->list[mid].end < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool make_room(struct ranges *r, const struct mem *mem)
{
    if (r->count < r->cap)
        return true;
    if (r->cap == RANGES_MAX)
        return false;
    uint32_t cap = r->cap == 0 ? CAP_FIRST : r->cap * 2;
    struct range *list = mem_alloc(mem, cap * sizeof(*list));
    if (list == NULL)
        return false;
    if (r->count > 0)
        memcpy(list, r->list, r->count * sizeof(*list));
    mem_free(mem, r->list);
    r->list = list;
    r->cap = cap;
    return true;
}

bool vcl__ranges_add(struct ranges *r, const struct mem *mem, uint64_t start, uint64_t end)
{
    assert(start < end);
    uint32_t i = lower(r, start), last = i;
    while (last < r->count && r->list[last].start <= end)
        last++;
    if (last == i) { /* touches nothing: a new interval before i */
        if (!make_room(r, mem))
            return false;
        memmove(&r->list[i + 1], &r->list[i], (r->count - i) * sizeof(*r->list));
        r->list[i] = (struct range){start, end};
        r->count++;
        return true;
    }
    if (r->list[i].start < start)
        start = r->list[i].start;
    if (r->list[last - 1].end > end)
        end = r->list[last - 1].end;
    r->list[i] = (struct range){start, end};
    memmove(&r->list[i + 1], &r->list[last], (r->count - last) * sizeof(*r->list));
    r->count -= last - i - 1;
    return true;
}

bool vcl__ranges_contains(const struct ranges *r, uint64_t start, uint64_t end)
{
    uint32_t i = lower(r, end);
    return i < r->count && r->list[i].start <= start && r->list[i].end >= end;
}

uint64_t vcl__ranges_consume(struct ranges *r, uint64_t from)
{
    uint32_t n = 0;
    while (n < r->count && r->list[n].start <= from) {
        if (r->list[n].end > from)
            from = r->list[n].end;
        n++;
    }
    if (n > 0) {
        r->count -= n;
        memmove(r->list, &r->list[n], r->count * sizeof(*r->list));
    }
    return from;
}

void vcl__ranges_free(struct ranges *r, const struct mem *mem)
{
    mem_free(mem, r->list);
    *r = (struct ranges){.count = 0};
}
