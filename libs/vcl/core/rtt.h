/* SPDX-License-Identifier: Apache-2.0
 *
 * Round-trip estimate of a session's path and the probe timeout made of it (C4; RFC 6298's filter).
 */
#ifndef VCL_CORE_RTT_H
#define VCL_CORE_RTT_H

#include <stdbool.h>
#include <stdint.h>

struct rtt {
    bool sampled;
    uint32_t srtt_us, rttvar_us;
    uint32_t min_us;   /* the least on this path; 0: not measured since the path is another */
    uint32_t limit_us; /* no longer sample is believed; 0: not set. Once a round trip */
    uint64_t limit_at; /* when it was set */
    bool limited;      /* a sample was cut to it */
};

struct rtt_limits {
    uint32_t pto_initial_us, pto_min_us, pto_max_us;
    uint32_t peer_delay_us; /* what the peer and the helper may add: max_ack_delay + max_hold */
};

/* An answer that came now to what was sent rtt_us ago. */
void vcl__rtt_sample(struct rtt *r, const struct rtt_limits *l, uint64_t now, uint64_t rtt_us);
/* Another path: the next sample counts alone. It is believed as far as it was on the path before. */
void vcl__rtt_forget(struct rtt *r, const struct rtt_limits *l);
/* Probe timeout after `backoff` timeouts in a row: doubled each time, at most pto_max. */
uint64_t vcl__rtt_pto(const struct rtt *r, const struct rtt_limits *l, uint32_t backoff);

#endif
