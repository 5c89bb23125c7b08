/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/files/choose.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/screens/bar.h"

#define ATTEMPTS_MAX  1000u /* names that are tried for one version */
#define EXTENSION_MAX 16u   /* bytes with the dot; what is longer is no file type */
#define BLOCK_SIZE    (256u << 10)
#define TELL_MS       200u /* between two looks at how far a copy is */
#define LONG_SIZE     (8 << 20) /* bytes: of a smaller one nothing is told */

/* ---- Names ---- */

void kith_choose_name(const char *base, const char *time, const char *writer, unsigned attempt,
                      char ret_name[KITH_CHOOSE_NAME_MAX + 1])
{
    char insert[128] = ".version-";
    size_t used = strlen(insert);
    for (; *time && used < 40; time++) { /* 2026-11-21T01:30:00Z */
        if (*time != '-' && *time != ':') {
            insert[used++] = *time;
        }
    }
    insert[used++] = '-';
    for (; *writer && used < 110; writer++) {
        bool odd = (unsigned char)*writer < ' ' || *writer == 0x7f || *writer == '/';
        insert[used++] = odd ? '_' : *writer;
    }
    while (used > 0 && ((unsigned char)*writer & 0xc0u) == 0x80u) { /* cut within a character */
        bool rest = ((unsigned char)insert[--used] & 0xc0u) == 0x80u;
        if (!rest) {
            break;
        }
    }
    insert[used] = '\0';
    if (attempt > 1) {
        (void)snprintf(insert + used, sizeof(insert) - used, "-%u", attempt);
    }
    const char *dot = strrchr(base, '.');
    const char *extension = dot && dot != base && dot[1] && strlen(dot) <= EXTENSION_MAX ? dot : "";
    size_t stem = strlen(base) - strlen(extension);
    size_t room = KITH_CHOOSE_NAME_MAX - strlen(insert) - strlen(extension);
    if (stem > room) {
        stem = room;
        for (unsigned i = 0; i < 3 && ((unsigned char)base[stem] & 0xc0u) == 0x80u; i++) {
            stem--;
        }
    }
    (void)snprintf(ret_name, KITH_CHOOSE_NAME_MAX + 1, "%.*s%s%s", (int)stem, base, insert,
                   extension);
}

/* ---- Storing ---- */

static enum kith_err failed(struct kith_error *error, const char *what, const char *path)
{
    return kith_error_set(error, KITH_EIO, "%s: %s: %s", path, what, strerror(errno));
}

