/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * reap.c - the side that leads (reap.h).
 *
 * A PASS goes through the partitions that this node is the first owner of. One that cannot be done,
 * for a member is away or the table changes, is tried again, and kithctl status says why. */
#include <stdio.h>
#include <string.h>

#include "core/internal.h"

#define REAP_TIMEOUT_MS 60000u /* of a partition, and at most a quarter of the grace */
#define REAP_AGAIN_MS   30000u /* after one that could not be done; at most an eighth of it */
#define REAP_YIELD_MS   50u    /* while requests are under way */
#define REAP_PASSES     6u     /* in a grace */
#define REAP_LOOKS      10u    /* at the sums: writes are under way, and make some differ; */
#define REAP_LOOK_MS    300u   /* between two of them */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void reap_start(struct kith_node *node, uint64_t grace_ms)
{
    node->reap.grace_ms = grace_ms;
    node->reap.due_ms = grace_ms == 0 ? UINT64_MAX : node->now_ms + grace_ms / REAP_PASSES / 8;
}

/* ---- The end of a partition ---- */

static void failed(struct kith_node *node, struct pending *pending, const char *why)
{
    struct reap *reap = &node->reap;
    if (!pending->answered) {
        (void)snprintf(reap->waits, sizeof reap->waits, "%s", why);
        reap->out = false;
        reap->due_ms = node->now_ms + least(REAP_AGAIN_MS, reap->grace_ms / 8);
    }
    pending_end(node, pending);
}

static void finished(struct kith_node *node, struct pending *pending)
{
    struct reap *reap = &node->reap;
    reap->out = false;
    reap->due_ms = node->now_ms;
    reap->waits[0] = '\0';
    reap->left -= reap->left > 0 ? 1 : 0;
    reap->partition++;
    if (reap->left == 0) {
        reap->whole_ms = node->now_ms;
        uint64_t each_ms = reap->grace_ms / REAP_PASSES;
        uint64_t next_ms = reap->begun_ms + each_ms;
        reap->due_ms = next_ms > node->now_ms ? next_ms : node->now_ms + each_ms / 8;
    }
    pending_end(node, pending);
}

/* ---- Steps ---- */

static enum kith_reap_step step_of(enum reap_phase phase)
{
    switch (phase) {
    case REAPING_PROMOTE:
        return KITH_REAP_PROMOTE;
    case REAPING_REMOVE:
        return KITH_REAP_REMOVE;
    case REAPING_EQUAL:
        return KITH_REAP_EQUAL;
    case REAPING_SET:
        return KITH_REAP_SET;
    default:
        return KITH_REAP_ASK;
    }
}

static struct kith_store_op *own_op(struct kith_node *node, struct pending *pending,
                                    enum kith_store_kind kind)
{
    return core_store(node, pending, kind, pending->u.reap.partition);
}

static void list(struct kith_node *node, struct pending *pending)
{
    struct pending_reap *page = &pending->u.reap;
    struct kith_store_op *op = own_op(node, pending, KITH_STORE_REAP_LIST);
    page->phase = REAPING_LIST;
    op->u.reap_list.now_ms = node->wall_ms;
    op->u.reap_list.grace_ms = node->reap.grace_ms;
    op->u.reap_list.has_after = page->has_after;
    op->u.reap_list.after_group = page->after_group;
    op->u.reap_list.after_name = page->after_name;
}

/* What goes with a step: the runs that are asked for; or the floor that was agreed, together with
 * those that are in force at any owner. They hold for all owners by now, too: a dot under such a one
 * that somebody's rows do not cover is not covered by that owner's, which are the same; so it was
 * reaped there. */
