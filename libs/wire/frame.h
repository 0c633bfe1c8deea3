/* SPDX-License-Identifier: Apache-2.0
 *
 * What CRC (frame.c), AEAD (aead.c) and the first look (route.c) share about DATA and ACK.
 */
#ifndef POSTMAN_WIRE_FRAME_H
#define POSTMAN_WIRE_FRAME_H

#include "postman/wire.h"

/* cid 8, seq 8, ack 8, epoch 4, first byte, flags; of a long frame also byte 3 and 20 to the end of SACK */
enum {
    FRAME_MEANING_BYTES_MAX = 8 + 8 + 8 + 4 + 2 + 1 + 4 + 1 + PMW_SACK_MAX * PMW_SACK_RANGE_BYTES,
};

static inline size_t frame_trailer_bytes(uint8_t flags)
{
    return (flags & PMW_F_SEALED) != 0 ? PMW_SEAL_BYTES : PMW_CHECK_BYTES;
}

static inline size_t frame_bytes_min(uint8_t flags)
{
    size_t head = (flags & PMW_F_SHORT) != 0 ? PMW_SHORT_HEADER_BYTES : PMW_FRAME_HEADER_BYTES;
    return head + frame_trailer_bytes(flags);
}

/* Bytes before the payload of an encoded frame, whose type is not looked at; 0: they and the trailer do not fit. */
size_t frame_head_bytes(const uint8_t *buf, size_t len);

/* The header as W7 protects it: full numbers instead of those of the datagram, and nothing that differs between a short
 * frame and its short entry. Returns the bytes written. */
size_t frame_meaning(uint8_t out[FRAME_MEANING_BYTES_MAX], const uint8_t *buf, size_t head,
                     const struct pmw_check_seed *seed);

#endif
