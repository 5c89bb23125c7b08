/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define NEW_FOLDER "make a new backup into another folder"
#define LINE_MAX_BYTES 512u

static enum kith_err io_error(struct kith_error *error, const char *path, const char *what)
{
    int number = errno;
    return kith_error_set(error, number == ENOSPC ? KITH_ENOSPC : KITH_EIO, "%.300s: %s: %s", path,
                          what, strerror(number));
}

void kith_backup_log_path(const struct kith_backup_dir *dir, uint32_t partition, char path[4200])
{
    (void)snprintf(path, 4200, "%s/rows/%05u", dir->path, partition);
}

void kith_backup_pack_path(const struct kith_backup_dir *dir, uint32_t pack, char path[4200])
{
    (void)snprintf(path, 4200, "%s/chunks/%06u", dir->path, pack);
}

static void file_path(const struct kith_backup_dir *dir, const char *name, char path[4200])
{
    (void)snprintf(path, 4200, "%s/%s", dir->path, name);
}

static void time_text(char text[24])
{
    time_t now = time(NULL);
    struct tm parts;
    (void)strftime(text, 24, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
}

/* ---- Small text files ---- */

/* The file's text with a NUL; a file that is not there is an empty one. */
static enum kith_err text_read(const char *path, char *text, size_t size, struct kith_error *error)
{
    FILE *file = fopen(path, "re");
    text[0] = '\0';
    if (!file) {
        return errno == ENOENT ? KITH_OK : io_error(error, path, "cannot be opened");
    }
    size_t count = fread(text, 1, size - 1, file);
    bool failed = ferror(file) != 0;
    (void)fclose(file); /* nothing was written */
    text[count] = '\0';
    return failed ? io_error(error, path, "cannot be read") : KITH_OK;
}

static enum kith_err text_write(const char *path, int flags, const char *text,
                                struct kith_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    size_t size = strlen(text);
    if (fd < 0) {
        return io_error(error, path, "cannot be made");
    }
    bool good = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    enum kith_err err = good ? KITH_OK : io_error(error, path, "cannot be written");
    (void)close(fd); /* it was flushed */
    return err;
}

/* ---- What it is a backup of ---- */

static enum kith_err cluster_read(struct kith_backup_dir *dir, bool *ret_there,
                                  struct kith_error *error)
{
    char path[4200], text[LINE_MAX_BYTES], uuid[KITH_UUID_TEXT_SIZE] = "";
    unsigned format = 0, partitions = 0;
    file_path(dir, "cluster", path);
    enum kith_err err = text_read(path, text, sizeof text, error);
    *ret_there = err == KITH_OK && text[0] != '\0';
    if (!*ret_there) {
        return err;
    }
    int found = sscanf(text, "kithfs-backup %u\ncluster %36[0-9a-f-]\npartitions %u\n", &format,
                       uuid, &partitions);
    if (found >= 1 && format != KITH_BACKUP_FORMAT) {
        return kith_error_set(error, KITH_EVERSION,
                              "%.300s: a backup of format %u, this kithctl writes %u: " NEW_FOLDER,
                              path, format, KITH_BACKUP_FORMAT);
    }
    if (found != 3 || kith_uuid_parse(uuid, &dir->cluster) != KITH_OK || partitions == 0 ||
        partitions > KITH_PARTITIONS_MAX || (partitions & (partitions - 1)) != 0) {
        return kith_error_set(error, KITH_ECORRUPT, "%.300s is damaged: " NEW_FOLDER, path);
    }
    dir->partitions = partitions;
    return KITH_OK;
}

static bool folder_empty(const char *path)
{
    DIR *stream = opendir(path);
    bool empty = stream != NULL;
    for (struct dirent *entry = stream ? readdir(stream) : NULL; entry; entry = readdir(stream)) {
        const char *name = entry->d_name;
        empty = empty && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
                          strcmp(name, "lock") == 0 || strcmp(name, "rows") == 0 ||
                          strcmp(name, "chunks") == 0 || strcmp(name, "cluster.new") == 0);
    }
    if (stream) {
        (void)closedir(stream);
    }
    return empty;
}

