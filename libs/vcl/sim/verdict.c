/* SPDX-License-Identifier: Apache-2.0
 * The outcome of one run: see verdict.h. */
#include "verdict.h"

#include <stdarg.h>
#include <stdio.h>

const char *rule_name(enum rule rule)
{
    static const char *const names[] = {"passed", "I1",    "I2",    "I3",       "I4",         "I5",
                                        "I6",     "I7",    "I8",    "I9",       "I10",        "failover",
                                        "ranks",  "quiet", "error", "contract", "determinism"};
    return names[rule];
}

void verdict_fail(struct verdict *v, uint64_t at_us, enum rule rule, const char *format, ...)
{
    if (v->rule != RULE_NONE)
        return;
    v->rule = rule;
    v->at_us = at_us;
    va_list args;
    va_start(args, format);
    vsnprintf(v->text, sizeof v->text, format, args);
    va_end(args);
}
