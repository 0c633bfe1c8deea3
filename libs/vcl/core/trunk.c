/* SPDX-License-Identifier: Apache-2.0
 *
 * Trunks as a server sees them. In: a batch is authenticated as a whole, then its entries go to the demux (T1-T3). A
 * helper needs no introduction: its first authentic batch creates its trunk (K5). Out: frames of all sessions that are
 * reached through one helper worker are packed together (T4).
 */
#include "state.h"

#include <assert.h>
#include <string.h>

static uint64_t worker_key(uint16_t helper_id, uint8_t worker)
{
    return (uint64_t)helper_id << 8 | worker;
}

static struct trunk *trunk_find(struct vcl_engine *e, const struct pmw_trunk *h)
{
    struct map_node *n = vcl__map_find(&e->trunks, worker_key(h->helper_id, h->worker));
    return n == NULL ? NULL : container_of(n, struct trunk, by_worker);
}

/* A fresh trunk, or the longest unused one, whose routes die with its generation. */
static struct trunk *trunk_take(struct vcl_engine *e, const struct pmw_trunk *h)
{
    struct trunk *t;
    if (e->nb_trunks < e->cfg.trunks_max) {
        t = mem_alloc(&e->mem, sizeof(*t));
        if (t == NULL)
            return NULL;
        vcl__exit_init(&t->exit, t);
        list_init(&t->lru);
        e->nb_trunks++;
    } else {
        t = container_of(list_first(&e->trunk_lru), struct trunk, lru);
        vcl__exit_clear(e, &t->exit);
        vcl__map_remove(&e->trunks, &t->by_worker);
        list_del(&t->lru);
        if (t->out_seq > e->trunk_seq_floor)
            e->trunk_seq_floor = t->out_seq;
    }
    t->generation++;
    t->helper_id = h->helper_id;
    t->worker = h->worker;
    vcl__map_insert(&e->trunks, &t->by_worker, worker_key(h->helper_id, h->worker));
    list_push(&e->trunk_lru, &t->lru);
    return t;
}

/* An authentic batch of a helper worker, or of an incarnation of it, that is unknown here. Routes through a restarted
 * helper stay valid: entries carry the client's address (T3). */
static struct trunk *trunk_learn(struct vcl_engine *e, struct trunk *t, const struct pmw_trunk *h,
                                 const struct pmw_trunk_keys *keys)
{
    if (t == NULL)
        t = trunk_take(e, h);
    if (t == NULL)
        return NULL;
    t->incarnation = h->incarnation;
    t->keys = *keys;
    memset(&t->in, 0, sizeof(t->in));
    /* Its receiver may remember numbers of a trunk that was evicted here: never go back below them (T2). */
    t->out_seq = e->trunk_seq_floor;
    return t;
}

static int trunk_authenticate(struct vcl_engine *e, const uint8_t *buf, size_t len, const struct pmw_trunk *h,
                              struct trunk **out, uint64_t *seq)
{
    struct trunk *t = trunk_find(e, h);
    if (t != NULL && t->incarnation == h->incarnation) {
        *seq = pmw_wlsb(t->in.highest, h->batch_seq, 32);
        if (!vcl__replay_is_fresh(&t->in, *seq))
            return VCL_DROP_TRUNK_REPLAY;
        if (!pmw_trunk_check(buf, len, t->keys.to_server, (uint32_t)(*seq >> 32)))
            return VCL_DROP_TRUNK_TAG;
        *out = t;
        return 0;
    }
    if (t != NULL && (int32_t)(h->incarnation - t->incarnation) < 0)
        return VCL_DROP_TRUNK_REPLAY; /* of a helper process that has a successor */
    struct pmw_trunk_keys keys;
    pmw_trunk_keys_derive(&keys, e->cfg.trunk_secret, h->helper_id, h->incarnation);
    *seq = h->batch_seq;
    if (!pmw_trunk_check(buf, len, keys.to_server, 0))
        return VCL_DROP_TRUNK_TAG;
    if (*seq == 0)
        return VCL_DROP_TRUNK_REPLAY; /* numbers start at 1 */
    *out = trunk_learn(e, t, h, &keys);
    return *out == NULL ? VCL_DROP_LIMIT : 0;
}

static int long_receive(struct vcl_engine *e, struct trunk *t, const struct pmw_entry *entry)
{
    struct route from = {.trunk = t, .trunk_generation = t->generation, .addr = entry->client};
    if (pmw_type_of(entry->frame, entry->frame_len) == PMW_DATA)
        e->stats.trunk_data_entries_in++;
    return vcl__frame_receive(e, &from, entry->frame, entry->frame_len);
}

