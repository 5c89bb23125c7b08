/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * moves.c - a joint table (data/table.h, MOVES) is carried out, and settled.
 *
 *     joint table in use --> each next owner SYNCS what it gains --> all have said so: settle
 *
 * Writes go to both sides from the moment a node uses the joint table (put.c, chunk.c), so what has
 * to be moved is what was written before. A next owner has a partition once it has compared rows
 * and chunks, to the end, with all owners that are up, a majority at least: they answer under this
 * table alone (tables.c), and take nothing under an older one from then on. So for every write of
 * before that a majority of the owners had acknowledged, one of those compared had it when the
 * comparison began. Where there are to be fewer owners than now, those that stay do the same: of two
 * that have a write the one may leave, and who stays may not have it.
 *
 * A next owner whose store is aged has the owners look at what it holds before that (aged.h): they
 * have floors, and know which of it is dead, and of the next owners perhaps nobody does.
 *
 * MARK. What has come is flushed with a record that names the table; only then the node says that
 * its part is done, in its pings, and never again otherwise while that table is in use. A member that
 * leaves says so when it keeps nothing for others any more. Nobody waits for one that is gone for good.
 *
 * SETTLING. The first member of the table that is up proposes the table after it, once all whose
 * marks it takes are there. Those who have done their part tell the first few members. That two
 * propose does no harm: agreement sees to it (decide.h).
 *
 * Of the marks of Garage's layout changes (Auvolat 2023, "Garage: layout v2") `ack` is what answering
 * under the joint table alone gives, `sync` is the mark here, and `done` is in leftovers.c. */
#include <string.h>

#include "core/internal.h"

#define MOVES_TICK_MS    250u
#define MOVES_PAUSE_MS   1000u /* between two proposals, and up to as much more at random */
#define MOVES_DRIVERS    3u    /* members that are told */
#define MOVES_PROPOSE_MS 8000u

static bool joint(const struct kith_node *node)
{
    return node->has_cluster && kith_table_is_joint(node->table);
}

/* Whether the member has to bring what others have of the partition before the move ends. */
static bool gains(const struct kith_table *table, uint32_t partition, uint16_t member)
{
    const uint16_t *next = kith_table_next_owners(table, partition);
    bool stays = false;
    for (uint32_t i = 0; i < table->next_slots; i++) {
        stays = stays || next[i] == member;
    }
    return stays && (table->next_slots < table->owner_slots ||
                     !kith_table_owns(table, partition, member));
}

static bool flagged(const struct kith_table *table, uint16_t member, unsigned flag)
{
    return kith_table_is_joint(table) && (table->after[member].flags & flag) != 0;
}

/* ---- Our part ---- */

/* Of the owners of one partition: */
struct sync_count {
    uint32_t whole;  /* owners compared to the end, in the classes asked for */
    uint32_t strong; /* those that had not lost any of it themselves */
    bool open;      /* one that is up was not */
    bool lost;      /* one that is gone for good was not */
};

/* `classes`: bits by enum exchange_class. */
static void sync_count(const struct kith_node *node, uint32_t partition, uint32_t first,
                       uint32_t classes, struct sync_count *count)
{
    const struct exchanges *exchanges = &node->exchanges;
    for (uint32_t i = first;
         i < exchanges->own_count && exchanges->pairs[i].partition == partition; i++) {
        bool whole = true, weak = false;
        for (uint32_t class = 0; class < EXCHANGE_CLASSES; class ++) {
            const struct exchange_pair *pair = &exchanges->pairs[class * exchanges->pair_count + i];
            bool asked = (classes >> class & 1u) != 0;
            whole = whole && (!asked || pair->whole_ms > 0);
            weak = weak || (asked && pair->weak);
        }
        uint16_t peer = exchanges->pairs[i].peer;
        uint16_t member = kith_table_find(node->table, &node->peers[peer].uuid);
        bool gone = flagged(node->table, member, KITH_MEMBER_GONE);
        count->whole += whole ? 1 : 0;
        count->strong += whole && !weak ? 1 : 0;
        count->lost = count->lost || (gone && !whole);
        count->open = count->open || (!whole && !gone && node->peers[peer].up);
    }
}

