/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ctl.h - kithctl: one table of commands, from which dispatch, help and completion follow.
 *
 * A command gets its arguments parsed and checked, writes its answer to stdout (text, or one JSON
 * value with --json) and trouble to stderr (report.h), and returns an exit status. One thread,
 * except where link.h and the client have threads of their own. */
#ifndef KITH_CTL_CTL_H
#define KITH_CTL_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"

/* Exit statuses; stable. 0 to 3 are those of `kithctl status`, which scripts test. */
enum kith_ctl_exit {
    KITH_CTL_OK = 0,        /* done; status: healthy */
    KITH_CTL_FAILED = 1,    /* refused or failed, nothing happened; status: degraded */
    KITH_CTL_BELOW = 2,     /* status: some keys have fewer live owners than a quorum */
    KITH_CTL_NO_ANSWER = 3, /* no node answered in time */
    KITH_CTL_SIBLINGS = 4,  /* get: the key has several versions; conflicts, diff, resolve: there are
                               some */
    KITH_CTL_NO_KEY = 5,    /* get: no such key */
    KITH_CTL_UNKNOWN = 6,   /* put, delete: it may have happened or may yet */
    KITH_CTL_USAGE = 64,    /* the command line makes no sense (EX_USAGE) */
};

#define KITH_CTL_OPTIONS_MAX 16u
#define KITH_CTL_ARGS_MAX    4u
#define KITH_CTL_MANY_MAX    32u  /* times that an option which may be repeated is given */
#define KITH_CTL_SERVERS_MAX 64u  /* doors named on a command line; one that answers is enough */
#define KITH_CTL_PORT        7070 /* where a server without a port listens */
#define KITH_CTL_TIMEOUT_MS  10000u

struct kith_ctl_option {
    const char *name;     /* without "--" */
    const char *argument; /* placeholder; NULL: a switch; "X...": it may be given several times */
    const char *help;
};

struct json_t; /* of jansson */
struct kith_ctl_args;

struct kith_ctl_command {
    const char *group; /* "local" of "kithctl local up", or NULL */
    const char *name;
    const char *arguments; /* "KEY [VALUE]", for the help */
    uint32_t min_args, max_args;
    const char *summary;
    const char *details; /* more lines for --help, or "" */
    const char *example;
    const struct kith_ctl_option *options; /* ended by a NULL name; besides the common ones */
    int (*run)(const struct kith_ctl_args *args);
};

struct kith_ctl_args {
    const struct kith_ctl_command *command;
    uint32_t count;
    const char *positional[KITH_CTL_ARGS_MAX];
    const char
        *values[KITH_CTL_OPTIONS_MAX]; /* by the command's options; "" for a switch that is set */
    uint32_t many_count; /* of the option that may be repeated, of which a command has one at most */
    const char *many[KITH_CTL_MANY_MAX];
    bool json;
    bool help;
    uint64_t timeout_ms; /* of the whole command, or of each request where that is said */
    bool servers_given; /* on the command line */
    uint32_t server_count;
    char servers[KITH_CTL_SERVERS_MAX][280]; /* "host:port" */
};

extern const struct kith_ctl_command kith_ctl_commands[]; /* commands.c; ended by a NULL name */
extern const struct kith_ctl_option kith_ctl_common_options[]; /* of every command; the same */

/* What main does: parses, runs, returns the exit status. */
int kith_ctl_main(int argc, char *const argv[]);

/* Parses everything behind the command's words. EINVAL with a message; then only `command` and
 * `json` are set. */
KITH_MUST_CHECK enum kith_err kith_ctl_parse(const struct kith_ctl_command *command, int argc,
                                             char *const argv[], struct kith_ctl_args *ret_args,
                                             struct kith_error *error);
/* The command that argv[0..] names and how many words that took; NULL: none. */
const struct kith_ctl_command *kith_ctl_find(int argc, char *const argv[], int *ret_words);
/* The option's value, "" for a switch that is set, NULL where it is not given. */
const char *kith_ctl_value(const struct kith_ctl_args *args, const char *name);

/* "host[:port],[v6]:port,..." into args->servers. EINVAL with a message. */
KITH_MUST_CHECK enum kith_err kith_ctl_servers(const char *text, struct kith_ctl_args *args,
                                               struct kith_error *error);

