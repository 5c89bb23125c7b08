/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * exchange.c - anti-entropy: what other owners of our partitions have, and we have not.
 *
 * An exchange is of one partition with one other owner, a PAIR, and brings his rows, or his chunks,
 * here; he does the same with us on his own. So each owner ends with what both had, and nobody
 * needs to be told that he is behind.
 *
 *     SUMS (our leaves) --> SUMS_ASKED (his, where the roots differ) --> of the leaves that differ:
 *         what is in them: exchange_rows.c, exchange_chunks.c
 *
 * A few leaves that differ may be writes under way: they are looked at again a second later, and
 * only those that differ then, too, are fetched. Nothing is remembered of an exchange that breaks
 * off: what it brought makes its leaves equal, and the next one begins behind them. A partition is
 * compared with one other owner at a time, for what two have is to come once.
 *
 * THIN. A chunk that fewer than W owners took is put before all else: its partition's pairs come
 * first, with a place of their own, and what differs is fetched without a second look. Who has it
 * tells the others to look (SUMS_REQ hurry). That he has to is not on disk: who starts again is
 * looked at by all others anyhow (exchange_peer_up).
 * While a partition moves, those that are to own it are pairs with its owners, and bring here what
 * these have; the owners themselves learn what is new from writes alone (moves.c), but where one of
 * those has old rows (aged.h): then he is a guest (leftovers.c).
 *
 * WHEN. Each pair once in half an hour to an hour; at once with a node that has come up, for either
 * side may have missed something, and after a change of the table. KITH_EXCHANGES_MAX at a time
 * (rows and chunks each have their own: a chunk takes long), rows first, and while many requests
 * are under way, one at most every KITH_EXCHANGE_GAP_MS. What they may move is bounded, too
 * (pace.c); and no chunks are looked for while the disk fills up (space.c).
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
    for (uint32_t i = 0; i < node->pending_fresh; i++) {
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
    uint32_t most = table->partitions * table->owner_slots + KITH_GUESTS, count = 0;
    struct exchange_pair *pairs = kith_calloc(most, EXCHANGE_CLASSES * sizeof *pairs);
    if (!pairs) {
        return false;
    }
    for (uint32_t p = 0; p < table->partitions; p++) {
        const uint16_t *owners = kith_table_owners(table, p);
        bool ours = table_holds(node, p);
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
    node->exchanges.own_count = node->exchanges.rows_left = count;
    for (uint32_t i = 0; i < KITH_GUESTS; i++, count++) {
        pairs[count].partition = UINT32_MAX;
        pairs[count].peer = KITH_NO_PEER;
        pairs[count].due_ms = UINT64_MAX;
    }
    memcpy(pairs + count, pairs, count * sizeof *pairs); /* the same for chunks */
    kith_free(node->exchanges.pairs);
    node->exchanges.pairs = pairs;
    node->exchanges.pair_count = count;
    memset(node->exchanges.next, 0, sizeof node->exchanges.next);
    return true;
}

void exchange_start(struct kith_node *node)
{
    struct exchanges *exchanges = &node->exchanges;
    exchanges->stopped = false;
    exchanges->round_ms = node->now_ms;
    exchanges->due_ms = node->now_ms;
    for (uint32_t i = 0; i < EXCHANGE_CLASSES * exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[i];
        pair->due_ms = node->now_ms; /* a guest's place that is empty is passed over */
        pair->again = pair->out;
        pair->brought = pair->bytes = pair->tree_bytes = 0;
    }
}

void exchange_stop(struct kith_node *node)
{
    node->exchanges.stopped = true;
    end_all(node);
}

/* ---- Guests: leftovers.c ---- */

void exchange_guest_set(struct kith_node *node, uint32_t guest, uint32_t partition, uint16_t peer)
{
    struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < EXCHANGE_CLASSES; i++) {
        struct exchange_pair *pair =
            &exchanges->pairs[i * exchanges->pair_count + exchanges->own_count + guest];
        KITH_ASSERT(!pair->out);
        memset(pair, 0, sizeof *pair);
        pair->partition = partition;
        pair->peer = peer;
        pair->due_ms = peer == KITH_NO_PEER ? UINT64_MAX : node->now_ms;
    }
    exchanges->due_ms = node->now_ms;
}

