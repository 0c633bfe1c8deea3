/* SPDX-License-Identifier: Apache-2.0
 *
 * What trunks tell of themselves and mend: acknowledged batches (T7), missing ones asked for and sent again (T8), marks
 * (T9). With the server's end played by hand.
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

/* An empty batch with this number arrives. */
static void arrives(struct fixture *f, uint64_t now, uint64_t seq)
{
    f->server.seq = seq - 1;
    fake_begin(&f->server);
    assert_int_equal(fake_send(&f->server, f->relay, now), 0);
}

/* The client makes the relay send one batch, at once, of so many payload bytes. */
static void sends(struct fixture *f, uint64_t now, uint16_t payload_len)
{
    size_t len = data_frame(f->frame, CID, payload_len, PMW_F_URGENT);
    assert_int_equal(client_gives(f->relay, now, &CLIENT, f->frame, len), 0);
}

static void acked(struct fixture *f, uint64_t now, uint32_t batch, uint32_t bits)
{
    fake_begin(&f->server);
    fake_ack(&f->server, batch, bits);
    assert_int_equal(fake_send(&f->server, f->relay, now), 0);
}

/* --- T8, what is missing here ------------------------------------------------------------------------------------ */

static void test_a_gap_is_asked_for_once_after_the_reorder_time(void **state)
{
    struct fixture *f = *state;

    arrives(f, 0, 40); /* nothing before the first is a gap */
    assert_true(relay_flush_due(f->relay, 0) == UINT64_MAX);
    arrives(f, 100, 43);
    arrives(f, 110, 46);
    assert_true(relay_flush_due(f->relay, 149) == 150);
    assert_int_equal(f->sink.nb_sent, 0);
    relay_flush_due(f->relay, 150);
    struct taken taken = fake_take(&f->server, &f->sink, 0); /* at once, not held */
    assert_int_equal(taken.header.nb_entries, 1);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_NACK);
    assert_int_equal(taken.entries[0].nack.first, 41);
    assert_int_equal(taken.entries[0].nack.count, 2);
    assert_true(relay_flush_due(f->relay, 199) == 200); /* the second gap has its own time */
    relay_flush_due(f->relay, 200);
    taken = fake_take(&f->server, &f->sink, 1);
    assert_int_equal(taken.entries[0].nack.first, 44);
    assert_int_equal(taken.entries[0].nack.count, 2);
    assert_true(relay_flush_due(f->relay, 1000000) == UINT64_MAX); /* once */
    assert_int_equal(f->sink.nb_sent, 2);
    assert_int_equal(stats_of(f).trunk_batches_missed, 4);
}

static void test_what_was_only_late_is_not_asked_for(void **state)
{
    struct fixture *f = *state;

    arrives(f, 0, 1);
    arrives(f, 0, 4);
    arrives(f, 10, 3);
    arrives(f, 20, 2);
    assert_true(relay_flush_due(f->relay, 50) == UINT64_MAX);
    assert_int_equal(f->sink.nb_sent, 0);
}

static void test_the_reorder_time_is_a_quarter_of_the_round_trip(void **state)
{
    struct fixture *f = *state;

    sends(f, 0, 8);
    acked(f, 2000, 1, 0);
    assert_int_equal(stats_of(f).trunk_rtt_us_max, 2000);
    arrives(f, 3000, f->server.seq + 2);
    assert_true(relay_flush_due(f->relay, 3000) == 3500);
}

static void test_a_disaster_is_not_asked_for_as_a_whole(void **state)
{
    struct fixture *f = *state;

    arrives(f, 0, 1);
    arrives(f, 0, 1000000);
    relay_flush_due(f->relay, GAPS_WAIT_US_MAX);
    struct taken taken = fake_take(&f->server, &f->sink, 0);
    assert_int_equal(taken.header.nb_entries, 1);
    assert_int_equal(taken.entries[0].nack.count, GAPS_NUMBERS_MAX);
    assert_int_equal(taken.entries[0].nack.first, 1000000 - GAPS_NUMBERS_MAX);
}

/* --- T8, what the server misses ---------------------------------------------------------------------------------- */

