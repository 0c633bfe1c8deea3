/* SPDX-License-Identifier: Apache-2.0
 * What a seed decides: see scenario.h. */
#include "scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The smallest segment that holds the largest C-frame (wire.h), in IPv6. */
enum {
    MTU_ETHERNET_BYTES = 1472, /* UDP payload in IPv4 */
    MTU_JUMBO_BYTES = 8972,
    SEGMENT_BYTES_MIN = PMW_TRUNK_HEADER_BYTES + PMW_ENTRY_LONG_V6_BYTES + PMW_FRAME_BYTES_BASE + PMW_TRUNK_TAG_BYTES,
    FLOWS_MAX = 1024,
    SHORT_HOLD_US = 500000,
    CLEAN_CRASH_WITHIN_US = 20000, /* while connections open and their streams are young ... */
    CLEAN_CRASH_BYTES = 2 << 20,   /* ... and long */
    CLEAN_CRASH_RUN_US = 200000,
    CLEAN_RANKS_ROUNDS = 4096,
    SLEEP_HOLD_US = 2000000,
    SLEEP_RUN_US = 60000000,     /* room for sleeps beyond T_hold, two keepalives (S14) and the longest tombstone */
    REST_RUN_US = 150000000,     /* room for REST_US_MAX, and for faults behind it */
    FAST_MOVE_US = 1000,         /* between moves, and between hints that ask for one */
    FAST_MOVES_RUN_US = 3000000, /* several hundred moves */
};

static bool coin(struct rng *rng)
{
    return rng_chance(rng, PPM / 2);
}

static void net_draw(struct net_options *net, struct rng *rng)
{
    if (coin(rng))
        net->loss_ppm = (uint32_t)rng_log_between(rng, 1000, 300000);
    net->loss_burst = coin(rng) ? (uint32_t)rng_between(rng, 2, 10) : 1;
    if (coin(rng))
        net->duplicate_ppm = (uint32_t)rng_log_between(rng, 1000, 200000);
    if (coin(rng)) {
        net->reorder_ppm = (uint32_t)rng_log_between(rng, 1000, 300000);
        net->reorder_us_max = rng_log_between(rng, 50, 50000);
    }
    if (rng_chance(rng, PPM / 3))
        net->corrupt_ppm = (uint32_t)rng_log_between(rng, 1000, 100000);
    if (rng_chance(rng, PPM / 3))
        net->replay_ppm = (uint32_t)rng_log_between(rng, 1000, 200000);
    if (rng_chance(rng, PPM / 4))
        net->junk_ppm = (uint32_t)rng_log_between(rng, 1000, 100000);
    if (rng_chance(rng, PPM / 8))
        net->forge_ppm = (uint32_t)rng_log_between(rng, 1000, 50000);
    net->mtu_bytes = coin(rng) ? MTU_ETHERNET_BYTES : MTU_JUMBO_BYTES;
    net->delay_us_min = rng_log_between(rng, 5, 2000);
    net->delay_us_mean = net->delay_us_min + (coin(rng) ? rng_log_between(rng, 1, 5000) : 0);
    if (rng_chance(rng, PPM / 4)) {
        net->bandwidth_bytes_per_ms = (uint32_t)rng_log_between(rng, 500, 100000);
        net->queue_bytes_max = (uint32_t)rng_log_between(rng, 4000, 256000);
    }
}

static void helper_draw(struct scenario *s, struct rng *rng)
{
    struct helper_options *h = &s->helper; /* no initializer: the order of draws in it would be the compiler's */
    h->hold_us_max = (uint32_t)rng_between(rng, 0, 200);
    h->trunk_bytes_max = (uint32_t)rng_between(rng, SEGMENT_BYTES_MIN, PMW_TRUNK_BYTES_MAX);
    h->batch_entries_max = coin(rng) ? PMW_TRUNK_ENTRIES_MAX : (uint32_t)rng_log_between(rng, 1, PMW_TRUNK_ENTRIES_MAX);
    h->flows_max = coin(rng) ? 16 : FLOWS_MAX; /* 16: flows are evicted all the time */
    h->flow_idle_us = rng_log_between(rng, 1000, 30000000);
    h->no_buffer_ppm = rng_chance(rng, PPM / 8) ? 20000 : 0;
    h->poll_us_max = coin(rng) ? (uint32_t)rng_log_between(rng, 1, 50) : 0;
    h->trunk_family = s->trunk_family;
}

