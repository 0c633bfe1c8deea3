/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection, inward: DATA, ACK and RESET. Nothing is looked at before the frame's check holds (W7), and nothing
 * is changed by a frame that acknowledges what was never sent.
 */
#include "state.h"

#include <assert.h>

enum {
    ACK_RUN_FRAMES = 64, /* C3: so many in a row, without a pause, are a large transfer */
    ACK_EVERY_MAX = 16,
    ACK_PAUSE_DELAYS = 20, /* a longer pause ends it: the sender's window may have begun anew */
};

static struct vcl_conn *conn_find(struct vcl_engine *e, uint64_t cid)
{
    struct map_node *n = vcl__map_find(&e->conns, cid);
    return n == NULL ? NULL : container_of(n, struct vcl_conn, by_cid);
}

struct heard { /* numbers of a frame, in full (W3) */
    uint64_t seq, ack;
};

static bool check(struct vcl_conn *c, struct pmw_frame *f, const uint8_t *buf, size_t len, struct heard *h)
{
    const struct vcl_session *s = c->s;
    h->seq = pmw_wlsb(c->rcv.nxt, f->seq, pmw_frame_number_bits(f));
    h->ack = pmw_wlsb(c->snd.una, f->ack, pmw_frame_number_bits(f));
    struct pmw_check_seed seed = {.secret = s->dial != NULL ? s->keys.check_s2c : s->keys.check_c2s,
                                  .cid = c->cid,
                                  .seq = h->seq,
                                  .ack = h->ack,
                                  .epoch = (uint32_t)pmw_wlsb(s->epoch, f->epoch8, pmw_frame_epoch_bits(f))};
    if (c->seal != NULL || (f->flags & PMW_F_SEALED) != 0)
        return vcl__seal_open(c, f, buf, len, &seed);
    return pmw_frame_check(buf, len, &seed);
}

static void writable_again(struct vcl_conn *c)
{
    /* Not at the first free byte: a quarter of the buffer makes a wake-up worth it. */
    if (!c->want_write || vcl__sendbuf_space(&c->snd) < c->snd.bytes_max / 4)
        return;
    c->want_write = false;
    vcl__conn_event(c, VCL_EV_CONN_WRITABLE);
}

/* Frees what the peer has (C1) and tells the state machine when that includes our FIN. */
static void advance_una(struct vcl_conn *c, uint64_t ack)
{
    uint64_t una = ack < c->snd.end ? ack : c->snd.end;
    if (una > c->snd.una)
        vcl__sendbuf_ack(&c->snd, &c->e->mem, una);
    writable_again(c);
    vcl__conn_update_linger(c);
    if (vcl__conn_fin_acked(c))
        vcl__conn_input(c, CONN_IN_FIN_ACKED, VCL_OK);
}

/* C4: what is lost by now; when to look again. */
void vcl__conn_detect_lost(struct vcl_conn *c, struct sentmap_ack *a)
{
    struct vcl_session *s = c->s;
    uint64_t next = vcl__rack_detect(&c->rack, &c->sent, &s->rtt, a->now, a);
    c->loss_at = next;
    if (next != VCL_NEVER)
        vcl__conn_arm(c);
    if (a->nb_lost == 0)
        return;
    c->e->stats.lost_by_order += a->nb_lost;
    vcl__cc_on_lost(&c->cc, a->lost_order, c->sent.next_order, vcl__mtu_payload(s));
    vcl__mtu_on_lost(s, a->lost_len, a->lost_tx_max);
}

/* The round trip that this acknowledgement shows, or 0. It tells which transmission it answers; where that was not the
 * last one, the path is slower than we believed (C4). */
static uint64_t rtt_shown(const struct vcl_session *s, const struct sentmap_ack *a)
{
    /* One that answers a first transmission and also covers a frame that was sent again: the acknowledgement before it
     * was lost, so its age is that of the outage (Karn). But where nothing is known, the PTO may be far too short, and
     * something is always sent again: too long a sample is better than none, and its limit is low. */
    if (a->rtt_known && (a->tx_echo > 0 || !a->repeated || !s->rtt.sampled))
        return a->now - a->rtt_sent_at;
    return vcl__rack_was_spurious(a) && a->first_sent_at != 0 ? a->now - a->first_sent_at : 0;
}

