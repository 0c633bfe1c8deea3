/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is to blame for a silence (S22). Two sources:
 *   watch   when a helper was heard last, by any session of this engine: one session's silence may be its server's
 *   scouts  while the active path owes an answer, every candidate is asked too. A server that answers elsewhere is
 *           alive, so the silent path is to blame; one that answers nowhere is slow, paused or cut off, and to move
 *           would help nobody.
 * A scout is a PROBE of epoch 0, which no session ever has: it is answered on the path on which it came (S8), proves
 * both directions of that path and moves nothing.
 */
#include "state.h"

enum {
    SCOUTS_FIRST = 2,      /* asked in the first round; twice as many in each next one: most silences end before */
    SCOUTS_SILENT = 4,     /* rounds without any answer, after which the control plane is asked for other paths */
    PATIENT_US = 10000000, /* after a false verdict twice the silence is allowed for so long */
    SCOUT_PATIENCE = 4,    /* the active path may take so many times as long as the one that has answered */
};

void vcl__watch_rx(struct vcl_engine *e, uint16_t helper_id)
{
    e->watches[helper_id % WATCHES_MAX] = (struct helper_watch){.helper_id = helper_id, .last_rx = e->now};
}

static uint64_t path_last_rx(const struct vcl_session *s)
{
    const struct dial *d = s->dial;
    const struct helper_watch *w = &s->e->watches[d->active.helper_id % WATCHES_MAX];
    /* The direct path is another one for each server. Two helpers in one place only make the watch forget. */
    bool pooled = d->active.helper_id != 0 && w->helper_id == d->active.helper_id;
    return pooled && w->last_rx > d->last_rx ? w->last_rx : d->last_rx;
}

uint64_t vcl__watch_silence(const struct vcl_session *s)
{
    const struct dial *d = s->dial;
    uint64_t now = s->e->now, heard = path_last_rx(s), lag = s->e->lag_total_us - d->waiting_lag_us;
    if (d->waiting_since == 0)
        return 0;
    uint64_t silence = now - (heard > d->waiting_since ? heard : d->waiting_since);
    return silence > lag ? silence - lag : 0;
}

bool vcl__watch_is_mute(const struct vcl_session *s)
{
    return path_last_rx(s) <= s->dial->probe.first_sent_at && vcl__watch_silence(s) >= vcl__watch_silence_min(s);
}

uint64_t vcl__watch_silence_min(const struct vcl_session *s)
{
    uint64_t us = s->e->cfg.suspect_silence_us_min;
    return s->e->now < s->dial->patient_until ? 2 * us : us;
}

/* It was no death: hosts here stand still for longer than is usual. */
void vcl__watch_late(struct vcl_session *s, const struct pmw_addr *from)
{
    if (vcl__candidates_late(&s->dial->candidates, s->e->now, from))
        s->dial->patient_until = s->e->now + PATIENT_US;
}

static void scout_send(struct vcl_session *s, const struct vcl_path *path)
{
    struct dial *d = s->dial;
    uint8_t buf[PMW_PROBE_BYTES];
    struct pmw_probe p = {.session_id = s->id,
                          .nonce = d->scout.nonce + d->scout.nb_rounds,
                          .server_id = d->server_id,
                          .helper_id = path->helper_id,
                          .shard = d->shard,
                          .bytes = PMW_PROBE_BYTES};
    int len = pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &p);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__ctl_push(s->e, &(struct route){.addr = path->addr}, buf, len);
    s->e->stats.probes_sent++;
    s->e->stats.frames_out++;
}

/* Those that answer anyhow are not asked again; the active one only in later rounds: that it answers, and the session's
 * own probes are not answered, says that the server sends elsewhere. */
void vcl__scout_round(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct scout *x = &d->scout;
    uint64_t now = s->e->now;
    if (x->since != 0 && now == x->sent_at)
        return;
    if (x->since == 0)
        *x = (struct scout){.since = now, .nonce = vcl__random64(s->e)};
    x->sent_at = now;
    uint32_t nb = (uint32_t)SCOUTS_FIRST << (x->nb_rounds < 3 ? x->nb_rounds : 3);
    for (uint8_t i = 0; i < d->candidates.count && nb > 0; i++) {
        const struct candidate *c = &d->candidates.list[i];
        if (vcl__path_equal(&c->path, &d->active) && x->nb_rounds == 0)
            continue;
        scout_send(s, &c->path);
        nb--;
    }
    if (x->nb_rounds < UINT8_MAX)
        x->nb_rounds++;
    if (x->nb_rounds == SCOUTS_SILENT && vcl__scout_best(s, NULL) == NULL)
        vcl__dial_path_event(s, VCL_EV_PATHS_WANTED);
}

static bool is_of_series(const struct scout *x, const struct pmw_probe *p)
{
    return x->since != 0 && p->nonce - x->nonce < x->nb_rounds;
}

void vcl__scout_stop(struct vcl_session *s)
{
    s->dial->scout.since = 0;
}

bool vcl__scout_on_pong(struct vcl_session *s, const struct pmw_probe *p)
{
    struct dial *d = s->dial;
    if (!is_of_series(&d->scout, p))
        return false;
    struct candidate *c = vcl__candidates_of_helper(&d->candidates, p->helper_id);
    if (p->state != 0 && c != NULL) /* it drains: no path to go to */
        vcl__candidates_fail(&d->candidates, s->e->now, &c->path, s->e->cfg.path_penalty_us);
    return true;
}

bool vcl__scout_on_echo(struct vcl_session *s, const struct pmw_probe *p)
{
    struct dial *d = s->dial;
    if (!is_of_series(&d->scout, p))
        return false;
    struct candidate *c = vcl__candidates_of_helper(&d->candidates, p->helper_id);
    if (c != NULL) {
        c->echoed_at = s->e->now;
        /* An answer to an earlier round was longer on its way than this says at most. */
        bool newest = p->nonce - d->scout.nonce + 1 == d->scout.nb_rounds;
        c->echo_rtt_us = s->e->now - (newest ? d->scout.sent_at : d->scout.since);
        vcl__session_arm(s, s->e->now);
    }
    return true;
}

const struct vcl_path *vcl__scout_best(const struct vcl_session *s, const struct vcl_path *except)
{
    const struct dial *d = s->dial;
    if (d->scout.since == 0)
        return NULL;
    return vcl__candidates_answering(&d->candidates, s->e->now, d->scout.since, except);
}

uint64_t vcl__scout_patience(const struct vcl_session *s)
{
    uint64_t least = 0;
    for (uint8_t i = 0; i < s->dial->candidates.count; i++) {
        const struct candidate *c = &s->dial->candidates.list[i];
        if (c->echoed_at != 0 && c->echoed_at >= s->dial->scout.since && (least == 0 || c->echo_rtt_us < least))
            least = c->echo_rtt_us;
    }
    least *= SCOUT_PATIENCE;
    return least > 2 * (uint64_t)s->rtt.min_us ? least : 2 * (uint64_t)s->rtt.min_us;
}
