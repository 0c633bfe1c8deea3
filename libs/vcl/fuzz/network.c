/* SPDX-License-Identifier: Apache-2.0
 *
 * Datagrams under way, the relay between the engines, and those who change datagrams or make them up.
 */
#include <stdlib.h>
#include <string.h>

#include "require.h"
#include "state.h"
#include "world.h"

/* What has been under way for longer is lost: otherwise round trips of a minute would be measured, and be true. */
static const uint64_t LIFETIME_US = 1000000;

void launch(struct world *w, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *buf, size_t len)
{
    REQUIRE(len > 0 && len <= PMW_FRAME_BYTES_MAX);
    if (w->nb_flight == FLIGHT_MAX)
        return;
    struct flight *f = malloc(sizeof(*f) + len);
    f->sent_at = w->now;
    f->from = *from;
    f->to = *to;
    f->len = len;
    memcpy(f->bytes, buf, len);
    w->flight[w->nb_flight++] = f;
}

static uint8_t *relay_buffer(void *ctx, size_t cap)
{
    return malloc(cap);
}

static void relay_release(void *ctx, uint8_t *buf)
{
    free(buf);
}

static void relay_send(void *ctx, uint8_t *buf, size_t len, const struct pmw_addr *to, bool to_server)
{
    launch(ctx, to_server ? &RELAY_TRUNK_ADDR : &RELAY_ADDR, to, buf, len);
    free(buf);
}

static void *zeroed(size_t size)
{
    return calloc(1, size);
}

void relay_begin(struct world *w)
{
    struct relay_config config = {
        .helper_id = HELPER_ID,
        .incarnation = 1,
        .flows_max = 16,
        .servers_max = 2,
        .flow_idle_us = 1000000,
        .trunk_bytes_max = 1440,
        .hold_us_max = 100,
        .batch_entries_max = PMW_TRUNK_ENTRIES_MAX,
        .sink = {.ctx = w, .alloc = relay_buffer, .send = relay_send, .release = relay_release},
        .alloc = zeroed,
        .free = free,
    };
    struct relay_server s = {.server_id = SERVER_ID, .addr = SERVER_ADDR};
    struct pmw_trunk_keys keys;
    memcpy(config.cid_key, CID_KEY, sizeof(CID_KEY));
    pmw_trunk_keys_derive(&keys, TRUNK_SECRET, HELPER_ID, config.incarnation);
    memcpy(s.trunk_key_to_server, keys.to_server, 16);
    memcpy(s.trunk_key_to_helper, keys.to_helper, 16);
    REQUIRE(relay_new(&w->relay, &config) == 0 && relay_server_set(w->relay, &s) == 0);
}

static bool is_relay(const struct pmw_addr *a) /* its side towards clients */
{
    return pmw_addr_equal(a, &RELAY_ADDR) || pmw_addr_equal(a, &ALIAS_ADDR);
}

/* --- what no datagram may do to the sessions of an engine */
struct session_view {
    const struct vcl_session *session;
    uint64_t id;
    uint32_t epoch;
    struct pmw_addr addr;
};
struct engine_view {
    struct session_view of[8]; /* sessions_max of endpoint.c */
    unsigned nb;
};

static struct engine_view look_at(struct vcl_engine *e)
{
    struct engine_view v = {.nb = 0};
    struct list *n, *tmp;
    list_each(n, tmp, &e->all_sessions)
    {
        struct vcl_session *s = container_of(n, struct vcl_session, all);
        REQUIRE(v.nb < sizeof(v.of) / sizeof(v.of[0]));
        v.of[v.nb++] = (struct session_view){s, s->id, s->epoch, s->route.addr};
    }
    return v;
}

/* I3: epochs never go back. I7: what was refused moved nothing. */
static void require_kept(struct vcl_engine *e, const struct engine_view *before, bool refused)
{
    struct engine_view after = look_at(e);
    for (unsigned i = 0; i < after.nb; i++) {
        for (unsigned k = 0; k < before->nb; k++) {
            const struct session_view *a = &after.of[i], *b = &before->of[k];
            if (a->session != b->session || a->id != b->id)
                continue;
            REQUIRE(a->epoch >= b->epoch);
            REQUIRE(!refused || (a->epoch == b->epoch && pmw_addr_equal(&a->addr, &b->addr)));
        }
    }
}

