/* SPDX-License-Identifier: Apache-2.0
 *
 * A driver's life, its lock, and the three things every operation on the engine ends with: events are told, datagrams
 * leave, the timer is set. An application thread does all three itself, so a send costs no thread switch. */
#include "driver.h"

#include <errno.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    /* A Python server answers a request in 15 us: 200 us make a batch of a dozen answers, 50 us one of three. */
    HOLD_US_MAX = 200,
    HOLD_BYTES_MAX = 65536, /* more than this is worth a system call of its own */
    /* With the kernel's send buffer full, an engine that wants to send at once must not make the thread spin. */
    BLOCKED_RETRY_US = 1000,
};

int vcl__errno(int engine_error)
{
    switch (engine_error) {
#define VCL_X(name, value, err, text)                                                                                  \
    case name:                                                                                                         \
        return err;
        VCL_ERRORS(VCL_X)
#undef VCL_X
    }
    return EPROTO;
}

static void *engine_alloc(void *ctx, size_t size)
{
    return calloc(1, size);
}

static void engine_free(void *ctx, void *p)
{
    free(p);
}

static void engine_random(void *ctx, void *buf, size_t len)
{
    randombytes_buf(buf, len);
}

void vcl_driver_config_defaults(struct vcl_driver_config *c)
{
    memset(c, 0, sizeof(*c));
    vcl_config_defaults(&c->engine);
    c->udp_fd = -1;
    c->hold_us_max = HOLD_US_MAX;
    c->gso = c->gro = true;
}

/* --- life ------------------------------------------------------------------------------------- */
static int open_fds(struct vcl_driver *d)
{
    d->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    d->lead_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (d->epoll_fd < 0 || d->wake_fd < 0 || d->timer_fd < 0 || d->lead_fd < 0)
        return -errno;
    /* Edge-triggered: each write and each expiry is one edge, so neither has to be read. */
    struct epoll_event once = {.events = EPOLLIN | EPOLLET}, udp = {.events = EPOLLIN};
    once.data.fd = d->wake_fd;
    if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, d->wake_fd, &once) < 0)
        return -errno;
    once.data.fd = d->timer_fd;
    if (epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, d->timer_fd, &once) < 0)
        return -errno;
    udp.data.fd = d->udp.fd;
    return epoll_ctl(d->epoll_fd, EPOLL_CTL_ADD, d->udp.fd, &udp) < 0 ? -errno : 0;
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

static void destroy(struct vcl_driver *d)
{
    if (d->engine != NULL)
        vcl_engine_free(d->engine);
    close_fd(d->epoll_fd);
    close_fd(d->wake_fd);
    close_fd(d->timer_fd);
    close_fd(d->lead_fd);
    close_fd(d->accept_fd);
    close_fd(d->udp.fd);
    pthread_mutex_destroy(&d->lock);
    free(d->lead_rx);
    free(d);
}

static int open_engine(struct vcl_driver *d, const struct vcl_config *wanted)
{
    struct vcl_config c = *wanted;
    c.ctx = d;
    c.alloc = engine_alloc;
    c.free = engine_free;
    c.random = engine_random;
    c.unix_offset_us = vcl__clock_unix_offset_us();
    return -vcl__errno(vcl_engine_new(&d->engine, &c));
}

int vcl_driver_open(struct vcl_driver **out, const struct vcl_driver_config *config)
{
    if (sodium_init() < 0) {
        close_fd(config->udp_fd);
        return -ENOSYS;
    }
    struct vcl_driver *d = calloc(1, sizeof(*d)); /* 1.3 MB, of which what is never used is never touched */
    if (d == NULL) {
        close_fd(config->udp_fd);
        return -ENOMEM;
    }
    pthread_mutex_init(&d->lock, NULL);
    d->epoll_fd = d->wake_fd = d->timer_fd = d->lead_fd = d->accept_fd = -1;
    d->thread_receives = true;
    d->udp.fd = config->udp_fd;
    d->refs = 1;
    d->server = d->listening = config->engine.server_id != 0;
    d->hold_us_max = config->hold_us_max;
    d->armed_us = d->hold_until_us = VCL_NEVER;
    vcl__udp_rx_init(&d->rx);
    int rc = vcl__udp_adopt(&d->udp, config->udp_fd, config->gso, config->gro, &d->stats);
    if (rc == 0)
        rc = open_fds(d);
    if (rc == 0)
        rc = open_engine(d, &config->engine);
    if (rc == 0) {
        vcl__fork_register(d);
        rc = vcl__loop_start(d);
        if (rc < 0)
            vcl__fork_unregister(d);
    }
    if (rc < 0) {
        destroy(d);
        return rc;
    }
    *out = d;
    return 0;
}

