/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * replicas.c - which owners a request asks, in which order, when one is late; merging; repair.
 *
 * A replica of an op goes NEW -> ASKED -> HAVE or FAILED. The order is the table's, the same for
 * every request of a partition, so that the first owner's cache serves it; only those in the
 * client's own zone come before all others, and slow nodes go to the end. A failed replica is new
 * again after a pause, or when its connection is back. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "client/core.h"

#define CC_FALLBACKS_MAX 16u /* of the table's order; the first that can be reached are asked */

static uint32_t op_partition(const struct cc_op *op, uint32_t partitions)
{
    switch (op->kind) {
    case KITH_CLIENT_GET:
        return kith_group_partition(&op->u.get.group, partitions);
    case KITH_CLIENT_SCAN:
        return kith_group_partition(&op->u.scan.group, partitions);
    case KITH_CLIENT_GROUPS:
        return op->u.groups.partition;
    case KITH_CLIENT_PUT:
        return kith_group_partition(&op->u.put.group, partitions);
    case KITH_CLIENT_CHUNK_PUT:
    case KITH_CLIENT_CHUNK_GET:
        return kith_chunk_partition(&op->u.chunk.id, partitions);
    case KITH_CLIENT_CHUNK_SYNC:
    case KITH_CLIENT_STATUS:
    case KITH_CLIENT_WHERE:
        break;
    }
    KITH_ASSERT(false);
    return 0;
}

static void bind(struct kith_client_core *core, struct cc_op *op)
{
    struct kith_table *table = core->table;
    uint32_t partition = op_partition(op, table->partitions);
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t holders = kith_table_holders(table, partition, owners); /* the owners first */
    bool puts = op->kind == KITH_CLIENT_PUT; /* an owner coordinates it, and sees to its copies */
    bool writes = op->kind == KITH_CLIENT_CHUNK_PUT;
    op->partition = partition;
    op->table = kith_table_hold(table);
    op->slots = puts ? table->owner_slots : holders;
    op->rep_count = op->slots;
    memset(op->reps, 0, sizeof(op->reps));
    if (writes) {
        op->u.chunk.relayed = op->u.chunk.direct = 0;
    }
    for (uint32_t i = 0; i < op->slots; i++) {
        op->reps[i].peer = core->by_member[owners[i]];
    }
    if (puts) {
        kith_quorum_make_owners(table, partition, op->level, core->zone, true, &op->quorum);
    } else {
        kith_quorum_make(table, partition, op->level, core->zone, writes, &op->quorum);
    }
    op->need = kith_quorum_lacks(&op->quorum, 0);
}

static bool has_rep(const struct cc_op *op, const struct cc_peer *peer)
{
    for (uint32_t i = 0; i < op->rep_count; i++) {
        if (op->reps[i].peer == peer) {
            return true;
        }
    }
    return false;
}

/* Those who may have what owners lack: who stands in for them, and, of chunks, who leaves as well:
 * he may have owned it a moment ago, and brings it. */
static uint32_t others(const struct cc_op *op, uint16_t members[CC_FALLBACKS_MAX])
{
    const struct kith_table *table = op->table;
    uint32_t count = 0;
    bool leavers = op->kind == KITH_CLIENT_CHUNK_GET && kith_table_is_joint(table);
    for (uint32_t m = 0; leavers && m < table->member_count && count < CC_FALLBACKS_MAX; m++) {
        uint32_t flags = table->after[m].flags & (KITH_MEMBER_LEAVES | KITH_MEMBER_GONE);
        if (flags == KITH_MEMBER_LEAVES &&
            !kith_table_holds(table, op->partition, (uint16_t)m)) {
            members[count] = (uint16_t)m;
            count++;
        }
    }
    return count + kith_table_fallbacks(table, op->partition, CC_FALLBACKS_MAX - count,
                                        &members[count]);
}

