/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * lookup.c - questions for one name: LOOKUP, and whether a name that is to be made is not there.
 *
 * A question is one GET; where the directory is watched (watch.c) and its table not complete yet,
 * it is the scan of one page instead, after which memory answers; in a large directory it may be a
 * scan of the names behind it (neighbours.c).
 *
 * A question that failed for want of nodes is not asked again at once. The kernel would: where a name
 * that it knows could not be looked up it asks a second time in the same call, and of several
 * processes that want the same name one asks after the other, so that each would wait as often for
 * the deadline as there are others before it. */
#include <errno.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

#define FAILED_NS (NSEC_PER_SEC / 4) /* the kernel comes again within less */

static struct kith_failed *failed_place(struct kith_fs *fs, const struct kith_inode *dir,
                                        const char *name, uint32_t *ret_hash)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *at = name; *at != '\0'; at++) {
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    }
    *ret_hash = hash;
    return &fs->failed[(hash ^ (uint32_t)dir->id) % KITH_FAILED_MAX];
}

/* Of now, once: an answer from here is not noted, so nodes that are back are asked soon. */
static void failed_note(const struct kith_job *job, int error)
{
    struct kith_fs *fs = job->fs;
    uint32_t hash;
    if (error == EIO || error == ETIMEDOUT) {
        pthread_mutex_lock(&fs->lock);
        struct kith_failed *failed = failed_place(fs, job->inode, job->name, &hash);
        *failed = (struct kith_failed){job->inode->id, kith_mono_ns(), hash, error};
        pthread_mutex_unlock(&fs->lock);
    }
}

int kith_lookup_failed(struct kith_fs *fs, const struct kith_inode *dir, const char *name)
{
    uint32_t hash;
    const struct kith_failed *failed = failed_place(fs, dir, name, &hash);
    bool same = failed->dir_id == dir->id && failed->hash == hash;
    return same && kith_mono_ns() - failed->at < FAILED_NS ? failed->error : 0;
}

/* Answers a lookup that began at `started` from the entry, which comes pinned. */
static void lookup_answer(struct kith_job *job, struct kith_entry *entry, uint64_t started)
{
    struct kith_fs *fs = job->fs;
    pthread_mutex_lock(&fs->lock);
    entry->pins--;
    struct kith_inode *inode = entry->inode;
    uint64_t valid_until = kith_entry_until(fs, entry, started);
    if (inode != NULL) {
        kith_inode_hold(inode);
    } else if (entry->valid_until >= started + fs->entry_ns &&
               !kith_conflicts_like(fs, entry->name)) {
        entry->fresh_tid = job->ctx.pid; /* a create by this thread need not ask again */
    }
    pthread_mutex_unlock(&fs->lock);
    if (inode == NULL) {
        kith_job_fail(job, ENOENT);
        return;
    }
    kith_reply_entry(job, inode, valid_until, true);
    pthread_mutex_lock(&fs->lock);
    kith_inode_drop(fs, inode);
    pthread_mutex_unlock(&fs->lock);
}

/* No row has the name, which comes pinned: it may be one that is made for another version of a
 * file. True: answered. The kernel asks for it each time, for nobody would tell it of a change. */
static bool lookup_made(struct kith_job *job, struct kith_entry *entry)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode;
    pthread_mutex_lock(&fs->lock);
    bool like = entry->inode == NULL && kith_conflicts_like(fs, job->name);
    pthread_mutex_unlock(&fs->lock);
    int error = like ? kith_other_inode(fs, job->inode, job->name, &inode) : ENOENT;
    if (error == ENOENT) {
        return false;
    }
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_entry(job, inode, 0, true);
    }
    pthread_mutex_lock(&fs->lock);
    entry->pins--;
    if (error == 0) {
        kith_inode_drop(fs, inode);
    }
    pthread_mutex_unlock(&fs->lock);
    return true;
}

