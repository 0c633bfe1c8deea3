/* SPDX-License-Identifier: Apache-2.0
 * Faults of links: see nemesis.h. */
#include "nemesis.h"

enum {
    SLOW_US_MIN = 2000,
    SLOW_US_MAX = 40000,
    MTU_BYTES_MIN = 576, /* what is left for a payload when a tunnel of the smallest IPv4 MTU is on the way */
    MTU_BYTES_MAX = 1500,
};

static struct link *any_link(struct nemesis *n, struct simulation *sim, unsigned *from, unsigned *to)
{
    *from = nemesis_any_host(n, sim);
    do
        *to = nemesis_any_host(n, sim);
    while (*to == *from);
    return &sim->world.net.links[*from][*to];
}

void nemesis_isolate(struct nemesis *n, struct simulation *sim)
{
    unsigned host = nemesis_any_host(n, sim), ways = (unsigned)rng_between(&n->rng, 1, 3);
    uint64_t for_us = nemesis_duration(n, sim);
    for (unsigned other = 0; other < HOSTS_MAX; other++) {
        if (ways & 1)
            sim->world.net.links[host][other].cut_until_us = sim->world.now_us + for_us;
        if (ways & 2)
            sim->world.net.links[other][host].cut_until_us = sim->world.now_us + for_us;
    }
    nemesis_note(sim, host, ways == 3 ? "isolated" : ways == 1 ? "cannot send" : "cannot receive", HOST_NONE, for_us);
}

void nemesis_hurt_link(struct nemesis *n, struct simulation *sim, enum fault kind)
{
    unsigned from, to;
    struct link *link = any_link(n, sim, &from, &to);
    uint64_t for_us = nemesis_duration(n, sim), until = sim->world.now_us + for_us;
    if (kind == FAULT_CUT) {
        link->cut_until_us = until;
    } else if (kind == FAULT_CLOG) {
        link->clog_until_us = until;
    } else if (kind == FAULT_SLOW) {
        link->slow_until_us = until;
        link->slow_us = (uint32_t)rng_between(&n->rng, SLOW_US_MIN, SLOW_US_MAX);
    } else if (kind == FAULT_MTU) {
        link->mtu_until_us = until;
        link->mtu_bytes = (uint32_t)rng_between(&n->rng, MTU_BYTES_MIN, MTU_BYTES_MAX);
    } else {
        link->gray_until_us = until;
        link->gray_ppm = (uint32_t)rng_between(&n->rng, PPM / 10, PPM);
        link->gray_bytes_min = rng_chance(&n->rng, PPM / 2) ? 1000 : 0;
    }
    static const char *const told[FAULT_COUNT] = {[FAULT_CUT] = "link cut to",
                                                  [FAULT_CLOG] = "link clogged to",
                                                  [FAULT_GRAY] = "link gray to",
                                                  [FAULT_SLOW] = "link slow to",
                                                  [FAULT_MTU] = "link narrow to"};
    nemesis_note(sim, from, told[kind], to, for_us);
}
