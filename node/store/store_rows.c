/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_rows.c - the operations on rows. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/store_conflict.h"

#define SMALL_STATE_BYTES 256u
#define RUN_TELL_MS       3600000u
#define RUN_RETRIES       3u /* a second copy of this very run would have to guess 64 bits again */

struct kith_bytes store_row_key(uint32_t partition, const struct kith_group *group,
                                struct kith_bytes name, uint8_t buffer[KITH_ROW_KEY_MAX])
{
    buffer[0] = (uint8_t)(partition >> 8);
    buffer[1] = (uint8_t)partition;
    memcpy(buffer + 2, group->bytes, KITH_GROUP_SIZE);
    if (name.size > 0) {
        memcpy(buffer + 2 + KITH_GROUP_SIZE, name.data, name.size);
    }
    return kith_bytes_make(buffer, 2 + KITH_GROUP_SIZE + name.size);
}

struct kith_bytes store_leaf_key(uint32_t partition, uint32_t leaf, const struct kith_group *group,
                                 struct kith_bytes name, uint8_t buffer[KITH_LEAF_KEY_MAX])
{
    buffer[0] = (uint8_t)(partition >> 8);
    buffer[1] = (uint8_t)partition;
    buffer[2] = (uint8_t)leaf;
    memcpy(buffer + 3, group->bytes, KITH_GROUP_SIZE);
    if (name.size > 0) {
        memcpy(buffer + 3 + KITH_GROUP_SIZE, name.data, name.size);
    }
    return kith_bytes_make(buffer, 3 + KITH_GROUP_SIZE + name.size);
}

/* One row under work: its key, and what is stored there. */
struct row_place {
    uint32_t partition;
    struct kith_key key;
    struct kith_bytes stored_key;
    struct kith_bytes
        old; /* borrowed from the page the cursor stands on; empty when there is none */
    bool existed;
    uint8_t buffer[KITH_ROW_KEY_MAX];
};

static enum kith_err row_read(struct store_worker *worker, uint32_t partition,
                              const struct kith_group *group, struct kith_bytes name,
                              struct row_place *ret_place)
{
    if (name.size > KITH_NAME_MAX) {
        return KITH_EINVAL;
    }
    ret_place->partition = partition;
    ret_place->key.group = *group;
    ret_place->key.name = name;
    ret_place->stored_key = store_row_key(partition, group, name, ret_place->buffer);
    enum kith_err err = store_read(worker, worker->rows, ret_place->stored_key, &ret_place->old);
    ret_place->existed = err == KITH_OK;
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* Of a row of ours, or (`hints`) of one that is kept for others: `old` is the record in the hint. */
static enum kith_err record_read(struct store_worker *worker, uint32_t partition, bool hints,
                                 const struct kith_group *group, struct kith_bytes name,
                                 struct row_place *ret_place)
{
    if (!hints) {
        return row_read(worker, partition, group, name, ret_place);
    }
    ret_place->partition = partition;
    ret_place->key.group = *group;
    ret_place->key.name = name;
    enum kith_err err = store_hint_record(worker, partition, &ret_place->key, &ret_place->old);
    ret_place->existed = err == KITH_OK && ret_place->old.size > 0;
    return err;
}

static bool row_has_refs(const struct kith_row *row)
{
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (row->siblings[i].ref_count > 0) {
            return true;
        }
    }
    return false;
}

/* `check`, if it is not NULL: whether what it names anew may be named. */
static enum kith_err row_refs(struct store_worker *worker, const struct row_place *place,
                              const struct kith_rowop_result *result,
                              struct store_unleased *check)
{
    if (!row_has_refs(&result->old_row) && !row_has_refs(&result->new_row)) {
        return KITH_OK;
    }
    struct kith_arena *arena = &worker->round->arena;
    struct store_refs before, after;
    enum kith_err err = store_refs_of_row(arena, &result->old_row, &before);
    if (err == KITH_OK) {
        err = store_refs_of_row(arena, &result->new_row, &after);
    }
    if (err == KITH_OK && check != NULL) {
        err = store_unleased_check(worker, check, &before, &after);
    }
    if (err == KITH_OK) {
        err = store_refs_change(worker, &before, &after, STORE_REFERRER_ROW, place->stored_key);
    }
    return err;
}

/* Writes what the row operation made: record, leaf index, sum, references. The cursor still stands
 * on the row where there was one. */
