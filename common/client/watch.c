/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch.c - watches: owners that have promised to tell what changes in a group, and what may be
 * believed on the strength of it.
 *
 * A PROMISE. Each owner of the group's partition is asked to tell, for KITH_WATCH_LEASE_MS, every
 * change that it stores (WATCH_REQ). Its lease begins when it takes the request, which is later
 * than when that was sent: so here the promise is counted from the sending, less CC_WATCH_MARGIN_MS
 * for clocks that do not run alike, and it ends here before it ends there. Asking again before the
 * end prolongs it. It goes on without a gap only if the ANSWER is here before the old one is over:
 * a request that was sent in time may have been taken too late, when the node had already stored
 * changes that it told nobody. And only if the node says so (`renewed`): the clock here stands
 * still while the machine sleeps, or is moved to another. A promise also ends with its connection,
 * with the node's word (WATCH_EVENT `ended`, an error), and with the table.
 *
 * WHAT IS CLAIMED. "What was read by requests that began while the watch had this number, and of
 * which no change was told since, is what a quorum would answer now, but for what is on its way."
 * That R owners keep their promise at each moment is not enough for it:
 *
 *     A and B promise.  The client reads x from A and B.  C stores x'.  C promises.
 *     A's promise ends.  A stores x' too: acknowledged by A and C.  Neither told it: R owners
 *     promised all the time.
 *
 * Nor is it enough that the same R promise all the time:
 *
 *     C stores x' (on its way to others).  A and C promise.  The client reads x from A and B.
 *     B stores x': acknowledged by B and C.  C had it before it promised, B promised nothing.
 *
 * What holds is a rule about reads. Let a read be answered by a quorum Q, each member of which had
 * promised before it answered, and keeps that promise without a gap until now. Let a change be
 * acknowledged, and not be in what was read. It is stored by W owners, and W + R > N: one of Q is
 * among them, o. Had o stored it before it answered, it would be in what was read. So it was stored
 * after the answer, thus under the promise, thus it was told. No other owner matters, and owners
 * may join at any time.
 *
 * Not all knowledge comes from reads: whoever makes a directory knows that it is empty. No owner
 * had stored anything then; so it is enough that R owners which promised then keep that promise
 * without a gap: any W have one of them among them. (Again not that R promise at each moment.)
 *
 * While data moves R means a majority of the owners, and of the next owners so many that they meet
 * each write of theirs (data/quorum.h): of reads, and so of promises.
 *
 * THE EPOCH. So the number of a watch (epoch.h) stays as long as it is live and
 *
 *   - R of the owners that promised when it began (its founders) have done so without a gap, and
 *   - no owner that answered one of the reads under this number has let its promise end, and
 *   - every read that began under it was answered by owners whose promise was asked for before the
 *     read began. Requests of one connection are taken in order: then the promise is older than the
 *     answer. A read that anybody else took part in, or fewer than R, breaks the watch when it
 *     ends, before its own callback; so what it says is never believed.
 *
 * Other owners may come and go. When the epoch breaks while R still promise, the next one begins in
 * the same step; all that was believed must be read anew. What the client itself puts is its own
 * affair: it is not told, and changes nothing in the argument above about others' changes. (A put's
 * answer is no read: it tells what its coordinator had.)
 *
 * The time until which a watch is live, as told to the user, is the least of the promises that R
 * founders keep longest and of those whose owners answered reads: it lapses by itself, in time,
 * even if the tick that sees to it is late.
 *
 * TIME. One tick looks at all watches; times are rounded to CC_WATCH_GRAIN_MS, so that there are at
 * most 40 such ticks a second, and requests leave together. Each renewal comes a little early at
 * random, so that a thousand watches do not fall into step. */
#include <string.h>

#include "base/assert.h"
#include "client/core.h"

