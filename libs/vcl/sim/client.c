/* SPDX-License-Identifier: Apache-2.0
 * A client process of the simulation: opens its connections when their plans say so, drives their ends, and plays the
 * agent (tokens, candidate paths). */
#include "simulation.h"

#include <assert.h>
#include <string.h>

enum { FAILOVER_US_MAX = 50000 /* docs/failure-model.md */, RETRY_US = 1000, SESSION_CANDIDATES_SHUFFLES = 8 };

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint8_t client_paths(const struct simulation *sim, struct rng *rng, struct vcl_path paths[VCL_PATHS_MAX])
{
    uint8_t nb = 0, family = sim->scenario.client_family;
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++, nb++) {
        paths[nb].addr = host_addr(HOST_HELPER + i, family, PORT_HELPER_CLIENTS);
        paths[nb].helper_id = host_helper_id(HOST_HELPER + i);
    }
    for (unsigned i = 0; i < nb; i++)
        paths[i].rank = (uint8_t)rng_below(rng, sim->scenario.rank_max + 1u);
    for (int i = 0; nb > 1 && i < SESSION_CANDIDATES_SHUFFLES; i++) {
        uint64_t a = rng_below(rng, nb), b = rng_below(rng, nb);
        struct vcl_path other = paths[a];
        paths[a] = paths[b];
        paths[b] = other;
    }
    if (sim->scenario.direct_path) {
        paths[nb].addr = host_addr(HOST_SERVER, family, PORT_SERVER);
        paths[nb].rank = VCL_RANK_DIRECT;
        paths[nb++].helper_id = 0;
    }
    return nb;
}

static void note(struct client *client, const char *subject, const char *what, unsigned helper_id, uint32_t epoch)
{
    trace_note(&client->sim->world.trace, client->sim->world.now_us, client->engine.host->number, subject,
               "%s path %u epoch %u", what, helper_id, epoch);
}

/* A new token may make a session start over under another id, before its first connection. */
static void learn_session(struct client *client)
{
    struct vcl_session_info info;
    vcl_session_info(client->session, &info);
    if (info.id == client->session_id)
        return;
    client->session_id = info.id;
    checkers_session(&client->sim->checkers, info.id, client->engine.host->number);
}

static void session_start(struct client *client)
{
    struct simulation *sim = client->sim;
    int rc =
        vcl_session_new(client->engine.engine, engine_host_clock(&client->engine), &client->peer, &client->session);
    client->retry_at_us = NEVER;
    if (rc == VCL_ERR_NOMEM && client->engine.memory.failures > 0) {
        client->session = NULL;
        client->retry_at_us = sim->world.now_us + RETRY_US;
        return;
    }
    if (rc != VCL_OK) {
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_CONTRACT, "c%u: vcl_session_new gives %d",
                     client->index, rc);
        return;
    }
    learn_session(client);
}

static void connection_open(struct client *client, struct connection *c)
{
    struct application *app = &client->sim->application;
    struct vcl_conn *conn = NULL;
    c->asked = true;
    int rc = vcl_conn_open(client->session, engine_host_clock(&client->engine), &conn);
    if (rc != VCL_OK) {
        application_fail(app, c, CLIENT, rc < 0 ? -rc : rc);
        return;
    }
    vcl_conn_set_user(conn, c);
    application_attach(app, c, CLIENT, conn);
    c->opening = true;
}

static void connection_opened(struct client *client, struct connection *c)
{
    struct vcl_conn_info info;
    vcl_conn_info(c->end[CLIENT].conn, &info);
    c->opening = false;
    c->cid = info.cid;
    c->session_id = client->session_id;
    c->client_port = info.local_port;
    trace_name(&client->sim->world.trace, c->cid, c->number);
    trace_note(&client->sim->world.trace, client->sim->world.now_us, client->engine.host->number, "conn",
               "k%u opened, port %u", c->number, c->client_port);
}

static void connection_event(struct client *client, const struct vcl_event *event)
{
    struct application *app = &client->sim->application;
    struct connection *c = vcl_conn_user(event->conn);
    if (!c || c->end[CLIENT].conn != event->conn) {
        verdict_fail(&app->world->verdict, app->world->now_us, RULE_CONTRACT,
                     "c%u: event %d of a connection that was released", client->index, (int)event->type);
        return;
    }
    c->end[CLIENT].pump_at_us = app->world->now_us;
    if (event->type == VCL_EV_CONN_OPENED) {
        connection_opened(client, c);
        return;
    }
    if (event->type == VCL_EV_CONN_CLOSED && c->opening) {
        c->opening = false;
        if (event->error == VCL_ERR_REFUSED)
            app->refusals++;
        application_fail(app, c, CLIENT, event->error);
    }
    application_on_event(app, c, CLIENT, event);
}

