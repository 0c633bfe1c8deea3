/* SPDX-License-Identifier: Apache-2.0
 *
 * One run: all parts of a seed's world, and the phases it goes through:
 *   faults     0 .. scenario.fault_us: connections open and work while the nemesis and the network do their worst;
 *   calm       no fault any more, one path of each client works at least: all must be delivered in bounded time;
 *   farewell   applications are gone: engines must let go of every connection and all memory.
 */
#ifndef SIM_SIMULATION_H
#define SIM_SIMULATION_H

#include "application.h"
#include "checkers.h"
#include "engine_host.h"
#include "helper_host.h"
#include "scenario.h"
#include "world.h"

/* The simulator breaks itself in one of these ways to show that its checks see it. */
enum plant {
    PLANTED_NOTHING,
    PLANTED_FLIP_PAYLOAD, /* payloads are altered in the network: check counters rise and no harm is done */
    PLANTED_SWAP,         /* an application swaps two bytes it read: I1 */
    PLANTED_SKIP,         /* ... loses one: I1 */
    PLANTED_REPEAT,       /* ... sees one twice: I1 */
    PLANTED_CROSS,        /* a connection carries another one's bytes: I2 */
    PLANTED_STALE_PATH,   /* the observer is shown server frames of an older epoch: I3 */
    PLANTED_SILENCE,      /* one client is never heard again: I4 */
    PLANTED_LEAK,         /* frees are not counted: memory */
    PLANTED_DRIFT,        /* a run depends on the run before: determinism */
    PLANTED_LOSS,         /* a quiet network loses a little: quiet */
    PLANTED_SLOW_MOVE,    /* moves to another path are not told: failover */
    PLANTED_FOREIGN,      /* the observer is told that a host's own datagrams are nobody's: I7 */
    PLANTED_DEAF,         /* an application does not hear that its connection ended: I9 */
    PLANTED_OLD_RANKS,    /* clients are not told of other ranks: ranks */
    PLANTED_COUNT
};
const char *plant_name(enum plant plant);

struct server_identity {
    uint16_t server_id;
    uint8_t shard;
    uint64_t service_id;
    uint8_t cid_key[16], trunk_secret[PMW_KEY_BYTES];
    uint32_t incarnation;
    struct vcl_server_key keys[2]; /* the newest first */
    uint8_t nb_keys;
    int64_t unix_offset_us; /* unix time = the world's time + this */
};

struct simulation;

/* A client process: its engine, its one session, and the agent that serves it. */
struct client {
    struct simulation *sim;
    unsigned index;
    struct engine_host engine;
    struct vcl_session *session;
    uint64_t session_id;
    struct vcl_peer peer;
    bool gone;                      /* the process has ended before the run did */
    uint64_t token_at_us;           /* when the agent will have a new token; NEVER: none was asked for */
    uint64_t retry_at_us;           /* memory was short */
    uint64_t crash_at_us;           /* when its path died under unacknowledged data; NEVER: it did not */
    uint64_t failover_us;           /* how long the session then took to move */
    uint32_t ranks_witnesses;       /* a bit for each of its connections that was open when ranks changed */
    bool ranks_followed;            /* ... and the session moved therefore */
    struct connection *connections; /* its own, side by side in the simulation's array */
    uint32_t nb_connections;
};

/* A connection that the server application took but whose header it has not read yet. */
struct newcomer {
    struct vcl_conn *conn;
    struct connection *connection; /* NULL until the header is read */
    uint8_t header[LEDGER_HEADER_BYTES];
    uint8_t header_bytes;
    bool read_blocked;
    uint64_t pump_at_us;
};
enum { NEWCOMERS_MAX = 4 * CONNECTIONS_MAX };

struct server {
    struct simulation *sim;
    struct engine_host engine;
    struct newcomer newcomers[NEWCOMERS_MAX];
    uint32_t nb_newcomers;
    bool closing;         /* the run is over: what comes late is aborted */
    bool accept_waits;    /* something may be in the backlog */
    uint64_t start_at_us; /* after a crash; NEVER otherwise */
    uint32_t nb_crashes;
    uint64_t accept_at_us;
};

/* What happens when, in the control plane and the physical world; see nemesis.c. */
struct nemesis {
    struct rng rng;
    uint64_t next_at_us;
    uint64_t hint_at_us[HELPERS_MAX]; /* when clients are told of a crash or restart; NEVER: nothing to tell */
    uint64_t clean_crash_at_us;       /* NEVER: there is none, or it is over */
    uint64_t clean_ranks_at_us, ranks_checked_at_us;
    unsigned flap_helper;
    uint64_t flap_at_us, flap_until_us; /* when the flapping helper dies or comes back next; NEVER: none flaps */
    uint64_t overload_until_us;         /* NEVER: there is none */
    uint32_t calm_poll_us_max, calm_queue_max;
    uint64_t hints, faults;
};

