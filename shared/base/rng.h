/* A small deterministic random number generator (SplitMix64, Steele and others 2014). Not for keys.
 */
#pragma once

#include <stdint.h>

struct rng {
        uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
        uint64_t z = (r->state += 0x9e3779b97f4a7c15u);

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        return z ^ (z >> 31);
}

/* Uniform in [0, n), n > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
        __extension__ typedef unsigned __int128 u128;

        return (uint64_t)(((u128)rng_next(r) * n) >> 64);
}
