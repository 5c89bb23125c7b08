/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * main.c - a seed's scenario: form a cluster, work while things fail, heal, read everything, judge.
 *
 *     sim [--joins|--sweeps] --seeds N [--first S] [--jobs J] [--mutant NAME] [--trace] [--hash]
 *
 * Prints each failing seed with the command that replays it, and "N passed, M failed". --mutant: a
 * deliberate fault of mutants.def is on; the exit status is 0 when some seed catches it; kinds of
 * seeds and the first one are those of its line, if nothing else is said. --hash: the trace hashes.
 * --joins: a seed is a case of joins.c; --sweeps: a cluster as in sweeps.c. --jobs: as many processes share the seeds. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

#define FORM_FAULTS_US 4000000u
#define SETTLE_STEPS 2400u /* of 0.1 s */
/* An exchange whose question was lost waits for 10 s; the next one may be asked 3 s later. */
#define SETTLE_AWAY     150u
#define MOVED_US       20000000u /* longer than a client that learns of a table concludes no loss */
#define FORM_WAIT_US   60000000u
/* Each pair of owners compares within an hour; a merge that meets a twin (rowop.h) is a write, which
 * goes the same way, from one to the next. */
#define HEAL_UNREAD_US (3 * UINT64_C(3600000000))

#define JOBS_MAX 64u

struct options {
    uint64_t seeds, first;
    uint32_t jobs;
    enum sim_mutant mutant;
    bool verbose, hash, joins, sweeps;
};

enum mutant_seeds { RANDOM, JOINS, SWEEPS };
static const struct {
    const char *name;
    enum mutant_seeds seeds;
    uint64_t first;
    const char *text;
} mutants[MUTANT_COUNT] = {
    {"NONE", RANDOM, 1, "nothing is wrong"},
#define SIM_MUTANT(name, seeds, first, text) {#name, seeds, first, text},
#include "mutants.def"
#undef SIM_MUTANT
};

struct shared { /* by all processes */
    _Atomic uint64_t next; /* seed */
    _Atomic uint64_t passed, failed;
    _Atomic bool caught;
    _Atomic uint64_t at[JOBS_MAX]; /* the seed that each works on */
};

/* ---- phases ---- */

static uint32_t members_of(const struct sim_node *node)
{
    uint8_t key = KITH_META_TABLE;
    struct kith_table *table = NULL;
    struct kith_bytes bytes = store_sim_get(&node->store, 'm', &key, 1);
    if (bytes.size == 0 || kith_table_decode(bytes, &table) != KITH_OK) {
        return 0;
    }
    uint32_t count = table->member_count;
    kith_table_drop(table);
    return count;
}

bool sim_formed(const struct sim *sim, bool all)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim->node_count && sim->newest; i++) {
        bool member = sim->nodes[i].up && sim->nodes[i].ready && plans_counts(sim, i) &&
                      members_of(&sim->nodes[i]) == sim->newest->member_count;
        count += member ? 1 : 0;
    }
    uint32_t late = sim->late < sim->node_count ? 1 : 0;
    uint32_t gone = sim->gone ? plans_absent(sim) : 0;
    return sim->newest && count + gone >= sim->newest->member_count &&
           (!all || count >= sim->node_count - late);
}

bool sim_owns(const struct sim *sim, uint32_t node, uint32_t partition)
{
    struct kith_table *table = NULL;
    uint8_t meta = KITH_META_TABLE, self = KITH_META_NODE;
    struct kith_bytes bytes = store_sim_get(&sim->nodes[node].store, 'm', &meta, 1);
    struct kith_bytes identity = store_sim_get(&sim->nodes[node].store, 'm', &self, 1);
    if (bytes.size == 0 || kith_table_decode(bytes, &table) != KITH_OK) {
        return false;
    }
    struct kith_uuid uuid;
    memcpy(uuid.bytes, identity.data, sizeof uuid.bytes);
    bool owner = kith_table_owns(table, partition, kith_table_find(table, &uuid));
    kith_table_drop(table);
    return owner;
}

