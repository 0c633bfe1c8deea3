/* SPDX-License-Identifier: Apache-2.0
 *
 * Neighbour discovery in and out. See nd.h.
 */
#include "nd.h"

#include "checksum.h"

/* Options are type 1, length in 8 bytes 1, value. NULL: there is none of this type, or they are malformed. */
static const uint8_t *find_mac(const uint8_t *option, size_t len, uint8_t type)
{
    const uint8_t *mac = NULL;

    while (len > 0) {
        size_t bytes = len < 2 ? 0 : (size_t)option[1] * 8;
        if (bytes == 0 || bytes > len)
            return NULL;
        if (option[0] == type && bytes == ND_OPTION_BYTES)
            mac = option + 2;
        option += bytes;
        len -= bytes;
    }
    return mac && mac_is_unicast(mac) ? mac : NULL;
}

enum worker_drop nd_parse(const struct station *self, const uint8_t *frame, const struct parsed *in, struct nd *out)
{
    const uint8_t *icmp = in->payload;

    if (frame[IPV6_HOP_LIMIT] != ND_HOP_LIMIT || in->payload_len < ND_BYTES || icmp[1] != 0)
        return DROP_ND_MALFORMED;
    bool is_solicitation = icmp[0] == ICMPV6_SOLICITATION;
    struct ip_addr target = ip_read6(icmp + ND_TARGET);
    const uint8_t *mac = find_mac(icmp + ND_BYTES, in->payload_len - (size_t)ND_BYTES,
                                  is_solicitation ? ND_OPTION_SOURCE : ND_OPTION_TARGET);
    *out = (struct nd){
        .is_solicitation = is_solicitation && ip_equal(target, self->ip),
        .is_announcement = !is_solicitation && !(icmp[ND_FLAGS] & ND_SOLICITED),
        .sender = is_solicitation ? in->src_ip : target,
        .mac = mac,
    };
    if (!is_solicitation && ip_equal(target, self->ip))
        return DROP_ND_CONFLICT;
    if (is_solicitation && !out->is_solicitation)
        return DROP_ND_NOT_OURS;
    if (!mac)
        return DROP_ND_MALFORMED; /* also a probe for a duplicate of our own address: it has no sender (RFC 4862) */
    return station_is_host(self, out->sender) && station_on_link(self, out->sender) ? DROP_NONE : DROP_ND_NOT_OURS;
}

static size_t write(uint8_t *frame, const struct station *self, struct ip_addr to, const uint8_t *to_mac, uint8_t type,
                    uint8_t flags, struct ip_addr target)
{
    uint8_t *icmp = frame + ETHER_BYTES + IPV6_BYTES;

    memset(frame, 0, ND_FRAME_BYTES);
    memcpy(frame + ETHER_DST, to_mac, MAC_BYTES);
    memcpy(frame + ETHER_SRC, self->mac, MAC_BYTES);
    write16(frame + ETHER_TYPE, ETHER_TYPE_IPV6);
    frame[IPV6] = 6 << 4;
    write16(frame + IPV6_LENGTH, ND_BYTES + ND_OPTION_BYTES);
    frame[IPV6_NEXT] = PROTOCOL_ICMPV6;
    frame[IPV6_HOP_LIMIT] = ND_HOP_LIMIT;
    ip_write6(frame + IPV6_SRC, self->ip);
    ip_write6(frame + IPV6_DST, to);
    icmp[0] = type;
    icmp[ND_FLAGS] = flags;
    ip_write6(icmp + ND_TARGET, target);
    icmp[ND_BYTES] = type == ICMPV6_SOLICITATION ? ND_OPTION_SOURCE : ND_OPTION_TARGET;
    icmp[ND_BYTES + 1] = 1;
    memcpy(icmp + ND_BYTES + 2, self->mac, MAC_BYTES);
    checksum_store(icmp + 2, checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, icmp, ND_BYTES + ND_OPTION_BYTES));
    return ND_FRAME_BYTES;
}

/* To the group of all whose address ends in the same 24 bits, which is one host as a rule (RFC 4291 2.7.1). */
size_t nd_write_solicitation(uint8_t *frame, const struct station *self, struct ip_addr target)
{
    uint32_t end = (uint32_t)target.lo & 0xffffff;
    const struct ip_addr group = {.hi = UINT64_C(0xff02000000000000), .lo = UINT64_C(0x1ff000000) | end};
    uint8_t mac[MAC_BYTES] = {0x33, 0x33, 0xff, (uint8_t)(end >> 16), (uint8_t)(end >> 8), (uint8_t)end};

    return write(frame, self, group, mac, ICMPV6_SOLICITATION, 0, target);
}

size_t nd_write_advertisement(uint8_t *frame, const struct station *self, struct ip_addr to,
                              const uint8_t to_mac[MAC_BYTES])
{
    uint8_t mac[MAC_BYTES]; /* to_mac may point into the frame */

    memcpy(mac, to_mac, MAC_BYTES);
    return write(frame, self, to, mac, ICMPV6_ADVERTISEMENT, ND_SOLICITED | ND_OVERRIDE, self->ip);
}
