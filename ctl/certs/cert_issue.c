/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cert_issue.c - kithctl init DIR, and cert node, admin and client: keys and certificates into a
 * folder that is then brought to the machine of who they are for. In it are, for each role under
 * the same names,
 *
 *     node.key, node.crt (or admin., client.)    his key and certificate
 *     ca.crt, crl.pem                            by which he checks others */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ctl/certs/ca_dir.h"
#include "ctl/certs/cert_issue.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "data/volume.h"
#include "tls/pem_file.h"

/* Where one holder's files are. */
struct place {
    char folder[PATH_MAX], key[PATH_MAX], cert[PATH_MAX], authority[PATH_MAX], list[PATH_MAX];
};

static enum kith_err place_make(const char *folder, enum kith_cert_role role,
                                struct place *ret_place, struct kith_error *error)
{
    char name[32];
    const char *word = kith_cert_role_name(role);
    (void)snprintf(ret_place->folder, sizeof ret_place->folder, "%s", folder);
    (void)snprintf(name, sizeof name, "%s.key", word);
    enum kith_err err = kith_ca_path(folder, name, ret_place->key, error);
    (void)snprintf(name, sizeof name, "%s.crt", word);
    err = err == KITH_OK ? kith_ca_path(folder, name, ret_place->cert, error) : err;
    err = err == KITH_OK ? kith_ca_path(folder, "ca.crt", ret_place->authority, error) : err;
    return err == KITH_OK ? kith_ca_path(folder, "crl.pem", ret_place->list, error) : err;
}

static enum kith_err make_folder(const char *path, mode_t mode, struct kith_error *error)
{
    if (mkdir(path, mode) == 0 || errno == EEXIST) {
        return KITH_OK;
    }
    return kith_error_set(error, errno == ENOENT ? KITH_ENOTFOUND : KITH_EIO, "cannot make %s: %s",
                          path, strerror(errno));
}

/* ---- What is asked for ---- */

static enum kith_err add_volume(struct kith_cert_grant *grant, uint32_t volume,
                                struct kith_error *error)
{
    if (kith_cert_has_volume(grant, volume)) {
        return KITH_OK; /* said twice */
    }
    if (grant->volume_count == KITH_CERT_VOLUMES_MAX) {
        return kith_error_set(error, KITH_EINVAL, "a certificate names at most %u volumes",
                              KITH_CERT_VOLUMES_MAX);
    }
    grant->volumes[grant->volume_count++] = volume;
    return KITH_OK;
}

/* A name, or a number: all digits (010 is 8 to some, and 10 to others), or 0x7. */
static enum kith_err take_volume(struct kith_cert_grant *grant, const char *text,
                                 struct kith_error *error)
{
    if (kith_volume_name_fits(text)) {
        return add_volume(grant, kith_volume_number(text), error);
    }
    if (strcmp(text, "kv") == 0) {
        enum kith_err err = add_volume(grant, KITH_VOLUME_KV, error);
        return err == KITH_OK ? add_volume(grant, KITH_VOLUME_KV_BUCKETS, error) : err;
    }
    char *end = NULL;
    errno = 0;
    bool hex = strncmp(text, "0x", 2) == 0 && text[2] != '\0';
    bool digits = hex || (*text >= '1' && *text <= '9');
    unsigned long long volume = digits ? strtoull(text, &end, hex ? 16 : 10) : 0;
    if (!end || *end || errno != 0 || volume < 1 || volume > UINT32_MAX ||
        volume == KITH_VOLUME_CLUSTER) {
        return kith_error_set(error, KITH_EINVAL,
                              "--volume: '%.64s' is no volume: a name, kv, or a number from 1 on",
                              text);
    }
    return add_volume(grant, (uint32_t)volume, error);
}

/* What the options say of a client; what was allowed before stays where they say nothing. */
static enum kith_err take_limits(const struct kith_ctl_args *args, struct kith_cert_grant *grant,
                                 struct kith_error *error)
{
    if (grant->role != KITH_CERT_CLIENT) {
        return KITH_OK;
    }
    grant->read_only = grant->read_only || kith_ctl_value(args, "read-only");
    if (args->many_count > 0) {
        grant->all_volumes = false;
        grant->volume_count = 0;
    }
    for (uint32_t i = 0; i < args->many_count; i++) {
        enum kith_err err = take_volume(grant, args->many[i], error);
        if (err != KITH_OK) {
            return err;
        }
    }
    return KITH_OK;
}

