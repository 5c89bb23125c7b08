/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client.h - the cluster as a library: rows and chunks by quorum, asynchronous.
 *
 * The client is its own read coordinator: it asks R owners at once, merges, hedges to one more when
 * an answer is late, tells stale replicas whom to fetch from; it sends a put straight to an owner.
 * It keeps what it wrote, so that it always reads its own writes and never goes back in time
 * (invariant 9). The logic is client_core.h, a step machine without I/O, which the simulator drives
 * too; this is its shell on rpc.h.
 *
 * Threads: submit may be called from any thread and never waits. Callbacks run on the client's own
 * threads (or, when a request fails at once, inside submit); they must not block. Every request
 * ends by its deadline with exactly one callback (invariant 8).
 *
 * Used by fs/, ctl/, tests/bench/kv and the node's unary door. */
#ifndef KITH_CLIENT_CLIENT_H
#define KITH_CLIENT_CLIENT_H

#include "data/quorum.h"
#include "wire/msg.h"

struct kith_client;

struct kith_client_options {
    uint32_t server_count;
    const char *const *servers;  /* "host:port": doors; one that answers is enough */
    uint32_t connect_timeout_ms; /* for open; 0 = 10000 */
    /* For open: it gives up sooner, where every server has turned every try of a connection down at
     * once (refused, unknown host) for so long; 0 = it does not. */
    uint32_t turned_down_ms;
    uint32_t op_timeout_ms;      /* deadline of a request that names none; 0 = 10000 */
    uint32_t hedge_ms; /* a read that has not its R answers by then asks one more; 0 = 50 */
    const char *writer;          /* "user@host" in siblings; cut to KITH_WRITER_MAX */
    /* Puts count owners alone, and are refused (EUNREACH) while fewer than W of them can be
     * reached; reads are never degraded. Else (sloppy, DESIGN section 5) other nodes stand in for
     * owners, and where fewer than W nodes are alive a put is content with those there are. */
    bool strict;
    uint32_t w_min; /* sloppy: with so many at least; 0 = 1 */
    /* The zone (data centre) that this client is in: its owners are read and written through first.
     * NULL: that of the node that answers fastest. At most KITH_ZONE_SIZE - 1 bytes. */
    const char *zone;
    /* Of requests that name none (QUORUM): gets and scans; puts of rows and chunks, and syncs. */
    enum kith_level read_level, write_level;
    const struct kith_identity_files *tls; /* rpc.h; until open has returned. NULL: plain text */
};

/* Connects: returns when a node has answered with the table, or with EUNREACH and a message that
 * names each server and what it said (e.g. "no node of n1:7070,n2:7070 answered within 10 s (n1:
 * connection refused, n2: timed out)"). Waits up to connect_timeout_ms, see also
 * turned_down_ms. */
KITH_MUST_CHECK enum kith_err kith_client_open(const struct kith_client_options *options,
                                               struct kith_client **ret_client,
                                               struct kith_error *error);
/* Ends every request (ECANCELED), waits for the callbacks, for a second at most for the last copies
 * of chunks that enough nodes have already, frees, and frees the watches that are still held with
 * it. Not from a callback. */
void kith_client_close(struct kith_client *client);

/* hard: from now on requests do not end because nodes cannot be reached or do not answer in time
 * (EUNREACH, ETIMEOUT, EUNKNOWN): each is sent again, and again, under the same request id, until it
 * is answered. What nodes refuse ends as ever; so do STATUS, GROUPS and WHERE, and requests that are
 * soft. Not hard (at first): those that wait so end now, with what they would have ended with. Any
 * thread, does not wait; callbacks may run inside. */
void kith_client_hard(struct kith_client *client, bool hard);

enum kith_client_kind {
    KITH_CLIENT_GET = 1,
    KITH_CLIENT_SCAN, /* one merged page */
    KITH_CLIENT_GROUPS, /* of a partition: one merged page of the groups with a row without a name */
    KITH_CLIENT_PUT,
    KITH_CLIENT_CHUNK_PUT,
    KITH_CLIENT_CHUNK_GET,
    KITH_CLIENT_CHUNK_SYNC,
    KITH_CLIENT_STATUS, /* of one node: `node`, or any */
    KITH_CLIENT_WHERE,  /* what each owner has of rows and chunks */
};
#define KITH_CLIENT_KINDS (KITH_CLIENT_WHERE + 1u)
/* "get", "chunk_put" ... */
const char *kith_client_kind_name(enum kith_client_kind kind);

