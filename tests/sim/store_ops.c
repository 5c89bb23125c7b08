/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_ops.c - the operations of a node's store (core/store.h), on the cells of store_sim.c.
 *
 * Rows are merged and coordinated by the same pure functions as in the real store (core/rows/rowop.h). A
 * put or a merge is a transaction: it takes the next number once, after all that can refuse it, and
 * all that it writes is under that number; what is absorbed is one row after the other. What
 * concerns hints, chunks, sweeps and reaping is in files of its own. Deliberate faults of rows are
 * here, where they happen, or in store_mutants.c. */
#include <string.h>

#include "sim.h"

static void row_write(struct store_sim *store, struct kith_arena *arena, const struct kith_key *key,
                      struct kith_rowop_result *result)
{
    if (store->sim->mutant == MUTANT_COLLAPSE) {
        store_mutant_collapse(store, arena, key, result);
    }
    uint8_t name[SIM_ROW_KEY];
    size_t size = store_sim_row_key(key, name);
    oracle_state(store->sim, key, result->state);
    if (result->changed) {
        store_sim_put(store, 'r', name, size, result->record);
        store_sim_leaf_update(store, key, result);
    }
}

/* A mutant: what the writer has read goes, and nothing says that he has been here. */
static void delete_no_dot(struct store_sim *store, struct store_op *op, const struct kith_key *key,
                          const struct kith_put_update *update, uint64_t wall_ms,
                          struct kith_bytes secret, struct kith_rowop_result *result)
{
    struct kith_rowop_env env = {store->run, 0, store->counter, wall_ms, secret, false, NULL, false};
    struct kith_replica_row incoming = {.name = key->name, .state = update->context};
    struct kith_request_id none;
    memset(&none, 0, sizeof none);
    struct kith_dot dot = result->dot;
    if (update->context.size > 0 &&
        kith_rowop_merge(&op->arena, &env, key, store_sim_record(store, key), &incoming, &none,
                         result) == KITH_OK) {
        result->dot = dot;
    }
}

/* What the operation works on: the row, or what is kept of it for others. */
static struct kith_bytes old_record(struct store_sim *store, const struct kith_key *key,
                                    const struct kith_hint_want *hint)
{
    return hint && !hint->thin ? store_hints_record(store, key) : store_sim_record(store, key);
}

