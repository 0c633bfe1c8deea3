/* SPDX-License-Identifier: Apache-2.0
 *
 * The way in: burst -> parse -> relay, ARP or ping. See input.h.
 */
#include "input.h"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "arp.h"
#include "icmp.h"
#include "nd.h"
#include "output.h"

/* Frames whose first cache line is asked for ahead of the one being parsed. */
#define PREFETCH_AHEAD 4

static void drop(struct worker *w, struct rte_mbuf *m, enum worker_drop reason)
{
    w->stats.drops[reason]++;
    rte_pktmbuf_free(m);
}

/* A reply takes the request's place in its buffer. */
static void resize(struct rte_mbuf *m, size_t len)
{
    m->data_len = (uint16_t)len;
    m->pkt_len = (uint32_t)len;
}

static void take_arp(struct worker *w, struct rte_mbuf *m)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    struct arp arp;
    enum worker_drop reason = arp_parse(&w->self, frame, m->data_len, &arp);

    if (reason != DROP_NONE)
        return drop(w, m, reason);
    neighbours_learn(&w->neighbours, w->now_us, arp.sender_ip, arp.sender_mac,
                     arp.is_announcement ? NEIGHBOUR_BY_ANNOUNCEMENT : NEIGHBOUR_BY_ARP);
    if (!arp.is_request)
        return rte_pktmbuf_free(m);
    w->stats.arp_requests_in++;
    if (rte_pktmbuf_tailroom(m) + m->data_len < ETHER_FRAME_BYTES_MIN)
        return drop(w, m, DROP_ARP_MALFORMED);
    resize(m, arp_write_reply(frame, &w->self, arp.sender_ip, arp.sender_mac));
    output_frame(w, m);
}

static void take_nd(struct worker *w, struct rte_mbuf *m, const struct parsed *in)
{
    uint8_t *frame = rte_pktmbuf_mtod(m, uint8_t *);
    struct nd nd;
    enum worker_drop reason = nd_parse(&w->self, frame, in, &nd);

    if (reason != DROP_NONE)
        return drop(w, m, reason);
    neighbours_learn(&w->neighbours, w->now_us, nd.sender, nd.mac,
                     nd.is_announcement ? NEIGHBOUR_BY_ANNOUNCEMENT : NEIGHBOUR_BY_ARP);
    if (!nd.is_solicitation)
        return rte_pktmbuf_free(m);
    w->stats.arp_requests_in++;
    if (rte_pktmbuf_tailroom(m) + m->data_len < ND_FRAME_BYTES)
        return drop(w, m, DROP_ND_MALFORMED);
    resize(m, nd_write_advertisement(frame, &w->self, nd.sender, nd.mac));
    output_frame(w, m);
}

static void take_echo(struct worker *w, struct rte_mbuf *m, const struct parsed *request)
{
    resize(m, icmp_answer_echo(rte_pktmbuf_mtod(m, uint8_t *), request));
    w->stats.echo_replies++;
    output_frame(w, m);
}

/* Only a datagram that the relay accepted tells where its sender is: noise leaves no neighbours behind. */
static void take_datagram(struct worker *w, struct rte_mbuf *m, const struct parsed *in, bool from_client)
{
    int reason = from_client
                     ? relay_client_datagram(w->relay, w->now_us, &in->from, in->payload, in->payload_len)
                     : relay_trunk_datagram(w->relay, w->now_us, &in->from, in->payload, in->payload_len, in->marked);

    if (reason == RELAY_DROP_NONE && station_on_link(&w->self, in->src_ip))
        neighbours_learn(&w->neighbours, w->now_us, in->src_ip, rte_pktmbuf_mtod(m, uint8_t *) + ETHER_SRC,
                         NEIGHBOUR_BY_DATAGRAM);
    rte_pktmbuf_free(m);
}

static void take_frame(struct worker *w, struct rte_mbuf *m)
{
    struct parsed in;

    w->stats.rx_bytes += rte_pktmbuf_pkt_len(m);
    if (m->nb_segs != 1)
        return drop(w, m, DROP_FRAME_SEGMENTED);
    switch (parse_frame(&w->self, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, &in)) {
    case PARSE_CLIENT:
        return take_datagram(w, m, &in, true);
    case PARSE_TRUNK:
        return take_datagram(w, m, &in, false);
    case PARSE_ARP:
        return take_arp(w, m);
    case PARSE_ND:
        return take_nd(w, m, &in);
    case PARSE_ECHO:
        return take_echo(w, m, &in);
    case PARSE_DROP:
        return drop(w, m, in.reason);
    }
}

uint16_t input_poll(struct worker *w)
{
    struct rte_mbuf *burst[BURST_MAX];
    uint16_t nb = rte_eth_rx_burst(w->port, w->queue, burst, BURST_MAX);

    for (uint16_t i = 0; i < nb && i < PREFETCH_AHEAD; i++)
        rte_prefetch0(rte_pktmbuf_mtod(burst[i], void *));
    for (uint16_t i = 0; i < nb; i++) {
        if (i + PREFETCH_AHEAD < nb)
            rte_prefetch0(rte_pktmbuf_mtod(burst[i + PREFETCH_AHEAD], void *));
        take_frame(w, burst[i]);
    }
    w->stats.rx_packets += nb;
    return nb;
}
