/* SPDX-License-Identifier: Apache-2.0
 *
 * See cc.h.
 */
#include "cc.h"

void vcl__cc_reset(struct cc *c, uint64_t last_order)
{
    *c = (struct cc){.frames = CC_FRAMES_FIRST, .threshold = CC_FRAMES_MAX, .cut_order = last_order};
}

void vcl__cc_on_delivered(struct cc *c, uint32_t nb, uint32_t nb_in_flight)
{
    if (nb_in_flight < c->frames / 2)
        return;
    if (c->frames < c->threshold) {
        c->frames += nb;
    } else {
        c->nb_acked += nb;
        while (c->nb_acked >= c->frames) {
            c->nb_acked -= c->frames;
            c->frames++;
        }
    }
    if (c->frames > CC_FRAMES_MAX)
        c->frames = CC_FRAMES_MAX;
}

void vcl__cc_on_lost(struct cc *c, uint64_t lost_order, uint64_t last_order)
{
    if (lost_order <= c->cut_order)
        return; /* sent before the last cut: the same congestion */
    c->cut_order = last_order;
    c->frames = c->frames / 2 < CC_FRAMES_MIN ? CC_FRAMES_MIN : c->frames / 2;
    c->threshold = c->frames;
    c->nb_acked = 0;
}
