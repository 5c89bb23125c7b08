/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange.c - RENAME_EXCHANGE within a directory: one batch in which each name gets the other's
 * record. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

struct side {
    struct kith_entry *entry, *other; /* the name it has; the name it gets */
    struct kith_inode *inode;
    struct kith_image image;
    int at;
};

/* Adds what `side`'s inode becomes under the other name. */
static int add_side(struct kith_fs *fs, struct kith_batch *batch, struct side *side)
{
    struct kith_inode_record record;
    struct kith_bytes value;
    int error = kith_inode_image(fs, side->inode, KITH_DURABLE_OS, &batch->arena, &side->image);
    if (error != 0) {
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(side->inode, &record);
    record.contents = side->image.bytes;
    error = kith_batch_record(batch, &record, &value);
    if (error == 0) {
        side->at = kith_batch_add(batch, kith_entry_bytes(side->other),
                                  kith_octets_bytes(&side->other->ctx), &value, KITH_SIBLING_VALUE,
                                  side->image.refs, side->image.ref_count);
        error = side->at < 0 ? ENOMEM : 0;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* The attribute rows change places, too. */
static int add_attrs(struct kith_fs *fs, struct kith_batch *batch, struct side *side)
{
    struct kith_rowname to;
    kith_rowname_entry(kith_entry_bytes(side->other), &to);
    return kith_batch_attrs(fs, batch, batch, side->inode, &to);
}

static int settle(struct kith_fs *fs, struct side sides[2], const struct kith_client_answer *answer)
{
    bool ok = true;
    pthread_mutex_lock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        kith_entry_lead(fs, sides[i].entry, NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct side *side = &sides[i];
        struct kith_bytes context = answer->result.u.put.results[side->at].context;
        kith_entry_lead(fs, side->other, side->inode);
        side->inode->entry = side->other;
        ok = kith_octets_set(&side->other->ctx, context) && ok;
        ok = kith_inode_moved_on(side->inode, context) && ok;
        side->inode->attr_row = false;
        kith_octets_clear(&side->inode->attr_ctx);
    }
    kith_dir_changed(sides[0].entry->dir);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        kith_inode_image_stored(fs, sides[i].inode, &sides[i].image,
                                &answer->result.u.put.results[sides[i].at].dot, KITH_DURABLE_OS);
    }
    return ok ? 0 : ENOMEM;
}

int kith_exchange(struct kith_fs *fs, struct kith_entry *a, struct kith_entry *b)
{
    if (a->link || b->link) {
        return EINVAL; /* names of shared inodes: not offered, programs fall back to two renames */
    }
    struct side sides[2] = {{.entry = a, .other = b, .inode = a->inode},
                            {.entry = b, .other = a, .inode = b->inode}};
    struct kith_inode *both[2] = {a->inode, b->inode};
    struct kith_batch *batch = kith_batch_new();
    if (batch == NULL) {
        return ENOMEM;
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, false, both, 2);
    struct kith_group group = a->dir->dir->group;
    pthread_mutex_unlock(&fs->lock);
    int error = 0;
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = add_side(fs, batch, &sides[i]);
    }
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = add_attrs(fs, batch, &sides[i]);
    }
    if (error == 0) {
        struct kith_client_answer answer;
        error = kith_batch_put(fs, batch, &group, &answer);
        if (error == 0) {
            error = settle(fs, sides, &answer);
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, both, 2);
    pthread_mutex_unlock(&fs->lock);
    return error;
}
