/* SPDX-License-Identifier: Apache-2.0
 * Plans of connections: see workload.h. */
#include "workload.h"

enum { CALL_BYTES_MAX = 65536, CALLS_PER_STREAM = 256 };

/* Calls of a few bytes on a stream of many kilobytes cost much time and show nothing new. */
static uint32_t call_bytes(uint64_t stream_bytes, struct rng *rng)
{
    uint64_t least = stream_bytes / CALLS_PER_STREAM + 1, drawn = rng_log_between(rng, 1, CALL_BYTES_MAX);
    return (uint32_t)(drawn < least ? least : drawn);
}

static void end_plan_draw(struct end_plan *end, uint64_t peer_bytes, const struct workload_options *o, struct rng *rng)
{
    end->write_bytes_max = call_bytes(end->total_bytes, rng);
    end->read_bytes_max = call_bytes(peer_bytes, rng);
    if (rng_chance(rng, PPM / 8))
        end->write_gap_us = rng_log_between(rng, 10, 5000);
    if (rng_chance(rng, o->slow_reader_ppm))
        end->read_gap_us = rng_log_between(rng, 100, 20000);
    end->abort_after_bytes = UINT64_MAX;
    end->peeks = rng_chance(rng, PPM / 8);
}

static void sizes_draw(struct connection_plan *plan, const struct workload_options *o, struct rng *rng)
{
    uint64_t up = LEDGER_HEADER_BYTES, down = 0;
    if (rng_chance(rng, PPM / 2)) { /* request and response */
        plan->rounds = (uint32_t)rng_log_between(rng, 1, o->rounds_max);
        plan->request_bytes = (uint32_t)rng_log_between(rng, 1, o->bytes_max / plan->rounds + 1);
        plan->reply_bytes = (uint32_t)rng_log_between(rng, 1, o->bytes_max / plan->rounds + 1);
        up += (uint64_t)plan->rounds * plan->request_bytes;
        down += (uint64_t)plan->rounds * plan->reply_bytes;
    } else { /* bulk: up, down, or both at once */
        uint64_t which = rng_below(rng, 3);
        if (which != 1)
            up += rng_log_between(rng, 1, o->bytes_max);
        if (which != 0)
            down += rng_log_between(rng, 1, o->bytes_max);
    }
    plan->end[CLIENT].total_bytes = up;
    plan->end[SERVER].total_bytes = down;
}

void connection_plan_draw(struct connection_plan *plan, uint8_t client, const struct workload_options *options,
                          struct rng *rng)
{
    *plan = (struct connection_plan){.client = client, .open_at_us = rng_below(rng, options->open_us_max + 1)};
    sizes_draw(plan, options, rng);
    for (int side = 0; side < SIDES; side++)
        end_plan_draw(&plan->end[side], plan->end[side_peer((enum side)side)].total_bytes, options, rng);
    if (rng_chance(rng, options->abort_ppm)) {
        struct end_plan *end = &plan->end[rng_below(rng, SIDES)];
        end->abort_after_bytes = rng_below(rng, plan->end[CLIENT].total_bytes + plan->end[SERVER].total_bytes + 1);
        end->abort_by_release = rng_chance(rng, PPM / 2);
    } else if (plan->rounds == 0 && plan->end[SERVER].total_bytes == 0 && rng_chance(rng, options->release_early_ppm)) {
        plan->end[CLIENT].release_early = true;
    }
}

void connection_plan_rest(struct connection_plan *plan, struct rng *rng)
{
    for (int side = 0; side < SIDES; side++) {
        struct end_plan *end = &plan->end[side];
        if (end->total_bytes == 0 || rng_chance(rng, PPM / 2))
            continue;
        end->rest_us = rng_between(rng, REST_US_MIN, REST_US_MAX);
        end->rest_after_bytes = rng_below(rng, end->total_bytes);
    }
}

uint64_t connection_may_write(const struct connection *c, enum side side)
{
    const struct connection_plan *plan = &c->plan;
    uint64_t total = plan->end[side].total_bytes, may = total, read = c->end[side].read;
    if (plan->rounds > 0 && side == CLIENT)
        may = LEDGER_HEADER_BYTES + (read / plan->reply_bytes + 1) * plan->request_bytes;
    else if (plan->rounds > 0)
        may = read < LEDGER_HEADER_BYTES ? 0 : (read - LEDGER_HEADER_BYTES) / plan->request_bytes * plan->reply_bytes;
    return may < total ? may : total;
}

bool connection_is_done(const struct connection *c)
{
    const struct end *client = &c->end[CLIENT], *server = &c->end[SERVER];
    bool given_up = client->error == VCL_ERR_TIMEOUT || server->error == VCL_ERR_TIMEOUT;
    if (c->abandoned || c->impatient || c->reset_may_be_lost || (given_up && !c->both_must_end))
        return client->done || server->done; /* one end has given up: nothing may tell the other */
    if (!client->done)
        return false;
    /* The server may have given it up before it read who it is; a client that has closed its handle is not told. */
    bool never_known = !c->accepted && (client->error != 0 || c->aborted || c->both_must_end);
    return server->done || never_known;
}

bool connection_must_complete(const struct connection *c)
{
    return c->plan.end[CLIENT].abort_after_bytes == UINT64_MAX && c->plan.end[SERVER].abort_after_bytes == UINT64_MAX;
}
