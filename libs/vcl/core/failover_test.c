/* SPDX-License-Identifier: Apache-2.0
 *
 * Helpers die, in every way and at every moment; the streams do not notice (S1-S14). Time is virtual: the bounds
 * asserted here are exact, not measurements.
 */
#include "testkit.h"
#include "testnet.h"

#include <limits.h>
#include <string.h>

enum { MS = 1000, SECOND = 1000000, RECOVERY_US_MAX = 50 * MS };

static struct vcl_session_info info_of(const struct vcl_session *s)
{
    struct vcl_session_info i;
    vcl_session_info(s, &i);
    return i;
}

static void start(struct testnet *n, int nb_relays, struct vcl_conn **c, struct vcl_conn **s)
{
    testnet_init(n, nb_relays);
    testnet_start(n);
    testnet_open(n, c, s);
}

/* Runs until `to` has read len bytes from offset; returns when. */
static uint64_t read_until(struct testnet *n, struct vcl_conn *to, uint64_t offset, uint64_t len, uint8_t salt)
{
    uint64_t got = 0, until = n->now + 100 * (uint64_t)SECOND;
    while (got < len) {
        assert_true(n->now < until);
        testnet_run(n, n->now + 100);
        got += testnet_read(n, to, offset + got, salt);
    }
    assert_int_equal(got, len);
    return n->now;
}

static void through_a_helper(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    assert_int_equal(info_of(n.session).active_helper_id, 100);
    for (uint64_t at = 0; at < 300000; at += 3000) {
        testnet_write(&n, c, at, 3000, 1);
        read_until(&n, s, at, 3000, 1);
        testnet_write(&n, s, at, 3000, 2);
        read_until(&n, c, at, 3000, 2);
    }
    struct vcl_stats st;
    vcl_engine_stats(n.server, &st);
    assert_true(st.trunk_batches_in > 100 && st.trunk_batches_out > 100);
    assert_int_equal(st.frames_resent, 0);
    struct vcl_conn_info ci;
    vcl_conn_info(s, &ci);
    assert_int_equal(ci.helper_id, 100);
    assert_memory_equal(ci.peer.ip, n.client_addr.ip, 4);
    testnet_stop(&n);
}

static void dies_with_a_request_in_flight(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    n.relays[0].dead = true;
    uint64_t killed = n.now;
    testnet_write(&n, c, 0, 20000, 1);
    assert_true(read_until(&n, s, 0, 20000, 1) - killed <= RECOVERY_US_MAX);
    testnet_run(&n, n.now + 10 * MS);
    assert_int_equal(vcl_conn_unacked(c), 0);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    assert_int_equal(info_of(n.session).epoch, 2);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_PATH_SUSPECT), 1);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_PATH_MOVED), 1);
    testnet_stop(&n);
}

/* S12: the client has nothing in flight; only the server's reply was lost. */
static void dies_before_the_reply(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    testnet_write(&n, c, 0, 100, 1);
    read_until(&n, s, 0, 100, 1);
    testnet_run(&n, n.now + 2 * MS);
    assert_int_equal(vcl_conn_unacked(c), 0);
    n.relays[0].dead = true;
    uint64_t killed = n.now;
    testnet_write(&n, s, 0, 5000, 2);
    assert_true(read_until(&n, c, 0, 5000, 2) - killed <= RECOVERY_US_MAX);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    testnet_stop(&n);
}

/* A push after long silence: found by the keepalive. */
static void dies_while_all_is_quiet(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    testnet_run(&n, n.now + 60 * SECOND);
    n.relays[0].dead = true;
    uint64_t killed = n.now;
    testnet_write(&n, s, 0, 500, 2);
    assert_true(read_until(&n, c, 0, 500, 2) - killed <= 5 * SECOND + RECOVERY_US_MAX);
    testnet_stop(&n);
}

/* S13: the server's stream keeps arriving, yet nothing of ours gets through. */
static void dies_in_one_direction(void **state)
{
    for (int to_server = 0; to_server < 2; to_server++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 2, &c, &s);
        n.relays[0].dead_to_server = to_server;
        n.relays[0].dead_to_client = !to_server;
        testnet_write(&n, s, 0, 200000, 2);
        testnet_write(&n, c, 0, 10000, 1);
        uint64_t cut = n.now;
        assert_true(read_until(&n, s, 0, 10000, 1) - cut <= RECOVERY_US_MAX);
        read_until(&n, c, 0, 200000, 2);
        assert_int_equal(info_of(n.session).active_helper_id, 101);
        testnet_stop(&n);
    }
}

static void both_helpers_die(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    testnet_write(&n, c, 0, 1000, 1);
    n.relays[0].dead = true;
    testnet_run(&n, n.now + 5 * MS);
    n.relays[1].dead = true;
    testnet_write(&n, c, 1000, 1000, 1);
    uint64_t killed = n.now;
    assert_true(read_until(&n, s, 0, 2000, 1) - killed <= 2 * RECOVERY_US_MAX);
    assert_int_equal(info_of(n.session).active_helper_id, 0);
    testnet_stop(&n);
}

