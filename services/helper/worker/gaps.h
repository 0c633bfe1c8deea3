/* SPDX-License-Identifier: Apache-2.0
 *
 * Gaps in the numbers of arriving batches (T8). A gap may be reordering, so it is given some time, and then what is
 * still missing is asked for, once.
 */
#ifndef POSTMAN_GAPS_H
#define POSTMAN_GAPS_H

#include "postman/replay.h"
#include "postman/wire.h"

enum {
    GAPS_RANGES_MAX = 16,   /* asked for at once; more is a disaster that NACK does not mend */
    GAPS_NUMBERS_MAX = 256, /* the sender's ring has no older ones */
    GAPS_WAIT_US_MIN = 50,
    GAPS_WAIT_US_MAX = 1000, /* the sender's ring keeps a batch for 2 ms */
};
#define GAPS_NONE UINT64_MAX

struct gaps {
    uint64_t first, end; /* numbers among which some are missing; end 0: no gap is known */
    uint64_t due_us;
};

/* A quarter of the trunk's round trip. */
static inline uint32_t gaps_wait_us(uint32_t rtt_us)
{
    uint32_t wait_us = rtt_us / 4;
    return wait_us < GAPS_WAIT_US_MIN ? GAPS_WAIT_US_MIN : wait_us > GAPS_WAIT_US_MAX ? GAPS_WAIT_US_MAX : wait_us;
}

/* Number seq was marked, of which highest_before was the highest before. True: gaps_due wants to be called at due_us.
 */
bool gaps_note(struct gaps *g, uint64_t now, uint64_t highest_before, uint64_t seq, uint32_t wait_us);
/* At due_us: fills ranges[GAPS_RANGES_MAX] with what to ask for and returns their number. Afterwards due_us is when to
 * call again, or GAPS_NONE. */
int gaps_due(struct gaps *g, uint64_t now, const struct pmw_replay *seen, uint32_t wait_us, struct pmw_nack *ranges);

#endif
