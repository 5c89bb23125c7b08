/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * put_spread.c - the copies of a write that this node coordinates.
 *
 * COPIES. A store counts once it has said that the states are at the durability asked: our own by
 * its completion, another's by its answer. The states go out when they are at `os` here, so that
 * another never holds a dot that we could give out again after a kill. W - 1 of them leave at once;
 * the others may wait a few milliseconds for company, as may their answers: nobody waits for those,
 * a message by itself costs a node four times what it costs among others, and reads go to the same
 * first owners. A node that is late loses its place among the first for a while.
 *
 * While data moves, those that are to own the partition next are owners here (table.h, MOVES); what
 * began under another table than the one in use is given up, and the client's to try again.
 *
 * PLACES. First the other owners, then who stands in for one that is down, late, or has no room
 * (which it says of itself, space.c, and which does not count for deletes): each node once. A
 * stand-in whose copy is needed for W has custody of it and counts; one for an owner beyond that
 * has a plain hint, and does not (hintop.h). Who is asked later, because a copy is late or has
 * failed, gets the states as they are by then: they have been let go, and are read again (REREAD).
 *
 * Owners in another zone get theirs through one of them (put_relay.c).
 *
 * SILENCE. Many may be silent at once, and each looks up until it has been waited for (peers.c). So
 * where a copy is late all who could stand in are asked for a sign of life, a stand-in that gives
 * none is replaced like an owner, and who is in doubt is asked after the others. Whoever stands in,
 * each place is another node and each answer counts once: more copies than W do no harm. Where no
 * other node is left, one that has a plain hint is asked once more, for custody.
 *
 * ZONES. Where the level says which owners must have it (quorum.h) there are enough copies when
 * these have it, or somebody in their place has custody of it: a node of the same zone, if there is
 * one. Their copies leave first.
 *
 * THIN. Where nobody is left to ask and there are fewer than W copies, that is noted beside the
 * rows and flushed, with them, before the answer (NOTE). */
#include <string.h>

#include "core/internal.h"

/* The row without the writer's own sibling, encoded into the arena. */
static enum kith_err put_context(struct kith_node *node, struct kith_arena *arena,
                                 const struct kith_store_put_row *row, struct kith_bytes *ret_bytes)
{
    struct kith_row state;
    enum kith_err err = kith_row_decode(&node->arena, row->state, &state);
    if (err != KITH_OK) {
        return err;
    }
    const struct kith_sibling *own = kith_row_find(&state, &row->dot);
    if (!own) {
        *ret_bytes = kith_bytes_make(kith_arena_copy(arena, row->state.data, row->state.size),
                                     row->state.size);
        return ret_bytes->data ? KITH_OK : KITH_ENOMEM;
    }
    struct kith_sibling *rest = kith_arena_alloc(&node->arena, state.sibling_count * sizeof *rest);
    if (!rest) {
        return KITH_ENOMEM;
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < state.sibling_count; i++) {
        if (&state.siblings[i] != own) {
            rest[count] = state.siblings[i];
            count++;
        }
    }
    state.siblings = rest;
    state.sibling_count = count;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_row_encode(&state, &buf);
    uint8_t *copy = buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size);
    *ret_bytes = kith_bytes_make(copy, buf.size);
    kith_buf_release(&buf);
    return copy ? KITH_OK : KITH_ENOMEM;
}

/* ---- What is enough ---- */

/* The place of a member among the owners, as a bit; 0: it is none. */
static uint32_t owner_bit(const struct kith_node *node, uint32_t partition, uint16_t member)
{
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(node->table, partition, owners);
    for (uint32_t i = 0; i < count; i++) {
        if (owners[i] == member) {
            return 1u << i;
        }
    }
    return 0;
}

static uint32_t put_partition(const struct kith_node *node, const struct pending_put *put)
{
    const struct kith_group *group =
        put->phase < PUT_SPREAD && put->req ? &put->req->group : &put->group;
    return kith_group_partition(group, node->table->partitions);
}

