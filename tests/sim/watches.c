/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watches.c - clients that watch groups, what they may believe by it, and that it is true.
 *
 * A client believes a row as it read it, from a quorum, for as long as the watch that was live when
 * the read began (or of whose number it is said to have begun before: kith_watch_since) has the same
 * number (kith_watch_epoch) and no change of the row has been told since the read began. That is what a mount answers from without asking anybody (client.h,
 * Watches). Judged: once a write of somebody else has been acknowledged TELL_US ago, nobody
 * believes a state of its row that does not cover it. Watches live through everything that the
 * world does: messages that are lost or late, cut networks, kills, power losses, changes of the
 * table.
 *
 * TELL_US is SOON_US, more than a message may take: the change has been told by then. But where it
 * was lost with a connection, and nobody has noticed yet, the lease of whoever told it must run
 * out: then TELL_US is LATE_US. (Judging soon finds more: rows are written again and again, and
 * what is told next makes up for what was missed.) Rows of which a power loss destroyed a state are
 * left out: a quorum may read less than was there until repair has been at it. */
#include <string.h>

#include "sim.h"

#define SOON_US 700000u
#define LATE_US (KITH_WATCH_LEASE_MS * 1000u + SOON_US)

static uint64_t number_now(const struct sim *sim, const struct sim_watch *watch)
{
    return watch->tag == 0 ? 0 : kith_epoch_at(&watch->epoch, sim->now_us / 1000);
}

/* ---- Which there are ---- */

static uint32_t any_group(struct sim *sim)
{
    uint32_t group = sim_below(sim, SIM_GROUPS);
    return sim->few ? 0 : group;
}

void watches_begin(struct sim *sim)
{
    for (uint32_t i = 0; i + 1 < sim->client_count && !sim->failed; i++) {
        uint32_t group = any_group(sim);
        if (sim_chance(sim, 700) && sim->clients[i].watches[group].tag == 0) {
            world_client_watch(sim, i, group, true);
        }
    }
}

bool watches_step(struct sim *sim, uint32_t *ret_client, uint32_t *ret_group)
{
    uint32_t client = sim_below(sim, sim->client_count - 1);
    uint32_t group = any_group(sim);
    bool held = sim->clients[client].watches[group].tag != 0;
    bool frozen = sim->frozen_until_us[SIM_NODES_MAX + client] > sim->now_us;
    *ret_client = client;
    *ret_group = group;
    if (!frozen && sim_chance(sim, held ? 20 : 4)) {
        world_client_watch(sim, client, group, !held);
        return !held;
    }
    return false;
}

void watches_end(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->client_count; i++) {
        for (uint32_t group = 0; group < SIM_GROUPS && !sim->failed; group++) {
            if (sim->clients[i].watches[group].tag != 0) {
                world_client_watch(sim, i, group, false);
            }
        }
    }
}

uint32_t watches_row(struct sim *sim, uint32_t row)
{
    uint32_t client = sim_below(sim, sim->client_count - 1);
    uint32_t first = sim_below(sim, SIM_GROUPS);
    for (uint32_t i = 0; i < SIM_GROUPS; i++) {
        uint32_t group = (first + i) % SIM_GROUPS;
        if (sim->clients[client].watches[group].tag != 0) {
            return sim_chance(sim, 600) ? group * SIM_NAMES + row % SIM_NAMES : row;
        }
    }
    return row;
}

/* ---- What is told and believed ---- */

static void told(struct sim_watch *watch, uint32_t name)
{
    watch->changes[name]++;
    watch->beliefs[name].has = false;
}

void watches_effect(struct sim *sim, uint32_t client, const struct kith_client_effect *effect)
{
    struct sim_watch *watch = NULL;
    uint32_t group = 0;
    for (uint32_t i = 0; i < SIM_GROUPS && !watch; i++) {
        group = i;
        watch = sim->clients[client].watches[i].tag == effect->tag
                    ? &sim->clients[client].watches[i]
                    : NULL;
    }
    if (!watch) {
        sim_fail(sim, "client %u is told of a watch that it does not hold", client);
        return;
    }
    if (effect->kind == KITH_CLIENT_EFFECT_WATCHED) {
        kith_epoch_tell(&watch->epoch, effect->until_ms);
        watch->since_made = effect->since_made ? watch->epoch.number : watch->since_made;
        sim_trace(sim, "client %u: group %u is live until %llu", client, group,
                  (unsigned long long)effect->until_ms);
        return;
    }
    for (uint32_t i = 0; i < effect->name_count; i++) {
        struct kith_key key;
        sim_key(group * SIM_NAMES, &key);
        key.name = effect->names[i];
        uint32_t row = oracle_row(&key);
        if (row == UINT32_MAX) {
            sim_fail(sim, "client %u is told of a row that nobody wrote", client);
            return;
        }
        told(watch, row % SIM_NAMES);
    }
    for (uint32_t name = 0; name < SIM_NAMES && effect->name_count == 0; name++) {
        told(watch, name);
    }
}

