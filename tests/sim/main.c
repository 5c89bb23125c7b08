/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * main.c - a seed's scenario: form a cluster, work while things fail, heal, read everything, judge.
 *
 *     sim --seeds N [--first S] [--mutant M] [--trace] [--hash]
 *
 * Prints each failing seed with the command that replays it, and "N passed, M failed". --mutant M: a
 * deliberate fault is on; the exit status is 0 when some seed catches it. --hash: the trace hashes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define ROWS       (SIM_GROUPS * SIM_NAMES)
#define OPS_MAX    4096u
#define TIMEOUT_MS 3000u
#define SLACK_US   300000u /* between a deadline and the end that must come by then */

struct op_record {
    bool out;
    enum kith_client_kind kind;
    uint32_t rows[2], row_count;
    uint32_t writes[2];
    uint64_t deadline_us;
};

static struct op_record records[OPS_MAX];
static uint32_t record_count;

static void context_set(struct sim *sim, uint32_t client, uint32_t row, struct kith_bytes bytes)
{
    void *copy = kith_malloc(bytes.size + 1);
    KITH_ASSERT(copy);
    memcpy(copy, bytes.data ? bytes.data : (const uint8_t *)"", bytes.size);
    kith_free(sim->clients[client].context[row].data);
    sim->clients[client].context[row].data = copy;
    sim->clients[client].context[row].size = bytes.size;
}

static void put_done(struct sim *sim, uint32_t client, struct op_record *record,
                     const struct kith_client_result *result)
{
    for (uint32_t i = 0; i < record->row_count; i++) {
        struct oracle_write *write = &sim->oracle.writes[record->writes[i]];
        switch (result->err) {
        case KITH_OK:
            write->state = WRITE_OK;
            write->dot = result->u.put.results[i].dot;
            context_set(sim, client, record->rows[i], result->u.put.results[i].context);
            break;
        case KITH_EREFUSED:
        case KITH_ELIMIT:
        case KITH_ETOOBIG:
        case KITH_ENOSPC:
        case KITH_EUNREACH:
        case KITH_EINVAL:
            write->state = WRITE_REFUSED;
            break;
        default:
            write->state = WRITE_UNKNOWN;
            sim->ops_unknown += i == 0 ? 1 : 0;
        }
    }
}

static void get_done(struct sim *sim, uint32_t client, struct op_record *record,
                     const struct kith_client_result *result)
{
    for (uint32_t i = 0; i < result->u.rows.row_count && result->err == KITH_OK; i++) {
        struct kith_buf buf;
        struct kith_row row = result->u.rows.rows[i].row;
        kith_buf_init(&buf);
        if (sim_chance(sim, 800)) {
            row.sibling_count = 0; /* replaces all it has read; else it keeps them */
        }
        if (row.clock.count > 0) {
            kith_row_encode(&row, &buf);
        }
        context_set(sim, client, record->rows[i], kith_buf_bytes(&buf));
        kith_buf_release(&buf);
    }
}

void scenario_done(struct sim *sim, uint32_t client, uint64_t tag, enum kith_client_kind kind,
                   const struct kith_client_result *result)
{
    struct op_record *record = &records[tag];
    sim_trace(sim, "client %u: op %llu ends: %d %s", client, (unsigned long long)tag,
              (int)result->err, result->message ? result->message : "");
    if (!record->out) {
        sim_fail(sim, "invariant 8: op %llu ends twice", (unsigned long long)tag);
        return;
    }
    record->out = false;
    if (sim->now_us > record->deadline_us + SLACK_US) {
        sim_fail(sim, "invariant 8: op %llu ends %llu us late", (unsigned long long)tag,
                 (unsigned long long)(sim->now_us - record->deadline_us));
    }
    sim->clients[client].under_way--;
    sim->ops_done++;
    sim->ops_ok += result->err == KITH_OK ? 1 : 0;
    if (kind == KITH_CLIENT_PUT) {
        put_done(sim, client, record, result);
    } else {
        get_done(sim, client, record, result);
    }
}

static struct op_record *record_new(struct sim *sim, uint32_t client, enum kith_client_kind kind)
{
    KITH_ASSERT(record_count < OPS_MAX);
    struct op_record *record = &records[record_count];
    record_count++;
    memset(record, 0, sizeof *record);
    record->out = true;
    record->kind = kind;
    record->deadline_us = sim->now_us + TIMEOUT_MS * 1000u;
    sim->clients[client].under_way++;
    return record;
}

static void submit_get(struct sim *sim, uint32_t client, uint32_t row, enum kith_level level)
{
    struct op_record *record = record_new(sim, client, KITH_CLIENT_GET);
    struct kith_key key;
    sim_key(row, &key);
    record->rows[0] = row;
    record->row_count = 1;
    struct kith_client_op op = {
        .kind = KITH_CLIENT_GET, .timeout_ms = TIMEOUT_MS, .level = level};
    op.u.get.group = key.group;
    op.u.get.name_count = 1;
    op.u.get.names = &key.name;
    world_client_op(sim, client, &op, record_count - 1);
}

