/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * where.c - WHERE: which owners have the newest state of rows, and which chunks they hold.
 *
 * Every owner is asked, for each row alone, and once for all its chunks. Nobody is waited for who
 * cannot be reached or gives no sign of life, and for the others at most half of the time: who has
 * not answered by then is counted as unknown. Next owners of a partition that moves are not asked,
 * nor who stands in for an owner: theirs are not the copies that count for good. */
#include <stdio.h>
#include <string.h>

#include "client/where.h"

/* ---- Whom to ask ---- */

/* The part that asks this member for chunks; NULL: memory is short. */
static struct cc_where_part *chunk_part(struct kith_client_core *core, struct cc_op *op,
                                        uint16_t member)
{
    struct cc_where *where = op->u.where;
    if (where->chunk_parts[member] == NULL) {
        struct cc_where_part *part = kith_arena_calloc(&op->arena, 1, sizeof(*part));
        if (part == NULL) {
            return NULL;
        }
        part->peer = core->by_member[member];
        part->member = member;
        part->chunks = true;
        where->chunk_parts[member] = part;
        where->parts[where->part_count++] = part;
    }
    return where->chunk_parts[member];
}

static bool bind_rows(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_where *where = op->u.where;
    const struct kith_table *table = op->table;
    for (uint32_t r = 0; r < where->row_count; r++) {
        const uint16_t *owners = kith_table_owners(
            table, kith_group_partition(&where->rows[r].group, table->partitions));
        for (uint32_t o = 0; o < table->owner_slots; o++) {
            struct cc_where_part *part = kith_arena_calloc(&op->arena, 1, sizeof(*part));
            if (part == NULL) {
                return false;
            }
            part->peer = core->by_member[owners[o]];
            part->member = owners[o];
            part->row = r;
            where->parts[where->part_count++] = part;
        }
    }
    return true;
}

/* Counts the chunks of each member, then, `fill`, notes which they are. */
static bool bind_chunks(struct kith_client_core *core, struct cc_op *op, bool fill)
{
    struct cc_where *where = op->u.where;
    const struct kith_table *table = op->table;
    for (uint32_t i = 0; i < where->id_count; i++) {
        const uint16_t *owners =
            kith_table_owners(table, kith_chunk_partition(&where->ids[i], table->partitions));
        for (uint32_t o = 0; o < table->owner_slots; o++) {
            struct cc_where_part *part = chunk_part(core, op, owners[o]);
            if (part == NULL) {
                return false;
            }
            if (fill) {
                part->ids[part->count] = where->ids[i];
                part->at[part->count] = i;
            }
            part->count++;
        }
    }
    for (uint32_t i = 0; i < where->part_count && !fill; i++) {
        struct cc_where_part *part = where->parts[i];
        if (part->chunks) {
            part->ids = kith_arena_calloc(&op->arena, part->count, sizeof(*part->ids));
            part->at = kith_arena_calloc(&op->arena, part->count, sizeof(*part->at));
            if (part->ids == NULL || part->at == NULL) {
                return false;
            }
            part->count = 0;
        }
    }
    return true;
}

static bool where_bind(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_where *where = op->u.where;
    op->table = kith_table_hold(core->table);
    size_t members = op->table->member_count;
    size_t most = (size_t)where->row_count * op->table->owner_slots + members;
    where->parts = kith_arena_calloc(&op->arena, most, sizeof(struct cc_where_part *));
    where->chunk_parts = kith_arena_calloc(&op->arena, members, sizeof(struct cc_where_part *));
    where->holders = kith_arena_calloc(&op->arena, where->id_count + 1u, sizeof(uint32_t));
    return where->parts != NULL && where->chunk_parts != NULL && where->holders != NULL &&
           bind_rows(core, op) && bind_chunks(core, op, false) && bind_chunks(core, op, true);
}

/* ---- What they say ---- */

