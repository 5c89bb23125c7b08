/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client_world.h - the client's core against three scripted nodes, without a network: for the tests
 * of common/client. A cluster may have more members, which own nothing.
 *
 * The nodes answer by hand from small tables of rows; each can be alive, dead (connections are
 * refused) or frozen (connected, silent). Answers are given now with a box to hold, now without
 * (what the core keeps it must copy), and their memory is freed after the step. Time stands still
 * but in world_pass.
 *
 * What a caller may not see here fails the test. One thread. */
#ifndef KITH_TESTS_LIB_CLIENT_WORLD_H
#define KITH_TESTS_LIB_CLIENT_WORLD_H

#include <string.h>

#include "client/client_core.h"

#define WORLD_NODES      3u /* the owners */
#define WORLD_MEMBERS    7u /* at most */
#define WORLD_ROWS       64u /* of a node */
#define WORLD_PARTITIONS 4u
#define WORLD_CONNS      4096u /* over the whole test */
#define WORLD_INBOX      4096u /* events that wait */
#define WORLD_DONES      8192u /* requests over the whole test */

extern const struct kith_group WORLD_GROUP;        /* of every row */
#define WORLD_CHUNK      "the contents of a chunk" /* of every chunk, with the NUL */
#define WORLD_CHUNK_SIZE sizeof(WORLD_CHUNK)

enum world_mode { ALIVE, DEAD, FROZEN };

struct world_row {
    char name[32];
    uint8_t state[512];
    size_t size;
};

struct world_node {
    enum world_mode mode;
    enum kith_err put_err; /* what puts are answered; OK: they are carried out */
    bool put_silent;       /* carried out nowhere, never answered */
    bool put_mute;         /* carried out, never answered */
    uint32_t put_copies;   /* bits of the nodes that a put reaches */
    bool put_replaced;     /* it was a retry, and its sibling is gone already */
    uint32_t put_owners;   /* owners that it says have it; 0: as many as do */
    enum kith_err get_err;
    bool full_mute; /* answers digests only */
    bool stale;     /* answers ESTALE with the newer table to the older one */
    enum kith_err chunk_err;
    bool chunk_damaged;
    bool relay_mute, relay_cannot; /* passes chunks on to nobody: says nothing of it, or that */
    bool sync_missing;
    bool sync_mute; /* flushes for ever */
    uint32_t page_rows; /* rows a page; 0 = all */
    struct world_row rows[WORLD_ROWS];
    uint32_t row_count;
    uint64_t counter;
    /* what was seen */
    enum kith_durability chunk_durability; /* of the last chunk put */
    uint32_t puts, gets, digests, scans, chunk_puts, chunk_gets, syncs, repairs;
    uint32_t relayed; /* chunk puts among them that came through another */
    struct kith_request_id last_request;
    bool last_retry;
    uint32_t last_repair_from;
    uint64_t last_put_ms;
};

struct world_conn {
    uint32_t node;
    bool open;
};

struct world_done {
    uint64_t tag;
    enum kith_client_kind kind;
    uint64_t at_ms;
    const struct kith_client_result *result;
    struct kith_client_done *done;
};

struct client_world {
    struct kith_client_core *core;
    uint64_t now;
    uint64_t deadline;
    uint32_t member_count;
    struct world_node nodes[WORLD_MEMBERS];
    struct world_conn conns[WORLD_CONNS]; /* by the core's numbers */
    struct {
        uint64_t conn;
        enum kith_client_event_kind kind;
        struct kith_msg_box *box;
    } inbox[WORLD_INBOX];
    uint32_t head, tail;
    struct world_done dones[WORLD_DONES];
    uint32_t done_count;
    struct kith_table *table, *newer; /* every partition: nodes 0 1 2; in the newer one 2 1 0 */
    uint64_t tag;
    bool boxed;
    bool placeless; /* nobody can say where the last node listens */
    /* A test's own part; each may be NULL. A message that comes to a living node is shown to
     * on_message first, which says whether it has taken it; WATCHED and CHANGED go to on_effect. */
    void *own;
    bool (*on_message)(struct client_world *w, uint64_t conn, uint32_t node,
                       const struct kith_msg *msg);
    void (*on_effect)(struct client_world *w, const struct kith_client_effect *effect);
};

static inline struct kith_bytes text(const char *s)
{
    return kith_bytes_make(s, strlen(s));
}

