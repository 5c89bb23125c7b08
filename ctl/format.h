/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * format.h - what commands print: figures (text/figures.h), and JSON. Any thread. */
#ifndef KITH_CTL_FORMAT_H
#define KITH_CTL_FORMAT_H

#include <jansson.h>

#include "text/figures.h"

/* Bytes as a JSON string where they are UTF-8 (NAME), else in base64 (NAME_base64): sets it in
 * object. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_json_bytes(json_t *object, const char *name,
                                              struct kith_bytes bytes);
/* A string for people: what is no UTF-8 in it (a path's odd byte, a character that was cut) becomes
 * U+FFFD. NULL: memory is short. */
json_t *kith_json_text(const char *text, size_t size);
/* An object of that name and text, which need not be UTF-8 (as a path or a key on a command line),
 * followed by what `rest` holds, which is dropped. NULL: rest is NULL, or memory is short. */
json_t *kith_json_named(const char *name, const char *text, json_t *rest);
/* Prints the object on stdout and drops it. ENOMEM when it is NULL, EIO when it cannot be written.
 */
KITH_MUST_CHECK enum kith_err kith_json_print(json_t *value, struct kith_error *error);

#endif
