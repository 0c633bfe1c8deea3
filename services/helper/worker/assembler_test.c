/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches as a server sees them: which entries, when, how long, with which numbers (T1, T2, T4).
 */
#include "assembler.h"
#include "relay_fixture.h"

struct fixture {
    struct sink sink;
    struct relay_stats stats;
    struct assembler assembler;
    void *memory;
    struct server servers[4];
    struct relay_config config;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->config = config_for(&f->sink);
    f->config.servers_max = 4;
    f->memory = calloc(1, assembler_bytes(&f->config));
    assembler_init(&f->assembler, f->memory, &f->config, &f->stats);
    for (uint16_t i = 0; i < 4; i++)
        f->servers[i] = (struct server){.is = server_named(i + 1, i), .slot = i, .live = true};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    for (uint32_t i = 0; i < 4; i++)
        assembler_discard(&f->assembler, i);
    assert_int_equal(f->sink.nb_out, 0);
    sink_forget(&f->sink);
    free(f->memory);
    free(f);
    return 0;
}

static enum relay_drop push(struct fixture *f, int server, uint64_t now, uint16_t payload_len, bool urgent)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    const struct pmw_entry entry = {
        .client = CLIENT, .frame = frame, .frame_len = (uint16_t)data_frame(frame, now, payload_len, 0)};

    return assembler_push(&f->assembler, &f->servers[server], now, &entry, urgent);
}

static void test_holds_until_the_oldest_is_due(void **state)
{
    struct fixture *f = *state;
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];

    assert_int_equal(push(f, 0, 1000, 64, false), RELAY_DROP_NONE);
    assert_int_equal(push(f, 0, 1080, 64, false), RELAY_DROP_NONE);
    assert_true(assembler_flush_due(&f->assembler, f->servers, 1099) == 1100);
    assert_int_equal(f->sink.nb_sent, 0);
    assert_true(assembler_flush_due(&f->assembler, f->servers, 1100) == DUE_NONE);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(open_batch(&f->sink.sent[0], &f->servers[0].is, &header, entries), 2);
    assert_true(pmw_addr_equal(&entries[1].client, &CLIENT));
    assert_int_equal(entries[1].frame_len, 24 + 64 + 4);
    assert_int_equal(header.hold_us, 60); /* mean of 100 and 20 */
    assert_int_equal(header.helper_id, HELPER_ID);
    assert_int_equal(header.incarnation, INCARNATION);
    assert_int_equal(header.worker, 1);
    assert_int_equal(header.batch_seq, 1);
    assert_int_equal(f->sink.sent[0].len, 32 + 2 * (9 + 92) + 8); /* a partial batch is not padded */
    assert_int_equal(f->stats.flush_age, 1);
}

static void test_a_full_batch_is_padded_to_the_segment_size(void **state)
{
    struct fixture *f = *state;
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];
    int nb_pushed = 0;

    while (f->sink.nb_sent == 0)
        assert_int_equal(push(f, 0, 5, 64, false), (nb_pushed++, RELAY_DROP_NONE));
    assert_int_equal(f->sink.sent[0].len, TRUNK_BYTES);
    assert_int_equal(open_batch(&f->sink.sent[0], &f->servers[0].is, &header, entries), (1440 - 40) / 101);
    assert_int_equal(nb_pushed, (1440 - 40) / 101 + 1); /* the one that did not fit opened the next */
    assert_int_equal(f->stats.flush_size, 1);
    assert_true(assembler_flush_due(&f->assembler, f->servers, 105) == DUE_NONE);
    assert_int_equal(open_batch(&f->sink.sent[1], &f->servers[0].is, &header, entries), 1);
    assert_int_equal(header.batch_seq, 2);
}

