/* SPDX-License-Identifier: Apache-2.0
 * The relay on a simulated host: see helper_host.h. */
#include "helper_host.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SERVERS_MAX = 4 };

static void *relay_alloc(size_t size)
{
    return calloc(1, size);
}

static uint8_t *sink_alloc(void *ctx, size_t cap)
{
    struct helper_host *helper = ctx;
    return rng_chance(&helper->rng, helper->options.no_buffer_ppm) ? NULL : malloc(cap);
}

/* --- damage: the endpoints' checks must find it, whatever seals the helper puts on it afterwards -------------------
 */
static void flip_bit(struct helper_host *helper, uint8_t *payload, uint16_t len)
{
    payload[rng_below(&helper->rng, len)] ^= (uint8_t)(1u << rng_below(&helper->rng, 8));
    helper->nb_damaged++;
}

static void swap_payload(struct helper_host *helper, uint8_t *payload, uint16_t len)
{
    struct helper_damage *damage = &helper->damage;
    if (damage->kept_bytes == len) {
        uint8_t other[NET_BYTES_MAX];
        memcpy(other, damage->kept, len);
        memcpy(damage->kept, payload, len);
        memcpy(payload, other, len);
        helper->nb_damaged++;
    } else {
        memcpy(damage->kept, payload, len);
        damage->kept_bytes = len;
    }
}

/* Alters a C-frame on its way through the helper; false: it is lost. */
static bool pass_frame(struct helper_host *helper, uint64_t now, uint8_t *frame, size_t len)
{
    struct helper_damage *damage = &helper->damage;
    struct pmw_route route;
    struct pmw_frame f;
    if (damage->bad_flow_until_us <= now && damage->flip_until_us <= now && damage->swap_until_us <= now)
        return true;
    int type = pmw_type_of(frame, len);
    if (type != PMW_DATA && type != PMW_ACK)
        return true;
    if (damage->bad_flow_until_us > now && pmw_route_decode(frame, len, &route) >= 0) {
        damage->bad_id = damage->bad_id ? damage->bad_id : route.id;
        if (damage->bad_id == route.id) {
            helper->nb_damaged++;
            return false;
        }
    }
    if (pmw_frame_decode(frame, len, &f) < 0 || f.payload_len == 0)
        return true;
    uint8_t *payload = frame + (f.payload - frame);
    if (damage->flip_until_us > now && rng_chance(&helper->rng, PPM / 8))
        flip_bit(helper, payload, f.payload_len);
    if (damage->swap_until_us > now) /* with the check or tag behind it: only what that was made for tells them apart */
        swap_payload(helper, payload, (uint16_t)(frame + len - payload));
    return true;
}

void helper_host_repair(struct helper_host *helper)
{
    helper->damage.bad_flow_until_us = helper->damage.flip_until_us = helper->damage.swap_until_us = 0;
}

static void sink_send(void *ctx, uint8_t *buf, size_t len, const struct pmw_addr *to, bool to_server)
{
    struct helper_host *helper = ctx;
    struct world *world = helper->world;
    uint16_t port = to_server ? PORT_HELPER_TRUNK : PORT_HELPER_CLIENTS;
    struct pmw_addr from = host_addr(helper->host->number, to->family == 6 ? 6 : 4, port);
    uint64_t nb_damaged = helper->nb_damaged;
    if (len == 0 || len > NET_BYTES_MAX)
        verdict_fail(&world->verdict, world->now_us, RULE_CONTRACT, "relay %s sends %zu bytes",
                     host_name(helper->host->number), len);
    else if (to_server && !trunk_watch_sent(&helper->watch, buf, len))
        verdict_fail(&world->verdict, world->now_us, RULE_I10, "relay %s has sent %u DATA entries, its limit is %u",
                     host_name(helper->host->number), helper->watch.used, helper->watch.limit);
    else if (to_server || pass_frame(helper, world->now_us, buf, len))
        net_send(&world->net, world->now_us, &from, to, buf, len, helper->nb_damaged != nb_damaged);
    free(buf);
}

static void sink_release(void *ctx, uint8_t *buf)
{
    free(buf);
}

static void helper_receive(struct host *h, uint64_t now, const struct datagram *d)
{
    struct helper_host *helper = h->self;
    int reason = 0;
    /* The datagram is the world's, which gives it back to the network unread. */
    if (d->to.port == PORT_HELPER_CLIENTS && pass_frame(helper, now, (uint8_t *)d->bytes, d->len))
        reason = relay_client_datagram(helper->relay, now, &d->from, d->bytes, d->len);
    if (d->to.port == PORT_HELPER_TRUNK)
        trunk_watch_offered(&helper->watch, d->bytes, d->len);
    if (d->to.port == PORT_HELPER_TRUNK)
        reason = relay_trunk_datagram(helper->relay, now, &d->from, d->bytes, d->len, false);
    if (d->to.port == PORT_HELPER_TRUNK && reason != RELAY_DROP_MALFORMED && reason != RELAY_DROP_TRUNK_UNKNOWN &&
        reason != RELAY_DROP_TRUNK_TAG && reason != RELAY_DROP_TRUNK_REPLAY)
        trunk_watch_received(&helper->watch, d->bytes, d->len);
    if (reason != 0)
        trace_drop(&helper->world->trace, now, d->from_host, d->to_host, relay_drop_key((enum relay_drop)reason));
}

