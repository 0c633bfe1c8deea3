/* SPDX-License-Identifier: Apache-2.0
 * What a run has done and suffered, gathered from its parts: see simulation.h. */
#include "simulation.h"

static void engine_result(struct engine_host *e, struct run_result *result)
{
    struct vcl_stats stats;
    if (!e->engine)
        return;
    vcl_engine_stats(e->engine, &stats);
    result->short_frames += stats.short_frames_out;
    result->inert += e->nb_inert;
    result->frames += stats.frames_in;
    result->moves += stats.path_moves;
    result->resumes += stats.resumes_accepted;
    result->resent += stats.frames_resent;
    result->check_drops += stats.drops[VCL_DROP_CHECK];
    if (e->memory.peak_bytes > result->peak_bytes)
        result->peak_bytes = e->memory.peak_bytes;
}

static void helper_result(const struct helper_host *helper, struct run_result *result)
{
    struct relay_stats stats;
    helper_host_stats(helper, &stats);
    result->damaged += helper->nb_damaged;
    result->credited += helper->nb_credited + helper->watch.nb_entries;
    result->short_entries += helper->watch.nb_short;
    result->crashes += helper->nb_crashes;
    result->restarts += helper->nb_restarts;
    result->batches += stats.trunk_batches_out;
    result->batched_frames += stats.trunk_entries_out;
}

void result_collect(struct simulation *sim, struct run_result *result)
{
    const struct net_counters *net = &sim->world.net.counters;
    engine_result(&sim->server.engine, result);
    for (unsigned i = 0; i < sim->scenario.nb_clients; i++) {
        engine_result(&sim->clients[i].engine, result);
        result->reranks += sim->clients[i].ranks_followed;
        result->failovers += sim->clients[i].failover_us > 0;
        if (sim->clients[i].failover_us > result->failover_us)
            result->failover_us = sim->clients[i].failover_us;
    }
    for (unsigned i = 0; i < sim->scenario.nb_helpers; i++)
        helper_result(&sim->helpers[i], result);
    for (uint32_t i = 0; i < sim->application.nb_connections; i++)
        result->completed += sim->connections[i].end[CLIENT].eof && sim->connections[i].end[SERVER].eof;
    result->connections = sim->application.nb_connections;
    result->bytes = sim->application.bytes_read;
    result->pauses = sim->world.pauses;
    result->faults = sim->nemesis.faults;
    result->hints = sim->nemesis.hints;
    result->refused = sim->application.refusals;
    result->lost = net->lost + net->cut + net->queue_full + sim->world.receive_queue_drops;
    result->duplicated = net->duplicated;
    result->reordered = net->reordered;
    result->corrupted = net->corrupted;
    result->replayed = net->replayed;
    result->junk = net->junk;
    result->forged = net->forged;
    result->too_long = net->too_long;
    result->checked_frames = sim->checkers.server_frames_checked;
    result->short_checked = sim->checkers.short_entries_checked;
    result->checked_resumes = sim->checkers.resumes_checked;
    result->steps = sim->world.steps;
}
