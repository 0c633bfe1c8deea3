/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay window as numbered steps on one sender (T2), and the decoding of truncated numbers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "replay.h"

static const struct {
    uint32_t incarnation;
    uint64_t seq;
    bool is_new;
} STEPS[] = {
    /*  1 */ {1, 0, true}, /* a sender may start at 0 */
    /*  2 */ {1, 0, false},
    /*  3 */ {1, 1, true},
    /*  4 */ {1, 1, false},
    /*  5 */ {1, 9, true}, /* a gap */
    /*  6 */ {1, 5, true}, /* inside the gap */
    /*  7 */ {1, 5, false},
    /*  8 */ {1, 1023, true},
    /*  9 */ {1, 2, true}, /* 1021 back: within the window */
    /* 10 */ {1, 1026, true},
    /* 11 */ {1, 3, true},  /* exactly 1023 back */
    /* 12 */ {1, 2, false}, /* 1024 back: too old to know */
    /* 13 */ {1, 1025, true},
    /* 14 */ {1, 2100, true}, /* more than a whole window ahead: all bits forgotten */
    /* 15 */ {1, 2099, true},
    /* 16 */ {1, 1077, true}, /* the oldest of the window, never seen */
    /* 17 */ {1, 1076, false},
    /* 18 */ {2, 1, true}, /* the sender restarted */
    /* 19 */ {2, 1, false},
    /* 20 */ {1, 2200, false}, /* its earlier life has ended */
    /* 21 */ {2, UINT64_C(1) << 40, true},
    /* 22 */ {2, UINT64_C(1) << 40, false},
    /* 23 */ {2, (UINT64_C(1) << 40) - 1, true},
    /* 24 */ {2, 2, false},
};

static void test_each_step(void **state)
{
    struct replay window = {0};

    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        bool is_new = replay_is_new(&window, STEPS[i].incarnation, STEPS[i].seq);
        if (is_new != STEPS[i].is_new)
            fail_msg("step %zu: new = %d", i + 1, is_new);
        if (is_new)
            replay_mark(&window, STEPS[i].incarnation, STEPS[i].seq);
    }
}

static void test_asking_changes_nothing(void **state)
{
    struct replay window = {0};

    assert_true(replay_is_new(&window, 1, 7));
    assert_true(replay_is_new(&window, 1, 7));
    replay_mark(&window, 1, 7);
    assert_false(replay_is_new(&window, 1, 7));
}

static void test_decodes_near_the_highest(void **state)
{
    struct replay window = {0};

    assert_true(replay_decode(&window, 1, 5) == 5);
    replay_mark(&window, 1, UINT64_C(0x1fffffffe));
    assert_true(replay_decode(&window, 1, 0xffffffff) == UINT64_C(0x1ffffffff));
    assert_true(replay_decode(&window, 1, 3) == UINT64_C(0x200000003)); /* past a 2^32 boundary */
    assert_true(replay_decode(&window, 1, 0xfffffff0) == UINT64_C(0x1fffffff0));
    assert_true(replay_decode(&window, 2, 3) == 3); /* another incarnation starts over */
}

/* T7: against the window asked number by number, at every place in its words. */
static void test_the_last_32_as_bits(void **state)
{
    struct replay window = {0};
    uint64_t seq = 0;

    for (uint32_t random = 1; seq < 5000; random = random * 1664525 + 1013904223) {
        uint32_t bits = 0;
        seq += 1 + (random >> 30);
        replay_mark(&window, 1, seq);
        for (uint64_t i = 0; i < 32 && i + 1 < seq; i++)
            bits |= (uint32_t)!replay_is_new(&window, 1, seq - 1 - i) << i;
        assert_int_equal(replay_ack_bits(&window), bits);
        assert_true(replay_has_seen(&window, seq));
        assert_int_equal(replay_has_seen(&window, seq - 1), seq > 1 && (bits & 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_step),
        cmocka_unit_test(test_asking_changes_nothing),
        cmocka_unit_test(test_decodes_near_the_highest),
        cmocka_unit_test(test_the_last_32_as_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
