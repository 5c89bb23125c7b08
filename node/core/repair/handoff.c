/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * handoff.c - what this node keeps for others goes to them; and the other side, where it comes to.
 *
 *     LIST of partitions with hints --> an owner of one that is up, KITH_HANDOFFS_MAX at a time:
 *         PAGE (hints that he wants) --> HANDOFF_REQ --stored on his disk--> ACK (noted here)
 *         and again, partition by partition, until there are no more
 *
 * A page is noted as delivered by the hashes of what was sent: what has changed meanwhile stays. A
 * hint goes once those that it is for have it; custody, and the mark of a thin row, once W owners
 * of the newest table do (hintop.h). Where this node has become an owner itself it is one of those:
 * then rows are merged here (ABSORB) instead of sent.
 *
 * WHEN. Soon after a hint came, for its owner may only have been late; when an owner comes up; after
 * a change of the table; and every KITH_HANDOFF_LOOK_MS: a slow disk may have taken a hint only after
 * the look that was for it.
 *
 * CREDIT. The receiver decides: at most KITH_HANDOFF_SENDERS hand over to him at a time, each one
 * page at a time, and his answer says how long to wait before the next one, longer while requests
 * are under way there. (Scylla's stored hints turned clients' writes away: a recovering node must
 * not be flooded by all others at once.)
 *
 * One bad row stops nothing: a page that the receiver cannot store is sent again row by row, and
 * those that fail stay here. */
#include <string.h>

#include "core/internal.h"

void handoff_release(struct kith_node *node)
{
    kith_free(node->handoffs.list);
}

void handoff_wake(struct kith_node *node, uint64_t after_ms)
{
    struct handoffs *handoffs = &node->handoffs;
    handoffs->again = true;
    if (node->now_ms + after_ms < handoffs->due_ms) {
        handoffs->due_ms = node->now_ms + after_ms;
    }
}

/* ---- One owner ---- */

static void next_page(struct kith_node *node, struct pending *pending);
static void handoff_start(struct kith_node *node);

static void handoff_end(struct kith_node *node, struct pending *pending, uint64_t again_ms)
{
    if (!pending->answered) {
        node->handoffs.out--;
        node->handoffs.sent += pending->u.handoff.rows_sent;
        if (again_ms > 0) {
            handoff_wake(node, again_ms);
        }
    }
    pending->u.handoff.waiting = false;
    pending_end(node, pending);
    if (node->handoffs.turn <= node->peer_count && /* it is the next owner's */
        node->handoffs.due_ms > node->now_ms + KITH_HANDOFF_YIELD_MS) {
        node->handoffs.due_ms = node->now_ms + KITH_HANDOFF_YIELD_MS;
    }
}

static bool owns(const struct kith_node *node, const struct pending_handoff *handoff,
                 uint32_t partition)
{
    uint16_t member = kith_table_find(node->table, &handoff->node);
    return member != KITH_NO_MEMBER && kith_table_holds(node->table, partition, member);
}

/* The next partition with hints that this owner owns, `from` or behind; false: there is none. */
static bool next_partition(const struct kith_node *node, struct pending_handoff *handoff,
                           uint32_t from)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < node->handoffs.count; i++) {
        uint32_t partition = node->handoffs.list[i].partition;
        if (partition >= from && partition < best && owns(node, handoff, partition)) {
            best = partition;
        }
    }
    if (best == UINT32_MAX) {
        return false;
    }
    uint16_t owners[KITH_HOLDERS_MAX];
    handoff->partition = best;
    handoff->has_after = false;
    handoff->owner_count = kith_table_holders(node->table, best, owners);
    handoff->w = kith_table_need(node->table, best, 0);
    for (uint32_t i = 0; i < handoff->owner_count; i++) {
        handoff->owners[i] = node->table->members[owners[i]].uuid;
    }
    return true;
}

static bool begin(struct kith_node *node, uint16_t peer)
{
    struct pending_handoff handoff = {
        .peer = peer,
        .node = peer == KITH_NO_PEER ? node->uuid : node->peers[peer].uuid,
        .table = node->table->id};
    if (!next_partition(node, &handoff, 0)) {
        return true;
    }
    uint64_t far_ms = peer == KITH_NO_PEER ? 0 : pace_far_wait_ms(node, peer);
    if (far_ms > 0) {
        handoff_wake(node, far_ms);
        return true;
    }
    struct pending *pending =
        pending_new(node, PENDING_HANDOFF, 0, NULL, KITH_HANDOFF_TIMEOUT_MS);
    if (!pending) {
        return false;
    }
    pending->u.handoff = handoff;
    node->handoffs.out++;
    next_page(node, pending);
    return true;
}

