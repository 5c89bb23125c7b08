/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_leaf.c - what anti-entropy reads: the sums of a partition's leaves, and a leaf's rows. */
#include <stdlib.h>
#include <string.h>

#include "store/store_int.h"

/* NULL: memory is short. Of what this transaction sees: what it has written is in it, and nobody
 * else writes this partition's rows. */
static const struct kith_sum *sums_of(struct store_worker *worker, uint32_t partition)
{
    const struct store_leaf *leaves = worker->sums->partitions[partition];
    struct kith_sum *sums =
        kith_arena_calloc(&worker->round->arena, KITH_TREE_LEAVES, sizeof *sums);
    for (uint32_t i = 0; sums != NULL && leaves != NULL && i < KITH_TREE_LEAVES; i++) {
        sums[i] = leaves[i].sum;
    }
    return sums;
}

enum kith_err store_sums_read(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    done->u.sums = sums_of(worker, op->partition);
    return done->u.sums == NULL ? store_fail(worker, done, KITH_ENOMEM, "out of memory") : KITH_OK;
}

static const struct kith_checksum none;

static int hash_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct kith_checksum));
}

/* A page under work. */
struct leaf_page {
    const struct kith_store_op *op;
    struct kith_checksum *have; /* sorted */
    uint8_t prefix[3];          /* of the leaf at hand */
    uint32_t count, most;
    uint32_t damaged;
    size_t bytes;
    struct kith_leaf_row *rows;
    struct kith_bytes until;       /* key of the index, where a part ends; empty: nowhere */
    struct kith_sum sum, skipped;  /* of rows up to the last one taken up; of those behind it */
    uint8_t after_key[KITH_LEAF_KEY_MAX], until_key[KITH_LEAF_KEY_MAX];
};

static bool has(const struct leaf_page *page, const struct kith_checksum *hash)
{
    uint32_t count = page->op->u.leaf.have_count;
    return count > 0 &&
           bsearch(hash, page->have, count, sizeof *page->have, hash_compare) != NULL;
}

/* The row under a key of the index; ENOTFOUND: it is not to come. */
static enum kith_err leaf_row(struct store_worker *worker, struct leaf_page *page,
                              struct kith_bytes index, struct kith_leaf_row *row)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    struct kith_bytes record, state;
    memset(row, 0, sizeof *row);
    memcpy(row->group.bytes, index.data + sizeof page->prefix, KITH_GROUP_SIZE);
    size_t before = sizeof page->prefix + KITH_GROUP_SIZE;
    row->name = kith_bytes_make(index.data + before, index.size - before);
    struct kith_key key = {row->group, row->name};
    enum kith_err err =
        store_read(worker, worker->rows,
                   store_row_key(page->op->partition, &row->group, row->name, buffer), &record);
    if (err == KITH_OK) {
        err = kith_rowop_state(&key, record, store_secret(worker->store), &state, &row->hash);
    }
    if (err == KITH_ECORRUPT) { /* the rest of the leaf is worth as much as before */
        page->damaged++;
        return KITH_ENOTFOUND;
    }
    if (err != KITH_OK || page->op->u.leaf.digest) {
        row->name = kith_bytes_make(NULL, 0);
        return err;
    }
    if (has(page, &row->hash)) {
        kith_sum_replace(&page->skipped, &none, &row->hash);
        return KITH_ENOTFOUND;
    }
    struct kith_arena *arena = &worker->round->arena;
    row->name.data = kith_arena_copy(arena, row->name.data, row->name.size);
    row->state = kith_bytes_make(kith_arena_copy(arena, state.data, state.size), state.size);
    return row->name.data == NULL || row->state.data == NULL ? KITH_ENOMEM : KITH_OK;
}

/* Stands on the first key of the leaf, or of the part of it; ENOTFOUND. */
static enum kith_err leaf_start(struct store_worker *worker, struct leaf_page *page)
{
    WT_CURSOR *cursor = worker->leaves;
    const struct kith_store_op *op = page->op;
    struct kith_bytes from = kith_bytes_make(page->prefix, sizeof page->prefix);
    bool behind = op->u.leaf.part && op->u.leaf.has_after;
    if (op->u.leaf.part && op->u.leaf.has_until) {
        page->until = store_leaf_key(op->partition, page->prefix[2], &op->u.leaf.until.group,
                                     op->u.leaf.until.name, page->until_key);
    }
    if (behind) {
        from = store_leaf_key(op->partition, page->prefix[2], &op->u.leaf.after.group,
                              op->u.leaf.after.name, page->after_key);
    }
    WT_ITEM item = {.data = from.data, .size = from.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && behind))) {
        ret = cursor->next(cursor);
    }
    return ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
}

