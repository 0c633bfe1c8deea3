/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches being filled. See assembler.h.
 */
#include "assembler.h"

#include <assert.h>
#include <string.h>

static size_t batches_bytes(uint32_t servers_max)
{
    return servers_max * sizeof(struct batch) + due_heap_bytes(servers_max);
}

size_t assembler_bytes(const struct relay_config *config)
{
    return batches_bytes(config->servers_max) + resend_ring_bytes(config->trunk_bytes_max);
}

void assembler_init(struct assembler *a, void *mem, const struct relay_config *config, struct relay_stats *stats)
{
    size_t ring = resend_ring_bytes(config->trunk_bytes_max);

    *a = (struct assembler){
        .batches = (struct batch *)(void *)((uint8_t *)mem + ring),
        .limits = {.bytes_max = config->trunk_bytes_max,
                   .entries_max = config->batch_entries_max,
                   .hold_us_max = config->hold_us_max},
        .sink = config->sink,
        .stats = stats,
        .header = {.helper_id = config->helper_id, .worker = config->worker, .incarnation = config->incarnation},
    };
    resend_ring_init(&a->sent, mem, config->trunk_bytes_max);
    due_heap_init(&a->due, a->batches + config->servers_max, config->servers_max);
}

static struct batch_verdict ask_policy(const struct assembler *a, const struct batch *b, uint64_t now)
{
    const struct batch_limits limits = {
        .bytes_max = b->bytes_max, .entries_max = a->limits.entries_max, .hold_us_max = a->limits.hold_us_max};
    const struct batch_facts facts = {
        .bytes = b->len + PMW_TRUNK_TAG_BYTES,
        .nb_entries = b->nb_entries,
        .oldest_age_us = now > b->oldest_us ? now - b->oldest_us : 0,
        .urgent = b->urgent,
    };
    return batch_policy_decide(&limits, &facts);
}

static uint16_t mean_hold_us(const struct batch *b, uint64_t now)
{
    uint64_t oldest_age = now > b->oldest_us ? now - b->oldest_us : 0;
    uint64_t mean = b->nb_entries ? oldest_age - b->arrivals_us / b->nb_entries : 0;
    return mean > UINT16_MAX ? UINT16_MAX : (uint16_t)mean;
}

static void count_flush(struct relay_stats *stats, const struct batch *b, uint32_t len, enum batch_reason reason)
{
    stats->trunk_batches_out++;
    stats->trunk_bytes_out += len;
    stats->trunk_entries_out += b->nb_entries;
    if (reason == BATCH_AGE)
        stats->flush_age++;
    else if (reason == BATCH_URGENT)
        stats->flush_urgent++;
    else
        stats->flush_size++;
}

/* What a batch says beside its entries: how it was held, what has arrived from the other side (T7, T9), and what waits
 * (O1). */
static void write_header(struct assembler *a, struct server *s, uint64_t now, uint8_t *buf, size_t len)
{
    const struct batch *b = &a->batches[s->slot];
    struct pmw_trunk header = a->header;

    header.flags = PMW_TRUNK_CREDIT;
    header.shard = s->is.shard;
    header.nb_entries = b->nb_entries;
    header.batch_seq = (uint32_t)s->tx_batch_seq;
    header.hold_us = mean_hold_us(b, now);
    header.credit = s->credit.used + s->credit.held;
    header.ce_count = s->marked_in;
    if (s->rx.highest != 0) {
        header.flags |= PMW_TRUNK_ACKS;
        header.ack_batch = (uint32_t)s->rx.highest;
        header.ack_bits = pmw_replay_ack_bits(&s->rx);
    }
    pmw_trunk_encode(buf, len, &header);
}

/* A full batch grows to exactly the segment size (zeros are PAD), so that the server's kernel may merge it (T4). */
static void flush(struct assembler *a, struct server *s, uint64_t now, enum batch_reason reason)
{
    struct batch *b = &a->batches[s->slot];
    uint32_t len = b->len + PMW_TRUNK_TAG_BYTES;

    if (reason == BATCH_FULL) {
        memset(b->buf + b->len, 0, b->bytes_max - len);
        len = b->bytes_max;
    }
    s->tx_batch_seq++;
    write_header(a, s, now, b->buf, len);
    pmw_trunk_seal(b->buf, len, s->is.trunk_key_to_server, (uint32_t)(s->tx_batch_seq >> 32));
    acks_sent(&s->acks, now, s->tx_batch_seq, len);
    resend_ring_keep(&a->sent, now, s->slot, s->tx_batch_seq, b->buf, len);

    count_flush(a->stats, b, len, reason);
    due_heap_remove(&a->due, s->slot);
    a->sink.send(a->sink.ctx, b->buf, len, &s->is.addr, true);
    *b = (struct batch){0};
}

