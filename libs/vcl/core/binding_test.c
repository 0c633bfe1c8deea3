/* SPDX-License-Identifier: Apache-2.0
 * Bindings (T6) and lost credit (O1) at the server, with a little helper that the test drives: it writes batches entry
 * by entry and looks at what comes back. Frames of clients are taken from the wire of the test network. */
#include "testkit.h"

#include "credit.h"
#include "testnet.h"

#include <string.h>

enum { MESSAGE = 64, FRAMES_MAX = 64 };

struct hand { /* the helper, by hand */
    struct testnet *n;
    struct pmw_trunk_keys keys;
    uint32_t seq;
    size_t at; /* of the batch that is being written */
    uint16_t nb;
    uint8_t batch[PMW_TRUNK_BYTES_MAX];
    uint8_t frames[FRAMES_MAX][256]; /* DATA and ACK that clients sent */
    size_t lens[FRAMES_MAX];
    int nb_frames;
    int acks, errors, shorts, longs; /* entries of the server */
    struct pmw_trunk heard;          /* header of its last batch */
    uint32_t ack;                    /* what the next batch acknowledges; 0: nothing */
    struct pmw_addr long_to;         /* of its last long one */
};

static void look(struct hand *h, const struct flight *f)
{
    struct pmw_any_entry e;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    assert_true(pmw_trunk_check(f->bytes, f->len, h->keys.to_helper, 0));
    assert_int_equal(pmw_trunk_decode(f->bytes, f->len, &h->heard), 0);
    while (pmw_entry_next(f->bytes, f->len - PMW_TRUNK_TAG_BYTES, &at, &e) == 1) {
        h->acks += e.kind == PMW_ENTRY_BIND_ACK;
        h->errors += e.kind == PMW_ENTRY_BIND_ERR;
        h->shorts += e.kind == PMW_ENTRY_SHORT;
        if (e.kind != PMW_ENTRY_LONG_V4)
            continue;
        h->longs++;
        h->long_to = e.as_long.client;
    }
}

/* Keeps what the client sends over its helper from now on; looks at what the server sends to it. */
static enum verdict by_hand(struct testnet *n, struct flight *f)
{
    struct hand *h = n->filter_ctx;
    int type = pmw_type_of(f->bytes, f->len);
    if (type == PMW_TRUNK && pmw_addr_equal(&f->from, &n->server_addr)) {
        look(h, f);
        return DROP;
    }
    if (!pmw_addr_equal(&f->from, &n->client_addr))
        return DELIVER;
    if ((type == PMW_DATA || type == PMW_ACK) && h->nb_frames < FRAMES_MAX && f->len <= sizeof(h->frames[0])) {
        memcpy(h->frames[h->nb_frames], f->bytes, f->len);
        h->lens[h->nb_frames++] = f->len;
    }
    return DROP;
}

static uint8_t *room(struct hand *h)
{
    if (h->nb == 0)
        h->at = PMW_TRUNK_HEADER_BYTES;
    return h->batch + h->at;
}

static void added(struct hand *h, int len)
{
    assert_true(len > 0);
    h->at += (size_t)len;
    h->nb++;
}

static void put_bind(struct hand *h, uint32_t index, uint8_t generation, uint64_t cid, const struct pmw_addr *client)
{
    const struct pmw_bind b = {.index = index, .generation = generation, .client = *client, .cid = cid};
    added(h, pmw_bind_encode(room(h), sizeof(h->batch) - h->at, &b));
}

static void put_short(struct hand *h, uint32_t index, uint8_t generation, int frame)
{
    struct pmw_short e;
    assert_true(pmw_short_of_frame(h->frames[frame], h->lens[frame], &e));
    e.index = index;
    e.generation = generation & 15;
    added(h, pmw_short_encode(room(h), sizeof(h->batch) - h->at, &e));
}

/* Returns what the server's engine says of the batch. */
static int send_batch(struct hand *h)
{
    struct testnet *n = h->n;
    struct pmw_trunk head = {.nb_entries = h->nb,
                             .helper_id = n->relays[0].helper_id,
                             .incarnation = 1,
                             .batch_seq = ++h->seq,
                             .flags = PMW_TRUNK_CREDIT | (h->ack != 0 ? PMW_TRUNK_ACKS : 0),
                             .ack_batch = h->ack};
    room(h);
    pmw_trunk_encode(h->batch, sizeof(h->batch), &head);
    size_t len = h->at + PMW_TRUNK_TAG_BYTES;
    pmw_trunk_seal(h->batch, len, h->keys.to_server, 0);
    h->nb = 0;
    int drop = vcl_engine_receive(n->server, n->now, &n->relays[0].addr, h->batch, len);
    testnet_flush(n);
    return drop;
}

