/* SPDX-License-Identifier: Apache-2.0
 * Cases: trunks between real relays and a server: bindings (T6), repair (T8), credits (O1-O3). */
#include "stage.h"

enum { STREAMS = 16, ROUNDS = 50, MESSAGE = 64, ROUND_US_MAX = 20000 };

static void open_all(struct stage *s, struct stream *k[], int nb)
{
    for (int i = 0; i < nb; i++)
        k[i] = stage_open(s, (unsigned)i % (s->options.nb_clients > 0 ? s->options.nb_clients : 1));
}

static void exchange(struct stage *s, struct stream *k[], int nb, uint64_t limit_us)
{
    for (int i = 0; i < nb; i++)
        stage_request(s, k[i], MESSAGE, MESSAGE);
    stage_settle(s, limit_us);
}

static void close_all(struct stage *s, struct stream *k[], int nb)
{
    for (int i = 0; i < nb; i++)
        stage_close(s, k[i]);
}

/* T6, W10: in an exchange of small messages whose bytes are read at once, nearly all DATA travels in short entries,
 * both ways: 8 bytes of header and 4 of check. What is long: the first frames of each flow, until it is bound. */
static void small_messages_travel_in_short_entries(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1});
    struct stream *k[STREAMS];
    open_all(s, k, STREAMS);
    for (int round = 0; round < ROUNDS; round++)
        exchange(s, k, STREAMS, ROUND_US_MAX);
    struct vcl_stats before = stage_stats(s, -1);
    for (int round = 0; round < ROUNDS; round++)
        exchange(s, k, STREAMS, ROUND_US_MAX);
    struct vcl_stats after = stage_stats(s, -1);
    uint64_t data_in = after.trunk_data_entries_in - before.trunk_data_entries_in;
    uint64_t data_out = after.trunk_data_entries_out - before.trunk_data_entries_out;
    uint64_t short_in = after.trunk_short_data_entries_in - before.trunk_short_data_entries_in;
    uint64_t short_out = after.trunk_short_data_entries_out - before.trunk_short_data_entries_out;
    assert_true(data_in >= STREAMS * ROUNDS && data_out >= STREAMS * ROUNDS);
    assert_true(short_in * 100 >= data_in * 98);
    assert_true(short_out * 100 >= data_out * 98);
    assert_int_equal(0, after.drops[VCL_DROP_CHECK]);
    assert_int_equal(0, after.drops[VCL_DROP_BINDING]);
    close_all(s, k, STREAMS);
    stage_free(s);
}

/* A batch of many flows is lost; the next one shows the gap, and the trunk mends it before any endpoint notices. */
static void lose_a_batch(struct stage *s, struct stream *k[], unsigned from, unsigned to)
{
    struct rule_of *r = stage_rule(s, from, to, RULE_DROP);
    r->type = PMW_TRUNK;
    r->left = 1;
    for (int i = 0; i < STREAMS - 1; i++)
        stage_request(s, k[i], MESSAGE, MESSAGE);
    stage_run(s, 250);
    stage_request(s, k[STREAMS - 1], MESSAGE, MESSAGE);
    assert_true(stage_settle(s, ROUND_US_MAX) < 2000); /* PTO is 5 ms */
    assert_int_equal(1, r->hits);
    stage_rule_end(r);
}

static void case_51_lost_batch_is_mended_by_nack(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1});
    struct stream *k[STREAMS];
    open_all(s, k, STREAMS);
    for (int round = 0; round < 3; round++)
        exchange(s, k, STREAMS, ROUND_US_MAX);
    lose_a_batch(s, k, HOST_HELPER, HOST_SERVER);
    assert_true(stage_relay_stats(s, 0).trunk_batches_resent > 0);
    assert_true(stage_stats(s, -1).trunk_nacks_sent > 0);
    lose_a_batch(s, k, HOST_SERVER, HOST_HELPER);
    assert_true(stage_stats(s, -1).trunk_batches_repeated > 0);
    for (int client = -1; client < 1; client++) { /* I8: nobody repeated anything end to end */
        assert_int_equal(0, stage_stats(s, client).frames_resent);
        assert_int_equal(0, stage_stats(s, client).ptos);
    }
    close_all(s, k, STREAMS);
    stage_free(s);
}

/* T6, K5: a batch for the helper that was arrives at the one that is, which gave the same indexes to others. */
static void case_08_old_reply_batch_meets_a_new_helper(void **state)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = 1, .nb_clients = 2, .no_direct = true});
    struct stream *a = stage_open(s, 0), *b = stage_open(s, 1);
    for (int round = 0; round < 3; round++) {
        stage_request(s, a, MESSAGE, MESSAGE);
        stage_settle(s, ROUND_US_MAX);
    }
    struct rule_of *r = stage_rule(s, HOST_SERVER, HOST_HELPER, RULE_HOLD);
    r->type = PMW_TRUNK;
    stage_request(s, a, MESSAGE, MESSAGE);
    stage_run(s, 1000);
    stage_rule_end(r);
    stage_helper_crash(s, 0);
    stage_helper_restart(s, 0);
    for (int round = 0; round < 3; round++) { /* b has the index that a had */
        stage_request(s, b, MESSAGE, MESSAGE);
        stage_settle(s, 2000000);
    }
    uint64_t before = stage_relay_stats(s, 0).drops[RELAY_DROP_TRUNK_TAG];
    uint64_t read = b->read[CLIENT];
    stage_release(s, false);
    stage_run(s, 10000);
    assert_true(stage_relay_stats(s, 0).drops[RELAY_DROP_TRUNK_TAG] > before);
    assert_int_equal(read, b->read[CLIENT]); /* I2; the ledger compares what it reads later */
    stage_request(s, a, MESSAGE, MESSAGE);
    stage_request(s, b, MESSAGE, MESSAGE);
    stage_settle(s, 2000000);
    stage_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_messages_travel_in_short_entries),
        cmocka_unit_test(case_51_lost_batch_is_mended_by_nack),
        cmocka_unit_test(case_08_old_reply_batch_meets_a_new_helper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
