/* SPDX-License-Identifier: Apache-2.0
 * The stage: its processes and its time: see stage.h. (Applications: stage_app.c; the network's rules: stage_net.c.) */
#include "stage.h"

#include "stage_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNIX_START_S = 1700000000,
    TOKEN_LIFETIME_S = 600,
    DELAY_US = 50,
    STREAMS_MAX = 256,
    RECEIVE_QUEUE_MAX = 1024,
};

static void check_verdict(struct stage *s)
{
    if (s->world.verdict.rule != RULE_NONE)
        fail_msg("at %" PRIu64 " us: %s: %s", s->world.verdict.at_us, rule_name(s->world.verdict.rule),
                 s->world.verdict.text);
}

/* --- what engines say ---------------------------------------------------------------------------------------- */
static struct stream *stream_of_cid(struct stage *s, uint64_t cid)
{
    for (uint32_t i = 0; i < s->nb_streams; i++)
        if (s->streams[i].cid == cid)
            return &s->streams[i];
    return NULL;
}

/* The client may hear of a connection later than the server: its first bytes are read then. */
static void server_accept(struct stage *s)
{
    struct vcl_conn *conn;
    struct vcl_conn_info info;
    while (s->server.engine.engine && vcl_conn_accept(s->server.engine.engine, &conn) == VCL_OK) {
        vcl_conn_info(conn, &info);
        assert_true(s->nb_accepted < s->options.streams_max);
        s->accepted[s->nb_accepted++] = (struct accepted){conn, info.cid};
    }
    for (uint32_t i = 0; i < s->nb_accepted;) {
        struct stream *k = stream_of_cid(s, s->accepted[i].cid);
        if (k) {
            if (k->conn[SERVER])
                verdict_fail(&s->world.verdict, s->world.now_us, RULE_I2, "stream %u: accepted twice", k->number);
            k->conn[SERVER] = s->accepted[i].conn;
            vcl_conn_set_user(k->conn[SERVER], k);
            s->accepted[i] = s->accepted[--s->nb_accepted];
        } else {
            i++;
        }
    }
}

static void on_event(void *self, uint64_t now, const struct vcl_event *event)
{
    struct actor *a = self;
    a->events[event->type]++;
    if (event->type == VCL_EV_PATH_MOVED) {
        a->last_move = *event;
        a->moved_at_us = now;
    }
    struct stream *k = event->conn ? vcl_conn_user(event->conn) : NULL;
    if (!k)
        return;
    enum side side = a->client < 0 ? SERVER : CLIENT;
    if (event->type == VCL_EV_CONN_OPENED) {
        struct vcl_conn_info info;
        vcl_conn_info(event->conn, &info);
        k->cid = info.cid;
        k->opened = true;
        trace_name(&a->stage->world.trace, k->cid, k->number);
        stage_poke(&a->stage->server);
    } else if (event->type == VCL_EV_CONN_CLOSED) {
        stage_pump_read(a->stage, k, side, stage_clock(a));
        k->closed[side] = true;
        k->error[side] = event->error;
        k->closed_at_us[side] = now;
    }
    stage_pump(a->stage, k, side);
}

static uint64_t on_run(void *self, uint64_t now)
{
    struct actor *a = self;
    enum side side = a->client < 0 ? SERVER : CLIENT;
    if (side == SERVER)
        server_accept(a->stage);
    /* Events pump the stream that they are about; the rest waits for a poke of the script. */
    if (a->pump_all)
        for (uint32_t i = 0; i < a->stage->nb_streams; i++)
            if (side == SERVER || a->stage->streams[i].client == (unsigned)a->client)
                stage_pump(a->stage, &a->stage->streams[i], side);
    a->pump_all = false;
    return NEVER;
}

static void on_sent(void *self, uint64_t now, const struct vcl_datagram *out)
{
}

static void on_received(void *self, uint64_t now, const struct datagram *in, int drop)
{
}

