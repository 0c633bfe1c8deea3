/* SPDX-License-Identifier: Apache-2.0
 * The stage's network, its broken helpers and processes that die: see stage.h. */
#include "stage_parts.h"

#include <stdlib.h>
#include <string.h>

static bool fits(struct rule_of *r, const struct datagram *d)
{
    if (r->over || r->left == 0 || (r->from != HOST_NONE && r->from != d->from_host) ||
        (r->to != HOST_NONE && r->to != d->to_host))
        return false;
    if (r->type != TYPE_ANY && !stage_holds_frame(d, r->type))
        return false;
    if (r->fits && !r->fits(r, d))
        return false;
    if (r->skip > 0) {
        r->skip--;
        return false;
    }
    return true;
}

static struct rule_of *first_that_fits(struct stage *s, const struct datagram *d)
{
    for (uint32_t i = 0; i < s->nb_rules; i++)
        if (fits(&s->rules[i], d))
            return &s->rules[i];
    return NULL;
}

/* Shaped for net.h: what happens to a datagram before the network sees it. */
static enum net_order look(void *ctx, uint64_t now, struct datagram *d, uint64_t *delay_us)
{
    struct stage *s = ctx;
    if (s->released)
        return NET_PASS;
    if (d->from_host < HOSTS_MAX) {
        s->sent_from[d->from_host]++;
        s->bytes_from[d->from_host] += d->len;
    }
    struct rule_of *r = first_that_fits(s, d);
    if (!r)
        return NET_PASS;
    r->hits++;
    if (r->left != UINT32_MAX)
        r->left--;
    switch (r->action) {
    case RULE_DROP:
        return NET_DROP;
    case RULE_TWICE:
        return NET_TWICE;
    case RULE_DELAY:
        *delay_us = r->delay_us;
        return NET_PASS;
    case RULE_HOLD:
        assert_true(s->nb_held < STAGE_HELD_MAX);
        s->held[s->nb_held] = malloc(sizeof *d);
        assert_non_null(s->held[s->nb_held]);
        memcpy(s->held[s->nb_held++], d, sizeof *d);
        return NET_DROP;
    case RULE_CHANGE:
        r->change(r, d);
        return NET_PASS;
    }
    return NET_PASS;
}

void stage_net_init(struct stage *s)
{
    struct net_options options = {.delay_us_min = s->options.delay_us, .delay_us_mean = s->options.delay_us};
    net_init(&s->world.net, &options, rng_split(&s->rng, 2), &s->world.trace);
    s->world.net.filter = look;
    s->world.net.filter_ctx = s;
}

void stage_net_free(struct stage *s)
{
    for (uint32_t i = 0; i < s->nb_held; i++)
        free(s->held[i]);
}

struct rule_of *stage_rule(struct stage *s, unsigned from, unsigned to, enum rule_action action)
{
    struct rule_of *r = NULL;
    for (uint32_t i = 0; i < s->nb_rules && !r; i++)
        r = s->rules[i].over ? &s->rules[i] : NULL;
    if (!r) {
        assert_true(s->nb_rules < STAGE_RULES_MAX);
        r = &s->rules[s->nb_rules++];
    }
    *r = (struct rule_of){.stage = s, .from = from, .to = to, .action = action, .type = TYPE_ANY, .left = UINT32_MAX};
    return r;
}

void stage_rule_end(struct rule_of *r)
{
    r->over = true;
}

void stage_cut(struct stage *s, unsigned a, unsigned b, uint64_t us)
{
    s->world.net.links[a][b].cut_until_us = s->world.net.links[b][a].cut_until_us = s->world.now_us + us;
}

void stage_inject(struct stage *s, const struct pmw_addr *from, const struct pmw_addr *to, const uint8_t *bytes,
                  size_t len)
{
    s->released = true;
    net_send(&s->world.net, s->world.now_us, from, to, bytes, len, false);
    s->released = false;
}

void stage_release(struct stage *s, bool last_first)
{
    for (uint32_t i = 0; i < s->nb_held; i++) {
        struct datagram *d = s->held[last_first ? s->nb_held - 1 - i : i];
        stage_inject(s, &d->from, &d->to, d->bytes, d->len);
        free(d);
    }
    s->nb_held = 0;
}

/* --- looking into datagrams ------------------------------------------------------------------------------------ */
struct search {
    int type;
    bool found;
};

static void look_for(void *ctx, uint8_t *frame, size_t len)
{
    struct search *search = ctx;
    search->found |= pmw_type_of(frame, len) == search->type;
}

