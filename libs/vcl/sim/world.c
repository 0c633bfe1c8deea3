/* SPDX-License-Identifier: Apache-2.0
 * Virtual time and hosts: see world.h. */
#include "world.h"

#include <assert.h>

/* More steps than this without time passing is a livelock: no host has that much to do at one instant. */
enum { STEPS_AT_ONE_TIME_MAX = 20000 };

struct host *world_host_add(struct world *w, unsigned number, const struct host_ops *ops, void *self)
{
    assert(number < HOSTS_MAX && !w->hosts[number].self);
    struct host *h = &w->hosts[number];
    *h = (struct host){
        .ops = ops, .self = self, .number = (uint8_t)number, .input_at_us = NEVER, .receive_queue_max = 1024};
    h->wake_at_us = w->now_us;
    return h;
}

static uint64_t host_next_at(const struct host *h)
{
    if (!h->self || h->down)
        return NEVER;
    uint64_t at = h->wake_at_us < h->input_at_us ? h->wake_at_us : h->input_at_us;
    return at < h->paused_until_us ? h->paused_until_us : at;
}

static struct host *next_host(const struct world *w, uint64_t *at)
{
    const struct host *next = NULL;
    *at = NEVER;
    for (int i = 0; i < HOSTS_MAX; i++) {
        uint64_t host_at = host_next_at(&w->hosts[i]);
        if (host_at < *at) {
            *at = host_at;
            next = &w->hosts[i];
        }
    }
    return (struct host *)next;
}

uint64_t world_next_at(const struct world *w)
{
    uint64_t host_at, net_at = net_next_at(&w->net);
    next_host(w, &host_at);
    return host_at < net_at ? host_at : net_at;
}

static void enqueue(struct world *w, struct datagram *d)
{
    struct host *h = &w->hosts[d->to_host];
    if (!h->self || h->down || h->nb_queued == h->receive_queue_max) {
        w->receive_queue_drops++;
        trace_drop(&w->trace, w->now_us, d->from_host, d->to_host, h->nb_queued ? "receive queue full" : "host down");
        net_release(&w->net, d);
        return;
    }
    d->next = NULL;
    if (h->last)
        h->last->next = d;
    else
        h->first = d;
    h->last = d;
    if (h->nb_queued++ == 0)
        h->input_at_us = w->now_us + (h->poll_us_max ? rng_between(&w->rng, 0, h->poll_us_max) : 0);
}

static struct datagram *dequeue(struct host *h)
{
    struct datagram *d = h->first;
    if (!d)
        return NULL;
    h->first = d->next;
    if (!h->first)
        h->last = NULL;
    h->nb_queued--;
    return d;
}

static void run_host(struct world *w, struct host *h)
{
    /* Only a pause makes a host late: then its deadlines passed without its fault being anyone's. */
    bool was_paused = h->paused_until_us != 0 && h->paused_until_us <= w->now_us;
    uint64_t lag_us = was_paused && h->wake_at_us < w->now_us ? w->now_us - h->wake_at_us : 0;
    if (was_paused)
        h->paused_until_us = 0;
    struct datagram *d;
    while ((d = dequeue(h))) {
        h->ops->receive(h, w->now_us, d);
        net_release(&w->net, d);
    }
    h->input_at_us = NEVER;
    h->wake_at_us = h->ops->run(h, w->now_us, lag_us);
}

static void count_step(struct world *w, uint64_t at)
{
    w->steps++;
    w->steps_at_now = at == w->now_us ? w->steps_at_now + 1 : 0;
    w->now_us = at;
    if (w->steps_at_now > STEPS_AT_ONE_TIME_MAX)
        verdict_fail(&w->verdict, at, RULE_CONTRACT, "livelock: %d steps and no time passes", STEPS_AT_ONE_TIME_MAX);
}

bool world_step(struct world *w, uint64_t limit_us)
{
    uint64_t host_at, net_at = net_next_at(&w->net);
    struct host *h = next_host(w, &host_at);
    uint64_t at = net_at < host_at ? net_at : host_at;
    if (at > limit_us) {
        w->now_us = limit_us;
        return false;
    }
    count_step(w, at < w->now_us ? w->now_us : at);
    if (net_at <= host_at)
        enqueue(w, net_take(&w->net));
    else
        run_host(w, h);
    return true;
}

void world_host_poke(struct world *w, struct host *h)
{
    h->wake_at_us = w->now_us;
}

void world_host_pause(struct world *w, struct host *h, uint64_t until_us)
{
    w->pauses++;
    if (h->paused_until_us < until_us)
        h->paused_until_us = until_us;
}

void world_host_clear(struct world *w, struct host *h)
{
    struct datagram *d;
    while ((d = dequeue(h)))
        net_release(&w->net, d);
    h->input_at_us = NEVER;
}

void world_free(struct world *w)
{
    for (int i = 0; i < HOSTS_MAX; i++)
        world_host_clear(w, &w->hosts[i]);
    net_free(&w->net);
}
