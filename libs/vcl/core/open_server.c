/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening, server end. Nothing is stored before the token's MAC and the OPEN's MAC both hold (K3); both are computed
 * from the datagram and K_srv alone.
 */
#include "state.h"

/* K2: the token is ours, for this server and service. Gives its fields and its key. */
static bool token_authentic(struct vcl_engine *e, const uint8_t token[PMW_TOKEN_BYTES], struct pmw_token *t,
                            uint8_t token_key[PMW_KEY_BYTES])
{
    uint8_t mac[16];
    if (pmw_token_decode(token, t) < 0 || t->server_id != e->cfg.server_id || t->service_id != e->cfg.service_id)
        return false;
    for (uint8_t i = 0; i < e->cfg.nb_keys; i++) {
        if (e->cfg.keys[i].key_id != t->key_id)
            continue;
        pmw_token_mac(mac, e->cfg.keys[i].key, token);
        if (!vcl__equal_secret(mac, t->mac, sizeof(mac)))
            continue;
        pmw_token_key(token_key, e->cfg.keys[i].key, token);
        return true;
    }
    return false;
}

static bool token_in_time(const struct vcl_engine *e, const struct pmw_token *t)
{
    uint64_t now_s = vcl__unix_s(e);
    return now_s + TOKEN_SKEW_S >= t->not_before && now_s <= (uint64_t)t->not_before + t->lifetime_s + TOKEN_SKEW_S;
}

/* S18: what goes to a path on trial counts; the client repeats its OPEN. s: NULL when there is none. */
static void send_answer(struct vcl_engine *e, const struct route *to, struct vcl_session *s, const uint8_t *buf,
                        int len)
{
    if (s != NULL && !vcl__trial_takes(s, to, (size_t)len)) {
        vcl__drop(e, VCL_DROP_LIMIT);
        return;
    }
    e->stats.frames_out++;
    vcl__ctl_push(e, to, buf, len);
}

static void answer(struct vcl_engine *e, const struct route *to, struct vcl_session *s, const struct vcl_conn *c)
{
    uint8_t buf[PMW_OPEN_ACK_BYTES];
    struct pmw_open_ack a = {.session_id = s->id,
                             .open_nonce = c->open_nonce,
                             .cid = c->cid,
                             .epoch = s->epoch,
                             .rwnd = c->rcv.bytes_max,
                             .features = c->features,
                             .max_hold_us = MAX_HOLD_US,
                             .max_ack_delay_us = (uint16_t)e->cfg.max_ack_delay_us};
    pmw_reset_token(a.reset_token, e->reset_key, c->cid);
    int len = pmw_open_ack_encode(buf, sizeof(buf), &a);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_s2c);
    vcl__trial_cid_told(s, to);
    send_answer(e, to, s, buf, len);
}

static int refuse(struct vcl_engine *e, const struct route *to, struct vcl_session *s, const struct pmw_open *o,
                  const struct pmw_session_keys *keys, enum pmw_refusal reason)
{
    uint8_t buf[PMW_REFUSED_BYTES];
    struct pmw_refused r = {
        .session_id = o->session_id, .open_nonce = o->open_nonce, .epoch = o->epoch, .reason = (uint8_t)reason};
    int len = pmw_refused_encode(buf, sizeof(buf), &r);
    pmw_control_seal(buf, (size_t)len, keys->mac_s2c);
    send_answer(e, to, s, buf, len);
    return vcl__drop(e, reason == PMW_REFUSED_TOKEN_EXPIRED ? VCL_DROP_TOKEN_EXPIRED : VCL_DROP_LIMIT);
}

static struct vcl_conn *find_opened(struct vcl_session *s, uint64_t nonce)
{
    for (struct map_node *n = vcl__map_find(&s->e->opens, nonce); n != NULL; n = vcl__map_next(n)) {
        struct vcl_conn *c = container_of(n, struct vcl_conn, by_nonce);
        if (c->s == s)
            return c;
    }
    return NULL;
}

/* S17: what makes no connection costs this much: one MAC, no state. The address of a session that was validated needs
 * no other proof (S18). */
static bool must_ask(struct vcl_engine *e, const struct vcl_session *s, const struct route *from,
                     const struct pmw_open *o)
{
    if (s != NULL && s->trial.has_validated && pmw_addr_equal(&from->addr, &s->trial.validated.addr))
        return false;
    return vcl__cookie_wanted(e) && !vcl__cookie_good(e, &from->addr, o);
}

static int ask(struct vcl_engine *e, const struct route *to, struct vcl_session *s, const struct pmw_open *o,
               const struct pmw_session_keys *keys)
{
    uint8_t buf[PMW_OPEN_COOKIE_BYTES];
    struct pmw_open_cookie a = {.session_id = o->session_id, .open_nonce = o->open_nonce, .epoch = o->epoch};
    vcl__cookie_make(e, &to->addr, o, a.cookie);
    int len = pmw_open_cookie_encode(buf, sizeof(buf), &a);
    pmw_control_seal(buf, (size_t)len, keys->mac_s2c);
    e->stats.open_cookies++;
    send_answer(e, to, s, buf, len);
    return 0;
}

