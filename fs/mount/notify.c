/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * notify.c - the one thread that tells the kernel what to forget.
 *
 * A notification waits for locks that the kernel holds while it waits for answers of ours: so it
 * comes from a thread that serves no request and holds no lock. While it waits the process cannot
 * die; so nothing is told where nobody would end the wait (guard.h).
 *
 * TO FORGET names that nobody uses: from Linux 6.18 on a list of nodes is enough (FUSE_NOTIFY_PRUNE),
 * and no directory is locked for it. Older kernels are told each name, with its directory locked:
 * where several threads look up names of one directory they get as many as we can take back. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/mount/guard.h"
#include "fs/mount/mount.h"

#define QUEUE_MAX 4096u /* notes; on overflow they are dropped and timeouts do the work */
#define PRUNE_MAX 512u  /* nodes in one message */

/* <linux/fuse.h> from protocol 7.45 on, which libfuse does not speak yet. */
#define NOTIFY_PRUNE 9
struct prune_out {
    uint32_t count, padding;
    uint64_t spare;
};
struct out_header {
    uint32_t size;
    int32_t error; /* of a notification: its code */
    uint64_t unique;
};

struct note {
    fuse_ino_t parent;
    fuse_ino_t node; /* to be forgotten; 0: the name is not as it was */
    bool expire;
    uint8_t size;
    char name[KITH_FS_NAME_MAX + 1];
};

struct kith_notifier {
    struct kith_fs *fs;
    pthread_t thread;
    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t wake;
    struct note *queue; /* a ring of QUEUE_MAX */
    uint32_t first, count;
    bool ending;
    /* the thread's own */
    bool unguarded; /* said once */
    bool no_prune;  /* the kernel does not know it */
};

/* Expiring leaves what hangs on the name (a working directory, a mount) as it is; an older kernel
 * can only forget it. */
static int tell(struct fuse_session *session, const struct note *note)
{
    int error = -ENOSYS;
    if (note->expire) {
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
        error = fuse_lowlevel_notify_expire_entry(session, note->parent, note->name, note->size);
#else
        error = fuse_lowlevel_notify_expire_entry(session, note->parent, note->name, note->size,
                                                  FUSE_LL_EXPIRE_ONLY);
#endif
    }
    if (error == -ENOSYS) {
        error = fuse_lowlevel_notify_inval_entry(session, note->parent, note->name, note->size);
    }
    return error;
}

/* How a mount begins unguarded is said there. */
static bool may_tell(struct kith_notifier *notifier)
{
    const struct kith_fs *fs = notifier->fs;
    if (fs->session == NULL || fs->guard == NULL || notifier->unguarded) {
        return false;
    }
    notifier->unguarded = !kith_guard_stands(fs->guard);
    if (notifier->unguarded) {
        kith_log_warn("notify",
                      "the process that guards the mount is gone: the kernel is told of no changes "
                      "any more, and keeps names and attributes for their timeouts");
    }
    return !notifier->unguarded;
}

/* False: the kernel does not know such a message. */
static bool prune(struct fuse_session *session, uint64_t nodes[], uint32_t count)
{
    struct prune_out prune = {.count = count};
    struct out_header header = {.error = NOTIFY_PRUNE};
    struct iovec parts[3] = {{&header, sizeof header},
                             {&prune, sizeof prune},
                             {nodes, count * sizeof nodes[0]}};
    header.size = (uint32_t)(parts[0].iov_len + parts[1].iov_len + parts[2].iov_len);
    return writev(fuse_session_fd(session), parts, 3) >= 0 || errno != EINVAL;
}

/* lock held. The notes at the head of the queue that are of nodes to be forgotten, into nodes[]. */
static uint32_t take_nodes(struct kith_notifier *notifier, uint64_t nodes[])
{
    uint32_t count = 0;
    while (count < notifier->count && count < PRUNE_MAX) {
        const struct note *note = &notifier->queue[(notifier->first + count) % QUEUE_MAX];
        if (note->node == 0) {
            break;
        }
        nodes[count++] = note->node;
    }
    return count;
}

