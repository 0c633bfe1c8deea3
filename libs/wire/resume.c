/* SPDX-License-Identifier: Apache-2.0
 *
 * RESUME and RESUME_ACK: how far each side is, for up to 32 connections of a session (S3, S4).
 */
#include "control_head.h"

enum { RESUME_LIST_AT = 32, RESUME_ACK_LIST_AT = 36 };
_Static_assert(RESUME_LIST_AT + PMW_MAC_BYTES == PMW_RESUME_FIXED_BYTES, "list between head and MAC");
_Static_assert(RESUME_ACK_LIST_AT + PMW_MAC_BYTES == PMW_RESUME_ACK_FIXED_BYTES, "list between head and MAC");

int pmw_resume_encode(uint8_t *buf, size_t cap, const struct pmw_resume *f)
{
    if (f->nb_conns > PMW_RESUME_CONNS_MAX)
        return PMW_ERR_LIMIT;
    if ((f->flags & ~PMW_RESUME_PLANNED) != 0)
        return PMW_ERR_FLAGS;
    size_t want = PMW_RESUME_FIXED_BYTES + (size_t)f->nb_conns * PMW_RESUME_CONN_BYTES;
    int len = control_head_put(buf, cap, want, PMW_RESUME, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->nonce);
    put16(buf + 24, f->server_id);
    put16(buf + 26, f->helper_id);
    buf[28] = f->nb_conns;
    buf[29] = f->shard;
    buf[30] = f->flags;
    uint8_t *p = buf + RESUME_LIST_AT;
    for (unsigned i = 0; i < f->nb_conns; i++, p += PMW_RESUME_CONN_BYTES) {
        put64(p, f->conns[i].cid);
        put64(p + 8, f->conns[i].rcv_nxt);
        put64(p + 16, f->conns[i].snd_una);
        put64(p + 24, f->conns[i].snd_nxt);
    }
    return len;
}

int pmw_resume_decode(const uint8_t *buf, size_t len, struct pmw_resume *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_RESUME, PMW_RESUME_FIXED_BYTES, &head);
    if (rc != 0)
        return rc;
    uint8_t nb_conns = buf[28];
    if (nb_conns > PMW_RESUME_CONNS_MAX)
        return PMW_ERR_LIMIT;
    rc = length_exact(len, PMW_RESUME_FIXED_BYTES + (size_t)nb_conns * PMW_RESUME_CONN_BYTES);
    if (rc != 0)
        return rc;
    if ((buf[30] & ~PMW_RESUME_PLANNED) != 0)
        return PMW_ERR_FLAGS;
    if (buf[31] != 0)
        return PMW_ERR_RESERVED;
    out->session_id = head.id;
    out->epoch = head.epoch;
    out->nonce = get64(buf + 16);
    out->server_id = get16(buf + 24);
    out->helper_id = get16(buf + 26);
    out->shard = buf[29];
    out->flags = buf[30];
    out->nb_conns = nb_conns;
    const uint8_t *p = buf + RESUME_LIST_AT;
    for (unsigned i = 0; i < nb_conns; i++, p += PMW_RESUME_CONN_BYTES)
        out->conns[i] = (struct pmw_resume_conn){get64(p), get64(p + 8), get64(p + 16), get64(p + 24)};
    return 0;
}

int pmw_resume_ack_encode(uint8_t *buf, size_t cap, const struct pmw_resume_ack *f)
{
    if (f->nb_conns > PMW_RESUME_CONNS_MAX)
        return PMW_ERR_LIMIT;
    size_t want = PMW_RESUME_ACK_FIXED_BYTES + (size_t)f->nb_conns * PMW_RESUME_ACK_CONN_BYTES;
    int len = control_head_put(buf, cap, want, PMW_RESUME_ACK, f->session_id, f->epoch);
    if (len < 0)
        return len;
    put64(buf + 16, f->nonce);
    put64(buf + 24, f->challenge);
    buf[32] = f->nb_conns;
    uint8_t *p = buf + RESUME_ACK_LIST_AT;
    for (unsigned i = 0; i < f->nb_conns; i++, p += PMW_RESUME_ACK_CONN_BYTES) {
        put64(p, f->conns[i].cid);
        put64(p + 8, f->conns[i].rcv_nxt);
        put64(p + 16, f->conns[i].snd_una);
        put32(p + 24, f->conns[i].window);
    }
    return len;
}

int pmw_resume_ack_decode(const uint8_t *buf, size_t len, struct pmw_resume_ack *out)
{
    struct control_head head;
    int rc = control_head_get(buf, len, PMW_RESUME_ACK, PMW_RESUME_ACK_FIXED_BYTES, &head);
    if (rc != 0)
        return rc;
    uint8_t nb_conns = buf[32];
    if (nb_conns > PMW_RESUME_CONNS_MAX)
        return PMW_ERR_LIMIT;
    rc = length_exact(len, PMW_RESUME_ACK_FIXED_BYTES + (size_t)nb_conns * PMW_RESUME_ACK_CONN_BYTES);
    if (rc != 0)
        return rc;
    if (!all_zero(buf + 33, 3))
        return PMW_ERR_RESERVED;
    out->session_id = head.id;
    out->epoch = head.epoch;
    out->nonce = get64(buf + 16);
    out->challenge = get64(buf + 24);
    out->nb_conns = nb_conns;
    const uint8_t *p = buf + RESUME_ACK_LIST_AT;
    for (unsigned i = 0; i < nb_conns; i++, p += PMW_RESUME_ACK_CONN_BYTES)
        out->conns[i] = (struct pmw_resume_ack_conn){get64(p), get64(p + 8), get64(p + 16), get32(p + 24)};
    return 0;
}