static void submit_put(struct sim *sim, uint32_t client, uint32_t row)
{
    struct op_record *record = record_new(sim, client, KITH_CLIENT_PUT);
    uint64_t tag = record_count - 1;
    struct kith_put_update updates[2];
    uint64_t numbers[2];
    memset(updates, 0, sizeof updates);
    record->row_count = sim_chance(sim, 200) ? 2 : 1;
    struct kith_key key;
    for (uint32_t i = 0; i < record->row_count; i++) {
        uint32_t each = row / SIM_NAMES * SIM_NAMES + (row + i) % SIM_NAMES;
        bool is_delete = sim_chance(sim, 200);
        bool blind = sim_chance(sim, 200);
        sim_key(each, &key);
        sim->write_number++;
        numbers[i] = sim->write_number;
        record->rows[i] = each;
        updates[i].name = key.name;
        if (!blind && sim->clients[client].context[each].data) {
            updates[i].context = kith_bytes_make(sim->clients[client].context[each].data,
                                                 sim->clients[client].context[each].size);
        }
        updates[i].has_sibling = !is_delete;
        updates[i].value = kith_bytes_make(&numbers[i], is_delete ? 0 : sizeof numbers[i]);
        (void)oracle_begin(sim, each, numbers[i], is_delete, updates[i].context);
        record->writes[i] = sim->oracle.count - 1;
    }
    sim_trace(sim, "client %u: op %llu puts %u rows from row %u, write %llu on", client,
              (unsigned long long)tag, record->row_count, record->rows[0],
              (unsigned long long)numbers[0]);
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = TIMEOUT_MS};
    op.u.put.group = key.group;
    op.u.put.durability = sim_chance(sim, 250) ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    op.u.put.update_count = record->row_count;
    op.u.put.updates = updates;
    world_client_op(sim, client, &op, tag);
}

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

static bool formed(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (!sim->nodes[i].ready || members_of(&sim->nodes[i]) != sim->node_count) {
            return false;
        }
    }
    return true;
}

static void phase_form(struct sim *sim)
{
    world_run(sim, sim->now_us + 50000);
    world_admin_init(sim);
    for (uint32_t i = 0; i < 600 && !sim->failed && !formed(sim); i++) {
        world_run(sim, sim->now_us + 100000);
    }
    if (!sim->failed && !formed(sim)) {
        sim_fail(sim, "no cluster of %u nodes within a minute", sim->node_count);
    }
    world_run(sim, sim->now_us + 2000000);
}

static void fault(struct sim *sim)
{
    uint32_t what = sim_below(sim, 10);
    uint32_t a = sim_below(sim, sim->node_count);
    uint32_t b = sim_below(sim, SIM_ENTITIES);
    if (what < 2) {
        bool power = sim->nodes[a].power_victim && sim_chance(sim, 500);
        world_crash(sim, a, power);
    } else if (what < 5) {
        sim->cut[a][b] = sim->cut[b][a] = true;
        sim_trace(sim, "cut %u %u", a, b);
    } else if (what < 9) {
        for (uint32_t i = 0; i < SIM_ENTITIES; i++) {
            sim->cut[a][i] = sim->cut[i][a] = false;
        }
        sim_trace(sim, "mend %u", a);
    }
}

static void phase_work(struct sim *sim)
{
    uint64_t end = sim->now_us + 12000000;
    uint64_t next_fault = sim->now_us + 500000;
    sim->faults = true;
    while (!sim->failed && sim->now_us < end && record_count < OPS_MAX / 2) {
        uint32_t step = 1000 + sim_below(sim, 40000);
        world_run(sim, sim->now_us + step);
        if (sim->now_us >= next_fault && !sim->failed) {
            fault(sim);
            uint32_t pause = sim_below(sim, 800000);
            next_fault = sim->now_us + pause;
        }
        uint32_t client = sim_below(sim, sim->client_count - 1);
        uint32_t row = sim_below(sim, ROWS);
        if (sim->failed || sim->clients[client].under_way >= 8) {
            continue;
        }
        if (sim_chance(sim, 650)) {
            submit_put(sim, client, row);
        } else {
            submit_get(sim, client, row, KITH_LEVEL_QUORUM);
        }
    }
}

static bool identical(struct sim *sim)
{
    for (uint32_t r = 0; r < ROWS; r++) {
        struct kith_key key;
        struct kith_bytes first = {NULL, 0};
        bool have = false;
        sim_key(r, &key);
        for (uint32_t n = 0; n < sim->node_count; n++) {
            struct kith_table *table = NULL;
            uint8_t meta = KITH_META_TABLE;
            struct kith_bytes bytes = store_sim_get(&sim->nodes[n].store, 'm', &meta, 1);
            if (kith_table_decode(bytes, &table) != KITH_OK) {
                sim_fail(sim, "node %u has no table", n);
                return false;
            }
            uint8_t node_key = KITH_META_NODE;
            struct kith_uuid uuid;
            memcpy(uuid.bytes, store_sim_get(&sim->nodes[n].store, 'm', &node_key, 1).data, 16);
            uint16_t member = kith_table_find(table, &uuid);
            bool owner = kith_table_owns(
                table, kith_group_partition(&key.group, table->partitions), member);
            kith_table_drop(table);
            struct kith_bytes state = store_sim_state(&sim->nodes[n].store, &key, sim->secret);
            if (owner && have && !kith_bytes_equal(first, state)) {
                return false;
            }
            if (owner) {
                first = state;
                have = true;
            }
        }
    }
    return true;
}

