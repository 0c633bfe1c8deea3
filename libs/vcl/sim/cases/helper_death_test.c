/* SPDX-License-Identifier: Apache-2.0
 * Cases: helpers that die (F2: a helper may vanish between any two instructions). */
#include "stage.h"

enum {
    MOVED_US_MAX = 50000, /* I4, docs/failure-model.md */
    STREAMS = 8,
    REQUEST_BYTES = 10 * PMW_PAYLOAD_BYTES_BASE, /* as many frames as the first window lets go */
    HERD_CLIENTS = 16,
    HERD_STREAMS = 6, /* of each client */
};

static void open_streams(struct stage *s, struct stream *k[STREAMS])
{
    for (int i = 0; i < STREAMS; i++)
        k[i] = stage_open(s, 0);
    assert_int_equal(stage_helper_id(0), stage_path(s, 0));
}

static void close_streams(struct stage *s, struct stream *k[STREAMS])
{
    for (int i = 0; i < STREAMS; i++)
        stage_close(s, k[i]);
}

/* Nobody sends when it happens: nobody hears of it (I9: no connection was lost), and the next request is answered. */
static void case_01_helper_dies_beside_idle_connections(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    open_streams(s, k);
    stage_run(s, 20000000); /* the keepalive of S12 is once in 5 s now */
    stage_helper_crash(s, 0);
    stage_run(s, 1000);
    assert_int_equal(1, stage_epoch(s, 0));
    for (int i = 0; i < STREAMS; i++)
        stage_request(s, k[i], 300, 5000);
    stage_settle(s, MOVED_US_MAX);
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    assert_int_equal(0, s->clients[0].events[VCL_EV_CONN_CLOSED] + s->server.events[VCL_EV_CONN_CLOSED]);
    close_streams(s, k);
    stage_free(s);
}

static void case_02_helper_dies_under_requests(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    open_streams(s, k);
    for (int i = 0; i < STREAMS; i++)
        stage_request(s, k[i], 300, 5000);
    stage_run(s, 75); /* requests are on their way to the server */
    stage_helper_crash(s, 0);
    stage_settle(s, MOVED_US_MAX);
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    assert_int_equal(2, stage_epoch(s, 0));
    close_streams(s, k);
    stage_free(s);
}

static bool replies_are_written(struct stage *s, void *ctx)
{
    for (uint32_t i = 0; i < s->nb_streams; i++)
        if (s->streams[i].written[SERVER] == 0)
            return false;
    return true;
}

/* The server has the requests and has answered; the answers die with the helper. S12 notices, C1 has kept them. */
static void case_03_helper_dies_with_the_replies(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    open_streams(s, k);
    for (int i = 0; i < STREAMS; i++)
        stage_request(s, k[i], REQUEST_BYTES, 700);
    stage_until(s, replies_are_written, NULL, MOVED_US_MAX, "the server has all requests");
    stage_helper_crash(s, 0);
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(0, k[i]->read[CLIENT]);
    stage_settle(s, MOVED_US_MAX);
    for (int i = 0; i < STREAMS; i++) {
        assert_int_equal(REQUEST_BYTES, k[i]->read[SERVER]); /* executed once */
        assert_int_equal(700, k[i]->read[CLIENT]);
    }
    close_streams(s, k);
    stage_free(s);
}

static bool requests_are_read(struct stage *s, void *ctx)
{
    for (uint32_t i = 0; i < s->nb_streams; i++)
        if (s->streams[i].read[SERVER] < s->streams[i].to_write[CLIENT])
            return false;
    return true;
}

/* S4: the server has all, its acknowledgements died with the helper. RESUME_ACK says so, and nothing goes again but the
 * oldest frames that tried the paths (S7). */
static void a_move_repeats_the_gap_only(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct stream *k[STREAMS];
    open_streams(s, k);
    stage_rule(s, HOST_HELPER, HOST_CLIENT, RULE_DROP);
    for (int i = 0; i < STREAMS; i++)
        stage_write(s, k[i], CLIENT, REQUEST_BYTES);
    stage_until(s, requests_are_read, NULL, MOVED_US_MAX, "the server has all requests");
    stage_helper_crash(s, 0);
    stage_run(s, 2 * MOVED_US_MAX);
    assert_int_equal(stage_helper_id(1), stage_path(s, 0));
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(0, vcl_conn_unacked(k[i]->conn[CLIENT]));
    assert_true(stage_stats(s, -1).duplicate_bytes <= STREAMS * 4 * PMW_PAYLOAD_BYTES_BASE);
    close_streams(s, k);
    stage_free(s);
}