bool exchange_guest_whole(const struct kith_node *node, uint32_t guest)
{
    const struct exchanges *exchanges = &node->exchanges;
    uint32_t at = exchanges->own_count + guest;
    return exchanges->made && exchanges->pairs[at].whole_ms > 0 &&
           exchanges->pairs[exchanges->pair_count + at].whole_ms > 0;
}

bool exchange_guest_rests(const struct kith_node *node, uint32_t guest)
{
    const struct exchanges *exchanges = &node->exchanges;
    uint32_t at = exchanges->own_count + guest;
    return exchanges->made && !exchanges->pairs[at].out &&
           !exchanges->pairs[exchanges->pair_count + at].out;
}

/* ---- An aged store: aged.h ---- */

bool exchange_same(const struct exchange_pair *pair)
{
    bool all = true;
    for (uint32_t i = 0; i < sizeof pair->same.bits && all; i++) {
        all = pair->same.bits[i] == 0xff;
    }
    return all;
}

void exchange_aged(struct kith_node *node)
{
    struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < exchanges->own_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[i];
        memset(&pair->same, 0, sizeof pair->same);
        pair->again = pair->out;
        pair->due_ms = node->now_ms;
    }
    exchanges->due_ms = node->now_ms;
}

static bool pair_aged(const struct kith_node *node, uint32_t index)
{
    const struct exchanges *exchanges = &node->exchanges;
    const struct exchange_pair *pair = &exchanges->pairs[index];
    return index < exchanges->own_count && aged_wants(node, pair->partition) &&
           !exchange_same(pair);
}

/* Sums that were read here before they were there: what is here, he has. */
static void same_leaves(struct exchange_pair *pair, const struct kith_leaf_set *differ)
{
    for (uint32_t i = 0; i < sizeof pair->same.bits; i++) {
        pair->same.bits[i] |= (uint8_t)~(differ ? differ->bits[i] : 0);
    }
}

/* Without it reads here wait. */
static bool pair_refills(const struct kith_node *node, uint32_t index)
{
    const struct exchanges *exchanges = &node->exchanges;
    return pair_aged(node, index) ||
           (index % exchanges->pair_count < exchanges->own_count &&
            refill_wants(node, exchanges->pairs[index].partition, index >= exchanges->pair_count));
}

/* A move, or who wants to clear its disk, waits for it. */
static bool pair_waited_for(const struct kith_node *node, const struct pending *pending)
{
    const struct exchanges *exchanges = &node->exchanges;
    uint32_t at = pending->u.exchange.pair % exchanges->pair_count;
    const struct exchange_pair *pair = &exchanges->pairs[pending->u.exchange.pair];
    return pair_aged(node, pending->u.exchange.pair) ||
           ((pair->whole_ms == 0 || pair->weak) &&
            (kith_table_is_joint(node->table) || at >= exchanges->own_count ||
             pair_refills(node, pending->u.exchange.pair)));
}

void exchange_table_changed(struct kith_node *node)
{
    node->exchanges.round_ms = node->now_ms;
    end_all(node);
    node->exchanges.pair_count = node->exchanges.own_count = 0;
    node->exchanges.made = false;
    node->exchanges.due_ms = node->now_ms;
}

void exchange_peer_up(struct kith_node *node, uint16_t peer)
{
    struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < EXCHANGE_CLASSES * exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[i];
        uint64_t soonest = pair->whole_ms > 0 && !pair->first
                               ? pair->whole_ms + KITH_EXCHANGE_REST_MS
                               : node->now_ms; /* one that broke off has not had its turn */
        soonest = soonest > node->now_ms ? soonest : node->now_ms;
        if (pair->peer == peer && !pair->out && soonest < pair->due_ms) {
            pair->due_ms = soonest;
        }
    }
    exchanges->due_ms = node->now_ms;
}

