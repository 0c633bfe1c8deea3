/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection: birth, the state machine's actions, close, tombstone, death. A closed connection stays behind as its
 * own tombstone for tombstone_us: it answers late frames, and its slot rests (C7, W5).
 */
#include "state.h"

#include <assert.h>

struct vcl_conn *vcl__conn_new(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    if (e->nb_held >= e->cfg.conns_max)
        return NULL;
    if (e->nb_tombs >= e->cfg.conns_max) /* bounded: the oldest has served longest */
        vcl__conn_expire(container_of(list_first(&e->tombs), struct vcl_conn, place));
    struct vcl_conn *c = mem_alloc(&e->mem, sizeof(*c));
    if (c == NULL)
        return NULL;
    if (vcl__timers_reserve(&e->timers) != 0) {
        mem_free(&e->mem, c);
        return NULL;
    }
    c->e = e;
    c->s = s;
    c->timer.kind = TIMER_CONN;
    struct list *nodes[] = {&c->in_session, &c->ready,    &c->ack_node,    &c->resume_node, &c->event_node,
                            &c->place,      &c->bindings, &c->unread_node, &c->ask_node};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        list_init(nodes[i]);
    vcl__sendbuf_init(&c->snd, e->cfg.sndbuf_bytes);
    vcl__rcv_give(c);
    vcl__cc_init(&c->cc);
    c->loss_at = c->ask_at = VCL_NEVER;
    c->slot = SLOTS_MAX;
    list_push(&s->conns, &c->in_session);
    list_del(&s->of_client);
    s->nb_conns++;
    s->nb_open++;
    e->nb_open++;
    e->nb_held++;
    return c;
}

static void free_send_side(struct vcl_conn *c)
{
    vcl__sendbuf_free(&c->snd, &c->e->mem);
    vcl__sentmap_free(&c->sent, &c->e->mem);
    vcl__ask_end(c);
}

void vcl__conn_free(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    struct vcl_session *s = c->s;
    if (c->state != CONN_CLOSED) {
        e->nb_open--;
        s->nb_open--;
    } else if (list_linked(&c->place)) {
        e->nb_tombs--;
        s->nb_tombs--;
    }
    if (c->backlogged)
        e->nb_backlog--;
    if (c->state != CONN_CLOSED || !c->released)
        e->nb_held--;
    if (c->lingering)
        e->nb_lingering--;
    vcl__resume_forget(c);
    vcl__bindings_forget_conn(c);
    vcl__unread_forget(c);
    struct list *nodes[] = {&c->in_session, &c->ready, &c->ack_node, &c->event_node, &c->place};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        list_del(nodes[i]);
    vcl__map_remove(&e->conns, &c->by_cid);
    vcl__map_remove(&e->opens, &c->by_nonce);
    vcl__timers_disarm(&e->timers, &c->timer);
    vcl__timers_unreserve(&e->timers);
    free_send_side(c);
    vcl__rcv_take_back(c);
    vcl__seal_free(c);
    if (--s->nb_conns == 0 && s->quota != NULL)
        list_push(&s->quota->idle, &s->of_client);
    mem_free(&e->mem, c);
}

bool vcl__conn_fin_acked(const struct vcl_conn *c)
{
    /* The FIN takes the offset after the last byte; snd.una stops at the last byte, so the empty map tells. */
    return c->fin_queued && c->snd_nxt == c->snd.end + 1 && c->sent.count == 0;
}

void vcl__conn_update_linger(struct vcl_conn *c)
{
    bool unfinished =
        c->released && c->state != CONN_CLOSED &&
        (c->snd.end > c->snd.una || (c->fin_queued && !vcl__conn_fin_acked(c)) || c->state == CONN_OPENING_FIN);
    if (unfinished == c->lingering)
        return;
    c->lingering = unfinished;
    if (unfinished)
        c->e->nb_lingering++;
    else
        c->e->nb_lingering--;
}

void vcl__conn_heard(struct vcl_conn *c)
{
    c->heard_at = c->e->now;
    c->nb_keepalives = 0;
}

void vcl__conn_reset_again(struct vcl_conn *c)
{
    if (!c->aborted || c->peer_knows_reset || c->expired)
        return;
    c->nb_resets_sent = 0;
    c->reset_at = c->e->now;
    c->want_reset = true;
}