/* lock held, and given up meanwhile. True: notes were told together, and are gone. */
static bool forget_many(struct kith_notifier *notifier)
{
    uint64_t nodes[PRUNE_MAX];
    uint32_t count = notifier->no_prune ? 0 : take_nodes(notifier, nodes);
    if (count == 0) {
        return false;
    }
    pthread_mutex_unlock(&notifier->lock);
    bool ok = !may_tell(notifier) || prune(notifier->fs->session, nodes, count);
    pthread_mutex_lock(&notifier->lock);
    notifier->no_prune = !ok;
    if (ok) {
        notifier->first = (notifier->first + count) % QUEUE_MAX;
        notifier->count -= count;
    }
    return ok;
}

static void *notifier_main(void *arg)
{
    struct kith_notifier *notifier = arg;
    pthread_setname_np(pthread_self(), "notify");
    pthread_mutex_lock(&notifier->lock);
    while (!notifier->ending) {
        if (notifier->count == 0) {
            pthread_cond_wait(&notifier->wake, &notifier->lock);
            continue;
        }
        if (forget_many(notifier)) {
            continue;
        }
        struct note note = notifier->queue[notifier->first];
        notifier->first = (notifier->first + 1) % QUEUE_MAX;
        notifier->count--;
        pthread_mutex_unlock(&notifier->lock);
        if (may_tell(notifier)) {
            int error = tell(notifier->fs->session, &note);
            if (error != 0) { /* the kernel has forgotten it by itself */
                kith_log_debug("notify", "%s: %s", note.name, strerror(-error));
            }
        }
        pthread_mutex_lock(&notifier->lock);
    }
    pthread_mutex_unlock(&notifier->lock);
    return NULL;
}

enum kith_err kith_notifier_new(struct kith_fs *fs, struct kith_notifier **ret_notifier)
{
    struct kith_notifier *notifier = kith_calloc(1, sizeof *notifier);
    if (notifier == NULL) {
        return KITH_ENOMEM;
    }
    notifier->fs = fs;
    notifier->queue = kith_calloc(QUEUE_MAX, sizeof *notifier->queue);
    pthread_mutex_init(&notifier->lock, NULL);
    pthread_cond_init(&notifier->wake, NULL);
    if (notifier->queue == NULL ||
        pthread_create(&notifier->thread, NULL, notifier_main, notifier) != 0) {
        pthread_cond_destroy(&notifier->wake);
        pthread_mutex_destroy(&notifier->lock);
        kith_free(notifier->queue);
        kith_free(notifier);
        return KITH_ENOMEM;
    }
    *ret_notifier = notifier;
    return KITH_OK;
}

void kith_notifier_free(struct kith_notifier *notifier)
{
    if (notifier == NULL) {
        return;
    }
    pthread_mutex_lock(&notifier->lock);
    notifier->ending = true;
    pthread_cond_signal(&notifier->wake);
    pthread_mutex_unlock(&notifier->lock);
    pthread_join(notifier->thread, NULL);
    pthread_cond_destroy(&notifier->wake);
    pthread_mutex_destroy(&notifier->lock);
    kith_free(notifier->queue);
    kith_free(notifier);
}

static void add(struct kith_notifier *notifier, fuse_ino_t parent, fuse_ino_t node,
                const char *name, size_t size, bool expire)
{
    if (notifier == NULL) {
        return;
    }
    pthread_mutex_lock(&notifier->lock);
    if (notifier->count < QUEUE_MAX) {
        struct note *note = &notifier->queue[(notifier->first + notifier->count) % QUEUE_MAX];
        note->parent = parent;
        note->node = node;
        note->expire = expire;
        note->size = (uint8_t)size;
        memcpy(note->name, name, size);
        note->name[size] = '\0';
        notifier->count++;
        pthread_cond_signal(&notifier->wake);
    }
    pthread_mutex_unlock(&notifier->lock);
}

void kith_notify_entry(struct kith_notifier *notifier, fuse_ino_t parent, const char *name,
                       size_t size, bool expire)
{
    add(notifier, parent, 0, name, size, expire);
}

void kith_notify_forget(struct kith_notifier *notifier, fuse_ino_t node, fuse_ino_t parent,
                        const char *name, size_t size)
{
    add(notifier, parent, node, name, size, false);
}
