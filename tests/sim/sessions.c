/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sessions.c - what one client may expect of a read, after what it has read and written itself.
 *
 * Invariant 9: a client reads its own writes and never goes back. For each row it keeps two clocks:
 * of what it has SEEN with contents, which each later read must cover, and of what it has seen GONE,
 * of which nothing is there again. An answer is judged by these as they were when its request began:
 * what other requests of the client bring meanwhile binds only those that begin later.
 *
 * That holds for degraded answers as well. Excepted is what a power loss has destroyed: what is on W nodes
 * is on W - 1 then, and a read quorum may miss it until repair has been there.
 *
 * ASLEEP. A client that was told nothing of a row for half a grace has forgotten it, both clocks
 * (client/session.c): what it is told then is the beginning of all that it has seen, and does not go on
 * from what it saw before. Owners who are cut apart for so long may each tell it less than that. */
#include "sim.h"

static void clock_set(struct sim_bytes *bytes, const struct kith_clock *clock)
{
    struct kith_row row = {.clock = *clock};
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (clock->count > 0) {
        kith_row_encode(&row, &buf);
    }
    KITH_ASSERT(!buf.failed);
    sim_bytes_set(bytes, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
}

static void clock_of(struct kith_arena *arena, const struct sim_bytes *bytes,
                     struct kith_clock *ret_clock)
{
    struct kith_row row;
    enum kith_err err = kith_row_decode(arena, kith_bytes_make(bytes->data, bytes->size), &row);
    KITH_ASSERT(err == KITH_OK);
    *ret_clock = row.clock;
}

static bool covers(const struct kith_clock *a, const struct kith_clock *b)
{
    enum kith_clock_order order = kith_clock_compare(a, b);
    return order == KITH_CLOCK_EQUAL || order == KITH_CLOCK_AFTER;
}

/* Counted in ms, as the client counts. */
static bool asleep(const struct sim *sim, uint32_t client, uint32_t row)
{
    uint64_t since_ms = sim->clients[client].seen_us[row] / 1000;
    return sim->sweeps && sim->now_us / 1000 - since_ms >= SWEEPS_SESSION_MS;
}

/* Whether the client still knows what it had seen of row i when the request began. */
static bool awake(const struct sim *sim, const struct sim_op *record, uint32_t i)
{
    return record->begun_us >= sim->clients[record->owner].slept_us[record->rows[i]] &&
           !asleep(sim, record->owner, record->rows[i]);
}

static void join(struct sim *sim, uint32_t client, uint32_t row, const struct kith_clock *clock,
                 bool gone)
{
    struct sim_client *who = &sim->clients[client];
    struct sim_bytes *to = gone ? &who->gone[row] : &who->seen[row];
    struct sim_bytes *other = gone ? &who->seen[row] : &who->gone[row];
    struct kith_arena arena;
    struct kith_clock old, rest, joined;
    kith_arena_init(&arena, 0);
    clock_of(&arena, to, &old);
    clock_of(&arena, other, &rest);
    enum kith_err err = kith_clock_join(&arena, &old, clock, &joined);
    KITH_ASSERT(err == KITH_OK);
    clock_set(to, &joined);
    if (covers(clock, &rest)) {
        sim_bytes_clear(other);
    }
    kith_arena_release(&arena);
}

void sessions_join(struct sim *sim, uint32_t client, uint32_t row, const struct kith_clock *clock,
                   bool gone)
{
    struct sim_client *who = &sim->clients[client];
    if (asleep(sim, client, row)) {
        sim_bytes_clear(&who->seen[row]);
        sim_bytes_clear(&who->gone[row]);
        who->slept_us[row] = sim->now_us;
    }
    join(sim, client, row, clock, gone);
    if (clock->count > 0) { /* else it is told of nothing that it could note */
        who->seen_us[row] = sim->now_us;
    }
}

/* A scan does not tell the clock of what is gone, and the client may have found it newer than its own
 * request was bound to: so it is held against all that was seen until now. */
void sessions_absent(struct sim *sim, const struct sim_op *record, uint32_t i)
{
    struct sim_client *who = &sim->clients[record->owner];
    struct kith_arena arena;
    struct kith_clock seen;
    kith_arena_init(&arena, 0);
    clock_of(&arena, &who->seen[record->rows[i]], &seen);
    if (seen.count > 0) {
        join(sim, record->owner, record->rows[i], &seen, true);
    }
    kith_arena_release(&arena);
}

/* A client that was told, while power was lost, that the row is gone is bound to nothing that it saw. */
static bool seen_binds(const struct sim *sim, const struct sim_op *record, uint32_t i)
{
    return record->begun_us > sim->clients[record->owner].forgot_us[record->rows[i]];
}

/* Whether nothing is there that was seen before: then the row may have begun anew since. */
static bool anew(const struct kith_row *row, const struct kith_clock *before)
{
    bool good = true;
    for (uint32_t k = 0; k < row->sibling_count; k++) {
        good = good && !kith_clock_covers(before, &row->siblings[k].dot);
    }
    return good;
}

/* Whether all that was seen, and is not known any more, has been replaced or deleted: a request that was
 * not over may have told the client so (a row of several, a page of a scan), and did not tell us. */
static bool replaced(struct sim *sim, uint32_t row, const struct kith_clock *seen,
                     const struct kith_clock *known)
{
    bool all = true;
    for (uint32_t w = 0; w < sim->oracle.count && all; w++) {
        const struct oracle_write *write = &sim->oracle.writes[w];
        all = write->row != row || write->is_delete || !kith_clock_covers(seen, &write->dot) ||
              kith_clock_covers(known, &write->dot) || oracle_superseded(sim, row, &write->dot);
    }
    return all;
}

/* Whether something is there that had been replaced, or deleted, as far as was seen. */
static bool is_back(struct sim *sim, uint32_t number, const struct kith_row *row,
                    const struct kith_clock *seen)
{
    bool back = false;
    for (uint32_t k = 0; k < row->sibling_count; k++) {
        back = back || oracle_replaced(sim, number, &row->siblings[k].dot, seen);
    }
    return back;
}

static void seen_check(struct sim *sim, const struct sim_op *record, uint32_t i,
                       const struct kith_row *row)
{
    struct kith_arena arena;
    struct kith_clock seen, gone, whole, known, now;
    kith_arena_init(&arena, 0);
    clock_of(&arena, &record->seen[i], &seen);
    clock_of(&arena, &record->gone[i], &gone);
    clock_of(&arena, &sim->clients[record->owner].gone[record->rows[i]], &now);
    oracle_whole_clock(sim, &arena, record->rows[i], &row->clock, &whole);
    /* What was seen gone since may be of the past, and the row have begun anew (client/session.c). */
    enum kith_err err = kith_clock_join(&arena, &whole, &gone, &known);
    KITH_ASSERT(err == KITH_OK);
    /* or another request has been told meanwhile that it is gone */
    bool good = covers(&known, &seen) || !seen_binds(sim, record, i) ||
                (covers(&now, &seen) && anew(row, &now)) ||
                (!is_back(sim, record->rows[i], row, &seen) &&
                 replaced(sim, record->rows[i], &seen, &known));
    good = good && (covers(&row->clock, &gone) || anew(row, &gone));
    kith_arena_release(&arena);
    if (!good && record->losses[i] == sim->row_losses[record->rows[i]]) {
        sim_fail(sim, "invariant 9: client %u has read or written more of row %u than it reads now",
                 record->owner, record->rows[i]);
    }
}

void sessions_gone(struct sim *sim, uint32_t client, uint32_t row, const struct kith_clock *clock)
{
    struct kith_arena arena;
    struct kith_clock seen;
    kith_arena_init(&arena, 0);
    clock_of(&arena, &sim->clients[client].seen[row], &seen);
    if (covers(clock, &seen)) {
        sim_bytes_clear(&sim->clients[client].seen[row]);
        sim->clients[client].forgot_us[row] = sim->now_us;
    }
    kith_arena_release(&arena);
}

/* A client's own write that has been replaced as far as it has seen is not there again, not even as
 * the second copy that a retry made. */
static void ghost_check(struct sim *sim, const struct sim_op *record, uint32_t i,
                        const struct kith_row *row)
{
    struct kith_arena arena;
    struct kith_clock seen, gone;
    kith_arena_init(&arena, 0);
    clock_of(&arena, &record->seen[i], &seen);
    clock_of(&arena, &record->gone[i], &gone);
    for (uint32_t w = 0; w < sim->oracle.count; w++) {
        const struct oracle_write *write = &sim->oracle.writes[w];
        if (write->row == record->rows[i] && write->client == record->owner &&
            write->state == WRITE_OK && !write->is_delete && !write->shared &&
            oracle_holds(row, write->number) &&
            record->losses[i] == sim->row_losses[write->row] &&
            (oracle_replaced(sim, write->row, &write->dot, &seen) ||
             oracle_replaced(sim, write->row, &write->dot, &gone))) {
            sim_fail(sim, "invariant 9: client %u replaced write %llu of row %u, and it is back",
                     record->owner, (unsigned long long)write->number, write->row);
        }
    }
    kith_arena_release(&arena);
}

void sessions_read(struct sim *sim, const struct sim_op *record, uint32_t i,
                   const struct kith_row *row)
{
    if (awake(sim, record, i)) {
        seen_check(sim, record, i, row);
        ghost_check(sim, record, i, row);
    }
}

void sessions_note(struct sim *sim, struct sim_op *record, uint32_t i, uint32_t row)
{
    const struct sim_bytes *seen = &sim->clients[record->owner].seen[row];
    const struct sim_bytes *gone = &sim->clients[record->owner].gone[row];
    record->rows[i] = row;
    record->losses[i] = sim->row_losses[row];
    record->readings[i] = watches_reading(sim, record->owner, row);
    sim_bytes_set(&record->seen[i], kith_bytes_make(seen->data, seen->size));
    sim_bytes_set(&record->gone[i], kith_bytes_make(gone->data, gone->size));
}

void sessions_shaken(struct sim *sim, const struct sim_op *record)
{
    for (uint32_t i = 0; i < record->row_count; i++) {
        if (record->losses[i] != sim->row_losses[record->rows[i]]) {
            sim_bytes_clear(&sim->clients[record->owner].seen[record->rows[i]]);
            sim_bytes_clear(&sim->clients[record->owner].gone[record->rows[i]]);
        }
    }
}

void sessions_lost(struct sim *sim, const struct sim_op *record)
{
    uint64_t losses = 0;
    for (uint32_t i = 0; i < record->row_count; i++) {
        losses += sim->row_losses[record->rows[i]];
    }
    if (losses == 0) {
        sim_fail(sim, "client %u is told of a loss, and nothing was lost", record->owner);
    }
    sim->lost_reads++;
    for (uint32_t i = 0; i < record->row_count; i++) {
        sim_bytes_clear(&sim->clients[record->owner].seen[record->rows[i]]);
        sim_bytes_clear(&sim->clients[record->owner].gone[record->rows[i]]);
    }
}

void sessions_left_out(struct sim *sim, const struct sim_op *record, uint32_t i)
{
    struct kith_arena arena;
    struct kith_clock seen;
    if (!awake(sim, record, i)) {
        return;
    }
    kith_arena_init(&arena, 0);
    clock_of(&arena, &record->seen[i], &seen);
    for (uint32_t w = 0; w < sim->oracle.count; w++) {
        const struct oracle_write *write = &sim->oracle.writes[w];
        if (write->row == record->rows[i] && write->state == WRITE_OK && !write->is_delete &&
            kith_clock_covers(&seen, &write->dot) &&
            !oracle_superseded(sim, write->row, &write->dot) &&
            record->losses[i] == sim->row_losses[write->row]) {
            sim_fail(sim, "invariant 9: client %u scans, and row %u with write %llu is not there",
                     record->owner, write->row, (unsigned long long)write->number);
        }
    }
    kith_arena_release(&arena);
}
