/* SPDX-License-Identifier: Apache-2.0
 *
 * See replay.h. The bitmap is circular: the bit of seq is seq mod 1,024 (RFC 6479's idea, one bit at a time).
 */
#include "postman/replay.h"

#include <string.h>

static bool bit_is_set(const struct pmw_replay *r, uint64_t seq)
{
    return (r->bits[seq % PMW_REPLAY_WINDOW / 64] >> (seq % 64) & 1) != 0;
}

bool pmw_replay_is_new(const struct pmw_replay *r, uint64_t seq)
{
    if (seq == 0)
        return false;
    if (seq > r->highest)
        return true;
    if (r->highest - seq >= PMW_REPLAY_WINDOW)
        return false;
    return !bit_is_set(r, seq);
}

bool pmw_replay_has_seen(const struct pmw_replay *r, uint64_t seq)
{
    return r->highest - seq < PMW_REPLAY_WINDOW && bit_is_set(r, seq);
}

uint32_t pmw_replay_ack_bits(const struct pmw_replay *r)
{
    uint64_t top = r->highest - 1, word = r->bits[top % PMW_REPLAY_WINDOW / 64],
             below = r->bits[(top - 64) % PMW_REPLAY_WINDOW / 64];
    unsigned shift = 63 - top % 64; /* brings the bit of top to the top of the word */
    uint32_t bits = (uint32_t)((word << shift | (shift ? below >> (64 - shift) : 0)) >> 32);

    /* Bit 31 is top; it has to be bit 0: reversed by swapping ever smaller halves. */
    bits = bits >> 16 | bits << 16;
    bits = (bits & 0xff00ff00) >> 8 | (bits & 0x00ff00ff) << 8;
    bits = (bits & 0xf0f0f0f0) >> 4 | (bits & 0x0f0f0f0f) << 4;
    bits = (bits & 0xcccccccc) >> 2 | (bits & 0x33333333) << 2;
    return (bits & 0xaaaaaaaa) >> 1 | (bits & 0x55555555) << 1;
}

static void forget_between(struct pmw_replay *r, uint64_t from, uint64_t to)
{
    if (to - from >= PMW_REPLAY_WINDOW) {
        memset(r->bits, 0, sizeof(r->bits));
        return;
    }
    for (uint64_t seq = from + 1; seq <= to; seq++)
        r->bits[seq % PMW_REPLAY_WINDOW / 64] &= ~(UINT64_C(1) << (seq % 64));
}

void pmw_replay_mark(struct pmw_replay *r, uint64_t seq)
{
    if (seq > r->highest) {
        forget_between(r, r->highest, seq);
        r->highest = seq;
    }
    r->bits[seq % PMW_REPLAY_WINDOW / 64] |= UINT64_C(1) << (seq % 64);
}
