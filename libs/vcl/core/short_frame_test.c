/* SPDX-License-Identifier: Apache-2.0
 *
 * When frames are short (W10), and what becomes of a connection whose short frames seem lost (S22). */
#include "paths_kit.h"

enum { MESSAGE = 64, ROUND_US = 2 * MS };

static struct {
    int shorts, longs; /* DATA of the client and, on the direct path, of the server */
    bool lose_short;
} seen;

static enum verdict look(struct testnet *n, struct flight *f)
{
    struct pmw_frame frame;
    if (pmw_type_of(f->bytes, f->len) != PMW_DATA || pmw_frame_decode(f->bytes, f->len, &frame) < 0)
        return DELIVER;
    bool is_short = (frame.flags & PMW_F_SHORT) != 0;
    seen.shorts += is_short;
    seen.longs += !is_short;
    return is_short && seen.lose_short ? DROP : DELIVER;
}

static void begin(struct testnet *n, struct vcl_conn **c, struct vcl_conn **s)
{
    memset(&seen, 0, sizeof(seen));
    start(n, 0, c, s);
    exchange(n, *c, *s, 0, MESSAGE);
    n->filter = look;
}

/* Requests and replies, from message number `from` on. */
static void talk(struct testnet *n, struct vcl_conn *c, struct vcl_conn *s, uint64_t from, uint64_t messages)
{
    for (uint64_t i = from; i < from + messages; i++) {
        testnet_write(n, c, i * MESSAGE, MESSAGE, 1);
        read_until(n, s, i * MESSAGE, MESSAGE, 1);
        testnet_write(n, s, i * MESSAGE, MESSAGE, 2);
        read_until(n, c, i * MESSAGE, MESSAGE, 2);
    }
}

/* A window of 256 KiB is told anew when a quarter has been read, 1,024 messages of 64 bytes; nothing else needs a long
 * frame, for what is acknowledged is told by DATA that is acknowledged. */
static void w10_an_exchange_is_short_but_for_its_windows(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    begin(&n, &c, &s);
    talk(&n, c, s, 1, 1000);
    assert_int_equal(seen.longs, 0);
    assert_int_equal(seen.shorts, 2000);
    talk(&n, c, s, 1001, 7000);
    assert_in_range(seen.longs, 1, 32);
    testnet_stop(&n);
}

/* A stream one way: nothing says that the receiver's short ACKs arrived, so each 2^14 bytes it sends a long one. */
static void w10_acks_of_one_way_are_long_each_16_kib(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    begin(&n, &c, &s);
    uint64_t shorts = stats_of(n.server).short_frames_out, frames = stats_of(n.server).frames_out;
    for (uint64_t i = 1; i <= 1024; i++) {
        testnet_write(&n, c, i * MESSAGE, MESSAGE, 1);
        read_until(&n, s, i * MESSAGE, MESSAGE, 1);
    }
    uint64_t longs = stats_of(n.server).frames_out - frames - (stats_of(n.server).short_frames_out - shorts);
    assert_in_range(longs, 3, 8);
    testnet_stop(&n);
}

static void s22_short_frames_are_tried_again(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    begin(&n, &c, &s);
    seen.lose_short = true;
    talk(&n, c, s, 1, 5); /* the answer to what was sent again is long, so the server sees it later */
    seen.lose_short = false;
    seen.shorts = 0;
    talk(&n, c, s, 6, 1);
    assert_int_equal(seen.shorts, 0);
    testnet_run(&n, n.now + 300 * MS);
    talk(&n, c, s, 7, 1);
    seen.longs = 0;
    talk(&n, c, s, 8, 100);
    assert_int_equal(seen.longs, 0);
    testnet_stop(&n);
}

/* While they are still lost, the tries get rarer. */
static void s22_tries_of_lost_short_frames_get_rarer(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    begin(&n, &c, &s);
    seen.lose_short = true;
    uint64_t until = n.now + 20 * (uint64_t)SECOND, i = 1;
    while (n.now < until) {
        talk(&n, c, s, i++, 1);
        testnet_run(&n, n.now + ROUND_US);
    }
    assert_in_range(seen.shorts, 14, 40); /* at 0, 0.25, 0.75, ... 16 s: two frames each way */
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(w10_an_exchange_is_short_but_for_its_windows),
        cmocka_unit_test(w10_acks_of_one_way_are_long_each_16_kib),
        cmocka_unit_test(s22_short_frames_are_tried_again),
        cmocka_unit_test(s22_tries_of_lost_short_frames_get_rarer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
