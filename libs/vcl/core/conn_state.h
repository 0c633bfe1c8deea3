/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of one connection (C7), independent of paths: a dead path never changes a connection's state.
 *
 *   client: vcl_conn_open            server: OPEN
 *        │                                │
 *        ▼          OPENED                ▼
 *     OPENING ───────────────────▶  ESTABLISHED ──── PEER_FIN ────▶ PEER_DONE
 *        │ FINISH                        │ FINISH                        │ FINISH
 *        ▼          OPENED               ▼            PEER_FIN           ▼
 *   OPENING_FIN ────────────────▶   FINISHING ────────────────────▶  LAST_ACK
 *        │ ABORT                         │ FIN_ACKED                     │ FIN_ACKED
 *        ▼          OPENED               ▼            PEER_FIN           ▼
 *  OPENING_ABORT ──▶ RESET, CLOSED   HALF_CLOSED ──────────────────▶  CLOSED
 *
 *   FINISH: the application shuts down writing. FIN_ACKED: the peer has all our bytes and the FIN.
 *   PEER_FIN: we have all its bytes and its FIN. From every living state: ABORT sends RESET, PEER_RESET and FAILED
 *   (refused, timed out) close. CLOSED is terminal; the connection stays behind as its own tombstone.
 */
#ifndef VCL_CORE_CONN_STATE_H
#define VCL_CORE_CONN_STATE_H

#include <stdbool.h>

enum conn_state {
    CONN_OPENING,
    CONN_OPENING_FIN,
    CONN_OPENING_ABORT,
    CONN_ESTABLISHED,
    CONN_FINISHING,
    CONN_HALF_CLOSED,
    CONN_PEER_DONE,
    CONN_LAST_ACK,
    CONN_CLOSED,
    CONN_NB_STATES
};

enum conn_input {
    CONN_IN_OPENED,
    CONN_IN_FINISH,
    CONN_IN_FIN_ACKED,
    CONN_IN_PEER_FIN,
    CONN_IN_PEER_RESET,
    CONN_IN_ABORT,
    CONN_IN_FAILED,
    CONN_NB_INPUTS
};

enum conn_action {
    CONN_DO_NOTHING,
    CONN_DO_ESTABLISH,   /* tell the application, start sending */
    CONN_DO_SEND_FIN,    /* queue the FIN */
    CONN_DO_SEND_RESET,  /* closed by us: tell the peer until it knows */
    CONN_DO_CLOSE,       /* closed: both directions finished, or by the peer, or failed */
    CONN_DO_REFUSE_INPUT /* not allowed here */
};

struct conn_step {
    enum conn_action action;
    enum conn_state next;
};

struct conn_step vcl__conn_step(enum conn_state state, enum conn_input input);
/* The application may still write. */
bool vcl__conn_can_write(enum conn_state state);
/* Has an id that both ends know, and is not closed. */
bool vcl__conn_is_live(enum conn_state state);
bool vcl__conn_is_opening(enum conn_state state);

#endif
