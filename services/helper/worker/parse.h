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
#include "ip.h"

enum parse_kind {
    PARSE_DROP,
    PARSE_CLIENT, /* UDP payload for the client port */
    PARSE_TRUNK,  /* UDP payload for the trunk port */
    PARSE_ARP,
    PARSE_ND,   /* IPv6 neighbour discovery, its checksum right */
    PARSE_ECHO, /* ICMP echo request to us */
};

/* Who we are on the link. A helper speaks the version of its address, and no other. */
struct station {
    uint8_t mac[MAC_BYTES];
    struct ip_addr ip, mask;
    struct ip_addr gateway; /* or none */
    uint16_t client_port, trunk_port;
};

static inline bool ip_is_link_local(struct ip_addr ip)
{
    return ip.hi >> 54 == 0xfe80 >> 6;
}
static inline bool station_on_link(const struct station *self, struct ip_addr ip)
{
    bool same = (((ip.hi ^ self->ip.hi) & self->mask.hi) | ((ip.lo ^ self->ip.lo) & self->mask.lo)) == 0;
    return same || ip_is_link_local(ip); /* of IPv6: where gateways and the kernel's own questions are */
}
/* Who on the link takes packets for ip; or none. */
static inline struct ip_addr station_next_hop(const struct station *self, struct ip_addr ip)
{
    return station_on_link(self, ip) ? ip : self->gateway;
}
/* An address of our version that names one host: of IPv4 neither the network's own address nor its broadcast address.
 */
static inline bool station_is_host(const struct station *self, struct ip_addr ip)
{
    if (ip_is_v4(ip) != ip_is_v4(self->ip) || !ip_is_unicast(ip))
        return false;
    uint64_t host = ip.lo & ~self->mask.lo;
    return !ip_is_v4(ip) || !station_on_link(self, ip) || (host != 0 && host != ~self->mask.lo);
}

struct parsed {
    enum worker_drop reason; /* with PARSE_DROP */
    struct ip_addr src_ip;   /* IP kinds */
    struct pmw_addr from;    /* UDP kinds */
    const uint8_t *payload;  /* of UDP; the ICMP message of an echo */
    uint16_t payload_len;
    bool marked; /* IPv4 kinds: congestion experienced (RFC 3168) */
};

enum parse_kind parse_frame(const struct station *self, const uint8_t *frame, size_t len, struct parsed *out);

#endif