static int engine_receive(struct world *w, struct vcl_engine *e, const struct pmw_addr *from, const uint8_t *buf,
                          size_t len)
{
    struct engine_view before = look_at(e);
    int rc = vcl_engine_receive(e, w->now, from, buf, len);
    /* A batch may hold good entries beside the one that it reports. */
    require_kept(e, &before, rc != 0 && pmw_type_of(buf, len) != PMW_TRUNK);
    return rc;
}

/* Returns what the receiver said: 0 or a drop reason; -1 when nobody is there. */
static int arrive(struct world *w, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *buf,
                  size_t len)
{
    int rc = -1;
    uint8_t *exact = malloc(len > 0 ? len : 1); /* so that the sanitizer sees an over-read */
    if (len > 0)
        memcpy(exact, buf, len);
    if (pmw_addr_equal(to, &CLIENT_ADDR))
        rc = engine_receive(w, w->client.engine, from, exact, len);
    else if (pmw_addr_equal(to, &SERVER_ADDR))
        rc = engine_receive(w, w->server.engine, from, exact, len);
    else if (is_relay(to) && !w->relay_dead)
        relay_client_datagram(w->relay, w->now, from, exact, len);
    else if (pmw_addr_equal(to, &RELAY_TRUNK_ADDR) && !w->relay_dead)
        relay_trunk_datagram(w->relay, w->now, from, exact, len, len % 16 == 0);
    free(exact);
    REQUIRE(rc >= -1 && rc < VCL_DROP_COUNT);
    return rc;
}

static struct flight *take_flight(struct world *w, unsigned index)
{
    struct flight *f = w->flight[index];
    memmove(&w->flight[index], &w->flight[index + 1], (--w->nb_flight - index) * sizeof(w->flight[0]));
    forge_observe(&w->forge, f->bytes, f->len);
    return f;
}

static bool is_expired(const struct world *w, const struct flight *f)
{
    return w->now - f->sent_at > LIFETIME_US;
}

void deliver(struct world *w, unsigned index)
{
    struct flight *f = take_flight(w, index);
    if (!is_expired(w, f))
        arrive(w, &f->from, &f->to, f->bytes, f->len);
    free(f);
}

void lose(struct world *w, unsigned index)
{
    free(take_flight(w, index));
}

void repeat(struct world *w, unsigned index)
{
    const struct flight *f = w->flight[index];
    if (!is_expired(w, f))
        arrive(w, &f->from, &f->to, f->bytes, f->len);
}

/* URGENT of DATA and ACK is outside the check (W7): it says how to treat the frame, not what it means. */
static bool same_meaning(const uint8_t *a, const uint8_t *b, size_t len)
{
    int type = pmw_type_of(b, len);
    if (len < 2 || (type != PMW_DATA && type != PMW_ACK))
        return memcmp(a, b, len) == 0;
    return a[0] == b[0] && (a[1] & ~PMW_F_URGENT) == (b[1] & ~PMW_F_URGENT) && memcmp(a + 2, b + 2, len - 2) == 0;
}

void forge_copy(struct world *w, struct input *in, unsigned index)
{
    const struct flight *f = w->flight[index];
    uint8_t buf[PMW_FRAME_BYTES_MAX];
    if (is_expired(w, f))
        return;
    memcpy(buf, f->bytes, f->len);
    forge_observe(&w->forge, buf, f->len);
    size_t len = take_mutation(in, buf, f->len, sizeof(buf));
    bool same = len == f->len && same_meaning(buf, f->bytes, len);
    if (!w->faithful)
        forge_seal(&w->forge, buf, len, pmw_addr_equal(&f->to, &SERVER_ADDR) || is_relay(&f->to));
    int rc = arrive(w, &f->from, &f->to, buf, len);
    if (w->faithful && !same && rc == 0) /* these have no MAC: they are no more than hints (S8, O3) */
        REQUIRE(pmw_type_of(buf, len) == PMW_PONG || pmw_type_of(buf, len) == PMW_BUSY);
}

void make_up(struct world *w, struct input *in)
{
    static const struct pmw_addr *const places[] = {&CLIENT_ADDR, &SERVER_ADDR, &RELAY_ADDR, &RELAY_TRUNK_ADDR};
    uint8_t buf[PMW_TRUNK_BYTES_MAX], where = take8(in);
    size_t len = take_bytes(in, buf, sizeof(buf));
    const struct pmw_addr *to = places[where % 4], *from = places[where / 4 % 4];
    if (!w->faithful)
        forge_seal(&w->forge, buf, len, to == &SERVER_ADDR || to == &RELAY_ADDR);
    arrive(w, from, to, buf, len);
}
