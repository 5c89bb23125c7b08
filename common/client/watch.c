/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watch.c - watches: owners that have promised to tell what changes in a group, and what may be
 * believed on the strength of it.
 *
 * A PROMISE. Each owner of the group's partition is asked to tell, for KITH_WATCH_LEASE_MS, every
 * change that it stores (WATCH_REQ). All that a node has promised here lives by one lease, which
 * each request to it prolongs, also one that asks for nothing new: one a second to each node does,
 * whatever is watched. The lease begins when the node takes the request, which is later
 * than when that was sent: so here it is counted from the sending, less CC_WATCH_MARGIN_MS
 * for clocks that do not run alike, and it ends here before it ends there. Asking again before the
 * end prolongs it. It goes on without a gap only if the ANSWER is here before the old one is over:
 * a request that was sent in time may have been taken too late, when the node had already stored
 * changes that it told nobody. And only if the node says so (the number of its session is the one
 * known): the clock here stands still while the machine sleeps, or is moved to another. Where it is
 * over here and not there, all promises begin anew with the answer; where it is over there, all are
 * asked for again. A promise also ends with its connection, with the node's word (WATCH_EVENT
 * `ended`, an error), and with the table.
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
 * The promise of each of Q is asked for before the read is, on the same connection, and requests of
 * one connection are taken in order; whether the answers to the asking are here before the read is
 * sent is of no matter. So a read may follow at the heels of the watch: the first listing of a
 * directory is as good as the second (`made`; client.h, kith_watch_since).
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
 *     read began. A read that anybody else took part in, or fewer than R, breaks the watch when it
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
 * Who is asked and when: promise.c. */
#include <string.h>

#include "base/assert.h"
#include "client/watch_impl.h"

struct cc_watch **cc_watch_bucket(struct kith_client_core *core, const struct kith_group *group)
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

void cc_watch_wake(struct kith_client_core *core, uint64_t at_ms)
{
    if (at_ms < core->watches.wake_ms) {
        core->watches.wake_ms = at_ms;
    }
}

/* ---- What is told ---- */

void cc_watch_mark(struct kith_client_core *core, struct cc_watch *watch)
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
    effect->since_made = until_ms != 0 && watch->first;
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

bool cc_promise_keeps(const struct kith_client_core *core, const struct cc_promise *promise)
{
    return promise->held && core->now < promise->peer->lease.until_ms;
}

void cc_promise_end(struct cc_watch *watch, struct cc_promise *promise)
{
    watch->broken = watch->broken || promise->read;
    promise->founder = false;
    promise->held = false;
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
            if ((mask >> i & 1u) == 0 && cc_promise_keeps(core, promise) &&
                (!founders || promise->founder) &&
                (longest == watch->slots ||
                 promise->peer->lease.until_ms > watch->owners[longest].peer->lease.until_ms)) {
                longest = i;
            }
        }
        if (longest == watch->slots) {
            return 0;
        }
        mask |= 1u << longest;
        until_ms = watch->owners[longest].peer->lease.until_ms;
    }
    return until_ms;
}

/* A number begins with those that keep their promise now. */
static void founded(const struct kith_client_core *core, struct cc_watch *watch)
{
    bool made = !watch->old; /* all were asked when the watch was begun */
    for (uint32_t i = 0; i < watch->slots; i++) {
        struct cc_promise *promise = &watch->owners[i];
        promise->read = false;
        promise->founder = cc_promise_keeps(core, promise);
        made = made && (!promise->founder || promise->since <= watch->made);
    }
    watch->begun = made ? watch->made : core->order;
    watch->first = made;
}

/* Sees what has lapsed, and what follows from how the promises stand now. */
void cc_watch_judge(struct kith_client_core *core, struct cc_watch *watch)
{
    for (uint32_t i = 0; i < watch->slots; i++) {
        if (watch->owners[i].held && !cc_promise_keeps(core, &watch->owners[i])) {
            cc_promise_end(watch, &watch->owners[i]);
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
        founded(core, watch);
    }
    for (uint32_t i = 0; i < watch->slots; i++) {
        const struct cc_promise *promise = &watch->owners[i];
        uint64_t end_ms = promise->peer->lease.until_ms;
        if (promise->read && end_ms < until_ms) {
            until_ms = end_ms;
        }
        if (promise->held) {
            cc_watch_wake(core, end_ms);
        }
    }
    watch->until_ms = until_ms;
    watch->old = watch->old || until_ms != 0;
    if (watch->tell_break || watch->until_ms != watch->told_ms) {
        cc_watch_mark(core, watch);
    }
}

/* The peer answered the read; false: not under a promise. */
static bool note_reader(const struct kith_client_core *core, struct cc_watch *watch,
                        const struct cc_op *op, const struct cc_peer *peer)
{
    for (uint32_t i = 0; i < watch->slots; i++) {
        struct cc_promise *promise = &watch->owners[i];
        if (promise->peer == peer) {
            bool under = cc_promise_keeps(core, promise) && op->order > promise->since;
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
    struct cc_watch *watch = *cc_watch_bucket(core, group);
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
        cc_watch_judge(core, watch);
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
    watch->index = core->watches.free;
    while (core->watches.by_index[watch->index] != NULL) {
        watch->index++;
    }
    core->watches.free = watch->index + 1;
    struct cc_watch **bucket = cc_watch_bucket(core, group);
    watch->tag = tag;
    watch->group = *group;
    watch->chain = *bucket;
    *bucket = watch;
    core->watches.by_index[watch->index] = watch;
    core->watches.count++;
    cc_promises_bind(core, watch);
    watch->made = core->order;
    cc_promises_ask(core, watch); /* now: a read may come in the next step */
    return KITH_OK;
}

static void watch_free(struct kith_client_core *core, struct cc_watch *watch)
{
    struct cc_watch **at = cc_watch_bucket(core, &watch->group);
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
    core->watches.free = watch->index < core->watches.free ? watch->index : core->watches.free;
    core->watches.count--;
    kith_free(watch);
}

void cc_watch_end(struct kith_client_core *core, uint64_t tag, const struct kith_group *group)
{
    struct cc_watch *found = NULL;
    bool shared = false; /* another one rests on the same promises */
    for (struct cc_watch *watch = *cc_watch_bucket(core, group); watch != NULL;
         watch = watch->chain) {
        found = watch->tag == tag ? watch : found;
        shared = shared || (watch->tag != tag && kith_group_compare(&watch->group, group) == 0);
    }
    for (uint32_t owner = 0; found != NULL && !shared && owner < found->slots; owner++) {
        cc_promise_drop(core, found, &found->owners[owner]);
    }
    if (found != NULL) {
        watch_free(core, found);
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
