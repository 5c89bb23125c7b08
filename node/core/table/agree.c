/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * agree.c - changes of the table, a member's side: proposing for a joiner, voting, finishing.
 *
 * Agreement itself is decide.h (Paxos). Here is what it means for the node:
 *
 * DATA. A change that moves existing data begins with a joint table (data/table.h), which a majority
 * decides like any other and nobody has to wait for: moves.c carries it out. A node that joins does
 * so by a change at once where nobody has data, which saves a new cluster the two steps, and else
 * by a move, as do all changes that an administrator has planned (PLAN_REQ).
 *
 * FREEZING. To a change at once a node that holds data objects; every member is asked first, and
 * one that has promised a change takes no write until it is decided what the next table is
 * (decide.h, CHANGES): join_frozen. A member that has data never comes to that: an opinion refuses
 * it, and nobody freezes. Who is frozen sees to it that it ends: the proposer goes on until
 * something is decided, the others step in when he is gone (AGREE_ALONE_MS) or takes too long
 * (AGREE_FINISH_MS), as soon as a majority is up. What they get decided is what was accepted, else
 * the table as it is under the next version. A writer meets ENOTREADY meanwhile and tries again
 * until his deadline: for the few milliseconds of a join; where a member is killed in the middle,
 * until the others have noticed it and decided, 20 to 200 ms as a rule; 3 s where it falls silent
 * with its connections open.
 *
 * FORCE. Where too few members are left to decide anything, an administrator has a table of the next
 * epoch taken, by the node that he tells and from there by all: the highest epoch wins. He says which
 * members are gone for good; one that comes back all the same finds itself no member.
 *
 * Where the record of promises was damaged the node holds what it may have promised, and learns
 * from others what was decided. Only of three members or more can two decide without it; with fewer
 * it takes writes, for else it would never again.
 *
 * ONE AT A TIME. A member works for one joiner at a time and answers others EBUSY; members that
 * propose against each other are serialised by the ballots, and the loser's joiner tries again. */
#include <string.h>

#include "core/internal.h"
#include "data/balance.h"

#define AGREE_MS        8000u /* to decide; a joiner tries again after that */
#define AGREE_JOIN_MS   15000u /* for the whole of a JOIN_REQ */
#define AGREE_FINISH_MS 1000u /* frozen for so long, plus up to as much: finish it */
#define AGREE_ALONE_MS  100u  /* the same where who began it is gone; spread: one is first */

static void agree_out(struct kith_node *node, const struct kith_proposer_out *out);
static bool decide_copy(struct kith_arena *arena, const struct kith_decide *decide,
                        struct kith_decide *ret_copy);
static void agree_broadcast(struct kith_node *node, const struct kith_decide *decide);

bool join_frozen(const struct kith_node *node)
{
    const struct join_state *join = node->join;
    const struct kith_acceptor *acceptor = &join->acceptor;
    if (!node->has_cluster) {
        return false;
    }
    if (join->may_not_vote) {
        return node->table->member_count >= 3;
    }
    return acceptor->holds && acceptor->epoch == node->table->id.epoch &&
           acceptor->version == node->table->id.version + 1;
}

/* ---- The joiner ---- */

static void joiner_answer(struct kith_node *node, enum kith_err err, const char *message)
{
    struct pending *pending = pending_get(node, node->join->joiner);
    node->join->joiner = 0;
    if (!pending) {
        return;
    }
    if (err != KITH_OK) {
        pending_refuse(node, pending, err, message);
    } else if (!pending->answered && pending->asked == KITH_MSG_PLAN_REQ) {
        struct kith_plan_res *res =
            &core_send(node, pending->conn, KITH_MSG_PLAN_RES, pending->msg_id)->u.plan_res;
        res->status = core_ok();
        res->table = kith_buf_bytes(&node->table_bytes);
    } else if (!pending->answered) {
        struct kith_join_res *res =
            &core_send(node, pending->conn, KITH_MSG_JOIN_RES, pending->msg_id)->u.join_res;
        res->status = core_ok();
        res->cluster = node->cluster;
        res->table = kith_buf_bytes(&node->table_bytes);
        res->member_count = members_all(node, &res->members);
    }
    pending_end(node, pending);
}

