/* SPDX-License-Identifier: Apache-2.0
 *
 * See sentmap.h.
 */
#include "sentmap.h"

#include <assert.h>
#include <string.h>

enum { CAP_FIRST = 4 };

static struct sent *frame_at(const struct sentmap *m, uint32_t i)
{
    return &m->frames[(m->head + i) & (m->cap - 1)];
}

struct sent *vcl__sentmap_at(const struct sentmap *m, uint32_t i)
{
    assert(i < m->count);
    return frame_at(m, i);
}

void vcl__sentmap_free(struct sentmap *m, const struct mem *mem)
{
    mem_free(mem, m->frames);
    memset(m, 0, sizeof(*m));
}

static bool grow(struct sentmap *m, const struct mem *mem, uint32_t cap_max)
{
    if (m->count < m->cap)
        return true;
    if (m->cap >= cap_max)
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

bool vcl__sentmap_reserve(struct sentmap *m, const struct mem *mem)
{
    return m->count < SENTMAP_FRAMES_MAX && grow(m, mem, SENTMAP_FRAMES_MAX);
}

void vcl__sentmap_push(struct sentmap *m, uint64_t now, uint64_t offset, uint32_t len, bool fin)
{
    assert(m->count < m->cap && (len > 0 || fin) && len <= UINT16_MAX);
    assert(m->count == 0 || sent_end(frame_at(m, m->count - 1)) == offset);
    struct sent *f = frame_at(m, m->count++);
    *f = (struct sent){.offset = offset,
                       .len = (uint16_t)len,
                       .fin = fin,
                       .sent_at = now,
                       .first_sent_at = now,
                       .order = (uint32_t)++m->next_order};
    m->bytes_in_flight += sent_bytes(f);
}

struct sent *vcl__sentmap_cut(struct sentmap *m, const struct mem *mem, struct sent *f, uint32_t len)
{
    assert(f->state != SENT_SACKED && len > 0 && len < f->len);
    uint32_t i = ((uint32_t)(f - m->frames) - m->head) & (m->cap - 1);
    if (!grow(m, mem, SENTMAP_PIECES_MAX))
        return NULL;
    for (uint32_t k = m->count++; k > i + 1; k--)
        *frame_at(m, k) = *frame_at(m, k - 1);
    struct sent *first = frame_at(m, i), *rest = frame_at(m, i + 1);
    *rest = *first;
    rest->offset += len;
    rest->len = (uint16_t)(rest->len - len);
    first->len = (uint16_t)len;
    first->fin = 0;
    if (first->state == SENT_LOST)
        m->nb_lost++;
    return first;
}

void vcl__sentmap_sent_again(struct sentmap *m, struct sent *f, uint64_t now)
{
    assert(f->state != SENT_SACKED);
    if (f->state == SENT_LOST) {
        f->state = SENT_IN_FLIGHT;
        m->nb_lost--;
        m->bytes_in_flight += sent_bytes(f);
    }
    f->sent_at = now;
    f->order = (uint32_t)++m->next_order;
    f->exempt = 0;
    if (f->refused) {
        f->refused = 0;
        f->first_sent_at = now;
        return;
    }
    m->resent_order = m->next_order;
    if (f->tx < SENT_TX_MAX)
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

/* What the acknowledgement says of time: which transmission it answers (tx_echo), when that was sent. */
static void learn(const struct sentmap *m, const struct sent *f, struct sentmap_ack *out)
{
    uint64_t order = sentmap_order(m, f);
    if (f->tx > 0) {
        out->repeated = true;
        if (!f->moved && f->first_sent_at > out->first_sent_at)
            out->first_sent_at = f->first_sent_at;
    }
    bool went_before_a_move = f->moved && f->tx == 0; /* sent_at is then the move's, or that of another path */
    if (f->tx == out->tx_echo && order > out->rtt_order && !went_before_a_move) {
        out->rtt_known = true;
        out->rtt_order = order;
        out->rtt_sent_at = f->sent_at;
    }
    /* A repetition that cannot have been answered yet: it was an earlier transmission that arrived (RFC 8985 6.2). */
    if (f->tx > 0 && (f->tx != out->tx_echo || out->now - f->sent_at < out->min_rtt_us))
        return;
    if (order > out->newest_order) {
        out->newest_order = order;
        out->newest_sent_at = f->sent_at;
    }
}

static void delivered(struct sentmap *m, struct sent *f, struct sentmap_ack *out)
{
    if (f->state == SENT_SACKED)
        return;
    if (f->state == SENT_LOST)
        m->nb_lost--;
    else
        m->bytes_in_flight -= sent_bytes(f);
    f->state = SENT_SACKED;
    m->nb_sacked++;
    out->nb_delivered++;
    out->bytes_delivered += f->len;
    learn(m, f, out);
}

void vcl__sentmap_ack(struct sentmap *m, uint64_t una, struct sentmap_ack *out)
{
    while (m->count > 0 && sent_end(frame_at(m, 0)) <= una) {
        delivered(m, frame_at(m, 0), out);
        m->head = (m->head + 1) & (m->cap - 1);
        m->count--;
        m->nb_sacked--;
        if (m->lost_from > 0)
            m->lost_from--;
    }
    if (m->count > 0 && frame_at(m, 0)->offset < una) { /* the peer kept the first part only */
        struct sent *f = frame_at(m, 0);
        uint32_t before = sent_bytes(f);
        f->len = (uint16_t)(f->len - (una - f->offset));
        f->offset = una;
        if (f->state == SENT_IN_FLIGHT)
            m->bytes_in_flight -= before - sent_bytes(f);
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

struct sent *vcl__sentmap_in_flight_at(const struct sentmap *m, uint64_t offset)
{
    uint32_t i = lower(m, offset);
    return i < m->count && frame_at(m, i)->offset == offset && frame_at(m, i)->state == SENT_IN_FLIGHT ? frame_at(m, i)
                                                                                                       : NULL;
}

void vcl__sentmap_refuse(struct sentmap *m, struct sent *f)
{
    vcl__sentmap_mark_lost(m, f);
    f->refused = f->exempt = 1;
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
    m->bytes_in_flight -= sent_bytes(f);
    m->nb_lost++;
    if (i < m->lost_from)
        m->lost_from = i;
}

void vcl__sentmap_mark_all_lost(struct sentmap *m, uint64_t now)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct sent *f = frame_at(m, i);
        vcl__sentmap_mark_lost(m, f);
        f->first_sent_at = now;
        f->moved = f->exempt = 1;
    }
}

void vcl__sentmap_restart(struct sentmap *m, uint64_t now)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct sent *f = frame_at(m, i);
        f->sent_at = f->first_sent_at = now;
        f->moved = 1;
    }
}
