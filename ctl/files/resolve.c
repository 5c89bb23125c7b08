/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * resolve.c - the command: of a file's versions one, or each a file of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/files/choose.h"
#include "ctl/files/spawn.h"
#include "ctl/format.h"

struct task {
    const struct kith_ctl_args *args;
    const char *path; /* as it was typed */
    struct kith_arena arena;
    struct kith_beside beside;
    char what[600];  /* what was done, for a person */
    json_t *renamed; /* {"from", "to"}; NULL where memory was short */
    uint32_t kept;   /* the version that bears the name now; 0: none of them */
};

static enum kith_err no_memory(struct kith_error *error)
{
    return kith_error_set(error, KITH_ENOMEM, "out of memory");
}

/* ---- Which ---- */

static uint32_t latest(const struct kith_beside *beside)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < beside->count; i++) { /* of one width, so text has the order of time */
        if (strcmp(beside->versions[i].time, beside->versions[best].time) > 0) {
            best = i;
        }
    }
    return best + 1;
}

/* A number, or a name. */
static enum kith_err keep_parse(const struct task *task, const char *text, uint32_t *ret_number,
                                struct kith_error *error)
{
    const struct kith_beside *beside = &task->beside;
    char *end = NULL;
    unsigned long number = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    if (end && !*end && number >= 1 && number <= beside->count) {
        *ret_number = (uint32_t)number;
        return KITH_OK;
    }
    for (uint32_t i = 0; i < beside->count; i++) {
        if (strcmp(beside->versions[i].name, text) == 0) {
            *ret_number = i + 1;
            return KITH_OK;
        }
    }
    if (beside->count == 1) {
        return kith_error_set(error, KITH_EINVAL,
                              "--keep: '%s' is no version of %s, which has one only", text,
                              task->path);
    }
    return kith_error_set(error, KITH_EINVAL,
                          "--keep: '%s' is no version of %s: write a number from 1 to %u, or the "
                          "name of one; they are listed by: kithctl resolve %s",
                          text, task->path, beside->count, task->path);
}

static enum kith_err keep(struct task *task, uint32_t number, struct kith_error *error)
{
    const struct kith_beside_version *version = &task->beside.versions[number - 1];
    task->kept = number;
    if (task->beside.count > 1) {
        (void)snprintf(task->what, sizeof(task->what), "kept version %u, of %s, by %s; removed %u",
                       number, version->time, version->writer, task->beside.count - 1);
    }
    return task->beside.count > 1 ? kith_choose_version(&task->beside, number, error) : KITH_OK;
}

/* ---- Files of their own ---- */

static enum kith_err all_as_files(struct task *task, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    uint32_t done = 0;
    for (uint32_t i = 1; err == KITH_OK && i < task->beside.count; i++) {
        char name[KITH_CHOOSE_NAME_MAX + 1];
        const char *was = task->beside.versions[i].name;
        err = kith_choose_part(&task->beside, i, name, error);
        if (err == KITH_OK) {
            json_t *to = json_object();
            bool ok = to && kith_json_bytes(to, "to", kith_bytes_make(name, strlen(name))) == 0;
            to = ok ? kith_json_named("from", was, to) : to;
            (void)json_array_append_new(task->renamed, to); /* as much as there is memory for */
            done++;
            if (!task->args->json) {
                struct kith_buf shown;
                kith_buf_init(&shown);
                kith_format_text(kith_bytes_make(name, strlen(name)), &shown);
                (void)printf("version %u is %.*s\n", i + 1, (int)shown.size,
                             (const char *)shown.data);
                kith_buf_release(&shown);
            }
        }
    }
    task->kept = 1;
    if (done > 0) {
        (void)snprintf(task->what, sizeof(task->what), "made %u files of the other versions", done);
    }
    return err;
}

/* ---- A tool ---- */

/* The tool has ended: what it wrote gets the name. *ret_keep: it could not be stored, and is all
 * that there is of it. */
static enum kith_err tool_take(struct task *task, const char *tool, const char *result, int status,
                               bool *ret_keep, struct kith_error *error)
{
    if (status != 0) {
        return kith_error_set(error, KITH_EIO,
                              "%s: '%s' ended with status %d, so nothing was changed", task->path,
                              tool, status);
    }
    if (access(result, R_OK) != 0) {
        return kith_error_set(error, KITH_EIO,
                              "%s: '%s' wrote no result, so nothing was changed; let it write the "
                              "file that $KITH_RESULT names",
                              task->path, tool);
    }
    enum kith_err err = kith_choose_file(&task->beside, result, error);
    *ret_keep = err != KITH_OK;
    (void)snprintf(task->what, sizeof(task->what), "stored the result of '%.200s'; removed %u",
                   tool, task->beside.count - 1);
    return err == KITH_OK ? err : kith_error_wrap(error, "the tool's result is kept in %s", result);
}

