/* SPDX-License-Identifier: Apache-2.0
 *
 * Credit (O1), the frames that wait for it (O2), and BUSY (O3), with the server's end played by hand.
 */
#include "fake_server.h"
#include "relay_state.h"

#define CID cid_of(1, 0, 5)

struct fixture {
    struct sink sink;
    struct relay_config config;
    struct relay *relay;
    struct fake_server server;
    uint8_t frame[PMW_FRAME_BYTES_BASE];
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->config = config_for(&f->sink);
    f->config.servers_max = 32;
    f->server = fake_server_named(1);
    assert_int_equal(relay_new(&f->relay, &f->config), 0);
    assert_int_equal(relay_server_set(f->relay, &f->server.is), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    relay_free(f->relay);
    assert_int_equal(f->sink.nb_out, 0);
    sink_forget(&f->sink);
    free(f);
    return 0;
}

static struct relay_stats stats_of(const struct fixture *f)
{
    struct relay_stats stats;

    relay_stats_get(f->relay, &stats);
    return stats;
}

static void server_gives(struct fixture *f, uint64_t now, uint32_t limit)
{
    fake_begin(&f->server);
    fake_credit(&f->server, limit);
    assert_int_equal(fake_send(&f->server, f->relay, now), 0);
}

/* DATA whose seq tells which it is. */
static int data(struct fixture *f, uint64_t now, uint32_t seq, uint8_t flags)
{
    const struct pmw_frame frame = {
        .type = PMW_DATA, .flags = PMW_F_CHECK | flags, .cid = CID, .seq = seq, .payload_len = 8};
    int len = pmw_frame_encode(f->frame, sizeof(f->frame), &frame, (const uint8_t *)"01234567");

    return client_gives(f->relay, now, &CLIENT, f->frame, (size_t)len);
}

/* How many entries have left since the last time. The seqs of DATA among them must go on from *seq. */
static int left(struct fixture *f, uint64_t now, uint32_t *seq)
{
    int nb = 0;

    relay_flush_due(f->relay, now + HOLD_US);
    for (int i = 0; i < f->sink.nb_sent; i++) {
        if (!f->sink.sent[i].to_server)
            continue;
        struct taken taken = fake_take(&f->server, &f->sink, i);
        for (int e = 0; e < taken.header.nb_entries; e++) {
            struct pmw_frame frame;
            assert_int_equal(
                pmw_frame_decode(taken.entries[e].as_long.frame, taken.entries[e].as_long.frame_len, &frame), 0);
            if (seq)
                assert_int_equal(frame.seq, (*seq)++);
            nb++;
        }
    }
    sink_forget(&f->sink);
    return nb;
}

static void test_before_the_first_word_all_may_go(void **state)
{
    struct fixture *f = *state;
    uint32_t seq = 0;

    for (uint32_t i = 0; i < 300; i++)
        assert_int_equal(data(f, 0, i, 0), 0);
    assert_int_equal(left(f, 0, &seq), 300);
    assert_int_equal(stats_of(f).frames_held, 0);
}

static void test_no_more_than_the_limit_goes_and_the_rest_in_order(void **state)
{
    struct fixture *f = *state;
    uint32_t seq = 0;

    server_gives(f, 0, 3);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(data(f, 0, i, 0), 0);
    assert_int_equal(left(f, 0, &seq), 3);
    server_gives(f, 200, 7);
    assert_int_equal(left(f, 200, &seq), 4);
    assert_int_equal(data(f, 300, 10, 0), 0); /* behind those that wait */
    server_gives(f, 400, 100);
    assert_int_equal(left(f, 400, &seq), 4);
    assert_int_equal(seq, 11);
    assert_int_equal(stats_of(f).frames_held, 8);
    assert_int_equal(stats_of(f).nb_held, 0);
    assert_int_equal(stats_of(f).trunk_data_entries_out, 11);
}

static void test_what_needs_no_credit_passes(void **state)
{
    struct fixture *f = *state;
    const struct pmw_frame ack = {.type = PMW_ACK, .flags = PMW_F_CHECK, .cid = CID};
    const struct pmw_reset reset = {.cid = CID, .epoch = 1};
    uint8_t buf[PMW_FRAME_BYTES_BASE];

    server_gives(f, 0, 0);
    assert_int_equal(data(f, 0, 1, PMW_F_RESEND), 0);
    assert_int_equal(client_gives(f->relay, 0, &CLIENT, buf, (size_t)pmw_frame_encode(buf, sizeof(buf), &ack, NULL)),
                     0);
    assert_int_equal(client_gives(f->relay, 0, &CLIENT, buf, (size_t)pmw_reset_encode(buf, sizeof(buf), &reset)), 0);
    assert_int_equal(client_gives(f->relay, 0, &CLIENT, buf, probe_frame(buf, 1)), 0);
    assert_int_equal(f->sink.nb_sent, 3);                                  /* two urgent batches and PONG */
    assert_int_equal(fake_take(&f->server, &f->sink, 0).header.credit, 0); /* and none of it was counted */
    assert_int_equal(stats_of(f).frames_held, 0);
}

static void test_late_and_lost_words_do_no_harm(void **state)
{
    struct fixture *f = *state;

    server_gives(f, 0, 5);
    server_gives(f, 0, 2); /* an older word that came late */
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(data(f, 0, i, 0), 0);
    assert_int_equal(left(f, 0, NULL), 5);
}

static void test_limits_wrap_at_32_bits(void **state)
{
    struct fixture *f = *state;
    struct credit *credit = &server_table_find(&f->relay->servers, 1, 0)->credit;

    *credit = (struct credit){.known = true, .limit = UINT32_MAX - 1, .used = UINT32_MAX - 1};
    assert_int_equal(data(f, 0, 0, 0), 0);
    assert_int_equal(left(f, 0, NULL), 0);
    server_gives(f, 0, 3);
    for (uint32_t i = 1; i < 9; i++)
        assert_int_equal(data(f, 0, i, 0), 0);
    assert_int_equal(left(f, 0, NULL), 5);
    assert_int_equal(credit->used, 3);
}

/* O1: the server hears at once that somebody waits, and how many, in the numbers of its limit. */
static void test_demand_is_what_was_sent_and_what_waits(void **state)
{
    struct fixture *f = *state;

    server_gives(f, 0, 2);
    for (uint32_t i = 0; i < 2; i++)
        data(f, 0, i, 0);
    assert_int_equal(f->sink.nb_sent, 0);
    data(f, 0, 2, 0);
    assert_int_equal(f->sink.nb_sent, 1); /* with the two that may go */
    struct taken taken = fake_take(&f->server, &f->sink, 0);
    assert_int_equal(taken.header.nb_entries, 2);
    assert_true(taken.header.flags & PMW_TRUNK_CREDIT);
    assert_int_equal(taken.header.credit, 3);
    for (uint32_t i = 3; i < 6; i++)
        data(f, 0, i, 0);
    assert_int_equal(f->sink.nb_sent, 1);
    data(f, 0, 99, PMW_F_RESEND | PMW_F_URGENT);
    assert_int_equal(fake_take_last(&f->server, &f->sink, f->relay, 0).header.credit, 6);
}

static void test_demand_alone_makes_a_batch(void **state)
{
    struct fixture *f = *state;

    server_gives(f, 0, 0);
    data(f, 0, 0, 0);
    struct taken taken = fake_take_last(&f->server, &f->sink, f->relay, 0);
    assert_int_equal(taken.header.nb_entries, 0);
    assert_int_equal(taken.header.credit, 1);
}

/* O1: what the server said last may be lost. The server is asked when ageing comes by, until there is credit. */
static void test_a_helper_without_credit_asks_for_it(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < f->config.servers_max; i++)
        relay_age(f->relay, 0); /* nothing was said yet: everything may be sent */
    assert_int_equal(f->sink.nb_sent, 0);
    server_gives(f, 0, 1);
    data(f, 0, 0, PMW_F_URGENT);
    for (int round = 0; round < 2; round++) {
        sink_forget(&f->sink);
        for (uint32_t i = 0; i < f->config.servers_max; i++)
            relay_age(f->relay, 0);
        assert_int_equal(f->sink.nb_sent, 1);
        struct taken taken = fake_take(&f->server, &f->sink, 0);
        assert_int_equal(taken.header.nb_entries, 0);
        assert_int_equal(taken.header.credit, 1);
    }
    server_gives(f, 0, 2);
    sink_forget(&f->sink);
    for (uint32_t i = 0; i < f->config.servers_max; i++)
        relay_age(f->relay, 0);
    assert_int_equal(f->sink.nb_sent, 0);
}