static bool gather(struct pending *pending)
{
    struct pending_reap *page = &pending->u.reap;
    struct kith_floor_entry *entries =
        kith_arena_calloc(&pending->arena, page->entry_count + 1u, sizeof *entries);
    uint32_t count = 0;
    for (uint32_t i = 0; entries && i < page->entry_count; i++) {
        const struct reap_entry *entry = &page->entries[i];
        if (page->phase == REAPING_ASK || (page->phase == REAPING_SET && entry->floor > 0)) {
            entries[count].run = entry->run;
            entries[count].counter =
                page->phase == REAPING_SET ? entry->floor : entry->counter;
            count++;
        }
    }
    const struct kith_floor agreed = {count, entries};
    page->goes = agreed;
    return entries &&
           (page->phase != REAPING_SET || kith_floor_join(&pending->arena, &page->in_force,
                                                          &agreed, &page->goes) == KITH_OK);
}

/* Asks some more. Once all have answered our own store takes the step. */
static void phase_ask(struct kith_node *node, struct pending *pending)
{
    struct pending_reap *page = &pending->u.reap;
    struct inquiry *inquiry = &page->inquiry;
    bool sums = page->phase == REAPING_EQUAL;
    while (inquiry_left(inquiry)) {
        uint16_t index = inquiry->peers[inquiry->next];
        const struct peer *peer = inquiry_next(node, inquiry);
        if (!peer) {
            failed(node, pending, inquiry_unreached(node, inquiry));
            return;
        }
        struct kith_reap_req *req =
            &core_send(node, peer->conn, KITH_MSG_REAP_REQ, pending->id)->u.reap_req;
        req->table = page->table;
        req->step = step_of(page->phase);
        req->partition = page->partition;
        req->stamp = page->stamp;
        req->run = page->runs[index];
        req->entry_count = page->goes.count;
        req->entries = page->goes.entries;
        req->sum_count = sums ? KITH_TREE_LEAVES : 0;
        req->sums = page->sums;
    }
    if (inquiry->out > 0) {
        return;
    }
    struct kith_store_op *op = own_op(node, pending, KITH_STORE_REAP);
    op->durability = KITH_DURABLE_DISK;
    op->u.reap.step = step_of(page->phase);
    op->u.reap.now_ms = node->wall_ms;
    op->u.reap.grace_ms = node->reap.grace_ms;
    op->u.reap.stamp = page->stamp;
    op->u.reap.run = page->runs[inquiry->waits_peers];
    op->u.reap.entry_count = page->goes.count;
    op->u.reap.entries = page->goes.entries;
    op->u.reap.sums = page->sums;
    op->u.reap.owner = true;
}

static void phase_begin(struct kith_node *node, struct pending *pending, enum reap_phase phase)
{
    struct pending_reap *page = &pending->u.reap;
    if (!table_settled(node) || kith_table_id_compare(&page->table, &node->table->id) != 0) {
        failed(node, pending, "the table changes");
        return;
    }
    page->phase = phase;
    page->lacks = page->early = page->more = false;
    if (phase == REAPING_SUMS) {
        page->look_ms = UINT64_MAX;
        memset(&page->look, 0xff, sizeof page->look);
        struct kith_store_op *op = own_op(node, pending, KITH_STORE_SUMS);
        op->u.sums.chunks = false;
        return;
    }
    if (!gather(pending)) {
        failed(node, pending, "out of memory");
        return;
    }
    inquiry_choose(node, &page->inquiry, page->partition, phase == REAPING_ASK);
    phase_ask(node, pending);
}

/* ---- What comes of them ---- */

/* After the last page of what is gone here. */
static void decide(struct kith_node *node, struct pending *pending)
{
    struct pending_reap *page = &pending->u.reap;
    if (page->next_ripe || (page->ready > 0 && page->stamp != 0)) {
        page->stamp = page->next_ripe ? page->next_stamp : page->stamp;
        phase_begin(node, pending, REAPING_PROMOTE);
    } else if (page->next_stamp != 0) {
        finished(node, pending);
    } else if (page->others > 0) {
        phase_begin(node, pending, REAPING_ASK);
    } else { /* who is a new owner, or has lost his disk, has no floor, and others have */
        page->checks = true;
        phase_begin(node, pending, REAPING_PROMOTE);
    }
}

