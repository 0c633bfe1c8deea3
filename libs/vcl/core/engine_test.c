/* SPDX-License-Identifier: Apache-2.0
 *
 * Two engines on the direct path: open, exchange, close, and what the network may do to every datagram of it.
 */
#include "testkit.h"
#include "testnet.h"

#include <string.h>

enum { SECOND = 1000000 };

/* One exchange: a request, a reply when it is complete, both sides finish. The filter may do what it likes. */
static void exchange(struct testnet *n, uint64_t request, uint64_t reply)
{
    struct vcl_conn *c, *s;
    uint64_t until = n->now + 60 * (uint64_t)SECOND, c_sent = 0, c_got = 0, s_sent = 0, s_got = 0;
    bool c_fin = false, s_fin = false;
    testnet_open(n, &c, &s);
    while (!(vcl_conn_eof(c) && vcl_conn_eof(s) && vcl_conn_unacked(c) == 0 && vcl_conn_unacked(s) == 0)) {
        assert_true(n->now < until);
        c_sent += testnet_write(n, c, c_sent, request - c_sent, 1);
        s_got += testnet_read(n, s, s_got, 1);
        if (s_got == request)
            s_sent += testnet_write(n, s, s_sent, reply - s_sent, 2);
        c_got += testnet_read(n, c, c_got, 2);
        if (c_sent == request && !c_fin)
            c_fin = vcl_conn_shutdown_write(c, n->now) == VCL_OK;
        if (s_sent == reply && s_got == request && !s_fin)
            s_fin = vcl_conn_shutdown_write(s, n->now) == VCL_OK;
        testnet_run(n, n->now + TESTNET_DELAY_US);
    }
    assert_int_equal(c_got, reply);
    assert_int_equal(s_got, request);
    testnet_run(n, n->now + SECOND);
    assert_int_equal(vcl_conn_error(c), VCL_OK);
    assert_int_equal(vcl_conn_error(s), VCL_OK);
    vcl_conn_release(c, n->now);
    vcl_conn_release(s, n->now);
    testnet_run(n, n->now + 11 * SECOND);
    struct vcl_stats st;
    vcl_engine_stats(n->client, &st);
    assert_int_equal(st.nb_conns, 0);
    vcl_engine_stats(n->server, &st);
    assert_int_equal(st.nb_conns, 0);
}

static void run(testnet_filter filter, void *ctx, uint64_t request, uint64_t reply)
{
    struct testnet n;
    testnet_init(&n, 0);
    testnet_start(&n);
    n.filter = filter;
    n.filter_ctx = ctx;
    exchange(&n, request, reply);
    assert_int_equal(testnet_count(n.server_events, n.nb_server_events, VCL_EV_CONN_ACCEPTED), 1);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_OPENED), 1);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_CLOSED), 1);
    assert_int_equal(testnet_count(n.server_events, n.nb_server_events, VCL_EV_CONN_CLOSED), 1);
    testnet_stop(&n);
}

static void open_exchange_close(void **state)
{
    run(NULL, NULL, 64, 64);
}

static void a_clean_network_needs_no_repetition(void **state)
{
    struct testnet n;
    struct vcl_stats st;
    testnet_init(&n, 0);
    testnet_start(&n);
    exchange(&n, 3000000, 2000000);
    vcl_engine_stats(n.client, &st);
    assert_int_equal(st.frames_resent + st.ptos, 0);
    vcl_engine_stats(n.server, &st);
    assert_int_equal(st.frames_resent + st.ptos, 0);
    testnet_stop(&n);
}

static enum verdict drop_one(struct testnet *n, struct flight *f)
{
    return f->number == *(uint64_t *)n->filter_ctx ? DROP : DELIVER;
}

static enum verdict repeat_one(struct testnet *n, struct flight *f)
{
    return f->number == *(uint64_t *)n->filter_ctx ? TWICE : DELIVER;
}

static enum verdict delay_one(struct testnet *n, struct flight *f)
{
    if (f->number == *(uint64_t *)n->filter_ctx)
        f->at += 30000; /* beyond several PTOs: every repetition overtakes it */
    return DELIVER;
}

static void any_one_datagram_lost_repeated_or_late(void **state)
{
    testnet_filter filters[] = {drop_one, repeat_one, delay_one};
    for (int k = 0; k < 3; k++)
        for (uint64_t i = 0; i < 40; i++)
            run(filters[k], &i, 5000, 4000);
}

static enum verdict drop_pair(struct testnet *n, struct flight *f)
{
    uint64_t *pair = n->filter_ctx;
    return f->number == pair[0] || f->number == pair[1] ? DROP : DELIVER;
}

static void any_two_datagrams_lost(void **state)
{
    for (uint64_t a = 0; a < 16; a++)
        for (uint64_t b = a + 1; b < 20; b++)
            run(drop_pair, (uint64_t[]){a, b}, 3000, 100);
}

struct rough {
    uint64_t seed;
    unsigned loss, twice, late; /* percent */
};

static enum verdict rough(struct testnet *n, struct flight *f)
{
    struct rough *r = n->filter_ctx;
    if (below(&r->seed, 100) < r->late)
        f->at += below(&r->seed, 5000);
    if (below(&r->seed, 100) < r->loss)
        return DROP;
    return below(&r->seed, 100) < r->twice ? TWICE : DELIVER;
}

static void rough_networks(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        run(rough, &(struct rough){seed, 0, 0, 50}, 200000, 100000);
        run(rough, &(struct rough){seed, 1, 1, 1}, 200000, 100000);
        run(rough, &(struct rough){seed, 20, 20, 20}, 60000, 30000);
        run(rough, &(struct rough){seed, 40, 0, 0}, 8000, 8000);
    }
}

