/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * rename.c - the request: both names are looked at, and what they lead to is taken for as long as
 * they change (move.c, exchange.c).
 *
 * Where memory knows both well enough, and one batch is all that is to be put, no thread waits for
 * it. */
#include <errno.h>
#include <stdio.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

static int rename_types(const struct kith_inode *inode, const struct kith_inode *old)
{
    if (old == NULL || (inode->type == KITH_TYPE_DIR) == (old->type == KITH_TYPE_DIR)) {
        return 0;
    }
    return old->type == KITH_TYPE_DIR ? EISDIR : ENOTDIR;
}

/* Both entries pinned, both directories taken. */
static int move_names(struct kith_fs *fs, struct kith_entry *src, struct kith_entry *dst,
                      struct kith_inode *inode, struct kith_inode *old)
{
    struct kith_move move = {.fs = fs, .src = src, .dst = dst, .inode = inode, .old = old};
    move.src_at = move.dst_at = move.row_at = move.old_at = -1;
    int error = rename_types(inode, old);
    bool directory = error == 0 && old != NULL && old->type == KITH_TYPE_DIR;
    struct kith_inode *both[2] = {inode, old};
    pthread_mutex_lock(&fs->lock);
    if (directory) {
        kith_busy_take(fs, true, &old, 1);
    }
    kith_busy_take(fs, false, both, 2);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = both[i] != NULL ? kith_inode_put_again(fs, both[i]) : 0;
    }
    if (error == 0) {
        error = kith_inode_renew(fs, inode);
    }
    if (error == 0 && old != NULL && old->shared) { /* its row is put with one name less */
        error = kith_inode_renew(fs, old);
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && (!kith_entry_leads(src, inode) || !kith_entry_leads(dst, old))) {
        error = ESTALE; /* who was waited for, or another mount, has changed them */
    }
    move.cross = src->dir != dst->dir;
    move.was_pending = inode->pending;
    move.dst_link = dst->link;
    pthread_mutex_unlock(&fs->lock);
    if (directory && error == 0) {
        error = kith_dir_remove(fs, old);
    }
    if (error == 0 && move.cross && src->link && !inode->share_own) {
        error = kith_link_promote(fs, inode);
    }
    move.into = kith_batch_new();
    move.from = move.cross ? kith_batch_new() : move.into;
    if (error == 0) {
        error = move.into == NULL || move.from == NULL ? ENOMEM : kith_move_put(&move);
        if (error != 0 && directory && !move.put) {
            kith_dir_restore(fs, old, move.unknown);
        }
    }
    if (move.from != move.into) {
        kith_batch_free(move.from);
    }
    kith_batch_free(move.into);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, both, 2);
    if (directory) {
        kith_busy_give(fs, true, &old, 1);
    }
    pthread_mutex_unlock(&fs->lock);
    if (old != NULL) {
        kith_inode_settle(fs, old);
    }
    return error;
}

