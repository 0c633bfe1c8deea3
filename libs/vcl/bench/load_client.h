/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the load generator's client: connections (load_client.c) the phases of a load (load_phase.c), a stream
 * beside them (load_stream.c).
 *
 *     closed   each connection keeps `depth` requests outstanding; after a reply it thinks for think_us
 *              (then depth is 1)
 *     open     requests come by a Poisson process of `rate`, whatever the replies do, each on the next connection that
 *              has fewer than `depth` outstanding; when none has, it is turned away and counted. Latency is counted
 * from when a request was due, so a generator that is late hides nothing. churn    `connections` at a time: each is
 * opened, makes one request, and is closed after the reply */
#ifndef VCL_BENCH_LOAD_CLIENT_H
#define VCL_BENCH_LOAD_CLIENT_H

#include "control.h"
#include "history.h"
#include "message.h"

enum { DEPTH_MAX = 64, READ_MESSAGES = 4 };

struct connection {
    struct vcl_sock *sock; /* NULL: not open, or ended */
    uint32_t number;
    bool opened;
    uint64_t sent, received;    /* requests, replies that belong to one */
    uint64_t due_us[DEPTH_MAX]; /* of the requests that are outstanding, by number modulo DEPTH_MAX */
    struct runs replies;
    uint8_t in[READ_MESSAGES * MESSAGE_BYTES];
    size_t in_bytes;
    bool thinking;
    uint64_t thinks_until_us;
    struct connection *next; /* of those that think, the first to act first */
};

enum load_kind { LOAD_NONE, LOAD_CLOSED, LOAD_OPEN, LOAD_CHURN };

struct phase {
    enum load_kind kind;
    char name[32];
    uint32_t depth;
    uint64_t think_us, rate, requests, ends_us; /* requests, ends_us: UINT64_MAX = without this end */
    uint64_t began_us, sent, replies, turned_away, opened;
    double next_due_us; /* open loop */
    uint32_t turn;
    bool over; /* sends no more */
};

struct load {
    struct vcl_driver *driver;
    struct vcl_session *session;
    FILE *replies_log;
    struct connection *connections;
    uint32_t nb, nb_failed, next_number;
    uint64_t sent, received, errors, random;
    struct phase phase;
    struct connection *thinking_first, *thinking_last;
};
extern struct load load;

/* --- load_client.c --- */
int open_connection(struct connection *c);
bool send_request(struct connection *c, uint64_t due_us);
void fail_connection(struct connection *c, int error);
void finish_connection(struct connection *c);

/* --- load_stream.c --- */
void stream_begin(const struct order *o, struct vcl_session *session); /* one at a time; says when it has ended */

/* --- load_phase.c --- */
void phase_begin(const struct order *o);
void phase_on_opened(struct connection *c);
void phase_on_reply(struct connection *c, uint64_t now);
/* Sends what is due. Returns when there is more to do, at the latest. */
uint64_t phase_step(uint64_t now);

#endif
