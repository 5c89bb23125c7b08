/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_hint.c - what is kept for others: the table `hints`, with the keys of `rows` and the records
 * of core/rows/hintop.h.
 *
 * It has no tree: nobody compares it. How much there is of each partition is counted in memory, and
 * anew at open, which reads the whole table: mostly there is nothing in it. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

#define HINT_PREFIX    (2u + KITH_GROUP_SIZE)
#define HINTS_SEEN_MAX 4096u /* looked at for one page: some 5 ms */

/* ---- Counts ---- */

static int64_t hint_bytes(const struct kith_hint *hint)
{
    return (int64_t)hint->record.size;
}

/* Notes how the counts change with this transaction. */
static enum kith_err count_change(struct store_worker *worker, uint32_t partition,
                                  const struct kith_hint *before, const struct kith_hint *after)
{
    if (worker->hint_change_count == worker->hint_change_capacity) {
        uint32_t capacity =
            worker->hint_change_capacity == 0 ? 64u : 2u * worker->hint_change_capacity;
        struct store_hint_change *changes =
            kith_realloc(worker->hint_changes, capacity * sizeof *changes);
        if (changes == NULL) {
            worker->broken = true; /* it is written already */
            return KITH_ENOMEM;
        }
        worker->hint_changes = changes;
        worker->hint_change_capacity = capacity;
    }
    struct store_hint_change *change = &worker->hint_changes[worker->hint_change_count++];
    change->partition = partition;
    change->count = (int64_t)after->exists - (int64_t)before->exists;
    change->bytes = hint_bytes(after) - hint_bytes(before);
    change->custody = (int64_t)after->custody - (int64_t)before->custody;
    change->thin = (int64_t)after->thin - (int64_t)before->thin;
    change->first_ms = !before->exists && after->exists ? after->first_ms : UINT64_MAX;
    return KITH_OK;
}

static void sum_add(struct store_hint_sum *sum, const struct store_hint_change *change)
{
    atomic_fetch_add(&sum->count, (uint64_t)change->count); /* modulo 2^64 */
    atomic_fetch_add(&sum->bytes, (uint64_t)change->bytes);
    atomic_fetch_add(&sum->custody, (uint64_t)change->custody);
    atomic_fetch_add(&sum->thin, (uint64_t)change->thin);
}

static void count_in(struct kith_store *store, const struct store_hint_change *change)
{
    struct store_hint_sum *sum = &store->hint_sums[change->partition];
    uint64_t first = atomic_load(&sum->first_ms);
    sum_add(sum, change);
    sum_add(&store->hint_total, change);
    if (atomic_load(&sum->count) == 0) {
        atomic_store(&sum->first_ms, 0);
    } else if (change->first_ms != UINT64_MAX && (first == 0 || change->first_ms < first)) {
        atomic_store(&sum->first_ms, change->first_ms);
    }
}

void store_hints_commit(struct store_worker *worker)
{
    for (uint32_t i = 0; i < worker->hint_change_count; i++) {
        count_in(worker->store, &worker->hint_changes[i]);
    }
    worker->hint_change_count = 0;
}

void store_hints_rollback(struct store_worker *worker)
{
    worker->hint_change_count = 0;
}

bool store_hints_full(const struct kith_store *store)
{
    return atomic_load(&store->hint_total.bytes) >= store->options.hint_bytes_max;
}

struct kith_store_hints store_hints_total(const struct kith_store *store)
{
    struct kith_store_hints total = {.count = atomic_load(&store->hint_total.count),
                                     .bytes = atomic_load(&store->hint_total.bytes),
                                     .custody = atomic_load(&store->hint_total.custody),
                                     .thin = atomic_load(&store->hint_total.thin)};
    for (uint32_t i = 0; total.count > 0 && i < store->partitions; i++) {
        uint64_t first = atomic_load(&store->hint_sums[i].first_ms);
        if (first != 0 && (total.first_ms == 0 || first < total.first_ms)) {
            total.first_ms = first;
        }
    }
    return total;
}

