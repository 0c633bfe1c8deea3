/* SPDX-License-Identifier: Apache-2.0
 * Runs many seeds and reports: see batch.h. Workers are forked; each notes its present seed in shared memory, so that a
 * crash of the code under test is reported with its seed. */
#include "batch.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    SEED_SECONDS_MAX = 120, /* of real time; a seed that takes longer hangs */
    FAILURES_SHOWN_MAX = 20,
    SELF_TEST_SEEDS = 40,
    SELF_TEST_SEEDS_MAX = 2000,
};

struct totals {
    uint64_t seeds, failed, repeated;
    uint64_t hash; /* of all histories, in any order */
    uint64_t recovery_us_max, recovery_seed, failover_us_max, peak_bytes_max;
#define SIM_X(name) uint64_t name;
    RUN_COUNTERS(SIM_X)
#undef SIM_X
};

/* One per worker, shared with the parent. */
struct worker {
    uint64_t next; /* how many seeds of the batch are behind it or being run, in steps of the number of jobs */
    uint64_t seed; /* being run now */
    struct totals totals;
    pid_t pid;
};

static void totals_add(struct totals *t, uint64_t seed, const struct run_result *r)
{
    t->seeds++;
#define SIM_X(name) t->name += r->name;
    RUN_COUNTERS(SIM_X)
#undef SIM_X
    t->hash ^= mix64(seed ^ r->hash);
    if (r->recovery_us > t->recovery_us_max) {
        t->recovery_us_max = r->recovery_us;
        t->recovery_seed = seed;
    }
    if (r->failover_us > t->failover_us_max)
        t->failover_us_max = r->failover_us;
    if (r->peak_bytes > t->peak_bytes_max)
        t->peak_bytes_max = r->peak_bytes;
}

static void totals_merge(struct totals *t, const struct totals *more)
{
    t->seeds += more->seeds;
    t->failed += more->failed;
    t->repeated += more->repeated;
    t->hash ^= more->hash;
#define SIM_X(name) t->name += more->name;
    RUN_COUNTERS(SIM_X)
#undef SIM_X
    if (more->recovery_us_max > t->recovery_us_max) {
        t->recovery_us_max = more->recovery_us_max;
        t->recovery_seed = more->recovery_seed;
    }
    if (more->failover_us_max > t->failover_us_max)
        t->failover_us_max = more->failover_us_max;
    if (more->peak_bytes_max > t->peak_bytes_max)
        t->peak_bytes_max = more->peak_bytes_max;
}

static void print_replay(const struct batch_options *o, uint64_t seed)
{
    printf("  repeat it: ./postman test --sim-seed %" PRIu64 "\n         or: %s --seed %" PRIu64 " --trace%s%s%s%s\n",
           seed, o->program, seed, o->only ? " --only " : "", o->only ? o->only : "",
           o->run.plant != PLANTED_NOTHING ? " --plant " : "",
           o->run.plant != PLANTED_NOTHING ? plant_name(o->run.plant) : "");
}

static void print_failure(const struct batch_options *o, uint64_t seed, const struct verdict *v)
{
    printf("seed %" PRIu64 " FAILED at %" PRIu64 ".%06" PRIu64 " s: %s: %s\n", seed, v->at_us / 1000000,
           v->at_us % 1000000, rule_name(v->rule), v->text);
    print_replay(o, seed);
}

