/* SPDX-License-Identifier: Apache-2.0
 *
 * What the parts of the nemesis share: who is hit (nemesis_hosts.c), and the faults of links and hosts. When they come,
 * and what the control plane and processes suffer: nemesis.c. The rest of the simulator sees simulation.h only.
 */
#ifndef SIM_NEMESIS_H
#define SIM_NEMESIS_H

#include "simulation.h"

enum {
    HINT_DELAY_US_MIN = 1000,   /* a control plane needs about three missed heartbeats, 20 ms each ... */
    HINT_DELAY_US_MAX = 200000, /* ... or much longer */
};

/* Host numbers; HOST_NONE: there is no helper. */
unsigned nemesis_any_client(struct nemesis *n, const struct simulation *sim);
unsigned nemesis_any_helper(struct nemesis *n, const struct simulation *sim);
unsigned nemesis_any_host(struct nemesis *n, const struct simulation *sim);
uint64_t nemesis_duration(struct nemesis *n, const struct simulation *sim);
void nemesis_note(struct simulation *sim, unsigned host, const char *what, unsigned other, uint64_t for_us);

void nemesis_isolate(struct nemesis *n, struct simulation *sim);
void nemesis_hurt_link(struct nemesis *n, struct simulation *sim, enum fault kind);
void nemesis_crash(struct nemesis *n, struct simulation *sim);
void nemesis_flap(struct nemesis *n, struct simulation *sim);
void nemesis_flap_again(struct nemesis *n, struct simulation *sim);
void nemesis_damage(struct nemesis *n, struct simulation *sim, enum fault kind);
void nemesis_rebind(struct nemesis *n, struct simulation *sim);
void nemesis_overload(struct nemesis *n, struct simulation *sim);
void nemesis_end_overload(struct nemesis *n, struct simulation *sim);

#endif
