/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_tree.c - the sums of the trees' leaves: in memory for every partition held (8 KiB each),
 * and on disk in the same transaction as what they sum up.
 *
 * A leaf's value: u64 low, u64 high (LE) of the sum, u32 number of entries, u64 bytes of contents.
 * The numbers make counting free; all leaves are read at open (256 a partition, 0.3 us each).
 * A transaction that touches a leaf several times writes it once. */
#include <string.h>

#include "base/assert.h"
#include "shell/store_int.h"

static void put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)at[i] << (8 * i);
    }
    return value;
}

void store_leaf_encode(const struct store_leaf *leaf, uint8_t ret_value[STORE_LEAF_VALUE_SIZE])
{
    put_u64(ret_value, leaf->sum.low);
    put_u64(ret_value + 8, leaf->sum.high);
    for (int i = 0; i < 4; i++) {
        ret_value[16 + i] = (uint8_t)(leaf->count >> (8 * i));
    }
    put_u64(ret_value + 20, leaf->bytes);
}

bool store_leaf_decode(struct kith_bytes value, struct store_leaf *ret_leaf)
{
    if (value.size != STORE_LEAF_VALUE_SIZE) {
        return false;
    }
    memset(ret_leaf, 0, sizeof *ret_leaf);
    ret_leaf->sum.low = get_u64(value.data);
    ret_leaf->sum.high = get_u64(value.data + 8);
    ret_leaf->count = (uint32_t)value.data[16] | (uint32_t)value.data[17] << 8 |
                      (uint32_t)value.data[18] << 16 | (uint32_t)value.data[19] << 24;
    ret_leaf->bytes = get_u64(value.data + 20);
    return true;
}

/* The leaf in memory; NULL when memory is short. */
static struct store_leaf *tree_leaf(struct store_tree *tree, uint32_t partition, uint32_t number)
{
    KITH_ASSERT(partition < KITH_PARTITIONS_MAX && number < KITH_TREE_LEAVES);
    struct store_leaf *leaves = tree->partitions[partition];
    if (leaves == NULL) {
        leaves = kith_calloc(KITH_TREE_LEAVES, sizeof *leaves);
        tree->partitions[partition] = leaves;
    }
    return leaves == NULL ? NULL : &leaves[number];
}

static enum kith_err load_leaf(struct store_tree *tree, WT_CURSOR *cursor, _Atomic uint64_t *count,
                               _Atomic uint64_t *bytes)
{
    WT_ITEM key, value;
    int ret = cursor->get_key(cursor, &key);
    if (ret == 0) {
        ret = cursor->get_value(cursor, &value);
    }
    if (ret != 0) {
        return store_err(ret);
    }
    const uint8_t *at = key.data;
    struct store_leaf found;
    if (key.size != 3 || !store_leaf_decode(kith_bytes_make(value.data, value.size), &found)) {
        return KITH_ECORRUPT;
    }
    uint32_t partition = (uint32_t)at[0] << 8 | at[1];
    struct store_leaf *leaf =
        partition < KITH_PARTITIONS_MAX ? tree_leaf(tree, partition, at[2]) : NULL;
    if (leaf == NULL) {
        return partition < KITH_PARTITIONS_MAX ? KITH_ENOMEM : KITH_ECORRUPT;
    }
    *leaf = found;
    atomic_fetch_add(count, found.count);
    if (bytes != NULL) {
        atomic_fetch_add(bytes, found.bytes);
    }
    return KITH_OK;
}

