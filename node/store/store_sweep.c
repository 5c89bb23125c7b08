/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_sweep.c - chunks to which nothing refers (core/collect/sweep.h): marks beside the chunks, what new
 * references need a lease, and the end of a chunk.
 *
 * Table `marks` has the records of core/rows/sweepop.h under the keys of `chunks`. A lease may come to
 * another worker than a step does: both write the mark, and WiredTiger rolls back one of them. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

#define LEASE_SERVES 8u /* for this part of a grace */
#define SEEN_MAX 4096u /* chunks, or marks, that one operation looks at: some 20 ms */

/* ---- Marks ---- */

static enum kith_err mark_read(struct store_worker *worker, struct kith_bytes key,
                               struct kith_mark *ret_mark)
{
    struct kith_bytes bytes;
    enum kith_err err = store_read(worker, worker->marks, key, &bytes);
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return err;
    }
    if (kith_mark_decode(bytes, ret_mark) != KITH_OK) { /* then nothing is known, and all begins anew */
        kith_log_error("store", "%s: a damaged mark of a chunk is left out", worker->store->path);
        memset(ret_mark, 0, sizeof *ret_mark);
    }
    return KITH_OK;
}

static enum kith_err mark_write(struct store_worker *worker, struct kith_bytes key,
                                const struct kith_mark *mark)
{
    uint8_t bytes[KITH_MARK_SIZE];
    kith_mark_encode(mark, bytes);
    return store_write(worker, worker->marks, key, kith_bytes_make(bytes, sizeof bytes));
}

enum kith_err store_chunk_gone(struct store_worker *worker, struct kith_bytes key, bool *ret_gone)
{
    struct kith_mark mark;
    enum kith_err err = mark_read(worker, key, &mark);
    *ret_gone = err == KITH_OK && mark.state == KITH_MARK_GONE;
    return err;
}

/* Stands on the first key at or behind it; ENOTFOUND. */
static enum kith_err seek(struct store_worker *worker, WT_CURSOR *cursor, struct kith_bytes key)
{
    WT_ITEM item = {.data = key.data, .size = key.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && exact < 0) {
        ret = cursor->next(cursor);
    }
    return ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
}

/* The key on which the cursor stands; ENOTFOUND: it does not begin so. */
static enum kith_err key_here(struct store_worker *worker, WT_CURSOR *cursor,
                              struct kith_bytes prefix, struct kith_bytes *ret_key)
{
    WT_ITEM key;
    int ret = cursor->get_key(cursor, &key);
    if (ret != 0) {
        return store_break(worker, ret);
    }
    *ret_key = kith_bytes_make(key.data, key.size);
    bool fits = key.size >= prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0;
    return fits ? KITH_OK : KITH_ENOTFOUND;
}

static enum kith_err step_on(struct store_worker *worker, WT_CURSOR *cursor)
{
    int ret = cursor->next(cursor);
    return ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
}

/* Whether anything names the chunk; `kind` 0: whatever it is. */
static enum kith_err is_named(struct store_worker *worker, const struct kith_chunk_id *id,
                              uint8_t kind, bool *ret_named)
{
    uint8_t buffer[KITH_CHUNK_ID_SIZE + 1];
    memcpy(buffer, id->bytes, KITH_CHUNK_ID_SIZE);
    buffer[KITH_CHUNK_ID_SIZE] = kind;
    struct kith_bytes prefix = kith_bytes_make(buffer, KITH_CHUNK_ID_SIZE + (kind != 0 ? 1u : 0u));
    struct kith_bytes key;
    enum kith_err err = seek(worker, worker->refs, prefix);
    if (err == KITH_OK) {
        err = key_here(worker, worker->refs, prefix, &key);
    }
    *ret_named = err == KITH_OK;
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* ---- What a write may refer to ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, KITH_CHUNK_ID_SIZE);
}

static bool has_id(const struct kith_chunk_id *ids, uint32_t count, const struct kith_chunk_id *id)
{
    return count > 0 && bsearch(id, ids, count, sizeof *ids, compare_ids) != NULL;
}

