/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * command.c - what follows from the table of commands: dispatch, parsing, help. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/config.h"
#include "ctl/ctl.h"
#include "ctl/report.h"

/* ---- Help ---- */

static void title(const struct kith_ctl_command *command, char *out, size_t size)
{
    (void)snprintf(out, size, "%s%s%s%s%s", command->group ? command->group : "",
                   command->group ? " " : "", command->name, *command->arguments ? " " : "",
                   command->arguments);
}

/* group: only its commands; NULL: all */
static void help_all(FILE *out, const char *group)
{
    (void)fprintf(out, "kithctl - look after a kithfs cluster\n\nCommands:\n");
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        char text[80];
        if (group && (!command->group || strcmp(command->group, group) != 0)) {
            continue;
        }
        title(command, text, sizeof(text));
        (void)fprintf(out, "  %-27s %s\n", text, command->summary);
    }
    (void)fprintf(
        out,
        "\nkithctl COMMAND --help tells more, with an example. Exit status: 0 done, 1 failed,\n"
        "3 no node answered, 6 outcome unknown, 64 bad command line.\n"
        "With --json the answer is one JSON value on standard output; an error is a line on\n"
        "standard error, and the exit status the same:\n"
        "{\"error\":{\"code\":\"EUNREACH\",\"message\":\"no node ...\",\"command\":\"get\","
        "\"exit_status\":3}}\n");
}

static void help_options(const struct kith_ctl_option *options)
{
    for (; options->name; options++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "--%s%s%s", options->name, options->argument ? " " : "",
                       options->argument ? options->argument : "");
        (void)printf("  %-18s %s\n", text, options->help);
    }
}

static void help_command(const struct kith_ctl_command *command)
{
    char text[80];
    title(command, text, sizeof(text));
    (void)printf("Usage: kithctl %s [OPTIONS]\n%c%s.\n%s\nOptions:\n", text,
                 command->summary[0] - 'a' + 'A', command->summary + 1, command->details);
    help_options(command->options);
    help_options(kith_ctl_common_options);
    (void)printf("\nExample:\n  %s\n", command->example);
}

/* ---- Parsing ---- */

const struct kith_ctl_command *kith_ctl_find(int argc, char *const argv[], int *ret_words)
{
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        int words = command->group ? 2 : 1;
        if (argc >= words && strcmp(argv[words - 1], command->name) == 0 &&
            (!command->group || strcmp(argv[0], command->group) == 0)) {
            *ret_words = words;
            return command;
        }
    }
    return NULL;
}

const char *kith_ctl_value(const struct kith_ctl_args *args, const char *name)
{
    const struct kith_ctl_option *options = args->command->options;
    uint32_t i = 0;
    while (options[i].name && strcmp(options[i].name, name) != 0) {
        i++;
    }
    KITH_ASSERT(options[i].name); /* asked for an option that the command does not have */
    return args->values[i];
}

enum kith_err kith_ctl_number(const struct kith_ctl_args *args, const char *name, uint64_t min,
                              uint64_t max, uint64_t *number, struct kith_error *error)
{
    const char *text = kith_ctl_value(args, name);
    if (!text) {
        return KITH_OK;
    }
    char *end = NULL;
    errno = 0;
    unsigned long long value = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno != 0 || value < min || value > max) {
        return kith_error_set(error, KITH_EINVAL, "--%s: '%s' is no number from %llu to %llu", name,
                              text, (unsigned long long)min, (unsigned long long)max);
    }
    *number = value;
    return KITH_OK;
}

