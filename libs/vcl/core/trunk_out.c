/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches to a helper worker: frames of all sessions that are reached through it are packed together (T4), short where
 * their flow is bound (T6); control entries go first.
 */
#include "state.h"

#include <assert.h>
#include <string.h>

bool vcl__trunk_has_output(const struct trunk *t)
{
    return t->nb_notes > 0 || t->tell;
}

void vcl__trunk_tell(struct vcl_engine *e, struct trunk *t)
{
    t->tell = true;
    vcl__exit_wake(e, &t->exit);
}

void vcl__trunk_note(struct vcl_engine *e, struct trunk *t, const struct trunk_note *note)
{
    for (uint16_t i = 0; i < t->nb_notes; i++) { /* a batch of short entries of one lost binding: said once */
        const struct trunk_note *n = &t->notes[(t->first_note + i) % TRUNK_NOTES_MAX];
        if (n->kind == note->kind && n->number == note->number && n->generation == note->generation)
            return;
    }
    if (t->nb_notes == TRUNK_NOTES_MAX) {
        vcl__drop(e, VCL_DROP_LIMIT);
        return;
    }
    t->notes[(t->first_note + t->nb_notes++) % TRUNK_NOTES_MAX] = *note;
    vcl__exit_wake(e, &t->exit);
}

static int note_put(struct trunk *t, uint8_t *buf, size_t cap)
{
    const struct trunk_note *note = &t->notes[t->first_note];
    struct pmw_nack nack = {.first = note->number, .count = note->count};
    struct pmw_bind_ref ref = {.index = note->number, .generation = note->generation};
    int n = note->kind == PMW_ENTRY_NACK ? pmw_nack_encode(buf, cap, &nack)
                                         : pmw_bind_ref_encode(buf, cap, (enum pmw_entry_kind)note->kind, &ref);
    if (n < 0)
        return -1;
    t->first_note = (t->first_note + 1) % TRUNK_NOTES_MAX;
    t->nb_notes--;
    return n;
}

static int long_put(uint8_t *buf, size_t cap, const struct pmw_addr *to, const uint8_t *frame, size_t len)
{
    struct pmw_entry entry = {.client = *to, .frame = frame, .frame_len = (uint16_t)len};
    int n = pmw_entry_encode(buf, cap, &entry);
    assert(n > 0); /* return addresses come from decoded entries only, and the length was checked */
    return n;
}

/* T9: marks of a round are taken by each connection that sends through the trunk, once, when it does. */
static void take_marks(struct trunk *t, struct vcl_conn *c)
{
    if (c->mark_rounds == t->mark_rounds)
        return;
    c->mark_rounds = t->mark_rounds;
    vcl__cc_on_marked(&c->cc, t->mark_share, c->sent.next_order, vcl__mtu_payload(c->s));
}

static int conn_put(struct vcl_engine *e, struct trunk *t, struct vcl_conn *c, uint8_t *buf, size_t cap,
                    const uint8_t *frame, size_t len)
{
    struct pmw_short in;
    take_marks(t, c);
    if (pmw_type_of(frame, len) == PMW_DATA)
        e->stats.trunk_data_entries_out++;
    const struct binding *b = vcl__binding_for_reply(c, t);
    if (b == NULL || !pmw_short_of_frame(frame, len, &in))
        return long_put(buf, cap, &c->s->route.addr, frame, len);
    in.index = b->index;
    in.generation = b->generation & 0x0f;
    int n = pmw_short_encode(buf, cap, &in);
    assert(n > 0); /* shorter than the long one for which there was room */
    e->stats.trunk_short_data_entries_out += !in.is_ack;
    return n;
}

/* Puts the next entry into buf. Returns bytes used, 0 = nothing is ready, or -1 = the next does not fit. Room is
 * reckoned with the longest entry head: whose turn it is, and so its address family, is known only when the frame is
 * built. */