/* One seed, and once more when it is due for a comparison. */
static void run_seed(const struct batch_options *o, uint64_t seed, struct totals *t)
{
    struct run_result result, again;
    alarm(SEED_SECONDS_MAX);
    simulation_run(seed, &o->run, &result);
    bool repeat = o->repeat_each != 0 && seed % o->repeat_each == 0 && !o->run.trace;
    if (repeat && result.verdict.rule == RULE_NONE) {
        struct run_options silent = {.allowed_faults = o->run.allowed_faults, .plant = o->run.plant};
        simulation_run(seed, &silent, &again);
        t->repeated++;
        if (again.hash != result.hash)
            verdict_fail(&result.verdict, 0, RULE_DETERMINISM, "histories %016" PRIx64 " and %016" PRIx64, result.hash,
                         again.hash);
    }
    alarm(0);
    totals_add(t, seed, &result);
    if (result.verdict.rule != RULE_NONE) {
        t->failed++;
        if (t->failed <= FAILURES_SHOWN_MAX)
            print_failure(o, seed, &result.verdict);
    } else if (o->run.verbose) {
        printf("seed %" PRIu64 " passed: %" PRIu64 " of %" PRIu64 " connections complete, %" PRIu64 " frames, %" PRIu64
               " moves, all done %" PRIu64 " us after the faults, history %016" PRIx64 "\n",
               seed, result.completed, result.connections, result.frames, result.moves, result.recovery_us,
               result.hash);
    }
    fflush(stdout);
}

static void work(const struct batch_options *o, struct worker *me)
{
    while (me->next < o->count) {
        me->seed = o->from + me->next;
        me->next += o->jobs;
        run_seed(o, me->seed, &me->totals);
    }
    fflush(stdout);
    _exit(0);
}

static void worker_start(const struct batch_options *o, struct worker *worker)
{
    fflush(stdout);
    pid_t pid = fork(); /* not into shared memory at once: the child would write its 0 there */
    if (pid == 0)
        work(o, worker);
    worker->pid = pid;
}

/* true: the worker came to its end; false: the seed that it was running ended it. */
static bool await(const struct batch_options *o, struct worker *worker)
{
    int status;
    if (worker->pid < 0 || waitpid(worker->pid, &status, 0) != worker->pid) {
        perror("vcl-sim: fork");
        exit(1);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (WIFSIGNALED(status))
        printf("seed %" PRIu64 " FAILED: the process ended by signal %d (%s)\n", worker->seed, WTERMSIG(status),
               WTERMSIG(status) == SIGALRM ? "it hangs" : "a crash or an assertion");
    else
        printf("seed %" PRIu64 " FAILED: the process ended with code %d\n", worker->seed, WEXITSTATUS(status));
    print_replay(o, worker->seed);
    worker->totals.seeds++;
    worker->totals.failed++;
    return false;
}

static void print_totals(const struct totals *t, double seconds)
{
    printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " run twice, in %.1f s:", t->seeds, t->failed, t->repeated,
           seconds);
#define SIM_X(name) printf(" " #name " %" PRIu64, t->name);
    RUN_COUNTERS(SIM_X)
#undef SIM_X
    printf("\nlongest failover %" PRIu64 " us, longest recovery %" PRIu64 " us (seed %" PRIu64
           "), largest engine %" PRIu64 " bytes, histories %016" PRIx64 "\n",
           t->failover_us_max, t->recovery_us_max, t->recovery_seed, t->peak_bytes_max, t->hash);
}

