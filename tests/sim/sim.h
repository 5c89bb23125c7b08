/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sim.h - a cluster in one process: cores of nodes and clients on a simulated network, clock and
 * disk.
 *
 *     world.c      nodes and clients, their starts and ends
 *     net.c        connections and messages
 *     disk.c       when an operation is carried out, and when it is safe
 *     queue.c      time and events
 *     chance.c     chance, trace, failure, bytes
 *     store_sim.c  a node's store: what is in memory, at the operating system, on the disk
 *     store_ops.c       ... what each operation does
 *     store_loss.c      ... and what of it is lost
 *     store_mutants.c   deliberate faults of it
 *     store_hints.c     ... what is kept for others
 *     store_sweep.c     ... which chunks may be swept
 *     mutants.def  the deliberate faults, and the seed that catches each
 *     scenario.c   what clients do, and what each answer must be (copies, chunks)
 *     sessions.c   ... after what the same client has read and written
 *     faults.c     what goes wrong, and when
 *     watches.c    what clients believe while they watch, and that it is true
 *     oracle.c     what was written and acknowledged, and what must hold (DESIGN section 9)
 *     judge.c      ... between clients and at every time
 *     zones.c      data centres, and cuts between them
 *     sweeps.c     chunks that nobody refers to any more
 *     plans.c      an administrator who changes the members
 *     joins.c      a join that a crash or lost messages break off, at every moment of it
 *     main.c       a seed's phases: form a cluster, work while things fail, heal; options
 *
 * DETERMINISM. All chance comes from one generator, one draw a statement; all time from the event
 * queue, ordered by (time, number). The trace hash of a seed is the same with every compiler. */
#ifndef KITH_SIM_SIM_H
#define KITH_SIM_SIM_H

#include "base/assert.h"
#include "client/client_core.h"
#include "client/epoch.h"
#include "core/table/decide.h"
#include "core/rows/hintop.h"
#include "core/node.h"
#include "core/repair/refill.h"
#include "core/rows/rowop.h"
#include "data/tree.h"
#include "wire/wire.h"

#define SIM_NODES_MAX   7u /* more than twice N: those without a row are a majority */
#define SIM_CLIENTS_MAX 4u /* the last one only reads at the end: no session binds it */
#define SIM_ENTITIES    (SIM_NODES_MAX + SIM_CLIENTS_MAX)
#define SIM_ZONES_MAX   3u
#define SIM_GROUPS      4u
#define SIM_NAMES       4u
#define SIM_PARTITIONS  8u
#define SIM_ROWS        (SIM_GROUPS * SIM_NAMES)
#define SIM_REPLICAS    3u
#define SIM_LEAF_PAGE   3u /* rows of leaves in one answer */
#define SWEEPS_GRACE_MS 60000u /* instead of a day */
#define SWEEPS_SESSION_MS (SWEEPS_GRACE_MS / 2)
#define SWEEPS_REFS_MAX 3u
#define SIM_ROW_KEY     82u /* bytes: partition, group, name */

/* Deliberate faults: each must be caught. */
enum sim_mutant {
    MUTANT_NONE,
#define SIM_MUTANT(name, seeds, first, text) MUTANT_##name,
#include "mutants.def"
#undef SIM_MUTANT
    MUTANT_COUNT
};

struct sim;
struct sim_event;

/* Kinds of faults. A seed has the first two, and some of the others. */
enum sim_kind {
    KIND_CRASH,
    KIND_CUT, /* between two, both ways */
    KIND_ONE_WAY,
    KIND_HALVES,  /* all that are on one side from all others, for a while */
    KIND_FLAP,    /* between two, on and off */
    KIND_FREEZE,  /* a process does nothing for a while; then all comes at once */
    KIND_CLOCK,   /* a wall clock jumps */
    KIND_LOST,    /* a disk loses rows, chunks, what is kept for others, or all of these, and keeps the
                     node's own records */
    KIND_GONE,    /* it loses all: its node is another one then, and stays outside */
    KIND_OLD,     /* it comes back as it was some time ago */
    KIND_FULL,    /* a disk fills up: no values, then nothing at all, for a while */
    KIND_CORRUPT, /* a byte of a message flips, and the connection ends */
    KIND_LONELY,  /* a client reaches one node alone, for a while */
    KIND_ALL,     /* every node is killed at once */
    KIND_DARK,    /* every node loses power at once: what was acknowledged as durable stays */
    KIND_COUNT
};

