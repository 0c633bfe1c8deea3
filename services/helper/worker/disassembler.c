/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening trunk batches. See disassembler.h.
 */
#include "disassembler.h"

#include <assert.h>

static int walk(const struct pmw_trunk *header, const uint8_t *buf, size_t len, struct pmw_any_entry *entries)
{
    size_t at = PMW_TRUNK_HEADER_BYTES, end = len - PMW_TRUNK_TAG_BYTES;
    struct pmw_any_entry one_more;

    assert(header->nb_entries <= PMW_TRUNK_ENTRIES_MAX); /* pmw_trunk_decode's promise */
    for (int i = 0; i < header->nb_entries; i++)
        if (pmw_entry_next(buf, end, &at, &entries[i]) != 1)
            return -RELAY_DROP_TRUNK_ENTRY;
    return pmw_entry_next(buf, end, &at, &one_more) == 0 ? header->nb_entries : -RELAY_DROP_TRUNK_ENTRY;
}

/* Batches of the process that is known, so with the numbers in rx? */
static bool same_life(const struct server *s, uint32_t incarnation)
{
    return s->rx.highest != 0 && s->rx_incarnation == incarnation;
}

/* Of the last life, or of a later one, and not seen before (T2). */
static bool is_new(const struct server *s, uint32_t incarnation, uint64_t seq)
{
    if (s->rx.highest != 0 && incarnation < s->rx_incarnation)
        return false;
    return same_life(s, incarnation) ? pmw_replay_is_new(&s->rx, seq) : seq != 0;
}

/* Which of the servers at this address sealed the batch? Usually there is one, see server_table.h. */
static struct server *sealed_by(const struct server_table *servers, const struct pmw_addr *from,
                                const struct pmw_trunk *header, const uint8_t *buf, size_t len, uint64_t *seq)
{
    uint32_t cursor = 0;
    struct server *s;

    while ((s = server_table_at(servers, from, &cursor)) != NULL) {
        *seq = pmw_wlsb(same_life(s, header->incarnation) ? s->rx.highest : 0, header->batch_seq, 32);
        if (pmw_trunk_check(buf, len, s->is.trunk_key_to_helper, (uint32_t)(*seq >> 32)))
            return s;
    }
    return NULL;
}

int disassembler_open(struct server_table *servers, const struct pmw_addr *from, const uint8_t *buf, size_t len,
                      struct opened *out)
{
    struct pmw_trunk *header = &out->header;
    uint32_t cursor = 0;

    if (!server_table_at(servers, from, &cursor))
        return -RELAY_DROP_TRUNK_UNKNOWN;
    if (pmw_trunk_decode(buf, len, header) < 0)
        return -RELAY_DROP_MALFORMED;
    struct server *s = sealed_by(servers, from, header, buf, len, &out->seq);
    if (!s)
        return -RELAY_DROP_TRUNK_TAG;
    if (!is_new(s, header->incarnation, out->seq))
        return -RELAY_DROP_TRUNK_REPLAY;
    out->server = s;
    if (!same_life(s, header->incarnation)) {
        s->rx = (struct pmw_replay){0};
        s->rx_incarnation = header->incarnation;
    }
    out->highest_before = s->rx.highest;
    pmw_replay_mark(&s->rx, out->seq);
    return walk(header, buf, len, out->entries);
}
