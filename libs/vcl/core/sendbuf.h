/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes the application wrote and the peer's engine has not acknowledged (C1): [una, end) of the stream.
 */
#ifndef VCL_CORE_SENDBUF_H
#define VCL_CORE_SENDBUF_H

#include "ring.h"

struct sendbuf {
    struct ring ring;
    uint64_t una, end;
    uint32_t bytes_max;
};

void vcl__sendbuf_init(struct sendbuf *b, uint32_t bytes_max);
void vcl__sendbuf_free(struct sendbuf *b, const struct mem *mem);
uint32_t vcl__sendbuf_space(const struct sendbuf *b);
/* Takes what fits; returns how much, or -1 when there is no memory for any of it. */
int64_t vcl__sendbuf_write(struct sendbuf *b, const struct mem *mem, const void *src, size_t len);
/* Copies [offset, offset + len), which must be stored. */
void vcl__sendbuf_copy(const struct sendbuf *b, uint64_t offset, void *dst, uint32_t len);
/* The peer has everything below `una`: forget it. */
void vcl__sendbuf_ack(struct sendbuf *b, const struct mem *mem, uint64_t una);

#endif
