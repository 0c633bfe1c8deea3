/* SPDX-License-Identifier: Apache-2.0
 *
 * What we send: a known packet byte for byte, checksums of every length, and the way back through parse_frame.
 */
#include "build.h"
#include "frame_fixture.h"

static const struct build_udp TO_PEER = {
    .dst_ip = IP(198, 18, 0, 1), .src_port = 4702, .dst_port = 9000, .ip_id = 0x1234};

static size_t build(uint8_t *frame, size_t payload_len)
{
    assert_int_equal(build_udp_headers(frame + UDP_FRAME_BYTES, payload_len, &SELF, &TO_PEER), UDP_FRAME_BYTES);
    build_ether(frame, &SELF, PEER_MAC);
    return UDP_FRAME_BYTES + payload_len;
}

static void test_a_packet_byte_for_byte(void **state)
{
    /* Checksums by hand: IPv4 words sum to 0x45cf6, UDP and pseudo header with "ok" to 0x32db5. */
    static const uint8_t expected[] = {
        2,    0,    0, 0, 0,   1,  2, 0,  0,   0,  0, 10, 0x08, 0x00, 0x45, 0x00, 0x00, 0x1e, 0x12, 0x34, 0x40, 0x00,
        0x40, 0x11, 0, 0, 198, 18, 0, 10, 198, 18, 0, 1,  0x12, 0x5e, 0x23, 0x28, 0x00, 0x0a, 0,    0,    'o',  'k'};
    uint8_t frame[sizeof(expected)];

    memcpy(frame + UDP_FRAME_BYTES, "ok", 2);
    assert_int_equal(build(frame, 2), sizeof(expected));
    assert_memory_equal(frame, expected, IPV4_CHECKSUM);
    assert_memory_equal(frame + IPV4_SRC, expected + IPV4_SRC, 14);
    assert_memory_equal(frame + UDP_FRAME_BYTES, "ok", 2);
    assert_true(checksum_holds(checksum_add(0, frame + IPV4, IPV4_BYTES)));
}

/* The definition, one 16-bit word after the other. */
static uint16_t slow_sum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < len; i++) {
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)sum;
}

static void test_checksum_is_that_of_the_definition(void **state)
{
    uint8_t bytes[1500], stored[2];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 167 + 255 * (i % 3));
    for (size_t at = 0; at < 8; at++) {
        for (size_t len = 0; at + len <= sizeof(bytes); len += len < 40 ? 1 : 61) {
            checksum_store(stored, checksum_add(0, bytes + at, len));
            assert_int_equal(read16(stored), (uint16_t)~slow_sum(bytes + at, len));
        }
    }
}

static void test_udp_checksums_of_every_length_hold(void **state)
{
    uint8_t frame[UDP_FRAME_BYTES + 1472];

    for (size_t len = 0; len <= 1472; len++) {
        memset(frame + UDP_FRAME_BYTES, (int)(len * 7), len);
        build(frame, len);
        uint8_t *udp = frame + ETHER_BYTES + IPV4_BYTES;
        const uint8_t pseudo_tail[4] = {0, PROTOCOL_UDP, (uint8_t)((len + 8) >> 8), (uint8_t)(len + 8)};
        uint64_t sum = checksum_add(checksum_add(0, frame + IPV4_SRC, 8), pseudo_tail, 4);
        assert_true(checksum_holds(checksum_add(sum, udp, UDP_BYTES + len)));
        assert_int_not_equal(read16(udp + 6), 0);
    }
}

static void test_a_checksum_that_comes_out_zero_is_sent_as_ones(void **state)
{
    uint8_t frame[UDP_FRAME_BYTES + 2];
    uint8_t *udp = frame + ETHER_BYTES + IPV4_BYTES;

    memset(frame + UDP_FRAME_BYTES, 0, 2);
    build(frame, 2);
    memcpy(frame + UDP_FRAME_BYTES, udp + 6, 2); /* this payload makes the sum all ones */
    build(frame, 2);
    assert_int_equal(read16(udp + 6), 0xffff);
}

static void test_what_is_built_parses(void **state)
{
    const struct station peer = {
        .mac = {2, 0, 0, 0, 0, 1}, .ip = PEER_IP, .mask = SELF.mask, .client_port = 9000, .trunk_port = 9001};
    uint8_t frame[UDP_FRAME_BYTES + 1440];
    struct parsed in;

    assert_int_equal(parse_frame(&peer, frame, build(frame, 1440), &in), PARSE_CLIENT);
    assert_int_equal(in.payload_len, 1440);
    assert_int_equal(in.from.port, 4702);
    assert_ip(in.src_ip, SELF.ip);
    assert_true(read16(frame + IPV4_FRAGMENT) == IPV4_DONT_FRAGMENT);
}

/* T9: batches are ECN-capable, and the header checksum covers that. */
static void test_ecn_is_as_told(void **state)
{
    struct build_udp to = TO_PEER;
    uint8_t frame[UDP_FRAME_BYTES + 8] = {0};

    to.ecn = ECN_ECT0;
    build_udp_headers(frame + UDP_FRAME_BYTES, 8, &SELF, &to);
    assert_int_equal(frame[IPV4_TOS], 2);
    assert_true(checksum_holds(checksum_add(0, frame + IPV4, IPV4_BYTES)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_packet_byte_for_byte),
        cmocka_unit_test(test_checksum_is_that_of_the_definition),
        cmocka_unit_test(test_udp_checksums_of_every_length_hold),
        cmocka_unit_test(test_a_checksum_that_comes_out_zero_is_sent_as_ones),
        cmocka_unit_test(test_what_is_built_parses),
        cmocka_unit_test(test_ecn_is_as_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
