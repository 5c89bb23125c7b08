/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * chance.c - the one generator of chance, the trace of what happens, failure; bytes that are kept. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim.h"

uint64_t sim_random(struct sim *sim)
{
    sim->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = sim->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t sim_below(struct sim *sim, uint32_t n)
{
    return (uint32_t)(sim_random(sim) % n);
}

bool sim_chance(struct sim *sim, uint32_t per_mille)
{
    return sim_below(sim, 1000) < per_mille;
}

void sim_trace(struct sim *sim, const char *format, ...)
{
    char text[400];
    va_list args;
    if (!sim->tracing) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    for (const char *c = text; *c; c++) { /* FNV-1a */
        sim->trace = (sim->trace ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
    }
    if (sim->verbose) {
        printf("%10.3f %s\n", (double)sim->now_us / 1000.0, text);
    }
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    if (sim->failed) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(sim->reason, sizeof sim->reason, format, args);
    va_end(args);
    sim->failed = true;
    sim_trace(sim, "FAILED %s", sim->reason);
}

/* ---- bytes that are kept ---- */

void sim_bytes_set(struct sim_bytes *bytes, struct kith_bytes from)
{
    void *copy = kith_malloc(from.size + 1);
    KITH_ASSERT(copy);
    memcpy(copy, from.data ? from.data : (const uint8_t *)"", from.size);
    kith_free(bytes->data);
    bytes->data = copy;
    bytes->size = from.size;
}

void sim_bytes_clear(struct sim_bytes *bytes)
{
    kith_free(bytes->data);
    bytes->data = NULL;
    bytes->size = 0;
}