static enum kith_err dropped_add(struct store_worker *worker, struct store_unleased *check,
                                 const struct store_refs *before, const struct store_refs *after)
{
    struct kith_chunk_id *all =
        kith_arena_alloc(&worker->round->arena,
                         ((size_t)check->dropped_count + before->count + 1u) * sizeof *all);
    if (all == NULL) {
        return KITH_ENOMEM;
    }
    uint32_t count = check->dropped_count;
    if (count > 0) {
        memcpy(all, check->dropped, count * sizeof *all);
    }
    for (uint32_t i = 0; i < before->count; i++) {
        if (!has_id(after->ids, after->count, &before->ids[i])) {
            all[count++] = before->ids[i];
        }
    }
    qsort(all, count, sizeof *all, compare_ids);
    check->dropped = all;
    check->dropped_count = count;
    return KITH_OK;
}

/* Of those that are named anew. */
static enum kith_err check_one(struct store_worker *worker, struct store_unleased *check,
                               const struct kith_chunk_id *id)
{
    const struct kith_refs_rule *rule = check->rule;
    bool may = kith_chunk_is_young(id, rule->now_ms, rule->grace_ms) ||
               has_id(rule->leased, rule->leased_count, id);
    if (!may && check->own) {
        may = has_id(check->dropped, check->dropped_count, id);
        enum kith_err err = may ? KITH_OK : is_named(worker, id, STORE_REFERRER_ROW, &may);
        if (err != KITH_OK) {
            return err;
        }
    }
    if (may || check->count == KITH_SWEEP_MAX) { /* what is too much is asked for in another round */
        return KITH_OK;
    }
    if (check->ids == NULL) {
        check->ids =
            kith_arena_alloc(&worker->round->arena, KITH_SWEEP_MAX * sizeof *check->ids);
    }
    if (check->ids == NULL) {
        return KITH_ENOMEM;
    }
    check->ids[check->count++] = *id;
    return KITH_OK;
}

void store_unleased_begin(struct store_unleased *check, const struct kith_refs_rule *rule, bool own)
{
    *check = (struct store_unleased){.rule = rule, .own = own && rule->own};
}

enum kith_err store_unleased_check(struct store_worker *worker, struct store_unleased *check,
                                   const struct store_refs *before, const struct store_refs *after)
{
    enum kith_err err = KITH_OK;
    if (check->rule->grace_ms == 0) {
        return KITH_OK;
    }
    for (uint32_t i = 0; err == KITH_OK && i < after->count; i++) {
        if (!has_id(before->ids, before->count, &after->ids[i])) {
            err = check_one(worker, check, &after->ids[i]);
        }
    }
    return err == KITH_OK && before->count > 0 ? dropped_add(worker, check, before, after) : err;
}

enum kith_err store_unleased_end(struct store_worker *worker, struct store_unleased *check,
                                 struct kith_store_done *done)
{
    if (check->count == 0) {
        return KITH_OK;
    }
    qsort(check->ids, check->count, sizeof *check->ids, compare_ids);
    uint32_t count = 1;
    for (uint32_t i = 1; i < check->count; i++) {
        if (compare_ids(&check->ids[count - 1], &check->ids[i]) != 0) {
            check->ids[count++] = check->ids[i];
        }
    }
    done->u.unleased.count = count;
    done->u.unleased.ids = check->ids;
    return store_fail(worker, done, KITH_ECANCELED, "it refers to chunks that have to be leased");
}

/* ---- Lists ---- */

