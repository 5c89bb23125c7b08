/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sim.h - a cluster in one process: cores of nodes and clients on a simulated network, clock and disk.
 *
 *     world.c      time, events, network, nodes and clients, faults
 *     store_sim.c  a node's disk: what is in memory, at the operating system, on the disk
 *     oracle.c     what was written and acknowledged, and what must hold (DESIGN section 9)
 *     main.c       a seed's scenario; options
 *
 * DETERMINISM. All chance comes from one generator, one draw a statement; all time from the event queue,
 * ordered by (time, number). The trace hash of a seed is the same with every compiler. */
#ifndef KITH_SIM_SIM_H
#define KITH_SIM_SIM_H

#include "base/assert.h"
#include "client/client_core.h"
#include "core/node.h"
#include "core/rowop.h"
#include "core/tree.h"
#include "wire/wire.h"

#define SIM_NODES_MAX   5u
#define SIM_CLIENTS_MAX 4u /* the last one only reads at the end: no session binds it */
#define SIM_ENTITIES    (SIM_NODES_MAX + SIM_CLIENTS_MAX)
#define SIM_GROUPS      4u
#define SIM_NAMES       4u
#define SIM_PARTITIONS  8u

/* Deliberate faults: each must be caught (see CMakeLists.txt). */
enum sim_mutant {
    MUTANT_NONE,
    MUTANT_ACK_EARLY,    /* a write is completed before it is at the operating system */
    MUTANT_SKIP_MERGE,   /* node 0 answers merges without doing them, now and then */
    MUTANT_TREE,         /* a tree update is dropped, now and then */
    MUTANT_KEEP_RUN,     /* a start takes the run and the counter of the first one */
    MUTANT_FORGET_ROW,   /* a merge replaces the row instead of merging */
    MUTANT_NO_DELETE,    /* a delete is answered and not written, now and then */
    MUTANT_COUNT
};

struct sim;

/* ---- random ---- */
uint64_t sim_random(struct sim *sim);
uint32_t sim_below(struct sim *sim, uint32_t n); /* 0 to n - 1 */
bool sim_chance(struct sim *sim, uint32_t per_mille);
void sim_fail(struct sim *sim, const char *format, ...) KITH_PRINTF(2, 3);
void sim_trace(struct sim *sim, const char *format, ...) KITH_PRINTF(2, 3);

/* ---- store_sim.c ---- */
struct cell_version {
    uint64_t seq;
    uint8_t *data;
    size_t size;
};
struct cell {
    uint8_t type; /* 'r' row, 'l' leaf, 'm' meta */
    uint8_t key[2 + 16 + 64];
    size_t key_size;
    uint32_t version_count, version_capacity;
    struct cell_version *versions; /* newest last */
};
struct store_sim {
    struct sim *sim;
    uint32_t node;
    uint32_t cell_count, cell_capacity;
    struct cell **cells;
    uint64_t seq, os_seq, disk_seq;
    uint64_t busy_us; /* operations are carried out one after the other */
    uint64_t run, counter;
    uint64_t first_run, first_counter;
};
struct store_op { /* one under way */
    struct kith_store_op op;
    struct kith_msg_box *box;
    uint64_t start; /* of the node */
    uint64_t seq;
    struct kith_arena arena;
    struct kith_store_done done;
};
void store_sim_start(struct store_sim *store, uint64_t run);
/* Back to what was at the operating system, or on the disk. */
void store_sim_crash(struct store_sim *store, bool power);
/* Carries the operation out in memory and prepares its completion. */
void store_sim_apply(struct store_sim *store, struct store_op *op, uint64_t wall_ms,
                     struct kith_bytes secret);
struct kith_bytes store_sim_get(const struct store_sim *store, uint8_t type, const void *key,
                                size_t key_size);