static enum kith_err cluster_make(struct kith_backup_dir *dir, struct kith_error *error)
{
    char path[4200], final[4200], text[LINE_MAX_BYTES], uuid[KITH_UUID_TEXT_SIZE], when[24];
    static const char *const folders[] = {"rows", "chunks"};
    if (!folder_empty(dir->path)) {
        return kith_error_set(error, KITH_EEXIST,
                              "%.300s is no backup, and not empty: name a new folder", dir->path);
    }
    for (size_t i = 0; i < 2; i++) {
        file_path(dir, folders[i], path);
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            return io_error(error, path, "cannot be made");
        }
    }
    kith_uuid_format(&dir->cluster, uuid);
    time_text(when);
    (void)snprintf(text, sizeof text, "kithfs-backup %u\ncluster %s\npartitions %u\nmade %s\n",
                   KITH_BACKUP_FORMAT, uuid, dir->partitions, when);
    file_path(dir, "cluster.new", path);
    file_path(dir, "cluster", final);
    enum kith_err err = text_write(path, O_TRUNC, text, error);
    if (err == KITH_OK && rename(path, final) != 0) {
        err = io_error(error, final, "cannot be made");
    }
    return err;
}

/* ---- Runs ---- */

static enum kith_err run_add(struct kith_backup_dir *dir, const struct kith_backup_run *run,
                             struct kith_error *error)
{
    struct kith_backup_run *runs = kith_realloc(dir->runs, (dir->run_count + 1u) * sizeof *runs);
    if (!runs) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    dir->runs = runs;
    dir->runs[dir->run_count++] = *run;
    return KITH_OK;
}

static bool run_parse(const char *line, struct kith_backup_run *ret_run)
{
    char word[12] = "", what[6] = "", marks[33] = "";
    memset(ret_run, 0, sizeof *ret_run);
    bool good = sscanf(line, "run %" SCNu64 " %11s %23s %5s %32[0-9a-f]", &ret_run->run, word,
                       ret_run->when, what, marks) == 5 &&
                strlen(marks) == 32 && ret_run->run > 0;
    bool told = strcmp(what, "marks") == 0; /* else `ends`, which a log that is written anew has not */
    good = good && (told || strcmp(what, "ends") == 0);
    ret_run->whole = strcmp(word, "whole") == 0;
    for (size_t i = 0; good && told && i < sizeof ret_run->marks.bytes; i++) {
        unsigned value = 0;
        (void)sscanf(marks + 2 * i, "%2x", &value); /* digits, as was seen above */
        ret_run->marks.bytes[i] = (uint8_t)value;
    }
    return good;
}

static enum kith_err runs_read(struct kith_backup_dir *dir, uint64_t *ret_whole,
                               struct kith_error *error)
{
    char path[4200];
    struct kith_backup_map map;
    file_path(dir, "runs", path);
    enum kith_err err = kith_backup_map(path, &map, error);
    *ret_whole = 0;
    for (size_t at = 0; err == KITH_OK && at < map.size;) {
        const uint8_t *end = memchr(map.data + at, '\n', map.size - at);
        char line[LINE_MAX_BYTES];
        size_t size = end ? (size_t)(end - map.data) - at : 0;
        if (!end) {
            break; /* it was being written */
        }
        struct kith_backup_run run;
        (void)snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : 0),
                       (const char *)map.data + at);
        bool good = run_parse(line, &run) &&
                    (dir->run_count == 0 || run.run > dir->runs[dir->run_count - 1].run);
        err = good ? run_add(dir, &run, error)
                   : kith_error_set(error, KITH_ECORRUPT,
                                    "%.300s is damaged at byte %zu; " NEW_FOLDER, path, at);
        if (err != KITH_OK) {
            break;
        }
        at += size + 1;
        *ret_whole = at;
    }
    kith_backup_unmap(&map);
    return err;
}