/* The owners that have a copy, or somebody in their place. */
static uint32_t owners_at(const struct kith_node *node, const struct pending_put *put,
                          uint32_t places, bool own)
{
    uint32_t mask = 0, partition = put_partition(node, put);
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(node->table, partition, owners);
    for (uint32_t k = 0; k < count; k++) {
        uint16_t peer = node->peer_of_member[owners[k]];
        for (uint32_t i = 0; i < put->place_count; i++) {
            bool his =
                i < put->other_count ? put->others[i] == peer : put->stands_for[i] == owners[k];
            mask |= his && (places >> i & 1u) != 0 ? 1u << k : 0;
        }
    }
    if (own && put->owner) {
        mask |= owner_bit(node, partition, node->self);
    } else if (own) {
        uint32_t helps = kith_quorum_helps(&put->quorum, mask, UINT32_MAX);
        mask |= helps & (~helps + 1u);
    }
    return mask;
}

uint32_t put_lacks(const struct kith_node *node, const struct pending_put *put, uint32_t places,
                   bool own)
{
    uint32_t copies = (uint32_t)__builtin_popcount(places) + (own ? 1u : 0u);
    uint32_t lacks = put->need > copies ? put->need - copies : 0;
    if (put->quorum.set_count > 0) {
        uint32_t zones = kith_quorum_lacks(&put->quorum, owners_at(node, put, places, own));
        lacks = lacks > zones ? lacks : zones;
    }
    return lacks;
}

/* ---- Who stands in ---- */

static bool has_place(const struct pending_put *put, uint16_t peer)
{
    for (uint32_t i = 0; i < put->place_count; i++) {
        if (put->others[i] == peer) {
            return true;
        }
    }
    return false;
}

/* Whether it has been asked for a sign of life, and has given none yet. */
static bool silent(const struct kith_node *node, uint16_t peer)
{
    return node->peers[peer].doubt_ms != 0 && node->peers[peer].asked_ms != 0;
}

/* Up to `most` nodes that are up, own nothing and have no place; those that are silent last, and
 * those in another zone than `zone` (NULL: any) after the others. */
static uint32_t stand_ins(const struct kith_node *node, const struct pending_put *put,
                          uint32_t partition, const char *zone, uint32_t most, uint16_t peers[])
{
    uint16_t members[KITH_FALLBACKS_MAX];
    uint32_t count = 0;
    uint32_t known = kith_table_fallbacks(node->table, partition, KITH_FALLBACKS_MAX, members);
    for (uint32_t i = 0; i < 4 * known && count < most; i++) {
        uint16_t member = members[i % known];
        uint16_t peer = node->peer_of_member[member];
        bool far = zone && strcmp(node->table->members[member].zone, zone) != 0;
        if (peer != KITH_NO_PEER && put_takes(node, put, peer) && !has_place(put, peer) &&
            i / known == (silent(node, peer) ? 2u : 0u) + (far ? 1u : 0u)) {
            peers[count] = peer;
            count++;
        }
    }
    return count;
}

/* All who could stand in: a copy has been waited for since then. */
static void doubt_stand_ins(struct kith_node *node, uint32_t partition, uint64_t since_ms)
{
    uint16_t members[KITH_FALLBACKS_MAX];
    uint32_t known = kith_table_fallbacks(node->table, partition, KITH_FALLBACKS_MAX, members);
    for (uint32_t i = 0; i < known; i++) {
        uint16_t peer = node->peer_of_member[members[i]];
        if (peer != KITH_NO_PEER) {
            peer_doubt(node, peer, since_ms);
        }
    }
}

uint32_t put_stand_ins_up(const struct kith_node *node, const struct pending_put *put,
                          uint32_t partition, uint32_t most)
{
    uint16_t peers[KITH_REPLICAS_MAX];
    KITH_ASSERT(most <= KITH_REPLICAS_MAX);
    return stand_ins(node, put, partition, NULL, most, peers);
}

void put_add_fallbacks(const struct kith_node *node, struct pending_put *put, uint32_t partition)
{
    uint16_t peers[KITH_REPLICAS_MAX];
    if (put->strict || node->table->member_count == node->table->owner_slots) {
        return;
    }
    uint32_t count = stand_ins(node, put, partition, NULL, KITH_FIND_FALLBACKS, peers);
    for (uint32_t i = 0; i < count; i++) {
        put->others[put->place_count++] = peers[i];
    }
}