void cc_replicas_fallbacks(struct kith_client_core *core, struct cc_op *op)
{
    uint16_t members[CC_FALLBACKS_MAX];
    if (op->table->member_count == op->slots || op->table != core->table ||
        (op->kind == KITH_CLIENT_PUT && op->strict)) {
        return;
    }
    uint32_t count = others(op, members);
    for (uint32_t i = 0; i < count && op->rep_count < CC_REPS_MAX; i++) {
        struct cc_peer *peer = core->by_member[members[i]];
        if (cc_peer_link(core, peer, false) != NULL && !has_rep(op, peer)) {
            memset(&op->reps[op->rep_count], 0, sizeof(op->reps[0]));
            op->reps[op->rep_count++].peer = peer;
        }
    }
}

const struct cc_peer *cc_replicas_unasked(struct kith_client_core *core, struct cc_op *op)
{
    uint16_t members[CC_FALLBACKS_MAX];
    if (op->table->member_count == op->slots || op->table != core->table) {
        return NULL;
    }
    uint32_t count = others(op, members);
    for (uint32_t i = 0; i < count; i++) {
        struct cc_peer *peer = core->by_member[members[i]];
        if (!has_rep(op, peer)) {
            return peer;
        }
    }
    return NULL;
}

void cc_replicas_unbind(struct kith_client_core *core, struct cc_op *op)
{
    cc_ask_forget_all(core, op);
    if (op->table != NULL) {
        kith_table_drop(op->table);
        op->table = NULL;
    }
    op->rep_count = 0;
    op->extra = 0;
    op->again_ms = CC_NEVER;
}

static void rep_renew(struct cc_rep *rep)
{
    struct cc_peer *peer = rep->peer;
    enum kith_err err = rep->err;
    memset(rep, 0, sizeof(*rep));
    rep->peer = peer;
    rep->err = err; /* for the message at the deadline */
}

bool cc_replicas_prepare(struct kith_client_core *core, struct cc_op *op, bool bulk)
{
    if (core->table == NULL) {
        op->waits = true;
        return false;
    }
    bool again = core->now >= op->again_ms;
    if (again && op->table != NULL && op->table != core->table) {
        cc_replicas_unbind(core, op);
    }
    if (op->table == NULL) {
        bind(core, op);
        return true;
    }
    for (uint32_t i = 0; i < op->rep_count; i++) {
        struct cc_rep *rep = &op->reps[i];
        if (rep->state != CC_REP_FAILED || rep->final) {
            continue;
        }
        bool back = rep->err == KITH_ECLOSED && cc_peer_link(core, rep->peer, bulk) != NULL;
        if (again || back) {
            rep_renew(rep);
        }
    }
    if (again) {
        op->again_ms = CC_NEVER;
    } else {
        cc_op_wake(core, op, op->again_ms);
    }
    return true;
}

/* Who is asked before whom: at last who is to own it next, and may have nothing of it yet. */
static uint32_t rank_of(const struct cc_peer *peer, bool helps, bool owner)
{
    return (helps ? 0u : 16u) + (peer->mute ? 8u : peer->slow ? 4u : 0u) + (peer->near ? 0u : 2u) +
           (owner ? 0u : 1u);
}

/* Those of `among` that the level wants next to those that have answered, or will in time; all,
 * where it does not matter. */
static uint32_t wanted(const struct cc_op *op, uint32_t among)
{
    uint32_t there = 0;
    if (op->quorum.set_count == 1 && op->quorum.sets[0].owners == cc_owners_mask(op)) {
        return UINT32_MAX;
    }
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        bool counts = rep->state == CC_REP_HAVE || (rep->state == CC_REP_ASKED && !rep->hedged);
        there |= counts ? 1u << i : 0;
    }
    uint32_t helps = kith_quorum_helps(&op->quorum, there, among);
    return helps != 0 ? helps : UINT32_MAX;
}

/* The owners that can be asked now. */
static uint32_t askable(struct kith_client_core *core, const struct cc_op *op, bool bulk)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < op->slots; i++) {
        bool can = op->reps[i].state == CC_REP_NEW &&
                   cc_peer_link(core, op->reps[i].peer, bulk) != NULL;
        mask |= can ? 1u << i : 0;
    }
    return mask;
}

