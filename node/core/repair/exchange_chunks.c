/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange_chunks.c - anti-entropy of chunks, once the leaves that differ are known (exchange.c):
 *
 *     LIST_ASKED (ids and checksums of what he has) --> LACK (which of them are not here) --> FETCH,
 *     and again with the next page, until none is left
 *
 * Each chunk is fetched by a pending of its own: asked for on the bulk connection (bulk.c), stored,
 * and gone; a few at a time, so memory is bounded. A chunk that he cannot give, or that cannot be
 * stored, holds up no other: its leaf still differs, and the next exchange tries again. */
#include <string.h>

#include "core/internal.h"

/* ---- Which are not here ---- */

void exchange_chunks_next(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    if (exchange_rests(node, pending)) {
        return;
    }
    exchange->sums = NULL;
    exchange->lack = NULL;
    kith_arena_reset(&pending->arena);
    struct kith_msg *msg = exchange_ask(node, pending, KITH_MSG_CHUNK_LIST_REQ);
    if (!msg) {
        return;
    }
    exchange->phase = EXCHANGE_LIST_ASKED;
    msg->u.chunk_list_req.table = node->table->id;
    msg->u.chunk_list_req.partition = exchange_pair_of(node, pending)->partition;
    msg->u.chunk_list_req.leaves = exchange_wanted(exchange, KITH_TREE_LEAVES);
    msg->u.chunk_list_req.has_after = exchange->has_after;
    msg->u.chunk_list_req.after = exchange->after;
}

/* Every chunk is of the partition, and the page leads on. */
static bool list_sound(struct kith_node *node, struct pending *pending,
                       const struct kith_chunk_list_res *res)
{
    uint32_t partition = exchange_pair_of(node, pending)->partition;
    bool sound = !res->more || res->chunk_count > 0;
    for (uint32_t i = 0; i < res->chunk_count && sound; i++) {
        sound = kith_chunk_partition(&res->chunks[i].id, node->table->partitions) == partition;
    }
    return sound;
}

void exchange_chunks_got(struct kith_node *node, struct pending *pending,
                         const struct kith_chunk_list_res *res)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    const struct kith_chunk_entry *chunks = NULL;
    if (list_sound(node, pending, res)) {
        chunks = kith_arena_copy(&pending->arena, res->chunks, res->chunk_count * sizeof *chunks);
    }
    if (!chunks) {
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        return;
    }
    if (res->chunk_count == 0) {
        exchange->leaf = KITH_TREE_LEAVES;
        exchange_chunks_next(node, pending);
        return;
    }
    exchange->more = res->more;
    exchange->after = chunks[res->chunk_count - 1].id;
    exchange->phase = EXCHANGE_LACK;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_CHUNK_LACK,
                                          exchange_pair_of(node, pending)->partition);
    op->u.chunk_lack.count = res->chunk_count;
    op->u.chunk_lack.chunks = chunks;
}

void exchange_chunks_stored(struct kith_node *node, struct pending *pending,
                            const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    if (exchange->phase != EXCHANGE_LACK) {
        return;
    }
    exchange->lack_count = done->u.chunk_list.count;
    exchange->lack_at = 0;
    exchange->lack = kith_arena_copy(&pending->arena, done->u.chunk_list.chunks,
                                     exchange->lack_count * sizeof *exchange->lack);
    if (!exchange->lack) {
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    exchange->phase = EXCHANGE_FETCH;
    exchange_chunks_recheck(node, pending);
}

/* ---- Fetching ---- */

static bool fetch_begin(struct kith_node *node, struct pending *parent, uint64_t conn)
{
    struct pending_exchange *exchange = &parent->u.exchange;
    struct pending *pending = pending_new(node, PENDING_FETCH, 0, NULL, KITH_FETCH_TIMEOUT_MS);
    if (!pending) {
        return false;
    }
    struct pending_fetch *fetch = &pending->u.fetch;
    fetch->parent = parent->id;
    fetch->peer = exchange->peer;
    fetch->chunk = exchange->lack[exchange->lack_at];
    fetch->waiting = true;
    exchange->lack_at++;
    exchange->fetches++;
    node->exchanges.fetches++;
    pace_repair_took(node, exchange->peer, fetch->chunk.size);
    struct kith_chunk_get_req *req =
        &core_send(node, conn, KITH_MSG_CHUNK_GET_REQ, pending->id)->u.chunk_get_req;
    req->table = node->table->id;
    req->timeout_ms = KITH_FETCH_TIMEOUT_MS;
    req->id = fetch->chunk.id;
    req->refs = true;
    return true;
}

/* Whether one more may begin now; if not, something will go on with it: a fetch that ends, the
 * connection, or the time. */
static bool fetch_may(struct kith_node *node, struct pending *pending, uint64_t *ret_conn)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    uint64_t wait_ms = pace_repair_wait_ms(node, exchange->peer);
    bool frozen = join_frozen(node);
    bool late = node->now_ms + wait_ms >= exchange->until_ms || frozen;
    if (exchange->fetches > 0 &&
        (exchange->fetches == KITH_FETCHES_MAX || late || wait_ms > 0 || exchange_busy(node))) {
        return false; /* that one looks again when it ends */
    }
    if (late) {
        exchange_end(node, pending, wait_ms > 0 ? wait_ms : frozen ? KITH_EXCHANGE_AGAIN_MS : 1);
        return false;
    }
    if (exchange_busy(node)) { /* one at a time, and a rest before it */
        uint64_t rest_ms = exchange->rested ? 0 : KITH_EXCHANGE_GAP_MS;
        wait_ms = wait_ms > rest_ms ? wait_ms : rest_ms;
    }
    if (wait_ms > 0) {
        exchange->rested = true;
        exchange_pause(node, pending, wait_ms);
        return false;
    }
    if (!bulk_conn(node, exchange->peer, ret_conn)) {
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        return false;
    }
    return *ret_conn != 0;
}

