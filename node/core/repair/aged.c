/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * aged.c - a store that comes back after a long time is compared before it is read: see aged.h. */
#include <string.h>

#include "core/internal.h"

#define AGED_NOTES   24u /* in a grace */
#define AGED_TICK_MS 100u

/* ---- Marks ---- */

static bool marked(const struct aged *aged, uint32_t partition)
{
    return aged->marks > 0 && ((unsigned)aged->open[partition / 8] >> (partition % 8) & 1u) != 0;
}

bool aged_wants(const struct kith_node *node, uint32_t partition)
{
    return node->aged.left > 0 && partition < node->table->partitions &&
           marked(&node->aged, partition) && table_holds(node, partition);
}

static void unmark(struct aged *aged, uint32_t partition)
{
    aged->open[partition / 8] &= (uint8_t) ~(1u << (partition % 8));
    aged->marks--;
}

/* From here on what is marked, and held, is waited for. */
static void begin(struct kith_node *node)
{
    struct aged *aged = &node->aged;
    aged->told = aged->told && aged->left > 0;
    aged->left = 0;
    aged->since_ms = node->now_ms;
    aged->due_ms = node->now_ms;
    for (uint32_t p = 0; p < node->table->partitions; p++) {
        aged->left += marked(aged, p) && table_holds(node, p) ? 1 : 0;
    }
}

static void mark_all(struct kith_node *node)
{
    struct aged *aged = &node->aged;
    aged->marks = node->table->partitions;
    memset(aged->open, 0xff, (aged->marks + 7u) / 8u);
    aged->told = false;
    begin(node);
    exchange_aged(node);
    leftovers_aged(node);
}

void aged_copy(struct kith_node *node)
{
    if (node->has_cluster) {
        mark_all(node);
    }
}

static uint64_t apart(uint64_t a, uint64_t b)
{
    return a > b ? a - b : b - a;
}

enum kith_err aged_load(struct kith_node *node, uint64_t grace_ms, struct kith_bytes note)
{
    struct aged *aged = &node->aged;
    aged->grace_ms = grace_ms;
    aged->seen_ms = node->wall_ms;
    aged->due_ms = node->now_ms;
    aged->open = kith_calloc(KITH_PARTITIONS_MAX / 8u, 1);
    if (!aged->open) {
        return KITH_ENOMEM;
    }
    if (!node->has_cluster || grace_ms == 0 || note.size == 0) {
        return KITH_OK;
    }
    struct kith_reader reader;
    bool known = meta_unseal(&note) == KITH_OK;
    kith_reader_init(&reader, note);
    uint64_t alive_ms = kith_read_u64(&reader);
    known = known && kith_reader_done(&reader);
    if (!known || apart(node->wall_ms, alive_ms) > grace_ms / 2) {
        mark_all(node);
    }
    return KITH_OK;
}

void aged_release(struct kith_node *node)
{
    kith_free(node->aged.open);
}

void aged_clock(struct kith_node *node)
{
    struct aged *aged = &node->aged;
    uint64_t before_ms = aged->seen_ms;
    aged->seen_ms = node->wall_ms;
    if (aged->grace_ms > 0 && node->has_cluster && node->wall_ms > before_ms &&
        node->wall_ms - before_ms > aged->grace_ms / 2) {
        mark_all(node);
    }
}

void aged_table_changed(struct kith_node *node)
{
    if (node->aged.marks > 0) {
        begin(node);
    }
    node->aged.due_ms = node->now_ms;
}

void aged_empty(struct kith_node *node, uint32_t partition)
{
    if (marked(&node->aged, partition)) {
        KITH_ASSERT(!table_holds(node, partition));
        unmark(&node->aged, partition);
        node->aged.due_ms = node->now_ms; /* for the note */
    }
}

/* ---- What has been compared ---- */

struct same_count {
    uint32_t others; /* owners beside us that are not gone for good */
    uint32_t same;   /* those who have the same */
    bool open;       /* one that is up has not */
};

