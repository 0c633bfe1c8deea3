/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's end of a move (S3-S5, S18): the client lists what each connection has and misses, the server answers
 * with the same, and each side then sends again only what the other has not received.
 */
#include "state.h"

#include <assert.h>

/* S4: something in flight, something beyond a gap, or an answer that is still to come. */
static bool must_list(const struct vcl_conn *c)
{
    return vcl__conn_is_live(c->state) &&
           (c->sent.count > 0 || c->rcv.ranges.count > 0 || c->last_data_tx > c->last_data_rx);
}

static void want_frame(struct vcl_session *s)
{
    if (!list_linked(&s->dial->resuming))
        list_push(&s->e->resuming, &s->dial->resuming);
}

static void list_conn(struct vcl_conn *c)
{
    struct dial *d = c->s->dial;
    if (!c->resume_wait) {
        c->resume_wait = true;
        d->nb_resume_waits++;
    }
    if (!list_linked(&c->resume_node))
        list_push(&d->resume_queue, &c->resume_node);
}

/* Answered, or closed. */
void vcl__resume_forget(struct vcl_conn *c)
{
    list_del(&c->resume_node);
    if (!c->resume_wait)
        return;
    c->resume_wait = false;
    c->s->dial->nb_resume_waits--;
}

static void list_any(struct vcl_session *s)
{
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (!vcl__conn_is_live(c->state))
            continue;
        list_conn(c);
        return;
    }
}

void vcl__resume_begin(struct vcl_session *s)
{
    struct dial *d = s->dial;
    uint32_t trial = 0;
    struct list *n, *tmp;
    for (int urgent = 1; urgent >= 0; urgent--) { /* S20: bytes in flight first */
        list_each(n, tmp, &s->conns)
        {
            struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
            if (!must_list(c) || (c->sent.count > 0) != urgent)
                continue;
            list_conn(c);
            if (urgent && trial++ < d->resume_budget) {
                vcl__sentmap_mark_lost(&c->sent, vcl__sentmap_oldest(&c->sent));
                vcl__conn_kick(c);
            }
        }
    }
    if (d->nb_resume_waits == 0) /* one at least: an id is all that a successor of the server can answer to (C9) */
        list_any(s);
    d->resume_announce = true;
    want_frame(s);
}

void vcl__resume_relist(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (c->resume_wait)
            list_conn(c);
    }
    d->resume_announce = d->state != VCL_PATH_ACTIVE;
    if (d->resume_announce || !list_empty(&d->resume_queue))
        want_frame(s);
}

/* One that waits for its turn (S20) would leave when the session has given up, or under the id that comes next. */
void vcl__resume_stop(struct vcl_session *s)
{
    list_del(&s->dial->resuming);
    s->dial->resume_announce = false;
}

/* S16. The path works; whether the server still has these connections is another question. Repeated until answered: see
 * on_timer_active in dial.c. */
static void ask_begin(struct vcl_session *s)
{
    struct dial *d = s->dial;
    if (d->nb_resume_waits == 0) {
        d->resume_nonce = vcl__random64(s->e);
        d->nb_ticks = 1;
    }
    d->resume_tick_at = s->e->now + vcl__session_pto(s);
    want_frame(s);
    vcl__session_arm(s, d->resume_tick_at);
}

void vcl__resume_ask(struct vcl_conn *c)
{
    if (c->s->dial->state != VCL_PATH_ACTIVE || !vcl__conn_is_live(c->state) || c->resume_wait)
        return;
    ask_begin(c->s);
    list_conn(c);
}

void vcl__resume_ask_all(struct vcl_session *s)
{
    struct list *n, *tmp;
    if (!s->dial->known || s->nb_open == 0)
        return;
    if (s->dial->state == VCL_PATH_ACTIVE) /* else they go with the RESUME that is under way */
        ask_begin(s);
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (vcl__conn_is_live(c->state))
            list_conn(c);
    }
}

int vcl__resume_build(struct vcl_session *s, uint8_t *buf, size_t cap)
{
    struct dial *d = s->dial;
    struct pmw_resume r = {.session_id = s->id,
                           .nonce = d->resume_nonce,
                           .epoch = s->epoch,
                           .server_id = d->server_id,
                           .helper_id = d->active.helper_id,
                           .shard = d->shard};
    while (r.nb_conns < PMW_RESUME_CONNS_MAX && !list_empty(&d->resume_queue)) {
        struct vcl_conn *c = container_of(list_first(&d->resume_queue), struct vcl_conn, resume_node);
        list_del(&c->resume_node);
        r.conns[r.nb_conns++] = (struct pmw_resume_conn){
            .cid = c->cid, .rcv_nxt = c->rcv.nxt, .snd_una = c->snd.una, .snd_nxt = c->snd_nxt};
    }
    list_del(&d->resuming);
    if (!list_empty(&d->resume_queue)) /* S20: to the end, so that every session says its first word soon */
        list_push(&s->e->resuming, &d->resuming);
    if (r.nb_conns == 0 && !d->resume_announce)
        return 0;
    d->resume_announce = false;
    int len = pmw_resume_encode(buf, cap, &r);
    assert(len > 0);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__path_on_sent(s);
    s->e->stats.resumes_sent++;
    s->e->stats.frames_out++;
    return len;
}