/* W8, C6: the reader sleeps; the window shuts; the update that opens it again is lost. */
static enum verdict drop_bare_acks(struct testnet *n, struct flight *f)
{
    return pmw_type_of(f->bytes, f->len) == PMW_ACK && *(bool *)n->filter_ctx ? DROP : DELIVER;
}

static void a_shut_window_is_probed(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    bool drop = false;
    testnet_init(&n, 0);
    n.server_config.rcvbuf_bytes = n.server_config.rcvbuf_bytes_max = 1000;
    testnet_start(&n);
    n.filter = drop_bare_acks;
    n.filter_ctx = &drop;
    testnet_open(&n, &c, &s);
    assert_int_equal(testnet_write(&n, c, 0, 5000, 1), 5000);
    testnet_run(&n, n.now + 3 * SECOND);
    assert_int_equal(vcl_conn_readable(s), 1000);
    drop = true;
    uint64_t got = testnet_read(&n, s, 0, 1);
    testnet_run(&n, n.now + 200);
    drop = false;
    while (got < 5000) {
        testnet_run(&n, n.now + 10000);
        got += testnet_read(&n, s, got, 1);
        assert_true(n.now < 20 * SECOND);
    }
    assert_int_equal(vcl_conn_unacked(c), 0);
    testnet_stop(&n);
}

static void writable_follows_a_full_buffer(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    n.client_config.sndbuf_bytes = n.client_config.sndbuf_bytes_max = 10000;
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    assert_int_equal(testnet_write(&n, c, 0, 20000, 1), 10000);
    assert_int_equal(vcl_conn_write(c, n.now, "x", 1), -VCL_ERR_AGAIN);
    assert_int_equal(vcl_conn_writable(c), 0);
    testnet_run(&n, n.now + 100000);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_WRITABLE), 1);
    assert_int_equal(vcl_conn_writable(c), 10000);
    testnet_stop(&n);
}

static void peek_leaves_the_bytes(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    char buf[8];
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    assert_int_equal(vcl_conn_read(s, n.now, buf, 8, false), -VCL_ERR_AGAIN);
    vcl_conn_write(c, n.now, "hello", 5);
    testnet_run(&n, n.now + 1000);
    assert_int_equal(vcl_conn_read(s, n.now, buf, 8, true), 5);
    assert_int_equal(vcl_conn_read(s, n.now, buf, 3, false), 3);
    assert_memory_equal(buf, "hel", 3);
    assert_int_equal(vcl_conn_read(s, n.now, buf, 8, false), 2);
    struct vcl_conn_info info;
    vcl_conn_info(s, &info);
    assert_int_equal(info.received_bytes, 5);
    assert_memory_equal(info.peer.ip, n.client_addr.ip, 4);
    uint16_t port = info.peer.port;
    vcl_conn_info(c, &info);
    assert_int_equal(info.local_port, port);
    testnet_stop(&n);
}

/* Written before the connection is open, finished before it is open. */
static void early_bytes_wait_for_the_answer(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    assert_int_equal(vcl_conn_open(n.session, n.now, &c), VCL_OK);
    assert_int_equal(vcl_conn_write(c, n.now, "hello", 5), 5);
    vcl_conn_release(c, n.now);
    assert_int_equal(vcl_engine_lingering(n.client), 1);
    testnet_run(&n, n.now + 10000);
    assert_int_equal(vcl_engine_lingering(n.client), 0);
    assert_int_equal(vcl_conn_accept(n.server, &s), VCL_OK);
    char buf[8];
    assert_int_equal(vcl_conn_read(s, n.now, buf, 8, false), 5);
    assert_int_equal(vcl_conn_read(s, n.now, buf, 8, false), 0);
    vcl_conn_release(s, n.now);
    testnet_run(&n, n.now + 12 * SECOND);
    struct vcl_stats st;
    vcl_engine_stats(n.server, &st);
    assert_int_equal(st.nb_conns, 0);
    testnet_stop(&n);
}

/* Idle sessions cost next to nothing (S12), and those without connections nothing. */
static void silence_is_cheap(void **state)
{
    struct testnet n;
    struct vcl_conn *c, *s;
    testnet_init(&n, 0);
    testnet_start(&n);
    testnet_open(&n, &c, &s);
    testnet_write(&n, c, 0, 1, 1);
    testnet_run(&n, n.now + 5 * SECOND);
    uint64_t before = n.number;
    testnet_run(&n, n.now + 100 * (uint64_t)SECOND);
    assert_in_range(n.number - before, 38, 42); /* a PROBE and an ECHO each 5 s */
    testnet_read(&n, s, 0, 1);
    vcl_conn_release(c, n.now);
    vcl_conn_release(s, n.now);
    testnet_run(&n, n.now + 20 * SECOND);
    before = n.number;
    assert_true(vcl_engine_next_timer(n.client) > n.now + 300 * (uint64_t)SECOND); /* the token, at last */
    testnet_run(&n, n.now + 400 * (uint64_t)SECOND);
    assert_int_equal(n.number, before);
    struct vcl_stats st;
    vcl_engine_stats(n.server, &st);
    assert_int_equal(st.nb_sessions, 0); /* S14 */
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_exchange_close),
        cmocka_unit_test(a_clean_network_needs_no_repetition),
        cmocka_unit_test(any_one_datagram_lost_repeated_or_late),
        cmocka_unit_test(any_two_datagrams_lost),
        cmocka_unit_test(rough_networks),
        cmocka_unit_test(a_shut_window_is_probed),
        cmocka_unit_test(writable_follows_a_full_buffer),
        cmocka_unit_test(peek_leaves_the_bytes),
        cmocka_unit_test(early_bytes_wait_for_the_answer),
        cmocka_unit_test(silence_is_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
