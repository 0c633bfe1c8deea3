/* SPDX-License-Identifier: Apache-2.0
 *
 * The DPDK port: found, configured with one queue pair, started, stopped.
 */
#ifndef POSTMAN_PORTS_H
#define POSTMAN_PORTS_H

#include <stddef.h>
#include <stdint.h>

#include "ip.h"

struct rte_mempool;

struct port {
    uint16_t id;
    uint16_t rx_slots, tx_slots;
    uint8_t mac[MAC_BYTES];
    char driver[32];
};

/* The first port that EAL has. 0, or -1 with a one-line cause. */
int ports_find(struct port *out, char *error, size_t error_cap);
/* ip: a device without an Ethernet address gets a locally administered one made of it. */
int ports_start(struct port *p, struct rte_mempool *pool, struct ip_addr ip, char *error, size_t error_cap);
void ports_stop(struct port *p);

#endif
