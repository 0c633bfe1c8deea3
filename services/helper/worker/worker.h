/* SPDX-License-Identifier: Apache-2.0
 *
 * All state of one worker lcore: it owns its queues, relay and tables and shares nothing. Written and read by its own
 * thread only. DPDK's types are opaque here, so that the control commands and their tests need no DPDK.
 */
#ifndef POSTMAN_WORKER_H
#define POSTMAN_WORKER_H

#include "config.h"
#include "neighbours.h"
#include "parse.h"
#include "relay.h"
#include "stats.h"

struct rte_mbuf;
struct rte_mempool;
struct control;

enum { BURST_MAX = 64 };

struct worker {
    const struct worker_config *config;
    struct station self;
    uint64_t now_us; /* monotonic; read once a poll */

    struct relay *relay;
    struct neighbours neighbours;
    struct worker_stats stats;
    struct load load;

    struct rte_mempool *pool;
    struct rte_mbuf *tx[BURST_MAX]; /* written by output.c, sent once a poll or when full */
    uint16_t nb_tx;
    uint16_t port, queue;
    uint16_t ip_id;
    int doorbell; /* what wakes us when a packet arrives, or DOORBELL_NONE */

    struct control *control;
    uint64_t started_us, tick_us, worked_us; /* worked_us: the last poll that found work */
    bool draining;
    bool quit; /* set by the `quit` command */
};

#endif
