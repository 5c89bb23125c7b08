/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link.c - hard links: several names that refer to one inode row.
 *
 * Within a directory the inode row lies in the directory's group (NUL i ID), so that a link or
 * unlink is one batch; the last name but one takes the inode back. A name in another directory
 * moves the inode to a group of its own (link_out.c): inode row first, then the new name, then the
 * old ones. The inode row holds the set of its names; their number is the link count. */
#include <errno.h>

#include "fs/conflicts/conflicts.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* fs->lock held. Whether the name that is added is still none: what another mount has put there
 * since was perhaps seen meanwhile. */
static int still_free(const struct kith_entry *added)
{
    return added->inode != NULL ? EEXIST : kith_entry_leads(added, NULL) ? 0 : ESTALE;
}

/* The first second name, in the same directory: one batch. */
static int link_first_here(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added)
{
    struct kith_batch *batch = kith_batch_new();
    if (batch == NULL) {
        return ENOMEM;
    }
    struct kith_entry *first = inode->entry;
    struct kith_group group = added->dir->dir->group;
    struct kith_image image;
    struct kith_rowname row;
    struct kith_inode_record record;
    struct kith_bytes value;
    uint32_t count = 0;
    kith_rowname_shared(inode->id, &row);
    int first_at = -1, added_at = -1, row_at = -1;
    int error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image);
    if (error == 0 && !inode->pending) {
        error = kith_batch_attrs(fs, batch, batch, inode, &row);
    }
    pthread_mutex_lock(&fs->lock);
    inode->name_count = 0;
    struct kith_link_name names[2] = {{group, kith_entry_bytes(first)},
                                      {group, kith_entry_bytes(added)}};
    if (kith_link_name_compare(&names[0], &names[1]) > 0) {
        struct kith_link_name swap = names[0];
        names[0] = names[1];
        names[1] = swap;
    }
    count = 2;
    kith_inode_record_of(inode, &record);
    record.names = names;
    record.name_count = count;
    record.contents = image.bytes;
    if (error == 0) {
        error = still_free(added);
    }
    if (error == 0 && kith_batch_record(batch, &record, &value) == 0) {
        first_at = kith_link_name_row(fs, batch, first, kith_entry_ctx(first), inode, &group);
        added_at = kith_link_name_row(fs, batch, added, &added->ctx, inode, &group);
        row_at = kith_batch_add(batch, kith_rowname_bytes(&row), kith_bytes_make(NULL, 0), &value,
                                KITH_SIBLING_VALUE, image.refs, image.ref_count);
    }
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && (first_at < 0 || added_at < 0 || row_at < 0)) {
        error = ENOMEM;
    }
    if (error == 0) {
        struct kith_client_answer answer;
        error = kith_batch_put(fs, batch, &group, &answer);
        if (error == 0) {
            const struct kith_put_result *result = &answer.result.u.put.results[row_at];
            pthread_mutex_lock(&fs->lock);
            kith_link_share(inode, &group, false);
            error = kith_batch_note(&first->ctx, &answer, first_at) |
                    kith_batch_note(&added->ctx, &answer, added_at);
            kith_entry_refer(first, &group);
            if (!kith_inode_moved_on(inode, result->context) ||
                !kith_inode_names_set(inode, names, count)) {
                error = ENOMEM;
            }
            pthread_mutex_unlock(&fs->lock);
            kith_inode_image_stored(fs, inode, &image, &result->dot, KITH_DURABLE_OS);
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

/* The name's row refers to the inode; in the batch as its only update, or with the inode's row. */
static int put_more(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added,
                    struct kith_batch *batch, int row_at, const struct kith_image *image,
                    bool *ret_unknown)
{
    struct kith_client_answer answer;
    pthread_mutex_lock(&fs->lock);
    struct kith_group group = added->dir->dir->group;
    int error = still_free(added);
    int at = -1;
    if (error == 0) {
        at = kith_link_name_row(fs, batch, added, &added->ctx, inode, &inode->share_group);
    }
    pthread_mutex_unlock(&fs->lock);
    if (at < 0) {
        return error != 0 ? error : ENOMEM;
    }
    error = kith_batch_put(fs, batch, &group, &answer);
    *ret_unknown = answer.result.err == KITH_EUNKNOWN;
    const struct kith_put_result *results = answer.result.u.put.results;
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        error = kith_batch_note(&added->ctx, &answer, at);
        if (row_at >= 0 && !kith_inode_moved_on(inode, results[row_at].context)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        if (row_at >= 0) {
            kith_inode_image_stored(fs, inode, image, &results[row_at].dot, KITH_DURABLE_OS);
        }
    }
    kith_client_answer_release(&answer);
    return error;
}

/* A further name for an inode that is shared already. In a group of its own the row learns of the
 * name first: a name that it does not have might be counted for none when another goes. */
static int link_more(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_image image;
    uint32_t count = 0;
    if (batch == NULL) {
        return ENOMEM;
    }
    int error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image);
    pthread_mutex_lock(&fs->lock);
    struct kith_link_name *names = kith_link_names_with(&batch->arena, inode, NULL, added, &count);
    bool own = inode->share_own, unknown = false, told = false;
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && names == NULL) {
        error = ENOMEM;
    }
    int row_at = -1;
    if (error == 0 && own) {
        error = kith_link_put(fs, inode, names, count, &image);
        told = error == 0;
    } else if (error == 0) {
        row_at = kith_link_row(fs, batch, inode, names, count, &image);
        error = row_at < 0 ? ENOMEM : 0;
    }
    if (error == 0) {
        error = put_more(fs, inode, added, batch, row_at, &image, &unknown);
    }
    /* who removed the last other name before this one was there saw the row */
    if (error == 0 && own) {
        error = kith_link_put(fs, inode, names, count, &image);
        if (error != 0) {
            kith_inode_untold(fs, inode, error);
            error = 0;
        }
    }
    bool taken_back = error != 0 && told && !unknown;
    pthread_mutex_lock(&fs->lock);
    if ((error == 0 || told) && !taken_back && !kith_inode_names_set(inode, names, count)) {
        error = ENOMEM;
    }
    if (taken_back) {
        names = kith_link_names_with(&batch->arena, inode, added, NULL, &count);
    }
    pthread_mutex_unlock(&fs->lock);
    if (taken_back && names != NULL) {
        kith_link_tell(fs, inode, names, count, &image);
    }
    kith_batch_free(batch);
    return error;
}

