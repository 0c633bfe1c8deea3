/* SPDX-License-Identifier: Apache-2.0
 *
 * Ethernet, IPv4 and UDP on the way in. See parse.h.
 */
#include "parse.h"

#include "checksum.h"

static const uint8_t BROADCAST[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

static enum parse_kind drop(struct parsed *out, enum worker_drop reason)
{
    out->reason = reason;
    return PARSE_DROP;
}

static enum parse_kind parse_udp(const struct station *self, const uint8_t *udp, size_t len, struct parsed *out)
{
    if (len < UDP_BYTES)
        return drop(out, DROP_UDP_MALFORMED);
    uint16_t src_port = read16(udp), dst_port = read16(udp + 2), udp_len = read16(udp + 4);
    if (udp_len < UDP_BYTES || udp_len > len || src_port == 0)
        return drop(out, DROP_UDP_MALFORMED);

    out->payload = udp + UDP_BYTES;
    out->payload_len = udp_len - UDP_BYTES;
    out->from = (struct pmw_addr){.family = 4, .port = src_port};
    write32(out->from.ip, out->src_ip);
    if (dst_port == self->client_port)
        return PARSE_CLIENT;
    if (dst_port == self->trunk_port)
        return PARSE_TRUNK;
    return drop(out, DROP_UDP_PORT);
}

static enum parse_kind parse_icmp(const uint8_t *icmp, size_t len, struct parsed *out)
{
    if (len < ICMP_BYTES || icmp[0] != ICMP_ECHO_REQUEST || icmp[1] != 0 || !checksum_holds(checksum_add(0, icmp, len)))
        return drop(out, DROP_ICMP);
    out->payload = icmp;
    out->payload_len = (uint16_t)len;
    return PARSE_ECHO;
}

static enum parse_kind parse_ipv4(const struct station *self, const uint8_t *frame, size_t len, struct parsed *out)
{
    if (len < ETHER_BYTES + IPV4_BYTES)
        return drop(out, DROP_FRAME_SHORT);
    size_t header = (size_t)(frame[IPV4] & 0xf) * 4, total = read16(frame + IPV4_LENGTH);
    if (frame[IPV4] >> 4 != 4 || header < IPV4_BYTES || total < header || total > len - ETHER_BYTES)
        return drop(out, DROP_IP_MALFORMED);
    if (!checksum_holds(checksum_add(0, frame + IPV4, header)))
        return drop(out, DROP_IP_CHECKSUM);
    if (read32(frame + IPV4_DST) != self->ip)
        return drop(out, DROP_IP_NOT_OURS);
    if (read16(frame + IPV4_FRAGMENT) & IPV4_FRAGMENT_MASK)
        return drop(out, DROP_IP_FRAGMENT);
    out->src_ip = read32(frame + IPV4_SRC);
    out->marked = (frame[IPV4_TOS] & ECN_MASK) == ECN_CE;
    if (!station_is_host(self, out->src_ip) || out->src_ip == self->ip)
        return drop(out, DROP_IP_SOURCE);

    const uint8_t *rest = frame + IPV4 + header;
    if (frame[IPV4_PROTOCOL] == PROTOCOL_UDP)
        return parse_udp(self, rest, total - header, out);
    if (frame[IPV4_PROTOCOL] == PROTOCOL_ICMP)
        return parse_icmp(rest, total - header, out);
    return drop(out, DROP_IP_PROTOCOL);
}

enum parse_kind parse_frame(const struct station *self, const uint8_t *frame, size_t len, struct parsed *out)
{
    if (len < ETHER_BYTES)
        return drop(out, DROP_FRAME_SHORT);
    if (!mac_is_unicast(frame + ETHER_SRC) || memcmp(frame + ETHER_SRC, self->mac, MAC_BYTES) == 0)
        return drop(out, DROP_MAC_SOURCE);
    bool to_us = memcmp(frame + ETHER_DST, self->mac, MAC_BYTES) == 0;
    uint16_t type = read16(frame + ETHER_TYPE);

    if (type == ETHER_TYPE_ARP && (to_us || memcmp(frame + ETHER_DST, BROADCAST, MAC_BYTES) == 0))
        return PARSE_ARP;
    if (!to_us)
        return drop(out, DROP_MAC_NOT_OURS);
    if (type == ETHER_TYPE_IPV4)
        return parse_ipv4(self, frame, len, out);
    return drop(out, DROP_ETHER_TYPE);
}
