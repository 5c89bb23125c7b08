/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * chunk_list.c - what anti-entropy reads of chunks: which there are in some leaves, and which of
 * another node's are not here. The key of a chunk begins with partition and leaf, so the table is
 * its own index. */
#include <string.h>

#include "store/store_int.h"

/* A page under work. */
struct list_page {
    uint8_t prefix[STORE_CHUNK_KEY_ID]; /* of the leaf at hand */
    uint32_t count;
    uint32_t damaged;
    struct kith_chunk_entry *chunks; /* [KITH_CHUNK_LIST_MAX] */
};

/* Stands on the first chunk of the leaf, or on the first one behind `after`; ENOTFOUND. */
static enum kith_err list_start(struct store_worker *worker, const struct list_page *page,
                                struct kith_bytes after)
{
    WT_CURSOR *cursor = worker->chunks;
    WT_ITEM item = {.data = page->prefix, .size = sizeof page->prefix};
    if (after.size > 0) {
        item.data = after.data;
        item.size = after.size;
    }
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && after.size > 0))) {
        ret = cursor->next(cursor);
    }
    return ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
}

/* The chunk on which the cursor stands; ENOTFOUND: the leaf is over. */
static enum kith_err list_entry(struct store_worker *worker, struct list_page *page,
                                struct kith_chunk_entry *entry, bool *ret_damaged)
{
    WT_ITEM key, value;
    struct store_chunk chunk;
    int ret = worker->chunks->get_key(worker->chunks, &key);
    ret = ret == 0 ? worker->chunks->get_value(worker->chunks, &value) : ret;
    if (ret != 0) {
        return store_break(worker, ret);
    }
    if (key.size != KITH_CHUNK_KEY_SIZE ||
        memcmp(key.data, page->prefix, sizeof page->prefix) != 0) {
        return KITH_ENOTFOUND;
    }
    entry->id = store_chunk_id(kith_bytes_make(key.data, key.size));
    *ret_damaged = store_chunk_decode(kith_bytes_make(value.data, value.size), &chunk) != KITH_OK;
    if (*ret_damaged) {
        page->damaged++;
        return KITH_OK;
    }
    entry->checksum = chunk.checksum;
    entry->size = chunk.size;
    return KITH_OK;
}

/* Takes the leaf's chunks up. ENOTFOUND: to its end. OK: the page is full. */
static enum kith_err list_take(struct store_worker *worker, struct list_page *page,
                               struct kith_bytes after)
{
    enum kith_err err = list_start(worker, page, after);
    while (err == KITH_OK) {
        struct kith_chunk_entry entry;
        bool damaged = false;
        err = list_entry(worker, page, &entry, &damaged);
        if (err != KITH_OK || page->count == KITH_CHUNK_LIST_MAX) {
            return err;
        }
        if (!damaged) {
            page->chunks[page->count++] = entry;
        }
        int ret = worker->chunks->next(worker->chunks);
        err = ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
    }
    return err;
}

enum kith_err store_chunk_list(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done)
{
    struct list_page page = {.prefix = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition}};
    uint8_t buffer[KITH_CHUNK_KEY_SIZE];
    struct kith_bytes after = {NULL, 0};
    uint32_t first = 0;
    page.chunks = kith_arena_alloc(&worker->round->arena, KITH_CHUNK_LIST_MAX * sizeof *page.chunks);
    if (page.chunks == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    if (op->u.chunk_list.has_after) {
        after = store_chunk_key(op->partition, &op->u.chunk_list.after, buffer);
        first = kith_tree_chunk_leaf(&op->u.chunk_list.after);
    }
    enum kith_err err = KITH_ENOTFOUND;
    for (uint32_t leaf = first; leaf < KITH_TREE_LEAVES && err == KITH_ENOTFOUND; leaf++) {
        struct kith_bytes none = {NULL, 0};
        page.prefix[2] = (uint8_t)leaf;
        if (kith_leaf_in(&op->u.chunk_list.leaves, leaf)) {
            err = list_take(worker, &page, leaf == first ? after : none);
        }
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "list of chunks: %s", kith_err_text((int)err));
    }
    done->damaged = page.damaged; /* they are set aside after the round */
    done->u.chunk_list.more = err == KITH_OK;
    done->u.chunk_list.count = page.count;
    done->u.chunk_list.chunks = page.chunks;
    return KITH_OK;
}

enum kith_err store_chunk_lack(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done)
{
    uint32_t count = op->u.chunk_lack.count;
    struct kith_chunk_entry *lacking =
        kith_arena_alloc(&worker->round->arena, (count + 1u) * sizeof *lacking);
    if (lacking == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_chunk_entry *chunk = &op->u.chunk_lack.chunks[i];
        uint8_t buffer[KITH_CHUNK_KEY_SIZE];
        struct kith_bytes record;
        enum kith_err err = store_read(worker, worker->chunks,
                                       store_chunk_key(op->partition, &chunk->id, buffer), &record);
        bool gone = false;
        if (err == KITH_ENOTFOUND) { /* one that was swept is not missed */
            err = store_chunk_gone(
                worker, store_chunk_key(op->partition, &chunk->id, buffer), &gone);
            if (err == KITH_OK && !gone) {
                lacking[found++] = *chunk;
            }
        }
        if (err != KITH_OK) {
            return store_fail(worker, done, err, "chunks: %s", kith_err_text((int)err));
        }
    }
    done->u.chunk_list.count = found;
    done->u.chunk_list.chunks = lacking;
    return KITH_OK;
}
