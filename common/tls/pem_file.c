/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/pem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum kith_err code_of(int reason)
{
    switch (reason) {
    case ENOENT:
    case ENOTDIR:
        return KITH_ENOTFOUND;
    case EACCES:
    case EPERM:
    case EROFS:
        return KITH_EPERM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return KITH_ENOSPC;
    case EEXIST:
        return KITH_EEXIST;
    case ENOMEM:
        return KITH_ENOMEM;
    default:
        return KITH_EIO;
    }
}

static enum kith_err fail(const char *doing, const char *path, int reason, struct kith_error *error)
{
    return kith_error_set(error, code_of(reason), "cannot %s %s: %s", doing, path,
                          strerror(reason));
}

static enum kith_err check_secret(const char *path, const struct stat *stat,
                                  struct kith_error *error)
{
    if ((stat->st_mode & 077) != 0) {
        return kith_error_set(
            error, KITH_EPERM,
            "%s: others than its owner may use this key (mode %04o): chmod 600 %s", path,
            (unsigned)(stat->st_mode & 07777), path);
    }
    if (stat->st_uid != geteuid() && stat->st_uid != 0) {
        return kith_error_set(error, KITH_EPERM,
                              "%s: this key belongs to another user (uid %u): chown %u %s", path,
                              (unsigned)stat->st_uid, (unsigned)geteuid(), path);
    }
    return KITH_OK;
}

static enum kith_err read_all(int fd, const char *path, size_t size, struct kith_buf *out,
                              struct kith_error *error)
{
    if (!kith_buf_reserve(out, size + 1)) {
        return kith_error_set(error, KITH_ENOMEM, "no memory for %s", path);
    }
    size_t got = 0;
    while (got < size) {
        ssize_t bytes = read(fd, out->data + out->size, size - got);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0) {
            return fail("read", path, errno, error);
        }
        if (bytes == 0) { /* it has become shorter: what is there is what it holds */
            break;
        }
        out->size += (size_t)bytes;
        got += (size_t)bytes;
    }
    return KITH_OK;
}

enum kith_err kith_pem_read(const char *path, enum kith_pem_kind kind, size_t max,
                            struct kith_buf *out, struct kith_error *error)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return fail("open", path, errno, error);
    }
    enum kith_err err = KITH_OK;
    if (fstat(fd, &stat) != 0) {
        err = fail("look at", path, errno, error);
    } else if (!S_ISREG(stat.st_mode)) {
        err = kith_error_set(error, KITH_EINVAL, "%s is no regular file", path);
    } else if (kind == KITH_PEM_SECRET) {
        err = check_secret(path, &stat, error);
    }
    if (err == KITH_OK && (uint64_t)stat.st_size > max) {
        err = kith_error_set(error, KITH_ETOOBIG, "%s has %llu bytes, and at most %zu are read",
                             path, (unsigned long long)stat.st_size, max);
    }
    if (err == KITH_OK) {
        err = read_all(fd, path, (size_t)stat.st_size, out, error);
    }
    close(fd);
    return err;
}

/* ---- Writing ---- */

static int write_all(int fd, struct kith_bytes bytes)
{
    size_t done = 0;
    while (done < bytes.size) {
        ssize_t written = write(fd, bytes.data + done, bytes.size - done);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return written < 0 ? errno : EIO;
        }
        done += (size_t)written;
    }
    return 0;
}

int kith_pem_flush_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    (void)snprintf(folder, sizeof folder, "%.*s", slash ? (size > 0 ? (int)size : 1) : 1,
                   slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno;
    }
    int reason = fsync(fd) == 0 ? 0 : errno;
    close(fd);
    return reason;
}

/* Writes beside `path`; the name of that is left in `beside`. */
static int write_beside(const char *path, enum kith_pem_kind kind, struct kith_bytes pem,
                        char beside[PATH_MAX])
{
    int size = snprintf(beside, PATH_MAX, "%s.XXXXXX", path);
    if (size < 0 || size >= PATH_MAX) {
        return ENAMETOOLONG;
    }
    int fd = mkostemp(beside, O_CLOEXEC); /* 0600 */
    if (fd < 0) {
        return errno;
    }
    int reason = write_all(fd, pem);
    if (reason == 0 && kind == KITH_PEM_PUBLIC && fchmod(fd, 0644) != 0) {
        reason = errno;
    }
    if (reason == 0 && fsync(fd) != 0) {
        reason = errno;
    }
    if (close(fd) != 0 && reason == 0) {
        reason = errno;
    }
    if (reason != 0) {
        (void)unlink(beside);
    }
    return reason;
}

static enum kith_err put(const char *path, enum kith_pem_kind kind, struct kith_bytes pem,
                         bool replace, struct kith_error *error)
{
    char beside[PATH_MAX];
    int reason = write_beside(path, kind, pem, beside);
    if (reason != 0) {
        return fail("write", path, reason, error);
    }
    if ((replace ? rename(beside, path) : link(beside, path)) != 0) {
        reason = errno;
    }
    if (!replace || reason != 0) {
        (void)unlink(beside);
    }
    if (reason == EEXIST) {
        return kith_error_set(error, KITH_EEXIST, "%s is there already, and stays as it is", path);
    }
    if (reason == 0) {
        reason = kith_pem_flush_folder(path);
        if (reason != 0 && !replace) {
            (void)unlink(path);
        }
    }
    return reason == 0 ? KITH_OK : fail("write", path, reason, error);
}

enum kith_err kith_pem_write(const char *path, enum kith_pem_kind kind, struct kith_bytes pem,
                             struct kith_error *error)
{
    return put(path, kind, pem, false, error);
}

enum kith_err kith_pem_replace(const char *path, enum kith_pem_kind kind, struct kith_bytes pem,
                               struct kith_error *error)
{
    return put(path, kind, pem, true, error);
}

void kith_pem_wipe(struct kith_buf *buf)
{
    if (buf->data) {
        OPENSSL_cleanse(buf->data, buf->capacity);
    }
    kith_buf_release(buf);
}