static void nemesis_draw(struct scenario *s, struct rng *rng)
{
    struct nemesis_options *n = &s->nemesis;
    if (rng_chance(rng, PPM / 8))
        return; /* a quiet run: the network's own faults only */
    n->enabled = rng_u64(rng) & (fault_bit(FAULT_NEMESIS_COUNT) - 1);
    /* The end of a process ends its connections, so that less is left to look at: in few runs. */
    if (!rng_chance(rng, PPM / 8))
        n->enabled &= ~(fault_bit(FAULT_CLIENT_CRASH) | fault_bit(FAULT_CLIENT_EXIT));
    if (!rng_chance(rng, PPM / 16))
        n->enabled &= ~(fault_bit(FAULT_SERVER_CRASH));
    if (!rng_chance(rng, PPM / 16))
        n->enabled &= ~(fault_bit(FAULT_CLIENT_SLEEP));
    n->gap_us_mean = rng_log_between(rng, 2000, 500000);
    n->duration_us_max = rng_log_between(rng, 1000, 2000000);
    n->true_hints = coin(rng);
}

static void workload_draw(struct scenario *s, struct rng *rng)
{
    struct workload_options *w = &s->workload; /* no initializer: the order of draws in it would be the compiler's */
    w->connections_per_client_max = (uint32_t)rng_between(rng, 1, 8);
    w->bytes_max = rng_log_between(rng, 16, 2097152);
    w->rounds_max = (uint32_t)rng_log_between(rng, 1, 256);
    w->abort_ppm = coin(rng) ? PPM / 8 : 0;
    w->release_early_ppm = coin(rng) ? PPM / 2 : 0;
    w->slow_reader_ppm = coin(rng) ? PPM / 8 : 0;
    /* All at once in some runs: then frames of many clients share batches. */
    w->open_us_max = rng_chance(rng, PPM / 4) ? 0 : rng_below(rng, s->fault_us + 1);
}

static void memory_draw(struct scenario *s, struct rng *rng)
{
    s->memory_fault.host = HOST_NONE;
    if (!rng_chance(rng, PPM / 8))
        return;
    bool server = coin(rng);
    s->memory_fault.host = server ? HOST_SERVER : HOST_CLIENT + (unsigned)rng_below(rng, s->nb_clients);
    s->memory_fault.fail_at = rng_log_between(rng, 1, server ? 1024 : 128);
    s->memory_fault.fail_count = (uint32_t)rng_log_between(rng, 1, 32);
}

/* Half of the runs keep the defaults of engine.h, the others have them doubled or halved a few times. */
static void timers_draw(struct scenario *s, struct rng *rng)
{
    struct vcl_config *c = &s->engine;
    if (coin(rng)) {
        c->pto_min_us = (uint32_t)rng_log_between(rng, 2000, 20000);
        c->pto_initial_us = c->pto_min_us + (uint32_t)rng_log_between(rng, 1, 20000);
        c->pto_max_us = c->pto_initial_us + (uint32_t)rng_log_between(rng, 10000, 200000);
        c->max_ack_delay_us = (uint32_t)rng_log_between(rng, 50, 2000);
        c->probe_interval_us = (uint32_t)rng_log_between(rng, 2000, 20000);
        c->path_penalty_us = (uint32_t)rng_log_between(rng, 50000, 10000000);
        c->tombstone_us = rng_log_between(rng, 1000000, 20000000);
        c->idle_us = rng_log_between(rng, 60000000, 400000000);
    }
    s->short_hold = rng_chance(rng, PPM / 16);
    s->fast_moves = rng_chance(rng, PPM / 32);
}

