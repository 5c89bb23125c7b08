/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Which programs can be hooks, and what is said of the others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "fs/hook/hook_program.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void make(const char *name, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kith-hook.XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(mkdir(in_folder("dir"), 0700), 0);
    assert_int_equal(mkdir(in_folder("mnt"), 0700), 0);
    make("good", 0700);
    make("plain", 0600);
    make("dir/good", 0600);
    make("dir/inner", 0700);
    make("mnt/hidden", 0700);
    assert_int_equal(symlink("mnt/hidden", in_folder("link")), 0);
    return 0;
}

static int teardown(void **state)
{
    static const char *const files[] = {"good",       "plain",      "dir/good", "dir/inner",
                                        "mnt/hidden", "link",       "dir",      "mnt"};
    (void)state;
    for (unsigned i = 0; i < sizeof files / sizeof files[0]; i++) {
        assert_int_equal(remove(in_folder(files[i])), 0);
    }
    return rmdir(folder);
}

static void found(const char *word, const char *want)
{
    struct kith_error error;
    char *path, at[PATH_MAX];
    snprintf(at, sizeof at, "%s/mnt", folder);
    assert_int_equal(kith_hook_program(word, at, &path, &error), KITH_OK);
    assert_string_equal(path, in_folder(want));
    kith_free(path);
}

/* It says so, and names the word. */
static void refused(const char *word, const char *want)
{
    struct kith_error error;
    char *path, at[PATH_MAX];
    snprintf(at, sizeof at, "%s/mnt", folder);
    assert_int_equal(kith_hook_program(word, at, &path, &error), KITH_EINVAL);
    assert_non_null(strstr(error.message, want));
    assert_non_null(strstr(error.message, word));
}

static void test_paths(void **state)
{
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder("good"));
    found(path, "good");
    snprintf(path, sizeof path, "%s", in_folder("plain"));
    refused(path, "chmod +x");
    snprintf(path, sizeof path, "%s", in_folder("nothing"));
    refused(path, "No such file");
    snprintf(path, sizeof path, "%s", in_folder("dir"));
    refused(path, "directory");
    snprintf(path, sizeof path, "%s", in_folder("good/x"));
    refused(path, "Not a directory");
    refused("/dev/null", "chmod +x");
    refused("./good", "absolute path");
    refused("dir/good", "absolute path");
}

static void test_names(void **state)
{
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/nowhere::relative:%s/dir:%s", folder, folder);
    assert_int_equal(setenv("PATH", path, 1), 0);
    found("good", "good"); /* the first of that name cannot be executed */
    found("inner", "dir/inner");
    refused("nothing", "in PATH");
    refused("plain", "chmod +x");
    refused("good and more", "in PATH");
    assert_int_equal(unsetenv("PATH"), 0);
    refused("good", "in PATH");
    struct kith_error error;
    char *usual;
    assert_int_equal(kith_hook_program("sh", "/mnt", &usual, &error), KITH_OK);
    assert_int_equal(usual[0], '/');
    kith_free(usual);
}

static void test_hidden(void **state)
{
    (void)state;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", in_folder("mnt/hidden"));
    refused(path, "would hide it");
    snprintf(path, sizeof path, "%s", in_folder("link"));
    refused(path, "would hide it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_hidden),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
