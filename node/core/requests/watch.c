/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch.c - clients that are told what changes in a group, for as long as their lease lasts.
 *
 * THE PROMISE. From the step that answers a WATCH_REQ with OK until the lease is over, every
 * change of a row of its group that is stored here is told to that connection, in the order of
 * storing: in the very step that takes the store's completion, ahead of every answer that this
 * step makes. So whoever made the change has no answer of ours, and our copy is not counted,
 * before the event is on its way. What was stored before that step is not told; a read that comes
 * after the WATCH_REQ on the same connection sees it (store.h: a read sees what was completed
 * before it).
 *
 * NOTHING SLIPS BETWEEN. Who watches is looked up when the completion comes, never when the write
 * begins, so a write that was under way when its group became watched is told like any other. For
 * that the names must be at hand at the completion, whoever watched at the start: they are, at no
 * cost, for an operation's rows stay where they are until its last completion (store.h) and a
 * pending knows where. A write without watchers costs one look into a hash table, none while the
 * table is empty. Told too late, twice, or without need does no harm: what fails (it may be there
 * all the same), what was a duplicate, and a merge that changed nothing are told like the rest.
 * In particular a merge that brings nothing new must be: the row may have come before with a copy
 * of the watcher's own put, of which it was told nothing. Where memory for the names is short the
 * event has none, which means any row.
 *
 * OWN CHANGES. A request id begins with 64 bits of its client. A watcher is not told what its own
 * requests change: it has their answers. A repair bears no request and is told to all.
 *
 * WHAT A CLIENT MAY CONCLUDE. A change that is acknowledged is in W stores, so R that keep the
 * promise have one among them (W + R > N). That one must have kept it from before the client's
 * read of the row until now: a node that is lost and watches again has a gap in which it may have
 * stored what another, lost later, was relied upon to tell. So whoever counts promises begins
 * anew when one of them breaks, and believes only reads that were answered by nodes whose promise
 * was older than the read.
 *
 * ONE LEASE. All watches of a connection live by one lease: what a client has to say each second
 * does not grow with what it watches. A session is a time in which that lease was never over; its
 * number goes with each answer. A client that gets the number it knows may rely upon all that it
 * asked for under it; under another one nothing is watched but what it asked for just now.
 *
 * ENDS. The lease ends by itself, and watches go with their connection, or when their client has
 * no more use for them. A newer table may name other owners, who promised nothing: each connection
 * is then told that its session has ended, a few in each tick, and is served until its turn comes
 * (a bounded step is worth more than a prompt end, since a client that learns of the table knows
 * anyway).
 *
 * BOUNDS. KITH_WATCH_MAX of 44 bytes each; those whose lease is over go with the next request of
 * their connection, and are looked for a few at a time by every request for a watch, so that they
 * never add up. KITH_WATCH_GROUP_MAX bounds the effects of one step, which tells all watchers of
 * one group; the next one is refused and does without (its client then asks as if there were no
 * watches).
 *
 * A hash table of chains through a pool that grows; a list through each connection's watches. */
#include <string.h>

#include "core/internal.h"

#define WATCH_POOL_MIN    64u   /* slots; a power of two, doubled when full */
#define WATCH_SWEEP       4u    /* slots looked at by a request: each request adds one at most */
#define WATCH_SWEEP_FULL  1024u /* by one that finds the node full */
#define WATCH_ENDED_SLOTS 4096u /* connections looked at by a tick for watches that are to end */

_Static_assert(KITH_WATCH_GROUP_MAX + KITH_REPLICAS_MAX + KITH_STEP_SPARE <= KITH_STEP_EFFECTS,
               "a completion tells all watchers of a group");
_Static_assert(KITH_BATCH_MAX <= KITH_NAMES_MAX, "an event names all rows of a batch");
_Static_assert((KITH_WATCH_MAX & (KITH_WATCH_MAX - 1)) == 0 && KITH_WATCH_MAX >= WATCH_POOL_MIN,
               "the pool doubles up to its bound");

/* Numbers of slots count from 1; 0 = none. */
struct watch {
    struct kith_group group;
    uint64_t conn; /* 0 = free slot */
    uint32_t next;                 /* in its chain, or of the free slots */
    uint32_t conn_next, conn_prev; /* of the same connection */
};

void watch_release_all(struct kith_node *node)
{
    kith_free(node->watches.pool);
    kith_free(node->watches.heads);
}

/* ---- The table ---- */

static struct watch *watch_at(const struct kith_node *node, uint32_t number)
{
    return &node->watches.pool[number - 1];
}

