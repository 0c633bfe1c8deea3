/* SPDX-License-Identifier: Apache-2.0
 *
 * Timers of one connection:
 *   OPEN unanswered        open_client.c
 *   PTO                    oldest unacknowledged frame, doubled each time; what the first one does: ask.c (C4)
 *   loss                   a frame that one sent later has overtaken (C4)
 *   pace                   the next frame of a large window (C5)
 *   keepalive              silence of a connection that asked for it (C11)
 *   storage                large buffers that a transfer has left
 *   window probe           the peer's window is shut (C6)
 *   RESET unanswered       doubled each time until the tombstone ends
 *   orphan                 released, our side finished, the peer does not finish: hold_us
 * Delayed acknowledgements and tombstones have queues of their own: their delay is the same for all.
 */
#include "state.h"

enum {
    KEEPALIVES_MAX = 3, /* C11 */
    RESETS_MIN = 8,     /* C7: in the life of a tombstone, however slow the path seems */
    BLIND_PTOS = 3,     /* C4: so many in a row, and the frame goes again whatever is known of the path */
};

static bool may_retransmit(const struct vcl_conn *c)
{
    return c->s->dial == NULL || (vcl__dial_may_send(c->s) && !c->resume_wait);
}

static uint64_t pto_deadline(const struct vcl_conn *c)
{
    const struct sent *oldest = vcl__sentmap_oldest(&c->sent);
    if (oldest == NULL || !may_retransmit(c))
        return VCL_NEVER;
    uint64_t from = oldest->sent_at > c->pto_fired_at ? oldest->sent_at : c->pto_fired_at;
    if (from < c->busy_until)
        from = c->busy_until; /* O3: that silence is no evidence */
    uint64_t pto = from + vcl__rtt_pto(&c->s->rtt, &c->s->limits, c->pto_count);
    uint64_t ask = c->ask_at > c->busy_until ? c->ask_at : c->busy_until;
    return ask < pto ? ask : pto;
}

static uint64_t loss_deadline(const struct vcl_conn *c)
{
    return c->loss_at;
}

static uint64_t keepalive_deadline(const struct vcl_conn *c)
{
    if (c->keepalive_ms == 0)
        return VCL_NEVER;
    return c->heard_at + (1 + (uint64_t)c->nb_keepalives) * c->keepalive_ms * 1000;
}

static uint64_t persist_deadline(const struct vcl_conn *c)
{
    return c->persist_at != 0 && may_retransmit(c) ? c->persist_at : VCL_NEVER;
}

static uint64_t orphan_deadline(const struct vcl_conn *c)
{
    return c->released && c->state == CONN_HALF_CLOSED ? c->dead_at : VCL_NEVER;
}

static uint64_t reset_deadline(const struct vcl_conn *c)
{
    if (!c->aborted || c->peer_knows_reset || c->expired)
        return VCL_NEVER;
    uint64_t pto = vcl__session_pto(c->s), longest = c->e->cfg.tombstone_us / RESETS_MIN;
    for (uint8_t i = 0; i < c->nb_resets_sent && pto < longest; i++)
        pto *= 2;
    return c->reset_at + (pto < longest ? pto : longest);
}

static uint64_t next_deadline(const struct vcl_conn *c)
{
    if (vcl__conn_is_opening(c->state))
        return vcl__open_deadline(c);
    if (c->state == CONN_CLOSED)
        return reset_deadline(c);
    uint64_t all[] = {pto_deadline(c),    loss_deadline(c),      vcl__conn_paced_until(c), persist_deadline(c),
                      orphan_deadline(c), keepalive_deadline(c), vcl__buffers_deadline(c)},
             next = VCL_NEVER;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (all[i] < next)
            next = all[i];
    return next;
}

/* Never for a time that has passed: a timer that is not due because of our own stall moves by the lag, and what it does
 * may arm itself. */
void vcl__conn_arm(struct vcl_conn *c)
{
    const struct vcl_engine *e = c->e;
    uint64_t at = next_deadline(c);
    if (at == VCL_NEVER)
        return;
    if (at <= e->now)
        at += e->lag_us;
    vcl__timers_arm(&c->e->timers, &c->timer, at > e->now ? at : e->now + 1);
}

