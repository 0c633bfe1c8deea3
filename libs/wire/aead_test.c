/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed frames (W11), with both ciphers.
 */
#include "wire_test.h"

#include <string.h>

static const struct pmw_check_seed SEED = {.cid = 9, .seq = 1ull << 40, .ack = 1ull << 41, .epoch = 258};
static const uint8_t KEY[PMW_KEY_BYTES] = "a seal key of this test";
static const uint64_t NUMBER = 0x100000007;
static const enum pmw_feature CIPHERS[] = {PMW_FEATURE_AES_256_GCM, PMW_FEATURE_CHACHA20_POLY1305};

static size_t sealed_frame(uint8_t *buf, const struct pmw_aead *a, bool is_short, const uint8_t *payload, uint16_t n)
{
    struct pmw_frame f = {.type = PMW_DATA, .flags = PMW_F_SEALED, .cid = SEED.cid, .payload_len = n};
    if (is_short)
        f.flags |= PMW_F_SHORT, f.window = PMW_WINDOW_SILENT;
    else
        f.flags |= PMW_F_SACK, f.nb_sacks = 2, f.sacks[0].len = 4, f.sacks[1].len = 5;
    int len = pmw_frame_encode(buf, PMW_FRAME_BYTES_MAX, &f, payload);
    assert_true(len > 0 && pmw_aead_seal(a, buf, (size_t)len, &SEED, NUMBER));
    return (size_t)len;
}

static void seals_and_opens(const struct pmw_aead *a, bool is_short)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], plain[PMW_FRAME_BYTES_MAX], payload[100];
    random_fill(payload, sizeof(payload));
    size_t len = sealed_frame(buf, a, is_short, payload, sizeof(payload));
    size_t at = len - PMW_SEAL_BYTES - sizeof(payload);
    assert_memory_not_equal(buf + at, payload, sizeof(payload));
    assert_true(pmw_aead_open(a, guarded(buf, len), len, &SEED, NUMBER, plain));
    assert_memory_equal(plain, payload, sizeof(payload));
    assert_false(pmw_aead_open(a, buf, len, &SEED, NUMBER + (1ull << 32), plain)); /* same low half, another nonce */
    assert_false(pmw_aead_open(a, buf, len, &SEED, NUMBER + 1, plain));
    for (size_t shorter = 0; shorter < len; shorter++)
        assert_false(pmw_aead_open(a, guarded(buf, shorter), shorter, &SEED, NUMBER, plain));
    for (size_t bit = 0; bit < len * 8; bit++) {
        bool seeded = bit / 8 == 2 || (bit / 8 >= 4 && bit / 8 < (is_short ? 16 : 20)) || (is_short && bit / 8 == 3);
        bool urgent = bit / 8 == 1 && 1u << bit % 8 == PMW_F_URGENT;
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(pmw_aead_open(a, buf, len, &SEED, NUMBER, plain), seeded || urgent);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    struct pmw_check_seed wrong[4] = {SEED, SEED, SEED, SEED};
    wrong[0].cid++, wrong[1].seq += 1ull << 32, wrong[2].ack += 1ull << 32, wrong[3].epoch += 256;
    for (int i = 0; i < 4; i++)
        assert_false(pmw_aead_open(a, buf, len, &wrong[i], NUMBER, plain));
}

static void both_ciphers_w11(void **state)
{
    unsigned nb_tried = 0;
    for (int i = 0; i < 2; i++) {
        struct pmw_aead a;
        if (!pmw_aead_supports(CIPHERS[i]))
            continue;
        pmw_aead_init(&a, CIPHERS[i], KEY, true, SEED.cid);
        seals_and_opens(&a, false);
        seals_and_opens(&a, true);
        nb_tried++;
    }
    assert_true(nb_tried > 0);
    assert_false(pmw_aead_supports(PMW_FEATURE_SHORT));
}

/* Each connection and direction has its own key: what one side sealed, only the other side of that connection opens. */
static void keys_are_apart_w11(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX], plain[PMW_FRAME_BYTES_MAX];
    for (int i = 0; i < 2; i++) {
        struct pmw_aead a, other[3];
        uint8_t other_key[PMW_KEY_BYTES] = {1};
        if (!pmw_aead_supports(CIPHERS[i]))
            continue;
        pmw_aead_init(&a, CIPHERS[i], KEY, true, SEED.cid);
        pmw_aead_init(&other[0], CIPHERS[i], KEY, false, SEED.cid);
        pmw_aead_init(&other[1], CIPHERS[i], KEY, true, SEED.cid + 1);
        pmw_aead_init(&other[2], CIPHERS[i], other_key, true, SEED.cid);
        size_t len = sealed_frame(buf, &a, false, (const uint8_t *)"text", 4);
        assert_true(pmw_aead_open(&a, buf, len, &SEED, NUMBER, plain));
        for (int k = 0; k < 3; k++)
            assert_false(pmw_aead_open(&other[k], buf, len, &SEED, NUMBER, plain));
    }
}

/* T6: a sealed short frame that travels as an entry opens at the other end. */
static void through_an_entry_t6(void **state)
{
    uint8_t buf[64], entry[64], back[64], plain[64];
    struct pmw_aead a;
    struct pmw_short e;
    struct pmw_any_entry any;
    size_t at = 0;
    pmw_aead_init(&a, PMW_FEATURE_CHACHA20_POLY1305, KEY, false, SEED.cid);
    size_t len = sealed_frame(buf, &a, true, (const uint8_t *)"some text", 9);
    assert_true(pmw_short_of_frame(buf, len, &e) && e.sealed);
    int entry_len = pmw_short_encode(entry, sizeof(entry), &e);
    assert_int_equal(pmw_entry_next(guarded(entry, (size_t)entry_len), (size_t)entry_len, &at, &any), 1);
    assert_int_equal(pmw_short_to_frame(back, sizeof(back), &any.as_short, SEED.cid), len);
    assert_true(pmw_aead_open(&a, back, len, &SEED, NUMBER, plain));
    assert_memory_equal(plain, "some text", 9);
}

/* A frame with a check is not sealed, and a sealed one has no check. */
static void one_protection_each(void **state)
{
    uint8_t buf[64], plain[64];
    struct pmw_aead a;
    pmw_aead_init(&a, PMW_FEATURE_CHACHA20_POLY1305, KEY, true, SEED.cid);
    struct pmw_frame f = {.type = PMW_ACK, .flags = PMW_F_CHECK};
    int len = pmw_frame_encode(buf, sizeof(buf), &f, NULL);
    assert_false(pmw_aead_seal(&a, buf, (size_t)len, &SEED, 1));
    assert_false(pmw_aead_open(&a, buf, (size_t)len, &SEED, 1, plain));
    size_t sealed_len = sealed_frame(buf, &a, true, NULL, 0);
    assert_false(pmw_frame_check(buf, sealed_len, &SEED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ciphers_w11),
        cmocka_unit_test(keys_are_apart_w11),
        cmocka_unit_test(through_an_entry_t6),
        cmocka_unit_test(one_protection_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
