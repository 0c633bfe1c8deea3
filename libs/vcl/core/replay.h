/* SPDX-License-Identifier: Apache-2.0
 *
 * Replay window of trunk batches (T2): the highest number seen and a bitmap of the 1,024 at and below it.
 */
#ifndef VCL_CORE_REPLAY_H
#define VCL_CORE_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

enum { REPLAY_WINDOW = 1024 };

struct replay {
    uint64_t highest; /* 0: nothing seen; numbers start at 1 */
    uint64_t seen[REPLAY_WINDOW / 64];
};

/* Was seq never seen, and is it inside the window? Does not change anything: the tag is checked in between. */
bool vcl__replay_is_fresh(const struct replay *r, uint64_t seq);
void vcl__replay_mark(struct replay *r, uint64_t seq);

#endif
