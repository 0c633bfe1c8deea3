/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches of servers: each message becomes a C-frame to its client, and what the server says of the trunk is taken to
 * heart. All of it was authenticated by the batch's tag.
 */
#include <string.h>

#include "disassembler.h"
#include "relay_state.h"

/* What the server says about a connection's client confirms the flow: an id made up by somebody gets no answer. A
 * client that is elsewhere now (RESUME) loses its binding, which names the old place. */
static void confirm_flow(struct relay *r, uint64_t now, const struct server *s, const struct pmw_entry *entry)
{
    struct pmw_route route;

    if (pmw_route_decode(entry->frame, entry->frame_len, &route) < 0 || route.session_scope)
        return;
    struct flow *f = flow_table_find(&r->flows, route.id);
    if (!f || f->server_slot != s->slot || !relay_flow_holds(r, f))
        return;
    if (f->binding != FLOW_LONG && !flow_is_from(f, &entry->client))
        binder_end(r, now, f);
    flow_server_seen(f, now, &entry->client);
}

static void send_to_client(struct relay *r, uint8_t *buf, size_t len, const struct pmw_addr *to)
{
    r->config.sink.send(r->config.sink.ctx, buf, len, to, false);
    r->stats.client_frames_out++;
    r->stats.client_bytes_out += len;
}

static int take_long(struct relay *r, uint64_t now, const struct server *s, const struct pmw_entry *entry)
{
    confirm_flow(r, now, s, entry);
    uint8_t *buf = r->config.sink.alloc(r->config.sink.ctx, entry->frame_len);
    if (!buf)
        return relay_drop_count(r, RELAY_DROP_NO_BUFFER);
    memcpy(buf, entry->frame, entry->frame_len);
    send_to_client(r, buf, entry->frame_len, &entry->client);
    return RELAY_DROP_NONE;
}

static int take_short(struct relay *r, uint64_t now, struct server *s, const struct pmw_short *e)
{
    struct flow *f = binder_resolve(r, now, s, e);
    size_t cap = PMW_SHORT_HEADER_BYTES + (size_t)e->payload_len + PMW_SEAL_BYTES;
    struct pmw_addr to;

    if (!f)
        return relay_drop_count(r, RELAY_DROP_BINDING_UNKNOWN);
    uint8_t *buf = r->config.sink.alloc(r->config.sink.ctx, cap);
    if (!buf)
        return relay_drop_count(r, RELAY_DROP_NO_BUFFER);
    int len = pmw_short_to_frame(buf, cap, e, r->flows.ids[flow_table_cell(&r->flows, f)]);
    f->seen_tick = flow_tick(now);
    flow_client(f, &to);
    send_to_client(r, buf, (size_t)len, &to);
    r->stats.trunk_short_entries_in++;
    return RELAY_DROP_NONE;
}

static int take_entry(struct relay *r, uint64_t now, struct server *s, const struct pmw_any_entry *entry)
{
    switch (entry->kind) {
    case PMW_ENTRY_SHORT:
        return take_short(r, now, s, &entry->as_short);
    case PMW_ENTRY_LONG_V4:
    case PMW_ENTRY_LONG_V6:
        return take_long(r, now, s, &entry->as_long);
    case PMW_ENTRY_BIND_ACK:
        binder_take_ack(r, s, &entry->ref);
        return RELAY_DROP_NONE;
    case PMW_ENTRY_BIND_ERR:
        binder_take_end(r, now, s, &entry->ref, true);
        return RELAY_DROP_NONE;
    case PMW_ENTRY_UNBIND:
        binder_take_end(r, now, s, &entry->ref, false);
        return RELAY_DROP_NONE;
    case PMW_ENTRY_NACK:
        return repair_resend(r, now, s, &entry->nack);
    default: /* BIND: no server binds */
        return relay_drop_count(r, RELAY_DROP_TRUNK_ENTRY);
    }
}

/* The server's word on the trunk: what arrived there and what is missing here (T7, T8), marks (T9), credit (O1). */
static int take_header(struct relay *r, uint64_t now, const struct opened *in)
{
    struct server *s = in->server;
    uint64_t lost = s->acks.nb_lost, holes = s->acks.nb_holes;

    repair_note(r, now, s, in->highest_before, in->seq);
    if (in->header.flags & PMW_TRUNK_ACKS)
        acks_take(&s->acks, now, in->header.ack_batch, in->header.ack_bits);
    r->stats.trunk_batches_lost += s->acks.nb_lost - lost;
    r->stats.trunk_black_holes += s->acks.nb_holes - holes;
    uint16_t marked = (uint16_t)(in->header.ce_count - s->marked_out);
    if (in->seq > in->highest_before) { /* a late one knows an older count; one that fell began anew */
        r->stats.trunk_marked_out += marked <= INT16_MAX ? marked : 0;
        s->marked_out = in->header.ce_count;
    }
    return in->header.flags & PMW_TRUNK_CREDIT ? turnstile_take_credit(r, now, s, in->header.credit) : RELAY_DROP_NONE;
}

int relay_trunk_datagram(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len,
                         bool marked)
{
    struct opened in;
    int nb_entries = disassembler_open(&r->servers, from, buf, len, &in);

    if (nb_entries < 0)
        return relay_drop_count(r, (enum relay_drop) - nb_entries);
    r->stats.trunk_batches_in++;
    r->stats.trunk_bytes_in += len;
    r->stats.trunk_entries_in += (uint64_t)nb_entries;
    r->stats.trunk_marked_in += marked;
    in.server->marked_in += marked;
    int result = take_header(r, now, &in);
    for (int i = 0; i < nb_entries; i++) {
        int reason = take_entry(r, now, in.server, &in.entries[i]);
        result = result ? result : reason;
    }
    return result;
}