/* The first at once; then there is a rest, for one exchange finds all that come meanwhile. */
static void pair_soon(struct kith_node *node, struct exchange_pair *pair)
{
    uint64_t soonest = pair->ended_ms > 0 ? pair->ended_ms + KITH_EXCHANGE_THIN_MS : 0;
    uint64_t due = node->now_ms > soonest ? node->now_ms : soonest;
    pair->first = true;
    node->exchanges.first = true;
    pair->again = pair->again || pair->out;
    pair->due_ms = due < pair->due_ms ? due : pair->due_ms;
    node->exchanges.due_ms = node->now_ms;
}

void exchange_thin(struct kith_node *node, uint32_t partition)
{
    struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[EXCHANGE_CHUNKS * exchanges->pair_count + i];
        if (pair->partition == partition) {
            pair->tell = true;
            pair_soon(node, pair);
        }
    }
}

void exchange_late(struct kith_node *node, uint32_t partition)
{
    struct exchanges *exchanges = &node->exchanges;
    uint64_t due = node->now_ms + KITH_EXCHANGE_LATE_MS;
    for (uint32_t i = 0; i < exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[EXCHANGE_CHUNKS * exchanges->pair_count + i];
        if (pair->partition == partition && due < pair->due_ms) {
            pair->due_ms = due;
            exchanges->due_ms = due < exchanges->due_ms ? due : exchanges->due_ms;
        }
    }
}

void exchange_hurry(struct kith_node *node, uint32_t partition, uint16_t peer, bool chunks)
{
    struct exchanges *exchanges = &node->exchanges;
    uint32_t first = (chunks ? EXCHANGE_CHUNKS : EXCHANGE_ROWS) * exchanges->pair_count;
    bool found = false;
    for (uint32_t i = 0; i < exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[first + i];
        if (pair->partition == partition && pair->peer == peer) {
            pair_soon(node, pair);
            found = true;
        }
    }
    if (!found && !chunks) {
        leftovers_next_owner(node, partition, peer);
    }
}

void exchange_damaged(struct kith_node *node, uint32_t partition, uint32_t count)
{
    struct exchanges *exchanges = &node->exchanges;
    exchanges->damaged += count;
    for (uint32_t i = 0; i < EXCHANGE_CLASSES * exchanges->pair_count; i++) {
        struct exchange_pair *pair = &exchanges->pairs[i];
        if (pair->partition == partition) {
            pair->again = pair->out;
            pair->due_ms = node->now_ms;
        }
    }
    exchanges->due_ms = node->now_ms;
}

/* ---- One exchange ---- */

struct exchange_pair *exchange_pair_of(struct kith_node *node, const struct pending *pending)
{
    return &node->exchanges.pairs[pending->u.exchange.pair];
}

void exchange_end(struct kith_node *node, struct pending *pending, uint64_t again_ms)
{
    if (!pending->answered) {
        struct exchange_pair *pair = exchange_pair_of(node, pending);
        uint64_t rest = KITH_EXCHANGE_MS + core_random(node) % KITH_EXCHANGE_MS;
        pair->out = false;
        pair->ended_ms = node->now_ms;
        again_ms = again_ms > 0      ? again_ms
                   : pair->again     ? 1
                   : pair->suspected ? KITH_EXCHANGE_AGAIN_MS
                                     : 0;
        if (pair_waited_for(node, pending) &&
            (again_ms == 0 || again_ms > KITH_EXCHANGE_THIN_MS)) {
            again_ms = KITH_EXCHANGE_THIN_MS;
        }
        pair->again = false;
        pair->due_ms = node->now_ms + (again_ms > 0 ? again_ms : rest);
        node->exchanges.out[pending->u.exchange.chunks ? EXCHANGE_CHUNKS : EXCHANGE_ROWS]--;
        node->exchanges.due_ms = node->now_ms;
        if (pending->u.exchange.phase == EXCHANGE_ABSORB && !pending->op_out &&
            pending->u.exchange.told < pending->u.exchange.row_count) {
            watch_end_all(node); /* nobody tells the rest of them */
        }
        if (pending->u.exchange.taken > 0) {
            core_log(node, LEVEL_DEBUG, "partition %u: %llu %s were behind and came from %s",
                     pair->partition, (unsigned long long)pending->u.exchange.taken,
                     pending->u.exchange.chunks ? "chunks" : "rows",
                     node->peers[pair->peer].info.address);
        }
    }
    pending->u.exchange.waiting = false;
    pending_end(node, pending);
}