static enum kith_err row_write(struct store_worker *worker, const struct row_place *place,
                               const struct kith_rowop_result *result,
                               struct store_unleased *check)
{
    enum kith_err err = row_refs(worker, place, result, check); /* old_row borrows from the page */
    if (err == KITH_OK) { /* so may what new_row took over */
        err = store_conflict_change(worker, place->stored_key, &result->old_row, &result->new_row);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_bytes here = {NULL, 0};
    err = store_write(worker, worker->rows, place->existed ? here : place->stored_key,
                      result->record);
    if (err != KITH_OK) {
        return err;
    }
    uint32_t leaf = kith_tree_leaf(&place->key);
    if (!place->existed) {
        uint8_t buffer[KITH_LEAF_KEY_MAX];
        struct kith_bytes key =
            store_leaf_key(place->partition, leaf, &place->key.group, place->key.name, buffer);
        err = store_write(worker, worker->leaves, key, kith_bytes_make("", 0));
        if (err != KITH_OK) {
            return err;
        }
    }
    struct store_change change = {.old_hash = &result->old_hash,
                                  .new_hash = &result->new_hash,
                                  .count = place->existed ? 0 : 1};
    err = store_gone_change(worker, place->stored_key, kith_row_is_gone(&result->old_row),
                            kith_row_is_gone(&result->new_row));
    if (err != KITH_OK) {
        return err;
    }
    return store_tree_change(worker, place->partition, leaf, &change);
}

/* The state of an unchanged row lies in the page and has to outlive the transaction. */
static enum kith_err keep_state(struct store_worker *worker, struct kith_rowop_result *result)
{
    if (result->changed || result->state.size == 0) {
        return KITH_OK;
    }
    const void *copy =
        kith_arena_copy(&worker->round->arena, result->state.data, result->state.size);
    result->state.data = copy;
    return copy == NULL ? KITH_ENOMEM : KITH_OK;
}

/* This run's dots were met with a higher counter than it gave out: somebody else draws under it, or
 * somebody says so. ENOTREADY: no run is left (run_budget.h). */
static enum kith_err take_new_run(struct store_worker *worker, uint64_t seen_run)
{
    struct kith_store *store = worker->store;
    uint64_t fresh = 0;
    enum kith_err err = store_random(&fresh);
    if (err != KITH_OK) {
        return err;
    }
    uint64_t now = kith_mono_ms();
    bool tell = false;
    pthread_mutex_lock(&store->pool_lock);
    bool same = atomic_load(&store->run) == seen_run;
    if (same && kith_run_budget_take(&store->run_budget, now)) {
        atomic_store(&store->run, fresh);
        tell = true;
    } else if (same) {
        err = KITH_ENOTREADY;
        tell = now >= store->run_told_ms;
    }
    store->run_told_ms = tell ? now + RUN_TELL_MS : store->run_told_ms;
    pthread_mutex_unlock(&store->pool_lock);
    if (tell) {
        kith_log_warn(
            "store",
            "%s: something names writes of this node that it has not made: a machine that "
            "was put back from a snapshot or runs twice, or a client that invents them; %s",
            store->path,
            err == KITH_OK ? "going on under a new run"
                           : "no new run is left, so it does not coordinate such rows");
    }
    return err;
}

/* Under a new run the operation may be done again; ENOTREADY: there is none. */
static enum kith_err again(struct store_worker *worker, uint32_t attempt, uint64_t seen_run)
{
    return attempt < RUN_RETRIES ? take_new_run(worker, seen_run) : KITH_EIO;
}

static struct kith_rowop_env row_env(struct store_worker *worker, uint64_t wall_ms, bool retry,
                                     bool draw)
{
    struct kith_store *store = worker->store;
    struct kith_rowop_env env = {
        .wall_ms = wall_ms, .secret = store_secret(store), .retry = retry};
    env.run = atomic_load(&store->run); /* before the counter: a run never sees a lower one after */
    if (draw) {
        env.counter = atomic_fetch_add(&store->counter, 1) + 1;
    }
    env.counter_last = atomic_load(&store->counter);
    return env;
}

static enum kith_err row_error(struct store_worker *worker, struct kith_store_done *done,
                               enum kith_err err, struct kith_bytes name)
{
    const char *what =
        err == KITH_ELIMIT     ? "too many concurrent versions; read the row and write "
                                 "again with its context"
        : err == KITH_ETOOBIG  ? "the row with all its versions would be too large"
        : err == KITH_ECORRUPT ? "the stored row does not fit its checksum"
        : err == KITH_EINVAL
            ? "the name is too long, a kept version is not in the context, or a chunk is "
              "of another volume"
        : err == KITH_ENOTREADY
            ? "the context names writes that this node does not know; try another one"
            : kith_err_text((int)err);
    int size = name.size > 64 ? 64 : (int)name.size;
    return store_fail(worker, done, err, "row \"%.*s\": %s", size,
                      name.size == 0 ? "" : (const char *)name.data, what);
}

/* Draws a counter and carries the update out on `old`, again under a new run where that must be. */
enum kith_err store_rowop_put(struct store_worker *worker, const struct kith_store_op *op,
                              const struct kith_key *key, struct kith_bytes old,
                              const struct kith_put_update *update,
                              const struct kith_floor *floor,
                              struct kith_rowop_result *result)
{
    enum kith_err err = KITH_OK;
    for (uint32_t attempt = 0; err == KITH_OK; attempt++) {
        struct kith_rowop_env env =
            row_env(worker, op->u.put.wall_ms, op->u.put.retry, true);
        env.floor = floor;
        err = kith_rowop_put(&worker->round->arena, &env, key, old, update, op->u.put.writer,
                             op->u.put.time, &op->u.put.request, result);
        if (err != KITH_OK || !result->foreign_run) {
            break;
        }
        err = again(worker, attempt, env.run);
    }
    return err;
}

static enum kith_err put_one(struct store_worker *worker, const struct kith_store_op *op,
                             const struct kith_put_update *update, struct kith_rowop_result *result,
                             struct store_unleased *check)
{
    const struct kith_hint_want *hint = op->u.put.hint;
    if (hint != NULL && !hint->thin) {
        enum kith_err err = store_hint_put(worker, op, update, result, check);
        return err == KITH_OK ? keep_state(worker, result) : err;
    }
    struct row_place place;
    const struct kith_floor *floor = NULL;
    enum kith_err err = store_floor_get(worker, op->partition, &floor);
    if (err == KITH_OK) {
        err = row_read(worker, op->partition, &op->u.put.group, update->name, &place);
    }
    if (err == KITH_OK) {
        err = store_rowop_put(worker, op, &place.key, place.old, update, floor, result);
    }
    if (err == KITH_OK && result->changed) {
        err = row_write(worker, &place, result, check);
    }
    if (err == KITH_OK) {
        err = keep_state(worker, result);
    }
    if (err == KITH_OK && hint != NULL) {
        err = store_hint_mark(worker, op->partition, &place.key, hint, op->u.put.wall_ms);
    }
    return err;
}

/* A batch names each row once: the second update of a row would be made from the state before the
 * first. At most KITH_BATCH_MAX names, nearly always fewer than seven. */
static bool names_distinct(const struct kith_put_update *updates, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (kith_bytes_equal(updates[i].name, updates[j].name)) {
                return false;
            }
        }
    }
    return true;
}