/* The table with the joiner in it, encoded; `move`: a joint one, that leads there. */
static enum kith_err joiner_table(struct kith_node *node, const struct kith_member_info *info,
                                  bool move, struct kith_buf *buf)
{
    const struct kith_table *last = node->table;
    uint32_t count = last->member_count;
    struct kith_member *members = kith_arena_alloc(&node->arena, (count + 1) * sizeof *members);
    if (!members) {
        return KITH_ENOMEM;
    }
    memcpy(members, last->members, count * sizeof *members);
    memset(&members[count], 0, sizeof *members);
    members[count].uuid = info->uuid;
    memcpy(members[count].zone, info->zone, sizeof members[count].zone);
    members[count].zone[KITH_ZONE_SIZE - 1] = 0;
    members[count].weight = info->weight > 0 ? info->weight : 1;
    struct kith_table *next = NULL;
    enum kith_err err = kith_balance(last, &last->cluster, last->partitions, last->replicas,
                                     members, count + 1, &next);
    if (err == KITH_OK && move) {
        struct kith_table *joint = NULL;
        err = kith_table_move(last, next, false, NULL, 0, &joint);
        kith_table_drop(next);
        next = joint;
    }
    if (err == KITH_OK) {
        kith_table_encode(next, buf);
        kith_table_drop(next);
        err = buf->failed ? KITH_ENOMEM : KITH_OK;
    }
    return err;
}

/* A change needs every member: connections that are not kept are made for it. */
static bool agree_connected(struct kith_node *node)
{
    bool all = true;
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        all = (!peer->member || peer_want(node, peer)) && all;
    }
    return all;
}

static bool joiner_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    struct join_state *join = node->join;
    if (!node->has_cluster) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has no cluster yet", node->address));
        return false;
    }
    if (node->table->member_count >= KITH_MEMBERS_MAX) {
        core_refuse(node, conn, msg, KITH_ELIMIT,
                    core_text(node, "a cluster has at most %u members", KITH_MEMBERS_MAX));
        return false;
    }
    if (kith_proposer_busy(&join->proposer) || pending_get(node, join->joiner) ||
        node->table_next || join_frozen(node)) {
        core_refuse(node, conn, msg, KITH_EBUSY, "another change of the table is under way");
        return false;
    }
    if (kith_table_is_joint(node->table)) {
        core_refuse(node, conn, msg, KITH_EBUSY,
                    core_text(node, "table %llu.%llu moves data; the next change comes after it",
                              (unsigned long long)node->table->id.epoch,
                              (unsigned long long)node->table->id.version));
        return false;
    }
    return true;
}

/* What a member that is no news would be told: the cluster as it is. */
static bool joiner_is_member(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_member_info *info = &msg->u.join_req.member;
    if (!node->has_cluster || kith_table_find(node->table, &info->uuid) == KITH_NO_MEMBER) {
        return false;
    }
    members_learn(node, info);
    struct kith_join_res *res = &core_send(node, conn, KITH_MSG_JOIN_RES, msg->id)->u.join_res;
    res->status = core_ok();
    res->cluster = node->cluster;
    res->table = kith_buf_bytes(&node->table_bytes);
    res->member_count = members_all(node, &res->members);
    return true;
}

/* Whether a change at once is worth trying: it needs every member, and none may have data. */
static bool change_possible(struct kith_node *node)
{
    bool all = !node->has_data && node->writes_out == 0;
    for (uint32_t i = 0; i < node->table->member_count; i++) {
        uint16_t peer = node->peer_of_member[i];
        all = all && (peer == KITH_NO_PEER || peer_alive(&node->peers[peer]));
    }
    return all;
}