static bool room(struct vcl_engine *e, const struct vcl_session *s, const struct pmw_token *t)
{
    if (e->nb_backlog >= e->cfg.backlog_max)
        return false;
    if (s != NULL && t->max_conns != 0 && s->nb_open >= t->max_conns)
        return false;
    return vcl__quota_conn(e, t->client_id);
}

static struct vcl_session *session_create(struct vcl_engine *e, const struct route *from, const struct pmw_open *o,
                                          const struct pmw_token *t, const struct pmw_session_keys *keys)
{
    struct vcl_session *s = vcl__session_new(e, o->session_id);
    if (s == NULL)
        return NULL;
    if (!vcl__quota_join(s, t->client_id)) {
        vcl__session_free(s);
        return NULL;
    }
    s->keys = *keys;
    s->epoch = o->epoch;
    s->route = *from;
    vcl__trial_first(s);
    if (vcl__cookie_good(e, &from->addr, o)) /* S18: only its owner has it */
        vcl__trial_on_conn_frame(s, from);
    return s;
}

static struct vcl_conn *conn_create(struct vcl_session *s, const struct pmw_open *o)
{
    struct vcl_engine *e = s->e;
    struct pmw_cid id = {.server_id = e->cfg.server_id, .shard = e->cfg.shard};
    if (!vcl__slots_take(&e->slots, &e->mem, e->now, &id.slot, &id.generation))
        return NULL;
    uint64_t cid = pmw_cid_seal(&id, e->cfg.cid_key);
    struct vcl_conn *c = vcl__map_find(&e->conns, cid) != NULL ? NULL : vcl__conn_new(s);
    if (c == NULL) {
        vcl__slots_give(&e->slots, id.slot, e->now);
        return NULL;
    }
    c->slot = id.slot;
    uint32_t cipher = vcl__seal_choose(o->features);
    if (cipher != 0 && !vcl__seal_begin(c, cipher, cid)) {
        vcl__slots_give(&e->slots, id.slot, e->now);
        vcl__conn_free(c);
        return NULL;
    }
    c->features = cipher | (o->features & PMW_FEATURE_SHORT);
    c->port = o->client_port;
    c->open_nonce = o->open_nonce;
    c->backlogged = true;
    c->state = CONN_OPENING;
    vcl__map_insert(&e->opens, &c->by_nonce, o->open_nonce);
    list_push(&e->backlog, &c->place);
    e->nb_backlog++;
    vcl__conn_established(c, cid, o->rwnd);
    return c;
}

/* S2: the same (session, nonce) yields the same connection and the same answer, on the path on which it came. */
int vcl__on_open(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_open o;
    struct pmw_token t;
    struct pmw_session_keys fresh;
    uint8_t token_key[PMW_KEY_BYTES];
    if (pmw_open_decode(buf, len, &o) < 0 || o.epoch == 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    if (o.server_id != e->cfg.server_id || o.shard != e->cfg.shard || !token_authentic(e, o.token, &t, token_key))
        return vcl__drop(e, VCL_DROP_TOKEN);
    struct vcl_session *s = vcl__session_find(e, o.session_id);
    if (s != NULL && (s->dial != NULL || s->client_id != t.client_id))
        return vcl__drop(e, VCL_DROP_TOKEN);
    if (s == NULL)
        pmw_session_keys_derive(&fresh, token_key, o.session_id);
    const struct pmw_session_keys *keys = s != NULL ? &s->keys : &fresh;
    if (!pmw_control_check(buf, len, keys->mac_c2s))
        return vcl__drop(e, VCL_DROP_MAC);

    e->stats.opens++;
    struct vcl_conn *c = NULL;
    if (s != NULL) {
        vcl__session_on_rx(s, from);
        c = find_opened(s, o.open_nonce);
    }
    if (c == NULL) {
        if (e->closing)
            return refuse(e, from, s, &o, keys, PMW_REFUSED_CLOSED);
        if (!token_in_time(e, &t))
            return refuse(e, from, s, &o, keys, PMW_REFUSED_TOKEN_EXPIRED);
        if (must_ask(e, s, from, &o))
            return ask(e, from, s, &o, keys);
        if (!room(e, s, &t))
            return refuse(e, from, s, &o, keys, PMW_REFUSED_FULL);
        if (s == NULL)
            s = session_create(e, from, &o, &t, keys);
        c = s == NULL ? NULL : conn_create(s, &o);
        if (s != NULL)
            vcl__session_arm(s, s->last_rx + vcl__session_silence_max(s));
        if (c == NULL) /* a session that was just made for it goes with its timer */
            return refuse(e, from, s, &o, keys, PMW_REFUSED_FULL);
        e->stats.accepts++;
        vcl__conn_event(c, VCL_EV_CONN_ACCEPTED);
    }
    answer(e, from, s, c);
    return 0;
}
