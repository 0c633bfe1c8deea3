/* SPDX-License-Identifier: Apache-2.0
 *
 * How large the payload of a frame may be on the session's present path (S21). It begins at what every path carries. On
 * the direct path larger ones are asked for with padded PROBEs, by either end, when there is enough to send; a pair of
 * each size leaves as one message of the kernel's segmentation, so that two ECHOs also prove that messages may be
 * merged on this way. When large frames vanish while the path answers, the limit falls.
 */
#ifndef VCL_CORE_MTU_H
#define VCL_CORE_MTU_H

#include "postman/wire.h"

struct vcl_session;

enum {
    MTU_SIZES = 3,
    MTU_LARGE_BYTES = 4416,  /* the next that fits twice into the largest */
    MTU_FALL_BYTES = 960,    /* S21: frames of more than 1,000 bytes may be what a black hole swallows */
    MTU_BUSY_FRAMES = 8,     /* waiting: worth a larger frame */
    MTU_AGAIN_US = 60000000, /* S21 */
    MTU_RISE_US = 30000000,  /* S21: after a fall */
    MTU_TRIES = 3,
    MTU_AROUND_BYTES = PMW_FRAME_BYTES_MAX - PMW_PAYLOAD_BYTES_MAX, /* a frame is longer than its payload by so much */
};

struct mtu {
    uint64_t nonce, asked_at, next_at; /* asked_at: 0 = no probe is under way; next_at: no probe before */
    uint32_t epoch;                    /* of the path that all this is about */
    uint16_t limit;
    uint16_t asked[MTU_SIZES]; /* payloads, 0 = none */
    uint8_t answered;          /* bit for each probe of the series: two for each size */
    uint8_t nb_tries;
    bool may_merge; /* a pair in one message arrived as two */
};

uint32_t vcl__mtu_payload(struct vcl_session *s);
/* So many bytes wait to be sent: a larger limit would serve. */
void vcl__mtu_want(struct vcl_session *s, uint64_t bytes);
/* A frame with this payload was lost that had been sent `tx` times before. */
void vcl__mtu_on_lost(struct vcl_session *s, uint32_t payload, unsigned tx);
/* The oldest frame met its PTO, and met it before. */
void vcl__mtu_on_pto(struct vcl_session *s, uint32_t payload, uint64_t first_sent_at);
/* true: the answer was to a probe of ours for size. */
bool vcl__mtu_on_echo(struct vcl_session *s, const struct pmw_probe *p);

#endif