/* To whom the joiner has turned goes on with a move. EBUSY, ENOMEM. */
static enum kith_err joiner_moves(struct kith_node *node)
{
    struct join_state *join = node->join;
    struct kith_buf next;
    kith_buf_init(&next);
    struct kith_proposer_out out;
    enum kith_err err = kith_table_is_joint(node->table)
                            ? KITH_EBUSY
                            : joiner_table(node, &join->joiner_info, true, &next);
    if (err == KITH_OK) {
        uint64_t random = core_random(node);
        err = kith_proposer_start(&join->proposer, node->table, kith_buf_bytes(&next), node->now_ms,
                                  node->now_ms + AGREE_MS, random, &out);
    }
    kith_buf_release(&next);
    if (err == KITH_OK) {
        agree_out(node, &out);
    }
    return err;
}

void agree_join_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    struct join_state *join = node->join;
    const struct kith_member_info *info = &msg->u.join_req.member;
    struct conn *from = conn_find(node, conn);
    if (!from || from->role != KITH_ROLE_NODE || !kith_uuid_equal(&from->node, &info->uuid)) {
        core_refuse(node, conn, msg, KITH_EPERM, "a node joins for itself");
        return;
    }
    if (joiner_is_member(node, conn, msg) || !joiner_admit(node, conn, msg)) {
        return;
    }
    bool change = change_possible(node);
    if (change && !agree_connected(node)) {
        core_refuse(node, conn, msg, KITH_EBUSY, "connecting with all members");
        return;
    }
    struct kith_buf next;
    kith_buf_init(&next);
    enum kith_err err = joiner_table(node, info, false, &next);
    struct kith_proposer_out out;
    struct pending *pending = NULL;
    if (err == KITH_OK) {
        pending = pending_new(node, PENDING_JOIN, conn, msg, AGREE_JOIN_MS);
        err = pending ? KITH_OK : KITH_ELIMIT;
    }
    if (err == KITH_OK) {
        join->joiner_info = *info;
        join->joiner = pending->id;
    }
    if (err == KITH_OK && !change) {
        err = joiner_moves(node);
    } else if (err == KITH_OK) {
        uint64_t random = core_random(node);
        err = kith_proposer_start_change(&join->proposer, node->table, kith_buf_bytes(&next),
                                         node->now_ms, node->now_ms + AGREE_MS, random, &out);
    }
    kith_buf_release(&next);
    if (err != KITH_OK) {
        join->joiner = 0;
        if (pending) {
            pending_end(node, pending);
        }
        core_refuse(node, conn, msg, err == KITH_ELIMIT ? KITH_EBUSY : err,
                    core_text(node, "the next table cannot be proposed: %s",
                              kith_err_text((int)err)));
        return;
    }
    if (change) {
        agree_out(node, &out);
    }
}

/* ---- What an administrator has planned ---- */

