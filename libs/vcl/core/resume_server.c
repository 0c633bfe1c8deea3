/* SPDX-License-Identifier: Apache-2.0
 *
 * The server's end of a move (S3, S4, S19): RESUME in, RESUME_ACK out, and PROBE, which asks where the session is (S8).
 */
#include "state.h"

#include <assert.h>

/* S3: a higher epoch moves the session. Connections that no RESUME will list get one PTO from now; those listed are
 * dealt with one by one. */
static void move(struct vcl_session *s, const struct route *from, uint32_t epoch, bool planned)
{
    s->epoch = epoch;
    s->route = *from;
    s->moves++;
    s->e->stats.path_moves++;
    s->e->stats.resumes_accepted++;
    vcl__trial_begin(s, from);
    vcl__ask_on_move(s);
    if (planned) /* S19: back to where it is, or before the first path was proved; nothing in flight is given up */
        return;
    vcl__rtt_forget(&s->rtt, &s->limits);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (vcl__conn_is_live(c->state)) {
            vcl__sentmap_restart(&c->sent, s->e->now);
            vcl__cc_reset(&c->cc, c->sent.next_order);
            vcl__ask_end(c);
            vcl__short_trust(c);
            vcl__short_pause(c);
            vcl__conn_arm(c);
        } else {
            vcl__conn_reset_again(c);
        }
        vcl__conn_kick(c);
    }
}

/* The client's view of one connection in, ours out. */
static struct pmw_resume_ack_conn server_apply(struct vcl_session *s, const struct pmw_resume_conn *k)
{
    struct pmw_resume_ack_conn out = {.cid = k->cid, .window = PMW_WINDOW_GONE};
    struct vcl_conn *c = vcl__resume_conn(s, k->cid);
    if (c == NULL || c->error != VCL_OK || k->snd_una > c->rcv.nxt || !vcl__conn_on_peer_state(c, k->rcv_nxt, 0))
        return out;
    vcl__conn_heard(c);
    if (c->resumed_epoch != s->epoch) {
        c->resumed_epoch = s->epoch;
        vcl__resume_resend_gap(c);
    }
    out.rcv_nxt = c->rcv.nxt;
    out.snd_una = c->snd.una;
    out.window = vcl__conn_window(c);
    return out;
}

/* MAC first; then the path that it names must be the path on which it came: a copy cannot move us elsewhere. */
static int resume_authentic(struct vcl_engine *e, const struct route *from, const struct pmw_resume *r,
                            struct vcl_session *s, const uint8_t *buf, size_t len)
{
    uint16_t came_by = from->trunk != NULL ? from->trunk->helper_id : 0;
    if (s == NULL)
        return VCL_DROP_UNKNOWN_SESSION;
    if (s->dial != NULL)
        return VCL_DROP_ROLE;
    if (!pmw_control_check(buf, len, s->keys.mac_c2s) || r->helper_id != came_by || r->server_id != e->cfg.server_id ||
        r->shard != e->cfg.shard)
        return VCL_DROP_MAC;
    return r->epoch < s->epoch ? VCL_DROP_STALE_EPOCH : 0;
}

static void send_answer(struct vcl_session *s, const struct route *to, struct pmw_resume_ack *a)
{
    uint8_t out[PMW_RESUME_ACK_FIXED_BYTES + PMW_RESUME_CONNS_MAX * PMW_RESUME_ACK_CONN_BYTES];
    int n = pmw_resume_ack_encode(out, sizeof(out), a);
    assert(n > 0);
    pmw_control_seal(out, (size_t)n, s->keys.mac_s2c);
    s->e->stats.frames_out++;
    if (!vcl__trial_takes(s, to, (size_t)n)) { /* S18: the client repeats it */
        vcl__drop(s->e, VCL_DROP_LIMIT);
        return;
    }
    s->trial.nb_copies += a->challenge != 0;
    vcl__ctl_push(s->e, to, out, n);
}

/* S19: the present path serves on until the client has answered the challenge by the other one. Only from a path that
 * is proved, to another: else there is nothing to stay on, or nothing to prove. */
