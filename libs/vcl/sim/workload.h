/* SPDX-License-Identifier: Apache-2.0
 *
 * What applications do: the plan of each connection, drawn from the seed, and how far each end has come. Both
 * applications are in one process, so each end knows what the other has truly written: that is what makes the checks
 * exact.
 */
#ifndef SIM_WORKLOAD_H
#define SIM_WORKLOAD_H

#include "ledger.h"
#include "rng.h"
#include "vcl/engine.h"

enum side { CLIENT, SERVER };
enum { SIDES = 2, CONNECTIONS_MAX = 160 };
enum { REST_US_MIN = 60000000, REST_US_MAX = 120000000 }; /* S14: a server waits for 70 s */

/* How one application treats its end. */
struct end_plan {
    uint64_t total_bytes;                     /* to write, a client's header included */
    uint32_t write_bytes_max, read_bytes_max; /* of one call; each call draws its size */
    uint64_t write_gap_us, read_gap_us;       /* between two calls; 0: as fast as the library takes or gives */
    uint64_t abort_after_bytes;               /* reset once so many bytes are written and read; UINT64_MAX: never */
    uint64_t rest_us, rest_after_bytes;       /* once, so long, before it writes more than so much; 0: never */
    bool abort_by_release;                    /* ... not by abort but by closing the handle */
    bool release_early;                       /* close the handle at once when all is written, without reading */
    bool peeks;                               /* looks before it reads */
};

struct connection_plan {
    uint8_t client; /* which client opens it */
    uint64_t open_at_us;
    uint32_t rounds; /* request and response; 0: both ends write freely */
    uint32_t request_bytes, reply_bytes;
    struct end_plan end[SIDES];
};

/* How far one application has come. */
struct end {
    struct vcl_conn *conn;  /* NULL: not open yet, or released */
    uint64_t written, read; /* what it writes is direction UP for the client, DOWN for the server */
    uint64_t next_write_at_us, next_read_at_us;
    uint64_t pump_at_us;              /* when the application looks at it again; UINT64_MAX: after an event */
    bool read_blocked, write_blocked; /* until the next READABLE, WRITABLE event */
    bool rested;
    bool fin_sent; /* nothing follows `written`: shut down, or released */
    bool eof, done;
    int error; /* vcl_error that ended it, 0: none */
};

struct connection {
    uint32_t number;
    struct connection_plan plan;
    struct end end[SIDES];
    uint64_t cid, session_id; /* known from OPENED on; 0 before */
    uint16_t client_port;     /* virtual port, known with cid */
    bool asked, opening;      /* the client called open; and has no answer yet */
    bool accepted, aborted;   /* aborted: by one end, as planned */
    bool abandoned;           /* the process of one end is gone: the other may never know */
    bool both_must_end;       /* whatever happens: an end that is given up by the other hears of it */
    bool impatient;           /* T_hold is so short that an engine may give up what its application has closed */
    bool reset_may_be_lost;   /* aborted so early in the faults that all copies of RESET may be lost in them */
};

/* Limits of a plan, drawn once for a seed. */
struct workload_options {
    uint32_t connections_per_client_max;
    uint64_t bytes_max; /* of one direction of one connection */
    uint32_t rounds_max;
    uint32_t abort_ppm, release_early_ppm, slow_reader_ppm;
    uint64_t open_us_max; /* connections open from time 0 to here */
};

void connection_plan_draw(struct connection_plan *plan, uint8_t client, const struct workload_options *options,
                          struct rng *rng);
/* Half of the ends rest once (S12, S14). */
void connection_plan_rest(struct connection_plan *plan, struct rng *rng);
/* How much this end may have written by now: a reply waits for its request, a request for the reply before it. */
uint64_t connection_may_write(const struct connection *c, enum side side);
/* Both ends are finished with; an end that never came to be counts as finished if the other failed. */
bool connection_is_done(const struct connection *c);
/* Nobody planned to break it: both ends must get every byte and the end of the stream. */
bool connection_must_complete(const struct connection *c);

static inline enum side side_peer(enum side side)
{
    return side == CLIENT ? SERVER : CLIENT;
}

static inline enum direction side_writes(enum side side)
{
    return side == CLIENT ? UP : DOWN;
}

#endif
