/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/alloc.h"

#include <stdalign.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Atomic (relaxed) only so that reading it while it is 0 is no data race. */
static uint64_t fail_countdown;

static bool must_fail(void)
{
    uint64_t left = __atomic_load_n(&fail_countdown, __ATOMIC_RELAXED);
    if (__builtin_expect(left == 0, 1)) {
        return false;
    }
    __atomic_store_n(&fail_countdown, left - 1, __ATOMIC_RELAXED);
    return left == 1;
}

void kith_alloc_fail_at(uint64_t k)
{
    __atomic_store_n(&fail_countdown, k, __ATOMIC_RELAXED);
}

/* Size 0 is asked of the heap as 1, so that NULL means one thing: memory is short. */
void *kith_malloc(size_t size_bytes)
{
    return must_fail() ? NULL : malloc(size_bytes ? size_bytes : 1);
}

void *kith_calloc(size_t count, size_t size_bytes)
{
    if (must_fail()) {
        return NULL;
    }
    return count == 0 || size_bytes == 0 ? calloc(1, 1) : calloc(count, size_bytes);
}

void *kith_realloc(void *memory, size_t size_bytes)
{
    return must_fail() ? NULL : realloc(memory, size_bytes ? size_bytes : 1);
}

char *kith_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = kith_malloc(size);
    if (copy) {
        memcpy(copy, text, size);
    }
    return copy;
}

void kith_free(void *memory)
{
    free(memory);
}

/* ---- Arena ----
 *
 * A list of blocks; allocation moves a mark in the first one. Blocks double from 4 KiB to 64 KiB,
 * so that a request of a few rows costs one malloc at most; what does not fit a quarter of the
 * largest block gets a block of its own behind the first, whose room stays in use. */

#define ALIGNMENT       16u
#define BLOCK_MIN_BYTES (4u << 10)
#define BLOCK_MAX_BYTES (64u << 10)
/* A reset keeps no more than this, so that one large request does not pin memory for ever. */
#define KEEP_MAX_BYTES (256u << 10)

struct kith_arena_block {
    struct kith_arena_block *next;
    size_t capacity;
    size_t used;
    alignas(ALIGNMENT) uint8_t data[];
};

void kith_arena_init(struct kith_arena *arena, size_t limit_bytes)
{
    arena->head = NULL;
    arena->used_bytes = 0;
    arena->limit_bytes = limit_bytes;
}

void kith_arena_release(struct kith_arena *arena)
{
    struct kith_arena_block *block = arena->head;
    while (block) {
        struct kith_arena_block *next = block->next;
        kith_free(block);
        block = next;
    }
    arena->head = NULL;
    arena->used_bytes = 0;
}

void kith_arena_reset(struct kith_arena *arena)
{
    struct kith_arena_block *keep = NULL;
    struct kith_arena_block *block = arena->head;
    while (block) {
        struct kith_arena_block *next = block->next;
        if (block->capacity <= KEEP_MAX_BYTES && (!keep || block->capacity > keep->capacity)) {
            kith_free(keep);
            keep = block;
        } else {
            kith_free(block);
        }
        block = next;
    }
    if (keep) {
        keep->next = NULL;
        keep->used = 0;
    }
    arena->head = keep;
    arena->used_bytes = 0;
}

/* A new block with `size` bytes taken, or NULL. */
static void *alloc_in_new_block(struct kith_arena *arena, size_t size)
{
    bool own = size > BLOCK_MAX_BYTES / 4;
    size_t capacity = size;
    if (!own) {
        capacity = BLOCK_MIN_BYTES;
        if (arena->head && arena->head->capacity >= capacity) {
            capacity = arena->head->capacity * 2;
        }
        if (capacity > BLOCK_MAX_BYTES) {
            capacity = BLOCK_MAX_BYTES;
        }
        while (capacity < size) {
            capacity *= 2;
        }
    }
    if (capacity > SIZE_MAX - sizeof(struct kith_arena_block)) {
        return NULL;
    }
    struct kith_arena_block *block = kith_malloc(sizeof *block + capacity);
    if (!block) {
        return NULL;
    }
    block->capacity = capacity;
    block->used = size;
    if (own && arena->head) {
        block->next = arena->head->next;
        arena->head->next = block;
    } else {
        block->next = arena->head;
        arena->head = block;
    }
    return block->data;
}

void *kith_arena_alloc(struct kith_arena *arena, size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - ALIGNMENT) {
        return NULL;
    }
    size_t size = (size_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (size == 0) {
        size = ALIGNMENT;
    }
    if (size > SIZE_MAX - arena->used_bytes ||
        (arena->limit_bytes != 0 && arena->used_bytes + size > arena->limit_bytes)) {
        return NULL;
    }
    struct kith_arena_block *head = arena->head;
    void *memory;
    if (head && head->capacity - head->used >= size) {
        memory = head->data + head->used;
        head->used += size;
    } else {
        memory = alloc_in_new_block(arena, size);
        if (!memory) {
            return NULL;
        }
    }
    arena->used_bytes += size;
    return memory;
}

void *kith_arena_calloc(struct kith_arena *arena, size_t count, size_t size_bytes)
{
    size_t size;
    if (__builtin_mul_overflow(count, size_bytes, &size)) {
        return NULL;
    }
    void *memory = kith_arena_alloc(arena, size);
    if (memory) {
        memset(memory, 0, size);
    }
    return memory;
}

void *kith_arena_copy(struct kith_arena *arena, const void *data, size_t size_bytes)
{
    void *memory = kith_arena_alloc(arena, size_bytes);
    if (memory && size_bytes != 0) {
        memcpy(memory, data, size_bytes);
    }
    return memory;
}
