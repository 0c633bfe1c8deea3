/* SPDX-License-Identifier: Apache-2.0
 *
 * Sending and receiving on a handle, as send(2) and recv(2) do for a stream: an error is told once, then the end of the
 * stream (receiving) or EPIPE (sending). */
#include "driver.h"

#include <errno.h>
#include <limits.h>
#include <sys/socket.h>

static int take_error(struct vcl_sock *s, int otherwise)
{
    int error = s->error;
    s->error = 0;
    return error != 0 ? -error : otherwise;
}

/* --- receiving ------------------------------------------------------------------------------------- */
static int64_t read_some(struct vcl_sock *s, uint64_t now, uint8_t *buf, size_t len, bool peek)
{
    if (s->conn == NULL)
        return -EBADF;
    int64_t n = vcl_conn_read(s->conn, now, buf, len, peek);
    if (n >= 0)
        return n;
    if (n != -VCL_ERR_AGAIN || s->terminal)
        return take_error(s, 0);
    if (s->read_shut)
        return 0;
    return s->opened ? -EAGAIN : -ENOTCONN;
}

/* Reads until there is an answer. Returns as vcl_sock_recv; *got counts what WAIT_ALL has collected. */
static int64_t read_wait(struct vcl_sock *s, uint8_t *buf, size_t len, unsigned flags, uint64_t deadline_us)
{
    struct vcl_driver *d = s->driver;
    bool all = (flags & VCL_SOCK_WAIT_ALL) && !(flags & VCL_SOCK_PEEK);
    size_t got = 0;
    int slept = 0;
    for (;;) {
        int64_t n = read_some(s, vcl_clock_us(), buf + got, len - got, flags & VCL_SOCK_PEEK);
        if (n > 0) {
            got += (size_t)n;
            if (!all || got == len)
                return (int64_t)got;
        } else if (n != -EAGAIN) {
            return got > 0 ? (int64_t)got : n;
        } else if (slept < 0 || deadline_us == 0) {
            return got > 0 ? (int64_t)got : slept < 0 ? slept : n;
        } else {
            vcl__sock_refresh(s);
            vcl__driver_settle(d, vcl_clock_us()); /* the window that reading has opened */
            slept = vcl__sleep(d, &s->rx, deadline_us);
        }
    }
}

int64_t vcl_sock_recv(struct vcl_sock *s, void *buf, size_t len, unsigned flags, uint64_t deadline_us)
{
    struct vcl_driver *d = s->driver;
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    int64_t n = len == 0 && s->conn != NULL ? 0 : read_wait(s, buf, len, flags, deadline_us);
    if (s->conn != NULL) {
        vcl__sock_refresh(s);
        if (n > 0 && !(flags & VCL_SOCK_PEEK))
            vcl__driver_settle_burst(d, vcl_clock_us(), 0); /* a window update may wait for the answer */
    }
    vcl__driver_leave(d);
    return n;
}

/* --- sending ---------------------------------------------------------------------------------------- */
struct cursor {
    const struct iovec *iov;
    int left;
    size_t offset; /* in *iov */
};

static int64_t write_some(struct vcl_sock *s, uint64_t now, struct cursor *at)
{
    int64_t taken = 0;
    if (s->conn == NULL)
        return -EBADF;
    if (s->terminal)
        return take_error(s, -EPIPE);
    if (s->write_shut)
        return -EPIPE;
    if (!s->opened)
        return -ENOTCONN;
    while (at->left > 0) {
        size_t len = at->iov->iov_len - at->offset;
        if (len > 0) {
            int64_t n = vcl_conn_write(s->conn, now, (const uint8_t *)at->iov->iov_base + at->offset, len);
            if (n < 0)
                return taken > 0 ? taken : n == -VCL_ERR_AGAIN ? -EAGAIN : take_error(s, -vcl__errno((int)-n));
            taken += n;
            at->offset += (size_t)n;
            if ((size_t)n < len)
                return taken > 0 ? taken : -EAGAIN;
        }
        at->iov++;
        at->left--;
        at->offset = 0;
    }
    return taken;
}

static int64_t write_wait(struct vcl_sock *s, struct cursor *at, unsigned flags, uint64_t deadline_us)
{
    struct vcl_driver *d = s->driver;
    int64_t sent = 0;
    int slept = 0;
    for (;;) {
        uint64_t now = vcl_clock_us();
        int64_t n = write_some(s, now, at);
        if (n >= 0) {
            sent += n;
            if (at->left == 0 || !(flags & VCL_SOCK_WAIT_ALL))
                return sent;
        } else if (n != -EAGAIN) {
            return sent > 0 ? sent : n;
        }
        if (slept < 0 || deadline_us == 0)
            return sent > 0 ? sent : slept < 0 ? slept : -EAGAIN;
        vcl__sock_refresh(s);
        vcl__driver_settle(d, now);
        slept = vcl__sleep(d, &s->tx, deadline_us);
    }
}

int64_t vcl_sock_send(struct vcl_sock *s, const struct iovec *iov, int nb_iov, unsigned flags, uint64_t deadline_us)
{
    struct vcl_driver *d = s->driver;
    struct cursor at = {.iov = iov, .left = nb_iov};
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    int64_t n = write_wait(s, &at, flags, deadline_us);
    if (s->conn != NULL) {
        vcl__sock_refresh(s);
        if (n > 0)
            vcl__driver_settle_burst(d, vcl_clock_us(), n < UINT16_MAX ? (uint32_t)n : UINT16_MAX);
    }
    vcl__driver_leave(d);
    return n;
}

int vcl_sock_shutdown(struct vcl_sock *s, int how)
{
    struct vcl_driver *d = s->driver;
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    uint64_t now = vcl_clock_us();
    if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) {
        rc = -EINVAL;
    } else if (s->conn == NULL) {
        rc = -EBADF;
    } else if (!s->opened || s->terminal) {
        rc = -ENOTCONN;
    } else {
        if (how != SHUT_WR)
            s->read_shut = true;
        if (how != SHUT_RD && !s->write_shut) {
            s->write_shut = true;
            (void)vcl_conn_shutdown_write(s->conn, now);
        }
        vcl__wait_wake(&s->rx, &d->wakes, INT_MAX);
        vcl__wait_wake(&s->tx, &d->wakes, INT_MAX);
        vcl__sock_refresh(s);
        vcl__driver_settle(d, now);
    }
    vcl__driver_leave(d);
    return rc;
}
