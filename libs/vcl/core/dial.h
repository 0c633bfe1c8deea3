/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's end of a session: which path it is on, how it notices that the path fails, and how it moves (S7-S22).
 */
#ifndef VCL_CORE_DIAL_H
#define VCL_CORE_DIAL_H

#include "path.h"
#include "session.h"

enum {
    PATH_EVENTS_MAX = 8,    /* events of one session not yet taken; the oldest goes first */
    KEEPALIVE_US = 5000000, /* S12: a client with connections is never silent for longer while it has a path */
    WATCHES_MAX = 64,       /* S22: helpers that a client engine watches; a power of two */
};

struct probe_state {      /* S7, S8, S12 */
    uint64_t interval_us; /* of silence before the next one */
    uint64_t nonce;       /* of the newest */
    uint64_t sent_at, first_sent_at;
    uint8_t nb_unanswered;
    uint8_t nb_slow; /* answered at the longest active interval */
    bool hinted;     /* the control plane called the path down: the first silent probe decides */
};

struct home {             /* S15 */
    struct vcl_path path; /* probed last */
    uint64_t nonce, next_at;
    uint8_t nb_proofs;
    bool asked; /* and not yet answered */
};

struct scout {        /* S22: all candidates are asked while the active path is silent */
    uint64_t nonce;   /* of the first round; it counts up */
    uint64_t sent_at; /* of this round */
    uint64_t since;   /* of the first round of this silence; 0: none */
    uint8_t nb_rounds;
};

enum plan_state { PLAN_NONE, PLAN_WAITS, PLAN_ASKED, PLAN_STAYS };

struct plan { /* S19: a move away from a path that works */
    enum plan_state state;
    struct vcl_path path; /* where to; PLAN_STAYS: the active one */
    uint32_t epoch;       /* of the RESUME that asked last */
    uint64_t nonce;
    uint64_t at;      /* of the next step: the end of the jitter (S20), of a PTO */
    uint64_t sent_at; /* first RESUME of this epoch */
    uint8_t nb_sent;  /* of this epoch */
    uint8_t nb_stays; /* epochs for which it was asked in vain whether it may stay */
};

struct dial { /* what only the client end of a session has */
    struct vcl_session *session;
    uint16_t server_id;
    uint8_t shard;
    uint8_t token[PMW_TOKEN_BYTES], token_key[PMW_KEY_BYTES];
    uint8_t next_token[PMW_TOKEN_BYTES], next_token_key[PMW_KEY_BYTES]; /* token_waits: its turn comes */
    bool token_waits;
    uint64_t token_ends_s; /* unix time */
    uint64_t token_set_at;
    bool token_used, token_wanted, token_renewed; /* renewed: the session's keys come from an earlier one */
    struct candidates candidates;
    struct vcl_path active; /* where we send now (in RESUMING: the one that is tried) */
    uint64_t active_since;
    uint64_t patient_until; /* S22: a verdict was false */
    enum vcl_path_state state;
    bool known; /* the server has this session: it answered an OPEN */
    struct move_spacing spacing;
    struct probe_state probe;
    struct home home;
    struct scout scout;
    struct plan plan;
    uint32_t gone_epoch;     /* S16: the last in which the server said of a connection that it is gone */
    uint64_t last_rx;        /* authentic frame from the active path */
    uint64_t waiting_since;  /* S22: first sending on the active path since last_rx; 0: none */
    uint64_t waiting_lag_us; /* engine.lag_total_us then: our own stalls are not its silence */
    uint64_t answered_challenge;
    uint64_t activity_at; /* stream bytes went either way */
    uint64_t last_proof;  /* something that we sent on it is known to have arrived */
    bool suspect_waits;   /* a verdict that S9 and the jitter of S20 delay */
    bool suspect_silent;  /* it only says that nothing arrived at all: what arrives now revokes it */
    uint64_t leave_at;
    bool blind;              /* S22: nobody answers; the present try is made for want of knowledge */
    uint64_t silent_since;   /* oldest unacknowledged send when the path was suspected */
    uint16_t from_helper_id; /* path that was left */
    uint64_t left_at;        /* when the last working path was given up: the search and hold_us count from here */
    uint64_t resume_nonce, resume_sent_at, resume_until, resume_tick_at, resume_pto_us;
    uint8_t nb_attempts, nb_ticks, resume_budget;
    bool all_tried;           /* every candidate since the last one that worked */
    bool resume_announce;     /* a RESUME must go out even when it lists nothing */
    struct list resume_queue; /* vcl_conn.resume_node: to be listed in the next RESUME frames, urgent ones first */
    uint32_t nb_resume_waits; /* listed and not answered */
    struct list resuming;     /* in engine.resuming while RESUME frames wait to be built */
    struct list event_node;
    struct vcl_event events[PATH_EVENTS_MAX];
    uint8_t nb_events;
};

struct helper_watch { /* S22: what all sessions of a client engine know of one helper */
    uint16_t helper_id;
    uint64_t last_rx;
};

