/* SPDX-License-Identifier: Apache-2.0
 *
 * The observers of a run: I3 on the wire, explained errors, memory caps, and what must hold at the end. (I1 and I2 are
 * checked byte for byte where applications read: application.c.)
 */
#ifndef SIM_CHECKERS_H
#define SIM_CHECKERS_H

#include "engine_host.h"
#include "trial_checker.h"
#include "workload.h"

struct simulation;

enum { SESSIONS_MAX = 64, CIDS_MAX = 1024, BINDINGS_MAX = 65536, RESUMES_MAX = 65536, RESUMES_PLACES = 16 };

/* What has been seen of one session. */
struct session_record {
    uint64_t id;
    bool at_server;              /* the server has sent something for it */
    uint32_t server_epoch;       /* highest epoch that the server has used; full number */
    uint32_t delivered_epoch;    /* highest authentic RESUME that reached the server */
    uint32_t sent_epoch;         /* highest epoch that the client has used */
    uint16_t path_of_epoch_sent; /* helper id of the RESUME of sent_epoch */
    struct pmw_addr told_addr;   /* where the first RESUME of delivered_epoch came from; family 0: none yet */
    uint32_t planned_epoch;      /* the highest that a planned RESUME asked for (S19) */
    uint32_t open_epoch;         /* highest that an OPEN of the client carried */
    struct trial_watch trial;
    uint8_t client_host;
    uint16_t server_path;   /* where the server sent at server_epoch */
    uint32_t told_epoch;    /* delivered before the RESUMEs that wait at the server (S20) */
    uint32_t resumed_epoch; /* of the client's RESUMEs that were not planned */
    uint32_t client_epoch;  /* as the client's engine said it last */
    uint64_t moved_at_us;   /* when the client last raised its epoch */
    uint64_t nb_failures;   /* of its engine's memory, until then */
    bool moved_before;      /* maybe: its first RESUME found no memory */
    uint32_t moves;
};

struct checkers {
    struct session_record sessions[SESSIONS_MAX];
    uint32_t nb_sessions;
    struct binding_seen { /* by BIND entries that reached the server; overwritten by others of the same slot */
        uint16_t helper_id;
        uint32_t index, incarnation;
        uint8_t generation;
        uint64_t cid;
        struct pmw_addr client;
    } bindings[BINDINGS_MAX];
    uint64_t short_entries_checked;
    struct {
        uint64_t cid;
        uint32_t session; /* index + 1; 0: free slot */
    } cids[CIDS_MAX];     /* open addressing */
    uint32_t nb_cids;
    uint64_t resumes[RESUMES_MAX]; /* hashes of RESUME frames that clients really sent, in sets of so many places */
    struct {
        uint32_t helper_incarnation, incarnation, seq;
    } newest_batch[HELPERS_MAX]; /* of the server, to each helper */
    uint64_t nb_batches_read;    /* by the server's process */
    uint32_t nb_server_sessions; /* that it had when it was looked at last */
    uint64_t server_frames_checked, resumes_checked;
    bool stale_plant; /* planted fault: server frames are read as if of an older epoch */
};

/* A session of a client exists. */
void checkers_session(struct checkers *k, uint64_t session_id, unsigned client_host);
/* Datagrams at the two ends. */
void checkers_client_sent(struct simulation *sim, uint64_t now, const struct vcl_datagram *out);
void checkers_server_sent(struct simulation *sim, uint64_t now, const struct vcl_datagram *out);
void checkers_server_received(struct simulation *sim, uint64_t now, const struct datagram *in, int drop);
/* After each step of the server: has it forgotten a session (S14)? */
void checkers_server_forgets(struct simulation *sim);
/* T8: what a helper missed is sent to it again as it was, however old its epochs are by then. */
void checkers_trunk_begins(struct checkers *k, const struct pmw_trunk *trunk);      /* maybe: its batch was read */
uint32_t checkers_helper_incarnation(const struct checkers *k, uint16_t helper_id); /* of its batch read last */
void checkers_server_restarts(struct checkers *k);
bool checkers_is_repeated(struct checkers *k, const struct pmw_trunk *trunk);
/* Compares sessions as the engines describe them with what was seen on the wire. */
void checkers_client_session(struct simulation *sim, const struct vcl_session *session);
void checkers_server_session(struct simulation *sim, const struct connection *c, const struct vcl_session *session);
/* An end may get this error: its plan, the faults or a limit of the scenario account for it. ctx is the simulation. */
bool checkers_error_is_explained(void *ctx, const struct connection *c, enum side side, int error);
/* After calm: every connection that must be complete is, byte for byte. */
void checkers_completion(struct simulation *sim);
/* I8: what engines sent again is within C5's budget. */
void checkers_resent(struct simulation *sim);
/* I10: after calm, each helper that was told a limit has credit again. */
void checkers_credit(struct simulation *sim);
/* At the end of a quiet run's first phase: no engine suspected, resent or dropped anything. */
void checkers_quiet(struct simulation *sim);
/* No engine holds more than its limits allow. */
void checkers_memory(struct simulation *sim);
/* After the farewell: every end that there was has ended, and its application was told (I9); no connection is left in
 * any engine. */
void checkers_farewell(struct simulation *sim);

#endif
