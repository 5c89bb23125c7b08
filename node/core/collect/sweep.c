/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * sweep.c - the side that leads a sweep (sweep.h).
 *
 * A PASS goes through the partitions of which this node owns a copy, one page of chunks at a time. Of
 * those that others lead only marks that say nothing any more are forgotten. A page that cannot be
 * done, for a member is away or the table changes, is tried again, and says why in kithctl status. */
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

#define SWEEP_TIMEOUT_MS 60000u /* of a page, and at most a quarter of the grace */
#define SWEEP_AGAIN_MS   30000u /* after a page that could not be done; at most an eighth of it */
#define SWEEP_YIELD_MS   50u    /* while requests are under way */
#define SWEEP_PASSES     6u     /* in a grace */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void sweep_start(struct kith_node *node, uint64_t grace_ms)
{
    node->sweep.grace_ms = grace_ms;
    node->sweep.due_ms = grace_ms == 0 ? UINT64_MAX : node->now_ms;
}

/* ---- The end of a page ---- */

static void page_failed(struct kith_node *node, struct pending *pending, const char *why)
{
    struct sweep *sweep = &node->sweep;
    if (!pending->answered) {
        (void)snprintf(sweep->waits, sizeof sweep->waits, "%s", why);
        sweep->out = false;
        sweep->due_ms = node->now_ms + least(SWEEP_AGAIN_MS, sweep->grace_ms / 8);
    }
    pending_end(node, pending);
}

static void page_done(struct kith_node *node, struct pending *pending)
{
    struct sweep *sweep = &node->sweep;
    struct pending_sweep *page = &pending->u.sweep;
    sweep->out = false;
    sweep->due_ms = node->now_ms;
    sweep->waits[0] = '\0';
    sweep->has_after = page->more;
    sweep->after = page->last;
    if (!page->more && sweep->left > 0) {
        sweep->left--;
        sweep->partition++;
        if (sweep->left == 0) {
            sweep->whole_ms = node->now_ms;
            uint64_t each_ms = sweep->grace_ms / SWEEP_PASSES;
            uint64_t next_ms = sweep->begun_ms + each_ms;
            sweep->due_ms = next_ms > node->now_ms ? next_ms : node->now_ms + each_ms / 8;
        }
    }
    pending_end(node, pending);
}

/* ---- Steps ---- */

static enum kith_sweep_step step_of(enum sweep_phase phase)
{
    switch (phase) {
    case SWEEPING_CLEAR:
        return KITH_SWEEP_CLEAR;
    case SWEEPING_DOOM:
        return KITH_SWEEP_DOOM;
    case SWEEPING_DELETE:
        return KITH_SWEEP_DELETE;
    case SWEEPING_CONDEMN:
        return KITH_SWEEP_CONDEMN;
    default:
        return KITH_SWEEP_ASK;
    }
}

/* Whether the chunk takes part in the phase. One that some owner did not doom is condemned anew. */
static bool takes_part(const struct sweep_item *item, enum sweep_phase phase)
{
    switch (phase) {
    case SWEEPING_ASK:
        return true;
    case SWEEPING_CLEAR:
        return item->ripe && item->kept;
    case SWEEPING_DOOM:
    case SWEEPING_DELETE:
        return item->ripe && !item->kept && !item->refused;
    case SWEEPING_CONDEMN:
        return !item->ripe && !item->kept && !item->refused;
    default:
        return false;
    }
}

static void gather(struct pending_sweep *page)
{
    page->chunk_count = 0;
    for (uint32_t i = 0; i < page->item_count; i++) {
        if (takes_part(&page->items[i], page->phase)) {
            struct kith_sweep_chunk *chunk = &page->chunks[page->chunk_count++];
            *chunk = page->items[i].chunk;
        }
    }
}

static void phase_next(struct kith_node *node, struct pending *pending);