static void apply_put(struct store_sim *store, struct store_op *op, uint64_t wall_ms,
                      struct kith_bytes secret)
{
    uint32_t count = op->op.u.put.update_count;
    struct kith_rowop_result *results = kith_arena_calloc(&op->arena, count, sizeof *results);
    struct kith_store_put_row *rows = kith_arena_calloc(&op->arena, count, sizeof *rows);
    struct kith_bytes *names = kith_arena_calloc(&op->arena, count, sizeof *names);
    struct kith_dot *dots = kith_arena_calloc(&op->arena, count, sizeof *dots);
    KITH_ASSERT(results && rows && names && dots);
    struct sim *sim = store->sim;
    uint64_t counter = store->counter;
    const struct kith_hint_want *hint = op->op.u.put.hint;
    const struct kith_floor *floor =
        hint && !hint->thin ? NULL : store_reap_floor(store, &op->arena, op->op.partition);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {op->op.u.put.group, op->op.u.put.updates[i].name};
        counter++;
        struct kith_rowop_env env = {store->run,         counter, counter, wall_ms, secret,
                                     op->op.u.put.retry, floor, false};
        struct kith_request_id request = op->op.u.put.request;
        struct kith_dot known;
        struct kith_bytes record = old_record(store, &key, op->op.u.put.hint);
        struct kith_put_update update = op->op.u.put.updates[i];
        if (sim->mutant == MUTANT_NOT_CARRIED) {
            update.context = store_mutant_context(store, &op->arena, &key, update.context);
        }
        bool again = record.size > 0 && kith_rowop_find(record, &request, &known) == KITH_OK;
        if (again && sim->mutant == MUTANT_SECOND_DOT) {
            memset(&request, 0xff, sizeof request);
        }
        enum kith_err err =
            kith_rowop_put(&op->arena, &env, &key, record, &update, op->op.u.put.writer,
                           op->op.u.put.time, &request, &results[i]);
        if (err == KITH_OK && again && !kith_dot_equal(&known, &results[i].dot)) {
            sim_fail(sim, "node %u: a request that it knew drew a second dot", store->node);
        }
        if (err == KITH_OK && results[i].foreign_run) { /* all again under a new run */
            store->run = sim_random(store->sim);
            store->counter = 0;
            apply_put(store, op, wall_ms, secret);
            return;
        }
        if (err != KITH_OK) {
            op->done.err = err;
            return;
        }
        if (sim->mutant == MUTANT_DELETE_NO_DOT && !op->op.u.put.updates[i].has_sibling &&
            !results[i].duplicate) {
            delete_no_dot(store, op, &key, &op->op.u.put.updates[i], wall_ms, secret, &results[i]);
        }
        if (sim->mutant == MUTANT_COUNTER_EARLY) {
            counter = store_mutant_counter(store, &op->arena, &key, counter, &results[i]);
        }
        if (sim->mutant == MUTANT_HINT_EPOCH && op->op.u.put.hint && !op->op.u.put.hint->thin) {
            store_hints_old_epoch(store, &op->arena, &env, &key, &results[i]);
        }
        names[i] = key.name;
        dots[i] = results[i].dot;
        rows[i].dot = results[i].dot;
        rows[i].time = results[i].time;
        rows[i].state = results[i].state;
        op->done.u.put.duplicate = results[i].duplicate;
    }
    if (store_sweep_refuses_put(store, op, results)) {
        return;
    }
    store->counter = counter;
    store->seq++;
    if (sim->mutant == MUTANT_RUN_STORED) {
        store_mutant_keep_run(store);
    }
    (void)oracle_batch(sim, &op->op.u.put.request, count);
    if (!hint || hint->thin) { /* what is kept for others goes again */
        store_sim_batch(store, &op->op.u.put.group, count, names, dots);
    }
    op->seq = store->seq;
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {op->op.u.put.group, op->op.u.put.updates[i].name};
        bool drop = store->sim->mutant == MUTANT_NO_DELETE &&
                    !op->op.u.put.updates[i].has_sibling && sim_chance(store->sim, 200);
        if (sim->mutant == MUTANT_HALF_BATCH && i > 0) {
            store->seq++;
        }
        if (hint && !hint->thin) {
            store_hints_write(store, &key, &results[i], hint, wall_ms);
        } else if (!drop) {
            row_write(store, &op->arena, &key, &results[i]);
        }
        if (hint && hint->thin) {
            store_hints_mark(store, &key, hint, wall_ms);
        }
        sim_trace(store->sim, "%u puts %s of group %u: dot %016llx.%llu.%llu%s", store->node,
                  key.name.size > 0 ? (const char *)"named" : "unnamed", key.group.bytes[4],
                  (unsigned long long)results[i].dot.actor.run,
                  (unsigned long long)results[i].dot.actor.epoch,
                  (unsigned long long)results[i].dot.counter,
                  results[i].duplicate ? ", a duplicate" : "");
        oracle_dot(store->sim, &key, &results[i].dot, &op->op.u.put.request);
    }
    op->done.u.put.row_count = count;
    op->done.u.put.rows = rows;
}

