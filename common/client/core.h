/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * core.h - the inside of the client's core, shared by its files only.
 *
 *     client_core.c  steps, requests and their timers
 *     asks.c         messages that wait for an answer; what a request holds
 *     submit.c       checks and copies a request
 *     nodes.c        connections, hello, table, the fast view of nodes
 *     zones.c        in which zone this client is
 *     replicas.c     which owners a request asks, in which order; repair
 *     read.c         GET: one full answer and digests
 *     scan.c         SCAN: pages merged in name order
 *     groups.c       GROUPS: lists merged
 *     put.c          PUT
 *     chunk.c        CHUNK_PUT, CHUNK_GET
 *     relay.c        CHUNK_PUT to another zone, once
 *     sync.c         CHUNK_SYNC, STATUS
 *     twins.c        own writes that may have drawn a second dot
 *     hard.c         requests that wait until the cluster answers
 *     watch.c        watches: when they are live, and what may be believed by them
 *     promise.c      how owners are asked to tell changes; leases
 *     where.c        WHERE: what each owner has
 *     view.c         what all of that looks like, for people
 *     session.c      the clocks that answers must cover (invariant 9), and what is lost for good
 *
 * Words: a peer is a node as this client sees it; a link is one connection to it (rows or bulk); an
 * op is a request of the user; an ask is one message of an op that waits for its answer. */
#ifndef KITH_CLIENT_CORE_H
#define KITH_CLIENT_CORE_H

#include "client/client_core.h"
#include "client/watching.h"
#include "wire/wire.h"

#define CC_NEVER          UINT64_MAX
#define CC_PEERS_MAX      (KITH_MEMBERS_MAX + KITH_CLIENT_SERVERS_MAX + 64u) /* 64: STATUS */
#define CC_BACKOFF_MIN_MS 50u
#define CC_BACKOFF_MAX_MS 2000u
#define CC_CONNECT_MS     6000u /* a connection that is not up by then is given up */
/* A try that ends sooner was turned down (refused, unknown host, no way there); one that takes
 * longer met somebody slow, or silence. */
#define CC_TURNED_DOWN_MS 1000u
#define CC_TURNED_DOWN    2u    /* so many of these in a row: once may be a moment's restart */
#define CC_HELLO_MS       2000u /* the same for the node's HELLO on it */
/* A first connect may take this long before the node counts as down. */
#define CC_GRACE_MS 1000u
/* A failed connect that is so young says that the node is down; an older one is worth a try. */
#define CC_FRESH_MS 50u
/* A node that is up answers a connect within this; who waits for it goes on without after it. */
#define CC_URGE_MS        300u
#define CC_SLOW_MIN_MS    1000u /* asked last for this long, doubling */
#define CC_SLOW_MAX_MS    30000u
#define CC_FAILS_MAX      3u    /* failed answers in a row that make a node slow */
/* Owners that were lost for so long are given up: a connection that is lost may be back at once,
 * and a node that came back is tried again only after the back-off. */
#define CC_SHORT_MS       (CC_BACKOFF_MAX_MS + CC_GRACE_MS)
#define CC_THIN_MS        300u /* an owner that was lost is back by then, or not soon */
/* A node that stores or flushes chunks may take seconds, but says something meanwhile: who waits
 * for one that has said nothing for so long has it asked for a sign of life, and without one within
 * the second time it is slow. Together below the second that a call may stall. */
#define CC_DOUBT_AFTER_MS 200u
#define CC_DOUBT_MS       400u
#define CC_READ_TRY_MS    2000u /* a read counts an owner as failed after this; a silent one sooner */
#define CC_PAUSE_MIN_MS   20u   /* before failed owners are asked again, doubling */
#define CC_PAUSE_MAX_MS   500u
#define CC_RTT_MAX_MS     10000u /* what takes longer says nothing of where a node is */
#define CC_TABLE_AGAIN_MS 1000u /* TABLE_REQs because of unreachable members: one in this time */
#define CC_MOVED_MS       15000u /* after a change of tables former owners bring what they have left */
#define CC_REPS_MAX       (KITH_HOLDERS_MAX + 2u) /* owners, and who may stand in for them */
#define CC_WINDOW         32u /* unanswered chunk puts to one node: 32 MiB on their way */
#define CC_RELAY_MIN      4096u /* bytes of a chunk; a smaller one is sent to each owner */
#define CC_RELAY_MS       500u  /* from a relay's answer to those of whom it passed the chunk on to */
#define CC_LINGER_MAX     64u /* answered chunk puts whose last copies are still on their way */
#define CC_ASK_BLOCK      1024u
#define CC_ASK_BLOCKS     64u
#define CC_ASK_BITS       16u         /* CC_ASK_BLOCK * CC_ASK_BLOCKS = 2^16 */
#define CC_OP_ARENA_MAX   (64u << 20) /* bytes one request may hold: pages of 7 replicas, merged */
#define CC_MESSAGE_SIZE   256u

