/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/identity_find.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The environment ---- */

static const char *value_of(const char *name, bool *ret_set)
{
    const char *value = getenv(name);
    *ret_set = *ret_set || value;
    return value && *value ? value : NULL;
}

/* Whether it says anything. */
static bool find_environment(struct kith_identity_found *found)
{
    bool set = false;
    memset(&found->files, 0, sizeof found->files);
    found->files.cert = value_of("KITH_CERT", &set);
    found->files.key = value_of("KITH_KEY", &set);
    found->files.ca = value_of("KITH_CA", &set);
    found->files.crl = value_of("KITH_CRL", &set);
    found->any = found->files.cert || found->files.key || found->files.ca || found->files.crl;
    return set;
}

/* ---- A folder ---- */

static enum kith_err path_make(char path[PATH_MAX], const char *folder, const char *name,
                               const char *ending, struct kith_error *error)
{
    int size = snprintf(path, PATH_MAX, "%s/%s%s", folder, name, ending);
    return size >= 0 && size < PATH_MAX
               ? KITH_OK
               : kith_error_set(error, KITH_ETOOBIG, "%.200s...: the path is too long", folder);
}

/* 0, or an errno; by the rights that count when it is opened. */
static int look(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? 0 : errno;
}

static enum kith_err unreadable(const char *path, int number, struct kith_error *error)
{
    return kith_error_set(error, KITH_EPERM,
                          "the certificate in %s cannot be used: %s; run this as who may read "
                          "it, have one in ~/.config/kithfs, or go without: export KITH_CERT=",
                          path, strerror(number));
}

static enum kith_err missing(const char *path, const char *folder, const char *role,
                             struct kith_error *error)
{
    return kith_error_set(error, KITH_ENOTFOUND,
                          "%s is missing beside the rest in %s: copy there all that 'kithctl "
                          "cert %s NAME' makes, or remove the rest",
                          path, folder, role);
}

/* A pair of that role. *ret_number: it is there and may not be read. */
static enum kith_err find_pair(const char *folder, enum kith_cert_role role,
                               struct kith_identity_found *found, int *ret_number,
                               struct kith_error *error)
{
    const char *word = kith_cert_role_name(role);
    enum kith_err err = path_make(found->cert, folder, word, ".crt", error);
    err = err == KITH_OK ? path_make(found->key, folder, word, ".key", error) : err;
    err = err == KITH_OK ? path_make(found->ca, folder, "ca", ".crt", error) : err;
    err = err == KITH_OK ? path_make(found->crl, folder, "crl", ".pem", error) : err;
    if (err != KITH_OK) {
        return err;
    }
    int cert = look(found->cert, F_OK), key = look(found->key, F_OK);
    bool cert_gone = cert == ENOENT || cert == ENOTDIR, key_gone = key == ENOENT || key == ENOTDIR;
    *ret_number = 0;
    if (cert_gone && key_gone) {
        return KITH_OK;
    }
    if (cert_gone || key_gone) {
        return missing(cert_gone ? found->cert : found->key, folder, word, error);
    }
    int numbers[] = {look(found->cert, R_OK), look(found->key, R_OK)};
    *ret_number = numbers[0] != 0 ? numbers[0] : numbers[1];
    if (*ret_number != 0) {
        return unreadable(numbers[0] != 0 ? found->cert : found->key, *ret_number, error);
    }
    if (look(found->ca, F_OK) == ENOENT) {
        return missing(found->ca, folder, word, error);
    }
    found->any = true;
    found->files = (struct kith_identity_files){.cert = found->cert, .key = found->key,
                                                .ca = found->ca, .crl = found->crl};
    if (look(found->crl, F_OK) == ENOENT) {
        found->files.crl = NULL;
    }
    return KITH_OK;
}

enum kith_err kith_identity_find_in(const char *folder, enum kith_cert_role wanted,
                                    struct kith_identity_found *ret_found, struct kith_error *error)
{
    const enum kith_cert_role roles[] = {
        wanted, wanted == KITH_CERT_ADMIN ? KITH_CERT_CLIENT : KITH_CERT_ADMIN};
    struct kith_error first = {.code = KITH_OK};
    ret_found->any = false;
    for (size_t i = 0; i < 2; i++) {
        int number = 0;
        enum kith_err err = find_pair(folder, roles[i], ret_found, &number, error);
        if (err != KITH_OK && number == 0) {
            return err;
        }
        if (ret_found->any) {
            return KITH_OK; /* what is another's, as an admin's key, is left to him */
        }
        if (err != KITH_OK && first.code == KITH_OK) {
            first = *error;
        }
    }
    if (first.code != KITH_OK) {
        *error = first;
    }
    return first.code;
}

/* ---- All ---- */

#define ENTRY_SIZE 16384u /* bytes of a user's line with its strings; a longer one says nothing */

/* The user's folder into path; false: nobody says where it is. A relative one counts for nothing, as the
 * XDG Base Directory Specification has it. mount(8), which runs as root for a user who may mount by fstab,
 * leaves his helper no HOME: the home is then what the system has for him. */
static bool user_folder(char path[PATH_MAX])
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    char entry[ENTRY_SIZE];
    struct passwd user, *there = NULL;
    int size = -1;
    if (!home && getpwuid_r(getuid(), &user, entry, sizeof entry, &there) == 0 && there) {
        home = user.pw_dir;
    }
    if (config && *config == '/') {
        size = snprintf(path, PATH_MAX, "%s/kithfs", config);
    } else if (home && *home == '/') {
        size = snprintf(path, PATH_MAX, "%s/.config/kithfs", home);
    }
    return size >= 0 && size < PATH_MAX;
}

enum kith_err kith_identity_find(enum kith_cert_role wanted, bool user,
                                 struct kith_identity_found *ret_found, struct kith_error *error)
{
    char folder[PATH_MAX];
    enum kith_err err = KITH_OK;
    if (find_environment(ret_found)) {
        return KITH_OK;
    }
    if (user && user_folder(folder)) {
        err = kith_identity_find_in(folder, wanted, ret_found, error);
    }
    return err == KITH_OK && !ret_found->any
               ? kith_identity_find_in(KITH_IDENTITY_FOLDER, wanted, ret_found, error)
               : err;
}
