/* SPDX-License-Identifier: Apache-2.0
 *
 * Two drivers on loopback: blocking calls, who receives, readiness. How things end is in ends_test.c, many
 * threads at once in echo_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pair.h"

static short ready(struct vcl_sock *s, int timeout_ms)
{
    struct pollfd p = {.fd = vcl_sock_fd(s), .events = POLLIN | POLLOUT | POLLRDHUP};
    assert_true(p.fd >= 0);
    assert_true(poll(&p, 1, timeout_ms) >= 0);
    return p.revents;
}

/* Polls until the wanted bits are what is shown. */
static void expect_ready(struct vcl_sock *s, short wanted)
{
    uint64_t deadline = in_seconds(5);
    while (ready(s, 0) != wanted && vcl_clock_us() < deadline)
        poll(NULL, 0, 1);
    assert_int_equal(ready(s, 0), wanted);
}

static void bytes_and_the_end_of_the_stream(void **state)
{
    struct link l;
    char buf[32];
    struct iovec parts[] = {{"one ", 4}, {"", 0}, {"two", 3}};
    link_open(&l, NULL);
    assert_int_equal(vcl_sock_send(l.c, parts, 3, 0, VCL_NEVER), 7);
    assert_int_equal(vcl_sock_recv(l.s, buf, 7, VCL_SOCK_WAIT_ALL, in_seconds(5)), 7);
    assert_memory_equal(buf, "one two", 7);
    assert_int_equal(vcl_sock_recv(l.s, buf, 1, 0, 0), -EAGAIN);
    assert_int_equal(put(l.s, "reply", 5, 0, 0), 5);
    assert_int_equal(vcl_sock_recv(l.c, buf, sizeof(buf), VCL_SOCK_PEEK, in_seconds(5)), 5);
    assert_int_equal(vcl_sock_recv(l.c, buf, sizeof(buf), 0, 0), 5);
    assert_int_equal(vcl_sock_shutdown(l.c, SHUT_WR), 0);
    assert_int_equal(put(l.c, "x", 1, 0, 0), -EPIPE);
    assert_int_equal(vcl_sock_recv(l.s, buf, sizeof(buf), 0, in_seconds(5)), 0);
    assert_int_equal(put(l.s, "still", 5, 0, 0), 5);
    assert_int_equal(vcl_sock_recv(l.c, buf, sizeof(buf), 0, in_seconds(5)), 5);
    link_close(&l);
}

static void a_deadline_passes(void **state)
{
    struct link l;
    char byte;
    struct vcl_sock *none;
    link_open(&l, NULL);
    assert_int_equal(vcl_sock_recv(l.c, &byte, 1, 0, vcl_clock_us() + 20000), -ETIME);
    assert_int_equal(vcl_sock_accept(l.pair.server, &none, vcl_clock_us() + 20000), -ETIME);
    assert_int_equal(vcl_sock_accept(l.pair.server, &none, 0), -EAGAIN);
    assert_int_equal(vcl_sock_accept(l.pair.client, &none, 0), -EINVAL);
    link_close(&l);
}

static void a_reset_is_told_once(void **state)
{
    struct link l;
    char byte;
    link_open(&l, NULL);
    vcl_sock_close(l.c, true);
    assert_int_equal(vcl_sock_recv(l.s, &byte, 1, 0, in_seconds(5)), -ECONNRESET);
    assert_int_equal(vcl_sock_recv(l.s, &byte, 1, 0, in_seconds(5)), 0);
    assert_int_equal(put(l.s, "x", 1, 0, 0), -EPIPE);
    assert_int_equal(vcl_sock_recv(l.c, &byte, 1, 0, 0), -EBADF);
    link_close(&l);
}

static void nobody_there_is_an_error_in_time(void **state)
{
    struct pair p;
    struct vcl_driver_config c;
    struct vcl_sock *s;
    vcl_driver_config_defaults(&c);
    c.engine.open_timeout_us = 200000;
    pair_open(&p, &c);
    vcl_driver_close(p.server, 0);
    assert_int_equal(vcl_driver_join(p.server, in_seconds(5)), 0);
    assert_int_equal(vcl_sock_connect(p.client, p.session, &s), 0);
    assert_int_equal(vcl_sock_connected(s, in_seconds(10)), -ETIMEDOUT);
    vcl_sock_free(s);
    pair_close(&p);
}