uint32_t cc_replicas_next(struct kith_client_core *core, const struct cc_op *op, bool bulk,
                          uint32_t first)
{
    uint32_t best = CC_REPS_MAX, best_rank = UINT32_MAX;
    uint32_t among = askable(core, op, bulk), helps = wanted(op, among);
    for (uint32_t n = 0; n < op->slots; n++) {
        uint32_t i = (first + n) % op->slots;
        if ((among >> i & 1u) == 0) {
            continue;
        }
        uint32_t rank = rank_of(op->reps[i].peer, (helps >> i & 1u) != 0,
                                i < op->table->owner_slots);
        if (rank < best_rank) {
            best = i;
            best_rank = rank;
        }
    }
    if (best != CC_REPS_MAX) {
        return best;
    }
    for (uint32_t i = op->slots; i < op->rep_count; i++) {
        if (op->reps[i].state == CC_REP_NEW && cc_peer_link(core, op->reps[i].peer, bulk) != NULL) {
            return i;
        }
    }
    return CC_REPS_MAX;
}

uint32_t cc_replicas_next_read(struct kith_client_core *core, const struct cc_op *op, uint32_t want)
{
    uint32_t there = cc_owners_count(op, CC_REP_HAVE) + cc_replicas_count(op, CC_REP_ASKED);
    uint32_t next = cc_replicas_next(core, op, false, 0);
    if (next == CC_REPS_MAX || cc_is_fallback(op, next)) {
        return CC_REPS_MAX;
    }
    uint32_t helps = wanted(op, askable(core, op, false));
    bool lacks = helps != UINT32_MAX && (helps >> next & 1u) != 0; /* others do not count */
    return there < want || lacks ? next : CC_REPS_MAX;
}

bool cc_replicas_lack(const struct cc_op *op, uint32_t want)
{
    uint32_t there = cc_owners_count(op, CC_REP_HAVE) + cc_replicas_count(op, CC_REP_ASKED);
    return there < want || wanted(op, UINT32_MAX) != UINT32_MAX;
}

uint32_t cc_replicas_count(const struct cc_op *op, enum cc_rep_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        count += op->reps[i].state == state ? 1 : 0;
    }
    return count;
}

uint32_t cc_owners_count(const struct cc_op *op, enum cc_rep_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < op->slots && i < op->rep_count; i++) {
        count += op->reps[i].state == state ? 1 : 0;
    }
    return count;
}

bool cc_owner_has(const struct cc_op *op)
{
    bool has = false;
    for (uint32_t i = 0; i < op->table->owner_slots; i++) {
        has = has || op->reps[i].state == CC_REP_HAVE;
    }
    return has;
}

uint32_t cc_owners_in(const struct cc_op *op, enum cc_rep_state state)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < op->slots && i < op->rep_count; i++) {
        mask |= op->reps[i].state == state ? 1u << i : 0;
    }
    return mask;
}

bool cc_settled(const struct kith_client_core *core, const struct cc_op *op, uint32_t holders)
{
    if (kith_table_is_joint(op->table)) {
        return false; /* the next owners may not have it yet */
    }
    uint32_t plain = 1u << KITH_LEVEL_QUORUM | 1u << KITH_LEVEL_ALL;
    holders &= cc_owners_mask(op);
    if ((core->levels & ~plain) == 0) {
        return (uint32_t)__builtin_popcount(holders) >= cc_majority(op);
    }
    for (uint32_t level = 0; level < KITH_LEVELS; level++) {
        struct kith_quorum quorum;
        kith_quorum_make(op->table, op->partition, (enum kith_level)level, core->zone, false,
                         &quorum);
        if ((core->levels >> level & 1u) != 0 &&
            kith_quorum_met(&quorum, cc_owners_mask(op) & ~holders)) {
            return false;
        }
    }
    return true;
}

