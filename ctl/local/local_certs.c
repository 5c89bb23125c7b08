/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/local/local_certs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "ctl/certs/cert_issue.h"

#define FOLDER "certs"
#define HALF   "certs.new"
#define ENV    "env"

/* What kithctl reads from its environment. */
static const struct {
    const char *variable, *file;
} names[] = {
    {"KITH_CERT", "admin.crt"},
    {"KITH_KEY", "admin.key"},
    {"KITH_CA", "ca.crt"},
    {"KITH_CRL", "crl.pem"},
};
#define NAME_COUNT (sizeof names / sizeof names[0])

static enum kith_err path_in(const struct kith_local *local, const char *folder, const char *name,
                             char ret_path[PATH_MAX], struct kith_error *error)
{
    int size = snprintf(ret_path, PATH_MAX, "%s/%s%s%s", local->dir, folder, *name ? "/" : "", name);
    return size < 0 || size >= PATH_MAX
               ? kith_error_set(error, KITH_ETOOBIG, "%s: the path is too long", local->dir)
               : KITH_OK;
}

enum kith_err kith_local_cert_path(const struct kith_local *local, const char *name,
                                   char ret_path[PATH_MAX], struct kith_error *error)
{
    return path_in(local, FOLDER, name, ret_path, error);
}

enum kith_err kith_local_certs_make(struct kith_local *local, struct kith_error *error)
{
    char half[PATH_MAX], whole[PATH_MAX];
    enum kith_err err = path_in(local, HALF, "", half, error);
    err = err == KITH_OK ? path_in(local, FOLDER, "", whole, error) : err;
    err = err == KITH_OK ? kith_local_tree_remove(half, error) : err; /* of a run that was ended */
    err = err == KITH_OK ? kith_cert_folder_make(half, "local", "local", error) : err;
    if (err == KITH_OK && rename(half, whole) != 0) {
        err = kith_error_set(error, KITH_EIO, "cannot rename %s: %s", half, strerror(errno));
    }
    if (err != KITH_OK) {
        struct kith_error other;
        enum kith_err left = kith_local_tree_remove(half, &other);
        return left == KITH_OK ? err : kith_error_wrap(error, "%s", other.message);
    }
    local->secure = true;
    return KITH_OK;
}

enum kith_err kith_local_certs_remove(struct kith_local *local, struct kith_error *error)
{
    char path[PATH_MAX];
    enum kith_err err = path_in(local, FOLDER, "", path, error);
    err = err == KITH_OK ? kith_local_tree_remove(path, error) : err;
    err = err == KITH_OK ? path_in(local, ENV, "", path, error) : err;
    if (err == KITH_OK && unlink(path) != 0 && errno != ENOENT) {
        err = kith_error_set(error, KITH_EIO, "cannot remove %s: %s", path, strerror(errno));
    }
    local->secure = local->secure && err != KITH_OK;
    return err;
}

enum kith_err kith_local_certs_use(const struct kith_local *local, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    for (size_t i = 0; i < NAME_COUNT && err == KITH_OK; i++) {
        char path[PATH_MAX];
        err = kith_local_cert_path(local, names[i].file, path, error);
        /* empty, not unset: else the user's certificate for another cluster would be shown */
        if (err == KITH_OK && setenv(names[i].variable, local->secure ? path : "", 1) != 0) {
            err = kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    return err;
}

/* As one word of a shell, whatever is in it. */
static void put_word(struct kith_buf *buf, const char *text)
{
    kith_buf_put_u8(buf, '\'');
    for (; *text; text++) {
        const char *as = *text == '\'' ? "'\\''" : NULL;
        kith_buf_put(buf, as ? as : text, as ? strlen(as) : 1);
    }
    kith_buf_put_u8(buf, '\'');
}

static void put_text(struct kith_buf *buf, const char *text)
{
    kith_buf_put(buf, text, strlen(text));
}

enum kith_err kith_local_env_write(const struct kith_local *local, struct kith_error *error)
{
    char path[PATH_MAX];
    struct kith_buf buf;
    kith_buf_init(&buf);
    put_text(&buf, "export KITH_SERVERS=");
    for (uint32_t i = 0; i < local->count; i++) {
        char address[32];
        (void)snprintf(address, sizeof address, "%s127.0.0.1:%u", i > 0 ? "," : "",
                       local->nodes[i].port);
        put_text(&buf, address);
    }
    put_text(&buf, "\n");
    enum kith_err err = KITH_OK;
    for (size_t i = 0; i < NAME_COUNT && err == KITH_OK; i++) {
        err = kith_local_cert_path(local, names[i].file, path, error);
        put_text(&buf, "export ");
        put_text(&buf, names[i].variable);
        put_text(&buf, "=");
        put_word(&buf, local->secure ? path : "");
        put_text(&buf, "\n");
    }
    kith_buf_put_u8(&buf, '\0');
    if (err == KITH_OK && buf.failed) {
        err = kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    err = err == KITH_OK ? path_in(local, ENV, "", path, error) : err;
    err = err == KITH_OK ? kith_local_text_write(path, (const char *)buf.data, error) : err;
    kith_buf_release(&buf);
    return err;
}
