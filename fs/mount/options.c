/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fs/mount/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "data/table.h"
#include "data/volume.h"

#define TIMEOUT_MAX_S 86400.0 /* a day: more is a slip of the keyboard */

static enum kith_err no_memory(struct kith_error *error)
{
    return kith_error_set(error, KITH_ENOMEM, "out of memory");
}

static char *copy_range(const char *text, size_t size)
{
    char *copy = kith_malloc(size + 1);
    if (copy != NULL) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

enum kith_err kith_fs_size_parse(const char *text, uint64_t *ret_bytes)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9') {
        return KITH_EINVAL;
    }
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    unsigned shift = 0;
    if (*end == 'k' || *end == 'K') {
        shift = 10;
    } else if (*end == 'm' || *end == 'M') {
        shift = 20;
    } else if (*end == 'g' || *end == 'G') {
        shift = 30;
    }
    end += shift != 0 ? 1 : 0;
    if (errno != 0 || *end != '\0' || value > UINT64_MAX >> shift) {
        return KITH_EINVAL;
    }
    *ret_bytes = (uint64_t)value << shift;
    return KITH_OK;
}

static bool port_fits(const char *text, size_t size)
{
    unsigned long port = 0;
    if (size == 0 || size > 5) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

/* One HOST[:PORT]; the default port is added. */
static enum kith_err server_parse(const char *text, size_t size, struct kith_fs_options *options,
                                  struct kith_error *error)
{
    size_t host = 0;
    if (size > 0 && text[0] == '[') {
        const char *close = memchr(text, ']', size);
        host = close == NULL ? 0 : (size_t)(close - text) + 1;
    } else {
        const char *colon = memchr(text, ':', size);
        host = colon == NULL ? size : (size_t)(colon - text);
    }
    bool ok = host > (text[0] == '[' ? 2u : 0u) &&
              (host == size || (text[host] == ':' && port_fits(text + host + 1, size - host - 1)));
    if (!ok) {
        return kith_error_set(error, KITH_EINVAL,
                              "source \"%s\": \"%.*s\" is no HOST[:PORT] (IPv6 in brackets)",
                              options->source, (int)size, text);
    }
    if (options->server_count == KITH_FS_SERVERS_MAX) {
        return kith_error_set(error, KITH_EINVAL, "source: more than %u servers",
                              KITH_FS_SERVERS_MAX);
    }
    bool bare = host == size;
    size_t extra = bare ? sizeof ":" KITH_FS_PORT - 1 : 0;
    char *server = kith_malloc(size + extra + 1);
    if (server == NULL) {
        return no_memory(error);
    }
    memcpy(server, text, size);
    memcpy(server + size, ":" KITH_FS_PORT, extra);
    server[size + extra] = '\0';
    options->servers[options->server_count++] = server;
    return KITH_OK;
}

/* ":/PATH": slashes are made single, "." and ".." are refused. */
static enum kith_err path_parse(const char *path, struct kith_fs_options *options,
                                struct kith_error *error)
{
    char *copy = copy_range("/", 1);
    char *longer = copy == NULL ? NULL : kith_realloc(copy, strlen(path) + 2);
    if (longer == NULL) {
        kith_free(copy);
        return no_memory(error);
    }
    copy = longer;
    size_t used = 0;
    while (*path != '\0') {
        size_t part = strcspn(path, "/");
        if ((part == 1 && path[0] == '.') || (part == 2 && path[0] == '.' && path[1] == '.')) {
            kith_free(copy);
            return kith_error_set(error, KITH_EINVAL,
                                  "source \"%s\": no \".\" or \"..\" in the path", options->source);
        }
        if (part > 0) {
            copy[used++] = '/';
            memcpy(copy + used, path, part);
            used += part;
        }
        path += part + (path[part] == '/' ? 1 : 0);
    }
    used += used == 0 ? 1 : 0; /* "/" is there already */
    copy[used] = '\0';
    options->path = copy;
    return KITH_OK;
}

enum kith_err kith_fs_source_parse(const char *source, struct kith_fs_options *options,
                                   struct kith_error *error)
{
    options->source = source;
    const char *path = strstr(source, ":/");
    size_t size = path == NULL ? strlen(source) : (size_t)(path - source);
    size_t at = 0;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && at <= size) {
        const char *comma = memchr(source + at, ',', size - at);
        size_t end = comma == NULL ? size : (size_t)(comma - source);
        err = server_parse(source + at, end - at, options, error);
        at = end + 1;
    }
    return err != KITH_OK ? err : path_parse(path == NULL ? "/" : path + 1, options, error);
}

