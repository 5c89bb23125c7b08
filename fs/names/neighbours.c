/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * neighbours.c - a question for a name of a large directory brings the names behind it, too.
 *
 * A directory that is too large to be loaded (dir.c) answers each of the first questions with a
 * request. But who goes through it asks for one name after the other in their order, which is that
 * of the rows (sorted globs, ls -l, rsync, backups). So under a live watch a question may be sent as
 * a scan of some rows that begins with the name: what it brings of the names behind it answers the
 * next questions from memory.
 *
 * HOW MANY. As with the readahead of a page cache (Linux, mm/readahead.c): a window of ROWS_FIRST
 * rows at first. Who asks for the name behind the last one that a window brought, or for one close
 * behind it, goes on from there: where at least half of the window was asked for the next one is
 * larger, up to a page, and where little was, smaller. There may be STREAMS of them at once. Any
 * other question begins a window where the last one that was begun so was of use; else more and
 * more questions are sent plainly in between (up to 2^VAIN_MAX), so that who asks in no order pays
 * for some hundredth of his questions what a few more rows cost, and is noticed all the same when
 * he begins to. What lies within a window and is not known is asked for alone.
 * One scan is under way at a time; who asks meanwhile asks plainly. For what is read ahead
 * (dir_ahead.c) a scan is one question as any other: of a thousand rows that it brings 64 may be read
 * twice, and who walks through a million names once is nearly through when that begins.
 *
 * WHY IT IS SOUND. The rows are absorbed as those of a listing's page are: each under the
 * conditions (1) to (3) of watch.c with the time at which the scan was sent; so a name that was told
 * of meanwhile stays unknown. A window is cut anywhere, where a page of a listing is cut between a
 * thousand rows: its last name may have an attribute row behind the cut, and is left out, also where
 * it is the only one. The name that was asked for is not there where the rows reach beyond its place
 * (or to the end) and do not show it: that is what a GET begun at the same time would have said, so it
 * is absorbed as that. Where the scan does not tell of the name, or fails, a thread asks for it: it is
 * soft and short for that.
 *
 * WHAT IS NOT THERE. A window is a complete table of the names from its first to its last (to the
 * end of the directory where the rows ended), as a scan of all is one of the directory, under the same
 * conditions (watch.c, "Of names instead of one"): what it did not see does not exist, names told
 * meanwhile have entries. So who makes one file after the other, or looks for NAME.lock beside each
 * NAME, asks once a window. Where an entry leaves the table that the window may have seen, or that
 * was told of, the window tells nothing of the names up to it any more (gone): what leaves was used
 * longest ago, and who goes through the names is beyond it.
 *
 * Not in a directory of which all names are known, or are about to be: there the few that are
 * asked for are those that were told of. All fields are under fs->lock. Checked by
 * tests/unit/test_neighbours.c and tests/integration/test_sorted_walk.sh. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

#define ROWS_FIRST 16u  /* a scan of so many takes little longer than a GET */
#define ROWS_FEW   128u /* below that it is four times as many, else twice */
#define STREAMS    8u   /* 1 KiB each; who looks through a directory by more threads gets less */
#define MISSED_FREE 8u  /* questions of others at once */
#define VAIN_MAX   8u   /* one question in 256: what a scan costs more is not to be seen then */
#define SCAN_MS    1000u /* at most half the time of a request, which is asked then */

/* Names that one scan brought. */
struct window {
    uint64_t load;          /* of the scan: entries that it brought bear it; 0: none */
    uint32_t rows;          /* asked for */
    uint32_t brought, used; /* names that became known by it; of which one was asked for since */
    uint32_t missed;        /* questions within it that needed the network */
    char first[KITH_FS_NAME_MAX + 1], last[KITH_FS_NAME_MAX + 1];
    char next[KITH_FS_NAME_MAX + 1]; /* the name behind it, where one is known; "" */
    bool sure;                       /* behind gone, from first to last, there is but what it saw: */
    bool open;                       /* or to the end */
    char gone[KITH_FS_NAME_MAX + 1];
};