/* ---- chance.c ---- */
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
    uint8_t type; /* 'r' row, 'l' leaf, 'm' meta, 'c' chunk, 'h', 'k', 'x': store_*.c */
    uint8_t key[2 + 16 + 64];
    size_t key_size;
    uint32_t version_count, version_capacity;
    struct cell_version *versions; /* newest last */
};
struct sim_batch { /* a transaction with several rows */
    uint64_t seq;
    uint32_t count;
    uint32_t rows[SIM_NAMES];
    struct kith_dot dots[SIM_NAMES];
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
    struct kith_dot early[SIM_ROWS]; /* MUTANT_COUNTER_EARLY: drawn, and not written yet */
    struct kith_actor hint_actors[SIM_ROWS]; /* MUTANT_HINT_EPOCH: the last ones */
    uint32_t batch_count, batch_capacity;
    struct sim_batch *batches;
};
struct store_op { /* one under way */
    struct kith_store_op op;
    struct kith_msg_box *box;
    uint64_t start; /* of the node */
    uint64_t seq;
    struct kith_arena arena;
    struct kith_blob *blob; /* held */
    struct kith_store_done done;
};
void store_sim_start(struct store_sim *store, uint64_t run);
struct cell *store_sim_cell(const struct store_sim *store, uint8_t type, const void *key,
                            size_t size); /* NULL: none */
struct kith_key store_sim_key_of(const struct cell *cell); /* of a row or a hint; it borrows the name */
size_t store_sim_row_key(const struct kith_key *key, uint8_t out[SIM_ROW_KEY]);
struct kith_sum store_sim_leaf_sum(const struct store_sim *store, uint32_t partition,
                                   uint32_t leaf);
void store_sim_leaf_update(struct store_sim *store, const struct kith_key *key,
                           const struct kith_rowop_result *result);
/* The row's record, empty where there is none; its state, or that of a record. */
struct kith_bytes store_sim_record(struct store_sim *store, const struct kith_key *key);
struct kith_bytes store_sim_state(struct store_sim *store, const struct kith_key *key,
                                  struct kith_bytes secret);
struct kith_bytes store_sim_record_state(const struct store_sim *store, const struct kith_key *key,
                                         struct kith_bytes record, struct kith_bytes secret);
/* The transaction at hand wrote several rows: a loss takes all of them, or none. */
void store_sim_batch(struct store_sim *store, const struct kith_group *group, uint32_t count,
                     const struct kith_bytes *names, const struct kith_dot *dots);
struct kith_bytes store_sim_get(const struct store_sim *store, uint8_t type, const void *key,
                                size_t key_size);
/* Under the store's number, as a part of the transaction at hand. */
void store_sim_put(struct store_sim *store, uint8_t type, const void *key, size_t key_size,
                   struct kith_bytes value);
bool store_sim_has_data(const struct store_sim *store);
/* Whether the row's state that is at the operating system (on the disk) covers the dot. */
bool store_sim_holds(struct store_sim *store, const struct kith_key *key,
                     const struct kith_dot *dot, bool disk);
bool store_sim_holds_chunk(const struct store_sim *store, const struct kith_chunk_id *id,
                           bool disk);
/* Recomputes the trees (invariant 5). */
void store_sim_verify(struct store_sim *store, struct kith_bytes secret);
void store_sim_release(struct store_sim *store);
/* ---- store_ops.c ---- */
/* Carries the operation out in memory and prepares its completion. */
void store_sim_apply(struct store_sim *store, struct store_op *op, uint64_t wall_ms,
                     struct kith_bytes secret);
/* ---- store_loss.c ---- */
/* Back to what was at the operating system, or on the disk. */
void store_sim_crash(struct store_sim *store, bool power);
/* All that is on the disk goes, once it has crashed. */
void store_sim_lose(struct store_sim *store);
/* Some of it (an OR of KITH_LOST_*), and the store knows that, as node/store/store_aside.c does. */
void store_sim_set_aside(struct store_sim *store, uint32_t lost);
/* Whether there is nothing of data, its own or kept for others; a store from which nobody expects
 * anything any more becomes a new one. */
bool store_sim_empty(const struct store_sim *store);
void store_sim_wipe(struct store_sim *store);
/* Back to what was on the disk so many transactions ago; but no promise and no table is taken back:
 * who has only an older one cannot know it (two of three could decide another table). */
void store_sim_old(struct store_sim *store, uint64_t by);
/* ---- store_hints.c ---- */
/* The record in a hint, empty where there is none. */
struct kith_bytes store_hints_record(struct store_sim *store, const struct kith_key *key);
void store_hints_write(struct store_sim *store, const struct kith_key *key,
                       const struct kith_rowop_result *result, const struct kith_hint_want *want,
                       uint64_t wall_ms);
void store_hints_old_epoch(struct store_sim *store, struct kith_arena *arena,
                           const struct kith_rowop_env *env, const struct kith_key *key,
                           struct kith_rowop_result *result);
void store_hints_mark(struct store_sim *store, const struct kith_key *key,
                      const struct kith_hint_want *want, uint64_t wall_ms);
