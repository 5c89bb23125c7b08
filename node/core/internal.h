/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * internal.h - what the files of the node's core share; nobody else includes it.
 *
 *     node.c      life of a node, dispatch of events     put.c        coordination of writes
 *     put_spread.c  copies of a write: owners, who stands in for them; put_relay.c, relay.c: other zones
 *     effect.c    how effects are made                   replicate.c  merging what others coordinated
 *     pending.c   requests under way, their deadlines    get.c        reads of the local replica
 *     conns.c     connections and who is behind them     repair.c     read repair
 *     peers.c     members as seen from here: up or down  chunk.c      immutable values
 *     swim*.c     what members say of each other         members.c    where members are
 *     tables.c    the partition table in use             join.c       init, joining
 *     meta.c      the node's own small records       agree.c      changes of the table
 *     watch.c     who is told what changes               bulk.c       connections for chunks
 *     exchange.c  anti-entropy; exchange_rows.c and exchange_chunks.c: of rows, of chunks
 *     pace.c      a bound on what background work moves  scrub.c      reads everything, for damage
 *     handoff.c   what is kept for others goes to them   status.c     what this node says of itself
 *     figures.c   what is counted, for metrics
 *     space.c     how full the disk is               moves.c      a joint table: what it moves
 *     leftovers.c  what a move has left behind           refill.c     what the disk has lost comes back
 *     sweep.c, lease.c  chunks that nobody refers to     reap.c       rows that were deleted long ago
 *
 * ATOMIC STEPS. "An event that cannot be taken leaves the state unchanged": a handler first does
 * all that can fail (allocations, checks), then changes state and makes effects. Effects come from
 * fixed pools that no step can exhaust (KITH_STEP_EFFECTS says why), so making one never fails.
 *
 * One thread, see node.h. */
#ifndef KITH_CORE_INTERNAL_H
#define KITH_CORE_INTERNAL_H

#include "core/inquiry.h"
#include "core/moves.h"
#include "core/pending.h"
#include "core/reap.h"
#include "core/aged.h"
#include "core/refill.h"
#include "core/relay.h"
#include "core/space.h"
#include "core/sweep.h"

/* ---- Connections ---- */

struct conn {
    uint64_t id; /* 0 = empty slot */
    bool ours;   /* we opened it */
    bool bulk;   /* ours, and a bulk one */
    bool theirs_bulk; /* theirs, and a bulk one: what is small does not go there */
    bool hello;  /* theirs has come and was right */
    uint64_t hello_ms; /* when theirs is to have come at the latest; 0: it has, or we opened it */
    enum kith_peer_role role;
    uint16_t peer;         /* KITH_NO_PEER: a client, or not known as a member */
    struct kith_uuid node;
    /* watch.c */
    uint32_t watch_first, watch_count;
    uint64_t watch_session;  /* 0: none yet */
    uint64_t watch_until_ms; /* the lease of all its watches; 0: none */
    uint64_t watch_own;
    uint32_t watch_table; /* watches.table when the session began */
};

/* ---- Peers: the other members ---- */

enum peer_state { PEER_IDLE, PEER_CONNECTING, PEER_OPENED, PEER_READY };

struct bulk_link { /* bulk.c; all zero at first */
    enum peer_state state;
    uint64_t conn;
    uint64_t since_ms; /* when the state was entered */
    uint64_t used_ms;  /* READY: when it was last asked for */
    uint64_t retry_ms; /* IDLE: not before */
    uint32_t backoff_ms;
};