static struct pmw_busy busy_of(const struct fixture *f, int i)
{
    struct pmw_busy busy;

    assert_false(f->sink.sent[i].to_server);
    assert_true(pmw_addr_equal(&f->sink.sent[i].to, &CLIENT));
    assert_int_equal(pmw_busy_decode(f->sink.sent[i].buf, f->sink.sent[i].len, &busy), 0);
    assert_true(busy.cid == CID);
    assert_int_equal(busy.helper_id, HELPER_ID);
    assert_true(busy.retry_after_us >= HELD_RETRY_US_MIN && busy.retry_after_us <= HELD_RETRY_US_MAX);
    return busy;
}

static void test_the_one_that_finds_no_room_is_told_busy(void **state)
{
    struct fixture *f = *state;
    uint32_t seq = 0;

    server_gives(f, 0, 0);
    for (uint32_t i = 0; i < HELD_FRAMES_MAX; i++)
        assert_int_equal(data(f, 0, i, 0), 0);
    sink_forget(&f->sink);
    assert_int_equal(data(f, 0, 0x12345678, 0), RELAY_DROP_HELD_FULL);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(busy_of(f, 0).seq, 0x12345678);
    assert_int_equal(client_gives_short(f->relay, 0, &CLIENT, CID, 0x4321), RELAY_DROP_HELD_FULL);
    assert_int_equal(busy_of(f, 1).seq, 0x4321); /* as the frame said it */
    assert_int_equal(stats_of(f).busy, 2);
    sink_forget(&f->sink);
    server_gives(f, 0, 1000); /* the others kept their place */
    assert_int_equal(left(f, 0, &seq), HELD_FRAMES_MAX);
}

