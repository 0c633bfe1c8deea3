/* SPDX-License-Identifier: Apache-2.0
 *
 * Port set-up. No offloads: they differ between drivers, virtual ones have none, and our checksums cost little.
 */
#include "ports.h"

#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <stdio.h>

#define SLOTS_WANTED 1024 /* per ring: 1 ms of 64-byte frames at 1 M packets/s */

static int fail(char *error, size_t cap, const char *step, int result)
{
    snprintf(error, cap, "%s: %s", step, rte_strerror(result < 0 ? -result : result));
    return -1;
}

int ports_find(struct port *out, char *error, size_t error_cap)
{
    struct rte_eth_dev_info info;
    uint16_t id = rte_eth_find_next(0);

    if (id >= RTE_MAX_ETHPORTS) {
        snprintf(error, error_cap, "DPDK made no port of it");
        return -1;
    }
    int result = rte_eth_dev_info_get(id, &info);
    if (result < 0)
        return fail(error, error_cap, "asking for its abilities", result);
    *out = (struct port){.id = id, .rx_slots = SLOTS_WANTED, .tx_slots = SLOTS_WANTED};
    snprintf(out->driver, sizeof(out->driver), "%s", info.driver_name);
    return 0;
}

/* net_ring has no address at all. Bit 1 of the first byte says: locally administered (IEEE 802). */
static void make_mac(uint8_t *mac, struct ip_addr ip)
{
    mac[0] = 0x02;
    mac[1] = 'P';
    write32(mac + 2, (uint32_t)ip.lo);
}

static int read_mac(struct port *p, struct ip_addr ip)
{
    struct rte_ether_addr mac;
    int result = rte_eth_macaddr_get(p->id, &mac);

    if (result < 0)
        return result;
    memcpy(p->mac, mac.addr_bytes, MAC_BYTES);
    if (!mac_is_unicast(p->mac))
        make_mac(p->mac, ip);
    return 0;
}

int ports_start(struct port *p, struct rte_mempool *pool, struct ip_addr ip, char *error, size_t error_cap)
{
    const struct rte_eth_conf conf = {.rxmode = {.mq_mode = RTE_ETH_MQ_RX_NONE}};
    int socket = rte_eth_dev_socket_id(p->id), result;

    if ((result = rte_eth_dev_configure(p->id, 1, 1, &conf)) < 0)
        return fail(error, error_cap, "one queue pair", result);
    if ((result = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &p->rx_slots, &p->tx_slots)) < 0)
        return fail(error, error_cap, "ring sizes", result);
    if ((result = rte_eth_rx_queue_setup(p->id, 0, p->rx_slots, (unsigned)socket, NULL, pool)) < 0)
        return fail(error, error_cap, "receive queue", result);
    if ((result = rte_eth_tx_queue_setup(p->id, 0, p->tx_slots, (unsigned)socket, NULL)) < 0)
        return fail(error, error_cap, "transmit queue", result);
    if ((result = rte_eth_dev_start(p->id)) < 0)
        return fail(error, error_cap, "start", result);
    if ((result = read_mac(p, ip)) < 0)
        return fail(error, error_cap, "Ethernet address", result);
    return 0;
}

void ports_stop(struct port *p)
{
    rte_eth_dev_stop(p->id);
    rte_eth_dev_close(p->id);
}
