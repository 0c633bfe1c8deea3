/* SPDX-License-Identifier: Apache-2.0
 *
 * C-frames -> trunk batches: one batch being filled per server shard, written straight into the buffer it is sent
 * from. batch_policy says when it goes; this file writes, pads, seals and sends it (T1, T2, T4).
 */
#ifndef POSTMAN_ASSEMBLER_H
#define POSTMAN_ASSEMBLER_H

#include "batch_policy.h"
#include "due_heap.h"
#include "relay.h"
#include "server_table.h"

struct batch {
    uint8_t *buf; /* NULL: none is being filled */
    uint32_t len; /* header and entries so far */
    uint16_t nb_entries;
    bool urgent;
    uint64_t oldest_us;
    uint64_t arrivals_us; /* sum over entries of (arrival - oldest_us): gives the mean hold */
};

struct assembler {
    struct batch *batches; /* by server slot */
    struct due_heap due;
    struct batch_limits limits;
    struct relay_sink sink;
    struct relay_stats *stats;
    struct pmw_trunk header; /* what is the same in every batch of this worker */
};

size_t assembler_bytes(uint32_t servers_max);
void assembler_init(struct assembler *a, void *mem, const struct relay_config *config, struct relay_stats *stats);
/* Adds a frame to its server's batch, flushing what the policy wants flushed before and after. */
enum relay_drop assembler_push(struct assembler *a, struct server *s, uint64_t now, const struct pmw_entry *entry,
                               bool urgent);
/* Flushes what is due; returns the next due time or DUE_NONE. slots: the server of each batch. */
uint64_t assembler_flush_due(struct assembler *a, struct server *slots, uint64_t now);
/* Gives the buffer of a server's unfinished batch back, unsent. */
void assembler_discard(struct assembler *a, uint32_t slot);

#endif
