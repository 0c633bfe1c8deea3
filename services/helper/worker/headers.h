/* SPDX-License-Identifier: Apache-2.0
 *
 * Ethernet II, ARP (RFC 826), IPv4 (RFC 791), IPv6 (RFC 8200), ICMP (RFC 792), ICMPv6 (RFC 4443) with neighbour
 * discovery (RFC 4861), and UDP (RFC 768): sizes, offsets from the start of the frame, and the numbers in them. Frames
 * are bytes; nothing is cast onto them.
 */
#ifndef POSTMAN_HEADERS_H
#define POSTMAN_HEADERS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    MAC_BYTES = 6,
    ETHER_DST = 0,
    ETHER_SRC = 6,
    ETHER_TYPE = 12,
    ETHER_BYTES = 14,
    ETHER_TYPE_IPV4 = 0x0800,
    ETHER_TYPE_ARP = 0x0806,
    ETHER_TYPE_IPV6 = 0x86dd,

    ARP_HARDWARE = ETHER_BYTES, /* hardware 2, protocol 2, their lengths 1 and 1, operation 2 */
    ARP_OPERATION = ETHER_BYTES + 6,
    ARP_SENDER_MAC = ETHER_BYTES + 8,
    ARP_SENDER_IP = ETHER_BYTES + 14,
    ARP_TARGET_MAC = ETHER_BYTES + 18,
    ARP_TARGET_IP = ETHER_BYTES + 24,
    ARP_FRAME_BYTES = ETHER_BYTES + 28,
    ARP_REQUEST = 1,
    ARP_REPLY = 2,

    IPV4 = ETHER_BYTES,
    IPV4_BYTES = 20,     /* without options; we send none and skip those of others */
    IPV4_TOS = IPV4 + 1, /* DSCP 6 bits, ECN 2 bits (RFC 3168) */
    ECN_MASK = 3,
    ECN_NONE = 0,
    ECN_ECT0 = 2,
    ECN_CE = 3,
    IPV4_LENGTH = IPV4 + 2,
    IPV4_FRAGMENT = IPV4 + 6, /* flags 3 bits, offset 13 bits */
    IPV4_DONT_FRAGMENT = 0x4000,
    IPV4_FRAGMENT_MASK = 0x3fff, /* more fragments, or an offset */
    IPV4_TTL = IPV4 + 8,
    IPV4_PROTOCOL = IPV4 + 9,
    IPV4_CHECKSUM = IPV4 + 10,
    IPV4_SRC = IPV4 + 12,
    IPV4_DST = IPV4 + 16,
    PROTOCOL_ICMP = 1,
    PROTOCOL_UDP = 17,
    TTL_OURS = 64,

    IPV6 = ETHER_BYTES,
    IPV6_BYTES = 40,
    IPV6_CLASS_SHIFT = 4,   /* of the first two bytes: version 4 bits, DSCP 6, ECN 2, flow label */
    IPV6_LENGTH = IPV6 + 4, /* of what follows the header */
    IPV6_NEXT = IPV6 + 6,
    IPV6_HOP_LIMIT = IPV6 + 7,
    IPV6_SRC = IPV6 + 8,
    IPV6_DST = IPV6 + 24,
    PROTOCOL_IPV6_FRAGMENT = 44,
    PROTOCOL_ICMPV6 = 58,

    UDP_BYTES = 8, /* source 2, destination 2, length 2, checksum 2 */
    UDP_FRAME_BYTES = ETHER_BYTES + IPV4_BYTES + UDP_BYTES,
    UDP6_FRAME_BYTES = ETHER_BYTES + IPV6_BYTES + UDP_BYTES,

    ICMP_BYTES = 8, /* type 1, code 1, checksum 2, identifier 2, sequence 2 */
    ICMP_ECHO_REPLY = 0,
    ICMP_ECHO_REQUEST = 8,
    ICMPV6_ECHO_REQUEST = 128,
    ICMPV6_ECHO_REPLY = 129,

    ICMPV6_SOLICITATION = 135,
    ICMPV6_ADVERTISEMENT = 136,
    ND_FLAGS = 4, /* of an advertisement; offsets from the ICMPv6 message */
    ND_TARGET = 8,
    ND_BYTES = 24, /* before the options */
    ND_SOLICITED = 0x40,
    ND_OVERRIDE = 0x20,
    ND_OPTION_SOURCE = 1,
    ND_OPTION_TARGET = 2,
    ND_OPTION_BYTES = 8, /* type 1, length 1, Ethernet address 6 */
    ND_HOP_LIMIT = 255,  /* no router lets another one through: the sender is on the link */

    ETHER_FRAME_BYTES_MIN = 60, /* without its checksum; shorter ones are padded by the sender */
};

static inline uint16_t read16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t read32(const uint8_t *p)
{
    return (uint32_t)read16(p) << 16 | read16(p + 2);
}

static inline void write16(uint8_t *p, uint32_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void write32(uint8_t *p, uint32_t v)
{
    write16(p, v >> 16);
    write16(p + 2, v);
}

static inline bool mac_is_unicast(const uint8_t *mac)
{
    static const uint8_t zero[MAC_BYTES];
    return !(mac[0] & 1) && memcmp(mac, zero, MAC_BYTES) != 0;
}

/* Can one host be meant? Not 0/8, 127/8, multicast, class E or broadcast. ip in host order. */
static inline bool ipv4_is_unicast(uint32_t ip)
{
    return ip >> 24 != 0 && ip >> 24 != 127 && ip >> 24 < 224;
}

#endif
