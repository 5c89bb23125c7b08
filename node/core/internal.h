/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * internal.h - the node: what the files of its core share; nobody else includes it. Each part has a header
 * of its own beside its files, and they are all included here:
 *
 *     .            node.c: life of a node, dispatch of events; effect.c: how effects are made; pending.c:
 *                  requests under way, their deadlines; conns.c: connections and who is behind them;
 *                  meta.c: the node's own small records; status.c, figures.c: what it says of itself;
 *                  space.c: how full the disk is
 *     requests/    put.c: coordination of writes; put_spread.c: their copies, and who stands in for
 *                  owners; put_relay.c, relay.c: other zones; replicate.c: merging what others
 *                  coordinated; get.c: reads of the local replica; repair.c: read repair; chunk.c:
 *                  immutable values; watch.c: who is told what changes
 *     members/     peers.c: members as seen from here, up or down; swim*.c: what members say of each
 *                  other; members.c: where members are; join.c: init, joining
 *     table/       tables.c: the partition table in use; agree.c, decide*.c, inquiry.c: changes of it;
 *                  moves.c: what a joint table moves; leftovers.c: what a move has left behind
 *     repair/      exchange*.c: anti-entropy, of rows and of chunks; bulk.c: connections for chunks;
 *                  pace.c: a bound on what background work moves; handoff.c: what is kept for others
 *                  goes to them; scrub.c: reads everything, for damage; refill.c: what the disk has
 *                  lost comes back; aged.c: a disk that was away for long; repair_cmd.c: orders
 *     collect/     sweep*.c, lease.c: chunks that nobody refers to; reap.c: rows deleted long ago
 *     rows/        what a store does with rows, pure: shared by the store on disk and that of tests
 *
 * ATOMIC STEPS. "An event that cannot be taken leaves the state unchanged": a handler first does
 * all that can fail (allocations, checks), then changes state and makes effects. Effects come from
 * fixed pools that no step can exhaust (KITH_STEP_EFFECTS says why), so making one never fails.
 *
 * One thread, see node.h. */
#ifndef KITH_CORE_INTERNAL_H
#define KITH_CORE_INTERNAL_H

#include "core/collect/reap.h"
#include "core/collect/sweep.h"
#include "core/conns.h"
#include "core/members/join.h"
#include "core/members/peers.h"
#include "core/pending.h"
#include "core/repair/aged.h"
#include "core/repair/bulk.h"
#include "core/repair/exchange.h"
#include "core/repair/handoff.h"
#include "core/repair/pace.h"
#include "core/repair/refill.h"
#include "core/repair/scrub.h"
#include "core/requests/relay.h"
#include "core/requests/requests.h"
#include "core/requests/watch.h"
#include "core/space.h"
#include "core/table/agree.h"
#include "core/table/inquiry.h"
#include "core/table/moves.h"
#include "core/table/tables.h"

/* ---- The node ---- */

struct kith_node {
    /* identity */
    struct kith_uuid uuid;
    uint64_t incarnation;
    char address[KITH_ADDRESS_SIZE];
    char zone[KITH_ZONE_SIZE];
    uint32_t weight;
    char software[32];
    uint32_t put_timeout_ms;
    bool started;
    uint64_t start_retry_ms; /* not started: its record could not be written; when to try again */
    bool serving;    /* its new incarnation is on disk: it may speak */
    bool ready_said;
    bool has_data; /* a row or a chunk is in the store */
    uint32_t writes_out; /* store operations that may bring data */

    /* time and chance, of the event at hand */
    uint64_t now_ms, wall_ms, started_ms;
    uint64_t deadline_ms; /* of the tick that the last step asked for */
    uint64_t random;
    struct kith_hlc hlc;

    /* the cluster; has_cluster only once it, and its table, are on disk */
    bool has_cluster;
    struct kith_cluster cluster;
    struct kith_table *table;       /* NULL without a cluster */
    struct kith_buf table_bytes;
    uint16_t self;                  /* own index in table; KITH_NO_MEMBER */
    struct kith_table *table_next;  /* being written */
    struct kith_buf table_next_bytes;
    struct kith_buf table_retired;  /* of the table before: what an effect may still point to */
    uint64_t table_asked_ms;
    bool stranger_told; /* that we are no member: logged */
    uint32_t table_told; /* clients on connections before this slot were told of the table */

    /* others */
    uint32_t peer_count, peer_capacity;
    struct peer *peers;
    uint16_t *peer_of_member; /* [table->member_count]; KITH_NO_PEER for ourselves */
    uint64_t peers_due_ms;
    uint16_t *busy; /* [peer_capacity] those that a tick looks at */
    uint32_t busy_count;
    uint32_t kept_count, up_count;
    uint64_t alone_ms;   /* since when up_count is 0 */
    uint64_t lost_due_ms; /* some that are down are to be tried again */
    uint32_t reconnects; /* attempts to reach members that are down */
    uint32_t keep_open; /* as KITH_KEEP_OPEN */
    uint32_t relay_min; /* as KITH_RELAY_MIN */
    struct swim swim;
    bool members_dirty, members_writing;
    struct conn *conns; /* [KITH_CONN_SLOTS], open addressing */
    uint32_t conn_count;
    uint64_t hello_due_ms;         /* conns_tick; UINT64_MAX: none is waited for */
    uint64_t refused_ms, refusals; /* what the log was told of connections that were closed */
    uint64_t conn_next;