static void ask(struct fixture *f, uint64_t now, uint32_t first, uint16_t count)
{
    fake_begin(&f->server);
    fake_put_nack(&f->server, first, count);
    assert_int_equal(fake_send(&f->server, f->relay, now), 0);
}

static void test_a_batch_that_is_asked_for_goes_again_as_it_was_once(void **state)
{
    struct fixture *f = *state;

    for (uint16_t i = 1; i <= 5; i++)
        sends(f, 0, i);
    ask(f, 1000, 2, 3);
    assert_int_equal(f->sink.nb_sent, 8);
    for (int i = 0; i < 3; i++) {
        const struct sent *first = &f->sink.sent[1 + i], *again = &f->sink.sent[5 + i];
        assert_true(again->to_server && pmw_addr_equal(&again->to, &f->server.is.addr));
        assert_int_equal(again->len, first->len);
        assert_memory_equal(again->buf, first->buf, first->len); /* tag and number, too: the receiver tells them (T2) */
    }
    ask(f, 1000, 1, 256);
    assert_int_equal(f->sink.nb_sent, 10); /* those that had not been sent twice */
    ask(f, 1000, 1, 256);
    assert_int_equal(f->sink.nb_sent, 10);
    assert_int_equal(stats_of(f).trunk_batches_resent, 5);
}

static void test_nobody_has_the_batches_of_another_server(void **state)
{
    struct fixture *f = *state;
    struct fake_server other = fake_server_named(2);

    assert_int_equal(relay_server_set(f->relay, &other.is), 0);
    sends(f, 0, 8);
    fake_begin(&other);
    fake_put_nack(&other, 1, 10);
    assert_int_equal(fake_send(&other, f->relay, 0), 0);
    assert_int_equal(f->sink.nb_sent, 1);
}

static void test_numbers_sealed_with_other_keys_are_forgotten(void **state)
{
    struct fixture *f = *state;

    sends(f, 0, 8);
    f->server.is.trunk_key_to_server[0] ^= 1;
    assert_int_equal(relay_server_set(f->relay, &f->server.is), 0);
    f->server.seq = 0;
    ask(f, 0, 1, 10);
    assert_int_equal(f->sink.nb_sent, 1);
}

/* NACK lost, or for what is not kept any more: nothing happens here, and the endpoints mend it (C4). */
static void case_52_nack_too_late_or_ring_overrun(void **state)
{
    struct fixture *f = *state;

    sends(f, 0, 8);
    ask(f, RESEND_RING_US + 1, 1, 1); /* too old */
    assert_int_equal(f->sink.nb_sent, 1);
    for (int i = 0; i < RESEND_RING_BATCHES + 10; i++)
        sends(f, 10000, 8);
    int nb_sent = f->sink.nb_sent;
    ask(f, 10000, 2, 10); /* 2 to 11 were overwritten */
    assert_int_equal(f->sink.nb_sent, nb_sent);
    ask(f, 10000, 12, 1);
    assert_int_equal(f->sink.nb_sent, nb_sent + 1);
    assert_int_equal(stats_of(f).trunk_batches_resent, 1);
}

/* --- T7 ---------------------------------------------------------------------------------------------------------- */

static void test_batches_acknowledge_what_arrived(void **state)
{
    struct fixture *f = *state;

    sends(f, 0, 8);
    assert_false(fake_take(&f->server, &f->sink, 0).header.flags & PMW_TRUNK_ACKS);
    arrives(f, 0, 7);
    arrives(f, 0, 40);
    arrives(f, 0, 39);
    arrives(f, 0, 36);
    sends(f, 0, 8);
    struct taken taken = fake_take(&f->server, &f->sink, 1);
    assert_true(taken.header.flags & PMW_TRUNK_ACKS);
    assert_int_equal(taken.header.ack_batch, 40);
    assert_int_equal(taken.header.ack_bits, 1u << 0 | 1u << 3); /* 39, 36; 7 is 33 below */
}

