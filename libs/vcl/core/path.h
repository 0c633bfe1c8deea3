/* SPDX-License-Identifier: Apache-2.0
 *
 * The candidate paths of a client session: which one to try next, who is under penalty (S10), and how far apart moves
 * are (S9). Pure: no session, no frames.
 */
#ifndef VCL_CORE_PATH_H
#define VCL_CORE_PATH_H

#include "vcl/engine.h"

enum {
    PATH_PENALTY_US_MAX = 60000000, /* S10 */
    MOVE_QUIET_S = 5,               /* S9: so long without a move, and spacing starts over */
    PATH_LATE_US_MAX = 500000,      /* S10: what comes by a path so soon after it was left was only late */
    PATH_LATE_SHARE = 20,           /* S10: of the penalty that is left then */
};

struct candidate {
    struct vcl_path path;
    uint64_t penalty_until, penalty_us; /* penalty_us: length of the last one, 0 = none yet */
    uint64_t tried_at;                  /* last time it was chosen */
    uint64_t silent_at;                 /* it failed because nothing arrived; 0: it did not */
    uint64_t echoed_at, echo_rtt_us;    /* S22: its scout was answered by the server */
};

struct candidates {
    struct candidate list[VCL_PATHS_MAX];
    uint8_t count;
};

/* Replaces the list; a path that stays keeps its penalty, and has its new rank. */
void vcl__candidates_set(struct candidates *c, const struct vcl_path *paths, uint8_t nb_paths);
/* The path to try first: the free ones before those under penalty (S10), then by rank, equals in listed order. NULL:
 * the list is empty. */
const struct vcl_path *vcl__candidates_first(const struct candidates *c, uint64_t now);
/* The path to try after `current` in a search that began at search_since: as first; but none twice before each had its
 * turn, then the one that was tried longest ago; `current` only when there is no other. NULL: the list is empty. */
const struct vcl_path *vcl__candidates_next(const struct candidates *c, uint64_t now, uint64_t search_since,
                                            const struct vcl_path *current);
/* The path to prove while `current` works (S15): the best free one of a better rank, or NULL; then *ripe_at is when the
 * first penalty of such a path ends, VCL_NEVER if there is none. */
const struct vcl_path *vcl__candidates_better(const struct candidates *c, uint64_t now, const struct vcl_path *current,
                                              uint64_t *ripe_at);
/* The best of those whose scout was answered since, as first, but not `except`. NULL: none. */
const struct vcl_path *vcl__candidates_answering(const struct candidates *c, uint64_t now, uint64_t since,
                                                 const struct vcl_path *except);
struct candidate *vcl__candidates_of_helper(struct candidates *c, uint16_t helper_id); /* NULL: not listed */
bool vcl__candidates_is_free(const struct candidates *c, uint64_t now, const struct vcl_path *path); /* no penalty */
void vcl__candidates_tried(struct candidates *c, uint64_t now, const struct vcl_path *path);
/* The path failed: penalty_us at first, doubled each time up to the maximum. */
void vcl__candidates_fail(struct candidates *c, uint64_t now, const struct vcl_path *path, uint64_t penalty_us);
/* The control plane says that it works: its penalty ends now. If it fails again, the next one is longer all the same: a
 * path that comes and goes gets no session each time. */
void vcl__candidates_clear(struct candidates *c, uint64_t now, uint16_t helper_id);
/* It failed because nothing at all arrived by it. */
void vcl__candidates_silent(struct candidates *c, uint64_t now, const struct vcl_path *path, uint64_t penalty_us);
/* An authentic frame came from this address. True: such a path was left a moment ago, and the frame was only late: the
 * path is not dead, and most of its penalty is remitted. */
bool vcl__candidates_late(struct candidates *c, uint64_t now, const struct pmw_addr *addr);
bool vcl__path_equal(const struct vcl_path *a, const struct vcl_path *b);

struct move_spacing {
    uint64_t last_at, next_at; /* no move before next_at */
    uint64_t interval_us;
};

/* A move away from a path that works: the next one waits as long, and not longer because of it. */
void vcl__spacing_planned(struct move_spacing *s, uint64_t now, uint64_t min_us);
void vcl__spacing_moved(struct move_spacing *s, uint64_t now, uint64_t min_us, uint64_t max_us);

#endif
