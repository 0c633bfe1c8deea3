/* SPDX-License-Identifier: Apache-2.0
 *
 * The receiving half of a stream (C2). Offsets, in order:
 *
 *     read            nxt                    edge = read + bytes_max
 *      |---- readable --|--- gaps, ranges -----|
 *
 * Bytes below nxt arrived in order. `ranges` holds what arrived beyond a gap. FIN takes the offset after the last
 * byte (W4): when nxt has passed it, the stream is complete. The edge never goes back (W8).
 */
#ifndef VCL_CORE_RECVBUF_H
#define VCL_CORE_RECVBUF_H

#include "ranges.h"
#include "ring.h"

#define RECVBUF_NO_FIN UINT64_MAX

struct recvbuf {
    struct ring ring;
    struct ranges ranges;
    uint64_t read, nxt, fin;
    uint32_t bytes_max;
};

enum recvbuf_result {
    RECVBUF_ADVANCED,     /* nxt moved: something became readable, or the stream is complete */
    RECVBUF_OUT_OF_ORDER, /* stored beyond a gap */
    RECVBUF_DUPLICATE,    /* nothing new in it */
    RECVBUF_BEYOND,       /* not stored: beyond the window, or it contradicts the FIN */
    RECVBUF_NO_MEMORY,    /* not stored: it will be sent again */
};

void vcl__recvbuf_init(struct recvbuf *b, uint32_t bytes_max);
void vcl__recvbuf_free(struct recvbuf *b, const struct mem *mem);
enum recvbuf_result vcl__recvbuf_put(struct recvbuf *b, const struct mem *mem, uint64_t offset, const void *src,
                                     uint32_t len, bool fin, uint64_t *duplicate_bytes);
uint32_t vcl__recvbuf_readable(const struct recvbuf *b);
/* Every byte of the stream arrived, the FIN too. */
bool vcl__recvbuf_complete(const struct recvbuf *b);
uint32_t vcl__recvbuf_read(struct recvbuf *b, const struct mem *mem, void *dst, size_t len, bool peek);
/* Bytes the peer may send from nxt on. */
uint32_t vcl__recvbuf_window(const struct recvbuf *b);

#endif