/* ---- -o ---- */

/* Passed on to the kernel as they are; libfuse takes no others. */
static const char *const kernel_words[] = {"nosuid",  "suid",  "nodev", "dev",   "noexec",  "exec",
                                           "noatime", "atime", "sync",  "async", "dirsync", NULL};
/* Only meant for fstab, given by us anyhow, or without a meaning here: reading changes no time of
 * access. What is to take something away, as nosymfollow is, may not be among them. */
static const char *const dropped_words[] = {
    "_netdev",     "nofail",        "auto",     "noauto",     "defaults", "default_permissions",
    "user",        "nouser",        "users",    "nousers",    "owner",    "noowner",
    "group",       "nogroup",       "relatime", "norelatime", "diratime", "nodiratime",
    "strictatime", "nostrictatime", "lazytime", "nolazytime", "iversion", "noiversion",
    "mand",        "nomand",        "silent",   "loud",       "symfollow", NULL};
/* The same with a value. */
static const char *const dropped_names[] = {"fsname", "subtype", "comment", "user",
                                            "helper", "uhelper", NULL};

static bool in_list(const char *const list[], const char *word)
{
    for (; *list != NULL; list++) {
        if (strcmp(*list, word) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_dropped(const char *word)
{
    size_t size = strcspn(word, "=");
    if (strncasecmp(word, "x-", 2) == 0) {
        return true;
    }
    if (word[size] == '\0') {
        return in_list(dropped_words, word);
    }
    for (const char *const *name = dropped_names; *name != NULL; name++) {
        if (strlen(*name) == size && strncmp(*name, word, size) == 0) {
            return true;
        }
    }
    return false;
}

static enum kith_err unknown_option(const char *name, const struct kith_fs_options *options,
                                    struct kith_error *error)
{
    return options->tolerant ? KITH_OK
                             : kith_error_set(error, KITH_EINVAL, "unknown option \"%s\"", name);
}

static enum kith_err seconds_parse(const char *name, const char *text, double *ret_seconds,
                                   struct kith_error *error)
{
    char *end = NULL;
    double value = text[0] == '\0' ? -1.0 : strtod(text, &end);
    if (end == NULL || *end != '\0' || !(value >= 0.0 && value <= TIMEOUT_MAX_S)) {
        return kith_error_set(error, KITH_EINVAL,
                              "option %s=%s: want seconds from 0 to %.0f, for example %s=1.5", name,
                              text, TIMEOUT_MAX_S, name);
    }
    *ret_seconds = value;
    return KITH_OK;
}

static enum kith_err timeout_parse(const char *name, const char *text, uint32_t *ret_ms,
                                   struct kith_error *error)
{
    double seconds = 0.0;
    enum kith_err err = seconds_parse(name, text, &seconds, error);
    if (err == KITH_OK && (seconds < 0.001 || seconds > 600.0)) {
        return kith_error_set(error, KITH_EINVAL, "option %s=%s: want 0.001 to 600 seconds", name,
                              text);
    }
    if (err == KITH_OK) {
        *ret_ms = (uint32_t)(seconds * 1000.0 + 0.5);
    }
    return err;
}

static enum kith_err bytes_parse(const char *name, const char *text, uint64_t max,
                                 uint64_t *ret_bytes, struct kith_error *error)
{
    uint64_t bytes = 0;
    if (kith_fs_size_parse(text, &bytes) != KITH_OK || bytes > max) {
        return kith_error_set(error, KITH_EINVAL,
                              "option %s=%s: want a size up to %llu, such as 64M", name, text,
                              (unsigned long long)max);
    }
    *ret_bytes = bytes;
    return KITH_OK;
}

static enum kith_err count_parse(const char *name, const char *text, uint32_t max,
                                 uint32_t *ret_count, struct kith_error *error)
{
    char *end = NULL;
    unsigned long count = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (end == NULL || *end != '\0' || count < 1 || count > max) {
        return kith_error_set(error, KITH_EINVAL, "option %s=%s: want a number from 1 to %u", name,
                              text, max);
    }
    *ret_count = (uint32_t)count;
    return KITH_OK;
}

/* Where the path of that option stands; NULL: it is another one. */
static char **file_place(struct kith_fs_options *options, const char *name)
{
    return strcmp(name, "cert") == 0  ? &options->cert
           : strcmp(name, "key") == 0 ? &options->key
           : strcmp(name, "ca") == 0  ? &options->ca
           : strcmp(name, "crl") == 0 ? &options->crl
                                      : NULL;
}

/* Its whole path: it is read again later, from the root folder. */
static enum kith_err file_parse(const char *name, const char *value, char **place,
                                struct kith_error *error)
{
    char *path = realpath(value, NULL);
    if (path == NULL) {
        return kith_error_set(error, KITH_EINVAL, "option %s=%s: %s", name, value, strerror(errno));
    }
    kith_free(*place);
    *place = kith_strdup(path);
    free(path);
    return *place == NULL ? no_memory(error) : KITH_OK;
}

static enum kith_err zone_parse(const char *value, struct kith_fs_options *options,
                                struct kith_error *error)
{
    if (value[0] == '\0' || strlen(value) >= KITH_ZONE_SIZE) {
        return kith_error_set(error, KITH_EINVAL, "option zone=%s: want a name of 1 to %u bytes",
                              value, KITH_ZONE_SIZE - 1);
    }
    kith_free(options->zone);
    options->zone = kith_strdup(value);
    return options->zone == NULL ? no_memory(error) : KITH_OK;
}

static enum kith_err volume_parse(const char *value, struct kith_fs_options *options,
                                  struct kith_error *error)
{
    if (!kith_volume_name_fits(value)) {
        return kith_error_set(error, KITH_EINVAL, "option volume=%.80s: " KITH_VOLUME_NAME_RULE,
                              value);
    }
    kith_free(options->volume);
    options->volume = NULL;
    if (strcmp(value, "fs") == 0) {
        return KITH_OK; /* as where nothing is said */
    }
    options->volume = kith_strdup(value);
    return options->volume == NULL ? no_memory(error) : KITH_OK;
}

static enum kith_err level_parse(const char *name, const char *value, enum kith_level *ret_level,
                                 struct kith_error *error)
{
    if (kith_level_parse(value, ret_level) == KITH_OK) {
        return KITH_OK;
    }
    return kith_error_set(error, KITH_EINVAL,
                          "option %s=%s: want one, quorum, local-quorum, each-quorum or all", name,
                          value);
}

/* One of two words; *ret_second: the second. */
static enum kith_err choice_parse(const char *name, const char *value, const char *first,
                                  const char *second, bool *ret_second, struct kith_error *error)
{
    *ret_second = strcmp(value, second) == 0;
    if (*ret_second || strcmp(value, first) == 0) {
        return KITH_OK;
    }
    return kith_error_set(error, KITH_EINVAL, "option %s=%s: want %s or %s", name, value, first,
                          second);
}

/* How concurrent versions are shown, and who is told of them. */
static enum kith_err conflict_option(const char *name, const char *value,
                                     struct kith_fs_options *options, struct kith_error *error)
{
    bool infix = false;
    if (strcmp(name, "on_conflict") == 0) {
        if (value[0] == '\0') {
            return kith_error_set(error, KITH_EINVAL, "option on_conflict= wants a program");
        }
        kith_free(options->on_conflict);
        options->on_conflict = kith_strdup(value);
        return options->on_conflict == NULL ? no_memory(error) : KITH_OK;
    }
    if (strcmp(name, "conflicts") == 0) {
        return choice_parse(name, value, "show", "hide", &options->hide_conflicts, error);
    }
    enum kith_err err = choice_parse(name, value, "suffix", "infix", &infix, error);
    options->conflict_names = infix ? KITH_CONFLICT_INFIX : KITH_CONFLICT_SUFFIX;
    return err;
}

/* Where the option's milliseconds go; NULL: it is another one. From lease on they are for tests, where
 * a day is some seconds. */
static uint32_t *time_place(struct kith_fs_options *options, const char *name)
{
    const struct {
        const char *name;
        uint32_t *ms;
    } times[] = {
        {"mount_timeout", &options->mount_timeout_ms}, {"op_timeout", &options->op_timeout_ms},
        {"lease", &options->lease_ms},                 {"dir_time", &options->dir_time_ms},
        {"hook_limit", &options->hook_limit_ms},       {"hook_quiet", &options->hook_quiet_ms},
    };
    for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++) {
        if (strcmp(times[i].name, name) == 0) {
            return times[i].ms;
        }
    }
    return NULL;
}

static enum kith_err value_option(const char *name, const char *value,
                                  struct kith_fs_options *options, struct kith_error *error)
{
    uint64_t bytes = 0;
    enum kith_err err = KITH_OK;
    uint32_t *ms = time_place(options, name);
    if (strcmp(name, "attr_timeout") == 0) {
        return seconds_parse(name, value, &options->attr_timeout, error);
    }
    if (strcmp(name, "entry_timeout") == 0) {
        return seconds_parse(name, value, &options->entry_timeout, error);
    }
    if (strcmp(name, "check") == 0) {
        return seconds_parse(name, value, &options->check_s, error);
    }
    if (ms != NULL) {
        return timeout_parse(name, value, ms, error);
    }
    if (strcmp(name, "w_min") == 0) {
        return count_parse(name, value, KITH_REPLICAS_MAX, &options->w_min, error);
    }
    if (strcmp(name, "read") == 0) {
        return level_parse(name, value, &options->read_level, error);
    }
    if (strcmp(name, "write") == 0) {
        return level_parse(name, value, &options->write_level, error);
    }
    if (strcmp(name, "zone") == 0) {
        return zone_parse(value, options, error);
    }
    if (strcmp(name, "volume") == 0) {
        return volume_parse(value, options, error);
    }
    char **file = file_place(options, name);
    if (file != NULL) {
        return file_parse(name, value, file, error);
    }
    if (strcmp(name, "conflicts") == 0 || strcmp(name, "conflict_names") == 0 ||
        strcmp(name, "on_conflict") == 0) {
        return conflict_option(name, value, options, error);
    }
    if (strcmp(name, "cache_size") == 0) {
        return bytes_parse(name, value, UINT64_C(1) << 40, &options->cache_bytes, error);
    }
    if (strcmp(name, "readahead") == 0) {
        err = bytes_parse(name, value, UINT64_C(1) << 30, &bytes, error);
        options->readahead_bytes = (uint32_t)bytes;
        return err;
    }
    if (strcmp(name, "log") == 0 && value[0] != '\0') {
        kith_free(options->log_path);
        options->log_path = kith_strdup(value);
        return options->log_path == NULL ? no_memory(error) : KITH_OK;
    }
    if (strcmp(name, "pid_file") == 0 && value[0] != '\0') {
        kith_free(options->pid_path);
        options->pid_path = kith_strdup(value);
        return options->pid_path == NULL ? no_memory(error) : KITH_OK;
    }
    if (strcmp(name, "log_level") == 0) {
        if (kith_log_level_parse(value, &options->log_level) != KITH_OK) {
            return kith_error_set(error, KITH_EINVAL,
                                  "option log_level=%s: want error, warn, info or debug", value);
        }
        return KITH_OK;
    }
    return unknown_option(name, options, error);
}

static enum kith_err one_option(char *word, struct kith_fs_options *options,
                                struct kith_error *error)
{
    if (word[0] == '\0' || is_dropped(word)) {
        return KITH_OK;
    }
    if (strcmp(word, "ro") == 0 || strcmp(word, "rw") == 0) {
        options->read_only = word[1] == 'o';
        return KITH_OK;
    }
    if (strcmp(word, "remount") == 0) {
        options->remount = true;
        return KITH_OK;
    }
    if (strcmp(word, "help") == 0) {
        options->help = true;
        return KITH_OK;
    }
    options->own_count++;
    if (strcmp(word, "over") == 0) {
        options->over = true;
        return KITH_OK;
    }
    if (strcmp(word, "allow_other") == 0) {
        options->allow_other = true;
        return KITH_OK;
    }
    if (strcmp(word, "insecure") == 0) {
        options->insecure = true;
        return KITH_OK;
    }
    if (strcmp(word, "nowatch") == 0) {
        options->no_watch = true;
        return KITH_OK;
    }
    if (strcmp(word, "nocontrol") == 0) {
        options->no_control = true;
        return KITH_OK;
    }
    if (strcmp(word, "acl") == 0 || strcmp(word, "noacl") == 0) {
        options->no_acl = word[0] == 'n';
        return KITH_OK;
    }
    if (strcmp(word, "strict") == 0 || strcmp(word, "sloppy") == 0) {
        options->strict = word[1] == 't';
        return KITH_OK;
    }
    if (strcmp(word, "hard") == 0 || strcmp(word, "soft") == 0) {
        options->hard = word[0] == 'h';
        return KITH_OK;
    }
    if (in_list(kernel_words, word)) {
        if (options->extra_count == KITH_FS_EXTRA_MAX) {
            return kith_error_set(error, KITH_EINVAL, "too many options");
        }
        char *copy = kith_strdup(word);
        if (copy == NULL) {
            return no_memory(error);
        }
        options->extra[options->extra_count++] = copy;
        return KITH_OK;
    }
    char *equals = strchr(word, '=');
    if (equals == NULL) {
        return unknown_option(word, options, error);
    }
    *equals = '\0';
    return value_option(word, equals + 1, options, error);
}

static enum kith_err option_list(const char *list, struct kith_fs_options *options,
                                 struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    while (err == KITH_OK) {
        size_t size = strcspn(list, ",");
        char *word = copy_range(list, size);
        if (word == NULL) {
            return no_memory(error);
        }
        err = one_option(word, options, error);
        kith_free(word);
        if (list[size] == '\0') {
            break;
        }
        list += size + 1;
    }
    return err;
}

/* ---- The line ---- */

static bool is_helper(const char *program)
{
    const char *slash = strrchr(program, '/');
    return strncmp(slash == NULL ? program : slash + 1, "mount.", 6) == 0;
}

/* -s -f -n -v of mount(8), each or together; -r and -w, for people who call the helper themselves. */
static bool is_helper_letters(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && word[1 + strspn(word + 1, "sfnvrw")] == '\0';
}

/* What they say holds for the whole line, wherever they stand. */
static void helper_letters(int argc, char *const argv[], struct kith_fs_options *options)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-o") == 0 || strcmp(argv[i], "-t") == 0) {
            i++;
        } else if (is_helper_letters(argv[i])) {
            options->tolerant |= strchr(argv[i], 's') != NULL;
            options->fake |= strchr(argv[i], 'f') != NULL;
            options->read_only |= strchr(argv[i], 'r') != NULL;
        }
    }
}

