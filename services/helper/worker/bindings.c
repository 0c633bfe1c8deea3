/* SPDX-License-Identifier: Apache-2.0
 *
 * Index spaces over one pool of pages. See bindings.h.
 */
#include "bindings.h"

#include <assert.h>

static uint32_t pages_per_slot(uint32_t flows_max)
{
    uint32_t indexes = flows_max > BINDING_INDEXES_MAX / 2 ? BINDING_INDEXES_MAX : 2 * flows_max;

    return (indexes + BINDINGS_PER_PAGE - 1) / BINDINGS_PER_PAGE;
}

/* Every flow bound, as many in quarantine, and for each server a page that is not full. */
static uint32_t pages_in_pool(uint32_t flows_max, uint32_t servers_max)
{
    return 2 * flows_max / BINDINGS_PER_PAGE + servers_max;
}

size_t bindings_bytes(uint32_t flows_max, uint32_t servers_max)
{
    size_t nb_pages = pages_in_pool(flows_max, servers_max);

    return nb_pages * BINDINGS_PER_PAGE * sizeof(struct binding) + servers_max * sizeof(struct binding_space) +
           (size_t)servers_max * pages_per_slot(flows_max) * sizeof(uint32_t) + nb_pages * sizeof(uint32_t);
}

static void forget_all(struct binding_space *s)
{
    s->nb_given = s->nb_live = 0;
    s->oldest = s->newest = BINDING_NONE;
}

void bindings_init(struct bindings *b, void *mem, uint32_t flows_max, uint32_t servers_max)
{
    *b = (struct bindings){
        .pool = mem, .nb_pages = pages_in_pool(flows_max, servers_max), .pages_per_slot = pages_per_slot(flows_max)};
    b->spaces = (struct binding_space *)(b->pool + (size_t)b->nb_pages * BINDINGS_PER_PAGE);
    b->directory = (uint32_t *)(b->spaces + servers_max);
    b->free_pages = b->directory + (size_t)servers_max * b->pages_per_slot;
    for (uint32_t slot = 0; slot < servers_max; slot++)
        forget_all(&b->spaces[slot]);
    while (b->nb_free_pages < b->nb_pages) {
        b->free_pages[b->nb_free_pages] = b->nb_pages - 1 - b->nb_free_pages;
        b->nb_free_pages++;
    }
}

static uint32_t *page_of(const struct bindings *b, uint32_t slot, uint32_t index)
{
    return &b->directory[(size_t)slot * b->pages_per_slot + (index >> BINDINGS_PAGE_SHIFT)];
}

static struct binding *at(const struct bindings *b, uint32_t slot, uint32_t index)
{
    return &b->pool[((size_t)*page_of(b, slot, index) << BINDINGS_PAGE_SHIFT) + (index & (BINDINGS_PER_PAGE - 1))];
}

static bool has_waited(const struct binding *free, uint64_t now)
{
    return bindings_tick(now) - free->tick > bindings_tick(BINDING_QUARANTINE_US) + 1; /* both ticks may be partial */
}

/* The index that was forgotten first, if that was long enough ago. */
static uint32_t take_used(struct bindings *b, uint32_t slot, uint64_t now)
{
    struct binding_space *s = &b->spaces[slot];
    uint32_t index = s->oldest;

    if (index == BINDING_NONE || !has_waited(at(b, slot, index), now))
        return BINDING_NONE;
    struct binding *found = at(b, slot, index);
    s->oldest = found->cell;
    if (s->oldest == BINDING_NONE)
        s->newest = BINDING_NONE;
    found->generation++;
    uint8_t uses = (uint8_t)(found->generation - s->generation);
    if (uses > s->uses_max)
        s->uses_max = uses;
    return index;
}

static uint32_t take_new(struct bindings *b, uint32_t slot)
{
    struct binding_space *s = &b->spaces[slot];
    uint32_t index = s->nb_given;

    if (index == b->pages_per_slot * BINDINGS_PER_PAGE)
        return BINDING_NONE;
    if (index % BINDINGS_PER_PAGE == 0) {
        if (b->nb_free_pages == 0)
            return BINDING_NONE;
        *page_of(b, slot, index) = b->free_pages[--b->nb_free_pages];
    }
    s->nb_given++;
    at(b, slot, index)->generation = s->generation;
    return index;
}

uint32_t bindings_take(struct bindings *b, uint32_t slot, uint64_t now, uint32_t cell)
{
    uint32_t index = take_used(b, slot, now);

    if (index == BINDING_NONE)
        index = take_new(b, slot);
    if (index == BINDING_NONE)
        return BINDING_NONE;
    struct binding *taken = at(b, slot, index);
    taken->cell = cell;
    taken->tick = bindings_tick(now);
    taken->state = BINDING_ASKED;
    taken->tries = 1;
    b->spaces[slot].nb_live++;
    b->nb_live++;
    return index;
}

void bindings_forget(struct bindings *b, uint32_t slot, uint64_t now, uint32_t index)
{
    struct binding_space *s = &b->spaces[slot];
    struct binding *gone = at(b, slot, index);

    assert(gone->state != BINDING_FREE);
    gone->state = BINDING_FREE;
    gone->cell = BINDING_NONE;
    gone->tick = bindings_tick(now);
    if (s->newest == BINDING_NONE)
        s->oldest = index;
    else
        at(b, slot, s->newest)->cell = index;
    s->newest = index;
    s->nb_live--;
    b->nb_live--;
}

void bindings_reset(struct bindings *b, uint32_t slot)
{
    struct binding_space *s = &b->spaces[slot];

    for (uint32_t index = 0; index < s->nb_given; index += BINDINGS_PER_PAGE)
        b->free_pages[b->nb_free_pages++] = *page_of(b, slot, index);
    for (uint32_t index = 0; index < s->nb_given; index++)
        at(b, slot, index)->state = BINDING_FREE;
    b->nb_live -= s->nb_live;
    forget_all(s);
    s->generation = (uint8_t)(s->generation + s->uses_max + 1);
    s->uses_max = 0;
}

void bindings_reclaim(struct bindings *b, uint32_t slot, uint64_t now)
{
    const struct binding_space *s = &b->spaces[slot];

    if (s->nb_given > 0 && s->nb_live == 0 && has_waited(at(b, slot, s->newest), now))
        bindings_reset(b, slot);
}