/* Requests and faults for so long; `late`, a node starts at some time. */
static void work(struct sim *sim, uint64_t for_us, bool requests, uint64_t late_us)
{
    uint64_t end = sim->now_us + for_us;
    uint64_t next_fault = sim->now_us + 500000;
    uint64_t late = sim->now_us + late_us;
    sim->faults = true;
    while (!sim->failed && sim->now_us < end && !scenario_full()) {
        uint32_t step = 1000 + sim_below(sim, 40000);
        world_run(sim, sim->now_us + step);
        if (sim->late < sim->node_count && sim->now_us >= late && !sim->failed &&
            sim->nodes[sim->late].start == 0) {
            world_start(sim, sim->late);
        }
        if (sim->now_us >= next_fault && !sim->failed) {
            faults_step(sim);
            plans_step(sim);
            uint32_t pause = sim_below(sim, 800000);
            next_fault = sim->now_us + pause;
        }
        watches_check(sim);
        if (!sim->failed && requests) {
            scenario_step(sim);
        }
    }
}

/* Joins: in peace, while messages are lost and nodes crash, or also while clients write already. A
 * join that comes after the first write is refused, and the cluster stays as small as it is. */
static void phase_form(struct sim *sim)
{
    uint32_t how = sim_below(sim, 10);
    world_run(sim, sim->now_us + 50000);
    world_admin_init(sim);
    if (how >= 5) {
        for (uint32_t i = 0; i < 100 && !sim->failed && !sim->nodes[0].ready; i++) {
            world_run(sim, sim->now_us + 1000);
        }
        uint32_t quiet = sim_below(sim, 600000);
        if (how >= 8) { /* joins begin in peace: else the first write comes before them all */
            world_run(sim, sim->now_us + quiet);
        }
        work(sim, FORM_FAULTS_US, how >= 8, UINT32_MAX);
        world_heal(sim);
    }
    for (uint64_t end = sim->now_us + FORM_WAIT_US;
         !sim->failed && !sim_formed(sim, how < 8) && sim->now_us < end;) {
        world_run(sim, sim->now_us + 100000);
    }
    if (!sim->failed && !sim_formed(sim, how < 8)) {
        sim_fail(sim, "no cluster of %u nodes within a minute", sim->node_count);
    }
    if (!sim->failed) {
        world_run(sim, sim->now_us + 2000000);
    }
}

static void phase_work(struct sim *sim)
{
    sim->working = true;
    watches_begin(sim);
    uint32_t late = sim_below(sim, 2) == 0 ? sim_below(sim, 300000) : sim_below(sim, 6000000);
    work(sim, 12000000, true, late);
}

/* Every chunk is at all its owners, or at none. */
static bool chunks_identical(struct sim *sim)
{
    for (uint32_t c = 0; c < sim->oracle.chunk_count; c++) {
        const struct kith_chunk_id *id = &sim->oracle.chunks[c].id;
        uint32_t owners = 0, holders = 0;
        for (uint32_t n = 0; n < sim->node_count; n++) {
            bool owner = sim_owns(sim, n, kith_chunk_partition(id, SIM_PARTITIONS));
            bool holds =
                store_sim_get(&sim->nodes[n].store, 'c', id->bytes, sizeof id->bytes).size > 0;
            owners += owner ? 1 : 0;
            holders += owner && holds ? 1 : 0;
        }
        if (holders > 0 && holders < owners) {
            return false;
        }
    }
    return true;
}

