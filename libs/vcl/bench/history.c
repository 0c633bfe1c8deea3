/* SPDX-License-Identifier: Apache-2.0
 *
 * See history.h. */
#include "history.h"

#include <stdlib.h>

static bool keep(struct runs *r)
{
    if (r->nb == HISTORY_RUNS_MAX)
        return false;
    if (r->nb == r->room) {
        uint32_t room = r->room == 0 ? 4 : r->room * 2;
        struct run *list = realloc(r->list, room * sizeof(*list));
        if (list == NULL)
            return false;
        r->list = list;
        r->room = room;
    }
    r->list[r->nb++] = r->last;
    return true;
}

void runs_add(struct runs *r, uint64_t number)
{
    if (r->last.count > 0 && number == r->last.first + r->last.count) {
        r->last.count++;
        return;
    }
    if (r->last.count > 0 && !keep(r))
        r->truncated++;
    r->last = (struct run){number, 1};
}

void runs_clear(struct runs *r)
{
    free(r->list);
    *r = (struct runs){.nb = 0};
}

static bool write_record(FILE *out, uint32_t connection, uint32_t fact, uint64_t first, uint64_t count)
{
    struct {
        uint32_t connection, fact;
        uint64_t first, count;
    } record = {connection, fact, first, count};
    _Static_assert(sizeof(record) == 24, "see history.h");
    return fwrite(&record, sizeof(record), 1, out) == 1;
}

bool runs_write(const struct runs *r, FILE *out, uint32_t connection, enum history_fact fact)
{
    bool ok = true;
    for (uint32_t i = 0; i < r->nb; i++)
        ok = write_record(out, connection, fact, r->list[i].first, r->list[i].count) && ok;
    if (r->last.count > 0)
        ok = write_record(out, connection, fact, r->last.first, r->last.count) && ok;
    if (r->corrupted > 0)
        ok = write_record(out, connection, fact | HISTORY_CORRUPTED, 0, r->corrupted) && ok;
    if (r->truncated > 0)
        ok = write_record(out, connection, fact | HISTORY_TRUNCATED, 0, r->truncated) && ok;
    return ok;
}

void reply_log(FILE *out, uint32_t connection, uint64_t sent_us, uint64_t at_us)
{
    uint64_t latency = at_us - sent_us;
    uint32_t record[3] = {connection, latency > UINT32_MAX ? UINT32_MAX : (uint32_t)latency, (uint32_t)at_us};
    if (out != NULL)
        (void)fwrite(record, sizeof(record), 1, out);
}
