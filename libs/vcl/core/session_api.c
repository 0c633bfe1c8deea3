/* SPDX-License-Identifier: Apache-2.0
 *
 * A client session as the driver sees it: born with a peer and candidate paths, told about tokens and paths, ended.
 */
#include "state.h"

#include <assert.h>
#include <string.h>

static bool paths_valid(const struct vcl_path *paths, uint8_t nb_paths)
{
    if (nb_paths == 0 || nb_paths > VCL_PATHS_MAX)
        return false;
    for (uint8_t i = 0; i < nb_paths; i++)
        if ((paths[i].addr.family != 4 && paths[i].addr.family != 6) ||
            (paths[i].helper_id != 0 && paths[i].rank == VCL_RANK_DIRECT))
            return false;
    return true;
}

int vcl_session_new(struct vcl_engine *e, uint64_t now, const struct vcl_peer *peer, struct vcl_session **out)
{
    struct pmw_token t;
    vcl__now(e, now);
    if (!paths_valid(peer->paths, peer->nb_paths) || pmw_token_decode(peer->token, &t) < 0)
        return VCL_ERR_INVALID;
    struct dial *d = mem_alloc(&e->mem, sizeof(*d));
    struct vcl_session *s = d == NULL ? NULL : vcl__session_new(e, vcl__random64(e));
    if (s == NULL) {
        mem_free(&e->mem, d);
        return VCL_ERR_NOMEM;
    }
    s->dial = d;
    s->epoch = 1; /* S1 */
    d->session = s;
    d->server_id = peer->server_id;
    d->shard = peer->shard;
    list_init(&d->resume_queue);
    list_init(&d->resuming);
    list_init(&d->event_node);
    memcpy(d->token, peer->token, PMW_TOKEN_BYTES);
    memcpy(d->token_key, peer->token_key, PMW_KEY_BYTES);
    d->token_ends_s = (uint64_t)t.not_before + t.lifetime_s;
    d->token_set_at = e->now;
    vcl__session_rekey(s, s->id, d->token_key);
    vcl__candidates_set(&d->candidates, peer->paths, peer->nb_paths);
    d->active = *vcl__candidates_first(&d->candidates, e->now);
    d->active_since = d->left_at = e->now;
    vcl__candidates_tried(&d->candidates, e->now, &d->active);
    s->route.addr = d->active.addr;
    *out = s;
    return VCL_OK;
}

int vcl_session_set_paths(struct vcl_session *s, uint64_t now, const struct vcl_path *paths, uint8_t nb_paths)
{
    struct dial *d = s->dial;
    vcl__now(s->e, now);
    if (d == NULL || !paths_valid(paths, nb_paths))
        return VCL_ERR_INVALID;
    vcl__candidates_set(&d->candidates, paths, nb_paths);
    if (s->nb_open == 0 && d->state == VCL_PATH_DOWN) { /* nothing went out yet: begin with the first */
        d->active = *vcl__candidates_first(&d->candidates, s->e->now);
        d->active_since = s->e->now;
        s->route.addr = d->active.addr;
    }
    vcl__home_wake(s);
    return VCL_OK;
}

void vcl_session_free(struct vcl_session *s)
{
    struct list *n, *tmp;
    list_each(n, tmp, &s->conns) assert(container_of(n, struct vcl_conn, in_session)->released);
    s->freeing = true; /* what lingers, and tombstones, live on without the handle */
    s->dial->nb_events = 0;
    list_del(&s->dial->event_node);
    vcl__session_maybe_free(s);
}

void vcl_session_info(const struct vcl_session *s, struct vcl_session_info *out)
{
    memset(out, 0, sizeof(*out));
    out->id = s->id;
    out->epoch = s->epoch;
    out->nb_conns = s->nb_open;
    out->moves = s->moves;
    out->srtt_us = s->rtt.srtt_us;
    if (s->dial != NULL) {
        out->server_id = s->dial->server_id;
        out->active_helper_id = s->dial->active.helper_id;
        out->state = (uint8_t)s->dial->state;
    } else {
        out->server_id = s->e->cfg.server_id;
        out->active_helper_id = s->route.trunk != NULL ? s->route.trunk->helper_id : 0;
        out->state = VCL_PATH_ACTIVE;
    }
}
