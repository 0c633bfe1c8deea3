/* SPDX-License-Identifier: Apache-2.0
 *
 * Many connections in one thread: the driver keeps a list of those that something happened to, so that a program with
 * thousands of them needs no descriptor for each and no system call for each message. */
#include "driver.h"

#include <errno.h>
#include <limits.h>

void vcl__ready_add(struct vcl_sock *s)
{
    struct vcl_driver *d = s->driver;
    if (!d->ready_wanted || s->ready)
        return;
    s->ready = true;
    s->ready_next = NULL;
    s->ready_prev = d->ready_last;
    *(d->ready_last != NULL ? &d->ready_last->ready_next : &d->ready_first) = s;
    d->ready_last = s;
    vcl__ready_wake(d);
}

void vcl__ready_drop(struct vcl_sock *s)
{
    struct vcl_driver *d = s->driver;
    if (!s->ready)
        return;
    s->ready = false;
    *(s->ready_prev != NULL ? &s->ready_prev->ready_next : &d->ready_first) = s->ready_next;
    *(s->ready_next != NULL ? &s->ready_next->ready_prev : &d->ready_last) = s->ready_prev;
}

void vcl__ready_wake(struct vcl_driver *d)
{
    if (d->ready_wanted)
        vcl__wait_wake(&d->ready_wait, &d->wakes, INT_MAX);
}

/* From now on there is a list; what happened to the open connections before counts as news. */
static void begin(struct vcl_driver *d)
{
    d->ready_wanted = true;
    for (struct vcl_sock *s = d->socks; s != NULL; s = s->next)
        vcl__ready_add(s);
}

static int take(struct vcl_driver *d, struct vcl_sock **out, int max)
{
    int n = 0;
    while (n < max && d->ready_first != NULL) {
        out[n] = d->ready_first;
        vcl__ready_drop(out[n++]);
    }
    return n;
}

int vcl_driver_ready(struct vcl_driver *d, struct vcl_sock **out, int max, uint64_t deadline_us)
{
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    if (!d->ready_wanted)
        begin(d);
    rc = take(d, out, max);
    if (rc == 0 && d->nb_backlog == 0 && deadline_us != 0) {
        int slept = vcl__sleep(d, &d->ready_wait, deadline_us);
        rc = take(d, out, max);
        if (rc == 0 && slept < 0)
            rc = slept;
        if (rc == 0 && d->state == VCL_DRIVER_CLOSED)
            rc = -EBADF;
    } else if (rc == 0 && deadline_us == 0) {
        rc = -EAGAIN;
    }
    vcl__driver_leave(d);
    return rc;
}

void vcl_sock_set_user(struct vcl_sock *s, void *user)
{
    s->user = user;
}

void *vcl_sock_user(const struct vcl_sock *s)
{
    return s->user;
}
