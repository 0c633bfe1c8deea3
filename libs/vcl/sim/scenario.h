/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that a seed decides. Swarm testing (Groce et al. 2012): each seed switches each kind of fault on or off
 * before it draws intensities, so that some runs are cruel in one way only.
 */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "helper_host.h"
#include "net.h"
#include "workload.h"

/* Every kind of fault, by the name that scenarios, --only and docs/failure-model.md use. First those that the nemesis
 * brings at random moments, then those of the network itself, then those of memory and tokens. */
#define FAULTS(X)                                                                                                      \
    X(FAULT_HELPER_CRASH, "helper_crash") /* a helper dies; often it comes back */                                     \
    X(FAULT_HELPER_PAUSE, "helper_pause") /* zombie: old batches and a full queue later */                             \
    X(FAULT_CLIENT_PAUSE, "client_pause")                                                                              \
    X(FAULT_CLIENT_SLEEP, "client_sleep") /* a client stands still for longer than T_hold */                           \
    X(FAULT_SERVER_PAUSE, "server_pause")                                                                              \
    X(FAULT_CUT, "cut")                   /* one direction of one link */                                              \
    X(FAULT_ISOLATE, "isolate")           /* all links of a host, one direction or both */                             \
    X(FAULT_CLOG, "clog")                 /* a link holds all back, then gives it at once */                           \
    X(FAULT_GRAY, "gray")                 /* a link loses a share, or the large ones */                                \
    X(FAULT_HINT, "hint")                 /* the control plane says something, true or not */                          \
    X(FAULT_PATHS, "paths")               /* the control plane gives another list of candidates */                     \
    X(FAULT_RANKS, "ranks")               /* the control plane gives the candidates other ranks */                     \
    X(FAULT_LATE_TABLE, "late_table")     /* a helper that starts knows no server for a while */                       \
    X(FAULT_KEYS, "keys")                 /* the server's token keys rotate */                                         \
    X(FAULT_SLOW, "slow")                 /* a link takes 2 to 40 ms more */                                           \
    X(FAULT_FLAP, "flap")                 /* a helper dies and comes back, each 30 ms */                               \
    X(FAULT_MTU, "mtu")                   /* a link loses all above a size */                                          \
    X(FAULT_REBIND, "rebind")             /* a NAT gives a client another port */                                      \
    X(FAULT_OVERLOAD, "overload")         /* the server looks seldom, and little fits into its queue */                \
    X(FAULT_BAD_FLOW, "bad_flow")         /* a helper loses one flow */                                                \
    X(FAULT_BIT_FLIP, "bit_flip")         /* a helper alters payloads, and seals them into its batches */              \
    X(FAULT_SWAP, "swap")                 /* a helper exchanges payloads of one length */                              \
    X(FAULT_CLIENT_CRASH, "client_crash") /* a client process is gone, silently */                                     \
    X(FAULT_CLIENT_EXIT, "client_exit")   /* a client process ends in an orderly way */                                \
    X(FAULT_SERVER_CRASH, "server_crash") /* the server process is gone; a new one starts */                           \
    X(FAULT_LOSS, "loss")                                                                                              \
    X(FAULT_DUPLICATE, "duplicate")                                                                                    \
    X(FAULT_REORDER, "reorder")                                                                                        \
    X(FAULT_CORRUPT, "corrupt")                                                                                        \
    X(FAULT_REPLAY, "replay")                                                                                          \
    X(FAULT_FORGE, "forge")             /* BUSY and PONG of nobody, with ids that exist */                             \
    X(FAULT_SLOW_READER, "slow_reader") /* applications that do not read */                                            \
    X(FAULT_JUNK, "junk")                                                                                              \
    X(FAULT_BANDWIDTH, "bandwidth")                                                                                    \
    X(FAULT_BUFFERS, "buffers")       /* helpers run out of them */                                                    \
    X(FAULT_MEMORY, "memory")         /* allocations of one engine fail */                                             \
    X(FAULT_TOKENS, "tokens")         /* first tokens are out of their time */                                         \
    X(FAULT_SHORT_HOLD, "short_hold") /* T_hold is so short that outages end connections */                            \
    X(FAULT_FAST_MOVES, "fast_moves") /* paths change so often that the epoch's low 8 bits wrap */                     \
    X(FAULT_REST, "rest")             /* applications say nothing for longer than a server waits for a silent client */
enum fault {
#define SIM_X(name, text) name,
    FAULTS(SIM_X)
#undef SIM_X
        FAULT_COUNT,
    FAULT_NEMESIS_COUNT = FAULT_LOSS, /* those below are the nemesis's */
};
_Static_assert(FAULT_COUNT < 64, "a set of faults is a uint64_t");
const char *fault_name(enum fault fault);
static inline uint64_t fault_bit(int fault)
{
    return (uint64_t)1 << fault;
}

enum { RANK_MAX = 3 }; /* some equal, some not */

struct nemesis_options {
    uint64_t enabled;     /* bit set of faults below FAULT_NEMESIS_COUNT */
    uint64_t gap_us_mean; /* between two faults */
    uint64_t duration_us_max;
    bool true_hints; /* a crash and a restart are told to the clients, after a while */
};

enum heal {
    HEAL_ALL,      /* every helper runs when the faults end */
    HEAL_ONE_PATH, /* one candidate of each client works, all others stay dead */
};

struct memory_fault {
    unsigned host; /* HOST_NONE: off */
    uint64_t fail_at;
    uint32_t fail_count;
};

struct scenario {
    uint64_t seed;
    uint8_t nb_clients, nb_helpers;
    bool direct_path; /* the direct path is a candidate */
    uint8_t rank_max; /* of a helper, at first; 0: all are equal */
    uint8_t client_family, trunk_family;
    uint64_t fault_us; /* faults happen from 0 to here */
    enum heal heal;
    uint8_t healed_path; /* HEAL_ONE_PATH: host number of the helper, or HOST_SERVER for the direct path */
    struct net_options net;
    struct helper_options helper;
    struct nemesis_options nemesis;
    struct workload_options workload;
    struct memory_fault memory_fault;

    struct vcl_config engine; /* limits and timers of every engine of the run */
    uint32_t endpoint_poll_us_max;
    uint64_t accept_gap_us;  /* the server application takes connections at this pace; 0: at once */
    bool small_backlog;      /* refusals are expected */
    bool expired_tokens;     /* the first token of each client is out of its time */
    uint64_t token_delay_us; /* how long an agent takes to get a new one */
    bool reports_lag;        /* drivers tell the engine by how much a pause made them late */
    bool clock_offsets;      /* each host's clock starts somewhere else */
    bool short_hold, fast_moves, rests;
    bool clean_crash; /* nothing happens but the end of one helper, at crash_at_us: busy sessions must move at once */
    bool clean_ranks; /* nothing happens but other ranks, at crash_at_us: sessions must follow, and lose nothing */
    uint64_t crash_at_us;
    bool sleepers; /* clients sleep for longer than engines wait for them: both ends must hear of it */
    uint64_t sleep_us_max;
    bool quiet; /* no fault at all and an even network: nothing may be sent twice and no path left */
};

/* Every draw is made whatever `allowed` (a bit set of faults) is, so that a run with fewer faults is otherwise the
 * same. */
void scenario_draw(struct scenario *s, uint64_t seed, uint64_t allowed, struct rng *rng);
/* Several lines for a human. */
void scenario_print(const struct scenario *s);

#endif
