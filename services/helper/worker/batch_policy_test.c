/* SPDX-License-Identifier: Apache-2.0
 *
 * The policy as a table: limits 1440 bytes, 128 entries, 100 us unless a row says otherwise.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "batch_policy.h"

static const struct batch_limits LIMITS = {.bytes_max = 1440, .entries_max = 128, .hold_us_max = 100};
static const struct batch_limits NO_HOLD = {.bytes_max = 1440, .entries_max = 128, .hold_us_max = 0};

static const struct {
    const char *says;
    const struct batch_limits *limits;
    struct batch_facts facts;
    enum batch_reason reason;
    uint64_t wait_us;
} ROWS[] = {
    {"nothing to send", &LIMITS, {40, 0, 0, 0, false}, BATCH_HOLD, UINT64_MAX},
    {"fresh entry waits its whole time", &LIMITS, {141, 1, 0, 0, false}, BATCH_HOLD, 100},
    {"older entry waits the rest", &LIMITS, {141, 1, 99, 0, false}, BATCH_HOLD, 1},
    {"age reached", &LIMITS, {141, 1, 100, 0, false}, BATCH_AGE, 0},
    {"age passed", &LIMITS, {141, 1, UINT64_MAX, 0, false}, BATCH_AGE, 0},
    {"hold 0 sends each entry", &NO_HOLD, {141, 1, 0, 0, false}, BATCH_AGE, 0},
    {"urgent goes at once", &LIMITS, {141, 1, 0, 0, true}, BATCH_URGENT, 0},
    {"next entry fits exactly", &LIMITS, {1300, 5, 10, 140, false}, BATCH_HOLD, 90},
    {"next entry is one byte too long", &LIMITS, {1300, 5, 10, 141, false}, BATCH_FULL, 0},
    {"room for the smallest entry is left", &LIMITS, {1429, 5, 10, 0, false}, BATCH_HOLD, 90},
    {"not even the smallest entry fits", &LIMITS, {1430, 5, 10, 0, false}, BATCH_FULL, 0},
    {"exactly full", &LIMITS, {1440, 5, 10, 0, false}, BATCH_FULL, 0},
    {"last entry number but one", &LIMITS, {600, 127, 10, 0, false}, BATCH_HOLD, 90},
    {"entry number reached", &LIMITS, {600, 128, 10, 0, false}, BATCH_COUNT, 0},
    {"full wins over urgent: only a full batch is padded", &LIMITS, {1430, 5, 10, 0, true}, BATCH_FULL, 0},
};

static void test_each_row(void **state)
{
    for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
        struct batch_verdict verdict = batch_policy_decide(ROWS[i].limits, &ROWS[i].facts);
        if (verdict.reason != ROWS[i].reason || verdict.wait_us != ROWS[i].wait_us)
            fail_msg("%s: reason %d, wait %llu", ROWS[i].says, verdict.reason, (unsigned long long)verdict.wait_us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_each_row)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
