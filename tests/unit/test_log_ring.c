/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "fs/control/log_ring.h"

static void put(struct kith_log_ring *ring, const char *line)
{
    kith_log_ring_put(ring, line, strlen(line));
}

/* All that is there, by reads of `part` bytes. */
static const char *take(struct kith_log_ring *ring, size_t part)
{
    static char text[4096];
    size_t used = 0, got;
    while ((got = kith_log_ring_take(ring, text + used, part)) > 0) {
        used += got;
        assert_true(used < sizeof text);
    }
    text[used] = '\0';
    assert_false(kith_log_ring_has(ring));
    return text;
}

static void test_through(void **state)
{
    struct kith_log_ring ring;
    (void)state;
    assert_int_equal(KITH_OK, kith_log_ring_init(&ring, 128));
    assert_false(kith_log_ring_has(&ring));
    assert_string_equal("", take(&ring, 10));
    for (unsigned i = 0; i < 100; i++) { /* around the end many times, cut anywhere */
        char line[32], want[64];
        snprintf(line, sizeof line, "line %u of all\n", i);
        snprintf(want, sizeof want, "%s%s", line, line);
        put(&ring, line);
        put(&ring, line);
        assert_true(kith_log_ring_has(&ring));
        assert_string_equal(want, take(&ring, 1 + i % 50));
    }
    kith_log_ring_release(&ring);
}

/* What does not fit is told, once, where it would have stood; nothing is cut. */
static void test_left_out(void **state)
{
    struct kith_log_ring ring;
    char line[41];
    (void)state;
    memset(line, 'x', 40);
    line[39] = '\n';
    line[40] = '\0';
    assert_int_equal(KITH_OK, kith_log_ring_init(&ring, 128));
    put(&ring, "a\n");
    for (unsigned i = 0; i < 10; i++) {
        put(&ring, line); /* three fit */
    }
    char first[123];
    assert_int_equal(122, kith_log_ring_take(&ring, first, 122));
    assert_memory_equal("a\nxxx", first, 5);
    put(&ring, "b\n");
    assert_string_equal("... 7 lines left out\nb\n", take(&ring, 5));
    put(&ring, "c\n");
    assert_string_equal("c\n", take(&ring, 100));
    for (unsigned i = 0; i < 4; i++) {
        put(&ring, line);
    }
    assert_int_equal(120, kith_log_ring_take(&ring, first, 122));
    assert_true(kith_log_ring_has(&ring)); /* told although nothing comes any more */
    assert_string_equal("... 1 line left out\n", take(&ring, 100));
    kith_log_ring_release(&ring);
}

static void test_larger_than_all(void **state)
{
    struct kith_log_ring ring;
    char line[300];
    (void)state;
    memset(line, 'y', sizeof line);
    assert_int_equal(KITH_OK, kith_log_ring_init(&ring, 128));
    kith_log_ring_put(&ring, line, sizeof line);
    kith_log_ring_put(&ring, line, 128);
    assert_string_equal("... 2 lines left out\n", take(&ring, 100));
    kith_log_ring_put(&ring, line, 128); /* as many as there is room for */
    assert_int_equal(128, kith_log_ring_take(&ring, line, 300));
    kith_log_ring_release(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_through),
        cmocka_unit_test(test_left_out),
        cmocka_unit_test(test_larger_than_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