/* `first`: the partition's first pair, or one behind. */
static void same_count(const struct kith_node *node, uint32_t partition, uint32_t first,
                       struct same_count *count)
{
    const struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = first;
         i < exchanges->own_count && exchanges->pairs[i].partition == partition; i++) {
        const struct peer *peer = &node->peers[exchanges->pairs[i].peer];
        uint16_t member = kith_table_find(node->table, &peer->uuid);
        bool gone = kith_table_is_joint(node->table) &&
                    (node->table->after[member].flags & KITH_MEMBER_GONE) != 0;
        const struct exchange_pair *pair = &exchanges->pairs[i];
        bool late = node->now_ms - node->aged.since_ms >= AGED_MOST_MS;
        bool same = exchange_same(pair) || (late && pair->whole_ms > node->aged.since_ms);
        count->others += gone ? 0 : 1;
        count->same += same ? 1 : 0;
        count->open = count->open || (peer->up && !gone && !same);
    }
}

bool aged_bars(const struct kith_node *node, uint32_t partition)
{
    if (!aged_wants(node, partition)) {
        return false;
    }
    const uint16_t *owners = kith_table_owners(node->table, partition);
    bool alone = node->now_ms - node->aged.since_ms >= AGED_ALONE_MS;
    for (uint32_t i = 0; i < node->table->owner_slots && alone; i++) {
        uint16_t peer = owners[i] < node->table->member_count ? node->peer_of_member[owners[i]]
                                                              : KITH_NO_PEER;
        alone = peer == KITH_NO_PEER || !node->peers[peer].up;
    }
    return !alone;
}

static void look(struct kith_node *node)
{
    const struct exchanges *exchanges = &node->exchanges;
    uint32_t first = 0;
    for (uint32_t p = 0; p < node->table->partitions; p++) {
        while (first < exchanges->own_count && exchanges->pairs[first].partition < p) {
            first++;
        }
        if (!aged_wants(node, p)) {
            continue;
        }
        struct same_count count = {.others = 0};
        same_count(node, p, first, &count);
        bool owner = kith_table_owns(node->table, p, node->self);
        uint32_t need = node->table->owner_slots / 2 + (owner ? 0 : 1);
        if (!count.open && count.same >= (need < count.others ? need : count.others)) {
            unmark(&node->aged, p);
            node->aged.left--;
        }
    }
    if (node->aged.left == 0) {
        core_log(node, LEVEL_INFO, "this store has been compared, and is read again");
    }
}

/* ---- The note ---- */

static void noted(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    (void)err; /* logged; an older one makes the store look older */
    node->aged.writing = false;
    node->aged.due_ms = node->now_ms + node->aged.grace_ms / AGED_NOTES;
}

static void note(struct kith_node *node)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u64(&buf, node->wall_ms);
    meta_seal(&buf);
    node->aged.writing =
        !buf.failed && meta_put(node, KITH_META_ALIVE, kith_buf_bytes(&buf), noted, 0) == KITH_OK;
    kith_buf_release(&buf);
}

void aged_tick(struct kith_node *node)
{
    struct aged *aged = &node->aged;
    if (!node->has_cluster || aged->writing || node->now_ms < aged->due_ms) {
        return;
    }
    aged->due_ms = node->now_ms + AGED_TICK_MS;
    if (aged->left > 0 && !aged->told) {
        aged->told = true;
        core_log(node, LEVEL_WARN,
                 "this store was not in use for long, or is an older copy: it is compared with the "
                 "other owners of its %u partitions before they are read here",
                 aged->left);
    }
    if (aged->left > 0 && node->exchanges.made) {
        look(node);
    }
    if (aged->marks == 0 && aged->grace_ms > 0) {
        note(node);
    } else if (aged->left == 0) {
        aged->due_ms = UINT64_MAX; /* till there is another table, or leftovers are gone */
    }
}

uint64_t aged_due(const struct kith_node *node)
{
    const struct aged *aged = &node->aged;
    return node->has_cluster && !aged->writing ? aged->due_ms : UINT64_MAX;
}