void exchange_brought(struct kith_node *node, struct pending *pending, uint64_t count,
                      uint64_t bytes)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    exchange->taken += count;
    exchange_pair_of(node, pending)->brought += count;
    exchange_pair_of(node, pending)->bytes += bytes;
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
    pending->u.exchange.chunks = index >= node->exchanges.pair_count;
    pending->u.exchange.first = pair->first;
    pair->first = false;
    pending->u.exchange.until_ms = node->now_ms + KITH_EXCHANGE_SLICE_MS;
    pair->out = true;
    node->exchanges.out[pending->u.exchange.chunks ? EXCHANGE_CHUNKS : EXCHANGE_ROWS]++;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_SUMS, pair->partition);
    op->u.sums.chunks = pending->u.exchange.chunks;
    return true;
}

struct kith_msg *exchange_ask(struct kith_node *node, struct pending *pending,
                              enum kith_msg_kind kind)
{
    const struct peer *peer = &node->peers[pending->u.exchange.peer];
    if (!peer->up) {
        exchange_end(node, pending, 0); /* it is due when he comes up */
        return NULL;
    }
    pending->u.exchange.waiting = true;
    pending_set_due(node, pending, node->now_ms + KITH_EXCHANGE_ANSWER_MS);
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
    struct kith_msg *msg = exchange_ask(node, pending, KITH_MSG_SUMS_REQ);
    if (!msg) {
        return;
    }
    struct kith_sum root = kith_tree_root(exchange->sums);
    exchange->phase = EXCHANGE_SUMS_ASKED;
    msg->u.sums_req.table = node->table->id;
    msg->u.sums_req.partition = exchange_pair_of(node, pending)->partition;
    kith_sum_encode(&root, &msg->u.sums_req.root);
    msg->u.sums_req.chunks = exchange->chunks;
    msg->u.sums_req.hurry =
        exchange_pair_of(node, pending)->tell || pair_aged(node, pending->u.exchange.pair);
    exchange_pair_of(node, pending)->tell = false;
}

struct kith_leaf_set exchange_wanted(const struct pending_exchange *exchange, uint32_t end)
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

void exchange_pause(struct kith_node *node, struct pending *pending, uint64_t ms)
{
    pending->u.exchange.paused = true;
    pending_poke(node, pending);
    pending_set_due(node, pending, node->now_ms + ms);
}

/* All that the other owner had is here. */
static void pair_whole(struct kith_node *node, const struct pending *pending)
{
    struct exchange_pair *pair = exchange_pair_of(node, pending);
    bool rows = pending->u.exchange.pair < node->exchanges.own_count; /* no guest */
    node->exchanges.rows_left -= rows && pair->whole_ms == 0 ? 1 : 0;
    pair->whole_ms = node->now_ms;
}

bool exchange_caught_up(const struct kith_node *node)
{
    return node->exchanges.made && node->exchanges.rows_left == 0;
}

bool exchange_rests(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    while (exchange->leaf < KITH_TREE_LEAVES && !kith_leaf_in(&exchange->want, exchange->leaf)) {
        exchange->leaf++;
    }
    if (exchange->leaf == KITH_TREE_LEAVES || node->now_ms >= exchange->until_ms) {
        bool suspected = exchange_pair_of(node, pending)->suspected;
        if (exchange->leaf == KITH_TREE_LEAVES && !exchange->failed && !suspected) {
            pair_whole(node, pending);
        }
        exchange_end(node, pending, exchange->leaf == KITH_TREE_LEAVES ? 0 : 1);
        return true;
    }
    uint64_t wait_ms = pace_repair_wait_ms(node, exchange->peer);
    if (wait_ms == 0) {
        return false;
    }
    if (node->now_ms + wait_ms < exchange->until_ms) {
        exchange_pause(node, pending, wait_ms);
    } else {
        exchange_end(node, pending, wait_ms);
    }
    return true;
}