static void apply_merge(struct store_sim *store, struct store_op *op, uint64_t wall_ms,
                        struct kith_bytes secret)
{
    struct sim *sim = store->sim;
    if ((sim->mutant == MUTANT_SKIP_MERGE && sim_chance(sim, 100)) ||
        (sim->mutant == MUTANT_NEXT_ALONE && plans_loses(sim, store->node, op->op.partition))) {
        return;
    }
    uint32_t count = op->op.u.merge.row_count;
    struct kith_rowop_result *results = kith_arena_calloc(&op->arena, count, sizeof *results);
    struct kith_bytes *names = kith_arena_calloc(&op->arena, count, sizeof *names);
    struct kith_dot *dots = kith_arena_calloc(&op->arena, count, sizeof *dots);
    KITH_ASSERT(results && names && dots);
    bool whole = count > 0 && op->op.u.merge.rows[0].has_dot;
    if (whole && oracle_batch(sim, &op->op.u.merge.request, count) != count) {
        sim_fail(sim, "node %u is sent %u rows of a larger batch", store->node, count);
    }
    uint64_t counter = store->counter;
    const struct kith_floor *floor =
        op->op.u.merge.hint ? NULL : store_reap_floor(store, &op->arena, op->op.partition);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {op->op.u.merge.group, op->op.u.merge.rows[i].name};
        struct kith_rowop_env env = {store->run,           0,    counter, wall_ms, secret,
                                     op->op.u.merge.retry, floor, false};
        struct kith_bytes old = old_record(store, &key, op->op.u.merge.hint);
        if (sim->mutant == MUTANT_FORGET_ROW && sim_chance(sim, 100)) {
            old.size = 0;
        }
        enum kith_err err = kith_rowop_merge(&op->arena, &env, &key, old, &op->op.u.merge.rows[i],
                                             &op->op.u.merge.request, &results[i]);
        if (err == KITH_OK && results[i].wants_counter) { /* a twin is to be removed */
            env.counter = env.counter_last = ++counter;
            err = kith_rowop_merge(&op->arena, &env, &key, old, &op->op.u.merge.rows[i],
                                   &op->op.u.merge.request, &results[i]);
        }
        if (err == KITH_OK && results[i].foreign_run) {
            store->run = sim_random(sim);
            store->counter = 0;
            apply_merge(store, op, wall_ms, secret);
            return;
        }
        if (err != KITH_OK) {
            op->done.err = err;
            return;
        }
        if (env.counter != 0) {
            static const struct kith_request_id none;
            sim_trace(sim, "%u removes a twin, or what is dead, in row %u", store->node,
                      oracle_row(&key));
            oracle_dot(sim, &key, &results[i].dot, &none);
        }
        names[i] = key.name;
        dots[i] = op->op.u.merge.rows[i].dot;
    }
    store->counter = counter;
    store->seq++;
    for (uint32_t i = 0; i < count; i++) {
        op->done.u.merge.changed = op->done.u.merge.changed || results[i].changed;
    }
    const struct kith_hint_want *hint = op->op.u.merge.hint;
    if (whole && !hint) {
        store_sim_batch(store, &op->op.u.merge.group, count, names, dots);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {op->op.u.merge.group, op->op.u.merge.rows[i].name};
        if (hint) {
            store_hints_write(store, &key, &results[i], hint, wall_ms);
        } else {
            row_write(store, &op->arena, &key, &results[i]);
        }
    }
}

static void apply_get(struct store_sim *store, struct store_op *op, struct kith_bytes secret)
{
    uint32_t count = op->op.u.get.name_count;
    struct kith_got_row *rows = kith_arena_calloc(&op->arena, count, sizeof *rows);
    KITH_ASSERT(rows);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {op->op.u.get.group, op->op.u.get.names[i]};
        struct kith_bytes record =
            op->op.u.get.hints ? store_hints_record(store, &key) : store_sim_record(store, &key);
        struct kith_bytes state = kith_bytes_make(NULL, 0);
        if (record.size == 0) {
            continue;
        }
        if (kith_rowop_state(&key, record, secret, &state, &rows[i].hash) != KITH_OK) {
            op->done.err = KITH_ECORRUPT;
            return;
        }
        if (!op->op.u.get.digest) {
            rows[i].state.data = kith_arena_copy(&op->arena, state.data, state.size);
            rows[i].state.size = state.size;
        }
    }
    op->done.u.rows.row_count = count;
    op->done.u.rows.rows = rows;
}

