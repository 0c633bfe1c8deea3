/* SPDX-License-Identifier: Apache-2.0
 *
 * The requests of the control socket (docs/architecture.md): one line in, one JSON object out.
 */
#ifndef POSTMAN_COMMANDS_H
#define POSTMAN_COMMANDS_H

#include "worker.h"

/* A control_execute; ctx is a struct worker. */
size_t commands_execute(void *ctx, char *line, char *answer, size_t cap);

#endif
