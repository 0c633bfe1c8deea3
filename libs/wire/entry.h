/* SPDX-License-Identifier: Apache-2.0
 *
 * The parsers of entries that pmw_entry_next (trunk.c) chooses from. Each gets the entry's first byte and what is left
 * of the batch (at least 1), fills out, and returns the bytes taken or PMW_ERR_ENTRY.
 */
#ifndef POSTMAN_WIRE_ENTRY_H
#define POSTMAN_WIRE_ENTRY_H

#include "postman/wire.h"

int short_entry_decode(const uint8_t *p, size_t left, struct pmw_any_entry *out);   /* short_entry.c */
int control_entry_decode(const uint8_t *p, size_t left, struct pmw_any_entry *out); /* control_entry.c */

#endif
