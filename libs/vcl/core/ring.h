/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes of a stream addressed by their 64-bit offset: the byte at offset o lives at o mod cap. Grows lazily from
 * RING_BYTES_FIRST by doubling, so an idle or small connection never pays for its limit.
 */
#ifndef VCL_CORE_RING_H
#define VCL_CORE_RING_H

#include "mem.h"

#include <stdint.h>

enum {
    RING_BYTES_FIRST = 512,
    RING_BYTES_LARGE = 65536, /* above it storage stays for a moment: a transfer fills it again at once */
};

struct ring {
    uint8_t *bytes;
    uint32_t cap; /* 0 or a power of two */
};

/* Makes room for [base, end), keeping whatever is stored from base on. 0, or -1 when there is no memory. */
int vcl__ring_reserve(struct ring *r, const struct mem *mem, uint64_t base, uint64_t end);
/* Gives storage back that is worth it, but for that of a transfer (buffers.c); call when nothing is stored. */
void vcl__ring_trim(struct ring *r, const struct mem *mem);
void vcl__ring_free(struct ring *r, const struct mem *mem);
void vcl__ring_put(struct ring *r, uint64_t offset, const void *src, uint32_t len);
void vcl__ring_get(const struct ring *r, uint64_t offset, void *dst, uint32_t len);

#endif
