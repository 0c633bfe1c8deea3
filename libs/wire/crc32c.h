/* SPDX-License-Identifier: Apache-2.0
 *
 * The portable CRC32C, apart so that tests can compare it with the CPU's.
 */
#ifndef POSTMAN_WIRE_CRC32C_H
#define POSTMAN_WIRE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t pmw_crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
