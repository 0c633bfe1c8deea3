/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the stage share with each other. Tests include stage.h only.
 */
#ifndef SIM_CASES_STAGE_PARTS_H
#define SIM_CASES_STAGE_PARTS_H

#include "stage.h"

enum { STAGE_SEED = 64 };

void stage_net_init(struct stage *s);
void stage_net_free(struct stage *s);
/* Does all that the application of this end can do now. */
void stage_pump(struct stage *s, struct stream *k, enum side side);
void stage_pump_read(struct stage *s, struct stream *k, enum side side, uint64_t local_now);

static inline uint64_t stage_clock(struct actor *a)
{
    return engine_host_clock(&a->engine);
}

/* Runs this process at the current time. */
static inline void stage_poke(struct actor *a)
{
    world_host_poke(&a->stage->world, a->engine.host);
}

#endif