void store_hints_apply(struct store_sim *store, struct store_op *op); /* HINT_* */
/* Whether something is kept that counted as a copy, or a row is thin. */
bool store_hints_owed(const struct store_sim *store);
/* The same of one row. */
bool store_hints_noted(const struct store_sim *store, const struct kith_key *key);

/* ---- store_chunks.c ---- */
void store_sim_apply_chunk(struct store_sim *store, struct store_op *op);
/* ---- store_drop.c ---- */
bool store_sim_there(const struct cell *cell); /* and not dropped */
void store_sim_drop(struct store_sim *store, struct store_op *op, struct kith_bytes secret);
/* Adds up the leaves of the tree of chunks. */
void store_sim_chunk_sums(const struct store_sim *store, uint32_t partition,
                          struct kith_bytes secret, struct kith_sum *sums);

/* ---- store_sweep.c ---- */
void store_sweep_apply(struct store_sim *store, struct store_op *op); /* SWEEP_*, CHUNK_LEASE */
/* The chunk in this cell goes, for others own it: what is noted of it, too. */
void store_sweep_drop(struct store_sim *store, const struct cell *cell);
/* Whether the chunk was deleted here, and is not to be fetched. */
bool store_sweep_gone(const struct store_sim *store, const struct kith_chunk_id *id);
/* Answers with those chunks that have to be leased first; false: there are none. */
bool store_sweep_refuses_put(struct store_sim *store, struct store_op *op,
                             const struct kith_rowop_result *results);
bool store_sweep_refuses_chunk(struct store_sim *store, struct store_op *op);

/* ---- store_reap.c ---- */
void store_reap_apply(struct store_sim *store, struct store_op *op); /* REAP_LIST, REAP */
/* That of the partition which is in force. */
const struct kith_floor *store_reap_floor(const struct store_sim *store, struct kith_arena *arena,
                                          uint32_t partition);
void store_reap_drop(struct store_sim *store, uint32_t partition);
void store_reap_started(struct store_sim *store); /* under another run */

/* ---- store_mutants.c ---- */
/* Keeps the run and its counter beside the rows; takes them from there, if they are there. */
void store_mutant_keep_run(struct store_sim *store);
void store_mutant_take_run(struct store_sim *store);
/* The result with one of the siblings that look equal. */
void store_mutant_collapse(struct store_sim *store, struct kith_arena *arena,
                           const struct kith_key *key, struct kith_rowop_result *result);
/* The context of a put without the siblings that the store has not. */
struct kith_bytes store_mutant_context(struct store_sim *store, struct kith_arena *arena,
                                       const struct kith_key *key, struct kith_bytes context);
/* Counters are drawn before the transaction, and two of them change places: what the counter at
 * hand gives away. */
uint64_t store_mutant_counter(struct store_sim *store, struct kith_arena *arena,
                              const struct kith_key *key, uint64_t counter,
                              struct kith_rowop_result *result);
/* Rows without a sibling go. */
void store_mutant_reap(struct store_sim *store);
/* What is left of a record of which only the actor is known: its note, and its entry in the clock.
 * False where it has none. */
bool store_mutant_actor(struct store_sim *store, struct kith_arena *arena,
                        const struct kith_key *key, struct kith_bytes record,
                        struct kith_rowop_result *result);

/* ---- oracle.c ---- */
struct sim_bytes {
    uint8_t *data;
    size_t size;
};
void sim_bytes_set(struct sim_bytes *bytes, struct kith_bytes from);
void sim_bytes_clear(struct sim_bytes *bytes);

enum write_state { WRITE_PENDING, WRITE_OK, WRITE_REFUSED, WRITE_UNKNOWN };
struct oracle_write {
    uint32_t row;
    uint32_t client; /* who wrote it */
    uint64_t number; /* its value */
    bool is_delete;
    bool shared; /* another write has the same value */
    bool disk;   /* it is to be durable on disks, or had to be, as there were few */
    uint32_t copies; /* WRITE_OK: in how many stores it is, at least */
    bool
        shaken; /* all lost power since it was submitted: it may be gone, where it is not durable */
    enum write_state state;
    uint64_t acked_us; /* WRITE_OK */
    uint64_t losses;   /* of the row, when it was submitted */
    bool stood;        /* before the loss at hand */
    uint64_t kept;     /* losses of the row that took a copy of it, and not what reads find; 0: none */
    struct kith_dot dot;
    uint8_t *context; /* encoded row */
    size_t context_size;
};
struct oracle_chunk {
    struct kith_chunk_id id;
    uint64_t number; /* its contents */
    enum write_state state;
    bool disk, shaken; /* as above */
    uint32_t ref_count, refs[SWEEPS_REFS_MAX]; /* chunks that it refers to */
    bool wanted;        /* sweeps.c */
    uint32_t wanted_by; /* a row */
};
#define SIM_CHUNKS_MAX 64u
#define SIM_CHUNKS_ALL 400u /* with sweeps */
struct oracle {
    uint32_t chunk_count;
    struct oracle_chunk chunks[SIM_CHUNKS_ALL];
    uint32_t request_count, request_capacity;
    struct {
        struct kith_request_id request;
        uint32_t rows;
    } * requests; /* batches */
    uint32_t count, capacity;
    struct oracle_write *writes;
    uint32_t dot_count, dot_capacity;
    struct {
        uint32_t row;
        struct kith_dot dot;
        struct kith_request_id request;
    } * dots;
    struct sim_bytes reaped[SIM_ROWS]; /* rows without siblings: the clocks of what was reaped */
    uint32_t clock_count, clock_capacity;
    struct {
        uint32_t row;
        struct kith_checksum clock, state;
    } * clocks;
};
struct oracle_write *oracle_begin(struct sim *sim, uint32_t row, uint64_t number, bool is_delete,
                                  struct kith_bytes context);