void stage_each_frame(struct datagram *d, void (*visit)(void *ctx, uint8_t *frame, size_t len), void *ctx)
{
    struct pmw_any_entry entry;
    if (pmw_type_of(d->bytes, d->len) != PMW_TRUNK) {
        visit(ctx, d->bytes, d->len);
        return;
    }
    for (size_t at = PMW_TRUNK_HEADER_BYTES;
         pmw_entry_next(d->bytes, d->len - (size_t)PMW_TRUNK_TAG_BYTES, &at, &entry) == 1;)
        if (entry.kind == PMW_ENTRY_LONG_V4 || entry.kind == PMW_ENTRY_LONG_V6)
            visit(ctx, d->bytes + (entry.as_long.frame - d->bytes), entry.as_long.frame_len);
}

bool stage_holds_frame(const struct datagram *d, int type)
{
    struct search search = {type, pmw_type_of(d->bytes, d->len) == type};
    if (!search.found)
        stage_each_frame((struct datagram *)d, look_for, &search); /* which only looks */
    return search.found;
}

void stage_reseal(struct stage *s, struct datagram *d)
{
    struct pmw_trunk head;
    struct pmw_trunk_keys keys;
    assert_true(pmw_trunk_decode(d->bytes, d->len, &head) >= 0);
    unsigned helper = head.helper_id - (unsigned)HELPER_ID_BASE;
    pmw_trunk_keys_derive(&keys, s->identity.known.trunk_secret, head.helper_id, s->helpers[helper].incarnation);
    pmw_trunk_seal(d->bytes, d->len, d->to_host == HOST_SERVER ? keys.to_server : keys.to_helper, 0);
}

/* --- processes that die, stop, and come back --------------------------------------------------------------------- */
void stage_helper_crash(struct stage *s, unsigned helper)
{
    helper_host_crash(&s->helpers[helper]);
}

void stage_helper_restart(struct stage *s, unsigned helper)
{
    helper_host_restart(&s->helpers[helper], 0);
}

void stage_pause(struct stage *s, unsigned host, uint64_t us)
{
    world_host_pause(&s->world, &s->world.hosts[host], s->world.now_us + us);
}

void stage_hint(struct stage *s, unsigned helper, enum vcl_hint hint)
{
    for (int i = 0; i < s->options.nb_clients; i++) {
        struct actor *a = &s->clients[i];
        if (!a->session)
            continue;
        vcl_session_hint(a->session, engine_host_clock(&a->engine), stage_helper_id(helper), hint);
        world_host_poke(&s->world, a->engine.host);
    }
}

/* What its applications had is nobody's any more. */
static void abandon(struct stage *s, enum side side, int client)
{
    for (uint32_t i = 0; i < s->nb_streams; i++) {
        struct stream *k = &s->streams[i];
        if (client >= 0 && k->client != (unsigned)client)
            continue;
        k->abandoned = true;
        k->conn[side] = NULL;
    }
}

void stage_client_crash(struct stage *s, unsigned client)
{
    struct actor *a = &s->clients[client];
    abandon(s, CLIENT, (int)client);
    a->session = NULL;
    a->died_at_us = s->world.now_us;
    engine_host_stop(&a->engine);
    world_host_clear(&s->world, a->engine.host);
}

void stage_server_crash(struct stage *s)
{
    abandon(s, SERVER, -1);
    s->nb_accepted = 0;
    s->server.died_at_us = s->world.now_us;
    engine_host_stop(&s->server.engine);
    world_host_clear(&s->world, s->server.engine.host);
}

/* --- what there is to assert on ------------------------------------------------------------------------------------
 */
uint16_t stage_helper_id(unsigned helper)
{
    return (uint16_t)(HELPER_ID_BASE + helper);
}

static struct vcl_session_info session_info(struct stage *s, unsigned client)
{
    struct vcl_session_info info;
    assert_non_null(s->clients[client].session);
    vcl_session_info(s->clients[client].session, &info);
    return info;
}

uint16_t stage_path(struct stage *s, unsigned client)
{
    return session_info(s, client).active_helper_id;
}

uint32_t stage_epoch(struct stage *s, unsigned client)
{
    return session_info(s, client).epoch;
}

struct vcl_stats stage_stats(struct stage *s, int client)
{
    struct vcl_stats stats = {0};
    struct actor *a = client < 0 ? &s->server : &s->clients[client];
    if (a->engine.engine)
        vcl_engine_stats(a->engine.engine, &stats);
    return stats;
}

struct relay_stats stage_relay_stats(struct stage *s, unsigned helper)
{
    struct relay_stats stats;
    helper_host_stats(&s->helpers[helper], &stats);
    return stats;
}
