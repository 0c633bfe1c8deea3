/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's path machine (S7-S12). One per session, fed with facts by the connections; it alone moves the epoch (S1).
 *
 *            OPEN_ACK                silent: two PTOs or two probes, or a hint
 *   DOWN ──────────────▶ ACTIVE ─────────────────────────────────────────▶ RESUMING ──┐ unanswered for 3 PTO:
 *                           ▲                    RESUME(e+1) on the next candidate │ ◀─┘ the next candidate, e+1
 *                           │ RESUME_ACK                                           │ all candidates tried
 *                           ├──────────────────────────────────────────────────────┤
 *                           └────────────────────────────────────────────────── STALLED ── hold_us ──▶ DEAD
 *
 * One timer, many reasons: the RESUME that is unanswered, the verdict that S9 delays, the next probe (S12).
 */
#include "state.h"

#include <string.h>

enum {
    PROBE_SILENCE_US_FIRST = 20000,  /* S12 */
    PROBE_SILENCE_US_MAX = 1000000,  /* S12 */
    KEEPALIVE_US = 5000000,          /* S12 */
    PROBE_SLOW_MAX = 2,              /* S12: answers at the longest silence before only keepalives are sent */
    PROBES_SILENT = 2,               /* S8 */
    RESUME_PTOS = 3,                 /* S7 */
    RESUME_TRIAL_FRAMES = 3,         /* S7: oldest data that follows an unanswered RESUME */
};

bool vcl__dial_may_open(const struct vcl_session *s)
{
    return s->dial->state == VCL_PATH_DOWN || s->dial->state == VCL_PATH_ACTIVE;
}

bool vcl__dial_may_send(const struct vcl_session *s)
{
    return s->dial->state == VCL_PATH_ACTIVE;
}

/* --- probes (S8, S12) ------------------------------------------------------------------------ */
/* How long a probe may be unanswered. Those that only pass the time until S9 allows a move come slower and slower. */
static uint64_t probe_gap(const struct vcl_session *s)
{
    uint64_t gap = vcl__session_pto(s);
    if (gap < s->e->cfg.probe_interval_us)
        gap = s->e->cfg.probe_interval_us;
    for (uint8_t n = PROBES_SILENT; n < s->dial->probe.nb_unanswered && gap < s->e->cfg.pto_max_us; n++)
        gap *= 2;
    return gap;
}

static void probe_send(struct vcl_session *s)
{
    struct dial *d = s->dial;
    uint8_t buf[PMW_PROBE_BYTES];
    if (d->probe.nb_unanswered == 0) {
        d->probe.nonce = vcl__random64(s->e); /* a series counts up from here */
        d->probe.first_sent_at = s->e->now;
    }
    struct pmw_probe p = {.session_id = s->id,
                          .nonce = d->probe.nonce + d->probe.nb_unanswered,
                          .epoch = s->epoch,
                          .server_id = d->server_id,
                          .helper_id = d->active.helper_id,
                          .shard = d->shard};
    int len = pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &p);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__ctl_push(s->e, &s->route, buf, len);
    d->probe.nb_unanswered++;
    d->probe.sent_at = s->e->now;
    s->e->stats.probes_sent++;
    s->e->stats.frames_out++;
    vcl__session_arm(s, s->e->now + probe_gap(s));
}

void vcl__dial_on_activity(struct vcl_session *s)
{
    struct dial *d = s->dial;
    d->activity_at = s->e->now;
    d->probe.interval_us = PROBE_SILENCE_US_FIRST;
    d->probe.nb_slow = 0;
    vcl__session_arm(s, s->e->now + PROBE_SILENCE_US_FIRST);
}

/* Something sent at sent_at has arrived and its answer too. What was sent before the active path was chosen went by
 * another. */
void vcl__dial_on_proof(struct vcl_session *s, uint64_t sent_at)
{
    struct dial *d = s->dial;
    if (sent_at < d->active_since)
        return;
    if (sent_at > d->last_proof)
        d->last_proof = sent_at;
    d->probe.nb_unanswered = 0;
    d->probe.hinted = false;
    d->suspect_waits = false;
}

