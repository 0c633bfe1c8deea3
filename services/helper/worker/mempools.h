/* SPDX-License-Identifier: Apache-2.0
 *
 * Packet buffers: one pool for the lcore's received frames, batches being filled, frames to clients and waiting
 * packets.
 */
#ifndef POSTMAN_MEMPOOLS_H
#define POSTMAN_MEMPOOLS_H

#include "config.h"

struct rte_mempool;

/* NULL: no memory, rte_errno says why. */
struct rte_mempool *mempools_new(const struct worker_config *config, uint16_t rx_slots, uint16_t tx_slots);

#endif