static enum kith_err flush(const char *path, int flags, struct kith_error *error)
{
    int fd = open(path, flags | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    enum kith_err err = KITH_OK;
    if (fd < 0 || fsync(fd) != 0) {
        err = failed(error, "cannot be flushed, so nothing was removed", path);
    }
    if (fd >= 0) {
        (void)close(fd); /* was only flushed */
    }
    return err;
}

/* The file that bears the name, and that it does. */
static enum kith_err flush_plain(const struct kith_beside *beside, struct kith_error *error)
{
    enum kith_err err = flush(beside->versions[0].path, 0, error);
    return err == KITH_OK ? flush(beside->dir, O_DIRECTORY, error) : err;
}

/* How far a copy is: MiB of MiB. */
struct copying {
    bool told;
    uint64_t all, told_ms;
    struct kith_bar bar;
};

static void copying_tell(struct copying *copying, uint64_t done)
{
    uint64_t now_ms = kith_mono_ms();
    char text[KITH_BAR_SIZE];
    if (!copying->told || now_ms - copying->told_ms < TELL_MS) {
        return;
    }
    copying->told_ms = now_ms;
    kith_bar_format(&copying->bar, now_ms, done >> 20, copying->all >> 20, done, "MiB", text);
    kith_bar_draw(text);
}

/* All of `from` into the file, which is flushed. */
static enum kith_err copy(const struct kith_beside *beside, int from, const char *from_path, int to,
                          const char *to_path, struct kith_error *error)
{
    struct stat stat;
    struct copying copying = {.told = beside->told && fstat(from, &stat) == 0 &&
                                      stat.st_size >= LONG_SIZE};
    copying.all = copying.told ? (uint64_t)stat.st_size : 0;
    char *block = kith_malloc(BLOCK_SIZE);
    enum kith_err err = block ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
    ssize_t got = 1;
    off_t at = 0;
    while (err == KITH_OK && got > 0) {
        got = pread(from, block, BLOCK_SIZE, at);
        if (got < 0) {
            err = failed(error, "cannot be read", from_path);
        }
        for (ssize_t put = 0; err == KITH_OK && put < got;) {
            ssize_t done = pwrite(to, block + put, (size_t)(got - put), at + put);
            put += done > 0 ? done : 0;
            err = done < 0 ? failed(error, "cannot be written", to_path) : KITH_OK;
        }
        at += got > 0 ? got : 0;
        copying_tell(&copying, (uint64_t)at);
    }
    if (err == KITH_OK && (ftruncate(to, at) != 0 || fsync(to) != 0)) {
        err = failed(error, "cannot be written", to_path);
    }
    if (copying.told) {
        kith_bar_draw(NULL);
    }
    kith_free(block);
    return err;
}

/* Whether the file that bears the name is as it was when the list was made. */
static enum kith_err unchanged(const struct kith_beside *beside, struct kith_error *error)
{
    struct stat now;
    const struct stat *was = &beside->stat;
    const char *path = beside->versions[0].path;
    if (lstat(path, &now) != 0) {
        return failed(error, "is gone", path);
    }
    if (now.st_ino != was->st_ino || now.st_size != was->st_size ||
        now.st_mtim.tv_sec != was->st_mtim.tv_sec || now.st_mtim.tv_nsec != was->st_mtim.tv_nsec) {
        return kith_error_set(error, KITH_EREFUSED,
                              "%s: somebody has changed it meanwhile; nothing was done, look at it "
                              "and try again",
                              path);
    }
    return KITH_OK;
}

/* Under all its names at once. The file is opened as it is now: what another mount writes
 * meanwhile is a version beside it again. */
static enum kith_err write_in_place(const struct kith_beside *beside, int from, const char *source,
                                    struct kith_error *error)
{
    const char *path = beside->versions[0].path;
    int to = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (to < 0) {
        return failed(error, "cannot be written", path);
    }
    enum kith_err err = unchanged(beside, error);
    if (err == KITH_OK) {
        err = copy(beside, from, source, to, path, error);
    }
    if (close(to) != 0 && err == KITH_OK) {
        err = failed(error, "cannot be written", path);
    }
    return err;
}

/* In one step: a new file beside it, renamed over it. */
static enum kith_err write_beside(const struct kith_beside *beside, int from, const char *source,
                                  struct kith_error *error)
{
    char name[64];
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    (void)snprintf(name, sizeof(name), "/.kith-resolve-%ld-XXXXXX", (long)getpid());
    size_t size = strlen(beside->dir) + sizeof(name);
    char *temporary = kith_arena_alloc(&arena, size);
    if (!temporary) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    (void)snprintf(temporary, size, "%s%s", beside->dir, name);
    int to = mkostemp(temporary, O_CLOEXEC);
    enum kith_err err = KITH_OK;
    if (to < 0) {
        err = failed(error, "no file can be made here", beside->dir);
    } else {
        /* where one may not give it away, it must not run as its new owner */
        bool given = fchown(to, beside->stat.st_uid, beside->stat.st_gid) == 0;
        err = fchmod(to, beside->stat.st_mode & (given ? 07777u : 0777u)) == 0
                  ? copy(beside, from, source, to, temporary, error)
                  : failed(error, "no mode can be set", temporary);
        if (close(to) != 0 && err == KITH_OK) {
            err = failed(error, "cannot be written", temporary);
        }
        if (err == KITH_OK) {
            err = unchanged(beside, error);
        }
        if (err == KITH_OK && rename(temporary, beside->versions[0].path) != 0) {
            err = failed(error, "cannot be replaced", beside->versions[0].path);
        }
        if (err != KITH_OK) {
            (void)unlink(temporary);
        }
    }
    kith_arena_release(&arena);
    return err;
}

static enum kith_err write_from(const struct kith_beside *beside, const char *source,
                                struct kith_error *error)
{
    int from = open(source, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (from < 0) {
        return failed(error, "cannot be read", source);
    }
    enum kith_err err = KITH_OK;
    if (fstat(from, &stat) != 0 || !S_ISREG(stat.st_mode)) {
        err = kith_error_set(error, KITH_EINVAL, "%s: is no file", source);
    } else {
        err = beside->stat.st_nlink > 1 ? write_in_place(beside, from, source, error)
                                        : write_beside(beside, from, source, error);
    }
    (void)close(from); /* was only read */
    return err == KITH_OK ? flush_plain(beside, error) : err;
}

/* ---- What is done ---- */

/* All but the one that bears the name and, where it is not 0, `kept`. Who is gone already is. */
static enum kith_err remove_others(const struct kith_beside *beside, uint32_t kept,
                                   struct kith_error *error)
{
    for (uint32_t i = 1; i < beside->count; i++) {
        const char *path = beside->versions[i].path;
        if (i != kept && unlink(path) != 0 && errno != ENOENT) {
            return failed(error, "the result is stored, but this cannot be removed", path);
        }
    }
    return KITH_OK;
}

/* Which is more than a file's contents, and nobody can choose among in a moment. */
static enum kith_err refuse_directories(const struct kith_beside *beside, bool plain,
                                        struct kith_error *error)
{
    for (uint32_t i = plain ? 0 : 1; i < beside->count; i++) {
        struct stat stat;
        const char *path = beside->versions[i].path;
        if (lstat(path, &stat) == 0 && S_ISDIR(stat.st_mode)) {
            return kith_error_set(error, KITH_EREFUSED,
                                  "%s: is a directory; move out of it what is wanted, and remove "
                                  "it with rmdir",
                                  path);
        }
    }
    return KITH_OK;
}

enum kith_err kith_choose_version(const struct kith_beside *beside, uint32_t number,
                                  struct kith_error *error)
{
    const char *plain = beside->versions[0].path;
    const char *chosen = beside->versions[number - 1].path;
    enum kith_err err = refuse_directories(beside, number > 1, error);
    if (err != KITH_OK) {
        return err;
    }
    if (number == 1) {
        err = flush_plain(beside, error);
        return err == KITH_OK ? remove_others(beside, 0, error) : err;
    }
    if (beside->stat.st_nlink > 1) { /* the version itself goes with the others, at the end */
        struct stat stat;
        if (lstat(chosen, &stat) != 0 || !S_ISREG(stat.st_mode)) {
            return kith_error_set(error, KITH_EREFUSED,
                                  "%s: is no file, and cannot become one with several names; move "
                                  "or remove it (mv, rm)",
                                  chosen);
        }
        err = write_from(beside, chosen, error);
        return err == KITH_OK ? remove_others(beside, 0, error) : err;
    }
    err = unchanged(beside, error);
    if (err == KITH_OK && rename(chosen, plain) != 0) {
        err = failed(error, "cannot be moved over the file", chosen);
    }
    if (err == KITH_OK) {
        err = flush_plain(beside, error);
    }
    return err == KITH_OK ? remove_others(beside, number - 1, error) : err;
}

enum kith_err kith_choose_file(const struct kith_beside *beside, const char *path,
                               struct kith_error *error)
{
    enum kith_err err = refuse_directories(beside, true, error);
    if (err == KITH_OK) {
        err = write_from(beside, path, error);
    }
    return err == KITH_OK ? remove_others(beside, 0, error) : err;
}

enum kith_err kith_choose_part(const struct kith_beside *beside, uint32_t index,
                               char ret_name[KITH_CHOOSE_NAME_MAX + 1], struct kith_error *error)
{
    const struct kith_beside_version *version = &beside->versions[index];
    size_t size = strlen(beside->dir) + KITH_CHOOSE_NAME_MAX + 2;
    char *path = kith_malloc(size);
    int number = path ? EEXIST : ENOMEM;
    for (unsigned i = 1; number == EEXIST && i <= ATTEMPTS_MAX; i++) {
        kith_choose_name(beside->base, version->time, version->writer, i, ret_name);
        (void)snprintf(path, size, "%s/%s", beside->dir, ret_name);
        number =
            renameat2(AT_FDCWD, version->path, AT_FDCWD, path, RENAME_NOREPLACE) == 0 ? 0 : errno;
    }
    kith_free(path);
    errno = number;
    return number == 0 ? KITH_OK
                       : failed(error, "cannot be given a name of its own", version->path);
}
