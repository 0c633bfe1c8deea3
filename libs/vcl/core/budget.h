/* SPDX-License-Identifier: Apache-2.0
 *
 * The retry budget of an engine (C5): repetitions are at most a tenth of new frames (up to 4,000 are saved up) and ten
 * a second more (saved up for ten seconds, as Finagle's). It keeps an overload from feeding itself: what is repeated
 * because it was slow makes everything slower. Beyond it a connection repeats its oldest lost frame at each PTO and
 * nothing else.
 */
#ifndef VCL_CORE_BUDGET_H
#define VCL_CORE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BUDGET_COST = 10,       /* of one repetition, in tenths of it */
    BUDGET_PER_S = 100,     /* ten a second */
    BUDGET_MAX = 40 * 1000, /* a window of SENTMAP_FRAMES_MAX frames can be repaired at once */
};

struct budget {
    uint64_t at; /* reckoned up to here */
    uint32_t tenths;
};

void vcl__budget_init(struct budget *b, uint64_t now);
static inline void vcl__budget_earn(struct budget *b) /* a new frame was sent */
{
    if (b->tenths < BUDGET_MAX)
        b->tenths++;
}
bool vcl__budget_has(struct budget *b, uint64_t now);
void vcl__budget_spend(struct budget *b); /* after vcl__budget_has */

#endif
