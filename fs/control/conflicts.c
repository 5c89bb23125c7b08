/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * conflicts.c - the files in conflict below the mount's root, as "kithctl conflicts" tells them.
 *
 * Opening the file reads every directory below from the cluster, in a thread of the executor; a
 * signal ends it. Where one cannot be read opening fails: a list that lacks some is never shown. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conflicts/conflict_table.h"
#include "conflicts/conflict_walk.h"
#include "fs/control/impl.h"

struct asked {
    struct kith_job *job;
    struct kith_columns columns;
    bool large; /* more than a file may have */
};

static bool found(void *arg, struct kith_bytes path, struct kith_bytes name,
                  const struct kith_conflict *conflict)
{
    struct asked *asked = arg;
    (void)name;
    asked->large = asked->columns.arena.used_bytes > KITH_SNAPSHOT_MAX;
    return !asked->large && kith_conflict_table_add(&asked->columns, path, conflict);
}

/* Until who opens it has been answered otherwise. */
static bool step(void *arg, const struct kith_conflict_walk *walk, struct kith_bytes path)
{
    const struct asked *asked = arg;
    (void)walk, (void)path;
    return !kith_job_answered(asked->job);
}

static bool print(const struct kith_columns *columns, const struct kith_conflict_walk *walk,
                  FILE *out)
{
    bool ok = true;
    if (walk->conflicts == 0) {
        fputs("No file is in conflict.\n", out);
    } else {
        ok = kith_columns_print(columns, out, false);
    }
    if (walk->degraded) {
        fputs("Too few nodes answered to be sure: there may be others.\n", out);
    }
    if (walk->unread > 0) {
        fprintf(out,
                "%llu names were left out, for they cannot be understood (written by a later "
                "version?) or lie within themselves.\n",
                (unsigned long long)walk->unread);
    }
    return ok;
}

/* What was found, as the file's contents. An errno. */
static int text_of(const struct kith_columns *columns, const struct kith_conflict_walk *walk,
                   struct kith_buf *out)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    if (stream == NULL) {
        return ENOMEM;
    }
    bool ok = print(columns, walk, stream);
    ok = fclose(stream) == 0 && ok;
    int error = ok ? 0 : ENOMEM;
    if (error == 0) {
        kith_buf_put(out, text, size);
        error = out->failed ? ENOMEM : 0;
    }
    free(text);
    return error;
}

static int walk_root(struct kith_job *job, struct kith_buf *out)
{
    struct kith_fs *fs = job->fs;
    struct asked asked = {.job = job};
    struct kith_conflict_walk walk = {.found = found, .step = step, .arg = &asked};
    struct kith_error error = {.code = KITH_OK};
    kith_conflict_table_init(&asked.columns);
    int failed =
        kith_errno(kith_conflict_walk_dir(fs->client, &fs->root->dir->group, &walk, &error));
    if (failed == 0) {
        failed = text_of(&asked.columns, &walk, out);
    } else if (error.code != KITH_ECANCELED) {
        kith_log_warn("control", "conflicts: %s", asked.large ? "too many" : error.message);
        failed = asked.large ? EFBIG : failed;
    }
    kith_columns_release(&asked.columns);
    return failed;
}

static void open_walk(struct kith_job *job)
{
    struct kith_control *control = job->fs->control;
    struct kith_control_file *file = kith_control_file_new();
    bool many = atomic_fetch_add(&control->walks, 1) >= KITH_WALKS_MAX;
    int error = file == NULL ? ENOMEM : many ? EBUSY : walk_root(job, &file->text);
    atomic_fetch_sub(&control->walks, 1);
    if (error != 0) {
        kith_job_fail(job, error);
    } else if (kith_job_take(job)) {
        job->fi.fh = (uintptr_t)file;
        job->fi.direct_io = 1;
        if (fuse_reply_open(job->req, &job->fi) == 0) {
            file = NULL; /* released with the handle */
        }
    }
    kith_control_file_free(file);
}

void kith_control_open_conflicts(fuse_req_t req, const struct fuse_file_info *fi)
{
    struct kith_job *job = kith_job_new(kith_control_of(req)->fs, req, 0, 0, open_walk);
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    job->fi = *fi;
    kith_job_start(job);
}
