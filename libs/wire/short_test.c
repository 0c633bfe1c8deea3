/* SPDX-License-Identifier: Apache-2.0
 *
 * Short frames (W10), short entries (T6), and the check that both share (W7).
 */
#include "wire_test.h"

#include <string.h>

static const struct pmw_check_seed SEED = {
    .secret = 0x1122334455667788, .cid = 9, .seq = (1ull << 40) + 5, .ack = (1ull << 41) + 6, .epoch = 258};
static uint8_t payload[PMW_PAYLOAD_BYTES_MAX];

static struct pmw_frame short_frame(uint8_t type, uint16_t payload_len, bool sealed)
{
    return (struct pmw_frame){.type = type,
                              .flags = PMW_F_SHORT | (sealed ? PMW_F_SEALED : PMW_F_CHECK),
                              .epoch8 = SEED.epoch & 15,
                              .cid = SEED.cid,
                              .seq = (uint16_t)SEED.seq,
                              .ack = (uint16_t)SEED.ack,
                              .window = PMW_WINDOW_SILENT,
                              .payload_len = payload_len};
}

static size_t encode_ok(uint8_t *buf, const struct pmw_frame *f)
{
    int len = pmw_frame_encode(buf, PMW_FRAME_BYTES_MAX, f, payload);
    assert_int_equal(len, PMW_SHORT_HEADER_BYTES + f->payload_len +
                              ((f->flags & PMW_F_SEALED) != 0 ? PMW_SEAL_BYTES : PMW_CHECK_BYTES));
    return (size_t)len;
}

/* W10: every length from none to the largest, sealed or not, comes back; the datagram's end is the payload's. */
static void round_trip_w10(void **state)
{
    static const uint16_t lengths[] = {0, 1, 64, 255, 256, PMW_PAYLOAD_BYTES_BASE, PMW_PAYLOAD_BYTES_MAX};
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_frame back;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (int sealed = 0; sealed < 2; sealed++) {
            struct pmw_frame f = short_frame(PMW_DATA, lengths[i], sealed);
            f.packet_number = sealed ? 0xfedcba98 : 0;
            size_t len = encode_ok(buf, &f);
            assert_int_equal(pmw_frame_decode(guarded(buf, len), len, &back), 0);
            assert_int_equal(back.payload_len, lengths[i]);
            assert_int_equal(back.seq, f.seq);
            assert_int_equal(back.ack, f.ack);
            assert_int_equal(back.epoch8, f.epoch8);
            assert_int_equal(back.window, PMW_WINDOW_SILENT);
            assert_int_equal(back.packet_number, f.packet_number);
            assert_int_equal(pmw_frame_number_bits(&back), 16);
            assert_int_equal(pmw_frame_epoch_bits(&back), 4);
            if (lengths[i] > 0)
                assert_memory_equal(back.payload, payload, lengths[i]);
        }
    }
}

static void decoder_refuses(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX + 64];
    struct pmw_frame f = short_frame(PMW_DATA, 0, false), out;
    size_t len = encode_ok(buf, &f);
    for (size_t shorter = 0; shorter < len; shorter++)
        assert_int_equal(pmw_frame_decode(guarded(buf, shorter), shorter, &out), PMW_ERR_SHORT);
    for (unsigned flag = 1; flag < 256; flag <<= 1) { /* no flag but URGENT goes with it, and CHECK is needed */
        buf[1] = f.flags ^ (uint8_t)flag;
        assert_int_equal(pmw_frame_decode(guarded(buf, len), len, &out) == 0, flag == PMW_F_URGENT);
    }
    buf[1] = f.flags;
    buf[2] = 16;
    assert_int_equal(pmw_frame_decode(guarded(buf, len), len, &out), PMW_ERR_RESERVED);
    buf[2] = 0;
    for (unsigned bit = 0; bit < 8; bit++) {
        buf[3] = (uint8_t)(1u << bit);
        assert_int_equal(pmw_frame_decode(guarded(buf, len), len, &out), PMW_ERR_RESERVED);
    }
    buf[3] = 0;
    buf[0] = PMW_FIRST_BYTE(PMW_ACK);
    assert_int_equal(pmw_frame_decode(guarded(buf, len), len, &out), 0);
    assert_int_equal(pmw_frame_decode(guarded(buf, len + 1), len + 1, &out), PMW_ERR_LENGTH);
    buf[0] = PMW_FIRST_BYTE(PMW_DATA);
    size_t longest = PMW_SHORT_HEADER_BYTES + PMW_PAYLOAD_BYTES_MAX + PMW_CHECK_BYTES;
    assert_int_equal(pmw_frame_decode(buf, longest, &out), 0);
    assert_int_equal(pmw_frame_decode(buf, longest + 1, &out), PMW_ERR_LIMIT);
}

