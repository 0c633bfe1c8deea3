/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's path machine (S7-S15). One per session, fed with facts by the connections; it alone moves the epoch
 * (S1).
 *
 *            OPEN_ACK                silent, and another path answers (S22), or a hint
 *   DOWN ──────────────▶ ACTIVE ─────────────────────────────────────────▶ RESUMING ──┐ unanswered for 3 PTO:
 *                           ▲                    RESUME(e+1) on that path          │ ◀─┘ the next candidate, e+1
 *                           │ RESUME_ACK                                           │ all candidates tried
 *                           ├──────────────────────────────────────────────────────┤
 *                           └────────────────────────────────────────────────── STALLED ── hold_us ──▶ DEAD
 *
 * One timer, many reasons: the RESUME that is unanswered, the verdict that S9 delays, the next probe (S12).
 */
#include "state.h"

#include <string.h>

enum {
    ASKS_MAX = 16,           /* S16: about a second, after which another path is asked */
    RESUME_PTOS = 3,         /* S7 */
    RESUME_TRIAL_FRAMES = 3, /* S7: oldest data that follows an unanswered RESUME */
    RESUME_RTTS = 3,         /* a RESUME of 32 connections takes longer than the probe that measured the path */
    LEAVE_GRACE_US = 200,    /* S22: the active path's answer may be a moment behind that of the witness */
    LEAVE_JITTER_US = 2000,  /* S20 */
};

bool vcl__dial_may_open(const struct vcl_session *s)
{
    return s->dial->state == VCL_PATH_DOWN || s->dial->state == VCL_PATH_ACTIVE;
}

bool vcl__dial_may_send(const struct vcl_session *s)
{
    return s->dial->state == VCL_PATH_ACTIVE;
}

bool vcl__dial_gave_up(const struct vcl_session *s)
{
    return s->dial != NULL && s->dial->state == VCL_PATH_DEAD;
}

/* --- moving ------------------------------------------------------------------------------------ */
void vcl__dial_path_event(struct vcl_session *s, enum vcl_event_type type)
{
    struct dial *d = s->dial;
    vcl__session_event(s, &(struct vcl_event){.type = type,
                                              .helper_id = d->active.helper_id,
                                              .from_helper_id = d->from_helper_id,
                                              .epoch = s->epoch,
                                              .silent_since_us = d->silent_since});
}

uint32_t vcl__dial_next_epoch(const struct vcl_session *s)
{
    const struct plan *p = &s->dial->plan;
    return (p->epoch > s->epoch ? p->epoch : s->epoch) + 1;
}

/* A try is made; when all candidates had theirs, the agent is asked for others: again after each round without success.
 */
static void count_attempt(struct vcl_session *s)
{
    struct dial *d = s->dial;
    vcl__spacing_moved(&d->spacing, s->e->now, s->e->cfg.move_interval_min_us, s->e->cfg.move_interval_max_us);
    if (++d->nb_attempts <= d->candidates.count)
        return;
    d->nb_attempts = 0;
    d->all_tried = true;
    vcl__dial_path_event(s, VCL_EV_PATHS_WANTED);
}

/* The path that is tried is not the one that was measured: a slow one must not slow down the search. A witness (S22)
 * has measured it. */
static uint64_t resume_pto(const struct vcl_session *s, const struct vcl_path *path)
{
    const struct vcl_config *cfg = &s->e->cfg;
    uint64_t pto = vcl__session_pto(s), measured = cfg->pto_max_us;
    const struct candidate *c = vcl__candidates_of_helper(&s->dial->candidates, path->helper_id);
    if (c != NULL && c->echoed_at != 0 && c->echoed_at >= s->dial->scout.since && s->dial->scout.since != 0)
        measured = RESUME_RTTS * c->echo_rtt_us + s->limits.peer_delay_us;
    if (measured < cfg->pto_min_us)
        measured = cfg->pto_min_us;
    return pto < measured ? pto : measured;
}

/* `next` becomes the active path, under the next epoch (S1). */
static void choose(struct vcl_session *s, const struct vcl_path *next)
{
    struct dial *d = s->dial;
    if (next != NULL) {
        d->resume_pto_us = resume_pto(s, next);
        d->active = *next;
    } else {
        d->resume_pto_us = resume_pto(s, &d->active);
    }
    vcl__candidates_tried(&d->candidates, s->e->now, &d->active);
    d->active_since = s->e->now;
    s->route.addr = d->active.addr;
    vcl__ask_on_move(s);
    s->epoch = vcl__dial_next_epoch(s);
    memset(&d->probe, 0, sizeof(d->probe));
    d->suspect_waits = false;
    d->waiting_since = 0;
    vcl__scout_stop(s);
    vcl__plan_cancel(s);
    count_attempt(s);
}