enum cc_link_state {
    CC_LINK_IDLE,
    CC_LINK_CONNECTING,
    CC_LINK_HELLO, /* up, the node has not said who it is */
    CC_LINK_UP,
    CC_LINK_WAITING, /* for the next try */
};

struct cc_link {
    enum cc_link_state state;
    bool failed;        /* the last try failed, or a connection that was up was lost */
    uint64_t conn;      /* CONNECTING, HELLO, UP */
    uint64_t at_ms;     /* CONNECTING, HELLO: give up then; WAITING: try then; UP: up since */
    uint64_t since_ms;  /* of the first try */
    uint64_t failed_ms; /* of the last failure */
    uint64_t lost_ms;   /* of the first one since it was up; 0: none */
    uint32_t down_count; /* tries in a row, up to the last, that were turned down */
    uint64_t down_ms;    /* of the first of these */
    uint32_t backoff_ms;
};

struct cc_peer {
    struct kith_uuid uuid; /* nil: a door, only an address */
    uint64_t incarnation;
    char address[KITH_ADDRESS_SIZE];
    bool door;                /* a server of the options */
    bool member;              /* of the table in use */
    bool checked;             /* its HELLO named our cluster */
    uint32_t wanted;          /* STATUS requests that wait for this address */
    struct cc_peer *identity; /* of a door: who answered there last */
    struct cc_link rows, bulk;
    bool bulk_wanted;
    /* the fast view */
    uint64_t silent_ms; /* slow at this time unless it says something before; CC_NEVER */
    uint32_t fails;
    bool slow; /* asked last until slow_until_ms and until a probe was answered */
    uint64_t slow_until_ms;
    uint32_t slow_ms;
    uint64_t probe_ms; /* the next probe of a slow node */
    bool heard;        /* since it became slow */
    uint64_t heard_ms; /* the last answer, or other sign of life */
    uint64_t doubt_ms; /* asked for one then; 0 = it is not in doubt */
    bool mute;         /* none came in time; until one does */
    /* zones.c */
    bool near; /* it is a member, in this client's zone, and there are others */
    bool rtt_known;
    uint32_t rtt_ms;       /* its fastest answer */
    uint64_t rtt_since_ms; /* a TABLE_REQ is out since then; CC_NEVER */
    uint32_t bulk_asks;
    uint32_t answer_us; /* what a get or scan takes there: a moving mean; 0: nothing is known */
    struct cc_lease lease;
    char reason[128];
};

struct cc_op;
struct cc_ask {
    uint64_t id; /* generation << CC_ASK_BITS | index; 0 = free */
    uint64_t conn;
    struct cc_op *op;
    struct cc_peer *peer;
    struct cc_peer *through; /* it was sent there, to be passed on to `peer`; NULL: directly */
    uint32_t rep; /* which of the op's replicas (or nodes) */
    uint64_t sent_ms;
    bool bulk_put;
    struct cc_ask *next; /* of the op, or free */
};

enum cc_rep_state { CC_REP_NEW, CC_REP_ASKED, CC_REP_HAVE, CC_REP_FAILED };

/* What one replica said of one row. */
struct cc_copy {
    struct kith_bytes name; /* scans */
    struct kith_checksum hash;
    struct kith_bytes state;
    bool has_state;
};

struct cc_rep {
    struct cc_peer *peer;
    enum cc_rep_state state;
    bool hedged;  /* another was asked because this one is late */
    bool missed;  /* a put's coordinator: its lateness is noted */
    bool final;   /* FAILED: asking again changes nothing */
    bool fetched; /* the ask under way is for the full rows of a digest */
    bool digest;
    enum kith_err err;
    uint64_t asked_ms;
    uint64_t had_ms; /* a chunk put: when it became HAVE */
    uint64_t hope_ms; /* since when its connection is waited for; 0: it is not */
    uint64_t asked_change; /* the session's last change when the first ask of this round went out */
    uint32_t row_count;
    struct cc_copy *rows;
    uint32_t fetch_count; /* names asked for again in full */
    uint32_t *fetch;
    bool more;
};

struct cc_held { /* what a request holds until it is released */
    struct kith_msg_box *box;
    struct kith_blob *blob;
    struct cc_held *next;
};