struct peer {
    struct kith_uuid uuid;
    struct kith_member_info info; /* incarnation, address; zone and weight as in the table */
    enum peer_state state;
    bool member;       /* of the table in use */
    bool kept;         /* its connection is always open, or being made */
    bool up;           /* requests may go to it: READY, and it answers (peers.c) */
    bool said_up;      /* what the log says last */
    bool busy;         /* among node->busy: something may have to be done with it */
    bool full;         /* it takes no values, as it said last (space.c) */
    uint64_t conn;     /* ours to it, 0 = none */
    uint64_t since_ms; /* when the state was entered */
    uint64_t seen_ms;  /* last sign of life, on any connection; 0 = never */
    uint64_t answered_ms; /* last answer on our connection: what we send gets there */
    uint64_t used_ms;  /* somebody wanted the connection */
    uint64_t retry_ms; /* IDLE: when to connect */
    uint64_t ping_ms;  /* READY: when to ping */
    uint64_t pinged_ms;
    uint64_t doubt_ms; /* a request waits since then, and nothing was answered since; 0 = none */
    uint64_t asked_ms; /* doubted: when it was asked for a sign of life; 0 = not yet */
    uint64_t late_ms;  /* no put waits for it before: another was faster although its copy could wait */
    uint32_t backoff_ms;
    uint32_t relays;  /* chunks that are passed on to it: relay.c */
    struct bulk_link bulk;
    /* swim.c */
    enum kith_liveness live; /* what members say of it */
    uint64_t said;           /* of its incarnation */
    uint64_t suspect_ms;     /* since when */
    uint64_t changed_ms;     /* when the record was last news; 0 = never */
    uint8_t by_count, sends; /* sends: how often the record is still to go out */
    struct kith_uuid by[KITH_CONFIRMS + 1]; /* who say so */
    struct kith_table_id moved; /* it has done its part of what that table moves */
};

/* ---- Watches: watch.c ---- */

struct watches {
    uint32_t count;
    uint32_t capacity;   /* slots, a power of two; 0 before the first watch */
    uint32_t free;       /* a list of slots */
    uint32_t *heads;     /* [capacity] chains by group */
    struct watch *pool;  /* [capacity] */
    uint32_t swept;      /* the slot that was last looked at for a lease that is over */
    uint64_t sessions;   /* begun so far */
    uint32_t table;      /* tables used so far */
    bool ending;         /* there may be connections with watches of former tables, */
    uint32_t ended_at;   /* from this slot of the table of connections on */
};

/* ---- Anti-entropy: exchange.c ---- */

struct exchange_pair { /* a partition of ours, and another owner of it */
    uint32_t partition;
    uint16_t peer;
    bool out;       /* an exchange is under way */
    bool again;     /* at once after the one that is under way */
    bool tell;      /* the other owner is told to ask us, too */
    bool first;     /* it comes before all others */
    bool weak;      /* when it was asked last, the other owner had lost some of it himself */
    bool suspected; /* leaves have differed: */
    struct kith_leaf_set suspects;
    struct kith_leaf_set looked; /* those that were fetched since they were first suspected */
    struct kith_leaf_set same;   /* where the store is aged: those that were the same once */
    uint64_t due_ms;
    uint64_t ended_ms; /* the last one; 0: none yet */
    uint64_t brought, bytes; /* rows, or chunks, since `round_ms` */
    uint64_t tree_bytes;     /* sums and hashes that were exchanged to find them */
    uint64_t whole_ms; /* the last one that was carried through; 0: none yet */
};

enum exchange_class { EXCHANGE_ROWS, EXCHANGE_CHUNKS, EXCHANGE_CLASSES };

struct exchanges {
    bool made; /* the pairs are those of the table */
    bool first;                  /* some of the pairs may be */
    uint32_t own_count;          /* pairs with other owners, of each class; behind them guests */
    uint32_t pair_count;         /* of each class, both */
    uint32_t rows_left;          /* pairs of rows that were never carried through */
    struct exchange_pair *pairs; /* those of rows, then those of chunks */
    uint32_t next[EXCHANGE_CLASSES]; /* the pair of each class to look at */
    uint32_t out[EXCHANGE_CLASSES];  /* under way */
    uint32_t fetches;                /* chunks that are being fetched */
    uint64_t due_ms;
    uint64_t gap_ms; /* while the node is busy none begins before */
    uint64_t taken[EXCHANGE_CLASSES]; /* since it said so last */
    uint64_t damaged;    /* rows and chunks found so, since the start */
    uint64_t round_ms;   /* when all pairs began to be compared */
    bool stopped;        /* by an administrator */
    uint32_t tells;      /* of this step */
};

