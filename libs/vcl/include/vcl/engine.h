/* SPDX-License-Identifier: Apache-2.0
 *
 * The sans-IO core of the Virtual Connection Library: an engine is one endpoint (one shard: the UDP socket of one
 * client process or of one listening server) with its sessions, connections and paths. Datagrams, time and random
 * bytes are arguments; datagrams, events and the next wake-up come out. No system call, clock, thread, stdio or
 * allocation but through the config. Not thread-safe: the driver (libs/vcl/io) holds one lock around an engine.
 *
 * The driver's loop:
 *     vcl_engine_receive(e, now, from, bytes)   for each datagram that arrived
 *     vcl_engine_on_timer(e, now)               when now >= vcl_engine_next_timer(e)
 *     while (vcl_engine_next_event(e, &ev)) ... tell the application
 *     while (vcl_engine_send(e, now, &out)) ... sendmsg
 *
 * All times are microseconds (uint64_t) of one monotonic clock. docs/protocol.md is normative.
 */
#ifndef VCL_ENGINE_H
#define VCL_ENGINE_H

#include "postman/wire.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vcl_engine;
struct vcl_session; /* client: one peer server shard and its candidate paths; server: one client's session */
struct vcl_conn;    /* one virtual connection */

#define VCL_PATHS_MAX        8
#define VCL_KEYS_MAX         4
#define VCL_PREDECESSORS_MAX 8
#define VCL_NEVER            UINT64_MAX

/* One error space for the library; the binding maps each to an errno. */
#define VCL_ERRORS(X)                                                                                                  \
    X(VCL_OK, 0, 0, "ok")                                                                                              \
    X(VCL_ERR_AGAIN, 1, EAGAIN, "would block")                                                                         \
    X(VCL_ERR_CLOSED, 2, EPIPE, "this direction is shut down")                                                         \
    X(VCL_ERR_RESET, 3, ECONNRESET, "connection reset by peer")                                                        \
    X(VCL_ERR_TIMEOUT, 4, ETIMEDOUT, "no path to the peer")                                                            \
    X(VCL_ERR_REFUSED, 5, ECONNREFUSED, "the peer refused the connection")                                             \
    X(VCL_ERR_TOKEN, 6, EKEYEXPIRED, "the token has expired")                                                          \
    X(VCL_ERR_NOMEM, 7, ENOBUFS, "a limit of this engine is reached")                                                  \
    X(VCL_ERR_INVALID, 8, EINVAL, "invalid argument or state")
enum vcl_error {
#define VCL_X(name, value, err, text) name = value,
    VCL_ERRORS(VCL_X)
#undef VCL_X
};
const char *vcl_error_text(int error);

struct vcl_config {
    /* the caller's world */
    void *ctx;
    void *(*alloc)(void *ctx, size_t size); /* zeroed; NULL when there is none */
    void (*free)(void *ctx, void *p);
    void (*random)(void *ctx, void *buf, size_t len); /* unguessable in production, seeded in the simulator */
    int64_t unix_offset_us;                           /* unix time = now + offset (token lifetimes) */

    /* limits */
    uint32_t sessions_max;                       /* 65536 */
    uint32_t sessions_per_client_max;            /* of one client id of tokens (S17): 1024 */
    uint32_t conns_max;                          /* 65536 */
    uint32_t backlog_max;                        /* accepted and not yet taken by the application: 1024 */
    uint32_t sndbuf_bytes, rcvbuf_bytes;         /* per connection, at first: 262144; at most 16 MiB - 512 */
    uint32_t sndbuf_bytes_max, rcvbuf_bytes_max; /* of a large transfer: 4 MiB; not above = they are fixed */
    uint64_t rcv_budget_bytes;                   /* C10: all receive windows together: 1 GiB */
    uint32_t trunk_bytes_max;                    /* trunk segment: 1440 */
    uint32_t trunks_max;                         /* helper workers a server talks to: 256 */
    uint32_t
        credit_target_us; /* server: unread messages older than this limit what helpers may send (O1): 500; 0: never */