static void exchange_next(struct kith_node *node, struct pending *pending)
{
    if (pending->u.exchange.chunks) {
        exchange_chunks_next(node, pending);
    } else {
        exchange_rows_next(node, pending);
    }
}

void exchange_recheck(struct kith_node *node, struct pending *pending)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    bool paused = exchange->paused;
    exchange->paused = false;
    if (pending->answered) {
        return;
    }
    if (exchange->phase == EXCHANGE_FETCH) {
        exchange_chunks_recheck(node, pending);
    } else if (paused) {
        exchange_next(node, pending);
    } else if (!exchange->chunks) {
        exchange_rows_recheck(node, pending);
    }
}

void exchange_stored(struct kith_node *node, struct pending *pending,
                     const struct kith_store_done *done)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    bool failed = done->err != KITH_OK;
    core_stored_last(node, pending);
    if (exchange->phase == EXCHANGE_ABSORB && (failed || pending->answered) &&
        !exchange_rows_tell(node, exchange) && pending->answered) {
        watch_end_all(node);
    }
    if (pending->answered) {
        pending_end(node, pending);
        return;
    }
    if (failed) {
        core_log(node, LEVEL_WARN, "partition %u cannot be brought up to what %s has: %s",
                 exchange_pair_of(node, pending)->partition,
                 node->peers[exchange->peer].info.address, done->message);
        exchange_end(node, pending, KITH_EXCHANGE_FAILED_MS);
    } else if (exchange->phase == EXCHANGE_SUMS) {
        sums_read(node, pending, done);
    } else if (exchange->chunks) {
        exchange_chunks_stored(node, pending, done);
    } else {
        exchange_rows_stored(node, pending, done);
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
    struct exchange_pair *pair = exchange_pair_of(node, pending);
    bool suspected = pair->suspected;
    pair->suspected = false;
    pair->tree_bytes += (1u + res->leaf_count) * sizeof(struct kith_checksum);
    pair->weak = res->refilling;
    if (res->leaf_count != KITH_TREE_LEAVES) { /* none: the roots are equal */
        if (res->leaf_count == 0) {
            same_leaves(pair, NULL);
            pair_whole(node, pending);
        }
        exchange_end(node, pending, res->leaf_count == 0 ? 0 : KITH_EXCHANGE_FAILED_MS);
        return;
    }
    bool few = differing(exchange->sums, res->leaves, &exchange->want) <= KITH_EXCHANGE_FEW;
    same_leaves(pair, &exchange->want);
    if (!suspected) {
        memset(&pair->looked, 0, sizeof pair->looked);
    }
    bool waited = exchange->pair % node->exchanges.pair_count >= node->exchanges.own_count ||
                  pair_refills(node, exchange->pair); /* a guest, or a hole here: no second look */
    if (few && !suspected && !(exchange->first && exchange->chunks) && !waited) {
        pair->suspects = exchange->want;
        pair->suspected = true;
        exchange_end(node, pending, KITH_EXCHANGE_AGAIN_MS);
        return;
    }
    for (uint32_t i = 0; few && suspected && i < sizeof exchange->want.bits; i++) {
        uint8_t differ = exchange->want.bits[i], before = pair->suspects.bits[i];
        exchange->want.bits[i] = differ & before;
        pair->looked.bits[i] |= exchange->want.bits[i];
        /* it has its second look, too; but one that still differs has had it: we have more than he */
        pair->suspects.bits[i] = differ & (uint8_t)~(before | pair->looked.bits[i]);
        pair->suspected = pair->suspected || pair->suspects.bits[i] != 0;
    }
    exchange->leaf = 0;
    exchange_next(node, pending);
}

