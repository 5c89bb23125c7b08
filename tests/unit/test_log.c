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

/* What a peer puts into a line moves nothing in a terminal; what is no ASCII stays. */
static void control_characters(void **state)
{
    (void)state;
    char path[64], text[8192];
    struct kith_error error;
    snprintf(path, sizeof path, "%s/control", dir);
    assert_int_equal(kith_log_open(path, &error), KITH_OK);
    kith_log_info("part", "%s", "a\x1b[2Jb\rc\td\x7f \xc3\xa4");
    assert_int_equal(kith_log_open(NULL, &error), KITH_OK);
    slurp(path, text, sizeof text);
    assert_non_null(strstr(text, "part: a?[2Jb c?d? \xc3\xa4\n"));
    unlink(path);
}

static uint32_t count_lines(const char *text, const char *words)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++) {
        count++;
    }
    return count;
}

/* Each kind for itself, and what was left out is told with the next window. */
static void limited(void **state)
{
    (void)state;
    static struct kith_log_limit one, other;
    char path[64], text[8192];
    struct kith_error error;
    snprintf(path, sizeof path, "%s/limited", dir);
    assert_int_equal(kith_log_open(path, &error), KITH_OK);
    for (uint32_t i = 0; i < 50; i++) {
        kith_log_limited(&one, KITH_LOG_WARN, "part", "one %u", i);
    }
    kith_log_limited(&other, KITH_LOG_WARN, "part", "other");
    kith_log_limited(&other, KITH_LOG_DEBUG, "part", "not shown");
    slurp(path, text, sizeof text);
    assert_int_equal(count_lines(text, "part: one "), KITH_LOG_LIMIT);
    assert_int_equal(count_lines(text, "part: other\n"), 1);
    one.since_ms -= KITH_LOG_LIMIT_MS;
    kith_log_limited(&one, KITH_LOG_WARN, "part", "one again");
    slurp(path, text, sizeof text);
    assert_int_equal(count_lines(text, "part: 40 more lines like the next one were left out\n"), 1);
    assert_int_equal(count_lines(text, "part: one again\n"), 1);
    assert_int_equal(kith_log_open(NULL, &error), KITH_OK);
    unlink(path);
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
        cmocka_unit_test(control_characters),
        cmocka_unit_test(limited),
    };
    if (!mkdtemp(dir)) {
        perror(dir);
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
