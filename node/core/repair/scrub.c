/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * scrub.c - reads everything that is here once in a while, before somebody needs it: what a disk
 * damages in silence is found while other owners still have it (store.h, KITH_STORE_SCRUB; then
 * exchange_damaged).
 *
 * A PASS visits the partitions held here in order, from any one on, each its rows and then its
 * chunks, one small operation at a time. It is spread over the period: the time is divided evenly
 * among the partitions, and within one among the leaves of its trees. A pass that was asked for
 * (kithctl scrub) does not wait, but yields to requests as anti-entropy does. Neither reads more in
 * a second than `rate`, which is not that of anti-entropy: one is for lines, the other for disks.
 *
 * Where it is stands in a record of the node (KITH_META_SCRUB), so that a start goes on with it, to
 * the partition; the first pass of all begins at any one, so that nodes do not read alike. What is
 * found damaged is read once more from its leaf on: more may be, and as much as one operation has
 * set aside is not all. */
#include <string.h>

#include "core/internal.h"

#define SCRUB_LOOK_MS    60000u /* while there is nothing to do */
#define SCRUB_SAVE_MS    60000u /* between two records */
#define SCRUB_FAILED_MS  10000u /* after an operation that failed */
#define SCRUB_TIMEOUT_MS UINT64_MAX

/* ---- The record ---- */

static bool record_read(struct kith_bytes record, struct scrub *scrub)
{
    struct kith_reader reader;
    enum kith_err err = meta_unseal(&record);
    kith_reader_init(&reader, record);
    scrub->asked = kith_read_u8(&reader) != 0;
    scrub->partition = kith_read_u32(&reader);
    scrub->left = kith_read_u32(&reader);
    scrub->begun_wall_ms = kith_read_u64(&reader);
    scrub->ended_wall_ms = kith_read_u64(&reader);
    scrub->ended_damaged = kith_read_u64(&reader);
    scrub->rows = kith_read_u64(&reader);
    scrub->chunk_count = kith_read_u64(&reader);
    scrub->bytes = kith_read_u64(&reader);
    scrub->damaged = kith_read_u64(&reader);
    scrub->wrong = kith_read_u64(&reader);
    return err == KITH_OK && kith_reader_done(&reader);
}

void scrub_load(struct kith_node *node, uint64_t period_ms, uint64_t rate, struct kith_bytes record)
{
    struct scrub *scrub = &node->scrub;
    if (!record_read(record, scrub)) { /* none yet; where it is damaged a pass begins anew */
        memset(scrub, 0, sizeof *scrub);
        scrub->partition = (uint32_t)core_random(node); /* of as many as there are */
    }
    scrub->period_ms = period_ms;
    scrub->due_ms = node->now_ms;
    pace_set(&scrub->pace, node->now_ms, rate);
}

static void saved(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)node;
    (void)arg;
    (void)err; /* it is logged; the next one comes in a minute */
}

static void save(struct kith_node *node)
{
    struct scrub *scrub = &node->scrub;
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u8(&buf, scrub->asked ? 1 : 0);
    kith_buf_put_u32(&buf, scrub->partition);
    kith_buf_put_u32(&buf, scrub->left);
    kith_buf_put_u64(&buf, scrub->begun_wall_ms);
    kith_buf_put_u64(&buf, scrub->ended_wall_ms);
    kith_buf_put_u64(&buf, scrub->ended_damaged);
    kith_buf_put_u64(&buf, scrub->rows);
    kith_buf_put_u64(&buf, scrub->chunk_count);
    kith_buf_put_u64(&buf, scrub->bytes);
    kith_buf_put_u64(&buf, scrub->damaged);
    kith_buf_put_u64(&buf, scrub->wrong);
    meta_seal(&buf);
    if (!buf.failed && meta_put(node, KITH_META_SCRUB, kith_buf_bytes(&buf), saved, 0) == KITH_OK) {
        scrub->saved_ms = node->now_ms;
    }
    kith_buf_release(&buf);
}

/* ---- A pass ---- */