/* One letter option; *at moves on where it takes the next word. */
static enum kith_err letter(int argc, char *const argv[], int *at, bool helper,
                            struct kith_fs_options *options, struct kith_error *error)
{
    const char *word = argv[*at];
    if (strncmp(word, "-o", 2) == 0) {
        if (word[2] != '\0') {
            return option_list(word + 2, options, error);
        }
        if (*at + 1 >= argc) {
            return kith_error_set(error, KITH_EINVAL, "-o wants options behind it");
        }
        return option_list(argv[++*at], options, error);
    }
    if (helper && is_helper_letters(word)) {
        return KITH_OK; /* helper_letters */
    }
    if (helper && strcmp(word, "-t") == 0 && *at + 1 < argc) {
        ++*at;
        return KITH_OK;
    }
    if (strcmp(word, "-f") == 0) {
        options->foreground = true;
    } else if (strcmp(word, "-d") == 0) {
        options->debug = options->foreground = true;
    } else if (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0) {
        options->help = true;
    } else if (strcmp(word, "-V") == 0 || strcmp(word, "--version") == 0) {
        options->version = true;
    } else {
        return kith_error_set(error, KITH_EINVAL, "unknown option \"%s\"", word);
    }
    return KITH_OK;
}

static enum kith_err check_words(const char *source, struct kith_fs_options *options,
                                 struct kith_error *error)
{
    if (options->help || options->version) {
        return KITH_OK;
    }
    if (source == NULL || options->mountpoint == NULL) {
        return kith_error_set(error, KITH_EINVAL, "%s is missing",
                              source == NULL ? "the source (HOST[:PORT][,...][:/PATH])"
                                             : "the mount point");
    }
    return kith_fs_source_parse(source, options, error);
}