/* Keeps where the next page begins, and lets the last one go. */
static bool keep_after(struct kith_node *node, struct pending *pending)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    struct kith_bytes name = handoff->after_name;
    handoff->rows = NULL;
    handoff->row_count = 0;
    if (!handoff->has_after) {
        kith_arena_reset(&pending->arena);
        return true;
    }
    const void *kept = kith_arena_copy(&node->arena, name.data, name.size);
    kith_arena_reset(&pending->arena);
    handoff->after_name.data = kept ? kith_arena_copy(&pending->arena, kept, name.size) : NULL;
    return handoff->after_name.data != NULL;
}

static void next_page(struct kith_node *node, struct pending *pending)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    bool stale = kith_table_id_compare(&handoff->table, &node->table->id) != 0;
    if (stale || join_frozen(node) || !keep_after(node, pending)) {
        handoff_end(node, pending, KITH_HANDOFF_SOON_MS);
        return;
    }
    handoff->phase = HANDOFF_PAGE;
    pending_set_due(node, pending, pending->deadline_ms);
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_HINT_PAGE, handoff->partition);
    op->u.hint_page.node = handoff->node;
    op->u.hint_page.owner_count = handoff->owner_count;
    op->u.hint_page.owners = handoff->owners;
    op->u.hint_page.w = handoff->w;
    op->u.hint_page.has_after = handoff->has_after;
    op->u.hint_page.after_group = handoff->after_group;
    op->u.hint_page.after_name = handoff->after_name;
    op->u.hint_page.max_rows = handoff->singly > 0 ? 1 : 0;
}

/* The page has been dealt with. */
static void page_over(struct kith_node *node, struct pending *pending, uint32_t wait_ms)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    handoff->singly -= handoff->singly > 0 ? 1 : 0;
    handoff->has_after = handoff->more;
    handoff->after_group = handoff->last_group;
    handoff->after_name = handoff->last_name;
    uint64_t far_ms = handoff->peer == KITH_NO_PEER ? 0 : pace_far_wait_ms(node, handoff->peer);
    if (!handoff->more && !next_partition(node, handoff, handoff->partition + 1)) {
        handoff_end(node, pending, 0);
        return;
    }
    if (far_ms >= KITH_HANDOFF_LEASE_MS) { /* others may hand over meanwhile */
        handoff_end(node, pending, far_ms);
        return;
    }
    if (wait_ms > 0 || far_ms > 0) {
        handoff->phase = HANDOFF_PAUSE;
        pending_set_due(node, pending, node->now_ms + (wait_ms > far_ms ? wait_ms : far_ms));
        return;
    }
    next_page(node, pending);
}

/* Keeps the keys and hashes of the page, and (`states`) what is to be merged here. */
static bool keep_page(struct pending *pending, const struct kith_store_done *done, bool states)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    struct kith_arena *arena = &pending->arena;
    uint32_t count = done->u.hint_page.row_count;
    struct kith_bytes name = done->u.hint_page.last_name;
    struct kith_leaf_row *rows = kith_arena_copy(arena, done->u.hint_page.rows,
                                                 count * sizeof *rows);
    bool good = rows != NULL;
    for (uint32_t i = 0; good && i < count; i++) {
        rows[i].name.data = kith_arena_copy(arena, rows[i].name.data, rows[i].name.size);
        rows[i].state.data =
            states ? kith_arena_copy(arena, rows[i].state.data, rows[i].state.size) : NULL;
        good = rows[i].name.data && (!states || rows[i].state.data);
    }
    handoff->rows = rows;
    handoff->row_count = count;
    handoff->more = done->u.hint_page.more;
    handoff->last_group = done->u.hint_page.last_group;
    handoff->last_name = kith_bytes_make(kith_arena_copy(arena, name.data, name.size), name.size);
    return good && (!handoff->more || handoff->last_name.data);
}

