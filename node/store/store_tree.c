/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_tree.c - the sums of the trees' leaves in memory, for every partition held (8 KiB each).
 * How they get to the disk, in the same transaction as what they sum up: store_sums.c. The numbers
 * make counting free. */
#include "base/assert.h"
#include "store/store_int.h"

enum kith_err store_tree_init(struct store_tree *tree)
{
    tree->partitions = kith_calloc(KITH_PARTITIONS_MAX, sizeof *tree->partitions);
    tree->dirty = kith_calloc(KITH_PARTITIONS_MAX, sizeof *tree->dirty);
    return tree->partitions == NULL || tree->dirty == NULL ? KITH_ENOMEM : KITH_OK;
}

void store_tree_release(struct store_tree *tree)
{
    for (uint32_t i = 0; tree->partitions != NULL && i < KITH_PARTITIONS_MAX; i++) {
        kith_free(tree->partitions[i]);
    }
    kith_free(tree->partitions);
    kith_free(tree->dirty);
    tree->partitions = NULL;
    tree->dirty = NULL;
}

struct store_leaf *store_tree_leaf(struct store_tree *tree, uint32_t partition, uint32_t number)
{
    KITH_ASSERT(partition < KITH_PARTITIONS_MAX && number < KITH_TREE_LEAVES);
    struct store_leaf *leaves = tree->partitions[partition];
    if (leaves == NULL) {
        leaves = kith_calloc(KITH_TREE_LEAVES, sizeof *leaves);
        tree->partitions[partition] = leaves;
    }
    return leaves == NULL ? NULL : &leaves[number];
}

void store_tree_count(const struct store_tree *tree, uint64_t *ret_count, uint64_t *ret_bytes)
{
    *ret_count = 0;
    *ret_bytes = 0;
    for (uint32_t i = 0; i < KITH_PARTITIONS_MAX; i++) {
        const struct store_leaf *leaves = tree->partitions[i];
        for (uint32_t k = 0; leaves != NULL && k < KITH_TREE_LEAVES; k++) {
            *ret_count += leaves[k].count;
            *ret_bytes += leaves[k].bytes;
        }
    }
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
    worker->sums->dirty[partition] = true; /* even if this is rolled back: once more does no harm */
    return KITH_OK;
}

enum kith_err store_tree_change(struct store_worker *worker, uint32_t partition, uint32_t number,
                                const struct store_change *change)
{
    struct store_leaf *leaf = store_tree_leaf(worker->sums, partition, number);
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

enum kith_err store_tree_set(struct store_worker *worker, uint32_t partition, uint32_t number,
                             const struct store_leaf *to)
{
    struct store_leaf *leaf = store_tree_leaf(worker->sums, partition, number);
    enum kith_err err = leaf == NULL ? KITH_ENOMEM : touch(worker, partition, number, leaf);
    if (err != KITH_OK) {
        worker->broken = true;
        return err;
    }
    leaf->sum = to->sum;
    leaf->count = to->count;
    leaf->bytes = to->bytes;
    return KITH_OK;
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
    if (worker->bad_change != 0) { /* modulo 2^64 */
        atomic_fetch_add(&store->bad[worker->bulk ? 1 : 0], (uint64_t)worker->bad_change);
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
