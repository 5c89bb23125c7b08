/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/certs/ca_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "text/figures.h"
#include "tls/pem_file.h"

#define KEY_NAME       "ca.key"
#define CERT_NAME      "ca.crt"
#define LIST_NAME      "crl.pem"
#define INDEX_NAME     "index"
#define FIELDS         7u
#define REVOKED_WORD   "revoked "
#define LINE_MAX_BYTES 1024u /* the longest has some 500 */

enum kith_err kith_ca_path(const char *dir, const char *name, char path[PATH_MAX],
                           struct kith_error *error)
{
    int size = snprintf(path, PATH_MAX, "%s/%s", dir, name);
    return size > 0 && size < PATH_MAX
               ? KITH_OK
               : kith_error_set(error, KITH_EINVAL, "the path of %s is too long", name);
}

static enum kith_err failed(const char *doing, const char *path, int reason,
                            struct kith_error *error)
{
    enum kith_err code = reason == ENOENT || reason == ENOTDIR                    ? KITH_ENOTFOUND
                         : reason == EACCES || reason == EPERM || reason == EROFS ? KITH_EPERM
                         : reason == ENOSPC || reason == EDQUOT                   ? KITH_ENOSPC
                         : reason == EEXIST || reason == ENOTEMPTY                ? KITH_EEXIST
                                                                                  : KITH_EIO;
    return kith_error_set(error, code, "cannot %s %s: %s", doing, path, strerror(reason));
}

/* ---- Lines of the index ---- */

void kith_ca_line(const struct kith_cert *cert, struct kith_buf *out)
{
    const struct kith_cert_grant *grant = &cert->grant;
    char text[LINE_MAX_BYTES], from[KITH_FORMAT_SIZE], until[KITH_FORMAT_SIZE];
    kith_format_time((uint64_t)cert->not_before_s * 1000u, from);
    kith_format_time((uint64_t)cert->not_after_s * 1000u, until);
    int size = snprintf(text, sizeof text, "%s %s %s %s %s %s ", cert->serial,
                        kith_cert_role_name(grant->role), grant->name, from, until,
                        grant->read_only ? "read-only" : "read-write");
    kith_buf_put(out, text, (size_t)size);
    if (grant->all_volumes) {
        kith_buf_put(out, "all", 3);
    }
    for (uint32_t i = 0; i < grant->volume_count; i++) {
        size = snprintf(text, sizeof text, "%s%08x", i > 0 ? "," : "", grant->volumes[i]);
        kith_buf_put(out, text, (size_t)size);
    }
    kith_buf_put(out, "\n", 1);
}

static bool parse_time(const char *text, int64_t *ret_s)
{
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
    *ret_s = end ? (int64_t)timegm(&tm) : 0;
    return end && *end == '\0';
}

static bool parse_volumes(char *text, struct kith_cert_grant *grant)
{
    if (strcmp(text, "all") == 0) {
        grant->all_volumes = true;
        return true;
    }
    for (char *at = text; at;) {
        char *comma = strchr(at, ',');
        if (comma) {
            *comma = '\0';
        }
        if (strlen(at) != 8 || strspn(at, "0123456789abcdef") != 8 ||
            grant->volume_count == KITH_CERT_VOLUMES_MAX) {
            return false;
        }
        grant->volumes[grant->volume_count++] = (uint32_t)strtoul(at, NULL, 16);
        at = comma ? comma + 1 : NULL;
    }
    return grant->volume_count > 0;
}

static bool parse_role(const char *text, enum kith_cert_role *ret_role)
{
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN, KITH_CERT_CLIENT};
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        if (strcmp(text, kith_cert_role_name(roles[i])) == 0) {
            *ret_role = roles[i];
            return true;
        }
    }
    return false;
}