static void apply_scan(struct store_sim *store, struct store_op *op, struct kith_bytes secret)
{
    struct kith_got_row *rows = kith_arena_calloc(&op->arena, store->cell_count + 1, sizeof *rows);
    KITH_ASSERT(rows);
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        if (cell->type != (op->op.u.scan.hints ? 'h' : 'r') || !store_sim_there(cell) ||
            memcmp(cell->key + 2, op->op.u.scan.group.bytes, 16) != 0) {
            continue;
        }
        struct kith_key key = {op->op.u.scan.group,
                               kith_bytes_make(cell->key + 18, cell->key_size - 18)};
        if (op->op.u.scan.has_after && kith_bytes_compare(key.name, op->op.u.scan.after) <= 0) {
            continue;
        }
        if (count == op->op.u.scan.max_rows) {
            op->done.u.rows.more = true;
            break;
        }
        struct kith_bytes record =
            op->op.u.scan.hints ? store_hints_record(store, &key) : store_sim_record(store, &key);
        struct kith_bytes state = store_sim_record_state(store, &key, record, secret);
        struct kith_checksum hash = kith_row_hash(&key, state, secret);
        if (record.size == 0) {
            continue;
        }
        rows[count].name.data = kith_arena_copy(&op->arena, key.name.data, key.name.size);
        rows[count].name.size = key.name.size;
        rows[count].hash = hash;
        rows[count].state.data = kith_arena_copy(&op->arena, state.data, state.size);
        rows[count].state.size = state.size;
        count++;
    }
    op->done.u.rows.row_count = count;
    op->done.u.rows.rows = rows;
}

static void apply_find(struct store_sim *store, struct store_op *op, struct kith_bytes secret)
{
    uint32_t count = op->op.u.find.name_count;
    struct kith_replica_row *rows = kith_arena_calloc(&op->arena, count, sizeof *rows);
    KITH_ASSERT(rows);
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {op->op.u.find.group, op->op.u.find.names[i]};
        struct kith_bytes record =
            op->op.u.find.hints ? store_hints_record(store, &key) : store_sim_record(store, &key);
        if (record.size == 0 ||
            kith_rowop_find(record, &op->op.u.find.request, &rows[i].dot) != KITH_OK) {
            return;
        }
        struct kith_bytes state = store_sim_record_state(store, &key, record, secret);
        rows[i].name = op->op.u.find.names[i];
        rows[i].has_dot = true;
        rows[i].state.data = kith_arena_copy(&op->arena, state.data, state.size);
        rows[i].state.size = state.size;
    }
    op->done.u.find.found = true;
    op->done.u.find.row_count = count;
    op->done.u.find.rows = rows;
}

/* One table a version, and one that moves data comes only while nobody holds any. */
static void table_stored(struct store_sim *store, struct kith_bytes value)
{
    struct sim *sim = store->sim;
    struct kith_table *table = NULL;
    if (kith_table_decode(value, &table) != KITH_OK) {
        sim_fail(sim, "node %u stores a table that does not decode", store->node);
        return;
    }
    const struct kith_table *newest = sim->newest;
    if (newest && table->id.epoch == newest->id.epoch && table->id.version == newest->id.version &&
        !kith_checksum_equal(&table->id.hash, &newest->id.hash)) {
        sim_fail(sim, "two tables are decided for version %llu",
                 (unsigned long long)table->id.version);
    }
    if (newest && kith_table_id_compare(&table->id, &newest->id) <= 0) {
        kith_table_drop(table);
        return;
    }
    bool moves = newest && kith_decide_changes(newest, table);
    for (uint32_t i = 0; moves && i < sim->node_count; i++) {
        if (store_sim_has_data(&sim->nodes[i].store)) {
            sim_fail(sim, "invariant 7: the table changed while node %u held data", i);
        }
    }
    plans_edge(sim, store->node, table);
    kith_table_drop(sim->newest);
    sim->newest = table;
    sim->newest_us = sim->now_us;
}

