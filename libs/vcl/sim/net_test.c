/* SPDX-License-Identifier: Apache-2.0
 * The network and the random source of the simulator, tested alone: a network that loses nothing when told to lose a
 * third would let every other test pass. */
#include "net.h"
#include "rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { SENT = 20000 };

struct outcome {
    unsigned arrived, out_of_order, altered, foreign;
    uint64_t delay_us_min, delay_us_sum;
};

/* Sends numbered datagrams from c0 to the server, 10 us apart, and looks at what arrives. */
static struct outcome send_many(const struct net_options *options)
{
    static struct net net;
    static struct trace trace;
    struct rng rng;
    rng_seed(&rng, 7, 7);
    trace_init(&trace, false);
    net_init(&net, options, rng, &trace);
    struct pmw_addr from = host_addr(HOST_CLIENT, 4, PORT_CLIENT), to = host_addr(HOST_SERVER, 4, PORT_SERVER);
    for (uint32_t i = 0; i < SENT; i++) {
        uint8_t bytes[64];
        memset(bytes, 0x5a, sizeof bytes);
        memcpy(bytes, &i, sizeof i);
        net_send(&net, (uint64_t)i * 10, &from, &to, bytes, sizeof bytes, false);
    }
    struct outcome o = {.delay_us_min = UINT64_MAX};
    uint32_t highest = 0;
    while (net_next_at(&net) != UINT64_MAX) {
        struct datagram *d = net_take(&net);
        uint32_t number;
        memcpy(&number, d->bytes, sizeof number);
        o.arrived++;
        o.foreign += !pmw_addr_equal(&d->from, &from);
        if (d->len != 64 || number >= SENT || d->bytes[4] != 0x5a || d->bytes[63] != 0x5a) {
            o.altered++;
        } else {
            o.out_of_order += number < highest;
            highest = number > highest ? number : highest;
            uint64_t delay = d->at_us - (uint64_t)number * 10;
            o.delay_us_sum += delay;
            o.delay_us_min = delay < o.delay_us_min ? delay : o.delay_us_min;
        }
        net_release(&net, d);
    }
    net_free(&net);
    return o;
}

static void a_good_network_delivers_all_in_order(void **state)
{
    struct outcome o = send_many(&(struct net_options){.delay_us_min = 50, .delay_us_mean = 50});
    assert_int_equal(o.arrived, SENT);
    assert_int_equal(o.out_of_order, 0);
    assert_int_equal(o.altered, 0);
    assert_int_equal(o.delay_us_min, 50);
}

static void jitter_keeps_the_order(void **state)
{
    struct outcome o = send_many(&(struct net_options){.delay_us_min = 50, .delay_us_mean = 150});
    assert_int_equal(o.arrived, SENT);
    assert_int_equal(o.out_of_order, 0);
    assert_true(o.delay_us_min >= 50);
    assert_true(o.delay_us_sum / SENT > 100);
}

static void loss_has_its_rate(void **state)
{
    struct outcome o = send_many(&(struct net_options){.loss_ppm = PPM / 3});
    assert_in_range(o.arrived, SENT * 60 / 100, SENT * 73 / 100);
    o = send_many(&(struct net_options){.loss_ppm = 20000, .loss_burst = 10});
    assert_in_range(o.arrived, SENT * 75 / 100, SENT * 90 / 100); /* 2 % of starts, 10 lost at each */
}

static void duplicates_reordering_corruption_replay_happen(void **state)
{
    struct outcome o = send_many(&(struct net_options){.duplicate_ppm = PPM / 10});
    assert_in_range(o.arrived, SENT * 108 / 100, SENT * 112 / 100);
    o = send_many(&(struct net_options){.reorder_ppm = PPM / 10, .reorder_us_max = 1000});
    assert_int_equal(o.arrived, SENT);
    assert_true(o.out_of_order > SENT / 20);
    o = send_many(&(struct net_options){.corrupt_ppm = PPM / 10});
    assert_in_range(o.altered, SENT / 100, SENT * 12 / 100); /* most flips hit bytes that are not looked at */
    o = send_many(&(struct net_options){.replay_ppm = PPM / 10});
    assert_true(o.foreign > SENT / 50 && o.out_of_order > SENT / 50);
}

static void bandwidth_delays_and_then_drops(void **state)
{
    /* 64 bytes each 10 us are 6,400 B/ms: half of it passes, the rest fills the queue. */
    struct outcome o = send_many(&(struct net_options){.bandwidth_bytes_per_ms = 3200, .queue_bytes_max = 6400});
    assert_in_range(o.arrived, SENT * 49 / 100, SENT * 52 / 100);
    assert_true(o.delay_us_sum / o.arrived > 1000);
}

static void random_draws_are_repeatable_and_even(void **state)
{
    struct rng a, b;
    rng_seed(&a, 42, 1);
    rng_seed(&b, 42, 1);
    unsigned buckets[8] = {0};
    uint64_t sum = 0;
    for (int i = 0; i < 80000; i++) {
        assert_int_equal(rng_u32(&a), rng_u32(&b));
        buckets[rng_below(&a, 8)]++;
        rng_below(&b, 8);
        sum += rng_exponential(&a, 1000);
        rng_exponential(&b, 1000);
    }
    for (int i = 0; i < 8; i++)
        assert_in_range(buckets[i], 9500, 10500);
    assert_in_range(sum / 80000, 950, 1080);
    struct rng child = rng_split(&a, 1), other = rng_split(&b, 2);
    assert_true(rng_u64(&child) != rng_u64(&other));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_network_delivers_all_in_order),
        cmocka_unit_test(jitter_keeps_the_order),
        cmocka_unit_test(loss_has_its_rate),
        cmocka_unit_test(duplicates_reordering_corruption_replay_happen),
        cmocka_unit_test(bandwidth_delays_and_then_drops),
        cmocka_unit_test(random_draws_are_repeatable_and_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
