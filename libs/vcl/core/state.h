/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's own state: engine, trunks, sessions, connections; who points to whom. Every function of the core that
 * another file of the core calls is declared here, under the file that has it.
 *
 *   engine ── sessions (by id) ── connections (by CID; opening ones by nonce)
 *      │           │ route
 *      │           ▼
 *      ├── trunks ── exit ──┐        an exit is where datagrams leave: one per trunk, one for everything direct.
 *      └── direct exit ─────┴──▶ connections that are ready to send, control frames that wait
 */
#ifndef VCL_CORE_STATE_H
#define VCL_CORE_STATE_H

#include "bindings.h"
#include "budget.h"
#include "cc.h"
#include "conn_state.h"
#include "credit.h"
#include "guard.h"
#include "list.h"
#include "map.h"
#include "mem.h"
#include "mtu.h"
#include "nack_ring.h"
#include "pacing.h"
#include "path.h"
#include "rack.h"
#include "recvbuf.h"
#include "replay.h"
#include "rtt.h"
#include "sendbuf.h"
#include "sentmap.h"
#include "short_frame.h"
#include "slots.h"
#include "timers.h"
#include "trunk_watch.h"
#include "vcl/engine.h"

enum {
    CTL_FRAMES_MAX = 4096,        /* control frames that wait in one exit; the oldest goes first when it is full */
    PATH_EVENTS_MAX = 8,          /* events of one session not yet taken; the oldest goes first */
    MAX_HOLD_US = 100,            /* T4: hold_us_max of a helper by default (relay.h) */
    KEEPALIVE_US = 5000000,       /* S12: a client with connections is never silent for longer while it has a path */
    TOKEN_SKEW_S = 30,            /* K4 */
    TOKEN_RENEW_S = 60,           /* TOKEN_WANTED so long before the end (engine.h) */
    ASK_PTOS = 4,                 /* S16: PTOs in a row of a connection whose path answers */
    TOMBSTONE_ANSWERS_MAX = 100,  /* C7: per second */
    COOKIE_FREE_OPENS_MAX = 1000, /* S17: per second */
    COOKIE_REPEATS_MAX = 4,       /* OPENs that cookies make a client repeat at once; then at its PTO */
    TRUNK_NOTES_MAX = 256,        /* control entries that wait in a trunk; more are dropped: the helper asks again */
    WATCHES_MAX = 64,             /* S22: helpers that a client engine watches; a power of two */
    TRUNK_BYTES_FLOOR = 1024,     /* a RESUME_ACK of 32 connections fits */
};

/* --- where frames leave ----------------------------------------------------------------------- */
struct trunk;
struct exit {
    struct list active; /* in engine.exits while something waits here */
    struct list ctl;    /* struct ctl */
    struct list conns;  /* vcl_conn.ready */
    uint32_t nb_ctl;
    struct trunk *trunk; /* NULL: direct */
};

struct ctl { /* one sealed control frame */
    struct list node;
    struct pmw_addr to;
    uint16_t len;
    bool may_merge; /* vcl_datagram */
    uint8_t bytes[];
};

struct trunk_note { /* a control entry to the helper: BIND_ACK, BIND_ERR, UNBIND, NACK */
    uint8_t kind, generation;
    uint16_t count;  /* NACK */
    uint32_t number; /* index, or the first batch number */
};

struct trunk { /* one helper worker, as a server sees it (T1-T3) */
    struct map_node by_worker;
    struct list lru; /* engine.trunk_lru, longest unused first */
    struct exit exit;
    uint16_t helper_id;
    uint8_t worker;
    uint32_t incarnation; /* of the helper */
    uint32_t generation;  /* of this struct: a route that names an older one is dead */
    struct pmw_trunk_keys keys;
    struct replay in;
    uint64_t out_seq;
    struct pmw_addr addr; /* source of the authentic batch with the highest number */

    uint32_t number;      /* of this struct, for keys in engine.bindings */
    struct list bindings; /* T6 */
    struct trunk_watch watch;
    struct trunk_credit credit;
    struct timer timer; /* a gap to ask for, credit to tell */
    bool tell;          /* a batch should leave for what its header says */
    uint16_t first_note, nb_notes;
    struct trunk_note notes[TRUNK_NOTES_MAX];
    uint32_t mark_rounds, mark_share; /* T9: rounds with marks so far; of the last: 1024 = all */
};

struct route {           /* how to reach the other end */
    struct trunk *trunk; /* NULL: direct */
    uint32_t trunk_generation;
    struct pmw_addr addr; /* the peer; through a trunk: the client's return address */
};

