/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's own state, and who points to whom. Each part has its header, which declares what other files may call.
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
#include "conn.h"
#include "credit.h"
#include "dial.h"
#include "exit.h"
#include "guard.h"
#include "list.h"
#include "map.h"
#include "mem.h"
#include "nack_ring.h"
#include "opening.h"
#include "session.h"
#include "slots.h"
#include "timers.h"
#include "trunk.h"
#include "vcl/engine.h"

enum { RESUMES_WAITING_MAX = 1024 }; /* S20: about 1 MB; a client repeats what was dropped */
struct waiting_resume {
    struct list node;
    struct route from;
    uint16_t len;
    uint8_t bytes[];
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

/* --- demux.c --- */
int vcl__frame_receive(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len);

/* --- herd.c (S20) --- */
void vcl__herd_init(struct vcl_engine *e);
void vcl__herd_free(struct vcl_engine *e);
bool vcl__herd_may_send(struct vcl_engine *e); /* client: a RESUME frame may leave now; counts it */
/* Server. True: its turn is now. False: it waits, or was dropped (*drop says so). */
bool vcl__herd_enter(struct vcl_engine *e, const struct route *from, const uint8_t *buf, size_t len, int *drop);
void vcl__herd_due(struct vcl_engine *e);
uint64_t vcl__herd_next(const struct vcl_engine *e); /* when to look again; VCL_NEVER */

#endif
