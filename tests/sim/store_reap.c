/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_reap.c - rows that are gone, and the floors under which they may be forgotten (core/rows/floor.h):
 * cells 'f', by partition; and the runs that the disk has seen, among the node's own records. */
#include <string.h>

#include "sim.h"

#define LIST_MOST   3u /* rows that are looked at in one page, */
#define REMOVE_MOST 2u /* and that go in one step, so that there are several */

static void floor_read(const struct store_sim *store, struct kith_arena *arena, uint32_t partition,
                       struct kith_floor_record *record)
{
    uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    enum kith_err err =
        kith_floor_decode(arena, store_sim_get(store, 'f', key, sizeof key), record);
    KITH_ASSERT(err == KITH_OK);
}

static void floor_write(struct store_sim *store, struct kith_arena *arena, uint32_t partition,
                        const struct kith_floor_record *record)
{
    uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    struct kith_bytes bytes;
    enum kith_err err = kith_floor_encode(arena, record, &bytes);
    KITH_ASSERT(err == KITH_OK);
    store_sim_put(store, 'f', key, sizeof key, bytes);
}

const struct kith_floor *store_reap_floor(const struct store_sim *store, struct kith_arena *arena,
                                          uint32_t partition)
{
    struct kith_floor_record *record = kith_arena_alloc(arena, sizeof *record);
    KITH_ASSERT(record);
    floor_read(store, arena, partition, record);
    return store->sim->mutant == MUTANT_FLOOR_FORGOTTEN ? NULL : &record->floor;
}

void store_reap_drop(struct store_sim *store, uint32_t partition)
{
    uint8_t key[2] = {(uint8_t)(partition >> 8), (uint8_t)partition};
    if (store_sim_get(store, 'f', key, sizeof key).size > 0) {
        store_sim_put(store, 'f', key, sizeof key, kith_bytes_make(NULL, 0));
    }
}

void store_reap_started(struct store_sim *store)
{
    static const uint8_t key = KITH_META_RUNS;
    struct kith_buf buf;
    struct kith_bytes before = store_sim_get(store, 'm', &key, 1);
    kith_buf_init(&buf);
    kith_buf_put(&buf, before.data, before.size);
    kith_buf_put_u64(&buf, store->run);
    KITH_ASSERT(!buf.failed);
    store->seq++;
    store_sim_put(store, 'm', &key, 1, kith_buf_bytes(&buf));
    store->os_seq = store->disk_seq = store->seq; /* nothing else is under way */
    kith_buf_release(&buf);
}

/* The row in a cell, where it is gone. False: it is none, or has contents. */
static bool gone_row(const struct store_sim *store, struct kith_arena *arena,
                     const struct cell *cell, uint32_t partition, struct kith_row *row,
                     struct kith_checksum *hash)
{
    if (cell->type != 'r' || !store_sim_there(cell) || cell->key[1] != partition) {
        return false;
    }
    const struct cell_version *last = &cell->versions[cell->version_count - 1];
    struct kith_key key = store_sim_key_of(cell);
    struct kith_bytes state;
    return kith_rowop_state(&key, kith_bytes_make(last->data, last->size), store->sim->secret,
                            &state, hash) == KITH_OK &&
           kith_row_decode(arena, state, row) == KITH_OK && kith_row_is_gone(row);
}

static void apply_list(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    struct kith_floor_record record;
    struct kith_floor both;
    struct kith_floor_census *census = kith_arena_calloc(&op->arena, 1, sizeof *census);
    KITH_ASSERT(census);
    floor_read(store, &op->arena, ask->partition, &record);
    enum kith_err err = kith_floor_join(&op->arena, &record.floor, &record.next, &both);
    KITH_ASSERT(err == KITH_OK);
    uint32_t seen = 0;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct kith_row row;
        struct kith_checksum hash;
        const struct cell *cell = store->cells[i];
        if (!gone_row(store, &op->arena, cell, ask->partition, &row, &hash)) {
            continue;
        }
        struct kith_key key = store_sim_key_of(cell);
        int group = kith_group_compare(&key.group, &ask->u.reap_list.after_group);
        if (ask->u.reap_list.has_after &&
            (group < 0 ||
             (group == 0 && kith_bytes_compare(key.name, ask->u.reap_list.after_name) <= 0))) {
            continue;
        }
        op->done.u.reap_list.more = seen == LIST_MOST;
        if (seen == LIST_MOST) {
            break;
        }
        kith_floor_count(census, &record, &both, &row.clock);
        op->done.u.reap_list.group = key.group;
        op->done.u.reap_list.name.data =
            kith_arena_copy(&op->arena, key.name.data, key.name.size);
        op->done.u.reap_list.name.size = key.name.size;
        seen++;
    }
    op->done.u.reap_list.stamp = record.stamp;
    op->done.u.reap_list.next_stamp = record.next_stamp;
    uint64_t grace_ms =
        store->sim->mutant == MUTANT_REAP_AT_ONCE ? 0 : ask->u.reap_list.grace_ms;
    op->done.u.reap_list.next_ripe =
        kith_floor_is_ripe(&record, ask->u.reap_list.now_ms, grace_ms);
    op->done.u.reap_list.ready = census->ready;
    op->done.u.reap_list.waiting = census->waiting;
    op->done.u.reap_list.others = census->others;
    op->done.u.reap_list.entry_count = census->wish.count;
    op->done.u.reap_list.entries = census->wish.entries;
    op->done.u.reap_list.floor = record.floor;
}

