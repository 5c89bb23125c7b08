/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange.c - anti-entropy: what other owners of our partitions have, and we have not.
 *
 * An exchange is of one partition with one other owner, a PAIR, and brings his rows here; he does
 * the same with us on his own. So each owner ends with what both had, and nobody needs to be told
 * that he is behind.
 *
 *     SUMS (our leaves) --> SUMS_ASKED (his, where the roots differ) --> of the leaves that differ:
 *         LEAF (hashes of our rows) --> LEAF_ASKED (his rows that are not among them) --> ABSORB,
 *         and again, until none is left
 *
 * A few leaves that differ may be writes under way: they are looked at again a second later, and
 * only those that differ then, too, are fetched. Each page is asked for with the hashes of what is
 * here by then, so nothing must be remembered between pages, and an exchange that breaks off is
 * begun again where it was. Behind a page that has brought nothing new comes the next leaf.
 *
 * WHEN. Each pair once in half an hour to an hour; at once with a node that has come up, for either
 * side may have missed something, and after a change of the table. KITH_EXCHANGES_MAX at a time,
 * and while many requests are under way, one at most every KITH_EXCHANGE_GAP_MS.
 *
 * DESIGN section 6, with two differences: the level between root and leaves is left out, for the
 * 4 KiB of all leaves cost less than another round trip; and a leaf is told by the hashes of its
 * rows alone, for they cover the keys. */
#include <string.h>

#include "core/internal.h"

/* ---- Pairs ---- */

void exchange_release(struct kith_node *node)
{
    kith_free(node->exchanges.pairs);
}

/* Those under way are of the table before: they end without a word. */
static void end_all(struct kith_node *node)
{
    for (uint32_t i = 0; node->exchanges.out > 0 && i < KITH_PENDING_MAX; i++) {
        struct pending *pending = &node->pendings[i];
        if (pending->kind == PENDING_EXCHANGE && !pending->answered) {
            exchange_end(node, pending, 0);
        }
    }
}

/* False: memory is short, and it is tried again. */
static bool make_pairs(struct kith_node *node)
{
    const struct kith_table *table = node->table;
    uint32_t most = table->partitions * table->owner_slots, count = 0;
    struct exchange_pair *pairs = kith_calloc(most, sizeof *pairs);
    if (!pairs) {
        return false;
    }
    for (uint32_t p = 0; p < table->partitions; p++) {
        const uint16_t *owners = kith_table_owners(table, p);
        bool ours = kith_table_owns(table, p, node->self);
        for (uint32_t k = 0; ours && k < table->owner_slots; k++) {
            uint16_t peer = node->peer_of_member[owners[k]];
            if (peer != KITH_NO_PEER) {
                pairs[count].partition = p;
                pairs[count].peer = peer;
                pairs[count].due_ms = node->now_ms;
                count++;
            }
        }
    }
    kith_free(node->exchanges.pairs);
    node->exchanges.pairs = pairs;
    node->exchanges.pair_count = count;
    node->exchanges.next = 0;
    return true;
}

void exchange_table_changed(struct kith_node *node)
{
    end_all(node);
    node->exchanges.pair_count = 0;
    node->exchanges.made = false;
    node->exchanges.due_ms = node->now_ms;
}

void exchange_peer_up(struct kith_node *node, uint16_t peer)
{
    struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[i];
        uint64_t soonest = pair->ended_ms > 0 ? pair->ended_ms + KITH_EXCHANGE_REST_MS : 0;
        if (pair->peer == peer && !pair->out) {
            pair->due_ms = soonest > node->now_ms ? soonest : node->now_ms;
        }
    }
    exchanges->due_ms = node->now_ms;
}

/* ---- One exchange ---- */

static struct exchange_pair *pair_of(struct kith_node *node, const struct pending *pending)
{
    return &node->exchanges.pairs[pending->u.exchange.pair];
}

