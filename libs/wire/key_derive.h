/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way keys are derived from keys (seal.c).
 */
#ifndef POSTMAN_WIRE_KEY_DERIVE_H
#define POSTMAN_WIRE_KEY_DERIVE_H

#include "postman/wire.h"

/* BLAKE2b(key 32, label without its NUL || data) of out_len bytes; label at most 16 bytes, data at most a token. */
void key_derive(uint8_t *out, size_t out_len, const uint8_t key[PMW_KEY_BYTES], const char *label, const uint8_t *data,
                size_t data_len);

#endif