enum kith_err agree_propose(struct kith_node *node, const struct kith_table *next,
                            uint64_t timeout_ms)
{
    struct kith_proposer *proposer = &node->join->proposer;
    if (kith_proposer_busy(proposer) || node->table_next) {
        return KITH_EBUSY;
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(next, &buf);
    struct kith_proposer_out out;
    uint64_t random = core_random(node);
    enum kith_err err = buf.failed ? KITH_ENOMEM
                                   : kith_proposer_start(proposer, node->table,
                                                         kith_buf_bytes(&buf), node->now_ms,
                                                         node->now_ms + timeout_ms, random, &out);
    kith_buf_release(&buf);
    if (err == KITH_OK) {
        agree_out(node, &out);
    }
    return err;
}

/* Why that table may not follow; NULL: it may. */
static const char *plan_wrong(struct kith_node *node, const struct kith_table *next)
{
    const struct kith_table *last = node->table;
    bool force = next->id.epoch == last->id.epoch + 1;
    if (!kith_uuid_equal(&next->cluster, &last->cluster)) {
        return "it is of another cluster";
    }
    if ((!force && next->id.epoch != last->id.epoch) || next->id.version != last->id.version + 1 ||
        next->partitions != last->partitions || next->replicas != last->replicas) {
        return core_text(node, "it does not follow table %llu.%llu: plan again",
                         (unsigned long long)last->id.epoch, (unsigned long long)last->id.version);
    }
    if (!kith_table_follows(last, next)) {
        return "it gives partitions to nodes that have nothing of them";
    }
    bool settles =
        kith_table_is_joint(last) && !kith_table_is_joint(next) && !moves_complete(node);
    struct kith_table *reverted = NULL;
    if (settles && kith_table_revert(last, &reverted) == KITH_OK) {
        settles = !kith_table_follows(reverted, next);
        kith_table_drop(reverted);
    }
    return settles ? "not all that moves is there yet" : NULL;
}

/* The table is taken without a vote, here and by all who hear of it. */
static void plan_force(struct kith_node *node, struct kith_bytes table, const struct kith_table *next)
{
    struct kith_decide decided;
    memset(&decided, 0, sizeof decided);
    decided.phase = KITH_DECIDE_DECIDED;
    decided.epoch = next->id.epoch;
    decided.version = next->id.version;
    decided.status = core_ok();
    decided.table = table;
    struct kith_decide copy;
    if (decide_copy(&node->arena, &decided, &copy)) { /* else they hear of it by pings */
        agree_broadcast(node, &copy);
    }
    table_learn(node, table);
}

void agree_plan_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    struct join_state *join = node->join;
    struct kith_table *next = NULL;
    if (!node->has_cluster || node->self == KITH_NO_MEMBER) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s is in no cluster", node->address));
        return;
    }
    enum kith_err err = kith_table_decode(msg->u.plan_req.table, &next);
    if (err != KITH_OK) {
        core_refuse(node, conn, msg, err, "the table cannot be read");
        return;
    }
    /* what is forced need not wait for a change that those who are gone would have to agree to */
    bool force = next->id.epoch > node->table->id.epoch;
    bool busy = kith_proposer_busy(&join->proposer) || join->joiner != 0;
    if ((busy && !force) || node->table_next) {
        core_refuse(node, conn, msg, KITH_EBUSY, "another change of the table is under way");
        kith_table_drop(next);
        return;
    }
    const char *wrong = plan_wrong(node, next);
    struct pending *pending = wrong ? NULL : pending_new(node, PENDING_JOIN, conn, msg, AGREE_JOIN_MS);
    if (wrong) {
        core_refuse(node, conn, msg, KITH_EREFUSED, wrong);
    } else if (!pending) {
        core_refuse_full(node, conn, msg);
    } else {
        if (join->joiner != 0) {
            joiner_answer(node, KITH_EBUSY, "a change that was forced came first");
        }
        join->joiner = pending->id;
        join->plan = next->id;
        if (force) {
            plan_force(node, msg->u.plan_req.table, next);
        } else if ((err = agree_propose(node, next, AGREE_MS)) != KITH_OK) {
            joiner_answer(node, err, "the table cannot be proposed");
        }
    }
    kith_table_drop(next);
}

/* ---- Voting ---- */

static void vote_send(struct kith_node *node, const struct kith_uuid *to,
                      const struct kith_decide *answer)
{
    struct join_state *join = node->join;
    if (kith_uuid_is_nil(to)) {
        struct kith_proposer_out out;
        uint64_t random = core_random(node);
        if (kith_proposer_answer(&join->proposer, &node->uuid, answer, node->now_ms, random,
                                 &out) == KITH_OK) {
            agree_out(node, &out);
        } /* no memory: as if the answer were lost; the proposer's timer tries again */
        return;
    }
    const struct peer *peer = peer_find(node, to);
    uint64_t conn = peer ? peer_reach(node, peer) : 0;
    if (conn != 0) {
        core_send(node, conn, KITH_MSG_DECIDE, 0)->u.decide = *answer;
    }
}

static void vote_durable(struct kith_node *node, uint64_t id, enum kith_err err)
{
    struct pending *pending = pending_get(node, id);
    KITH_ASSERT(pending && pending->kind == PENDING_VOTE);
    if (err == KITH_OK) {
        vote_send(node, &pending->u.vote.from, &pending->u.vote.decide);
    }
    pending_end(node, pending);
}

