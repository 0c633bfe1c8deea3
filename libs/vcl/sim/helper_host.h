/* SPDX-License-Identifier: Apache-2.0
 *
 * A helper in the simulation: the real relay of services/helper/worker on a simulated host. It may crash at any instant
 * (its state is gone and nothing is said), start again with the same id and address as the next incarnation, be paused
 * with batches half full, and run out of buffers.
 */
#ifndef SIM_HELPER_HOST_H
#define SIM_HELPER_HOST_H

#include "relay.h"
#include "trunk_checker.h"
#include "world.h"

enum { HELPER_AGE_INTERVAL_US = 10000, HELPER_AGE_INTERVAL_IDLE_US = 1000000 }; /* between sweeps of the flow table */

struct helper_options {
    uint32_t hold_us_max, trunk_bytes_max, batch_entries_max, flows_max;
    uint64_t flow_idle_us;
    uint32_t no_buffer_ppm; /* an allocation of an output buffer fails */
    uint32_t poll_us_max;
    uint8_t trunk_family; /* 4 or 6: how helper and server talk */
};

/* What a supervisor knows of the server, besides the keys that depend on the incarnation. */
struct helper_server {
    uint16_t server_id;
    uint8_t shard;
    uint8_t cid_key[16], trunk_secret[PMW_KEY_BYTES];
};

/* What a broken helper does to the frames of its clients, both ways, until its time. */
struct helper_damage {
    uint64_t bad_flow_until_us, flip_until_us, swap_until_us;
    uint64_t bad_id;     /* the flow that it loses: the first that it sees */
    uint16_t kept_bytes; /* a payload that waits for another of its length */
    uint8_t kept[NET_BYTES_MAX];
};

struct helper_host {
    struct world *world;
    struct host *host;
    struct helper_options options;
    struct helper_server server;
    struct relay *relay; /* NULL while it is crashed */
    struct rng rng;
    uint32_t incarnation;
    uint64_t age_at_us, age_interval_us;
    uint64_t restart_at_us; /* NEVER: it stays as it is */
    uint64_t server_at_us;  /* when the supervisor tells it of the server; NEVER: it knows */
    uint64_t nb_crashes, nb_restarts;
    struct relay_stats past; /* of earlier incarnations, summed */
    bool draining;
    struct helper_damage damage;
    struct trunk_watch_of_helper watch;
    uint64_t nb_damaged, nb_credited;
};

void helper_host_init(struct helper_host *helper, struct world *world, unsigned host_number,
                      const struct helper_options *options, const struct helper_server *server, struct rng rng);
/* The process dies: no farewell, all state and all queued input lost. */
void helper_host_crash(struct helper_host *helper);
/* A new process of the same helper: next incarnation, empty tables. It hears of the server after server_delay_us. */
void helper_host_restart(struct helper_host *helper, uint64_t server_delay_us);
/* The registry knows another server instead; the helper hears of it after the delay. */
void helper_host_set_server(struct helper_host *helper, const struct helper_server *server, uint64_t delay_us);
void helper_host_set_draining(struct helper_host *helper, bool draining);
/* Ends whatever it does to frames. */
void helper_host_repair(struct helper_host *helper);
/* Sum over all incarnations. */
void helper_host_stats(const struct helper_host *helper, struct relay_stats *out);
void helper_host_free(struct helper_host *helper);

#endif