/* What differs between owners of a row, or is owed to them; "" when nothing does. */
static const char *difference(struct sim *sim)
{
    static char text[80];
    for (uint32_t n = 0; n < sim->node_count; n++) {
        if (store_hints_owed(&sim->nodes[n].store)) {
            (void)snprintf(text, sizeof text, "node %u owes what it was counted for", n);
            return text;
        }
    }
    for (uint32_t r = 0; r < SIM_ROWS; r++) {
        struct kith_key key;
        struct kith_bytes first = {NULL, 0};
        bool have = false;
        sim_key(r, &key);
        for (uint32_t n = 0; n < sim->node_count; n++) {
            bool owner = sim_owns(sim, n, kith_group_partition(&key.group, SIM_PARTITIONS));
            struct kith_bytes state = store_sim_state(&sim->nodes[n].store, &key, sim->secret);
            if (owner && have && !kith_bytes_equal(first, state)) {
                (void)snprintf(text, sizeof text, "row %u at node %u", r, n);
                return text;
            }
            if (owner) {
                first = state;
                have = true;
            }
        }
    }
    return "";
}

static bool identical(struct sim *sim)
{
    return difference(sim)[0] == '\0';
}

/* What the nodes do among themselves is enough, if nobody reads. */
static void heal_unread(struct sim *sim)
{
    uint64_t end = sim->now_us + HEAL_UNREAD_US;
    while (!sim->failed && !(identical(sim) && chunks_identical(sim)) && sim->now_us < end) {
        world_run(sim, sim->now_us + 10000000);
    }
    if (!sim->failed && !identical(sim)) {
        sim_fail(sim, "invariant 2: replicas differ three hours after healing, where nobody reads: %s",
                 difference(sim));
    } else if (!sim->failed && !chunks_identical(sim)) {
        sim_fail(sim, "invariant 2: a chunk is not at all its owners three hours after healing");
    }
}

/* The members come together, a move that is under way ends, and who is gone for good is replaced, if
 * an administrator is there. */
static void settle(struct sim *sim, uint32_t least)
{
    for (uint32_t i = 0; i < SETTLE_STEPS && !sim->failed; i++) {
        bool formed = i >= least && sim_formed(sim, false) && !plans_moving(sim);
        if (formed && !plans_owes(sim)) {
            sim->gone = sim->gone && plans_absent(sim) > 0;
            return;
        }
        if (i % 50 == 49) {
            plans_mend(sim, i > SETTLE_STEPS / 2);
        }
        world_run(sim, sim->now_us + 100000);
    }
    if (!sim->failed && !sim_formed(sim, false)) {
        sim_fail(sim, "the members do not come together again");
    } else if (!sim->failed) {
        sim_fail(sim, "a move does not end though all is well, or leaves something behind");
    }
}

void sim_heal(struct sim *sim)
{
    world_heal(sim);
    world_run(sim, sim->now_us + 4000000);
    watches_check(sim);
    watches_end(sim);
    world_run(sim, sim->now_us + 8000000);
    scenario_all_ended(sim);
    settle(sim, 0); /* a joiner whose answer was lost waits for 20 s */
    scenario_write_all(sim, false);
    world_run(sim, sim->now_us + 4000000);
    if (sim_below(sim, 4) == 0 || sim->gone) { /* reads of a quorum may leave out one of three */
        heal_unread(sim);
    }
    for (uint32_t round = 0; round < 20 && !sim->failed && !(round > 0 && identical(sim));
         round++) {
        scenario_read_all(sim, sim->gone ? KITH_LEVEL_QUORUM : KITH_LEVEL_ALL, false);
        scenario_read_chunks(sim);
        world_run(sim, sim->now_us + 4000000);
    }
    scenario_all_ended(sim);
    if (!sim->failed && !identical(sim)) {
        sim_fail(sim, "invariant 2: replicas differ after healing and reading everything: %s",
                 difference(sim));
    }
}

/* Some of the members, down or only silent; who is left does all that he is asked. */
static void go_away(struct sim *sim, uint32_t count)
{
    uint32_t first = sim_below(sim, sim->node_count);
    bool silent = sim_chance(sim, 500);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t away = (first + i) % sim->node_count;
        sim_trace(sim, "%u is away, %s", away, silent ? "silent" : "down");
        sim->nodes[away].away = true;
        sim->nodes[away].held = !silent;
        if (silent) {
            faults_cut_off(sim, away);
        } else {
            world_crash(sim, away, false);
        }
    }
}

