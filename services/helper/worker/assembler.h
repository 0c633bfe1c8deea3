/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries -> trunk batches: one batch being filled per server shard, written straight into the buffer it is sent from.
 * The caller asks for room, writes its entry there, and says so. batch_policy says when the batch goes; this file pads,
 * heads, seals, keeps a copy (T8) and sends it (T1, T2, T4).
 */
#ifndef POSTMAN_ASSEMBLER_H
#define POSTMAN_ASSEMBLER_H

#include "batch_policy.h"
#include "due_heap.h"
#include "relay.h"
#include "resend_ring.h"
#include "server_table.h"

struct batch {
    uint8_t *buf;       /* NULL: none is being filled */
    uint32_t len;       /* header and entries so far */
    uint32_t bytes_max; /* segment size: header, entries and tag */
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
    struct resend_ring sent;
    struct pmw_trunk header; /* what is the same in every batch of this worker */
};

size_t assembler_bytes(const struct relay_config *config);
void assembler_init(struct assembler *a, void *mem, const struct relay_config *config, struct relay_stats *stats);
/* Where the next entry of so many bytes goes, after a batch without room for it was sent. NULL: no buffer. */
uint8_t *assembler_room(struct assembler *a, struct server *s, uint64_t now, uint32_t bytes);
/* An entry of so many bytes, at most what was asked for, was written there. Sends what the policy wants sent. */
void assembler_added(struct assembler *a, struct server *s, uint64_t now, uint32_t bytes, bool urgent);
/* A long entry. */
enum relay_drop assembler_push(struct assembler *a, struct server *s, uint64_t now, const struct pmw_entry *entry,
                               bool urgent);
/* Sends the server's batch now, an empty one when none is being filled: its header is news (O1). */
enum relay_drop assembler_tell(struct assembler *a, struct server *s, uint64_t now);
/* Flushes what is due; returns the next due time or DUE_NONE. slots: the server of each batch. */
uint64_t assembler_flush_due(struct assembler *a, struct server *slots, uint64_t now);
/* Gives the buffer of a server's unfinished batch back, unsent. */
void assembler_discard(struct assembler *a, uint32_t slot);

#endif