static void wish(struct pending_reap *page, uint32_t count, const struct kith_floor_entry *entries)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        while (at < page->entry_count && page->entries[at].run < entries[i].run) {
            at++;
        }
        struct reap_entry *entry = &page->entries[at];
        if (at < page->entry_count && entry->run == entries[i].run) {
            entry->counter =
                entries[i].counter > entry->counter ? entries[i].counter : entry->counter;
        } else if (page->entry_count < KITH_REAP_RUNS_MAX) {
            memmove(entry + 1, entry, (page->entry_count - at) * sizeof *entry);
            *entry = (struct reap_entry){entries[i].run, entries[i].counter, 0};
            page->entry_count++;
        } /* else: those wait for another floor */
    }
}

static void listed(struct kith_node *node, struct pending *pending,
                   const struct kith_store_done *done)
{
    struct pending_reap *page = &pending->u.reap;
    page->stamp = done->u.reap_list.stamp;
    page->next_stamp = done->u.reap_list.next_stamp;
    page->next_ripe = done->u.reap_list.next_ripe;
    page->in_force.count = done->u.reap_list.floor.count;
    page->in_force.entries =
        kith_arena_copy(&pending->arena, done->u.reap_list.floor.entries,
                        page->in_force.count * sizeof page->in_force.entries[0]);
    if (!page->in_force.entries) {
        failed(node, pending, "out of memory");
        return;
    }
    page->ready += done->u.reap_list.ready;
    page->others += done->u.reap_list.others;
    wish(page, done->u.reap_list.entry_count, done->u.reap_list.entries);
    if (!done->u.reap_list.more) {
        decide(node, pending);
        return;
    }
    struct kith_bytes name = done->u.reap_list.name;
    page->has_after = true;
    page->after_group = done->u.reap_list.group;
    page->after_name.size = name.size;
    page->after_name.data = kith_arena_copy(&pending->arena, name.data, name.size);
    if (!page->after_name.data) {
        failed(node, pending, "out of memory");
        return;
    }
    list(node, pending);
}

/* Whose runs these are, and how much of them. Two who call one their own: the lesser counts. */
static void take_runs(struct pending_reap *page, uint32_t count,
                      const struct kith_floor_entry *entries)
{
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < page->entry_count; k++) {
            struct reap_entry *entry = &page->entries[k];
            uint64_t counter =
                entries[i].counter == UINT64_MAX ? entry->counter : entries[i].counter;
            if (entry->run == entries[i].run && counter >= entry->counter) {
                entry->floor =
                    entry->floor > 0 && entry->floor < counter ? entry->floor : counter;
            }
        }
    }
}

/* What is in force there. */
static bool take_floor(struct kith_node *node, struct pending *pending,
                       const struct kith_reap_res *res)
{
    struct pending_reap *page = &pending->u.reap;
    const struct kith_floor floor = {res->entry_count, res->entries};
    bool sound = kith_floor_is_sound(&floor);
    if (!sound || kith_floor_join(&pending->arena, &page->in_force, &floor, &page->in_force) !=
                      KITH_OK) {
        failed(node, pending, sound ? "out of memory" : "an owner has a floor that cannot be");
        return false;
    }
    return true;
}

/* What one node, or our own store, has said. False: that is the end. */
static bool take(struct kith_node *node, struct pending *pending, const char *who,
                 const struct kith_reap_res *res)
{
    struct pending_reap *page = &pending->u.reap;
    switch (page->phase) {
    case REAPING_ASK:
        if (res->owes) {
            failed(node, pending,
                   core_text(node, "%s has something that is for others, or left over", who));
            return false;
        }
        take_runs(page, res->entry_count, res->entries);
        return true;
    case REAPING_EQUAL:
        for (uint32_t i = 0; i < sizeof page->look.bits; i++) {
            page->look.bits[i] = (uint8_t)(page->look.bits[i] & res->equal.bits[i]);
        }
        return page->looks > 0 || take_floor(node, pending, res);
    case REAPING_PROMOTE:
    case REAPING_REMOVE:
        page->lacks = page->lacks || res->verdict == KITH_FLOOR_LACKS;
        page->early = page->early || res->verdict == KITH_FLOOR_EARLY;
        page->more = page->more || res->more;
        return true;
    default:
        return true;
    }
}