static void test_losses_are_counted_once(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 10; i++)
        sends(f, 0, 8);
    acked(f, 100, 6, 1u << 0 | 1u << 1 | 1u << 2); /* 6, 5, 4, 3 of 6: 1 and 2 are lost */
    assert_int_equal(stats_of(f).trunk_batches_lost, 2);
    acked(f, 100, 6, 1u << 0 | 1u << 1 | 1u << 2);
    acked(f, 200, 10, 1u << 3 | 1u << 4); /* 10, 6, 5: 7 is lost, 8 and 9 may be late */
    assert_int_equal(stats_of(f).trunk_batches_lost, 3);
    acked(f, 200, 11, 0); /* of what was never sent */
    acked(f, 200, 0, 0);
    assert_int_equal(stats_of(f).trunk_batches_lost, 3);
}

static void fill(struct fixture *f, uint64_t now)
{
    for (int i = 0; i < 14; i++)
        client_gives(f->relay, now, &CLIENT, f->frame, data_frame(f->frame, CID, 64, 0));
}

/* The path's MTU fell: full batches vanish while small ones arrive. */
static void test_two_large_ones_lost_in_a_row_are_a_black_hole(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 2; i++) {
        fill(f, 0);
        relay_flush_due(f->relay, HOLD_US);
    }
    for (int i = 0; i < 4; i++)
        sends(f, 0, 8);
    /* 1 and 3 were full and are lost; 2 and 4 ... 8 arrived. */
    acked(f, 1000, 8, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5);
    assert_int_equal(stats_of(f).trunk_batches_lost, 2);
    assert_int_equal(stats_of(f).trunk_black_holes, 1);
    sink_forget(&f->sink);
    fill(f, 1000);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(f->sink.sent[0].len, ACKS_LARGE_BYTES); /* a full one now */
    sends(f, 1000, 1280);                                    /* larger than that: alone */
    assert_int_equal(f->sink.nb_sent, 3);
    assert_int_equal(fake_take(&f->server, &f->sink, 2).header.nb_entries, 1);
    sink_forget(&f->sink);
    fill(f, 1000 + ACKS_HOLE_US);
    assert_int_equal(f->sink.sent[0].len, TRUNK_BYTES);
}

/* --- T9 ---------------------------------------------------------------------------------------------------------- */

static void test_marks_are_counted_and_told(void **state)
{
    struct fixture *f = *state;
    uint8_t batch[PMW_TRUNK_BYTES_MAX];
    const struct pmw_entry entry = {
        .client = CLIENT, .frame = f->frame, .frame_len = (uint16_t)data_frame(f->frame, CID, 8, 0)};

    for (uint64_t seq = 1; seq <= 3; seq++) {
        size_t len = server_batch(batch, &f->server.is, seq, &entry, 1);
        assert_int_equal(relay_trunk_datagram(f->relay, 0, &f->server.is.addr, batch, len, seq != 2), 0);
        relay_trunk_datagram(f->relay, 0, &f->server.is.addr, batch, len, true); /* a copy: dropped, not counted */
        batch[40] ^= 1;
        relay_trunk_datagram(f->relay, 0, &f->server.is.addr, batch, len, true); /* nor what nobody sealed */
    }
    sink_forget(&f->sink);
    sends(f, 0, 8);
    assert_int_equal(fake_take(&f->server, &f->sink, 0).header.ce_count, 2);
    f->server.seq = 3;
    for (uint16_t told = 5; told <= 8; told += 3) {
        fake_begin(&f->server);
        f->server.header.ce_count = told;
        fake_send(&f->server, f->relay, 0);
    }
    assert_int_equal(stats_of(f).trunk_marked_in, 2);
    assert_int_equal(stats_of(f).trunk_marked_out, 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_gap_is_asked_for_once_after_the_reorder_time),
        TEST(test_what_was_only_late_is_not_asked_for),
        TEST(test_the_reorder_time_is_a_quarter_of_the_round_trip),
        TEST(test_a_disaster_is_not_asked_for_as_a_whole),
        TEST(test_a_batch_that_is_asked_for_goes_again_as_it_was_once),
        TEST(test_nobody_has_the_batches_of_another_server),
        TEST(test_numbers_sealed_with_other_keys_are_forgotten),
        TEST(case_52_nack_too_late_or_ring_overrun),
        TEST(test_batches_acknowledge_what_arrived),
        TEST(test_losses_are_counted_once),
        TEST(test_two_large_ones_lost_in_a_row_are_a_black_hole),
        TEST(test_marks_are_counted_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