bool cc_replica_hope(struct kith_client_core *core, struct cc_op *op, uint32_t rep, bool bulk)
{
    struct cc_peer *peer = op->reps[rep].peer;
    if (!cc_peer_down(core, peer, bulk)) {
        return true;
    }
    struct cc_link *link = bulk && cc_peer_up(peer) ? &peer->bulk : &peer->rows;
    if (!peer->member || peer->address[0] == '\0') {
        return false; /* nobody tries it */
    }
    /* Not for ever: of two that are down and far away one is always being tried. */
    struct cc_rep *one = &op->reps[rep];
    one->hope_ms = one->hope_ms != 0 ? one->hope_ms : core->now;
    if (core->now - one->hope_ms >= CC_URGE_MS) {
        return false;
    }
    uint64_t since_ms = core->now; /* of the try under way */
    switch (link->state) {
    case CC_LINK_WAITING:
        if (core->now - link->failed_ms < CC_FRESH_MS) {
            return false;
        }
        link->at_ms = core->now;
        core->peers_wake_ms = core->now;
        break;
    case CC_LINK_CONNECTING:
        since_ms = link->at_ms - CC_CONNECT_MS;
        break;
    case CC_LINK_HELLO:
        since_ms = link->at_ms - CC_HELLO_MS;
        break;
    case CC_LINK_IDLE:
    case CC_LINK_UP:
        return false;
    }
    if (core->now - since_ms >= CC_URGE_MS) {
        return false;
    }
    op->waits = true;
    cc_op_wake(core, op, since_ms + CC_URGE_MS);
    return true;
}

bool cc_replicas_hope(struct kith_client_core *core, struct cc_op *op, bool bulk)
{
    bool hope = false;
    for (uint32_t i = 0; i < op->slots; i++) {
        if (op->reps[i].state == CC_REP_NEW) {
            hope = cc_replica_hope(core, op, i, bulk) || hope; /* each is tried */
        }
    }
    return hope;
}

void cc_replica_ask(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                    struct kith_msg *msg)
{
    if (op->reps[rep].state == CC_REP_NEW) { /* else what it said before counts, too */
        op->reps[rep].asked_change = core->session.changes;
    }
    op->reps[rep].asked_ms = core->now;
    op->reps[rep].hedged = false;
    op->reps[rep].missed = false;
    if (cc_ask(core, op, op->reps[rep].peer, rep, msg)) {
        op->reps[rep].state = CC_REP_ASKED;
        if (op->kind == KITH_CLIENT_GET || op->kind == KITH_CLIENT_SCAN) {
            cc_peer_watch(core, op->reps[rep].peer, core->hedge_ms);
        } else if (op->kind == KITH_CLIENT_CHUNK_GET) {
            cc_peer_watch(core, op->reps[rep].peer, KITH_CLIENT_CHUNK_HEDGE_MS);
        }
    } else {
        cc_replica_failed(core, op, rep, KITH_ENOMEM, NULL);
    }
}

void cc_replica_failed(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                       enum kith_err err, const char *message)
{
    op->reps[rep].state = CC_REP_FAILED;
    op->reps[rep].err = err;
    op->last_err = err;
    (void)snprintf(op->message, sizeof(op->message), "%.100s: %.150s", /* cut: for people */
                   op->reps[rep].peer->address,
                   message != NULL && message[0] != '\0' ? message : kith_err_text((int)err));
    if (err != KITH_ECLOSED && err != KITH_ESTALE && err != KITH_ENOTFOUND) {
        cc_peer_failed(core, op->reps[rep].peer);
    }
}

bool cc_replica_denied(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                       const struct kith_status *status)
{
    if (status->err != KITH_EPERM) {
        return false;
    }
    cc_op_fail(core, op, KITH_EPERM, "%.100s: %.150s", op->reps[rep].peer->address,
               status->message != NULL && status->message[0] != '\0' ? status->message
                                                                     : kith_err_text(KITH_EPERM));
    return true;
}

bool cc_replica_stale(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                      struct kith_bytes table)
{
    if (cc_table_adopt(core, table, op->table)) {
        cc_replicas_unbind(core, op);
        return true;
    }
    cc_replica_failed(core, op, rep, KITH_ESTALE, NULL);
    cc_table_ask(core);
    return false;
}

static uint64_t entry_change(const struct kith_client_core *core, const struct cc_op *op,
                             struct kith_bytes name)
{
    return cc_session_change(&core->session,
                             op->kind == KITH_CLIENT_SCAN ? &op->u.scan.group : &op->u.get.group,
                             name);
}

/* Whether nobody is left who may have what all that were asked lack: all members were, or, in a
 * large cluster, all can be reached, so that what one keeps for another is handed over at once. */