static const struct kith_status *status_of(const struct kith_msg *msg,
                                           struct kith_bytes *ret_table)
{
    switch (msg->kind) {
    case KITH_MSG_SUMS_RES:
        *ret_table = msg->u.sums_res.table;
        return &msg->u.sums_res.status;
    case KITH_MSG_LEAF_RES:
        *ret_table = msg->u.leaf_res.table;
        return &msg->u.leaf_res.status;
    default:
        *ret_table = msg->u.chunk_list_res.table;
        return &msg->u.chunk_list_res.status;
    }
}

void exchange_got(struct kith_node *node, struct pending *pending, uint16_t peer,
                  const struct kith_msg *msg)
{
    struct pending_exchange *exchange = &pending->u.exchange;
    enum exchange_phase phase = msg->kind == KITH_MSG_SUMS_RES   ? EXCHANGE_SUMS_ASKED
                                : msg->kind == KITH_MSG_LEAF_RES ? EXCHANGE_LEAF_ASKED
                                                                 : EXCHANGE_LIST_ASKED;
    if (pending->answered || !exchange->waiting || exchange->peer != peer ||
        exchange->phase != phase) {
        return;
    }
    exchange->waiting = false;
    pending_set_due(node, pending, pending->deadline_ms);
    struct kith_bytes table;
    const struct kith_status *status = status_of(msg, &table);
    if (status->err == KITH_ESTALE) {
        table_learn(node, table);
    }
    if (status->err != KITH_OK) {
        bool table_differs = status->err == KITH_ESTALE || status->err == KITH_ENOTREADY;
        exchange_end(node, pending,
                     table_differs ? KITH_EXCHANGE_AGAIN_MS : KITH_EXCHANGE_FAILED_MS);
    } else if (phase == EXCHANGE_SUMS_ASKED) {
        sums_got(node, pending, &msg->u.sums_res);
    } else if (phase == EXCHANGE_LEAF_ASKED) {
        exchange_rows_got(node, pending, &msg->u.leaf_res);
    } else {
        exchange_chunks_got(node, pending, &msg->u.chunk_list_res);
    }
}

void exchange_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (pending->answered) {
        return;
    }
    if (pending->kind == PENDING_FETCH) {
        if (pending->u.fetch.waiting && pending->u.fetch.peer == peer) {
            fetch_lost(node, pending);
        }
        return;
    }
    const struct pending_exchange *exchange = &pending->u.exchange;
    if (exchange->peer == peer && (exchange->waiting || exchange->phase == EXCHANGE_FETCH)) {
        exchange_end(node, pending, 0); /* it is due when he comes up */
    }
}

/* ---- When ---- */

/* All that was due has been done. */
static void caught_up(struct kith_node *node)
{
    static const char *const what[EXCHANGE_CLASSES] = {"rows were missing or behind",
                                                       "chunks were missing"};
    struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; i < EXCHANGE_CLASSES; i++) {
        if (exchanges->taken[i] > 0) {
            core_log(node, LEVEL_INFO, "%llu %s, and came from other owners",
                     (unsigned long long)exchanges->taken[i], what[i]);
            exchanges->taken[i] = 0;
        }
    }
}

bool exchange_busy(const struct kith_node *node)
{
    const struct exchanges *exchanges = &node->exchanges;
    return node->pending_count > exchanges->out[EXCHANGE_ROWS] + exchanges->out[EXCHANGE_CHUNKS] +
                                     exchanges->fetches + KITH_EXCHANGE_YIELD;
}

/* Whether the partition of the pair is being compared with another owner: he may well have the
 * same, and what both have would come twice. Its pairs stand side by side. */
