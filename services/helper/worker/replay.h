/* SPDX-License-Identifier: Apache-2.0
 *
 * Which batches of one sender have been seen (T2): its incarnation, the highest 64-bit batch number, and a bit for each
 * of the 1,024 numbers up to it. Asking and marking are two steps, because the tag is checked between them.
 */
#ifndef POSTMAN_REPLAY_H
#define POSTMAN_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLAY_WINDOW = 1024 };

struct replay {
    uint64_t highest;
    uint64_t bits[REPLAY_WINDOW / 64]; /* bit n % 1024: number n was seen */
    uint32_t incarnation;
    bool any; /* false: nothing was ever seen */
};

/* The full number meant by its low 32 bits: near the highest one of that incarnation, near 0 for a new one. */
uint64_t replay_decode(const struct replay *r, uint32_t incarnation, uint32_t seq_low);
/* Neither seen before, nor too old to know, nor of an incarnation that has ended. */
bool replay_is_new(const struct replay *r, uint32_t incarnation, uint64_t seq);
/* Of the incarnation that is known: was this number, which is near the highest, seen? */
bool replay_has_seen(const struct replay *r, uint64_t seq);
/* Bit i: highest - 1 - i was seen (ack_bits, T7). */
uint32_t replay_ack_bits(const struct replay *r);
/* Call once the tag holds, for a number that is new. */
void replay_mark(struct replay *r, uint32_t incarnation, uint64_t seq);

#endif