static void set_defaults(struct kith_fs_options *options)
{
    options->attr_timeout = options->entry_timeout = 1.0;
    options->check_s = 86400.0;
    options->dir_time_ms = 2000;
    options->hook_limit_ms = 60000;
    options->hook_quiet_ms = 1000;
    options->mount_timeout_ms = 10000;
    options->op_timeout_ms = 10000;
    options->log_level = KITH_LOG_INFO;
}

enum kith_err kith_fs_options_parse(int argc, char *const argv[],
                                    struct kith_fs_options *ret_options, struct kith_error *error)
{
    struct kith_fs_options options;
    memset(&options, 0, sizeof options);
    set_defaults(&options);
    const char *source = NULL;
    bool helper = argc > 0 && is_helper(argv[0]);
    enum kith_err err = KITH_OK;
    options.helper = helper;
    if (helper) {
        helper_letters(argc, argv, &options);
    }
    for (int i = 1; i < argc && err == KITH_OK; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            err = letter(argc, argv, &i, helper, &options, error);
        } else if (source == NULL) {
            source = argv[i];
        } else if (options.mountpoint == NULL) {
            options.mountpoint = argv[i];
        } else {
            err = kith_error_set(error, KITH_EINVAL, "one word too many: \"%s\"", argv[i]);
        }
    }
    if (err == KITH_OK) {
        err = check_words(source, &options, error);
    }
    if (err != KITH_OK) {
        kith_fs_options_release(&options);
        return err;
    }
    if (options.debug) {
        options.log_level = KITH_LOG_DEBUG;
    }
    *ret_options = options;
    return KITH_OK;
}

