/* SPDX-License-Identifier: Apache-2.0
 *
 * Are there enough huge pages? Asked before DPDK is, whose own answer is hard to read.
 */
#ifndef POSTMAN_HUGEPAGES_H
#define POSTMAN_HUGEPAGES_H

#include <stdint.h>

/* Free huge pages of all sizes, in MB. root: of sysfs, "" but in tests. */
uint64_t hugepages_free_mb(const char *root);

#endif