static enum kith_err with_tool(struct task *task, const char *tool, struct kith_error *error)
{
    const struct kith_beside *beside = &task->beside;
    const char *temporary = getenv("TMPDIR");
    temporary = temporary && *temporary ? temporary : "/tmp";
    size_t size = strlen(temporary) + strlen(beside->base) + 64;
    char *dir = kith_arena_alloc(&task->arena, size);
    char *result = kith_arena_alloc(&task->arena, size);
    const char **paths = kith_arena_calloc(&task->arena, beside->count, sizeof(*paths));
    if (!dir || !result || !paths) {
        return no_memory(error);
    }
    if (beside->count == 1) {
        return KITH_OK;
    }
    (void)snprintf(dir, size, "%s/kith-resolve-XXXXXX", temporary);
    if (!mkdtemp(dir)) {
        return kith_error_set(error, KITH_EIO, "%s: %s", dir, strerror(errno));
    }
    (void)snprintf(result, size, "%s/%s", dir, beside->base);
    for (uint32_t i = 0; i < beside->count; i++) {
        paths[i] = beside->versions[i].path;
    }
    int status = 0;
    bool kept = false;
    enum kith_err err = setenv("KITH_RESULT", result, 1) == 0 ? KITH_OK : no_memory(error);
    if (err == KITH_OK) {
        struct kith_buf output; /* of a program that reads JSON it is none */
        kith_buf_init(&output);
        err = kith_spawn_shell(tool, beside->count, paths, task->args->json ? &output : NULL,
                               &status, error);
        kith_buf_release(&output);
    }
    if (err == KITH_OK) {
        err = tool_take(task, tool, result, status, &kept, error);
    }
    if (!kept) {
        (void)unlink(result);
        (void)rmdir(dir);
    }
    return err;
}

/* ---- The command ---- */

static enum kith_err carry_out(struct task *task, struct kith_error *error)
{
    const struct kith_ctl_args *args = task->args;
    const char *number = kith_ctl_value(args, "keep");
    const char *file = kith_ctl_value(args, "with");
    const char *tool = kith_ctl_value(args, "tool");
    if (number) {
        uint32_t which = 0;
        enum kith_err err = keep_parse(task, number, &which, error);
        return err == KITH_OK ? keep(task, which, error) : err;
    }
    if (kith_ctl_value(args, "latest")) {
        return keep(task, latest(&task->beside), error);
    }
    if (file) {
        (void)snprintf(task->what, sizeof(task->what), "stored what %.200s holds; removed %u", file,
                       task->beside.count - 1);
        return kith_choose_file(&task->beside, file, error);
    }
    return tool ? with_tool(task, tool, error) : all_as_files(task, error);
}

/* What was done, and what is left. *ret_left: other versions. */
static enum kith_err report(struct task *task, uint32_t *ret_left, struct kith_error *error)
{
    struct kith_beside now;
    enum kith_err err = kith_beside_read(task->args, &task->arena, task->path, &now, error);
    if (err != KITH_OK) {
        return err;
    }
    *ret_left = now.count - 1;
    if (task->args->json) {
        json_t *kept = task->kept > 0 ? json_integer(task->kept) : json_null();
        json_t *object = json_pack("{s:o, s:O, s:o}", "kept", kept, "renamed", task->renamed,
                                   "versions", kith_beside_json(&now));
        return kith_json_print(kith_json_named("path", task->path, object), error);
    }
    struct kith_buf shown;
    kith_buf_init(&shown);
    kith_format_text(kith_bytes_make(task->path, strlen(task->path)), &shown);
    kith_buf_put_u8(&shown, 0);
    const char *path = shown.failed ? "" : (const char *)shown.data;
    (void)printf("%s: %s\n", path, *task->what ? task->what : "has no other version");
    if (now.count > 1) {
        (void)printf("%u turned up meanwhile, and stand beside it: kithctl resolve %s\n",
                     now.count - 1, path);
    }
    kith_buf_release(&shown);
    return KITH_OK;
}

static enum kith_err list(const struct task *task, struct kith_error *error)
{
    const struct kith_beside *beside = &task->beside;
    if (task->args->json) {
        json_t *object = json_pack("{s:o}", "versions", kith_beside_json(beside));
        return kith_json_print(kith_json_named("path", task->path, object), error);
    }
    if (kith_beside_print(beside, stdout) != KITH_OK) {
        return no_memory(error);
    }
    if (beside->count > 1) {
        (void)printf("Keep one: kithctl resolve %s --keep N      Compare: kithctl diff %s\n",
                     task->path, task->path);
    }
    return KITH_OK;
}

static uint32_t choices(const struct kith_ctl_args *args)
{
    static const char *const names[] = {"keep", "latest", "with", "all-as-files", "tool"};
    uint32_t count = 0;
    for (uint32_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        count += kith_ctl_value(args, names[i]) != NULL;
    }
    return count;
}

int kith_ctl_resolve(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct task task;
    uint32_t left = 0;
    if (choices(args) > 1) {
        (void)kith_error_set(&error, KITH_EINVAL,
                             "only one of --keep, --latest, --with, --all-as-files and --tool can "
                             "be done");
        return kith_ctl_usage(args, &error);
    }
    memset(&task, 0, sizeof(task));
    task.args = args;
    task.path = args->positional[0];
    task.renamed = json_array();
    kith_arena_init(&task.arena, 0);
    enum kith_err err = kith_beside_read(args, &task.arena, task.path, &task.beside, &error);
    if (err == KITH_OK && choices(args) == 0) {
        left = task.beside.count - 1;
        err = list(&task, &error);
    } else if (err == KITH_OK) {
        err = carry_out(&task, &error);
        err = err == KITH_OK ? report(&task, &left, &error) : err;
    }
    json_decref(task.renamed);
    kith_arena_release(&task.arena);
    return err != KITH_OK ? kith_ctl_fail(args, &error)
           : left > 0     ? KITH_CTL_SIBLINGS
                          : KITH_CTL_OK;
}
