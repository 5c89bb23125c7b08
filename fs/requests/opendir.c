/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * opendir.c - open directories: a listing streams by pages, and its cookies belong to the handle.
 *
 * Position 0 is ".", 1 is "..", n + 2 the n-th name of this listing. A handle keeps the names of
 * one page; who seeks back behind it starts the listing again. Names that were pending when the
 * listing began are left out of the pages and come last, so that each comes once, flushed meanwhile
 * or not. Other versions of a file stand behind the page that has its name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fs/conflicts/conflicts.h"
#include "fs/control/control.h"
#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/tables/tables.h"

struct item {
    uint64_t id;
    enum kith_type type;
    bool made; /* no row has this name */
    uint8_t size;
    char name[];
};

struct listing {
    pthread_mutex_t lock;        /* one READDIR at a time */
    struct kith_arena arenas[2]; /* pages, in turn: one may hold the place where the next begins */
    unsigned turn;
    struct item **items; /* of the page in memory */
    size_t count, capacity;
    uint64_t first; /* the number of items[0] in the listing */
    bool begun, done;
    struct kith_bytes after;
    struct kith_arena pending_arena;
    struct item **pending; /* sorted by name */
    size_t pending_count;
    uint64_t load, started;
    bool degraded;
};

static struct listing *listing_of(const struct fuse_file_info *fi)
{
    return (struct listing *)(uintptr_t)fi->fh;
}

void kith_op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct listing *listing = kith_calloc(1, sizeof *listing);
    (void)ino;
    if (listing == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_mutex_init(&listing->lock, NULL);
    fi->fh = (uintptr_t)listing;
    if (fuse_reply_open(req, fi) == -ENOENT) {
        pthread_mutex_destroy(&listing->lock);
        kith_free(listing);
    }
}

void kith_op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct listing *listing = listing_of(fi);
    (void)ino;
    kith_arena_release(&listing->arenas[0]);
    kith_arena_release(&listing->arenas[1]);
    kith_arena_release(&listing->pending_arena);
    kith_free(listing->items);
    kith_free(listing->pending);
    pthread_mutex_destroy(&listing->lock);
    kith_free(listing);
    fuse_reply_err(req, 0);
}

static struct item *item_new(struct kith_arena *arena, const char *name, size_t size,
                             enum kith_type type, uint64_t id)
{
    struct item *item = kith_arena_alloc(arena, sizeof *item + size + 1);
    if (item != NULL) {
        item->id = id;
        item->type = type;
        item->made = false;
        item->size = (uint8_t)size;
        memcpy(item->name, name, size);
        item->name[size] = '\0';
    }
    return item;
}

static int items_add(struct listing *listing, struct item *item)
{
    if (item == NULL) {
        return ENOMEM;
    }
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 64 : listing->capacity * 2;
        struct item **items = kith_realloc(listing->items, capacity * sizeof(struct item *));
        if (items == NULL) {
            return ENOMEM;
        }
        listing->items = items;
        listing->capacity = capacity;
    }
    listing->items[listing->count++] = item;
    return 0;
}

static int by_name(const void *a, const void *b)
{
    const struct item *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/* fs->lock held. Collects the names that lead somewhere: all of them, or only pending ones. */
static int collect(const struct kith_fs *fs, struct listing *listing, const struct kith_inode *dir,
                   bool all)
{
    size_t capacity = 0;
    for (uint32_t i = 0; i < dir->dir->bucket_count; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            const struct kith_inode *inode = entry->inode;
            if (inode == NULL || (!all && !inode->pending) ||
                kith_control_hides(fs, dir, entry->name)) {
                continue;
            }
            struct kith_arena *arena = all ? &listing->arenas[0] : &listing->pending_arena;
            struct item *item =
                item_new(arena, entry->name, entry->name_size, inode->type, inode->id);
            if (all) {
                if (items_add(listing, item) != 0) {
                    return ENOMEM;
                }
                continue;
            }
            if (listing->pending_count == capacity) {
                capacity = capacity == 0 ? 16 : capacity * 2;
                struct item **items =
                    kith_realloc(listing->pending, capacity * sizeof(struct item *));
                if (items == NULL) {
                    return ENOMEM;
                }
                listing->pending = items;
            }
            if (item == NULL) {
                return ENOMEM;
            }
            listing->pending[listing->pending_count++] = item;
        }
    }
    return 0;
}

/* fs->lock held. Whether memory says of each name of the table where it leads: a name of a hard
 * link whose inode lies in another directory has none before somebody looks it up. */
static bool names_known(const struct kith_inode *dir, uint64_t now)
{
    for (uint32_t i = 0; i < dir->dir->bucket_count; i++) {
        for (struct kith_entry *entry = dir->dir->buckets[i]; entry != NULL; entry = entry->next) {
            if (entry->inode == NULL && !kith_entry_valid(entry, now)) {
                return false;
            }
        }
    }
    return true;
}

