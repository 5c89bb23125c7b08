/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * log_ring.h - lines for one reader who may be slow: a bounded buffer that never waits.
 *
 * A line goes in whole or is left out. Before the next one that fits stands how many were:
 * "... 123 lines left out". One thread at a time. Checked by tests/unit/test_log_ring.c. */
#ifndef KITH_FS_CONTROL_LOG_RING_H
#define KITH_FS_CONTROL_LOG_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KITH_LOG_NOTE_SIZE 64u /* bytes that a note of what was left out takes at most */

struct kith_log_ring {
    char *data;
    size_t capacity, first, size;
    uint64_t left_out; /* since the last line that went in */
};

/* ENOMEM. capacity: bytes, above KITH_LOG_NOTE_SIZE. */
KITH_MUST_CHECK enum kith_err kith_log_ring_init(struct kith_log_ring *ring, size_t capacity);
void kith_log_ring_release(struct kith_log_ring *ring);
void kith_log_ring_put(struct kith_log_ring *ring, const char *line, size_t size);
/* What is there for a reader, the note that is due included. */
bool kith_log_ring_has(const struct kith_log_ring *ring);
/* Up to `size` bytes, which are then gone. A note that is due and fits comes when all else is
 * taken: who reads on is told even where no further line comes. */
size_t kith_log_ring_take(struct kith_log_ring *ring, char *data, size_t size);

#endif
