/* SPDX-License-Identifier: Apache-2.0
 *
 * A client engine, a server engine and a relay in one process under a script: deliver, lose, repeat, reorder and change
 * datagrams, make up others, act as the applications, let time pass, change paths, run out of memory.
 *
 * The first byte of the script says who forges. Somebody without keys: a changed datagram must be refused, what is read
 * must be a prefix of what was written, and on a network that works again everything arrives. Somebody with every key
 * (forge.h): the engines must merely survive, within their memory.
 */
#include <string.h>

#include "require.h"
#include "world.h"

enum {
    STEPS_MAX = 300,
    ROUNDS_MAX = 2000, /* of the network that works again at the end */
};
static const uint64_t SETTLE_US = 60000000, SLEEP_US_MAX = 100000000;

/* --- engines and time ----------------------------------------------------------------------- */
static void make_token(struct world *w, uint8_t token[PMW_TOKEN_BYTES])
{
    struct pmw_token t = {.key_id = 1,
                          .lifetime_s = 120,
                          .max_conns = 64,
                          .server_id = SERVER_ID,
                          .client_id = 5,
                          .service_id = SERVICE_ID};
    t.not_before = (uint32_t)((w->now + UNIX_OFFSET_US) / 1000000);
    pmw_token_encode(token, &t);
    pmw_token_mac(t.mac, K_SRV, token);
    pmw_token_encode(token, &t);
    pmw_token_key(w->forge.token_key, K_SRV, token);
}

static void renew_token(struct world *w)
{
    uint8_t token[PMW_TOKEN_BYTES];
    make_token(w, token);
    vcl_session_set_token(w->session, token, w->forge.token_key);
}

/* The agent drops a session that nobody uses, and makes another; that may fail for want of memory. */
static void replace_session(struct world *w)
{
    struct vcl_peer peer = {.server_id = SERVER_ID, .nb_paths = 2};
    struct vcl_session *fresh;
    for (unsigned i = 0; i < w->streams.nb[CLIENT]; i++) {
        if (w->streams.ends[CLIENT][i].conn != NULL)
            return;
    }
    make_token(w, peer.token);
    memcpy(peer.token_key, w->forge.token_key, sizeof(peer.token_key));
    memcpy(peer.paths, w->paths, peer.nb_paths * sizeof(w->paths[0]));
    if (vcl_session_new(w->client.engine, w->now, &peer, &fresh) != VCL_OK)
        return;
    if (w->session != NULL)
        vcl_session_free(w->session);
    w->session = fresh;
}

/* Events and datagrams until there are none. */
static void drain(struct world *w, struct endpoint *p)
{
    struct vcl_event event;
    struct vcl_datagram out;
    for (unsigned i = 0;; i++) {
        REQUIRE(i < 20000);
        if (vcl_engine_next_event(p->engine, &event)) {
            if (event.type == VCL_EV_TOKEN_WANTED)
                renew_token(w);
        } else if (vcl_engine_send(p->engine, w->now, &out)) {
            launch(w, &p->addr, &out.to, out.bytes, out.len);
        } else {
            return;
        }
    }
}

static void run_engine(struct world *w, struct endpoint *p)
{
    uint64_t due = vcl_engine_next_timer(p->engine);
    if (due <= w->now)
        vcl_engine_on_timer(p->engine, w->now, w->now - due);
    drain(w, p);
}

static void run(struct world *w)
{
    if (!w->relay_dead)
        relay_flush_due(w->relay, w->now);
    run_engine(w, &w->client);
    run_engine(w, &w->server);
}

/* To the next timer of either engine or the relay, but no further than until. */
static void sleep_until(struct world *w, uint64_t until)
{
    uint64_t next = until, client = vcl_engine_next_timer(w->client.engine),
             server = vcl_engine_next_timer(w->server.engine);
    uint64_t relay = w->relay_dead ? UINT64_MAX : relay_flush_due(w->relay, w->now);
    next = client < next ? client : next;
    next = server < next ? server : next;
    next = relay < next ? relay : next;
    w->now = next > w->now ? next : w->now;
}

/* --- steps ---------------------------------------------------------------------------------- */
static void network_step(struct world *w, struct input *in, uint8_t what)
{
    if (w->nb_flight == 0)
        return;
    uint8_t arg = take8(in);
    unsigned index = arg % w->nb_flight;
    switch (what) {
    case 0:
    case 1:
        for (unsigned i = 0; i <= arg % 8u && w->nb_flight > 0; i++)
            deliver(w, 0);
        break;
    case 2:
        deliver(w, index);
        break;
    case 3:
        lose(w, index);
        break;
    case 4:
        repeat(w, index);
        break;
    default:
        forge_copy(w, in, index);
    }
}