/* ---- A bound on background transfers: pace.c ---- */

#define KITH_PACE_MAX (UINT64_C(1) << 40) /* bytes a second */

struct pace {
    uint64_t rate;   /* bytes a second; 0 = no bound */
    int64_t balance; /* bytes that may be moved; below 0: so many too many were */
    uint64_t at_ms;  /* of which time it is */
    uint32_t parts;  /* thousandths of a byte beside it */
};

/* ---- Scrub: scrub.c ---- */

struct scrub {
    uint64_t period_ms; /* of a pass; 0: only when asked for */
    struct pace pace;
    bool asked;         /* a pass is to be as fast as it may */
    bool anew;          /* it has begun; an operation that is out is of the one before */
    bool out;           /* an operation is */
    bool rested;        /* it has waited before what comes next */
    /* where it is */
    uint32_t partition, leaf;
    bool chunks, has_after;
    struct kith_chunk_id after;
    uint32_t left;    /* partitions of this pass, this one included */
    uint64_t slot_ms; /* when the partition's rows, or chunks, were begun */
    uint64_t due_ms;
    uint64_t saved_ms;
    /* of this pass */
    uint64_t begun_wall_ms, rows, chunk_count, bytes, damaged, wrong;
    uint64_t ended_wall_ms; /* the last one; 0: none yet */
    uint64_t ended_damaged; /* what that found */
};

/* ---- Hints: handoff.c ---- */

struct handoffs {
    bool listing;      /* the list is being read, by the pending of this id */
    uint64_t list_id;
    bool again;        /* hints came, or an owner came up: it is to be read again */
    bool listed;       /* the list is of the time of this table */
    uint32_t count, capacity;
    struct kith_store_hints *list; /* partitions with hints, as it was a while ago */
    uint32_t turn;     /* the next peer that is looked at; peer_count: this node; then none */
    uint32_t out;      /* on their way to owners */
    uint64_t due_ms;
    uint64_t sent;     /* rows since it was said last */
    struct {           /* who hands over to us now */
        struct kith_uuid node;
        uint64_t until_ms;
    } senders[KITH_HANDOFF_SENDERS];
};

/* ---- The node ---- */

struct join_state; /* below */

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

/* ---- conns.c ---- */

enum kith_err conns_init(struct kith_node *node);
struct conn *conn_find(struct kith_node *node, uint64_t id);
/* Whether a node asks; else it is refused, for good (EPERM). */
bool conn_is_node(struct kith_node *node, uint64_t id, const struct kith_msg *msg);
struct conn *conn_add(struct kith_node *node, uint64_t id, bool ours); /* NULL: full */
void conn_remove(struct kith_node *node, uint64_t id);
void conn_hello(struct kith_node *node, uint64_t conn);
void conns_tick(struct kith_node *node);
/* A line about the end of a connection; only some of them are written. */
void conn_log(struct kith_node *node, const char *what, const char *reason);
/* Takes a hello; closes the connection where it is not right. */
void conn_take_hello(struct kith_node *node, struct conn *conn, const struct kith_hello *hello);
/* Ends it with a reason for both sides. */
void conn_refuse(struct kith_node *node, struct conn *conn, enum kith_err err, const char *reason);

/* ---- peers.c ---- */

struct peer *peer_find(struct kith_node *node, const struct kith_uuid *uuid);
uint16_t peer_index(const struct kith_node *node, const struct peer *peer);
/* Makes a peer of each other member of the table and fills peer_of_member. ENOMEM: nothing
 * changed. */
enum kith_err peers_prepare(struct kith_node *node, const struct kith_table *table,
                            uint16_t **ret_peer_of_member);
/* A node that is no member, and was one: requests may go to it. KITH_NO_PEER: no memory, or too
 * many. */
