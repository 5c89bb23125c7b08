/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_crypt.h - a store that is encrypted: which key it has, and what goes through it.
 *
 *     pages and log of WiredTiger     a block each page and each record of the log
 *     chunks in segments (segments.h) a block each
 *     DIR/identity                    one block
 *
 * The rest of DIR has no contents: lock, kithd.pid and address, names of tables (aside-*, rebuild),
 * and WiredTiger's own description of its files. DIR/damaged has files as they were.
 *
 * DIR/encryption says that it is so, and lies there before anything else:
 *
 *     kithfs encryption 1
 *     salt 64 hexadecimal digits
 *     check 64 hexadecimal digits      crypt.h: whether a key is the one
 *
 * It is read before anything in DIR is touched. Without it the store cannot be read, as without the
 * key. */
#ifndef KITH_SHELL_STORE_CRYPT_H
#define KITH_SHELL_STORE_CRYPT_H

#include "store/crypt.h"
#include "store/store_int.h"

struct store_crypt;

#define STORE_CRYPT_PLACE_MAX 16u

/* What DIR/encryption has. */
struct store_crypt_notes {
    uint8_t salt[KITH_CRYPT_SALT_SIZE];
    uint8_t check[KITH_CRYPT_KEY_SIZE];
};
/* EFORMAT; EVERSION: of a later program. Pure. */
KITH_MUST_CHECK enum kith_err store_crypt_parse(struct kith_bytes text,
                                                struct store_crypt_notes *ret_notes);

/* Before anything is touched. The key of the options fits what lies at `path`, or there is nothing
 * yet: OK. EINVAL: another key, one though the store has none, none though it has one; EVERSION;
 * EIO. */
KITH_MUST_CHECK enum kith_err store_crypt_look(const struct kith_store *store,
                                               struct kith_error *error);
/* With the lock: writes DIR/encryption where a new store is to have a key, and makes store->crypt
 * (NULL: it has none). */
KITH_MUST_CHECK enum kith_err store_crypt_begin(struct kith_store *store, struct kith_error *error);
void store_crypt_release(struct kith_store *store);

/* What WiredTiger is opened with (", ..."; empty: not encrypted), in the thread that opens it. */
const char *store_crypt_config(const struct kith_store *store);

/* How many bytes more than its contents a chunk takes in a segment. */
uint32_t store_crypt_overhead(const struct kith_store *store);
/* Of a chunk in a segment: what its tag names beside it. */
struct kith_bytes store_crypt_place(uint32_t segment, uint64_t offset,
                                    uint8_t buffer[STORE_CRYPT_PLACE_MAX]);
struct kith_crypt *store_crypt_of(const struct kith_store *store);

/* DIR/identity: into `out`, which is empty. As it is where nothing is encrypted. */
KITH_MUST_CHECK enum kith_err store_crypt_seal_file(const struct kith_store *store,
                                                    struct kith_bytes plain, struct kith_buf *out);
/* In place; *bytes then are the contents. ECORRUPT. */
KITH_MUST_CHECK enum kith_err store_crypt_open_file(const struct kith_store *store, uint8_t *data,
                                                    struct kith_bytes *bytes);

/* WiredTiger calls it by this name ("local" extension: a symbol of the program). */
int kith_store_crypt_extension(WT_CONNECTION *conn, WT_CONFIG_ARG *config);

#endif