/* What a run has done and suffered; checked: frames and RESUMEs that the wire checker could judge. */
/* clang-format off */
#define RUN_COUNTERS(X)                                                                                                \
    X(connections) X(completed) X(frames) X(bytes) X(resent) X(moves) X(resumes) X(failovers) X(reranks)                                       \
    X(batches) X(batched_frames) X(refused)                                                                            \
    X(crashes) X(restarts) X(pauses) X(faults) X(hints) X(lost) X(duplicated) X(reordered) X(corrupted) X(replayed) X(junk) X(forged) X(too_long) X(damaged) X(inert) X(credited) X(short_entries) X(short_frames) X(short_checked)        \
    X(check_drops) X(checked_frames) X(checked_resumes) X(steps)
/* clang-format on */
struct run_result {
    struct verdict verdict;
    uint64_t hash;        /* of the whole history */
    uint64_t failover_us; /* longest move of a busy session after a clean crash */
    uint64_t recovery_us; /* from the end of the faults until all was done */
    uint64_t peak_bytes;  /* of the largest engine */
#define SIM_X(name) uint64_t name;
    RUN_COUNTERS(SIM_X)
#undef SIM_X
};

struct simulation {
    uint64_t seed;
    enum plant plant;
    struct scenario scenario;
    struct server_identity identity;
    struct world world;
    struct application application;
    struct connection connections[CONNECTIONS_MAX];
    struct helper_host helpers[HELPERS_MAX];
    struct server server;
    struct client clients[CLIENTS_MAX];
    struct checkers checkers;
    struct nemesis nemesis;
    struct rng rng, identity_rng;
};

struct run_options {
    uint64_t allowed_faults; /* bit set of enum fault */
    enum plant plant;
    bool trace, verbose;
};
/* Adds what the parts of the run have counted; while engines and relays still exist. */
void result_collect(struct simulation *sim, struct run_result *result);
/* Runs one seed from beginning to end. */
void simulation_run(uint64_t seed, const struct run_options *options, struct run_result *result);

/* client.c, server.c, nemesis.c */
void client_init(struct client *client, struct simulation *sim, unsigned index, struct rng *rng);
/* Every candidate of this client, in an order drawn from rng; the direct path last. */
uint8_t client_paths(const struct simulation *sim, struct rng *rng, struct vcl_path paths[VCL_PATHS_MAX]);
/* Ends the session; only without connections. */
void client_leave(struct client *client);
/* The helper of this path died just now: a session that is busy on it must move in bounded time. */
void client_expect_move(struct client *client, uint16_t helper_id);
/* At the end of the first phase: it has. */
void client_check_move(const struct client *client);
/* Draws other ranks for its candidates and tells the session. */
void client_change_ranks(struct client *client, struct rng *rng);
/* As long after that as it may take: a session that was busy all the time is on a path of the best rank. */
void client_check_ranks(struct client *client);
/* The process ends, with a farewell to its peers or without. */
void client_end(struct client *client, bool in_order);
void server_init(struct server *server, struct simulation *sim, struct rng *rng);
/* The process dies; at start_at_us another one of the same service takes its address, with its own id and keys. */
void server_crash(struct server *server, uint64_t start_at_us);
void server_start(struct server *server);
/* New tokens are signed with a new key; the server takes the old ones too. */
void server_rotate_keys(struct server *server);
/* Aborts what no client speaks for any more, and from now on whatever comes. */
void server_drop_newcomers(struct server *server);
void nemesis_init(struct nemesis *nemesis, struct simulation *sim, struct rng rng);
/* Time of the next fault or repair. */
uint64_t nemesis_next_at(const struct nemesis *nemesis, const struct simulation *sim);
void nemesis_run(struct nemesis *nemesis, struct simulation *sim);
/* The end of all faults: what the scenario heals is healed, the rest stays dead and silent. */
void nemesis_calm(struct nemesis *nemesis, struct simulation *sim);

/* A config with the limits of the scenario. */
void simulation_engine_config(const struct simulation *sim, struct vcl_config *config, unsigned host, struct rng *rng);
/* What the registry grants a server that registers: the next server_id, new secrets; the cid_key is everybody's. */
void simulation_new_identity(struct simulation *sim);
/* What helpers are told of the server. */
struct helper_server simulation_helper_server(const struct simulation *sim);
/* A token for this server; expired: out of its time by more than the skew that servers allow. */
void simulation_token(const struct simulation *sim, uint32_t client_id, bool expired, struct rng *rng,
                      uint8_t token[PMW_TOKEN_BYTES], uint8_t token_key[PMW_KEY_BYTES]);
#endif