static bool decide_copy(struct kith_arena *arena, const struct kith_decide *decide,
                        struct kith_decide *ret_copy)
{
    *ret_copy = *decide;
    ret_copy->table.data = kith_arena_copy(arena, decide->table.data, decide->table.size);
    const char *message = decide->status.message ? decide->status.message : "";
    ret_copy->status.message = kith_arena_copy(arena, message, strlen(message) + 1);
    return ret_copy->table.data && ret_copy->status.message;
}

/* A pending that keeps the message for later; NULL when there is no room: the message is lost then,
 * and proposers try again. */
static struct pending *vote_keep(struct kith_node *node, const struct kith_uuid *from,
                                 const struct kith_decide *decide)
{
    struct pending *pending = pending_new(node, PENDING_VOTE, 0, NULL, UINT64_MAX);
    if (pending && !decide_copy(&pending->arena, decide, &pending->u.vote.decide)) {
        pending_end(node, pending);
        pending = NULL;
    }
    if (pending) {
        pending->u.vote.from = *from;
    }
    return pending;
}

static void vote_promise(struct kith_node *node, const struct kith_uuid *from,
                         const struct kith_decide *answer)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_acceptor_encode(&node->join->acceptor, &buf);
    struct pending *pending = buf.failed ? NULL : vote_keep(node, from, answer);
    if (pending && meta_put(node, KITH_META_DECIDE, kith_buf_bytes(&buf), vote_durable,
                            pending->id) != KITH_OK) {
        pending_end(node, pending);
    }
    kith_buf_release(&buf);
}

static void vote(struct kith_node *node, const struct kith_uuid *from,
                 const struct kith_decide *request, const char *refuse)
{
    struct join_state *join = node->join;
    struct kith_voter voter = {
        .table = node->table, .self = node->uuid, .may_vote = !join->may_not_vote};
    enum kith_acceptor_action action = KITH_ACCEPTOR_SEND_NOW;
    struct kith_decide answer;
    memset(&answer, 0, sizeof answer);
    if (kith_acceptor_step(&join->acceptor, &voter, request, refuse, &action, &answer) != KITH_OK) {
        return; /* malformed, or no memory: as if it had been lost */
    }
    struct kith_decide copy;
    switch (action) {
    case KITH_ACCEPTOR_SEND_DURABLE:
        join->finish_ms = 0;
        vote_promise(node, from, &answer);
        return;
    case KITH_ACCEPTOR_SEND_TABLE:
        memset(&copy, 0, sizeof copy);
        copy.phase = KITH_DECIDE_DECIDED;
        copy.epoch = node->table->id.epoch;
        copy.version = node->table->id.version;
        copy.status = core_ok();
        copy.table = kith_buf_bytes(&node->table_bytes);
        vote_send(node, from, &copy);
        return;
    case KITH_ACCEPTOR_FETCH:
        table_ask_anyone(node);
        break;
    case KITH_ACCEPTOR_SEND_NOW:
        break;
    }
    if (decide_copy(&node->arena, &answer, &copy)) {
        vote_send(node, from, &copy);
    }
}

/* Whether the request would have this node agree to a table that moves data. What cannot be read
 * is left to the acceptor, which drops it. */
static bool vote_moves(const struct kith_node *node, const struct kith_decide *request)
{
    struct kith_table *next = NULL;
    if (kith_decide_check(node->table, request->table, &next) != KITH_OK) {
        return false;
    }
    bool moves = kith_decide_changes(node->table, next);
    kith_table_drop(next);
    return moves;
}

/* An ASK, PREPARE or ACCEPT; from = nil: our own proposer's. */
static void vote_take(struct kith_node *node, const struct kith_uuid *from,
                      const struct kith_decide *request)
{
    bool objects = (node->writes_out > 0 || node->has_data) && vote_moves(node, request);
    if (objects && node->writes_out > 0) {
        vote(node, from, request,
             core_text(node, "node %s is taking writes, and a table change that moves existing "
                             "data is not supported yet", node->address));
        return;
    }
    if (objects) { /* how much, for the person who reads it */
        struct pending *pending = vote_keep(node, from, request);
        if (pending) {
            core_store(node, pending, KITH_STORE_COUNT, 0);
        }
        return;
    }
    vote(node, from, request, NULL);
}

