/* SPDX-License-Identifier: Apache-2.0
 *
 * What every byte of every connection must be: a function of (seed, connection, direction, offset). The sender fills
 * its writes from it and the receiver compares its reads with it, so that one wrong, missing, repeated or foreign byte
 * shows. A client's stream begins with a header that names the connection.
 */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum direction { UP /* client to server */, DOWN };
enum { LEDGER_HEADER_BYTES = 8 }; /* mark 4, connection number 4 */

void ledger_fill(uint64_t seed, uint32_t connection, enum direction direction, uint64_t offset, uint8_t *buf,
                 size_t len);
/* The index of the first wrong byte, or -1. */
int64_t ledger_mismatch(uint64_t seed, uint32_t connection, enum direction direction, uint64_t offset,
                        const uint8_t *buf, size_t len);
/* Reads the connection number out of a header; false: it is none. */
bool ledger_header_parse(const uint8_t header[LEDGER_HEADER_BYTES], uint32_t *connection);

#endif
