/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * cert_list.c - kithctl cert list and revoke: what an authority has issued, and taking it back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "ctl/certs/ca_dir.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "data/volume.h"
#include "text/columns.h"

#define SOON_S        (30 * 86400) /* time enough to renew by hand */
#define PREFIX_MIN    8u           /* digits of a serial number: two are alike once in 4 billion */
#define SERIAL_DIGITS 32u          /* of those that our authorities give */

static const char *ca_of(const struct kith_ctl_args *args)
{
    const char *path = kith_ctl_value(args, "ca");
    return path ? path : KITH_CA_DIR_DEFAULT;
}

static void warn_unread(const struct kith_ctl_args *args, const struct kith_ca_dir *ca)
{
    if (ca->unread > 0) {
        kith_report_warning(
            args->json,
            "%s/index: %zu line(s) cannot be read and are passed over; a certificate "
            "that is missing here can be revoked by its whole serial number",
            ca->path, ca->unread);
    }
    if (ca->unlisted > 0) {
        kith_report_warning(
            args->json,
            "%s/crl.pem does not revoke %zu certificate(s) that were revoked: it is "
            "older than the index; the next 'kithctl cert revoke' mends that",
            ca->path, ca->unlisted);
    }
}

/* ---- list ---- */

static const char *state_of(const struct kith_ca_entry *entry, int64_t now_s,
                            enum kith_colour *ret_colour)
{
    *ret_colour = KITH_COLOUR_NONE;
    if (entry->revoked) {
        return "revoked";
    }
    if (entry->cert.not_after_s < now_s) {
        return "expired";
    }
    if (entry->cert.not_after_s - now_s < SOON_S) {
        *ret_colour = KITH_COLOUR_WARN;
        return "soon";
    }
    *ret_colour = KITH_COLOUR_GOOD;
    return "valid";
}

/* "all", or names and numbers; cut with an ellipsis where there are many. */
static void volumes_text(const struct kith_cert_grant *grant, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "%s", grant->all_volumes ? "all" : "");
    for (uint32_t i = 0; i < grant->volume_count && !grant->all_volumes; i++) {
        uint32_t volume = grant->volumes[i];
        if (volume == KITH_VOLUME_KV_BUCKETS && kith_cert_has_volume(grant, KITH_VOLUME_KV)) {
            continue; /* 'kv' is both */
        }
        char word[KITH_VOLUME_TEXT_SIZE];
        kith_volume_text(volume, word);
        if (at + strlen(word) + 5 > size) {
            (void)snprintf(text + at, size - at, "...");
            return;
        }
        at += (size_t)snprintf(text + at, size - at, "%s%s", at > 0 ? "," : "", word);
    }
}

static enum kith_err list_text(const struct kith_ca_dir *ca, int64_t now_s,
                               struct kith_error *error)
{
    static const char *const heads[] = {"STATE",  "ROLE", "NAME",  "VOLUMES",
                                        "ACCESS", "ENDS", "SERIAL"};
    struct kith_columns columns;
    uint64_t soon = 0;
    kith_columns_init(&columns, heads, sizeof(heads) / sizeof(heads[0]));
    for (size_t i = 0; i < ca->count; i++) {
        const struct kith_cert *cert = &ca->entries[i].cert;
        int64_t left_s = cert->not_after_s - now_s;
        enum kith_colour colour;
        char volumes[48], age[KITH_FORMAT_SIZE], ends[KITH_FORMAT_SIZE + 8];
        const char *state = state_of(&ca->entries[i], now_s, &colour);
        soon += strcmp(state, "soon") == 0 ? 1 : 0;
        volumes_text(&cert->grant, volumes, sizeof volumes);
        kith_format_age((uint64_t)(left_s < 0 ? -left_s : left_s) * 1000u, age);
        (void)snprintf(ends, sizeof ends, left_s < 0 ? "%s ago" : "in %s", age);
        const char *cells[] = {state,
                               kith_cert_role_name(cert->grant.role),
                               cert->grant.name,
                               volumes,
                               cert->grant.read_only ? "read-only" : "read-write",
                               ends,
                               cert->serial};
        kith_columns_add(&columns, colour, cells);
    }
    (void)printf("Authority of the cluster '%s' in %s\n", ca->cluster, ca->path);
    bool good = kith_columns_print(&columns, stdout, kith_colours_shown(stdout));
    kith_columns_release(&columns);
    if (!good) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (soon > 0) {
        (void)printf("%llu end within 30 days. Renew: kithctl cert ROLE NAME --renew\n",
                     (unsigned long long)soon);
    }
    return KITH_OK;
}

