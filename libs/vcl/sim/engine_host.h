/* SPDX-License-Identifier: Apache-2.0
 *
 * A client or server engine of libs/vcl/core on a simulated host: the driver's loop of engine.h (receive, timer,
 * events, send) in virtual time, with a clock, a random source and an allocator of its own.
 */
#ifndef SIM_ENGINE_HOST_H
#define SIM_ENGINE_HOST_H

#include "memory.h"
#include "trial_checker.h"
#include "vcl/engine.h"
#include "world.h"

struct engine_host;

/* The application and the observer of one engine. Times are the world's. */
struct engine_user {
    void *self;
    void (*on_event)(void *self, uint64_t now, const struct vcl_event *event);
    /* Does what is due and returns when it wants to run again. */
    uint64_t (*run)(void *self, uint64_t now);
    /* Sees each datagram just before it leaves, and just after the engine read it (drop: enum vcl_drop). */
    void (*on_sent)(void *self, uint64_t now, const struct vcl_datagram *out);
    void (*on_received)(void *self, uint64_t now, const struct datagram *in, int drop);
};

struct engine_host {
    struct world *world;
    struct host *host;
    struct engine_user user;
    struct vcl_engine *engine; /* NULL only while memory is short */
    struct vcl_config config;
    struct memory memory;
    struct rng random;
    uint64_t clock_offset_us; /* the engine's clock = the world's + this */
    uint16_t port;
    bool reports_lag;
    uint64_t digested_bytes; /* I7: what its digests have read so far */
    uint64_t nb_inert;       /* datagrams that were judged so */
    bool leaving;            /* vcl_engine_shutdown was called: the farewell goes out, then the process ends */
};

/* config: limits and the server's identity; this adds allocator, randomness and clock. */
void engine_host_init(struct engine_host *e, struct world *world, unsigned host_number, uint16_t port,
                      const struct vcl_config *config, const struct engine_user *user, struct rng random);
/* The engine's time. */
static inline uint64_t engine_host_clock(const struct engine_host *e)
{
    return e->world->now_us + e->clock_offset_us;
}
/* A NAT gives it another port: what goes to the last one is lost. */
void engine_host_rebind(struct engine_host *e, uint16_t port);
/* The process ends here and now, silently: what the engine does not give back is a leak. */
void engine_host_stop(struct engine_host *e);
/* A new process with this config on the same host. */
void engine_host_start(struct engine_host *e, const struct vcl_config *config);
/* The process says goodbye and ends. */
void engine_host_leave(struct engine_host *e);
/* Sessions that the engine has, and whether that is one of them. */
uint32_t engine_host_nb_sessions(const struct engine_host *e);
bool engine_host_knows(const struct engine_host *e, uint64_t session_id);
/* RESUMEs of the session, of epochs below that one, wait for their turn (S20). */
bool engine_host_resume_waits(const struct engine_host *e, uint64_t session_id, uint32_t below_epoch);
/* The server has just read one, and it had no room for it or does not know its session. */
bool engine_host_lost_resume(const struct engine_host *e, uint64_t session_id, uint32_t epoch);
/* The server holds this to be the last path of the session that has proved itself (S18). */
bool engine_host_believes(const struct engine_host *e, uint64_t session_id, const struct trial_way *way);

#endif