const struct kith_hint_want *put_hint_want(struct kith_node *node, struct pending *pending,
                                           uint32_t partition)
{
    const struct pending_put *put = &pending->u.put;
    const struct kith_table *table = node->table;
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(table, partition, owners);
    struct kith_hint_want *want = kith_arena_calloc(&pending->arena, 1, sizeof *want);
    struct kith_uuid *targets =
        kith_arena_alloc(&pending->arena, count * sizeof *targets);
    if (!want || !targets) {
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (owners[i] != node->self) {
            targets[want->target_count++] = table->members[owners[i]].uuid;
        }
    }
    want->custody = !put->owner;
    want->thin = put->owner;
    want->targets = targets;
    handoff_wake(node, KITH_HANDOFF_SOON_MS); /* they may be up by then */
    return want;
}

/* Whether this other owner has no copy, and (but for `late`) none is expected. */
static bool owner_missing(const struct kith_node *node, const struct pending_put *put,
                          uint16_t member, bool late)
{
    uint16_t peer = node->peer_of_member[member];
    for (uint32_t i = 0; i < put->other_count; i++) {
        if (put->others[i] == peer) {
            uint16_t bit = (uint16_t)(1u << i);
            return (put->got & bit) == 0 && (late || ((put->waiting | put->direct) & bit) == 0);
        }
    }
    return false; /* it is this node */
}

/* Whether a node stands in for this owner, with a copy or (but for `late`, where it is silent) one
 * to come. */
static bool has_stand_in(const struct kith_node *node, const struct pending_put *put,
                         uint16_t member, bool late)
{
    for (uint32_t k = put->other_count; k < put->place_count; k++) {
        uint16_t bit = (uint16_t)(1u << k);
        bool due = (put->waiting & bit) != 0 || (put->asked & bit) == 0;
        if (put->stands_for[k] == member &&
            ((put->got & bit) != 0 || (due && !(late && silent(node, put->others[k]))))) {
            return true;
        }
    }
    return false;
}

/* A place for a node that stands in for the first owner from `first` on that is down, or late, has
 * none, and is in `wanted`. False: nobody is left, or nobody needs it. */
static bool add_stand_in(struct kith_node *node, struct pending_put *put, uint32_t partition,
                         uint32_t first, uint32_t wanted, bool late)
{
    uint16_t peer = KITH_NO_PEER;
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(node->table, partition, owners);
    for (uint32_t i = first; i < count; i++) {
        uint16_t member = owners[i];
        const char *zone = put->quorum.set_count > 0 ? node->table->members[member].zone : NULL;
        if ((wanted >> i & 1u) == 0 || !owner_missing(node, put, member, late) ||
            has_stand_in(node, put, member, late)) {
            continue;
        }
        if (put->place_count == KITH_PUT_PLACES ||
            stand_ins(node, put, partition, zone, 1, &peer) == 0) {
            return false;
        }
        put->others[put->place_count] = peer;
        put->stands_for[put->place_count] = member;
        put->place_count++;
        return true;
    }
    return false;
}

/* ---- Sending ---- */

/* Whose copies go out at once: as many as W asks for, first in the table's order, and none of a
 * node that was late; all where too few are left. The rest is not waited for, and leaves with other
 * messages. */
static uint16_t put_urgent(const struct kith_node *node, const struct pending_put *put)
{
    uint32_t wanted = put->need - 1; /* our own copy is one of them */
    uint32_t count = 0;
    uint16_t chosen = 0;
    uint16_t all = 0;
    for (uint32_t i = 0; i < put->other_count; i++) {
        const struct peer *peer = &node->peers[put->others[i]];
        uint16_t bit = (uint16_t)(1u << i);
        all |= bit;
        bool helps = put->quorum.set_count == 0 ? count < wanted
                                                : put_lacks(node, put, chosen | bit, true) <
                                                      put_lacks(node, put, chosen, true);
        if (put_takes(node, put, put->others[i]) && node->now_ms >= peer->late_ms && helps) {
            chosen |= bit;
            count++;
        }
    }
    return put_lacks(node, put, chosen, true) > 0 ? all : chosen;
}