    /* timers (docs/protocol.md, Timers of a path); vcl_config_defaults fills them */
    uint32_t pto_initial_us, pto_min_us, pto_max_us;     /* 10000, 5000, 100000 */
    uint32_t max_ack_delay_us;                           /* 500 */
    uint32_t probe_interval_us;                          /* 5000 */
    uint32_t move_interval_min_us, move_interval_max_us; /* 10000, 1000000: spacing of epochs, doubling */
    uint32_t path_penalty_us;        /* 5 s: a failed path is not chosen again before (unless none is left) */
    uint32_t suspect_silence_us_min; /* 10000: no verdict on a path before so much silence (S22) */
    uint32_t resumes_per_ms_max;     /* server: 64 (S20) */
    uint64_t hold_us;                /* T_hold 60 s: no path to the peer, then VCL_ERR_TIMEOUT */
    uint64_t idle_us;                /* server session with no connection and no traffic: 300 s */
    uint64_t tombstone_us;           /* 10 s */
    uint64_t open_timeout_us;        /* 10 s: OPEN unanswered on every path */

    /* server side (server_id 0: a pure client) */
    uint16_t server_id;
    uint8_t shard;
    uint64_t service_id;
    uint32_t incarnation;
    uint8_t cid_key[16];
    uint8_t trunk_secret[PMW_KEY_BYTES];
    uint8_t nb_keys;
    struct vcl_server_key {
        uint16_t key_id;
        uint8_t key[PMW_KEY_BYTES];
    } keys[VCL_KEYS_MAX];
    uint8_t nb_predecessors; /* C9: registrations that ended at our address; we answer for their connections */
    struct vcl_predecessor {
        uint16_t server_id;
        uint8_t reset_key[16];
    } predecessors[VCL_PREDECESSORS_MAX];
};
void vcl_config_defaults(struct vcl_config *c);

int vcl_engine_new(struct vcl_engine **out, const struct vcl_config *config);
void vcl_engine_free(struct vcl_engine *e); /* silent: sends nothing (a crash, or after vcl_engine_shutdown) */
int vcl_engine_set_keys(struct vcl_engine *e, const struct vcl_server_key *keys, uint8_t nb_keys);

/* --- datagrams and time ------------------------------------------------------------------- */
/* Returns 0, or the drop reason (enum vcl_drop > 0) that was counted: any bytes are legal input. */
int vcl_engine_receive(struct vcl_engine *e, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len);
/* The same for a datagram that arrived with ECN's mark "congestion experienced" (T9). */
int vcl_engine_receive_marked(struct vcl_engine *e, uint64_t now, const struct pmw_addr *from, const uint8_t *buf,
                              size_t len);
struct vcl_datagram {
    struct pmw_addr to;
    bool may_merge; /* with equal neighbours: proved on this way, or asked now (S21); else the driver judges by the
                       route */
    size_t len;
    uint8_t bytes[PMW_FRAME_BYTES_MAX]; /* a batch is at most PMW_TRUNK_BYTES_MAX */
};
/* Writes the next datagram; 1 = written, 0 = nothing to send now. Call until 0. Server replies that go through one
 * helper are packed into trunk batches here; equal-sized neighbours to one address may be sent with UDP GSO. */
int vcl_engine_send(struct vcl_engine *e, uint64_t now, struct vcl_datagram *out);
uint64_t vcl_engine_next_timer(const struct vcl_engine *e); /* VCL_NEVER: sleep until input */
/* The driver drains its socket before it calls this; if it woke late, it says by how much, and deadlines move (a stall
 * of our own must not look like a dead helper). */
void vcl_engine_on_timer(struct vcl_engine *e, uint64_t now, uint64_t lag_us);

/* --- events -------------------------------------------------------------------------------- */
enum vcl_event_type {
    VCL_EV_CONN_OPENED = 1, /* client: connect done */
    VCL_EV_CONN_ACCEPTED,   /* server: a new connection waits in the backlog */
    VCL_EV_CONN_READABLE,   /* bytes, end of stream, or error became readable */
    VCL_EV_CONN_WRITABLE,   /* send buffer space after it was full */
    VCL_EV_CONN_CLOSED,     /* terminal: error says how (VCL_OK: both directions finished and acknowledged) */
    VCL_EV_TOKEN_WANTED, /* client session: OPEN was refused as expired, or the token ends within 60 s and was used */
    VCL_EV_PATH_SUSPECT, /* client session: the active path is silent, moving on */
    VCL_EV_PATH_MOVED,   /* client session: RESUME was acknowledged on path `helper_id` at `epoch` */
    VCL_EV_PATHS_WANTED, /* client session: no path answers; the agent should resolve again */
};
struct vcl_event {
    enum vcl_event_type type;
    int error;
    struct vcl_conn *conn;
    struct vcl_session *session;
    uint16_t helper_id, from_helper_id; /* PATH_*: 0 = direct */
    uint32_t epoch;
    uint64_t at_us;           /* when it happened */
    uint64_t silent_since_us; /* PATH_SUSPECT, PATH_MOVED: oldest unacknowledged send on the old path */
};
int vcl_engine_next_event(struct vcl_engine *e, struct vcl_event *out); /* 1 or 0 */

