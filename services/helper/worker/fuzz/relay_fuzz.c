/* SPDX-License-Identifier: Apache-2.0
 *
 * A relay under a script of arbitrary and of nearly valid datagrams, orders of its supervisor, and time. Batches are
 * also sealed with the true keys, so that the code behind the tag is reached. Held at each step: one refused datagram
 * is one counted drop, batches that leave are well-formed and sealed, a client gets only PONG, BUSY and what a sealed
 * batch brought, no batch waits past its time, and every buffer comes back.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "relay.h"
#include "require.h"

enum { SERVERS = 3, CLIENTS = 4, FLOWS_MAX = 16, TRUNK_BYTES = 1440, STEPS_MAX = 400 };

static const uint8_t CID_KEY[16] = "a fuzzer's cid";

struct world {
    struct relay *relay;
    uint64_t now, batch_seq;
    struct relay_server servers[SERVERS];
    long buffers_out; /* given to the relay and neither sent nor released */
    bool exhausted, in_trunk_datagram;
};

/* --- the sink ------------------------------------------------------------------------------- */
static uint8_t *sink_alloc(void *ctx, size_t cap)
{
    struct world *w = ctx;
    REQUIRE(cap > 0 && cap <= PMW_TRUNK_BYTES_MAX);
    if (w->exhausted)
        return NULL;
    w->buffers_out++;
    return malloc(cap);
}

static void sink_release(void *ctx, uint8_t *buf)
{
    ((struct world *)ctx)->buffers_out--;
    free(buf);
}

static void require_batch(const struct world *w, const uint8_t *buf, size_t len, const struct pmw_addr *to)
{
    struct pmw_trunk h;
    struct pmw_any_entry e;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    unsigned nb = 0;
    const struct relay_server *s = NULL;
    for (unsigned i = 0; i < SERVERS; i++)
        s = pmw_addr_equal(to, &w->servers[i].addr) ? &w->servers[i] : s;
    REQUIRE(s != NULL && len <= TRUNK_BYTES);
    REQUIRE(pmw_trunk_check(buf, len, s->trunk_key_to_server, 0));
    REQUIRE(pmw_trunk_decode(buf, len, &h) == 0);
    for (; pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &e) == 1; nb++)
        REQUIRE(e.kind >= PMW_ENTRY_SHORT || pmw_type_of(e.as_long.frame, e.as_long.frame_len) >= 0);
    REQUIRE(at == len - PMW_TRUNK_TAG_BYTES && nb == h.nb_entries);
}

static void sink_send(void *ctx, uint8_t *buf, size_t len, const struct pmw_addr *to, bool to_server)
{
    struct world *w = ctx;
    if (to_server)
        require_batch(w, buf, len, to);
    else
        REQUIRE(w->in_trunk_datagram || pmw_type_of(buf, len) == PMW_PONG || pmw_type_of(buf, len) == PMW_BUSY);
    sink_release(ctx, buf);
}

/* --- valid traffic -------------------------------------------------------------------------- */
static struct pmw_addr client_addr(uint8_t n)
{
    struct pmw_addr a = {.ip = {198, 18, 0, (uint8_t)(n % CLIENTS)}, .port = 4000, .family = n % 2 ? 4 : 6};
    return a;
}

static size_t connection_frame(struct input *in, uint8_t kind, const struct relay_server *s, uint8_t *buf)
{
    static const uint8_t payload[PMW_PAYLOAD_BYTES_BASE];
    const struct pmw_cid route = {.server_id = s->server_id, .shard = s->shard, .slot = take8(in), .generation = 1};
    uint64_t cid = pmw_cid_seal(&route, CID_KEY);
    if (kind == PMW_RESET) {
        struct pmw_reset f = {.cid = cid, .epoch = 1};
        return (size_t)pmw_reset_encode(buf, PMW_FRAME_BYTES_BASE, &f);
    }
    struct pmw_frame f = {.type = kind, .flags = PMW_F_CHECK, .cid = cid};
    if (kind == PMW_DATA) {
        f.flags |= take8(in) & (PMW_F_URGENT | PMW_F_RESEND | PMW_F_FIN);
        f.payload_len = take16(in) % (PMW_PAYLOAD_BYTES_BASE + 1);
    }
    if (take8(in) & 1) {
        f.flags = (f.flags & PMW_FLAGS_SHORT) | PMW_F_SHORT;
        f.window = PMW_WINDOW_SILENT;
    }
    return (size_t)pmw_frame_encode(buf, PMW_FRAME_BYTES_BASE, &f, payload);
}

