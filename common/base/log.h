/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * log.h - one line an event: on stderr, into a file, or to the system's log.
 *
 * A line is "<time UTC> <level> <component>: <message>"; under systemd (JOURNAL_STREAM set) it is
 * "<N>component: message" with the journal's priority, and to the system's log
 * "<N>program[pid]: component: message". Any thread may log; a line is written with
 * one write(2), so lines never mix, and a control character in it, which may come from a peer,
 * becomes a '?' (a line feed a blank). The core does not log: it answers, and its shell logs. */
#ifndef KITH_BASE_LOG_H
#define KITH_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum kith_log_level { KITH_LOG_ERROR, KITH_LOG_WARN, KITH_LOG_INFO, KITH_LOG_DEBUG };

/* "error" "warn" "info" "debug"; KITH_EINVAL for anything else. */
KITH_MUST_CHECK enum kith_err kith_log_level_parse(const char *text,
                                                   enum kith_log_level *ret_level);
/* Levels above `level` are dropped. Default: INFO to stderr. */
void kith_log_set_level(enum kith_log_level level);
bool kith_log_enabled(enum kith_log_level level);
/* Appends to `path` from now on (NULL = stderr). On an error the old target stays. */
KITH_MUST_CHECK enum kith_err kith_log_open(const char *path, struct kith_error *error);
/* To the system's log (syslogd, journald) from now on, as `program`'s (static); for good: no
 * kith_log_open after it. Never waits: while nobody reads there, lines are dropped. */
KITH_MUST_CHECK enum kith_err kith_log_to_system(const char *program, struct kith_error *error);
/* Standard output and error are the log's file, too, from now on and after each later
 * kith_log_open: what the C library, others and a sanitizer say on their way to abort is else lost,
 * or stands where nobody looks. KITH_EINVAL, without a change, while the log is no file. */
KITH_MUST_CHECK enum kith_err kith_log_take_stderr(struct kith_error *error);
/* Where lines go, for who can only write(2): a handler of signals. Not to be closed. */
int kith_log_fd(void);
void kith_log(enum kith_log_level level, const char *component, const char *format, ...)
    KITH_PRINTF(3, 4);

/* Lines that others can cause as often as they like: KITH_LOG_LIMIT of one kind in
 * KITH_LOG_LIMIT_MS, and then how many more there were. Each kind has a limit of its own, zeroed at
 * first, for good. */
#define KITH_LOG_LIMIT    10u
#define KITH_LOG_LIMIT_MS 10000u
struct kith_log_limit {
    uint64_t since_ms; /* log.c's; protected by its lock */
    uint32_t count;
};
void kith_log_limited(struct kith_log_limit *limit, enum kith_log_level level,
                      const char *component, const char *format, ...) KITH_PRINTF(4, 5);

#define kith_log_error(component, ...) kith_log(KITH_LOG_ERROR, component, __VA_ARGS__)
#define kith_log_warn(component, ...) kith_log(KITH_LOG_WARN, component, __VA_ARGS__)
#define kith_log_info(component, ...) kith_log(KITH_LOG_INFO, component, __VA_ARGS__)
#define kith_log_debug(component, ...)                          \
    do {                                                        \
        if (kith_log_enabled(KITH_LOG_DEBUG)) {                 \
            kith_log(KITH_LOG_DEBUG, component, __VA_ARGS__);   \
        }                                                       \
    } while (0)

#endif
