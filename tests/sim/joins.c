/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * joins.c - a join that is broken off, at every moment of it, and writes that follow at once.
 *
 * A cluster of 1 to 3 members without data; one more node joins; at some moment of that a member is
 * killed or loses power, and what asks some members to accept the new table may be lost as well.
 * Writes begin in that moment. The member comes back soon, or only when the others have had the
 * time to settle it and to take writes. Whatever becomes of the join, data must never move
 * (store_sim.c looks at each table), and a write that the members there are can take is taken
 * within its deadline.
 *
 * A case is a number: all members, moments, losses and returns in turn, JOINS_CASES of them. The
 * last VOTES_CASES are about votes: the member through which the join goes is cut off at that
 * moment, and may know of a decision that nobody else does; one of the other two is killed, comes
 * back, and the two settle it. */
#include "sim.h"

#define MOMENTS        60u
#define MOMENT_US      200u     /* a join takes 8 to 10 ms of simulated time */
#define LOST_FOR_US    1200000u /* a little longer than a proposer waits for a majority; or */
#define LOST_LONG_US   4000000u /* longer than a write waits */
#define AWAY_US        8000000u /* longer than the rest needs to settle it */
#define WRITES         12u
#define WRITE_EVERY_US 40000u
#define WRITE_LASTS_US 3500000u /* a write's deadline, and some */

#define VOTES_CASES (MOMENTS * 2 * 2 * 3)

struct joins {
    uint32_t members, victim, moment;
    uint32_t lost; /* 0: nothing, 1: no other member is asked to accept, 2: one is, for long */
    bool away, power;
};

static struct joins joins_of(uint32_t number)
{
    struct joins joins;
    joins.moment = number % MOMENTS;
    number /= MOMENTS;
    joins.away = number % 2 != 0;
    number /= 2;
    joins.power = number % 2 != 0;
    number /= 2;
    uint32_t pair = number % 4; /* victims: 0 of 1; 0 of 2; 0 of 3; the last of 3 */
    joins.members = pair == 3 ? 3 : pair + 1;
    joins.victim = pair == 3 ? 2 : 0;
    joins.lost = number / 4 % 3;
    return joins;
}

bool joins_deliver(const struct sim *sim, uint32_t entity, struct kith_msg *msg)
{
    if (msg->kind != KITH_MSG_DECIDE) {
        return true;
    }
    struct kith_decide *decide = &msg->u.decide;
    bool answer = decide->phase == KITH_DECIDE_OPINION || decide->phase == KITH_DECIDE_PROMISE;
    if (sim->mutant == MUTANT_OVERHEAR && answer && decide->status.err == KITH_EREFUSED) {
        decide->status.err = KITH_OK;
    }
    bool lost = sim->now_us < sim->lost_until_us && (sim->lost_accepts >> entity & 1) != 0;
    return decide->phase != KITH_DECIDE_ACCEPT || !lost;
}

void joins_forget(struct kith_bytes record, struct kith_buf *buf)
{
    struct kith_acceptor acceptor;
    enum kith_err err = kith_acceptor_decode(&acceptor, record);
    KITH_ASSERT(err == KITH_OK);
    acceptor.holds = false;
    kith_acceptor_encode(&acceptor, buf);
    kith_acceptor_release(&acceptor);
}

/* All but the last node have made a cluster. */
static void joins_form(struct sim *sim)
{
    world_run(sim, sim->now_us + 50000);
    world_admin_init(sim);
    for (uint32_t i = 0; i < 300 && !sim->failed && !sim_formed(sim, true); i++) {
        world_run(sim, sim->now_us + 100000);
    }
    if (!sim->failed && !sim_formed(sim, true)) {
        sim_fail(sim, "no cluster of %u nodes within half a minute", sim->node_count - 1);
    }
    world_run(sim, sim->now_us + 2000000);
}

/* Writes of all clients but the last, for a while; the first is the one that is judged. */
static void joins_write(struct sim *sim, const struct joins *joins)
{
    uint32_t first = 0;
    for (uint32_t i = 0; i < WRITES && !sim->failed; i++) {
        uint32_t write = scenario_put(sim, i % (sim->client_count - 1), i % SIM_ROWS);
        first = i == 0 ? write : first;
        world_run(sim, sim->now_us + WRITE_EVERY_US);
    }
    world_run(sim, sim->now_us + WRITE_LASTS_US);
    bool possible = joins->members == 3 && joins->lost != 2 && sim->newest->member_count == 3;
    if (!sim->failed && possible && sim->oracle.writes[first].state != WRITE_OK) {
        sim_fail(sim, "two of three members are up, and a write is not taken by its deadline");
    }
}

static void joins_begin(struct sim *sim, uint32_t members)
{
    sim->node_count = members + 1;
    sim->late = members;
    sim->client_count = 3;
    sim->strict = 7; /* else fewer than two of three would do */
    world_init(sim);
    joins_form(sim);
}

static void votes_case(struct sim *sim, uint32_t number)
{
    uint32_t moment = number % MOMENTS;
    uint32_t victim = 1 + number / MOMENTS % 2;
    bool power = number / MOMENTS / 2 % 2 != 0;
    uint32_t unasked = number / MOMENTS / 4; /* 0: nobody */
    struct joins joins = {.members = 3, .lost = 2};
    joins_begin(sim, joins.members);
    if (sim->failed) {
        return;
    }
    sim->lost_accepts = unasked > 0 ? 1u << unasked : 0;
    sim->lost_until_us = sim->now_us + moment * MOMENT_US;
    world_start(sim, sim->late);
    world_run(sim, sim->now_us + moment * MOMENT_US);
    faults_cut_off(sim, 0);
    world_crash(sim, victim, power);
    world_run(sim, sim->now_us + AWAY_US);
    joins_write(sim, &joins);
}

void joins_case(struct sim *sim, uint32_t number)
{
    if (number >= JOINS_CASES - VOTES_CASES) {
        votes_case(sim, number - (JOINS_CASES - VOTES_CASES));
        return;
    }
    struct joins joins = joins_of(number);
    uint32_t others =
        ((1u << joins.members) - 1) & ~1u; /* the first proposes: all join through it */
    joins_begin(sim, joins.members);
    if (sim->failed) {
        return;
    }
    sim->lost_accepts = joins.lost == 1 ? others : joins.lost == 2 ? others & ~4u : 0;
    sim->lost_until_us = sim->now_us + (joins.lost == 1 ? LOST_FOR_US : LOST_LONG_US);
    world_start(sim, sim->late);
    world_run(sim, sim->now_us + joins.moment * MOMENT_US);
    sim->nodes[joins.victim].held = joins.away;
    world_crash(sim, joins.victim, joins.power);
    joins_write(sim, &joins);
    if (joins.away && !sim->failed) {
        world_run(sim, sim->now_us + AWAY_US);
        sim->nodes[joins.victim].held = false;
        joins_write(sim, &joins);
        if (!sim->failed) {
            world_start(sim, joins.victim);
        }
    }
}