void exchange_end(struct kith_node *node, struct pending *pending, uint64_t again_ms)
{
    if (!pending->answered) {
        struct exchange_pair *pair = pair_of(node, pending);
        uint64_t rest = KITH_EXCHANGE_MS + core_random(node) % KITH_EXCHANGE_MS;
        pair->out = false;
        pair->ended_ms = node->now_ms;
        pair->due_ms = node->now_ms + (again_ms > 0 ? again_ms : rest);
        node->exchanges.out--;
        node->exchanges.due_ms = node->now_ms;
        if (pending->u.exchange.phase == EXCHANGE_ABSORB && !pending->op_out &&
            pending->u.exchange.told < pending->u.exchange.row_count) {
            watch_end_all(node); /* nobody tells the rest of them */
        }
        if (pending->u.exchange.rows_taken > 0) {
            core_log(node, LEVEL_DEBUG, "partition %u: %llu rows were behind and came from %s",
                     pair->partition, (unsigned long long)pending->u.exchange.rows_taken,
                     node->peers[pair->peer].info.address);
        }
    }
    pending->u.exchange.waiting = false;
    pending_end(node, pending);
}

static bool exchange_begin(struct kith_node *node, uint32_t index)
{
    struct exchange_pair *pair = &node->exchanges.pairs[index];
    struct pending *pending =
        pending_new(node, PENDING_EXCHANGE, 0, NULL, KITH_EXCHANGE_TIMEOUT_MS);
    if (!pending) {
        return false;
    }
    pending->u.exchange.phase = EXCHANGE_SUMS;
    pending->u.exchange.pair = index;
    pending->u.exchange.peer = pair->peer;
    pending->u.exchange.until_ms = node->now_ms + KITH_EXCHANGE_SLICE_MS;
    pair->out = true;
    node->exchanges.out++;
    (void)core_store(node, pending, KITH_STORE_SUMS, pair->partition);
    return true;
}

/* A message to the other owner; NULL, and the exchange has ended: he is down. */
static struct kith_msg *ask(struct kith_node *node, struct pending *pending,
                            enum kith_msg_kind kind)
{
    const struct peer *peer = &node->peers[pending->u.exchange.peer];
    if (!peer->up) {
        exchange_end(node, pending, 0); /* it is due when he comes up */
        return NULL;
    }
    pending->u.exchange.waiting = true;
    peer_doubt(node, pending->u.exchange.peer, node->now_ms);
    return core_send(node, peer->conn, kind, pending->id);
}

static void sums_read(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    exchange->sums =
        kith_arena_copy(&pending->arena, done->u.sums, KITH_TREE_LEAVES * sizeof *exchange->sums);
    if (!exchange->sums) {
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    struct kith_msg *msg = ask(node, pending, KITH_MSG_SUMS_REQ);
    if (!msg) {
        return;
    }
    struct kith_sum root = kith_tree_root(exchange->sums);
    exchange->phase = EXCHANGE_SUMS_ASKED;
    msg->u.sums_req.table = node->table->id;
    msg->u.sums_req.partition = pair_of(node, pending)->partition;
    kith_sum_encode(&root, &msg->u.sums_req.root);
}

/* The leaves from `leaf` on that are wanted, and before `end`. */
static struct kith_leaf_set wanted(const struct pending_exchange *exchange, uint32_t end)
{
    struct kith_leaf_set set;
    memset(&set, 0, sizeof set);
    for (uint32_t i = exchange->leaf; i < end; i++) {
        if (kith_leaf_in(&exchange->want, i)) {
            kith_leaf_add(&set, i);
        }
    }
    return set;
}

/* Reads the hashes of what is here of the leaves that are left; or ends. */
static void next_page(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    while (exchange->leaf < KITH_TREE_LEAVES && !kith_leaf_in(&exchange->want, exchange->leaf)) {
        exchange->leaf++;
    }
    if (exchange->leaf == KITH_TREE_LEAVES || node->now_ms >= exchange->until_ms) {
        if (exchange->leaf == KITH_TREE_LEAVES) {
            pair_of(node, pending)->whole_ms = node->now_ms;
        }
        exchange_end(node, pending, exchange->leaf == KITH_TREE_LEAVES ? 0 : 1);
        return;
    }
    exchange->phase = EXCHANGE_LEAF;
    exchange->sums = NULL;
    exchange->rows = NULL;
    kith_arena_reset(&pending->arena);
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_LEAF, pair_of(node, pending)->partition);
    op->u.leaf.leaves = wanted(exchange, KITH_TREE_LEAVES);
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
    struct kith_msg *msg = ask(node, pending, KITH_MSG_LEAF_REQ);
    if (!msg) {
        return;
    }
    /* one leaf at least, though not all of its rows can be named: the others come in vain */
    exchange->end = done->u.leaf.end > exchange->leaf ? done->u.leaf.end : exchange->leaf + 1;
    exchange->phase = EXCHANGE_LEAF_ASKED;
    msg->u.leaf_req.table = node->table->id;
    msg->u.leaf_req.partition = pair_of(node, pending)->partition;
    msg->u.leaf_req.leaves = wanted(exchange, exchange->end);
    msg->u.leaf_req.have_count = count;
    msg->u.leaf_req.have = have;
}