uint16_t peers_stranger(struct kith_node *node, const struct kith_member_info *info);
void peers_opened(struct kith_node *node, struct conn *conn);
void peers_closed(struct kith_node *node, struct conn *conn);
void peers_ready(struct kith_node *node, struct conn *conn);
/* A message has come over that connection. */
void peers_heard(struct kith_node *node, const struct conn *conn, enum kith_msg_kind kind);
/* Decides which connections are kept, after a change of the table. */
void peers_keep(struct kith_node *node);
/* Somebody needs the connection: it is made where there is none, and stays a while. True: it is
 * open, and a message may go. */
bool peer_want(struct kith_node *node, struct peer *peer);
/* READY ones only. A ping asks for an answer, a push for none. */
void peer_ping(struct kith_node *node, struct peer *peer);
void peer_push(struct kith_node *node, struct peer *peer);
/* A connection to it on which a message may go, whoever has opened it; 0: none. */
uint64_t peer_reach(const struct kith_node *node, const struct peer *peer);
/* Whether it lives, as far as this node knows: for people, and where a majority counts. */
bool peer_alive(const struct peer *peer);
/* What members say of it is another word than before. */
void peer_live_changed(struct kith_node *node, struct peer *peer);
/* A request has waited for this peer since then. After KITH_DOUBT_AFTER_MS without an answer to
 * anything it is asked for a sign of life, and without one by KITH_DOUBT_MS it is no
 * longer up: what waits for it fails, and nothing new is sent to it. Whatever it answers brings it
 * back at once. Only this node goes by that: it is never gossiped, and it takes a request that waits.
 * To be called when a request is sent (costs two comparisons), and again where one waits on. */
void peer_doubt(struct kith_node *node, uint16_t peer, uint64_t since_ms);
/* The step at hand comes so much later than was asked for: no silence of others. */
void peers_late(struct kith_node *node, uint64_t late_ms);
/* This node stood still for so long, and heard nobody: that says nothing of the others. */
void peers_paused(struct kith_node *node, uint64_t pause_ms);
void peers_tick(struct kith_node *node);
uint64_t peers_due(const struct kith_node *node);
void peers_ping(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
/* All members of the table in use have said that they have these features (bits, data/protocol.h). */
bool peers_have(const struct kith_node *node, uint64_t features);
/* Fresh knowledge of where it is: try at once. */
void peer_retry_now(struct kith_node *node, struct peer *peer);

/* ---- members.c ---- */

void members_self(const struct kith_node *node, struct kith_member_info *ret_info);
void members_learn(struct kith_node *node, const struct kith_member_info *info);
/* The peer has started again, under a higher incarnation than was known, and listens there. */
void members_moved(struct kith_node *node, struct peer *peer, const struct kith_member_news *news);
/* All records, our own first, in the step's arena; 0 when memory is short. */
uint32_t members_all(struct kith_node *node, const struct kith_member_info **ret_members);
void members_encode(const struct kith_member_info *infos, uint32_t count, struct kith_buf *buf);
void members_save(struct kith_node *node); /* when dirty and not being written */
enum kith_err members_load(struct kith_node *node, struct kith_bytes bytes,
                           struct kith_error *error);

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

/* ---- tables.c ---- */

/* Takes over `table`; used once it is on disk. Nothing where it is not newer. */
void table_learn(struct kith_node *node, struct kith_bytes encoded);
enum kith_err table_use(struct kith_node *node, struct kith_table *table,
                        struct kith_bytes encoded);
void table_ask(struct kith_node *node, uint64_t conn);
void table_ask_anyone(struct kith_node *node);
/* Tells clients of the table in use, some in each tick. */
void table_tell(struct kith_node *node);
uint64_t table_tell_due(const struct kith_node *node);
/* Logs, once, that this node is no member any more, and what to do then. */
void table_stranger(struct kith_node *node);
void table_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void table_res(struct kith_node *node, const struct kith_msg *msg);
/* Whether one table is decided and in use here, as far as this node knows, and none about to be. That
 * others have it too, who asks them learns. */
bool table_settled(const struct kith_node *node);
enum table_verdict { TABLE_FITS, TABLE_STALE, TABLE_AHEAD, TABLE_NOT_OURS, TABLE_NONE };
/* How the table that a request names stands to ours, and whether we own the partition. */
enum table_verdict table_check(const struct kith_node *node, const struct kith_table_id *named,
                               uint32_t partition);
/* Answers what does not fit; true where the request may go on. */
bool table_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                 const struct kith_table_id *named, uint32_t partition);
/* The same for what those take and answer as well who are to own the partition next. */
bool table_admit_holder(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                        const struct kith_table_id *named, uint32_t partition);
/* Whether this node takes and answers what is of the partition: as an owner, or the next one. */
bool table_holds(const struct kith_node *node, uint32_t partition);

