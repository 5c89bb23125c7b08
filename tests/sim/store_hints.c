/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_hints.c - what a node keeps for others: cells of type 'h', with the keys of rows and the
 * records of core/rows/hintop.h; one without bytes is none. */
#include <string.h>

#include "sim.h"

#define MUTANT_AGE_MS 500u

static struct kith_bytes hint_cell(const struct store_sim *store, const struct kith_key *key)
{
    uint8_t name[SIM_ROW_KEY];
    size_t size = store_sim_row_key(key, name);
    return store_sim_get(store, 'h', name, size);
}

static void hint_of(const struct store_sim *store, const struct kith_key *key,
                    struct kith_hint *ret_hint)
{
    if (kith_hint_decode(hint_cell(store, key), ret_hint) != KITH_OK) {
        sim_fail(store->sim, "node %u: a hint does not decode", store->node);
    }
}

static void hint_write(struct store_sim *store, const struct kith_key *key,
                       const struct kith_hint *hint)
{
    struct kith_arena arena;
    struct kith_bytes bytes = kith_bytes_make(NULL, 0);
    uint8_t name[SIM_ROW_KEY];
    size_t size = store_sim_row_key(key, name);
    kith_arena_init(&arena, 0);
    if (hint) {
        enum kith_err err = kith_hint_encode(&arena, hint, &bytes);
        KITH_ASSERT(err == KITH_OK);
    }
    store_sim_put(store, 'h', name, size, bytes);
    kith_arena_release(&arena);
}

struct kith_bytes store_hints_record(struct store_sim *store, const struct kith_key *key)
{
    struct kith_hint hint;
    hint_of(store, key, &hint);
    return hint.record;
}

/* A mutant: a put on a hint's record that was empty takes the epoch of the last one there was. */
void store_hints_old_epoch(struct store_sim *store, struct kith_arena *arena,
                           const struct kith_rowop_env *env, const struct kith_key *key,
                           struct kith_rowop_result *result)
{
    uint32_t row = oracle_row(key);
    struct kith_actor actor = result->dot.actor;
    struct kith_actor *last = &store->hint_actors[row];
    if (result->duplicate || actor.run != last->run || last->epoch >= actor.epoch) {
        *last = actor;
        return;
    }
    struct kith_row state;
    struct kith_rowop_result other;
    static const struct kith_request_id none;
    enum kith_err err = kith_row_copy(arena, &result->new_row, &state);
    KITH_ASSERT(err == KITH_OK);
    struct kith_clock_entry *entries =
        kith_arena_copy(arena, state.clock.entries, state.clock.count * sizeof *entries);
    struct kith_sibling *siblings =
        kith_arena_copy(arena, state.siblings, (state.sibling_count + 1) * sizeof *siblings);
    KITH_ASSERT(entries && siblings);
    uint32_t own = UINT32_MAX, taken = UINT32_MAX;
    for (uint32_t i = 0; i < state.clock.count; i++) {
        own = kith_actor_compare(&entries[i].actor, &actor) == 0 ? i : own;
        taken = kith_actor_compare(&entries[i].actor, last) == 0 ? i : taken;
    }
    KITH_ASSERT(own != UINT32_MAX);
    if (taken == UINT32_MAX) {
        entries[own].actor = *last;
    } else { /* the context knows of that epoch: the two are one entry */
        entries[taken].counter = entries[own].counter;
        memmove(&entries[own], &entries[own + 1],
                (state.clock.count - own - 1) * sizeof *entries);
        state.clock.count--;
    }
    for (uint32_t i = 0; i < state.sibling_count; i++) {
        if (kith_dot_equal(&siblings[i].dot, &result->dot)) {
            siblings[i].dot.actor = *last;
        }
    }
    state.clock.entries = entries;
    state.siblings = siblings;
    size_t size = kith_row_encoded_size(&state);
    uint8_t *bytes = kith_arena_alloc(arena, size);
    KITH_ASSERT(bytes);
    (void)kith_row_write(&state, bytes);
    struct kith_replica_row incoming = {.name = key->name, .state = kith_bytes_make(bytes, size)};
    struct kith_dot dot = {*last, result->dot.counter};
    err = kith_rowop_merge(arena, env, key, kith_bytes_make(NULL, 0), &incoming, &none, &other);
    if (err == KITH_OK && other.changed) {
        *result = other;
        result->dot = dot;
    }
}