static bool nobody_left(const struct kith_client_core *core, const struct cc_op *op, uint32_t have)
{
    if (op->table->member_count <= CC_REPS_MAX) {
        return have == op->table->member_count;
    }
    for (uint32_t i = 0; i < core->table->member_count; i++) {
        if (!cc_peer_up(core->by_member[i])) {
            return false;
        }
    }
    return cc_owners_count(op, CC_REP_HAVE) == op->slots;
}

void cc_replicas_behind(struct kith_client_core *core, struct cc_op *op, struct kith_bytes name)
{
    uint32_t have = 0;
    uint64_t oldest = UINT64_MAX; /* of the round's asks */
    bool all = nobody_left(core, op, cc_replicas_count(op, CC_REP_HAVE));
    for (uint32_t i = 0; i < op->rep_count; i++) {
        struct cc_rep *rep = &op->reps[i];
        if (rep->state == CC_REP_HAVE) {
            have++;
            oldest = rep->asked_change < oldest ? rep->asked_change : oldest;
            rep->state = CC_REP_FAILED; /* to be asked anew */
            rep->err = KITH_OK;
        }
    }
    uint64_t change = entry_change(core, op, name);
    if (all && have > 0 && change <= oldest) {
        bool same = op->behind_all > 0 && op->behind_change == change &&
                    kith_bytes_equal(op->behind_row, name);
        op->behind_all = same ? op->behind_all + 1 : 1;
        op->behind_since_ms = same ? op->behind_since_ms : core->now;
        op->behind_change = change;
        op->behind_row = name;
    }
    cc_replicas_again(core, op);
}

bool cc_replicas_lost(const struct kith_client_core *core, const struct cc_op *op)
{
    uint64_t half_ms = (op->deadline_ms - op->started_ms) / 2;
    bool moved = core->moved_ms != 0 && core->now - core->moved_ms < CC_MOVED_MS;
    return op->behind_all >= 2 && core->now - op->behind_since_ms >= half_ms && !moved &&
           entry_change(core, op, op->behind_row) == op->behind_change;
}

bool cc_replicas_short(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t there = 0, mask = 0;
    char text[CC_MESSAGE_SIZE];
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        uint64_t lost_ms = cc_peer_lost_for(core, rep->peer, false);
        bool here = rep->state == CC_REP_HAVE || lost_ms < CC_SHORT_MS ||
                    !cc_peer_down(core, rep->peer, false);
        there += here ? 1 : 0;
        mask |= here ? 1u << i : 0;
        if (here && lost_ms > 0) {
            cc_op_wake(core, op, core->now + CC_SHORT_MS - lost_ms);
        }
    }
    if (!op->strict || kith_quorum_met(&op->quorum, mask)) {
        return false;
    }
    memcpy(text, op->message, sizeof(text));
    if (op->quorum.set_count == 1) {
        cc_op_fail(core, op, KITH_EUNREACH,
                   "%u of the %u owners that must answer can be reached (%.170s)", there, op->need,
                   text[0] != '\0' ? text : "the others are down");
    } else { /* how many are enough depends on who they are */
        cc_op_fail(core, op, KITH_EUNREACH,
                   "the %u owners that can be reached are not those that must answer (%.170s)",
                   there, text[0] != '\0' ? text : "the others are down");
    }
    return true;
}

void cc_replicas_again(struct kith_client_core *core, struct cc_op *op)
{
    op->waits = true;
    if (op->again_ms == CC_NEVER) {
        op->again_ms = core->now + op->pause_ms;
        op->pause_ms = op->pause_ms * 2 > CC_PAUSE_MAX_MS ? CC_PAUSE_MAX_MS : op->pause_ms * 2;
    }
    cc_op_wake(core, op, op->again_ms);
}

/* The time in which replica i must answer, at most half of the request's; and of one who stands in,
 * and is asked only when owners have been waited for, half of what was left then: what the others
 * have said is answered before the deadline. */
static uint32_t try_limit(const struct cc_op *op, uint32_t i, uint32_t try_ms)
{
    uint64_t since_ms = cc_is_fallback(op, i) ? op->reps[i].asked_ms : op->started_ms;
    uint32_t half_ms = (uint32_t)(op->deadline_ms - since_ms) / 2;
    return try_ms < half_ms ? try_ms : half_ms + 1;
}

