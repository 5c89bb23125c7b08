/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_loss.c - what a simulated disk forgets: what was not safe when it crashed, all of it, or
 * what came after an old copy was made of it. */
#include <string.h>

#include "sim.h"

/* All or nothing: of a transaction that stands no row may be missing. */
static void batches_check(struct store_sim *store, uint64_t keep)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < store->batch_count; i++) {
        const struct sim_batch *batch = &store->batches[i];
        for (uint32_t r = 0; batch->seq <= keep && r < batch->count; r++) {
            struct kith_key key;
            sim_key(batch->rows[r], &key);
            if (!store_sim_holds(store, &key, &batch->dots[r], false)) {
                sim_fail(store->sim, "node %u: half of a batch: row %u has not what row %u has",
                         store->node, batch->rows[r], batch->rows[0]);
            }
        }
        if (batch->seq <= keep) {
            store->batches[count] = *batch;
            count++;
        }
    }
    store->batch_count = count;
}

/* A state of the row goes for good that a kill would have left. */
static void row_lost(struct sim *sim, const struct cell *cell)
{
    struct kith_key key = store_sim_key_of(cell);
    uint32_t row = oracle_row(&key);
    sim->row_losses[row]++;
    for (uint32_t c = 0; c < sim->client_count; c++) {
        sim_bytes_clear(&sim->clients[c].seen[row]);
        sim_bytes_clear(&sim->clients[c].gone[row]);
    }
}

#define ALL_TYPES "rlfchxkm"

/* Of cells of these types. */
static void back_to(struct store_sim *store, uint64_t keep, const char *types)
{
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        while (strchr(types, cell->type) && cell->version_count > 0 &&
               cell->versions[cell->version_count - 1].seq > keep) {
            if ((cell->type == 'r' || cell->type == 'h') &&
                cell->versions[cell->version_count - 1].seq <= store->os_seq) {
                row_lost(store->sim, cell);
            }
            cell->version_count--;
            kith_free(cell->versions[cell->version_count].data);
        }
    }
    batches_check(store, keep);
}

void store_sim_crash(struct store_sim *store, bool power)
{
    uint8_t votes = KITH_META_DECIDE;
    struct cell *cell = store_sim_cell(store, 'm', &votes, 1);
    if (store->sim->mutant == MUTANT_VOTE_TWICE && cell) {
        while (cell->version_count > 0) {
            cell->version_count--;
            kith_free(cell->versions[cell->version_count].data);
        }
    }
    if (store->sim->mutant == MUTANT_KILL_LOSES && !power && store->os_seq > store->disk_seq) {
        store->os_seq--;
    }
    back_to(store, power ? store->disk_seq : store->os_seq, ALL_TYPES);
    store->os_seq = power ? store->disk_seq : store->os_seq;
    store->busy_us = 0;
}

/* A mutant: the rows go, and under which actor they were coordinated is known from elsewhere. */
static void lose_but_actors(struct store_sim *store)
{
    struct kith_rowop_result results[SIM_ROWS];
    struct kith_key keys[SIM_ROWS];
    struct kith_arena arena;
    uint32_t count = 0;
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; i < store->cell_count; i++) {
        const struct cell *cell = store->cells[i];
        if (cell->type != 'r' || !store_sim_there(cell)) {
            continue;
        }
        KITH_ASSERT(count < SIM_ROWS);
        const struct cell_version *last = &cell->versions[cell->version_count - 1];
        keys[count] = store_sim_key_of(cell);
        count += store_mutant_actor(store, &arena, &keys[count],
                                    kith_bytes_make(last->data, last->size), &results[count])
                     ? 1
                     : 0;
    }
    back_to(store, 0, "rlfchxk");
    store->seq++;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t name[SIM_ROW_KEY];
        size_t size = store_sim_row_key(&keys[i], name);
        store_sim_put(store, 'r', name, size, results[i].record);
        store_sim_leaf_update(store, &keys[i], &results[i]);
    }
    store->os_seq = store->disk_seq = store->seq;
    kith_arena_release(&arena);
}

/* As node/store/store_aside.c leaves it. */
static void lost_mark(struct store_sim *store, uint32_t lost)
{
    struct kith_buf buf;
    uint8_t key = KITH_META_LOST;
    kith_buf_init(&buf);
    kith_lost_encode(lost, store_sim_get(store, 'm', &key, 1), &buf);
    store->seq++;
    store_sim_put(store, 'm', &key, 1, kith_buf_bytes(&buf));
    store->os_seq = store->disk_seq = store->seq;
    kith_buf_release(&buf);
}

void store_sim_lose(struct store_sim *store)
{
    back_to(store, 0, ALL_TYPES);
}

void store_sim_set_aside(struct store_sim *store, uint32_t lost)
{
    const char *rows = store->sim->mutant == MUTANT_FLOOR_KEPT ? "rl" : "rlf";
    const char *const types[] = {rows, "cx", "h"};
    if (store->sim->mutant == MUTANT_KEEP_ACTOR && (lost & KITH_LOST_ROWS) != 0) {
        lose_but_actors(store);
    }
    for (uint32_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        bool kept = store->sim->mutant == MUTANT_KEEP_ACTOR && i == 0;
        if ((lost >> i & 1u) != 0 && !kept) {
            back_to(store, 0, types[i]);
        }
    }
    if ((lost & KITH_LOST_RECORDS) != 0) {
        uint8_t votes = KITH_META_DECIDE;
        store->seq++;
        store_sim_put(store, 'm', &votes, 1, kith_bytes_make(NULL, 0));
    }
    if (store->sim->mutant != MUTANT_REFILL_EARLY) {
        lost_mark(store, lost);
    }
}

bool store_sim_empty(const struct store_sim *store)
{
    for (uint32_t i = 0; i < store->cell_count; i++) {
        uint8_t type = store->cells[i]->type;
        if ((type == 'r' || type == 'c' || type == 'h') && store_sim_there(store->cells[i])) {
            return false;
        }
    }
    return true;
}

void store_sim_wipe(struct store_sim *store)
{
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        while (cell->version_count > 0) {
            cell->version_count--;
            kith_free(cell->versions[cell->version_count].data);
        }
    }
    store->batch_count = 0;
    store->os_seq = store->disk_seq = store->seq;
}

void store_sim_old(struct store_sim *store, uint64_t by)
{
    static const uint8_t keys[] = {KITH_META_CLUSTER, KITH_META_TABLE, KITH_META_DECIDE,
                                   KITH_META_LOST}; /* what is lost is not in the copy either */
    uint64_t first = 0;
    for (uint32_t i = 0; i < sizeof keys; i++) {
        const struct cell *cell = store_sim_cell(store, 'm', &keys[i], 1);
        if (cell && cell->version_count > 0) {
            uint64_t seq = cell->versions[cell->version_count - 1].seq;
            first = seq > first ? seq : first;
        }
    }
    KITH_ASSERT(first <= store->disk_seq);
    uint64_t keep = store->disk_seq - first > by ? store->disk_seq - by : first;
    back_to(store, keep, ALL_TYPES);
    store->os_seq = store->disk_seq = keep;
}