static void test_nobody_waits_longer_than_five_ms(void **state)
{
    struct fixture *f = *state;

    server_gives(f, 0, 0);
    data(f, 1000, 1, 0);
    data(f, 3000, 2, 0);
    assert_true(relay_flush_due(f->relay, 5999) == 6000);
    sink_forget(&f->sink);
    assert_true(relay_flush_due(f->relay, 6000) == 8000);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(busy_of(f, 0).seq, 1);
    assert_true(relay_flush_due(f->relay, 8000) == UINT64_MAX);
    assert_int_equal(busy_of(f, 1).seq, 2);
    assert_int_equal(stats_of(f).drops[RELAY_DROP_HELD_LATE], 2);
    server_gives(f, 8000, 10);
    assert_int_equal(left(f, 8000, NULL), 0);
    data(f, 8000, 3, PMW_F_URGENT); /* those that were turned away used no credit */
    assert_int_equal(fake_take_last(&f->server, &f->sink, f->relay, 8000).header.credit, 1);
}

/* Twice the queue, or half the credit, is twice the wait. */
static void test_retry_after_follows_queue_and_credit(void **state)
{
    struct fixture *f = *state;
    uint32_t waits_us[2];

    for (int slow = 0; slow < 2; slow++) {
        uint64_t now = 1000000u * (uint64_t)(slow + 1);
        uint32_t limit = 1000u * (uint32_t)(slow + 1);
        server_gives(f, now, limit);
        while (stats_of(f).nb_held == 0)
            data(f, now, 0, 0);
        for (uint32_t i = 0; i < 100; i++)
            data(f, now, i, 0);
        server_gives(f, now + HELD_RATE_US, limit + (slow ? 40 : 80)); /* in 4 ms */
        while (stats_of(f).nb_held < HELD_FRAMES_MAX)
            data(f, now + HELD_RATE_US, 7, 0);
        sink_forget(&f->sink);
        data(f, now + HELD_RATE_US, 8, 0);
        waits_us[slow] = busy_of(f, 0).retry_after_us;
        relay_flush_due(f->relay, now + 100000);
        sink_forget(&f->sink);
    }
    assert_in_range(waits_us[0], HELD_FRAMES_MAX * 50, HELD_FRAMES_MAX * 52);   /* 4,000 us / 80 */
    assert_in_range(waits_us[1], HELD_FRAMES_MAX * 100, HELD_FRAMES_MAX * 102); /* 4,000 us / 40 */
}

