/* SPDX-License-Identifier: Apache-2.0
 *
 * Handles: how they come, what events do to them, how they end. Sending and receiving are in stream.c. */
#include "driver.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>

/* --- readiness ------------------------------------------------------------------------------------ */
/* A connection that nobody has read for this long says nothing about a burst: it must not slow the others down. */
static const uint64_t UNREAD_US_MAX = 100000;

static void add_unread(struct vcl_sock *s, uint64_t now)
{
    struct vcl_driver *d = s->driver;
    if (s->unread)
        return;
    s->unread = true;
    s->unread_us = now;
    s->unread_next = NULL;
    s->unread_prev = d->unread_last;
    *(d->unread_last != NULL ? &d->unread_last->unread_next : &d->unread_first) = s;
    d->unread_last = s;
}

static void drop_unread(struct vcl_sock *s)
{
    struct vcl_driver *d = s->driver;
    if (!s->unread)
        return;
    s->unread = false;
    *(s->unread_prev != NULL ? &s->unread_prev->unread_next : &d->unread_first) = s->unread_next;
    *(s->unread_next != NULL ? &s->unread_next->unread_prev : &d->unread_last) = s->unread_prev;
}

bool vcl__socks_unread(struct vcl_driver *d, uint64_t now)
{
    while (d->unread_first != NULL && now - d->unread_first->unread_us > UNREAD_US_MAX)
        drop_unread(d->unread_first);
    return d->unread_first != NULL;
}

/* Whether a send would be taken. When not, WRITABLE will follow: the engine promises it after a short write only, and a
 * buffer may also have been filled to the last byte, so one byte too many is offered. */
static bool can_send(struct vcl_sock *s, uint64_t now)
{
    if (!s->opened)
        return false;
    if (s->write_shut || s->terminal || vcl_conn_writable(s->conn) > 0)
        return true;
    (void)vcl_conn_write(s->conn, now, "", 1);
    return false;
}

/* What the next calls would give, as the mirror must show it. */
static void show(struct vcl_sock *s)
{
    char byte;
    uint64_t now = vcl_clock_us();
    int64_t next = vcl_conn_read(s->conn, now, &byte, 1, true);
    bool ended = next == 0 || s->read_shut;
    struct vcl_readiness r = {
        .readable = next != -VCL_ERR_AGAIN || s->read_shut,
        .writable = can_send(s, now),
        .ended = ended,
        .over = s->terminal || (ended && s->write_shut),
    };
    vcl__mirror_show(&s->mirror, r);
}

void vcl__sock_refresh(struct vcl_sock *s)
{
    if (s->conn == NULL)
        return;
    if (s->unread && vcl_conn_readable(s->conn) == 0)
        drop_unread(s);
    if (s->mirror.app >= 0)
        show(s);
}

static void on_conn_event(struct vcl_driver *d, struct vcl_sock *s, const struct vcl_event *ev)
{
    switch (ev->type) {
    case VCL_EV_CONN_OPENED:
        s->opened = true;
        vcl__wait_wake(&s->tx, &d->wakes, INT_MAX);
        break;
    case VCL_EV_CONN_READABLE:
        add_unread(s, ev->at_us);
        vcl__wait_wake(&s->rx, &d->wakes, INT_MAX);
        break;
    case VCL_EV_CONN_WRITABLE:
        vcl__wait_wake(&s->tx, &d->wakes, INT_MAX);
        break;
    default: /* VCL_EV_CONN_CLOSED */
        s->terminal = true;
        s->error = vcl__errno(ev->error);
        vcl__wait_wake(&s->rx, &d->wakes, INT_MAX);
        vcl__wait_wake(&s->tx, &d->wakes, INT_MAX);
    }
    vcl__ready_add(s);
    vcl__sock_refresh(s);
}

