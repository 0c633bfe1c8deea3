/* SPDX-License-Identifier: Apache-2.0
 *
 * What a server says of the batches that were sent to it (T7): which arrived, so how long the trunk's round trip is,
 * how many were lost, and whether it swallows large ones (a black hole: the path's MTU fell and nobody says so). It
 * frees nothing and resends nothing.
 */
#ifndef POSTMAN_ACKS_H
#define POSTMAN_ACKS_H

#include <stdint.h>

enum {
    ACKS_LARGE_BYTES = 1200, /* a batch above this may meet a black hole; the segment size behind one */
    ACKS_HOLE_BATCHES = 2,   /* large ones lost in a row, while smaller ones arrive */
    ACKS_LOSS_THRESHOLD = 3, /* numbers higher than a lost one's (RFC 9002, 6.1.1) */
};
#define ACKS_HOLE_US UINT64_C(10000000)

struct acks {
    uint64_t newest;            /* highest number that arrived there; 0: none is known */
    uint64_t arrived;           /* bit i: newest - i arrived */
    uint64_t sent, large;       /* highest number sent; bit i: sent - i was large */
    uint64_t timed, timed_us;   /* the batch whose round trip is being measured, 0: none; when it was sent */
    uint64_t hole_until_us;     /* large batches are not sent before this */
    uint64_t nb_lost, nb_holes; /* since the trunk began */
    uint32_t rtt_us;            /* smoothed (RFC 6298, weight 1/8); 0: unknown */
    uint8_t lost_in_a_row;      /* large ones, none arrived between */
    uint8_t small_arrived;      /* since the first of these */
};

/* Batch number seq, one more than the last, leaves with len bytes. */
void acks_sent(struct acks *a, uint64_t now, uint64_t seq, uint32_t len);
/* ack_batch and ack_bits of an authentic batch. */
void acks_take(struct acks *a, uint64_t now, uint32_t ack_batch, uint32_t ack_bits);

#endif