struct kith_near {
    uint64_t live; /* the number of the watch under which the windows count */
    struct window windows[STREAMS];
    bool under_way;        /* a scan: */
    struct window *target; /* whose place it takes */
    uint64_t taken;        /* live when it was: what left the table before is not noted under another */
    uint32_t rows;
    bool begins;         /* it goes on from none */
    uint64_t begun;      /* load of the last that was of those; 0: that is known */
    uint32_t vain, skip; /* of those, in a row; questions to be sent plainly before the next */
};

/* fs->lock held. NULL: there are no windows here. */
static struct kith_near *near_of(struct kith_inode *inode)
{
    struct kith_dir *dir = inode->dir;
    uint64_t live = kith_watch_live(inode);
    struct kith_pack *pack = live == 0 ? NULL : kith_pack_of(inode);
    bool large = dir->large || dir->entry_count >= KITH_LOAD_NAMES_MAX;
    bool whole = pack != NULL ? kith_pack_ahead(pack)->whole : kith_watch_complete(inode);
    if (live == 0 || !large || whole || dir->loading) {
        return NULL;
    }
    if (dir->near == NULL) {
        dir->near = kith_calloc(1, sizeof *dir->near);
    }
    struct kith_near *near = dir->near;
    if (near != NULL && near->live != live) {
        memset(near->windows, 0, sizeof near->windows);
        near->live = live;
        near->begun = near->vain = near->skip = 0;
    }
    return near;
}

static size_t common(const char *a, const char *b)
{
    size_t size = 0;
    while (a[size] != '\0' && a[size] == b[size]) {
        size++;
    }
    return size;
}

static bool holds(const struct window *window, const char *name)
{
    return window->load != 0 && strcmp(name, window->first) >= 0 &&
           strcmp(name, window->last) <= 0;
}

/* Without an entry it is known not to be there. */
static bool lacks(const struct window *window, const char *name)
{
    return window->sure && strcmp(name, window->first) >= 0 && strcmp(name, window->gone) > 0 &&
           (window->open || strcmp(name, window->last) <= 0);
}

/* The name is the next one, or is as close behind the window as its own names are to each other;
 * where it brought none, for all that was there is removed, it may be so short that the next digit
 * has changed. */
static bool leads_to(const struct window *window, const char *name)
{
    if (window->load == 0 || window->open) {
        return false;
    }
    size_t near_enough = common(window->first, window->last);
    near_enough -= window->brought == 0 && near_enough > 1 ? 1 : 0;
    return strcmp(name, window->next) == 0 ||
           (strcmp(name, window->last) > 0 && common(name, window->last) >= near_enough);
}

static struct window *window_that(struct kith_near *near, const char *name,
                                  bool (*fits)(const struct window *, const char *))
{
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (fits(&near->windows[i], name)) {
            return &near->windows[i];
        }
    }
    return NULL;
}

static struct window *window_of(struct kith_near *near, uint64_t load)
{
    for (uint32_t i = 0; i < STREAMS; i++) {
        if (near->windows[i].load == load) {
            return &near->windows[i];
        }
    }
    return NULL;
}

static struct window *window_oldest(struct kith_near *near)
{
    struct window *oldest = &near->windows[0];
    for (uint32_t i = 1; i < STREAMS; i++) {
        oldest = near->windows[i].load < oldest->load ? &near->windows[i] : oldest;
    }
    return oldest;
}

static bool was_of_use(const struct window *window)
{
    return window->used > 0 && window->used >= window->brought / 8;
}

/* How large the one is that goes on from it; 0: none does. */
static uint32_t rows_after(const struct window *window)
{
    uint32_t rows = window->rows;
    if (window->brought == 0 || (window->used > 0 && window->used >= window->brought / 2)) {
        rows *= rows < ROWS_FEW ? 4 : 2;
        return rows < KITH_PAGE_ROWS_MAX ? rows : KITH_PAGE_ROWS_MAX;
    }
    if (was_of_use(window)) {
        return rows;
    }
    return rows / 2 < ROWS_FIRST ? 0 : rows / 2;
}

static void in_vain(struct kith_near *near)
{
    near->vain += near->vain < VAIN_MAX ? 1 : 0;
    near->skip = 1u << near->vain;
}