static void pass_begin(struct kith_node *node)
{
    struct scrub *scrub = &node->scrub;
    scrub->left = node->table->partitions;
    scrub->leaf = 0;
    scrub->chunks = scrub->has_after = false;
    scrub->anew = true;
    scrub->begun_wall_ms = node->wall_ms;
    scrub->rows = scrub->chunk_count = scrub->bytes = scrub->damaged = scrub->wrong = 0;
}

static void pass_end(struct kith_node *node)
{
    struct scrub *scrub = &node->scrub;
    bool found = scrub->damaged + scrub->wrong > 0;
    scrub->ended_wall_ms = node->wall_ms;
    scrub->ended_damaged = scrub->damaged + scrub->wrong;
    scrub->asked = false;
    core_log(node, found ? LEVEL_WARN : LEVEL_INFO,
             "scrub: %llu rows and %llu chunks were read; %llu were damaged, %llu sums wrong",
             (unsigned long long)scrub->rows, (unsigned long long)scrub->chunk_count,
             (unsigned long long)scrub->damaged, (unsigned long long)scrub->wrong);
}

/* The partition is done: stands on the next one that is held here. */
static void next_partition(struct kith_node *node)
{
    struct scrub *scrub = &node->scrub;
    bool ended = false;
    scrub->leaf = 0;
    scrub->chunks = scrub->has_after = false;
    do {
        scrub->partition = (scrub->partition + 1u) % node->table->partitions;
        scrub->left--;
        ended = scrub->left == 0;
    } while (!ended && !kith_table_owns(node->table, scrub->partition, node->self));
    if (ended) {
        pass_end(node);
    }
    if (ended || node->now_ms >= scrub->saved_ms + SCRUB_SAVE_MS) {
        save(node);
    }
}

static uint32_t owned(const struct kith_node *node)
{
    uint32_t count = 0;
    for (uint32_t p = 0; p < node->table->partitions; p++) {
        count += kith_table_owns(node->table, p, node->self) ? 1 : 0;
    }
    return count;
}

static void went_on(struct kith_node *node, const struct kith_store_done *done)
{
    struct scrub *scrub = &node->scrub;
    bool moved = done->u.scrub.leaf != scrub->leaf;
    if (done->damaged > 0) { /* from there once more */
        scrub->has_after = scrub->has_after && !moved;
        scrub->leaf = done->u.scrub.leaf;
        return;
    }
    bool stuck = !moved && !done->u.scrub.more; /* it could not be set aside */
    scrub->leaf = done->u.scrub.leaf + (stuck ? 1u : 0u);
    scrub->has_after = done->u.scrub.more;
    scrub->after = done->u.scrub.after;
    if (scrub->leaf < KITH_TREE_LEAVES) {
        return;
    }
    scrub->leaf = 0;
    if (scrub->chunks) {
        next_partition(node);
    } else {
        scrub->chunks = true;
    }
}

void scrub_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done)
{
    struct scrub *scrub = &node->scrub;
    core_stored_last(node, pending);
    pending_end(node, pending);
    scrub->out = false;
    scrub->due_ms = node->now_ms;
    if (done->err != KITH_OK) {
        core_log(node, LEVEL_WARN, "scrub: partition %u: %s", done->partition, done->message);
        scrub->due_ms = node->now_ms + SCRUB_FAILED_MS;
        if (!scrub->anew && scrub->left > 0) {
            next_partition(node); /* the next pass comes by here again */
        }
        return;
    }
    pace_took(&scrub->pace, node->now_ms, done->u.scrub.bytes);
    scrub->damaged += done->damaged;
    scrub->wrong += done->u.scrub.wrong ? 1 : 0;
    if (scrub->anew || scrub->left == 0) {
        return; /* that was of another pass */
    }
    scrub->bytes += done->u.scrub.bytes;
    scrub->rows += scrub->chunks ? 0 : done->u.scrub.count;
    scrub->chunk_count += scrub->chunks ? done->u.scrub.count : 0;
    went_on(node, done);
}

void scrub_ask(struct kith_node *node, bool begin)
{
    node->scrub.asked = begin;
    node->scrub.due_ms = node->now_ms;
    if (begin) {
        pass_begin(node);
    }
    save(node);
}

/* ---- What the store cannot know ---- */

/* When the exchange of rows with that owner that was carried through last has begun, or somewhat
 * before; 0: there was none, or he had lost something himself. */
