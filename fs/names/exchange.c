/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange.c - RENAME_EXCHANGE within a directory: one batch in which each name gets the other's
 * record, or its reference where the other is one of several names of an inode.
 *
 * The row of such a shared inode stays where it is and gets its new set of names: in the same batch
 * where it lies in the directory's group, else in a put of its own afterwards (as in a rename). */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

struct side {
    struct kith_entry *entry, *other; /* the name it has; the name it gets */
    struct kith_inode *inode;
    struct kith_image image;
    bool link;
    const struct kith_link_name *names; /* link: afterwards; in the batch's arena */
    uint32_t name_count;
    int at, row_at; /* places in the batch: the other name's row; a link's inode row or -1 */
};

/* Adds what `side`'s inode becomes under the other name. */
static int add_record(struct kith_fs *fs, struct kith_batch *batch, struct side *side)
{
    struct kith_inode_record record;
    struct kith_bytes value;
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(side->inode, &record);
    record.contents = side->image.bytes;
    int error = kith_batch_record(batch, &record, &value);
    if (error == 0) {
        side->at = kith_batch_add(batch, kith_entry_bytes(side->other),
                                  kith_octets_bytes(kith_entry_ctx(side->other)), &value,
                                  KITH_SIBLING_VALUE, side->image.refs, side->image.ref_count);
        error = side->at < 0 ? ENOMEM : 0;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* The reference under the other name, and the inode's row where it is in the same group. */
static int add_link(struct kith_fs *fs, struct kith_batch *batch, struct side *side)
{
    struct kith_inode *inode = side->inode;
    pthread_mutex_lock(&fs->lock);
    side->names = kith_link_names_with(&batch->arena, inode, side->entry, side->other,
                                       &side->name_count);
    side->at = kith_link_name_row(fs, batch, side->other, kith_entry_ctx(side->other), inode,
                                  &inode->share_group);
    pthread_mutex_unlock(&fs->lock);
    if (side->names == NULL || side->at < 0) {
        return ENOMEM;
    }
    if (!inode->share_own) {
        side->row_at =
            kith_link_row(fs, batch, inode, side->names, side->name_count, &side->image);
        return side->row_at < 0 ? ENOMEM : 0;
    }
    return 0;
}

static int add_side(struct kith_fs *fs, struct kith_batch *batch, struct side *side)
{
    int error = kith_inode_image(fs, side->inode, KITH_DURABLE_OS, &batch->arena, &side->image);
    if (error == 0) {
        error = side->link ? add_link(fs, batch, side) : add_record(fs, batch, side);
    }
    return error;
}

/* The attribute rows change places, too; those of a shared inode stand beside its row. */
static int add_attrs(struct kith_fs *fs, struct kith_batch *batch, struct side *side)
{
    struct kith_rowname to;
    if (side->link) {
        return 0;
    }
    kith_rowname_entry(kith_entry_bytes(side->other), &to);
    return kith_batch_attrs(fs, batch, batch, side->inode, &to);
}

/* The names of shared inodes whose rows are in groups of their own. */
static void tell_names(struct kith_fs *fs, struct side sides[2])
{
    for (unsigned i = 0; i < 2; i++) {
        if (sides[i].link && sides[i].row_at < 0) {
            kith_link_tell(fs, sides[i].inode, sides[i].names, sides[i].name_count,
                           &sides[i].image);
        }
    }
}

/* fs->lock held. One side after the put; false when memory is short. */
static bool settle_side(struct kith_fs *fs, struct side *side,
                        const struct kith_put_result results[])
{
    struct kith_inode *inode = side->inode;
    struct kith_entry *name = side->other;
    bool ok = kith_octets_set(&name->ctx, results[side->at].context);
    kith_entry_lead(fs, name, inode);
    name->link = false;
    if (side->link) {
        kith_entry_refer(name, &inode->share_group);
    }
    inode->entry = name;
    name->changed_at = inode->changed_at = kith_mono_ns();
    name->valid_until = name->changed_at + fs->entry_ns;
    if (!side->link) {
        inode->attr_row = false; /* the record has it all */
        kith_octets_clear(&inode->attr_ctx);
        return kith_inode_moved_on(inode, results[side->at].context) && ok;
    }
    if (side->row_at >= 0) {
        ok = kith_inode_moved_on(inode, results[side->row_at].context) && ok;
        ok = kith_inode_names_set(inode, side->names, side->name_count) && ok;
    }
    return ok;
}

static int settle(struct kith_fs *fs, struct side sides[2], const struct kith_client_answer *answer)
{
    const struct kith_put_result *results = answer->result.u.put.results;
    bool ok = true;
    pthread_mutex_lock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        kith_entry_lead(fs, sides[i].entry, NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        ok = settle_side(fs, &sides[i], results) && ok;
    }
    kith_dir_changed(fs, sides[0].entry->dir, 0);
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        int at = sides[i].link ? sides[i].row_at : sides[i].at;
        if (at >= 0) {
            kith_inode_image_stored(fs, sides[i].inode, &sides[i].image, &results[at].dot,
                                    KITH_DURABLE_OS);
        }
    }
    return ok ? 0 : ENOMEM;
}

static int do_exchange(struct kith_fs *fs, struct kith_batch *batch, struct side sides[2])
{
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    for (unsigned i = 0; i < 2; i++) {
        kith_inode_named(sides[i].inode);
    }
    pthread_mutex_unlock(&fs->lock);
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = add_side(fs, batch, &sides[i]);
    }
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = add_attrs(fs, batch, &sides[i]);
    }
    if (error != 0) {
        return error;
    }
    struct kith_client_answer answer;
    error = kith_batch_put(fs, batch, &sides[0].entry->dir->dir->group, &answer);
    if (error == 0) {
        error = settle(fs, sides, &answer);
        tell_names(fs, sides);
    } else {
        pthread_mutex_lock(&fs->lock);
        sides[0].entry->valid_until = sides[1].entry->valid_until = 0; /* perhaps it happened */
        kith_watch_doubt(sides[0].entry);
        kith_watch_doubt(sides[1].entry);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_client_answer_release(&answer);
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        if (sides[i].inode->type == KITH_TYPE_DIR) {
            kith_dir_tell(fs, sides[i].inode, sides[i].other->name);
        }
    }
    return error;
}

int kith_exchange(struct kith_fs *fs, struct kith_entry *a, struct kith_entry *b)
{
    struct side sides[2] = {{.entry = a, .other = b, .row_at = -1},
                            {.entry = b, .other = a, .row_at = -1}};
    struct kith_inode *both[2] = {a->inode, b->inode};
    for (unsigned i = 0; i < 2; i++) {
        sides[i].inode = both[i];
    }
    struct kith_batch *batch = kith_batch_new();
    if (batch == NULL) {
        return ENOMEM;
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, false, both, 2);
    pthread_mutex_unlock(&fs->lock);
    int error = 0;
    for (unsigned i = 0; i < 2 && error == 0; i++) {
        error = kith_inode_put_again(fs, both[i]);
        error = error == 0 ? kith_inode_renew(fs, both[i]) : error;
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && (!kith_entry_leads(a, both[0]) || !kith_entry_leads(b, both[1]))) {
        error = ESTALE;
    }
    sides[0].link = a->link;
    sides[1].link = b->link;
    pthread_mutex_unlock(&fs->lock);
    if (error == 0) {
        error = do_exchange(fs, batch, sides);
    }
    kith_batch_free(batch);
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, both, 2);
    pthread_mutex_unlock(&fs->lock);
    return error;
}
