/* SPDX-License-Identifier: Apache-2.0
 *
 * Congestion window in bytes of payload (C5): 10 frames at first, slow start that ends before the queue is full
 * (HyStart++, RFC 9406), additive increase of a frame a round trip, halved once per round trip on loss, cut by the
 * share of marks (DCTCP, RFC 8257).
 */
#ifndef VCL_CORE_CC_H
#define VCL_CORE_CC_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CC_FRAMES_FIRST = 10, /* RFC 6928 */
    CC_FRAMES_MIN = 2,
    CC_BYTES_MAX = 8 << 20,
    CC_MARKS_ALL = 1024, /* vcl__cc_on_marked: every datagram was marked */
};

struct cc {
    uint32_t window, threshold;   /* slow start below the threshold */
    uint32_t acked;               /* towards the next step */
    uint32_t window_before;       /* the last cut: given back when it was for nothing; 0 = there is none */
    uint32_t threshold_before;    /* with it */
    uint32_t rtt_before, rtt_min; /* HyStart++: least of the last and of this round; 0 = none */
    uint32_t rtt_baseline;        /* of conservative slow start */
    uint64_t round_end;           /* the round ends when this transmission has arrived */
    uint64_t cut_order;           /* losses of transmissions up to this one are already answered */
    uint8_t nb_samples;           /* of this round */
    uint8_t nb_careful;           /* rounds of conservative slow start that are left */
};

struct cc_ack {
    uint32_t bytes;           /* newly known to have arrived */
    uint32_t bytes_in_flight; /* before that */
    uint32_t frame_bytes;     /* payload of a full frame */
    uint32_t rtt_us;          /* 0 = no sample */
    uint64_t newest_order, last_order;
};

void vcl__cc_init(struct cc *c);
/* Another path, unasked: at most 10 frames, and what was lost with the old path says nothing of this one. */
void vcl__cc_reset(struct cc *c, uint64_t last_order);
void vcl__cc_on_delivered(struct cc *c, const struct cc_ack *a);
/* A transmission of this order was lost; last_order is the newest sent. */
void vcl__cc_on_lost(struct cc *c, uint64_t lost_order, uint64_t last_order, uint32_t frame_bytes);
/* What the last cut was for had not been lost. */
void vcl__cc_undo(struct cc *c);
/* Of the datagrams of the last round trip share/1,024 were marked (DCTCP's alpha, RFC 8257 3.3: the caller smooths it).
 * At most once a round trip. */
void vcl__cc_on_marked(struct cc *c, uint32_t share, uint64_t last_order, uint32_t frame_bytes);

#endif
