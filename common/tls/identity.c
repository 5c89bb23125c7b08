/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tls/identity.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "tls/pem_file.h"

#define FILES 5u /* certificate, key, authorities, lists, lists that were sent */
#define WANTED 3u /* of them must be named */
#define WARN_FIRST_MS 3000u /* whose work is done by then need not warn anybody */
#define WARN_MS       86400000u

/* By which a changed file is told: a rename changes the inode, a write the time. */
struct state {
    struct {
        uint64_t device, inode;
        int64_t size, changed_s, changed_ns;
    } files[FILES];
};

struct kith_follow {
    char *paths[FILES]; /* the last two may be NULL */
    pthread_mutex_t lock;
    struct kith_identity *current; /* protected by lock; changed by who looks alone */
    /* all below: of who looks */
    struct state taken; /* of `current` */
    struct state seen;  /* when they were looked at last */
    struct state told;  /* what the log was told to be unsound */
    uint64_t looked_ms;
    uint64_t warn_ms; /* when the log is to hear next that the certificate ends soon */
};

struct kith_identity *kith_identity_hold(struct kith_identity *identity)
{
    __atomic_add_fetch(&identity->refs, 1, __ATOMIC_RELAXED);
    return identity;
}

void kith_identity_drop(struct kith_identity *identity)
{
    if (!identity || __atomic_sub_fetch(&identity->refs, 1, __ATOMIC_ACQ_REL) != 0) {
        return;
    }
    if (identity->key_pem) {
        OPENSSL_cleanse(identity->key_pem, strlen(identity->key_pem));
    }
    kith_free(identity->cert_pem);
    kith_free(identity->key_pem);
    kith_free(identity->ca_pem);
    kith_trust_free(identity->trust);
    kith_free(identity);
}

static void look(const struct kith_follow *follow, struct state *ret_state)
{
    memset(ret_state, 0, sizeof *ret_state);
    for (size_t i = 0; i < FILES; i++) {
        struct stat stat_buf;
        if (follow->paths[i] && stat(follow->paths[i], &stat_buf) == 0) {
            ret_state->files[i].device = stat_buf.st_dev;
            ret_state->files[i].inode = stat_buf.st_ino;
            ret_state->files[i].size = stat_buf.st_size;
            ret_state->files[i].changed_s = stat_buf.st_ctim.tv_sec;
            ret_state->files[i].changed_ns = stat_buf.st_ctim.tv_nsec;
        }
    }
}

static bool same(const struct state *a, const struct state *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* The file as a text. */
static enum kith_err read_text(const char *path, enum kith_pem_kind kind, size_t max,
                               char **ret_text, size_t *ret_size, struct kith_error *error)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    enum kith_err err = kith_pem_read(path, kind, max, &buf, error);
    if (err == KITH_OK) {
        *ret_size = buf.size;
        kith_buf_put_u8(&buf, 0);
        *ret_text = kith_malloc(buf.size);
        if (buf.failed || !*ret_text) {
            err = kith_error_set(error, KITH_ENOMEM, "no memory for %s", path);
        } else if (memchr(buf.data, 0, *ret_size)) {
            err = kith_error_set(error, KITH_EFORMAT,
                                 "%s is no PEM file: there is a zero byte in it", path);
        } else {
            memcpy(*ret_text, buf.data, buf.size);
        }
    }
    kith_pem_wipe(&buf);
    return err;
}

/* `lists`: those of both files, the one's first, of sizes[3] bytes. */
static enum kith_err check(const struct kith_follow *follow, struct kith_identity *identity,
                           size_t sizes[FILES], struct kith_bytes lists, struct kith_error *error)
{
    struct kith_bytes cert = kith_bytes_make(identity->cert_pem, sizes[0]);
    struct kith_bytes ca = kith_bytes_make(identity->ca_pem, sizes[2]);
    enum kith_err err = kith_trust_new(ca, lists, &identity->trust, error);
    if ((err == KITH_EPERM || err == KITH_ETOOBIG) && lists.size > sizes[3]) {
        lists.size = sizes[3];
        err = kith_trust_new(ca, lists, &identity->trust, error);
        if (err == KITH_OK) {
            kith_log_warn("tls", "%s is passed over: it is of another authority, or too large",
                          follow->paths[4]);
        }
    }
    if (err != KITH_OK) {
        (void)kith_error_wrap(error, "%s%s%s", follow->paths[2], lists.size > 0 ? ", " : "",
                              lists.size > 0 ? follow->paths[3] : "");
        return err;
    }
    err = kith_cert_match(cert, kith_bytes_make(identity->key_pem, sizes[1]), error);
    if (err != KITH_OK) {
        (void)kith_error_wrap(error, "%s, %s", follow->paths[0], follow->paths[1]);
        return err;
    }
    err = kith_trust_check(identity->trust, cert, (int64_t)time(NULL), &identity->own, error);
    if (err != KITH_OK) {
        (void)kith_error_wrap(error, "%s", follow->paths[0]);
    }
    return err;
}

