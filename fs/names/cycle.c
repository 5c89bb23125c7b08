/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cycle.c - directories that were moved into one another.
 *
 * Two mounts, on two sides of a cut network or at the same moment: one moves "a" into "b", the other
 * "b" into "a", or into what is below it. Each is right by what it sees, and then no name leads to
 * either of them from the root.
 *
 * A mount remembers the directories that it has moved into another one. When it sees that another
 * mount has taken a directory away, it follows the own rows up from each of those: where that comes back to
 * where it was, the cycle is cut at the latest move, which is the same for all who look (by the time and
 * dot of the own rows), and that directory goes to "lost+found" in the root, with all that is in it. Each
 * step is the same for two mounts that do it at once, and may be done again. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fs/fs.h"
#include "fs/mount/mount.h"
#include "fs/names/lost.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"
#include "format/versions.h"

#define LOST_AND_FOUND "lost+found"
#define MOVED_MAX      64u
#define DEPTH_MAX      1024u
#define LOOK_NS        (FLUSH_DELAY_NS + FLUSH_DELAY_NS / 2)
#define RETRY_NS       (2 * NSEC_PER_SEC)

struct kith_moved {
    struct kith_moved *next; /* moved before it */
    struct kith_group group;
};

/* A directory, as its own row has it. */
struct place {
    struct kith_group group;
    struct kith_bytes value; /* of the own row; in the arena, like what follows */
    struct kith_inode_record record;
    struct kith_dot dot;
    uint64_t time;
    struct kith_bytes context;
};

void kith_dir_moved(struct kith_fs *fs, const struct kith_inode *inode)
{
    struct kith_moved *moved = kith_calloc(1, sizeof *moved);
    if (moved == NULL) {
        kith_log_warn("names", "no memory to remember what was moved");
        return;
    }
    moved->group = inode->dir->group;
    moved->next = fs->moved;
    fs->moved = moved;
    struct kith_moved **at = &moved->next;
    for (uint32_t count = 1; *at != NULL;) {
        struct kith_moved *old = *at;
        if (count >= MOVED_MAX || kith_group_compare(&old->group, &moved->group) == 0) {
            *at = old->next;
            kith_free(old);
        } else {
            at = &old->next;
            count++;
        }
    }
}

void kith_dir_vanished(struct kith_fs *fs)
{
    if (fs->moved != NULL && fs->cycles_due == 0) {
        fs->cycles_due = kith_mono_ns() + LOOK_NS;
        kith_timer_wake(fs->timer);
    }
}

/* *ret_named: it says where it is; else it is the root, removed, or unknown. */
static int read_place(struct kith_fs *fs, struct kith_arena *arena, struct place *place,
                      bool *ret_named)
{
    struct kith_client_answer answer;
    struct kith_bytes self = kith_bytes_make(NULL, 0);
    *ret_named = false;
    int error = kith_rows_get_strict(fs, &place->group, &self, 1, &answer);
    if (error == 0) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        const struct kith_sibling *winner = kith_row_winner(row);
        if (winner != NULL && winner->kind == KITH_SIBLING_VALUE) {
            place->value = winner->value;
            place->value.data = kith_arena_copy(arena, winner->value.data, winner->value.size);
            place->dot = winner->dot;
            place->time = winner->time;
            error = place->value.data == NULL
                        ? ENOMEM
                        : kith_errno(kith_inode_record_decode(arena, place->value, &place->record));
            *ret_named = error == 0 && place->record.has_parent && !place->record.removed &&
                         place->record.parent_name.size <= KITH_FS_NAME_MAX;
        }
        if (error == 0) {
            const struct kith_row bare = {row->clock, 0, NULL};
            error = kith_errno(kith_row_context(arena, &bare, NULL, &place->context));
        }
    }
    kith_client_answer_release(&answer);
    return error;
}

static bool is_later(const struct place *a, const struct place *b)
{
    return a->time != b->time ? a->time > b->time : kith_dot_compare(&a->dot, &b->dot) > 0;
}

/* The latest move of the cycle that the way up from `group` comes into; NULL: it comes to an end. */
static int find_cycle(struct kith_fs *fs, struct kith_arena *arena, const struct kith_group *group,
                      const struct place **ret_latest)
{
    struct place *way = kith_arena_calloc(arena, DEPTH_MAX, sizeof *way);
    uint32_t again = DEPTH_MAX, depth = 0;
    int error = way == NULL ? ENOMEM : 0;
    bool named = true;
    *ret_latest = NULL;
    for (; error == 0 && named && again == DEPTH_MAX && depth < DEPTH_MAX; depth++) {
        way[depth].group = depth == 0 ? *group : way[depth - 1].record.parent;
        error = read_place(fs, arena, &way[depth], &named);
        for (uint32_t i = 0; error == 0 && named && i <= depth && again == DEPTH_MAX; i++) {
            again = kith_group_compare(&way[i].group, &way[depth].record.parent) == 0 ? i : again;
        }
    }
    for (uint32_t i = again; error == 0 && again < DEPTH_MAX && i < depth; i++) {
        *ret_latest = *ret_latest == NULL || is_later(&way[i], *ret_latest) ? &way[i] : *ret_latest;
    }
    return error;
}

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
static int remove_name(struct kith_fs *fs, struct kith_arena *arena, const struct place *place)
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

