/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * acl.c - POSIX ACLs, as the kernel asks for them: as extended attributes of two names.
 *
 * They are attributes (attrs.h), so what is said of those in attr.c holds here: memory has them,
 * and a change is put with the next put of the file, or at once. The kernel checks permissions; it
 * keeps an ACL, or that there is none, for as long as it keeps the attributes, and forgets both
 * together. It asks of what is not the caller's own, and never keeps that of the mount's root, whose
 * inode is older than INIT (ACL_DONT_CACHE in fs/fuse/inode.c of Linux): 9 us for each path that
 * comes through there, where another owns the root.
 *
 * With ACLs the kernel leaves the umask to us, for it does not count under a default ACL. */
#include <errno.h>
#include <linux/xattr.h>
#include <string.h>
#include <sys/xattr.h>

#include "format/acl.h"
#include "fs/fs.h"
#include "fs/files/files.h"
#include "fs/names/names.h"
#include "fs/requests/requests.h"
#include "fs/rows/rows.h"
#include "fs/tables/tables.h"

#define GROUPS_FEW 64 /* groups of a caller that need no memory */

bool kith_acl_name(const struct kith_fs *fs, const char *name)
{
    return fs->acl && (strcmp(name, XATTR_NAME_POSIX_ACL_ACCESS) == 0 ||
                       strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT) == 0);
}

static bool is_default(const char *name)
{
    return strcmp(name, XATTR_NAME_POSIX_ACL_DEFAULT) == 0;
}

void kith_acl_make(const struct kith_fs *fs, const struct kith_inode *dir, enum kith_type type,
                   mode_t umask, struct kith_attrs *attrs)
{
    struct kith_bytes acl = kith_attrs_default_acl(&dir->attrs);
    if (type == KITH_TYPE_SYMLINK) {
        return;
    }
    if (!fs->acl || acl.size == 0) {
        attrs->mode &= ~(uint32_t)umask;
        return;
    }
    bool plain;
    attrs->mode = kith_acl_inherit(acl, attrs->mode, &plain);
    if (!plain) {
        attrs->acl = acl.data;
        attrs->acl_size = (uint16_t)acl.size;
    }
    if (type == KITH_TYPE_DIR) {
        attrs->have |= KITH_ATTR_DEFAULT_ACL;
        attrs->default_acl = acl.data;
        attrs->default_acl_size = (uint16_t)acl.size;
        attrs->default_acl_stamp = attrs->mode_stamp;
    }
}

void kith_acl_names(const struct kith_fs *fs, const struct kith_inode *inode, struct kith_buf *buf)
{
    if (fs->acl && inode->attrs.acl_size > 0) {
        kith_buf_put(buf, XATTR_NAME_POSIX_ACL_ACCESS, sizeof XATTR_NAME_POSIX_ACL_ACCESS);
    }
    if (fs->acl && inode->attrs.default_acl_size > 0) {
        kith_buf_put(buf, XATTR_NAME_POSIX_ACL_DEFAULT, sizeof XATTR_NAME_POSIX_ACL_DEFAULT);
    }
}

/* ---- Reading ---- */

size_t kith_acl_now(const struct kith_inode *inode, const char *name,
                    uint8_t ret_acl[KITH_ACL_SIZE_MAX])
{
    const struct kith_attrs *attrs = &inode->attrs;
    if (!is_default(name) && attrs->acl_size > 0) {
        kith_acl_show(kith_attrs_acl(attrs), attrs->mode, ret_acl);
        return attrs->acl_size;
    }
    if (is_default(name) && attrs->default_acl_size > 0) {
        memcpy(ret_acl, attrs->default_acl, attrs->default_acl_size);
        return attrs->default_acl_size;
    }
    return 0;
}

