/* SPDX-License-Identifier: Apache-2.0
 * The simulated network: see net.h. The way of a datagram: net_send -> fate (cut, loss, queue) -> arrival time ->
 * heap -> net_take. */
#include "net.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void net_init(struct net *net, const struct net_options *options, struct rng rng, struct trace *trace)
{
    memset(net, 0, sizeof *net);
    net->options = *options;
    net->rng = rng;
    net->trace = trace;
    net->plant.silence_host = HOST_NONE;
}

void net_free(struct net *net)
{
    for (size_t i = 0; i < net->nb_in_flight; i++)
        free(net->heap[i]);
    for (int i = 0; i < NET_HISTORY; i++)
        free(net->history[i]);
    while (net->free_list) {
        struct datagram *d = net->free_list;
        net->free_list = d->next;
        free(d);
    }
    free(net->heap);
}

/* --- the heap of arrivals ------------------------------------------------------------------------- */
static bool earlier(const struct datagram *a, const struct datagram *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void heap_push(struct net *net, struct datagram *d)
{
    if (net->nb_in_flight == net->heap_capacity) {
        net->heap_capacity = net->heap_capacity ? 2 * net->heap_capacity : 256;
        net->heap = realloc(net->heap, net->heap_capacity * sizeof *net->heap);
        assert(net->heap);
    }
    size_t i = net->nb_in_flight++;
    for (; i > 0 && earlier(d, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
        net->heap[i] = net->heap[(i - 1) / 2];
    net->heap[i] = d;
}

uint64_t net_next_at(const struct net *net)
{
    return net->nb_in_flight ? net->heap[0]->at_us : UINT64_MAX;
}

struct datagram *net_take(struct net *net)
{
    assert(net->nb_in_flight > 0);
    struct datagram *first = net->heap[0], *last = net->heap[--net->nb_in_flight];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= net->nb_in_flight)
            break;
        if (child + 1 < net->nb_in_flight && earlier(net->heap[child + 1], net->heap[child]))
            child++;
        if (!earlier(net->heap[child], last))
            break;
        net->heap[i] = net->heap[child];
        i = child;
    }
    net->heap[i] = last;
    return first;
}

static struct datagram *datagram_new(struct net *net)
{
    struct datagram *d = net->free_list;
    if (d)
        net->free_list = d->next;
    else
        d = malloc(sizeof *d);
    assert(d);
    d->next = NULL;
    return d;
}

void net_release(struct net *net, struct datagram *d)
{
    d->next = net->free_list;
    net->free_list = d;
}

static struct datagram *datagram_copy(struct net *net, const struct datagram *d)
{
    struct datagram *copy = datagram_new(net);
    memcpy(copy, d, offsetof(struct datagram, bytes) + d->len);
    copy->next = NULL;
    return copy;
}

/* --- one datagram's fate -------------------------------------------------------------------------- */
static bool is_lost(struct net *net, struct link *link, uint64_t now, size_t len)
{
    if (link->burst_left > 0) {
        link->burst_left--;
        return true;
    }
    if (link->gray_until_us > now && len >= link->gray_bytes_min && rng_chance(&net->rng, link->gray_ppm))
        return true;
    if (!rng_chance(&net->rng, net->options.loss_ppm))
        return false;
    if (net->options.loss_burst > 1)
        link->burst_left = (uint32_t)rng_below(&net->rng, 2 * net->options.loss_burst - 1);
    return true;
}

/* FATE_DELIVERED, or why not; reserves the link's time. */
static enum fate link_admit(struct net *net, struct link *link, const struct datagram *d, uint64_t now)
{
    if (link->cut_until_us > now || d->from_host == net->plant.silence_host)
        return FATE_CUT;
    if ((net->options.mtu_bytes != 0 && d->len > net->options.mtu_bytes) ||
        (link->mtu_until_us > now && d->len > link->mtu_bytes)) {
        net->counters.too_long++;
        return FATE_LOST;
    }
    if (is_lost(net, link, now, d->len))
        return FATE_LOST;
    uint32_t rate = net->options.bandwidth_bytes_per_ms;
    if (rate == 0)
        return FATE_DELIVERED;
    uint64_t start = link->busy_until_us > now ? link->busy_until_us : now;
    if ((start - now) * rate / 1000 > net->options.queue_bytes_max)
        return FATE_QUEUE_FULL;
    link->busy_until_us = start + ((uint64_t)d->len * 1000 + rate - 1) / rate;
    return FATE_DELIVERED;
}

static uint64_t arrival_time(struct net *net, struct link *link, uint64_t now)
{
    const struct net_options *o = &net->options;
    uint64_t at = link->busy_until_us > now ? link->busy_until_us : now;
    at += o->delay_us_min;
    if (o->delay_us_mean > o->delay_us_min)
        at += rng_exponential(&net->rng, o->delay_us_mean - o->delay_us_min);
    if (link->slow_until_us > now)
        at += link->slow_us;
    if (link->clog_until_us > at)
        at = link->clog_until_us;
    if (at < link->last_arrival_us)
        at = link->last_arrival_us;
    link->last_arrival_us = at;
    if (o->reorder_us_max > 0 && rng_chance(&net->rng, o->reorder_ppm)) {
        net->counters.reordered++;
        at += rng_between(&net->rng, 1, o->reorder_us_max);
    }
    return at;
}

static void corrupt(struct net *net, struct datagram *d)
{
    uint8_t before[NET_BYTES_MAX];
    uint16_t len = d->len;
    memcpy(before, d->bytes, len);
    net->counters.corrupted++;
    uint64_t kind = rng_below(&net->rng, 8);
    if (kind == 0 && d->len > 1) {
        d->len = (uint16_t)rng_between(&net->rng, 1, d->len - 1u);
    } else if (kind == 1 && d->len < NET_BYTES_MAX) {
        uint16_t added = (uint16_t)rng_between(&net->rng, 1, NET_BYTES_MAX - d->len);
        rng_bytes(&net->rng, d->bytes + d->len, added);
        d->len = (uint16_t)(d->len + added);
    } else {
        /* At most three bits: what CRC32C always finds at these lengths (Castagnoli 1993). */
        for (uint64_t flips = rng_between(&net->rng, 1, 3); flips > 0; flips--) {
            uint64_t at = rng_below(&net->rng, d->len);
            d->bytes[at] ^= (uint8_t)(1u << rng_below(&net->rng, 8));
        }
    }
    if (len > 1) /* URGENT alone is the helper's business: no check covers it (W7) */
        before[1] = (uint8_t)((before[1] & ~PMW_F_URGENT) | (d->bytes[1] & PMW_F_URGENT));
    /* Two faults can give what an engine did send: a helper has swapped the payloads, with their checks, of two
     * neighbours, and the bit in which their numbers differ is altered on the way. */
    d->foreign = !d->damaged && (d->len != len || memcmp(before, d->bytes, len) != 0);
}

/* Planted fault: alters a payload byte of a DATA frame and repairs nothing. */
static void flip_payload(struct net *net, struct datagram *d)
{
    bool from_helper = host_helper_id(d->from_host) != 0;
    if (from_helper && pmw_type_of(d->bytes, d->len) == PMW_DATA && rng_below(&net->rng, 4) == 0)
        d->bytes[d->len - PMW_CHECK_BYTES - 1] ^= 0x40;
}

/* Puts one copy in flight (or drops it) and tells the trace. Takes ownership of d. */
static void dispatch(struct net *net, uint64_t now, struct datagram *d, enum origin origin, uint64_t delay_us)
{
    struct link *link = d->to_host == HOST_NONE ? NULL : &net->links[d->from_host][d->to_host];
    enum fate fate = link ? link_admit(net, link, d, now) : FATE_NOWHERE;
    bool altered = false;
    if (fate == FATE_DELIVERED) {
        d->at_us = arrival_time(net, link, now) + delay_us;
        d->order = net->next_order++;
        altered = rng_chance(&net->rng, net->options.corrupt_ppm);
    }
    trace_datagram(net->trace, now, d->from_host, d->to_host, d->bytes, d->len, origin, fate, altered,
                   fate == FATE_DELIVERED ? d->at_us - now : 0);
    net->counters.lost += fate == FATE_LOST;
    net->counters.cut += fate == FATE_CUT;
    net->counters.queue_full += fate == FATE_QUEUE_FULL;
    if (fate != FATE_DELIVERED) {
        net_release(net, d);
        return;
    }
    if (altered)
        corrupt(net, d);
    d->foreign |= net->plant.foreign;
    if (net->plant.flip_payload)
        flip_payload(net, d);
    heap_push(net, d);
}

/* --- traffic that the network invents --------------------------------------------------------------- */
static void remember(struct net *net, const struct datagram *d)
{
    struct datagram **slot = &net->history[net->nb_history++ % NET_HISTORY];
    if (*slot)
        net_release(net, *slot);
    *slot = datagram_copy(net, d);
}

static void replay(struct net *net, uint64_t now)
{
    uint64_t kept = net->nb_history < NET_HISTORY ? net->nb_history : NET_HISTORY;
    struct datagram *d = datagram_copy(net, net->history[rng_below(&net->rng, kept)]);
    if (rng_below(&net->rng, 2)) { /* from another address */
        d->from_host = (uint8_t)rng_below(&net->rng, HOSTS_MAX);
        d->from = host_addr(d->from_host, d->from.family, (uint16_t)rng_between(&net->rng, 1024, 65535));
    }
    net->counters.replayed++;
    dispatch(net, now, d, ORIGIN_REPLAY, 0);
}

static void send_junk(struct net *net, uint64_t now, const struct datagram *target)
{
    struct datagram *d = datagram_copy(net, target);
    d->len = (uint16_t)rng_log_between(&net->rng, 1, PMW_TRUNK_BYTES_MAX);
    rng_bytes(&net->rng, d->bytes, d->len);
    if (rng_below(&net->rng, 4) != 0)
        d->bytes[0] = PMW_FIRST_BYTE(rng_below(&net->rng, 32));
    d->foreign = true;
    net->counters.junk++;
    dispatch(net, now, d, ORIGIN_JUNK, 0);
}

/* What anybody may write who has seen an id: BUSY and PONG carry no MAC. It goes to who sent the id. */
static void forge(struct net *net, uint64_t now, const struct datagram *seen)
{
    struct pmw_route route;
    if (pmw_route_decode(seen->bytes, seen->len, &route) < 0)
        return;
    struct datagram *d = datagram_copy(net, seen);
    d->from = seen->to;
    d->to = seen->from;
    d->from_host = seen->to_host;
    d->to_host = seen->from_host;
    d->foreign = true;
    int len;
    if (route.session_scope) {
        struct pmw_probe pong = {.session_id = route.id, .nonce = rng_u64(&net->rng), .bytes = PMW_PROBE_BYTES};
        pong.helper_id = (uint16_t)(HELPER_ID_BASE + rng_below(&net->rng, HELPERS_MAX));
        pong.state = rng_chance(&net->rng, PPM / 2);
        pong.incarnation = rng_u32(&net->rng);
        len = pmw_probe_encode(d->bytes, sizeof d->bytes, PMW_PONG, &pong);
    } else {
        struct pmw_busy busy = {.cid = route.id, .seq = rng_u32(&net->rng)};
        struct pmw_frame frame;
        if (rng_chance(&net->rng, PPM / 2) && pmw_frame_decode(seen->bytes, seen->len, &frame) >= 0)
            busy.seq = frame.seq; /* as one on the path could */
        busy.retry_after_us = rng_u32(&net->rng);
        busy.helper_id = (uint16_t)(HELPER_ID_BASE + rng_below(&net->rng, HELPERS_MAX));
        len = pmw_busy_encode(d->bytes, sizeof d->bytes, &busy);
    }
    if (len <= 0 || d->from_host >= HOSTS_MAX) {
        net_release(net, d);
        return;
    }
    d->len = (uint16_t)len;
    net->counters.forged++;
    dispatch(net, now, d, ORIGIN_JUNK, 0);
}

void net_send(struct net *net, uint64_t now, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *buf,
              size_t len, bool damaged)
{
    assert(len > 0 && len <= NET_BYTES_MAX);
    struct datagram *d = datagram_new(net);
    memset(d, 0, offsetof(struct datagram, bytes));
    d->from = *from;
    d->to = *to;
    d->len = (uint16_t)len;
    d->damaged = damaged;
    d->from_host = (uint8_t)host_of_addr(from);
    d->to_host = (uint8_t)host_of_addr(to);
    memcpy(d->bytes, buf, len);
    uint64_t delay_us = 0;
    enum net_order order = net->filter ? net->filter(net->filter_ctx, now, d, &delay_us) : NET_PASS;
    if (order == NET_DROP) {
        trace_datagram(net->trace, now, d->from_host, d->to_host, d->bytes, d->len, ORIGIN_HOST, FATE_LOST, false, 0);
        net_release(net, d);
        return;
    }
    const struct net_options *o = &net->options;
    if (o->replay_ppm > 0)
        remember(net, d);
    if (order == NET_TWICE || rng_chance(&net->rng, o->duplicate_ppm)) {
        net->counters.duplicated++;
        dispatch(net, now, datagram_copy(net, d), ORIGIN_DUPLICATE, 0);
    }
    if (rng_chance(&net->rng, o->junk_ppm))
        send_junk(net, now, d);
    if (rng_chance(&net->rng, o->forge_ppm))
        forge(net, now, d);
    dispatch(net, now, d, ORIGIN_HOST, delay_us);
    if (rng_chance(&net->rng, o->replay_ppm))
        replay(net, now);
}

void net_calm(struct net *net)
{
    struct net_options *o = &net->options;
    o->loss_ppm = o->duplicate_ppm = o->reorder_ppm = o->corrupt_ppm = o->replay_ppm = o->junk_ppm = o->forge_ppm = 0;
    for (int from = 0; from < HOSTS_MAX; from++)
        for (int to = 0; to < HOSTS_MAX; to++) {
            struct link *link = &net->links[from][to];
            link->cut_until_us = link->clog_until_us = link->gray_until_us = link->slow_until_us = link->mtu_until_us =
                0;
            link->burst_left = 0;
        }
}
