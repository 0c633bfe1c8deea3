/* SPDX-License-Identifier: Apache-2.0
 *
 * Sleeping in a call. A thread that is alone in this (nobody else sleeps, no poller looks at a descriptor of ours) does
 * not wait for the driver's thread to receive and wake it: it polls the UDP socket itself and *leads*. A request and
 * its answer then cost one thread switch less at each end.
 *
 *   thread receives ──sleep, alone──▶ an application thread leads ──its wait ends──▶ nobody: the next sleeper leads
 *         ▲                                     │ others sleep or poll                  │ TAKEOVER_US
 *         └─────────────────────────────────────┴───────────────────────────────────────┘
 *
 * Timers stay with the driver's thread. Pollers of accept_fd do not count: they may learn of a connection
 * TAKEOVER_US late. */
#include "driver.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* An application that comes back within this time leads again without a system call; one that computes for longer must
 * not keep acknowledgements waiting (a twentieth of the shortest probe time, docs/protocol.md C4). */
static const uint64_t TAKEOVER_US = 250;

void vcl__watch_udp(struct vcl_driver *d)
{
    struct epoll_event ev = {.events = (d->thread_receives ? EPOLLIN : 0u) | (d->tx_blocked ? EPOLLOUT : 0u),
                             .data.fd = d->udp.fd};
    (void)epoll_ctl(d->epoll_fd, EPOLL_CTL_MOD, d->udp.fd, &ev); /* fails only for a descriptor that is not there */
}

void vcl__takeover(struct vcl_driver *d)
{
    if (d->thread_receives || d->leading != NULL || d->engine == NULL)
        return;
    d->thread_receives = true;
    vcl__watch_udp(d);
}

uint64_t vcl__takeover_us(const struct vcl_driver *d)
{
    return d->thread_receives || d->leading != NULL ? VCL_NEVER : d->lead_until_us;
}

void vcl__mirrors_add(struct vcl_driver *d, int n)
{
    d->nb_mirrors += (uint32_t)n;
    if (n > 0)
        vcl__takeover(d);
}

int vcl__sleep_aside(struct vcl_driver *d, struct vcl_wait *w, uint64_t deadline_us)
{
    vcl__driver_flush_held(d);
    vcl__driver_deliver_wakes(d);
    return vcl__wait_sleep(w, &d->lock, deadline_us);
}

static int follow(struct vcl_driver *d, struct vcl_wait *w, uint64_t deadline_us)
{
    d->nb_followers++;
    int rc = vcl__sleep_aside(d, w, deadline_us);
    d->nb_followers--;
    return rc;
}

/* Without the lock: waits for a datagram, a wake-up (1), the deadline (0) or a signal (-EINTR). */
static int poll_once(const struct pollfd fds[2], uint64_t deadline_us)
{
    struct pollfd polled[2] = {fds[0], fds[1]};
    struct timespec left, *timeout = NULL;
    if (deadline_us != VCL_NEVER) {
        uint64_t now = vcl_clock_us();
        left = vcl__clock_timespec(deadline_us > now ? deadline_us - now : 0);
        timeout = &left;
    }
    int n = ppoll(polled, 2, timeout, NULL);
    return n < 0 ? -errno : n > 0;
}

static void stop_leading(struct vcl_driver *d, struct vcl_wait *w, uint64_t now)
{
    uint64_t count;
    ssize_t n = read(d->lead_fd, &count, sizeof(count)); /* EAGAIN: nobody woke us */
    (void)n;
    w->polled_fd = 0;
    d->leading = NULL;
    if (d->state != VCL_DRIVER_OPEN)
        vcl__driver_kick(d); /* the thread waits for this with the end */
    d->lead_until_us = now + TAKEOVER_US;
    if (d->nb_followers > 0 || d->nb_mirrors > 0)
        vcl__takeover(d);
}

static int lead(struct vcl_driver *d, struct vcl_wait *w, uint64_t deadline_us)
{
    const struct pollfd fds[2] = {{.fd = d->udp.fd, .events = POLLIN}, {.fd = d->lead_fd, .events = POLLIN}};
    struct vcl_udp_rx *rx = d->lead_rx;
    struct vcl_udp udp = d->udp; /* the descriptor stays open while somebody leads */
    d->leading = w;
    w->polled_fd = d->lead_fd;
    if (d->thread_receives) {
        d->thread_receives = false;
        vcl__watch_udp(d);
    }
    vcl__driver_deliver_wakes(d);
    pthread_mutex_unlock(&d->lock);
    int rc = poll_once(fds, deadline_us);
    int received = rc > 0 ? vcl__udp_receive(&udp, rx) : 0;
    pthread_mutex_lock(&d->lock);
    uint64_t now = vcl_clock_us();
    stop_leading(d, w, now);
    if (received > 0) {
        vcl__feed(d, rx, now, received);
        if (d->turn_wait.nb_sleepers > 0)
            vcl__wait_wake(&d->turn_wait, &d->wakes, INT_MAX);
    }
    vcl__driver_settle(d, now);
    return rc > 0 ? 0 : rc == 0 ? -ETIME : rc;
}

static bool may_lead(struct vcl_driver *d)
{
    if (d->state != VCL_DRIVER_OPEN || d->leading != NULL || d->nb_followers > 0 || d->nb_mirrors > 0 || d->tx_blocked)
        return false;
    if (d->lead_rx == NULL) {
        d->lead_rx = malloc(sizeof(*d->lead_rx)); /* 1 MB, of which only what is received into is touched */
        if (d->lead_rx != NULL)
            vcl__udp_rx_init(d->lead_rx);
    }
    return d->lead_rx != NULL;
}

int vcl__sleep(struct vcl_driver *d, struct vcl_wait *w, uint64_t deadline_us)
{
    vcl__driver_flush_held(d);
    return may_lead(d) ? lead(d, w, deadline_us) : follow(d, w, deadline_us);
}
