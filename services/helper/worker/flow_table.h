/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection id -> server, the client's address, binding, last use. Only a cache: an id that is not here is routed by
 * decrypting it (W5), so every entry may be evicted at any moment.
 *
 * Fixed size, no allocation after start. An id may live in one of two buckets of four cells and joins the emptier one:
 * filled to 3/4 it evicts under 1 % (flow_table_test). A look-up reads the ids of a bucket (half a cache line), then
 * one cell (half a cache line). The hash is keyed, so a sender cannot aim at a bucket. Ageing is a bounded sweep.
 *
 * A flow is confirmed when its server has sent something to its client: from then on only the server's word changes the
 * client's address. Ids made up by somebody stay unconfirmed, and are evicted before confirmed ones.
 */
#ifndef POSTMAN_FLOW_TABLE_H
#define POSTMAN_FLOW_TABLE_H

#include "postman/wire.h"

enum { FLOW_WAYS = 4 };
#define FLOW_TICK_US_SHIFT 18 /* last use is kept in ticks of 2^18 us = 0.26 s in 16 bits, which wrap after 4.7 h */

enum flow_binding {
    FLOW_LONG,  /* no binding: long entries */
    FLOW_ASKED, /* BIND was sent: still long entries */
    FLOW_BOUND, /* short entries */
};
struct flow {
    uint8_t client_ip[16];
    uint16_t client_port;
    uint8_t client_family; /* 0: the cell is free */
    bool confirmed;
    uint16_t server_slot, server_use; /* server_table.h: a slot that was given to another server has another use */
    uint32_t index;                   /* of its binding (T6), unless FLOW_LONG */
    uint16_t seen_tick;
    uint8_t generation;  /* of its binding */
    uint8_t binding : 2; /* enum flow_binding */
    uint8_t refused : 1; /* the server did not take a binding, at refused_tick */
    uint8_t refused_tick : 5;
};
_Static_assert(sizeof(struct flow) == 32, "two flows to a cache line");

struct flow_table {
    uint64_t *ids; /* by cell */
    struct flow *cells;
    uint64_t hash_key[2]; /* odd multipliers */
    uint64_t idle_us;
    uint32_t nb_buckets; /* power of two, at least 2 */
    uint32_t hash_shift; /* 64 - log2(nb_buckets) */
    uint32_t sweep_at;   /* next bucket that ageing looks at */
    uint32_t nb_flows;
    uint64_t evicted;
    /* Called before a flow with a binding is forgotten, whatever for. */
    void (*forget)(void *ctx, uint64_t now, struct flow *f);
    void *forget_ctx;
};

size_t flow_table_bytes(uint32_t flows_max);
/* flows_max: a power of two, at least 2 * FLOW_WAYS. mem: flow_table_bytes() zeroed bytes. hash_key: secret. */
void flow_table_init(struct flow_table *t, void *mem, uint32_t flows_max, uint64_t idle_us, const uint64_t hash_key[2]);
/* Adds an id that is not in the table, evicting another one when both its buckets are full. */
struct flow *flow_table_add(struct flow_table *t, uint64_t now, uint64_t id, const struct pmw_addr *client);
/* The client was heard, from this address; that of a confirmed flow stays. */
void flow_client_seen(struct flow *f, uint64_t now, const struct pmw_addr *client);
/* The server sent to this client. */
void flow_server_seen(struct flow *f, uint64_t now, const struct pmw_addr *client);
/* Frees idle flows in the next nb_buckets buckets. */
void flow_table_age(struct flow_table *t, uint64_t now, uint32_t nb_buckets);

static inline uint16_t flow_tick(uint64_t now)
{
    return (uint16_t)(now >> FLOW_TICK_US_SHIFT);
}

/* Multiply-shift hashing (Dietzfelbinger et al. 1997) with a secret odd multiplier: only the top bits of the product
 * depend on all bits of the id. Returns the first cell of the bucket. */
static inline uint32_t flow_table_bucket(const struct flow_table *t, uint64_t id, int choice)
{
    return (uint32_t)((id * t->hash_key[choice]) >> t->hash_shift) * FLOW_WAYS;
}

/* The flow of id, or NULL. The pointer holds until the next add or age. */
static inline struct flow *flow_table_find(const struct flow_table *t, uint64_t id)
{
    for (int choice = 0; choice < 2; choice++) {
        uint32_t cell = flow_table_bucket(t, id, choice);
        for (uint32_t way = 0; way < FLOW_WAYS; way++)
            if (t->ids[cell + way] == id && t->cells[cell + way].client_family != 0)
                return &t->cells[cell + way];
    }
    return NULL;
}

/* So full that live flows are soon evicted: bindings made now would not last. */
static inline bool flow_table_is_crowded(const struct flow_table *t)
{
    return t->nb_flows > t->nb_buckets * FLOW_WAYS / 8 * 7;
}

static inline uint32_t flow_table_cell(const struct flow_table *t, const struct flow *f)
{
    return (uint32_t)(f - t->cells);
}

static inline bool flow_is_from(const struct flow *f, const struct pmw_addr *client)
{
    return f->client_port == client->port && f->client_family == client->family &&
           __builtin_memcmp(f->client_ip, client->ip, sizeof(f->client_ip)) == 0;
}

static inline void flow_client(const struct flow *f, struct pmw_addr *out)
{
    *out = (struct pmw_addr){.port = f->client_port, .family = f->client_family};
    __builtin_memcpy(out->ip, f->client_ip, sizeof(out->ip));
}

#endif
