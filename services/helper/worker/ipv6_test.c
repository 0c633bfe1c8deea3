/* SPDX-License-Identifier: Apache-2.0
 *
 * A helper whose address is an IPv6 one: frames in, headers out, neighbour discovery, ping, and what is not for it.
 */
#include "arp.h"
#include "build.h"
#include "frame_fixture.h"
#include "icmp.h"
#include "nd.h"

enum { ROOM = 2048, UDP6_AT = ETHER_BYTES + IPV6_BYTES };

#define NET UINT64_C(0xfd00000000000000)
static const struct station SELF6 = {
    .mac = {2, 0, 0, 0, 0, 10},
    .ip = {NET, 0x12345678},
    .mask = {.hi = UINT64_MAX},
    .client_port = 4701,
    .trunk_port = 4702,
};
static const struct station PEER6 = {
    .mac = {2, 0, 0, 0, 0, 1}, .ip = {NET, 1}, .mask = {.hi = UINT64_MAX}, .client_port = 9000, .trunk_port = 9001};

static size_t from_peer(uint8_t *frame, uint16_t dst_port, size_t payload_len)
{
    const struct build_udp to_self = {.dst_ip = SELF6.ip, .src_port = 9000, .dst_port = dst_port};

    memset(frame + UDP6_FRAME_BYTES, 0x5a, payload_len);
    assert_int_equal(build_udp_headers(frame + UDP6_FRAME_BYTES, payload_len, &PEER6, &to_self), UDP6_FRAME_BYTES);
    build_ether(frame, &PEER6, SELF6.mac);
    return UDP6_FRAME_BYTES + payload_len;
}

static enum parse_kind parse6(const uint8_t *frame, size_t len, struct parsed *out)
{
    uint8_t *exact = malloc(len ? len : 1);

    memcpy(exact, frame, len);
    enum parse_kind kind = parse_frame(&SELF6, exact, len, out);
    free(exact);
    return kind;
}

static void test_what_is_built_parses(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;

    for (size_t len = 0; len <= 1452; len += 121) {
        size_t frame_len = from_peer(frame, 4702, len);
        assert_int_equal(parse_frame(&SELF6, frame, frame_len, &in), PARSE_TRUNK);
        assert_int_equal(in.payload_len, len);
        assert_ptr_equal(in.payload, frame + UDP6_FRAME_BYTES);
        assert_ip(in.src_ip, PEER6.ip);
        assert_int_equal(in.from.family, 6);
        assert_int_equal(in.from.port, 9000);
        assert_ip(ip_of_addr(&in.from), PEER6.ip);
        assert_true(checksum_holds(checksum_ipv6(frame + IPV6, PROTOCOL_UDP, frame + UDP6_AT, UDP_BYTES + len)));
        assert_int_not_equal(read16(frame + UDP6_AT + 6), 0);
    }
}

/* T9 */
static void test_ecn_is_written_and_read(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;

    for (uint8_t ecn = 0; ecn <= ECN_CE; ecn++) {
        const struct build_udp to_self = {.dst_ip = SELF6.ip, .src_port = 9000, .dst_port = 4702, .ecn = ecn};
        build_udp_headers(frame + UDP6_FRAME_BYTES, 40, &PEER6, &to_self);
        build_ether(frame, &PEER6, SELF6.mac);
        assert_int_equal(frame[IPV6], 0x60);
        assert_int_equal(frame[IPV6 + 1], ecn << 4);
        assert_int_equal(parse_frame(&SELF6, frame, UDP6_FRAME_BYTES + 40, &in), PARSE_TRUNK);
        assert_int_equal(in.marked, ecn == ECN_CE);
    }
}

static const struct {
    enum worker_drop reason;
    uint16_t at;
    uint8_t value;
} ALTERED[] = {
    {DROP_MAC_NOT_OURS, ETHER_DST + 5, 11},
    {DROP_MAC_NOT_OURS, ETHER_DST, 0x33}, /* a group, but not IPv6's */
    {DROP_MAC_SOURCE, ETHER_SRC, 0x03},
    {DROP_ETHER_TYPE, ETHER_TYPE, 0x08}, /* 0x08dd; and IPv4 is not ours */
    {DROP_IP_MALFORMED, IPV6, 0x45},
    {DROP_IP_MALFORMED, IPV6_LENGTH, 0x40}, /* longer than the frame */
    {DROP_IP_NOT_OURS, IPV6_DST + 15, 0x79},
    {DROP_IP_NOT_OURS, IPV6_DST, 0xff},
    {DROP_IP_FRAGMENT, IPV6_NEXT, PROTOCOL_IPV6_FRAGMENT},
    {DROP_IP_PROTOCOL, IPV6_NEXT, 0}, /* hop-by-hop options */
    {DROP_IP_PROTOCOL, IPV6_NEXT, 6},
    {DROP_IP_SOURCE, IPV6_SRC, 0xff},
    {DROP_UDP_MALFORMED, UDP6_AT + 4, 0x40},
    {DROP_UDP_MALFORMED, UDP6_AT + 5, 7},
    {DROP_UDP_PORT, UDP6_AT + 3, 0xff},
};

