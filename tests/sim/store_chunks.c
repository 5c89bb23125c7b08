/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_chunks.c - what a node's store does with chunks: a cell each, under its id. */
#include <string.h>

#include "sim.h"

/* The chunk of the partition in that cell, if there is one. */
static bool chunk_in(const struct cell *cell, uint32_t partition, struct kith_chunk_entry *ret)
{
    if (cell->type != 'c' || !store_sim_there(cell)) {
        return false;
    }
    const struct cell_version *last = &cell->versions[cell->version_count - 1];
    if (last->size == 0) {
        return false; /* it was swept */
    }
    memcpy(ret->id.bytes, cell->key, sizeof ret->id.bytes);
    ret->checksum = kith_checksum_of(kith_bytes_make(last->data, last->size));
    ret->size = (uint32_t)last->size;
    return kith_chunk_partition(&ret->id, SIM_PARTITIONS) == partition;
}

void store_sim_chunk_sums(const struct store_sim *store, uint32_t partition,
                          struct kith_bytes secret, struct kith_sum *sums)
{
    static const struct kith_checksum none;
    struct kith_chunk_entry chunk;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        if (chunk_in(store->cells[i], partition, &chunk)) {
            struct kith_key key = kith_tree_chunk_key(&chunk.id);
            struct kith_checksum hash = kith_row_hash(
                &key, kith_bytes_make(chunk.checksum.bytes, KITH_CHECKSUM_SIZE), secret);
            kith_sum_replace(&sums[kith_tree_leaf(&key)], &none, &hash);
        }
    }
}

static void apply_chunk_list(const struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    struct kith_chunk_entry *chunks =
        kith_arena_calloc(&op->arena, store->cell_count + 1, sizeof *chunks);
    KITH_ASSERT(chunks);
    uint32_t count = 0;
    uint32_t first = 0;
    if (ask->u.chunk_list.has_after) {
        first = kith_tree_chunk_leaf(&ask->u.chunk_list.after);
    }
    for (uint32_t leaf = first; leaf < KITH_TREE_LEAVES; leaf++) {
        for (uint32_t i = 0; i < store->cell_count; i++) {
            struct kith_chunk_entry chunk;
            if (!kith_leaf_in(&ask->u.chunk_list.leaves, leaf) ||
                !chunk_in(store->cells[i], ask->partition, &chunk) ||
                kith_tree_chunk_leaf(&chunk.id) != leaf ||
                (ask->u.chunk_list.has_after && leaf == first &&
                 memcmp(&chunk.id, &ask->u.chunk_list.after, sizeof chunk.id) <= 0) ||
                store->sim->mutant == MUTANT_CHUNKS_KEPT) {
                continue;
            }
            if (count == SIM_LEAF_PAGE) {
                op->done.u.chunk_list.more = true;
                leaf = KITH_TREE_LEAVES;
                break;
            }
            chunks[count] = chunk;
            count++;
        }
    }
    op->done.u.chunk_list.count = count;
    op->done.u.chunk_list.chunks = chunks;
}

static void apply_chunk_lack(const struct store_sim *store, struct store_op *op)
{
    uint32_t count = op->op.u.chunk_lack.count, found = 0;
    struct kith_chunk_entry *lacking = kith_arena_calloc(&op->arena, count + 1, sizeof *lacking);
    KITH_ASSERT(lacking);
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_chunk_entry *chunk = &op->op.u.chunk_lack.chunks[i];
        if (store_sim_get(store, 'c', chunk->id.bytes, KITH_CHUNK_ID_SIZE).size == 0 &&
            !store_sweep_gone(store, &chunk->id)) {
            lacking[found] = *chunk;
            found++;
        }
    }
    op->done.u.chunk_list.count = found;
    op->done.u.chunk_list.chunks = lacking;
}

static void apply_put_get_sync(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    if (ask->kind == KITH_STORE_CHUNK_PUT) {
        const struct kith_blob *payload = ask->u.chunk_put.payload;
        const uint8_t *id = ask->u.chunk_put.id.bytes;
        if (store_sim_get(store, 'c', id, KITH_CHUNK_ID_SIZE).size == 0 &&
            !store_sweep_refuses_chunk(store, op)) {
            store->seq++;
            store_sim_put(store, 'c', id, KITH_CHUNK_ID_SIZE,
                          kith_bytes_make(payload->data, payload->size));
            if (ask->u.chunk_put.ref_count > 0) {
                store_sim_put(store, 'x', id, KITH_CHUNK_ID_SIZE,
                              kith_bytes_make(ask->u.chunk_put.refs, ask->u.chunk_put.ref_count *
                                                                         KITH_CHUNK_ID_SIZE));
            }
        }
        return;
    }
    if (ask->kind == KITH_STORE_CHUNK_GET) {
        struct kith_bytes bytes =
            store_sim_get(store, 'c', ask->u.chunk_get.id.bytes, KITH_CHUNK_ID_SIZE);
        if (bytes.size == 0) {
            op->done.err = KITH_ENOTFOUND;
            return;
        }
        op->blob = kith_blob_new(bytes.size);
        KITH_ASSERT(op->blob);
        memcpy(op->blob->data, bytes.data, bytes.size);
        op->done.u.chunk.checksum = kith_checksum_of(bytes);
        op->done.u.chunk.chunk_size = (uint32_t)bytes.size;
        op->done.u.chunk.payload = op->blob;
        struct kith_bytes refs =
            store_sim_get(store, 'x', ask->u.chunk_get.id.bytes, KITH_CHUNK_ID_SIZE);
        if (ask->u.chunk_get.refs && refs.size > 0) {
            op->done.u.chunk.ref_count = (uint32_t)(refs.size / KITH_CHUNK_ID_SIZE);
            op->done.u.chunk.refs = kith_arena_copy(&op->arena, refs.data, refs.size);
            KITH_ASSERT(op->done.u.chunk.refs);
        }
        return;
    }
    uint32_t count = ask->u.chunk_sync.id_count;
    struct kith_chunk_id *missing = kith_arena_calloc(&op->arena, count, sizeof *missing);
    KITH_ASSERT(missing);
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_chunk_id *id = &ask->u.chunk_sync.ids[i];
        if (store_sim_get(store, 'c', id->bytes, sizeof id->bytes).size == 0) {
            missing[op->done.u.chunk_sync.missing_count] = *id;
            op->done.u.chunk_sync.missing_count++;
        }
    }
    op->done.u.chunk_sync.missing = missing;
}

void store_sim_apply_chunk(struct store_sim *store, struct store_op *op)
{
    switch (op->op.kind) {
    case KITH_STORE_CHUNK_LIST:
        apply_chunk_list(store, op);
        break;
    case KITH_STORE_CHUNK_LACK:
        apply_chunk_lack(store, op);
        break;
    default:
        apply_put_get_sync(store, op);
    }
}