static void do_get(struct kith_job *job)
{
    struct kith_fs *fs = job->fs;
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_seen seen;
    uint8_t acl[KITH_ACL_SIZE_MAX];
    kith_arena_init(&arena, 0);
    int error = kith_inode_read(fs, job->inode, &arena, &answer, &seen);
    kith_client_answer_release(&answer);
    kith_arena_release(&arena);
    pthread_mutex_lock(&fs->lock);
    size_t size = kith_acl_now(job->inode, job->name, acl);
    pthread_mutex_unlock(&fs->lock);
    if (error != 0 || size == 0) {
        kith_job_fail(job, error != 0 ? error : ENODATA);
    } else {
        kith_xattr_answer(job, acl, size, job->size);
    }
}

void kith_op_getacl(fuse_req_t req, fuse_ino_t ino, const char *name, size_t room)
{
    struct kith_fs *fs = fuse_req_userdata(req);
    uint8_t acl[KITH_ACL_SIZE_MAX];
    pthread_mutex_lock(&fs->lock);
    struct kith_inode *inode = kith_inode_of(fs, ino);
    bool known = kith_attrs_known(fs, inode);
    size_t size = kith_acl_now(inode, name, acl);
    pthread_mutex_unlock(&fs->lock);
    if (known && size == 0) {
        fuse_reply_err(req, ENODATA);
    } else if (known && room == 0) {
        fuse_reply_xattr(req, size);
    } else if (known && size > room) {
        fuse_reply_err(req, ERANGE);
    } else if (known) {
        fuse_reply_buf(req, (const char *)acl, size);
    } else {
        struct kith_job *job = kith_job_new(fs, req, ino, 0, do_get);
        if (job == NULL) {
            fuse_reply_err(req, ENOMEM);
            return;
        }
        memcpy(job->name, name, strlen(name) + 1);
        job->size = room;
        kith_job_start(job);
    }
}

/* ---- Changing ---- */

struct change {
    bool standard;         /* the default ACL */
    struct kith_bytes acl; /* size 0: it goes */
    int flags;             /* of setxattr(2) */
    bool clear_set_gid;
};

/* Whether the caller is in the group of the file, or root: who is not leaves no set-gid behind. */
static bool in_group(fuse_req_t req, gid_t gid)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    gid_t few[GROUPS_FEW], *groups = few, *many = NULL;
    if (ctx->uid == 0 || ctx->gid == gid) {
        return true;
    }
    int count = fuse_req_getgroups(req, GROUPS_FEW, few), room = GROUPS_FEW;
    if (count > room) {
        many = kith_malloc((size_t)count * sizeof *many);
        groups = many;
        room = count;
        count = many == NULL ? 0 : fuse_req_getgroups(req, room, many);
    }
    bool in = false;
    for (int i = 0; i < count && i < room; i++) {
        in = in || groups[i] == gid;
    }
    kith_free(many);
    return in;
}

/* fs->lock held. The attributes with the change; borrows from it. 0 or an errno. *ret_bits: what has
 * changed, 0: nothing, as with the removal of what is not there. */
static int changed(const struct kith_inode *inode, const struct change *change,
                   struct kith_attrs *ret_attrs, uint32_t *ret_bits)
{
    struct kith_attrs attrs = inode->attrs;
    struct kith_time now = kith_wall_time();
    bool there = (change->standard ? attrs.default_acl_size : attrs.acl_size) > 0;
    bool goes = change->acl.size == 0;
    if (change->standard && !goes && inode->dir == NULL) {
        return EACCES; /* as the filesystems of Linux say */
    }
    if (there && (change->flags & XATTR_CREATE) != 0) {
        return EEXIST;
    }
    if (!there && (change->flags & XATTR_REPLACE) != 0) {
        return ENODATA;
    }
    *ret_bits = !there && goes ? 0u : change->standard ? KITH_ATTR_DEFAULT_ACL : KITH_ATTR_MODE;
    if (*ret_bits == 0) {
        return 0;
    }
    if (change->standard) {
        attrs.have |= KITH_ATTR_DEFAULT_ACL;
        attrs.default_acl = change->acl.data;
        attrs.default_acl_size = (uint16_t)change->acl.size;
        attrs.default_acl_stamp = now;
    } else {
        bool plain = true;
        if (!goes) {
            attrs.mode = (attrs.mode & 07000u) | kith_acl_mode(change->acl, &plain);
            attrs.mode &= change->clear_set_gid ? ~(uint32_t)S_ISGID : UINT32_MAX;
        }
        attrs.acl = plain ? NULL : change->acl.data;
        attrs.acl_size = plain ? 0 : (uint16_t)change->acl.size;
        attrs.have |= KITH_ATTR_MODE;
        attrs.mode_stamp = now;
    }
    *ret_attrs = attrs;
    return 0;
}

