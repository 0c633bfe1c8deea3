/* SPDX-License-Identifier: Apache-2.0
 *
 * What a frame costs the relay, without a port: `relay_bench [rounds]` prints a line per way, kind of entry and number
 * of flows, in nanoseconds per 64-byte message, batches sealed and opened. Best of five, because machines are shared.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "relay_state.h"

enum {
    PAYLOAD = 64,
    RUNS = 5,
    FLOWS_MAX = 131072,
    TRUNK_BYTES = 1440,
    BUFFERS = 512,
    HUGE_PAGE = 2 << 20,
    PER_BATCH = 13,
    ENTRY_BYTES_MAX = 9 + 92
};

static const uint8_t CID_KEY[16] = "bench cid key";
static struct relay_server SERVER = {
    .server_id = 1, .addr = {.ip = {198, 18, 1, 1}, .port = 9000, .family = 4}, .trunk_key_to_helper = "to helper"};

/* --- sink: a ring of buffers, as a port's mempool is ----------------------------------------------------------------
 */
static uint8_t buffers[BUFFERS][2048] __attribute__((aligned(64)));
static unsigned next_buffer;
static size_t nb_sent;

static uint8_t *bench_alloc(void *ctx, size_t cap)
{
    return buffers[next_buffer++ % BUFFERS];
}

static void bench_send(void *ctx, uint8_t *buf, size_t len, const struct pmw_addr *to, bool to_server)
{
    nb_sent++;
}

static void *zeroed(size_t size)
{
    void *mem = NULL;

    if (posix_memalign(&mem, HUGE_PAGE, size) != 0)
        abort();
    (void)madvise(mem, size, MADV_HUGEPAGE); /* as DPDK's memory is, where the host has them */
    return memset(mem, 0, size);
}

/* --- traffic -------------------------------------------------------------------------------------------------------
 */
struct bench {
    struct relay *relay;
    uint32_t nb_flows;
    uint64_t *cids;
    uint8_t frame[128]; /* of whichever flow; its packet would be in the cache, too (input.c asks for it ahead) */
    size_t frame_len;
    uint64_t batch_seq;
};

static size_t frame_of(uint8_t *buf, bool is_short)
{
    static const uint8_t payload[PAYLOAD] = "payload";
    const struct pmw_frame f = {.type = PMW_DATA,
                                .flags = PMW_F_CHECK | (is_short ? PMW_F_SHORT : 0),
                                .epoch8 = 1,
                                .window = is_short ? PMW_WINDOW_SILENT : 256,
                                .payload_len = PAYLOAD};
    return (size_t)pmw_frame_encode(buf, 128, &f, payload);
}

static size_t begin_batch(struct bench *b, uint8_t *buf, uint16_t nb_entries)
{
    const struct pmw_trunk header = {.nb_entries = nb_entries, .incarnation = 1, .batch_seq = (uint32_t)++b->batch_seq};
    return (size_t)pmw_trunk_encode(buf, TRUNK_BYTES, &header);
}

static void end_batch(struct bench *b, uint8_t *buf, size_t len)
{
    pmw_trunk_seal(buf, len + PMW_TRUNK_TAG_BYTES, SERVER.trunk_key_to_helper, 0);
    if (relay_trunk_datagram(b->relay, 0, &SERVER.addr, buf, len + PMW_TRUNK_TAG_BYTES, false) != 0)
        abort();
}

static struct pmw_addr client_of(uint32_t flow)
{
    return (struct pmw_addr){
        .ip = {198, 18, (uint8_t)(flow >> 8), (uint8_t)flow}, .port = (uint16_t)(1024 + (flow >> 16)), .family = 4};
}

/* Ids look random, so one after the other is as good as any order. */
static void turn_to(struct bench *b, uint32_t flow)
{
    uint64_t cid = __builtin_bswap64(b->cids[flow]);

    memcpy(b->frame + 4, &cid, sizeof(cid));
}

static size_t put_long(struct bench *b, uint8_t *at, uint32_t flow)
{
    const struct pmw_entry entry = {.client = client_of(flow), .frame = b->frame, .frame_len = (uint16_t)b->frame_len};

    turn_to(b, flow);
    return (size_t)pmw_entry_encode(at, TRUNK_BYTES, &entry);
}

static const struct flow *flow_of(const struct bench *b, uint32_t flow)
{
    return flow_table_find(&b->relay->flows, b->cids[flow]);
}

static size_t put_entry(struct bench *b, uint8_t *at, uint32_t flow)
{
    const struct flow *f = flow_of(b, flow); /* a few are not in the table: the cache has two ways */
    struct pmw_short entry;

    if (!f || f->binding != FLOW_BOUND || !pmw_short_of_frame(b->frame, b->frame_len, &entry))
        return put_long(b, at, flow);
    entry.index = f->index;
    entry.generation = f->generation & 15;
    return (size_t)pmw_short_encode(at, TRUNK_BYTES, &entry);
}

static void client_sends(struct bench *b, uint32_t flow)
{
    const struct pmw_addr from = client_of(flow);

    turn_to(b, flow);
    if (relay_client_datagram(b->relay, 0, &from, b->frame, b->frame_len) != 0)
        abort();
}

