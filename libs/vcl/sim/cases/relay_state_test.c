/* SPDX-License-Identifier: Apache-2.0
 * Cases: what a relay knows dies with it, or is found wanting: bindings (T6), repair (T8), credits (O1-O3). */
#include "stage.h"

enum { STREAMS = 8, MESSAGE = 64, US_MAX = 100000 };

static struct stage *begin(struct stream *k[], uint8_t nb_helpers, bool no_direct)
{
    struct stage *s = stage_new(&(struct stage_options){.nb_helpers = nb_helpers, .no_direct = no_direct});

    for (int i = 0; i < STREAMS; i++)
        k[i] = stage_open(s, 0);
    return s;
}

static void exchange(struct stage *s, struct stream *k[])
{
    for (int i = 0; i < STREAMS; i++)
        stage_request(s, k[i], MESSAGE, MESSAGE);
    stage_settle(s, US_MAX);
}

static void end(struct stage *s, struct stream *k[])
{
    for (int i = 0; i < STREAMS; i++)
        stage_close(s, k[i]);
    stage_free(s);
}

/* SIGKILL when BIND is on its way, and again when BIND_ACK is: the server's word reaches nobody, and every byte its own
 * connection (I2, checked at each read). */
static void case_04_helper_dies_while_binding(void **state)
{
    bool hit = false;

    for (int stop_us = 0; stop_us <= 500; stop_us += 25) {
        struct stream *k[STREAMS];
        struct stage *s = begin(k, 2, true);
        for (int i = 0; i < STREAMS; i++)
            stage_request(s, k[i], MESSAGE, MESSAGE);
        stage_run(s, 600 + (uint64_t)stop_us);
        for (int i = 0; i < STREAMS; i++)
            stage_request(s, k[i], MESSAGE, MESSAGE);
        unsigned path = stage_path(s, 0) == stage_helper_id(0) ? 0 : 1;
        struct relay_stats stats = stage_relay_stats(s, path);
        hit |= stats.bindings_asked > stats.bindings_made;
        stage_helper_crash(s, path);
        stage_helper_restart(s, path);
        for (int i = 0; i < 3; i++)
            exchange(s, k);
        end(s, k);
    }
    assert_true(hit); /* one of these moments at least was the right one */
}

/* The helper returns under its id at once, and its indexes are other flows': what the server still sends by the old
 * bindings is dropped whole, as batches of keys that nobody has. */
static void case_07_helper_returns_with_its_indexes_reused(void **state)
{
    struct stream *k[STREAMS];
    struct stage *s = begin(k, 1, true);

    for (int i = 0; i < 4; i++)
        exchange(s, k);
    assert_true(stage_relay_stats(s, 0).bindings_made >= STREAMS);
    for (int i = 0; i < STREAMS; i++)
        stage_write(s, k[i], SERVER, 40 * MESSAGE);
    stage_run(s, 60);
    stage_helper_crash(s, 0);
    stage_helper_restart(s, 0);
    for (int i = STREAMS - 1; i >= 0; i--) /* others come first now */
        stage_request(s, k[i], MESSAGE, MESSAGE);
    stage_settle(s, 10 * US_MAX);
    uint64_t made = stage_relay_stats(s, 0).bindings_made;
    for (int i = 0; i < 4; i++)
        exchange(s, k);
    assert_true(stage_relay_stats(s, 0).bindings_made > made || made >= 2 * STREAMS);
    end(s, k);
}

/* All credit is with one helper, which dies: the server gives it to the other one, whose clients' frames do not wait in
 * vain, and the numbers of the first one's next life begin at zero on both ends (O1). */
static void case_57_helper_dies_with_all_the_credit(void **state)
{
    struct stream *k[STREAMS];
    struct stage *s = begin(k, 2, true);

    for (int i = 0; i < 20; i++)
        exchange(s, k);
    unsigned dead = stage_path(s, 0) == stage_helper_id(0) ? 0 : 1, other = 1 - dead;
    assert_true(stage_relay_stats(s, dead).trunk_data_entries_out >= 20 * STREAMS);
    stage_helper_crash(s, dead);
    for (int i = 0; i < 20; i++)
        exchange(s, k);
    assert_int_equal(stage_path(s, 0), stage_helper_id(other));
    struct relay_stats stats = stage_relay_stats(s, other);
    assert_true(stats.trunk_data_entries_out >= 20 * STREAMS);
    assert_int_equal(stats.drops[RELAY_DROP_HELD_LATE] + stats.drops[RELAY_DROP_HELD_FULL], 0);

    stage_helper_restart(s, dead);
    stage_helper_crash(s, other);
    for (int i = 0; i < 20; i++)
        exchange(s, k);
    assert_int_equal(stage_path(s, 0), stage_helper_id(dead));
    stats = stage_relay_stats(s, dead);
    assert_int_equal(stats.drops[RELAY_DROP_HELD_LATE] + stats.drops[RELAY_DROP_HELD_FULL], 0);
    end(s, k);
}

#define TEST(name) cmocka_unit_test(name)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(case_04_helper_dies_while_binding),
        TEST(case_07_helper_returns_with_its_indexes_reused),
        TEST(case_57_helper_dies_with_all_the_credit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
