/* SPDX-License-Identifier: Apache-2.0
 *
 * Ethernet, IP and UDP on the way in. See parse.h.
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
    out->from = ip_to_addr(out->src_ip, src_port);
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
    if (!ip_equal(ip_of_v4(read32(frame + IPV4_DST)), self->ip))
        return drop(out, DROP_IP_NOT_OURS);
    if (read16(frame + IPV4_FRAGMENT) & IPV4_FRAGMENT_MASK)
        return drop(out, DROP_IP_FRAGMENT);
    out->src_ip = ip_of_v4(read32(frame + IPV4_SRC));
    out->marked = (frame[IPV4_TOS] & ECN_MASK) == ECN_CE;
    if (!station_is_host(self, out->src_ip) || ip_equal(out->src_ip, self->ip))
        return drop(out, DROP_IP_SOURCE);

    const uint8_t *rest = frame + IPV4 + header;
    if (frame[IPV4_PROTOCOL] == PROTOCOL_UDP)
        return parse_udp(self, rest, total - header, out);
    if (frame[IPV4_PROTOCOL] == PROTOCOL_ICMP)
        return parse_icmp(rest, total - header, out);
    return drop(out, DROP_IP_PROTOCOL);
}

static enum parse_kind parse_icmpv6(const uint8_t *frame, size_t len, struct parsed *out)
{
    const uint8_t *icmp = frame + IPV6 + IPV6_BYTES;

    if (len < ICMP_BYTES || !checksum_holds(checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, icmp, len)))
        return drop(out, DROP_ICMP);
    out->payload = icmp;
    out->payload_len = (uint16_t)len;
    if (icmp[0] == ICMPV6_SOLICITATION || icmp[0] == ICMPV6_ADVERTISEMENT)
        return PARSE_ND;
    return icmp[0] == ICMPV6_ECHO_REQUEST && icmp[1] == 0 ? PARSE_ECHO : drop(out, DROP_ICMP);
}

/* Extension headers have no use here: what has one is dropped. */
static enum parse_kind parse_ipv6(const struct station *self, const uint8_t *frame, size_t len, bool to_group,
                                  struct parsed *out)
{
    if (len < ETHER_BYTES + IPV6_BYTES)
        return drop(out, DROP_FRAME_SHORT);
    size_t rest = read16(frame + IPV6_LENGTH);
    if (frame[IPV6] >> 4 != 6 || rest > len - ETHER_BYTES - IPV6_BYTES)
        return drop(out, DROP_IP_MALFORMED);
    bool to_us = ip_equal(ip_read6(frame + IPV6_DST), self->ip);
    if (!to_us && !(to_group && frame[IPV6_DST] == 0xff))
        return drop(out, DROP_IP_NOT_OURS);
    if (frame[IPV6_NEXT] == PROTOCOL_IPV6_FRAGMENT)
        return drop(out, DROP_IP_FRAGMENT);
    out->src_ip = ip_read6(frame + IPV6_SRC);
    out->marked = (read16(frame + IPV6) >> IPV6_CLASS_SHIFT & ECN_MASK) == ECN_CE;
    if (!station_is_host(self, out->src_ip) || ip_equal(out->src_ip, self->ip))
        return drop(out, DROP_IP_SOURCE);

    if (frame[IPV6_NEXT] == PROTOCOL_UDP && to_us)
        return parse_udp(self, frame + IPV6 + IPV6_BYTES, rest, out);
    if (frame[IPV6_NEXT] != PROTOCOL_ICMPV6)
        return drop(out, DROP_IP_PROTOCOL);
    enum parse_kind kind = parse_icmpv6(frame, rest, out);
    return kind == PARSE_ECHO && !to_us ? drop(out, DROP_IP_NOT_OURS) : kind;
}

/* 33:33 and the last four bytes of the group's address (RFC 2464 7): all hosts, and the one with our last 24 bits. */
static bool is_our_group(const struct station *self, const uint8_t *mac)
{
    static const uint8_t group[2] = {0x33, 0x33};
    uint32_t end = read32(mac + 2);

    return memcmp(mac, group, 2) == 0 && (end == 1 || end == (0xff000000 | ((uint32_t)self->ip.lo & 0xffffff)));
}

enum parse_kind parse_frame(const struct station *self, const uint8_t *frame, size_t len, struct parsed *out)
{
    if (len < ETHER_BYTES)
        return drop(out, DROP_FRAME_SHORT);
    if (!mac_is_unicast(frame + ETHER_SRC) || memcmp(frame + ETHER_SRC, self->mac, MAC_BYTES) == 0)
        return drop(out, DROP_MAC_SOURCE);
    bool to_us = memcmp(frame + ETHER_DST, self->mac, MAC_BYTES) == 0;
    uint16_t type = read16(frame + ETHER_TYPE);

    if (!ip_is_v4(self->ip)) {
        bool to_group = is_our_group(self, frame + ETHER_DST);
        if (!to_us && !to_group)
            return drop(out, DROP_MAC_NOT_OURS);
        return type == ETHER_TYPE_IPV6 ? parse_ipv6(self, frame, len, to_group, out) : drop(out, DROP_ETHER_TYPE);
    }
    if (type == ETHER_TYPE_ARP && (to_us || memcmp(frame + ETHER_DST, BROADCAST, MAC_BYTES) == 0))
        return PARSE_ARP;
    if (!to_us)
        return drop(out, DROP_MAC_NOT_OURS);
    return type == ETHER_TYPE_IPV4 ? parse_ipv4(self, frame, len, out) : drop(out, DROP_ETHER_TYPE);
}
