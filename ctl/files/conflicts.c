/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflicts.c - the command: the names in conflict below a path. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "conflicts/conflict_table.h"
#include "conflicts/conflict_walk.h"
#include "ctl/ask/door.h"
#include "ctl/ctl.h"
#include "ctl/files/path.h"
#include "ctl/files/place.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "ctl/screens/bar.h"
#include "data/hlc.h"

#define STEP_MS 200u /* between two looks at how far it is */

struct asked {
    const struct kith_ctl_args *args;
    char path[KITH_PATH_SIZE]; /* from the root of the filesystem */
    const char *given;         /* as it was typed; NULL: nothing was */
    uint32_t volume;
    bool mounted;
    bool shows;        /* it is told how far it is */
    uint64_t begun_ms;
    uint64_t shown_ms; /* when it was told last how far it is; 0: it was not */
    struct kith_columns columns;
    json_t *list;
    struct kith_buf example; /* the first file: what the hints name */
};

/* ---- How far it is ---- */

static bool step(void *arg, const struct kith_conflict_walk *walk, struct kith_bytes path)
{
    struct asked *asked = arg;
    uint64_t now_ms = kith_mono_ms();
    char names[KITH_FORMAT_SIZE];
    char conflicts[KITH_FORMAT_SIZE];
    char rate[KITH_FORMAT_SIZE];
    char line[KITH_BAR_SIZE];
    if (!asked->shows) {
        return true;
    }
    if (asked->shown_ms == 0) {
        asked->shown_ms = now_ms; /* a short walk tells nothing */
        asked->begun_ms = now_ms;
    }
    if (now_ms - asked->shown_ms < STEP_MS) {
        return true;
    }
    asked->shown_ms = now_ms;
    kith_format_count(walk->names, names);
    kith_format_count(walk->conflicts, conflicts);
    /* how many there are nobody knows before the end: no bar */
    kith_format_count(walk->names * 1000u / (now_ms - asked->begun_ms), rate);
    (void)snprintf(line, sizeof(line), "%s names (%s/s), %s in conflict", names, rate, conflicts);
    kith_bar_draw(line);
    if (kith_bar_terminal()) {
        (void)fprintf(stderr, "  /");
        kith_print_escaped(stderr, kith_bytes_make(path.data, path.size < 40 ? path.size : 40));
        (void)fflush(stderr);
    }
    return true;
}

/* ---- One that is found ---- */

static json_t *version_json(const struct kith_version *version, uint32_t number,
                            struct kith_bytes base)
{
    char time[KITH_FORMAT_SIZE];
    char made[KITH_FS_NAME_MAX + 1];
    struct kith_bytes name = base;
    kith_format_time(kith_hlc_ms(version->sibling->time), time);
    if (number > 1) {
        size_t size = kith_conflict_name(base, version->sibling, KITH_CONFLICT_SUFFIX, false, made);
        name = kith_bytes_make(made, size);
    }
    struct kith_bytes writer = version->sibling->writer;
    json_t *object = json_pack("{s:i, s:s, s:o}", "number", (int)number, "time", time, "writer",
                               kith_json_text((const char *)writer.data, writer.size));
    if (object && kith_json_bytes(object, "name", name) != KITH_OK) {
        json_decref(object);
        object = NULL;
    }
    return object;
}

static bool json_add(struct asked *asked, struct kith_bytes path, struct kith_bytes name,
                     const struct kith_conflict *conflict)
{
    char since[KITH_FORMAT_SIZE];
    json_t *versions = json_array();
    json_t *writers = json_array();
    bool ok = true;
    for (uint32_t i = 0; i < conflict->writer_count; i++) {
        const struct kith_bytes *writer = &conflict->writers[i];
        ok = json_array_append_new(writers,
                                   kith_json_text((const char *)writer->data, writer->size)) == 0 &&
             ok;
    }
    for (uint32_t i = 0; i < conflict->count; i++) {
        ok = json_array_append_new(versions, version_json(&conflict->versions[i], i + 1, name)) ==
                 0 &&
             ok;
    }
    kith_format_time(conflict->since_ms, since);
    json_t *object =
        json_pack("{s:s, s:o, s:o}", "since", since, "writers", writers, "versions", versions);
    if (!object || kith_json_bytes(object, "path", path) != KITH_OK) {
        json_decref(object);
        return false;
    }
    return json_array_append_new(asked->list, object) == 0 && ok;
}

