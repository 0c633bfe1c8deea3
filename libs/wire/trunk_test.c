/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches: header, entries, padding, tag.
 */
#include "wire_test.h"

#include <string.h>

static const uint8_t KEY[16] = {1, 2, 3};

static void header_round_trip(void **state)
{
    uint8_t buf[PMW_TRUNK_BYTES_MIN] = {0}, back[PMW_TRUNK_BYTES_MIN] = {0};
    for (int i = 0; i < 500; i++) {
        struct pmw_trunk h, out;
        random_fill(&h, sizeof(h));
        h.nb_entries = (uint16_t)random_below(PMW_TRUNK_ENTRIES_MAX + 1);
        h.flags &= PMW_TRUNK_ACKS | PMW_TRUNK_CREDIT;
        if ((h.flags & PMW_TRUNK_ACKS) == 0)
            h.ack_batch = h.ack_bits = 0;
        if ((h.flags & PMW_TRUNK_CREDIT) == 0)
            h.credit = 0;
        assert_int_equal(pmw_trunk_encode(buf, sizeof(buf), &h), PMW_TRUNK_HEADER_BYTES);
        assert_int_equal(pmw_trunk_decode(guarded(buf, sizeof(buf)), sizeof(buf), &out), 0);
        assert_int_equal(out.batch_seq, h.batch_seq);
        assert_int_equal(pmw_trunk_encode(back, sizeof(back), &out), PMW_TRUNK_HEADER_BYTES);
        assert_memory_equal(buf, back, sizeof(buf));
    }
}

static void header_refused(void **state)
{
    uint8_t buf[PMW_TRUNK_BYTES_MAX + 1] = {0};
    struct pmw_trunk h = {.nb_entries = PMW_TRUNK_ENTRIES_MAX}, out;
    assert_int_equal(pmw_trunk_encode(buf, PMW_TRUNK_HEADER_BYTES - 1, &h), PMW_ERR_SPACE);
    assert_int_equal(pmw_trunk_encode(buf, sizeof(buf), &h), PMW_TRUNK_HEADER_BYTES);
    for (size_t len = 0; len < PMW_TRUNK_BYTES_MIN; len++)
        assert_int_equal(pmw_trunk_decode(guarded(buf, len), len, &out), PMW_ERR_SHORT);
    assert_int_equal(pmw_trunk_decode(buf, PMW_TRUNK_BYTES_MIN, &out), 0);
    assert_int_equal(pmw_trunk_decode(buf, PMW_TRUNK_BYTES_MAX, &out), 0);
    assert_int_equal(pmw_trunk_decode(buf, PMW_TRUNK_BYTES_MAX + 1, &out), PMW_ERR_LENGTH);
    static const uint8_t reserved[] = {0, 1, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27};
    for (size_t i = 0; i < sizeof(reserved); i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf[reserved[i]] ^= (uint8_t)(1u << bit);
            if (reserved[i] == 1 && 1u << bit <= PMW_TRUNK_CREDIT) { /* a flag that is known */
                buf[1] = 0;
                continue;
            }
            assert_true(pmw_trunk_decode(buf, PMW_TRUNK_BYTES_MIN, &out) < 0);
            buf[reserved[i]] ^= (uint8_t)(1u << bit);
        }
    }
    buf[3] = PMW_TRUNK_ENTRIES_MAX + 1;
    assert_int_equal(pmw_trunk_decode(buf, PMW_TRUNK_BYTES_MIN, &out), PMW_ERR_LIMIT);
    h.nb_entries = PMW_TRUNK_ENTRIES_MAX + 1;
    assert_int_equal(pmw_trunk_encode(buf, sizeof(buf), &h), PMW_ERR_LIMIT);
}

static size_t entry_put(uint8_t *buf, size_t at, uint8_t family, const uint8_t *frame, uint16_t frame_len)
{
    struct pmw_entry e = {.client = {.family = family, .port = 0x1234}, .frame = frame, .frame_len = frame_len};
    memset(e.client.ip, 0xab, family == 4 ? 4 : 16);
    int len = pmw_entry_encode(buf + at, PMW_TRUNK_BYTES_MAX - at, &e);
    assert_true(len > 0);
    return at + (size_t)len;
}

static void entries_round_trip(void **state)
{
    static const struct {
        uint8_t family;
        uint16_t frame_len;
    } cases[] = {{4, 1}, {6, 100}, {4, 60}, {6, 1}};
    uint8_t buf[PMW_TRUNK_BYTES_MAX], frame[100];
    random_fill(frame, sizeof(frame));
    size_t end = PMW_TRUNK_HEADER_BYTES, at = PMW_TRUNK_HEADER_BYTES;
    for (size_t i = 0; i < 4; i++)
        end = entry_put(buf, end, cases[i].family, frame, cases[i].frame_len);
    memset(buf + end, 0, 5); /* padding */
    const uint8_t *in = guarded(buf, end + 5);
    struct pmw_any_entry e;
    for (size_t i = 0; i < 4; i++) {
        struct pmw_addr client = {.family = cases[i].family, .port = 0x1234};
        memset(client.ip, 0xab, cases[i].family == 4 ? 4 : 16);
        assert_int_equal(pmw_entry_next(in, end + 5, &at, &e), 1);
        assert_true(pmw_addr_equal(&e.as_long.client, &client));
        assert_int_equal(e.as_long.frame_len, cases[i].frame_len);
        assert_memory_equal(e.as_long.frame, frame, e.as_long.frame_len);
    }
    assert_int_equal(at, end);
    assert_int_equal(pmw_entry_next(in, end + 5, &at, &e), 0);
    assert_int_equal(at, end + 5);
    assert_int_equal(pmw_entry_next(in, end + 5, &at, &e), 0);
}

