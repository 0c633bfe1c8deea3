/* SPDX-License-Identifier: Apache-2.0
 *
 * Starting and ending DPDK's environment without its files, its noise and its command line.
 */
#ifndef POSTMAN_EAL_H
#define POSTMAN_EAL_H

#include "config.h"

/* 0, or -1 with a one-line cause. Nothing is shared with other processes; memory is anonymous. */
int eal_start(const struct worker_config *config, char *error, size_t error_cap);
/* Also removes the run-time directory that EAL makes even when it shares nothing. */
void eal_stop(void);

#endif