struct cc_get {
    struct kith_group group;
    uint32_t name_count;
    struct kith_bytes *names;
    uint32_t behind; /* the row that was older than what the session has seen */
};
struct cc_scan {
    struct kith_group group;
    bool has_after;
    struct kith_bytes after;
    uint32_t max_rows;
    struct kith_bytes behind; /* as above; in the op's arena or held */
};
struct cc_groups_page {
    uint32_t count;
    bool more;
    struct kith_group *groups; /* in the op's arena */
};
struct cc_groups {
    uint32_t partition, volume;
    bool has_after;
    struct kith_group after;
    struct cc_groups_page *pages; /* [CC_REPS_MAX]; in the op's arena */
};
struct cc_put {
    struct kith_group group;
    struct kith_request_id request;
    enum kith_durability durability;
    uint32_t update_count;
    struct kith_put_update *updates;
    struct kith_bytes writer;
    uint32_t open; /* tries that may have had an effect; an earlier attempt of the user's is one */
};
struct cc_chunk {
    struct kith_chunk_id id;
    bool thin; /* those that there are take it, flushed */
    enum kith_durability durability;
    struct kith_checksum checksum;
    uint32_t ref_count;
    struct kith_chunk_id *refs;
    struct kith_blob *payload;
    uint32_t offset, size;
    bool with_refs; /* a get: they are asked for */
    uint32_t sent;
    uint32_t relayed; /* owners, a bit each, that were sent it through reps[via[i]] */
    uint32_t direct;  /* and those that are not to be sent it that way (again) */
    uint8_t via[CC_REPS_MAX];
    uint32_t flushed; /* owners, a bit each, that were asked when it was thin: they answer from
                         the disk */
};
struct cc_sync_node {
    struct cc_peer *peer;
    enum cc_rep_state state;
    uint64_t asked_ms;
    uint32_t count;
    struct kith_chunk_id *ids;
    uint32_t *at; /* places in the op's list */
    uint32_t *bits; /* which of the chunk's owners it is */
};
struct cc_sync {
    bool lease;
    uint32_t id_count;
    struct kith_chunk_id *ids;
    uint32_t *holders; /* masks of owners, for each id */
    uint32_t *gone;    /* those that cannot be reached, once it is over */
    uint32_t need;
    uint32_t node_count;
    struct cc_sync_node *nodes;
    struct kith_table_id table; /* by which the owners are counted */
    bool bound;
};
struct cc_status {
    struct cc_peer *door; /* NULL = any node */
    bool sent;
};

struct cc_where; /* where.h */

struct cc_op {
    struct cc_op *prev, *next; /* active list, in the order of submission; or free list */
    uint64_t tag;
    uint64_t order; /* of submission, from 1 */
    enum kith_client_kind kind;
    enum kith_level level;
    bool strict;   /* no degraded answer, see client.h */
    bool soft;     /* ends by its deadline, see client.h */
    bool refused;  /* EUNKNOWN, and yet a node has answered it, with a refusal */
    bool active;   /* in the active list and the heap */
    bool done;     /* the result stands */
    bool told;     /* DONE was given out */
    bool lingers;  /* done, but the last copies are still on their way */
    bool released; /* the user is through with the result */
    bool inner;    /* the core's own: nobody is told of its end, and it is not counted as pending */
    bool waits;    /* for a node to come up, for a table, for a window */
    uint64_t started_ms, deadline_ms;
    uint64_t wake_ms;  /* when the op wants to be driven again */
    uint64_t again_ms; /* when failed replicas are to be asked again; CC_NEVER */
    uint32_t pause_ms;
    uint32_t heap_at;
    struct cc_op *done_next;
    struct kith_arena arena;
    struct cc_held *held;
    struct cc_ask *asks;
    struct kith_table *table; /* held; the one that reps follow */
    uint32_t slots;           /* owners among reps, of a read in a move the next ones behind them;
                                 fallbacks come last */
    uint32_t partition;
    struct kith_quorum quorum; /* which of them are enough; bit i is reps[i] */
    uint32_t need;             /* R or W: the fewest that may be enough */
    uint32_t rep_count;
    uint32_t extra; /* replicas to ask beyond `need`: late or insufficient answers */
    bool behind;    /* the answers are older than what the session has seen */
    uint32_t behind_all;          /* rounds in which all owners answered, and were */
    uint64_t behind_since_ms;     /* the first of them */
    uint64_t behind_change;       /* of the session's entry that they were held against */
    struct kith_bytes behind_row; /* the row that was */
    uint64_t short_ms;          /* a chunk put has had too few owners since then; 0 = it has not */
    struct cc_rep reps[CC_REPS_MAX];
    enum kith_err last_err;
    char message[CC_MESSAGE_SIZE];
    struct kith_client_result result;
    union {
        struct cc_get get;
        struct cc_scan scan;
        struct cc_groups groups;
        struct cc_put put;
        struct cc_chunk chunk;
        struct cc_sync sync;
        struct cc_status status;
        struct cc_where *where; /* in the op's arena */
    } u;
};

struct cc_session_entry;
struct cc_session_group;
enum cc_session_age { CC_SESSION_OPEN, CC_SESSION_SETTLED, CC_SESSION_PAST, CC_SESSION_AGES };
struct cc_session_list {
    struct cc_session_entry *oldest, *newest;
};
struct cc_session {
    uint64_t changes; /* of entries' clocks so far; each is known by its number, from 1 */
    uint64_t now_ms;
    uint32_t count;
    uint32_t bucket_count; /* a power of two, of both tables */
    size_t kept_bytes;
    struct cc_session_entry **rows;
    struct cc_session_group **groups;
    struct cc_session_list lists[CC_SESSION_AGES]; /* see session.c */
};

