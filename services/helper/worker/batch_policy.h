/* SPDX-License-Identifier: Apache-2.0
 *
 * When is a batch sent? A pure function of what is known about one batch: no state, no clock, no DPDK. Rule T4 of
 * docs/protocol.md. A smarter policy replaces this file and nothing else.
 */
#ifndef POSTMAN_BATCH_POLICY_H
#define POSTMAN_BATCH_POLICY_H

#include <stdbool.h>
#include <stdint.h>

struct batch_limits {
    uint32_t bytes_max; /* segment size: header, entries and tag */
    uint32_t entries_max;
    uint32_t hold_us_max; /* bound of the added delay; 0: nothing is ever held */
};

struct batch_facts {
    uint32_t bytes; /* the datagram if it were sent now: header, entries and tag */
    uint32_t nb_entries;
    uint64_t oldest_age_us;
    uint32_t next_bytes; /* the entry that wants to join; 0: none does */
    bool urgent;         /* an entry in the batch must not be held */
};

enum batch_reason {
    BATCH_HOLD,  /* keep it, look again after wait_us at the latest */
    BATCH_FULL,  /* no room for the next entry: the sender pads it to bytes_max */
    BATCH_COUNT, /* entries_max reached */
    BATCH_AGE,   /* the oldest entry has waited hold_us_max */
    BATCH_URGENT,
};

struct batch_verdict {
    enum batch_reason reason; /* anything but BATCH_HOLD: flush now */
    uint64_t wait_us;         /* with BATCH_HOLD: when to ask again, at least 1 */
};

struct batch_verdict batch_policy_decide(const struct batch_limits *limits, const struct batch_facts *facts);

#endif