bool store_sim_has_data(const struct store_sim *store);
/* Recomputes the trees (invariant 5). */
void store_sim_verify(struct store_sim *store, struct kith_bytes secret);
void store_sim_release(struct store_sim *store);
/* The row's state, empty where there is none. */
struct kith_bytes store_sim_state(struct store_sim *store, const struct kith_key *key,
                                  struct kith_bytes secret);

/* ---- oracle.c ---- */
enum write_state { WRITE_PENDING, WRITE_OK, WRITE_REFUSED, WRITE_UNKNOWN };
struct oracle_write {
    uint32_t row;
    uint64_t number; /* its value */
    bool is_delete;
    enum write_state state;
    struct kith_dot dot;
    uint8_t *context; /* encoded row */
    size_t context_size;
};
struct oracle {
    uint32_t count, capacity;
    struct oracle_write *writes;
    uint32_t dot_count, dot_capacity;
    struct { uint32_t row; struct kith_dot dot; struct kith_request_id request; } *dots;
    uint32_t clock_count, clock_capacity;
    struct { uint32_t row; struct kith_checksum clock, state; } *clocks;
};
struct oracle_write *oracle_begin(struct sim *sim, uint32_t row, uint64_t number, bool is_delete,
                                  struct kith_bytes context);
void oracle_dot(struct sim *sim, const struct kith_key *key, const struct kith_dot *dot,
                const struct kith_request_id *request);
void oracle_state(struct sim *sim, const struct kith_key *key, struct kith_bytes state);
void oracle_check(struct sim *sim);
void oracle_release(struct oracle *oracle);
void sim_key(uint32_t row, struct kith_key *ret_key);

/* ---- world.c ---- */
struct sim_node {
    uint32_t index;
    bool up, power_victim;
    uint64_t start; /* number of starts */
    int64_t skew_ms;
    struct kith_node *core;
    struct store_sim store;
    char address[16];
    bool ready;
    uint64_t tick_us;
};
struct sim_client {
    uint32_t index;
    struct kith_client_core *core;
    uint64_t tick_us;
    uint32_t under_way;
    uint64_t next_us;
    struct { uint8_t *data; size_t size; } context[SIM_GROUPS * SIM_NAMES];
};
struct sim_link {
    bool used, open;
    uint32_t end[2]; /* entities: nodes, then clients */
    uint64_t conn[2];
    uint64_t start[2];
};
struct sim_event {
    uint64_t at_us, number;
    void (*fire)(struct sim *sim, struct sim_event *event);
    uint32_t entity, link;
    uint64_t start;
    uint8_t side;
    uint8_t phase;
    uint8_t *bytes;
    size_t size;
    struct store_op *op;
};
struct sim {
    uint64_t seed, random;
    enum sim_mutant mutant;
    bool verbose, failed, faults, loaded;
    char reason[400];
    uint64_t trace;
    uint64_t now_us;
    uint64_t event_number;
    uint32_t event_count, event_capacity;
    struct sim_event **events;
    uint32_t node_count, client_count;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];
    uint32_t link_count, link_capacity;
    struct sim_link *links;
    bool cut[SIM_ENTITIES][SIM_ENTITIES];
    uint64_t conn_next;
    uint64_t ops_done, ops_ok, ops_unknown, crashes;
    uint64_t write_number;
    struct oracle oracle;
    struct kith_bytes secret;
    uint8_t secret_bytes[192];
};
void world_init(struct sim *sim);
void world_release(struct sim *sim);
/* Runs until `until_us` or a failure. */
void world_run(struct sim *sim, uint64_t until_us);
void world_crash(struct sim *sim, uint32_t node, bool power);
void world_start(struct sim *sim, uint32_t node);
void world_heal(struct sim *sim);
void world_client_op(struct sim *sim, uint32_t client, const struct kith_client_op *op, uint64_t tag);
void world_admin_init(struct sim *sim);
/* scenario (main.c) */
void scenario_done(struct sim *sim, uint32_t client, uint64_t tag, enum kith_client_kind kind,
                   const struct kith_client_result *result);

#endif