/* Asks some more. Once all have answered our own store takes the step. */
static void phase_ask(struct kith_node *node, struct pending *pending)
{
    struct pending_sweep *page = &pending->u.sweep;
    struct inquiry *inquiry = &page->inquiry;
    while (inquiry_left(inquiry)) {
        const struct peer *peer = inquiry_next(node, inquiry);
        if (!peer) {
            page_failed(node, pending, inquiry_unreached(node, inquiry));
            return;
        }
        struct kith_sweep_req *req =
            &core_send(node, peer->conn, KITH_MSG_SWEEP_REQ, pending->id)->u.sweep_req;
        req->table = page->table;
        req->step = step_of(page->phase);
        req->partition = page->partition;
        req->chunk_count = page->chunk_count;
        req->chunks = page->chunks;
    }
    if (inquiry->out > 0) {
        return;
    }
    gather(page); /* without those that others have kept */
    if (page->phase == SWEEPING_ASK || page->chunk_count == 0) {
        phase_next(node, pending);
        return;
    }
    struct kith_store_op *op =
        core_store(node, pending, KITH_STORE_SWEEP_STEP, page->partition);
    op->durability = KITH_DURABLE_DISK;
    op->u.sweep.now_ms = node->wall_ms;
    op->u.sweep.grace_ms = node->sweep.grace_ms;
    op->u.sweep.step = step_of(page->phase);
    op->u.sweep.count = page->chunk_count;
    op->u.sweep.chunks = page->chunks;
}

/* What could not be doomed or deleted is condemned again, under another stamp. */
static void condemn_anew(struct pending_sweep *page)
{
    for (uint32_t i = 0; i < page->item_count; i++) {
        struct sweep_item *item = &page->items[i];
        bool again = item->ripe && item->refused && !item->kept;
        if (again || !item->ripe) {
            item->ripe = item->refused = false;
            item->chunk.stamp = page->stamp;
        } else {
            item->refused = true;
        }
    }
}

static void phase_next(struct kith_node *node, struct pending *pending)
{
    struct pending_sweep *page = &pending->u.sweep;
    if (!table_settled(node) || kith_table_id_compare(&page->table, &node->table->id) != 0) {
        page_failed(node, pending, "the table changes");
        return;
    }
    do {
        page->phase++;
        if (page->phase == SWEEPING_CONDEMN) {
            condemn_anew(page);
        }
        if (page->phase == SWEEPING_END) {
            page_done(node, pending);
            return;
        }
        gather(page);
    } while (page->chunk_count == 0);
    inquiry_choose(node, &page->inquiry, page->partition, page->phase == SWEEPING_ASK);
    phase_ask(node, pending);
}

/* Both in the order in which the items are. */
static void take_kept(struct pending_sweep *page, uint32_t count, const struct kith_chunk_id *kept)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < page->item_count && k < count; i++) {
        struct sweep_item *item = &page->items[i];
        if (memcmp(item->chunk.id.bytes, kept[k].bytes, sizeof kept[k].bytes) == 0) {
            item->kept = item->kept || page->phase == SWEEPING_ASK;
            item->refused = true;
            k++;
        }
    }
}

/* ---- Answers ---- */

static void listed(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done)
{
    struct pending_sweep *page = &pending->u.sweep;
    uint32_t count = done->u.sweep_list.count;
    struct kith_arena *arena = &pending->arena;
    page->more = done->u.sweep_list.more;
    page->last = done->u.sweep_list.last;
    page->items = kith_arena_calloc(arena, count + 1u, sizeof *page->items);
    page->chunks = kith_arena_calloc(arena, count + 1u, sizeof *page->chunks);
    if (!page->items || !page->chunks || !inquiry_init(node, arena, &page->inquiry)) {
        page_failed(node, pending, "out of memory");
        return;
    }
    page->item_count = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_sweep_entry *entry = &done->u.sweep_list.chunks[i];
        struct sweep_item *item = &page->items[i];
        item->chunk.id = entry->id;
        item->chunk.stamp = entry->stamp;
        item->ripe = entry->ripe;
    }
    phase_next(node, pending);
}