/* K5, T2: a batch that the last process of a helper sent arrives when the server knows the next one. */
static void a_dead_incarnation_is_not_heard(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1, .no_direct = true});
    struct stream *k = stage_open(s, 0);
    struct rule_of *hold = stage_rule(s, HOST_HELPER, HOST_SERVER, RULE_HOLD);
    stage_request(s, k, 300, 300);
    stage_run(s, 200);
    assert_true(s->nb_held > 0);
    stage_rule_end(hold);
    stage_helper_crash(s, 0);
    stage_helper_restart(s, 0);
    stage_settle(s, MOVED_US_MAX);
    uint64_t refused = stage_stats(s, -1).drops[VCL_DROP_TRUNK_REPLAY], held = s->nb_held;
    stage_release(s, false);
    stage_run(s, 1000);
    assert_int_equal(refused + held, stage_stats(s, -1).drops[VCL_DROP_TRUNK_REPLAY]);
    stage_request(s, k, 300, 300);
    stage_settle(s, 2000); /* the way through the new process is what it was */
    stage_free(s);
}

static void case_19_all_helpers_die(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 3});
    struct stream *k[STREAMS];
    open_streams(s, k);
    for (int i = 0; i < STREAMS; i++)
        stage_request(s, k[i], 3000, 20000);
    stage_run(s, 200);
    for (unsigned i = 0; i < 3; i++)
        stage_helper_crash(s, i);
    uint64_t resent = stage_stats(s, 0).frames_resent + stage_stats(s, -1).frames_resent;
    /* Each dead candidate costs 3 PTO and the spacing of epochs (S7, S9): 10, 20, 40 ms and a margin of PTOs. */
    stage_settle(s, 4 * MOVED_US_MAX);
    assert_int_equal(0, stage_path(s, 0)); /* the direct one */
    resent = stage_stats(s, 0).frames_resent + stage_stats(s, -1).frames_resent - resent;
    /* I8: what was in flight goes again once, by the path that works; to dead ones go the oldest frames only (S7). */
    uint64_t frames = stage_stats(s, 0).data_frames_out + stage_stats(s, -1).data_frames_out;
    assert_true(resent <= frames);
    close_streams(s, k);
    stage_free(s);
}

/* RESUMEs that reach the server in one millisecond, at most; and in all. */
struct storm {
    uint64_t ms;
    uint32_t in_ms, worst, all;
};

static bool count_resumes(struct rule_of *r, const struct datagram *d)
{
    struct storm *storm = r->ctx;
    uint64_t ms = r->stage->world.now_us / 1000;
    storm->in_ms = ms == storm->ms ? storm->in_ms + 1 : 1;
    storm->ms = ms;
    storm->worst = storm->in_ms > storm->worst ? storm->in_ms : storm->worst;
    storm->all++;
    return false;
}

/* Clients that send twice what the server's queue takes lose their helpers together. The RESUMEs are few beside the
 * data: that is what keeps the server from drowning in them. */
static void case_20_all_helpers_die_under_overload(void **state)
{
    struct stage *s = stage_new(
        &(struct stage_options){.nb_helpers = 2, .nb_clients = HERD_CLIENTS, .receive_queue_max = HERD_CLIENTS * 2});
    struct storm storm = {0};
    s->server.engine.host->poll_us_max = 1000; /* it looks seldom, so its queue overflows */
    for (unsigned c = 0; c < HERD_CLIENTS; c++)
        for (int i = 0; i < HERD_STREAMS; i++)
            stage_open(s, c);
    for (uint32_t i = 0; i < s->nb_streams; i++)
        stage_request(s, &s->streams[i], 100000, 2000);
    stage_run(s, 5000);
    uint64_t dropped = s->world.receive_queue_drops;
    struct rule_of *spy = stage_rule(s, HOST_NONE, HOST_SERVER, RULE_DROP);
    spy->type = PMW_RESUME;
    spy->fits = count_resumes;
    spy->ctx = &storm;
    stage_helper_crash(s, 0);
    stage_helper_crash(s, 1);
    stage_settle(s, 5000000);
    uint64_t datagrams = 0;
    for (unsigned c = 0; c < HERD_CLIENTS; c++) {
        assert_int_equal(0, stage_path(s, c));
        datagrams += stage_stats(s, (int)c).datagrams_out;
    }
    assert_true(s->world.receive_queue_drops > dropped); /* it was an overload */
    assert_true(storm.all >= HERD_CLIENTS);
    assert_true(storm.worst <= 2 * HERD_CLIENTS);
    assert_true(storm.all <= 6 * HERD_CLIENTS); /* two dead helpers in turn, then the direct path, each asked twice */
    assert_true(storm.all * 10 <= datagrams);   /* below a tenth of the server's work */
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_01_helper_dies_beside_idle_connections),
        cmocka_unit_test(case_02_helper_dies_under_requests),
        cmocka_unit_test(case_03_helper_dies_with_the_replies),
        cmocka_unit_test(a_move_repeats_the_gap_only),
        cmocka_unit_test(a_dead_incarnation_is_not_heard),
        cmocka_unit_test(case_19_all_helpers_die),
        cmocka_unit_test(case_20_all_helpers_die_under_overload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
