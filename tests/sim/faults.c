/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * faults.c - what goes wrong by itself: which kinds a seed has, and when each begins and ends.
 *
 * A seed has some kinds of faults and not others (`kinds`), chosen at its begin: with all of them at
 * once each hides what another one shows. Crashes at the edges of promises are disk.c's, messages
 * that are lost, late, doubled or corrupt net.c's.
 *
 * What survives is a matter of budget, as the oracle knows no more than was promised: one node loses
 * power (power_victim), fewer than half of the nodes have clocks that jump (clock_victim). */
#include <string.h>

#include "sim.h"

#define HALVES_MAX_US    5000000u
#define LONELY_MAX_US    2000000u
#define FLAP_MAX_US      4000000u
#define FLAP_EACH_US     400000u
#define SPACE_MAX_US     1500000u
#define FREEZE_SHORT_US  3000000u  /* most freezes; some are longer than anybody waits */
#define FREEZE_LONG_US   40000000u
#define FREEZE_LEAST_US  100000u
#define JUMP_SHORT_MS    600000    /* ten minutes */
#define JUMP_LONG_MS     259200000 /* three days */

bool faults_has(const struct sim *sim, enum sim_kind kind)
{
    return sim->faults && (sim->kinds >> kind & 1u) != 0;
}

void faults_choose(struct sim *sim)
{
    sim->kinds = 1u << KIND_CRASH | 1u << KIND_CUT;
    for (uint32_t kind = KIND_CUT + 1; kind < KIND_COUNT; kind++) {
        bool has = sim_chance(sim, 300);
        sim->kinds |= has ? 1u << kind : 0;
    }
    if (sim->mutant == MUTANT_HINT_EPOCH) { /* one stand-in twice for a row: else too seldom */
        sim->kinds = 1u << KIND_CUT | 1u << KIND_LONELY;
        sim->few = true;
    }
    if (sim->mutant == MUTANT_UNTOLD) { /* watches live long, and others write elsewhere */
        sim->kinds = 1u << KIND_LONELY | 1u << KIND_ONE_WAY;
    }
    if (sim->mutant == MUTANT_REFILL_EARLY) { /* few seeds lose a disk */
        sim->kinds |= 1u << KIND_LOST;
    }
    if (sim->mutant == MUTANT_AGED_READ) { /* the same of old ones */
        sim->kinds = 1u << KIND_CRASH | 1u << KIND_CUT | 1u << KIND_OLD;
    }
    uint32_t first = sim_below(sim, sim->node_count);
    for (uint32_t i = 0; i < (sim->node_count - 1) / 2; i++) { /* the others tell the time */
        sim->nodes[(first + i) % sim->node_count].clock_victim = true;
    }
}

/* ---- Networks ---- */

void faults_cut_side(struct sim *sim, uint32_t side, bool cut)
{
    for (uint32_t a = 0; a < SIM_ENTITIES; a++) {
        for (uint32_t b = 0; b < SIM_ENTITIES; b++) {
            if ((side >> a & 1u) != (side >> b & 1u)) {
                sim->cut[a][b] = cut;
            }
        }
    }
}

void faults_cut_off(struct sim *sim, uint32_t node)
{
    faults_cut_side(sim, 1u << node, true);
}

static void halves_end(struct sim *sim, struct sim_event *event)
{
    sim_trace(sim, "sides %x are one again", event->link);
    faults_cut_side(sim, event->link, false);
}

void faults_side(struct sim *sim, uint32_t side, uint32_t lasts_us)
{
    sim_trace(sim, "cut in sides %x", side);
    faults_cut_side(sim, side, true);
    sim_at(sim, sim->now_us + lasts_us, halves_end)->link = side;
}

static void halves(struct sim *sim)
{
    uint32_t side = sim_below(sim, 1u << SIM_ENTITIES);
    side = sim->zones > 0 ? zones_side(sim, side % sim->zones) : side;
    faults_side(sim, side, sim_below(sim, HALVES_MAX_US));
}