void oracle_dot(struct sim *sim, const struct kith_key *key, const struct kith_dot *dot,
                const struct kith_request_id *request);
void oracle_state(struct sim *sim, const struct kith_key *key, struct kith_bytes state);
/* A batch of so many rows was carried out under the request; 0: how many were there? */
uint32_t oracle_batch(struct sim *sim, const struct kith_request_id *request, uint32_t rows);
/* Whether a write that `seen` covers had read `dot` and did not keep it. */
bool oracle_replaced(struct sim *sim, uint32_t row, const struct kith_dot *dot,
                     const struct kith_clock *seen);
/* Whether a write that may have happened had read `dot` or a twin of it, and did not keep it. */
bool oracle_superseded(struct sim *sim, uint32_t row, const struct kith_dot *dot);
/* Whether a sibling is of the write with that number. */
/* A store forgets a row that is gone. */
void oracle_reaped(struct sim *sim, const struct kith_key *key, const struct kith_row *row);
/* The clock of a row together with all that was reaped of it. */
void oracle_whole_clock(struct sim *sim, struct kith_arena *arena, uint32_t row,
                        const struct kith_clock *clock, struct kith_clock *ret_clock);
bool oracle_holds(const struct kith_row *row, uint64_t number);
/* All nodes lose power: what is not durable may be gone. */
void oracle_shaken(struct oracle *oracle);
uint32_t oracle_row(const struct kith_key *key); /* UINT32_MAX: none of ours */
void oracle_check(struct sim *sim);
void oracle_release(struct oracle *oracle);
void sim_key(uint32_t row, struct kith_key *ret_key);

/* ---- judge.c ---- */
/* A quorum's answer to a request that began then. */
void judge_read(struct sim *sim, uint32_t client, uint32_t row, uint64_t begun_us,
                const struct kith_clock *clock);
/* ... what it bears. */
void judge_reaped(struct sim *sim, uint32_t client, uint32_t row, const struct kith_row *state);
/* ... to a scan, in which the row is missing. */
void judge_absent(struct sim *sim, uint32_t client, uint32_t row, uint64_t begun_us);
/* Around the loss of a node's rows: what other owners have is still found by whoever asks a quorum. */
void judge_before_loss(struct sim *sim);
void judge_after_loss(struct sim *sim, uint32_t node);
/* What was acknowledged is in as many stores at any time, as rows or as custody. */
void judge_copies(struct sim *sim);
/* Stores that count and have the write, or the chunk. */
uint32_t judge_row_copies(struct sim *sim, const struct kith_key *key, const struct kith_dot *dot,
                          bool disk);
/* all: at any node; who took it as an owner offers it to the owners before he lets it go. */
uint32_t judge_chunk_copies(struct sim *sim, const struct kith_chunk_id *id, bool disk, bool all);
/* All siblings were written, and none was replaced by a write that the state covers. */
void judge_siblings(struct sim *sim, uint32_t row, const struct kith_row *state);

/* ---- watches.c ---- */
/* What a client may believe of a row: it was read under the watch's number, and no change of it was
 * told since the read began. */