static void path_step(struct world *w, struct input *in)
{
    uint8_t what = take8(in);
    switch (what % 8) {
    case 0:
        w->relay_dead = what & 8;
        break;
    case 1:
        replace_session(w);
        break;
    case 2:
        vcl_session_hint(w->session, w->now, what & 8 ? HELPER_ID : 0, (enum vcl_hint)(1 + what / 16 % 3));
        break;
    case 3:
        vcl_session_set_paths(w->session, w->now, w->paths + (what >> 7), 1);
        break;
    case 4:
        w->paths[0].rank = what >> 4 & 3;
        w->paths[2].rank = what >> 6;
        vcl_session_set_paths(w->session, w->now, w->paths, what & 8 ? 3 : 2);
        break;
    case 5:
        renew_token(w);
        break;
    case 6:
        w->client.allocs_until_failure = what & 8 ? take8(in) : 0;
        break;
    default:
        w->server.allocs_until_failure = what & 8 ? take8(in) : 0;
    }
}

static void application_step(struct world *w, struct input *in, enum side side)
{
    uint8_t which = take8(in), what = take8(in);
    if (which >= 0xc0 && side == CLIENT)
        streams_open(&w->streams, w->session, w->now);
    else if (which >= 0xc0)
        streams_accept(&w->streams, w->server.engine);
    else
        streams_act(&w->streams, side, which, what, take16(in) % (2 * BUFFER_BYTES), w->now);
}

static void step(struct world *w, struct input *in)
{
    uint8_t what = take8(in) % 16;
    if (what <= 6) {
        network_step(w, in, what);
    } else if (what <= 9) {
        application_step(w, in, CLIENT);
    } else if (what <= 11) {
        application_step(w, in, SERVER);
    } else if (what == 12) {
        uint16_t us = take16(in);
        w->now += us & 0x8000 ? (uint64_t)(us & 0x7fff) * 50 : us; /* the long ones: a process that stood still */
    } else if (what == 13) {
        sleep_until(w, w->now + SLEEP_US_MAX);
    } else if (what == 14) {
        path_step(w, in);
    } else {
        make_up(w, in);
    }
    run(w);
}

/* Nothing is lost any more: what the applications wrote arrives, if their connections have survived. */
static void settle(struct world *w)
{
    uint64_t until = w->now + SETTLE_US;
    w->relay_dead = false;
    w->client.allocs_until_failure = w->server.allocs_until_failure = 0;
    vcl_session_set_paths(w->session, w->now, w->paths, 2);
    for (unsigned round = 0; round < ROUNDS_MAX && w->now < until; round++) {
        while (w->nb_flight > 0)
            deliver(w, 0);
        streams_accept(&w->streams, w->server.engine);
        streams_read_all(&w->streams, w->now);
        run(w);
        if (w->nb_flight == 0)
            sleep_until(w, until);
    }
    streams_require_delivered(&w->streams);
}

/* --- the world ------------------------------------------------------------------------------ */
static void world_new(struct world *w)
{
    struct vcl_config config;
    w->now = START_US;
    w->paths[0] = (struct vcl_path){.addr = RELAY_ADDR, .helper_id = HELPER_ID};
    w->paths[1] = (struct vcl_path){.addr = SERVER_ADDR};
    w->paths[2] = (struct vcl_path){.addr = ALIAS_ADDR, .helper_id = ALIAS_ID};
    w->forge.helper_id = HELPER_ID;
    w->forge.helper_incarnation = 1;
    memcpy(w->forge.k_srv, K_SRV, sizeof(K_SRV));
    memcpy(w->forge.trunk_secret, TRUNK_SECRET, sizeof(TRUNK_SECRET));
    vcl_config_defaults(&config);
    config.unix_offset_us = (int64_t)UNIX_OFFSET_US;
    endpoint_new(&w->client, &config, &CLIENT_ADDR);
    config.server_id = SERVER_ID;
    config.service_id = SERVICE_ID;
    config.incarnation = 1;
    config.nb_keys = 1;
    config.keys[0].key_id = 1;
    memcpy(config.keys[0].key, K_SRV, sizeof(K_SRV));
    memcpy(config.cid_key, CID_KEY, sizeof(CID_KEY));
    memcpy(config.trunk_secret, TRUNK_SECRET, sizeof(TRUNK_SECRET));
    endpoint_new(&w->server, &config, &SERVER_ADDR);
    relay_begin(w);
    replace_session(w);
    REQUIRE(w->session != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world;
    struct world *w = &world;
    struct input in = {data, data + size};
    memset(w, 0, sizeof(*w));
    w->faithful = w->streams.faithful = take8(&in) % 2 == 0;
    world_new(w);
    for (int i = 0; i < STEPS_MAX && in.at < in.end; i++)
        step(w, &in);
    if (w->faithful)
        settle(w);
    vcl_engine_shutdown(w->client.engine, w->now);
    run(w);
    endpoint_free(&w->client);
    endpoint_free(&w->server);
    relay_free(w->relay);
    while (w->nb_flight > 0)
        lose(w, 0);
    return 0;
}