void cc_replicas_late(struct kith_client_core *core, struct cc_op *op, uint32_t hedge_ms,
                      uint32_t try_ms)
{
    for (uint32_t i = 0; i < op->rep_count; i++) {
        struct cc_rep *rep = &op->reps[i];
        if (rep->state != CC_REP_ASKED) {
            continue;
        }
        uint64_t late_ms = core->now - rep->asked_ms;
        if (late_ms >= hedge_ms && !rep->hedged) {
            rep->hedged = true;
            op->extra++;
        }
        if (late_ms >= try_limit(op, i, try_ms) ||
            (late_ms >= hedge_ms && cc_peer_mute(core, op, rep->peer, rep->asked_ms))) {
            cc_ask_forget(core, op, i);
            cc_replica_failed(core, op, i, KITH_ETIMEOUT, NULL);
        }
    }
}

void cc_replicas_watch(struct kith_client_core *core, struct cc_op *op, uint32_t hedge_ms,
                       uint32_t try_ms)
{
    for (uint32_t i = 0; i < op->rep_count; i++) {
        const struct cc_rep *rep = &op->reps[i];
        if (rep->state == CC_REP_ASKED) {
            uint32_t limit_ms = try_limit(op, i, try_ms);
            uint64_t next_ms = rep->hedged ? limit_ms : hedge_ms;
            cc_op_wake(core, op, rep->asked_ms + (next_ms < limit_ms ? next_ms : limit_ms));
        }
    }
}

/* ---- Merging ---- */

static bool hash_is_zero(const struct kith_checksum *hash)
{
    static const struct kith_checksum zero;
    return kith_checksum_equal(hash, &zero);
}

/* The first replica whose copy has the same state as `rep`'s, with its bytes. */
static const struct cc_copy *copy_with_state(const struct cc_copy *const copies[], uint32_t count,
                                             const struct cc_copy *copy)
{
    for (uint32_t i = 0; i < count; i++) {
        if (copies[i] != NULL && copies[i]->has_state &&
            kith_checksum_equal(&copies[i]->hash, &copy->hash)) {
            return copies[i];
        }
    }
    return copy;
}

static enum kith_err merge_different(struct cc_op *op, const struct cc_copy *const copies[],
                                     struct kith_row *ret_row, uint32_t *ret_holders)
{
    struct kith_row rows[CC_REPS_MAX];
    struct kith_row merged = {0};
    memset(rows, 0, sizeof(rows));
    for (uint32_t i = 0; i < op->rep_count; i++) {
        if (copies[i] == NULL || hash_is_zero(&copies[i]->hash)) {
            continue;
        }
        const struct cc_copy *copy = copy_with_state(copies, op->rep_count, copies[i]);
        enum kith_err err = kith_row_decode(&op->arena, copy->state, &rows[i]);
        struct kith_row both = {0};
        if (err == KITH_OK) {
            err = kith_row_merge(&op->arena, &merged, &rows[i], &both);
        }
        if (err != KITH_OK) {
            return err;
        }
        merged = both;
    }
    *ret_holders = 0;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        if (copies[i] != NULL &&
            kith_clock_compare(&rows[i].clock, &merged.clock) == KITH_CLOCK_EQUAL) {
            *ret_holders |= 1u << i; /* equal clocks mean equal states */
        }
    }
    *ret_row = merged;
    return KITH_OK;
}

enum kith_err cc_merge(struct cc_op *op, const struct cc_copy *const copies[],
                       struct kith_row *ret_row, uint32_t *ret_holders)
{
    const struct cc_copy *first = NULL;
    uint32_t holders = 0;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        if (copies[i] == NULL) {
            continue;
        }
        if (first == NULL) {
            first = copies[i];
        } else if (!kith_checksum_equal(&first->hash, &copies[i]->hash)) {
            return merge_different(op, copies, ret_row, ret_holders);
        }
        holders |= 1u << i;
    }
    *ret_holders = holders;
    if (first == NULL || hash_is_zero(&first->hash)) {
        memset(ret_row, 0, sizeof(*ret_row));
        return KITH_OK;
    }
    first = copy_with_state(copies, op->rep_count, first);
    return kith_row_decode(&op->arena, first->state, ret_row);
}