/* Every path dies and comes back: STALLED, then on, and nothing is lost (S7). */
static void everything_dies_for_a_while(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 2);
    n.peer.nb_paths = 2; /* no direct path */
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    n.relays[0].dead = n.relays[1].dead = true;
    testnet_write(&n, c, 0, 3000, 1);
    testnet_write(&n, s, 0, 3000, 2);
    testnet_run(&n, n.now + 10 * SECOND);
    assert_int_equal(info_of(n.session).state, VCL_PATH_STALLED);
    assert_true(testnet_count(n.client_events, n.nb_client_events, VCL_EV_PATHS_WANTED) >= 1);
    assert_in_range(info_of(n.session).epoch, 5, 11); /* S22: nobody answers, so one each second */
    n.relays[1].dead = false;
    read_until(&n, s, 0, 3000, 1);
    read_until(&n, c, 0, 3000, 2);
    assert_int_equal(info_of(n.session).state, VCL_PATH_ACTIVE);
    testnet_stop(&n);
}

static void everything_dies_for_good(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 1, &c, &s);
    testnet_write(&n, c, 0, 1000, 1);
    read_until(&n, s, 0, 1000, 1);
    n.filter = NULL;
    n.relays[0].dead = true;
    vcl_session_set_paths(n.session, n.now, n.peer.paths, 1);
    testnet_write(&n, c, 1000, 3000, 1);
    testnet_write(&n, s, 0, 3000, 2);
    testnet_run(&n, n.now + 59 * SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    testnet_run(&n, n.now + 2 * SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_TIMEOUT);
    assert_int_equal(vcl_conn_error(s), VCL_OK); /* S14: later than the client, whatever it has in flight */
    assert_int_equal(info_of(n.session).state, VCL_PATH_DEAD);
    testnet_run(&n, n.now + 10 * SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT); /* S14 */
    vcl_conn_release(c, n.now);
    n.relays[0].dead = false; /* the session starts over */
    testnet_open(&n, &c, &s);
    assert_int_equal(info_of(n.session).epoch, 1);
    testnet_stop(&n);
}

/* S14, C7: the path works again when the client has given up. Its tombstone says so; without one it says nothing, and
 * above all answers no challenge, so that the server hears of it in time. */
static void comes_back_too_late(void **state)
{
    for (int tombstone = 0; tombstone < 2; tombstone++) {
        struct testnet n;
        struct vcl_conn *c, *s;
        testnet_init(&n, 1);
        n.peer.nb_paths = 1; /* no direct path */
        if (!tombstone)
            n.client_config.tombstone_us = SECOND;
        testnet_start(&n);
        testnet_open(&n, &c, &s);
        testnet_write(&n, c, 0, 1000, 1);
        read_until(&n, s, 0, 1000, 1);
        n.relays[0].dead_to_client = true; /* the server knows the epoch of the last try */
        testnet_write(&n, s, 0, 3000, 2);
        testnet_run(&n, n.now + 67 * SECOND);
        assert_int_equal(vcl_conn_error(c), VCL_ERR_TIMEOUT);
        assert_int_equal(vcl_conn_error(s), VCL_OK);
        n.relays[0].dead_to_client = false;
        testnet_run(&n, n.now + SECOND);
        assert_int_equal(vcl_conn_error(s), tombstone ? VCL_ERR_RESET : VCL_OK);
        testnet_run(&n, n.now + 65 * SECOND);
        assert_int_equal(vcl_conn_error(s), tombstone ? VCL_ERR_RESET : VCL_ERR_TIMEOUT);
        testnet_stop(&n);
    }
}

static int type_of(const struct flight *f)
{
    int type = pmw_type_of(f->bytes, f->len);
    return type == PMW_TRUNK ? pmw_type_of(f->bytes + PMW_TRUNK_HEADER_BYTES + PMW_ENTRY_LONG_V4_BYTES, 1) : type;
}

struct lose {
    int type, skip, nb;
};

static enum verdict lose_some(struct testnet *n, struct flight *f)
{
    struct lose *l = n->filter_ctx;
    if (type_of(f) != l->type || l->skip-- > 0)
        return DELIVER;
    return l->nb-- > 0 ? DROP : DELIVER;
}

