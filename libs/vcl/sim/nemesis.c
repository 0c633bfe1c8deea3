/* SPDX-License-Identifier: Apache-2.0
 * Faults of hosts, links and the control plane at random moments, and their end: see simulation.h and scenario.h. */
#include "nemesis.h"

enum {
    SECOND_US = 1000000,
    RANKS_US_MAX = 150000, /* S15: the third of three probes 50 ms apart would be due, and a RESUME is answered */
};

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void nemesis_init(struct nemesis *n, struct simulation *sim, struct rng rng)
{
    *n = (struct nemesis){.rng = rng, .next_at_us = NEVER, .flap_at_us = NEVER, .overload_until_us = NEVER};
    n->clean_crash_at_us = sim->scenario.clean_crash ? sim->scenario.crash_at_us : NEVER;
    n->clean_ranks_at_us = sim->scenario.clean_ranks ? sim->scenario.crash_at_us : NEVER;
    n->ranks_checked_at_us = NEVER;
    for (int i = 0; i < HELPERS_MAX; i++)
        n->hint_at_us[i] = NEVER;
    if (sim->scenario.nemesis.enabled != 0)
        n->next_at_us = rng_exponential(&n->rng, sim->scenario.nemesis.gap_us_mean);
}

uint64_t nemesis_next_at(const struct nemesis *n, const struct simulation *sim)
{
    uint64_t at = earliest(earliest(n->next_at_us, n->clean_crash_at_us), sim->server.start_at_us);
    at = earliest(at, earliest(n->flap_at_us, n->overload_until_us));
    at = earliest(at, earliest(n->clean_ranks_at_us, n->ranks_checked_at_us));
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        at = earliest(at, earliest(n->hint_at_us[i], sim->helpers[i].restart_at_us));
    return at;
}

/* --- faults ------------------------------------------------------------------------------------------------- */
/* Most helpers that start are told of the server at once. */
static uint64_t server_delay(struct nemesis *n, const struct simulation *sim)
{
    bool late = (sim->scenario.nemesis.enabled & fault_bit(FAULT_LATE_TABLE)) && rng_chance(&n->rng, PPM / 2);
    return late ? rng_between(&n->rng, 1, HINT_DELAY_US_MAX) : 0;
}

static void another_server(struct nemesis *n, struct simulation *sim)
{
    server_start(&sim->server);
    struct helper_server known = simulation_helper_server(sim);
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        helper_host_set_server(&sim->helpers[i], &known, rng_between(&n->rng, 1, HINT_DELAY_US_MAX));
}

static void end_process(struct nemesis *n, struct simulation *sim, enum fault kind)
{
    struct client *client = &sim->clients[nemesis_any_client(n, sim) - HOST_CLIENT];
    bool alone = sim->scenario.nb_clients == 1;
    if (kind == FAULT_SERVER_CRASH && sim->server.nb_crashes == 0)
        server_crash(&sim->server, sim->world.now_us + nemesis_duration(n, sim));
    else if (kind != FAULT_SERVER_CRASH && !alone && client->engine.host->paused_until_us <= sim->world.now_us)
        client_end(client, kind == FAULT_CLIENT_EXIT);
}

static void clean_crash(struct nemesis *n, struct simulation *sim)
{
    unsigned host = nemesis_any_helper(n, sim);
    n->clean_crash_at_us = NEVER;
    helper_host_crash(&sim->helpers[host - HOST_HELPER]);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        client_expect_move(&sim->clients[i], host_helper_id(host));
}

static void pause_host(struct nemesis *n, struct simulation *sim, unsigned host, enum fault kind)
{
    bool sleeps = kind == FAULT_CLIENT_SLEEP;
    uint64_t for_us = sleeps ? rng_between(&n->rng, SECOND_US, sim->scenario.sleep_us_max) : nemesis_duration(n, sim);
    if (host == HOST_NONE)
        return;
    world_host_pause(&sim->world, &sim->world.hosts[host], sim->world.now_us + for_us);
    nemesis_note(sim, host, "pause", HOST_NONE, for_us);
}

