/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_reap.c - rows that are gone, and the floors under which they may be forgotten
 * (core/rows/floor.h, core/collect/reap.h).
 *
 * The floor of a partition is a record of table `rows` under the two bytes of the partition: with
 * those rows, and no longer than they, it is true: it goes when one of them is dropped or set aside.
 * Which rows are gone is an index, table `gone`. */
#include <string.h>

#include "base/log.h"
#include "store/store_int.h"

#define LIST_MAX   4096u  /* rows in one LIST: some 20 ms */
#define REMOVE_MAX 65536u /* that one REMOVE looks at: those that stay may be in front */

/* A floor in force, in memory: its partition's worker's. */
struct store_floor {
    struct kith_floor floor;
    struct kith_floor_entry entries[];
};

static int void_all(struct kith_store *store)
{
    WT_SESSION *session = NULL;
    WT_CURSOR *cursor = NULL;
    int ret = store_session(store, &session);
    ret = ret == 0 ? store_cursor(session, "rows", &cursor) : ret;
    for (uint32_t p = 0; ret == 0 && p < store->partitions; p++) {
        const uint8_t key[2] = {(uint8_t)(p >> 8), (uint8_t)p};
        WT_ITEM item = {.data = key, .size = sizeof key};
        cursor->set_key(cursor, &item);
        ret = cursor->remove(cursor);
        ret = ret == WT_NOTFOUND ? 0 : ret;
    }
    if (session != NULL) {
        session->close(session, NULL);
    }
    return ret;
}

enum kith_err store_floors_init(struct kith_store *store)
{
    if (store->floors == NULL) { /* else: it opens once more, see open_tables */
        store->floors = kith_calloc(KITH_PARTITIONS_MAX, sizeof *store->floors);
    }
    if (store->floors == NULL) {
        return KITH_ENOMEM;
    }
    bool lost = store->meta[KITH_META_LOST].size > 0; /* rows may be missing that were not reaped */
    return lost ? store_err(void_all(store)) : KITH_OK;
}

void store_floors_release(struct kith_store *store)
{
    for (uint32_t i = 0; store->floors != NULL && i < KITH_PARTITIONS_MAX; i++) {
        kith_free(store->floors[i].known);
    }
    kith_free(store->floors);
}

