/* SPDX-License-Identifier: Apache-2.0
 * The leaves of a trunk at the server: what batch numbers tell (T7, T8, T9), the ring (T8), credits (O1). */
#include "testkit.h"

#include "credit.h"
#include "nack_ring.h"
#include "trunk_watch.h"

#include <string.h>

/* --- T7 */
static void t7_round_trip_is_the_least_of_a_second(void **state)
{
    struct trunk_watch w = {0};
    assert_int_equal(vcl__watch_rtt(&w), 0);
    vcl__watch_sent(&w, 1000, 1, 500);
    vcl__watch_acked(&w, 1900, 1, 0); /* the helper had nothing to send for long */
    vcl__watch_sent(&w, 2000, 2, 500);
    vcl__watch_acked(&w, 2120, 2, 1);
    assert_int_equal(vcl__watch_rtt(&w), 120);
    vcl__watch_sent(&w, 3000, 3, 500);
    vcl__watch_acked(&w, 3500, 4, 0); /* 3 did not arrive: no sample */
    assert_int_equal(vcl__watch_rtt(&w), 120);
}

static void t7_large_batches_lost_while_small_arrive_shrink_the_segment(void **state)
{
    for (int small = 0; small < 2; small++) {
        struct trunk_watch w = {0};
        for (uint64_t seq = 1; seq <= 12; seq++)
            vcl__watch_sent(&w, 1000, seq, seq % 2 == 0 ? 1440 : 100);
        vcl__watch_acked(&w, 1100, 11, small ? 0x155 << 1 : 0x3ff); /* bit i: 10 - i; odd ones only, or all */
        size_t segment = vcl__watch_segment(&w, 1100, 1440);
        assert_int_equal(segment, small ? WATCH_SMALL_BYTES : 1440);
        assert_int_equal(vcl__watch_segment(&w, 1100 + WATCH_SMALL_US, 1440), 1440);
    }
}

/* --- T8, receiver */
static void arrive(struct trunk_watch *w, struct pmw_replay *in, uint64_t now, uint64_t seq)
{
    vcl__watch_arrived(w, in, now, seq);
    pmw_replay_mark(in, seq);
}

static void t8_a_gap_is_asked_for_once_when_it_is_old_enough(void **state)
{
    struct trunk_watch w = {0};
    struct pmw_replay in = {0};
    struct pmw_nack nack;
    arrive(&w, &in, 100, 7); /* numbers before the first are no gap */
    assert_int_equal(vcl__watch_nack_at(&w), UINT64_MAX);
    arrive(&w, &in, 110, 12);
    arrive(&w, &in, 120, 10); /* late, not lost */
    assert_false(vcl__watch_take_nack(&w, &in, 110 + WATCH_NACK_MIN_US - 1, &nack));
    assert_true(vcl__watch_take_nack(&w, &in, 110 + WATCH_NACK_MIN_US, &nack));
    assert_int_equal(nack.first, 8);
    assert_int_equal(nack.count, 2);
    assert_true(vcl__watch_take_nack(&w, &in, 110 + WATCH_NACK_MIN_US, &nack));
    assert_int_equal(nack.first, 11);
    assert_int_equal(nack.count, 1);
    assert_false(vcl__watch_take_nack(&w, &in, 100000, &nack));
    assert_int_equal(pmw_replay_ack_bits(&in), 0x12); /* of 12: 10 and 7 */
}

static void t8_gaps_are_bounded(void **state)
{
    struct trunk_watch w = {0};
    struct pmw_replay in = {0};
    struct pmw_nack nack;
    int asked = 0;
    for (uint64_t i = 0; i < 100; i++)
        arrive(&w, &in, 100, 1 + 2 * i);
    arrive(&w, &in, 100, 1000); /* more than anybody keeps */
    while (vcl__watch_take_nack(&w, &in, 10000, &nack))
        asked++;
    assert_int_equal(asked, WATCH_GAPS_MAX);
}

/* --- T9 */
static void t9_marks_are_taken_once_a_round_by_their_share(void **state)
{
    struct trunk_watch w = {0};
    assert_int_equal(vcl__watch_marks(&w, 1000, 40, 100), 0); /* counted before we were here */
    assert_int_equal(vcl__watch_marks(&w, 1000 + WATCH_MARK_ROUND_US - 1, 50, 110), 0);
    assert_int_equal(vcl__watch_marks(&w, 1000 + WATCH_MARK_ROUND_US, 50, 110), 1024); /* all ten */
    assert_int_equal(vcl__watch_marks(&w, 5000, 50, 200), 0);
    uint32_t share = vcl__watch_marks(&w, 9000, 51, 300); /* smoothed: RFC 8257 3.3 */
    assert_true(share > 0 && share < 1024);
}