/* Taken for lost. What the first PTO in a row finds says nothing of congestion (as the probe of RFC 8985 7); nor does a
 * window probe that meets a shut window. */
static void repeat_oldest(struct vcl_conn *c)
{
    struct sent *oldest = vcl__sentmap_oldest(&c->sent);
    if (c->pto_count >= 2 && sent_end(oldest) <= c->snd_edge) {
        vcl__cc_on_lost(&c->cc, sentmap_order(&c->sent, oldest), c->sent.next_order, vcl__mtu_payload(c->s));
        vcl__mtu_on_pto(c->s, oldest->len, oldest->first_sent_at);
    }
    c->shorts.asked |= oldest->tx == 0;
    vcl__sentmap_mark_lost(&c->sent, oldest);
    c->e->stats.lost_by_time++;
    c->pto_credit = 1;
    vcl__ask_stop(c);
}

/* S14. A path that answers says nothing of one connection: the client may have forgotten it, and a server cannot ask.
 * One that it has acknowledges what is sent again. One at rest is not heard of, and owes nothing. */
static bool nobody_has_it(const struct vcl_conn *c)
{
    const struct vcl_session *s = c->s;
    uint64_t since = c->heard_at > c->waits_since ? c->heard_at : c->waits_since;
    return s->dial == NULL && c->pto_count > BLIND_PTOS && vcl__due(c->e, since + vcl__session_silence_max(s));
}

static void pto_fired(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    struct vcl_session *s = c->s;
    struct sent *oldest = vcl__sentmap_oldest(&c->sent);
    if (c->ask_at <= e->now) {
        if (vcl__ask_step(c))
            repeat_oldest(c);
        vcl__conn_kick(c);
        return;
    }
    e->stats.ptos++;
    c->pto_fired_at = e->now;
    if (c->pto_count < UINT8_MAX)
        c->pto_count++;
    if (nobody_has_it(c)) {
        vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_TIMEOUT); /* RESET: if it is there after all, it must hear of it */
        return;
    }
    vcl__ask_begin(c);
    if (oldest->state == SENT_LOST || c->pto_count >= BLIND_PTOS)
        repeat_oldest(c);
    if (s->dial != NULL) {
        if (c->pto_count % ASK_PTOS == 0)
            vcl__resume_ask(c);
    }
    vcl__conn_kick(c);
}

static void fire_live(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    if (vcl__due(e, orphan_deadline(c))) {
        vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_RESET);
        return;
    }
    if (vcl__due(e, persist_deadline(c))) {
        c->persist_at = 0;
        c->window_probe = true;
        vcl__conn_kick(c);
    }
    if (vcl__due(e, keepalive_deadline(c))) {
        if (c->nb_keepalives++ == KEEPALIVES_MAX) {
            vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_TIMEOUT); /* RESET: the other end may still wait for us */
            return;
        }
        c->want_keepalive = true;
        vcl__conn_kick(c);
    }
    if (vcl__due(e, vcl__buffers_deadline(c)))
        vcl__buffers_trim(c);
    if (vcl__due(e, c->loss_at)) {
        vcl__conn_detect_lost(c, &(struct sentmap_ack){.now = e->now});
        vcl__conn_kick(c);
    }
    if (vcl__due(e, pto_deadline(c)))
        pto_fired(c);
    else
        vcl__conn_kick(c); /* its pace, perhaps */
}

void vcl__conn_on_timer(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    if (vcl__conn_is_opening(c->state)) {
        vcl__open_on_timer(c);
    } else if (c->state != CONN_CLOSED) {
        fire_live(c);
    } else if (vcl__due(e, reset_deadline(c))) {
        c->reset_at = e->now;
        c->nb_resets_sent++;
        c->want_reset = true;
        vcl__conn_kick(c);
    }
    vcl__conn_arm(c);
}

void vcl__acks_due(struct vcl_engine *e)
{
    struct list *n;
    while ((n = list_first(&e->acks)) != NULL) {
        struct vcl_conn *c = container_of(n, struct vcl_conn, ack_node);
        if (c->ack_at > e->now)
            return;
        list_del(&c->ack_node);
        c->ack_now = true;
        vcl__conn_kick(c);
    }
}