/* The lists of both files, one behind the other; *ret_own: the size of the first part. */
static enum kith_err read_lists(const struct kith_follow *follow, struct kith_buf *lists,
                                size_t *ret_own, struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    for (size_t i = WANTED; i < FILES && err == KITH_OK; i++) {
        char *text = NULL;
        size_t size = 0;
        if (follow->paths[i]) {
            err = read_text(follow->paths[i], KITH_PEM_PUBLIC, KITH_CRL_PEM_MAX, &text, &size, error);
        }
        if (err == KITH_ENOTFOUND && i > WANTED) {
            err = KITH_OK; /* none was sent yet */
        } else if (err == KITH_OK && follow->paths[i] && size == 0) {
            /* cut off: the list of nothing is a list, too */
            err = kith_error_set(error, KITH_EFORMAT, "%s is empty", follow->paths[i]);
        }
        kith_buf_put(lists, text, size);
        kith_buf_put(lists, "\n", size > 0 ? 1 : 0);
        *ret_own = i == WANTED ? lists->size : *ret_own;
        kith_free(text);
    }
    return err == KITH_OK && lists->failed ? kith_error_set(error, KITH_ENOMEM, "out of memory")
                                           : err;
}

static enum kith_err load(const struct kith_follow *follow, struct kith_identity **ret_identity,
                          struct kith_error *error)
{
    struct kith_identity *identity = kith_calloc(1, sizeof *identity);
    if (!identity) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    size_t sizes[FILES] = {0};
    struct kith_buf lists;
    kith_buf_init(&lists);
    identity->refs = 1;
    enum kith_err err = read_text(follow->paths[0], KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX,
                                  &identity->cert_pem, &sizes[0], error);
    if (err == KITH_OK) {
        err = read_text(follow->paths[1], KITH_PEM_SECRET, KITH_CERT_PEM_MAX, &identity->key_pem,
                        &sizes[1], error);
    }
    if (err == KITH_OK) {
        err = read_text(follow->paths[2], KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX, &identity->ca_pem,
                        &sizes[2], error);
    }
    if (err == KITH_OK) {
        err = read_lists(follow, &lists, &sizes[3], error);
    }
    if (err == KITH_OK) {
        err = check(follow, identity, sizes, kith_buf_bytes(&lists), error);
    }
    kith_buf_release(&lists);
    if (err != KITH_OK) {
        kith_identity_drop(identity);
        return err;
    }
    *ret_identity = identity;
    return KITH_OK;
}

