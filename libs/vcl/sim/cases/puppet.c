/* SPDX-License-Identifier: Apache-2.0
 * The stage, pulled by strings: see puppet.h. */
#include "puppet.h"

#include "stage_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

struct puppet {
    struct stage *stage;
    struct rule_of *hold;
};

/* --- life ---------------------------------------------------------------------------------------------------- */
EXPORT void puppet_hold(struct puppet *p, bool hold)
{
    if (p->hold)
        stage_rule_end(p->hold);
    p->hold = hold ? stage_rule(p->stage, HOST_NONE, HOST_NONE, RULE_HOLD) : NULL;
}

EXPORT struct puppet *puppet_new(unsigned nb_helpers)
{
    struct puppet *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->stage = stage_new(&(struct stage_options){.nb_helpers = (uint8_t)nb_helpers});
    puppet_hold(p, true);
    return p;
}

EXPORT const char *puppet_fault(const struct puppet *p)
{
    const struct verdict *v = &p->stage->world.verdict;
    return v->rule == RULE_NONE ? NULL : v->text;
}

EXPORT bool puppet_free(struct puppet *p)
{
    struct stage *s = p->stage;
    engine_host_stop(&s->server.engine);
    engine_host_stop(&s->clients[0].engine);
    bool sound = s->world.verdict.rule == RULE_NONE;
    if (!sound)
        fprintf(stderr, "puppet: %s: %s\n", rule_name(s->world.verdict.rule), s->world.verdict.text);
    s->world.verdict.rule = RULE_NONE; /* stage_free would end this process, which is not a test of cmocka */
    stage_free(s);
    free(p);
    return sound;
}

/* --- connections --------------------------------------------------------------------------------------------- */
static struct actor *actor_of(struct stage *s, unsigned side)
{
    return side == CLIENT ? &s->clients[0] : &s->server;
}

static struct stream *stream_of(const struct puppet *p, unsigned stream, unsigned side)
{
    struct stream *k = stream < p->stage->nb_streams && side < SIDES ? &p->stage->streams[stream] : NULL;
    return k && k->conn[side] ? k : NULL;
}

EXPORT int64_t puppet_open(struct puppet *p)
{
    if (p->stage->nb_streams == p->stage->options.streams_max)
        return -VCL_ERR_NOMEM;
    struct stream *k = stage_open_start(p->stage, 0);
    k->holds_reading[CLIENT] = k->holds_reading[SERVER] = true; /* whoever pulls the strings reads */
    return k->number;
}

EXPORT int64_t puppet_write(struct puppet *p, unsigned stream, unsigned side, const uint8_t *bytes, size_t len)
{
    struct stream *k = stream_of(p, stream, side);
    if (!k)
        return -VCL_ERR_INVALID;
    struct actor *a = actor_of(p->stage, side);
    int64_t taken = vcl_conn_write(k->conn[side], stage_clock(a), bytes, len);
    stage_poke(a);
    return taken;
}

EXPORT int64_t puppet_read(struct puppet *p, unsigned stream, unsigned side, uint8_t *bytes, size_t len)
{
    struct stream *k = stream_of(p, stream, side);
    if (!k)
        return -VCL_ERR_INVALID;
    struct actor *a = actor_of(p->stage, side);
    int64_t got = vcl_conn_read(k->conn[side], stage_clock(a), bytes, len, false);
    stage_poke(a);
    return got;
}

EXPORT int64_t puppet_shutdown(struct puppet *p, unsigned stream, unsigned side)
{
    struct stream *k = stream_of(p, stream, side);
    if (!k)
        return -VCL_ERR_INVALID;
    int rc = vcl_conn_shutdown_write(k->conn[side], stage_clock(actor_of(p->stage, side)));
    stage_poke(actor_of(p->stage, side));
    return -rc;
}