/* S14: no RESET of the client arrives, and its tombstone ends: nobody tells the server, whose session lives on. */
static void reset_is_never_heard(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s, *c2, *s2;
    start(&n, 1, &c, &s);
    testnet_open(&n, &c2, &s2);
    struct lose all = {.type = PMW_RESET, .nb = INT_MAX};
    n.filter = lose_some;
    n.filter_ctx = &all;
    vcl_conn_abort(c, n.now);
    testnet_write(&n, s, 0, 3000, 2);
    testnet_run(&n, n.now + 20 * SECOND);
    testnet_write(&n, s2, 0, 1000, 2);
    read_until(&n, c2, 0, 1000, 2);
    testnet_run(&n, n.now + 45 * SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    testnet_run(&n, n.now + 10 * SECOND);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT);
    assert_int_equal(vcl_conn_error(s2), VCL_OK);
    testnet_stop(&n);
}

static enum verdict repeat_resume(struct testnet *n, struct flight *f)
{
    return type_of(f) == PMW_RESUME || type_of(f) == PMW_RESUME_ACK ? TWICE : DELIVER;
}

static void resume_is_lost_or_repeated(void **state)
{
    for (int type = PMW_RESUME; type <= PMW_RESUME_ACK; type++) {
        for (int nb = 0; nb < 9; nb++) {
            struct testnet n;
            struct vcl_conn *c, *s;
            start(&n, 2, &c, &s);
            n.filter = nb == 0 ? repeat_resume : lose_some;
            n.filter_ctx = &(struct lose){.type = type, .nb = nb};
            testnet_write(&n, s, 0, 9000, 2);
            testnet_run(&n, n.now + 150);
            n.relays[0].dead = true;
            uint64_t killed = n.now;
            testnet_write(&n, c, 0, 9000, 1);
            uint64_t done = read_until(&n, s, 0, 9000, 1);
            if (nb <= 1)
                assert_true(done - killed <= RECOVERY_US_MAX);
            read_until(&n, c, 0, 9000, 2);
            struct vcl_stats st;
            vcl_engine_stats(n.server, &st);
            assert_true(st.path_moves <= 4);
            testnet_stop(&n);
        }
    }
}

/* The end of a stream and its acknowledgements cross the move, at every step. */
static void fin_crosses_resume(void **state)
{
    for (uint64_t offset = 0; offset < 3000; offset += 100) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 2, &c, &s);
        testnet_write(&n, c, 0, 2000, 1);
        testnet_write(&n, s, 0, 2000, 2);
        vcl_conn_shutdown_write(c, n.now);
        testnet_run(&n, n.now + offset / 2);
        vcl_conn_shutdown_write(s, n.now);
        testnet_run(&n, n.now + offset / 2);
        n.relays[0].dead = true;
        testnet_run(&n, n.now + 200 * MS);
        assert_int_equal(testnet_read(&n, s, 0, 1), 2000);
        assert_int_equal(testnet_read(&n, c, 0, 2), 2000);
        assert_true(vcl_conn_eof(c) && vcl_conn_eof(s));
        assert_int_equal(vcl_conn_error(c) + vcl_conn_error(s), VCL_OK);
        assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_CLOSED), 1);
        assert_int_equal(testnet_count(n.server_events, n.nb_server_events, VCL_EV_CONN_CLOSED), 1);
        testnet_stop(&n);
    }
}

/* Stands still for so long that the server gives up, and its tombstones end: nothing but an answer to a question tells
 * the client. */
static void stand_still(struct testnet *n, struct vcl_conn *s, uint64_t duration_us)
{
    struct vcl_engine *client = n->client;
    n->client = NULL;
    testnet_run(n, n->now + duration_us);
    assert_int_equal(vcl_conn_error(s), VCL_ERR_TIMEOUT);
    n->client = client;
}

/* S16: it only waits for a reply. */
static void a_sleeper_asks_for_its_connections(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 1);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    stand_still(&n, s, 100 * SECOND); /* S14: 70 s, C7: 10 s */
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    testnet_stop(&n);
}

/* S16: it did not notice that it slept, by its own measure; the path answers, and the data does not arrive. */
static void data_for_nobody_is_noticed(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 1);
    n.server_config.hold_us = SECOND;
    n.server_config.tombstone_us = SECOND;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    stand_still(&n, s, 20 * SECOND);
    testnet_write(&n, c, 0, 100, 1);
    testnet_run(&n, n.now + SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_ERR_RESET);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(through_a_helper),
        cmocka_unit_test(dies_with_a_request_in_flight),
        cmocka_unit_test(dies_before_the_reply),
        cmocka_unit_test(dies_while_all_is_quiet),
        cmocka_unit_test(dies_in_one_direction),
        cmocka_unit_test(both_helpers_die),
        cmocka_unit_test(everything_dies_for_a_while),
        cmocka_unit_test(everything_dies_for_good),
        cmocka_unit_test(comes_back_too_late),
        cmocka_unit_test(reset_is_never_heard),
        cmocka_unit_test(resume_is_lost_or_repeated),
        cmocka_unit_test(fin_crosses_resume),
        cmocka_unit_test(a_sleeper_asks_for_its_connections),
        cmocka_unit_test(data_for_nobody_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
