/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/store_crypt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wiredtiger_ext.h>

#include "base/log.h"
#include "tls/pem_file.h"

#define PATH_SIZE 4096u
#define FILE_MAX  4096u
#define HEAD      "kithfs encryption "
#define FORMAT    "1\n"
#define NAME      "encryption"

struct store_crypt {
    WT_ENCRYPTOR encryptor; /* first: WiredTiger gives a pointer to it back */
    struct kith_crypt *crypt;
    const char *path; /* the store's, for the log */
};

/* ---- The file ---- */

static bool path_of(const struct kith_store *store, const char *name, char path[PATH_SIZE])
{
    int size = snprintf(path, PATH_SIZE, "%s/%s", store->options.path, name);
    return size > 0 && (size_t)size < PATH_SIZE;
}

static bool exists(const struct kith_store *store, const char *name)
{
    char path[PATH_SIZE];
    struct stat st;
    return path_of(store, name, path) && lstat(path, &st) == 0;
}

static void put_hex(struct kith_buf *buf, const char *name, const uint8_t *bytes, size_t size)
{
    kith_buf_put(buf, name, strlen(name));
    for (size_t i = 0; i < size; i++) {
        char digits[3];
        snprintf(digits, sizeof digits, "%02x", bytes[i]);
        kith_buf_put(buf, digits, 2);
    }
    kith_buf_put(buf, "\n", 1);
}

/* Whether the text at *at is "name", the bytes, and a line feed. */
static bool take_hex(struct kith_bytes text, size_t *at, const char *name, uint8_t *bytes,
                     size_t size)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = strlen(name);
    if (text.size - *at < length + 2 * size + 1 || memcmp(text.data + *at, name, length) != 0) {
        return false;
    }
    const uint8_t *hex = text.data + *at + length;
    for (size_t i = 0; i < 2 * size; i++) {
        const char *digit = hex[i] == '\0' ? NULL : strchr(digits, hex[i]);
        if (digit == NULL) {
            return false;
        }
        unsigned value = (unsigned)(digit - digits);
        bytes[i / 2] = (uint8_t)(i % 2 == 0 ? value << 4 : bytes[i / 2] | value);
    }
    *at += length + 2 * size + 1;
    return hex[2 * size] == '\n';
}

enum kith_err store_crypt_parse(struct kith_bytes text, struct store_crypt_notes *ret_notes)
{
    struct store_crypt_notes notes;
    size_t at = sizeof HEAD - 1;
    if (text.size < at + sizeof FORMAT - 1 || memcmp(text.data, HEAD, at) != 0) {
        return KITH_EFORMAT;
    }
    if (memcmp(text.data + at, FORMAT, sizeof FORMAT - 1) != 0) {
        return KITH_EVERSION;
    }
    at += sizeof FORMAT - 1;
    bool good = take_hex(text, &at, "salt ", notes.salt, sizeof notes.salt) &&
                take_hex(text, &at, "check ", notes.check, sizeof notes.check) && at == text.size;
    if (good) {
        *ret_notes = notes;
    }
    return good ? KITH_OK : KITH_EFORMAT;
}

/* ENOTFOUND: there is none. */
static enum kith_err read_notes(const struct kith_store *store, struct store_crypt_notes *notes,
                                struct kith_error *error)
{
    char path[PATH_SIZE];
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (!path_of(store, NAME, path)) {
        return kith_error_set(error, KITH_EINVAL, "%s: too long a path", store->options.path);
    }
    enum kith_err err = kith_pem_read(path, KITH_PEM_PUBLIC, FILE_MAX, &buf, error);
    if (err == KITH_OK) {
        err = store_crypt_parse(kith_buf_bytes(&buf), notes);
        if (err != KITH_OK) {
            err = kith_error_set(
                error, err,
                "%s: %s; put it back from a backup, or move %s away and let the node "
                "join anew, so that it fetches its data from the others",
                path, err == KITH_EVERSION ? "written by a later version" : "damaged",
                store->options.path);
        }
    }
    kith_buf_release(&buf);
    return err;
}

