/* SPDX-License-Identifier: Apache-2.0
 *
 * Two small tools of whoever answers strangers: so many a second, and a comparison that takes the same time for every
 * wrong guess.
 */
#ifndef VCL_CORE_GUARD_H
#define VCL_CORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rate { /* counts in seconds that begin with their first event */
    uint64_t since;
    uint32_t count;
};

/* false: there were per_second of them already. */
static inline bool vcl__rate_take(struct rate *r, uint64_t now, uint32_t per_second)
{
    if (now - r->since >= 1000000) {
        r->since = now;
        r->count = 0;
    }
    if (r->count >= per_second)
        return false;
    r->count++;
    return true;
}

static inline bool vcl__equal_secret(const uint8_t *a, const uint8_t *b, size_t len)
{
    volatile uint8_t diff = 0;
    for (size_t i = 0; i < len; i++)
        diff |= a[i] ^ b[i];
    return diff == 0;
}

#endif
