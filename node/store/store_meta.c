/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_meta.c - the node's own small records, and the store's format. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

#define STORE_FORMAT 2u /* 1: the key of a chunk did not bear its leaf */
#define FORMAT_KEY     0xf0u       /* beside the enum kith_meta_key numbers */
#define META_VALUE_MAX (64u << 20) /* a table of 32,768 partitions has 460 KiB */

static enum kith_err keep_record(struct kith_store *store, WT_CURSOR *cursor, bool *format_seen,
                                 struct kith_error *error)
{
    WT_ITEM key, value;
    if (cursor->get_key(cursor, &key) != 0 || cursor->get_value(cursor, &value) != 0 ||
        key.size != 1) {
        return kith_error_set(error, KITH_ECORRUPT,
                              "%s/meta.wt: has a record that cannot be read; "
                              "put it back from a backup",
                              store->wt_path);
    }
    uint8_t number = *(const uint8_t *)key.data;
    if (number == FORMAT_KEY) {
        *format_seen = true;
        unsigned found = value.size == 1 ? *(const uint8_t *)value.data : 0;
        if (found != STORE_FORMAT) {
            return kith_error_set(error, KITH_EVERSION,
                                  "%s: written by %s version of kithd, in format %u, while this "
                                  "one (%s) reads format %u; run that version on it, or move the "
                                  "directory away and start anew",
                                  store->path, found < STORE_FORMAT ? "an earlier" : "a later",
                                  found, KITH_VERSION, STORE_FORMAT);
        }
        return KITH_OK;
    }
    if (number == STORE_CONFIG_KEY && value.size >= 4 + KITH_SECRET_MIN &&
        value.size <= 4 + KITH_SECRET_MAX) {
        const uint8_t *bytes = value.data;
        store->partitions = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 |
                            (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
        store->secret_size = value.size - 4;
        memcpy(store->secret, bytes + 4, store->secret_size);
        store_identity_begin(store, number, kith_bytes_make(value.data, value.size));
        return KITH_OK;
    }
    if (number >= KITH_META_KEYS) {
        return KITH_OK; /* a later version's; kept */
    }
    uint8_t *copy = kith_malloc(value.size + 1);
    if (copy == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", store->path);
    }
    memcpy(copy, value.data, value.size);
    store->meta[number] = kith_bytes_make(copy, value.size);
    store_identity_begin(store, number, store->meta[number]);
    return KITH_OK;
}

static int write_record(WT_CURSOR *cursor, uint8_t number, struct kith_bytes bytes)
{
    WT_ITEM key = {.data = &number, .size = 1};
    WT_ITEM value = {.data = bytes.data, .size = bytes.size};
    cursor->set_key(cursor, &key);
    cursor->set_value(cursor, &value);
    return cursor->insert(cursor);
}

int store_meta_write_format(WT_CURSOR *cursor)
{
    const uint8_t format = STORE_FORMAT;
    return write_record(cursor, FORMAT_KEY, kith_bytes_make(&format, 1));
}

enum kith_err store_config_keep(struct kith_store *store)
{
    uint8_t value[4 + KITH_SECRET_MAX];
    for (int i = 0; i < 4; i++) {
        value[i] = (uint8_t)(store->partitions >> (8 * i));
    }
    memcpy(value + 4, store->secret, store->secret_size);
    store_identity_keep(store, STORE_CONFIG_KEY, kith_bytes_make(value, 4 + store->secret_size));
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    int ret = store_session(store, &session);
    if (ret == 0) {
        ret = store_cursor(session, "meta", &cursor);
    }
    if (ret == 0) { /* in the log before anything that depends on it */
        ret =
            write_record(cursor, STORE_CONFIG_KEY, kith_bytes_make(value, 4 + store->secret_size));
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    return store_err(ret);
}

/* Notes the run that begins among those of this disk (KITH_META_RUNS). One that is taken later, for
 * another process used the same, is not noted: what is deleted under it is never reaped. */
static void runs_keep(struct kith_store *store)
{
    struct kith_bytes *kept = &store->meta[KITH_META_RUNS];
    size_t before = kept->size / 8 < KITH_RUNS_MAX ? kept->size / 8 : KITH_RUNS_MAX - 1u;
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (before > 0) { /* a new disk has none, and no data */
        kith_buf_put(&buf, kept->data + (kept->size / 8 - before) * 8, before * 8);
    }
    kith_buf_put_u64(&buf, atomic_load(&store->run));
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    int ret = buf.failed ? ENOMEM : store_session(store, &session);
    if (ret == 0) {
        ret = store_cursor(session, "meta", &cursor);
    }
    if (ret == 0) { /* in the log before anything that is coordinated under it */
        ret = write_record(cursor, KITH_META_RUNS, kith_buf_bytes(&buf));
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    if (ret != 0) { /* a full disk: what is deleted in this run is not reaped, no more than that */
        kith_log_warn("store", "%s: the record of the node's runs cannot be written: %s",
                      store->path, wiredtiger_strerror(ret));
        kith_buf_release(&buf);
        return;
    }
    kith_free((void *)(uintptr_t)kept->data);
    *kept = kith_buf_bytes(&buf); /* its memory goes with the other records */
}

enum kith_err store_meta_load(struct kith_store *store, struct kith_error *error)
{
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    int ret = store_session(store, &session);
    if (ret == 0) {
        ret = store_cursor(session, "meta", &cursor);
    }
    enum kith_err err = KITH_OK;
    bool format_seen = false;
    while (err == KITH_OK && ret == 0 && (ret = cursor->next(cursor)) == 0) {
        err = keep_record(store, cursor, &format_seen, error);
    }
    if (err == KITH_OK && ret == WT_NOTFOUND) {
        ret = format_seen ? 0 : store_meta_write_format(cursor);
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    if (err == KITH_OK && ret != 0) {
        bool corrupt = store_err(ret) == KITH_EIO || store_err(ret) == KITH_ENOTFOUND;
        err =
            kith_error_set(error, corrupt ? KITH_ECORRUPT : store_err(ret),
                           "%s/meta.wt: damaged (%s): it says who this node is. Put it back from a "
                           "backup, or move %s away, start a new node, and let it take over: "
                           "kithctl plan replace",
                           store->wt_path, wiredtiger_strerror(ret), store->path);
    }
    if (err == KITH_OK) {
        runs_keep(store);
    }
    return err;
}

void store_meta_release(struct kith_store *store)
{
    for (uint32_t i = 0; i < KITH_META_KEYS; i++) {
        kith_free((void *)(uintptr_t)store->meta[i].data);
        store->meta[i] = kith_bytes_make(NULL, 0);
    }
}

enum kith_err store_meta_put(struct store_worker *worker, const struct kith_store_op *op,
                             struct kith_store_done *done)
{
    uint8_t key = (uint8_t)op->u.meta.key;
    if (key == 0 || key >= KITH_META_KEYS || op->u.meta.value.size > META_VALUE_MAX) {
        return store_fail(worker, done, KITH_EINVAL, "no such record: %u", key);
    }
    if (!store_space_allows(worker, STORE_SPACE_SMALL,
                            STORE_PAGES_ROW + 2u * op->u.meta.value.size)) {
        return store_fail_space(worker, done);
    }
    store_identity_keep(worker->store, key, op->u.meta.value);
    return store_write(worker, worker->meta, kith_bytes_make(&key, 1), op->u.meta.value);
}