struct kith_checksum kith_backup_marks(const struct kith_checksum marks[], uint32_t partitions)
{
    return kith_checksum_of(kith_bytes_make(marks, partitions * sizeof *marks));
}

bool kith_backup_marks_fit(const struct kith_backup_run *run, const struct kith_checksum marks[],
                           uint32_t partitions)
{
    static const struct kith_checksum none;
    struct kith_checksum sum = kith_backup_marks(marks, partitions);
    return kith_checksum_equal(&run->marks, &none) || kith_checksum_equal(&run->marks, &sum);
}

enum kith_err kith_backup_dir_done(struct kith_backup_dir *dir, uint64_t run, bool whole,
                                   const struct kith_checksum marks[], const char *figures,
                                   struct kith_error *error)
{
    char path[4200], line[LINE_MAX_BYTES], hex[33];
    struct kith_backup_run done = {.run = run, .whole = whole};
    done.marks = kith_backup_marks(marks, dir->partitions);
    if (syncfs(dir->lock) != 0) { /* logs and their names, all at once */
        return io_error(error, dir->path, "cannot be flushed");
    }
    for (size_t i = 0; i < sizeof done.marks.bytes; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", done.marks.bytes[i]);
    }
    time_text(done.when);
    (void)snprintf(line, sizeof line, "run %" PRIu64 " %s %s marks %s %s\n", run,
                   whole ? "whole" : "partial", done.when, hex, figures);
    file_path(dir, "runs", path);
    enum kith_err err = text_write(path, O_APPEND, line, error);
    return err == KITH_OK ? run_add(dir, &done, error) : err;
}

/* ---- Packs ---- */