static inline bool route_equal(const struct route *a, const struct route *b)
{
    return a->trunk == b->trunk && a->trunk_generation == b->trunk_generation && pmw_addr_equal(&a->addr, &b->addr);
}

/* --- who opens (S17) -------------------------------------------------------------------------------- */
struct cookies {
    struct rate opens;
    bool known;
    uint8_t secret[2][16]; /* the present one and the one before */
    uint64_t changed_at;
};

struct seal { /* W11: of one connection */
    struct pmw_aead in, out;
    uint64_t next_out, highest_in; /* packet numbers */
    void *block; /* as it was allocated: the contexts want 16 bytes of alignment, an allocator may give less */
};

struct quota { /* of one client id */
    struct map_node by_client;
    struct list idle; /* vcl_session.of_client: those without connections and tombstones, the longest so first */
    uint32_t nb_sessions;
    uint32_t nb_begun; /* connections since */
    uint64_t since;
};

/* --- sessions ----------------------------------------------------------------------------------- */
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
    uint8_t nb_sent;
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
    enum vcl_path_state state;
    bool known; /* the server has this session: it answered an OPEN */
    struct move_spacing spacing;
    struct probe_state probe;
    struct home home;
    struct scout scout;
    struct plan plan;
    uint64_t last_rx;        /* authentic frame from the active path */
    uint64_t waiting_since;  /* S22: first sending on the active path since last_rx; 0: none */
    uint64_t waiting_lag_us; /* engine.lag_total_us then: our own stalls are not its silence */
    uint64_t answered_challenge;
    uint64_t activity_at; /* stream bytes went either way */
    uint64_t last_proof;  /* something that we sent on it is known to have arrived */
    bool suspect_waits;   /* a verdict that S9 and the jitter of S20 delay */
    bool suspect_silent;  /* it says that nothing arrived at all: what arrives now revokes it */
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

struct trial {              /* server: S18, S19 */
    struct route validated; /* the path that the client has proved last */
    bool has_validated;
    bool running; /* s->route has to prove itself */
    bool planned; /* pending has to, and s->route serves on until then */
    bool blocked; /* a frame waits for more than the limit allows */
    struct route pending;
    uint32_t pending_epoch;
    uint64_t challenge, sent_at;
    uint8_t nb_challenges;
    uint64_t bytes_in, bytes_out; /* on the path on trial, in this epoch */
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
    struct trial trial;    /* server */
    uint32_t epoch_seen;   /* server: highest of an authentic RESUME, those that wait (S20) too; not planned ones */
    uint64_t min_rtt_us;   /* of the active path; 0: not measured */
    uint64_t last_rx;      /* any authentic frame, any path */
    uint64_t client_id;    /* server: of the token */
    struct quota *quota;   /* server */
    struct list of_client; /* server: in quota.idle */
    uint16_t max_conns;
    bool freeing; /* vcl_session_free was called: goes with its last connection */
};

/* --- connections -------------------------------------------------------------------------------- */
struct vcl_conn {
    struct vcl_engine *e;
    struct vcl_session *s;
    void *user;
    enum conn_state state;
    int error;
    uint64_t cid, open_nonce;
    struct map_node by_cid, by_nonce;
    struct list in_session, ready, ack_node, resume_node, event_node;
    struct list place; /* engine.backlog until accepted; engine.tombs when closed */
    struct timer timer;

    struct sendbuf snd;
    struct sentmap sent;
    struct rack rack;
    struct cc cc;
    struct pacing pacing;
    uint64_t loss_at;           /* C4: when the next frame will be called lost, VCL_NEVER = none */
    uint64_t snd_nxt, snd_edge; /* next new offset; the peer's window ends here */
    uint64_t persist_at;        /* C6: when to probe a closed window; 0 = it is open */
    uint8_t pto_count;
    uint8_t pto_credit; /* frames that may leave though the congestion window is full */
    bool fin_queued, window_probe, want_write;

    struct recvbuf rcv;
    uint64_t ack_at, edge_sent; /* delayed acknowledgement; window edge last told to the peer */
    uint64_t newest_gap_rx;     /* offset of the newest frame beyond a gap: reported first in SACK */
    uint16_t nb_in_order_rx;    /* frames in a row, without a pause: how often to acknowledge (C3) */
    uint8_t nb_unacked_rx;
    uint8_t rx_tx;                     /* of the newest data frame: echoed (C4) */
    uint32_t grow_since_us, grow_from; /* low bits of time and offset: what was read since */
    uint32_t keepalive_ms;             /* C11; 0 = off */
    uint64_t heard_at;                 /* C11: the last frame */
    uint8_t nb_keepalives;             /* unanswered */
    bool want_keepalive;
    bool ack_now;

