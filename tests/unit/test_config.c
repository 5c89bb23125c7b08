/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/config.h"

static const char *const colours[] = {"red", "green", "blue", NULL};
static const struct kith_config_key keys[] = {
    {"node", "listen", KITH_CONFIG_STRING, "0.0.0.0:7070", 0, 0, NULL, "ADDRESS",
     "where to listen"},
    {"node", "weight", KITH_CONFIG_INTEGER, "1", 1, 1000, NULL, NULL, "share of the data"},
    {"store", "cache_size", KITH_CONFIG_SIZE, "256M", 1 << 20, 0, NULL, NULL, "memory"},
    {"node", "put_timeout", KITH_CONFIG_DURATION, "10s", 1, 600000, NULL, NULL, "patience"},
    {"store", "verify", KITH_CONFIG_BOOL, "no", 0, 0, NULL, NULL, "checks all at the start"},
    {"log", "colour", KITH_CONFIG_CHOICE, "green", 0, 0, colours, NULL, "of lines"},
    {"log", "log", KITH_CONFIG_STRING, NULL, 0, 0, NULL, "FILE", "where to"},
};
#define KEY_COUNT (sizeof(keys) / sizeof(keys[0]))

static struct kith_config *config_make(void)
{
    struct kith_config *config = NULL;
    struct kith_error error;
    assert_int_equal(kith_config_new(keys, KEY_COUNT, &config, &error), KITH_OK);
    return config;
}

static void load_fails(const char *text, const char *message)
{
    struct kith_config *config = config_make();
    struct kith_error error;
    assert_int_equal(kith_config_load_text(config, "kithd.conf", text, &error), KITH_EINVAL);
    assert_string_equal(error.message, message);
    kith_config_free(config);
}

static void test_defaults(void **state)
{
    (void)state;
    struct kith_config *config = config_make();
    assert_string_equal(kith_config_string(config, "listen"), "0.0.0.0:7070");
    assert_null(kith_config_string(config, "log"));
    assert_int_equal(kith_config_number(config, "weight"), 1);
    assert_int_equal(kith_config_number(config, "cache_size"), 256 << 20);
    assert_int_equal(kith_config_number(config, "put_timeout"), 10000);
    assert_int_equal(kith_config_number(config, "colour"), 1);
    assert_false(kith_config_bool(config, "verify"));
    assert_false(kith_config_is_set(config, "listen"));
    kith_config_free(config);
}

static void test_file(void **state)
{
    (void)state;
    struct kith_config *config = config_make();
    struct kith_error error;
    assert_int_equal(kith_config_load_text(config, "x",
                                           "# a comment\n; another\n[node]\nlisten = [::1]:7\n"
                                           "  put-timeout = 1500ms ; and why\r\n\n"
                                           "[store]\nverify=on\ncache_size: 1G\n[log]\nlog =\n",
                                           &error),
                     KITH_OK);
    assert_string_equal(kith_config_string(config, "listen"), "[::1]:7");
    assert_int_equal(kith_config_number(config, "put_timeout"), 1500);
    assert_int_equal(kith_config_number(config, "cache_size"), 1 << 30);
    assert_true(kith_config_bool(config, "verify"));
    assert_string_equal(kith_config_string(config, "log"), "");
    assert_true(kith_config_is_set(config, "listen"));
    kith_config_free(config);
}

static void test_file_errors(void **state)
{
    (void)state;
    load_fails("[store]\n\ncashe_size = 1G\n",
               "kithd.conf:3: unknown key 'cashe_size' in [store]; did you mean 'cache_size'?");
    load_fails("[node]\nshoe_size = 44\n",
               "kithd.conf:2: unknown key 'shoe_size' in [node]"); /* near to nothing */
    load_fails("[nod]\nlisten = x\n", "kithd.conf:2: unknown section [nod] (with key 'listen')");
    load_fails("[store]\nlisten = x\n",
               "kithd.conf:2: key 'listen' belongs into [node], not [store]");
    load_fails("listen = x\n", "kithd.conf:1: key 'listen' belongs into [node]");
    load_fails("[node]\nweight = 0\n", "kithd.conf:2: weight: '0' is too small: at least 1");
    load_fails("[node]\nweight = 1001\n",
               "kithd.conf:2: weight: '1001' is too large: at most 1000");
    load_fails("[node]\nweight = 99999999999999999999\n",
               "kithd.conf:2: weight: '99999999999999999999' is no whole number");
    load_fails("[node]\nweight =\n", "kithd.conf:2: weight: a number is missing");
    load_fails("[log]\ncolour = pink\n",
               "kithd.conf:2: colour: 'pink' is none of red, green, blue");
    load_fails("[store]\nverify = maybe\n", "kithd.conf:2: verify: 'maybe' is neither yes nor no");
    load_fails("[node]\nnonsense\n",
               "kithd.conf:2: neither 'key = value' nor '[section]' nor a comment");
    char text[9000];
    (void)snprintf(text, sizeof(text), "[node]\nlisten = %08000d\n", 0);
    struct kith_config *config = config_make();
    struct kith_error error;
    assert_int_equal(kith_config_load_text(config, "f", text, &error), KITH_EINVAL);
    assert_non_null(strstr(error.message, "f:2: the line is too long"));
    kith_config_free(config);
}