enum kith_err kith_ca_line_parse(struct kith_bytes line, struct kith_cert *ret_cert)
{
    char text[LINE_MAX_BYTES];
    char *fields[FIELDS];
    struct kith_cert cert;
    memset(&cert, 0, sizeof cert);
    if (line.size == 0 || line.size >= sizeof text || memchr(line.data, 0, line.size)) {
        return KITH_EFORMAT;
    }
    memcpy(text, line.data, line.size);
    text[line.size] = '\0';
    uint32_t count = 0;
    for (char *at = text; at && count < FIELDS; count++) {
        fields[count] = at;
        at = strchr(at, ' ');
        if (at) {
            *at++ = '\0';
        }
        if (count + 1 == FIELDS && at) {
            return KITH_EFORMAT;
        }
    }
    if (count != FIELDS) {
        return KITH_EFORMAT;
    }
    size_t serial = strlen(fields[0]);
    bool read_only = strcmp(fields[5], "read-only") == 0;
    if (serial == 0 || serial >= sizeof cert.serial ||
        strspn(fields[0], "0123456789abcdef") != serial ||
        !parse_role(fields[1], &cert.grant.role) || !kith_cert_name_fits(fields[2]) ||
        !parse_time(fields[3], &cert.not_before_s) || !parse_time(fields[4], &cert.not_after_s) ||
        (!read_only && strcmp(fields[5], "read-write") != 0) ||
        !parse_volumes(fields[6], &cert.grant)) {
        return KITH_EFORMAT;
    }
    cert.grant.read_only = read_only;
    memcpy(cert.serial, fields[0], serial + 1);
    memcpy(cert.grant.name, fields[2], strlen(fields[2]) + 1);
    *ret_cert = cert;
    return KITH_OK;
}

