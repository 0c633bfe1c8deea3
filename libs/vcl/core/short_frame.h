/* SPDX-License-Identifier: Apache-2.0
 *
 * When a DATA or ACK may leave as a short frame (W10). A short frame says nothing of the window, so its sender must be
 * sure that the peer has heard enough of it in long ones.
 */
#ifndef VCL_CORE_SHORT_FRAME_H
#define VCL_CORE_SHORT_FRAME_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SHORT_SPAN_BYTES = 1 << 14, /* W10: a quarter of what 16 bits count, half of what they decode either way */
    SHORT_TELLS = 4,            /* long frames after which an edge counts as heard: all lost is 10^-8 at 1 % loss */
};

struct short_state {
    uint64_t edge_heard; /* window edge that the peer is known to have heard */
    uint64_t told_edge;  /* of the first long frame since */
    uint64_t told_by;    /* our offset after the DATA that carried it; 0: none did */
    uint64_t ack_told;   /* in the last long frame */
    uint64_t resent_end; /* our offset after all that was sent twice */
    uint64_t long_until; /* after RESUME */
    uint8_t nb_tells;    /* long frames since edge_heard */
    bool must_tell;      /* the next frame is long */
};

#endif
