/* SPDX-License-Identifier: Apache-2.0
 *
 * The stage in the hands of a test that is not C: a client and a server engine and real relays whose network does
 * nothing by itself. Every datagram waits until it is delivered, dropped or repeated by its number in the queue, or
 * until the network is let run. libs/vcl/tests/test_stateful.py drives it; nothing of this is installed.
 *
 * Streams are named by the number that puppet_open gave, sides are 0 (client) and 1 (server), hosts those of hosts.h.
 * Results below 0 are -vcl_error, as in engine.h. Nothing here ends the process: what the stage's checkers find is
 * kept, and puppet_fault tells it.
 */
#ifndef SIM_CASES_PUPPET_H
#define SIM_CASES_PUPPET_H

#include "stage.h"

struct puppet;

struct puppet *puppet_new(unsigned nb_helpers);
const char *puppet_fault(const struct puppet *p); /* NULL: no rule was broken so far */
/* Ends both processes; false: a rule was broken, or an engine gave not all of its memory back. Its text is printed. */
bool puppet_free(struct puppet *p);

/* --- connections. An end that does not exist (any more, or yet) answers VCL_ERR_INVALID. */
int64_t puppet_open(struct puppet *p);
int64_t puppet_write(struct puppet *p, unsigned stream, unsigned side, const uint8_t *bytes, size_t len);
int64_t puppet_read(struct puppet *p, unsigned stream, unsigned side, uint8_t *bytes, size_t len); /* 0: the end */
int64_t puppet_shutdown(struct puppet *p, unsigned stream, unsigned side);
int64_t puppet_reset(struct puppet *p, unsigned stream, unsigned side);
enum { PUPPET_EXISTS = 1, PUPPET_OPENED = 2, PUPPET_CLOSED = 4 };
unsigned puppet_state(const struct puppet *p, unsigned stream, unsigned side); /* flags; OPENED is the client's */
int puppet_error(const struct puppet *p, unsigned stream, unsigned side);      /* of its CLOSED event */
uint32_t puppet_strays(const struct puppet *p); /* connections that the server accepted and no client knows */

/* --- datagrams that wait, oldest first; an index out of range does nothing */
uint32_t puppet_pending(const struct puppet *p);
void puppet_deliver(struct puppet *p, uint32_t index);
void puppet_repeat(struct puppet *p, uint32_t index); /* a copy arrives, and the datagram waits on */
void puppet_drop(struct puppet *p, uint32_t index);
void puppet_hold(struct puppet *p, bool hold); /* false: what is sent from now on is delivered by itself */

/* --- time and faults */
uint64_t puppet_now(const struct puppet *p);
void puppet_run(struct puppet *p, uint64_t us);
void puppet_helper_crash(struct puppet *p, unsigned helper);
void puppet_helper_restart(struct puppet *p, unsigned helper);
void puppet_pause(struct puppet *p, unsigned host, uint64_t us);
void puppet_cut(struct puppet *p, unsigned a, unsigned b, uint64_t us);
void puppet_hint(struct puppet *p, unsigned helper, int hint); /* enum vcl_hint */
void puppet_calm(struct puppet *p);                            /* links are whole, all helpers run, nothing is held */
unsigned puppet_path(const struct puppet *p);                  /* helper id, 0: direct */
uint32_t puppet_epoch(const struct puppet *p);

#endif
