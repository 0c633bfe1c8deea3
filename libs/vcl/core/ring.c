/* SPDX-License-Identifier: Apache-2.0
 *
 * See ring.h.
 */
#include "ring.h"

#include <assert.h>
#include <string.h>

int vcl__ring_reserve(struct ring *r, const struct mem *mem, uint64_t base, uint64_t end)
{
    assert(end >= base && end - base <= UINT32_MAX / 2);
    uint32_t need = (uint32_t)(end - base), cap = r->cap == 0 ? RING_BYTES_FIRST : r->cap;
    if (need <= r->cap)
        return 0;
    while (cap < need)
        cap *= 2;
    struct ring bigger = {.bytes = mem_alloc(mem, cap), .cap = cap};
    if (bigger.bytes == NULL)
        return -1;
    if (r->cap > 0) {
        uint32_t first = r->cap - (uint32_t)(base & (r->cap - 1)); /* contiguous bytes from base on */
        vcl__ring_put(&bigger, base, r->bytes + (base & (r->cap - 1)), first);
        vcl__ring_put(&bigger, base + first, r->bytes, r->cap - first);
    }
    mem_free(mem, r->bytes);
    *r = bigger;
    return 0;
}

void vcl__ring_trim(struct ring *r, const struct mem *mem)
{
    if (r->cap > RING_BYTES_FIRST && r->cap <= RING_BYTES_LARGE)
        vcl__ring_free(r, mem);
}

void vcl__ring_free(struct ring *r, const struct mem *mem)
{
    mem_free(mem, r->bytes);
    *r = (struct ring){.cap = 0};
}

void vcl__ring_put(struct ring *r, uint64_t offset, const void *src, uint32_t len)
{
    if (len == 0)
        return;
    assert(len <= r->cap);
    uint32_t at = (uint32_t)(offset & (r->cap - 1)), first = r->cap - at;
    if (first >= len) {
        memcpy(r->bytes + at, src, len);
        return;
    }
    memcpy(r->bytes + at, src, first);
    memcpy(r->bytes, (const uint8_t *)src + first, len - first);
}

void vcl__ring_get(const struct ring *r, uint64_t offset, void *dst, uint32_t len)
{
    if (len == 0)
        return;
    assert(len <= r->cap);
    uint32_t at = (uint32_t)(offset & (r->cap - 1)), first = r->cap - at;
    if (first >= len) {
        memcpy(dst, r->bytes + at, len);
        return;
    }
    memcpy(dst, r->bytes + at, first);
    memcpy((uint8_t *)dst + first, r->bytes, len - first);
}