/* The server answers each client, and takes its BIND: from then on short frames travel in short entries. */
static void bind_all(struct bench *b)
{
    uint8_t buf[2048];

    for (uint32_t i = 0; i < b->nb_flows; i++) {
        client_sends(b, i);
        size_t len = begin_batch(b, buf, 1);
        len += put_long(b, buf + len, i);
        end_batch(b, buf, len);
        client_sends(b, i);
        const struct flow *f = flow_of(b, i);
        if (f->binding != FLOW_ASKED)
            continue;
        const struct pmw_bind_ref ref = {.index = f->index, .generation = f->generation};
        len = begin_batch(b, buf, 1);
        len += (size_t)pmw_bind_ref_encode(buf + len, TRUNK_BYTES, PMW_ENTRY_BIND_ACK, &ref);
        end_batch(b, buf, len);
    }
}

static struct bench bench_new(uint32_t nb_flows, bool is_short)
{
    struct bench b = {.nb_flows = nb_flows};
    struct relay_config config = {
        .helper_id = 3,
        .incarnation = 9,
        .flows_max = FLOWS_MAX,
        .servers_max = 1024,
        .flow_idle_us = 30000000,
        .trunk_bytes_max = TRUNK_BYTES,
        .hold_us_max = 100,
        .batch_entries_max = PMW_TRUNK_ENTRIES_MAX,
        .sink = {.alloc = bench_alloc, .send = bench_send},
        .alloc = zeroed,
        .free = free,
    };

    memcpy(config.cid_key, CID_KEY, sizeof(CID_KEY));
    if (relay_new(&b.relay, &config) != 0 || relay_server_set(b.relay, &SERVER) != 0)
        abort();
    b.cids = zeroed(nb_flows * sizeof(*b.cids));
    b.frame_len = frame_of(b.frame, is_short);
    for (uint32_t i = 0; i < nb_flows; i++) {
        const struct pmw_cid cid = {.server_id = 1, .slot = i, .generation = 1};
        b.cids[i] = pmw_cid_seal(&cid, CID_KEY);
    }
    bind_all(&b);
    return b;
}

static void bench_free(struct bench *b)
{
    relay_free(b->relay);
    free(b->cids);
}

/* --- measuring ------------------------------------------------------------------------------------------------------
 */
static double now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double to_server_ns(struct bench *b, uint32_t nb)
{
    double began = now_ns();

    for (uint32_t i = 0, flow = 0; i < nb; i++, flow = flow + 1 < b->nb_flows ? flow + 1 : 0)
        client_sends(b, flow);
    return (now_ns() - began) / nb;
}

/* Batches are written beforehand; only taking them apart is measured. */
static double to_clients_ns(struct bench *b, uint32_t nb)
{
    uint32_t nb_batches = nb / PER_BATCH, flow = 0;
    uint8_t(*batches)[TRUNK_BYTES] = zeroed(nb_batches * sizeof(*batches));
    size_t *lens = zeroed(nb_batches * sizeof(*lens));
    uint64_t nb_entries = 0;

    for (uint32_t i = 0; i < nb_batches; i++) {
        size_t at = PMW_TRUNK_HEADER_BYTES;
        uint16_t nb_put = 0;
        for (; at + ENTRY_BYTES_MAX + PMW_TRUNK_TAG_BYTES <= TRUNK_BYTES; nb_put++)
            at += put_entry(b, batches[i] + at, flow = flow + 1 < b->nb_flows ? flow + 1 : 0);
        begin_batch(b, batches[i], nb_put);
        nb_entries += nb_put;
        lens[i] = at + PMW_TRUNK_TAG_BYTES;
        pmw_trunk_seal(batches[i], lens[i], SERVER.trunk_key_to_helper, 0);
    }
    double began = now_ns();
    for (uint32_t i = 0; i < nb_batches; i++)
        if (relay_trunk_datagram(b->relay, 0, &SERVER.addr, batches[i], lens[i], false) != 0)
            abort();
    double took_ns = (now_ns() - began) / (double)nb_entries;
    free(batches);
    free(lens);
    return took_ns;
}

static double best(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

int main(int argc, char **argv)
{
    static const uint32_t FLOWS[] = {10, 100000};
    uint32_t nb = argc > 1 ? (uint32_t)atoi(argv[1]) : 400000;

    if (nb < PER_BATCH) {
        fprintf(stderr, "usage: relay_bench [messages of a run]\n");
        return 2;
    }
    for (int is_short = 0; is_short < 2; is_short++) {
        for (size_t n = 0; n < sizeof(FLOWS) / sizeof(FLOWS[0]); n++) {
            struct bench b = bench_new(FLOWS[n], is_short);
            double up = 0, down = 0;
            struct relay_stats before, after;
            relay_stats_get(b.relay, &before);
            for (int run = 0; run < RUNS; run++)
                up = best(up, to_server_ns(&b, nb));
            relay_stats_get(b.relay, &after);
            for (int run = 0; run < RUNS; run++)
                down = best(down, to_clients_ns(&b, nb));
            double bytes = (double)(after.trunk_bytes_out - before.trunk_bytes_out) /
                           (double)(after.trunk_entries_out - before.trunk_entries_out);
            printf("%-5s entries, %6u flows: to server %5.1f ns, to client %5.1f ns, %5.1f trunk bytes a message\n",
                   is_short ? "short" : "long", FLOWS[n], up, down, bytes);
            bench_free(&b);
        }
    }
    return 0;
}
