/* SPDX-License-Identifier: Apache-2.0
 *
 * How long may a lcore without work sleep? A pure function. It spins for IDLE_SPIN_US after work, then naps a quarter of
 * the time it has been idle already, at most IDLE_NAP_US_MAX and never past the next flush: so the delay that a nap adds
 * is small against the silence before it, and an idle worker wakes 4,000 times a second at most.
 */
#ifndef POSTMAN_IDLE_H
#define POSTMAN_IDLE_H

#include <stdint.h>

#include "config.h"

enum { IDLE_SPIN_US = 50, IDLE_NAP_US_MAX = 250 };

/* Microseconds to sleep; 0: poll on. idle_us: since the last work; due_us: until the next flush (UINT64_MAX: none). */
uint64_t idle_nap_us(enum config_idle policy, uint64_t idle_us, uint64_t due_us);

#endif