/* Ids of WATCH_REQs have the top bit; those of asks (asks.c) count from 1 and never get there. */
#define ID_BIT        (UINT64_C(1) << 63)
#define ID_OWNER_BITS 4u
#define ID_WATCH_BITS 10u
_Static_assert(KITH_HOLDERS_MAX <= 1u << ID_OWNER_BITS, "an id names the owner");
_Static_assert(KITH_WATCHES_MAX <= 1u << ID_WATCH_BITS, "an id names the watch");
_Static_assert(CC_WATCH_ANSWER_MS + CC_WATCH_MARGIN_MS + KITH_WATCH_RENEW_MS < KITH_WATCH_LEASE_MS,
               "one renewal may be lost");

static struct cc_watch **bucket_of(struct kith_client_core *core, const struct kith_group *group)
{
    uint64_t half[2];
    _Static_assert(sizeof(half) == sizeof(*group), "a group is two words");
    memcpy(half, group, sizeof(half));
    /* the finalizer of splitmix64 (Vigna 2015) */
    uint64_t z = half[0] * UINT64_C(0x9e3779b97f4a7c15) + half[1];
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return &core->watches.buckets[z & (CC_WATCH_BUCKETS - 1)];
}

static void wake(struct kith_client_core *core, uint64_t at_ms)
{
    if (at_ms < core->watches.wake_ms) {
        core->watches.wake_ms = at_ms;
    }
}

/* ---- What is told ---- */

static void mark(struct kith_client_core *core, struct cc_watch *watch)
{
    if (!watch->marked) {
        watch->marked = true;
        watch->marked_next = core->watches.marked;
        core->watches.marked = watch;
    }
}

static bool tell_until(struct kith_client_core *core, const struct cc_watch *watch,
                       uint64_t until_ms)
{
    struct kith_client_effect *effect = cc_effect_new(core);
    if (effect == NULL) {
        return false;
    }
    effect->kind = KITH_CLIENT_EFFECT_WATCHED;
    effect->tag = watch->tag;
    effect->until_ms = until_ms;
    return true;
}

/* What finds no memory stays for the next step. But the names of a change do not: then nothing is
 * believed any more that was read before. */
static bool tell_one(struct kith_client_core *core, struct cc_watch *watch)
{
    if (watch->changed) {
        struct kith_client_effect *effect = cc_effect_new(core);
        watch->changed = false;
        if (effect != NULL) {
            effect->kind = KITH_CLIENT_EFFECT_CHANGED;
            effect->tag = watch->tag;
            effect->names = watch->names;
            effect->name_count = watch->name_count;
        } else {
            watch->tell_break = watch->told_ms != 0;
        }
    }
    if (watch->tell_break) {
        if (!tell_until(core, watch, 0)) {
            return false;
        }
        watch->tell_break = false;
        watch->told_ms = 0;
    }
    if (watch->until_ms != watch->told_ms) {
        if (!tell_until(core, watch, watch->until_ms)) {
            return false;
        }
        watch->told_ms = watch->until_ms;
    }
    return true;
}

bool cc_watches_tell(struct kith_client_core *core)
{
    while (core->watches.marked != NULL) {
        struct cc_watch *watch = core->watches.marked;
        if (!tell_one(core, watch)) {
            return false;
        }
        core->watches.marked = watch->marked_next;
        watch->marked = false;
    }
    return true;
}

/* ---- Whether a watch is live ---- */

static bool keeps(const struct kith_client_core *core, const struct cc_promise *promise)
{
    return core->now < promise->until_ms;
}

static void promise_end(struct cc_watch *watch, struct cc_promise *promise)
{
    watch->broken = watch->broken || promise->read;
    promise->founder = false;
    promise->until_ms = 0;
}

/* Until when a quorum of owners, or of founders, keep their promise; 0: fewer do. */
static uint64_t quorum_until(const struct kith_client_core *core, const struct cc_watch *watch,
                             bool founders)
{
    uint32_t mask = 0; /* those that keep it longest */
    uint64_t until_ms = 0;
    while (watch->slots > 0 && !kith_quorum_met(&watch->quorum, mask)) {
        uint32_t longest = watch->slots;
        for (uint32_t i = 0; i < watch->slots; i++) {
            const struct cc_promise *promise = &watch->owners[i];
            if ((mask >> i & 1u) == 0 && keeps(core, promise) && (!founders || promise->founder) &&
                (longest == watch->slots ||
                 promise->until_ms > watch->owners[longest].until_ms)) {
                longest = i;
            }
        }
        if (longest == watch->slots) {
            return 0;
        }
        mask |= 1u << longest;
        until_ms = watch->owners[longest].until_ms;
    }
    return until_ms;
}

