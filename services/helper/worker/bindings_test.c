/* SPDX-License-Identifier: Apache-2.0
 *
 * Index spaces over one pool (T6): small and dense, a rest before an index comes back, and bounds in memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bindings.h"

enum { FLOWS = 1024, SERVERS = 4 };

static int set_up(void **state)
{
    struct bindings *b = malloc(sizeof(*b));

    bindings_init(b, calloc(1, bindings_bytes(FLOWS, SERVERS)), FLOWS, SERVERS);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bindings *b = *state;

    free(b->pool);
    free(b);
    return 0;
}

static void test_indexes_are_dense_and_each_server_has_its_own(void **state)
{
    struct bindings *b = *state;

    for (uint32_t slot = 0; slot < SERVERS; slot++)
        for (uint32_t i = 0; i < 300; i++)
            assert_int_equal(bindings_take(b, slot, 0, 1000 * slot + i), i);
    for (uint32_t slot = 0; slot < SERVERS; slot++)
        for (uint32_t i = 0; i < 300; i++)
            assert_int_equal(bindings_find(b, slot, i)->cell, 1000 * slot + i);
    assert_null(bindings_find(b, 0, 300));
    assert_null(bindings_find(b, 0, UINT32_MAX));
    assert_int_equal(b->nb_live, 4 * 300);
}

static void test_a_forgotten_index_rests_and_comes_back_with_the_next_generation(void **state)
{
    struct bindings *b = *state;
    uint32_t first = bindings_take(b, 0, 0, 1);
    uint8_t generation = bindings_find(b, 0, first)->generation;

    for (int life = 1; life < 300; life++) { /* the generation wraps */
        uint64_t forgotten_us = 10000000u * (uint64_t)life;
        bindings_forget(b, 0, forgotten_us, first);
        assert_null(bindings_find(b, 0, first));
        uint32_t other = bindings_take(b, 0, forgotten_us + BINDING_QUARANTINE_US, 2);
        assert_int_not_equal(other, first);
        assert_int_equal(bindings_take(b, 0, forgotten_us + BINDING_QUARANTINE_US + 3000, 3), first);
        assert_int_equal(bindings_find(b, 0, first)->generation, (uint8_t)(generation + life));
        bindings_forget(b, 0, forgotten_us, other);
    }
    assert_int_equal(b->spaces[0].nb_given, 2);
}

static void test_the_longest_forgotten_comes_first(void **state)
{
    struct bindings *b = *state;

    for (uint32_t i = 0; i < 5; i++)
        bindings_take(b, 0, 0, i);
    bindings_forget(b, 0, 0, 3);
    bindings_forget(b, 0, 100000, 1);
    bindings_forget(b, 0, 200000, 4);
    assert_int_equal(bindings_take(b, 0, 5000000, 9), 3);
    assert_int_equal(bindings_take(b, 0, 5000000, 9), 1);
    assert_int_equal(bindings_take(b, 0, 5000000, 9), 4);
    assert_int_equal(bindings_take(b, 0, 5000000, 9), 5);
}

static void test_every_flow_can_be_bound_whatever_its_server(void **state)
{
    struct bindings *b = *state;

    for (uint32_t i = 0; i < FLOWS; i++)
        assert_int_not_equal(bindings_take(b, i % 3 ? 0 : i % SERVERS, 0, i), BINDING_NONE);
}

static void test_an_exhausted_pool_refuses(void **state)
{
    struct bindings *b = *state;
    uint32_t nb_given = 0;

    for (uint32_t slot = 0; slot < SERVERS; slot++)
        while (bindings_take(b, slot, 0, 1) != BINDING_NONE)
            nb_given++;
    assert_int_equal(nb_given, b->nb_pages * BINDINGS_PER_PAGE);
    assert_int_equal(b->nb_free_pages, 0);
    bindings_reset(b, 1);
    assert_int_equal(bindings_take(b, 2, 0, 1), 0);
}

static void test_a_server_without_bindings_gives_its_pages_back_after_the_rest(void **state)
{
    struct bindings *b = *state;
    uint32_t before = b->nb_free_pages;

    for (uint32_t i = 0; i < 600; i++)
        bindings_take(b, 2, 0, i);
    uint8_t generation = bindings_find(b, 2, 0)->generation;
    for (uint32_t i = 0; i < 599; i++)
        bindings_forget(b, 2, 1000, i);
    bindings_reclaim(b, 2, 10000000);
    assert_int_equal(b->nb_free_pages, before - 3); /* one is live */
    bindings_forget(b, 2, 10000000, 599);
    bindings_reclaim(b, 2, 10000000 + BINDING_QUARANTINE_US / 2);
    assert_int_equal(b->nb_free_pages, before - 3); /* and now rests */
    bindings_reclaim(b, 2, 10000000 + 2 * BINDING_QUARANTINE_US);
    assert_int_equal(b->nb_free_pages, before);
    assert_int_equal(bindings_take(b, 2, 20000000, 7), 0);
    assert_int_not_equal(bindings_find(b, 2, 0)->generation & 15, generation & 15);
}

static void test_a_large_worker_stays_within_the_indexes_of_the_wire(void **state)
{
    struct bindings b;
    void *mem = calloc(1, bindings_bytes(1 << 20, 1));
    uint32_t nb_given = 0;

    bindings_init(&b, mem, 1 << 20, 1);
    while (bindings_take(&b, 0, 0, 1) != BINDING_NONE)
        nb_given++;
    assert_int_equal(nb_given, BINDING_INDEXES_MAX);
    free(mem);
    assert_true(bindings_bytes(131072, 1024) < 12u << 20);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_indexes_are_dense_and_each_server_has_its_own),
        TEST(test_a_forgotten_index_rests_and_comes_back_with_the_next_generation),
        TEST(test_the_longest_forgotten_comes_first),
        TEST(test_every_flow_can_be_bound_whatever_its_server),
        TEST(test_an_exhausted_pool_refuses),
        TEST(test_a_server_without_bindings_gives_its_pages_back_after_the_rest),
        TEST(test_a_large_worker_stays_within_the_indexes_of_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