EXPORT int64_t puppet_reset(struct puppet *p, unsigned stream, unsigned side)
{
    struct stream *k = stream_of(p, stream, side);
    if (!k)
        return -VCL_ERR_INVALID;
    int rc = vcl_conn_abort(k->conn[side], stage_clock(actor_of(p->stage, side)));
    stage_poke(actor_of(p->stage, side));
    return -rc;
}

EXPORT unsigned puppet_state(const struct puppet *p, unsigned stream, unsigned side)
{
    const struct stream *k = stream_of(p, stream, side);
    if (!k)
        return 0;
    return PUPPET_EXISTS | (k->opened ? PUPPET_OPENED : 0u) | (k->closed[side] ? PUPPET_CLOSED : 0u);
}

EXPORT int puppet_error(const struct puppet *p, unsigned stream, unsigned side)
{
    const struct stream *k = stream_of(p, stream, side);
    return k ? k->error[side] : 0;
}

EXPORT uint32_t puppet_strays(const struct puppet *p)
{
    return p->stage->nb_accepted;
}

/* --- datagrams that wait --------------------------------------------------------------------------------------- */
static void inject(struct puppet *p, const struct datagram *d)
{
    stage_inject(p->stage, &d->from, &d->to, d->bytes, d->len);
}

EXPORT uint32_t puppet_pending(const struct puppet *p)
{
    return p->stage->nb_held;
}

EXPORT void puppet_drop(struct puppet *p, uint32_t index)
{
    struct stage *s = p->stage;
    if (index >= s->nb_held)
        return;
    free(s->held[index]);
    memmove(&s->held[index], &s->held[index + 1], (--s->nb_held - index) * sizeof *s->held);
}

EXPORT void puppet_repeat(struct puppet *p, uint32_t index)
{
    if (index < p->stage->nb_held)
        inject(p, p->stage->held[index]);
}

EXPORT void puppet_deliver(struct puppet *p, uint32_t index)
{
    puppet_repeat(p, index);
    puppet_drop(p, index);
}

/* --- time and faults ------------------------------------------------------------------------------------------- */
EXPORT uint64_t puppet_now(const struct puppet *p)
{
    return p->stage->world.now_us;
}

EXPORT void puppet_run(struct puppet *p, uint64_t us)
{
    struct world *w = &p->stage->world;
    uint64_t end = w->now_us + us;
    while (w->verdict.rule == RULE_NONE && world_step(w, end))
        continue;
}

EXPORT void puppet_helper_crash(struct puppet *p, unsigned helper)
{
    if (helper < p->stage->options.nb_helpers && !p->stage->helpers[helper].host->down)
        stage_helper_crash(p->stage, helper);
}

EXPORT void puppet_helper_restart(struct puppet *p, unsigned helper)
{
    if (helper < p->stage->options.nb_helpers && p->stage->helpers[helper].host->down)
        stage_helper_restart(p->stage, helper);
}

EXPORT void puppet_pause(struct puppet *p, unsigned host, uint64_t us)
{
    if (host < HOSTS_MAX && p->stage->world.hosts[host].self)
        stage_pause(p->stage, host, us);
}

EXPORT void puppet_cut(struct puppet *p, unsigned a, unsigned b, uint64_t us)
{
    if (a < HOSTS_MAX && b < HOSTS_MAX)
        stage_cut(p->stage, a, b, us);
}

EXPORT void puppet_hint(struct puppet *p, unsigned helper, int hint)
{
    stage_hint(p->stage, helper, (enum vcl_hint)hint);
}

EXPORT void puppet_calm(struct puppet *p)
{
    net_calm(&p->stage->world.net);
    for (unsigned i = 0; i < p->stage->options.nb_helpers; i++)
        puppet_helper_restart(p, i);
    puppet_hold(p, false);
    stage_release(p->stage, false);
}

EXPORT unsigned puppet_path(const struct puppet *p)
{
    return stage_path(p->stage, 0);
}

EXPORT uint32_t puppet_epoch(const struct puppet *p)
{
    return stage_epoch(p->stage, 0);
}
