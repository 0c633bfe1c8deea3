/* SPDX-License-Identifier: Apache-2.0
 *
 * DATA enters a server's batch by its credit (O1). Without credit it waits for a while (O2); what finds no room, or
 * waits in vain, is answered with BUSY (O3), so that the client knows at once that nothing was lost, and when to come
 * again.
 */
#include "relay_state.h"

static void say_busy(struct relay *r, const struct server *s, const struct pmw_addr *to, const uint8_t *frame,
                     size_t len)
{
    struct pmw_frame f;

    if (pmw_frame_decode(frame, len, &f) != 0)
        return; /* nobody sent that */
    uint8_t *buf = r->config.sink.alloc(r->config.sink.ctx, PMW_BUSY_BYTES);
    if (!buf)
        return; /* the client's timeout does it */
    const struct pmw_busy busy = {.cid = f.cid,
                                  .seq = f.seq,
                                  .retry_after_us = held_retry_after_us(&r->held, s->slot),
                                  .helper_id = r->config.helper_id};
    int busy_len = pmw_busy_encode(buf, PMW_BUSY_BYTES, &busy);
    r->config.sink.send(r->config.sink.ctx, buf, (size_t)busy_len, to, false);
    r->stats.busy++;
}

int turnstile_hold(struct relay *r, uint64_t now, struct server *s, const struct pmw_addr *from, const uint8_t *frame,
                   size_t len)
{
    if (!held_push(&r->held, s->slot, now, from, frame, (uint32_t)len, s->credit.limit)) {
        say_busy(r, s, from, frame, len);
        return relay_drop_count(r, RELAY_DROP_HELD_FULL);
    }
    r->stats.frames_held++;
    s->credit.held = held_count(&r->held, s->slot);
    if (s->credit.held == 1) /* else the server could not know: a batch may be long in coming */
        (void)assembler_tell(&r->assembler, s, now);
    return RELAY_DROP_NONE;
}

static int release_first(struct relay *r, uint64_t now, struct server *s)
{
    const struct held *h = held_first(&r->held, s->slot);
    struct pmw_route route;
    struct server *still = NULL;
    struct flow *f = NULL;
    enum relay_drop reason = RELAY_DROP_UNKNOWN_SERVER;

    s->credit.held--;
    s->credit.used++;
    if (pmw_route_decode(h->bytes, h->len, &route) == 0)
        f = relay_flow_for(r, now, route.id, &h->from, &still);
    if (f && still == s)
        reason = relay_pass_on(r, now, s, f, &h->from, h->bytes, h->len);
    held_pop(&r->held, s->slot);
    if (reason) {
        s->credit.used--;
        return relay_drop_count(r, reason);
    }
    r->stats.trunk_data_entries_out++;
    return RELAY_DROP_NONE;
}

/* More credit lets in what waits, in its order. */
int turnstile_take_credit(struct relay *r, uint64_t now, struct server *s, uint32_t limit)
{
    int result = RELAY_DROP_NONE;

    if (!credit_take(&s->credit, limit))
        return result;
    held_credit(&r->held, s->slot, now, limit);
    while (s->credit.held > 0 && credit_is_left(&s->credit)) {
        int reason = release_first(r, now, s);
        result = result ? result : reason;
    }
    return result;
}

/* Turns away what has waited too long; returns when the next will have. */
uint64_t turnstile_due(struct relay *r, uint64_t now)
{
    uint32_t slot;
    uint64_t due_us;

    while ((due_us = due_heap_first(&r->held.due, &slot)) <= now && due_us != DUE_NONE) {
        struct server *s = &r->servers.slots[slot];
        const struct held *h = held_first(&r->held, slot);
        say_busy(r, s, &h->from, h->bytes, h->len);
        held_pop(&r->held, slot);
        s->credit.held = held_count(&r->held, slot);
        relay_drop_count(r, RELAY_DROP_HELD_LATE);
    }
    return due_us;
}

/* What the server said last may have been lost, and nobody may be left who would make it speak. */
void turnstile_ask(struct relay *r, uint64_t now, struct server *s)
{
    if (s->live && !credit_is_left(&s->credit))
        (void)assembler_tell(&r->assembler, s, now); /* without a buffer: the next time */
}

/* The server is gone: so is what waits for it. */
void turnstile_clear(struct relay *r, struct server *s)
{
    while (held_first(&r->held, s->slot)) {
        held_pop(&r->held, s->slot);
        relay_drop_count(r, RELAY_DROP_UNKNOWN_SERVER);
    }
    s->credit.held = 0;
}