/* With one member away nothing is amiss. With more, even with all but one, writes are taken all the
 * same, and read where one owner is there: of strict clients nothing is expected then. */
static void phase_away(struct sim *sim)
{
    bool many = sim_chance(sim, 500);
    bool dark = sim_chance(sim, 300);
    uint32_t since_us = sim_below(sim, 3000000);
    world_heal(sim);
    settle(sim, SETTLE_AWAY);
    if (sim->failed || sim->gone || sim->newest->member_count < SIM_REPLICAS ||
        sim->newest->member_count < sim->node_count) {
        return;
    }
    uint32_t count = many ? 1 + sim_below(sim, sim->node_count - 1) : 1;
    if (sim->newest_us + MOVED_US > sim->now_us) {
        world_run(sim, sim->newest_us + MOVED_US); /* till then what is nowhere may be on its way */
    }
    go_away(sim, count);
    world_run(sim, sim->now_us + since_us);
    scenario_write_all(sim, count > 1);
    world_run(sim, sim->now_us + 4000000);
    scenario_read_all(sim, KITH_LEVEL_QUORUM, count > 1);
    if (sim->power_losses == 0 && count == 1) { /* else one copy may be all there is */
        scenario_read_chunks(sim);
    }
    world_run(sim, sim->now_us + 4000000);
    scenario_all_ended(sim);
    judge_copies(sim);
    if (dark) {
        faults_dark(sim);
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->nodes[i].held = sim->nodes[i].away = false;
    }
}

static void run_random(struct sim *sim)
{
    static const uint32_t sizes[] = {3, 3, 3, 4, 5, 2, 1, 7};
    sim->node_count = sizes[sim_below(sim, 8)];
    sim->strict = sim_chance(sim, 300) ? 1u << sim_below(sim, SIM_CLIENTS_MAX) : 0;
    sim->storm = sim_chance(sim, 200);
    sim->few_open = sim_chance(sim, 250);
    bool late = sim_chance(sim, 300) && sim->node_count > 1;
    sim->few = late && sim->node_count == SIM_NODES_MAX;
    sim->late = late ? sim->node_count - 1 : SIM_NODES_MAX;
    sim->client_count = 2 + sim_below(sim, SIM_CLIENTS_MAX - 1);
    zones_choose(sim);
    plans_init(sim);
    world_init(sim);
    if (sim->node_count >= 2) { /* W - 1 power losses are survived, more are not */
        uint32_t victim = sim_below(sim, sim->node_count);
        sim->nodes[victim].power_victim = true;
    }
    uint32_t full = sim_below(sim, 8);
    uint32_t first = sim_below(sim, sim->node_count);
    for (uint32_t i = 0; i < full && full <= 3; i++) { /* three seeds in eight have such nodes */
        sim->nodes[(first + i) % sim->node_count].full = i < 2;
    }
    faults_choose(sim);
    phase_form(sim);
    if (!sim->failed) {
        phase_work(sim);
    }
    judge_copies(sim);
    if (!sim->failed && sim_chance(sim, 250)) {
        phase_away(sim);
    }
    if (!sim->failed) {
        zones_phase(sim);
    }
    judge_copies(sim);
}

static void run_sweeps(struct sim *sim)
{
    static const uint32_t sizes[] = {3, 3, 4, 5, 2, 1, 7, 4};
    sim->sweeps = true;
    sim->node_count = sizes[sim_below(sim, 8)];
    sim->few_open = sim_chance(sim, 250);
    bool late = sim_chance(sim, 400) && sim->node_count > 1;
    sim->late = late ? sim->node_count - 1 : SIM_NODES_MAX;
    sim->client_count = 2 + sim_below(sim, SIM_CLIENTS_MAX - 1);
    world_init(sim);
    if (sim->node_count >= 2) {
        uint32_t victim = sim_below(sim, sim->node_count);
        sim->nodes[victim].power_victim = true;
    }
    faults_choose(sim);
    sim->kinds &= ~(1u << KIND_GONE); /* nothing is swept any more where a member is away for good */
    phase_form(sim);
    if (!sim->failed) {
        watches_begin(sim);
        sweeps_work(sim);
    }
    judge_copies(sim);
}

