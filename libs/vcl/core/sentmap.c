/* SPDX-License-Identifier: Apache-2.0
 *
 * See sentmap.h.
 */
#include "sentmap.h"

#include <assert.h>
#include <string.h>

enum { CAP_FIRST = 8 };

static struct sent *frame_at(const struct sentmap *m, uint32_t i)
{
    return &m->frames[(m->head + i) & (m->cap - 1)];
}

void vcl__sentmap_free(struct sentmap *m, const struct mem *mem)
{
    mem_free(mem, m->frames);
    memset(m, 0, sizeof(*m));
}

bool vcl__sentmap_reserve(struct sentmap *m, const struct mem *mem)
{
    if (m->count < m->cap)
        return true;
    if (m->cap >= SENTMAP_FRAMES_MAX)
        return false;
    uint32_t cap = m->cap == 0 ? CAP_FIRST : m->cap * 2;
    struct sent *frames = mem_alloc(mem, cap * sizeof(*frames));
    if (frames == NULL)
        return false;
    for (uint32_t i = 0; i < m->count; i++)
        frames[i] = *frame_at(m, i);
    mem_free(mem, m->frames);
    m->frames = frames;
    m->cap = cap;
    m->head = 0;
    return true;
}

void vcl__sentmap_push(struct sentmap *m, uint64_t now, uint64_t offset, uint32_t len, bool fin)
{
    assert(m->count < m->cap && (len > 0 || fin));
    assert(m->count == 0 || sent_end(frame_at(m, m->count - 1)) == offset);
    *frame_at(m, m->count++) = (struct sent){
        .offset = offset, .len = len, .fin = fin, .sent_at = now, .first_sent_at = now, .order = ++m->next_order};
    m->nb_in_flight++;
}

void vcl__sentmap_sent_again(struct sentmap *m, struct sent *f, uint64_t now)
{
    assert(f->state != SENT_SACKED);
    if (f->state == SENT_LOST) {
        f->state = SENT_IN_FLIGHT;
        m->nb_lost--;
        m->nb_in_flight++;
    }
    f->sent_at = now;
    f->order = ++m->next_order;
    if (f->tx < UINT8_MAX)
        f->tx++;
}

struct sent *vcl__sentmap_oldest(const struct sentmap *m)
{
    return m->count == 0 ? NULL : frame_at(m, 0);
}

struct sent *vcl__sentmap_next_lost(struct sentmap *m)
{
    if (m->nb_lost == 0)
        return NULL;
    while (frame_at(m, m->lost_from)->state != SENT_LOST) {
        m->lost_from++;
        assert(m->lost_from < m->count);
    }
    return frame_at(m, m->lost_from);
}

static void delivered(struct sentmap *m, struct sent *f, struct sentmap_ack *out)
{
    if (f->state == SENT_SACKED)
        return;
    if (f->state == SENT_LOST)
        m->nb_lost--;
    else
        m->nb_in_flight--;
    f->state = SENT_SACKED;
    out->nb_delivered++;
    if (f->order > m->delivered_order)
        m->delivered_order = f->order;
    if (f->sent_at > out->newest_sent_at)
        out->newest_sent_at = f->sent_at;
    out->any_resent |= f->tx > 0;
    if (f->tx == 0 && (!out->rtt_known || f->sent_at > out->rtt_sent_at)) {
        out->rtt_known = true;
        out->rtt_sent_at = f->sent_at;
    }
}

void vcl__sentmap_ack(struct sentmap *m, uint64_t una, struct sentmap_ack *out)
{
    while (m->count > 0 && sent_end(frame_at(m, 0)) <= una) {
        delivered(m, frame_at(m, 0), out);
        m->head = (m->head + 1) & (m->cap - 1);
        m->count--;
        if (m->lost_from > 0)
            m->lost_from--;
    }
    if (m->count > 0 && frame_at(m, 0)->offset < una) { /* the peer kept the first part only */
        struct sent *f = frame_at(m, 0);
        f->len -= (uint32_t)(una - f->offset);
        f->offset = una;
    }
}

/* Position of the first frame whose offset is >= start. */
static uint32_t lower(const struct sentmap *m, uint64_t start)
{
    uint32_t lo = 0, hi = m->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (frame_at(m, mid)->offset < start)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void vcl__sentmap_sack(struct sentmap *m, uint64_t start, uint64_t end, struct sentmap_ack *out)
{
    for (uint32_t i = lower(m, start); i < m->count && sent_end(frame_at(m, i)) <= end; i++)
        delivered(m, frame_at(m, i), out);
}

void vcl__sentmap_mark_lost(struct sentmap *m, struct sent *f)
{
    if (f->state != SENT_IN_FLIGHT)
        return;
    uint32_t i = ((uint32_t)(f - m->frames) - m->head) & (m->cap - 1);
    assert(i < m->count);
    f->state = SENT_LOST;
    m->nb_in_flight--;
    m->nb_lost++;
    if (i < m->lost_from)
        m->lost_from = i;
}

void vcl__sentmap_detect_lost(struct sentmap *m, struct sentmap_ack *out)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct sent *f = frame_at(m, i);
        if (f->state != SENT_IN_FLIGHT || f->order + SENTMAP_LOSS_ORDER > m->delivered_order)
            continue;
        vcl__sentmap_mark_lost(m, f);
        out->nb_lost++;
        if (f->order > out->lost_order)
            out->lost_order = f->order;
    }
}

void vcl__sentmap_mark_all_lost(struct sentmap *m, uint64_t now)
{
    for (uint32_t i = 0; i < m->count; i++) {
        vcl__sentmap_mark_lost(m, frame_at(m, i));
        frame_at(m, i)->first_sent_at = now;
    }
}

void vcl__sentmap_restart(struct sentmap *m, uint64_t now)
{
    for (uint32_t i = 0; i < m->count; i++)
        frame_at(m, i)->sent_at = frame_at(m, i)->first_sent_at = now;
}
