/* SPDX-License-Identifier: Apache-2.0
 * One run from the seed to the verdict: see simulation.h. */
#include "simulation.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STREAM_RESTS = 0x72657374,    /* of chance */
    STEPS_MAX = 20000000,         /* of one run; the largest honest runs need a tenth */
    LIVE_US_BASE = 10000000,      /* I4: a dead path noticed by a keepalive (5 s, S12), then moves 1 s apart (S9) */
    FAREWELL_US_SLACK = 15000000, /* beyond the tombstones and idle sessions */
    UNIX_START_S = 1700000000,    /* the date of virtual time 0 */
    TOKEN_LIFETIME_S = 600,
    TOKEN_EXPIRED_S = 700, /* lifetime and skew (30 s) are over */
    CLOCK_SKEW_S = 10,     /* of a host's date, either way: within the skew that servers allow */
};

const char *plant_name(enum plant plant)
{
    static const char *const names[PLANTED_COUNT] = {"nothing", "flip-payload", "swap",    "skip", "repeat",
                                                     "cross",   "stale-path",   "silence", "leak", "drift",
                                                     "loss",    "slow-move",    "foreign", "deaf", "old-ranks"};
    return names[plant];
}

/* --- what hosts are given ------------------------------------------------------------------------------------ */
void simulation_engine_config(const struct simulation *sim, struct vcl_config *config, unsigned host, struct rng *rng)
{
    const struct scenario *s = &sim->scenario;
    *config = s->engine;
    config->sessions_max = 2 * CLIENTS_MAX;
    config->conns_max = 4 * CONNECTIONS_MAX;
    config->trunks_max = 2 * HELPERS_MAX;
    int64_t skew_s = (int64_t)rng_below(rng, 2 * CLOCK_SKEW_S + 1) - CLOCK_SKEW_S;
    config->unix_offset_us = sim->identity.unix_offset_us + skew_s * 1000000;
}

void simulation_token(const struct simulation *sim, uint32_t client_id, bool expired, struct rng *rng,
                      uint8_t token[PMW_TOKEN_BYTES], uint8_t token_key[PMW_KEY_BYTES])
{
    const struct server_identity *id = &sim->identity;
    struct pmw_token t = {.key_id = id->keys[0].key_id,
                          .lifetime_s = TOKEN_LIFETIME_S,
                          .max_conns = UINT16_MAX,
                          .server_id = id->server_id,
                          .client_id = client_id + 1,
                          .service_id = id->service_id};
    int64_t unix_s = ((int64_t)sim->world.now_us + id->unix_offset_us) / 1000000;
    t.not_before = (uint32_t)(unix_s - (expired ? TOKEN_EXPIRED_S : (int64_t)rng_below(rng, TOKEN_LIFETIME_S / 2)));
    rng_bytes(rng, t.random, sizeof t.random);
    pmw_token_encode(token, &t);
    pmw_token_mac(t.mac, id->keys[0].key, token);
    pmw_token_encode(token, &t);
    pmw_token_key(token_key, id->keys[0].key, token);
}

void simulation_new_identity(struct simulation *sim)
{
    struct server_identity *id = &sim->identity;
    struct rng *rng = &sim->identity_rng;
    id->server_id = (uint16_t)(id->server_id % UINT16_MAX + 1);
    id->incarnation++;
    id->nb_keys = 1;
    id->keys[0].key_id = (uint16_t)rng_u32(rng);
    rng_bytes(rng, id->trunk_secret, sizeof id->trunk_secret);
    rng_bytes(rng, id->keys[0].key, sizeof id->keys[0].key);
}

static void identity_draw(struct simulation *sim)
{
    struct server_identity *id = &sim->identity;
    id->server_id = (uint16_t)rng_between(&sim->identity_rng, 1, UINT16_MAX);
    id->shard = (uint8_t)rng_below(&sim->identity_rng, 256);
    id->service_id = rng_u64(&sim->identity_rng);
    id->unix_offset_us = (int64_t)UNIX_START_S * 1000000;
    rng_bytes(&sim->identity_rng, id->cid_key, sizeof id->cid_key);
    simulation_new_identity(sim);
}