/* ---- seeds ---- */

static void print_end(const struct sim *sim, const struct options *options)
{
    if (sim->failed && options->mutant == MUTANT_NONE) {
        printf(
            "seed %llu FAILED after %.3f s: %s\n    replay: tests/sim/run %s--seeds 1 --first %llu "
            "--trace\n",
            (unsigned long long)sim->seed, (double)sim->now_us / 1e6, sim->reason,
            options->joins ? "--joins " : options->sweeps ? "--sweeps " : "", (unsigned long long)sim->seed);
    } else if (sim->failed && options->verbose) {
        printf("caught by seed %llu: %s\n", (unsigned long long)sim->seed, sim->reason);
    }
    if (options->verbose) {
        printf("%u nodes, %llu ops, %llu ok, %llu unknown, %llu degraded, %llu told of a loss, "
               "%llu crashes, %llu beliefs judged, %llu by reads before their watch was live, %llu writes by fewer than W owners, %llu of them "
               "thin, %llu rows reaped\n",
               sim->node_count, (unsigned long long)sim->ops_done, (unsigned long long)sim->ops_ok,
               (unsigned long long)sim->ops_unknown, (unsigned long long)sim->degraded,
               (unsigned long long)sim->lost_reads, (unsigned long long)sim->crashes,
               (unsigned long long)sim->believed, (unsigned long long)sim->believed_since,
               (unsigned long long)sim->custody_acks,
               (unsigned long long)sim->thin_acks, (unsigned long long)sim->reaped);
    }
    if (options->hash) {
        printf("seed %llu trace %016llx\n", (unsigned long long)sim->seed,
               (unsigned long long)sim->trace);
    }
}

static bool run_seed(uint64_t seed, const struct options *options)
{
    struct sim *sim = kith_calloc(1, sizeof *sim);
    KITH_ASSERT(sim);
    sim->seed = seed;
    sim->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->trace = UINT64_C(0xcbf29ce484222325);
    sim->mutant = options->mutant;
    sim->verbose = options->verbose;
    sim->tracing = options->verbose || options->hash;
    scenario_begin();
    client_mutants_choose(sim);
    if (options->joins) {
        joins_case(sim, (uint32_t)(seed % JOINS_CASES));
    } else if (options->sweeps) {
        run_sweeps(sim);
    } else {
        run_random(sim);
    }
    if (!sim->failed) {
        sim_heal(sim);
    }
    if (!sim->failed && sim->sweeps) {
        sweeps_settle(sim);
    }
    if (!sim->failed && sim->sweeps && sweeps_old_disk(sim)) {
        heal_unread(sim);
        sweeps_settle(sim);
    }
    if (!sim->failed) {
        oracle_check(sim);
    }
    bool failed = sim->failed;
    print_end(sim, options);
    scenario_end();
    world_release(sim);
    kith_free(sim);
    return !failed;
}

static void run_seeds(const struct options *options, struct shared *shared, uint32_t job)
{
    for (;;) {
        uint64_t seed = atomic_fetch_add(&shared->next, 1);
        if (seed >= options->first + options->seeds || atomic_load(&shared->caught)) {
            return;
        }
        atomic_store(&shared->at[job], seed);
        bool good = run_seed(seed, options);
        atomic_fetch_add(good ? &shared->passed : &shared->failed, 1);
        if (!good && options->mutant != MUTANT_NONE && !atomic_exchange(&shared->caught, true)) {
            printf("mutant %s caught by seed %llu\n", mutants[options->mutant].name,
                   (unsigned long long)seed);
        }
        (void)fflush(stdout);
    }
}

