/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * leftovers.c - data of partitions that this node owns no more: it goes to the owners, and then from
 * here.
 *
 * Under a table that moves nothing, a node looks through the partitions that it does not own, whatever
 * brought their data here: a move that is done, one that was given up, an old copy of a disk, a table
 * that was forced. One after the other:
 *
 *     LOOK at the sums: nothing there?   next partition
 *     OFFER to all owners                each compares with us, rows and chunks (a GUEST among its
 *                                        exchanges), flushes what came, and then says so
 *     DROP                               a few at a time
 *
 * Nothing is added to what was offered: writes go to owners, and those who have this table take none
 * under an older one (tables.c, replicate.c). So what all owners have said they have is what is
 * dropped (invariant 7: a former owner deletes nothing before every new owner holds it). Another table
 * ends it all: nothing is remembered but what is on disk, and it is looked through again.
 *
 * AWAY. Nobody waits for an owner that is down. Once those that are up have a partition, so that they
 * can answer, it WAITS: it stays here, and the next one has its turn. When an owner comes up, what
 * waits and is his is offered at once, to all its owners anew: they may have lost what they had, and
 * only what all say in one go counts for a DROP. For the same reason what waits is offered anew as
 * often as owners are compared.
 *
 * A node that is no member any more offers what it has in the same way, and keeps it: its disk is its
 * administrator's.
 *
 * An owner that is asked keeps a place for a guest as long as he asks, or until he was told;
 * KITH_GUESTS at a time. While partitions move, nobody offers anything, and who is to own one and
 * has old rows of it (aged.h) has such a place. */
#include <string.h>

#include "core/internal.h"

#define LEFT_TICK_MS   1000u  /* between two questions to owners; */
#define LEFT_SOON_MS   100u   /* at first, for there is not much as a rule */
#define GUESTS_MS      50u    /* between two looks at what guests have brought */
#define LEFT_PAUSE_MS  20000u /* that an owner that is up has; then the next partition has its turn */
#define LEFT_REST_MS   60000u /* and after all of them, where some are left */
#define LEFT_ANEW_MS   KITH_EXCHANGE_MS /* and what waits for owners that are down */
#define GUEST_LEASE_MS 15000u /* who asks no more has made room */

static bool may_begin(const struct kith_node *node)
{
    return node->has_cluster && node->serving && !kith_table_is_joint(node->table) &&
           !join_frozen(node) && !node->table_next;
}

/* A node that is no member any more, and has learnt of a move: of its end nobody tells it who is not
 * connected to it (peers.c keeps no connection to it where members are many). */
static bool stranded(const struct kith_node *node)
{
    return node->has_cluster && node->serving && node->self == KITH_NO_MEMBER &&
           kith_table_is_joint(node->table);
}

/* A member is connected to: pings name the table that is in use there. */
static void look_up(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    uint32_t member = (uint32_t)(core_random(node) % node->table->member_count);
    uint16_t peer = node->peer_of_member[member];
    left->due_ms = node->now_ms + (peer == KITH_NO_PEER ? LEFT_TICK_MS : LEFT_REST_MS);
    if (peer != KITH_NO_PEER) {
        (void)peer_want(node, &node->peers[peer]);
    }
}

/* ---- What waits for owners that are down ---- */

static bool waits(const struct leftovers *left, uint32_t partition)
{
    return (left->waits[partition / 8] & 1u << partition % 8) != 0;
}

static void waits_set(struct leftovers *left, uint32_t partition)
{
    left->waiting += waits(left, partition) ? 0 : 1;
    left->waits[partition / 8] |= (uint8_t)(1u << partition % 8);
}

static void waits_clear(struct leftovers *left, uint32_t partition)
{
    left->waiting -= waits(left, partition) ? 1 : 0;
    left->waits[partition / 8] &= (uint8_t)~(1u << partition % 8);
}

