/* SPDX-License-Identifier: Apache-2.0
 *
 * Loss by time (C4), after RACK, RFC 8985: a frame is lost when one that was sent later by the same path has arrived
 * and a round trip and a reorder window have passed since it was sent. The window adapts: it doubles when a frame that
 * was called lost turns out to have arrived (RFC 8985 step 4 has DSACK for this; here the acknowledgement says which
 * transmission it answers), and is small again after RACK_PERSIST losses that were real.
 */
#ifndef VCL_CORE_RACK_H
#define VCL_CORE_RACK_H

#include "rtt.h"
#include "sentmap.h"

enum {
    RACK_WINDOW_US_MIN = 50, /* C4 */
    RACK_PERSIST = 16,       /* RFC 8985 6.2 step 4 */
    RACK_SHIFT_MAX = 6,
};

struct rack {
    uint64_t delivered_order;     /* newest transmission by the present path known to have arrived */
    uint64_t old_delivered_order; /* the same of the path before */
    uint64_t moved_order;         /* transmissions up to this one went by an earlier path */
    uint64_t doubled_until;       /* window doubled until a transmission after this one has arrived (S19) */
    uint32_t rtt_us;              /* of the newest that has arrived */
    uint8_t shift, persist;
};

/* Takes note of what the acknowledgement brought. */
void vcl__rack_on_ack(struct rack *r, const struct sentmap *m, const struct sentmap_ack *a);
/* Marks what is lost and adds it to *a. Returns when it must be asked again, UINT64_MAX: only after the next
 * acknowledgement. */
uint64_t vcl__rack_detect(struct rack *r, struct sentmap *m, const struct rtt *rtt, uint64_t now,
                          struct sentmap_ack *a);
/* From now on another path carries the frames; those in flight still count as the old one's. */
void vcl__rack_on_move(struct rack *r, const struct sentmap *m);
uint32_t vcl__rack_window_us(const struct rack *r, const struct rtt *rtt);
/* The acknowledgement answers a transmission before the last one of a frame: calling that one lost was wrong. */
bool vcl__rack_was_spurious(const struct sentmap_ack *a);

#endif
