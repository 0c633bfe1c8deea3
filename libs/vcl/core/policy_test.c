/* SPDX-License-Identifier: Apache-2.0
 *
 * The pure policies: rtt, path (candidates, penalty, spacing), slots, conn_state.
 */
#include "testkit.h"

#include "conn_state.h"
#include "path.h"
#include "rtt.h"
#include "slots.h"

#include <string.h>

static const struct rtt_limits limits = {
    .pto_initial_us = 10000, .pto_min_us = 5000, .pto_max_us = 100000, .peer_delay_us = 600};

static void pto_is_the_formula_of_c4(void **state)
{
    struct rtt r = {.sampled = false};
    assert_int_equal(vcl__rtt_pto(&r, &limits, 0), 10000);
    assert_int_equal(vcl__rtt_pto(&r, &limits, 1), 20000);
    assert_int_equal(vcl__rtt_pto(&r, &limits, 9), 100000);
    vcl__rtt_sample(&r, &limits, 1000, 200);
    assert_int_equal(vcl__rtt_pto(&r, &limits, 0), 5000); /* pto_min */
    r = (struct rtt){.sampled = true, .srtt_us = 8000, .rttvar_us = 1000};
    assert_int_equal(vcl__rtt_pto(&r, &limits, 0), 8000 + 4000 + 600);
    r.rttvar_us = 10;
    assert_int_equal(vcl__rtt_pto(&r, &limits, 0), 8000 + 300 + 600);
    r = (struct rtt){.sampled = true, .srtt_us = 300000};
    assert_int_equal(vcl__rtt_pto(&r, &limits, 0), 300900); /* slower than pto_max: not hurried */
    assert_int_equal(vcl__rtt_pto(&r, &limits, 5), 300900);
    for (uint64_t now = 1000000; now < 1100000; now += 1000)
        vcl__rtt_sample(&r, &limits, now, 1000);
    assert_in_range(r.srtt_us, 995, 1010);
}

/* C4: one silence of nine seconds is no path of nine seconds, however many answers tell of it. */
static void a_standstill_is_no_round_trip(void **state)
{
    struct rtt r = {.sampled = false};
    uint64_t now = 10000000;
    for (int i = 0; i < 20; i++, now += 1000)
        vcl__rtt_sample(&r, &limits, now, 800);
    uint64_t sent_at = now;
    for (now += 9000000; sent_at < now - 8900000; sent_at += 1000)
        vcl__rtt_sample(&r, &limits, now, now - sent_at);
    assert_true(r.srtt_us <= limits.pto_max_us);
    assert_true(vcl__rtt_pto(&r, &limits, 0) <= 3 * limits.pto_max_us);
}

/* C4: nor is one that came before anything was measured: five seconds until a host ran again. */
static void the_first_answer_may_be_a_standstill(void **state)
{
    struct rtt r = {.sampled = false};
    uint64_t sent_at = 10000000, now = sent_at + 5000000;
    for (int i = 0; i < 20; i++)
        vcl__rtt_sample(&r, &limits, now, now - sent_at);
    assert_int_equal(r.srtt_us, limits.pto_max_us);
    assert_int_equal(r.min_us, 0); /* a limit is nobody's round trip */
    assert_true(vcl__rtt_pto(&r, &limits, 0) <= 4 * limits.pto_max_us);
    vcl__rtt_sample(&r, &limits, now + 1000, 700);
    assert_int_equal(r.min_us, 700);
}

/* C4: the acknowledgements of a first window tell of one round trip, and not that it never varies. */
static void a_far_path_still_varies(void **state)
{
    struct rtt r = {.sampled = false};
    for (int i = 0; i < 10; i++)
        vcl__rtt_sample(&r, &limits, 10000000 + (uint64_t)i, 400000);
    assert_true(3 * vcl__rtt_pto(&r, &limits, 0) > 2 * 400000);
}

/* C4: another path is believed as far as the one before was. */
static void a_far_path_after_a_far_one_is_believed(void **state)
{
    struct rtt r = {.sampled = false};
    uint64_t now = 10000000;
    for (int i = 0; i < 10; i++)
        vcl__rtt_sample(&r, &limits, now += 1000000, 400000);
    vcl__rtt_forget(&r, &limits);
    vcl__rtt_sample(&r, &limits, now + 500000, 500000);
    assert_int_equal(r.srtt_us, 500000);
    assert_int_equal(r.min_us, 500000);
    vcl__rtt_forget(&r, &limits);
    vcl__rtt_sample(&r, &limits, now + 60000000, 59000000);
    assert_true(r.srtt_us < 6000000);
}