static void apply_sums(const struct store_sim *store, struct store_op *op, struct kith_bytes secret)
{
    struct kith_sum *sums = kith_arena_calloc(&op->arena, KITH_TREE_LEAVES, sizeof *sums);
    KITH_ASSERT(sums);
    for (uint32_t i = 0; i < KITH_TREE_LEAVES && !op->op.u.sums.chunks; i++) {
        sums[i] = store_sim_leaf_sum(store, op->op.partition, i);
    }
    if (op->op.u.sums.chunks) {
        store_sim_chunk_sums(store, op->op.partition, secret, sums);
    }
    op->done.u.sums = sums;
}

static bool hash_among(const struct kith_checksum *hashes, uint32_t count,
                       const struct kith_checksum *hash)
{
    for (uint32_t i = 0; i < count; i++) {
        if (kith_checksum_equal(&hashes[i], hash)) {
            return true;
        }
    }
    return false;
}

struct in_leaf {
    uint32_t leaf;
    struct kith_key key;
};

/* The rows of the leaves that are asked for, by leaf: a page goes on where the last one ended. */
static uint32_t rows_by_leaf(const struct store_sim *store, const struct kith_store_op *ask,
                             struct in_leaf *rows)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        const struct cell *cell = store->cells[i];
        if (cell->type != 'r' || !store_sim_there(cell)) {
            continue;
        }
        struct in_leaf row = {.key = store_sim_key_of(cell)};
        row.leaf = kith_tree_leaf(&row.key);
        if (kith_group_partition(&row.key.group, SIM_PARTITIONS) != ask->partition ||
            !kith_leaf_in(&ask->u.leaf.leaves, row.leaf)) {
            continue;
        }
        uint32_t at = count++;
        for (; at > 0 && rows[at - 1].leaf > row.leaf; at--) {
            rows[at] = rows[at - 1];
        }
        rows[at] = row;
    }
    return count;
}

static void apply_leaf(struct store_sim *store, struct store_op *op, struct kith_bytes secret)
{
    const struct kith_store_op *ask = &op->op;
    struct kith_leaf_row *rows = kith_arena_calloc(&op->arena, store->cell_count + 1, sizeof *rows);
    struct in_leaf *among = kith_arena_calloc(&op->arena, store->cell_count + 1, sizeof *among);
    KITH_ASSERT(rows && among);
    uint32_t count = 0, all = rows_by_leaf(store, ask, among);
    for (uint32_t i = 0; i < all; i++) {
        struct kith_key key = among[i].key;
        struct kith_bytes state = store_sim_state(store, &key, secret);
        struct kith_checksum hash = kith_row_hash(&key, state, secret);
        if (hash_among(ask->u.leaf.have, ask->u.leaf.have_count, &hash) ||
            (store->sim->mutant == MUTANT_LEAF_EMPTY && !ask->u.leaf.digest)) {
            continue;
        }
        if (count == SIM_LEAF_PAGE && !ask->u.leaf.digest) {
            op->done.u.leaf.more = true;
            break;
        }
        rows[count].group = key.group;
        rows[count].name.data = kith_arena_copy(&op->arena, key.name.data, key.name.size);
        rows[count].name.size = key.name.size;
        rows[count].state.data = kith_arena_copy(&op->arena, state.data, state.size);
        rows[count].state.size = state.size;
        rows[count].hash = hash;
        count++;
    }
    op->done.u.leaf.end = KITH_TREE_LEAVES;
    op->done.u.leaf.row_count = count;
    op->done.u.leaf.rows = rows;
}