struct sim_belief {
    bool has;
    uint64_t number;
    struct sim_bytes clock; /* of what was read, as a row */
};
struct sim_watch { /* of a client on a group */
    uint64_t tag;  /* 0 = not held */
    struct kith_epoch epoch;
    uint64_t since_made; /* the number that goes for reads since it was begun; 0 = none does */
    uint64_t changes[SIM_NAMES]; /* told so far */
    struct sim_belief beliefs[SIM_NAMES];
};
struct sim_reading { /* how the watch on a row stood when a read of it began */
    uint64_t number; /* 0 = not live */
    uint64_t tag;    /* of the watch; 0 = none was held */
    uint64_t changes;
};
/* Each client but the last may begin a watch. */
void watches_begin(struct sim *sim);
/* Now and then one begins or ends. True: the client began one on the group just now. */
bool watches_step(struct sim *sim, uint32_t *ret_client, uint32_t *ret_group);
void watches_end(struct sim *sim);
/* A row of the same name in a group that somebody watches, now and then. */
uint32_t watches_row(struct sim *sim, uint32_t row);
/* WATCHED or CHANGED. */
void watches_effect(struct sim *sim, uint32_t client, const struct kith_client_effect *effect);
struct sim_reading watches_reading(const struct sim *sim, uint32_t client, uint32_t row);
/* A quorum's answer to a read that began with `reading`. */
void watches_read(struct sim *sim, uint32_t client, uint32_t row, const struct sim_reading *reading,
                  const struct kith_clock *clock);
/* The write was acknowledged just now. */
void watches_acked(struct sim *sim, uint32_t write);
/* Until then the client cannot hear anything. */
void watches_deaf(struct sim *sim, uint32_t client, uint64_t until_us);
/* Judges what is believed after the writes whose time has come. */
void watches_check(struct sim *sim);
void watches_release(struct sim *sim);

/* ---- disk.c ---- */
enum disk_space { /* what a disk has room for, as in store_space.c */
    DISK_WIDE,
    DISK_TIGHT, /* for everything; but nothing more is kept for others (KITH_SPACE_SCARCE) */
    DISK_SMALL, /* for deletes and the node's own records */
    DISK_FULL,  /* for nothing */
};
/* ---- world.c ---- */
struct sim_node {
    uint32_t index;
    bool up, power_victim, clock_victim;
    bool held;      /* a crash is not followed by a start */
    bool away;      /* for a while nobody can reach it */
    bool full;      /* it has as many watches as it takes */
    enum disk_space space;
    uint64_t start; /* number of starts */
    int64_t skew_ms;
    struct kith_node *core;
    struct store_sim store;
    char address[16];
    const char *join; /* the address that it joins through; NULL: it makes the cluster */
    bool ready;
    uint64_t tick_us;
    uint64_t stamped; /* the last time that it gave to a write since its start */
};
struct sim_client {
    uint32_t index;
    struct kith_client_core *core;
    uint64_t tick_us;
    uint32_t under_way;
    uint64_t next_us;
    struct sim_bytes context[SIM_ROWS];
    struct sim_bytes seen[SIM_ROWS]; /* the clock that its reads must cover, as a row, */
    struct sim_bytes gone[SIM_ROWS]; /* and that of states without contents: what it covers */
    uint64_t seen_us[SIM_ROWS];      /* is not there again. When it was last told of either */
    uint64_t slept_us[SIM_ROWS];  /* requests from before are bound by neither any more */
    uint64_t forgot_us[SIM_ROWS]; /* requests from before are not bound to what was seen of the row */
    struct sim_watch watches[SIM_GROUPS];
    uint64_t deaf_until_us; /* until then it may not know that a connection is broken */
    enum kith_level read_level, write_level; /* where there are zones */
};
struct sim_link {
    bool open;
    enum kith_conn_class cls; /* of one between nodes */
    bool broken; /* nothing comes to the client any more: an event of a watch was lost */
    uint64_t watch_us[2]; /* what is sent to that side comes after what watches said there */
    uint32_t end[2];      /* entities: nodes, then clients */
    uint64_t conn[2];
    uint64_t start[2];
    uint32_t next[2]; /* in the chain of that side: 2 * index + side + 1 of another, 0 = the last */
};
#define SIM_LINK_HEADS 1024u
struct sim_event {
    uint64_t at_us;
    struct sim_event *next_free;
    void (*fire)(struct sim *sim, struct sim_event *event);
    uint32_t entity, link;
    uint64_t start;
    uint8_t side;
    uint8_t phase;
    bool bulk;
    bool event; /* of a watch */
    bool corrupt;
    uint8_t *bytes;
    size_t size;
    struct store_op *op;
};
struct sim_entry { /* of the heap */
    uint64_t at_us, number;
    struct sim_event *event;
};
struct sim {
    uint64_t seed, random;
    enum sim_mutant mutant;
    bool verbose, tracing, failed, faults;
    bool few;   /* rows: most nodes hold nothing, and might agree to move what others hold */
    bool few_open; /* nodes keep connections to co-owners only */
    bool sweeps; /* chunks are swept */
    uint32_t hot; /* the next row refers to this chunk, counted from 1 */
    bool storm; /* crashes around every promise of durability */
    char reason[400];
    uint64_t trace;
    uint64_t now_us;
    uint64_t event_number;
    uint32_t event_count, event_capacity;
    struct sim_entry *events;
    struct sim_event *event_free; /* for use again */
    uint32_t node_count, client_count;
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];
    uint32_t link_count, link_capacity;
    struct sim_link *links;
    uint32_t link_heads[SIM_LINK_HEADS];
    bool cut[SIM_ENTITIES][SIM_ENTITIES]; /* [from][to] */
    uint64_t frozen_until_us[SIM_ENTITIES];
    uint32_t kinds; /* bit k: enum sim_kind k */
    uint32_t strict; /* bit c: client c writes strictly */
    uint32_t zones;  /* 0: nobody says in which he is */
    uint32_t zone_us[SIM_ZONES_MAX][SIM_ZONES_MAX]; /* [from][to] how long a message takes beside */
    uint64_t conn_next;
    uint64_t thin_acks, custody_acks; /* writes that fewer than W nodes, than W owners took */
    uint64_t ops_done, ops_ok, ops_unknown, crashes, degraded, lost_reads, reaped;
    uint64_t power_losses; /* with disk_losses */
    uint64_t disk_losses;
    bool gone;    /* a member's disk is lost, and what comes up there is no member */
    bool working; /* data may be there */
    uint64_t row_losses[SIM_ROWS]; /* losses that destroyed a state of the row */
    uint32_t lost_accepts;         /* bit n: what asks node n to accept a table is lost, */
    uint64_t lost_until_us;        /* until then */
    uint32_t late;                 /* a node that starts while others work; SIM_NODES_MAX: none */
    struct kith_table *newest;     /* the newest table on any disk */
    uint64_t newest_us;            /* when it came */
    bool plans;                    /* members are changed: plans.c */
    uint64_t plan_chance;
    uint64_t loss_chance; /* of its own, as that of plans */
    uint64_t write_number;
    uint64_t watch_tag;
    uint32_t acked_count, acked_capacity;
    uint32_t acked_soon, acked_late; /* judged so far */
    uint32_t *acked;   /* writes, in the order in which they were acknowledged */
    uint64_t believed; /* times that a belief was judged after a write of its row */
    uint64_t believed_since; /* beliefs by reads from before the watch was live */
    bool untold;       /* MUTANT_UNTOLD: the events of the step at hand are lost */
    struct oracle oracle;
    struct kith_bytes secret;
    uint8_t secret_bytes[192];
};
/* ---- queue.c ---- */
/* `fire` is called at that time; fill in the rest. */
struct sim_event *sim_at(struct sim *sim, uint64_t at_us,
                         void (*fire)(struct sim *sim, struct sim_event *event));