static void page_read(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    bool here = handoff->peer == KITH_NO_PEER;
    if (!keep_page(pending, done, here)) {
        handoff_end(node, pending, KITH_HANDOFF_LOOK_MS);
        return;
    }
    if (handoff->row_count == 0) {
        page_over(node, pending, 0);
        return;
    }
    if (here) {
        handoff->phase = HANDOFF_ABSORB;
        struct kith_store_op *op =
            core_store(node, pending, KITH_STORE_ABSORB, handoff->partition);
        op->durability = KITH_DURABLE_DISK;
        op->u.absorb.wall_ms = node->wall_ms;
        op->u.absorb.row_count = handoff->row_count;
        op->u.absorb.rows = handoff->rows;
        return;
    }
    struct peer *peer = &node->peers[handoff->peer];
    if (!peer->up || !peer_want(node, peer)) {
        handoff_end(node, pending, 0); /* it is its turn when it comes up */
        return;
    }
    handoff->phase = HANDOFF_ASKED;
    handoff->waiting = true;
    pending_renew(node, pending); /* an answer to the page before says nothing of this one */
    peer_doubt(node, handoff->peer, node->now_ms);
    struct kith_handoff_req *req =
        &core_send(node, peer->conn, KITH_MSG_HANDOFF_REQ, pending->id)->u.handoff_req;
    req->table = node->table->id;
    req->partition = handoff->partition;
    req->row_count = handoff->row_count;
    req->rows = done->u.hint_page.rows;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < handoff->row_count; i++) {
        bytes += req->rows[i].name.size + req->rows[i].state.size;
    }
    pace_far_took(node, handoff->peer, bytes);
}

/* The owner has the page. */
static void page_ack(struct kith_node *node, struct pending *pending)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    handoff->phase = HANDOFF_ACK;
    handoff->rows_sent += handoff->row_count;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_HINT_ACK, handoff->partition);
    op->u.hint_ack.node = handoff->node;
    op->u.hint_ack.owner_count = handoff->owner_count;
    op->u.hint_ack.owners = handoff->owners;
    op->u.hint_ack.w = handoff->w;
    op->u.hint_ack.row_count = handoff->row_count;
    op->u.hint_ack.rows = handoff->rows;
}

/* The owner could not store all of the page. */
static void page_failed(struct kith_node *node, struct pending *pending, const char *why)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    if (handoff->row_count > 1) {
        handoff->singly = handoff->row_count;
        next_page(node, pending); /* has_after is still that of before */
        return;
    }
    core_log(node, LEVEL_WARN, "partition %u: a row that is kept for an owner cannot be handed "
             "over and stays here: %s", handoff->partition, why);
    page_over(node, pending, 0);
}

/* Tells those who watch; all at once, or that they know nothing any more. */
static void tell(struct kith_node *node, uint32_t count, const struct kith_leaf_row *rows)
{
    for (uint32_t i = 0; i < count; i++) {
        if (node->exchanges.tells + KITH_WATCH_GROUP_MAX > KITH_STEP_TELLS) {
            watch_end_all(node);
            return;
        }
        struct kith_replica_row row = {.name = rows[i].name};
        uint32_t before = node->effect_count;
        watch_tell_rows(node, &rows[i].group, NULL, 1, &row);
        node->exchanges.tells += node->effect_count - before;
    }
}

void handoff_stored(struct kith_node *node, struct pending *pending,
                    const struct kith_store_done *done)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    bool absorbs = handoff->phase == HANDOFF_ABSORB;
    if (absorbs && (done->err != KITH_OK || done->reached == KITH_DURABLE_OS)) {
        tell(node, handoff->row_count, handoff->rows);
    }
    if (absorbs && done->err == KITH_OK && done->reached == KITH_DURABLE_OS) {
        handoff->failed = done->u.absorb.failed;
        return; /* the disk follows */
    }
    core_stored_last(node, pending);
    if (pending->answered) {
        pending_end(node, pending);
        return;
    }
    if (done->err != KITH_OK) {
        core_log(node, LEVEL_WARN, "partition %u: what is kept for others cannot be handed over: "
                 "%s", handoff->partition, done->message);
        handoff_end(node, pending, KITH_HANDOFF_LOOK_MS);
        return;
    }
    switch (handoff->phase) {
    case HANDOFF_PAGE:
        page_read(node, pending, done);
        return;
    case HANDOFF_ABSORB:
        if (handoff->failed > 0) {
            page_failed(node, pending, "it does not merge with what is here");
        } else {
            page_ack(node, pending);
        }
        return;
    case HANDOFF_ACK:
        page_over(node, pending, handoff->wait_ms);
        return;
    case HANDOFF_ASKED:
    case HANDOFF_PAUSE:
        return; /* no operation is out */
    }
}

