/* SPDX-License-Identifier: Apache-2.0
 *
 * The load of a server's shard, as credits want it (O1): how long messages wait for the application, and how many do.
 *
 * Connections with unread bytes are queued in the order in which they became unread. A connection that the application
 * leaves alone while it reads others that came later says nothing of the load: its own window limits it (C2), and here
 * it is set aside until it is read again.
 */
#include "state.h"

enum {
    ASIDE_US = 10000
}; /* so much later ones were read: far more than one round of an event loop changes the order */

void vcl__unread_forget(struct vcl_conn *c)
{
    list_del(&c->unread_node);
    c->e->nb_unread -= c->nb_unread;
    c->nb_unread = 0;
}

void vcl__unread_arrived(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    if (e->cfg.server_id == 0 || c->released)
        return;
    c->nb_unread++;
    e->nb_unread++;
    if (list_linked(&c->unread_node))
        return;
    c->unread_since = c->unread_mark_at = e->now;
    c->unread_mark = c->rcv.nxt;
    list_push(&e->unread, &c->unread_node);
}

/* What is left when the application has read: the oldest of it came after the last mark that was passed, so the age is
 * overstated by less than what it took to read from mark to mark. */
void vcl__unread_read(struct vcl_conn *c)
{
    struct vcl_engine *e = c->e;
    uint32_t left = vcl__recvbuf_readable(&c->rcv), nb = c->nb_unread;
    if (e->cfg.server_id == 0)
        return;
    if (c->unread_since > e->unread_read_since)
        e->unread_read_since = c->unread_since;
    vcl__unread_forget(c);
    if (left == 0)
        return;
    if (c->rcv.read >= c->unread_mark) {
        c->unread_since = c->unread_mark_at;
        c->unread_mark = c->rcv.nxt;
        c->unread_mark_at = e->now;
    }
    c->nb_unread = nb > 1 ? nb / 2 : 1;
    e->nb_unread += c->nb_unread;
    list_push(&e->unread, &c->unread_node);
}

uint64_t vcl__unread_age(struct vcl_engine *e)
{
    struct list *n;
    while ((n = list_first(&e->unread)) != NULL) {
        struct vcl_conn *c = container_of(n, struct vcl_conn, unread_node);
        if (c->unread_since + ASIDE_US >= e->unread_read_since)
            return e->now - c->unread_since;
        vcl__unread_forget(c);
    }
    return 0;
}

/* O1. Returns true when the limits were reckoned anew. */
bool vcl__credit_tick(struct vcl_engine *e)
{
    uint64_t elapsed = e->now - e->credit.round_at;
    struct list *n, *tmp;
    if (e->cfg.credit_target_us == 0 || !vcl__credit_due(&e->credit, e->now))
        return false;
    vcl__credit_round(&e->credit, e->now, e->cfg.credit_target_us, vcl__unread_age(e), e->nb_unread, e->nb_trunks);
    list_each(n, tmp, &e->trunk_lru)
    {
        struct trunk *t = container_of(n, struct trunk, lru);
        if (t->credit.heard)
            vcl__credit_weigh(&e->credit, &t->credit, elapsed);
    }
    return true;
}
