/* SPDX-License-Identifier: Apache-2.0
 *
 * The fixed policy: a batch is full, or counted out, or urgent, or old. See batch_policy.h.
 */
#include "batch_policy.h"

#include "postman/wire.h"

/* No message is smaller than the ACK of a bound flow: when not even that fits, waiting longer gains nothing. */
#define ENTRY_BYTES_MIN (7 + PMW_CHECK_BYTES)

static struct batch_verdict flush(enum batch_reason reason)
{
    return (struct batch_verdict){.reason = reason};
}

struct batch_verdict batch_policy_decide(const struct batch_limits *limits, const struct batch_facts *facts)
{
    uint32_t wanted = facts->next_bytes ? facts->next_bytes : ENTRY_BYTES_MIN;

    if (facts->nb_entries == 0)
        return (struct batch_verdict){.reason = BATCH_HOLD, .wait_us = UINT64_MAX};
    if (facts->bytes + wanted > limits->bytes_max)
        return flush(BATCH_FULL);
    if (facts->nb_entries >= limits->entries_max)
        return flush(BATCH_COUNT);
    if (facts->urgent)
        return flush(BATCH_URGENT);
    if (facts->oldest_age_us >= limits->hold_us_max)
        return flush(BATCH_AGE);
    return (struct batch_verdict){.reason = BATCH_HOLD, .wait_us = limits->hold_us_max - facts->oldest_age_us};
}