    struct seal *seal;                    /* W11; NULL: plain frames with a check */
    uint32_t features;                    /* of OPEN_ACK: what the connection has */
    bool encrypt;                         /* client: a connection without a cipher is not wanted */
    uint8_t nb_cookies;                   /* client: OPEN_COOKIEs that came for it */
    union {                               /* client */
        uint8_t cookie[PMW_COOKIE_BYTES]; /* while it opens: of the last OPEN_COOKIE */
        uint8_t reset_token[16];          /* then (C9) */
    };

    bool want_open, token_refused, want_reset;
    bool backlogged, released, lingering, aborted, expired, peer_knows_reset;
    bool resume_wait; /* listed in a RESUME that is not answered */
    bool force_long;  /* S22: its short frames do not arrive though the path works; until the next move */
    uint8_t nb_opens_sent, nb_resets_sent;
    uint16_t port;                                     /* the client's virtual port */
    uint32_t slot;                                     /* server */
    uint32_t resumed_epoch;                            /* server: RESUME of this epoch was applied */
    uint64_t open_before_at, open_sent_at, open_until; /* OPEN: the last but one copy, the last; when to give up */
    uint64_t pto_fired_at, reset_at;
    uint64_t dead_at; /* end of the tombstone; of the patience with a peer that does not finish */
    uint64_t last_data_tx, last_data_rx;
    uint64_t sent_bytes, received_bytes, resent_bytes;
    struct short_state shorts; /* W10 */
    struct list bindings;      /* T6: binding.of_conn */
    uint64_t busy_until;       /* O3 */
    uint32_t mark_rounds;      /* T9: of its trunk, taken */
    struct list unread_node;   /* load.c: engine.unread */
    uint64_t unread_since, unread_mark, unread_mark_at;
    uint32_t nb_unread;
    uint32_t events; /* bit per vcl_event_type */
};

struct helper_watch { /* S22: what all sessions of a client engine know of one helper */
    uint16_t helper_id;
    uint64_t last_rx;
};

struct herd {            /* S20 */
    uint64_t sent_at;    /* client: of the newest RESUME frame */
    uint8_t nb_tokens;   /* client: frames that may leave at once */
    struct list waiting; /* server: struct waiting_resume, in order of arrival */
    uint32_t nb_waiting, nb_this_ms;
    uint64_t ms; /* server: the millisecond that is counted */
};

struct vcl_engine {
    struct vcl_config cfg;
    uint8_t reset_key[16]; /* of the reset tokens in OPEN_ACK (C9) */
    struct mem mem;
    uint64_t now, lag_us, lag_total_us;
    size_t frame_len; /* of the frame that is being received */
    struct helper_watch watches[WATCHES_MAX];
    struct herd herd;
    bool stood_still; /* S16: nobody has called us for half of T_hold; until the next on_timer */
    struct map sessions, conns, opens, trunks, quotas;
    struct timers timers;
    struct slots slots;
    struct list all_sessions, acks, backlog, tombs, conn_events, session_events, exits, resuming, trunk_lru;
    struct exit direct;
    uint32_t nb_sessions, nb_backlog, nb_tombs, nb_lingering, nb_trunks;
    uint32_t nb_open, nb_held; /* connections not closed; not yet closed and released: conns_max bounds these */
    bool closing;              /* vcl_engine_shutdown was called */
    uint64_t trunk_seq_floor;  /* highest batch number of any trunk that was evicted */
    struct cookies cookies;
    struct rate stateless_resets; /* C9 */
    uint64_t answers_since;       /* C7: tombstone answers in the second that began here */
    uint32_t nb_answers;
    uint32_t payload_max;
    struct map bindings; /* by trunk and index */
    uint32_t nb_bindings;
    struct nack_ring sent_batches;
    struct credit credit;
    struct list unread; /* vcl_conn.unread_node, longest unread first */
    uint64_t nb_unread, unread_read_since;
    uint16_t next_port;
    struct vcl_stats stats;
    struct budget budget; /* C5 */
    uint64_t rcv_given;   /* C10: sum of what connections may hold */
    uint8_t scratch[PMW_FRAME_BYTES_MAX];
    uint8_t opened[PMW_FRAME_BYTES_MAX]; /* payload of the sealed frame that is being received */
};