/* The head of the group's chain; capacity > 0. (The finalizer of splitmix64, as in effect.c.) */
static uint32_t *watch_head(const struct kith_node *node, const struct kith_group *group)
{
    uint64_t half[2];
    _Static_assert(sizeof half == sizeof *group, "a group is two words");
    memcpy(half, group, sizeof half);
    uint64_t z = half[0] * UINT64_C(0x9e3779b97f4a7c15) + half[1];
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return &node->watches.heads[z & (node->watches.capacity - 1)];
}

/* Room for one more; false: memory is short, nothing changed. */
static bool watch_room(struct kith_node *node)
{
    struct watches *watches = &node->watches;
    if (watches->free != 0) {
        return true;
    }
    uint32_t old = watches->capacity;
    uint32_t capacity = old > 0 ? 2 * old : WATCH_POOL_MIN;
    KITH_ASSERT(capacity <= KITH_WATCH_MAX);
    uint32_t *heads = kith_calloc(capacity, sizeof *heads);
    struct watch *pool = heads ? kith_realloc(watches->pool, capacity * sizeof *pool) : NULL;
    if (!pool) {
        kith_free(heads);
        return false;
    }
    kith_free(watches->heads);
    watches->heads = heads;
    watches->pool = pool;
    watches->capacity = capacity;
    for (uint32_t i = 0; i < old; i++) { /* all are taken: none is free */
        uint32_t *head = watch_head(node, &pool[i].group);
        pool[i].next = *head;
        *head = i + 1;
    }
    memset(pool + old, 0, (capacity - old) * sizeof *pool);
    for (uint32_t i = capacity; i > old; i--) {
        pool[i - 1].next = watches->free;
        watches->free = i;
    }
    return true;
}

static void watch_add(struct kith_node *node, struct conn *conn, const struct kith_group *group)
{
    uint32_t number = node->watches.free;
    struct watch *watch = watch_at(node, number);
    node->watches.free = watch->next;
    watch->group = *group;
    watch->conn = conn->id;
    uint32_t *head = watch_head(node, &watch->group);
    watch->next = *head;
    *head = number;
    watch->conn_prev = 0;
    watch->conn_next = conn->watch_first;
    if (conn->watch_first != 0) {
        watch_at(node, conn->watch_first)->conn_prev = number;
    }
    conn->watch_first = number;
    conn->watch_count++;
    node->watches.count++;
}

/* Takes the watch that *link names out of its chain and frees it; *link names the next one then. */
static void watch_drop(struct kith_node *node, uint32_t *link)
{
    uint32_t number = *link;
    struct watch *watch = watch_at(node, number);
    struct conn *conn = conn_find(node, watch->conn);
    KITH_ASSERT(conn && conn->watch_count > 0);
    *link = watch->next;
    if (watch->conn_prev != 0) {
        watch_at(node, watch->conn_prev)->conn_next = watch->conn_next;
    } else {
        conn->watch_first = watch->conn_next;
    }
    if (watch->conn_next != 0) {
        watch_at(node, watch->conn_next)->conn_prev = watch->conn_prev;
    }
    conn->watch_count--;
    node->watches.count--;
    memset(watch, 0, sizeof *watch);
    watch->next = node->watches.free;
    node->watches.free = number;
}

static uint32_t *watch_link(struct kith_node *node, uint32_t number)
{
    uint32_t *link = watch_head(node, &watch_at(node, number)->group);
    while (*link != number) {
        KITH_ASSERT(*link != 0);
        link = &watch_at(node, *link)->next;
    }
    return link;
}

static void watch_drop_all(struct kith_node *node, const struct conn *conn)
{
    while (conn->watch_first != 0) {
        watch_drop(node, watch_link(node, conn->watch_first));
    }
}

void watch_conn_gone(struct kith_node *node, struct conn *conn)
{
    uint32_t slot = (uint32_t)(conn - node->conns);
    watch_drop_all(node, conn);
    if (node->watches.ended_at > slot) { /* others may move there that were not looked at */
        node->watches.ended_at = slot;
    }
}

/* ---- Telling ---- */

static bool lease_over(const struct kith_node *node, const struct conn *conn)
{
    return node->now_ms > conn->watch_until_ms;
}

static bool watched(const struct kith_node *node, const struct kith_group *group)
{
    return node->watches.count > 0 && *watch_head(node, group) != 0;
}

/* The client's half of the id; 0 where there is no request. */
static uint64_t request_owner(const struct kith_request_id *request)
{
    uint64_t owner = 0;
    for (uint32_t i = 0; i < 8; i++) {
        owner = owner << 8 | request->bytes[i];
    }
    return owner;
}

