/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes as Ethernet frames, as input.c takes them: parse, ARP, ping, neighbours; with time passing and packets that
 * wait for ARP. By the script, checksums are put right, so that what lies behind them is reached. Held: a payload lies
 * inside its frame, replies are legal frames, and every packet that waits is either sent or given up, once.
 */
#include <stdlib.h>
#include <string.h>

#include "arp.h"
#include "build.h"
#include "checksum.h"
#include "fuzz_input.h"
#include "icmp.h"
#include "nd.h"
#include "neighbours.h"
#include "require.h"

enum { FRAME_BYTES_MAX = 1600, NEIGHBOURS_MAX = 16, STEPS_MAX = 300 };

#define OUR_IPV4 (198u << 24 | 18u << 16 | 3)
#define NET_IPV4 (198u << 24 | 18u << 16)

static const struct station SELF_V4 = {
    .mac = {2, 0, 0, 0, 0, 1},
    .ip = {.lo = IPV4_MAPPED | OUR_IPV4},
    .mask = {.hi = UINT64_MAX, .lo = UINT64_C(0xffffffffffffff00)},
    .gateway = {.lo = IPV4_MAPPED | 198u << 24 | 18u << 16 | 254},
    .client_port = 4701,
    .trunk_port = 4702,
};
static const struct station SELF_V6 = {
    .mac = {2, 0, 0, 0, 0, 1},
    .ip = {0xfd00ull << 48, 3},
    .mask = {.hi = UINT64_MAX},
    .gateway = {0xfe80ull << 48, 254},
    .client_port = 4701,
    .trunk_port = 4702,
};
static struct station SELF; /* one of the two, by the first byte of the input */

struct link {
    struct neighbours neighbours;
    struct neighbour cells[NEIGHBOURS_MAX];
    uint64_t now;
    long waiting; /* packets that the table holds */
};

static void ask(void *ctx, struct ip_addr ip)
{
    uint8_t *frame = malloc(ND_FRAME_BYTES);
    if (ip_is_v4(ip))
        REQUIRE(arp_write_request(frame, &SELF, ip) == ETHER_FRAME_BYTES_MIN);
    else
        REQUIRE(nd_write_solicitation(frame, &SELF, ip) == ND_FRAME_BYTES);
    free(frame);
}

static void forward(void *ctx, void *packet, const uint8_t mac[MAC_BYTES])
{
    ((struct link *)ctx)->waiting--;
    REQUIRE(mac_is_unicast(mac));
    build_ether(packet, &SELF, mac);
    free(packet);
}

static void give_up(void *ctx, void *packet)
{
    ((struct link *)ctx)->waiting--;
    free(packet);
}

/* A datagram of ours that must reach ip: it waits, leaves, or is refused. */
static void send_to(struct link *l, struct ip_addr ip, size_t payload_len)
{
    uint8_t *packet = malloc(UDP6_FRAME_BYTES + payload_len), *frame;
    const struct build_udp to = {.dst_ip = ip, .src_port = SELF.client_port, .dst_port = 4000};
    memset(packet, 0, UDP6_FRAME_BYTES + payload_len);
    frame = packet + UDP6_FRAME_BYTES - build_udp_headers(packet + UDP6_FRAME_BYTES, payload_len, &SELF, &to);
    if (ip_is_v4(SELF.ip))
        REQUIRE(checksum_holds(checksum_add(0, frame + IPV4, IPV4_BYTES)));
    l->waiting++;
    if (!neighbours_send(&l->neighbours, l->now, station_next_hop(&SELF, ip), packet))
        give_up(l, packet);
}

static struct ip_addr peer(uint8_t which)
{
    struct ip_addr out = SELF.ip;
    out.lo = (out.lo & ~UINT64_C(0xff)) | (1 + which % 32u);
    return out;
}

/* --- frames in ------------------------------------------------------------------------------ */
static void put_arp_right(uint8_t *frame, size_t len, uint8_t what)
{
    static const uint8_t kind[6] = {0, 1, 8, 0, MAC_BYTES, 4};
    if (len < ARP_FRAME_BYTES)
        return;
    memcpy(frame + ARP_HARDWARE, kind, sizeof(kind));
    write16(frame + ARP_OPERATION, what & 4 ? ARP_REQUEST : ARP_REPLY);
    frame[ARP_SENDER_MAC] = 2;
    write32(frame + ARP_SENDER_IP, NET_IPV4 | (frame[ARP_SENDER_IP] & 31));
    memcpy(frame + ARP_TARGET_IP, frame + ARP_SENDER_IP, 4); /* an announcement, or: */
    if (what & 8)
        write32(frame + ARP_TARGET_IP, OUR_IPV4);
}

