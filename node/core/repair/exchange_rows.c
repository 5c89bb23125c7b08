/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange_rows.c - anti-entropy of rows, once the leaves that differ are known (exchange.c):
 *
 *     LEAF (hashes of our rows) --> LEAF_ASKED (his rows that are not among them) --> ABSORB,
 *     and again, until none is left
 *
 * Each page is asked for with the hashes of what is here by then, so nothing must be remembered
 * between pages. Behind a page that has brought nothing new comes the next leaf. */
#include <string.h>

#include "core/internal.h"

/* Reads the hashes of what is here of the leaves that are left; or ends. */
void exchange_rows_next(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    if (exchange_rests(node, pending)) {
        return;
    }
    exchange->phase = EXCHANGE_LEAF;
    exchange->sums = NULL;
    exchange->rows = NULL;
    kith_arena_reset(&pending->arena);
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_LEAF, exchange_pair_of(node, pending)->partition);
    op->u.leaf.leaves = exchange_wanted(exchange, KITH_TREE_LEAVES);
    op->u.leaf.digest = true;
}

static void leaf_read(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    uint32_t count = done->u.leaf.row_count;
    struct kith_checksum *have = kith_arena_alloc(&node->arena, (count + 1u) * sizeof *have);
    if (!have) {
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        have[i] = done->u.leaf.rows[i].hash;
    }
    struct kith_msg *msg = exchange_ask(node, pending, KITH_MSG_LEAF_REQ);
    if (!msg) {
        return;
    }
    /* one leaf at least, though not all of its rows can be named: the others come in vain */
    exchange->end = done->u.leaf.end > exchange->leaf ? done->u.leaf.end : exchange->leaf + 1;
    exchange->phase = EXCHANGE_LEAF_ASKED;
    msg->u.leaf_req.table = node->table->id;
    msg->u.leaf_req.partition = exchange_pair_of(node, pending)->partition;
    msg->u.leaf_req.leaves = exchange_wanted(exchange, exchange->end);
    msg->u.leaf_req.have_count = count;
    msg->u.leaf_req.have = have;
    exchange_pair_of(node, pending)->tree_bytes += count * sizeof *have;
}

/* Tells those who watch the groups, as many as one step may; true: all of them. */
bool exchange_rows_tell(struct kith_node *node, struct pending_exchange *exchange)
{
    const struct kith_leaf_row *rows = exchange->rows;
    while (exchange->told < exchange->row_count &&
           node->exchanges.tells + KITH_WATCH_GROUP_MAX <= KITH_STEP_TELLS) {
        struct kith_replica_row run[KITH_BATCH_MAX];
        uint32_t first = exchange->told, count = 0;
        while (first + count < exchange->row_count && count < KITH_BATCH_MAX &&
               kith_group_compare(&rows[first + count].group, &rows[first].group) == 0) {
            run[count].name = rows[first + count].name;
            count++;
        }
        uint32_t before = node->effect_count;
        watch_tell_rows(node, &rows[first].group, NULL, count, run);
        node->exchanges.tells += node->effect_count - before;
        exchange->told += count;
    }
    return exchange->told == exchange->row_count;
}

/* The page is merged, and told. */
static void page_over(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    const struct kith_leaf_row *last = &exchange->rows[exchange->row_count - 1];
    const struct kith_key key = {last->group, last->name};
    if (!exchange->more) {
        exchange->leaf = exchange->end;
    } else {
        uint32_t leaf = kith_tree_leaf(&key) + (exchange->progress ? 0u : 1u);
        exchange->leaf = leaf > exchange->leaf ? leaf : exchange->leaf;
    }
    exchange_rows_next(node, pending);
}

static void absorbed(struct kith_node *node, struct pending *pending,
                     const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    exchange->progress = done->u.absorb.changed > 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < exchange->row_count; i++) {
        bytes += exchange->rows[i].name.size + exchange->rows[i].state.size;
    }
    exchange_brought(node, pending, done->u.absorb.changed, bytes);
    node->exchanges.taken[EXCHANGE_ROWS] += done->u.absorb.changed;
    if (done->u.absorb.failed > 0) { /* the next exchange tries again */
        exchange->failed = true;
        core_log(node, LEVEL_WARN, "partition %u: %u rows from %s could not be taken over",
                 exchange_pair_of(node, pending)->partition, done->u.absorb.failed,
                 node->peers[exchange->peer].info.address);
    }
    exchange_rows_recheck(node, pending);
}

void exchange_rows_recheck(struct kith_node *node, struct pending *pending)
{
    if (pending->u.exchange.phase != EXCHANGE_ABSORB || pending->op_out) {
        return;
    }
    if (exchange_rows_tell(node, &pending->u.exchange)) {
        page_over(node, pending);
    } else {
        pending_poke(node, pending); /* the rest in the next step */
    }
}

void exchange_rows_stored(struct kith_node *node, struct pending *pending,
                          const struct kith_store_done *done)
{
    if (pending->u.exchange.phase == EXCHANGE_LEAF) {
        leaf_read(node, pending, done);
    } else if (pending->u.exchange.phase == EXCHANGE_ABSORB) {
        absorbed(node, pending, done);
    }
}

/* ---- Answers ---- */

static bool copy_rows(struct pending *pending, const struct kith_leaf_res *res)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    struct kith_arena *arena = &pending->arena;
    struct kith_leaf_row *rows =
        kith_arena_copy(arena, res->rows, res->row_count * sizeof *rows);
    bool good = rows != NULL;
    for (uint32_t i = 0; good && i < res->row_count; i++) {
        rows[i].name.data = kith_arena_copy(arena, rows[i].name.data, rows[i].name.size);
        rows[i].state.data = kith_arena_copy(arena, rows[i].state.data, rows[i].state.size);
        good = rows[i].name.data && rows[i].state.data;
    }
    exchange->rows = rows;
    return good;
}

/* Every row is of the partition; an empty state is none. What comes twice is merged twice. */
static bool rows_sound(const struct kith_node *node, const struct pending *pending,
                       const struct kith_leaf_res *res)
{
    uint32_t partition = node->exchanges.pairs[pending->u.exchange.pair].partition;
    bool sound = true;
    for (uint32_t i = 0; i < res->row_count && sound; i++) {
        sound = res->rows[i].state.size > 0 &&
                kith_group_partition(&res->rows[i].group, node->table->partitions) == partition;
    }
    return sound;
}

void exchange_rows_got(struct kith_node *node, struct pending *pending,
                     const struct kith_leaf_res *res)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    if (!rows_sound(node, pending, res) || !copy_rows(pending, res)) {
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        return;
    }
    if (res->row_count == 0) {
        exchange->leaf = exchange->end;
        exchange_rows_next(node, pending);
        return;
    }
    if (join_frozen(node)) {
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < res->row_count; i++) {
        bytes += res->rows[i].name.size + res->rows[i].state.size;
    }
    pace_repair_took(node, exchange->peer, bytes);
    exchange->phase = EXCHANGE_ABSORB;
    exchange->more = res->more;
    exchange->told = 0;
    exchange->row_count = res->row_count;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_ABSORB, exchange_pair_of(node, pending)->partition);
    op->u.absorb.wall_ms = node->wall_ms;
    op->u.absorb.row_count = res->row_count;
    op->u.absorb.rows = exchange->rows;
}
