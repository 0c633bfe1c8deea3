/* SPDX-License-Identifier: Apache-2.0
 *
 * One row for each way a frame can be wrong, all truncations, and noise.
 */
#include "frame_fixture.h"

#include <stdio.h>

enum { ROOM = 2048 };

static void test_udp_to_either_port(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;

    assert_int_equal(parse_frame(&SELF, frame, udp_frame(frame, 4701, 100), &in), PARSE_CLIENT);
    assert_ptr_equal(in.payload, frame + UDP_FRAME_BYTES);
    assert_int_equal(in.payload_len, 100);
    assert_int_equal(in.from.port, 4000);
    assert_int_equal(in.from.family, 4);
    assert_int_equal(read32(in.from.ip), IP4(198, 18, 0, 1));
    assert_ip(in.src_ip, PEER_IP);
    assert_int_equal(parse_frame(&SELF, frame, udp_frame(frame, 4702, 0), &in), PARSE_TRUNK);
    assert_int_equal(in.payload_len, 0);
}

/* T9: of the four ECN values only CE is a mark; DSCP is somebody else's. */
static void test_a_congestion_mark_is_seen(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;

    for (unsigned tos = 0; tos <= 255; tos++) {
        size_t len = udp_frame(frame, 4702, 10);
        frame[IPV4_TOS] = (uint8_t)tos;
        fix_ip_checksum(frame);
        assert_int_equal(parse_exact(frame, len, &in), PARSE_TRUNK);
        assert_int_equal(in.marked, (tos & 3) == 3);
    }
}

static void test_ethernet_padding_is_no_payload(void **state)
{
    uint8_t frame[ROOM] = {0};
    struct parsed in;

    udp_frame(frame, 4701, 3);
    assert_int_equal(parse_exact(frame, ETHER_FRAME_BYTES_MIN, &in), PARSE_CLIENT);
    assert_int_equal(in.payload_len, 3);
}

static void test_ip_options_are_skipped(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    size_t len = udp_frame(frame, 4701, 10);

    memmove(frame + IPV4 + 24, frame + IPV4 + 20, len - IPV4 - 20);
    memset(frame + IPV4 + 20, 1, 4); /* no operation, four times */
    frame[IPV4] = 0x46;
    write16(frame + IPV4_LENGTH, (uint32_t)(len - ETHER_BYTES + 4));
    fix_ip_checksum(frame);
    assert_int_equal(parse_exact(frame, len + 4, &in), PARSE_CLIENT);
    assert_int_equal(in.payload_len, 10);
}

#define UDP_AT (ETHER_BYTES + IPV4_BYTES)
static const struct {
    enum worker_drop reason;
    uint16_t at;
    uint8_t value;
    bool fix_checksum;
} ALTERED[] = {
    {DROP_MAC_NOT_OURS, ETHER_DST + 5, 11, false},
    {DROP_MAC_NOT_OURS, ETHER_DST, 0x03, false}, /* a group */
    {DROP_MAC_SOURCE, ETHER_SRC, 0x03, false},
    {DROP_MAC_SOURCE, ETHER_SRC + 5, 10, false},   /* ourselves */
    {DROP_ETHER_TYPE, ETHER_TYPE + 1, 0x06, true}, /* 0x0806 is ARP; see below */
    {DROP_ETHER_TYPE, ETHER_TYPE, 0x86, true},
    {DROP_IP_MALFORMED, IPV4, 0x65, true},          /* version 6 */
    {DROP_IP_MALFORMED, IPV4, 0x44, true},          /* header of 16 bytes */
    {DROP_IP_MALFORMED, IPV4_LENGTH, 0x40, true},   /* longer than the frame */
    {DROP_IP_MALFORMED, IPV4_LENGTH + 1, 19, true}, /* shorter than its header */
    {DROP_IP_CHECKSUM, IPV4_CHECKSUM, 0x11, false},
    {DROP_IP_NOT_OURS, IPV4_DST + 3, 11, true},
    {DROP_IP_NOT_OURS, IPV4_DST + 3, 255, true},
    {DROP_IP_FRAGMENT, IPV4_FRAGMENT, 0x20, true},     /* more follow */
    {DROP_IP_FRAGMENT, IPV4_FRAGMENT + 1, 0x01, true}, /* offset 8 */
    {DROP_IP_SOURCE, IPV4_SRC + 3, 10, true},          /* ourselves */
    {DROP_IP_SOURCE, IPV4_SRC + 3, 0, true},           /* the network */
    {DROP_IP_SOURCE, IPV4_SRC + 3, 255, true},         /* its broadcast */
    {DROP_IP_SOURCE, IPV4_SRC, 224, true},
    {DROP_IP_SOURCE, IPV4_SRC, 127, true},
    {DROP_IP_SOURCE, IPV4_SRC, 0, true},
    {DROP_IP_PROTOCOL, IPV4_PROTOCOL, 6, true},
    {DROP_ICMP, IPV4_PROTOCOL, PROTOCOL_ICMP, true}, /* 0x0fa0 is no echo request */
    {DROP_UDP_MALFORMED, UDP_AT + 4, 0x40, false},   /* longer than the packet */
    {DROP_UDP_MALFORMED, UDP_AT + 5, 7, false},      /* shorter than its header */
    {DROP_UDP_PORT, UDP_AT + 3, 0xff, false},
};