/* A client is cut off from all nodes but one, or joined to them again. */
static void lonely_cut(struct sim *sim, uint32_t client, uint32_t node, bool cut)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (i != node) {
            sim->cut[client][i] = sim->cut[i][client] = cut;
        }
    }
}

static void lonely_end(struct sim *sim, struct sim_event *event)
{
    lonely_cut(sim, event->entity, event->link, false);
}

static void lonely(struct sim *sim, uint32_t node)
{
    uint32_t client = SIM_NODES_MAX + sim_below(sim, sim->client_count);
    struct sim_event *event = sim_at(sim, sim->now_us + sim_below(sim, LONELY_MAX_US), lonely_end);
    event->entity = client;
    event->link = node;
    sim_trace(sim, "client %u reaches %u alone", client, node);
    lonely_cut(sim, client, node, true);
}

static void flap(struct sim *sim, struct sim_event *event)
{
    bool cut = sim->faults && sim->now_us < event->start && event->phase == 0;
    sim->cut[event->entity][event->link] = cut;
    sim->cut[event->link][event->entity] = cut;
    if (sim->faults && sim->now_us < event->start) {
        uint32_t lasts = sim_below(sim, FLAP_EACH_US);
        struct sim_event *next = sim_at(sim, sim->now_us + lasts, flap);
        next->entity = event->entity;
        next->link = event->link;
        next->start = event->start; /* until then */
        next->phase = cut ? 1 : 0;
    }
}

static void flap_begin(struct sim *sim, uint32_t a, uint32_t b)
{
    uint32_t lasts = sim_below(sim, FLAP_MAX_US);
    struct sim_event *event = sim_at(sim, sim->now_us, flap);
    sim_trace(sim, "the way between %u and %u flaps", a, b);
    event->entity = a;
    event->link = b;
    event->start = sim->now_us + lasts;
}

/* ---- Nodes and clients that stand still ---- */


bool faults_frozen(struct sim *sim, uint32_t entity, struct sim_event *event)
{
    if (sim->frozen_until_us[entity] <= sim->now_us) {
        return false;
    }
    sim_again(sim, event, sim->frozen_until_us[entity]);
    return true;
}

static void freeze(struct sim *sim, uint32_t entity)
{
    uint32_t most = sim_chance(sim, 150) ? FREEZE_LONG_US : FREEZE_SHORT_US;
    uint32_t lasts = FREEZE_LEAST_US + sim_below(sim, most - FREEZE_LEAST_US);
    uint64_t until_us = sim->now_us + lasts;
    if (until_us < sim->frozen_until_us[entity]) {
        return;
    }
    sim_trace(sim, "%u freezes for %u ms", entity, lasts / 1000);
    sim->frozen_until_us[entity] = until_us;
    if (entity >= SIM_NODES_MAX) {
        watches_deaf(sim, entity - SIM_NODES_MAX, until_us);
    }
}

/* A client in ten freezes. */
static void freeze_any(struct sim *sim, uint32_t node)
{
    uint32_t client = sim_below(sim, 10 * sim->client_count);
    freeze(sim, client < sim->client_count ? SIM_NODES_MAX + client : node);
}

/* ---- Clocks ---- */

static void clock_jumps(struct sim *sim, struct sim_node *node)
{
    int64_t most = sim_chance(sim, 400) ? JUMP_LONG_MS : JUMP_SHORT_MS;
    int64_t by = (int64_t)(sim_random(sim) % (uint64_t)(2 * most)) - most;
    if (sim->sweeps) { /* no clock is wrong by more than the grace, so they say at least */
        by %= SWEEPS_GRACE_MS;
        by -= node->skew_ms;
    }
    if (node->clock_victim) {
        node->skew_ms += by;
        sim_trace(sim, "the clock of %u jumps by %lld ms", node->index, (long long)by);
    }
}

/* ---- Disks that are lost, or restored ---- */

