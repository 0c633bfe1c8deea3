/* SPDX-License-Identifier: Apache-2.0
 *
 * Exits: where datagrams leave. Each exit holds sealed control frames (sent first) and the connections that are ready,
 * served in turn, one frame each. Exits with something to send are served in turn too.
 */
#include "state.h"

#include <assert.h>
#include <string.h>

void vcl__exit_init(struct exit *x, struct trunk *trunk)
{
    *x = (struct exit){.trunk = trunk};
    list_init(&x->active);
    list_init(&x->ctl);
    list_init(&x->conns);
}

void vcl__exit_wake(struct vcl_engine *e, struct exit *x)
{
    if (!list_linked(&x->active))
        list_push(&e->exits, &x->active);
}

static struct ctl *first_ctl(const struct exit *x)
{
    struct list *n = list_first(&x->ctl);
    return n == NULL ? NULL : container_of(n, struct ctl, node);
}

static struct ctl *take_ctl(struct exit *x)
{
    struct ctl *f = first_ctl(x);
    list_del(&f->node);
    x->nb_ctl--;
    return f;
}

struct ctl *vcl__exit_pop_ctl(struct exit *x, size_t len_max)
{
    struct ctl *f = first_ctl(x);
    return f == NULL || f->len > len_max ? NULL : take_ctl(x);
}

void vcl__exit_clear(struct vcl_engine *e, struct exit *x)
{
    while (!list_empty(&x->ctl))
        mem_free(&e->mem, take_ctl(x));
    list_del(&x->active);
    while (!list_empty(&x->conns)) {
        struct vcl_conn *c = container_of(list_first(&x->conns), struct vcl_conn, ready);
        list_del(&c->ready);
        if (vcl__route_exit(e, &c->s->route) != x) /* its session moved while it waited here, and it waits there now */
            vcl__conn_kick(c);
    }
}

struct exit *vcl__route_exit(struct vcl_engine *e, const struct route *r)
{
    if (r->trunk == NULL)
        return &e->direct;
    return r->trunk->generation == r->trunk_generation ? &r->trunk->exit : NULL;
}

static void push(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len, bool may_merge)
{
    assert(len > 0 && len <= PMW_FRAME_BYTES_MAX);
    struct exit *x = vcl__route_exit(e, r);
    struct ctl *f = x == NULL ? NULL : mem_alloc(&e->mem, sizeof(*f) + (size_t)len);
    if (f == NULL) {
        vcl__drop(e, VCL_DROP_LIMIT);
        return;
    }
    f->to = r->addr;
    f->len = (uint16_t)len;
    f->may_merge = may_merge;
    memcpy(f->bytes, bytes, (size_t)len);
    if (x->nb_ctl == CTL_FRAMES_MAX) {
        vcl__drop(e, VCL_DROP_LIMIT);
        mem_free(&e->mem, take_ctl(x));
    }
    list_push(&x->ctl, &f->node);
    x->nb_ctl++;
    vcl__exit_wake(e, x);
}

void vcl__ctl_push(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len)
{
    push(e, r, bytes, len, false);
}

void vcl__ctl_push_merged(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len)
{
    push(e, r, bytes, len, true);
}

int vcl__exit_next_frame(struct vcl_engine *e, struct exit *x, uint8_t *buf, size_t cap, struct vcl_conn **of)
{
    struct list *n;
    while ((n = list_first(&x->conns)) != NULL) {
        struct vcl_conn *c = container_of(n, struct vcl_conn, ready);
        bool ours = vcl__route_exit(e, &c->s->route) == x; /* else its session moved while it waited */
        int len = ours ? vcl__conn_build(c, buf, cap) : 0;
        if (len < 0)
            return len;
        list_del(&c->ready);
        if (len > 0 || !ours)
            vcl__conn_kick(c); /* more to send, or another exit: to the end of that queue */
        if (len > 0) {
            *of = c;
            return len;
        }
    }
    return 0;
}

static bool direct_send(struct vcl_engine *e, struct vcl_datagram *out)
{
    struct ctl *f = vcl__exit_pop_ctl(&e->direct, sizeof(out->bytes));
    if (f != NULL) {
        out->to = f->to;
        out->len = f->len;
        out->may_merge = f->may_merge;
        memcpy(out->bytes, f->bytes, f->len);
        mem_free(&e->mem, f);
        return true;
    }
    struct vcl_conn *c;
    int len = vcl__exit_next_frame(e, &e->direct, out->bytes, sizeof(out->bytes), &c);
    assert(len >= 0);
    if (len == 0)
        return false;
    out->to = c->s->route.addr;
    out->len = (size_t)len;
    out->may_merge = c->s->mtu.may_merge;
    return true;
}

static bool has_output(const struct exit *x)
{
    return !list_empty(&x->ctl) || !list_empty(&x->conns) || (x->trunk != NULL && vcl__trunk_has_output(x->trunk));
}

/* T8: what a helper asked for goes before anything new. */
static bool repeated_send(struct vcl_engine *e, struct vcl_datagram *out)
{
    const struct nack_slot *s = vcl__nack_ring_pop(&e->sent_batches);
    if (s == NULL)
        return false;
    out->to = s->to;
    out->len = s->len;
    out->may_merge = false;
    memcpy(out->bytes, s->bytes, s->len);
    return true;
}

int vcl__exit_send(struct vcl_engine *e, struct vcl_datagram *out)
{
    struct list *n;
    if (repeated_send(e, out))
        return 1;
    while ((n = list_first(&e->exits)) != NULL) {
        struct exit *x = container_of(n, struct exit, active);
        out->may_merge = false;
        bool sent = x->trunk != NULL ? vcl__trunk_fill(e, x->trunk, out) : direct_send(e, out);
        list_del(&x->active);
        if (has_output(x))
            list_push(&e->exits, &x->active);
        if (sent)
            return 1;
    }
    return 0;
}
