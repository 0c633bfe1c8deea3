/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of Ethernet to UDP: one station, one peer, and frames between them, made by hand.
 */
#ifndef POSTMAN_FRAME_FIXTURE_H
#define POSTMAN_FRAME_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "checksum.h"
#include "parse.h"

#define IP4(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define IP(a, b, c, d)                                                                                                 \
    {                                                                                                                  \
        .lo = IPV4_MAPPED | IP4(a, b, c, d)                                                                            \
    }

static const struct station SELF = {
    .mac = {2, 0, 0, 0, 0, 10},
    .ip = IP(198, 18, 0, 10),
    .mask = {.hi = UINT64_MAX, .lo = UINT64_C(0xffffffffffffff00)},
    .client_port = 4701,
    .trunk_port = 4702,
};
static const uint8_t PEER_MAC[MAC_BYTES] = {2, 0, 0, 0, 0, 1};
static const struct ip_addr PEER_IP = IP(198, 18, 0, 1);

/* Recomputes the IPv4 header checksum. */
static inline void fix_ip_checksum(uint8_t *frame)
{
    memset(frame + IPV4_CHECKSUM, 0, 2);
    checksum_store(frame + IPV4_CHECKSUM, checksum_add(0, frame + IPV4, (frame[IPV4] & 0xf) * 4u));
}

/* Ethernet and IPv4 from the peer to us, around payload_len bytes of the protocol; returns the frame's length. */
static inline size_t ipv4_frame(uint8_t *frame, uint8_t protocol, size_t payload_len)
{
    memset(frame, 0, ETHER_BYTES + IPV4_BYTES);
    memcpy(frame + ETHER_DST, SELF.mac, MAC_BYTES);
    memcpy(frame + ETHER_SRC, PEER_MAC, MAC_BYTES);
    write16(frame + ETHER_TYPE, ETHER_TYPE_IPV4);
    frame[IPV4] = 0x45;
    write16(frame + IPV4_LENGTH, (uint32_t)(IPV4_BYTES + payload_len));
    frame[IPV4_TTL] = 64;
    frame[IPV4_PROTOCOL] = protocol;
    write32(frame + IPV4_SRC, (uint32_t)PEER_IP.lo);
    write32(frame + IPV4_DST, (uint32_t)SELF.ip.lo);
    fix_ip_checksum(frame);
    return ETHER_BYTES + IPV4_BYTES + payload_len;
}

static inline size_t udp_frame(uint8_t *frame, uint16_t dst_port, size_t payload_len)
{
    uint8_t *udp = frame + ETHER_BYTES + IPV4_BYTES;
    size_t len = ipv4_frame(frame, PROTOCOL_UDP, UDP_BYTES + payload_len);

    write16(udp, 4000);
    write16(udp + 2, dst_port);
    write16(udp + 4, (uint32_t)(UDP_BYTES + payload_len));
    memset(udp + 6, 0, 2);
    memset(udp + UDP_BYTES, 0x5a, payload_len);
    return len;
}

/* Parses a copy that ends where its memory ends, so that the sanitizer sees a read past it. */
static inline enum parse_kind parse_exact(const uint8_t *frame, size_t len, struct parsed *out)
{
    uint8_t *exact = malloc(len ? len : 1);

    memcpy(exact, frame, len);
    enum parse_kind kind = parse_frame(&SELF, exact, len, out);
    free(exact);
    return kind;
}

static inline void assert_ip(struct ip_addr got, struct ip_addr wanted)
{
    char text[2][IP_TEXT_BYTES];
    if (!ip_equal(got, wanted))
        fail_msg("%s, not %s", ip_text(got, text[0]), ip_text(wanted, text[1]));
}

#endif
