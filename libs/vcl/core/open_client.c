/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, client end: OPEN until it is answered (S1, S2), its answers OPEN_ACK and REFUSED, tokens (K4).
 */
#include "state.h"

#include <string.h>

enum {
    PORT_FIRST = 32768, /* virtual ports, in Linux's range of ephemeral ones */
    PORT_LAST = 60999,
    OPENS_HEARD = 3, /* after so many without an answer the server is taken not to know the token's key */
};

static void want_token(struct vcl_session *s)
{
    struct dial *d = s->dial;
    if (d->token_wanted)
        return;
    d->token_wanted = true;
    vcl__session_event(s, &(struct vcl_event){.type = VCL_EV_TOKEN_WANTED, .error = VCL_ERR_TOKEN});
}

/* A token that was used is renewed TOKEN_RENEW_S before its end. Returns when to look again. */
uint64_t vcl__token_on_timer(struct vcl_session *s)
{
    struct dial *d = s->dial;
    if (!d->token_used || d->token_wanted)
        return VCL_NEVER;
    int64_t renew_at = ((int64_t)d->token_ends_s - TOKEN_RENEW_S) * 1000000 - s->e->cfg.unix_offset_us;
    if (renew_at > (int64_t)s->e->now)
        return (uint64_t)renew_at;
    want_token(s);
    return VCL_NEVER;
}

/* The server frees a session that was idle for idle_us, and knows the keys of a renewed token under a fresh session id
 * only (K3). So a session without connections starts over when its token changed or it was silent for half that time.
 */
static bool wants_fresh_id(const struct vcl_session *s)
{
    const struct dial *d = s->dial;
    if (d->state == VCL_PATH_DEAD)
        return true;
    if (!d->known || vcl__session_in_use(s))
        return false; /* tombstones speak under the present keys */
    return d->token_renewed || s->e->now - s->last_rx > s->e->cfg.idle_us / 2;
}

static void start_over(struct vcl_session *s)
{
    struct dial *d = s->dial;
    vcl__session_rekey(s, vcl__random64(s->e), d->token_key);
    s->epoch = 1;
    d->known = d->token_renewed = d->suspect_waits = false;
    d->state = VCL_PATH_DOWN;
    d->nb_attempts = 0;
    d->all_tried = false;
    d->left_at = s->e->now;
    memset(&d->probe, 0, sizeof(d->probe));
    d->plan = (struct plan){.state = PLAN_NONE};
    d->waiting_since = 0;
    vcl__resume_stop(s);
    vcl__scout_stop(s);
}

/* The server may just have made a session of an OPEN with the present token: a fresh one would leave that a ghost. */
static bool token_is_in_flight(const struct vcl_session *s)
{
    struct list *n, *tmp;
    if (s->dial->known)
        return false;
    list_each(n, tmp, &s->conns)
    {
        const struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (vcl__conn_is_opening(c->state) && c->open_sent_at != 0 && !c->token_refused &&
            c->nb_opens_sent < OPENS_HEARD)
            return true;
    }
    return false;
}

/* The renewed token takes its place, unless the present one is in flight: then after its answer. */
static void take_next_token(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct pmw_token t;
    if (!d->token_waits || token_is_in_flight(s))
        return;
    d->token_waits = false;
    memcpy(d->token, d->next_token, PMW_TOKEN_BYTES);
    memcpy(d->token_key, d->next_token_key, PMW_KEY_BYTES);
    (void)pmw_token_decode(d->token, &t); /* it did before */
    d->token_ends_s = (uint64_t)t.not_before + t.lifetime_s;
    d->token_set_at = s->e->now;
    d->token_used = d->token_wanted = false;
    if (d->known)
        d->token_renewed = true;
    else
        start_over(s);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (!vcl__conn_is_opening(c->state))
            continue;
        c->token_refused = false;
        c->want_open = true;
        c->nb_opens_sent = 0;
        vcl__conn_kick(c);
    }
}

int vcl_session_set_token(struct vcl_session *s, const uint8_t token[PMW_TOKEN_BYTES],
                          const uint8_t token_key[PMW_KEY_BYTES])
{
    struct dial *d = s->dial;
    struct pmw_token t;
    if (d == NULL || pmw_token_decode(token, &t) < 0)
        return VCL_ERR_INVALID;
    memcpy(d->next_token, token, PMW_TOKEN_BYTES);
    memcpy(d->next_token_key, token_key, PMW_KEY_BYTES);
    d->token_waits = true;
    take_next_token(s);
    return VCL_OK;
}

