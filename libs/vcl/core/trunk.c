/* SPDX-License-Identifier: Apache-2.0
 *
 * Trunks as a server sees them: a batch is authenticated as a whole, then its header and its entries count (T1-T3). A
 * helper needs no introduction: its first authentic batch creates its trunk (K5).
 */
#include "state.h"

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
        if (vcl__timers_reserve(&e->timers) != 0) {
            mem_free(&e->mem, t);
            return NULL;
        }
        t->timer.kind = TIMER_TRUNK;
        vcl__exit_init(&t->exit, t);
        list_init(&t->lru);
        list_init(&t->bindings);
        t->number = e->nb_trunks++;
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
    /* Nothing that the one before said holds for this one: bindings, counts, what it misses (T6, T7). */
    vcl__bindings_forget_trunk(e, t);
    vcl__nack_ring_forget(&e->sent_batches, t);
    vcl__timers_disarm(&e->timers, &t->timer);
    memset(&t->in, 0, sizeof(t->in));
    memset(&t->watch, 0, sizeof(t->watch));
    memset(&t->credit, 0, sizeof(t->credit));
    t->nb_notes = 0;
    t->tell = false;
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
        if (!pmw_replay_is_new(&t->in, *seq))
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

/* What the header says of the trunk itself: news only in the batch with the highest number. */
static void header_in(struct vcl_engine *e, struct trunk *t, const struct pmw_trunk *h, bool newest)
{
    if ((h->flags & PMW_TRUNK_CREDIT) != 0)
        vcl__credit_on_demand(&t->credit, h->credit);
    uint64_t ack = (h->flags & PMW_TRUNK_ACKS) != 0 ? pmw_wlsb(t->out_seq, h->ack_batch, 32) : 0;
    if (ack != 0 && ack <= t->out_seq)
        vcl__watch_acked(&t->watch, e->now, ack, h->ack_bits);
    if (newest && e->cfg.credit_target_us != 0 &&
        vcl__credit_unheard(&t->credit, e->now, ack <= t->out_seq ? ack : 0, vcl__watch_rtt(&t->watch)))
        vcl__trunk_tell(e, t);
    uint32_t share = newest ? vcl__watch_marks(&t->watch, e->now, h->ce_count, t->out_seq) : 0;
    if (share > 0) {
        t->mark_share = share;
        t->mark_rounds++;
    }
}

/* T8: each gap that is old enough is asked for. O1: a helper that waits for credit, or has little left, hears of more.
 */
static void trunk_look(struct vcl_engine *e, struct trunk *t)
{
    struct pmw_nack nack;
    while (vcl__watch_take_nack(&t->watch, &t->in, e->now, &nack)) {
        struct trunk_note note = {.kind = PMW_ENTRY_NACK, .number = nack.first, .count = nack.count};
        vcl__trunk_note(e, t, &note);
        e->stats.trunk_nacks_sent++;
    }
    uint64_t next = vcl__watch_nack_at(&t->watch);
    vcl__credit_tick(e);
    if (vcl__credit_is_low(&t->credit)) {
        uint32_t more = vcl__credit_limit(&e->credit, &t->credit, e->nb_unread) - t->credit.limit;
        if (more > 0 && (vcl__credit_left(&t->credit) == 0 || more >= CREDIT_SPARE_ENTRIES / 4))
            vcl__trunk_tell(e, t);
        else if (vcl__credit_left(&t->credit) == 0 && e->now + CREDIT_ROUND_US < next)
            next = e->now + CREDIT_ROUND_US;
    }
    vcl__timers_arm(&e->timers, &t->timer, next);
}

void vcl__trunk_on_timer(struct vcl_engine *e, struct trunk *t)
{
    trunk_look(e, t);
}

int vcl__trunk_receive(struct vcl_engine *e, const struct pmw_addr *from, bool marked, const uint8_t *buf, size_t len)
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
    bool newest = seq > t->in.highest;
    if (newest)
        t->addr = *from;
    vcl__watch_arrived(&t->watch, &t->in, e->now, seq);
    pmw_replay_mark(&t->in, seq);
    t->watch.marks_in += marked;
    if (h.nb_entries > 0) { /* who only asks for credit is not in use */
        list_del(&t->lru);
        list_push(&e->trunk_lru, &t->lru);
    }
    e->stats.trunk_batches_in++;
    header_in(e, t, &h, newest);
    drop = vcl__trunk_entries(e, t, h.nb_entries, buf, len);
    trunk_look(e, t);
    return drop;
}

void vcl__trunks_free(struct vcl_engine *e)
{
    while (!list_empty(&e->trunk_lru)) {
        struct trunk *t = container_of(list_first(&e->trunk_lru), struct trunk, lru);
        vcl__exit_clear(e, &t->exit);
        vcl__bindings_forget_trunk(e, t);
        vcl__timers_disarm(&e->timers, &t->timer);
        vcl__timers_unreserve(&e->timers);
        list_del(&t->lru);
        mem_free(&e->mem, t);
    }
    vcl__nack_ring_free(&e->sent_batches, &e->mem);
}
