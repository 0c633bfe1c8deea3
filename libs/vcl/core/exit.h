/* SPDX-License-Identifier: Apache-2.0
 *
 * Where frames leave: one exit per trunk, one for everything direct. And the way to the other end, which names its
 * exit.
 */
#ifndef VCL_CORE_EXIT_H
#define VCL_CORE_EXIT_H

#include "list.h"
#include "postman/wire.h"
#include "vcl/engine.h"

enum {
    CTL_FRAMES_MAX = 4096, /* control frames that wait in one exit; the oldest goes first when it is full */
};

struct trunk;

struct exit {
    struct list active; /* in engine.exits while something waits here */
    struct list ctl;    /* struct ctl */
    struct list conns;  /* vcl_conn.ready */
    uint32_t nb_ctl;
    struct trunk *trunk; /* NULL: direct */
};

struct ctl { /* one sealed control frame */
    struct list node;
    struct pmw_addr to;
    uint16_t len;
    bool may_merge; /* vcl_datagram */
    uint8_t bytes[];
};

struct route {           /* how to reach the other end */
    struct trunk *trunk; /* NULL: direct */
    uint32_t trunk_generation;
    struct pmw_addr addr; /* the peer; through a trunk: the client's return address */
};

static inline bool route_equal(const struct route *a, const struct route *b)
{
    return a->trunk == b->trunk && a->trunk_generation == b->trunk_generation && pmw_addr_equal(&a->addr, &b->addr);
}

/* --- exit.c --- */
void vcl__exit_init(struct exit *x, struct trunk *trunk);
void vcl__exit_clear(struct vcl_engine *e, struct exit *x);
void vcl__exit_wake(struct vcl_engine *e, struct exit *x);
struct ctl *vcl__exit_pop_ctl(struct exit *x, size_t len_max); /* the caller frees it; NULL: none, or it is longer */
/* The next frame of a ready connection: its length and session, 0 = none, < 0 = the next does not fit in cap. */
int vcl__exit_next_frame(struct vcl_engine *e, struct exit *x, uint8_t *buf, size_t cap, struct vcl_conn **of);
struct exit *vcl__route_exit(struct vcl_engine *e, const struct route *r); /* NULL: its trunk is gone */
void vcl__ctl_push(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len);
/* May leave in one message with its neighbours, whatever is believed of the way (S21). */
void vcl__ctl_push_merged(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len);
int vcl__exit_send(struct vcl_engine *e, struct vcl_datagram *out);

#endif
