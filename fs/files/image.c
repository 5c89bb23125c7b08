/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * image.c - the contents of a file as its row has them: made for a put, and taken note of when it
 * is stored.
 *
 * Those of an open file come from its content, which sends the chunks out first; those of a closed
 * one from memory, or they are read again. How much may stay in the row depends on what else is in
 * it: names, and other versions. */
#include <errno.h>
#include <string.h>

#include "format/acl.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define NAME_COST 24u /* bytes of a name of a shared inode beside the name itself */
#define SIBLING_INLINE_MAX                                                                         \
    4096u /* DESIGN section 2: a second sibling's contents above go to chunks */

#define ATTRS_COST 512u /* bytes of attributes without their ACL, and of what else a row has */

_Static_assert(KITH_INLINE_VALUE_MAX >= IMAGE_MAX + KITH_ACL_SIZE_MAX + ATTRS_COST +
                                            KITH_LINKS_MAX * (KITH_FS_NAME_MAX + NAME_COST),
               "an image that memory holds has room in the row beside all names and an ACL");

/* What the names of a shared inode and an ACL leave of the row. One more name that is being added
 * is not counted: KITH_CONTENT_INLINE_MAX has room for it. fs->lock held. */
static size_t room_beside_names(const struct kith_inode *inode)
{
    size_t names = inode->attrs.acl_size;
    for (uint32_t i = 0; i < inode->name_count && inode->shared; i++) {
        names += inode->names[i].name.size + NAME_COST;
    }
    return names < KITH_CONTENT_INLINE_MAX ? KITH_CONTENT_INLINE_MAX - names : 0;
}

/* How much contents may stay in the row. fs->lock held. */
static size_t inline_max(struct kith_inode *inode, struct kith_arena *arena)
{
    size_t max = room_beside_names(inode);
    struct kith_row context;
    struct kith_octets *ctx = kith_inode_ctx(inode);
    enum kith_err err = kith_row_decode(arena, kith_octets_bytes(ctx), &context);
    if ((err != KITH_OK || context.sibling_count > 0) && max > SIBLING_INLINE_MAX) {
        max = SIBLING_INLINE_MAX;
    }
    return max;
}

static void image_made(const struct kith_content_image *from, struct kith_image *ret_image)
{
    ret_image->bytes = from->encoded;
    ret_image->refs = from->refs;
    ret_image->ref_count = from->ref_count;
    ret_image->size = from->size;
    ret_image->allocated = from->allocated;
}

/* Stored contents that leave no room for the names or the ACL of their inode go to chunks. */
static int make_room(struct kith_fs *fs, enum kith_durability durability, size_t max,
                     struct kith_arena *arena, struct kith_image *image)
{
    struct kith_content *content;
    struct kith_content_image made;
    uint64_t generation;
    enum kith_err err = kith_content_new(fs->store, image->bytes, &content);
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    err = kith_content_flush(content, durability, max, arena, &made, &generation);
    kith_content_free(content);
    if (err == KITH_OK) {
        image_made(&made, image);
    }
    return kith_errno(err);
}

/* Of a file that is not open: from memory, or read again. */
static int closed_image(struct kith_fs *fs, struct kith_inode *inode,
                        enum kith_durability durability, struct kith_arena *arena,
                        struct kith_image *image)
{
    if (inode->type != KITH_TYPE_FILE || inode->pending) {
        pthread_mutex_unlock(&fs->lock);
        return 0;
    }
    struct kith_bytes bytes = kith_octets_bytes(&inode->image);
    const struct kith_chunk_id *refs = inode->image_refs;
    uint32_t ref_count = inode->image_ref_count;
    bool known = inode->image_known;
    image->size = inode->size;
    image->allocated = inode->allocated;
    struct kith_client_answer answer;
    struct kith_seen seen;
    bool crowded = inode->shared || inode->attrs.acl_size > 0;
    size_t max = crowded ? room_beside_names(inode) : SIZE_MAX;
    int error = 0;
    if (!known) {
        pthread_mutex_unlock(&fs->lock);
        error = kith_inode_read(fs, inode, arena, &answer, &seen);
        if (error == 0) {
            bytes = seen.record.contents;
            refs = seen.winner->refs;
            ref_count = seen.winner->ref_count;
        }
    }
    if (error == 0) {
        image->bytes = kith_bytes_make(kith_arena_copy(arena, bytes.data, bytes.size), bytes.size);
        image->refs = kith_arena_copy(arena, refs, ref_count * sizeof *refs);
        image->ref_count = ref_count;
        if (image->bytes.data == NULL || image->refs == NULL) {
            error = ENOMEM;
        }
    }
    if (error == 0 && !known && image->bytes.size > 0) { /* perhaps another version than memory's */
        error = kith_errno(
            kith_content_image_stat(image->bytes, &image->size, &image->allocated));
    } else if (error == 0 && !known) {
        image->size = image->allocated = 0;
    }
    if (known) {
        pthread_mutex_unlock(&fs->lock);
    } else {
        kith_client_answer_release(&answer);
    }
    if (error == 0 && !known && image->bytes.size > max) {
        error = make_room(fs, durability, max, arena, image);
    }
    return error;
}

