/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * promise.c - how the owners of watched groups are asked for their promises, and what becomes of
 * them: leases, sessions, connections. What a promise is, and what follows from it: watch.c.
 *
 * TIME. One tick looks at all watches: when a lease was prolonged or is to be, at most 40 times a
 * second (CC_WATCH_GRAIN_MS), and when an owner is to be asked again. Each renewal comes a little
 * early at random, so that a thousand clients do not fall into step. */
#include <string.h>

#include "client/watch_impl.h"

/* Ids of WATCH_REQs have the top bit; those of asks (asks.c) count from 1 and never get there. */
#define ID_BIT        (UINT64_C(1) << 63)
#define ID_OWNER_BITS 4u
#define ID_WATCH_BITS 14u
#define ID_NO_OWNER   ((1u << ID_OWNER_BITS) - 1) /* of a renewal: the index is the peer's */
_Static_assert(KITH_HOLDERS_MAX <= ID_NO_OWNER, "an id names the owner");
_Static_assert(KITH_WATCHES_MAX <= 1u << ID_WATCH_BITS, "an id names the watch");
_Static_assert(CC_PEERS_MAX <= 1u << ID_WATCH_BITS, "an id names the peer");
_Static_assert(CC_WATCH_ENDED_MANY < KITH_WATCH_ENDED_MAX, "a request names all that ended");
_Static_assert(CC_WATCH_ANSWER_MS + CC_WATCH_MARGIN_MS + KITH_WATCH_RENEW_MS < KITH_WATCH_LEASE_MS,
               "one renewal may be lost");

/* ---- Asking ---- */

/* The first moment of the grid from at_ms on. */
static uint64_t grain(uint64_t at_ms)
{
    return (at_ms + CC_WATCH_GRAIN_MS - 1) / CC_WATCH_GRAIN_MS * CC_WATCH_GRAIN_MS;
}

static void ask_at(struct kith_client_core *core, struct cc_promise *promise, uint64_t at_ms)
{
    promise->at_ms = at_ms;
    cc_watch_wake(core, at_ms);
}

/* The pause after this one, which doubles each time. */
static uint32_t longer(uint32_t pause_ms)
{
    uint32_t next_ms = pause_ms == 0 ? KITH_WATCH_RENEW_MS : pause_ms * 2;
    return next_ms > CC_WATCH_PAUSE_MAX_MS ? CC_WATCH_PAUSE_MAX_MS : next_ms;
}

static void ask_less(struct kith_client_core *core, struct cc_promise *promise)
{
    promise->pause_ms = longer(promise->pause_ms);
    ask_at(core, promise, grain(core->now + promise->pause_ms));
}

/* A WATCH_REQ to the peer, with what is of no more use; NULL: memory is short. */
static struct kith_msg *request(struct kith_client_core *core, struct cc_peer *peer, uint32_t index,
                                uint32_t owner)
{
    struct cc_lease *lease = &peer->lease;
    size_t size = lease->ended_count * sizeof(*lease->ended);
    struct kith_msg *msg = cc_message(core, KITH_MSG_WATCH_REQ);
    struct kith_group *ended = size > 0 ? kith_arena_alloc(&core->step_arena, size) : NULL;
    if (msg == NULL || (size > 0 && ended == NULL)) {
        return NULL;
    }
    msg->id = ID_BIT | ++core->watches.asked << (ID_OWNER_BITS + ID_WATCH_BITS) |
              (uint64_t)index << ID_OWNER_BITS | owner;
    struct kith_watch_req *req = &msg->u.watch_req;
    req->table = core->table->id;
    req->lease_ms = KITH_WATCH_LEASE_MS;
    req->own = core->client_id[0];
    if (size > 0) {
        memcpy(ended, lease->ended, size);
        req->ended = ended;
        req->ended_count = lease->ended_count;
        lease->ended_count = 0;
    }
    return msg;
}