/* The same node as loses power: what W - 1 nodes lose is survived. */
/* There may be a write that stands on one disk alone. */
static bool copies_few(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (store_hints_owed(&sim->nodes[i].store)) {
            return true;
        }
    }
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        uint32_t copies = 0;
        for (uint32_t i = 0; i < sim->node_count; i++) {
            copies += store_sim_holds_chunk(&sim->nodes[i].store, &sim->oracle.chunks[c].id, true)
                          ? 1 : 0;
        }
        if (copies == 1) {
            return true;
        }
    }
    return false;
}

/* All of it, as a rule; else one table. With all of it the promises, too, now and then. */
static uint32_t what_is_lost(struct sim *sim, uint32_t node)
{
    uint64_t *x = &sim->loss_chance;
    *x = *x == 0 ? (sim->seed + 2) * UINT64_C(0x9e3779b97f4a7c15) | 1 : *x;
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    uint32_t all = KITH_LOST_ROWS | KITH_LOST_CHUNKS | KITH_LOST_HINTS;
    switch (*x >> 32 & 7u) {
    case 0:
        return KITH_LOST_CHUNKS;
    case 1:
    case 2:
        return KITH_LOST_ROWS;
    case 3: /* of two members both must vote for the next table: nothing would ever change again */
        return plans_members(sim, node) > 2 ? all | KITH_LOST_RECORDS : all;
    default:
        return all;
    }
}

static const char *lost_text(uint32_t lost)
{
    return lost == KITH_LOST_ROWS            ? ": its rows"
           : lost == KITH_LOST_CHUNKS        ? ": its chunks"
           : (lost & KITH_LOST_RECORDS) != 0 ? ", and what it has promised"
                                             : "";
}

static void disk_fails(struct sim *sim, enum sim_kind kind)
{
    struct sim_node *node = NULL;
    uint32_t by_log = sim_below(sim, sim->sweeps ? 16 : 12); /* rows are reaped meanwhile */
    uint64_t by = sim_random(sim) % (UINT64_C(1) << by_log);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        node = sim->nodes[i].power_victim ? &sim->nodes[i] : node;
    }
    uint8_t key = KITH_META_CLUSTER;
    if (!node || !node->up || !world_may_lose_power(sim) || copies_few(sim) ||
        store_sim_get(&node->store, 'm', &key, 1).size == 0 ||
        (kind == KIND_GONE && /* once: each loss leaves a member that nobody is any more */
         (sim->gone || !sim->working || sim->newest->owner_slots < SIM_REPLICAS ||
          plans_members(sim, node->index) < SIM_REPLICAS))) {
        return;
    }
    world_crash(sim, node->index, true);
    if (store_sim_get(&node->store, 'm', &key, 1).size == 0) {
        return; /* that was not on the disk yet */
    }
    sim->disk_losses++;
    if (kind == KIND_OLD) {
        store_sim_old(&node->store, by);
        sim_trace(sim, "the disk of %u is as it was %llu transactions ago", node->index,
                  (unsigned long long)by);
    } else {
        uint32_t lost = what_is_lost(sim, node->index);
        judge_before_loss(sim);
        if (kind == KIND_GONE) {
            store_sim_lose(&node->store);
        } else {
            store_sim_set_aside(&node->store, lost);
            judge_after_loss(sim, node->index);
        }
        sim_trace(sim, "the disk of %u is lost%s", node->index,
                  kind == KIND_GONE ? " with all records" : lost_text(lost));
        sim->gone = sim->gone || kind == KIND_GONE;
    }
}

/* ---- Disks that fill up ---- */

static void space_changes(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->entity];
    node->space = sim->faults ? (enum disk_space)event->phase : DISK_WIDE;
    sim_trace(sim, "the disk of %u has room of kind %u", event->entity, event->phase);
}

