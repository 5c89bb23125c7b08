/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * oracle.c - knows every write, what became of it and what its writer had read; and judges the end.
 */
#include <string.h>

#include "sim.h"

static void *grow(void *memory, uint32_t count, uint32_t *capacity, size_t size)
{
    if (count < *capacity) {
        return memory;
    }
    *capacity = *capacity ? *capacity * 2 : 64;
    memory = kith_realloc(memory, *capacity * size);
    KITH_ASSERT(memory);
    return memory;
}

static const char *const sim_names[SIM_NAMES] = {"", "a", "b", "c"};

void sim_key(uint32_t row, struct kith_key *ret_key)
{
    uint8_t own[12] = {(uint8_t)(row / SIM_NAMES), 7};
    ret_key->group = kith_group_make(KITH_VOLUME_FS, own);
    ret_key->name = kith_bytes_make(sim_names[row % SIM_NAMES], strlen(sim_names[row % SIM_NAMES]));
}

uint32_t oracle_row(const struct kith_key *key)
{
    for (uint32_t row = 0; row < SIM_GROUPS * SIM_NAMES; row++) {
        struct kith_key each;
        sim_key(row, &each);
        if (kith_group_compare(&each.group, &key->group) == 0 &&
            kith_bytes_equal(each.name, key->name)) {
            return row;
        }
    }
    return UINT32_MAX;
}

struct oracle_write *oracle_begin(struct sim *sim, uint32_t row, uint64_t number, bool is_delete,
                                  struct kith_bytes context)
{
    struct oracle *oracle = &sim->oracle;
    oracle->writes = grow(oracle->writes, oracle->count, &oracle->capacity, sizeof *oracle->writes);
    struct oracle_write *write = &oracle->writes[oracle->count];
    oracle->count++;
    memset(write, 0, sizeof *write);
    write->row = row;
    write->number = number;
    write->losses = sim->row_losses[row];
    write->is_delete = is_delete;
    write->context = kith_malloc(context.size + 1);
    KITH_ASSERT(write->context);
    memcpy(write->context, context.data ? context.data : (const uint8_t *)"", context.size);
    write->context_size = context.size;
    return write;
}

void oracle_dot(struct sim *sim, const struct kith_key *key, const struct kith_dot *dot,
                const struct kith_request_id *request)
{
    struct oracle *oracle = &sim->oracle;
    uint32_t row = oracle_row(key);
    for (uint32_t i = 0; i < oracle->dot_count; i++) {
        if (oracle->dots[i].row == row && kith_dot_equal(&oracle->dots[i].dot, dot)) {
            if (memcmp(&oracle->dots[i].request, request, sizeof *request) != 0) {
                sim_fail(sim, "invariant 3: row %u: two writes bear one dot", row);
            }
            return;
        }
    }
    oracle->dots =
        grow(oracle->dots, oracle->dot_count, &oracle->dot_capacity, sizeof *oracle->dots);
    oracle->dots[oracle->dot_count].row = row;
    oracle->dots[oracle->dot_count].dot = *dot;
    oracle->dots[oracle->dot_count].request = *request;
    oracle->dot_count++;
}

void oracle_state(struct sim *sim, const struct kith_key *key, struct kith_bytes state)
{
    struct oracle *oracle = &sim->oracle;
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    if (kith_row_decode(&arena, state, &row) != KITH_OK) {
        sim_fail(sim, "a store holds a state that does not decode");
        kith_arena_release(&arena);
        return;
    }
    row.sibling_count = 0;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_checksum clock = kith_checksum_of(kith_buf_bytes(&buf));
    struct kith_checksum hash = kith_checksum_of(state);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    uint32_t number = oracle_row(key);
    for (uint32_t i = 0; i < oracle->clock_count; i++) {
        if (oracle->clocks[i].row == number &&
            kith_checksum_equal(&oracle->clocks[i].clock, &clock)) {
            if (!kith_checksum_equal(&oracle->clocks[i].state, &hash)) {
                sim_fail(sim, "invariant 2: row %u: equal clocks, different states", number);
            }
            return;
        }
    }
    oracle->clocks =
        grow(oracle->clocks, oracle->clock_count, &oracle->clock_capacity, sizeof *oracle->clocks);
    oracle->clocks[oracle->clock_count].row = number;
    oracle->clocks[oracle->clock_count].clock = clock;
    oracle->clocks[oracle->clock_count].state = hash;
    oracle->clock_count++;
}

