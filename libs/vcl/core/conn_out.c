/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection, outward: what it would send now, and the next frame of it. Order: RESET, OPEN, what was lost, new
 * bytes, a bare acknowledgement. Every DATA and ACK carries the whole receiving state, so any frame acknowledges.
 */
#include "state.h"

#include <assert.h>
#include <string.h>

enum { RESET_REASON_ABORTED = 1 };

static bool fin_pending(const struct vcl_conn *c)
{
    return c->fin_queued && c->snd_nxt <= c->snd.end;
}

static uint64_t unsent_bytes(const struct vcl_conn *c)
{
    return c->snd_nxt < c->snd.end ? c->snd.end - c->snd_nxt : 0;
}

static bool window_open(const struct vcl_conn *c)
{
    return c->snd_edge > c->snd_nxt || c->window_probe;
}

/* May the session carry stream bytes of this connection? While a RESUME is unanswered only a few of the oldest lost
 * frames may go (S7); nothing else is known to be missing. */
static bool path_open(const struct vcl_conn *c)
{
    const struct dial *d = c->s->dial;
    return d == NULL || (vcl__dial_may_send(c->s) && !c->resume_wait);
}

static bool path_trial(const struct vcl_conn *c)
{
    const struct dial *d = c->s->dial;
    return d != NULL && d->state == VCL_PATH_RESUMING && d->resume_budget > 0;
}

static bool congested(const struct vcl_conn *c)
{
    return c->sent.bytes_in_flight >= c->cc.window;
}

/* On a path this short the timers are too coarse to pace (pacing.h). */
static uint32_t paced_srtt(const struct vcl_conn *c)
{
    const struct rtt *r = &c->s->rtt;
    return (r->min_us > 0 ? r->min_us : r->srtt_us) > PACING_GRAIN_US ? r->srtt_us : 0;
}

static uint64_t paced_until(const struct vcl_conn *c)
{
    uint64_t at = vcl__pacing_next(&c->pacing, &c->cc, paced_srtt(c), vcl__mtu_payload(c->s), c->e->now);
    return at > c->busy_until ? at : c->busy_until; /* O3 */
}

/* C5. The oldest at its PTO, and the gap of a move, cost no budget: the one is rare, the other at most a window. */
static bool may_repeat(const struct vcl_conn *c)
{
    if (c->pto_credit > 0)
        return true;
    if (congested(c) || paced_until(c) > c->e->now)
        return false;
    return vcl__sentmap_next_lost((struct sentmap *)&c->sent)->exempt || vcl__budget_has(&c->e->budget, c->e->now);
}

static bool lost_ready(const struct vcl_conn *c)
{
    if (c->sent.nb_lost == 0)
        return false;
    return path_open(c) ? may_repeat(c) : path_trial(c);
}

/* All but the pace. */
static bool fresh_waits(const struct vcl_conn *c)
{
    if (c->sent.nb_lost > 0 || congested(c) || c->sent.count >= SENTMAP_FRAMES_MAX || !path_open(c))
        return false;
    return unsent_bytes(c) > 0 ? window_open(c) : fin_pending(c);
}

static bool fresh_ready(const struct vcl_conn *c)
{
    return fresh_waits(c) && paced_until(c) <= c->e->now;
}

uint64_t vcl__conn_paced_until(const struct vcl_conn *c)
{
    bool waits = path_open(c) && (c->sent.nb_lost > 0 ? !congested(c) : fresh_waits(c));
    uint64_t at = waits ? paced_until(c) : 0;
    return at > c->e->now ? at : VCL_NEVER;
}

/* Control of a closed or closing connection needs a path, not a resumed one. In a DEAD session it is the last that was
 * tried: what still comes by it is answered by tombstones (C7). */
static bool path_usable(const struct vcl_conn *c)
{
    const struct dial *d = c->s->dial;
    return d == NULL || d->state != VCL_PATH_DOWN;
}

bool vcl__conn_has_output(const struct vcl_conn *c)
{
    if (vcl__conn_is_opening(c->state))
        return c->want_open && vcl__dial_may_open(c->s);
    if (c->want_reset || c->ack_now || c->want_keepalive)
        return path_usable(c);
    return vcl__conn_is_live(c->state) && (lost_ready(c) || fresh_ready(c));
}

