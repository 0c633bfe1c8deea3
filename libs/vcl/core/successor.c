/* SPDX-License-Identifier: Apache-2.0
 *
 * Stateless reset (C9). A server process that died leaves clients that send to its address until T_hold ends. Whoever
 * registers at that address next gets, from the registry, what its predecessors made their reset tokens with, and says
 * to those clients that their connections are gone: with nothing but the id that the frame names.
 *
 * It answers on the direct path only by nature: helpers have no trunk for a server that has ended. RESUME asks for up
 * to 32 ids in 32 bytes each, and each answer has 28: less goes out than came in.
 */
#include "state.h"

enum { STATELESS_RESETS_MAX = 100 }; /* a second */

static const struct vcl_predecessor *predecessor_of(const struct vcl_engine *e, uint64_t cid)
{
    struct pmw_cid id;
    if (e->cfg.nb_predecessors == 0)
        return NULL;
    pmw_cid_open(cid, e->cfg.cid_key, &id);
    for (uint8_t i = 0; i < e->cfg.nb_predecessors; i++)
        if (e->cfg.predecessors[i].server_id == id.server_id)
            return &e->cfg.predecessors[i];
    return NULL;
}

void vcl__answer_for_predecessor(struct vcl_engine *e, const struct route *from, uint64_t cid, size_t trigger_bytes)
{
    const struct vcl_predecessor *p = predecessor_of(e, cid);
    if (p == NULL || trigger_bytes <= PMW_STATELESS_RESET_BYTES ||
        !vcl__rate_take(&e->stateless_resets, e->now, STATELESS_RESETS_MAX))
        return;
    uint8_t buf[PMW_STATELESS_RESET_BYTES];
    struct pmw_stateless_reset r = {.cid = cid};
    pmw_reset_token(r.reset_token, p->reset_key, cid);
    int len = pmw_stateless_reset_encode(buf, sizeof(buf), &r);
    e->stats.frames_out++;
    e->stats.stateless_resets++;
    vcl__ctl_push(e, from, buf, len);
}

void vcl__answer_resume_for_predecessor(struct vcl_engine *e, const struct route *from, const struct pmw_resume *r)
{
    for (uint8_t i = 0; i < r->nb_conns; i++)
        vcl__answer_for_predecessor(e, from, r->conns[i].cid, PMW_RESUME_CONN_BYTES);
}

int vcl__on_stateless_reset(struct vcl_engine *e, const uint8_t *buf, size_t len)
{
    struct pmw_stateless_reset r;
    if (pmw_stateless_reset_decode(buf, len, &r) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct map_node *n = vcl__map_find(&e->conns, r.cid);
    if (n == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_CONN);
    struct vcl_conn *c = container_of(n, struct vcl_conn, by_cid);
    if (c->s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (!vcl__equal_secret(r.reset_token, c->reset_token, sizeof(r.reset_token)))
        return vcl__drop(e, VCL_DROP_MAC);
    if (c->state == CONN_CLOSED) { /* its RESET has no reader any more */
        c->peer_knows_reset = true;
        c->want_reset = false;
        return 0;
    }
    vcl__session_end(c->s, VCL_ERR_RESET); /* one process had them all */
    return 0;
}