uint32_t oracle_batch(struct sim *sim, const struct kith_request_id *request, uint32_t rows)
{
    struct oracle *oracle = &sim->oracle;
    for (uint32_t i = 0; i < oracle->request_count; i++) {
        if (memcmp(&oracle->requests[i].request, request, sizeof *request) == 0) {
            return oracle->requests[i].rows;
        }
    }
    if (rows > 1) {
        oracle->requests = grow(oracle->requests, oracle->request_count, &oracle->request_capacity,
                                sizeof *oracle->requests);
        oracle->requests[oracle->request_count].request = *request;
        oracle->requests[oracle->request_count].rows = rows;
        oracle->request_count++;
    }
    return rows;
}

static bool drops(struct kith_arena *arena, const struct oracle_write *write, uint32_t row,
                  const struct kith_dot *dot)
{
    struct kith_row context;
    return write->row == row && write->context_size > 0 &&
           kith_row_decode(arena, kith_bytes_make(write->context, write->context_size),
                           &context) == KITH_OK &&
           kith_clock_covers(&context.clock, dot) && !kith_row_find(&context, dot);
}

bool oracle_replaced(struct sim *sim, uint32_t row, const struct kith_dot *dot,
                     const struct kith_clock *seen)
{
    struct kith_arena arena;
    bool is = false;
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; i < sim->oracle.count && !is; i++) {
        const struct oracle_write *write = &sim->oracle.writes[i];
        is = write->state == WRITE_OK && kith_clock_covers(seen, &write->dot) &&
             drops(&arena, write, row, dot);
    }
    kith_arena_release(&arena);
    return is;
}

static bool dot_superseded(struct sim *sim, struct kith_arena *arena, uint32_t row,
                           const struct kith_dot *dot)
{
    for (uint32_t i = 0; i < sim->oracle.count; i++) {
        const struct oracle_write *write = &sim->oracle.writes[i];
        if (drops(arena, write, row, dot)) {
            if (write->state != WRITE_REFUSED) {
                return true;
            }
            sim_trace(sim, "write %llu would have dropped it, but was refused",
                      (unsigned long long)write->number);
        }
    }
    return false;
}

/* Siblings of one request are one write: who drops one of them drops it. */
static bool superseded(struct sim *sim, struct kith_arena *arena, uint32_t row,
                       const struct kith_dot *dot)
{
    const struct oracle *oracle = &sim->oracle;
    const struct kith_request_id *request = NULL;
    static const struct kith_request_id none;
    for (uint32_t i = 0; i < oracle->dot_count && !request; i++) {
        if (oracle->dots[i].row == row && kith_dot_equal(&oracle->dots[i].dot, dot)) {
            request = &oracle->dots[i].request;
        }
    }
    bool is = dot_superseded(sim, arena, row, dot);
    for (uint32_t i = 0; i < oracle->dot_count && !is; i++) {
        is = request && oracle->dots[i].row == row &&
             memcmp(request, &none, sizeof none) != 0 &&
             memcmp(request, &oracle->dots[i].request, sizeof none) == 0 &&
             dot_superseded(sim, arena, row, &oracle->dots[i].dot);
    }
    return is;
}

bool oracle_superseded(struct sim *sim, uint32_t row, const struct kith_dot *dot)
{
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    bool is = superseded(sim, &arena, row, dot);
    kith_arena_release(&arena);
    return is;
}

void oracle_shaken(struct oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        oracle->writes[i].shaken = !oracle->writes[i].disk;
    }
    for (uint32_t i = 0; i < oracle->chunk_count; i++) {
        struct oracle_chunk *chunk = &oracle->chunks[i];
        chunk->shaken = !chunk->disk;
        chunk->state = chunk->shaken && chunk->state == WRITE_OK ? WRITE_UNKNOWN : chunk->state;
    }
}

void oracle_whole_clock(struct sim *sim, struct kith_arena *arena, uint32_t row,
                        const struct kith_clock *clock, struct kith_clock *ret_clock)
{
    const struct sim_bytes *reaped = &sim->oracle.reaped[row];
    struct kith_row gone;
    enum kith_err err =
        kith_row_decode(arena, kith_bytes_make(reaped->data, reaped->size), &gone);
    if (err == KITH_OK) {
        err = kith_clock_join(arena, &gone.clock, clock, ret_clock);
    }
    KITH_ASSERT(err == KITH_OK);
}

