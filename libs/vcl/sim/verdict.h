/* SPDX-License-Identifier: Apache-2.0
 *
 * The outcome of one run: passed, or the first violated rule with its reason. Later violations are consequences and
 * are not kept.
 */
#ifndef SIM_VERDICT_H
#define SIM_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

enum rule {
    RULE_NONE,
    RULE_I1,          /* delivered = prefix of what was sent, each byte once, in order */
    RULE_I2,          /* no byte of another connection */
    RULE_I3,          /* the reply path is that of the highest accepted epoch; epochs never go back */
    RULE_I4,          /* after the faults end, everything is delivered in bounded time */
    RULE_I5,          /* caps hold, nothing leaks, no state outlives its reason */
    RULE_I6,          /* at most three times as many bytes to a path that is not validated as came from it */
    RULE_I7,          /* input that is not authentic changes nothing */
    RULE_I8,          /* what is sent again stays within the budget */
    RULE_I9,          /* both ends hear of a connection that is lost, within T_hold and idle */
    RULE_I10,         /* a helper sends no more than its credit, and none is lost for good */
    RULE_FAILOVER,    /* when nothing but a helper dies, a busy session is back within 50 ms */
    RULE_RANKS,       /* when nothing but ranks change, a session goes to the best path, once and without loss */
    RULE_QUIET,       /* without any fault nothing is sent twice and no path is left */
    RULE_ERROR,       /* a connection ended in a way that neither its plan nor the faults explain */
    RULE_CONTRACT,    /* engine.h or relay.h is not kept: livelock, bad length, bad result */
    RULE_DETERMINISM, /* the same seed gave another history */
};
const char *rule_name(enum rule rule);

struct verdict {
    enum rule rule;
    uint64_t at_us;
    char text[320];
};

__attribute__((format(printf, 4, 5))) void verdict_fail(struct verdict *v, uint64_t at_us, enum rule rule,
                                                        const char *format, ...);

#endif