static void test_each_altered_field(void **state)
{
    uint8_t frame[ROOM];

    for (size_t i = 0; i < sizeof(ALTERED) / sizeof(ALTERED[0]); i++) {
        struct parsed in = {0};
        size_t len = from_peer(frame, 4701, 100);
        frame[ALTERED[i].at] = ALTERED[i].value;
        enum parse_kind kind = parse6(frame, len, &in);
        if (kind != PARSE_DROP || in.reason != ALTERED[i].reason)
            fail_msg("row %zu: kind %d, reason %d, not %d", i, kind, in.reason, ALTERED[i].reason);
    }
}

static void test_every_truncation_is_dropped(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    size_t full = from_peer(frame, 4701, 64);

    for (size_t len = 0; len < full; len++)
        assert_int_equal(parse6(frame, len, &in), PARSE_DROP);
}

static void test_a_helper_has_one_version(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;

    assert_int_equal(parse6(frame, udp_frame(frame, 4701, 10), &in), PARSE_DROP);
    assert_int_equal(in.reason, DROP_ETHER_TYPE);
    arp_write_request(frame, &SELF, PEER_IP);
    assert_int_equal(parse6(frame, ETHER_FRAME_BYTES_MIN, &in), PARSE_DROP);
    assert_int_equal(parse_exact(frame, from_peer(frame, 4701, 10), &in), PARSE_DROP);
    assert_int_equal(in.reason, DROP_ETHER_TYPE);
    assert_false(station_is_host(&SELF6, PEER_IP));
    assert_false(station_is_host(&SELF, PEER6.ip));
}

static void test_a_solicitation_is_answered(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    struct nd nd;
    size_t len = nd_write_solicitation(frame, &PEER6, SELF6.ip);

    assert_int_equal(parse_frame(&SELF6, frame, len, &in), PARSE_ND);
    assert_int_equal(nd_parse(&SELF6, frame, &in, &nd), DROP_NONE);
    assert_true(nd.is_solicitation);
    assert_ip(nd.sender, PEER6.ip);
    assert_memory_equal(nd.mac, PEER6.mac, MAC_BYTES);

    len = nd_write_advertisement(frame, &SELF6, nd.sender, nd.mac); /* into the solicitation's own bytes */
    assert_int_equal(parse_frame(&PEER6, frame, len, &in), PARSE_ND);
    assert_int_equal(nd_parse(&PEER6, frame, &in, &nd), DROP_NONE);
    assert_false(nd.is_solicitation);
    assert_false(nd.is_announcement);
    assert_ip(nd.sender, SELF6.ip);
    assert_memory_equal(nd.mac, SELF6.mac, MAC_BYTES);
}

static void rewrite_checksum(uint8_t *frame, size_t len)
{
    uint8_t *icmp = frame + UDP6_AT;

    memset(icmp + 2, 0, 2);
    checksum_store(icmp + 2, checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, icmp, len - UDP6_AT));
}

static void test_who_is_not_believed(void **state)
{
    static const struct {
        enum worker_drop reason;
        uint16_t at;
        uint8_t value;
    } rows[] = {
        {DROP_ND_MALFORMED, IPV6_HOP_LIMIT, 254}, /* from behind a router */
        {DROP_ND_MALFORMED, UDP6_AT + 1, 1},      /* code */
        {DROP_ND_NOT_OURS, UDP6_AT + ND_TARGET + 15, 0x79},
        {DROP_ND_MALFORMED, UDP6_AT + ND_BYTES + 1, 0},    /* an option of no length */
        {DROP_ND_MALFORMED, UDP6_AT + ND_BYTES + 1, 2},    /* longer than the message */
        {DROP_ND_MALFORMED, UDP6_AT + ND_BYTES, 3},        /* no Ethernet address in it */
        {DROP_ND_MALFORMED, UDP6_AT + ND_BYTES + 2, 0x33}, /* that of a group */
        {DROP_ND_NOT_OURS, IPV6_SRC + 7, 1},               /* off the link */
    };
    uint8_t frame[ROOM];
    struct parsed in;
    struct nd nd;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = nd_write_solicitation(frame, &PEER6, SELF6.ip);
        frame[rows[i].at] = rows[i].value;
        rewrite_checksum(frame, len);
        assert_int_equal(parse_frame(&SELF6, frame, len, &in), PARSE_ND);
        enum worker_drop reason = nd_parse(&SELF6, frame, &in, &nd);
        if (reason != rows[i].reason)
            fail_msg("row %zu: reason %d, not %d", i, reason, rows[i].reason);
    }
    const struct station thief = {.mac = {2, 0, 0, 0, 0, 3}, .ip = SELF6.ip, .mask = SELF6.mask};
    size_t len = nd_write_advertisement(frame, &thief, SELF6.ip, SELF6.mac);
    ip_write6(frame + IPV6_SRC, PEER6.ip);
    rewrite_checksum(frame, len);
    assert_int_equal(parse_frame(&SELF6, frame, len, &in), PARSE_ND);
    assert_int_equal(nd_parse(&SELF6, frame, &in, &nd), DROP_ND_CONFLICT);
}