static struct kith_client_where_node *node_of(struct cc_op *op, uint16_t member)
{
    struct kith_client_where *found = op->result.u.where;
    for (uint32_t i = 0; i < found->node_count; i++) {
        if (memcmp(&found->nodes[i].uuid, &op->table->members[member].uuid,
                   sizeof(found->nodes[i].uuid)) == 0) {
            return &found->nodes[i];
        }
    }
    return NULL; /* where_bind has asked nobody else: never */
}

static bool nodes_make(struct cc_op *op, struct kith_client_where *found)
{
    const struct cc_where *where = op->u.where;
    const struct kith_table *table = op->table;
    found->nodes = kith_arena_calloc(&op->arena, table->member_count, sizeof(*found->nodes));
    found->zones = kith_arena_calloc(&op->arena, table->member_count, sizeof(*found->zones));
    if (found->nodes == NULL || found->zones == NULL) {
        return false;
    }
    for (uint32_t m = 0; m < table->member_count; m++) {
        const struct cc_peer *peer = NULL;
        bool answered = true;
        for (uint32_t i = 0; i < where->part_count; i++) {
            if (where->parts[i]->member == m) {
                peer = where->parts[i]->peer;
                answered = answered && where->parts[i]->state == CC_REP_HAVE;
            }
        }
        if (peer != NULL) {
            struct kith_client_where_node *node = &found->nodes[found->node_count++];
            node->uuid = table->members[m].uuid;
            memcpy(node->zone, table->members[m].zone, sizeof(node->zone));
            memcpy(node->address, peer->address, sizeof(node->address));
            node->answered = answered;
        }
    }
    return true;
}

static struct kith_client_where_zone *zone_of(struct kith_client_where *found, const char *zone)
{
    uint32_t i = 0;
    while (i < found->zone_count && strcmp(found->zones[i].name, zone) != 0) {
        i++;
    }
    if (i == found->zone_count) {
        memcpy(found->zones[i].name, zone, sizeof(found->zones[i].name));
        found->zones[i].whole = true;
        found->zone_count++;
    }
    return &found->zones[i];
}

/* One row or chunk: which of its owners, a bit each, have it, and which have said whether. */
static void object_count(struct cc_op *op, uint32_t partition, uint32_t have, uint32_t said)
{
    const struct kith_table *table = op->table;
    struct kith_client_where *found = op->result.u.where;
    const uint16_t *owners = kith_table_owners(table, partition);
    uint32_t all = (1u << table->owner_slots) - 1u;
    uint32_t copies = (uint32_t)__builtin_popcount(have);
    found->copies = copies < found->copies ? copies : found->copies;
    found->unknown = found->unknown || said != all;
    found->missing = found->missing || (said & ~have) != 0;
    for (uint32_t o = 0; o < table->owner_slots; o++) {
        const char *zone = table->members[owners[o]].zone;
        bool here = false;
        for (uint32_t k = 0; k < table->owner_slots; k++) {
            here = here ||
                   ((have >> k & 1u) != 0 && strcmp(table->members[owners[k]].zone, zone) == 0);
        }
        struct kith_client_where_zone *one = zone_of(found, zone);
        one->whole = one->whole && here;
    }
}

/* A row as its owners have it: merged, and counted. */
static enum kith_err row_count(struct cc_op *op, uint32_t r)
{
    const struct cc_where *where = op->u.where;
    struct kith_client_where *found = op->result.u.where;
    struct kith_row rows[KITH_REPLICAS_MAX], merged = {0};
    uint32_t slots = op->table->owner_slots, said = 0, have = 0;
    memset(rows, 0, sizeof(rows));
    for (uint32_t o = 0; o < slots; o++) {
        const struct cc_where_part *part = where->parts[r * slots + o];
        struct kith_row both = {0};
        if (part->state != CC_REP_HAVE) {
            continue;
        }
        said |= 1u << o;
        enum kith_err err =
            part->copy.size > 0 ? kith_row_decode(&op->arena, part->copy, &rows[o]) : KITH_OK;
        err = err == KITH_OK ? kith_row_merge(&op->arena, &merged, &rows[o], &both) : err;
        if (err != KITH_OK) {
            return err;
        }
        merged = both;
    }
    found->rows[r].name = where->rows[r].name;
    found->rows[r].row = merged;
    bool absent = said != 0 && kith_row_is_empty(&merged); /* nobody has it: nothing to count */
    for (uint32_t o = 0; o < slots && !absent; o++) {
        struct kith_client_where_node *node = node_of(op, where->parts[r * slots + o]->member);
        bool has = (said >> o & 1u) != 0 && !kith_row_is_empty(&merged) &&
                   kith_clock_compare(&rows[o].clock, &merged.clock) == KITH_CLOCK_EQUAL;
        have |= has ? 1u << o : 0;
        node->rows++;
        node->rows_have += has ? 1 : 0;
    }
    if (!absent) {
        object_count(op, kith_group_partition(&where->rows[r].group, op->table->partitions), have,
                     said);
    }
    return KITH_OK;
}