static void endpoints_draw(struct scenario *s, struct rng *rng)
{
    s->engine.sndbuf_bytes = (uint32_t)rng_log_between(rng, 2048, 65536);
    s->engine.rcvbuf_bytes = (uint32_t)rng_log_between(rng, 2048, 65536);
    s->engine.sndbuf_bytes_max = s->engine.sndbuf_bytes << rng_between(rng, 0, 2);
    s->engine.rcvbuf_bytes_max = s->engine.rcvbuf_bytes << rng_between(rng, 0, 2);
    s->engine.trunk_bytes_max = (uint32_t)rng_between(rng, SEGMENT_BYTES_MIN, PMW_TRUNK_BYTES_MAX);
    s->small_backlog = rng_chance(rng, PPM / 8);
    s->engine.backlog_max = s->small_backlog ? (uint32_t)rng_between(rng, 1, 4) : 1024;
    s->accept_gap_us = rng_chance(rng, PPM / 4) ? rng_log_between(rng, 10, 20000) : 0;
    s->endpoint_poll_us_max = coin(rng) ? (uint32_t)rng_log_between(rng, 1, 500) : 0;
    s->expired_tokens = rng_chance(rng, PPM / 8);
    s->token_delay_us = rng_log_between(rng, 100, 200000);
    s->reports_lag = !rng_chance(rng, PPM / 8);
    s->clock_offsets = coin(rng);
}

/* Never 0: a datagram takes time on its way. Otherwise a whole conversation may happen at one instant, and how much of
 * that is a livelock nobody can tell; no clock would have moved, and no round trip be known. */
static uint64_t delay_below(uint64_t delay_us, uint64_t limit_us)
{
    return delay_us % limit_us ? delay_us % limit_us : 1;
}

/* In a quiet run every answer comes well before the shortest PTO. */
static void make_quiet(struct scenario *s)
{
    s->net.delay_us_mean = s->net.delay_us_min = delay_below(s->net.delay_us_min, 200);
    s->helper.poll_us_max %= 100;
    s->helper.flows_max =
        FLOWS_MAX; /* a flow that must make room takes its binding along, and frames on their way (T6) */
    s->endpoint_poll_us_max %= 100;
    s->engine.max_ack_delay_us %= 500;
    s->small_backlog = false;
    s->engine.backlog_max = CONNECTIONS_MAX;
    s->accept_gap_us = 0; /* slow applications shut windows, and probes of a shut window count as resent */
    s->workload.slow_reader_ppm = 0;
}

/* As quiet as that, until one thing happens; the faults phase leaves time to see the sessions move. */
static void make_clean(struct scenario *s, struct rng *rng)
{
    vcl_config_defaults(&s->engine); /* the promise is for the default timers */
    s->engine.conns_max = 4 * CONNECTIONS_MAX;
    s->workload.bytes_max = CLEAN_CRASH_BYTES;
    s->workload.open_us_max = CLEAN_CRASH_WITHIN_US / 2;
    s->crash_at_us = rng_below(rng, CLEAN_CRASH_WITHIN_US);
    s->fault_us += CLEAN_CRASH_RUN_US;
    s->quiet = false;
}

/* What these ask for, unless they are not allowed. */
static void apply_hold_and_moves(struct scenario *s)
{
    if (s->short_hold) {
        s->engine.hold_us = SHORT_HOLD_US;
        s->engine.open_timeout_us = SHORT_HOLD_US / 2;
    }
    s->sleepers = s->nemesis.enabled & fault_bit(FAULT_CLIENT_SLEEP);
    if (s->sleepers) {
        s->engine.hold_us = SLEEP_HOLD_US;
        s->sleep_us_max = SLEEP_RUN_US / 2;
        s->fault_us += SLEEP_RUN_US;
        s->nemesis.gap_us_mean += SLEEP_RUN_US / 100; /* a long run needs its faults further apart */
    }
    s->rests = s->rests && !s->sleepers && !s->short_hold && !s->fast_moves; /* a rest is no reason for a TIMEOUT */
    if (s->rests) {
        s->fault_us += REST_RUN_US;
        s->nemesis.gap_us_mean += REST_RUN_US / 100;
        s->net.loss_ppm /= 4; /* in minutes of heavy loss, or without any path, connections end, and rightly so */
        s->net.loss_burst = 1;
        if (!s->direct_path)
            s->nemesis.enabled &= ~fault_bit(FAULT_HELPER_CRASH);
    }
    if (s->fast_moves) {
        /* Spacing is what gives a RESUME time on a slow path; without it the path must be quick. */
        s->net.delay_us_min = delay_below(s->net.delay_us_min, FAST_MOVE_US);
        s->net.delay_us_mean = s->net.delay_us_min;
        s->net.bandwidth_bytes_per_ms = 0;
        s->net.reorder_us_max %= FAST_MOVE_US;
        s->engine.pto_initial_us += 8 * FAST_MOVE_US;
        s->engine.move_interval_min_us = FAST_MOVE_US;
        s->engine.move_interval_max_us = FAST_MOVE_US;
        s->nemesis.enabled |= fault_bit(FAULT_HINT);
        s->nemesis.gap_us_mean = FAST_MOVE_US;
        s->fault_us = s->fault_us < FAST_MOVES_RUN_US ? FAST_MOVES_RUN_US : s->fault_us;
    }
}