static bool any_floor(const struct pending_reap *page)
{
    bool any = false;
    for (uint32_t i = 0; i < page->entry_count; i++) {
        any = any || page->entries[i].floor > 0;
    }
    return any;
}

static bool all_equal(struct pending_reap *page)
{
    bool all = true;
    for (uint32_t i = 0; i < sizeof page->equal.bits; i++) {
        page->equal.bits[i] = (uint8_t)(page->equal.bits[i] | page->look.bits[i]);
        all = all && page->equal.bits[i] == 0xff;
    }
    return all;
}

/* All have taken the step, and our own store has. */
static void phase_over(struct kith_node *node, struct pending *pending)
{
    struct pending_reap *page = &pending->u.reap;
    switch (page->phase) {
    case REAPING_ASK:
        page->stamp = core_random(node) | 1u;
        if (any_floor(page) || page->mends) {
            phase_begin(node, pending, REAPING_SUMS);
        } else {
            finished(node, pending); /* all are of runs of nodes that are gone */
        }
        return;
    case REAPING_EQUAL:
        if (all_equal(page)) {
            phase_begin(node, pending, REAPING_SET);
        } else if (++page->looks == REAP_LOOKS) {
            failed(node, pending, "the owners do not have the same rows yet");
        } else {
            page->look_ms = node->now_ms + REAP_LOOK_MS;
        }
        return;
    case REAPING_SET:
        node->reap.floors++;
        finished(node, pending);
        return;
    case REAPING_PROMOTE:
        if (page->lacks && (page->next_stamp == 0 || page->next_stamp == page->stamp)) {
            page->mends = true;
            phase_begin(node, pending, REAPING_ASK);
        } else if (page->lacks || page->early || page->checks) {
            finished(node, pending);
        } else {
            phase_begin(node, pending, REAPING_REMOVE);
        }
        return;
    default: /* REMOVE */
        if (page->more && !page->lacks) {
            phase_begin(node, pending, REAPING_REMOVE);
        } else {
            finished(node, pending);
        }
    }
}

/* ---- Answers ---- */

static void sums_read(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done)
{
    struct pending_reap *page = &pending->u.reap;
    for (uint32_t i = 0; i < KITH_TREE_LEAVES; i++) {
        kith_sum_encode(&done->u.sums[i], &page->sums[i]);
    }
    phase_begin(node, pending, REAPING_EQUAL);
}

/* What somebody has said, step by step, is about one store, from the first word on. */
static bool same_run(struct pending_reap *page, uint32_t who, uint64_t run)
{
    if (page->runs[who] == 0) {
        page->runs[who] = run;
    }
    return page->runs[who] == run;
}

void reap_stored(struct kith_node *node, struct pending *pending,
                 const struct kith_store_done *done)
{
    struct pending_reap *page = &pending->u.reap;
    core_stored_last(node, pending);
    if (pending->answered || done->err != KITH_OK) {
        failed(node, pending,
               done->err != KITH_OK ? core_text(node, "this node: %s", done->message) : "");
        return;
    }
    if (page->phase == REAPING_LIST) {
        listed(node, pending, done);
        return;
    }
    if (page->phase == REAPING_SUMS) {
        sums_read(node, pending, done);
        return;
    }
    const struct kith_reap_res res = {.verdict = done->u.reap.verdict,
                                      .run = done->u.reap.run,
                                      .owes = done->u.reap.owes,
                                      .entry_count = done->u.reap.entry_count,
                                      .entries = done->u.reap.entries,
                                      .equal = done->u.reap.equal,
                                      .more = done->u.reap.more};
    node->reap.reaped += done->u.reap.reaped;
    if (!same_run(page, page->inquiry.waits_peers, res.run)) {
        failed(node, pending, "this node took another run");
    } else if (take(node, pending, "this node", &res)) {
        phase_over(node, pending);
    }
}

