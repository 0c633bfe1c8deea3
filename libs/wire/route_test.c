/* SPDX-License-Identifier: Apache-2.0
 *
 * What a helper reads of a C-frame (W9), and the names of things.
 */
#include "wire_test.h"

#include <string.h>

static void type_of(void **state)
{
    static const bool known[32] = {
        [PMW_DATA] = true,           [PMW_ACK] = true,           [PMW_OPEN] = true,  [PMW_OPEN_COOKIE] = true,
        [PMW_OPEN_ACK] = true,       [PMW_RESUME] = true,        [PMW_PROBE] = true, [PMW_RESUME_ACK] = true,
        [PMW_PATH_CHALLENGE] = true, [PMW_PATH_RESPONSE] = true, [PMW_BUSY] = true,  [PMW_STATELESS_RESET] = true,
        [PMW_PONG] = true,           [PMW_RESET] = true,         [PMW_ECHO] = true,  [PMW_REFUSED] = true,
        [PMW_TRUNK] = true,
    };
    for (unsigned first = 0; first < 256; first++) {
        uint8_t byte = (uint8_t)first;
        unsigned type = first & 0x1f;
        int expected = first >> 5 != PMW_VERSION ? PMW_ERR_VERSION : known[type] ? (int)type : PMW_ERR_TYPE;
        assert_int_equal(pmw_type_of(guarded(&byte, 1), 1), expected);
        assert_int_equal(strcmp(pmw_type_name((int)type), "UNKNOWN") != 0, known[type]);
    }
    assert_int_equal(pmw_type_of(guarded(NULL, 0), 0), PMW_ERR_SHORT);
}

static void session_scope(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_route r;
    struct pmw_open open = {.session_id = 0x0102030405060708, .server_id = 0xabcd, .shard = 7};
    size_t len = (size_t)pmw_open_encode(buf, sizeof(buf), &open);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(r.session_scope && r.id == open.session_id && r.type == PMW_OPEN);
    assert_int_equal(r.server_id, 0xabcd);
    assert_int_equal(r.shard, 7);

    struct pmw_resume resume = {.session_id = 11, .server_id = 12, .helper_id = 13, .shard = 14, .nb_conns = 2};
    len = (size_t)pmw_resume_encode(buf, sizeof(buf), &resume);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(r.session_scope && r.id == 11 && r.type == PMW_RESUME);
    assert_int_equal(r.server_id, 12);
    assert_int_equal(r.shard, 14);

    struct pmw_probe probe = {
        .session_id = 21, .server_id = 22, .helper_id = 23, .shard = 24, .bytes = PMW_PROBE_BYTES};
    len = (size_t)pmw_probe_encode(buf, sizeof(buf), PMW_PROBE, &probe);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(r.session_scope && r.id == 21 && r.type == PMW_PROBE);
    assert_int_equal(r.server_id, 22);
    assert_int_equal(r.shard, 24);

    struct pmw_path path = {.session_id = 31, .server_id = 32, .helper_id = 33, .shard = 34}; /* W9 */
    len = (size_t)pmw_path_encode(buf, sizeof(buf), PMW_PATH_RESPONSE, &path);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(r.session_scope && r.id == 31 && r.type == PMW_PATH_RESPONSE);
    assert_int_equal(r.server_id, 32);
    assert_int_equal(r.shard, 34);
}