static bool found(void *arg, struct kith_bytes path, struct kith_bytes name,
                  const struct kith_conflict *conflict)
{
    struct asked *asked = arg;
    bool self = path.size == 0; /* the very path that was given */
    struct kith_bytes given = kith_bytes_make(asked->path, strlen(asked->path));
    if (asked->given) {
        given = kith_bytes_make(asked->given, strlen(asked->given));
    }
    if (kith_ctl_value(asked->args, "count")) {
        return true;
    }
    if (asked->example.size == 0) {
        if (self || asked->given) {
            kith_buf_put(&asked->example, given.data, given.size);
        }
        if (!self) {
            bool slash = given.size > 0 && given.data[given.size - 1] == '/';
            kith_buf_put(&asked->example, "/", asked->given && !slash ? 1 : 0);
            kith_buf_put(&asked->example, path.data, path.size);
        }
        kith_buf_put_u8(&asked->example, 0);
    }
    path = self ? given : path;
    bool ok = asked->list ? json_add(asked, path, name, conflict) : kith_conflict_table_add(&asked->columns, path, conflict);
    return ok && !asked->example.failed;
}

/* ---- The answer ---- */

static enum kith_err no_memory(struct kith_error *error)
{
    return kith_error_set(error, KITH_ENOMEM, "out of memory");
}

static void hints_print(const struct asked *asked)
{
    const char *path = (const char *)asked->example.data;
    const char *quote = strpbrk(path, " '\"\\$`*?[]<>|&;()#~!{}\t\n") ? "'" : "";
    if (strchr(path, '\'')) {
        quote = ""; /* the shell's completion does that better */
    }
    struct kith_buf shown;
    kith_buf_init(&shown);
    kith_format_text(kith_bytes_make(path, strlen(path)), &shown);
    kith_buf_put_u8(&shown, 0);
    path = shown.failed ? "PATH" : (const char *)shown.data;
    (void)printf("%s: kithctl resolve %s%s%s --keep 2      Compare: kithctl diff %s%s%s\n",
                 asked->mounted ? "Keep one" : "Keep one, in a mount", quote, path, quote, quote,
                 path, quote);
    (void)printf("(removing conflict files in the mount, or moving one over the plain name, does "
                 "the same)\n");
    kith_buf_release(&shown);
}

static enum kith_err show(struct asked *asked, const struct kith_conflict_walk *walk,
                          struct kith_error *error)
{
    const struct kith_ctl_args *args = asked->args;
    bool only_count = kith_ctl_value(args, "count") != NULL;
    if (args->json) {
        json_t *object =
            json_pack("{s:I, s:I, s:I, s:b}", "count", (json_int_t)walk->conflicts, "names",
                      (json_int_t)walk->names, "directories", (json_int_t)walk->directories,
                      "complete", !walk->degraded && walk->unread == 0);
        if (object && !only_count && json_object_set(object, "conflicts", asked->list) != 0) {
            json_decref(object);
            object = NULL;
        }
        return kith_json_print(kith_json_named("path", asked->path, object), error);
    }
    if (only_count) {
        (void)printf("%llu\n", (unsigned long long)walk->conflicts);
    } else if (walk->conflicts == 0) {
        (void)printf("No file is in conflict.\n");
    } else {
        if (!kith_columns_print(&asked->columns, stdout, kith_colours_shown(stdout))) {
            return no_memory(error);
        }
        hints_print(asked);
    }
    return KITH_OK;
}

static void warn(const struct kith_ctl_args *args, const struct kith_conflict_walk *walk)
{
    if (walk->degraded) {
        kith_report_warning(args->json, "too few nodes answered to be sure: there may be others; "
                                        "see: kithctl status");
    }
    if (walk->unread > 0) {
        kith_report_warning(args->json,
                            "%llu names were left out, for they cannot be understood (written by a "
                            "later version?) or lie within themselves",
                            (unsigned long long)walk->unread);
    }
}