void handoff_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                 const struct kith_handoff_res *res)
{
    struct pending_handoff *handoff = &pending->u.handoff;
    if (pending->answered || !handoff->waiting || handoff->peer != peer) {
        return;
    }
    handoff->waiting = false;
    handoff->wait_ms = res->wait_ms;
    switch (res->status.err) {
    case KITH_OK:
        page_ack(node, pending);
        return;
    case KITH_EBUSY: /* the same page again, later */
        handoff->phase = HANDOFF_PAUSE;
        pending_set_due(node, pending,
                        node->now_ms + (res->wait_ms > 0 ? res->wait_ms : KITH_HANDOFF_BUSY_MS));
        return;
    case KITH_ECORRUPT:
    case KITH_ETOOBIG:
        page_failed(node, pending, res->status.message);
        return;
    case KITH_ESTALE:
        table_learn(node, res->table);
        handoff_end(node, pending, KITH_HANDOFF_SOON_MS);
        return;
    default:
        handoff_end(node, pending, KITH_HANDOFF_LOOK_MS);
    }
}

void handoff_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (!pending->answered && pending->u.handoff.waiting && pending->u.handoff.peer == peer) {
        handoff_end(node, pending, 0);
    }
}

void handoff_expire(struct kith_node *node, struct pending *pending)
{
    if (node->now_ms >= pending->deadline_ms || pending->u.handoff.phase != HANDOFF_PAUSE) {
        handoff_end(node, pending, KITH_HANDOFF_SOON_MS);
        return;
    }
    next_page(node, pending);
}

/* ---- All of them ---- */

/* Each owner that is up gets a turn. */
static void handoff_start(struct kith_node *node)
{
    struct handoffs *handoffs = &node->handoffs;
    while (handoffs->out < KITH_HANDOFFS_MAX && handoffs->turn <= node->peer_count) {
        uint32_t turn = handoffs->turn;
        uint16_t peer = turn == node->peer_count ? KITH_NO_PEER : (uint16_t)turn;
        bool up = peer == KITH_NO_PEER ? node->self != KITH_NO_MEMBER : node->peers[peer].up;
        if (up && !begin(node, peer)) {
            handoffs->due_ms = node->now_ms + KITH_HANDOFF_SOON_MS;
            return;
        }
        handoffs->turn++;
    }
}

/* Plain hints that are too old; one partition of them at a time. */
static void drop_old(struct kith_node *node)
{
    const struct handoffs *handoffs = &node->handoffs;
    uint64_t before = node->wall_ms > KITH_HINT_AGE_MS ? node->wall_ms - KITH_HINT_AGE_MS : 0;
    for (uint32_t i = 0; i < handoffs->count; i++) {
        const struct kith_store_hints *hints = &handoffs->list[i];
        if (hints->first_ms == 0 || hints->first_ms >= before ||
            hints->count <= hints->custody + hints->thin) {
            continue;
        }
        struct pending *pending = pending_new(node, PENDING_HINTS, 0, NULL, UINT64_MAX);
        if (pending) {
            struct kith_store_op *op =
                core_store(node, pending, KITH_STORE_HINT_DROP, hints->partition);
            op->u.hint_drop.before_ms = before;
        }
        return;
    }
}

/* Connections are made to owners of what is kept. */
static void want_owners(struct kith_node *node)
{
    for (uint32_t i = 0; i < node->handoffs.count; i++) {
        uint16_t owners[KITH_HOLDERS_MAX];
        uint32_t count =
            kith_table_holders(node->table, node->handoffs.list[i].partition, owners);
        for (uint32_t k = 0; k < count; k++) {
            uint16_t peer = node->peer_of_member[owners[k]];
            if (peer != KITH_NO_PEER) {
                (void)peer_want(node, &node->peers[peer]);
            }
        }
    }
}