const char *fault_name(enum fault fault)
{
    static const char *const names[] = {
#define SIM_X(name, text) text,
        FAULTS(SIM_X)
#undef SIM_X
    };
    return names[fault];
}

/* Switches off what is not allowed. */
static void restrict_faults(struct scenario *s, uint64_t allowed)
{
    uint32_t *const net_faults[FAULT_COUNT] = {
        [FAULT_LOSS] = &s->net.loss_ppm,
        [FAULT_DUPLICATE] = &s->net.duplicate_ppm,
        [FAULT_REORDER] = &s->net.reorder_ppm,
        [FAULT_CORRUPT] = &s->net.corrupt_ppm,
        [FAULT_REPLAY] = &s->net.replay_ppm,
        [FAULT_JUNK] = &s->net.junk_ppm,
        [FAULT_FORGE] = &s->net.forge_ppm,
        [FAULT_SLOW_READER] = &s->workload.slow_reader_ppm,
        [FAULT_BUFFERS] = &s->helper.no_buffer_ppm,
        [FAULT_BANDWIDTH] = &s->net.bandwidth_bytes_per_ms,
    };
    s->nemesis.enabled &= allowed;
    for (int i = 0; i < FAULT_COUNT; i++)
        if (net_faults[i] && !(allowed & fault_bit(i)))
            *net_faults[i] = 0;
    if (!(allowed & fault_bit(FAULT_MEMORY)))
        s->memory_fault.host = HOST_NONE;
    s->expired_tokens = s->expired_tokens && (allowed & fault_bit(FAULT_TOKENS));
    s->short_hold = s->short_hold && (allowed & fault_bit(FAULT_SHORT_HOLD));
    s->fast_moves = s->fast_moves && (allowed & fault_bit(FAULT_FAST_MOVES));
    s->rests = s->rests && (allowed & fault_bit(FAULT_REST));
}

void scenario_draw(struct scenario *s, uint64_t seed, uint64_t allowed, struct rng *rng)
{
    memset(s, 0, sizeof *s);
    s->seed = seed;
    s->nb_clients = (uint8_t)rng_log_between(rng, 1, CLIENTS_MAX);
    s->nb_helpers = (uint8_t)rng_below(rng, HELPERS_MAX + 1);
    s->direct_path = s->nb_helpers == 0 || rng_chance(rng, PPM / 4 * 3);
    s->rank_max = coin(rng) ? (uint8_t)rng_between(rng, 1, RANK_MAX) : 0;
    s->client_family = rng_chance(rng, PPM / 4) ? 6 : 4;
    s->trunk_family = rng_chance(rng, PPM / 4) ? 6 : 4;
    s->fault_us = rng_log_between(rng, 20000, 4000000);
    net_draw(&s->net, rng);
    helper_draw(s, rng);
    nemesis_draw(s, rng);
    workload_draw(s, rng);
    vcl_config_defaults(&s->engine);
    endpoints_draw(s, rng);
    memory_draw(s, rng);
    timers_draw(s, rng);
    s->heal = coin(rng) ? HEAL_ALL : HEAL_ONE_PATH;
    uint64_t nb_paths = s->nb_helpers + (s->direct_path ? 1u : 0u);
    uint64_t survivor = rng_below(rng, nb_paths);
    s->healed_path = (uint8_t)(survivor < s->nb_helpers ? HOST_HELPER + survivor : HOST_SERVER);
    s->quiet = rng_chance(rng, PPM / 8);
    s->rests = seed % 16 == 3; /* not drawn: other seeds stay the runs that they were */
    restrict_faults(s, s->quiet ? 0 : allowed);
    bool crash = coin(rng) && s->nb_helpers + (s->direct_path ? 1 : 0) >= 2 && s->nb_helpers > 0;
    bool ranks = !crash && s->nb_helpers >= 2;
    if (s->quiet)
        make_quiet(s);
    s->clean_crash = s->quiet && crash;
    s->clean_ranks = s->quiet && ranks;
    if (s->clean_crash || s->clean_ranks)
        make_clean(s, rng);
    if (s->clean_ranks) { /* more to look at: conversations that take longer than the proof of a path */
        s->workload.connections_per_client_max = CONNECTIONS_MAX / CLIENTS_MAX;
        s->workload.rounds_max = CLEAN_RANKS_ROUNDS;
        s->workload.bytes_max = CLEAN_RANKS_ROUNDS * 1024;
    }
    apply_hold_and_moves(s);
}

