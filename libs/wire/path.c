/* SPDX-License-Identifier: Apache-2.0
 *
 * PATH_CHALLENGE and PATH_RESPONSE (S18).
 */
#include "control_head.h"

int pmw_path_encode(uint8_t *buf, size_t cap, uint8_t type, const struct pmw_path *f)
{
    if (type != PMW_PATH_CHALLENGE && type != PMW_PATH_RESPONSE)
        return PMW_ERR_TYPE;
    int len = control_head_put(buf, cap, PMW_PATH_BYTES, type, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->challenge);
    put16(buf + 24, f->server_id);
    put16(buf + 26, f->helper_id);
    buf[28] = f->shard;
    return len;
}

int pmw_path_decode(const uint8_t *buf, size_t len, struct pmw_path *out)
{
    int type = pmw_type_of(buf, len);
    if (type < 0)
        return type;
    if (type != PMW_PATH_CHALLENGE && type != PMW_PATH_RESPONSE)
        return PMW_ERR_TYPE;
    struct control_head head;
    int rc = control_head_get(buf, len, (uint8_t)type, PMW_PATH_BYTES, &head);
    if (rc == 0)
        rc = length_exact(len, PMW_PATH_BYTES);
    if (rc != 0)
        return rc;
    if (!all_zero(buf + 29, 3))
        return PMW_ERR_RESERVED;
    *out = (struct pmw_path){
        .session_id = head.id,
        .challenge = get64(buf + 16),
        .epoch = head.epoch,
        .server_id = get16(buf + 24),
        .helper_id = get16(buf + 26),
        .shard = buf[28],
    };
    return 0;
}
