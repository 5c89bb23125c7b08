/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/config.h"

#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

struct config_value {
    char *text; /* NULL = unset */
    uint64_t number;
    bool is_set;
};

struct kith_config {
    const struct kith_config_key *keys;
    size_t count;
    struct config_value *values;
};

/* ---- Values ---- */

static enum kith_err bool_parse(const char *text, uint64_t *ret_number, struct kith_error *error)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_number = i % 2;
            return KITH_OK;
        }
    }
    return kith_error_set(error, KITH_EINVAL, "'%s' is neither yes nor no", text);
}

static enum kith_err choice_parse(const struct kith_config_key *key, const char *text,
                                  uint64_t *ret_number, struct kith_error *error)
{
    char list[256] = "";
    size_t used = 0;
    for (size_t i = 0; key->choices[i]; i++) {
        if (strcmp(text, key->choices[i]) == 0) {
            *ret_number = i;
            return KITH_OK;
        }
        int more =
            snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? ", " : "", key->choices[i]);
        used += more > 0 && (size_t)more < sizeof(list) - used ? (size_t)more : 0;
    }
    return kith_error_set(error, KITH_EINVAL, "'%s' is none of %s", text, list);
}

static enum kith_err integer_parse(const char *text, uint64_t *ret_number, struct kith_error *error)
{
    uint64_t number = 0;
    for (const char *at = text; *at; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (*at < '0' || *at > '9' || number > (UINT64_MAX - digit) / 10) {
            return kith_error_set(error, KITH_EINVAL, "'%s' is no whole number", text);
        }
        number = number * 10 + digit;
    }
    if (*text == '\0') {
        return kith_error_set(error, KITH_EINVAL, "a number is missing");
    }
    *ret_number = number;
    return KITH_OK;
}

static enum kith_err value_parse(const struct kith_config_key *key, const char *text,
                                 uint64_t *ret_number, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    *ret_number = 0;
    switch (key->type) {
    case KITH_CONFIG_STRING:
        return KITH_OK;
    case KITH_CONFIG_BOOL:
        return bool_parse(text, ret_number, error);
    case KITH_CONFIG_CHOICE:
        return choice_parse(key, text, ret_number, error);
    case KITH_CONFIG_INTEGER:
        err = integer_parse(text, ret_number, error);
        break;
    case KITH_CONFIG_SIZE:
        err = kith_size_parse(text, ret_number, error);
        break;
    case KITH_CONFIG_DURATION:
        err = kith_duration_parse(text, ret_number, error);
        break;
    }
    if (err != KITH_OK) {
        return err;
    }
    const char *unit = key->type == KITH_CONFIG_SIZE       ? " bytes"
                       : key->type == KITH_CONFIG_DURATION ? " ms"
                                                           : "";
    if (*ret_number < key->min) {
        return kith_error_set(error, KITH_EINVAL, "'%s' is too small: at least %llu%s", text,
                              (unsigned long long)key->min, unit);
    }
    if (key->max > 0 && *ret_number > key->max) {
        return kith_error_set(error, KITH_EINVAL, "'%s' is too large: at most %llu%s", text,
                              (unsigned long long)key->max, unit);
    }
    return KITH_OK;
}

static enum kith_err value_set(struct kith_config *config, size_t index, const char *text,
                               struct kith_error *error)
{
    const struct kith_config_key *key = &config->keys[index];
    uint64_t number = 0;
    enum kith_err err = value_parse(key, text, &number, error);
    if (err != KITH_OK) {
        return kith_error_wrap(error, "%s", key->name);
    }
    char *copy = kith_strdup(text);
    if (!copy) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", key->name);
    }
    kith_free(config->values[index].text);
    config->values[index].text = copy;
    config->values[index].number = number;
    config->values[index].is_set = true;
    return KITH_OK;
}

