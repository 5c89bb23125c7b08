/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * lost.c - directories that another mount has removed while this one made something in them.
 *
 * Whoever removes a directory looks whether it is empty (dir_own.c), and cannot see what is made in
 * it at the same moment, or on the other side of a cut network. That is put where it belongs, and
 * no name leads there any more. So a mount that has changed something in a directory, and then sees
 * that it is gone, looks a moment later: where something is in it, the directory gets its name
 * back, or where something else has that by now a name beside it. A making beats a removal. What is
 * still in this mount's memory is put before that.
 *
 * A directory that was moved has its own row say so before its name goes: it is left alone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "format/versions.h"
#include "fs/fs.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/orphans/lost.h"
#include "fs/orphans/orphans.h"
#include "fs/orphans/place.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define LOOK_NS  (FLUSH_DELAY_NS + FLUSH_DELAY_NS / 2) /* what is unsent is put by then */
#define RETRY_NS (2 * NSEC_PER_SEC)
#define END_PAUSE_NS 200000000 /* between tries while the mount ends */
#define BESIDE_FORMAT   ".conflict-%08x"
#define BESIDE_NAME_MAX (KITH_FS_NAME_MAX - 18u) /* of the name, what leaves room for that */

static void lost_free(struct kith_lost *lost)
{
    if (lost != NULL) {
        kith_octets_clear(&lost->value);
        kith_free(lost);
    }
}

/* Whether its own row says that it is removed (*ret_marked), or is still there; else it is
 * elsewhere. */
static int look_own(struct kith_fs *fs, const struct kith_lost *lost, struct kith_arena *arena,
                    bool *ret_here, bool *ret_marked, struct kith_bytes *ret_context)
{
    struct kith_client_answer answer;
    struct kith_inode_record record;
    struct kith_bytes self = kith_bytes_make(NULL, 0);
    int error = kith_rows_get_strict(fs, &lost->group, &self, 1, &answer);
    *ret_here = *ret_marked = error == 0;
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        *ret_marked = false;
        for (uint32_t i = 0; i < row->sibling_count; i++) {
            const struct kith_sibling *sibling = &row->siblings[i];
            *ret_marked = *ret_marked || sibling->kind == KITH_SIBLING_MARK;
            bool says = sibling->kind == KITH_SIBLING_VALUE &&
                        kith_inode_record_decode(arena, sibling->value, &record) == KITH_OK &&
                        record.has_parent;
            if (says && (kith_group_compare(&record.parent, &lost->parent) != 0 ||
                         !kith_bytes_equal(record.parent_name,
                                           kith_bytes_make(lost->name, lost->name_size)))) {
                *ret_here = false;
            }
        }
        error = kith_errno(kith_row_context(arena, row, kith_row_winner(row), ret_context));
    }
    kith_client_answer_release(&answer);
    return error;
}

/* What stands under the name: nothing (*ret_free), this directory, or something else. */
static int look_at_name(struct kith_fs *fs, const struct kith_lost *lost, bool *ret_free,
                        bool *ret_there, struct kith_arena *arena, struct kith_bytes *ret_context)
{
    return kith_place_name(fs, arena, &lost->parent,
                           kith_bytes_make(lost->name, lost->name_size), &lost->group, ret_free,
                           ret_there, ret_context);
}

