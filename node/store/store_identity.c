/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_identity.c - who this node is, once more beside WiredTiger: DIR/identity.
 *
 * With the table `meta` a node would lose itself, though the others have all that it held: a person
 * would have to replace it by a new one. So the records that say who and where it is are written to
 * a file, too, each time before they are stored: its uuid with the incarnation, the cluster, the
 * table, the members, and what the store was configured with. A start that finds the file, and no
 * records, takes them from there; what the node has promised (KITH_META_DECIDE) is not among them,
 * so it does not vote for a while (core/repair/refill.h). A node without data directory is a new one:
 * nothing is invented.
 *
 *     "kithfs identity 1\n", then for each record: u8 key, sized value; a checksum of all before
 *
 * and all of it encrypted where the store is (store_crypt.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "store/store_crypt.h"

#define HEAD      "kithfs identity 1\n"
#define PATH_SIZE 4096u
#define FILE_MAX  (64u << 20) /* a table of 32,768 partitions has 460 KiB */

static const uint8_t keys[STORE_IDENTITY_KEYS] = {
    KITH_META_NODE, KITH_META_CLUSTER, KITH_META_TABLE, KITH_META_MEMBERS, STORE_CONFIG_KEY};

static bool path_of(const struct kith_store *store, const char *end, char path[PATH_SIZE])
{
    int size = snprintf(path, PATH_SIZE, "%s/identity%s", store->path, end);
    return size > 0 && (size_t)size < PATH_SIZE;
}

static uint32_t slot_of(uint8_t key)
{
    uint32_t slot = 0;
    while (slot < STORE_IDENTITY_KEYS && keys[slot] != key) {
        slot++;
    }
    return slot;
}

/* ---- Reading ---- */

static bool take(struct store_identity *identity, uint32_t slot, struct kith_bytes value)
{
    kith_buf_clear(&identity->records[slot]);
    kith_buf_put(&identity->records[slot], value.data, value.size);
    return !identity->records[slot].failed;
}

static bool parse(struct store_identity *identity, struct kith_bytes bytes)
{
    struct kith_reader reader;
    struct kith_checksum stored;
    if (bytes.size < sizeof HEAD - 1 + sizeof stored.bytes ||
        memcmp(bytes.data, HEAD, sizeof HEAD - 1) != 0) {
        return false;
    }
    bytes.size -= sizeof stored.bytes;
    memcpy(stored.bytes, bytes.data + bytes.size, sizeof stored.bytes);
    struct kith_checksum found = kith_checksum_of(bytes);
    kith_reader_init(&reader,
                     kith_bytes_make(bytes.data + sizeof HEAD - 1, bytes.size - (sizeof HEAD - 1)));
    bool good = kith_checksum_equal(&found, &stored);
    while (good && reader.at < reader.size) {
        uint32_t slot = slot_of(kith_read_u8(&reader));
        struct kith_bytes value = kith_read_sized(&reader, FILE_MAX);
        good = !reader.failed && slot < STORE_IDENTITY_KEYS && take(identity, slot, value);
    }
    return good && identity->records[slot_of(KITH_META_NODE)].size > 0;
}

void store_identity_load(struct kith_store *store)
{
    char path[PATH_SIZE];
    struct stat st;
    struct store_identity *identity = &store->identity;
    int fd = path_of(store, "", path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    identity->found = fd >= 0 || errno != ENOENT;
    identity->good = false;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= (off_t)FILE_MAX) {
        size_t size = (size_t)st.st_size;
        uint8_t *data = kith_malloc(size);
        struct kith_bytes bytes = kith_bytes_make(data, size);
        identity->good = data != NULL && pread(fd, data, size, 0) == (ssize_t)size &&
                         store_crypt_open_file(store, data, &bytes) == KITH_OK &&
                         parse(identity, bytes);
        kith_free(data);
    }
    if (fd >= 0) {
        close(fd);
    }
}

int store_identity_restore(const struct kith_store *store, WT_CURSOR *cursor)
{
    int ret = 0;
    for (uint32_t i = 0; ret == 0 && i < STORE_IDENTITY_KEYS; i++) {
        const struct kith_buf *record = &store->identity.records[i];
        WT_ITEM key = {.data = &keys[i], .size = 1};
        WT_ITEM value = {.data = record->data, .size = record->size};
        if (record->size > 0) {
            cursor->set_key(cursor, &key);
            cursor->set_value(cursor, &value);
            ret = cursor->insert(cursor);
        }
    }
    return ret;
}

/* ---- Writing ---- */

static bool write_all(int fd, const struct kith_buf *buf)
{
    size_t at = 0;
    while (at < buf->size) {
        ssize_t wrote = write(fd, buf->data + at, buf->size - at);
        if (wrote < 0 && errno != EINTR) {
            return false;
        }
        at += wrote > 0 ? (size_t)wrote : 0;
    }
    return fsync(fd) == 0;
}

/* Under another name first: it is all of the old one, or all of the new. */
static bool replace(const struct kith_store *store, const struct kith_buf *buf)
{
    char path[PATH_SIZE], next[PATH_SIZE];
    bool good = false;
    if (!path_of(store, "", path) || !path_of(store, ".new", next)) {
        return false;
    }
    int fd = open(next, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0) {
        good = write_all(fd, buf);
        good = close(fd) == 0 && good && rename(next, path) == 0;
    }
    int directory = good ? open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    good = directory >= 0 && fsync(directory) == 0;
    if (directory >= 0) {
        close(directory);
    }
    if (!good) { /* better none than one that knows a start too few */
        kith_log_warn("store", "%s: cannot be written: %s", path, strerror(errno));
        (void)unlink(path);
        (void)unlink(next);
    }
    return good;
}

static void write_file(struct kith_store *store)
{
    struct kith_buf buf, sealed;
    kith_buf_init(&buf);
    kith_buf_init(&sealed);
    kith_buf_put(&buf, HEAD, sizeof HEAD - 1);
    for (uint32_t i = 0; i < STORE_IDENTITY_KEYS; i++) {
        const struct kith_buf *record = &store->identity.records[i];
        if (record->size > 0) {
            kith_buf_put_u8(&buf, keys[i]);
            kith_buf_put_sized(&buf, kith_buf_bytes(record));
        }
    }
    struct kith_checksum checksum = kith_checksum_of(kith_buf_bytes(&buf));
    kith_buf_put(&buf, checksum.bytes, sizeof checksum.bytes);
    if (!buf.failed && store_crypt_seal_file(store, kith_buf_bytes(&buf), &sealed) == KITH_OK) {
        (void)replace(store, &sealed);
    }
    kith_buf_release(&buf);
    kith_buf_release(&sealed);
}

void store_identity_begin(struct kith_store *store, uint8_t key, struct kith_bytes value)
{
    uint32_t slot = slot_of(key);
    if (slot < STORE_IDENTITY_KEYS) {
        (void)take(&store->identity, slot, value);
    }
}

void store_identity_keep(struct kith_store *store, uint8_t key, struct kith_bytes value)
{
    uint32_t slot = slot_of(key);
    if (slot == STORE_IDENTITY_KEYS) {
        return;
    }
    pthread_mutex_lock(&store->identity.lock);
    if (take(&store->identity, slot, value) &&
        store->identity.records[slot_of(KITH_META_NODE)].size > 0) {
        write_file(store);
    }
    pthread_mutex_unlock(&store->identity.lock);
}

void store_identity_release(struct kith_store *store)
{
    for (uint32_t i = 0; i < STORE_IDENTITY_KEYS; i++) {
        kith_buf_release(&store->identity.records[i]);
    }
    pthread_mutex_destroy(&store->identity.lock);
}
