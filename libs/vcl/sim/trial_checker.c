/* SPDX-License-Identifier: Apache-2.0
 * Bytes to a path on trial: see trial_checker.h. What is sent was decided earlier: a control frame counts for the epoch
 * that it carries, and one that carries none for what it answers. */
#include "trial_checker.h"

#include <string.h>

enum { FACTOR = 3 }; /* S18 */

static bool same(const struct trial_way *a, const struct trial_way *b)
{
    return a->addr.family != 0 && a->path == b->path && pmw_addr_equal(&a->addr, &b->addr);
}

static void prove(struct trial_watch *w)
{
    w->proved = true;
    w->first = false;
    w->validated = w->way;
}

/* --- received ----------------------------------------------------------------------------------------------- */
static void opener(struct trial_watch *w, const struct pmw_open *open, size_t len, const struct trial_way *from)
{
    struct trial_opener seen = {.way = *from};
    int at = 0;
    while (at < TRIAL_OPENERS_MAX - 1 && !same(&w->openers[at].way, from))
        at++;
    if (same(&w->openers[at].way, from))
        seen = w->openers[at];
    seen.bytes += len;
    for (int i = 0; i < PMW_COOKIE_BYTES; i++)
        seen.has_cookie |= open->cookie[i] != 0;
    memmove(&w->openers[1], &w->openers[0], (size_t)at * sizeof w->openers[0]);
    w->openers[0] = seen;
}

static void resumed(struct trial_watch *w, uint32_t epoch, const struct trial_way *from)
{
    if (epoch <= w->epoch)
        return;
    w->epoch = epoch;
    w->challenge = 0;
    w->first = false;
    if (same(&w->validated, from)) {
        w->proved = true;
        w->way = *from;
        return;
    }
    if (!w->proved && same(&w->way, from))
        return;
    w->proved = false;
    w->way = *from;
    w->since_epoch = epoch;
    w->bytes_in = w->bytes_out = 0;
    for (int i = 0; i < TRIAL_PROBES_MAX; i++)
        w->probes[i].before = true;
}

void trial_watch_received(struct trial_watch *w, const uint8_t *frame, size_t len, const struct trial_way *from,
                          bool believed)
{
    struct pmw_open open;
    struct pmw_resume resume;
    struct pmw_probe probe;
    struct pmw_path response;
    int type = pmw_type_of(frame, len);
    if (w->way.addr.family == 0 && type == PMW_OPEN && pmw_open_decode(frame, len, &open) >= 0)
        opener(w, &open, len, from);
    if (type == PMW_RESUME && pmw_resume_decode(frame, len, &resume) >= 0)
        resumed(w, resume.epoch, from);
    if (type == PMW_PROBE && pmw_probe_decode(frame, len, &probe) >= 0 && probe.epoch == 0)
        w->probes[w->nb_probes++ % TRIAL_PROBES_MAX] = (struct trial_probe){.way = *from, .nonce = probe.nonce};
    if (type == PMW_PATH_RESPONSE && pmw_path_decode(frame, len, &response) >= 0 && believed)
        for (int i = 0; i < TRIAL_ASKED_MAX; i++)
            if (w->asked[i].challenge == response.challenge && same(&w->asked[i].way, from))
                w->validated = *from;
    if (w->proved || !same(&w->way, from))
        return;
    w->bytes_in += len;
    if ((type == PMW_DATA || type == PMW_ACK) && w->first && believed)
        prove(w);
    if (type == PMW_PATH_RESPONSE && pmw_path_decode(frame, len, &response) >= 0 && w->challenge != 0 &&
        response.challenge == w->challenge && believed)
        prove(w);
}

/* --- sent --------------------------------------------------------------------------------------------------- */
static void open_answered(struct trial_watch *w, uint32_t epoch, const struct trial_way *to)
{
    if (w->way.addr.family != 0) {
        w->first = w->first && same(&w->way, to);
        return;
    }
    w->way = *to;
    w->epoch = epoch; /* a RESUME of it may ask whether a connection is there (S16): no move */
    w->first = true;
    for (int i = 0; i < TRIAL_OPENERS_MAX; i++)
        if (same(&w->openers[i].way, to)) {
            w->bytes_in = w->openers[i].bytes;
            if (w->openers[i].has_cookie)
                prove(w);
        }
}

/* The epoch in which the server decided to send it; UINT32_MAX: just now. challenge: what it asks, 0 for nothing. */
static uint32_t decided_in(const uint8_t *frame, size_t len, uint32_t flow_epoch, uint64_t *challenge)
{
    struct pmw_resume_ack resume_ack;
    struct pmw_open_ack open_ack;
    struct pmw_probe probe;
    struct pmw_path path;
    struct pmw_reset reset;
    *challenge = 0;
    switch (pmw_type_of(frame, len)) {
    case PMW_DATA:
    case PMW_ACK:
        return flow_epoch;
    case PMW_OPEN_ACK:
        return pmw_open_ack_decode(frame, len, &open_ack) >= 0 ? open_ack.epoch : UINT32_MAX;
    case PMW_RESUME_ACK:
        if (pmw_resume_ack_decode(frame, len, &resume_ack) < 0)
            return UINT32_MAX;
        *challenge = resume_ack.challenge;
        return resume_ack.epoch;
    case PMW_PATH_CHALLENGE:
        if (pmw_path_decode(frame, len, &path) < 0)
            return UINT32_MAX;
        *challenge = path.challenge;
        return path.epoch;
    case PMW_RESET:
        return pmw_reset_decode(frame, len, &reset) >= 0 ? reset.epoch : UINT32_MAX;
    case PMW_PROBE:
    case PMW_ECHO:
        return pmw_probe_decode(frame, len, &probe) >= 0 ? probe.epoch : UINT32_MAX;
    default:
        return UINT32_MAX;
    }
}

static bool answers_probe_before(struct trial_watch *w, const uint8_t *frame, size_t len, const struct trial_way *to)
{
    struct pmw_probe echo;
    if (pmw_probe_decode(frame, len, &echo) < 0)
        return false;
    for (int i = 0; i < TRIAL_PROBES_MAX; i++) {
        struct trial_probe *p = &w->probes[i];
        if (p->nonce == echo.nonce && same(&p->way, to)) {
            p->way.addr.family = 0;
            return p->before;
        }
    }
    return w->nb_probes > TRIAL_PROBES_MAX; /* maybe it was overwritten */
}

bool trial_watch_sent(struct trial_watch *w, const uint8_t *frame, size_t len, uint32_t flow_epoch,
                      const struct trial_way *to)
{
    uint64_t challenge;
    int type = pmw_type_of(frame, len);
    uint32_t epoch = decided_in(frame, len, flow_epoch, &challenge);
    bool before = epoch < w->since_epoch;
    if (challenge != 0)
        w->asked[w->nb_asked++ % TRIAL_ASKED_MAX] = (struct trial_question){.way = *to, .challenge = challenge};
    if (type == PMW_OPEN_ACK)
        open_answered(w, epoch, to);
    if (type == PMW_ECHO && epoch == 0)
        before = answers_probe_before(w, frame, len, to);
    if (w->proved || before || !same(&w->way, to))
        return true;
    if (type == PMW_OPEN_COOKIE || type == PMW_REFUSED) /* shorter than the OPEN that it answers, which may be older */
        return true;
    if (challenge != 0 && (epoch == w->epoch || w->epoch == 0))
        w->challenge = challenge;
    w->bytes_out += len;
    return w->bytes_out <= FACTOR * w->bytes_in;
}