static bool is_pending(const struct vcl_session *s, const struct route *from, const struct pmw_resume *r)
{
    const struct trial *t = &s->trial;
    bool moving = t->running && !t->planned;
    return (r->flags & PMW_RESUME_PLANNED) != 0 && r->epoch > s->epoch && t->has_validated && !moving &&
           !route_equal(from, &t->validated);
}

static void answer_planned(struct vcl_session *s, const struct route *from, const struct pmw_resume *r)
{
    struct trial *t = &s->trial;
    if (!t->planned || r->epoch > t->pending_epoch)
        vcl__trial_plan(s, from, r->epoch);
    struct pmw_resume_ack a = {
        .session_id = s->id, .nonce = r->nonce, .challenge = t->challenge, .epoch = t->pending_epoch};
    send_answer(s, &t->pending, &a);
}

int vcl__resume_answer(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_resume r;
    (void)pmw_resume_decode(buf, len, &r); /* it did before it waited; the session may have ended, or moved on */
    struct vcl_session *s = vcl__session_find(e, r.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (r.epoch < s->epoch || r.epoch < s->epoch_seen) /* a later one waits behind it */
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    /* S19: another path has been asked since. That this one comes late, by whichever path, does not take that back. */
    if (r.epoch > s->epoch && s->trial.planned && r.epoch < s->trial.pending_epoch)
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    vcl__session_on_rx(s, from);
    if (is_pending(s, from, &r)) {
        answer_planned(s, from, &r);
        return 0;
    }
    if (r.epoch > s->epoch)
        move(s, from, r.epoch, (r.flags & PMW_RESUME_PLANNED) != 0);
    struct pmw_resume_ack a = {.session_id = s->id,
                               .nonce = r.nonce,
                               .challenge = s->trial.running && !s->trial.planned ? s->trial.challenge : 0,
                               .epoch = s->epoch,
                               .nb_conns = r.nb_conns};
    for (uint8_t i = 0; i < r.nb_conns; i++)
        a.conns[i] = server_apply(s, &r.conns[i]);
    send_answer(s, &s->route, &a);
    return 0;
}

int vcl__on_resume(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_resume r;
    if (pmw_resume_decode(buf, len, &r) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, r.session_id);
    int drop = resume_authentic(e, from, &r, s, buf, len);
    if (drop == VCL_DROP_UNKNOWN_SESSION)
        vcl__answer_resume_for_predecessor(e, from, &r);
    if (drop != 0)
        return vcl__drop(e, (enum vcl_drop)drop);
    bool is_turn = vcl__herd_enter(e, from, buf, len, &drop); /* S20: only what is authentic may wait */
    if (drop != 0)                                            /* no room: it overtakes nothing that waits (S20) */
        return drop;
    if (r.epoch > s->epoch_seen && (r.flags & PMW_RESUME_PLANNED) == 0)
        s->epoch_seen = r.epoch;
    if (!is_turn)
        return 0;
    return vcl__resume_answer(e, from, buf, len);
}

/* S8: answered on the session's path when it names the session's epoch. Was the RESUME of that epoch first seen as a
 * copy from a wrong address, then the client hears nothing and moves on. Under another epoch the path on which it came
 * is what it asks about. */
int vcl__on_probe(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_probe p;
    uint8_t out[PMW_ECHO_BYTES];
    if (pmw_probe_decode(buf, len, &p) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, p.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial != NULL && p.bytes == PMW_PROBE_BYTES) /* a server asks for sizes only (S21) */
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, vcl__mac_key_in(s)))
        return vcl__drop(e, VCL_DROP_MAC);
    if (vcl__dial_gave_up(s))
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    vcl__session_on_rx(s, from);
    if (s->dial == NULL && p.epoch > s->epoch) { /* S19: the client has moved and we have not heard its PATH_RESPONSE */
        vcl__trial_ask_again(s, from, p.epoch);
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    }
    int n = pmw_probe_encode(out, sizeof(out), PMW_ECHO, &p);
    pmw_control_seal(out, (size_t)n, vcl__mac_key_out(s));
    const struct route *to = s->dial == NULL && p.epoch == s->epoch ? &s->route : from;
    if (!vcl__trial_takes(s, to, (size_t)n)) /* S18 */
        return vcl__drop(e, VCL_DROP_LIMIT);
    e->stats.frames_out++;
    vcl__ctl_push(e, to, out, n);
    return 0;
}
