/* SPDX-License-Identifier: Apache-2.0
 *
 * A server session's path, which a client names and has to prove (S18, S19). An address in an authentic frame may be a
 * lie: before its owner has answered a challenge it gets at most three times the bytes that came from it.
 *
 *             first OPEN
 *                 │          DATA or ACK of a CID that went nowhere else; PATH_RESPONSE
 *                 ▼
 *   ┌──────▶ FIRST (3x) ───────────────────────────────────────────────▶ VALIDATED(e) ◀──────────────────┐
 *   │                          RESUME(e') by another path                   │    │ RESUME(e', PLANNED)    │
 *   │                       ┌───────────────────────────────────────────────┘    ▼                        │
 *   │                       ▼                                                 PENDING(e'): sends by the ──┤
 * PATH_RESPONSE │                    MOVING(e'): sends by the path on trial, 3x ──────────┐ validated path │ by the
 * path │                       │ 6 challenges unanswered                         │ 6 challenges unanswered:   │ on
 * trial └───────────────────────┴──▶ back to the validated path, epoch e' ────────┼─ forgotten ────────────────┤
 *                                                                             └────────────────────────────┘
 *
 * Timer: a challenge is repeated after one PTO, then after two, four ...: 63 PTOs in all (challenge_pto).
 */
#include "state.h"

enum {
    TRIAL_CHALLENGES = 6, /* S18: 63 PTOs: before a round trip is known, the PTO is far below that of a far path. One
                             that the limit refuses counts too: the trial ends */
    TRIAL_FACTOR = 3,     /* S18; RFC 9000 8.1 */
};

static struct route *on_trial(struct vcl_session *s)
{
    return s->trial.planned ? &s->trial.pending : &s->route;
}

static void kick_all(struct vcl_session *s)
{
    struct list *n, *tmp;
    s->trial.blocked = false;
    list_each(n, tmp, &s->conns) vcl__conn_kick(container_of(n, struct vcl_conn, in_session));
}

static void begin(struct vcl_session *s)
{
    struct trial *t = &s->trial;
    *t = (struct trial){.validated = t->validated,
                        .has_validated = t->has_validated,
                        .running = true,
                        .blocked = t->blocked, /* what the path that is left held back waits for this one */
                        .nb_failed = t->nb_failed,
                        .challenge = vcl__random64(s->e) | 1, /* 0 says in RESUME_ACK that nothing is asked */
                        .sent_at = s->e->now,
                        .bytes_in = s->e->frame_len};
}

/* Doubled each time: nothing is known of the round trip of a path on trial. Nor does a trial that failed tell more than
 * that its time was too short, perhaps: the next one has twice as much, up to 63 pto_max. */
static uint64_t challenge_pto(const struct vcl_session *s)
{
    return vcl__rtt_pto(&s->rtt, &s->limits, s->trial.nb_failed) << (s->trial.nb_challenges - 1);
}

void vcl__trial_first(struct vcl_session *s)
{
    begin(s);
    s->trial.first = true;
}

void vcl__trial_begin(struct vcl_session *s, const struct route *to)
{
    struct trial *t = &s->trial;
    if (t->has_validated && route_equal(&t->validated, to)) {
        t->running = t->planned = false;
        t->nb_failed = 0;
        kick_all(s); /* what did not fit the limit of the path that was left */
        return;
    }
    begin(s);
    t->nb_challenges = 1; /* the one in RESUME_ACK */
    vcl__session_arm(s, s->e->now + challenge_pto(s));
}

void vcl__trial_plan(struct vcl_session *s, const struct route *to, uint32_t epoch)
{
    vcl__trial_begin(s, to);
    s->trial.planned = true;
    s->trial.pending = *to;
    s->trial.pending_epoch = epoch;
}

size_t vcl__trial_room(const struct vcl_session *s)
{
    const struct trial *t = &s->trial;
    if (s->dial != NULL || !t->running || t->planned)
        return SIZE_MAX;
    uint64_t limit = TRIAL_FACTOR * t->bytes_in;
    return limit > t->bytes_out ? (size_t)(limit - t->bytes_out) : 0;
}

bool vcl__trial_takes(struct vcl_session *s, const struct route *to, size_t len)
{
    struct trial *t = &s->trial;
    if (s->dial != NULL || !t->running || !route_equal(to, on_trial(s)))
        return true;
    if (t->bytes_out + len > TRIAL_FACTOR * t->bytes_in)
        return false;
    t->bytes_out += len;
    return true;
}

void vcl__trial_sent(struct vcl_session *s, size_t len)
{
    if (s->dial == NULL && s->trial.running && !s->trial.planned)
        s->trial.bytes_out += len;
}

static void challenge_send(struct vcl_session *s, const struct route *to, uint32_t epoch, uint64_t nonce)
{
    uint8_t buf[PMW_PATH_BYTES];
    struct pmw_path p = {.session_id = s->id,
                         .challenge = nonce,
                         .epoch = epoch,
                         .server_id = s->e->cfg.server_id,
                         .helper_id = to->trunk != NULL ? to->trunk->helper_id : 0,
                         .shard = s->e->cfg.shard};
    int len = pmw_path_encode(buf, sizeof(buf), PMW_PATH_CHALLENGE, &p);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_s2c);
    s->e->stats.frames_out++;
    vcl__ctl_push(s->e, to, buf, len);
}

