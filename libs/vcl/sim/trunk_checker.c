/* SPDX-License-Identifier: Apache-2.0
 * Credits as the wire shows them: see trunk_checker.h. */
#include "trunk_checker.h"

enum { BATCH_BEING_FILLED = PMW_TRUNK_ENTRIES_MAX }; /* when the first limit comes, one may be, freely */

/* O1: DATA that was not sent before. A short entry is both by definition (W10), unless it is an ACK. */
static bool needs_credit(const struct pmw_any_entry *entry)
{
    struct pmw_frame frame;
    if (entry->kind == PMW_ENTRY_SHORT)
        return !entry->as_short.is_ack;
    if (entry->kind != PMW_ENTRY_LONG_V4 && entry->kind != PMW_ENTRY_LONG_V6)
        return false;
    if (pmw_type_of(entry->as_long.frame, entry->as_long.frame_len) != PMW_DATA ||
        pmw_frame_decode(entry->as_long.frame, entry->as_long.frame_len, &frame) < 0)
        return false;
    return (frame.flags & PMW_F_RESEND) == 0;
}

bool trunk_watch_sent(struct trunk_watch_of_helper *w, const uint8_t *buf, size_t len)
{
    struct pmw_trunk head;
    struct pmw_any_entry entry;
    uint32_t nb = 0;
    if (pmw_trunk_decode(buf, len, &head) < 0 || (int32_t)(head.batch_seq - w->newest_seq) <= 0)
        return true;
    w->newest_seq = head.batch_seq;
    for (size_t at = PMW_TRUNK_HEADER_BYTES; pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &entry) == 1;) {
        w->nb_short += entry.kind == PMW_ENTRY_SHORT;
        nb += needs_credit(&entry);
    }
    w->used += nb;
    w->nb_entries += nb;
    bool freely = !w->told || w->used - w->used_when_told <= BATCH_BEING_FILLED;
    return nb == 0 || freely || (int32_t)(w->limit - w->used) >= 0 || (int32_t)(w->offered - w->used) >= 0;
}

void trunk_watch_offered(struct trunk_watch_of_helper *w, const uint8_t *buf, size_t len)
{
    struct pmw_trunk head;
    w->offered = w->limit;
    if (pmw_trunk_decode(buf, len, &head) >= 0 && (head.flags & PMW_TRUNK_CREDIT) != 0)
        w->offered = head.credit;
}

void trunk_watch_received(struct trunk_watch_of_helper *w, const uint8_t *buf, size_t len)
{
    struct pmw_trunk head;
    if (pmw_trunk_decode(buf, len, &head) < 0 || (head.flags & PMW_TRUNK_CREDIT) == 0)
        return;
    if (!w->told)
        w->used_when_told = w->used;
    if (!w->told || (int32_t)(head.credit - w->limit) > 0)
        w->limit = head.credit;
    w->told = true;
    w->offered = w->limit;
}
