/* SPDX-License-Identifier: Apache-2.0
 *
 * The way back from the direct path (S15). The direct path is the last resort: every frame on it is a packet of its own
 * at the server. While a session is on it, helpers that are not under penalty are probed in listed order; one that
 * answers twice, both ways, gets the session back. A helper that fails the proof is under penalty again (S10).
 */
#include "state.h"

enum {
    HOME_PROOFS = 2,           /* S15 */
    HOME_PROBE_GAP_US = 50000, /* S15: between two probes */
};

/* The helper to go back to, or NULL; *ripe_at is when the next penalty ends. */
static const struct vcl_path *home_candidate(const struct dial *d, uint64_t now, uint64_t *ripe_at)
{
    *ripe_at = VCL_NEVER;
    for (uint8_t i = 0; i < d->candidates.count; i++) {
        const struct candidate *c = &d->candidates.list[i];
        if (c->path.helper_id == 0)
            continue;
        if (c->penalty_until <= now)
            return &c->path;
        if (c->penalty_until < *ripe_at)
            *ripe_at = c->penalty_until;
    }
    return NULL;
}

/* A PROBE of another epoch than the session's is answered on the path on which it came (S8): it proves both directions
 * of that path, and moves nothing. */
static void home_probe(struct vcl_session *s, const struct vcl_path *path)
{
    struct home *h = &s->dial->home;
    uint8_t buf[PMW_PROBE_BYTES];
    h->path = *path;
    h->nonce = vcl__random64(s->e);
    h->asked = true;
    struct pmw_probe p = {.session_id = s->id,
                          .nonce = h->nonce,
                          .epoch = s->epoch - 1,
                          .server_id = s->dial->server_id,
                          .helper_id = path->helper_id,
                          .shard = s->dial->shard};
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
    if (p->state != 0) { /* it drains: no home */
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

uint64_t vcl__home_on_timer(struct vcl_session *s)
{
    struct dial *d = s->dial;
    struct home *h = &d->home;
    uint64_t now = s->e->now, ripe_at;
    if (d->active.helper_id != 0 || !d->known || s->nb_open == 0) {
        *h = (struct home){0};
        return VCL_NEVER;
    }
    if (now < h->next_at)
        return h->next_at;
    if (h->asked && s->e->lag_us == 0) { /* unanswered for a whole gap */
        vcl__candidates_fail(&d->candidates, now, &h->path, s->e->cfg.path_penalty_us);
        h->asked = false;
        h->nb_proofs = 0;
    }
    const struct vcl_path *path = home_candidate(d, now, &ripe_at);
    if (path == NULL)
        return ripe_at;
    if (!vcl__path_equal(path, &h->path))
        h->nb_proofs = 0;
    h->next_at = now + HOME_PROBE_GAP_US;
    if (h->nb_proofs >= HOME_PROOFS && now >= d->spacing.next_at) {
        *h = (struct home){0};
        vcl__advice_planned_move(s);
        return VCL_NEVER;
    }
    home_probe(s, path);
    return h->next_at;
}
