/* SPDX-License-Identifier: Apache-2.0
 *
 * The way to a better path (S15). A session that was driven from its best path, or whose candidates were given other
 * ranks, probes the best candidate that is not under penalty; if that one answers twice, both ways, the session moves
 * there, from a path that still works. A candidate that fails the proof is under penalty again (S10), and so is one
 * that the session had to leave: each time for longer, which is what bounds the moves to a path that comes and goes.
 */
#include "state.h"

enum {
    HOME_PROOFS = 2,           /* S15 */
    HOME_PROBE_GAP_US = 50000, /* S15: between two probes, at least */
};

/* A path that does not answer within this is silent. It may be longer than the one whose time is known: twice that. */
static uint64_t probe_gap(const struct vcl_session *s)
{
    uint64_t gap = 2 * vcl__session_pto(s);
    return gap > HOME_PROBE_GAP_US ? gap : HOME_PROBE_GAP_US;
}

/* A PROBE of another epoch than the session's is answered on the path on which it came (S8): it proves both directions
 * of that path, and moves nothing. No session has epoch 0. */
static void home_probe(struct vcl_session *s, const struct vcl_path *path)
{
    struct home *h = &s->dial->home;
    uint8_t buf[PMW_PROBE_BYTES];
    h->path = *path;
    h->nonce = vcl__random64(s->e);
    h->asked = true;
    struct pmw_probe p = {.session_id = s->id,
                          .nonce = h->nonce,
                          .server_id = s->dial->server_id,
                          .helper_id = path->helper_id,
                          .shard = s->dial->shard,
                          .bytes = PMW_PROBE_BYTES};
    int len = pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &p);
    pmw_control_seal(buf, (size_t)len, s->keys.mac_c2s);
    vcl__ctl_push(s->e, &(struct route){.addr = path->addr}, buf, len);
    s->e->stats.probes_sent++;
    s->e->stats.frames_out++;
}

bool vcl__home_on_pong(struct vcl_session *s, const struct pmw_probe *p)
{
    struct home *h = &s->dial->home;
    if (!h->asked || p->nonce != h->nonce)
        return false;
    if (p->state != 0) { /* it drains: no path to go to */
        h->asked = false;
        h->nb_proofs = 0;
        vcl__candidates_fail(&s->dial->candidates, s->e->now, &h->path, s->e->cfg.path_penalty_us);
    }
    return true;
}

bool vcl__home_on_echo(struct vcl_session *s, const struct pmw_probe *p)
{
    struct home *h = &s->dial->home;
    if (!h->asked || p->nonce != h->nonce)
        return false;
    h->asked = false;
    h->nb_proofs++;
    return true;
}

void vcl__home_wake(struct vcl_session *s)
{
    if (s->dial->state == VCL_PATH_ACTIVE)
        vcl__session_arm(s, s->e->now);
}

/* The last probe was unanswered for a whole gap. That says something of the path only if the server answered elsewhere
 * meanwhile (S22). */
static void give_up_probe(struct vcl_session *s)
{
    struct home *h = &s->dial->home;
    if (s->dial->probe.nb_unanswered == 0)
        vcl__candidates_fail(&s->dial->candidates, s->e->now, &h->path, s->e->cfg.path_penalty_us);
    h->asked = false;
    h->nb_proofs = 0;
}

uint64_t vcl__home_on_timer(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct home *h = &d->home;
    uint64_t now = s->e->now, ripe_at;
    if (h->asked && now >= h->next_at && s->e->lag_us == 0)
        give_up_probe(s);
    const struct vcl_path *path = vcl__candidates_better(&d->candidates, now, &d->active, &ripe_at);
    if ((path == NULL && ripe_at == VCL_NEVER) || !d->known || s->nb_open == 0) {
        *h = (struct home){0};
        return VCL_NEVER;
    }
    if (now < h->next_at)
        return h->next_at;
    if (path == NULL)
        return ripe_at;
    if (!vcl__path_equal(path, &h->path))
        h->nb_proofs = 0;
    h->next_at = now + probe_gap(s);
    if (h->nb_proofs >= HOME_PROOFS && now >= d->spacing.next_at) {
        *h = (struct home){0};
        vcl__plan_begin(s);
        return VCL_NEVER;
    }
    home_probe(s, path);
    return h->next_at;
}
