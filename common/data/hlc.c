/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "data/hlc.h"

#define WALL_MAX_MS ((UINT64_C(1) << 48) - 1 - KITH_HLC_AHEAD_MAX_MS)

/* A clock that is set beyond the year 10889 must not wrap into the past. */
static uint64_t clamp_wall(uint64_t wall_ms)
{
    return wall_ms < WALL_MAX_MS ? wall_ms : WALL_MAX_MS;
}

uint64_t kith_hlc_now(struct kith_hlc *hlc, uint64_t wall_ms)
{
    uint64_t physical = clamp_wall(wall_ms) << 16;
    /* A full counter carries into the milliseconds: still above all before it. */
    hlc->last = physical > hlc->last ? physical : hlc->last + 1;
    return hlc->last;
}

bool kith_hlc_observe(struct kith_hlc *hlc, uint64_t seen, uint64_t wall_ms)
{
    if (kith_hlc_ms(seen) > clamp_wall(wall_ms) + KITH_HLC_AHEAD_MAX_MS) {
        return false;
    }
    if (seen > hlc->last) {
        hlc->last = seen;
    }
    return true;
}