static void encoder_refuses_w10(void **state)
{
    const struct pmw_frame good = short_frame(PMW_DATA, 3, false);
    struct pmw_frame bad[10];
    const int errors[10] = {PMW_ERR_FLAGS,    PMW_ERR_FLAGS, PMW_ERR_FLAGS, PMW_ERR_RESERVED, PMW_ERR_RESERVED,
                            PMW_ERR_RESERVED, PMW_ERR_LIMIT, PMW_ERR_LIMIT, PMW_ERR_RESERVED, PMW_ERR_FLAGS};
    uint8_t buf[64];
    for (size_t i = 0; i < 10; i++)
        bad[i] = good;
    bad[0].flags |= PMW_F_FIN;
    bad[1].flags |= PMW_F_RESEND;
    bad[2].flags |= PMW_F_SACK, bad[2].nb_sacks = 1, bad[2].sacks[0].len = 1;
    bad[3].tx = 1;
    bad[4].tx_echo = 1;
    bad[5].epoch8 = 16;
    bad[6].seq = UINT16_MAX + 1;
    bad[7].ack = UINT16_MAX + 1;
    bad[8].window = 5;
    bad[9].flags |= PMW_F_SEALED;
    for (size_t i = 0; i < 10; i++) {
        if (pmw_frame_encode(buf, sizeof(buf), &bad[i], payload) != errors[i])
            fail_msg("case %zu", i);
    }
    assert_int_equal(pmw_frame_encode(buf, 22, &good, payload), PMW_ERR_SPACE);
    assert_int_equal(pmw_frame_encode(buf, 23, &good, payload), 23);
}