static void test_all_shards_together_hold_a_bounded_number(void **state)
{
    struct fixture *f = *state;
    uint32_t nb_refused = 0;

    for (uint16_t id = 1; id <= 20; id++) {
        struct fake_server s = fake_server_named(id);
        assert_int_equal(relay_server_set(f->relay, &s.is), 0);
        fake_begin(&s);
        fake_credit(&s, 0);
        fake_send(&s, f->relay, 0);
        for (uint32_t i = 0; i < HELD_FRAMES_MAX; i++)
            nb_refused +=
                client_gives(f->relay, 0, &CLIENT, f->frame, data_frame(f->frame, cid_of(id, 0, i), 1280, 0)) != 0;
    }
    assert_int_equal(stats_of(f).nb_held, HELD_FRAMES_MAX_ALL);
    assert_int_equal(nb_refused, 20 * HELD_FRAMES_MAX - HELD_FRAMES_MAX_ALL);
}

static void test_what_waits_for_a_removed_server_goes_with_it(void **state)
{
    struct fixture *f = *state;

    server_gives(f, 0, 0);
    data(f, 0, 1, 0);
    assert_int_equal(relay_server_remove(f->relay, 1), 0);
    assert_int_equal(stats_of(f).nb_held, 0);
    assert_true(relay_flush_due(f->relay, 0) == UINT64_MAX);
    assert_int_equal(stats_of(f).drops[RELAY_DROP_UNKNOWN_SERVER], 1);
}

/* Without a buffer for it the client's timeout does what BUSY would have done. */
static void test_without_buffers_nobody_is_told(void **state)
{
    struct fixture *f = *state;

    server_gives(f, 0, 0);
    f->sink.exhausted = true;
    assert_int_equal(data(f, 0, 1, 0), 0);
    assert_true(relay_flush_due(f->relay, HELD_US_MAX) == UINT64_MAX);
    assert_int_equal(stats_of(f).busy, 0);
    assert_int_equal(stats_of(f).drops[RELAY_DROP_HELD_LATE], 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_before_the_first_word_all_may_go),
        TEST(test_no_more_than_the_limit_goes_and_the_rest_in_order),
        TEST(test_what_needs_no_credit_passes),
        TEST(test_late_and_lost_words_do_no_harm),
        TEST(test_limits_wrap_at_32_bits),
        TEST(test_demand_is_what_was_sent_and_what_waits),
        TEST(test_demand_alone_makes_a_batch),
        TEST(test_a_helper_without_credit_asks_for_it),
        TEST(test_the_one_that_finds_no_room_is_told_busy),
        TEST(test_nobody_waits_longer_than_five_ms),
        TEST(test_retry_after_follows_queue_and_credit),
        TEST(test_all_shards_together_hold_a_bounded_number),
        TEST(test_what_waits_for_a_removed_server_goes_with_it),
        TEST(test_without_buffers_nobody_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
