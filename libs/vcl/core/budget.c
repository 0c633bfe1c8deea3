/* SPDX-License-Identifier: Apache-2.0
 *
 * See budget.h.
 */
#include "budget.h"

enum { SECOND_US = 1000000, SAVED_S = 10 };

void vcl__budget_init(struct budget *b, uint64_t now)
{
    *b = (struct budget){.at = now, .tenths = SAVED_S * BUDGET_PER_S};
}

bool vcl__budget_has(struct budget *b, uint64_t now)
{
    uint64_t earned = now > b->at ? (now - b->at) * BUDGET_PER_S / SECOND_US : 0;
    if (earned > 0) {
        b->at += earned * SECOND_US / BUDGET_PER_S;
        /* Time alone saves up ten seconds' worth; what new frames earned beyond that stays. */
        uint32_t limit = b->tenths > SAVED_S * BUDGET_PER_S ? b->tenths : SAVED_S * BUDGET_PER_S;
        b->tenths = earned > limit - b->tenths ? limit : b->tenths + (uint32_t)earned;
    }
    return b->tenths >= BUDGET_COST;
}

void vcl__budget_spend(struct budget *b)
{
    b->tenths -= BUDGET_COST;
}
