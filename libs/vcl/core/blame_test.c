/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is to blame, and how often a session moves (S9, S10, S22). Time is virtual: the bounds asserted here are exact,
 * not measurements.
 */
#include "paths_kit.h"
#include "state.h"

/* --- S22: who is to blame --------------------------------------------------------------------------- */
static uint64_t lost_cid;

static enum verdict lose_short_frames_of_one(struct testnet *n, struct flight *f)
{
    struct pmw_frame frame;
    if (pmw_type_of(f->bytes, f->len) > PMW_ACK || pmw_frame_decode(f->bytes, f->len, &frame) < 0)
        return DELIVER;
    return frame.cid == lost_cid && (frame.flags & PMW_F_SHORT) != 0 ? DROP : DELIVER;
}

static void case_12_one_flow_is_lost(void **state)
{
    struct testnet n;
    struct vcl_conn *c[2], *s[2];
    struct vcl_conn_info info;
    start(&n, 2, &c[0], &s[0]);
    testnet_open(&n, &c[1], &s[1]);
    vcl_conn_info(c[0], &info);
    lost_cid = info.cid;
    n.filter = lose_short_frames_of_one;
    for (uint64_t at = 0; at < 4000; at += 100) {
        uint64_t begun = n.now;
        testnet_write(&n, c[0], at, 100, 1);
        testnet_write(&n, c[1], at, 100, 2);
        assert_true(read_until(&n, s[1], at, 100, 2) - begun <= 2 * MS);
        assert_true(read_until(&n, s[0], at, 100, 1) - begun <= RECOVERY_US_MAX);
    }
    assert_int_equal(info_of(n.session).epoch, 1);
    testnet_stop(&n);
}

static void case_28_server_stands_still(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 1000);
    testnet_write(&n, c, 1000, 5000, 1);
    struct vcl_engine *server = n.server;
    n.server = NULL;
    testnet_run(&n, n.now + 2 * SECOND);
    assert_true(info_of(n.session).epoch <= 4);
    n.server = server;
    assert_true(read_until(&n, s, 1000, 5000, 1) - n.now <= 200 * MS);
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    testnet_stop(&n);
}

static uint64_t pause_ends;

static enum verdict helper_is_paused(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &n->relays[0].addr) && f->at < pause_ends)
        f->at = pause_ends;
    return DELIVER;
}

/* A pause of the helper that is shorter than suspect_silence_us_min moves nobody. */
static void a_neighbours_time_slice_is_no_death(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    uint64_t at = 0;
    n.filter = helper_is_paused;
    for (int i = 0; i < 50; i++, at += 200) {
        pause_ends = n.now + 9 * MS;
        testnet_write(&n, c, at, 200, 1);
        testnet_run(&n, n.now + 60 * MS);
    }
    assert_int_equal(info_of(n.session).epoch, 1);
    assert_int_equal(testnet_read(&n, s, 0, 1), at);
    testnet_stop(&n);
}

/* --- S7, S9, S10: moves after failures ---------------------------------------------------------------- */
static void case_18_two_helpers_die_in_a_row(void **state)
{
    for (uint64_t delay = 0; delay <= 20 * MS; delay += MS) {
        struct testnet n;
        struct vcl_conn *c, *s;
        start(&n, 2, &c, &s);
        exchange(&n, c, s, 0, 1000);
        n.relays[0].dead = true;
        uint64_t killed = n.now;
        testnet_write(&n, c, 1000, 3000, 1);
        testnet_run(&n, n.now + delay);
        n.relays[1].dead = true;
        assert_true(read_until(&n, s, 1000, 3000, 1) - killed <= 2 * RECOVERY_US_MAX);
        exchange(&n, c, s, 4000, 100);
        assert_int_equal(info_of(n.session).active_helper_id, 0);
        testnet_stop(&n);
    }
}

static void case_24_a_helper_flaps(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    uint64_t at = 0, until = n.now + 4 * SECOND;
    for (int i = 0; n.now < until; i++, at += 100) {
        n.relays[0].dead = i % 2 == 1;
        testnet_write(&n, c, at, 100, 1);
        testnet_run(&n, n.now + 30 * MS);
    }
    testnet_run(&n, n.now + 100 * MS);
    assert_int_equal(testnet_read(&n, s, 0, 1), at);
    assert_int_equal(info_of(n.session).active_helper_id, 101); /* S10: held down for 5 s */
    assert_true(info_of(n.session).moves <= 2);
    testnet_stop(&n);
}

/* Everything that a helper holds comes late, in order. */
static enum verdict held_by_the_first_helper(struct testnet *n, struct flight *f)
{
    uint64_t *until = n->filter_ctx;
    if (pmw_addr_equal(&f->to, &n->relays[0].addr) && f->at < *until)
        f->at = *until;
    return DELIVER;
}

