/* SPDX-License-Identifier: Apache-2.0
 *
 * See cc.h.
 */
#include "cc.h"

#include "postman/wire.h"

/* HyStart++ (RFC 9406 4.3), its thresholds for a datacenter: the RFC has 4 ms, many times a round trip here. */
enum {
    RTT_GROWTH_US_MIN = 500,
    RTT_GROWTH_US_MAX = 16000,
    RTT_GROWTH_DIVISOR = 8,
    RTT_SAMPLES = 8,
    CAREFUL_ROUNDS = 5,
    CAREFUL_DIVISOR = 4,
};

void vcl__cc_init(struct cc *c)
{
    *c = (struct cc){.window = CC_FRAMES_FIRST * PMW_PAYLOAD_BYTES_BASE, .threshold = CC_BYTES_MAX};
}

void vcl__cc_reset(struct cc *c, uint64_t last_order)
{
    uint32_t window = c->window;
    vcl__cc_init(c);
    if (window < c->window)
        c->window = window;
    c->cut_order = c->round_end = last_order;
}

static void next_round(struct cc *c, uint64_t last_order)
{
    c->round_end = last_order;
    c->rtt_before = c->rtt_min;
    c->rtt_min = 0;
    c->nb_samples = 0;
    if (c->nb_careful > 0 && --c->nb_careful == 0)
        c->threshold = c->window;
}

/* A round trip that has grown says that a queue has begun. */
static void watch_rtt(struct cc *c, uint32_t rtt_us)
{
    if (rtt_us == 0)
        return;
    if (c->rtt_min == 0 || rtt_us < c->rtt_min)
        c->rtt_min = rtt_us;
    if (c->nb_samples < UINT8_MAX)
        c->nb_samples++;
    if (c->nb_samples < RTT_SAMPLES || c->rtt_before == 0)
        return;
    uint32_t growth = c->rtt_before / RTT_GROWTH_DIVISOR;
    if (growth < RTT_GROWTH_US_MIN)
        growth = RTT_GROWTH_US_MIN;
    if (growth > RTT_GROWTH_US_MAX)
        growth = RTT_GROWTH_US_MAX;
    if (c->nb_careful == 0 && c->rtt_min >= c->rtt_before + growth) {
        c->nb_careful = CAREFUL_ROUNDS;
        c->rtt_baseline = c->rtt_min;
    } else if (c->nb_careful > 0 && c->rtt_min < c->rtt_baseline) {
        c->nb_careful = 0; /* it was noise: on as before */
    }
}

static uint32_t grown(uint32_t window, uint32_t bytes)
{
    return window + bytes < CC_BYTES_MAX ? window + bytes : CC_BYTES_MAX;
}

void vcl__cc_on_delivered(struct cc *c, const struct cc_ack *a)
{
    bool slow_start = c->window < c->threshold;
    if (a->newest_order > c->round_end)
        next_round(c, a->last_order);
    if (slow_start)
        watch_rtt(c, a->rtt_us);
    if (a->bytes_in_flight < c->window / 2)
        return; /* an idle sender learns nothing (RFC 7661) */
    if (slow_start) {
        c->window = grown(c->window, c->nb_careful > 0 ? a->bytes / CAREFUL_DIVISOR : a->bytes);
        return;
    }
    c->acked += a->bytes;
    if (c->acked >= c->window) {
        c->acked -= c->window;
        c->window = grown(c->window, a->frame_bytes);
    }
}

static bool begin_cut(struct cc *c, uint64_t order, uint64_t last_order)
{
    if (order <= c->cut_order)
        return false; /* sent before the last cut: the same congestion */
    c->cut_order = last_order;
    c->window_before = c->window;
    c->threshold_before = c->threshold;
    c->nb_careful = 0;
    c->acked = 0;
    return true;
}

static void set_window(struct cc *c, uint32_t window, uint32_t frame_bytes)
{
    uint32_t min = CC_FRAMES_MIN * frame_bytes;
    c->window = c->threshold = window < min ? min : window;
}

void vcl__cc_on_lost(struct cc *c, uint64_t lost_order, uint64_t last_order, uint32_t frame_bytes)
{
    if (begin_cut(c, lost_order, last_order))
        set_window(c, c->window / 2, frame_bytes);
}

void vcl__cc_undo(struct cc *c)
{
    if (c->window_before > c->window) {
        c->window = c->window_before;
        c->threshold = c->threshold_before;
    }
    c->window_before = 0;
}

void vcl__cc_on_marked(struct cc *c, uint32_t share, uint64_t last_order, uint32_t frame_bytes)
{
    if (share == 0 || c->round_end < c->cut_order || !begin_cut(c, c->cut_order + 1, last_order))
        return;
    c->window_before = 0; /* a mark is no guess */
    set_window(c, c->window - (uint32_t)((uint64_t)c->window * share / (2 * CC_MARKS_ALL)), frame_bytes);
}