static void phase_heal(struct sim *sim)
{
    world_heal(sim);
    world_run(sim, sim->now_us + 12000000);
    for (uint32_t i = 0; i < record_count && !sim->failed; i++) {
        if (records[i].out) {
            sim_fail(sim, "invariant 8: op %u never ends", i);
        }
    }
    for (uint32_t round = 0; round < 20 && !sim->failed && !(round > 0 && identical(sim)); round++) {
        for (uint32_t row = 0; row < ROWS && !sim->failed; row++) {
            submit_get(sim, sim->client_count - 1, row, KITH_LEVEL_ALL);
        }
        world_run(sim, sim->now_us + 4000000);
    }
    if (!sim->failed && !identical(sim)) {
        sim_fail(sim, "invariant 2: replicas differ after healing and reading everything");
    }
}

static bool run_seed(uint64_t seed, enum sim_mutant mutant, bool verbose, uint64_t *ret_trace)
{
    struct sim *sim = kith_calloc(1, sizeof *sim);
    KITH_ASSERT(sim);
    sim->seed = seed;
    sim->random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim->trace = UINT64_C(0xcbf29ce484222325);
    sim->mutant = mutant;
    sim->verbose = verbose;
    record_count = 0;
    static const uint32_t sizes[] = {3, 3, 3, 4, 5, 2, 1};
    sim->node_count = sizes[sim_below(sim, 7)];
    sim->client_count = 2 + sim_below(sim, SIM_CLIENTS_MAX - 1);
    world_init(sim);
    if (sim->node_count >= 2) { /* W - 1 power losses are survived, more are not */
        uint32_t victim = sim_below(sim, sim->node_count);
        sim->nodes[victim].power_victim = true;
    }
    phase_form(sim);
    if (!sim->failed) {
        phase_work(sim);
    }
    if (!sim->failed) {
        phase_heal(sim);
    }
    if (!sim->failed) {
        oracle_check(sim);
    }
    bool failed = sim->failed;
    if (failed && mutant == MUTANT_NONE) {
        printf("seed %llu FAILED after %.3f s: %s\n    replay: tests/sim/run --seeds 1 --first %llu "
               "--trace\n",
               (unsigned long long)seed, (double)sim->now_us / 1e6, sim->reason,
               (unsigned long long)seed);
    } else if (failed && verbose) {
        printf("caught by seed %llu: %s\n", (unsigned long long)seed, sim->reason);
    }
    if (verbose) {
        printf("%u nodes, %llu ops, %llu ok, %llu unknown, %llu crashes\n", sim->node_count,
               (unsigned long long)sim->ops_done, (unsigned long long)sim->ops_ok,
               (unsigned long long)sim->ops_unknown, (unsigned long long)sim->crashes);
    }
    *ret_trace = sim->trace;
    world_release(sim);
    kith_free(sim);
    return !failed;
}

int main(int argc, char **argv)
{
    uint64_t seeds = 1, first = 1;
    unsigned mutant = MUTANT_NONE;
    bool verbose = false, hash = false;
    for (int i = 1; i < argc; i++) {
        bool value = i + 1 < argc;
        if (strcmp(argv[i], "--trace") == 0) {
            verbose = true;
        } else if (strcmp(argv[i], "--hash") == 0) {
            hash = true;
        } else if (strcmp(argv[i], "--seeds") == 0 && value) {
            seeds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--first") == 0 && value) {
            first = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--mutant") == 0 && value) {
            mutant = (unsigned)strtoul(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: sim --seeds N [--first S] [--mutant M] [--trace] [--hash]\n");
            return 2;
        }
    }
    if (mutant >= MUTANT_COUNT) {
        fprintf(stderr, "sim: there are mutants 0 to %u\n", (unsigned)MUTANT_COUNT - 1);
        return 2;
    }
    uint64_t passed = 0, failed = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        uint64_t trace = 0;
        bool good = run_seed(seed, (enum sim_mutant)mutant, verbose, &trace);
        passed += good ? 1 : 0;
        failed += good ? 0 : 1;
        if (hash) {
            printf("seed %llu trace %016llx\n", (unsigned long long)seed, (unsigned long long)trace);
        }
        if (!good && mutant != MUTANT_NONE) {
            printf("mutant %u caught by seed %llu\n", mutant, (unsigned long long)seed);
            return 0;
        }
    }
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
    return (mutant != MUTANT_NONE) != (failed > 0) ? 1 : 0;
}