/* False where a process came to an end that was not meant; its seed is named. */
static bool run_jobs(const struct options *options, struct shared *shared)
{
    pid_t pids[JOBS_MAX];
    bool good = true;
    for (uint32_t job = 0; job < options->jobs; job++) {
        pids[job] = fork();
        if (pids[job] == 0) {
            run_seeds(options, shared, job);
            _exit(0);
        }
        KITH_ASSERT(pids[job] > 0);
    }
    for (uint32_t job = 0; job < options->jobs; job++) {
        int status = 0;
        while (waitpid(pids[job], &status, 0) < 0 && errno == EINTR) {
        }
        if (status != 0) {
            printf("seed %llu ended the simulator (status %d)\n",
                   (unsigned long long)atomic_load(&shared->at[job]), status);
            good = false;
        }
    }
    return good;
}

/* ---- options ---- */

static bool mutant_read(const char *name, struct options *options)
{
    for (uint32_t i = 0; i < MUTANT_COUNT; i++) {
        if (strcmp(name, mutants[i].name) == 0) {
            options->mutant = (enum sim_mutant)i;
            options->joins = options->joins || mutants[i].seeds == JOINS;
            options->sweeps = options->sweeps || mutants[i].seeds == SWEEPS;
            options->first = options->first > 0 ? options->first : mutants[i].first;
            return true;
        }
    }
    fprintf(stderr, "sim: there is no mutant %s; there are\n", name);
    for (uint32_t i = 0; i < MUTANT_COUNT; i++) {
        fprintf(stderr, "    %-16s %s\n", mutants[i].name, mutants[i].text);
    }
    return false;
}

static bool options_read(struct options *options, int argc, char **argv)
{
    const char *mutant = mutants[MUTANT_NONE].name;
    unsigned long jobs = 1;
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--trace") == 0) {
            options->verbose = true;
        } else if (strcmp(argv[i], "--hash") == 0) {
            options->hash = true;
        } else if (strcmp(argv[i], "--joins") == 0) {
            options->joins = true;
        } else if (strcmp(argv[i], "--sweeps") == 0) {
            options->sweeps = true;
        } else if (strcmp(argv[i], "--seeds") == 0 && value) {
            options->seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--first") == 0 && value) {
            options->first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--jobs") == 0 && value) {
            jobs = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--mutant") == 0 && value) {
            mutant = argv[++i];
        } else {
            fprintf(stderr, "usage: sim [--joins|--sweeps] --seeds N [--first S] [--jobs J] "
                            "[--mutant NAME] [--trace] [--hash]\n");
            return false;
        }
    }
    if (jobs == 0 || jobs > JOBS_MAX) {
        fprintf(stderr, "sim: there are 1 to %u jobs\n", JOBS_MAX);
        return false;
    }
    options->jobs = (uint32_t)jobs;
    return mutant_read(mutant, options);
}

int main(int argc, char **argv)
{
    struct options options = {.seeds = 1}; /* first 0: none was named */
    if (!options_read(&options, argc, argv)) {
        return 2;
    }
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    KITH_ASSERT(shared != MAP_FAILED);
    atomic_init(&shared->next, options.first);
    bool good = true;
    if (options.jobs == 1) {
        run_seeds(&options, shared, 0);
    } else {
        good = run_jobs(&options, shared);
    }
    if (options.mutant != MUTANT_NONE && atomic_load(&shared->caught)) {
        return good ? 0 : 1;
    }
    uint64_t failed = atomic_load(&shared->failed);
    printf("%llu passed, %llu failed\n", (unsigned long long)atomic_load(&shared->passed),
           (unsigned long long)failed);
    return !good || options.mutant != MUTANT_NONE || failed > 0 ? 1 : 0;
}
