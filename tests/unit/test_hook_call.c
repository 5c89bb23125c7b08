/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The words and the environment that a hook is given. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/hook/hook_call.h"

static const char *const versions[] = {"/mnt/d/a\nb.conflict-1", "/mnt/d/a\nb.conflict-2"};

static struct kith_hook_files files(uint32_t named)
{
    struct kith_hook_files made = {
        .path = "/mnt/d/a\nb", .count = 3, .named = named, .versions = versions};
    return made;
}

static void test_args(void **state)
{
    (void)state;
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_hook_files two = files(2), none = files(0);
    char **args = kith_hook_args("/bin/hook", &two, &arena);
    assert_non_null(args);
    assert_string_equal(args[0], "/bin/hook");
    assert_string_equal(args[1], "/mnt/d/a\nb");
    assert_string_equal(args[2], versions[0]);
    assert_string_equal(args[3], versions[1]);
    assert_null(args[4]);
    args = kith_hook_args("/bin/hook", &none, &arena);
    assert_non_null(args);
    assert_null(args[2]);
    kith_arena_release(&arena);
}

static void test_env(void **state)
{
    (void)state;
    struct kith_arena arena;
    char a[] = "A=1", old[] = "KITH_PATH=/old", like[] = "KITH_PATHS=x", bare[] = "odd";
    char *inherited[] = {a, old, like, bare, NULL};
    char *nothing[] = {NULL};
    kith_arena_init(&arena, 0);
    struct kith_hook_files two = files(2), none = files(0);
    char **env = kith_hook_env(inherited, "/mnt", &two, &arena);
    static const char *const want[] = {
        "A=1",
        "KITH_PATHS=x",
        "odd",
        "KITH_PATH=/mnt/d/a\nb",
        "KITH_VERSIONS=/mnt/d/a\nb.conflict-1\n/mnt/d/a\nb.conflict-2",
        "KITH_MOUNT=/mnt",
    };
    assert_non_null(env);
    for (unsigned i = 0; i < 6; i++) {
        assert_string_equal(env[i], want[i]);
    }
    assert_null(env[6]);
    env = kith_hook_env(nothing, "/", &none, &arena);
    assert_non_null(env);
    assert_string_equal(env[1], "KITH_VERSIONS=");
    assert_string_equal(env[2], "KITH_MOUNT=/");
    assert_null(env[3]);
    kith_arena_release(&arena);
}

static bool call(const char *program, uint32_t limit_ms, char ret_what[KITH_HOOK_WHAT_SIZE])
{
    char name[64];
    struct kith_fs_options options = {
        .on_conflict = name, .mountpoint = "/mnt", .hook_limit_ms = limit_ms};
    const struct kith_hook_files made = {
        .path = "/dev/null", .count = 0, .named = 0, .versions = versions};
    snprintf(name, sizeof name, "%s", program);
    return kith_hook_call(&options, &made, -1, ret_what);
}

static void test_call(void **state)
{
    (void)state;
    char what[KITH_HOOK_WHAT_SIZE];
    assert_true(call("/bin/ls", 20000, what));
    assert_non_null(strstr(what, "ended with status 0"));
    assert_false(call("/bin/false", 20000, what));
    assert_non_null(strstr(what, "ended with status 1"));
    assert_false(call("/nowhere", 20000, what));
    assert_string_equal(what, "cannot be run: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