enum kith_err kith_config_new(const struct kith_config_key *keys, size_t key_count,
                              struct kith_config **ret_config, struct kith_error *error)
{
    struct kith_config *config = kith_calloc(1, sizeof(*config));
    struct config_value *values = kith_calloc(key_count, sizeof(*values));
    if (!config || !values) {
        kith_free(config);
        kith_free(values);
        return kith_error_set(error, KITH_ENOMEM, "no memory for the configuration");
    }
    config->keys = keys;
    config->count = key_count;
    config->values = values;
    for (size_t i = 0; i < key_count; i++) {
        enum kith_err err =
            keys[i].fallback ? value_set(config, i, keys[i].fallback, error) : KITH_OK;
        if (err != KITH_OK) {
            kith_config_free(config);
            return err;
        }
        values[i].is_set = false;
    }
    *ret_config = config;
    return KITH_OK;
}

void kith_config_free(struct kith_config *config)
{
    if (!config) {
        return;
    }
    for (size_t i = 0; i < config->count; i++) {
        kith_free(config->values[i].text);
    }
    kith_free(config->values);
    kith_free(config);
}

/* '-' and '_' are the same in names. */
static bool name_equal(const char *known, const char *given, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = given[i] == '-' ? '_' : given[i];
        if (known[i] != c || c == '\0') {
            return false;
        }
    }
    return known[length] == '\0';
}

/* The key's index, or count. section NULL = any. */
static size_t key_find(const struct kith_config *config, const char *section, const char *name,
                       size_t length)
{
    size_t i = 0;
    while (i < config->count && ((section && strcmp(config->keys[i].section, section) != 0) ||
                                 !name_equal(config->keys[i].name, name, length))) {
        i++;
    }
    return i;
}

/* ---- Files ---- */

/* inih's handler is not told the line, and lines longer than inih's buffer would be cut in two:
 * its input comes from here, which counts lines and refuses long ones. */
struct config_reading {
    struct kith_config *config;
    const char *name;
    const char *at; /* what is left of the text */
    unsigned line;
    struct kith_error *error;
    enum kith_err err; /* the first one */
};

static char *line_next(char *out, int room, void *stream)
{
    struct config_reading *reading = stream;
    if (*reading->at == '\0' || reading->err != KITH_OK) {
        return NULL;
    }
    reading->line++;
    size_t length = strcspn(reading->at, "\n");
    /* no leading blanks: inih would take the line for more of the value before */
    size_t blank = strspn(reading->at, " \t");
    blank = blank < length ? blank : length;
    if (length - blank + 2 > (size_t)room) {
        reading->err = kith_error_set(reading->error, KITH_EINVAL,
                                      "%s:%u: the line is too long (at most %d bytes)",
                                      reading->name, reading->line, room - 2);
        return NULL;
    }
    memcpy(out, reading->at + blank, length - blank);
    out[length - blank] = '\n';
    out[length - blank + 1] = '\0';
    reading->at += length + (reading->at[length] == '\n');
    return out;
}

