/* SPDX-License-Identifier: Apache-2.0
 *
 * Congestion window in frames (C5): 10 at first and after a move, slow start, additive increase, halved once per
 * round trip on loss.
 */
#ifndef VCL_CORE_CC_H
#define VCL_CORE_CC_H

#include <stdbool.h>
#include <stdint.h>

enum { CC_FRAMES_FIRST = 10, CC_FRAMES_MIN = 2, CC_FRAMES_MAX = 1024 };

struct cc {
    uint32_t frames, threshold; /* window; slow start below the threshold */
    uint32_t nb_acked;          /* towards the next additive step */
    uint64_t cut_order;         /* losses of transmissions up to this one are already answered */
};

void vcl__cc_reset(struct cc *c, uint64_t last_order);
/* nb frames arrived while nb_in_flight (before them) filled the window or not: an idle sender learns nothing. */
void vcl__cc_on_delivered(struct cc *c, uint32_t nb, uint32_t nb_in_flight);
/* A transmission of this order was lost; last_order is the newest sent. */
void vcl__cc_on_lost(struct cc *c, uint64_t lost_order, uint64_t last_order);

#endif
