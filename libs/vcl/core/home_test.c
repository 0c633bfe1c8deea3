/* SPDX-License-Identifier: Apache-2.0
 *
 * S15: a session goes to the path of the best rank that works both ways, and to no other; among equals it stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "testnet.h"

enum { SECOND_US = 1000000, STREAM_BYTES = 200 };

static uint16_t active_helper(struct testnet *n)
{
    struct vcl_session_info info;
    vcl_session_info(n->session, &info);
    return info.active_helper_id;
}

/* Opens a connection, lets both helpers die, and writes until the session is on the direct path. */
static void drive_to_direct(struct testnet *n, struct vcl_conn **client, struct vcl_conn **server, uint64_t *offset)
{
    testnet_open(n, client, server);
    n->relays[0].dead = n->relays[1].dead = true;
    *offset = testnet_write(n, *client, 0, STREAM_BYTES, 1);
    testnet_run(n, n->now + SECOND_US);
    assert_int_equal(active_helper(n), 0);
    assert_int_equal(testnet_read(n, *server, 0, 1), *offset);
}

/* The stream goes on after the moves: nothing lost, nothing twice. */
static void stream_goes_on(struct testnet *n, struct vcl_conn *client, struct vcl_conn *server, uint64_t offset)
{
    uint64_t more = testnet_write(n, client, offset, STREAM_BYTES, 1);
    testnet_run(n, n->now + SECOND_US);
    assert_int_equal(testnet_read(n, server, offset, 1), more);
    assert_int_equal(vcl_conn_unacked(client), 0);
}

static void test_returns_to_the_helper_that_is_back(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset;
    testnet_init(&n, 2);
    testnet_start(&n);
    drive_to_direct(&n, &client, &server, &offset);
    n.relays[1].dead = false;
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

static enum verdict far_away(struct testnet *n, struct flight *f)
{
    enum { ONE_WAY_US = 40000 };
    if (pmw_addr_equal(&f->from, &n->client_addr) || pmw_addr_equal(&f->to, &n->client_addr))
        f->at += ONE_WAY_US;
    return DELIVER;
}

/* C4: a client that only listens measures its path by probes, those that were repeated too: on a path longer than the
 * first guess of a PTO there are no others. Without a round trip no far path is given the time to prove itself. */
static void test_a_far_client_that_listens_returns_too(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 2);
    n.filter = far_away;
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    n.relays[0].dead = n.relays[1].dead = true;
    testnet_run(&n, n.now + 10 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), 0);
    struct vcl_session_info info;
    vcl_session_info(n.session, &info);
    assert_in_range(info.srtt_us, 80000, 90000);
    n.relays[1].dead = false;
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    struct vcl_stats before, after;
    vcl_engine_stats(n.client, &before);
    testnet_run(&n, n.now + 50 * (uint64_t)SECOND_US);
    vcl_engine_stats(n.client, &after);
    assert_in_range(after.probes_sent - before.probes_sent, 1, 11); /* S12: one each 5 s */
    testnet_stop(&n);
}

static void test_stays_direct_while_no_helper_is_back(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset;
    testnet_init(&n, 2);
    testnet_start(&n);
    drive_to_direct(&n, &client, &server, &offset);
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), 0);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

static void test_a_helper_that_works_one_way_is_no_home(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset;
    testnet_init(&n, 2);
    testnet_start(&n);
    drive_to_direct(&n, &client, &server, &offset);
    for (int i = 0; i < 2; i++) {
        n.relays[i].dead = false;
        n.relays[i].dead_to_client = i == 0;
        n.relays[i].dead_to_server = i == 1;
    }
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), 0);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

/* --- ranks ------------------------------------------------------------------------------------- */
static void rank(struct testnet *n, uint8_t first, uint8_t second)
{
    n->peer.paths[0].rank = first;
    n->peer.paths[1].rank = second;
}

static void tell_ranks(struct testnet *n, uint8_t first, uint8_t second)
{
    rank(n, first, second);
    assert_int_equal(vcl_session_set_paths(n->session, n->now, n->peer.paths, n->peer.nb_paths), VCL_OK);
}

static struct vcl_stats client_stats(const struct testnet *n)
{
    struct vcl_stats stats;
    vcl_engine_stats(n->client, &stats);
    return stats;
}

static void test_begins_on_the_best_rank(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 2);
    rank(&n, 2, 1);
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    testnet_run(&n, n.now + SECOND_US);
    assert_int_equal(client_stats(&n).path_moves, 0);
    testnet_stop(&n);
}

static void test_other_ranks_move_the_session_without_loss(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 2);
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    assert_int_equal(active_helper(&n), n.relays[0].helper_id);
    uint64_t offset = 0, read = 0;
    tell_ranks(&n, 1, 0);
    for (int i = 0; i < 1000; i++) { /* bytes are always under way */
        offset += testnet_write(&n, client, offset, STREAM_BYTES, 1);
        testnet_run(&n, n.now + SECOND_US / 1000);
        read += testnet_read(&n, server, read, 1);
    }
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    assert_int_equal(offset, 1000 * STREAM_BYTES);
    assert_int_equal(read, offset);
    assert_int_equal(client_stats(&n).path_moves, 1);
    assert_int_equal(client_stats(&n).frames_resent, 0);
    assert_int_equal(client_stats(&n).ptos, 0);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

