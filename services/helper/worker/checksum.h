/* SPDX-License-Identifier: Apache-2.0
 *
 * The Internet checksum (RFC 1071). Sums are kept in the machine's byte order: the result is the same when it is
 * stored as it is (RFC 1071 section 2B).
 */
#ifndef POSTMAN_CHECKSUM_H
#define POSTMAN_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Adds len bytes to a running sum; every part but the last must be of even length. */
uint64_t checksum_add(uint64_t sum, const uint8_t *p, size_t len);
/* Of an upper-layer message of len bytes behind the IPv6 header at ip, with its pseudo header (RFC 8200 8.1). */
uint64_t checksum_ipv6(const uint8_t *ip, uint8_t protocol, const uint8_t *message, size_t len);
/* Stores the complement of the folded sum at p. */
void checksum_store(uint8_t *p, uint64_t sum);
/* Of a range that includes its own checksum field: true when it is right. */
int checksum_holds(uint64_t sum);

#endif
