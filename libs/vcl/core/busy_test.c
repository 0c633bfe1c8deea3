/* SPDX-License-Identifier: Apache-2.0
 * BUSY at the client (O3). */
#include "testkit.h"

#include "testnet.h"

enum { LEN = 100, BUSY_US_MAX = 50000 };

static void inject(struct testnet *n, uint64_t cid, uint32_t seq, uint32_t retry_after_us)
{
    uint8_t buf[PMW_BUSY_BYTES];
    const struct pmw_busy b = {.cid = cid, .seq = seq, .retry_after_us = retry_after_us, .helper_id = 9};
    int len = pmw_busy_encode(buf, sizeof(buf), &b);
    assert_int_equal(vcl_engine_receive(n->client, n->now, &n->server_addr, buf, (size_t)len), 0);
}

static enum verdict drop_data(struct testnet *n, struct flight *f)
{
    return pmw_type_of(f->bytes, f->len) == PMW_DATA && pmw_addr_equal(&f->from, &n->client_addr) ? DROP : DELIVER;
}

static struct vcl_stats stats_of(struct testnet *n)
{
    struct vcl_stats s;
    vcl_engine_stats(n->client, &s);
    return s;
}

/* A helper has dropped the frame and says so: it comes later, without RESEND and without a PTO, and new bytes after it.
 */
static void o3_a_refused_frame_goes_again_as_if_new(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_conn_info info;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    vcl_conn_info(c, &info);
    struct vcl_stats before = stats_of(&n);
    n.filter = drop_data;
    assert_int_equal(testnet_write(&n, c, 0, LEN, 1), LEN);
    testnet_flush(&n);
    n.filter = NULL;
    inject(&n, info.cid, 0, 3000);
    assert_int_equal(testnet_write(&n, c, LEN, LEN, 1), LEN);
    testnet_run(&n, n.now + 2900);
    assert_int_equal(testnet_read(&n, s, 0, 1), 0); /* nothing before its time, nothing new either */
    testnet_run(&n, n.now + 3000);
    assert_int_equal(testnet_read(&n, s, 0, 1), 2 * LEN);
    struct vcl_stats after = stats_of(&n);
    assert_int_equal(after.busy_taken, 1);
    assert_int_equal(after.frames_resent, before.frames_resent);
    assert_int_equal(after.ptos, before.ptos);
    testnet_stop(&n);
}

/* I7: what was not sent, or is acknowledged, changes nothing; what is in flight costs 50 ms, however long it asks for.
 */
static void case_55_busy_storm_and_forgery(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    struct vcl_conn_info info;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    vcl_conn_info(c, &info);
    inject(&n, info.cid, 0, UINT32_MAX);
    inject(&n, info.cid, 77777, UINT32_MAX);
    assert_int_equal(stats_of(&n).busy_ignored, 2);
    assert_int_equal(testnet_write(&n, c, 0, LEN, 1), LEN);
    testnet_run(&n, n.now + 1000);
    assert_int_equal(testnet_read(&n, s, 0, 1), LEN);
    inject(&n, info.cid, 0, UINT32_MAX); /* it was acknowledged */
    assert_int_equal(stats_of(&n).busy_ignored, 3);

    n.filter = drop_data;
    assert_int_equal(testnet_write(&n, c, LEN, LEN, 1), LEN);
    testnet_flush(&n);
    n.filter = NULL;
    uint64_t began = n.now;
    for (int i = 0; i < 100; i++) /* a storm: the frame is refused once, it is not in flight any more */
        inject(&n, info.cid, LEN, UINT32_MAX);
    assert_int_equal(stats_of(&n).busy_taken, 1);
    testnet_run(&n, began + BUSY_US_MAX + 1000);
    assert_int_equal(testnet_read(&n, s, LEN, 1), LEN);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(o3_a_refused_frame_goes_again_as_if_new),
        cmocka_unit_test(case_55_busy_storm_and_forgery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
