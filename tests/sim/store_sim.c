/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_sim.c - a node's store: cells with versions, and marks of how far they are safe.
 *
 * A write adds versions under the next number (row and leaf under the same: one transaction). A
 * kill drops what is above the mark of the operating system, a power loss what is above that of the
 * disk (store_loss.c). Which operation reads and writes what is in store_ops.c. */
#include <string.h>

#include "sim.h"

/* The first cell that is not before (type, key): where that is, or belongs. */
static uint32_t cell_place(const struct store_sim *store, uint8_t type, const void *key,
                           size_t size)
{
    uint32_t first = 0;
    uint32_t end = store->cell_count;
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        const struct cell *cell = store->cells[middle];
        bool before = cell->type != type
                          ? cell->type < type
                          : kith_bytes_compare(kith_bytes_make(cell->key, cell->key_size),
                                               kith_bytes_make(key, size)) < 0;
        first = before ? middle + 1 : first;
        end = before ? end : middle;
    }
    return first;
}

struct cell *store_sim_cell(const struct store_sim *store, uint8_t type, const void *key,
                              size_t size)
{
    uint32_t at = cell_place(store, type, key, size);
    struct cell *cell = at < store->cell_count ? store->cells[at] : NULL;
    bool is = cell && cell->type == type && cell->key_size == size &&
              memcmp(cell->key, key, size) == 0;
    return is ? cell : NULL;
}

struct kith_bytes store_sim_get(const struct store_sim *store, uint8_t type, const void *key,
                                size_t size)
{
    const struct cell *cell = store_sim_cell(store, type, key, size);
    if (!cell || cell->version_count == 0) {
        return kith_bytes_make(NULL, 0);
    }
    const struct cell_version *last = &cell->versions[cell->version_count - 1];
    return kith_bytes_make(last->data, last->size);
}

static void *grow(void *memory, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return memory;
    }
    *capacity = *capacity ? *capacity * 2 : 16;
    memory = kith_realloc(memory, *capacity * size);
    KITH_ASSERT(memory);
    return memory;
}

void store_sim_put(struct store_sim *store, uint8_t type, const void *key, size_t key_size,
                   struct kith_bytes value)
{
    struct cell *cell = store_sim_cell(store, type, key, key_size);
    if (!cell) {
        store->cells = grow(store->cells, store->cell_count, &store->cell_capacity, sizeof cell);
        cell = kith_calloc(1, sizeof *cell);
        KITH_ASSERT(cell && key_size <= sizeof cell->key);
        cell->type = type;
        memcpy(cell->key, key, key_size);
        cell->key_size = key_size;
        uint32_t at = cell_place(store, type, key, key_size);
        memmove(&store->cells[at + 1], &store->cells[at],
                (store->cell_count - at) * sizeof *store->cells);
        store->cell_count++;
        store->cells[at] = cell;
    }
    cell->versions =
        grow(cell->versions, cell->version_count, &cell->version_capacity, sizeof *cell->versions);
    struct cell_version *version = &cell->versions[cell->version_count];
    cell->version_count++;
    version->seq = store->seq;
    version->size = value.size;
    version->data = kith_malloc(value.size + 1);
    KITH_ASSERT(version->data);
    if (value.size > 0) {
        memcpy(version->data, value.data, value.size);
    }
}

void store_sim_start(struct store_sim *store, uint64_t run)
{
    bool kept = store->sim->mutant == MUTANT_KEEP_TAIL || store->sim->mutant == MUTANT_KEEP_ACTOR;
    if (kept && store->first_run != 0) {
        return;
    }
    store->run = run;
    store->counter = 0;
    store_reap_started(store);
    if (store->sim->mutant == MUTANT_REAP_EARLY) {
        store_mutant_reap(store);
    }
    if (store->sim->mutant == MUTANT_RUN_STORED) {
        store_mutant_take_run(store);
    }
    if (store->first_run == 0) {
        store->first_run = run;
    } else if (store->sim->mutant == MUTANT_KEEP_RUN) {
        store->run = store->first_run;
    }
}

