/* SPDX-License-Identifier: Apache-2.0
 * Cases: how connections begin, rest and end. */
#include "stage.h"

#include <string.h>

enum {
    MOVED_US_MAX = 50000, /* I4 */
    SECOND_US = 1000000,
    HOLD_US = 2 * SECOND_US,
    IDLE_US = 30 * SECOND_US,
    MANY_CLIENTS = 16,
    MANY_STREAMS = 20000, /* a million is the same fifty times, and too much memory for a unit test */
};

static void short_hold(struct vcl_config *config, int client)
{
    config->hold_us = HOLD_US;
    config->idle_us = IDLE_US;
}

/* I5: connections go after T_hold and 10 s of silence, the session after idle (S14), and all their memory with them. */
static void case_31_client_process_dies(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1, .nb_clients = 3, .configure = short_hold});
    struct stream *k[4];
    stage_close(s, stage_open(s, 0)); /* tables that stay have grown */
    stage_run(s, 20 * (uint64_t)SECOND_US);
    uint64_t before = s->server.engine.memory.live_bytes;
    for (int i = 0; i < 4; i++) {
        k[i] = stage_open(s, 1);
        stage_request(s, k[i], 2000, 200000);
    }
    struct stream *idle = stage_open(s, 2); /* nothing is in flight to it: only its client's silence tells */
    stage_run(s, 500);                      /* replies are in flight, and in buffers */
    assert_true(s->server.engine.memory.live_bytes > before);
    stage_client_crash(s, 1);
    stage_client_crash(s, 2);
    stage_run(s, HOLD_US + 12 * (uint64_t)SECOND_US);
    for (int i = 0; i < 4; i++) {
        assert_true(k[i]->closed[SERVER]); /* I9 */
        assert_int_equal(VCL_ERR_TIMEOUT, k[i]->error[SERVER]);
        vcl_conn_release(k[i]->conn[SERVER], engine_host_clock(&s->server.engine));
    }
    assert_true(idle->closed[SERVER]);
    vcl_conn_release(idle->conn[SERVER], engine_host_clock(&s->server.engine));
    stage_run(s, IDLE_US + 20 * (uint64_t)SECOND_US);
    struct vcl_stats stats = stage_stats(s, -1);
    assert_int_equal(0, stats.nb_conns);
    assert_int_equal(1, stats.nb_sessions); /* the other client's */
    assert_true(s->server.engine.memory.live_bytes <= before + 1024);
    stage_free(s);
}

/* --- FIN ----------------------------------------------------------------------------------------------------- */
struct fin_search {
    bool found;
};

static void look_for_fin(void *ctx, uint8_t *frame, size_t len)
{
    struct pmw_frame f;
    bool flow = pmw_type_of(frame, len) == PMW_DATA || pmw_type_of(frame, len) == PMW_ACK;
    if (flow && pmw_frame_decode(frame, len, &f) >= 0 && (f.flags & PMW_F_FIN) != 0)
        ((struct fin_search *)ctx)->found = true;
}

static bool has_fin(struct rule_of *r, const struct datagram *d)
{
    struct fin_search search = {false};
    stage_each_frame((struct datagram *)d, look_for_fin, &search);
    return search.found;
}

/* Once with FINs that are lost, once with FINs that come twice, once with FINs that arrive after a RESUME has moved the
 * session away. */
static void case_46_fin_is_lost_repeated_and_crosses_a_resume(void **state)
{
    static const enum rule_action actions[] = {RULE_DROP, RULE_TWICE, RULE_HOLD};
    for (int i = 0; i < 3; i++) {
        struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
        struct stream *k = stage_open(s, 0);
        stage_request(s, k, 3000, 3000);
        stage_settle(s, MOVED_US_MAX);
        struct rule_of *up = stage_rule(s, HOST_CLIENT, HOST_HELPER, actions[i]);
        struct rule_of *down = stage_rule(s, HOST_SERVER, HOST_HELPER, actions[i]);
        up->fits = down->fits = has_fin;
        up->left = down->left = actions[i] == RULE_DROP ? 2 : UINT32_MAX;
        stage_write(s, k, CLIENT, 500); /* the last bytes go with the FIN or before it */
        stage_write(s, k, SERVER, 500);
        stage_shutdown(s, k, CLIENT);
        stage_shutdown(s, k, SERVER);
        if (actions[i] == RULE_HOLD) {
            stage_run(s, 300);
            assert_true(s->nb_held >= 1);
            stage_hint(s, 0, VCL_HINT_DRAIN); /* the session moves; FIN goes again by the new path */
            stage_settle(s, 2 * MOVED_US_MAX);
            assert_int_equal(stage_helper_id(1), stage_path(s, 0));
            stage_release(s, true);
        }
        stage_close(s, k);
        assert_true(up->hits >= 1 && down->hits >= 1);
        stage_run(s, SECOND_US); /* copies meet the tombstone (C7) */
        assert_int_equal(1, s->server.events[VCL_EV_CONN_ACCEPTED]);
        assert_int_equal(1, s->server.events[VCL_EV_CONN_CLOSED]);
        assert_int_equal(1, s->clients[0].events[VCL_EV_CONN_CLOSED]);
        stage_free(s);
    }
}

