/* SPDX-License-Identifier: Apache-2.0
 *
 * See sendbuf.h.
 */
#include "sendbuf.h"

#include <assert.h>

void vcl__sendbuf_init(struct sendbuf *b, uint32_t bytes_max)
{
    *b = (struct sendbuf){.bytes_max = bytes_max};
}

void vcl__sendbuf_free(struct sendbuf *b, const struct mem *mem)
{
    vcl__ring_free(&b->ring, mem);
}

uint32_t vcl__sendbuf_space(const struct sendbuf *b)
{
    return b->bytes_max - (uint32_t)(b->end - b->una);
}

int64_t vcl__sendbuf_write(struct sendbuf *b, const struct mem *mem, const void *src, size_t len)
{
    uint32_t n = vcl__sendbuf_space(b);
    if (n > len)
        n = (uint32_t)len;
    if (n == 0)
        return 0;
    if (vcl__ring_reserve(&b->ring, mem, b->una, b->end + n) != 0)
        return -1;
    vcl__ring_put(&b->ring, b->end, src, n);
    b->end += n;
    return n;
}

void vcl__sendbuf_copy(const struct sendbuf *b, uint64_t offset, void *dst, uint32_t len)
{
    assert(offset >= b->una && offset + len <= b->end);
    vcl__ring_get(&b->ring, offset, dst, len);
}

void vcl__sendbuf_ack(struct sendbuf *b, const struct mem *mem, uint64_t una)
{
    assert(una >= b->una && una <= b->end);
    b->una = una;
    if (b->una == b->end)
        vcl__ring_trim(&b->ring, mem);
}
