/* SPDX-License-Identifier: Apache-2.0
 *
 * The 16 bytes that every control frame begins with:
 *  0 ver|type   1 flags (0)   2 epoch low 8   3 zero   4 id 8   12 epoch 4
 */
#ifndef POSTMAN_WIRE_CONTROL_HEAD_H
#define POSTMAN_WIRE_CONTROL_HEAD_H

#include <string.h>

#include "bytes.h"
#include "postman/wire.h"

struct control_head {
    uint64_t id; /* session id, or the CID in RESET */
    uint32_t epoch;
};

/* Zeroes all len bytes (MAC and reserved fields included), then writes the head. */
static inline int control_head_put(uint8_t *buf, size_t cap, size_t len, uint8_t type, uint64_t id, uint32_t epoch)
{
    if (len > cap)
        return PMW_ERR_SPACE;
    memset(buf, 0, len);
    buf[0] = PMW_FIRST_BYTE(type);
    buf[2] = (uint8_t)epoch;
    put64(buf + 4, id);
    put32(buf + 12, epoch);
    return (int)len;
}

static inline int length_exact(size_t len, size_t expected)
{
    if (len < expected)
        return PMW_ERR_SHORT;
    return len == expected ? 0 : PMW_ERR_LENGTH;
}

/* len_min: the least length of this type, so that the fixed fields may be read after success. */
static inline int control_head_get(const uint8_t *buf, size_t len, uint8_t type, size_t len_min,
                                   struct control_head *out)
{
    int found = pmw_type_of(buf, len);
    if (found < 0)
        return found;
    if (found != type)
        return PMW_ERR_TYPE;
    if (len < len_min)
        return PMW_ERR_SHORT;
    out->id = get64(buf + 4);
    out->epoch = get32(buf + 12);
    if (buf[1] != 0)
        return PMW_ERR_FLAGS;
    /* epoch8 only repeats the full epoch, for helpers and dumps: it may not say something else */
    if (buf[2] != (uint8_t)out->epoch || buf[3] != 0)
        return PMW_ERR_RESERVED;
    return 0;
}

#endif
