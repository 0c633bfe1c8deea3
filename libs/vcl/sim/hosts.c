/* SPDX-License-Identifier: Apache-2.0
 * Addresses and names of simulated hosts: see hosts.h. */
#include "hosts.h"

#include <assert.h>
#include <string.h>

enum { HOST_OCTET_BASE = 10 };
static const uint8_t prefix_v4[3] = {198, 18, 0};
static const uint8_t prefix_v6[4] = {0x20, 0x01, 0x00, 0x02};

struct pmw_addr host_addr(unsigned host, uint8_t family, uint16_t port)
{
    assert(host < HOSTS_MAX && (family == 4 || family == 6));
    struct pmw_addr addr = {.family = family, .port = port};
    if (family == 4)
        memcpy(addr.ip, prefix_v4, sizeof prefix_v4);
    else
        memcpy(addr.ip, prefix_v6, sizeof prefix_v6);
    addr.ip[family == 4 ? 3 : 15] = (uint8_t)(HOST_OCTET_BASE + host);
    return addr;
}

unsigned host_of_addr(const struct pmw_addr *addr)
{
    unsigned octet = addr->ip[addr->family == 6 ? 15 : 3];
    if (octet < HOST_OCTET_BASE || octet >= HOST_OCTET_BASE + HOSTS_MAX)
        return HOST_NONE;
    if (addr->family != 4 && addr->family != 6)
        return HOST_NONE;
    struct pmw_addr expected = host_addr(octet - HOST_OCTET_BASE, addr->family, addr->port);
    return pmw_addr_equal(addr, &expected) ? octet - HOST_OCTET_BASE : HOST_NONE;
}

const char *host_name(unsigned host)
{
    static const char names[HOSTS_MAX][4] = {"s",  "h0", "h1", "h2", "c0",  "c1",  "c2",  "c3",  "c4",  "c5",
                                             "c6", "c7", "c8", "c9", "c10", "c11", "c12", "c13", "c14", "c15"};
    return host < HOSTS_MAX ? names[host] : "?";
}

uint16_t host_helper_id(unsigned host)
{
    return host >= HOST_HELPER && host < HOST_HELPER + HELPERS_MAX ? (uint16_t)(HELPER_ID_BASE + host - HOST_HELPER)
                                                                   : 0;
}