/* --- T8, ring */
static void t8_the_ring_repeats_the_identical_datagram_once(void **state)
{
    struct heap h;
    struct nack_ring r = {0};
    const struct pmw_addr to = {.family = 4, .port = 1};
    uint8_t bytes[100];
    int a, b; /* two trunks with the same numbers */
    heap_init(&h);
    for (uint64_t seq = 1; seq <= 5; seq++) {
        memset(bytes, (int)seq, sizeof(bytes));
        vcl__nack_ring_put(&r, &h.mem, 1000, &a, seq, &to, bytes, sizeof(bytes));
        memset(bytes, 0xee, sizeof(bytes));
        vcl__nack_ring_put(&r, &h.mem, 1000, &b, seq, &to, bytes, 10);
    }
    assert_int_equal(vcl__nack_ring_ask(&r, 1500, &a, 2, 2), 2);
    assert_int_equal(vcl__nack_ring_ask(&r, 1500, &a, 2, 2), 0); /* once */
    for (int seq = 2; seq <= 3; seq++) {
        const struct nack_slot *s = vcl__nack_ring_pop(&r);
        assert_int_equal(s->len, sizeof(bytes));
        assert_int_equal(s->bytes[0], seq);
        assert_int_equal(s->bytes[99], seq);
    }
    assert_null(vcl__nack_ring_pop(&r));
    assert_int_equal(vcl__nack_ring_ask(&r, 1000 + NACK_RING_AGE_US + 1, &a, 4, 1), 0); /* C4 was faster */
    assert_int_equal(vcl__nack_ring_ask(&r, 1500, &b, 5, 1), 1);
    vcl__nack_ring_forget(&r, &b);
    assert_null(vcl__nack_ring_pop(&r));
    vcl__nack_ring_free(&r, &h.mem);
    assert_int_equal(h.allocated, 0);
}

static void t8_a_full_ring_forgets_the_oldest(void **state)
{
    struct heap h;
    struct nack_ring r = {0};
    const struct pmw_addr to = {.family = 4, .port = 1};
    uint8_t bytes[40] = {0};
    int a;
    heap_init(&h);
    for (uint64_t seq = 1; seq <= NACK_RING_BATCHES + 10; seq++) {
        vcl__nack_ring_put(&r, &h.mem, 1000, &a, seq, &to, bytes, sizeof(bytes));
        if (seq == 5)
            assert_int_equal(vcl__nack_ring_ask(&r, 1000, &a, 1, 5), 5);
    }
    assert_null(vcl__nack_ring_pop(&r)); /* what was asked for is overwritten */
    assert_int_equal(vcl__nack_ring_ask(&r, 1000, &a, 1, 256), NACK_RING_BATCHES - 10);
    vcl__nack_ring_free(&r, &h.mem);
    h.left = 0; /* without memory: nothing is kept, nothing breaks */
    vcl__nack_ring_put(&r, &h.mem, 1000, &a, 1, &to, bytes, sizeof(bytes));
    assert_int_equal(vcl__nack_ring_ask(&r, 1000, &a, 1, 1), 0);
}

/* --- O1 */
struct shard { /* a server that reads `rate` messages a round, fed by greedy helpers */
    struct credit c;
    struct trunk_credit t[4];
    uint32_t sent[4], heard[4]; /* heard: the limit that reached the helper */
    unsigned lost_of_8;         /* of eight updates so many are lost */
    uint64_t random;
    uint64_t now, queue, oldest_us;
};

/* One round: each helper sends as much of `want` as it may. */
static uint64_t round_of(struct shard *s, int nb, uint64_t want, uint64_t rate)
{
    uint64_t target = 500;
    s->now += CREDIT_ROUND_US;
    uint64_t read = s->queue < rate ? s->queue : rate;
    s->queue -= read;
    uint64_t delay = rate == 0 ? 10 * target : s->queue * CREDIT_ROUND_US / rate;
    vcl__credit_round(&s->c, s->now, target, delay, s->queue, (uint32_t)nb);
    for (int i = 0; i < nb; i++)
        vcl__credit_weigh(&s->c, &s->t[i], CREDIT_ROUND_US);
    for (int i = 0; i < nb; i++) {
        uint32_t before = s->t[i].limit;
        s->t[i].limit = vcl__credit_limit(&s->c, &s->t[i], s->queue);
        assert_true(!s->t[i].told || (int32_t)(s->t[i].limit - before) >= 0); /* it only grows */
        s->t[i].told = true;
        if (below(&s->random, 8) >= s->lost_of_8)
            s->heard[i] = s->t[i].limit;
        uint32_t may = s->heard[i] - s->sent[i], n = want < may ? (uint32_t)want : may;
        s->sent[i] += n;
        s->queue += n;
        vcl__credit_on_demand(&s->t[i], s->sent[i] + (uint32_t)(want - n));
        assert_true((int32_t)(s->t[i].limit - s->sent[i]) >= 0); /* I10: never more than granted */
    }
    return read;
}

