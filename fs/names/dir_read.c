/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir_read.c - one name, or the row of one inode, by a quorum read.
 *
 * A name is read with its attributes in one GET of (name, name NUL a); one that only refers to a
 * shared inode takes a second one, for the row that it refers to. */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/hook/hook.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define DANGLING_NS                                                                                \
    (30 * NSEC_PER_SEC) /* longer than a change of names takes, with a put that is tried again */
#define LOOKS_MORE    8u       /* at a name that refers to no row, before that is believed: */
#define LOOK_PAUSE_NS 10000000 /* between them, doubled each time: 1.3 s in all */

/* The row of a shared inode that `seen` refers to, from the cluster. */
static int resolve_link(struct kith_fs *fs, struct kith_inode *dir, struct kith_arena *arena,
                        struct kith_client_answer *answer, struct kith_seen *seen)
{
    struct kith_rowname row, attr;
    if (kith_group_compare(&seen->link_group, &dir->dir->group) == 0) {
        kith_rowname_shared(seen->record.file_id, &row);
    } else {
        kith_rowname_entry(kith_bytes_make(NULL, 0), &row);
    }
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    int error = kith_rows_get(fs, &seen->link_group, names, 2, answer);
    if (error != 0) {
        return error;
    }
    const struct kith_client_row *rows = answer->result.u.rows.rows;
    enum kith_err err = kith_seen_shared(arena, &rows[0].row, &rows[1].row, seen);
    return err == KITH_ENOTFOUND ? ESTALE : kith_errno(err);
}

