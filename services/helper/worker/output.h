/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that leaves: the relay's payloads get headers and a next hop, other frames go as they are, and all of it
 * goes to the port in bursts.
 */
#ifndef POSTMAN_OUTPUT_H
#define POSTMAN_OUTPUT_H

#include "worker.h"

/* The relay's sink: its buffers are the payload room of mbufs. */
struct relay_sink output_sink(struct worker *w);
/* What the neighbour table needs. */
struct neighbours_ports output_neighbours_ports(struct worker *w);
/* A whole frame; the worker owns it no longer. */
void output_frame(struct worker *w, struct rte_mbuf *m);
/* Sends what has gathered. */
void output_flush(struct worker *w);

#endif