static enum store_space_use put_use(const struct kith_put_update *updates, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (updates[i].has_sibling) {
            return STORE_SPACE_VALUE;
        }
    }
    return STORE_SPACE_SMALL;
}

/* What it may take of the disk, in the log and in pages. */
static uint64_t put_bytes(const struct kith_put_update *updates, uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += STORE_PAGES_ROW + (uint64_t)updates[i].ref_count * STORE_PAGES_REF +
                 2u * (updates[i].value.size + updates[i].context.size);
    }
    return bytes;
}

enum kith_err store_put(struct store_worker *worker, const struct kith_store_op *op,
                        struct kith_store_done *done)
{
    uint32_t count = op->u.put.update_count;
    if (count == 0 || count > KITH_BATCH_MAX || !names_distinct(op->u.put.updates, count)) {
        return store_fail(worker, done, KITH_EINVAL, "a batch has 1 to %u rows, each once",
                          KITH_BATCH_MAX);
    }
    if (!store_space_allows(worker, put_use(op->u.put.updates, count),
                            put_bytes(op->u.put.updates, count))) {
        return store_fail_space(worker, done);
    }
    struct kith_store_put_row *rows = kith_arena_alloc(&worker->round->arena, count * sizeof *rows);
    if (rows == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    bool duplicate = true;
    struct store_unleased check;
    store_unleased_begin(&check, &op->u.put.refs, op->u.put.hint == NULL || op->u.put.hint->thin);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_rowop_result result;
        enum kith_err err = put_one(worker, op, &op->u.put.updates[i], &result, &check);
        if (err != KITH_OK) {
            return row_error(worker, done, err, op->u.put.updates[i].name);
        }
        duplicate = duplicate && result.duplicate;
        rows[i].dot = result.dot;
        rows[i].time = result.time;
        rows[i].state = result.state;
    }
    if (check.count > 0) {
        return store_unleased_end(worker, &check, done);
    }
    done->u.put.duplicate = duplicate;
    done->u.put.row_count = count;
    done->u.put.rows = rows;
    return KITH_OK;
}

