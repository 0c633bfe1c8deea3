/* SPDX-License-Identifier: Apache-2.0
 *
 * See path.h.
 */
#include "path.h"

bool vcl__path_equal(const struct vcl_path *a, const struct vcl_path *b)
{
    return a->helper_id == b->helper_id && pmw_addr_equal(&a->addr, &b->addr);
}

void vcl__candidates_set(struct candidates *c, const struct vcl_path *paths, uint8_t nb_paths)
{
    struct candidates fresh = {.count = nb_paths};
    for (uint8_t i = 0; i < nb_paths; i++) {
        fresh.list[i].path = paths[i];
        for (uint8_t k = 0; k < c->count; k++)
            if (vcl__path_equal(&c->list[k].path, &paths[i]))
                fresh.list[i] = c->list[k];
        fresh.list[i].path.rank = paths[i].helper_id == 0 ? VCL_RANK_DIRECT : paths[i].rank;
    }
    *c = fresh;
}

static struct candidate *find(struct candidates *c, const struct vcl_path *path)
{
    for (uint8_t i = 0; i < c->count; i++)
        if (vcl__path_equal(&c->list[i].path, path))
            return &c->list[i];
    return NULL;
}

/* Whose turn it is in a search, lowest first: not yet tried and free, not yet tried, tried. */
static int turn(const struct candidate *p, uint64_t now, uint64_t search_since)
{
    if (p->tried_at >= search_since)
        return 2;
    return p->penalty_until > now ? 1 : 0;
}

/* True: a has its turn before b, which is listed before it. */
static bool goes_before(const struct candidate *a, const struct candidate *b, uint64_t now, uint64_t search_since)
{
    int turn_a = turn(a, now, search_since), turn_b = turn(b, now, search_since);
    if (turn_a != turn_b)
        return turn_a < turn_b;
    return turn_a == 2 ? a->tried_at < b->tried_at : a->path.rank < b->path.rank;
}

static const struct vcl_path *next_in(const struct candidates *c, uint64_t now, uint64_t search_since,
                                      const struct vcl_path *except)
{
    const struct candidate *best = NULL;
    for (uint8_t i = 0; i < c->count; i++) {
        const struct candidate *p = &c->list[i];
        if (except != NULL && vcl__path_equal(&p->path, except))
            continue;
        if (best == NULL || goes_before(p, best, now, search_since))
            best = p;
    }
    return best != NULL ? &best->path : NULL;
}

const struct vcl_path *vcl__candidates_first(const struct candidates *c, uint64_t now)
{
    return next_in(c, now, VCL_NEVER, NULL);
}

const struct vcl_path *vcl__candidates_next(const struct candidates *c, uint64_t now, uint64_t search_since,
                                            const struct vcl_path *current)
{
    const struct vcl_path *other = next_in(c, now, search_since, current);
    return other == NULL && c->count > 0 ? &c->list[0].path : other;
}

/* A helper that is not listed any more ranks with the worst that is: when placement gave everybody ranks, it is one of
 * the others; when all are equal, it is one of them. */
static uint8_t rank_of(const struct candidates *c, const struct vcl_path *path)
{
    uint8_t worst = 0;
    if (path->helper_id == 0)
        return VCL_RANK_DIRECT;
    for (uint8_t i = 0; i < c->count; i++) {
        const struct vcl_path *p = &c->list[i].path;
        if (vcl__path_equal(p, path))
            return p->rank;
        if (p->helper_id != 0 && p->rank > worst)
            worst = p->rank;
    }
    return worst;
}

const struct vcl_path *vcl__candidates_better(const struct candidates *c, uint64_t now, const struct vcl_path *current,
                                              uint64_t *ripe_at)
{
    const struct candidate *best = NULL;
    uint8_t rank = rank_of(c, current);
    *ripe_at = VCL_NEVER;
    for (uint8_t i = 0; i < c->count; i++) {
        const struct candidate *p = &c->list[i];
        if (p->path.rank >= rank)
            continue;
        if (p->penalty_until > now)
            *ripe_at = p->penalty_until < *ripe_at ? p->penalty_until : *ripe_at;
        else if (best == NULL || p->path.rank < best->path.rank)
            best = p;
    }
    return best != NULL ? &best->path : NULL;
}

