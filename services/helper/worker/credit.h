/* SPDX-License-Identifier: Apache-2.0
 *
 * How many DATA entries a server still takes (O1). Numbers are absolute and wrap at 2^32, so a lost or late word does
 * no harm: the highest counts.
 */
#ifndef POSTMAN_CREDIT_H
#define POSTMAN_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

struct credit {
    uint32_t limit; /* the server's word; means something once it is known */
    uint32_t used;  /* DATA entries sent that need credit */
    uint32_t held;  /* DATA entries that wait (held.h) */
    bool known;     /* before the first word everything may be sent */
};

static inline bool credit_is_left(const struct credit *c)
{
    return !c->known || (int32_t)(c->limit - c->used) > 0;
}

/* True when there is more than before. */
static inline bool credit_take(struct credit *c, uint32_t limit)
{
    if (c->known && (int32_t)(limit - c->limit) <= 0)
        return false;
    c->limit = limit;
    c->known = true;
    return true;
}

#endif
