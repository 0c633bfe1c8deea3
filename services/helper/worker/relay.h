/* SPDX-License-Identifier: Apache-2.0
 *
 * The sans-IO half of a helper worker: C-frames of clients in, trunk batches to servers out, and back. One relay
 * belongs to one lcore and shares nothing. No DPDK include, no system call, no clock: the DPDK shell (lcore.c) and the
 * simulator (libs/vcl/sim) both drive this same code.
 *
 * A relay keeps soft state only. It may vanish between any two calls and lose nothing but datagrams:
 *  - servers: server_id -> address and trunk keys, set by the supervisor (control socket);
 *  - flow table: id (CID or session id) -> server, client address, last use: a cache, aged and evicted;
 *  - bindings: index -> flow, for each server shard (T6): forgotten with the flow, made again when needed;
 *  - one batch being filled per server shard, copies of the last 256 sent (T8), DATA that waits for credit (O2).
 */
#ifndef POSTMAN_RELAY_H
#define POSTMAN_RELAY_H

#include "postman/wire.h"

struct relay;

#define RELAY_DROPS(X)                                                                                                 \
    X(RELAY_DROP_MALFORMED, "malformed", "does not decode as a C-frame or batch")                                      \
    X(RELAY_DROP_FRAME_LONG, "frame_long", "a C-frame longer than every path carries")                                 \
    X(RELAY_DROP_NOT_FOR_HELPER, "not_for_helper", "a frame type that no client sends")                                \
    X(RELAY_DROP_UNKNOWN_SERVER, "unknown_server", "connection id or frame names no known server")                     \
    X(RELAY_DROP_TRUNK_UNKNOWN, "trunk_unknown", "trunk batch from an address that is no known server")                \
    X(RELAY_DROP_TRUNK_TAG, "trunk_tag", "tag of a trunk batch failed")                                                \
    X(RELAY_DROP_TRUNK_REPLAY, "trunk_replay", "trunk batch seen before")                                              \
    X(RELAY_DROP_TRUNK_ENTRY, "trunk_entry", "malformed entry in a trunk batch")                                       \
    X(RELAY_DROP_BINDING_UNKNOWN, "binding_unknown", "short entry of a binding that is not known here")                \
    X(RELAY_DROP_HELD_FULL, "held_full", "no credit, and no room to wait: the client was told BUSY")                   \
    X(RELAY_DROP_HELD_LATE, "held_late", "waited too long for credit: the client was told BUSY")                       \
    X(RELAY_DROP_NO_BUFFER, "no_buffer", "the sink had no buffer for an output datagram")
enum relay_drop {
    RELAY_DROP_NONE,
#define RELAY_X(name, key, text) name,
    RELAY_DROPS(RELAY_X)
#undef RELAY_X
        RELAY_DROP_COUNT
};
#define RELAY_COUNTERS(X)                                                                                              \
    X(client_frames_in)                                                                                                \
    X(client_bytes_in)                                                                                                 \
    X(client_frames_out)                                                                                               \
    X(client_bytes_out)                                                                                                \
    X(trunk_batches_out)                                                                                               \
    X(trunk_bytes_out)                                                                                                 \
    X(trunk_entries_out)                                                                                               \
    X(trunk_data_entries_out)                                                                                          \
    X(trunk_short_entries_out)                                                                                         \
    X(trunk_batches_in)                                                                                                \
    X(trunk_bytes_in)                                                                                                  \
    X(trunk_entries_in)                                                                                                \
    X(trunk_short_entries_in)                                                                                          \
    X(trunk_batches_lost)                                                                                              \
    X(trunk_batches_missed)                                                                                            \
    X(trunk_batches_resent)                                                                                            \
    X(trunk_marked_in)                                                                                                 \
    X(trunk_marked_out)                                                                                                \
    X(trunk_black_holes)                                                                                               \
    X(flush_size)                                                                                                      \
    X(flush_age)                                                                                                       \
    X(flush_urgent)                                                                                                    \
    X(pongs)                                                                                                           \
    X(busy)                                                                                                            \
    X(frames_held)                                                                                                     \
    X(bindings_asked)                                                                                                  \
    X(bindings_made)                                                                                                   \
    X(bindings_refused)                                                                                                \
    X(bindings_forgotten)                                                                                              \
    X(flows_evicted)
struct relay_stats {
#define RELAY_X(name) uint64_t name;
    RELAY_COUNTERS(RELAY_X)
#undef RELAY_X
    uint64_t drops[RELAY_DROP_COUNT];
    uint32_t nb_flows, nb_servers, nb_bindings, nb_held; /* now */
    uint32_t trunk_rtt_us_max;                           /* of the servers, the slowest */
};

/* Where output goes. alloc gives room for one UDP payload of at most cap bytes (an mbuf's data behind its headroom), or
 * NULL; send hands it over. A batch being filled holds exactly one such buffer; release gives it back unsent (a server
 * was removed, the relay is freed) and may be NULL. */
struct relay_sink {
    void *ctx;
    uint8_t *(*alloc)(void *ctx, size_t cap);
    void (*send)(void *ctx, uint8_t *buf, size_t len, const struct pmw_addr *to, bool to_server);
    void (*release)(void *ctx, uint8_t *buf);
};

struct relay_config {
    uint16_t helper_id;
    uint8_t worker;
    uint32_t incarnation;
    uint8_t cid_key[16];
    uint32_t flows_max;         /* power of two: 131072 */
    uint32_t servers_max;       /* 1024 */
    uint64_t flow_idle_us;      /* 30 s */
    uint32_t trunk_bytes_max;   /* segment size: a full batch is padded to exactly this, so that the server's kernel can
                                   merge   equal datagrams (UDP GRO): 1440 */
    uint32_t hold_us_max;       /* bound of the added delay: 100 */
    uint32_t batch_entries_max; /* 128 */
    struct relay_sink sink;
    void *(*alloc)(size_t size); /* zeroed; used by relay_new only */
    void (*free)(void *p);
};
struct relay_server {
    uint16_t server_id;
    uint8_t shard;
    struct pmw_addr addr;
    uint8_t trunk_key_to_server[16], trunk_key_to_helper[16];
};

int relay_new(struct relay **out, const struct relay_config *config); /* 0, -EINVAL, -ENOMEM */
void relay_free(struct relay *r);
int relay_server_set(struct relay *r, const struct relay_server *s); /* add or replace; 0, -ENOSPC or -EINVAL */
int relay_server_remove(struct relay *r, uint16_t server_id);        /* all its shards; 0 or -ENOENT */
void relay_set_draining(struct relay *r, bool draining);             /* PONG then says so */

/* One UDP payload that arrived on the client port / on the trunk port. Returns 0 or the drop reason counted. */
int relay_client_datagram(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len);
/* marked: it arrived with ECN's CE (T9). */
int relay_trunk_datagram(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len,
                         bool marked);
/* Sends every batch that batch_policy says is due, asks for batches that are missing, turns away what waited too long
 * for credit; returns when to call again (UINT64_MAX: nothing waits). */
uint64_t relay_flush_due(struct relay *r, uint64_t now);
/* Bounded step of the flow table's ageing sweep; call now and then. */
void relay_age(struct relay *r, uint64_t now);
void relay_stats_get(const struct relay *r, struct relay_stats *out);
const char *relay_drop_key(enum relay_drop reason);

#endif