struct kith_client_row_name {
    struct kith_group group;
    struct kith_bytes name;
};

/* Everything it points to is copied (payloads: held) before submit returns. */
struct kith_client_op {
    enum kith_client_kind kind;
    uint32_t timeout_ms; /* 0 = the client's op_timeout_ms */
    enum kith_level level; /* which owners must answer; puts and reads alike */
    /* GET and SCAN: never a degraded answer; where R owners cannot be reached it waits for them
     * until the deadline. For what must not be done on the word of fewer. PUT: as the client's
     * `strict`. EUNREACH where too few have been unreachable for some seconds. */
    bool strict;
    bool soft; /* ends by its deadline even where the client is hard (kith_client_hard) */
    union {
        struct {
            struct kith_group group;
            uint32_t name_count;
            const struct kith_bytes *names;
        } get;
        struct {
            struct kith_group group;
            bool has_after;
            struct kith_bytes after;
            uint32_t max_rows; /* 0 = KITH_PAGE_ROWS_MAX */
        } scan;
        struct {
            uint32_t partition; /* from 0; EINVAL: there are fewer (result.partitions says how many) */
            uint32_t volume;
            bool has_after;
            struct kith_group after;
        } groups; /* never degraded */
        struct {
            struct kith_group group;
            enum kith_durability durability;
            uint32_t update_count;
            const struct kith_put_update *updates;
            /* All zero: an id of its own. Else of kith_client_request_id, for who may have to put
             * the same again. */
            struct kith_request_id request;
            /* An attempt under this id ended with EUNKNOWN, less than 10 minutes ago (DESIGN
             * section 3): group and updates are byte for byte the same, else it would be another
             * write; only the durability may differ. The two are one write, whichever of them are
             * carried out. Ends in OK or EUNKNOWN: a refusal says nothing about the earlier one. */
            bool again;
            /* Who wrote it, where that was not this client: a restore. Empty: the client's own; cut to
             * KITH_WRITER_MAX. */
            struct kith_bytes writer;
        } put;
        struct {
            struct kith_chunk_id id; /* of kith_client_chunk_id */
            enum kith_durability durability;
            struct kith_checksum checksum;
            uint32_t ref_count;
            const struct kith_chunk_id *refs;
            struct kith_blob *payload;
        } chunk_put;
        struct {
            struct kith_chunk_id id;
            uint32_t offset, size;         /* size 0 = all */
            /* verified when the whole chunk is read; all zero: not known, and the node's word is
             * taken */
            struct kith_checksum checksum;
            bool refs; /* also what it refers to */
        } chunk_get;
        struct {
            uint32_t id_count;
            const struct kith_chunk_id *ids;
            bool lease; /* they are to stay although nothing may refer to them (msg.h) */
        } chunk_sync;
        struct {
            const char *address; /* NULL = any node */
        } status;
        struct {
            uint32_t row_count;
            const struct kith_client_row_name *rows;
            uint32_t id_count;
            const struct kith_chunk_id *ids; /* each once; they are flushed where they are held */
        } where;
    } u;
};

struct kith_client_row {
    struct kith_bytes name;
    struct kith_row row; /* merged; tombstones and never-written rows too (GET), not in SCAN */
};

/* One of the nodes that own some of what was asked for. What it has is what it has said. */
struct kith_client_where_node {
    struct kith_uuid uuid;
    char address[KITH_ADDRESS_SIZE], zone[KITH_ZONE_SIZE];
    bool answered; /* everything that it was asked */
    uint32_t rows, rows_have;     /* that it owns; of which it has the newest state */
    uint32_t chunks, chunks_have; /* that it owns; that it holds */
};
/* A row that no owner has, of those that answered, is left out. */
struct kith_client_where {
    uint32_t owners;  /* of each row or chunk */
    uint32_t copies;  /* at owners, of what has fewest */
    bool missing;     /* an owner lacks something */
    bool unknown;     /* an owner has not said whether */
    uint32_t zone_count;
    struct kith_client_where_zone {
        char name[KITH_ZONE_SIZE];
        bool whole; /* of everything that has owners there one at least has it */
    } *zones;
    uint32_t node_count;
    struct kith_client_where_node *nodes;
    uint32_t row_count;
    struct kith_client_row *rows; /* merged, in the order asked */
};

