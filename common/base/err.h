/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * err.h - error codes, and the message that travels with one.
 *
 * A code says what a program should do; the message says to a person what failed, on what, why and
 * what helps. The message is wrapped layer by layer on its way up. The numbers are stable: they are
 * sent over the wire. */
#ifndef KITH_BASE_ERR_H
#define KITH_BASE_ERR_H

#include <stdarg.h>

#define KITH_MUST_CHECK __attribute__((warn_unused_result))
#define KITH_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* X(name, number, text) */
#define KITH_ERR_MAP(X)                                              \
    X(OK, 0, "success")                                              \
    X(ENOMEM, 1, "out of memory")                                    \
    X(EINVAL, 2, "invalid argument")                                 \
    X(EFORMAT, 3, "malformed bytes")                                 \
    X(ECORRUPT, 4, "checksum mismatch")                              \
    X(EVERSION, 5, "unsupported version")                            \
    X(ECLUSTER, 6, "belongs to another cluster")                     \
    X(ESTALE, 7, "partition table is out of date")                   \
    X(EREFUSED, 8, "refused, nothing happened")                      \
    X(EUNKNOWN, 9, "outcome unknown, it may yet appear")             \
    X(ETIMEOUT, 10, "deadline passed")                               \
    X(EUNREACH, 11, "not enough nodes can be reached")               \
    X(EIO, 12, "input/output error")                                 \
    X(ENOSPC, 13, "no space left")                                   \
    X(EROFS, 14, "read-only")                                        \
    X(ETOOBIG, 15, "too large")                                      \
    X(ETOOFEW, 16, "too few")                                        \
    X(ELIMIT, 17, "a limit is reached")                              \
    X(ENOTFOUND, 18, "not found")                                    \
    X(EEXIST, 19, "exists already")                                  \
    X(EBUSY, 20, "in use")                                           \
    X(ECANCELED, 21, "canceled")                                     \
    X(EPERM, 22, "not permitted")                                    \
    X(ENOTREADY, 23, "not ready yet")                                \
    X(ECLOSED, 24, "connection closed")

enum kith_err {
#define X(name, number, text) KITH_##name = number,
    KITH_ERR_MAP(X)
#undef X
};

/* The text of `err`; "unknown error" for a number that is not in the list. Static storage. */
const char *kith_err_text(int err);

#define KITH_ERROR_MESSAGE_SIZE 512 /* bytes with the NUL; longer messages are cut */

/* A code with its message. Lives where the caller puts it; nothing to free. */
struct kith_error {
    enum kith_err code;
    char message[KITH_ERROR_MESSAGE_SIZE];
};

/* Sets code and message; returns `code`, so that `return kith_error_set(e, ...)` reads well.
 * `error` may be NULL where nobody wants the message. */
enum kith_err kith_error_set(struct kith_error *error, enum kith_err code, const char *format, ...)
    KITH_PRINTF(3, 4);

/* Puts "<formatted>: " before the message that is there; the code stays. Returns the code. */
enum kith_err kith_error_wrap(struct kith_error *error, const char *format, ...) KITH_PRINTF(2, 3);

#endif
