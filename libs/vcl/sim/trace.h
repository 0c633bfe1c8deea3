/* SPDX-License-Identifier: Apache-2.0
 *
 * The history of a run: a hash of everything that happened (always), and a readable line for each step (on request):
 *
 *   time       from   to     what                                                          fate
 *   0.012345   c3   > h1     DATA k7 seq 1280 ack 8 len 600 win 256 ep 2 tx 0              +52us
 *   0.012401   h1   > s      TRUNK #17 inc 1 n 2 { c3 DATA k7 ..., c0 ACK k2 ... }          [lost]
 *   0.013000   c3   * path   moved to h1 at epoch 2
 *
 * k7 is connection number 7 of the run; ids not known yet are printed in hexadecimal.
 */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fate { FATE_DELIVERED, FATE_LOST, FATE_CUT, FATE_QUEUE_FULL, FATE_NOWHERE };
enum origin { ORIGIN_HOST, ORIGIN_DUPLICATE, ORIGIN_REPLAY, ORIGIN_JUNK };

enum { TRACE_CIDS_MAX = 1024 }; /* power of two, well above the connections of a run */

struct trace {
    bool print;
    uint64_t hash;
    struct {
        uint64_t cid;
        uint32_t connection;
    } names[TRACE_CIDS_MAX]; /* open addressing; connection 0 in the table is number + 1 */
    uint32_t nb_names;
};

void trace_init(struct trace *t, bool print);
/* From now on lines call this connection id k<connection>. */
void trace_name(struct trace *t, uint64_t cid, uint32_t connection);
/* One datagram leaves (or is lost): flight_us is meaningful for FATE_DELIVERED. */
void trace_datagram(struct trace *t, uint64_t now, unsigned from_host, unsigned to_host, const uint8_t *buf, size_t len,
                    enum origin origin, enum fate fate, bool altered, uint64_t flight_us);
/* The receiver dropped what arrived, for this reason. */
void trace_drop(struct trace *t, uint64_t now, unsigned from_host, unsigned to_host, const char *reason);
/* Anything else that happened at a host; subject: "path", "conn", "app", "fault", ... */
__attribute__((format(printf, 5, 6))) void trace_note(struct trace *t, uint64_t now, unsigned host, const char *subject,
                                                      const char *format, ...);

#endif