static enum kith_err unknown_key(const struct kith_config *config, const char *section,
                                 const char *name, struct kith_error *error)
{
    const char *near_names[256] = {NULL};
    size_t count = 0;
    bool section_known = false;
    for (size_t i = 0; i < config->count && count < 256; i++) {
        section_known |= section && strcmp(config->keys[i].section, section) == 0;
        near_names[count++] = config->keys[i].name;
    }
    const char *near = kith_nearest(name, near_names, count);
    char where[KITH_CONFIG_VALUE_MAX] = "";
    if (section && *section) {
        (void)snprintf(where, sizeof(where), " in [%s]", section);
    }
    if (section && *section && !section_known) {
        return kith_error_set(error, KITH_EINVAL, "unknown section [%s] (with key '%s')", section,
                              name);
    }
    size_t other = section ? key_find(config, NULL, name, strlen(name)) : config->count;
    if (other < config->count) {
        return kith_error_set(error, KITH_EINVAL, "key '%s' belongs into [%s]%s%s", name,
                              config->keys[other].section, *where ? ", not" : "",
                              *where ? where + 3 : "");
    }
    return kith_error_set(error, KITH_EINVAL, "unknown key '%s'%s%s%s%s", name, where,
                          near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int line_handle(void *user, const char *section, const char *name, const char *value)
{
    struct config_reading *reading = user;
    if (reading->err != KITH_OK) {
        return 1;
    }
    size_t index = key_find(reading->config, section, name, strlen(name));
    enum kith_err err = index < reading->config->count
                            ? value_set(reading->config, index, value ? value : "", reading->error)
                            : unknown_key(reading->config, section, name, reading->error);
    if (err != KITH_OK) {
        reading->err = kith_error_wrap(reading->error, "%s:%u", reading->name, reading->line);
    }
    return 1;
}

enum kith_err kith_config_load_text(struct kith_config *config, const char *name, const char *text,
                                    struct kith_error *error)
{
    struct kith_error own;
    struct config_reading reading = {config, name, text, 0, error ? error : &own, KITH_OK};
    int bad_line = ini_parse_stream(line_next, &reading, line_handle, &reading);
    if (reading.err != KITH_OK) {
        return reading.err;
    }
    if (bad_line > 0) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s:%d: neither 'key = value' nor '[section]' nor a comment", name,
                              bad_line);
    }
    if (bad_line < 0) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", name);
    }
    return KITH_OK;
}

static enum kith_err file_error(const char *path, int number, struct kith_error *error)
{
    enum kith_err err = number == ENOENT   ? KITH_ENOTFOUND
                        : number == EACCES ? KITH_EPERM
                                           : KITH_EIO;
    return kith_error_set(error, err, "%s: %s", path, strerror(number));
}

enum kith_err kith_config_load(struct kith_config *config, const char *path,
                               struct kith_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return file_error(path, errno, error);
    }
    char *text = kith_malloc(KITH_CONFIG_FILE_MAX + 1);
    enum kith_err err = KITH_OK;
    size_t size = text ? fread(text, 1, KITH_CONFIG_FILE_MAX + 1, file) : 0;
    if (!text) {
        err = kith_error_set(error, KITH_ENOMEM, "%s: out of memory", path);
    } else if (ferror(file)) {
        err = file_error(path, errno, error);
    } else if (size > KITH_CONFIG_FILE_MAX) {
        err = kith_error_set(error, KITH_ETOOBIG, "%s: larger than %u bytes, no configuration",
                             path, KITH_CONFIG_FILE_MAX);
    } else if (memchr(text, 0, size)) {
        err = kith_error_set(error, KITH_EINVAL, "%s: holds a NUL byte, no configuration", path);
    } else {
        text[size] = '\0';
        err = kith_config_load_text(config, path, text, error);
    }
    kith_free(text);
    (void)fclose(file); /* was only read */
    return err;
}

/* ---- Command line ---- */

enum kith_err kith_config_option(struct kith_config *config, int argc, char *const argv[],
                                 int *index, struct kith_error *error)
{
    const char *name = argv[*index];
    if (strncmp(name, "--", 2) != 0) {
        return KITH_ENOTFOUND;
    }
    name += 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    size_t key = key_find(config, NULL, name, length);
    int used = 1;
    if (key == config->count && !value && strncmp(name, "no-", 3) == 0) {
        key = key_find(config, NULL, name + 3, length - 3);
        if (key == config->count || config->keys[key].type != KITH_CONFIG_BOOL) {
            return KITH_ENOTFOUND;
        }
        value = "no";
    }
    if (key == config->count) {
        return KITH_ENOTFOUND;
    }
    if (!value && config->keys[key].type == KITH_CONFIG_BOOL) {
        value = "yes";
    }
    if (!value) {
        if (*index + 1 >= argc) {
            return kith_error_set(error, KITH_EINVAL, "option --%.*s needs a value", (int)length,
                                  name);
        }
        value = argv[*index + 1];
        used = 2;
    }
    enum kith_err err = value_set(config, key, value, error);
    if (err != KITH_OK) {
        return kith_error_wrap(error, "option --%.*s", (int)length, name);
    }
    *index += used;
    return KITH_OK;
}