static uint32_t time_left(const struct kith_node *node, const struct pending *pending)
{
    uint64_t left = put_timeout(node, 0);
    if (pending->deadline_ms > node->now_ms && pending->deadline_ms - node->now_ms < left) {
        left = pending->deadline_ms - node->now_ms;
    }
    return (uint32_t)left;
}

static struct kith_msg *send_copy(struct kith_node *node, struct pending *pending, uint32_t i,
                                  const struct kith_replica_row *rows)
{
    struct pending_put *put = &pending->u.put;
    const struct peer *peer = &node->peers[put->others[i]];
    uint16_t bit = (uint16_t)(1u << i);
    put->waiting |= bit;
    put->asked |= bit;
    peer_doubt(node, put->others[i], node->now_ms);
    struct kith_msg *msg = core_send(node, peer->conn, KITH_MSG_REPLICATE_REQ, pending->id);
    struct kith_replicate_req *req = &msg->u.replicate_req;
    msg->may_wait = (put->urgent & bit) == 0;
    req->may_wait = msg->may_wait;
    req->table = node->table->id;
    req->timeout_ms = time_left(node, pending);
    req->request = put->request;
    req->retry = put->retry;
    req->durability = put->durability;
    req->group = put->group;
    req->row_count = put->result_count;
    req->rows = rows;
    if (i >= put->other_count) {
        req->has_hint = true;
        req->hint_for = node->table->members[put->stands_for[i]].uuid;
        req->custody = (put->counts & bit) != 0;
    }
    return msg;
}

/* To the other owners that can take it; how many they are. */
static uint32_t send_owners(struct kith_node *node, struct pending *pending,
                            const struct kith_replica_row *rows)
{
    struct pending_put *put = &pending->u.put;
    uint8_t via[KITH_PUT_PLACES];
    struct kith_relay_to *to = NULL;
    if (node->table->zones > 1) {
        to = kith_arena_alloc(&node->arena, KITH_PUT_PLACES * sizeof *to);
    }
    size_t bytes = 0;
    uint32_t up = 0;
    for (uint32_t i = 0; to && i < put->result_count; i++) {
        bytes += rows[i].state.size;
    }
    put_relays(node, put, bytes, via); /* bytes 0, as without memory: directly */
    for (uint32_t i = 0; i < put->other_count; i++) {
        if (!put_takes(node, put, put->others[i])) {
            continue;
        }
        up++;
        if (via[i] == i) {
            struct kith_msg *msg = send_copy(node, pending, i, rows);
            if (to) {
                put_relay_through(node, pending, i, via, to, msg);
                to += msg->u.replicate_req.relay_count;
            }
        }
    }
    return up;
}

/* How many copies are wanted beside those that are there; or that may still come, too. */
static uint32_t lacks_now(const struct kith_node *node, const struct pending_put *put)
{
    return put_lacks(node, put, put->got & put->counts, !put->own_due);
}

static uint32_t lacks_still(const struct kith_node *node, const struct pending_put *put)
{
    return put_lacks(node, put, (put->got | put->waiting | put->direct) & put->counts, true);
}

/* The owners in whose place a copy helps most; all where it is the same. */
static uint32_t wanted_owners(const struct kith_node *node, const struct pending_put *put)
{
    uint32_t due = (1u << put->place_count) - (1u << put->other_count); /* given, not all asked */
    uint32_t places = put->got | put->waiting | put->direct | (due & ~(uint32_t)put->asked);
    uint32_t helps =
        put->quorum.set_count == 0
            ? 0
            : kith_quorum_helps(&put->quorum,
                                owners_at(node, put, places & put->counts, true), UINT32_MAX);
    return helps != 0 ? helps : UINT32_MAX;
}

/* One that has a plain hint is to have custody: it is asked once more. False: there is none. */
static bool promote(const struct kith_node *node, struct pending_put *put)
{
    for (uint32_t k = put->other_count; k < put->place_count; k++) {
        uint16_t bit = (uint16_t)(1u << k);
        if ((put->got & bit) != 0 && (put->counts & bit) == 0 &&
            put_takes(node, put, put->others[k])) {
            put->counts |= bit;
            put->urgent |= bit;
            put->got &= (uint16_t)~bit;
            put->asked &= (uint16_t)~bit;
            return true;
        }
    }
    return false;
}

