/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"

static char dir[] = "/tmp/kith-test-log-XXXXXX";

static size_t slurp(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t count = fread(text, 1, size - 1, file);
    text[count] = '\0';
    fclose(file);
    return count;
}

static void levels_parse(void **state)
{
    (void)state;
    enum kith_log_level level = KITH_LOG_INFO;
    assert_int_equal(kith_log_level_parse("debug", &level), KITH_OK);
    assert_int_equal(level, KITH_LOG_DEBUG);
    assert_int_equal(kith_log_level_parse("Debug", &level), KITH_EINVAL);
    assert_int_equal(level, KITH_LOG_DEBUG);
}

static void lines_go_to_the_file(void **state)
{
    (void)state;
    char first[64], second[64], text[8192], large[4000];
    struct kith_error error;
    snprintf(first, sizeof first, "%s/first", dir);
    snprintf(second, sizeof second, "%s/second", dir);
    assert_int_equal(kith_log_open(first, &error), KITH_OK);
    kith_log_info("part", "number %d\nsame line", 1);
    kith_log_debug("part", "not shown");
    kith_log_set_level(KITH_LOG_DEBUG);
    kith_log_debug("part", "shown");
    kith_log_set_level(KITH_LOG_INFO);
    assert_int_equal(kith_log_open("/nonexistent/log", &error), KITH_EIO);
    assert_non_null(strstr(error.message, "/nonexistent/log"));
    kith_log_error("part", "still first");
    assert_int_equal(kith_log_open(second, &error), KITH_OK);
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    kith_log_warn("part", "%s", large);
    assert_int_equal(kith_log_open(NULL, &error), KITH_OK);
    slurp(first, text, sizeof text);
    assert_non_null(strstr(text, "Z info part: number 1 same line\n"));
    assert_null(strstr(text, "not shown"));
    assert_non_null(strstr(text, "Z debug part: shown\n"));
    assert_non_null(strstr(text, "Z error part: still first\n"));
    size_t count = slurp(second, text, sizeof text);
    assert_true(count > 1000 && count <= 2048);
    assert_int_equal(text[count - 1], '\n');
    assert_null(memchr(text, '\n', count - 1));
    unlink(first);
    unlink(second);
}

/* What libraries print on standard error goes where the log goes, also after the log has moved. In
 * a child, for the descriptors are the process's. */
static void standard_error_follows(void **state)
{
    (void)state;
    char first[64], second[64], text[8192];
    snprintf(first, sizeof first, "%s/first", dir);
    snprintf(second, sizeof second, "%s/second", dir);
    pid_t child = fork();
    if (child == 0) {
        struct kith_error error;
        bool good = kith_log_take_stderr(&error) == KITH_EINVAL;
        good = good && kith_log_open(first, &error) == KITH_OK;
        fprintf(stderr, "\n"); /* still where it was */
        good = good && kith_log_take_stderr(&error) == KITH_OK;
        fprintf(stderr, "of a library\n");
        good = good && kith_log_open(second, &error) == KITH_OK;
        fprintf(stderr, "of a library, later\n");
        good = good && write(STDOUT_FILENO, "output\n", 7) == 7;
        _exit(good && write(kith_log_fd(), "raw\n", 4) == 4 ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    slurp(first, text, sizeof text);
    assert_string_equal(text, "of a library\n");
    slurp(second, text, sizeof text);
    assert_string_equal(text, "of a library, later\noutput\nraw\n");
    unlink(first);
    unlink(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_parse),
        cmocka_unit_test(lines_go_to_the_file),
        cmocka_unit_test(standard_error_follows),
    };
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