/* RESUME of the session's epoch on the active path. */
static void resume(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    uint64_t pto = d->resume_pto_us, until = e->now + RESUME_PTOS * pto;
    d->state = d->all_tried || d->blind ? VCL_PATH_STALLED : VCL_PATH_RESUMING;
    d->resume_nonce = vcl__random64(e);
    d->resume_sent_at = e->now;
    d->resume_until = until > d->spacing.next_at ? until : d->spacing.next_at;
    d->resume_tick_at = e->now + pto;
    d->nb_ticks = 1;
    d->resume_budget = RESUME_TRIAL_FRAMES;
    vcl__resume_begin(s);
    vcl__session_arm(s, d->resume_tick_at);
}

static const struct vcl_path *next_in_turn(const struct vcl_session *s)
{
    return vcl__candidates_next(&s->dial->candidates, s->e->now, s->dial->left_at, &s->dial->active);
}

void vcl__dial_leave(struct vcl_session *s, bool blind)
{
    struct dial *d = s->dial;
    const struct vcl_path *witness = vcl__scout_best(s, &d->active);
    if (witness == NULL)
        witness = vcl__scout_best(s, NULL);
    d->from_helper_id = d->active.helper_id;
    d->left_at = blind ? d->silent_since : s->e->now;
    d->nb_attempts = 0;
    d->all_tried = false;
    d->blind = blind;
    vcl__candidates_tried(&d->candidates, s->e->now, &d->active);
    choose(s, blind || witness == NULL ? next_in_turn(s) : witness);
    resume(s);
}

/* Not in a round in which we ourselves were late. Probes that nobody answers stand also where a helper's own PONG ends
 * the silence: it says nothing of the server. */
void vcl__dial_suspect(struct vcl_session *s, uint64_t silent_since, bool by_silence)
{
    struct dial *d = s->dial;
    if (s->e->lag_us > 0 || d->state != VCL_PATH_ACTIVE)
        return;
    if (d->suspect_waits) {
        d->suspect_silent = d->suspect_silent && by_silence;
        return;
    }
    d->silent_since = silent_since;
    d->suspect_waits = true;
    d->suspect_silent = by_silence;
    d->leave_at = s->e->now + LEAVE_GRACE_US + vcl__random64(s->e) % LEAVE_JITTER_US;
    if (d->leave_at < d->spacing.next_at)
        d->leave_at = d->spacing.next_at;
    vcl__session_arm(s, d->leave_at);
}

/* The jitter is over, S9 allows it, and nothing revoked the verdict (vcl__path_on_proof). */
static void suspicion_ripe(struct vcl_session *s)
{
    struct dial *d = s->dial;
    const struct vcl_path *other = vcl__scout_best(s, &d->active);
    d->suspect_waits = false;
    if (d->suspect_silent && vcl__watch_silence(s) < vcl__watch_silence_min(s))
        return;
    d->from_helper_id = d->active.helper_id;
    vcl__dial_path_event(s, VCL_EV_PATH_SUSPECT);
    /* While S9 delays the move, probes are unanswered too: what counts for S10 is that still nothing arrived. */
    if (other != NULL && (d->suspect_silent || (vcl__watch_is_mute(s) && !d->probe.hinted)))
        vcl__candidates_silent(&d->candidates, s->e->now, &d->active, s->e->cfg.path_penalty_us);
    else if (other != NULL)
        vcl__candidates_fail(&d->candidates, s->e->now, &d->active, s->e->cfg.path_penalty_us);
    vcl__dial_leave(s, false);
}

void vcl__dial_ask(struct vcl_session *s, bool alarmed)
{
    if (s->dial->state == VCL_PATH_ACTIVE && s->dial->probe.nb_unanswered == 0)
        vcl__probe_send(s, alarmed);
}

/* An OPEN was unanswered twice. While the server may not know the session there is nothing to resume: the OPEN itself
 * goes by the next candidate, under the next epoch, and creates the session there (S2). */
void vcl__dial_on_open_silence(struct vcl_session *s, uint64_t silent_since)
{
    struct dial *d = s->dial;
    if (d->state != VCL_PATH_DOWN) {
        vcl__dial_ask(s, true);
        return;
    }
    if (s->last_rx > silent_since || s->e->now < d->spacing.next_at || s->e->lag_us > 0)
        return;
    vcl__candidates_fail(&d->candidates, s->e->now, &d->active, s->e->cfg.path_penalty_us);
    const struct vcl_path *next = vcl__candidates_next(&d->candidates, s->e->now, d->left_at, &d->active);
    if (next == NULL || vcl__path_equal(next, &d->active)) {
        count_attempt(s); /* there is only this one: it is tried on */
        return;
    }
    choose(s, next);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (!vcl__conn_is_opening(c->state) || c->token_refused)
            continue;
        c->nb_opens_sent = 0;
        c->want_open = true;
        vcl__conn_kick(c);
    }
}

void vcl__dial_on_open_answer(struct vcl_session *s, uint32_t server_epoch)
{
    struct dial *d = s->dial;
    d->known = true;
    if (d->state != VCL_PATH_DOWN)
        return;
    d->state = VCL_PATH_ACTIVE;
    d->nb_attempts = 0;
    d->all_tried = false;
    vcl__path_on_activity(s); /* the server may speak first */
    if (server_epoch == s->epoch)
        return;
    /* The first OPEN had arrived after all: the server still sends by the path on which it came. Move it here. */
    d->from_helper_id = d->active.helper_id;
    d->left_at = d->silent_since = s->e->now;
    d->blind = false;
    d->resume_pto_us = resume_pto(s, &d->active);
    resume(s);
}

