/* SPDX-License-Identifier: Apache-2.0
 *
 * The poll loop: receive and relay, flush what is due, send, now and then look after the rest, sleep when idle.
 * No allocation, no log line, no lock; the only system calls are the port's own and, when idle, the nap.
 */
#include "lcore.h"

#include <time.h>

#include "control.h"
#include "doorbell.h"
#include "idle.h"
#include "input.h"
#include "output.h"

#define TICK_US 10000 /* ageing, ARP retries, and the control socket of a worker that never naps */

uint64_t lcore_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void tick(struct worker *w)
{
    w->tick_us = w->now_us + TICK_US;
    relay_age(w->relay, w->now_us);
    neighbours_tick(&w->neighbours, w->now_us);
    output_flush(w);
    control_poll(w->control, 0, DOORBELL_NONE);
}

static void rest(struct worker *w, uint64_t due_us)
{
    uint64_t wait_us = due_us == UINT64_MAX ? UINT64_MAX : due_us > w->now_us ? due_us - w->now_us : 0;
    uint64_t nap_us =
        idle_nap_us((enum config_idle)w->config->idle, w->doorbell != DOORBELL_NONE, w->now_us - w->worked_us, wait_us);

    if (nap_us == 0)
        return;
    w->stats.naps++;
    control_poll(w->control, nap_us, w->doorbell);
}

static void poll_once(struct worker *w)
{
    uint64_t began_us = w->now_us = lcore_clock_us();
    uint16_t nb_rx = input_poll(w);
    uint64_t due_us = relay_flush_due(w->relay, w->now_us);
    bool worked = nb_rx > 0 || w->nb_tx > 0;

    output_flush(w);
    w->stats.polls++;
    w->now_us = lcore_clock_us();
    load_add(&w->load, began_us, w->now_us, worked);
    if (w->now_us >= w->tick_us)
        tick(w);
    if (worked)
        w->worked_us = w->now_us;
    else
        rest(w, due_us);
}

void lcore_run(struct worker *w, const volatile sig_atomic_t *stop)
{
    w->started_us = w->worked_us = w->load.window_us = w->now_us = lcore_clock_us();
    while (!*stop && !w->quit)
        poll_once(w);
    relay_flush_due(w->relay, w->now_us + w->config->hold_us_max);
    output_flush(w);
    neighbours_clear(&w->neighbours);
}
