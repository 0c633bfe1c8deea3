/* SPDX-License-Identifier: Apache-2.0
 * Who is hit, and faults of hosts: helpers that break without dying, addresses that change, a server that drowns: see
 * nemesis.h. */
#include "nemesis.h"

enum {
    FLAP_US = 30000,
    REBIND_PORT_BASE = 50000,
    OVERLOAD_POLL_US_MAX = 5000,
    OVERLOAD_QUEUE_MAX = 64,
};

/* --- who is hit --------------------------------------------------------------------------------------------- */
unsigned nemesis_any_client(struct nemesis *n, const struct simulation *sim)
{
    return HOST_CLIENT + (unsigned)rng_below(&n->rng, sim->scenario.nb_clients);
}

unsigned nemesis_any_helper(struct nemesis *n, const struct simulation *sim)
{
    return sim->scenario.nb_helpers ? HOST_HELPER + (unsigned)rng_below(&n->rng, sim->scenario.nb_helpers) : HOST_NONE;
}

unsigned nemesis_any_host(struct nemesis *n, const struct simulation *sim)
{
    unsigned kind = (unsigned)rng_below(&n->rng, 3), helper = nemesis_any_helper(n, sim);
    return kind == 0 ? HOST_SERVER : kind == 1 && helper != HOST_NONE ? helper : nemesis_any_client(n, sim);
}

void nemesis_note(struct simulation *sim, unsigned host, const char *what, unsigned other, uint64_t for_us)
{
    trace_note(&sim->world.trace, sim->world.now_us, host, "fault", "%s %s for %llu us", what,
               other == HOST_NONE ? "" : host_name(other), (unsigned long long)for_us);
}

uint64_t nemesis_duration(struct nemesis *n, const struct simulation *sim)
{
    return rng_log_between(&n->rng, 100, sim->scenario.nemesis.duration_us_max);
}

/* --- helpers ------------------------------------------------------------------------------------------------- */
void nemesis_crash(struct nemesis *n, struct simulation *sim)
{
    unsigned host = nemesis_any_helper(n, sim);
    if (host == HOST_NONE)
        return;
    struct helper_host *helper = &sim->helpers[host - HOST_HELPER];
    helper_host_crash(helper);
    helper->restart_at_us = rng_chance(&n->rng, PPM / 4 * 3) ? sim->world.now_us + nemesis_duration(n, sim) : NEVER;
    if (sim->scenario.nemesis.true_hints)
        n->hint_at_us[host - HOST_HELPER] =
            sim->world.now_us + rng_between(&n->rng, HINT_DELAY_US_MIN, HINT_DELAY_US_MAX);
}

void nemesis_flap(struct nemesis *n, struct simulation *sim)
{
    unsigned host = nemesis_any_helper(n, sim);
    if (host == HOST_NONE || n->flap_at_us != NEVER)
        return;
    n->flap_helper = host - HOST_HELPER;
    n->flap_at_us = sim->world.now_us;
    n->flap_until_us = sim->world.now_us + nemesis_duration(n, sim);
}

void nemesis_flap_again(struct nemesis *n, struct simulation *sim)
{
    struct helper_host *helper = &sim->helpers[n->flap_helper];
    bool over = sim->world.now_us >= n->flap_until_us;
    n->flap_at_us = over ? NEVER : sim->world.now_us + FLAP_US;
    if (helper->relay && !over)
        helper_host_crash(helper);
    else
        helper_host_restart(helper, 0);
}

void nemesis_damage(struct nemesis *n, struct simulation *sim, enum fault kind)
{
    unsigned host = nemesis_any_helper(n, sim);
    if (host == HOST_NONE)
        return;
    uint64_t for_us = nemesis_duration(n, sim), until = sim->world.now_us + for_us;
    struct helper_damage *damage = &sim->helpers[host - HOST_HELPER].damage;
    if (kind == FAULT_BAD_FLOW) {
        damage->bad_flow_until_us = until;
        damage->bad_id = 0;
    } else if (kind == FAULT_BIT_FLIP) {
        damage->flip_until_us = until;
    } else {
        damage->swap_until_us = until;
    }
    nemesis_note(sim, host, fault_name(kind), HOST_NONE, for_us);
}

/* --- endpoints ----------------------------------------------------------------------------------------------- */
void nemesis_rebind(struct nemesis *n, struct simulation *sim)
{
    struct client *client = &sim->clients[nemesis_any_client(n, sim) - HOST_CLIENT];
    uint16_t port = (uint16_t)(REBIND_PORT_BASE + rng_below(&n->rng, UINT16_MAX - REBIND_PORT_BASE));
    if (client->gone)
        return;
    engine_host_rebind(&client->engine, port);
    nemesis_note(sim, client->engine.host->number, "another port", HOST_NONE, port);
}

void nemesis_overload(struct nemesis *n, struct simulation *sim)
{
    struct host *server = sim->server.engine.host;
    uint64_t for_us = nemesis_duration(n, sim);
    if (n->overload_until_us != NEVER)
        return;
    n->overload_until_us = sim->world.now_us + for_us;
    n->calm_poll_us_max = server->poll_us_max;
    n->calm_queue_max = server->receive_queue_max;
    server->poll_us_max = (uint32_t)rng_between(&n->rng, 1, OVERLOAD_POLL_US_MAX);
    server->receive_queue_max = (uint32_t)rng_between(&n->rng, 1, OVERLOAD_QUEUE_MAX);
    nemesis_note(sim, HOST_SERVER, "overload", HOST_NONE, for_us);
}

void nemesis_end_overload(struct nemesis *n, struct simulation *sim)
{
    struct host *server = sim->server.engine.host;
    if (n->overload_until_us == NEVER)
        return;
    n->overload_until_us = NEVER;
    server->poll_us_max = n->calm_poll_us_max;
    server->receive_queue_max = n->calm_queue_max;
}