/* Sees what has lapsed, and what follows from how the promises stand now. */
static void judge(struct kith_client_core *core, struct cc_watch *watch)
{
    for (uint32_t i = 0; i < watch->slots; i++) {
        if (watch->owners[i].until_ms != 0 && !keeps(core, &watch->owners[i])) {
            promise_end(watch, &watch->owners[i]);
        }
    }
    uint64_t until_ms = quorum_until(core, watch, watch->until_ms != 0);
    if (watch->until_ms != 0 && (until_ms == 0 || watch->broken)) {
        watch->tell_break = watch->told_ms != 0;
        watch->until_ms = 0;
        until_ms = quorum_until(core, watch, false);
    }
    watch->broken = false;
    if (watch->until_ms == 0) {
        watch->begun = core->order;
        for (uint32_t i = 0; i < watch->slots; i++) {
            watch->owners[i].read = false;
            watch->owners[i].founder = keeps(core, &watch->owners[i]);
        }
    }
    for (uint32_t i = 0; i < watch->slots; i++) {
        const struct cc_promise *promise = &watch->owners[i];
        if (promise->read && promise->until_ms < until_ms) {
            until_ms = promise->until_ms;
        }
        if (promise->until_ms != 0) {
            wake(core, promise->until_ms);
        }
    }
    watch->until_ms = until_ms;
    if (watch->tell_break || watch->until_ms != watch->told_ms) {
        mark(core, watch);
    }
}

/* The peer answered the read; false: not under a promise. */
static bool note_reader(const struct kith_client_core *core, struct cc_watch *watch,
                        const struct cc_op *op, const struct cc_peer *peer)
{
    for (uint32_t i = 0; i < watch->slots; i++) {
        struct cc_promise *promise = &watch->owners[i];
        if (promise->peer == peer) {
            bool under = keeps(core, promise) && op->order > promise->since;
            promise->read = promise->read || under;
            return under;
        }
    }
    return false;
}

void cc_watches_read(struct kith_client_core *core, const struct cc_op *op)
{
    bool read = op->kind == KITH_CLIENT_GET || op->kind == KITH_CLIENT_SCAN;
    if (core->watches.count == 0 || !read || op->result.err != KITH_OK) {
        return;
    }
    const struct kith_group *group =
        op->kind == KITH_CLIENT_GET ? &op->u.get.group : &op->u.scan.group;
    uint32_t have = cc_owners_in(op, CC_REP_HAVE);
    struct cc_watch *watch = *bucket_of(core, group);
    for (; watch != NULL; watch = watch->chain) {
        if (kith_group_compare(&watch->group, group) != 0 || watch->until_ms == 0 ||
            op->order <= watch->begun) {
            continue;
        }
        watch->broken = op->result.degraded || op->table != core->table ||
                        !kith_quorum_met(&watch->quorum, have);
        for (uint32_t i = 0; i < op->rep_count; i++) {
            if (op->reps[i].state == CC_REP_HAVE &&
                !note_reader(core, watch, op, op->reps[i].peer)) {
                watch->broken = true;
            }
        }
        judge(core, watch);
    }
}

/* ---- Asking ---- */

/* The first moment of the grid from at_ms on. */
static uint64_t grain(uint64_t at_ms)
{
    return (at_ms + CC_WATCH_GRAIN_MS - 1) / CC_WATCH_GRAIN_MS * CC_WATCH_GRAIN_MS;
}

static void ask_at(struct kith_client_core *core, struct cc_promise *promise, uint64_t at_ms)
{
    promise->at_ms = at_ms;
    wake(core, at_ms);
}

