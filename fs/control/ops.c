/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ops.c - what libfuse calls: what is asked of .kith is answered here, all else by requests/.
 *
 * Nobody makes, changes or removes anything there. The name itself is taken (EEXIST) for who would
 * make it; all else is EPERM. What cannot be done with such files at all is said with errnos that
 * the kernel does not take for the whole mount (ENOSYS would be that). */
#include <errno.h>
#include <string.h>

#include "fs/control/impl.h"

static bool is_name(fuse_ino_t parent, const char *name)
{
    return parent == FUSE_ROOT_ID && strcmp(name, KITH_CONTROL_NAME) == 0;
}

/* Answers what would make that name; false: it is none of ours. */
static bool refuses_to_make(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (is_name(parent, name)) {
        fuse_reply_err(req, EEXIST);
    } else if (kith_control_has(parent)) {
        fuse_reply_err(req, EPERM);
    } else {
        return false;
    }
    return true;
}

/* The same of what would remove or replace it. */
static bool refuses_to_touch(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (is_name(parent, name) || kith_control_has(parent)) {
        fuse_reply_err(req, EPERM);
        return true;
    }
    return false;
}

/* The same of what is asked of a node; 0 is success. */
static bool refuses(fuse_req_t req, fuse_ino_t node, int error)
{
    if (kith_control_has(node)) {
        fuse_reply_err(req, error);
        return true;
    }
    return false;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (is_name(parent, name) || kith_control_has(parent)) {
        kith_control_lookup(req, parent, name);
    } else {
        kith_fs_ops.lookup(req, parent, name);
    }
}

static void op_forget(fuse_req_t req, fuse_ino_t node, uint64_t nlookup)
{
    if (kith_control_has(node)) {
        fuse_reply_none(req);
    } else {
        kith_fs_ops.forget(req, node, nlookup);
    }
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (!kith_control_has(forgets[i].ino)) {
            forgets[kept++] = forgets[i];
        }
    }
    kith_fs_ops.forget_multi(req, kept, forgets);
}

static void op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        kith_control_getattr(req, node);
    } else if (node == FUSE_ROOT_ID) {
        kith_control_getattr_root(req, fi);
    } else {
        kith_fs_ops.getattr(req, node, fi);
    }
}

static void op_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int to_set,
                       struct fuse_file_info *fi)
{
    if (!refuses(req, node, EPERM)) {
        kith_fs_ops.setattr(req, node, attr, to_set, fi);
    }
}

static void op_readlink(fuse_req_t req, fuse_ino_t node)
{
    if (!refuses(req, node, EINVAL)) {
        kith_fs_ops.readlink(req, node);
    }
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    if (!refuses_to_make(req, parent, name)) {
        kith_fs_ops.mknod(req, parent, name, mode, rdev);
    }
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    if (!refuses_to_make(req, parent, name)) {
        kith_fs_ops.mkdir(req, parent, name, mode);
    }
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    if (!refuses_to_make(req, parent, name)) {
        kith_fs_ops.symlink(req, target, parent, name);
    }
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!refuses_to_touch(req, parent, name)) {
        kith_fs_ops.unlink(req, parent, name);
    }
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (!refuses_to_touch(req, parent, name)) {
        kith_fs_ops.rmdir(req, parent, name);
    }
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
                      const char *newname, unsigned int flags)
{
    if (!refuses_to_touch(req, parent, name) && !refuses_to_touch(req, newparent, newname)) {
        kith_fs_ops.rename(req, parent, name, newparent, newname, flags);
    }
}

static void op_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t newparent, const char *newname)
{
    if (!refuses(req, node, EPERM) && !refuses_to_make(req, newparent, newname)) {
        kith_fs_ops.link(req, node, newparent, newname);
    }
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    if (!refuses_to_make(req, parent, name)) {
        kith_fs_ops.create(req, parent, name, mode, fi);
    }
}

static void op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        kith_control_open(req, node, fi);
    } else {
        kith_fs_ops.open(req, node, fi);
    }
}