/* ---- requests ---- */

void put_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
enum kith_err put_stored(struct kith_node *node, struct pending *pending,
                         const struct kith_store_done *done);
enum kith_err put_found(struct kith_node *node, struct pending *pending, uint16_t peer,
                        const struct kith_msg *msg);
void put_replicated(struct kith_node *node, struct pending *pending, uint16_t peer,
                    const struct kith_replicate_res *res);
void put_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
void put_recheck(struct kith_node *node, struct pending *pending);
/* Another table is in use: those under way count their copies by the one before, and end. */
void put_table_changed(struct kith_node *node);
void put_expire(struct kith_node *node, struct pending *pending);
/* put.c, for put_spread.c */
void put_answer_ok(struct kith_node *node, struct pending *pending);
uint32_t put_timeout(const struct kith_node *node, uint32_t asked);
/* The place of a peer whose answer is due; -1. */
int put_other(const struct pending_put *put, uint16_t peer);
const char *put_down_names(struct kith_node *node, const struct pending_put *put);
/* put_spread.c */
/* How many copies are wanted beside those at `places` (a mask; what counts alone) and, where `own`,
 * ours. */
uint32_t put_lacks(const struct kith_node *node, const struct pending_put *put, uint32_t places,
                   bool own);
/* Our own store has it at `os`: copies go out. ENOMEM: nothing has happened. */
enum kith_err put_stored_os(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done);
/* The completion of a REREAD or NOTE. */
enum kith_err put_again_stored(struct kith_node *node, struct pending *pending,
                               const struct kith_store_done *done);
/* After a change of copies, of those who are waited for, or of time: answers when the outcome is
 * known, and sees to more copies. */
void put_progress(struct kith_node *node, struct pending *pending);
/* Whether it was begun under another table than the one in use. */
bool put_outdated(const struct kith_node *node, const struct pending_put *put);
/* How many nodes could stand in, `most` at most. */
uint32_t put_stand_ins_up(const struct kith_node *node, const struct pending_put *put,
                          uint32_t partition, uint32_t most);
/* Places for nodes that may have stood in for the first try. */
/* Whether a copy may go there: it is up, and takes such a write. */
bool put_takes(const struct kith_node *node, const struct pending_put *put, uint16_t peer);
void put_add_fallbacks(const struct kith_node *node, struct pending_put *put, uint32_t partition);
/* In the pending's arena: what our own store keeps for the owners; NULL: no memory. */
const struct kith_hint_want *put_hint_want(struct kith_node *node, struct pending *pending,
                                           uint32_t partition);

void replicate_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void replicate_stored(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done);
void get_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void scan_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void groups_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void find_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void sums_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void leaf_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void chunk_list_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void read_stored(struct kith_node *node, struct pending *pending,
                 const struct kith_store_done *done);
void repair_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
enum kith_err repair_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                         const struct kith_get_res *res);
void repair_stored(struct kith_node *node, struct pending *pending);
void repair_end(struct kith_node *node, struct pending *pending);
void chunk_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void chunk_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
/* lease.c: its leases are there, or (err) cannot be had. */
void chunk_leased(struct kith_node *node, struct pending *pending, enum kith_err err,
                  const char *message);
