/* SPDX-License-Identifier: Apache-2.0
 *
 * I6 for one session, as the wire at the server shows it (S18): until the path that an OPEN or RESUME named has proved
 * itself, at most three times the bytes that came from its address go to it. Bytes are those of C-frames.
 */
#ifndef SIM_TRIAL_CHECKER_H
#define SIM_TRIAL_CHECKER_H

#include "postman/wire.h"

struct trial_way {
    uint16_t path; /* helper id, 0: direct */
    struct pmw_addr addr;
};

enum { TRIAL_OPENERS_MAX = 64, TRIAL_PROBES_MAX = 64, TRIAL_ASKED_MAX = 8 };

struct trial_watch {
    uint32_t epoch;             /* of the RESUME that was read last; 0: none yet */
    uint32_t since_epoch;       /* RESUMEs of several epochs in a row named this way: counted together */
    struct trial_way way;       /* on trial; family 0: none yet */
    struct trial_way validated; /* the last that has proved itself */
    uint64_t bytes_in, bytes_out;
    uint64_t challenge; /* sent to it in this epoch; 0: none */
    bool proved;        /* nothing is on trial */
    bool first;         /* the way of the first OPEN_ACK, and no other was told a CID: who knows one is there */
    struct trial_opener {
        struct trial_way way;
        uint64_t bytes;
        bool has_cookie;
    } openers[TRIAL_OPENERS_MAX]; /* before the first OPEN_ACK, newest first; the oldest are forgotten */
    struct trial_probe {          /* of epoch 0, read and not answered yet; the oldest are overwritten */
        struct trial_way way;
        uint64_t nonce;
        bool before; /* read before this way was on trial: its answer does not count */
    } probes[TRIAL_PROBES_MAX];
    uint32_t nb_probes;
    struct trial_question { /* the newest challenges: a response proves its way also when the next move waits (S20) */
        struct trial_way way;
        uint64_t challenge;
    } asked[TRIAL_ASKED_MAX];
    uint32_t nb_asked;
};

/* A frame of the session was read, a RESUME only if its client really sent it. believed: the server takes that way for
 * the last that has proved itself. It may be right only if the wire shows why, and may know that the proof was late. */
void trial_watch_received(struct trial_watch *w, const uint8_t *frame, size_t len, const struct trial_way *from,
                          bool believed);
/* The server sends a frame of the session. false: more than it may. flow_epoch: of DATA and ACK; a RESUME that the
 * server has read may wait for its turn (S20); until then the epoch before goes on, with what came by its way. */
bool trial_watch_sent(struct trial_watch *w, const uint8_t *frame, size_t len, uint32_t flow_epoch,
                      const struct trial_way *to);

#endif