    /* requests */
    struct pending *pendings; /* [KITH_PENDING_MAX] */
    uint32_t pending_free, pending_count;
    uint32_t pending_fresh; /* slots from this one on were never used, nor their memory touched */
    uint32_t pending_ended; /* slots that become free with the next step */
    uint64_t pending_use;
    uint64_t pending_bytes; /* of contents that the messages of pendings brought */
    uint32_t *heap; /* slots by due_ms */
    uint32_t heap_count;
    uint32_t repairs_out;
    uint64_t puts, gets, scans;
    struct watches watches;
    struct exchanges exchanges;
    struct pace pace;      /* of what anti-entropy brings */
    struct pace zone_pace; /* of what it brings from other zones, and what is handed over there */
    struct scrub scrub;
    enum kith_space space; /* as the store said last */
    uint64_t space_ms;     /* when it is asked again; UINT64_MAX: its answer comes first */
    uint64_t bulk_due_ms;
    struct handoffs handoffs;
    struct moves moves;
    struct leftovers leftovers;
    struct sweep sweep;
    struct refill refill;
    struct aged aged;
    struct reap reap;

    struct join_state *join;

    /* effects of the step at hand */
    struct kith_arena arena;
    uint32_t effect_count;
    struct kith_effect *effects;   /* [KITH_STEP_EFFECTS] */
    struct kith_msg *msgs;         /* one for each effect */
    struct kith_store_op *ops;
};

/* ---- node.c ---- */

/* Writes the record with which this node starts, under that incarnation; then as for meta_put. */
enum kith_err node_identity_put(struct kith_node *node, uint64_t incarnation,
                                void (*then)(struct kith_node *, uint64_t, enum kith_err));
/* The node has a cluster and a table: says READY, once. */
void node_ready(struct kith_node *node);

/* ---- effect.c ---- */

/* A message to send on conn, zeroed but for kind and id; fill in its body before the step ends. */
struct kith_msg *core_send(struct kith_node *node, uint64_t conn, enum kith_msg_kind kind,
                           uint64_t id);
/* An operation under the pending's id; marks it out. */
struct kith_store_op *core_store(struct kith_node *node, struct pending *pending,
                                 enum kith_store_kind kind, uint32_t partition);
void core_connect(struct kith_node *node, uint64_t conn, const char *address);
void core_connect_bulk(struct kith_node *node, uint64_t conn, const char *address);
void core_close(struct kith_node *node, uint64_t conn, const char *reason);
void core_log(struct kith_node *node, int level, const char *format, ...) KITH_PRINTF(3, 4);
/* Text in the step's arena; "" when memory is short: text is for people, the code beside it for
 * programs. */
const char *core_text(struct kith_node *node, const char *format, ...) KITH_PRINTF(2, 3);
struct kith_status core_status(enum kith_err err, const char *message);
static inline struct kith_status core_ok(void)
{
    return core_status(KITH_OK, "");
}
enum { LEVEL_ERROR, LEVEL_WARN, LEVEL_INFO, LEVEL_DEBUG };
/* 64 bits; deterministic from the events' random. */
uint64_t core_random(struct kith_node *node);

/* ---- pending.c ---- */

enum kith_err pending_init(struct kith_node *node);
void pending_release_all(struct kith_node *node);
/* NULL when KITH_PENDING_MAX are under way, or KITH_PENDING_BYTES_MAX with what `asked` brings. */
struct pending *pending_new(struct kith_node *node, enum pending_kind kind, uint64_t conn,
                            const struct kith_msg *asked, uint64_t timeout_ms);
/* Another id: what comes under the old one is not taken any more. No store operation is out. */
void pending_renew(struct kith_node *node, struct pending *pending);
/* NULL when it has ended. */
struct pending *pending_get(struct kith_node *node, uint64_t id);
/* Ends it; while a store operation is out the slot stays, answered, until the completion. Its arena
 * lives until the next step, for the effects that point into it. */
void pending_end(struct kith_node *node, struct pending *pending);
/* At the start of a step: frees what the last one ended. */
void pending_bury(struct kith_node *node);
/* Looks at it at due_ms, before its deadline. */
void pending_set_due(struct kith_node *node, struct pending *pending, uint64_t due_ms);
/* The last completion of its operation has come. */
void core_stored_last(struct kith_node *node, struct pending *pending);
/* Brings its next look forward to now. */
void pending_poke(struct kith_node *node, struct pending *pending);
uint64_t pending_due(const struct kith_node *node); /* UINT64_MAX = none */
/* Expires and rechecks up to KITH_STEP_TIMERS that are due. */
void pending_tick(struct kith_node *node);
/* An answer with nothing but a status, of the kind that fits the question. */
void pending_refuse(struct kith_node *node, struct pending *pending, enum kith_err err,
                    const char *message);
void core_refuse(struct kith_node *node, uint64_t conn, const struct kith_msg *asked,
                 enum kith_err err, const char *message);
/* ELIMIT as EREFUSED, in the words of everyone who meets a full pool. */
void core_refuse_full(struct kith_node *node, uint64_t conn, const struct kith_msg *asked);

/* ---- meta.c ---- */

/* Writes `value` (copied) under key; then(node, arg, err) when it is on disk or could not be
 * written (which is logged). ENOMEM, ELIMIT: then is not called. */
enum kith_err meta_put(struct kith_node *node, enum kith_meta_key key, struct kith_bytes value,
                       void (*then)(struct kith_node *, uint64_t, enum kith_err), uint64_t arg);
void meta_done(struct kith_node *node, struct pending *pending, const struct kith_store_done *done);
void meta_encode_cluster(const struct kith_cluster *cluster, struct kith_buf *buf);
enum kith_err meta_decode_cluster(struct kith_bytes bytes, struct kith_cluster *ret_cluster);
/* Ends a record with the checksum of all before; or verifies and cuts it off. */
void meta_seal(struct kith_buf *buf);
enum kith_err meta_unseal(struct kith_bytes *bytes);

#endif