/* Tells those who watch the groups, as many as one step may; true: all of them. */
static bool tell_watchers(struct kith_node *node, struct pending_exchange *exchange)
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
    next_page(node, pending);
}

static void absorbed(struct kith_node *node, struct pending *pending,
                     const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    exchange->progress = done->u.absorb.changed > 0;
    exchange->rows_taken += done->u.absorb.changed;
    node->exchanges.rows_taken += done->u.absorb.changed;
    if (done->u.absorb.failed > 0) { /* the next exchange tries again */
        core_log(node, LEVEL_WARN, "partition %u: %u rows from %s could not be taken over",
                 pair_of(node, pending)->partition, done->u.absorb.failed,
                 node->peers[exchange->peer].info.address);
    }
    exchange_recheck(node, pending);
}

void exchange_recheck(struct kith_node *node, struct pending *pending)
{
    if (pending->u.exchange.phase != EXCHANGE_ABSORB || pending->op_out) {
        return;
    }
    if (tell_watchers(node, &pending->u.exchange)) {
        page_over(node, pending);
    } else {
        pending_poke(node, pending); /* the rest in the next step */
    }
}

void exchange_stored(struct kith_node *node, struct pending *pending,
                     const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    bool failed = done->err != KITH_OK;
    core_stored_last(node, pending);
    if (exchange->phase == EXCHANGE_ABSORB && (failed || pending->answered) &&
        !tell_watchers(node, exchange) && pending->answered) {
        watch_end_all(node);
    }
    if (pending->answered) {
        pending_end(node, pending);
        return;
    }
    if (failed) {
        core_log(node, LEVEL_WARN, "partition %u cannot be brought up to what %s has: %s",
                 pair_of(node, pending)->partition, node->peers[exchange->peer].info.address,
                 done->message);
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        return;
    }
    switch (exchange->phase) {
    case EXCHANGE_SUMS:
        sums_read(node, pending, done);
        return;
    case EXCHANGE_LEAF:
        leaf_read(node, pending, done);
        return;
    case EXCHANGE_ABSORB:
        absorbed(node, pending, done);
        return;
    case EXCHANGE_SUMS_ASKED:
    case EXCHANGE_LEAF_ASKED:
        return; /* no operation is out */
    }
}

/* ---- Answers ---- */

static uint32_t differing(const struct kith_sum ours[], const struct kith_checksum theirs[],
                          struct kith_leaf_set *ret_set)
{
    uint32_t count = 0;
    memset(ret_set, 0, sizeof *ret_set);
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        struct kith_sum sum;
        kith_sum_decode(&theirs[i], &sum);
        if (!kith_sum_equal(&ours[i], &sum)) {
            kith_leaf_add(ret_set, i);
            count++;
        }
    }
    return count;
}

static void sums_got(struct kith_node *node, struct pending *pending,
                     const struct kith_sums_res *res)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    struct exchange_pair *pair = pair_of(node, pending);
    bool suspected = pair->suspected;
    pair->suspected = false;
    if (res->leaf_count != KITH_TREE_LEAVES) { /* none: the roots are equal */
        pair->whole_ms = res->leaf_count == 0 ? node->now_ms : pair->whole_ms;
        exchange_end(node, pending, res->leaf_count == 0 ? 0 : KITH_EXCHANGE_FAILED_MS);
        return;
    }
    bool few = differing(exchange->sums, res->leaves, &exchange->want) <= KITH_EXCHANGE_FEW;
    if (few && !suspected) {
        pair->suspects = exchange->want;
        pair->suspected = true;
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    for (uint32_t i = 0; few && i < sizeof exchange->want.bits; i++) { /* what was so before, too */
        exchange->want.bits[i] = (uint8_t)(exchange->want.bits[i] & pair->suspects.bits[i]);
    }
    exchange->leaf = 0;
    next_page(node, pending);
}

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