static void test_files_on_disk(void **state)
{
    (void)state;
    struct kith_config *config = config_make();
    struct kith_error error;
    assert_int_equal(kith_config_load(config, "/nowhere/k.conf", &error), KITH_ENOTFOUND);
    assert_string_equal(error.message, "/nowhere/k.conf: No such file or directory");
    assert_int_equal(kith_config_load(config, "/", &error), KITH_EIO);
    char path[] = "/tmp/test_config.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static const char text[] = "[node]\nweight = 7";
    assert_int_equal(write(fd, text, sizeof(text) - 1), (long)sizeof(text) - 1);
    assert_int_equal(kith_config_load(config, path, &error), KITH_OK);
    assert_int_equal(kith_config_number(config, "weight"), 7);
    assert_int_equal(write(fd, "\0", 1), 1);
    assert_int_equal(kith_config_load(config, path, &error), KITH_EINVAL);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    kith_config_free(config);
}

static void test_options(void **state)
{
    (void)state;
    struct kith_config *config = config_make();
    struct kith_error error;
    static char words[8][20] = {"--cache-size=64M", "--weight",   "9",        "--verify",
                                "--no-verify",      "--nonsense", "--weight", "--listen"};
    char *argv[8];
    for (size_t i = 0; i < 8; i++) {
        argv[i] = words[i];
    }
    int at = 0;
    while (at < 5) {
        assert_int_equal(kith_config_option(config, 8, argv, &at, &error), KITH_OK);
    }
    assert_int_equal(kith_config_number(config, "cache_size"), 64 << 20);
    assert_int_equal(kith_config_number(config, "weight"), 9);
    assert_false(kith_config_bool(config, "verify"));
    assert_int_equal(kith_config_option(config, 8, argv, &at, &error), KITH_ENOTFOUND);
    at = 6;
    assert_int_equal(kith_config_option(config, 8, argv, &at, &error), KITH_EINVAL);
    assert_string_equal(error.message, "option --weight: weight: '--listen' is no whole number");
    at = 7;
    assert_int_equal(kith_config_option(config, 8, argv, &at, &error), KITH_EINVAL);
    assert_string_equal(error.message, "option --listen needs a value");
    assert_int_equal(kith_config_set(config, "-o", "wieght", "1", &error), KITH_EINVAL);
    assert_string_equal(error.message, "-o: unknown key 'wieght'; did you mean 'weight'?");
    assert_int_equal(kith_config_set(config, "-o", "weight", "3", &error), KITH_OK);
    kith_config_free(config);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t value;
    } sizes[] = {{"0", 0}, {"17", 17}, {"4k", 4096}, {"4KiB", 4096}, {"2T", UINT64_C(2) << 40}},
      times[] = {{"0", 0}, {"5ms", 5}, {"2s", 2000}, {"3m", 180000}, {"1d", 86400000}};
    static const char *const bad[] = {"",
                                      "x",
                                      "1x",
                                      "-1",
                                      "1.5s",
                                      "99999999999999999999",
                                      "1 s",
                                      "20000000000T",
                                      "99999999999999999d",
                                      "Kk"};
    uint64_t value = 0;
    struct kith_error error;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(kith_size_parse(sizes[i].text, &value, &error), KITH_OK);
        assert_int_equal(value, sizes[i].value);
        assert_int_equal(kith_duration_parse(times[i].text, &value, &error), KITH_OK);
        assert_int_equal(value, times[i].value);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(kith_size_parse(bad[i], &value, &error), KITH_EINVAL);
        assert_int_equal(kith_duration_parse(bad[i], &value, &error), KITH_EINVAL);
    }
    assert_int_equal(kith_duration_parse("10", &value, &error), KITH_EINVAL); /* of what? */
}

static void test_help(void **state)
{
    (void)state;
    char help[1024];
    size_t wanted = kith_config_help(keys, KEY_COUNT, help, sizeof(help));
    assert_int_equal(wanted, strlen(help));
    assert_non_null(
        strstr(help, "  --listen ADDRESS         where to listen (default 0.0.0.0:7070)\n"));
    assert_non_null(strstr(help, "--colour red|green|blue"));
    char small[10];
    assert_int_equal(kith_config_help(keys, KEY_COUNT, small, sizeof(small)), wanted);
    assert_int_equal(strlen(small), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_errors), cmocka_unit_test(test_files_on_disk),
        cmocka_unit_test(test_options),     cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