static void put_ipv4_right(uint8_t *frame, size_t len, uint8_t what)
{
    size_t header = (size_t)(frame[IPV4] & 0xf) * 4;
    if (len < ETHER_BYTES + IPV4_BYTES || header < IPV4_BYTES || header > len - ETHER_BYTES)
        return;
    frame[IPV4] = (uint8_t)(0x40 | header / 4);
    frame[IPV4_PROTOCOL] = what & 2 ? PROTOCOL_ICMP : PROTOCOL_UDP;
    write32(frame + IPV4_SRC, NET_IPV4 | (frame[IPV4_SRC] & 31));
    write32(frame + IPV4_DST, OUR_IPV4);
    memset(frame + IPV4_CHECKSUM, 0, 2);
    checksum_store(frame + IPV4_CHECKSUM, checksum_add(0, frame + IPV4, header));
    size_t total = read16(frame + IPV4_LENGTH);
    uint8_t *rest = frame + IPV4 + header;
    if (total < header + ICMP_BYTES || total > len - ETHER_BYTES)
        return;
    if (what & 2) {
        rest[0] = ICMP_ECHO_REQUEST;
        memset(rest + 2, 0, 2);
        checksum_store(rest + 2, checksum_add(0, rest, total - header));
    } else {
        write16(rest + 2, what & 4 ? SELF.client_port : SELF.trunk_port);
    }
}

static void put_ipv6_right(uint8_t *frame, size_t len, uint8_t what)
{
    uint8_t *rest = frame + IPV6 + IPV6_BYTES;
    if (len < ETHER_BYTES + IPV6_BYTES + ND_BYTES)
        return;
    size_t rest_len = len - ETHER_BYTES - IPV6_BYTES;
    frame[IPV6] = 0x60;
    write16(frame + IPV6_LENGTH, (uint32_t)rest_len);
    ip_write6(frame + IPV6_SRC, (struct ip_addr){SELF.ip.hi, 1 + (frame[IPV6_SRC] & 31)});
    ip_write6(frame + IPV6_DST, SELF.ip);
    frame[IPV6_NEXT] = what & 2 ? PROTOCOL_ICMPV6 : PROTOCOL_UDP;
    if (!(what & 2)) {
        write16(rest + 2, what & 4 ? SELF.client_port : SELF.trunk_port);
        return;
    }
    rest[0] = what & 4 ? ICMPV6_ECHO_REQUEST : what & 8 ? ICMPV6_SOLICITATION : ICMPV6_ADVERTISEMENT;
    rest[1] = 0;
    if (what & 16) {
        frame[IPV6_HOP_LIMIT] = ND_HOP_LIMIT;
        ip_write6(rest + ND_TARGET, what & 8 ? SELF.ip : (struct ip_addr){SELF.ip.hi, 1 + (rest[ND_TARGET] & 31)});
    }
    memset(rest + 2, 0, 2);
    checksum_store(rest + 2, checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, rest, rest_len));
}

static void put_right(uint8_t *frame, size_t len, uint8_t what)
{
    if (len < ETHER_BYTES)
        return;
    memcpy(frame + ETHER_DST, SELF.mac, MAC_BYTES);
    frame[ETHER_SRC] = 2;
    if (!ip_is_v4(SELF.ip)) {
        write16(frame + ETHER_TYPE, ETHER_TYPE_IPV6);
        put_ipv6_right(frame, len, what);
        return;
    }
    write16(frame + ETHER_TYPE, what & 1 ? ETHER_TYPE_ARP : ETHER_TYPE_IPV4);
    if (what & 1)
        put_arp_right(frame, len, what);
    else if (len > ETHER_BYTES)
        put_ipv4_right(frame, len, what);
}

static void take_arp(struct link *l, const uint8_t *frame, size_t len)
{
    struct arp arp;
    uint8_t reply[FRAME_BYTES_MAX];
    if (arp_parse(&SELF, frame, len, &arp) != DROP_NONE)
        return;
    REQUIRE(arp.sender_mac > frame && arp.sender_mac + MAC_BYTES <= frame + len &&
            station_on_link(&SELF, arp.sender_ip));
    neighbours_learn(&l->neighbours, l->now, arp.sender_ip, arp.sender_mac,
                     arp.is_announcement ? NEIGHBOUR_BY_ANNOUNCEMENT : NEIGHBOUR_BY_ARP);
    if (!arp.is_request)
        return;
    memcpy(reply, frame, len); /* in place, as the worker answers */
    REQUIRE(arp_parse(&SELF, reply, len, &arp) == DROP_NONE);
    arp_write_reply(reply, &SELF, arp.sender_ip, arp.sender_mac);
    REQUIRE(memcmp(reply + ARP_TARGET_IP, frame + ARP_SENDER_IP, 4) == 0);
    REQUIRE(memcmp(reply + ETHER_DST, frame + ARP_SENDER_MAC, MAC_BYTES) == 0);
}

