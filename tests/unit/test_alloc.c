/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>

#include "base/alloc.h"

static void arena_gives_aligned_memory_that_stays(void **state)
{
    (void)state;
    struct kith_arena arena = {0};
    uint8_t *pieces[300];
    for (size_t i = 0; i < 300; i++) {
        size_t size = i * 131 % 5000 + (i % 50 == 0 ? 40000 : 0);
        pieces[i] = kith_arena_alloc(&arena, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, size);
    }
    for (size_t i = 0; i < 300; i++) {
        size_t size = i * 131 % 5000 + (i % 50 == 0 ? 40000 : 0);
        for (size_t j = 0; j < size; j++) {
            assert_int_equal(pieces[i][j], (uint8_t)i);
        }
    }
    kith_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(kith_arena_alloc(&arena, 0));
    kith_arena_release(&arena);
    assert_null(arena.head);
}

static void arena_reset_keeps_one_block(void **state)
{
    (void)state;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    assert_non_null(kith_arena_alloc(&arena, 100));
    kith_arena_reset(&arena);
    kith_alloc_fail_at(1);
    assert_non_null(kith_arena_alloc(&arena, 100)); /* needs no new memory */
    kith_alloc_fail_at(0);
    kith_arena_release(&arena);
}

static void arena_holds_its_limit(void **state)
{
    (void)state;
    struct kith_arena arena;
    kith_arena_init(&arena, 1024);
    assert_null(kith_arena_alloc(&arena, 1025));
    assert_non_null(kith_arena_alloc(&arena, 1024));
    assert_null(kith_arena_alloc(&arena, 1));
    kith_arena_release(&arena);
    assert_null(kith_arena_alloc(&arena, SIZE_MAX));
    assert_null(kith_arena_calloc(&arena, SIZE_MAX / 2, 4));
    assert_null(arena.head);
}

static void kth_allocation_fails_once(void **state)
{
    (void)state;
    kith_alloc_fail_at(2);
    void *first = kith_malloc(1);
    void *second = kith_malloc(1);
    void *third = kith_malloc(1);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    kith_free(first);
    kith_free(third);
    kith_alloc_fail_at(1);
    assert_null(kith_strdup("x"));
    char *copy = kith_strdup("text");
    assert_string_equal(copy, "text");
    kith_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_aligned_memory_that_stays),
        cmocka_unit_test(arena_reset_keeps_one_block),
        cmocka_unit_test(arena_holds_its_limit),
        cmocka_unit_test(kth_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
