/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts for results and types, and the comparison of addresses.
 */
#include <string.h>

#include "postman/wire.h"

const char *pmw_error_text(int error)
{
    switch (error) {
#define PMW_X(name, value, text)                                                                                       \
    case name:                                                                                                         \
        return text;
        PMW_ERRORS(PMW_X)
#undef PMW_X
    default:
        return error >= 0 ? "ok" : "unknown error";
    }
}

const char *pmw_type_name(int type)
{
    switch (type) {
#define PMW_X(name)                                                                                                    \
    case PMW_##name:                                                                                                   \
        return #name;
        PMW_X(DATA)
        PMW_X(ACK)
        PMW_X(OPEN)
        PMW_X(OPEN_COOKIE)
        PMW_X(OPEN_ACK)
        PMW_X(RESUME)
        PMW_X(RESUME_ACK)
        PMW_X(PATH_CHALLENGE)
        PMW_X(PATH_RESPONSE)
        PMW_X(PROBE)
        PMW_X(PONG)
        PMW_X(BUSY)
        PMW_X(STATELESS_RESET)
        PMW_X(RESET)
        PMW_X(ECHO)
        PMW_X(REFUSED)
        PMW_X(TRUNK)
#undef PMW_X
    default:
        return "UNKNOWN";
    }
}

bool pmw_addr_equal(const struct pmw_addr *a, const struct pmw_addr *b)
{
    return a->family == b->family && a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}
