/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers on the way out. See build.h.
 */
#include "build.h"

#include "checksum.h"

static void write_ipv4(uint8_t *ip, size_t udp_len, const struct station *self, const struct build_udp *to)
{
    memset(ip, 0, IPV4_BYTES);
    ip[0] = 4 << 4 | IPV4_BYTES / 4;
    ip[1] = to->ecn;
    write16(ip + 2, (uint32_t)(IPV4_BYTES + udp_len));
    write16(ip + 4, to->ip_id);
    write16(ip + 6, IPV4_DONT_FRAGMENT);
    ip[8] = TTL_OURS;
    ip[9] = PROTOCOL_UDP;
    write32(ip + 12, (uint32_t)self->ip.lo);
    write32(ip + 16, (uint32_t)to->dst_ip.lo);
    checksum_store(ip + 10, checksum_add(0, ip, IPV4_BYTES));
}

static void write_ipv6(uint8_t *ip, size_t udp_len, const struct station *self, const struct build_udp *to)
{
    memset(ip, 0, 8);
    write16(ip, 6u << 12 | (uint32_t)to->ecn << IPV6_CLASS_SHIFT);
    write16(ip + 4, (uint32_t)udp_len);
    ip[6] = PROTOCOL_UDP;
    ip[7] = TTL_OURS;
    ip_write6(ip + 8, self->ip);
    ip_write6(ip + 24, to->dst_ip);
}

static void store_udp_checksum(uint8_t *udp, uint64_t sum)
{
    checksum_store(udp + 6, sum);
    if (udp[6] == 0 && udp[7] == 0)
        memset(udp + 6, 0xff, 2); /* 0 would mean: none */
}

/* Over a pseudo header (source, destination, zero, protocol, UDP length), the UDP header and the payload (RFC 768). */
static void write_udp_checksum_v4(uint8_t *udp, size_t udp_len)
{
    const uint8_t pseudo_tail[4] = {0, PROTOCOL_UDP, (uint8_t)(udp_len >> 8), (uint8_t)udp_len};
    uint64_t sum = checksum_add(0, udp - 8, 8); /* the addresses end the IPv4 header */

    sum = checksum_add(sum, pseudo_tail, sizeof(pseudo_tail));
    store_udp_checksum(udp, checksum_add(sum, udp, udp_len));
}

size_t build_udp_headers(uint8_t *payload, size_t payload_len, const struct station *self, const struct build_udp *to)
{
    uint8_t *udp = payload - UDP_BYTES;
    size_t udp_len = UDP_BYTES + payload_len;

    write16(udp, to->src_port);
    write16(udp + 2, to->dst_port);
    write16(udp + 4, (uint32_t)udp_len);
    memset(udp + 6, 0, 2);
    if (ip_is_v4(self->ip)) {
        write_ipv4(udp - IPV4_BYTES, udp_len, self, to);
        write_udp_checksum_v4(udp, udp_len);
        return UDP_FRAME_BYTES;
    }
    write_ipv6(udp - IPV6_BYTES, udp_len, self, to);
    store_udp_checksum(udp, checksum_ipv6(udp - IPV6_BYTES, PROTOCOL_UDP, udp, udp_len));
    return UDP6_FRAME_BYTES;
}

void build_ether(uint8_t *frame, const struct station *self, const uint8_t dst_mac[MAC_BYTES])
{
    memcpy(frame + ETHER_DST, dst_mac, MAC_BYTES);
    memcpy(frame + ETHER_SRC, self->mac, MAC_BYTES);
    write16(frame + ETHER_TYPE, ip_is_v4(self->ip) ? ETHER_TYPE_IPV4 : ETHER_TYPE_IPV6);
}
