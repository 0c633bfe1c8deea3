/* SPDX-License-Identifier: Apache-2.0
 *
 * What pollers see of a mirror, in every state a connection can be in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "mirror.h"

static short seen(const struct vcl_mirror *m)
{
    struct pollfd p = {.fd = m->app, .events = POLLIN | POLLOUT | POLLRDHUP};
    assert_true(poll(&p, 1, 0) >= 0);
    return p.revents;
}

static void shows_each_state(void **state)
{
    struct vcl_mirror m;
    assert_int_equal(vcl__mirror_open(&m), 0);
    assert_int_equal(seen(&m), POLLOUT);
    for (int i = 0; i < 3; i++) {
        vcl__mirror_show(&m, (struct vcl_readiness){.readable = true, .writable = true});
        assert_int_equal(seen(&m), POLLIN | POLLOUT);
        vcl__mirror_show(&m, (struct vcl_readiness){.readable = true});
        assert_int_equal(seen(&m), POLLIN);
        vcl__mirror_show(&m, (struct vcl_readiness){0});
        assert_int_equal(seen(&m), 0);
        vcl__mirror_show(&m, (struct vcl_readiness){.writable = true});
        assert_int_equal(seen(&m), POLLOUT);
    }
    vcl__mirror_show(&m, (struct vcl_readiness){.readable = true, .ended = true});
    assert_int_equal(seen(&m), POLLIN | POLLRDHUP);
    vcl__mirror_show(&m, (struct vcl_readiness){.readable = true, .writable = true, .ended = true});
    assert_int_equal(seen(&m), POLLIN | POLLOUT | POLLRDHUP);
    vcl__mirror_show(&m, (struct vcl_readiness){.over = true});
    assert_int_equal(seen(&m), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    vcl__mirror_close(&m);
    vcl__mirror_close(&m);
    assert_int_equal(m.app, -1);
}

static void over_while_not_writable(void **state)
{
    struct vcl_mirror m;
    assert_int_equal(vcl__mirror_open(&m), 0);
    vcl__mirror_show(&m, (struct vcl_readiness){0});
    vcl__mirror_show(&m, (struct vcl_readiness){.over = true});
    assert_int_equal(seen(&m), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    vcl__mirror_close(&m);
}

static void edge_triggered_pollers_hear_each_change(void **state)
{
    struct vcl_mirror m;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
    assert_int_equal(vcl__mirror_open(&m), 0);
    int ep = epoll_create1(0);
    assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, m.app, &ev), 0);
    for (int i = 0; i < 3; i++) {
        vcl__mirror_show(&m, (struct vcl_readiness){.readable = true, .writable = true});
        assert_int_equal(epoll_wait(ep, &ev, 1, 0), 1);
        assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
        vcl__mirror_show(&m, (struct vcl_readiness){.writable = true});
        assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
    }
    close(ep);
    vcl__mirror_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_each_state),
        cmocka_unit_test(over_while_not_writable),
        cmocka_unit_test(edge_triggered_pollers_hear_each_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