static bool is_of_series(const struct dial *d, const struct pmw_probe *p)
{
    return p->nonce - d->probe.nonce < d->probe.nb_unanswered;
}

int vcl__dial_on_echo(struct vcl_session *s, const struct pmw_probe *p)
{
    struct dial *d = s->dial;
    if (!is_of_series(d, p))
        return 0; /* of an earlier path, or answered before */
    if (d->probe.nb_unanswered == 1)
        vcl__rtt_sample(&s->rtt, s->e->now - d->probe.sent_at);
    vcl__dial_on_proof(s, d->probe.first_sent_at);
    if (d->probe.interval_us < PROBE_SILENCE_US_MAX)
        d->probe.interval_us = d->probe.interval_us * 2 < PROBE_SILENCE_US_MAX ? d->probe.interval_us * 2
                                                                              : PROBE_SILENCE_US_MAX;
    else if (d->probe.nb_slow < PROBE_SLOW_MAX)
        d->probe.nb_slow++;
    return 0;
}

/* --- moving ------------------------------------------------------------------------------------ */
static void path_event(struct vcl_session *s, enum vcl_event_type type)
{
    struct dial *d = s->dial;
    vcl__session_event(s, &(struct vcl_event){.type = type,
                                              .helper_id = d->active.helper_id,
                                              .from_helper_id = d->from_helper_id,
                                              .epoch = s->epoch,
                                              .silent_since_us = d->silent_since});
}

/* A try is made; when all candidates had theirs, the agent is asked for others: again after each round without success. */
static void count_attempt(struct vcl_session *s)
{
    struct dial *d = s->dial;
    vcl__spacing_moved(&d->spacing, s->e->now, s->e->cfg.move_interval_min_us, s->e->cfg.move_interval_max_us);
    if (++d->nb_attempts <= d->candidates.count)
        return;
    d->nb_attempts = 0;
    d->all_tried = true;
    path_event(s, VCL_EV_PATHS_WANTED);
}

/* The next candidate becomes the active path, under the next epoch (S1). */
static void choose(struct vcl_session *s)
{
    struct dial *d = s->dial;
    const struct vcl_path *next = vcl__candidates_next(&d->candidates, s->e->now, &d->active);
    if (next != NULL)
        d->active = *next;
    vcl__candidates_tried(&d->candidates, s->e->now, &d->active);
    d->active_since = s->e->now;
    s->route.addr = d->active.addr;
    s->epoch++;
    memset(&d->probe, 0, sizeof(d->probe));
    d->suspect_waits = false;
    count_attempt(s);
}

/* The path that is tried is not the one that was measured: a slow one must not slow down the search. */
static uint64_t resume_pto(const struct vcl_session *s)
{
    uint64_t pto = vcl__session_pto(s);
    return pto < s->e->cfg.pto_max_us ? pto : s->e->cfg.pto_max_us;
}

/* RESUME of the session's epoch on the active path. */
static void resume(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    uint64_t pto = resume_pto(s), until = e->now + RESUME_PTOS * pto;
    d->state = d->all_tried ? VCL_PATH_STALLED : VCL_PATH_RESUMING;
    d->resume_nonce = vcl__random64(e);
    d->resume_sent_at = e->now;
    d->resume_until = until > d->spacing.next_at ? until : d->spacing.next_at;
    d->resume_tick_at = e->now + pto;
    d->nb_ticks = 1;
    d->resume_budget = RESUME_TRIAL_FRAMES;
    vcl__resume_begin(s);
    vcl__session_arm(s, d->resume_tick_at);
}

static void leave(struct vcl_session *s)
{
    struct dial *d = s->dial;
    d->from_helper_id = d->active.helper_id;
    d->left_at = s->e->now;
    d->nb_attempts = 0;
    d->all_tried = false;
    choose(s);
    resume(s);
}

/* The verdict of S7 and S8. Not in a round in which we ourselves were late, and not before S9 allows a move. */
static void suspect(struct vcl_session *s, uint64_t silent_since)
{
    struct dial *d = s->dial;
    if (s->e->lag_us > 0 || d->suspect_waits || d->state != VCL_PATH_ACTIVE)
        return;
    d->silent_since = silent_since;
    d->from_helper_id = d->active.helper_id;
    path_event(s, VCL_EV_PATH_SUSPECT);
    vcl__candidates_fail(&d->candidates, s->e->now, &d->active, s->e->cfg.path_penalty_us);
    if (s->e->now < d->spacing.next_at) {
        d->suspect_waits = true;
        vcl__session_arm(s, d->spacing.next_at);
        return;
    }
    leave(s);
}

