/* SPDX-License-Identifier: Apache-2.0
 *
 * One connection, at either end: what it sends and has sent, what it receives, its seal and its timers. Its life is in
 * conn_state.h.
 */
#ifndef VCL_CORE_CONN_H
#define VCL_CORE_CONN_H

#include "cc.h"
#include "conn_state.h"
#include "exit.h"
#include "list.h"
#include "map.h"
#include "pacing.h"
#include "rack.h"
#include "recvbuf.h"
#include "sendbuf.h"
#include "sentmap.h"
#include "short_frame.h"
#include "timers.h"

enum {
    ASK_PTOS = 4,                /* S16: PTOs in a row of a connection whose path answers */
    TOMBSTONE_ANSWERS_MAX = 100, /* C7: per second */
};

struct seal { /* W11: of one connection */
    struct pmw_aead in, out;
    uint64_t next_out, highest_in; /* packet numbers */
    void *block; /* as it was allocated: the contexts want 16 bytes of alignment, an allocator may give less */
};

enum ask_stage { ASK_NOT, ASKED, ASK_PAUSE }; /* ask.c */

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
    uint64_t heard_at;                 /* C11, S14: the last frame */
    uint64_t waits_since;              /* S14: something has been unacknowledged all the time */
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
    uint8_t nb_opens_sent, nb_resets_sent;
    uint16_t port;                                     /* the client's virtual port */
    uint32_t slot;                                     /* server */
    uint32_t resumed_epoch;                            /* server: RESUME of this epoch was applied */
    uint64_t open_before_at, open_sent_at, open_until; /* OPEN: the last but one copy, the last; when to give up */
    uint64_t pto_fired_at, reset_at;
    struct list ask_node; /* C4: session.ask.waiting */
    enum ask_stage ask;
    uint8_t nb_answers;
    uint64_t ask_after, ask_at; /* waits for a proof that was sent after; when its next step is due, or VCL_NEVER */
    uint64_t dead_at;           /* end of the tombstone; of the patience with a peer that does not finish */
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

/* --- conn.c --- */
struct vcl_conn *vcl__conn_new(struct vcl_session *s);
void vcl__conn_free(struct vcl_conn *c);
void vcl__conn_input(struct vcl_conn *c, enum conn_input input, int error);
void vcl__conn_established(struct vcl_conn *c, uint64_t cid, uint64_t window);
bool vcl__conn_stays(struct vcl_conn *c);       /* true: its tombstone begins anew, for its RESET met a silence */
void vcl__conn_expire(struct vcl_conn *c);      /* its tombstone has served */
void vcl__conn_reset_again(struct vcl_conn *c); /* the path is new: if RESET is unanswered, it goes again */
void vcl__conn_heard(struct vcl_conn *c);       /* the other end has it: a frame, or a line of RESUME or RESUME_ACK */
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

/* --- conn_timer.c --- */
void vcl__conn_on_timer(struct vcl_conn *c);
void vcl__conn_arm(struct vcl_conn *c);
void vcl__acks_due(struct vcl_engine *e);

/* --- buffers.c --- */
void vcl__rcv_give(struct vcl_conn *c);      /* C10: its receive buffer, out of the budget */
void vcl__rcv_take_back(struct vcl_conn *c); /* frees it */
void vcl__rcv_grow(struct vcl_conn *c);
void vcl__snd_grow(struct vcl_conn *c);
uint64_t vcl__buffers_deadline(const struct vcl_conn *c); /* when large storage that holds nothing goes */
void vcl__buffers_trim(struct vcl_conn *c);

/* --- load.c --- */
void vcl__unread_arrived(struct vcl_conn *c); /* bytes became readable */
void vcl__unread_read(struct vcl_conn *c);    /* the application took some */
void vcl__unread_forget(struct vcl_conn *c);
uint64_t vcl__unread_age(struct vcl_engine *e);
bool vcl__credit_tick(struct vcl_engine *e);

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

/* --- short_frame.c --- */
void vcl__short_begin(struct vcl_conn *c); /* the connection is open */
void vcl__short_pause(struct vcl_conn *c); /* long frames for one PTO */
void vcl__short_on_delivered(struct vcl_conn *c, const struct sentmap_ack *a);
void vcl__short_trust(struct vcl_conn *c); /* all that was held against it was another path's */
void vcl__short_on_frame(struct vcl_conn *c, const struct pmw_frame *f); /* arrived, and its check holds */
/* f is complete but for its check: makes it short, or takes note of what a long one tells. */
void vcl__short_or_long(struct vcl_conn *c, struct pmw_frame *f, uint64_t seq, uint32_t window);

/* --- events.c --- */
void vcl__conn_event(struct vcl_conn *c, enum vcl_event_type type);
void vcl__session_event(struct vcl_session *s, const struct vcl_event *ev);
void vcl__conn_forget_events(struct vcl_conn *c);

#endif
