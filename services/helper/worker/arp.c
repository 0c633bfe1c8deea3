/* SPDX-License-Identifier: Apache-2.0
 *
 * ARP in and out. See arp.h.
 */
#include "arp.h"

/* Ethernet, IPv4, address lengths 6 and 4. */
static const uint8_t KIND[6] = {0, 1, 8, 0, MAC_BYTES, 4};

enum worker_drop arp_parse(const struct station *self, const uint8_t *frame, size_t len, struct arp *out)
{
    if (len < ARP_FRAME_BYTES || memcmp(frame + ARP_HARDWARE, KIND, sizeof(KIND)) != 0)
        return DROP_ARP_MALFORMED;
    uint16_t operation = read16(frame + ARP_OPERATION);
    if ((operation != ARP_REQUEST && operation != ARP_REPLY) || !mac_is_unicast(frame + ARP_SENDER_MAC))
        return DROP_ARP_MALFORMED;

    struct ip_addr sender_ip = ip_of_v4(read32(frame + ARP_SENDER_IP)),
                   target_ip = ip_of_v4(read32(frame + ARP_TARGET_IP));
    bool about_us = ip_equal(target_ip, self->ip);
    *out = (struct arp){
        .is_request = operation == ARP_REQUEST && about_us,
        .is_announcement = ip_equal(target_ip, sender_ip),
        .sender_ip = sender_ip,
        .sender_mac = frame + ARP_SENDER_MAC,
    };
    if (ip_equal(sender_ip, self->ip))
        return DROP_ARP_CONFLICT;
    if (!station_is_host(self, sender_ip) || !station_on_link(self, sender_ip))
        return DROP_ARP_NOT_OURS;
    return about_us || out->is_announcement ? DROP_NONE : DROP_ARP_NOT_OURS;
}

static size_t write(uint8_t *frame, const struct station *self, uint16_t operation, struct ip_addr target_ip,
                    const uint8_t *ether_dst, const uint8_t *target_mac)
{
    memset(frame, 0, ETHER_FRAME_BYTES_MIN);
    memcpy(frame + ETHER_DST, ether_dst, MAC_BYTES);
    memcpy(frame + ETHER_SRC, self->mac, MAC_BYTES);
    write16(frame + ETHER_TYPE, ETHER_TYPE_ARP);
    memcpy(frame + ARP_HARDWARE, KIND, sizeof(KIND));
    write16(frame + ARP_OPERATION, operation);
    memcpy(frame + ARP_SENDER_MAC, self->mac, MAC_BYTES);
    write32(frame + ARP_SENDER_IP, (uint32_t)self->ip.lo);
    memcpy(frame + ARP_TARGET_MAC, target_mac, MAC_BYTES);
    write32(frame + ARP_TARGET_IP, (uint32_t)target_ip.lo);
    return ETHER_FRAME_BYTES_MIN;
}

size_t arp_write_request(uint8_t *frame, const struct station *self, struct ip_addr target_ip)
{
    static const uint8_t broadcast[MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, unknown[MAC_BYTES];
    return write(frame, self, ARP_REQUEST, target_ip, broadcast, unknown);
}

size_t arp_write_reply(uint8_t *frame, const struct station *self, struct ip_addr target_ip,
                       const uint8_t target_mac[MAC_BYTES])
{
    uint8_t mac[MAC_BYTES]; /* target_mac may point into the frame */

    memcpy(mac, target_mac, MAC_BYTES);
    return write(frame, self, ARP_REPLY, target_ip, mac, mac);
}