/* Takes the first one, the caller's from now on; there is one. */
struct sim_event *sim_next(struct sim *sim);
/* The same once more at that time, with all that it holds. */
void sim_again(struct sim *sim, struct sim_event *event, uint64_t at_us);
/* Takes an event back, with all that it holds. */
void sim_event_done(struct sim *sim, struct sim_event *event);
void sim_events_release(struct sim *sim);
/* ---- net.c ---- */
/* Sends on the entity's connection; lost where that is not open. */
void net_send(struct sim *sim, uint32_t entity, uint64_t conn, const struct kith_msg *msg);
/* Opens a connection; the entity calls it `conn`. */
void net_connect(struct sim *sim, uint32_t entity, uint64_t conn, const char *address,
                 enum kith_conn_class cls);
/* The entity ends it; the other side is told. */
void net_close(struct sim *sim, uint32_t entity, uint64_t conn);
/* All connections of a node that has ended are told to the other sides. */
void net_crashed(struct sim *sim, uint32_t node);
/* ---- disk.c ---- */
/* `box`: what the operation may point into. */
void disk_submit(struct sim *sim, struct sim_node *node, const struct kith_store_op *op,
                 struct kith_msg_box *box);
/* ---- world.c ---- */
void world_init(struct sim *sim);
void world_release(struct sim *sim);
/* Runs until `until_us` or a failure. */
void world_run(struct sim *sim, uint64_t until_us);
void world_crash(struct sim *sim, uint32_t node, bool power);
/* W - 1 power losses are survived: with one member that is none. */
bool world_may_lose_power(const struct sim *sim);
void world_start(struct sim *sim, uint32_t node);
/* The number of a node's last start; 0 for a client, which lives as long as the world. */
uint64_t world_start_of(struct sim *sim, uint32_t entity);
/* Whether that start of it is the one that runs. */
bool world_alive(struct sim *sim, uint32_t entity, uint64_t start);
void world_node_step(struct sim *sim, struct sim_node *node, struct kith_event *event,
                     struct kith_msg_box *box);
void world_client_step(struct sim *sim, struct sim_client *client,
                       struct kith_client_event *event);
