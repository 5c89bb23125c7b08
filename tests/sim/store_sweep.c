/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_sweep.c - what a node's store knows of references, and of chunks that may be swept: marks
 * (core/rows/sweepop.h) in cells of type 'k', what a chunk refers to in cells of type 'x', under its id. */
#include <string.h>

#include "sim.h"

#define REFS_MAX 16384u

struct refs { /* of a store */
    uint32_t count;
    struct kith_chunk_id ids[REFS_MAX];
};

static bool same_id(const struct kith_chunk_id *a, const struct kith_chunk_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static void refs_add(struct refs *refs, const struct kith_chunk_id *ids, uint32_t count)
{
    KITH_ASSERT(refs->count + count <= REFS_MAX);
    if (count > 0) {
        memcpy(&refs->ids[refs->count], ids, count * sizeof *ids);
        refs->count += count;
    }
}

static void refs_of_record(const struct store_sim *store, const struct kith_key *key,
                           struct kith_bytes record, struct refs *refs)
{
    struct kith_bytes state;
    struct kith_checksum hash;
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    if (record.size > 0 &&
        kith_rowop_state(key, record, store->sim->secret, &state, &hash) == KITH_OK &&
        kith_row_decode(&arena, state, &row) == KITH_OK) {
        for (uint32_t i = 0; i < row.sibling_count; i++) {
            refs_add(refs, row.siblings[i].refs, row.siblings[i].ref_count);
        }
    }
    kith_arena_release(&arena);
}

static struct kith_bytes newest(const struct cell *cell)
{
    const struct cell_version *last = &cell->versions[cell->version_count - 1];
    return kith_bytes_make(last->data, last->size);
}

/* All that the store refers to; or its own rows alone. */
static void refs_of(const struct store_sim *store, bool rows_only, bool hints, struct refs *refs)
{
    refs->count = 0;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        const struct cell *cell = store->cells[i];
        struct kith_hint hint;
        if (cell->version_count == 0 || newest(cell).size == 0) {
            continue;
        }
        struct kith_bytes bytes = newest(cell);
        if (cell->type == 'r') {
            struct kith_key key = store_sim_key_of(cell);
            refs_of_record(store, &key, bytes, refs);
        } else if (cell->type == 'h' && hints && !rows_only && kith_hint_decode(bytes, &hint) == KITH_OK) {
            struct kith_key key = store_sim_key_of(cell);
            refs_of_record(store, &key, hint.record, refs);
        } else if (cell->type == 'x' && !rows_only) {
            refs_add(refs, (const struct kith_chunk_id *)(const void *)bytes.data,
                     (uint32_t)(bytes.size / sizeof(struct kith_chunk_id)));
        }
    }
}

static bool among(const struct refs *refs, const struct kith_chunk_id *id)
{
    for (uint32_t i = 0; i < refs->count; i++) {
        if (same_id(&refs->ids[i], id)) {
            return true;
        }
    }
    return false;
}

static void mark_read(const struct store_sim *store, const struct kith_chunk_id *id,
                      struct kith_mark *ret_mark)
{
    enum kith_err err = kith_mark_decode(
        store_sim_get(store, 'k', id->bytes, sizeof id->bytes), ret_mark);
    KITH_ASSERT(err == KITH_OK);
}

static void mark_write(struct store_sim *store, const struct kith_chunk_id *id,
                       const struct kith_mark *mark)
{
    uint8_t bytes[KITH_MARK_SIZE];
    kith_mark_encode(mark, bytes);
    store_sim_put(store, 'k', id->bytes, sizeof id->bytes,
                  kith_bytes_make(bytes, mark ? sizeof bytes : 0));
}

void store_sweep_drop(struct store_sim *store, const struct cell *cell)
{
    static const uint8_t types[] = {'k', 'x'};
    struct kith_chunk_id id;
    memcpy(id.bytes, cell->key, sizeof id.bytes);
    for (uint32_t i = 0; i < sizeof types; i++) {
        if (store_sim_get(store, types[i], id.bytes, sizeof id.bytes).size > 0) {
            store_sim_put(store, types[i], id.bytes, sizeof id.bytes, kith_bytes_make(NULL, 0));
        }
    }
}

bool store_sweep_gone(const struct store_sim *store, const struct kith_chunk_id *id)
{
    struct kith_mark mark;
    mark_read(store, id, &mark);
    return mark.state == KITH_MARK_GONE;
}

/* ---- What a write may refer to ---- */

static bool leased(const struct kith_refs_rule *rule, const struct kith_chunk_id *id)
{
    for (uint32_t i = 0; i < rule->leased_count; i++) {
        if (same_id(&rule->leased[i], id)) {
            return true;
        }
    }
    return false;
}

static void ids_sort(struct kith_chunk_id *ids, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        for (uint32_t k = i; k > 0 && memcmp(&ids[k - 1], &ids[k], sizeof *ids) > 0; k--) {
            struct kith_chunk_id other = ids[k];
            ids[k] = ids[k - 1];
            ids[k - 1] = other;
        }
    }
}

