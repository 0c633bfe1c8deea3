/* SPDX-License-Identifier: Apache-2.0
 *
 * Events out. Bounded by construction: a connection is queued once and carries one bit per kind of event; a session
 * keeps the newest PATH_EVENTS_MAX.
 */
#include "state.h"

#include <string.h>

void vcl__conn_event(struct vcl_conn *c, enum vcl_event_type type)
{
    /* Before it is accepted, the application does not know the connection; vcl_conn_accept catches up. */
    if (c->released || (c->backlogged && type != VCL_EV_CONN_ACCEPTED))
        return;
    c->events |= 1u << type;
    if (!list_linked(&c->event_node))
        list_push(&c->e->conn_events, &c->event_node);
}

void vcl__conn_forget_events(struct vcl_conn *c)
{
    c->events = 0;
    list_del(&c->event_node);
}

void vcl__session_event(struct vcl_session *s, const struct vcl_event *ev)
{
    struct dial *d = s->dial;
    if (s->freeing) /* the application has given the handle back */
        return;
    if (d->nb_events == PATH_EVENTS_MAX) {
        memmove(&d->events[0], &d->events[1], sizeof(d->events[0]) * (PATH_EVENTS_MAX - 1));
        d->nb_events--;
    }
    struct vcl_event *e = &d->events[d->nb_events++];
    *e = *ev;
    e->session = s;
    e->at_us = s->e->now;
    if (!list_linked(&d->event_node))
        list_push(&s->e->session_events, &d->event_node);
}

static void session_event_take(struct vcl_engine *e, struct vcl_event *out)
{
    struct dial *d = container_of(list_first(&e->session_events), struct dial, event_node);
    *out = d->events[0];
    memmove(&d->events[0], &d->events[1], sizeof(d->events[0]) * --d->nb_events);
    if (d->nb_events == 0)
        list_del(&d->event_node);
}

static void conn_event_take(struct vcl_engine *e, struct vcl_event *out)
{
    struct vcl_conn *c = container_of(list_first(&e->conn_events), struct vcl_conn, event_node);
    enum vcl_event_type type = VCL_EV_CONN_OPENED; /* the enum is in the order in which one connection tells them */
    while ((c->events & 1u << type) == 0)
        type++;
    *out = (struct vcl_event){.type = type, .conn = c, .session = c->s, .error = c->error, .at_us = e->now};
    if (c->s->dial != NULL)
        out->helper_id = c->s->dial->active.helper_id;
    out->epoch = c->s->epoch;
    c->events &= ~(1u << type);
    list_del(&c->event_node);
    if (c->events != 0)
        list_push(&e->conn_events, &c->event_node);
}

int vcl_engine_next_event(struct vcl_engine *e, struct vcl_event *out)
{
    if (!list_empty(&e->session_events))
        session_event_take(e, out);
    else if (!list_empty(&e->conn_events))
        conn_event_take(e, out);
    else
        return 0;
    return 1;
}
