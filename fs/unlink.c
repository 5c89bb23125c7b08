/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * unlink.c - one name less for a shared inode. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

static int note(struct kith_octets *octets, const struct kith_client_answer *answer, int at)
{
    return kith_octets_set(octets, answer->result.u.put.results[at].context) ? 0 : ENOMEM;
}

/* The name's row alone. */
static int remove_name(struct kith_fs *fs, struct kith_entry *entry)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_client_answer answer;
    if (batch == NULL) {
        return ENOMEM;
    }
    pthread_mutex_lock(&fs->lock);
    int at = kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(&entry->ctx), NULL, 0,
                            NULL, 0);
    struct kith_group group = entry->dir->dir->group;
    pthread_mutex_unlock(&fs->lock);
    int error = ENOMEM;
    if (at >= 0) {
        error = kith_batch_put(fs, batch, &group, &answer);
        pthread_mutex_lock(&fs->lock);
        error = error != 0 ? error : note(&entry->ctx, &answer, at);
        pthread_mutex_unlock(&fs->lock);
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

/* One batch: the name goes and the inode row has one name less. */
static int remove_one_here(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode,
                           struct kith_batch *batch, const struct kith_link_name names[],
                           uint32_t count, const struct kith_image *image)
{
    int row_at = kith_link_row(fs, batch, inode, names, count, image);
    pthread_mutex_lock(&fs->lock);
    int at = kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(&entry->ctx), NULL, 0,
                            NULL, 0);
    pthread_mutex_unlock(&fs->lock);
    int error = at < 0 || row_at < 0 ? ENOMEM : 0;
    if (error == 0 && count == 0) {
        error = kith_batch_attrs(fs, batch, NULL, inode, NULL);
    }
    if (error != 0) {
        return error;
    }
    struct kith_client_answer answer;
    error = kith_batch_put(fs, batch, &inode->share_group, &answer);
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        error = note(&entry->ctx, &answer, at);
        if (!kith_inode_moved_on(inode, answer.result.u.put.results[row_at].context)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        kith_inode_image_stored(fs, inode, image, &answer.result.u.put.results[row_at].dot,
                                KITH_DURABLE_OS);
    }
    kith_client_answer_release(&answer);
    return error;
}

/* The batch in which the last name takes the inode back: its row becomes the inode, the shared row
 * goes. */
static int build_back(struct kith_fs *fs, struct kith_batch *batch, struct kith_entry *entry,
                      struct kith_entry *last, struct kith_inode *inode,
                      const struct kith_image *image, int at[2])
{
    struct kith_inode_record record;
    struct kith_rowname row, to;
    struct kith_bytes value;
    kith_rowname_shared(inode->id, &row);
    kith_rowname_entry(kith_entry_bytes(last), &to);
    int error = kith_batch_attrs(fs, batch, batch, inode, &to);
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.name_count = 0;
    record.contents = image->bytes;
    at[0] = at[1] = -1;
    if (error == 0 && kith_batch_record(batch, &record, &value) == 0) {
        at[0] = kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(&entry->ctx), NULL,
                               0, NULL, 0);
        at[1] = kith_batch_add(batch, kith_entry_bytes(last), kith_octets_bytes(&last->ctx), &value,
                               KITH_SIBLING_VALUE, image->refs, image->ref_count);
        int gone = kith_batch_add(batch, kith_rowname_bytes(&row),
                                  kith_octets_bytes(kith_inode_ctx(inode)), NULL, 0, NULL, 0);
        if (at[0] < 0 || at[1] < 0 || gone < 0) {
            error = ENOMEM;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return error == 0 && at[1] < 0 ? ENOMEM : error;
}

static int take_back(struct kith_fs *fs, struct kith_entry *entry, struct kith_entry *last,
                     struct kith_inode *inode, struct kith_batch *batch,
                     const struct kith_image *image)
{
    int at[2];
    int error = build_back(fs, batch, entry, last, inode, image, at);
    if (error != 0) {
        return error;
    }
    struct kith_client_answer answer;
    error = kith_batch_put(fs, batch, &inode->share_group, &answer);
    if (error == 0) {
        const struct kith_put_result *result = &answer.result.u.put.results[at[1]];
        pthread_mutex_lock(&fs->lock);
        error = note(&entry->ctx, &answer, at[0]) | note(&last->ctx, &answer, at[1]);
        /* entry->link stays until the caller removes it; the inode is the other's now */
        kith_inode_hold(inode);
        kith_entry_lead(fs, entry, NULL);
        kith_entry_lead(fs, last, inode);
        kith_inode_drop(fs, inode);
        inode->entry = last;
        last->link = false;
        inode->shared = inode->share_own = false;
        inode->attr_row = false;
        kith_octets_clear(&inode->attr_ctx);
        if (!kith_inode_names_set(inode, NULL, 0) || !kith_inode_moved_on(inode, result->context)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        kith_inode_image_stored(fs, inode, image, &result->dot, KITH_DURABLE_OS);
    }
    kith_client_answer_release(&answer);
    return error;
}

/* The one name that is left, read and pinned. */
static int last_entry(struct kith_fs *fs, struct kith_inode *dir, const struct kith_link_name *name,
                      struct kith_entry **ret_entry)
{
    char text[KITH_FS_NAME_MAX + 1];
    memcpy(text, name->name.data, name->name.size);
    text[name->name.size] = '\0';
    return kith_dir_entry(fs, dir, text, ret_entry);
}

static int remove_here(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode,
                       struct kith_batch *batch, const struct kith_link_name names[],
                       uint32_t count, const struct kith_image *image)
{
    if (count == 1) {
        struct kith_entry *last;
        int error = last_entry(fs, entry->dir, &names[0], &last);
        if (error != 0) {
            return error;
        }
        bool fits = last->inode == inode && last->link && kith_entry_current(last);
        if (fits) {
            error = take_back(fs, entry, last, inode, batch, image);
        }
        if (error != 0) {
            pthread_mutex_lock(&fs->lock);
            last->valid_until = 0; /* perhaps it happened */
            kith_watch_doubt(last);
            pthread_mutex_unlock(&fs->lock);
        }
        kith_entry_unpin(fs, last);
        if (fits) {
            return error;
        }
    }
    int error = remove_one_here(fs, entry, inode, batch, names, count, image);
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && !kith_inode_names_set(inode, names, count)) {
        error = ENOMEM;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int kith_link_remove(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode)
{
    struct kith_batch *batch = kith_batch_new();
    struct kith_image image;
    uint32_t count = 0;
    if (batch == NULL) {
        return ENOMEM;
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_link_name *names = kith_link_names_with(&batch->arena, inode, entry, NULL, &count);
    bool own = inode->share_own;
    pthread_mutex_unlock(&fs->lock);
    int error = names == NULL ? ENOMEM : 0;
    if (error == 0 && !own) {
        error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image);
    }
    if (error == 0 && own) {
        error = remove_name(fs, entry);
        if (error == 0) {
            kith_link_tell(fs, inode, names, count);
        }
    } else if (error == 0) {
        error = remove_here(fs, entry, inode, batch, names, count, &image);
    }
    kith_batch_free(batch);
    return error;
}