/* An option's whole number from min to max; *number stays where the option is not given. EINVAL
 * with a message. */
KITH_MUST_CHECK enum kith_err kith_ctl_number(const struct kith_ctl_args *args, const char *name,
                                              uint64_t min, uint64_t max, uint64_t *number,
                                              struct kith_error *error);

/* Tells the error (report.h) and returns the status that goes with its code. */
int kith_ctl_fail(const struct kith_ctl_args *args, const struct kith_error *error);
/* The same with another status. */
int kith_ctl_fail_as(const struct kith_ctl_args *args, const struct kith_error *error, int status);
/* The same for a program with `more` in it, which is dropped; NULL: nothing. */
int kith_ctl_fail_more(const struct kith_ctl_args *args, const struct kith_error *error,
                       struct json_t *more);
/* The same for what the command line alone shows to be wrong: KITH_CTL_USAGE. */
int kith_ctl_usage(const struct kith_ctl_args *args, const struct kith_error *error);

/* The commands. */
int kith_ctl_init(const struct kith_ctl_args *args);
int kith_ctl_init_dir(const struct kith_ctl_args *args); /* 'init DIR': cert_issue.c */
int kith_ctl_cert_node(const struct kith_ctl_args *args);
int kith_ctl_cert_admin(const struct kith_ctl_args *args);
int kith_ctl_cert_client(const struct kith_ctl_args *args);
int kith_ctl_cert_list(const struct kith_ctl_args *args);
int kith_ctl_cert_revoke(const struct kith_ctl_args *args);
int kith_ctl_cert_push(const struct kith_ctl_args *args);
int kith_ctl_volume_create(const struct kith_ctl_args *args);
int kith_ctl_volume_list(const struct kith_ctl_args *args);
int kith_ctl_volume_remove(const struct kith_ctl_args *args);
int kith_ctl_join(const struct kith_ctl_args *args);
int kith_ctl_status(const struct kith_ctl_args *args);
int kith_ctl_top(const struct kith_ctl_args *args);
int kith_ctl_ring(const struct kith_ctl_args *args);
int kith_ctl_handoff(const struct kith_ctl_args *args);
int kith_ctl_repair_start(const struct kith_ctl_args *args);
int kith_ctl_repair_status(const struct kith_ctl_args *args);
int kith_ctl_repair_stop(const struct kith_ctl_args *args);
int kith_ctl_repair_limit(const struct kith_ctl_args *args);
int kith_ctl_scrub(const struct kith_ctl_args *args);
int kith_ctl_gc(const struct kith_ctl_args *args);
int kith_ctl_backup(const struct kith_ctl_args *args);
int kith_ctl_restore(const struct kith_ctl_args *args);
int kith_ctl_explain(const struct kith_ctl_args *args);
int kith_ctl_get(const struct kith_ctl_args *args);
int kith_ctl_put(const struct kith_ctl_args *args);
int kith_ctl_delete(const struct kith_ctl_args *args);
int kith_ctl_scan(const struct kith_ctl_args *args);
int kith_ctl_plan_join(const struct kith_ctl_args *args);
int kith_ctl_plan_leave(const struct kith_ctl_args *args);
int kith_ctl_plan_replace(const struct kith_ctl_args *args);
int kith_ctl_plan_weight(const struct kith_ctl_args *args);
int kith_ctl_plan_zone(const struct kith_ctl_args *args);
int kith_ctl_plan_show(const struct kith_ctl_args *args);
int kith_ctl_plan_apply(const struct kith_ctl_args *args);
int kith_ctl_plan_revert(const struct kith_ctl_args *args);
int kith_ctl_plan_drop(const struct kith_ctl_args *args);
int kith_ctl_conflicts(const struct kith_ctl_args *args);
int kith_ctl_diff(const struct kith_ctl_args *args);
int kith_ctl_resolve(const struct kith_ctl_args *args);
int kith_ctl_local_up(const struct kith_ctl_args *args);
int kith_ctl_local_down(const struct kith_ctl_args *args);
int kith_ctl_local_status(const struct kith_ctl_args *args);

#endif
