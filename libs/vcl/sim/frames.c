/* SPDX-License-Identifier: Apache-2.0
 * The frames of a datagram at the server: see frames.h. */
#include "frames.h"

#include "simulation.h"

/* --- bindings (T6): what short entries mean ------------------------------------------------------------------- */
static struct binding_seen *binding_slot(struct checkers *k, uint16_t helper_id, uint32_t index, uint8_t generation)
{
    return &k->bindings[((helper_id % 4u * 1024u + index) * 16u + (generation & 15u)) % BINDINGS_MAX];
}

void frames_bind(struct checkers *k, const struct pmw_trunk *trunk, const uint8_t *buf, size_t len)
{
    struct pmw_any_entry entry;
    for (size_t at = PMW_TRUNK_HEADER_BYTES; pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &entry) == 1;) {
        if (entry.kind != PMW_ENTRY_BIND)
            continue;
        const struct pmw_bind *b = &entry.bind;
        *binding_slot(k, trunk->helper_id, b->index, b->generation) =
            (struct binding_seen){.helper_id = trunk->helper_id,
                                  .index = b->index,
                                  .incarnation = trunk->incarnation,
                                  .generation = (uint8_t)(b->generation & 15),
                                  .cid = b->cid,
                                  .client = b->client};
    }
}

/* false: nobody can know which frame it is. */
static bool short_entry(struct simulation *sim, const struct pmw_trunk *trunk, const struct pmw_short *e,
                        frame_visitor *visit)
{
    uint8_t frame[PMW_FRAME_BYTES_BASE];
    const struct binding_seen *b = binding_slot(&sim->checkers, trunk->helper_id, e->index, e->generation);
    if (b->helper_id != trunk->helper_id || b->index != e->index || b->generation != e->generation ||
        b->incarnation != checkers_helper_incarnation(&sim->checkers, trunk->helper_id))
        return false;
    int len = pmw_short_to_frame(frame, sizeof frame, e, b->cid);
    if (len <= 0)
        return false;
    sim->checkers.short_entries_checked++;
    visit(sim, frame, (size_t)len, trunk->helper_id, &b->client);
    return true;
}

uint32_t frames_each(struct simulation *sim, const uint8_t *buf, size_t len, uint16_t path, const struct pmw_addr *addr,
                     frame_visitor *visit)
{
    struct pmw_trunk trunk;
    struct pmw_any_entry entry;
    uint32_t nb_unknown = 0;
    if (pmw_type_of(buf, len) != PMW_TRUNK) {
        visit(sim, buf, len, path, addr);
        return 0;
    }
    if (pmw_trunk_decode(buf, len, &trunk) < 0)
        return 0;
    size_t at = PMW_TRUNK_HEADER_BYTES;
    while (pmw_entry_next(buf, len - PMW_TRUNK_TAG_BYTES, &at, &entry) == 1) {
        if (entry.kind == PMW_ENTRY_SHORT)
            nb_unknown += !short_entry(sim, &trunk, &entry.as_short, visit);
        else if (entry.kind == PMW_ENTRY_LONG_V4 || entry.kind == PMW_ENTRY_LONG_V6)
            visit(sim, entry.as_long.frame, entry.as_long.frame_len, trunk.helper_id, &entry.as_long.client);
    }
    return nb_unknown;
}
