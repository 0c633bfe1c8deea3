/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the relay share:
 *
 *   relay.c        life, orders of the supervisor, what is due, statistics
 *   from_client.c  client port -> route (W9) -> server -> entry in its batch
 *   from_server.c  trunk port -> disassembler -> C-frames to clients, and the server's word on the trunk
 *   binder.c       which flows travel in short entries (T6)
 *   turnstile.c    DATA without credit waits, or its client is told BUSY (O1-O3)
 *   repair.c       batches that are missing are asked for, and sent again (T8)
 */
#ifndef POSTMAN_RELAY_STATE_H
#define POSTMAN_RELAY_STATE_H

#include "assembler.h"
#include "bindings.h"
#include "flow_table.h"
#include "held.h"
#include "relay.h"
#include "server_table.h"

struct relay {
    struct relay_config config;
    struct relay_stats stats;
    struct flow_table flows;
    struct server_table servers;
    struct bindings bindings;
    struct assembler assembler;
    struct held_pool held;
    struct due_heap gaps; /* by server slot: when to ask for missing batches */
    uint32_t aged_slot;   /* of the server that ageing looks at next: its idle bindings, its credit */
    bool draining;
};

static inline int relay_drop_count(struct relay *r, enum relay_drop reason)
{
    r->stats.drops[reason]++;
    return (int)reason;
}

static inline struct server *relay_server_of(const struct relay *r, const struct flow *f)
{
    return &r->servers.slots[f->server_slot];
}

/* Is the slot still that of the server which the flow was found to have? */
static inline bool relay_flow_holds(const struct relay *r, const struct flow *f)
{
    return relay_server_of(r, f)->use == f->server_use;
}

/* from_client.c: a connection's frame, credit or not, into its server's batch. */
enum relay_drop relay_pass_on(struct relay *r, uint64_t now, struct server *s, struct flow *f,
                              const struct pmw_addr *from, const uint8_t *frame, size_t len);
/* The flow of a connection id, found or learnt, and its server; NULL: no known server has that id. */
struct flow *relay_flow_for(struct relay *r, uint64_t now, uint64_t cid, const struct pmw_addr *from,
                            struct server **out);

/* binder.c */
void binder_ask(struct relay *r, uint64_t now, struct flow *f);
void binder_take_ack(struct relay *r, struct server *s, const struct pmw_bind_ref *ref);
void binder_take_end(struct relay *r, uint64_t now, struct server *s, const struct pmw_bind_ref *ref, bool refused);
void binder_end(struct relay *r, uint64_t now, struct flow *f);
/* The flow that a short entry of this server names, or NULL, and then the server hears that. */
struct flow *binder_resolve(struct relay *r, uint64_t now, struct server *s, const struct pmw_short *e);

/* turnstile.c */
int turnstile_hold(struct relay *r, uint64_t now, struct server *s, const struct pmw_addr *from, const uint8_t *frame,
                   size_t len);
int turnstile_take_credit(struct relay *r, uint64_t now, struct server *s, uint32_t limit);
uint64_t turnstile_due(struct relay *r, uint64_t now);
void turnstile_ask(struct relay *r, uint64_t now, struct server *s);
void turnstile_clear(struct relay *r, struct server *s);

/* repair.c */
void repair_note(struct relay *r, uint64_t now, struct server *s, uint64_t highest_before, uint64_t seq);
int repair_resend(struct relay *r, uint64_t now, struct server *s, const struct pmw_nack *asked);
uint64_t repair_due(struct relay *r, uint64_t now);

#endif