/* Rows of puts that were tried more than once, about 100 bytes each; see twins.c. */
#define CC_TWINS_MAX 4096u
struct cc_twin {
    struct kith_group group;
    uint8_t *name; /* its own */
    uint32_t name_size;
    struct kith_request_id request;
    struct kith_dot dot; /* that the answer told */
    uint64_t at_ms;
    uint8_t *removal; /* the context of the put that removes the other one; NULL: none is due */
    size_t removal_size;
    uint64_t again_ms; /* no removal before */
};
#define CC_TWINS_REMOVING_MAX 16u /* removals under way; who meets what is left brings more */
struct cc_twins {
    uint32_t first, count;
    uint32_t due, removing;
    struct cc_twin *ring; /* [CC_TWINS_MAX], made with the first */
};

struct kith_client_core {
    uint64_t now;
    uint64_t random;
    uint32_t op_timeout_ms, hedge_ms, relay_min;
    uint64_t session_ms;
    bool strict;
    uint32_t w_min;
    bool zone_given, zone_known;
    char zone[KITH_ZONE_SIZE];
    char writer[KITH_WRITER_MAX + 1];
    uint64_t client_id[2];
    uint64_t sequence;
    struct kith_uuid cluster; /* nil until a node said */

    struct kith_table *table;
    uint64_t moved_ms; /* when it took the place of another; 0: it has not */
    struct cc_peer **by_member; /* [table->member_count] */
    struct cc_peer *peers[CC_PEERS_MAX];
    uint32_t peer_count;
    uint64_t next_conn;
    uint64_t peers_wake_ms;
    uint64_t table_asked_ms;

    struct cc_op *active, *active_last;
    struct cc_op *free_ops;
    struct cc_op *finished, *finished_last; /* not yet told */
    uint64_t order;                         /* of the last op */
    bool hard;                              /* hard.c, as what follows */
    struct cc_op *parked, *parked_last;     /* by again_ms; linked by done_next */
    uint32_t parked_count;
    uint32_t pending;                       /* without DONE */
    uint32_t op_count;                      /* all that exist, free or not */
    uint32_t lingering;
    bool waiting_dirty; /* something came that waiting ops may want: cc_drive_waiting */
    struct cc_op **ops; /* all, for the end */
    struct cc_op **heap;
    uint32_t heap_count;

    struct cc_ask *ask_blocks[CC_ASK_BLOCKS];
    uint32_t ask_block_count;
    struct cc_ask *free_asks;

    struct cc_session session;
    struct cc_twins twins;
    struct cc_watches watches;
    uint32_t levels; /* bit l: reads of that level occur (cc_settled) */
    struct kith_client_counts counts;
    enum kith_level read_level, write_level;
    uint64_t repair_window_ms;
    uint32_t repair_sent;

    struct kith_arena step_arena;
    struct kith_client_effect *effects;
    uint32_t effect_count, effect_capacity;
};

/* ---- client_core.c ---- */

/* A fresh draw; a statement of its own each time. */
uint64_t cc_random(struct kith_client_core *core);
/* A message for the next effects, in memory of the step; NULL when memory is short. */
struct kith_msg *cc_message(struct kith_client_core *core, enum kith_msg_kind kind);
void cc_send(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg);
/* An empty effect at the end of the step's; NULL when memory is short. */
struct kith_client_effect *cc_effect_new(struct kith_client_core *core);
void cc_effect_connect(struct kith_client_core *core, uint64_t conn, const char *address,
                       bool bulk);
void cc_effect_close(struct kith_client_core *core, uint64_t conn, const char *reason);
/* Sends msg to the peer and notes that the op waits for the answer; false: no link, no memory. */
bool cc_ask(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer, uint32_t rep,
            struct kith_msg *msg);
/* Notes that the op waits for the answer of replica `rep`, which comes back through another peer under
 * *ret_id; the caller sends the message. False: no link, no memory. */
bool cc_ask_through(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                    struct cc_peer *through, uint64_t *ret_id);
/* Takes the op's asks to replica `rep` back: their answers are ignored. */
void cc_ask_forget(struct kith_client_core *core, struct cc_op *op, uint32_t rep);
void cc_ask_forget_all(struct kith_client_core *core, struct cc_op *op);
/* Tells every op that asked on conn (cc_op_lost). */
void cc_asks_lost(struct kith_client_core *core, uint64_t conn);
/* The ask that a message answers, taken back; NULL for a late or foreign one. */
bool cc_ask_take(struct kith_client_core *core, uint64_t conn, uint64_t id, struct cc_ask *ret_ask);
void cc_asks_release(struct kith_client_core *core);
/* Holds the box of a message for the life of the op. */
bool cc_op_hold(struct cc_op *op, struct kith_msg_box *box, struct kith_blob *blob);
/* Bytes that live as long as the op: borrowed from a held box, or copied. false: ENOMEM. */
bool cc_op_keep(struct cc_op *op, bool held, struct kith_bytes from, struct kith_bytes *ret_bytes);
/* Ends the op: with its result set (OK), or with an error and a message. */
void cc_op_finish(struct kith_client_core *core, struct cc_op *op);
void cc_op_finished(struct kith_client_core *core, struct cc_op *op); /* its DONE may be told */
void cc_op_fail(struct kith_client_core *core, struct cc_op *op, enum kith_err err,
                const char *format, ...) KITH_PRINTF(4, 5);