/* C4: a path that is far from the beginning is known after two round trips. */
static void a_far_path_is_believed(void **state)
{
    struct rtt r = {.sampled = false};
    vcl__rtt_sample(&r, &limits, 10000000, 400000);
    assert_true(3 * vcl__rtt_pto(&r, &limits, 0) > 400000); /* no third PTO before its first answer */
    vcl__rtt_sample(&r, &limits, 10500000, 400000);
    assert_true(vcl__rtt_pto(&r, &limits, 0) > 400000);
    assert_int_equal(r.min_us, 400000);
}

/* C4: a path that has become so slow is believed as soon as the answers of later round trips say so too. */
static void a_path_that_becomes_slow_is_believed(void **state)
{
    struct rtt r = {.sampled = false};
    uint64_t now = 10000000;
    for (int i = 0; i < 20; i++, now += 1000)
        vcl__rtt_sample(&r, &limits, now, 800);
    for (int i = 0; i < 4; i++)
        vcl__rtt_sample(&r, &limits, now += 2000000, 2000000);
    assert_true(vcl__rtt_pto(&r, &limits, 0) > 2000000);
    for (int i = 0; i < 40; i++)
        vcl__rtt_sample(&r, &limits, now += 2000000, 2000000);
    assert_in_range(r.srtt_us, 1950000, 2000000);
}

static struct vcl_path path_of(uint16_t helper_id)
{
    return (struct vcl_path){.addr = {.ip = {10, 0, 0, (uint8_t)helper_id}, .port = 1, .family = 4},
                             .helper_id = helper_id};
}

static uint16_t next_of(const struct candidates *c, uint64_t now, uint64_t since, const struct vcl_path *current)
{
    return vcl__candidates_next(c, now, since, current)->helper_id;
}

static void candidates_are_chosen_by_order_and_penalty(void **state)
{
    struct vcl_path p[] = {path_of(1), path_of(2), path_of(0)};
    struct candidates c = {.count = 0};
    assert_null(vcl__candidates_next(&c, 0, 0, &p[0]));
    vcl__candidates_set(&c, p, 3);
    assert_int_equal(next_of(&c, 100, 100, &p[0]), 2);
    assert_int_equal(next_of(&c, 100, 100, &p[1]), 1);
    vcl__candidates_fail(&c, 100, &p[0], 50);
    assert_int_equal(next_of(&c, 149, 149, &p[1]), 0); /* under penalty last */
    assert_int_equal(next_of(&c, 150, 150, &p[1]), 1);
    vcl__candidates_fail(&c, 160, &p[0], 50); /* the second time: doubled */
    assert_int_equal(next_of(&c, 259, 259, &p[1]), 0);
    assert_int_equal(next_of(&c, 260, 260, &p[1]), 1);
    vcl__candidates_fail(&c, 300, &p[0], 50);
    vcl__candidates_clear(&c, 300, 1);
    assert_int_equal(next_of(&c, 301, 301, &p[1]), 1);
    vcl__candidates_fail(&c, 400, &p[1], 50);
    vcl__candidates_set(&c, &p[1], 1); /* stays, with its penalty */
    assert_int_equal(c.count, 1);
    assert_int_equal(c.list[0].penalty_until, 450);
    assert_int_equal(next_of(&c, 401, 401, &p[1]), 2); /* there is no other */
}

static void ranks_come_before_order_and_penalty_before_ranks(void **state)
{
    struct vcl_path p[] = {path_of(1), path_of(2), path_of(3), path_of(0)};
    struct candidates c = {.count = 0};
    uint64_t ripe_at;
    p[0].rank = 2;
    p[1].rank = p[2].rank = 1;
    vcl__candidates_set(&c, p, 4);
    assert_int_equal(vcl__candidates_first(&c, 100)->helper_id, 2);
    assert_int_equal(next_of(&c, 100, 100, &p[1]), 3);
    assert_null(vcl__candidates_better(&c, 100, &p[2], &ripe_at)); /* an equal is not better */
    assert_int_equal(ripe_at, VCL_NEVER);
    assert_int_equal(vcl__candidates_better(&c, 100, &p[0], &ripe_at)->helper_id, 2);
    vcl__candidates_fail(&c, 100, &p[1], 50);
    assert_int_equal(vcl__candidates_better(&c, 149, &p[0], &ripe_at)->helper_id, 3);
    assert_int_equal(ripe_at, 150);
    assert_int_equal(vcl__candidates_first(&c, 149)->helper_id, 3);
    vcl__candidates_fail(&c, 100, &p[2], 70);
    assert_null(vcl__candidates_better(&c, 149, &p[0], &ripe_at));
    assert_int_equal(ripe_at, 150);
    assert_int_equal(next_of(&c, 149, 149, &p[3]), 1);
    assert_int_equal(vcl__candidates_better(&c, 149, &p[3], &ripe_at)->helper_id, 1); /* the direct path is worst */
    struct vcl_path gone = path_of(9);
    assert_null(vcl__candidates_better(&c, 149, &gone, &ripe_at)); /* as bad as the worst that is listed */
    assert_int_equal(vcl__candidates_better(&c, 150, &gone, &ripe_at)->helper_id, 2);
    p[1].rank = 3;
    vcl__candidates_set(&c, p, 4); /* other ranks, the same penalties */
    assert_int_equal(c.list[2].penalty_until, 170);
    assert_int_equal(vcl__candidates_first(&c, 150)->helper_id, 1);
}

