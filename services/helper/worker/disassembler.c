/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening trunk batches. See disassembler.h.
 */
#include "disassembler.h"

#include <assert.h>

static int walk(const struct pmw_trunk *header, const uint8_t *buf, size_t len, struct pmw_entry *entries)
{
    size_t at = PMW_TRUNK_HEADER_BYTES;
    int found, nb_entries = 0;

    assert(header->nb_entries <= PMW_TRUNK_ENTRIES_MAX); /* pmw_trunk_decode's promise */
    do {
        struct pmw_any_entry entry;
        found = pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &entry);
        if (found < 0 || (found > 0 && nb_entries == header->nb_entries))
            return -RELAY_DROP_TRUNK_ENTRY;
        if (found > 0 && entry.kind != PMW_ENTRY_LONG_V4 && entry.kind != PMW_ENTRY_LONG_V6)
            return -RELAY_DROP_TRUNK_ENTRY;
        if (found > 0)
            entries[nb_entries++] = entry.as_long;
    } while (found > 0);
    return nb_entries == header->nb_entries ? nb_entries : -RELAY_DROP_TRUNK_ENTRY;
}

/* Which of the servers at this address sealed the batch? Usually there is one, see server_table.h. */
static struct server *sealed_by(const struct server_table *servers, const struct pmw_addr *from,
                                const struct pmw_trunk *header, const uint8_t *buf, size_t len, uint64_t *seq)
{
    uint32_t cursor = 0;
    struct server *s;

    while ((s = server_table_at(servers, from, &cursor)) != NULL) {
        *seq = replay_decode(&s->rx, header->incarnation, header->batch_seq);
        if (pmw_trunk_check(buf, len, s->is.trunk_key_to_helper, (uint32_t)(*seq >> 32)))
            return s;
    }
    return NULL;
}

int disassembler_open(struct server_table *servers, const struct pmw_addr *from, const uint8_t *buf, size_t len,
                      struct pmw_entry *entries)
{
    struct pmw_trunk header;
    uint32_t cursor = 0;
    uint64_t seq;

    if (!server_table_at(servers, from, &cursor))
        return -RELAY_DROP_TRUNK_UNKNOWN;
    if (pmw_trunk_decode(buf, len, &header) < 0)
        return -RELAY_DROP_MALFORMED;
    struct server *s = sealed_by(servers, from, &header, buf, len, &seq);
    if (!s)
        return -RELAY_DROP_TRUNK_TAG;
    if (!replay_is_new(&s->rx, header.incarnation, seq))
        return -RELAY_DROP_TRUNK_REPLAY;
    replay_mark(&s->rx, header.incarnation, seq);
    return walk(&header, buf, len, entries);
}
