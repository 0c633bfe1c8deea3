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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_messages_travel_in_short_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
