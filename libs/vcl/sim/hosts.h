/* SPDX-License-Identifier: Apache-2.0
 *
 * Who lives where. Each host of a simulation has a fixed number, and its addresses follow from it: 198.18.0.0/24 (RFC
 * 2544) and 2001:2::/64 (RFC 5180), host part = HOST_OCTET_BASE + number.
 */
#ifndef SIM_HOSTS_H
#define SIM_HOSTS_H

#include "postman/wire.h"

enum {
    HELPERS_MAX = 3,
    CLIENTS_MAX = 16,
    HOST_SERVER = 0,
    HOST_HELPER = 1, /* the first of HELPERS_MAX */
    HOST_CLIENT = HOST_HELPER + HELPERS_MAX,
    HOSTS_MAX = HOST_CLIENT + CLIENTS_MAX,
    HOST_NONE = 255,

    PORT_SERVER = 7000,
    PORT_HELPER_CLIENTS = 4701, /* docs/architecture.md, addresses and ports */
    PORT_HELPER_TRUNK = 4702,
    PORT_CLIENT = 40000,
    HELPER_ID_BASE = 101, /* helper id of the first helper host; path id 0 is the direct path */
};

/* family: 4 or 6. */
struct pmw_addr host_addr(unsigned host, uint8_t family, uint16_t port);
/* The host of that address and whatever port, or HOST_NONE. */
unsigned host_of_addr(const struct pmw_addr *addr);
/* "s", "h0".."h2", "c0".."c15": what traces call a host. */
const char *host_name(unsigned host);
/* Path id of a helper host, 0 for any other. */
uint16_t host_helper_id(unsigned host);

#endif