/* Whatever an endpoint may send; its check and MAC are not the helper's business. */
static size_t valid_frame(struct input *in, const struct world *w, uint8_t *buf)
{
    static const uint8_t types[] = {PMW_DATA,       PMW_ACK,   PMW_OPEN,  PMW_OPEN_ACK, PMW_RESUME,
                                    PMW_RESUME_ACK, PMW_PROBE, PMW_RESET, PMW_ECHO,     PMW_REFUSED};
    const struct relay_server *s = &w->servers[take8(in) % SERVERS];
    uint8_t type = types[take8(in) % sizeof(types)];
    int len = 0;
    if (type == PMW_OPEN) {
        struct pmw_open f = {.session_id = take8(in), .server_id = s->server_id, .shard = s->shard, .epoch = 1};
        len = pmw_open_encode(buf, PMW_FRAME_BYTES_BASE, &f);
    } else if (type == PMW_RESUME) {
        struct pmw_resume f = {.session_id = take8(in), .server_id = s->server_id, .shard = s->shard, .epoch = 2};
        f.nb_conns = take8(in) % (PMW_RESUME_CONNS_MAX + 1);
        len = pmw_resume_encode(buf, PMW_FRAME_BYTES_BASE, &f);
    } else if (type == PMW_PROBE || type == PMW_ECHO) {
        struct pmw_probe f = {.session_id = take8(in),
                              .server_id = s->server_id,
                              .shard = s->shard,
                              .epoch = 1,
                              .bytes = PMW_PROBE_BYTES};
        len = pmw_probe_encode(buf, PMW_FRAME_BYTES_BASE, type, &f);
    } else if (type == PMW_OPEN_ACK) {
        struct pmw_open_ack f = {.session_id = take8(in), .epoch = 1};
        len = pmw_open_ack_encode(buf, PMW_FRAME_BYTES_BASE, &f);
    } else if (type == PMW_RESUME_ACK) {
        struct pmw_resume_ack f = {.session_id = take8(in), .epoch = 1};
        len = pmw_resume_ack_encode(buf, PMW_FRAME_BYTES_BASE, &f);
    } else if (type == PMW_REFUSED) {
        struct pmw_refused f = {.session_id = take8(in), .epoch = 1};
        len = pmw_refused_encode(buf, PMW_FRAME_BYTES_BASE, &f);
    } else {
        return connection_frame(in, type, s, buf);
    }
    REQUIRE(len > 0);
    return (size_t)len;
}

/* Bindings are those that the relay may have made: it gives small indexes first. */
static int any_entry(struct input *in, const struct world *w, uint8_t *buf, size_t cap)
{
    static const uint8_t payload[UINT8_MAX + PMW_SEAL_BYTES];
    static const enum pmw_entry_kind refs[] = {PMW_ENTRY_BIND_ACK, PMW_ENTRY_BIND_ERR, PMW_ENTRY_UNBIND};
    uint8_t frame[PMW_FRAME_BYTES_BASE], kind = take8(in), index = take8(in) % 4;
    if (kind % 8 == 0) {
        struct pmw_nack n = {.first = take8(in), .count = 1 + index};
        return pmw_nack_encode(buf, cap, &n);
    }
    if (kind % 8 <= 2) {
        struct pmw_bind_ref ref = {.index = index, .generation = take8(in) % 4};
        return pmw_bind_ref_encode(buf, cap, refs[kind % 3], &ref);
    }
    if (kind % 8 <= 4) {
        struct pmw_short e = {.index = index, .generation = take8(in) % 4, .sealed = kind & 0x10, .payload = payload};
        e.is_ack = kind & 0x20;
        e.payload_len = e.is_ack ? 0 : take8(in);
        return pmw_short_encode(buf, cap, &e);
    }
    struct pmw_entry e = {.client = client_addr(take8(in)), .frame = frame};
    e.frame_len = (uint16_t)valid_frame(in, w, frame);
    return pmw_entry_encode(buf, cap, &e);
}

/* Header, then entries with valid frames or, by the script, any bytes at all. Not sealed. */
static size_t server_batch(struct input *in, struct world *w, uint8_t *buf)
{
    uint8_t shape = take8(in);
    struct pmw_trunk h = {.incarnation = 1 + (shape >> 7), .shard = 0};
    size_t end = TRUNK_BYTES - PMW_TRUNK_TAG_BYTES, at = PMW_TRUNK_HEADER_BYTES;
    w->batch_seq += take8(in) % 4; /* 0: the same again */
    h.batch_seq = (uint32_t)w->batch_seq;
    if (shape & 8) {
        h.flags = PMW_TRUNK_ACKS | PMW_TRUNK_CREDIT;
        h.ack_batch = take8(in);
        h.ack_bits = take16(in);
        h.credit = take8(in);
    }
    for (unsigned i = 0; i < (shape & 7u); i++) {
        int len = any_entry(in, w, buf + at, end - at);
        if (len < 0)
            break;
        at += (size_t)len;
        h.nb_entries++;
    }
    pmw_trunk_encode(buf, TRUNK_BYTES, &h);
    if (shape & 0x40)
        at += take_bytes(in, buf + at, end - at);
    memset(buf + at, 0, PMW_TRUNK_TAG_BYTES);
    return at + PMW_TRUNK_TAG_BYTES;
}

/* --- steps ---------------------------------------------------------------------------------- */
static uint64_t drops_of(const struct relay *r)
{
    struct relay_stats stats;
    uint64_t sum = 0;
    relay_stats_get(r, &stats);
    for (int i = 0; i < RELAY_DROP_COUNT; i++)
        sum += stats.drops[i];
    REQUIRE(stats.nb_flows <= FLOWS_MAX && stats.nb_servers <= SERVERS);
    return sum;
}