/* An op from the pool, zeroed but for its arena; NULL: ENOMEM. */
struct cc_op *cc_op_new(struct kith_client_core *core);
/* Back to the pool. */
void cc_op_recycle(struct kith_client_core *core, struct cc_op *op);
/* Everything of a lingering op has ended. */
void cc_op_end(struct kith_client_core *core, struct cc_op *op);
void cc_op_wake(struct kith_client_core *core, struct cc_op *op, uint64_t at_ms);
/* The same request again, under its tag. false: limit or memory. */
bool cc_op_begin_anew(struct kith_client_core *core, const struct kith_client_op *from, uint64_t tag);
/* A put of the core's own. false: limit or memory. */
bool cc_op_begin_inner(struct kith_client_core *core, const struct kith_client_op *from);
/* Drives the ops that wait: a node came or went, a table came, a window opened. */
void cc_drive_waiting(struct kith_client_core *core);
void cc_drive(struct kith_client_core *core, struct cc_op *op);
uint32_t cc_op_left_ms(const struct kith_client_core *core, const struct cc_op *op);

/* ---- submit.c ---- */

/* Checks the sizes and copies the request into op. EINVAL, ENOMEM; op is recycled by the caller. */
KITH_MUST_CHECK enum kith_err cc_submit_copy(struct kith_client_core *core, struct cc_op *op,
                                             const struct kith_client_op *from);

/* ---- nodes.c ---- */

KITH_MUST_CHECK enum kith_err cc_nodes_init(struct kith_client_core *core, uint32_t count,
                                            const char *const *servers);
void cc_nodes_release(struct kith_client_core *core);
void cc_nodes_tick(struct kith_client_core *core);
void cc_nodes_opened(struct kith_client_core *core, uint64_t conn);
void cc_nodes_closed(struct kith_client_core *core, uint64_t conn, const char *reason);
/* A message that nobody waits for any more is a sign of life all the same. */
void cc_nodes_heard(struct kith_client_core *core, uint64_t conn);
/* HELLO and TABLE_RES. */
void cc_nodes_message(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg);
/* Takes an encoded table if it is newer; true when the table in use is newer than `than` now. */
bool cc_table_adopt(struct kith_client_core *core, struct kith_bytes bytes,
                    const struct kith_table *than);
void cc_table_ask(struct kith_client_core *core);
/* The link to send on, NULL when it is not up; asks for a bulk link where there is none. */
struct cc_link *cc_peer_link(struct kith_client_core *core, struct cc_peer *peer, bool bulk);
static inline bool cc_peer_up(const struct cc_peer *peer)
{
    return peer->rows.state == CC_LINK_UP;
}
/* Down for good as far as this moment goes: its last connect failed, or the first one takes long.
 */
bool cc_peer_down(const struct kith_client_core *core, const struct cc_peer *peer, bool bulk);
/* How long there has been none since the last one, ms; 0: there is one, or it has not been tried. */
uint64_t cc_peer_lost_for(const struct kith_client_core *core, const struct cc_peer *peer,
                          bool bulk);
void cc_peer_missed(struct kith_client_core *core, struct cc_peer *peer);
/* Somebody has waited for it since since_ms. After a while it is asked for a sign of life; without
 * one it becomes slow, and ops that wait (op->waits) are driven. True: it is known to be silent. The
 * op, which is driven again in time, calls this as long as it waits. */
bool cc_peer_silent(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer,
                    uint64_t since_ms);
/* The same, of one that was asked for a sign of life in vain alone: not of one that is only late. */
bool cc_peer_mute(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer,
                  uint64_t since_ms);
/* It was asked to read: if it says nothing for three times hedge_ms it is slow, also where the
 * request has long ended with the answers of others. */
void cc_peer_watch(struct kith_client_core *core, struct cc_peer *peer, uint32_t hedge_ms);
void cc_peer_failed(struct kith_client_core *core, struct cc_peer *peer);
void cc_peer_answered(struct kith_client_core *core, struct cc_peer *peer);
/* The peer with this address, made where there is none; NULL: limit or memory. */
struct cc_peer *cc_peer_at(struct kith_client_core *core, const char *address);

/* ---- zones.c ---- */

/* Another table, or a faster answer: which members are near. */
void cc_zones_look(struct kith_client_core *core);
/* A TABLE_REQ goes to the peer; its answer has come. */
void cc_zones_asked(struct kith_client_core *core, struct cc_peer *peer);
void cc_zones_answered(struct kith_client_core *core, struct cc_peer *peer);

/* ---- replicas.c ---- */

/* Call first in every drive: points reps at the owners under the table in use, makes failed ones
 * new again when their time has come. false: there is no table yet, the op waits; or the op has
 * failed. */
bool cc_replicas_prepare(struct kith_client_core *core, struct cc_op *op, bool bulk);
/* Forgets reps and asks: prepare will follow a newer table. */
void cc_replicas_unbind(struct kith_client_core *core, struct cc_op *op);
/* The best replica not asked yet that can be asked now: owners in the order of the table from
 * `first` on, those that are near before the others, slow ones after these, mute ones after these,
 * fallbacks last. CC_REPS_MAX when there is none. */