void vcl__driver_ref(struct vcl_driver *d)
{
    atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
}

void vcl__driver_unref(struct vcl_driver *d)
{
    if (atomic_fetch_sub_explicit(&d->refs, 1, memory_order_acq_rel) == 1)
        destroy(d);
}

void vcl_driver_close(struct vcl_driver *d, uint64_t linger_us)
{
    if (vcl__driver_enter(d) < 0)
        return;
    uint64_t now = vcl_clock_us();
    if (d->state == VCL_DRIVER_OPEN) {
        d->state = VCL_DRIVER_CLOSING;
        d->close_deadline_us = now + linger_us;
        while (d->socks != NULL)
            vcl__sock_release(d->socks, now, false);
        vcl__accept_stop(d, now);
        vcl__wait_wake(&d->notices.wait, &d->wakes, INT_MAX);
        vcl__driver_settle(d, now);
        vcl__driver_kick(d);
    }
    vcl__driver_leave(d);
}

int vcl_driver_join(struct vcl_driver *d, uint64_t deadline_us)
{
    int rc = 0;
    if (!vcl_driver_is_ours(d))
        return -EBADF;
    pthread_mutex_lock(&d->lock);
    while (d->state != VCL_DRIVER_CLOSED && rc == 0)
        rc = deadline_us == 0 ? -EAGAIN : vcl__sleep_aside(d, &d->closed_wait, deadline_us);
    rc = d->state == VCL_DRIVER_CLOSED ? 0 : rc;
    vcl__driver_leave(d);
    return rc;
}

void vcl_driver_free(struct vcl_driver *d)
{
    vcl_driver_close(d, 0);
    vcl__driver_unref(d);
}

/* --- the lock ----------------------------------------------------------------------------------- */
int vcl__driver_enter(struct vcl_driver *d)
{
    if (!vcl_driver_is_ours(d))
        return -EBADF;
    pthread_mutex_lock(&d->lock);
    if (d->state != VCL_DRIVER_CLOSED)
        return 0;
    pthread_mutex_unlock(&d->lock);
    return -EBADF;
}

void vcl__driver_leave(struct vcl_driver *d)
{
    struct vcl_wakes wakes;
    wakes.nb = d->wakes.nb;
    if (wakes.nb == 0) {
        pthread_mutex_unlock(&d->lock);
        return;
    }
    memcpy(wakes.list, d->wakes.list, wakes.nb * sizeof(wakes.list[0]));
    d->stats.wakes += wakes.nb;
    d->wakes.nb = 0;
    pthread_mutex_unlock(&d->lock);
    vcl__wakes_deliver(&wakes);
}

void vcl__driver_deliver_wakes(struct vcl_driver *d)
{
    vcl__wakes_deliver(&d->wakes);
    d->stats.wakes += d->wakes.nb;
    d->wakes.nb = 0;
}

void vcl__driver_kick(struct vcl_driver *d)
{
    uint64_t one = 1;
    ssize_t n = write(d->wake_fd, &one, sizeof(one)); /* fails only when 2^64 - 2 wake-ups are unread */
    (void)n;
}

/* --- what operations end with ---------------------------------------------------------------------- */
static void tell_events(struct vcl_driver *d)
{
    struct vcl_event ev;
    while (vcl_engine_next_event(d->engine, &ev))
        vcl__sock_on_event(d, &ev);
}

