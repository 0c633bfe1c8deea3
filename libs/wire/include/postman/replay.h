/* SPDX-License-Identifier: Apache-2.0
 *
 * Which batches of one trunk have arrived (T2): the highest 64-bit number, and a bit for each of the 1,024 up to it.
 * Both ends of a trunk keep one; the functions are pure. Asking and marking are two steps, because the tag is checked
 * between them.
 */
#ifndef POSTMAN_REPLAY_H
#define POSTMAN_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

enum { PMW_REPLAY_WINDOW = 1024 };

struct pmw_replay {
    uint64_t highest;                      /* 0: nothing has arrived; numbers start at 1 */
    uint64_t bits[PMW_REPLAY_WINDOW / 64]; /* bit n % 1024: number n has arrived */
};

/* Neither seen before, nor too old to know. */
bool pmw_replay_is_new(const struct pmw_replay *r, uint64_t seq);
/* Inside the window, and arrived. */
bool pmw_replay_has_seen(const struct pmw_replay *r, uint64_t seq);
/* Bit i: highest - 1 - i has arrived (ack_bits, T7). */
uint32_t pmw_replay_ack_bits(const struct pmw_replay *r);
/* Call once the tag holds, for a number that is new. */
void pmw_replay_mark(struct pmw_replay *r, uint64_t seq);

#endif