static void on_delivered(struct vcl_conn *c, struct sentmap_ack *a, uint32_t bytes_in_flight)
{
    struct vcl_session *s = c->s;
    uint64_t rtt_us = rtt_shown(s, a);
    if (rtt_us > 0)
        vcl__session_on_rtt(s, rtt_us);
    vcl__ask_end(c);
    c->pto_credit = 0;
    vcl__short_on_delivered(c, a);
    vcl__rack_on_ack(&c->rack, &c->sent, a);
    if (vcl__rack_was_spurious(a)) {
        c->e->stats.lost_needlessly++;
        vcl__cc_undo(&c->cc);
    }
    vcl__cc_on_delivered(&c->cc, &(struct cc_ack){.bytes = a->bytes_delivered,
                                                  .bytes_in_flight = bytes_in_flight,
                                                  .frame_bytes = vcl__mtu_payload(s),
                                                  .rtt_us = rtt_us > UINT32_MAX ? UINT32_MAX : (uint32_t)rtt_us,
                                                  .newest_order = a->newest_order,
                                                  .last_order = c->sent.next_order});
    if (a->newest_order != 0 && s->dial != NULL)
        vcl__path_on_proof(s, a->newest_sent_at);
    if (a->newest_order != 0)
        vcl__ask_on_proof(s, a->newest_sent_at);
    vcl__conn_detect_lost(c, a);
}

static void on_ack(struct vcl_conn *c, const struct pmw_frame *f, uint64_t ack)
{
    struct sentmap_ack r = {.now = c->e->now, .tx_echo = f->tx_echo, .min_rtt_us = c->s->rtt.min_us};
    uint32_t bytes_in_flight = c->sent.bytes_in_flight;
    uint64_t edge = ack + (uint64_t)f->window * PMW_WINDOW_UNIT_BYTES;
    if (f->window != PMW_WINDOW_SILENT && edge > c->snd_edge) /* W8: never shrinks; an older frame says less */
        c->snd_edge = edge;
    if (ack > c->snd.una || c->sent.count > 0)
        vcl__sentmap_ack(&c->sent, ack, &r);
    for (uint8_t i = 0; i < f->nb_sacks; i++) {
        uint64_t start = pmw_wlsb(ack, f->sacks[i].start, 32), end = start + f->sacks[i].len;
        if (start > ack && end <= c->snd_nxt)
            vcl__sentmap_sack(&c->sent, start, end, &r);
    }
    if (r.nb_delivered > 0)
        on_delivered(c, &r, bytes_in_flight);
    advance_una(c, ack);
}

bool vcl__conn_on_peer_state(struct vcl_conn *c, uint64_t peer_rcv_nxt, uint64_t window)
{
    if (peer_rcv_nxt > c->snd_nxt)
        return false;
    if (!vcl__conn_is_live(c->state))
        return true;
    struct sentmap_ack r = {.now = c->e->now};
    if (peer_rcv_nxt + window > c->snd_edge)
        c->snd_edge = peer_rcv_nxt + window;
    vcl__sentmap_ack(&c->sent, peer_rcv_nxt, &r); /* not an RTT sample: the frames went by the path that died */
    if (r.nb_delivered > 0)
        vcl__ask_end(c);
    advance_una(c, peer_rcv_nxt);
    if (vcl__conn_is_live(c->state))
        vcl__conn_kick(c); /* nothing in flight any more, perhaps: no timer would send the rest */
    return true;
}

/* C3: every second frame; in a long run every ACK_EVERY_MAX-th, for there the sender has a large window (RFC 9000
 * 13.2.2 leaves it to the receiver). A gap, a repetition or a pause ends the run. */
static void schedule_ack(struct vcl_conn *c, enum recvbuf_result r)
{
    bool at_once = r != RECVBUF_ADVANCED || c->rcv.ranges.count > 0 || vcl__recvbuf_complete(&c->rcv);
    if (at_once || c->e->now - c->last_data_rx > (uint64_t)ACK_PAUSE_DELAYS * c->e->cfg.max_ack_delay_us)
        c->nb_in_order_rx = 0;
    else if (c->nb_in_order_rx < UINT16_MAX)
        c->nb_in_order_rx++;
    unsigned every = c->nb_in_order_rx < ACK_RUN_FRAMES ? 2 : ACK_EVERY_MAX;
    if (at_once || ++c->nb_unacked_rx >= every)
        c->ack_now = true;
    else
        vcl__conn_ack_soon(c);
}

