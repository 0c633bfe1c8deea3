/* SPDX-License-Identifier: Apache-2.0
 *
 * Load and names of counters. See stats.h.
 */
#include "stats.h"

#define WINDOW_US 1000000

void load_add(struct load *l, uint64_t from, uint64_t to, bool worked)
{
    if (worked)
        l->busy_us += to - from;
    if (to - l->window_us < WINDOW_US)
        return;
    l->share = (double)l->busy_us / (double)(to - l->window_us);
    if (l->share > 1.0) /* the first window begins before the first poll */
        l->share = 1.0;
    l->window_us = to;
    l->busy_us = 0;
}

const char *worker_drop_key(enum worker_drop reason)
{
    static const char *const keys[WORKER_DROP_COUNT] = {
#define WORKER_X(name, key, text) [name] = key,
        WORKER_DROPS(WORKER_X)
#undef WORKER_X
    };
    return reason > DROP_NONE && reason < WORKER_DROP_COUNT ? keys[reason] : "none";
}
