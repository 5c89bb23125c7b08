/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * kithctl's command line: the table of commands is complete, and parsing follows it. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "ctl/ctl.h"

#define WORDS_MAX 12

/* Splits at blanks; argv points into a buffer that the next call uses again. */
static int words(const char *line, char *argv[WORDS_MAX])
{
    static char buffer[512];
    int argc = 0;
    assert_true(strlen(line) < sizeof(buffer));
    (void)strcpy(buffer, line);
    for (char *word = strtok(buffer, " "); word && argc < WORDS_MAX; word = strtok(NULL, " ")) {
        argv[argc++] = word;
    }
    return argc;
}

static enum kith_err parse(const char *line, struct kith_ctl_args *args, struct kith_error *error)
{
    char *argv[WORDS_MAX];
    int used = 0;
    int argc = words(line, argv);
    const struct kith_ctl_command *command = kith_ctl_find(argc, argv, &used);
    assert_non_null(command);
    return kith_ctl_parse(command, argc - used, argv + used, args, error);
}

static void refused(const char *line, const char *message)
{
    struct kith_ctl_args args;
    struct kith_error error;
    assert_int_equal(parse(line, &args, &error), KITH_EINVAL);
    assert_string_equal(error.message, message);
}

static void test_table(void **state)
{
    (void)state;
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        assert_non_null(command->run);
        assert_true(command->min_args <= command->max_args);
        assert_true(command->max_args <= KITH_CTL_ARGS_MAX);
        assert_true(command->summary[0] >= 'a' && command->summary[0] <= 'z');
        uint32_t options = 0;
        while (command->options[options].name) {
            options++;
        }
        assert_true(options <= KITH_CTL_OPTIONS_MAX);
        /* the example in the help is one that works */
        assert_int_equal(strncmp(command->example, "kithctl ", 8), 0);
        struct kith_ctl_args args;
        struct kith_error error;
        assert_int_equal(parse(command->example + 8, &args, &error), KITH_OK);
        assert_ptr_equal(args.command, command);
    }
}

static void test_parse(void **state)
{
    (void)state;
    struct kith_ctl_args args;
    struct kith_error error;
    assert_int_equal(
        parse("put --blind key --servers a,b:1,[::1],[::2]:3 value --timeout=2s --json", &args,
              &error),
        KITH_OK);
    assert_int_equal(args.count, 2);
    assert_string_equal(args.positional[0], "key");
    assert_string_equal(args.positional[1], "value");
    assert_non_null(kith_ctl_value(&args, "blind"));
    assert_null(kith_ctl_value(&args, "file"));
    assert_true(args.json);
    assert_int_equal(args.timeout_ms, 2000);
    assert_int_equal(args.server_count, 4);
    assert_string_equal(args.servers[0], "a:7070");
    assert_string_equal(args.servers[1], "b:1");
    assert_string_equal(args.servers[2], "[::1]:7070");
    assert_string_equal(args.servers[3], "[::2]:3");
    assert_int_equal(parse("get -- --key", &args, &error), KITH_OK);
    assert_string_equal(args.positional[0], "--key");
    assert_int_equal(parse("get --help", &args, &error), KITH_OK);
    assert_true(args.help);
    assert_int_equal(parse("local up -h", &args, &error), KITH_OK);
    assert_true(args.help);
    assert_int_equal(parse("get -- -h", &args, &error), KITH_OK);
    assert_false(args.help);
}

static void test_refuses(void **state)
{
    (void)state;
    refused("get", "an argument is missing: KEY");
    refused("get a b", "'b' is one argument too many");
    refused("put a --blnd", "unknown option --blnd; did you mean --blind?");
    refused("put a --blind=1", "--blind takes no value");
    refused("put a --file", "--file needs a value");
    refused("get a --timeout 5",
            "'5' is no duration: write a number with ms, s, m, h or d (1500ms, 10s)");
    refused("get a --timeout 11m", "--timeout must be between 1ms and 10m");
    refused("get a --servers a,,b", "'' is no address: write host, host:port or [v6]:port");
    refused("get a --servers a:", "'a:' is no address: write host, host:port or [v6]:port");
    refused("get a --servers [::1", "'[::1' is no address: write host, host:port or [v6]:port");
    refused("get a --servers [::1]x", "'[::1]x' is no address: write host, host:port or [v6]:port");
    refused("get a --servers a:b", "'a:b' is no address: a port is a number from 1 to 65535");
    refused("get a --servers a:0", "'a:0' is no address: a port is a number from 1 to 65535");
    refused("get a --servers a:65536",
            "'a:65536' is no address: a port is a number from 1 to 65535");
    refused("get a --servers=", "'' is no address: write host, host:port or [v6]:port");
    char *argv[WORDS_MAX];
    int used = 0;
    assert_null(kith_ctl_find(words("up dir", argv), argv, &used)); /* local up */
    assert_null(kith_ctl_find(words("local", argv), argv, &used));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
