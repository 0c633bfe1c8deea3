/* SPDX-License-Identifier: Apache-2.0
 *
 * Bindings between flows and the server's short entries (T6).
 *
 *   LONG --BIND sent--> ASKED --BIND_ACK, or a short entry names it--> BOUND
 *     ^                   |                                              |
 *     +---- BIND_ERR, UNBIND; the flow is forgotten, or its client is elsewhere (UNBIND is sent) ----+
 *
 * The worst that this could do is to deliver to a wrong flow. So an index rests before it is given again, generations
 * must match, and the endpoints' check is seeded with the connection id (W7).
 */
#include "relay_state.h"

/* In ticks of 1,024 us: BIND is said again after 20 ms, then after twice as long each time, up to 2.6 s: a server that
 * takes no more bindings does not answer. */
enum { AGAIN_TICKS = 20, AGAIN_DOUBLINGS_MAX = 7 };
/* A refused flow asks again after one whole tick of the flow table (0.26 s). */
enum { REFUSED_TICK_MASK = 0x1f };
enum { GENERATION_MASK = 0x0f }; /* of short entries */

static void send_ref(struct relay *r, uint64_t now, struct server *s, enum pmw_entry_kind kind, uint32_t index,
                     uint8_t generation)
{
    const struct pmw_bind_ref ref = {.index = index, .generation = generation};
    uint8_t *room = assembler_room(&r->assembler, s, now, PMW_ENTRY_BIND_BYTES_MAX);

    if (!room) /* soft state: said again when it matters */
        return;
    int len = pmw_bind_ref_encode(room, PMW_ENTRY_BIND_BYTES_MAX, kind, &ref);
    assembler_added(&r->assembler, s, now, (uint32_t)len, false);
}

static void send_bind(struct relay *r, uint64_t now, struct server *s, const struct flow *f)
{
    struct pmw_bind bind = {
        .index = f->index, .generation = f->generation, .cid = r->flows.ids[flow_table_cell(&r->flows, f)]};
    uint8_t *room = assembler_room(&r->assembler, s, now, PMW_ENTRY_BIND_BYTES_MAX);

    if (!room)
        return;
    flow_client(f, &bind.client);
    int len = pmw_bind_encode(room, PMW_ENTRY_BIND_BYTES_MAX, &bind);
    assembler_added(&r->assembler, s, now, (uint32_t)len, false);
    r->stats.bindings_asked++;
}

static void rest_after_refusal(struct relay *r, uint64_t now, struct flow *f)
{
    f->refused = 1;
    f->refused_tick = flow_tick(now) & REFUSED_TICK_MASK;
    r->stats.bindings_refused++;
}

static bool rests(const struct flow *f, uint64_t now)
{
    return f->refused && ((flow_tick(now) - f->refused_tick) & REFUSED_TICK_MASK) < 2;
}

static void ask_first(struct relay *r, uint64_t now, struct flow *f)
{
    uint32_t cell = flow_table_cell(&r->flows, f);

    if (rests(f, now) || flow_table_is_crowded(&r->flows))
        return;
    uint32_t index = bindings_take(&r->bindings, f->server_slot, now, cell);
    if (index == BINDING_NONE)
        return rest_after_refusal(r, now, f);
    f->index = index;
    f->generation = bindings_find(&r->bindings, f->server_slot, index)->generation;
    f->binding = FLOW_ASKED;
    f->refused = 0;
    send_bind(r, now, relay_server_of(r, f), f);
}

static void ask_again(struct relay *r, uint64_t now, struct flow *f)
{
    struct binding *b = bindings_find(&r->bindings, f->server_slot, f->index);
    uint32_t doublings = b->tries - 1u < AGAIN_DOUBLINGS_MAX ? b->tries - 1u : AGAIN_DOUBLINGS_MAX;

    if (bindings_tick(now) - b->tick < (uint32_t)AGAIN_TICKS << doublings)
        return;
    b->tick = bindings_tick(now);
    if (b->tries < UINT8_MAX)
        b->tries++;
    send_bind(r, now, relay_server_of(r, f), f);
}

/* A confirmed flow sent a short frame in a long entry. */
void binder_ask(struct relay *r, uint64_t now, struct flow *f)
{
    if (f->binding == FLOW_LONG)
        ask_first(r, now, f);
    else
        ask_again(r, now, f);
}

static struct binding *find(const struct relay *r, const struct server *s, uint32_t index, uint8_t generation)
{
    struct binding *b = bindings_find(&r->bindings, s->slot, index);

    return b && ((b->generation ^ generation) & GENERATION_MASK) == 0 ? b : NULL;
}

static void bound(struct relay *r, struct binding *b)
{
    b->state = BINDING_BOUND;
    r->flows.cells[b->cell].binding = FLOW_BOUND;
    r->stats.bindings_made++;
}

void binder_take_ack(struct relay *r, struct server *s, const struct pmw_bind_ref *ref)
{
    struct binding *b = find(r, s, ref->index, ref->generation);

    if (b && b->state == BINDING_ASKED)
        bound(r, b);
}

/* BIND_ERR (refused) or UNBIND: the server does not know it, or no longer. */
void binder_take_end(struct relay *r, uint64_t now, struct server *s, const struct pmw_bind_ref *ref, bool refused)
{
    struct binding *b = find(r, s, ref->index, ref->generation);

    if (!b)
        return;
    struct flow *f = &r->flows.cells[b->cell];
    f->binding = FLOW_LONG;
    if (refused)
        rest_after_refusal(r, now, f);
    bindings_forget(&r->bindings, s->slot, now, ref->index);
    r->stats.bindings_forgotten++;
}

void binder_end(struct relay *r, uint64_t now, struct flow *f)
{
    struct server *s = relay_server_of(r, f);

    f->binding = FLOW_LONG;
    if (!relay_flow_holds(r, f)) /* all bindings of the slot are gone already */
        return;
    bindings_forget(&r->bindings, s->slot, now, f->index);
    r->stats.bindings_forgotten++;
    if (s->live)
        send_ref(r, now, s, PMW_ENTRY_UNBIND, f->index, f->generation);
}

struct flow *binder_resolve(struct relay *r, uint64_t now, struct server *s, const struct pmw_short *e)
{
    struct binding *b = find(r, s, e->index, e->generation);

    if (!b) {
        send_ref(r, now, s, PMW_ENTRY_UNBIND, e->index, e->generation);
        return NULL;
    }
    if (b->state == BINDING_ASKED) /* its BIND_ACK was lost, or comes later */
        bound(r, b);
    return &r->flows.cells[b->cell];
}