/* Whether one that was given a plain hint has yet to answer: it could have custody then. */
static bool hint_due(const struct pending_put *put)
{
    uint32_t stand_ins = ((1u << put->place_count) - 1u) & ~((1u << put->other_count) - 1u);
    return !put->strict && (put->waiting & stand_ins & ~(uint32_t)put->counts) != 0;
}

/* Gives places to stand-ins: with custody as long as copies are missing, then (`hints`) for the
 * other owners that are down. Returns how many. */
static uint32_t recruit(struct kith_node *node, struct pending *pending, uint32_t missing,
                        bool late, bool hints)
{
    struct pending_put *put = &pending->u.put;
    uint32_t first = put->place_count, at_owner = 0, promoted = 0;
    uint32_t partition = put_partition(node, put);
    uint16_t owners[KITH_HOLDERS_MAX];
    uint32_t count = kith_table_holders(node->table, partition, owners);
    missing = put->strict ? 0 : missing;
    while (!put->owner && at_owner < count &&
           !owner_missing(node, put, owners[at_owner++], late)) {
        /* the first one that is missing is ours to stand in for */
    }
    while ((missing > 0 || hints) &&
           (add_stand_in(node, put, partition, at_owner,
                         missing > 0 ? wanted_owners(node, put) : UINT32_MAX, late) ||
            (missing > 0 && put->quorum.set_count > 0 &&
             add_stand_in(node, put, partition, at_owner, UINT32_MAX, late)))) {
        uint16_t bit = (uint16_t)(1u << (put->place_count - 1u));
        if (missing > 0) {
            put->counts |= bit;
            put->urgent |= bit;
            missing--;
        }
    }
    while (missing > 0 && promote(node, put)) {
        promoted++;
        missing--;
    }
    return put->place_count - first + promoted;
}

static void put_timer(struct kith_node *node, struct pending *pending)
{
    pending->u.put.hedged_ms = node->now_ms;
    pending_set_due(node, pending, node->now_ms + KITH_STAND_IN_MS);
}

static void put_spread(struct kith_node *node, struct pending *pending,
                       const struct kith_replica_row *rows)
{
    struct pending_put *put = &pending->u.put;
    put->phase = PUT_SPREAD;
    put->urgent = put_urgent(node, put);
    put->counts = (uint16_t)((1u << put->other_count) - 1u);
    put->spread_ms = node->now_ms;
    uint32_t up = send_owners(node, pending, rows);
    if (up < put->other_count && node->table->member_count > node->table->owner_slots) {
        (void)recruit(node, pending, lacks_still(node, put), false, true);
        for (uint32_t i = put->other_count; i < put->place_count; i++) {
            (void)send_copy(node, pending, i, rows);
        }
    }
    put_timer(node, pending);
}

/* Keeps of the request what is needed once its message is gone. */
static bool keep_names(struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    uint32_t count = put->req->update_count;
    put->group = put->req->group;
    put->request = put->req->request;
    put->retry = put->req->retry;
    put->names = kith_arena_alloc(&pending->arena, count * sizeof *put->names);
    for (uint32_t i = 0; put->names && i < count; i++) {
        struct kith_bytes name = put->req->updates[i].name;
        put->names[i] =
            kith_bytes_make(kith_arena_copy(&pending->arena, name.data, name.size), name.size);
        if (!put->names[i].data) {
            return false;
        }
    }
    return put->names != NULL;
}