void store_hints_write(struct store_sim *store, const struct kith_key *key,
                       const struct kith_rowop_result *result, const struct kith_hint_want *want,
                       uint64_t wall_ms)
{
    struct kith_hint hint;
    hint_of(store, key, &hint);
    hint.record = result->record;
    kith_hint_take(&hint, want, wall_ms, result->changed);
    oracle_state(store->sim, key, result->state);
    hint_write(store, key, &hint);
}

void store_hints_mark(struct store_sim *store, const struct kith_key *key,
                      const struct kith_hint_want *want, uint64_t wall_ms)
{
    struct kith_hint hint;
    hint_of(store, key, &hint);
    if (kith_hint_mark(&hint, want, wall_ms)) {
        hint_write(store, key, &hint);
    }
}

static void apply_note(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    store->seq++;
    for (uint32_t i = 0; i < ask->u.hint_note.name_count; i++) {
        const struct kith_key key = {ask->u.hint_note.group, ask->u.hint_note.names[i]};
        store_hints_mark(store, &key, ask->u.hint_note.hint, ask->u.hint_note.wall_ms);
    }
}

/* The state of the hint in this cell, and its hash. */
static bool hint_state(struct store_sim *store, struct kith_arena *arena,
                       const struct kith_key *key, const struct kith_hint *hint,
                       struct kith_leaf_row *ret_row)
{
    uint8_t name[SIM_ROW_KEY];
    size_t size = store_sim_row_key(key, name);
    struct kith_bytes state;
    if (kith_hint_state(arena, key, hint, store_sim_get(store, 'r', name, size),
                        store->sim->secret, &state, &ret_row->hash) != KITH_OK) {
        sim_fail(store->sim, "node %u: a hint's record does not fit its hash", store->node);
        return false;
    }
    ret_row->group = key->group;
    ret_row->name = kith_bytes_make(kith_arena_copy(arena, key->name.data, key->name.size),
                                    key->name.size);
    ret_row->state = kith_bytes_make(kith_arena_copy(arena, state.data, state.size), state.size);
    return state.size > 0;
}

static bool hint_at(const struct store_sim *store, uint32_t index, uint32_t partition,
                    struct kith_key *ret_key, struct kith_hint *ret_hint)
{
    const struct cell *cell = store->cells[index];
    if (cell->type != 'h' || cell->version_count == 0) {
        return false;
    }
    *ret_key = store_sim_key_of(cell);
    hint_of(store, ret_key, ret_hint);
    return ret_hint->exists &&
           kith_group_partition(&ret_key->group, SIM_PARTITIONS) == partition;
}

static bool behind(const struct kith_store_op *ask, const struct kith_key *key)
{
    int order = kith_group_compare(&key->group, &ask->u.hint_page.after_group);
    return !ask->u.hint_page.has_after || order > 0 ||
           (order == 0 && kith_bytes_compare(key->name, ask->u.hint_page.after_name) > 0);
}

static void apply_page(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    struct kith_hint_owners owners = {ask->u.hint_page.owner_count, ask->u.hint_page.owners,
                                      ask->u.hint_page.w};
    struct kith_leaf_row *rows = kith_arena_calloc(&op->arena, store->cell_count + 1, sizeof *rows);
    KITH_ASSERT(rows);
    uint32_t count = 0;
    uint32_t most = ask->u.hint_page.max_rows == 0 ? SIM_LEAF_PAGE : ask->u.hint_page.max_rows;
    for (uint32_t i = 0; i < store->cell_count && count < most; i++) {
        struct kith_key key;
        struct kith_hint hint;
        if (!hint_at(store, i, ask->partition, &key, &hint) || !behind(ask, &key) ||
            !kith_hint_wanted(&hint, &ask->u.hint_page.node, &owners)) {
            continue;
        }
        count += hint_state(store, &op->arena, &key, &hint, &rows[count]) ? 1 : 0;
    }
    op->done.u.hint_page.more = count == most;
    if (count == most) {
        op->done.u.hint_page.last_group = rows[count - 1].group;
        op->done.u.hint_page.last_name = rows[count - 1].name;
    }
    op->done.u.hint_page.row_count = count;
    op->done.u.hint_page.rows = rows;
}

