/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * twin.c - a file in conflict that gets another name, or none: what stays under the old one.
 *
 * A row holds concurrent versions of one file; a rename or unlink takes the one that bears the
 * name, and no put throws away another. So the next newest bears the old name afterwards. It has
 * the file id of the other, which may be open, and a mount would take the two for one. Therefore it
 * is put once more in its place, as a file of its own: the same, with another id. The put of the
 * old name tells of it, also where nobody here has seen it before; without a conflict nothing is
 * put. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"

#define PART_PAUSE_NS 200000000 /* between tries */

/* The version that bears the name now, in its place under a new id; false where there is none. */
static bool part_update(struct kith_fs *fs, struct kith_arena *arena, struct kith_bytes context,
                        struct kith_buf *buf, struct kith_put_update *ret_update)
{
    struct kith_row row;
    struct kith_inode_record record;
    if (kith_row_decode(arena, context, &row) != KITH_OK) {
        return false;
    }
    const struct kith_sibling *twin = kith_row_winner(&row);
    if (twin == NULL || kith_inode_record_decode(arena, twin->value, &record) != KITH_OK ||
        record.type == KITH_TYPE_LINK || record.type == KITH_TYPE_DIR ||
        kith_row_context(arena, &row, twin, &ret_update->context) != KITH_OK) {
        return false;
    }
    record.file_id = kith_fs_random(fs);
    kith_inode_record_encode(&record, buf);
    ret_update->has_sibling = true;
    ret_update->kind = KITH_SIBLING_VALUE;
    ret_update->value = kith_buf_bytes(buf);
    ret_update->refs = twin->refs;
    ret_update->ref_count = twin->ref_count;
    return !buf->failed;
}

void kith_twin_part(struct kith_fs *fs, struct kith_entry *entry)
{
    const struct timespec pause = {0, PART_PAUSE_NS};
    struct kith_put_update update = {.name = kith_entry_bytes(entry)};
    struct kith_group group = entry->dir->dir->group;
    struct kith_client_answer answer;
    struct kith_arena arena;
    struct kith_buf buf;
    int error = 0;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    pthread_mutex_lock(&fs->lock); /* a lookup may replace it meanwhile */
    struct kith_bytes context = kith_octets_bytes(&entry->ctx);
    context.data = kith_arena_copy(&arena, context.data, context.size);
    pthread_mutex_unlock(&fs->lock);
    error = context.data == NULL ? ENOMEM : 0;
    if (error == 0 && part_update(fs, &arena, context, &buf, &update)) {
        uint64_t until = kith_rows_until(fs);
        while ((error = kith_rows_put(fs, &group, KITH_DURABLE_OS, &update, 1, &answer)) != 0 &&
               kith_mono_ns() < until) {
            kith_client_answer_release(&answer);
            nanosleep(&pause, NULL);
        }
        kith_client_answer_release(&answer);
    }
    if (error != 0) {
        kith_log_error("twin",
                       "%s: another version of the file that had this name stays under it "
                       "and cannot be told from it: %s",
                       entry->name, strerror(error));
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    entry->valid_until = 0;
    kith_watch_doubt(entry);
    pthread_mutex_unlock(&fs->lock);
}