struct helper_server simulation_helper_server(const struct simulation *sim)
{
    struct helper_server known = {.server_id = sim->identity.server_id, .shard = sim->identity.shard};
    memcpy(known.cid_key, sim->identity.cid_key, sizeof known.cid_key);
    memcpy(known.trunk_secret, sim->identity.trunk_secret, sizeof known.trunk_secret);
    return known;
}

/* --- building ------------------------------------------------------------------------------------------------ */
static void build_connections(struct simulation *sim, struct rng *rng)
{
    uint32_t nb = 0;
    struct rng rests;
    rng_seed(&rests, sim->scenario.seed, STREAM_RESTS);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++) {
        struct client *client = &sim->clients[i];
        client->connections = &sim->connections[nb];
        client->nb_connections = (uint32_t)rng_between(rng, 1, sim->scenario.workload.connections_per_client_max);
        for (uint32_t j = 0; j < client->nb_connections; j++, nb++) {
            sim->connections[nb].number = nb;
            sim->connections[nb].impatient = sim->scenario.short_hold;
            sim->connections[nb].both_must_end = sim->scenario.sleepers;
            connection_plan_draw(&sim->connections[nb].plan, (uint8_t)i, &sim->scenario.workload, rng);
            if (sim->scenario.rests)
                connection_plan_rest(&sim->connections[nb].plan, &rests);
        }
    }
    assert(nb <= CONNECTIONS_MAX);
    /* RESET is repeated at doubling distances until the tombstone ends. When that is soon, or when most of the copies
     * left during the faults, the peer may never hear of it. */
    uint64_t tombstone_us = sim->scenario.engine.tombstone_us, fault_us = sim->scenario.fault_us, lost_before_us = 0;
    if (tombstone_us < LIVE_US_BASE)
        lost_before_us = UINT64_MAX;
    else if (fault_us > tombstone_us / 16)
        lost_before_us = fault_us - tombstone_us / 16;
    sim->application = (struct application){.world = &sim->world,
                                            .seed = sim->seed,
                                            .rng = rng_split(rng, 1),
                                            .connections = sim->connections,
                                            .nb_connections = nb,
                                            .reset_lost_before_us = lost_before_us,
                                            .error_is_explained = checkers_error_is_explained,
                                            .ctx = sim};
}

static void plant_faults(struct simulation *sim)
{
    static uint64_t runs;
    struct application *app = &sim->application;
    switch (sim->plant) {
    case PLANTED_FLIP_PAYLOAD:
        sim->world.net.plant.flip_payload = true;
        break;
    case PLANTED_SWAP:
        app->plant = PLANT_SWAP;
        break;
    case PLANTED_SKIP:
        app->plant = PLANT_SKIP;
        break;
    case PLANTED_REPEAT:
        app->plant = PLANT_REPEAT;
        break;
    case PLANTED_CROSS:
        app->plant = PLANT_CROSS;
        break;
    case PLANTED_STALE_PATH:
        sim->checkers.stale_plant = true;
        break;
    case PLANTED_SILENCE:
        sim->world.net.plant.silence_host = HOST_CLIENT;
        break;
    case PLANTED_LEAK:
        sim->server.engine.memory.lose_frees = true;
        break;
    case PLANTED_DRIFT:
        sim->world.net.options.delay_us_min += ++runs;
        break;
    case PLANTED_LOSS:
        sim->world.net.options.loss_ppm += sim->scenario.quiet ? PPM / 50 : 0;
        break;
    case PLANTED_FOREIGN:
        sim->world.net.plant.foreign = true;
        break;
    case PLANTED_DEAF:      /* see checkers.c */
    case PLANTED_SLOW_MOVE: /* see client.c */
    case PLANTED_OLD_RANKS:
    case PLANTED_NOTHING:
    case PLANTED_COUNT:
        break;
    }
}

static void memory_fault(struct simulation *sim)
{
    const struct memory_fault *fault = &sim->scenario.memory_fault;
    if (fault->host == HOST_NONE)
        return;
    struct memory *m = fault->host == HOST_SERVER ? &sim->server.engine.memory
                                                  : &sim->clients[fault->host - HOST_CLIENT].engine.memory;
    m->fail_at = fault->fail_at;
    m->fail_count = fault->fail_count;
}