/* Every truncation of one entry is an error, but for nothing at all. */
static void entry_truncated(void **state)
{
    uint8_t buf[PMW_TRUNK_BYTES_MAX], frame[30] = {1};
    struct pmw_any_entry e;
    for (uint8_t family = 4; family <= 6; family += 2) {
        size_t len = entry_put(buf, 0, family, frame, sizeof(frame)), at = 0;
        assert_int_equal(pmw_entry_next(guarded(buf, 0), 0, &at, &e), 0);
        for (size_t end = 1; end < len; end++) {
            at = 0;
            assert_int_equal(pmw_entry_next(guarded(buf, end), end, &at, &e), PMW_ERR_ENTRY);
        }
        at = 0;
        assert_int_equal(pmw_entry_next(guarded(buf, len), len, &at, &e), 1);
    }
}

static void entry_refused(void **state)
{
    uint8_t buf[2 * PMW_TRUNK_BYTES_MAX] = {0}, frame[PMW_FRAME_BYTES_BASE + 1] = {0};
    struct pmw_entry e = {.client = {.family = 4}, .frame = frame, .frame_len = 10};
    struct pmw_any_entry any;
    assert_int_equal(pmw_entry_encode(buf, 18, &e), PMW_ERR_SPACE);
    assert_int_equal(pmw_entry_encode(buf, 19, &e), 19);
    for (unsigned kind = 1; kind < 256; kind++) { /* every kind but the known ones */
        size_t at = 0;
        buf[0] = (uint8_t)kind;
        bool known = kind == PMW_ENTRY_LONG_V4 || kind == PMW_ENTRY_LONG_V6 || kind >> 6 == 2 ||
                     (kind >= PMW_ENTRY_BIND && kind <= PMW_ENTRY_NACK);
        if (!known)
            assert_int_equal(pmw_entry_next(buf, 19, &at, &any), PMW_ERR_ENTRY);
    }
    e = (struct pmw_entry){.client = {.family = 5}, .frame = frame, .frame_len = 10};
    assert_int_equal(pmw_entry_encode(buf, sizeof(buf), &e), PMW_ERR_ENTRY);
    e = (struct pmw_entry){.client = {.family = 4}, .frame = frame, .frame_len = 0};
    assert_int_equal(pmw_entry_encode(buf, sizeof(buf), &e), PMW_ERR_LIMIT);
    e.frame_len = PMW_FRAME_BYTES_BASE + 1;
    assert_int_equal(pmw_entry_encode(buf, sizeof(buf), &e), PMW_ERR_LIMIT);
    for (unsigned len = 0; len <= PMW_FRAME_BYTES_BASE + 1; len += PMW_FRAME_BYTES_BASE + 1) {
        size_t at = 0;
        memset(buf, 0, sizeof(buf));
        buf[0] = PMW_ENTRY_LONG_V4;
        buf[1] = (uint8_t)(len >> 8);
        buf[2] = (uint8_t)len;
        assert_int_equal(pmw_entry_next(buf, sizeof(buf), &at, &any), PMW_ERR_ENTRY);
    }
}

static void padding_is_zero(void **state)
{
    uint8_t pad[64] = {0};
    struct pmw_any_entry e;
    for (size_t dirty = 1; dirty < sizeof(pad); dirty++) {
        size_t at = 0;
        pad[dirty] = 1;
        assert_int_equal(pmw_entry_next(guarded(pad, sizeof(pad)), sizeof(pad), &at, &e), PMW_ERR_ENTRY);
        pad[dirty] = 0;
    }
}

static void tag_covers_every_byte(void **state)
{
    uint8_t buf[PMW_TRUNK_BYTES_MAX + 1] = {0};
    size_t lens[] = {PMW_TRUNK_BYTES_MIN, 333, PMW_TRUNK_BYTES_MAX};
    for (size_t i = 0; i < 3; i++) {
        size_t len = lens[i];
        random_fill(buf, len);
        pmw_trunk_seal(buf, len, KEY, 7);
        assert_true(pmw_trunk_check(guarded(buf, len), len, KEY, 7));
        assert_false(pmw_trunk_check(buf, len, KEY, 8));
        assert_false(pmw_trunk_check(buf, len, (const uint8_t[16]){1, 2, 4}, 7));
        assert_false(pmw_trunk_check(buf, len + 1, KEY, 7));
        assert_false(pmw_trunk_check(buf, len - 1, KEY, 7));
        for (size_t at = 0; at < len; at++) {
            buf[at] ^= 1;
            assert_false(pmw_trunk_check(buf, len, KEY, 7));
            buf[at] ^= 1;
        }
    }
    for (size_t len = 0; len < PMW_TRUNK_BYTES_MIN; len++)
        assert_false(pmw_trunk_check(guarded(buf, len), len, KEY, 7));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_round_trip),     cmocka_unit_test(header_refused), cmocka_unit_test(entries_round_trip),
        cmocka_unit_test(entry_truncated),       cmocka_unit_test(entry_refused),  cmocka_unit_test(padding_is_zero),
        cmocka_unit_test(tag_covers_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