struct kith_key store_sim_key_of(const struct cell *cell)
{
    struct kith_key key;
    memcpy(key.group.bytes, cell->key + 2, 16);
    key.name = kith_bytes_make(cell->key + 18, cell->key_size - 18);
    return key;
}

void store_sim_release(struct store_sim *store)
{
    for (uint32_t i = 0; i < store->cell_count; i++) {
        for (uint32_t k = 0; k < store->cells[i]->version_count; k++) {
            kith_free(store->cells[i]->versions[k].data);
        }
        kith_free(store->cells[i]->versions);
        kith_free(store->cells[i]);
    }
    kith_free(store->cells);
    kith_free(store->batches);
}

bool store_sim_has_data(const struct store_sim *store)
{
    for (uint32_t i = 0; i < store->cell_count; i++) {
        uint8_t type = store->cells[i]->type;
        if ((type == 'r' || type == 'c') && store->cells[i]->version_count > 0) {
            return true;
        }
    }
    return false;
}

size_t store_sim_row_key(const struct kith_key *key, uint8_t out[SIM_ROW_KEY])
{
    uint32_t partition = kith_group_partition(&key->group, SIM_PARTITIONS);
    out[0] = (uint8_t)(partition >> 8);
    out[1] = (uint8_t)partition;
    memcpy(out + 2, key->group.bytes, 16);
    KITH_ASSERT(key->name.size <= 64);
    if (key->name.size > 0) {
        memcpy(out + 18, key->name.data, key->name.size);
    }
    return 18 + key->name.size;
}

struct kith_sum store_sim_leaf_sum(const struct store_sim *store, uint32_t partition,
                                   uint32_t leaf)
{
    uint8_t name[3] = {(uint8_t)(partition >> 8), (uint8_t)partition, (uint8_t)leaf};
    struct kith_sum sum = {0, 0};
    struct kith_bytes bytes = store_sim_get(store, 'l', name, sizeof name);
    if (bytes.size == sizeof sum) {
        memcpy(&sum, bytes.data, sizeof sum);
    }
    return sum;
}

void store_sim_leaf_update(struct store_sim *store, const struct kith_key *key,
                        const struct kith_rowop_result *result)
{
    uint8_t name[3];
    uint32_t partition = kith_group_partition(&key->group, SIM_PARTITIONS);
    name[0] = (uint8_t)(partition >> 8);
    name[1] = (uint8_t)partition;
    name[2] = (uint8_t)kith_tree_leaf(key);
    struct kith_sum sum = store_sim_leaf_sum(store, partition, name[2]);
    kith_sum_replace(&sum, &result->old_hash, &result->new_hash);
    if (store->sim->mutant == MUTANT_TREE && sim_chance(store->sim, 20)) {
        return;
    }
    store_sim_put(store, 'l', name, sizeof name, kith_bytes_make(&sum, sizeof sum));
}

struct kith_bytes store_sim_record(struct store_sim *store, const struct kith_key *key)
{
    uint8_t name[SIM_ROW_KEY];
    size_t size = store_sim_row_key(key, name);
    return store_sim_get(store, 'r', name, size);
}

struct kith_bytes store_sim_record_state(const struct store_sim *store, const struct kith_key *key,
                                      struct kith_bytes record, struct kith_bytes secret)
{
    struct kith_bytes state = kith_bytes_make(NULL, 0);
    struct kith_checksum hash;
    if (record.size > 0 && kith_rowop_state(key, record, secret, &state, &hash) != KITH_OK) {
        sim_fail(store->sim, "node %u: a record does not fit its hash", store->node);
    }
    return state;
}

struct kith_bytes store_sim_state(struct store_sim *store, const struct kith_key *key,
                                  struct kith_bytes secret)
{
    return store_sim_record_state(store, key, store_sim_record(store, key), secret);
}

