/* SPDX-License-Identifier: Apache-2.0
 *
 * Sessions of a client driver: the engine's calls under the driver's lock, and the ring of notices about them. */
#include "driver.h"

#include <errno.h>
#include <limits.h>

static int enter_open(struct vcl_driver *d)
{
    int rc = vcl__driver_enter(d);
    if (rc < 0 || d->state == VCL_DRIVER_OPEN)
        return rc;
    vcl__driver_leave(d);
    return -EBADF;
}

static int leave_settled(struct vcl_driver *d, uint64_t now, int engine_error)
{
    vcl__driver_settle(d, now);
    vcl__driver_leave(d);
    return -vcl__errno(engine_error);
}

int vcl_session_attach(struct vcl_driver *d, const struct vcl_peer *peer, struct vcl_session **out)
{
    int rc = enter_open(d);
    if (rc < 0)
        return rc;
    uint64_t now = vcl_clock_us();
    return leave_settled(d, now, vcl_session_new(d->engine, now, peer, out));
}

int vcl_session_detach(struct vcl_driver *d, struct vcl_session *s)
{
    struct vcl_session_info info;
    int rc = enter_open(d);
    if (rc < 0)
        return rc;
    vcl_session_info(s, &info);
    if (info.nb_conns > 0) {
        vcl__driver_leave(d);
        return -EBUSY;
    }
    vcl__driver_settle(d, vcl_clock_us()); /* no event may mention it afterwards */
    vcl_session_free(s);
    vcl__driver_leave(d);
    return 0;
}

int vcl_session_renew(struct vcl_driver *d, struct vcl_session *s, const uint8_t token[PMW_TOKEN_BYTES],
                      const uint8_t token_key[PMW_KEY_BYTES])
{
    int rc = enter_open(d);
    if (rc < 0)
        return rc;
    return leave_settled(d, vcl_clock_us(), vcl_session_set_token(s, token, token_key));
}

int vcl_session_repath(struct vcl_driver *d, struct vcl_session *s, const struct vcl_path *paths, uint8_t nb_paths)
{
    int rc = enter_open(d);
    if (rc < 0)
        return rc;
    uint64_t now = vcl_clock_us();
    return leave_settled(d, now, vcl_session_set_paths(s, now, paths, nb_paths));
}

int vcl_session_advise(struct vcl_driver *d, struct vcl_session *s, uint16_t helper_id, enum vcl_hint hint)
{
    int rc = enter_open(d);
    if (rc < 0)
        return rc;
    uint64_t now = vcl_clock_us();
    vcl_session_hint(s, now, helper_id, hint);
    return leave_settled(d, now, VCL_OK);
}

int vcl_session_query(struct vcl_driver *d, struct vcl_session *s, struct vcl_session_info *out)
{
    int rc = enter_open(d);
    if (rc < 0)
        return rc;
    vcl_session_info(s, out);
    vcl__driver_leave(d);
    return 0;
}

void vcl__notices_add(struct vcl_driver *d, const struct vcl_event *ev)
{
    struct vcl_notices *n = &d->notices;
    struct vcl_session_info info;
    vcl_session_info(ev->session, &info);
    if (++n->last_seq > VCL_NOTICES_MAX)
        d->stats.notices_overwritten++;
    n->ring[n->last_seq % VCL_NOTICES_MAX] = (struct vcl_notice){.seq = n->last_seq,
                                                                 .type = ev->type,
                                                                 .session_id = info.id,
                                                                 .server_id = info.server_id,
                                                                 .from_helper_id = ev->from_helper_id,
                                                                 .helper_id = ev->helper_id,
                                                                 .epoch = ev->epoch,
                                                                 .nb_conns = info.nb_conns,
                                                                 .at_us = ev->at_us,
                                                                 .silent_since_us = ev->silent_since_us};
    vcl__wait_wake(&n->wait, &d->wakes, INT_MAX);
}

int vcl_notices_read(struct vcl_driver *d, uint64_t after, struct vcl_notice *out, int max)
{
    if (!vcl_driver_is_ours(d))
        return -EBADF;
    pthread_mutex_lock(&d->lock); /* a closed driver's notices can still be read */
    const struct vcl_notices *n = &d->notices;
    uint64_t oldest = n->last_seq > VCL_NOTICES_MAX ? n->last_seq - VCL_NOTICES_MAX + 1 : 1;
    uint64_t seq = after + 1 > oldest ? after + 1 : oldest;
    int count = 0;
    for (; seq <= n->last_seq && count < max; seq++)
        out[count++] = n->ring[seq % VCL_NOTICES_MAX];
    pthread_mutex_unlock(&d->lock);
    return count;
}

int vcl_notices_wait(struct vcl_driver *d, uint64_t after, uint64_t deadline_us)
{
    int rc = vcl__driver_enter(d);
    if (rc < 0)
        return rc == -EBADF && vcl_driver_is_ours(d) ? -ECANCELED : rc;
    while (d->notices.last_seq <= after && d->state == VCL_DRIVER_OPEN && rc == 0)
        rc = deadline_us == 0 ? -EAGAIN : vcl__sleep_aside(d, &d->notices.wait, deadline_us);
    if (d->notices.last_seq > after)
        rc = 0;
    else if (d->state != VCL_DRIVER_OPEN)
        rc = -ECANCELED;
    vcl__driver_leave(d);
    return rc;
}