static void apply_ack(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    uint32_t w = store->sim->mutant == MUTANT_HINT_TWICE ? 1 : ask->u.hint_ack.w;
    struct kith_hint_owners owners = {ask->u.hint_ack.owner_count, ask->u.hint_ack.owners, w};
    store->seq++;
    for (uint32_t i = 0; i < ask->u.hint_ack.row_count; i++) {
        const struct kith_leaf_row *row = &ask->u.hint_ack.rows[i];
        const struct kith_key key = {row->group, row->name};
        struct kith_hint hint;
        struct kith_leaf_row now;
        hint_of(store, &key, &hint);
        if (hint.exists && hint_state(store, &op->arena, &key, &hint, &now) &&
            kith_checksum_equal(&now.hash, &row->hash)) {
            bool gone = kith_hint_ack(&hint, &ask->u.hint_ack.node, &owners);
            hint_write(store, &key, gone ? NULL : &hint);
        }
    }
}

static void apply_drop(struct store_sim *store, struct store_op *op)
{
    store->seq++;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct kith_key key;
        struct kith_hint hint;
        if (hint_at(store, i, op->op.partition, &key, &hint) &&
            hint.first_ms < op->op.u.hint_drop.before_ms &&
            !hint.custody && !hint.thin) {
            hint_write(store, &key, NULL);
        }
    }
}

/* A mutant: what counts as a copy goes by age, and soon. */
static void custody_age(struct store_sim *store)
{
    uint64_t wall_ms = world_wall_ms(store->sim, &store->sim->nodes[store->node]);
    store->seq++;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct kith_key key;
        struct kith_hint hint;
        for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
            if (hint_at(store, i, p, &key, &hint) && hint.custody &&
                hint.first_ms + MUTANT_AGE_MS < wall_ms) {
                hint_write(store, &key, NULL);
            }
        }
    }
}

static void apply_list(struct store_sim *store, struct store_op *op)
{
    if (store->sim->mutant == MUTANT_CUSTODY_AGE) {
        custody_age(store);
    }
    struct kith_store_hints *list =
        kith_arena_calloc(&op->arena, SIM_PARTITIONS, sizeof *list);
    KITH_ASSERT(list);
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
        struct kith_store_hints *each = &list[op->done.u.hint_list.count];
        for (uint32_t i = 0; i < store->cell_count; i++) {
            struct kith_key key;
            struct kith_hint hint;
            if (hint_at(store, i, p, &key, &hint)) {
                each->partition = p;
                each->count++;
                each->custody += hint.custody ? 1 : 0;
                each->thin += hint.thin ? 1 : 0;
                each->first_ms = each->first_ms == 0 || hint.first_ms < each->first_ms
                                     ? hint.first_ms
                                     : each->first_ms;
            }
        }
        op->done.u.hint_list.count += each->count > 0 ? 1 : 0;
    }
    op->done.u.hint_list.list = list;
}

void store_hints_apply(struct store_sim *store, struct store_op *op)
{
    switch (op->op.kind) {
    case KITH_STORE_HINT_NOTE:
        apply_note(store, op);
        return;
    case KITH_STORE_HINT_PAGE:
        apply_page(store, op);
        return;
    case KITH_STORE_HINT_ACK:
        apply_ack(store, op);
        return;
    case KITH_STORE_HINT_DROP:
        apply_drop(store, op);
        return;
    default:
        apply_list(store, op);
    }
}

bool store_hints_noted(const struct store_sim *store, const struct kith_key *key)
{
    struct kith_hint hint;
    hint_of(store, key, &hint);
    return hint.exists && (hint.custody || hint.thin);
}

bool store_hints_owed(const struct store_sim *store)
{
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct kith_key key;
        struct kith_hint hint;
        for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
            if (hint_at(store, i, p, &key, &hint) && (hint.custody || hint.thin)) {
                return true;
            }
        }
    }
    return false;
}
