/* SPDX-License-Identifier: Apache-2.0
 *
 * See recvbuf.h.
 */
#include "recvbuf.h"

#include <assert.h>

void vcl__recvbuf_init(struct recvbuf *b, uint32_t bytes_max)
{
    *b = (struct recvbuf){.bytes_max = bytes_max, .fin = RECVBUF_NO_FIN};
}

void vcl__recvbuf_free(struct recvbuf *b, const struct mem *mem)
{
    vcl__ring_free(&b->ring, mem);
    vcl__ranges_free(&b->ranges, mem);
}

/* A stream has one end: data beyond it, or another end, is not from an honest sender. */
static bool contradicts_fin(const struct recvbuf *b, uint64_t end, bool fin)
{
    if (b->fin != RECVBUF_NO_FIN)
        return fin ? end != b->fin : end > b->fin;
    if (!fin)
        return false;
    return end < b->nxt || (b->ranges.count > 0 && b->ranges.list[b->ranges.count - 1].end > end);
}

static enum recvbuf_result store(struct recvbuf *b, const struct mem *mem, uint64_t start, const void *src,
                                 uint64_t data_end, uint64_t span_end)
{
    if (data_end > start && vcl__ring_reserve(&b->ring, mem, b->read, data_end) != 0)
        return RECVBUF_NO_MEMORY;
    bool in_order = start <= b->nxt;
    if (!in_order && !vcl__ranges_add(&b->ranges, mem, start, span_end))
        return RECVBUF_NO_MEMORY;
    if (data_end > start)
        vcl__ring_put(&b->ring, start, src, (uint32_t)(data_end - start));
    if (!in_order)
        return RECVBUF_OUT_OF_ORDER;
    b->nxt = b->ranges.count == 0 ? span_end : vcl__ranges_consume(&b->ranges, span_end);
    if (b->ranges.count == 0 && b->ranges.cap > 0)
        vcl__ranges_free(&b->ranges, mem);
    return RECVBUF_ADVANCED;
}

enum recvbuf_result vcl__recvbuf_put(struct recvbuf *b, const struct mem *mem, uint64_t offset, const void *src,
                                     uint32_t len, bool fin, uint64_t *duplicate_bytes)
{
    uint64_t data_end = offset + len, span_end = data_end + (fin ? 1 : 0);
    if (contradicts_fin(b, data_end, fin))
        return RECVBUF_BEYOND;
    if (span_end <= b->nxt || vcl__ranges_contains(&b->ranges, offset, span_end)) {
        *duplicate_bytes += len;
        return RECVBUF_DUPLICATE;
    }
    if (data_end > b->read + b->bytes_max)
        return RECVBUF_BEYOND;
    uint64_t start = offset;
    if (start < b->nxt) { /* the first part is known: keep the rest */
        start = b->nxt < data_end ? b->nxt : data_end;
        *duplicate_bytes += start - offset;
    }
    enum recvbuf_result r = store(b, mem, start, (const uint8_t *)src + (start - offset), data_end, span_end);
    if (fin && r != RECVBUF_NO_MEMORY)
        b->fin = data_end;
    return r;
}

uint32_t vcl__recvbuf_readable(const struct recvbuf *b)
{
    uint64_t end = b->nxt > b->fin ? b->fin : b->nxt;
    return (uint32_t)(end - b->read);
}

bool vcl__recvbuf_complete(const struct recvbuf *b)
{
    return b->fin != RECVBUF_NO_FIN && b->nxt > b->fin;
}

uint32_t vcl__recvbuf_read(struct recvbuf *b, const struct mem *mem, void *dst, size_t len, bool peek)
{
    uint32_t n = vcl__recvbuf_readable(b);
    if (n > len)
        n = (uint32_t)len;
    if (n == 0)
        return 0;
    vcl__ring_get(&b->ring, b->read, dst, n);
    if (peek)
        return n;
    b->read += n;
    if (vcl__recvbuf_readable(b) == 0 && b->ranges.count == 0)
        vcl__ring_trim(&b->ring, mem);
    return n;
}

uint32_t vcl__recvbuf_window(const struct recvbuf *b)
{
    uint64_t used = b->nxt - b->read;
    return used >= b->bytes_max ? 0 : b->bytes_max - (uint32_t)used;
}