static void build(struct simulation *sim, const struct run_options *options)
{
    struct rng hosts = rng_split(&sim->rng, 2), plans = rng_split(&sim->rng, 3), net = rng_split(&sim->rng, 4);
    scenario_draw(&sim->scenario, sim->seed, options->allowed_faults, &sim->rng);
    if (options->verbose)
        scenario_print(&sim->scenario);
    sim->identity_rng = rng_split(&sim->rng, 7);
    identity_draw(sim);
    trace_init(&sim->world.trace, options->trace);
    sim->world.rng = rng_split(&sim->rng, 5);
    net_init(&sim->world.net, &sim->scenario.net, net, &sim->world.trace);
    server_init(&sim->server, sim, &hosts);
    struct helper_server known = simulation_helper_server(sim);
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        helper_host_init(&sim->helpers[i], &sim->world, HOST_HELPER + i, &sim->scenario.helper, &known,
                         rng_split(&hosts, 100 + i));
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        client_init(&sim->clients[i], sim, i, &hosts);
    build_connections(sim, &plans);
    nemesis_init(&sim->nemesis, sim, rng_split(&sim->rng, 6));
    for (int i = 0; i < HOSTS_MAX && sim->scenario.clean_ranks;
         i++) /* the most connections of all, and no loss allowed */
        sim->world.hosts[i].receive_queue_max = UINT32_MAX;
    memory_fault(sim);
    plant_faults(sim);
}

/* --- phases -------------------------------------------------------------------------------------------------- */
static bool may_go_on(struct simulation *sim)
{
    if (sim->world.steps > STEPS_MAX)
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_CONTRACT, "no end after %d steps", STEPS_MAX);
    return sim->world.verdict.rule == RULE_NONE;
}

static void phase_faults(struct simulation *sim)
{
    while (sim->world.now_us < sim->scenario.fault_us && may_go_on(sim)) {
        uint64_t limit = nemesis_next_at(&sim->nemesis, sim);
        if (limit > sim->scenario.fault_us)
            limit = sim->scenario.fault_us;
        if (!world_step(&sim->world, limit) && limit < sim->scenario.fault_us)
            nemesis_run(&sim->nemesis, sim);
    }
}

static bool all_done(const struct simulation *sim)
{
    for (uint32_t i = 0; i < sim->application.nb_connections; i++)
        if (!connection_is_done(&sim->connections[i]))
            return false;
    return true;
}

/* A window's worth of bytes takes a round trip, with all the waiting on its way. */
static uint64_t window_work_us(const struct scenario *s, uint64_t bytes)
{
    const struct vcl_config *c = &s->engine;
    uint64_t window = c->sndbuf_bytes < c->rcvbuf_bytes ? c->sndbuf_bytes : c->rcvbuf_bytes;
    uint64_t nb_hops = s->nb_helpers > 0 ? 4 : 2, hop_us = 2 * s->net.delay_us_mean - s->net.delay_us_min;
    uint64_t round_us = nb_hops * hop_us + 2 * s->endpoint_poll_us_max + 2 * s->helper.poll_us_max +
                        s->helper.hold_us_max + c->max_ack_delay_us;
    return (2 * bytes / window + 1) * round_us;
}

/* The time that applications themselves need, and the network for the bytes: I4's bound must not count it. */
static uint64_t honest_work_us(const struct simulation *sim)
{
    uint64_t work_us = 0, bytes = 0;
    for (uint32_t i = 0; i < sim->application.nb_connections; i++) {
        const struct connection_plan *plan = &sim->connections[i].plan;
        for (int side = 0; side < SIDES; side++) {
            const struct end_plan *end = &plan->end[side], *peer = &plan->end[side_peer((enum side)side)];
            /* A call draws its size evenly from 1 to the maximum; each round of request and response has two more
             * calls. */
            uint64_t writes = 2 * end->total_bytes / end->write_bytes_max + 2 + 2 * plan->rounds;
            uint64_t reads = 2 * peer->total_bytes / end->read_bytes_max + 2 + 2 * plan->rounds;
            work_us += writes * end->write_gap_us + reads * end->read_gap_us;
            work_us += window_work_us(&sim->scenario, end->total_bytes);
            bytes += end->total_bytes;
        }
        work_us += sim->scenario.accept_gap_us + 8 * plan->rounds * sim->scenario.net.delay_us_mean;
    }
    if (sim->scenario.rests) /* of both ends, one after the other; all connections rest at the same time */
        work_us += SIDES * REST_US_MAX;
    uint32_t rate = sim->scenario.net.bandwidth_bytes_per_ms;
    return 2 * work_us + (rate ? 8 * bytes * 1000 / rate : 0);
}

