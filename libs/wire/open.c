/* SPDX-License-Identifier: Apache-2.0
 *
 * OPEN and its three answers, OPEN_COOKIE, OPEN_ACK and REFUSED.
 */
#include "control_head.h"

int pmw_open_encode(uint8_t *buf, size_t cap, const struct pmw_open *f)
{
    int len = control_head_put(buf, cap, PMW_OPEN_BYTES, PMW_OPEN, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->open_nonce);
    put16(buf + 24, f->server_id);
    buf[26] = f->shard;
    put16(buf + 28, f->client_port);
    put32(buf + 32, f->rwnd);
    put32(buf + 36, f->features);
    memcpy(buf + 40, f->token, PMW_TOKEN_BYTES);
    memcpy(buf + 104, f->cookie, PMW_COOKIE_BYTES);
    return len;
}

int pmw_open_decode(const uint8_t *buf, size_t len, struct pmw_open *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_OPEN, PMW_OPEN_BYTES, &head);
    if (rc == 0)
        rc = length_exact(len, PMW_OPEN_BYTES);
    if (rc != 0)
        return rc;
    if (buf[27] != 0 || !all_zero(buf + 30, 2))
        return PMW_ERR_RESERVED;
    *out = (struct pmw_open){
        .session_id = head.id,
        .open_nonce = get64(buf + 16),
        .epoch = head.epoch,
        .rwnd = get32(buf + 32),
        .features = get32(buf + 36),
        .server_id = get16(buf + 24),
        .client_port = get16(buf + 28),
        .shard = buf[26],
    };
    memcpy(out->token, buf + 40, PMW_TOKEN_BYTES);
    memcpy(out->cookie, buf + 104, PMW_COOKIE_BYTES);
    return 0;
}

int pmw_open_cookie_encode(uint8_t *buf, size_t cap, const struct pmw_open_cookie *f)
{
    int len = control_head_put(buf, cap, PMW_OPEN_COOKIE_BYTES, PMW_OPEN_COOKIE, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->open_nonce);
    memcpy(buf + 24, f->cookie, PMW_COOKIE_BYTES);
    return len;
}

int pmw_open_cookie_decode(const uint8_t *buf, size_t len, struct pmw_open_cookie *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_OPEN_COOKIE, PMW_OPEN_COOKIE_BYTES, &head);
    if (rc == 0)
        rc = length_exact(len, PMW_OPEN_COOKIE_BYTES);
    if (rc != 0)
        return rc;
    *out = (struct pmw_open_cookie){.session_id = head.id, .open_nonce = get64(buf + 16), .epoch = head.epoch};
    memcpy(out->cookie, buf + 24, PMW_COOKIE_BYTES);
    return 0;
}

int pmw_open_ack_encode(uint8_t *buf, size_t cap, const struct pmw_open_ack *f)
{
    int len = control_head_put(buf, cap, PMW_OPEN_ACK_BYTES, PMW_OPEN_ACK, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->open_nonce);
    put64(buf + 24, f->cid);
    put32(buf + 32, f->rwnd);
    put32(buf + 36, f->features);
    put16(buf + 40, f->max_hold_us);
    put16(buf + 42, f->max_ack_delay_us);
    memcpy(buf + 44, f->reset_token, sizeof(f->reset_token));
    return len;
}

int pmw_open_ack_decode(const uint8_t *buf, size_t len, struct pmw_open_ack *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_OPEN_ACK, PMW_OPEN_ACK_BYTES, &head);
    if (rc == 0)
        rc = length_exact(len, PMW_OPEN_ACK_BYTES);
    if (rc != 0)
        return rc;
    *out = (struct pmw_open_ack){
        .session_id = head.id,
        .open_nonce = get64(buf + 16),
        .cid = get64(buf + 24),
        .epoch = head.epoch,
        .rwnd = get32(buf + 32),
        .features = get32(buf + 36),
        .max_hold_us = get16(buf + 40),
        .max_ack_delay_us = get16(buf + 42),
    };
    memcpy(out->reset_token, buf + 44, sizeof(out->reset_token));
    return 0;
}

int pmw_refused_encode(uint8_t *buf, size_t cap, const struct pmw_refused *f)
{
    int len = control_head_put(buf, cap, PMW_REFUSED_BYTES, PMW_REFUSED, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->open_nonce);
    buf[24] = f->reason;
    return len;
}

int pmw_refused_decode(const uint8_t *buf, size_t len, struct pmw_refused *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_REFUSED, PMW_REFUSED_BYTES, &head);
    if (rc == 0)
        rc = length_exact(len, PMW_REFUSED_BYTES);
    if (rc != 0)
        return rc;
    if (!all_zero(buf + 25, 3))
        return PMW_ERR_RESERVED;
    *out = (struct pmw_refused){
        .session_id = head.id,
        .open_nonce = get64(buf + 16),
        .epoch = head.epoch,
        .reason = buf[24],
    };
    return 0;
}
