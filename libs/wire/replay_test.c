/* SPDX-License-Identifier: Apache-2.0
 *
 * The replay window as numbered steps (T2), and what it says of the last 32 (T7).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postman/replay.h"

static const struct {
    uint64_t seq;
    bool is_new;
} STEPS[] = {
    /*  1 */ {0, false}, /* numbers start at 1 */
    /*  2 */ {1, true},
    /*  3 */ {1, false},
    /*  4 */ {9, true}, /* a gap */
    /*  5 */ {5, true}, /* inside the gap */
    /*  6 */ {5, false},
    /*  7 */ {1023, true},
    /*  8 */ {2, true}, /* 1021 back: within the window */
    /*  9 */ {1026, true},
    /* 10 */ {3, true},  /* exactly 1023 back */
    /* 11 */ {2, false}, /* 1024 back: too old to know */
    /* 12 */ {4, true},
    /* 13 */ {1025, true},
    /* 14 */ {2100, true}, /* more than a whole window ahead: all bits forgotten */
    /* 15 */ {2099, true},
    /* 16 */ {1077, true}, /* the oldest of the window, never seen */
    /* 17 */ {1076, false},
    /* 18 */ {UINT64_C(1) << 40, true},
    /* 19 */ {UINT64_C(1) << 40, false},
    /* 20 */ {(UINT64_C(1) << 40) - 1, true},
    /* 21 */ {2100, false},
};

static void refuses_what_it_saw(void **state)
{
    struct pmw_replay window = {0};

    for (size_t i = 0; i < sizeof(STEPS) / sizeof(STEPS[0]); i++) {
        bool is_new = pmw_replay_is_new(&window, STEPS[i].seq);
        if (is_new != STEPS[i].is_new)
            fail_msg("step %zu: new = %d", i + 1, is_new);
        if (is_new)
            pmw_replay_mark(&window, STEPS[i].seq);
    }
}

static void asking_changes_nothing(void **state)
{
    struct pmw_replay window = {0};

    assert_true(pmw_replay_is_new(&window, 7));
    assert_true(pmw_replay_is_new(&window, 7));
    pmw_replay_mark(&window, 7);
    assert_false(pmw_replay_is_new(&window, 7));
}

static void what_is_too_old_was_not_seen(void **state)
{
    struct pmw_replay window = {0};

    pmw_replay_mark(&window, 1);
    pmw_replay_mark(&window, PMW_REPLAY_WINDOW);
    assert_true(pmw_replay_has_seen(&window, 1));
    pmw_replay_mark(&window, PMW_REPLAY_WINDOW + 1);
    assert_false(pmw_replay_has_seen(&window, 1));
    assert_false(pmw_replay_has_seen(&window, PMW_REPLAY_WINDOW + 2)); /* above the highest */
}

/* T7: against the window asked number by number, at every place in its words. */
static void the_last_32_as_bits(void **state)
{
    struct pmw_replay window = {0};
    uint64_t seq = 0;

    for (uint32_t random = 1; seq < 5000; random = random * 1664525 + 1013904223) {
        uint32_t bits = 0;
        seq += 1 + (random >> 30);
        pmw_replay_mark(&window, seq);
        for (uint64_t i = 0; i < 32 && i + 1 < seq; i++)
            bits |= (uint32_t)!pmw_replay_is_new(&window, seq - 1 - i) << i;
        assert_int_equal(pmw_replay_ack_bits(&window), bits);
        assert_true(pmw_replay_has_seen(&window, seq));
        assert_int_equal(pmw_replay_has_seen(&window, seq - 1), seq > 1 && (bits & 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_it_saw),
        cmocka_unit_test(asking_changes_nothing),
        cmocka_unit_test(what_is_too_old_was_not_seen),
        cmocka_unit_test(the_last_32_as_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
