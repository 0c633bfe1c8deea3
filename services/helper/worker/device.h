/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be known about a device string before DPDK sees it, so that the usual mistakes get a plain sentence.
 */
#ifndef POSTMAN_DEVICE_H
#define POSTMAN_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

enum device_check { DEVICE_OK, DEVICE_NOT_PERMITTED, DEVICE_MISSING };

/* A virtual device of DPDK (net_...) rather than a bus address. */
bool device_is_virtual(const char *device);
/* Needs packet sockets: may we make one? Names an interface: is it here, and up? The sentence goes to error. */
enum device_check device_check(const char *device, char *error, size_t error_cap);

#endif
