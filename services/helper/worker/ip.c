/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses as text. See ip.h.
 */
#include "ip.h"

#include <arpa/inet.h>

const char *ip_text(struct ip_addr a, char out[IP_TEXT_BYTES])
{
    struct pmw_addr addr = ip_to_addr(a, 0);

    return inet_ntop(addr.family == 4 ? AF_INET : AF_INET6, addr.ip, out, IP_TEXT_BYTES);
}

bool ip_parse(const char *text, struct ip_addr *out)
{
    uint8_t bytes[16];

    if (inet_pton(AF_INET, text, bytes) == 1) {
        *out = ip_of_v4(read32(bytes));
        return true;
    }
    if (inet_pton(AF_INET6, text, bytes) != 1)
        return false;
    *out = ip_read6(bytes);
    return !ip_is_v4(*out);
}
