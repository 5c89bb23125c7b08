/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hlc.h - hybrid logical time: 48 bits of milliseconds since 1970, 16 bits of a counter.
 *
 * Stamped by the coordinator of a write, never by a client. It only picks which sibling bears the
 * plain name; it never drops anything. Source: Kulkarni et al. 2014. Pure; one owner per clock. */
#ifndef KITH_DATA_HLC_H
#define KITH_DATA_HLC_H

#include <stdbool.h>
#include <stdint.h>

#define KITH_HLC_AHEAD_MAX_MS 60000u /* nobody adopts a time further ahead of his own clock */

struct kith_hlc {
    uint64_t last; /* the highest value given out or adopted */
};

/* A new value above all before it; wall_ms is this node's clock. */
uint64_t kith_hlc_now(struct kith_hlc *hlc, uint64_t wall_ms);
/* Takes note of a value seen elsewhere; false (and no change) where it is more than
 * KITH_HLC_AHEAD_MAX_MS ahead of wall_ms. */
bool kith_hlc_observe(struct kith_hlc *hlc, uint64_t seen, uint64_t wall_ms);
static inline uint64_t kith_hlc_ms(uint64_t value)
{
    return value >> 16;
}

#endif
