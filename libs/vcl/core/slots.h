/* SPDX-License-Identifier: Apache-2.0
 *
 * Slots of connection ids (W5): a CID names a slot and its generation. A slot that was given back rests for the
 * quarantine time before it is used again, with the next generation. Oldest first, so a slot rests as long as possible.
 */
#ifndef VCL_CORE_SLOTS_H
#define VCL_CORE_SLOTS_H

#include "mem.h"

#include <stdbool.h>
#include <stdint.h>

enum { SLOTS_MAX = 1 << 24 }; /* 24 bits in a CID */

struct slot {
    uint64_t free_at;
    uint32_t next; /* in the resting queue; SLOT_NONE at its end */
    uint16_t generation;
};

struct slots {
    struct slot *list;
    uint32_t count, cap, max;
    uint32_t first, last; /* resting queue */
};

void vcl__slots_init(struct slots *s, uint32_t max);
void vcl__slots_free(struct slots *s, const struct mem *mem);
/* false: every slot is used or rests, or there is no memory. */
bool vcl__slots_take(struct slots *s, const struct mem *mem, uint64_t now, uint32_t *slot, uint16_t *generation);
void vcl__slots_give(struct slots *s, uint32_t slot, uint64_t free_at);

#endif
