/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * store_mutants.c - deliberate faults of a store that rowop.h, which all stores share, does not
 * have: records are taken apart and put together again here. */
#include <string.h>

#include "sim.h"

/* The header (up to the checksum) of a record, with another state. */
static struct kith_bytes record_make(struct kith_arena *arena, const struct kith_key *key,
                                     struct kith_bytes header, const struct kith_row *row,
                                     struct kith_bytes secret, struct kith_checksum *ret_hash,
                                     struct kith_bytes *ret_state)
{
    size_t state_size = kith_row_encoded_size(row);
    size_t size = header.size + KITH_CHECKSUM_SIZE + state_size;
    uint8_t *bytes = kith_arena_alloc(arena, size);
    KITH_ASSERT(bytes);
    uint8_t *state = bytes + header.size + KITH_CHECKSUM_SIZE;
    memcpy(bytes, header.data, header.size);
    (void)kith_row_write(row, state);
    *ret_state = kith_bytes_make(state, state_size);
    *ret_hash = kith_row_hash(key, *ret_state, secret);
    memcpy(bytes + header.size, ret_hash->bytes, KITH_CHECKSUM_SIZE);
    return kith_bytes_make(bytes, size);
}

static bool is_double(const struct kith_row *row, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (kith_bytes_equal(row->siblings[i].value, row->siblings[at].value)) {
            return true;
        }
    }
    return false;
}

void store_mutant_collapse(struct store_sim *store, struct kith_arena *arena,
                           const struct kith_key *key, struct kith_rowop_result *result)
{
    struct kith_row row = result->new_row;
    struct kith_sibling *rest = kith_arena_calloc(arena, row.sibling_count + 1, sizeof *rest);
    uint32_t count = 0;
    KITH_ASSERT(rest);
    for (uint32_t i = 0; i < row.sibling_count; i++) {
        if (!is_double(&row, i)) {
            rest[count] = row.siblings[i];
            count++;
        }
    }
    if (!result->changed || count == row.sibling_count) {
        return;
    }
    row.siblings = rest;
    row.sibling_count = count;
    struct kith_bytes header = kith_bytes_make(
        result->record.data, result->record.size - result->state.size - KITH_CHECKSUM_SIZE);
    result->record = record_make(arena, key, header, &row, store->sim->secret, &result->new_hash,
                                 &result->state);
    result->new_row = row;
}

struct kith_bytes store_mutant_context(struct store_sim *store, struct kith_arena *arena,
                                       const struct kith_key *key, struct kith_bytes context)
{
    struct kith_row read, here;
    struct kith_bytes state = store_sim_state(store, key, store->sim->secret);
    if (context.size == 0 || kith_row_decode(arena, context, &read) != KITH_OK ||
        kith_row_decode(arena, state, &here) != KITH_OK) {
        return context;
    }
    struct kith_sibling *kept = kith_arena_calloc(arena, read.sibling_count + 1, sizeof *kept);
    uint32_t count = 0;
    KITH_ASSERT(kept);
    for (uint32_t i = 0; i < read.sibling_count; i++) {
        if (kith_row_find(&here, &read.siblings[i].dot)) {
            kept[count] = read.siblings[i];
            count++;
        }
    }
    read.siblings = kept;
    read.sibling_count = count;
    size_t size = kith_row_encoded_size(&read);
    uint8_t *bytes = kith_arena_alloc(arena, size);
    KITH_ASSERT(bytes);
    (void)kith_row_write(&read, bytes);
    return kith_bytes_make(bytes, size);
}

bool store_mutant_actor(struct store_sim *store, struct kith_arena *arena,
                        const struct kith_key *key, struct kith_bytes record,
                        struct kith_rowop_result *result)
{
    struct kith_row row;
    struct kith_actor note;
    struct kith_reader reader;
    kith_reader_init(&reader, record);
    (void)kith_read_u8(&reader);
    uint8_t flags = kith_read_u8(&reader);
    note.run = kith_read_u64(&reader);
    note.epoch = kith_read_varint(&reader);
    struct kith_bytes state;
    struct kith_checksum hash;
    if (flags == 0 || kith_rowop_state(key, record, store->sim->secret, &state, &hash) != KITH_OK ||
        kith_row_decode(arena, state, &row) != KITH_OK) {
        return false;
    }
    struct kith_clock_entry entry = {note, kith_clock_get(&row.clock, &note)};
    if (entry.counter == 0) {
        return false;
    }
    struct kith_row left = {.clock = {.count = 1, .entries = &entry}};
    struct kith_buf header;
    kith_buf_init(&header);
    kith_buf_put_u8(&header, KITH_RECORD_FORMAT);
    kith_buf_put_u8(&header, flags);
    kith_buf_put_u64(&header, note.run);
    kith_buf_put_varint(&header, note.epoch);
    kith_buf_put_varint(&header, 0);
    memset(result, 0, sizeof *result);
    result->changed = true;
    result->record = record_make(arena, key, kith_buf_bytes(&header), &left, store->sim->secret,
                                 &result->new_hash, &result->state);
    kith_buf_release(&header);
    return true;
}

void store_mutant_keep_run(struct store_sim *store)
{
    uint64_t kept[2] = {store->run, store->counter};
    store_sim_put(store, 'x', "run", 3, kith_bytes_make(kept, sizeof kept));
}

void store_mutant_take_run(struct store_sim *store)
{
    uint64_t kept[2];
    struct kith_bytes bytes = store_sim_get(store, 'x', "run", 3);
    if (bytes.size == sizeof kept) {
        memcpy(kept, bytes.data, sizeof kept);
        store->run = kept[0];
        store->counter = kept[1];
    }
}

