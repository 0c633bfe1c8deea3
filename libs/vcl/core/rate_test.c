/* SPDX-License-Identifier: Apache-2.0
 *
 * How much may be sent, and what counts as lost (C4, C5): rack, cc, budget, pacing.
 */
#include "testkit.h"

#include "budget.h"
#include "pacing.h"
#include "postman/wire.h"
#include "rack.h"

enum { FRAME = PMW_PAYLOAD_BYTES_BASE, FIRST = CC_FRAMES_FIRST * FRAME };

/* --- C4 -------------------------------------------------------------------------------------------- */
struct flow {
    struct heap heap;
    struct sentmap sent;
    struct rack rack;
    struct rtt rtt;
    uint64_t offset;
};

static void flow_begin(struct flow *f)
{
    *f = (struct flow){.rtt = {.sampled = true, .srtt_us = 400, .rttvar_us = 10, .min_us = 400}};
    heap_init(&f->heap);
}

static void flow_send(struct flow *f, uint64_t now, int nb)
{
    for (int i = 0; i < nb; i++, f->offset += 100) {
        assert_true(vcl__sentmap_reserve(&f->sent, &f->heap.mem));
        vcl__sentmap_push(&f->sent, now, f->offset, 100, false);
    }
}

/* The frame at this offset arrived, beyond a gap; what is lost when it is `later`. Returns when to look again. */
static uint64_t flow_sack(struct flow *f, uint64_t now, uint64_t offset, uint64_t later, struct sentmap_ack *a)
{
    *a = (struct sentmap_ack){.now = now, .min_rtt_us = f->rtt.min_us};
    vcl__sentmap_sack(&f->sent, offset, offset + 100, a);
    vcl__rack_on_ack(&f->rack, &f->sent, a);
    return vcl__rack_detect(&f->rack, &f->sent, &f->rtt, later, a);
}

/* C4: one that was sent later is enough, but a round trip and min_rtt/4 must have passed. */
static void a_frame_is_lost_by_time(void **state)
{
    struct flow f;
    struct sentmap_ack a;
    flow_begin(&f);
    flow_send(&f, 1000, 1);
    flow_send(&f, 1010, 3);
    assert_int_equal(flow_sack(&f, 1410, 100, 1410, &a), 1000 + 400 + 100);
    assert_int_equal(a.nb_lost, 0);
    a = (struct sentmap_ack){.now = 1499};
    vcl__rack_detect(&f.rack, &f.sent, &f.rtt, 1499, &a);
    assert_int_equal(a.nb_lost, 0);
    assert_int_equal(vcl__rack_detect(&f.rack, &f.sent, &f.rtt, 1500, &a), UINT64_MAX); /* those behind are younger */
    assert_int_equal(a.nb_lost, 1);
    assert_int_equal(a.lost_order, 1);
    assert_int_equal(vcl__sentmap_next_lost(&f.sent)->offset, 0);
    vcl__sentmap_sent_again(&f.sent, vcl__sentmap_next_lost(&f.sent), 1500);
    a = (struct sentmap_ack){.now = 9000};
    vcl__rack_detect(&f.rack, &f.sent, &f.rtt, 9000, &a); /* the repetition is younger than all that arrived */
    assert_int_equal(a.nb_lost, 0);
    vcl__sentmap_free(&f.sent, &f.heap.mem);
}

/* C4: the window doubles after a spurious loss, and falls back after real ones. */
static void a_spurious_loss_doubles_the_window(void **state)
{
    struct flow f;
    struct sentmap_ack a;
    flow_begin(&f);
    assert_int_equal(vcl__rack_window_us(&f.rack, &f.rtt), 100);
    f.rtt.min_us = 40;
    assert_int_equal(vcl__rack_window_us(&f.rack, &f.rtt), RACK_WINDOW_US_MIN);
    f.rtt.min_us = 400;
    flow_send(&f, 1000, 2);
    flow_sack(&f, 1400, 100, 1500, &a);
    assert_int_equal(a.nb_lost, 1);
    vcl__sentmap_sent_again(&f.sent, vcl__sentmap_next_lost(&f.sent), 1500);
    a = (struct sentmap_ack){.now = 1600, .tx_echo = 0, .min_rtt_us = 400};
    vcl__sentmap_ack(&f.sent, 200, &a); /* the first transmission: it was only late */
    assert_true(vcl__rack_was_spurious(&a));
    vcl__rack_on_ack(&f.rack, &f.sent, &a);
    assert_int_equal(vcl__rack_window_us(&f.rack, &f.rtt), 200);
    for (uint64_t i = 0; i < RACK_PERSIST; i++) {
        uint64_t now = 10000 * (i + 1);
        assert_int_equal(vcl__rack_window_us(&f.rack, &f.rtt), 200);
        flow_send(&f, now, 2);
        flow_sack(&f, now + 400, f.offset - 100, now + 2000, &a);
        assert_int_equal(a.nb_lost, 1);
        vcl__sentmap_sent_again(&f.sent, vcl__sentmap_next_lost(&f.sent), now + 2000);
        a = (struct sentmap_ack){.now = now + 2500, .tx_echo = 1, .min_rtt_us = 400};
        vcl__sentmap_ack(&f.sent, f.offset, &a);
        assert_false(vcl__rack_was_spurious(&a));
        vcl__rack_on_ack(&f.rack, &f.sent, &a);
    }
    assert_int_equal(vcl__rack_window_us(&f.rack, &f.rtt), 100);
    vcl__sentmap_free(&f.sent, &f.heap.mem);
}

