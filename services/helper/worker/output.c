/* SPDX-License-Identifier: Apache-2.0
 *
 * The way out: payload -> headers -> next hop -> burst. See output.h.
 */
#include "output.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "arp.h"
#include "build.h"
#include "nd.h"

/* A port that takes nothing this many times in a row is full: waiting longer would only lose received packets instead.
 */
#define TX_TRIES_MAX 16

static void drop(struct worker *w, struct rte_mbuf *m, enum worker_drop reason)
{
    w->stats.drops[reason]++;
    rte_pktmbuf_free(m);
}

/* --- bursts ------------------------------------------------------------------------------------------------------ */

void output_flush(struct worker *w)
{
    uint16_t nb_sent = 0;

    for (int tries = 0; nb_sent < w->nb_tx && tries < TX_TRIES_MAX; tries++)
        nb_sent += rte_eth_tx_burst(w->port, w->queue, w->tx + nb_sent, w->nb_tx - nb_sent);
    w->stats.tx_packets += nb_sent;
    for (uint16_t i = nb_sent; i < w->nb_tx; i++) {
        w->stats.tx_bytes -= rte_pktmbuf_pkt_len(w->tx[i]);
        drop(w, w->tx[i], DROP_OUT_PORT_FULL);
    }
    w->nb_tx = 0;
}

void output_frame(struct worker *w, struct rte_mbuf *m)
{
    w->stats.tx_bytes += rte_pktmbuf_pkt_len(m); /* before the port owns it */
    w->tx[w->nb_tx++] = m;
    if (w->nb_tx == BURST_MAX)
        output_flush(w);
}

/* --- the relay's sink -------------------------------------------------------------------------------------------- */

/* A payload begins behind the headroom, which has room for all headers (mempools.c asserts it). So the mbuf is found
 * from the payload's address: it lies in front of its buffer. */
static struct rte_mbuf *mbuf_of(uint8_t *payload)
{
    return (struct rte_mbuf *)(void *)(payload - RTE_PKTMBUF_HEADROOM) - 1;
}

static uint8_t *sink_alloc(void *ctx, size_t cap)
{
    struct worker *w = ctx;
    struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);

    return m ? rte_pktmbuf_mtod(m, uint8_t *) : NULL;
}

static void sink_release(void *ctx, uint8_t *payload)
{
    rte_pktmbuf_free(mbuf_of(payload));
}

static void sink_send(void *ctx, uint8_t *payload, size_t len, const struct pmw_addr *to, bool to_server)
{
    struct worker *w = ctx;
    struct rte_mbuf *m = mbuf_of(payload);

    const struct build_udp headers = {
        .dst_ip = ip_of_addr(to),
        .src_port = to_server ? w->self.trunk_port : w->self.client_port,
        .dst_port = to->port,
        .ip_id = w->ip_id++,
        .ecn = to_server ? ECN_ECT0 : ECN_NONE,
    };
    struct ip_addr hop = station_next_hop(&w->self, headers.dst_ip);
    if (ip_is_v4(headers.dst_ip) != ip_is_v4(w->self.ip))
        return drop(w, m, DROP_OUT_FAMILY);
    if (!station_is_host(&w->self, headers.dst_ip) || ip_equal(headers.dst_ip, w->self.ip) || to->port == 0)
        return drop(w, m, DROP_OUT_ADDRESS);
    if (ip_is_none(hop))
        return drop(w, m, DROP_OUT_NO_ROUTE);

    rte_pktmbuf_append(m, (uint16_t)len);
    rte_pktmbuf_prepend(m, (uint16_t)build_udp_headers(payload, len, &w->self, &headers));
    if (!neighbours_send(&w->neighbours, w->now_us, hop, m))
        drop(w, m, DROP_OUT_PENDING);
}

struct relay_sink output_sink(struct worker *w)
{
    return (struct relay_sink){.ctx = w, .alloc = sink_alloc, .send = sink_send, .release = sink_release};
}

/* --- the neighbour table's outside ------------------------------------------------------------------------------- */

static void neighbour_ask(void *ctx, struct ip_addr ip)
{
    struct worker *w = ctx;
    struct rte_mbuf *m = rte_pktmbuf_alloc(w->pool);

    if (!m) {
        w->stats.drops[DROP_NO_MBUF]++;
        return;
    }
    if (ip_is_v4(ip))
        arp_write_request((uint8_t *)rte_pktmbuf_append(m, ETHER_FRAME_BYTES_MIN), &w->self, ip);
    else
        nd_write_solicitation((uint8_t *)rte_pktmbuf_append(m, ND_FRAME_BYTES), &w->self, ip);
    w->stats.arp_requests_out++;
    output_frame(w, m);
}

static void neighbour_send(void *ctx, void *packet, const uint8_t mac[MAC_BYTES])
{
    struct worker *w = ctx;

    build_ether(rte_pktmbuf_mtod((struct rte_mbuf *)packet, uint8_t *), &w->self, mac);
    output_frame(w, packet);
}

static void neighbour_give_up(void *ctx, void *packet)
{
    drop(ctx, packet, DROP_OUT_UNRESOLVED);
}

struct neighbours_ports output_neighbours_ports(struct worker *w)
{
    return (struct neighbours_ports){
        .ctx = w, .ask = neighbour_ask, .send = neighbour_send, .give_up = neighbour_give_up};
}