enum timer_kind { TIMER_CONN, TIMER_SESSION, TIMER_TRUNK };

/* --- engine.c --- */
int vcl__drop(struct vcl_engine *e, enum vcl_drop reason); /* counts it and returns it */
uint64_t vcl__random64(struct vcl_engine *e);
static inline void vcl__now(struct vcl_engine *e, uint64_t now)
{
    if (now <= e->now) /* a clock that stands still or is read out of order does no harm */
        return;
    if (e->nb_open > 0 && now - e->now > e->cfg.hold_us / 2)
        e->stood_still = true;
    e->now = now;
}
uint64_t vcl__unix_s(const struct vcl_engine *e);
/* A deadline counts as passed only when it passed before our own stall began (engine.h, lag_us). */
static inline bool vcl__due(const struct vcl_engine *e, uint64_t at)
{
    return at <= e->now && e->now - at >= e->lag_us;
}

/* --- exit.c --- */
void vcl__exit_init(struct exit *x, struct trunk *trunk);
void vcl__exit_clear(struct vcl_engine *e, struct exit *x);
void vcl__exit_wake(struct vcl_engine *e, struct exit *x);
struct ctl *vcl__exit_pop_ctl(struct exit *x, size_t len_max); /* the caller frees it; NULL: none, or it is longer */
/* The next frame of a ready connection: its length and session, 0 = none, < 0 = the next does not fit in cap. */
int vcl__exit_next_frame(struct vcl_engine *e, struct exit *x, uint8_t *buf, size_t cap, struct vcl_conn **of);
struct exit *vcl__route_exit(struct vcl_engine *e, const struct route *r); /* NULL: its trunk is gone */
void vcl__ctl_push(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len);
/* May leave in one message with its neighbours, whatever is believed of the way (S21). */
void vcl__ctl_push_merged(struct vcl_engine *e, const struct route *r, const uint8_t *bytes, int len);
int vcl__exit_send(struct vcl_engine *e, struct vcl_datagram *out);

/* --- trunk.c --- */
int vcl__trunk_receive(struct vcl_engine *e, const struct pmw_addr *from, bool marked, const uint8_t *buf, size_t len);
void vcl__trunk_on_timer(struct vcl_engine *e, struct trunk *t);
void vcl__trunks_free(struct vcl_engine *e);

/* --- trunk_in.c --- */
int vcl__trunk_entries(struct vcl_engine *e, struct trunk *t, uint16_t nb_entries, const uint8_t *buf, size_t len);

/* --- trunk_out.c --- */
bool vcl__trunk_fill(struct vcl_engine *e, struct trunk *t, struct vcl_datagram *out); /* true: a batch was written */
bool vcl__trunk_has_output(const struct trunk *t); /* of its own: notes, news in the header */
void vcl__trunk_note(struct vcl_engine *e, struct trunk *t, const struct trunk_note *note);
void vcl__trunk_tell(struct vcl_engine *e, struct trunk *t); /* sends a batch soon, for its header */

/* --- short_frame.c --- */
void vcl__short_begin(struct vcl_conn *c);                               /* the connection is open */
void vcl__short_pause(struct vcl_conn *c);                               /* long frames for one PTO */
void vcl__short_on_frame(struct vcl_conn *c, const struct pmw_frame *f); /* arrived, and its check holds */
/* f is complete but for its check: makes it short, or takes note of what a long one tells. */
void vcl__short_or_long(struct vcl_conn *c, struct pmw_frame *f, uint64_t seq, uint32_t window);

/* --- busy.c --- */
int vcl__on_busy(struct vcl_engine *e, const uint8_t *buf, size_t len);

/* --- load.c --- */
void vcl__unread_arrived(struct vcl_conn *c); /* bytes became readable */
void vcl__unread_read(struct vcl_conn *c);    /* the application took some */
void vcl__unread_forget(struct vcl_conn *c);
uint64_t vcl__unread_age(struct vcl_engine *e);
bool vcl__credit_tick(struct vcl_engine *e);

