/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * local_state.c - cluster.json: {"nodes": [{"port": 41001, "pid": 1234}, ...]}. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/local/local.h"
#include "ctl/local/local_certs.h"

#define STATE_FILE     "cluster.json"
#define STATE_SIZE_MAX 65536u /* bytes; 64 nodes take 3 KiB */

char *kith_local_encode(const struct kith_local *local)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < local->count; i++) {
        (void)json_array_append_new(nodes,
                                    json_pack("{s:i, s:I}", "port", (int)local->nodes[i].port,
                                              "pid", (json_int_t)local->nodes[i].pid));
    }
    char *text = NULL;
    if (nodes && json_array_size(nodes) == local->count) {
        json_t *whole = json_pack("{s:O}", "nodes", nodes);
        text = whole ? json_dumps(whole, JSON_INDENT(2)) : NULL;
        json_decref(whole);
    }
    json_decref(nodes);
    return text;
}

enum kith_err kith_local_decode(const char *text, struct kith_local *local,
                                struct kith_error *error)
{
    json_error_t where;
    json_t *whole = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    json_t *nodes = json_object_get(whole, "nodes");
    enum kith_err err = KITH_OK;
    if (!whole) {
        err = kith_error_set(error, KITH_EFORMAT, "line %d: %s", where.line, where.text);
    } else if (!json_is_array(nodes) || json_array_size(nodes) > KITH_LOCAL_NODES_MAX) {
        err = kith_error_set(error, KITH_EFORMAT, "'nodes' must be a list of at most %u",
                             KITH_LOCAL_NODES_MAX);
    }
    local->count = 0;
    for (size_t i = 0; err == KITH_OK && i < json_array_size(nodes); i++) {
        json_t *node = json_array_get(nodes, i);
        json_int_t port = json_integer_value(json_object_get(node, "port"));
        json_int_t pid = json_integer_value(json_object_get(node, "pid"));
        if (!json_is_integer(json_object_get(node, "port")) ||
            !json_is_integer(json_object_get(node, "pid"))) {
            err = kith_error_set(error, KITH_EFORMAT, "node %zu: port or pid is no number", i + 1);
            break;
        }
        if (port < 0 || port > UINT16_MAX || pid < 0 || pid > INT_MAX) {
            err =
                kith_error_set(error, KITH_EFORMAT, "node %zu: port or pid is out of range", i + 1);
            break;
        }
        local->nodes[i].port = (uint16_t)port;
        local->nodes[i].pid = (pid_t)pid;
        local->count++;
    }
    json_decref(whole);
    return err;
}

static enum kith_err state_path(const struct kith_local *local, const char *suffix,
                                char path[PATH_MAX], struct kith_error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/" STATE_FILE "%s", local->dir, suffix);
    return length < PATH_MAX ? KITH_OK
                             : kith_error_set(error, KITH_ETOOBIG, "the path of DIR is too long");
}

enum kith_err kith_local_load(const char *dir, struct kith_local *ret_local,
                              struct kith_error *error)
{
    char path[PATH_MAX];
    memset(ret_local, 0, sizeof(*ret_local));
    if (!realpath(dir, ret_local->dir)) {
        return kith_error_set(error, errno == ENOENT ? KITH_ENOTFOUND : KITH_EIO, "%s: %s", dir,
                              strerror(errno));
    }
    enum kith_err err = kith_local_cert_path(ret_local, "", path, error);
    if (err == KITH_OK) {
        ret_local->secure = access(path, F_OK) == 0;
        err = state_path(ret_local, "", path, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    FILE *file = fopen(path, "re");
    if (!file) {
        return errno == ENOENT ? KITH_OK
                               : kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(errno));
    }
    ret_local->has_state = true;
    char *text = malloc(STATE_SIZE_MAX + 1);
    size_t size = text ? fread(text, 1, STATE_SIZE_MAX, file) : 0;
    if (!text) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    } else if (ferror(file)) {
        err = kith_error_set(error, KITH_EIO, "%s: cannot be read", path);
    } else {
        text[size] = '\0';
        err = kith_local_decode(text, ret_local, error);
        if (err != KITH_OK) {
            err = kith_error_wrap(error, "%s", path);
        }
    }
    free(text);
    (void)fclose(file); /* was only read */
    return err;
}

