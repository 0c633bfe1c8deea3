/* SPDX-License-Identifier: Apache-2.0
 *
 * Lost batches (T8): missing ones are asked for, and those that the server misses are sent again, as they were. One
 * batch has messages of many flows; without this each of their clients would find its own loss, by timeout, all at
 * once.
 */
#include <string.h>

#include "relay_state.h"

void repair_note(struct relay *r, uint64_t now, struct server *s, uint64_t highest_before, uint64_t seq)
{
    if (gaps_note(&s->gaps, now, highest_before, seq, gaps_wait_us(s->acks.rtt_us)))
        due_heap_set(&r->gaps, s->slot, s->gaps.due_us);
}

static void ask(struct relay *r, uint64_t now, struct server *s, const struct pmw_nack *range)
{
    enum { NACK_BYTES = 7 };
    uint8_t *room = assembler_room(&r->assembler, s, now, NACK_BYTES);

    if (!room)
        return;
    int len = pmw_nack_encode(room, NACK_BYTES, range);
    assembler_added(&r->assembler, s, now, (uint32_t)len, true);
    r->stats.trunk_batches_missed += range->count;
}

uint64_t repair_due(struct relay *r, uint64_t now)
{
    struct pmw_nack ranges[GAPS_RANGES_MAX];
    uint32_t slot;
    uint64_t due_us;

    while ((due_us = due_heap_first(&r->gaps, &slot)) <= now && due_us != DUE_NONE) {
        struct server *s = &r->servers.slots[slot];
        int nb = gaps_due(&s->gaps, now, &s->rx, gaps_wait_us(s->acks.rtt_us), ranges);
        for (int i = 0; i < nb; i++)
            ask(r, now, s, &ranges[i]);
        if (s->gaps.due_us == GAPS_NONE)
            due_heap_remove(&r->gaps, slot);
        else
            due_heap_set(&r->gaps, slot, s->gaps.due_us);
    }
    return due_us;
}

int repair_resend(struct relay *r, uint64_t now, struct server *s, const struct pmw_nack *asked)
{
    uint64_t first = pmw_wlsb(s->tx_batch_seq, asked->first, 32);
    uint32_t cursor = 0, len;
    const uint8_t *bytes;
    int result = RELAY_DROP_NONE;

    while ((bytes = resend_ring_take(&r->assembler.sent, now, s->slot, first, asked->count, &cursor, &len)) != NULL) {
        uint8_t *buf = r->config.sink.alloc(r->config.sink.ctx, len);
        if (!buf) {
            result = relay_drop_count(r, RELAY_DROP_NO_BUFFER);
            continue;
        }
        memcpy(buf, bytes, len);
        r->config.sink.send(r->config.sink.ctx, buf, len, &s->is.addr, true);
        r->stats.trunk_batches_resent++;
    }
    return result;
}