void put_leased(struct kith_node *node, struct pending *pending, enum kith_err err,
                const char *message);
/* Takes what was leased to what was before. ENOMEM. */
enum kith_err leases_add(struct kith_arena *arena, struct pending_leases *leases, uint32_t count,
                         const struct kith_chunk_id *ids);
struct kith_refs_rule leases_rule(const struct kith_node *node,
                                  const struct pending_leases *leases);
/* repair_cmd.c */
void repair_cmd(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void repair_answer(struct kith_node *node, const struct pending *pending,
                   const struct kith_store_counts *counts);
void status_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void explain_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void status_stored(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done);

/* ---- exchange.c: anti-entropy, the side that wants to catch up ---- */

void exchange_release(struct kith_node *node);
/* Another table is in use: other pairs. */
void exchange_table_changed(struct kith_node *node);
void exchange_peer_up(struct kith_node *node, uint16_t peer);
/* A pair with a former owner of a partition of ours, in that place; whether it was compared to the
 * end; whether nothing of it is under way. */
void exchange_guest_set(struct kith_node *node, uint32_t guest, uint32_t partition, uint16_t peer);
bool exchange_guest_whole(const struct kith_node *node, uint32_t guest);
bool exchange_guest_rests(const struct kith_node *node, uint32_t guest);
/* A chunk of the partition was put here, and not on all owners: they are told to look for it. */
void exchange_thin(struct kith_node *node, uint32_t partition);
/* A chunk of the partition that a client has put is not here. It may be on its way; else it comes from
 * the other owners. */
void exchange_late(struct kith_node *node, uint32_t partition);
/* The peer has something of the partition that may be missing here. */
void exchange_hurry(struct kith_node *node, uint32_t partition, uint16_t peer, bool chunks);
/* So many rows or chunks of the partition were damaged here, and are missing now. */
void exchange_damaged(struct kith_node *node, uint32_t partition, uint32_t count);
/* An exchange or a fetch. */
void exchange_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
/* The peer's bulk connection is there; it could not be opened, or has ended. */
void exchange_bulk_up(struct kith_node *node, uint16_t peer);
void exchange_bulk_down(struct kith_node *node, uint16_t peer);
/* SUMS_RES, LEAF_RES or CHUNK_LIST_RES of that peer. */
void exchange_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                  const struct kith_msg *msg);
void exchange_stored(struct kith_node *node, struct pending *pending,
                     const struct kith_store_done *done);
/* Goes on with what one step could not do. */
void exchange_recheck(struct kith_node *node, struct pending *pending);
/* The pair is due again after so long; 0: with all others. */
void exchange_end(struct kith_node *node, struct pending *pending, uint64_t again_ms);
/* What one has brought. */
void exchange_brought(struct kith_node *node, struct pending *pending, uint64_t count,
                      uint64_t bytes);
/* Whether all that the other owners had when this node started, or since, is here: its rows are none of
 * an old copy of its disk any more, and it can be told what they refer to. */
bool exchange_caught_up(const struct kith_node *node);
/* The store has become an aged one (aged.h): none of its leaves is known to be the same elsewhere. */
void exchange_aged(struct kith_node *node);
/* Whether each leaf was since. */
bool exchange_same(const struct exchange_pair *pair);
/* All pairs are due; or none is compared any more. */
void exchange_start(struct kith_node *node);
void exchange_stop(struct kith_node *node);
void exchange_tick(struct kith_node *node);
uint64_t exchange_due(const struct kith_node *node);

/* ---- What the files of anti-entropy share ---- */

/* exchange.c */
struct exchange_pair *exchange_pair_of(struct kith_node *node, const struct pending *pending);
/* A message to the other owner; NULL, and the exchange has ended: he is down. */
struct kith_msg *exchange_ask(struct kith_node *node, struct pending *pending,
                              enum kith_msg_kind kind);