static void waits_forget(struct kith_node *node)
{
    memset(node->leftovers.waits, 0, sizeof node->leftovers.waits);
    node->leftovers.waiting = 0;
    node->leftovers.anew_ms = node->now_ms + LEFT_ANEW_MS;
}

/* Another round: now, or after the one that is under way. */
static void round_again(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    if (left->phase == LEFT_IDLE && left->next == 0) {
        left->due_ms = node->now_ms; /* it rests */
    } else {
        left->again = true;
    }
}

void leftovers_aged(struct kith_node *node)
{
    round_again(node);
}

void leftovers_peer_up(struct kith_node *node, uint16_t peer)
{
    struct leftovers *left = &node->leftovers;
    bool cleared = false;
    for (uint32_t p = 0; left->waiting > 0 && p < node->table->partitions; p++) {
        const uint16_t *owners = kith_table_owners(node->table, p);
        for (uint32_t i = 0; waits(left, p) && i < node->table->owner_slots; i++) {
            if (node->peer_of_member[owners[i]] == peer) {
                waits_clear(left, p);
                cleared = true;
            }
        }
    }
    if (cleared) {
        round_again(node);
    }
    if (left->phase == LEFT_OFFER) {
        left->due_ms = node->now_ms; /* it may be his */
    }
}

void leftovers_table_changed(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    left->phase = LEFT_IDLE;
    left->pending = 0; /* what is out comes back to nobody */
    left->next = 0;
    left->found = left->again = false;
    left->due_ms = node->now_ms;
    waits_forget(node);
    memset(left->guests, 0, sizeof left->guests);
}

/* ---- What is left here ---- */

static struct pending *left_op(struct kith_node *node, enum kith_store_kind kind,
                               struct kith_store_op **ret_op)
{
    struct pending *pending = pending_new(node, PENDING_LEFTOVER, 0, NULL, UINT64_MAX);
    if (pending) {
        node->leftovers.pending = pending->id;
        *ret_op = core_store(node, pending, kind, node->leftovers.partition);
    }
    return pending;
}

/* False: there is no room for it now. */
static bool look(struct kith_node *node, bool chunks)
{
    struct kith_store_op *op = NULL;
    if (!left_op(node, KITH_STORE_SUMS, &op)) {
        return false;
    }
    op->u.sums.chunks = chunks;
    node->leftovers.phase = chunks ? LEFT_LOOK_CHUNKS : LEFT_LOOK_ROWS;
    return true;
}

static bool drop(struct kith_node *node, bool chunks)
{
    struct kith_store_op *op = NULL;
    if (!left_op(node, KITH_STORE_DROP, &op)) {
        return false;
    }
    op->u.drop.chunks = chunks;
    node->leftovers.phase = chunks ? LEFT_DROP_CHUNKS : LEFT_DROP_ROWS;
    return true;
}

/* All partitions have had their turn. */
static void round_end(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    uint64_t anew_ms = left->waiting > 0 ? left->anew_ms : UINT64_MAX;
    uint64_t rest_ms = left->found ? node->now_ms + LEFT_REST_MS : UINT64_MAX;
    left->due_ms = left->again ? node->now_ms : rest_ms < anew_ms ? rest_ms : anew_ms;
    left->next = 0;
    left->found = left->again = false;
}

/* The next partition is looked at; or it has been all of them. */
static void next_partition(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    left->phase = LEFT_IDLE;
    if (left->next == 0 && node->now_ms >= left->anew_ms) {
        waits_forget(node);
    }
    while (left->next < node->table->partitions &&
           (table_holds(node, left->next) || waits(left, left->next))) {
        left->next++;
    }
    if (left->next == node->table->partitions) {
        round_end(node);
        return;
    }
    left->partition = left->next;
    left->due_ms = node->now_ms;
    if (look(node, false)) {
        left->next++;
    } else {
        left->due_ms = node->now_ms + LEFT_TICK_MS;
    }
}

static bool sums_empty(const struct kith_sum *sums)
{
    static const struct kith_sum none;
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        if (!kith_sum_equal(&sums[i], &none)) {
            return false;
        }
    }
    return true;
}