enum kith_err kith_config_set(struct kith_config *config, const char *where, const char *name,
                              const char *value, struct kith_error *error)
{
    size_t key = key_find(config, NULL, name, strlen(name));
    enum kith_err err = key < config->count ? value_set(config, key, value, error)
                                            : unknown_key(config, NULL, name, error);
    return err == KITH_OK ? KITH_OK : kith_error_wrap(error, "%s", where);
}

/* ---- Reading ---- */

static const struct config_value *value_get(const struct kith_config *config, const char *name,
                                            const struct kith_config_key **ret_key)
{
    size_t index = key_find(config, NULL, name, strlen(name));
    KITH_ASSERT(index < config->count);
    *ret_key = &config->keys[index];
    return &config->values[index];
}

const char *kith_config_string(const struct kith_config *config, const char *name)
{
    const struct kith_config_key *key;
    return value_get(config, name, &key)->text;
}

uint64_t kith_config_number(const struct kith_config *config, const char *name)
{
    const struct kith_config_key *key;
    const struct config_value *value = value_get(config, name, &key);
    KITH_ASSERT(key->type != KITH_CONFIG_STRING);
    return value->number;
}

bool kith_config_bool(const struct kith_config *config, const char *name)
{
    const struct kith_config_key *key;
    const struct config_value *value = value_get(config, name, &key);
    KITH_ASSERT(key->type == KITH_CONFIG_BOOL);
    return value->number != 0;
}

bool kith_config_is_set(const struct kith_config *config, const char *name)
{
    const struct kith_config_key *key;
    return value_get(config, name, &key)->is_set;
}

/* ---- Help ---- */

static void option_text(const struct kith_config_key *key, char *out, size_t size)
{
    static const char *const by_type[] = {"TEXT", "N", "SIZE", "TIME", NULL, "CHOICE"};
    char list[128] = "";
    const char *argument = key->argument ? key->argument : by_type[key->type];
    if (key->type == KITH_CONFIG_CHOICE && !key->argument) {
        size_t used = 0;
        for (size_t i = 0; key->choices[i]; i++) {
            int more = snprintf(list + used, sizeof(list) - used, "%s%s", i > 0 ? "|" : "",
                                key->choices[i]);
            used += more > 0 && (size_t)more < sizeof(list) - used ? (size_t)more : 0;
        }
        argument = list;
    }
    (void)snprintf(out, size, "--%s%s%s", key->name, argument ? " " : "", argument ? argument : "");
    for (char *at = out + 2; *at && *at != ' '; at++) {
        *at = *at == '_' ? '-' : *at;
    }
}

size_t kith_config_help(const struct kith_config_key *keys, size_t key_count, char *out,
                        size_t size)
{
    size_t wanted = 0;
    char option[160];
    int width = 0;
    for (size_t i = 0; i < key_count; i++) {
        option_text(&keys[i], option, sizeof(option));
        int length = (int)strlen(option);
        width = length > width && length <= 32 ? length : width;
    }
    if (size > 0) {
        out[0] = '\0';
    }
    for (size_t i = 0; i < key_count; i++) {
        option_text(&keys[i], option, sizeof(option));
        const char *fallback = keys[i].fallback;
        bool shown = fallback && *fallback;
        int more = snprintf(wanted < size ? out + wanted : NULL, wanted < size ? size - wanted : 0,
                            "  %-*s  %s%s%s%s\n", width, option, keys[i].help,
                            shown ? " (default " : "", shown ? fallback : "", shown ? ")" : "");
        wanted += more > 0 ? (size_t)more : 0;
    }
    return wanted;
}
