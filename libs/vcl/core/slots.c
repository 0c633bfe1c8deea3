/* SPDX-License-Identifier: Apache-2.0
 *
 * See slots.h.
 */
#include "slots.h"

#include <assert.h>
#include <string.h>

#define SLOT_NONE UINT32_MAX
enum { CAP_FIRST = 64 };

void vcl__slots_init(struct slots *s, uint32_t max)
{
    *s = (struct slots){.max = max < SLOTS_MAX ? max : SLOTS_MAX, .first = SLOT_NONE, .last = SLOT_NONE};
}

void vcl__slots_free(struct slots *s, const struct mem *mem)
{
    mem_free(mem, s->list);
    memset(s, 0, sizeof(*s));
}

static bool grow(struct slots *s, const struct mem *mem)
{
    uint32_t cap = s->cap == 0 ? CAP_FIRST : s->cap * 2;
    struct slot *list = mem_alloc(mem, cap * sizeof(*list));
    if (list == NULL)
        return false;
    if (s->count > 0)
        memcpy(list, s->list, s->count * sizeof(*list));
    mem_free(mem, s->list);
    s->list = list;
    s->cap = cap;
    return true;
}

bool vcl__slots_take(struct slots *s, const struct mem *mem, uint64_t now, uint32_t *slot, uint16_t *generation)
{
    if (s->first != SLOT_NONE && s->list[s->first].free_at <= now) {
        *slot = s->first;
        s->first = s->list[*slot].next;
        if (s->first == SLOT_NONE)
            s->last = SLOT_NONE;
        *generation = ++s->list[*slot].generation;
        return true;
    }
    if (s->count == s->max || (s->count == s->cap && !grow(s, mem)))
        return false;
    *slot = s->count++;
    *generation = s->list[*slot].generation;
    return true;
}

void vcl__slots_give(struct slots *s, uint32_t slot, uint64_t free_at)
{
    assert(slot < s->count);
    s->list[slot].free_at = free_at;
    s->list[slot].next = SLOT_NONE;
    if (s->last == SLOT_NONE)
        s->first = slot;
    else
        s->list[s->last].next = slot;
    s->last = slot;
}
