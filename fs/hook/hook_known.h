/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hook_known.h - what the hook was told already: a set of 64-bit hashes of bounded size.
 *
 * Two generations of a hash table. What is new, or asked for again, is in the young one; when that
 * has as many as it may, the old one goes and the young one is the old. So the last `most` that were
 * added or asked for are in it for sure, and never more than twice as many.
 *
 * Pure; the caller's lock. Checked by tests/unit/test_hook_known.c. */
#ifndef KITH_FS_HOOK_KNOWN_H
#define KITH_FS_HOOK_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct kith_hook_known {
    uint64_t *young, *old; /* `slots` each; 0: free */
    uint32_t slots;        /* a power of two, at least twice `most` */
    uint32_t count, most;  /* of the young one */
};

/* Room for `most` (1 to 2^24) in a generation. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_hook_known_init(struct kith_hook_known *known, uint32_t most);
void kith_hook_known_release(struct kith_hook_known *known);
bool kith_hook_known_has(struct kith_hook_known *known, uint64_t key);
void kith_hook_known_add(struct kith_hook_known *known, uint64_t key);

#endif
