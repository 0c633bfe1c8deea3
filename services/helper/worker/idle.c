/* SPDX-License-Identifier: Apache-2.0
 *
 * The idle policy. See idle.h.
 */
#include "idle.h"

/* A shorter sleep costs more in the kernel than it saves: going to sleep and waking is 5 us or so. */
#define NAP_US_MIN 10

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t idle_nap_us(enum config_idle policy, bool doorbell, uint64_t idle_us, uint64_t due_us)
{
    if (policy == CONFIG_IDLE_SPIN || idle_us < IDLE_SPIN_US)
        return 0;
    uint64_t nap_us = doorbell ? IDLE_SLEEP_US_MAX : least(idle_us / IDLE_NAP_SHARE, IDLE_NAP_US_MAX);
    nap_us = least(nap_us, due_us);
    return nap_us < NAP_US_MIN ? 0 : nap_us;
}
