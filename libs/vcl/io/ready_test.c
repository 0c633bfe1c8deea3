/* SPDX-License-Identifier: Apache-2.0
 *
 * vcl_driver_ready: each connection that something happened to is told once, in order, and the sleeper wakes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "pair.h"

enum { CONNECTIONS = 3, NEWS_MAX = 8 };

/* Collects until `wanted` connections were told; how many times each of `socks` was. */
static void expect_told(struct vcl_driver *d, struct vcl_sock *const *socks, const int *times, int wanted)
{
    struct vcl_sock *told[NEWS_MAX];
    int count[CONNECTIONS] = {0}, total = 0;
    while (total < wanted) {
        int n = vcl_driver_ready(d, told, NEWS_MAX, in_seconds(5));
        assert_true(n >= 0);
        for (int i = 0; i < n; i++)
            for (int k = 0; k < CONNECTIONS; k++)
                count[k] += told[i] == socks[k];
        total += n;
    }
    for (int k = 0; k < CONNECTIONS; k++)
        assert_int_equal(count[k], times[k]);
}

static void news_are_told_once(void **state)
{
    struct pair p;
    struct vcl_sock *client[CONNECTIONS], *server[CONNECTIONS], *told[NEWS_MAX];
    char buf[8];
    pair_open(&p, NULL);
    for (int i = 0; i < CONNECTIONS; i++) {
        pair_connect(&p, &client[i], &server[i]);
        vcl_sock_set_user(server[i], &server[i]);
    }
    /* What was there before the first call counts as news; nothing else does. */
    expect_told(p.server, server, (const int[]){1, 1, 1}, CONNECTIONS);
    assert_int_equal(vcl_driver_ready(p.server, told, NEWS_MAX, 0), -EAGAIN);
    assert_int_equal(vcl_driver_ready(p.server, told, NEWS_MAX, in_seconds(0.01)), -ETIME);

    assert_int_equal(put(client[2], "c", 1, 0, 0), 1);
    assert_int_equal(put(client[0], "a", 1, 0, 0), 1);
    expect_told(p.server, server, (const int[]){1, 0, 1}, 2);
    assert_int_equal(vcl_sock_recv(server[2], buf, sizeof(buf), 0, 0), 1);
    assert_int_equal(vcl_sock_recv(server[2], buf, sizeof(buf), 0, 0), -EAGAIN);
    assert_int_equal(vcl_driver_ready(p.server, told, NEWS_MAX, 0), -EAGAIN);
    assert_ptr_equal(vcl_sock_user(server[2]), &server[2]);

    /* The end of a connection is news; a handle that was closed is not told any more. */
    vcl_sock_close(client[1], false);
    expect_told(p.server, server, (const int[]){0, 1, 0}, 1);
    assert_int_equal(vcl_sock_recv(server[1], buf, sizeof(buf), 0, 0), 0);
    assert_int_equal(put(client[2], "c", 1, 0, 0), 1);
    while (vcl_sock_readable(server[2]) == 0)
        assert_int_not_equal(vcl_driver_ready(p.client, told, NEWS_MAX, in_seconds(0.01)), -EBADF);
    vcl_sock_free(server[2]);
    assert_int_equal(vcl_driver_ready(p.server, told, NEWS_MAX, 0), -EAGAIN);

    for (int i = 0; i < CONNECTIONS; i++) {
        vcl_sock_free(client[i]);
        if (i != 2)
            vcl_sock_free(server[i]);
    }
    pair_close(&p);
}

static void a_waiting_connection_and_the_end_wake_the_sleeper(void **state)
{
    struct pair p;
    struct vcl_sock *client, *server, *told[NEWS_MAX];
    pair_open(&p, NULL);
    assert_int_equal(vcl_driver_ready(p.server, told, NEWS_MAX, 0), -EAGAIN);
    assert_int_equal(vcl_sock_connect(p.client, p.session, &client), 0);
    assert_int_equal(vcl_driver_ready(p.server, told, NEWS_MAX, in_seconds(5)), 0);
    assert_int_equal(vcl_sock_accept(p.server, &server, 0), 0);
    vcl_driver_close(p.server, 0);
    int n;
    while ((n = vcl_driver_ready(p.server, told, NEWS_MAX, in_seconds(5))) >= 0)
        assert_true(n <= 1);
    assert_int_equal(n, -EBADF);
    vcl_sock_free(client);
    vcl_sock_free(server);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(news_are_told_once),
        cmocka_unit_test(a_waiting_connection_and_the_end_wake_the_sleeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