/* Valid until the callback returns. */
struct kith_client_result {
    /* OK. For puts and chunk puts: EREFUSED, ELIMIT, ETOOBIG, ENOSPC, EUNREACH, EINVAL = nothing
     * happened; EUNKNOWN = it may yet appear. For reads: EUNREACH, ETIMEOUT, EIO, ECORRUPT,
     * ENOTFOUND (chunks only). For all: EPERM (at once: the certificate does not allow it), and
     * ECANCELED at close. */
    enum kith_err err;
    const char *message;
    bool degraded; /* fewer than R synchronised owners answered */
    union {
        struct {
            uint32_t row_count;
            const struct kith_client_row *rows; /* GET: in the order asked; SCAN: by name, live rows
                                                   (at least one sibling) only */
            bool more;                          /* SCAN */
            struct kith_bytes last; /* SCAN: pass as `after` to go on; tombstones count */
        } rows;
        struct { /* also those of which no row stands any more but a tombstone */
            uint32_t partitions;
            uint32_t count;
            const struct kith_group *groups; /* ascending */
            bool more; /* behind the last one: pass it as `after`; there is one then */
        } groups;
        struct {
            uint32_t result_count;
            const struct kith_put_result *results;
            uint32_t copies; /* fewer than W: it is thin, and flushed on those */
            uint32_t owners; /* owners among them */
        } put;
        struct {
            struct kith_blob *payload; /* hold it to keep it */
            uint32_t chunk_size;
            struct kith_checksum checksum; /* of the payload */
            uint32_t ref_count;            /* where they were asked for */
            const struct kith_chunk_id *refs;
        } chunk;
        struct {
            uint32_t missing_count;
            const struct kith_chunk_id *missing;
            uint32_t copies; /* of each of the others, at least */
        } chunk_sync;
        const struct kith_status_res *status;
        struct kith_client_where *where; /* OK, however few have answered */
    } u;
};

typedef void (*kith_client_cb)(void *arg, const struct kith_client_result *result);

/* ENOMEM, EINVAL (sizes out of bounds), ELIMIT (too many under way): cb is not called then. */
KITH_MUST_CHECK enum kith_err kith_client_submit(struct kith_client *client,
                                                 const struct kith_client_op *op, kith_client_cb cb,
                                                 void *arg);

/* A fresh chunk id for a volume (time and random bits). */
struct kith_chunk_id kith_client_chunk_id(struct kith_client *client, uint32_t volume);
/* A fresh request id for a put. */
struct kith_request_id kith_client_request_id(struct kith_client *client);
/* Whether a majority of the owners of the group's partition look reachable now: the mount defers
 * small writes only then. */
bool kith_client_writable(struct kith_client *client, const struct kith_group *group);
/* The table that requests go by now; to be dropped. Any thread. */
struct kith_table *kith_client_table(struct kith_client *client);
/* The cluster's uuid. */
struct kith_uuid kith_client_cluster(struct kith_client *client);

/* ---- What the client sees and has done, for people ---- */

enum kith_client_node_state {
    KITH_NODE_UP,
    KITH_NODE_SLOW,   /* connected, but it failed or was late with some answers: asked last */
    KITH_NODE_SILENT, /* connected, and says nothing */
    KITH_NODE_DOWN,   /* not connected: `reason` */
};

struct kith_client_node {
    struct kith_uuid uuid;
    char address[KITH_ADDRESS_SIZE]; /* "": not known yet */
    char zone[KITH_ZONE_SIZE];
    bool near; /* in this client's zone, and there are others */
    enum kith_client_node_state state;
    uint32_t answer_us;    /* what a read takes there, a moving mean; 0: not known */
    uint64_t heard_ms_ago; /* of its last word; UINT64_MAX: there was none */
    uint64_t lost_ms_ago;  /* not connected since; UINT64_MAX: it is, or never was */
    char reason[128];      /* of the last failure of a connection, "" */
};

/* Since the beginning. */
struct kith_client_counts {
    uint64_t requests[KITH_CLIENT_KINDS], failed[KITH_CLIENT_KINDS]; /* that ended, by kind */
    uint64_t degraded;                      /* reads among them */
    uint64_t messages[KITH_MSG_KINDS_MAX]; /* sent to nodes, by enum kith_msg_kind */
};

