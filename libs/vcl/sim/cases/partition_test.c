/* SPDX-License-Identifier: Apache-2.0
 * Cases: links that carry nothing, in one direction or both. */
#include "stage.h"

enum { MOVED_US_MAX = 50000 /* I4 */, SECOND_US = 1000000, HOLD_US = 2 * SECOND_US, S14_US = 10 * SECOND_US };

/* Requests are under way when something breaks. */
static struct stream *busy(struct stage *s)
{
    struct stream *k = stage_open(s, 0);
    stage_request(s, k, 2000, 20000);
    stage_settle(s, MOVED_US_MAX);
    stage_request(s, k, 2000, 20000);
    stage_run(s, 60);
    return k;
}

static void expect_move(struct stage *s, struct stream *k)
{
    stage_settle(s, MOVED_US_MAX);
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    stage_request(s, k, 2000, 20000);
    stage_settle(s, MOVED_US_MAX);
    assert_int_equal(1, s->clients[0].events[VCL_EV_PATH_MOVED]);
    stage_free(s);
}

static void case_09_nothing_passes_to_the_server(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k = busy(s);
    stage_rule(s, HOST_HELPER, HOST_SERVER, RULE_DROP);
    expect_move(s, k);
}

/* S13: arrivals prove nothing about the other direction. */
static void case_10_nothing_passes_from_the_server(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k = busy(s);
    stage_rule(s, HOST_SERVER, HOST_HELPER, RULE_DROP);
    expect_move(s, k);
}

/* S8: the helper answers, nobody behind it does. */
static void case_25_helper_is_cut_off_from_the_server(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k = busy(s);
    stage_cut(s, HOST_HELPER, HOST_SERVER, UINT32_MAX);
    uint64_t pongs = stage_relay_stats(s, 0).pongs;
    stage_settle(s, MOVED_US_MAX);
    assert_true(stage_relay_stats(s, 0).pongs > pongs);
    expect_move(s, k);
}

static void cut_client_off(struct stage *s, uint64_t us)
{
    for (unsigned host = 0; host < HOST_CLIENT; host++)
        stage_cut(s, HOST_CLIENT, host, us);
}

static void case_26_client_is_cut_off_for_5_s(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k = busy(s);
    cut_client_off(s, 5 * SECOND_US);
    stage_run(s, 5 * SECOND_US);
    assert_false(k->closed[CLIENT] || k->closed[SERVER]);
    stage_settle(s, SECOND_US + 4 * MOVED_US_MAX); /* STALLED tries all paths once a second (S7) */
    stage_close(s, k);
    stage_free(s);
}

static void short_hold(struct vcl_config *config, int client)
{
    config->hold_us = HOLD_US;
}

static bool is_reported(struct stage *s, void *ctx)
{
    const struct stream *k = ctx;
    return k->closed[CLIENT] && k->closed[SERVER];
}

/* I9: both ends hear of it, the client after T_hold (S7), the server 10 s later (S14); nothing comes back afterwards.
 */
static void case_27_client_is_cut_off_for_longer_than_t_hold(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2, .configure = short_hold});
    struct stream *k = busy(s);
    cut_client_off(s, HOLD_US + 20 * (uint64_t)SECOND_US);
    uint64_t start = s->world.now_us;
    stage_until(s, is_reported, k, HOLD_US + S14_US + 2 * SECOND_US, "both ends are told");
    assert_int_equal(VCL_ERR_TIMEOUT, k->error[CLIENT]);
    assert_int_equal(VCL_ERR_TIMEOUT, k->error[SERVER]);
    assert_true(k->closed_at_us[CLIENT] - start <= HOLD_US + 2 * SECOND_US);
    stage_run(s, 30 * (uint64_t)SECOND_US);
    assert_int_equal(1, s->server.events[VCL_EV_CONN_ACCEPTED]);
    assert_int_equal(0, stage_stats(s, -1).nb_conns);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_09_nothing_passes_to_the_server),
        cmocka_unit_test(case_10_nothing_passes_from_the_server),
        cmocka_unit_test(case_25_helper_is_cut_off_from_the_server),
        cmocka_unit_test(case_26_client_is_cut_off_for_5_s),
        cmocka_unit_test(case_27_client_is_cut_off_for_longer_than_t_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