static enum kith_err record_read(struct store_worker *worker, uint32_t partition,
                                 struct kith_floor_record *record)
{
    const uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    struct kith_bytes bytes = {NULL, 0};
    memset(record, 0, sizeof *record);
    enum kith_err err = store_read(worker, worker->rows, kith_bytes_make(key, sizeof key), &bytes);
    if (err == KITH_OK) {
        err = kith_floor_decode(&worker->round->arena, bytes, record);
    }
    if (err == KITH_ECORRUPT) { /* then nothing is taken for dead, and another is agreed in time */
        kith_log_error("store", "%s: the floor of partition %u is damaged and left out",
                       worker->store->path, partition);
        memset(record, 0, sizeof *record);
        err = KITH_OK;
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

static enum kith_err record_write(struct store_worker *worker, uint32_t partition,
                                  const struct kith_floor_record *record)
{
    const uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    struct kith_bytes bytes;
    enum kith_err err = kith_floor_encode(&worker->round->arena, record, &bytes);
    return err == KITH_OK
               ? store_write(worker, worker->rows, kith_bytes_make(key, sizeof key), bytes)
               : err;
}

/* What is in memory is read anew when it is next wanted. */
static void forget(struct store_worker *worker, uint32_t partition)
{
    struct store_floor_slot *slot = &worker->store->floors[partition];
    kith_free(slot->known);
    slot->known = NULL;
    slot->read = false;
}

enum kith_err store_floor_get(struct store_worker *worker, uint32_t partition,
                              const struct kith_floor **ret_floor)
{
    struct store_floor_slot *slot = &worker->store->floors[partition];
    *ret_floor = NULL;
    if (!slot->read) {
        struct kith_floor_record record;
        enum kith_err err = record_read(worker, partition, &record);
        if (err != KITH_OK) {
            return err;
        }
        size_t size = record.floor.count * sizeof record.floor.entries[0];
        struct store_floor *known =
            record.floor.count > 0 ? kith_malloc(sizeof *known + size) : NULL;
        if (record.floor.count > 0 && known == NULL) {
            return KITH_ENOMEM;
        }
        if (known != NULL) {
            memcpy(known->entries, record.floor.entries, size);
            known->floor.count = record.floor.count;
            known->floor.entries = known->entries;
        }
        slot->known = known;
        slot->read = true;
    }
    *ret_floor = slot->known != NULL ? &slot->known->floor : NULL;
    return KITH_OK;
}

enum kith_err store_floor_drop(struct store_worker *worker, uint32_t partition)
{
    const uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    forget(worker, partition);
    enum kith_err err = store_remove(worker, worker->rows, kith_bytes_make(key, sizeof key));
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* ---- The index ---- */

enum kith_err store_gone_change(struct store_worker *worker, struct kith_bytes key, bool was,
                                bool is)
{
    enum kith_err err = KITH_OK;
    if (is && !was) {
        err = store_write(worker, worker->gone, key, kith_bytes_make("", 0));
    } else if (was && !is) {
        err = store_remove(worker, worker->gone, key);
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

/* Stands on the first key of the partition behind `after` (NULL: at all); ENOTFOUND. */
static enum kith_err seek(struct store_worker *worker, uint32_t partition,
                          const struct kith_bytes *after)
{
    const uint8_t prefix[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    WT_ITEM item = {.data = after == NULL ? prefix : after->data,
                    .size = after == NULL ? sizeof prefix : after->size};
    int exact = 0;
    worker->gone->set_key(worker->gone, &item);
    int ret = worker->gone->search_near(worker->gone, &exact);
    if (ret == 0 && (exact < 0 || (exact == 0 && after != NULL))) {
        ret = worker->gone->next(worker->gone);
    }
    return ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
}

/* A row that is gone, by its key in the index. */
struct gone_row {
    struct kith_bytes key; /* in the round's arena */
    struct kith_key name;  /* borrows from it */
    struct kith_row row;
    struct kith_checksum hash;
    bool is; /* false: the index is wrong, or the record is damaged */
};

/* The row on which the cursor stands; ENOTFOUND: it is of another partition. */
static enum kith_err here(struct store_worker *worker, uint32_t partition, struct gone_row *gone)
{
    WT_ITEM item;
    int ret = worker->gone->get_key(worker->gone, &item);
    if (ret != 0) {
        return store_break(worker, ret);
    }
    const uint8_t *bytes = item.data;
    if (item.size < 2 || bytes[0] != (uint8_t)(partition >> 8) || bytes[1] != (uint8_t)partition) {
        return KITH_ENOTFOUND;
    }
    memset(gone, 0, sizeof *gone);
    struct kith_arena *arena = &worker->round->arena;
    gone->key.data = kith_arena_copy(arena, item.data, item.size);
    gone->key.size = item.size;
    if (gone->key.data == NULL) {
        return KITH_ENOMEM;
    }
    if (item.size < 2 + KITH_GROUP_SIZE) {
        return KITH_OK;
    }
    memcpy(gone->name.group.bytes, gone->key.data + 2, KITH_GROUP_SIZE);
    gone->name.name = kith_bytes_make(gone->key.data + 2 + KITH_GROUP_SIZE,
                                      gone->key.size - 2 - KITH_GROUP_SIZE);
    struct kith_bytes record, state;
    enum kith_err err = store_read(worker, worker->rows, gone->key, &record);
    if (err == KITH_OK) {
        err = kith_rowop_state(&gone->name, record, store_secret(worker->store), &state,
                               &gone->hash);
    }
    if (err == KITH_OK) {
        state.data = kith_arena_copy(arena, state.data, state.size);
        err = state.data == NULL ? KITH_ENOMEM : kith_row_decode(arena, state, &gone->row);
    }
    gone->is = err == KITH_OK && kith_row_is_gone(&gone->row);
    return worker->broken || err == KITH_ENOMEM ? err : KITH_OK;
}

enum kith_err store_reap_list(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    struct kith_arena *arena = &worker->round->arena;
    struct kith_floor_census *census = kith_arena_calloc(arena, 1, sizeof *census);
    struct kith_floor_record record;
    struct kith_floor both;
    uint8_t buffer[KITH_ROW_KEY_MAX];
    if (census == NULL || op->u.reap_list.after_name.size > KITH_NAME_MAX) {
        return store_fail(worker, done, census == NULL ? KITH_ENOMEM : KITH_EINVAL, "reaping");
    }
    struct kith_bytes after = store_row_key(op->partition, &op->u.reap_list.after_group,
                                            op->u.reap_list.after_name, buffer);
    enum kith_err err = record_read(worker, op->partition, &record);
    if (err == KITH_OK) {
        err = kith_floor_join(arena, &record.floor, &record.next, &both);
    }
    if (err == KITH_OK) {
        err = seek(worker, op->partition, op->u.reap_list.has_after ? &after : NULL);
    }
    for (uint32_t seen = 0; err == KITH_OK; seen++) {
        struct gone_row gone;
        err = here(worker, op->partition, &gone);
        if (err != KITH_OK) {
            break;
        }
        done->u.reap_list.more = seen == LIST_MAX;
        if (seen == LIST_MAX) {
            break;
        }
        if (gone.is) {
            kith_floor_count(census, &record, &both, &gone.row.clock);
        }
        done->u.reap_list.group = gone.name.group;
        done->u.reap_list.name = gone.name.name;
        int ret = worker->gone->next(worker->gone);
        err = ret == 0 ? KITH_OK : ret == WT_NOTFOUND ? KITH_ENOTFOUND : store_break(worker, ret);
    }
    if (err != KITH_OK && err != KITH_ENOTFOUND) {
        return store_fail(worker, done, err, "rows that are gone: %s", kith_err_text((int)err));
    }
    done->u.reap_list.stamp = record.stamp;
    done->u.reap_list.next_stamp = record.next_stamp;
    done->u.reap_list.next_ripe =
        kith_floor_is_ripe(&record, op->u.reap_list.now_ms, op->u.reap_list.grace_ms);
    done->u.reap_list.ready = census->ready;
    done->u.reap_list.waiting = census->waiting;
    done->u.reap_list.others = census->others;
    done->u.reap_list.entry_count = census->wish.count;
    done->u.reap_list.entries = census->wish.entries;
    done->u.reap_list.floor = record.floor;
    return KITH_OK;
}

/* ---- Steps ---- */

static enum kith_err step_ask(struct store_worker *worker, const struct kith_store_op *op,
                              struct kith_store_done *done)
{
    struct kith_store *store = worker->store;
    uint32_t count = op->u.reap.entry_count;
    struct kith_floor_entry *entries =
        kith_arena_calloc(&worker->round->arena, count + 1u, sizeof *entries);
    if (entries == NULL) {
        return KITH_ENOMEM;
    }
    const struct store_leaf *leaves = worker->sums->partitions[op->partition];
    uint64_t rows = 0;
    for (uint32_t i = 0; leaves != NULL && i < KITH_TREE_LEAVES; i++) {
        rows += leaves[i].count;
    }
    done->u.reap.owes = atomic_load(&store->hint_sums[op->partition].count) > 0 ||
                        (!op->u.reap.owner && rows > 0);
    done->u.reap.entries = entries;
    done->u.reap.entry_count =
        kith_floor_own(store->meta[KITH_META_RUNS], done->u.reap.run,
                       atomic_load(&store->counter), count, op->u.reap.entries, entries);
    return KITH_OK;
}

static enum kith_err step_equal(struct store_worker *worker, const struct kith_store_op *op,
                                struct kith_store_done *done)
{
    static const struct kith_sum none;
    struct kith_floor_record record;
    enum kith_err err = record_read(worker, op->partition, &record);
    if (err != KITH_OK) {
        return err;
    }
    done->u.reap.entry_count = record.floor.count;
    done->u.reap.entries = record.floor.entries;
    const struct store_leaf *leaves = worker->sums->partitions[op->partition];
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        struct kith_sum other;
        kith_sum_decode(&op->u.reap.sums[i], &other);
        if (kith_sum_equal(leaves == NULL ? &none : &leaves[i].sum, &other)) {
            kith_leaf_add(&done->u.reap.equal, i);
        }
    }
    return KITH_OK;
}

static enum kith_err step_set(struct store_worker *worker, const struct kith_store_op *op,
                              const struct kith_store_done *done)
{
    struct kith_floor_record record;
    const struct kith_floor next = {op->u.reap.entry_count, op->u.reap.entries};
    if (op->u.reap.run != done->u.reap.run) {
        return KITH_ECANCELED;
    }
    enum kith_err err = record_read(worker, op->partition, &record);
    if (err == KITH_OK) {
        kith_floor_set(&record, op->u.reap.stamp, op->u.reap.now_ms, &next);
        err = record_write(worker, op->partition, &record);
    }
    return err;
}

/* Whether the floor of that stamp is in force here, or comes into force. */
static enum kith_err step_promote(struct store_worker *worker, const struct kith_store_op *op,
                                  struct kith_store_done *done, struct kith_floor_record *record)
{
    enum kith_floor_verdict verdict = KITH_FLOOR_LACKS;
    bool changed = false;
    enum kith_err err = record_read(worker, op->partition, record);
    if (err == KITH_OK) {
        err = kith_floor_promote(&worker->round->arena, record, op->u.reap.stamp,
                                 op->u.reap.now_ms, op->u.reap.grace_ms, &verdict, &changed);
    }
    if (err == KITH_OK && changed) {
        err = record_write(worker, op->partition, record);
        forget(worker, op->partition);
    }
    done->u.reap.verdict = (uint8_t)verdict;
    return err;
}

static enum kith_err remove_one(struct store_worker *worker, uint32_t partition,
                                const struct gone_row *gone)
{
    static const struct kith_checksum nothing;
    struct store_refs refs, none = {0, NULL};
    uint8_t buffer[KITH_LEAF_KEY_MAX];
    uint32_t leaf = kith_tree_leaf(&gone->name);
    enum kith_err err = store_refs_of_row(&worker->round->arena, &gone->row, &refs);
    if (err == KITH_OK && refs.count > 0) {
        err = store_refs_change(worker, &refs, &none, STORE_REFERRER_ROW, gone->key);
    }
    if (err == KITH_OK) {
        err = store_remove(worker, worker->rows, gone->key);
    }
    if (err == KITH_OK) {
        err = store_remove(worker, worker->leaves,
                           store_leaf_key(partition, leaf, &gone->name.group, gone->name.name,
                                          buffer));
    }
    if (err == KITH_OK) {
        err = store_gone_change(worker, gone->key, true, false);
    }
    const struct store_change change = {
        .old_hash = &gone->hash, .new_hash = &nothing, .count = -1};
    return err == KITH_OK ? store_tree_change(worker, partition, leaf, &change) : err;
}

static enum kith_err step_remove(struct store_worker *worker, const struct kith_store_op *op,
                                 struct kith_store_done *done)
{
    struct kith_floor_record record;
    struct kith_bytes at = {NULL, 0};
    enum kith_err err = step_promote(worker, op, done, &record);
    if (err != KITH_OK || done->u.reap.verdict != KITH_FLOOR_HAS) {
        return err;
    }
    for (uint32_t seen = 0; err == KITH_OK; seen++) {
        struct gone_row gone = {.is = false};
        err = seek(worker, op->partition, at.data == NULL ? NULL : &at);
        if (err == KITH_OK) {
            err = here(worker, op->partition, &gone);
        }
        if (err == KITH_OK && (done->u.reap.reaped == KITH_DROP_MAX || seen == REMOVE_MAX)) {
            done->u.reap.more = done->u.reap.reaped > 0;
            break;
        }
        if (err == KITH_OK && gone.is && kith_floor_covers_clock(&record.floor, &gone.row.clock)) {
            err = remove_one(worker, op->partition, &gone);
            done->u.reap.reaped++;
        }
        at = gone.key;
    }
    return err == KITH_ENOTFOUND ? KITH_OK : err;
}

enum kith_err store_reap(struct store_worker *worker, const struct kith_store_op *op,
                         struct kith_store_done *done)
{
    struct kith_floor_record record;
    enum kith_err err = KITH_OK;
    done->u.reap.run = atomic_load(&worker->store->run); /* before the counter */
    switch (op->u.reap.step) {
    case KITH_REAP_ASK:
        err = step_ask(worker, op, done);
        break;
    case KITH_REAP_EQUAL:
        err = step_equal(worker, op, done);
        break;
    case KITH_REAP_SET:
        err = step_set(worker, op, done);
        break;
    case KITH_REAP_PROMOTE:
        err = step_promote(worker, op, done, &record);
        break;
    case KITH_REAP_REMOVE:
        err = step_remove(worker, op, done);
        break;
    default:
        err = KITH_EINVAL;
    }
    return err == KITH_OK ? KITH_OK
                          : store_fail(worker, done, err, "reaping: %s",
                                       err == KITH_ECANCELED ? "the node was started anew"
                                                             : kith_err_text((int)err));
}