static void hint_clients(struct nemesis *n, struct simulation *sim, uint16_t helper_id, enum vcl_hint hint)
{
    n->hints++;
    trace_note(&sim->world.trace, sim->world.now_us, HOST_HELPER + helper_id - HELPER_ID_BASE, "hint", "%s",
               hint == VCL_HINT_DOWN ? "down"
               : hint == VCL_HINT_UP ? "up"
                                     : "drain");
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++) {
        struct client *client = &sim->clients[i];
        if (!client->session || client->engine.host->paused_until_us > sim->world.now_us)
            continue;
        vcl_session_hint(client->session, engine_host_clock(&client->engine), helper_id, hint);
        world_host_poke(&sim->world, client->engine.host);
    }
}

/* True or false news about a helper. */
static void any_hint(struct nemesis *n, struct simulation *sim)
{
    unsigned host = nemesis_any_helper(n, sim);
    if (host == HOST_NONE)
        return;
    enum vcl_hint hint = (enum vcl_hint)rng_between(&n->rng, VCL_HINT_DOWN, VCL_HINT_UP);
    if (hint == VCL_HINT_DRAIN)
        helper_host_set_draining(&sim->helpers[host - HOST_HELPER], true);
    hint_clients(n, sim, host_helper_id(host), hint);
}

/* One client gets a part of the candidates, in another order. */
static void other_paths(struct nemesis *n, struct simulation *sim)
{
    struct client *client = &sim->clients[nemesis_any_client(n, sim) - HOST_CLIENT];
    struct vcl_path paths[VCL_PATHS_MAX];
    uint8_t nb = client_paths(sim, &n->rng, paths);
    if (!client->session || client->engine.host->paused_until_us > sim->world.now_us)
        return;
    uint8_t kept = (uint8_t)rng_between(&n->rng, 1, nb);
    nemesis_note(sim, client->engine.host->number, "fewer candidates", HOST_NONE, kept);
    vcl_session_set_paths(client->session, engine_host_clock(&client->engine), paths + (nb - kept), kept);
    world_host_poke(&sim->world, client->engine.host);
}

static void clean_ranks(struct nemesis *n, struct simulation *sim)
{
    n->clean_ranks_at_us = NEVER;
    n->ranks_checked_at_us = sim->world.now_us + RANKS_US_MAX;
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        client_change_ranks(&sim->clients[i], &n->rng);
}

static void check_ranks(struct nemesis *n, struct simulation *sim)
{
    n->ranks_checked_at_us = NEVER;
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        client_check_ranks(&sim->clients[i]);
}

static void strike(struct nemesis *n, struct simulation *sim)
{
    enum fault kind = (enum fault)rng_below(&n->rng, FAULT_NEMESIS_COUNT);
    if (!(sim->scenario.nemesis.enabled & fault_bit(kind)))
        return;
    n->faults++;
    switch (kind) {
    case FAULT_HELPER_CRASH:
        nemesis_crash(n, sim);
        break;
    case FAULT_HELPER_PAUSE:
        pause_host(n, sim, nemesis_any_helper(n, sim), kind);
        break;
    case FAULT_CLIENT_PAUSE:
    case FAULT_CLIENT_SLEEP:
        pause_host(n, sim, nemesis_any_client(n, sim), kind);
        break;
    case FAULT_SERVER_PAUSE:
        pause_host(n, sim, HOST_SERVER, kind);
        break;
    case FAULT_ISOLATE:
        nemesis_isolate(n, sim);
        break;
    case FAULT_CUT:
    case FAULT_CLOG:
    case FAULT_GRAY:
    case FAULT_SLOW:
    case FAULT_MTU:
        nemesis_hurt_link(n, sim, kind);
        break;
    case FAULT_CLIENT_CRASH:
    case FAULT_CLIENT_EXIT:
    case FAULT_SERVER_CRASH:
        end_process(n, sim, kind);
        break;
    case FAULT_KEYS:
        if (sim->server.nb_crashes == 0 &&
            sim->identity.nb_keys == 1) /* once: the protocol knows two valid keys (K1) */
            server_rotate_keys(&sim->server);
        break;
    case FAULT_HINT:
        any_hint(n, sim);
        break;
    case FAULT_PATHS:
        other_paths(n, sim);
        break;
    case FAULT_RANKS:
        client_change_ranks(&sim->clients[nemesis_any_client(n, sim) - HOST_CLIENT], &n->rng);
        break;
    case FAULT_FLAP:
        nemesis_flap(n, sim);
        break;
    case FAULT_REBIND:
        nemesis_rebind(n, sim);
        break;
    case FAULT_OVERLOAD:
        nemesis_overload(n, sim);
        break;
    case FAULT_BAD_FLOW:
    case FAULT_BIT_FLIP:
    case FAULT_SWAP:
        nemesis_damage(n, sim, kind);
        break;
    default:
        break;
    }
}