void vcl__dial_on_conn_pto(struct vcl_session *s, uint8_t pto_count, uint64_t first_sent_at)
{
    struct dial *d = s->dial;
    if (d->state != VCL_PATH_ACTIVE)
        return;
    if (pto_count >= 2 && d->last_rx <= first_sent_at)
        suspect(s, first_sent_at);
    else if (d->probe.nb_unanswered == 0)
        probe_send(s);
}

/* An OPEN was unanswered twice. While the server may not know the session there is nothing to resume: the OPEN itself
 * goes by the next candidate, under the next epoch, and creates the session there (S2). */
void vcl__dial_on_open_silence(struct vcl_session *s, uint64_t silent_since)
{
    struct dial *d = s->dial;
    if (d->state != VCL_PATH_DOWN) {
        vcl__dial_on_conn_pto(s, 2, silent_since);
        return;
    }
    if (s->last_rx > silent_since || s->e->now < d->spacing.next_at || s->e->lag_us > 0)
        return;
    vcl__candidates_fail(&d->candidates, s->e->now, &d->active, s->e->cfg.path_penalty_us);
    const struct vcl_path *next = vcl__candidates_next(&d->candidates, s->e->now, &d->active);
    if (next == NULL || vcl__path_equal(next, &d->active)) {
        count_attempt(s); /* there is only this one: it is tried on */
        return;
    }
    choose(s);
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
    if (server_epoch == s->epoch)
        return;
    /* The first OPEN had arrived after all: the server still sends by the path on which it came. Move it here. */
    d->from_helper_id = d->active.helper_id;
    d->left_at = s->e->now;
    d->silent_since = s->e->now;
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
    d->last_rx = e->now;
    s->rtt.sampled = false; /* another path: at most this long */
    vcl__rtt_sample(&s->rtt, e->now - d->resume_sent_at);
    vcl__dial_on_proof(s, d->resume_sent_at);
    vcl__dial_on_activity(s);
    s->moves++;
    e->stats.path_moves++;
    path_event(s, VCL_EV_PATH_MOVED);
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns)
    {
        struct vcl_conn *c = container_of(n, struct vcl_conn, in_session);
        if (vcl__conn_is_opening(c->state)) {
            c->want_open = !c->token_refused;
            c->nb_opens_sent = 0;
        } else if (vcl__conn_is_live(c->state)) {
            vcl__cc_reset(&c->cc, c->sent.next_order); /* C5 */
            c->pto_count = 0;
            vcl__conn_arm(c);
        }
        vcl__conn_kick(c);
    }
}

/* --- time ---------------------------------------------------------------------------------------- */
static bool due(const struct vcl_engine *e, uint64_t at)
{
    return at <= e->now && e->now - at >= e->lag_us;
}

static uint64_t on_timer_resuming(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (due(e, d->left_at + e->cfg.hold_us)) {
        d->state = VCL_PATH_DEAD;
        vcl__session_end(s, VCL_ERR_TIMEOUT);
        return VCL_NEVER;
    }
    if (due(e, d->resume_until)) {
        vcl__candidates_fail(&d->candidates, e->now, &d->active, e->cfg.path_penalty_us);
        choose(s);
        resume(s);
    } else if (due(e, d->resume_tick_at) && d->nb_ticks < RESUME_PTOS) {
        d->nb_ticks++;
        d->resume_tick_at = e->now + resume_pto(s);
        vcl__resume_relist(s);
    }
    uint64_t next = d->nb_ticks < RESUME_PTOS && d->resume_tick_at < d->resume_until ? d->resume_tick_at
                                                                                     : d->resume_until;
    return next;
}