/* --- client sessions ------------------------------------------------------------------------ */
#define VCL_RANK_DIRECT 255
struct vcl_path {
    struct pmw_addr addr;
    uint16_t helper_id; /* 0 = direct to the server */
    /* Lower is better (S15): 0 to 254 for a helper. The direct path has VCL_RANK_DIRECT, whatever is given here. */
    uint8_t rank;
};
struct vcl_peer {
    uint16_t server_id;
    uint8_t shard;
    uint8_t token[PMW_TOKEN_BYTES];
    uint8_t token_key[PMW_KEY_BYTES];
    uint8_t nb_paths; /* equals of one rank in order of preference */
    struct vcl_path paths[VCL_PATHS_MAX];
};
int vcl_session_new(struct vcl_engine *e, uint64_t now, const struct vcl_peer *peer, struct vcl_session **out);
int vcl_session_set_token(struct vcl_session *s, const uint8_t token[PMW_TOKEN_BYTES],
                          const uint8_t token_key[PMW_KEY_BYTES]);
/* Replaces the candidates. The active path stays active while it works, even if it is not listed any more; other ranks
 * start the proof of a better path (S15), and only a path that passes it gets the session. */
int vcl_session_set_paths(struct vcl_session *s, uint64_t now, const struct vcl_path *paths, uint8_t nb_paths);
enum vcl_hint { VCL_HINT_DOWN = 1, VCL_HINT_DRAIN, VCL_HINT_UP };
/* Advice from the control plane about one helper: DOWN starts probing it and moves on the first silent probe;
 * DRAIN moves to the next candidate at once; UP ends its penalty. */
void vcl_session_hint(struct vcl_session *s, uint64_t now, uint16_t helper_id, enum vcl_hint hint);
void vcl_session_free(struct vcl_session *s); /* only without connections */
struct vcl_session_info {
    uint64_t id;
    uint32_t epoch, nb_conns, moves;
    uint16_t server_id, active_helper_id;
    uint8_t state; /* enum vcl_path_state */
    uint64_t srtt_us;
};
enum vcl_path_state { VCL_PATH_DOWN, VCL_PATH_ACTIVE, VCL_PATH_RESUMING, VCL_PATH_STALLED, VCL_PATH_DEAD };
void vcl_session_info(const struct vcl_session *s, struct vcl_session_info *out);

/* --- connections ----------------------------------------------------------------------------- */
int vcl_conn_open(struct vcl_session *s, uint64_t now, struct vcl_conn **out); /* OPENED or CLOSED follows */
/* At once after vcl_conn_open: payload is encrypted end to end (W11), or the connection ends with VCL_ERR_REFUSED. */
int vcl_conn_encrypt(struct vcl_conn *c);
int vcl_conn_accept(struct vcl_engine *e, struct vcl_conn **out); /* VCL_ERR_AGAIN: none waits */
/* Bytes taken (> 0), or -vcl_error. A short write means the buffer is full; WRITABLE follows. */
int64_t vcl_conn_write(struct vcl_conn *c, uint64_t now, const void *buf, size_t len);
/* Bytes read (> 0), 0 = end of stream, or -vcl_error. A short read means the buffer is empty. peek leaves them. */
int64_t vcl_conn_read(struct vcl_conn *c, uint64_t now, void *buf, size_t len, bool peek);
size_t vcl_conn_readable(const struct vcl_conn *c);
bool vcl_conn_eof(const struct vcl_conn *c); /* end of stream reached and read */
size_t vcl_conn_writable(const struct vcl_conn *c);
size_t vcl_conn_unacked(const struct vcl_conn *c); /* bytes (and FIN) the peer's engine has not acknowledged */
int vcl_conn_error(const struct vcl_conn *c);      /* 0, or the terminal vcl_error */
int vcl_conn_shutdown_write(struct vcl_conn *c, uint64_t now); /* FIN after what was written */
/* C11: after so long without a frame the peer is asked; after three unanswered questions the connection ends with
 * VCL_ERR_TIMEOUT. 0 = off, as at first. */
int vcl_conn_set_keepalive(struct vcl_conn *c, uint64_t now, uint32_t keepalive_ms);
int vcl_conn_abort(struct vcl_conn *c, uint64_t now); /* RESET to the peer */
/* The application is done with the handle (close()): unread data pending -> RESET, else FIN and linger in the engine
 * until acknowledged. No event mentions the connection again. */
