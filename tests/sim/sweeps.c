/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sweeps.c - clusters in which chunks are referred to, forgotten and swept (DESIGN section 6), and what
 * must hold then (invariant 10): what a row refers to, at once or through a list, is held by some node
 * at any time; once everything is well and time has passed, nothing else is left.
 *
 * The grace is a minute instead of a day, and more time passes between requests. Rows refer to chunks
 * that are new, and to any that ever were: whoever has slept for days knows nothing better. Ids are
 * made by clients, whose clocks may be wrong. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define WORK_US    (7 * UINT64_C(1000) * SWEEPS_GRACE_MS)
#define HOT_US     10000u
#define CALM_US    (UINT64_C(500) * SWEEPS_GRACE_MS)
#define REST_US    (2 * UINT64_C(1000) * SWEEPS_GRACE_MS)
#define STEP_US    400000u
#define FAULT_US   6000000u
/* Owners compare their chunks within the hour; who leads learns so of one that came back with a disk. */
#define SETTLE_US  (3 * UINT64_C(3600000000) + 20 * UINT64_C(1000) * SWEEPS_GRACE_MS)

static struct kith_chunk_id new_id(struct sim *sim)
{
    uint8_t random[10];
    uint64_t wall_ms = world_true_ms(sim);
    uint32_t how = sim_below(sim, 100);
    uint32_t by = sim_below(sim, 3 * SWEEPS_GRACE_MS);
    for (uint32_t i = 0; i < sizeof random; i++) {
        random[i] = (uint8_t)sim_below(sim, 256);
    }
    wall_ms = how < 15 ? wall_ms - by : how < 30 ? wall_ms + by / 3 : wall_ms;
    return kith_chunk_id_make(KITH_VOLUME_FS, wall_ms, random);
}

/* Mostly one that has just been acknowledged. UINT32_MAX: there is none. */
static uint32_t any_chunk(struct sim *sim, bool list)
{
    const struct oracle *oracle = &sim->oracle;
    bool late = sim_chance(sim, 600);
    uint32_t last = late && oracle->chunk_count > 6 ? 6 : oracle->chunk_count;
    if (last == 0) {
        return UINT32_MAX;
    }
    uint32_t index = oracle->chunk_count - 1 - sim_below(sim, last);
    const struct oracle_chunk *chunk = &oracle->chunks[index];
    return chunk->state == WRITE_OK && (list || chunk->ref_count == 0) ? index : UINT32_MAX;
}

static uint32_t choose(struct sim *sim, bool list, struct kith_chunk_id *ret_ids,
                       uint32_t *ret_chunks)
{
    uint32_t wanted = sim_below(sim, SWEEPS_REFS_MAX);
    uint32_t count = 0;
    if (list && sim->hot > 0) {
        ret_chunks[count] = sim->hot - 1;
        ret_ids[count++] = sim->oracle.chunks[sim->hot - 1].id;
    }
    for (uint32_t i = 0; i < wanted; i++) {
        uint32_t chunk = any_chunk(sim, list);
        bool known = chunk == UINT32_MAX;
        for (uint32_t k = 0; k < count && !known; k++) {
            known = ret_chunks[k] == chunk;
        }
        if (!known) {
            ret_chunks[count] = chunk;
            ret_ids[count] = sim->oracle.chunks[chunk].id;
            count++;
        }
    }
    return count;
}

void sweeps_row(struct sim *sim, struct kith_put_update *update,
                struct kith_chunk_id refs[SWEEPS_REFS_MAX])
{
    uint32_t chunks[SWEEPS_REFS_MAX];
    if (sim->sweeps && sim->faults && update->has_sibling) { /* without faults it has to succeed */
        update->ref_count = choose(sim, true, refs, chunks);
        update->refs = refs;
    }
}

void sweeps_chunk(struct sim *sim, struct oracle_chunk *chunk,
                  struct kith_chunk_id refs[SWEEPS_REFS_MAX], struct kith_client_op *op)
{
    if (sim->sweeps) {
        chunk->ref_count = sim_chance(sim, 250) ? choose(sim, false, refs, chunk->refs) : 0;
        chunk->id = new_id(sim);
        op->u.chunk_put.ref_count = chunk->ref_count;
        op->u.chunk_put.refs = refs;
    }
}

/* Each row has times in which hardly anybody writes it, and is mostly deleted before them. */
static bool rests(const struct sim *sim, uint32_t row, uint64_t at_us)
{
    uint64_t x = (sim->seed * 31 + row) * 1009 + (at_us + row * (REST_US / SIM_ROWS)) / REST_US;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    return (x >> 40) % 5 < 3;
}

bool sweeps_rests(struct sim *sim, uint32_t row)
{
    return sim->sweeps && sim->faults && rests(sim, row, sim->now_us) && !sim_chance(sim, 20);
}

bool sweeps_deletes(struct sim *sim, uint32_t row)
{
    return sim->sweeps && sim->faults && rests(sim, row, sim->now_us + REST_US / 6) &&
           sim_chance(sim, 800);
}

