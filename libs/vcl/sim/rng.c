/* SPDX-License-Identifier: Apache-2.0
 * PCG32 streams and the draws made from them: see rng.h. */
#include "rng.h"

#include <assert.h>

uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

void rng_seed(struct rng *r, uint64_t seed, uint64_t stream)
{
    r->increment = (mix64(stream) << 1) | 1;
    r->state = mix64(seed) + r->increment;
    rng_u32(r);
}

struct rng rng_split(struct rng *parent, uint64_t part)
{
    struct rng child;
    rng_seed(&child, rng_u64(parent), part);
    return child;
}

uint32_t rng_u32(struct rng *r)
{
    uint64_t old = r->state;
    r->state = old * 6364136223846793005u + r->increment;
    uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27), turn = (uint32_t)(old >> 59);
    return (shifted >> turn) | (shifted << ((32 - turn) & 31));
}

uint64_t rng_u64(struct rng *r)
{
    uint64_t high = rng_u32(r);
    return high << 32 | rng_u32(r);
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
    assert(n > 0);
    return (uint64_t)(((unsigned __int128)rng_u64(r) * n) >> 64); /* bias below 2^-40 for our ranges */
}

uint64_t rng_between(struct rng *r, uint64_t lo, uint64_t hi)
{
    assert(lo <= hi);
    return lo + rng_below(r, hi - lo + 1);
}

uint64_t rng_log_between(struct rng *r, uint64_t lo, uint64_t hi)
{
    assert(lo >= 1 && lo <= hi);
    unsigned lowest = 63 - (unsigned)__builtin_clzll(lo), highest = 63 - (unsigned)__builtin_clzll(hi);
    uint64_t base = (uint64_t)1 << rng_between(r, lowest, highest);
    uint64_t drawn = base + rng_below(r, base);
    return drawn < lo ? lo : drawn > hi ? hi : drawn;
}

bool rng_chance(struct rng *r, uint32_t ppm)
{
    return ppm > 0 && rng_below(r, PPM) < ppm;
}

uint64_t rng_exponential(struct rng *r, uint64_t mean)
{
    /* -ln u = ln 2 * -log2 u; the fraction of the logarithm is taken as linear between powers of two. */
    uint64_t u = rng_u32(r) | 1;
    unsigned zeros = (unsigned)__builtin_clzll(u) - 32;
    uint64_t fraction = (u << zeros) & 0x7fffffff; /* 31 bits below the leading one */
    uint64_t log2_scaled = ((uint64_t)(zeros + 1) << 16) - (fraction >> 15);
    return (mean * log2_scaled * 693 / 1000) >> 16; /* 0.693 = ln 2 */
}

void rng_bytes(struct rng *r, void *buf, size_t len)
{
    uint8_t *out = buf;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(rng_u32(r) >> 24);
}