static enum kith_err load_one(struct kith_store *store, WT_CURSOR *cursor)
{
    WT_ITEM key, value;
    struct kith_hint hint;
    if (cursor->get_key(cursor, &key) != 0 || cursor->get_value(cursor, &value) != 0 ||
        key.size < HINT_PREFIX) {
        return KITH_ECORRUPT;
    }
    const uint8_t *bytes = key.data;
    uint32_t partition = (uint32_t)bytes[0] << 8 | bytes[1];
    if (partition >= KITH_PARTITIONS_MAX) {
        return KITH_ECORRUPT;
    }
    if (kith_hint_decode(kith_bytes_make(value.data, value.size), &hint) != KITH_OK) {
        kith_log_error("store", "%s: a hint of partition %u does not fit its checksum",
                       store->path, partition);
        hint.exists = true; /* it is counted, and nobody gets it */
    }
    struct store_hint_change change = {.partition = partition,
                                       .count = 1,
                                       .bytes = hint_bytes(&hint),
                                       .custody = hint.custody,
                                       .thin = hint.thin,
                                       .first_ms = hint.first_ms};
    count_in(store, &change);
    return KITH_OK;
}

enum kith_err store_hints_load(struct kith_store *store, struct kith_error *error)
{
    store->hint_sums = kith_calloc(KITH_PARTITIONS_MAX, sizeof *store->hint_sums);
    if (store->hint_sums == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "%s: out of memory", store->path);
    }
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    int ret = store_session(store, &session);
    if (ret == 0) {
        ret = store_cursor(session, "hints", &cursor);
    }
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && ret == 0 && (ret = cursor->next(cursor)) == 0) {
        err = load_one(store, cursor);
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    if (err == KITH_OK && ret != 0 && ret != WT_NOTFOUND) {
        err = store_err(ret);
    }
    return err == KITH_OK ? KITH_OK
                          : kith_error_set(error, err,
                                           "%s/hints.wt: what this node keeps for others cannot be "
                                           "read: %s; put it back from a backup",
                                           store->wt_path, kith_err_text((int)err));
}

/* ---- One hint ---- */

struct hint_place {
    uint32_t partition;
    struct kith_key key;
    struct kith_bytes stored_key;
    struct kith_hint hint; /* its record borrows from the page */
    uint8_t buffer[KITH_ROW_KEY_MAX];
};

static enum kith_err place_read(struct store_worker *worker, uint32_t partition,
                                const struct kith_key *key, struct hint_place *ret_place)
{
    if (key->name.size > KITH_NAME_MAX) {
        return KITH_EINVAL;
    }
    struct kith_bytes value;
    ret_place->partition = partition;
    ret_place->key = *key;
    ret_place->stored_key = store_row_key(partition, &key->group, key->name, ret_place->buffer);
    enum kith_err err = store_read(worker, worker->hints, ret_place->stored_key, &value);
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return err;
    }
    return kith_hint_decode(value, &ret_place->hint);
}

/* The chunks that a record names; none where it cannot be read: it goes nowhere then. */
static enum kith_err record_refs(struct store_worker *worker, const struct kith_key *key,
                                 struct kith_bytes record, struct store_refs *ret_refs)
{
    struct kith_arena *arena = &worker->round->arena;
    struct kith_bytes state;
    struct kith_checksum hash;
    struct kith_row row = {.sibling_count = 0};
    if (record.size > 0 &&
        kith_rowop_state(key, record, store_secret(worker->store), &state, &hash) == KITH_OK) {
        enum kith_err err = kith_row_decode(arena, state, &row);
        if (err == KITH_ENOMEM) {
            return err;
        }
        row.sibling_count = err == KITH_OK ? row.sibling_count : 0;
    }
    return store_refs_of_row(arena, &row, ret_refs);
}