static int cut(struct kith_fs *fs, struct kith_arena *arena, const struct place *place)
{
    struct kith_lost lost = {.group = place->group, .name_size = place->record.parent_name.size};
    struct kith_inode_record record = place->record;
    struct kith_buf buf;
    kith_buf_init(&buf);
    memcpy(lost.name, record.parent_name.data, lost.name_size);
    record.has_parent = false;
    kith_inode_record_encode(&record, &buf);
    int error = buf.failed || !kith_octets_set(&lost.value, kith_buf_bytes(&buf)) ? ENOMEM : 0;
    kith_buf_release(&buf);
    error = error == 0 ? lost_and_found(fs, &lost.parent) : error;
    error = error == 0 ? kith_lost_put_name(fs, &lost, arena) : error;
    error = error == 0 ? kith_lost_put_own(fs, &lost, arena, place->context) : error;
    error = error == 0 ? remove_name(fs, arena, place) : error;
    if (error == 0) {
        kith_log_warn("names", "%.*s: two mounts have moved it and another directory into one "
                      "another; it is in /" LOST_AND_FOUND " as %s",
                      (int)place->record.parent_name.size,
                      (const char *)place->record.parent_name.data, lost.name);
        pthread_mutex_lock(&fs->lock);
        doubt_name(fs, &place->record.parent, place->record.parent_name);
        pthread_mutex_unlock(&fs->lock);
    }
    kith_octets_clear(&lost.value);
    return error;
}

static int look(struct kith_fs *fs, const struct kith_group *group)
{
    struct kith_arena arena;
    const struct place *latest = NULL;
    kith_arena_init(&arena, 0);
    int error = find_cycle(fs, &arena, group, &latest);
    if (error == 0 && latest != NULL) {
        error = cut(fs, &arena, latest);
    }
    kith_arena_release(&arena);
    return error;
}

int kith_cycles_look(struct kith_fs *fs)
{
    struct kith_group groups[MOVED_MAX];
    uint32_t count = 0;
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    for (const struct kith_moved *moved = fs->moved; moved != NULL && count < MOVED_MAX;
         moved = moved->next) {
        groups[count++] = moved->group;
    }
    pthread_mutex_unlock(&fs->lock);
    for (uint32_t i = 0; i < count; i++) {
        int failed = look(fs, &groups[i]);
        error = error == 0 ? failed : error;
    }
    return error;
}

static void do_cycles(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    int error = kith_cycles_look(fs);
    if (error != 0) {
        kith_log_debug("names", "whether directories are in one another: %s", strerror(error));
    }
    pthread_mutex_lock(&fs->lock);
    fs->cycles_busy = false;
    if (error != 0) {
        fs->cycles_due = kith_mono_ns() + RETRY_NS;
    }
    pthread_mutex_unlock(&fs->lock);
}

void kith_cycles_start(struct kith_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    bool due = fs->cycles_due != 0 && fs->cycles_due <= kith_mono_ns() && !fs->cycles_busy;
    pthread_mutex_unlock(&fs->lock);
    struct kith_job *job = due ? kith_job_new(fs, NULL, 0, 0, do_cycles) : NULL;
    if (job == NULL) {
        return; /* where memory is short: the next tick */
    }
    pthread_mutex_lock(&fs->lock);
    fs->cycles_due = 0;
    fs->cycles_busy = true;
    pthread_mutex_unlock(&fs->lock);
    kith_job_begin(job);
    if (!kith_job_go_on(job, do_cycles)) { /* too much waits already */
        kith_job_end(job);
        pthread_mutex_lock(&fs->lock);
        fs->cycles_busy = false;
        fs->cycles_due = kith_mono_ns() + RETRY_NS;
        pthread_mutex_unlock(&fs->lock);
    }
}

void kith_cycles_end(struct kith_fs *fs)
{
    int error = fs->cycles_due != 0 ? kith_cycles_look(fs) : 0;
    if (error != 0) {
        kith_log_error("names", "whether directories that were moved are in one another by now is "
                       "not known: %s", strerror(error));
    }
    while (fs->moved != NULL) {
        struct kith_moved *moved = fs->moved;
        fs->moved = moved->next;
        kith_free(moved);
    }
}
