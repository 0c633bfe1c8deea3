/* SPDX-License-Identifier: Apache-2.0
 *
 * See testnet.h.
 */
#include "testnet.h"

#include "testkit.h"

#include <string.h>

static const uint8_t k_srv[PMW_KEY_BYTES] = {1, 2, 3};
static const uint8_t cid_key[16] = {4, 5, 6};

static void *counted_alloc(void *ctx, size_t size)
{
    struct testnet *n = ctx;
    if (n->alloc_fails_at != 0 && --n->alloc_fails_at == 0)
        return NULL;
    n->allocated++;
    return calloc(1, size);
}

static void counted_free(void *ctx, void *p)
{
    struct testnet *n = ctx;
    n->allocated--;
    free(p);
}

static void seeded_random(void *ctx, void *buf, size_t len)
{
    struct testnet *n = ctx;
    uint8_t *p = buf;
    for (size_t i = 0; i < len; i++) { /* xorshift64* */
        n->random_state ^= n->random_state >> 12;
        n->random_state ^= n->random_state << 25;
        n->random_state ^= n->random_state >> 27;
        p[i] = (uint8_t)((n->random_state * UINT64_C(2685821657736338717)) >> 56);
    }
}

static struct pmw_addr address(uint8_t host, uint16_t port)
{
    return (struct pmw_addr){.ip = {198, 18, 0, host}, .port = port, .family = 4};
}

void testnet_token(struct testnet *n, uint32_t not_before, uint16_t lifetime_s, uint8_t token[PMW_TOKEN_BYTES],
                   uint8_t token_key[PMW_KEY_BYTES])
{
    struct pmw_token t = {.key_id = 1,
                          .lifetime_s = lifetime_s,
                          .server_id = TESTNET_SERVER_ID,
                          .client_id = 11,
                          .service_id = 12,
                          .not_before = not_before};
    seeded_random(n, t.random, sizeof(t.random));
    pmw_token_encode(token, &t);
    pmw_token_mac(t.mac, k_srv, token);
    pmw_token_encode(token, &t);
    pmw_token_key(token_key, k_srv, token);
}

static void config(struct testnet *n, struct vcl_config *c)
{
    vcl_config_defaults(c);
    c->ctx = n;
    c->alloc = counted_alloc;
    c->free = counted_free;
    c->random = seeded_random;
    c->unix_offset_us = INT64_C(1700000000) * 1000000;
}

void testnet_init(struct testnet *n, int nb_relays)
{
    memset(n, 0, sizeof(*n));
    n->now = 1000000;
    n->random_state = 88172645463325252u;
    n->client_addr = address(1, 5000);
    n->server_addr = address(2, 7000);
    config(n, &n->client_config);
    config(n, &n->server_config);
    struct vcl_config *c = &n->server_config;
    c->server_id = TESTNET_SERVER_ID;
    c->service_id = 12;
    c->incarnation = 3;
    memcpy(c->cid_key, cid_key, sizeof(cid_key));
    memset(c->trunk_secret, 9, sizeof(c->trunk_secret));
    c->nb_keys = 1;
    c->keys[0].key_id = 1;
    memcpy(c->keys[0].key, k_srv, sizeof(k_srv));
    n->peer.server_id = TESTNET_SERVER_ID;
    for (int i = 0; i < nb_relays; i++) {
        n->relays[i] = (struct testnet_relay){
            .addr = address((uint8_t)(10 + i), 4701), .helper_id = (uint16_t)(100 + i), .incarnation = 1};
        n->peer.paths[n->peer.nb_paths++] = (struct vcl_path){n->relays[i].addr, n->relays[i].helper_id, 0};
    }
    n->peer.paths[n->peer.nb_paths++] = (struct vcl_path){n->server_addr, 0, VCL_RANK_DIRECT};
    testnet_token(n, 1700000000, 600, n->peer.token, n->peer.token_key);
}

void testnet_start(struct testnet *n)
{
    assert_int_equal(vcl_engine_new(&n->client, &n->client_config), VCL_OK);
    assert_int_equal(vcl_engine_new(&n->server, &n->server_config), VCL_OK);
    assert_int_equal(vcl_session_new(n->client, n->now, &n->peer, &n->session), VCL_OK);
}

void testnet_stop(struct testnet *n)
{
    if (n->client != NULL)
        vcl_engine_free(n->client);
    if (n->server != NULL)
        vcl_engine_free(n->server);
    free(n->flights);
    assert_int_equal(n->allocated, 0);
}