static void ask(struct kith_client_core *core, struct cc_watch *watch, uint32_t owner)
{
    struct cc_promise *promise = &watch->owners[owner];
    ask_at(core, promise, core->now + CC_WATCH_ANSWER_MS);
    struct kith_msg *msg = request(core, promise->peer, watch->index, owner);
    if (msg == NULL) {
        return;
    }
    promise->ask_id = msg->id;
    promise->conn = promise->peer->rows.conn;
    promise->asked_ms = core->now;
    promise->asked = core->order;
    msg->may_wait = true; /* it leaves with what the user asks for next */
    msg->u.watch_req.has_group = true;
    msg->u.watch_req.group = watch->group;
    cc_send(core, promise->conn, msg);
}

static void renew_at(struct kith_client_core *core, struct cc_lease *lease, uint64_t at_ms)
{
    lease->at_ms = at_ms;
    cc_watch_wake(core, at_ms);
}

static void renew(struct kith_client_core *core, uint32_t index)
{
    struct cc_peer *peer = core->peers[index];
    struct cc_lease *lease = &peer->lease;
    renew_at(core, lease, core->now + CC_WATCH_ANSWER_MS);
    struct kith_msg *msg = request(core, peer, index, ID_NO_OWNER);
    if (msg == NULL) {
        return;
    }
    lease->ask_id = msg->id;
    lease->conn = peer->rows.conn;
    lease->asked_ms = core->now;
    lease->asked = core->order;
    msg->may_wait = core->now < lease->until_ms;
    cc_send(core, lease->conn, msg);
}

/* The time has come at which the lease was to be renewed, or the node to have answered. */
static void lease_due(struct kith_client_core *core, uint32_t index)
{
    struct cc_lease *lease = &core->peers[index]->lease;
    if (lease->ask_id == 0 && !lease->wanted && lease->ended_count == 0) {
        lease->at_ms = CC_NEVER;
        return;
    }
    if (lease->ask_id != 0 && lease->pause_ms == 0) {
        lease->pause_ms = KITH_WATCH_RENEW_MS; /* no answer: once more at once */
    } else if (lease->ask_id != 0 && !lease->late) {
        lease->late = true;
        lease->pause_ms = longer(lease->pause_ms);
        renew_at(core, lease, grain(core->now + lease->pause_ms));
        return;
    }
    lease->late = false;
    renew(core, index);
}

/* The time has come at which the owner was to be asked, or to have answered. */
static bool promise_due(struct kith_client_core *core, struct cc_watch *watch, uint32_t owner)
{
    struct cc_promise *promise = &watch->owners[owner];
    if (promise->ask_id != 0 && promise->pause_ms == 0) {
        promise->pause_ms = KITH_WATCH_RENEW_MS; /* no answer: once more at once */
    } else if (promise->ask_id != 0 && !promise->late) {
        promise->late = true;
        ask_less(core, promise);
        return false;
    }
    promise->late = false;
    ask(core, watch, owner);
    return true;
}

void cc_promises_bind(struct kith_client_core *core, struct cc_watch *watch)
{
    watch->slots = 0;
    cc_watch_judge(core, watch);
    if (core->table == NULL) {
        return;
    }
    memset(watch->owners, 0, sizeof(watch->owners));
    uint32_t partition = kith_group_partition(&watch->group, core->table->partitions);
    uint16_t owners[KITH_HOLDERS_MAX];
    watch->slots = kith_table_holders(core->table, partition, owners);
    kith_quorum_make(core->table, partition, KITH_LEVEL_QUORUM, "", false, &watch->quorum);
    for (uint32_t i = 0; i < watch->slots; i++) {
        struct cc_promise *promise = &watch->owners[i];
        promise->peer = core->by_member[owners[i]];
        promise->at_ms = cc_peer_up(promise->peer) ? core->now : CC_NEVER;
    }
}

void cc_promises_ask(struct kith_client_core *core, struct cc_watch *watch)
{
    for (uint32_t owner = 0; owner < watch->slots; owner++) {
        if (watch->owners[owner].at_ms <= core->now) {
            ask(core, watch, owner);
        }
    }
}

static void lease_forget(struct cc_lease *lease)
{
    lease->session = lease->until_ms = lease->ask_id = 0;
    lease->at_ms = CC_NEVER;
    lease->pause_ms = 0;
    lease->late = false;
    lease->ended_count = 0; /* it goes with the session */
}

