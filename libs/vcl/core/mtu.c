/* SPDX-License-Identifier: Apache-2.0
 *
 * See mtu.h.
 */
#include "state.h"

#include <assert.h>

static bool is_direct(const struct vcl_session *s)
{
    return s->dial != NULL ? s->dial->active.helper_id == 0 : s->route.trunk == NULL;
}

static struct mtu *mtu_of(struct vcl_session *s)
{
    struct mtu *m = &s->mtu;
    if (m->epoch != s->epoch || m->limit == 0)
        *m = (struct mtu){.epoch = s->epoch, .limit = PMW_PAYLOAD_BYTES_BASE};
    return m;
}

uint32_t vcl__mtu_payload(struct vcl_session *s)
{
    uint32_t limit = mtu_of(s)->limit;
    return !is_direct(s) && limit > s->e->payload_max ? s->e->payload_max : limit;
}

/* --- larger ------------------------------------------------------------------------------------ */
static void probe_send(struct vcl_session *s, unsigned number, uint32_t payload)
{
    struct vcl_engine *e = s->e;
    const struct dial *d = s->dial;
    struct pmw_probe p = {.session_id = s->id,
                          .nonce = s->mtu.nonce + number,
                          .epoch = s->epoch,
                          .server_id = d != NULL ? d->server_id : e->cfg.server_id,
                          .helper_id = d != NULL ? d->active.helper_id : 0,
                          .shard = d != NULL ? d->shard : e->cfg.shard,
                          .bytes = (uint16_t)(payload + MTU_AROUND_BYTES)};
    int len = pmw_probe_encode(e->scratch, sizeof(e->scratch), PMW_PROBE, &p);
    assert(len > 0);
    pmw_control_seal(e->scratch, (size_t)len, vcl__mac_key_out(s));
    vcl__ctl_push_merged(e, &s->route, e->scratch, len);
    e->stats.probes_sent++;
    e->stats.frames_out++;
}

/* The sizes to ask for, largest first. */
static void choose(const struct vcl_session *s, struct mtu *m)
{
    m->asked[0] = m->asked[1] = m->asked[2] = 0;
    if (m->limit < MTU_FALL_BYTES)
        m->asked[0] = MTU_FALL_BYTES;
    else if (m->limit < PMW_PAYLOAD_BYTES_BASE)
        m->asked[0] = PMW_PAYLOAD_BYTES_BASE;
    else if (is_direct(s) && m->limit < PMW_PAYLOAD_BYTES_MAX)
        m->asked[0] = PMW_PAYLOAD_BYTES_MAX;
    if (m->asked[0] == PMW_PAYLOAD_BYTES_MAX && m->limit < MTU_LARGE_BYTES)
        m->asked[1] = MTU_LARGE_BYTES;
    if (is_direct(s) && !m->may_merge && m->limit >= PMW_PAYLOAD_BYTES_BASE)
        m->asked[2] = PMW_PAYLOAD_BYTES_BASE; /* only for the proof that messages may be merged */
}

static void ask(struct vcl_session *s)
{
    struct mtu *m = &s->mtu;
    choose(s, m);
    if (m->asked[0] == 0 && m->asked[2] == 0) {
        m->next_at = VCL_NEVER;
        return;
    }
    if (!is_direct(s) && s->dial == NULL) { /* a server cannot probe through a helper: it tries */
        m->limit = m->asked[0];
        m->next_at = s->e->now + MTU_RISE_US;
        return;
    }
    m->nonce = vcl__random64(s->e);
    m->asked_at = s->e->now;
    m->answered = 0;
    m->nb_tries++;
    for (unsigned i = MTU_SIZES;
         i-- > 0;) /* the smallest first: a message of the kernel may end in a shorter datagram */
        for (unsigned k = 0; m->asked[i] > 0 && k < 2; k++)
            probe_send(s, 2 * i + k, m->asked[i]);
}

void vcl__mtu_want(struct vcl_session *s, uint64_t bytes)
{
    struct mtu *m = mtu_of(s);
    uint64_t now = s->e->now;
    if (now < m->next_at || bytes < (uint64_t)MTU_BUSY_FRAMES * m->limit || vcl__trial_room(s) != SIZE_MAX)
        return; /* S18: padding is no use of what a path on trial may get */
    if (m->asked_at == 0) {
        m->nb_tries = 0;
        ask(s);
    } else if (now - m->asked_at >= vcl__session_pto(s) * 2) {
        m->asked_at = 0;
        if (m->nb_tries < MTU_TRIES && (m->answered == 0 || (is_direct(s) && !m->may_merge)))
            ask(s);
        else
            m->next_at = now + MTU_AGAIN_US;
    }
}

bool vcl__mtu_on_echo(struct vcl_session *s, const struct pmw_probe *p)
{
    struct mtu *m = mtu_of(s);
    uint64_t number = p->nonce - m->nonce;
    if (m->asked_at == 0 || p->epoch != s->epoch || number >= 2 * MTU_SIZES || m->asked[number / 2] == 0)
        return false;
    uint16_t payload = m->asked[number / 2];
    if (p->bytes != payload + MTU_AROUND_BYTES)
        return true; /* it did not arrive whole */
    m->answered |= (uint8_t)(1u << number);
    if (payload > m->limit)
        m->limit = payload;
    unsigned pair = m->answered >> (number & ~1u) & 3u;
    m->may_merge = m->may_merge || (pair == 3 && is_direct(s));
    if (m->asked[0] == m->limit && m->limit < PMW_PAYLOAD_BYTES_BASE) { /* one step up: the next one follows */
        m->asked_at = 0;
        m->next_at = s->e->now + MTU_RISE_US;
    }
    return true;
}

/* --- smaller ----------------------------------------------------------------------------------- */
static void fall(struct vcl_session *s)
{
    struct mtu *m = &s->mtu;
    if (m->limit > PMW_PAYLOAD_BYTES_BASE)
        m->limit = PMW_PAYLOAD_BYTES_BASE;
    else
        m->limit = m->limit > MTU_FALL_BYTES ? MTU_FALL_BYTES : PMW_PAYLOAD_BYTES_MIN;
    m->asked_at = 0;
    m->next_at = s->e->now + MTU_RISE_US;
    s->e->stats.mtu_falls++;
}

/* A frame that is larger than the limit was sent before it fell: it has been judged. */
static bool suspicious(struct vcl_session *s, uint32_t payload)
{
    return payload >= MTU_FALL_BYTES && payload <= vcl__mtu_payload(s);
}

void vcl__mtu_on_lost(struct vcl_session *s, uint32_t payload, unsigned tx)
{
    if (tx >= 2 && suspicious(s, payload))
        fall(s);
}

void vcl__mtu_on_pto(struct vcl_session *s, uint32_t payload, uint64_t first_sent_at)
{
    if (suspicious(s, payload) && s->ask.proof_at > first_sent_at)
        fall(s);
}