static void connection_scope(void **state)
{
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    struct pmw_route r;
    struct pmw_frame f = {.type = PMW_DATA, .flags = PMW_F_CHECK | PMW_F_URGENT, .cid = 0x8899aabbccddeeff};
    size_t len = (size_t)pmw_frame_encode(buf, sizeof(buf), &f, NULL);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_false(r.session_scope);
    assert_true(r.id == f.cid);
    assert_int_equal(r.flags, f.flags);

    struct pmw_busy busy = {.cid = 41};
    len = (size_t)pmw_busy_encode(buf, sizeof(buf), &busy);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(!r.session_scope && r.id == 41);

    struct pmw_stateless_reset gone = {.cid = 51};
    len = (size_t)pmw_stateless_reset_encode(buf, sizeof(buf), &gone);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(!r.session_scope && r.id == 51);

    f.flags |= PMW_F_SHORT, f.window = PMW_WINDOW_SILENT; /* W10 */
    len = (size_t)pmw_frame_encode(buf, sizeof(buf), &f, NULL);
    assert_int_equal(len, PMW_SHORT_HEADER_BYTES + PMW_CHECK_BYTES);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(!r.session_scope && r.id == f.cid);
    assert_int_equal(pmw_route_decode(guarded(buf, len - 1), len - 1, &r), PMW_ERR_SHORT);

    struct pmw_reset reset = {.cid = 31};
    len = (size_t)pmw_reset_encode(buf, sizeof(buf), &reset);
    assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), 0);
    assert_true(!r.session_scope && r.id == 31);
}

static void lengths(void **state)
{
    static const struct {
        uint8_t type;
        size_t len_min, len_max;
    } shapes[] = {
        {PMW_DATA, 28, PMW_FRAME_BYTES_MAX},
        {PMW_ACK, 28, PMW_FRAME_BYTES_MAX},
        {PMW_OPEN, 136, 136},
        {PMW_OPEN_COOKIE, 56, 56},
        {PMW_OPEN_ACK, 76, 76},
        {PMW_PATH_CHALLENGE, 48, 48},
        {PMW_PATH_RESPONSE, 48, 48},
        {PMW_BUSY, 24, 24},
        {PMW_STATELESS_RESET, 28, 28},
        {PMW_RESUME, 48, PMW_FRAME_BYTES_MAX},
        {PMW_RESUME_ACK, 52, PMW_FRAME_BYTES_MAX},
        {PMW_PROBE, 48, PMW_FRAME_BYTES_MAX},
        {PMW_PONG, 48, 48},
        {PMW_RESET, 44, 44},
        {PMW_ECHO, 48, 48},
        {PMW_REFUSED, 44, 44},
    };
    uint8_t buf[PMW_FRAME_BYTES_MAX + 2] = {0};
    struct pmw_route r;
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        buf[0] = PMW_FIRST_BYTE(shapes[i].type);
        for (size_t len = 1; len < sizeof(buf); len++) {
            int expected = len < shapes[i].len_min ? PMW_ERR_SHORT : len > shapes[i].len_max ? PMW_ERR_LENGTH : 0;
            assert_int_equal(pmw_route_decode(guarded(buf, len), len, &r), expected);
        }
    }
    buf[0] = PMW_FIRST_BYTE(PMW_TRUNK); /* a batch is no C-frame */
    assert_int_equal(pmw_route_decode(buf, PMW_TRUNK_BYTES_MIN, &r), PMW_ERR_TYPE);
}

static void error_texts(void **state)
{
    assert_string_equal(pmw_error_text(PMW_ERR_SHORT), "truncated");
    assert_string_equal(pmw_error_text(PMW_ERR_SPACE), "output buffer too small");
    assert_string_equal(pmw_error_text(0), "ok");
    assert_string_equal(pmw_error_text(120), "ok");
    assert_string_equal(pmw_error_text(-1000), "unknown error");
}

static void addresses(void **state)
{
    struct pmw_addr a = {.ip = {198, 18, 0, 1}, .port = 4701, .family = 4}, b = a;
    assert_true(pmw_addr_equal(&a, &b));
    b.port++;
    assert_false(pmw_addr_equal(&a, &b));
    b = a;
    b.ip[15] = 1;
    assert_false(pmw_addr_equal(&a, &b));
    b = a;
    b.family = 6;
    assert_false(pmw_addr_equal(&a, &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_of), cmocka_unit_test(session_scope), cmocka_unit_test(connection_scope),
        cmocka_unit_test(lengths), cmocka_unit_test(error_texts),   cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