struct kith_client_view {
    struct kith_uuid cluster;
    struct kith_table_id table; /* all zero: none is known yet, and no nodes */
    bool moving;                /* data moves to other owners */
    uint32_t partitions, replicas;
    char zone[KITH_ZONE_SIZE]; /* that the client is in; "" */
    uint32_t pending, lingering;    /* requests under way; chunks whose last copies are */
    uint32_t session_rows;          /* that this client may not see older */
    uint32_t watches;
    uint32_t node_count;
    struct kith_client_node *nodes; /* members of the table, in its order */
    struct kith_client_counts counts;
};

/* As it is now, in the arena; asks nobody and waits for nothing. Any thread. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_client_view(struct kith_client *client,
                                               struct kith_arena *arena,
                                               struct kith_client_view *ret_view);

/* ---- Watches: a group's changes, told (DESIGN section 7) ---- */

/* A watch is live while R owners of the group's partition have promised, less than
 * KITH_WATCH_LEASE_MS before, to tell every change that they store; W + R > N, so that one of them
 * at least stores each write that is acknowledged. What this client's own requests change is not
 * told. While watches are held the client says so to each owner every KITH_WATCH_RENEW_MS, once for
 * all of them. A watch lapses by itself:
 * when nodes are silent, when a connection is lost, when the table changes; and it goes on under
 * another number (below) when a read of the group was answered by owners that had not promised
 * before it began, or by fewer than R. Why, and what may be believed, is told in watch.c. */
#define KITH_WATCH_LEASE_MS 3000u
#define KITH_WATCH_RENEW_MS 1000u
#define KITH_WATCHES_MAX    16384u /* of one client; a kilobyte each */

struct kith_watch;

/* Something changed: those rows may be others now; count 0: any row of the group. Runs on the
 * client's thread, before the callback of any read that was begun after the change arrived; must
 * not block, nor call the client. May still come for a moment after kith_client_unwatch has begun,
 * never after it has returned. */
typedef void (*kith_client_watch_cb)(void *arg, const struct kith_bytes *names, uint32_t count);

/* Begins a watch; it is not live yet when this returns. Never waits. NULL: KITH_WATCHES_MAX are
 * held, or memory is short. Any thread. */
KITH_MUST_CHECK struct kith_watch *kith_client_watch(struct kith_client *client,
                                                     const struct kith_group *group,
                                                     kith_client_watch_cb cb, void *arg);
/* Ends it and frees it, and waits for its callback where that is running: call it with no lock held
 * that the callback takes. Not from a callback of the client. */
void kith_client_unwatch(struct kith_client *client, struct kith_watch *watch);
/* 0: not live now. Else live, and the number under which it has been so without a break: what
 * was read by requests that began while it had this number, and of which no change was told
 * since, is what a quorum would answer now, but for changes that are on their way. Any thread,
 * takes no lock. */
uint64_t kith_watch_epoch(const struct kith_watch *watch);
/* Not 0: requests that began after this time (kith_mono_ns) count as begun under the number
 * `epoch`, too, though the watch was not known to be live yet: the owners had been asked before.
 * 0: only those that begin while it is live. Any thread, takes no lock. */
uint64_t kith_watch_since(const struct kith_watch *watch, uint64_t epoch);

/* ---- Waiting for one request: for tools and for threads that may block ---- */

/* Submits and waits for the end. The result is a copy that lives until kith_client_answer_release;
 * it must be released whatever is returned. Returns answer->result.err. Not from a callback. */
struct kith_client_answer {
    struct kith_arena arena;
    struct kith_blob *blob;
    struct kith_client_result result;
};
KITH_MUST_CHECK enum kith_err kith_client_call(struct kith_client *client,
                                               const struct kith_client_op *op,
                                               struct kith_client_answer *ret_answer);
void kith_client_answer_release(struct kith_client_answer *answer);
/* The copy that call makes, for callbacks of one's own. */
KITH_MUST_CHECK enum kith_err kith_client_result_copy(enum kith_client_kind kind,
                                                      const struct kith_client_result *result,
                                                      struct kith_client_answer *ret_answer);

#endif
