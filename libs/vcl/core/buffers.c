/* SPDX-License-Identifier: Apache-2.0
 *
 * How much a connection may hold: the receive windows that the engine gives out (C10), buffers that grow with the rate
 * of a large transfer, and storage that goes when it pauses.
 */
#include "state.h"

enum {
    GIVEN_BYTES_MIN = 16384, /* a window that every connection gets, whatever the budget: a dozen frames */
    GIVEN_SHARE = 16,        /* of what is left, at most so great a part for one */
    GROW_INTERVAL_US = 1000, /* shorter round trips are the timers' and schedulers' noise */
    GROW_UNKNOWN_US = 10000, /* a receiver that never measured its round trip */
    KEEP_US = 100000,        /* large storage of a transfer that pauses */
};

/* C10. */
void vcl__rcv_give(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    uint64_t left = e->cfg.rcv_budget_bytes > e->rcv_given ? e->cfg.rcv_budget_bytes - e->rcv_given : 0;
    uint64_t bytes = left / GIVEN_SHARE > GIVEN_BYTES_MIN ? left / GIVEN_SHARE : GIVEN_BYTES_MIN;
    if (bytes > e->cfg.rcvbuf_bytes)
        bytes = e->cfg.rcvbuf_bytes;
    e->rcv_given += bytes;
    vcl__recvbuf_init(&c->rcv, (uint32_t)bytes);
}

void vcl__rcv_take_back(struct vcl_conn *c)
{
    vcl__recvbuf_free(&c->rcv, &c->e->mem);
    c->e->rcv_given -= c->rcv.bytes_max;
    c->rcv.bytes_max = 0;
}

static uint64_t grow_interval(const struct vcl_conn *c)
{
    const struct rtt *r = &c->s->rtt;
    if (!r->sampled)
        return GROW_UNKNOWN_US;
    return r->srtt_us > GROW_INTERVAL_US ? r->srtt_us : GROW_INTERVAL_US;
}

static bool idle_storage(const struct ring *r, bool empty)
{
    return empty && r->cap > RING_BYTES_LARGE;
}

static bool snd_idle(const struct vcl_conn *c)
{
    return idle_storage(&c->snd.ring, c->snd.end == c->snd.una);
}

static bool rcv_idle(const struct vcl_conn *c)
{
    return idle_storage(&c->rcv.ring, vcl__recvbuf_readable(&c->rcv) == 0 && c->rcv.ranges.count == 0);
}

/* The application reads half of the window in a round trip: twice the window lets the sender go on while it reads
 * (dynamic right-sizing: W. Feng et al., 2001). A window that was given is kept (W8), so what it was given for is too.
 */
void vcl__rcv_grow(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    uint32_t bytes = c->rcv.bytes_max, elapsed = (uint32_t)e->now - c->grow_since_us;
    uint64_t interval = grow_interval(c);
    if (rcv_idle(c))
        vcl__conn_arm(c);
    if (elapsed < interval)
        return;
    uint64_t read = (uint32_t)c->rcv.read - c->grow_from;
    c->grow_since_us = (uint32_t)e->now;
    c->grow_from = (uint32_t)c->rcv.read;
    if (read * interval / elapsed < bytes / 2 || bytes >= e->cfg.rcvbuf_bytes_max ||
        e->rcv_given + bytes > e->cfg.rcv_budget_bytes)
        return;
    uint32_t grown = bytes > e->cfg.rcvbuf_bytes_max / 2 ? e->cfg.rcvbuf_bytes_max : bytes * 2;
    e->rcv_given += grown - bytes;
    c->rcv.bytes_max = grown;
}

/* The application had to wait although the path and the peer would take more than half of the buffer at once. */
void vcl__snd_grow(struct vcl_conn *c)
{
    uint32_t bytes = c->snd.bytes_max, max = c->e->cfg.sndbuf_bytes_max;
    if (bytes < max && c->cc.window >= bytes / 2 && c->snd_edge - c->snd.una >= bytes / 2)
        c->snd.bytes_max = bytes > max / 2 ? max : bytes * 2;
}

/* --- pauses -------------------------------------------------------------------------------------- */
uint64_t vcl__buffers_deadline(const struct vcl_conn *c)
{
    if (!snd_idle(c) && !rcv_idle(c))
        return VCL_NEVER;
    return (c->last_data_tx > c->last_data_rx ? c->last_data_tx : c->last_data_rx) + KEEP_US;
}

void vcl__buffers_trim(struct vcl_conn *c)
{
    if (snd_idle(c))
        vcl__ring_free(&c->snd.ring, &c->e->mem);
    if (rcv_idle(c))
        vcl__ring_free(&c->rcv.ring, &c->e->mem);
}
