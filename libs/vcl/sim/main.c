/* SPDX-License-Identifier: Apache-2.0
 *
 * vcl-sim: runs seeds of the simulator and says how to repeat what failed.
 *
 *   vcl-sim [--from N] [--seeds COUNT] [--jobs J] [--repeat K] [--only FAULT,...] [--verbose]
 *   vcl-sim --seed N [--trace] [--only FAULT,...] [--verbose]
 *   vcl-sim --self-test
 *
 * Exit code: 0 all passed, 1 a rule was violated, 2 wrong arguments.
 */
#include "batch.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(FILE *out)
{
    fputs("vcl-sim: Postman's engines and relays in one virtual time, with faults drawn from a seed\n"
          "  --seed N        run this seed only\n"
          "  --from N        first seed (1)\n"
          "  --seeds COUNT   how many seeds (100)\n"
          "  --jobs J        processes (1)\n"
          "  --repeat K      run each K-th seed twice and compare its history (16; 0: never)\n"
          "  --only FAULTS   leave out all other faults: a list with commas, or none\n"
          "  --trace         print each datagram and event; best with --seed\n"
          "  --verbose       print the scenario and the result of each seed\n"
          "  --plant FAULT   break the simulator on purpose; see --self-test\n"
          "  --self-test     plant each fault and demand that the checks see it\n",
          out);
    fputs("faults:", out);
    for (int i = 0; i < FAULT_COUNT; i++)
        fprintf(out, " %s", fault_name((enum fault)i));
    fputs("\nplants:", out);
    for (int i = PLANTED_NOTHING + 1; i < PLANTED_COUNT; i++)
        fprintf(out, " %s", plant_name((enum plant)i));
    fputs("\n", out);
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 0);
    return errno == 0 && *text >= '0' && *text <= '9' && *end == 0;
}

static bool parse_plant(const char *text, enum plant *plant)
{
    for (int i = 0; i < PLANTED_COUNT; i++)
        if (strcmp(text, plant_name((enum plant)i)) == 0) {
            *plant = (enum plant)i;
            return true;
        }
    return false;
}

/* "none", or names with commas between them. */
static bool parse_faults(const char *text, uint64_t *faults)
{
    *faults = 0;
    if (strcmp(text, "none") == 0)
        return true;
    for (;;) {
        size_t len = strcspn(text, ",");
        int i = 0;
        while (i < FAULT_COUNT &&
               (strlen(fault_name((enum fault)i)) != len || strncmp(fault_name((enum fault)i), text, len) != 0))
            i++;
        if (i == FAULT_COUNT)
            return false;
        *faults |= fault_bit(i);
        if (text[len] == 0)
            return true;
        text += len + 1;
    }
}

/* Those with a number first. */
enum option_id {
    OPTION_SEED = 256,
    OPTION_FROM,
    OPTION_SEEDS,
    OPTION_JOBS,
    OPTION_REPEAT,
    OPTION_ONLY,
    OPTION_TRACE,
    OPTION_VERBOSE,
    OPTION_PLANT,
    OPTION_SELF_TEST,
    OPTION_HELP
};

static const struct option options[] = {
    {"seed", required_argument, NULL, OPTION_SEED},     {"from", required_argument, NULL, OPTION_FROM},
    {"seeds", required_argument, NULL, OPTION_SEEDS},   {"jobs", required_argument, NULL, OPTION_JOBS},
    {"repeat", required_argument, NULL, OPTION_REPEAT}, {"only", required_argument, NULL, OPTION_ONLY},
    {"trace", no_argument, NULL, OPTION_TRACE},         {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {"plant", required_argument, NULL, OPTION_PLANT},   {"self-test", no_argument, NULL, OPTION_SELF_TEST},
    {"help", no_argument, NULL, OPTION_HELP},           {NULL, 0, NULL, 0},
};

/* Applies one option; false: its argument is wrong. */
static bool apply(int option, const char *argument, struct batch_options *o)
{
    uint64_t number = 0;
    bool numeric = option >= OPTION_SEED && option <= OPTION_REPEAT;
    if (numeric && !parse_number(argument, &number))
        return false;
    switch (option) {
    case OPTION_SEED:
        o->single = true;
        o->from = number;
        o->count = 1;
        return true;
    case OPTION_FROM:
        o->from = number;
        return true;
    case OPTION_SEEDS:
        o->count = number;
        return true;
    case OPTION_JOBS:
        o->jobs = (unsigned)number;
        return number >= 1 && number <= BATCH_JOBS_MAX;
    case OPTION_REPEAT:
        o->repeat_each = number;
        return true;
    case OPTION_ONLY:
        o->only = argument;
        return parse_faults(argument, &o->run.allowed_faults);
    case OPTION_TRACE:
        return o->run.trace = true;
    case OPTION_VERBOSE:
        return o->run.verbose = true;
    case OPTION_PLANT:
        return parse_plant(argument, &o->run.plant);
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    struct batch_options o = {
        .program = argv[0], .from = 1, .count = 100, .jobs = 1, .repeat_each = 16, .run.allowed_faults = UINT64_MAX};
    bool self_test = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == OPTION_HELP) {
            usage(stdout);
            return 0;
        }
        if (option == OPTION_SELF_TEST) {
            self_test = true;
        } else if (!apply(option, optarg, &o)) {
            usage(stderr);
            return 2;
        }
    }
    if (optind != argc) {
        usage(stderr);
        return 2;
    }
    return (self_test ? batch_self_test(&o) : batch_run(&o)) ? 0 : 1;
}