void vcl__sock_on_event(struct vcl_driver *d, const struct vcl_event *ev)
{
    struct vcl_sock *s;
    switch (ev->type) {
    case VCL_EV_CONN_ACCEPTED:
        vcl__accept_on_event(d);
        break;
    case VCL_EV_CONN_OPENED:
    case VCL_EV_CONN_READABLE:
    case VCL_EV_CONN_WRITABLE:
    case VCL_EV_CONN_CLOSED:
        s = vcl_conn_user(ev->conn);
        if (s != NULL) /* else not accepted yet: accept looks at the state */
            on_conn_event(d, s, ev);
        break;
    case VCL_EV_TOKEN_WANTED:
    case VCL_EV_PATH_SUSPECT:
    case VCL_EV_PATH_MOVED:
    case VCL_EV_PATHS_WANTED:
        vcl__notices_add(d, ev);
        break;
    }
}

/* --- life ------------------------------------------------------------------------------------------- */
int vcl__sock_new(struct vcl_driver *d, struct vcl_conn *conn, struct vcl_sock **out)
{
    struct vcl_sock *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->driver = d;
    s->conn = conn;
    s->mirror.app = s->mirror.own = -1;
    s->opened = d->server;
    s->error = vcl__errno(vcl_conn_error(conn)); /* what happened before it was accepted */
    s->terminal = s->error != 0;
    if (vcl_conn_readable(conn) > 0)
        add_unread(s, vcl_clock_us());
    if (s->terminal || vcl_conn_readable(conn) > 0 || vcl_conn_eof(conn))
        vcl__ready_add(s);
    s->next = d->socks;
    if (d->socks != NULL)
        d->socks->prev = s;
    d->socks = s;
    d->nb_socks++;
    vcl__driver_ref(d);
    vcl_conn_set_user(conn, s);
    *out = s;
    return 0;
}

static int begin_conn(struct vcl_session *session, uint64_t now, bool encrypt, struct vcl_conn **out)
{
    int rc = vcl_conn_open(session, now, out);
    if (rc != VCL_OK || !encrypt)
        return -vcl__errno(rc);
    rc = vcl_conn_encrypt(*out);
    if (rc != VCL_OK)
        vcl_conn_release(*out, now);
    return rc != VCL_OK ? -EPROTONOSUPPORT : 0;
}

int vcl_sock_connect(struct vcl_driver *d, struct vcl_session *session, struct vcl_sock **out)
{
    return vcl_sock_connect_as(d, session, false, out);
}

int vcl_sock_connect_as(struct vcl_driver *d, struct vcl_session *session, bool encrypt, struct vcl_sock **out)
{
    struct vcl_conn *conn;
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    uint64_t now = vcl_clock_us();
    rc = d->state == VCL_DRIVER_OPEN ? begin_conn(session, now, encrypt, &conn) : -EBADF;
    if (rc == 0) {
        rc = vcl__sock_new(d, conn, out);
        if (rc == 0)
            (*out)->session = session;
        else
            vcl_conn_release(conn, now);
    }
    if (d->engine != NULL)
        vcl__driver_settle(d, now);
    vcl__driver_leave(d);
    return rc;
}

int vcl_sock_connected(struct vcl_sock *s, uint64_t deadline_us)
{
    struct vcl_driver *d = s->driver;
    int rc = vcl__driver_enter(d), slept = 0;
    if (rc < 0)
        return rc;
    while (s->conn != NULL && !s->opened && !s->terminal && deadline_us != 0 && slept == 0)
        slept = vcl__sleep(d, &s->tx, deadline_us);
    if (s->conn == NULL) {
        rc = -EBADF;
    } else if (s->terminal && !s->opened) {
        rc = s->error != 0 ? -s->error : -ECONNREFUSED;
        s->error = 0;
    } else if (!s->opened) {
        rc = slept < 0 ? slept : -EAGAIN;
    }
    vcl__driver_leave(d);
    return rc;
}

void vcl__sock_release(struct vcl_sock *s, uint64_t now, bool abort)
{
    struct vcl_driver *d = s->driver;
    drop_unread(s);
    vcl__ready_drop(s);
    vcl_conn_set_user(s->conn, NULL);
    if (abort)
        (void)vcl_conn_abort(s->conn, now);
    vcl_conn_release(s->conn, now);
    s->conn = NULL;
    s->session = NULL;
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        d->socks = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    s->next = s->prev = NULL;
    d->nb_socks--;
    vcl__wait_wake(&s->rx, &d->wakes, INT_MAX);
    vcl__wait_wake(&s->tx, &d->wakes, INT_MAX);
}