/* The leaves from `leaf` on that are wanted, and before `end`. */
struct kith_leaf_set exchange_wanted(const struct pending_exchange *exchange, uint32_t end);
/* Whether it is to begin no further page: it has ended (all leaves are done, or its slice is over),
 * or waits until it may move more (exchange_recheck). Else `leaf` is one that is wanted. */
bool exchange_rests(struct kith_node *node, struct pending *pending);
/* Looked at again after so long. */
void exchange_pause(struct kith_node *node, struct pending *pending, uint64_t ms);
/* What clients wait for goes first. */
bool exchange_busy(const struct kith_node *node);
/* exchange_rows.c */
void exchange_rows_next(struct kith_node *node, struct pending *pending);
void exchange_rows_stored(struct kith_node *node, struct pending *pending,
                          const struct kith_store_done *done);
void exchange_rows_got(struct kith_node *node, struct pending *pending,
                       const struct kith_leaf_res *res);
void exchange_rows_recheck(struct kith_node *node, struct pending *pending);
bool exchange_rows_tell(struct kith_node *node, struct pending_exchange *exchange);
/* exchange_chunks.c */
void exchange_chunks_next(struct kith_node *node, struct pending *pending);
void exchange_chunks_stored(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done);
void exchange_chunks_got(struct kith_node *node, struct pending *pending,
                         const struct kith_chunk_list_res *res);
void exchange_chunks_recheck(struct kith_node *node, struct pending *pending);
void fetch_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_chunk_res *res);
void fetch_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
void fetch_expire(struct kith_node *node, struct pending *pending);
void fetch_lost(struct kith_node *node, struct pending *pending);

/* ---- bulk.c: connections for contents of chunks ---- */

/* That to the peer; 0: it is being opened, and exchange_bulk_up or _down follows. False: it cannot
 * be had now. */
bool bulk_conn(struct kith_node *node, uint16_t peer, uint64_t *ret_conn);
/* Ends it: what was asked there got no answer. */
void bulk_give_up(struct kith_node *node, uint16_t peer, const char *why);
void bulk_opened(struct kith_node *node, const struct conn *conn);
void bulk_ready(struct kith_node *node, const struct conn *conn);
void bulk_closed(struct kith_node *node, const struct conn *conn);
void bulk_tick(struct kith_node *node);
uint64_t bulk_due(const struct kith_node *node);

/* ---- scrub.c ---- */

/* From the record where the last run of the daemon was; empty: none. `rate` as pace_set has it. */
void scrub_load(struct kith_node *node, uint64_t period_ms, uint64_t rate,
                struct kith_bytes record);
/* A pass from here on, as fast as it may; or no longer so. */
void scrub_ask(struct kith_node *node, bool begin);
void scrub_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);
void scrub_tick(struct kith_node *node);
uint64_t scrub_due(const struct kith_node *node);

/* ---- pace.c ---- */

/* How long background work has to wait before it moves more; 0: not at all. */
uint64_t pace_wait_ms(struct pace *pace, uint64_t now_ms);
/* So much was moved, or is about to be. */
void pace_took(struct pace *pace, uint64_t now_ms, uint64_t bytes);
/* The same of what goes to a peer, or comes from one, in another zone; else none. */
uint64_t pace_far_wait_ms(struct kith_node *node, uint16_t peer);
void pace_far_took(struct kith_node *node, uint16_t peer, uint64_t bytes);
/* Both bounds, of what anti-entropy brings from the peer. */
uint64_t pace_repair_wait_ms(struct kith_node *node, uint16_t peer);
void pace_repair_took(struct kith_node *node, uint16_t peer, uint64_t bytes);
/* Bytes a second; 0: no bound. */
void pace_set(struct pace *pace, uint64_t now_ms, uint64_t rate);

/* ---- handoff.c: what is kept for others goes to them ---- */

void handoff_release(struct kith_node *node);
/* Hints came, an owner came up, another table is in use: look soon. */
void handoff_wake(struct kith_node *node, uint64_t after_ms);
void handoff_tick(struct kith_node *node);
uint64_t handoff_due(const struct kith_node *node);
void handoff_stored(struct kith_node *node, struct pending *pending,
                    const struct kith_store_done *done);
