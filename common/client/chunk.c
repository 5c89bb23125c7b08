/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * chunk.c - CHUNK_PUT to all owners at once, CHUNK_GET from one.
 *
 * A chunk is immutable and bears its checksum, so any copy with the right checksum is the right
 * one: a put is done when W owners have it, and a read asks one owner, the next when it fails or is
 * late.
 *
 * Owners in another zone get it through one of them (relay.c).
 *
 * The copies beyond W go on after the answer (the op lingers). To bound what lies in memory, each
 * node has a window of unanswered puts, and while CC_LINGER_MAX ops linger an answer waits for all
 * its live owners, up to LINGER_MS: that is the brake for a writer who is faster than the slowest
 * node. A node that is silent does not brake.
 *
 * THIN (sloppy alone). Where the owners that can be reached are fewer than W, a chunk is put by
 * those, flushed: what is acknowledged lies on as many disks as there are nodes. No other node
 * stands in: a reader of an immutable chunk needs one copy, and the owners bring each other what
 * they lack when they are back (node/core/repair/exchange_chunks.c). */
#include <string.h>

#include "client/core.h"

#define LINGER_MS 1000u

/* The answer brings no table along: it is asked for. */
static void stale(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    (void)cc_replica_stale(core, op, i, kith_bytes_make(NULL, 0)); /* the drive sees which */
}

struct kith_msg *cc_chunk_put_message(struct kith_client_core *core, const struct cc_op *op)
{
    const struct cc_chunk *chunk = &op->u.chunk;
    struct kith_msg *msg = cc_message(core, KITH_MSG_CHUNK_PUT_REQ);
    if (msg != NULL) {
        struct kith_chunk_put_req *req = &msg->u.chunk_put_req;
        req->table = op->table->id;
        req->timeout_ms = cc_op_left_ms(core, op);
        req->id = chunk->id;
        req->checksum = chunk->checksum;
        req->durability = chunk->durability;
        req->ref_count = chunk->ref_count;
        req->refs = chunk->refs;
        req->payload = chunk->payload;
        req->thin = chunk->thin;
    }
    return msg;
}

void cc_chunk_put_sent(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                       struct kith_msg *msg)
{
    struct cc_chunk *chunk = &op->u.chunk;
    cc_replica_ask(core, op, i, msg);
    if (op->reps[i].state == CC_REP_ASKED) {
        chunk->flushed = chunk->thin ? chunk->flushed | 1u << i : chunk->flushed & ~(1u << i);
        chunk->sent++;
    }
}

static void ask_put(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    cc_chunk_put_sent(core, op, i, cc_chunk_put_message(core, op));
}

/* Whether an owner that has not answered is worth waiting for, now that W have. */
static bool rest_under_way(struct kith_client_core *core, const struct cc_op *op)
{
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        if (rep->state == CC_REP_ASKED) {
            return true;
        }
        if (rep->state == CC_REP_NEW && !rep->peer->slow && !cc_peer_down(core, rep->peer, true)) {
            return true;
        }
    }
    return false;
}

static bool brake(struct kith_client_core *core, struct cc_op *op)
{
    if (core->lingering < CC_LINGER_MAX || !rest_under_way(core, op)) {
        return false;
    }
    uint64_t until_ms = 0;
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        uint64_t from_ms = rep->asked_ms > op->started_ms ? rep->asked_ms : op->started_ms;
        if (rep->state == CC_REP_HAVE || rep->peer->slow) {
            continue;
        }
        (void)cc_peer_silent(core, op, rep->peer, from_ms); /* then it is slow, and this is driven */
        if (from_ms + LINGER_MS > until_ms) {
            until_ms = from_ms + LINGER_MS;
        }
    }
    op->waits = true;
    if (core->now >= until_ms) {
        return false;
    }
    cc_op_wake(core, op, until_ms);
    return true;
}

static void put_finish(struct kith_client_core *core, struct cc_op *op, uint32_t have)
{
    op->result.err = KITH_OK;
    op->result.message = "";
    op->result.u.put.copies = have;
    op->lingers = core->lingering < CC_LINGER_MAX && rest_under_way(core, op);
    cc_op_finish(core, op);
}

