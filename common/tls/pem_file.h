/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * pem_file.h - the files that keys and certificates lie in.
 *
 * A file is there whole or not at all: it is written beside, flushed, and then gets its name. A
 * key's file is for its owner alone (0600), and is not read where others could have read it.
 * Any thread. Checked by tests/unit/test_pem_file.c. */
#ifndef KITH_TLS_PEM_FILE_H
#define KITH_TLS_PEM_FILE_H

#include "base/buf.h"

enum kith_pem_kind {
    KITH_PEM_PUBLIC = 0, /* certificates and lists: 0644 */
    KITH_PEM_SECRET = 1, /* keys: 0600 */
};

/* Appends what the file holds, at most `max` bytes. ENOTFOUND, EPERM (may not be read; or SECRET,
 * and others than its owner may, or it is another user's: the message names the remedy), EINVAL (no
 * regular file), ETOOBIG, EIO, ENOMEM. Never waits, as for who would write into a pipe. */
KITH_MUST_CHECK enum kith_err kith_pem_read(const char *path, enum kith_pem_kind kind, size_t max,
                                            struct kith_buf *out, struct kith_error *error);

/* Makes the file. EEXIST: there is one, which stays; then, and with any other error, nothing is
 * left behind. ENOTFOUND (the folder), EPERM, ENOSPC, EIO. */
KITH_MUST_CHECK enum kith_err kith_pem_write(const char *path, enum kith_pem_kind kind,
                                             struct kith_bytes pem, struct kith_error *error);
/* The same in the place of what is there: who opens it finds the old one or the new one. */
KITH_MUST_CHECK enum kith_err kith_pem_replace(const char *path, enum kith_pem_kind kind,
                                               struct kith_bytes pem, struct kith_error *error);

/* What was made, renamed or removed in the folder that `path` is in is on the disk after it. 0, or
 * an errno. */
KITH_MUST_CHECK int kith_pem_flush_folder(const char *path);

/* Releases a buffer, its bytes overwritten before. */
void kith_pem_wipe(struct kith_buf *buf);

#endif
