/* SPDX-License-Identifier: Apache-2.0
 *
 * Server side: connections wait in the engine's backlog; one accepting thread wakes for each. */
#include "driver.h"

#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void show_backlog(struct vcl_driver *d, bool waiting)
{
    uint64_t count = 1;
    ssize_t n;
    if (d->accept_fd < 0)
        return;
    n = waiting ? write(d->accept_fd, &count, sizeof(count)) : read(d->accept_fd, &count, sizeof(count));
    (void)n; /* EAGAIN: it shows that already */
}

static void refuse_backlog(struct vcl_driver *d, uint64_t now)
{
    struct vcl_conn *c;
    while (vcl_conn_accept(d->engine, &c) == VCL_OK) {
        (void)vcl_conn_abort(c, now);
        vcl_conn_release(c, now);
    }
    d->nb_backlog = 0;
    show_backlog(d, false);
}

void vcl__accept_on_event(struct vcl_driver *d)
{
    if (!d->listening) {
        refuse_backlog(d, vcl_clock_us());
        return;
    }
    if (d->nb_backlog++ == 0)
        show_backlog(d, true);
    vcl__wait_wake(&d->accept_wait, &d->wakes, 1);
    vcl__ready_wake(d);
}

void vcl__accept_stop(struct vcl_driver *d, uint64_t now)
{
    if (!d->listening)
        return;
    d->listening = false;
    refuse_backlog(d, now);
    vcl__wait_wake(&d->accept_wait, &d->wakes, INT_MAX);
}

void vcl_driver_stop_listening(struct vcl_driver *d)
{
    if (vcl__driver_enter(d) < 0)
        return;
    uint64_t now = vcl_clock_us();
    vcl__accept_stop(d, now);
    vcl__driver_settle(d, now);
    vcl__driver_leave(d);
}

int vcl_driver_accept_fd(struct vcl_driver *d)
{
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    if (d->accept_fd < 0) {
        d->accept_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        rc = d->accept_fd < 0 ? -errno : 0;
        if (d->nb_backlog > 0)
            show_backlog(d, true);
    }
    rc = rc < 0 ? rc : d->accept_fd;
    vcl__driver_leave(d);
    return rc;
}

static int take_one(struct vcl_driver *d, struct vcl_sock **out)
{
    struct vcl_conn *c;
    if (!d->listening)
        return -EBADF;
    if (vcl_conn_accept(d->engine, &c) != VCL_OK) {
        d->nb_backlog = 0;
        show_backlog(d, false);
        return -EAGAIN;
    }
    if (d->nb_backlog > 0 && --d->nb_backlog == 0)
        show_backlog(d, false);
    int rc = vcl__sock_new(d, c, out);
    if (rc < 0) {
        uint64_t now = vcl_clock_us();
        (void)vcl_conn_abort(c, now);
        vcl_conn_release(c, now);
        vcl__driver_settle(d, now);
    }
    return rc;
}

int vcl_sock_accept(struct vcl_driver *d, struct vcl_sock **out, uint64_t deadline_us)
{
    if (!d->server)
        return -EINVAL;
    int rc = vcl__driver_enter(d), slept = 0;
    if (rc < 0)
        return rc;
    while ((rc = take_one(d, out)) == -EAGAIN && deadline_us != 0 && slept == 0) {
        slept = vcl__sleep(d, &d->accept_wait, deadline_us);
        if (d->state == VCL_DRIVER_CLOSED)
            slept = -EBADF;
    }
    if (rc == -EAGAIN && slept < 0)
        rc = slept;
    vcl__driver_leave(d);
    return rc;
}
