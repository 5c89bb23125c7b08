/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/files/beside.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "ctl/files/place.h"
#include "ctl/format.h"
#include "ctl/screens/bar.h"
#include "format/versions.h"
#include "text/columns.h"

#define ATTRIBUTE "user.kith.versions"
#define TEXT_MAX  65536u /* bytes of an attribute, XATTR_SIZE_MAX */

/* ---- What the mount says ---- */

static const char *joined(struct kith_arena *arena, const char *dir, const char *name)
{
    size_t dir_size = strlen(dir);
    size_t name_size = strlen(name);
    char *path = kith_arena_alloc(arena, dir_size + name_size + 2);
    if (path) {
        bool slash = dir_size > 0 && dir[dir_size - 1] == '/';
        (void)snprintf(path, dir_size + name_size + 2, "%s%s%s", dir, slash ? "" : "/", name);
    }
    return path;
}

/* A field with its \ooo undone, NUL at its end. */
static char *field(struct kith_arena *arena, const char *at, size_t size)
{
    char *text = kith_arena_alloc(arena, size + 1);
    size_t used = 0;
    for (size_t i = 0; text && i < size; i++) {
        bool octal = at[i] == '\\' && size - i >= 4 && strspn(at + i + 1, "01234567") >= 3;
        if (octal) {
            char digits[4] = {at[i + 1], at[i + 2], at[i + 3], '\0'};
            text[used++] = (char)strtol(digits, NULL, 8);
            i += 3;
        } else {
            text[used++] = at[i];
        }
    }
    if (text) {
        text[used] = '\0';
    }
    return text;
}

/* "NUMBER TIME WRITER SIZE NAME" */
static enum kith_err line_parse(struct kith_arena *arena, const char *dir, const char *line,
                                size_t size, struct kith_beside_version *ret_version)
{
    const char *fields[5] = {line};
    size_t sizes[5];
    const char *end = line + size;
    for (uint32_t i = 0; i < 5; i++) {
        const char *blank = i < 4 ? memchr(fields[i], ' ', (size_t)(end - fields[i])) : end;
        if (!blank || blank == fields[i]) {
            return KITH_EFORMAT;
        }
        sizes[i] = (size_t)(blank - fields[i]);
        if (i < 4) {
            fields[i + 1] = blank + 1;
        }
    }
    char *rest = NULL;
    unsigned long number = strtoul(fields[0], &rest, 10);
    if (rest != fields[0] + sizes[0] || number == 0 || number > UINT32_MAX) {
        return KITH_EFORMAT;
    }
    ret_version->number = (uint32_t)number;
    ret_version->size = strtoull(fields[3], &rest, 10);
    if (rest != fields[3] + sizes[3]) {
        return KITH_EFORMAT;
    }
    ret_version->time = field(arena, fields[1], sizes[1]);
    ret_version->writer = field(arena, fields[2], sizes[2]);
    ret_version->name = field(arena, fields[4], sizes[4]);
    ret_version->path = ret_version->name ? joined(arena, dir, ret_version->name) : NULL;
    if (!ret_version->time || !ret_version->writer || !ret_version->path) {
        return KITH_ENOMEM;
    }
    return strchr(ret_version->name, '/') ? KITH_EFORMAT : KITH_OK;
}

enum kith_err kith_beside_parse(struct kith_arena *arena, const char *dir, struct kith_bytes text,
                                struct kith_beside_version **ret_versions, uint32_t *ret_count)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < text.size; i++) {
        lines += text.data[i] == '\n';
    }
    struct kith_beside_version *versions = kith_arena_calloc(arena, lines + 1u, sizeof(*versions));
    char *copy = kith_arena_alloc(arena, text.size + 1); /* numbers end somewhere */
    if (!versions || !copy) {
        return KITH_ENOMEM;
    }
    if (lines == 0 || text.data[text.size - 1] != '\n') {
        return KITH_EFORMAT;
    }
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    const char *at = copy;
    for (uint32_t i = 0; i < lines; i++) {
        size_t size = strcspn(at, "\n");
        enum kith_err err = line_parse(arena, dir, at, size, &versions[i]);
        if (err != KITH_OK || versions[i].number != i + 1) {
            return err == KITH_OK ? KITH_EFORMAT : err;
        }
        at += size + 1;
    }
    *ret_versions = versions;
    *ret_count = lines;
    return KITH_OK;
}

/* ---- Beside another name of the same file ---- */

