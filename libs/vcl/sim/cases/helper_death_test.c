/* SPDX-License-Identifier: Apache-2.0
 * Cases: helpers that die. */
#include "stage.h"

enum { MOVED_US_MAX = 50000 /* docs/failure-model.md */ };

/* SIGKILL with requests in flight: nothing is lost, and the client is back by the other helper in time. */
static void case_02_helper_dies_under_requests(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[8];
    for (int i = 0; i < 8; i++)
        k[i] = stage_open(s, 0);
    assert_int_equal(stage_helper_id(0), stage_path(s, 0));
    for (int i = 0; i < 8; i++)
        stage_request(s, k[i], 300, 5000);
    stage_run(s, 75); /* requests are on their way to the helper */
    stage_helper_crash(s, 0);
    stage_settle(s, MOVED_US_MAX);
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    assert_int_equal(2, stage_epoch(s, 0));
    for (int i = 0; i < 8; i++)
        stage_close(s, k[i]);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_02_helper_dies_under_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