static enum kith_err add_entry(struct kith_ca_dir *dir, const struct kith_cert *cert,
                               const struct kith_trust *trust, struct kith_error *error)
{
    if ((dir->count & (dir->count - 1)) == 0) { /* full at each power of two */
        size_t room = dir->count ? dir->count * 2 : 1;
        struct kith_ca_entry *larger = kith_realloc(dir->entries, room * sizeof *larger);
        if (!larger) {
            return kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
        dir->entries = larger;
    }
    struct kith_ca_entry *entry = &dir->entries[dir->count++];
    entry->cert = *cert;
    entry->revoked = kith_trust_revokes(trust, cert->serial); /* more of it: merge_revoked */
    (void)snprintf(entry->cert.cluster, sizeof entry->cert.cluster, "%s", dir->cluster);
    return KITH_OK;
}

static bool is_serial(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size < KITH_CERT_SERIAL_SIZE && strspn(text, "0123456789abcdef") == size;
}

/* "revoked SERIAL". EFORMAT: the line says something else. */
static enum kith_err add_revoked(struct kith_ca_dir *dir, struct kith_bytes line,
                                 struct kith_error *error)
{
    char serial[KITH_CERT_SERIAL_SIZE];
    size_t head = strlen(REVOKED_WORD);
    if (line.size <= head || line.size - head >= sizeof serial ||
        memcmp(line.data, REVOKED_WORD, head) != 0) {
        return KITH_EFORMAT;
    }
    (void)snprintf(serial, sizeof serial, "%.*s", (int)(line.size - head),
                   (const char *)line.data + head);
    if (strlen(serial) != line.size - head || !is_serial(serial)) {
        return KITH_EFORMAT;
    }
    if ((dir->revoked_count & (dir->revoked_count - 1)) == 0) { /* full at each power of two */
        size_t room = dir->revoked_count ? dir->revoked_count * 2 : 1;
        void *larger = kith_realloc(dir->revoked, room * sizeof dir->revoked[0]);
        if (!larger) {
            return kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
        dir->revoked = larger;
    }
    memcpy(dir->revoked[dir->revoked_count++], serial, sizeof serial);
    return KITH_OK;
}

static int compare_serials(const void *a, const void *b)
{
    return strcmp(a, b);
}

static bool index_revokes(const struct kith_ca_dir *dir, const char *serial)
{
    return dir->revoked_count > 0 && bsearch(serial, dir->revoked, dir->revoked_count,
                                             sizeof dir->revoked[0], compare_serials) != NULL;
}

static void merge_revoked(struct kith_ca_dir *dir, const struct kith_trust *trust)
{
    if (dir->revoked_count > 0) {
        qsort(dir->revoked, dir->revoked_count, sizeof dir->revoked[0], compare_serials);
    }
    for (size_t i = 0; i < dir->revoked_count; i++) {
        dir->unlisted += kith_trust_revokes(trust, dir->revoked[i]) ? 0 : 1;
    }
    for (size_t i = 0; i < dir->count; i++) {
        struct kith_ca_entry *entry = &dir->entries[i];
        entry->revoked = entry->revoked || index_revokes(dir, entry->cert.serial);
    }
}

static enum kith_err read_line(struct kith_ca_dir *dir, struct kith_bytes line,
                               const struct kith_trust *trust, struct kith_error *error)
{
    struct kith_cert cert;
    if (kith_ca_line_parse(line, &cert) == KITH_OK) {
        return add_entry(dir, &cert, trust, error);
    }
    enum kith_err err = add_revoked(dir, line, error);
    dir->unread += err == KITH_EFORMAT ? 1 : 0;
    return err == KITH_EFORMAT ? KITH_OK : err;
}

static enum kith_err read_index(struct kith_ca_dir *dir, const struct kith_trust *trust,
                                struct kith_error *error)
{
    char path[PATH_MAX];
    struct kith_buf text;
    kith_buf_init(&text);
    enum kith_err err = kith_ca_path(dir->path, INDEX_NAME, path, error);
    if (err == KITH_OK) {
        err = kith_pem_read(path, KITH_PEM_PUBLIC, KITH_CA_INDEX_MAX, &text, error);
    }
    for (size_t at = 0; err == KITH_OK && at < text.size;) {
        const uint8_t *end = memchr(text.data + at, '\n', text.size - at);
        size_t size = end ? (size_t)(end - text.data) - at : text.size - at;
        if (end) {
            err = read_line(dir, kith_bytes_make(text.data + at, size), trust, error);
        } else { /* without its line feed it was cut off */
            dir->unread++;
        }
        at += size + 1;
    }
    if (err == KITH_OK) {
        merge_revoked(dir, trust);
    }
    kith_buf_release(&text);
    return err;
}

/* ---- Making it ---- */

static enum kith_err fill(const char *path, const char *cluster, uint32_t days, int64_t now_s,
                          struct kith_error *error)
{
    struct {
        const char *name;
        enum kith_pem_kind kind;
        struct kith_buf buf;
    } files[] = {
        {.name = KEY_NAME, .kind = KITH_PEM_SECRET},
        {.name = CERT_NAME, .kind = KITH_PEM_PUBLIC},
        {.name = LIST_NAME, .kind = KITH_PEM_PUBLIC},
        {.name = INDEX_NAME, .kind = KITH_PEM_SECRET},
    };
    struct kith_authority *authority = NULL;
    enum kith_err err =
        kith_authority_make(cluster, days, now_s, &files[0].buf, &files[1].buf, error);
    if (err == KITH_OK) {
        err = kith_authority_open(kith_buf_bytes(&files[1].buf), kith_buf_bytes(&files[0].buf),
                                  &authority, error);
    }
    if (err == KITH_OK) {
        err = kith_authority_revoke(authority, kith_bytes_make(NULL, 0), NULL, 0, now_s,
                                    &files[2].buf, error);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char file[PATH_MAX];
        if (err == KITH_OK) {
            err = kith_ca_path(path, files[i].name, file, error);
        }
        if (err == KITH_OK) {
            err = kith_pem_write(file, files[i].kind, kith_buf_bytes(&files[i].buf), error);
        }
        kith_pem_wipe(&files[i].buf);
    }
    kith_authority_free(authority);
    return err;
}

static void remove_all(const char *path)
{
    static const char *const names[] = {KEY_NAME, CERT_NAME, LIST_NAME, INDEX_NAME};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char file[PATH_MAX];
        if (kith_ca_path(path, names[i], file, NULL) == KITH_OK) {
            (void)unlink(file);
        }
    }
    (void)rmdir(path);
}

enum kith_err kith_ca_dir_make(const char *path, const char *cluster, uint32_t days, int64_t now_s,
                               struct kith_error *error)
{
    char beside[PATH_MAX];
    int size = snprintf(beside, sizeof beside, "%s.XXXXXX", path);
    if (size < 0 || (size_t)size >= sizeof beside || !mkdtemp(beside)) { /* 0700 */
        return failed("make", path, size > 0 && (size_t)size < sizeof beside ? errno : ENAMETOOLONG,
                      error);
    }
    enum kith_err err = fill(beside, cluster, days, now_s, error);
    if (err == KITH_OK && rename(beside, path) != 0) {
        int reason = errno;
        err = reason == EEXIST || reason == ENOTEMPTY
                  ? kith_error_set(error, KITH_EEXIST,
                                   "%s is there already, and stays as it is: the certificates of a "
                                   "cluster all come from one authority ('kithctl cert')",
                                   path)
                  : failed("make", path, reason, error);
    }
    if (err != KITH_OK) {
        remove_all(beside);
        return err;
    }
    int flushed = kith_pem_flush_folder(path);
    return flushed == 0 ? KITH_OK : failed("make", path, flushed, error);
}

/* ---- Opening it ---- */

static enum kith_err read_file(const struct kith_ca_dir *dir, const char *name,
                               enum kith_pem_kind kind, size_t max, struct kith_buf *out,
                               struct kith_error *error)
{
    char path[PATH_MAX];
    enum kith_err err = kith_ca_path(dir->path, name, path, error);
    return err == KITH_OK ? kith_pem_read(path, kind, max, out, error) : err;
}

static enum kith_err lock(struct kith_ca_dir *dir, struct kith_error *error)
{
    char path[PATH_MAX];
    enum kith_err err = kith_ca_path(dir->path, INDEX_NAME, path, error);
    if (err != KITH_OK) {
        return err;
    }
    dir->index_fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    int locked = -1;
    while (dir->index_fd >= 0 && (locked = flock(dir->index_fd, LOCK_EX)) != 0 && errno == EINTR) {
    }
    return locked == 0 ? KITH_OK : failed("lock", path, errno, error);
}

static enum kith_err open_key(struct kith_ca_dir *dir, struct kith_error *error)
{
    struct kith_buf key;
    kith_buf_init(&key);
    enum kith_err err = read_file(dir, KEY_NAME, KITH_PEM_SECRET, KITH_CERT_PEM_MAX, &key, error);
    if (err == KITH_ENOTFOUND) {
        (void)kith_error_set(error, err,
                             "%s has no " KEY_NAME
                             ": certificates are issued and revoked where the "
                             "authority's key lies",
                             dir->path);
    } else if (err == KITH_OK) {
        err = kith_authority_open(kith_buf_bytes(&dir->cert), kith_buf_bytes(&key), &dir->authority,
                                  error);
        if (err != KITH_OK) {
            (void)kith_error_wrap(error, "%s", dir->path);
        }
    }
    kith_pem_wipe(&key);
    return err;
}

static enum kith_err open_rest(struct kith_ca_dir *dir, struct kith_error *error)
{
    struct kith_trust *trust = NULL;
    enum kith_err err =
        read_file(dir, LIST_NAME, KITH_PEM_PUBLIC, KITH_CRL_PEM_MAX, &dir->list, error);
    if (err == KITH_OK) {
        err = kith_trust_new(kith_buf_bytes(&dir->cert), kith_buf_bytes(&dir->list), &trust, error);
        if (err != KITH_OK) {
            (void)kith_error_wrap(error, "%s", dir->path);
        }
    }
    if (err == KITH_OK) {
        err = read_index(dir, trust, error);
    }
    kith_trust_free(trust);
    return err;
}

enum kith_err kith_ca_dir_open(const char *path, bool sign, struct kith_ca_dir *ret_dir,
                               struct kith_error *error)
{
    struct kith_ca_dir dir;
    memset(&dir, 0, sizeof dir);
    dir.index_fd = -1;
    int size = snprintf(dir.path, sizeof dir.path, "%s", path);
    if (size < 0 || (size_t)size >= sizeof dir.path) {
        return kith_error_set(error, KITH_EINVAL, "the path of the authority's folder is too long");
    }
    enum kith_err err =
        read_file(&dir, CERT_NAME, KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX, &dir.cert, error);
    if (err == KITH_ENOTFOUND) {
        (void)kith_error_set(error, err,
                             "there is no authority in %s: name its folder with --ca, or make one "
                             "with 'kithctl init DIR'",
                             path);
    }
    if (err == KITH_OK) {
        err = kith_cert_cluster(kith_buf_bytes(&dir.cert), dir.cluster, error);
        if (err != KITH_OK) {
            (void)kith_error_wrap(error, "%s", path);
        }
    }
    if (err == KITH_OK && sign) {
        err = lock(&dir, error);
    }
    if (err == KITH_OK && sign) {
        err = open_key(&dir, error);
    }
    if (err == KITH_OK) {
        err = open_rest(&dir, error);
    }
    if (err != KITH_OK) {
        kith_ca_dir_close(&dir);
        return err;
    }
    *ret_dir = dir;
    return KITH_OK;
}

void kith_ca_dir_close(struct kith_ca_dir *dir)
{
    if (dir->index_fd >= 0) {
        close(dir->index_fd); /* ends the lock */
        dir->index_fd = -1;
    }
    kith_authority_free(dir->authority);
    dir->authority = NULL;
    kith_free(dir->entries);
    dir->entries = NULL;
    dir->count = 0;
    kith_free(dir->revoked);
    dir->revoked = NULL;
    dir->revoked_count = 0;
    kith_buf_release(&dir->cert);
    kith_buf_release(&dir->list);
}

/* ---- Changing it ---- */

/* Appends the lines and flushes them. What a crash has cut off before gets its end first. */
static enum kith_err append(struct kith_ca_dir *dir, const struct kith_buf *lines,
                            struct kith_error *error)
{
    struct kith_buf line;
    struct stat stat;
    char last = '\n';
    kith_buf_init(&line);
    int reason = fstat(dir->index_fd, &stat) == 0 ? 0 : errno;
    if (reason == 0 && stat.st_size > 0 && pread(dir->index_fd, &last, 1, stat.st_size - 1) != 1) {
        reason = EIO;
    }
    if (last != '\n') {
        kith_buf_put(&line, "\n", 1);
    }
    kith_buf_put(&line, lines->data, lines->size);
    if (line.failed || lines->failed) {
        reason = ENOMEM;
    }
    for (size_t done = 0; reason == 0 && done < line.size;) {
        ssize_t written = write(dir->index_fd, line.data + done, line.size - done);
        if (written < 0 && errno != EINTR) {
            reason = errno;
        }
        done += written > 0 ? (size_t)written : 0;
    }
    if (reason == 0 && fsync(dir->index_fd) != 0) {
        reason = errno;
    }
    kith_buf_release(&line);
    return reason == 0 ? KITH_OK : failed("write the index of", dir->path, reason, error);
}

enum kith_err kith_ca_dir_issue(struct kith_ca_dir *dir, const struct kith_cert_grant *grant,
                                uint32_t days, int64_t now_s, struct kith_bytes old_key_pem,
                                struct kith_buf *key_pem, struct kith_buf *cert_pem,
                                struct kith_cert *ret_cert, struct kith_error *error)
{
    enum kith_err err = kith_authority_issue(dir->authority, grant, days, now_s, old_key_pem,
                                             key_pem, cert_pem, ret_cert, error);
    struct kith_buf line;
    kith_buf_init(&line);
    if (err == KITH_OK) {
        kith_ca_line(ret_cert, &line);
        err = append(dir, &line, error);
    }
    kith_buf_release(&line);
    return err;
}

/* What is to be revoked and the index does not say. */
static enum kith_err note_revoked(struct kith_ca_dir *dir, const char *const serials[],
                                  uint32_t count, struct kith_error *error)
{
    struct kith_buf lines;
    kith_buf_init(&lines);
    for (uint32_t i = 0; i < count; i++) {
        if (is_serial(serials[i]) &&
            !index_revokes(dir, serials[i])) { /* else it is refused below */
            kith_buf_put(&lines, REVOKED_WORD, strlen(REVOKED_WORD));
            kith_buf_put(&lines, serials[i], strlen(serials[i]));
            kith_buf_put(&lines, "\n", 1);
        }
    }
    enum kith_err err = lines.size > 0 || lines.failed ? append(dir, &lines, error) : KITH_OK;
    kith_buf_release(&lines);
    return err;
}

enum kith_err kith_ca_dir_revoke(struct kith_ca_dir *dir, const char *const serials[],
                                 uint32_t count, int64_t now_s, struct kith_error *error)
{
    char path[PATH_MAX];
    struct kith_buf next;
    kith_buf_init(&next);
    uint32_t all_count = 0;
    const char **all = kith_calloc(count + dir->revoked_count + 1, sizeof *all);
    if (!all) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        all[all_count++] = serials[i];
    }
    for (size_t i = 0; dir->unlisted > 0 && i < dir->revoked_count; i++) {
        all[all_count++] = dir->revoked[i];
    }
    enum kith_err err = kith_ca_path(dir->path, LIST_NAME, path, error);
    if (err == KITH_OK) { /* before it is noted: it may be refused */
        err = kith_authority_revoke(dir->authority, kith_buf_bytes(&dir->list), all, all_count,
                                    now_s, &next, error);
    }
    if (err == KITH_OK) {
        err = note_revoked(dir, serials, count, error);
    }
    if (err == KITH_OK) {
        err = kith_pem_replace(path, KITH_PEM_PUBLIC, kith_buf_bytes(&next), error);
    }
    kith_free(all);
    if (err != KITH_OK) {
        kith_buf_release(&next);
        return err;
    }
    kith_buf_release(&dir->list);
    dir->list = next;
    dir->unlisted = 0;
    return KITH_OK;
}
