/* SPDX-License-Identifier: Apache-2.0
 *
 * The 64-byte messages of the load generator: every byte follows from (kind, connection, number), so whoever reads one
 * knows whether it is the right one, another one, or none at all. */
#ifndef VCL_BENCH_MESSAGE_H
#define VCL_BENCH_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MESSAGE_BYTES = 64 };
enum message_kind { MESSAGE_REQUEST = 1, MESSAGE_REPLY, MESSAGE_STREAM /* words of a stream follow, no messages */ };

void message_make(uint8_t out[MESSAGE_BYTES], enum message_kind kind, uint32_t connection, uint64_t number);
/* What the message claims to be; false when its other bytes are not those that this claim demands. */
bool message_read(const uint8_t in[MESSAGE_BYTES], enum message_kind kind, uint32_t *connection, uint64_t *number);

/* A stream is 64-bit words, each a number more than the one before: what one reads says where it belongs. `offset`, in
 * bytes, may be within a word. check: how many bytes are right before the first wrong one. */
void stream_fill(uint8_t *out, size_t len, uint64_t offset);
size_t stream_check(const uint8_t *in, size_t len, uint64_t offset);

#endif
