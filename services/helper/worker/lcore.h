/* SPDX-License-Identifier: Apache-2.0
 *
 * The poll loop of one worker lcore.
 */
#ifndef POSTMAN_LCORE_H
#define POSTMAN_LCORE_H

#include <signal.h>

#include "worker.h"

/* Monotonic time, read through the vDSO: no system call. */
uint64_t lcore_clock_us(void);
/* Runs until *stop or the `quit` command, then sends what is held. */
void lcore_run(struct worker *w, const volatile sig_atomic_t *stop);

#endif