static void session_moved(struct client *client, uint64_t now)
{
    if (client->crash_at_us == NEVER || client->failover_us != 0 || client->sim->plant == PLANTED_SLOW_MOVE)
        return;
    client->failover_us = now - client->crash_at_us;
    if (client->failover_us > FAILOVER_US_MAX)
        verdict_fail(&client->sim->world.verdict, now, RULE_FAILOVER,
                     "c%u: a busy session took %llu us to leave a dead helper", client->index,
                     (unsigned long long)client->failover_us);
}

void client_expect_move(struct client *client, uint16_t helper_id)
{
    struct vcl_session_info info;
    if (!client->session)
        return;
    vcl_session_info(client->session, &info);
    if (info.state != VCL_PATH_ACTIVE || info.active_helper_id != helper_id)
        return;
    for (uint32_t i = 0; i < client->nb_connections; i++) {
        struct vcl_conn *conn = client->connections[i].end[CLIENT].conn;
        if (conn && !client->connections[i].opening && vcl_conn_unacked(conn) > 0)
            client->crash_at_us = client->sim->world.now_us;
    }
}

void client_check_move(const struct client *client)
{
    if (client->crash_at_us != NEVER && client->failover_us == 0)
        verdict_fail(&client->sim->world.verdict, client->sim->world.now_us, RULE_FAILOVER,
                     "c%u: a busy session never left a dead helper", client->index);
}

/* --- ranks ---------------------------------------------------------------------------------------------------- */
/* A bit for each connection that is open. */
static uint32_t open_connections(const struct client *client)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < client->nb_connections; i++) {
        const struct connection *c = &client->connections[i];
        if (c->end[CLIENT].conn && !c->opening && vcl_conn_error(c->end[CLIENT].conn) == 0)
            bits |= 1u << i;
    }
    return bits;
}

void client_change_ranks(struct client *client, struct rng *rng)
{
    struct simulation *sim = client->sim;
    for (uint8_t i = 0; i < client->peer.nb_paths; i++)
        if (client->peer.paths[i].helper_id != 0)
            client->peer.paths[i].rank = (uint8_t)rng_below(rng, RANK_MAX + 1);
    if (!client->session || client->engine.host->paused_until_us > sim->world.now_us)
        return;
    note(client, "path", "candidates have other ranks", 0, 0);
    if (sim->plant != PLANTED_OLD_RANKS)
        vcl_session_set_paths(client->session, engine_host_clock(&client->engine), client->peer.paths,
                              client->peer.nb_paths);
    client->ranks_witnesses = open_connections(client);
    world_host_poke(&sim->world, client->engine.host);
}

void client_check_ranks(struct client *client)
{
    struct vcl_session_info info;
    struct vcl_stats stats;
    uint8_t best = VCL_RANK_DIRECT, rank = VCL_RANK_DIRECT;
    if (client->ranks_witnesses == 0)
        return;
    vcl_session_info(client->session, &info);
    vcl_engine_stats(client->engine.engine, &stats);
    for (uint8_t i = 0; i < client->peer.nb_paths; i++) {
        const struct vcl_path *p = &client->peer.paths[i];
        best = p->rank < best ? p->rank : best;
        rank = p->helper_id == info.active_helper_id ? p->rank : rank;
    }
    if ((client->ranks_witnesses & open_connections(client)) == 0)
        return; /* nobody was there all the time */
    client->ranks_followed = stats.path_moves > 0;
    if (rank != best)
        verdict_fail(&client->sim->world.verdict, client->sim->world.now_us, RULE_RANKS,
                     "c%u: a busy session is on a path of rank %u; there is one of rank %u", client->index, rank, best);
    if (stats.path_moves > 1 || stats.ptos > 0)
        verdict_fail(&client->sim->world.verdict, client->sim->world.now_us, RULE_RANKS,
                     "c%u: a change of ranks cost %llu moves and %llu PTOs", client->index,
                     (unsigned long long)stats.path_moves, (unsigned long long)stats.ptos);
}

static void client_event(void *self, uint64_t now, const struct vcl_event *event)
{
    struct client *client = self;
    struct simulation *sim = client->sim;
    if (client->gone)
        return;
    switch (event->type) {
    case VCL_EV_TOKEN_WANTED:
        note(client, "token", "wanted", 0, 0);
        if (client->token_at_us == NEVER)
            client->token_at_us = now + sim->scenario.token_delay_us;
        break;
    case VCL_EV_PATH_SUSPECT:
        note(client, "path", "suspects", event->helper_id, event->epoch);
        break;
    case VCL_EV_PATH_MOVED:
        session_moved(client, now);
        note(client, "path", "moved to", event->helper_id, event->epoch);
        break;
    case VCL_EV_PATHS_WANTED:
        note(client, "path", "wants candidates", 0, event->epoch);
        vcl_session_set_paths(client->session, engine_host_clock(&client->engine), client->peer.paths,
                              client->peer.nb_paths);
        break;
    default:
        connection_event(client, event);
        break;
    }
}