/* From `path` on, "/a/b" from the root of the filesystem. ENOTFOUND, EREFUSED as kith_path_walk. */
static enum kith_err walk_from(const struct kith_door *door, uint32_t volume, const char *path,
                               struct kith_conflict_walk *walk, struct kith_error *error)
{
    struct kith_path_row rows[KITH_PATH_ROWS_MAX];
    uint32_t count = 0;
    enum kith_err err = kith_path_walk(door, volume, path, rows, &count, error);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_bytes name = kith_rowname_bytes(&rows[0].name);
    if (name.size == 0) { /* the root */
        return kith_conflict_walk_dir(door->client, &rows[0].group, walk, error);
    }
    err = kith_conflict_walk_name(door->client, &rows[0].group, name, walk, error);
    return err == KITH_ENOTFOUND ? kith_error_wrap(error, "%s", path) : err;
}

static enum kith_err run(struct asked *asked, struct kith_conflict_walk *walk,
                         struct kith_error *error)
{
    struct kith_door door;
    enum kith_err err = kith_door_open(asked->args, NULL, &door, error);
    if (err != KITH_OK) {
        return err;
    }
    err = walk_from(&door, asked->volume, asked->path, walk, error);
    if (err == KITH_ENOTFOUND && asked->given && !asked->mounted) {
        struct kith_error told = *error;
        (void)kith_error_set(error, err,
                             "%.400s (it lies in no mounted kithfs, so it was looked for from the "
                             "root of the filesystem)",
                             told.message);
    }
    kith_client_close(door.client);
    if (asked->shows) {
        kith_bar_draw(NULL);
    }
    return err == KITH_OK ? show(asked, walk, error) : err;
}

/* Where it begins: what is given; else where this is run, if that is in a mount; else the root. */
static enum kith_err place(struct kith_ctl_args *args, struct asked *asked,
                           struct kith_error *error)
{
    asked->given = args->count > 0 ? args->positional[0] : NULL;
    const char *volume = kith_ctl_value(args, "volume");
    enum kith_err err = kith_place_find(args, asked->given ? asked->given : ".", volume,
                                        asked->path, &asked->volume, &asked->mounted, error);
    if (err == KITH_EINVAL && !asked->given) { /* this is run elsewhere, or in another volume */
        err = kith_place_find(args, "/", volume, asked->path, &asked->volume, &asked->mounted,
                              error);
    }
    return err;
}

int kith_ctl_conflicts(const struct kith_ctl_args *given)
{
    struct kith_error error;
    struct kith_conflict_walk walk;
    struct kith_ctl_args *args = kith_malloc(sizeof(*args));
    struct asked *asked = kith_malloc(sizeof(*asked));
    int status = KITH_CTL_OK;
    if (!args || !asked) {
        (void)no_memory(&error);
        status = kith_ctl_fail(given, &error);
    } else {
        *args = *given;
        memset(asked, 0, sizeof(*asked));
        memset(&walk, 0, sizeof(walk));
        asked->args = args;
        asked->shows = kith_bar_shown(args->json);
        asked->list = args->json ? json_array() : NULL;
        kith_conflict_table_init(&asked->columns);
        kith_buf_init(&asked->example);
        walk.found = found;
        walk.step = step;
        walk.arg = asked;
        if (place(args, asked, &error) != KITH_OK) {
            status = kith_ctl_usage(args, &error);
        } else if (run(asked, &walk, &error) != KITH_OK) {
            status = kith_ctl_fail(args, &error);
        } else {
            warn(args, &walk);
            status = walk.conflicts > 0 ? KITH_CTL_SIBLINGS : KITH_CTL_OK;
        }
        json_decref(asked->list);
        kith_columns_release(&asked->columns);
        kith_buf_release(&asked->example);
    }
    kith_free(args);
    kith_free(asked);
    return status;
}
