/* SPDX-License-Identifier: Apache-2.0
 * The engine's driver in virtual time: see engine_host.h. */
#include "engine_host.h"

#include "../core/state.h"

#include <assert.h>
#include <string.h>

enum {
    ROUNDS_MAX = 1000,          /* of events and sends in one run: more is a livelock between engine and application */
    SENDS_MAX = 20000,          /* datagrams of one run */
    DIGEST_BYTES_MAX = 8 << 20, /* of one engine in one run: it takes time */
    ENGINE_RETRY_US = 1000,     /* after vcl_engine_new found no memory */
};

static void engine_random(void *ctx, void *buf, size_t len)
{
    struct engine_host *e = ctx;
    rng_bytes(&e->random, buf, len);
}

/* Engines see their allocator through the host, so that one ctx serves both callbacks. */
static void *engine_alloc(void *ctx, size_t size)
{
    struct engine_host *e = ctx;
    return memory_alloc(&e->memory, size);
}

static void engine_free(void *ctx, void *block)
{
    struct engine_host *e = ctx;
    memory_free(&e->memory, block);
}

static const char *drop_key(int reason)
{
    static const char *const keys[VCL_DROP_COUNT] = {"none",
#define VCL_X(name, key, text) key,
                                                     VCL_DROPS(VCL_X)
#undef VCL_X
    };
    return keys[reason];
}

static void fail(struct engine_host *e, const char *what, long long value)
{
    verdict_fail(&e->world->verdict, e->world->now_us, RULE_CONTRACT, "engine %s: %s (%lld)",
                 host_name(e->host->number), what, value);
}

static bool engine_exists(struct engine_host *e)
{
    if (e->engine)
        return true;
    int rc = vcl_engine_new(&e->engine, &e->config);
    if (rc == VCL_OK)
        return true;
    if (rc != VCL_ERR_NOMEM || e->memory.failures == 0)
        fail(e, "vcl_engine_new", rc);
    return false;
}

/* I7: what nobody of ours sent changes counters only. PONG and BUSY have no MAC; their worst is bounded (S8, O3). */
static bool must_change_nothing(const struct engine_host *e, const struct datagram *d)
{
    int type = pmw_type_of(d->bytes, d->len);
    return d->foreign && type != PMW_PONG && type != PMW_BUSY && e->digested_bytes < DIGEST_BYTES_MAX;
}

static uint64_t engine_digest(struct engine_host *e)
{
    const struct memory_range except[] = {
        {e->engine, offsetof(struct vcl_engine, stats),
         sizeof(struct vcl_engine)}, /* and the scratch room behind them */
    };
    e->digested_bytes += e->memory.live_bytes;
    return memory_digest(&e->memory, except, sizeof except / sizeof except[0]);
}

static void host_receive(struct host *h, uint64_t now, const struct datagram *d)
{
    struct engine_host *e = h->self;
    if (!engine_exists(e) || d->to.port != e->port)
        return;
    bool inert = must_change_nothing(e, d);
    if (inert)
        vcl__now(e->engine, engine_host_clock(e)); /* what time alone changes is not the datagram's doing (S16) */
    uint64_t before = inert ? engine_digest(e) : 0;
    int reason = vcl_engine_receive(e->engine, engine_host_clock(e), &d->from, d->bytes, d->len);
    if (inert && engine_digest(e) != before)
        verdict_fail(&e->world->verdict, now, RULE_I7, "engine %s: a %s of %u bytes that nobody sent changes it (%s)",
                     host_name(h->number), pmw_type_name(pmw_type_of(d->bytes, d->len)), d->len,
                     reason > 0 && reason < VCL_DROP_COUNT ? drop_key(reason) : "accepted");
    e->nb_inert += inert;
    if (reason < 0 || reason >= VCL_DROP_COUNT)
        fail(e, "vcl_engine_receive returns", reason);
    else if (reason > 0)
        trace_drop(&e->world->trace, now, d->from_host, d->to_host, drop_key(reason));
    e->user.on_received(e->user.self, now, d, reason);
}

static bool send_one(struct engine_host *e, uint64_t now, struct vcl_datagram *out)
{
    int got = vcl_engine_send(e->engine, engine_host_clock(e), out);
    if (got == 0)
        return false;
    if (got != 1 || out->len == 0 || out->len > sizeof out->bytes || (out->to.family != 4 && out->to.family != 6)) {
        fail(e, "vcl_engine_send gives a bad datagram of length", (long long)out->len);
        return false;
    }
    e->user.on_sent(e->user.self, now, out);
    struct pmw_addr from = host_addr(e->host->number, out->to.family, e->port);
    net_send(&e->world->net, now, &from, &out->to, out->bytes, out->len, false);
    return true;
}

