/* SPDX-License-Identifier: Apache-2.0
 *
 * BUSY at the client (O3): a helper has dropped a frame, for its server has more to do than it can. The frame goes
 * again later, as if for the first time (it needs credit then, which a frame with RESEND does not), and nothing new
 * before it. BUSY has no MAC: who guesses a CID and an offset in flight delays the connection by BUSY_US_MAX and no
 * more.
 */
#include "state.h"

enum { BUSY_US_MAX = 50000, SHORT_SEQ_MAX = UINT16_MAX };

/* The frame names its offset as it travelled: 32 bits, or 16 in a short one. */
static struct sent *frame_named(struct vcl_conn *c, uint32_t seq)
{
    uint64_t offset = pmw_wlsb(c->snd.una, seq, 32);
    struct sent *f = vcl__sentmap_in_flight_at(&c->sent, offset);
    if (f == NULL && seq <= SHORT_SEQ_MAX)
        f = vcl__sentmap_in_flight_at(&c->sent, pmw_wlsb(c->snd.una, seq, 16));
    return f;
}

/* Half as long again at most, so that those who were refused together do not come again together. */
static uint64_t delay(struct vcl_engine *e, uint32_t retry_after_us)
{
    uint64_t us = retry_after_us < BUSY_US_MAX ? retry_after_us : BUSY_US_MAX;
    us += vcl__random64(e) % (us / 2 + 1);
    return us < BUSY_US_MAX ? us : BUSY_US_MAX;
}

int vcl__on_busy(struct vcl_engine *e, const uint8_t *buf, size_t len)
{
    struct pmw_busy b;
    if (pmw_busy_decode(buf, len, &b) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct map_node *n = vcl__map_find(&e->conns, b.cid);
    struct vcl_conn *c = n == NULL ? NULL : container_of(n, struct vcl_conn, by_cid);
    if (c == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_CONN);
    if (c->s->dial == NULL)
        return vcl__drop(e, VCL_DROP_ROLE);
    struct sent *f = vcl__conn_is_live(c->state) ? frame_named(c, b.seq) : NULL;
    if (f == NULL) {
        e->stats.busy_ignored++; /* answered meanwhile, refused before, or never sent */
        return 0;
    }
    e->stats.busy_taken++;
    vcl__sentmap_refuse(&c->sent, f);
    uint64_t until = e->now + delay(e, b.retry_after_us);
    if (until > c->busy_until)
        c->busy_until = until;
    vcl__conn_arm(c);
    return 0;
}
