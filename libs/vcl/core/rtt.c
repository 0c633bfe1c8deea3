/* SPDX-License-Identifier: Apache-2.0
 *
 * See rtt.h.
 */
#include "rtt.h"

enum {
    RTTVAR_FLOOR_US = 300, /* timer granularity term of C4 */
    RAISE_PTOS = 3,        /* C4: how much slower a path may become in one round trip */
    RTT_US_MAX = 60000000, /* a minute: above it the path has been given up (hold_us) */
};

static void set_limit(struct rtt *r, const struct rtt_limits *l)
{
    uint64_t limit = RAISE_PTOS * vcl__rtt_pto(r, l, 0);
    limit = limit > l->pto_max_us ? limit : l->pto_max_us;
    r->limit_us = limit > RTT_US_MAX ? RTT_US_MAX : (uint32_t)limit;
    r->limited = false;
}

/* A peer, or a helper, that stood still answers all that waited for it at once, and late: that is one silence, however
 * many answers tell of it, and says little of the path. So what was sent before the limit was set does not raise it.
 * The first answer of all is no better: its limit is that of the first guess. */
static uint32_t believed(struct rtt *r, const struct rtt_limits *l, uint64_t now, uint32_t us)
{
    if (r->limit_us == 0 || (r->sampled && now - us >= r->limit_at)) {
        set_limit(r, l);
        r->limit_at = now;
    }
    return us < r->limit_us ? us : r->limit_us;
}

void vcl__rtt_sample(struct rtt *r, const struct rtt_limits *l, uint64_t now, uint64_t rtt_us)
{
    uint32_t all = rtt_us > RTT_US_MAX ? RTT_US_MAX : (uint32_t)rtt_us, us = believed(r, l, now, all);
    if (us < all && r->limited)
        return; /* the same silence: many equal samples would say that the path does not vary */
    if (us < all)
        r->limited = true; /* and a limit is nobody's shortest round trip */
    else if (r->min_us == 0 || us < r->min_us)
        r->min_us = us;
    if (!r->sampled) {
        r->sampled = true;
        r->limit_at = now;
        r->srtt_us = us;
        r->rttvar_us = us / 2;
        return;
    }
    uint32_t delta = us > r->srtt_us ? us - r->srtt_us : r->srtt_us - us;
    r->rttvar_us = (uint32_t)((3 * (uint64_t)r->rttvar_us + delta) / 4);
    r->srtt_us = (uint32_t)((7 * (uint64_t)r->srtt_us + us) / 8);
}

void vcl__rtt_forget(struct rtt *r, const struct rtt_limits *l)
{
    struct rtt fresh = {.sampled = false, .limit_us = r->limit_us};
    if (r->sampled) {
        set_limit(r, l);
        fresh.limit_us = r->limit_us;
    }
    *r = fresh;
}

uint64_t vcl__rtt_pto(const struct rtt *r, const struct rtt_limits *l, uint32_t backoff)
{
    uint64_t pto = l->pto_initial_us;
    if (r->sampled) {
        uint64_t var = 4 * (uint64_t)r->rttvar_us;
        pto = r->srtt_us + (var > RTTVAR_FLOOR_US ? var : RTTVAR_FLOOR_US) + l->peer_delay_us;
        if (pto < l->pto_min_us)
            pto = l->pto_min_us;
    }
    uint64_t max = pto > l->pto_max_us ? pto : l->pto_max_us; /* a path slower than pto_max is not hurried */
    while (backoff-- > 0 && pto < max)
        pto *= 2;
    return pto < max ? pto : max;
}