/* ---- Steps ---- */

static bool owes(const struct store_sim *store, uint32_t partition, bool owner)
{
    bool any = false;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        const struct cell *cell = store->cells[i];
        any = any || ((cell->type == 'h' || (cell->type == 'r' && !owner)) &&
                      store_sim_there(cell) && cell->key[1] == partition);
    }
    return any;
}

static void apply_ask(struct store_sim *store, struct store_op *op)
{
    static const uint8_t key = KITH_META_RUNS;
    const struct kith_store_op *ask = &op->op;
    uint32_t count = ask->u.reap.entry_count;
    struct kith_floor_entry *entries = kith_arena_calloc(&op->arena, count, sizeof *entries);
    KITH_ASSERT(entries);
    op->done.u.reap.owes = owes(store, ask->partition, ask->u.reap.owner);
    op->done.u.reap.entries = entries;
    op->done.u.reap.entry_count =
        kith_floor_own(store_sim_get(store, 'm', &key, 1), store->run, store->counter, count,
                       ask->u.reap.entries, entries);
}

static void apply_equal(struct store_sim *store, struct store_op *op)
{
    struct kith_floor_record record;
    floor_read(store, &op->arena, op->op.partition, &record);
    op->done.u.reap.entry_count = record.floor.count;
    op->done.u.reap.entries = record.floor.entries;
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
        struct kith_sum sum = store_sim_leaf_sum(store, op->op.partition, leaf), other;
        kith_sum_decode(&op->op.u.reap.sums[leaf], &other);
        if (kith_sum_equal(&sum, &other)) {
            kith_leaf_add(&op->done.u.reap.equal, leaf);
        }
    }
}

static void apply_set(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    struct kith_floor_record record;
    const struct kith_floor next = {ask->u.reap.entry_count, ask->u.reap.entries};
    if (ask->u.reap.run != store->run) {
        op->done.err = KITH_ECANCELED;
        op->done.message = "it was started anew";
        return;
    }
    floor_read(store, &op->arena, ask->partition, &record);
    kith_floor_set(&record, ask->u.reap.stamp, ask->u.reap.now_ms, &next);
    store->seq++;
    floor_write(store, &op->arena, ask->partition, &record);
}

/* Whether the floor of that stamp is in force here, or comes into force. */
static bool promoted(struct store_sim *store, struct store_op *op, struct kith_floor_record *record)
{
    const struct kith_store_op *ask = &op->op;
    enum kith_floor_verdict verdict;
    bool changed = false;
    uint64_t grace_ms =
        store->sim->mutant == MUTANT_REAP_AT_ONCE ? 0 : ask->u.reap.grace_ms;
    floor_read(store, &op->arena, ask->partition, record);
    enum kith_err err = kith_floor_promote(&op->arena, record, ask->u.reap.stamp,
                                           ask->u.reap.now_ms, grace_ms, &verdict, &changed);
    KITH_ASSERT(err == KITH_OK);
    store->seq++;
    if (changed) {
        floor_write(store, &op->arena, ask->partition, record);
    }
    op->done.u.reap.verdict = (uint8_t)verdict;
    return verdict == KITH_FLOOR_HAS;
}

static void apply_remove(struct store_sim *store, struct store_op *op)
{
    struct kith_floor_record record;
    if (!promoted(store, op, &record)) {
        return;
    }
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        struct kith_row row;
        struct kith_rowop_result result;
        memset(&result, 0, sizeof result);
        if (!gone_row(store, &op->arena, cell, op->op.partition, &row, &result.old_hash) ||
            !kith_floor_covers_clock(&record.floor, &row.clock)) {
            continue;
        }
        op->done.u.reap.more = op->done.u.reap.reaped == REMOVE_MOST;
        if (op->done.u.reap.more) {
            return;
        }
        struct kith_key key = store_sim_key_of(cell);
        sim_trace(store->sim, "%u reaps row %u", store->node, oracle_row(&key));
        oracle_reaped(store->sim, &key, &row);
        store_sim_leaf_update(store, &key, &result);
        store_sim_put(store, 'r', cell->key, cell->key_size, kith_bytes_make(NULL, 0));
        op->done.u.reap.reaped++;
    }
}

void store_reap_apply(struct store_sim *store, struct store_op *op)
{
    struct kith_floor_record record;
    if (op->op.kind == KITH_STORE_REAP_LIST) {
        apply_list(store, op);
        return;
    }
    op->done.u.reap.run = store->run;
    switch (op->op.u.reap.step) {
    case KITH_REAP_ASK:
        apply_ask(store, op);
        break;
    case KITH_REAP_EQUAL:
        apply_equal(store, op);
        break;
    case KITH_REAP_SET:
        apply_set(store, op);
        break;
    case KITH_REAP_PROMOTE:
        (void)promoted(store, op, &record);
        break;
    case KITH_REAP_REMOVE:
        apply_remove(store, op);
        break;
    }
}