static bool challenge(struct vcl_session *s)
{
    struct trial *t = &s->trial;
    if (t->bytes_out + PMW_PATH_BYTES > TRIAL_FACTOR * t->bytes_in)
        return false;
    t->bytes_out += PMW_PATH_BYTES;
    t->nb_copies++;
    challenge_send(s, on_trial(s), t->planned ? t->pending_epoch : s->epoch, t->challenge);
    return true;
}

/* C4. One question at a time; a path on trial is being asked anyhow. */
void vcl__trial_ask(struct vcl_session *s)
{
    struct ask *a = &s->ask;
    if ((a->sent_at != 0 && s->e->now < a->again_at) || (s->trial.running && !s->trial.planned))
        return;
    if (a->sent_at == 0) {
        a->nonce = vcl__random64(s->e);
        a->sent_at = s->e->now;
    }
    a->again_at = s->e->now + vcl__session_pto(s);
    s->e->stats.probes_sent++;
    challenge_send(s, &s->route, s->epoch, a->nonce);
}

static bool answers_ask(struct vcl_session *s, const struct route *from, uint64_t nonce)
{
    struct ask *a = &s->ask;
    uint64_t sent_at = a->sent_at;
    if (sent_at == 0 || nonce != a->nonce || !route_equal(from, &s->route))
        return false;
    a->sent_at = 0;
    vcl__ask_on_proof(s, sent_at);
    return true;
}

void vcl__trial_ask_again(struct vcl_session *s, const struct route *from, uint32_t epoch)
{
    const struct trial *t = &s->trial;
    if (t->running && t->planned && epoch == t->pending_epoch && route_equal(from, &t->pending))
        (void)challenge(s);
}

/* A frame does not fit the limit. Who only listens (the server speaks first) proves nothing by itself: ask. */
void vcl__trial_blocked(struct vcl_session *s)
{
    struct trial *t = &s->trial;
    t->blocked = true;
    if (t->nb_challenges == 0 && challenge(s)) {
        t->nb_challenges = 1;
        t->sent_at = s->e->now;
        vcl__session_arm(s, s->e->now + challenge_pto(s));
    }
}

void vcl__trial_on_rx(struct vcl_session *s, const struct route *from)
{
    struct trial *t = &s->trial;
    if (!t->running || !route_equal(from, on_trial(s)))
        return;
    t->bytes_in += s->e->frame_len;
    if (t->blocked)
        kick_all(s);
}

static void validated(struct vcl_session *s)
{
    struct trial *t = &s->trial;
    if (t->planned) { /* S19: nothing in flight is given up; it goes on being acknowledged, by the path that it took */
        s->epoch = t->pending_epoch;
        s->route = t->pending;
        s->moves++;
        s->e->stats.path_moves++;
        s->e->stats.resumes_accepted++;
        s->rtt.min_us = 0; /* the rest is the best guess for the frames of both paths */
        vcl__session_on_move(s);
    }
    t->validated = s->route;
    t->has_validated = true;
    t->running = t->planned = false;
    t->nb_failed = 0;
    kick_all(s);
}

void vcl__trial_on_conn_frame(struct vcl_session *s, const struct route *from)
{
    if (s->dial == NULL && s->trial.running && s->trial.first && route_equal(from, &s->route))
        validated(s);
}

/* S18: whoever has the CID by another path may name the first one for a victim's. */
void vcl__trial_cid_told(struct vcl_session *s, const struct route *to)
{
    if (!route_equal(to, &s->route))
        s->trial.first = false;
}

/* S18: back to what is known to work. Frames that were sent meanwhile are missing there, as the client will say. */
static void failed(struct vcl_session *s)
{
    struct trial *t = &s->trial;
    bool planned = t->planned;
    s->e->stats.trials_failed++;
    t->running = t->planned = false;
    if (planned)
        return;
    t->nb_failed++;
    s->route = t->validated;
    vcl__ask_on_move(s);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns) vcl__conn_reset_again(container_of(n, struct vcl_conn, in_session));
    kick_all(s);
}

uint64_t vcl__trial_on_timer(struct vcl_session *s)
{
    struct trial *t = &s->trial;
    if (!t->running || t->nb_challenges == 0)
        return VCL_NEVER;
    uint64_t at = t->sent_at + challenge_pto(s);
    if (!vcl__due(s->e, at))
        return at + (at <= s->e->now ? s->e->lag_us : 0);
    t->sent_at = s->e->now;
    if (t->nb_challenges < TRIAL_CHALLENGES) {
        (void)challenge(s);
        t->nb_challenges++;
    } else if (t->has_validated) {
        failed(s);
        return VCL_NEVER;
    } else {
        t->nb_challenges = 0; /* the first path: nothing to return to; the limit stays */
        return VCL_NEVER;
    }
    return s->e->now + challenge_pto(s);
}

int vcl__on_path_response(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_path p;
    if (pmw_path_decode(buf, len, &p) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, p.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial != NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!pmw_control_check(buf, len, s->keys.mac_c2s))
        return vcl__drop(e, VCL_DROP_MAC);
    vcl__session_on_rx(s, from);
    struct trial *t = &s->trial;
    if (answers_ask(s, from, p.challenge))
        return 0;
    if (!t->running || p.challenge != t->challenge || !route_equal(from, on_trial(s)))
        return vcl__drop(e, VCL_DROP_STALE_EPOCH);
    if (t->nb_challenges == 1 && t->nb_copies == 1) /* C4, Karn */
        vcl__session_on_rtt(s, e->now - t->sent_at);
    validated(s);
    return 0;
}