/* ---- Whether it is true ---- */

static void judge(struct sim *sim, uint32_t client, const struct oracle_write *write)
{
    const struct sim_watch *watch = &sim->clients[client].watches[write->row / SIM_NAMES];
    const struct sim_belief *belief = &watch->beliefs[write->row % SIM_NAMES];
    uint64_t number = number_now(sim, watch);
    bool deaf = sim->now_us < sim->clients[client].deaf_until_us;
    if (write->acked_us + (deaf ? LATE_US : SOON_US) > sim->now_us || number == 0 || !belief->has ||
        belief->number != number || write->client == client ||
        write->losses != sim->row_losses[write->row]) {
        return;
    }
    struct kith_arena arena;
    struct kith_row row;
    kith_arena_init(&arena, 0);
    struct kith_bytes clock = kith_bytes_make(belief->clock.data, belief->clock.size);
    enum kith_err err = kith_row_decode(&arena, clock, &row);
    KITH_ASSERT(err == KITH_OK);
    sim->believed++;
    struct kith_clock whole;
    oracle_whole_clock(sim, &arena, write->row, &row.clock, &whole);
    if (!kith_clock_covers(&whole, &write->dot)) {
        sim_fail(sim,
                 "client %u believes what it read of row %u under number %llu of its watch, and "
                 "write %llu, acknowledged %llu ms ago, is not in it",
                 client, write->row, (unsigned long long)number, (unsigned long long)write->number,
                 (unsigned long long)(sim->now_us - write->acked_us) / 1000);
    }
    kith_arena_release(&arena);
}

void watches_deaf(struct sim *sim, uint32_t client, uint64_t until_us)
{
    struct sim_client *who = &sim->clients[client];
    who->deaf_until_us = until_us > who->deaf_until_us ? until_us : who->deaf_until_us;
}

struct sim_reading watches_reading(const struct sim *sim, uint32_t client, uint32_t row)
{
    const struct sim_watch *watch = &sim->clients[client].watches[row / SIM_NAMES];
    struct sim_reading reading = {.number = number_now(sim, watch),
                                  .tag = watch->tag,
                                  .changes = watch->changes[row % SIM_NAMES]};
    return reading;
}

void watches_read(struct sim *sim, uint32_t client, uint32_t row, const struct sim_reading *reading,
                  const struct kith_clock *clock)
{
    struct sim_watch *watch = &sim->clients[client].watches[row / SIM_NAMES];
    struct sim_belief *belief = &watch->beliefs[row % SIM_NAMES];
    uint64_t number = number_now(sim, watch);
    bool since = reading->tag != 0 && reading->tag == watch->tag && watch->since_made == number;
    if (sim->mutant == MUTANT_NO_SESSION || number == 0 || (reading->number != number && !since) ||
        reading->changes != watch->changes[row % SIM_NAMES]) {
        return;
    }
    struct kith_row state = {.clock = *clock};
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (clock->count > 0) {
        kith_row_encode(&state, &buf);
    }
    KITH_ASSERT(!buf.failed);
    sim_bytes_set(&belief->clock, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    belief->has = true;
    belief->number = number;
    sim->believed_since += reading->number != number ? 1 : 0;
    for (uint32_t i = 0; i < sim->acked_count; i++) {
        const struct oracle_write *write = &sim->oracle.writes[sim->acked[i]];
        if (write->row == row) {
            judge(sim, client, write);
        }
    }
}

void watches_acked(struct sim *sim, uint32_t write)
{
    if (sim->acked_count == sim->acked_capacity) {
        sim->acked_capacity = sim->acked_capacity ? sim->acked_capacity * 2 : 64;
        sim->acked = kith_realloc(sim->acked, sim->acked_capacity * sizeof *sim->acked);
        KITH_ASSERT(sim->acked);
    }
    sim->oracle.writes[write].acked_us = sim->now_us;
    sim->acked[sim->acked_count] = write;
    sim->acked_count++;
}

/* Judges, from *at on, what was acknowledged so long ago. */
static void check(struct sim *sim, uint32_t *at, uint64_t ago_us)
{
    for (; *at < sim->acked_count && !sim->failed; ++*at) {
        const struct oracle_write *write = &sim->oracle.writes[sim->acked[*at]];
        if (write->acked_us + ago_us > sim->now_us) {
            return;
        }
        for (uint32_t client = 0; client < sim->client_count; client++) {
            judge(sim, client, write);
        }
    }
}

void watches_check(struct sim *sim)
{
    check(sim, &sim->acked_soon, SOON_US);
    check(sim, &sim->acked_late, LATE_US);
}

void watches_release(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->client_count; i++) {
        for (uint32_t row = 0; row < SIM_ROWS; row++) {
            struct sim_watch *watch = &sim->clients[i].watches[row / SIM_NAMES];
            sim_bytes_clear(&watch->beliefs[row % SIM_NAMES].clock);
        }
    }
    kith_free(sim->acked);
}