static void take_nd(struct link *l, uint8_t *frame, size_t len, const struct parsed *in)
{
    struct nd nd;
    uint8_t reply[FRAME_BYTES_MAX + ND_FRAME_BYTES];
    if (nd_parse(&SELF, frame, in, &nd) != DROP_NONE)
        return;
    REQUIRE(nd.mac > frame && nd.mac + MAC_BYTES <= frame + len && station_on_link(&SELF, nd.sender));
    neighbours_learn(&l->neighbours, l->now, nd.sender, nd.mac,
                     nd.is_announcement ? NEIGHBOUR_BY_ANNOUNCEMENT : NEIGHBOUR_BY_ARP);
    if (nd.is_solicitation)
        REQUIRE(nd_write_advertisement(reply, &SELF, nd.sender, nd.mac) == ND_FRAME_BYTES);
}

static void take_echo(uint8_t *frame, size_t len, const struct parsed *in)
{
    size_t header = (size_t)(in->payload - (frame + IPV4)), reply_len = icmp_answer_echo(frame, in);
    REQUIRE(reply_len <= len);
    if (!ip_is_v4(SELF.ip)) {
        REQUIRE(checksum_holds(checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, in->payload, in->payload_len)));
        return;
    }
    REQUIRE(checksum_holds(checksum_add(0, frame + IPV4, header)));
    REQUIRE(checksum_holds(checksum_add(0, in->payload, in->payload_len)));
}

static void frame_step(struct link *l, struct input *in, bool valid)
{
    uint8_t bytes[FRAME_BYTES_MAX], what = take8(in);
    struct parsed p;
    size_t len = take_bytes(in, bytes, sizeof(bytes));
    uint8_t *frame = malloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(frame, bytes, len);
    if (valid)
        put_right(frame, len, what);
    enum parse_kind kind = parse_frame(&SELF, frame, len, &p);
    if (kind == PARSE_DROP)
        REQUIRE(p.reason > DROP_NONE && p.reason < WORKER_DROP_COUNT);
    if (kind == PARSE_CLIENT || kind == PARSE_TRUNK || kind == PARSE_ECHO || kind == PARSE_ND)
        REQUIRE(p.payload > frame && p.payload + p.payload_len <= frame + len);
    if ((kind == PARSE_CLIENT || kind == PARSE_TRUNK) && station_on_link(&SELF, p.src_ip))
        neighbours_learn(&l->neighbours, l->now, p.src_ip, frame + ETHER_SRC, NEIGHBOUR_BY_DATAGRAM);
    if (kind == PARSE_ARP)
        take_arp(l, frame, len);
    if (kind == PARSE_ND)
        take_nd(l, frame, len, &p);
    if (kind == PARSE_ECHO)
        take_echo(frame, len, &p);
    free(frame);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct link l = {.now = 1000000};
    struct input in = {data, data + size};
    const struct neighbours_ports ports = {.ctx = &l, .ask = ask, .send = forward, .give_up = give_up};
    SELF = take8(&in) & 1 ? SELF_V6 : SELF_V4;
    neighbours_init(&l.neighbours, l.cells, NEIGHBOURS_MAX, &ports);
    for (int step = 0; in.at < in.end && step < STEPS_MAX; step++) {
        uint8_t what = take8(&in);
        if (what < 0x20) {
            frame_step(&l, &in, false);
        } else if (what < 0x90) {
            frame_step(&l, &in, true);
        } else if (what < 0xc0) {
            send_to(&l, peer(take8(&in)), take8(&in));
        } else if (what < 0xd0) {
            neighbours_expect(&l.neighbours, l.now, peer(take8(&in)));
        } else {
            l.now += (uint64_t)take16(&in) * (what < 0xe8 ? 10 : 20000);
            neighbours_tick(&l.neighbours, l.now);
        }
        REQUIRE(l.waiting >= 0 && l.waiting <= NEIGHBOURS_MAX * NEIGHBOUR_PENDING_MAX);
        REQUIRE(l.neighbours.nb_asking + l.neighbours.nb_known <= NEIGHBOURS_MAX);
    }
    neighbours_clear(&l.neighbours);
    REQUIRE(l.waiting == 0);
    return 0;
}
