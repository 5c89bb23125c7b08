/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir_page.c - a page of a directory: rows as a scan brought them, made into entries.
 *
 * Rows come in the order of their names: first those of the shared inodes that lie in the
 * directory's group (NUL i ID), then each name with its attributes behind it. So a name that refers
 * to a shared inode mostly finds it in the same page; else it is read when somebody asks for it.
 * A page may also be of few rows, which begin anywhere (neighbours.c). */
#include <errno.h>
#include <string.h>

#include "data/hlc.h"
#include "fs/fs.h"
#include "fs/links/links.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define ORPHAN_MS                                                                                  \
    10000u /* longer than the mount that left it takes to look at it itself (left.c) */

struct page_item {
    struct kith_bytes name;
    struct kith_seen seen;
    bool shown;
    struct kith_bytes row; /* for a pack; empty: none */
};

struct page_shared {
    const struct kith_client_row *row, *attr;
    uint64_t id;
};

struct page_work {
    bool degraded, few;
    uint32_t brought;
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
        if (end == count && result->u.rows.more && (first > 0 || work->few)) {
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

/* fs->lock held. Rows of shared inodes that no name of the whole directory refers to, and have not
 * for a while: whoever left them there has ended. What they hold comes back as a file (left.c). */
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
            named = seen->live && seen->link && seen->row_id == work->shared[i].id &&
                    kith_group_compare(&seen->link_group, &dir->dir->group) == 0;
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

/* fs->lock held. */
static int item_absorb(struct kith_fs *fs, struct kith_inode *dir, struct page_item *item,
                       struct kith_entry *entry, uint64_t started)
{
    struct kith_link_at at;
    int error = 0;
    bool doubt = kith_seen_elsewhere(fs, dir, entry->name, &item->seen) != NULL ||
                 kith_seen_other_row(fs, dir, entry->name, &item->seen, &at);
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
    return error;
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
        kith_entry_touch(fs, entry);
        bool knew = !work->few || kith_watch_knows(entry);
        error = item_absorb(fs, dir, item, entry, started);
        if (!knew && entry->inode != NULL && kith_watch_knows(entry)) {
            entry->brought = true;
            work->brought++;
        }
    }
    /* as fast as they come: the timer is too slow for a large directory */
    (void)kith_entry_sweep(fs, 0, 2 * work->item_count);
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

static int page_open(struct kith_arena *arena, const struct kith_inode *dir,
                     const struct kith_client_result *result, struct page_work *work,
                     struct kith_dir_page *ret_page)
{
    uint32_t used = 0;
    int error = kith_errno(page_decode(arena, dir, result, work, &used));
    struct kith_bytes last = result->u.rows.last;
    if (used < result->u.rows.row_count) {
        ret_page->next = result->u.rows.rows[used].name;
        ret_page->next.data = kith_arena_copy(arena, ret_page->next.data, ret_page->next.size);
        last = used > 0 ? result->u.rows.rows[used - 1].name : kith_bytes_make("", 0);
    }
    ret_page->more = result->u.rows.more;
    ret_page->degraded = result->degraded;
    ret_page->last.data = kith_arena_copy(arena, last.data, last.size);
    ret_page->last.size = last.size;
    if (error == 0 && (ret_page->last.data == NULL ||
                       (ret_page->next.size > 0 && ret_page->next.data == NULL))) {
        error = ENOMEM;
    }
    return error == 0 ? kith_errno(page_names(arena, work)) : error;
}

int kith_dir_page_saw(struct kith_fs *fs, struct kith_inode *dir,
                      const struct kith_client_result *result, uint64_t load, uint64_t started,
                      struct kith_arena *arena, kith_dir_each each, void *arg,
                      struct kith_dir_page *ret_page)
{
    struct page_work work = {.degraded = result->degraded, .few = ret_page->few};
    int error = page_open(arena, dir, result, &work, ret_page);
    if (error == 0) {
        error = page_absorb(fs, dir, &work, load, started);
    }
    ret_page->brought = work.brought;
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

/* As packs keep them, before anything is locked. */
static int page_encode(struct kith_arena *arena, struct page_work *work)
{
    struct kith_buf buf;
    int error = 0;
    kith_buf_init(&buf);
    for (uint32_t i = 0; i < work->item_count && error == 0; i++) {
        kith_buf_clear(&buf);
        if (kith_pack_encode(&work->items[i].seen, &buf)) {
            const void *copy = kith_arena_copy(arena, buf.data, buf.size);
            work->items[i].row = kith_bytes_make(copy, buf.size);
            error = copy == NULL ? ENOMEM : 0;
        }
    }
    kith_buf_release(&buf);
    return error;
}

int kith_dir_page_pack(struct kith_fs *fs, struct kith_inode *dir,
                       const struct kith_client_result *result, uint64_t number, uint64_t started,
                       struct kith_arena *arena, struct kith_dir_page *ret_page)
{
    struct page_work work = {.degraded = result->degraded};
    int error = page_open(arena, dir, result, &work, ret_page);
    if (error == 0) {
        error = page_encode(arena, &work);
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_pack *pack = error == 0 ? kith_pack_of(dir) : NULL;
    bool counts = pack != NULL && kith_pack_ahead(pack)->number == number && !result->degraded &&
                  started > dir->dir->live_since && started > dir->dir->hold_until;
    if (error == 0 && !counts) {
        error = EAGAIN;
    }
    for (uint32_t i = 0; i < work.item_count && error == 0; i++) {
        struct page_item *item = &work.items[i];
        const char *name = (const char *)item->name.data;
        const struct kith_bytes *row = item->row.size > 0 ? &item->row : NULL;
        struct kith_entry *entry = kith_entry_find(dir, name);
        if (entry != NULL) {
            error = item_absorb(fs, dir, item, entry, started);
        } else if (!kith_pack_saw(dir, name, item->name.size, row, item->seen.live, started)) {
            error = ENOSPC;
        }
    }
    pthread_mutex_unlock(&fs->lock);
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