/* --- a second thread that waits ------------------------------------------------------------------- */
struct reader {
    pthread_t thread;
    struct vcl_sock *s;
    _Atomic int started;
    int64_t result;
};

static void *read_one(void *arg)
{
    struct reader *r = arg;
    char byte;
    r->started = 1;
    r->result = vcl_sock_recv(r->s, &byte, 1, 0, VCL_NEVER);
    return NULL;
}

static void reader_start(struct reader *r, struct vcl_sock *s)
{
    *r = (struct reader){.s = s};
    assert_int_equal(pthread_create(&r->thread, NULL, read_one, r), 0);
    while (!r->started)
        poll(NULL, 0, 1);
}

static void closing_wakes_who_waits(void **state)
{
    struct link l;
    struct reader r;
    link_open(&l, NULL);
    reader_start(&r, l.c);
    vcl_sock_close(l.c, false);
    assert_int_equal(pthread_join(r.thread, NULL), 0);
    assert_int_equal(r.result, -EBADF);
    link_close(&l);
}

static void closing_the_driver_wakes_who_waits(void **state)
{
    struct link l;
    struct reader r;
    link_open(&l, NULL);
    reader_start(&r, l.c);
    vcl_driver_close(l.pair.client, VCL_LINGER_US);
    assert_int_equal(pthread_join(r.thread, NULL), 0);
    assert_int_equal(r.result, -EBADF);
    assert_int_equal(vcl_sock_shutdown(l.c, SHUT_WR), -EBADF);
    assert_int_equal(vcl_sock_fd(l.c), -EBADF);
    link_close(&l);
}

static void ignore(int signal_number)
{
}

static void a_signal_interrupts_a_wait(void **state)
{
    struct link l;
    struct reader r;
    struct sigaction quiet = {.sa_handler = ignore}, before; /* no SA_RESTART, as CPython installs its handlers */
    link_open(&l, NULL);
    assert_int_equal(sigaction(SIGUSR1, &quiet, &before), 0);
    reader_start(&r, l.c);
    uint64_t deadline = in_seconds(10);
    while (pthread_tryjoin_np(r.thread, NULL) != 0) { /* it may not sleep yet when the first signal comes */
        assert_true(vcl_clock_us() < deadline);
        pthread_kill(r.thread, SIGUSR1);
        poll(NULL, 0, 5);
    }
    assert_int_equal(r.result, -EINTR);
    sigaction(SIGUSR1, &before, NULL);
    link_close(&l);
}

/* --- who receives (lead.c) ------------------------------------------------------------------------------ */
static void a_thread_that_waits_alone_receives_for_itself(void **state)
{
    struct link l;
    struct vcl_stats engine;
    struct vcl_io_stats before, after;
    char byte = 'q';
    link_open(&l, NULL);
    vcl_driver_stats(l.pair.client, &engine, &before);
    for (int i = 0; i < 10; i++) {
        struct reader r;
        reader_start(&r, l.c);
        assert_int_equal(put(l.s, &byte, 1, 0, 0), 1);
        assert_int_equal(pthread_join(r.thread, NULL), 0);
        assert_int_equal(r.result, 1);
    }
    vcl_driver_stats(l.pair.client, &engine, &after);
    assert_int_equal(after.wakes, before.wakes); /* no thread had to wake another */
    link_close(&l);
}

static void who_leads_serves_the_others(void **state)
{
    struct link l;
    struct reader leader, follower;
    struct vcl_sock *c[2], *s[2];
    char byte = 'q';
    link_open(&l, NULL);
    for (int i = 0; i < 2; i++)
        pair_connect(&l.pair, &c[i], &s[i]);
    reader_start(&leader, l.c);
    reader_start(&follower, c[0]);
    assert_int_equal(ready(c[1], 0), POLLOUT);
    assert_int_equal(put(s[0], &byte, 1, 0, 0), 1); /* the leader goes on waiting */
    assert_int_equal(pthread_join(follower.thread, NULL), 0);
    assert_int_equal(follower.result, 1);
    assert_int_equal(put(s[1], &byte, 1, 0, 0), 1);
    expect_ready(c[1], POLLIN | POLLOUT);
    assert_int_equal(put(l.s, &byte, 1, 0, 0), 1);
    assert_int_equal(pthread_join(leader.thread, NULL), 0);
    assert_int_equal(vcl_sock_recv(c[1], &byte, 1, 0, 0), 1);
    assert_int_equal(put(s[1], &byte, 1, 0, 0), 1); /* now the driver's thread receives again */
    expect_ready(c[1], POLLIN | POLLOUT);
    for (int i = 0; i < 2; i++) {
        vcl_sock_free(c[i]);
        vcl_sock_free(s[i]);
    }
    link_close(&l);
}