/* UP ends a penalty; the next failure is the second in a row all the same. */
static void a_cleared_path_that_fails_again_is_not_new(void **state)
{
    struct vcl_path p = path_of(1);
    struct candidates c = {.count = 0};
    vcl__candidates_set(&c, &p, 1);
    vcl__candidates_fail(&c, 100, &p, 50);
    vcl__candidates_clear(&c, 120, 1);
    assert_true(vcl__candidates_is_free(&c, 120, &p));
    vcl__candidates_fail(&c, 130, &p, 50);
    assert_int_equal(c.list[0].penalty_until, 230);
    vcl__candidates_clear(&c, 300, 1); /* its penalty is over: nothing to end */
    assert_int_equal(c.list[0].penalty_until, 230);
}

/* However short or long the penalties: no candidate has a second turn before each had its first. */
static void a_search_tries_every_candidate(void **state)
{
    struct vcl_path p[] = {path_of(1), path_of(2), path_of(3), path_of(4), path_of(0)};
    uint64_t penalties[] = {1, 1000, 3000, 5000000};
    for (int k = 0; k < 4; k++) {
        struct candidates c = {.count = 0};
        struct vcl_path active = p[0];
        uint64_t now = 1000000, since = now;
        unsigned seen = 0;
        vcl__candidates_set(&c, p, 5);
        vcl__candidates_tried(&c, now, &active);
        for (int turn = 1; turn <= 20; turn++, now += 1000) {
            vcl__candidates_fail(&c, now, &active, penalties[k]);
            active = *vcl__candidates_next(&c, now, since, &active);
            vcl__candidates_tried(&c, now, &active);
            seen |= 1u << active.helper_id;
            if (turn % 5 == 0) {
                assert_int_equal(seen, 31);
                seen = 0;
            }
        }
    }
}

static void penalty_has_a_ceiling(void **state)
{
    struct vcl_path p = path_of(1);
    struct candidates c = {.count = 0};
    uint64_t now = 1000;
    vcl__candidates_set(&c, &p, 1);
    for (int i = 0; i < 20; i++) {
        vcl__candidates_fail(&c, now, &p, 5000000);
        now = c.list[0].penalty_until + 1;
    }
    assert_int_equal(c.list[0].penalty_us, PATH_PENALTY_US_MAX);
    vcl__candidates_fail(&c, now + 2 * (uint64_t)PATH_PENALTY_US_MAX, &p, 5000000);
    assert_int_equal(c.list[0].penalty_us, 5000000); /* it served long since */
}

/* S10: by which something comes soon after it was left for its silence, was only late. */
static void a_late_path_has_a_short_penalty(void **state)
{
    struct vcl_path p = path_of(1);
    struct candidates c = {.count = 0};
    vcl__candidates_set(&c, &p, 1);
    vcl__candidates_silent(&c, 1000, &p, 5000000);
    assert_true(vcl__candidates_late(&c, 21000, &p.addr));
    assert_int_equal(c.list[0].penalty_until, 21000 + 250000);
    assert_false(vcl__candidates_late(&c, 22000, &p.addr)); /* once */
    vcl__candidates_silent(&c, 1000000, &p, 5000000);
    assert_int_equal(c.list[0].penalty_until, 1000000 + 10000000); /* the second in a row all the same */
    assert_false(vcl__candidates_late(&c, 1000000 + PATH_LATE_US_MAX + 1, &p.addr)); /* it is back: another matter */
    assert_int_equal(c.list[0].penalty_until, 1000000 + 10000000);
    vcl__candidates_fail(&c, 20000000, &p, 5000000); /* it was heard, and its server was not: a broken link */
    assert_false(vcl__candidates_late(&c, 20001000, &p.addr));
}