/* C6: bytes wait, the window is shut and nothing is in flight that would bring news: probe it by the clock. */
static void update_persist(struct vcl_conn *c)
{
    bool blocked = vcl__conn_is_live(c->state) && unsent_bytes(c) > 0 && !window_open(c) && c->sent.count == 0;
    if (!blocked) {
        c->persist_at = 0;
    } else if (c->persist_at == 0) {
        c->persist_at = c->e->now + vcl__session_pto(c->s);
        vcl__conn_arm(c);
    }
}

static void await_pace(struct vcl_conn *c)
{
    if (paced_until(c) > c->e->now)
        vcl__conn_arm(c);
}

void vcl__conn_kick(struct vcl_conn *c)
{
    update_persist(c);
    if (list_linked(&c->ready))
        return;
    if (!vcl__conn_has_output(c)) {
        await_pace(c);
        return;
    }
    struct exit *x = vcl__route_exit(c->e, &c->s->route);
    if (x == NULL)
        return; /* the trunk is gone; a RESUME will bring another */
    list_push(&x->conns, &c->ready);
    vcl__exit_wake(c->e, x);
}

uint32_t vcl__conn_window(const struct vcl_conn *c)
{
    uint32_t units = vcl__recvbuf_window(&c->rcv) / PMW_WINDOW_UNIT_BYTES;
    return (units < PMW_WINDOW_SILENT ? units : PMW_WINDOW_SILENT - 1) * PMW_WINDOW_UNIT_BYTES;
}

static void put_sack(struct pmw_frame *f, uint64_t start, uint64_t end)
{
    while (start < end && f->nb_sacks < PMW_SACK_MAX) {
        uint64_t len = end - start > UINT16_MAX ? UINT16_MAX : end - start;
        f->sacks[f->nb_sacks++] = (struct pmw_sack){.start = (uint32_t)start, .len = (uint16_t)len};
        start += len;
    }
}

/* The range that grew last comes first (RFC 2018 section 4), then the lowest ones: they are what the peer must fill. */
static void put_sacks(const struct vcl_conn *c, struct pmw_frame *f)
{
    const struct ranges *r = &c->rcv.ranges;
    const struct range *newest = NULL;
    for (uint32_t i = 0; i < r->count && newest == NULL; i++)
        if (r->list[i].start <= c->newest_gap_rx && c->newest_gap_rx < r->list[i].end)
            newest = &r->list[i];
    if (newest != NULL) {
        uint64_t from = newest->start;
        if (c->newest_gap_rx - from > UINT16_MAX / 2) /* long: the part around the newest frame */
            from = c->newest_gap_rx - UINT16_MAX / 2;
        put_sack(f, from, newest->end - from > UINT16_MAX ? from + UINT16_MAX : newest->end);
    }
    for (uint32_t i = 0; i < r->count && f->nb_sacks < PMW_SACK_MAX; i++)
        if (&r->list[i] != newest || r->list[i].end - r->list[i].start > UINT16_MAX)
            put_sack(f, r->list[i].start, r->list[i].end);
    if (f->nb_sacks > 0)
        f->flags |= PMW_F_SACK;
}