static void phase_calm(struct simulation *sim, struct run_result *result)
{
    nemesis_calm(&sim->nemesis, sim);
    trace_note(&sim->world.trace, sim->world.now_us, HOST_SERVER, "phase", "calm");
    const struct vcl_config *config = &sim->scenario.engine;
    uint64_t start = sim->world.now_us, limit = start + LIVE_US_BASE + honest_work_us(sim);
    if (sim->server.nb_crashes > 0) /* nothing but patience tells a client that its server is gone */
        limit += config->hold_us + config->open_timeout_us;
    for (uint32_t done = UINT32_MAX; may_go_on(sim);) {
        if (done != sim->application.nb_ends_done && all_done(sim))
            break;
        done = sim->application.nb_ends_done;
        if (!world_step(&sim->world, limit))
            break;
    }
    result->recovery_us = sim->world.now_us - start;
    if (may_go_on(sim))
        checkers_completion(sim);
    checkers_resent(sim);
}

/* Applications leave; then only time passes, until tombstones and idle sessions must be gone. */
static void phase_farewell(struct simulation *sim)
{
    const struct vcl_config *config = &sim->server.engine.config;
    uint64_t now = sim->world.now_us,
             clients_leave = now + config->hold_us + 2 * config->tombstone_us + FAREWELL_US_SLACK;
    trace_note(&sim->world.trace, now, HOST_SERVER, "phase", "farewell");
    server_drop_newcomers(&sim->server);
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        sim->helpers[i].age_interval_us = HELPER_AGE_INTERVAL_IDLE_US; /* minutes pass in which nothing happens */
    for (uint32_t i = 0; i < sim->application.nb_connections; i++) {
        struct end *end = &sim->connections[i].end[CLIENT];
        struct client *client = &sim->clients[sim->connections[i].plan.client];
        if (client->gone)
            continue;
        if (end->conn)
            vcl_conn_release(end->conn, engine_host_clock(&client->engine));
        end->conn = NULL;
        world_host_poke(&sim->world, client->engine.host);
    }
    while (may_go_on(sim) && world_step(&sim->world, clients_leave))
        continue;
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        client_leave(&sim->clients[i]);
    uint64_t end = clients_leave + config->idle_us + FAREWELL_US_SLACK;
    while (may_go_on(sim) && world_step(&sim->world, end))
        continue;
    if (may_go_on(sim))
        checkers_farewell(sim);
    checkers_credit(sim);
}

static void take_down(struct simulation *sim)
{
    engine_host_stop(&sim->server.engine);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        engine_host_stop(&sim->clients[i].engine);
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        helper_host_free(&sim->helpers[i]);
    world_free(&sim->world);
}

void simulation_run(uint64_t seed, const struct run_options *options, struct run_result *result)
{
    struct simulation *sim = calloc(1, sizeof *sim);
    assert(sim);
    *result = (struct run_result){0};
    sim->seed = seed;
    sim->plant = options->plant;
    rng_seed(&sim->rng, seed, 0);
    build(sim, options);
    phase_faults(sim);
    checkers_quiet(sim);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        client_check_move(&sim->clients[i]);
    phase_calm(sim, result);
    if (may_go_on(sim))
        phase_farewell(sim);
    checkers_memory(sim);
    result_collect(sim, result);
    take_down(sim);
    result->verdict = sim->world.verdict;
    result->hash = sim->world.trace.hash;
    free(sim);
}
