/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * root.c - the way to .kith: the attributes of the mount's root, which the kernel wants again and
 * again to check who may pass, also when no node can be reached.
 *
 * Where memory knows them, requests/ answers. Else they are read, once for all who ask at the time;
 * who has waited for PATIENCE_NS, or hears that they cannot be read, gets them as they were last
 * seen. So may somebody pass for a moment who may not any more; what lies below asks for itself. */
#include <errno.h>
#include <string.h>

#include "fs/control/impl.h"
#include "fs/files/files.h"
#include "fs/mount/mount.h"
#include "fs/names/names.h"
#include "fs/tables/tables.h"

#define PATIENCE_NS (NSEC_PER_SEC / 4) /* nodes that answer do so sooner */

struct kith_root_asked {
    struct kith_root_asked *next;
    fuse_req_t req;
    uint64_t until; /* then it is answered from memory */
    bool acl;
    size_t room;
    char name[KITH_FS_XATTR_NAME_MAX + 1]; /* acl */
};

/* From memory. The request is the caller's to answer. */
static void answer(struct kith_fs *fs, struct kith_root_asked *asked, int error)
{
    uint8_t acl[KITH_ACL_SIZE_MAX];
    struct stat attr;
    pthread_mutex_lock(&fs->lock);
    kith_inode_stat(fs->root, &attr);
    size_t size = asked->acl ? kith_acl_now(fs->root, asked->name, acl) : 0;
    pthread_mutex_unlock(&fs->lock);
    attr.st_ino = FUSE_ROOT_ID;
    if (error != 0 || (asked->acl && size == 0)) {
        fuse_reply_err(asked->req, error != 0 ? error : ENODATA);
    } else if (!asked->acl) {
        fuse_reply_attr(asked->req, &attr, fs->options->attr_timeout);
    } else if (asked->room == 0) {
        fuse_reply_xattr(asked->req, size);
    } else if (size > asked->room) {
        fuse_reply_err(asked->req, ERANGE);
    } else {
        fuse_reply_buf(asked->req, (const char *)acl, size);
    }
    kith_free(asked);
}

/* control->lock held. Those whose time is over at `now`, out of the list; *ret_next: when the next
 * one's is, 0: there is none. */
static struct kith_root_asked *take_late(struct kith_control *control, uint64_t now,
                                         uint64_t *ret_next)
{
    struct kith_root_asked *late = NULL, **at = &control->root_asked;
    *ret_next = 0;
    while (*at != NULL) {
        struct kith_root_asked *asked = *at;
        if (asked->until > now) {
            *ret_next = *ret_next == 0 || asked->until < *ret_next ? asked->until : *ret_next;
            at = &asked->next;
            continue;
        }
        *at = asked->next;
        asked->next = late;
        late = asked;
    }
    return late;
}

static void answer_all(struct kith_fs *fs, struct kith_root_asked *list, int error)
{
    while (list != NULL) {
        struct kith_root_asked *next = list->next;
        answer(fs, list, error);
        list = next;
    }
}

uint64_t kith_control_late(struct kith_control *control, uint64_t now)
{
    uint64_t next = 0;
    if (control == NULL) {
        return 0;
    }
    pthread_mutex_lock(&control->lock);
    struct kith_root_asked *late = take_late(control, now, &next);
    pthread_mutex_unlock(&control->lock);
    answer_all(control->fs, late, 0);
    return next;
}

/* Reads them, for all who have asked until it is done. */
static void read_root(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_control *control = fs->control;
    struct kith_arena arena;
    struct kith_client_answer read;
    struct kith_seen seen;
    uint64_t next;
    kith_arena_init(&arena, 0);
    int error = kith_inode_read(fs, fs->root, &arena, &read, &seen);
    kith_client_answer_release(&read);
    kith_arena_release(&arena);
    bool away = error == EIO || error == ETIMEDOUT || error == EINTR;
    pthread_mutex_lock(&control->lock);
    control->root_busy = false;
    struct kith_root_asked *all = take_late(control, UINT64_MAX, &next);
    pthread_mutex_unlock(&control->lock);
    answer_all(fs, all, away ? 0 : error);
}

/* acl: the name of the one that is asked for; NULL: the attributes. */
static void ask(fuse_req_t req, const char *acl, size_t room)
{
    struct kith_control *control = kith_control_of(req);
    struct kith_root_asked *asked = kith_calloc(1, sizeof *asked);
    struct kith_job *job = kith_job_new(control->fs, NULL, FUSE_ROOT_ID, 0, read_root);
    if (asked == NULL || job == NULL) {
        kith_free(asked);
        kith_job_discard(job);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    asked->req = req;
    asked->until = kith_mono_ns() + PATIENCE_NS;
    asked->acl = acl != NULL;
    asked->room = room;
    if (acl != NULL) {
        memcpy(asked->name, acl, strlen(acl) + 1);
    }
    pthread_mutex_lock(&control->lock);
    asked->next = control->root_asked;
    control->root_asked = asked;
    bool begin = !control->root_busy;
    control->root_busy = true;
    pthread_mutex_unlock(&control->lock);
    if (!begin) {
        kith_job_discard(job);
    } else if (!kith_job_start_or_discard(job)) {
        pthread_mutex_lock(&control->lock);
        control->root_busy = false; /* too much waits already: it is answered when it is late */
        pthread_mutex_unlock(&control->lock);
    }
    kith_timer_wake(control->fs->timer);
}

static bool known(struct kith_fs *fs)
{
    pthread_mutex_lock(&fs->lock);
    bool is = kith_attrs_known(fs, fs->root);
    pthread_mutex_unlock(&fs->lock);
    return is;
}

void kith_control_getattr_root(fuse_req_t req, struct fuse_file_info *fi)
{
    if (known(kith_control_of(req)->fs)) {
        kith_fs_ops.getattr(req, FUSE_ROOT_ID, fi);
    } else {
        ask(req, NULL, 0);
    }
}

void kith_control_getxattr_root(fuse_req_t req, const char *name, size_t size)
{
    struct kith_fs *fs = kith_control_of(req)->fs;
    if (!kith_acl_name(fs, name) || known(fs)) {
        kith_fs_ops.getxattr(req, FUSE_ROOT_ID, name, size);
    } else {
        ask(req, name, size);
    }
}
