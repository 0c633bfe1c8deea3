/* SPDX-License-Identifier: Apache-2.0
 *
 * A trunk batch -> its entries. Nothing of a batch is believed before its tag holds (T1), and no entry is handed out
 * before all of them decode (W1).
 */
#ifndef POSTMAN_DISASSEMBLER_H
#define POSTMAN_DISASSEMBLER_H

#include "relay.h"
#include "server_table.h"

struct opened {
    struct server *server;
    struct pmw_trunk header;
    uint64_t seq, highest_before;                        /* 0: its first */
    struct pmw_any_entry entries[PMW_TRUNK_ENTRIES_MAX]; /* they point into the batch */
};

/* Finds the server at `from` under whose key the batch is authentic and new, and fills out. Returns the number of
 * entries, or -(drop reason). */
int disassembler_open(struct server_table *servers, const struct pmw_addr *from, const uint8_t *buf, size_t len,
                      struct opened *out);

#endif
