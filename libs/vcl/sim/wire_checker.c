/* SPDX-License-Identifier: Apache-2.0
 * I3 on the wire: which epoch and path each frame of a session uses, at the client and at the server: see checkers.h.
 */
#include "frames.h"
#include "simulation.h"

#include <string.h>

enum { PATH_UNKNOWN = 0xffff };

static void fail(struct simulation *sim, const char *what, uint64_t session_id, uint64_t seen, uint64_t known)
{
    verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I3, "session %016llx: %s (%llu, not %llu)",
                 (unsigned long long)session_id, what, (unsigned long long)seen, (unsigned long long)known);
}

void checkers_session(struct checkers *k, uint64_t session_id, unsigned client_host)
{
    if (k->nb_sessions == SESSIONS_MAX)
        return;
    k->sessions[k->nb_sessions++] = (struct session_record){.id = session_id,
                                                            .client_host = (uint8_t)client_host,
                                                            .server_path = PATH_UNKNOWN,
                                                            .path_of_epoch_sent = PATH_UNKNOWN};
}

static struct session_record *session_find(struct checkers *k, uint64_t session_id)
{
    for (uint32_t i = 0; i < k->nb_sessions; i++)
        if (k->sessions[i].id == session_id)
            return &k->sessions[i];
    return NULL;
}

static uint32_t cid_slot(const struct checkers *k, uint64_t cid)
{
    uint32_t slot = (uint32_t)(mix64(cid) % CIDS_MAX);
    while (k->cids[slot].session != 0 && k->cids[slot].cid != cid)
        slot = (slot + 1) % CIDS_MAX;
    return slot;
}

static void cid_learn(struct checkers *k, uint64_t cid, const struct session_record *session)
{
    uint32_t slot = cid_slot(k, cid);
    if (k->cids[slot].session == 0 && k->nb_cids == CIDS_MAX / 2)
        return;
    k->nb_cids += k->cids[slot].session == 0;
    k->cids[slot].cid = cid;
    k->cids[slot].session = (uint32_t)(session - k->sessions) + 1;
}

static struct session_record *cid_session(struct checkers *k, uint64_t cid)
{
    uint32_t session = k->cids[cid_slot(k, cid)].session;
    return session ? &k->sessions[session - 1] : NULL;
}

/* --- RESUME frames that clients sent: hashes; a set of places forgets its oldest ------------------------------ */
static uint64_t frame_hash(const uint8_t *frame, size_t len)
{
    uint64_t hash = len;
    for (size_t i = 0; i < len; i++)
        hash = mix64(hash ^ frame[i]);
    return hash | 1;
}

static uint64_t *resume_places(struct checkers *k, uint64_t hash)
{
    return &k->resumes[hash / 2 % (RESUMES_MAX / RESUMES_PLACES) * RESUMES_PLACES];
}

static bool resume_is_noted(struct checkers *k, const uint8_t *frame, size_t len)
{
    uint64_t hash = frame_hash(frame, len), *places = resume_places(k, hash);
    for (int i = 0; i < RESUMES_PLACES; i++)
        if (places[i] == hash)
            return true;
    return false;
}

static void resume_note(struct checkers *k, const uint8_t *frame, size_t len)
{
    uint64_t hash = frame_hash(frame, len), *places = resume_places(k, hash);
    if (resume_is_noted(k, frame, len))
        return;
    memmove(&places[1], &places[0], (RESUMES_PLACES - 1) * sizeof places[0]);
    places[0] = hash;
}

/* --- at the client ---------------------------------------------------------------------------------------- */
static void client_epoch(struct simulation *sim, struct session_record *s, uint64_t now, const struct pmw_resume *f)
{
    bool planned = (f->flags & PMW_RESUME_PLANNED) != 0; /* S19: the present epoch goes on until it is answered */
    uint32_t least = planned ? s->sent_epoch : s->resumed_epoch;
    if (f->epoch < least)
        fail(sim, "the client's epoch goes back", s->id, f->epoch, least);
    if (!planned)
        s->resumed_epoch = f->epoch;
    if (f->epoch == s->sent_epoch && s->path_of_epoch_sent != PATH_UNKNOWN && f->helper_id != s->path_of_epoch_sent)
        fail(sim, "the client uses one epoch for two paths", s->id, f->helper_id, s->path_of_epoch_sent);
    if (f->epoch > s->sent_epoch) {
        uint64_t nb_failures = sim->clients[s->client_host - HOST_CLIENT].engine.memory.failures;
        uint64_t since_us = now - s->moved_at_us, least_us = sim->scenario.engine.move_interval_min_us;
        /* S9. Without memory for its first RESUME an engine raised its epoch before the wire shows that. */
        if (s->moves > 0 && since_us < least_us && !s->moved_before)
            fail(sim, "the client raises its epoch too early, us", s->id, since_us, least_us);
        s->sent_epoch = f->epoch;
        s->path_of_epoch_sent = f->helper_id;
        s->moved_at_us = now;
        s->moved_before = nb_failures != s->nb_failures;
        s->nb_failures = nb_failures;
        s->moves++;
    }
}

