/* SPDX-License-Identifier: Apache-2.0
 *
 * A C-frame in, however it came (a datagram of its own or an entry of a trunk batch): to the part that knows its type.
 * Frames for the other role are counted and dropped.
 */
#include "state.h"

static int receive_by_server(struct vcl_engine *e, const struct route *from, int type, const uint8_t *buf, size_t len)
{
    if (e->cfg.server_id == 0 && type != PMW_PROBE)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (type == PMW_OPEN)
        return vcl__on_open(e, from, buf, len);
    if (type == PMW_RESUME)
        return vcl__on_resume(e, from, buf, len);
    if (type == PMW_PATH_RESPONSE)
        return vcl__on_path_response(e, from, buf, len);
    return vcl__on_probe(e, from, buf, len);
}

static int receive_probe_answer(struct vcl_engine *e, const struct route *from, int type, const uint8_t *buf,
                                size_t len)
{
    struct pmw_probe p;
    if (pmw_probe_decode(buf, len, &p) < 0)
        return vcl__drop(e, VCL_DROP_MALFORMED);
    struct vcl_session *s = vcl__session_find(e, p.session_id);
    if (s == NULL)
        return vcl__drop(e, VCL_DROP_UNKNOWN_SESSION);
    if (s->dial == NULL && type == PMW_PONG)
        return vcl__drop(e, VCL_DROP_ROLE);
    if (type == PMW_PONG)
        return vcl__advice_on_pong(s, &p);
    if (!pmw_control_check(buf, len, vcl__mac_key_in(s)))
        return vcl__drop(e, VCL_DROP_MAC);
    vcl__session_on_rx(s, from);
    if (vcl__mtu_on_echo(s, &p) || s->dial == NULL)
        return 0;
    return vcl__home_on_echo(s, &p) || vcl__scout_on_echo(s, &p) ? 0 : vcl__probe_on_echo(s, &p);
}

static int receive(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    int type = pmw_type_of(buf, len);
    switch (type) {
    case PMW_DATA:
    case PMW_ACK:
        return vcl__conn_receive(e, from, buf, len);
    case PMW_OPEN:
    case PMW_RESUME:
    case PMW_PROBE:
    case PMW_PATH_RESPONSE:
        return receive_by_server(e, from, type, buf, len);
    case PMW_OPEN_ACK:
        return vcl__on_open_ack(e, from, buf, len);
    case PMW_OPEN_COOKIE:
        return vcl__on_open_cookie(e, from, buf, len);
    case PMW_STATELESS_RESET:
        return vcl__on_stateless_reset(e, buf, len);
    case PMW_REFUSED:
        return vcl__on_refused(e, from, buf, len);
    case PMW_RESUME_ACK:
        return vcl__on_resume_ack(e, from, buf, len);
    case PMW_PATH_CHALLENGE:
        return vcl__on_path_challenge(e, from, buf, len);
    case PMW_BUSY:
        return vcl__on_busy(e, buf, len);
    case PMW_PONG:
    case PMW_ECHO:
        return receive_probe_answer(e, from, type, buf, len);
    case PMW_RESET:
        return vcl__on_reset(e, from, buf, len);
    default: /* also a batch inside a batch */
        return vcl__drop(e, VCL_DROP_MALFORMED);
    }
}

int vcl__frame_receive(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len)
{
    e->stats.frames_in++;
    e->frame_len = len;
    int drop = receive(e, from, buf, len);
    e->frame_len = 0;
    return drop;
}
