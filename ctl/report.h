/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * report.h - trouble, told on standard error: to a person in plain lines, to a program (--json) in
 * lines of one JSON object each. Standard output is for answers only, so that who reads it never
 * takes the one for the other. One thread. */
#ifndef KITH_CTL_REPORT_H
#define KITH_CTL_REPORT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"

/* Where trouble is told: NULL is standard error. */
void kith_report_to(FILE *out);

/* The code's word, "EUNREACH"; "EOTHER" for a number that has none. */
const char *kith_report_word(enum kith_err code);

/* "kithctl: COMMAND: message", or in JSON
 *     {"error": {"code": WORD, "message": TEXT, "command": COMMAND, "exit_status": N, ...}}
 * with the members of `more` at the end, which is dropped. command may be NULL (then neither has
 * it), more too. */
void kith_report_error(bool json, const char *command, const struct kith_error *error,
                       int exit_status, json_t *more);

/* What is no failure, but must be known: "kithctl: text", or in JSON
 *     {"warning": {"message": TEXT}} */
void kith_report_warning(bool json, const char *format, ...) KITH_PRINTF(2, 3);

#endif
