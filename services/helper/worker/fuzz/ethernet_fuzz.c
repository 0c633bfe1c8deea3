/* SPDX-License-Identifier: Apache-2.0
 *
 * One Ethernet frame of any bytes through parse, ARP and ping. The first byte says how much is put right beforehand, so
 * that the deeper layers are reached: addresses, then the IPv4 checksum.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arp.h"
#include "checksum.h"
#include "icmp.h"

#define REQUIRE(truth) ((truth) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

static const struct station SELF = {
    .mac = {2, 0, 0, 0, 0, 10},
    .ip = 0xc612000a,
    .netmask = 0xffffff00,
    .client_port = 4701,
    .trunk_port = 4702,
};

static void put_right(uint8_t *frame, size_t len, unsigned how)
{
    if (how >= 1 && len >= ETHER_BYTES)
        memcpy(frame + ETHER_DST, SELF.mac, MAC_BYTES);
    if (how < 2 || len < ETHER_BYTES + IPV4_BYTES || read16(frame + ETHER_TYPE) != ETHER_TYPE_IPV4)
        return;
    size_t header = (frame[IPV4] & 0xf) * 4u;
    write32(frame + IPV4_DST, SELF.ip);
    memset(frame + IPV4_CHECKSUM, 0, 2);
    if (header >= IPV4_BYTES && ETHER_BYTES + header <= len)
        checksum_store(frame + IPV4_CHECKSUM, checksum_add(0, frame + IPV4, header));
}

/* The payload lies within the frame, and its sender is one that can be answered. */
static void check_udp(const struct parsed *in, const uint8_t *frame, size_t len)
{
    REQUIRE(in->payload >= frame + UDP_FRAME_BYTES && in->payload + in->payload_len <= frame + len);
    REQUIRE(in->from.family == 4 && in->from.port != 0 && station_is_host(&SELF, in->src_ip));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    struct parsed in = {0};
    struct arp arp;

    if (len < 1)
        return 0;
    uint8_t *frame = malloc(len); /* one byte is left over, at the start: reads past the end are still seen */
    memcpy(frame, input, len);
    uint8_t *exact = frame + 1;
    len--;
    put_right(exact, len, input[0] % 3);
    switch (parse_frame(&SELF, exact, len, &in)) {
    case PARSE_CLIENT:
    case PARSE_TRUNK:
        check_udp(&in, exact, len);
        break;
    case PARSE_ARP:
        if (arp_parse(&SELF, exact, len, &arp) == DROP_NONE)
            REQUIRE(station_on_link(&SELF, arp.sender_ip) && mac_is_unicast(arp.sender_mac));
        break;
    case PARSE_ECHO:
        REQUIRE(icmp_answer_echo(exact, &in) <= len);
        break;
    case PARSE_DROP:
        REQUIRE(in.reason > DROP_NONE && in.reason < WORKER_DROP_COUNT);
        break;
    }
    free(frame);
    return 0;
}
