/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/files/path.h"

#include <stdlib.h>
#include <string.h>

#include "format/versions.h"

/* ---- Where a path lies ---- */

/* Appends the components of `more`, without "." and with ".." carried out; out begins with "/" or
 * is "". False: no room. */
static bool components_add(char *out, size_t size, const char *more)
{
    while (*more) {
        size_t length = strcspn(more, "/");
        size_t used = strlen(out);
        if (length == 2 && strncmp(more, "..", 2) == 0) {
            char *slash = strrchr(out, '/');
            if (slash) {
                *slash = '\0';
            }
        } else if (length > 0 && !(length == 1 && *more == '.')) {
            if (used + length + 2 > size) {
                return false;
            }
            out[used] = '/';
            memcpy(out + used + 1, more, length);
            out[used + 1 + length] = '\0';
        }
        more += length + (more[length] == '/');
    }
    return true;
}

/* A field of mountinfo (proc_pid_mountinfo(5)) up to the next blank, its \ooo undone. */
static bool field_copy(const char *field, char *out, size_t size)
{
    size_t used = 0;
    while (*field && *field != ' ' && *field != '\n') {
        char c = *field++;
        if (c == '\\' && strspn(field, "01234567") >= 3) {
            char digits[4] = {field[0], field[1], field[2], '\0'};
            c = (char)strtol(digits, NULL, 8);
            field += 3;
        }
        if (used + 1 >= size) {
            return false;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

/* Behind `count` blanks; NULL: there are fewer in the line. */
static const char *field_at(const char *line, uint32_t count)
{
    while (count > 0 && *line && *line != '\n') {
        count -= *line++ == ' ';
    }
    return count == 0 ? line : NULL;
}

/* "ID PARENT DEVICE ROOT POINT OPTIONS TAG... - TYPE SOURCE OPTIONS": of a kithfs its mount point
 * and source. */
static bool line_read(const char *line, char point[KITH_PATH_SIZE], char source[KITH_PATH_SIZE])
{
    static const char type[] = " - fuse.kithfs ";
    size_t length = strcspn(line, "\n");
    const char *dash = memmem(line, length, type, sizeof(type) - 1);
    const char *at = field_at(line, 4);
    return dash && at && field_copy(at, point, KITH_PATH_SIZE) &&
           field_copy(dash + sizeof(type) - 1, source, KITH_PATH_SIZE);
}

/* "n1,[::1]:7070:photos:/projects": the path begins at the first '/', behind a colon; what stands behind
 * the last colon before that is the volume, unless it is a port, which no volume's name looks like. */
static bool source_split(char *source, const char **ret_path, const char **ret_volume)
{
    char *slash = strchr(source, '/');
    *ret_path = "";
    *ret_volume = "fs";
    if (!slash) {
        return true;
    }
    if (slash == source || slash[-1] != ':') {
        return false;
    }
    slash[-1] = '\0';
    *ret_path = slash;
    char *colon = strrchr(source, ':');
    if (colon && kith_volume_name_fits(colon + 1)) {
        *colon = '\0';
        *ret_volume = colon + 1;
    }
    return true;
}

enum kith_err kith_path_locate(const char *mounts, const char *cwd, const char *path,
                               char ret_path[KITH_PATH_SIZE], char ret_servers[KITH_PATH_SIZE],
                               char ret_volume[KITH_VOLUME_NAME_SIZE], struct kith_error *error)
{
    char whole[KITH_PATH_SIZE] = "";
    char point[KITH_PATH_SIZE];
    char source[KITH_PATH_SIZE];
    size_t best = 0;
    if ((*path != '/' && !components_add(whole, sizeof(whole), cwd)) ||
        !components_add(whole, sizeof(whole), path)) {
        return kith_error_set(error, KITH_ETOOBIG, "the path is too long");
    }
    ret_path[0] = '\0';
    ret_servers[0] = '\0';
    ret_volume[0] = '\0';
    for (const char *line = mounts; *line;) {
        const char *prefix = "";
        const char *volume = "";
        size_t length = 0;
        if (line_read(line, point, source) && (length = strlen(point)) > best &&
            strncmp(whole, point, length) == 0 && (whole[length] == '/' || !whole[length]) &&
            source_split(source, &prefix, &volume)) {
            char place[KITH_PATH_SIZE] = "";
            if (!components_add(place, sizeof(place), prefix) ||
                !components_add(place, sizeof(place), whole + length)) {
                return kith_error_set(error, KITH_ETOOBIG, "the path is too long");
            }
            best = length;
            (void)strcpy(ret_path, place);
            (void)strcpy(ret_servers, source);
            (void)strcpy(ret_volume, volume);
        }
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    if (best == 0 && *path != '/') {
        return kith_error_set(error, KITH_EINVAL,
                              "'%s' lies in no mounted kithfs; write the path from the root of the "
                              "filesystem, /...",
                              path);
    }
    if (best == 0) {
        (void)strcpy(ret_path, whole);
    }
    if (!*ret_path) {
        (void)strcpy(ret_path, "/");
    }
    return KITH_OK;
}

/* ---- The walk ---- */

/* The record of the version that bears the plain name. ENOTFOUND: there is none. */
static enum kith_err record_get(const struct kith_door *door, const struct kith_group *group,
                                const struct kith_rowname *name, struct kith_arena *arena,
                                struct kith_inode_record *ret_record, struct kith_error *error)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    struct kith_bytes bytes = kith_rowname_bytes(name);
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_GET;
    op.timeout_ms = kith_door_left_ms(door);
    op.u.get.group = *group;
    op.u.get.name_count = 1;
    op.u.get.names = &bytes;
    enum kith_err err = kith_door_call(door->client, &op, &answer, error);
    if (err == KITH_OK) {
        const struct kith_sibling *winner = kith_versions_winner(&answer.result.u.rows.rows[0].row);
        void *copy = winner ? kith_arena_copy(arena, winner->value.data, winner->value.size) : NULL;
        if (!winner) {
            err = kith_error_set(error, KITH_ENOTFOUND, "no such file");
        } else if (!copy) {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        } else {
            err = kith_inode_record_decode(arena, kith_bytes_make(copy, winner->value.size),
                                           ret_record);
            err = err == KITH_OK ? err
                                 : kith_error_set(error, err, "its row cannot be understood: %s",
                                                  kith_err_text((int)err));
        }
    }
    kith_client_answer_release(&answer);
    return err;
}

static void row_set(struct kith_path_row rows[KITH_PATH_ROWS_MAX], uint32_t *count,
                    const char *what, const struct kith_group *group,
                    const struct kith_rowname *name)
{
    rows[*count].what = what;
    rows[*count].group = *group;
    rows[*count].name = *name;
    ++*count;
}

/* The rows of the last name. */
static enum kith_err rows_of(const struct kith_door *door, const struct kith_group *group,
                             struct kith_bytes name, struct kith_arena *arena,
                             struct kith_path_row rows[KITH_PATH_ROWS_MAX], uint32_t *ret_count,
                             struct kith_error *error)
{
    struct kith_rowname entry;
    struct kith_rowname other;
    struct kith_inode_record record;
    kith_rowname_entry(name, &entry);
    kith_rowname_attr(kith_rowname_bytes(&entry), &other);
    *ret_count = 0;
    row_set(rows, ret_count, "entry", group, &entry);
    row_set(rows, ret_count, "attributes", group, &other);
    enum kith_err err = record_get(door, group, &entry, arena, &record, error);
    if (err == KITH_OK && record.type == KITH_TYPE_LINK) {
        kith_versions_shared_row(group, &record, &other);
        row_set(rows, ret_count, "shared inode", &record.link, &other);
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err; /* where it is gone, that is told */
}

static enum kith_err walk(const struct kith_door *door, uint32_t volume, const char *path,
                          struct kith_arena *arena, struct kith_path_row rows[KITH_PATH_ROWS_MAX],
                          uint32_t *ret_count, struct kith_error *error)
{
    struct kith_group group = kith_volume_root(volume);
    const char *at = path + strspn(path, "/");
    while (*at) {
        size_t length = strcspn(at, "/");
        const char *next = at + length + strspn(at + length, "/");
        struct kith_rowname name;
        struct kith_inode_record record;
        if (length > KITH_FS_NAME_MAX) {
            return kith_error_set(error, KITH_EINVAL, "a name has at most %u bytes",
                                  KITH_FS_NAME_MAX);
        }
        if (!*next) {
            return rows_of(door, &group, kith_bytes_make(at, length), arena, rows, ret_count,
                           error);
        }
        kith_rowname_entry(kith_bytes_make(at, length), &name);
        kith_arena_reset(arena);
        enum kith_err err = record_get(door, &group, &name, arena, &record, error);
        if (err == KITH_OK && record.type != KITH_TYPE_DIR) {
            err = kith_error_set(error, KITH_EREFUSED, "no directory");
        }
        if (err != KITH_OK) {
            return kith_error_wrap(error, "%.*s", (int)(at + length - path), path);
        }
        group = kith_group_make(volume, record.dir_id);
        at = next;
    }
    *ret_count = 0;
    struct kith_rowname self;
    kith_rowname_entry(kith_bytes_make("", 0), &self);
    row_set(rows, ret_count, "root directory", &group, &self);
    return KITH_OK;
}

enum kith_err kith_path_walk(const struct kith_door *door, uint32_t volume, const char *path,
                             struct kith_path_row ret_rows[KITH_PATH_ROWS_MAX], uint32_t *ret_count,
                             struct kith_error *error)
{
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    enum kith_err err = walk(door, volume, path, &arena, ret_rows, ret_count, error);
    kith_arena_release(&arena);
    return err;
}