void reap_got(struct kith_node *node, struct pending *pending, uint16_t peer,
              const struct kith_reap_res *res)
{
    struct pending_reap *page = &pending->u.reap;
    if (pending->answered || !inquiry_got(&page->inquiry, peer)) {
        return;
    }
    const char *who = core_text(node, "node %s", node->peers[peer].info.address);
    if (res->status.err != KITH_OK) {
        failed(node, pending, core_text(node, "%s: %s", who, res->status.message));
        return;
    }
    if (!same_run(page, peer, res->run)) {
        failed(node, pending, core_text(node, "%s was started anew", who));
    } else if (take(node, pending, who, res)) {
        phase_ask(node, pending);
    }
}

void reap_peer_lost(struct kith_node *node, struct pending *pending, uint16_t peer)
{
    if (!pending->answered && inquiry_waits(&pending->u.reap.inquiry, peer)) {
        failed(node, pending,
               core_text(node, "node %s cannot be reached", node->peers[peer].info.address));
    }
}

void reap_expire(struct kith_node *node, struct pending *pending)
{
    failed(node, pending, "other nodes are slow to answer");
}

/* ---- When ---- */

static void partition_begin(struct kith_node *node)
{
    struct reap *reap = &node->reap;
    uint64_t timeout_ms = least(REAP_TIMEOUT_MS, reap->grace_ms / 4);
    struct pending *pending = pending_new(node, PENDING_REAP, 0, NULL, timeout_ms);
    if (!pending) {
        reap->due_ms = node->now_ms + REAP_YIELD_MS;
        return;
    }
    struct pending_reap *page = &pending->u.reap;
    struct kith_arena *arena = &pending->arena;
    bool room = inquiry_init(node, arena, &page->inquiry);
    page->runs = kith_arena_calloc(arena, node->peer_count + 1u, sizeof *page->runs);
    page->entries = kith_arena_calloc(arena, KITH_REAP_RUNS_MAX, sizeof *page->entries);
    page->sums = kith_arena_calloc(arena, KITH_TREE_LEAVES, sizeof *page->sums);
    if (!room || !page->runs || !page->entries || !page->sums) {
        failed(node, pending, "out of memory");
        return;
    }
    page->look_ms = UINT64_MAX;
    page->partition = reap->partition;
    page->table = node->table->id;
    reap->out = true;
    reap->pending = pending->id;
    list(node, pending);
}

/* The next look at the sums, if it is time for it. */
static void look(struct kith_node *node)
{
    struct pending *pending = pending_get(node, node->reap.pending);
    if (pending && !pending->answered && pending->u.reap.look_ms <= node->now_ms) {
        phase_begin(node, pending, REAPING_SUMS);
    }
}

void reap_tick(struct kith_node *node)
{
    struct reap *reap = &node->reap;
    if (reap->out) {
        look(node);
        return;
    }
    if (node->now_ms < reap->due_ms) {
        return;
    }
    reap->due_ms = node->now_ms + least(REAP_AGAIN_MS, reap->grace_ms / 8);
    if (!table_settled(node)) {
        return;
    }
    if (exchange_busy(node)) {
        reap->due_ms = node->now_ms + REAP_YIELD_MS;
        return;
    }
    uint32_t partitions = node->table->partitions;
    if (reap->left == 0 || reap->left > partitions) {
        reap->left = partitions;
        reap->begun_ms = node->now_ms;
    }
    reap->partition %= partitions;
    while (kith_table_owners(node->table, reap->partition)[0] != node->self) {
        reap->partition = (reap->partition + 1u) % partitions;
        reap->left--;
        if (reap->left == 0) {
            reap->whole_ms = node->now_ms;
            reap->due_ms = reap->begun_ms + reap->grace_ms / REAP_PASSES;
            return;
        }
    }
    partition_begin(node);
}

uint64_t reap_due(const struct kith_node *node)
{
    const struct reap *reap = &node->reap;
    if (!reap->out) {
        return reap->due_ms;
    }
    uint32_t slot = (uint32_t)(reap->pending % KITH_PENDING_MAX);
    const struct pending *pending = &node->pendings[slot];
    bool ours = pending->id == reap->pending && pending->kind == PENDING_REAP;
    return ours && !pending->answered ? pending->u.reap.look_ms : UINT64_MAX;
}
