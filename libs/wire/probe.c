/* SPDX-License-Identifier: Apache-2.0
 *
 * PROBE, ECHO and PONG (S8), and RESET (C7): the small control frames.
 */
#include "control_head.h"

enum { PONG_STATE_MAX = 1 }; /* 0 serving, 1 draining */
_Static_assert(PMW_PROBE_BYTES == PMW_PONG_BYTES && PMW_PROBE_BYTES == PMW_ECHO_BYTES,
               "one least length for the three");

static int probe_rules(uint8_t type, const struct pmw_probe *f)
{
    if (type != PMW_PROBE && type != PMW_PONG && type != PMW_ECHO)
        return PMW_ERR_TYPE;
    if (type == PMW_PONG)
        return f->state > PONG_STATE_MAX ? PMW_ERR_LIMIT : 0;
    return f->bytes < PMW_PROBE_BYTES || f->bytes > PMW_FRAME_BYTES_MAX ? PMW_ERR_LIMIT : 0;
}

int pmw_probe_encode(uint8_t *buf, size_t cap, uint8_t type, const struct pmw_probe *f)
{
    int rc = probe_rules(type, f);
    if (rc != 0)
        return rc;
    size_t want = type == PMW_PROBE ? f->bytes : (size_t)PMW_ECHO_BYTES;
    int len = control_head_put(buf, cap, want, type, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->nonce);
    if (type == PMW_PONG) {
        put16(buf + 24, f->helper_id);
        put16(buf + 26, f->state);
        put32(buf + 28, f->incarnation);
    } else {
        put16(buf + 24, f->server_id);
        put16(buf + 26, f->helper_id);
        buf[28] = f->shard;
        put16(buf + 30, f->bytes);
    }
    return len;
}

static int pong_decode(const uint8_t *buf, struct pmw_probe *out)
{
    out->helper_id = get16(buf + 24);
    out->state = get16(buf + 26);
    out->incarnation = get32(buf + 28);
    return all_zero(buf + 32, 16) ? probe_rules(PMW_PONG, out) : PMW_ERR_RESERVED;
}

int pmw_probe_decode(const uint8_t *buf, size_t len, struct pmw_probe *out)
{
    int type = pmw_type_of(buf, len);
    if (type < 0)
        return type;
    if (type != PMW_PROBE && type != PMW_PONG && type != PMW_ECHO)
        return PMW_ERR_TYPE;
    struct control_head head;
    int rc = control_head_get(buf, len, (uint8_t)type, PMW_PROBE_BYTES, &head);
    if (rc == 0 && type != PMW_PROBE)
        rc = length_exact(len, PMW_PROBE_BYTES);
    if (rc != 0)
        return rc;
    *out = (struct pmw_probe){.session_id = head.id, .nonce = get64(buf + 16), .epoch = head.epoch};
    if (type == PMW_PONG)
        return pong_decode(buf, out);
    out->server_id = get16(buf + 24);
    out->helper_id = get16(buf + 26);
    out->shard = buf[28];
    out->bytes = get16(buf + 30);
    rc = probe_rules((uint8_t)type, out);
    if (rc == 0 && type == PMW_PROBE)
        rc = length_exact(len, out->bytes);
    if (rc != 0)
        return rc;
    return buf[29] == 0 && all_zero(buf + 32, len - 32 - PMW_MAC_BYTES) ? 0 : PMW_ERR_RESERVED;
}

int pmw_reset_encode(uint8_t *buf, size_t cap, const struct pmw_reset *f)
{
    int len = control_head_put(buf, cap, PMW_RESET_BYTES, PMW_RESET, f->cid, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->offset);
    buf[24] = f->reason;
    return len;
}

int pmw_reset_decode(const uint8_t *buf, size_t len, struct pmw_reset *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_RESET, PMW_RESET_BYTES, &head);
    if (rc == 0)
        rc = length_exact(len, PMW_RESET_BYTES);
    if (rc != 0)
        return rc;
    if (!all_zero(buf + 25, 3))
        return PMW_ERR_RESERVED;
    *out = (struct pmw_reset){.cid = head.id, .offset = get64(buf + 16), .epoch = head.epoch, .reason = buf[24]};
    return 0;
}
