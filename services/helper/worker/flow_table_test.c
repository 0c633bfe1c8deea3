/* SPDX-License-Identifier: Apache-2.0
 *
 * The flow cache: what it finds, what it evicts first, how it ages, and that it stays within its bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "flow_table.h"

enum { FLOWS = 1024 };
#define SECOND_US UINT64_C(1000000)
#define IDLE_US   (30 * SECOND_US)
#define TICK_US   (UINT64_C(1) << FLOW_TICK_US_SHIFT)

static const uint64_t HASH_KEY[2] = {UINT64_C(0xa0761d6478bd642f), UINT64_C(0xe7037ed1a0b428db)};
static const struct pmw_addr CLIENT = {.ip = {198, 18, 0, 1}, .port = 4000, .family = 4};
static const struct pmw_addr ELSEWHERE = {.ip = {198, 18, 0, 2}, .port = 4000, .family = 4};

static int set_up(void **state)
{
    struct flow_table *t = malloc(sizeof(*t));

    flow_table_init(t, calloc(1, flow_table_bytes(FLOWS)), FLOWS, IDLE_US, HASH_KEY);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct flow_table *t = *state;

    free(t->cells);
    free(t);
    return 0;
}

/* Ids look random on the wire, too: SplitMix64 (Steele et al. 2014), whose outputs never repeat. */
static uint64_t id_of(uint64_t i)
{
    uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void test_finds_what_was_added(void **state)
{
    struct flow_table *t = *state;

    assert_null(flow_table_find(t, 0)); /* free cells carry id 0 */
    flow_table_add(t, 0, 0, &CLIENT);
    struct flow *f = flow_table_find(t, 0);
    assert_non_null(f);
    assert_true(flow_is_from(f, &CLIENT));
    assert_true(t->ids[flow_table_cell(t, f)] == 0);
    assert_int_equal(t->nb_flows, 1);
    assert_null(flow_table_find(t, 1));
}

static void test_three_quarters_full_evicts_under_one_percent(void **state)
{
    struct flow_table *t = *state;
    uint32_t missing = 0;

    for (uint64_t i = 0; i < FLOWS * 3 / 4; i++)
        flow_table_add(t, 0, id_of(i), &CLIENT);
    for (uint64_t i = 0; i < FLOWS * 3 / 4; i++)
        missing += flow_table_find(t, id_of(i)) == NULL;
    assert_int_equal(missing, t->evicted);
    assert_true(missing <= FLOWS * 3 / 4 / 100);
}

static void test_a_flood_stays_within_the_table(void **state)
{
    struct flow_table *t = *state;

    for (uint64_t i = 0; i < 100 * FLOWS; i++)
        flow_table_add(t, 0, id_of(i), &CLIENT);
    assert_true(t->nb_flows <= FLOWS);
    assert_int_equal(t->nb_flows + t->evicted, 100 * FLOWS);
}

static void test_made_up_ids_do_not_evict_confirmed_flows(void **state)
{
    struct flow_table *t = *state;
    enum { CONFIRMED = FLOWS / 4 };

    for (uint64_t i = 0; i < CONFIRMED; i++)
        flow_server_seen(flow_table_add(t, 0, id_of(i), &CLIENT), 0, &CLIENT);
    assert_int_equal(t->evicted, 0);
    for (uint64_t i = CONFIRMED; i < 100 * FLOWS; i++)
        flow_table_add(t, 10 * SECOND_US, id_of(i), &ELSEWHERE);
    for (uint64_t i = 0; i < CONFIRMED; i++)
        assert_non_null(flow_table_find(t, id_of(i)));
}

static void test_the_longest_unused_goes_first(void **state)
{
    struct flow_table *t = *state;
    uint64_t i = 0;

    while (t->evicted == 0) /* older flows first, all confirmed */
        flow_server_seen(flow_table_add(t, i * TICK_US / 64, id_of(i), &CLIENT), i * TICK_US / 64, &CLIENT), i++;
    uint64_t first_missing = 0;
    while (flow_table_find(t, id_of(first_missing)))
        first_missing++;
    assert_true(first_missing < i / 2); /* the oldest of eight cells is in the older half but for bad luck */
}

/* T6: whoever knows an id could otherwise draw the replies to himself. */
static void test_only_the_server_moves_a_confirmed_client(void **state)
{
    struct flow_table *t = *state;
    struct flow *f = flow_table_add(t, 0, 5, &CLIENT);

    flow_client_seen(f, 0, &ELSEWHERE);
    assert_true(flow_is_from(f, &ELSEWHERE));
    assert_false(f->confirmed);
    flow_server_seen(f, 0, &CLIENT);
    assert_true(f->confirmed && flow_is_from(f, &CLIENT));
    flow_client_seen(f, 0, &ELSEWHERE);
    assert_true(f->confirmed && flow_is_from(f, &CLIENT));
    flow_server_seen(f, 0, &ELSEWHERE);
    assert_true(f->confirmed && flow_is_from(f, &ELSEWHERE));
}

static void count_forgotten(void *ctx, uint64_t now, struct flow *f)
{
    assert_int_not_equal(f->binding, FLOW_LONG);
    ++*(int *)ctx;
}

static void test_a_binding_is_given_back_before_its_flow_goes(void **state)
{
    struct flow_table *t = *state;
    int nb_forgotten = 0;

    t->forget = count_forgotten;
    t->forget_ctx = &nb_forgotten;
    for (uint64_t i = 0; i < FLOWS / 2; i++)
        flow_table_add(t, 0, id_of(i), &CLIENT)->binding = i % 2 ? FLOW_BOUND : FLOW_LONG;
    assert_int_equal(t->evicted, 0);
    assert_int_equal(nb_forgotten, 0);
    flow_table_age(t, 2 * IDLE_US, FLOWS / FLOW_WAYS); /* aged */
    assert_int_equal(nb_forgotten, FLOWS / 4);
    for (uint64_t i = 0; i < 8 * FLOWS; i++) /* evicted */
        flow_table_add(t, 0, id_of(i), &CLIENT)->binding = FLOW_BOUND;
    assert_int_equal(nb_forgotten, FLOWS / 4 + t->evicted);
}

static void test_idle_flows_age_and_used_ones_stay(void **state)
{
    struct flow_table *t = *state;
    const uint64_t later = IDLE_US + 2 * TICK_US;

    flow_table_add(t, 0, 1, &CLIENT);
    flow_table_add(t, 0, 2, &CLIENT);
    flow_table_age(t, IDLE_US, FLOWS / FLOW_WAYS);
    assert_int_equal(t->nb_flows, 2);
    flow_client_seen(flow_table_find(t, 2), later, &CLIENT);
    for (int call = 0; call < 4; call++) /* four bounded steps visit every bucket once */
        flow_table_age(t, later, FLOWS / FLOW_WAYS / 4);
    assert_null(flow_table_find(t, 1));
    assert_non_null(flow_table_find(t, 2));
    assert_int_equal(t->nb_flows, 1);
}

/* T6: it would take the replies that are on their way along. */
static void test_a_flow_used_just_before_a_tick_is_not_idle(void **state)
{
    struct flow_table *t = *state;

    t->idle_us = TICK_US / 256;
    flow_table_add(t, TICK_US - 1, 1, &CLIENT);
    flow_table_age(t, TICK_US + t->idle_us - 2, FLOWS / FLOW_WAYS);
    assert_non_null(flow_table_find(t, 1));
    flow_table_age(t, 2 * TICK_US + t->idle_us, FLOWS / FLOW_WAYS);
    assert_null(flow_table_find(t, 1));
}

static void test_replacing_an_idle_flow_is_no_eviction(void **state)
{
    struct flow_table *t = *state;

    for (uint64_t i = 0; i < 8 * FLOWS; i++)
        flow_table_add(t, 0, id_of(i), &CLIENT);
    uint64_t evicted = t->evicted;
    flow_table_add(t, 2 * IDLE_US, id_of(8 * FLOWS), &CLIENT);
    assert_int_equal(t->evicted, evicted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_finds_what_was_added),
        TEST(test_three_quarters_full_evicts_under_one_percent),
        TEST(test_a_flood_stays_within_the_table),
        TEST(test_made_up_ids_do_not_evict_confirmed_flows),
        TEST(test_the_longest_unused_goes_first),
        TEST(test_only_the_server_moves_a_confirmed_client),
        TEST(test_a_binding_is_given_back_before_its_flow_goes),
        TEST(test_idle_flows_age_and_used_ones_stay),
        TEST(test_a_flow_used_just_before_a_tick_is_not_idle),
        TEST(test_replacing_an_idle_flow_is_no_eviction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
