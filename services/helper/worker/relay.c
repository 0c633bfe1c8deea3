/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay's life, its servers, what is due, and what it counts. See relay.h; its ways are listed in relay_state.h.
 */
#include "relay.h"

#include <errno.h>

#include "relay_state.h"

/* Buckets looked at by one relay_age: called each 10 ms, 131,072 flows are swept in 2.6 s. */
#define AGE_BUCKETS_PER_CALL 128
#define ALIGN_BYTES          64

/* --- life ------------------------------------------------------------------------------------------------------- */

static bool config_is_valid(const struct relay_config *c)
{
    const uint32_t trunk_bytes_min =
        PMW_TRUNK_HEADER_BYTES + PMW_ENTRY_LONG_V6_BYTES + PMW_FRAME_BYTES_BASE + PMW_TRUNK_TAG_BYTES;

    return c->flows_max >= 2 * FLOW_WAYS && (c->flows_max & (c->flows_max - 1)) == 0 && c->flows_max <= 1u << 24 &&
           c->servers_max >= 1 && c->servers_max <= 65536 && c->trunk_bytes_max >= trunk_bytes_min &&
           c->trunk_bytes_max <= PMW_TRUNK_BYTES_MAX && c->batch_entries_max >= 1 &&
           c->batch_entries_max <= PMW_TRUNK_ENTRIES_MAX && c->alloc && c->free && c->sink.alloc && c->sink.send;
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
}

/* Two numbers that only holders of the cid_key know: the images of two routes that no server has (server id 0). */
static void flow_hash_key(uint64_t out[2], const uint8_t cid_key[16])
{
    out[0] = pmw_cid_seal(&(struct pmw_cid){.slot = 1}, cid_key);
    out[1] = pmw_cid_seal(&(struct pmw_cid){.slot = 2}, cid_key);
}

static uint8_t *take(uint8_t **mem, size_t bytes)
{
    uint8_t *taken = *mem;

    *mem += aligned(bytes);
    return taken;
}

static void forget_binding(void *ctx, uint64_t now, struct flow *f)
{
    binder_end(ctx, now, f);
}

int relay_new(struct relay **out, const struct relay_config *config)
{
    uint64_t hash_key[2];

    if (!config_is_valid(config))
        return -EINVAL;
    const uint32_t flows = config->flows_max, servers = config->servers_max;
    uint8_t *mem = config->alloc(aligned(sizeof(struct relay)) + aligned(flow_table_bytes(flows)) +
                                 aligned(server_table_bytes(servers)) + aligned(bindings_bytes(flows, servers)) +
                                 aligned(assembler_bytes(config)) + aligned(held_bytes(servers)) +
                                 aligned(due_heap_bytes(servers)));
    if (!mem)
        return -ENOMEM;

    struct relay *r = (struct relay *)(void *)take(&mem, sizeof(struct relay));
    r->config = *config;
    flow_hash_key(hash_key, config->cid_key);
    flow_table_init(&r->flows, take(&mem, flow_table_bytes(flows)), flows, config->flow_idle_us, hash_key);
    r->flows.forget = forget_binding;
    r->flows.forget_ctx = r;
    server_table_init(&r->servers, take(&mem, server_table_bytes(servers)), servers);
    bindings_init(&r->bindings, take(&mem, bindings_bytes(flows, servers)), flows, servers);
    assembler_init(&r->assembler, take(&mem, assembler_bytes(config)), config, &r->stats);
    held_init(&r->held, take(&mem, held_bytes(servers)), servers);
    due_heap_init(&r->gaps, take(&mem, due_heap_bytes(servers)), servers);
    *out = r;
    return 0;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    for (uint32_t slot = 0; slot < r->config.servers_max; slot++)
        assembler_discard(&r->assembler, slot);
    r->config.free(r);
}

/* --- orders of the supervisor ------------------------------------------------------------------------------------ */

/* Nothing that was known of the slot's server holds: what it was sent is void, its bindings are. */
static void begin_anew(struct relay *r, struct server *s)
{
    assembler_discard(&r->assembler, s->slot);
    resend_ring_forget(&r->assembler.sent, s->slot);
    due_heap_remove(&r->gaps, s->slot);
    turnstile_clear(r, s);
    bindings_reset(&r->bindings, s->slot);
}

int relay_server_set(struct relay *r, const struct relay_server *is)
{
    bool fresh = false;

    if (is->addr.family != 4 && is->addr.family != 6)
        return -EINVAL;
    struct server *s = server_table_set(&r->servers, is, &fresh);
    if (!s)
        return -ENOSPC;
    if (fresh)
        begin_anew(r, s);
    return 0;
}

int relay_server_remove(struct relay *r, uint16_t server_id)
{
    struct server *s;
    int result = -ENOENT;

    while ((s = server_table_remove(&r->servers, server_id)) != NULL) {
        assembler_discard(&r->assembler, s->slot);
        due_heap_remove(&r->gaps, s->slot);
        s->gaps = (struct gaps){0};
        turnstile_clear(r, s);
        result = 0;
    }
    return result;
}

void relay_set_draining(struct relay *r, bool draining)
{
    r->draining = draining;
}

/* --- time -------------------------------------------------------------------------------------------------------- */

uint64_t relay_flush_due(struct relay *r, uint64_t now)
{
    uint64_t repair_us = repair_due(r, now), turnstile_us = turnstile_due(r, now);
    uint64_t next_us = assembler_flush_due(&r->assembler, r->servers.slots, now);

    next_us = repair_us < next_us ? repair_us : next_us;
    return turnstile_us < next_us ? turnstile_us : next_us;
}

void relay_age(struct relay *r, uint64_t now)
{
    flow_table_age(&r->flows, now, AGE_BUCKETS_PER_CALL);
    bindings_reclaim(&r->bindings, r->aged_slot, now);
    turnstile_ask(r, now, &r->servers.slots[r->aged_slot]);
    r->aged_slot = r->aged_slot + 1 < r->config.servers_max ? r->aged_slot + 1 : 0;
}

/* --- watching ---------------------------------------------------------------------------------------------------- */

void relay_stats_get(const struct relay *r, struct relay_stats *out)
{
    *out = r->stats;
    out->flows_evicted = r->flows.evicted;
    out->nb_flows = r->flows.nb_flows;
    out->nb_servers = r->servers.nb_live;
    out->nb_bindings = r->bindings.nb_live;
    out->nb_held = r->held.nb;
    for (uint32_t slot = 0; slot < r->config.servers_max; slot++) {
        const struct server *s = &r->servers.slots[slot];
        if (s->live && s->acks.rtt_us > out->trunk_rtt_us_max)
            out->trunk_rtt_us_max = s->acks.rtt_us;
    }
}

const char *relay_drop_key(enum relay_drop reason)
{
    static const char *const keys[RELAY_DROP_COUNT] = {
#define RELAY_X(name, key, text) [name] = key,
        RELAY_DROPS(RELAY_X)
#undef RELAY_X
    };
    return reason > RELAY_DROP_NONE && reason < RELAY_DROP_COUNT ? keys[reason] : "none";
}
