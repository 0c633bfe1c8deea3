/* SPDX-License-Identifier: Apache-2.0
 *
 * The two frames of a connection that carry no MAC, because their sender holds no key of the session: BUSY of a helper
 * (O3) and STATELESS_RESET of a successor (C9). They have no control head, only type, reserved bytes and the CID.
 */
#include "control_head.h"

enum { CID_AT = 4 };

static int unkeyed_put(uint8_t *buf, size_t cap, size_t len, uint8_t type, uint64_t cid)
{
    if (len > cap)
        return PMW_ERR_SPACE;
    memset(buf, 0, len);
    buf[0] = PMW_FIRST_BYTE(type);
    put64(buf + CID_AT, cid);
    return (int)len;
}

static int unkeyed_get(const uint8_t *buf, size_t len, uint8_t type, size_t expected)
{
    int found = pmw_type_of(buf, len);
    if (found < 0)
        return found;
    if (found != type)
        return PMW_ERR_TYPE;
    int rc = length_exact(len, expected);
    if (rc != 0)
        return rc;
    if (buf[1] != 0)
        return PMW_ERR_FLAGS;
    return all_zero(buf + 2, 2) ? 0 : PMW_ERR_RESERVED;
}

int pmw_busy_encode(uint8_t *buf, size_t cap, const struct pmw_busy *f)
{
    int len = unkeyed_put(buf, cap, PMW_BUSY_BYTES, PMW_BUSY, f->cid);
    if (len < 0)
        return len;
    put32(buf + 12, f->seq);
    put32(buf + 16, f->retry_after_us);
    put16(buf + 20, f->helper_id);
    return len;
}

int pmw_busy_decode(const uint8_t *buf, size_t len, struct pmw_busy *out)
{
    int rc = unkeyed_get(buf, len, PMW_BUSY, PMW_BUSY_BYTES);
    if (rc != 0)
        return rc;
    if (!all_zero(buf + 22, 2))
        return PMW_ERR_RESERVED;
    *out = (struct pmw_busy){.cid = get64(buf + CID_AT),
                             .seq = get32(buf + 12),
                             .retry_after_us = get32(buf + 16),
                             .helper_id = get16(buf + 20)};
    return 0;
}

int pmw_stateless_reset_encode(uint8_t *buf, size_t cap, const struct pmw_stateless_reset *f)
{
    int len = unkeyed_put(buf, cap, PMW_STATELESS_RESET_BYTES, PMW_STATELESS_RESET, f->cid);
    if (len < 0)
        return len;
    memcpy(buf + 12, f->reset_token, sizeof(f->reset_token));
    return len;
}

int pmw_stateless_reset_decode(const uint8_t *buf, size_t len, struct pmw_stateless_reset *out)
{
    int rc = unkeyed_get(buf, len, PMW_STATELESS_RESET, PMW_STATELESS_RESET_BYTES);
    if (rc != 0)
        return rc;
    *out = (struct pmw_stateless_reset){.cid = get64(buf + CID_AT)};
    memcpy(out->reset_token, buf + 12, sizeof(out->reset_token));
    return 0;
}