static double seconds_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_forked(const struct batch_options *o, struct totals *sum)
{
    struct worker *workers =
        mmap(NULL, o->jobs * sizeof *workers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (workers == MAP_FAILED) {
        perror("vcl-sim: mmap");
        exit(1);
    }
    for (unsigned i = 0; i < o->jobs; i++) {
        workers[i].next = i;
        worker_start(o, &workers[i]);
    }
    for (unsigned i = 0; i < o->jobs; i++) {
        while (!await(o, &workers[i]))
            worker_start(o, &workers[i]); /* goes on behind the seed that crashed */
        totals_merge(sum, &workers[i].totals);
    }
    munmap(workers, o->jobs * sizeof *workers);
}

bool batch_run(const struct batch_options *o)
{
    struct totals sum = {0};
    double start = seconds_now();
    if (o->single) { /* in this process: a debugger wants it so */
        printf("seed %" PRIu64 "\n", o->from);
        print_replay(o, o->from);
        fflush(stdout);
        run_seed(o, o->from, &sum);
    } else {
        printf("seeds %" PRIu64 " to %" PRIu64 ", %u at a time; one alone: %s --seed N\n", o->from,
               o->from + o->count - 1, o->jobs, o->program);
        run_forked(o, &sum);
    }
    print_totals(&sum, seconds_now() - start);
    return sum.failed == 0 && sum.seeds == o->count;
}

/* --- self-test ------------------------------------------------------------------------------------------------ */
static bool plant_is_seen(enum plant plant, uint64_t from, uint64_t count)
{
    /* The rule that must see it, and others that may come first: a few foreign bytes cannot be told from damaged ones,
     * and a connection that waits for a silent path ends by its own timeout. */
    static const enum rule expected[PLANTED_COUNT] = {
        [PLANTED_SWAP] = RULE_I1,
        [PLANTED_SKIP] = RULE_I1,
        [PLANTED_REPEAT] = RULE_I1,
        [PLANTED_CROSS] = RULE_I2,
        [PLANTED_STALE_PATH] = RULE_I3,
        [PLANTED_SILENCE] = RULE_ERROR,
        [PLANTED_LEAK] = RULE_I5,
        [PLANTED_DRIFT] = RULE_NONE,
        [PLANTED_FLIP_PAYLOAD] = RULE_NONE,
        [PLANTED_LOSS] = RULE_QUIET,
        [PLANTED_SLOW_MOVE] = RULE_FAILOVER,
        [PLANTED_FOREIGN] = RULE_I7,
        [PLANTED_DEAF] = RULE_I9,
        [PLANTED_OLD_RANKS] = RULE_RANKS,
    };
    static const uint32_t tolerated[PLANTED_COUNT] = {
        [PLANTED_CROSS] = 1u << RULE_I1,
        [PLANTED_SILENCE] = 1u << RULE_I4 | 1u << RULE_I9 | 1u << RULE_QUIET,
        [PLANTED_FLIP_PAYLOAD] = 1u << RULE_QUIET | 1u << RULE_FAILOVER | 1u << RULE_RANKS,
    };
    uint64_t seen = 0, wrong = 0;
    uint64_t seed = from;
    /* Some kinds of run are rare: more seeds for what needs them. */
    for (; seed < from + count || (seen == 0 && seed < from + SELF_TEST_SEEDS_MAX); seed++) {
        struct run_result r, again;
        const struct run_options run = {.allowed_faults = UINT64_MAX, .plant = plant};
        simulation_run(seed, &run, &r);
        if (plant == PLANTED_DRIFT)
            simulation_run(seed, &run, &again);
        bool biting = plant == PLANTED_FLIP_PAYLOAD ? r.check_drops > 0
                      : plant == PLANTED_DRIFT      ? r.hash != again.hash
                                                    : r.verdict.rule == expected[plant];
        seen += biting;
        if (r.verdict.rule != RULE_NONE && r.verdict.rule != expected[plant] &&
            !(tolerated[plant] & 1u << r.verdict.rule))
            printf("  seed %" PRIu64 ": %s: %s\n", seed, rule_name(r.verdict.rule), r.verdict.text);
        wrong += r.verdict.rule != RULE_NONE && r.verdict.rule != expected[plant] &&
                 !(tolerated[plant] & 1u << r.verdict.rule);
    }
    printf("planted %-13s seen by %s in %" PRIu64 " of %" PRIu64 " seeds%s\n", plant_name(plant),
           plant == PLANTED_FLIP_PAYLOAD ? "check counters"
           : plant == PLANTED_DRIFT      ? "determinism"
                                         : rule_name(expected[plant]),
           seen, seed - from, wrong ? ", and something else failed" : "");
    return seen > 0 && wrong == 0;
}

bool batch_self_test(const struct batch_options *o)
{
    bool ok = true;
    for (int plant = PLANTED_NOTHING + 1; plant < PLANTED_COUNT; plant++)
        ok = plant_is_seen((enum plant)plant, o->from, o->count < SELF_TEST_SEEDS ? o->count : SELF_TEST_SEEDS) && ok;
    return ok;
}