/* names NULL: any row. They live until the step ends, as does what they point to. */
static void watch_tell(struct kith_node *node, const struct kith_group *group, uint64_t owner,
                       const struct kith_bytes *names, uint32_t count)
{
    uint32_t *link = watch_head(node, group);
    while (*link != 0) {
        struct watch *watch = watch_at(node, *link);
        bool same = kith_group_compare(&watch->group, group) == 0;
        const struct conn *conn = same ? conn_find(node, watch->conn) : NULL;
        if (same && lease_over(node, conn)) {
            watch_drop(node, link);
            continue;
        }
        if (same && (owner == 0 || conn->watch_own != owner)) {
            struct kith_watch_event *event =
                &core_send(node, watch->conn, KITH_MSG_WATCH_EVENT, 0)->u.watch_event;
            event->group = *group;
            event->name_count = names ? count : 0;
            event->names = names;
        }
        link = &watch->next;
    }
}

void watch_tell_put(struct kith_node *node, const struct kith_put_req *req)
{
    if (!watched(node, &req->group)) {
        return;
    }
    struct kith_bytes *names = kith_arena_alloc(&node->arena, req->update_count * sizeof *names);
    for (uint32_t i = 0; names && i < req->update_count; i++) {
        names[i] = req->updates[i].name;
    }
    watch_tell(node, &req->group, request_owner(&req->request), names, req->update_count);
}

void watch_tell_rows(struct kith_node *node, const struct kith_group *group,
                     const struct kith_request_id *request, uint32_t count,
                     const struct kith_replica_row *rows)
{
    if (!watched(node, group)) {
        return;
    }
    struct kith_bytes *names = kith_arena_alloc(&node->arena, count * sizeof *names);
    for (uint32_t i = 0; names && i < count; i++) {
        names[i] = rows[i].name;
    }
    watch_tell(node, group, request ? request_owner(request) : 0, names, count);
}

/* ---- Ends ---- */

void watch_end_all(struct kith_node *node)
{
    node->watches.table++;
    node->watches.ended_at = 0;
    node->watches.ending = node->watches.count > 0;
}

/* The lease is over with it: what is watched goes with the connection's next request. */
static void session_end(struct kith_node *node, struct conn *conn)
{
    struct kith_watch_event *event =
        &core_send(node, conn->id, KITH_MSG_WATCH_EVENT, 0)->u.watch_event;
    event->ended = true;
    conn->watch_session = 0;
    conn->watch_until_ms = 0;
}

void watch_tick(struct kith_node *node)
{
    struct watches *watches = &node->watches;
    uint32_t told = 0;
    if (!watches->ending) {
        return;
    }
    for (uint32_t i = 0; i < WATCH_ENDED_SLOTS && told < KITH_STEP_WATCHES; i++) {
        if (watches->ended_at >= KITH_CONN_SLOTS) {
            watches->ending = false;
            return;
        }
        struct conn *conn = &node->conns[watches->ended_at];
        watches->ended_at++;
        if (conn->id != 0 && conn->watch_session != 0 && conn->watch_table != watches->table) {
            session_end(node, conn);
            told++;
        }
    }
}

uint64_t watch_due(const struct kith_node *node)
{
    return node->watches.ending ? node->now_ms : UINT64_MAX;
}

/* Looks at so many slots, beginning where it stopped last time, for watches whose lease is over. */
static void watch_sweep(struct kith_node *node, uint32_t slots)
{
    struct watches *watches = &node->watches;
    for (uint32_t i = 0; i < slots && i < watches->capacity; i++) {
        watches->swept = watches->swept % watches->capacity + 1;
        const struct watch *watch = watch_at(node, watches->swept);
        if (watch->conn != 0 && lease_over(node, conn_find(node, watch->conn))) {
            watch_drop(node, watch_link(node, watches->swept));
        }
    }
}

/* ---- Requests ---- */

/* The link to the connection's watch on the group, NULL: there is none; drops what has lapsed on the
 * way. */
static uint32_t *watch_find(struct kith_node *node, const struct conn *conn,
                            const struct kith_group *group, uint32_t *ret_watchers)
{
    uint32_t *found = NULL;
    *ret_watchers = 0;
    if (node->watches.capacity == 0) {
        return NULL;
    }
    for (uint32_t *link = watch_head(node, group); *link != 0;) {
        struct watch *watch = watch_at(node, *link);
        bool same = kith_group_compare(&watch->group, group) == 0;
        if (same && lease_over(node, conn_find(node, watch->conn))) {
            watch_drop(node, link);
            continue;
        }
        if (same) {
            ++*ret_watchers;
            found = watch->conn == conn->id ? link : found;
        }
        link = &watch->next;
    }
    return found;
}