/* Brings `refs` in step, before the hint is written: `before` borrows from its page. */
static enum kith_err place_refs(struct store_worker *worker, const struct hint_place *place,
                                struct kith_bytes record, struct store_unleased *check)
{
    struct store_refs before, after;
    if (record.data == place->hint.record.data && record.size == place->hint.record.size) {
        return KITH_OK;
    }
    enum kith_err err = record_refs(worker, &place->key, place->hint.record, &before);
    if (err == KITH_OK) {
        err = record_refs(worker, &place->key, record, &after);
    }
    if (err == KITH_OK && check != NULL) {
        err = store_unleased_check(worker, check, &before, &after);
    }
    return err == KITH_OK ? store_refs_change(worker, &before, &after, STORE_REFERRER_HINT,
                                              place->stored_key)
                          : err;
}

static enum kith_err place_write(struct store_worker *worker, const struct hint_place *place,
                                 const struct kith_hint *hint, struct store_unleased *check)
{
    struct kith_bytes bytes;
    enum kith_err err = place_refs(worker, place, hint->record, check);
    if (err == KITH_OK) {
        err = kith_hint_encode(&worker->round->arena, hint, &bytes);
    }
    if (err == KITH_OK) {
        err = store_write(worker, worker->hints, place->stored_key, bytes);
    }
    return err == KITH_OK ? count_change(worker, place->partition, &place->hint, hint) : err;
}

static enum kith_err place_remove(struct store_worker *worker, const struct hint_place *place)
{
    static const struct kith_hint none;
    enum kith_err err = place_refs(worker, place, none.record, NULL);
    if (err == KITH_OK) {
        err = store_remove(worker, worker->hints, place->stored_key);
    }
    return err == KITH_OK ? count_change(worker, place->partition, &place->hint, &none) : err;
}

enum kith_err store_hint_record(struct store_worker *worker, uint32_t partition,
                                const struct kith_key *key, struct kith_bytes *ret_record)
{
    struct hint_place place;
    enum kith_err err = place_read(worker, partition, key, &place);
    *ret_record = err == KITH_OK ? place.hint.record : kith_bytes_make(NULL, 0);
    return err;
}

enum kith_err store_hint_put(struct store_worker *worker, const struct kith_store_op *op,
                             const struct kith_put_update *update,
                             struct kith_rowop_result *result, struct store_unleased *check)
{
    struct hint_place place;
    const struct kith_key key = {op->u.put.group, update->name};
    enum kith_err err = place_read(worker, op->partition, &key, &place);
    if (err == KITH_OK) {
        err = store_rowop_put(worker, op, &key, place.hint.record, update, NULL, result);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_hint hint = place.hint;
    hint.record = result->record;
    kith_hint_take(&hint, op->u.put.hint, op->u.put.wall_ms, result->changed);
    return place_write(worker, &place, &hint, check);
}

enum kith_err store_hint_merge(struct store_worker *worker, uint32_t partition,
                               const struct kith_key *key, const struct kith_replica_row *incoming,
                               const struct store_request *request,
                               const struct kith_hint_want *want)
{
    struct hint_place place;
    struct kith_rowop_result result;
    enum kith_err err = place_read(worker, partition, key, &place);
    if (err == KITH_OK) {
        err = store_rowop_merge(worker, key, place.hint.record, incoming, request, NULL, &result);
    }
    if (err != KITH_OK) {
        return err;
    }
    struct kith_hint hint = place.hint;
    hint.record = result.record;
    kith_hint_take(&hint, want, request->wall_ms, result.changed);
    return place_write(worker, &place, &hint, NULL);
}

enum kith_err store_hint_mark(struct store_worker *worker, uint32_t partition,
                              const struct kith_key *key, const struct kith_hint_want *want,
                              uint64_t wall_ms)
{
    struct hint_place place;
    enum kith_err err = place_read(worker, partition, key, &place);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_hint hint = place.hint;
    return kith_hint_mark(&hint, want, wall_ms) ? place_write(worker, &place, &hint, NULL) : KITH_OK;
}

enum kith_err store_hint_note(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    if (!store_space_allows(worker, STORE_SPACE_SMALL,
                            (uint64_t)op->u.hint_note.name_count * STORE_PAGES_ROW)) {
        return store_fail_space(worker, done);
    }
    for (uint32_t i = 0; i < op->u.hint_note.name_count; i++) {
        const struct kith_key key = {op->u.hint_note.group, op->u.hint_note.names[i]};
        enum kith_err err = store_hint_mark(worker, op->partition, &key, op->u.hint_note.hint,
                                            op->u.hint_note.wall_ms);
        if (err != KITH_OK) {
            return store_fail(worker, done, err, "hint: %s", kith_err_text((int)err));
        }
    }
    return KITH_OK;
}

/* ---- A page for an owner ---- */

static enum kith_err page_start(struct store_worker *worker, const struct kith_store_op *op)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    WT_CURSOR *cursor = worker->hints;
    bool after = op->u.hint_page.has_after;
    struct kith_bytes key =
        after ? store_row_key(op->partition, &op->u.hint_page.after_group,
                              op->u.hint_page.after_name, buffer)
              : kith_bytes_make(buffer, 2);
    buffer[0] = (uint8_t)(op->partition >> 8);
    buffer[1] = (uint8_t)op->partition;
    WT_ITEM item = {.data = key.data, .size = key.size};
    int exact = 0;
    cursor->set_key(cursor, &item);
    int ret = cursor->search_near(cursor, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && after))) {
        ret = cursor->next(cursor);
    }
    return ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
}