enum kith_err kith_follow_new(const struct kith_identity_files *files,
                              struct kith_follow **ret_follow, struct kith_error *error)
{
    const char *const paths[FILES] = {files->cert, files->key, files->ca, files->crl, files->sent};
    struct kith_follow *follow = kith_calloc(1, sizeof *follow);
    if (!follow) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    pthread_mutex_init(&follow->lock, NULL);
    enum kith_err err = KITH_OK;
    for (size_t i = 0; i < FILES && err == KITH_OK; i++) {
        if (!paths[i] && i < WANTED) {
            err = kith_error_set(error, KITH_EINVAL, "certificate, key and authority go together");
        } else if (paths[i]) {
            follow->paths[i] = kith_strdup(paths[i]);
            err = follow->paths[i] ? KITH_OK : kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
    }
    if (err == KITH_OK) {
        look(follow, &follow->taken); /* before: what changes meanwhile is looked at again */
        follow->seen = follow->taken;
        err = load(follow, &follow->current, error);
    }
    if (err != KITH_OK) {
        kith_follow_free(follow);
        return err;
    }
    follow->current->edition = 1;
    follow->looked_ms = kith_mono_ms();
    follow->warn_ms = follow->looked_ms + WARN_FIRST_MS;
    *ret_follow = follow;
    return KITH_OK;
}

void kith_follow_free(struct kith_follow *follow)
{
    if (!follow) {
        return;
    }
    kith_identity_drop(follow->current);
    for (size_t i = 0; i < FILES; i++) {
        kith_free(follow->paths[i]);
    }
    pthread_mutex_destroy(&follow->lock);
    kith_free(follow);
}

/* Whether `next` may take the place of what is in use. */
static enum kith_err may_follow(const struct kith_follow *follow, const struct kith_identity *next,
                                struct kith_error *error)
{
    const struct kith_cert *now = &follow->current->own, *then = &next->own;
    if (now->grant.role != then->grant.role || strcmp(now->cluster, then->cluster) != 0) {
        return kith_error_set(
            error, KITH_EPERM,
            "%s: it is for %s '%s' of the cluster '%s', and the one in use is %s's of '%s': who "
            "means that starts anew",
            follow->paths[0], kith_cert_role_name(then->grant.role), then->grant.name,
            then->cluster, kith_cert_role_name(now->grant.role), now->cluster);
    }
    enum kith_err err = kith_trust_follows(next->trust, follow->current->trust, error);
    if (err != KITH_OK) {
        (void)kith_error_wrap(error, "%s", follow->paths[3] ? follow->paths[3] : "no list");
    }
    return err;
}

/* What the files hold takes the place of what is in use. */
static enum kith_err take(struct kith_follow *follow, const struct state *now,
                          struct kith_error *error)
{
    struct kith_identity *next = NULL;
    enum kith_err err = load(follow, &next, error);
    if (err == KITH_OK) {
        err = may_follow(follow, next, error);
    }
    if (err == KITH_OK) {
        struct kith_identity *last = follow->current;
        next->edition = last->edition + 1;
        kith_log_info("tls", "taken: the certificate of %s '%s' (serial number %s) from %s",
                      kith_cert_role_name(next->own.grant.role), next->own.grant.name,
                      next->own.serial, follow->paths[0]);
        pthread_mutex_lock(&follow->lock);
        follow->current = next;
        pthread_mutex_unlock(&follow->lock);
        kith_identity_drop(last);
        follow->taken = *now;
        follow->warn_ms = 0;
        return KITH_OK;
    }
    kith_identity_drop(next);
    return err;
}

/* The files are not those that were taken. `settled`: nor have they changed since the last look. */
static void take_new(struct kith_follow *follow, const struct state *now, bool settled)
{
    struct kith_error error;
    if (take(follow, now, &error) != KITH_OK && settled && !same(now, &follow->told)) {
        follow->told = *now;
        kith_log_error("tls", "new certificates are not taken, the old ones stay in use: %s",
                       error.message);
    }
}

/* Once a day, while the certificate in use has little time left, or none. */
static void warn_end(struct kith_follow *follow, uint64_t now_ms)
{
    const struct kith_cert *own = &follow->current->own;
    int64_t left_s = own->not_after_s - (int64_t)time(NULL);
    if (now_ms < follow->warn_ms || left_s > KITH_IDENTITY_SOON_S) {
        return;
    }
    follow->warn_ms = now_ms + WARN_MS;
    if (left_s < 0) {
        kith_log_error("tls",
                       "the certificate of %s '%s' in %s has expired: nobody new talks to us; "
                       "'kithctl cert %s %s --renew' makes a new one",
                       kith_cert_role_name(own->grant.role), own->grant.name, follow->paths[0],
                       kith_cert_role_name(own->grant.role), own->grant.name);
    } else {
        kith_log_warn("tls",
                      "the certificate of %s '%s' in %s ends in %lld %s: 'kithctl cert %s %s "
                      "--renew' makes a new one",
                      kith_cert_role_name(own->grant.role), own->grant.name, follow->paths[0],
                      (long long)(left_s < 2 * 86400 ? left_s / 3600 : left_s / 86400),
                      left_s < 2 * 86400 ? "hours" : "days", kith_cert_role_name(own->grant.role),
                      own->grant.name);
    }
}

struct kith_identity *kith_follow_take(struct kith_follow *follow)
{
    pthread_mutex_lock(&follow->lock);
    struct kith_identity *identity = kith_identity_hold(follow->current);
    pthread_mutex_unlock(&follow->lock);
    return identity;
}

void kith_follow_look(struct kith_follow *follow)
{
    uint64_t now_ms = kith_mono_ms();
    struct state now;
    if (now_ms - follow->looked_ms < KITH_IDENTITY_LOOK_MS) {
        return;
    }
    follow->looked_ms = now_ms;
    look(follow, &now);
    if (!same(&now, &follow->taken)) {
        take_new(follow, &now, same(&now, &follow->seen));
    }
    follow->seen = now;
    warn_end(follow, now_ms);
}

/* ---- Lists that are sent ---- */

/* As kith_follow_list says of one that is taken. */
static enum kith_err list_check(const struct kith_follow *follow, struct kith_bytes pem,
                                struct kith_error *error)
{
    const struct kith_identity *now = follow->current;
    struct kith_trust *trust = NULL;
    if (pem.size == 0 || memchr(pem.data, 0, pem.size)) { /* as a file it would not be read */
        return kith_error_set(error, KITH_EFORMAT, "there is no list of revoked certificates in it");
    }
    enum kith_err err =
        kith_trust_new(kith_bytes_make(now->ca_pem, strlen(now->ca_pem)), pem, &trust, error);
    if (err == KITH_OK) {
        err = kith_trust_follows(trust, now->trust, error);
    }
    kith_trust_free(trust);
    return err;
}

enum kith_err kith_follow_list(struct kith_follow *follow, struct kith_bytes pem,
                               struct kith_error *error)
{
    const char *path = follow->paths[4];
    struct state now;
    if (!path) {
        return kith_error_set(error, KITH_EINVAL, "no list is kept here");
    }
    enum kith_err err = list_check(follow, pem, error);
    if (err == KITH_OK) {
        err = kith_pem_replace(path, KITH_PEM_PUBLIC, pem, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    look(follow, &now);
    err = take(follow, &now, error);
    follow->seen = now;
    return err == KITH_OK ? err : kith_error_wrap(error, "the list is stored, but not in use");
}