/* The newest version that is safe; NULL: there is none. */
static const struct cell_version *cell_safe(const struct store_sim *store, const struct cell *cell,
                                            bool disk)
{
    uint64_t mark = disk ? store->disk_seq : store->os_seq;
    for (uint32_t i = cell ? cell->version_count : 0; i > 0; i--) {
        if (cell->versions[i - 1].seq <= mark) {
            return &cell->versions[i - 1];
        }
    }
    return NULL;
}

static bool record_covers(const struct store_sim *store, const struct kith_key *key,
                          struct kith_bytes record, const struct kith_dot *dot)
{
    struct kith_bytes state;
    struct kith_checksum hash;
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    bool covers = record.size > 0 &&
                  kith_rowop_state(key, record, store->sim->secret, &state, &hash) == KITH_OK &&
                  kith_row_decode(&arena, state, &row) == KITH_OK &&
                  kith_clock_covers(&row.clock, dot);
    kith_arena_release(&arena);
    return covers;
}

bool store_sim_holds(struct store_sim *store, const struct kith_key *key,
                     const struct kith_dot *dot, bool disk)
{
    uint8_t name[SIM_ROW_KEY];
    size_t size = store_sim_row_key(key, name);
    struct kith_arena arena;
    struct kith_clock reaped, none = {0, NULL};
    kith_arena_init(&arena, 0);
    oracle_whole_clock(store->sim, &arena, oracle_row(key), &none, &reaped);
    bool gone = kith_clock_covers(&reaped, dot);
    kith_arena_release(&arena);
    if (gone) {
        return true; /* all owners had it, and forgot the row */
    }
    const struct cell_version *version = cell_safe(store, store_sim_cell(store, 'r', name, size), disk);
    if (version &&
        record_covers(store, key, kith_bytes_make(version->data, version->size), dot)) {
        return true;
    }
    struct kith_hint hint;
    version = cell_safe(store, store_sim_cell(store, 'h', name, size), disk);
    return version &&
           kith_hint_decode(kith_bytes_make(version->data, version->size), &hint) == KITH_OK &&
           record_covers(store, key, hint.record, dot);
}

bool store_sim_holds_chunk(const struct store_sim *store, const struct kith_chunk_id *id, bool disk)
{
    const struct cell_version *version =
        cell_safe(store, store_sim_cell(store, 'c', id->bytes, sizeof id->bytes), disk);
    return version && version->size > 0;
}

void store_sim_batch(struct store_sim *store, const struct kith_group *group, uint32_t count,
                       const struct kith_bytes *names, const struct kith_dot *dots)
{
    if (count < 2 || count > SIM_NAMES) {
        return;
    }
    store->batches =
        grow(store->batches, store->batch_count, &store->batch_capacity, sizeof *store->batches);
    struct sim_batch *batch = &store->batches[store->batch_count];
    store->batch_count++;
    batch->seq = store->seq;
    batch->count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct kith_key key = {*group, names[i]};
        batch->rows[i] = oracle_row(&key);
        batch->dots[i] = dots[i];
    }
}

void store_sim_verify(struct store_sim *store, struct kith_bytes secret)
{
    static struct kith_sum sums[SIM_PARTITIONS][KITH_TREE_LEAVES];
    memset(sums, 0, sizeof sums);
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        if (cell->type == 'r' && store_sim_there(cell)) {
            struct kith_key key = store_sim_key_of(cell);
            struct kith_bytes state = store_sim_state(store, &key, secret);
            struct kith_checksum none;
            memset(&none, 0, sizeof none);
            struct kith_checksum hash = kith_row_hash(&key, state, secret);
            kith_sum_replace(&sums[cell->key[1]][kith_tree_leaf(&key)], &none, &hash);
        }
    }
    for (uint32_t p = 0; p < SIM_PARTITIONS; p++) {
        for (uint32_t l = 0; l < KITH_TREE_LEAVES; l++) {
            struct kith_sum sum = store_sim_leaf_sum(store, p, l);
            if (!kith_sum_equal(&sum, &sums[p][l])) {
                sim_fail(store->sim,
                         "invariant 5: node %u, partition %u, leaf %u: a sum that does "
                         "not fit the rows",
                         store->node, p, l);
            }
        }
    }
}