/* --- demux.c --- */
int vcl__frame_receive(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

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

/* --- dial.c: the client's path machine (S7-S12) --- */
bool vcl__dial_may_open(const struct vcl_session *s);
bool vcl__dial_may_send(const struct vcl_session *s);
void vcl__dial_on_conn_pto(struct vcl_session *s, uint8_t pto_count, uint64_t first_sent_at);
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
/* For how long nothing arrived from the active path though something should have; 0: nothing is due. */
uint64_t vcl__watch_silence(const struct vcl_session *s);

/* --- advice.c --- */
int vcl__advice_on_pong(struct vcl_session *s, const struct pmw_probe *p);

/* --- planned.c (S19) --- */
void vcl__plan_begin(struct vcl_session *s); /* to the best candidate, if there is one */
void vcl__plan_cancel(struct vcl_session *s);
uint64_t vcl__plan_on_timer(struct vcl_session *s);                                  /* returns when to look again */
bool vcl__plan_on_resume_ack(struct vcl_session *s, const struct pmw_resume_ack *a); /* true: it was its answer */

/* home.c (S15): true = the answer was to a probe of its own */
bool vcl__home_on_pong(struct vcl_session *s, const struct pmw_probe *p);
bool vcl__home_on_echo(struct vcl_session *s, const struct pmw_probe *p);
uint64_t vcl__home_on_timer(struct vcl_session *s); /* when it wants to be called next */
void vcl__home_wake(struct vcl_session *s);         /* other candidates, other ranks, an end of a penalty */

/* --- resume.c --- */
void vcl__resume_begin(struct vcl_session *s);   /* client: list what needs it, under the session's epoch */
void vcl__resume_relist(struct vcl_session *s);  /* client: those not answered, again */
void vcl__resume_ask(struct vcl_conn *c);        /* client: does the server still have it? */
void vcl__resume_ask_all(struct vcl_session *s); /* client: has it any of them? */
int vcl__resume_build(struct vcl_session *s, uint8_t *buf, size_t cap);
void vcl__resume_forget(struct vcl_conn *c);
void vcl__resume_resend_gap(struct vcl_conn *c); /* the path is another: what the peer does not have goes again */
struct vcl_conn *vcl__resume_conn(struct vcl_session *s, uint64_t cid);
int vcl__on_resume_ack(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_path_challenge(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- resume_server.c --- */
int vcl__on_resume(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__resume_answer(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len); /* its turn */

/* --- herd.c (S20) --- */
void vcl__herd_init(struct vcl_engine *e);
void vcl__herd_free(struct vcl_engine *e);
bool vcl__herd_may_send(struct vcl_engine *e); /* client: a RESUME frame may leave now; counts it */
/* Server. True: its turn is now. False: it waits, or was dropped (*drop says so). */
bool vcl__herd_enter(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len, int *drop);
void vcl__herd_due(struct vcl_engine *e);
uint64_t vcl__herd_next(const struct vcl_engine *e); /* when to look again; VCL_NEVER */

/* --- trial.c: the server's end of S18 and S19 --- */
void vcl__trial_first(struct vcl_session *s);                         /* the path of the first OPEN */
void vcl__trial_begin(struct vcl_session *s, const struct route *to); /* an unplanned move */
void vcl__trial_plan(struct vcl_session *s, const struct route *to, uint32_t epoch);
void vcl__trial_on_rx(struct vcl_session *s, const struct route *from);
void vcl__trial_on_conn_frame(struct vcl_session *s, const struct route *from); /* an authentic DATA or ACK */
uint64_t vcl__trial_on_timer(struct vcl_session *s);
size_t vcl__trial_room(const struct vcl_session *s);      /* bytes that may be sent to s->route now */
bool vcl__trial_takes(struct vcl_session *s, size_t len); /* a control frame to the path on trial; counts it */
void vcl__trial_sent(struct vcl_session *s, size_t len);
void vcl__trial_blocked(struct vcl_session *s);
void vcl__trial_ask_again(struct vcl_session *s, const struct route *from, uint32_t epoch);
int vcl__on_path_response(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_probe(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- open_client.c --- */
int vcl__open_build(struct vcl_conn *c, uint8_t *buf, size_t cap);
void vcl__open_on_timer(struct vcl_conn *c);
uint64_t vcl__open_deadline(const struct vcl_conn *c);
uint64_t vcl__token_on_timer(struct vcl_session *s); /* client: asks for a renewal in time */
int vcl__on_open_ack(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_open_cookie(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
int vcl__on_refused(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- open_server.c --- */
int vcl__on_open(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- cookie.c (S17) --- */
bool vcl__cookie_wanted(struct vcl_engine *e); /* counts one OPEN that would make a connection */
void vcl__cookie_make(struct vcl_engine *e, const struct pmw_addr *from, const struct pmw_open *o,
                      uint8_t out[PMW_COOKIE_BYTES]);
bool vcl__cookie_good(struct vcl_engine *e, const struct pmw_addr *from, const struct pmw_open *o);

/* --- quota.c (S17) --- */
bool vcl__quota_conn(struct vcl_engine *e, uint64_t client_id);  /* may it begin another connection? Counts it */
bool vcl__quota_join(struct vcl_session *s, uint64_t client_id); /* false: it has enough sessions, or no memory */
void vcl__quota_leave(struct vcl_session *s);

/* --- seal.c (W11) --- */
uint32_t vcl__seal_offer(void);              /* the ciphers of this machine, as enum pmw_feature */
uint32_t vcl__seal_choose(uint32_t offered); /* one of them, or 0 */
bool vcl__seal_begin(struct vcl_conn *c, uint32_t cipher, uint64_t cid); /* false: no memory */
void vcl__seal_free(struct vcl_conn *c);
bool vcl__seal_exhausted(const struct vcl_conn *c);  /* no packet number is left */
uint32_t vcl__seal_number(const struct vcl_conn *c); /* of the next frame */
void vcl__seal_frame(struct vcl_conn *c, uint8_t *buf, size_t len, const struct pmw_check_seed *seed);
/* The tag holds: f->payload is the plain one. Also false when only one of frame and connection is sealed. */
bool vcl__seal_open(struct vcl_conn *c, struct pmw_frame *f, const uint8_t *buf, size_t len,
                    const struct pmw_check_seed *seed);

/* --- successor.c (C9) --- */
void vcl__answer_for_predecessor(struct vcl_engine *e, const struct route *from, uint64_t cid, size_t trigger_bytes);
void vcl__answer_resume_for_predecessor(struct vcl_engine *e, const struct route *from, const struct pmw_resume *r);
int vcl__on_stateless_reset(struct vcl_engine *e, const uint8_t *buf, size_t len);

/* --- conn.c --- */
struct vcl_conn *vcl__conn_new(struct vcl_session *s);
void vcl__conn_free(struct vcl_conn *c);
void vcl__conn_input(struct vcl_conn *c, enum conn_input input, int error);
void vcl__conn_established(struct vcl_conn *c, uint64_t cid, uint64_t window);
void vcl__conn_expire(struct vcl_conn *c); /* its tombstone has served */
void vcl__conn_update_linger(struct vcl_conn *c);
bool vcl__conn_fin_acked(const struct vcl_conn *c);

/* --- conn_in.c --- */
int vcl__conn_receive(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
/* C4: calls lost what is; the window follows. */
void vcl__conn_detect_lost(struct vcl_conn *c, struct sentmap_ack *a);
int vcl__on_reset(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);
/* The peer's own word on what it has (RESUME, RESUME_ACK). false: it contradicts what we sent. */
bool vcl__conn_on_peer_state(struct vcl_conn *c, uint64_t peer_rcv_nxt, uint64_t window);

/* --- conn_out.c --- */
bool vcl__conn_has_output(const struct vcl_conn *c);
int vcl__conn_build(struct vcl_conn *c, uint8_t *buf, size_t cap); /* length, 0 = nothing, < 0 = does not fit */
void vcl__conn_kick(struct vcl_conn *c);                           /* something may have become sendable */
void vcl__conn_ack_soon(struct vcl_conn *c);
uint64_t vcl__conn_paced_until(
    const struct vcl_conn *c); /* when its pace lets it send, VCL_NEVER = that is not what it waits for */
uint32_t vcl__conn_window(const struct vcl_conn *c);

/* --- buffers.c --- */
void vcl__rcv_give(struct vcl_conn *c);      /* C10: its receive buffer, out of the budget */
void vcl__rcv_take_back(struct vcl_conn *c); /* frees it */
void vcl__rcv_grow(struct vcl_conn *c);
void vcl__snd_grow(struct vcl_conn *c);
uint64_t vcl__buffers_deadline(const struct vcl_conn *c); /* when large storage that holds nothing goes */
void vcl__buffers_trim(struct vcl_conn *c);

/* --- conn_timer.c --- */
void vcl__conn_on_timer(struct vcl_conn *c);
void vcl__conn_arm(struct vcl_conn *c);
void vcl__acks_due(struct vcl_engine *e);

/* --- events.c --- */
void vcl__conn_event(struct vcl_conn *c, enum vcl_event_type type);
void vcl__session_event(struct vcl_session *s, const struct vcl_event *ev);
void vcl__conn_forget_events(struct vcl_conn *c);

#endif