int kith_inode_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image)
{
    memset(ret_image, 0, sizeof *ret_image);
    pthread_mutex_lock(&fs->lock);
    ret_image->write_version = inode->write_version;
    ret_image->attr_version = inode->attr_version;
    struct kith_content *content = inode->content;
    if (content == NULL) {
        return closed_image(fs, inode, durability, arena, ret_image);
    }
    size_t max = inline_max(inode, arena);
    pthread_mutex_unlock(&fs->lock);
    struct kith_content_image image;
    enum kith_err err =
        kith_content_flush(content, durability, max, arena, &image, &ret_image->generation);
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    image_made(&image, ret_image);
    ret_image->flushed = true;
    return 0;
}

int kith_inode_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image)
{
    memset(ret_image, 0, sizeof *ret_image);
    pthread_mutex_lock(&fs->lock);
    ret_image->write_version = inode->write_version;
    ret_image->attr_version = inode->attr_version;
    struct kith_content *content = inode->content;
    if (content == NULL) {
        if (inode->type == KITH_TYPE_FILE && !inode->pending && !inode->image_known) {
            pthread_mutex_unlock(&fs->lock);
            return EBUSY;
        }
        return closed_image(fs, inode, KITH_DURABLE_OS, arena, ret_image);
    }
    size_t max = inline_max(inode, arena);
    pthread_mutex_unlock(&fs->lock);
    struct kith_content_image image;
    enum kith_err err = kith_content_try_flush(content, max, arena, &image, &ret_image->generation);
    if (err != KITH_OK) {
        return err == KITH_EBUSY ? EBUSY : kith_errno(err);
    }
    ret_image->bytes = image.encoded;
    ret_image->size = image.size;
    ret_image->allocated = image.allocated;
    ret_image->flushed = true;
    return 0;
}

void kith_inode_image_stored(struct kith_fs *fs, struct kith_inode *inode,
                             const struct kith_image *image, const struct kith_dot *dot,
                             enum kith_durability durability)
{
    if (image->flushed) {
        kith_content_flushed(inode->content, image->generation);
    }
    pthread_mutex_lock(&fs->lock);
    static const struct kith_dot zero;
    struct kith_dot old = inode->has_dot ? inode->dot : zero;
    if (inode->has_kernel_dot && kith_dot_equal(&inode->kernel_dot, &old)) {
        inode->kernel_dot = *dot;
    }
    inode->dot = *dot;
    inode->has_dot = true;
    inode->pending = false;
    inode->write_flushed = image->write_version;
    if (inode->attr_version == image->attr_version) {
        inode->attr_flushed = image->attr_version;
        inode->attr_changed = 0;
    }
    if (inode->write_version == image->write_version && inode->type == KITH_TYPE_FILE) {
        inode->size = image->size;
        inode->allocated = image->allocated;
    } else if (kith_inode_dirty(inode)) {
        inode->dirty_since = kith_mono_ns();
    }
    inode->os_only = durability == KITH_DURABLE_OS;
    inode->attr_os_only = false; /* the row has all attributes */
    if (inode->shared && inode->name_count > 0) {
        inode->untold = false; /* and its names as they are in memory */
    }
    kith_inode_image_set(fs, inode, image->bytes, image->refs, image->ref_count);
    kith_link_recount_soon(fs, inode);
    inode->changed_at = kith_mono_ns();
    inode->valid_until = inode->changed_at + fs->entry_ns;
    if (inode->entry != NULL) {
        inode->entry->changed_at = inode->changed_at;
        inode->entry->valid_until = inode->valid_until;
    }
    pthread_mutex_unlock(&fs->lock);
}