static void leaf_got(struct kith_node *node, struct pending *pending,
                     const struct kith_leaf_res *res)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    if (!rows_sound(node, pending, res) || !copy_rows(pending, res)) {
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
        return;
    }
    if (res->row_count == 0) {
        exchange->leaf = exchange->end;
        next_page(node, pending);
        return;
    }
    if (join_frozen(node)) {
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    exchange->phase = EXCHANGE_ABSORB;
    exchange->more = res->more;
    exchange->told = 0;
    exchange->row_count = res->row_count;
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_ABSORB, pair_of(node, pending)->partition);
    op->u.absorb.wall_ms = node->wall_ms;
    op->u.absorb.row_count = res->row_count;
    op->u.absorb.rows = exchange->rows;
}

void exchange_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                  const struct kith_msg *msg)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    bool sums = msg->kind == KITH_MSG_SUMS_RES;
    enum exchange_phase phase = sums ? EXCHANGE_SUMS_ASKED : EXCHANGE_LEAF_ASKED;
    if (pending->answered || !exchange->waiting || exchange->peer != peer ||
        exchange->phase != phase) {
        return;
    }
    exchange->waiting = false;
    const struct kith_status *status = sums ? &msg->u.sums_res.status : &msg->u.leaf_res.status;
    if (status->err == KITH_ESTALE) {
        table_learn(node, sums ? msg->u.sums_res.table : msg->u.leaf_res.table);
    }
    if (status->err != KITH_OK) {
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
    } else if (sums) {
        sums_got(node, pending, &msg->u.sums_res);
    } else {
        leaf_got(node, pending, &msg->u.leaf_res);
    }
}

void exchange_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (!pending->answered && pending->u.exchange.waiting && pending->u.exchange.peer == peer) {
        exchange_end(node, pending, 0); /* it is due when he comes up */
    }
}

/* ---- When ---- */

/* All that was due has been done. */
static void caught_up(struct kith_node *node)
{
    struct exchanges *exchanges = &node->exchanges;
    if (exchanges->rows_taken > 0) {
        core_log(node, LEVEL_INFO, "%llu rows were missing or behind, and came from other owners",
                 (unsigned long long)exchanges->rows_taken);
        exchanges->rows_taken = 0;
    }
}

/* What clients wait for goes first. */
static bool busy(const struct kith_node *node)
{
    return node->pending_count > node->exchanges.out + KITH_EXCHANGE_YIELD;
}

void exchange_tick(struct kith_node *node)
{
    struct exchanges *exchanges = &node->exchanges;
    if (!node->has_cluster || node->now_ms < exchanges->due_ms) {
        return;
    }
    exchanges->due_ms = node->now_ms + KITH_EXCHANGE_AGAIN_MS;
    if (!exchanges->made && node->self != KITH_NO_MEMBER) {
        exchanges->made = make_pairs(node);
    }
    if (join_frozen(node) || !exchanges->made) {
        return;
    }
    if (busy(node) && node->now_ms < exchanges->gap_ms) {
        exchanges->due_ms = exchanges->gap_ms;
        return;
    }
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < exchanges->pair_count && exchanges->out < KITH_EXCHANGES_MAX; i++) {
        uint32_t at = exchanges->next;
        const struct exchange_pair *pair = &exchanges->pairs[at];
        exchanges->next = at + 1 < exchanges->pair_count ? at + 1 : 0;
        if (pair->out || !node->peers[pair->peer].up) {
            continue; /* it is looked at when it ends, or he comes up */
        }
        if (pair->due_ms > node->now_ms) {
            due = pair->due_ms < due ? pair->due_ms : due;
        } else if (!exchange_begin(node, at)) {
            return;
        } else if (busy(node)) {
            exchanges->gap_ms = node->now_ms + KITH_EXCHANGE_GAP_MS;
            exchanges->due_ms = exchanges->gap_ms;
            return;
        }
    }
    exchanges->due_ms = exchanges->out < KITH_EXCHANGES_MAX ? due : UINT64_MAX;
    if (exchanges->out == 0) {
        caught_up(node);
    }
}

uint64_t exchange_due(const struct kith_node *node)
{
    return node->has_cluster ? node->exchanges.due_ms : UINT64_MAX;
}
