/* SPDX-License-Identifier: Apache-2.0
 *
 * For the tests: a client and a server driver on loopback with keys at hand, and one session between them. */
#ifndef VCL_IO_PAIR_H
#define VCL_IO_PAIR_H

#include "vcl/io.h"

struct pair {
    struct vcl_driver *client, *server;
    struct vcl_session *session;
    struct pmw_addr server_addr;
};

/* Both with these settings (NULL: the defaults). Aborts the test program when that fails. */
void pair_open(struct pair *p, const struct vcl_driver_config *settings);
/* Closes both with a linger, waits for their threads, and fails if one does not end. */
void pair_close(struct pair *p);
/* One established connection; returns when both ends exist. */
void pair_connect(struct pair *p, struct vcl_sock **client, struct vcl_sock **server);

/* A pair with one connection. */
struct link {
    struct pair pair;
    struct vcl_sock *c, *s; /* the client's end, the server's */
};
void link_open(struct link *l, const struct vcl_driver_config *settings);
void link_close(struct link *l);

int64_t put(struct vcl_sock *s, const void *bytes, size_t len, unsigned flags, uint64_t deadline); /* one buffer */
uint64_t in_seconds(double s);                                                                     /* a deadline */

#endif