/* S12: silence after activity, then slower and slower, then only keepalives; nothing without connections. */
static uint64_t on_timer_probing(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (s->nb_open == 0 || !d->known) {
        d->probe.nb_unanswered = 0;
        return VCL_NEVER;
    }
    if (d->probe.nb_unanswered > 0) {
        uint64_t at = d->probe.sent_at + probe_gap(s);
        if (!due(e, at))
            return at + (at <= e->now ? e->lag_us : 0);
        if (d->probe.nb_unanswered >= (d->probe.hinted ? 1 : PROBES_SILENT)) {
            uint64_t since = d->last_rx > d->probe.first_sent_at ? d->probe.first_sent_at : d->last_rx;
            suspect(s, since);
            if (d->state != VCL_PATH_ACTIVE)
                return d->resume_tick_at;
        }
        if (d->probe.nb_unanswered < UINT8_MAX)
            probe_send(s);
        return e->now + probe_gap(s);
    }
    uint64_t quiet = d->last_rx > d->activity_at ? d->last_rx : d->activity_at;
    uint64_t interval = d->probe.nb_slow >= PROBE_SLOW_MAX ? KEEPALIVE_US : d->probe.interval_us;
    if (interval == 0)
        interval = PROBE_SILENCE_US_FIRST;
    if (!due(e, quiet + interval))
        return quiet + interval + (quiet + interval <= e->now ? e->lag_us : 0);
    probe_send(s);
    return e->now + probe_gap(s);
}

static uint64_t on_timer_active(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (d->suspect_waits && e->now >= d->spacing.next_at && e->lag_us == 0) {
        leave(s);
        return d->resume_tick_at;
    }
    uint64_t next = on_timer_probing(s);
    if (d->state != VCL_PATH_ACTIVE)
        return next;
    if (d->nb_resume_waits > 0) { /* a RESUME or its answer was lost, though another of this epoch moved us */
        if (due(e, d->resume_tick_at)) {
            d->resume_tick_at = e->now + vcl__session_pto(s);
            vcl__resume_relist(s);
        }
        next = d->resume_tick_at < next ? d->resume_tick_at : next;
    }
    if (d->suspect_waits && d->spacing.next_at < next)
        next = d->spacing.next_at;
    return next;
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

/* --- advice ---------------------------------------------------------------------------------------- */
static void planned_move(struct vcl_session *s)
{
    struct dial *d = s->dial;
    if (d->state != VCL_PATH_ACTIVE || !d->known || s->nb_open == 0 || s->e->now < d->spacing.next_at)
        return;
    const struct vcl_path *next = vcl__candidates_next(&d->candidates, s->e->now, &d->active);
    if (next == NULL || vcl__path_equal(next, &d->active))
        return;
    d->silent_since = s->e->now;
    leave(s);
}

static void fail_helper(struct vcl_session *s, uint16_t helper_id)
{
    struct dial *d = s->dial;
    for (uint8_t i = 0; i < d->candidates.count; i++)
        if (d->candidates.list[i].path.helper_id == helper_id)
            vcl__candidates_fail(&d->candidates, s->e->now, &d->candidates.list[i].path, s->e->cfg.path_penalty_us);
}

/* The helper that answers says it will go: as if the control plane had said so (S11). */
int vcl__dial_on_pong(struct vcl_session *s, const struct pmw_probe *p)
{
    struct dial *d = s->dial;
    if (p->state == 0 || !is_of_series(d, p) || p->helper_id != d->active.helper_id)
        return 0;
    fail_helper(s, p->helper_id);
    planned_move(s);
    return 0;
}

void vcl_session_hint(struct vcl_session *s, uint64_t now, uint16_t helper_id, enum vcl_hint hint)
{
    struct dial *d = s->dial;
    vcl__now(s->e, now);
    if (hint == VCL_HINT_UP) {
        vcl__candidates_clear(&d->candidates, helper_id);
        return;
    }
    bool active = d->active.helper_id == helper_id && d->state == VCL_PATH_ACTIVE;
    if (hint == VCL_HINT_DRAIN || !active) {
        fail_helper(s, helper_id);
        if (active)
            planned_move(s);
    } else if (d->known && s->nb_open > 0) {
        d->probe.hinted = true;
        d->probe.nb_unanswered = 0;
        probe_send(s);
    }
}