static void restart(struct listing *listing)
{
    kith_arena_reset(&listing->arenas[0]);
    kith_arena_reset(&listing->arenas[1]);
    kith_arena_reset(&listing->pending_arena);
    kith_free(listing->pending);
    listing->pending = NULL;
    listing->pending_count = 0;
    listing->count = 0;
    listing->first = 0;
    listing->after = kith_bytes_make(NULL, 0);
    listing->begun = listing->done = listing->degraded = false;
}

/* The versions beside the names of the page. */
static int add_others(struct kith_fs *fs, struct kith_inode *dir, struct listing *listing,
                      struct kith_arena *arena)
{
    size_t end = listing->count;
    int error = 0;
    for (size_t i = 0; i < end && error == 0; i++) {
        struct kith_other *others = NULL;
        struct kith_arena place;
        uint32_t count = 0;
        pthread_mutex_lock(&fs->lock);
        const struct kith_entry *entry = kith_entry_find(dir, listing->items[i]->name);
        bool beside = entry != NULL && kith_conflicts_beside(entry);
        pthread_mutex_unlock(&fs->lock);
        kith_arena_init(&place, 0);
        if (beside) {
            error = kith_others_list(fs, dir, listing->items[i]->name, &place, &others, &count);
        }
        for (uint32_t k = 0; k < count && error == 0; k++) {
            struct item *item = item_new(arena, others[k].name, strlen(others[k].name),
                                         others[k].version.record.type, others[k].id);
            error = items_add(listing, item);
            if (error == 0) {
                item->made = true;
            }
        }
        kith_arena_release(&place);
    }
    return error;
}

/* The watch comes first: then what is listed now is known as long as that lives (watch.c). */
static void begin_watch(struct kith_fs *fs, struct kith_inode *dir)
{
    uint64_t now = kith_mono_ns();
    pthread_mutex_lock(&fs->lock);
    (void)kith_watch_live(dir); /* a number that it has since the last look goes from here on */
    bool known = kith_dir_listable(dir, now) && names_known(dir, now);
    bool watch = !known && kith_watch_asked(fs, dir, true);
    pthread_mutex_unlock(&fs->lock);
    if (watch) {
        kith_watch_begin(fs, dir);
    }
}

/* From memory, where the directory has just been read whole. */
static int begin(struct kith_fs *fs, struct kith_inode *dir, struct listing *listing)
{
    int error;
    begin_watch(fs, dir);
    listing->started = kith_mono_ns();
    pthread_mutex_lock(&fs->lock);
    listing->load = ++fs->load_count;
    bool complete =
        kith_dir_listable(dir, listing->started) && names_known(dir, listing->started);
    error = collect(fs, listing, dir, complete);
    pthread_mutex_unlock(&fs->lock);
    if (complete && error == 0) {
        error = add_others(fs, dir, listing, &listing->arenas[0]);
    }
    if (error != 0) {
        restart(listing);
        return error;
    }
    listing->begun = true;
    listing->done = complete;
    if (listing->pending_count > 0) {
        qsort(listing->pending, listing->pending_count, sizeof listing->pending[0], by_name);
    }
    return error;
}

struct page_arg {
    const struct kith_fs *fs;
    const struct kith_inode *dir;
    struct listing *listing;
    struct kith_arena *arena;
};

static int on_name(void *arg, const char *name, size_t size, enum kith_type type, uint64_t id)
{
    struct page_arg *page = arg;
    if (kith_control_hides(page->fs, page->dir, name)) {
        return 0;
    }
    struct item *item = item_new(page->arena, name, size, type, id);
    if (item == NULL) {
        return ENOMEM;
    }
    if (page->listing->pending_count > 0 &&
        bsearch(&item, page->listing->pending, page->listing->pending_count, sizeof item,
                by_name) != NULL) {
        return 0;
    }
    return items_add(page->listing, item);
}