int vcl_conn_open(struct vcl_session *s, uint64_t now, struct vcl_conn **out)
{
    struct vcl_engine *e = s->e;
    vcl__now(e, now);
    if (s->dial == NULL || s->freeing || e->closing)
        return VCL_ERR_INVALID;
    take_next_token(s);
    if (wants_fresh_id(s))
        start_over(s);
    struct vcl_conn *c = vcl__conn_new(s);
    if (c == NULL)
        return VCL_ERR_NOMEM;
    if (e->next_port < PORT_FIRST || e->next_port > PORT_LAST)
        e->next_port = PORT_FIRST;
    c->port = e->next_port++;
    c->state = CONN_OPENING;
    c->open_nonce = vcl__random64(e);
    c->open_until = e->now + e->cfg.open_timeout_us;
    c->want_open = true;
    vcl__map_insert(&e->opens, &c->by_nonce, c->open_nonce);
    vcl__conn_arm(c);
    vcl__conn_kick(c);
    *out = c;
    return VCL_OK;
}

int vcl_conn_encrypt(struct vcl_conn *c)
{
    if (c->s->dial == NULL || c->state != CONN_OPENING || c->nb_opens_sent > 0 || vcl__seal_offer() == 0)
        return VCL_ERR_INVALID;
    c->encrypt = true;
    return VCL_OK;
}

int vcl__open_build(struct vcl_conn *c, uint8_t *buf, size_t cap)
{
    struct vcl_session *s = c->s;
    struct vcl_engine *e = c->e;
    struct pmw_open o = {.session_id = s->id,
                         .open_nonce = c->open_nonce,
                         .epoch = s->epoch,
                         .rwnd = c->rcv.bytes_max,
                         .features = PMW_FEATURE_SHORT | (c->encrypt ? vcl__seal_offer() : 0),
                         .server_id = s->dial->server_id,
                         .client_port = c->port,
                         .shard = s->dial->shard};
    memcpy(o.token, s->dial->token, PMW_TOKEN_BYTES);
    memcpy(o.cookie, c->cookie, PMW_COOKIE_BYTES);
    int len = pmw_open_encode(buf, cap, &o);
    if (len < 0)
        return len;
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    s->dial->token_used = true;
    vcl__session_arm(s, vcl__token_on_timer(s));
    c->want_open = false;
    c->open_before_at = c->open_sent_at;
    c->open_sent_at = e->now;
    if (c->nb_opens_sent < UINT8_MAX)
        c->nb_opens_sent++;
    e->stats.opens++;
    e->stats.frames_out++;
    vcl__conn_arm(c);
    return len;
}

static uint64_t retry_deadline(const struct vcl_conn *c)
{
    if (c->token_refused || c->want_open || c->nb_opens_sent == 0)
        return VCL_NEVER;
    return c->open_sent_at + vcl__rtt_pto(&c->s->rtt, &c->s->limits, c->nb_opens_sent - 1u);
}

uint64_t vcl__open_deadline(const struct vcl_conn *c)
{
    uint64_t retry = retry_deadline(c);
    return retry < c->open_until ? retry : c->open_until;
}

void vcl__open_on_timer(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    if (c->open_until <= e->now) {
        vcl__conn_input(c, CONN_IN_FAILED, c->token_refused ? VCL_ERR_TOKEN : VCL_ERR_TIMEOUT);
        return;
    }
    uint64_t retry = retry_deadline(c);
    if (retry > e->now || e->now - retry < e->lag_us)
        return;
    e->stats.ptos++;
    take_next_token(c->s);
    c->want_open = true;
    if (c->nb_opens_sent >= 2)
        vcl__dial_on_open_silence(c->s, c->open_before_at);
    else
        vcl__dial_ask(c->s, true);
    vcl__conn_kick(c);
}

/* An id for a connection that nobody here waits for: the server must not keep it. */
static void reset_stranger(struct vcl_session *s, uint64_t cid)
{
    uint8_t buf[PMW_RESET_BYTES];
    struct pmw_reset r = {.cid = cid, .epoch = s->epoch};
    int len = pmw_reset_encode(buf, sizeof(buf), &r);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__ctl_push(s->e, &s->route, buf, len);
}

static struct vcl_conn *find_opening(struct vcl_session *s, uint64_t nonce)
{
    for (struct map_node *n = vcl__map_find(&s->e->opens, nonce); n != NULL; n = vcl__map_next(n)) {
        struct vcl_conn *c = container_of(n, struct vcl_conn, by_nonce);
        if (c->s == s)
            return c;
    }
    return NULL;
}