struct merge {
    uint32_t partition;
    const struct kith_group *group;
    struct store_request request;
    const struct kith_hint_want *hint;
};

enum kith_err store_rowop_merge(struct store_worker *worker, const struct kith_key *key,
                                struct kith_bytes old, const struct kith_replica_row *incoming,
                                const struct store_request *request,
                                const struct kith_floor *floor,
                                struct kith_rowop_result *result)
{
    enum kith_err err = KITH_OK;
    struct kith_arena *arena = &worker->round->arena;
    bool run_stays = false;
    for (uint32_t attempt = 0; err == KITH_OK; attempt++) {
        struct kith_rowop_env env = row_env(worker, request->wall_ms, request->retry, false);
        env.floor = floor;
        env.run_stays = run_stays;
        err = kith_rowop_merge(arena, &env, key, old, incoming, request->id, result);
        if (err == KITH_OK && result->wants_counter) { /* seldom: a twin, or what is dead */
            env = row_env(worker, request->wall_ms, request->retry, true);
            env.floor = floor;
            env.run_stays = run_stays;
            err = kith_rowop_merge(arena, &env, key, old, incoming, request->id, result);
        }
        if (err != KITH_OK || !result->foreign_run) {
            break;
        }
        err = again(worker, attempt, env.run);
        run_stays = run_stays || err == KITH_ENOTREADY;
        err = err == KITH_ENOTREADY ? KITH_OK : err;
    }
    return err;
}

static enum kith_err merge_one(struct store_worker *worker, const struct merge *merge,
                               const struct kith_replica_row *incoming, bool *changed)
{
    struct row_place place;
    struct kith_rowop_result result;
    if (merge->hint != NULL) {
        const struct kith_key key = {*merge->group, incoming->name};
        *changed = true;
        return store_hint_merge(worker, merge->partition, &key, incoming, &merge->request,
                                merge->hint);
    }
    const struct kith_floor *floor = NULL;
    enum kith_err err = store_floor_get(worker, merge->partition, &floor);
    if (err == KITH_OK) {
        err = row_read(worker, merge->partition, merge->group, incoming->name, &place);
    }
    if (err == KITH_OK) {
        err = store_rowop_merge(worker, &place.key, place.old, incoming, &merge->request, floor,
                                &result);
    }
    if (err == KITH_OK && result.changed) {
        *changed = true;
        err = row_write(worker, &place, &result, NULL);
    }
    return err;
}

/* Tombstones and attributes are small; a full node still takes a delete. */
static bool merge_allowed(struct store_worker *worker, const struct kith_store_op *op)
{
    uint32_t count = op->u.merge.row_count;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += op->u.merge.rows[i].state.size;
    }
    return store_space_allows(
        worker, bytes > (uint64_t)count * SMALL_STATE_BYTES ? STORE_SPACE_VALUE : STORE_SPACE_SMALL,
        (uint64_t)count * STORE_PAGES_ROW + 2u * bytes);
}

enum kith_err store_merge(struct store_worker *worker, const struct kith_store_op *op,
                          struct kith_store_done *done)
{
    if (!merge_allowed(worker, op)) {
        return store_fail_space(worker, done);
    }
    bool changed = false;
    const struct merge merge = {
        .partition = op->partition,
        .group = &op->u.merge.group,
        .request = {&op->u.merge.request, op->u.merge.wall_ms, op->u.merge.retry},
        .hint = op->u.merge.hint};
    if (merge.hint != NULL && !merge.hint->custody && store_hints_full(worker->store)) {
        return store_fail(worker, done, KITH_ELIMIT, "as much is kept for others as may be");
    }
    for (uint32_t i = 0; i < op->u.merge.row_count; i++) {
        enum kith_err err = merge_one(worker, &merge, &op->u.merge.rows[i], &changed);
        if (err != KITH_OK) {
            return row_error(worker, done, err, op->u.merge.rows[i].name);
        }
    }
    done->u.merge.changed = changed;
    return KITH_OK;
}

