/* SPDX-License-Identifier: Apache-2.0
 *
 * The relay: joins route, flow table, servers, assembler and disassembler. See relay.h.
 *
 *   client port -> route (W9) -> server -> assembler -> batch to the server
 *   trunk port  -> disassembler -> C-frames to the clients named by the entries
 */
#include "relay.h"

#include <errno.h>
#include <string.h>

#include "assembler.h"
#include "disassembler.h"
#include "flow_table.h"
#include "server_table.h"

/* Buckets looked at by one relay_age: called each 10 ms, 131,072 flows are swept in 2.6 s. */
#define AGE_BUCKETS_PER_CALL 128
#define ALIGN_BYTES          64

struct relay {
    struct relay_config config;
    struct relay_stats stats;
    struct flow_table flows;
    struct server_table servers;
    struct assembler assembler;
    bool draining;
};

static int drop(struct relay *r, enum relay_drop reason)
{
    r->stats.drops[reason]++;
    return (int)reason;
}

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

int relay_new(struct relay **out, const struct relay_config *config)
{
    uint64_t hash_key[2];

    if (!config_is_valid(config))
        return -EINVAL;
    size_t flows = aligned(sizeof(struct relay)), servers = flows + aligned(flow_table_bytes(config->flows_max));
    size_t batches = servers + aligned(server_table_bytes(config->servers_max));
    uint8_t *mem = config->alloc(batches + assembler_bytes(config->servers_max));
    if (!mem)
        return -ENOMEM;

    struct relay *r = (struct relay *)(void *)mem;
    r->config = *config;
    flow_hash_key(hash_key, config->cid_key);
    flow_table_init(&r->flows, mem + flows, config->flows_max, config->flow_idle_us, hash_key);
    server_table_init(&r->servers, mem + servers, config->servers_max);
    assembler_init(&r->assembler, mem + batches, config, &r->stats);
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

int relay_server_set(struct relay *r, const struct relay_server *s)
{
    if (s->addr.family != 4 && s->addr.family != 6)
        return -EINVAL;
    return server_table_set(&r->servers, s) ? 0 : -ENOSPC;
}

int relay_server_remove(struct relay *r, uint16_t server_id)
{
    struct server *s;
    int result = -ENOENT;

    while ((s = server_table_remove(&r->servers, server_id)) != NULL) {
        assembler_discard(&r->assembler, s->slot);
        result = 0;
    }
    return result;
}

void relay_set_draining(struct relay *r, bool draining)
{
    r->draining = draining;
}

/* --- clients -> servers ------------------------------------------------------------------------------------------ */

static bool client_sends(uint8_t type)
{
    return type == PMW_DATA || type == PMW_ACK || type == PMW_OPEN || type == PMW_RESUME || type == PMW_PROBE ||
           type == PMW_RESET;
}

static bool is_urgent(const struct pmw_route *route)
{
    if (route->type == PMW_DATA || route->type == PMW_ACK)
        return route->flags & PMW_F_URGENT;
    return true; /* OPEN, RESUME, PROBE, RESET (T4) */
}

/* S8: the helper's own answer, of the probe's size, so that a forged source address gains nothing. */
static int answer_probe(struct relay *r, const struct pmw_addr *from, const uint8_t *frame, size_t len)
{
    struct pmw_probe probe;

    if (pmw_probe_decode(frame, len, &probe) < 0)
        return RELAY_DROP_MALFORMED;
    uint8_t *buf = r->config.sink.alloc(r->config.sink.ctx, PMW_PONG_BYTES);
    if (!buf)
        return RELAY_DROP_NO_BUFFER;
    probe.helper_id = r->config.helper_id;
    probe.incarnation = r->config.incarnation;
    probe.state = r->draining ? 1 : 0;
    int pong_len = pmw_probe_encode(buf, PMW_PONG_BYTES, PMW_PONG, &probe);
    r->config.sink.send(r->config.sink.ctx, buf, (size_t)pong_len, from, false);
    r->stats.pongs++;
    return RELAY_DROP_NONE;
}

/* Session frames name their server. A connection's is in its id: remembered, or decrypted (W5). */
static struct server *server_for(struct relay *r, uint64_t now, const struct pmw_route *route,
                                 const struct pmw_addr *from)
{
    if (route->session_scope)
        return server_table_find(&r->servers, route->server_id, route->shard);

    struct flow *f = flow_table_find(&r->flows, route->id);
    if (f) {
        flow_client_seen(f, now, from);
        return server_table_find(&r->servers, f->server_id, f->shard);
    }
    struct pmw_cid cid;
    pmw_cid_open(route->id, r->config.cid_key, &cid);
    struct server *s = server_table_find(&r->servers, cid.server_id, cid.shard);
    if (s)
        flow_table_add(&r->flows, now, route->id, cid.server_id, cid.shard, from);
    return s;
}

int relay_client_datagram(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len)
{
    struct pmw_route route;
    int type = pmw_type_of(buf, len);

    if (type < 0 || len > PMW_FRAME_BYTES_BASE)
        return drop(r, RELAY_DROP_MALFORMED);
    if (!client_sends((uint8_t)type))
        return drop(r, RELAY_DROP_NOT_FOR_HELPER);
    if (pmw_route_decode(buf, len, &route) < 0)
        return drop(r, RELAY_DROP_MALFORMED);
    if (type == PMW_PROBE) {
        int refused = answer_probe(r, from, buf, len);
        if (refused)
            return drop(r, refused);
    }
    struct server *s = server_for(r, now, &route, from);
    if (!s)
        return drop(r, RELAY_DROP_UNKNOWN_SERVER);

    const struct pmw_entry entry = {.client = *from, .frame = buf, .frame_len = (uint16_t)len};
    enum relay_drop reason = assembler_push(&r->assembler, s, now, &entry, is_urgent(&route));
    if (reason)
        return drop(r, reason);
    r->stats.client_frames_in++;
    r->stats.client_bytes_in += len;
    r->stats.trunk_data_entries_out += type == PMW_DATA;
    return RELAY_DROP_NONE;
}

uint64_t relay_flush_due(struct relay *r, uint64_t now)
{
    return assembler_flush_due(&r->assembler, r->servers.slots, now);
}

/* --- servers -> clients ------------------------------------------------------------------------------------------ */

/* What the server says about a connection's client confirms the flow: an id made up by somebody gets no answer. */
static void confirm_flow(struct relay *r, uint64_t now, const struct pmw_entry *entry)
{
    struct pmw_route route;

    if (pmw_route_decode(entry->frame, entry->frame_len, &route) < 0 || route.session_scope)
        return;
    struct flow *f = flow_table_find(&r->flows, route.id);
    if (f)
        flow_server_seen(f, now, &entry->client);
}

static int send_to_client(struct relay *r, const struct pmw_entry *entry)
{
    uint8_t *buf = r->config.sink.alloc(r->config.sink.ctx, entry->frame_len);

    if (!buf)
        return drop(r, RELAY_DROP_NO_BUFFER);
    memcpy(buf, entry->frame, entry->frame_len);
    r->config.sink.send(r->config.sink.ctx, buf, entry->frame_len, &entry->client, false);
    r->stats.client_frames_out++;
    r->stats.client_bytes_out += entry->frame_len;
    return RELAY_DROP_NONE;
}

int relay_trunk_datagram(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len)
{
    struct pmw_entry entries[PMW_TRUNK_ENTRIES_MAX];
    int nb_entries = disassembler_open(&r->servers, from, buf, len, entries);
    int result = RELAY_DROP_NONE;

    if (nb_entries < 0)
        return drop(r, (enum relay_drop) - nb_entries);
    r->stats.trunk_batches_in++;
    r->stats.trunk_bytes_in += len;
    r->stats.trunk_entries_in += (uint64_t)nb_entries;
    for (int i = 0; i < nb_entries; i++) {
        confirm_flow(r, now, &entries[i]);
        int reason = send_to_client(r, &entries[i]);
        result = result ? result : reason;
    }
    return result;
}

/* --- watching ---------------------------------------------------------------------------------------------------- */

void relay_age(struct relay *r, uint64_t now)
{
    flow_table_age(&r->flows, now, AGE_BUCKETS_PER_CALL);
}

void relay_stats_get(const struct relay *r, struct relay_stats *out)
{
    *out = r->stats;
    out->flows_evicted = r->flows.evicted;
    out->nb_flows = r->flows.nb_flows;
    out->nb_servers = r->servers.nb_live;
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
