/* SPDX-License-Identifier: Apache-2.0
 *
 * A received Ethernet frame -> what it is for, or why it is dropped. Bytes in, a description out: no DPDK, no state.
 *
 * The UDP checksum is not looked at: every C-frame and batch carries its own end-to-end check, and a packet from a
 * virtual interface of the same machine may not have one yet.
 */
#ifndef POSTMAN_PARSE_H
#define POSTMAN_PARSE_H

#include "drop.h"
#include "headers.h"
#include "postman/wire.h"

enum parse_kind {
    PARSE_DROP,
    PARSE_CLIENT, /* UDP payload for the client port */
    PARSE_TRUNK,  /* UDP payload for the trunk port */
    PARSE_ARP,
    PARSE_ECHO, /* ICMP echo request to us */
};

/* Who we are on the link. */
struct station {
    uint8_t mac[MAC_BYTES];
    uint32_t ip, netmask; /* host order */
    uint32_t gateway;     /* 0: none */
    uint16_t client_port, trunk_port;
};

static inline bool station_on_link(const struct station *self, uint32_t ip)
{
    return ((ip ^ self->ip) & self->netmask) == 0;
}
/* Who on the link takes packets for ip; 0: nobody. */
static inline uint32_t station_next_hop(const struct station *self, uint32_t ip)
{
    return station_on_link(self, ip) ? ip : self->gateway;
}
/* Neither the network's own address nor its broadcast address. */
static inline bool station_is_host(const struct station *self, uint32_t ip)
{
    uint32_t host = ip & ~self->netmask;
    return ipv4_is_unicast(ip) && (!station_on_link(self, ip) || (host != 0 && host != ~self->netmask));
}

struct parsed {
    enum worker_drop reason; /* with PARSE_DROP */
    uint32_t src_ip;         /* IPv4 kinds */
    struct pmw_addr from;    /* UDP kinds */
    const uint8_t *payload;  /* of UDP; the ICMP message of an echo */
    uint16_t payload_len;
    bool marked; /* IPv4 kinds: congestion experienced (RFC 3168) */
};

enum parse_kind parse_frame(const struct station *self, const uint8_t *frame, size_t len, struct parsed *out);

#endif
