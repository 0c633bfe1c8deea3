/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything that a seed decides. Swarm testing (Groce et al. 2012): each seed switches each kind of fault on or off before it
 * draws intensities, so that some runs are cruel in one way only.
 */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "helper_host.h"
#include "net.h"
#include "workload.h"

/* Faults that happen to hosts and links at random moments. */
enum nemesis_kind {
    NEMESIS_CRASH,         /* a helper dies; often it comes back */
    NEMESIS_PAUSE_HELPER,  /* zombie: it wakes up with old batches and a full queue */
    NEMESIS_PAUSE_CLIENT,
    NEMESIS_PAUSE_SERVER,
    NEMESIS_CUT,           /* one direction of one link */
    NEMESIS_ISOLATE,       /* all links of one host, one direction or both */
    NEMESIS_CLOG,          /* a link holds everything back, then gives it at once */
    NEMESIS_GRAY,          /* a link loses a share of its datagrams, or the large ones */
    NEMESIS_HINT,          /* the control plane says something, true or not */
    NEMESIS_PATHS,         /* the control plane gives another list of candidates */
    NEMESIS_KINDS
};

struct nemesis_options {
    uint32_t enabled; /* bit set of kinds */
    uint64_t gap_us_mean;      /* between two faults */
    uint64_t duration_us_max;
    bool true_hints;           /* a crash and a restart are told to the clients, after a while */
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
    uint8_t client_family, trunk_family;
    uint64_t fault_us; /* faults happen from 0 to here */
    enum heal heal;
    uint8_t healed_path; /* HEAL_ONE_PATH: host number of the helper, or HOST_SERVER for the direct path */
    struct net_options net;
    struct helper_options helper;
    struct nemesis_options nemesis;
    struct workload_options workload;
    struct memory_fault memory_fault;

    uint32_t sndbuf_bytes, rcvbuf_bytes, trunk_bytes_max, backlog_max;
    uint32_t endpoint_poll_us_max;
    uint64_t accept_gap_us;     /* the server application takes connections at this pace; 0: at once */
    bool small_backlog;         /* refusals are expected */
    bool expired_tokens;        /* the first token of each client is out of its time */
    uint64_t token_delay_us;    /* how long an agent takes to get a new one */
    bool reports_lag;           /* drivers tell the engine by how much a pause made them late */
    bool clock_offsets;         /* each host's clock starts somewhere else */
};

void scenario_draw(struct scenario *s, uint64_t seed, struct rng *rng);
/* Several lines for a human. */
void scenario_print(const struct scenario *s);

#endif