uint32_t cc_replicas_next(struct kith_client_core *core, const struct cc_op *op, bool bulk,
                          uint32_t first);
/* The next owner that a read asks, which wants so many in all, and those of its level; CC_REPS_MAX:
 * none, or none that can be asked now. */
uint32_t cc_replicas_next_read(struct kith_client_core *core, const struct cc_op *op,
                               uint32_t want);
/* Whether there would be another one to ask, if it could be. */
bool cc_replicas_lack(const struct cc_op *op, uint32_t want);
uint32_t cc_replicas_count(const struct cc_op *op, enum cc_rep_state state);
/* Owners alone, while data moves the next ones with them: those whose word counts. */
uint32_t cc_owners_count(const struct cc_op *op, enum cc_rep_state state);
/* Whether one that owns it now has answered: the next ones may know nothing of it yet. */
bool cc_owner_has(const struct cc_op *op);
/* The owners in that state, bit i of reps[i]. */
uint32_t cc_owners_in(const struct cc_op *op, enum cc_rep_state state);
/* Whether those that have answered are enough for the op's level. */
static inline bool cc_met(const struct cc_op *op)
{
    return kith_quorum_met(&op->quorum, cc_owners_in(op, CC_REP_HAVE));
}
/* Whether, while `holders` have a state, no read of the levels that this client uses can miss it.
 */
bool cc_settled(const struct kith_client_core *core, const struct cc_op *op, uint32_t holders);
/* Where owners cannot be reached: adds those who stand in for them, the first that can be reached.
 */
void cc_replicas_fallbacks(struct kith_client_core *core, struct cc_op *op);
/* One of those that cc_replicas_fallbacks left out, for it cannot be reached; NULL: there is none. */
const struct cc_peer *cc_replicas_unasked(struct kith_client_core *core, struct cc_op *op);
static inline bool cc_is_fallback(const struct cc_op *op, uint32_t rep)
{
    return rep >= op->slots;
}
static inline uint32_t cc_owners_mask(const struct cc_op *op)
{
    return (1u << op->slots) - 1u;
}
/* Whether an owner that was not asked may still come up: worth a wait. Where the last try to reach
 * one is not quite new there is another at once: a node that is back is otherwise found only after
 * the back-off, and meanwhile one that goes would leave too few. */
bool cc_replicas_hope(struct kith_client_core *core, struct cc_op *op, bool bulk);
/* The same for one replica. */
bool cc_replica_hope(struct kith_client_core *core, struct cc_op *op, uint32_t rep, bool bulk);
/* Sends msg (NULL: memory was short) to the replica, or notes that it failed. */
void cc_replica_ask(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                    struct kith_msg *msg);
void cc_replica_failed(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                       enum kith_err err, const char *message);
/* EPERM: what our certificate does not allow at one node it does at none, so that the op ends at once; of
 * requests that change nothing. False: it says something else. */
bool cc_replica_denied(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                       const struct kith_status *status);
/* An answer said ESTALE: true when a newer table is in use now and reps are forgotten. */
bool cc_replica_stale(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                      struct kith_bytes table);
/* A read found the answers older than what the session has seen of row `name`, and there is nobody
 * else to ask now: all will be asked anew. The round counts as a sign of loss when all have answered
 * in it who may have it (owners, and those who stand in for them) and the session has wanted the same
 * since the first of them was asked. */
void cc_replicas_behind(struct kith_client_core *core, struct cc_op *op, struct kith_bytes name);
/* At the deadline of a read: whether enough rounds say that what the session wants of the row
 * op->behind_row is lost for good (session.c). */
bool cc_replicas_lost(const struct kith_client_core *core, const struct cc_op *op);
/* Strict: fewer than R owners can be reached, and have not been for so long that they will hardly be
 * back at once; true: the op has ended. */
bool cc_replicas_short(struct kith_client_core *core, struct cc_op *op);
/* Failed replicas are to be asked again after a pause. */
void cc_replicas_again(struct kith_client_core *core, struct cc_op *op);
/* Late replicas of a read: one more is to be asked after hedge_ms; it counts as failed after
 * try_ms. */
void cc_replicas_late(struct kith_client_core *core, struct cc_op *op, uint32_t hedge_ms,
                      uint32_t try_ms);
/* Wakes the op when a replica becomes late. */
void cc_replicas_watch(struct kith_client_core *core, struct cc_op *op, uint32_t hedge_ms,
                       uint32_t try_ms);
static inline uint32_t cc_majority(const struct cc_op *op)
{
    return op->slots / 2 + 1;
}
/* Merges into *row what the session keeps of it; *holders then counts nobody, where that adds
 * something. ENOMEM, EFORMAT, ELIMIT. */
KITH_MUST_CHECK enum kith_err cc_merge_kept(struct kith_client_core *core, struct cc_op *op,
                                            const struct kith_group *group, struct kith_bytes name,
                                            struct kith_row *row, uint32_t *holders);