void cc_watches_table(struct kith_client_core *core)
{
    for (uint32_t i = 0; i < core->peer_count; i++) {
        lease_forget(&core->peers[i]->lease);
    }
    for (uint32_t i = 0; i < KITH_WATCHES_MAX && core->watches.count > 0; i++) {
        if (core->watches.by_index[i] != NULL) {
            cc_promises_bind(core, core->watches.by_index[i]);
            cc_watch_wake(core, core->now);
        }
    }
}

/* Each watch: what is due, and which leases it rests on. */
static void tick_watches(struct kith_client_core *core)
{
    uint32_t asks = 0;
    for (uint32_t i = 0; i < KITH_WATCHES_MAX && core->watches.count > 0; i++) {
        struct cc_watch *watch = core->watches.by_index[i];
        if (watch == NULL) {
            continue;
        }
        cc_watch_judge(core, watch);
        for (uint32_t owner = 0; owner < watch->slots; owner++) {
            struct cc_promise *promise = &watch->owners[owner];
            if (core->now >= promise->at_ms && asks < CC_WATCH_ASKS_MAX) {
                asks += promise_due(core, watch, owner) ? 1 : 0;
            }
            cc_watch_wake(core, promise->at_ms);
            promise->peer->lease.wanted = promise->peer->lease.wanted || promise->session != 0;
        }
    }
}

void cc_watches_tick(struct kith_client_core *core)
{
    core->watches.wake_ms = CC_NEVER;
    for (uint32_t i = 0; i < core->peer_count; i++) {
        core->peers[i]->lease.wanted = false;
    }
    tick_watches(core);
    for (uint32_t i = 0; i < core->peer_count; i++) {
        if (core->now >= core->peers[i]->lease.at_ms) {
            lease_due(core, i);
        }
        cc_watch_wake(core, core->peers[i]->lease.at_ms);
    }
    if (core->watches.wake_ms <= core->now) {
        core->watches.wake_ms = core->now + 1; /* the rest of a burst */
    }
}

/* ---- Connections ---- */

/* Calls for each promise of the peer: none while there are no watches. */
static void each_of(struct kith_client_core *core, const struct cc_peer *peer,
                    void (*take)(struct kith_client_core *, struct cc_watch *, struct cc_promise *))
{
    for (uint32_t i = 0; i < KITH_WATCHES_MAX && core->watches.count > 0; i++) {
        struct cc_watch *watch = core->watches.by_index[i];
        for (uint32_t owner = 0; watch != NULL && owner < watch->slots; owner++) {
            if (watch->owners[owner].peer == peer) {
                take(core, watch, &watch->owners[owner]);
            }
        }
    }
}

static void up(struct kith_client_core *core, struct cc_watch *watch, struct cc_promise *promise)
{
    (void)watch;
    ask_at(core, promise, core->now);
}

void cc_watches_up(struct kith_client_core *core, const struct cc_peer *peer)
{
    each_of(core, peer, up);
}

static void lost(struct kith_client_core *core, struct cc_watch *watch, struct cc_promise *promise)
{
    cc_promise_end(watch, promise);
    promise->session = promise->ask_id = 0;
    promise->pause_ms = 0;
    promise->late = false;
    promise->at_ms = CC_NEVER;
    cc_watch_judge(core, watch);
}

void cc_watches_lost(struct kith_client_core *core, struct cc_peer *peer)
{
    lease_forget(&peer->lease);
    each_of(core, peer, lost);
}

/* ---- Answers and events ---- */

/* What was promised in another session is over, and is asked for again. */
static void over(struct kith_client_core *core, struct cc_watch *watch, struct cc_promise *promise)
{
    cc_promise_end(watch, promise);
    if (promise->session != 0 && promise->ask_id == 0) {
        ask_at(core, promise, grain(core->now + CC_WATCH_GRAIN_MS));
    }
    promise->session = 0;
    cc_watch_judge(core, watch);
}

static void session_over(struct kith_client_core *core, struct cc_peer *peer)
{
    bool had = peer->lease.session != 0;
    peer->lease.session = peer->lease.until_ms = 0;
    if (had) {
        each_of(core, peer, over);
    }
}

static void look(struct kith_client_core *core, struct cc_watch *watch, struct cc_promise *promise)
{
    (void)promise;
    cc_watch_judge(core, watch);
}

