/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * backup_forget.c - which runs go, and files that take the place of others. */
#include "ctl/backup/backup_forget.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NEW ".new"

static enum kith_err io_error(struct kith_error *error, const char *path, const char *what)
{
    int number = errno;
    return kith_error_set(error, number == ENOSPC ? KITH_ENOSPC : KITH_EIO, "%.300s: %s: %s", path,
                          what, strerror(number));
}

static void step(struct kith_backup_forget *forget, const char *path)
{
    if (forget->step) {
        forget->step(forget->step_arg, path);
    }
}

void kith_backup_forget_progress(const struct kith_backup_forget *forget, uint64_t done,
                                 uint64_t all, const char *what)
{
    if (forget->progress) {
        forget->progress(forget->progress_arg, done, all, what);
    }
}

/* ---- Files that take the place of others ---- */

/* Names in the folder are on the disk. */
static enum kith_err folder_sync(const struct kith_backup_dir *dir, const char *name,
                                 struct kith_error *error)
{
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/%s", dir->path, name);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum kith_err err = fd >= 0 && fsync(fd) == 0 ? KITH_OK
                                                  : io_error(error, path, "cannot be flushed");
    if (fd >= 0) {
        (void)close(fd); /* nothing was written */
    }
    return err;
}

/* Removes what one that was killed has left. */
static enum kith_err leftovers_remove(struct kith_backup_forget *forget, const char *name,
                                      struct kith_error *error)
{
    char path[4200], file[4600];
    (void)snprintf(path, sizeof path, "%s/%s", forget->dir->path, name);
    DIR *stream = opendir(path);
    if (!stream) {
        return io_error(error, path, "cannot be opened");
    }
    enum kith_err err = KITH_OK;
    for (struct dirent *entry = readdir(stream); entry && err == KITH_OK;
         entry = readdir(stream)) {
        size_t size = strlen(entry->d_name);
        if (size > sizeof NEW - 1 && strcmp(entry->d_name + size - (sizeof NEW - 1), NEW) == 0) {
            (void)snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
            step(forget, file);
            err = unlink(file) == 0 ? KITH_OK : io_error(error, file, "cannot be removed");
        }
    }
    (void)closedir(stream);
    return err;
}

bool kith_backup_mostly_dead(const struct kith_backup_forget *forget, uint64_t size, uint64_t live)
{
    uint64_t dead = size > live ? size - live : 0;
    return dead > forget->dead_min && dead > size / 2;
}

enum kith_err kith_backup_anew(struct kith_backup_forget *forget, const char *path,
                               uint32_t partition, struct kith_backup_file *file,
                               struct kith_error *error)
{
    char name[4200];
    struct kith_backup_record head;
    memset(file, 0, sizeof *file);
    memset(&head, 0, sizeof head);
    head.type = KITH_BACKUP_HEAD;
    head.u.head.cluster = forget->dir->cluster;
    head.u.head.partitions = forget->dir->partitions;
    head.u.head.partition = partition;
    (void)snprintf(name, sizeof name, "%.4190s" NEW, path);
    step(forget, name);
    return kith_backup_file_open(file, name, 0, &head, error);
}

enum kith_err kith_backup_anew_done(struct kith_backup_forget *forget, const char *path,
                                    uint64_t size, struct kith_backup_file *file, enum kith_err err,
                                    struct kith_error *error)
{
    if (err == KITH_OK) {
        step(forget, file->path);
        err = kith_backup_file_sync(file, error);
    }
    uint64_t now = file->size;
    kith_backup_file_close(file);
    if (err == KITH_OK) {
        step(forget, path);
        err = rename(file->path, path) == 0 ? KITH_OK : io_error(error, path, "cannot be replaced");
    }
    if (err == KITH_OK) {
        forget->freed += size > now ? size - now : 0;
        step(forget, path);
    } else {
        (void)unlink(file->path); /* else the next one removes it */
    }
    return err;
}