static uint64_t compared_with(const struct kith_node *node, uint32_t partition, uint16_t peer)
{
    const struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = 0; exchanges->made && i < exchanges->own_count; i++) {
        const struct exchange_pair *pair = &exchanges->pairs[i];
        if (pair->partition == partition && pair->peer == peer) {
            bool proves = !pair->weak && pair->whole_ms > KITH_EXCHANGE_BEGAN_MS;
            return proves ? pair->whole_ms - KITH_EXCHANGE_BEGAN_MS : 0;
        }
    }
    return 0;
}

/* As KITH_STORE_SCRUB wants it. */
static uint64_t compared_ms(const struct kith_node *node, uint32_t partition)
{
    const struct kith_table *table = node->table;
    const uint16_t *owners = kith_table_owners(table, partition);
    uint64_t since = UINT64_MAX;
    for (uint32_t i = 0; i < table->owner_slots; i++) {
        if (owners[i] != KITH_NO_MEMBER && owners[i] != node->self) {
            uint64_t with =
                compared_with(node, partition, node->peer_of_member[owners[i]]);
            since = with < since ? with : since;
        }
    }
    return since < UINT64_MAX && table_settled(node) ? since : 0;
}

/* ---- When ---- */

static uint64_t wait_ms(struct kith_node *node, uint32_t partitions)
{
    struct scrub *scrub = &node->scrub;
    uint64_t wait = exchange_busy(node) ? KITH_EXCHANGE_GAP_MS : 0;
    uint64_t pace = pace_wait_ms(&scrub->pace, node->now_ms);
    if (!scrub->asked) { /* its leaf's share of the time; a partition has rows, and chunks */
        uint64_t slot = scrub->period_ms / 2u / partitions;
        uint64_t at = scrub->slot_ms + slot * scrub->leaf / KITH_TREE_LEAVES;
        if (scrub->leaf == 0 && !scrub->has_after) {
            at = scrub->slot_ms + slot;
        }
        uint64_t spread = at > node->now_ms ? at - node->now_ms : 0;
        wait = spread > wait ? spread : wait;
    }
    return pace > wait ? pace : wait;
}

static void read_next(struct kith_node *node)
{
    struct scrub *scrub = &node->scrub;
    struct pending *pending = pending_new(node, PENDING_SCRUB, 0, NULL, SCRUB_TIMEOUT_MS);
    if (!pending) {
        return;
    }
    scrub->out = true;
    scrub->anew = false;
    if (scrub->leaf == 0 && !scrub->has_after) {
        scrub->slot_ms = node->now_ms;
    }
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_SCRUB, scrub->partition);
    op->u.scrub.chunks = scrub->chunks;
    op->u.scrub.leaf = scrub->leaf;
    op->u.scrub.has_after = scrub->has_after;
    op->u.scrub.after = scrub->after;
    if (!scrub->chunks && scrub->leaf == 0) {
        op->u.scrub.compared_ms = compared_ms(node, scrub->partition);
    }
}

void scrub_tick(struct kith_node *node)
{
    struct scrub *scrub = &node->scrub;
    if (node->now_ms < scrub->due_ms || scrub->out) {
        return;
    }
    scrub->due_ms = node->now_ms + SCRUB_LOOK_MS;
    if (!node->has_cluster || node->self == KITH_NO_MEMBER ||
        (scrub->period_ms == 0 && !scrub->asked)) {
        return;
    }
    uint32_t partitions = owned(node);
    if (partitions == 0) {
        return;
    }
    if (scrub->left == 0 || scrub->left > node->table->partitions) {
        pass_begin(node);
    }
    scrub->partition %= node->table->partitions;
    if (!kith_table_owns(node->table, scrub->partition, node->self)) {
        next_partition(node);
        scrub->due_ms = node->now_ms;
        return;
    }
    uint64_t wait =
        scrub->rested ? pace_wait_ms(&scrub->pace, node->now_ms) : wait_ms(node, partitions);
    scrub->rested = wait > 0;
    if (wait > 0) {
        scrub->due_ms = node->now_ms + wait;
        return;
    }
    read_next(node);
}

uint64_t scrub_due(const struct kith_node *node)
{
    return node->scrub.out ? UINT64_MAX : node->scrub.due_ms;
}