/* --- processes ------------------------------------------------------------------------------------------------ */
void stage_token(struct stage *s, unsigned client, uint8_t token[PMW_TOKEN_BYTES], uint8_t key[PMW_KEY_BYTES])
{
    struct pmw_token t = {.key_id = s->identity.key.key_id,
                          .lifetime_s = TOKEN_LIFETIME_S,
                          .max_conns = UINT16_MAX,
                          .server_id = s->identity.known.server_id,
                          .client_id = client + 1,
                          .service_id = s->identity.service_id,
                          .not_before = UNIX_START_S};
    rng_bytes(&s->rng, t.random, sizeof t.random);
    pmw_token_encode(token, &t);
    pmw_token_mac(t.mac, s->identity.key.key, token);
    pmw_token_encode(token, &t);
    pmw_token_key(key, s->identity.key.key, token);
}

static void new_identity(struct stage *s)
{
    struct helper_server *known = &s->identity.known;
    known->server_id++;
    s->identity.key.key_id++;
    rng_bytes(&s->rng, known->trunk_secret, sizeof known->trunk_secret);
    rng_bytes(&s->rng, s->identity.key.key, sizeof s->identity.key.key);
}

static void configure(struct stage *s, struct vcl_config *config, int client)
{
    vcl_config_defaults(config);
    config->unix_offset_us = (int64_t)UNIX_START_S * 1000000;
    if (client < 0) {
        const struct helper_server *known = &s->identity.known;
        config->server_id = known->server_id;
        config->shard = known->shard;
        config->service_id = s->identity.service_id;
        config->incarnation = known->server_id;
        memcpy(config->cid_key, known->cid_key, sizeof config->cid_key);
        memcpy(config->trunk_secret, known->trunk_secret, sizeof config->trunk_secret);
        config->nb_keys = 1;
        config->keys[0] = s->identity.key;
    }
    if (s->options.configure)
        s->options.configure(config, client);
}

static void actor_new(struct stage *s, struct actor *a, int client)
{
    struct vcl_config config;
    struct engine_user user = {a, on_event, on_run, on_sent, on_received};
    unsigned host = client < 0 ? HOST_SERVER : HOST_CLIENT + (unsigned)client;
    a->stage = s;
    a->client = client;
    configure(s, &config, client);
    a->engine.reports_lag = true;
    engine_host_init(&a->engine, &s->world, host, client < 0 ? PORT_SERVER : (uint16_t)(PORT_CLIENT + client), &config,
                     &user, rng_split(&s->rng, host));
    a->engine.host->receive_queue_max = s->options.receive_queue_max;
}

static void session_start(struct stage *s, struct actor *a)
{
    struct vcl_peer *peer = &a->peer;
    peer->server_id = s->identity.known.server_id;
    peer->shard = s->identity.known.shard;
    peer->nb_paths = 0;
    for (unsigned i = 0; i < s->options.nb_helpers; i++)
        peer->paths[peer->nb_paths++] = (struct vcl_path){.addr = host_addr(HOST_HELPER + i, 4, PORT_HELPER_CLIENTS),
                                                          .helper_id = stage_helper_id(i),
                                                          .rank = s->options.ranks[i]};
    if (!s->options.no_direct)
        peer->paths[peer->nb_paths++] =
            (struct vcl_path){.addr = host_addr(HOST_SERVER, 4, PORT_SERVER), .rank = VCL_RANK_DIRECT};
    stage_token(s, (unsigned)a->client, peer->token, peer->token_key);
    assert_int_equal(VCL_OK, vcl_session_new(a->engine.engine, stage_clock(a), peer, &a->session));
}