static void apply_absorb(struct store_sim *store, struct store_op *op, uint64_t wall_ms,
                         struct kith_bytes secret)
{
    struct kith_store_op whole = op->op;
    uint32_t count = whole.u.absorb.row_count, changed = 0;
    struct kith_replica_row *rows = kith_arena_calloc(&op->arena, count, sizeof *rows);
    KITH_ASSERT(rows);
    for (uint32_t i = 0; i < count && op->done.err == KITH_OK; i++) {
        const struct kith_leaf_row *row = &whole.u.absorb.rows[i];
        memset(&op->op.u, 0, sizeof op->op.u);
        op->op.kind = KITH_STORE_MERGE;
        op->op.u.merge.group = row->group;
        op->op.u.merge.row_count = 1;
        op->op.u.merge.rows = &rows[i];
        rows[i].name = row->name;
        rows[i].state = row->state;
        op->done.u.merge.changed = false;
        apply_merge(store, op, wall_ms, secret);
        changed += op->done.u.merge.changed ? 1 : 0;
    }
    op->op = whole;
    memset(&op->done.u, 0, sizeof op->done.u);
    op->done.u.absorb.changed = changed;
}

void store_sim_apply(struct store_sim *store, struct store_op *op, uint64_t wall_ms,
                     struct kith_bytes secret)
{
    op->seq = 0;
    op->done.id = op->op.id;
    op->done.message = "";
    switch (op->op.kind) {
    case KITH_STORE_PUT:
        apply_put(store, op, wall_ms, secret);
        break;
    case KITH_STORE_MERGE:
        apply_merge(store, op, wall_ms, secret);
        break;
    case KITH_STORE_GET:
        apply_get(store, op, secret);
        break;
    case KITH_STORE_SCAN:
        apply_scan(store, op, secret);
        break;
    case KITH_STORE_GROUPS: /* what is written here are no directories */
        break;
    case KITH_STORE_FIND:
        apply_find(store, op, secret);
        break;
    case KITH_STORE_META_PUT: {
        uint8_t key = (uint8_t)op->op.u.meta.key;
        bool forget = store->sim->mutant == MUTANT_THAW && key == KITH_META_DECIDE;
        struct kith_buf forgets;
        kith_buf_init(&forgets);
        if (forget) {
            joins_forget(op->op.u.meta.value, &forgets);
        }
        store->seq++;
        store_sim_put(store, 'm', &key, 1, forget ? kith_buf_bytes(&forgets) : op->op.u.meta.value);
        kith_buf_release(&forgets);
        if (op->op.u.meta.key == KITH_META_TABLE) {
            table_stored(store, op->op.u.meta.value);
        }
        break;
    }
    case KITH_STORE_SUMS:
        apply_sums(store, op, secret);
        break;
    case KITH_STORE_LEAF:
        apply_leaf(store, op, secret);
        break;
    case KITH_STORE_ABSORB:
        apply_absorb(store, op, wall_ms, secret);
        break;
    case KITH_STORE_HINT_NOTE:
    case KITH_STORE_HINT_PAGE:
    case KITH_STORE_HINT_ACK:
    case KITH_STORE_HINT_DROP:
    case KITH_STORE_HINT_LIST:
        store_hints_apply(store, op);
        break;
    case KITH_STORE_COUNT:
        op->done.u.counts.rows = store_sim_has_data(store) ? 1 : 0;
        /* no conflicts: what is written here are no files */
        break;
    case KITH_STORE_CHUNK_PUT:
    case KITH_STORE_CHUNK_GET:
    case KITH_STORE_CHUNK_SYNC:
    case KITH_STORE_CHUNK_LIST:
    case KITH_STORE_CHUNK_LACK:
        store_sim_apply_chunk(store, op);
        break;
    case KITH_STORE_DROP:
        store_sim_drop(store, op, secret);
        break;
    case KITH_STORE_SWEEP_LIST:
    case KITH_STORE_SWEEP_LOOK:
    case KITH_STORE_SWEEP_STEP:
    case KITH_STORE_CHUNK_LEASE:
        store_sweep_apply(store, op);
        break;
    case KITH_STORE_REAP_LIST:
    case KITH_STORE_REAP:
        store_reap_apply(store, op);
        break;
    case KITH_STORE_SCRUB: /* nothing rots here */
        op->done.u.scrub.leaf = KITH_TREE_LEAVES;
        break;
    }
    if (op->seq == 0) { /* else: set by a mutant's transaction that is none */
        op->seq = store->seq;
    }
}