void kith_do_lookup(struct kith_job *job)
{
    struct kith_entry *entry;
    uint64_t started = kith_mono_ns();
    int error = kith_dir_entry(job->fs, job->inode, job->name, &entry);
    if (error != 0) {
        failed_note(job, error);
        kith_job_fail(job, error);
    } else if (!lookup_made(job, entry)) {
        lookup_answer(job, entry, started);
    }
}

int kith_name_saw(struct kith_job *job, const struct kith_client_result *result, bool *ret_link,
                  struct kith_entry **ret_entry)
{
    struct kith_arena arena;
    struct kith_seen seen;
    memset(&seen, 0, sizeof seen);
    kith_arena_init(&arena, 0);
    int error = kith_errno(result->err);
    if (error == 0) {
        const struct kith_client_row *rows = result->u.rows.rows;
        error = kith_errno(kith_seen_entry(&arena, &rows[0].row, &rows[1].row, &seen));
    }
    seen.degraded = error == 0 && result->degraded;
    *ret_link = error == 0 && seen.link;
    if (error == 0 && !*ret_link) {
        pthread_mutex_lock(&job->fs->lock);
        struct kith_link_at at;
        *ret_link = kith_seen_elsewhere(job->fs, job->inode, job->name, &seen) != NULL ||
                    kith_seen_other_row(job->fs, job->inode, job->name, &seen, &at);
        pthread_mutex_unlock(&job->fs->lock);
    }
    if (error == 0 && !*ret_link) {
        error = kith_dir_saw(job->fs, job->inode, job->name, &seen, job->started, ret_entry);
    }
    kith_arena_release(&arena);
    return error;
}

/* A question needs the network. */
static void watch_asked(struct kith_job *job)
{
    pthread_mutex_lock(&job->fs->lock);
    bool begin = kith_watch_asked(job->fs, job->inode, false);
    pthread_mutex_unlock(&job->fs->lock);
    if (begin) {
        kith_watch_begin(job->fs, job->inode);
    }
}

void kith_name_send(struct kith_job *job,
                    void (*done)(struct kith_job *, const struct kith_client_result *))
{
    struct kith_rowname row, attr;
    kith_rowname_entry(kith_bytes_make(job->name, strlen(job->name)), &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = job->inode->dir->group;
    op.u.get.names = names;
    op.u.get.name_count = 2;
    watch_asked(job);
    job->started = kith_mono_ns();
    kith_job_begin(job);
    kith_job_send(job, &op, done);
}

void kith_names_send(struct kith_job *job,
                     void (*done)(struct kith_job *, const struct kith_client_result *))
{
    struct kith_fs *fs = job->fs;
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN};
    op.u.scan.group = job->inode->dir->group;
    pthread_mutex_lock(&fs->lock);
    job->inode->dir->loading = true;
    job->load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    job->started = kith_mono_ns();
    kith_job_begin(job);
    kith_job_send(job, &op, done);
}

int kith_names_saw(struct kith_job *job, const struct kith_client_result *result, bool *ret_ask,
                   struct kith_entry **ret_entry)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dir = job->inode;
    struct kith_dir_page page = {.more = true};
    struct kith_arena arena;
    int error = kith_errno(result->err), decoded = 0;
    kith_arena_init(&arena, 0);
    if (error == 0) {
        decoded = kith_dir_page_saw(fs, dir, result, job->load, job->started, &arena, NULL, NULL,
                                    &page);
    }
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    bool whole = error == 0 && decoded == 0 && !page.more && !page.degraded;
    dir->dir->loading = false;
    dir->dir->large = dir->dir->large || (error == 0 && !whole);
    if (whole) {
        kith_dir_complete(fs, dir, job->load, job->started);
    }
    struct kith_entry *entry = kith_entry_find(dir, job->name);
    if (entry == NULL && whole) {
        entry = kith_dir_missing(fs, dir, job->name, kith_mono_ns());
    }
    /* what is older than this scan does not count here: the name may have to be new */
    bool seen = entry != NULL && (whole || entry->load == job->load) &&
                kith_entry_valid(entry, kith_mono_ns());
    if (error == 0 && seen) {
        entry->pins++;
        kith_entry_touch(fs, entry);
        *ret_entry = entry;
    }
    *ret_ask = error == 0 && !seen;
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static void lookup_end(struct kith_job *job, int error, bool defer, struct kith_entry *entry)
{
    if (defer) {
        kith_job_defer(job);
        return;
    }
    if (error == 0) {
        lookup_answer(job, entry, job->started);
    } else {
        failed_note(job, error);
        kith_job_fail(job, error);
    }
    kith_job_end(job);
}