void kith_fs_options_release(struct kith_fs_options *options)
{
    for (uint32_t i = 0; i < options->server_count; i++) {
        kith_free(options->servers[i]);
    }
    for (uint32_t i = 0; i < options->extra_count; i++) {
        kith_free(options->extra[i]);
    }
    kith_free(options->path);
    kith_free(options->log_path);
    kith_free(options->pid_path);
    kith_free(options->zone);
    kith_free(options->volume);
    kith_free(options->cert);
    kith_free(options->key);
    kith_free(options->ca);
    kith_free(options->crl);
    kith_free(options->on_conflict);
    memset(options, 0, sizeof *options);
}

/* ---- And back ---- */

static void KITH_PRINTF(2, 3) say(struct kith_buf *out, const char *format, ...)
{
    char text[KITH_ERROR_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kith_buf_put(out, ",", out->size > 0 ? 1 : 0);
    kith_buf_put(out, text, size < (int)sizeof text ? (size_t)size : sizeof text - 1);
}

static void say_word(struct kith_buf *out, bool given, const char *word)
{
    if (given) {
        say(out, "%s", word);
    }
}

static void say_sizes(struct kith_buf *out, const struct kith_fs_options *options)
{
    if (options->cache_bytes != 0) {
        say(out, "cache_size=%llu", (unsigned long long)options->cache_bytes);
    }
    if (options->readahead_bytes != 0) {
        say(out, "readahead=%u", options->readahead_bytes);
    }
}

static void say_times(struct kith_buf *out, const struct kith_fs_options *options,
                      const struct kith_fs_options *usual)
{
    if (options->attr_timeout < usual->attr_timeout ||
        options->attr_timeout > usual->attr_timeout) {
        say(out, "attr_timeout=%g", options->attr_timeout);
    }
    if (options->entry_timeout < usual->entry_timeout ||
        options->entry_timeout > usual->entry_timeout) {
        say(out, "entry_timeout=%g", options->entry_timeout);
    }
    if (options->check_s < usual->check_s || options->check_s > usual->check_s) {
        say(out, "check=%g", options->check_s);
    }
    if (options->mount_timeout_ms != usual->mount_timeout_ms) {
        say(out, "mount_timeout=%g", options->mount_timeout_ms / 1000.0);
    }
    if (options->op_timeout_ms != usual->op_timeout_ms) {
        say(out, "op_timeout=%g", options->op_timeout_ms / 1000.0);
    }
}

void kith_fs_options_text(const struct kith_fs_options *options, struct kith_buf *out)
{
    struct kith_fs_options usual;
    memset(&usual, 0, sizeof usual);
    set_defaults(&usual);
    say_word(out, options->read_only, "ro");
    say_word(out, options->allow_other, "allow_other");
    say_word(out, options->insecure, "insecure");
    say_word(out, options->strict, "strict");
    say_word(out, options->hard, "hard");
    if (options->w_min != usual.w_min) {
        say(out, "w_min=%u", options->w_min);
    }
    if (options->zone != NULL) {
        say(out, "zone=%s", options->zone);
    }
    if (options->volume != NULL) {
        say(out, "volume=%s", options->volume);
    }
    if (options->cert != NULL) {
        say(out, "cert=%s", options->cert);
    }
    if (options->read_level != usual.read_level) {
        say(out, "read=%s", kith_level_text(options->read_level));
    }
    if (options->write_level != usual.write_level) {
        say(out, "write=%s", kith_level_text(options->write_level));
    }
    say_times(out, options, &usual);
    say_word(out, options->no_watch, "nowatch");
    say_word(out, options->no_acl, "noacl");
    say_word(out, options->hide_conflicts, "conflicts=hide");
    say_word(out, options->conflict_names == KITH_CONFLICT_INFIX, "conflict_names=infix");
    if (options->on_conflict != NULL) {
        say(out, "on_conflict=%s", options->on_conflict);
    }
    say_sizes(out, options);
    if (options->pid_path != NULL) {
        say(out, "pid_file=%s", options->pid_path);
    }
    if (options->log_path != NULL) {
        say(out, "log=%s", options->log_path);
    }
    if (options->log_level != usual.log_level) {
        static const char *const levels[] = {"error", "warn", "info", "debug"};
        say(out, "log_level=%s", levels[options->log_level]);
    }
    for (uint32_t i = 0; i < options->extra_count; i++) {
        say(out, "%s", options->extra[i]);
    }
}