void sweep_stored(struct kith_node *node, struct pending *pending,
                  const struct kith_store_done *done)
{
    struct pending_sweep *page = &pending->u.sweep;
    core_stored_last(node, pending);
    if (pending->answered || done->err != KITH_OK) {
        page_failed(node, pending,
                    done->err != KITH_OK ? core_text(node, "this node: %s", done->message) : "");
        return;
    }
    if (page->phase == SWEEPING_LIST) {
        listed(node, pending, done);
        return;
    }
    take_kept(page, done->u.sweep.kept_count, done->u.sweep.kept);
    if (page->phase == SWEEPING_CONDEMN) {
        node->sweep.condemned += page->chunk_count - done->u.sweep.kept_count;
    }
    node->sweep.swept += done->u.sweep.deleted;
    node->sweep.swept_bytes += done->u.sweep.bytes;
    phase_next(node, pending);
}

void sweep_got(struct kith_node *node, struct pending *pending, uint16_t peer,
               const struct kith_sweep_res *res)
{
    struct pending_sweep *page = &pending->u.sweep;
    if (pending->answered || !inquiry_got(&page->inquiry, peer)) {
        return;
    }
    if (res->status.err != KITH_OK) {
        page_failed(node, pending, core_text(node, "node %s: %s", node->peers[peer].info.address,
                                             res->status.message));
        return;
    }
    take_kept(page, res->kept_count, res->kept);
    phase_ask(node, pending);
}

void sweep_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (!pending->answered && inquiry_waits(&pending->u.sweep.inquiry, peer)) {
        page_failed(node, pending,
                    core_text(node, "node %s cannot be reached", node->peers[peer].info.address));
    }
}

void sweep_expire(struct kith_node *node, struct pending *pending)
{
    page_failed(node, pending, "other nodes are slow to answer");
}

/* ---- When ---- */

static void page_begin(struct kith_node *node)
{
    struct sweep *sweep = &node->sweep;
    uint64_t timeout_ms = least(SWEEP_TIMEOUT_MS, sweep->grace_ms / 4);
    struct pending *pending = pending_new(node, PENDING_SWEEP, 0, NULL, timeout_ms);
    if (!pending) {
        sweep->due_ms = node->now_ms + SWEEP_YIELD_MS;
        return;
    }
    sweep->out = true;
    struct pending_sweep *page = &pending->u.sweep;
    page->partition = sweep->partition;
    page->table = node->table->id;
    page->stamp = core_random(node);
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_SWEEP_LIST, sweep->partition);
    op->u.sweep_list.now_ms = node->wall_ms;
    op->u.sweep_list.grace_ms = sweep->grace_ms;
    op->u.sweep_list.marks_only =
        kith_table_owners(node->table, sweep->partition)[0] != node->self;
    op->u.sweep_list.has_after = sweep->has_after;
    op->u.sweep_list.after = sweep->after;
}

void sweep_tick(struct kith_node *node)
{
    struct sweep *sweep = &node->sweep;
    if (node->now_ms < sweep->due_ms || sweep->out) {
        return;
    }
    sweep->due_ms = node->now_ms + least(SWEEP_AGAIN_MS, sweep->grace_ms / 8);
    if (!table_settled(node) || refill_any(node)) {
        return;
    }
    if (exchange_busy(node)) {
        sweep->due_ms = node->now_ms + SWEEP_YIELD_MS;
        return;
    }
    uint32_t partitions = node->table->partitions;
    if (sweep->left == 0 || sweep->left > partitions) {
        sweep->left = partitions;
        sweep->begun_ms = node->now_ms;
        sweep->has_after = false;
    }
    sweep->partition %= partitions;
    for (; !kith_table_owns(node->table, sweep->partition, node->self); sweep->has_after = false) {
        sweep->partition = (sweep->partition + 1u) % partitions;
        sweep->left--;
        if (sweep->left == 0) {
            sweep->whole_ms = node->now_ms;
            sweep->due_ms = sweep->begun_ms + sweep->grace_ms / SWEEP_PASSES;
            return;
        }
    }
    page_begin(node);
}

uint64_t sweep_due(const struct kith_node *node)
{
    return node->sweep.out ? UINT64_MAX : node->sweep.due_ms;
}