/* W7, W10: 16-bit numbers, 64-bit protection. What is not in the frame is in its check. */
static void check_of_short_frames_w7(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_frame f = short_frame(PMW_DATA, 40, false);
    size_t len = encode_ok(buf, &f);
    pmw_frame_seal(buf, len, &SEED);
    assert_true(pmw_frame_check(guarded(buf, len), len, &SEED));
    struct pmw_check_seed wrong[5] = {SEED, SEED, SEED, SEED, SEED};
    wrong[0].secret ^= 1;
    wrong[1].cid ^= 1;
    wrong[2].seq += 1ull << 16;
    wrong[3].ack -= 1ull << 16;
    wrong[4].epoch += 16;
    for (size_t i = 0; i < 5; i++)
        assert_false(pmw_frame_check(buf, len, &wrong[i]));
    for (size_t bit = 0; bit < len * 8; bit++) {
        bool seeded = bit / 8 >= 2 && bit / 8 < 16; /* and byte 3 is zero, or the frame does not decode */
        bool urgent = bit / 8 == 1 && 1u << bit % 8 == PMW_F_URGENT;
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(pmw_frame_check(buf, len, &SEED), seeded || urgent);
        buf[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

/* W7, T6: through an entry and back, the check holds untouched; every index and both widths. */
static void entry_round_trip_t6(void **state)
{
    static const uint32_t indexes[] = {0, 1, 255, 256, 2047, 2048, 65535, 65536, PMW_ENTRY_INDEX_MAX};
    uint8_t buf[PMW_FRAME_BYTES_MAX], entry[PMW_ENTRY_SHORT_BYTES_MAX + UINT8_MAX + PMW_SEAL_BYTES], back[400];
    for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
        for (unsigned n = 0; n < 3; n++) {
            struct pmw_frame f = short_frame(n == 2 ? PMW_ACK : PMW_DATA, n == 0 ? 255 : 0, false);
            struct pmw_short e;
            struct pmw_any_entry any;
            f.flags |= PMW_F_URGENT;
            size_t len = encode_ok(buf, &f), at = 0;
            pmw_frame_seal(buf, len, &SEED);
            assert_true(pmw_short_of_frame(guarded(buf, len), len, &e));
            e.index = indexes[i];
            e.generation = (uint8_t)i;
            int entry_len = pmw_short_encode(entry, sizeof(entry), &e);
            assert_int_equal(entry_len, (n == 2 ? 7 : 8) + (indexes[i] > 2047) + f.payload_len + PMW_CHECK_BYTES);
            const uint8_t *in = guarded(entry, (size_t)entry_len);
            assert_int_equal(pmw_entry_next(in, (size_t)entry_len, &at, &any), 1);
            assert_int_equal(at, entry_len);
            assert_int_equal(any.kind, PMW_ENTRY_SHORT);
            assert_int_equal(any.as_short.index, indexes[i]);
            assert_int_equal(any.as_short.generation, i);
            assert_int_equal(pmw_short_to_frame(back, len - 1, &any.as_short, SEED.cid), PMW_ERR_SPACE);
            assert_int_equal(pmw_short_to_frame(back, sizeof(back), &any.as_short, SEED.cid), len);
            assert_int_equal(back[1], f.flags & ~PMW_F_URGENT);
            assert_true(pmw_frame_check(back, len, &SEED));
            for (size_t end = 1; end < (size_t)entry_len; end++) {
                at = 0;
                assert_int_equal(pmw_entry_next(guarded(entry, end), end, &at, &any), PMW_ERR_ENTRY);
            }
        }
    }
}

/* The frame may be rebuilt over the batch that the entry lies in: nothing after the entry changes. */
static void rebuilt_in_place(void **state)
{
    uint8_t batch[PMW_TRUNK_HEADER_BYTES + 64], buf[64], want[64];
    struct pmw_frame f = short_frame(PMW_DATA, 20, false);
    struct pmw_short e;
    struct pmw_any_entry any;
    size_t len = encode_ok(buf, &f), at = PMW_TRUNK_HEADER_BYTES;
    memcpy(want, buf, len);
    assert_true(pmw_short_of_frame(buf, len, &e));
    memset(batch, 0xee, sizeof(batch));
    size_t end = at + (size_t)pmw_short_encode(batch + at, 64, &e);
    assert_int_equal(pmw_entry_next(batch, end, &at, &any), 1);
    uint8_t *place = batch + (any.as_short.payload - batch) - PMW_SHORT_HEADER_BYTES;
    assert_int_equal(pmw_short_to_frame(place, (size_t)(batch + end - place), &any.as_short, SEED.cid), len);
    assert_memory_equal(place, want, len);
    assert_int_equal(batch[end], 0xee);
}

static void of_frame_refuses(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_short e;
    struct pmw_frame f = short_frame(PMW_DATA, 256, false); /* an entry's length is one byte */
    assert_false(pmw_short_of_frame(buf, encode_ok(buf, &f), &e));
    f = (struct pmw_frame){.type = PMW_DATA, .flags = PMW_F_CHECK, .payload_len = 1};
    int len = pmw_frame_encode(buf, sizeof(buf), &f, payload);
    assert_false(pmw_short_of_frame(buf, (size_t)len, &e));
    assert_false(pmw_short_of_frame(guarded(NULL, 0), 0, &e));
}

static void entry_refused(void **state)
{
    uint8_t buf[300];
    const struct pmw_short good = {.index = 2048, .payload = payload, .payload_len = 10};
    struct pmw_short bad[4] = {good, good, good, good};
    struct pmw_any_entry any;
    size_t at = 0;
    bad[0].index = PMW_ENTRY_INDEX_MAX + 1;
    bad[1].generation = 16;
    bad[2].epoch4 = 16;
    bad[3].is_ack = true;
    for (int i = 0; i < 3; i++)
        assert_int_equal(pmw_short_encode(buf, sizeof(buf), &bad[i]), PMW_ERR_LIMIT);
    assert_int_equal(pmw_short_encode(buf, sizeof(buf), &bad[3]), PMW_ERR_LENGTH);
    assert_int_equal(pmw_short_to_frame(buf, sizeof(buf), &bad[2], 1), PMW_ERR_LIMIT);
    assert_int_equal(pmw_short_to_frame(buf, sizeof(buf), &bad[3], 1), PMW_ERR_LENGTH);
    assert_int_equal(pmw_short_encode(buf, 22, &good), PMW_ERR_SPACE);
    assert_int_equal(pmw_short_encode(buf, 23, &good), 23);
    buf[1] = 0x07, buf[2] = 0xff; /* index 2047 in the wide form: there is one way to write it */
    assert_int_equal(pmw_entry_next(buf, 23, &at, &any), PMW_ERR_ENTRY);
}

int main(void)
{
    random_fill(payload, sizeof(payload));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip_w10),      cmocka_unit_test(decoder_refuses),
        cmocka_unit_test(encoder_refuses_w10), cmocka_unit_test(check_of_short_frames_w7),
        cmocka_unit_test(entry_round_trip_t6), cmocka_unit_test(rebuilt_in_place),
        cmocka_unit_test(of_frame_refuses),    cmocka_unit_test(entry_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
