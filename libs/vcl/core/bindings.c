/* SPDX-License-Identifier: Apache-2.0
 *
 * See bindings.h. Whom a reply reaches is never learnt here: a binding is used for replies only while its address is
 * the one that OPEN or RESUME told (T3).
 */
#include "bindings.h"

#include "state.h"

enum { GENERATION_MASK = 0x0f };

static uint64_t key_of(const struct trunk *t, uint32_t index)
{
    return (uint64_t)t->number << 32 | index;
}

static struct vcl_conn *conn_of(const struct vcl_engine *e, uint64_t cid)
{
    struct map_node *n = vcl__map_find(&e->conns, cid);
    return n == NULL ? NULL : container_of(n, struct vcl_conn, by_cid);
}

static struct binding *at_index(struct vcl_engine *e, const struct trunk *t, uint32_t index)
{
    struct map_node *n = vcl__map_find(&e->bindings, key_of(t, index));
    return n == NULL ? NULL : container_of(n, struct binding, by_index);
}

static struct binding *of_conn(const struct vcl_conn *c, const struct trunk *t)
{
    struct list *n, *tmp;
    list_each(n, tmp, &c->bindings)
    {
        struct binding *b = container_of(n, struct binding, of_conn);
        if (b->trunk == t)
            return b;
    }
    return NULL;
}

static void forget(struct vcl_engine *e, struct binding *b)
{
    vcl__map_remove(&e->bindings, &b->by_index);
    list_del(&b->of_trunk);
    list_del(&b->of_conn);
    e->nb_bindings--;
    mem_free(&e->mem, b);
}

static struct binding *remember(struct vcl_engine *e, struct trunk *t, struct vcl_conn *c, const struct pmw_bind *in)
{
    if (e->nb_bindings >= (uint64_t)e->cfg.conns_max * BINDINGS_PER_CONN)
        return NULL;
    struct binding *b = mem_alloc(&e->mem, sizeof(*b));
    if (b == NULL)
        return NULL;
    *b =
        (struct binding){.trunk = t, .conn = c, .client = in->client, .index = in->index, .generation = in->generation};
    list_init(&b->of_trunk);
    list_init(&b->of_conn);
    vcl__map_insert(&e->bindings, &b->by_index, key_of(t, b->index));
    list_push(&t->bindings, &b->of_trunk);
    list_push_front(&c->bindings, &b->of_conn);
    e->nb_bindings++;
    return b;
}

enum pmw_entry_kind vcl__binding_on_bind(struct vcl_engine *e, struct trunk *t, const struct pmw_bind *in)
{
    struct vcl_conn *c = conn_of(e, in->cid);
    if (c == NULL)
        return PMW_ENTRY_BIND_ERR;
    struct binding *old = at_index(e, t, in->index);
    /* Batches change places: a BIND of the index's last life may come after that of the present one. */
    if (old != NULL && (int8_t)(in->generation - old->generation) < 0)
        return PMW_ENTRY_PAD;
    if (old != NULL && old->generation == in->generation && old->conn != c)
        return PMW_ENTRY_BIND_ERR; /* one index, two connections: the helper must choose again */
    if (old != NULL)
        forget(e, old);
    if ((old = of_conn(c, t)) != NULL) /* the same flow by another index: the later word counts */
        forget(e, old);
    if (remember(e, t, c, in) != NULL)
        return PMW_ENTRY_BIND_ACK;
    vcl__drop(e, VCL_DROP_LIMIT);
    return PMW_ENTRY_PAD;
}

struct binding *vcl__binding_find(struct vcl_engine *e, const struct trunk *t, uint32_t index, uint8_t generation)
{
    struct binding *b = at_index(e, t, index);
    return b != NULL && ((b->generation ^ generation) & GENERATION_MASK) == 0 ? b : NULL;
}

void vcl__binding_on_unbind(struct vcl_engine *e, struct trunk *t, const struct pmw_bind_ref *r)
{
    struct binding *b = vcl__binding_find(e, t, r->index, r->generation);
    if (b != NULL)
        forget(e, b);
}

struct binding *vcl__binding_for_reply(const struct vcl_conn *c, const struct trunk *t)
{
    const struct route *r = &c->s->route;
    struct binding *b = r->trunk == t ? of_conn(c, t) : NULL;
    return b != NULL && pmw_addr_equal(&b->client, &r->addr) ? b : NULL;
}

void vcl__bindings_forget_trunk(struct vcl_engine *e, struct trunk *t)
{
    while (!list_empty(&t->bindings))
        forget(e, container_of(list_first(&t->bindings), struct binding, of_trunk));
}

void vcl__bindings_forget_conn(struct vcl_conn *c)
{
    while (!list_empty(&c->bindings))
        forget(c->e, container_of(list_first(&c->bindings), struct binding, of_conn));
}
