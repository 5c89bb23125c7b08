/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fuzz.h - what a fuzz_X.c gives. */
#ifndef KITH_TESTS_FUZZ_H
#define KITH_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#define KITH_FUZZ_SEED_MAX 4096u /* bytes of a seed; what is longer is found by growing it */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A target may define it: writes well-formed input number `number` (from 0) to `data` and returns
 * its size, at most KITH_FUZZ_SEED_MAX; 0 when there is no such number. So seeds are made by the
 * code that they test, and cannot grow old as files do. */
__attribute__((weak)) size_t kith_fuzz_seed(uint32_t number, uint8_t data[KITH_FUZZ_SEED_MAX]);

/* A slow target may define it: how many mutations are enough without libFuzzer. */
__attribute__((weak)) extern const uint32_t kith_fuzz_mutations;

#endif