int vcl_sock_linger(struct vcl_sock *s, uint64_t deadline_us)
{
    struct vcl_driver *d = s->driver;
    int rc = vcl__driver_enter(d), slept = 0;
    if (rc < 0)
        return rc;
    if (s->conn != NULL && !s->terminal) {
        uint64_t now = vcl_clock_us();
        s->write_shut = true;
        (void)vcl_conn_shutdown_write(s->conn, now);
        vcl__driver_settle(d, now);
    }
    while (s->conn != NULL && !s->terminal && vcl_conn_unacked(s->conn) > 0 && slept == 0)
        slept = deadline_us == 0 ? -EAGAIN : vcl__sleep_aside(d, &d->turn_wait, deadline_us);
    vcl__driver_leave(d);
    return slept;
}

void vcl_sock_close(struct vcl_sock *s, bool abort)
{
    struct vcl_driver *d = s->driver;
    if (!vcl_driver_is_ours(d)) {
        vcl__mirror_close(&s->mirror); /* the child's copies; nothing is sent */
        return;
    }
    pthread_mutex_lock(&d->lock);
    if (s->conn != NULL) {
        uint64_t now = vcl_clock_us();
        vcl__sock_release(s, now, abort);
        vcl__driver_settle(d, now);
    }
    struct vcl_mirror mirror = s->mirror;
    vcl__mirrors_add(d, mirror.app >= 0 ? -1 : 0);
    s->mirror.app = s->mirror.own = -1;
    vcl__driver_leave(d);
    vcl__mirror_close(&mirror);
}

void vcl_sock_free(struct vcl_sock *s)
{
    vcl_sock_close(s, false);
    vcl__driver_unref(s->driver);
    free(s);
}

/* --- queries ------------------------------------------------------------------------------------------ */
static int enter_conn(struct vcl_sock *s)
{
    int rc = vcl__driver_enter(s->driver);
    if (rc < 0 || s->conn != NULL)
        return rc;
    vcl__driver_leave(s->driver);
    return -EBADF;
}

int vcl_sock_fd(struct vcl_sock *s)
{
    int rc = enter_conn(s);
    if (rc < 0)
        return rc;
    if (s->mirror.app < 0) {
        rc = vcl__mirror_open(&s->mirror);
        vcl__mirrors_add(s->driver, rc == 0);
        vcl__sock_refresh(s);
    }
    rc = rc < 0 ? rc : s->mirror.app;
    vcl__driver_leave(s->driver);
    return rc;
}

int vcl_sock_take_error(struct vcl_sock *s)
{
    int rc = enter_conn(s);
    if (rc < 0)
        return rc;
    rc = s->error;
    s->error = 0;
    vcl__driver_leave(s->driver);
    return rc;
}

int vcl_sock_info(struct vcl_sock *s, struct vcl_conn_info *out)
{
    int rc = enter_conn(s);
    if (rc < 0)
        return rc;
    vcl_conn_info(s->conn, out);
    vcl__driver_leave(s->driver);
    return 0;
}

int vcl_sock_keepalive(struct vcl_sock *s, uint32_t keepalive_ms)
{
    int rc = enter_conn(s);
    if (rc < 0)
        return rc;
    uint64_t now = vcl_clock_us();
    rc = -vcl__errno(vcl_conn_set_keepalive(s->conn, now, keepalive_ms));
    vcl__driver_settle(s->driver, now);
    vcl__driver_leave(s->driver);
    return rc;
}

size_t vcl_sock_readable(struct vcl_sock *s)
{
    if (enter_conn(s) < 0)
        return 0;
    size_t bytes = vcl_conn_readable(s->conn);
    vcl__driver_leave(s->driver);
    return bytes;
}

struct vcl_session *vcl_sock_session(struct vcl_sock *s)
{
    if (enter_conn(s) < 0)
        return NULL;
    struct vcl_session *session = s->session;
    vcl__driver_leave(s->driver);
    return session;
}
