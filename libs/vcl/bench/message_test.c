/* SPDX-License-Identifier: Apache-2.0
 *
 * What the load generator writes down and recognises. The judge of its histories is tested in libs/cli. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "history.h"
#include "message.h"

static void a_message_is_only_itself(void **state)
{
    uint8_t m[MESSAGE_BYTES], other[MESSAGE_BYTES];
    uint32_t connection;
    uint64_t number;
    message_make(m, MESSAGE_REQUEST, 7, 1ull << 40);
    assert_true(message_read(m, MESSAGE_REQUEST, &connection, &number));
    assert_int_equal(connection, 7);
    assert_true(number == 1ull << 40);
    assert_false(message_read(m, MESSAGE_REPLY, &connection, &number));
    for (int bit = 0; bit < MESSAGE_BYTES * 8; bit++) {
        memcpy(other, m, sizeof(other));
        other[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(message_read(other, MESSAGE_REQUEST, &connection, &number));
    }
}

static void a_stream_shows_what_is_missing(void **state)
{
    uint8_t whole[4096], cut[4096];
    for (uint64_t offset = 4090; offset < 4110; offset++) {
        stream_fill(whole, sizeof(whole), offset);
        for (size_t at = 1; at < 40; at++)
            assert_int_equal(stream_check(whole + at, sizeof(whole) - at, offset + at), sizeof(whole) - at);
        assert_true(stream_check(whole, sizeof(whole), offset + 8) < 16);
        memcpy(cut, whole, 100); /* bytes 100 to 107 are lost */
        memcpy(cut + 100, whole + 108, sizeof(whole) - 108);
        assert_true(stream_check(cut, sizeof(whole) - 8, offset) < 116);
    }
}

static void runs_keep_every_number_in_its_place(void **state)
{
    static const uint64_t numbers[] = {0, 1, 2, 5, 3, 3, 4, 6};
    static const struct run expected[] = {{0, 3}, {5, 1}, {3, 1}, {3, 2}, {6, 1}};
    struct runs r = {.nb = 0};
    FILE *file = tmpfile();
    struct {
        uint32_t connection, fact;
        uint64_t first, count;
    } record;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        runs_add(&r, numbers[i]);
    r.corrupted = 9;
    assert_non_null(file);
    assert_true(runs_write(&r, file, 12, HISTORY_REPLY_RECEIVED));
    rewind(file);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_int_equal(fread(&record, sizeof(record), 1, file), 1);
        assert_int_equal(record.connection, 12);
        assert_int_equal(record.fact, HISTORY_REPLY_RECEIVED);
        assert_true(record.first == expected[i].first && record.count == expected[i].count);
    }
    assert_int_equal(fread(&record, sizeof(record), 1, file), 1);
    assert_int_equal(record.fact, HISTORY_REPLY_RECEIVED | HISTORY_CORRUPTED);
    assert_int_equal(record.count, 9);
    assert_int_equal(fread(&record, sizeof(record), 1, file), 0);
    fclose(file);
    runs_clear(&r);
}

static void runs_beyond_the_limit_are_counted(void **state)
{
    struct runs r = {.nb = 0};
    for (uint64_t i = 0; i < HISTORY_RUNS_MAX + 3; i++)
        runs_add(&r, 2 * i);
    assert_int_equal(r.nb, HISTORY_RUNS_MAX);
    assert_int_equal(r.truncated, 2);
    runs_clear(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_only_itself),
        cmocka_unit_test(a_stream_shows_what_is_missing),
        cmocka_unit_test(runs_keep_every_number_in_its_place),
        cmocka_unit_test(runs_beyond_the_limit_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
