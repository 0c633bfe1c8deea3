/* SPDX-License-Identifier: Apache-2.0
 *
 * The table behind the diagram in conn_state.h. A pair that is absent is refused and changes nothing.
 */
#include "conn_state.h"

#include <assert.h>

struct cell {
    bool allowed;
    enum conn_action action;
    enum conn_state next;
};

#define ON(input, action, next) [CONN_IN_##input] = {true, CONN_DO_##action, CONN_##next}
/* Every living state with an id on the wire ends alike. */
#define ENDS ON(PEER_RESET, CLOSE, CLOSED), ON(ABORT, SEND_RESET, CLOSED), ON(FAILED, CLOSE, CLOSED)

static const struct cell table[CONN_NB_STATES][CONN_NB_INPUTS] = {
    [CONN_OPENING] = {ON(OPENED, ESTABLISH, ESTABLISHED), ON(FINISH, NOTHING, OPENING_FIN),
                      ON(ABORT, NOTHING, OPENING_ABORT), ON(FAILED, CLOSE, CLOSED)},
    [CONN_OPENING_FIN] = {ON(OPENED, ESTABLISH, FINISHING), ON(ABORT, NOTHING, OPENING_ABORT),
                          ON(FAILED, CLOSE, CLOSED)},
    [CONN_OPENING_ABORT] = {ON(OPENED, SEND_RESET, CLOSED), ON(FAILED, CLOSE, CLOSED)},
    [CONN_ESTABLISHED] = {ON(FINISH, SEND_FIN, FINISHING), ON(PEER_FIN, NOTHING, PEER_DONE), ENDS},
    [CONN_FINISHING] = {ON(FIN_ACKED, NOTHING, HALF_CLOSED), ON(PEER_FIN, NOTHING, LAST_ACK), ENDS},
    [CONN_HALF_CLOSED] = {ON(PEER_FIN, CLOSE, CLOSED), ENDS},
    [CONN_PEER_DONE] = {ON(FINISH, SEND_FIN, LAST_ACK), ENDS},
    [CONN_LAST_ACK] = {ON(FIN_ACKED, CLOSE, CLOSED), ENDS},
};

struct conn_step vcl__conn_step(enum conn_state state, enum conn_input input)
{
    assert(state < CONN_NB_STATES && input < CONN_NB_INPUTS);
    const struct cell *c = &table[state][input];
    if (!c->allowed)
        return (struct conn_step){CONN_DO_REFUSE_INPUT, state};
    return (struct conn_step){c->action, c->next};
}

bool vcl__conn_can_write(enum conn_state state)
{
    return state == CONN_OPENING || state == CONN_ESTABLISHED || state == CONN_PEER_DONE;
}

bool vcl__conn_is_live(enum conn_state state)
{
    return state >= CONN_ESTABLISHED && state < CONN_CLOSED;
}

bool vcl__conn_is_opening(enum conn_state state)
{
    return state < CONN_ESTABLISHED;
}