static void flush(struct vcl_driver *d, uint64_t now)
{
    d->hold_until_us = VCL_NEVER;
    d->held_bytes = 0;
    while (!d->tx_blocked) {
        while (d->tx.nb < VCL_UDP_TX_SLOTS && vcl_engine_send(d->engine, now, &d->tx.slots[d->tx.nb]))
            d->tx.nb++;
        if (d->tx.nb == 0)
            return;
        bool more = d->tx.nb == VCL_UDP_TX_SLOTS;
        if (vcl__udp_send(&d->udp, &d->tx) < 0) {
            d->tx_blocked = true;
            vcl__watch_udp(d);
        } else if (!more) {
            return;
        }
    }
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Only ever sets the timer earlier: a timer that fires for nothing costs less than one system call for each send. */
static void arm(struct vcl_driver *d, uint64_t now)
{
    uint64_t next = earlier(vcl_engine_next_timer(d->engine), d->hold_until_us);
    if (d->tx_blocked && next < now + BLOCKED_RETRY_US)
        next = now + BLOCKED_RETRY_US;
    if (d->state == VCL_DRIVER_CLOSING)
        next = earlier(next, d->close_deadline_us);
    next = earlier(next, vcl__takeover_us(d));
    if (next >= d->armed_us)
        return;
    struct itimerspec when = {.it_value = vcl__clock_timespec(next > 0 ? next : 1)};
    if (timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
        d->armed_us = next;
}

void vcl__driver_settle(struct vcl_driver *d, uint64_t now)
{
    tell_events(d);
    flush(d, now);
    arm(d, now);
}

/* The application ends a hold itself, at its first call after three quarters of the time; the timer is for an
 * application that makes no call. */
static bool may_hold(struct vcl_driver *d, uint64_t now, uint32_t bytes)
{
    bool begun = d->hold_until_us != VCL_NEVER;
    return d->hold_us_max > 0 && d->held_bytes + bytes < HOLD_BYTES_MAX && vcl__socks_unread(d, now) &&
           (!begun || now + d->hold_us_max / 4 < d->hold_until_us);
}

void vcl__driver_settle_burst(struct vcl_driver *d, uint64_t now, uint32_t bytes)
{
    tell_events(d);
    if (may_hold(d, now, bytes)) {
        d->held_bytes += bytes;
        d->stats.flushes_held++;
        if (d->hold_until_us == VCL_NEVER)
            d->hold_until_us = now + d->hold_us_max;
    } else {
        flush(d, now);
    }
    arm(d, now);
}

void vcl__driver_settle_thread(struct vcl_driver *d, uint64_t now)
{
    tell_events(d);
    if (d->hold_until_us == VCL_NEVER || now >= d->hold_until_us)
        flush(d, now);
    arm(d, now);
}

void vcl__driver_flush_held(struct vcl_driver *d)
{
    if (d->engine != NULL && d->hold_until_us != VCL_NEVER)
        vcl__driver_settle(d, vcl_clock_us());
}

void vcl_driver_stats(struct vcl_driver *d, struct vcl_stats *engine, struct vcl_io_stats *io)
{
    memset(engine, 0, sizeof(*engine));
    memset(io, 0, sizeof(*io));
    if (!vcl_driver_is_ours(d))
        return;
    pthread_mutex_lock(&d->lock);
    if (d->engine != NULL)
        vcl_engine_stats(d->engine, engine);
    else
        *engine = d->final_stats;
    *io = d->stats;
    pthread_mutex_unlock(&d->lock);
}

uint32_t vcl_driver_socks(struct vcl_driver *d)
{
    if (vcl__driver_enter(d) < 0)
        return 0;
    uint32_t nb = d->nb_socks;
    vcl__driver_leave(d);
    return nb;
}

int vcl_driver_set_keys(struct vcl_driver *d, const struct vcl_server_key *keys, uint8_t nb_keys)
{
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc;
    rc = -vcl__errno(vcl_engine_set_keys(d->engine, keys, nb_keys));
    vcl__driver_leave(d);
    return rc;
}
