/* SPDX-License-Identifier: Apache-2.0
 *
 * A server's end of the trunks to its helpers (T1-T9): one struct per worker of a helper, what arrives in its batches,
 * and what leaves in them.
 */
#ifndef VCL_CORE_TRUNK_H
#define VCL_CORE_TRUNK_H

#include "credit.h"
#include "exit.h"
#include "list.h"
#include "map.h"
#include "postman/replay.h"
#include "timers.h"
#include "trunk_watch.h"

enum {
    TRUNK_NOTES_MAX = 256,    /* control entries that wait in a trunk; more are dropped: the helper asks again */
    TRUNK_BYTES_FLOOR = 1024, /* a RESUME_ACK of 32 connections fits */
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
    struct pmw_replay in;
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

/* --- busy.c --- */
int vcl__on_busy(struct vcl_engine *e, const uint8_t *buf, size_t len);

#endif
