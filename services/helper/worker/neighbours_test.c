/* SPDX-License-Identifier: Apache-2.0
 *
 * The neighbour table in virtual time: asking, waiting, giving up, whom it believes, and its bounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "neighbours.h"

#define SECOND UINT64_C(1000000)
enum { NEIGHBOURS = 256 };

static const uint8_t MAC_A[MAC_BYTES] = {2, 0, 0, 0, 0, 0xa}, MAC_B[MAC_BYTES] = {2, 0, 0, 0, 0, 0xb};
static char PACKETS[1000]; /* their addresses stand for packets */

struct outside {
    struct neighbours table;
    int nb_asks, nb_sent, nb_given_up;
    void *last_sent;
    uint8_t last_mac[MAC_BYTES];
};

static void on_ask(void *ctx, struct ip_addr ip)
{
    ((struct outside *)ctx)->nb_asks++;
}

static void on_send(void *ctx, void *packet, const uint8_t mac[MAC_BYTES])
{
    struct outside *o = ctx;

    o->nb_sent++;
    o->last_sent = packet;
    memcpy(o->last_mac, mac, MAC_BYTES);
}

static void on_give_up(void *ctx, void *packet)
{
    ((struct outside *)ctx)->nb_given_up++;
}

static int set_up(void **state)
{
    struct outside *o = calloc(1, sizeof(*o));
    const struct neighbours_ports ports = {.ctx = o, .ask = on_ask, .send = on_send, .give_up = on_give_up};

    neighbours_init(&o->table, calloc(1, neighbours_bytes(NEIGHBOURS)), NEIGHBOURS, &ports);
    *state = o;
    return 0;
}

static int tear_down(void **state)
{
    struct outside *o = *state;

    free(o->table.cells);
    free(o);
    return 0;
}

static void test_packets_wait_for_the_reply(void **state)
{
    struct outside *o = *state;

    for (int i = 0; i < NEIGHBOUR_PENDING_MAX; i++)
        assert_true(neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[i]));
    assert_false(neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[99])); /* bounded */
    assert_int_equal(o->nb_asks, 1);
    assert_int_equal(o->nb_sent, 0);
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    assert_int_equal(o->nb_sent, NEIGHBOUR_PENDING_MAX);
    assert_ptr_equal(o->last_sent, &PACKETS[NEIGHBOUR_PENDING_MAX - 1]); /* in order */
    assert_memory_equal(o->last_mac, MAC_A, MAC_BYTES);
    assert_true(neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[50]));
    assert_ptr_equal(o->last_sent, &PACKETS[50]);
    assert_int_equal(o->nb_asks, 1);
    assert_int_equal(o->table.nb_asking, 0);
    assert_int_equal(o->table.nb_known, 1);
}

static void test_what_is_expected_is_asked_for(void **state)
{
    struct outside *o = *state;

    neighbours_expect(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1});
    neighbours_expect(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1});
    assert_int_equal(o->nb_asks, 1);
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_sent, 1);
    neighbours_expect(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1});
    assert_int_equal(o->nb_asks, 1);
}

static void test_asking_ends(void **state)
{
    struct outside *o = *state;

    neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    for (uint64_t now = 5 * SECOND; now < 8 * SECOND; now += SECOND / 100)
        neighbours_tick(&o->table, now);
    assert_int_equal(o->nb_asks, 4);
    assert_int_equal(o->nb_given_up, 1);
    assert_int_equal(o->table.nb_asking, 0);
    assert_true(neighbours_send(&o->table, 9 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0])); /* and begins anew */
    assert_int_equal(o->nb_asks, 5);
    neighbours_clear(&o->table);
    assert_int_equal(o->nb_given_up, 2);
}

