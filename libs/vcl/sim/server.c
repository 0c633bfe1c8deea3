/* SPDX-License-Identifier: Apache-2.0
 * The server process of the simulation: takes connections from the backlog, learns from their first bytes which ones
 * they are, and drives their ends. */
#include "simulation.h"

#include <assert.h>
#include <string.h>

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void fail(struct server *server, enum rule rule, const char *what, uint32_t number)
{
    verdict_fail(&server->sim->world.verdict, server->sim->world.now_us, rule, "k%u: %s", number, what);
}

/* The virtual connection that the server sees must be the one that the client opened. */
static void check_identity(struct server *server, const struct newcomer *n, const struct connection *c)
{
    const struct simulation *sim = server->sim;
    struct vcl_conn_info info;
    vcl_conn_info(n->conn, &info);
    if (c->cid == 0 || info.cid != c->cid)
        fail(server, RULE_I2, "the server's connection has another id than the client's", c->number);
    if (info.peer.port != c->client_port)
        fail(server, RULE_CONTRACT, "the server sees another virtual port than the client has", c->number);
    struct pmw_addr expected = host_addr(HOST_CLIENT + c->plan.client, sim->scenario.client_family, info.peer.port);
    if (sim->scenario.net.replay_ppm == 0 && !pmw_addr_equal(&info.peer, &expected))
        fail(server, RULE_CONTRACT, "the server sees another client address", c->number);
}

static void bind_newcomer(struct server *server, struct newcomer *n, uint32_t number)
{
    struct application *app = &server->sim->application;
    if (number >= app->nb_connections) {
        fail(server, RULE_I1, "no such connection was ever opened", number);
        return;
    }
    struct connection *c = &app->connections[number];
    if (c->accepted) {
        fail(server, RULE_I2, "the server was given this connection twice", number);
        return;
    }
    check_identity(server, n, c);
    c->accepted = true;
    n->connection = c;
    application_attach(app, c, SERVER, n->conn);
    application_check(app, c, SERVER, n->header, LEDGER_HEADER_BYTES);
    c->end[SERVER].read = LEDGER_HEADER_BYTES;
}

static void newcomer_release(struct newcomer *n, uint64_t local_now)
{
    vcl_conn_release(n->conn, local_now);
    n->conn = NULL;
}

static void read_header(struct server *server, struct newcomer *n, uint64_t local_now)
{
    while (n->conn && !n->connection && !n->read_blocked && server->sim->world.verdict.rule == RULE_NONE) {
        int64_t got = vcl_conn_read(n->conn, local_now, n->header + n->header_bytes,
                                    (size_t)(LEDGER_HEADER_BYTES - n->header_bytes), false);
        uint32_t number;
        if (got == -VCL_ERR_AGAIN) {
            n->read_blocked = true;
        } else if (got <= 0) {
            newcomer_release(n, local_now); /* the client aborted before it said who it is */
        } else {
            n->header_bytes = (uint8_t)(n->header_bytes + got);
            if (n->header_bytes < LEDGER_HEADER_BYTES)
                continue;
            if (ledger_header_parse(n->header, &number))
                bind_newcomer(server, n, number);
            else
                fail(server, RULE_I1, "the first bytes of a stream are no header", server->nb_newcomers);
        }
    }
}

static void newcomer_pump(struct server *server, struct newcomer *n, uint64_t local_now)
{
    n->pump_at_us = NEVER;
    read_header(server, n, local_now);
    if (!n->conn || !n->connection)
        return;
    struct end *end = &n->connection->end[SERVER];
    if (end->conn) {
        checkers_server_session(server->sim, n->connection, vcl_conn_session(end->conn));
        n->pump_at_us = application_pump(&server->sim->application, n->connection, SERVER, local_now);
    }
    n->conn = end->conn;
}

static void accept_one(struct server *server, uint64_t now)
{
    struct vcl_conn *conn = NULL;
    int rc = vcl_conn_accept(server->engine.engine, &conn);
    if (rc != VCL_OK) {
        server->accept_waits = false;
        if (rc != VCL_ERR_AGAIN && rc != -VCL_ERR_AGAIN)
            fail(server, RULE_CONTRACT, "vcl_conn_accept fails", (uint32_t)rc);
        return;
    }
    if (server->nb_newcomers == NEWCOMERS_MAX) {
        fail(server, RULE_CONTRACT, "more connections are accepted than clients ever opened", server->nb_newcomers);
        return;
    }
    struct newcomer *n = &server->newcomers[server->nb_newcomers++];
    *n = (struct newcomer){.conn = conn, .pump_at_us = now};
    vcl_conn_set_user(conn, n);
    if (server->closing)
        server_drop_newcomers(server);
    server->accept_at_us = now + server->sim->scenario.accept_gap_us;
}

static uint64_t server_run(void *self, uint64_t now)
{
    struct server *server = self;
    uint64_t next = NEVER, local_now = engine_host_clock(&server->engine);
    checkers_server_forgets(server->sim);
    while (server->accept_waits && server->accept_at_us <= now && server->sim->world.verdict.rule == RULE_NONE)
        accept_one(server, now);
    if (server->accept_waits)
        next = server->accept_at_us;
    for (uint32_t i = 0; i < server->nb_newcomers; i++) {
        struct newcomer *n = &server->newcomers[i];
        if (!n->conn)
            continue;
        if (n->pump_at_us <= now)
            newcomer_pump(server, n, local_now);
        if (n->conn)
            next = earliest(next, n->pump_at_us);
    }
    return next;
}

