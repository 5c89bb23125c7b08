/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * zones.c - nodes and clients in two or three data centres, and a cut between them.
 *
 * In a quarter of the seeds; in half of these, a message takes 5 to 80 ms from one to another, each
 * way its own time. Which they are is drawn from the seed alone, so that the others are what they
 * were. Some clients then read or write by the levels that look at zones (quorum.h); a cut in
 * halves is one between zones. At the end (zones_phase) one zone is cut off from the others
 * for a while: clients that read and write by local quorums go on as if nothing were amiss, in each
 * of them, and afterwards all converges like after any other fault. */
#include "sim.h"

#define SETTLE_US 5000000u /* nodes find each other down in this */
#define QUICK_US  100000u  /* ... and then nobody waits for them */
#define FAR_LEAST_US 5000u
#define FAR_MOST_US  80000u

static uint64_t mixed(uint64_t seed)
{
    uint64_t draw = seed * UINT64_C(0xd6e8feb86659fd93);
    draw ^= draw >> 32;
    return draw * UINT64_C(0xd6e8feb86659fd93);
}

static void distances_choose(struct sim *sim, uint64_t draw)
{
    bool far = (draw >> 57 & 1u) != 0;
    for (uint32_t a = 0; a < SIM_ZONES_MAX; a++) {
        for (uint32_t b = 0; b < SIM_ZONES_MAX; b++) {
            draw = mixed(draw + 1);
            uint64_t us = FAR_LEAST_US + (draw >> 20) % (FAR_MOST_US - FAR_LEAST_US);
            sim->zone_us[a][b] = far && a != b ? (uint32_t)us : 0;
        }
    }
}

uint32_t zones_distance_us(const struct sim *sim, uint32_t from, uint32_t to)
{
    return sim->zones > 0 ? sim->zone_us[zones_of(sim, from)][zones_of(sim, to)] : 0;
}

/* There and back, at most. */
static uint32_t farthest_us(const struct sim *sim)
{
    uint32_t most = 0;
    for (uint32_t a = 0; a < sim->zones; a++) {
        for (uint32_t b = 0; b < a; b++) {
            uint32_t both = sim->zone_us[a][b] + sim->zone_us[b][a];
            most = both > most ? both : most;
        }
    }
    return most;
}

void zones_choose(struct sim *sim)
{
    uint64_t draw = mixed(sim->seed);
    if ((draw >> 60 & 3u) != 0) {
        return;
    }
    static const enum kith_level writes[] = {KITH_LEVEL_QUORUM, KITH_LEVEL_LOCAL_QUORUM,
                                             KITH_LEVEL_LOCAL_QUORUM, KITH_LEVEL_EACH_QUORUM};
    sim->zones = 2 + (uint32_t)(draw >> 58 & 1u);
    distances_choose(sim, draw);
    for (uint32_t i = 0; i + 1 < sim->client_count; i++) { /* the last one asks all */
        bool local = (draw >> (8 + 4 * i) & 1u) != 0;
        sim->clients[i].read_level = local ? KITH_LEVEL_LOCAL_QUORUM : KITH_LEVEL_QUORUM;
        bool strict = (sim->strict >> i & 1u) != 0; /* of every zone: nobody may be away */
        sim->clients[i].write_level = writes[(draw >> (9 + 4 * i) & 3u) / (strict ? 2u : 1u)];
    }
}

const char *zones_name(const struct sim *sim, uint32_t entity)
{
    static const char *const names[] = {"z0", "z1", "z2"};
    return sim->zones > 0 ? names[zones_of(sim, entity)] : "";
}

uint32_t zones_of(const struct sim *sim, uint32_t entity)
{
    uint32_t i = entity < SIM_NODES_MAX ? entity : entity - SIM_NODES_MAX;
    return sim->zones > 0 ? i % sim->zones : 0;
}

uint32_t zones_side(const struct sim *sim, uint32_t zone)
{
    uint32_t side = 0;
    for (uint32_t i = 0; i < SIM_ENTITIES; i++) {
        side |= zones_of(sim, i) == zone ? 1u << i : 0;
    }
    return side;
}

/* Reads and writes by local quorums alone, is no strict one, and was told where it is. */
static bool is_local(const struct sim *sim, uint32_t client)
{
    return client != ZONES_TOLD_NOT && sim->clients[client].read_level == KITH_LEVEL_LOCAL_QUORUM &&
           sim->clients[client].write_level == KITH_LEVEL_LOCAL_QUORUM &&
           (sim->strict >> client & 1u) == 0;
}

/* Whether one of the row's owners is there, and stays: while data moves the next ones are asked, too. */
static bool owner_near(const struct sim *sim, uint32_t row, uint32_t zone)
{
    struct kith_key key;
    bool near = false;
    sim_key(row, &key);
    uint32_t partition = kith_group_partition(&key.group, SIM_PARTITIONS);
    for (uint32_t n = 0; n < sim->node_count; n++) {
        near = near || (zones_of(sim, n) == zone && sim_owns(sim, n, partition) &&
                        !plans_loses(sim, n, partition));
    }
    return near;
}

void zones_phase(struct sim *sim)
{
    if (sim->zones == 0) {
        return;
    }
    world_heal(sim);
    for (uint32_t i = 0; i < 400 && !sim->failed && (i < 100 || !sim_formed(sim, false)); i++) {
        world_run(sim, sim->now_us + 100000);
    }
    if (sim->failed || sim->gone || sim->newest->member_count < SIM_REPLICAS ||
        sim->newest->member_count < sim->node_count) {
        return;
    }
    uint32_t zone = sim_below(sim, sim->zones);
    sim_trace(sim, "zone %u is cut off", zone);
    faults_cut_side(sim, zones_side(sim, zone), true);
    world_run(sim, sim->now_us + SETTLE_US);
    /* what a session has seen may be lost with power: only all owners together can say that it is */
    bool reads = sim->power_losses == 0;
    for (uint32_t round = 0; round < 6 && !sim->failed; round += reads ? 1 : 2) {
        for (uint32_t c = 0; c + 1 < sim->client_count && !sim->failed; c++) {
            for (uint32_t row = 0; is_local(sim, c) && row < SIM_ROWS; row += 3) {
                if (owner_near(sim, row, zones_of(sim, SIM_NODES_MAX + c))) {
                    scenario_quick(sim, c, row, round % 2 == 0,
                                   sim->now_us + QUICK_US + farthest_us(sim));
                }
            }
        }
        world_run(sim, sim->now_us + 500000);
    }
    sim_trace(sim, "zone %u is there again", zone);
    faults_cut_side(sim, zones_side(sim, zone), false);
}