void checkers_client_sent(struct simulation *sim, uint64_t now, const struct vcl_datagram *out)
{
    struct pmw_resume resume;
    struct pmw_open open;
    struct session_record *s;
    switch (pmw_type_of(out->bytes, out->len)) {
    case PMW_OPEN:
        if (pmw_open_decode(out->bytes, out->len, &open) < 0 || !(s = session_find(&sim->checkers, open.session_id)))
            break;
        s->sent_epoch = open.epoch > s->sent_epoch ? open.epoch : s->sent_epoch;
        s->open_epoch = open.epoch > s->open_epoch ? open.epoch : s->open_epoch;
        break;
    case PMW_RESUME:
        if (pmw_resume_decode(out->bytes, out->len, &resume) < 0 ||
            !(s = session_find(&sim->checkers, resume.session_id)))
            break;
        if (resume.helper_id != host_helper_id(host_of_addr(&out->to)))
            fail(sim, "RESUME names another path than it takes", s->id, resume.helper_id,
                 host_helper_id(host_of_addr(&out->to)));
        client_epoch(sim, s, now, &resume);
        resume_note(&sim->checkers, out->bytes, out->len);
        break;
    default:
        break;
    }
}

/* --- at the server ---------------------------------------------------------------------------------------- */
/* The epoch that the server must know: RESUMEs of a herd wait for their turn (S20). */
static uint32_t told_epoch(const struct simulation *sim, const struct session_record *s)
{
    return engine_host_resume_waits(&sim->server.engine, s->id, UINT32_MAX) ? s->told_epoch : s->delivered_epoch;
}

/* S18: where the server returns to when a trial fails. */
static bool is_way_back(const struct session_record *s, uint16_t path, const struct pmw_addr *addr)
{
    return s->trial.validated.path == path && pmw_addr_equal(&s->trial.validated.addr, addr);
}

/* The session that a frame belongs to, by the id that all frames have at the same place; NULL: of none. */
static struct session_record *frame_session(struct checkers *k, const uint8_t *frame, size_t len)
{
    uint64_t id = 0;
    if (len < 12)
        return NULL;
    for (int i = 4; i < 12; i++)
        id = id << 8 | frame[i];
    struct session_record *s = session_find(k, id);
    return s ? s : cid_session(k, id);
}

/* The full number of the epoch that DATA or ACK of the server carries. */
static uint32_t flow_epoch(const struct simulation *sim, const struct session_record *s, const struct pmw_frame *f)
{
    uint8_t epoch8 = sim->checkers.stale_plant && s->server_epoch > 0 ? (uint8_t)(f->epoch8 - 1) : f->epoch8;
    uint32_t told = told_epoch(sim, s), reference = s->server_epoch > told ? s->server_epoch : told;
    uint32_t epoch = (uint32_t)pmw_wlsb(reference, epoch8, pmw_frame_epoch_bits(f));
    /* W10: 4 bits in a short frame. After eight moves in silence, or planned ones, of which the server tells nothing
     * else, it is its client's epoch that it is near to. */
    if (epoch < reference && epoch + (1u << pmw_frame_epoch_bits(f)) <= s->sent_epoch)
        epoch += 1u << pmw_frame_epoch_bits(f);
    return epoch;
}

static void check_trial(struct simulation *sim, const uint8_t *frame, size_t len, uint16_t path,
                        const struct pmw_addr *to)
{
    struct pmw_frame flow;
    struct session_record *s = frame_session(&sim->checkers, frame, len);
    int type = pmw_type_of(frame, len);
    if (!s)
        return;
    bool is_flow = (type == PMW_DATA || type == PMW_ACK) && pmw_frame_decode(frame, len, &flow) >= 0;
    uint32_t epoch = is_flow ? flow_epoch(sim, s, &flow) : UINT32_MAX;
    if (!trial_watch_sent(&s->trial, frame, len, epoch, &(struct trial_way){path, *to}))
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I6,
                     "session %016llx: %llu bytes to a path on trial that sent %llu", (unsigned long long)s->id,
                     (unsigned long long)s->trial.bytes_out, (unsigned long long)s->trial.bytes_in);
}

