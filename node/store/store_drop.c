/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_drop.c - what is stored of a partition goes: other nodes own it, and have it.
 *
 * With a row go its entry in the index of leaves, what it refers to and what it adds to its leaf's
 * sum; with a chunk the same, and its place in a segment. What is damaged, or was set aside, goes as
 * well. */
#include <string.h>

#include "store/store_conflict.h"

struct drop {
    uint32_t count;
    bool more;
    struct kith_bytes keys[KITH_DROP_MAX]; /* in the round's arena */
};

/* The first keys of the table that begin with the prefix. */
static enum kith_err keys_take(struct store_worker *worker, WT_CURSOR *cursor,
                               struct kith_bytes prefix, struct drop *drop)
{
    WT_ITEM item = {.data = prefix.data, .size = prefix.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    ret = ret == 0 && exact < 0 ? cursor->next(cursor) : ret;
    for (; ret == 0; ret = cursor->next(cursor)) {
        ret = cursor->get_key(cursor, &item);
        if (ret != 0 || item.size < prefix.size ||
            memcmp(item.data, prefix.data, prefix.size) != 0) {
            break;
        }
        drop->more = drop->count == KITH_DROP_MAX;
        if (drop->more) {
            break;
        }
        const void *copy = kith_arena_copy(&worker->round->arena, item.data, item.size);
        if (copy == NULL) {
            return KITH_ENOMEM;
        }
        drop->keys[drop->count++] = kith_bytes_make(copy, item.size);
    }
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_break(worker, ret);
}

/* What the row refers to, as far as that can be read. */
static enum kith_err row_refs_go(struct store_worker *worker, struct kith_bytes key)
{
    struct kith_bytes record;
    struct store_refs none = {0, NULL}, refs;
    enum kith_err err = store_read(worker, worker->rows, key, &record);
    if (err != KITH_OK) {
        return err == KITH_ENOTFOUND ? KITH_OK : err;
    }
    err = store_refs_of_record(worker, &worker->round->arena, key, record, &refs);
    if (err == KITH_ECORRUPT) {
        return store_stale_read(worker, key, record, &none);
    }
    return err == KITH_OK ? store_refs_change(worker, &refs, &none, STORE_REFERRER_ROW, key) : err;
}

/* `index`: the row's key in `leaves`, which has the leaf behind the partition. */
static enum kith_err row_go(struct store_worker *worker, struct kith_bytes index)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    if (index.size < 3 + KITH_GROUP_SIZE || index.size - 1 > sizeof buffer) {
        return KITH_EFORMAT;
    }
    memcpy(buffer, index.data, 2);
    memcpy(buffer + 2, index.data + 3, index.size - 3);
    struct kith_bytes key = kith_bytes_make(buffer, index.size - 1);
    enum kith_err err = row_refs_go(worker, key);
    if (err == KITH_OK) {
        err = store_remove(worker, worker->rows, key);
    }
    if (err == KITH_OK || err == KITH_ENOTFOUND) {
        err = store_remove(worker, worker->leaves, index);
    }
    if (err == KITH_OK) {
        err = store_gone_change(worker, key, true, false);
    }
    if (err == KITH_OK) {
        err = store_conflict_gone(worker, key);
    }
    return err;
}

static enum kith_err chunk_go(struct store_worker *worker, struct kith_bytes key)
{
    struct kith_bytes record;
    struct store_chunk chunk;
    enum kith_err err = store_read(worker, worker->chunks, key, &record);
    if (err == KITH_OK && store_chunk_decode(record, &chunk) == KITH_OK) {
        err = store_chunk_remove(worker, key); /* chunk's numbers are copies */
        return err == KITH_OK && chunk.in_segment
                   ? segment_hole_put(worker, chunk.segment, chunk.offset, chunk.size)
                   : err;
    }
    return err == KITH_OK ? store_remove(worker, worker->chunks, key) : err;
}

/* The leaf as what is left of it adds up to. */
static enum kith_err leaf_set(struct store_worker *worker, const uint8_t prefix[3])
{
    struct store_leaf leaf;
    uint32_t damaged = 0;
    uint64_t bytes = 0;
    enum kith_err err = store_damage_sum(worker, prefix, &leaf, &damaged, &bytes);
    return err == KITH_OK ? store_tree_set(worker, (uint32_t)prefix[0] << 8 | prefix[1], prefix[2],
                                           &leaf)
                          : err;
}

enum kith_err store_drop(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done)
{
    uint8_t prefix[3] = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition, 0};
    struct drop *drop = kith_arena_calloc(&worker->round->arena, 1, sizeof *drop);
    if (drop == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    enum kith_err err = keys_take(worker, worker->bulk ? worker->chunks : worker->leaves,
                                  kith_bytes_make(prefix, 2), drop);
    if (err == KITH_OK && !worker->bulk) { /* with the first row: the others may be kept after all */
        err = store_floor_drop(worker, op->partition);
    }
    for (uint32_t i = 0; i < drop->count && err == KITH_OK; i++) {
        err = worker->bulk ? chunk_go(worker, drop->keys[i]) : row_go(worker, drop->keys[i]);
        prefix[2] = drop->keys[i].data[2];
        bool last = i + 1 == drop->count || drop->keys[i + 1].data[2] != prefix[2];
        if (err == KITH_OK && last) {
            err = leaf_set(worker, prefix);
        }
    }
    if (err == KITH_OK && !drop->more) {
        err = store_damage_forget(worker, op->partition);
    }
    if (err == KITH_OK && !drop->more && worker->bulk) {
        err = store_marks_forget(worker, op->partition);
    }
    if (err != KITH_OK) {
        return store_fail(worker, done, err, "%s", kith_err_text((int)err));
    }
    done->u.drop.count = drop->count;
    done->u.drop.more = drop->more;
    return KITH_OK;
}
