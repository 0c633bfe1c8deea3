/* SPDX-License-Identifier: Apache-2.0
 *
 * Two engines on the direct path: open, echo, close; what the network may do to them; what they refuse.
 */
// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
// clang-format on
#include "testnet.h"

#include <string.h>

enum { SECOND = 1000000 };

/* One exchange, whatever the filter does: both ways, then both sides finish. Returns the virtual time it took. */
static uint64_t exchange(struct testnet *n, uint64_t request, uint64_t reply)
{
    struct vcl_conn *c, *s;
    uint64_t start = n->now, until = n->now + 60 * (uint64_t)SECOND;
    uint64_t c_sent = 0, c_got = 0, s_sent = 0, s_got = 0;
    testnet_open(n, &c, &s);
    bool c_fin = false, s_fin = false;
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
    uint64_t took = n->now - start;
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
    return took;
}

static void open_echo_close(void **state)
{
    struct testnet n;
    testnet_init(&n, 0);
    testnet_start(&n);
    exchange(&n, 64, 64);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_OPENED), 1);
    assert_int_equal(testnet_count(n.client_events, n.nb_client_events, VCL_EV_CONN_CLOSED), 1);
    assert_int_equal(testnet_count(n.server_events, n.nb_server_events, VCL_EV_CONN_ACCEPTED), 1);
    assert_int_equal(testnet_count(n.server_events, n.nb_server_events, VCL_EV_CONN_CLOSED), 1);
    testnet_stop(&n);
}

static void bulk_both_ways(void **state)
{
    struct testnet n;
    testnet_init(&n, 0);
    testnet_start(&n);
    exchange(&n, 3000000, 2000000);
    struct vcl_stats st;
    vcl_engine_stats(n.client, &st);
    assert_int_equal(st.frames_resent, 0);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_echo_close),
        cmocka_unit_test(bulk_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
