/* SPDX-License-Identifier: Apache-2.0
 *
 * Planned moves of a client session, make before break (S19): away from a path that works, so nothing is given up for
 * it. The session stays ACTIVE throughout.
 *
 *   NONE ──▶ WAITS (jitter, S9) ──▶ ASKED: RESUME(e+1, PLANNED) on the other path ──▶ RESUME_ACK: new frames go there
 *                                     │ unanswered for 3 PTO
 *                                     ▼
 *                                   STAYS: RESUME(e+2, PLANNED) on the present path, so that a server which had heard
 * the first comes back too ──▶ RESUME_ACK, or the probes of the path judge it (S22), or after three epochs ──▶ ASKED
 */
#include "state.h"

#include <string.h>

enum {
    PLAN_PTOS = 3,         /* S19 */
    STAYS_MAX = 3,         /* S19: epochs, after which a path that answers no RESUME is left for one that does */
    PLAN_JITTER_US = 2000, /* S20: a helper that drains leaves time for it */
};

static void ask(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct plan *p = &d->plan;
    uint8_t buf[PMW_RESUME_FIXED_BYTES];
    struct pmw_resume r = {.session_id = s->id,
                           .nonce = p->nonce,
                           .epoch = p->epoch,
                           .server_id = d->server_id,
                           .helper_id = p->path.helper_id,
                           .shard = d->shard,
                           .flags = PMW_RESUME_PLANNED};
    int len = pmw_resume_encode(buf, sizeof(buf), &r);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__ctl_push(s->e, &(struct route){.addr = p->path.addr}, buf, len);
    s->e->stats.resumes_sent++;
    s->e->stats.frames_out++;
    if (p->state == PLAN_STAYS) /* silence is the present path's */
        vcl__path_on_sent(s);
    p->nb_sent++;
    p->at = s->e->now + vcl__session_pto(s);
    vcl__session_arm(s, p->at);
}

static void ask_first(struct vcl_session *s, enum plan_state state)
{
    struct plan *p = &s->dial->plan;
    p->epoch = vcl__dial_next_epoch(s);
    p->state = state;
    if (state == PLAN_ASKED)
        vcl__spacing_planned(&s->dial->spacing, s->e->now, s->e->cfg.move_interval_min_us);
    else
        vcl__spacing_moved(&s->dial->spacing, s->e->now, s->e->cfg.move_interval_min_us,
                           s->e->cfg.move_interval_max_us);
    p->nonce = vcl__random64(s->e);
    p->sent_at = s->e->now;
    p->nb_sent = 0;
    ask(s);
}

static bool possible(const struct vcl_session *s)
{
    const struct dial *d = s->dial;
    return d->state == VCL_PATH_ACTIVE && d->known && vcl__session_in_use(s) && s->e->now >= d->spacing.next_at &&
           !d->suspect_waits;
}

/* The present path still works. One that failed, or drains too, is no better: leaving for it would be for ever. */
static const struct vcl_path *free_candidate(const struct vcl_session *s)
{
    const struct dial *d = s->dial;
    const struct vcl_path *next = vcl__candidates_next(&d->candidates, s->e->now, s->e->now, &d->active);
    bool other = next != NULL && !vcl__path_equal(next, &d->active);
    return other && vcl__candidates_is_free(&d->candidates, s->e->now, next) ? next : NULL;
}

void vcl__plan_begin(struct vcl_session *s)
{
    struct dial *d = s->dial;
    if (d->plan.state != PLAN_NONE || !possible(s))
        return;
    const struct vcl_path *next = free_candidate(s);
    if (next == NULL)
        return;
    d->plan.state = PLAN_WAITS;
    d->plan.path = *next;
    d->plan.at = s->e->now + vcl__random64(s->e) % PLAN_JITTER_US;
    vcl__session_arm(s, d->plan.at);
}

/* Its epoch stays: the next one must be higher (S1). */
void vcl__plan_cancel(struct vcl_session *s)
{
    s->dial->plan.state = PLAN_NONE;
}

/* Nobody answers on the other path. Or on this one, though it works: the server knows its helper by another name, and
 * so takes no RESUME from it. Then the other candidates are asked, in turn. */