/* Merges copies[0 .. rep_count - 1] (NULL: no answer; zero hash: nothing there): *ret_holders has
 * the bit of each replica that holds exactly the merged state. ENOMEM, EFORMAT, ELIMIT. */
KITH_MUST_CHECK enum kith_err cc_merge(struct cc_op *op, const struct cc_copy *const copies[],
                                       struct kith_row *ret_row, uint32_t *ret_holders);

struct cc_repairs { /* names that replica [to] should fetch from replica [from] */
    uint32_t counts[KITH_REPLICAS_MAX][KITH_REPLICAS_MAX];
    struct kith_bytes *names[KITH_REPLICAS_MAX][KITH_REPLICAS_MAX];
};
/* Notes that the replicas of `asked` that are not in `holders` need `name`. */
void cc_repair_note(struct cc_op *op, struct cc_repairs **repairs, struct kith_bytes name,
                    uint32_t asked, uint32_t holders);
void cc_repair_send(struct kith_client_core *core, struct cc_op *op,
                    const struct cc_repairs *repairs, const struct kith_group *group);

/* ---- one file a kind: drive, and take an answer ---- */

void cc_get_drive(struct kith_client_core *core, struct cc_op *op);
void cc_get_answer(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                   const struct kith_msg *msg, struct kith_msg_box *box);
void cc_scan_drive(struct kith_client_core *core, struct cc_op *op);
void cc_scan_answer(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                    const struct kith_msg *msg, struct kith_msg_box *box);
void cc_groups_drive(struct kith_client_core *core, struct cc_op *op);
void cc_groups_answer(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                      const struct kith_msg *msg);
void cc_put_drive(struct kith_client_core *core, struct cc_op *op);
void cc_put_answer(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                   const struct kith_msg *msg, struct kith_msg_box *box);
void cc_put_deadline(struct kith_client_core *core, struct cc_op *op, enum kith_err err,
                     const char *why);
void cc_chunk_put_drive(struct kith_client_core *core, struct cc_op *op);
void cc_chunk_put_answer(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                         const struct kith_msg *msg);
/* Without an id; NULL: no memory. Sends it to that replica. */
struct kith_msg *cc_chunk_put_message(struct kith_client_core *core, const struct cc_op *op);
void cc_chunk_put_sent(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                       struct kith_msg *msg);
/* Sends the chunk to other zones, as far as it can be done by relays now. */
void cc_relay_ask(struct kith_client_core *core, struct cc_op *op);
/* Replica i, or those that get it through i, are to be sent it directly. */
void cc_relay_fail(struct kith_client_core *core, struct cc_op *op, uint32_t i);
/* The same of those whose relay is lost, silent, or late. */
void cc_relay_look(struct kith_client_core *core, struct cc_op *op);
void cc_chunk_get_drive(struct kith_client_core *core, struct cc_op *op);
void cc_chunk_get_answer(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                         const struct kith_msg *msg);
void cc_sync_drive(struct kith_client_core *core, struct cc_op *op);
void cc_sync_answer(struct kith_client_core *core, struct cc_op *op, uint32_t node,
                    const struct kith_msg *msg);
void cc_status_drive(struct kith_client_core *core, struct cc_op *op);
void cc_status_answer(struct kith_client_core *core, struct cc_op *op, const struct kith_msg *msg,
                      struct kith_msg_box *box);
/* The answer of a replica to an op did not come: its connection was lost. */
void cc_op_lost(struct kith_client_core *core, struct cc_op *op, uint32_t rep);

/* ---- twins.c ---- */

void cc_twins_release(struct cc_twins *twins);
/* The put was tried at several coordinators, and this is the answer of one. false: memory is
 * short. */
bool cc_twins_note(struct kith_client_core *core, const struct cc_op *op,
                   const struct kith_put_res *res);
/* Takes out of a merged row what is a second copy of an own write that has been replaced; the array
 * lies in the op's arena. false: memory is short. What it takes out the next cc_twins_remove removes
 * from the owners. */
bool cc_twins_drop(struct kith_client_core *core, struct cc_op *op, const struct kith_group *group,
                   struct kith_bytes name, struct kith_row *row);
/* At the end of a step. */
void cc_twins_remove(struct kith_client_core *core);
/* One of the ops that it began has ended, however. */
void cc_twins_removed(struct kith_client_core *core);

/* ---- watch.c ---- */

/* ELIMIT, ENOMEM. */
KITH_MUST_CHECK enum kith_err cc_watch_begin(struct kith_client_core *core, uint64_t tag,
                                             const struct kith_group *group);
