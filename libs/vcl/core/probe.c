/* SPDX-License-Identifier: Apache-2.0
 *
 * Probes of the active path (S7, S8, S12): when to ask, what an answer proves, when silence is a verdict. A frame that
 * arrives proves one direction only; what clears a suspicion is an answer to something that we sent.
 */
#include "state.h"

enum {
    PROBE_SILENCE_US_FIRST = 20000, /* S12 */
    PROBE_SILENCE_US_MAX = 1000000, /* S12 */
    PROBE_SLOW_MAX = 2,             /* S12: answers at the longest silence before only keepalives are sent */
    PROBES_SILENT = 2,              /* S8 */
};

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

void vcl__probe_send(struct vcl_session *s, bool alarmed)
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
                          .shard = d->shard,
                          .bytes = PMW_PROBE_BYTES};
    int len = pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &p);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__ctl_push(s->e, &s->route, buf, len);
    if (d->probe.nb_unanswered < UINT8_MAX)
        d->probe.nb_unanswered++;
    d->probe.sent_at = s->e->now;
    s->e->stats.probes_sent++;
    s->e->stats.frames_out++;
    vcl__path_on_sent(s);
    if (alarmed || d->probe.nb_unanswered >= PROBES_SILENT)
        vcl__scout_round(s);
    vcl__session_arm(s, s->e->now + probe_gap(s));
}

/* S22: how long a path may owe an answer before it is asked for one. */
static uint64_t patience(const struct vcl_session *s)
{
    uint64_t rtts = 2 * (uint64_t)s->rtt.min_us;
    return rtts > s->e->cfg.probe_interval_us ? rtts : s->e->cfg.probe_interval_us;
}

void vcl__path_on_sent(struct vcl_session *s)
{
    struct dial *d = s->dial;
    if (d->waiting_since != 0)
        return;
    d->waiting_since = s->e->now;
    d->waiting_lag_us = s->e->lag_total_us;
    vcl__session_arm(s, s->e->now + patience(s));
}

void vcl__path_on_activity(struct vcl_session *s)
{
    struct dial *d = s->dial;
    d->activity_at = s->e->now;
    d->probe.interval_us = PROBE_SILENCE_US_FIRST;
    d->probe.nb_slow = 0;
    vcl__session_arm(s, s->e->now + PROBE_SILENCE_US_FIRST);
}

/* A frame came by the active path, or an answer to what went by it: no answer is owed any more. */
void vcl__path_on_arrival(struct vcl_session *s)
{
    struct dial *d = s->dial;
    d->last_rx = s->e->now;
    d->waiting_since = 0;
    vcl__watch_rx(s->e, d->active.helper_id);
}

/* Something sent at sent_at has arrived and its answer too, whatever address the answer came from (S5): otherwise the
 * path would be asked again upon each of its answers. What was sent before the active path was chosen went by another.
 */
void vcl__path_on_proof(struct vcl_session *s, uint64_t sent_at)
{
    struct dial *d = s->dial;
    if (sent_at < d->active_since)
        return;
    vcl__path_on_arrival(s);
    if (sent_at > d->last_proof)
        d->last_proof = sent_at;
    d->probe.nb_unanswered = 0;
    d->probe.hinted = false;
    d->suspect_waits = false;
    vcl__scout_stop(s);
}

bool vcl__probe_is_of_series(const struct dial *d, const struct pmw_probe *p)
{
    return p->nonce - d->probe.nonce < d->probe.nb_unanswered;
}

int vcl__probe_on_echo(struct vcl_session *s, const struct pmw_probe *p)
{
    struct dial *d = s->dial;
    if (!vcl__probe_is_of_series(d, p))
        return 0; /* of an earlier path, or answered before */
    bool first = p->nonce == d->probe.nonce, newest = p->nonce - d->probe.nonce + 1 == d->probe.nb_unanswered;
    uint64_t sent_at = newest ? d->probe.sent_at : d->probe.first_sent_at;
    if (first || newest) /* it names the one that it answers: repeated or not, no ambiguity (C4) */
        vcl__session_on_rtt(s, s->e->now - sent_at);
    vcl__path_on_proof(s, d->probe.first_sent_at);
    vcl__ask_on_proof(s, sent_at);
    if (d->probe.interval_us < PROBE_SILENCE_US_MAX)
        d->probe.interval_us =
            d->probe.interval_us * 2 < PROBE_SILENCE_US_MAX ? d->probe.interval_us * 2 : PROBE_SILENCE_US_MAX;
    else if (d->probe.nb_slow < PROBE_SLOW_MAX)
        d->probe.nb_slow++;
    return 0;
}

