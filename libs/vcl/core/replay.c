/* SPDX-License-Identifier: Apache-2.0
 *
 * See replay.h. The bitmap is circular: the bit of seq is seq mod 1,024 (RFC 6479's idea, one bit at a time).
 */
#include "replay.h"

static uint64_t bit_of(uint64_t seq)
{
    return UINT64_C(1) << (seq % 64);
}

static uint64_t *word_of(struct replay *r, uint64_t seq)
{
    return &r->seen[seq % REPLAY_WINDOW / 64];
}

bool vcl__replay_is_fresh(const struct replay *r, uint64_t seq)
{
    if (seq == 0)
        return false;
    if (seq > r->highest)
        return true;
    if (r->highest - seq >= REPLAY_WINDOW)
        return false;
    return (r->seen[seq % REPLAY_WINDOW / 64] & bit_of(seq)) == 0;
}

void vcl__replay_mark(struct replay *r, uint64_t seq)
{
    if (seq > r->highest) {
        uint64_t first = r->highest + 1;
        if (seq - r->highest > REPLAY_WINDOW)
            first = seq - REPLAY_WINDOW + 1;
        for (uint64_t s = first; s <= seq; s++)
            *word_of(r, s) &= ~bit_of(s);
        r->highest = seq;
    }
    *word_of(r, seq) |= bit_of(seq);
}