void agree_counted(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done)
{
    core_stored_last(node, pending);
    unsigned long long rows = done->err == KITH_OK ? done->u.counts.rows : 0;
    unsigned long long chunks = done->err == KITH_OK ? done->u.counts.chunks : 0;
    vote(node, &pending->u.vote.from, &pending->u.vote.decide,
         core_text(node, "a table change that moves existing data is not supported yet: node %s "
                         "holds %llu rows and %llu chunks", node->address, rows, chunks));
    pending_end(node, pending);
}

void agree_decide(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    const struct kith_decide *decide = &msg->u.decide;
    if (!node->has_cluster || conn->peer == KITH_NO_PEER) {
        return;
    }
    struct kith_uuid from = node->peers[conn->peer].uuid;
    struct kith_proposer_out out;
    switch (decide->phase) {
    case KITH_DECIDE_ASK:
    case KITH_DECIDE_PREPARE:
    case KITH_DECIDE_ACCEPT:
        vote_take(node, &from, decide);
        return;
    case KITH_DECIDE_OPINION:
    case KITH_DECIDE_PROMISE:
    case KITH_DECIDE_ACCEPTED: {
        uint64_t random = core_random(node);
        if (kith_proposer_answer(&node->join->proposer, &from, decide, node->now_ms, random,
                                 &out) == KITH_OK) {
            agree_out(node, &out);
        }
        return;
    }
    case KITH_DECIDE_DECIDED:
        table_learn(node, decide->table);
        return;
    }
}

/* ---- What the proposer wants ---- */

static void agree_broadcast(struct kith_node *node, const struct kith_decide *decide)
{
    for (uint32_t i = 0; i < node->peer_count; i++) {
        struct peer *peer = &node->peers[i];
        if (peer->member && peer_want(node, peer)) { /* to others with the next phase */
            core_send(node, peer->conn, KITH_MSG_DECIDE, 0)->u.decide = *decide;
        }
    }
}

/* Somebody wants to join, and his change at once has met an objection. */
static bool joiner_waits(struct kith_node *node)
{
    const struct pending *pending = pending_get(node, node->join->joiner);
    return pending && !pending->answered && pending->asked == KITH_MSG_JOIN_REQ;
}

/* Who is to be answered has forced a table, which is being stored: a proposal that ends meanwhile was
 * another one. */
static bool joiner_forces(struct kith_node *node)
{
    const struct pending *pending = pending_get(node, node->join->joiner);
    return pending && pending->asked == KITH_MSG_PLAN_REQ &&
           node->join->plan.epoch > node->table->id.epoch;
}

static void agree_ended(struct kith_node *node, const struct kith_proposer_out *out)
{
    struct join_state *join = node->join;
    switch (out->end) {
    case KITH_PROPOSER_RUNNING:
        return;
    case KITH_PROPOSER_DECIDED:
        table_learn(node, out->table); /* the joiner is answered once it is in use */
        return;
    case KITH_PROPOSER_FAILED:
        join->finish_ms = 0;
        if (out->err == KITH_EREFUSED && joiner_waits(node) &&
            joiner_moves(node) == KITH_OK) {
            return; /* somebody has data */
        }
        if (!joiner_forces(node)) {
            joiner_answer(node, out->err, core_text(node, "%s", out->message));
        }
        return;
    }
}

static void agree_out(struct kith_node *node, const struct kith_proposer_out *given)
{
    struct join_state *join = node->join;
    struct kith_proposer_out out = *given;
    join->proposer_ms = out.timer_ms;
    if (out.send) {
        struct kith_decide msg;
        if (decide_copy(&node->arena, &out.msg, &msg)) { /* else lost; the timer sends it again */
            agree_broadcast(node, &msg);
            if (msg.phase != KITH_DECIDE_DECIDED) {
                struct kith_uuid self;
                memset(&self, 0, sizeof self);
                vote_take(node, &self, &msg);
            }
        }
    }
    agree_ended(node, &out);
}

