/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * dir_ahead.c - a large directory is read page by page while questions are asked in it.
 *
 * A directory of more than LOAD_PAGES_MAX pages is not loaded for a few questions, and of most
 * names of a very large one there is no room for entries. Yet who goes on asking is to be answered
 * from memory in the end, as in a small directory. So under a live watch each question that needs
 * the network, but the first QUESTIONS_FREE, pays for ROWS_PER_QUESTION rows, which take about as
 * long to be read in pages as the question does, and where there is credit for a page the next one
 * is read into the directory's pack (tables/pack.c). The more is known the fewer questions need the
 * network, and the more each pays: a million names are known whole after some 5,500. Who asks
 * little has little read, and when nobody asks any more it stops.
 *
 * One page is under way at a time, as a job without a request: nobody waits for it, other requests
 * go on beside it, and the end of the mount waits for its end. One that fails, is not from a quorum
 * or does not count is asked for again, PAUSE_NS later and when somebody asks something. Where the
 * packs are full the rest is not read: what was read counts, under this watch.
 *
 * Checked by tests/unit/test_pack.c. */
#include <errno.h>

#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define QUESTIONS_FREE    1000u /* whoever asks no more than so many has nothing read ahead */
#define ROWS_PER_QUESTION 64u    /* at first, and as many more with each: */
#define PAGES_MORE        128u
#define CREDIT_MAX        (4 * KITH_PAGE_ROWS_MAX) /* is read at most when nobody asks any more */
#define PAUSE_NS          NSEC_PER_SEC

/* fs->lock held. Takes the credit for a page; false: there is none. */
static bool take_page(struct kith_ahead *ahead)
{
    bool due = !ahead->over && !ahead->under_way && ahead->credit >= KITH_PAGE_ROWS_MAX &&
               kith_mono_ns() >= ahead->again_at;
    if (due) {
        ahead->credit -= KITH_PAGE_ROWS_MAX;
        ahead->under_way = true;
    }
    return due;
}

bool kith_dir_ahead_due(struct kith_fs *fs, struct kith_inode *dir)
{
    struct kith_pack *pack = kith_pack_of(dir);
    if (pack == NULL && dir->dir->entry_count >= KITH_LOAD_NAMES_MAX && !dir->dir->loading &&
        ++dir->dir->questions > QUESTIONS_FREE) {
        pack = kith_pack_begin(fs, dir);
    }
    if (pack == NULL) {
        return false;
    }
    struct kith_ahead *ahead = kith_pack_ahead(pack);
    ahead->credit += ROWS_PER_QUESTION * (1 + ahead->pages / PAGES_MORE);
    ahead->credit = ahead->credit < CREDIT_MAX ? ahead->credit : CREDIT_MAX;
    return take_page(ahead);
}

/* fs->lock held. Takes note of a page; true: the next one follows. */
static bool page_taken(struct kith_ahead *ahead, const struct kith_inode *dir, int error,
                       const struct kith_dir_page *page)
{
    ahead->under_way = false;
    if (error == 0 && page->more && !kith_octets_set(&ahead->after, page->last)) {
        error = ENOMEM;
    }
    if (error == EAGAIN || error == EIO || error == ETIMEDOUT || error == ENOMEM) {
        ahead->again_at = kith_mono_ns() + PAUSE_NS;
        return false;
    }
    if (error != 0) { /* no room, or rows of another version: what is known stays */
        kith_log_debug("dir", "directory %llx: read ahead %u pages, no more: error %d",
                       (unsigned long long)dir->id, ahead->pages, error);
        ahead->over = true;
        return false;
    }
    ahead->pages++;
    ahead->begun = true;
    if (!page->more) {
        ahead->whole = ahead->over = true;
        kith_log_debug("dir", "directory %llx: read ahead whole, %u pages",
                       (unsigned long long)dir->id, ahead->pages);
    }
    return take_page(ahead);
}

static void page_send(struct kith_job *job);

static void page_saw(struct kith_job *job, const struct kith_client_result *result)
{
    struct kith_fs *fs = job->fs;
    struct kith_dir_page page = {.more = true};
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    int error = kith_errno(result->err);
    if (error == 0) {
        error = kith_dir_page_pack(fs, job->inode, result, job->load, job->started, &arena, &page);
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_pack *pack = kith_pack_of(job->inode);
    struct kith_ahead *ahead = pack != NULL ? kith_pack_ahead(pack) : NULL;
    bool next = ahead != NULL && ahead->number == job->load &&
                page_taken(ahead, job->inode, error, &page);
    pthread_mutex_unlock(&fs->lock);
    kith_arena_release(&arena);
    if (next) {
        page_send(job);
    } else {
        kith_job_end(job);
    }
}

/* The next page of the directory's pack, which is taken already. Where the pack has gone since, the
 * job ends. */
static void page_send(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_arena arena; /* the place goes out with the request, and may move meanwhile */
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN};
    kith_arena_init(&arena, 0);
    pthread_mutex_lock(&fs->lock);
    struct kith_pack *pack = kith_pack_of(job->inode);
    struct kith_ahead *ahead = pack != NULL ? kith_pack_ahead(pack) : NULL;
    bool ok = ahead != NULL && ahead->under_way && (job->load == 0 || job->load == ahead->number);
    if (ok) {
        job->load = ahead->number;
        op.u.scan.group = job->inode->dir->group;
        op.u.scan.has_after = ahead->begun;
        op.u.scan.after = kith_octets_bytes(&ahead->after);
        op.u.scan.after.data = kith_arena_copy(&arena, ahead->after.data, ahead->after.size);
        ok = op.u.scan.after.data != NULL;
        ahead->under_way = ok;
    }
    pthread_mutex_unlock(&fs->lock);
    job->started = kith_mono_ns();
    if (ok) {
        kith_job_send(job, &op, page_saw);
    } else {
        kith_job_end(job);
    }
    kith_arena_release(&arena);
}

void kith_dir_ahead(struct kith_fs *fs, struct kith_inode *dir)
{
    struct kith_job *job = kith_job_new(fs, NULL, kith_inode_ino(fs, dir), 0, NULL);
    if (job != NULL) {
        kith_job_begin(job);
        page_send(job);
        return;
    }
    pthread_mutex_lock(&fs->lock);
    struct kith_pack *pack = kith_pack_of(dir);
    if (pack != NULL) { /* a later question tries again */
        kith_pack_ahead(pack)->under_way = false;
    }
    pthread_mutex_unlock(&fs->lock);
}
