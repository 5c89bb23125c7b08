/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

const char *kith_err_text(int err)
{
    switch (err) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return text;
        KITH_ERR_MAP(X)
#undef X
    default:
        return "unknown error";
    }
}

enum kith_err kith_error_set(struct kith_error *error, enum kith_err code, const char *format, ...)
{
    if (!error) {
        return code;
    }
    error->code = code;
    va_list args;
    va_start(args, format);
    if (vsnprintf(error->message, sizeof error->message, format, args) < 0) {
        error->message[0] = '\0';
    }
    va_end(args);
    return code;
}

enum kith_err kith_error_wrap(struct kith_error *error, const char *format, ...)
{
    if (!error) {
        return KITH_OK;
    }
    char head[KITH_ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    int written = vsnprintf(head, sizeof head, format, args);
    va_end(args);
    if (written < 0) {
        return error->code;
    }
    const size_t room = sizeof error->message - 1;
    size_t head_size = strlen(head);
    if (head_size > room - 2) {
        head_size = room - 2;
    }
    size_t tail_size = strnlen(error->message, room);
    if (tail_size > room - head_size - 2) {
        tail_size = room - head_size - 2;
    }
    memmove(error->message + head_size + 2, error->message, tail_size);
    memcpy(error->message, head, head_size);
    memcpy(error->message + head_size, ": ", 2);
    error->message[head_size + 2 + tail_size] = '\0';
    return error->code;
}