enum kith_err put_stored_os(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done)
{
    struct pending_put *put = &pending->u.put;
    uint32_t count = done->u.put.row_count;
    KITH_ASSERT(count == put->req->update_count);
    struct kith_put_result *results = kith_arena_alloc(&pending->arena, count * sizeof *results);
    struct kith_replica_row *rows = kith_arena_alloc(&node->arena, count * sizeof *rows);
    if (!results || !rows || !keep_names(pending)) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_store_put_row *row = &done->u.put.rows[i];
        enum kith_err err = put_context(node, &pending->arena, row, &results[i].context);
        if (err != KITH_OK) {
            return err;
        }
        results[i].dot = row->dot;
        results[i].time = row->time;
        rows[i].name = put->req->updates[i].name;
        rows[i].state = row->state;
        rows[i].has_dot = true;
        rows[i].dot = row->dot;
    }
    put->results = results;
    put->result_count = count;
    put_spread(node, pending, rows);
    return KITH_OK;
}

/* ---- When copies are late, or fail ---- */

void put_reread(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    put->phase = PUT_REREAD;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_GET, put_partition(node, put));
    op->u.get.group = put->group;
    op->u.get.hints = !put->owner;
    op->u.get.name_count = put->result_count;
    op->u.get.names = put->names;
}

/* False: no memory; the deadline decides. */
static bool put_note(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    uint32_t partition = put_partition(node, put);
    const struct kith_hint_want *want = put_hint_want(node, pending, partition);
    if (!want) {
        return false;
    }
    put->phase = PUT_NOTE;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_HINT_NOTE, partition);
    op->durability = KITH_DURABLE_DISK;
    op->u.hint_note.group = put->group;
    op->u.hint_note.wall_ms = node->wall_ms;
    op->u.hint_note.name_count = put->result_count;
    op->u.hint_note.names = put->names;
    op->u.hint_note.hint = want;
    return true;
}

/* Too few copies can come: others are asked, or it is noted. */
static void put_replace(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (pending->op_out) {
        return; /* its completion comes first */
    }
    if (recruit(node, pending, lacks_still(node, put), true, false) > 0) {
        put_reread(node, pending);
    } else if (hint_due(put)) {
        return;
    } else if (put->copies < put->w_min || !put_note(node, pending)) {
        pending_refuse(node, pending, KITH_EUNKNOWN,
                       core_text(node, "%u of %u copies are made; unreachable: %s", put->copies,
                                 put->need, put_down_names(node, put)));
        pending_end(node, pending);
    }
}

/* The copies that an answer waits for are late: others are asked beside, where there are any. */
static void put_hedge(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    uint32_t after =
        put->durability == KITH_DURABLE_DISK ? KITH_STAND_IN_DISK_MS : KITH_STAND_IN_MS;
    for (uint32_t i = 0; i < put->place_count; i++) {
        if (put->waiting & (1u << i)) {
            peer_doubt(node, put->others[i], put->spread_ms);
        }
    }
    if (!put->strict) {
        doubt_stand_ins(node, put_partition(node, put), put->spread_ms);
    }
    bool more = !pending->op_out && put_relays_late(node, put);
    if (!put->strict && !pending->op_out && node->now_ms >= put->spread_ms + after) {
        more = recruit(node, pending, lacks_now(node, put), true, false) > 0 || more;
    }
    if (more) {
        put_reread(node, pending);
    }
    put_timer(node, pending);
}

void put_progress(struct kith_node *node, struct pending *pending)
{
    struct pending_put *put = &pending->u.put;
    if (put->phase < PUT_SPREAD) {
        return;
    }
    if (pending->answered) {
        if (put->lingers) {
            put_linger(node, pending);
        }
        return;
    }
    if (put_outdated(node, put)) { /* its copies are those of another table's owners */
        pending_refuse(node, pending, KITH_EUNKNOWN, "the table has changed");
        pending_end(node, pending);
    } else if (lacks_now(node, put) == 0) {
        put_answer_ok(node, pending);
        put_linger(node, pending);
    } else if (put->phase != PUT_SPREAD) {
        return; /* more may come of it */
    } else if (put->direct != 0) {
        if (!pending->op_out) { /* else its completion comes first */
            put_reread(node, pending);
        }
    } else if (lacks_still(node, put) == 0) {
        if (node->now_ms >= put->hedged_ms + KITH_STAND_IN_MS) {
            put_hedge(node, pending);
        } else if (node->now_ms > put->hedged_ms) {
            pending_set_due(node, pending, put->hedged_ms + KITH_STAND_IN_MS);
        }
    } else if (put->strict) {
        pending_refuse(node, pending, KITH_EUNKNOWN,
                       core_text(node, "%u of %u copies are made; unreachable: %s", put->copies,
                                 put->need, put_down_names(node, put)));
        pending_end(node, pending);
    } else {
        put_replace(node, pending);
    }
}

