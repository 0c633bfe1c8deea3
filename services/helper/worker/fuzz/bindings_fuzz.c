/* SPDX-License-Identifier: Apache-2.0
 *
 * The helper's table of bindings against a plain array (T6): an index names one flow at a time, comes back after 2 s at
 * the earliest, and then with the next generation; servers do not touch each other's.
 */
#include "bindings.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz_input.h"
#include "require.h"

enum { SERVERS = 3, FLOWS_MAX = 300, INDEXES = 1024, STEPS_MAX = 4000 };

struct model {
    struct {
        bool live, was_given;
        uint32_t cell;
        uint64_t forgotten_at;
        uint8_t generation;
    } of[SERVERS][INDEXES];
    uint32_t nb_live;
};

static void take(struct bindings *b, struct model *m, uint32_t slot, uint64_t now, uint32_t cell)
{
    if (m->nb_live == FLOWS_MAX) /* the relay binds flows of its table, which has no more */
        return;
    uint32_t index = bindings_take(b, slot, now, cell);
    if (index == BINDING_NONE) {
        REQUIRE(b->spaces[slot].nb_given == b->pages_per_slot * BINDINGS_PER_PAGE || b->nb_free_pages == 0);
        return;
    }
    REQUIRE(index < INDEXES && !m->of[slot][index].live);
    const struct binding *found = bindings_find(b, slot, index);
    REQUIRE(found != NULL && found->cell == cell && found->state == BINDING_ASKED);
    if (m->of[slot][index].was_given) {
        REQUIRE(now - m->of[slot][index].forgotten_at >= BINDING_QUARANTINE_US);
        REQUIRE(found->generation == (uint8_t)(m->of[slot][index].generation + 1));
    }
    m->of[slot][index].live = m->of[slot][index].was_given = true;
    m->of[slot][index].cell = cell;
    m->of[slot][index].generation = found->generation;
    m->nb_live++;
}

static void forget(struct bindings *b, struct model *m, uint32_t slot, uint64_t now, uint32_t from)
{
    for (uint32_t i = 0; i < INDEXES; i++) { /* the next live one */
        uint32_t index = (from + i) % INDEXES;
        if (!m->of[slot][index].live)
            continue;
        bindings_forget(b, slot, now, index);
        m->of[slot][index].live = false;
        m->of[slot][index].forgotten_at = now;
        m->nb_live--;
        return;
    }
}

static void reset(struct bindings *b, struct model *m, uint32_t slot)
{
    bindings_reset(b, slot);
    for (uint32_t i = 0; i < INDEXES; i++)
        m->nb_live -= m->of[slot][i].live;
    memset(m->of[slot], 0, sizeof(m->of[slot]));
}

/* Pages that go back forget what their indexes were called before; by then nobody else remembers either. */
static void reclaim(struct bindings *b, struct model *m, uint32_t slot, uint64_t now)
{
    uint32_t before = b->spaces[slot].nb_given;
    bindings_reclaim(b, slot, now);
    if (b->spaces[slot].nb_given == before)
        return;
    for (uint32_t i = 0; i < INDEXES; i++) {
        REQUIRE(!m->of[slot][i].live);
        REQUIRE(!m->of[slot][i].was_given || now - m->of[slot][i].forgotten_at >= BINDING_QUARANTINE_US);
    }
    memset(m->of[slot], 0, sizeof(m->of[slot]));
}

static void require_same(const struct bindings *b, const struct model *m, uint32_t slot)
{
    uint32_t nb_live = 0;
    for (uint32_t i = 0; i < INDEXES; i++) {
        const struct binding *found = bindings_find(b, slot, i);
        REQUIRE((found != NULL) == m->of[slot][i].live);
        REQUIRE(found == NULL ||
                (found->cell == m->of[slot][i].cell && found->generation == m->of[slot][i].generation));
        nb_live += found != NULL;
    }
    REQUIRE(b->spaces[slot].nb_live == nb_live && b->nb_live == m->nb_live);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct model m;
    struct input in = {data, data + size};
    struct bindings b;
    void *mem = calloc(1, bindings_bytes(FLOWS_MAX, SERVERS));
    uint64_t now = 1000000;
    REQUIRE(mem != NULL);
    memset(&m, 0, sizeof(m));
    bindings_init(&b, mem, FLOWS_MAX, SERVERS);
    for (unsigned i = 0; i < STEPS_MAX && in.at < in.end; i++) {
        uint8_t what = take8(&in), slot = take8(&in) % SERVERS;
        if (what < 0x90) {
            for (unsigned n = 0; n <= what % 16u; n++)
                take(&b, &m, slot, now, i * 16 + n);
        } else if (what < 0xd0) {
            for (unsigned n = 0; n <= what % 16u; n++)
                forget(&b, &m, slot, now, take16(&in));
        } else if (what < 0xe0) {
            now += take16(&in) * 64ull; /* up to 4.2 s */
        } else if (what < 0xf8) {
            reclaim(&b, &m, slot, now);
        } else {
            reset(&b, &m, slot);
        }
        require_same(&b, &m, slot);
    }
    free(mem);
    return 0;
}