enum kith_err store_absorb(struct store_worker *worker, const struct kith_store_op *op,
                           struct kith_store_done *done)
{
    static const struct kith_request_id none;
    uint32_t count = op->u.absorb.row_count;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += op->u.absorb.rows[i].state.size;
    }
    if (!store_space_allows(worker, STORE_SPACE_VALUE,
                            (uint64_t)count * STORE_PAGES_ROW + 2u * bytes)) {
        return store_fail_space(worker, done);
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_leaf_row *row = &op->u.absorb.rows[i];
        const struct merge merge = {.partition = op->partition,
                                    .group = &row->group,
                                    .request = {.id = &none, .wall_ms = op->u.absorb.wall_ms}};
        const struct kith_replica_row incoming = {.name = row->name, .state = row->state};
        bool changed = false;
        uint32_t writes = worker->writes;
        enum kith_err err = merge_one(worker, &merge, &incoming, &changed);
        if (err != KITH_OK && (worker->broken || worker->writes != writes || err == KITH_ENOMEM)) {
            return row_error(worker, done, err, row->name);
        }
        done->damaged += err == KITH_ECORRUPT ? 1 : 0; /* it is set aside after the round */
        if (err != KITH_OK) { /* the others are worth as much as before */
            kith_log_error("store", "row \"%.*s\" from another owner is not merged: %s",
                           row->name.size > 64 ? 64 : (int)row->name.size,
                           row->name.size == 0 ? "" : (const char *)row->name.data,
                           kith_err_text((int)err));
        }
        done->u.absorb.failed += err != KITH_OK ? 1 : 0;
        done->u.absorb.changed += changed && err == KITH_OK ? 1 : 0;
    }
    return KITH_OK;
}

/* ---- Reading ---- */

/* Fills *row from a record; the state is copied, since the page may go. */
static enum kith_err got_row(struct store_worker *worker, const struct kith_key *key,
                             struct kith_bytes record, bool digest, struct kith_got_row *row)
{
    struct kith_bytes state;
    enum kith_err err =
        kith_rowop_state(key, record, store_secret(worker->store), &state, &row->hash);
    if (err != KITH_OK || digest) {
        return err;
    }
    row->state.data = kith_arena_copy(&worker->round->arena, state.data, state.size);
    row->state.size = state.size;
    return row->state.data == NULL ? KITH_ENOMEM : KITH_OK;
}

enum kith_err store_get(struct store_worker *worker, const struct kith_store_op *op,
                        struct kith_store_done *done)
{
    uint32_t count = op->u.get.name_count;
    struct kith_got_row *rows = kith_arena_calloc(&worker->round->arena, count, sizeof *rows);
    if (rows == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < count; i++) {
        struct row_place place;
        enum kith_err err = record_read(worker, op->partition, op->u.get.hints,
                                        &op->u.get.group, op->u.get.names[i], &place);
        if (err == KITH_OK && place.existed) {
            err = got_row(worker, &place.key, place.old, op->u.get.digest, &rows[i]);
        }
        if (err != KITH_OK) {
            return row_error(worker, done, err, op->u.get.names[i]);
        }
    }
    done->u.rows.row_count = count;
    done->u.rows.rows = rows;
    return KITH_OK;
}

/* Stands on the first row of the group, or on the first one behind `after`; ENOTFOUND. */
static enum kith_err scan_start(struct store_worker *worker, const struct kith_store_op *op,
                                uint8_t buffer[KITH_ROW_KEY_MAX])
{
    struct kith_bytes first = {NULL, 0};
    struct kith_bytes key = store_row_key(op->partition, &op->u.scan.group,
                                          op->u.scan.has_after ? op->u.scan.after : first, buffer);
    WT_CURSOR *cursor = op->u.scan.hints ? worker->hints : worker->rows;
    WT_ITEM item = {.data = key.data, .size = key.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && op->u.scan.has_after))) {
        ret = cursor->next(cursor);
    }
    if (ret == WT_NOTFOUND) {
        return KITH_ENOTFOUND;
    }
    return ret == 0 ? KITH_OK : store_break(worker, ret);
}