void exchange_chunks_recheck(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    uint64_t conn = 0;
    while (exchange->lack_at < exchange->lack_count) {
        if (!fetch_may(node, pending, &conn)) {
            return;
        }
        exchange->rested = false;
        if (!fetch_begin(node, pending, conn)) {
            exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
            return;
        }
    }
    if (exchange->fetches > 0) {
        return;
    }
    exchange->has_after = exchange->more;
    exchange->leaf = exchange->more ? kith_tree_chunk_leaf(&exchange->after) : KITH_TREE_LEAVES;
    exchange_chunks_next(node, pending);
}

/* The exchange that it is for, while that goes on. */
static struct pending *parent_of(struct kith_node *node, const struct pending *pending)
{
    struct pending *parent = pending_get(node, pending->u.fetch.parent);
    return parent && parent->kind == PENDING_EXCHANGE && !parent->answered ? parent : NULL;
}

static void fetch_end(struct kith_node *node, struct pending *pending, bool stored)
{
    struct pending *parent = pending->answered ? NULL : parent_of(node, pending);
    if (!pending->answered) {
        node->exchanges.fetches--;
        node->exchanges.due_ms = node->now_ms;
    }
    pending->u.fetch.waiting = false;
    pending_end(node, pending);
    if (stored) {
        node->exchanges.taken[EXCHANGE_CHUNKS]++;
    }
    if (parent) {
        parent->u.exchange.fetches--;
        if (stored) {
            exchange_brought(node, parent, 1, pending->u.fetch.chunk.size);
        }
        parent->u.exchange.failed = parent->u.exchange.failed || !stored;
        exchange_chunks_recheck(node, parent);
    }
}

/* It is tried again with the next exchange: this one ends, and the others under way for it go on to
 * their own ends. */
static void fetch_break(struct kith_node *node, struct pending *pending)
{
    struct pending *parent = parent_of(node, pending);
    if (parent) {
        exchange_end(node, parent, KITH_EXCHANGE_FAILED_MS);
    }
    fetch_end(node, pending, false);
}

void fetch_lost(struct kith_node *node, struct pending *pending)
{
    fetch_break(node, pending);
}

void fetch_expire(struct kith_node *node, struct pending *pending)
{
    bool unanswered = pending->u.fetch.waiting;
    uint16_t peer = pending->u.fetch.peer;
    fetch_break(node, pending);
    if (unanswered) {
        bulk_give_up(node, peer, "no answer");
    }
}

void fetch_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_chunk_res *res)
{
    struct pending_fetch *fetch = &pending->u.fetch;
    if (pending->answered || !fetch->waiting || fetch->peer != peer) {
        return;
    }
    fetch->waiting = false;
    const char *from = node->peers[peer].info.address;
    if (res->status.err != KITH_OK) {
        core_log(node, LEVEL_WARN, "a chunk could not be fetched from %s: %s", from,
                 res->status.message);
        fetch_end(node, pending, false);
        return;
    }
    bool sound = res->payload && res->payload->size == fetch->chunk.size &&
                 kith_checksum_equal(&res->checksum, &fetch->chunk.checksum);
    if (!sound || join_frozen(node)) {
        if (!sound) {
            core_log(node, LEVEL_WARN, "%s sent another chunk than it had named", from);
        }
        fetch_end(node, pending, false);
        return;
    }
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_CHUNK_PUT,
                   kith_chunk_partition(&fetch->chunk.id, node->table->partitions));
    op->u.chunk_put.id = fetch->chunk.id;
    op->u.chunk_put.checksum = fetch->chunk.checksum; /* the store compares */
    op->u.chunk_put.ref_count = res->ref_count;
    op->u.chunk_put.refs = res->refs;
    op->u.chunk_put.payload = res->payload;
}

void fetch_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done)
{
    core_stored_last(node, pending);
    if (done->err == KITH_OK) {
        fetch_end(node, pending, true);
        return;
    }
    core_log(node, LEVEL_WARN, "a chunk from %s could not be stored: %s",
             node->peers[pending->u.fetch.peer].info.address, done->message);
    if (done->err == KITH_ECORRUPT || done->err == KITH_EINVAL) {
        fetch_end(node, pending, false); /* this one only */
    } else {
        fetch_break(node, pending);
    }
}

/* ---- The bulk connection ---- */

void exchange_bulk_up(struct kith_node *node, uint16_t peer)
{
    for (uint32_t i = 0; i < KITH_PENDING_MAX; i++) {
        struct pending *pending = &node->pendings[i];
        if (pending->kind == PENDING_EXCHANGE && !pending->answered &&
            pending->u.exchange.phase == EXCHANGE_FETCH && pending->u.exchange.peer == peer) {
            pending_poke(node, pending);
        }
    }
}

void exchange_bulk_down(struct kith_node *node, uint16_t peer)
{
    const struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < KITH_PENDING_MAX; i++) {
        struct pending *pending = &node->pendings[i];
        if (exchanges->out[EXCHANGE_CHUNKS] + exchanges->fetches == 0) {
            return;
        }
        if (pending->answered) {
            continue;
        }
        if (pending->kind == PENDING_FETCH && pending->u.fetch.waiting &&
            pending->u.fetch.peer == peer) {
            fetch_lost(node, pending);
        } else if (pending->kind == PENDING_EXCHANGE &&
                   pending->u.exchange.phase == EXCHANGE_FETCH && !pending->u.exchange.paused &&
                   pending->u.exchange.fetches == 0 && pending->u.exchange.peer == peer) {
            exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        }
    }
}