enum kith_err store_tree_load(struct kith_store *store, struct store_tree *tree, const char *table,
                              _Atomic uint64_t *count, _Atomic uint64_t *bytes,
                              struct kith_error *error)
{
    tree->partitions = kith_calloc(KITH_PARTITIONS_MAX, sizeof *tree->partitions);
    if (tree->partitions == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", store->path);
    }
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    int ret = store_session(store, &session);
    if (ret == 0) {
        ret = store_cursor(session, table, &cursor);
    }
    enum kith_err err = store_err(ret);
    while (err == KITH_OK && (ret = cursor->next(cursor)) == 0) {
        err = load_leaf(tree, cursor, count, bytes);
    }
    if (err == KITH_OK && ret != WT_NOTFOUND) {
        err = store_err(ret);
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    if (err != KITH_OK) {
        err = err == KITH_EIO ? KITH_ECORRUPT : err;
        return kith_error_set(
            error, err,
            "%s/%s.wt: cannot be read: %s; put it back from a backup, or "
            "move %s away and start anew, so that the node fetches its data from the "
            "others",
            store->wt_path, table, kith_err_text((int)err), store->path);
    }
    return KITH_OK;
}

void store_tree_release(struct store_tree *tree)
{
    for (uint32_t i = 0; tree->partitions != NULL && i < KITH_PARTITIONS_MAX; i++) {
        kith_free(tree->partitions[i]);
    }
    kith_free(tree->partitions);
    tree->partitions = NULL;
}

/* Notes what the leaf was before this transaction. */
static enum kith_err touch(struct store_worker *worker, uint32_t partition, uint32_t number,
                           struct store_leaf *leaf)
{
    if (leaf->serial == worker->serial) {
        return KITH_OK;
    }
    if (worker->touched_count == worker->touched_capacity) {
        uint32_t capacity = worker->touched_capacity == 0 ? 128u : 2u * worker->touched_capacity;
        struct store_touched *touched =
            kith_realloc(worker->touched, capacity * sizeof *worker->touched);
        if (touched == NULL) {
            return KITH_ENOMEM;
        }
        worker->touched = touched;
        worker->touched_capacity = capacity;
    }
    struct store_touched *entry = &worker->touched[worker->touched_count++];
    entry->leaf = leaf;
    entry->before = *leaf;
    entry->partition = (uint16_t)partition;
    entry->number = (uint8_t)number;
    leaf->serial = worker->serial;
    return KITH_OK;
}

enum kith_err store_tree_change(struct store_worker *worker, uint32_t partition, uint32_t number,
                                const struct store_change *change)
{
    struct store_leaf *leaf = tree_leaf(worker->sums, partition, number);
    enum kith_err err = leaf == NULL ? KITH_ENOMEM : touch(worker, partition, number, leaf);
    if (err != KITH_OK) {
        worker->broken = true; /* the row is written already, its sum is not */
        return err;
    }
    kith_sum_replace(&leaf->sum, change->old_hash, change->new_hash);
    leaf->count += (uint32_t)change->count;
    leaf->bytes += (uint64_t)change->bytes;
    return KITH_OK;
}

enum kith_err store_tree_write(struct store_worker *worker)
{
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < worker->touched_count; i++) {
        const struct store_touched *entry = &worker->touched[i];
        uint8_t key[3] = {(uint8_t)(entry->partition >> 8), (uint8_t)entry->partition,
                          entry->number};
        uint8_t value[STORE_LEAF_VALUE_SIZE];
        store_leaf_encode(entry->leaf, value);
        err = store_write(worker, worker->tree, kith_bytes_make(key, sizeof key),
                          kith_bytes_make(value, sizeof value));
    }
    return err;
}

void store_tree_commit(struct store_worker *worker)
{
    struct kith_store *store = worker->store;
    uint64_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < worker->touched_count; i++) {
        const struct store_touched *entry = &worker->touched[i];
        count += entry->leaf->count - (uint64_t)entry->before.count; /* modulo 2^64 */
        bytes += entry->leaf->bytes - entry->before.bytes;
        entry->leaf->serial = 0; /* another worker's transaction may have this number */
    }
    if (count != 0) {
        atomic_fetch_add(worker->bulk ? &store->chunk_count : &store->row_count, count);
    }
    if (worker->bulk && bytes != 0) {
        atomic_fetch_add(&store->chunk_bytes, bytes);
    }
    worker->touched_count = 0;
}

void store_tree_rollback(struct store_worker *worker)
{
    for (uint32_t i = 0; i < worker->touched_count; i++) {
        *worker->touched[i].leaf = worker->touched[i].before;
    }
    worker->touched_count = 0;
}
