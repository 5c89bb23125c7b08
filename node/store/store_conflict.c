/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_conflict.c - which rows are of files in conflict (kith_versions_conflict), and how many of
 * each partition, so that a node's status costs nothing.
 *
 * They are an index, table `conflicts`: the key of the row, nothing else. It changes in the row's own
 * transaction, as `gone` does (store_reap.c), and is made anew with the other tables that only say
 * again what rows say (store_derived.c). What a change means is seen on the index, not on the state
 * before: the number of a partition is that of its entries, whatever was read. Nearly all rows have
 * one sibling before and after a write, and those cost two comparisons. */
#include "store/store_conflict.h"

#include <string.h>

#include "format/versions.h"

static uint32_t partition_of(struct kith_bytes key)
{
    return (uint32_t)key.data[0] << 8 | key.data[1];
}

/* ---- How many ---- */

enum kith_err store_conflicts_init(struct kith_store *store)
{
    if (store->conflicts == NULL) {
        store->conflicts = kith_calloc(KITH_PARTITIONS_MAX, sizeof *store->conflicts);
    }
    for (uint32_t i = 0; store->conflicts != NULL && i < KITH_PARTITIONS_MAX; i++) {
        atomic_store(&store->conflicts[i], 0);
    }
    return store->conflicts == NULL ? KITH_ENOMEM : KITH_OK;
}

enum kith_err store_conflicts_load(struct kith_store *store, struct kith_error *error)
{
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    enum kith_err err = store_conflicts_init(store);
    int ret = store_session(store, &session);
    ret = ret == 0 ? store_cursor(session, "conflicts", &cursor) : ret;
    while (err == KITH_OK && ret == 0 && (ret = cursor->next(cursor)) == 0) {
        WT_ITEM item;
        ret = cursor->get_key(cursor, &item);
        struct kith_bytes key = kith_bytes_make(item.data, ret == 0 ? item.size : 0);
        if (ret != 0 || store_derived_is_mark(key)) {
            continue;
        }
        if (key.size < 2 + KITH_GROUP_SIZE || partition_of(key) >= KITH_PARTITIONS_MAX) {
            err = KITH_ECORRUPT;
        } else {
            atomic_fetch_add(&store->conflicts[partition_of(key)], 1);
        }
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    err = err == KITH_OK && ret != WT_NOTFOUND ? store_err(ret) : err;
    return err == KITH_OK ? KITH_OK
                          : kith_error_set(error, err,
                                           "%s: the index of files in conflict cannot be read: %s",
                                           store->wt_path, kith_err_text((int)err));
}

enum kith_err store_conflicts_list(struct kith_store *store, struct kith_arena *arena,
                                   struct kith_store_counts *counts)
{
    uint32_t count = 0, most = 0;
    for (uint32_t i = 0; i < store->partitions; i++) {
        most += atomic_load_explicit(&store->conflicts[i], memory_order_relaxed) > 0 ? 1 : 0;
    }
    /* other workers go on meanwhile: one more or less comes with the next answer */
    struct kith_store_conflicts *list = kith_arena_calloc(arena, most + 1u, sizeof *list);
    if (list == NULL) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < store->partitions && count < most; i++) {
        uint32_t files = atomic_load_explicit(&store->conflicts[i], memory_order_relaxed);
        if (files > 0) {
            list[count++] = (struct kith_store_conflicts){.partition = i, .files = files};
        }
    }
    counts->conflict_count = count;
    counts->conflicts = list;
    return KITH_OK;
}

/* ---- The transaction under way ---- */

static enum kith_err note(struct store_worker *worker, struct kith_bytes key, bool is)
{
    if (worker->conflict_change_count == worker->conflict_change_capacity) {
        uint32_t capacity =
            worker->conflict_change_capacity == 0 ? 16u : 2u * worker->conflict_change_capacity;
        struct store_conflict_change *changes =
            kith_realloc(worker->conflict_changes, capacity * sizeof *changes);
        if (changes == NULL) {
            worker->broken = true; /* it is written already */
            return KITH_ENOMEM;
        }
        worker->conflict_changes = changes;
        worker->conflict_change_capacity = capacity;
    }
    worker->conflict_changes[worker->conflict_change_count++] =
        (struct store_conflict_change){.partition = (uint16_t)partition_of(key), .more = is};
    return KITH_OK;
}

void store_conflicts_commit(struct store_worker *worker)
{
    for (uint32_t i = 0; i < worker->conflict_change_count; i++) {
        const struct store_conflict_change *change = &worker->conflict_changes[i];
        atomic_fetch_add(&worker->store->conflicts[change->partition],
                         change->more ? 1u : UINT32_MAX); /* modulo 2^32 */
    }
    worker->conflict_change_count = 0;
}

void store_conflicts_rollback(struct store_worker *worker)
{
    worker->conflict_change_count = 0;
}

enum kith_err store_conflict_gone(struct store_worker *worker, struct kith_bytes key)
{
    struct kith_bytes nothing;
    enum kith_err err = store_read(worker, worker->conflicts, key, &nothing);
    if (err != KITH_OK) {
        return err == KITH_ENOTFOUND ? KITH_OK : err;
    }
    err = store_remove(worker, worker->conflicts, key);
    return err == KITH_OK ? note(worker, key, false) : err;
}

static struct kith_key name_of(struct kith_bytes key)
{
    struct kith_key name;
    memcpy(name.group.bytes, key.data + 2, KITH_GROUP_SIZE);
    name.name = kith_bytes_make(key.data + 2 + KITH_GROUP_SIZE, key.size - 2 - KITH_GROUP_SIZE);
    return name;
}

enum kith_err store_conflict_change(struct store_worker *worker, struct kith_bytes key,
                                    const struct kith_row *before, const struct kith_row *after)
{
    if (before->sibling_count < 2 && after->sibling_count < 2) {
        return KITH_OK;
    }
    struct kith_key name = name_of(key);
    struct kith_bytes nothing;
    bool is = false;
    enum kith_err err = kith_versions_conflict(&worker->round->arena, &name, after, &is);
    if (err != KITH_OK || !is) {
        return err == KITH_OK ? store_conflict_gone(worker, key) : err;
    }
    err = store_read(worker, worker->conflicts, key, &nothing);
    if (err == KITH_ENOTFOUND) {
        err = store_write(worker, worker->conflicts, key, kith_bytes_make("", 0));
        err = err == KITH_OK ? note(worker, key, true) : err;
    }
    return err;
}

/* ---- For those who read all rows ---- */

enum kith_err store_conflict_is(struct kith_arena *arena, struct kith_bytes key,
                                struct kith_bytes state, bool *ret_is)
{
    struct kith_row row;
    *ret_is = false;
    if (kith_row_count_siblings(state) < 2) {
        return KITH_OK;
    }
    struct kith_key name = name_of(key);
    enum kith_err err = kith_row_decode(arena, state, &row);
    if (err != KITH_OK) {
        return err == KITH_ENOMEM ? err : KITH_OK;
    }
    return kith_versions_conflict(arena, &name, &row, ret_is);
}
