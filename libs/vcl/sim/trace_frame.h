/* SPDX-License-Identifier: Apache-2.0
 *
 * One line of text for any datagram of the protocol.
 */
#ifndef SIM_TRACE_FRAME_H
#define SIM_TRACE_FRAME_H

#include "trace.h"

void trace_frame_text(const struct trace *t, const uint8_t *buf, size_t len, char *text, size_t cap);
/* "k7" of a known connection, else the id in hexadecimal; returns text. */
const char *trace_cid_text(const struct trace *t, uint64_t cid, char text[24]);

#endif