static void offer_begin(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    left->phase = LEFT_OFFER;
    left->taken = left->refused = 0;
    left->offered_ms = node->now_ms;
    left->due_ms = node->now_ms;
}

/* Whether something of it is kept for others beside the rows, or as a mark on them: that is handed
 * over on its own (handoff.c), and needs the rows. */
static bool owed(const struct kith_node *node, uint32_t partition)
{
    const struct handoffs *handoffs = &node->handoffs;
    bool owes = !handoffs->listed;
    for (uint32_t i = 0; i < handoffs->count; i++) {
        owes = owes || handoffs->list[i].partition == partition;
    }
    return owes;
}

enum offered { OFFER_ALL, OFFER_AWAITED, OFFER_AWAY, OFFER_REFUSED };

/* Asks the owners that are up and have not got it all. ALL: every owner has; AWAITED: one that is up
 * may soon; AWAY: those that have not are down; REFUSED: or they have said that they take nothing. */
static enum offered offer(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    const uint16_t *owners = kith_table_owners(node->table, left->partition);
    enum offered offered = left->refused != 0 ? OFFER_REFUSED : OFFER_ALL;
    for (uint32_t i = 0; i < node->table->owner_slots; i++) {
        uint16_t peer = node->peer_of_member[owners[i]];
        if ((left->taken & (1u << i)) || peer == KITH_NO_PEER) {
            continue;
        }
        if (!peer_alive(&node->peers[peer])) {
            offered = offered == OFFER_ALL ? OFFER_AWAY : offered;
            continue;
        }
        if (left->refused & (1u << i)) {
            continue;
        }
        offered = OFFER_AWAITED;
        if (peer_want(node, &node->peers[peer])) {
            struct kith_offer_req *req =
                &core_send(node, node->peers[peer].conn, KITH_MSG_OFFER_REQ, 0)->u.offer_req;
            req->table = node->table->id;
            req->partition = left->partition;
            members_self(node, &req->member);
        }
    }
    return offered;
}

void leftovers_taken(struct kith_node *node, uint16_t peer, const struct kith_offer_res *res)
{
    struct leftovers *left = &node->leftovers;
    bool taken = res->status.err == KITH_OK && res->done && res->partition == left->partition &&
                 kith_table_id_compare(&res->table, &node->table->id) == 0;
    bool refused = res->status.err == KITH_EPERM; /* what else it may say passes soon */
    if (left->phase != LEFT_OFFER || (!taken && !refused)) {
        return;
    }
    const uint16_t *owners = kith_table_owners(node->table, left->partition);
    for (uint32_t i = 0; i < node->table->owner_slots; i++) {
        if (node->peer_of_member[owners[i]] == peer) {
            left->taken |= taken ? 1u << i : 0;
            left->refused |= refused ? 1u << i : 0;
            left->due_ms = node->now_ms;
        }
    }
}

bool leftovers_open(const struct kith_node *node, const struct kith_table_id *named,
                    uint32_t partition)
{
    const struct leftovers *left = &node->leftovers;
    return left->phase == LEFT_OFFER && left->partition == partition && node->has_cluster &&
           kith_table_id_compare(named, &node->table->id) == 0;
}