/* --- dial.c: the client's path machine (S7-S12) --- */
bool vcl__dial_may_open(const struct vcl_session *s);
bool vcl__dial_may_send(const struct vcl_session *s);
/* DEAD: no answer of the session may make the server believe that it lives (S14). */
bool vcl__dial_gave_up(const struct vcl_session *s);
/* Something is overdue (S7, C4): does the path carry anything? alarmed: as vcl__probe_send. */
void vcl__dial_ask(struct vcl_session *s, bool alarmed);
void vcl__dial_on_open_answer(struct vcl_session *s, uint32_t server_epoch);
void vcl__dial_on_open_silence(struct vcl_session *s, uint64_t silent_since);
uint64_t vcl__dial_on_timer(struct vcl_session *s); /* returns when to look again */
void vcl__dial_resumed(struct vcl_session *s);
/* The verdict: the session leaves when S9 and S20 allow. by_silence: nothing at all arrived. */
void vcl__dial_suspect(struct vcl_session *s, uint64_t silent_since, bool by_silence);
void vcl__dial_leave(struct vcl_session *s, bool blind); /* to the candidate that answers; blind: to the next */
void vcl__dial_path_event(struct vcl_session *s, enum vcl_event_type type);
uint32_t vcl__dial_next_epoch(const struct vcl_session *s); /* S1: above all that was ever asked for */

/* --- probe.c --- */
void vcl__probe_send(struct vcl_session *s, bool alarmed); /* alarmed: the other candidates are asked too */
uint64_t vcl__probe_on_timer(struct vcl_session *s);       /* the path is active; returns when to look again */
bool vcl__probe_is_of_series(const struct dial *d, const struct pmw_probe *p);
int vcl__probe_on_echo(struct vcl_session *s, const struct pmw_probe *p);
void vcl__path_on_activity(struct vcl_session *s); /* stream bytes went either way */
void vcl__path_on_sent(struct vcl_session *s);     /* something left that will be answered */
void vcl__path_on_arrival(struct vcl_session *s);  /* something came by the active path */
/* Something sent at sent_at is known to have arrived: both directions work. */
void vcl__path_on_proof(struct vcl_session *s, uint64_t sent_at);

/* --- scout.c (S22) --- */
void vcl__scout_round(struct vcl_session *s); /* asks every candidate */
void vcl__scout_stop(struct vcl_session *s);
bool vcl__scout_on_pong(struct vcl_session *s, const struct pmw_probe *p); /* true: it was the answer to a scout */
bool vcl__scout_on_echo(struct vcl_session *s, const struct pmw_probe *p);
/* The best candidate that has answered in this silence, or NULL. except: not this one. */
const struct vcl_path *vcl__scout_best(const struct vcl_session *s, const struct vcl_path *except);
uint64_t vcl__scout_patience(const struct vcl_session *s); /* how long the active path may be behind the others */
void vcl__watch_rx(struct vcl_engine *e, uint16_t helper_id);
uint64_t vcl__watch_silence_min(const struct vcl_session *s);             /* less than this is no verdict */
void vcl__watch_late(struct vcl_session *s, const struct pmw_addr *from); /* not from the active path */
bool vcl__watch_is_mute(const struct vcl_session *s); /* nothing at all arrived since its probes are unanswered */
/* For how long nothing arrived from the active path though something should have; 0: nothing is due. */
uint64_t vcl__watch_silence(const struct vcl_session *s);

/* --- advice.c --- */
int vcl__advice_on_pong(struct vcl_session *s, const struct pmw_probe *p);
void vcl__advice_other_helper(struct vcl_session *s); /* the server takes the active path for another one's */

/* --- planned.c (S19) --- */
void vcl__plan_begin(struct vcl_session *s); /* to the best candidate, if there is one */
void vcl__plan_cancel(struct vcl_session *s);
uint64_t vcl__plan_on_timer(struct vcl_session *s);                                  /* returns when to look again */
bool vcl__plan_on_resume_ack(struct vcl_session *s, const struct pmw_resume_ack *a); /* true: it was its answer */

/* --- home.c (S15): true = the answer was to a probe of its own --- */
bool vcl__home_on_pong(struct vcl_session *s, const struct pmw_probe *p);
bool vcl__home_on_echo(struct vcl_session *s, const struct pmw_probe *p);
uint64_t vcl__home_on_timer(struct vcl_session *s); /* when it wants to be called next */
void vcl__home_wake(struct vcl_session *s);         /* other candidates, other ranks, an end of a penalty */

/* --- resume.c --- */
void vcl__resume_begin(struct vcl_session *s);   /* client: list what needs it, under the session's epoch */
void vcl__resume_relist(struct vcl_session *s);  /* client: those not answered, again */
void vcl__resume_stop(struct vcl_session *s);    /* client: it gave up, or starts over */
void vcl__resume_ask(struct vcl_conn *c);        /* client: does the server still have it? */
void vcl__resume_ask_all(struct vcl_session *s); /* client: has it any of them? */
int vcl__resume_build(struct vcl_session *s, uint8_t *buf, size_t cap);
void vcl__resume_forget(struct vcl_conn *c);
void vcl__resume_resend_gap(struct vcl_conn *c); /* the path is another: what the peer does not have goes again */
struct vcl_conn *vcl__resume_conn(struct vcl_session *s, uint64_t cid);
int vcl__on_resume_ack(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_path_challenge(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

#endif