/* C4: paths are judged apart: what overtakes on the new one says nothing of the old (S19). */
static void another_path_overtakes_nothing(void **state)
{
    struct flow f;
    struct sentmap_ack a;
    flow_begin(&f);
    flow_send(&f, 1000, 3);
    vcl__rack_on_move(&f.rack, &f.sent);
    flow_send(&f, 1100, 3);
    assert_int_equal(vcl__rack_window_us(&f.rack, &f.rtt), 200); /* doubled for a round trip */
    assert_int_equal(flow_sack(&f, 1500, 500, 9000, &a), UINT64_MAX);
    assert_int_equal(a.nb_lost, 2); /* of the new path, both before it */
    assert_int_equal(vcl__sentmap_next_lost(&f.sent)->offset, 300);
    flow_sack(&f, 1500, 200, 9000, &a);
    assert_int_equal(a.nb_lost, 2); /* of the old path */
    vcl__sentmap_free(&f.sent, &f.heap.mem);
}

/* --- C5 -------------------------------------------------------------------------------------------- */
static struct cc_ack full(const struct cc *c, uint64_t order)
{
    return (struct cc_ack){.bytes = c->window,
                           .bytes_in_flight = c->window,
                           .frame_bytes = FRAME,
                           .newest_order = order,
                           .last_order = order};
}

static void window_halves_once_per_round(void **state)
{
    struct cc c;
    vcl__cc_init(&c);
    assert_int_equal(c.window, FIRST);
    struct cc_ack a = full(&c, 10);
    vcl__cc_on_delivered(&c, &a);
    assert_int_equal(c.window, 2 * FIRST);
    a = (struct cc_ack){.bytes = FRAME, .bytes_in_flight = FRAME, .frame_bytes = FRAME, .newest_order = 11};
    vcl__cc_on_delivered(&c, &a); /* the window was not used: nothing learnt */
    assert_int_equal(c.window, 2 * FIRST);
    vcl__cc_on_lost(&c, 31, 50, FRAME);
    assert_int_equal(c.window, FIRST);
    vcl__cc_on_lost(&c, 50, 60, FRAME); /* sent before the cut */
    assert_int_equal(c.window, FIRST);
    a = full(&c, 61);
    vcl__cc_on_delivered(&c, &a); /* a round of additive increase */
    assert_int_equal(c.window, FIRST + FRAME);
    for (uint64_t i = 0; i < 20; i++)
        vcl__cc_on_lost(&c, 1000 + 2 * i, 1001 + 2 * i, FRAME);
    assert_int_equal(c.window, CC_FRAMES_MIN * FRAME);
}

static void a_spurious_cut_is_undone_once(void **state)
{
    struct cc c;
    vcl__cc_init(&c);
    vcl__cc_on_lost(&c, 5, 10, FRAME);
    vcl__cc_undo(&c);
    assert_int_equal(c.window, FIRST);
    assert_true(c.threshold > c.window); /* and slow start goes on */
    vcl__cc_on_lost(&c, 11, 20, FRAME);
    vcl__cc_undo(&c);
    vcl__cc_undo(&c);
    assert_int_equal(c.window, FIRST);
}

/* C5: after an unplanned move min(what it was, 10 frames). */
static void a_move_starts_over(void **state)
{
    struct cc c;
    vcl__cc_init(&c);
    for (uint64_t i = 1; i < 6; i++) {
        struct cc_ack a = full(&c, i);
        vcl__cc_on_delivered(&c, &a);
    }
    assert_true(c.window > FIRST);
    vcl__cc_reset(&c, 100);
    assert_int_equal(c.window, FIRST);
    vcl__cc_on_lost(&c, 100, 120, FRAME); /* lost with the old path */
    assert_int_equal(c.window, FIRST);
    vcl__cc_on_lost(&c, 101, 120, FRAME);
    vcl__cc_reset(&c, 200);
    assert_int_equal(c.window, FIRST / 2);
}

