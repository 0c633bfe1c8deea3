/* SPDX-License-Identifier: Apache-2.0
 *
 * What to ask a sender for again. See gaps.h.
 */
#include "gaps.h"

bool gaps_note(struct gaps *g, uint64_t now, uint64_t highest_before, uint64_t seq, uint32_t wait_us)
{
    if (g->end != 0 || highest_before == 0 || seq <= highest_before + 1)
        return false; /* a later gap is found when the one that waits is due */
    *g = (struct gaps){.first = highest_before + 1, .end = seq, .due_us = now + wait_us};
    return true;
}

static int collect(uint64_t first, uint64_t end, const struct pmw_replay *seen, struct pmw_nack *ranges)
{
    int nb = 0;

    for (uint64_t seq = first; seq < end; seq++) {
        if (pmw_replay_has_seen(seen, seq))
            continue;
        if (nb > 0 && (uint32_t)(ranges[nb - 1].first + ranges[nb - 1].count) == (uint32_t)seq)
            ranges[nb - 1].count++;
        else if (nb < GAPS_RANGES_MAX)
            ranges[nb++] = (struct pmw_nack){.first = (uint32_t)seq, .count = 1};
        else
            break;
    }
    return nb;
}

/* A gap that opened while another one waited. */
static void look_further(struct gaps *g, uint64_t now, const struct pmw_replay *seen, uint32_t wait_us)
{
    uint64_t first = g->end;

    while (first < seen->highest && pmw_replay_has_seen(seen, first))
        first++;
    if (first >= seen->highest)
        *g = (struct gaps){.due_us = GAPS_NONE};
    else
        *g = (struct gaps){.first = first, .end = seen->highest, .due_us = now + wait_us};
}

int gaps_due(struct gaps *g, uint64_t now, const struct pmw_replay *seen, uint32_t wait_us, struct pmw_nack *ranges)
{
    if (g->end == 0) {
        g->due_us = GAPS_NONE;
        return 0;
    }
    if (g->end - g->first > GAPS_NUMBERS_MAX)
        g->first = g->end - GAPS_NUMBERS_MAX;
    int nb = collect(g->first, g->end, seen, ranges);
    look_further(g, now, seen, wait_us);
    return nb;
}