void oracle_reaped(struct sim *sim, const struct kith_key *key, const struct kith_row *row)
{
    uint32_t number = oracle_row(key);
    struct kith_arena arena;
    struct kith_row gone = {.sibling_count = 0};
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    oracle_whole_clock(sim, &arena, number, &row->clock, &gone.clock);
    kith_row_encode(&gone, &buf);
    KITH_ASSERT(!buf.failed);
    sim_bytes_set(&sim->oracle.reaped[number], kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    sim->reaped++;
}

bool oracle_holds(const struct kith_row *row, uint64_t number)
{
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (row->siblings[i].value.size == sizeof number &&
            memcmp(row->siblings[i].value.data, &number, sizeof number) == 0) {
            return true;
        }
    }
    return false;
}

/* `clock`: with what was reaped. */
static void check_write(struct sim *sim, struct kith_arena *arena, const struct oracle_write *write,
                        const struct kith_row *row, const struct kith_clock *clock)
{
    bool there = !write->is_delete && oracle_holds(row, write->number);
    if (write->state == WRITE_REFUSED && there && !write->shared) {
        sim_fail(sim, "row %u: write %llu was refused and is there", write->row,
                 (unsigned long long)write->number);
    }
    if (write->state != WRITE_OK || write->shaken) {
        return;
    }
    if (!kith_clock_covers(clock, &write->dot)) {
        sim_fail(sim, "invariant 1: row %u: acknowledged write %llu is lost", write->row,
                 (unsigned long long)write->number);
    } else if (!write->is_delete && !there && !superseded(sim, arena, write->row, &write->dot)) {
        sim_fail(sim,
                 "invariant 1: row %u: acknowledged write %llu (dot %016llx.%llu.%llu, clock %llu) "
                 "was dropped by nobody",
                 write->row, (unsigned long long)write->number,
                 (unsigned long long)write->dot.actor.run,
                 (unsigned long long)write->dot.actor.epoch, (unsigned long long)write->dot.counter,
                 (unsigned long long)kith_clock_get(&row->clock, &write->dot.actor));
    }
}

void oracle_check(struct sim *sim)
{
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    for (uint32_t r = 0; r < SIM_GROUPS * SIM_NAMES; r++) {
        struct kith_key key;
        struct kith_row row, merged;
        memset(&merged, 0, sizeof merged);
        sim_key(r, &key);
        for (uint32_t n = 0; n < sim->node_count; n++) {
            struct kith_bytes state = store_sim_state(&sim->nodes[n].store, &key, sim->secret);
            struct kith_row both;
            if (!plans_counts(sim, n)) {
                continue;
            }
            if (kith_row_decode(&arena, state, &row) != KITH_OK ||
                kith_row_merge(&arena, &merged, &row, &both) != KITH_OK) {
                sim_fail(sim, "row %u: node %u holds what does not merge", r, n);
                continue;
            }
            merged = both;
        }
        struct kith_clock clock;
        oracle_whole_clock(sim, &arena, r, &merged.clock, &clock);
        for (uint32_t i = 0; i < sim->oracle.count; i++) {
            if (sim->oracle.writes[i].row == r) {
                check_write(sim, &arena, &sim->oracle.writes[i], &merged, &clock);
            }
        }
        merged.clock = clock;
        judge_siblings(sim, r, &merged);
    }
    kith_arena_release(&arena);
    judge_copies(sim);
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        const struct oracle_chunk *chunk = &sim->oracle.chunks[c];
        bool judged = chunk->state == WRITE_OK && !sim->sweeps; /* else: sweeps.c */
        if (judged && judge_chunk_copies(sim, &chunk->id, false, false) == 0) {
            sim_fail(sim, "invariant 1: acknowledged chunk %llu is lost",
                     (unsigned long long)chunk->number);
        }
    }
    for (uint32_t n = 0; n < sim->node_count; n++) {
        store_sim_verify(&sim->nodes[n].store, sim->secret);
    }
}

void oracle_release(struct oracle *oracle)
{
    for (uint32_t i = 0; i < oracle->count; i++) {
        kith_free(oracle->writes[i].context);
    }
    kith_free(oracle->writes);
    kith_free(oracle->dots);
    kith_free(oracle->requests);
    kith_free(oracle->clocks);
    for (uint32_t i = 0; i < SIM_ROWS; i++) {
        sim_bytes_clear(&oracle->reaped[i]);
    }
}
