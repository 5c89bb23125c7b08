/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * file.c - the files: each open has the contents as they were then; reads pass the kernel's cache
 * by. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "fs/control/impl.h"

struct kith_control_file *kith_control_file_new(void)
{
    struct kith_control_file *file = kith_calloc(1, sizeof *file);
    if (file != NULL) {
        kith_buf_init(&file->text);
    }
    return file;
}

void kith_control_file_free(struct kith_control_file *file)
{
    if (file != NULL) {
        kith_buf_release(&file->text);
        kith_free(file);
    }
}

static struct kith_control_file *file_of(const struct fuse_file_info *fi)
{
    return (struct kith_control_file *)(uintptr_t)fi->fh;
}

void kith_control_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    struct kith_control *control = kith_control_of(req);
    if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
        fuse_reply_err(req, EPERM);
        return;
    }
    if (node == KITH_CONTROL_LOG) {
        kith_accesslog_open(req, fi);
        return;
    }
    if (node == KITH_CONTROL_CONFLICTS) {
        kith_control_open_conflicts(req, fi);
        return;
    }
    struct kith_control_file *file = kith_control_file_new();
    bool ok =
        file != NULL && (node == KITH_CONTROL_STATUS ? kith_control_status(control, &file->text)
                                                     : kith_control_stats(control, &file->text));
    if (!ok) {
        kith_control_file_free(file);
        fuse_reply_err(req, ENOMEM);
        return;
    }
    fi->fh = (uintptr_t)file;
    fi->direct_io = 1;
    if (fuse_reply_open(req, fi) != 0) {
        kith_control_file_free(file);
    }
}

void kith_control_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    if (node == KITH_CONTROL_LOG) {
        kith_accesslog_read(req, size, off, fi);
        return;
    }
    const struct kith_buf *text = &file_of(fi)->text;
    size_t left = (uint64_t)off < text->size ? text->size - (size_t)off : 0;
    fuse_reply_buf(req, left > 0 ? (const char *)text->data + off : NULL,
                   left < size ? left : size);
}

void kith_control_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi)
{
    if (node == KITH_CONTROL_LOG) {
        kith_accesslog_release(req, fi);
        return;
    }
    kith_control_file_free(file_of(fi));
    fuse_reply_err(req, 0);
}

/* Only the log is waited for; of all else the kernel would say the same without asking. */
void kith_control_poll(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi,
                       struct fuse_pollhandle *handle)
{
    if (node == KITH_CONTROL_LOG) {
        kith_accesslog_poll(req, fi, handle);
        return;
    }
    if (handle != NULL) {
        fuse_pollhandle_destroy(handle);
    }
    fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}
