/* SPDX-License-Identifier: Apache-2.0
 *
 * The first look at a datagram: its type, and the few fields that a helper routes by (W9).
 */
#include <string.h>

#include "bytes.h"
#include "frame.h"

/* Least length of each known type (of DATA and ACK: of short ones), and whether no other length is legal; 0: unknown.
 */
static const struct {
    uint16_t len_min;
    bool fixed;
} SHAPES[32] = {
    [PMW_DATA] = {PMW_SHORT_HEADER_BYTES + PMW_CHECK_BYTES, false},
    [PMW_ACK] = {PMW_SHORT_HEADER_BYTES + PMW_CHECK_BYTES, false},
    [PMW_OPEN] = {PMW_OPEN_BYTES, true},
    [PMW_OPEN_COOKIE] = {PMW_OPEN_COOKIE_BYTES, true},
    [PMW_OPEN_ACK] = {PMW_OPEN_ACK_BYTES, true},
    [PMW_RESUME] = {PMW_RESUME_FIXED_BYTES, false},
    [PMW_RESUME_ACK] = {PMW_RESUME_ACK_FIXED_BYTES, false},
    [PMW_PATH_CHALLENGE] = {PMW_PATH_BYTES, true},
    [PMW_PATH_RESPONSE] = {PMW_PATH_BYTES, true},
    [PMW_PROBE] = {PMW_PROBE_BYTES, false},
    [PMW_PONG] = {PMW_PONG_BYTES, true},
    [PMW_BUSY] = {PMW_BUSY_BYTES, true},
    [PMW_STATELESS_RESET] = {PMW_STATELESS_RESET_BYTES, true},
    [PMW_RESET] = {PMW_RESET_BYTES, true},
    [PMW_ECHO] = {PMW_ECHO_BYTES, true},
    [PMW_REFUSED] = {PMW_REFUSED_BYTES, true},
    [PMW_TRUNK] = {PMW_TRUNK_BYTES_MIN, false},
};

int pmw_type_of(const uint8_t *buf, size_t len)
{
    if (len == 0)
        return PMW_ERR_SHORT;
    if (buf[0] >> 5 != PMW_VERSION)
        return PMW_ERR_VERSION;
    unsigned type = buf[0] & 0x1f;
    return SHAPES[type].len_min != 0 ? (int)type : PMW_ERR_TYPE;
}

static bool is_frame(int type)
{
    return type == PMW_DATA || type == PMW_ACK;
}

int pmw_route_decode(const uint8_t *buf, size_t len, struct pmw_route *out)
{
    int type = pmw_type_of(buf, len);
    if (type < 0)
        return type;
    if (type == PMW_TRUNK)
        return PMW_ERR_TYPE;
    if (len < SHAPES[type].len_min || (is_frame(type) && len < frame_bytes_min(buf[1])))
        return PMW_ERR_SHORT;
    if (len > (SHAPES[type].fixed ? SHAPES[type].len_min : (size_t)PMW_FRAME_BYTES_MAX))
        return PMW_ERR_LENGTH;
    *out = (struct pmw_route){.type = (uint8_t)type, .flags = buf[1], .id = get64(buf + 4)};
    out->session_scope = !is_frame(type) && type != PMW_RESET && type != PMW_BUSY && type != PMW_STATELESS_RESET;
    if (type == PMW_OPEN || type == PMW_RESUME || type == PMW_PROBE || type == PMW_PATH_RESPONSE)
        out->server_id = get16(buf + 24);
    if (type == PMW_OPEN)
        out->shard = buf[26];
    else if (type == PMW_RESUME)
        out->shard = buf[29];
    else if (type == PMW_PROBE || type == PMW_PATH_RESPONSE)
        out->shard = buf[28];
    return 0;
}