/* ---- Runs ---- */

/* The first one of dir->runs that is kept. */
static uint32_t first_kept(const struct kith_backup_forget *forget)
{
    const struct kith_backup_dir *dir = forget->dir;
    uint64_t whole = 0;
    for (uint32_t i = dir->run_count; i-- > 0;) {
        whole += dir->runs[i].whole ? 1 : 0;
        if (whole == forget->keep) {
            return i;
        }
    }
    return 0;
}

static enum kith_err write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t count = write(fd, data, size);
        if (count < 0 && errno != EINTR) {
            return KITH_EIO;
        }
        data += count > 0 ? count : 0;
        size -= count > 0 ? (size_t)count : 0;
    }
    return KITH_OK;
}

/* `runs` from its line `first` on. */
static enum kith_err runs_cut(struct kith_backup_forget *forget, uint32_t first,
                              struct kith_error *error)
{
    struct kith_backup_dir *dir = forget->dir;
    struct kith_backup_map map;
    char path[4200], new[4210];
    size_t at = 0;
    (void)snprintf(path, sizeof path, "%s/runs", dir->path);
    (void)snprintf(new, sizeof new, "%s" NEW, path);
    enum kith_err err = kith_backup_map(path, &map, error);
    for (uint32_t i = 0; err == KITH_OK && i < first; i++) {
        const uint8_t *end = memchr(map.data + at, '\n', map.size - at);
        at = end ? (size_t)(end - map.data) + 1 : map.size; /* lines that were read on opening */
    }
    if (err != KITH_OK) {
        return err;
    }
    step(forget, new);
    int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && write_all(fd, map.data + at, map.size - at) == KITH_OK;
    step(forget, new);
    good = good && fsync(fd) == 0;
    err = good ? KITH_OK : io_error(error, new, "cannot be written");
    kith_backup_unmap(&map);
    if (fd >= 0) {
        (void)close(fd); /* it was flushed */
    }
    step(forget, path);
    if (err == KITH_OK && rename(new, path) != 0) {
        err = io_error(error, path, "cannot be replaced");
    }
    if (err == KITH_OK) {
        err = folder_sync(dir, ".", error);
    }
    if (err == KITH_OK) {
        dir->run_count -= first;
        memmove(dir->runs, dir->runs + first, dir->run_count * sizeof *dir->runs);
        forget->runs = first;
    }
    return err;
}

enum kith_err kith_backup_forget(struct kith_backup_forget *forget, struct kith_error *error)
{
    struct kith_backup_dir *dir = forget->dir;
    uint32_t first = first_kept(forget);
    forget->runs = 0;
    forget->freed = 0;
    memset(&forget->live, 0, sizeof forget->live);
    enum kith_err err = dir->pack.fd >= 0 ? kith_backup_file_sync(&dir->pack, error) : KITH_OK;
    kith_backup_file_close(&dir->pack); /* it may be written anew */
    if (err == KITH_OK && first > 0) {
        err = runs_cut(forget, first, error);
    }
    forget->oldest = dir->run_count > 0 ? dir->runs[0].run : 0;
    if (err == KITH_OK) {
        err = leftovers_remove(forget, "rows", error);
    }
    if (err == KITH_OK) {
        err = leftovers_remove(forget, "chunks", error);
    }
    for (uint32_t p = 0; p < dir->partitions && err == KITH_OK; p++) {
        err = kith_backup_compact(forget, p, error);
        kith_backup_forget_progress(forget, p + 1, dir->partitions, "partitions");
    }
    if (err == KITH_OK) {
        err = folder_sync(dir, "rows", error);
    }
    if (err == KITH_OK) {
        err = kith_backup_sweep(forget, error);
    }
    if (err == KITH_OK) {
        err = folder_sync(dir, "chunks", error);
    }
    kith_backup_index_release(&forget->live);
    return err;
}