void scenario_print(const struct scenario *s)
{
    const struct net_options *n = &s->net;
    printf("  %u clients (IPv%u), %u helpers%s, faults for %" PRIu64 " ms, then %s\n", s->nb_clients, s->client_family,
           s->nb_helpers, s->direct_path ? " and the direct path" : "", s->fault_us / 1000,
           s->heal == HEAL_ALL             ? "all is well"
           : s->healed_path == HOST_SERVER ? "only the direct path works"
                                           : "one helper works");
    if (s->quiet)
        printf("  a quiet run\n");
    if (s->clean_crash)
        printf("  a quiet run, but one helper dies at %" PRIu64 " us\n", s->crash_at_us);
    if (s->clean_ranks)
        printf("  a quiet run, but candidates have other ranks from %" PRIu64 " us on\n", s->crash_at_us);
    printf("  loss %u ppm (bursts of %u), duplicates %u, reordering %u by up to %" PRIu64
           " us, corruption %u, replay %u, junk %u, forged %u; UDP payloads to %u\n",
           n->loss_ppm, n->loss_burst, n->duplicate_ppm, n->reorder_ppm, n->reorder_us_max, n->corrupt_ppm,
           n->replay_ppm, n->junk_ppm, n->forge_ppm, n->mtu_bytes);
    printf("  delay %" PRIu64 "-%" PRIu64
           " us, bandwidth %u B/ms, queue %u B; helpers hold %u us, %u flows, segment %u B\n",
           n->delay_us_min, n->delay_us_mean, n->bandwidth_bytes_per_ms, n->queue_bytes_max, s->helper.hold_us_max,
           s->helper.flows_max, s->helper.trunk_bytes_max);
    printf("  each %" PRIu64 " us, for up to %" PRIu64 " us:", s->nemesis.gap_us_mean, s->nemesis.duration_us_max);
    for (int i = 0; i < FAULT_NEMESIS_COUNT; i++)
        if (s->nemesis.enabled & fault_bit(i))
            printf(" %s", fault_name((enum fault)i));
    const struct vcl_config *e = &s->engine;
    printf("%s\n  buffers %u/%u B, backlog %u; PTO %u, %u to %u us, ack delay %u us%s%s%s\n",
           s->nemesis.true_hints ? ", true hints" : "", e->sndbuf_bytes, e->rcvbuf_bytes, e->backlog_max,
           e->pto_initial_us, e->pto_min_us, e->pto_max_us, e->max_ack_delay_us, s->short_hold ? ", short hold" : "",
           s->fast_moves ? ", fast moves" : "", s->rests ? ", rests" : "");
    if (s->memory_fault.host != HOST_NONE)
        printf("  host %s: allocations %" PRIu64 " to +%u fail\n", host_name(s->memory_fault.host),
               s->memory_fault.fail_at, s->memory_fault.fail_count);
    if (s->expired_tokens)
        printf("  first tokens are expired, new ones take %" PRIu64 " us\n", s->token_delay_us);
}
