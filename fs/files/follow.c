/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * follow.c - what other mounts append to a file that is open here.
 *
 * An open file stays the version that was opened until somebody opens it again (open.c). But who
 * follows a log (tail -f) never opens it again, and asks only for its size. So where a file is open for
 * reading alone, and another version of it is told or seen, that is read; and where it is the open one
 * with something appended it takes its place. What a reader has read stays true: nobody gets a mixture
 * of two versions by that. Any other version changes nothing, and is not read a second time.
 *
 * The timer starts it, a few at a time, in threads of the executor; nobody waits for it. What the
 * kernel asks for meanwhile is answered from memory. */
#include <string.h>

#include "fs/files/files.h"
#include "fs/fs.h"
#include "fs/names/names.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

/* fs->lock held */
static bool may_follow(const struct kith_inode *inode)
{
    return inode->is_open && inode->content != NULL && !inode->may_write && inode->opens > 0 &&
           !inode->unlinked && !inode->made && !kith_aside_is(inode) && !kith_inode_dirty(inode);
}

/* fs->lock held. The version is known to be another file, and not this one with more of it. */
static bool not_followed(const struct kith_inode *inode, const struct kith_dot *dot)
{
    return inode->not_followed.counter != 0 && kith_dot_equal(&inode->not_followed, dot);
}

/* fs->lock held. It is neither the open version, nor known to be another file. */
static bool shows_another(const struct kith_inode *inode, const struct kith_dot *dot)
{
    bool same = inode->has_dot && kith_dot_equal(&inode->dot, dot);
    return !same && !not_followed(inode, dot);
}

void kith_inode_follow_soon(struct kith_fs *fs, struct kith_inode *inode,
                            const struct kith_dot *dot)
{
    bool known = dot != NULL && (inode->follows || not_followed(inode, dot));
    if (!inode->follow && !known && may_follow(inode)) {
        inode->follow = true;
        kith_inode_enqueue(fs, inode);
    }
}

/* It counts as open here meanwhile, so the contents stay. Nobody waits for what this reads. */
static int follow(struct kith_fs *fs, struct kith_inode *inode, struct kith_content *content,
                  uint64_t replacements)
{
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    bool appended = false;
    uint64_t started = kith_mono_ns();
    kith_arena_init(&arena, 0);
    int error = kith_inode_read(fs, inode, &arena, &answer, &seen);
    pthread_mutex_lock(&fs->lock);
    bool other = error == 0 && shows_another(inode, &seen.dot);
    pthread_mutex_unlock(&fs->lock);
    if (other) {
        error = kith_errno(kith_content_appended(content, seen.record.contents, &appended));
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_take(fs, false, &inode, 1);
    inode->follows = false;
    inode->follow_from = kith_mono_ns() + fs->entry_ns;
    if (other && error == 0 && !appended) {
        inode->not_followed = seen.dot;
    }
    bool takes = error == 0 && appended && may_follow(inode) && inode->content == content &&
                 inode->replacements == replacements;
    pthread_mutex_unlock(&fs->lock);
    if (takes) {
        error = kith_inode_take_over(fs, inode, &seen, started);
    }
    pthread_mutex_lock(&fs->lock);
    kith_busy_give(fs, false, &inode, 1);
    pthread_mutex_unlock(&fs->lock);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    return error;
}

void kith_inode_follow(struct kith_fs *fs, struct kith_inode *inode)
{
    pthread_mutex_lock(&fs->lock);
    inode->follow = false;
    bool may = may_follow(inode);
    struct kith_content *content = inode->content;
    uint64_t replacements = inode->replacements;
    inode->opens += may ? 1 : 0;
    inode->follows = may;
    pthread_mutex_unlock(&fs->lock);
    if (!may) {
        return;
    }
    int error = follow(fs, inode, content, replacements);
    if (error != 0) {
        kith_log_debug("open", "%llx is not followed: %s", (unsigned long long)inode->id,
                       strerror(error));
    }
    kith_inode_close(fs, inode);
}