/* Takes the change; what must be put before the answer only where `all`. *ret_put: it must. */
static int take(struct kith_fs *fs, struct kith_inode *inode, const struct change *change, bool all,
                bool *ret_put)
{
    struct kith_attrs attrs;
    uint32_t bits = 0;
    bool may_wait = kith_attrs_may_wait(fs, inode);
    pthread_mutex_lock(&fs->lock);
    int error = changed(inode, change, &attrs, &bits);
    *ret_put = error == 0 && bits != 0 && !(may_wait && kith_attrs_wait(inode, &attrs));
    if (error == 0 && bits != 0 && (all || !*ret_put)) {
        error = kith_attrs_take(fs, inode, &attrs, bits) ? 0 : ENOMEM;
    }
    pthread_mutex_unlock(&fs->lock);
    return error;
}

static void do_put(struct kith_job *job)
{
    kith_job_fail(job, kith_inode_flush(job->fs, job->inode, KITH_DURABLE_OS));
}

static void put_done(void *arg, int error)
{
    struct kith_job *job = arg;
    pthread_mutex_lock(&job->fs->lock);
    kith_busy_give(job->fs, false, &job->inode, 1);
    pthread_mutex_unlock(&job->fs->lock);
    kith_job_fail(job, error);
    kith_job_end(job);
}

static void apply(fuse_req_t req, fuse_ino_t ino, struct change *change)
{
    struct kith_fs *fs = fuse_req_userdata(req);
    struct kith_inode *inode = kith_inode_of(fs, ino);
    pthread_mutex_lock(&fs->lock);
    bool set_gid = (inode->attrs.mode & S_ISGID) != 0;
    gid_t gid = inode->attrs.gid;
    pthread_mutex_unlock(&fs->lock);
    change->clear_set_gid = set_gid && !change->standard && !in_group(req, gid);
    bool put = false;
    int error = take(fs, inode, change, false, &put);
    if (error != 0 || !put) {
        fuse_reply_err(req, error);
        return;
    }
    struct kith_job *job = kith_job_new(fs, req, ino, 0, do_put);
    if (job == NULL) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    error = take(fs, inode, change, true, &put);
    if (error != 0) {
        kith_job_begin(job);
        kith_job_fail(job, error);
        kith_job_end(job);
    } else {
        kith_start_put(job, KITH_DURABLE_OS, put_done);
    }
}

void kith_op_setacl(fuse_req_t req, fuse_ino_t ino, const char *name, const void *value,
                    size_t size, int flags)
{
    struct change change = {.standard = is_default(name),
                            .acl = kith_bytes_make(value, size),
                            .flags = flags};
    enum kith_err err = kith_acl_check(change.acl);
    if (kith_acl_is_empty(change.acl)) {
        kith_op_removeacl(req, ino, name);
    } else if (err != KITH_OK) {
        fuse_reply_err(req, err == KITH_ETOOBIG ? E2BIG : EINVAL);
    } else {
        apply(req, ino, &change);
    }
}

void kith_op_removeacl(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    struct change change = {.standard = is_default(name)};
    apply(req, ino, &change);
}