/* The hint on which the cursor stands; ENOTFOUND: it is of another partition. */
static enum kith_err page_here(struct store_worker *worker, uint32_t partition,
                               struct kith_key *ret_key, struct kith_bytes *ret_value)
{
    WT_ITEM key, value;
    int ret = worker->hints->get_key(worker->hints, &key);
    if (ret == 0) {
        ret = worker->hints->get_value(worker->hints, &value);
    }
    if (ret != 0) {
        return store_break(worker, ret);
    }
    const uint8_t *bytes = key.data;
    if (key.size < HINT_PREFIX || bytes[0] != (uint8_t)(partition >> 8) ||
        bytes[1] != (uint8_t)partition) {
        return KITH_ENOTFOUND;
    }
    memcpy(ret_key->group.bytes, bytes + 2, KITH_GROUP_SIZE);
    ret_key->name = kith_bytes_make(bytes + HINT_PREFIX, key.size - HINT_PREFIX);
    *ret_value = kith_bytes_make(value.data, value.size);
    return KITH_OK;
}

static enum kith_err own_record(struct store_worker *worker, uint32_t partition,
                                const struct kith_key *key, const struct kith_hint *hint,
                                struct kith_bytes *ret_record)
{
    uint8_t buffer[KITH_ROW_KEY_MAX];
    *ret_record = kith_bytes_make(NULL, 0);
    if (!hint->thin) {
        return KITH_OK;
    }
    enum kith_err err = store_read(worker, worker->rows,
                                   store_row_key(partition, &key->group, key->name, buffer),
                                   ret_record);
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

static void log_corrupt(const struct kith_key *key)
{
    kith_log_error("store", "what is kept for others of row \"%.*s\" does not fit its checksum",
                   key->name.size > 64 ? 64 : (int)key->name.size,
                   key->name.size == 0 ? "" : (const char *)key->name.data);
}

/* Fills *row; ENOTFOUND: it is not to come. */
static enum kith_err page_row(struct store_worker *worker, const struct kith_store_op *op,
                              const struct kith_key *key, struct kith_bytes value,
                              struct kith_leaf_row *row)
{
    struct kith_arena *arena = &worker->round->arena;
    struct kith_hint_owners owners = {op->u.hint_page.owner_count, op->u.hint_page.owners,
                                      op->u.hint_page.w};
    struct kith_hint hint;
    struct kith_bytes record, state;
    enum kith_err err = kith_hint_decode(value, &hint);
    if (err == KITH_OK && !kith_hint_wanted(&hint, &op->u.hint_page.node, &owners)) {
        return KITH_ENOTFOUND;
    }
    if (err == KITH_OK) {
        err = own_record(worker, op->partition, key, &hint, &record);
    }
    if (err == KITH_OK) {
        err = kith_hint_state(arena, key, &hint, record, store_secret(worker->store), &state,
                              &row->hash);
    }
    if (err == KITH_ECORRUPT) { /* the others are worth as much as before */
        log_corrupt(key);
        return KITH_ENOTFOUND;
    }
    if (err != KITH_OK || state.size == 0) {
        return err == KITH_OK ? KITH_ENOTFOUND : err;
    }
    row->group = key->group;
    row->name = kith_bytes_make(kith_arena_copy(arena, key->name.data, key->name.size),
                                key->name.size);
    row->state = kith_bytes_make(kith_arena_copy(arena, state.data, state.size), state.size);
    return row->name.data == NULL || row->state.data == NULL ? KITH_ENOMEM : KITH_OK;
}

/* Where the next page begins. */
static enum kith_err page_stop(struct store_worker *worker, const struct kith_key *key,
                               struct kith_store_done *done)
{
    done->u.hint_page.more = true;
    done->u.hint_page.last_group = key->group;
    done->u.hint_page.last_name =
        kith_bytes_make(kith_arena_copy(&worker->round->arena, key->name.data, key->name.size),
                        key->name.size);
    return done->u.hint_page.last_name.data == NULL ? KITH_ENOMEM : KITH_OK;
}

enum kith_err store_hint_page(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    uint32_t most = op->u.hint_page.max_rows;
    most = most == 0 || most > KITH_LEAF_ROWS_MAX ? KITH_LEAF_ROWS_MAX : most;
    struct kith_leaf_row *rows = kith_arena_calloc(&worker->round->arena, most, sizeof *rows);
    if (rows == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    uint32_t count = 0;
    size_t bytes = 0;
    enum kith_err err = page_start(worker, op);
    for (uint32_t seen = 1; err == KITH_OK; seen++) {
        struct kith_key key;
        struct kith_bytes value;
        err = page_here(worker, op->partition, &key, &value);
        if (err != KITH_OK) {
            break;
        }
        struct kith_leaf_row row = {.state = {NULL, 0}};
        err = page_row(worker, op, &key, value, &row);
        if (err == KITH_OK) {
            bytes += row.name.size + row.state.size;
            rows[count++] = row;
        } else if (err != KITH_ENOTFOUND) {
            break;
        }
        if (count == most || bytes >= KITH_PAGE_BYTES_MAX || seen == HINTS_SEEN_MAX) {
            err = page_stop(worker, &key, done);
            break;
        }
        int ret = worker->hints->next(worker->hints);
        err = ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "hints: %s", kith_err_text((int)err));
    }
    done->u.hint_page.row_count = count;
    done->u.hint_page.rows = rows;
    return KITH_OK;
}

/* ---- What an owner has, and what is too old ---- */

static enum kith_err ack_one(struct store_worker *worker, const struct kith_store_op *op,
                             const struct kith_leaf_row *row)
{
    const struct kith_key key = {row->group, row->name};
    struct kith_hint_owners owners = {op->u.hint_ack.owner_count, op->u.hint_ack.owners,
                                      op->u.hint_ack.w};
    struct hint_place place;
    struct kith_bytes record, state;
    struct kith_checksum hash;
    enum kith_err err = place_read(worker, op->partition, &key, &place);
    if (err == KITH_OK) {
        err = own_record(worker, op->partition, &key, &place.hint, &record);
    }
    if (err == KITH_OK) {
        err = kith_hint_state(&worker->round->arena, &key, &place.hint, record,
                              store_secret(worker->store), &state, &hash);
    }
    if (err == KITH_ECORRUPT) {
        log_corrupt(&key);
        return KITH_OK;
    }
    if (err != KITH_OK || !place.hint.exists || !kith_checksum_equal(&hash, &row->hash)) {
        return err; /* it has changed since: it is sent again */
    }
    struct kith_hint hint = place.hint;
    if (kith_hint_ack(&hint, &op->u.hint_ack.node, &owners)) {
        return place_remove(worker, &place);
    }
    return place_write(worker, &place, &hint, NULL);
}

enum kith_err store_hint_ack(struct store_worker *worker, const struct kith_store_op *op,
                             struct kith_store_done *done)
{
    for (uint32_t i = 0; i < op->u.hint_ack.row_count; i++) {
        enum kith_err err = ack_one(worker, op, &op->u.hint_ack.rows[i]);
        if (err != KITH_OK) {
            return store_fail(worker, done, err, "hints: %s", kith_err_text((int)err));
        }
    }
    return KITH_OK;
}

enum kith_err store_hint_drop(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    const struct kith_store_op all = {.partition = op->partition};
    uint64_t first_ms = 0;
    uint32_t dropped = 0;
    enum kith_err err = page_start(worker, &all);
    while (err == KITH_OK) {
        struct hint_place place;
        struct kith_key key;
        struct kith_bytes value;
        err = page_here(worker, op->partition, &key, &value);
        if (err != KITH_OK) {
            break;
        }
        if (kith_hint_decode(value, &place.hint) == KITH_OK) {
            bool goes = !place.hint.custody && !place.hint.thin &&
                        place.hint.first_ms < op->u.hint_drop.before_ms;
            if (goes && dropped < KITH_LEAF_ROWS_MAX) { /* more of them with the next look */
                place.partition = op->partition;
                place.key = key;
                place.stored_key =
                    store_row_key(op->partition, &key.group, key.name, place.buffer);
                err = place_remove(worker, &place);
                dropped++;
            } else if (first_ms == 0 || place.hint.first_ms < first_ms) {
                first_ms = place.hint.first_ms;
            }
        }
        if (err == KITH_OK) {
            int ret = worker->hints->next(worker->hints);
            err = ret == 0              ? KITH_OK
                  : ret == WT_NOTFOUND ? KITH_ENOTFOUND
                                       : store_break(worker, ret);
        }
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "hints: %s", kith_err_text((int)err));
    }
    if (dropped == 0) {
        atomic_store(&worker->store->hint_sums[op->partition].first_ms, first_ms);
    }
    done->u.absorb.changed = dropped;
    return KITH_OK;
}

enum kith_err store_hint_list(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    (void)op;
    struct kith_store *store = worker->store;
    uint32_t count = 0, most = 0;
    for (uint32_t i = 0; i < store->partitions; i++) {
        most += atomic_load(&store->hint_sums[i].count) > 0 ? 1 : 0;
    }
    /* other workers go on meanwhile: one more or less comes with the next list */
    struct kith_store_hints *list =
        kith_arena_calloc(&worker->round->arena, most + 1u, sizeof *list);
    if (list == NULL) {
        return store_fail(worker, done, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t i = 0; i < store->partitions && count < most; i++) {
        const struct store_hint_sum *sum = &store->hint_sums[i];
        if (atomic_load(&sum->count) > 0) {
            list[count].partition = i;
            list[count].count = atomic_load(&sum->count);
            list[count].bytes = atomic_load(&sum->bytes);
            list[count].custody = atomic_load(&sum->custody);
            list[count].thin = atomic_load(&sum->thin);
            list[count].first_ms = atomic_load(&sum->first_ms);
            count++;
        }
    }
    done->u.hint_list.count = count;
    done->u.hint_list.list = list;
    return KITH_OK;
}