void leftovers_stored(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    struct leftovers *left = &node->leftovers;
    bool ours = pending->id == left->pending;
    core_stored_last(node, pending);
    pending_end(node, pending);
    if (!ours) {
        return; /* of another table's time */
    }
    left->pending = 0;
    left->due_ms = node->now_ms;
    if (done->err != KITH_OK) {
        core_log(node, LEVEL_WARN, "partition %u, which other nodes own, cannot be cleared: %s",
                 left->partition, done->message);
        left->phase = LEFT_IDLE;
        left->found = true;
        return;
    }
    bool more = true;
    switch (left->phase) {
    case LEFT_LOOK_ROWS:
    case LEFT_LOOK_CHUNKS:
        if (left->phase == LEFT_LOOK_ROWS && sums_empty(done->u.sums)) {
            aged_empty(node, left->partition);
        }
        if (!sums_empty(done->u.sums)) {
            offer_begin(node);
        } else if (left->phase == LEFT_LOOK_CHUNKS) {
            left->phase = LEFT_IDLE;
        } else if (!look(node, true)) {
            left->phase = LEFT_IDLE;
            left->found = true; /* its chunks are still to be looked at */
        }
        return;
    case LEFT_DROP_ROWS:
        left->dropped += done->u.drop.count;
        more = drop(node, !done->u.drop.more);
        break;
    case LEFT_DROP_CHUNKS:
        left->dropped += done->u.drop.count;
        more = done->u.drop.more && drop(node, true);
        if (!done->u.drop.more) {
            core_log(node, LEVEL_INFO,
                     "partition %u is at its owners: %llu rows and chunks are gone from here",
                     left->partition, (unsigned long long)left->dropped);
        }
        break;
    default:
        break;
    }
    left->phase = more ? left->phase : LEFT_IDLE;
}

/* ---- What others have left ---- */

static bool guest_gone(const struct kith_node *node, uint32_t at)
{
    const struct guest *guest = &node->leftovers.guests[at];
    return (guest->told || node->now_ms > guest->asked_ms + GUEST_LEASE_MS) && !guest->flushing &&
           exchange_guest_rests(node, at);
}

static struct guest *guest_find(struct kith_node *node, uint32_t partition, uint16_t peer)
{
    struct guest *room = NULL;
    for (uint32_t i = 0; i < KITH_GUESTS; i++) {
        struct guest *guest = &node->leftovers.guests[i];
        bool free_now = guest->asked_ms == 0 || guest_gone(node, i);
        if (guest->asked_ms != 0 && guest->partition == partition && guest->peer == peer) {
            return guest;
        }
        room = free_now && !room ? guest : room;
    }
    if (!room || !node->exchanges.made) {
        return NULL;
    }
    memset(room, 0, sizeof *room);
    room->partition = partition;
    room->peer = peer;
    exchange_guest_set(node, (uint32_t)(room - node->leftovers.guests), partition, peer);
    return room;
}

void leftovers_next_owner(struct kith_node *node, uint32_t partition, uint16_t peer)
{
    uint16_t member = kith_table_find(node->table, &node->peers[peer].uuid);
    if (member == KITH_NO_MEMBER || !kith_table_is_joint(node->table) ||
        !kith_table_holds(node->table, partition, member)) {
        return;
    }
    struct guest *guest = guest_find(node, partition, peer);
    if (guest) { /* where there is no room he asks again */
        guest->asked_ms = node->now_ms;
        (void)peer_want(node, &node->peers[peer]);
    }
}

void offer_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    const struct kith_offer_req *req = &msg->u.offer_req;
    if (!conn_is_node(node, conn->id, msg)) {
        return;
    }
    if (conn->peer == KITH_NO_PEER && node->has_cluster &&
        kith_uuid_equal(&conn->node, &req->member.uuid)) { /* it has left, and we were away */
        conn->peer = peers_stranger(node, &req->member);
    }
    if (conn->peer == KITH_NO_PEER || !node->has_cluster ||
        req->partition >= node->table->partitions) {
        core_refuse(node, conn->id, msg, KITH_EPERM, "no node of this cluster offers that");
        return;
    }
    struct kith_offer_res *res =
        &core_send(node, conn->id, KITH_MSG_OFFER_RES, msg->id)->u.offer_res;
    res->status = core_ok();
    res->table = node->table->id;
    res->partition = req->partition;
    if (table_check(node, &req->table, req->partition) != TABLE_FITS ||
        kith_table_is_joint(node->table) || join_frozen(node)) {
        res->status = core_status(KITH_ENOTREADY, "another table is in use here");
        return;
    }
    struct guest *guest = guest_find(node, req->partition, conn->peer);
    if (!guest) {
        res->status = core_status(KITH_EBUSY, "others offer something now");
        return;
    }
    guest->asked_ms = node->now_ms;
    (void)peer_want(node, &node->peers[conn->peer]); /* he may be no member any more */
    res->done = guest->flushed;
    guest->told = guest->flushed;
}

