/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated network: datagrams in flight between hosts, in virtual time, with every fault a UDP network may show.
 * One directed link joins each pair of hosts. Datagrams of a link keep their order unless the reordering fault picks
 * one.
 */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "hosts.h"
#include "rng.h"
#include "trace.h"

/* All faults, for all links. Zero means off. */
struct net_options {
    uint32_t loss_ppm;
    uint32_t loss_burst; /* datagrams lost in a row once one is, mean */
    uint32_t duplicate_ppm;
    uint32_t reorder_ppm;    /* this share leaves the order of its link ... */
    uint64_t reorder_us_max; /* ... and arrives up to this much later */
    uint32_t corrupt_ppm;    /* bit flips, truncation, or bytes appended */
    uint32_t replay_ppm;     /* after a datagram, an old one is sent again, from another address as often as not */
    uint32_t junk_ppm;       /* after a datagram, random bytes with a plausible first byte go to its receiver */
    uint32_t forge_ppm;      /* after a datagram, BUSY or PONG with its id goes to its sender */
    uint32_t mtu_bytes;      /* longer datagrams are lost; 0: none are too long */
    uint64_t delay_us_min, delay_us_mean; /* one way: at least min, exponential above it */
    uint32_t bandwidth_bytes_per_ms;      /* of each link; 0: infinite */
    uint32_t queue_bytes_max;             /* waiting for the link; beyond it datagrams are dropped */
};

enum {
    NET_HISTORY = 128, /* datagrams kept for replay */
    NET_BYTES_MAX = PMW_FRAME_BYTES_MAX > PMW_TRUNK_BYTES_MAX ? PMW_FRAME_BYTES_MAX : PMW_TRUNK_BYTES_MAX,
};

struct datagram {
    uint64_t at_us, order; /* arrival; order breaks ties and makes runs repeatable */
    struct pmw_addr from, to;
    uint8_t from_host, to_host;
    uint16_t len;
    struct datagram *next; /* in a receive queue or the free list */
    bool foreign;          /* no host sent these bytes: they are junk, forged, or altered on the way */
    bool damaged;          /* by the helper that sent them */
    uint8_t bytes[NET_BYTES_MAX];
};

/* Faults of one directed link, each until its time. */
struct link {
    uint64_t busy_until_us, last_arrival_us;
    uint64_t cut_until_us;  /* nothing passes */
    uint64_t clog_until_us; /* what is sent arrives after this time */
    uint64_t gray_until_us; /* datagrams of gray_bytes_min or more are lost with gray_ppm */
    uint64_t slow_until_us; /* slow_us more */
    uint64_t mtu_until_us;  /* datagrams above mtu_bytes are lost */
    uint32_t gray_ppm, gray_bytes_min, slow_us, mtu_bytes;
    uint32_t burst_left;
};

struct net_counters {
    uint64_t lost, cut, queue_full, corrupted, duplicated, reordered, replayed, junk, too_long, forged;
};

/* Planted network faults, for the simulator's self-test. */
struct net_plant {
    bool flip_payload;     /* payload bytes of C-frames change on their way from helpers */
    bool foreign;          /* what hosts send is said to be nobody's */
    unsigned silence_host; /* nothing of this host is ever delivered; HOST_NONE: off */
};

/* A script's say in what happens to a datagram that a host sends; the datagram may be altered. */
enum net_order { NET_PASS, NET_DROP, NET_TWICE };
typedef enum net_order net_filter(void *ctx, uint64_t now, struct datagram *d, uint64_t *delay_us);

struct net {
    net_filter *filter; /* NULL: none */
    void *filter_ctx;
    struct net_options options;
    struct net_counters counters;
    struct net_plant plant;
    struct trace *trace;
    struct rng rng;
    struct link links[HOSTS_MAX][HOSTS_MAX];
    struct datagram **heap; /* by (at_us, order) */
    size_t nb_in_flight, heap_capacity;
    struct datagram *free_list;
    uint64_t next_order;
    struct datagram *history[NET_HISTORY];
    uint64_t nb_history;
};

void net_init(struct net *net, const struct net_options *options, struct rng rng, struct trace *trace);
void net_free(struct net *net);
/* Hands a datagram to the network, which delivers none, one or several copies. damaged: a broken helper has altered
 * what an engine sent. */
void net_send(struct net *net, uint64_t now, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *buf,
              size_t len, bool damaged);
/* Time of the next arrival, UINT64_MAX: nothing is in flight. */
uint64_t net_next_at(const struct net *net);
/* Takes the next arrival out; the caller gives it back with net_release. */
struct datagram *net_take(struct net *net);
void net_release(struct net *net, struct datagram *d);
/* Ends every fault: links are whole, and only delay remains. */
void net_calm(struct net *net);

#endif