/* --- OPEN ---------------------------------------------------------------------------------------------------- */
/* S2: the copy is the same OPEN, whichever helper brings it, early or late. */
static void case_47_open_arrives_through_two_helpers(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 2});
    struct pmw_addr other = host_addr(HOST_HELPER + 1, 4, PORT_HELPER_CLIENTS);
    struct rule_of *hold = stage_rule(s, HOST_CLIENT, HOST_HELPER, RULE_HOLD);
    hold->type = PMW_OPEN;
    struct stream *k = stage_open_start(s, 0);
    stage_run(s, 100);
    assert_int_equal(1, s->nb_held);
    stage_rule_end(hold);
    struct datagram open = *s->held[0];
    stage_inject(s, &open.from, &other, open.bytes, open.len);
    stage_release(s, false);
    stage_run(s, 100000);
    stage_inject(s, &open.from, &other, open.bytes, open.len);
    stage_run(s, 100000);
    assert_true(k->opened);
    assert_non_null(k->conn[SERVER]);
    assert_int_equal(1, s->server.events[VCL_EV_CONN_ACCEPTED]);
    assert_int_equal(1, stage_stats(s, -1).nb_conns);
    assert_int_equal(stage_helper_id(0), stage_path(s, 0));
    stage_request(s, k, 3000, 3000);
    stage_settle(s, MOVED_US_MAX);
    stage_close(s, k);
    stage_free(s);
}

/* --- rest ---------------------------------------------------------------------------------------------------- */
static void few_buffers(struct vcl_config *config, int client)
{
    config->conns_max = MANY_STREAMS + 1;
    config->backlog_max = MANY_STREAMS;
}

/* What a dead helper costs idle connections is bounded by the number of sessions: one move each, found by the keepalive
 * (S12), which lists no connection (S4: nothing is in flight). Memory stays flat. */
static void case_64_helper_dies_beside_very_many_idle_connections(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){
        .nb_helpers = 2, .nb_clients = MANY_CLIENTS, .streams_max = MANY_STREAMS, .configure = few_buffers});
    for (unsigned i = 0; i < MANY_STREAMS; i++) {
        stage_open_start(s, i % MANY_CLIENTS);
        if (i % 200 == 199)
            stage_run(s, 2000);
    }
    stage_run(s, 20 * (uint64_t)SECOND_US);
    assert_int_equal(MANY_STREAMS, s->server.events[VCL_EV_CONN_ACCEPTED]);
    uint64_t bytes = s->server.engine.memory.live_bytes, sent = 0, resumes = 0;
    for (unsigned c = 0; c < MANY_CLIENTS; c++)
        sent += s->sent_from[HOST_CLIENT + c];
    stage_helper_crash(s, 0);
    stage_run(s, 4000); /* less than a keepalive of some: no timer of a connection fires */
    stage_run(s, 10 * (uint64_t)SECOND_US);
    for (unsigned c = 0; c < MANY_CLIENTS; c++) {
        sent -= s->sent_from[HOST_CLIENT + c];
        resumes += stage_stats(s, (int)c).resumes_sent;
        assert_int_equal(stage_helper_id(1), stage_path(s, c));
    }
    assert_true(resumes <= 2 * MANY_CLIENTS);
    assert_true(0 - sent <= 20 * MANY_CLIENTS); /* probes, RESUMEs and keepalives */
    assert_true(s->server.engine.memory.live_bytes <= bytes + 1024 * MANY_CLIENTS);
    stage_request(s, &s->streams[17], 300, 300);
    stage_settle(s, MOVED_US_MAX);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_31_client_process_dies),
        cmocka_unit_test(case_46_fin_is_lost_repeated_and_crosses_a_resume),
        cmocka_unit_test(case_47_open_arrives_through_two_helpers),
        cmocka_unit_test(case_64_helper_dies_beside_very_many_idle_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
