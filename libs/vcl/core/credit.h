/* SPDX-License-Identifier: Apache-2.0
 *
 * How many DATA entries each helper may have sent (O1): Breakwater's rule (Cho et al., OSDI 2020, section 3), with the
 * age of the oldest byte that the application has not read as the queueing delay.
 *
 * While the application keeps up, a helper may send CREDIT_SPARE_ENTRIES and what it lately sent in a millisecond
 * beyond what has arrived: a round trip is shorter than that, so nobody ever waits. When the delay passes the target,
 * there is a pool: the number of messages that may be unread or on their way, cut with the excess of delay and else
 * rising, shared by what the helpers send and hold.
 */
#ifndef VCL_CORE_CREDIT_H
#define VCL_CORE_CREDIT_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CREDIT_ROUND_US = 100,      /* of the controller; 10 us in Breakwater's code, for kernel-bypass round trips */
    CREDIT_ROUNDS_MAX = 64,     /* made up for after a silence */
    CREDIT_SPARE_ENTRIES = 256, /* what a helper holds without credit is as much (O2) */
    CREDIT_SPARE_MS = 1,
    CREDIT_RISE_SHARE = 64,         /* of the pool, and at least one message, a round */
    CREDIT_CUT_PER_MILLE = 20,      /* of the pool for each target of delay in excess: Breakwater's 0.02 ... */
    CREDIT_CUT_MAX_PER_MILLE = 500, /* ... and 0.5 */
    CREDIT_REPEAT_US_MIN = 1000,    /* a limit that is not acknowledged is not repeated before */
};

struct credit { /* of an engine */
    uint64_t round_at, cut_at;
    uint64_t pool;    /* limited: messages that may be unread or on their way */
    uint64_t weights; /* sum over trunks, of this round */
    bool limited;
};

struct trunk_credit {             /* all counts modulo 2^32, as on the wire */
    bool heard;                   /* the helper has told what it sent and holds */
    bool told;                    /* it has been told a limit */
    uint32_t demand;              /* sent and held */
    uint32_t limit;               /* told last */
    uint64_t told_seq, told_at;   /* the first batch with that limit; when it, or a repetition, was asked for */
    uint32_t sent_at_round, rate; /* entries sent at the last round; in a millisecond lately */
};

/* What the helper is known to have sent; what waits there for credit. */
uint32_t vcl__credit_sent(const struct trunk_credit *t);
uint32_t vcl__credit_waiting(const struct trunk_credit *t);
uint32_t vcl__credit_left(const struct trunk_credit *t); /* of what it was told; a helper that was told nothing: all */
void vcl__credit_on_demand(struct trunk_credit *t, uint32_t demand);

/* One round for the engine, then for each trunk vcl__credit_weigh, then vcl__credit_limit is up to date. Due once in
 * CREDIT_ROUND_US. delay_us: age of the oldest unread byte; nb_unread: messages; nb_trunks: who shares. */
bool vcl__credit_due(const struct credit *c, uint64_t now);
void vcl__credit_round(struct credit *c, uint64_t now, uint64_t target_us, uint64_t delay_us, uint64_t nb_unread,
                       uint32_t nb_trunks);
void vcl__credit_weigh(struct credit *c, struct trunk_credit *t, uint64_t elapsed_us);
/* Batch seq, which leaves now, tells this limit. */
void vcl__credit_told(struct trunk_credit *t, uint64_t now, uint64_t seq, uint32_t limit);
/* A batch of the helper acknowledges ack and no later one: is the limit to be told again? True at most once in two
 * round trips (0: not known) and CREDIT_REPEAT_US_MIN. */
bool vcl__credit_unheard(struct trunk_credit *t, uint64_t now, uint64_t ack, uint64_t rtt_us);
/* The limit to tell now; it never goes back. */
uint32_t vcl__credit_limit(const struct credit *c, const struct trunk_credit *t, uint64_t nb_unread);
/* The helper has, by what it was told, not enough for another round trip. */
bool vcl__credit_is_low(const struct trunk_credit *t);

#endif