static void disk_fills(struct sim *sim, uint32_t node)
{
    uint64_t at_us = sim->now_us;
    enum disk_space stages[] = {DISK_TIGHT, DISK_SMALL, DISK_FULL,
                                DISK_SMALL, DISK_TIGHT, DISK_WIDE};
    uint32_t first = sim_below(sim, 3); /* another program may take all at once */
    for (uint32_t i = first; i < sizeof stages / sizeof stages[0]; i++) {
        struct sim_event *event = sim_at(sim, at_us, space_changes);
        event->entity = node;
        event->phase = (uint8_t)stages[i];
        at_us += sim_below(sim, SPACE_MAX_US);
    }
}

/* ---- Which, and when ---- */

static void crash(struct sim *sim, uint32_t a)
{
    bool power = sim->nodes[a].power_victim && sim_chance(sim, 500);
    world_crash(sim, a, power && world_may_lose_power(sim));
}

static void all_crash(struct sim *sim, bool power)
{
    sim_trace(sim, "all %s", power ? "lose power" : "are killed");
    for (uint32_t i = 0; i < sim->node_count; i++) {
        world_crash(sim, i, power);
    }
    if (power) {
        oracle_shaken(&sim->oracle);
    }
}

void faults_dark(struct sim *sim)
{
    all_crash(sim, true);
}

static void mend(struct sim *sim, uint32_t a)
{
    for (uint32_t i = 0; i < SIM_ENTITIES; i++) {
        sim->cut[a][i] = sim->cut[i][a] = false;
    }
    sim_trace(sim, "mend %u", a);
}

static void special(struct sim *sim, uint32_t a, uint32_t b)
{
    uint32_t any = sim_below(sim, KIND_COUNT);
    for (uint32_t i = 0; i < KIND_COUNT && !faults_has(sim, (enum sim_kind)any); i++) {
        any = (any + 1) % KIND_COUNT;
    }
    enum sim_kind kind = (enum sim_kind)any;
    switch (kind) {
    case KIND_ONE_WAY:
        sim->cut[a][b] = true;
        sim_trace(sim, "cut from %u to %u", a, b);
        break;
    case KIND_HALVES:
        halves(sim);
        break;
    case KIND_FLAP:
        flap_begin(sim, a, b);
        break;
    case KIND_FREEZE:
        freeze_any(sim, a);
        break;
    case KIND_CLOCK:
        clock_jumps(sim, &sim->nodes[a]);
        break;
    case KIND_LOST:
    case KIND_GONE:
    case KIND_OLD:
        disk_fails(sim, kind);
        break;
    case KIND_FULL:
        disk_fills(sim, a);
        break;
    case KIND_LONELY:
        lonely(sim, a);
        break;
    case KIND_ALL:
    case KIND_DARK:
        if (sim_chance(sim, 300)) { /* once or twice is enough */
            all_crash(sim, kind == KIND_DARK);
        }
        break;
    case KIND_CRASH:
    case KIND_CUT:
    case KIND_CORRUPT:
    case KIND_COUNT:
        break;
    }
}

void faults_step(struct sim *sim)
{
    if (sim->mutant == MUTANT_JOINT_OWNERS) {
        return; /* moves come to an end, and are cut at it: plans.c */
    }
    uint32_t what = sim_below(sim, 14);
    uint32_t a = sim_below(sim, sim->node_count);
    uint32_t b = sim_below(sim, SIM_ENTITIES);
    if (sim->mutant == MUTANT_HINT_EPOCH) {
        special(sim, a, b);
    } else if (what < 2 && faults_has(sim, KIND_CRASH)) {
        crash(sim, a);
    } else if (what < 4) {
        sim->cut[a][b] = sim->cut[b][a] = true;
        sim_trace(sim, "cut %u %u", a, b);
    } else if (what < 8) {
        mend(sim, a);
    } else {
        special(sim, a, b);
    }
}

void faults_end(struct sim *sim)
{
    sim->faults = false;
    memset(sim->cut, 0, sizeof sim->cut);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->nodes[i].space = DISK_WIDE;
    }
    for (uint32_t i = 0; i < SIM_ENTITIES && !sim->failed; i++) {
        if (sim->frozen_until_us[i] > sim->now_us) {
            world_run(sim, sim->frozen_until_us[i]);
        }
    }
}
