/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * open.c - open files: contents and context come from one read by quorum and go together.
 *
 * Who opens a clean file reads it again (close-to-open), or takes what a live watch knows of it
 * (watch.c); who opens one with unsent bytes joins. The contents of a created file are made with
 * the first write. Contents are let go only under row_busy.
 *
 * An open file stays the version that was opened, but for what other mounts append (follow.c). */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/hook/hook.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define DROP_NS (10 * NSEC_PER_SEC) /* an answer is read long before: that takes one turn */

static bool same_version(const struct kith_inode *inode, const struct kith_dot *dot)
{
    return inode->has_dot && kith_dot_equal(&inode->dot, dot);
}

static int sizes(const struct kith_seen *seen, uint64_t *ret_size, uint64_t *ret_allocated)
{
    *ret_size = *ret_allocated = 0;
    struct kith_bytes image = seen->record.contents;
    return image.size == 0 ? 0
                           : kith_errno(kith_content_image_stat(image, ret_size, ret_allocated));
}

/* fs->lock held, row_busy held: the version read becomes the open one. */
static int adopt(struct kith_fs *fs, struct kith_inode *inode, const struct kith_seen *seen,
                 bool open)
{
    struct kith_bytes context = inode->shared ? seen->inode_ctx : seen->ctx;
    if (open && !kith_octets_set(&inode->open_ctx, context)) {
        return ENOMEM;
    }
    bool was_open = inode->is_open, same = same_version(inode, &seen->dot);
    inode->is_open = open;
    uint64_t size, allocated;
    int error = sizes(seen, &size, &allocated);
    if (error != 0) {
        return error;
    }
    if (open && was_open && !same) {
        inode->stale_below = ++inode->renewals;
    }
    inode->size = size;
    inode->allocated = allocated;
    inode->dot = seen->dot;
    inode->has_dot = true;
    inode->os_only = inode->os_only && same; /* what this mount's close has put is still owed */
    kith_inode_image_set(fs, inode, seen->record.contents, seen->winner->refs,
                         seen->winner->ref_count); /* the image belongs to the dot */
    if (inode->shared && (!kith_octets_set(&inode->ctx, context) ||
                          !kith_inode_names_take(inode, seen->record.names,
                                                 seen->record.name_count, same))) {
        return ENOMEM;
    }
    if (!kith_inode_attrs_merge(inode, &seen->record.attrs)) {
        return ENOMEM;
    }
    inode->valid_until = kith_mono_ns() + fs->entry_ns;
    return 0;
}

bool kith_inode_read_begin(const struct kith_inode *inode, uint64_t *ret_read)
{
    *ret_read = inode->replacements;
    return !inode->replacing;
}

bool kith_inode_read_counts(struct kith_fs *fs, struct kith_inode *inode, uint64_t read)
{
    pthread_mutex_lock(&fs->lock);
    bool counts = !inode->replacing && inode->replacements == read;
    inode->answering += counts ? 1u : 0u;
    pthread_mutex_unlock(&fs->lock);
    return counts;
}

void kith_inode_read_over(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    KITH_ASSERT(inode->answering > 0);
    if (--inode->answering == 0 && inode->replacing) {
        pthread_cond_broadcast(&fs->changed);
    }
    pthread_mutex_unlock(&fs->lock);
}

/* Contents that are read and may be open. What was read of the older version is answered before, or
 * not at all: the kernel, which takes the size of the newer one for true from now on, would fill up
 * with zeros what is short of it. row_busy held, fs->lock not. */
static enum kith_err replace_contents(struct kith_fs *fs, struct kith_inode *inode,
                                      struct kith_content *content, struct kith_bytes image)
{
    pthread_mutex_lock(&fs->lock);
    inode->replacing = true;
    while (inode->answering > 0) {
        pthread_cond_wait(&fs->changed, &fs->lock);
    }
    pthread_mutex_unlock(&fs->lock);
    enum kith_err err = kith_content_replace(content, image);
    pthread_mutex_lock(&fs->lock);
    inode->replacing = false;
    inode->replacements++;
    pthread_cond_broadcast(&fs->changed);
    pthread_mutex_unlock(&fs->lock);
    return err;
}