/* The row on which the cursor stands, if it is of the group; ENOTFOUND otherwise. */
static enum kith_err scan_row(struct store_worker *worker, const struct kith_store_op *op,
                              const uint8_t *prefix, struct kith_got_row *row)
{
    WT_CURSOR *cursor = op->u.scan.hints ? worker->hints : worker->rows;
    WT_ITEM key, value;
    int ret = cursor->get_key(cursor, &key);
    if (ret != 0) {
        return store_break(worker, ret);
    }
    const size_t prefix_size = 2 + KITH_GROUP_SIZE;
    if (key.size < prefix_size || memcmp(key.data, prefix, prefix_size) != 0) {
        return KITH_ENOTFOUND;
    }
    ret = cursor->get_value(cursor, &value);
    if (ret != 0) {
        return store_break(worker, ret);
    }
    struct kith_bytes name =
        kith_bytes_make((const uint8_t *)key.data + prefix_size, key.size - prefix_size);
    row->name.size = name.size;
    row->name.data = kith_arena_copy(&worker->round->arena, name.data, name.size);
    if (row->name.data == NULL) {
        return KITH_ENOMEM;
    }
    struct kith_key row_key = {op->u.scan.group, row->name};
    struct kith_bytes record = kith_bytes_make(value.data, value.size);
    enum kith_err err = KITH_OK;
    if (op->u.scan.hints) {
        struct kith_hint hint;
        err = kith_hint_decode(record, &hint);
        record = hint.record;
        if (err == KITH_OK && record.size == 0) {
            return KITH_OK; /* no state: it is among the rows */
        }
    }
    if (err == KITH_OK) {
        err = got_row(worker, &row_key, record, false, row);
    }
    return err; /* ECORRUPT: to leave the row out would be to say that it does not exist */
}

enum kith_err store_scan(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done)
{
    uint32_t max_rows = op->u.scan.max_rows == 0 || op->u.scan.max_rows > KITH_PAGE_ROWS_MAX
                            ? KITH_PAGE_ROWS_MAX
                            : op->u.scan.max_rows;
    uint32_t max_bytes = op->u.scan.max_bytes == 0 || op->u.scan.max_bytes > KITH_PAGE_BYTES_MAX
                             ? KITH_PAGE_BYTES_MAX
                             : op->u.scan.max_bytes;
    if (op->u.scan.has_after && op->u.scan.after.size > KITH_NAME_MAX) {
        return row_error(worker, done, KITH_EINVAL, op->u.scan.after);
    }
    struct kith_got_row *rows = kith_arena_calloc(&worker->round->arena, max_rows, sizeof *rows);
    if (rows == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    uint8_t buffer[KITH_ROW_KEY_MAX];
    uint32_t count = 0;
    size_t bytes = 0;
    bool more = false;
    enum kith_err err = scan_start(worker, op, buffer);
    while (err == KITH_OK) {
        struct kith_got_row row = {.state = {NULL, 0}};
        err = scan_row(worker, op, buffer, &row);
        if (err != KITH_OK) {
            break;
        }
        bytes += row.name.size + row.state.size;
        if (count == max_rows || (count > 0 && bytes > max_bytes)) {
            more = true;
            break;
        }
        if (row.state.size > 0) {
            rows[count++] = row;
        }
        WT_CURSOR *cursor = op->u.scan.hints ? worker->hints : worker->rows;
        int ret = cursor->next(cursor);
        err = ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "scan: %s", kith_err_text((int)err));
    }
    done->u.rows.more = more;
    done->u.rows.row_count = count;
    done->u.rows.rows = rows;
    return KITH_OK;
}

enum kith_err store_find(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done)
{
    uint32_t count = op->u.find.name_count;
    struct kith_replica_row *rows = kith_arena_calloc(&worker->round->arena, count, sizeof *rows);
    if (rows == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < count; i++) {
        struct row_place place;
        struct kith_got_row row = {.state = {NULL, 0}};
        enum kith_err err = record_read(worker, op->partition, op->u.find.hints,
                                        &op->u.find.group, op->u.find.names[i], &place);
        if (err == KITH_OK) {
            err = place.existed ? kith_rowop_find(place.old, &op->u.find.request, &rows[i].dot)
                                : KITH_ENOTFOUND;
        }
        if (err == KITH_ENOTFOUND) {
            return KITH_OK; /* found stays false: a batch is all or nothing */
        }
        if (err == KITH_OK) {
            err = got_row(worker, &place.key, place.old, false, &row);
        }
        if (err != KITH_OK) {
            return row_error(worker, done, err, op->u.find.names[i]);
        }
        rows[i].name = op->u.find.names[i];
        rows[i].state = row.state;
        rows[i].has_dot = true;
    }
    done->u.find.found = true;
    done->u.find.row_count = count;
    done->u.find.rows = rows;
    return KITH_OK;
}