/* The node has told everything since, but the lease was over here: promised anew. */
static void hold_again(struct kith_client_core *core, struct cc_watch *watch,
                       struct cc_promise *promise)
{
    if (!promise->held && promise->session != 0) {
        promise->held = true;
        promise->since = promise->peer->lease.again;
        cc_watch_judge(core, watch);
    }
}

/* The node answered what was sent at asked_ms, when core->order was `asked`: its lease is prolonged,
 * or begins. False: it is over again. */
static bool lease_goes_on(struct kith_client_core *core, struct cc_peer *peer, uint64_t session,
                          uint64_t asked_ms, uint64_t asked)
{
    struct cc_lease *lease = &peer->lease;
    uint64_t until_ms = asked_ms + KITH_WATCH_LEASE_MS - CC_WATCH_MARGIN_MS;
    if (session != lease->session) {
        session_over(core, peer);
        lease->session = session;
    }
    if (lease->until_ms != 0 && lease->until_ms <= core->now) {
        each_of(core, peer, look); /* while it can still be seen */
        lease->until_ms = 0;
    }
    uint64_t before_ms = lease->until_ms;
    if (until_ms <= core->now) { /* so late that it is over */
        return false;
    }
    lease->until_ms = until_ms > lease->until_ms ? until_ms : lease->until_ms;
    if (before_ms == 0) {
        lease->again = asked;
        each_of(core, peer, hold_again);
    } else if (before_ms < core->now + 2 * CC_WATCH_TELL_MS) {
        each_of(core, peer, look);
    } else { /* then all that rest on it are told so: not after each request */
        cc_watch_wake(core, grain(core->now + CC_WATCH_TELL_MS));
    }
    if (lease->ask_id == 0) {
        uint64_t early_ms = cc_random(core) % (KITH_WATCH_RENEW_MS / 4);
        uint64_t again_ms = grain(asked_ms + KITH_WATCH_RENEW_MS - early_ms);
        bool many = lease->ended_count >= CC_WATCH_ENDED_MANY;
        again_ms = again_ms > core->now && !many ? again_ms : core->now;
        renew_at(core, lease, again_ms);
    }
    return true;
}

static void take_ok(struct kith_client_core *core, struct cc_watch *watch,
                    struct cc_promise *promise, uint64_t session)
{
    bool goes_on =
        lease_goes_on(core, promise->peer, session, promise->asked_ms, promise->asked);
    promise->pause_ms = 0;
    promise->at_ms = CC_NEVER;
    if (!promise->held || promise->session != session) {
        cc_promise_end(watch, promise);
        promise->since = promise->asked;
    }
    promise->session = session;
    promise->held = goes_on;
    if (!goes_on) {
        renew_at(core, &promise->peer->lease, core->now);
    }
}

static void take_error(struct kith_client_core *core, struct cc_watch *watch,
                       struct cc_promise *promise, const struct kith_watch_res *res)
{
    cc_promise_end(watch, promise);
    promise->session = 0;
    if (res->status.err == KITH_ESTALE) {
        struct kith_table *known = kith_table_hold(core->table);
        bool newer = cc_table_adopt(core, res->table, known);
        kith_table_drop(known);
        if (newer) {
            return; /* bound anew */
        }
    }
    if (res->status.err == KITH_ELIMIT || res->status.err == KITH_EINVAL) {
        ask_less(core, promise);
    } else { /* not ready yet, has not the table yet: it passes */
        promise->pause_ms = 0;
        ask_at(core, promise, grain(core->now + KITH_WATCH_RENEW_MS));
    }
}

/* To a renewal. */
static void take_lease(struct kith_client_core *core, uint32_t index, uint64_t conn,
                       const struct kith_msg *msg)
{
    struct cc_peer *peer = index < core->peer_count ? core->peers[index] : NULL;
    const struct kith_watch_res *res = &msg->u.watch_res;
    if (peer == NULL || peer->lease.ask_id != msg->id || peer->lease.conn != conn) {
        return; /* asked again, or for another table */
    }
    struct cc_lease *lease = &peer->lease;
    lease->ask_id = 0;
    lease->late = false;
    lease->pause_ms = 0;
    if (res->status.err == KITH_ESTALE) {
        struct kith_table *known = kith_table_hold(core->table);
        bool newer = cc_table_adopt(core, res->table, known);
        kith_table_drop(known);
        if (newer) {
            return; /* all is bound anew */
        }
    }
    if (res->status.err != KITH_OK) {
        lease->at_ms = CC_NEVER;
        session_over(core, peer);
    } else if (!lease_goes_on(core, peer, res->session, lease->asked_ms, lease->asked)) {
        renew_at(core, lease, core->now);
    }
}