/* What is there now; error: not known. */
static int look(struct kith_fs *fs, const struct kith_group *group, const char *name,
                struct kith_arena *arena, struct kith_client_answer *answer,
                struct kith_seen *ret_seen)
{
    struct kith_rowname row, attr;
    kith_rowname_entry(kith_bytes_make(name, strlen(name)), &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    int error = kith_rows_get(fs, group, names, 2, answer);
    if (error == 0) {
        const struct kith_client_row *rows = answer->result.u.rows.rows;
        error = kith_errno(kith_seen_entry(arena, &rows[0].row, &rows[1].row, ret_seen));
    }
    return error;
}

/* The file stood under another name: whether it does still. Then the two are two files with one id,
 * and the one that is no link goes under another. */
static int part_names(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                      struct kith_seen *seen)
{
    char other_name[KITH_FS_NAME_MAX + 1];
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *other = kith_seen_elsewhere(fs, dir, name, seen);
    if (other != NULL) {
        memcpy(other_name, other->name, other->name_size + 1u);
        other->pins++;
    }
    pthread_mutex_unlock(&fs->lock);
    if (other == NULL) {
        return 0;
    }
    struct kith_client_answer answer;
    struct kith_arena arena;
    struct kith_seen there;
    kith_arena_init(&arena, 0);
    int error = look(fs, &other->dir->dir->group, other_name, &arena, &answer, &there);
    uint64_t id = seen->record.file_id;
    pthread_mutex_lock(&fs->lock);
    bool both = error == 0 && there.live && there.record.file_id == id;
    struct kith_inode *inode = other->inode;
    if (both && !seen->link) {
        seen->record.file_id = kith_seen_other_id(id, &seen->dot);
    } else if (both && !there.link && inode != NULL && inode->id == id && !inode->shared &&
               inode->row_busy) {
        error = ESTALE; /* what is being put bears the id: look again */
    } else if (both && !there.link && inode != NULL && inode->id == id && !inode->shared &&
               inode->entry == other) {
        kith_inode_rename(fs, inode, kith_seen_other_id(id, &there.dot));
    } else {
        kith_entry_doubt(other);
    }
    other->pins--;
    pthread_mutex_unlock(&fs->lock);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

/* Memory has the inode at another row: whether names lead to that, too. Then it is another file,
 * which goes under another number. ESTALE: to be looked at again. */
static int part_rows(struct kith_fs *fs, const struct kith_inode *dir, const char *name,
                     struct kith_seen *seen)
{
    struct kith_link_at at;
    struct kith_linkset set;
    pthread_mutex_lock(&fs->lock);
    bool other = kith_seen_other_row(fs, dir, name, seen, &at);
    bool busy = other && kith_inode_find(fs, seen->row_id)->row_busy;
    pthread_mutex_unlock(&fs->lock);
    if (!other) {
        return 0;
    }
    int error = kith_linkset_read(fs, &at.group, at.own, at.id, &set);
    bool leads = error != 0 || (set.live && set.leads > 0); /* not known: nothing is mixed up so */
    if (leads && ((error == 0 && kith_linkset_leads(&set, &dir->dir->group, name)) ||
                  (busy && seen->link))) {
        error = ESTALE; /* it was elsewhere before, or is what is just being put */
    } else {
        error = 0;
    }
    kith_linkset_free(&set);
    if (leads && seen->link) {
        struct kith_inode *placed;
        pthread_mutex_lock(&fs->lock);
        seen->record.file_id =
            kith_seen_place_id(fs, seen->row_id, &seen->link_group, &placed);
        struct kith_inode *first = kith_inode_find(fs, seen->row_id);
        if (first != NULL && first->shared) { /* who counts its names makes the two one */
            first->beside = true;
            first->beside_own = kith_group_compare(&seen->link_group, &dir->dir->group) != 0;
            first->beside_group = seen->link_group;
            kith_link_recount_soon(fs, first);
        }
        pthread_mutex_unlock(&fs->lock);
    } else if (leads) {
        seen->record.file_id = kith_seen_other_id(seen->row_id, &seen->dot);
    } else {
        seen->moved = true;
        seen->moved_from = at.group;
    }
    return error;
}

int kith_dir_saw(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                 const struct kith_seen *seen, uint64_t started, struct kith_entry **ret_entry)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    int error = entry == NULL ? ENOMEM : kith_errno(kith_seen_absorb(fs, entry, seen, started));
    if (error == 0 && seen->live && entry->inode == NULL && entry->over) {
        error = ESTALE; /* there is something, and this mount cannot tell what */
    }
    if (error == 0) {
        entry->pins++;
        kith_entry_touch(fs, entry);
        kith_entry_sweep_few(fs); /* the timer is too slow for who asks for many */
        *ret_entry = entry;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static int read_name(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                     struct kith_entry **ret_entry)
{
    struct kith_rowname row, attr;
    kith_rowname_entry(kith_bytes_make(name, strlen(name)), &row);
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    uint64_t started = kith_mono_ns();
    struct kith_client_answer answer, link_answer;
    memset(&link_answer, 0, sizeof link_answer);
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_seen seen;
    bool linked = false;
    int error = kith_rows_get(fs, &dir->dir->group, names, 2, &answer);
    if (error == 0) {
        const struct kith_client_row *rows = answer.result.u.rows.rows;
        error = kith_errno(kith_seen_entry(&arena, &rows[0].row, &rows[1].row, &seen));
    }
    seen.degraded = error == 0 && answer.result.degraded;
    if (error == 0 && seen.link) {
        linked = true;
        error = resolve_link(fs, dir, &arena, &link_answer, &seen);
    }
    if (error == 0) {
        error = part_names(fs, dir, name, &seen);
    }
    if (error == 0) {
        error = part_rows(fs, dir, name, &seen);
    }
    if (error == 0) {
        error = kith_dir_saw(fs, dir, name, &seen, started, ret_entry);
    }
    if (linked) {
        kith_client_answer_release(&link_answer);
    }
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

/* Takes note of it; true: for so long that it is no use to wait for who would put the row. */
static bool dangles(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    uint64_t now = kith_mono_ns();
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    bool over = false;
    if (entry != NULL) {
        entry->dangling = entry->dangling == 0 ? now : entry->dangling;
        over = now - entry->dangling > DANGLING_NS;
    }
    pthread_mutex_unlock(&fs->lock);
    return over;
}

int kith_dir_remove_dangling(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct kith_client_answer answer, put;
    struct kith_arena arena;
    struct kith_seen seen;
    struct kith_linkset set;
    kith_arena_init(&arena, 0);
    int error = look(fs, &dir->dir->group, name, &arena, &answer, &seen);
    if (error == 0 && seen.live && seen.link) {
        bool own = kith_group_compare(&seen.link_group, &dir->dir->group) != 0;
        error = kith_linkset_read(fs, &seen.link_group, own, seen.record.file_id, &set);
        if (error == 0 && set.live) {
            error = EIO; /* it is there again */
        }
        kith_linkset_free(&set);
    } else if (error == 0) {
        error = EIO;
    }
    if (error == 0) {
        struct kith_put_update update = {.name = kith_bytes_make(name, strlen(name)),
                                         .context = seen.ctx};
        error = kith_rows_put(fs, &dir->dir->group, KITH_DURABLE_OS, &update, 1, &put);
        kith_client_answer_release(&put);
    }
    if (error == 0) {
        kith_log_warn("link", "%s: a name without its file is removed", name);
    }
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

/* A name and the row that it refers to are two reads: between them the name may have become another
 * one. And who renames a link tells the row in another group afterwards: in between somebody may
 * have removed the old name, and the row with it, which the telling puts again. */
int kith_dir_read(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                  struct kith_entry **ret_entry)
{
    struct timespec pause = {0, LOOK_PAUSE_NS};
    int error = read_name(fs, dir, name, ret_entry);
    for (unsigned i = 0; i < LOOKS_MORE && error == ESTALE; i++) {
        if (i > 0) {
            nanosleep(&pause, NULL);
            pause.tv_nsec *= 2;
        }
        error = read_name(fs, dir, name, ret_entry);
    }
    if (error != ESTALE) {
        return error;
    }
    if (dangles(fs, dir, name) && kith_dir_remove_dangling(fs, dir, name) == 0) {
        return read_name(fs, dir, name, ret_entry) == 0 ? 0 : EIO;
    }
    /* it refers to an inode that is not there: never "no such file" without knowing */
    return EIO;
}

int kith_inode_read(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                    struct kith_client_answer *ret_answer, struct kith_seen *ret_seen)
{
    memset(ret_answer, 0, sizeof *ret_answer);
    struct kith_group group;
    struct kith_rowname row, attr;
    pthread_mutex_lock(&fs->lock);
    bool placed = kith_inode_place(inode, &group, &row);
    bool shared = inode->shared;
    pthread_mutex_unlock(&fs->lock);
    if (!placed) {
        return ESTALE;
    }
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    uint64_t started = kith_mono_ns();
    int error = kith_rows_get(fs, &group, names, 2, ret_answer);
    if (error != 0) {
        return error;
    }
    return kith_inode_saw(fs, inode, shared ? &group : NULL, arena, &ret_answer->result, started,
                          ret_seen);
}

int kith_inode_saw(struct kith_fs *fs, struct kith_inode *inode, const struct kith_group *shared,
                   struct kith_arena *arena, const struct kith_client_result *result,
                   uint64_t started, struct kith_seen *ret_seen)
{
    int error;
    const struct kith_client_row *rows = result->u.rows.rows;
    if (shared != NULL) {
        memset(ret_seen, 0, sizeof *ret_seen);
        ret_seen->record.file_id = ret_seen->row_id = kith_inode_row_id(inode);
        ret_seen->live = ret_seen->link = true;
        ret_seen->link_group = *shared;
        enum kith_err err = kith_seen_shared(arena, &rows[0].row, &rows[1].row, ret_seen);
        error = err == KITH_ENOTFOUND ? ESTALE : kith_errno(err);
    } else {
        error = kith_errno(kith_seen_entry(arena, &rows[0].row, &rows[1].row, ret_seen));
        if (error == 0 && ret_seen->live && !ret_seen->link &&
            kith_seen_other_id(ret_seen->record.file_id, &ret_seen->dot) == inode->id) {
            ret_seen->record.file_id = inode->id;
        }
        if (error == 0 &&
            (!ret_seen->live || ret_seen->link || ret_seen->record.file_id != inode->id)) {
            error = ESTALE;
        }
    }
    pthread_mutex_lock(&fs->lock);
    if (error == ESTALE && inode->entry != NULL && inode->entry->changed_at < started) {
        inode->entry->valid_until = 0;
        inode->entry->live = 0;
    }
    if (error == 0) {
        ret_seen->degraded = result->degraded;
        error = kith_errno(kith_seen_inode(fs, inode, ret_seen, started));
        struct kith_entry *entry = inode->entry;
        if (error == 0 && shared == NULL && entry != NULL && entry->changed_at < started &&
            inode->changed_at < started && !inode->row_busy) { /* else its contents are not those */
            error = kith_octets_set(&entry->ctx, ret_seen->ctx) ? 0 : ENOMEM;
            kith_watch_saw(entry, started, error == 0 && kith_seen_taken(inode, ret_seen, started));
        } else if (error == 0 && inode == fs->root && entry == NULL) {
            kith_watch_saw_root(fs, started, kith_seen_taken(inode, ret_seen, started));
        }
        kith_hook_saw(fs, entry);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}