uint32_t sweeps_what(struct sim *sim)
{
    uint32_t what = sim_below(sim, 100);
    return what < 45 ? 0 : what < 58 ? 52 : what < 62 ? 76 : what < 90 ? 86 : what;
}

static void hot_put(struct sim *sim, struct sim_event *event)
{
    uint32_t client = sim_below(sim, sim->client_count - 1);
    uint32_t row = sim_below(sim, SIM_ROWS);
    if (!sim->faults || sim->failed || scenario_full() || sim->clients[client].under_way >= 8 ||
        sim->frozen_until_us[SIM_NODES_MAX + client] > sim->now_us) {
        return;
    }
    sim->hot = event->link + 1;
    (void)scenario_put(sim, client, row);
    sim->hot = 0;
}

void sweeps_hot(struct sim *sim, const struct kith_chunk_id *id)
{
    if (!sim->faults || !sim_chance(sim, 60)) {
        return;
    }
    uint32_t after_us = sim_below(sim, HOT_US);
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        if (memcmp(&sim->oracle.chunks[c].id, id, sizeof *id) == 0) {
            sim_at(sim, sim->now_us + after_us, hot_put)->link = c;
        }
    }
}

/* ---- What is referred to ---- */

static void want(struct sim *sim, const struct kith_chunk_id *id, uint32_t row)
{
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        struct oracle_chunk *chunk = &sim->oracle.chunks[c];
        if (memcmp(&chunk->id, id, sizeof *id) == 0) {
            chunk->wanted = true;
            chunk->wanted_by = row;
            for (uint32_t i = 0; i < chunk->ref_count; i++) {
                sim->oracle.chunks[chunk->refs[i]].wanted = true;
                sim->oracle.chunks[chunk->refs[i]].wanted_by = row;
            }
            return;
        }
    }
}

static void merge_in(struct sim *sim, struct kith_arena *arena, struct kith_row *merged,
                     struct kith_bytes state)
{
    struct kith_row row, both;
    if (kith_row_decode(arena, state, &row) != KITH_OK ||
        kith_row_merge(arena, merged, &row, &both) != KITH_OK) {
        sim_fail(sim, "a state does not merge");
        return;
    }
    *merged = both;
}

/* All that any store knows of the row, as rows and for others. */
static void row_whole(struct sim *sim, struct kith_arena *arena, const struct kith_key *key,
                      struct kith_row *merged)
{
    memset(merged, 0, sizeof *merged);
    for (uint32_t n = 0; n < sim->node_count; n++) {
        struct store_sim *store = &sim->nodes[n].store;
        struct kith_bytes record = store_hints_record(store, key);
        struct kith_bytes state = {NULL, 0};
        struct kith_checksum hash;
        merge_in(sim, arena, merged, store_sim_state(store, key, sim->secret));
        if (record.size > 0 &&
            kith_rowop_state(key, record, sim->secret, &state, &hash) == KITH_OK) {
            merge_in(sim, arena, merged, state);
        }
    }
}

static void want_all(struct sim *sim)
{
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        sim->oracle.chunks[c].wanted = false;
    }
    for (uint32_t r = 0; r < SIM_ROWS && sim->secret.size > 0; r++) {
        struct kith_key key;
        struct kith_row row;
        sim_key(r, &key);
        row_whole(sim, &arena, &key, &row);
        for (uint32_t s = 0; s < row.sibling_count; s++) {
            for (uint32_t i = 0; i < row.siblings[s].ref_count; i++) {
                want(sim, &row.siblings[s].refs[i], r);
            }
        }
    }
    kith_arena_release(&arena);
}

static uint32_t holders(const struct sim *sim, const struct oracle_chunk *chunk)
{
    uint32_t count = 0;
    for (uint32_t n = 0; n < sim->node_count; n++) {
        const struct kith_chunk_id *id = &chunk->id;
        count += store_sim_get(&sim->nodes[n].store, 'c', id->bytes, sizeof id->bytes).size > 0;
    }
    return count;
}

bool sweeps_wanted(struct sim *sim, uint32_t chunk)
{
    want_all(sim);
    return sim->oracle.chunks[chunk].wanted;
}

void sweeps_check(struct sim *sim)
{
    want_all(sim);
    for (uint32_t c = 0; c < sim->oracle.chunk_count && !sim->failed; c++) {
        const struct oracle_chunk *chunk = &sim->oracle.chunks[c];
        if (chunk->wanted && chunk->state == WRITE_OK && holders(sim, chunk) == 0) {
            sim_fail(sim, "invariant 10: row %u refers to chunk %llu (%02x%02x), which nobody holds",
                     chunk->wanted_by, (unsigned long long)chunk->number, chunk->id.bytes[10],
                     chunk->id.bytes[11]);
        }
    }
}

/* ---- A seed ---- */

