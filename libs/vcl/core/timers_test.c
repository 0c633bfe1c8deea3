/* SPDX-License-Identifier: Apache-2.0 */
#include "testkit.h"
#include "timers.h"

enum { NB = 500 };

static uint64_t earliest(const struct timer *t)
{
    uint64_t at = UINT64_MAX;
    for (int i = 0; i < NB; i++)
        if (t[i].index != 0 && t[i].at < at)
            at = t[i].at;
    return at;
}

static void pops_in_order(void **state)
{
    uint64_t seed = 5, now = 0;
    struct heap h;
    struct timers heap;
    static struct timer t[NB];
    heap_init(&h);
    vcl__timers_init(&heap, &h.mem);
    for (int i = 0; i < NB; i++)
        assert_int_equal(vcl__timers_reserve(&heap), 0);
    for (int i = 0; i < 50000; i++) {
        struct timer *one = &t[below(&seed, NB)];
        uint64_t op = below(&seed, 8);
        if (op < 5)
            vcl__timers_arm(&heap, one, now + below(&seed, 1000));
        else if (op == 5)
            vcl__timers_disarm(&heap, one);
        assert_int_equal(vcl__timers_next(&heap), earliest(t));
        if (op < 6)
            continue;
        now += below(&seed, 30);
        uint64_t last = 0;
        struct timer *due;
        while ((due = vcl__timers_pop_due(&heap, now)) != NULL) {
            assert_true(due->at >= last && due->at <= now);
            last = due->at;
        }
        assert_true(earliest(t) > now);
    }
    vcl__timers_free(&heap);
    assert_int_equal(h.allocated, 0);
}

static void arming_only_moves_earlier(void **state)
{
    struct heap h;
    struct timers heap;
    struct timer t = {.at = 0};
    heap_init(&h);
    vcl__timers_init(&heap, &h.mem);
    assert_int_equal(vcl__timers_reserve(&heap), 0);
    vcl__timers_arm(&heap, &t, 100);
    vcl__timers_arm(&heap, &t, 200);
    assert_int_equal(vcl__timers_next(&heap), 100);
    vcl__timers_arm(&heap, &t, 50);
    assert_int_equal(vcl__timers_next(&heap), 50);
    vcl__timers_arm(&heap, &t, UINT64_MAX);
    assert_null(vcl__timers_pop_due(&heap, 49));
    assert_ptr_equal(vcl__timers_pop_due(&heap, 50), &t);
    assert_int_equal(vcl__timers_next(&heap), UINT64_MAX);
    vcl__timers_free(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pops_in_order),
        cmocka_unit_test(arming_only_moves_earlier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
