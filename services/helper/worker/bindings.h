/* SPDX-License-Identifier: Apache-2.0
 *
 * Bindings (T6): for each server slot its own index space, index -> flow cell. Indexes are given densely, small ones
 * first: a small index is a byte shorter on the wire, and the server's table stays small.
 *
 * A forgotten index waits in a queue of its server for 2 s and comes back with the next generation. Memory is one pool
 * of pages of 256 bindings for all servers, because there are never more live bindings than flows: 262,144 indexes for
 * each of 1,024 servers would take 3 GB, this takes 10 MB. When no page is left, a flow stays unbound: longer entries,
 * no loss.
 */
#ifndef POSTMAN_BINDINGS_H
#define POSTMAN_BINDINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BINDINGS_PAGE_SHIFT = 8, BINDINGS_PER_PAGE = 1 << BINDINGS_PAGE_SHIFT };
#define BINDING_INDEXES_MAX   262144u /* of one server shard (T6) */
#define BINDING_QUARANTINE_US UINT64_C(2000000)
#define BINDING_NONE          UINT32_MAX

enum binding_state {
    BINDING_FREE,
    BINDING_ASKED, /* BIND was sent */
    BINDING_BOUND, /* and the server knows it */
};
struct binding {
    uint32_t cell; /* flow that it names; free: the next index of the quarantine queue */
    uint32_t tick; /* of 1,024 us: when BIND was sent; free: when it was forgotten */
    uint8_t generation;
    uint8_t state;
    uint8_t tries; /* asked: how often BIND was sent */
};
struct binding_space { /* of one server slot */
    uint32_t nb_given; /* indexes below this have been given at least once */
    uint32_t nb_live;
    uint32_t oldest, newest; /* quarantine queue; BINDING_NONE: empty */
    uint8_t generation;      /* with which a new index begins */
    uint8_t uses_max;        /* how often the most used index was given again */
};
struct bindings {
    struct binding *pool;
    struct binding_space *spaces; /* by server slot */
    uint32_t *directory;          /* slot, page of the slot -> page of the pool */
    uint32_t *free_pages;         /* stack */
    uint32_t nb_free_pages, pages_per_slot, nb_pages, nb_live;
};

size_t bindings_bytes(uint32_t flows_max, uint32_t servers_max);
/* mem: bindings_bytes() zeroed bytes, aligned for uint64_t. */
void bindings_init(struct bindings *b, void *mem, uint32_t flows_max, uint32_t servers_max);
/* An index for a flow, its binding ASKED at now; BINDING_NONE when none may be given. */
uint32_t bindings_take(struct bindings *b, uint32_t slot, uint64_t now, uint32_t cell);
/* Into quarantine; the index must be live. */
void bindings_forget(struct bindings *b, uint32_t slot, uint64_t now, uint32_t index);
/* All of a slot are gone and their pages free: it has another server, or a server that knows nothing. */
void bindings_reset(struct bindings *b, uint32_t slot);
/* Gives the pages of a slot back when nothing in it is live or in quarantine. */
void bindings_reclaim(struct bindings *b, uint32_t slot, uint64_t now);

static inline uint32_t bindings_tick(uint64_t now)
{
    return (uint32_t)(now >> 10);
}

/* The live binding of an index, or NULL. */
static inline struct binding *bindings_find(const struct bindings *b, uint32_t slot, uint32_t index)
{
    if (index >= b->spaces[slot].nb_given)
        return NULL;
    uint32_t page = b->directory[(size_t)slot * b->pages_per_slot + (index >> BINDINGS_PAGE_SHIFT)];
    struct binding *found = &b->pool[((size_t)page << BINDINGS_PAGE_SHIFT) + (index & (BINDINGS_PER_PAGE - 1))];
    return found->state == BINDING_FREE ? NULL : found;
}

#endif
