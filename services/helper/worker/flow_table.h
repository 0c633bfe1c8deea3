/* SPDX-License-Identifier: Apache-2.0
 *
 * Connection id -> server shard, the client's address, last use. Only a cache: an id that is not here is routed by
 * decrypting it (W5), so every entry may be evicted at any moment.
 *
 * Fixed size, no allocation after start. An id may live in one of two buckets of four cells (32 bytes each, two to a
 * cache line) and joins the emptier one: filled to 3/4 it evicts under 1 % (flow_table_test). The hash is
 * keyed, so a sender cannot aim at a bucket. Ageing is a bounded sweep.
 *
 * A flow is confirmed when its server has sent something to the same client. Ids made up by somebody stay unconfirmed,
 * and are evicted before confirmed ones.
 */
#ifndef POSTMAN_FLOW_TABLE_H
#define POSTMAN_FLOW_TABLE_H

#include "postman/wire.h"

enum { FLOW_WAYS = 4 };
#define FLOW_TICK_US_SHIFT 18 /* last use is kept in ticks of 2^18 us = 0.26 s in 16 bits, which wrap after 4.7 h */

struct flow {
    uint64_t id;
    uint8_t client_ip[16];
    uint16_t client_port;
    uint16_t server_id;
    uint16_t seen_tick;
    uint8_t shard;
    uint8_t client_family : 4; /* 0: the cell is free */
    uint8_t confirmed : 4;
};
_Static_assert(sizeof(struct flow) == 32, "two flows to a cache line");

struct flow_table {
    struct flow *cells;
    uint64_t hash_key[2]; /* odd multipliers */
    uint64_t idle_us;
    uint32_t nb_buckets; /* power of two, at least 2 */
    uint32_t hash_shift; /* 64 - log2(nb_buckets) */
    uint32_t sweep_at;   /* next bucket that ageing looks at */
    uint32_t nb_flows;
    uint64_t evicted;
};

size_t flow_table_bytes(uint32_t flows_max);
/* flows_max: a power of two, at least 2 * FLOW_WAYS. mem: flow_table_bytes() zeroed bytes. hash_key: secret. */
void flow_table_init(struct flow_table *t, void *mem, uint32_t flows_max, uint64_t idle_us, const uint64_t hash_key[2]);
/* The flow of id, or NULL. The pointer holds until the next add or age. */
struct flow *flow_table_find(struct flow_table *t, uint64_t id);
/* Adds an id that is not in the table, evicting another one when both its buckets are full. */
struct flow *flow_table_add(struct flow_table *t, uint64_t now, uint64_t id, uint16_t server_id, uint8_t shard,
                            const struct pmw_addr *client);
/* The client was heard, from this address; a new address is not confirmed yet. */
void flow_client_seen(struct flow *f, uint64_t now, const struct pmw_addr *client);
/* The server sent to this client. */
void flow_server_seen(struct flow *f, uint64_t now, const struct pmw_addr *client);
/* Frees idle flows in the next nb_buckets buckets. */
void flow_table_age(struct flow_table *t, uint64_t now, uint32_t nb_buckets);

#endif
