/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Brings the seeds that a target makes (fuzz.h) to libFuzzer: now and then a mutation is a seed. */
#include "fuzz.h"

#include <string.h>

#define SEED_ONE_IN 64u

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
    if (kith_fuzz_seed && (size <= 1 || seed % SEED_ONE_IN == 0)) {
        uint32_t count = 0;
        uint8_t bytes[KITH_FUZZ_SEED_MAX];
        while (kith_fuzz_seed(count, bytes) != 0) {
            count++;
        }
        size_t made = count ? kith_fuzz_seed(seed / SEED_ONE_IN % count, bytes) : 0;
        if (made != 0 && made <= max_size) {
            memcpy(data, bytes, made);
            return made;
        }
    }
    return LLVMFuzzerMutate(data, size, max_size);
}
