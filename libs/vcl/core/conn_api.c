/* SPDX-License-Identifier: Apache-2.0
 *
 * What the application does with one connection: accept, write, read, finish, release, ask.
 */
#include "state.h"

#include <assert.h>
#include <string.h>

int vcl_conn_accept(struct vcl_engine *e, struct vcl_conn **out)
{
    struct list *n = list_first(&e->backlog);
    if (n == NULL)
        return VCL_ERR_AGAIN;
    struct vcl_conn *c = container_of(n, struct vcl_conn, place);
    list_del(&c->place);
    c->backlogged = false;
    e->nb_backlog--;
    vcl__conn_forget_events(c);
    if (vcl__recvbuf_readable(&c->rcv) > 0 || vcl__recvbuf_complete(&c->rcv))
        vcl__conn_event(c, VCL_EV_CONN_READABLE);
    *out = c;
    return VCL_OK;
}

int64_t vcl_conn_write(struct vcl_conn *c, uint64_t now, const void *buf, size_t len)
{
    vcl__now(c->e, now);
    if (c->error != VCL_OK)
        return -c->error;
    if (!vcl__conn_can_write(c->state))
        return -VCL_ERR_CLOSED;
    int64_t n = vcl__sendbuf_write(&c->snd, &c->e->mem, buf, len);
    if (n < 0)
        return -VCL_ERR_NOMEM;
    if ((size_t)n < len) {
        c->want_write = true;
        vcl__snd_grow(c);
    }
    if (n == 0 && len > 0)
        return -VCL_ERR_AGAIN;
    vcl__conn_kick(c);
    return n;
}

/* Silly window avoidance (RFC 9293 3.8.6.2.2): an update is worth a frame when it opens a quarter of the buffer, or a
 * window too small for one full frame becomes large enough for one. */
static void update_window(struct vcl_conn *c)
{
    uint64_t edge = c->rcv.nxt + vcl__conn_window(c), quarter = c->rcv.bytes_max / 4;
    uint64_t frame = c->e->payload_max < c->rcv.bytes_max / 2 ? c->e->payload_max : c->rcv.bytes_max / 2;
    if (!vcl__conn_is_live(c->state) || vcl__recvbuf_complete(&c->rcv) || edge <= c->edge_sent)
        return;
    uint64_t told = c->edge_sent > c->rcv.nxt ? c->edge_sent - c->rcv.nxt : 0, opened = edge - c->edge_sent;
    if (opened >= quarter || (told < frame && told + opened >= frame)) {
        c->ack_now = true;
        c->shorts.must_tell = true;
        vcl__conn_kick(c);
    }
}

int64_t vcl_conn_read(struct vcl_conn *c, uint64_t now, void *buf, size_t len, bool peek)
{
    vcl__now(c->e, now);
    uint32_t n = vcl__recvbuf_read(&c->rcv, &c->e->mem, buf, len, peek);
    if (n > 0) {
        if (!peek) {
            vcl__unread_read(c);
            vcl__rcv_grow(c);
            update_window(c);
        }
        return n;
    }
    if (vcl__recvbuf_readable(&c->rcv) > 0 || vcl__recvbuf_complete(&c->rcv))
        return 0; /* asked for nothing, or the stream has ended */
    if (c->error != VCL_OK)
        return -c->error;
    return c->state == CONN_CLOSED ? 0 : -VCL_ERR_AGAIN;
}

size_t vcl_conn_readable(const struct vcl_conn *c)
{
    return vcl__recvbuf_readable(&c->rcv);
}

bool vcl_conn_eof(const struct vcl_conn *c)
{
    return vcl__recvbuf_complete(&c->rcv) && vcl__recvbuf_readable(&c->rcv) == 0;
}

size_t vcl_conn_writable(const struct vcl_conn *c)
{
    return c->error == VCL_OK && vcl__conn_can_write(c->state) ? vcl__sendbuf_space(&c->snd) : 0;
}

size_t vcl_conn_unacked(const struct vcl_conn *c)
{
    if (c->state == CONN_CLOSED)
        return 0;
    return (size_t)(c->snd.end - c->snd.una) + (c->fin_queued && !vcl__conn_fin_acked(c) ? 1 : 0);
}

int vcl_conn_error(const struct vcl_conn *c)
{
    return c->error;
}

int vcl_conn_set_keepalive(struct vcl_conn *c, uint64_t now, uint32_t keepalive_ms)
{
    vcl__now(c->e, now);
    c->keepalive_ms = keepalive_ms;
    c->nb_keepalives = 0;
    c->heard_at = c->e->now; /* RFC 9293 3.8.4 counts silence; what was before the option is not asked about */
    vcl__conn_arm(c);
    return VCL_OK;
}

int vcl_conn_shutdown_write(struct vcl_conn *c, uint64_t now)
{
    vcl__now(c->e, now);
    if (c->error != VCL_OK)
        return c->error;
    if (!vcl__conn_can_write(c->state))
        return VCL_OK; /* already */
    vcl__conn_input(c, CONN_IN_FINISH, VCL_OK);
    return VCL_OK;
}

int vcl_conn_abort(struct vcl_conn *c, uint64_t now)
{
    vcl__now(c->e, now);
    vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_RESET);
    return VCL_OK;
}

void vcl_conn_release(struct vcl_conn *c, uint64_t now)
{
    struct vcl_engine *e = c->e;
    assert(!c->released && !c->backlogged);
    vcl__now(e, now);
    c->user = NULL;
    c->released = true;
    vcl__unread_forget(c);
    vcl__conn_forget_events(c);
    if (c->state == CONN_CLOSED) {
        struct vcl_session *s = c->s;
        e->nb_held--;
        vcl__rcv_take_back(c);
        if (c->expired) {
            vcl__conn_free(c);
            vcl__session_maybe_free(s);
        }
        return;
    }
    if (vcl__recvbuf_readable(&c->rcv) > 0 || c->rcv.ranges.count > 0)
        vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_RESET);
    else if (vcl__conn_can_write(c->state))
        vcl__conn_input(c, CONN_IN_FINISH, VCL_OK);
    vcl__conn_update_linger(c);
    if (c->state == CONN_HALF_CLOSED)
        c->dead_at = e->now + e->cfg.hold_us;
    vcl__conn_arm(c);
}

void vcl_conn_set_user(struct vcl_conn *c, void *user)
{
    c->user = user;
}

void *vcl_conn_user(const struct vcl_conn *c)
{
    return c->user;
}

struct vcl_session *vcl_conn_session(const struct vcl_conn *c)
{
    return c->s;
}

void vcl_conn_info(const struct vcl_conn *c, struct vcl_conn_info *out)
{
    const struct vcl_session *s = c->s;
    memset(out, 0, sizeof(*out));
    out->cid = c->cid;
    if (s->dial != NULL) {
        out->local_port = c->port;
        out->helper_id = s->dial->active.helper_id;
    } else {
        out->peer = s->route.addr;
        out->peer.port = c->port;
        out->helper_id = s->route.trunk != NULL ? s->route.trunk->helper_id : 0;
    }
    out->encrypted = c->seal != NULL;
    out->sent_bytes = c->sent_bytes;
    out->received_bytes = c->received_bytes;
    out->resent_bytes = c->resent_bytes;
    out->srtt_us = s->rtt.srtt_us;
}
