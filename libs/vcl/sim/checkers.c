/* SPDX-License-Identifier: Apache-2.0
 * Explained errors, completion, memory, and the farewell: see checkers.h. */
#include "simulation.h"

#include <string.h>

/* Memory of one engine: what it may need besides the buffers of its connections. Two connections' worth of buffers for
 * each (ring sizes are powers of two), and room for tables, sessions and trunks. */
/* ring: the batches that a server keeps for NACK (T8), whatever it serves */
enum { ENGINE_BYTES_BASE = 65536, ENGINE_RING_BYTES = 400 << 10, CONNECTION_BYTES_OVERHEAD = 4096 };

static void fail(struct simulation *sim, enum rule rule, const struct connection *c, const char *what)
{
    const struct end *client = &c->end[CLIENT], *server = &c->end[SERVER];
    verdict_fail(&sim->world.verdict, sim->world.now_us, rule,
                 "k%u of c%u: %s (up: %llu of %llu written, %llu read; down: %llu of %llu written, %llu read)",
                 c->number, c->plan.client, what, (unsigned long long)client->written,
                 (unsigned long long)c->plan.end[CLIENT].total_bytes, (unsigned long long)server->read,
                 (unsigned long long)server->written, (unsigned long long)c->plan.end[SERVER].total_bytes,
                 (unsigned long long)client->read);
}

static bool memory_was_short(const struct simulation *sim)
{
    if (sim->server.engine.memory.failures > 0)
        return true;
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        if (sim->clients[i].engine.memory.failures > 0)
            return true;
    return false;
}

bool checkers_error_is_explained(void *ctx, const struct connection *c, enum side side, int error)
{
    const struct simulation *sim = ctx;
    switch (error) {
    case VCL_ERR_RESET:
    case VCL_ERR_CLOSED:
        return c->aborted || c->abandoned || c->impatient || sim->scenario.sleepers || sim->server.nb_crashes > 0 ||
               c->end[side_peer(side)].error != 0;
    case VCL_ERR_REFUSED:
        return sim->scenario.small_backlog || memory_was_short(sim);
    case VCL_ERR_NOMEM:
        return memory_was_short(sim);
    case VCL_ERR_TOKEN: /* it slept through the time in which a new one came */
        return c->impatient || sim->scenario.sleepers;
    case VCL_ERR_TIMEOUT:
        return c->aborted || c->abandoned || sim->scenario.short_hold || sim->scenario.sleepers ||
               sim->server.nb_crashes > 0;
    default:
        return false;
    }
}

void checkers_completion(struct simulation *sim)
{
    for (uint32_t i = 0; i < sim->application.nb_connections; i++) {
        const struct connection *c = &sim->connections[i];
        const struct end *client = &c->end[CLIENT], *server = &c->end[SERVER];
        if (!c->asked || !connection_is_done(c))
            fail(sim, sim->server.nb_crashes > 0 || c->abandoned ? RULE_I9 : RULE_I4, c,
                 "not finished in time after the faults ended");
        else if (c->aborted || c->abandoned || c->impatient || client->error || server->error || !c->accepted)
            continue; /* each error was found to be explained when it came; connection_is_done knows the rest */
        else if (server->read != c->plan.end[CLIENT].total_bytes || !server->eof)
            fail(sim, RULE_I1, c, "the server's end has not all");
        else if (!c->plan.end[CLIENT].release_early &&
                 (client->read != c->plan.end[SERVER].total_bytes || !client->eof))
            fail(sim, RULE_I1, c, "the client's end has not all");
    }
}

static void engine_quiet(struct simulation *sim, const struct engine_host *e)
{
    struct vcl_stats stats;
    if (!e->engine)
        return;
    vcl_engine_stats(e->engine, &stats);
    uint64_t drops = 0;
    for (int i = 0; i < VCL_DROP_COUNT; i++)
        drops += stats.drops[i];
    if (stats.frames_resent || stats.path_moves || stats.resumes_sent || stats.ptos || drops || stats.duplicate_bytes)
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_QUIET,
                     "engine %s: %llu frames resent, %llu moves, %llu PTOs, %llu drops, %llu duplicate bytes",
                     host_name(e->host->number), (unsigned long long)stats.frames_resent,
                     (unsigned long long)stats.path_moves, (unsigned long long)stats.ptos, (unsigned long long)drops,
                     (unsigned long long)stats.duplicate_bytes);
}

void checkers_quiet(struct simulation *sim)
{
    if (!sim->scenario.quiet)
        return;
    engine_quiet(sim, &sim->server.engine);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        engine_quiet(sim, &sim->clients[i].engine);
}

/* C5: a tenth of new frames and ten a second, saved up for ten seconds, and the oldest at each PTO. What was in flight
 * when a session moved costs nothing: each new frame, or piece of one that was cut (S21), at most once a move, and once
 * when a client asked whether its connection is still there (S16). How many frames that is nobody can tell from the
 * bytes: those of an application that writes byte by byte are as short. */
