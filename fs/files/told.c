/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * told.c - the size that the kernel has of a file.
 *
 * A read ends at the size that the kernel has, whatever the contents are, and it does not ask for
 * the size while it takes what it was told last for true (attr_timeout). So where another mount has
 * changed the file, a program could read the newer version cut to the size of the older one.
 *
 * WHICH SIZE IT HAS cannot be known from what was told. An answer counts when the thread that asked
 * gets to run, not when it is sent; and the kernel drops it where it has learnt a size, or written,
 * since it asked (attr_version in fs/fuse/inode.c of Linux). Of two sizes in answers to requests
 * that overlap, it has the one that came first. But FUSE_NOTIFY_INVAL_INODE ends that: after it no
 * answer to an earlier request counts, and who reads up to the size that it has, or asks for the
 * attributes, makes it ask first. That is a matter of microseconds, and waits for nothing of ours
 * as long as no pages are named: it needs the inode, and neither a page nor the lock of a directory
 * (notify.c).
 *
 * SO THE RULE is: the kernel takes no smaller size for true than that of the contents, as long as
 * the file is open. An open is answered after such a note, unless no other size was told; the
 * contents of an open file are replaced by longer ones after it, and until they are there every
 * answer is one that is to be asked again. This mount's own writes need nothing: the kernel asks
 * again after them.
 *
 * A LARGER SIZE ends with the first read, of which less comes back, but not where a note comes
 * between that and its answer: then zeros are read up to the larger size. So there is none before
 * contents are replaced by shorter ones; and who opens where a larger size was told looks up the
 * name first, which tells the kernel the size in most cases, and then comes the note.
 *
 * The answers that it takes without a check (SETATTR, LINK, CREATE) may come after the note all the
 * same. Of a file that is changed elsewhere they are to be asked again, too. */
#include <fcntl.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/tables/tables.h"

/* Nothing but its size counts from now on. */
static void begin(struct kith_inode *inode)
{
    inode->told_size = inode->told_least = inode->told_most = inode->size;
}

void kith_told_size(struct kith_inode *inode)
{
    if (inode->type != KITH_TYPE_FILE || inode->told_in_vain) {
        return;
    }
    if (!inode->told) {
        begin(inode);
    }
    inode->told_changes += inode->told_size != inode->size ? 1u : 0u;
    inode->told = true;
    inode->told_noted = false;
    inode->told_size = inode->size;
    inode->told_least = inode->size < inode->told_least ? inode->size : inode->told_least;
    inode->told_most = inode->size > inode->told_most ? inode->size : inode->told_most;
}

void kith_told_written(struct kith_inode *inode)
{
    if (inode->told_least == inode->told_most) {
        begin(inode);
    } else { /* what is on its way does not count after a write; but that may be under way, too */
        inode->told_size = inode->size;
    }
}

double kith_told_timeout(const struct kith_inode *inode, double seconds, bool checked)
{
    return inode->told_in_vain || (!checked && inode->told_changes > 0) ? 0.0 : seconds;
}

void kith_told_forget(struct kith_inode *inode)
{
    inode->told = false;
}

/* Whether the kernel has, or may come to take, a smaller size than this; a larger one. */
static bool cuts(const struct kith_inode *inode, uint64_t size)
{
    return inode->nlookup > 0 && inode->told && inode->told_least < size;
}

static bool exceeds(const struct kith_inode *inode, uint64_t size)
{
    return inode->nlookup > 0 && inode->told && inode->told_most > size;
}

/* fs->lock not held. An error means that the kernel does not know the file, or that the mount is
 * over. */
static void note(struct kith_fs *fs, struct kith_inode *inode)
{
    if (fs->session != NULL) {
        int error = fuse_lowlevel_notify_inval_inode(fs->session, kith_inode_ino(fs, inode), -1, 0);
        if (error != 0) {
            kith_log_debug("told", "%llx: %s", (unsigned long long)inode->id, strerror(-error));
        }
    }
}

bool kith_told_before(struct kith_fs *fs, struct kith_inode *inode, uint64_t size)
{
    pthread_mutex_lock(&fs->lock);
    bool moves = cuts(inode, size);
    inode->told_in_vain = moves;
    pthread_mutex_unlock(&fs->lock);
    if (moves) {
        note(fs, inode);
    }
    return moves;
}

void kith_told_after(struct kith_inode *inode)
{
    inode->told_in_vain = false;
    inode->told_noted = true;
    inode->told_changes++;
    begin(inode);
}

/* fs->lock held; it comes and goes. */
static void settle(struct kith_fs *fs, struct kith_inode *inode)
{
    uint32_t changes = ++inode->told_changes;
    pthread_mutex_unlock(&fs->lock);
    note(fs, inode);
    pthread_mutex_lock(&fs->lock);
    inode->told_noted = true;
    if (inode->told_changes == changes && !inode->told_in_vain) {
        begin(inode); /* else the next open sees to it */
    }
}

bool kith_told_open(struct kith_fs *fs, struct kith_inode *inode, int flags, pid_t thread)
{
    bool second = inode->told_again == thread;
    inode->told_again = second ? 0 : inode->told_again;
    bool may =
        !second && inode->told_again == 0; /* not twice for one thread: its call would fail */
    bool again = may && !cuts(inode, inode->size) && exceeds(inode, inode->size);
    if (!again && (cuts(inode, inode->size) || exceeds(inode, inode->size))) {
        settle(fs, inode);
    }
    /* an append goes where the kernel takes the end to be, and so does the file position */
    again = again || (may && inode->told_noted && (flags & O_APPEND) != 0);
    inode->told_again = again ? thread : inode->told_again;
    return again;
}