static void after_a_leader_the_thread_takes_over(void **state)
{
    struct link l;
    struct reader r;
    char buf[10];
    link_open(&l, NULL);
    reader_start(&r, l.c);
    assert_int_equal(put(l.s, "1", 1, 0, 0), 1);
    assert_int_equal(pthread_join(r.thread, NULL), 0);
    assert_int_equal(put(l.s, "2", 1, 0, 0), 1);              /* nobody waits for this one in the client */
    assert_int_equal(vcl_sock_linger(l.s, in_seconds(5)), 0); /* acknowledged all the same */
    assert_int_equal(vcl_sock_recv(l.c, buf, sizeof(buf), 0, 0), 1);
    link_close(&l);
}

/* --- readiness ---------------------------------------------------------------------------------------- */
static void the_mirror_shows_readiness(void **state)
{
    struct link l;
    char buf[4096] = {0};
    link_open(&l, NULL);
    assert_int_equal(ready(l.s, 0), POLLOUT);
    assert_int_equal(put(l.c, "abc", 3, 0, 0), 3);
    expect_ready(l.s, POLLIN | POLLOUT);
    assert_int_equal(vcl_sock_recv(l.s, buf, 2, 0, 0), 2);
    assert_int_equal(ready(l.s, 0), POLLIN | POLLOUT);
    assert_int_equal(vcl_sock_recv(l.s, buf, 2, 0, 0), 1);
    assert_int_equal(ready(l.s, 0), POLLOUT);

    assert_int_equal(ready(l.c, 0), POLLOUT);
    size_t sent = 0;
    uint64_t deadline = in_seconds(10);
    for (int64_t n; ready(l.c, 0) & POLLOUT; sent += n > 0 ? (size_t)n : 0) {
        n = put(l.c, buf, sizeof(buf), 0, 0);
        assert_true(n > 0 || n == -EAGAIN);
        assert_true(vcl_clock_us() < deadline);
    }
    while (sent > 0) {
        int64_t n = vcl_sock_recv(l.s, buf, sizeof(buf), 0, in_seconds(5));
        assert_true(n > 0);
        sent -= (size_t)n;
    }
    expect_ready(l.c, POLLOUT);

    assert_int_equal(vcl_sock_shutdown(l.c, SHUT_WR), 0);
    expect_ready(l.s, POLLIN | POLLOUT | POLLRDHUP);
    assert_int_equal(vcl_sock_shutdown(l.s, SHUT_WR), 0);
    expect_ready(l.s, POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
    link_close(&l);
}

static void the_accept_descriptor_shows_the_backlog(void **state)
{
    struct pair p;
    struct vcl_sock *c[2], *s[2];
    pair_open(&p, NULL);
    struct pollfd fd = {.fd = vcl_driver_accept_fd(p.server), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(vcl_sock_connect(p.client, p.session, &c[i]), 0);
        assert_int_equal(vcl_sock_connected(c[i], in_seconds(5)), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(poll(&fd, 1, 5000), 1);
        assert_int_equal(vcl_sock_accept(p.server, &s[i], 0), 0);
    }
    assert_int_equal(poll(&fd, 1, 0), 0);
    for (int i = 0; i < 2; i++) {
        vcl_sock_free(c[i]);
        vcl_sock_free(s[i]);
    }
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_the_end_of_the_stream),
        cmocka_unit_test(a_deadline_passes),
        cmocka_unit_test(a_reset_is_told_once),
        cmocka_unit_test(nobody_there_is_an_error_in_time),
        cmocka_unit_test(closing_wakes_who_waits),
        cmocka_unit_test(closing_the_driver_wakes_who_waits),
        cmocka_unit_test(a_signal_interrupts_a_wait),
        cmocka_unit_test(a_thread_that_waits_alone_receives_for_itself),
        cmocka_unit_test(who_leads_serves_the_others),
        cmocka_unit_test(after_a_leader_the_thread_takes_over),
        cmocka_unit_test(the_mirror_shows_readiness),
        cmocka_unit_test(the_accept_descriptor_shows_the_backlog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