void nemesis_run(struct nemesis *n, struct simulation *sim)
{
    uint64_t now = sim->world.now_us;
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++) {
        struct helper_host *helper = &sim->helpers[i];
        if (helper->restart_at_us <= now) {
            helper_host_restart(helper, server_delay(n, sim));
            if (sim->scenario.nemesis.true_hints)
                n->hint_at_us[i] = now + rng_between(&n->rng, HINT_DELAY_US_MIN, HINT_DELAY_US_MAX);
        }
        if (n->hint_at_us[i] <= now) {
            n->hint_at_us[i] = NEVER;
            hint_clients(n, sim, host_helper_id(HOST_HELPER + i), helper->relay ? VCL_HINT_UP : VCL_HINT_DOWN);
        }
    }
    if (sim->server.start_at_us <= now)
        another_server(n, sim);
    if (n->overload_until_us <= now)
        nemesis_end_overload(n, sim);
    if (n->flap_at_us <= now)
        nemesis_flap_again(n, sim);
    if (n->clean_crash_at_us <= now)
        clean_crash(n, sim);
    if (n->clean_ranks_at_us <= now)
        clean_ranks(n, sim);
    if (n->ranks_checked_at_us <= now)
        check_ranks(n, sim);
    if (n->next_at_us <= now) {
        strike(n, sim);
        n->next_at_us = now + 1 + rng_exponential(&n->rng, sim->scenario.nemesis.gap_us_mean);
    }
}

/* Without the direct path, a helper that works is the only way; with it, the others are cut for good. */
static void keep_one_path(struct simulation *sim)
{
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        if (HOST_HELPER + i != sim->scenario.healed_path)
            helper_host_crash(&sim->helpers[i]);
    if (sim->scenario.healed_path == HOST_SERVER)
        return;
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++) {
        sim->world.net.links[HOST_CLIENT + i][HOST_SERVER].cut_until_us = NEVER;
        sim->world.net.links[HOST_SERVER][HOST_CLIENT + i].cut_until_us = NEVER;
    }
}

void nemesis_calm(struct nemesis *n, struct simulation *sim)
{
    n->next_at_us = n->flap_at_us = NEVER;
    nemesis_end_overload(n, sim);
    net_calm(&sim->world.net);
    sim->server.engine.memory.fail_at = 0;
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        sim->clients[i].engine.memory.fail_at = 0;
    for (unsigned i = 0; i < HOSTS_MAX; i++)
        if (sim->world.hosts[i].paused_until_us > sim->world.now_us)
            sim->world.hosts[i].paused_until_us = sim->world.now_us;
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++) {
        struct helper_host *helper = &sim->helpers[i];
        helper->options.no_buffer_ppm = 0;
        helper->restart_at_us = NEVER;
        n->hint_at_us[i] = NEVER;
        helper_host_repair(helper);
        if (sim->scenario.heal == HEAL_ALL || HOST_HELPER + i == sim->scenario.healed_path)
            helper_host_restart(helper, 0);
    }
    if (sim->server.start_at_us != NEVER)
        another_server(n, sim);
    if (sim->scenario.heal == HEAL_ONE_PATH)
        keep_one_path(sim);
}
