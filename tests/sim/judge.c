/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * judge.c - what holds between clients, and at every time: whoever asks a quorum is told of all
 * that W owners had confirmed before he asked; what was acknowledged stays in W stores; a sibling
 * that an acknowledged write has replaced never comes back. What one client may expect of its own
 * requests is sessions.c's. */
#include "sim.h"

/* Whether no loss since could have taken a copy of it. */
static bool safe(const struct sim *sim, const struct oracle_write *write)
{
    return write->losses == sim->row_losses[write->row] || (write->disk && sim->disk_losses == 0);
}

/* Whether the write was acknowledged before, and has all its copies; or lacks one whose node knows
 * that it has lost it, and says nothing. */
static bool stands(const struct sim *sim, const struct oracle_write *write, uint32_t row,
                   uint64_t before_us)
{
    return write->row == row && write->acked_us < before_us &&
           (safe(sim, write) || write->kept == sim->row_losses[row]);
}

/* Whether another owner has it, too. */
static bool elsewhere(struct sim *sim, const struct oracle_write *write, uint32_t node)
{
    struct kith_key key;
    bool there = false;
    sim_key(write->row, &key);
    for (uint32_t n = 0; n < sim->node_count && !there; n++) {
        there = n != node && store_sim_holds(&sim->nodes[n].store, &key, &write->dot, false) &&
                sim_owns(sim, n, kith_group_partition(&key.group, SIM_PARTITIONS));
    }
    return there;
}

void judge_before_loss(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->acked_count; i++) {
        struct oracle_write *write = &sim->oracle.writes[sim->acked[i]];
        write->stood = stands(sim, write, write->row, sim->now_us + 1);
    }
}

void judge_after_loss(struct sim *sim, uint32_t node)
{
    for (uint32_t i = 0; i < sim->acked_count; i++) {
        struct oracle_write *write = &sim->oracle.writes[sim->acked[i]];
        if (write->stood && elsewhere(sim, write, node)) {
            write->kept = sim->row_losses[write->row];
        }
    }
}

void judge_read(struct sim *sim, uint32_t client, uint32_t row, uint64_t begun_us,
                const struct kith_clock *clock)
{
    struct kith_arena arena;
    struct kith_clock whole;
    kith_arena_init(&arena, 0);
    oracle_whole_clock(sim, &arena, row, clock, &whole);
    for (uint32_t i = 0; i < sim->acked_count; i++) {
        const struct oracle_write *write = &sim->oracle.writes[sim->acked[i]];
        if (stands(sim, write, row, begun_us) && !kith_clock_covers(&whole, &write->dot)) {
            sim_fail(
                sim,
                "client %u asks a quorum for row %u, and write %llu is not in the answer, which "
                "was acknowledged %llu us before",
                client, row, (unsigned long long)write->number,
                (unsigned long long)(begun_us - write->acked_us));
        }
    }
    kith_arena_release(&arena);
}

/* A row is reaped a grace after all owners had what it has replaced. */
void judge_reaped(struct sim *sim, uint32_t client, uint32_t row, const struct kith_row *state)
{
    static const struct kith_clock none = {.count = 0};
    struct kith_arena arena;
    struct kith_clock reaped;
    kith_arena_init(&arena, 0);
    oracle_whole_clock(sim, &arena, row, &none, &reaped);
    for (uint32_t s = 0; s < state->sibling_count; s++) {
        if (kith_clock_covers(&reaped, &state->siblings[s].dot)) {
            sim_fail(sim,
                     "invariant 4: client %u asks a quorum for row %u, and is shown a version that "
                     "was deleted, and forgotten",
                     client, row);
        }
    }
    kith_arena_release(&arena);
}

void judge_absent(struct sim *sim, uint32_t client, uint32_t row, uint64_t begun_us)
{
    for (uint32_t i = 0; i < sim->acked_count; i++) {
        const struct oracle_write *write = &sim->oracle.writes[sim->acked[i]];
        if (stands(sim, write, row, begun_us) && !write->is_delete &&
            !oracle_superseded(sim, row, &write->dot)) {
            sim_fail(sim,
                     "client %u scans, and row %u is not there, of which write %llu was "
                     "acknowledged %llu us before",
                     client, row, (unsigned long long)write->number,
                     (unsigned long long)(begun_us - write->acked_us));
        }
    }
}

/* Whether a node owes the row to its owners. */
static bool owed(struct sim *sim, const struct kith_key *key)
{
    bool noted = false;
    for (uint32_t n = 0; sim->plans && n < sim->node_count; n++) {
        noted = noted || store_hints_noted(&sim->nodes[n].store, key);
    }
    return noted;
}

uint32_t judge_row_copies(struct sim *sim, const struct kith_key *key, const struct kith_dot *dot,
                          bool disk)
{
    uint32_t copies = 0;
    bool all = owed(sim, key);
    for (uint32_t n = 0; n < sim->node_count; n++) {
        bool counts = all || plans_counts(sim, n);
        copies += counts && store_sim_holds(&sim->nodes[n].store, key, dot, disk) ? 1 : 0;
    }
    return copies;
}

uint32_t judge_chunk_copies(struct sim *sim, const struct kith_chunk_id *id, bool disk, bool all)
{
    uint32_t copies = 0;
    for (uint32_t n = 0; n < sim->node_count; n++) {
        bool counts = all || plans_counts(sim, n);
        copies += counts && store_sim_holds_chunk(&sim->nodes[n].store, id, disk) ? 1 : 0;
    }
    return copies;
}

void judge_copies(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->oracle.count && !sim->failed; i++) {
        const struct oracle_write *write = &sim->oracle.writes[i];
        uint32_t needed = write->state == WRITE_OK ? write->copies : 0;
        struct kith_key key;
        sim_key(write->row, &key);
        uint32_t copies =
            needed > 0 ? judge_row_copies(sim, &key, &write->dot, write->disk) : 0;
        if (copies < needed && safe(sim, write)) {
            sim_fail(sim, "invariant 1: write %llu of row %u was acknowledged, and has %u copies",
                     (unsigned long long)write->number, write->row, copies);
        }
    }
}

void judge_siblings(struct sim *sim, uint32_t row, const struct kith_row *state)
{
    for (uint32_t s = 0; s < state->sibling_count; s++) {
        const struct oracle_write *whose = NULL;
        for (uint32_t i = 0; i < sim->oracle.count && !whose; i++) {
            const struct oracle_write *write = &sim->oracle.writes[i];
            bool same = write->row == row && !write->is_delete &&
                        kith_bytes_equal(state->siblings[s].value,
                                         kith_bytes_make(&write->number, sizeof write->number));
            whose = same ? write : NULL;
        }
        if (!whose) {
            sim_fail(sim, "row %u: a sibling that nobody wrote", row);
        } else if (oracle_replaced(sim, row, &state->siblings[s].dot, &state->clock)) {
            sim_fail(sim, "invariant 4: row %u: write %llu was replaced, and is there", row,
                     (unsigned long long)whose->number);
        }
    }
}