/* C7: RESET may have met an outage, which ends before the other end gives the session up (S14). A living end with a
 * path is heard each five seconds (S12). At a server a session without connections does not wait: its client is mostly
 * gone, and others need its place (S17); one that comes back asks (S16). */
bool vcl__conn_stays(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    const struct vcl_session *s = c->s;
    uint64_t life_us = e->cfg.tombstone_us;
    bool cut_off = e->now - s->last_rx >= life_us - life_us / 4 || (s->dial != NULL && !vcl__dial_may_send(s));
    if (!c->aborted || c->peer_knows_reset || life_us == 0 || !cut_off || vcl__dial_gave_up(s) ||
        (s->dial == NULL && s->nb_open == 0) || vcl__due(e, s->last_rx + e->cfg.hold_us))
        return false;
    list_del(&c->place);
    list_push(&e->tombs, &c->place);
    c->dead_at = e->now + life_us;
    return true;
}

void vcl__conn_expire(struct vcl_conn *c)
{
    struct vcl_session *s = c->s;
    list_del(&c->place);
    c->e->nb_tombs--;
    s->nb_tombs--;
    c->expired = true;
    if (c->released) {
        vcl__conn_free(c);
        vcl__session_maybe_free(s);
        return;
    }
    vcl__map_remove(&c->e->conns, &c->by_cid);
    vcl__map_remove(&c->e->opens, &c->by_nonce);
    vcl__timers_disarm(&c->e->timers, &c->timer);
}

static void become_tombstone(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    c->dead_at = e->now + e->cfg.tombstone_us;
    if (c->slot != SLOTS_MAX)
        vcl__slots_give(&e->slots, c->slot, c->dead_at);
    list_push(&e->tombs, &c->place);
    e->nb_tombs++;
    c->s->nb_tombs++;
}

/* Nobody at this end needs the connection any more, or ever will; unread bytes stay readable until it is released. */
static void close_conn(struct vcl_conn *c, int error)
{
    struct vcl_engine *e = c->e;
    c->error = error;
    c->s->nb_open--;
    e->nb_open--;
    if (c->backlogged) { /* the application never saw it */
        c->backlogged = false;
        list_del(&c->place);
        e->nb_backlog--;
        vcl__conn_forget_events(c);
        c->released = true;
    }
    vcl__resume_forget(c);
    vcl__conn_update_linger(c);
    free_send_side(c);
    c->want_open = false;
    c->ack_now = c->ack_now && error == VCL_OK; /* the peer waits for the acknowledgement of its FIN */
    vcl__timers_disarm(&e->timers, &c->timer);
    if (c->released) {
        vcl__rcv_take_back(c);
        e->nb_held--;
    }
    become_tombstone(c);
    vcl__conn_event(c, VCL_EV_CONN_CLOSED);
    vcl__conn_kick(c);
}

void vcl__conn_input(struct vcl_conn *c, enum conn_input input, int error)
{
    struct conn_step step = vcl__conn_step(c->state, input);
    if (step.action == CONN_DO_REFUSE_INPUT)
        return;
    c->state = step.next;
    switch (step.action) {
    case CONN_DO_SEND_FIN:
        c->fin_queued = true;
        vcl__conn_kick(c);
        break;
    case CONN_DO_SEND_RESET:
        c->aborted = true;
        c->want_reset = true;
        c->reset_at = c->e->now;
        close_conn(c, error);
        break;
    case CONN_DO_CLOSE:
        close_conn(c, error);
        break;
    default: /* CONN_DO_ESTABLISH: vcl__conn_established does the rest */
        break;
    }
    if (c->state == CONN_HALF_CLOSED) { /* only matters to an orphan: how long the peer may take to finish */
        c->dead_at = c->e->now + c->e->cfg.hold_us;
        vcl__conn_arm(c);
    }
}

void vcl__conn_established(struct vcl_conn *c, uint64_t cid, uint64_t window)
{
    assert(vcl__conn_is_opening(c->state));
    c->cid = cid;
    c->snd_edge = window;
    c->edge_sent = c->rcv.bytes_max;
    c->heard_at = c->e->now;
    vcl__short_begin(c);
    c->want_open = false;
    vcl__map_insert(&c->e->conns, &c->by_cid, cid);
    vcl__conn_input(c, CONN_IN_OPENED, VCL_ERR_RESET);
    if (c->state == CONN_FINISHING)
        c->fin_queued = true;
    vcl__conn_kick(c);
}