/* S5: what belongs to a connection goes where the highest accepted epoch says, and that never goes back. */
static void server_flow_frame(struct simulation *sim, const struct pmw_frame *f, uint16_t path,
                              const struct pmw_addr *addr)
{
    struct checkers *k = &sim->checkers;
    struct session_record *s = cid_session(k, f->cid);
    if (!s)
        return;
    k->server_frames_checked++;
    uint32_t epoch = flow_epoch(sim, s, f), told = told_epoch(sim, s);
    if (epoch < s->server_epoch) {
        fail(sim, "the server's epoch goes back", s->id, epoch, s->server_epoch);
    } else if (epoch > s->sent_epoch) {
        fail(sim, "the server uses an epoch that its client never sent", s->id, epoch, s->sent_epoch);
    } else if (epoch < told) {
        fail(sim, "the server uses an older epoch than it was told", s->id, epoch, s->delivered_epoch);
    } else if (epoch > s->server_epoch || s->server_path == PATH_UNKNOWN) {
        s->server_epoch = epoch;
        s->server_path = path;
    } else if (path != s->server_path && is_way_back(s, path, addr)) {
        s->server_path = path;
    } else if (path != s->server_path) {
        fail(sim, "the server sends on another path than its epoch's", s->id, path, s->server_path);
    }
    /* S3: an epoch has one address, that of its first RESUME, or the one before when the trial failed. */
    if (epoch == s->delivered_epoch && s->told_addr.family != 0 && !pmw_addr_equal(addr, &s->told_addr) &&
        !is_way_back(s, path, addr))
        fail(sim, "the server sends to an address that its epoch's first RESUME did not come from", s->id, addr->port,
             s->told_addr.port);
    /* Replayed copies from other addresses may be first, and then lead elsewhere until the client's next epoch. */
    if (sim->scenario.net.replay_ppm == 0 && epoch == s->sent_epoch && s->path_of_epoch_sent != PATH_UNKNOWN &&
        path != s->path_of_epoch_sent && !is_way_back(s, path, addr))
        fail(sim, "the server sends on another path than the client's RESUME named", s->id, path,
             s->path_of_epoch_sent);
}

static void server_frame_sent(struct simulation *sim, const uint8_t *frame, size_t len, uint16_t path,
                              const struct pmw_addr *addr)
{
    struct pmw_frame flow;
    struct pmw_open_ack ack;
    struct session_record *s;
    int type = pmw_type_of(frame, len);
    check_trial(sim, frame, len, path, addr);
    if ((type == PMW_DATA || type == PMW_ACK) && pmw_frame_decode(frame, len, &flow) >= 0) {
        server_flow_frame(sim, &flow, path, addr);
    } else if (type == PMW_OPEN_ACK && pmw_open_ack_decode(frame, len, &ack) >= 0 &&
               (s = session_find(&sim->checkers, ack.session_id))) {
        s->at_server = true;
        cid_learn(&sim->checkers, ack.cid, s);
    }
}

void checkers_server_sent(struct simulation *sim, uint64_t now, const struct vcl_datagram *out)
{
    struct pmw_trunk trunk;
    uint16_t path = 0, receiver = host_helper_id(host_of_addr(&out->to));
    if (pmw_type_of(out->bytes, out->len) == PMW_TRUNK && pmw_trunk_decode(out->bytes, out->len, &trunk) >= 0)
        path = trunk.helper_id;
    if (path != 0 && checkers_is_repeated(&sim->checkers, &trunk))
        return;
    /* A batch replayed from another address, and first there, leads the trunk astray until the helper's next one. */
    if (path != receiver && sim->scenario.net.replay_ppm == 0)
        verdict_fail(&sim->world.verdict, now, RULE_I3, "the server sends a datagram of path %u to the helper %u", path,
                     receiver);
    uint32_t nb_unknown = frames_each(sim, out->bytes, out->len, path, &out->to, server_frame_sent);
    if (nb_unknown > 0)
        verdict_fail(&sim->world.verdict, now, RULE_I2, "the server sends helper %u %u short entries of no binding",
                     path, nb_unknown);
}

