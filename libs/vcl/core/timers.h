/* SPDX-License-Identifier: Apache-2.0
 *
 * Deadlines of connections and sessions: a 4-ary heap of intrusive timers.
 *
 * Arming is lazy. A busy connection moves its deadline later with every frame; that costs nothing here, because
 * vcl__timers_arm only ever moves a timer earlier. When it fires, its owner looks at its own state, finds that
 * nothing is due yet, and arms again. So a timer may fire early, never late.
 */
#ifndef VCL_CORE_TIMERS_H
#define VCL_CORE_TIMERS_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

struct timer {
    uint64_t at;
    uint32_t index; /* 1-based place in the heap; 0 = not armed */
    uint8_t kind;   /* the owner's: tells what container_of to use */
};

struct timers {
    const struct mem *mem;
    struct timer **heap; /* [1 .. count] */
    uint32_t count, cap, reserved;
};

void vcl__timers_init(struct timers *h, const struct mem *mem);
void vcl__timers_free(struct timers *h);
/* Room for one more owner, so that arming never fails. 0, or -1 when there is no memory. */
int vcl__timers_reserve(struct timers *h);
void vcl__timers_unreserve(struct timers *h);
/* Fires at `at` or earlier; UINT64_MAX is ignored. */
void vcl__timers_arm(struct timers *h, struct timer *t, uint64_t at);
void vcl__timers_disarm(struct timers *h, struct timer *t);
/* The earliest timer if it is due, disarmed; or NULL. */
struct timer *vcl__timers_pop_due(struct timers *h, uint64_t now);
uint64_t vcl__timers_next(const struct timers *h); /* UINT64_MAX: none */

#endif
