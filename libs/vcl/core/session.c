/* SPDX-License-Identifier: Apache-2.0
 *
 * What both ends of a session share: keys, its table, its timer, the frames that prove it alive; and the end of a
 * session that nobody uses.
 */
#include "state.h"

#include <assert.h>

struct vcl_session *vcl__session_find(struct vcl_engine *e, uint64_t id)
{
    struct map_node *n = vcl__map_find(&e->sessions, id);
    return n == NULL ? NULL : container_of(n, struct vcl_session, by_id);
}

struct vcl_session *vcl__session_new(struct vcl_engine *e, uint64_t id)
{
    if (e->nb_sessions >= e->cfg.sessions_max)
        return NULL;
    struct vcl_session *s = mem_alloc(&e->mem, sizeof(*s));
    if (s == NULL)
        return NULL;
    if (vcl__timers_reserve(&e->timers) != 0) {
        mem_free(&e->mem, s);
        return NULL;
    }
    s->e = e;
    s->id = id;
    s->last_rx = e->now;
    s->timer.kind = TIMER_SESSION;
    s->limits = (struct rtt_limits){.pto_initial_us = e->cfg.pto_initial_us,
                                    .pto_min_us = e->cfg.pto_min_us,
                                    .pto_max_us = e->cfg.pto_max_us,
                                    .peer_delay_us = e->cfg.max_ack_delay_us + MAX_HOLD_US};
    list_init(&s->conns);
    list_init(&s->of_client);
    list_init(&s->ask.waiting);
    list_init(&s->all);
    list_push(&e->all_sessions, &s->all);
    vcl__map_insert(&e->sessions, &s->by_id, id);
    e->nb_sessions++;
    return s;
}

void vcl__session_free(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    while (!list_empty(&s->conns))
        vcl__conn_free(container_of(list_first(&s->conns), struct vcl_conn, in_session));
    if (s->dial != NULL) {
        list_del(&s->dial->resuming);
        list_del(&s->dial->event_node);
        mem_free(&e->mem, s->dial);
    }
    vcl__quota_leave(s);
    vcl__timers_disarm(&e->timers, &s->timer);
    vcl__timers_unreserve(&e->timers);
    vcl__map_remove(&e->sessions, &s->by_id);
    list_del(&s->all);
    e->nb_sessions--;
    mem_free(&e->mem, s);
}

void vcl__session_maybe_free(struct vcl_session *s)
{
    if (s->freeing && s->nb_conns == 0)
        vcl__session_free(s);
}

/* K3: keys of a session id under a token key. */
void vcl__session_rekey(struct vcl_session *s, uint64_t id, const uint8_t token_key[PMW_KEY_BYTES])
{
    vcl__map_remove(&s->e->sessions, &s->by_id);
    s->id = id;
    vcl__map_insert(&s->e->sessions, &s->by_id, id);
    pmw_session_keys_derive(&s->keys, token_key, id);
}

const uint8_t *vcl__mac_key_out(const struct vcl_session *s)
{
    return s->dial != NULL ? s->keys.mac_c2s : s->keys.mac_s2c;
}

const uint8_t *vcl__mac_key_in(const struct vcl_session *s)
{
    return s->dial != NULL ? s->keys.mac_s2c : s->keys.mac_c2s;
}

uint64_t vcl__session_pto(const struct vcl_session *s)
{
    return vcl__rtt_pto(&s->rtt, &s->limits, 0);
}

/* With a timer overdue by so much we stood still, and the answer has waited for us: that says nothing of the path. */
void vcl__session_on_rtt(struct vcl_session *s, uint64_t rtt_us)
{
    uint64_t next = vcl__timers_next(&s->e->timers);
    if (next < s->e->now && s->e->now - next > s->e->cfg.pto_max_us)
        return;
    vcl__rtt_sample(&s->rtt, &s->limits, s->e->now, rtt_us);
}

void vcl__session_on_move(struct vcl_session *s)
{
    struct list *n, *tmp;
    vcl__ask_on_move(s);
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        vcl__rack_on_move(&c->rack, &c->sent);
    }
}

bool vcl__session_in_use(const struct vcl_session *s)
{
    return s->nb_open > 0 || s->nb_tombs > 0;
}

void vcl__session_arm(struct vcl_session *s, uint64_t at)
{
    vcl__timers_arm(&s->e->timers, &s->timer, at);
}

/* An authentic frame arrived. The client watches its active path for silence (S7), the server counts what comes by a
 * path on trial (S18). */
void vcl__session_on_rx(struct vcl_session *s, const struct route *from)
{
    struct dial *d = s->dial;
    s->last_rx = s->e->now;
    if (d == NULL) {
        vcl__trial_on_rx(s, from);
    } else if (pmw_addr_equal(&from->addr, &d->active.addr)) {
        vcl__path_on_arrival(s);
    } else {
        vcl__watch_late(s, &from->addr);
    }
}

void vcl__session_end(struct vcl_session *s, int error)
{
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns) vcl__conn_input(container_of(n, struct vcl_conn, in_session), CONN_IN_FAILED, error);
}

/* S14. A client that has connections and a path sends keepalives; without a path it gives up after hold_us itself. */
uint64_t vcl__session_silence_max(const struct vcl_session *s)
{
    return s->nb_open > 0 ? s->e->cfg.hold_us + 2 * (uint64_t)KEEPALIVE_US : s->e->cfg.idle_us;
}

/* Our own stall puts off what is due, not what is not due yet. */
static uint64_t not_before(const struct vcl_engine *e, uint64_t at)
{
    return at + (at <= e->now ? e->lag_us : 0);
}

/* Server. Handles that the application holds keep a session in memory. */
static uint64_t silence_check(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    uint64_t ends_at = s->last_rx + vcl__session_silence_max(s), forgotten_at = s->last_rx + e->cfg.idle_us;
    if (!vcl__due(e, ends_at))
        return not_before(e, ends_at);
    vcl__session_end(s, VCL_ERR_TIMEOUT);
    if (!vcl__due(e, forgotten_at))
        return not_before(e, forgotten_at);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns) if (!container_of(n, struct vcl_conn, in_session)->released) return e->now +
        e->cfg.idle_us;
    vcl__session_free(s);
    return VCL_NEVER;
}

static uint64_t server_on_timer(struct vcl_session *s)
{
    uint64_t trial = vcl__trial_on_timer(s), silence = silence_check(s);
    return silence != VCL_NEVER && trial < silence ? trial : silence;
}

static uint64_t client_on_timer(struct vcl_session *s)
{
    uint64_t path = vcl__dial_on_timer(s), token = vcl__token_on_timer(s);
    return path < token ? path : token;
}

void vcl__session_on_timer(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    uint64_t at = s->dial != NULL ? client_on_timer(s) : server_on_timer(s); /* NEVER: it may be gone */
    if (at != VCL_NEVER)
        vcl__session_arm(s, at > e->now ? at : e->now + 1);
}