/* A node's clock; one that is right. */
uint64_t world_true_ms(const struct sim *sim);
uint64_t world_wall_ms(const struct sim *sim, const struct sim_node *node);
void world_heal(struct sim *sim);
void world_client_op(struct sim *sim, uint32_t client, const struct kith_client_op *op,
                     uint64_t tag);
/* Begins (with a new tag) or ends the client's watch on the group. */
void world_client_watch(struct sim *sim, uint32_t client, uint32_t group, bool begin);
void world_admin_init(struct sim *sim);
/* Asks a node from a connection of its own; the answer goes nowhere. */
void world_admin_ask(struct sim *sim, struct sim_node *node, struct kith_msg *asked);
/* Whether it has the records of a cluster. */
bool world_in_cluster(const struct sim_node *node);
/* ---- faults.c ---- */
/* Whether the seed has them, and faults may happen now. */
bool faults_has(const struct sim *sim, enum sim_kind kind);
/* What a seed has. */
void faults_choose(struct sim *sim);
/* One fault, or the end of one. */
void faults_step(struct sim *sim);
/* Whether the entity is frozen; then the event comes again when it is not. */
bool faults_frozen(struct sim *sim, uint32_t entity, struct sim_event *event);
/* All networks are whole, and nobody is frozen any more. */
void faults_end(struct sim *sim);
/* All nodes lose power. */
void faults_dark(struct sim *sim);
/* Between these entities (bits) and all others nothing gets through; or again. */
void faults_cut_side(struct sim *sim, uint32_t side, bool cut);
/* Between the node and all others, and the clients, nothing gets through. */
void faults_cut_off(struct sim *sim, uint32_t node);
/* Entities of `side` (bit i: entity i) and the others are cut off from each other for so long. */
void faults_side(struct sim *sim, uint32_t side, uint32_t lasts_us);
/* ---- main.c ---- */
/* All members of the newest table know it; with `all`, every node is one. */
bool sim_formed(const struct sim *sim, bool all);
/* Whether the node owns the partition, by its own table. */
bool sim_owns(const struct sim *sim, uint32_t node, uint32_t partition);
/* Ends all faults, writes and reads everything, and judges. */
void sim_heal(struct sim *sim);
/* ---- zones.c ---- */
/* Whether the seed has zones, and which levels its clients go by. */
void zones_choose(struct sim *sim);
/* ---- client_mutants.c ---- */
void client_mutants_choose(const struct sim *sim);
/* ---- plans.c ---- */
void plans_init(struct sim *sim);
void plans_step(struct sim *sim);
/* `node` is the first that stores `next`, the table after the newest one. */
void plans_edge(struct sim *sim, uint32_t node, const struct kith_table *next);
/* How many members the newest table has that a node goes by, but that one: a newer one may have gone
 * with power, or goes with its disk. */
uint32_t plans_members(const struct sim *sim, uint32_t but);
/* Whether a table that moves data is in use anywhere. */
bool plans_moving(const struct sim *sim);
/* Where a move waits for a member whose disk is lost, the administrator gives it up; by force where
 * too few members are left to agree to it. Where nothing moves such a member is replaced, if it can be. */
void plans_mend(struct sim *sim, bool force);
/* Whether a member is still to be replaced, and can be; or a chunk is not where it belongs yet. */
bool plans_owes(struct sim *sim);
/* Members of the newest table that nobody is any more. */
uint32_t plans_absent(const struct sim *sim);
/* Whether what that node holds counts as a copy: it is a member. */
bool plans_counts(const struct sim *sim, uint32_t node);
/* Whether a node that owns the chunk no more has it still: it is on its way to those who do. */
bool plans_stray(const struct sim *sim, const struct kith_chunk_id *id);
/* Whether the newest table moves the partition away from that node. */
bool plans_loses(const struct sim *sim, uint32_t node, uint32_t partition);
#define ZONES_TOLD_NOT 1u /* the client that has to find out, and may be wrong */
const char *zones_name(const struct sim *sim, uint32_t entity);
uint32_t zones_of(const struct sim *sim, uint32_t entity);
/* How much longer a message takes than within a zone. */
uint32_t zones_distance_us(const struct sim *sim, uint32_t from, uint32_t to);
uint32_t zones_side(const struct sim *sim, uint32_t zone);
/* One is cut off for a while. */
void zones_phase(struct sim *sim);
/* ---- sweeps.c ---- */
void sweeps_work(struct sim *sim);
/* Everything is well: what nothing refers to goes. */
void sweeps_settle(struct sim *sim);
/* A disk is put back from a copy that is days old, and clients read. Whether one was. */
bool sweeps_old_disk(struct sim *sim);
/* Judges that what is referred to is there. */
void sweeps_check(struct sim *sim);
/* Whether some row refers to it. */
bool sweeps_wanted(struct sim *sim, uint32_t chunk);
/* Which chunks a row refers to, kept in refs. Without sweeps these two do nothing. */
void sweeps_row(struct sim *sim, struct kith_put_update *update,
                struct kith_chunk_id refs[SWEEPS_REFS_MAX]);