static void flushed(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    struct guest *guest = &node->leftovers.guests[arg % KITH_GUESTS];
    if (arg / KITH_GUESTS == node->moves.turn && guest->flushing) {
        guest->flushing = false;
        guest->flushed = err == KITH_OK;
    }
}

/* What guests have brought is flushed, once it is all of theirs; those who ask no more go. */
static void guests_look(struct kith_node *node)
{
    for (uint32_t i = 0; i < KITH_GUESTS; i++) {
        struct guest *guest = &node->leftovers.guests[i];
        uint8_t nothing = 0;
        if (guest->asked_ms != 0 && !guest->told && guest_gone(node, i)) {
            memset(guest, 0, sizeof *guest);
            exchange_guest_set(node, i, UINT32_MAX, KITH_NO_PEER);
        }
        if (guest->asked_ms != 0 && !guest->flushed && !guest->flushing &&
            exchange_guest_whole(node, i)) {
            guest->flushing = meta_put(node, KITH_META_FLUSH, kith_bytes_make(&nothing, 1), flushed,
                                       node->moves.turn * KITH_GUESTS + i) == KITH_OK;
        }
    }
}

/* ---- When ---- */

/* The partition at work has been dealt with, for this round. */
static void set_down(struct kith_node *node, bool found)
{
    node->leftovers.phase = LEFT_IDLE;
    node->leftovers.found = node->leftovers.found || found;
    node->leftovers.due_ms = node->now_ms;
}

static void offer_go_on(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    enum offered offered = offer(node);
    if (offered == OFFER_AWAY) {
        waits_set(left, left->partition);
        set_down(node, false);
    } else if (offered == OFFER_REFUSED) {
        set_down(node, true);
    } else if (offered == OFFER_ALL && !owed(node, left->partition)) {
        left->dropped = 0;
        left->found = true; /* it is seen whether it is all gone */
        if (node->self == KITH_NO_MEMBER) {
            set_down(node, true);
        } else if (!drop(node, false)) {
            left->phase = LEFT_OFFER;
        }
    } else if (node->now_ms >= left->offered_ms + LEFT_PAUSE_MS) {
        set_down(node, true);
    }
}

void leftovers_tick(struct kith_node *node)
{
    struct leftovers *left = &node->leftovers;
    if (stranded(node) && node->now_ms >= left->due_ms) {
        look_up(node);
    }
    if (!may_begin(node)) {
        return;
    }
    if (node->now_ms >= left->guests_ms) {
        left->guests_ms = node->now_ms + GUESTS_MS;
        guests_look(node);
    }
    if (node->now_ms < left->due_ms || left->pending != 0) {
        return;
    }
    if (left->phase == LEFT_IDLE) {
        next_partition(node);
        return;
    }
    bool soon = left->phase == LEFT_OFFER && node->now_ms < left->offered_ms + LEFT_TICK_MS;
    left->due_ms = node->now_ms + (soon ? LEFT_SOON_MS : LEFT_TICK_MS);
    if (left->phase != LEFT_OFFER) {
        return;
    }
    offer_go_on(node);
}

uint64_t leftovers_due(const struct kith_node *node)
{
    const struct leftovers *left = &node->leftovers;
    if (!may_begin(node)) {
        return stranded(node) ? left->due_ms : UINT64_MAX;
    }
    uint64_t due = left->pending != 0 ? UINT64_MAX : left->due_ms;
    for (uint32_t i = 0; i < KITH_GUESTS; i++) {
        const struct guest *guest = &left->guests[i];
        if (guest->asked_ms != 0 && !guest->told && left->guests_ms < due) {
            due = left->guests_ms;
        }
    }
    return due;
}
