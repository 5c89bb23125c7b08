/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * tell.c - rows that are told of a change of names after it.
 *
 * A directory's own row says where the directory is, and the row of a shared inode in a group of
 * its own which names it has. Neither lies in the group in which the names change, so it gets a put
 * of its own afterwards. Where that fails the change counts all the same: the inode is "untold",
 * and the timer puts its row. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define UNTOLD_RETRY_NS NSEC_PER_SEC

void kith_inode_untold(struct kith_fs *fs, struct kith_inode *inode, int error)
{
    pthread_mutex_lock(&fs->lock);
    inode->untold = true;
    inode->retry_at = kith_mono_ns() + UNTOLD_RETRY_NS;
    kith_unput_note(inode, error, NULL);
    kith_inode_enqueue(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    kith_put_failed(fs, inode, error);
}

/* fs->lock held. The last name has gone, and the row could not be told so: what was seen of it goes
 * later, and what came since comes back. It must not be read again for that. */
static void tell_later(struct kith_fs *fs, struct kith_inode *inode, struct kith_bytes contents)
{
    const struct kith_link_at was = {inode->share_group, inode->share_own, inode->share_id};
    if (inode->name_count > 0) {
        kith_link_left_later(fs, &was, &inode->names[0], contents, UNTOLD_RETRY_NS);
    }
}

void kith_link_tell(struct kith_fs *fs, struct kith_inode *inode,
                    const struct kith_link_name names[], uint32_t count,
                    const struct kith_image *image)
{
    struct kith_arena arena;
    struct kith_image now;
    bool added = image != NULL;
    int error = 0;
    kith_arena_init(&arena, 0);
    if (!added) {
        error = kith_inode_image(fs, inode, KITH_DURABLE_OS, &arena, &now);
        image = &now;
    }
    bool known = error == 0;
    error = error == 0 ? kith_link_put(fs, inode, names, count, image) : error;
    bool told = error == 0;
    error = error == ESTALE ? 0 : error; /* there is no row any more, nor who would tell it */
    pthread_mutex_lock(&fs->lock);
    if (told && !added) {
        inode->took = true;
        inode->took_dot = inode->dot;
    }
    if (error != 0 && count == 0 && known) {
        tell_later(fs, inode, image->bytes);
        error = 0;
    }
    if (!kith_inode_names_set(inode, names, count) && error == 0) {
        error = ENOMEM; /* the old ones stay in memory: put again, they do no harm */
    }
    inode->unlinked = inode->unlinked || (error == 0 && count == 0);
    pthread_mutex_unlock(&fs->lock);
    kith_arena_release(&arena);
    if (error != 0) {
        kith_inode_untold(fs, inode, error);
    }
}

/* That row again, from memory. */
static int retell_names(struct kith_fs *fs, struct kith_inode *inode)
{
    int error = 0;
    if (inode->name_count > 0) { /* with the contents that others have put since */
        error = kith_inode_renew(fs, inode);
    }
    /* ESTALE: another mount removed its last name, there is no row any more */
    if (error == 0) {
        error = kith_link_put_names(fs, inode, inode->names, inode->name_count);
    }
    return error == ESTALE ? 0 : error;
}

int kith_dir_tell_first(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_inode *parent, const char *name)
{
    struct kith_client_answer answer;
    struct kith_arena arena;
    struct kith_bytes self = kith_bytes_make(NULL, 0), context = self;
    kith_arena_init(&arena, 0);
    int error = kith_rows_get(fs, &inode->dir->group, &self, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_row bare = {row->clock, 0, NULL};
        error = kith_errno(kith_row_context(&arena, &bare, NULL, &context));
    }
    if (error == 0) {
        error = kith_dir_put_own(fs, inode, parent, name, false, context);
    }
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

void kith_dir_tell(struct kith_fs *fs, struct kith_inode *inode, const char *name)
{
    int error = kith_dir_tell_first(fs, inode, NULL, name);
    if (error != 0) {
        kith_inode_untold(fs, inode, error);
    }
}

/* The same later, under the name that it has by then. */
static int tell_directory_now(struct kith_fs *fs, struct kith_inode *inode)
{
    char name[KITH_FS_NAME_MAX + 1];
    pthread_mutex_lock(&fs->lock);
    bool named = inode->entry != NULL;
    if (named) {
        memcpy(name, inode->entry->name, inode->entry->name_size + 1u);
    }
    bool marked = inode->dir->mark.size > 0;
    pthread_mutex_unlock(&fs->lock);
    if (marked) {
        return kith_dir_unmark(fs, inode);
    }
    return named ? kith_dir_tell_first(fs, inode, NULL, name) : 0;
}

int kith_inode_tell(struct kith_fs *fs, struct kith_inode *inode)
{
    int error = 0;
    if (inode->type == KITH_TYPE_DIR) {
        error = tell_directory_now(fs, inode);
    } else if (inode->shared) {
        error = retell_names(fs, inode);
    }
    if (error == 0) {
        pthread_mutex_lock(&fs->lock);
        inode->untold = false;
        inode->unlinked = inode->unlinked || (inode->shared && inode->name_count == 0);
        pthread_mutex_unlock(&fs->lock);
    }
    return error;
}