void vcl_conn_release(struct vcl_conn *c, uint64_t now);
void vcl_conn_set_user(struct vcl_conn *c, void *user);
void *vcl_conn_user(const struct vcl_conn *c);
struct vcl_session *vcl_conn_session(const struct vcl_conn *c);
struct vcl_conn_info {
    uint64_t cid;
    struct pmw_addr peer; /* server side: client's address, port = the client's virtual port; client side: zero */
    uint16_t local_port;  /* client side: virtual port */
    uint16_t helper_id;   /* current path */
    bool encrypted;       /* W11 */
    uint64_t sent_bytes, received_bytes, resent_bytes, srtt_us;
};
void vcl_conn_info(const struct vcl_conn *c, struct vcl_conn_info *out);

/* RESET everything that is open; what vcl_engine_send gives afterwards is the farewell. */
void vcl_engine_shutdown(struct vcl_engine *e, uint64_t now);
/* Released connections that still have unacknowledged bytes: the driver lingers until 0. */
uint32_t vcl_engine_lingering(const struct vcl_engine *e);

/* --- counters: every drop has a name --------------------------------------------------------- */
#define VCL_DROPS(X)                                                                                                   \
    X(VCL_DROP_MALFORMED, "malformed", "does not decode")                                                              \
    X(VCL_DROP_UNKNOWN_CONN, "unknown_conn", "no such connection")                                                     \
    X(VCL_DROP_UNKNOWN_SESSION, "unknown_session", "no such session")                                                  \
    X(VCL_DROP_CHECK, "check", "CRC32C check of a data frame failed")                                                  \
    X(VCL_DROP_MAC, "mac", "MAC of a control frame failed")                                                            \
    X(VCL_DROP_TOKEN, "token", "token forged, for another server, or malformed")                                       \
    X(VCL_DROP_TOKEN_EXPIRED, "token_expired", "authentic token, out of its time")                                     \
    X(VCL_DROP_STALE_EPOCH, "stale_epoch", "control frame of an older epoch")                                          \
    X(VCL_DROP_TRUNK_TAG, "trunk_tag", "tag of a trunk batch failed")                                                  \
    X(VCL_DROP_TRUNK_REPLAY, "trunk_replay", "trunk batch seen before")                                                \
    X(VCL_DROP_TRUNK_ENTRY, "trunk_entry", "malformed entry in a trunk batch")                                         \
    X(VCL_DROP_BINDING, "binding", "a short entry of a binding that is not known here")                                \
    X(VCL_DROP_LIMIT, "limit", "a limit of this engine is reached")                                                    \
    X(VCL_DROP_ROLE, "role", "a frame for the other role")                                                             \
    X(VCL_DROP_OUT_OF_WINDOW, "out_of_window", "beyond the receive window, or acknowledges what was never sent")
enum vcl_drop {
    VCL_DROP_NONE,
#define VCL_X(name, key, text) name,
    VCL_DROPS(VCL_X)
#undef VCL_X
        VCL_DROP_COUNT
};
/* clang-format off */
#define VCL_COUNTERS(X) \
    X(datagrams_in) X(datagrams_out) X(bytes_in) X(bytes_out) \
    X(frames_in) X(frames_out) X(data_frames_in) X(data_frames_out) X(frames_resent) X(frames_resent_moved) \
    X(frames_cut) X(duplicate_bytes) \
    X(trunk_batches_in) X(trunk_batches_out) X(trunk_entries_in) X(trunk_entries_out) X(trunk_data_entries_in) \
    X(trunk_data_entries_out) X(trunk_short_data_entries_in) X(trunk_short_data_entries_out) X(trunk_nacks_sent) \
    X(trunk_batches_repeated) X(short_frames_out) X(busy_taken) X(busy_ignored) \
    X(opens) X(accepts) X(open_cookies) X(stateless_resets) \
    X(resumes_sent) X(resumes_accepted) X(trials_failed) X(path_moves) X(probes_sent) X(ptos) X(mtu_falls) \
    X(lost_by_order) X(lost_by_time) X(lost_needlessly)
/* clang-format on */
struct vcl_stats {
#define VCL_X(name) uint64_t name;
    VCL_COUNTERS(VCL_X)
#undef VCL_X
    uint64_t drops[VCL_DROP_COUNT];
    uint32_t nb_sessions, nb_conns;
};
void vcl_engine_stats(const struct vcl_engine *e, struct vcl_stats *out);

#ifdef __cplusplus
}
#endif
#endif
