/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link_remove.c - one name less for a shared inode. */
#include <errno.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

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
        error = error != 0 ? error : kith_batch_note(&entry->ctx, &answer, at);
        pthread_mutex_unlock(&fs->lock);
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

/* What the removal of the row has not seen comes back under the name that went with it. */
static void left(struct kith_fs *fs, const struct kith_inode *inode,
                 const struct kith_entry *entry, const struct kith_image *image,
                 struct kith_bytes context)
{
    const struct kith_link_at was = {entry->dir->dir->group, false, inode->share_id};
    const struct kith_link_name name = {entry->dir->dir->group, kith_entry_bytes(entry)};
    if (!kith_context_is_alone(context)) {
        pthread_mutex_lock(&fs->lock);
        kith_link_left(fs, &was, &name, image->bytes);
        pthread_mutex_unlock(&fs->lock);
    }
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
        error = kith_batch_note(&entry->ctx, &answer, at);
        const struct kith_put_result *row = &answer.result.u.put.results[row_at];
        if (!kith_inode_moved_on(inode, row->context) ||
            !kith_inode_names_set(inode, names, count)) {
            error = ENOMEM;
        }
        pthread_mutex_unlock(&fs->lock);
        kith_inode_image_stored(fs, inode, image, &row->dot, KITH_DURABLE_OS);
        if (count == 0) {
            left(fs, inode, entry, image, row->context);
        }
    }
    kith_client_answer_release(&answer);
    return error;
}

/* The batch in which the last name takes the inode back: its row becomes the inode, the shared row
 * goes. */
static int build_back(struct kith_fs *fs, struct kith_batch *batch, struct kith_entry *entry,
                      struct kith_entry *last, struct kith_inode *inode,
                      const struct kith_image *image, int at[3])
{
    struct kith_inode_record record;
    struct kith_rowname row, to;
    struct kith_bytes value;
    kith_rowname_shared(inode->share_id, &row);
    kith_rowname_entry(kith_entry_bytes(last), &to);
    int error = kith_batch_attrs(fs, batch, batch, inode, &to);
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.file_id = inode->id;
    record.name_count = 0;
    record.contents = image->bytes;
    at[0] = at[1] = at[2] = -1;
    if (error == 0 && kith_batch_record(batch, &record, &value) == 0) {
        at[0] = kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(&entry->ctx), NULL,
                               0, NULL, 0);
        at[1] = kith_batch_add(batch, kith_entry_bytes(last), kith_octets_bytes(&last->ctx), &value,
                               KITH_SIBLING_VALUE, image->refs, image->ref_count);
        at[2] = kith_batch_add(batch, kith_rowname_bytes(&row),
                               kith_octets_bytes(kith_inode_ctx(inode)), NULL, 0, NULL, 0);
        if (at[0] < 0 || at[1] < 0 || at[2] < 0) {
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
    int at[3];
    int error = build_back(fs, batch, entry, last, inode, image, at);
    if (error != 0) {
        return error;
    }
    struct kith_client_answer answer;
    error = kith_batch_put(fs, batch, &inode->share_group, &answer);
    if (error == 0) {
        const struct kith_put_result *result = &answer.result.u.put.results[at[1]];
        pthread_mutex_lock(&fs->lock);
        error = kith_batch_note(&entry->ctx, &answer, at[0]) |
                kith_batch_note(&last->ctx, &answer, at[1]);
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
        left(fs, inode, entry, image, answer.result.u.put.results[at[2]].context);
    }
    kith_client_answer_release(&answer);
    return error;
}

static uint32_t leads_besides(const struct kith_linkset *set, const struct kith_entry *entry)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < set->seen.record.name_count; i++) {
        bool it = kith_bytes_equal(set->seen.record.names[i].name, kith_entry_bytes(entry));
        count += set->states[i] == KITH_LINK_LEADS && !it ? 1 : 0;
    }
    return count;
}

/* Perhaps one name is left: what refers to the row is looked at first. Where all others are hidden
 * under newer files they stay, for now: else nothing would say that the file had a name that nobody
 * has removed, and that it comes back (linkset.c). */
static int remove_last(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode,
                       struct kith_batch *batch, const struct kith_image *image)
{
    struct kith_linkset set;
    struct kith_entry *last[KITH_LINKS_MAX];
    struct kith_link_name names[KITH_LINKS_MAX];
    int error = kith_linkset_read(fs, &inode->share_group, false, inode->share_id, &set);
    if (error != 0 || !set.live) {
        kith_linkset_free(&set);
        return error != 0 ? error : ESTALE; /* taken back elsewhere just now */
    }
    error = leads_besides(&set, entry) > 0 ? kith_linkset_drop(fs, &set) : 0;
    if (error != 0) {
        kith_linkset_free(&set);
        return error;
    }
    uint32_t count = kith_linkset_names(&set, entry, names);
    uint32_t pinned = count == 1 ? kith_linkset_pin(fs, entry->dir, inode, &set, entry, last) : 0;
    if (pinned == 1) {
        error = take_back(fs, entry, last[0], inode, batch, image);
    } else {
        error = remove_one_here(fs, entry, inode, batch, names, count, image);
    }
    if (pinned == 1) {
        pthread_mutex_lock(&fs->lock);
        if (error != 0) { /* perhaps it happened */
            last[0]->valid_until = 0;
            kith_watch_doubt(last[0]);
        }
        last[0]->pins--;
        pthread_mutex_unlock(&fs->lock);
    }
    kith_linkset_free(&set);
    return error;
}

static int remove_here(struct kith_fs *fs, struct kith_entry *entry, struct kith_inode *inode,
                       struct kith_batch *batch, const struct kith_link_name names[],
                       uint32_t count, const struct kith_image *image)
{
    if (count == 1) {
        return remove_last(fs, entry, inode, batch, image);
    }
    return remove_one_here(fs, entry, inode, batch, names, count, image);
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
    kith_inode_named(inode);
    bool own = inode->share_own;
    pthread_mutex_unlock(&fs->lock);
    int error = names == NULL ? ENOMEM : 0;
    if (error == 0 && !own) {
        error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &batch->arena, &image);
    }
    if (error == 0 && own) {
        error = remove_name(fs, entry);
        if (error == 0) {
            kith_twin_part(fs, entry, inode); /* before the row goes */
            kith_link_tell(fs, inode, names, count, NULL);
        }
    } else if (error == 0) {
        error = remove_here(fs, entry, inode, batch, names, count, &image);
        if (error == 0) {
            kith_twin_part(fs, entry, inode);
        }
    }
    kith_batch_free(batch);
    return error;
}
