/* SPDX-License-Identifier: Apache-2.0
 *
 * ARP: who is believed about what, and what we say ourselves; and the answer to ping.
 */
#include "arp.h"
#include "frame_fixture.h"
#include "icmp.h"

static const struct station PEER = {
    .mac = {2, 0, 0, 0, 0, 1},
    .ip = IP(198, 18, 0, 1),
    .mask = {.hi = UINT64_MAX, .lo = UINT64_C(0xffffffffffffff00)},
};

static enum worker_drop parse_exactly(const uint8_t *frame, size_t len, struct arp *out)
{
    uint8_t *exact = malloc(len ? len : 1);

    memcpy(exact, frame, len);
    enum worker_drop reason = arp_parse(&SELF, exact, len, out);
    free(exact);
    return reason;
}

static void test_a_request_for_us(void **state)
{
    uint8_t frame[ETHER_FRAME_BYTES_MIN];
    struct arp arp;
    struct parsed in;
    size_t len = arp_write_request(frame, &PEER, SELF.ip);

    assert_int_equal(parse_frame(&SELF, frame, len, &in), PARSE_ARP);
    assert_int_equal(arp_parse(&SELF, frame, len, &arp), DROP_NONE);
    assert_true(arp.is_request);
    assert_false(arp.is_announcement);
    assert_ip(arp.sender_ip, PEER_IP);
    assert_memory_equal(arp.sender_mac, PEER_MAC, MAC_BYTES);
}

static void test_our_reply_answers_it(void **state)
{
    uint8_t frame[ETHER_FRAME_BYTES_MIN];
    struct arp arp;

    arp_write_request(frame, &PEER, SELF.ip);
    arp_parse(&SELF, frame, sizeof(frame), &arp);
    size_t len = arp_write_reply(frame, &SELF, arp.sender_ip, arp.sender_mac); /* into the request's own bytes */
    assert_memory_equal(frame + ETHER_DST, PEER_MAC, MAC_BYTES);
    assert_int_equal(arp_parse(&PEER, frame, len, &arp), DROP_NONE);
    assert_false(arp.is_request);
    assert_ip(arp.sender_ip, SELF.ip);
    assert_memory_equal(arp.sender_mac, SELF.mac, MAC_BYTES);
}

static void test_about_others(void **state)
{
    uint8_t frame[ETHER_FRAME_BYTES_MIN];
    struct arp arp;

    arp_write_request(frame, &PEER, (struct ip_addr){.lo = SELF.ip.lo + 1});
    assert_int_equal(parse_exactly(frame, sizeof(frame), &arp), DROP_ARP_NOT_OURS);
    arp_write_request(frame, &PEER, PEER.ip); /* gratuitous */
    assert_int_equal(parse_exactly(frame, sizeof(frame), &arp), DROP_NONE);
    assert_true(arp.is_announcement);
    assert_false(arp.is_request);
}

static void test_who_is_not_believed(void **state)
{
    uint8_t frame[ETHER_FRAME_BYTES_MIN];
    struct arp arp;
    const struct {
        struct ip_addr sender_ip;
        enum worker_drop reason;
    } rows[] = {
        {IP(198, 18, 0, 10), DROP_ARP_CONFLICT},
        {IP(198, 18, 1, 1), DROP_ARP_NOT_OURS}, /* off the link */
        {IP(198, 18, 0, 255), DROP_ARP_NOT_OURS},
        {IP(198, 18, 0, 0), DROP_ARP_NOT_OURS},
        {{0}, DROP_ARP_NOT_OURS}, /* a probe of RFC 5227 */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        arp_write_request(frame, &PEER, SELF.ip);
        write32(frame + ARP_SENDER_IP, (uint32_t)rows[i].sender_ip.lo);
        assert_int_equal(parse_exactly(frame, sizeof(frame), &arp), rows[i].reason);
    }
    arp_write_request(frame, &PEER, SELF.ip);
    frame[ARP_SENDER_MAC] |= 1;
    assert_int_equal(parse_exactly(frame, sizeof(frame), &arp), DROP_ARP_MALFORMED);
}

static void test_malformed(void **state)
{
    uint8_t frame[ETHER_FRAME_BYTES_MIN];
    struct arp arp;

    for (size_t len = 0; len < ARP_FRAME_BYTES; len++) {
        arp_write_request(frame, &PEER, SELF.ip);
        assert_int_equal(parse_exactly(frame, len, &arp), DROP_ARP_MALFORMED);
    }
    for (size_t at = ARP_HARDWARE; at < ARP_OPERATION + 2; at++) {
        arp_write_request(frame, &PEER, SELF.ip);
        frame[at] ^= 0x10;
        assert_int_equal(parse_exactly(frame, sizeof(frame), &arp), DROP_ARP_MALFORMED);
    }
}

static size_t echo_request(uint8_t *frame, size_t data_len)
{
    uint8_t *icmp = frame + ETHER_BYTES + IPV4_BYTES;
    size_t len = ipv4_frame(frame, PROTOCOL_ICMP, ICMP_BYTES + data_len);

    memset(icmp, 0, ICMP_BYTES);
    icmp[0] = ICMP_ECHO_REQUEST;
    write32(icmp + 4, 0x00070009);
    for (size_t i = 0; i < data_len; i++)
        icmp[ICMP_BYTES + i] = (uint8_t)i;
    checksum_store(icmp + 2, checksum_add(0, icmp, ICMP_BYTES + data_len));
    return len;
}

static void test_ping_gets_its_bytes_back(void **state)
{
    uint8_t request[2000], frame[2000];
    struct parsed in;

    for (size_t data_len = 0; data_len < 1400; data_len += 139) {
        size_t len = echo_request(frame, data_len);
        memcpy(request, frame, len);
        assert_int_equal(parse_frame(&SELF, frame, len + 9, &in), PARSE_ECHO); /* with padding */
        assert_int_equal(icmp_answer_echo(frame, &in), len);
        assert_memory_equal(frame + ETHER_DST, PEER_MAC, MAC_BYTES);
        assert_memory_equal(frame + ETHER_SRC, SELF.mac, MAC_BYTES);
        assert_int_equal(read32(frame + IPV4_SRC), IP4(198, 18, 0, 10));
        assert_int_equal(read32(frame + IPV4_DST), IP4(198, 18, 0, 1));
        assert_true(checksum_holds(checksum_add(0, frame + IPV4, IPV4_BYTES)));
        assert_true(checksum_holds(checksum_add(0, frame + 34, len - 34)));
        assert_int_equal(frame[34], ICMP_ECHO_REPLY);
        assert_memory_equal(frame + 38, request + 38, len - 38);
    }
}

static void test_damaged_pings_are_dropped(void **state)
{
    uint8_t frame[200];
    struct parsed in;

    for (size_t at = 34; at < 60; at++) {
        size_t len = echo_request(frame, 40);
        frame[at] ^= 0x21;
        assert_int_equal(parse_exact(frame, len, &in), PARSE_DROP);
        assert_int_equal(in.reason, DROP_ICMP);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_request_for_us),
        cmocka_unit_test(test_our_reply_answers_it),
        cmocka_unit_test(test_about_others),
        cmocka_unit_test(test_who_is_not_believed),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_ping_gets_its_bytes_back),
        cmocka_unit_test(test_damaged_pings_are_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
