/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtual time: hosts that react to datagrams and to their own wake-ups, and the network between them. A host
 * is woken when something arrived or when its wake-up is due; it takes in all that arrived, then runs once. A paused
 * host (SIGSTOP) does nothing while its receive queue fills; a host that is down loses what arrives.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "net.h"
#include "verdict.h"

#define NEVER UINT64_MAX

struct host;
struct host_ops {
    void (*receive)(struct host *h, uint64_t now, const struct datagram *d);
    /* Does all that is due and returns the time of the next wake-up. lag_us: how late it is called, by a pause. */
    uint64_t (*run)(struct host *h, uint64_t now, uint64_t lag_us);
};

struct host {
    const struct host_ops *ops;
    void *self; /* the part that the ops work on; NULL: this host does not exist */
    uint8_t number;
    bool down;
    uint64_t paused_until_us;
    uint64_t wake_at_us;        /* asked for by run */
    uint64_t input_at_us;       /* when the receive queue will be read; NEVER: it is empty */
    uint32_t poll_us_max;       /* an input waits up to this long for the host to look */
    uint32_t receive_queue_max; /* datagrams, as a socket buffer or NIC ring has */
    struct datagram *first, *last;
    uint32_t nb_queued;
};

struct world {
    uint64_t now_us;
    struct host hosts[HOSTS_MAX];
    struct net net;
    struct trace trace;
    struct verdict verdict;
    struct rng rng;
    uint64_t steps, steps_at_now, receive_queue_drops, pauses;
};

/* Registers a host; its first wake-up is at once. */
struct host *world_host_add(struct world *w, unsigned number, const struct host_ops *ops, void *self);
/* Time of the next thing to happen, NEVER: nothing will. */
uint64_t world_next_at(const struct world *w);
/* Lets the next thing happen, which must not be later than limit_us; false: there is none, and now = limit. */
bool world_step(struct world *w, uint64_t limit_us);
/* Runs this host at the current time (something changed for it from outside). */
void world_host_poke(struct world *w, struct host *h);
void world_host_pause(struct world *w, struct host *h, uint64_t until_us);
/* Drops what waits in the receive queue. */
void world_host_clear(struct world *w, struct host *h);
void world_free(struct world *w);

#endif