/* Makes the contents, or replaces those that there are. row_busy held, fs->lock not. */
static int replace(struct kith_fs *fs, struct kith_inode *inode, struct kith_content *content,
                   const struct kith_seen *seen)
{
    enum kith_err err;
    if (content == NULL) {
        err = kith_content_new(fs->store, seen->record.contents, &content);
    } else {
        err = replace_contents(fs, inode, content, seen->record.contents);
        if (err == KITH_EBUSY) {
            return 0; /* written to meanwhile: join */
        }
    }
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    pthread_mutex_lock(&fs->lock);
    int error = adopt(fs, inode, seen, true);
    inode->content = content;
    pthread_mutex_unlock(&fs->lock);
    return error;
}

/* Makes or renews the contents. row_busy held, fs->lock not. */
static int renew(struct kith_fs *fs, struct kith_inode *inode, const struct kith_seen *seen)
{
    pthread_mutex_lock(&fs->lock);
    struct kith_content *content = inode->content;
    bool same = inode->is_open && same_version(inode, &seen->dot);
    bool gone = inode->unlinked && content == NULL; /* removed while this was read */
    bool joins = kith_inode_dirty(inode) || inode->unlinked;
    pthread_mutex_unlock(&fs->lock);
    if (gone) {
        return ESTALE;
    }
    if (joins || (same && content != NULL)) {
        return 0;
    }
    uint64_t size, allocated;
    int error = sizes(seen, &size, &allocated);
    if (error == 0 && kith_told_before(fs, inode, size)) {
        error = replace(fs, inode, content, seen);
        pthread_mutex_lock(&fs->lock);
        kith_told_after(inode);
        pthread_mutex_unlock(&fs->lock);
    } else if (error == 0) {
        error = replace(fs, inode, content, seen);
    }
    return error;
}

/* fs->lock held. The open version is not the one that the row was last seen with. */
static bool differs(const struct kith_inode *inode)
{
    const struct kith_octets *seen =
        inode->shared ? &inode->ctx : inode->entry != NULL ? &inode->entry->ctx : NULL;
    return inode->is_open && seen != NULL &&
           !kith_bytes_equal(kith_octets_bytes(&inode->open_ctx), kith_octets_bytes(seen));
}

bool kith_inode_outdated(const struct kith_inode *inode)
{
    return differs(inode) && !inode->unlinked && !kith_inode_dirty(inode);
}