/* Marks that say nothing any more go. */
static enum kith_err forget_marks(struct store_worker *worker, const struct kith_store_op *op)
{
    uint8_t buffer[2] = {(uint8_t)(op->partition >> 8), (uint8_t)op->partition};
    struct kith_bytes prefix = kith_bytes_make(buffer, sizeof buffer);
    enum kith_err err = seek(worker, worker->marks, prefix);
    for (uint32_t seen = 0; err == KITH_OK && seen < SEEN_MAX; seen++) {
        struct kith_bytes key;
        struct kith_mark mark;
        WT_ITEM value;
        err = key_here(worker, worker->marks, prefix, &key);
        if (err != KITH_OK) {
            break;
        }
        int ret = worker->marks->get_value(worker->marks, &value);
        bool over = ret == 0 && kith_mark_decode(kith_bytes_make(value.data, value.size), &mark) ==
                                    KITH_OK &&
                    kith_mark_over(&mark, op->u.sweep_list.now_ms, op->u.sweep_list.grace_ms);
        if (over) {
            worker->writes++;
            ret = worker->marks->remove(worker->marks); /* the cursor stays where it is */
        }
        err = ret == 0 ? step_on(worker, worker->marks) : store_break(worker, ret);
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

enum kith_err store_marks_forget(struct store_worker *worker, uint32_t partition)
{
    const uint8_t buffer[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    struct kith_bytes prefix = kith_bytes_make(buffer, sizeof buffer);
    enum kith_err err = seek(worker, worker->marks, prefix);
    while (err == KITH_OK) {
        struct kith_bytes key;
        err = key_here(worker, worker->marks, prefix, &key);
        if (err != KITH_OK) {
            break;
        }
        worker->writes++;
        int ret = worker->marks->remove(worker->marks);
        err = ret == 0 ? step_on(worker, worker->marks) : store_break(worker, ret);
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* Whether the chunk is to be listed; *entry. */
static enum kith_err list_one(struct store_worker *worker, const struct kith_store_op *op,
                              const struct kith_chunk_id *id, struct kith_sweep_entry *entry,
                              bool *ret_listed)
{
    uint64_t now_ms = op->u.sweep_list.now_ms, grace_ms = op->u.sweep_list.grace_ms;
    uint8_t buffer[KITH_CHUNK_KEY_SIZE];
    struct kith_bytes key = store_chunk_key(op->partition, id, buffer);
    struct kith_mark mark;
    bool named = false;
    *ret_listed = false;
    if (kith_chunk_id_time_ms(id) + grace_ms > now_ms) {
        return KITH_OK;
    }
    enum kith_err err = is_named(worker, id, 0, &named);
    if (err == KITH_OK) {
        err = mark_read(worker, key, &mark);
    }
    if (err != KITH_OK) {
        return err;
    }
    if (named) {
        return kith_mark_clear(&mark) ? mark_write(worker, key, &mark) : KITH_OK;
    }
    struct kith_mark trial = mark;
    entry->id = *id;
    entry->stamp = mark.stamp;
    entry->ripe = kith_mark_ripe(&mark, now_ms, grace_ms);
    entry->fresh = mark.state != KITH_MARK_CONDEMNED &&
                   kith_mark_step(&trial, KITH_SWEEP_CONDEMN, id, ~mark.stamp, now_ms, grace_ms);
    *ret_listed = entry->ripe || entry->fresh;
    return KITH_OK;
}

static enum kith_err list_chunks(struct store_worker *worker, const struct kith_store_op *op,
                                 struct kith_sweep_entry *list, struct kith_store_done *done)
{
    uint8_t buffer[KITH_CHUNK_KEY_SIZE + 1];
    struct kith_bytes start = kith_bytes_make(buffer, 2);
    if (op->u.sweep_list.has_after) { /* the first key behind it */
        (void)store_chunk_key(op->partition, &op->u.sweep_list.after, buffer);
        buffer[KITH_CHUNK_KEY_SIZE] = 0;
        start.size = sizeof buffer;
    }
    buffer[0] = (uint8_t)(op->partition >> 8);
    buffer[1] = (uint8_t)op->partition;
    struct kith_bytes prefix = kith_bytes_make(buffer, 2);
    enum kith_err err = seek(worker, worker->chunks, start);
    for (uint32_t seen = 0; err == KITH_OK; seen++) {
        struct kith_bytes key;
        bool listed = false;
        err = key_here(worker, worker->chunks, prefix, &key);
        if (err != KITH_OK) {
            break;
        }
        if (seen == SEEN_MAX || done->u.sweep_list.count == KITH_SWEEP_MAX) {
            done->u.sweep_list.more = true;
            return KITH_OK;
        }
        struct kith_chunk_id id = store_chunk_id(key);
        done->u.sweep_list.last = id;
        err = list_one(worker, op, &id, &list[done->u.sweep_list.count], &listed);
        done->u.sweep_list.count += listed ? 1 : 0;
        if (err == KITH_OK) {
            err = step_on(worker, worker->chunks);
        }
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

enum kith_err store_sweep_list(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done)
{
    struct kith_sweep_entry *list =
        kith_arena_alloc(&worker->round->arena, (KITH_SWEEP_MAX + 1u) * sizeof *list);
    enum kith_err err = list == NULL ? KITH_ENOMEM : KITH_OK;
    if (err == KITH_OK && !op->u.sweep_list.has_after) {
        err = forget_marks(worker, op);
    }
    if (err == KITH_OK && !op->u.sweep_list.marks_only) {
        err = list_chunks(worker, op, list, done);
    }
    done->u.sweep_list.chunks = list;
    return err == KITH_OK ? KITH_OK
                          : store_fail(worker, done, err, "unreferenced chunks: %s",
                                       kith_err_text((int)err));
}

enum kith_err store_sweep_look(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done)
{
    uint32_t count = op->u.sweep.count;
    struct kith_chunk_id *kept = kith_arena_alloc(&worker->round->arena, count * sizeof *kept);
    enum kith_err err = kept == NULL ? KITH_ENOMEM : KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        const struct kith_chunk_id *id = &op->u.sweep.chunks[i].id;
        bool named = false;
        err = is_named(worker, id, 0, &named);
        if (named) {
            kept[done->u.sweep.kept_count++] = *id;
        }
    }
    done->u.sweep.kept = kept;
    return err == KITH_OK
               ? KITH_OK
               : store_fail(worker, done, err, "references: %s", kith_err_text((int)err));
}

/* ---- Steps ---- */

/* The chunk goes; its place in a segment is given back once that is on the disk. */
static enum kith_err delete_one(struct store_worker *worker, struct kith_bytes key,
                                struct kith_store_done *done)
{
    struct kith_bytes record;
    struct store_chunk chunk;
    enum kith_err err = store_read(worker, worker->chunks, key, &record);
    if (err == KITH_ENOTFOUND) {
        return KITH_OK;
    }
    if (err == KITH_OK) {
        err = store_chunk_decode(record, &chunk);
    }
    if (err == KITH_OK) {
        err = store_chunk_remove(worker, key); /* record is gone: chunk's numbers are copies */
    }
    if (err == KITH_OK && chunk.in_segment) {
        err = segment_hole_put(worker, chunk.segment, chunk.offset, chunk.size);
    }
    if (err == KITH_OK) {
        done->u.sweep.deleted++;
        done->u.sweep.bytes += chunk.size;
    }
    return err;
}

static enum kith_err take_step(struct store_worker *worker, const struct kith_store_op *op,
                               const struct kith_sweep_chunk *chunk, bool *ret_taken,
                               struct kith_store_done *done)
{
    enum kith_sweep_step step = op->u.sweep.step;
    uint8_t buffer[KITH_CHUNK_KEY_SIZE];
    struct kith_bytes key = store_chunk_key(op->partition, &chunk->id, buffer);
    struct kith_mark mark;
    bool named = false;
    *ret_taken = false;
    enum kith_err err = mark_read(worker, key, &mark);
    if (err == KITH_OK && step != KITH_SWEEP_CLEAR) {
        err = is_named(worker, &chunk->id, 0, &named);
    }
    if (err != KITH_OK || named ||
        !kith_mark_step(&mark, step, &chunk->id, chunk->stamp, op->u.sweep.now_ms,
                        op->u.sweep.grace_ms)) {
        return err;
    }
    if (step == KITH_SWEEP_DELETE) {
        err = delete_one(worker, key, done);
        if (err == KITH_ECORRUPT) { /* it is read, and set aside, by the scrub */
            return KITH_OK;
        }
    }
    *ret_taken = err == KITH_OK;
    return err == KITH_OK ? mark_write(worker, key, &mark) : err;
}

enum kith_err store_sweep_step(struct store_worker *worker, const struct kith_store_op *op,
                               struct kith_store_done *done)
{
    uint32_t count = op->u.sweep.count;
    struct kith_chunk_id *kept = kith_arena_alloc(&worker->round->arena, count * sizeof *kept);
    enum kith_err err = kept == NULL ? KITH_ENOMEM : KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        bool taken = false;
        err = take_step(worker, op, &op->u.sweep.chunks[i], &taken, done);
        if (!taken) {
            kept[done->u.sweep.kept_count++] = op->u.sweep.chunks[i].id;
        }
    }
    done->u.sweep.kept = kept;
    return err == KITH_OK ? KITH_OK
                          : store_fail(worker, done, err, "a step of a sweep: %s",
                                       kith_err_text((int)err));
}

/* ---- Leases ---- */

/* A lease that was noted not long ago serves: who writes to an old file again and again asks for the
 * same ones each time. */
static bool lease_serves(const struct kith_mark *mark, uint64_t now_ms, uint64_t grace_ms)
{
    return mark->state == KITH_MARK_NONE && mark->lease_ms != 0 && mark->lease_ms <= now_ms &&
           now_ms - mark->lease_ms < grace_ms / LEASE_SERVES;
}

/* Only what is here, or has a mark, is marked: whoever asks may name what there never was, and a
 * mark stays. One that is neither here nor condemned has nothing that a lease would void: sweep.h.
 */
enum kith_err store_chunk_lease(struct store_worker *worker, const struct kith_store_op *op,
                                struct kith_store_done *done)
{
    uint32_t count = op->u.lease.count;
    if (!store_space_allows(worker, STORE_SPACE_SMALL, (uint64_t)count * STORE_PAGES_REF)) {
        return store_fail_space(worker, done);
    }
    struct kith_chunk_id *held = kith_arena_alloc(&worker->round->arena, 2u * count * sizeof *held);
    struct kith_chunk_id *gone = held == NULL ? NULL : held + count;
    enum kith_err err = held == NULL ? KITH_ENOMEM : KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < count; i++) {
        const struct kith_chunk_id *id = &op->u.lease.ids[i];
        uint8_t buffer[KITH_CHUNK_KEY_SIZE];
        struct kith_bytes key =
            store_chunk_key(kith_chunk_partition(id, worker->store->partitions), id, buffer);
        struct kith_mark mark;
        struct kith_bytes record;
        err = mark_read(worker, key, &mark);
        bool marked = mark.state != KITH_MARK_NONE || mark.lease_ms != 0;
        bool serves = err == KITH_OK &&
                      lease_serves(&mark, op->u.lease.now_ms, op->u.lease.grace_ms);
        if (err == KITH_OK && !kith_mark_lease(&mark, op->u.lease.now_ms)) {
            gone[done->u.lease.gone_count++] = *id;
            continue;
        }
        if (err == KITH_OK) {
            err = store_read(worker, worker->chunks, key, &record);
        }
        bool here = err == KITH_OK;
        if (here) {
            held[done->u.lease.held_count++] = *id;
        }
        err = err == KITH_ENOTFOUND ? KITH_OK : err;
        if (err == KITH_OK && !serves && (here || marked)) {
            err = mark_write(worker, key, &mark);
        }
    }
    done->u.lease.held = held;
    done->u.lease.gone = gone;
    return err == KITH_OK ? KITH_OK
                          : store_fail(worker, done, err, "leases: %s", kith_err_text((int)err));
}