static void server_event(void *self, uint64_t now, const struct vcl_event *event)
{
    struct server *server = self;
    if (event->type == VCL_EV_CONN_ACCEPTED) {
        server->accept_waits = true;
        return;
    }
    struct newcomer *n = event->conn ? vcl_conn_user(event->conn) : NULL;
    if (!n)
        return; /* it still waits in the backlog: it will be looked at when it is accepted */
    if (n->conn != event->conn) {
        fail(server, RULE_CONTRACT, "event of a connection that was released",
             n->connection ? n->connection->number : 0);
        return;
    }
    n->pump_at_us = now;
    n->read_blocked = false;
    if (n->connection)
        application_on_event(&server->sim->application, n->connection, SERVER, event);
}

static void server_sent(void *self, uint64_t now, const struct vcl_datagram *out)
{
    struct server *server = self;
    checkers_server_sent(server->sim, now, out);
}

static void server_received(void *self, uint64_t now, const struct datagram *in, int drop)
{
    struct server *server = self;
    checkers_server_received(server->sim, now, in, drop);
}

static void server_config(const struct simulation *sim, struct vcl_config *config)
{
    const struct server_identity *id = &sim->identity;
    config->server_id = id->server_id;
    config->shard = id->shard;
    config->service_id = id->service_id;
    config->incarnation = id->incarnation;
    memcpy(config->cid_key, id->cid_key, sizeof config->cid_key);
    memcpy(config->trunk_secret, id->trunk_secret, sizeof config->trunk_secret);
    config->nb_keys = id->nb_keys;
    memcpy(config->keys, id->keys, sizeof id->keys);
}

void server_init(struct server *server, struct simulation *sim, struct rng *rng)
{
    struct vcl_config config;
    struct rng stream = rng_split(rng, HOST_SERVER), random = rng_split(&stream, 1);
    server->sim = sim;
    server->start_at_us = NEVER;
    server->engine.clock_offset_us = sim->scenario.clock_offsets ? rng_log_between(&stream, 1, 1000000000000u) : 0;
    server->engine.reports_lag = sim->scenario.reports_lag;
    simulation_engine_config(sim, &config, HOST_SERVER, &stream);
    config.unix_offset_us -= (int64_t)server->engine.clock_offset_us;
    server_config(sim, &config);
    struct engine_user user = {server, server_event, server_run, server_sent, server_received};
    engine_host_init(&server->engine, &sim->world, HOST_SERVER, PORT_SERVER, &config, &user, random);
    server->engine.host->poll_us_max = sim->scenario.endpoint_poll_us_max;
}

void server_crash(struct server *server, uint64_t start_at_us)
{
    checkers_server_restarts(&server->sim->checkers);
    struct application *app = &server->sim->application;
    trace_note(&app->world->trace, app->world->now_us, HOST_SERVER, "fault", "process dies");
    server->nb_crashes++;
    server->start_at_us = start_at_us;
    server->accept_waits = false;
    for (uint32_t i = 0; i < server->nb_newcomers; i++)
        server->newcomers[i].conn = NULL;
    for (uint32_t i = 0; i < app->nb_connections; i++) {
        struct connection *c = &app->connections[i];
        if (!c->asked) { /* its client would not find this server any more */
            c->asked = c->end[CLIENT].done = true;
            app->nb_ends_done++;
        }
        if (c->end[CLIENT].done && c->end[SERVER].done)
            continue;
        c->abandoned = true; /* even if closed here: the engine may still have had bytes to deliver */
        if (c->end[SERVER].done)
            continue;
        c->end[SERVER].done = true;
        c->end[SERVER].conn = NULL;
        app->nb_ends_done++;
    }
    engine_host_stop(&server->engine);
    world_host_clear(app->world, server->engine.host);
}

void server_start(struct server *server)
{
    struct vcl_config config = server->engine.config;
    server->start_at_us = NEVER;
    simulation_new_identity(server->sim);
    server_config(server->sim, &config);
    trace_note(&server->sim->world.trace, server->sim->world.now_us, HOST_SERVER, "fault",
               "another process starts, server %u", config.server_id);
    engine_host_start(&server->engine, &config);
}

void server_rotate_keys(struct server *server)
{
    struct server_identity *id = &server->sim->identity;
    id->keys[1] = id->keys[0];
    id->nb_keys = 2;
    id->keys[0].key_id++;
    rng_bytes(&server->sim->identity_rng, id->keys[0].key, sizeof id->keys[0].key);
    trace_note(&server->sim->world.trace, server->sim->world.now_us, HOST_SERVER, "fault", "keys rotate to %u",
               id->keys[0].key_id);
    server_config(server->sim, &server->engine.config); /* for an engine that waits for memory to be made */
    if (!server->engine.engine)
        return;
    int rc = vcl_engine_set_keys(server->engine.engine, id->keys, id->nb_keys);
    if (rc != VCL_OK)
        fail(server, RULE_CONTRACT, "vcl_engine_set_keys fails", (uint32_t)rc);
}

void server_drop_newcomers(struct server *server)
{
    uint64_t local_now = engine_host_clock(&server->engine);
    server->closing = true;
    for (uint32_t i = 0; i < server->nb_newcomers; i++) {
        struct newcomer *n = &server->newcomers[i];
        if (!n->conn)
            continue;
        vcl_conn_abort(n->conn, local_now);
        if (n->connection) {
            n->connection->end[SERVER].conn = NULL;
            n->connection->end[SERVER].done = true;
        }
        newcomer_release(n, local_now);
    }
    world_host_poke(&server->sim->world, server->engine.host);
}