/* A new chunk's id, and what it refers to. */
/* Whether the row is to be left alone now; to be deleted, if it is written. */
bool sweeps_rests(struct sim *sim, uint32_t row);
bool sweeps_deletes(struct sim *sim, uint32_t row);
void sweeps_chunk(struct sim *sim, struct oracle_chunk *chunk,
                  struct kith_chunk_id refs[SWEEPS_REFS_MAX], struct kith_client_op *op);
/* What a client does, as in scenario_step. */
uint32_t sweeps_what(struct sim *sim);
/* A sweep of the chunk goes on here: somebody may refer to it at this very moment. */
void sweeps_hot(struct sim *sim, const struct kith_chunk_id *id);
/* ---- joins.c ---- */
#define JOINS_CASES 3600u
/* One case of the sweep, on a new world. */
void joins_case(struct sim *sim, uint32_t number);
/* Looks at a message about a table that comes to `entity`; false: it is lost. */
bool joins_deliver(const struct sim *sim, uint32_t entity, struct kith_msg *msg);
/* The record of promises as a node that must not forget it forgets it. */
void joins_forget(struct kith_bytes record, struct kith_buf *buf);
/* ---- scenario.c ---- */
struct sim_op { /* a request of a client */
    bool out;
    bool must_ok;
    enum kith_client_kind kind;
    uint32_t owner; /* the client whose request it is (a mutant's may be answered to another) */
    uint32_t rows[SIM_NAMES], row_count;
    uint32_t writes[SIM_NAMES];
    struct sim_bytes seen[SIM_NAMES], gone[SIM_NAMES]; /* as its client's */
    uint64_t losses[SIM_NAMES];
    struct sim_reading readings[SIM_NAMES];
    uint32_t chunks[SIM_NAMES], chunk_count;
    bool has_after;
    bool disk;
    uint64_t power_losses, disk_losses;
    uint64_t begun_us, deadline_us;
    uint64_t by_us; /* it must have succeeded; 0: that is not said */
};
/* A put of one row that need not succeed; its index in oracle.writes. */
uint32_t scenario_put(struct sim *sim, uint32_t client, uint32_t row);
/* A put or a get that must succeed by then. */
void scenario_quick(struct sim *sim, uint32_t client, uint32_t row, bool put, uint64_t by_us);
void scenario_begin(void);
void scenario_end(void);
/* One random request of a random client. */
void scenario_step(struct sim *sim);
bool scenario_full(void);
/* Once everything is well: a put in each group, reads of everything; all must succeed. few: but for
 * some nodes that are away, and all that can be done is done. */
void scenario_write_all(struct sim *sim, bool few);
void scenario_read_all(struct sim *sim, enum kith_level level, bool few);
void scenario_read_chunks(struct sim *sim);
void scenario_all_ended(struct sim *sim);
void scenario_done(struct sim *sim, uint32_t client, uint64_t tag, enum kith_client_kind kind,
                   const struct kith_client_result *result);

/* ---- sessions.c ---- */
/* The request's row i is this one; what its client has seen of it is what the answer is judged by. */
void sessions_note(struct sim *sim, struct sim_op *record, uint32_t i, uint32_t row);
/* Judges what was read of row i, and that no write of this client is back that it has replaced. */
void sessions_read(struct sim *sim, const struct sim_op *record, uint32_t i,
                   const struct kith_row *row);
/* Judges that a scan leaves row i out: it has no sibling, so nobody's write may be hidden by that. */
void sessions_left_out(struct sim *sim, const struct sim_op *record, uint32_t i);
/* What the client has seen of the row goes on as one clock, of contents or of none; the other one
 * ends where it is covered. What it saw before it slept is no part of that. */
void sessions_join(struct sim *sim, uint32_t client, uint32_t row, const struct kith_clock *clock,
                   bool gone);
/* The client was told, while power was lost, that the row is gone with all that it has seen of it: the
 * deletion may be lost, and what it has seen binds the client no more. */
void sessions_gone(struct sim *sim, uint32_t client, uint32_t row, const struct kith_clock *clock);
/* A scan left the row out: what the client had seen of it is gone. */
void sessions_absent(struct sim *sim, const struct sim_op *record, uint32_t i);
/* The answer to a read that was under way at a power loss may count a copy that is gone, and the
 * session may hold that a majority has the state and bind itself no longer. */
void sessions_shaken(struct sim *sim, const struct sim_op *record);
/* What the session had seen is said to be lost for good: only a power loss does that. */
void sessions_lost(struct sim *sim, const struct sim_op *record);

#endif