bool kith_beside_same(const char *name, const char *base, const char *made)
{
    static const enum kith_conflict_style styles[] = {KITH_CONFLICT_SUFFIX, KITH_CONFLICT_INFIX};
    struct kith_bytes mine = kith_bytes_make(name, strlen(name));
    struct kith_bytes theirs = kith_bytes_make(made, strlen(made));
    for (uint32_t i = 0; i < 2; i++) {
        struct kith_conflict_base a;
        struct kith_conflict_base b;
        if (!kith_conflict_base(mine, styles[i], 0, &a) ||
            !kith_conflict_base(theirs, styles[i], 0, &b)) {
            continue;
        }
        size_t between = mine.size - a.stem.size - a.extension.size;
        size_t base_size = strlen(base);
        bool same = between == theirs.size - b.stem.size - b.extension.size &&
                    memcmp(name + a.stem.size, made + b.stem.size, between) == 0;
        bool whole = base_size == a.stem.size + a.extension.size;
        if (same && (whole || a.cut) && base_size >= a.stem.size + a.extension.size &&
            memcmp(base, a.stem.data, a.stem.size) == 0 &&
            memcmp(base + base_size - a.extension.size, a.extension.data, a.extension.size) == 0) {
            return true;
        }
    }
    return false;
}

/* Names beside this name the versions that the mount named beside another one. */
static enum kith_err names_find(struct kith_arena *arena, struct kith_beside *beside,
                                struct kith_error *error)
{
    DIR *dir = opendir(beside->dir);
    if (!dir) {
        return kith_error_set(error, KITH_EIO, "%s: %s", beside->dir, strerror(errno));
    }
    enum kith_err err = KITH_OK;
    uint32_t named = 0;
    for (struct dirent *entry = readdir(dir); entry && err == KITH_OK; entry = readdir(dir)) {
        bool like = kith_conflict_name_like(entry->d_name, strlen(entry->d_name));
        for (uint32_t i = 1; like && i < beside->count; i++) {
            struct kith_beside_version *version = &beside->versions[i];
            if (kith_beside_same(entry->d_name, beside->base, version->name)) {
                version->name = kith_arena_copy(arena, entry->d_name, strlen(entry->d_name) + 1);
                version->path = version->name ? joined(arena, beside->dir, version->name) : NULL;
                err = version->path ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
                named++;
                break;
            }
        }
    }
    (void)closedir(dir); /* was only read */
    if (err == KITH_OK && named + 1 != beside->count) {
        err = kith_error_set(error, KITH_EIO,
                             "its versions are changing just now, or %s cannot be read whole; try "
                             "again",
                             beside->dir);
    }
    return err;
}

/* ---- Reading ---- */

static enum kith_err path_split(struct kith_arena *arena, const char *path,
                                struct kith_beside *beside, struct kith_error *error)
{
    char real[PATH_MAX];
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') {
        size--;
    }
    char *copy = kith_arena_copy(arena, path, size + 1);
    if (!copy) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    copy[size] = '\0';
    char *slash = strrchr(copy, '/');
    char *base = slash ? slash + 1 : copy;
    bool whole = !*base || strcmp(base, ".") == 0 || strcmp(base, "..") == 0;
    if (slash && !whole) {
        *slash = '\0';
    }
    const char *dir = whole ? copy : !slash ? "." : *copy ? copy : "/";
    if (!realpath(dir, real)) {
        return kith_error_set(error, errno == ENOENT ? KITH_ENOTFOUND : KITH_EIO, "%s: %s", dir,
                              strerror(errno));
    }
    if (whole) {
        slash = strrchr(real, '/');
        base = kith_arena_copy(arena, slash + 1, strlen(slash + 1) + 1);
        slash[slash == real] = '\0';
    }
    beside->base = base;
    beside->dir = kith_arena_copy(arena, real, strlen(real) + 1);
    return beside->dir && base ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
}

/* Why the mount does not tell. */
static enum kith_err refused(const struct kith_beside *beside, const char *path, int number,
                             struct kith_error *error)
{
    if (number == EOPNOTSUPP) {
        return kith_error_set(error, KITH_EREFUSED,
                              "%s: the mount hides versions in conflict; mount it again without -o "
                              "conflicts=hide",
                              path);
    }
    if (number == ENODATA && kith_conflict_name_like(beside->base, strlen(beside->base))) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s: is itself one of the versions; name the file that it stands "
                              "beside",
                              path);
    }
    if (number == ENODATA) {
        return kith_error_set(
            error, KITH_EREFUSED,
            "%s: the mount tells of no versions of it: it is the mount's root, or "
            "the mount is of an earlier kithfs",
            path);
    }
    return kith_error_set(error, KITH_EIO, "%s: its versions: %s", path, strerror(number));
}

