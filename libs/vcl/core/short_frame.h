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
    SHORT_LOST_MAX = 2,
    SHORT_DISTRUST_US = 250000,   /* S22: as soon as a refused binding may be made again (T6); doubled each time ... */
    SHORT_DISTRUST_DOUBLINGS = 8, /* ... up to 64 s */
    SHORT_TELLS = 4,              /* long frames after which an edge counts as heard: all lost is 10^-8 at 1 % loss */
};

struct short_state {
    uint64_t edge_heard;       /* window edge that the peer is known to have heard */
    uint64_t told_edge;        /* of the first long frame since */
    uint64_t told_by;          /* our offset after the DATA that carried it; 0: none did */
    uint64_t ack_heard;        /* what the peer is known, or after a long frame taken, to have heard acknowledged */
    uint64_t ack_told;         /* in the DATA that ends at ack_by */
    uint64_t ack_by;           /* our offset after that; 0: none is on its way */
    uint64_t resent_end;       /* our offset after all that was sent twice */
    uint64_t long_until;       /* after RESUME */
    uint64_t distrusted_until; /* S22 */
    uint8_t nb_tells;          /* long frames since edge_heard */
    uint8_t nb_distrusts;
    uint8_t nb_lost; /* first transmissions in a row that needed a PTO */
    bool asked;      /* a frame sent once has needed a PTO since something arrived */
    bool must_tell;  /* the next frame is long */
};

#endif