/* Those of `ids` that have to be leased are added to the list, each once. */
static void unleased(const struct store_sim *store, const struct kith_refs_rule *rule,
                     const struct refs *own, const struct kith_chunk_id *ids, uint32_t count,
                     struct refs *list)
{
    for (uint32_t i = 0; i < count; i++) {
        bool may = kith_chunk_is_young(&ids[i], rule->now_ms, rule->grace_ms) ||
                   among(own, &ids[i]) || leased(rule, &ids[i]) ||
                   store->sim->mutant == MUTANT_LEASE_UNASKED;
        if (!may && !among(list, &ids[i])) {
            refs_add(list, &ids[i], 1);
        }
    }
}

static bool refuses(struct store_op *op, struct refs *list)
{
    if (list->count == 0) {
        return false;
    }
    ids_sort(list->ids, list->count);
    op->done.err = KITH_ECANCELED;
    op->done.u.unleased.count = list->count;
    op->done.u.unleased.ids =
        kith_arena_copy(&op->arena, list->ids, list->count * sizeof *list->ids);
    KITH_ASSERT(op->done.u.unleased.ids);
    return true;
}

bool store_sweep_refuses_put(struct store_sim *store, struct store_op *op,
                             const struct kith_rowop_result *results)
{
    static struct refs own, list;
    const struct kith_refs_rule *rule = &op->op.u.put.refs;
    if (rule->grace_ms == 0) {
        return false;
    }
    refs_of(store, true, false, &own);
    if (!rule->own || (op->op.u.put.hint && !op->op.u.put.hint->thin)) {
        own.count = 0; /* a row that is kept for others goes when they have it */
    }
    list.count = 0;
    for (uint32_t i = 0; i < op->op.u.put.update_count; i++) {
        const struct kith_row *row = &results[i].new_row;
        for (uint32_t s = 0; results[i].changed && s < row->sibling_count; s++) {
            if (!kith_row_find(&results[i].old_row, &row->siblings[s].dot)) {
                unleased(store, rule, &own, row->siblings[s].refs, row->siblings[s].ref_count,
                         &list);
            }
        }
    }
    return refuses(op, &list);
}

bool store_sweep_refuses_chunk(struct store_sim *store, struct store_op *op)
{
    static struct refs own, list;
    const struct kith_refs_rule *rule = &op->op.u.chunk_put.rule;
    if (rule->grace_ms == 0) {
        return false;
    }
    refs_of(store, true, false, &own);
    own.count = rule->own ? own.count : 0;
    list.count = 0;
    unleased(store, rule, &own, op->op.u.chunk_put.refs, op->op.u.chunk_put.ref_count, &list);
    return refuses(op, &list);
}

/* ---- The operations ---- */

static uint64_t grace_of(const struct store_sim *store, uint64_t grace_ms)
{
    return store->sim->mutant == MUTANT_SWEEP_AT_ONCE ? 0 : grace_ms;
}

static void apply_list(struct store_sim *store, struct store_op *op)
{
    static struct refs refs;
    const struct kith_store_op *ask = &op->op;
    uint64_t grace_ms = grace_of(store, ask->u.sweep_list.grace_ms), now_ms = ask->u.sweep_list.now_ms;
    struct kith_sweep_entry *list =
        kith_arena_calloc(&op->arena, store->cell_count + 1, sizeof *list);
    KITH_ASSERT(list);
    bool known = false;
    uint32_t count = 0, end = store->cell_count;
    store->seq++;
    for (uint32_t i = 0; i < end; i++) {
        struct cell *cell = store->cells[i];
        struct kith_chunk_id id;
        struct kith_mark mark;
        memcpy(id.bytes, cell->key, sizeof id.bytes);
        if (cell->version_count == 0 || newest(cell).size == 0 ||
            (cell->type != 'c' && cell->type != 'k') ||
            kith_chunk_partition(&id, SIM_PARTITIONS) != ask->partition) {
            continue;
        }
        mark_read(store, &id, &mark);
        if (cell->type == 'k' && kith_mark_over(&mark, now_ms, grace_ms)) {
            store_sim_put(store, 'k', id.bytes, sizeof id.bytes, kith_bytes_make(NULL, 0));
        }
        if (cell->type == 'k' || ask->u.sweep_list.marks_only ||
            (ask->u.sweep_list.has_after &&
             memcmp(id.bytes, ask->u.sweep_list.after.bytes, sizeof id.bytes) <= 0)) {
            continue;
        }
        if (!known) {
            refs_of(store, false, true, &refs);
            known = true;
        }
        if (among(&refs, &id)) {
            if (kith_mark_clear(&mark)) {
                mark_write(store, &id, &mark);
                end = store->cell_count;
            }
            continue;
        }
        if (count == SIM_LEAF_PAGE) {
            op->done.u.sweep_list.more = true;
            break;
        }
        struct kith_mark trial = mark;
        list[count].id = id;
        list[count].stamp = mark.stamp;
        list[count].ripe = kith_mark_ripe(&mark, now_ms, grace_ms);
        list[count].fresh = mark.state != KITH_MARK_CONDEMNED &&
                            kith_mark_step(&trial, KITH_SWEEP_CONDEMN, &id, ~mark.stamp, now_ms,
                                           grace_ms);
        if (list[count].ripe || list[count].fresh) {
            op->done.u.sweep_list.last = id;
            count++;
        }
    }
    op->done.u.sweep_list.count = count;
    op->done.u.sweep_list.chunks = list;
}