/* Two connections over relay 0, opened in the ordinary way; from then on the helper is ours. */
struct pair {
    struct testnet n;
    struct hand h;
    struct vcl_conn *c[2], *s[2];
    uint64_t cid[2], sent[2];
};

static void pair_open(struct pair *p)
{
    struct testnet *n = &p->n;
    memset(p, 0, sizeof(*p));
    testnet_init(n, 1);
    testnet_start(n);
    for (int i = 0; i < 2; i++) {
        struct vcl_conn_info info;
        testnet_open(n, &p->c[i], &p->s[i]);
        vcl_conn_info(p->c[i], &info);
        p->cid[i] = info.cid;
    }
    testnet_run(n, n->now + 2000);
    p->h = (struct hand){.n = n, .seq = (uint32_t)n->relays[0].seq_out};
    pmw_trunk_keys_derive(&p->h.keys, n->server_config.trunk_secret, n->relays[0].helper_id, 1);
    n->filter = by_hand;
    n->filter_ctx = &p->h;
}

/* The client of connection i writes a message; returns the frame of it. */
static int client_writes(struct pair *p, int i)
{
    assert_int_equal(testnet_write(&p->n, p->c[i], p->sent[i], MESSAGE, (uint8_t)i), MESSAGE);
    p->sent[i] += MESSAGE;
    testnet_flush(&p->n);
    return p->h.nb_frames - 1;
}

static uint64_t server_reads(struct pair *p, int i, uint64_t from)
{
    return testnet_read(&p->n, p->s[i], from, (uint8_t)i); /* compares each byte */
}

static struct vcl_stats server_stats(struct pair *p)
{
    struct vcl_stats s;
    vcl_engine_stats(p->n.server, &s);
    return s;
}

static void t6_a_bound_flow_is_answered_in_short_entries(void **state)
{
    struct pair p;
    pair_open(&p);
    int f = client_writes(&p, 0);
    put_bind(&p.h, 3000, 7, p.cid[0], &p.n.client_addr);
    put_short(&p.h, 3000, 7, f);
    assert_int_equal(send_batch(&p.h), 0);
    assert_int_equal(p.h.acks, 1);
    assert_int_equal(server_reads(&p, 0, 0), MESSAGE);
    testnet_write(&p.n, p.s[0], 0, MESSAGE, 9);
    testnet_flush(&p.n);
    assert_int_equal(p.h.shorts, 1);
    assert_int_equal(p.h.longs, 0);
    testnet_stop(&p.n);
}

/* T3: a BIND with another address is good for frames in, and never leads a reply there. */
static void t6_a_bind_does_not_move_replies(void **state)
{
    struct pair p;
    pair_open(&p);
    struct pmw_addr thief = p.n.client_addr;
    thief.port++;
    int f = client_writes(&p, 0);
    put_bind(&p.h, 1, 1, p.cid[0], &thief);
    put_short(&p.h, 1, 1, f);
    assert_int_equal(send_batch(&p.h), 0);
    assert_int_equal(server_reads(&p, 0, 0), MESSAGE);
    testnet_write(&p.n, p.s[0], 0, MESSAGE, 9);
    testnet_flush(&p.n);
    assert_int_equal(p.h.shorts, 0);
    assert_int_equal(p.h.longs, 1);
    assert_true(pmw_addr_equal(&p.h.long_to, &p.n.client_addr));
    testnet_stop(&p.n);
}

static void t6_unknown_bindings_are_answered_with_an_error(void **state)
{
    struct pair p;
    pair_open(&p);
    int f = client_writes(&p, 0);
    put_short(&p.h, 5, 1, f);
    put_short(&p.h, 5, 1, f); /* the same again: said once */
    assert_int_equal(send_batch(&p.h), VCL_DROP_BINDING);
    assert_int_equal(p.h.errors, 1);
    put_bind(&p.h, 5, 1, p.cid[0] ^ 1, &p.n.client_addr); /* no such connection */
    send_batch(&p.h);
    assert_int_equal(p.h.errors, 2);
    put_bind(&p.h, 5, 1, p.cid[0], &p.n.client_addr);
    put_short(&p.h, 5, 2, f); /* another generation */
    assert_int_equal(send_batch(&p.h), VCL_DROP_BINDING);
    assert_int_equal(server_reads(&p, 0, 0), 0);
    testnet_stop(&p.n);
}

