/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir.c - reading directories: one name by a quorum read, or all of them page by page.
 *
 * A lookup costs one GET of (name, name NUL a). Who looks up one name after the other is better
 * served by a scan, which fills the table whole; so from the MISSES_MIN-th miss within a second on
 * (later in large directories: a scan costs about what 64 rows' share of it saves) the directory is
 * loaded. Under a live watch (watch.c) one page is scanned with the first question: then the table
 * answers, for as long as the watch lives. */
#include <errno.h>
#include <string.h>

#include "data/hlc.h"
#include "fs/fs.h"

#define MISSES_MIN         3u
#define MISSES_PER_ENTRIES 64u
#define DANGLING_NS                                                                                \
    (30 * NSEC_PER_SEC) /* longer than a change of names takes, with a put that is tried again */
#define ORPHAN_MS                                                                                  \
    10000u /* longer than the mount that left it takes to look at it itself (linkset.c) */
#define LOOKS_MORE         8u       /* at a name that refers to no row, before that is believed: */
#define LOOK_PAUSE_NS      10000000 /* between them, doubled each time: 1.3 s in all */

void kith_entry_unpin(struct kith_fs *fs, struct kith_entry *entry)
{
    pthread_mutex_lock(&fs->lock);
    KITH_ASSERT(entry->pins > 0);
    entry->pins--;
    pthread_mutex_unlock(&fs->lock);
}

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

int kith_dir_saw(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                 const struct kith_seen *seen, uint64_t started, struct kith_entry **ret_entry)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    int error = entry == NULL ? ENOMEM : kith_errno(kith_seen_absorb(fs, entry, seen, started));
    if (error == 0) {
        entry->pins++;
        kith_entry_touch(fs, entry);
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
        ret_seen->record.file_id = inode->id;
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
            !inode->row_busy) {
            error = kith_octets_set(&entry->ctx, ret_seen->ctx) ? 0 : ENOMEM;
            kith_watch_saw(entry, started, error == 0 && kith_seen_taken(inode, ret_seen, started));
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* ---- A page ---- */

struct page_item {
    struct kith_bytes name;
    struct kith_seen seen;
    bool shown;
};

struct page_shared {
    const struct kith_client_row *row, *attr;
    uint64_t id;
};

struct page_work {
    bool degraded;
    struct page_item *items;
    uint32_t item_count;
    struct page_shared *shared;
    uint32_t shared_count;
};

/* A link whose inode came in the same page is complete. */
static enum kith_err page_resolve(struct kith_arena *arena, const struct kith_inode *dir,
                                  const struct page_work *work, struct kith_seen *seen)
{
    if (!seen->link || kith_group_compare(&seen->link_group, &dir->dir->group) != 0) {
        return KITH_OK;
    }
    for (uint32_t i = 0; i < work->shared_count; i++) {
        if (work->shared[i].id == seen->record.file_id) {
            const struct kith_client_row *attr = work->shared[i].attr;
            struct kith_row none = {{0, NULL}, 0, NULL};
            enum kith_err err = kith_seen_shared(arena, &work->shared[i].row->row,
                                                 attr != NULL ? &attr->row : &none, seen);
            return err == KITH_ENOTFOUND ? KITH_OK : err;
        }
    }
    return KITH_OK;
}

/* The rows [first, end) are one entry with what stands beside it. */
static enum kith_err page_take(struct kith_arena *arena, const struct kith_inode *dir,
                               const struct kith_client_row *rows, uint32_t first, uint32_t end,
                               struct page_work *work)
{
    struct kith_rowname_parts parts;
    if (kith_rowname_parse(rows[first].name, &parts) != KITH_OK) {
        return KITH_OK; /* of a later version: not ours to judge */
    }
    const struct kith_client_row *attr = NULL;
    struct kith_rowname_parts beside;
    if (end > first + 1 && kith_rowname_parse(rows[first + 1].name, &beside) == KITH_OK &&
        beside.kind == KITH_ROWNAME_ATTR) {
        attr = &rows[first + 1];
    }
    if (parts.kind == KITH_ROWNAME_SHARED) {
        struct page_shared shared = {&rows[first], attr, parts.file_id};
        work->shared[work->shared_count++] = shared;
        return KITH_OK;
    }
    if (parts.kind != KITH_ROWNAME_ENTRY) {
        return KITH_OK;
    }
    struct kith_row none = {{0, NULL}, 0, NULL};
    struct page_item *item = &work->items[work->item_count];
    item->name = rows[first].name;
    enum kith_err err =
        kith_seen_entry(arena, &rows[first].row, attr != NULL ? &attr->row : &none, &item->seen);
    if (err == KITH_OK) {
        err = page_resolve(arena, dir, work, &item->seen);
    }
    item->seen.degraded = work->degraded;
    work->item_count++;
    return err;
}

/* Decodes a page into work->items; *ret_used: rows that were taken (the last entry of a page that
 * is not the last waits for the next one: its attributes may be there). */
static enum kith_err page_decode(struct kith_arena *arena, const struct kith_inode *dir,
                                 const struct kith_client_result *result, struct page_work *work,
                                 uint32_t *ret_used)
{
    uint32_t count = result->u.rows.row_count;
    const struct kith_client_row *rows = result->u.rows.rows;
    work->items = kith_arena_calloc(arena, count + 1u, sizeof *work->items);
    work->shared = kith_arena_calloc(arena, count + 1u, sizeof *work->shared);
    if (work->items == NULL || work->shared == NULL) {
        return KITH_ENOMEM;
    }
    uint32_t first = 0;
    while (first < count) {
        struct kith_rowname_parts base, next;
        uint32_t end = first + 1;
        if (kith_rowname_parse(rows[first].name, &base) == KITH_OK) {
            while (end < count && kith_rowname_parse(rows[end].name, &next) == KITH_OK &&
                   next.kind >= KITH_ROWNAME_ATTR && kith_bytes_equal(next.base, base.base)) {
                end++;
            }
        }
        if (end == count && result->u.rows.more && first > 0) {
            break;
        }
        enum kith_err err = page_take(arena, dir, rows, first, end, work);
        if (err != KITH_OK) {
            return err;
        }
        first = end;
    }
    *ret_used = first;
    return KITH_OK;
}

/* fs->lock held. Rows of shared inodes that no name of the whole directory refers to, and have not for
 * a while: whoever left them there has ended. What they hold comes back as a file (linkset.c). */
static void page_orphans(struct kith_fs *fs, struct kith_arena *arena, const struct kith_inode *dir,
                         const struct page_work *work)
{
    struct kith_time wall = kith_wall_time();
    uint64_t now_ms = (uint64_t)wall.sec * 1000 + wall.nsec / 1000000;
    for (uint32_t i = 0; i < work->shared_count; i++) {
        const struct kith_sibling *winner = kith_row_winner(&work->shared[i].row->row);
        bool named = winner == NULL ||
                     kith_hlc_ms(winner->time) + ORPHAN_MS > now_ms; /* or ahead of our clock */
        for (uint32_t k = 0; k < work->item_count && !named; k++) {
            const struct kith_seen *seen = &work->items[k].seen;
            named = seen->live && seen->link && seen->record.file_id == work->shared[i].id;
        }
        struct kith_inode_record record;
        if (!named && kith_inode_record_decode(arena, winner->value, &record) == KITH_OK &&
            record.name_count > 0) {
            const struct kith_link_at was = {dir->dir->group, false, work->shared[i].id};
            const struct kith_link_name name = {dir->dir->group, record.names[0].name};
            kith_link_left(fs, &was, &name, kith_bytes_make(NULL, 0));
        }
    }
}

/* Into the tables. */
static int page_absorb(struct kith_fs *fs, struct kith_inode *dir, struct page_work *work,
                       uint64_t load, uint64_t started)
{
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    for (uint32_t i = 0; i < work->item_count && error == 0; i++) {
        struct page_item *item = &work->items[i];
        struct kith_entry *entry =
            kith_entry_make(fs, dir, (const char *)item->name.data, item->name.size);
        if (entry == NULL) {
            error = ENOMEM;
            break;
        }
        entry->load = entry->load > load ? entry->load : load; /* several scans at once */
        bool doubt = kith_seen_elsewhere(fs, dir, entry->name, &item->seen) != NULL;
        bool unresolved = ((item->seen.link && !item->seen.resolved) || doubt) &&
                          entry->changed_at < started;
        if (doubt) { /* who needs it reads it, and where it was */
            kith_entry_doubt(entry);
        } else {
            error = kith_errno(kith_seen_absorb(fs, entry, &item->seen, started));
        }
        if (unresolved) {
            dir->dir->doubt_at = kith_mono_ns(); /* the table does not tell what it is */
        }
        item->shown = entry->inode != NULL || unresolved;
        if (entry->inode != NULL) {
            item->seen.record.type = entry->inode->type;
            item->seen.record.file_id = entry->inode->id;
        } else if (unresolved) {
            item->seen.record.type = KITH_TYPE_FILE;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* kith_entry_find wants a NUL behind the name: names of rows have none. */
static enum kith_err page_names(struct kith_arena *arena, struct page_work *work)
{
    for (uint32_t i = 0; i < work->item_count; i++) {
        struct kith_bytes name = work->items[i].name;
        char *copy = kith_arena_alloc(arena, name.size + 1);
        if (copy == NULL) {
            return KITH_ENOMEM;
        }
        memcpy(copy, name.data, name.size);
        copy[name.size] = '\0';
        work->items[i].name.data = (const uint8_t *)copy;
    }
    return KITH_OK;
}

int kith_dir_page_saw(struct kith_fs *fs, struct kith_inode *dir,
                      const struct kith_client_result *result, uint64_t load, uint64_t started,
                      struct kith_arena *arena, kith_dir_each each, void *arg,
                      struct kith_dir_page *ret_page)
{
    struct page_work work = {.degraded = result->degraded};
    uint32_t used = 0;
    int error = kith_errno(page_decode(arena, dir, result, &work, &used));
    struct kith_bytes last = result->u.rows.last;
    if (used < result->u.rows.row_count && used > 0) {
        last = result->u.rows.rows[used - 1].name;
    }
    ret_page->more = result->u.rows.more;
    ret_page->degraded = result->degraded;
    ret_page->last.data = kith_arena_copy(arena, last.data, last.size);
    ret_page->last.size = last.size;
    if (error == 0 && ret_page->last.data == NULL) {
        error = ENOMEM;
    }
    if (error == 0) {
        error = kith_errno(page_names(arena, &work));
    }
    if (error == 0) {
        error = page_absorb(fs, dir, &work, load, started);
    }
    if (error == 0 && work.shared_count > 0 && !result->u.rows.more && !result->degraded) {
        pthread_mutex_lock(&fs->lock);
        page_orphans(fs, arena, dir, &work);
        pthread_mutex_unlock(&fs->lock);
    }
    for (uint32_t i = 0; i < work.item_count && error == 0 && each != NULL; i++) {
        const struct page_item *item = &work.items[i];
        if (item->shown) {
            error = each(arg, (const char *)item->name.data, item->name.size,
                         item->seen.record.type, item->seen.record.file_id);
        }
    }
    return error;
}

int kith_dir_page(struct kith_fs *fs, struct kith_inode *dir, const struct kith_bytes *after,
                  uint64_t load, struct kith_arena *arena, kith_dir_each each, void *arg,
                  struct kith_dir_page *ret_page)
{
    struct kith_client_answer answer;
    uint64_t started = kith_mono_ns();
    int error = kith_rows_scan(fs, &dir->dir->group, after, 0, ret_page->strict, &answer);
    if (error == 0) {
        error = kith_dir_page_saw(fs, dir, &answer.result, load, started, arena, each, arg,
                                  ret_page);
    }
    kith_client_answer_release(&answer);
    return error;
}

/* ---- Whole directories ---- */

/* All pages are read: what neither this load nor a later one, which is under way, has seen is not
 * there. */
void kith_dir_complete(struct kith_fs *fs, struct kith_inode *dir, uint64_t load, uint64_t started)
{
    for (uint32_t i = 0; i < dir->dir->bucket_count; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            if (entry->load >= load || entry->changed_at >= started || kith_entry_unsent(entry)) {
                continue;
            }
            if (entry->inode == NULL || (!entry->inode->pending && !entry->inode->row_busy)) {
                kith_entry_lead(fs, entry, NULL);
                entry->valid_until = kith_watch_until(fs, entry, started);
                kith_watch_saw(entry, started, true);
            }
        }
    }
    if (dir->dir->told_at < started) {
        dir->dir->complete_until = started + fs->entry_ns;
    }
    kith_watch_scanned(dir, started);
}

bool kith_dir_scan_due(struct kith_inode *dir)
{
    return kith_watch_live(dir) != 0 && !kith_watch_complete(dir) && !dir->dir->loading &&
           !dir->dir->large && dir->dir->entry_count < KITH_PAGE_ROWS_MAX / 2;
}

struct kith_entry *kith_dir_missing(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                                    uint64_t now)
{
    bool timed = now < dir->dir->complete_until;
    if (!timed && !kith_watch_complete(dir)) {
        return NULL;
    }
    struct kith_entry *entry = kith_entry_make(fs, dir, name, strlen(name));
    if (entry != NULL) {
        entry->valid_until = timed ? dir->dir->complete_until : 0;
        entry->live = kith_watch_complete(dir) ? dir->dir->complete : 0;
    }
    return entry;
}

bool kith_dir_listable(struct kith_inode *dir, uint64_t now)
{
    return (now < dir->dir->complete_until || kith_watch_complete(dir)) &&
           dir->dir->doubt_at <= dir->dir->complete_from;
}

/* pages: no more than so many. */
static void dir_load(struct kith_fs *fs, struct kith_inode *dir, unsigned pages)
{
    pthread_mutex_lock(&fs->lock);
    bool runs = dir->dir->loading;
    dir->dir->loading = true;
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    if (runs) {
        return;
    }
    uint64_t started = kith_mono_ns();
    struct kith_dir_page page = {.more = true};
    int error = 0;
    struct kith_arena arenas[2]; /* one holds the place where the other's page begins */
    kith_arena_init(&arenas[0], 0);
    kith_arena_init(&arenas[1], 0);
    for (unsigned i = 0; i < pages && page.more && error == 0; i++) {
        struct kith_bytes after = page.last;
        kith_arena_reset(&arenas[i & 1]);
        error =
            kith_dir_page(fs, dir, i == 0 ? NULL : &after, load, &arenas[i & 1], NULL, NULL, &page);
    }
    kith_arena_release(&arenas[0]);
    kith_arena_release(&arenas[1]);
    pthread_mutex_lock(&fs->lock);
    dir->dir->loading = false;
    dir->dir->misses = 0;
    if (error == 0 && !page.more && !page.degraded) {
        kith_dir_complete(fs, dir, load, started);
    } else {
        dir->dir->large = true;
    }
    pthread_mutex_unlock(&fs->lock);
}

void kith_dir_scan(struct kith_fs *fs, struct kith_inode *dir)
{
    dir_load(fs, dir, 1);
}

bool kith_dir_missed(struct kith_dir *dir, uint64_t now)
{
    if (now - dir->miss_since > NSEC_PER_SEC) {
        dir->miss_since = now;
        dir->misses = 0;
    }
    dir->misses++;
    return !dir->loading && dir->misses >= MISSES_MIN + dir->entry_count / MISSES_PER_ENTRIES &&
           dir->entry_count < LOAD_PAGES_MAX * KITH_PAGE_ROWS_MAX / 2;
}

/* fs->lock held. From memory, pinned; NULL when it is not known. */
static struct kith_entry *known(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    uint64_t now = kith_mono_ns();
    struct kith_entry *entry = kith_entry_find(dir, name);
    if (entry == NULL) {
        entry = kith_dir_missing(fs, dir, name, now);
    }
    if (entry == NULL || !kith_entry_valid(entry, now)) {
        return NULL;
    }
    entry->pins++;
    kith_entry_touch(fs, entry);
    return entry;
}

int kith_dir_entry(struct kith_fs *fs, struct kith_inode *dir, const char *name,
                   struct kith_entry **ret_entry)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = known(fs, dir, name);
    bool load = entry == NULL && kith_dir_missed(dir->dir, kith_mono_ns());
    bool scan = entry == NULL && !load && kith_dir_scan_due(dir);
    bool begin = entry == NULL && kith_watch_asked(fs, dir, false);
    pthread_mutex_unlock(&fs->lock);
    if (begin) {
        kith_watch_begin(fs, dir);
    }
    if (load || scan) {
        dir_load(fs, dir, load ? LOAD_PAGES_MAX : 1);
        pthread_mutex_lock(&fs->lock);
        entry = known(fs, dir, name);
        pthread_mutex_unlock(&fs->lock);
    }
    if (entry == NULL) {
        return kith_dir_read(fs, dir, name, ret_entry);
    }
    *ret_entry = entry;
    return 0;
}

static int empty_each(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
{
    (void)arg, (void)name, (void)size, (void)type, (void)id;
    return ENOTEMPTY;
}

/* fs->lock held */
static bool has_pending(const struct kith_inode *dir)
{
    for (uint32_t i = 0; i < dir->dir->bucket_count; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            if (entry->inode != NULL && entry->inode->pending) {
                return true;
            }
        }
    }
    return false;
}

bool kith_dir_seems_empty(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    bool empty = kith_dir_listable(dir, kith_mono_ns());
    for (uint32_t i = 0; i < dir->dir->bucket_count && empty; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            empty = empty && entry->inode == NULL;
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return empty;
}

int kith_dir_empty(struct kith_fs *fs, struct kith_inode *dir)
{
    pthread_mutex_lock(&fs->lock);
    bool pending = has_pending(dir);
    uint64_t load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    if (pending) {
        return ENOTEMPTY;
    }
    struct kith_dir_page page = {.more = true, .strict = true};
    struct kith_arena arenas[2];
    kith_arena_init(&arenas[0], 0);
    kith_arena_init(&arenas[1], 0);
    int error = 0;
    for (unsigned i = 0; page.more && error == 0; i++) {
        struct kith_bytes after = page.last;
        kith_arena_reset(&arenas[i & 1]);
        error = kith_dir_page(fs, dir, i == 0 ? NULL : &after, load, &arenas[i & 1], empty_each,
                              NULL, &page);
    }
    kith_arena_release(&arenas[0]);
    kith_arena_release(&arenas[1]);
    return error;
}