/* The next page takes the place of the one before. */
static int next_page(struct kith_fs *fs, struct kith_inode *dir, struct listing *listing)
{
    int error = listing->begun ? 0 : begin(fs, dir, listing);
    if (error != 0 || listing->done) {
        return error;
    }
    listing->first += listing->count;
    listing->count = 0;
    /* not told by listing->first: a page of removed names alone shows none */
    bool first = listing->after.data == NULL;
    listing->turn ^= 1;
    struct kith_arena *arena = &listing->arenas[listing->turn];
    kith_arena_reset(arena);
    struct page_arg arg = {fs, dir, listing, arena};
    struct kith_dir_page page = {.strict = false};
    error = kith_dir_page(fs, dir, first ? NULL : &listing->after, listing->load, arena, on_name,
                          &arg, &page);
    if (error == 0) {
        error = add_others(fs, dir, listing, arena);
    }
    if (error != 0) {
        listing->count = 0; /* who asks again gets this page, whole */
        return EIO; /* never a listing that only looks complete */
    }
    listing->after = page.last;
    listing->degraded = listing->degraded || page.degraded;
    if (page.more) {
        return 0;
    }
    for (size_t i = 0; i < listing->pending_count && error == 0; i++) {
        error = items_add(listing, listing->pending[i]);
    }
    listing->done = true;
    pthread_mutex_lock(&fs->lock);
    if (!listing->degraded) {
        kith_dir_complete(fs, dir, listing->load, listing->started);
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static mode_t mode_of(enum kith_type type)
{
    static const mode_t modes[] = {
        [KITH_TYPE_FILE] = S_IFREG,  [KITH_TYPE_DIR] = S_IFDIR,     [KITH_TYPE_SYMLINK] = S_IFLNK,
        [KITH_TYPE_FIFO] = S_IFIFO,  [KITH_TYPE_SOCKET] = S_IFSOCK, [KITH_TYPE_CHAR] = S_IFCHR,
        [KITH_TYPE_BLOCK] = S_IFBLK, [KITH_TYPE_LINK] = S_IFREG};
    return modes[type];
}

struct answer {
    char *data;
    size_t size, used;
    bool plus;
};

/* Adds one name; false when there is no room left. */
static bool answer_add(struct kith_job *job, struct answer *answer, const char *name,
                       struct fuse_entry_param *param, off_t next)
{
    char *at = answer->data + answer->used;
    size_t left = answer->size - answer->used;
    size_t size = answer->plus ? fuse_add_direntry_plus(job->req, at, left, name, param, next)
                               : fuse_add_direntry(job->req, at, left, name, &param->attr, next);
    if (size > left) {
        return false;
    }
    answer->used += size;
    return true;
}

static bool add_item(struct kith_job *job, struct answer *answer, const struct item *item,
                     off_t next)
{
    struct kith_fs *fs = job->fs;
    struct fuse_entry_param param;
    memset(&param, 0, sizeof param);
    pthread_mutex_lock(&fs->lock);
    struct kith_entry *entry = item->made ? NULL : kith_entry_find(job->inode, item->name);
    struct kith_inode *inode = entry != NULL ? entry->inode : NULL;
    bool gone = entry != NULL && inode == NULL && entry->changed_at != 0 &&
                kith_entry_valid(entry, kith_mono_ns());
    bool full = inode != NULL && answer->plus;
    if (full) {
        kith_entry_param(fs, inode, kith_entry_until(fs, entry, kith_mono_ns()), true, &param);
    } else {
        param.attr.st_ino = item->id;
        param.attr.st_mode = mode_of(item->type);
    }
    pthread_mutex_unlock(&fs->lock);
    if (gone) {
        return true; /* removed here since the page was read */
    }
    bool fits = answer_add(job, answer, item->name, &param, next);
    if (!fits && full) {
        pthread_mutex_lock(&fs->lock);
        kith_inode_forget(fs, inode, 1);
        pthread_mutex_unlock(&fs->lock);
    }
    return fits;
}

/* "." and ".." */
static bool add_dots(struct kith_job *job, struct answer *answer, uint64_t *position)
{
    while (*position < 2) {
        struct fuse_entry_param param;
        memset(&param, 0, sizeof param);
        const struct kith_inode *inode = job->inode;
        if (*position == 1 && inode != job->fs->root && inode->entry != NULL) {
            inode = inode->entry->dir;
        }
        param.attr.st_ino = inode == job->fs->root ? FUSE_ROOT_ID : inode->id;
        param.attr.st_mode = S_IFDIR;
        if (!answer_add(job, answer, *position == 0 ? "." : "..", &param, (off_t)*position + 1)) {
            return false;
        }
        ++*position;
    }
    return true;
}

static int fill(struct kith_job *job, struct listing *listing, struct answer *answer)
{
    uint64_t position = (uint64_t)job->offset;
    if (position == 0 || (position >= 2 && position - 2 < listing->first)) {
        restart(listing); /* rewound */
    }
    pthread_mutex_lock(&job->fs->lock);
    bool room = add_dots(job, answer, &position);
    pthread_mutex_unlock(&job->fs->lock);
    while (room) {
        uint64_t number = position - 2;
        if (number < listing->first + listing->count) {
            room =
                add_item(job, answer, listing->items[number - listing->first], (off_t)position + 1);
            position++;
            continue;
        }
        if (listing->done || answer->used > 0) {
            break; /* what there is goes out before the next page is waited for */
        }
        int error = next_page(job->fs, job->inode, listing);
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static void do_readdir(struct kith_job *job)
{
    struct listing *listing = listing_of(&job->fi);
    struct answer answer = {kith_malloc(job->size), job->size, 0, job->flags != 0};
    job->data = (uint8_t *)answer.data;
    if (answer.data == NULL) {
        kith_job_fail(job, ENOMEM);
        return;
    }
    pthread_mutex_lock(&listing->lock);
    int error = fill(job, listing, &answer);
    pthread_mutex_unlock(&listing->lock);
    if (error != 0) {
        kith_job_fail(job, error);
    } else {
        kith_reply_data(job, answer.data, answer.used);
    }
}

static void start(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi,
                  bool plus)
{
    struct kith_job *job = kith_job_new(fuse_req_userdata(req), req, ino, 0, do_readdir);
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    job->fi = *fi;
    job->size = size;
    job->offset = off;
    job->flags = plus;
    kith_job_start(job);
}

void kith_op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    start(req, ino, size, off, fi, false);
}

void kith_op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                         struct fuse_file_info *fi)
{
    start(req, ino, size, off, fi, true);
}
