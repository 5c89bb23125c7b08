/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/format.h"

static FILE *told_to; /* NULL: standard error */

void kith_report_to(FILE *out)
{
    told_to = out;
}

static FILE *where(void)
{
    return told_to ? told_to : stderr;
}

const char *kith_report_word(enum kith_err code)
{
    switch ((int)code) {
#define X(name, number, text)                                                                      \
    case number:                                                                                   \
        return #name;
        KITH_ERR_MAP(X)
#undef X
    default:
        return "EOTHER";
    }
}

/* One line of {name: body}; drops body. false: memory is short, and nothing was printed. */
static bool line_print(const char *name, json_t *body)
{
    json_t *line = body ? json_pack("{s:o}", name, body) : NULL;
    char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
    json_decref(line);
    if (text) {
        (void)fprintf(where(), "%s\n", text); /* where that fails, nothing is left to tell it */
    }
    free(text);
    return text != NULL;
}

void kith_report_error(bool json, const char *command, const struct kith_error *error,
                       int exit_status, json_t *more)
{
    bool printed = false;
    if (json) {
        json_t *body = json_pack("{s:s, s:o}", "code", kith_report_word(error->code), "message",
                                 kith_json_text(error->message, strlen(error->message)));
        bool good =
            body && (!command || json_object_set_new(body, "command", json_string(command)) == 0);
        good = good && json_object_set_new(body, "exit_status", json_integer(exit_status)) == 0;
        good = good && (!more || json_object_update(body, more) == 0);
        if (!good) {
            json_decref(body);
            body = NULL;
        }
        printed = line_print("error", body);
    }
    if (!printed) {
        (void)fprintf(where(), "kithctl: %s%s%s\n", command ? command : "", command ? ": " : "",
                      error->message);
    }
    json_decref(more);
}

void kith_report_warning(bool json, const char *format, ...)
{
    char text[KITH_ERROR_MESSAGE_SIZE];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list); /* cut: for people */
    va_end(list);
    json_t *message = json ? kith_json_text(text, strlen(text)) : NULL;
    if (!message || !line_print("warning", json_pack("{s:o}", "message", message))) {
        (void)fprintf(where(), "kithctl: %s\n", text);
    }
}
