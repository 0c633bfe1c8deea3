/* SPDX-License-Identifier: Apache-2.0
 *
 * Pacing (C5): a window that is larger than a burst leaves spread over its round trip, at 5/4 of window / srtt (twice
 * that in slow start: RFC 9002 7.7 has N = 1.25, Linux 2 and 1.2). A burst is ten frames, or what the rate gives in a
 * millisecond: timers are no finer. So a path of less than a millisecond is never paced; its queue is shorter than the
 * timer's grain.
 *
 * A virtual clock runs ahead of time by what was sent (GCRA): sending is allowed while it is less than a burst ahead.
 */
#ifndef VCL_CORE_PACING_H
#define VCL_CORE_PACING_H

#include "cc.h"

enum { PACING_GRAIN_US = 1000 };

struct pacing {
    uint64_t clock; /* what was sent pays for the time up to here */
};

/* When the next frame may leave: now, or later. */
uint64_t vcl__pacing_next(const struct pacing *p, const struct cc *c, uint32_t srtt_us, uint32_t frame_bytes,
                          uint64_t now);
void vcl__pacing_sent(struct pacing *p, const struct cc *c, uint32_t srtt_us, uint32_t bytes, uint64_t now);

#endif