/* An authentic RESUME counts from the moment the server has read it; a planned one is first to be proved (S19). */
static void server_frame_received(struct simulation *sim, const uint8_t *frame, size_t len, uint16_t path,
                                  const struct pmw_addr *addr)
{
    struct checkers *k = &sim->checkers;
    struct pmw_resume resume;
    struct session_record *of;
    struct trial_way way = {path, *addr};
    if (pmw_type_of(frame, len) != PMW_RESUME && (of = frame_session(k, frame, len)))
        trial_watch_received(&of->trial, frame, len, &way, engine_host_believes(&sim->server.engine, of->id, &way));
    if (pmw_type_of(frame, len) != PMW_RESUME || pmw_resume_decode(frame, len, &resume) < 0)
        return;
    struct session_record *s = session_find(k, resume.session_id);
    if (!s || !s->at_server || !resume_is_noted(k, frame, len) || resume.helper_id != path ||
        resume.server_id != sim->identity.server_id)
        return;
    k->resumes_checked++;
    trial_watch_received(&s->trial, frame, len, &way, false);
    if (engine_host_lost_resume(&sim->server.engine, s->id, resume.epoch))
        return;
    if ((resume.flags & PMW_RESUME_PLANNED) != 0 && resume.epoch > s->planned_epoch)
        s->planned_epoch = resume.epoch;
    if (resume.epoch > s->delivered_epoch && (resume.flags & PMW_RESUME_PLANNED) == 0) {
        if (!engine_host_resume_waits(&sim->server.engine, s->id, resume.epoch))
            s->told_epoch = s->delivered_epoch;
        s->delivered_epoch = resume.epoch;
        /* Or an OPEN was first (S2), or a planned one: then this one only asks (S16), and may be a copy from anywhere.
         */
        bool first = resume.epoch > s->open_epoch && resume.epoch != s->planned_epoch;
        s->told_addr = first ? *addr : (struct pmw_addr){0};
    }
}

/* A client that slept through that time says OPEN in its present epoch, which begins the session anew at the server:
 * where that OPEN comes from is its first path (S2), and what RESUMEs proved before is over. */
void checkers_server_forgets(struct simulation *sim)
{
    struct checkers *k = &sim->checkers;
    uint32_t nb = engine_host_nb_sessions(&sim->server.engine);
    for (uint32_t i = 0; nb < k->nb_server_sessions && i < k->nb_sessions; i++) {
        struct session_record *s = &k->sessions[i];
        if (!s->at_server || engine_host_knows(&sim->server.engine, s->id))
            continue;
        s->at_server = false;
        s->server_path = PATH_UNKNOWN;
        s->told_addr = (struct pmw_addr){0};
        s->trial = (struct trial_watch){0};
    }
    k->nb_server_sessions = nb;
}

/* The engine has just been given a batch: did it take it? */
static bool batch_was_read(struct simulation *sim)
{
    struct vcl_stats stats;
    vcl_engine_stats(sim->server.engine.engine, &stats);
    bool was = stats.trunk_batches_in != sim->checkers.nb_batches_read;
    sim->checkers.nb_batches_read = stats.trunk_batches_in;
    return was;
}

void checkers_server_received(struct simulation *sim, uint64_t now, const struct datagram *in, int drop)
{
    struct pmw_trunk trunk;
    checkers_server_forgets(sim);
    if (pmw_type_of(in->bytes, in->len) == PMW_TRUNK) { /* what it drops of a batch says nothing of the rest */
        if (!batch_was_read(sim) || pmw_trunk_decode(in->bytes, in->len, &trunk) < 0)
            return;
        checkers_trunk_begins(&sim->checkers, &trunk);
        frames_bind(&sim->checkers, &trunk, in->bytes, in->len);
    } else if (drop == VCL_DROP_MALFORMED ||
               (drop == VCL_DROP_LIMIT && pmw_type_of(in->bytes, in->len) == PMW_RESUME)) {
        return; /* S20: nobody has looked at a RESUME that may not wait. S18 counts what only was not granted: DATA
                 * without memory, an OPEN that is refused, a PROBE whose answer is beyond the limit */
    }
    frames_each(sim, in->bytes, in->len, 0, &in->from, server_frame_received);
}

/* --- what engines say of themselves -------------------------------------------------------------------------- */
void checkers_client_session(struct simulation *sim, const struct vcl_session *session)
{
    struct vcl_session_info info;
    vcl_session_info(session, &info);
    struct session_record *s = session_find(&sim->checkers, info.id);
    if (!s)
        return;
    if (info.epoch < s->client_epoch)
        fail(sim, "the client's session goes back in epochs", s->id, info.epoch, s->client_epoch);
    s->client_epoch = info.epoch;
}

void checkers_server_session(struct simulation *sim, const struct connection *c, const struct vcl_session *session)
{
    struct vcl_session_info info;
    vcl_session_info(session, &info);
    struct session_record *s = session_find(&sim->checkers, info.id);
    if (!s || info.id != c->session_id) {
        fail(sim, "a connection belongs to another session at the server", c->session_id, info.id, c->session_id);
        return;
    }
    if (info.epoch < s->server_epoch || info.epoch < told_epoch(sim, s) || info.epoch > s->sent_epoch)
        fail(sim, "the server's session has another epoch than it was told", s->id, info.epoch, s->delivered_epoch);
    if (info.epoch == s->server_epoch && s->server_path != PATH_UNKNOWN && info.active_helper_id != s->server_path &&
        s->trial.validated.path != info.active_helper_id)
        fail(sim, "the server's session names another path than its frames take", s->id, info.active_helper_id,
             s->server_path);
}