static void drop(struct kith_near *near, struct window *window)
{
    if (!was_of_use(window)) {
        in_vain(near);
    }
    near->begun = near->begun == window->load ? 0 : near->begun;
    window->load = 0;
}

/* The question goes on from no window: whether it begins one. */
static bool may_begin(struct kith_near *near)
{
    if (near->skip > 0) {
        near->skip--;
        return false;
    }
    const struct window *last = near->begun == 0 ? NULL : window_of(near, near->begun);
    near->begun = 0;
    if (last != NULL && was_of_use(last)) {
        near->vain = 0;
    } else if (last != NULL) {
        in_vain(near);
    }
    return true;
}

uint32_t kith_near_take(struct kith_inode *dir, const char *name)
{
    struct kith_near *near = near_of(dir);
    if (near == NULL || near->under_way) {
        return 0;
    }
    struct window *window = window_that(near, name, holds);
    if (window != NULL) {
        /* what it brought has left, or was nothing; some had begun to ask before it came */
        if (++window->missed > window->brought + MISSED_FREE) {
            drop(near, window);
        }
        return 0;
    }
    window = window_that(near, name, leads_to);
    near->begins = window == NULL;
    near->rows = near->begins ? ROWS_FIRST : rows_after(window);
    if (near->begins && !may_begin(near)) {
        return 0;
    }
    if (near->rows == 0) {
        drop(near, window);
        return 0;
    }
    if (near->begins) {
        window = window_oldest(near);
    } else {
        near->vain = near->skip = 0;
        near->begun = near->begun == window->load ? 0 : near->begun;
    }
    memset(window, 0, sizeof *window);
    (void)snprintf(window->first, sizeof window->first, "%s", name);
    near->target = window;
    near->under_way = true;
    near->taken = near->live;
    return near->rows;
}

void kith_near_used(struct kith_entry *entry)
{
    struct kith_near *near = entry->dir->dir->near;
    struct window *window =
        entry->brought && near != NULL && entry->load != 0 ? window_of(near, entry->load) : NULL;
    if (window != NULL) {
        window->used++;
    }
    entry->brought = false;
}

/* ---- What is not there ---- */

bool kith_near_lacks(struct kith_inode *dir, const char *name)
{
    struct kith_near *near = dir->dir->near;
    if (near == NULL || near->live == 0 || near->live != kith_watch_live(dir) ||
        kith_pack_told(dir, name, strlen(name)) != 0) {
        return false;
    }
    struct window *window = window_that(near, name, lacks);
    if (window != NULL) {
        window->used++;
    }
    return window != NULL;
}

struct kith_entry *kith_near_missing(struct kith_fs *fs, struct kith_inode *dir, const char *name)
{
    struct kith_entry *entry =
        kith_near_lacks(dir, name) ? kith_entry_make(fs, dir, name, strlen(name)) : NULL;
    if (entry != NULL) {
        entry->live = dir->dir->near->live;
    }
    return entry;
}

void kith_near_evicts(const struct kith_entry *entry)
{
    struct kith_near *near = entry->dir->dir->near;
    if (near == NULL || (entry->inode == NULL && entry->live != 0 && entry->live == near->live)) {
        return; /* that one is missing as before: the next change of it is told */
    }
    for (uint32_t i = 0; i < STREAMS; i++) {
        struct window *window = &near->windows[i];
        bool may_hold = (near->under_way && window == near->target) || window->open ||
                        strcmp(entry->name, window->last) <= 0;
        if (may_hold && strcmp(entry->name, window->first) >= 0 &&
            strcmp(entry->name, window->gone) > 0) {
            memcpy(window->gone, entry->name, entry->name_size + 1u);
        }
    }
}

/* ---- Scans ---- */

static struct kith_bytes asked_for(const struct kith_job *job)
{
    return kith_bytes_make(job->name, strlen(job->name));
}

/* Sorts before the name's rows, and behind those of nearly all names before it. */
static void row_before(struct kith_bytes name, struct kith_rowname *ret_row)
{
    kith_rowname_entry(name, ret_row);
    ret_row->data[ret_row->size - 1]--;
    ret_row->data[ret_row->size++] = 0xff;
}