/* ---- A world ---- */

/* For cmocka: *state is a world whose client knows the table. teardown releases what is done. */
int world_setup(void **state);
int world_setup_strict(void **state); /* the client's `strict` */
int world_setup_many(void **state);   /* WORLD_MEMBERS members */
int world_teardown(void **state);
/* The same in two steps: what is changed in between the client meets at its start. */
struct client_world *world_new(void);
/* WORLD_MEMBERS members in these zones, the client in `own` (NULL: where it finds itself). */
struct client_world *world_new_zones(const char *own, const char *const zones[WORLD_MEMBERS]);
void world_start(struct client_world *w);

/* One event, with the time filled in; what it has the nodes answer lies in the inbox afterwards. */
enum kith_err world_step(struct client_world *w, struct kith_client_event *event);
/* Delivers all that lies in the inbox, and what that leads to. */
void world_deliver(struct client_world *w);
/* Lets time pass, with ticks when the core asks for them. */
void world_pass(struct client_world *w, uint64_t ms);
/* DEAD closes the node's connections. */
void world_set_mode(struct client_world *w, uint32_t node, enum world_mode mode);

/* ---- Requests: each returns its tag, after what lay in the inbox was delivered ---- */

uint64_t world_submit(struct client_world *w, const struct kith_client_op *op);
/* What lies in the inbox waits until what comes from now on was delivered. */
void world_submit_overtaking(struct client_world *w, const struct kith_client_op *op);
uint64_t world_get(struct client_world *w, const char *name, enum kith_level level,
                   uint32_t timeout_ms);
/* With an empty context: beside what is there. */
uint64_t world_put(struct client_world *w, const char *name, const char *value,
                   uint32_t timeout_ms);
/* `after` may be NULL. */
uint64_t world_scan(struct client_world *w, const char *after, uint32_t max_rows,
                    uint32_t timeout_ms);
uint64_t world_chunk_put(struct client_world *w, uint32_t timeout_ms); /* chunk 0 */
uint64_t world_chunk_get(struct client_world *w, uint8_t last, uint32_t timeout_ms);
struct kith_chunk_id world_chunk_id(uint8_t last);

/* NULL before the request has ended; fails the test when it ended twice. */
struct world_done *world_done(struct client_world *w, uint64_t tag);
/* These two want it to have ended. */
enum kith_err world_err(struct client_world *w, uint64_t tag);
/* The values of a get's only row, joined with "+"; it must be OK. Valid until the next call. */
const char *world_values(struct client_world *w, uint64_t tag);
/* The names of the whole group, each with a blank behind it, by pages. Valid until the next call.
 */
const char *world_scan_all(struct client_world *w, uint32_t max_rows, uint32_t *ret_pages);

/* ---- Rows of the nodes, past the client ---- */

/* NULL: the node has none of this name. */
struct world_row *world_row(struct world_node *node, struct kith_bytes name);
struct kith_bytes world_row_state(const struct world_row *row); /* empty for NULL */
/* Writes on one node alone, over what is there; value NULL: a delete. */
void world_write_on(struct client_world *w, uint32_t node, const char *name, const char *value);
void world_write_all(struct client_world *w, const char *name, const char *value);
void world_copy_row(struct client_world *w, uint32_t from, uint32_t to, const char *name);
/* As if it had never been there. */
void world_lose_row(struct client_world *w, uint32_t node, const char *name);

/* ---- Between client_world.c and client_nodes.c, and for on_message ---- */

struct kith_uuid world_uuid(uint32_t node);
/* zones: NULL, or one for each member */
struct kith_table *world_make_table(uint64_t version, uint32_t member_count,
                                    const char *const *zones);
/* An empty message to the client, at the end of the inbox; id 0 where nothing was asked. */
struct kith_msg *world_answer(struct client_world *w, uint64_t conn, enum kith_msg_kind kind,
                              uint64_t id);
/* A copy that lives as long as the last message in the inbox. */
void *world_keep(struct client_world *w, const void *data, size_t size);
struct kith_bytes world_keep_bytes(struct client_world *w, struct kith_bytes bytes);
struct kith_bytes world_keep_table(struct client_world *w, const struct kith_table *table);
/* What the node behind the connection does with a message. */
void world_node_receives(struct client_world *w, uint64_t conn, const struct kith_msg *msg);

#endif
