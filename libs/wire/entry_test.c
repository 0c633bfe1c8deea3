/* SPDX-License-Identifier: Apache-2.0
 *
 * Control entries of a trunk (T6, T8), and the flags of its header (T7, O1).
 */
#include "wire_test.h"

#include <string.h>

static int next(const uint8_t *buf, size_t len, struct pmw_any_entry *out)
{
    size_t at = 0;
    int rc = pmw_entry_next(guarded(buf, len), len, &at, out);
    if (rc == 1)
        assert_int_equal(at, len);
    return rc;
}

static void assert_truncations_refused(const uint8_t *buf, size_t len)
{
    struct pmw_any_entry any;
    for (size_t shorter = 1; shorter < len; shorter++)
        assert_int_equal(next(buf, shorter, &any), PMW_ERR_ENTRY);
}

static void bind_t6(void **state)
{
    uint8_t buf[64];
    struct pmw_any_entry any;
    for (uint8_t family = 4; family <= 6; family += 2) {
        struct pmw_bind b = {.index = PMW_ENTRY_INDEX_MAX, .generation = 255, .cid = 0x1122334455667788};
        b.client = (struct pmw_addr){.family = family, .port = 4701};
        memset(b.client.ip, 0xab, family == 4 ? 4 : 16);
        size_t want = family == 4 ? 21 : PMW_ENTRY_BIND_BYTES_MAX;
        assert_int_equal(pmw_bind_encode(buf, want - 1, &b), PMW_ERR_SPACE);
        assert_int_equal(pmw_bind_encode(buf, want, &b), want);
        assert_truncations_refused(buf, want);
        assert_int_equal(next(buf, want, &any), 1);
        assert_int_equal(any.kind, PMW_ENTRY_BIND);
        assert_int_equal(any.bind.index, b.index);
        assert_int_equal(any.bind.generation, 255);
        assert_true(any.bind.cid == b.cid && pmw_addr_equal(&any.bind.client, &b.client));
        buf[2] = 0x08; /* index 524,288 */
        assert_int_equal(next(buf, want, &any), PMW_ERR_ENTRY);
        buf[2] = 0;
        buf[6] = 5;
        assert_int_equal(next(buf, want, &any), PMW_ERR_ENTRY);
        b.index++;
        assert_int_equal(pmw_bind_encode(buf, sizeof(buf), &b), PMW_ERR_LIMIT);
        b.client.family = 0;
        assert_int_equal(pmw_bind_encode(buf, sizeof(buf), &b), PMW_ERR_ENTRY);
    }
}

static void bind_refs_t6(void **state)
{
    static const enum pmw_entry_kind kinds[] = {PMW_ENTRY_BIND_ACK, PMW_ENTRY_BIND_ERR, PMW_ENTRY_UNBIND};
    uint8_t buf[8];
    struct pmw_any_entry any;
    struct pmw_bind_ref r = {.index = 0x01020304 & PMW_ENTRY_INDEX_MAX, .generation = 9};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pmw_bind_ref_encode(buf, 5, kinds[i], &r), PMW_ERR_SPACE);
        assert_int_equal(pmw_bind_ref_encode(buf, 6, kinds[i], &r), 6);
        assert_truncations_refused(buf, 6);
        assert_int_equal(next(buf, 6, &any), 1);
        assert_int_equal(any.kind, kinds[i]);
        assert_int_equal(any.ref.index, r.index);
        assert_int_equal(any.ref.generation, 9);
        buf[1] = 1;
        assert_int_equal(next(buf, 6, &any), PMW_ERR_ENTRY);
    }
    assert_int_equal(pmw_bind_ref_encode(buf, sizeof(buf), PMW_ENTRY_NACK, &r), PMW_ERR_ENTRY);
    r.index = PMW_ENTRY_INDEX_MAX + 1;
    assert_int_equal(pmw_bind_ref_encode(buf, sizeof(buf), PMW_ENTRY_UNBIND, &r), PMW_ERR_LIMIT);
}

static void nack_t8(void **state)
{
    uint8_t buf[8];
    struct pmw_any_entry any;
    struct pmw_nack n = {.first = 0xfffffff0, .count = PMW_NACK_COUNT_MAX};
    assert_int_equal(pmw_nack_encode(buf, 6, &n), PMW_ERR_SPACE);
    assert_int_equal(pmw_nack_encode(buf, 7, &n), 7);
    assert_truncations_refused(buf, 7);
    assert_int_equal(next(buf, 7, &any), 1);
    assert_int_equal(any.kind, PMW_ENTRY_NACK);
    assert_true(any.nack.first == n.first && any.nack.count == PMW_NACK_COUNT_MAX);
    buf[6] = 1; /* 257 */
    assert_int_equal(next(buf, 7, &any), PMW_ERR_ENTRY);
    buf[5] = buf[6] = 0;
    assert_int_equal(next(buf, 7, &any), PMW_ERR_ENTRY);
    n.count = 0;
    assert_int_equal(pmw_nack_encode(buf, sizeof(buf), &n), PMW_ERR_LIMIT);
    n.count = PMW_NACK_COUNT_MAX + 1;
    assert_int_equal(pmw_nack_encode(buf, sizeof(buf), &n), PMW_ERR_LIMIT);
}

/* T7, O1: a field that no flag gives a meaning is zero, both ways. */
static void header_flags(void **state)
{
    uint8_t buf[PMW_TRUNK_BYTES_MIN] = {0};
    struct pmw_trunk full = {.flags = PMW_TRUNK_ACKS | PMW_TRUNK_CREDIT,
                             .ack_batch = 0x01020304,
                             .ack_bits = 0x80000001,
                             .credit = 0xfffffffe,
                             .hold_us = 77,
                             .ce_count = 0xabcd},
                     out;
    assert_int_equal(pmw_trunk_encode(buf, sizeof(buf), &full), PMW_TRUNK_HEADER_BYTES);
    assert_int_equal(pmw_trunk_decode(buf, sizeof(buf), &out), 0);
    assert_true(out.ack_batch == full.ack_batch && out.ack_bits == full.ack_bits && out.credit == full.credit);
    assert_true(out.ce_count == full.ce_count && out.hold_us == 77 && out.flags == full.flags);
    for (uint8_t flags = 0; flags < 3; flags++) {
        struct pmw_trunk h = full;
        buf[1] = h.flags = flags;
        assert_int_equal(pmw_trunk_decode(buf, sizeof(buf), &out), PMW_ERR_RESERVED);
        assert_int_equal(pmw_trunk_encode(buf, sizeof(buf), &h), PMW_ERR_RESERVED);
    }
    full.flags = buf[1] = 4;
    assert_int_equal(pmw_trunk_decode(buf, sizeof(buf), &out), PMW_ERR_FLAGS);
    assert_int_equal(pmw_trunk_encode(buf, sizeof(buf), &full), PMW_ERR_FLAGS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bind_t6),
        cmocka_unit_test(bind_refs_t6),
        cmocka_unit_test(nack_t8),
        cmocka_unit_test(header_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