/* Encodes and seals one DATA or ACK: f holds type, flags, tx; the rest is this connection's state now. */
static int put_frame(struct vcl_conn *c, struct pmw_frame *f, uint64_t seq, uint32_t payload_len, uint8_t *buf,
                     size_t cap)
{
    uint32_t window = vcl__conn_window(c);
    f->flags |= c->seal != NULL ? PMW_F_SEALED : PMW_F_CHECK;
    f->packet_number = c->seal != NULL ? vcl__seal_number(c) : 0;
    f->epoch8 = (uint8_t)c->s->epoch;
    f->cid = c->cid;
    f->seq = (uint32_t)seq;
    f->ack = (uint32_t)c->rcv.nxt;
    f->window = (uint16_t)(window / PMW_WINDOW_UNIT_BYTES);
    f->payload_len = (uint16_t)payload_len;
    f->tx_echo = c->rx_tx;
    put_sacks(c, f);
    size_t head = PMW_FRAME_HEADER_BYTES + (f->nb_sacks > 0 ? 1 + f->nb_sacks * PMW_SACK_RANGE_BYTES : 0);
    if (head + payload_len + (c->seal != NULL ? PMW_SEAL_BYTES : PMW_CHECK_BYTES) > cap)
        return PMW_ERR_SPACE;
    vcl__short_or_long(c, f, seq, window);
    if ((f->flags & PMW_F_SHORT) != 0)
        head = PMW_SHORT_HEADER_BYTES;
    if (payload_len > 0) /* where the frame has it: the encoder leaves it there */
        vcl__sendbuf_copy(&c->snd, seq, buf + head, payload_len);
    int len = pmw_frame_encode(buf, cap, f, buf + head);
    assert(len > 0);
    struct pmw_check_seed seed = {.secret = c->s->dial != NULL ? c->s->keys.check_c2s : c->s->keys.check_s2c,
                                  .cid = c->cid,
                                  .seq = seq,
                                  .ack = c->rcv.nxt,
                                  .epoch = c->s->epoch};
    if (c->seal != NULL)
        vcl__seal_frame(c, buf, (size_t)len, &seed);
    else
        pmw_frame_seal(buf, (size_t)len, &seed);
    c->ack_now = false;
    c->nb_unacked_rx = 0;
    list_del(&c->ack_node);
    c->e->stats.frames_out++;
    return len;
}

static void on_data_sent(struct vcl_conn *c, uint32_t payload_len)
{
    c->last_data_tx = c->e->now;
    c->sent_bytes += payload_len;
    c->e->stats.data_frames_out++;
    vcl__conn_arm(c);
    if (c->s->dial != NULL) {
        vcl__path_on_activity(c->s);
        vcl__path_on_sent(c->s);
    }
}

/* The lowest lost frame, no longer than the path carries (S21). NULL: no memory to cut it. */
static struct sent *next_lost(struct vcl_conn *c)
{
    struct sent *s = vcl__sentmap_next_lost(&c->sent);
    uint32_t limit = vcl__mtu_payload(c->s);
    if (s->len <= limit)
        return s;
    struct sent *first = vcl__sentmap_cut(&c->sent, &c->e->mem, s, limit);
    c->e->stats.frames_cut += first != NULL;
    return first;
}

static int build_lost(struct vcl_conn *c, uint8_t *buf, size_t cap)
{
    struct sent *s = next_lost(c);
    if (s == NULL)
        return 0; /* its PTO comes again */
    struct pmw_frame f = {.type = PMW_DATA,
                          .flags = PMW_F_RESEND | PMW_F_URGENT | (s->fin ? PMW_F_FIN : 0),
                          .tx = s->tx < PMW_TX_MAX ? s->tx + 1 : PMW_TX_MAX};
    if (s->refused) { /* O3: it needs credit, as before */
        f.flags &= ~(PMW_F_RESEND | PMW_F_URGENT);
        f.tx = s->tx;
    }
    int len = put_frame(c, &f, s->offset, s->len, buf, cap);
    if (len < 0)
        return len;
    bool first = (f.flags & PMW_F_RESEND) == 0, moved = s->exempt || !path_open(c);
    if (!path_open(c))
        c->s->dial->resume_budget--;
    else if (c->pto_credit > 0)
        c->pto_credit--;
    else if (!s->exempt)
        vcl__budget_spend(&c->e->budget);
    vcl__sentmap_sent_again(&c->sent, s, c->e->now);
    vcl__pacing_sent(&c->pacing, &c->cc, paced_srtt(c), s->len, c->e->now);
    c->e->stats.frames_resent += !first;
    c->e->stats.frames_resent_moved += !first && moved;
    c->resent_bytes += first ? 0 : s->len;
    on_data_sent(c, s->len);
    return len;
}

