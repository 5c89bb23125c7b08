/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_memory.c - limits of control groups, and the cache that follows from the memory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static void test_cache(void **state)
{
    (void)state;
    assert_int_equal(kith_memory_cache(24 * GIB, 1), GIB); /* a sixteenth would be more */
    assert_int_equal(kith_memory_cache(24 * GIB, 3), 512 * MIB);
    assert_int_equal(kith_memory_cache(8 * GIB, 1), 512 * MIB);
    assert_int_equal(kith_memory_cache(8 * GIB, 3), 170 * MIB); /* whole MiB */
    assert_int_equal(kith_memory_cache(512 * MIB, 1), 64 * MIB);
    assert_int_equal(kith_memory_cache(1, 64), 64 * MIB);
    assert_int_equal(kith_memory_cache(UINT64_MAX, 1), GIB);
    assert_int_equal(kith_memory_cache(0, 3), KITH_CACHE_UNKNOWN);
}

/* ---- Control groups: a tree of files as the kernel shows it ---- */

static char top[] = "/tmp/kith-test-memory.XXXXXX";

static int setup(void **state)
{
    (void)state;
    return mkdtemp(top) == NULL;
}

static void place(char out[256], const char *path)
{
    assert_true(snprintf(out, 256, "%s%s", top, path) < 256);
}

static void folder(const char *path)
{
    char whole[256];
    place(whole, path);
    assert_int_equal(mkdir(whole, 0700), 0);
}

static void limit_set(const char *path, const char *text)
{
    char whole[256];
    place(whole, path);
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int teardown(void **state)
{
    (void)state;
    static const char *const files[] = {"/a/b/memory.max",
                                        "/a/memory.max",
                                        "/memory.max",
                                        "/memory/x/memory.limit_in_bytes",
                                        "/memory/memory.limit_in_bytes"};
    static const char *const folders[] = {"/a/b", "/a", "/memory/x", "/memory", ""};
    char whole[256];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        place(whole, files[i]);
        (void)unlink(whole);
    }
    int failed = 0;
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        place(whole, folders[i]);
        failed |= rmdir(whole);
    }
    return failed;
}

static void test_groups(void **state)
{
    (void)state;
    assert_int_equal(kith_memory_group_limit("", top), UINT64_MAX);
    assert_int_equal(kith_memory_group_limit("0::/a/b\n", top), UINT64_MAX); /* nothing there */
    folder("/a");
    folder("/a/b");
    limit_set("/a/b/memory.max", "max\n");
    limit_set("/a/memory.max", "max\n");
    assert_int_equal(kith_memory_group_limit("0::/a/b\n", top), UINT64_MAX);
    limit_set("/a/memory.max", "1073741824\n"); /* of the parent */
    assert_int_equal(kith_memory_group_limit("0::/a/b\n", top), GIB);
    assert_int_equal(kith_memory_group_limit("0::/a/b", top), GIB); /* without an end of line */
    assert_int_equal(kith_memory_group_limit("0::/a/gone\n", top), GIB);
    assert_int_equal(kith_memory_group_limit("0::/ab\n", top), UINT64_MAX);
    limit_set("/a/b/memory.max", "2147483648\n"); /* more than the parent has */
    assert_int_equal(kith_memory_group_limit("0::/a/b\n", top), GIB);
    limit_set("/a/b/memory.max", "536870912\n");
    assert_int_equal(kith_memory_group_limit("0::/a/b\n", top), 512 * MIB);
    assert_int_equal(kith_memory_group_limit("0::/\n", top), UINT64_MAX);
    limit_set("/memory.max", "104857600\n"); /* a container sees its own limit at the root */
    assert_int_equal(kith_memory_group_limit("0::/\n", top), 100 * MIB);
    assert_int_equal(kith_memory_group_limit("0::/host/path\n", top), 100 * MIB);
    limit_set("/memory.max", "none of your business\n");
    assert_int_equal(kith_memory_group_limit("0::/\n", top), UINT64_MAX);
    limit_set("/memory.max", "99999999999999999999999\n");
    assert_int_equal(kith_memory_group_limit("0::/\n", top), UINT64_MAX);
}

static void test_groups_v1(void **state)
{
    (void)state;
    static const char lines[] = "9:name=systemd:/\n4:cpu,memory,x:/x\n3:memoryless:/x\n0::/\n";
    folder("/memory");
    folder("/memory/x");
    limit_set("/memory/x/memory.limit_in_bytes", "9223372036854771712\n"); /* the kernel's "none" */
    assert_int_equal(kith_memory_group_limit(lines, top), UINT64_C(9223372036854771712));
    limit_set("/memory/memory.limit_in_bytes", "1048576\n");
    assert_int_equal(kith_memory_group_limit(lines, top), MIB);
    assert_int_equal(kith_memory_group_limit("4:memoryless:/x\n5:cpu:/x\n", top), UINT64_MAX);
    assert_int_equal(kith_memory_group_limit("nonsense\n:\n::\n4:memory\n4:memory:", top),
                     UINT64_MAX);
}

static void test_here(void **state)
{
    (void)state;
    uint64_t bytes = kith_memory_bytes();
    long pages = sysconf(_SC_PHYS_PAGES);
    assert_true(bytes > MIB);
    assert_true(bytes <= (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_groups_v1),
        cmocka_unit_test(test_here),
    };
    return cmocka_run_group_tests_name("memory", tests, setup, teardown);
}