static void listed(struct kith_node *node, const struct kith_store_done *done)
{
    struct handoffs *handoffs = &node->handoffs;
    uint32_t count = done->u.hint_list.count;
    handoffs->listing = false;
    if (done->err == KITH_OK && count > handoffs->capacity) {
        struct kith_store_hints *list = kith_realloc(handoffs->list, count * sizeof *list);
        count = list ? count : 0;
        handoffs->list = list ? list : handoffs->list;
        handoffs->capacity = list ? count : handoffs->capacity;
    }
    if (done->err != KITH_OK || (count == 0 && done->u.hint_list.count > 0)) {
        handoff_wake(node, KITH_HANDOFF_SOON_MS);
        return;
    }
    handoffs->count = count;
    if (count > 0) {
        memcpy(handoffs->list, done->u.hint_list.list, count * sizeof *handoffs->list);
    }
    handoffs->turn = 0;
    uint64_t look_ms = node->now_ms + KITH_HANDOFF_LOOK_MS;
    handoffs->due_ms = !handoffs->again || look_ms < handoffs->due_ms ? look_ms : handoffs->due_ms;
    if (handoffs->sent > 0 && count == 0) {
        core_log(node, LEVEL_INFO, "%llu rows that were kept for other nodes are delivered",
                 (unsigned long long)handoffs->sent);
        handoffs->sent = 0;
    }
    uint64_t needed = 0; /* plain hints may go */
    for (uint32_t i = 0; i < count; i++) {
        needed += handoffs->list[i].custody + handoffs->list[i].thin;
    }
    handoffs->listed = !handoffs->again;
    moves_hints(node, needed == 0);
    want_owners(node);
    drop_old(node);
    handoff_start(node);
}

void hints_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done)
{
    bool lists = pending->id == node->handoffs.list_id;
    core_stored_last(node, pending);
    pending_end(node, pending);
    if (lists) {
        listed(node, done);
    } else if (done->err == KITH_OK && done->u.absorb.changed > 0) {
        core_log(node, LEVEL_INFO, "%u rows were kept for other nodes for too long, and are left "
                 "to anti-entropy", done->u.absorb.changed);
        handoff_wake(node, KITH_HANDOFF_SOON_MS);
    }
}

void handoff_tick(struct kith_node *node)
{
    struct handoffs *handoffs = &node->handoffs;
    if (!node->has_cluster || node->now_ms < handoffs->due_ms || handoffs->listing) {
        return;
    }
    handoffs->due_ms = node->now_ms + KITH_HANDOFF_LOOK_MS;
    if (join_frozen(node)) {
        handoffs->due_ms = node->now_ms + KITH_HANDOFF_SOON_MS;
        return;
    }
    if (!handoffs->again && handoffs->out < KITH_HANDOFFS_MAX &&
        handoffs->turn <= node->peer_count) {
        handoff_start(node); /* one has ended: the next */
        return;
    }
    if (handoffs->out >= KITH_HANDOFFS_MAX && !handoffs->again) {
        return;
    }
    struct pending *pending = pending_new(node, PENDING_HINTS, 0, NULL, UINT64_MAX);
    if (!pending) {
        handoffs->due_ms = node->now_ms + KITH_HANDOFF_SOON_MS;
        return;
    }
    handoffs->again = false;
    handoffs->listing = true;
    handoffs->list_id = pending->id;
    (void)core_store(node, pending, KITH_STORE_HINT_LIST, 0);
}

uint64_t handoff_due(const struct kith_node *node)
{
    return node->has_cluster && !node->handoffs.listing ? node->handoffs.due_ms : UINT64_MAX;
}

/* ---- The other side ---- */

/* Room for this sender; false: others hand over now. */
static bool take_sender(struct kith_node *node, const struct kith_uuid *from)
{
    struct handoffs *handoffs = &node->handoffs;
    uint32_t free = KITH_HANDOFF_SENDERS;
    for (uint32_t i = 0; i < KITH_HANDOFF_SENDERS; i++) {
        bool over = handoffs->senders[i].until_ms <= node->now_ms;
        if (!over && kith_uuid_equal(&handoffs->senders[i].node, from)) {
            handoffs->senders[i].until_ms = node->now_ms + KITH_HANDOFF_LEASE_MS;
            return true;
        }
        free = over ? i : free;
    }
    if (free == KITH_HANDOFF_SENDERS) {
        return false;
    }
    handoffs->senders[free].node = *from;
    handoffs->senders[free].until_ms = node->now_ms + KITH_HANDOFF_LEASE_MS;
    return true;
}