static int on_payload(struct vcl_conn *c, const struct pmw_frame *f, uint64_t seq)
{
    struct vcl_engine *e = c->e;
    bool was_complete = vcl__recvbuf_complete(&c->rcv), fin = (f->flags & PMW_F_FIN) != 0;
    uint64_t before = c->rcv.nxt;
    e->stats.data_frames_in++;
    enum recvbuf_result r =
        vcl__recvbuf_put(&c->rcv, &e->mem, seq, f->payload, f->payload_len, fin, &e->stats.duplicate_bytes);
    if (r == RECVBUF_NO_MEMORY)
        return vcl__drop(e, VCL_DROP_LIMIT); /* as if it had been lost */
    if (r == RECVBUF_OUT_OF_ORDER)
        c->newest_gap_rx = seq > before ? seq : before;
    c->rx_tx = f->tx;
    schedule_ack(c, r);
    if (r == RECVBUF_BEYOND)
        return vcl__drop(e, VCL_DROP_OUT_OF_WINDOW);
    if (r == RECVBUF_DUPLICATE)
        return 0;
    c->last_data_rx = e->now;
    if (c->s->dial != NULL)
        vcl__path_on_activity(c->s);
    if (c->released && f->payload_len > 0) { /* bytes that nobody will read */
        vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_RESET);
        return 0;
    }
    if (r != RECVBUF_ADVANCED)
        return 0;
    bool complete = vcl__recvbuf_complete(&c->rcv);
    vcl__unread_arrived(c);
    c->received_bytes += c->rcv.nxt - before - (complete ? 1 : 0);
    vcl__conn_event(c, VCL_EV_CONN_READABLE);
    if (complete && !was_complete)
        vcl__conn_input(c, CONN_IN_PEER_FIN, VCL_OK);
    return 0;
}

/* C7: 100 answers a second. */
static bool answer_allowed(struct vcl_engine *e)
{
    if (e->now - e->answers_since >= 1000000) {
        e->answers_since = e->now;
        e->nb_answers = 0;
    }
    if (e->nb_answers >= TOMBSTONE_ANSWERS_MAX)
        return false;
    e->nb_answers++;
    return true;
}

/* A late frame for a closed connection. One that ended in order acknowledges again, for the peer may still wait for
 * that; one that was reset, or failed here, says so again. */
static void tombstone_answer(struct vcl_conn *c, bool has_bytes)
{
    if ((c->error == VCL_OK && !has_bytes) || !answer_allowed(c->e))
        return;
    if (c->error == VCL_OK)
        c->ack_now = true;
    else
        c->want_reset = true;
    vcl__conn_kick(c);
}

int vcl__conn_receive(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_frame f;
    struct heard h;
    if (pmw_frame_decode(buf, len, &f) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_conn *c = conn_find(e, f.cid);
    if (c == NULL) {
        vcl__answer_for_predecessor(e, from, f.cid, len);
        return vcl__drop(e, VCL_DROP_UNKNOWN_CONN);
    }
    if (!check(c, &f, buf, len, &h))
        return vcl__drop(e, VCL_DROP_CHECK);
    if (h.ack > c->snd_nxt)
        return vcl__drop(e, VCL_DROP_OUT_OF_WINDOW);
    vcl__session_on_rx(c->s, from);
    vcl__short_on_frame(c, &f);
    vcl__conn_heard(c);
    vcl__trial_on_conn_frame(c->s, from);
    bool has_bytes = f.payload_len > 0 || (f.flags & PMW_F_FIN) != 0;
    if (c->state == CONN_CLOSED) {
        tombstone_answer(c, has_bytes);
        return 0;
    }
    int drop = 0;
    on_ack(c, &f, h.ack);
    if (has_bytes && c->state != CONN_CLOSED)
        drop = on_payload(c, &f, h.seq);
    else if (has_bytes)
        tombstone_answer(c, true);        /* the acknowledgement in it was the last thing missing */
    if (f.type == PMW_DATA && !has_bytes) /* C11: it asks whether we are there */
        c->ack_now = true;
    vcl__conn_kick(c);
    return drop;
}

int vcl__on_reset(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    struct pmw_reset r;
    if (pmw_reset_decode(buf, len, &r) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_conn *c = conn_find(e, r.cid);
    if (c == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_CONN);
    if (!pmw_control_check(buf, len, vcl__mac_key_in(c->s)))
        return vcl__drop(e, VCL_DROP_MAC);
    vcl__session_on_rx(c->s, from);
    if (c->aborted) { /* the peer has closed too: enough said */
        c->peer_knows_reset = true;
        c->want_reset = false;
        return 0;
    }
    /* Answering tells the sender to stop repeating it; the answer is never answered, so there is no loop. A connection
     * that failed here has said RESET itself, as a tombstone (C7): this may be the answer to that. */
    if (c->state == CONN_CLOSED) {
        bool never_said = c->error == VCL_OK || c->error == VCL_ERR_RESET;
        c->want_reset = c->want_reset || (never_said && answer_allowed(e));
        vcl__conn_kick(c);
        return 0;
    }
    vcl__conn_input(c, CONN_IN_PEER_RESET, VCL_ERR_RESET);
    c->want_reset = true;
    vcl__conn_kick(c);
    return 0;
}