const struct vcl_path *vcl__candidates_answering(const struct candidates *c, uint64_t now, uint64_t since,
                                                 const struct vcl_path *except)
{
    const struct candidate *best = NULL;
    for (uint8_t i = 0; i < c->count; i++) {
        const struct candidate *p = &c->list[i];
        if (p->echoed_at == 0 || p->echoed_at < since || (except != NULL && vcl__path_equal(&p->path, except)))
            continue;
        if (best == NULL || goes_before(p, best, now, VCL_NEVER))
            best = p;
    }
    return best != NULL ? &best->path : NULL;
}

struct candidate *vcl__candidates_of_helper(struct candidates *c, uint16_t helper_id)
{
    for (uint8_t i = 0; i < c->count; i++)
        if (c->list[i].path.helper_id == helper_id)
            return &c->list[i];
    return NULL;
}

bool vcl__candidates_is_free(const struct candidates *c, uint64_t now, const struct vcl_path *path)
{
    for (uint8_t i = 0; i < c->count; i++)
        if (vcl__path_equal(&c->list[i].path, path))
            return c->list[i].penalty_until <= now;
    return false;
}

void vcl__candidates_tried(struct candidates *c, uint64_t now, const struct vcl_path *path)
{
    struct candidate *p = find(c, path);
    if (p != NULL)
        p->tried_at = now;
}

void vcl__candidates_fail(struct candidates *c, uint64_t now, const struct vcl_path *path, uint64_t penalty_us)
{
    struct candidate *p = find(c, path);
    if (p == NULL)
        return;
    /* It served for the longest penalty since its last failure: judged afresh. It failed under penalty, when it was
     * only tried for want of another: that is the same failure. */
    if (p->penalty_us == 0 || now > p->penalty_until + PATH_PENALTY_US_MAX)
        p->penalty_us = penalty_us;
    else if (now >= p->penalty_until)
        p->penalty_us = p->penalty_us * 2 < PATH_PENALTY_US_MAX ? p->penalty_us * 2 : PATH_PENALTY_US_MAX;
    p->penalty_until = now + p->penalty_us;
}

void vcl__candidates_silent(struct candidates *c, uint64_t now, const struct vcl_path *path, uint64_t penalty_us)
{
    struct candidate *p = find(c, path);
    vcl__candidates_fail(c, now, path, penalty_us);
    if (p != NULL)
        p->silent_at = now;
}

bool vcl__candidates_late(struct candidates *c, uint64_t now, const struct pmw_addr *addr)
{
    for (uint8_t i = 0; i < c->count; i++) {
        struct candidate *p = &c->list[i];
        if (p->silent_at == 0 || !pmw_addr_equal(&p->path.addr, addr))
            continue;
        bool late = now - p->silent_at <= PATH_LATE_US_MAX;
        uint64_t until = now + p->penalty_us / PATH_LATE_SHARE;
        p->silent_at = 0;
        if (late && until < p->penalty_until)
            p->penalty_until = until;
        return late;
    }
    return false;
}

void vcl__candidates_clear(struct candidates *c, uint64_t now, uint16_t helper_id)
{
    for (uint8_t i = 0; i < c->count; i++)
        if (c->list[i].path.helper_id == helper_id && c->list[i].penalty_until > now)
            c->list[i].penalty_until = now;
}

void vcl__spacing_moved(struct move_spacing *s, uint64_t now, uint64_t min_us, uint64_t max_us)
{
    uint64_t quiet_s = (now - s->last_at) / 1000000;
    uint64_t us = s->interval_us == 0 || quiet_s >= MOVE_QUIET_S ? 0 : 2 * s->interval_us >> quiet_s;
    s->interval_us = us < min_us ? min_us : us < max_us ? us : max_us;
    s->last_at = now;
    s->next_at = now + s->interval_us;
}

void vcl__spacing_planned(struct move_spacing *s, uint64_t now, uint64_t min_us)
{
    s->next_at = now + (s->interval_us > min_us ? s->interval_us : min_us);
}