static bool rows_sound(const struct kith_node *node, const struct kith_handoff_req *req)
{
    bool sound = req->row_count <= KITH_LEAF_ROWS_MAX;
    for (uint32_t i = 0; sound && i < req->row_count; i++) {
        sound = req->rows[i].state.size > 0 && req->rows[i].state.size <= KITH_ROW_STATE_MAX &&
                req->rows[i].name.size <= KITH_NAME_MAX &&
                kith_group_partition(&req->rows[i].group, node->table->partitions) ==
                    req->partition;
    }
    return sound;
}

static bool handoff_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_handoff_req *req = &msg->u.handoff_req;
    if (!conn_is_node(node, conn, msg)) {
        return false;
    }
    if (node->has_cluster && req->partition >= node->table->partitions) {
        core_refuse(node, conn, msg, KITH_EINVAL, "there is no such partition");
        return false;
    }
    if (table_check(node, &req->table, req->partition) == TABLE_AHEAD &&
        table_holds(node, req->partition)) {
        table_ask(node, conn); /* rows can be merged whatever the table; he knows it better */
    } else if (!table_admit_holder(node, conn, msg, &req->table, req->partition)) {
        return false;
    }
    if (join_frozen(node)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY, "a table change is being decided");
        return false;
    }
    if (!rows_sound(node, req)) {
        core_refuse(node, conn, msg, KITH_EINVAL, "rows out of bounds");
        return false;
    }
    if (!take_sender(node, &conn_find(node, conn)->node)) {
        uint64_t random = core_random(node);
        struct kith_handoff_res *res =
            &core_send(node, conn, KITH_MSG_HANDOFF_RES, msg->id)->u.handoff_res;
        res->status = core_status(KITH_EBUSY, "others hand rows over now");
        res->wait_ms = KITH_HANDOFF_BUSY_MS + (uint32_t)(random % KITH_HANDOFF_BUSY_MS);
        return false;
    }
    return true;
}

void handoff_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_handoff_req *req = &msg->u.handoff_req;
    if (!handoff_admit(node, conn, msg)) {
        return;
    }
    if (req->row_count == 0) {
        core_send(node, conn, KITH_MSG_HANDOFF_RES, msg->id)->u.handoff_res.status = core_ok();
        return;
    }
    struct pending *pending =
        pending_new(node, PENDING_ABSORB, conn, msg, KITH_HANDOFF_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    pending->u.absorb.req = req;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_ABSORB, req->partition);
    op->durability = KITH_DURABLE_DISK;
    op->u.absorb.wall_ms = node->wall_ms;
    op->u.absorb.row_count = req->row_count;
    op->u.absorb.rows = req->rows;
}

void handoff_absorbed(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    const struct kith_handoff_req *req = pending->u.absorb.req;
    if (done->err != KITH_OK || done->reached == KITH_DURABLE_OS) {
        tell(node, req->row_count, req->rows);
    }
    if (done->err == KITH_OK && done->reached == KITH_DURABLE_OS) {
        pending->u.absorb.failed = done->u.absorb.failed;
        return; /* the disk follows */
    }
    core_stored_last(node, pending);
    if (done->err != KITH_OK) {
        pending_refuse(node, pending, done->err, core_text(node, "%s", done->message));
    } else if (pending->u.absorb.failed > 0) {
        pending_refuse(node, pending, KITH_ECORRUPT,
                       core_text(node, "%u of %u rows could not be merged at node %s",
                                 pending->u.absorb.failed, req->row_count, node->address));
    } else if (!pending->answered) {
        struct kith_handoff_res *res =
            &core_send(node, pending->conn, KITH_MSG_HANDOFF_RES, pending->msg_id)->u.handoff_res;
        res->status = core_ok();
        res->wait_ms = node->pending_count > KITH_EXCHANGE_YIELD ? KITH_HANDOFF_YIELD_MS : 0;
    }
    pending_end(node, pending);
}