static void token_renew(struct client *client)
{
    simulation_token(client->sim, client->index, false, &client->engine.random, client->peer.token,
                     client->peer.token_key);
    vcl_session_set_token(client->session, client->peer.token, client->peer.token_key);
    client->token_at_us = NEVER;
    note(client, "token", "renewed", 0, 0);
}

static uint64_t client_run(void *self, uint64_t now)
{
    struct client *client = self;
    if (!client->session && client->retry_at_us <= now)
        session_start(client);
    if (!client->session)
        return client->retry_at_us;
    if (client->token_at_us <= now)
        token_renew(client);
    uint64_t next = client->token_at_us;
    for (uint32_t i = 0; i < client->nb_connections; i++) {
        struct connection *c = &client->connections[i];
        struct end *end = &c->end[CLIENT];
        if (!c->asked && c->plan.open_at_us <= now)
            connection_open(client, c);
        if (end->conn && !c->opening && end->pump_at_us <= now)
            end->pump_at_us =
                application_pump(&client->sim->application, c, CLIENT, engine_host_clock(&client->engine));
        if (!c->asked)
            next = earliest(next, c->plan.open_at_us);
        else if (end->conn && !c->opening)
            next = earliest(next, end->pump_at_us);
    }
    checkers_client_session(client->sim, client->session);
    return next;
}

static void client_sent(void *self, uint64_t now, const struct vcl_datagram *out)
{
    struct client *client = self;
    if (client->session)
        learn_session(client);
    checkers_client_sent(client->sim, now, out);
}

static void client_received(void *self, uint64_t now, const struct datagram *in, int drop)
{
}

void client_init(struct client *client, struct simulation *sim, unsigned index, struct rng *rng)
{
    struct vcl_config config;
    struct rng stream = rng_split(rng, index), random = rng_split(&stream, 1);
    unsigned host = HOST_CLIENT + index;
    client->sim = sim;
    client->index = index;
    client->token_at_us = NEVER;
    client->crash_at_us = NEVER;
    client->peer.server_id = sim->identity.server_id;
    client->peer.shard = sim->identity.shard;
    client->peer.nb_paths = client_paths(sim, &stream, client->peer.paths);
    simulation_token(sim, index, sim->scenario.expired_tokens, &stream, client->peer.token, client->peer.token_key);
    simulation_engine_config(sim, &config, host, &stream);
    struct engine_user user = {client, client_event, client_run, client_sent, client_received};
    client->engine.clock_offset_us = sim->scenario.clock_offsets ? rng_log_between(&stream, 1, 1000000000000u) : 0;
    client->engine.reports_lag = sim->scenario.reports_lag;
    config.unix_offset_us -= (int64_t)client->engine.clock_offset_us;
    engine_host_init(&client->engine, &sim->world, host, (uint16_t)(PORT_CLIENT + index), &config, &user, random);
    client->engine.host->poll_us_max = sim->scenario.endpoint_poll_us_max;
}

void client_leave(struct client *client)
{
    if (!client->session)
        return;
    struct vcl_session_info info;
    vcl_session_info(client->session, &info);
    if (info.nb_conns > 0)
        return; /* checkers_farewell tells */
    vcl_session_free(client->session);
    client->session = NULL;
    client->retry_at_us = NEVER;
}

void client_end(struct client *client, bool in_order)
{
    struct application *app = &client->sim->application;
    if (client->gone)
        return;
    client->gone = true;
    client->session = NULL;
    client->retry_at_us = NEVER;
    for (uint32_t i = 0; i < client->nb_connections; i++) {
        struct connection *c = &client->connections[i];
        if (c->end[CLIENT].done && c->end[SERVER].done)
            continue;
        c->asked = c->abandoned = true; /* even if closed: the engine may still have had bytes to deliver */
        c->opening = false;
        if (c->end[CLIENT].done)
            continue;
        c->end[CLIENT].conn = NULL;
        c->end[CLIENT].done = true;
        app->nb_ends_done++;
    }
    trace_note(&app->world->trace, app->world->now_us, client->engine.host->number, "fault",
               in_order ? "process exits" : "process dies");
    if (in_order)
        engine_host_leave(&client->engine);
    else
        engine_host_stop(&client->engine);
    world_host_clear(app->world, client->engine.host);
}