static void engine_resent(struct simulation *sim, const struct engine_host *e, uint32_t nb_connections)
{
    struct vcl_stats stats;
    if (!e->engine)
        return;
    vcl_engine_stats(e->engine, &stats);
    uint64_t moves = stats.path_moves + stats.resumes_sent + nb_connections;
    uint64_t fresh = stats.data_frames_out - stats.frames_resent;
    uint64_t budget = fresh / 10 + 10 * (sim->world.now_us / 1000000 + 11) + stats.ptos;
    if (stats.frames_resent - stats.frames_resent_moved > budget)
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I8,
                     "engine %s sent %llu frames again, %llu of them for moves, beside %llu new ones and %llu PTOs; "
                     "%llu are allowed",
                     host_name(e->host->number), (unsigned long long)stats.frames_resent,
                     (unsigned long long)stats.frames_resent_moved, (unsigned long long)fresh,
                     (unsigned long long)stats.ptos, (unsigned long long)budget);
    if (stats.frames_resent_moved > moves * (fresh + stats.frames_cut))
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I8,
                     "engine %s sent %llu frames again for %llu moves, and only %llu new ones, cut %llu times",
                     host_name(e->host->number), (unsigned long long)stats.frames_resent_moved,
                     (unsigned long long)moves, (unsigned long long)fresh, (unsigned long long)stats.frames_cut);
}

void checkers_resent(struct simulation *sim)
{
    engine_resent(sim, &sim->server.engine, sim->application.nb_connections);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        engine_resent(sim, &sim->clients[i].engine, sim->clients[i].nb_connections);
}

void checkers_credit(struct simulation *sim)
{
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++) {
        const struct helper_host *helper = &sim->helpers[i];
        const struct trunk_watch_of_helper *w = &helper->watch;
        if (helper->relay && w->told && (int32_t)(w->limit - w->used) <= 0)
            verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I10,
                         "relay %s is left without credit: %u of %u used, and nothing is under way",
                         host_name(helper->host->number), w->used, w->limit);
    }
}

static void engine_memory(struct simulation *sim, const struct engine_host *e, uint32_t nb_connections)
{
    uint64_t per_connection =
        2 * ((uint64_t)sim->scenario.engine.sndbuf_bytes_max + sim->scenario.engine.rcvbuf_bytes_max) +
        CONNECTION_BYTES_OVERHEAD;
    uint64_t cap = ENGINE_BYTES_BASE + ENGINE_RING_BYTES + per_connection * nb_connections;
    if (e->memory.peak_bytes > cap)
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I5,
                     "engine %s held %llu bytes for %u connections, cap %llu", host_name(e->host->number),
                     (unsigned long long)e->memory.peak_bytes, nb_connections, (unsigned long long)cap);
}

void checkers_memory(struct simulation *sim)
{
    engine_memory(sim, &sim->server.engine, sim->application.nb_connections);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        engine_memory(sim, &sim->clients[i].engine, sim->clients[i].nb_connections);
}

static void engine_farewell(struct simulation *sim, const struct engine_host *e)
{
    struct vcl_stats stats;
    if (!e->engine)
        return;
    vcl_engine_stats(e->engine, &stats);
    if (stats.nb_conns != 0 || stats.nb_sessions != 0 || vcl_engine_lingering(e->engine) != 0)
        verdict_fail(&sim->world.verdict, sim->world.now_us, RULE_I5,
                     "engine %s keeps %u connections (%u lingering) and %u sessions after all is over",
                     host_name(e->host->number), stats.nb_conns, vcl_engine_lingering(e->engine), stats.nb_sessions);
}

/* I9 at the server: whoever crashed, left or was cut off, it was told (S14: T_hold and 10 s; the farewell waits that
 * long). At the client: checkers_completion. */
static void server_was_told(struct simulation *sim)
{
    for (uint32_t i = 0; i < sim->application.nb_connections; i++) {
        const struct connection *c = &sim->connections[i];
        bool deaf = sim->plant == PLANTED_DEAF && c->end[SERVER].error != 0;
        if (c->accepted && (!c->end[SERVER].done || deaf))
            fail(sim, RULE_I9, c, "the server's end was never told that it is over");
    }
}

void checkers_farewell(struct simulation *sim)
{
    server_was_told(sim);
    engine_farewell(sim, &sim->server.engine);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++)
        engine_farewell(sim, &sim->clients[i].engine);
}

void checkers_server_restarts(struct checkers *k)
{
    k->nb_batches_read = 0;
    memset(k->newest_batch, 0, sizeof k->newest_batch);
}

/* T1: the server counts its batches to each process of a helper from 1 on. */
void checkers_trunk_begins(struct checkers *k, const struct pmw_trunk *trunk)
{
    unsigned helper = (unsigned)(trunk->helper_id - host_helper_id(HOST_HELPER));
    if (helper >= HELPERS_MAX || k->newest_batch[helper].helper_incarnation == trunk->incarnation)
        return;
    k->newest_batch[helper].helper_incarnation = trunk->incarnation;
    k->newest_batch[helper].seq = 0;
}

uint32_t checkers_helper_incarnation(const struct checkers *k, uint16_t helper_id)
{
    unsigned helper = (unsigned)(helper_id - host_helper_id(HOST_HELPER));
    return helper < HELPERS_MAX ? k->newest_batch[helper].helper_incarnation : 0;
}

bool checkers_is_repeated(struct checkers *k, const struct pmw_trunk *trunk)
{
    unsigned helper = (unsigned)(trunk->helper_id - host_helper_id(HOST_HELPER));
    if (helper >= HELPERS_MAX)
        return false;
    if (k->newest_batch[helper].incarnation == trunk->incarnation &&
        (int32_t)(trunk->batch_seq - k->newest_batch[helper].seq) <= 0)
        return true;
    k->newest_batch[helper].incarnation = trunk->incarnation;
    k->newest_batch[helper].seq = trunk->batch_seq;
    return false;
}