static void moves_are_spaced(void **state)
{
    struct move_spacing s = {.next_at = 0};
    uint64_t expected[] = {10, 20, 40, 80, 100, 100};
    uint64_t now = 1;
    for (int i = 0; i < 6; i++) {
        vcl__spacing_moved(&s, now, 10, 100);
        assert_int_equal(s.next_at - now, expected[i]);
        now = s.next_at;
    }
    now += MOVE_QUIET_S * 1000000;
    vcl__spacing_moved(&s, now, 10, 100);
    assert_int_equal(s.next_at - now, 10);
    for (int i = 0; i < 5; i++) { /* one a second: no herd */
        now += 1000000;
        vcl__spacing_moved(&s, now, 10, 100);
        assert_int_equal(s.next_at - now, 10);
    }
    for (int i = 0; i < 5; i++)
        vcl__spacing_moved(&s, now, 10, 100);
    vcl__spacing_moved(&s, now + 2000000, 10, 100);
    assert_int_equal(s.next_at - now, 2000000 + 50); /* halved twice, doubled once */
    vcl__spacing_planned(&s, now + 2100000, 10);
    vcl__spacing_planned(&s, now + 2200000, 10);
    assert_int_equal(s.next_at - now, 2200000 + 50); /* planned ones make it no longer */
}

static void slots_rest_before_they_are_used_again(void **state)
{
    struct heap h;
    struct slots s;
    uint32_t slot;
    uint16_t generation;
    heap_init(&h);
    vcl__slots_init(&s, 100);
    for (uint32_t i = 0; i < 100; i++) {
        assert_true(vcl__slots_take(&s, &h.mem, 0, &slot, &generation));
        assert_int_equal(slot, i);
        assert_int_equal(generation, 0);
    }
    assert_false(vcl__slots_take(&s, &h.mem, 0, &slot, &generation));
    vcl__slots_give(&s, 7, 1000);
    vcl__slots_give(&s, 3, 2000);
    assert_false(vcl__slots_take(&s, &h.mem, 999, &slot, &generation));
    assert_true(vcl__slots_take(&s, &h.mem, 1000, &slot, &generation));
    assert_int_equal(slot, 7);
    assert_int_equal(generation, 1);
    assert_false(vcl__slots_take(&s, &h.mem, 1999, &slot, &generation));
    vcl__slots_free(&s, &h.mem);
    assert_int_equal(h.allocated, 0);
}

/* Every input in every state: the invariants of the machine. */
static void connection_table_holds(void **state)
{
    for (int st = 0; st < CONN_NB_STATES; st++) {
        for (int in = 0; in < CONN_NB_INPUTS; in++) {
            struct conn_step s = vcl__conn_step((enum conn_state)st, (enum conn_input)in);
            if (s.action == CONN_DO_REFUSE_INPUT) {
                assert_int_equal(s.next, st);
                continue;
            }
            assert_int_not_equal(st, CONN_CLOSED); /* terminal */
            bool closes = s.action == CONN_DO_CLOSE || s.action == CONN_DO_SEND_RESET;
            assert_int_equal(closes, s.next == CONN_CLOSED);
            assert_true((int)s.next >= st || vcl__conn_is_opening((enum conn_state)st)); /* never backwards */
            if (in == CONN_IN_FINISH)
                assert_false(vcl__conn_can_write(s.next));
        }
        if (vcl__conn_is_live((enum conn_state)st)) {
            assert_int_equal(vcl__conn_step((enum conn_state)st, CONN_IN_PEER_RESET).next, CONN_CLOSED);
            assert_int_equal(vcl__conn_step((enum conn_state)st, CONN_IN_ABORT).action, CONN_DO_SEND_RESET);
        }
        if (st != CONN_CLOSED)
            assert_int_equal(vcl__conn_step((enum conn_state)st, CONN_IN_FAILED).next, CONN_CLOSED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pto_is_the_formula_of_c4),
        cmocka_unit_test(a_standstill_is_no_round_trip),
        cmocka_unit_test(the_first_answer_may_be_a_standstill),
        cmocka_unit_test(a_far_path_is_believed),
        cmocka_unit_test(a_far_path_still_varies),
        cmocka_unit_test(a_far_path_after_a_far_one_is_believed),
        cmocka_unit_test(a_path_that_becomes_slow_is_believed),
        cmocka_unit_test(candidates_are_chosen_by_order_and_penalty),
        cmocka_unit_test(ranks_come_before_order_and_penalty_before_ranks),
        cmocka_unit_test(a_cleared_path_that_fails_again_is_not_new),
        cmocka_unit_test(a_search_tries_every_candidate),
        cmocka_unit_test(penalty_has_a_ceiling),
        cmocka_unit_test(a_late_path_has_a_short_penalty),
        cmocka_unit_test(moves_are_spaced),
        cmocka_unit_test(slots_rest_before_they_are_used_again),
        cmocka_unit_test(connection_table_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
