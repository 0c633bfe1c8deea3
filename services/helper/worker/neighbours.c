/* SPDX-License-Identifier: Apache-2.0
 *
 * The neighbour table. See neighbours.h.
 */
#include "neighbours.h"

#include <assert.h>
#include <stddef.h>

#define ASK_EVERY_US  UINT64_C(250000)
#define ASKS_MAX      4
#define PROOF_US      UINT64_C(60000000)
#define REPROVE_US    UINT64_C(1000000)
#define IDLE_US       UINT64_C(600000000)
#define SECOND_US     UINT64_C(1000000)
#define SWEEP_BUCKETS 16

size_t neighbours_bytes(uint32_t max)
{
    return max * sizeof(struct neighbour);
}

void neighbours_init(struct neighbours *t, void *mem, uint32_t max, const struct neighbours_ports *ports)
{
    assert(max >= NEIGHBOUR_WAYS && (max & (max - 1)) == 0);
    *t = (struct neighbours){.cells = mem, .ports = *ports, .nb_buckets = max / NEIGHBOUR_WAYS};
}

/* Fibonacci hashing (Knuth 6.4): neighbours' addresses mostly differ in their low bits. */
static struct neighbour *bucket_of(const struct neighbours *t, struct ip_addr ip)
{
    uint64_t hash = (ip.lo ^ ip.hi) * UINT64_C(0x9e3779b97f4a7c15);
    return t->cells + (size_t)((hash >> 32) & (t->nb_buckets - 1)) * NEIGHBOUR_WAYS;
}

static struct neighbour *find(const struct neighbours *t, struct ip_addr ip)
{
    struct neighbour *cells = bucket_of(t, ip);

    for (int way = 0; way < NEIGHBOUR_WAYS; way++)
        if (cells[way].state != NEIGHBOUR_FREE && ip_equal(cells[way].ip, ip))
            return &cells[way];
    return NULL;
}

static void stop_asking(struct neighbours *t, struct neighbour *n)
{
    for (uint32_t i = 0; i < t->nb_asking; i++) {
        if (t->asking[i] == n) {
            t->asking[i] = t->asking[--t->nb_asking];
            return;
        }
    }
}

static void forget(struct neighbours *t, struct neighbour *n)
{
    if (n->state == NEIGHBOUR_ASKING)
        stop_asking(t, n);
    if (n->state == NEIGHBOUR_KNOWN)
        t->nb_known--;
    for (int i = 0; i < n->nb_pending; i++)
        t->ports.give_up(t->ports.ctx, n->pending[i]);
    *n = (struct neighbour){0};
}

/* A free cell of the bucket, made by forgetting the longest unused neighbour if need be. */
static struct neighbour *take_cell(struct neighbours *t, struct ip_addr ip)
{
    struct neighbour *cells = bucket_of(t, ip), *oldest = &cells[0];

    for (int way = 0; way < NEIGHBOUR_WAYS; way++) {
        if (cells[way].state == NEIGHBOUR_FREE)
            return &cells[way];
        if (cells[way].used_us < oldest->used_us)
            oldest = &cells[way];
    }
    forget(t, oldest);
    return oldest;
}

static void ask(struct neighbours *t, struct neighbour *n, uint64_t now)
{
    if (now - t->asks_second_us >= SECOND_US) {
        t->asks_second_us = now;
        t->asks_left = NEIGHBOURS_ASKS_PER_S_MAX;
    }
    n->asked_us = now;
    if (t->asks_left == 0)
        return;
    t->asks_left--;
    t->ports.ask(t->ports.ctx, n->ip);
}

static bool needs_proof(const struct neighbour *n, uint64_t now)
{
    return (!n->proven || now - n->proven_us >= PROOF_US) && now - n->asked_us >= REPROVE_US;
}