static void test_a_damaged_solicitation_is_dropped(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;

    for (size_t at = UDP6_AT; at < ND_FRAME_BYTES; at++) {
        size_t len = nd_write_solicitation(frame, &PEER6, SELF6.ip);
        frame[at] ^= 0x21;
        assert_int_equal(parse6(frame, len, &in), PARSE_DROP);
        assert_int_equal(in.reason, DROP_ICMP);
    }
}

static void test_an_unsolicited_advertisement_is_an_announcement(void **state)
{
    uint8_t frame[ROOM];
    struct parsed in;
    struct nd nd;
    const struct ip_addr all_hosts = {UINT64_C(0xff02000000000000), 1};
    static const uint8_t all_hosts_mac[MAC_BYTES] = {0x33, 0x33, 0, 0, 0, 1};
    size_t len = nd_write_advertisement(frame, &PEER6, all_hosts, all_hosts_mac);

    frame[UDP6_AT + ND_FLAGS] = ND_OVERRIDE;
    rewrite_checksum(frame, len);
    assert_int_equal(parse_frame(&SELF6, frame, len, &in), PARSE_ND);
    assert_int_equal(nd_parse(&SELF6, frame, &in, &nd), DROP_NONE);
    assert_true(nd.is_announcement);
}

static void test_ping_gets_its_bytes_back(void **state)
{
    uint8_t request[ROOM], frame[ROOM] = {0}, *icmp = frame + UDP6_AT;
    struct parsed in;
    size_t len = UDP6_AT + 64;

    from_peer(frame, 1, 64 - UDP_BYTES);
    frame[IPV6_NEXT] = PROTOCOL_ICMPV6;
    icmp[0] = ICMPV6_ECHO_REQUEST;
    icmp[1] = 0;
    rewrite_checksum(frame, len);
    memcpy(request, frame, len);
    assert_int_equal(parse_frame(&SELF6, frame, len, &in), PARSE_ECHO);
    assert_int_equal(icmp_answer_echo(frame, &in), len);
    assert_int_equal(icmp[0], ICMPV6_ECHO_REPLY);
    assert_memory_equal(icmp + 4, request + UDP6_AT + 4, 60);
    assert_ip(ip_read6(frame + IPV6_DST), PEER6.ip);
    assert_memory_equal(frame + ETHER_DST, PEER6.mac, MAC_BYTES);
    assert_true(checksum_holds(checksum_ipv6(frame + IPV6, PROTOCOL_ICMPV6, icmp, 64)));
}

static void test_masks_and_next_hops(void **state)
{
    const struct ip_addr gateway = {UINT64_C(0xfe80000000000000), 0xfe}, far = {UINT64_C(0xfd00000100000000), 1};
    struct station self = SELF6;

    assert_true(station_on_link(&self, PEER6.ip));
    assert_false(station_on_link(&self, far));
    assert_true(ip_is_none(station_next_hop(&self, far)));
    self.gateway = gateway;
    assert_ip(station_next_hop(&self, far), gateway);
    assert_true(station_on_link(&self, gateway)); /* link-local */
    for (uint32_t len = 0; len <= 128; len++) {
        struct ip_addr mask = ip_mask(len);
        assert_int_equal(__builtin_popcountll(mask.hi) + __builtin_popcountll(mask.lo), len);
    }
    assert_ip(ip_mask(120), (struct ip_addr){UINT64_MAX, UINT64_C(0xffffffffffffff00)});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_built_parses),
        cmocka_unit_test(test_ecn_is_written_and_read),
        cmocka_unit_test(test_each_altered_field),
        cmocka_unit_test(test_every_truncation_is_dropped),
        cmocka_unit_test(test_a_helper_has_one_version),
        cmocka_unit_test(test_a_solicitation_is_answered),
        cmocka_unit_test(test_who_is_not_believed),
        cmocka_unit_test(test_a_damaged_solicitation_is_dropped),
        cmocka_unit_test(test_an_unsolicited_advertisement_is_an_announcement),
        cmocka_unit_test(test_ping_gets_its_bytes_back),
        cmocka_unit_test(test_masks_and_next_hops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