static int rename_entries(struct kith_job *job, struct kith_entry *src, struct kith_entry *dst)
{
    struct kith_fs *fs = job->fs;
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = src->inode, *old = dst->inode;
    bool removed = job->inode2->dir->removed;
    if (inode != NULL) {
        kith_inode_hold(inode);
    }
    if (old != NULL) {
        kith_inode_hold(old);
    }
    pthread_mutex_unlock(&fs->lock);
    int error = 0;
    if (inode == NULL || removed) {
        error = ENOENT;
    } else if ((job->flags & RENAME_NOREPLACE) != 0 && old != NULL) {
        error = EEXIST;
    } else if ((job->flags & RENAME_EXCHANGE) != 0) {
        error = old == NULL ? ENOENT : inode == old ? 0 : kith_exchange(fs, src, dst);
    } else if (inode != old) {
        error = move_names(fs, src, dst, inode, old);
    }
    pthread_mutex_lock(&fs->lock);
    if (inode != NULL) {
        kith_inode_drop(fs, inode);
    }
    if (old != NULL) {
        kith_inode_drop(fs, old);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* What is to be renamed, pinned. Another version of a file that stands beside it becomes a file of
 * its own first. */
static int rename_source(struct kith_job *job, struct kith_entry **ret_src)
{
    struct kith_fs *fs = job->fs;
    int error = kith_dir_entry(fs, job->inode, job->name, ret_src);
    if (error == 0 && (job->flags & RENAME_EXCHANGE) == 0) {
        error = kith_others_keep(fs, job->inode, job->name);
        if (error != 0) {
            kith_entry_unpin(fs, *ret_src);
            *ret_src = NULL;
        }
    }
    if (error != 0 || !kith_conflicts_like(fs, job->name)) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    bool none = (*ret_src)->inode == NULL;
    (*ret_src)->pins -= none ? 1 : 0;
    pthread_mutex_unlock(&fs->lock);
    if (none) {
        error = kith_other_part(fs, job->inode, job->name);
        *ret_src = NULL;
    }
    return error != 0 || !none ? error : kith_dir_entry(fs, job->inode, job->name, ret_src);
}

/* Both directories are taken. ESTALE: the names are to be looked at again. */
static int rename_once(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *src = NULL, *dst = NULL;
    int error = kith_other_taken(fs, job->inode2, job->name2);
    if (error == 0) {
        error = rename_source(job, &src);
    }
    if (error == 0) {
        error = (job->flags & RENAME_NOREPLACE) != 0
                    ? kith_dir_read(fs, job->inode2, job->name2, &dst)
                    : kith_dir_entry(fs, job->inode2, job->name2, &dst);
    }
    if (error == 0) {
        error = rename_entries(job, src, dst);
    }
    pthread_mutex_lock(&fs->lock);
    if (src != NULL) {
        if (error == ESTALE) {
            kith_entry_doubt(src);
        }
        src->pins--;
    }
    if (dst != NULL) {
        if (error == ESTALE) {
            kith_entry_doubt(dst);
        }
        dst->pins--;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

void kith_do_rename(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dirs[2] = {job->inode, job->inode2 != job->inode ? job->inode2 : NULL};
    if ((job->flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE)) != 0 ||
        ((job->flags & RENAME_EXCHANGE) != 0 && dirs[1] != NULL)) {
        kith_job_fail(job, EINVAL);
        return;
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, true, dirs, 2);
    pthread_mutex_unlock(&fs->lock);
    int error = ESTALE;
    for (unsigned i = 0; i < KITH_LOOKS_MAX && error == ESTALE; i++) {
        error = rename_once(job);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, true, dirs, 2);
    pthread_mutex_unlock(&fs->lock);
    kith_job_fail(job, error);
}

/* A rename that no thread waits for: a job's state. */
struct renaming {
    struct kith_name_put put;
    struct kith_move move;
};

/* fs->lock held. An inode that a rename can take along or replace at once. */
static bool moves_now(const struct kith_inode *inode)
{
    return inode->type != KITH_TYPE_DIR && !inode->shared && !inode->row_busy &&
           inode->again == NULL && !kith_inode_outdated(inode) &&
           !((inode->attrs.have & KITH_ATTR_XATTRS) != 0 && inode->attrs.xattrs);
}

/* fs->lock held. Both names known well enough: takes what the rename needs. */
static bool take_now(struct kith_job *job, struct kith_move *move)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *dir = job->inode;
    uint64_t now = kith_mono_ns();
    struct kith_entry *src = kith_entry_find(dir, job->name);
    struct kith_entry *dst = kith_entry_find(dir, job->name2);
    if (job->inode2 != dir || job->flags != 0 || dir->dir_busy || dir->dir->removed ||
        kith_conflicts_like(fs, job->name) || kith_conflicts_like(fs, job->name2) ||
        src == NULL || src == dst || !kith_entry_valid(src, now) || src->inode == NULL ||
        src->link || kith_conflicts_beside(src) || !moves_now(src->inode)) {
        return false;
    }
    if (dst == NULL) {
        dst = kith_dir_missing(fs, dir, job->name2, now);
    }
    if (dst == NULL || !kith_entry_valid(dst, now) || dst->link ||
        (dst->inode != NULL && (dst->inode == src->inode || !moves_now(dst->inode)))) {
        return false;
    }
    move->src = src;
    move->dst = dst;
    move->inode = src->inode;
    move->old = dst->inode;
    move->was_pending = src->inode->pending;
    struct kith_inode *both[2] = {move->inode, move->old};
    kith_busy_take(fs, true, &dir, 1); /* neither is busy: no waiting */
    kith_busy_take(fs, false, both, 2);
    kith_entry_touch(fs, src);
    kith_entry_touch(fs, dst);
    src->pins++;
    dst->pins++;
    kith_inode_hold(move->inode);
    if (move->old != NULL) {
        kith_inode_hold(move->old);
    }
    return true;
}

/* Gives all of that back. */
static void give_now(struct kith_job *job, struct renaming *renaming)
{
    struct kith_move *move = &renaming->move;
    struct kith_fs *fs = job->fs;
    struct kith_inode *both[2] = {move->inode, move->old};
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, both, 2);
    kith_busy_give(fs, true, &job->inode, 1);
    move->src->pins--;
    move->dst->pins--;
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        if (both[i] != NULL) {
            kith_inode_settle_soon(fs, both[i]);
            pthread_mutex_lock(&fs->lock);
            kith_inode_drop(fs, both[i]);
            pthread_mutex_unlock(&fs->lock);
        }
    }
    kith_batch_free(move->into);
    kith_free(renaming);
}

/* The put is over with this errno. */
static int rename_took(struct kith_job *job, int error, const struct kith_client_result *result)
{
    struct renaming *renaming = job->state;
    if (error == 0) {
        return kith_move_settle(&renaming->move, result, result);
    }
    pthread_mutex_lock(&job->fs->lock);
    kith_move_doubted(&renaming->move);
    pthread_mutex_unlock(&job->fs->lock);
    return error;
}

static void rename_end(struct kith_job *job, int error)
{
    give_now(job, job->state);
    kith_job_fail(job, error);
}

void kith_start_rename(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct renaming *renaming = kith_calloc(1, sizeof *renaming);
    struct kith_move *move = renaming != NULL ? &renaming->move : NULL;
    bool now = false;
    if (move != NULL) {
        move->fs = fs;
        move->now = true;
        move->src_at = move->dst_at = move->row_at = move->old_at = -1;
        pthread_mutex_lock(&fs->lock);
        now = take_now(job, move);
        pthread_mutex_unlock(&fs->lock);
    }
    if (now) {
        move->into = move->from = kith_batch_new();
        now = move->into != NULL && kith_move_build(move) == 0;
        if (!now) {
            give_now(job, renaming);
        }
    } else {
        kith_free(renaming);
    }
    if (!now) {
        kith_job_start(job);
        return;
    }
    struct kith_name_put *put = &renaming->put;
    put->op.u.put.group = job->inode->dir->group;
    put->op.u.put.updates = move->into->updates;
    put->op.u.put.update_count = move->into->count;
    put->left = move->src_at >= 0 ? move->src : NULL;
    put->inode = move->inode;
    put->took = rename_took;
    put->end = rename_end;
    job->state = renaming;
    kith_job_begin(job);
    kith_name_put_send(job);
}
