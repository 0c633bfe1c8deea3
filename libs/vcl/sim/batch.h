/* SPDX-License-Identifier: Apache-2.0
 *
 * Many seeds: in several processes, each seed's failure reported with the command that repeats it, and the sums at the
 * end.
 */
#ifndef SIM_BATCH_H
#define SIM_BATCH_H

#include "simulation.h"

enum { BATCH_JOBS_MAX = 64 };

struct batch_options {
    const char *program; /* argv[0], for the command that repeats a failure */
    uint64_t from, count;
    unsigned jobs;
    uint64_t repeat_each; /* each so-many-th seed is run twice; 0: none */
    struct run_options run;
    const char *only; /* as given: part of the command that repeats a failure; NULL: every fault */
    bool single;
};

/* true: every seed passed. */
bool batch_run(const struct batch_options *options);
/* true: each planted fault was seen by the check that is for it. */
bool batch_self_test(const struct batch_options *options);

#endif
