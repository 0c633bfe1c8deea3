/* SPDX-License-Identifier: Apache-2.0
 *
 * The applications at both ends: connections whose bytes can be told by their place.
 */
#ifndef VCL_FUZZ_STREAMS_H
#define VCL_FUZZ_STREAMS_H

#include "endpoint.h"

enum side { CLIENT, SERVER };

/* One end of a connection. Byte i of what it writes is a function of (port, side, i). */
struct end {
    struct vcl_conn *conn; /* NULL: released */
    uint64_t cid;          /* 0: not known when it was last looked at */
    uint64_t written, read;
    uint16_t port;    /* the client's virtual port: known to both ends */
    bool shut, ended; /* ended: aborted or released */
};
struct streams {
    struct end ends[2][2 * CONNS_MAX]; /* by side; released ones stay */
    unsigned nb[2];
    bool faithful; /* nobody who holds keys has forged anything: what is read must be what was written */
};

void streams_open(struct streams *all, struct vcl_session *s, uint64_t now);
void streams_accept(struct streams *all, struct vcl_engine *server);
/* what: chooses among write, read, shut down, abort, release. */
void streams_act(struct streams *all, enum side side, uint8_t which, uint8_t what, size_t len, uint64_t now);
/* Reads whatever can be read at both ends. */
void streams_read_all(struct streams *all, uint64_t now);
/* With both ends open and without error, everything that was written has arrived. */
void streams_require_delivered(struct streams *all);

#endif
