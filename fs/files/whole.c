/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * whole.c - what is put has no half of a write in it.
 *
 * The kernel hands a write(2) over in several WRITEs: it ends one at the end of a page that it had
 * not read and that is not written from its beginning on (fuse_fill_write_pages in fs/fuse/file.c
 * of Linux), and where one is as large as may be. An append of 16 bytes at 4090 comes as 6 and 10.
 * What is put between the two ends within a line, and who reads that elsewhere and writes it back
 * keeps it so for good.
 *
 * WHICH WRITE IS FOLLOWED by another of the same write(2) is not said. One may be that ends with a
 * page, but does not begin with one (or is an append of the largest size): then what is put without
 * the file's lock in the kernel waits for a sign that the write is over, PART_NS at most. The
 * thread that writes makes no other request before that is so; and it holds that lock, so that
 * nobody else's WRITE, SETATTR, FSYNC or LINK of the file comes meanwhile either. FLUSH, RELEASE
 * and the timer come without it.
 *
 * A program that writes from page to page, or closes what it wrote itself, never makes anybody
 * wait. While nothing may wait in memory (kith_fs_defers) each WRITE is put before it is answered,
 * but not one that may be followed by another: that one is, or the FLUSH. */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/files/files.h"

#define PART_NS (NSEC_PER_SEC / 20) /* between two WRITEs: microseconds; more on a busy machine */
#define WAIT_NS (2 * PART_NS)       /* where more and more such writes come */

bool kith_whole_part(struct kith_fs *fs, struct kith_inode *inode, pid_t thread, uint64_t offset,
                     size_t size, const struct fuse_file_info *fi)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    bool largest = (fi->flags & O_APPEND) != 0 && size >= KITH_WRITE_MAX;
    bool part = !fi->writepage && (offset + size) % page == 0 && (offset % page != 0 || largest);
    if (part) {
        pthread_mutex_lock(&fs->lock);
        inode->part_until = kith_mono_ns() + PART_NS;
        inode->part_by = thread;
        inode->parts++;
        pthread_mutex_unlock(&fs->lock);
    }
    return part;
}

/* fs->lock held */
static void over(struct kith_fs *fs, struct kith_inode *inode)
{
    if (inode->part_until != 0) {
        inode->part_until = 0;
        pthread_cond_broadcast(&fs->changed);
    }
}

void kith_whole_over(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    over(fs, inode);
    pthread_mutex_unlock(&fs->lock);
}

void kith_whole_asked(struct kith_fs *fs, struct kith_inode *inode, pid_t thread)
{
    if (thread != 0 && inode->part_by == thread) { /* 0: in another name space than ours */
        over(fs, inode);
    }
}

/* fs->lock held. What is left of a write is awaited. */
static bool awaited(const struct kith_inode *inode, uint64_t now)
{
    return now < inode->part_until;
}

/* fs->lock held; it comes and goes. Until all of a write is there, or for so long as may be. */
static void await(struct kith_fs *fs, const struct kith_inode *inode, uint64_t end)
{
    uint64_t now = kith_mono_ns();
    while (awaited(inode, now) && now < end) {
        uint64_t until = inode->part_until < end ? inode->part_until : end;
        struct timespec at;
        clock_gettime(CLOCK_REALTIME, &at);
        uint64_t nsec = (uint64_t)at.tv_nsec + (until - now);
        at.tv_sec += (time_t)(nsec / NSEC_PER_SEC);
        at.tv_nsec = (long)(nsec % NSEC_PER_SEC);
        pthread_cond_timedwait(&fs->changed, &fs->lock, &at);
        now = kith_mono_ns();
    }
}

int kith_whole_image(struct kith_fs *fs, struct kith_inode *inode, enum kith_durability durability,
                     struct kith_arena *arena, struct kith_image *ret_image)
{
    uint64_t end = kith_mono_ns() + WAIT_NS;
    bool cut;
    int error;
    do {
        pthread_mutex_lock(&fs->lock);
        await(fs, inode, end);
        uint32_t parts = inode->parts;
        pthread_mutex_unlock(&fs->lock);
        error = kith_inode_image(fs, inode, durability, arena, ret_image);
        pthread_mutex_lock(&fs->lock);
        cut = error == 0 && inode->parts != parts && kith_mono_ns() < end;
        pthread_mutex_unlock(&fs->lock);
    } while (cut);
    return error;
}

int kith_whole_image_now(struct kith_fs *fs, struct kith_inode *inode, struct kith_arena *arena,
                         struct kith_image *ret_image)
{
    pthread_mutex_lock(&fs->lock);
    uint32_t parts = inode->parts;
    bool cut = awaited(inode, kith_mono_ns());
    pthread_mutex_unlock(&fs->lock);
    int error = cut ? EBUSY : kith_inode_image_now(fs, inode, arena, ret_image);
    pthread_mutex_lock(&fs->lock);
    cut = cut || inode->parts != parts;
    pthread_mutex_unlock(&fs->lock);
    return cut ? EBUSY : error;
}
