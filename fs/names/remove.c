/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * remove.c - unlink and rmdir.
 *
 * Whoever changes names in a directory holds its dir_busy from the check to the end of the put. One
 * of several names of a file goes with a change of the file's row (link_remove.c); a directory is
 * marked as removed before its name goes (dir_own.c). */
#include <errno.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* The rows of a file with one name go. row_busy held. *ret_unknown: perhaps they do yet. */
static int remove_rows(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode,
                       bool *ret_unknown)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_client_answer answer;
    if (batch == NULL) {
        return ENOMEM;
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_group group = entry->dir->dir->group;
    int at = kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(&entry->ctx), NULL, 0,
                            NULL, 0);
    pthread_mutex_unlock(&fs->lock);
    int error = at < 0 ? ENOMEM : kith_batch_attrs(fs, batch, batch, inode, NULL);
    if (error == 0) {
        error = kith_rows_put(fs, &group, KITH_DURABLE_OS, batch->updates, batch->count, &answer);
        *ret_unknown = answer.result.err == KITH_EUNKNOWN;
        if (error == 0) {
            pthread_mutex_lock(&fs->lock);
            if (!kith_octets_set(&entry->ctx, answer.result.u.put.results[0].context)) {
                error = ENOMEM;
            }
            pthread_mutex_unlock(&fs->lock);
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

void kith_entry_gone(struct kith_fs *fs, struct kith_entry *entry)
{
    struct kith_inode *inode = entry->inode;
    entry->changed_at = kith_mono_ns();
    entry->valid_until = entry->changed_at + fs->entry_ns;
    entry->link = false;
    if (inode != NULL) {
        inode->changed_at = entry->changed_at;
        /* a rename whose second half failed leaves a second name that leads here */
        bool other = !inode->shared && inode->entry != NULL && inode->entry != entry;
        inode->unlinked =
            !other && (!inode->shared || (inode->name_count == 0 && !inode->untold));
        if (inode->unlinked) {
            inode->pending = false;
            inode->attr_changed = 0;
            kith_inode_named(inode); /* for who has it open */
        }
    }
    bool dir = inode != NULL && inode->dir != NULL;
    kith_entry_lead(fs, entry, NULL);
    kith_dir_changed(fs, entry->dir, dir ? -1 : 0);
    if (!kith_context_is_alone(kith_octets_bytes(&entry->ctx))) {
        entry->valid_until = 0; /* another version bears the name now */
        kith_watch_doubt(entry);
    }
}

/* What is to be removed, pinned and its inode held; dir_busy of the parent is held. */
static int victim(struct kith_job *job, struct kith_entry **ret_entry,
                  struct kith_inode **ret_inode)
{
    struct kith_fs *fs = job->fs;
    int error = kith_dir_entry(fs, job->inode, job->name, ret_entry);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    *ret_inode = (*ret_entry)->inode;
    if (*ret_inode != NULL) {
        kith_inode_hold(*ret_inode);
    } else {
        (*ret_entry)->pins--;
        error = ENOENT;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* The same with row_busy of the inode taken, and what the cluster has of a shared one. Who was
 * waited for, or another mount, may have given the name or the inode another row meanwhile: then
 * they are looked at again. */
static int victim_taken(struct kith_job *job, struct kith_entry **ret_entry,
                        struct kith_inode **ret_inode)
{
    struct kith_fs *fs = job->fs;
    int error = ESTALE;
    for (unsigned i = 0; i < KITH_LOOKS_MAX && error == ESTALE; i++) {
        error = victim(job, ret_entry, ret_inode);
        if (error == EIO && kith_dir_remove_dangling(fs, job->inode, job->name) == 0) {
            *ret_inode = NULL; /* there was nothing but the name */
            return 0;
        }
        if (error != 0) {
            return error;
        }
        struct kith_entry *entry = *ret_entry;
        struct kith_inode *inode = *ret_inode;
        pthread_mutex_lock(&fs->lock);
        kith_busy_take(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        error = inode->type == KITH_TYPE_DIR ? EISDIR : kith_inode_put_again(fs, inode);
        if (error == 0 && inode->shared) { /* its row is put with one name less */
            error = kith_inode_renew(fs, inode);
        }
        pthread_mutex_lock(&fs->lock);
        if (error == 0 && !kith_entry_leads(entry, inode)) {
            error = ESTALE;
        }
        if (error != 0) {
            kith_entry_doubt(entry);
            kith_busy_give(fs, false, &inode, 1);
            entry->pins--;
            kith_inode_drop(fs, inode);
        }
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}

void kith_do_unlink(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *entry;
    struct kith_inode *inode;
    kith_dir_take(fs, job->inode);
    int error = kith_others_keep(fs, job->inode, job->name);
    if (error == 0) {
        error = victim_taken(job, &entry, &inode);
    }
    if (error == ENOENT && kith_conflicts_like(fs, job->name)) {
        error = kith_other_remove(fs, job->inode, job->name);
        inode = NULL;
    }
    if (error == 0 && inode != NULL) {
        pthread_mutex_lock(&fs->lock);
        bool pending = inode->pending && !inode->shared;
        bool link = entry->link;
        pthread_mutex_unlock(&fs->lock);
        if (link) {
            error = kith_link_remove(fs, entry, inode);
        } else if (!pending) {
            bool unknown;
            error = remove_rows(fs, entry, inode, &unknown);
        }
        pthread_mutex_lock(&fs->lock);
        if (error == 0) {
            kith_entry_gone(fs, entry);
        } else {
            entry->valid_until = 0; /* perhaps it happened */
            kith_watch_doubt(entry);
        }
        pthread_mutex_unlock(&fs->lock);
        if (error == 0 && !link && !pending) {
            kith_twin_part(fs, entry, inode);
        }
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        entry->pins--;
        pthread_mutex_unlock(&fs->lock);
        kith_inode_settle(fs, inode);
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_dir_give(fs, job->inode);
    kith_job_fail(job, error);
}

/* An unlink that no thread waits for: a job's state; its inode2 is the entry's inode, whose
 * row_busy is held, as is dir_busy. */
struct removal {
    struct kith_name_put put;
    struct kith_entry *entry; /* pinned */
    struct kith_rowname row, attr;
    struct kith_put_update updates[2];
    struct kith_arena arena;
};

static void removal_free(struct removal *removal)
{
    if (removal != NULL) {
        kith_arena_release(&removal->arena);
        kith_free(removal);
    }
}

/* result NULL: nothing had to be put. */
static int unlink_took(struct kith_job *job, int error, const struct kith_client_result *result)
{
    struct kith_fs *fs = job->fs;
    struct removal *removal = job->state;
    struct kith_entry *entry = removal->entry;
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && result != NULL &&
        !kith_octets_set(&entry->ctx, result->u.put.results[0].context)) {
        error = ENOMEM;
    }
    if (error == 0) {
        kith_entry_gone(fs, entry);
    } else {
        entry->valid_until = 0; /* perhaps it happened */
        kith_watch_doubt(entry);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static void unlink_end(struct kith_job *job, int error)
{
    struct kith_fs *fs = job->fs;
    struct removal *removal = job->state;
    pthread_mutex_lock(&fs->lock);
    removal->entry->pins--;
    kith_busy_give(fs, false, &job->inode2, 1);
    kith_busy_give(fs, true, &job->inode, 1);
    pthread_mutex_unlock(&fs->lock);
    kith_job_fail(job, error);
    kith_inode_settle_soon(fs, job->inode2);
    removal_free(removal);
}

/* fs->lock held. Known, of one name, and nobody is at work on it. */
static bool unlinks_now(const struct kith_inode *dir, const struct kith_entry *entry)
{
    const struct kith_inode *inode = entry != NULL ? entry->inode : NULL;
    return inode != NULL && !dir->dir_busy && !kith_conflicts_beside(entry) &&
           kith_entry_valid(entry, kith_mono_ns()) &&
           inode->type != KITH_TYPE_DIR && !entry->link && !inode->shared && !inode->row_busy &&
           inode->again == NULL &&
           !((inode->attrs.have & KITH_ATTR_XATTRS) != 0 && inode->attrs.xattrs);
}

/* fs->lock held. What is to be put; false when memory is short. */
static bool removal_make(struct removal *removal, struct kith_inode *dir, struct kith_entry *entry)
{
    struct kith_put_update *updates = removal->updates;
    kith_arena_init(&removal->arena, 0);
    kith_rowname_entry(kith_entry_bytes(entry), &removal->row);
    kith_rowname_attr(kith_rowname_bytes(&removal->row), &removal->attr);
    updates[0].name = kith_rowname_bytes(&removal->row);
    updates[0].context = kith_octets_bytes(&entry->ctx);
    updates[1].name = kith_rowname_bytes(&removal->attr);
    updates[1].context = kith_octets_bytes(&entry->inode->attr_ctx);
    struct kith_name_put *put = &removal->put;
    put->op.u.put.group = dir->dir->group;
    put->op.u.put.updates = updates;
    put->op.u.put.update_count = entry->inode->attr_row ? 2 : 1;
    put->inode = entry->inode;
    put->took = unlink_took;
    put->end = unlink_end;
    removal->entry = put->left = entry;
    bool ok = true;
    for (unsigned i = 0; i < 2; i++) { /* they may be read again meanwhile */
        struct kith_bytes *context = &updates[i].context;
        context->data = kith_arena_copy(&removal->arena, context->data, context->size);
        ok = ok && context->data != NULL;
    }
    return ok;
}

void kith_start_unlink(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct removal *removal = kith_calloc(1, sizeof *removal);
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_find(job->inode, job->name);
    bool now = removal != NULL && unlinks_now(job->inode, entry) &&
               removal_make(removal, job->inode, entry);
    bool pending = now && entry->inode->pending;
    if (now) {
        job->inode->dir_busy = entry->inode->row_busy = true;
        kith_entry_touch(fs, entry);
        entry->pins++;
        job->state = removal;
        job->inode2 = entry->inode;
        kith_inode_hold(job->inode2);
    }
    pthread_mutex_unlock(&fs->lock);
    if (!now) {
        removal_free(removal);
        kith_job_start(job);
        return;
    }
    kith_job_begin(job);
    if (pending) { /* the cluster never heard of it */
        unlink_end(job, unlink_took(job, 0, NULL));
        kith_job_end(job);
    } else {
        kith_name_put_send(job);
    }
}

/* A directory beside the one that bears the name gets a name of its own, as any that is removed. */
static int made_directory(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode;
    int error = kith_other_inode(fs, job->inode, job->name, &inode);
    if (error == 0) {
        error = inode->type != KITH_TYPE_DIR ? ENOTDIR : kith_dir_empty(fs, inode);
        pthread_mutex_lock(&fs->lock);
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    return error != 0 ? error : kith_other_part(fs, job->inode, job->name);
}

void kith_do_rmdir(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_entry *entry;
    struct kith_inode *inode;
    kith_dir_take(fs, job->inode);
    int error = kith_others_keep(fs, job->inode, job->name);
    if (error == 0) {
        error = victim(job, &entry, &inode);
    }
    if (error == ENOENT && kith_conflicts_like(fs, job->name)) {
        error = made_directory(job);
        error = error == 0 ? victim(job, &entry, &inode) : error;
    }
    if (error == 0) {
        error = inode->type != KITH_TYPE_DIR ? ENOTDIR : 0;
        pthread_mutex_lock(&fs->lock);
        kith_busy_take(fs, true, &inode, 1); /* downwards only: no circle */
        kith_busy_take(fs, false, &inode, 1);
        if (error == 0 && !kith_entry_leads(entry, inode)) {
            error = ESTALE; /* the kernel looks again */
            kith_entry_doubt(entry);
        }
        pthread_mutex_unlock(&fs->lock);
        if (error == 0) {
            error = kith_dir_remove(fs, inode);
            if (error == 0) {
                bool unknown = false;
                error = remove_rows(fs, entry, inode, &unknown);
                if (error != 0) {
                    kith_dir_restore(fs, inode, unknown);
                    pthread_mutex_lock(&fs->lock);
                    kith_watch_doubt(entry);
                    pthread_mutex_unlock(&fs->lock);
                }
            }
        }
        pthread_mutex_lock(&fs->lock);
        if (error == 0) {
            kith_entry_gone(fs, entry);
        }
        kith_busy_give(fs, false, &inode, 1);
        kith_busy_give(fs, true, &inode, 1);
        entry->pins--;
        kith_inode_drop(fs, inode);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_dir_give(fs, job->inode);
    kith_job_fail(job, error);
}