static void lookup_done(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = NULL;
    bool link = false;
    int error = kith_name_saw(job, result, &link, &entry);
    lookup_end(job, error, link, entry);
}

static void lookup_scanned(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = NULL;
    bool ask = false;
    int error = kith_names_saw(job, result, &ask, &entry);
    lookup_end(job, error, ask, entry);
}

static void lookup_near(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_entry *entry = kith_near_saw(job, job->inode, result);
    lookup_end(job, 0, entry == NULL, entry);
}

void kith_start_lookup(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dir = job->inode;
    bool plain = dir->dir != NULL && !kith_conflicts_like(fs, job->name);
    pthread_mutex_lock(&fs->lock);
    bool scan = dir->dir != NULL && kith_dir_scan_due(dir);
    bool load = !scan && dir->dir != NULL && kith_dir_missed(dir->dir, kith_mono_ns());
    uint32_t rows = plain && !scan && !load ? kith_near_take(dir, job->name) : 0;
    pthread_mutex_unlock(&fs->lock);
    if (load || !plain) {
        kith_job_start(job);
    } else if (scan) {
        kith_names_send(job, lookup_scanned);
    } else if (rows > 0) {
        watch_asked(job);
        kith_near_send(job, dir, rows, lookup_near);
    } else {
        kith_name_send(job, lookup_done);
    }
}

bool kith_name_asked(const struct kith_entry *entry, pid_t thread)
{
    return entry != NULL &&
           ((entry->inode == NULL && entry->fresh_tid != 0 && entry->fresh_tid == thread) ||
            (entry->inode != NULL && entry->inode->pending) || kith_watch_knows(entry));
}

/* fs->lock held. What need not be asked for, pinned; else NULL. */
static struct kith_entry *pin_asked(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                    pid_t thread)
{
    struct kith_entry *entry = kith_entry_find(dir, name);
    entry = entry == NULL ? kith_watch_entry(fs, dir, name) : entry;
    if (!kith_name_asked(entry, thread)) {
        return NULL;
    }
    if (kith_watch_knows(entry)) {
        kith_watch_saved(fs, KITH_SAVED_NEW);
    }
    entry->fresh_tid = 0;
    entry->pins++;
    return entry;
}

static int name_fresh(struct kith_fs *fs, struct kith_inode *dir, const char *name, pid_t thread,
                      struct kith_entry **ret_entry)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = pin_asked(fs, dir, name, thread);
    bool scan = entry == NULL && kith_dir_scan_due(dir);
    bool begin = entry == NULL && kith_watch_asked(fs, dir, false);
    pthread_mutex_unlock(&fs->lock);
    if (begin) {
        kith_watch_begin(fs, dir);
    }
    if (scan) {
        kith_dir_scan(fs, dir);
        pthread_mutex_lock(&fs->lock);
        entry = pin_asked(fs, dir, name, 0);
        pthread_mutex_unlock(&fs->lock);
    }
    if (entry == NULL) {
        return kith_dir_read(fs, dir, name, ret_entry);
    }
    *ret_entry = entry;
    return 0;
}

int kith_name_fresh(struct kith_job *job, struct kith_entry **ret_entry)
{
    return name_fresh(job->fs, job->inode, job->name, job->ctx.pid, ret_entry);
}

int kith_name_fresh_in(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                       struct kith_entry **ret_entry)
{
    return name_fresh(fs, dir, name, 0, ret_entry);
}