/* What is in a pack; *ret_end: of what is whole. */
static enum kith_err pack_read(struct kith_backup_dir *dir, uint32_t pack, uint64_t *ret_end,
                               bool *ret_there, struct kith_error *error)
{
    char path[4200];
    struct kith_backup_walk walk;
    struct kith_backup_record record;
    memset(&walk, 0, sizeof walk);
    kith_backup_pack_path(dir, pack, path);
    walk.path = path;
    walk.heads = true;
    enum kith_err err = kith_backup_map(path, &walk.map, error);
    *ret_there = err == KITH_OK && walk.map.size > 0;
    while (err == KITH_OK) {
        size_t at = walk.at;
        err = kith_backup_walk_next(&walk, &record, error);
        if (err == KITH_OK && at == 0 &&
            (record.type != KITH_BACKUP_HEAD ||
             !kith_uuid_equal(&record.u.head.cluster, &dir->cluster))) {
            err = kith_error_set(error, KITH_ECLUSTER, "%.300s is of another cluster", path);
        }
        if (err == KITH_OK && record.type == KITH_BACKUP_CHUNK) {
            struct kith_backup_place place = {record.u.chunk.id, pack, at};
            err = kith_backup_index_add(&dir->chunks, &place);
        }
    }
    *ret_end = walk.at;
    kith_backup_unmap(&walk.map);
    kith_arena_release(&walk.arena);
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

static enum kith_err packs_read(struct kith_backup_dir *dir, uint64_t *ret_end,
                                void (*damaged)(void *arg, const char *message), void *arg,
                                struct kith_error *error)
{
    bool there = true;
    *ret_end = 0;
    for (uint32_t pack = 1; there; pack++) {
        uint64_t end = 0;
        enum kith_err err = pack_read(dir, pack, &end, &there, error);
        if (err == KITH_ECORRUPT && damaged) {
            damaged(arg, error->message);
        } else if (err != KITH_OK) {
            return err;
        }
        if (there) {
            dir->packs = pack;
            *ret_end = end;
        }
    }
    return KITH_OK;
}

static enum kith_err pack_open(struct kith_backup_dir *dir, uint64_t size,
                               struct kith_error *error)
{
    char path[4200];
    struct kith_backup_record head;
    memset(&head, 0, sizeof head);
    head.type = KITH_BACKUP_HEAD;
    head.u.head.cluster = dir->cluster;
    head.u.head.partitions = dir->partitions;
    head.u.head.partition = UINT32_MAX;
    kith_backup_pack_path(dir, dir->packs, path);
    return kith_backup_file_open(&dir->pack, path, size, &head, error);
}

enum kith_err kith_backup_dir_chunk(struct kith_backup_dir *dir,
                                    const struct kith_backup_record *record,
                                    struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    if (dir->pack.fd >= 0 && dir->pack.size >= KITH_BACKUP_PACK_SIZE) {
        err = kith_backup_file_sync(&dir->pack, error);
        kith_backup_file_close(&dir->pack);
    }
    if (err == KITH_OK && dir->pack.fd < 0) {
        dir->packs++;
        err = pack_open(dir, 0, error);
    }
    struct kith_backup_place place = {record->u.chunk.id, dir->packs, dir->pack.size};
    if (err == KITH_OK) {
        err = kith_backup_file_add(&dir->pack, record, error);
    }
    if (err == KITH_OK && kith_backup_index_add(&dir->chunks, &place) != KITH_OK) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    return err;
}

static enum kith_err read_at(const char *path, uint64_t at, size_t size, struct kith_buf *bytes,
                             struct kith_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = -1;
    if (fd >= 0 && kith_buf_reserve(bytes, size)) {
        count = pread(fd, bytes->data + bytes->size, size, (off_t)at);
    }
    if (count < 0) {
        enum kith_err err = io_error(error, path, "cannot be read");
        if (fd >= 0) {
            (void)close(fd); /* only read */
        }
        return err;
    }
    (void)close(fd); /* only read */
    bytes->size += (size_t)count;
    return KITH_OK;
}

enum kith_err kith_backup_dir_read_chunk(const struct kith_backup_dir *dir,
                                         const struct kith_backup_place *place,
                                         struct kith_arena *arena,
                                         struct kith_backup_record *ret_record,
                                         struct kith_buf *bytes, struct kith_error *error)
{
    char path[4200];
    size_t size = KITH_BACKUP_HEAD_SIZE;
    enum kith_backup_type type;
    kith_backup_pack_path(dir, place->pack, path);
    kith_buf_clear(bytes);
    enum kith_err err = read_at(path, place->at, size, bytes, error);
    if (err == KITH_OK && kith_backup_record_size(kith_buf_bytes(bytes), &type, &size) == KITH_OK) {
        err = read_at(path, place->at + KITH_BACKUP_HEAD_SIZE, size - KITH_BACKUP_HEAD_SIZE, bytes,
                      error);
    }
    if (err != KITH_OK) {
        return err;
    }
    bool good =
        kith_backup_record_decode(arena, kith_buf_bytes(bytes), ret_record, &size) == KITH_OK &&
        ret_record->type == KITH_BACKUP_CHUNK &&
        memcmp(&ret_record->u.chunk.id, &place->id, sizeof place->id) == 0;
    if (good) {
        struct kith_checksum sum = kith_checksum_of(ret_record->u.chunk.contents);
        good = kith_checksum_equal(&sum, &ret_record->u.chunk.checksum);
    }
    return good ? KITH_OK
                : kith_error_set(error, KITH_ECORRUPT,
                                 "%.300s is damaged at byte %" PRIu64 ": a chunk", path, place->at);
}

/* ---- Opening ---- */

static enum kith_err lock_take(struct kith_backup_dir *dir, struct kith_error *error)
{
    char path[4200];
    file_path(dir, "lock", path);
    dir->lock = open(path, (dir->writes ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0600);
    if (dir->lock < 0) {
        return !dir->writes && errno == ENOENT
                   ? kith_error_set(error, KITH_ENOTFOUND, "%.300s is no backup", dir->path)
                   : io_error(error, path, "cannot be opened");
    }
    if (flock(dir->lock, (dir->writes ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? kith_error_set(error, KITH_EBUSY,
                                    "%.300s is in use by another kithctl: wait until it has ended",
                                    dir->path)
                   : io_error(error, path, "cannot be locked");
    }
    return KITH_OK;
}

static enum kith_err dir_begin(struct kith_backup_dir *dir, const char *path, bool writes,
                               struct kith_error *error)
{
    memset(dir, 0, sizeof *dir);
    dir->lock = dir->pack.fd = -1;
    dir->writes = writes;
    if (strlen(path) >= sizeof dir->path) {
        return kith_error_set(error, KITH_EINVAL, "the folder's name is too long");
    }
    (void)snprintf(dir->path, sizeof dir->path, "%s", path);
    if (writes && mkdir(path, 0700) != 0 && errno != EEXIST) {
        return io_error(error, path, "cannot be made");
    }
    bool other = writes && access(path, F_OK) == 0;
    if (other) { /* no lock is left in a folder that is something else */
        char file[4200];
        file_path(dir, "cluster", file);
        if (access(file, F_OK) != 0 && !folder_empty(path)) {
            return kith_error_set(error, KITH_EEXIST,
                                  "%.300s is no backup, and not empty: name a new folder", path);
        }
    }
    return lock_take(dir, error);
}

enum kith_err kith_backup_dir_write(struct kith_backup_dir *dir, const char *path,
                                    const struct kith_uuid *cluster, uint32_t partitions,
                                    struct kith_error *error)
{
    bool there = false;
    uint64_t end = 0, runs_end = 0;
    char runs[4200];
    enum kith_err err = dir_begin(dir, path, true, error);
    if (err == KITH_OK) {
        err = cluster_read(dir, &there, error);
    }
    if (err == KITH_OK && !there) {
        dir->cluster = *cluster;
        dir->partitions = partitions;
        err = cluster_make(dir, error);
    }
    if (err == KITH_OK &&
        (!kith_uuid_equal(&dir->cluster, cluster) || dir->partitions != partitions)) {
        err = kith_error_set(error, KITH_ECLUSTER,
                             "%.300s is a backup of another cluster: name another folder (that one "
                             "is restored with kithctl restore)",
                             path);
    }
    if (err == KITH_OK) {
        err = runs_read(dir, &runs_end, error);
    }
    file_path(dir, "runs", runs);
    if (err == KITH_OK && access(runs, F_OK) == 0 && truncate(runs, (off_t)runs_end) != 0) {
        err = io_error(error, runs, "cannot be cut to what is whole");
    }
    if (err == KITH_OK) {
        err = packs_read(dir, &end, NULL, NULL, error);
    }
    if (err == KITH_OK && dir->packs > 0) {
        err = pack_open(dir, end, error);
    }
    return err;
}

enum kith_err kith_backup_dir_read(struct kith_backup_dir *dir, const char *path,
                                   void (*damaged)(void *arg, const char *message), void *arg,
                                   struct kith_error *error)
{
    bool there = false;
    uint64_t end = 0;
    enum kith_err err = dir_begin(dir, path, false, error);
    if (err == KITH_OK) {
        err = cluster_read(dir, &there, error);
    }
    if (err == KITH_OK && !there) {
        err = kith_error_set(error, KITH_ENOTFOUND, "%.300s is no backup", path);
    }
    if (err == KITH_OK) {
        err = runs_read(dir, &end, error);
    }
    if (err == KITH_OK) {
        err = packs_read(dir, &end, damaged, arg, error);
    }
    return err;
}

void kith_backup_dir_close(struct kith_backup_dir *dir)
{
    kith_backup_file_close(&dir->pack);
    kith_backup_index_release(&dir->chunks);
    kith_free(dir->runs);
    dir->runs = NULL;
    if (dir->lock >= 0) {
        (void)close(dir->lock); /* and with it the lock */
    }
    dir->lock = -1;
}