/* W11. One cipher that we offered, or none. */
static bool take_features(struct vcl_conn *c, const struct pmw_open_ack *a)
{
    uint32_t cipher = a->features & (PMW_FEATURE_AES_256_GCM | PMW_FEATURE_CHACHA20_POLY1305);
    c->features = a->features & (cipher | PMW_FEATURE_SHORT);
    if (!c->encrypt)
        return cipher == 0;
    if (cipher != vcl__seal_choose(cipher)) /* none, both, or not ours */
        return false;
    return cipher != 0 && vcl__seal_begin(c, cipher, a->cid);
}

/* C4: only the first OPEN of all. What comes after a second one, by another path or with a cookie too, may be the
 * answer to an earlier one (Karn). */
static void measure(struct vcl_conn *c)
{
    if (c->nb_opens_sent == 1 && c->open_before_at == 0)
        vcl__session_on_rtt(c->s, c->e->now - c->open_sent_at);
}

int vcl__on_open_ack(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_open_ack a;
    if (pmw_open_ack_decode(buf, len, &a) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, a.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, s->keys.mac_s2c) || (a.epoch > s->epoch && a.epoch > s->dial->plan.epoch))
        return vcl__drop(e, VCL_DROP_MAC);
    vcl__session_on_rx(s, from);
    struct vcl_conn *c = find_opening(s, a.open_nonce);
    if (c == NULL || (c->state == CONN_CLOSED && c->cid != a.cid)) {
        reset_stranger(s, a.cid);
        return 0;
    }
    if (!vcl__conn_is_opening(c->state))
        return 0; /* the same answer again */
    if (vcl__map_find(&e->conns, a.cid) != NULL)
        return vcl__drop(e, VCL_DROP_LIMIT); /* the id of another connection of ours: never from an honest server */
    measure(c);
    if (!take_features(c, &a)) {
        reset_stranger(s, a.cid);
        vcl__conn_input(c, CONN_IN_FAILED, VCL_ERR_REFUSED);
        return 0;
    }
    memcpy(c->reset_token, a.reset_token, sizeof(c->reset_token));
    s->limits.peer_delay_us = (uint32_t)a.max_hold_us + a.max_ack_delay_us;
    vcl__dial_on_open_answer(s, a.epoch);
    vcl__conn_established(c, a.cid, a.rwnd);
    if (c->state != CONN_CLOSED)
        vcl__conn_event(c, VCL_EV_CONN_OPENED);
    take_next_token(s);
    return 0;
}

/* S17: again at once with the cookie. Someone who repeats cookies on the way makes us say no more than that. */
int vcl__on_open_cookie(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_open_cookie k;
    if (pmw_open_cookie_decode(buf, len, &k) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, k.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, s->keys.mac_s2c))
        return vcl__drop(e, VCL_DROP_MAC);
    vcl__session_on_rx(s, from);
    struct vcl_conn *c = find_opening(s, k.open_nonce);
    if (c == NULL || !vcl__conn_is_opening(c->state))
        return 0;
    memcpy(c->cookie, k.cookie, sizeof(c->cookie));
    if (c->nb_cookies >= COOKIE_REPEATS_MAX || c->token_refused)
        return 0;
    c->nb_cookies++;
    measure(c);
    c->nb_opens_sent = 0; /* the path answers: no silence to count */
    c->want_open = true;
    vcl__conn_kick(c);
    return 0;
}

int vcl__on_refused(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_refused r;
    if (pmw_refused_decode(buf, len, &r) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, r.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, s->keys.mac_s2c))
        return vcl__drop(e, VCL_DROP_MAC);
    vcl__session_on_rx(s, from);
    struct vcl_conn *c = find_opening(s, r.open_nonce);
    if (c == NULL || !vcl__conn_is_opening(c->state))
        return 0;
    if (r.reason != PMW_REFUSED_TOKEN_EXPIRED) {
        vcl__conn_input(c, CONN_IN_FAILED, VCL_ERR_REFUSED);
        return 0;
    }
    if (s->dial->token_set_at > c->open_sent_at)
        return 0; /* it answers an OPEN with the token before this one */
    c->token_refused = true;
    c->want_open = false;
    if (!s->dial->token_waits)
        want_token(s);
    take_next_token(s);
    return 0;
}
