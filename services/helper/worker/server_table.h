/* SPDX-License-Identifier: Apache-2.0
 *
 * The server shards this helper serves: a fixed array of slots and two hash indexes, by (server id, shard) and by
 * address. The supervisor changes it, now and then; every frame reads it. So the indexes are built anew on each change,
 * and need no deletion.
 *
 * A removed server keeps its slot's numbers until the slot is needed: set again with the same keys, its batch numbers
 * go on (T2), where starting over would look like a replay to the server.
 * Two ids may share an address for a while (a server that restarted): server_table_at yields both, and the trunk
 * tag tells them apart.
 */
#ifndef POSTMAN_SERVER_TABLE_H
#define POSTMAN_SERVER_TABLE_H

#include "acks.h"
#include "credit.h"
#include "gaps.h"
#include "postman/replay.h"
#include "relay.h"

struct server {
    bool live;    /* false: free, or removed */
    uint16_t use; /* of the slot: changes when what was known of the server is void. Flows remember it */
    uint16_t slot;
    uint16_t marked_in, marked_out; /* batches that arrived with a CE mark: here, and there as it says (T9) */
    struct credit credit;
    uint64_t tx_batch_seq; /* number of the last batch sent; the first is 1 */
    struct relay_server is;
    struct acks acks;
    struct gaps gaps;
    uint32_t rx_incarnation; /* of the batches in rx */
    struct pmw_replay rx;
};

struct server_table {
    struct server *slots;
    uint32_t *by_id, *by_addr; /* open addressing, 1 + slot; 0: empty */
    uint32_t slots_max, index_mask, nb_live;
};

size_t server_table_bytes(uint32_t slots_max);
void server_table_init(struct server_table *t, void *mem, uint32_t slots_max); /* mem: zeroed */
/* Add or replace; NULL when every slot is live. *fresh: nothing that was known of the slot's server holds, because it
 * is another one, or has other keys. */
struct server *server_table_set(struct server_table *t, const struct relay_server *is, bool *fresh);
/* Removes one live shard of server_id and returns it, its numbers intact; NULL when none is left. */
struct server *server_table_remove(struct server_table *t, uint16_t server_id);
struct server *server_table_find(const struct server_table *t, uint16_t server_id, uint8_t shard);
/* Each live server at this address, one a call; *cursor starts at 0. NULL: no more. */
struct server *server_table_at(const struct server_table *t, const struct pmw_addr *addr, uint32_t *cursor);

#endif