void sweeps_work(struct sim *sim)
{
    uint64_t end = sim->now_us + WORK_US;
    uint64_t next_fault = sim->now_us;
    uint64_t next_check = sim->now_us;
    uint64_t late = sim->now_us + sim_random(sim) % (WORK_US / 2);
    sim->working = sim->faults = true;
    while (!sim->failed && sim->now_us < end && !scenario_full()) {
        uint32_t step = 1000 + sim_below(sim, STEP_US);
        world_run(sim, sim->now_us + step);
        if (sim->late < sim->node_count && sim->now_us >= late && !sim->failed &&
            sim->nodes[sim->late].start == 0) {
            world_start(sim, sim->late); /* data moves to it */
        }
        if (sim->now_us >= next_fault && !sim->failed) {
            if (sim->now_us / CALM_US % 3 != 0) { /* else all members may be up, for once */
                faults_step(sim);
            }
            uint32_t pause = sim_below(sim, FAULT_US);
            next_fault = sim->now_us + pause;
        }
        if (sim->now_us >= next_check && !sim->failed) {
            sweeps_check(sim);
            next_check = sim->now_us + 5000000;
        }
        if (!sim->failed) {
            scenario_step(sim);
        }
    }
}

/* Whether something is left to be swept; which one. */
static const struct oracle_chunk *left(struct sim *sim)
{
    want_all(sim);
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        const struct oracle_chunk *chunk = &sim->oracle.chunks[c];
        if (!chunk->wanted && holders(sim, chunk) > 0) {
            return chunk;
        }
    }
    return NULL;
}

/* Whether every run in the clock is known to some node as its own. */
static bool runs_known(const struct sim *sim, const struct kith_clock *clock)
{
    static const uint8_t key = KITH_META_RUNS;
    bool all = true;
    for (uint32_t i = 0; i < clock->count && all; i++) {
        all = false;
        for (uint32_t n = 0; n < sim->node_count && !all; n++) {
            struct kith_reader reader;
            kith_reader_init(&reader, store_sim_get(&sim->nodes[n].store, 'm', &key, 1));
            while (!all && kith_reader_left(&reader) >= 8) {
                all = kith_read_u64(&reader) == clock->entries[i].actor.run;
            }
        }
    }
    return all;
}

/* A row that is gone, and could be reaped: SIM_ROWS: there is none. */
static uint32_t gone_left(struct sim *sim)
{
    struct kith_arena arena;
    uint32_t found = SIM_ROWS;
    kith_arena_init(&arena, 0);
    for (uint32_t r = 0; r < SIM_ROWS && found == SIM_ROWS; r++) {
        struct kith_key key;
        struct kith_row row;
        sim_key(r, &key);
        row_whole(sim, &arena, &key, &row);
        if (kith_row_is_gone(&row) && runs_known(sim, &row.clock)) {
            found = r;
        }
    }
    kith_arena_release(&arena);
    return found;
}

void sweeps_settle(struct sim *sim)
{
    uint64_t end = sim->now_us + SETTLE_US;
    const struct oracle_chunk *chunk = left(sim);
    uint32_t gone = gone_left(sim);
    while (!sim->failed && (chunk || gone < SIM_ROWS) && sim->now_us < end) {
        world_run(sim, sim->now_us + 30000000);
        sweeps_check(sim);
        chunk = left(sim);
        gone = gone_left(sim);
    }
    if (!sim->failed && gone < SIM_ROWS) {
        sim_fail(sim, "row %u is deleted, by nodes that all are members, and is not forgotten", gone);
    }
    if (!sim->failed && chunk) {
        sim_fail(sim, "invariant 10: nothing refers to chunk %llu (%02x%02x), and %u nodes hold it",
                 (unsigned long long)chunk->number, chunk->id.bytes[10], chunk->id.bytes[11],
                 holders(sim, chunk));
    }
}

/* ---- An old disk ---- */

#define OLD_READS    12u
#define OLD_READS_US 250000u

bool sweeps_old_disk(struct sim *sim)
{
    struct sim_node *node = &sim->nodes[sim_below(sim, sim->node_count)];
    uint32_t by_log = 6 + sim_below(sim, 12);
    uint64_t by = sim_random(sim) % (UINT64_C(1) << by_log);
    if (!node->up || sim->newest->owner_slots < 2 || store_sim_empty(&node->store)) {
        return false;
    }
    world_crash(sim, node->index, true);
    sim->disk_losses++;
    store_sim_old(&node->store, by);
    sim_trace(sim, "long after, the disk of %u is as it was %llu transactions ago", node->index,
              (unsigned long long)by);
    world_start(sim, node->index);
    for (uint32_t i = 0; i < OLD_READS && !sim->failed; i++) {
        scenario_read_all(sim, KITH_LEVEL_QUORUM, false);
        world_run(sim, sim->now_us + OLD_READS_US);
    }
    world_run(sim, sim->now_us + 8000000);
    scenario_all_ended(sim);
    return !sim->failed;
}