/* A majority of the owners has one of every W that had acknowledged a write: of W - 1 beside us,
 * where we are an owner that has lost it, and count for nothing. Fewer do where they are all that
 * there are, and where owners are gone for good: an administrator has said so. */
bool moves_compared(const struct kith_node *node, uint32_t partition, uint32_t first,
                    uint32_t classes)
{
    struct sync_count count = {.whole = 0};
    sync_count(node, partition, first, classes, &count);
    bool lost = false; /* here */
    for (uint32_t class = 0; class < EXCHANGE_CLASSES; class++) {
        lost = lost || ((classes >> class & 1u) != 0 &&
                        refill_wants(node, partition, class == EXCHANGE_CHUNKS));
    }
    bool owner = kith_table_owns(node->table, partition, node->self);
    count.whole += owner && !lost ? 1 : 0;
    count.strong += owner && !lost ? 1 : 0;
    uint32_t left = 0; /* owners that are not gone, nor have lost it here */
    const uint16_t *owners = kith_table_owners(node->table, partition);
    for (uint32_t i = 0; i < node->table->owner_slots; i++) {
        bool gone = flagged(node->table, owners[i], KITH_MEMBER_GONE);
        left += gone || (lost && owners[i] == node->self) ? 0 : 1;
    }
    bool majority = count.strong >= node->table->owner_slots / 2 + 1;
    bool all = owner && lost && (count.strong > 0 || left == 0);
    return !count.open && (majority || ((count.lost || all) && count.whole >= left));
}

static void progress(struct kith_node *node)
{
    struct moves *moves = &node->moves;
    const struct exchanges *exchanges = &node->exchanges;
    moves->complete = 0;
    moves->bytes = 0;
    for (uint32_t i = 0; i < exchanges->own_count; i++) {
        const struct exchange_pair *pair = &exchanges->pairs[i];
        if (!gains(node->table, pair->partition, node->self)) {
            continue;
        }
        moves->bytes += pair->bytes + exchanges->pairs[exchanges->pair_count + i].bytes;
        if (i == 0 || exchanges->pairs[i - 1].partition != pair->partition) {
            bool all = moves_compared(node, pair->partition, i,
                                      1u << EXCHANGE_ROWS | 1u << EXCHANGE_CHUNKS);
            moves->complete += all && !aged_wants(node, pair->partition) ? 1 : 0;
        }
    }
}

static void marked(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    struct moves *moves = &node->moves;
    moves->marking = false;
    if (err == KITH_OK && arg == moves->turn) {
        moves->synced = true;
        core_log(node, LEVEL_INFO, "table %llu.%llu: all %u partitions that come here are here",
                 (unsigned long long)node->table->id.epoch,
                 (unsigned long long)node->table->id.version, moves->gained);
    }
}

/* Flushes what has come, with a record that it has. */
static void mark(struct kith_node *node)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_buf_put_u64(&buf, node->table->id.epoch);
    kith_buf_put_u64(&buf, node->table->id.version);
    kith_buf_put(&buf, node->table->id.hash.bytes, KITH_CHECKSUM_SIZE);
    meta_seal(&buf);
    node->moves.marking = !buf.failed && meta_put(node, KITH_META_MOVE, kith_buf_bytes(&buf), marked,
                                                  node->moves.turn) == KITH_OK;
    kith_buf_release(&buf);
}

void moves_load(struct kith_node *node, struct kith_bytes record)
{
    struct kith_reader reader;
    if (record.size == 0 || meta_unseal(&record) != KITH_OK) {
        return; /* all is compared again */
    }
    kith_reader_init(&reader, record);
    struct kith_table_id id = {.epoch = kith_read_u64(&reader)};
    id.version = kith_read_u64(&reader);
    const uint8_t *hash = kith_read(&reader, KITH_CHECKSUM_SIZE);
    if (hash && kith_reader_done(&reader)) {
        memcpy(id.hash.bytes, hash, KITH_CHECKSUM_SIZE);
        node->moves.synced = node->has_cluster && !refill_any(node) &&
                             kith_table_id_compare(&id, &node->table->id) == 0;
    }
}