/* Owners that have it or may still take it as things are now: a mask. */
static uint32_t put_possible(const struct kith_client_core *core, const struct cc_op *op)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < op->slots; i++) {
        const struct cc_rep *rep = &op->reps[i];
        bool there = rep->state == CC_REP_HAVE || rep->state == CC_REP_ASKED ||
                     !cc_peer_down(core, rep->peer, true);
        mask |= there && !rep->final ? 1u << i : 0;
    }
    return mask;
}

/* Too few owners can be reached. Not at the first sight of it, because a connection that was lost
 * may be back at once, and a node that came back is tried again only after the back-off; true: the
 * op has ended. */
static bool put_short(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t possible = put_possible(core, op);
    if (kith_quorum_met(&op->quorum, possible)) {
        op->short_ms = 0;
        return false;
    }
    op->short_ms = op->short_ms == 0 ? core->now : op->short_ms;
    if (core->now - op->short_ms < CC_SHORT_MS) {
        cc_op_wake(core, op, op->short_ms + CC_SHORT_MS);
        return false;
    }
    char text[CC_MESSAGE_SIZE];
    memcpy(text, op->message, sizeof(text));
    cc_op_fail(core, op, op->u.chunk.sent > 0 ? KITH_EUNKNOWN : KITH_EUNREACH,
               "%u of the %u owners that must take the chunk can be reached (%.170s)",
               (uint32_t)__builtin_popcount(possible), op->need,
               text[0] != '\0' ? text : "the others are down");
    return true;
}

/* Whether the owner may have it soon. */
static bool may_take(struct kith_client_core *core, struct cc_op *op, struct cc_rep *rep)
{
    if (rep->state == CC_REP_HAVE || rep->final || rep->peer->mute) {
        return false;
    }
    if (rep->state == CC_REP_ASKED) {
        return !cc_peer_mute(core, op, rep->peer, rep->asked_ms);
    }
    uint64_t lost_ms = cc_peer_lost_for(core, rep->peer, true);
    if (!cc_peer_down(core, rep->peer, true) || lost_ms < CC_THIN_MS) {
        cc_op_wake(core, op, core->now + CC_THIN_MS - (lost_ms < CC_THIN_MS ? lost_ms : 0));
        return true;
    }
    return false;
}

/* Fewer than W have it, and nobody else will soon: flushed, that is enough. */
static bool put_thin(struct kith_client_core *core, struct cc_op *op, uint32_t have)
{
    uint32_t least = core->w_min > 0 ? core->w_min : 1;
    if (op->strict || have < least) {
        return false;
    }
    bool others = false;
    for (uint32_t i = 0; i < op->slots; i++) { /* all: each is asked for a sign of life */
        others = may_take(core, op, &op->reps[i]) || others;
    }
    if (others) {
        return false;
    }
    op->u.chunk.durability = KITH_DURABLE_DISK;
    op->u.chunk.thin = true;
    for (uint32_t i = 0; i < op->slots; i++) {
        bool flushed = (op->u.chunk.flushed >> i & 1u) != 0;
        if (op->reps[i].state != CC_REP_HAVE || flushed) {
            continue;
        }
        have--;
        if (cc_peer_link(core, op->reps[i].peer, true) != NULL) {
            ask_put(core, op, i);
            others = true;
        }
    }
    if (!others && have >= least) {
        put_finish(core, op, have);
    }
    return others || have >= least;
}

/* Fewer than W owners can have it, and asking again changes nothing. */
static bool put_impossible(const struct cc_op *op)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < op->slots; i++) {
        left |= op->reps[i].final ? 0 : 1u << i;
    }
    return !kith_quorum_met(&op->quorum, left);
}

void cc_chunk_put_drive(struct kith_client_core *core, struct cc_op *op)
{
    if (!cc_replicas_prepare(core, op, true)) {
        return;
    }
    cc_relay_look(core, op);
    cc_relay_ask(core, op);
    for (uint32_t i = 0; i < op->slots; i++) {
        struct cc_rep *rep = &op->reps[i];
        if (rep->state == CC_REP_NEW && cc_peer_link(core, rep->peer, true) != NULL &&
            rep->peer->bulk_asks < CC_WINDOW) {
            ask_put(core, op, i);
        }
    }
    uint32_t have = cc_replicas_count(op, CC_REP_HAVE);
    if (op->done) {
        op->waits = true;
        if (!rest_under_way(core, op)) {
            cc_op_end(core, op);
        }
        return;
    }
    if (cc_met(op)) {
        if (!brake(core, op)) {
            put_finish(core, op, have);
        }
        return;
    }
    op->waits = true; /* for links and windows */
    if (put_thin(core, op, have)) {
        return;
    }
    if (put_impossible(op)) {
        char text[CC_MESSAGE_SIZE];
        memcpy(text, op->message, sizeof(text));
        cc_op_fail(core, op, op->last_err, "fewer than %u owners took the chunk (%.200s)", op->need,
                   text);
    } else if (!put_short(core, op) && cc_replicas_count(op, CC_REP_FAILED) > 0) {
        cc_replicas_again(core, op);
    }
}