static void test_each_altered_field(void **state)
{
    uint8_t frame[ROOM];

    for (size_t i = 0; i < sizeof(ALTERED) / sizeof(ALTERED[0]); i++) {
        struct parsed in = {0};
        size_t len = udp_frame(frame, 4701, 100);
        frame[ALTERED[i].at] = ALTERED[i].value;
        if (ALTERED[i].fix_checksum)
            fix_ip_checksum(frame);
        enum parse_kind kind = parse_exact(frame, len, &in);
        if (i == 4)
            assert_int_equal(kind, PARSE_ARP); /* the same bytes are an ARP message now, for arp_parse to judge */
        else if (kind != PARSE_DROP || in.reason != ALTERED[i].reason)
            fail_msg("row %zu: kind %d, reason %d, not %d", i, kind, in.reason, ALTERED[i].reason);
    }
}

static void test_source_port_zero(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    size_t len = udp_frame(frame, 4701, 1);

    write16(frame + UDP_AT, 0);
    assert_int_equal(parse_exact(frame, len, &in), PARSE_DROP);
    assert_int_equal(in.reason, DROP_UDP_MALFORMED);
}

static void test_every_truncation_is_dropped(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    size_t full = udp_frame(frame, 4701, 64);

    for (size_t len = 0; len < full; len++)
        assert_int_equal(parse_exact(frame, len, &in), PARSE_DROP);
}

static void test_noise_never_passes(void **state)
{
    uint8_t frame[ROOM];
    uint64_t seed = 3;
    struct parsed in;

    for (int i = 0; i < 100000; i++) {
        size_t len = udp_frame(frame, 4701, 64);
        for (int flips = 0; flips < 3; flips++) { /* in the headers up to the ports, all of which count */
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            size_t at = (seed >> 33) % UDP_AT;
            frame[at] ^= (uint8_t)(1 + (seed >> 56) % 255);
        }
        enum parse_kind kind = parse_exact(frame, len, &in);
        /* Up to three bytes that a header checksum happens to accept again are the only way through. */
        if (kind == PARSE_CLIENT)
            assert_true(checksum_holds(checksum_add(0, frame + IPV4, (frame[IPV4] & 0xf) * 4u)));
    }
}

static void test_broadcast_arp_passes_and_broadcast_ip_does_not(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    size_t len = udp_frame(frame, 4701, 64);

    memset(frame + ETHER_DST, 0xff, MAC_BYTES);
    assert_int_equal(parse_exact(frame, len, &in), PARSE_DROP);
    assert_int_equal(in.reason, DROP_MAC_NOT_OURS);
    write16(frame + ETHER_TYPE, ETHER_TYPE_ARP);
    assert_int_equal(parse_exact(frame, len, &in), PARSE_ARP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_udp_to_either_port),
        cmocka_unit_test(test_a_congestion_mark_is_seen),
        cmocka_unit_test(test_ethernet_padding_is_no_payload),
        cmocka_unit_test(test_ip_options_are_skipped),
        cmocka_unit_test(test_each_altered_field),
        cmocka_unit_test(test_source_port_zero),
        cmocka_unit_test(test_every_truncation_is_dropped),
        cmocka_unit_test(test_noise_never_passes),
        cmocka_unit_test(test_broadcast_arp_passes_and_broadcast_ip_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
