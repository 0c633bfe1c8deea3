/* SPDX-License-Identifier: Apache-2.0
 *
 * The idle policy as a table, and the load window.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "idle.h"
#include "stats.h"

#define NEVER UINT64_MAX

static const struct {
    enum config_idle policy;
    bool doorbell;
    uint64_t idle_us, due_us, nap_us;
} ROWS[] = {
    {CONFIG_IDLE_SLEEP, false, 0, NEVER, 0},     {CONFIG_IDLE_SLEEP, false, 49, NEVER, 0},
    {CONFIG_IDLE_SLEEP, false, 100, NEVER, 0},                                            /* 6 us: not worth it */
    {CONFIG_IDLE_SLEEP, false, 320, NEVER, 20},  {CONFIG_IDLE_SLEEP, false, 320, 15, 15}, /* a flush comes first */
    {CONFIG_IDLE_SLEEP, false, 320, 9, 0},       {CONFIG_IDLE_SLEEP, false, 1000000, NEVER, 1000},
    {CONFIG_IDLE_SLEEP, true, 4, NEVER, 0},      {CONFIG_IDLE_SLEEP, true, 5, NEVER, 10000},
    {CONFIG_IDLE_SLEEP, true, 5, 80, 80},        {CONFIG_IDLE_SLEEP, true, 5, 0, 0},
    {CONFIG_IDLE_SPIN, true, 1000000, NEVER, 0}, {CONFIG_IDLE_SPIN, false, 1000000, NEVER, 0},
};

static void test_each_row(void **state)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        uint64_t nap_us = idle_nap_us(ROWS[i].policy, ROWS[i].doorbell, ROWS[i].idle_us, ROWS[i].due_us);
        if (nap_us != ROWS[i].nap_us)
            fail_msg("row %zu: %llu", i, (unsigned long long)nap_us);
    }
}

static void test_load_is_the_busy_share_of_a_window(void **state)
{
    struct load load = {.window_us = 5000};

    load_add(&load, 5000, 255000, true);
    load_add(&load, 255000, 900000, false);
    assert_true(load.share == 0.0); /* the window is not over */
    load_add(&load, 900000, 1005000, false);
    assert_true(load.share > 0.2499 && load.share < 0.2501);
    load_add(&load, 1005000, 2005000, true);
    assert_true(load.share == 1.0);
}

static void test_every_drop_reason_has_a_key(void **state)
{
    for (int reason = 1; reason < WORKER_DROP_COUNT; reason++)
        assert_string_not_equal(worker_drop_key((enum worker_drop)reason), "none");
    assert_string_equal(worker_drop_key(WORKER_DROP_COUNT), "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row),
        cmocka_unit_test(test_load_is_the_busy_share_of_a_window),
        cmocka_unit_test(test_every_drop_reason_has_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
