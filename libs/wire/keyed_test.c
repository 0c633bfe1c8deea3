/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C, MACs, tokens, connection ids, truncated numbers: crc32c.c, seal.c, token.c, cid.c, pmw_wlsb.
 */
#include "wire_test.h"

#include <string.h>

#include "crc32c.h"

static void crc32c_known_answers(void **state)
{
    uint8_t up[32], zeros[32] = {0};
    for (uint8_t i = 0; i < 32; i++)
        up[i] = i;
    assert_int_equal(pmw_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(pmw_crc32c(0, zeros, 32), 0x8a9136aa); /* RFC 3720, appendix B.4 */
    assert_int_equal(pmw_crc32c(0, up, 32), 0x46dd794e);
    assert_int_equal(pmw_crc32c(0, NULL, 0), 0);
}

static uint32_t crc32c_bitwise(const uint8_t *p, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static void crc32c_three_ways(void **state)
{
    uint8_t data[300];
    random_fill(data, sizeof(data));
    for (size_t len = 0; len <= sizeof(data); len++) {
        uint32_t expected = crc32c_bitwise(data, len);
        assert_int_equal(pmw_crc32c_portable(0, guarded(data, len), len), expected);
        assert_int_equal(pmw_crc32c(0, guarded(data, len), len), expected);
        size_t cut = (size_t)random_below(len + 1);
        assert_int_equal(pmw_crc32c(pmw_crc32c(0, data, cut), data + cut, len - cut), expected);
        assert_int_equal(pmw_crc32c_portable(pmw_crc32c(0, data, cut), data + cut, len - cut), expected);
    }
}

/* Large frames: blocks of two sizes, side by side, and what is left. */
static void crc32c_of_large_frames(void **state)
{
    uint8_t data[PMW_FRAME_BYTES_MAX];
    random_fill(data, sizeof(data));
    for (size_t len = 700; len <= sizeof(data); len += len < 4000 ? 67 : 501) {
        const uint8_t *end = data + sizeof(data) - len;
        assert_int_equal(pmw_crc32c(0, end, len), crc32c_bitwise(end, len));
        assert_int_equal(pmw_crc32c(pmw_crc32c(0, end, 36), end + 36, len - 36), crc32c_bitwise(end, len));
    }
}

static void control_mac(void **state)
{
    uint8_t buf[PMW_OPEN_BYTES], key[16], other[16];
    random_fill(buf, sizeof(buf));
    random_fill(key, sizeof(key));
    memcpy(other, key, sizeof(other));
    other[15] ^= 0x80;
    pmw_control_seal(buf, sizeof(buf), key);
    assert_true(pmw_control_check(guarded(buf, sizeof(buf)), sizeof(buf), key));
    assert_false(pmw_control_check(buf, sizeof(buf), other));
    for (size_t at = 0; at < sizeof(buf); at++) {
        buf[at] ^= 1;
        assert_false(pmw_control_check(buf, sizeof(buf), key));
        buf[at] ^= 1;
    }
    for (size_t len = 0; len < sizeof(buf); len++)
        assert_false(pmw_control_check(guarded(buf, len), len, key));
}

static void token_layout(void **state)
{
    uint8_t buf[PMW_TOKEN_BYTES], back[PMW_TOKEN_BYTES];
    struct pmw_token t, out;
    random_fill(&t, sizeof(t));
    pmw_token_encode(buf, &t);
    assert_int_equal(pmw_token_decode(guarded(buf, sizeof(buf)), &out), 0);
    assert_true(out.client_id == t.client_id && out.service_id == t.service_id && out.server_id == t.server_id);
    pmw_token_encode(back, &out);
    assert_memory_equal(buf, back, sizeof(buf));
    for (unsigned version = 0; version < 256; version++) {
        buf[0] = (uint8_t)version;
        assert_int_equal(pmw_token_decode(buf, &out), version == 1 ? 0 : PMW_ERR_VERSION);
    }
    buf[0] = 1;
    for (unsigned flags = 1; flags < 256; flags++) {
        buf[1] = (uint8_t)flags;
        assert_int_equal(pmw_token_decode(buf, &out), PMW_ERR_FLAGS);
    }
}

/* The MAC covers the 48 bytes before it and no other; the key handed to the client depends on all 64. */
static void token_keys(void **state)
{
    uint8_t k_srv[PMW_KEY_BYTES], token[PMW_TOKEN_BYTES], mac[16], changed[16], key[32], other[32];
    random_fill(k_srv, sizeof(k_srv));
    random_fill(token, sizeof(token));
    pmw_token_mac(mac, k_srv, token);
    pmw_token_key(key, k_srv, token);
    for (size_t at = 0; at < PMW_TOKEN_BYTES; at++) {
        token[at] ^= 4;
        pmw_token_mac(changed, k_srv, token);
        pmw_token_key(other, k_srv, token);
        assert_int_equal(memcmp(mac, changed, sizeof(mac)) == 0, at >= 48);
        assert_memory_not_equal(key, other, sizeof(key));
        token[at] ^= 4;
    }
}

static void derived_keys_differ(void **state)
{
    uint8_t secret[PMW_KEY_BYTES] = {5};
    struct pmw_session_keys a, b;
    pmw_session_keys_derive(&a, secret, 1);
    pmw_session_keys_derive(&b, secret, 2);
    assert_memory_not_equal(a.mac_c2s, b.mac_c2s, 16);
    assert_memory_not_equal(a.mac_c2s, a.mac_s2c, 16);
    assert_true(a.check_c2s != a.check_s2c && a.check_c2s != b.check_c2s);
    struct pmw_trunk_keys x, y, z;
    pmw_trunk_keys_derive(&x, secret, 1, 1);
    pmw_trunk_keys_derive(&y, secret, 1, 2);
    pmw_trunk_keys_derive(&z, secret, 2, 1);
    assert_memory_not_equal(x.to_server, y.to_server, 16);
    assert_memory_not_equal(x.to_server, z.to_server, 16);
    assert_memory_not_equal(x.to_server, x.to_helper, 16);
}

static void cid_is_a_permutation(void **state)
{
    uint8_t key[16], other_key[16];
    random_fill(key, sizeof(key));
    random_fill(other_key, sizeof(other_key));
    for (int i = 0; i < 20000; i++) {
        struct pmw_cid c = {.server_id = (uint16_t)random_below(1 << 16),
                            .shard = (uint8_t)random_below(1 << 8),
                            .slot = (uint32_t)random_below(1 << 24),
                            .generation = (uint16_t)random_below(1 << 16)};
        struct pmw_cid back;
        uint64_t cid = pmw_cid_seal(&c, key), any;
        assert_true(cid != pmw_cid_seal(&c, other_key));
        pmw_cid_open(cid, key, &back);
        assert_int_equal(back.server_id, c.server_id);
        assert_int_equal(back.shard, c.shard);
        assert_int_equal(back.slot, c.slot);
        assert_int_equal(back.generation, c.generation);
        random_fill(&any, sizeof(any)); /* and the other way: any 64 bits are the id of some route */
        pmw_cid_open(any, key, &back);
        assert_true(pmw_cid_seal(&back, key) == any);
    }
}

/* Neighbours in the table do not look like neighbours: about half of the bits differ. */
static void cid_hides_the_slot(void **state)
{
    uint8_t key[16];
    random_fill(key, sizeof(key));
    unsigned bits = 0;
    for (uint32_t slot = 0; slot < 1024; slot++) {
        struct pmw_cid a = {.server_id = 1, .slot = slot}, b = {.server_id = 1, .slot = slot + 1};
        bits += (unsigned)__builtin_popcountll(pmw_cid_seal(&a, key) ^ pmw_cid_seal(&b, key));
    }
    assert_in_range(bits, 1024 * 30, 1024 * 34);
}

static void wlsb(void **state)
{
    static const struct {
        uint64_t ref, low;
        unsigned bits;
        uint64_t expected;
    } cases[] = {
        {0, 0, 8, 0},
        {0, 127, 8, 127},
        {0, 128, 8, 128},
        {0, 255, 8, 255}, /* nothing lies below zero */
        {10, 250, 8, 250},
        {1000, 1000 & 255, 8, 1000},
        {1000, (1000 + 127) & 255, 8, 1127},
        {1000, (1000 - 127) & 255, 8, 873},
        {255, 0, 8, 256},
        {256, 255, 8, 255},
        {300, 2, 8, 258},
        {(1ull << 32) - 1, 0, 32, 1ull << 32},
        {1ull << 32, UINT32_MAX, 32, UINT32_MAX},
        {5ull << 32, 1ull << 30, 32, (5ull << 32) + (1ull << 30)},
        {5ull << 32, 3ull << 30, 32, (4ull << 32) + (3ull << 30)},
        {7ull << 32, 0xabcdef0000000005, 32, (7ull << 32) + 5}, /* only the low bits count */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(pmw_wlsb(cases[i].ref, cases[i].low, cases[i].bits) == cases[i].expected);
    for (int i = 0; i < 10000; i++) { /* anything nearer than half the modulus comes back */
        uint64_t ref = (1ull << 33) + random_below(1ull << 40);
        uint64_t value = ref - (1ull << 31) + 1 + random_below((1ull << 32) - 1);
        assert_true(pmw_wlsb(ref, (uint32_t)value, 32) == value);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crc32c_known_answers),   cmocka_unit_test(crc32c_three_ways),
        cmocka_unit_test(crc32c_of_large_frames), cmocka_unit_test(control_mac),
        cmocka_unit_test(token_layout),           cmocka_unit_test(token_keys),
        cmocka_unit_test(derived_keys_differ),    cmocka_unit_test(cid_is_a_permutation),
        cmocka_unit_test(cid_hides_the_slot),     cmocka_unit_test(wlsb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