static void take_res(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg)
{
    uint32_t owner = (uint32_t)msg->id & ((1u << ID_OWNER_BITS) - 1);
    uint32_t index = (uint32_t)(msg->id >> ID_OWNER_BITS) & ((1u << ID_WATCH_BITS) - 1);
    if (owner == ID_NO_OWNER) {
        take_lease(core, index, conn, msg);
        return;
    }
    struct cc_watch *watch = index < KITH_WATCHES_MAX ? core->watches.by_index[index] : NULL;
    if (watch == NULL || owner >= watch->slots || watch->owners[owner].ask_id != msg->id ||
        watch->owners[owner].ask_id == 0 || watch->owners[owner].conn != conn) {
        return; /* ended since, or asked again */
    }
    struct cc_promise *promise = &watch->owners[owner];
    const struct kith_watch_res *res = &msg->u.watch_res;
    promise->ask_id = 0;
    promise->late = false;
    cc_watch_judge(core, watch); /* what lapsed before this answer came has lapsed */
    if (res->status.err == KITH_OK) {
        take_ok(core, watch, promise, res->session);
    } else {
        if (res->session != 0 && res->session != promise->peer->lease.session) {
            session_over(core, promise->peer);
        }
        take_error(core, watch, promise, res);
    }
    cc_watch_judge(core, watch);
}

/* The peer's session is over; its connection's end comes otherwise. */
static void take_end(struct kith_client_core *core, uint64_t conn)
{
    for (uint32_t i = 0; i < core->peer_count; i++) {
        if (core->peers[i]->rows.conn == conn) {
            session_over(core, core->peers[i]);
        }
    }
}

static void take_event(struct kith_client_core *core, uint64_t conn,
                       const struct kith_watch_event *event)
{
    if (event->ended) {
        take_end(core, conn);
        return;
    }
    struct cc_watch *watch = *cc_watch_bucket(core, &event->group);
    for (; watch != NULL; watch = watch->chain) {
        if (kith_group_compare(&watch->group, &event->group) == 0) {
            watch->changed = true;
            watch->names = event->names;
            watch->name_count = event->name_count;
            cc_watch_mark(core, watch);
            cc_watch_judge(core, watch);
        }
    }
}

void cc_watches_message(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg)
{
    cc_nodes_heard(core, conn);
    if (msg->kind == KITH_MSG_WATCH_RES) {
        take_res(core, conn, msg);
    } else {
        take_event(core, conn, &msg->u.watch_event);
    }
}

/* ---- What is of no more use ---- */

/* Where memory is short the node is not told, and tells in vain until the connection ends. */
void cc_promise_drop(struct kith_client_core *core, const struct cc_watch *watch,
                     const struct cc_promise *promise)
{
    struct cc_lease *lease = &promise->peer->lease;
    if (promise->session == 0 && promise->ask_id == 0) {
        return;
    }
    if (lease->ended_count == lease->ended_capacity) {
        uint32_t capacity = lease->ended_capacity == 0 ? 16 : 2 * lease->ended_capacity;
        struct kith_group *ended =
            capacity > KITH_WATCH_ENDED_MAX
                ? NULL
                : kith_realloc(lease->ended, capacity * sizeof(struct kith_group));
        if (ended == NULL) {
            return;
        }
        lease->ended = ended;
        lease->ended_capacity = capacity;
    }
    lease->ended[lease->ended_count++] = watch->group;
    uint64_t by_ms =
        core->now + (lease->ended_count < CC_WATCH_ENDED_MANY ? KITH_WATCH_RENEW_MS : 0);
    if (lease->ask_id == 0 && by_ms < lease->at_ms) {
        renew_at(core, lease, by_ms);
    }
}