static void test_every_fill_level_decodes(void **state)
{
    struct fixture *f = *state;
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];

    for (uint16_t payload = 0; payload <= PMW_PAYLOAD_BYTES_BASE; payload++) {
        push(f, 0, 0, payload, false);
        push(f, 0, 0, PMW_PAYLOAD_BYTES_BASE - payload, false); /* together near the segment size: pads of 0 .. n */
        assembler_flush_due(&f->assembler, f->servers, HOLD_US);
        for (int i = 0; i < f->sink.nb_sent; i++) {
            assert_true(f->sink.sent[i].len <= TRUNK_BYTES);
            assert_true(open_batch(&f->sink.sent[i], &f->servers[0].is, &header, entries) > 0);
        }
        sink_forget(&f->sink);
    }
}

static void test_entry_limit(void **state)
{
    struct fixture *f = *state;

    f->assembler.limits.entries_max = 3;
    push(f, 0, 0, 1, false);
    push(f, 0, 0, 1, false);
    assert_int_equal(f->sink.nb_sent, 0);
    push(f, 0, 0, 1, false);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(f->sink.sent[0].len, 32 + 3 * (9 + 29) + 8);
    assert_int_equal(f->stats.flush_size, 1);
}

static void test_urgent_takes_the_waiting_ones_along(void **state)
{
    struct fixture *f = *state;
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];

    push(f, 0, 0, 64, false);
    push(f, 0, 10, 64, true);
    assert_int_equal(f->sink.nb_sent, 1);
    assert_int_equal(open_batch(&f->sink.sent[0], &f->servers[0].is, &header, entries), 2);
    assert_int_equal(f->stats.flush_urgent, 1);
    assert_true(assembler_flush_due(&f->assembler, f->servers, UINT64_MAX) == DUE_NONE);
    assert_int_equal(f->sink.nb_sent, 1);
}

static void test_servers_do_not_share_batches_or_numbers(void **state)
{
    struct fixture *f = *state;
    struct pmw_trunk header;
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];

    for (int server = 0; server < 4; server++)
        push(f, server, (uint64_t)server * 10, 64, false);
    assert_true(assembler_flush_due(&f->assembler, f->servers, 110) == 120); /* two of four are due */
    assert_int_equal(f->sink.nb_sent, 2);
    assembler_flush_due(&f->assembler, f->servers, 1000);
    for (int server = 0; server < 4; server++) {
        assert_int_equal(open_batch(&f->sink.sent[server], &f->servers[server].is, &header, entries), 1);
        assert_int_equal(header.batch_seq, 1);
        assert_int_equal(header.shard, server);
    }
}

static void test_numbers_go_past_32_bits(void **state)
{
    struct fixture *f = *state;

    f->servers[0].tx_batch_seq = UINT32_MAX;
    push(f, 0, 0, 64, true);
    assert_true(pmw_trunk_check(f->sink.sent[0].buf, f->sink.sent[0].len, f->servers[0].is.trunk_key_to_server, 1));
}

static void test_without_a_buffer_the_frame_is_refused(void **state)
{
    struct fixture *f = *state;

    f->sink.exhausted = true;
    assert_int_equal(push(f, 0, 0, 64, false), RELAY_DROP_NO_BUFFER);
    assert_true(assembler_flush_due(&f->assembler, f->servers, UINT64_MAX) == DUE_NONE);
    f->sink.exhausted = false;
    assert_int_equal(push(f, 0, 0, 64, true), RELAY_DROP_NONE);
    assert_int_equal(f->sink.nb_sent, 1);
}

static void test_hold_zero_sends_each_frame(void **state)
{
    struct fixture *f = *state;

    f->assembler.limits.hold_us_max = 0;
    push(f, 0, 0, 64, false);
    push(f, 0, 0, 64, false);
    assert_int_equal(f->sink.nb_sent, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_holds_until_the_oldest_is_due),
        TEST(test_a_full_batch_is_padded_to_the_segment_size),
        TEST(test_every_fill_level_decodes),
        TEST(test_entry_limit),
        TEST(test_urgent_takes_the_waiting_ones_along),
        TEST(test_servers_do_not_share_batches_or_numbers),
        TEST(test_numbers_go_past_32_bits),
        TEST(test_without_a_buffer_the_frame_is_refused),
        TEST(test_hold_zero_sends_each_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
