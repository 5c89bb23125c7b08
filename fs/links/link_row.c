/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * link_row.c - the rows of hard links: a name that refers to an inode, and the inode's row with the
 * set of its names. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/links/links.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

struct kith_link_name *kith_link_names_with(struct kith_arena *arena,
                                            const struct kith_inode *inode,
                                            const struct kith_entry *out,
                                            const struct kith_entry *in, uint32_t *ret_count)
{
    struct kith_link_name *names = kith_arena_calloc(arena, inode->name_count + 1u, sizeof *names);
    uint32_t count = 0;
    if (names == NULL) {
        return NULL;
    }
    for (uint32_t i = 0; i < inode->name_count; i++) {
        bool goes = out != NULL && kith_bytes_equal(inode->names[i].name, kith_entry_bytes(out)) &&
                    kith_group_compare(&inode->names[i].group, &out->dir->dir->group) == 0;
        if (!goes) {
            names[count++] = inode->names[i];
        }
    }
    if (in != NULL) {
        struct kith_link_name added = {in->dir->dir->group, kith_entry_bytes(in)};
        uint32_t at = 0;
        while (at < count && kith_link_name_compare(&names[at], &added) < 0) {
            at++;
        }
        /* it may be there: added elsewhere, or left by a change whose outcome nobody learnt */
        if (at == count || kith_link_name_compare(&names[at], &added) != 0) {
            memmove(&names[at + 1], &names[at], (count - at) * sizeof *names);
            names[at] = added;
            count++;
        }
    }
    *ret_count = count;
    return names;
}

int kith_link_name_row(struct kith_fs *fs, struct kith_batch *batch, struct kith_entry *entry,
                       const struct kith_octets *ctx, const struct kith_inode *inode,
                       const struct kith_group *group)
{
    (void)fs;
    struct kith_inode_record record;
    memset(&record, 0, sizeof record);
    record.type = KITH_TYPE_LINK;
    bool there = inode->shared && kith_group_compare(group, &inode->share_group) == 0;
    record.file_id = there ? inode->share_id : inode->id;
    record.link = *group;
    struct kith_bytes value;
    if (kith_batch_record(batch, &record, &value) != 0) {
        return -1;
    }
    return kith_batch_add(batch, kith_entry_bytes(entry), kith_octets_bytes(ctx), &value,
                          KITH_SIBLING_VALUE, NULL, 0);
}

int kith_link_row(struct kith_fs *fs, struct kith_batch *batch, struct kith_inode *inode,
                  const struct kith_link_name names[], uint32_t count,
                  const struct kith_image *image)
{
    struct kith_inode_record record;
    struct kith_rowname name;
    struct kith_group group;
    struct kith_bytes value;
    int at = -1;
    pthread_mutex_lock(&fs->lock);
    kith_inode_record_of(inode, &record);
    record.names = names;
    record.name_count = count;
    record.contents = image->bytes;
    struct kith_bytes context = kith_octets_bytes(kith_inode_ctx(inode));
    if (kith_inode_place(inode, &group, &name) && kith_batch_record(batch, &record, &value) == 0 &&
        value.size <= KITH_INLINE_VALUE_MAX) {
        bool gone = count == 0;
        at = kith_batch_add(batch, kith_rowname_bytes(&name), context, gone ? NULL : &value,
                            KITH_SIBLING_VALUE, gone ? NULL : image->refs,
                            gone ? 0 : image->ref_count);
    }
    pthread_mutex_unlock(&fs->lock);
    return at;
}

void kith_link_share(struct kith_inode *inode, const struct kith_group *group, bool own)
{
    inode->shared = true;
    inode->share_own = own;
    inode->share_group = *group;
    inode->share_id = inode->id;
    kith_octets_clear(&inode->ctx);
    inode->attr_row = false;
    kith_octets_clear(&inode->attr_ctx);
}

int kith_link_put(struct kith_fs *fs, struct kith_inode *inode, const struct kith_link_name names[],
                  uint32_t count, const struct kith_image *image)
{
    struct kith_batch *batch = kith_batch_new();
    if (batch == NULL) {
        return ENOMEM;
    }
    struct kith_client_answer answer;
    int at = kith_link_row(fs, batch, inode, names, count, image);
    pthread_mutex_lock(&fs->lock);
    int error = at >= 0 ? 0 : inode->unlinked ? ESTALE : ENOMEM;
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && count == 0) {
        error = kith_batch_attrs(fs, batch, NULL, inode, NULL);
    }
    if (error == 0) {
        error = kith_batch_put(fs, batch, &inode->share_group, &answer);
        if (error == 0) {
            const struct kith_put_result *result = &answer.result.u.put.results[at];
            pthread_mutex_lock(&fs->lock);
            error = kith_inode_moved_on(inode, result->context) ? 0 : ENOMEM;
            pthread_mutex_unlock(&fs->lock);
            kith_inode_image_stored(fs, inode, image, &result->dot, KITH_DURABLE_OS);
            if (count == 0 && inode->name_count > 0 &&
                !kith_context_is_alone(result->context)) {
                const struct kith_link_at was = {inode->share_group, inode->share_own,
                                                 inode->share_id};
                pthread_mutex_lock(&fs->lock);
                kith_link_left(fs, &was, &inode->names[0], image->bytes);
                pthread_mutex_unlock(&fs->lock);
            }
        }
        kith_client_answer_release(&answer);
    }
    kith_batch_free(batch);
    return error;
}

int kith_link_put_names(struct kith_fs *fs, struct kith_inode *inode,
                        const struct kith_link_name names[], uint32_t count)
{
    struct kith_arena arena;
    struct kith_image image;
    kith_arena_init(&arena, 0);
    int error = kith_whole_image(fs, inode, KITH_DURABLE_OS, &arena, &image);
    if (error == 0) {
        error = kith_link_put(fs, inode, names, count, &image);
    }
    kith_arena_release(&arena);
    return error;
}
