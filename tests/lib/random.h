/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * random.h - the same numbers for the same seed everywhere: splitmix64 (Steele et al. 2014).
 *
 * One draw for each statement: the order of evaluation inside an argument list is unspecified. */
#ifndef KITH_TESTS_RANDOM_H
#define KITH_TESTS_RANDOM_H

#include <stdint.h>

struct test_random {
    uint64_t state; /* = the seed */
};

static inline uint64_t test_random_next(struct test_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 to limit - 1; limit >= 1. */
static inline uint32_t test_random_below(struct test_random *random, uint32_t limit)
{
    return (uint32_t)((test_random_next(random) >> 32) * limit >> 32);
}

#endif