static void apply_look(const struct store_sim *store, struct store_op *op)
{
    static struct refs refs;
    uint32_t count = op->op.u.sweep.count, kept = 0;
    struct kith_chunk_id *ids = kith_arena_calloc(&op->arena, count, sizeof *ids);
    KITH_ASSERT(ids);
    refs_of(store, false, true, &refs);
    bool deaf = store->sim->mutant == MUTANT_OWNERS_ASKED &&
                !sim_owns(store->sim, store->node, op->op.partition);
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_chunk_id *id = &op->op.u.sweep.chunks[i].id;
        sweeps_hot(store->sim, id);
        if (!deaf && among(&refs, id)) {
            ids[kept++] = *id;
        }
    }
    op->done.u.sweep.kept_count = kept;
    op->done.u.sweep.kept = ids;
}

static void apply_step(struct store_sim *store, struct store_op *op)
{
    static struct refs refs;
    static const struct kith_bytes nothing;
    const struct kith_store_op *ask = &op->op;
    uint32_t count = ask->u.sweep.count, kept = 0;
    struct kith_chunk_id *ids = kith_arena_calloc(&op->arena, count, sizeof *ids);
    KITH_ASSERT(ids);
    refs_of(store, false, true, &refs);
    store->seq++;
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_sweep_chunk *chunk = &ask->u.sweep.chunks[i];
        const struct kith_chunk_id *id = &chunk->id;
        struct kith_mark mark;
        enum kith_sweep_step step = ask->u.sweep.step;
        mark_read(store, id, &mark);
        bool bars = step != KITH_SWEEP_CLEAR && among(&refs, id) &&
                    store->sim->mutant != MUTANT_OWNERS_ASKED;
        uint64_t grace_ms = grace_of(store, ask->u.sweep.grace_ms);
        if (bars || !kith_mark_step(&mark, step, id, chunk->stamp, ask->u.sweep.now_ms, grace_ms)) {
            ids[kept++] = *id;
            continue;
        }
        mark_write(store, id, &mark);
        sweeps_hot(store->sim, id);
        size_t size = store_sim_get(store, 'c', id->bytes, sizeof id->bytes).size;
        if (step == KITH_SWEEP_DELETE && size > 0) {
            sim_trace(store->sim, "%u sweeps chunk %02x%02x", store->node, id->bytes[10],
                      id->bytes[11]);
            store_sim_put(store, 'c', id->bytes, sizeof id->bytes, nothing);
            store_sim_put(store, 'x', id->bytes, sizeof id->bytes, nothing);
            op->done.u.sweep.deleted++;
            op->done.u.sweep.bytes += size;
        }
    }
    op->done.u.sweep.kept_count = kept;
    op->done.u.sweep.kept = ids;
}

static void apply_lease(struct store_sim *store, struct store_op *op)
{
    const struct kith_store_op *ask = &op->op;
    uint32_t count = ask->u.lease.count, held = 0, gone = 0;
    struct kith_chunk_id *lists = kith_arena_calloc(&op->arena, 2 * count, sizeof *lists);
    KITH_ASSERT(lists);
    store->seq++;
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_chunk_id *id = &ask->u.lease.ids[i];
        struct kith_mark mark;
        mark_read(store, id, &mark);
        bool doomed = mark.state == KITH_MARK_DOOMED && store->sim->mutant == MUTANT_DOOM_LEASED;
        bool marked = mark.state != KITH_MARK_NONE || mark.lease_ms != 0;
        bool here = store_sim_get(store, 'c', id->bytes, sizeof id->bytes).size > 0;
        if (!kith_mark_lease(&mark, ask->u.lease.now_ms) && !doomed) {
            lists[count + gone++] = *id;
            continue;
        }
        if (store->sim->mutant != MUTANT_LEASE_FORGOTTEN && !doomed && (here || marked)) {
            mark_write(store, id, &mark);
        }
        if (here) {
            lists[held++] = *id;
        }
    }
    op->done.u.lease.held_count = held;
    op->done.u.lease.held = lists;
    op->done.u.lease.gone_count = gone;
    op->done.u.lease.gone = lists + count;
}

void store_sweep_apply(struct store_sim *store, struct store_op *op)
{
    switch (op->op.kind) {
    case KITH_STORE_SWEEP_LIST:
        apply_list(store, op);
        break;
    case KITH_STORE_SWEEP_LOOK:
        apply_look(store, op);
        break;
    case KITH_STORE_SWEEP_STEP:
        apply_step(store, op);
        break;
    default:
        apply_lease(store, op);
    }
}
