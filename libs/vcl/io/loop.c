/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread of a driver: the only receiver of datagrams and the only one who runs the engine's timers. It sleeps in
 * epoll_wait without a timeout; the UDP socket, an eventfd (look around) and a timerfd wake it. All signals are blocked
 * in it: they belong to the application's threads. */
#include "driver.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    /* Timers run only when the receive queue is empty (an acknowledgement that waits there must not become a verdict),
     * but at the latest after so many full bursts. */
    BURSTS_MAX = 64,
    NICE = -10,
};

/* A timer this late says that the host did not run us: the peer may have answered long ago. */
static const uint64_t LATE_US = 2000;

void vcl__feed(struct vcl_driver *d, struct vcl_udp_rx *rx, uint64_t now, int nb_messages)
{
    struct pmw_addr from;
    const uint8_t *bytes;
    size_t len;
    d->stats.rx_calls++;
    if (nb_messages <= 0)
        return;
    d->stats.rx_messages += (unsigned)nb_messages;
    while (vcl__udp_rx_next(rx, &from, &bytes, &len)) {
        d->stats.rx_datagrams++;
        if (rx->marked) /* drops are counted in the engine */
            (void)vcl_engine_receive_marked(d->engine, now, &from, bytes, len);
        else
            (void)vcl_engine_receive(d->engine, now, &from, bytes, len);
    }
    if (rx->kernel_drops > d->stats.rx_kernel_drops)
        d->stats.rx_kernel_drops = rx->kernel_drops;
}

static void run_timers(struct vcl_driver *d, uint64_t now)
{
    if (now >= d->armed_us)
        d->armed_us = VCL_NEVER; /* it has fired */
    uint64_t due = vcl_engine_next_timer(d->engine);
    if (due > now)
        return;
    uint64_t lag = now - due;
    d->stats.timers++;
    d->stats.late_timers += lag >= LATE_US;
    if (lag > d->stats.lag_us_max)
        d->stats.lag_us_max = lag;
    vcl_engine_on_timer(d->engine, now, lag >= LATE_US ? lag : 0);
}

static void unblock(struct vcl_driver *d)
{
    if (!d->tx_blocked || vcl__udp_send(&d->udp, &d->tx) < 0)
        return;
    d->tx_blocked = false;
    vcl__watch_udp(d);
}

/* The end: what is still open is reset, the socket goes, the sleepers learn it. */
static void finish(struct vcl_driver *d, uint64_t now)
{
    vcl_engine_shutdown(d->engine, now);
    vcl__driver_settle(d, now);
    vcl_engine_stats(d->engine, &d->final_stats);
    vcl_engine_free(d->engine);
    d->engine = NULL;
    close(d->udp.fd);
    d->udp.fd = -1;
    d->state = VCL_DRIVER_CLOSED;
    vcl__wait_wake(&d->closed_wait, &d->wakes, INT_MAX);
    vcl__wait_wake(&d->accept_wait, &d->wakes, INT_MAX);
    vcl__wait_wake(&d->notices.wait, &d->wakes, INT_MAX);
    vcl__ready_wake(d);
}

/* One turn under the lock. False: the driver has closed. */
static bool turn(struct vcl_driver *d, int received, bool drained)
{
    pthread_mutex_lock(&d->lock);
    uint64_t now = vcl_clock_us();
    vcl__feed(d, &d->rx, now, received);
    unblock(d);
    if (now >= vcl__takeover_us(d))
        vcl__takeover(d);
    if (drained)
        run_timers(d, now);
    vcl__driver_settle_thread(d, now);
    if (d->turn_wait.nb_sleepers > 0)
        vcl__wait_wake(&d->turn_wait, &d->wakes, INT_MAX);
    if (d->state == VCL_DRIVER_CLOSING && d->leading == NULL &&
        (now >= d->close_deadline_us || (vcl_engine_lingering(d->engine) == 0 && !d->tx_blocked)))
        finish(d, now);
    bool open = d->state != VCL_DRIVER_CLOSED;
    vcl__driver_leave(d);
    return open;
}

/* Acknowledgements and the verdict on a path must not wait until the application has computed its time slice. Linux
 * knows the priority of a single thread; where raising it is not permitted, all stays as it is. */
static void raise_priority(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
}

static void *run(void *arg)
{
    struct vcl_driver *d = arg;
    bool open = true;
    raise_priority();
    while (open) {
        struct epoll_event events[4];
        if (epoll_wait(d->epoll_fd, events, 4, -1) < 0 && errno != EINTR)
            break; /* the descriptor is gone: nothing more can be driven */
        int received = VCL_UDP_RX_MESSAGES;
        for (int bursts = 1; open && received == VCL_UDP_RX_MESSAGES; bursts++) {
            received = vcl__udp_receive(&d->udp, &d->rx);
            open = turn(d, received, received < VCL_UDP_RX_MESSAGES || bursts % BURSTS_MAX == 0);
        }
    }
    vcl__fork_unregister(d);
    vcl__driver_unref(d);
    return NULL;
}

int vcl__loop_start(struct vcl_driver *d)
{
    sigset_t all, before;
    pthread_t thread;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    vcl__driver_ref(d);
    int error = pthread_create(&thread, &attr, run, d);
    if (error != 0)
        vcl__driver_unref(d);
    else
        pthread_setname_np(thread, "vcl-io");
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return -error;
}