static void stay(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct plan *p = &d->plan;
    if (p->state == PLAN_ASKED) {
        vcl__candidates_fail(&d->candidates, s->e->now, &p->path, s->e->cfg.path_penalty_us);
        p->nb_stays = 0;
    } else if (p->nb_stays < STAYS_MAX) {
        p->nb_stays++;
    }
    const struct vcl_path *other = p->nb_stays == STAYS_MAX ? free_candidate(s) : NULL;
    if (other != NULL) {
        p->path = *other;
        ask_first(s, PLAN_ASKED);
        return;
    }
    p->path = d->active;
    ask_first(s, PLAN_STAYS);
}

/* Then a move is no planned one (S22). To ask it more than three times whether we may stay would be for nothing too. */
static bool present_path_is_silent(const struct vcl_session *s)
{
    const struct dial *d = s->dial;
    bool enough = d->plan.state == PLAN_STAYS && d->plan.nb_sent >= PLAN_PTOS;
    return d->suspect_waits || (enough && d->probe.nb_unanswered > 1);
}

uint64_t vcl__plan_on_timer(struct vcl_session *s)
{
    struct plan *p = &s->dial->plan;
    if (p->state == PLAN_NONE || !vcl__session_in_use(s))
        return VCL_NEVER;
    if (!vcl__due(s->e, p->at))
        return p->at + (p->at <= s->e->now ? s->e->lag_us : 0);
    if (p->state == PLAN_WAITS && !possible(s)) {
        p->state = PLAN_NONE;
        return VCL_NEVER;
    }
    if (present_path_is_silent(s)) { /* its probes judge it, and leave with a higher epoch, or it is heard again */
        p->at = s->e->now + vcl__session_pto(s);
        p->nb_stays = 0;
    } else if (p->state == PLAN_WAITS) {
        ask_first(s, PLAN_ASKED);
    } else if (p->nb_sent < PLAN_PTOS) {
        ask(s);
    } else if (s->e->now < s->dial->spacing.next_at) {
        p->at = s->dial->spacing.next_at;
    } else { /* until it is answered, or the session leaves: the server may be an epoch ahead of us */
        stay(s);
    }
    return p->at;
}

static void moved(struct vcl_session *s)
{
    struct dial *d = s->dial;
    d->from_helper_id = d->active.helper_id;
    d->silent_since = d->left_at = s->e->now;
    d->active = d->plan.path;
    d->active_since = d->plan.sent_at;
    d->nb_attempts = 0;
    d->all_tried = false;
    d->waiting_since = 0;
    d->last_rx = s->e->now;
    d->resume_tick_at = s->e->now; /* S16: what was asked in vain is asked here */
    d->nb_ticks = 1;
    d->suspect_waits = false;
    memset(&d->probe, 0, sizeof(d->probe));
    vcl__scout_stop(s);
    vcl__candidates_tried(&d->candidates, s->e->now, &d->active);
    s->route.addr = d->active.addr;
    s->rtt.min_us = 0;
    s->moves++;
    s->e->stats.path_moves++;
    vcl__session_on_move(s);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns) vcl__short_trust(container_of(n, struct vcl_conn, in_session));
}

bool vcl__plan_on_resume_ack(struct vcl_session *s, const struct pmw_resume_ack *a)
{
    struct dial *d = s->dial;
    struct plan *p = &d->plan;
    if ((p->state != PLAN_ASKED && p->state != PLAN_STAYS) || a->epoch != p->epoch || a->nonce != p->nonce)
        return false;
    bool moves = p->state == PLAN_ASKED;
    p->state = PLAN_NONE;
    s->epoch = p->epoch;
    if (moves)
        moved(s);
    /* What is in flight on the old path is answered on the new one: a slower path is known to be slower at once. */
    if (p->nb_sent == 1 && s->e->now - p->sent_at > s->rtt.srtt_us) {
        if (moves)
            vcl__rtt_forget(&s->rtt, &s->limits);
        vcl__session_on_rtt(s, s->e->now - p->sent_at);
    }
    vcl__path_on_proof(s, p->sent_at);
    vcl__path_on_activity(s);
    if (moves)
        vcl__dial_path_event(s, VCL_EV_PATH_MOVED);
    return true;
}