static void chunks_count(struct cc_op *op)
{
    const struct cc_where *where = op->u.where;
    for (uint32_t i = 0; i < where->id_count; i++) {
        uint32_t partition = kith_chunk_partition(&where->ids[i], op->table->partitions), said = 0;
        const uint16_t *owners = kith_table_owners(op->table, partition);
        for (uint32_t o = 0; o < op->table->owner_slots; o++) {
            struct kith_client_where_node *node = node_of(op, owners[o]);
            said |= where->chunk_parts[owners[o]]->state == CC_REP_HAVE ? 1u << o : 0;
            node->chunks++;
            node->chunks_have += where->holders[i] >> o & 1u;
        }
        object_count(op, partition, where->holders[i], said);
    }
}

static enum kith_err where_result(struct cc_op *op)
{
    const struct cc_where *where = op->u.where;
    struct kith_client_where *found = kith_arena_calloc(&op->arena, 1, sizeof(*found));
    op->result.u.where = found;
    if (found == NULL || !nodes_make(op, found)) {
        return KITH_ENOMEM;
    }
    found->owners = found->copies = op->table->owner_slots;
    found->row_count = where->row_count;
    found->rows = kith_arena_calloc(&op->arena, where->row_count + 1u, sizeof(*found->rows));
    if (found->rows == NULL) {
        return KITH_ENOMEM;
    }
    enum kith_err err = KITH_OK;
    for (uint32_t r = 0; r < where->row_count && err == KITH_OK; r++) {
        err = row_count(op, r);
    }
    if (err == KITH_OK) {
        chunks_count(op);
    }
    return err;
}

static void where_finish(struct kith_client_core *core, struct cc_op *op)
{
    enum kith_err err = where_result(op);
    if (err != KITH_OK) {
        op->result.u.where = NULL;
        cc_op_fail(core, op, err, "%s", kith_err_text((int)err));
        return;
    }
    op->result.err = KITH_OK;
    op->result.message = "";
    cc_op_finish(core, op);
}

/* ---- Asking ---- */

static bool part_is_bulk(const struct cc_where_part *part)
{
    return part->chunks && kith_wire_is_bulk(KITH_MSG_CHUNK_SYNC_REQ);
}

static void part_ask(struct kith_client_core *core, struct cc_op *op, uint32_t i)
{
    const struct cc_where *where = op->u.where;
    struct cc_where_part *part = where->parts[i];
    struct kith_msg *msg =
        cc_message(core, part->chunks ? KITH_MSG_CHUNK_SYNC_REQ : KITH_MSG_GET_REQ);
    if (msg != NULL && part->chunks) {
        msg->u.chunk_sync_req.table = op->table->id;
        msg->u.chunk_sync_req.timeout_ms = cc_op_left_ms(core, op);
        msg->u.chunk_sync_req.id_count = part->count;
        msg->u.chunk_sync_req.ids = part->ids;
    } else if (msg != NULL) {
        msg->u.get_req.table = op->table->id;
        msg->u.get_req.timeout_ms = cc_op_left_ms(core, op);
        msg->u.get_req.group = where->rows[part->row].group;
        msg->u.get_req.name_count = 1;
        msg->u.get_req.names = &where->rows[part->row].name;
    }
    part->state = cc_ask(core, op, part->peer, i, msg) ? CC_REP_ASKED : CC_REP_FAILED;
    part->asked_ms = core->now;
}