/* Events and sends may cause each other: until both are dry. */
static void drain(struct engine_host *e, uint64_t now)
{
    struct vcl_event event;
    struct vcl_datagram out;
    int sends = 0;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool progress = false;
        while (vcl_engine_next_event(e->engine, &event)) {
            e->user.on_event(e->user.self, now, &event);
            progress = true;
        }
        while (e->world->verdict.rule == RULE_NONE && send_one(e, now, &out)) {
            progress = true;
            if (++sends > SENDS_MAX) {
                fail(e, "vcl_engine_send never says that nothing is left", sends);
                return;
            }
        }
        if (!progress)
            return;
    }
    fail(e, "events without end", ROUNDS_MAX);
}

static uint64_t host_run(struct host *h, uint64_t now, uint64_t lag_us)
{
    struct engine_host *e = h->self;
    if (!engine_exists(e))
        return now + ENGINE_RETRY_US;
    uint64_t local = engine_host_clock(e);
    if (vcl_engine_next_timer(e->engine) <= local)
        vcl_engine_on_timer(e->engine, local, e->reports_lag ? lag_us : 0);
    drain(e, now); /* the application hears of what arrived before it acts on its own timers */
    if (e->leaving) {
        engine_host_stop(e);
        return NEVER;
    }
    uint64_t app_at = e->user.run(e->user.self, now);
    drain(e, now);
    uint64_t timer = vcl_engine_next_timer(e->engine);
    if (timer == VCL_NEVER)
        return app_at;
    uint64_t engine_at = timer <= local ? now : timer - e->clock_offset_us;
    return engine_at < app_at ? engine_at : app_at;
}

static const struct host_ops engine_ops = {.receive = host_receive, .run = host_run};

void engine_host_start(struct engine_host *e, const struct vcl_config *config)
{
    e->config = *config;
    e->config.ctx = e;
    e->config.alloc = engine_alloc;
    e->config.free = engine_free;
    e->config.random = engine_random;
    e->host->down = false;
    world_host_poke(e->world, e->host);
}

void engine_host_init(struct engine_host *e, struct world *world, unsigned host_number, uint16_t port,
                      const struct vcl_config *config, const struct engine_user *user, struct rng random)
{
    e->world = world;
    e->user = *user;
    e->random = random;
    e->port = port;
    e->host = world_host_add(world, host_number, &engine_ops, e);
    engine_host_start(e, config);
}

void engine_host_rebind(struct engine_host *e, uint16_t port)
{
    e->port = port;
}

void engine_host_leave(struct engine_host *e)
{
    if (e->engine)
        vcl_engine_shutdown(e->engine, engine_host_clock(e));
    e->leaving = true;
    world_host_poke(e->world, e->host);
}

void engine_host_stop(struct engine_host *e)
{
    if (e->engine)
        vcl_engine_free(e->engine);
    e->engine = NULL;
    e->host->down = true;
    e->host->paused_until_us = 0;
    if (e->memory.live_blocks != 0)
        verdict_fail(&e->world->verdict, e->world->now_us, RULE_I5, "engine %s leaks %llu blocks (%llu bytes)",
                     host_name(e->host->number), (unsigned long long)e->memory.live_blocks,
                     (unsigned long long)e->memory.live_bytes);
}

uint32_t engine_host_nb_sessions(const struct engine_host *e)
{
    return e->engine ? e->engine->nb_sessions : 0;
}

bool engine_host_knows(const struct engine_host *e, uint64_t session_id)
{
    return e->engine && vcl__session_find(e->engine, session_id) != NULL;
}

bool engine_host_believes(const struct engine_host *e, uint64_t session_id, const struct trial_way *way)
{
    const struct vcl_session *s = vcl__session_find(e->engine, session_id);
    if (!s || !s->trial.has_validated)
        return false;
    const struct route *r = &s->trial.validated;
    return (r->trunk ? r->trunk->helper_id : 0) == way->path && pmw_addr_equal(&r->addr, &way->addr);
}

bool engine_host_resume_waits(const struct engine_host *e, uint64_t session_id, uint32_t below_epoch)
{
    struct list *n, *tmp;
    struct pmw_resume r;
    if (!e->engine || e->engine->herd.nb_waiting == 0)
        return false;
    list_each(n, tmp, &e->engine->herd.waiting)
    {
        const struct waiting_resume *w = container_of(n, struct waiting_resume, node);
        if (pmw_resume_decode(w->bytes, w->len, &r) >= 0 && r.session_id == session_id && r.epoch < below_epoch &&
            (r.flags & PMW_RESUME_PLANNED) == 0)
            return true;
    }
    return false;
}

bool engine_host_lost_resume(const struct engine_host *e, uint64_t session_id, uint32_t epoch)
{
    const struct vcl_session *s = vcl__session_find(e->engine, session_id);
    if (!s)
        return true;
    if (s->epoch >= epoch || s->epoch_seen >= epoch) /* answered, or it waits */
        return false;
    return e->memory.failures > 0 || e->engine->herd.nb_waiting >= RESUMES_WAITING_MAX;
}