void cc_chunk_put_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                         const struct kith_msg *msg)
{
    const struct kith_chunk_res *res = &msg->u.chunk_res;
    bool relayed = (op->u.chunk.relayed >> i & 1u) != 0;
    bool good = msg->kind == KITH_MSG_CHUNK_RES && res->status.err == KITH_OK;
    if (!good && !relayed) { /* a relay: it has passed nothing on, perhaps */
        cc_relay_fail(core, op, i);
    }
    op->u.chunk.relayed &= ~(1u << i);
    if (msg->kind != KITH_MSG_CHUNK_RES) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers something else");
    } else if (res->status.err == KITH_EUNREACH && relayed) {
        op->u.chunk.direct |= 1u << i; /* the relay says so */
        op->reps[i].state = CC_REP_NEW;
    } else if (res->status.err == KITH_ESTALE && !op->done) {
        stale(core, op, i);
    } else if (res->status.err != KITH_OK) {
        enum kith_err err = res->status.err;
        cc_replica_failed(core, op, i, err, res->status.message);
        op->reps[i].final = err == KITH_ENOSPC || err == KITH_EROFS || err == KITH_EINVAL ||
                            err == KITH_ECORRUPT || err == KITH_ETOOBIG || err == KITH_EREFUSED ||
                            err == KITH_EPERM;
    } else {
        op->reps[i].state = CC_REP_HAVE;
        op->reps[i].had_ms = core->now;
        op->reps[i].err = KITH_OK;
    }
    cc_drive(core, op);
}

/* ---- Reading ---- */

static void ask_get(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    struct kith_msg *msg = cc_message(core, KITH_MSG_CHUNK_GET_REQ);
    if (msg != NULL) {
        struct kith_chunk_get_req *req = &msg->u.chunk_get_req;
        req->table = op->table->id;
        req->timeout_ms = cc_op_left_ms(core, op);
        req->id = op->u.chunk.id;
        req->offset = op->u.chunk.offset;
        req->size = op->u.chunk.size;
        req->refs = op->u.chunk.with_refs;
    }
    cc_replica_ask(core, op, i, msg);
}

/* Every owner has answered or cannot: what is the answer? true: the op has ended. Any copy is the
 * right one, and a former owner may still have what the new ones have not got yet. */
static bool get_hopeless(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t missing = 0;
    uint32_t corrupt = 0;
    if (op->rep_count == op->slots) {
        for (uint32_t i = 0; i < op->slots; i++) {
            if (op->reps[i].err != KITH_ENOTFOUND && op->reps[i].err != KITH_ECORRUPT) {
                return false; /* one that cannot be reached may have it */
            }
        }
        cc_replicas_fallbacks(core, op);
        if (op->rep_count > op->slots) {
            cc_op_wake(core, op, core->now);
            return true;
        }
    }
    for (uint32_t i = op->slots; i < op->rep_count; i++) {
        if (op->reps[i].state == CC_REP_NEW || op->reps[i].state == CC_REP_ASKED) {
            return false;
        }
    }
    for (uint32_t i = 0; i < op->slots; i++) {
        missing += op->reps[i].err == KITH_ENOTFOUND ? 1 : 0;
        corrupt += op->reps[i].err == KITH_ECORRUPT ? 1 : 0;
    }
    if (missing + corrupt < op->slots) {
        return false; /* one that cannot be reached may have it */
    }
    const struct cc_peer *other = cc_replicas_unasked(core, op);
    for (uint32_t i = op->slots; i < op->rep_count; i++) {
        enum kith_err err = op->reps[i].err;
        other = err == KITH_ENOTFOUND || err == KITH_ECORRUPT ? other : op->reps[i].peer;
    }
    if (other != NULL) { /* an owner until a moment ago, perhaps */
        cc_op_fail(core, op, KITH_EUNREACH,
                   "no owner has the chunk, and %s, which may have it, cannot be reached",
                   other->address);
        return true;
    }
    cc_op_fail(core, op, corrupt > 0 ? KITH_ECORRUPT : KITH_ENOTFOUND,
               corrupt > 0 ? "no owner has an undamaged copy of the chunk"
                           : "no owner has the chunk");
    return true;
}

