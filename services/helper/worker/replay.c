/* SPDX-License-Identifier: Apache-2.0
 *
 * Sliding window of seen batch numbers. See replay.h.
 */
#include "replay.h"

#include <string.h>

#include "postman/wire.h"

static bool same_sender(const struct replay *r, uint32_t incarnation)
{
    return r->any && r->incarnation == incarnation;
}

uint64_t replay_decode(const struct replay *r, uint32_t incarnation, uint32_t seq_low)
{
    return pmw_wlsb(same_sender(r, incarnation) ? r->highest : 0, seq_low, 32);
}

bool replay_is_new(const struct replay *r, uint32_t incarnation, uint64_t seq)
{
    if (!same_sender(r, incarnation))
        return !r->any || incarnation > r->incarnation;
    if (seq > r->highest)
        return true;
    if (r->highest - seq >= REPLAY_WINDOW)
        return false;
    return !(r->bits[seq % REPLAY_WINDOW / 64] >> (seq % 64) & 1);
}

bool replay_has_seen(const struct replay *r, uint64_t seq)
{
    return r->highest - seq < REPLAY_WINDOW && (r->bits[seq % REPLAY_WINDOW / 64] >> (seq % 64) & 1);
}

uint32_t replay_ack_bits(const struct replay *r)
{
    uint64_t top = r->highest - 1, word = r->bits[top % REPLAY_WINDOW / 64],
             below = r->bits[(top - 64) % REPLAY_WINDOW / 64];
    unsigned shift = 63 - top % 64; /* brings the bit of top to the top of the word */
    uint32_t bits = (uint32_t)((word << shift | (shift ? below >> (64 - shift) : 0)) >> 32);

    /* Bit 31 is top; it has to be bit 0: reversed by swapping ever smaller halves. */
    bits = bits >> 16 | bits << 16;
    bits = (bits & 0xff00ff00) >> 8 | (bits & 0x00ff00ff) << 8;
    bits = (bits & 0xf0f0f0f0) >> 4 | (bits & 0x0f0f0f0f) << 4;
    bits = (bits & 0xcccccccc) >> 2 | (bits & 0x33333333) << 2;
    return (bits & 0xaaaaaaaa) >> 1 | (bits & 0x55555555) << 1;
}

static void forget_between(struct replay *r, uint64_t from, uint64_t to)
{
    if (to - from >= REPLAY_WINDOW) {
        memset(r->bits, 0, sizeof(r->bits));
        return;
    }
    for (uint64_t seq = from + 1; seq <= to; seq++)
        r->bits[seq % REPLAY_WINDOW / 64] &= ~(UINT64_C(1) << (seq % 64));
}

void replay_mark(struct replay *r, uint32_t incarnation, uint64_t seq)
{
    if (!same_sender(r, incarnation)) {
        *r = (struct replay){.any = true, .incarnation = incarnation, .highest = seq};
    } else if (seq > r->highest) {
        forget_between(r, r->highest, seq);
        r->highest = seq;
    }
    r->bits[seq % REPLAY_WINDOW / 64] |= UINT64_C(1) << (seq % 64);
}