static void server_learn(struct helper_host *helper)
{
    struct pmw_trunk_keys keys;
    pmw_trunk_keys_derive(&keys, helper->server.trunk_secret, host_helper_id(helper->host->number),
                          helper->incarnation);
    struct relay_server server = {.server_id = helper->server.server_id,
                                  .shard = helper->server.shard,
                                  .addr = host_addr(HOST_SERVER, helper->options.trunk_family, PORT_SERVER)};
    helper->nb_credited += helper->watch.nb_entries;
    helper->watch = (struct trunk_watch_of_helper){.newest_seq = 0};
    memcpy(server.trunk_key_to_server, keys.to_server, sizeof server.trunk_key_to_server);
    memcpy(server.trunk_key_to_helper, keys.to_helper, sizeof server.trunk_key_to_helper);
    int rc = relay_server_set(helper->relay, &server);
    assert(rc == 0);
    helper->server_at_us = NEVER;
}

static uint64_t helper_run(struct host *h, uint64_t now, uint64_t lag_us)
{
    struct helper_host *helper = h->self;
    if (now >= helper->server_at_us)
        server_learn(helper);
    if (now >= helper->age_at_us) {
        relay_age(helper->relay, now);
        helper->age_at_us = now + helper->age_interval_us;
    }
    uint64_t due = relay_flush_due(helper->relay, now);
    if (due != UINT64_MAX && due <= now)
        verdict_fail(&helper->world->verdict, now, RULE_CONTRACT, "relay %s: a due batch was not flushed",
                     host_name(h->number));
    due = due < helper->server_at_us ? due : helper->server_at_us;
    return due < helper->age_at_us ? due : helper->age_at_us;
}

static const struct host_ops helper_ops = {.receive = helper_receive, .run = helper_run};

static void relay_start(struct helper_host *helper, uint64_t server_delay_us)
{
    struct relay_config config = {
        .helper_id = host_helper_id(helper->host->number),
        .incarnation = helper->incarnation,
        .flows_max = helper->options.flows_max,
        .servers_max = SERVERS_MAX,
        .flow_idle_us = helper->options.flow_idle_us,
        .trunk_bytes_max = helper->options.trunk_bytes_max,
        .hold_us_max = helper->options.hold_us_max,
        .batch_entries_max = helper->options.batch_entries_max,
        .sink = {.ctx = helper, .alloc = sink_alloc, .send = sink_send, .release = sink_release},
        .alloc = relay_alloc,
        .free = free,
    };
    memcpy(config.cid_key, helper->server.cid_key, sizeof config.cid_key);
    int rc = relay_new(&helper->relay, &config);
    assert(rc == 0);
    helper->age_at_us = helper->world->now_us;
    helper->server_at_us = helper->world->now_us + server_delay_us;
    if (server_delay_us == 0)
        server_learn(helper);
}

void helper_host_set_server(struct helper_host *helper, const struct helper_server *server, uint64_t delay_us)
{
    uint16_t forgotten = helper->server.server_id;
    helper->server = *server;
    if (!helper->relay)
        return;
    if (helper->server_at_us == NEVER && relay_server_remove(helper->relay, forgotten) != 0)
        verdict_fail(&helper->world->verdict, helper->world->now_us, RULE_CONTRACT, "relay %s does not know its server",
                     host_name(helper->host->number));
    helper->server_at_us = helper->world->now_us + delay_us;
    world_host_poke(helper->world, helper->host);
}

void helper_host_init(struct helper_host *helper, struct world *world, unsigned host_number,
                      const struct helper_options *options, const struct helper_server *server, struct rng rng)
{
    *helper = (struct helper_host){.world = world, .options = *options, .server = *server, .rng = rng};
    helper->host = world_host_add(world, host_number, &helper_ops, helper);
    helper->host->poll_us_max = options->poll_us_max;
    helper->incarnation = (uint32_t)rng_between(&helper->rng, 1, 1000);
    helper->restart_at_us = NEVER;
    helper->age_interval_us = HELPER_AGE_INTERVAL_US;
    relay_start(helper, 0);
}

static void stats_add(struct relay_stats *sum, const struct relay_stats *more)
{
#define RELAY_X(name) sum->name += more->name;
    RELAY_COUNTERS(RELAY_X)
#undef RELAY_X
    for (int i = 0; i < RELAY_DROP_COUNT; i++)
        sum->drops[i] += more->drops[i];
}

static void relay_stop(struct helper_host *helper)
{
    if (!helper->relay)
        return;
    struct relay_stats stats;
    relay_stats_get(helper->relay, &stats);
    stats_add(&helper->past, &stats);
    relay_free(helper->relay);
    helper->relay = NULL;
}

void helper_host_crash(struct helper_host *helper)
{
    if (!helper->relay)
        return;
    trace_note(&helper->world->trace, helper->world->now_us, helper->host->number, "fault", "crash");
    relay_stop(helper);
    helper->host->down = true;
    helper->host->paused_until_us = 0;
    world_host_clear(helper->world, helper->host);
    helper->nb_crashes++;
}

void helper_host_restart(struct helper_host *helper, uint64_t server_delay_us)
{
    helper->restart_at_us = NEVER;
    if (helper->relay)
        return;
    helper->incarnation++;
    helper->nb_restarts++;
    helper->draining = false;
    trace_note(&helper->world->trace, helper->world->now_us, helper->host->number, "fault", "restart, incarnation %u",
               helper->incarnation);
    relay_start(helper, server_delay_us);
    helper->host->down = false;
    world_host_poke(helper->world, helper->host);
}

void helper_host_set_draining(struct helper_host *helper, bool draining)
{
    helper->draining = draining;
    if (helper->relay)
        relay_set_draining(helper->relay, draining);
}

void helper_host_stats(const struct helper_host *helper, struct relay_stats *out)
{
    *out = helper->past;
    if (!helper->relay)
        return;
    struct relay_stats now;
    relay_stats_get(helper->relay, &now);
    stats_add(out, &now);
}

void helper_host_free(struct helper_host *helper)
{
    relay_stop(helper);
}
