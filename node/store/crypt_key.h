/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * crypt_key.h - the master key of a node's store (crypt.h), from a file.
 *
 * 32 bytes, or 64 hexadecimal digits and at most a line feed. Checked by
 * tests/unit/test_crypt_key.c. */
#ifndef KITH_SHELL_CRYPT_KEY_H
#define KITH_SHELL_CRYPT_KEY_H

#include "store/crypt.h"

#define KITH_CRYPT_CREDENTIAL "kithd.key" /* in $CREDENTIALS_DIRECTORY */

/* EFORMAT: it is neither. Pure. */
KITH_MUST_CHECK enum kith_err kith_crypt_key_parse(struct kith_bytes bytes,
                                                   struct kith_crypt_key *ret_key);
/* From `path`, which nobody but its owner may read; NULL: from systemd's credential of that name.
 * The error names the remedy: EINVAL, ENOTFOUND, EPERM, ETOOBIG, EIO, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_crypt_key_load(const char *path, struct kith_crypt_key *ret_key,
                                                  struct kith_error *error);

#endif