void cc_watch_end(struct kith_client_core *core, uint64_t tag, const struct kith_group *group);
void cc_watches_release(struct kith_client_core *core);
/* When watches.wake_ms has come: asks, renews, sees what has lapsed. */
void cc_watches_tick(struct kith_client_core *core);
/* WATCH_RES and WATCH_EVENT. */
void cc_watches_message(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg);
/* The peer's rows link is up; was up and is lost. */
void cc_watches_up(struct kith_client_core *core, const struct cc_peer *peer);
void cc_watches_lost(struct kith_client_core *core, struct cc_peer *peer);
/* Another table is in use. */
void cc_watches_table(struct kith_client_core *core);
/* A read has its result: whether what it says may be believed under a watch. */
void cc_watches_read(struct kith_client_core *core, const struct cc_op *op);
/* Makes the effects of this step; false: memory was short, the rest stays for the next step. */
bool cc_watches_tell(struct kith_client_core *core);

/* ---- view.c ---- */

/* The node has answered a request that it was sent at sent_ms. */
void cc_view_answered(struct kith_client_core *core, struct cc_peer *peer, uint64_t sent_ms);

/* ---- session.c ---- */

KITH_MUST_CHECK enum kith_err cc_session_init(struct cc_session *session);
void cc_session_release(struct cc_session *session);
/* From now on answers for the row must cover this clock too. `gone`: there are no contents in the
 * state with it (kith_row_is_gone); then it is enough that they have nothing that the clock covers.
 * false: memory is short. */
bool cc_session_note(struct cc_session *session, const struct kith_group *group,
                     struct kith_bytes name, const struct kith_clock *clock, bool gone);
/* A read has seen that clock, and a majority of the owners holds it: it binds degraded answers from now
 * on. Where the session was still wanting it, requests up to `order` may hold older answers already:
 * those, too. false: memory is short. */
bool cc_session_settle(struct cc_session *session, const struct kith_group *group,
                       struct kith_bytes name, const struct kith_clock *clock, bool gone,
                       uint64_t order);
/* What was settled, and is needed by no request from `order` on, is past. */
void cc_session_sweep(struct cc_session *session, uint64_t order);
/* Drops what was noted keep_ms ago or before; the time for what follows. */
void cc_session_forget(struct cc_session *session, uint64_t now_ms, uint64_t keep_ms);
/* The entry goes at once. */
void cc_session_drop(struct cc_session *session, const struct kith_group *group,
                     struct kith_bytes name);
/* The names in that range of rows that are kept, ascending, into the arena; *ret_names is NULL where
 * there are none. ENOMEM. */
KITH_MUST_CHECK enum kith_err cc_session_kept_names(const struct cc_session *session,
                                                    uint64_t order,
                                                    const struct kith_group *group,
                                                    bool has_after, struct kith_bytes after,
                                                    struct kith_arena *arena,
                                                    struct kith_bytes **ret_names,
                                                    uint32_t *ret_count);
/* Whether the row may not be missing from a page. */
bool cc_session_wants(const struct cc_session *session, uint64_t order,
                      const struct kith_group *group, struct kith_bytes name);
/* Calls take(arg, name) for each row of the session in the range of cc_session_count, until it says
 * false. */
void cc_session_each(const struct cc_session *session, uint64_t order,
                     const struct kith_group *group, bool has_after, struct kith_bytes after,
                     bool has_last, struct kith_bytes last,
                     bool (*take)(void *arg, struct kith_bytes name), void *arg);
/* In place of a request's order: a degraded answer is held against all that the session has seen. */
#define CC_SESSION_ANY 0u
/* Whether `row` may follow what the session has seen of it, for the request `order`: session.c says
 * when. */
bool cc_session_covered(const struct cc_session *session, uint64_t order,
                        const struct kith_group *group, struct kith_bytes name,
                        const struct kith_row *row);
/* A read is about to say so, and those `holders` have the state: notes or settles it. false: memory is
 * short. */
bool cc_session_read(struct kith_client_core *core, const struct cc_op *op,
                     const struct kith_group *group, struct kith_bytes name,
                     const struct kith_row *row, uint32_t holders);
/* Rows that this client wrote and that fewer than W owners have confirmed are kept whole, up to
 * CC_KEPT_MAX bytes, the oldest going first: they are merged into every answer. */
#define CC_KEPT_MAX (16u << 20)
/* `state` is of a write that is noted (cc_session_note). false: memory is short. */
bool cc_session_keep(struct cc_session *session, const struct kith_group *group,
                     struct kith_bytes name, const struct kith_row *state);
/* The encoded row that is kept, for the request `order`; empty: none. Until the session changes. */
struct kith_bytes cc_session_kept(const struct cc_session *session, uint64_t order,
                                  const struct kith_group *group, struct kith_bytes name);
/* Whether there was nothing of the row, in an answer whose clock covered that dot. */
bool cc_session_is_gone(const struct cc_session *session, const struct kith_group *group,
                        struct kith_bytes name, const struct kith_dot *dot);
/* The number of the change that made the entry's clock what it is; 0: no entry. */
uint64_t cc_session_change(const struct cc_session *session, const struct kith_group *group,
                           struct kith_bytes name);
/* Rows of the group behind `after` (where has_after) up to `last` (where has_last) in the session,
 * for the request `order`. */
uint32_t cc_session_count(const struct cc_session *session, uint64_t order,
                          const struct kith_group *group, bool has_after, struct kith_bytes after,
                          bool has_last, struct kith_bytes last);

#endif