/* RFC 9406: a round trip that grows ends slow start, after five careful rounds; noise does not. */
static void growing_rtt_ends_slow_start(void **state)
{
    struct cc c;
    uint64_t order = 0;
    vcl__cc_init(&c);
    for (int round = 0; round < 8; round++) {
        bool slow = round >= 2; /* a queue grows from here on */
        uint32_t before = c.window;
        for (int i = 0; i < 10; i++) {
            struct cc_ack a = {.bytes = before / 10,
                               .bytes_in_flight = c.window,
                               .frame_bytes = FRAME,
                               .rtt_us = slow ? 1200 : 400,
                               .newest_order = ++order,
                               .last_order = order + 9};
            vcl__cc_on_delivered(&c, &a);
        }
        if (round < 2)
            assert_int_equal(c.window, 2 * before);
    }
    assert_true(c.threshold <= c.window);
    struct cc d;
    vcl__cc_init(&d);
    for (order = 1; order <= 60; order++) {
        struct cc_ack a = {.bytes = FRAME,
                           .bytes_in_flight = d.window,
                           .frame_bytes = FRAME,
                           .rtt_us = order % 5 == 0 ? 400 : 3000, /* a neighbour's time slices */
                           .newest_order = order,
                           .last_order = order + 9};
        vcl__cc_on_delivered(&d, &a);
    }
    assert_int_equal(d.window, FIRST + 60 * FRAME);
}

/* RFC 8257: cut by half the share of marks. */
static void marks_cut_by_their_share(void **state)
{
    struct cc c;
    vcl__cc_init(&c);
    c.window = 100 * FRAME;
    vcl__cc_on_marked(&c, CC_MARKS_ALL / 4, 10, FRAME);
    assert_int_equal(c.window, 100 * FRAME - 100 * FRAME / 8);
    vcl__cc_on_marked(&c, CC_MARKS_ALL, 10, FRAME); /* of the same round trip */
    assert_int_equal(c.window, 100 * FRAME - 100 * FRAME / 8);
    assert_true(c.threshold <= c.window);
    struct cc_ack a = full(&c, 11);
    a.last_order = 40;
    vcl__cc_on_delivered(&c, &a);
    uint32_t before = c.window;
    vcl__cc_on_marked(&c, CC_MARKS_ALL, 40, FRAME);
    assert_int_equal(c.window, before / 2);
}

/* C5: a tenth of new frames and ten a second, saved up for ten seconds. */
static void retries_are_a_tenth_of_new_frames(void **state)
{
    struct budget b;
    int nb = 0;
    vcl__budget_init(&b, 1000000);
    for (; vcl__budget_has(&b, 1000000); nb++)
        vcl__budget_spend(&b);
    assert_int_equal(nb, 100);
    for (int i = 0; i < 1000; i++)
        vcl__budget_earn(&b);
    for (nb = 0; vcl__budget_has(&b, 1000000); nb++)
        vcl__budget_spend(&b);
    assert_int_equal(nb, 100);
    for (nb = 0; vcl__budget_has(&b, 3000000); nb++) /* two seconds later */
        vcl__budget_spend(&b);
    assert_int_equal(nb, 20);
    for (nb = 0; vcl__budget_has(&b, UINT64_C(1000000000)); nb++)
        vcl__budget_spend(&b);
    assert_int_equal(nb, 100);
}

/* C5: no more than a burst at once, then the rate. */
static void a_large_window_is_paced(void **state)
{
    struct cc c;
    struct pacing p = {.clock = 0};
    uint64_t now = 1000000, sent = 0, end = now + 100000;
    vcl__cc_init(&c);
    c.window = c.threshold = 1000 * FRAME;
    while (vcl__pacing_next(&p, &c, 10000, FRAME, now) <= now) {
        vcl__pacing_sent(&p, &c, 10000, FRAME, now);
        sent++;
    }
    assert_in_range(sent, 120, 130); /* a millisecond of 1.25 * 1000 frames / 10 ms */
    while (now < end) {
        uint64_t next = vcl__pacing_next(&p, &c, 10000, FRAME, now);
        assert_true(next <= now + 20); /* and never longer than it takes */
        now = next;
        vcl__pacing_sent(&p, &c, 10000, FRAME, now);
        sent++;
    }
    assert_in_range(sent, 12500, 12700);
    p.clock = 0;
    for (int i = 0; i < 1000; i++) { /* shorter than the timers' grain */
        assert_int_equal(vcl__pacing_next(&p, &c, 0, FRAME, now), now);
        vcl__pacing_sent(&p, &c, 0, FRAME, now);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_lost_by_time),           cmocka_unit_test(a_spurious_loss_doubles_the_window),
        cmocka_unit_test(another_path_overtakes_nothing),    cmocka_unit_test(window_halves_once_per_round),
        cmocka_unit_test(a_spurious_cut_is_undone_once),     cmocka_unit_test(a_move_starts_over),
        cmocka_unit_test(growing_rtt_ends_slow_start),       cmocka_unit_test(marks_cut_by_their_share),
        cmocka_unit_test(retries_are_a_tenth_of_new_frames), cmocka_unit_test(a_large_window_is_paced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