struct stage *stage_new(const struct stage_options *options)
{
    struct stage *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->options = *options;
    struct stage_options *o = &s->options;
    o->nb_clients = o->nb_clients ? o->nb_clients : 1;
    o->streams_max = o->streams_max ? o->streams_max : STREAMS_MAX;
    o->receive_queue_max = o->receive_queue_max ? o->receive_queue_max : RECEIVE_QUEUE_MAX;
    o->delay_us = o->delay_us ? o->delay_us : DELAY_US;
    s->streams = calloc(o->streams_max, sizeof *s->streams);
    s->accepted = calloc(o->streams_max, sizeof *s->accepted);
    rng_seed(&s->rng, STAGE_SEED, 0);
    trace_init(&s->world.trace, false);
    s->world.rng = rng_split(&s->rng, 1);
    stage_net_init(s);
    s->identity.known.server_id = 7;
    s->identity.service_id = STAGE_SEED;
    rng_bytes(&s->rng, s->identity.known.cid_key, sizeof s->identity.known.cid_key);
    new_identity(s);
    struct helper_options helper = {.hold_us_max = 20,
                                    .trunk_bytes_max = 1440,
                                    .batch_entries_max = PMW_TRUNK_ENTRIES_MAX,
                                    .flows_max = 1024,
                                    .flow_idle_us = 30000000,
                                    .trunk_family = 4};
    if (o->configure_helper)
        o->configure_helper(&helper);
    actor_new(s, &s->server, -1);
    for (unsigned i = 0; i < o->nb_helpers; i++) {
        helper_host_init(&s->helpers[i], &s->world, HOST_HELPER + i, &helper, &s->identity.known,
                         rng_split(&s->rng, 100 + i));
        s->helpers[i].host->receive_queue_max = o->receive_queue_max;
    }
    for (int i = 0; i < o->nb_clients; i++)
        actor_new(s, &s->clients[i], i);
    stage_run(s, 1); /* hosts come up */
    for (int i = 0; i < o->nb_clients; i++)
        session_start(s, &s->clients[i]);
    return s;
}

void stage_free(struct stage *s)
{
    check_verdict(s);
    engine_host_stop(&s->server.engine);
    for (int i = 0; i < s->options.nb_clients; i++)
        engine_host_stop(&s->clients[i].engine);
    for (unsigned i = 0; i < s->options.nb_helpers; i++)
        helper_host_free(&s->helpers[i]);
    check_verdict(s);
    stage_net_free(s);
    world_free(&s->world);
    free(s->accepted);
    free(s->streams);
    free(s);
}

void stage_server_restart(struct stage *s)
{
    struct vcl_config config;
    new_identity(s);
    configure(s, &config, -1);
    engine_host_start(&s->server.engine, &config);
    for (unsigned i = 0; i < s->options.nb_helpers; i++)
        helper_host_set_server(&s->helpers[i], &s->identity.known, 0);
}

/* --- time ------------------------------------------------------------------------------------------------------ */
void stage_run(struct stage *s, uint64_t us)
{
    uint64_t end = s->world.now_us + us;
    while (s->world.verdict.rule == RULE_NONE && world_step(&s->world, end))
        continue;
    check_verdict(s);
}

uint64_t stage_until(struct stage *s, bool (*done)(struct stage *s, void *ctx), void *ctx, uint64_t limit_us,
                     const char *what)
{
    uint64_t start = s->world.now_us;
    while (!done(s, ctx)) {
        bool stepped = world_step(&s->world, start + limit_us);
        check_verdict(s);
        if (!stepped && !done(s, ctx))
            fail_msg("not within %" PRIu64 " us: %s", limit_us, what);
    }
    return s->world.now_us - start;
}

static bool all_read(struct stage *s, void *ctx)
{
    for (uint32_t i = 0; i < s->nb_streams; i++) {
        const struct stream *k = &s->streams[i];
        if (k->abandoned)
            continue;
        for (int side = 0; side < SIDES; side++) {
            int peer = side_peer((enum side)side);
            if (k->read[peer] < k->to_write[side] || (k->fin[side] && !k->eof[peer]))
                return false;
        }
        if (k->reply_bytes > 0)
            return false;
    }
    return true;
}

uint64_t stage_settle(struct stage *s, uint64_t limit_us)
{
    return stage_until(s, all_read, NULL, limit_us, "all that was sent is read (I4)");
}

void stage_trace(struct stage *s)
{
    s->world.trace.print = true;
}