struct vcl_conn *vcl__resume_conn(struct vcl_session *s, uint64_t cid)
{
    struct map_node *n = vcl__map_find(&s->e->conns, cid);
    struct vcl_conn *c = n == NULL ? NULL : container_of(n, struct vcl_conn, by_cid);
    return c != NULL && c->s == s ? c : NULL;
}

/* The path under this connection is new: what the peer does not have goes again at once. */
void vcl__resume_resend_gap(struct vcl_conn *c)
{
    if (!vcl__conn_is_live(c->state))
        return;
    vcl__sentmap_mark_all_lost(&c->sent, c->e->now);
    vcl__cc_reset(&c->cc, c->sent.next_order);
    vcl__ask_end(c);
    c->pto_credit = 0;
    vcl__short_pause(c);
    vcl__conn_arm(c);
    vcl__conn_kick(c);
}

static void client_apply(struct vcl_session *s, const struct pmw_resume_ack_conn *k)
{
    struct vcl_conn *c = vcl__resume_conn(s, k->cid);
    if (c == NULL || c->state == CONN_CLOSED)
        return;
    if (k->window == PMW_WINDOW_GONE) {
        vcl__conn_input(c, CONN_IN_PEER_RESET, VCL_ERR_RESET);
        if (s->dial->gone_epoch != s->epoch) /* S16: others may be gone, of which nothing was listed */
            vcl__resume_ask_all(s);
        s->dial->gone_epoch = s->epoch;
        return;
    }
    if (!vcl__conn_on_peer_state(c, k->rcv_nxt, k->window)) {
        vcl__drop(s->e, VCL_DROP_OUT_OF_WINDOW);
        return;
    }
    vcl__conn_heard(c);
    if (!c->resume_wait)
        return; /* an answer to a repeated RESUME: its gap is on the way */
    vcl__resume_forget(c);
    vcl__resume_resend_gap(c);
}

/* S18: by the active path, which is the one that the server asks about. */
static void path_respond(struct vcl_session *s, uint64_t challenge)
{
    struct dial *d = s->dial;
    uint8_t buf[PMW_PATH_BYTES];
    struct pmw_path p = {.session_id = s->id,
                         .challenge = challenge,
                         .epoch = s->epoch,
                         .server_id = d->server_id,
                         .helper_id = d->active.helper_id,
                         .shard = d->shard};
    int len = pmw_path_encode(buf, sizeof(buf), PMW_PATH_RESPONSE, &p);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    d->answered_challenge = challenge;
    s->e->stats.frames_out++;
    vcl__ctl_push(s->e, &s->route, buf, len);
}

int vcl__on_path_challenge(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_path p;
    if (pmw_path_decode(buf, len, &p) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, p.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, s->keys.mac_s2c))
        return vcl__drop(e, VCL_DROP_MAC);
    if (vcl__dial_gave_up(s))
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    vcl__session_on_rx(s, from);
    if (p.epoch != s->epoch)
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    if (p.helper_id != s->dial->active.helper_id) {
        vcl__advice_other_helper(s);
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    }
    path_respond(s, p.challenge);
    return 0;
}

int vcl__on_resume_ack(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_resume_ack a;
    if (pmw_resume_ack_decode(buf, len, &a) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, a.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, s->keys.mac_s2c))
        return vcl__drop(e, VCL_DROP_MAC);
    if (vcl__dial_gave_up(s))
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    bool planned = vcl__plan_on_resume_ack(s, &a);
    if (!planned && (a.epoch != s->epoch || a.nonce != s->dial->resume_nonce))
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    vcl__session_on_rx(s, from);
    if (a.challenge != 0 && a.challenge != s->dial->answered_challenge)
        path_respond(s, a.challenge); /* once: what is lost is asked for again by PATH_CHALLENGE */
    if (planned)
        return 0;
    vcl__dial_resumed(s);
    for (uint8_t i = 0; i < a.nb_conns; i++)
        client_apply(s, &a.conns[i]);
    return 0;
}
