/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client_mutants.c - deliberate faults of the client that cannot be done to its messages: the linker
 * puts what is here in the place of what it calls (--wrap, CMakeLists.txt). */
#include "data/quorum.h"
#include "sim.h"

static bool owners_alone; /* a simulator is one process for one cluster at a time */

void client_mutants_choose(const struct sim *sim)
{
    owners_alone = sim->mutant == MUTANT_JOINT_OWNERS;
}

/* The names are the linker's. */
void __real_kith_quorum_make(const struct kith_table *table, uint32_t partition,
                             enum kith_level level, const char *zone, bool write,
                             struct kith_quorum *ret_quorum);
void __wrap_kith_quorum_make(const struct kith_table *table, uint32_t partition,
                             enum kith_level level, const char *zone, bool write,
                             struct kith_quorum *ret_quorum);

void __wrap_kith_quorum_make(const struct kith_table *table, uint32_t partition,
                             enum kith_level level, const char *zone, bool write,
                             struct kith_quorum *ret_quorum)
{
    if (owners_alone && !write) {
        kith_quorum_make_owners(table, partition, level, zone, false, ret_quorum);
    } else {
        __real_kith_quorum_make(table, partition, level, zone, write, ret_quorum);
    }
}