int kith_inode_renew(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    bool open = inode->is_open;
    bool over = inode->shared && !inode->unlinked && !kith_inode_dirty(inode) &&
                (!open || kith_mono_ns() >= inode->valid_until);
    bool outdated = inode->type == KITH_TYPE_FILE && (over || kith_inode_outdated(inode));
    pthread_mutex_unlock(&fs->lock);
    if (!outdated) {
        return 0;
    }
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    kith_arena_init(&arena, 0);
    int error = kith_inode_read(fs, inode, &arena, &answer, &seen);
    if (error == 0 && open) {
        error = renew(fs, inode, &seen);
    }
    pthread_mutex_lock(&fs->lock);
    if (error == 0 && !open) { /* what nobody has open is put from memory */
        error = adopt(fs, inode, &seen, false);
    }
    if (error == 0 && inode->shared) {
        error = kith_octets_set(&inode->ctx, seen.inode_ctx) ? 0 : ENOMEM;
    } else if (error == 0 && inode->entry != NULL) {
        error = kith_octets_set(&inode->entry->ctx, seen.ctx) ? 0 : ENOMEM;
    }
    kith_hook_saw(fs, inode->entry);
    pthread_mutex_unlock(&fs->lock);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

/* fs->lock held. This mount has changed the row, or its place, since a read began: what that saw is
 * over, be it another version or that the file is not there. */
static bool read_in_vain(const struct kith_inode *inode, uint64_t started)
{
    return inode->changed_at >= started && !inode->unlinked;
}

int kith_inode_take_over(struct kith_fs *fs, struct kith_inode *inode, const struct kith_seen *seen,
                         uint64_t started)
{
    pthread_mutex_lock(&fs->lock);
    bool vain = read_in_vain(inode, started);
    pthread_mutex_unlock(&fs->lock);
    return vain ? 0 : renew(fs, inode, seen);
}

/* row_busy comes and goes. again: the row was changed here meanwhile, nothing is taken over. */
static int read_once(struct kith_fs *fs, struct kith_inode *inode, bool busy, bool *ret_again)
{
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    kith_arena_init(&arena, 0);
    pthread_mutex_lock(&fs->lock);
    if (busy) {
        kith_busy_take(fs, false, &inode, 1);
    }
    uint64_t started = kith_mono_ns();
    pthread_mutex_unlock(&fs->lock);
    int error = kith_inode_read(fs, inode, &arena, &answer, &seen);
    pthread_mutex_lock(&fs->lock);
    if (!busy) {
        kith_busy_take(fs, false, &inode, 1);
    }
    *ret_again = !busy && read_in_vain(inode, started);
    pthread_mutex_unlock(&fs->lock);
    if (error == 0 && !*ret_again) {
        error = renew(fs, inode, &seen);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

/* The second time nobody else of this mount can change the row meanwhile. */
static int read_and_renew(struct kith_fs *fs, struct kith_inode *inode)
{
    bool again = false;
    int error = read_once(fs, inode, false, &again);
    return again ? read_once(fs, inode, true, &again) : error;
}

/* fs->lock held. A live watch knows the inode's row, with the contents, and nobody is at work on
 * it. */
static bool known_whole(struct kith_inode *inode)
{
    return !inode->row_busy && kith_watch_knows_inode(inode) &&
           (inode->is_open || (inode->content == NULL && inode->image_known));
}

/* Opens from memory; known_whole, which ends with the lock. The caller holds `opening`; fs->lock is
 * held when it comes and goes. */
static int open_known(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_content *content = NULL;
    kith_watch_saved(fs, KITH_SAVED_OPEN);
    if (inode->is_open) {
        return 0; /* it shows this version */
    }
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_bytes image = kith_octets_bytes(&inode->image); /* another may push it out */
    image.data = kith_arena_copy(&arena, image.data, image.size);
    if (image.data == NULL ||
        !kith_octets_set(&inode->open_ctx, kith_octets_bytes(&inode->entry->ctx))) {
        kith_arena_release(&arena);
        return ENOMEM;
    }
    inode->row_busy = true; /* it stays this version meanwhile */
    pthread_mutex_unlock(&fs->lock);
    enum kith_err err = kith_content_new(fs->store, image, &content);
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    if (err == KITH_OK) {
        inode->content = content;
        inode->is_open = true;
    } else {
        kith_octets_clear(&inode->open_ctx);
    }
    kith_busy_give(fs, false, &inode, 1);
    return kith_errno(err);
}

/* fs->lock held. Whether the kernel may keep the pages that it has. It drops them when the thread
 * that opens gets to run: until that is sure, who opens beside it is not told to keep them
 * either. */
static bool keeps_cache(struct kith_inode *inode)
{
    static const struct kith_dot zero;
    const struct kith_dot *dot = inode->has_dot ? &inode->dot : &zero;
    uint64_t now = kith_mono_ns();
    if (inode->has_kernel_dot && kith_dot_equal(&inode->kernel_dot, dot)) {
        return inode->opens == 1 || inode->dropped_at == 0 || now >= inode->dropped_at + DROP_NS;
    }
    bool has_pages = inode->has_kernel_dot || inode->dropped_at != 0;
    inode->dropped_at = has_pages ? now : 0;
    inode->kernel_dot = *dot;
    inode->has_kernel_dot = true;
    return false;
}

void kith_inode_opened(struct kith_inode *inode, struct fuse_file_info *fi)
{
    inode->may_write = inode->may_write || (fi->flags & O_ACCMODE) != O_RDONLY;
    fi->keep_cache = keeps_cache(inode) && (fi->flags & O_TRUNC) == 0;
    fi->fh = inode->renewals; /* what is renewed from here on its user may not have read */
}

void kith_inode_cache_stays(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    inode->has_kernel_dot = false;
    inode->dropped_at = kith_mono_ns();
    pthread_mutex_unlock(&fs->lock);
}

/* Opens a version beside the one that bears the name, also one that is open already (aside.c). As
 * open_known. */
static int open_made(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_content *content = NULL;
    if (inode->content != NULL || inode->made_image.size == 0) {
        inode->is_open = true;
        return 0;
    }
    pthread_mutex_unlock(&fs->lock);
    enum kith_err err =
        kith_content_new(fs->store, kith_octets_bytes(&inode->made_image), &content);
    pthread_mutex_lock(&fs->lock);
    if (err == KITH_OK) {
        inode->content = content;
        inode->is_open = true;
    }
    return kith_errno(err);
}

int kith_inode_open(struct kith_fs *fs, struct kith_inode *inode)
{
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    inode->opens++; /* from here on the contents stay */
    while (inode->opening) {
        pthread_cond_wait(&fs->changed, &fs->lock);
    }
    bool joins = kith_inode_dirty(inode) || inode->unlinked;
    if (inode->unlinked && !inode->is_open) {
        error = ESTALE; /* gone between lookup and open: the kernel looks again and finds none */
    } else if (!joins) {
        inode->opening = true;
        if (inode->made || kith_aside_is(inode)) {
            error = open_made(fs, inode);
        } else if (known_whole(inode)) {
            error = open_known(fs, inode);
        } else {
            pthread_mutex_unlock(&fs->lock);
            error = read_and_renew(fs, inode);
            pthread_mutex_lock(&fs->lock);
        }
        inode->opening = false;
        pthread_cond_broadcast(&fs->changed);
    }
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_inode_close(fs, inode);
    }
    return error;
}

/* fs->lock held. The open that was sent is over, or not to be. */
static void opening_ends(struct kith_fs *fs, struct kith_inode *inode)
{
    inode->opening = false;
    pthread_cond_broadcast(&fs->changed);
}

static void open_done(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    struct kith_arena arena;
    struct kith_seen seen;
    kith_arena_init(&arena, 0);
    int error = kith_errno(result->err);
    if (error == 0) {
        error = kith_inode_saw(fs, inode, NULL, &arena, result, job->started, &seen);
    }
    pthread_mutex_lock(&fs->lock);
    bool busy = (error == 0 && inode->row_busy) ||
                ((error == 0 || error == ESTALE) && read_in_vain(inode, job->started));
    if (busy) {
        opening_ends(fs, inode);
        inode->opens--;
    } else if (error == 0) {
        inode->row_busy = true;
    }
    pthread_mutex_unlock(&fs->lock);
    if (busy) { /* it is being put or renamed: a thread waits for that and reads again */
        kith_arena_release(&arena);
        kith_job_defer(job);
        return;
    }
    if (error == 0) {
        error = renew(fs, inode, &seen);
        pthread_mutex_lock(&fs->lock);
        kith_busy_give(fs, false, &inode, 1);
        if (error == 0 && kith_told_open(fs, inode, job->fi.flags, job->ctx.pid)) {
            error = ESTALE;
        }
        if (error == 0) {
            kith_inode_opened(inode, &job->fi);
        }
        pthread_mutex_unlock(&fs->lock);
    }
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    opening_ends(fs, inode);
    inode->opens -= error != 0 ? 1 : 0;
    pthread_mutex_unlock(&fs->lock);
    if (error != 0) {
        kith_job_fail(job, error);
        kith_inode_settle_soon(fs, inode);
    } else {
        kith_reply_open(job, inode);
    }
    kith_job_end(job);
}

/* An open that needs nothing but memory: answered. */
static bool open_now(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode;
    int error = 0;
    pthread_mutex_lock(&fs->lock);
    bool may = inode->type == KITH_TYPE_FILE && (job->fi.flags & O_TRUNC) == 0 &&
               !inode->opening && !inode->unlinked && !inode->made;
    bool joins = may && kith_inode_dirty(inode);
    bool known = may && !joins && known_whole(inode);
    if (joins || known) {
        inode->opens++; /* from here on the contents stay */
    }
    if (known) {
        inode->opening = true;
        error = open_known(fs, inode);
        opening_ends(fs, inode);
    }
    if ((joins || known) && error == 0 &&
        kith_told_open(fs, inode, job->fi.flags, job->ctx.pid)) {
        error = ESTALE;
    }
    if ((joins || known) && error == 0) {
        kith_inode_opened(inode, &job->fi);
    }
    inode->opens -= error != 0 ? 1 : 0;
    pthread_mutex_unlock(&fs->lock);
    if (!joins && !known) {
        return false;
    }
    kith_job_begin(job);
    if (error != 0) {
        kith_job_fail(job, error);
        kith_inode_settle_soon(fs, inode);
    } else {
        kith_reply_open(job, inode);
    }
    kith_job_end(job);
    return true;
}

/* fs->lock held. An open asks for the row: true for who shall begin a watch of its directory. */
static bool watch_asked(struct kith_fs *fs, struct kith_inode *inode, struct kith_inode **ret_dir)
{
    *ret_dir = inode->entry != NULL ? inode->entry->dir : NULL;
    return *ret_dir != NULL && kith_watch_asked(fs, *ret_dir, false);
}

void kith_start_open(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_inode *inode = job->inode, *dir = NULL;
    struct kith_group group;
    struct kith_rowname row, attr;
    if (open_now(job)) {
        return;
    }
    job->started = kith_mono_ns();
    pthread_mutex_lock(&fs->lock);
    bool begin = watch_asked(fs, inode, &dir);
    bool now = inode->type == KITH_TYPE_FILE && (job->fi.flags & O_TRUNC) == 0 &&
               !inode->opening && !inode->row_busy && !inode->shared && inode->content == NULL &&
               !inode->is_open && !inode->unlinked && !kith_inode_dirty(inode) &&
               kith_inode_place(inode, &group, &row);
    if (now) {
        inode->opens++; /* from here on the contents stay */
        inode->opening = true;
    }
    pthread_mutex_unlock(&fs->lock);
    if (begin) {
        kith_watch_begin(fs, dir);
    }
    if (!now) {
        kith_job_start(job);
        return;
    }
    kith_rowname_attr(kith_rowname_bytes(&row), &attr);
    struct kith_bytes names[2] = {kith_rowname_bytes(&row), kith_rowname_bytes(&attr)};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = group;
    op.u.get.names = names;
    op.u.get.name_count = 2;
    kith_job_begin(job);
    kith_job_send(job, &op, open_done);
}

int kith_inode_content(struct kith_fs *fs, struct kith_inode *inode,
                       struct kith_content **ret_content)
{
    pthread_mutex_lock(&fs->lock);
    *ret_content = inode->content;
    bool fresh = inode->is_open && inode->write_version == 0 && inode->size == 0;
    pthread_mutex_unlock(&fs->lock);
    if (*ret_content != NULL) {
        return 0;
    }
    if (!fresh) {
        return EIO;
    }
    struct kith_content *content;
    enum kith_err err = kith_content_new(fs->store, kith_bytes_make(NULL, 0), &content);
    if (err != KITH_OK) {
        return kith_errno(err);
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_content *other = inode->content;
    if (other == NULL) {
        inode->content = content;
    }
    *ret_content = inode->content;
    pthread_mutex_unlock(&fs->lock);
    if (other != NULL) {
        kith_content_free(content);
    }
    return 0;
}

/* fs->lock held. Open no more, with nothing unsent. While another file has its name its attributes
 * count, too: it needs a name for them, which it gets as long as it is open (aside_name.c). */
static bool may_settle(const struct kith_inode *inode)
{
    bool attrs = kith_aside_is(inode) && inode->attr_changed != 0;
    return inode->opens == 0 && inode->is_open &&
           (inode->unlinked || (!kith_inode_dirty(inode) && !attrs));
}

/* fs->lock held, nobody busy with the row. The contents are the caller's to free. */
static struct kith_content *settle(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_content *content = inode->content;
    if (differs(inode)) { /* memory has the older version: no put may take it for the other */
        kith_inode_image_forget(fs, inode);
        inode->valid_until = 0;
    }
    if (inode->unlinked) { /* it may be found again under another name, and is clean then */
        inode->write_flushed = inode->write_version;
    }
    kith_aside_close(fs, inode);
    inode->content = NULL;
    inode->is_open = inode->may_write = inode->follow = false;
    inode->not_followed.counter = 0;
    inode->stale_below = 0;
    kith_octets_clear(&inode->open_ctx);
    return content;
}

void kith_inode_settle(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_content *content = NULL;
    pthread_mutex_lock(&fs->lock);
    if (may_settle(inode)) {
        kith_busy_take(fs, false, &inode, 1);
        content = may_settle(inode) ? settle(fs, inode) : NULL;
        kith_busy_give(fs, false, &inode, 1);
    }
    pthread_mutex_unlock(&fs->lock);
    if (content != NULL) {
        kith_content_free(content);
    }
}

static void do_settle(struct kith_job *job)
{
    kith_inode_settle(job->fs, job->inode);
}

void kith_inode_settle_soon(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    bool due = may_settle(inode), busy = inode->row_busy;
    struct kith_content *content = due && !busy ? settle(fs, inode) : NULL;
    fuse_ino_t ino = kith_inode_ino(fs, inode);
    pthread_mutex_unlock(&fs->lock);
    if (content != NULL) {
        kith_content_free(content);
    }
    struct kith_job *job = due && busy ? kith_job_new(fs, NULL, ino, 0, do_settle) : NULL;
    if (job != NULL) { /* without memory the contents stay until the next close */
        kith_job_start(job);
    }
}

void kith_inode_close(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    KITH_ASSERT(inode->opens > 0);
    inode->opens--;
    pthread_mutex_unlock(&fs->lock);
    kith_inode_settle(fs, inode);
}

void kith_inode_written_by(struct kith_fs *fs, struct kith_inode *inode,
                           const struct fuse_file_info *fi)
{
    if ((fi->flags & O_APPEND) != 0 && !fi->writepage) {
        return;
    }
    pthread_mutex_lock(&fs->lock);
    if (fi->fh < inode->stale_below) {
        kith_octets_clear(&inode->open_ctx);
    }
    inode->stale_below = 0; /* one user is not in conflict with himself */
    pthread_mutex_unlock(&fs->lock);
}

void kith_inode_written(struct kith_fs *fs, struct kith_inode *inode, uint64_t size)
{
    struct kith_time now = kith_wall_time();
    pthread_mutex_lock(&fs->lock);
    bool was_dirty = kith_inode_dirty(inode);
    inode->size = size;
    kith_told_written(inode);
    inode->write_version++;
    inode->attrs.have |= KITH_ATTR_MTIME;
    inode->attrs.mtime = inode->attrs.mtime_stamp = now;
    if (!was_dirty) {
        inode->dirty_since = kith_mono_ns();
    }
    if (!inode->unlinked) {
        kith_inode_enqueue(fs, inode);
    }
    pthread_mutex_unlock(&fs->lock);
}

/* fs->lock held. What a write by the caller leaves of the mode: root's leaves it. The kernel clears
 * the set-id bits before a write or truncate, but not where the open itself cuts the file. */
static void cut_mode(struct kith_inode *inode, const struct fuse_ctx *ctx)
{
    struct kith_attrs *attrs = &inode->attrs;
    uint32_t set_id = attrs->mode & S_ISUID;
    if ((attrs->mode & S_IXGRP) != 0) { /* without it the bit does not mean set-id */
        set_id |= attrs->mode & S_ISGID;
    }
    if (ctx->uid != 0 && set_id != 0) {
        attrs->mode &= ~set_id;
        attrs->mode_stamp = kith_wall_time();
        inode->attr_changed |= inode->unlinked ? 0u : (uint32_t)KITH_ATTR_MODE;
        inode->attr_version++;
    }
}

int kith_inode_cut(struct kith_job *job, struct kith_inode *inode)
{
    struct kith_fs *fs = job->fs;
    struct kith_content *content;
    int error = kith_inode_content(fs, inode, &content);
    if (error == 0) {
        error = kith_errno(kith_content_truncate(content, 0));
    }
    if (error != 0) {
        kith_inode_close(fs, inode);
        return error;
    }
    pthread_mutex_lock(&fs->lock);
    cut_mode(inode, &job->ctx);
    pthread_mutex_unlock(&fs->lock);
    kith_inode_written(fs, inode, 0);
    return 0;
}

int kith_inode_write_through(struct kith_fs *fs, struct kith_inode *inode)
{
    struct kith_group group;
    pthread_mutex_lock(&fs->lock);
    bool placed = kith_inode_goes_to(inode, &group);
    pthread_mutex_unlock(&fs->lock);
    if (!placed || kith_fs_defers(fs, &group)) {
        return 0;
    }
    return kith_inode_flush(fs, inode, KITH_DURABLE_OS);
}
