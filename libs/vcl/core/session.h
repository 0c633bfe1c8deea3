/* SPDX-License-Identifier: Apache-2.0
 *
 * One session, at either end: its keys, its route, its connections; and the server's half of moves, which asks a new
 * path for proof. The client's half is in dial.h.
 */
#ifndef VCL_CORE_SESSION_H
#define VCL_CORE_SESSION_H

#include "exit.h"
#include "list.h"
#include "map.h"
#include "mtu.h"
#include "rtt.h"
#include "timers.h"

enum {
    MAX_HOLD_US = 100, /* T4: hold_us_max of a helper by default (relay.h) */
};

struct dial;
struct quota;
struct vcl_conn;

struct trial {              /* server: S18, S19 */
    struct route validated; /* the path that the client has proved last */
    bool has_validated;
    bool running; /* s->route has to prove itself */
    bool first;   /* ... and no other path was told a CID: who knows one is there */
    bool planned; /* pending has to, and s->route serves on until then */
    bool blocked; /* a frame waits for more than the limit allows */
    struct route pending;
    uint32_t pending_epoch;
    uint64_t challenge, sent_at;
    uint8_t nb_challenges;
    uint32_t nb_failed;           /* unplanned trials since a path was proved */
    uint32_t nb_copies;           /* of the challenge, in RESUME_ACK too; one that the limit refused is none */
    uint64_t bytes_in, bytes_out; /* on the path on trial, in this epoch */
};

struct ask {                 /* C4: something of the session is overdue; does the path carry anything? */
    struct list waiting;     /* vcl_conn.ask_node: those whose PTO has passed and that wait for a proof */
    uint64_t path_since;     /* what was sent before went by another path and proves nothing */
    uint64_t proof_at;       /* sending time of the newest that was answered */
    uint64_t nonce, sent_at; /* server: of the PATH_CHALLENGE that is not answered, first copy; 0: none */
    uint64_t again_at;       /* server: no other copy before */
};

struct vcl_session {
    struct vcl_engine *e;
    struct dial *dial; /* NULL on the server */
    uint64_t id;
    uint32_t epoch, moves;
    struct pmw_session_keys keys;
    struct map_node by_id;
    struct list all;                      /* engine.all_sessions */
    struct list conns;                    /* vcl_conn.in_session, closed ones too */
    uint32_t nb_conns, nb_open, nb_tombs; /* all of them; those not closed; those that answer late frames */
    struct timer timer;
    struct rtt rtt;
    struct rtt_limits limits;
    struct mtu mtu;
    struct route route;
    struct ask ask;
    struct trial trial;    /* server */
    uint32_t epoch_seen;   /* server: highest of an authentic RESUME, those that wait (S20) too; not planned ones */
    uint64_t last_rx;      /* any authentic frame, any path */
    uint64_t client_id;    /* server: of the token */
    struct quota *quota;   /* server */
    struct list of_client; /* server: in quota.idle */
    uint16_t max_conns;
    bool freeing; /* vcl_session_free was called: goes with its last connection */
};

/* --- session.c --- */
struct vcl_session *vcl__session_new(struct vcl_engine *e, uint64_t id);
struct vcl_session *vcl__session_find(struct vcl_engine *e, uint64_t id);
void vcl__session_free(struct vcl_session *s);
void vcl__session_maybe_free(struct vcl_session *s);
void vcl__session_rekey(struct vcl_session *s, uint64_t id, const uint8_t token_key[PMW_KEY_BYTES]);
void vcl__session_on_rx(struct vcl_session *s, const struct route *from);
void vcl__session_on_timer(struct vcl_session *s);
uint64_t vcl__session_silence_max(const struct vcl_session *s); /* server: S14 */
void vcl__session_end(struct vcl_session *s, int error);        /* every connection fails */
const uint8_t *vcl__mac_key_out(const struct vcl_session *s);
const uint8_t *vcl__mac_key_in(const struct vcl_session *s);
/* A path is worth watching: connections, or tombstones that the peer may still need (S12). */
bool vcl__session_in_use(const struct vcl_session *s);
void vcl__session_arm(struct vcl_session *s, uint64_t at);
uint64_t vcl__session_pto(const struct vcl_session *s);
void vcl__session_on_rtt(struct vcl_session *s, uint64_t rtt_us); /* measured; believed if we were awake */

void vcl__session_on_move(struct vcl_session *s); /* a planned one (S19): what is in flight stays on the old path */

/* --- ask.c (C4) --- */
void vcl__ask_begin(struct vcl_conn *c); /* its PTO has passed */
bool vcl__ask_step(struct vcl_conn *c);  /* vcl_conn.ask_at has come. True: the frame is missing */
void vcl__ask_stop(struct vcl_conn *c);
void vcl__ask_end(struct vcl_conn *c); /* its oldest frame arrived, or its path is another */
/* Something sent at sent_at is known to have arrived, and its answer too. */
void vcl__ask_on_proof(struct vcl_session *s, uint64_t sent_at);
void vcl__ask_on_move(struct vcl_session *s); /* what is sent from now on goes by another path */

/* --- trial.c: the server's end of S18 and S19 --- */
void vcl__trial_first(struct vcl_session *s);                         /* the path of the first OPEN */
void vcl__trial_begin(struct vcl_session *s, const struct route *to); /* an unplanned move */
void vcl__trial_plan(struct vcl_session *s, const struct route *to, uint32_t epoch);
void vcl__trial_on_rx(struct vcl_session *s, const struct route *from);
void vcl__trial_on_conn_frame(struct vcl_session *s, const struct route *from); /* an authentic DATA or ACK */
uint64_t vcl__trial_on_timer(struct vcl_session *s);
size_t vcl__trial_room(const struct vcl_session *s); /* bytes that may be sent to s->route now */
/* A control frame may go there; counted when that is the path on trial. */
bool vcl__trial_takes(struct vcl_session *s, const struct route *to, size_t len);
void vcl__trial_cid_told(struct vcl_session *s, const struct route *to); /* OPEN_ACK went there */
void vcl__trial_sent(struct vcl_session *s, size_t len);
void vcl__trial_blocked(struct vcl_session *s);
void vcl__trial_ask(struct vcl_session *s); /* C4: does the path carry anything? */
void vcl__trial_ask_again(struct vcl_session *s, const struct route *from, uint32_t epoch);
int vcl__on_path_response(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_probe(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- resume_server.c --- */
int vcl__on_resume(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__resume_answer(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len); /* its turn */

#endif
