/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * epoch.h - under which number a watch is live, and until when: told by one thread, read by any.
 *
 * The number is that of an unbroken time. The core says "not now" (0) whenever the watch lapses or
 * breaks (watch.c), also where it is live again at once; the next time that it names then belongs
 * to the next number. The end of the time needs no telling: who reads compares it with his clock.
 *
 * Reading takes no lock and sees number and end as they stood together at one moment: the teller
 * clears the end before he changes the number, and sets it after; so where the number is the same
 * before and after the end was read, that end was set under this number. */
#ifndef KITH_CLIENT_EPOCH_H
#define KITH_CLIENT_EPOCH_H

#include <stdatomic.h>
#include <stdint.h>

struct kith_epoch { /* all zero: never live yet */
    _Atomic(uint64_t) number;
    _Atomic(uint64_t) until_ms; /* monotonic; 0 = not live */
};

/* Live until then from now on; 0: not live. One thread at a time. */
static inline void kith_epoch_tell(struct kith_epoch *epoch, uint64_t until_ms)
{
    if (until_ms != 0 && atomic_load_explicit(&epoch->until_ms, memory_order_relaxed) == 0) {
        uint64_t number = atomic_load_explicit(&epoch->number, memory_order_relaxed) + 1;
        atomic_store_explicit(&epoch->number, number, memory_order_release);
    }
    atomic_store_explicit(&epoch->until_ms, until_ms, memory_order_release);
}

/* The number it is live under at now_ms, 0: it is not. Any thread. */
static inline uint64_t kith_epoch_at(const struct kith_epoch *epoch, uint64_t now_ms)
{
    uint64_t number = atomic_load_explicit(&epoch->number, memory_order_acquire);
    for (;;) {
        uint64_t until_ms = atomic_load_explicit(&epoch->until_ms, memory_order_acquire);
        uint64_t again = atomic_load_explicit(&epoch->number, memory_order_acquire);
        if (number == again) {
            return now_ms < until_ms ? number : 0;
        }
        number = again;
    }
}

#endif
