/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * notify.c - the thread that tells the kernel what to forget.
 *
 * A notification waits for locks that the kernel holds while it waits for answers of ours: so it
 * comes from a thread that serves no request and holds no lock. While it waits the process cannot
 * die; so nothing is told where nobody would end the wait (guard.h).
 *
 * TO FORGET names that nobody uses: from Linux 6.18 on a list of nodes is enough (FUSE_NOTIFY_PRUNE),
 * and no directory is locked for it. Older kernels are told each name, with its directory locked. Where
 * threads look up names of one directory all the time the lock goes round between them and us, and one
 * thread of ours would take back a quarter of what four of them get: there are several then. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fs/fs.h"
#include "fs/mount/guard.h"
#include "fs/mount/mount.h"

#define QUEUE_MAX 4096u /* notes; on overflow they are dropped and timeouts do the work */
#define FORGET_MAX (QUEUE_MAX / 2) /* what is to be forgotten leaves room for what has changed */
#define PRUNE_MAX   512u /* nodes in one message */
#define THREADS_MAX 8u   /* one where the kernel knows such a message */

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
    pthread_mutex_t lock; /* protects all below */
    pthread_t threads[THREADS_MAX];
    uint32_t thread_count;
    pthread_cond_t wake;
    struct note *queue; /* a ring of QUEUE_MAX */
    uint32_t first, count;
    bool ending;
    bool no_prune; /* the kernel does not know it */
    atomic_bool unguarded; /* said once */
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
    if (fs->session == NULL || fs->guard == NULL || atomic_load(&notifier->unguarded)) {
        return false;
    }
    bool stands = kith_guard_stands(fs->guard);
    if (!stands && !atomic_exchange(&notifier->unguarded, true)) {
        kith_log_warn("notify",
                      "the process that guards the mount is gone: the kernel is told of no changes "
                      "any more, and keeps names and attributes for their timeouts");
    }
    return stands;
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

/* lock held. The notes at the head of the queue that are of nodes to be forgotten, into nodes[] and
 * out of the queue. */
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
    notifier->first = (notifier->first + count) % QUEUE_MAX;
    notifier->count -= count;
    return count;
}

static void *notifier_main(void *arg);

/* lock held */
static bool thread_add(struct kith_notifier *notifier)
{
    bool ok = !notifier->ending && notifier->thread_count < THREADS_MAX &&
              pthread_create(&notifier->threads[notifier->thread_count], NULL, notifier_main,
                             notifier) == 0;
    notifier->thread_count += ok ? 1 : 0;
    return ok;
}

/* lock held, and given up meanwhile. True: there were notes that can be told together. Where the
 * kernel cannot be told so they are lost: the sweep comes to these entries again. */
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
    while (!ok && thread_add(notifier)) {
    }
    return true;
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
    pthread_mutex_lock(&notifier->lock);
    bool ok = notifier->queue != NULL && thread_add(notifier);
    pthread_mutex_unlock(&notifier->lock);
    if (!ok) {
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
    pthread_cond_broadcast(&notifier->wake);
    uint32_t count = notifier->thread_count;
    pthread_mutex_unlock(&notifier->lock);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(notifier->threads[i], NULL);
    }
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
    if (notifier->count < (node != 0 ? FORGET_MAX : QUEUE_MAX)) {
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
