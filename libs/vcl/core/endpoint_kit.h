/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of endpoints share: a stream carried from one end to the other, counters, a network that swallows.
 * They look into the engine (state.h), unlike those that only use it.
 */
#ifndef VCL_CORE_ENDPOINT_KIT_H
#define VCL_CORE_ENDPOINT_KIT_H

#include "testkit.h"
#include "testnet.h"

#include "state.h"

#include <string.h>

enum { MS = 1000, SECOND = 1000000 };

static inline void start(struct testnet *n, int nb_relays, struct vcl_conn **c, struct vcl_conn **s)
{
    testnet_init(n, nb_relays);
    testnet_start(n);
    testnet_open(n, c, s);
}

/* Writes len bytes at `from` as its buffer takes them, until `to` has read them all; returns when. */
static inline uint64_t carry(struct testnet *n, struct vcl_conn *from, struct vcl_conn *to, uint64_t offset,
                             uint64_t len, uint64_t until)
{
    uint64_t written = 0, got = 0;
    while (got < len) {
        written += testnet_write(n, from, offset + written, len - written, 1);
        testnet_run(n, n->now + 100);
        got += testnet_read(n, to, offset + got, 1);
        assert_true(n->now < until);
    }
    return n->now;
}

static inline uint64_t counter(struct vcl_engine *e, size_t at)
{
    struct vcl_stats s;
    uint64_t v;
    vcl_engine_stats(e, &s);
    memcpy(&v, (const uint8_t *)&s + at, sizeof(v));
    return v;
}
#define COUNT(engine, name) counter(engine, offsetof(struct vcl_stats, name))

struct hole { /* datagrams longer than `longer_than` are lost, `per_mille` of them, in runs */
    uint64_t seed, until;
    size_t longer_than;
    unsigned per_mille, run, left;
};

static inline enum verdict swallow(struct testnet *n, struct flight *f)
{
    struct hole *h = n->filter_ctx;
    if (n->now >= h->until || f->len <= h->longer_than)
        return DELIVER;
    if (h->left > 0) {
        h->left--;
        return DROP;
    }
    if (below(&h->seed, 1000) >= h->per_mille)
        return DELIVER;
    h->left = h->run - 1;
    return DROP;
}

#endif