static int build_fresh(struct vcl_conn *c, uint8_t *buf, size_t cap)
{
    uint64_t unsent = unsent_bytes(c), n = unsent;
    uint64_t window = c->snd_edge > c->snd_nxt ? c->snd_edge - c->snd_nxt : 0;
    uint32_t limit = vcl__mtu_payload(c->s);
    vcl__mtu_want(c->s, unsent);
    if (n > limit)
        n = limit;
    if (n > window)
        n = window > 0 ? window : 1; /* C6: a window probe is one byte beyond the edge */
    if (!vcl__sentmap_reserve(&c->sent, &c->e->mem)) {
        /* No memory: again later, as if the window were shut. */
        c->persist_at = c->e->now + vcl__session_pto(c->s);
        vcl__conn_arm(c);
        return 0;
    }
    bool fin = c->fin_queued && n == unsent;
    struct pmw_frame f = {.type = PMW_DATA, .flags = fin ? PMW_F_FIN : 0};
    if (unsent > 0 && window == 0)
        f.flags |= PMW_F_URGENT;
    int len = put_frame(c, &f, c->snd_nxt, (uint32_t)n, buf, cap);
    if (len < 0)
        return len;
    if (c->sent.count == 0)
        c->waits_since = c->e->now;
    vcl__sentmap_push(&c->sent, c->e->now, c->snd_nxt, (uint32_t)n, fin);
    vcl__budget_earn(&c->e->budget);
    vcl__pacing_sent(&c->pacing, &c->cc, paced_srtt(c), (uint32_t)n, c->e->now);
    c->snd_nxt += n + (fin ? 1 : 0);
    c->window_probe = false;
    on_data_sent(c, (uint32_t)n);
    return len;
}

static int build_reset(struct vcl_conn *c, uint8_t *buf, size_t cap)
{
    struct pmw_reset r = {.cid = c->cid, .offset = c->snd_nxt, .epoch = c->s->epoch, .reason = RESET_REASON_ABORTED};
    int len = pmw_reset_encode(buf, cap, &r);
    if (len < 0)
        return len;
    pmw_control_seal(buf, (size_t)len, vcl__mac_key_out(c->s));
    c->want_reset = false;
    c->e->stats.frames_out++;
    vcl__conn_arm(c);
    return len;
}

static int build_frame(struct vcl_conn *c, uint8_t *buf, size_t cap)
{
    if (vcl__conn_is_opening(c->state))
        return vcl__open_build(c, buf, cap);
    if (vcl__seal_exhausted(c))
        vcl__conn_input(c, CONN_IN_ABORT, VCL_ERR_RESET);
    if (c->want_reset)
        return build_reset(c, buf, cap);
    if (vcl__conn_is_live(c->state) && lost_ready(c))
        return build_lost(c, buf, cap);
    if (vcl__conn_is_live(c->state) && fresh_ready(c)) {
        int len = build_fresh(c, buf, cap);
        if (len != 0 || !c->ack_now)
            return len;
    }
    if (!c->ack_now && !c->want_keepalive)
        return 0;
    struct pmw_frame ack = {.type = c->want_keepalive ? PMW_DATA : PMW_ACK}; /* C11: DATA without bytes is answered */
    c->want_keepalive = false;
    return put_frame(c, &ack, c->snd_nxt, 0, buf, cap);
}

int vcl__conn_build(struct vcl_conn *c, uint8_t *buf, size_t cap)
{
    if (!vcl__conn_has_output(c)) {
        await_pace(c); /* a round trip that was measured since it was kicked may have brought one */
        return 0;
    }
    size_t room = vcl__trial_room(c->s); /* S18 */
    int len = build_frame(c, buf, cap < room ? cap : room);
    if (len > 0) {
        vcl__trial_sent(c->s, (size_t)len);
    } else if (len < 0 && room < cap) {
        vcl__trial_blocked(c->s); /* kicked when more may go */
        return 0;
    }
    return len;
}

/* C3: within max_ack_delay; the delay is the same for all, so the queue is in order of its deadlines. */
void vcl__conn_ack_soon(struct vcl_conn *c)
{
    if (list_linked(&c->ack_node) || c->ack_now)
        return;
    c->ack_at = c->e->now + c->e->cfg.max_ack_delay_us;
    list_push(&c->e->acks, &c->ack_node);
}
