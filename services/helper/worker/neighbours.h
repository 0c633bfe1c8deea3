/* SPDX-License-Identifier: Apache-2.0
 *
 * Next hop IP -> Ethernet address, for one link. Bounded: a set-associative table, at most NEIGHBOURS_ASKING_MAX
 * addresses being asked for at once, at most NEIGHBOUR_PENDING_MAX packets waiting for each. No DPDK: packets are
 * opaque here.
 *
 * What ARP (in IPv6 neighbour discovery: the same is meant below) says is believed. What the source of an accepted
 * datagram says is believed only about an address that nothing is known of yet (its sender may lie); when it
 * contradicts, we ask again by ARP.
 *
 * Timers, all driven by neighbours_tick and by use:
 *   asking   every 250 ms, given up after 4 requests
 *   proof    a known address is asked for again 60 s after its last ARP, at most once a second, while it is used
 *   idle     a known address that was not used for 10 min is forgotten
 */
#ifndef POSTMAN_NEIGHBOURS_H
#define POSTMAN_NEIGHBOURS_H

#include "ip.h"

enum {
    NEIGHBOUR_WAYS = 4,
    NEIGHBOUR_PENDING_MAX = 8,
    NEIGHBOURS_ASKING_MAX = 64,
    NEIGHBOURS_ASKS_PER_S_MAX = 1000,
};

enum neighbour_state { NEIGHBOUR_FREE, NEIGHBOUR_ASKING, NEIGHBOUR_KNOWN };
enum neighbour_source {
    NEIGHBOUR_BY_ARP,          /* it asked us or answered us */
    NEIGHBOUR_BY_ANNOUNCEMENT, /* gratuitous ARP: news about a neighbour we have, nothing about others */
    NEIGHBOUR_BY_DATAGRAM,
};

struct neighbour {
    struct ip_addr ip;
    uint8_t mac[MAC_BYTES];
    uint8_t state;
    uint8_t nb_asked, nb_pending;
    bool proven; /* false: only a datagram said so, or something contradicts */
    uint64_t used_us;
    uint64_t proven_us; /* last ARP from it */
    uint64_t asked_us;  /* our last request */
    void *pending[NEIGHBOUR_PENDING_MAX];
};

struct neighbours_ports { /* what happens outside */
    void *ctx;
    void (*ask)(void *ctx, struct ip_addr ip);                           /* send an ARP request, or a solicitation */
    void (*send)(void *ctx, void *packet, const uint8_t mac[MAC_BYTES]); /* a waiting packet may go */
    void (*give_up)(void *ctx, void *packet);                            /* a waiting packet may not */
};

struct neighbours {
    struct neighbour *cells;
    struct neighbour *asking[NEIGHBOURS_ASKING_MAX];
    struct neighbours_ports ports;
    uint32_t nb_buckets, nb_asking, nb_known, sweep_at;
    uint32_t asks_left; /* of this second */
    uint64_t asks_second_us;
};

size_t neighbours_bytes(uint32_t max);
/* max: power of two, at least NEIGHBOUR_WAYS; mem: zeroed. */
void neighbours_init(struct neighbours *t, void *mem, uint32_t max, const struct neighbours_ports *ports);
/* The packet's way: sent at once, or when ARP answers (true); false when nothing more may wait: it stays the caller's.
 */
bool neighbours_send(struct neighbours *t, uint64_t now, struct ip_addr ip, void *packet);
/* Packets for ip are to be expected: asks now, so that they need not wait. */
void neighbours_expect(struct neighbours *t, uint64_t now, struct ip_addr ip);
/* ip is at mac, says that source. Sends what waited for it. */
void neighbours_learn(struct neighbours *t, uint64_t now, struct ip_addr ip, const uint8_t mac[MAC_BYTES],
                      enum neighbour_source source);
/* Retries and gives up asking; forgets a bounded number of idle ones. Call each 10 ms or so. */
void neighbours_tick(struct neighbours *t, uint64_t now);
/* Gives up every waiting packet. */
void neighbours_clear(struct neighbours *t);

#endif
