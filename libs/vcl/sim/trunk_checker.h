/* SPDX-License-Identifier: Apache-2.0
 *
 * I10 on the wire of one helper: it sends no DATA entry that needs credit without having it (O1), and when all is quiet
 * it has credit again. One watch for each helper process and server.
 */
#ifndef SIM_TRUNK_CHECKER_H
#define SIM_TRUNK_CHECKER_H

#include "postman/wire.h"

struct trunk_watch_of_helper {
    bool told;            /* a limit has come: before that the helper sends freely */
    uint32_t limit, used; /* modulo 2^32 */
    uint32_t offered;     /* by the batch that is being read, authentic or not */
    uint32_t used_when_told;
    uint32_t newest_seq; /* a batch with an older number is a repetition (T8) */
    uint64_t nb_entries; /* that needed credit, in all */
    uint64_t nb_short;   /* entries of bound flows */
};

/* The helper sends this batch. false: it had no credit for all of it. */
bool trunk_watch_sent(struct trunk_watch_of_helper *w, const uint8_t *buf, size_t len);
/* This batch of the server arrives: what it says may let batches go while the helper still reads it. */
void trunk_watch_offered(struct trunk_watch_of_helper *w, const uint8_t *buf, size_t len);
/* The helper has accepted this batch of the server. */
void trunk_watch_received(struct trunk_watch_of_helper *w, const uint8_t *buf, size_t len);

#endif
