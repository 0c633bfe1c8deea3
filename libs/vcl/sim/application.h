/* SPDX-License-Identifier: Apache-2.0
 *
 * One end of a connection as its application drives it: reads and writes in sizes and at a pace that its plan says,
 * checks each byte read against the ledger, and shuts down, aborts or closes when its plan says so. It calls the
 * library again only after the event that the library promised, so that a missing READABLE or WRITABLE shows as a stuck
 * connection.
 */
#ifndef SIM_APPLICATION_H
#define SIM_APPLICATION_H

#include "workload.h"
#include "world.h"

/* Planted application faults, for the simulator's self-test: the checks must see them. */
enum application_plant { PLANT_NONE, PLANT_SWAP, PLANT_CROSS, PLANT_SKIP, PLANT_REPEAT };

struct application {
    struct world *world;
    uint64_t seed;
    struct rng rng;
    struct connection *connections;
    uint32_t nb_connections;
    enum application_plant plant;
    uint64_t reset_lost_before_us; /* RESET of an abort before this time may be repeated in vain */
    uint64_t bytes_read, refusals;
    uint32_t nb_ends_done;
    /* Whether an end may see this error; set by checkers.c. */
    bool (*error_is_explained)(void *ctx, const struct connection *c, enum side side, int error);
    void *ctx;
};

/* The connection of this end exists now. */
void application_attach(struct application *app, struct connection *c, enum side side, struct vcl_conn *conn);
/* Does all that the end can do now; returns when it wants to go on by itself (NEVER: after an event). local_now is the
 * clock of the engine's host. */
uint64_t application_pump(struct application *app, struct connection *c, enum side side, uint64_t local_now);
/* READABLE, WRITABLE or CLOSED of this end; a pump must follow. */
void application_on_event(struct application *app, struct connection *c, enum side side, const struct vcl_event *event);
/* The end failed before it had a connection, or for good. */
void application_fail(struct application *app, struct connection *c, enum side side, int error);
/* Compares bytes that this end has read at its offset with the ledger. */
void application_check(struct application *app, const struct connection *c, enum side side, const uint8_t *buf,
                       size_t len);

#endif