static void test_a_datagram_tells_of_the_unknown_only(void **state)
{
    struct outside *o = *state;

    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_DATAGRAM);
    neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_memory_equal(o->last_mac, MAC_A, MAC_BYTES);
    assert_int_equal(o->nb_asks, 1); /* used at once, and asked for beside */
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_B, NEIGHBOUR_BY_DATAGRAM);
    neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_memory_equal(o->last_mac, MAC_A, MAC_BYTES);
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_B, NEIGHBOUR_BY_ARP);
    neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_memory_equal(o->last_mac, MAC_B, MAC_BYTES);
}

static void test_contradiction_makes_us_ask(void **state)
{
    struct outside *o = *state;

    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_send(&o->table, 6 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_asks, 0);
    neighbours_learn(&o->table, 6 * SECOND, (struct ip_addr){.lo = 1}, MAC_B, NEIGHBOUR_BY_DATAGRAM);
    for (int i = 0; i < 100; i++)
        neighbours_send(&o->table, 6 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_asks, 1); /* once a second */
    neighbours_send(&o->table, 7 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_asks, 2);
}

static void test_proof_is_renewed_each_minute(void **state)
{
    struct outside *o = *state;

    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_send(&o->table, 64 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_asks, 0);
    neighbours_send(&o->table, 65 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_asks, 1);
    neighbours_learn(&o->table, 65 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_send(&o->table, 124 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_int_equal(o->nb_asks, 1);
}

static void test_announcements_are_about_known_ones(void **state)
{
    struct outside *o = *state;

    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ANNOUNCEMENT);
    assert_int_equal(o->table.nb_known, 0);
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_B, NEIGHBOUR_BY_ANNOUNCEMENT);
    neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, &PACKETS[0]);
    assert_memory_equal(o->last_mac, MAC_B, MAC_BYTES);
}

static void test_idle_neighbours_are_forgotten(void **state)
{
    struct outside *o = *state;

    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 1}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = 2}, MAC_A, NEIGHBOUR_BY_ARP);
    neighbours_send(&o->table, 500 * SECOND, (struct ip_addr){.lo = 2}, &PACKETS[0]);
    for (int i = 0; i < NEIGHBOURS; i++)
        neighbours_tick(&o->table, 605 * SECOND);
    assert_int_equal(o->table.nb_known, 1);
}

static void test_bounds(void **state)
{
    struct outside *o = *state;
    int refused = 0;

    for (uint32_t ip = 1; ip <= 200; ip++)
        refused += !neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = ip}, &PACKETS[ip]);
    /* 64 are asked for at once; where four met in a bucket the oldest gave way. */
    assert_true(o->table.nb_asking <= NEIGHBOURS_ASKING_MAX);
    assert_int_equal(refused + o->nb_given_up + (int)o->table.nb_asking, 200);
    for (uint32_t ip = 1; ip <= 100000; ip++)
        neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = ip}, MAC_A, NEIGHBOUR_BY_DATAGRAM);
    assert_true(o->table.nb_known <= NEIGHBOURS);
    assert_int_equal(o->table.nb_asking, 0);
}

static void test_asks_are_rate_limited(void **state)
{
    struct outside *o = *state;

    for (uint32_t ip = 1; ip <= 5000; ip++) { /* each one is known from a datagram, and wants its proof */
        neighbours_learn(&o->table, 5 * SECOND, (struct ip_addr){.lo = ip}, MAC_A, NEIGHBOUR_BY_DATAGRAM);
        neighbours_send(&o->table, 5 * SECOND, (struct ip_addr){.lo = ip}, &PACKETS[0]);
    }
    assert_int_equal(o->nb_asks, NEIGHBOURS_ASKS_PER_S_MAX);
    assert_int_equal(o->nb_sent, 5000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_packets_wait_for_the_reply),
        TEST(test_what_is_expected_is_asked_for),
        TEST(test_asking_ends),
        TEST(test_a_datagram_tells_of_the_unknown_only),
        TEST(test_contradiction_makes_us_ask),
        TEST(test_proof_is_renewed_each_minute),
        TEST(test_announcements_are_about_known_ones),
        TEST(test_idle_neighbours_are_forgotten),
        TEST(test_bounds),
        TEST(test_asks_are_rate_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