/* I2: one index, two connections in two generations, batches in any order: bytes never mix. */
static void t6_two_generations_of_an_index_never_mix(void **state)
{
    uint64_t random = 7;
    for (int round = 0; round < 200; round++) {
        struct pair p;
        uint64_t read[2] = {0, 0};
        pair_open(&p);
        int frame[2] = {client_writes(&p, 0), client_writes(&p, 1)};
        for (int step = 0; step < 12; step++) {
            int i = (int)below(&random, 2), what = (int)below(&random, 4);
            uint8_t generation = (uint8_t)(1 + i);
            if (what == 0)
                put_bind(&p.h, 4, generation, p.cid[i], &p.n.client_addr);
            else if (what == 1)
                put_short(&p.h, 4, (uint8_t)(1 + below(&random, 2)), frame[i]); /* of the other's binding, too */
            else
                put_short(&p.h, 4, generation, frame[i]);
            send_batch(&p.h);
            for (int k = 0; k < 2; k++)
                read[k] += server_reads(&p, k, read[k]);
        }
        assert_true(read[0] <= MESSAGE && read[1] <= MESSAGE);
        testnet_stop(&p.n);
    }
}

/* A server that was started again knows no binding of the one before, and takes nothing for what it is not. */
static void case_30_server_restarts_under_old_bindings(void **state)
{
    struct pair p;
    pair_open(&p);
    int f = client_writes(&p, 0);
    put_bind(&p.h, 1, 1, p.cid[0], &p.n.client_addr);
    put_short(&p.h, 1, 1, f);
    assert_int_equal(send_batch(&p.h), 0);
    assert_int_equal(server_reads(&p, 0, 0), MESSAGE);
    vcl_engine_free(p.n.server);
    p.n.server_config.incarnation++;
    assert_int_equal(vcl_engine_new(&p.n.server, &p.n.server_config), VCL_OK);
    put_short(&p.h, 1, 1, f);
    assert_int_equal(send_batch(&p.h), VCL_DROP_BINDING);
    assert_int_equal(p.h.errors, 1);
    struct vcl_stats s = server_stats(&p);
    assert_int_equal(s.nb_conns + s.nb_sessions, 0);
    assert_int_equal(s.data_frames_in, 0);
    testnet_stop(&p.n);
}

/* O1: the batch that told the last limit is lost, and nothing else makes the server speak. */
static void o1_a_limit_that_nobody_heard_is_told_again(void **state)
{
    struct pair p;
    pair_open(&p);
    struct hand *h = &p.h;
    send_batch(h); /* the first with credit: it is told at once how much there is */
    uint32_t told = h->heard.batch_seq, limit = h->heard.credit;
    assert_true((h->heard.flags & PMW_TRUNK_CREDIT) != 0 && limit > 0);
    h->ack = told - 1;
    send_batch(h); /* it may be under way */
    assert_int_equal(h->heard.batch_seq, told);
    p.n.now += CREDIT_REPEAT_US_MIN;
    send_batch(h);
    assert_int_equal(h->heard.batch_seq, told + 1);
    assert_int_equal(h->heard.nb_entries, 0);
    assert_int_equal(h->heard.credit, limit);
    send_batch(h); /* the answer too */
    assert_int_equal(h->heard.batch_seq, told + 1);
    h->ack = told + 1;
    p.n.now += CREDIT_REPEAT_US_MIN;
    send_batch(h);
    assert_int_equal(h->heard.batch_seq, told + 1);
    testnet_stop(&p.n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(t6_a_bound_flow_is_answered_in_short_entries),
        cmocka_unit_test(t6_a_bind_does_not_move_replies),
        cmocka_unit_test(t6_unknown_bindings_are_answered_with_an_error),
        cmocka_unit_test(t6_two_generations_of_an_index_never_mix),
        cmocka_unit_test(case_30_server_restarts_under_old_bindings),
        cmocka_unit_test(o1_a_limit_that_nobody_heard_is_told_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