/* Asks again after a pause that doubles each time. */
static void ask_less(struct kith_client_core *core, struct cc_promise *promise)
{
    promise->pause_ms = promise->pause_ms == 0 ? KITH_WATCH_RENEW_MS : promise->pause_ms * 2;
    if (promise->pause_ms > CC_WATCH_PAUSE_MAX_MS) {
        promise->pause_ms = CC_WATCH_PAUSE_MAX_MS;
    }
    ask_at(core, promise, grain(core->now + promise->pause_ms));
}

static void ask(struct kith_client_core *core, struct cc_watch *watch, uint32_t owner)
{
    struct cc_promise *promise = &watch->owners[owner];
    struct kith_msg *msg = cc_message(core, KITH_MSG_WATCH_REQ);
    ask_at(core, promise, core->now + CC_WATCH_ANSWER_MS);
    if (msg == NULL) {
        return;
    }
    promise->ask_id = ID_BIT | ++core->watches.asked << (ID_OWNER_BITS + ID_WATCH_BITS) |
                      (uint64_t)watch->index << ID_OWNER_BITS | owner;
    promise->conn = promise->peer->rows.conn;
    promise->asked_ms = core->now;
    promise->asked = core->order;
    msg->id = promise->ask_id;
    msg->may_wait = keeps(core, promise);
    struct kith_watch_req *req = &msg->u.watch_req;
    req->table = core->table->id;
    req->group = watch->group;
    req->lease_ms = KITH_WATCH_LEASE_MS;
    req->own = core->client_id[0];
    cc_send(core, promise->conn, msg);
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

/* Who owns the group now; nobody has promised anything. */
static void bind(struct kith_client_core *core, struct cc_watch *watch)
{
    watch->slots = 0;
    judge(core, watch);
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
        ask_at(core, promise, cc_peer_up(promise->peer) ? core->now : CC_NEVER);
    }
}

void cc_watches_table(struct kith_client_core *core)
{
    for (uint32_t i = 0; i < KITH_WATCHES_MAX && core->watches.count > 0; i++) {
        if (core->watches.by_index[i] != NULL) {
            bind(core, core->watches.by_index[i]);
        }
    }
}

