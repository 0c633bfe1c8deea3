/* SPDX-License-Identifier: Apache-2.0
 *
 * How connections, listeners and drivers end, and what a forked child may do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pair.h"

static void what_was_written_is_delivered_after_close(void **state)
{
    enum { TOTAL = 200000 };
    static char out[TOTAL], in[TOTAL];
    struct link l;
    link_open(&l, NULL);
    memset(out, 'd', sizeof(out));
    assert_int_equal(put(l.c, out, TOTAL, VCL_SOCK_WAIT_ALL, VCL_NEVER), TOTAL);
    vcl_sock_close(l.c, false);
    vcl_driver_close(l.pair.client, VCL_LINGER_US);
    assert_int_equal(vcl_sock_recv(l.s, in, TOTAL, VCL_SOCK_WAIT_ALL, VCL_NEVER), TOTAL);
    assert_memory_equal(in, out, TOTAL);
    assert_int_equal(vcl_sock_recv(l.s, in, 1, 0, in_seconds(5)), 0);
    link_close(&l);
}

static void linger_waits_for_the_acknowledgement(void **state)
{
    struct link l;
    char buf[8];
    link_open(&l, NULL);
    assert_int_equal(put(l.c, "bye", 3, 0, 0), 3);
    assert_int_equal(vcl_sock_linger(l.c, in_seconds(5)), 0);
    assert_int_equal(vcl_sock_recv(l.s, buf, sizeof(buf), 0, 0), 3);
    link_close(&l);
}

static void a_listener_that_stopped_resets_new_connections(void **state)
{
    struct link l;
    struct vcl_sock *late;
    char byte = 'k';
    link_open(&l, NULL);
    vcl_driver_stop_listening(l.pair.server);
    assert_int_equal(vcl_sock_connect(l.pair.client, l.pair.session, &late), 0);
    int rc = vcl_sock_connected(late, in_seconds(5));
    if (rc == 0) /* it was opened before it was reset */
        rc = (int)vcl_sock_recv(late, &byte, 1, 0, in_seconds(5));
    assert_true(rc == -ECONNRESET || rc == -ECONNREFUSED);
    assert_int_equal(put(l.c, &byte, 1, 0, 0), 1); /* the accepted one goes on */
    assert_int_equal(vcl_sock_recv(l.s, &byte, 1, 0, in_seconds(5)), 1);
    vcl_sock_free(late);
    link_close(&l);
}

static int child_verdict(struct link *l)
{
    char byte;
    if (vcl_sock_recv(l->c, &byte, 1, 0, 0) != -EBADF || put(l->c, "x", 1, 0, 0) != -EBADF)
        return 1;
    if (vcl_driver_is_ours(l->pair.client) || vcl_session_detach(l->pair.client, l->pair.session) != -EBADF)
        return 2;
    vcl_sock_free(l->c);
    vcl_driver_free(l->pair.client);
    struct link own; /* a child may make its own */
    link_open(&own, NULL);
    if (put(own.c, "x", 1, 0, 0) != 1 || vcl_sock_recv(own.s, &byte, 1, 0, in_seconds(5)) != 1)
        return 3;
    link_close(&own);
    return 0;
}

static void a_child_keeps_its_hands_off(void **state)
{
    struct link l;
    char byte;
    int status;
    link_open(&l, NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(child_verdict(&l));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(put(l.c, "p", 1, 0, 0), 1);
    assert_int_equal(vcl_sock_recv(l.s, &byte, 1, 0, in_seconds(5)), 1);
    link_close(&l);
}

static void sessions_can_be_asked_and_given_back(void **state)
{
    struct link l;
    struct vcl_session_info info;
    struct vcl_conn_info conn;
    link_open(&l, NULL);
    assert_int_equal(vcl_session_query(l.pair.client, l.pair.session, &info), 0);
    assert_int_equal(info.nb_conns, 1);
    assert_int_equal(info.active_helper_id, 0);
    assert_int_equal(vcl_sock_info(l.s, &conn), 0);
    assert_int_equal(conn.peer.family, 4);
    assert_int_equal(vcl_session_detach(l.pair.client, l.pair.session), -EBUSY);
    assert_int_equal(vcl_notices_wait(l.pair.client, 0, 0), -EAGAIN);
    link_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_delivered_after_close),
        cmocka_unit_test(linger_waits_for_the_acknowledgement),
        cmocka_unit_test(a_listener_that_stopped_resets_new_connections),
        cmocka_unit_test(a_child_keeps_its_hands_off),
        cmocka_unit_test(sessions_can_be_asked_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