enum kith_err cc_merge_kept(struct kith_client_core *core, struct cc_op *op,
                            const struct kith_group *group, struct kith_bytes name,
                            struct kith_row *row, uint32_t *holders)
{
    struct kith_bytes bytes = cc_session_kept(&core->session, op->order, group, name);
    struct kith_row kept, merged;
    if (bytes.size == 0) {
        return KITH_OK;
    }
    uint8_t *copy = kith_arena_copy(&op->arena, bytes.data, bytes.size); /* the session goes on */
    enum kith_err err = copy == NULL ? KITH_ENOMEM : KITH_OK;
    if (err == KITH_OK) {
        err = kith_row_decode(&op->arena, kith_bytes_make(copy, bytes.size), &kept);
    }
    if (err == KITH_OK) {
        err = kith_row_merge(&op->arena, row, &kept, &merged);
    }
    if (err == KITH_OK && kith_clock_compare(&row->clock, &merged.clock) != KITH_CLOCK_EQUAL) {
        *row = merged;
        *holders = 0;
    }
    return err;
}

/* ---- Repair ---- */

static bool repair_add(struct cc_op *op, struct cc_repairs *repairs, uint32_t to, uint32_t from,
                       struct kith_bytes name)
{
    uint32_t count = repairs->counts[to][from];
    if (count == KITH_NAMES_MAX) {
        return true; /* background repair does the rest */
    }
    if (repairs->names[to][from] == NULL) {
        repairs->names[to][from] =
            kith_arena_calloc(&op->arena, KITH_NAMES_MAX, sizeof(struct kith_bytes));
        if (repairs->names[to][from] == NULL) {
            return false;
        }
    }
    repairs->names[to][from][count] = name;
    repairs->counts[to][from]++;
    return true;
}

void cc_repair_note(struct cc_op *op, struct cc_repairs **repairs, struct kith_bytes name,
                    uint32_t asked, uint32_t holders)
{
    /* Who stands in is repaired by nobody, and repairs nobody; nor is who is to own it next, and
     * lacks much: he gets all of it. */
    uint32_t owners = op->table->owner_slots;
    holders &= (1u << owners) - 1u;
    asked &= (1u << owners) - 1u;
    if (asked == holders) {
        return;
    }
    if (*repairs == NULL) {
        *repairs = kith_arena_calloc(&op->arena, 1, sizeof(**repairs));
    }
    for (uint32_t to = 0; to < owners && *repairs != NULL; to++) {
        if ((asked & ~holders & (1u << to)) == 0) {
            continue;
        }
        for (uint32_t from = 0; from < owners; from++) {
            /* from one that has all, or, where none has, from every other */
            uint32_t sources = holders != 0 ? holders : asked;
            if (from == to || (sources & (1u << from)) == 0) {
                continue;
            }
            if (!repair_add(op, *repairs, to, from, name)) {
                return; /* without memory no repair: it is a courtesy */
            }
            if (holders != 0) {
                break;
            }
        }
    }
}

void cc_repair_send(struct kith_client_core *core, struct cc_op *op,
                    const struct cc_repairs *repairs, const struct kith_group *group)
{
    if (core->now >= core->repair_window_ms + 1000) {
        core->repair_window_ms = core->now;
        core->repair_sent = 0;
    }
    uint32_t owners = op->table->owner_slots;
    for (uint32_t to = 0; to < owners; to++) {
        struct cc_link *link = cc_peer_link(core, op->reps[to].peer, false);
        for (uint32_t from = 0; from < owners && link != NULL; from++) {
            if (repairs->counts[to][from] == 0 || core->repair_sent >= KITH_CLIENT_REPAIRS_PER_S) {
                continue;
            }
            struct kith_msg *msg = cc_message(core, KITH_MSG_REPAIR_REQ);
            if (msg == NULL) {
                return; /* a courtesy */
            }
            msg->u.repair_req.group = *group;
            msg->u.repair_req.from = op->reps[from].peer->uuid;
            msg->u.repair_req.name_count = repairs->counts[to][from];
            msg->u.repair_req.names = repairs->names[to][from];
            cc_send(core, link->conn, msg);
            core->repair_sent++;
        }
    }
}
