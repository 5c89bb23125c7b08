/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * config.h - settings from an INI file and the command line, by one table of known keys.
 *
 * A program lists its keys once (struct kith_config_key: section, name, type, bounds, default,
 * help); file, command line, defaults and the help text all follow from that list. What comes
 * later wins: defaults, then the file, then options. An unknown key or a bad value is an error
 * that names the file and the line: "kithd.conf:12: unknown key 'cashe' in [store]; did you mean
 * 'cache'?".
 *
 * On the command line a key is "--name VALUE" or "--name=VALUE" ('_' may be written '-'); a bool
 * also "--name" alone and "--no-name". Names are therefore distinct over all sections.
 *
 * One thread; readable from any once it is loaded. The list and its texts must outlive the config.
 * Checked by tests/unit/test_config.c. */
#ifndef KITH_BASE_CONFIG_H
#define KITH_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KITH_CONFIG_VALUE_MAX 4096u          /* bytes of a message part; inih's lines are shorter */
#define KITH_CONFIG_FILE_MAX  (1024u * 1024u) /* bytes; a larger file is no configuration */

enum kith_config_type {
    KITH_CONFIG_STRING = 0,
    KITH_CONFIG_INTEGER, /* decimal, min..max */
    KITH_CONFIG_SIZE, /* bytes, min..max: a number, then nothing, K, M, G or T (binary; KiB and kB
                         are understood as K) */
    KITH_CONFIG_DURATION, /* milliseconds, min..max: a number, then ms, s, m, h or d; a bare number
                             is refused unless it is 0 */
    KITH_CONFIG_BOOL,     /* yes no true false on off 1 0 */
    KITH_CONFIG_CHOICE,   /* one of choices; the number is its index */
};

struct kith_config_key {
    const char *section; /* "" = before any [section] */
    const char *name;    /* lower case, words joined by '_' */
    enum kith_config_type type;
    const char *fallback;       /* the default, as text; NULL = unset (numbers 0) */
    uint64_t min, max;          /* INTEGER, SIZE (bytes), DURATION (ms); max 0 = no bound */
    const char *const *choices; /* CHOICE: NULL-terminated */
    const char *argument;       /* placeholder in the help, "ADDRESS"; NULL = by type */
    const char *help;           /* one line */
};

struct kith_config;

/* Everything at its default. EINVAL with a message when a default does not parse (a mistake in the
 * list); ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_config_new(const struct kith_config_key *keys, size_t key_count,
                                              struct kith_config **ret_config,
                                              struct kith_error *error);
void kith_config_free(struct kith_config *config);

/* Reads a file over what is there. ENOTFOUND, EIO, EPERM: it cannot be read; ETOOBIG; EINVAL: a
 * bad line, an unknown key or a bad value (the first one is told). Then the config is partly
 * changed: the program should end. */
KITH_MUST_CHECK enum kith_err kith_config_load(struct kith_config *config, const char *path,
                                               struct kith_error *error);
/* The same from text; `name` stands for the path in messages. */
KITH_MUST_CHECK enum kith_err kith_config_load_text(struct kith_config *config, const char *name,
                                                    const char *text, struct kith_error *error);

/* Takes one option off a command line: argv[*index] begins with "--"; advances *index past what
 * was used. ENOTFOUND (no message): no such key, the caller may know the option. EINVAL: no or a
 * bad value. */
KITH_MUST_CHECK enum kith_err kith_config_option(struct kith_config *config, int argc,
                                                 char *const argv[], int *index,
                                                 struct kith_error *error);
/* Sets a key by name, e.g. from a mount option. EINVAL with a message, with a suggestion for an
 * unknown name. `where` stands before the message ("-o", "option"). */
KITH_MUST_CHECK enum kith_err kith_config_set(struct kith_config *config, const char *where,
                                              const char *name, const char *value,
                                              struct kith_error *error);

/* The values; asking for a name that is not in the list, or by the wrong type, is a mistake in the
 * program and asserted. Strings stay valid until the key is set again or the config is freed. */
const char *kith_config_string(const struct kith_config *config,
                               const char *name); /* NULL = unset */
uint64_t kith_config_number(const struct kith_config *config, const char *name);
bool kith_config_bool(const struct kith_config *config, const char *name);
/* Whether the file or an option set it. */
bool kith_config_is_set(const struct kith_config *config, const char *name);

/* "  --cache SIZE   bytes that ... (default 256M)" for every key, one line each, into out (cut to
 * size, always ended with NUL). Returns the length that it wanted, as snprintf does. */
size_t kith_config_help(const struct kith_config_key *keys, size_t key_count, char *out,
                        size_t size);

/* Numbers as the types above read them, for other parsers. EINVAL with a message naming the text.
 */
KITH_MUST_CHECK enum kith_err kith_size_parse(const char *text, uint64_t *ret_bytes,
                                              struct kith_error *error);
KITH_MUST_CHECK enum kith_err kith_duration_parse(const char *text, uint64_t *ret_ms,
                                                  struct kith_error *error);

/* The known word nearest to `text` (at most two edits, or a third of it), or NULL: "did you mean".
 */
const char *kith_nearest(const char *text, const char *const *words, size_t count);

#endif