enum kith_err kith_local_hold(const char *dir, bool create, struct kith_local *ret_local,
                              int *ret_fd, struct kith_error *error)
{
    bool made = create && mkdir(dir, 0755) == 0;
    if (create && !made && errno != EEXIST) {
        return kith_error_set(error, KITH_EIO, "cannot make %s: %s", dir, strerror(errno));
    }
    enum kith_err err = KITH_OK;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        err = kith_error_set(error, errno == ENOENT ? KITH_ENOTFOUND : KITH_EIO, "%s: %s", dir,
                             strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        err =
            errno == EWOULDBLOCK
                ? kith_error_set(error, KITH_EBUSY,
                                 "%s: another 'kithctl local' is at work there; try again when "
                                 "it has ended",
                                 dir)
                : kith_error_set(error, KITH_EIO, "%s: cannot be locked: %s", dir, strerror(errno));
    }
    if (err == KITH_OK) {
        err = kith_local_load(dir, ret_local, error);
    }
    if (err != KITH_OK) {
        if (fd >= 0) {
            (void)close(fd); /* was only locked */
        }
        if (made) {
            (void)rmdir(dir); /* empty, or somebody else's by now */
        }
        return err;
    }
    ret_local->made = made;
    *ret_fd = fd;
    return KITH_OK;
}

enum kith_err kith_local_text_write(const char *path, const char *text, struct kith_error *error)
{
    FILE *file = fopen(path, "we");
    if (!file) {
        return kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(errno));
    }
    bool good = fputs(text, file) >= 0 && fputc('\n', file) != EOF && fflush(file) == 0 &&
                fsync(fileno(file)) == 0;
    int number = errno;
    if (fclose(file) != 0 && good) {
        good = false;
        number = errno;
    }
    return good ? KITH_OK : kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(number));
}

enum kith_err kith_local_save(const struct kith_local *local, struct kith_error *error)
{
    char path[PATH_MAX];
    char fresh[PATH_MAX];
    enum kith_err err = state_path(local, "", path, error);
    if (err == KITH_OK) {
        err = state_path(local, ".new", fresh, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    char *text = kith_local_encode(local);
    err =
        text ? kith_local_text_write(fresh, text, error)
             : kith_error_set(error, KITH_ENOMEM, "out of memory");
    free(text);
    if (err == KITH_OK && rename(fresh, path) != 0) {
        err = kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(errno));
    }
    return err;
}

enum kith_err kith_local_forget(const struct kith_local *local, struct kith_error *error)
{
    static const char *const suffixes[] = {".new", ""};
    char path[PATH_MAX];
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < 2; i++) {
        err = state_path(local, suffixes[i], path, error);
        if (err == KITH_OK && unlink(path) != 0 && errno != ENOENT) {
            err = kith_error_set(error, KITH_EIO, "cannot remove %s: %s", path, strerror(errno));
        }
    }
    return err;
}

enum kith_err kith_local_paths(const struct kith_local *local, uint32_t index,
                               char ret_data[PATH_MAX], char ret_log[PATH_MAX],
                               struct kith_error *error)
{
    int data = snprintf(ret_data, PATH_MAX, "%s/node%u", local->dir, index + 1);
    int log = snprintf(ret_log, PATH_MAX, "%s/node%u.log", local->dir, index + 1);
    return data < PATH_MAX && log < PATH_MAX
               ? KITH_OK
               : kith_error_set(error, KITH_ETOOBIG, "the path of DIR is too long");
}
