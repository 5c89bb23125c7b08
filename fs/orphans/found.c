/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * found.c - /lost+found: the directory for what has no other place. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "format/versions.h"
#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/orphans/lost.h"
#include "fs/orphans/place.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define LOST_AND_FOUND "lost+found"

/* Of the filesystem, also where a subdirectory is mounted: what is above that stays known. NULL: what
 * leads there from the top is not known any more. */
static struct kith_inode *top_of(struct kith_fs *fs)
{
    static const uint8_t zero[KITH_DIR_ID_SIZE];
    const struct kith_group group = kith_group_make(fs->volume, zero);
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *top = fs->root;
    while (top->entry != NULL) {
        top = top->entry->dir;
    }
    bool it = kith_group_compare(&top->dir->group, &group) == 0;
    pthread_mutex_unlock(&fs->lock);
    return it ? top : NULL;
}

/* The directory for what has no other place; it is made where there is none. */
static int lost_and_found(struct kith_fs *fs, struct kith_group *ret_group)
{
    struct kith_entry *entry = NULL;
    struct kith_inode *top = top_of(fs);
    int error = top != NULL ? ENOENT : ESTALE;
    for (unsigned i = 0; i < 2 && error == ENOENT; i++) {
        struct kith_job *job =
            i == 0 ? NULL : kith_job_new(fs, NULL, kith_inode_ino(fs, top), 0, kith_do_mkdir);
        if (i == 1 && job == NULL) {
            return ENOMEM;
        }
        if (job != NULL) { /* what became of it is seen by the look that follows */
            memcpy(job->name, LOST_AND_FOUND, sizeof LOST_AND_FOUND);
            job->mode = 0700;
            kith_job_begin(job);
            job->run(job);
            kith_job_end(job);
        }
        error = kith_dir_entry(fs, top, LOST_AND_FOUND, &entry);
        if (error == 0) {
            pthread_mutex_lock(&fs->lock);
            bool dir = entry->inode != NULL && entry->inode->dir != NULL;
            error = entry->inode == NULL ? ENOENT : dir ? 0 : ENOTDIR;
            if (dir) {
                *ret_group = entry->inode->dir->group;
            }
            entry->pins--;
            pthread_mutex_unlock(&fs->lock);
        }
    }
    return error;
}

static bool is_dir(const struct kith_sibling *sibling, const struct kith_group *group)
{
    struct kith_arena arena;
    struct kith_inode_record record;
    kith_arena_init(&arena, 0);
    bool is = sibling->kind == KITH_SIBLING_VALUE &&
              kith_inode_record_decode(&arena, sibling->value, &record) == KITH_OK &&
              record.type == KITH_TYPE_DIR &&
              memcmp(record.dir_id, group->bytes + (KITH_GROUP_SIZE - KITH_DIR_ID_SIZE),
                     KITH_DIR_ID_SIZE) == 0;
    kith_arena_release(&arena);
    return is;
}

/* The name that it had in the cycle no longer leads to it. */
static int remove_name(struct kith_fs *fs, struct kith_arena *arena, const struct kith_place *place)
{
    struct kith_client_answer answer;
    struct kith_bytes name = place->record.parent_name, context = kith_bytes_make(NULL, 0);
    int error = kith_rows_get_strict(fs, &place->record.parent, &name, 1, &answer);
    bool there = false;
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        struct kith_sibling *kept = kith_arena_calloc(arena, row->sibling_count + 1u, sizeof *kept);
        struct kith_row rest = {row->clock, 0, kept};
        error = kept == NULL ? ENOMEM : 0;
        for (uint32_t i = 0; error == 0 && i < row->sibling_count; i++) {
            if (is_dir(&row->siblings[i], &place->group)) {
                there = true;
            } else {
                kept[rest.sibling_count++] = row->siblings[i];
            }
        }
        error = error == 0 ? kith_errno(kith_row_context(arena, &rest, NULL, &context)) : error;
    }
    kith_client_answer_release(&answer);
    if (error == 0 && there) {
        struct kith_put_update update = {.name = name, .context = context};
        error = kith_rows_put(fs, &place->record.parent, KITH_DURABLE_OS, &update, 1, &answer);
        kith_client_answer_release(&answer);
    }
    return error;
}

/* fs->lock held. What memory has of the name is looked at again. */
static void doubt_name(struct kith_fs *fs, const struct kith_group *group, struct kith_bytes bytes)
{
    char name[KITH_FS_NAME_MAX + 1];
    struct kith_inode *dir = kith_dir_find(fs, group);
    if (dir == NULL || bytes.size > KITH_FS_NAME_MAX) {
        return;
    }
    memcpy(name, bytes.data, bytes.size);
    name[bytes.size] = '\0';
    struct kith_entry *entry = kith_entry_find(dir, name);
    if (entry != NULL) {
        kith_entry_doubt(entry);
        kith_watch_doubt(entry);
    }
}

int kith_found_put(struct kith_fs *fs, struct kith_arena *arena, const struct kith_place *place,
                   const char *why)
{
    struct kith_lost lost = {.group = place->group, .name_size = place->record.parent_name.size};
    struct kith_bytes was = place->record.parent_name;
    memcpy(lost.name, was.data, lost.name_size);
    int error = kith_lost_set_value(&lost, &place->record);
    error = error == 0 ? lost_and_found(fs, &lost.parent) : error;
    error = error == 0 ? kith_lost_put_name(fs, &lost, arena) : error;
    error = error == 0 ? kith_lost_put_own(fs, &lost, arena, place->context) : error;
    error = error == 0 ? remove_name(fs, arena, place) : error;
    if (error == 0) {
        kith_log_warn("orphans", "%.*s: %s; it is in /" LOST_AND_FOUND " as %s", (int)was.size,
                      (const char *)was.data, why, lost.name);
        pthread_mutex_lock(&fs->lock);
        doubt_name(fs, &place->record.parent, was);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_octets_clear(&lost.value);
    return error;
}