static enum kith_err days_of(const struct kith_ctl_args *args, uint32_t *ret_days,
                             struct kith_error *error)
{
    uint64_t days = KITH_CERT_DAYS_DEFAULT;
    enum kith_err err = kith_ctl_number(args, "days", 1, KITH_CERT_DAYS_MAX, &days, error);
    *ret_days = (uint32_t)days;
    return err;
}

/* ---- Issuing ---- */

/* What is there already must not be lost, nor another cluster's be mixed with it. */
static enum kith_err check_place(const struct place *place, const struct kith_ca_dir *ca,
                                 bool renew, struct kith_error *error)
{
    struct kith_buf other;
    if (!renew && access(place->key, F_OK) == 0) {
        return kith_error_set(
            error, KITH_EEXIST,
            "%s is there already, and stays as it is: --renew for a new certificate "
            "for it, another --out for a new key",
            place->key);
    }
    kith_buf_init(&other);
    enum kith_err err =
        kith_pem_read(place->authority, KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX, &other, error);
    if (err == KITH_OK && !kith_bytes_equal(kith_buf_bytes(&other), kith_buf_bytes(&ca->cert))) {
        err = kith_error_set(error, KITH_EEXIST,
                             "%s is that of another authority, and stays as it is: choose another "
                             "--out",
                             place->authority);
    }
    kith_buf_release(&other);
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* Whether this authority issued the certificate, for that key, and has not revoked it; what is allowed is
 * what the index says: the folder may have been in the hands of whom it confines. One that has ended
 * may be renewed. */
static enum kith_err believe_old(const struct place *place, const struct kith_ca_dir *ca,
                                 struct kith_bytes pem, struct kith_bytes key,
                                 struct kith_cert *old, struct kith_error *error)
{
    struct kith_trust *trust = NULL;
    int64_t now_s = (int64_t)time(NULL);
    int64_t at_s = now_s < old->not_after_s ? now_s : old->not_after_s;
    enum kith_err err =
        kith_trust_new(kith_buf_bytes(&ca->cert), kith_buf_bytes(&ca->list), &trust, error);
    if (err == KITH_OK) {
        err = kith_trust_check(trust, pem, at_s, old, error);
    }
    kith_trust_free(trust);
    if (err == KITH_OK) {
        err = kith_cert_match(pem, key, error);
    }
    if (err != KITH_OK) {
        return kith_error_wrap(error, "%s cannot be renewed", place->cert);
    }
    for (size_t i = 0; i < ca->count; i++) {
        if (strcmp(ca->entries[i].cert.serial, old->serial) == 0) {
            old->grant = ca->entries[i].cert.grant;
            return KITH_OK;
        }
    }
    return kith_error_set(error, KITH_EPERM,
                          "%s cannot be renewed: %s/index does not name its serial number %s; issue a "
                          "new one with another --out",
                          place->cert, ca->path, old->serial);
}

static bool same_limits(const struct kith_cert_grant *a, const struct kith_cert_grant *b)
{
    return a->read_only == b->read_only && a->all_volumes == b->all_volumes &&
           a->volume_count == b->volume_count &&
           memcmp(a->volumes, b->volumes, a->volume_count * sizeof a->volumes[0]) == 0;
}

/* For a key whose certificate is missing, as after a crash between the two: what the index says of
 * that role and name, where it says one thing. */
static enum kith_err find_old(const struct place *place, const struct kith_ca_dir *ca,
                              struct kith_cert_grant *grant, struct kith_error *error)
{
    const struct kith_cert_grant *found = NULL;
    for (size_t i = 0; i < ca->count; i++) {
        const struct kith_ca_entry *entry = &ca->entries[i];
        if (entry->revoked || entry->cert.grant.role != grant->role ||
            strcmp(entry->cert.grant.name, grant->name) != 0) {
            continue;
        }
        if (found && !same_limits(found, &entry->cert.grant)) {
            found = NULL;
            break;
        }
        found = &entry->cert.grant;
    }
    if (!found) {
        return kith_error_set(
            error, KITH_EPERM,
            "%s is missing, and %s/index does not say what %s '%s' may do: issue a "
            "new one with another --out, or remove %s",
            place->cert, ca->path, kith_cert_role_name(grant->role), grant->name, place->key);
    }
    *grant = *found;
    return KITH_OK;
}

/* The key that is to be kept, and what its holder was allowed. */
static enum kith_err read_old(const struct place *place, const struct kith_ca_dir *ca,
                              struct kith_buf *key, struct kith_cert_grant *grant,
                              struct kith_error *error)
{
    struct kith_buf pem;
    struct kith_cert old;
    kith_buf_init(&pem);
    enum kith_err err = kith_pem_read(place->key, KITH_PEM_SECRET, KITH_CERT_PEM_MAX, key, error);
    if (err == KITH_OK) {
        err = kith_pem_read(place->cert, KITH_PEM_PUBLIC, KITH_CERT_PEM_MAX, &pem, error);
        if (err == KITH_ENOTFOUND) {
            kith_buf_release(&pem);
            return find_old(place, ca, grant, error);
        }
    }
    if (err == KITH_OK) {
        err = kith_cert_read(kith_buf_bytes(&pem), &old, error);
        if (err != KITH_OK) {
            (void)kith_error_wrap(error, "%s", place->cert);
        }
    }
    if (err == KITH_OK) {
        err = believe_old(place, ca, kith_buf_bytes(&pem), kith_buf_bytes(key), &old, error);
    }
    if (err == KITH_OK &&
        (old.grant.role != grant->role || strcmp(old.grant.name, grant->name) != 0)) {
        err = kith_error_set(error, KITH_EINVAL, "%s is %s '%s', not %s '%s'", place->cert,
                             kith_cert_role_name(old.grant.role), old.grant.name,
                             kith_cert_role_name(grant->role), grant->name);
    }
    if (err == KITH_OK) {
        *grant = old.grant;
    }
    kith_buf_release(&pem);
    return err;
}

static enum kith_err write_place(const struct place *place, const struct kith_ca_dir *ca,
                                 const struct kith_buf *key, const struct kith_buf *cert,
                                 struct kith_error *error)
{
    enum kith_err err = KITH_OK;
    if (key->size > 0) { /* the key first: a certificate without one is of no use to anybody */
        err = kith_pem_write(place->key, KITH_PEM_SECRET, kith_buf_bytes(key), error);
    }
    if (err == KITH_OK) {
        err = kith_pem_replace(place->cert, KITH_PEM_PUBLIC, kith_buf_bytes(cert), error);
    }
    if (err == KITH_OK) {
        err = kith_pem_replace(place->authority, KITH_PEM_PUBLIC, kith_buf_bytes(&ca->cert), error);
    }
    return err == KITH_OK
               ? kith_pem_replace(place->list, KITH_PEM_PUBLIC, kith_buf_bytes(&ca->list), error)
               : err;
}

static enum kith_err issue_into(struct kith_ca_dir *ca, const struct place *place,
                                const struct kith_cert_grant *grant, uint32_t days,
                                struct kith_bytes old_key, struct kith_cert *ret_cert,
                                struct kith_error *error)
{
    struct kith_buf key, cert;
    kith_buf_init(&key);
    kith_buf_init(&cert);
    enum kith_err err = kith_ca_dir_issue(ca, grant, days, (int64_t)time(NULL), old_key, &key,
                                          &cert, ret_cert, error);
    if (err == KITH_OK) {
        err = write_place(place, ca, &key, &cert, error);
    }
    kith_pem_wipe(&key);
    kith_buf_release(&cert);
    return err;
}

static void print_text(const struct place *place, const struct kith_cert *cert)
{
    char until[KITH_FORMAT_SIZE];
    kith_format_time((uint64_t)cert->not_after_s * 1000u, until);
    (void)printf("Issued %s '%s', valid until %.10s, serial number %s:\n"
                 "  %s   (secret)\n  %s\n  %s\n  %s\n",
                 kith_cert_role_name(cert->grant.role), cert->grant.name, until, cert->serial,
                 place->key, place->cert, place->authority, place->list);
}

static json_t *cert_json(const struct place *place, const struct kith_cert *cert)
{
    char until[KITH_FORMAT_SIZE];
    kith_format_time((uint64_t)cert->not_after_s * 1000u, until);
    json_t *rest = json_pack("{s:s, s:s, s:s, s:s}", "role", kith_cert_role_name(cert->grant.role),
                             "name", cert->grant.name, "serial", cert->serial, "until", until);
    rest = kith_json_named("crl", place->list, rest); /* each puts its own before the rest */
    rest = kith_json_named("ca", place->authority, rest);
    rest = kith_json_named("cert", place->cert, rest);
    return kith_json_named("key", place->key, rest);
}

static int issue(const struct kith_ctl_args *args, enum kith_cert_role role)
{
    const char *name = args->positional[0], *out = kith_ctl_value(args, "out"),
               *ca_path = kith_ctl_value(args, "ca");
    bool renew = kith_ctl_value(args, "renew") != NULL;
    struct kith_cert_grant grant = {.role = role, .all_volumes = true};
    struct kith_ca_dir ca;
    struct kith_cert cert;
    struct kith_buf old_key;
    struct kith_error error;
    struct place place;
    uint32_t days = 0;
    (void)snprintf(grant.name, sizeof grant.name, "%s", name);
    if (!kith_cert_name_fits(name)) {
        (void)kith_error_set(
            &error, KITH_EINVAL,
            "a name has 1 to %u letters, digits and . _ - @, and begins with none of "
            ". -",
            KITH_CERT_NAME_MAX);
        return kith_ctl_usage(args, &error);
    }
    if (days_of(args, &days, &error) != KITH_OK || take_limits(args, &grant, &error) != KITH_OK ||
        place_make(out ? out : name, role, &place, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    kith_buf_init(&old_key);
    enum kith_err err =
        kith_ca_dir_open(ca_path ? ca_path : KITH_CA_DIR_DEFAULT, true, &ca, &error);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    err = renew ? read_old(&place, &ca, &old_key, &grant, &error) : KITH_OK;
    err = err == KITH_OK ? take_limits(args, &grant, &error) : err;
    err = err == KITH_OK ? check_place(&place, &ca, renew, &error) : err;
    bool made = err == KITH_OK && access(place.folder, F_OK) != 0;
    err = err == KITH_OK ? make_folder(place.folder, 0700, &error) : err;
    if (err == KITH_OK) {
        err = issue_into(&ca, &place, &grant, days, kith_buf_bytes(&old_key), &cert, &error);
    }
    if (err != KITH_OK && made) {
        (void)rmdir(place.folder); /* where there is nothing in it */
    }
    kith_pem_wipe(&old_key);
    kith_ca_dir_close(&ca);
    if (err == KITH_OK && args->json) {
        err = kith_json_print(cert_json(&place, &cert), &error);
    } else if (err == KITH_OK) {
        print_text(&place, &cert);
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

int kith_ctl_cert_node(const struct kith_ctl_args *args)
{
    return issue(args, KITH_CERT_NODE);
}

int kith_ctl_cert_admin(const struct kith_ctl_args *args)
{
    return issue(args, KITH_CERT_ADMIN);
}

int kith_ctl_cert_client(const struct kith_ctl_args *args)
{
    return issue(args, KITH_CERT_CLIENT);
}

/* ---- init DIR ---- */

/* What the cluster's name and its first node's are; both must fit a certificate. */
static enum kith_err names_of(const struct kith_ctl_args *args, const char **ret_cluster,
                              char node[KITH_CERT_NAME_SIZE], struct kith_error *error)
{
    static const char *const others[] = {"partitions", "replicas", "zone", "weight"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (kith_ctl_value(args, others[i])) {
            return kith_error_set(error, KITH_EINVAL, "--%s goes with 'init NODE'", others[i]);
        }
    }
    const char *by_name = kith_ctl_value(args, "name"), *cluster = kith_ctl_value(args, "cluster"),
               *given = kith_ctl_value(args, "node");
    char host[256] = "";
    if (by_name && cluster) {
        return kith_error_set(error, KITH_EINVAL, "--name and --cluster are the same");
    }
    *ret_cluster = by_name ? by_name : cluster ? cluster : "kith";
    if (!given && gethostname(host, sizeof host - 1) != 0) {
        return kith_error_set(error, KITH_EINVAL, "this machine has no name: --node gives one");
    }
    (void)snprintf(node, KITH_CERT_NAME_SIZE, "%.*s", (int)KITH_CERT_NAME_MAX,
                   given ? given : host);
    if (!kith_cert_name_fits(given ? given : host) || !kith_cert_name_fits(*ret_cluster)) {
        bool bad_node = kith_cert_name_fits(*ret_cluster);
        return kith_error_set(error, KITH_EINVAL,
                              "the %s's name%s has 1 to %u letters, digits and . _ - @, and begins "
                              "with none of . -",
                              bad_node ? "node" : "cluster", bad_node ? " (--node)" : "",
                              KITH_CERT_NAME_MAX);
    }
    return KITH_OK;
}

static enum kith_err init_issue(struct kith_ca_dir *ca, const char *folder, const char *node,
                                uint32_t days, struct place places[2], struct kith_cert certs[2],
                                struct kith_error *error)
{
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN};
    enum kith_err err = KITH_OK;
    for (size_t i = 0; i < 2 && err == KITH_OK; i++) {
        struct kith_cert_grant grant = {.role = roles[i], .all_volumes = true};
        (void)snprintf(grant.name, sizeof grant.name, "%s", i == 0 ? node : "admin");
        err = place_make(folder, roles[i], &places[i], error);
        err = err == KITH_OK ? check_place(&places[i], ca, false, error) : err;
        if (err == KITH_OK) {
            err = issue_into(ca, &places[i], &grant, days, kith_bytes_make(NULL, 0), &certs[i],
                             error);
        }
    }
    return err;
}

/* Before there is an authority, so that nothing is left where this cannot work. */
static enum kith_err init_check(const char *folder, struct kith_error *error)
{
    static const char *const names[] = {"node.key", "admin.key", "ca.crt"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[PATH_MAX];
        enum kith_err err = kith_ca_path(folder, names[i], path, error);
        if (err != KITH_OK) {
            return err;
        }
        if (access(path, F_OK) == 0) {
            return kith_error_set(error, KITH_EEXIST,
                                  "%s is there already, and stays as it is: certificates come from "
                                  "'kithctl cert'",
                                  path);
        }
    }
    return KITH_OK;
}

static enum kith_err init_make(const char *folder, const char *cluster, const char *node,
                               uint32_t days, struct place places[2], struct kith_cert certs[2],
                               struct kith_error *error)
{
    char ca_path[PATH_MAX];
    struct kith_ca_dir ca;
    enum kith_err err = kith_ca_path(folder, "ca", ca_path, error);
    err = err == KITH_OK ? init_check(folder, error) : err;
    err = err == KITH_OK ? make_folder(folder, 0755, error) : err;
    if (err == KITH_OK) {
        err = kith_ca_dir_make(ca_path, cluster, KITH_AUTHORITY_DAYS_DEFAULT, (int64_t)time(NULL),
                               error);
    }
    err = err == KITH_OK ? kith_ca_dir_open(ca_path, true, &ca, error) : err;
    if (err == KITH_OK) {
        err = init_issue(&ca, folder, node, days, places, certs, error);
        kith_ca_dir_close(&ca);
    }
    return err;
}

enum kith_err kith_cert_folder_make(const char *folder, const char *cluster, const char *node,
                                    struct kith_error *error)
{
    struct place places[2];
    struct kith_cert certs[2];
    return init_make(folder, cluster, node, KITH_CERT_DAYS_DEFAULT, places, certs, error);
}

int kith_ctl_init_dir(const struct kith_ctl_args *args)
{
    const char *folder = args->positional[0], *cluster = NULL;
    char node[KITH_CERT_NAME_SIZE], ca_path[PATH_MAX];
    struct place places[2];
    struct kith_cert certs[2];
    struct kith_error error;
    uint32_t days = 0;
    if (names_of(args, &cluster, node, &error) != KITH_OK ||
        days_of(args, &days, &error) != KITH_OK ||
        kith_ca_path(folder, "ca", ca_path, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    enum kith_err err = init_make(folder, cluster, node, days, places, certs, &error);
    if (err == KITH_OK && args->json) {
        json_t *rest =
            json_pack("{s:s, s:o, s:o}", "cluster", cluster, "node",
                      cert_json(&places[0], &certs[0]), "admin", cert_json(&places[1], &certs[1]));
        err = kith_json_print(kith_json_named("authority", ca_path, rest), &error);
    } else if (err == KITH_OK) {
        (void)printf(
            "Made the authority of the cluster '%s' in %s. Who has its key can be anybody in "
            "the\ncluster: keep the folder from others, and a copy in a safe place.\n",
            cluster, ca_path);
        print_text(&places[0], &certs[0]);
        print_text(&places[1], &certs[1]);
        (void)printf("For other nodes: kithctl cert node NAME --ca %s\n", ca_path);
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
