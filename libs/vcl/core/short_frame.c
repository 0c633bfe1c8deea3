/* SPDX-License-Identifier: Apache-2.0
 *
 * Short or long (W10): see short_frame.h. The cost of a wrong guess is one frame that fails its check (W7), so the
 * rules are about numbers that decode and about the window that the peer must hear; nothing here guards the stream.
 */
#include "state.h"

void vcl__short_begin(struct vcl_conn *c)
{
    c->shorts =
        (struct short_state){.edge_heard = c->edge_sent}; /* OPEN or OPEN_ACK told it, and is known to be there */
}

void vcl__short_pause(struct vcl_conn *c)
{
    c->shorts.long_until = c->e->now + vcl__session_pto(c->s);
    c->shorts.must_tell = true; /* the edges told last may have gone into the dead path, all of them */
    c->busy_until = 0;          /* another way, another load (O3) */
}

/* Or somebody stood still, and it only seems so: that shows when they are tried again. */
static void distrust(struct short_state *h, uint64_t now)
{
    uint64_t last_us = h->nb_distrusts == 0 ? 0 : (uint64_t)SHORT_DISTRUST_US << (h->nb_distrusts - 1);
    if (now - h->distrusted_until > last_us) /* they arrived for as long: another cause */
        h->nb_distrusts = 0;
    h->distrusted_until = now + ((uint64_t)SHORT_DISTRUST_US << h->nb_distrusts);
    h->nb_lost = 0;
    if (h->nb_distrusts < SHORT_DISTRUST_DOUBLINGS)
        h->nb_distrusts++;
}

/* S22. Frames sent again are long: that they arrive where first transmissions did not, twice in a row, accuses the
 * short ones. */
void vcl__short_on_delivered(struct vcl_conn *c, const struct sentmap_ack *a)
{
    struct short_state *h = &c->shorts;
    if (!a->repeated || a->tx_echo == 0)
        h->nb_lost = 0;
    else if (h->asked && c->e->now >= h->distrusted_until && ++h->nb_lost >= SHORT_LOST_MAX)
        distrust(h, c->e->now);
    h->asked = false;
}

void vcl__short_trust(struct vcl_conn *c)
{
    c->shorts.distrusted_until = 0;
    c->shorts.nb_distrusts = c->shorts.nb_lost = 0;
}

void vcl__short_on_frame(struct vcl_conn *c, const struct pmw_frame *f)
{
    if ((f->flags & PMW_F_URGENT) != 0)
        c->shorts.must_tell = true;
}

/* An edge in a DATA that was acknowledged was heard; one in an ACK is acknowledged by nobody. */
static void update_heard(struct short_state *h, uint64_t una)
{
    bool acknowledged = h->told_by != 0 && una >= h->told_by;
    if (!acknowledged && h->nb_tells < SHORT_TELLS)
        return;
    if (h->told_edge > h->edge_heard)
        h->edge_heard = h->told_edge;
    h->told_by = 0;
    h->nb_tells = 0;
}

/* So does what a DATA acknowledged that is acknowledged itself: where bytes go both ways, no long frame is needed for
 * that. One such DATA is watched at a time. */
static void update_acks(struct vcl_conn *c, const struct pmw_frame *f, uint64_t end)
{
    struct short_state *h = &c->shorts;
    if (h->ack_by != 0 && c->snd.una >= h->ack_by) {
        if (h->ack_told > h->ack_heard)
            h->ack_heard = h->ack_told;
        h->ack_by = 0;
    }
    if (h->ack_by == 0 && f->payload_len > 0 && (f->flags & PMW_F_RESEND) == 0) {
        h->ack_by = end;
        h->ack_told = c->rcv.nxt;
    }
}

static bool window_is_known(const struct vcl_conn *c, uint32_t window)
{
    uint64_t open = c->shorts.edge_heard > c->rcv.nxt ? c->shorts.edge_heard - c->rcv.nxt : 0;
    return !c->shorts.must_tell && 2 * open > window;
}

static bool numbers_decode(const struct vcl_conn *c, uint64_t end)
{
    return end - c->snd.una < SHORT_SPAN_BYTES && c->rcv.nxt - c->shorts.ack_heard < SHORT_SPAN_BYTES &&
           c->snd.una >= c->shorts.resent_end;
}

static void on_long(struct vcl_conn *c, const struct pmw_frame *f, uint64_t end, uint32_t window)
{
    struct short_state *h = &c->shorts;
    c->edge_sent = c->rcv.nxt + window;
    h->ack_heard = c->rcv.nxt;
    h->must_tell = false;
    if ((f->flags & PMW_F_RESEND) != 0 && end > h->resent_end)
        h->resent_end = end;
    if (c->edge_sent <= h->edge_heard)
        return;
    if (h->nb_tells == 0)
        h->told_edge = c->edge_sent;
    if (h->nb_tells < SHORT_TELLS)
        h->nb_tells++;
    /* Of bytes sent again an earlier copy may be acknowledged, which had an older edge. */
    if (h->told_by == 0 && f->payload_len > 0 && (f->flags & PMW_F_RESEND) == 0)
        h->told_by = end;
}

/* Sees every DATA and ACK before it is encoded. */
void vcl__short_or_long(struct vcl_conn *c, struct pmw_frame *f, uint64_t seq, uint32_t window)
{
    uint64_t end = seq + f->payload_len;
    update_heard(&c->shorts, c->snd.una);
    update_acks(c, f, end);
    bool may = (c->features & PMW_FEATURE_SHORT) != 0 && vcl__conn_is_live(c->state) &&
               (f->flags & ~(PMW_F_CHECK | PMW_F_SEALED)) == 0 && f->tx == 0 && f->tx_echo == 0 &&
               c->e->now >= c->shorts.long_until && c->e->now >= c->shorts.distrusted_until && numbers_decode(c, end) &&
               window_is_known(c, window);
    if (!may) {
        on_long(c, f, end, window);
        return;
    }
    c->e->stats.short_frames_out++;
    f->flags |= PMW_F_SHORT;
    f->epoch8 &= PMW_SHORT_EPOCH_MAX;
    f->seq &= UINT16_MAX;
    f->ack &= UINT16_MAX;
    f->window = PMW_WINDOW_SILENT;
}
