/* SPDX-License-Identifier: Apache-2.0
 *
 * I6 for one session, as the wire at the server shows it (S18): until the path that a RESUME named has answered a
 * challenge, at most three times the bytes that came from its address go to it. Bytes are those of C-frames.
 */
#ifndef SIM_TRIAL_CHECKER_H
#define SIM_TRIAL_CHECKER_H

#include "postman/wire.h"

struct trial_way {
    uint16_t path; /* helper id, 0: direct */
    struct pmw_addr addr;
};

struct trial_watch {
    uint32_t epoch;
    struct trial_way way;       /* on trial; family 0: none yet */
    struct trial_way validated; /* the last that has answered */
    uint64_t bytes_in, bytes_out;
    bool answered;
};

/* An authentic RESUME was read. */
void trial_watch_resume(struct trial_watch *w, uint32_t epoch, const struct trial_way *from);
/* Any frame of the session was read. */
void trial_watch_received(struct trial_watch *w, int type, size_t len, const struct trial_way *from);
/* The server sends a frame of the session. false: more than it may. */
bool trial_watch_sent(struct trial_watch *w, size_t len, const struct trial_way *to);

#endif