/* The header with another counter in the request that made `dot`. */
static struct kith_bytes header_renamed(struct kith_arena *arena, struct kith_bytes header,
                                        const struct kith_dot *dot, uint64_t counter)
{
    struct kith_reader reader;
    struct kith_buf buf;
    kith_reader_init(&reader, header);
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, kith_read_u8(&reader));
    kith_buf_put_u8(&buf, kith_read_u8(&reader));
    kith_buf_put_u64(&buf, kith_read_u64(&reader));
    kith_buf_put_varint(&buf, kith_read_varint(&reader));
    uint64_t count = kith_read_varint(&reader);
    kith_buf_put_varint(&buf, count);
    for (uint64_t i = 0; i < count; i++) {
        struct kith_dot each;
        const uint8_t *request = kith_read(&reader, sizeof(struct kith_request_id));
        each.actor.run = kith_read_u64(&reader);
        each.actor.epoch = kith_read_varint(&reader);
        each.counter = kith_read_varint(&reader);
        uint64_t wall_ms = kith_read_varint(&reader);
        kith_buf_put(&buf, request, sizeof(struct kith_request_id));
        kith_buf_put_u64(&buf, each.actor.run);
        kith_buf_put_varint(&buf, each.actor.epoch);
        kith_buf_put_varint(&buf, kith_dot_equal(&each, dot) ? counter : each.counter);
        kith_buf_put_varint(&buf, wall_ms);
    }
    KITH_ASSERT(kith_reader_done(&reader) && !buf.failed);
    void *bytes = kith_arena_copy(arena, buf.data, buf.size);
    KITH_ASSERT(bytes);
    struct kith_bytes renamed = kith_bytes_make(bytes, buf.size);
    kith_buf_release(&buf);
    return renamed;
}

/* The write at hand bears another counter of its actor. */
static void renumber(struct store_sim *store, struct kith_arena *arena, const struct kith_key *key,
                     uint64_t counter, struct kith_rowop_result *result)
{
    struct kith_row row = result->new_row;
    struct kith_dot dot = result->dot;
    size_t entries_size = row.clock.count * sizeof *row.clock.entries;
    size_t siblings_size = row.sibling_count * sizeof *row.siblings;
    struct kith_clock_entry *entries = kith_arena_copy(arena, row.clock.entries, entries_size);
    struct kith_sibling *siblings = kith_arena_copy(arena, row.siblings, siblings_size + 1);
    KITH_ASSERT(entries && siblings);
    uint64_t before = kith_clock_get(&result->old_row.clock, &dot.actor);
    for (uint32_t i = 0; i < row.clock.count; i++) {
        if (kith_actor_compare(&entries[i].actor, &dot.actor) == 0) {
            entries[i].counter = counter > before ? counter : before;
        }
    }
    result->dot.counter = counter;
    for (uint32_t i = 0; i < row.sibling_count; i++) {
        siblings[i].dot = kith_dot_equal(&siblings[i].dot, &dot) ? result->dot : siblings[i].dot;
        for (uint32_t k = i; k > 0; k--) { /* they are in order */
            if (kith_dot_compare(&siblings[k - 1].dot, &siblings[k].dot) > 0) {
                struct kith_sibling swap = siblings[k];
                siblings[k] = siblings[k - 1];
                siblings[k - 1] = swap;
            }
        }
    }
    row.clock.entries = entries;
    row.siblings = siblings;
    struct kith_bytes header = kith_bytes_make(
        result->record.data, result->record.size - result->state.size - KITH_CHECKSUM_SIZE);
    header = header_renamed(arena, header, &dot, counter);
    result->record = record_make(arena, key, header, &row, store->sim->secret, &result->new_hash,
                                 &result->state);
    result->new_row = row;
}

uint64_t store_mutant_counter(struct store_sim *store, struct kith_arena *arena,
                              const struct kith_key *key, uint64_t counter,
                              struct kith_rowop_result *result)
{
    struct kith_dot *early = &store->early[oracle_row(key)];
    bool same = early->counter > 0 && kith_actor_compare(&early->actor, &result->dot.actor) == 0;
    if (result->duplicate) {
        return counter;
    }
    if (same) { /* the write that has drawn it comes only now */
        renumber(store, arena, key, early->counter, result);
        early->counter = 0;
        return counter;
    }
    if (result->dot.actor.epoch == counter || !sim_chance(store->sim, 300)) {
        return counter;
    }
    *early = result->dot;
    renumber(store, arena, key, counter + 1, result);
    return counter + 1;
}

void store_mutant_reap(struct store_sim *store)
{
    bool any = false;
    for (uint32_t i = 0; i < store->cell_count; i++) {
        struct cell *cell = store->cells[i];
        struct kith_arena arena;
        struct kith_row row;
        kith_arena_init(&arena, 0);
        if (cell->type == 'r' && store_sim_there(cell)) {
            const struct cell_version *last = &cell->versions[cell->version_count - 1];
            struct kith_key key = store_sim_key_of(cell);
            struct kith_rowop_result result;
            memset(&result, 0, sizeof result);
            struct kith_bytes state;
            if (kith_rowop_state(&key, kith_bytes_make(last->data, last->size), store->sim->secret,
                                 &state, &result.old_hash) == KITH_OK &&
                kith_row_decode(&arena, state, &row) == KITH_OK && row.sibling_count == 0) {
                store->seq += any ? 0 : 1;
                any = true;
                store_sim_leaf_update(store, &key, &result);
                while (cell->version_count > 0) {
                    cell->version_count--;
                    kith_free(cell->versions[cell->version_count].data);
                }
            }
        }
        kith_arena_release(&arena);
    }
    if (any) {
        store->os_seq = store->disk_seq = store->seq;
    }
}
