/* SPDX-License-Identifier: Apache-2.0
 *
 * What one end did, complete and small: for each connection and direction the numbers of its messages in the order in
 * which they came, as runs of consecutive ones. A perfect stream is one run; whatever is lost, repeated or out of order
 * begins another. Nothing is judged here: postman_cli/bench/judge.py reads the files of both ends.
 *
 * A history file is a sequence of records of 24 bytes, native byte order: connection 4, fact 4, first 8, count 8.
 * A replies file is one of 12 bytes: connection 4, latency_us 4, at_us modulo 2^32 4, in order of time. */
#ifndef VCL_BENCH_HISTORY_H
#define VCL_BENCH_HISTORY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum history_fact {
    HISTORY_REQUEST_SENT = 1,
    HISTORY_REQUEST_RECEIVED,
    HISTORY_REPLY_SENT,
    HISTORY_REPLY_RECEIVED,
    HISTORY_CORRUPTED = 0x100, /* added to a RECEIVED: count messages that are none of this connection's */
    HISTORY_TRUNCATED = 0x200, /* added: more runs than are kept; the history is not complete */
};

enum { HISTORY_RUNS_MAX = 65536 };

struct run {
    uint64_t first, count;
};

struct runs {
    struct run last;  /* count 0: nothing yet */
    struct run *list; /* those before it */
    uint32_t nb, room;
    uint64_t corrupted, truncated;
};

void runs_add(struct runs *r, uint64_t number);
void runs_clear(struct runs *r);
bool runs_write(const struct runs *r, FILE *out, uint32_t connection, enum history_fact fact);

void reply_log(FILE *out, uint32_t connection, uint64_t sent_us, uint64_t at_us);

#endif