void handoff_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                 const struct kith_handoff_res *res);
void handoff_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer);
/* Goes on after a pause; or the time is over. */
void handoff_expire(struct kith_node *node, struct pending *pending);
/* The other side: rows that are handed over to us. */
void handoff_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void handoff_absorbed(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done);
void hints_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done);

/* ---- watch.c ---- */

void watch_release_all(struct kith_node *node);
void watch_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
/* A store operation with this request's rows (with these rows of others; request NULL: a repair)
 * has been completed, well or not: tells those who watch the group. Nothing may fail in the step
 * after. */
void watch_tell_put(struct kith_node *node, const struct kith_put_req *req);
void watch_tell_rows(struct kith_node *node, const struct kith_group *group,
                     const struct kith_request_id *request, uint32_t count,
                     const struct kith_replica_row *rows);
void watch_conn_gone(struct kith_node *node, struct conn *conn);
/* Another table is in use, or changes cannot be told: all watches end, each with its connection's
 * session, in the ticks that follow. */
void watch_end_all(struct kith_node *node);
void watch_tick(struct kith_node *node);
uint64_t watch_due(const struct kith_node *node);

/* ---- join.c: init, and the new node's side of a join ---- */

enum { JOIN_TEXT = 280 };

struct join_state {
    /* the new node */
    bool wanted;               /* join through `through` */
    bool by_option;            /* kithd --join: try for ever */
    char through[KITH_ADDRESS_SIZE];
    uint64_t contact;          /* connection to it, 0 = none */
    bool asked;                /* JOIN_REQ is out */
    uint64_t contact_since_ms;
    uint64_t retry_ms;
    uint64_t admin;            /* pending of INIT_REQ or JOIN_CMD, 0 = none */
    char last[JOIN_TEXT];      /* what went wrong last, logged once */
    /* becoming a member: records on their way to the disk, one after the other */
    bool installing;
    struct kith_cluster cluster;
    struct kith_table *table;
    struct kith_buf table_bytes;
    struct kith_buf members_bytes;
    /* a member: agree.c */
    struct kith_acceptor acceptor;
    bool may_not_vote;         /* the record of promises could not be read */
    struct kith_proposer proposer;
    uint64_t proposer_ms;      /* when its tick is due */
    uint64_t finish_ms;        /* when a frozen node steps in for who began it; 0 = unset */
    uint64_t alone_ms;         /* and when it does so where that other is gone */
    uint64_t joiner;           /* pending of the JOIN_REQ or PLAN_REQ at work, 0 = none */
    struct kith_member_info joiner_info;
    struct kith_table_id plan; /* PLAN_REQ: the table that it asks for */
};

enum kith_err join_new(struct kith_node *node, const struct kith_node_options *options,
                       struct kith_bytes decide, struct kith_error *error);
void join_free(struct kith_node *node);
void join_init_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void join_cmd(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
enum kith_err join_res(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
bool join_is_contact(const struct kith_node *node, uint64_t conn);
void join_opened(struct kith_node *node, uint64_t conn);
void join_hello(struct kith_node *node, struct conn *conn, const struct kith_hello *hello);
void join_closed(struct kith_node *node, uint64_t conn, const char *reason);
void join_tick(struct kith_node *node);
uint64_t join_due(const struct kith_node *node);

/* ---- agree.c: table changes, a member's side ---- */

bool join_frozen(const struct kith_node *node); /* a table change is being decided: no writes */
void agree_join_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void agree_decide(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
void agree_counted(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done);
void agree_table_used(struct kith_node *node);
/* Proposes a table that may follow ours although there is data (kith_table_follows). EBUSY, ENOMEM. */
enum kith_err agree_propose(struct kith_node *node, const struct kith_table *next,
                            uint64_t timeout_ms);
/* The table that an administrator wants. */
void agree_plan_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg);
void agree_tick(struct kith_node *node);
uint64_t agree_due(struct kith_node *node);

#endif
