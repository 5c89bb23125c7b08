/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * asks.c - messages that wait for an answer, and what a request holds until it is released.
 *
 * An ask's id is (generation, index): an answer finds its ask without a search, and one that comes
 * too late, or from another connection, finds nothing. */
#include <string.h>

#include "client/core.h"

static struct cc_ask *ask_new(struct kith_client_core *core)
{
    if (core->free_asks == NULL) {
        if (core->ask_block_count == CC_ASK_BLOCKS) {
            return NULL;
        }
        struct cc_ask *block = kith_calloc(CC_ASK_BLOCK, sizeof(*block));
        if (block == NULL) {
            return NULL;
        }
        uint32_t first = core->ask_block_count * CC_ASK_BLOCK;
        core->ask_blocks[core->ask_block_count++] = block;
        for (uint32_t i = CC_ASK_BLOCK; i > 0; i--) {
            /* generation 1, so that no id is 0 */
            block[i - 1].id = (UINT64_C(1) << CC_ASK_BITS) | (first + i - 1);
            block[i - 1].next = core->free_asks;
            core->free_asks = &block[i - 1];
        }
    }
    struct cc_ask *ask = core->free_asks;
    core->free_asks = ask->next;
    return ask;
}

static void ask_free(struct kith_client_core *core, struct cc_ask *ask)
{
    if (ask->bulk_put) {
        ask->peer->bulk_asks--;
        core->waiting_dirty = true;
    }
    ask->op = NULL;
    ask->id += UINT64_C(1) << CC_ASK_BITS;
    ask->next = core->free_asks;
    core->free_asks = ask;
}

bool cc_ask(struct kith_client_core *core, struct cc_op *op, struct cc_peer *peer, uint32_t rep,
            struct kith_msg *msg)
{
    if (msg == NULL) {
        return false;
    }
    struct cc_link *link = cc_peer_link(core, peer, kith_wire_is_bulk(msg->kind));
    struct cc_ask *ask = link == NULL ? NULL : ask_new(core);
    if (ask == NULL) {
        return false;
    }
    ask->conn = link->conn;
    ask->sent_ms = core->now;
    ask->op = op;
    ask->peer = peer;
    ask->through = NULL;
    ask->rep = rep;
    ask->bulk_put = msg->kind == KITH_MSG_CHUNK_PUT_REQ;
    if (ask->bulk_put) {
        peer->bulk_asks++;
    }
    ask->next = op->asks;
    op->asks = ask;
    msg->id = ask->id;
    cc_send(core, ask->conn, msg);
    return true;
}

bool cc_ask_through(struct kith_client_core *core, struct cc_op *op, uint32_t rep,
                    struct cc_peer *through, uint64_t *ret_id)
{
    struct cc_link *link = cc_peer_link(core, through, true);
    struct cc_ask *ask = link == NULL ? NULL : ask_new(core);
    if (ask == NULL) {
        return false;
    }
    ask->conn = link->conn;
    ask->sent_ms = core->now;
    ask->op = op;
    ask->peer = op->reps[rep].peer;
    ask->through = through;
    ask->rep = rep;
    ask->bulk_put = true;
    ask->peer->bulk_asks++;
    ask->next = op->asks;
    op->asks = ask;
    op->reps[rep].state = CC_REP_ASKED;
    op->reps[rep].asked_ms = core->now;
    op->reps[rep].hedged = false;
    op->reps[rep].missed = false;
    op->u.chunk.sent++;
    *ret_id = ask->id;
    return true;
}

static void ask_unlink(struct cc_op *op, const struct cc_ask *ask)
{
    struct cc_ask **at = &op->asks;
    while (*at != ask) {
        at = &(*at)->next;
    }
    *at = ask->next;
}

void cc_ask_forget(struct kith_client_core *core, struct cc_op *op, uint32_t rep)
{
    struct cc_ask **at = &op->asks;
    while (*at != NULL) {
        struct cc_ask *ask = *at;
        if (ask->rep == rep) {
            *at = ask->next;
            ask_free(core, ask);
        } else {
            at = &ask->next;
        }
    }
}

void cc_ask_forget_all(struct kith_client_core *core, struct cc_op *op)
{
    while (op->asks != NULL) {
        struct cc_ask *ask = op->asks;
        op->asks = ask->next;
        ask_free(core, ask);
    }
}

bool cc_ask_take(struct kith_client_core *core, uint64_t conn, uint64_t id, struct cc_ask *ret_ask)
{
    uint32_t index = (uint32_t)(id & ((1u << CC_ASK_BITS) - 1));
    if (index >= core->ask_block_count * CC_ASK_BLOCK) {
        return false;
    }
    struct cc_ask *ask = &core->ask_blocks[index / CC_ASK_BLOCK][index % CC_ASK_BLOCK];
    if (ask->id != id || ask->op == NULL || ask->conn != conn) {
        return false;
    }
    *ret_ask = *ask;
    ask_unlink(ask->op, ask);
    ask_free(core, ask);
    return true;
}

void cc_asks_lost(struct kith_client_core *core, uint64_t conn)
{
    for (uint32_t i = 0; i < core->ask_block_count * CC_ASK_BLOCK; i++) {
        struct cc_ask *ask = &core->ask_blocks[i / CC_ASK_BLOCK][i % CC_ASK_BLOCK];
        if (ask->op == NULL || ask->conn != conn) {
            continue;
        }
        struct cc_op *op = ask->op;
        uint32_t rep = ask->rep;
        ask_unlink(op, ask);
        ask_free(core, ask);
        cc_op_lost(core, op, rep);
    }
}

void cc_asks_release(struct kith_client_core *core)
{
    for (uint32_t i = 0; i < core->ask_block_count; i++) {
        kith_free(core->ask_blocks[i]);
    }
}

bool cc_op_hold(struct cc_op *op, struct kith_msg_box *box, struct kith_blob *blob)
{
    struct cc_held *held = kith_arena_alloc(&op->arena, sizeof(*held));
    if (held == NULL) {
        return false;
    }
    held->box = box == NULL ? NULL : kith_msg_box_hold(box);
    held->blob = blob == NULL ? NULL : kith_blob_hold(blob);
    held->next = op->held;
    op->held = held;
    return true;
}

bool cc_op_keep(struct cc_op *op, bool held, struct kith_bytes from, struct kith_bytes *ret_bytes)
{
    if (held || from.size == 0) {
        *ret_bytes = from;
        return true;
    }
    void *copy = kith_arena_copy(&op->arena, from.data, from.size);
    if (copy == NULL) {
        return false;
    }
    *ret_bytes = kith_bytes_make(copy, from.size);
    return true;
}