static int entries_receive(struct vcl_engine *e, struct trunk *t, uint16_t nb_entries, const uint8_t *buf, size_t len)
{
    struct pmw_any_entry entry;
    uint32_t nb = 0;
    size_t at = PMW_TRUNK_HEADER_BYTES, end = len - PMW_TRUNK_TAG_BYTES;
    int rc, first_drop = 0;
    while ((rc = pmw_entry_next(buf, end, &at, &entry)) > 0) {
        e->stats.trunk_entries_in++;
        nb++;
        int drop = entry.kind == PMW_ENTRY_LONG_V4 || entry.kind == PMW_ENTRY_LONG_V6
                       ? long_receive(e, t, &entry.as_long)
                       : vcl__drop(e, VCL_DROP_TRUNK_ENTRY);
        if (first_drop == 0)
            first_drop = drop;
    }
    return rc < 0 || nb != nb_entries ? vcl__drop(e, VCL_DROP_TRUNK_ENTRY) : first_drop;
}

int vcl__trunk_receive(struct vcl_engine *e, const struct pmw_addr *from, const uint8_t *buf, size_t len)
{
    struct pmw_trunk h;
    struct trunk *t = NULL;
    uint64_t seq = 0;
    if (e->cfg.server_id == 0)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (pmw_trunk_decode(buf, len, &h) < 0 || h.shard != e->cfg.shard)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    int drop = trunk_authenticate(e, buf, len, &h, &t, &seq);
    if (drop != 0)
        return vcl__drop(e, (enum vcl_drop)drop);
    if (seq > t->in.highest)
        t->addr = *from;
    vcl__replay_mark(&t->in, seq);
    list_del(&t->lru);
    list_push(&e->trunk_lru, &t->lru);
    e->stats.trunk_batches_in++;
    return entries_receive(e, t, h.nb_entries, buf, len);
}

static int entry_put(struct vcl_engine *e, uint8_t *buf, size_t cap, const struct pmw_addr *to, const uint8_t *frame,
                     size_t len)
{
    struct pmw_entry entry = {.client = *to, .frame = frame, .frame_len = (uint16_t)len};
    int n = pmw_entry_encode(buf, cap, &entry);
    assert(n > 0); /* return addresses come from decoded entries only, and the length was checked */
    e->stats.trunk_entries_out++;
    return n;
}

/* Puts the next frame into buf. Returns bytes used, 0 = nothing is ready, or -1 = the next does not fit. Room is
 * reckoned with the longest entry head: whose turn it is, and so its address family, is known only when the frame is
 * built. */
static int entry_next(struct vcl_engine *e, struct trunk *t, uint8_t *buf, size_t space)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    struct vcl_session *s = NULL;
    if (space <= PMW_ENTRY_LONG_V6_BYTES)
        return -1;
    size_t cap = space - PMW_ENTRY_LONG_V6_BYTES;
    if (!list_empty(&t->exit.ctl)) {
        struct ctl *f = vcl__exit_pop_ctl(&t->exit, cap);
        if (f == NULL)
            return -1;
        int n = entry_put(e, buf, space, &f->to, f->bytes, f->len);
        mem_free(&e->mem, f);
        return n;
    }
    int len = vcl__exit_next_frame(e, &t->exit, frame, cap < sizeof(frame) ? cap : sizeof(frame), &s);
    if (len <= 0)
        return len < 0 ? -1 : 0;
    return entry_put(e, buf, space, &s->route.addr, frame, (size_t)len);
}

bool vcl__trunk_fill(struct vcl_engine *e, struct trunk *t, struct vcl_datagram *out)
{
    size_t at = PMW_TRUNK_HEADER_BYTES, end = e->cfg.trunk_bytes_max - PMW_TRUNK_TAG_BYTES;
    uint16_t nb = 0;
    int n = 0;
    while (nb < PMW_TRUNK_ENTRIES_MAX && (n = entry_next(e, t, out->bytes + at, end - at)) > 0) {
        at += (size_t)n;
        nb++;
    }
    if (nb == 0)
        return false;
    if (n < 0) { /* full: exactly the segment size, so that equal datagrams merge (T4) */
        memset(out->bytes + at, 0, end - at);
        at = end;
    }
    struct pmw_trunk h = {.nb_entries = nb,
                          .helper_id = t->helper_id,
                          .worker = t->worker,
                          .shard = e->cfg.shard,
                          .incarnation = e->cfg.incarnation,
                          .batch_seq = (uint32_t)++t->out_seq};
    pmw_trunk_encode(out->bytes, sizeof(out->bytes), &h);
    out->len = at + PMW_TRUNK_TAG_BYTES;
    out->to = t->addr;
    pmw_trunk_seal(out->bytes, out->len, t->keys.to_helper, (uint32_t)(t->out_seq >> 32));
    e->stats.trunk_batches_out++;
    return true;
}

void vcl__trunks_free(struct vcl_engine *e)
{
    while (!list_empty(&e->trunk_lru)) {
        struct trunk *t = container_of(list_first(&e->trunk_lru), struct trunk, lru);
        vcl__exit_clear(e, &t->exit);
        list_del(&t->lru);
        mem_free(&e->mem, t);
    }
}