static void shard_init(struct shard *s, uint32_t from)
{
    *s = (struct shard){.now = 1000000, .random = 42};
    for (int i = 0; i < 4; i++) {
        s->sent[i] = s->heard[i] = from;
        vcl__credit_on_demand(&s->t[i], from);
    }
}

static void o1_who_keeps_up_limits_nobody(void **state)
{
    struct shard s;
    shard_init(&s, 0);
    for (int i = 0; i < 2000; i++) {
        round_of(&s, 4, 20, 200);
        for (int k = 0; k < 4; k++)
            assert_int_equal(vcl__credit_waiting(&s.t[k]), 0);
        assert_false(s.c.limited);
    }
}

/* Three times what the application can do: it is busy all the time, and nothing waits for long. */
static void case_54_three_times_the_load(void **state)
{
    struct shard s;
    uint64_t read = 0, queue_max = 0;
    shard_init(&s, 0);
    for (int i = 0; i < 1000; i++)
        round_of(&s, 4, 75, 100);
    for (int i = 0; i < 2000; i++) {
        read += round_of(&s, 4, 75, 100);
        queue_max = s.queue > queue_max ? s.queue : queue_max;
    }
    assert_true(read >= 2000 * 100 * 95 / 100);
    assert_true(queue_max <= 2000); /* 2 ms at 1 M messages a second */
    for (int i = 0; i < 1000; i++)  /* 100 ms after it ends */
        round_of(&s, 4, 10, 100);
    assert_false(s.c.limited);
}

static void o1_a_stopped_application_leaves_one_message_a_helper_and_round(void **state)
{
    struct shard s;
    shard_init(&s, 0);
    for (int i = 0; i < 500; i++)
        round_of(&s, 4, 100, 0);
    uint64_t before = s.queue;
    for (int i = 0; i < 10; i++)
        round_of(&s, 4, 100, 0);
    assert_true(s.queue - before <= 4 * 10);
}

static void o1_counts_pass_two_to_the_32(void **state)
{
    struct shard s;
    shard_init(&s, UINT32_MAX - 500);
    for (int i = 0; i < 200; i++)
        round_of(&s, 2, 20, 200);
    assert_int_equal(s.sent[0], (uint32_t)(UINT32_MAX - 500 + 200 * 20)); /* wrapped, never limited */
    vcl__credit_on_demand(&s.t[0], s.sent[0] - 100);                      /* an older batch: says less */
    assert_int_equal(vcl__credit_sent(&s.t[0]), s.sent[0]);
}

/* I10: what is told is absolute, so what was lost or came late costs nothing once the next has arrived. */
static void case_56_credit_lost_and_wrapped(void **state)
{
    struct shard s;
    uint64_t read = 0;
    shard_init(&s, UINT32_MAX - 20000);
    s.lost_of_8 = 6;
    for (int i = 0; i < 4000; i++)
        read += round_of(&s, 4, 75, 100);
    assert_true(s.sent[0] < UINT32_MAX / 2); /* it has wrapped */
    assert_true(read >= 4000 * 100 * 9 / 10);
    s.lost_of_8 = 0;
    for (int i = 0; i < 1000; i++)
        round_of(&s, 4, 10, 100);
    for (int k = 0; k < 4; k++) { /* at rest: nothing has leaked */
        assert_int_equal(vcl__credit_waiting(&s.t[k]), 0);
        assert_true(vcl__credit_left(&s.t[k]) >= CREDIT_SPARE_ENTRIES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(t7_round_trip_is_the_least_of_a_second),
        cmocka_unit_test(t7_large_batches_lost_while_small_arrive_shrink_the_segment),
        cmocka_unit_test(t8_a_gap_is_asked_for_once_when_it_is_old_enough),
        cmocka_unit_test(t8_gaps_are_bounded),
        cmocka_unit_test(t9_marks_are_taken_once_a_round_by_their_share),
        cmocka_unit_test(t8_the_ring_repeats_the_identical_datagram_once),
        cmocka_unit_test(t8_a_full_ring_forgets_the_oldest),
        cmocka_unit_test(o1_who_keeps_up_limits_nobody),
        cmocka_unit_test(case_54_three_times_the_load),
        cmocka_unit_test(o1_a_stopped_application_leaves_one_message_a_helper_and_round),
        cmocka_unit_test(o1_counts_pass_two_to_the_32),
        cmocka_unit_test(case_56_credit_lost_and_wrapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