/* S22, with a probe unanswered. Blame needs a witness: that the server answers on another path. Without one the session
 * stays, and tries another path for want of knowledge once a second. Returns when to judge again. */
static uint64_t judge(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    const uint64_t asked = d->probe.first_sent_at, gap_ends = d->probe.sent_at + probe_gap(s);
    const struct vcl_path *witness = vcl__scout_best(s, NULL);
    bool itself = witness != NULL && vcl__path_equal(witness, &d->active); /* it works; the server sends elsewhere */
    uint64_t silence = vcl__watch_silence(s), silence_min = vcl__watch_silence_min(s);
    uint64_t fair = asked + (vcl__scout_patience(s) > patience(s) ? vcl__scout_patience(s) : patience(s));
    uint64_t nb_silent = d->probe.hinted ? 1 : PROBES_SILENT + (itself ? 1 : 0);
    bool silent = silence >= silence_min && vcl__due(e, fair);
    bool unanswered = d->probe.nb_unanswered >= nb_silent && vcl__due(e, gap_ends);
    uint64_t since = d->last_rx > asked || d->last_rx == 0 ? asked : d->last_rx;
    if ((silent || unanswered) && witness != NULL)
        vcl__dial_suspect(s, since, !unanswered);
    else if (unanswered && vcl__due(e, asked + e->cfg.move_interval_max_us) && e->now >= d->spacing.next_at) {
        d->silent_since = since;
        vcl__dial_leave(s, true);
    }
    if (silence < silence_min && d->waiting_since != 0 && e->now + silence_min - silence > fair)
        return e->now + silence_min - silence;
    return fair > e->now ? fair : gap_ends;
}

static uint64_t on_timer_unanswered(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    uint64_t again = e->lag_us > 0 ? VCL_NEVER : judge(s);
    if (d->state != VCL_PATH_ACTIVE)
        return d->resume_tick_at;
    uint64_t at = d->probe.sent_at + probe_gap(s);
    if (vcl__due(e, at)) {
        vcl__probe_send(s, false);
        at = e->now + probe_gap(s);
    } else if (at <= e->now) {
        at += e->lag_us;
    }
    return again > e->now && again < at ? again : at;
}

/* S22: something that was sent on the path should have been answered by now. */
static uint64_t on_timer_waiting(struct vcl_session *s)
{
    uint64_t silence = vcl__watch_silence(s);
    if (s->dial->waiting_since == 0)
        return VCL_NEVER;
    if (silence < patience(s))
        return s->e->now + patience(s) - silence;
    if (s->e->lag_us > 0)
        return s->e->now + 1;
    vcl__probe_send(s, true);
    return s->e->now + probe_gap(s);
}

/* S12: silence after activity, then slower and slower, then only keepalives; nothing without connections. */
uint64_t vcl__probe_on_timer(struct vcl_session *s)
{
    struct vcl_engine *e = s->e;
    struct dial *d = s->dial;
    if (!vcl__session_in_use(s) || !d->known) {
        d->probe.nb_unanswered = 0;
        d->waiting_since = 0;
        return VCL_NEVER;
    }
    if (d->probe.nb_unanswered > 0)
        return on_timer_unanswered(s);
    uint64_t waiting = on_timer_waiting(s);
    if (d->probe.nb_unanswered > 0)
        return waiting;
    uint64_t quiet = d->last_rx > d->activity_at ? d->last_rx : d->activity_at;
    uint64_t interval = d->probe.nb_slow >= PROBE_SLOW_MAX ? KEEPALIVE_US : d->probe.interval_us;
    if (interval == 0)
        interval = PROBE_SILENCE_US_FIRST;
    uint64_t at = quiet + interval;
    if (!vcl__due(e, at)) {
        at += at <= e->now ? e->lag_us : 0;
        return waiting < at ? waiting : at;
    }
    vcl__probe_send(s, false);
    return e->now + probe_gap(s);
}
