/* SPDX-License-Identifier: Apache-2.0
 * Cases: processes that stand still or become slow, and go on. */
#include "stage.h"

enum { MOVED_US_MAX = 50000 /* I4 */, SECOND_US = 1000000, STREAMS = 8 };

static void requests(struct stage *s, struct stream *k[STREAMS], uint64_t bytes)
{
    for (int i = 0; i < STREAMS; i++)
        stage_request(s, k[i], bytes, bytes);
}

/* A zombie: its old batches arrive long after the session has moved. They are old bytes of old epochs (S6, C2). */
static void case_05_zombie_helper_flushes_old_batches(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        k[i] = stage_open(s, 0);
    requests(s, k, 5000);
    stage_run(s, 130); /* requests and replies are in it and on their way to it */
    stage_pause(s, HOST_HELPER, SECOND_US);
    stage_settle(s, MOVED_US_MAX);
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    uint32_t epoch = stage_epoch(s, 0);
    uint64_t zombie_in = stage_relay_stats(s, 0).client_frames_in, server_in = stage_stats(s, -1).trunk_batches_in;
    while (s->helpers[0].host->paused_until_us != 0) {
        requests(s, k, 1000);
        stage_settle(s, MOVED_US_MAX);
        stage_run(s, 9000);
    }
    requests(s, k, 1000);
    stage_settle(s, MOVED_US_MAX);
    assert_true(stage_relay_stats(s, 0).client_frames_in > zombie_in); /* it did send what it had ... */
    assert_true(stage_stats(s, -1).trunk_batches_in > server_in);
    assert_int_equal(epoch, stage_epoch(s, 0)); /* ... and moved nobody (I3) */
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    for (int i = 0; i < STREAMS; i++)
        stage_close(s, k[i]);
    stage_free(s);
}

/* As long as a garbage collection or a neighbour's time slice. */
static void case_06_helper_stands_still_for_10_ms(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        k[i] = stage_open(s, 0);
    requests(s, k, 1000);
    stage_run(s, 130);
    stage_pause(s, HOST_HELPER, 10000);
    stage_settle(s, MOVED_US_MAX);
    stage_run(s, SECOND_US);
    assert_true(s->clients[0].events[VCL_EV_PATH_MOVED] <= 1);
    /* I8: each connection had one frame in flight each way: it went once more, or twice (S7). */
    assert_true(stage_stats(s, 0).frames_resent + stage_stats(s, -1).frames_resent <= 4 * STREAMS);
    stage_free(s);
}

/* The path works and is 20 ms slower each way: the session may leave it for the quick one, once. */
static void case_13_slow_helper_makes_nobody_flap(void **state)
{
    for (int both = 0; both < 2; both++) { /* both: the other one is no better */
        struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2, .no_direct = true});
        struct stream *k = stage_open(s, 0);
        for (unsigned h = 0; h <= (unsigned)both; h++) {
            stage_rule(s, HOST_HELPER + h, HOST_NONE, RULE_DELAY)->delay_us = 10000;
            stage_rule(s, HOST_NONE, HOST_HELPER + h, RULE_DELAY)->delay_us = 10000;
        }
        for (int i = 0; i < 200; i++) {
            stage_request(s, k, 500, 500);
            stage_settle(s, 10 * MOVED_US_MAX);
            stage_run(s, 20000);
        }
        uint32_t moves = s->clients[0].events[VCL_EV_PATH_MOVED];
        assert_true(moves <= (both ? 3u : 1u));
        assert_true(both || moves == 0 || stage_path(s, 0) == stage_helper_id(1));
        stage_free(s);
    }
}

/* The client's process stood still: what it missed is its own fault, and its driver says so (S22). */
static void case_62_client_stall_is_no_dead_helper(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        k[i] = stage_open(s, 0);
    for (int round = 0; round < 20; round++) {
        requests(s, k, 1000);
        stage_run(s, (uint64_t)(10 * round));
        stage_pause(s, HOST_CLIENT, 40000);
        stage_settle(s, 40000 + MOVED_US_MAX);
    }
    assert_int_equal(0, s->clients[0].events[VCL_EV_PATH_SUSPECT]);
    assert_int_equal(1, stage_epoch(s, 0));
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_05_zombie_helper_flushes_old_batches),
        cmocka_unit_test(case_06_helper_stands_still_for_10_ms),
        cmocka_unit_test(case_13_slow_helper_makes_nobody_flap),
        cmocka_unit_test(case_62_client_stall_is_no_dead_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