static int link_entry(struct kith_fs *fs, struct kith_inode *inode, struct kith_entry *added)
{
    pthread_mutex_lock(&fs->lock);
    bool elsewhere = inode->entry != NULL && inode->entry->dir != added->dir;
    bool shared = inode->shared, own = shared && inode->share_own;
    bool full = shared && inode->name_count >= KITH_LINKS_MAX;
    bool lost = inode->unlinked || (inode->entry == NULL && !own);
    bool taken = added->inode != NULL;
    bool removed = added->dir->dir->removed;
    struct kith_entry *first = inode->entry;
    bool over = !lost && !own && !kith_entry_leads(first, inode);
    if (over) {
        kith_entry_doubt(first);
    }
    pthread_mutex_unlock(&fs->lock);
    int error = taken             ? EEXIST
                : full            ? EMLINK
                : lost || removed ? ENOENT
                : over            ? ESTALE /* the kernel looks again */
                                  : 0;
    bool refused = error != 0;
    if (!refused) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_named(inode);
        pthread_mutex_unlock(&fs->lock);
    }
    if (error == 0 && elsewhere && !own) {
        error = shared ? kith_link_promote(fs, inode)
                       : kith_link_move_out(fs, inode, first->dir, &first, 1, false);
        shared = true;
    }
    if (error == 0) {
        error = shared ? link_more(fs, inode, added) : link_first_here(fs, inode, added);
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0) {
        kith_entry_lead(fs, added, inode);
        kith_entry_refer(added, &inode->share_group);
        added->changed_at = inode->changed_at = kith_mono_ns();
        added->valid_until = added->changed_at + fs->entry_ns;
        kith_dir_changed(fs, added->dir, 0);
    } else {
        added->valid_until = 0;
        if (!refused) {
            kith_watch_doubt(added);
            if (inode->entry != NULL) {
                kith_watch_doubt(inode->entry);
            }
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* fs->lock held. Takes the directory of the new name and that of the inode's, held. */
static void take_homes(struct kith_job *job, struct kith_inode *dirs[2])
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    dirs[0] = job->inode2;
    for (;;) {
        struct kith_inode *home = inode->entry != NULL ? inode->entry->dir : NULL;
        dirs[1] = home != job->inode2 ? home : NULL;
        if (dirs[1] != NULL) {
            kith_inode_hold(dirs[1]);
        }
        kith_busy_take(fs, true, dirs, 2);
        if (home == (inode->entry != NULL ? inode->entry->dir : NULL)) {
            return;
        }
        kith_busy_give(fs, true, dirs, 2); /* renamed while this waited */
        if (dirs[1] != NULL) {
            kith_inode_drop(fs, dirs[1]);
        }
    }
}

void kith_do_link(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    struct kith_entry *added = NULL;
    struct kith_inode *dirs[2];
    pthread_mutex_lock(&fs->lock);
    take_homes(job, dirs);
    pthread_mutex_unlock(&fs->lock);
    int error = inode->type == KITH_TYPE_DIR ? EPERM : 0;
    if (error == 0) {
        error = kith_name_fresh_in(fs, job->inode2, job->name, &added);
    }
    if (error == 0) {
        error = kith_other_taken(fs, job->inode2, job->name);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        kith_busy_take(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        error = kith_inode_put_again(fs, inode);
        if (error == 0) {
            error = kith_inode_renew(fs, inode);
        }
        if (error == 0) {
            error = link_entry(fs, inode, added);
        }
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        pthread_mutex_unlock(&fs->lock);
        kith_entry_unpin(fs, added);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, true, dirs, 2);
    if (dirs[1] != NULL) {
        kith_inode_drop(fs, dirs[1]);
    }
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_entry(job, inode, kith_mono_ns() + fs->entry_ns, false);
    }
}
