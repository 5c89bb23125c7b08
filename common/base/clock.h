/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * clock.h - the clock for deadlines and for how long something took. Any thread. */
#ifndef KITH_BASE_CLOCK_H
#define KITH_BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in milliseconds: never goes back, and says nothing about the time of day. */
uint64_t kith_mono_ms(void);
/* The same in nanoseconds. */
uint64_t kith_mono_ns(void);

#endif
