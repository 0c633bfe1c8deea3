/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames of clients on their way to servers. The common case is a short frame of a bound flow: one look-up, by the
 * connection id, finds server, binding and client; the entry is written into the batch.
 */
#include "relay_state.h"

static bool client_sends(uint8_t type)
{
    return type == PMW_OPEN || type == PMW_RESUME || type == PMW_PROBE || type == PMW_PATH_RESPONSE ||
           type == PMW_RESET || type == PMW_DATA || type == PMW_ACK;
}

/* S8: the helper's own answer, not longer than the probe, so that a forged source address gains nothing. */
static enum relay_drop answer_probe(struct relay *r, const struct pmw_addr *from, const uint8_t *frame, size_t len)
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

/* The id is decrypted (W5): a flow never seen, or whose server's slot has another server now. */
static struct flow *learn(struct relay *r, uint64_t now, uint64_t id, struct flow *known, const struct pmw_addr *from)
{
    struct pmw_cid cid;

    pmw_cid_open(id, r->config.cid_key, &cid);
    const struct server *s = server_table_find(&r->servers, cid.server_id, cid.shard);
    if (!s)
        return NULL;
    struct flow *f = known ? known : flow_table_add(&r->flows, now, id, from);
    f->server_slot = s->slot;
    f->server_use = s->use;
    f->binding = FLOW_LONG;
    f->confirmed = false;
    return f;
}

struct flow *relay_flow_for(struct relay *r, uint64_t now, uint64_t cid, const struct pmw_addr *from,
                            struct server **out)
{
    struct flow *f = flow_table_find(&r->flows, cid);

    if (!f || !relay_flow_holds(r, f)) {
        f = learn(r, now, cid, f, from);
        if (!f)
            return NULL;
    }
    *out = relay_server_of(r, f);
    if (!(*out)->live)
        return NULL;
    flow_client_seen(f, now, from);
    return f;
}

static enum relay_drop pass_on_short(struct relay *r, uint64_t now, struct server *s, const struct flow *f,
                                     struct pmw_short *e, size_t frame_len, bool urgent)
{
    uint32_t bytes_max = (uint32_t)(frame_len - PMW_SHORT_HEADER_BYTES) + PMW_ENTRY_SHORT_BYTES_MAX;
    uint8_t *room = assembler_room(&r->assembler, s, now, bytes_max);

    if (!room)
        return RELAY_DROP_NO_BUFFER;
    e->index = f->index;
    e->generation = f->generation & 0x0f;
    int len = pmw_short_encode(room, bytes_max, e);
    assembler_added(&r->assembler, s, now, (uint32_t)len, urgent);
    r->stats.trunk_short_entries_out++;
    return RELAY_DROP_NONE;
}

enum relay_drop relay_pass_on(struct relay *r, uint64_t now, struct server *s, struct flow *f,
                              const struct pmw_addr *from, const uint8_t *frame, size_t len)
{
    const struct pmw_entry entry = {.client = *from, .frame = frame, .frame_len = (uint16_t)len};
    uint8_t type = frame[0] & 0x1f, flags = frame[1];
    bool urgent = type == PMW_RESET || (flags & PMW_F_URGENT) != 0;
    struct pmw_short e;

    if ((flags & PMW_F_SHORT) == 0 || !f->confirmed || type == PMW_RESET || !flow_is_from(f, from) ||
        !pmw_short_of_frame(frame, len, &e))
        return assembler_push(&r->assembler, s, now, &entry, urgent);
    if (f->binding == FLOW_BOUND)
        return pass_on_short(r, now, s, f, &e, len, urgent);
    binder_ask(r, now, f);
    return assembler_push(&r->assembler, s, now, &entry, urgent);
}

static int connection_frame(struct relay *r, uint64_t now, const struct pmw_route *route, const struct pmw_addr *from,
                            const uint8_t *buf, size_t len)
{
    struct server *s;
    struct flow *f = relay_flow_for(r, now, route->id, from, &s);

    if (!f)
        return relay_drop_count(r, RELAY_DROP_UNKNOWN_SERVER);
    bool needs_credit = route->type == PMW_DATA && (route->flags & PMW_F_RESEND) == 0;
    if (needs_credit && !credit_is_left(&s->credit))
        return turnstile_hold(r, now, s, from, buf, len);
    s->credit.used += needs_credit; /* before: its batch may leave at once, and says so */
    enum relay_drop reason = relay_pass_on(r, now, s, f, from, buf, len);
    if (reason) {
        s->credit.used -= needs_credit;
        return relay_drop_count(r, reason);
    }
    r->stats.trunk_data_entries_out += route->type == PMW_DATA;
    return RELAY_DROP_NONE;
}

/* OPEN, RESUME, PROBE, PATH_RESPONSE: they name their server, and are urgent (T4). */
static int session_frame(struct relay *r, uint64_t now, const struct pmw_route *route, const struct pmw_addr *from,
                         const uint8_t *buf, size_t len)
{
    const struct pmw_entry entry = {.client = *from, .frame = buf, .frame_len = (uint16_t)len};

    if (route->type == PMW_PROBE) {
        enum relay_drop refused = answer_probe(r, from, buf, len);
        if (refused)
            return relay_drop_count(r, refused);
    }
    struct server *s = server_table_find(&r->servers, route->server_id, route->shard);
    enum relay_drop reason = s ? assembler_push(&r->assembler, s, now, &entry, true) : RELAY_DROP_UNKNOWN_SERVER;
    return reason ? relay_drop_count(r, reason) : RELAY_DROP_NONE;
}

int relay_client_datagram(struct relay *r, uint64_t now, const struct pmw_addr *from, const uint8_t *buf, size_t len)
{
    struct pmw_route route;
    int type = pmw_type_of(buf, len);

    if (type < 0)
        return relay_drop_count(r, RELAY_DROP_MALFORMED);
    if (len > PMW_FRAME_BYTES_BASE)
        return relay_drop_count(r, RELAY_DROP_FRAME_LONG);
    if (!client_sends((uint8_t)type))
        return relay_drop_count(r, RELAY_DROP_NOT_FOR_HELPER);
    if (pmw_route_decode(buf, len, &route) < 0)
        return relay_drop_count(r, RELAY_DROP_MALFORMED);
    int reason = route.session_scope ? session_frame(r, now, &route, from, buf, len)
                                     : connection_frame(r, now, &route, from, buf, len);
    r->stats.client_frames_in += reason == RELAY_DROP_NONE;
    r->stats.client_bytes_in += reason == RELAY_DROP_NONE ? len : 0;
    return reason;
}
