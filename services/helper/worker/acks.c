/* SPDX-License-Identifier: Apache-2.0
 *
 * Verdicts on sent batches. See acks.h.
 */
#include "acks.h"

#include <stdbool.h>

#include "postman/wire.h"

enum { ACKED = 33 }; /* numbers of which one acknowledgement tells */

void acks_sent(struct acks *a, uint64_t now, uint64_t seq, uint32_t len)
{
    a->sent = seq;
    a->large = a->large << 1 | (len > ACKS_LARGE_BYTES);
    if (a->timed == 0) {
        a->timed = seq;
        a->timed_us = now;
    }
}

static bool has_arrived(const struct acks *a, uint64_t seq)
{
    return a->newest - seq < 64 && (a->arrived >> (a->newest - seq) & 1);
}

static void measure(struct acks *a, uint64_t now)
{
    if (a->timed == 0 || a->timed > a->newest)
        return;
    if (has_arrived(a, a->timed)) {
        uint64_t took_us = now > a->timed_us ? now - a->timed_us : 0;
        uint32_t sample_us = took_us > UINT32_MAX / 16 ? UINT32_MAX / 16 : (uint32_t)took_us;
        a->rtt_us = a->rtt_us ? (7 * a->rtt_us + sample_us) / 8 : sample_us;
    }
    a->timed = 0; /* the next batch is the next sample */
}

static void judge_large(struct acks *a, uint64_t now, bool arrived)
{
    if (arrived) {
        a->lost_in_a_row = a->small_arrived = 0;
        return;
    }
    if (a->lost_in_a_row < UINT8_MAX)
        a->lost_in_a_row++;
    if (now < a->hole_until_us || a->lost_in_a_row < ACKS_HOLE_BATCHES || !a->small_arrived)
        return;
    a->hole_until_us = now + ACKS_HOLE_US;
    a->nb_holes++;
    a->lost_in_a_row = a->small_arrived = 0;
}

/* The last word on one number, which is ACKS_LOSS_THRESHOLD below the newest. */
static void judge(struct acks *a, uint64_t now, uint64_t seq)
{
    uint64_t age = a->sent - seq;
    bool arrived = has_arrived(a, seq);

    a->nb_lost += !arrived;
    if (age < 64 && (a->large >> age & 1))
        judge_large(a, now, arrived);
    else if (arrived && a->lost_in_a_row > 0)
        a->small_arrived = 1;
}

void acks_take(struct acks *a, uint64_t now, uint32_t ack_batch, uint32_t ack_bits)
{
    uint64_t said = pmw_wlsb(a->sent, ack_batch, 32), bits = (uint64_t)ack_bits << 1 | 1;
    uint64_t before = a->newest;

    if (said > a->sent || said == 0)
        return; /* of nothing that was sent */
    if (said <= before) {
        if (before - said < 64)
            a->arrived |= bits << (before - said);
        return;
    }
    uint64_t step = said - before;
    a->arrived = (step < 64 ? a->arrived << step : 0) | bits;
    a->newest = said;
    measure(a, now);
    /* Of what no acknowledgement told there is no verdict. */
    uint64_t first = before + 1, told = said >= ACKED ? said - ACKED + 1 : 1;
    first = first > ACKS_LOSS_THRESHOLD ? first - ACKS_LOSS_THRESHOLD : 1;
    for (uint64_t seq = first > told ? first : told; seq + ACKS_LOSS_THRESHOLD <= said; seq++)
        judge(a, now, seq);
}
