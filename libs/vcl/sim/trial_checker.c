/* SPDX-License-Identifier: Apache-2.0
 * Bytes to a path on trial: see trial_checker.h. */
#include "trial_checker.h"

enum { FACTOR = 3 }; /* S18 */

static bool same(const struct trial_way *a, const struct trial_way *b)
{
    return a->addr.family != 0 && a->path == b->path && pmw_addr_equal(&a->addr, &b->addr);
}

void trial_watch_resume(struct trial_watch *w, uint32_t epoch, const struct trial_way *from)
{
    if (epoch <= w->epoch)
        return;
    bool known = same(&w->validated, from);
    *w = (struct trial_watch){.epoch = epoch, .way = *from, .validated = w->validated, .answered = known};
}

void trial_watch_received(struct trial_watch *w, int type, size_t len, const struct trial_way *from)
{
    if (w->epoch == 0 && (type == PMW_DATA || type == PMW_ACK)) /* the first path: its client knows a CID */
        w->validated = *from;
    if (!same(&w->way, from))
        return;
    w->bytes_in += len;
    if (type == PMW_PATH_RESPONSE) {
        w->answered = true;
        w->validated = w->way;
    }
}

bool trial_watch_sent(struct trial_watch *w, size_t len, const struct trial_way *to)
{
    if (w->answered || !same(&w->way, to))
        return true;
    w->bytes_out += len;
    return w->bytes_out <= FACTOR * w->bytes_in;
}
