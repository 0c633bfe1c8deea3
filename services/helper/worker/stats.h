/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker's own counters, beside those of its relay, and its load. Written by the lcore that owns them.
 */
#ifndef POSTMAN_STATS_H
#define POSTMAN_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "drop.h"

#define WORKER_COUNTERS(X)                                                                                             \
    X(rx_packets)                                                                                                      \
    X(rx_bytes)                                                                                                        \
    X(tx_packets)                                                                                                      \
    X(tx_bytes)                                                                                                        \
    X(arp_requests_in)                                                                                                 \
    X(arp_requests_out)                                                                                                \
    X(echo_replies)                                                                                                    \
    X(polls)                                                                                                           \
    X(naps)
struct worker_stats {
#define WORKER_X(name) uint64_t name;
    WORKER_COUNTERS(WORKER_X)
#undef WORKER_X
    uint64_t drops[WORKER_DROP_COUNT];
};

/* Busy share of the lcore: time of polls that found work, over all time, in windows of a second. */
struct load {
    uint64_t window_us, busy_us; /* start of the window that runs; busy time in it */
    double share;                /* of the last complete window, 0 to 1 */
};

/* A poll that began at `from` ended at `to` (monotonic us) and found work, or not. */
void load_add(struct load *l, uint64_t from, uint64_t to, bool worked);
const char *worker_drop_key(enum worker_drop reason);

#endif
