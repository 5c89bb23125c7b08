/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_file.c - files of records: reading them from the beginning, adding to their end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/backup/backup_dir.h"

#define WRITE_AT (1u << 20) /* bytes that are gathered before they are written */

static enum kith_err io_error(struct kith_error *error, const char *path, const char *what)
{
    int number = errno;
    return kith_error_set(error,
                          number == ENOSPC || number == EDQUOT ? KITH_ENOSPC
                          : number == EROFS                    ? KITH_EROFS
                                                               : KITH_EIO,
                          "%.300s: %s: %s", path, what, strerror(number));
}

enum kith_err kith_backup_map(const char *path, struct kith_backup_map *ret_map,
                              struct kith_error *error)
{
    struct stat info;
    memset(ret_map, 0, sizeof *ret_map);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? KITH_OK : io_error(error, path, "cannot be opened");
    }
    enum kith_err err = KITH_OK;
    if (fstat(fd, &info) != 0) {
        err = io_error(error, path, "cannot be read");
    } else if (info.st_size > 0) {
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED) {
            err = io_error(error, path, "cannot be mapped");
        } else {
            ret_map->data = data;
            ret_map->size = (size_t)info.st_size;
        }
    }
    (void)close(fd); /* nothing was written */
    return err;
}

void kith_backup_unmap(struct kith_backup_map *map)
{
    if (map->size > 0) {
        (void)munmap((void *)(uintptr_t)map->data, map->size);
    }
    memset(map, 0, sizeof *map);
}

static enum kith_err damaged(const struct kith_backup_walk *walk, struct kith_error *error)
{
    return kith_error_set(error, KITH_ECORRUPT,
                          "%.300s is damaged at byte %zu; make a new backup into another folder",
                          walk->path, walk->at);
}

/* A chunk's id alone: what is read of a pack to know what is in it. */
static bool head_only(struct kith_backup_walk *walk, struct kith_bytes rest,
                      struct kith_backup_record *record)
{
    enum kith_backup_type type;
    size_t size = 0;
    if (!walk->heads || rest.size < KITH_BACKUP_HEAD_SIZE + KITH_CHUNK_ID_SIZE ||
        kith_backup_record_size(rest, &type, &size) != KITH_OK || type != KITH_BACKUP_CHUNK ||
        size < KITH_BACKUP_HEAD_SIZE + KITH_CHUNK_ID_SIZE || size >= rest.size) {
        return false; /* also the last one, which may be torn */
    }
    memset(record, 0, sizeof *record);
    record->type = type;
    memcpy(record->u.chunk.id.bytes, rest.data + KITH_BACKUP_HEAD_SIZE, KITH_CHUNK_ID_SIZE);
    walk->at += size;
    return true;
}

enum kith_err kith_backup_walk_next(struct kith_backup_walk *walk,
                                    struct kith_backup_record *ret_record,
                                    struct kith_error *error)
{
    if (walk->at == walk->map.size) {
        return KITH_ENOTFOUND;
    }
    struct kith_bytes rest =
        kith_bytes_make(walk->map.data + walk->at, walk->map.size - walk->at);
    size_t size = 0;
    if (head_only(walk, rest, ret_record)) {
        return KITH_OK;
    }
    kith_arena_reset(&walk->arena);
    enum kith_err err = kith_backup_record_decode(&walk->arena, rest, ret_record, &size);
    if (err == KITH_OK) {
        walk->at += size;
        return KITH_OK;
    }
    if (err == KITH_ENOMEM) {
        return kith_error_set(error, err, "out of memory");
    }
    if (err == KITH_EVERSION) {
        return kith_error_set(error, err, "%.300s was written by a newer kithctl: use that one",
                              walk->path);
    }
    bool whole = err == KITH_EFORMAT && size > KITH_BACKUP_HEAD_SIZE && size <= rest.size;
    return whole || kith_backup_record_follows(rest) ? damaged(walk, error) : KITH_ENOTFOUND;
}

/* ---- Writing ---- */

enum kith_err kith_backup_file_flush(struct kith_backup_file *file, struct kith_error *error)
{
    size_t done = 0;
    if (file->buf.failed) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    while (done < file->buf.size) {
        ssize_t count = write(file->fd, file->buf.data + done, file->buf.size - done);
        if (count < 0 && errno != EINTR) {
            return io_error(error, file->path, "cannot be written");
        }
        done += count > 0 ? (size_t)count : 0;
    }
    kith_buf_clear(&file->buf);
    return KITH_OK;
}

enum kith_err kith_backup_file_add(struct kith_backup_file *file,
                                   const struct kith_backup_record *record,
                                   struct kith_error *error)
{
    size_t before = file->buf.size;
    kith_backup_record_append(record, &file->buf);
    file->size += file->buf.size - before;
    bool full = file->buf.failed || file->buf.size >= WRITE_AT;
    return full ? kith_backup_file_flush(file, error) : KITH_OK;
}

enum kith_err kith_backup_file_open(struct kith_backup_file *file, const char *path, uint64_t size,
                                    const struct kith_backup_record *head,
                                    struct kith_error *error)
{
    (void)snprintf(file->path, sizeof file->path, "%s", path);
    kith_buf_init(&file->buf);
    file->size = size;
    file->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file->fd < 0) {
        return io_error(error, path, "cannot be made");
    }
    if (ftruncate(file->fd, (off_t)size) != 0 || lseek(file->fd, 0, SEEK_END) < 0) {
        return io_error(error, path, "cannot be cut to what is whole");
    }
    return size == 0 ? kith_backup_file_add(file, head, error) : KITH_OK;
}

enum kith_err kith_backup_file_sync(struct kith_backup_file *file, struct kith_error *error)
{
    enum kith_err err = kith_backup_file_flush(file, error);
    if (err == KITH_OK && fdatasync(file->fd) != 0) {
        err = io_error(error, file->path, "cannot be flushed");
    }
    return err;
}

void kith_backup_file_close(struct kith_backup_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd); /* what counts was flushed */
        kith_buf_release(&file->buf);
    }
    file->fd = -1;
}
