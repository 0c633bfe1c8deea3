/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches being filled. See assembler.h.
 */
#include "assembler.h"

#include <assert.h>
#include <string.h>

size_t assembler_bytes(uint32_t servers_max)
{
    return servers_max * sizeof(struct batch) + due_heap_bytes(servers_max);
}

void assembler_init(struct assembler *a, void *mem, const struct relay_config *config, struct relay_stats *stats)
{
    *a = (struct assembler){
        .batches = mem,
        .limits = {.bytes_max = config->trunk_bytes_max,
                   .entries_max = config->batch_entries_max,
                   .hold_us_max = config->hold_us_max},
        .sink = config->sink,
        .stats = stats,
        .header = {.helper_id = config->helper_id, .worker = config->worker, .incarnation = config->incarnation},
    };
    due_heap_init(&a->due, a->batches + config->servers_max, config->servers_max);
}

static struct batch_verdict ask_policy(const struct assembler *a, const struct batch *b, uint64_t now,
                                       uint32_t next_bytes)
{
    const struct batch_facts facts = {
        .bytes = b->len + PMW_TRUNK_TAG_BYTES,
        .nb_entries = b->nb_entries,
        .oldest_age_us = now > b->oldest_us ? now - b->oldest_us : 0,
        .next_bytes = next_bytes,
        .urgent = b->urgent,
    };
    return batch_policy_decide(&a->limits, &facts);
}

static uint16_t mean_hold_us(const struct batch *b, uint64_t now)
{
    uint64_t oldest_age = now > b->oldest_us ? now - b->oldest_us : 0;
    uint64_t mean = oldest_age - b->arrivals_us / b->nb_entries;
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

/* A full batch grows to exactly the segment size (zeros are PAD), so that the server's kernel may merge it (T4). */
static void flush(struct assembler *a, struct server *s, uint64_t now, enum batch_reason reason)
{
    struct batch *b = &a->batches[s->slot];
    uint32_t len = b->len + PMW_TRUNK_TAG_BYTES;
    struct pmw_trunk header = a->header;

    if (reason == BATCH_FULL) {
        memset(b->buf + b->len, 0, a->limits.bytes_max - len);
        len = a->limits.bytes_max;
    }
    s->tx_batch_seq++;
    header.shard = s->is.shard;
    header.nb_entries = b->nb_entries;
    header.batch_seq = (uint32_t)s->tx_batch_seq;
    header.hold_us = mean_hold_us(b, now);
    pmw_trunk_encode(b->buf, len, &header);
    pmw_trunk_seal(b->buf, len, s->is.trunk_key_to_server, (uint32_t)(s->tx_batch_seq >> 32));

    count_flush(a->stats, b, len, reason);
    due_heap_remove(&a->due, s->slot);
    a->sink.send(a->sink.ctx, b->buf, len, &s->is.addr, true);
    *b = (struct batch){0};
}

static bool begin(struct assembler *a, struct batch *b, uint64_t now)
{
    uint8_t *buf = a->sink.alloc(a->sink.ctx, a->limits.bytes_max);

    *b = (struct batch){.buf = buf, .len = PMW_TRUNK_HEADER_BYTES, .oldest_us = now};
    return buf != NULL;
}

static void append(struct assembler *a, struct batch *b, uint64_t now, const struct pmw_entry *entry, bool urgent)
{
    int len = pmw_entry_encode(b->buf + b->len, a->limits.bytes_max - PMW_TRUNK_TAG_BYTES - b->len, entry);

    assert(len > 0); /* relay_new demands room for the largest C-frame */
    b->len += (uint32_t)len;
    b->nb_entries++;
    b->arrivals_us += now > b->oldest_us ? now - b->oldest_us : 0;
    b->urgent |= urgent;
}

/* Flush the server's batch if the policy says so; true when no batch is left. */
static bool flush_if_told(struct assembler *a, struct server *s, uint64_t now, uint32_t next_bytes)
{
    struct batch *b = &a->batches[s->slot];
    struct batch_verdict verdict = ask_policy(a, b, now, next_bytes);

    if (verdict.reason != BATCH_HOLD) {
        flush(a, s, now, verdict.reason);
        return true;
    }
    if (next_bytes == 0)
        due_heap_set(&a->due, s->slot, now + verdict.wait_us);
    return false;
}

enum relay_drop assembler_push(struct assembler *a, struct server *s, uint64_t now, const struct pmw_entry *entry,
                               bool urgent)
{
    struct batch *b = &a->batches[s->slot];
    uint32_t overhead = entry->client.family == 6 ? PMW_ENTRY_LONG_V6_BYTES : PMW_ENTRY_LONG_V4_BYTES;
    bool empty = b->buf == NULL || flush_if_told(a, s, now, overhead + entry->frame_len);

    if (empty && !begin(a, b, now))
        return RELAY_DROP_NO_BUFFER;
    append(a, b, now, entry, urgent);
    flush_if_told(a, s, now, 0);
    return RELAY_DROP_NONE;
}

uint64_t assembler_flush_due(struct assembler *a, struct server *slots, uint64_t now)
{
    uint32_t slot;
    uint64_t due_us;

    while ((due_us = due_heap_first(&a->due, &slot)) <= now && due_us != DUE_NONE)
        flush_if_told(a, &slots[slot], now, 0);
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
