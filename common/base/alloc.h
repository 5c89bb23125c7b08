/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * alloc.h - the one door to the heap, so that a test can make the k-th allocation fail.
 *
 * All functions may be called from any thread. Memory from here is freed with kith_free only. */
#ifndef KITH_BASE_ALLOC_H
#define KITH_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Like malloc, calloc (zeroed), realloc, free and strdup. NULL when memory is short. */
KITH_MUST_CHECK void *kith_malloc(size_t size_bytes);
KITH_MUST_CHECK void *kith_calloc(size_t count, size_t size_bytes);
KITH_MUST_CHECK void *kith_realloc(void *memory, size_t size_bytes);
KITH_MUST_CHECK char *kith_strdup(const char *text);
void kith_free(void *memory);

/* For tests: the k-th allocation from now (1 = the next) fails, once; 0 switches it off. Not
 * thread-safe against running allocations: set it while one thread runs. */
void kith_alloc_fail_at(uint64_t k);

/* ---- Arena: many small objects with one end ---- */

struct kith_arena_block;

/* Memory that is released as a whole. One thread at a time. Zero-initialised is a valid empty one.
 */
struct kith_arena {
    struct kith_arena_block *head;
    size_t used_bytes;  /* handed out since the last reset */
    size_t limit_bytes; /* 0 = none; an allocation that would pass it gives NULL */
};

void kith_arena_init(struct kith_arena *arena, size_t limit_bytes);
/* Frees everything; the arena is empty and usable afterwards. */
void kith_arena_release(struct kith_arena *arena);
/* Forgets everything but keeps one block for reuse. */
void kith_arena_reset(struct kith_arena *arena);
/* `size_bytes` aligned to 16, not zeroed. NULL when memory is short or the limit is reached.
 * size 0 gives a valid non-NULL pointer. */
KITH_MUST_CHECK void *kith_arena_alloc(struct kith_arena *arena, size_t size_bytes);
/* The same, zeroed; NULL too when count * size overflows. */
KITH_MUST_CHECK void *kith_arena_calloc(struct kith_arena *arena, size_t count, size_t size_bytes);
/* A copy of `size_bytes` at `data` (data may be NULL when size is 0). */
KITH_MUST_CHECK void *kith_arena_copy(struct kith_arena *arena, const void *data,
                                      size_t size_bytes);

#endif