void kith_near_send(struct kith_job *job, struct kith_inode *dir, uint32_t rows,
                    void (*done)(struct kith_job *, const struct kith_client_result *))
{
    struct kith_fs *fs = job->fs;
    struct kith_rowname after;
    uint32_t half_ms = fs->options->op_timeout_ms / 2 + 1;
    row_before(asked_for(job), &after);
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .soft = true};
    op.timeout_ms = half_ms < SCAN_MS ? half_ms : SCAN_MS;
    op.u.scan.group = dir->dir->group;
    op.u.scan.has_after = true;
    op.u.scan.after = kith_rowname_bytes(&after);
    op.u.scan.max_rows = rows;
    pthread_mutex_lock(&fs->lock);
    job->load = ++fs->load_count;
    pthread_mutex_unlock(&fs->lock);
    job->started = kith_mono_ns();
    kith_job_begin(job);
    kith_job_send(job, &op, done);
}

/* The name whose row that is. */
static void name_of(char name[KITH_FS_NAME_MAX + 1], struct kith_bytes row)
{
    size_t size = row.size < KITH_FS_NAME_MAX ? row.size : KITH_FS_NAME_MAX;
    const char *end = size == 0 ? NULL : memchr(row.data, '\0', size);
    size = end != NULL ? (size_t)(end - (const char *)row.data) : size;
    if (size > 0) {
        memcpy(name, row.data, size);
    }
    name[size] = '\0';
}

/* fs->lock held. What was under way has brought the page; NULL: nothing that counts. */
static void window_fill(struct kith_near *near, const struct kith_job *job,
                        struct kith_inode *dir, const struct kith_dir_page *page)
{
    struct window *window = near->target;
    near->under_way = false;
    if (page == NULL) {
        near->vain = VAIN_MAX;
        in_vain(near);
        return;
    }
    window->load = job->load;
    window->rows = near->rows;
    window->brought = page->brought;
    window->open = !page->more;
    window->sure = (window->open || page->last.size > 0) && near->taken == near->live &&
                   near->live == kith_watch_live(dir) && kith_watch_counts(dir, job->started);
    memcpy(window->first, job->name, sizeof window->first);
    name_of(window->last, page->last.size > 0 ? page->last : asked_for(job));
    name_of(window->next, page->next);
    near->begun = near->begins ? job->load : near->begun;
}

/* The page does not show the name. Where it tells that the name is not there that is absorbed, and
 * the entry comes pinned; else NULL. */
static struct kith_entry *absorb_missing(struct kith_job *job, struct kith_inode *dir,
                                         const struct kith_dir_page *page)
{
    const struct kith_seen none = {.degraded = page->degraded};
    bool covered = !page->more || kith_bytes_compare(page->last, asked_for(job)) >= 0;
    struct kith_entry *entry = NULL;
    int error = ENOENT;
    if (covered) {
        error = kith_dir_saw(job->fs, dir, job->name, &none, job->started, &entry);
    }
    return error == 0 ? entry : NULL;
}

struct kith_entry *kith_near_saw(struct kith_job *job, struct kith_inode *dir,
                                 const struct kith_client_result *result)
{
    struct kith_fs *fs = job->fs;
    struct kith_dir_page page = {.more = true, .few = true};
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    bool ok = result->err == KITH_OK &&
              kith_dir_page_saw(fs, dir, result, job->load, job->started, &arena, NULL, NULL,
                                &page) == 0;
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = ok ? kith_entry_find(dir, job->name) : NULL;
    bool shown = entry != NULL && entry->load >= job->load; /* by this scan, or a later one */
    if (shown && entry->brought) { /* which nobody has to ask for again */
        entry->brought = false;
        page.brought--;
    }
    if (shown && kith_entry_valid(entry, kith_mono_ns())) {
        entry->pins++;
        kith_entry_touch(fs, entry);
    } else {
        entry = NULL;
    }
    window_fill(dir->dir->near, job, dir, ok && !page.degraded ? &page : NULL);
    pthread_mutex_unlock(&fs->lock);
    if (ok && !shown) {
        entry = absorb_missing(job, dir, &page);
    }
    kith_arena_release(&arena);
    return entry;
}