static void launch(struct testnet *n, struct flight *f)
{
    enum verdict v = n->filter != NULL ? n->filter(n, f) : DELIVER;
    for (int copies = v == TWICE ? 2 : v == DELIVER; copies > 0; copies--) {
        assert_true(n->nb_flights < TESTNET_FLIGHT_MAX);
        if (n->nb_flights == n->flights_cap) { /* a flight is large, and few tests have many */
            n->flights_cap = n->flights_cap == 0 ? 64 : 2 * n->flights_cap;
            n->flights = realloc(n->flights, n->flights_cap * sizeof(*n->flights));
        }
        n->flights[n->nb_flights++] = *f;
    }
}

static void send_all(struct testnet *n, struct vcl_engine *e, const struct pmw_addr *from)
{
    struct vcl_datagram d;
    while (vcl_engine_send(e, n->now, &d)) {
        struct flight f = {
            .at = n->now + TESTNET_DELAY_US, .number = n->number++, .from = *from, .to = d.to, .len = d.len};
        memcpy(f.bytes, d.bytes, d.len);
        launch(n, &f);
    }
}

static void take_events(struct vcl_engine *e, struct vcl_event *list, uint32_t *nb)
{
    struct vcl_event ev;
    while (vcl_engine_next_event(e, &ev))
        if (*nb < 256)
            list[(*nb)++] = ev;
}

void testnet_flush(struct testnet *n)
{
    if (n->client != NULL && n->client_asleep_until <= n->now) {
        take_events(n->client, n->client_events, &n->nb_client_events);
        send_all(n, n->client, &n->client_addr);
    }
    if (n->server != NULL && n->server_asleep_until <= n->now) {
        take_events(n->server, n->server_events, &n->nb_server_events);
        send_all(n, n->server, &n->server_addr);
    }
}

/* The helper's two directions: a client's frame becomes a batch of one; a batch becomes frames. */
static void relay_forward(struct testnet *n, struct testnet_relay *r, const struct flight *f)
{
    struct pmw_trunk_keys keys;
    struct flight out = {.at = n->now + TESTNET_DELAY_US, .from = r->addr};
    pmw_trunk_keys_derive(&keys, n->server_config.trunk_secret, r->helper_id, r->incarnation);
    if (!pmw_addr_equal(&f->from, &n->server_addr)) {
        if (r->dead_to_server)
            return;
        struct pmw_trunk h = {.nb_entries = 1,
                              .helper_id = r->helper_id,
                              .incarnation = r->incarnation,
                              .batch_seq = (uint32_t)++r->seq_out};
        struct pmw_entry entry = {.client = f->from, .frame = f->bytes, .frame_len = (uint16_t)f->len};
        pmw_trunk_encode(out.bytes, sizeof(out.bytes), &h);
        int len =
            pmw_entry_encode(out.bytes + PMW_TRUNK_HEADER_BYTES, sizeof(out.bytes) - PMW_TRUNK_HEADER_BYTES, &entry);
        out.len = PMW_TRUNK_HEADER_BYTES + (size_t)len + PMW_TRUNK_TAG_BYTES;
        out.to = n->server_addr;
        pmw_trunk_seal(out.bytes, out.len, keys.to_server, 0);
        out.number = n->number++;
        launch(n, &out);
        return;
    }
    struct pmw_trunk h;
    struct pmw_any_entry entry;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    int rc;
    if (r->dead_to_client || pmw_trunk_decode(f->bytes, f->len, &h) != 0 ||
        !pmw_trunk_check(f->bytes, f->len, keys.to_helper, 0))
        return;
    while ((rc = pmw_entry_next(f->bytes, f->len - PMW_TRUNK_TAG_BYTES, &at, &entry)) > 0) {
        if (entry.kind != PMW_ENTRY_LONG_V4 && entry.kind != PMW_ENTRY_LONG_V6)
            continue; /* it binds nothing and keeps nothing */
        out.len = entry.as_long.frame_len;
        out.to = entry.as_long.client;
        memcpy(out.bytes, entry.as_long.frame, entry.as_long.frame_len);
        out.number = n->number++;
        launch(n, &out);
    }
    assert_int_equal(rc, 0);
}

static void deliver(struct testnet *n, const struct flight *f)
{
    if (pmw_addr_equal(&f->to, &n->client_addr) && n->client != NULL)
        vcl_engine_receive(n->client, n->now, &f->from, f->bytes, f->len);
    if (pmw_addr_equal(&f->to, &n->server_addr) && n->server != NULL)
        vcl_engine_receive(n->server, n->now, &f->from, f->bytes, f->len);
    for (int i = 0; i < 2; i++)
        if (n->relays[i].helper_id != 0 && pmw_addr_equal(&f->to, &n->relays[i].addr) && !n->relays[i].dead)
            relay_forward(n, &n->relays[i], f);
}