static void op_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        kith_control_read(req, node, size, off, fi);
    } else {
        kith_fs_ops.read(req, node, size, off, fi);
    }
}

static void op_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    if (!refuses(req, node, EPERM)) {
        kith_fs_ops.write(req, node, data, size, off, fi);
    }
}

static void op_flush(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (!refuses(req, node, 0)) {
        kith_fs_ops.flush(req, node, fi);
    }
}

static void op_fsync(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
    if (!refuses(req, node, 0)) {
        kith_fs_ops.fsync(req, node, datasync, fi);
    }
}

static void op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        kith_control_release(req, node, fi);
    } else {
        kith_fs_ops.release(req, node, fi);
    }
}

static void op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        fuse_reply_open(req, fi);
    } else {
        kith_fs_ops.opendir(req, node, fi);
    }
}

static void op_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        kith_control_readdir(req, size, off, false);
    } else {
        kith_fs_ops.readdir(req, node, size, off, fi);
    }
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                           struct fuse_file_info *fi)
{
    if (kith_control_has(node)) {
        kith_control_readdir(req, size, off, true);
    } else {
        kith_fs_ops.readdirplus(req, node, size, off, fi);
    }
}

static void op_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (!refuses(req, node, 0)) {
        kith_fs_ops.releasedir(req, node, fi);
    }
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t node, int datasync, struct fuse_file_info *fi)
{
    if (!refuses(req, node, 0)) {
        kith_fs_ops.fsyncdir(req, node, datasync, fi);
    }
}

static void op_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value,
                        size_t size, int flags)
{
    if (!refuses(req, node, EPERM)) {
        kith_fs_ops.setxattr(req, node, name, value, size, flags);
    }
}

static void op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
    if (node == FUSE_ROOT_ID) {
        kith_control_getxattr_root(req, name, size);
    } else if (!refuses(req, node, ENODATA)) {
        kith_fs_ops.getxattr(req, node, name, size);
    }
}

static void op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
    if (!kith_control_has(node)) {
        kith_fs_ops.listxattr(req, node, size);
    } else if (size == 0) {
        fuse_reply_xattr(req, 0);
    } else {
        fuse_reply_buf(req, NULL, 0);
    }
}

static void op_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
    if (!refuses(req, node, EPERM)) {
        kith_fs_ops.removexattr(req, node, name);
    }
}

static void op_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
                         struct fuse_file_info *fi)
{
    if (!refuses(req, node, EPERM)) {
        kith_fs_ops.fallocate(req, node, mode, offset, length, fi);
    }
}

/* EXDEV: the kernel copies by reading and writing. */
static void op_copy_file_range(fuse_req_t req, fuse_ino_t node_in, off_t off_in,
                               struct fuse_file_info *fi_in, fuse_ino_t node_out, off_t off_out,
                               struct fuse_file_info *fi_out, size_t len, int flags)
{
    if (!refuses(req, node_in, EXDEV) && !refuses(req, node_out, EXDEV)) {
        kith_fs_ops.copy_file_range(req, node_in, off_in, fi_in, node_out, off_out, fi_out, len,
                                    flags);
    }
}

static void op_lseek(fuse_req_t req, fuse_ino_t node, off_t off, int whence,
                     struct fuse_file_info *fi)
{
    if (!refuses(req, node, EINVAL)) {
        kith_fs_ops.lseek(req, node, off, whence, fi);
    }
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    kith_fs_ops.init(userdata, conn);
}

static void op_statfs(fuse_req_t req, fuse_ino_t node)
{
    kith_fs_ops.statfs(req, node);
}

const struct fuse_lowlevel_ops kith_control_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .symlink = op_symlink,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .rename = op_rename,
    .link = op_link,
    .create = op_create,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .fsync = op_fsync,
    .release = op_release,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .releasedir = op_releasedir,
    .fsyncdir = op_fsyncdir,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .fallocate = op_fallocate,
    .copy_file_range = op_copy_file_range,
    .lseek = op_lseek,
    .poll = kith_control_poll,
};
