/* SPDX-License-Identifier: Apache-2.0
 *
 * The client's path manager against plain rules: which candidate has its turn (S7, S10, S11, S15), and how far apart
 * moves are (S9). Any list, ranks, failures, hints and times.
 */
#include <string.h>

#include "fuzz_input.h"
#include "path.h"
#include "require.h"

enum { STEPS_MAX = 1000, MOVE_MIN_US = 10000, MOVE_MAX_US = 1000000, PENALTY_US = 5000000 };

struct world {
    struct candidates all;
    struct move_spacing spacing;
    uint64_t now, search_since;
    /* by helper id, as the rules have it */
    uint64_t penalty_until[VCL_PATHS_MAX + 1], tried_at[VCL_PATHS_MAX + 1];
};

static struct vcl_path path_of(uint8_t id, uint8_t rank)
{
    return (struct vcl_path){
        .helper_id = id, .rank = rank, .addr = {.ip = {198, 18, 0, id}, .port = 4701, .family = 4}};
}

static const struct candidate *of_id(const struct world *w, uint16_t id)
{
    for (uint8_t i = 0; i < w->all.count; i++)
        if (w->all.list[i].path.helper_id == id)
            return &w->all.list[i];
    return NULL;
}

static bool is_free(const struct world *w, const struct candidate *c)
{
    return w->penalty_until[c->path.helper_id] <= w->now;
}

static void set_list(struct world *w, struct input *in)
{
    struct vcl_path list[VCL_PATHS_MAX];
    uint8_t n = 0, members = take8(in);
    for (uint8_t id = 0; id < 8 && n < VCL_PATHS_MAX; id++) {
        uint8_t at = (uint8_t)(id + members / 16) % 8; /* in another order */
        if (members >> at & 1)
            list[n++] = path_of(at, take8(in) % 4);
    }
    vcl__candidates_set(&w->all, list, n);
    REQUIRE(w->all.count == n);
    for (uint8_t id = 0; id <= VCL_PATHS_MAX; id++)
        if (of_id(w, id) == NULL) /* what is not listed is forgotten */
            w->penalty_until[id] = w->tried_at[id] = 0;
    for (uint8_t i = 0; i < n; i++) {
        REQUIRE(w->all.list[i].path.helper_id == list[i].helper_id);
        REQUIRE(list[i].helper_id != 0 || w->all.list[i].path.rank == VCL_RANK_DIRECT);
    }
}

static void require_first(const struct world *w)
{
    const struct vcl_path *first = vcl__candidates_first(&w->all, w->now);
    REQUIRE((first == NULL) == (w->all.count == 0));
    const struct candidate *f = first != NULL ? of_id(w, first->helper_id) : NULL;
    for (uint8_t i = 0; f != NULL && i < w->all.count; i++) {
        const struct candidate *c = &w->all.list[i];
        REQUIRE(is_free(w, f) || !is_free(w, c)); /* S10: not under penalty while another is not */
        REQUIRE(is_free(w, f) != is_free(w, c) || f->path.rank <= c->path.rank);
        REQUIRE(vcl__candidates_is_free(&w->all, w->now, &c->path) == is_free(w, c));
    }
}

/* S10: in one search nobody has a second turn before each had one. */
static void search_step(struct world *w, struct input *in)
{
    uint8_t pick = take8(in);
    if (w->all.count == 0)
        return;
    struct vcl_path current = w->all.list[pick % w->all.count].path;
    const struct vcl_path *next = vcl__candidates_next(&w->all, w->now, w->search_since, &current);
    REQUIRE(next != NULL);
    const struct candidate *n = of_id(w, next->helper_id);
    REQUIRE(w->all.count == 1 || !vcl__path_equal(next, &current));
    for (uint8_t i = 0; i < w->all.count; i++) {
        const struct candidate *c = &w->all.list[i];
        if (c == n || vcl__path_equal(&c->path, &current))
            continue;
        bool had_n = w->tried_at[n->path.helper_id] >= w->search_since;
        bool had_c = w->tried_at[c->path.helper_id] >= w->search_since;
        REQUIRE(!had_n || had_c);
        REQUIRE(had_n || had_c || is_free(w, n) || !is_free(w, c));
        REQUIRE(!had_n || w->tried_at[n->path.helper_id] <= w->tried_at[c->path.helper_id]);
    }
    struct vcl_path chosen = *next;
    vcl__candidates_tried(&w->all, w->now, &chosen);
    w->tried_at[chosen.helper_id] = w->now;
}

