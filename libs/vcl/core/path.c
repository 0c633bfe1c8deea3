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

/* Rank of a candidate, lowest first: not yet tried in this search and free, not yet tried, tried. */
static int rank(const struct candidate *p, uint64_t now, uint64_t search_since)
{
    if (p->tried_at >= search_since)
        return 2;
    return p->penalty_until > now ? 1 : 0;
}

const struct vcl_path *vcl__candidates_next(const struct candidates *c, uint64_t now, uint64_t search_since,
                                            const struct vcl_path *current)
{
    const struct candidate *best = NULL;
    for (uint8_t i = 0; i < c->count; i++) {
        const struct candidate *p = &c->list[i];
        if (vcl__path_equal(&p->path, current))
            continue;
        int better = best == NULL ? 1 : rank(best, now, search_since) - rank(p, now, search_since);
        if (better > 0 || (better == 0 && rank(p, now, search_since) > 0 && p->tried_at < best->tried_at))
            best = p;
    }
    if (best != NULL)
        return &best->path;
    return c->count > 0 ? &c->list[0].path : NULL;
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

void vcl__candidates_clear(struct candidates *c, uint16_t helper_id)
{
    for (uint8_t i = 0; i < c->count; i++)
        if (c->list[i].path.helper_id == helper_id)
            c->list[i].penalty_until = c->list[i].penalty_us = 0;
}

void vcl__spacing_moved(struct move_spacing *s, uint64_t now, uint64_t min_us, uint64_t max_us)
{
    if (s->interval_us == 0 || now - s->last_at >= MOVE_QUIET_US)
        s->interval_us = min_us;
    else
        s->interval_us = s->interval_us * 2 < max_us ? s->interval_us * 2 : max_us;
    s->last_at = now;
    s->next_at = now + s->interval_us;
}
