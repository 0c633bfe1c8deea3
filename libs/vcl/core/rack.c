/* SPDX-License-Identifier: Apache-2.0
 *
 * See rack.h.
 */
#include "rack.h"

bool vcl__rack_was_spurious(const struct sentmap_ack *a)
{
    return a->repeated && !a->rtt_known && a->tx_echo == 0;
}

void vcl__rack_on_ack(struct rack *r, const struct sentmap *m, const struct sentmap_ack *a)
{
    if (vcl__rack_was_spurious(a)) {
        if (r->shift < RACK_SHIFT_MAX)
            r->shift++;
        r->persist = RACK_PERSIST;
    }
    if (a->newest_order == 0)
        return;
    if (a->newest_order <= r->moved_order) {
        if (a->newest_order > r->old_delivered_order)
            r->old_delivered_order = a->newest_order;
        return;
    }
    if (a->newest_order <= r->delivered_order)
        return;
    if (r->doubled_until == UINT64_MAX) /* the first by the new path: a round trip from here */
        r->doubled_until = m->next_order;
    r->delivered_order = a->newest_order;
    uint64_t us = a->now - a->newest_sent_at;
    r->rtt_us = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
}

uint32_t vcl__rack_window_us(const struct rack *r, const struct rtt *rtt)
{
    uint64_t us = rtt->min_us / 4;
    if (us < RACK_WINDOW_US_MIN)
        us = RACK_WINDOW_US_MIN;
    us <<= r->shift + (r->delivered_order < r->doubled_until ? 1u : 0u);
    uint64_t max = rtt->srtt_us > RACK_WINDOW_US_MIN ? rtt->srtt_us : RACK_WINDOW_US_MIN; /* RFC 8985: at most SRTT */
    return (uint32_t)(us < max ? us : max);
}

static void mark(struct rack *r, struct sentmap *m, struct sent *f, struct sentmap_ack *a)
{
    uint64_t order = sentmap_order(m, f);
    vcl__sentmap_mark_lost(m, f);
    if (a->nb_lost++ == 0 && r->persist > 0 && --r->persist == 0)
        r->shift = 0;
    if (order > a->lost_order)
        a->lost_order = order;
    if (f->tx >= a->lost_tx_max) {
        a->lost_tx_max = f->tx;
        a->lost_len = f->len;
    }
}

uint64_t vcl__rack_detect(struct rack *r, struct sentmap *m, const struct rtt *rtt, uint64_t now, struct sentmap_ack *a)
{
    /* Without a gap and without repetitions nothing in the map is older than what has arrived. */
    uint64_t newest = r->delivered_order > r->old_delivered_order ? r->delivered_order : r->old_delivered_order;
    if (m->nb_sacked == 0 && (m->resent_order == 0 || newest > m->resent_order))
        return UINT64_MAX;
    uint32_t rtt_us = r->rtt_us > rtt->srtt_us ? r->rtt_us : rtt->srtt_us;
    uint64_t wait = (uint64_t)rtt_us + vcl__rack_window_us(r, rtt), next = UINT64_MAX;
    for (uint32_t i = 0; i < m->count; i++) {
        struct sent *f = vcl__sentmap_at(m, i);
        if (f->state != SENT_IN_FLIGHT)
            continue;
        uint64_t order = sentmap_order(m, f);
        bool old = order <= r->moved_order;
        if (order >= (old ? r->old_delivered_order : r->delivered_order)) {
            if (!old && f->tx == 0)
                break; /* all that follow were sent later still */
            continue;
        }
        if (f->sent_at + wait <= now)
            mark(r, m, f, a);
        else if (f->sent_at + wait < next)
            next = f->sent_at + wait;
    }
    return next;
}

void vcl__rack_on_move(struct rack *r, const struct sentmap *m)
{
    r->old_delivered_order = r->delivered_order > r->moved_order ? r->delivered_order : r->old_delivered_order;
    r->moved_order = m->next_order;
    r->doubled_until = UINT64_MAX;
}