/* Takes the leaf's rows up. ENOTFOUND: to its end. OK: the page is full. */
static enum kith_err leaf_take(struct store_worker *worker, struct leaf_page *page)
{
    enum kith_err err = leaf_start(worker, page);
    while (err == KITH_OK) {
        WT_ITEM key;
        struct kith_leaf_row row;
        int ret = worker->leaves->get_key(worker->leaves, &key);
        if (ret != 0) {
            return store_break(worker, ret);
        }
        if (key.size < sizeof page->prefix + KITH_GROUP_SIZE ||
            memcmp(key.data, page->prefix, sizeof page->prefix) != 0 ||
            (page->until.size > 0 &&
             kith_bytes_compare(kith_bytes_make(key.data, key.size), page->until) > 0)) {
            return KITH_ENOTFOUND;
        }
        err = leaf_row(worker, page, kith_bytes_make(key.data, key.size), &row);
        if (err == KITH_OK) {
            page->bytes += row.name.size + row.state.size;
            if (page->count == page->most ||
                (page->count > 0 && page->bytes > KITH_PAGE_BYTES_MAX)) {
                return KITH_OK;
            }
            page->rows[page->count++] = row;
            kith_sum_replace(&page->skipped, &none, &row.hash);
            kith_sum_add(&page->sum, &page->skipped);
            memset(&page->skipped, 0, sizeof page->skipped);
        } else if (err != KITH_ENOTFOUND) {
            return err;
        }
        ret = worker->leaves->next(worker->leaves);
        err = ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
    }
    return err;
}

/* How many rows there are in the leaves, as far as they go into an answer. */
static uint32_t rows_most(const struct store_worker *worker, const struct kith_store_op *op)
{
    const struct store_leaf *leaves = worker->sums->partitions[op->partition];
    uint32_t most = op->u.leaf.digest ? KITH_LEAF_HASHES_MAX : KITH_LEAF_ROWS_MAX;
    uint32_t rows = 0;
    for (uint32_t i = 0; leaves != NULL && i < KITH_TREE_LEAVES && rows < most; i++) {
        rows += kith_leaf_in(&op->u.leaf.leaves, i) ? leaves[i].count : 0;
    }
    return rows < most ? rows : most;
}

enum kith_err store_leaf_read(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    struct kith_arena *arena = &worker->round->arena;
    uint32_t have = op->u.leaf.have_count;
    if (have > KITH_LEAF_HASHES_MAX) {
        return store_fail(worker, done, KITH_EINVAL, "at most %u hashes are compared",
                          KITH_LEAF_HASHES_MAX);
    }
    struct leaf_page page = {.op = op,
                             .most = rows_most(worker, op),
                             .prefix = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition}};
    page.rows = kith_arena_calloc(arena, page.most + 1u, sizeof *page.rows);
    page.have = kith_arena_copy(arena, op->u.leaf.have, have * sizeof *page.have);
    if (page.rows == NULL || page.have == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    if (have > 1) {
        qsort(page.have, have, sizeof *page.have, hash_compare);
    }
    enum kith_err err = KITH_ENOTFOUND;
    uint32_t leaf = 0;
    for (; leaf < KITH_TREE_LEAVES && err == KITH_ENOTFOUND; leaf++) {
        page.prefix[2] = (uint8_t)leaf;
        err = kith_leaf_in(&op->u.leaf.leaves, leaf) ? leaf_take(worker, &page) : KITH_ENOTFOUND;
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "leaf: %s", kith_err_text((int)err));
    }
    done->damaged = page.damaged; /* they are set aside after the round */
    done->u.leaf.more = err == KITH_OK;
    done->u.leaf.end = err == KITH_OK ? leaf - 1 : KITH_TREE_LEAVES;
    done->u.leaf.row_count = page.count;
    done->u.leaf.rows = page.rows;
    done->u.leaf.part = op->u.leaf.part;
    if (err != KITH_OK) { /* to the end */
        kith_sum_add(&page.sum, &page.skipped);
    }
    done->u.leaf.part_sum = page.sum;
    if (op->u.leaf.sums) {
        done->u.leaf.sums = sums_of(worker, op->partition);
    }
    return op->u.leaf.sums && done->u.leaf.sums == NULL
               ? store_fail(worker, done, KITH_ENOMEM, "out of memory")
               : KITH_OK;
}
