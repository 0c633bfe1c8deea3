/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that arrives: a burst from the port, each frame parsed and given to the relay, to ARP or to ping.
 */
#ifndef POSTMAN_INPUT_H
#define POSTMAN_INPUT_H

#include "worker.h"

/* Takes one burst; returns its size. */
uint16_t input_poll(struct worker *w);

#endif