/* ---- The node's table has changed ---- */

void agree_table_used(struct kith_node *node)
{
    struct join_state *join = node->join;
    struct kith_proposer_out out;
    memset(&out, 0, sizeof out);
    join->finish_ms = 0;
    const struct pending *asked = pending_get(node, join->joiner);
    bool plan = asked && asked->asked == KITH_MSG_PLAN_REQ;
    bool member = plan ? kith_table_id_compare(&node->table->id, &join->plan) == 0
                       : kith_table_find(node->table, &join->joiner_info.uuid) != KITH_NO_MEMBER;
    if (member && !plan) {
        members_learn(node, &join->joiner_info);
    }
    if (kith_proposer_busy(&join->proposer)) {
        kith_proposer_learn(&join->proposer, node->table, &out);
        join->proposer_ms = out.timer_ms;
    }
    const struct kith_proposer *proposer = &join->proposer;
    if (join->joiner != 0 && !member && proposer->why != KITH_OK) {
        joiner_answer(node, proposer->why, core_text(node, "%s", proposer->reason));
    } else if (join->joiner != 0) {
        joiner_answer(node, member ? KITH_OK : KITH_EBUSY,
                      "another change of the table came first");
    }
}

/* ---- Seeing to it that a frozen node thaws ---- */

static bool finish_possible(const struct kith_node *node)
{
    uint32_t up = 1; /* this one */
    for (uint32_t i = 0; i < node->table->member_count; i++) {
        uint16_t peer = node->peer_of_member[i];
        up += peer != KITH_NO_PEER && peer_alive(&node->peers[peer]) ? 1 : 0;
    }
    return up >= node->table->member_count / 2 + 1;
}

/* When a frozen node steps in: UINT64_MAX where it would be in vain or something is under way. What
 * it looks at changes with events only, and it is asked after each. */
static uint64_t finish_due(struct kith_node *node)
{
    struct join_state *join = node->join;
    if (!join_frozen(node) || node->table_next || kith_proposer_busy(&join->proposer) ||
        !finish_possible(node)) {
        join->finish_ms = 0;
        return UINT64_MAX;
    }
    if (join->finish_ms == 0) {
        uint64_t random = core_random(node);
        join->finish_ms = node->now_ms + AGREE_FINISH_MS + random % AGREE_FINISH_MS;
        join->alone_ms = node->now_ms + random / AGREE_FINISH_MS % AGREE_ALONE_MS;
    }
    const struct kith_uuid *by = &join->acceptor.promised.proposer;
    const struct peer *peer = peer_find(node, by);
    bool alone = !peer || !peer_alive(peer); /* nobody else, or we ourselves, before a restart */
    return alone ? join->alone_ms : join->finish_ms;
}

void agree_tick(struct kith_node *node)
{
    struct join_state *join = node->join;
    struct kith_proposer_out out;
    if (!node->has_cluster) {
        return;
    }
    if (kith_proposer_busy(&join->proposer)) {
        if (node->now_ms >= join->proposer_ms) {
            uint64_t random = core_random(node);
            kith_proposer_tick(&join->proposer, node->now_ms, random, &out);
            agree_out(node, &out);
        }
        return;
    }
    if (node->now_ms >= finish_due(node)) {
        join->finish_ms = 0;
        uint64_t random = core_random(node);
        if (kith_proposer_start(&join->proposer, node->table, kith_bytes_make(NULL, 0),
                                node->now_ms, node->now_ms + AGREE_MS, random, &out) == KITH_OK) {
            agree_out(node, &out);
        } /* no memory: in a while again */
    }
}

uint64_t agree_due(struct kith_node *node)
{
    const struct join_state *join = node->join;
    if (!node->has_cluster) {
        return UINT64_MAX;
    }
    return kith_proposer_busy(&join->proposer) ? join->proposer_ms : finish_due(node);
}