/* Before anything is encrypted: with its folder on the disk, as without it all is lost. */
static enum kith_err write_notes(const struct kith_store *store,
                                 const struct store_crypt_notes *notes, struct kith_error *error)
{
    char path[PATH_SIZE];
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put(&buf, HEAD FORMAT, sizeof HEAD FORMAT - 1);
    put_hex(&buf, "salt ", notes->salt, sizeof notes->salt);
    put_hex(&buf, "check ", notes->check, sizeof notes->check);
    enum kith_err err = buf.failed || !path_of(store, NAME, path)
                            ? kith_error_set(error, KITH_ENOMEM, "%s: out of memory", store->path)
                            : kith_pem_replace(path, KITH_PEM_SECRET, kith_buf_bytes(&buf), error);
    kith_buf_release(&buf);
    return err;
}

/* ---- Which key ---- */

static bool has_data(const struct kith_store *store)
{
    return exists(store, "wt/WiredTiger") || exists(store, "wt/WiredTiger.wt") ||
           exists(store, "identity");
}

static enum kith_err look(const struct kith_store *store, struct store_crypt_notes *notes,
                          bool *ret_found, struct kith_error *error)
{
    const struct kith_crypt_key *key = store->options.key;
    const char *path = store->options.path;
    *ret_found = false;
    if (!exists(store, NAME)) {
        return key == NULL || !has_data(store)
                   ? KITH_OK
                   : kith_error_set(error, KITH_EINVAL,
                                    "%s is not encrypted, and encrypt is set (there is data, but no "
                                    "%s/" NAME "): start without it, or let the node leave the "
                                    "cluster and join again with an empty directory",
                                    path, path);
    }
    enum kith_err err = read_notes(store, notes, error);
    if (err != KITH_OK) {
        return err;
    }
    if (key == NULL) {
        return kith_error_set(
            error, KITH_EINVAL,
            "%s is encrypted: set encrypt = yes in [store] (--encrypt) and give its key", path);
    }
    uint8_t check[KITH_CRYPT_KEY_SIZE];
    err = kith_crypt_check(key, notes->salt, check);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "%s: the cryptographic library fails", path);
    }
    if (memcmp(check, notes->check, sizeof check) != 0) {
        return kith_error_set(
            error, KITH_EINVAL,
            "%s is encrypted with another key than the one given: give that one; nothing was "
            "changed",
            path);
    }
    *ret_found = true;
    return KITH_OK;
}

enum kith_err store_crypt_look(const struct kith_store *store, struct kith_error *error)
{
    struct store_crypt_notes notes;
    bool found = false;
    return look(store, &notes, &found, error);
}

