/* SPDX-License-Identifier: Apache-2.0
 *
 * Ping is answered, so that an operator and a load balancer's check can see the helper's address. Nothing else of ICMP.
 */
#ifndef POSTMAN_ICMP_H
#define POSTMAN_ICMP_H

#include "parse.h"

/* Turns an echo request that parse_frame accepted into its reply, in place. The frame goes back the way it came;
 * returns its length, without Ethernet padding. */
size_t icmp_answer_echo(uint8_t *frame, const struct parsed *request);

#endif