int kith_lost_put_name(struct kith_fs *fs, struct kith_lost *lost, struct kith_arena *arena)
{
    struct kith_client_answer answer;
    struct kith_bytes context;
    bool free = false, there = false;
    int error = look_at_name(fs, lost, &free, &there, arena, &context);
    if (error == 0 && !free && !there) {
        uint32_t mark;
        memcpy(&mark, lost->group.bytes + (KITH_GROUP_SIZE - KITH_DIR_ID_SIZE), sizeof mark);
        int room = (int)(lost->name_size < BESIDE_NAME_MAX ? lost->name_size : BESIDE_NAME_MAX);
        while (room > 0 && (size_t)room < lost->name_size &&
               ((uint8_t)lost->name[room] & 0xc0u) == 0x80u) {
            room--;
        }
        (void)snprintf(lost->name + room, sizeof lost->name - (size_t)room, BESIDE_FORMAT, mark);
        lost->name_size = strlen(lost->name);
        error = look_at_name(fs, lost, &free, &there, arena, &context);
        error = error == 0 && !free && !there ? EEXIST : error;
    }
    if (error != 0 || there) {
        return error;
    }
    struct kith_put_update update = {.name = kith_bytes_make(lost->name, lost->name_size),
                                     .has_sibling = true,
                                     .kind = KITH_SIBLING_VALUE,
                                     .context = context,
                                     .value = kith_octets_bytes(&lost->value)};
    error = kith_rows_put(fs, &lost->parent, KITH_DURABLE_OS, &update, 1, &answer);
    kith_client_answer_release(&answer);
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *parent = kith_dir_find(fs, &lost->parent);
    struct kith_entry *entry =
        parent != NULL ? kith_entry_make(fs, parent, lost->name, lost->name_size) : NULL;
    if (entry != NULL) {
        entry->changed_at = kith_mono_ns();
        kith_entry_doubt(entry);
        kith_watch_doubt(entry);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

int kith_lost_set_value(struct kith_lost *lost, const struct kith_inode_record *record)
{
    struct kith_inode_record bare = *record;
    struct kith_buf buf;
    kith_buf_init(&buf);
    bare.has_parent = bare.removed = false;
    kith_inode_record_encode(&bare, &buf);
    bool ok = !buf.failed && kith_octets_set(&lost->value, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    return ok ? 0 : ENOMEM;
}

int kith_lost_put_own(struct kith_fs *fs, const struct kith_lost *lost, struct kith_arena *arena,
                      struct kith_bytes context)
{
    struct kith_client_answer answer;
    struct kith_inode_record record;
    struct kith_buf buf;
    kith_buf_init(&buf);
    int error =
        kith_errno(kith_inode_record_decode(arena, kith_octets_bytes(&lost->value), &record));
    if (error == 0) {
        record.has_parent = true;
        record.parent = lost->parent;
        record.parent_name = kith_bytes_make(lost->name, lost->name_size);
        kith_inode_record_encode(&record, &buf);
        struct kith_put_update update = {.has_sibling = true,
                                         .kind = KITH_SIBLING_VALUE,
                                         .context = context,
                                         .value = kith_buf_bytes(&buf)};
        error = buf.failed
                    ? ENOMEM
                    : kith_rows_put(fs, &lost->group, KITH_DURABLE_OS, &update, 1, &answer);
        if (!buf.failed) {
            kith_client_answer_release(&answer);
        }
    }
    kith_buf_release(&buf);
    return error;
}

/* fs->lock held. It is removed, and empty: nothing can be made in it here any more. */
static void note_removed(struct kith_fs *fs, const struct kith_lost *lost)
{
    struct kith_inode *inode = kith_dir_find(fs, &lost->group);
    if (inode != NULL && inode->entry == NULL && inode != fs->root) {
        inode->dir->removed = inode->unlinked = true;
    }
}

/* fs->lock held. */
static void lost_add(struct kith_fs *fs, struct kith_lost *lost)
{
    lost->next = fs->lost;
    fs->lost = lost;
}

/* The directory that has the name may be removed, too: then its own row has a mark, which says where
 * it was. It comes back likewise; where it has its name again nothing but the mark goes. */
static int raise_parent(struct kith_fs *fs, const struct kith_lost *lost, struct kith_arena *arena)
{
    struct kith_client_answer answer;
    struct kith_inode_record record = {.has_parent = false};
    struct kith_bytes self = kith_bytes_make(NULL, 0);
    int error = kith_rows_get_strict(fs, &lost->parent, &self, 1, &answer);
    bool removed = false; /* what it was before stands beside the mark (kith_dir_remove) */
    for (uint32_t i = 0; error == 0 && !removed &&
                         i < answer.result.u.rows.rows[0].row.sibling_count; i++) {
        const struct kith_sibling *sibling = &answer.result.u.rows.rows[0].row.siblings[i];
        removed = sibling->kind == KITH_SIBLING_MARK &&
                  kith_inode_record_decode(arena, sibling->value, &record) == KITH_OK;
    }
    if (removed && record.has_parent && record.parent_name.size <= KITH_FS_NAME_MAX) {
        struct kith_lost *parent = kith_calloc(1, sizeof *parent);
        error = ENOMEM;
        if (parent != NULL) {
            parent->parent = record.parent;
            parent->group = lost->parent;
            parent->name_size = record.parent_name.size;
            memcpy(parent->name, record.parent_name.data, record.parent_name.size);
            error = kith_lost_set_value(parent, &record);
        }
        if (error == 0) {
            pthread_mutex_lock(&fs->lock);
            lost_add(fs, parent);
            kith_timer_wake(fs->timer);
            pthread_mutex_unlock(&fs->lock);
        } else {
            lost_free(parent);
        }
    }
    kith_client_answer_release(&answer);
    return error;
}

int kith_lost_bring(struct kith_fs *fs, struct kith_lost *lost, bool *ret_back)
{
    struct kith_arena arena;
    struct kith_bytes context;
    bool here = false, marked = false, some = false, free = false, there = false;
    *ret_back = false;
    struct kith_bytes name_context;
    if (lost->was_size > 0) { /* tried before, perhaps under another name */
        memcpy(lost->name, lost->was, lost->was_size + 1);
        lost->name_size = lost->was_size;
    }
    memcpy(lost->was, lost->name, lost->name_size + 1);
    lost->was_size = lost->name_size;
    kith_arena_init(&arena, 0);
    int error = look_own(fs, lost, &arena, &here, &marked, &context);
    if (error == 0 && here) { /* it may have its name again, or beside another version */
        error = look_at_name(fs, lost, &free, &there, &arena, &name_context);
        if (error == 0 && there && marked) {
            error = kith_lost_put_own(fs, lost, &arena, context);
            error = error == 0 ? raise_parent(fs, lost, &arena) : error;
            *ret_back = error == 0;
        }
        here = here && !there;
    }
    if (error == 0 && here) {
        error = kith_place_inside(fs, &lost->group, &some);
    }
    if (error == 0 && some) {
        error = kith_lost_put_name(fs, lost, &arena);
    }
    if (error == 0 && some) {
        error = kith_lost_put_own(fs, lost, &arena, context);
        error = error == 0 ? raise_parent(fs, lost, &arena) : error;
        *ret_back = error == 0;
        kith_log_warn("names", "%s: removed elsewhere while something was made in it, and there "
                      "again", lost->name);
    } else if (error == 0 && here) {
        pthread_mutex_lock(&fs->lock);
        note_removed(fs, lost);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_arena_release(&arena);
    return error;
}

/* Once; where it fails, once more later. */
static void do_lost(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_lost *lost = job->state;
    bool back = false;
    int error = kith_lost_bring(fs, lost, &back);
    if (error == EEXIST) {
        kith_log_error("names", "%s: removed elsewhere; what was made in it has no name now, for "
                       "another directory bears that, too", lost->name);
    }
    if (error == 0 || error == EEXIST) {
        lost_free(lost);
        return;
    }
    kith_log_debug("names", "%s: whether something is in it: %s", lost->name, strerror(error));
    pthread_mutex_lock(&fs->lock);
    lost->due = kith_mono_ns() + RETRY_NS;
    lost_add(fs, lost);
    pthread_mutex_unlock(&fs->lock);
}

/* One that is due by `now`. */
static struct kith_lost *lost_take(struct kith_fs *fs, uint64_t now)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_lost **at = &fs->lost;
    while (*at != NULL && (*at)->due > now) {
        at = &(*at)->next;
    }
    struct kith_lost *lost = *at;
    if (lost != NULL) {
        *at = lost->next;
    }
    pthread_mutex_unlock(&fs->lock);
    return lost;
}

void kith_dir_lost_start(struct kith_fs *fs)
{
    struct kith_lost *lost;
    while ((lost = lost_take(fs, kith_mono_ns())) != NULL) {
        struct kith_job *job = kith_job_new(fs, NULL, 0, 0, do_lost);
        if (job != NULL) {
            job->state = lost;
            kith_job_begin(job);
            if (kith_job_go_on(job, do_lost)) {
                continue;
            }
            kith_job_end(job);
        }
        pthread_mutex_lock(&fs->lock); /* too much waits already: the next tick */
        lost_add(fs, lost);
        pthread_mutex_unlock(&fs->lock);
        return;
    }
}

void kith_dir_lost_end(struct kith_fs *fs, uint64_t deadline)
{
    const struct timespec pause = {0, END_PAUSE_NS};
    struct kith_lost *lost;
    while ((lost = lost_take(fs, UINT64_MAX)) != NULL) {
        bool back = false;
        int error = kith_lost_bring(fs, lost, &back);
        while (error != 0 && error != EEXIST && kith_mono_ns() < deadline) {
            nanosleep(&pause, NULL);
            error = kith_lost_bring(fs, lost, &back);
        }
        if (error != 0) {
            kith_log_error("names", "%s: removed elsewhere; what was made in it may have no name "
                           "now: %s", lost->name, strerror(error));
        }
        lost_free(lost);
    }
}

void kith_dir_lost(struct kith_fs *fs, const struct kith_entry *entry,
                   const struct kith_inode *inode)
{
    struct kith_inode_record record;
    struct kith_buf buf;
    kith_dir_vanished(fs);
    struct kith_lost *lost =
        inode->dir->changed_at != 0 && !inode->dir->removed ? kith_calloc(1, sizeof *lost) : NULL;
    if (lost == NULL) {
        return;
    }
    kith_buf_init(&buf);
    kith_inode_record_of(inode, &record);
    kith_inode_record_encode(&record, &buf);
    lost->parent = entry->dir->dir->group;
    lost->group = inode->dir->group;
    lost->name_size = entry->name_size;
    memcpy(lost->name, entry->name, entry->name_size + 1u);
    lost->due = kith_mono_ns() + LOOK_NS;
    if (buf.failed || !kith_octets_set(&lost->value, kith_buf_bytes(&buf))) {
        kith_log_warn("names", "%s: removed elsewhere; no memory to look what is in it",
                      lost->name);
        lost_free(lost);
    } else {
        lost_add(fs, lost);
        kith_timer_wake(fs->timer);
    }
    kith_buf_release(&buf);
}