void cc_chunk_get_drive(struct kith_client_core *core, struct cc_op *op)
{
    if (!cc_replicas_prepare(core, op, true)) {
        return;
    }
    op->need = 1;
    cc_replicas_late(core, op, KITH_CLIENT_CHUNK_HEDGE_MS, CC_READ_TRY_MS);
    uint32_t asked = cc_replicas_count(op, CC_REP_ASKED);
    /* the last byte of the id is random: the load spreads over the owners */
    uint32_t first = op->u.chunk.id.bytes[KITH_CHUNK_ID_SIZE - 1] % op->table->owner_slots;
    while (asked < op->need + op->extra) {
        uint32_t next = cc_replicas_next(core, op, true, first);
        if (next == CC_REPS_MAX) {
            break;
        }
        ask_get(core, op, next);
        asked = cc_replicas_count(op, CC_REP_ASKED);
    }
    op->waits = asked < op->need + op->extra;
    if (asked == 0 && !cc_replicas_hope(core, op, true)) {
        if (get_hopeless(core, op)) {
            return;
        }
        cc_replicas_again(core, op);
    }
    cc_replicas_watch(core, op, KITH_CLIENT_CHUNK_HEDGE_MS, CC_READ_TRY_MS);
}

/* The payload is what was asked for, whole and undamaged. */
static bool payload_is_good(const struct cc_chunk *chunk, const struct kith_chunk_res *res)
{
    if (res->payload == NULL || res->chunk_size > KITH_CHUNK_MAX) {
        return false;
    }
    uint32_t left = res->chunk_size > chunk->offset ? res->chunk_size - chunk->offset : 0;
    uint32_t expected = chunk->size == 0 || chunk->size > left ? left : chunk->size;
    if (res->payload->size != expected) {
        return false;
    }
    struct kith_checksum sum =
        kith_checksum_of(kith_bytes_make(res->payload->data, res->payload->size));
    static const struct kith_checksum unknown;
    bool whole = chunk->offset == 0 && expected == res->chunk_size &&
                 !kith_checksum_equal(&chunk->checksum, &unknown);
    return kith_checksum_equal(&sum, whole ? &chunk->checksum : &res->checksum);
}

void cc_chunk_get_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                         const struct kith_msg *msg)
{
    const struct kith_chunk_res *res = &msg->u.chunk_res;
    const struct kith_chunk_id *refs = NULL;
    size_t refs_size = 0;
    if (msg->kind == KITH_MSG_CHUNK_RES && res->status.err == KITH_OK && op->u.chunk.with_refs) {
        refs_size = res->ref_count * sizeof *refs;
        refs = kith_arena_copy(&op->arena, res->refs, refs_size);
    }
    if (msg->kind != KITH_MSG_CHUNK_RES) {
        cc_replica_failed(core, op, i, KITH_EFORMAT, "answers something else");
    } else if (res->status.err == KITH_ESTALE) {
        stale(core, op, i);
    } else if (cc_replica_denied(core, op, i, &res->status)) {
        return;
    } else if (res->status.err != KITH_OK) {
        cc_replica_failed(core, op, i, res->status.err, res->status.message);
    } else if (op->u.chunk.with_refs && refs == NULL) {
        cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
    } else if (!payload_is_good(&op->u.chunk, res)) {
        cc_replica_failed(core, op, i, KITH_ECORRUPT, "sends a damaged chunk");
    } else if (!cc_op_hold(op, NULL, res->payload)) {
        cc_replica_failed(core, op, i, KITH_ENOMEM, NULL);
    } else {
        op->result.err = KITH_OK;
        op->result.message = "";
        op->result.u.chunk.payload = res->payload;
        op->result.u.chunk.chunk_size = res->chunk_size;
        op->result.u.chunk.checksum = res->checksum;
        op->result.u.chunk.ref_count = refs_size > 0 ? res->ref_count : 0;
        op->result.u.chunk.refs = refs;
        cc_op_finish(core, op);
        return;
    }
    cc_drive(core, op);
}