static enum kith_err file_check(const struct kith_ctl_args *args, const char *real,
                                const char *path, struct kith_beside *beside,
                                struct kith_error *error)
{
    bool mounted = false;
    uint32_t volume = 0; /* of no interest either: the mount is asked */
    char *place = kith_malloc(KITH_PATH_SIZE);
    struct kith_ctl_args *copy = kith_malloc(sizeof(*copy));
    enum kith_err err = KITH_OK;
    if (!place || !copy) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    } else if (lstat(real, &beside->stat) != 0) {
        err = kith_error_set(error, errno == ENOENT ? KITH_ENOTFOUND : KITH_EIO, "%s: %s", path,
                             strerror(errno));
    } else {
        *copy = *args; /* its servers are of no interest */
        copy->servers_given = true;
        err = kith_place_find(copy, real, NULL, place, &volume, &mounted, error);
    }
    kith_free(place);
    kith_free(copy);
    if (err == KITH_OK && !mounted) {
        return kith_error_set(error, KITH_EINVAL,
                              "%s: lies in no mounted kithfs; mount it (kithfs HOST:/ DIR), and "
                              "name the file there",
                              path);
    }
    if (err == KITH_OK && !S_ISREG(beside->stat.st_mode) && !S_ISDIR(beside->stat.st_mode)) {
        return kith_error_set(error, KITH_EREFUSED,
                              "%s: is no file nor directory; move one of those beside it over it, "
                              "or remove them (mv, rm)",
                              path);
    }
    return err;
}

enum kith_err kith_beside_read(const struct kith_ctl_args *args, struct kith_arena *arena,
                               const char *path, struct kith_beside *ret_beside,
                               struct kith_error *error)
{
    struct kith_beside beside;
    memset(&beside, 0, sizeof(beside));
    enum kith_err err = path_split(arena, path, &beside, error);
    const char *real = err == KITH_OK ? joined(arena, beside.dir, beside.base) : NULL;
    char *text = kith_arena_alloc(arena, TEXT_MAX);
    if (err != KITH_OK) {
        return err;
    }
    if (!real || !text) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    err = file_check(args, real, path, &beside, error);
    if (err != KITH_OK) {
        return err;
    }
    ssize_t size = lgetxattr(real, ATTRIBUTE, text, TEXT_MAX);
    if (size < 0) {
        return refused(&beside, path, errno, error);
    }
    err = kith_beside_parse(arena, beside.dir, kith_bytes_make(text, (size_t)size),
                            &beside.versions, &beside.count);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "%s: what the mount says of its versions: %s", path,
                              kith_err_text((int)err));
    }
    beside.told = kith_bar_shown(args->json);
    beside.versions[0].name = beside.base;
    beside.versions[0].path = real;
    bool other_name = S_ISREG(beside.stat.st_mode) && beside.stat.st_nlink > 1;
    if (other_name && beside.count > 1 && names_find(arena, &beside, error) != KITH_OK) {
        return kith_error_wrap(error, "%s", path);
    }
    *ret_beside = beside;
    return KITH_OK;
}

/* ---- Shown ---- */

enum kith_err kith_beside_print(const struct kith_beside *beside, FILE *out)
{
    static const char *const heads[] = {"N", "WRITTEN", "WRITER", "SIZE", "NAME"};
    struct kith_columns columns;
    bool ok = true;
    kith_columns_init(&columns, heads, 5);
    for (uint32_t i = 0; i < beside->count && ok; i++) {
        const struct kith_beside_version *version = &beside->versions[i];
        char number[KITH_FORMAT_SIZE];
        char size[KITH_FORMAT_SIZE];
        struct kith_buf name;
        struct kith_buf writer;
        kith_buf_init(&name);
        kith_buf_init(&writer);
        kith_format_text(kith_bytes_make(version->name, strlen(version->name)), &name);
        kith_format_text(kith_bytes_make(version->writer, strlen(version->writer)), &writer);
        kith_buf_put_u8(&name, 0);
        kith_buf_put_u8(&writer, 0);
        (void)snprintf(number, sizeof(number), "%u", version->number);
        kith_format_bytes(version->size, size);
        ok = !name.failed && !writer.failed;
        if (ok) {
            const char *const cells[] = {number, version->time, (const char *)writer.data, size,
                                         (const char *)name.data};
            kith_columns_add(&columns, KITH_COLOUR_NONE, cells);
        }
        kith_buf_release(&name);
        kith_buf_release(&writer);
    }
    ok = ok && kith_columns_print(&columns, out, kith_colours_shown(out));
    kith_columns_release(&columns);
    return ok ? KITH_OK : KITH_ENOMEM;
}

json_t *kith_beside_json(const struct kith_beside *beside)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (uint32_t i = 0; i < beside->count && ok; i++) {
        const struct kith_beside_version *version = &beside->versions[i];
        json_t *object =
            json_pack("{s:i, s:s, s:o, s:I}", "number", (int)version->number, "time", version->time,
                      "writer", kith_json_text(version->writer, strlen(version->writer)), "size",
                      (json_int_t)version->size);
        ok = object &&
             kith_json_bytes(object, "name",
                             kith_bytes_make(version->name, strlen(version->name))) == KITH_OK;
        ok = ok ? json_array_append_new(list, object) == 0 : (json_decref(object), false);
    }
    if (!ok) {
        json_decref(list);
        list = NULL;
    }
    return list;
}