static bool own_done(const struct kith_node *node)
{
    const struct moves *moves = &node->moves;
    bool leaves = node->self != KITH_NO_MEMBER &&
                  flagged(node->table, node->self, KITH_MEMBER_LEAVES);
    return joint(node) && (moves->gained == 0 || moves->synced) && (!leaves || moves->drained);
}

bool moves_done(const struct kith_node *node)
{
    return node->moves.counted && own_done(node);
}

void moves_hints(struct kith_node *node, bool none)
{
    node->moves.drained = none;
}

static void own_part(struct kith_node *node)
{
    struct moves *moves = &node->moves;
    if (!moves->counted && node->self != KITH_NO_MEMBER) {
        moves->gained = 0;
        for (uint32_t p = 0; p < node->table->partitions; p++) {
            moves->gained += gains(node->table, p, node->self) ? 1 : 0;
        }
        moves->counted = true;
    }
    if (!moves->counted || moves->gained == 0 || moves->synced || moves->marking ||
        !node->exchanges.made) {
        return;
    }
    progress(node);
    if (moves->complete == moves->gained) {
        mark(node);
    }
}

/* ---- All of it ---- */

void moves_heard(struct kith_node *node, uint16_t peer, const struct kith_ping *ping)
{
    if (ping->moved) {
        node->peers[peer].moved = ping->table;
        node->moves.due_ms = node->now_ms;
    }
}

static bool must_mark(const struct kith_table *table, uint16_t member)
{
    if (flagged(table, member, KITH_MEMBER_LEAVES)) {
        return !flagged(table, member, KITH_MEMBER_GONE);
    }
    for (uint32_t p = 0; p < table->partitions; p++) {
        if (gains(table, p, member)) {
            return true;
        }
    }
    return false;
}

bool moves_complete(const struct kith_node *node)
{
    const struct kith_table *table = node->table;
    for (uint16_t m = 0; m < table->member_count; m++) {
        uint16_t peer = node->peer_of_member[m];
        bool done = peer == KITH_NO_PEER
                        ? moves_done(node)
                        : kith_table_id_compare(&node->peers[peer].moved, &table->id) == 0;
        if (!done && must_mark(table, m)) {
            return false;
        }
    }
    return true;
}

/* Tells the first members that are up, in case they do not hear our pings anyhow; whether this node
 * is the first of all. */
static bool tell(struct kith_node *node)
{
    uint32_t told = 0;
    for (uint16_t m = 0; m < node->table->member_count && told < MOVES_DRIVERS; m++) {
        uint16_t index = node->peer_of_member[m];
        if (index == KITH_NO_PEER) {
            if (told == 0) {
                return true;
            }
            continue;
        }
        struct peer *peer = &node->peers[index];
        if (!peer_alive(peer)) {
            continue;
        }
        told++;
        if (moves_done(node) && peer_want(node, peer) && !peer->kept) {
            peer_push(node, peer);
        }
    }
    return false;
}

void moves_table_changed(struct kith_node *node)
{
    struct moves *moves = &node->moves;
    memset(moves, 0, offsetof(struct moves, turn));
    moves->turn++;
    moves->due_ms = node->now_ms;
    if (joint(node)) {
        core_log(node, LEVEL_INFO, "table %llu.%llu moves data",
                 (unsigned long long)node->table->id.epoch,
                 (unsigned long long)node->table->id.version);
    }
}

void moves_tick(struct kith_node *node)
{
    struct moves *moves = &node->moves;
    if (!joint(node) || node->now_ms < moves->due_ms) {
        return;
    }
    moves->due_ms = node->now_ms + MOVES_TICK_MS;
    own_part(node);
    if (node->self == KITH_NO_MEMBER || !tell(node) || node->now_ms < moves->settle_ms ||
        !moves_complete(node)) {
        return;
    }
    struct kith_table *next = NULL;
    moves->settle_ms = node->now_ms + MOVES_PAUSE_MS + core_random(node) % MOVES_PAUSE_MS;
    if (kith_table_settle(node->table, &next) == KITH_OK) {
        (void)agree_propose(node, next, MOVES_PROPOSE_MS); /* busy: in a moment again */
        kith_table_drop(next);
    }
}

uint64_t moves_due(const struct kith_node *node)
{
    return joint(node) ? node->moves.due_ms : UINT64_MAX;
}