/* The states, read again, go to those that have a place and were not asked. */
static void put_reread_done(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done)
{
    struct pending_put *put = &pending->u.put;
    uint32_t count = done->u.rows.row_count;
    struct kith_replica_row *rows = kith_arena_alloc(&node->arena, (count + 1u) * sizeof *rows);
    bool good = rows && count == put->result_count;
    for (uint32_t i = 0; good && i < count; i++) {
        rows[i].name = put->names[i];
        rows[i].state = done->u.rows.rows[i].state;
        rows[i].has_dot = true;
        rows[i].dot = put->results[i].dot;
        good = rows[i].state.size > 0; /* custody that has been delivered meanwhile is gone */
    }
    for (uint32_t i = 0; i < put->place_count; i++) {
        uint16_t bit = (uint16_t)(1u << i);
        bool due = i < put->other_count ? (put->direct & bit) != 0 : (put->asked & bit) == 0;
        if (due && good && put_takes(node, put, put->others[i])) {
            (void)send_copy(node, pending, i, rows);
        }
        put->asked |= i < put->other_count ? 0 : bit;
    }
}

enum kith_err put_again_stored(struct kith_node *node, struct pending *pending,
                               const struct kith_store_done *done)
{
    struct pending_put *put = &pending->u.put;
    enum put_phase phase = put->phase;
    core_stored_last(node, pending);
    if (pending->answered && !put->lingers) {
        pending_end(node, pending);
        return KITH_OK;
    }
    put->phase = PUT_SPREAD;
    if (phase == PUT_REREAD) {
        if (done->err == KITH_OK && !put_outdated(node, put)) {
            put_reread_done(node, pending, done);
        }
        put->direct = 0;
    } else if (done->err == KITH_OK) {
        put->thin = true;
        put->need = put->w_min < put->copies ? put->copies : put->w_min;
        put->quorum.set_count = 0;
    } else {
        pending_refuse(node, pending, KITH_EUNKNOWN,
                       core_text(node, "%u of %u copies are made; node %s: %s", put->copies,
                                 put->need, node->address, done->message));
        pending_end(node, pending);
        return KITH_OK;
    }
    put_progress(node, pending);
    return KITH_OK;
}

/* ---- Answers ---- */

/* others[i] has its copy: whoever was asked at once, where i was not, and is not through, is
 * late. */
static void put_late(struct kith_node *node, const struct pending_put *put, int i)
{
    if ((put->urgent & (1u << i)) || node->now_ms - put->spread_ms < KITH_LATE_AFTER_MS) {
        return;
    }
    for (uint32_t k = 0; k < put->other_count; k++) {
        if (put->waiting & put->urgent & ~put->relayed & (1u << k)) {
            node->peers[put->others[k]].late_ms = node->now_ms + KITH_LATE_MS;
        }
    }
}

void put_replicated(struct kith_node *node, struct pending *pending, uint16_t peer,
                    const struct kith_replicate_res *res)
{
    struct pending_put *put = &pending->u.put;
    int i = put->phase < PUT_SPREAD ? -1 : put_relay_place(node, put, peer, res);
    if (i < 0) {
        return;
    }
    uint16_t bit = (uint16_t)(1u << i);
    put->waiting &= (uint16_t)~bit;
    if (res->status.err == KITH_OK) {
        bool owner = i < put->other_count;
        put->relayed &= (uint16_t)~bit;
        put->got |= bit;
        put->copies += (put->counts & bit) != 0 ? 1 : 0;
        put->owner_copies += owner ? 1 : 0;
        if (owner) {
            put_late(node, put, i);
        }
    } else if (res->status.err == KITH_ESTALE) {
        put->relayed &= (uint16_t)~bit;
        table_learn(node, res->table);
    } else {
        put_relay_failed(put, (uint32_t)i);
    }
    put_progress(node, pending);
}
