/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_drop.c - what is stored of a partition goes from a node's store, a few cells at a time. */
#include <string.h>

#include "sim.h"

#define DROP_MOST 3u /* so that what goes has pages */

bool store_sim_there(const struct cell *cell)
{
    return cell->version_count > 0 && cell->versions[cell->version_count - 1].size > 0;
}

static bool of_partition(const struct cell *cell, uint32_t partition, bool chunks)
{
    struct kith_chunk_id id;
    if (cell->type != (chunks ? 'c' : 'r') || !store_sim_there(cell)) {
        return false;
    }
    if (!chunks) {
        return cell->key[1] == partition;
    }
    memcpy(id.bytes, cell->key, sizeof id.bytes);
    return kith_chunk_partition(&id, SIM_PARTITIONS) == partition;
}

static void row_go(struct store_sim *store, const struct cell *cell, struct kith_bytes secret)
{
    struct kith_key key = store_sim_key_of(cell);
    struct kith_rowop_result result;
    memset(&result, 0, sizeof result);
    struct kith_bytes state;
    const struct cell_version *last = &cell->versions[cell->version_count - 1];
    KITH_ASSERT(kith_rowop_state(&key, kith_bytes_make(last->data, last->size), secret, &state,
                                 &result.old_hash) == KITH_OK);
    store_sim_leaf_update(store, &key, &result);
}

void store_sim_drop(struct store_sim *store, struct store_op *op, struct kith_bytes secret)
{
    bool chunks = op->op.u.drop.chunks;
    store->seq++;
    for (uint32_t i = 0; !chunks && i < store->batch_count;) { /* they go in pieces */
        struct kith_key key;
        sim_key(store->batches[i].rows[0], &key);
        if (kith_group_partition(&key.group, SIM_PARTITIONS) == op->op.partition) {
            store->batches[i] = store->batches[--store->batch_count];
        } else {
            i++;
        }
    }
    if (!chunks) { /* with the first row: this node may own the partition again before the last */
        store_reap_drop(store, op->op.partition);
    }
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        if (!of_partition(cell, op->op.partition, chunks)) {
            continue;
        }
        if (op->done.u.drop.count == DROP_MOST) {
            op->done.u.drop.more = true;
            return;
        }
        if (!chunks) {
            row_go(store, cell, secret);
        }
        op->done.u.drop.count++;
        store_sim_put(store, cell->type, cell->key, cell->key_size, kith_bytes_make(NULL, 0));
        if (chunks) {
            store_sweep_drop(store, cell);
        }
    }
}
