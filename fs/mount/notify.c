/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * notify.c - the one thread that tells the kernel what to forget.
 *
 * A notification waits for locks that the kernel holds while it waits for answers of ours: so it
 * comes from a thread that serves no request and holds no lock. While it waits the process cannot
 * die; so nothing is told where nobody would end the wait (guard.h). */
#include <errno.h>
#include <string.h>

#include "fs/fs.h"
#include "fs/mount/guard.h"
#include "fs/mount/mount.h"

#define QUEUE_MAX 4096u /* notes; on overflow they are dropped and timeouts do the work */

struct note {
    fuse_ino_t parent;
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
    bool unguarded; /* said once; the thread's own */
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

void kith_notify_entry(struct kith_notifier *notifier, fuse_ino_t parent, const char *name,
                       size_t size, bool expire)
{
    if (notifier == NULL) {
        return;
    }
    pthread_mutex_lock(&notifier->lock);
    if (notifier->count < QUEUE_MAX) {
        struct note *note = &notifier->queue[(notifier->first + notifier->count) % QUEUE_MAX];
        note->parent = parent;
        note->expire = expire;
        note->size = (uint8_t)size;
        memcpy(note->name, name, size);
        note->name[size] = '\0';
        notifier->count++;
        pthread_cond_signal(&notifier->wake);
    }
    pthread_mutex_unlock(&notifier->lock);
}
