/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * ca_dir.h - the folder that a cluster's authority lies in, on one machine of the administrator's:
 *
 *     ca.key     its key (0600): who has it can be anybody in the cluster
 *     ca.crt     its certificate, which every node and client has a copy of
 *     crl.pem    the list of what it has revoked, signed; nodes and clients have a copy
 *     index      a line for everything that was issued, in order; only ever appended to
 *
 * A line of the index, with one blank between:
 *
 *     SERIAL ROLE NAME FROM UNTIL ACCESS VOLUMES
 *     5f0c... client anna 2026-11-23T15:00:00Z 2029-11-22T16:00:00Z read-only 00000001,0000000a
 *
 * It is flushed before the certificate leaves, so that there is none that could not be named to be
 * revoked; a line that a crash cut off belongs to one that nobody got, and is passed over. A line
 *
 *     revoked SERIAL
 *
 * is flushed before the list that revokes it is written: where crl.pem comes from an older backup,
 * the next list revokes all that the index says.
 *
 * One thread. Processes exclude each other by a lock on the index. Checked by
 * tests/unit/test_ca_dir.c.
 */
#ifndef KITH_CTL_CA_DIR_H
#define KITH_CTL_CA_DIR_H

#include <limits.h>

#include "tls/authority.h"

#define KITH_CA_DIR_DEFAULT "/etc/kithfs/ca"
#define KITH_CA_INDEX_MAX   ((size_t)64 << 20) /* bytes: some 400,000 certificates */

struct kith_ca_entry {
    struct kith_cert cert;
    bool revoked;
};

/* open/close. The fields may be read. */
struct kith_ca_dir {
    char path[PATH_MAX];
    char cluster[KITH_CERT_NAME_SIZE];
    struct kith_buf cert, list; /* what ca.crt and crl.pem hold */
    struct kith_ca_entry *entries;
    size_t count;                     /* in the order in which they were issued */
    size_t unread;                    /* lines of the index that say nothing */
    char (*revoked)[KITH_CERT_SERIAL_SIZE]; /* what the index says is revoked; sorted */
    size_t revoked_count;
    size_t unlisted;                  /* of these, that `list` does not revoke */
    struct kith_authority *authority; /* NULL: opened for looking */
    int index_fd;                     /* locked; -1: opened for looking */
};

/* Makes the folder, whole or not at all, with an authority for the cluster of that name. EEXIST: it
 * is there (an empty one is taken); ENOTFOUND, EPERM, ENOSPC, EIO: its folder; EINVAL: the name, or
 * days. */
KITH_MUST_CHECK enum kith_err kith_ca_dir_make(const char *path, const char *cluster, uint32_t days,
                                               int64_t now_s, struct kith_error *error);

/* Reads it; with `sign` its key too, and locks it (waits for who has it locked) until it is closed.
 * ENOTFOUND: there is no authority, or no key; EPERM, EFORMAT, EINVAL, EIO, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_ca_dir_open(const char *path, bool sign,
                                               struct kith_ca_dir *ret_dir,
                                               struct kith_error *error);
void kith_ca_dir_close(struct kith_ca_dir *dir);

/* kith_authority_issue, noted in the index before it returns. */
KITH_MUST_CHECK enum kith_err
kith_ca_dir_issue(struct kith_ca_dir *dir, const struct kith_cert_grant *grant, uint32_t days,
                  int64_t now_s, struct kith_bytes old_key_pem, struct kith_buf *key_pem,
                  struct kith_buf *cert_pem, struct kith_cert *ret_cert, struct kith_error *error);

/* Puts a new list in the place of crl.pem, and of dir->list: it also revokes what was unlisted. The
 * entries stay as they were read. */
KITH_MUST_CHECK enum kith_err kith_ca_dir_revoke(struct kith_ca_dir *dir,
                                                 const char *const serials[], uint32_t count,
                                                 int64_t now_s, struct kith_error *error);

/* One line of the index with its line feed, and back (without). EFORMAT. */
void kith_ca_line(const struct kith_cert *cert, struct kith_buf *out);
KITH_MUST_CHECK enum kith_err kith_ca_line_parse(struct kith_bytes line,
                                                 struct kith_cert *ret_cert);

/* "DIR/name" into path. EINVAL: it is too long. */
KITH_MUST_CHECK enum kith_err kith_ca_path(const char *dir, const char *name, char path[PATH_MAX],
                                           struct kith_error *error);

#endif