/* Behind a black hole (T7) batches are smaller; an entry that is not goes alone. */
static uint32_t segment_bytes(const struct assembler *a, const struct server *s, uint64_t now, uint32_t entry_bytes)
{
    const uint32_t alone = PMW_TRUNK_HEADER_BYTES + entry_bytes + PMW_TRUNK_TAG_BYTES;

    if (now >= s->acks.hole_until_us)
        return a->limits.bytes_max;
    return alone > ACKS_LARGE_BYTES ? alone : ACKS_LARGE_BYTES;
}

static bool begin(struct assembler *a, struct server *s, uint64_t now, uint32_t entry_bytes)
{
    struct batch *b = &a->batches[s->slot];

    *b = (struct batch){
        .buf = a->sink.alloc(a->sink.ctx, a->limits.bytes_max), .len = PMW_TRUNK_HEADER_BYTES, .oldest_us = now};
    if (!b->buf)
        return false;
    b->bytes_max = segment_bytes(a, s, now, entry_bytes);
    due_heap_set(&a->due, s->slot, now + a->limits.hold_us_max);
    return true;
}

uint8_t *assembler_room(struct assembler *a, struct server *s, uint64_t now, uint32_t bytes)
{
    struct batch *b = &a->batches[s->slot];

    if (b->buf && b->len + bytes + PMW_TRUNK_TAG_BYTES > b->bytes_max)
        flush(a, s, now, BATCH_FULL);
    if (!b->buf && !begin(a, s, now, bytes))
        return NULL;
    return b->buf + b->len;
}

void assembler_added(struct assembler *a, struct server *s, uint64_t now, uint32_t bytes, bool urgent)
{
    struct batch *b = &a->batches[s->slot];

    b->len += bytes;
    b->nb_entries++;
    b->arrivals_us += now > b->oldest_us ? now - b->oldest_us : 0;
    b->urgent |= urgent;
    struct batch_verdict verdict = ask_policy(a, b, now);
    if (verdict.reason != BATCH_HOLD)
        flush(a, s, now, verdict.reason);
}

enum relay_drop assembler_push(struct assembler *a, struct server *s, uint64_t now, const struct pmw_entry *entry,
                               bool urgent)
{
    uint32_t head = entry->client.family == 6 ? PMW_ENTRY_LONG_V6_BYTES : PMW_ENTRY_LONG_V4_BYTES;
    uint32_t bytes = head + entry->frame_len;
    uint8_t *room = assembler_room(a, s, now, bytes);

    if (!room)
        return RELAY_DROP_NO_BUFFER;
    int len = pmw_entry_encode(room, bytes, entry);
    assert(len == (int)bytes); /* relay_new demands room for the largest C-frame */
    assembler_added(a, s, now, bytes, urgent);
    return RELAY_DROP_NONE;
}

enum relay_drop assembler_tell(struct assembler *a, struct server *s, uint64_t now)
{
    if (!a->batches[s->slot].buf && !begin(a, s, now, 0))
        return RELAY_DROP_NO_BUFFER;
    flush(a, s, now, BATCH_URGENT);
    return RELAY_DROP_NONE;
}

uint64_t assembler_flush_due(struct assembler *a, struct server *slots, uint64_t now)
{
    uint32_t slot;
    uint64_t due_us;

    while ((due_us = due_heap_first(&a->due, &slot)) <= now && due_us != DUE_NONE)
        flush(a, &slots[slot], now, BATCH_AGE);
    return due_us;
}

void assembler_discard(struct assembler *a, uint32_t slot)
{
    struct batch *b = &a->batches[slot];

    if (b->buf && a->sink.release)
        a->sink.release(a->sink.ctx, b->buf);
    due_heap_remove(&a->due, slot);
    *b = (struct batch){0};
}