static uint64_t next_timer(struct vcl_engine *e, uint64_t asleep_until)
{
    uint64_t at = e != NULL ? vcl_engine_next_timer(e) : VCL_NEVER;
    return at > asleep_until ? at : asleep_until;
}

/* As the loop of a driver does it: a host that was late says so. */
static void fire(struct testnet *n, struct vcl_engine *e, uint64_t asleep_until)
{
    if (next_timer(e, asleep_until) > n->now)
        return;
    uint64_t due = vcl_engine_next_timer(e), late = due < asleep_until ? n->now - due : 0;
    if (due <= n->now)
        vcl_engine_on_timer(e, n->now, late >= 2000 ? late : n->lag_us);
}

static uint64_t next_time(struct testnet *n)
{
    uint64_t next = VCL_NEVER;
    for (uint32_t i = 0; i < n->nb_flights; i++)
        if (n->flights[i].at < next)
            next = n->flights[i].at;
    uint64_t c = next_timer(n->client, n->client_asleep_until), s = next_timer(n->server, n->server_asleep_until);
    next = c < next ? c : next;
    return s < next ? s : next;
}

/* In order of sending; one pass, for tests with a thousand datagrams in flight. */
static void deliver_due(struct testnet *n)
{
    uint32_t nb_due = 0, nb_later = 0;
    for (uint32_t i = 0; i < n->nb_flights; i++)
        nb_due += n->flights[i].at <= n->now;
    struct flight *due = nb_due == 0 ? NULL : malloc(nb_due * sizeof(*due));
    nb_due = 0;
    for (uint32_t i = 0; i < n->nb_flights; i++) {
        struct flight *f = &n->flights[i];
        if (f->at <= n->now)
            memcpy(&due[nb_due++], f, offsetof(struct flight, bytes) + f->len);
        else if (nb_later++ < i)
            memcpy(&n->flights[nb_later - 1], f, offsetof(struct flight, bytes) + f->len);
    }
    n->nb_flights = nb_later;
    for (uint32_t i = 0; i < nb_due; i++)
        deliver(n, &due[i]);
    free(due);
}

static bool step(struct testnet *n, uint64_t until)
{
    testnet_flush(n);
    uint64_t next = next_time(n);
    if (next > until)
        return false;
    if (next > n->now)
        n->now = next;
    deliver_due(n);
    fire(n, n->client, n->client_asleep_until);
    fire(n, n->server, n->server_asleep_until);
    return true;
}

void testnet_run(struct testnet *n, uint64_t until)
{
    while (step(n, until))
        ;
    n->now = until;
}

void testnet_run_until(struct testnet *n, bool (*done)(struct testnet *n), uint64_t until)
{
    while (!done(n))
        assert_true(step(n, until));
}

int testnet_count(const struct vcl_event *events, uint32_t nb, enum vcl_event_type type)
{
    int count = 0;
    for (uint32_t i = 0; i < nb; i++)
        count += events[i].type == type;
    return count;
}

void testnet_open(struct testnet *n, struct vcl_conn **client, struct vcl_conn **server)
{
    uint64_t until = n->now + 20000000;
    assert_int_equal(vcl_conn_open(n->session, n->now, client), VCL_OK);
    struct vcl_conn_info info;
    do {
        assert_true(step(n, until));
        vcl_conn_info(*client, &info);
    } while (info.cid == 0 || vcl_conn_accept(n->server, server) != VCL_OK);
}

uint8_t testnet_byte(uint64_t offset, uint8_t salt)
{
    return (uint8_t)(offset * 167 + (offset >> 8) * 59 + (offset >> 16) + salt);
}

uint64_t testnet_write(struct testnet *n, struct vcl_conn *c, uint64_t offset, uint64_t len, uint8_t salt)
{
    uint8_t buf[8192];
    uint64_t done = 0;
    while (done < len) {
        size_t want = len - done < sizeof(buf) ? (size_t)(len - done) : sizeof(buf);
        for (size_t i = 0; i < want; i++)
            buf[i] = testnet_byte(offset + done + i, salt);
        int64_t took = vcl_conn_write(c, n->now, buf, want);
        if (took <= 0)
            break;
        done += (uint64_t)took;
    }
    return done;
}

uint64_t testnet_read(struct testnet *n, struct vcl_conn *c, uint64_t offset, uint8_t salt)
{
    uint8_t buf[5000];
    uint64_t done = 0;
    int64_t got;
    while ((got = vcl_conn_read(c, n->now, buf, sizeof(buf), false)) > 0) {
        for (int64_t i = 0; i < got; i++)
            assert_int_equal(buf[i], testnet_byte(offset + done + (uint64_t)i, salt));
        done += (uint64_t)got;
    }
    return done;
}