static int entry_next(struct vcl_engine *e, struct trunk *t, uint8_t *buf, size_t space)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    struct vcl_conn *c = NULL;
    if (t->nb_notes > 0)
        return note_put(t, buf, space);
    if (space <= PMW_ENTRY_LONG_V6_BYTES)
        return -1;
    size_t cap = space - PMW_ENTRY_LONG_V6_BYTES;
    if (!list_empty(&t->exit.ctl)) {
        struct ctl *f = vcl__exit_pop_ctl(&t->exit, cap);
        if (f == NULL)
            return -1;
        int n = long_put(buf, space, &f->to, f->bytes, f->len);
        mem_free(&e->mem, f);
        return n;
    }
    int len = vcl__exit_next_frame(e, &t->exit, frame, cap < sizeof(frame) ? cap : sizeof(frame), &c);
    if (len <= 0)
        return len < 0 ? -1 : 0;
    return conn_put(e, t, c, buf, space, frame, (size_t)len);
}

static void header_put(struct vcl_engine *e, struct trunk *t, uint16_t nb_entries, struct vcl_datagram *out)
{
    uint64_t age = vcl__unread_age(e);
    struct pmw_trunk h = {.nb_entries = nb_entries,
                          .helper_id = t->helper_id,
                          .worker = t->worker,
                          .shard = e->cfg.shard,
                          .incarnation = e->cfg.incarnation,
                          .batch_seq = (uint32_t)++t->out_seq,
                          .flags = PMW_TRUNK_ACKS,
                          .ack_batch = (uint32_t)t->in.highest, /* a trunk exists because a batch arrived */
                          .ack_bits = pmw_replay_ack_bits(&t->in),
                          .hold_us = (uint16_t)(age < UINT16_MAX ? age : UINT16_MAX),
                          .ce_count = t->watch.marks_in};
    if (t->credit.heard && e->cfg.credit_target_us != 0) { /* O1 */
        h.flags |= PMW_TRUNK_CREDIT;
        h.credit = vcl__credit_limit(&e->credit, &t->credit, e->nb_unread);
        vcl__credit_told(&t->credit, e->now, t->out_seq, h.credit);
    }
    pmw_trunk_encode(out->bytes, sizeof(out->bytes), &h);
}

bool vcl__trunk_fill(struct vcl_engine *e, struct trunk *t, struct vcl_datagram *out)
{
    size_t segment = vcl__watch_segment(&t->watch, e->now, e->cfg.trunk_bytes_max);
    size_t at = PMW_TRUNK_HEADER_BYTES, end = segment - PMW_TRUNK_TAG_BYTES;
    uint16_t nb = 0;
    int n = 0;
    while (nb < PMW_TRUNK_ENTRIES_MAX && (n = entry_next(e, t, out->bytes + at, end - at)) > 0) {
        at += (size_t)n;
        nb++;
    }
    if (nb == 0 && n < 0) { /* larger than the segment behind a black hole: it goes alone (T7) */
        end = e->cfg.trunk_bytes_max - PMW_TRUNK_TAG_BYTES;
        n = entry_next(e, t, out->bytes + at, end - at);
        assert(n >= 0);
        at += (size_t)n;
        nb = n > 0;
    } else if (n < 0) { /* full: exactly the segment size, so that equal datagrams merge (T4) */
        memset(out->bytes + at, 0, end - at);
        at = end;
    }
    if (nb == 0 && !t->tell)
        return false;
    t->tell = false;
    header_put(e, t, nb, out);
    out->len = at + PMW_TRUNK_TAG_BYTES;
    out->to = t->addr;
    pmw_trunk_seal(out->bytes, out->len, t->keys.to_helper, (uint32_t)(t->out_seq >> 32));
    vcl__watch_sent(&t->watch, e->now, t->out_seq, out->len);
    vcl__nack_ring_put(&e->sent_batches, &e->mem, e->now, t, t->out_seq, &out->to, out->bytes, out->len);
    e->stats.trunk_batches_out++;
    e->stats.trunk_entries_out += nb;
    return true;
}