/* S10, S22: it stood still, and is not dead: what it sends then shows it. A quarter of a second later it may serve
 * again, and the next verdict takes longer. */
static void a_helper_that_stood_still_is_no_dead_one(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 1000);
    uint64_t until = n.now + 40 * MS;
    n.filter = held_by_the_first_helper;
    n.filter_ctx = &until;
    exchange(&n, c, s, 1000, 1000);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    testnet_run(&n, until + 300 * MS);
    n.relays[1].dead = true;
    exchange(&n, c, s, 2000, 1000);
    assert_int_equal(info_of(n.session).active_helper_id, 100); /* and not the direct path */
    uint64_t moves = info_of(n.session).moves;
    until = n.now + 17 * MS;
    n.relays[1].dead = false;
    exchange(&n, c, s, 3000, 1000);
    assert_int_equal(info_of(n.session).moves, moves);
    testnet_stop(&n);
}

/* S10: the same when S9 delays the move: two probes were unanswered meanwhile, but still nothing at all had come. */
static void s10_a_delayed_move_leaves_who_stood_still(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 1000);
    uint64_t until = n.now + 300 * MS;
    n.session->dial->spacing.next_at = n.now + 250 * MS;
    n.filter = held_by_the_first_helper;
    n.filter_ctx = &until;
    exchange(&n, c, s, 1000, 1000);
    assert_true(n.now < until);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    testnet_run(&n, until + 300 * MS);
    n.relays[1].dead = true;
    n.session->dial->spacing.next_at = n.now;
    exchange(&n, c, s, 2000, 1000);
    assert_int_equal(info_of(n.session).active_helper_id, 100); /* and not the direct path */
    testnet_stop(&n);
}

static enum verdict no_way_to_the_server(struct testnet *n, struct flight *f)
{
    return pmw_addr_equal(&f->from, &n->relays[0].addr) && pmw_addr_equal(&f->to, &n->server_addr) ? DROP : DELIVER;
}

/* S10, S22: it was heard while its probes were unanswered. It works one way only, however silent it is at the end. */
static void s10_a_delayed_move_leaves_who_works_one_way(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 1000);
    n.session->dial->spacing.next_at = n.now + 250 * MS;
    n.filter = no_way_to_the_server;
    testnet_write(&n, c, 1000, 1000, 1);
    testnet_run(&n, n.now + 100 * MS);
    testnet_write(&n, s, 1000, 100, 2);
    testnet_run(&n, n.now + MS);
    n.filter = held_by_the_first_helper;
    uint64_t until = n.now + 200 * MS;
    n.filter_ctx = &until;
    testnet_run(&n, until + MS);
    assert_int_equal(info_of(n.session).active_helper_id, 101);
    const struct candidate *left = vcl__candidates_of_helper(&n.session->dial->candidates, 100);
    assert_true(left->penalty_until > n.now + SECOND);
    testnet_stop(&n);
}

/* S5, S13: a helper with two addresses answers from the other one. Its answers prove the path as any do: probes come as
 * seldom as ever (S12), not one upon each ECHO. */
static enum verdict from_the_other_address(struct testnet *n, struct flight *f)
{
    if (pmw_addr_equal(&f->to, &n->client_addr))
        f->from.port++;
    return DELIVER;
}

static void a_helper_that_answers_from_elsewhere_is_asked_no_oftener(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    start(&n, 2, &c, &s);
    exchange(&n, c, s, 0, 100);
    uint64_t before = stats_of(n.client).probes_sent;
    n.filter = from_the_other_address;
    for (uint64_t i = 1; i <= 20; i++) { /* busy: an answer to each frame within a round trip */
        exchange(&n, c, s, i * 100, 100);
        testnet_run(&n, n.now + 8 * MS);
    }
    assert_int_equal(stats_of(n.client).probes_sent, before);
    testnet_run(&n, n.now + 3400 * MS); /* at rest: S12 */
    uint64_t nb = stats_of(n.client).probes_sent - before;
    assert_in_range(nb, 7, 9);
    assert_int_equal(info_of(n.session).epoch, 1);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_12_one_flow_is_lost),
        cmocka_unit_test(case_28_server_stands_still),
        cmocka_unit_test(a_neighbours_time_slice_is_no_death),
        cmocka_unit_test(case_18_two_helpers_die_in_a_row),
        cmocka_unit_test(case_24_a_helper_flaps),
        cmocka_unit_test(a_helper_that_stood_still_is_no_dead_one),
        cmocka_unit_test(s10_a_delayed_move_leaves_who_stood_still),
        cmocka_unit_test(s10_a_delayed_move_leaves_who_works_one_way),
        cmocka_unit_test(a_helper_that_answers_from_elsewhere_is_asked_no_oftener),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