static void require_better(const struct world *w, struct input *in)
{
    uint64_t ripe_at;
    if (w->all.count == 0)
        return;
    const struct vcl_path current = w->all.list[take8(in) % w->all.count].path;
    const struct vcl_path *better = vcl__candidates_better(&w->all, w->now, &current, &ripe_at);
    for (uint8_t i = 0; i < w->all.count; i++) {
        const struct candidate *c = &w->all.list[i];
        bool is_better = c->path.rank < current.rank;
        REQUIRE(better == NULL || better->rank < current.rank);
        if (is_better && is_free(w, c))
            REQUIRE(better != NULL && better->rank <= c->path.rank); /* S15: the best one */
        if (is_better && !is_free(w, c))
            REQUIRE(ripe_at <= w->penalty_until[c->path.helper_id]);
    }
    REQUIRE(better == NULL || is_free(w, of_id(w, better->helper_id)));
}

static void fail_one(struct world *w, struct input *in)
{
    uint8_t id = take8(in) % 9;
    struct vcl_path path = path_of(id, 0);
    uint64_t before = w->penalty_until[id];
    vcl__candidates_fail(&w->all, w->now, &path, PENALTY_US);
    const struct candidate *c = of_id(w, id);
    if (c == NULL)
        return;
    REQUIRE(c->penalty_us >= PENALTY_US && c->penalty_us <= PATH_PENALTY_US_MAX);
    REQUIRE(c->penalty_until == w->now + c->penalty_us && c->penalty_until >= before);
    w->penalty_until[id] = c->penalty_until;
}

static void clear_one(struct world *w, struct input *in)
{
    uint8_t id = take8(in) % 9;
    const struct candidate *c = of_id(w, id);
    uint64_t length = c != NULL ? c->penalty_us : 0;
    vcl__candidates_clear(&w->all, w->now, id);
    if (w->penalty_until[id] > w->now)
        w->penalty_until[id] = w->now;
    REQUIRE(c == NULL || c->penalty_us == length); /* S11: the next one is longer all the same */
}

/* S9: 10 ms, doubling to 1 s, halved for each second of quiet, 10 ms again after five. */
static void move(struct world *w)
{
    struct move_spacing before = w->spacing;
    if (w->now < before.next_at)
        return;
    vcl__spacing_moved(&w->spacing, w->now, MOVE_MIN_US, MOVE_MAX_US);
    uint64_t expected = before.interval_us * 2;
    for (uint64_t at = before.last_at + 1000000; at <= w->now && expected > MOVE_MIN_US; at += 1000000)
        expected /= 2;
    if (expected < MOVE_MIN_US || w->now - before.last_at >= MOVE_QUIET_S * UINT64_C(1000000))
        expected = MOVE_MIN_US;
    REQUIRE(w->spacing.interval_us == (expected < MOVE_MAX_US ? expected : MOVE_MAX_US));
    REQUIRE(w->spacing.next_at == w->now + w->spacing.interval_us && w->spacing.last_at == w->now);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, data + size};
    struct world w = {.now = 1000000, .search_since = 1000000};
    for (unsigned i = 0; i < STEPS_MAX && in.at < in.end; i++) {
        switch (take8(&in) % 9) {
        case 0:
            set_list(&w, &in);
            break;
        case 1:
        case 2:
            search_step(&w, &in);
            break;
        case 3:
            fail_one(&w, &in);
            break;
        case 4:
            clear_one(&w, &in);
            break;
        case 5:
            move(&w);
            break;
        case 6:
            w.now += take16(&in) * 100ull;
            break;
        case 7:
            w.now += take16(&in) * 2000ull;
            break;
        default:
            w.search_since = ++w.now;
        }
        require_first(&w);
        require_better(&w, &in);
    }
    return 0;
}