void cc_watches_tick(struct kith_client_core *core)
{
    uint32_t asks = 0;
    core->watches.wake_ms = CC_NEVER;
    for (uint32_t i = 0; i < KITH_WATCHES_MAX && core->watches.count > 0; i++) {
        struct cc_watch *watch = core->watches.by_index[i];
        if (watch == NULL) {
            continue;
        }
        judge(core, watch);
        for (uint32_t owner = 0; owner < watch->slots; owner++) {
            if (core->now >= watch->owners[owner].at_ms && asks < CC_WATCH_ASKS_MAX) {
                asks += promise_due(core, watch, owner) ? 1 : 0;
            }
            wake(core, watch->owners[owner].at_ms);
        }
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
    promise_end(watch, promise);
    promise->ask_id = 0;
    promise->pause_ms = 0;
    promise->late = false;
    promise->at_ms = CC_NEVER;
    judge(core, watch);
}

void cc_watches_lost(struct kith_client_core *core, const struct cc_peer *peer)
{
    each_of(core, peer, lost);
}

/* ---- Answers and events ---- */

static void take_ok(struct kith_client_core *core, struct cc_watch *watch,
                    struct cc_promise *promise, bool renewed)
{
    uint64_t until_ms = promise->asked_ms + KITH_WATCH_LEASE_MS - CC_WATCH_MARGIN_MS;
    promise->pause_ms = 0;
    if (until_ms <= core->now) { /* so late that it is over */
        ask_at(core, promise, core->now);
        return;
    }
    if (!keeps(core, promise) || !renewed) {
        promise_end(watch, promise);
        promise->since = promise->asked;
    }
    promise->until_ms = until_ms;
    uint64_t early_ms = cc_random(core) % (KITH_WATCH_RENEW_MS / 4);
    uint64_t again_ms = grain(promise->asked_ms + KITH_WATCH_RENEW_MS - early_ms);
    ask_at(core, promise, again_ms > core->now ? again_ms : core->now);
}

static void take_error(struct kith_client_core *core, struct cc_watch *watch,
                       struct cc_promise *promise, const struct kith_watch_res *res)
{
    promise_end(watch, promise);
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

static void take_res(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg)
{
    uint32_t owner = (uint32_t)msg->id & ((1u << ID_OWNER_BITS) - 1);
    uint32_t index = (uint32_t)(msg->id >> ID_OWNER_BITS) & ((1u << ID_WATCH_BITS) - 1);
    struct cc_watch *watch = index < KITH_WATCHES_MAX ? core->watches.by_index[index] : NULL;
    if (watch == NULL || owner >= watch->slots || watch->owners[owner].ask_id != msg->id ||
        watch->owners[owner].ask_id == 0 || watch->owners[owner].conn != conn) {
        return; /* ended since, or asked again */
    }
    struct cc_promise *promise = &watch->owners[owner];
    promise->ask_id = 0;
    promise->late = false;
    judge(core, watch); /* what lapsed before this answer came has lapsed */
    if (msg->u.watch_res.status.err == KITH_OK) {
        take_ok(core, watch, promise, msg->u.watch_res.renewed);
    } else {
        take_error(core, watch, promise, &msg->u.watch_res);
    }
    judge(core, watch);
}

static void take_event(struct kith_client_core *core, uint64_t conn,
                       const struct kith_watch_event *event)
{
    struct cc_watch *watch = *bucket_of(core, &event->group);
    for (; watch != NULL; watch = watch->chain) {
        if (kith_group_compare(&watch->group, &event->group) != 0) {
            continue;
        }
        if (!event->ended || event->name_count > 0) {
            watch->changed = true;
            watch->names = event->names;
            watch->name_count = event->name_count;
            mark(core, watch);
        }
        for (uint32_t owner = 0; event->ended && owner < watch->slots; owner++) {
            struct cc_promise *promise = &watch->owners[owner];
            if (promise->peer->rows.conn != conn) {
                continue;
            }
            promise_end(watch, promise);
            if (promise->ask_id == 0) {
                ask_at(core, promise, grain(core->now + CC_WATCH_GRAIN_MS));
            }
        }
        judge(core, watch);
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

/* ---- Begin and end ---- */

enum kith_err cc_watch_begin(struct kith_client_core *core, uint64_t tag,
                             const struct kith_group *group)
{
    if (core->watches.count == KITH_WATCHES_MAX) {
        return KITH_ELIMIT;
    }
    struct cc_watch *watch = kith_calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return KITH_ENOMEM;
    }
    while (core->watches.by_index[watch->index] != NULL) {
        watch->index++;
    }
    struct cc_watch **bucket = bucket_of(core, group);
    watch->tag = tag;
    watch->group = *group;
    watch->chain = *bucket;
    *bucket = watch;
    core->watches.by_index[watch->index] = watch;
    core->watches.count++;
    bind(core, watch);
    return KITH_OK;
}

static void watch_free(struct kith_client_core *core, struct cc_watch *watch)
{
    struct cc_watch **at = bucket_of(core, &watch->group);
    while (*at != watch) {
        at = &(*at)->chain;
    }
    *at = watch->chain;
    at = &core->watches.marked;
    while (watch->marked && *at != watch) {
        at = &(*at)->marked_next;
    }
    if (watch->marked) {
        *at = watch->marked_next;
    }
    core->watches.by_index[watch->index] = NULL;
    core->watches.count--;
    kith_free(watch);
}

/* The nodes are not told: their leases run out. */
void cc_watch_end(struct kith_client_core *core, uint64_t tag)
{
    for (uint32_t i = 0; i < KITH_WATCHES_MAX; i++) {
        struct cc_watch *watch = core->watches.by_index[i];
        if (watch != NULL && watch->tag == tag) {
            watch_free(core, watch);
            return;
        }
    }
}

void cc_watches_release(struct kith_client_core *core)
{
    for (uint32_t i = 0; i < KITH_WATCHES_MAX; i++) {
        if (core->watches.by_index[i] != NULL) {
            watch_free(core, core->watches.by_index[i]);
        }
    }
}