enum kith_err store_crypt_begin(struct kith_store *store, struct kith_error *error)
{
    struct store_crypt_notes notes;
    bool found = false;
    const struct kith_crypt_key *key = store->options.key;
    enum kith_err err =
        look(store, &notes, &found, error); /* again: now nobody else can change it */
    if (err != KITH_OK || key == NULL) {
        return err;
    }
    if (!found) {
        err = kith_crypt_random(notes.salt, sizeof notes.salt);
        if (err == KITH_OK) {
            err = kith_crypt_check(key, notes.salt, notes.check);
        }
        err = err == KITH_OK
                  ? write_notes(store, &notes, error)
                  : kith_error_set(error, err, "%s: the cryptographic library fails", store->path);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct store_crypt *crypt = kith_calloc(1, sizeof *crypt);
    err = crypt == NULL ? KITH_ENOMEM : kith_crypt_new(key, notes.salt, &crypt->crypt);
    if (err != KITH_OK) {
        kith_free(crypt);
        return kith_error_set(error, err, "%s: %s", store->path, kith_err_text((int)err));
    }
    crypt->path = store->path;
    store->crypt = crypt;
    return KITH_OK;
}

void store_crypt_release(struct kith_store *store)
{
    if (store->crypt != NULL) {
        kith_crypt_free(store->crypt->crypt);
        kith_free(store->crypt);
        store->crypt = NULL;
    }
}

/* ---- WiredTiger ---- */

static const struct kith_bytes block_place = {(const uint8_t *)"wiredtiger", 10};

/* That of the store that this thread opens: the extension is called on it, with nothing to tell
 * which. */
static _Thread_local struct store_crypt *opening;

static int encrypt_block(WT_ENCRYPTOR *encryptor, WT_SESSION *session, uint8_t *src, size_t src_len,
                         uint8_t *dst, size_t dst_len, size_t *result_lenp)
{
    struct store_crypt *crypt = (struct store_crypt *)(void *)encryptor;
    (void)session;
    if (dst_len < src_len + KITH_CRYPT_OVERHEAD) {
        return ENOMEM;
    }
    enum kith_err err =
        kith_crypt_seal(crypt->crypt, block_place, kith_bytes_make(src, src_len), dst);
    *result_lenp = src_len + KITH_CRYPT_OVERHEAD;
    return err == KITH_OK ? 0 : err == KITH_ENOMEM ? ENOMEM : EIO;
}

static int decrypt_block(WT_ENCRYPTOR *encryptor, WT_SESSION *session, uint8_t *src, size_t src_len,
                         uint8_t *dst, size_t dst_len, size_t *result_lenp)
{
    struct store_crypt *crypt = (struct store_crypt *)(void *)encryptor;
    (void)session;
    enum kith_err err = KITH_ECORRUPT;
    if (src_len >= KITH_CRYPT_OVERHEAD && dst_len >= src_len - KITH_CRYPT_OVERHEAD) {
        err = kith_crypt_open(crypt->crypt, block_place, kith_bytes_make(src, src_len), dst);
        *result_lenp = src_len - KITH_CRYPT_OVERHEAD;
    }
    if (err != KITH_OK) {
        kith_log_error("store", "%s: an encrypted block is not as it was written: %s", crypt->path,
                       kith_err_text((int)err));
    }
    return err == KITH_OK ? 0 : err == KITH_ENOMEM ? ENOMEM : WT_ERROR;
}

static int size_block(WT_ENCRYPTOR *encryptor, WT_SESSION *session, size_t *expansion_constantp)
{
    (void)encryptor;
    (void)session;
    *expansion_constantp = KITH_CRYPT_OVERHEAD;
    return 0;
}

__attribute__((used)) int kith_store_crypt_extension(WT_CONNECTION *conn, WT_CONFIG_ARG *config)
{
    (void)config;
    if (opening == NULL) {
        return EINVAL;
    }
    opening->encryptor =
        (WT_ENCRYPTOR){.encrypt = encrypt_block, .decrypt = decrypt_block, .sizing = size_block};
    return conn->add_encryptor(conn, "kith", &opening->encryptor, NULL);
}

const char *store_crypt_config(const struct kith_store *store)
{
    opening = store->crypt;
    return store->crypt == NULL ? ""
                                : ",extensions=[local={entry=kith_store_crypt_extension}],"
                                  "encryption=(name=kith)";
}

/* ---- Chunks and files ---- */

struct kith_crypt *store_crypt_of(const struct kith_store *store)
{
    return store->crypt == NULL ? NULL : store->crypt->crypt;
}

uint32_t store_crypt_overhead(const struct kith_store *store)
{
    return store->crypt == NULL ? 0 : KITH_CRYPT_OVERHEAD;
}

struct kith_bytes store_crypt_place(uint32_t segment, uint64_t offset,
                                    uint8_t buffer[STORE_CRYPT_PLACE_MAX])
{
    memcpy(buffer, "seg", 4);
    for (int i = 0; i < 4; i++) {
        buffer[4 + i] = (uint8_t)(segment >> (8 * i));
    }
    for (int i = 0; i < 8; i++) {
        buffer[8 + i] = (uint8_t)(offset >> (8 * i));
    }
    return kith_bytes_make(buffer, STORE_CRYPT_PLACE_MAX);
}

static const struct kith_bytes identity_place = {(const uint8_t *)"identity", 8};

enum kith_err store_crypt_seal_file(const struct kith_store *store, struct kith_bytes plain,
                                    struct kith_buf *out)
{
    size_t size = plain.size + store_crypt_overhead(store);
    if (!kith_buf_reserve(out, size)) {
        return KITH_ENOMEM;
    }
    enum kith_err err = KITH_OK;
    if (store->crypt == NULL) {
        kith_buf_put(out, plain.data, plain.size);
    } else {
        err = kith_crypt_seal(store->crypt->crypt, identity_place, plain, out->data);
        out->size = err == KITH_OK ? size : 0;
    }
    return err;
}

enum kith_err store_crypt_open_file(const struct kith_store *store, uint8_t *data,
                                    struct kith_bytes *bytes)
{
    if (store->crypt == NULL) {
        return KITH_OK;
    }
    if (bytes->size < KITH_CRYPT_OVERHEAD) {
        return KITH_ECORRUPT;
    }
    size_t size = bytes->size - KITH_CRYPT_OVERHEAD;
    uint8_t *text = data + KITH_CRYPT_HEAD;
    enum kith_err err =
        kith_crypt_open_parts(store->crypt->crypt, identity_place, data, text + size, text, size);
    *bytes = kith_bytes_make(text, size);
    return err;
}