/* A RESUME_ACK of the present epoch: the server sends by the active path now. */
void vcl__dial_resumed(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (d->state != VCL_PATH_RESUMING && d->state != VCL_PATH_STALLED)
        return;
    d->state = VCL_PATH_ACTIVE;
    d->blind = false;
    d->last_rx = e->now;
    vcl__rtt_forget(&s->rtt, &s->limits);
    if (d->nb_ticks == 1) /* repeated ones say how long the outage was, not the path (Karn) */
        vcl__session_on_rtt(s, e->now - d->resume_sent_at);
    vcl__path_on_proof(s, d->resume_sent_at);
    vcl__path_on_activity(s);
    s->moves++;
    e->stats.path_moves++;
    vcl__dial_path_event(s, VCL_EV_PATH_MOVED);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (vcl__conn_is_opening(c->state)) {
            c->want_open = !c->token_refused;
            c->nb_opens_sent = 0;
        } else if (vcl__conn_is_live(c->state)) {
            vcl__cc_reset(&c->cc, c->sent.next_order); /* C5 */
            vcl__ask_end(c);
            vcl__short_trust(c); /* another helper, other bindings */
            vcl__conn_arm(c);
        } else {
            vcl__conn_reset_again(c);
        }
        vcl__conn_kick(c);
    }
}

/* --- time ---------------------------------------------------------------------------------------- */
/* RESUME goes again after a PTO, and ever later when nobody answers: a herd must not ask faster than it is served. */
static void tick_again(struct vcl_session *s, uint64_t pto)
{
    struct dial *d = s->dial;
    for (uint8_t n = RESUME_PTOS; n < d->nb_ticks && pto < s->e->cfg.pto_max_us; n++)
        pto *= 2;
    if (d->nb_ticks < UINT8_MAX)
        d->nb_ticks++;
    d->resume_tick_at = s->e->now + pto;
}

static uint64_t on_timer_resuming(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (vcl__due(e, d->left_at + e->cfg.hold_us)) {
        d->state = VCL_PATH_DEAD;
        vcl__session_end(s, VCL_ERR_TIMEOUT);
        vcl__resume_stop(s);
        return VCL_NEVER;
    }
    const struct vcl_path *witness = vcl__due(e, d->resume_until) ? vcl__scout_best(s, &d->active) : NULL;
    if (witness != NULL) {
        vcl__candidates_fail(&d->candidates, e->now, &d->active, e->cfg.path_penalty_us);
        d->blind = false;
        choose(s, witness);
        resume(s);
    } else if (vcl__due(e, d->resume_until) && vcl__due(e, d->resume_sent_at + e->cfg.move_interval_max_us)) {
        d->blind = true; /* S22: not more than one epoch each second for want of knowledge */
        choose(s, next_in_turn(s));
        resume(s);
    } else if (vcl__due(e, d->resume_tick_at)) {
        tick_again(s, d->resume_pto_us);
        vcl__resume_relist(s);
        vcl__scout_round(s);
    }
    return d->resume_until > e->now && d->resume_until < d->resume_tick_at ? d->resume_until : d->resume_tick_at;
}

static uint64_t on_timer_active(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (d->suspect_waits && e->now >= d->leave_at && e->lag_us == 0)
        suspicion_ripe(s);
    if (d->state != VCL_PATH_ACTIVE)
        return d->resume_tick_at;
    uint64_t next = vcl__probe_on_timer(s);
    if (d->state != VCL_PATH_ACTIVE)
        return next;
    if (d->nb_resume_waits > 0) { /* a RESUME or its answer was lost, though another of this epoch moved us */
        if (vcl__due(e, d->resume_tick_at)) {
            tick_again(s, vcl__session_pto(s));
            vcl__resume_relist(s);
            if (d->nb_ticks > ASKS_MAX && d->probe.nb_unanswered <= 1) /* else it is silent: S22 */
                vcl__advice_other_helper(s);
        }
        next = d->resume_tick_at < next ? d->resume_tick_at : next;
    }
    if (d->suspect_waits && d->leave_at < next)
        next = d->leave_at;
    uint64_t plan = vcl__plan_on_timer(s), home = vcl__home_on_timer(s);
    next = plan < next ? plan : next;
    return home < next ? home : next;
}

uint64_t vcl__dial_on_timer(struct vcl_session *s)
{
    switch (s->dial->state) {
    case VCL_PATH_ACTIVE:
        return on_timer_active(s);
    case VCL_PATH_RESUMING:
    case VCL_PATH_STALLED:
        return on_timer_resuming(s);
    default: /* DOWN: the OPENs have timers of their own */
        return VCL_NEVER;
    }
}