/* The datagram is copied to its exact size, so that the sanitizer sees an over-read. */
static void deliver(struct world *w, bool trunk, const struct pmw_addr *from, const uint8_t *buf, size_t len)
{
    uint64_t before = drops_of(w->relay);
    uint8_t *exact = malloc(len > 0 ? len : 1);
    if (len > 0)
        memcpy(exact, buf, len);
    w->in_trunk_datagram = trunk;
    int rc = trunk ? relay_trunk_datagram(w->relay, w->now, from, exact, len, false)
                   : relay_client_datagram(w->relay, w->now, from, exact, len);
    w->in_trunk_datagram = false;
    free(exact);
    REQUIRE(rc >= RELAY_DROP_NONE && rc < RELAY_DROP_COUNT);
    uint64_t dropped = drops_of(w->relay) - before;
    REQUIRE((rc != RELAY_DROP_NONE) == (dropped > 0));
    REQUIRE(dropped <= 1 || trunk); /* each entry of a batch needs a buffer, or a binding */
}

static void client_step(struct world *w, struct input *in, bool valid)
{
    uint8_t buf[PMW_TRUNK_BYTES_MAX];
    struct pmw_addr from = client_addr(take8(in));
    size_t len = valid ? valid_frame(in, w, buf) : take_bytes(in, buf, sizeof(buf));
    if (valid)
        len = take_mutation(in, buf, len, sizeof(buf));
    deliver(w, false, &from, buf, len);
}

static void trunk_step(struct world *w, struct input *in, bool valid)
{
    uint8_t buf[PMW_TRUNK_BYTES_MAX], who = take8(in);
    const struct relay_server *s = &w->servers[who % SERVERS];
    size_t len = valid ? server_batch(in, w, buf) : take_bytes(in, buf, sizeof(buf));
    if (valid)
        len = take_mutation(in, buf, len, sizeof(buf));
    if (who & 0x80 && len >= PMW_TRUNK_BYTES_MIN) /* what was changed before this is an authentic server's fault */
        pmw_trunk_seal(buf, len, s->trunk_key_to_helper, (uint32_t)(w->batch_seq >> 32));
    deliver(w, true, &s->addr, buf, len);
}

static void time_step(struct world *w, struct input *in)
{
    uint16_t us = take16(in);
    w->now += us & 0x8000 ? (uint64_t)(us & 0x7fff) * 1000 : us;
    uint64_t due = relay_flush_due(w->relay, w->now);
    REQUIRE(due > w->now);
    relay_age(w->relay, w->now);
}

static void order_step(struct world *w, struct input *in)
{
    uint8_t order = take8(in);
    const struct relay_server *s = &w->servers[order % SERVERS];
    switch (order >> 6) {
    case 0:
        REQUIRE(relay_server_set(w->relay, s) == 0);
        break;
    case 1:
        relay_server_remove(w->relay, s->server_id);
        break;
    case 2:
        relay_set_draining(w->relay, order & 1);
        break;
    default:
        w->exhausted = order & 1;
    }
}

static void *zeroed(size_t size)
{
    return calloc(1, size);
}

static void world_new(struct world *w)
{
    struct relay_config config = {
        .helper_id = 3,
        .worker = 1,
        .incarnation = 9,
        .flows_max = FLOWS_MAX,
        .servers_max = SERVERS,
        .flow_idle_us = 1000000,
        .trunk_bytes_max = TRUNK_BYTES,
        .hold_us_max = 100,
        .batch_entries_max = 8,
        .sink = {.ctx = w, .alloc = sink_alloc, .send = sink_send, .release = sink_release},
        .alloc = zeroed,
        .free = free,
    };
    memcpy(config.cid_key, CID_KEY, sizeof(config.cid_key));
    for (uint8_t i = 0; i < SERVERS; i++) {
        struct relay_server *s = &w->servers[i];
        *s = (struct relay_server){.server_id = 40, .shard = i};
        s->addr = (struct pmw_addr){.ip = {198, 18, 1, i}, .port = 9000, .family = 4};
        s->trunk_key_to_server[0] = i;
        s->trunk_key_to_helper[1] = i;
    }
    REQUIRE(relay_new(&w->relay, &config) == 0);
    REQUIRE(relay_server_set(w->relay, &w->servers[0]) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.now = 1};
    struct input in = {data, data + size};
    world_new(&w);
    for (int step = 0; in.at < in.end && step < STEPS_MAX; step++) {
        uint8_t what = take8(&in) % 8;
        if (what <= 2)
            client_step(&w, &in, what > 0);
        else if (what <= 5)
            trunk_step(&w, &in, what > 3);
        else if (what == 6)
            time_step(&w, &in);
        else
            order_step(&w, &in);
    }
    relay_free(w.relay);
    REQUIRE(w.buffers_out == 0);
    return 0;
}
