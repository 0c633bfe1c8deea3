/* SPDX-License-Identifier: Apache-2.0
 *
 * How long may a lcore without work sleep? A pure function. It spins for IDLE_SPIN_US after work, as long as going to
 * sleep and waking takes: more would take a shared core from those whose packets it waits for; one that is not shared
 * has `idle=spin`. Then, with a doorbell, it sleeps until that rings. Without, it naps a sixteenth of the time it has
 * been idle already, so that the delay a nap adds is small against the silence before it; and wakes 1,000 times a
 * second in the end. Never past the next flush.
 */
#ifndef POSTMAN_IDLE_H
#define POSTMAN_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "config.h"

enum {
    IDLE_SPIN_US = 5,
    IDLE_SLEEP_US_MAX = 10000, /* with a doorbell: the tick of ageing and ARP */
    IDLE_NAP_US_MAX = 1000,
    IDLE_NAP_SHARE = 16,
};

/* Microseconds to sleep; 0: poll on. idle_us: since the last work; due_us: until the next flush (UINT64_MAX: none). */
uint64_t idle_nap_us(enum config_idle policy, bool doorbell, uint64_t idle_us, uint64_t due_us);

#endif
