/* SPDX-License-Identifier: Apache-2.0
 *
 * Bindings (T6): a helper worker's index for a connection, so that a short entry need not name it. Soft state of one
 * trunk: it goes with the trunk, with the helper's incarnation, or with the connection.
 */
#ifndef VCL_CORE_BINDINGS_H
#define VCL_CORE_BINDINGS_H

#include "list.h"
#include "map.h"
#include "postman/wire.h"

enum { BINDINGS_PER_CONN = 2 }; /* of conns_max, together: the path in use, and the one before or the next */

struct trunk;
struct vcl_conn;
struct vcl_engine;

struct binding {
    struct map_node by_index; /* engine.bindings, by trunk and index */
    struct list of_trunk;     /* trunk.bindings */
    struct list of_conn;      /* vcl_conn.bindings, the newest first */
    struct trunk *trunk;
    struct vcl_conn *conn;
    struct pmw_addr client; /* where the helper sends what names this binding */
    uint32_t index;
    uint8_t generation;
};

/* What the server answers: BIND_ACK, BIND_ERR, or PMW_ENTRY_PAD for nothing. */
enum pmw_entry_kind vcl__binding_on_bind(struct vcl_engine *e, struct trunk *t, const struct pmw_bind *b);
void vcl__binding_on_unbind(struct vcl_engine *e, struct trunk *t, const struct pmw_bind_ref *r);
/* generation: the low 4 bits that a short entry has. NULL: unknown. */
struct binding *vcl__binding_find(struct vcl_engine *e, const struct trunk *t, uint32_t index, uint8_t generation);
/* The binding by which replies of c may go through t: only one whose address is the session's (T3). NULL: none. */
struct binding *vcl__binding_for_reply(const struct vcl_conn *c, const struct trunk *t);
void vcl__bindings_forget_trunk(struct vcl_engine *e, struct trunk *t);
void vcl__bindings_forget_conn(struct vcl_conn *c);

#endif