/* What is full, for people; NULL: there is room. */
static const char *watch_full(struct kith_node *node, const struct conn *conn, uint32_t watchers)
{
    if (node->watches.count >= KITH_WATCH_MAX) {
        watch_sweep(node, WATCH_SWEEP_FULL);
    }
    if (watchers >= KITH_WATCH_GROUP_MAX) {
        return core_text(node, "%u clients watch this group", watchers);
    }
    if (conn->watch_count >= KITH_WATCH_CONN_MAX) {
        return core_text(node, "this connection watches %u groups", conn->watch_count);
    }
    if (node->watches.count >= KITH_WATCH_MAX) {
        return core_text(node, "%u watches are held by this node", node->watches.count);
    }
    return NULL;
}

static bool watch_admit(struct kith_node *node, const struct conn *conn, const struct kith_msg *msg)
{
    const struct kith_watch_req *req = &msg->u.watch_req;
    if (conn->role != KITH_ROLE_CLIENT) {
        core_refuse(node, conn->id, msg, KITH_EPERM, "only clients are told changes");
        return false;
    }
    /* one that adds nothing concerns no partition: it is enough that the table is this one */
    if (req->has_group || table_check(node, &req->table, 0) != TABLE_NOT_OURS) {
        bool known = node->has_cluster && req->has_group;
        uint32_t partition = known ? kith_group_partition(&req->group, node->table->partitions) : 0;
        if (!table_admit_holder(node, conn->id, msg, &req->table, partition)) {
            return false;
        }
    }
    if (req->lease_ms == 0 || req->lease_ms > KITH_WATCH_LEASE_MAX_MS) {
        core_refuse(node, conn->id, msg, KITH_EINVAL,
                    core_text(node, "a lease of %u ms, 1 to %u are given", req->lease_ms,
                              KITH_WATCH_LEASE_MAX_MS));
        return false;
    }
    return true;
}

/* Prolongs the lease; a new session where it was over, or of a former table. */
static void session_keep(struct kith_node *node, struct conn *conn,
                         const struct kith_watch_req *req)
{
    uint64_t until_ms = node->now_ms + req->lease_ms;
    if (conn->watch_session != 0 && !lease_over(node, conn) &&
        conn->watch_table != node->watches.table) {
        session_end(node, conn); /* which was due to be told */
    }
    if (conn->watch_session == 0 || lease_over(node, conn)) {
        watch_drop_all(node, conn);
        node->watches.sessions++;
        conn->watch_session = node->watches.sessions;
        conn->watch_table = node->watches.table;
        conn->watch_until_ms = until_ms;
    }
    conn->watch_until_ms = until_ms > conn->watch_until_ms ? until_ms : conn->watch_until_ms;
    conn->watch_own = req->own;
}

/* What was asked for is watched from now on; why not, for people, in ret_text. */
static enum kith_err watch_begin(struct kith_node *node, struct conn *conn,
                                 const struct kith_group *group, const char **ret_text)
{
    uint32_t watchers = 0;
    watch_sweep(node, WATCH_SWEEP);
    if (watch_find(node, conn, group, &watchers)) {
        return KITH_OK;
    }
    *ret_text = watch_full(node, conn, watchers);
    if (*ret_text) {
        return KITH_ELIMIT;
    }
    if (!watch_room(node)) {
        *ret_text = "out of memory";
        return KITH_EREFUSED;
    }
    watch_add(node, conn, group);
    return KITH_OK;
}

void watch_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    const struct kith_watch_req *req = &msg->u.watch_req;
    const char *text = NULL;
    uint32_t watchers = 0;
    if (!watch_admit(node, conn, msg)) {
        return;
    }
    session_keep(node, conn, req);
    for (uint32_t i = 0; i < req->ended_count; i++) {
        uint32_t *link = watch_find(node, conn, &req->ended[i], &watchers);
        if (link) {
            watch_drop(node, link);
        }
    }
    enum kith_err err = req->has_group ? watch_begin(node, conn, &req->group, &text) : KITH_OK;
    struct kith_watch_res *res =
        &core_send(node, conn->id, KITH_MSG_WATCH_RES, msg->id)->u.watch_res;
    res->status = err == KITH_OK ? core_ok() : core_status(err, text);
    res->session = conn->watch_session; /* it goes on, or began, all the same */
}
