/* SPDX-License-Identifier: Apache-2.0
 *
 * See trunk_watch.h.
 */
#include "trunk_watch.h"

/* --- sender ---------------------------------------------------------------------------------------- */
static uint64_t bit_of(uint64_t seq)
{
    return UINT64_C(1) << (seq % 64);
}

void vcl__watch_sent(struct trunk_watch *w, uint64_t now, uint64_t seq, size_t len)
{
    if (len > WATCH_SMALL_BYTES)
        w->large |= bit_of(seq);
    else
        w->large &= ~bit_of(seq);
    if (w->timed_seq != 0)
        return;
    w->timed_seq = seq;
    w->timed_at = now;
}

static void rtt_sample(struct trunk_watch *w, uint64_t now, uint64_t rtt_us)
{
    if (rtt_us == 0)
        rtt_us = 1;
    if (now - w->rtt_window_at > WATCH_RTT_WINDOW_US) {
        w->rtt_window_at = now;
        w->rtt_us[1] = w->rtt_us[0];
        w->rtt_us[0] = 0;
    }
    if (w->rtt_us[0] == 0 || rtt_us < w->rtt_us[0])
        w->rtt_us[0] = rtt_us;
}

uint64_t vcl__watch_rtt(const struct trunk_watch *w)
{
    uint64_t a = w->rtt_us[0], b = w->rtt_us[1];
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static bool acknowledged(uint64_t ack, uint32_t bits, uint64_t seq)
{
    return seq == ack || (seq < ack && ack - seq <= WATCH_ACK_BITS && (bits >> (ack - 1 - seq) & 1) != 0);
}

static void judge(struct trunk_watch *w, uint64_t now, uint64_t seq, bool arrived)
{
    bool large = (w->large & bit_of(seq)) != 0;
    if (large && arrived) {
        w->nb_large_lost = 0;
        w->small_arrived = false;
    } else if (large && w->nb_large_lost < UINT8_MAX) {
        w->nb_large_lost++;
    } else if (arrived && w->nb_large_lost > 0) {
        w->small_arrived = true;
    }
    if (w->nb_large_lost < WATCH_BLACK_HOLE_LOSSES || !w->small_arrived)
        return;
    w->small_until = now + WATCH_SMALL_US;
    w->nb_large_lost = 0;
    w->small_arrived = false;
}

void vcl__watch_acked(struct trunk_watch *w, uint64_t now, uint64_t ack, uint32_t bits)
{
    if (w->timed_seq != 0 && ack >= w->timed_seq) {
        if (acknowledged(ack, bits, w->timed_seq))
            rtt_sample(w, now, now - w->timed_at);
        w->timed_seq = 0;
    }
    /* What the bits do not reach any more is not judged. */
    if (ack > WATCH_ACK_BITS && w->judged < ack - 1 - WATCH_ACK_BITS)
        w->judged = ack - 1 - WATCH_ACK_BITS;
    while (w->judged + WATCH_LOSS_ORDER < ack) {
        uint64_t seq = ++w->judged;
        judge(w, now, seq, acknowledged(ack, bits, seq));
    }
}

size_t vcl__watch_segment(const struct trunk_watch *w, uint64_t now, size_t full)
{
    return now < w->small_until && full > WATCH_SMALL_BYTES ? WATCH_SMALL_BYTES : full;
}

uint32_t vcl__watch_marks(struct trunk_watch *w, uint64_t now, uint16_t count, uint64_t newest_seq)
{
    uint64_t round = vcl__watch_rtt(w) != 0 ? vcl__watch_rtt(w) : WATCH_MARK_ROUND_US;
    if (!w->marks_known) { /* it may have counted before this side was here */
        w->marks_known = true;
        w->alpha = 1024;
        w->marks_heard = count;
        w->marks_at = now;
        w->marks_seq = newest_seq;
        return 0;
    }
    uint16_t marked = (uint16_t)(count - w->marks_heard);
    if (now - w->marks_at < round)
        return 0;
    uint64_t sent = newest_seq > w->marks_seq ? newest_seq - w->marks_seq : 1;
    w->marks_heard = count;
    w->marks_at = now;
    w->marks_seq = newest_seq;
    if (marked >= INT16_MAX) /* an older count that came late */
        return 0;
    uint32_t share = marked >= sent ? 1024 : (uint32_t)(marked * 1024 / sent);
    w->alpha = w->alpha - (w->alpha >> WATCH_ALPHA_SHIFT) + (share >> WATCH_ALPHA_SHIFT);
    return marked == 0 ? 0 : w->alpha;
}

/* --- receiver -------------------------------------------------------------------------------------- */
void vcl__watch_arrived(struct trunk_watch *w, const struct pmw_replay *in, uint64_t now, uint64_t seq)
{
    if (in->highest == 0 || seq <= in->highest + 1 || w->nb_gaps == WATCH_GAPS_MAX)
        return;
    uint64_t missing = seq - in->highest - 1;
    if (missing > PMW_NACK_COUNT_MAX) /* nobody has kept so many */
        return;
    w->gaps[w->nb_gaps++] = (struct watch_gap){.first = in->highest + 1, .count = (uint32_t)missing, .seen_at = now};
}

static uint64_t nack_delay(const struct trunk_watch *w)
{
    uint64_t delay = vcl__watch_rtt(w) / 4;
    if (delay < WATCH_NACK_MIN_US)
        return WATCH_NACK_MIN_US;
    return delay < WATCH_NACK_MAX_US ? delay : WATCH_NACK_MAX_US;
}

uint64_t vcl__watch_nack_at(const struct trunk_watch *w)
{
    return w->nb_gaps == 0 ? UINT64_MAX : w->gaps[0].seen_at + nack_delay(w);
}

bool vcl__watch_take_nack(struct trunk_watch *w, const struct pmw_replay *in, uint64_t now, struct pmw_nack *out)
{
    while (vcl__watch_nack_at(w) <= now) {
        struct watch_gap *g = &w->gaps[0];
        uint32_t count = 0;
        while (g->count > 0 && !pmw_replay_is_new(in, g->first)) { /* it came after all */
            g->first++;
            g->count--;
        }
        while (count < g->count && pmw_replay_is_new(in, g->first + count))
            count++;
        *out = (struct pmw_nack){.first = (uint32_t)g->first, .count = (uint16_t)count};
        g->first += count;
        g->count -= count;
        if (g->count == 0) {
            for (uint8_t i = 1; i < w->nb_gaps; i++)
                w->gaps[i - 1] = w->gaps[i];
            w->nb_gaps--;
        }
        if (count > 0)
            return true;
    }
    return false;
}