static bool partition_out(const struct exchanges *exchanges, enum exchange_class class,
                          uint32_t next)
{
    const struct exchange_pair *pairs = &exchanges->pairs[class * exchanges->pair_count];
    uint32_t first = next;
    while (first > 0 && pairs[first - 1].partition == pairs[next].partition) {
        first--;
    }
    bool out = false;
    for (uint32_t i = first;
         i < exchanges->pair_count && pairs[i].partition == pairs[next].partition; i++) {
        out = out || pairs[i].out;
    }
    return out;
}

/* Begins those that come before all others, and are due. */
static bool begin_first(struct kith_node *node, uint64_t *due)
{
    struct exchanges *exchanges = &node->exchanges;
    uint32_t most = KITH_EXCHANGES_CHUNKS + KITH_EXCHANGES_FIRST;
    bool left = false;
    for (uint32_t i = 0; i < exchanges->pair_count && exchanges->first; i++) {
        uint32_t at = EXCHANGE_CHUNKS * exchanges->pair_count + i;
        const struct exchange_pair *pair = &exchanges->pairs[at];
        bool ready = pair->first && !pair->out && node->peers[pair->peer].up;
        left = left || pair->first;
        if (ready && pair->due_ms > node->now_ms) {
            *due = pair->due_ms < *due ? pair->due_ms : *due;
        } else if (ready && exchanges->out[EXCHANGE_CHUNKS] < most &&
                   !partition_out(exchanges, EXCHANGE_CHUNKS, i) && !exchange_begin(node, at)) {
            return false;
        }
    }
    exchanges->first = left;
    return true;
}

/* Begins those of the class that are due, as many as may be under way. False: no more now. When the
 * next one is due comes out, as far as that is known: one that ends looks again. */
static bool begin_due(struct kith_node *node, enum exchange_class class, uint64_t *due)
{
    static const uint32_t most[EXCHANGE_CLASSES] = {KITH_EXCHANGES_MAX, KITH_EXCHANGES_CHUNKS};
    struct exchanges *exchanges = &node->exchanges;
    uint64_t next_due = UINT64_MAX;
    for (uint32_t i = 0; i < exchanges->pair_count && exchanges->out[class] < most[class]; i++) {
        uint32_t next = exchanges->next[class];
        uint32_t at = class * exchanges->pair_count + next;
        const struct exchange_pair *pair = &exchanges->pairs[at];
        exchanges->next[class] = next + 1 < exchanges->pair_count ? next + 1 : 0;
        if (pair->out || pair->peer == KITH_NO_PEER || !node->peers[pair->peer].up) {
            continue; /* it is looked at when it ends, or he comes up */
        }
        if (pair->due_ms > node->now_ms) {
            next_due = pair->due_ms < next_due ? pair->due_ms : next_due;
        } else if (partition_out(exchanges, class, next)) {
            continue; /* the same */
        } else if (!exchange_begin(node, at)) {
            return false;
        } else if (exchange_busy(node)) {
            exchanges->gap_ms = node->now_ms + KITH_EXCHANGE_GAP_MS;
            exchanges->due_ms = exchanges->gap_ms;
            return false;
        }
    }
    *due = exchanges->out[class] < most[class] && next_due < *due ? next_due : *due;
    return true;
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
    if (join_frozen(node) || !exchanges->made || exchanges->stopped) {
        return;
    }
    uint64_t due = UINT64_MAX;
    bool chunks = node->space < KITH_SPACE_LOW;
    if (chunks && !begin_first(node, &due)) {
        return;
    }
    if (exchange_busy(node) && node->now_ms < exchanges->gap_ms) {
        exchanges->due_ms = exchanges->gap_ms < due ? exchanges->gap_ms : due;
        return;
    }
    if (!begin_due(node, EXCHANGE_ROWS, &due) ||
        (chunks && !begin_due(node, EXCHANGE_CHUNKS, &due))) {
        return;
    }
    exchanges->due_ms = due;
    if (exchanges->out[EXCHANGE_ROWS] + exchanges->out[EXCHANGE_CHUNKS] == 0) {
        caught_up(node);
    }
}

uint64_t exchange_due(const struct kith_node *node)
{
    return node->has_cluster ? node->exchanges.due_ms : UINT64_MAX;
}
