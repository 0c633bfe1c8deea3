/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes of the packet buffer pool. See mempools.h.
 */
#include "mempools.h"

#include <rte_lcore.h>
#include <rte_mbuf.h>

#include "worker.h"

/* A payload's headers grow into the headroom (output.c), and its buffer holds the largest payload. */
_Static_assert(RTE_PKTMBUF_HEADROOM >= UDP6_FRAME_BYTES, "the headroom takes Ethernet, IPv6 and UDP headers");
_Static_assert(RTE_MBUF_DEFAULT_DATAROOM >= PMW_TRUNK_BYTES_MAX, "a buffer holds the largest trunk batch");

#define CACHE_MBUFS 256

struct rte_mempool *mempools_new(const struct worker_config *config, uint16_t rx_slots, uint16_t tx_slots)
{
    /* Both rings full, a batch for every server, every neighbour's waiting packets, bursts in hand (received, being
     * sent, and the entries of a batch), and what the pool's cache keeps. */
    uint32_t wanted = rx_slots + tx_slots + config->servers_max + NEIGHBOURS_ASKING_MAX * NEIGHBOUR_PENDING_MAX +
                      2 * BURST_MAX + PMW_TRUNK_ENTRIES_MAX + 2 * CACHE_MBUFS;
    uint32_t nb_mbufs = 1;

    while (nb_mbufs - 1 < wanted) /* a ring of 2^n holds 2^n - 1: the size without waste */
        nb_mbufs *= 2;
    return rte_pktmbuf_pool_create("postman_mbufs", nb_mbufs - 1, CACHE_MBUFS, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                   (int)rte_socket_id());
}