static bool port_fits(const char *text, size_t length)
{
    unsigned port = 0;
    for (size_t i = 0; i < length; i++) {
        if (i == 5 || text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static enum kith_err server_add(const char *text, size_t length, struct kith_ctl_args *args,
                                struct kith_error *error)
{
    bool bracket = length > 0 && text[0] == '[';
    const char *close = bracket ? memchr(text, ']', length) : NULL;
    const char *colon =
        memchr(close ? close : text, ':', close ? length - (size_t)(close - text) : length);
    const char *host_end = colon ? colon : text + length;
    if (length == 0 || length > 250 || (bracket && !close) ||
        (close && (close == text + 1 || host_end != close + 1)) || colon == text ||
        (colon && colon + 1 == text + length)) {
        return kith_error_set(error, KITH_EINVAL,
                              "'%.*s' is no address: write host, host:port or [v6]:port",
                              (int)(length > 250 ? 250 : length), text);
    }
    if (colon && !port_fits(colon + 1, length - (size_t)(colon + 1 - text))) {
        return kith_error_set(error, KITH_EINVAL,
                              "'%.*s' is no address: a port is a number from 1 to 65535",
                              (int)length, text);
    }
    if (args->server_count == KITH_CTL_SERVERS_MAX) {
        return kith_error_set(error, KITH_ELIMIT, "more than %u servers", KITH_CTL_SERVERS_MAX);
    }
    char *out = args->servers[args->server_count++];
    if (colon) {
        (void)snprintf(out, sizeof(args->servers[0]), "%.*s", (int)length, text);
    } else {
        (void)snprintf(out, sizeof(args->servers[0]), "%.*s:%d", (int)length, text, KITH_CTL_PORT);
    }
    return KITH_OK;
}

enum kith_err kith_ctl_servers(const char *text, struct kith_ctl_args *args,
                               struct kith_error *error)
{
    args->server_count = 0;
    for (;;) {
        size_t length = strcspn(text, ",");
        enum kith_err err = server_add(text, length, args, error);
        if (err != KITH_OK) {
            return err;
        }
        if (text[length] == '\0') {
            return KITH_OK;
        }
        text += length + 1;
    }
}

static bool may_repeat(const struct kith_ctl_args *args, const char *name, size_t length)
{
    for (const struct kith_ctl_option *option = args->command->options; option->name; option++) {
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0) {
            size_t size = option->argument ? strlen(option->argument) : 0;
            return size > 3 && strcmp(option->argument + size - 3, "...") == 0;
        }
    }
    return false;
}

static enum kith_err option_repeat(struct kith_ctl_args *args, const char *name, size_t length,
                                   const char *value, struct kith_error *error)
{
    if (!may_repeat(args, name, length)) {
        return KITH_OK;
    }
    if (args->many_count == KITH_CTL_MANY_MAX) {
        return kith_error_set(error, KITH_EINVAL, "--%.*s is given more than %u times", (int)length,
                              name, KITH_CTL_MANY_MAX);
    }
    args->many[args->many_count++] = value;
    return KITH_OK;
}

static const char **option_place(struct kith_ctl_args *args, const char *name, size_t length,
                                 const char *common[4], bool *ret_switch)
{
    const struct kith_ctl_option *lists[2] = {args->command->options, kith_ctl_common_options};
    for (uint32_t which = 0; which < 2; which++) {
        for (uint32_t i = 0; lists[which][i].name; i++) {
            if (strlen(lists[which][i].name) == length &&
                strncmp(lists[which][i].name, name, length) == 0) {
                *ret_switch = !lists[which][i].argument;
                return which == 0 ? &args->values[i] : &common[i];
            }
        }
    }
    return NULL;
}

static enum kith_err unknown_option(const struct kith_ctl_args *args, const char *name,
                                    struct kith_error *error)
{
    const char *names[KITH_CTL_OPTIONS_MAX + 4];
    size_t count = 0;
    for (const struct kith_ctl_option *option = args->command->options; option->name; option++) {
        names[count++] = option->name;
    }
    for (const struct kith_ctl_option *option = kith_ctl_common_options; option->name; option++) {
        names[count++] = option->name;
    }
    const char *near = kith_nearest(name, names, count);
    return kith_error_set(error, KITH_EINVAL, "unknown option --%s%s%s%s", name,
                          near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* One option at argv[*at]; moves *at to its last word. */
static enum kith_err option_parse(struct kith_ctl_args *args, int argc, char *const argv[], int *at,
                                  const char *common[4], struct kith_error *error)
{
    const char *name = argv[*at] + 2;
    size_t length = strcspn(name, "=");
    bool is_switch = false;
    const char **place = option_place(args, name, length, common, &is_switch);
    if (!place) {
        return unknown_option(args, name, error);
    }
    if (is_switch) {
        *place = "";
        return name[length] == '\0'
                   ? KITH_OK
                   : kith_error_set(error, KITH_EINVAL, "--%.*s takes no value", (int)length, name);
    }
    if (name[length] == '=') {
        *place = name + length + 1;
    } else if (*at + 1 >= argc) {
        return kith_error_set(error, KITH_EINVAL, "--%s needs a value", name);
    } else {
        *place = argv[++*at];
    }
    return option_repeat(args, name, length, *place, error);
}

/* Whether --json stands in a command line that may make no sense. */
static bool asks_json(int argc, char *const argv[])
{
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            return true;
        }
    }
    return false;
}

enum kith_err kith_ctl_parse(const struct kith_ctl_command *command, int argc, char *const argv[],
                             struct kith_ctl_args *ret_args, struct kith_error *error)
{
    const char *common[4] = {NULL, NULL, NULL, NULL}; /* as in kith_ctl_common_options */
    bool only_words = false;
    memset(ret_args, 0, sizeof(*ret_args));
    ret_args->command = command;
    ret_args->json = asks_json(argc, argv); /* for the errors below */
    ret_args->timeout_ms = KITH_CTL_TIMEOUT_MS;
    for (int at = 0; at < argc; at++) {
        if (!only_words && strcmp(argv[at], "--") == 0) {
            only_words = true;
        } else if (!only_words && strcmp(argv[at], "-h") == 0) {
            common[3] = "";
        } else if (!only_words && strncmp(argv[at], "--", 2) == 0) {
            enum kith_err err = option_parse(ret_args, argc, argv, &at, common, error);
            if (err != KITH_OK) {
                return err;
            }
        } else if (ret_args->count == command->max_args) {
            return kith_error_set(error, KITH_EINVAL, "'%s' is one argument too many", argv[at]);
        } else {
            ret_args->positional[ret_args->count++] = argv[at];
        }
    }
    ret_args->json = common[2] != NULL;
    ret_args->help = common[3] != NULL;
    if (ret_args->help) {
        return KITH_OK;
    }
    if (ret_args->count < command->min_args) {
        return kith_error_set(error, KITH_EINVAL, "an argument is missing: %s", command->arguments);
    }
    if (common[1]) {
        enum kith_err err = kith_duration_parse(common[1], &ret_args->timeout_ms, error);
        if (err != KITH_OK) {
            return err;
        }
        if (ret_args->timeout_ms < 1 || ret_args->timeout_ms > 600000) {
            return kith_error_set(error, KITH_EINVAL, "--timeout must be between 1ms and 10m");
        }
    }
    const char *servers = getenv("KITH_SERVERS");
    bool local = command->group && strcmp(command->group, "local") == 0; /* they know their nodes */
    ret_args->servers_given = common[0] != NULL;
    if (common[0] || !servers || !*servers || local) {
        return kith_ctl_servers(common[0] ? common[0] : "127.0.0.1", ret_args, error);
    }
    enum kith_err err = kith_ctl_servers(servers, ret_args, error);
    return err == KITH_OK ? KITH_OK : kith_error_wrap(error, "$KITH_SERVERS");
}

/* ---- Dispatch ---- */

static int fail(const struct kith_ctl_args *args, const struct kith_error *error, int status,
                json_t *more)
{
    const struct kith_ctl_command *command = args->command;
    char name[32];
    (void)snprintf(name, sizeof(name), "%s%s%s", command->group ? command->group : "",
                   command->group ? " " : "", command->name);
    kith_report_error(args->json, name, error, status, more);
    return status;
}

int kith_ctl_usage(const struct kith_ctl_args *args, const struct kith_error *error)
{
    return fail(args, error, KITH_CTL_USAGE, NULL);
}

int kith_ctl_fail_as(const struct kith_ctl_args *args, const struct kith_error *error, int status)
{
    return fail(args, error, status, NULL);
}

int kith_ctl_fail(const struct kith_ctl_args *args, const struct kith_error *error)
{
    return kith_ctl_fail_more(args, error, NULL);
}

static int status_of(enum kith_err code)
{
    switch (code) {
    case KITH_EUNREACH:
    case KITH_ETIMEOUT:
    case KITH_ECLOSED:
        return KITH_CTL_NO_ANSWER;
    case KITH_EUNKNOWN:
        return KITH_CTL_UNKNOWN;
    default:
        return KITH_CTL_FAILED;
    }
}

int kith_ctl_fail_more(const struct kith_ctl_args *args, const struct kith_error *error,
                       json_t *more)
{
    return fail(args, error, status_of(error->code), more);
}

/* The group that the word names; NULL: none. */
static const char *group_find(const char *word)
{
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        if (command->group && strcmp(command->group, word) == 0) {
            return command->group;
        }
    }
    return NULL;
}

static int unknown_command(int argc, char *const argv[])
{
    const char *names[64];
    size_t count = 0;
    for (const struct kith_ctl_command *command = kith_ctl_commands; command->name; command++) {
        bool in_group = argc > 1 && command->group && strcmp(command->group, argv[0]) == 0;
        if (in_group || !command->group) {
            names[count++] = command->name;
        }
    }
    const char *group = group_find(argv[0]);
    const char *given = group ? (argc > 1 ? argv[1] : "") : argv[0];
    const char *near = kith_nearest(given, names, count);
    struct kith_error error;
    (void)kith_error_set(&error, KITH_EINVAL,
                         "unknown command '%s%s%.200s'%s%s%s; 'kithctl --help' lists them",
                         group ? group : "", group ? " " : "", given,
                         near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
    kith_report_error(asks_json(argc, argv), NULL, &error, KITH_CTL_USAGE, NULL);
    return KITH_CTL_USAGE;
}

static bool asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0;
}

/* Without the program's own name. */
static int run(int argc, char *const argv[])
{
    const char *group = argc > 0 ? group_find(argv[0]) : NULL;
    int words = group ? 1 : 0;
    if (argc == words) {
        help_all(stderr, group);
        return KITH_CTL_USAGE;
    }
    if (asks_help(argv[words])) {
        help_all(stdout, group);
        return KITH_CTL_OK;
    }
    if (strcmp(argv[0], "--version") == 0) {
        (void)printf("kithctl %s\n", KITH_VERSION);
        return KITH_CTL_OK;
    }
    const struct kith_ctl_command *command = kith_ctl_find(argc, argv, &words);
    if (!command) {
        return unknown_command(argc, argv);
    }
    struct kith_ctl_args args;
    struct kith_error error;
    if (kith_ctl_parse(command, argc - words, argv + words, &args, &error) != KITH_OK) {
        return kith_ctl_usage(&args, &error);
    }
    if (args.help) {
        help_command(command);
        return KITH_CTL_OK;
    }
    return command->run(&args);
}

int kith_ctl_main(int argc, char *const argv[])
{
    int status = run(argc > 0 ? argc - 1 : 0, argv + 1);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        struct kith_error error;
        status = status == KITH_CTL_OK ? KITH_CTL_FAILED : status;
        (void)kith_error_set(&error, KITH_EIO, "cannot write the answer to standard output");
        kith_report_error(asks_json(argc, argv), NULL, &error, status, NULL);
    }
    return status;
}
