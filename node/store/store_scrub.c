/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_scrub.c - reads a leaf of a tree, whether or not anybody asked for what is in it: that
 * nothing was damaged since it was written, and that the leaf's sum is what is there.
 *
 * What is damaged is set aside after the round, as when any other operation meets it
 * (store_damage.c). A sum that is wrong is put right: anti-entropy would look for a difference that
 * is none, or not for one that is. And some of the references are looked through, for those that
 * damaged rows have left (store_stale.c). */
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

/* The sum, count and bytes in memory against what the records add up to. */
static enum kith_err check_sum(struct store_worker *worker, const struct kith_store_op *op,
                               const uint8_t prefix[3], struct kith_store_done *done)
{
    static const struct store_leaf empty;
    struct store_leaf found;
    const struct store_leaf *leaves = worker->sums->partitions[op->partition];
    const struct store_leaf *leaf = leaves == NULL ? &empty : &leaves[op->u.scrub.leaf];
    enum kith_err err =
        store_damage_sum(worker, prefix, &found, &done->damaged, &done->u.scrub.bytes);
    if (err != KITH_OK) {
        return err;
    }
    done->u.scrub.count += worker->bulk ? 0 : found.count;
    if (done->damaged > 0 || (kith_sum_equal(&leaf->sum, &found.sum) &&
                              leaf->count == found.count && leaf->bytes == found.bytes)) {
        return KITH_OK; /* damaged: it is summed up anew when that is set aside */
    }
    kith_log_error("store", "the sum of leaf %u of partition %u was wrong, and is put right",
                   op->u.scrub.leaf, op->partition);
    done->u.scrub.wrong = true;
    worker->writes++; /* so that the commit writes the sum */
    return store_tree_set(worker, op->partition, op->u.scrub.leaf, &found);
}

/* Reads the contents of some chunks of the leaf. */
static enum kith_err check_chunks(struct store_worker *worker, const struct kith_store_op *op,
                                  const uint8_t prefix[3], struct kith_store_done *done)
{
    struct store_scrub_page page;
    enum kith_err err = store_scrub_page(worker, op, prefix, &page);
    for (uint32_t i = 0; i < page.count && err == KITH_OK; i++) {
        struct kith_bytes record;
        struct store_chunk chunk;
        bool good = false;
        struct kith_bytes key = kith_bytes_make(page.keys[i], KITH_CHUNK_KEY_SIZE);
        err = store_read(worker, worker->chunks, key, &record);
        if (err == KITH_OK && store_chunk_decode(record, &chunk) == KITH_OK) {
            err = store_chunk_check(worker, &chunk, &good);
            done->u.scrub.bytes += chunk.size;
        }
        done->damaged += err == KITH_OK && !good ? 1 : 0;
        done->u.scrub.count++;
    }
    done->u.scrub.more = page.more;
    if (page.count > 0) {
        done->u.scrub.after =
            store_chunk_id(kith_bytes_make(page.keys[page.count - 1], KITH_CHUNK_KEY_SIZE));
    }
    return err;
}

enum kith_err store_scrub_page(struct store_worker *worker, const struct kith_store_op *op,
                               const uint8_t prefix[3], struct store_scrub_page *ret_page)
{
    WT_CURSOR *cursor = worker->chunks;
    uint8_t after[KITH_CHUNK_KEY_SIZE];
    WT_ITEM item = {.data = prefix, .size = 3};
    int exact = 0;
    uint64_t bytes = 0;
    ret_page->count = 0;
    ret_page->more = false;
    if (op->u.scrub.has_after) {
        item.data = store_chunk_key(op->partition, &op->u.scrub.after, after).data;
        item.size = sizeof after;
    }
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && op->u.scrub.has_after))) {
        ret = cursor->next(cursor);
    }
    for (; ret == 0; ret = cursor->next(cursor)) {
        WT_ITEM value;
        struct store_chunk chunk = {.size = 0};
        ret = cursor->get_key(cursor, &item);
        ret = ret == 0 ? cursor->get_value(cursor, &value) : ret;
        if (ret != 0 || item.size != KITH_CHUNK_KEY_SIZE || memcmp(item.data, prefix, 3) != 0) {
            break;
        }
        ret_page->more = ret_page->count == STORE_SCRUB_CHUNKS || bytes >= STORE_SCRUB_BYTES;
        if (ret_page->more) {
            break;
        }
        memcpy(ret_page->keys[ret_page->count++], item.data, KITH_CHUNK_KEY_SIZE);
        if (store_chunk_decode(kith_bytes_make(value.data, value.size), &chunk) == KITH_OK) {
            bytes += chunk.size;
        }
    }
    return ret == 0 || ret == WT_NOTFOUND ? KITH_OK : store_break(worker, ret);
}

/* One leaf, or a page of its chunks. */
static enum kith_err scrub_leaf(struct store_worker *worker, const struct kith_store_op *op,
                                struct kith_store_done *done)
{
    uint8_t prefix[3] = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition,
                         (uint8_t)op->u.scrub.leaf};
    enum kith_err err = KITH_OK;
    if (!op->u.scrub.has_after) {
        err = check_sum(worker, op, prefix, done);
    }
    return err == KITH_OK && worker->bulk ? check_chunks(worker, op, prefix, done) : err;
}

enum kith_err store_scrub(struct store_worker *worker, const struct kith_store_op *op,
                          struct kith_store_done *done)
{
    struct kith_store_op one = *op;
    enum kith_err err = KITH_OK;
    done->u.scrub.leaf = op->u.scrub.leaf;
    while (err == KITH_OK && done->u.scrub.leaf < KITH_TREE_LEAVES) {
        one.u.scrub.leaf = done->u.scrub.leaf;
        err = scrub_leaf(worker, &one, done); /* also one that is empty, as its sum says */
        if (done->u.scrub.more || done->damaged > 0) {
            break; /* what is damaged is looked for there */
        }
        one.u.scrub.has_after = false;
        done->u.scrub.leaf++;
        if (done->u.scrub.bytes >= STORE_SCRUB_BYTES || done->u.scrub.count >= STORE_SCRUB_ROWS) {
            break;
        }
    }
    if (err == KITH_OK && !worker->bulk && done->damaged == 0) {
        err = store_damage_nowhere(worker, op);
        err = err == KITH_OK ? store_stale_walk(worker) : err;
    }
    return err == KITH_OK ? err
                          : store_fail(worker, done, err, "scrub: %s", kith_err_text((int)err));
}
