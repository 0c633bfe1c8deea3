/* SPDX-License-Identifier: Apache-2.0
 *
 * The only source of chance in the simulator: PCG32 streams (O'Neill 2014, PCG-XSH-RR 64/32). Every part takes its own
 * stream by rng_split, so that a draw added in one part does not shift the draws of another. Integers only: a seed
 * means the same run on every machine.
 */
#ifndef SIM_RNG_H
#define SIM_RNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PPM 1000000u /* probabilities are parts per million */

struct rng {
    uint64_t state, increment; /* increment is odd and names the stream */
};

/* Starts a stream that depends on both numbers. */
void rng_seed(struct rng *r, uint64_t seed, uint64_t stream);
/* A new stream for the part called `part`; the parent advances by one draw. */
struct rng rng_split(struct rng *parent, uint64_t part);

uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
/* 0 <= result < n; n > 0. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* lo <= result <= hi. */
uint64_t rng_between(struct rng *r, uint64_t lo, uint64_t hi);
/* Between lo and hi, each power of two as likely as the next: small numbers are common and large ones occur. lo >= 1.
 */
uint64_t rng_log_between(struct rng *r, uint64_t lo, uint64_t hi);
bool rng_chance(struct rng *r, uint32_t ppm);
/* Roughly exponential with this mean (piecewise linear in log2), at most 24 times the mean. */
uint64_t rng_exponential(struct rng *r, uint64_t mean);
void rng_bytes(struct rng *r, void *buf, size_t len);

/* A fixed mixing of 64 bits (SplitMix64 finalizer, Steele 2014): for values that are a function of their place. */
uint64_t mix64(uint64_t x);

#endif
