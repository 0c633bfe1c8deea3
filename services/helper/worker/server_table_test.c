/* SPDX-License-Identifier: Apache-2.0
 *
 * Known servers: by id and shard, by address, replaced, removed, and back again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server_table.h"

enum { SLOTS = 100 };

static struct relay_server server_named(uint16_t server_id, uint8_t shard)
{
    struct relay_server s = {.server_id = server_id, .shard = shard};

    s.addr = (struct pmw_addr){.ip = {198, 18, 0, (uint8_t)server_id}, .port = 9000 + shard, .family = 4};
    memset(s.trunk_key_to_server, server_id & 0xff, sizeof(s.trunk_key_to_server));
    memset(s.trunk_key_to_helper, (server_id + 1) & 0xff, sizeof(s.trunk_key_to_helper));
    return s;
}

static struct server *set(struct server_table *t, uint16_t server_id, uint8_t shard)
{
    struct relay_server s = server_named(server_id, shard);
    bool fresh;

    return server_table_set(t, &s, &fresh);
}

static struct server *first_at(const struct server_table *t, const struct pmw_addr *addr)
{
    uint32_t cursor = 0;
    return server_table_at(t, addr, &cursor);
}

static int set_up(void **state)
{
    struct server_table *t = malloc(sizeof(*t));

    server_table_init(t, calloc(1, server_table_bytes(SLOTS)), SLOTS);
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct server_table *t = *state;

    free(t->slots);
    free(t);
    return 0;
}

static void test_each_is_found_by_id_and_by_address(void **state)
{
    struct server_table *t = *state;

    for (uint16_t id = 1; id <= SLOTS / 2; id++)
        for (uint8_t shard = 0; shard < 2; shard++)
            assert_non_null(set(t, id, shard));
    assert_int_equal(t->nb_live, SLOTS);
    for (uint16_t id = 1; id <= SLOTS / 2; id++) {
        for (uint8_t shard = 0; shard < 2; shard++) {
            struct relay_server s = server_named(id, shard);
            assert_int_equal(server_table_find(t, id, shard)->is.addr.port, s.addr.port);
            assert_ptr_equal(first_at(t, &s.addr), server_table_find(t, id, shard));
        }
    }
    assert_null(server_table_find(t, 1, 2));
    assert_null(server_table_find(t, SLOTS, 0));
}

static void test_a_full_table_refuses_until_one_leaves(void **state)
{
    struct server_table *t = *state;

    for (uint16_t id = 0; id < SLOTS; id++)
        assert_non_null(set(t, id, 0));
    assert_null(set(t, SLOTS, 0));
    assert_non_null(set(t, 5, 0)); /* replacing needs no slot */
    assert_non_null(server_table_remove(t, 5));
    assert_null(server_table_remove(t, 5));
    assert_non_null(set(t, SLOTS, 0));
    assert_null(server_table_find(t, 5, 0));
}

static void test_removal_takes_every_shard(void **state)
{
    struct server_table *t = *state;
    struct relay_server s = server_named(1, 1);

    set(t, 1, 0);
    set(t, 1, 1);
    set(t, 2, 0);
    assert_non_null(server_table_remove(t, 1));
    assert_non_null(server_table_remove(t, 1));
    assert_null(server_table_remove(t, 1));
    assert_int_equal(t->nb_live, 1);
    assert_null(first_at(t, &s.addr));
    assert_non_null(server_table_find(t, 2, 0));
}

static void test_the_same_keys_keep_the_batch_numbers(void **state)
{
    struct server_table *t = *state;
    struct relay_server moved = server_named(1, 0), rekeyed = server_named(1, 0);
    bool fresh;

    set(t, 1, 0)->tx_batch_seq = 77;
    moved.addr.port = 1234;
    uint16_t use = server_table_find(t, 1, 0)->use;
    assert_int_equal(server_table_set(t, &moved, &fresh)->tx_batch_seq, 77);
    assert_false(fresh);
    assert_null(first_at(t, &rekeyed.addr));
    assert_non_null(first_at(t, &moved.addr));
    server_table_remove(t, 1);
    assert_int_equal(set(t, 1, 0)->tx_batch_seq, 77);
    assert_int_equal(server_table_find(t, 1, 0)->use, use); /* what flows remember of it holds */
    rekeyed.trunk_key_to_server[3] ^= 1;
    assert_int_equal(server_table_set(t, &rekeyed, &fresh)->tx_batch_seq, 0);
    assert_true(fresh);
    assert_int_not_equal(server_table_find(t, 1, 0)->use, use);
}

static void test_two_ids_at_one_address_are_both_found(void **state)
{
    struct server_table *t = *state;
    struct relay_server before = server_named(1, 0), after = server_named(2, 0);
    uint32_t cursor = 0;
    bool fresh;

    after.addr = before.addr;
    server_table_set(t, &before, &fresh);
    server_table_set(t, &after, &fresh);
    struct server *a = server_table_at(t, &before.addr, &cursor), *b = server_table_at(t, &before.addr, &cursor);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->is.server_id + b->is.server_id, 3);
    assert_null(server_table_at(t, &before.addr, &cursor));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_is_found_by_id_and_by_address),
        TEST(test_a_full_table_refuses_until_one_leaves),
        TEST(test_removal_takes_every_shard),
        TEST(test_the_same_keys_keep_the_batch_numbers),
        TEST(test_two_ids_at_one_address_are_both_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
