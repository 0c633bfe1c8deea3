/* SPDX-License-Identifier: Apache-2.0 */
#include "ranges.h"
#include "testkit.h"

#include <string.h>

static void assert_same(const struct ranges *r, const bool *have, uint64_t size)
{
    uint32_t at = 0;
    for (uint64_t i = 0; i < size;) {
        if (!have[i]) {
            i++;
            continue;
        }
        uint64_t start = i;
        while (i < size && have[i])
            i++;
        assert_true(at < r->count);
        assert_int_equal(r->list[at].start, start);
        assert_int_equal(r->list[at].end, i);
        at++;
    }
    assert_int_equal(at, r->count);
}

/* Against a bitmap: every interval, in every order, merged or not. */
static void agrees_with_a_bitmap(void **state)
{
    enum { SIZE = 200 };
    uint64_t seed = 1;
    struct heap h;
    heap_init(&h);
    for (int round = 0; round < 300; round++) {
        struct ranges r = {.count = 0};
        bool have[SIZE] = {false};
        for (int i = 0; i < 30; i++) {
            uint64_t start = below(&seed, SIZE - 12), end = start + 1 + below(&seed, 12);
            bool all = true;
            for (uint64_t k = start; k < end; k++)
                all = all && have[k];
            assert_int_equal(vcl__ranges_contains(&r, start, end), all);
            assert_true(vcl__ranges_add(&r, &h.mem, start, end));
            memset(have + start, true, end - start);
            assert_same(&r, have, SIZE);
        }
        uint64_t from = below(&seed, SIZE), to = from;
        bool touched = true;
        while (touched) {
            touched = false;
            for (uint64_t k = 0; k < SIZE; k++) {
                if (have[k] && k <= to) {
                    have[k] = false;
                    to = k + 1 > to ? k + 1 : to;
                    touched = true;
                }
            }
        }
        assert_int_equal(vcl__ranges_consume(&r, from), to);
        assert_same(&r, have, SIZE);
        vcl__ranges_free(&r, &h.mem);
    }
    assert_int_equal(h.allocated, 0);
}

static void is_bounded(void **state)
{
    struct heap h;
    heap_init(&h);
    struct ranges r = {.count = 0};
    for (uint64_t i = 0; i < RANGES_MAX; i++)
        assert_true(vcl__ranges_add(&r, &h.mem, i * 10, i * 10 + 5));
    assert_false(vcl__ranges_add(&r, &h.mem, 100000, 100001));
    assert_int_equal(r.count, RANGES_MAX);
    assert_true(vcl__ranges_add(&r, &h.mem, 5, 10)); /* joins two: no room is needed */
    assert_int_equal(r.count, RANGES_MAX - 1);
    vcl__ranges_free(&r, &h.mem);
}

static void without_memory_nothing_changes(void **state)
{
    struct heap h;
    heap_init(&h);
    h.left = 0;
    struct ranges r = {.count = 0};
    assert_false(vcl__ranges_add(&r, &h.mem, 1, 2));
    assert_int_equal(r.count, 0);
    vcl__ranges_free(&r, &h.mem);
    assert_int_equal(h.allocated, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_a_bitmap),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