void cc_where_drive(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_where *where = op->u.where;
    op->waits = true;
    if (core->table == NULL) {
        return;
    }
    if (op->table == NULL && !where_bind(core, op)) {
        cc_op_fail(core, op, KITH_ENOMEM, "out of memory");
        return;
    }
    uint32_t open = 0;
    for (uint32_t i = 0; i < where->part_count; i++) {
        struct cc_where_part *part = where->parts[i];
        bool bulk = part_is_bulk(part);
        if (part->state == CC_REP_NEW && cc_peer_link(core, part->peer, bulk) != NULL) {
            part_ask(core, op, i);
        } else if (part->state == CC_REP_NEW && cc_peer_down(core, part->peer, bulk)) {
            part->state = CC_REP_FAILED;
        }
        bool silent =
            part->state == CC_REP_ASKED && cc_peer_silent(core, op, part->peer, part->asked_ms);
        open += part->state == CC_REP_NEW || (part->state == CC_REP_ASKED && !silent) ? 1 : 0;
    }
    uint64_t half_ms = op->started_ms + (op->deadline_ms - op->started_ms) / 2;
    if (open == 0 || core->now >= half_ms) {
        where_finish(core, op);
        return;
    }
    cc_op_wake(core, op, half_ms);
}

void cc_where_lost(struct cc_op *op, uint32_t i)
{
    op->u.where->parts[i]->state = CC_REP_FAILED;
}

/* Notes what the node holds: all but the missing, which come in the order of the request. */
static bool chunks_take(struct cc_op *op, const struct cc_where_part *part,
                        const struct kith_chunk_sync_res *res)
{
    struct cc_where *where = op->u.where;
    uint32_t m = 0;
    for (uint32_t i = 0; i < part->count && m < res->missing_count; i++) {
        m += memcmp(&part->ids[i], &res->missing[m], sizeof(part->ids[i])) == 0 ? 1 : 0;
    }
    if (m < res->missing_count) {
        return false; /* nothing that was asked for */
    }
    m = 0;
    for (uint32_t i = 0; i < part->count; i++) {
        if (m < res->missing_count &&
            memcmp(&part->ids[i], &res->missing[m], sizeof(part->ids[i])) == 0) {
            m++;
            continue;
        }
        uint32_t at = part->at[i];
        const uint16_t *owners = kith_table_owners(
            op->table, kith_chunk_partition(&where->ids[at], op->table->partitions));
        for (uint32_t o = 0; o < op->table->owner_slots; o++) {
            where->holders[at] |= owners[o] == part->member ? 1u << o : 0;
        }
    }
    return true;
}

void cc_where_answer(struct kith_client_core *core, struct cc_op *op, uint32_t i,
                     const struct kith_msg *msg, struct kith_msg_box *box)
{
    struct cc_where_part *part = op->u.where->parts[i];
    const struct kith_get_res *got = &msg->u.get_res;
    bool good = false;
    enum kith_err err = KITH_EFORMAT;
    if (part->chunks && msg->kind == KITH_MSG_CHUNK_SYNC_RES) {
        err = msg->u.chunk_sync_res.status.err;
        good = err == KITH_OK && chunks_take(op, part, &msg->u.chunk_sync_res);
    } else if (!part->chunks && msg->kind == KITH_MSG_GET_RES) {
        err = got->status.err;
        bool held = box != NULL && cc_op_hold(op, box, NULL);
        good = err == KITH_OK && got->row_count == 1 &&
               cc_op_keep(op, held, got->rows[0].state, &part->copy);
    }
    part->state = good ? CC_REP_HAVE : CC_REP_FAILED;
    if (err == KITH_ESTALE) {
        cc_table_ask(core);
    }
    cc_drive(core, op);
}
