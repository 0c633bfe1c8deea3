/* SPDX-License-Identifier: Apache-2.0
 *
 * S15: a session that was driven to the direct path goes back to a helper that works both ways, and to no other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "testnet.h"

enum { SECOND_US = 1000000, STREAM_BYTES = 200 };

static uint16_t active_helper(struct testnet *n)
{
    struct vcl_session_info info;
    vcl_session_info(n->session, &info);
    return info.active_helper_id;
}

/* Opens a connection, lets both helpers die, and writes until the session is on the direct path. */
static void drive_to_direct(struct testnet *n, struct vcl_conn **client, struct vcl_conn **server, uint64_t *offset)
{
    testnet_open(n, client, server);
    n->relays[0].dead = n->relays[1].dead = true;
    *offset = testnet_write(n, *client, 0, STREAM_BYTES, 1);
    testnet_run(n, n->now + SECOND_US);
    assert_int_equal(active_helper(n), 0);
    assert_int_equal(testnet_read(n, *server, 0, 1), *offset);
}

/* The stream goes on after the moves: nothing lost, nothing twice. */
static void stream_goes_on(struct testnet *n, struct vcl_conn *client, struct vcl_conn *server, uint64_t offset)
{
    uint64_t more = testnet_write(n, client, offset, STREAM_BYTES, 1);
    testnet_run(n, n->now + SECOND_US);
    assert_int_equal(testnet_read(n, server, offset, 1), more);
    assert_int_equal(vcl_conn_unacked(client), 0);
}

static void test_returns_to_the_helper_that_is_back(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset;
    testnet_init(&n, 2);
    testnet_start(&n);
    drive_to_direct(&n, &client, &server, &offset);
    n.relays[1].dead = false;
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), n.relays[1].helper_id);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

static void test_stays_direct_while_no_helper_is_back(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset;
    testnet_init(&n, 2);
    testnet_start(&n);
    drive_to_direct(&n, &client, &server, &offset);
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), 0);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

static void test_a_helper_that_works_one_way_is_no_home(void **state)
{
    struct testnet n;
    struct vcl_conn *client, *server;
    uint64_t offset;
    testnet_init(&n, 2);
    testnet_start(&n);
    drive_to_direct(&n, &client, &server, &offset);
    for (int i = 0; i < 2; i++) {
        n.relays[i].dead = false;
        n.relays[i].dead_to_client = i == 0;
        n.relays[i].dead_to_server = i == 1;
    }
    testnet_run(&n, n.now + 30 * (uint64_t)SECOND_US);
    assert_int_equal(active_helper(&n), 0);
    stream_goes_on(&n, client, server, offset);
    testnet_stop(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_returns_to_the_helper_that_is_back),
        cmocka_unit_test(test_stays_direct_while_no_helper_is_back),
        cmocka_unit_test(test_a_helper_that_works_one_way_is_no_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
