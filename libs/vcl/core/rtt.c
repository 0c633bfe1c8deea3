/* SPDX-License-Identifier: Apache-2.0
 *
 * See rtt.h.
 */
#include "rtt.h"

enum {
    RTTVAR_FLOOR_US = 300, /* timer granularity term of C4 */
    RTT_US_MAX = 60000000, /* a minute: above it the path has been given up (hold_us) */
};

void vcl__rtt_sample(struct rtt *r, uint64_t rtt_us)
{
    uint32_t us = rtt_us > RTT_US_MAX ? RTT_US_MAX : (uint32_t)rtt_us;
    if (!r->sampled) {
        *r = (struct rtt){.sampled = true, .srtt_us = us, .rttvar_us = us / 2, .min_us = us};
        return;
    }
    if (r->min_us == 0 || us < r->min_us)
        r->min_us = us;
    uint32_t delta = us > r->srtt_us ? us - r->srtt_us : r->srtt_us - us;
    r->rttvar_us = (uint32_t)((3 * (uint64_t)r->rttvar_us + delta) / 4);
    r->srtt_us = (uint32_t)((7 * (uint64_t)r->srtt_us + us) / 8);
}

void vcl__rtt_forget(struct rtt *r)
{
    *r = (struct rtt){.sampled = false};
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