/* NULL: too many are being asked for. */
static struct neighbour *begin_asking(struct neighbours *t, uint64_t now, struct ip_addr ip)
{
    if (t->nb_asking == NEIGHBOURS_ASKING_MAX)
        return NULL;
    struct neighbour *n = take_cell(t, ip);
    *n = (struct neighbour){.ip = ip, .state = NEIGHBOUR_ASKING, .nb_asked = 1, .used_us = now};
    t->asking[t->nb_asking++] = n;
    ask(t, n, now);
    return n;
}

void neighbours_expect(struct neighbours *t, uint64_t now, struct ip_addr ip)
{
    if (!find(t, ip))
        begin_asking(t, now, ip);
}

bool neighbours_send(struct neighbours *t, uint64_t now, struct ip_addr ip, void *packet)
{
    struct neighbour *n = find(t, ip);

    if (n && n->state == NEIGHBOUR_KNOWN) {
        n->used_us = now;
        if (needs_proof(n, now))
            ask(t, n, now);
        t->ports.send(t->ports.ctx, packet, n->mac);
        return true;
    }
    if (!n && !(n = begin_asking(t, now, ip)))
        return false;
    n->used_us = now;
    if (n->nb_pending == NEIGHBOUR_PENDING_MAX)
        return false;
    n->pending[n->nb_pending++] = packet;
    return true;
}

static void send_pending(struct neighbours *t, struct neighbour *n)
{
    for (int i = 0; i < n->nb_pending; i++)
        t->ports.send(t->ports.ctx, n->pending[i], n->mac);
    n->nb_pending = 0;
}

static void become_known(struct neighbours *t, struct neighbour *n, const uint8_t mac[MAC_BYTES])
{
    if (n->state == NEIGHBOUR_ASKING)
        stop_asking(t, n);
    if (n->state != NEIGHBOUR_KNOWN)
        t->nb_known++;
    n->state = NEIGHBOUR_KNOWN;
    memcpy(n->mac, mac, MAC_BYTES);
}

void neighbours_learn(struct neighbours *t, uint64_t now, struct ip_addr ip, const uint8_t mac[MAC_BYTES],
                      enum neighbour_source source)
{
    struct neighbour *n = find(t, ip);

    if (n && n->state == NEIGHBOUR_KNOWN && source == NEIGHBOUR_BY_DATAGRAM) {
        n->proven &= memcmp(n->mac, mac, MAC_BYTES) == 0;
        return;
    }
    if (!n && source == NEIGHBOUR_BY_ANNOUNCEMENT)
        return;
    if (!n) {
        n = take_cell(t, ip);
        *n = (struct neighbour){.ip = ip, .used_us = now};
    }
    become_known(t, n, mac);
    if (source != NEIGHBOUR_BY_DATAGRAM) {
        n->proven = true;
        n->proven_us = now;
    }
    send_pending(t, n);
}

static void sweep(struct neighbours *t, uint64_t now)
{
    for (int i = 0; i < SWEEP_BUCKETS; i++) {
        struct neighbour *cells = t->cells + (size_t)t->sweep_at * NEIGHBOUR_WAYS;
        for (int way = 0; way < NEIGHBOUR_WAYS; way++)
            if (cells[way].state == NEIGHBOUR_KNOWN && now - cells[way].used_us >= IDLE_US)
                forget(t, &cells[way]);
        t->sweep_at = (t->sweep_at + 1) & (t->nb_buckets - 1);
    }
}

void neighbours_tick(struct neighbours *t, uint64_t now)
{
    for (uint32_t i = t->nb_asking; i-- > 0;) { /* downwards: forget moves the last one into the gap */
        struct neighbour *n = t->asking[i];
        if (now - n->asked_us < ASK_EVERY_US)
            continue;
        if (n->nb_asked == ASKS_MAX) {
            forget(t, n);
        } else {
            n->nb_asked++;
            ask(t, n, now);
        }
    }
    sweep(t, now);
}

void neighbours_clear(struct neighbours *t)
{
    while (t->nb_asking > 0)
        forget(t, t->asking[t->nb_asking - 1]);
}