static json_t *entry_json(const struct kith_ca_entry *entry, int64_t now_s)
{
    const struct kith_cert *cert = &entry->cert;
    enum kith_colour colour;
    char from[KITH_FORMAT_SIZE], until[KITH_FORMAT_SIZE];
    kith_format_time((uint64_t)cert->not_before_s * 1000u, from);
    kith_format_time((uint64_t)cert->not_after_s * 1000u, until);
    json_t *volumes = cert->grant.all_volumes ? json_string("all") : json_array();
    for (uint32_t i = 0; i < cert->grant.volume_count; i++) {
        (void)json_array_append_new(volumes, json_integer((json_int_t)cert->grant.volumes[i]));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:b, s:s, s:s}", "state",
                     state_of(entry, now_s, &colour), "role", kith_cert_role_name(cert->grant.role),
                     "name", cert->grant.name, "serial", cert->serial, "volumes", volumes,
                     "read_only", cert->grant.read_only ? 1 : 0, "from", from, "until", until);
}

static enum kith_err list_json(const struct kith_ca_dir *ca, int64_t now_s,
                               struct kith_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ca->count; i++) {
        (void)json_array_append_new(list, entry_json(&ca->entries[i], now_s)); /* counted below */
    }
    if (json_array_size(list) != ca->count) {
        json_decref(list);
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    return kith_json_print(json_pack("{s:s, s:o}", "cluster", ca->cluster, "certificates", list),
                           error);
}

int kith_ctl_cert_list(const struct kith_ctl_args *args)
{
    struct kith_ca_dir ca;
    struct kith_error error;
    int64_t now_s = (int64_t)time(NULL);
    enum kith_err err = kith_ca_dir_open(ca_of(args), false, &ca, &error);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    warn_unread(args, &ca);
    err = args->json ? list_json(&ca, now_s, &error) : list_text(&ca, now_s, &error);
    kith_ca_dir_close(&ca);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

/* ---- revoke ---- */

/* Which entries are meant: those of that name, else the one of that serial number. serials[] has
 * room for all. */
static enum kith_err choose(const struct kith_ca_dir *ca, const char *wanted, const char *serials[],
                            uint32_t *ret_count, struct kith_error *error)
{
    uint32_t count = 0, known = 0, like = 0;
    size_t size = strlen(wanted);
    for (size_t i = 0; i < ca->count; i++) {
        const struct kith_ca_entry *entry = &ca->entries[i];
        if (strcmp(entry->cert.grant.name, wanted) == 0) {
            known++;
            serials[count] = entry->cert.serial;
            count += entry->revoked ? 0 : 1;
        }
    }
    bool digits = size >= PREFIX_MIN && strspn(wanted, "0123456789abcdef") == size;
    for (size_t i = 0; known == 0 && digits && i < ca->count; i++) {
        const struct kith_ca_entry *entry = &ca->entries[i];
        if (strncmp(entry->cert.serial, wanted, size) == 0) {
            like++;
            serials[0] = entry->cert.serial;
            count = entry->revoked ? 0 : 1;
        }
    }
    if (like > 1) {
        return kith_error_set(error, KITH_EINVAL,
                              "%u serial numbers begin with %s: give more of it", like, wanted);
    }
    if (known + like == 0 && digits && size == SERIAL_DIGITS) {
        serials[count++] = wanted; /* it is missing in the index, which may have been lost */
    } else if (known + like == 0) {
        return kith_error_set(
            error, KITH_ENOTFOUND,
            "no certificate of the name or serial number '%.64s' was issued here: "
            "'kithctl cert list' shows them",
            wanted);
    }
    *ret_count = count;
    return KITH_OK;
}

static enum kith_err tell(const struct kith_ctl_args *args, const struct kith_ca_dir *ca,
                          const char *const serials[], uint32_t count, struct kith_error *error)
{
    json_t *list = args->json ? json_array() : NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (list) {
            (void)json_array_append_new(list, json_string(serials[i])); /* ASCII; small */
        } else {
            (void)printf("Revoked %s\n", serials[i]);
        }
    }
    if (list) {
        return kith_json_print(
            kith_json_named("authority", ca->path, json_pack("{s:o}", "revoked", list)), error);
    }
    if (count == 0) {
        (void)printf("Nothing to do: revoked already.\n");
    }
    (void)printf("Nodes refuse what is in %s/crl.pem once they have it: kithctl cert push%s%s\n",
                 ca->path, strcmp(ca->path, KITH_CA_DIR_DEFAULT) == 0 ? "" : " --ca ",
                 strcmp(ca->path, KITH_CA_DIR_DEFAULT) == 0 ? "" : ca->path);
    return KITH_OK;
}

int kith_ctl_cert_revoke(const struct kith_ctl_args *args)
{
    struct kith_ca_dir ca;
    struct kith_error error;
    uint32_t count = 0;
    enum kith_err err = kith_ca_dir_open(ca_of(args), true, &ca, &error);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    warn_unread(args, &ca);
    const char **serials = kith_calloc(ca.count + 1, sizeof *serials);
    err = serials ? choose(&ca, args->positional[0], serials, &count, &error)
                  : kith_error_set(&error, KITH_ENOMEM, "out of memory");
    if (err == KITH_OK && count + ca.unlisted > 0) {
        err = kith_ca_dir_revoke(&ca, serials, count, (int64_t)time(NULL), &error);
    }
    if (err == KITH_OK) {
        err = tell(args, &ca, serials, count, &error);
    }
    kith_free(serials);
    kith_ca_dir_close(&ca);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
