/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests of bindings (T6): one relay, one server played by hand, and the steps that a binding takes.
 */
#ifndef POSTMAN_BINDING_FIXTURE_H
#define POSTMAN_BINDING_FIXTURE_H

#include "fake_server.h"

#define CID       cid_of(1, 0, 5)
#define OTHER_CID cid_of(1, 0, 6)
static const struct pmw_addr ELSEWHERE = {.ip = {198, 18, 0, 2}, .port = 4001, .family = 4};

struct fixture {
    struct sink sink;
    struct relay_config config;
    struct relay *relay;
    struct fake_server server;
    uint8_t frame[PMW_FRAME_BYTES_BASE];
};

static inline int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->config = config_for(&f->sink);
    f->server = fake_server_named(1);
    assert_int_equal(relay_new(&f->relay, &f->config), 0);
    assert_int_equal(relay_server_set(f->relay, &f->server.is), 0);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    relay_free(f->relay);
    assert_int_equal(f->sink.nb_out, 0);
    sink_forget(&f->sink);
    free(f);
    return 0;
}

static inline struct relay_stats stats_of(const struct fixture *f)
{
    struct relay_stats stats;

    relay_stats_get(f->relay, &stats);
    return stats;
}

/* What becomes of one short frame of this client. */
static inline struct taken client_to_server(struct fixture *f, uint64_t now, const struct pmw_addr *from, uint64_t cid)
{
    assert_int_equal(client_gives_short(f->relay, now, from, cid, 9), 0);
    return fake_take_last(&f->server, &f->sink, f->relay, now + HOLD_US);
}

/* The server says where the client of a connection is, in a long entry. */
static inline void server_says_long(struct fixture *f, uint64_t now, const struct pmw_addr *client, uint64_t cid)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];

    fake_begin(&f->server);
    fake_put_long(&f->server, client, frame, data_frame(frame, cid, 8, 0));
    assert_int_equal(fake_send(&f->server, f->relay, now), 0);
    sink_forget(&f->sink);
}

static inline void server_says_ref(struct fixture *f, uint64_t now, enum pmw_entry_kind kind,
                                   const struct pmw_bind *bind)
{
    fake_begin(&f->server);
    fake_put_ref(&f->server, kind, bind->index, bind->generation);
    assert_int_equal(fake_send(&f->server, f->relay, now), 0);
}

static inline int server_says_short(struct fixture *f, uint64_t now, uint32_t index, uint8_t generation)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];

    fake_begin(&f->server);
    fake_put_short(&f->server, index, generation, frame, short_frame(frame, PMW_DATA, 0, 3, 20, 0));
    return fake_send(&f->server, f->relay, now);
}

/* A flow as far as its BIND. */
static inline struct pmw_bind ask(struct fixture *f, uint64_t now, uint64_t cid)
{
    client_to_server(f, now, &CLIENT, cid);
    server_says_long(f, now, &CLIENT, cid);
    struct taken taken = client_to_server(f, now, &CLIENT, cid);
    assert_int_equal(taken.header.nb_entries, 2);
    assert_int_equal(taken.entries[0].kind, PMW_ENTRY_BIND);
    sink_forget(&f->sink);
    return taken.entries[0].bind;
}

static inline struct pmw_bind bind(struct fixture *f, uint64_t now, uint64_t cid)
{
    struct pmw_bind bind = ask(f, now, cid);

    server_says_ref(f, now, PMW_ENTRY_BIND_ACK, &bind);
    return bind;
}

#endif