static void test_equal_ranks_leave_the_session_where_it_is(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 2);
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    uint64_t probes = client_stats(&n).probes_sent;
    tell_ranks(&n, 3, 3);
    struct vcl_path first = n.peer.paths[0];
    n.peer.paths[0] = n.peer.paths[1]; /* another order is no other rank */
    n.peer.paths[1] = first;
    assert_int_equal(vcl_session_set_paths(n.session, n.now, n.peer.paths, n.peer.nb_paths), VCL_OK);
    assert_int_equal(vcl_session_set_paths(n.session, n.now, n.peer.paths, 1), VCL_OK); /* not listed, not worse */
    assert_int_equal(client_stats(&n).probes_sent, probes);
    testnet_run(&n, n.now + 10 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), n.relays[0].helper_id);
    assert_int_equal(client_stats(&n).path_moves, 0);
    testnet_stop(&n);
}

static void test_a_path_that_is_not_listed_any_more_is_one_of_the_others(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 2);
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    struct vcl_path listed[] = {n.peer.paths[1], n.peer.paths[1], n.peer.paths[2]};
    listed[1].helper_id = 999; /* nobody is there */
    listed[1].addr.port++;
    listed[1].rank = 2;
    assert_int_equal(vcl_session_set_paths(n.session, n.now, listed, 3), VCL_OK);
    testnet_run(&n, n.now + SECOND_US);
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    testnet_stop(&n);
}

static void test_the_same_list_again_does_not_disturb_the_proof(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 2);
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    uint64_t probes = client_stats(&n).probes_sent, until = n.now + SECOND_US;
    n.relays[1].dead = true;
    for (tell_ranks(&n, 1, 0); n.now < until; tell_ranks(&n, 1, 0))
        testnet_run(&n, n.now + SECOND_US / 200);
    assert_in_range(client_stats(&n).probes_sent - probes, 1, 10); /* one of the proof, the others of S12 */
    assert_int_equal(active_helper(&n), n.relays[0].helper_id);
    n.relays[1].dead = false;
    vcl_session_hint(n.session, n.now, n.relays[1].helper_id, VCL_HINT_UP);
    for (until = n.now + SECOND_US; n.now < until; tell_ranks(&n, 1, 0))
        testnet_run(&n, n.now + SECOND_US / 200);
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    testnet_stop(&n);
}

/* The better path lives for two seconds each time it was proved; the penalties bound what that costs. */
static void test_a_path_that_comes_and_goes_gets_the_session_ever_more_seldom(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset = 0, read = 0, end, died_at = 0;
    testnet_init(&n, 2);
    rank(&n, 0, 1);
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    for (end = n.now + 600 * (uint64_t)SECOND_US; n.now < end;) {
        bool on_best = active_helper(&n) == n.relays[0].helper_id;
        if (on_best && !n.relays[0].dead) {
            testnet_run(&n, n.now + 2 * SECOND_US);
            n.relays[0].dead = true;
            died_at = n.now;
        } else if (n.relays[0].dead && n.now > died_at + SECOND_US) {
            n.relays[0].dead = false;
        }
        offset += testnet_write(&n, client, offset, 1, 1);
        testnet_run(&n, n.now + SECOND_US / 10);
        read += testnet_read(&n, server, read, 1);
    }
    n.relays[0].dead = false;
    assert_in_range(client_stats(&n).path_moves, 4, 32); /* 5, 10, 20, 40 s, then 60 s: two moves each */
    testnet_run(&n, n.now + 2 * SECOND_US);
    read += testnet_read(&n, server, read, 1);
    assert_int_equal(read, offset);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

static void test_a_rank_of_the_direct_path_is_no_rank_of_a_helper(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    testnet_init(&n, 1);
    n.peer.paths[0].rank = 254;
    n.peer.paths[1].rank = 0; /* the direct path: ignored */
    testnet_start(&n);
    testnet_open(&n, &client, &server);
    assert_int_equal(active_helper(&n), n.relays[0].helper_id);
    n.peer.paths[0].rank = VCL_RANK_DIRECT;
    assert_int_equal(vcl_session_set_paths(n.session, n.now, n.peer.paths, 2), VCL_ERR_INVALID);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_returns_to_the_helper_that_is_back),
        cmocka_unit_test(test_a_far_client_that_listens_returns_too),
        cmocka_unit_test(test_stays_direct_while_no_helper_is_back),
        cmocka_unit_test(test_a_helper_that_works_one_way_is_no_home),
        cmocka_unit_test(test_begins_on_the_best_rank),
        cmocka_unit_test(test_other_ranks_move_the_session_without_loss),
        cmocka_unit_test(test_equal_ranks_leave_the_session_where_it_is),
        cmocka_unit_test(test_a_path_that_is_not_listed_any_more_is_one_of_the_others),
        cmocka_unit_test(test_the_same_list_again_does_not_disturb_the_proof),
        cmocka_unit_test(test_a_path_that_comes_and_goes_gets_the_session_ever_more_seldom),
        cmocka_unit_test(test_a_rank_of_the_direct_path_is_no_rank_of_a_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
