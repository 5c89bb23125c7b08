/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * get.c - reads of this replica: rows by name, a page of a group, what a request id made; and for
 * anti-entropy (exchange.c) a partition's sums, the rows of leaves and a list of their chunks.
 *
 * A replica answers what it holds; merging and quorums are the reader's. Only an owner of the
 * partition, or one that is to own it next (whom the reader asks next to owners, data/table.h),
 * answers, under the same table as the reader: a former owner says STALE, never not-found
 * (invariant 7); nor does an owner that has lost rows, before they are back (refill.h): it is
 * NOTREADY. Any other node answers what it keeps for owners where it is asked for just that
 * (`fallback`): such an answer is no vote. */
#include <string.h>

#include "core/internal.h"

static bool names_sound(uint32_t count, const struct kith_bytes *names)
{
    if (count == 0 || count > KITH_NAMES_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (names[i].size > KITH_NAME_MAX) {
            return false;
        }
    }
    return true;
}

static uint32_t read_timeout(uint32_t asked)
{
    return asked == 0 || asked > KITH_READ_TIMEOUT_MS ? KITH_READ_TIMEOUT_MS : asked;
}

/* A pending for the question, or NULL and an answer. */
static struct pending *read_begin(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                                  uint32_t timeout_ms)
{
    struct pending *pending = pending_new(node, PENDING_READ, conn, msg, read_timeout(timeout_ms));
    if (!pending) {
        core_refuse_full(node, conn, msg);
    }
    return pending;
}

/* Whether it may be answered; *ret_hints: with what is kept for owners. */
static bool read_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                       const struct kith_table_id *table, uint32_t partition, bool fallback,
                       bool *ret_hints)
{
    *ret_hints = fallback && table_check(node, table, partition) == TABLE_NOT_OURS &&
                 !table_holds(node, partition);
    if (!*ret_hints && !table_admit_holder(node, conn, msg, table, partition)) {
        return false;
    }
    if (!*ret_hints && refill_wants(node, partition, false)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has lost rows of partition %u, and waits for them",
                              node->address, partition));
        return false;
    }
    if (!*ret_hints && aged_bars(node, partition)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s was away for long, and compares partition %u first",
                              node->address, partition));
        return false;
    }
    return true;
}

void get_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_get_req *req = &msg->u.get_req;
    uint32_t partition =
        node->has_cluster ? kith_group_partition(&req->group, node->table->partitions) : 0;
    bool hints = false;
    if (!read_admit(node, conn, msg, &req->table, partition, req->fallback, &hints)) {
        return;
    }
    if (!names_sound(req->name_count, req->names)) {
        core_refuse(node, conn, msg, KITH_EINVAL, "names out of bounds");
        return;
    }
    struct pending *pending = read_begin(node, conn, msg, req->timeout_ms);
    if (!pending) {
        return;
    }
    node->gets++;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_GET, partition);
    op->u.get.group = req->group;
    op->u.get.hints = hints;
    op->u.get.digest = req->digest;
    op->u.get.name_count = req->name_count;
    op->u.get.names = req->names;
}

void scan_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_scan_req *req = &msg->u.scan_req;
    uint32_t partition =
        node->has_cluster ? kith_group_partition(&req->group, node->table->partitions) : 0;
    bool hints = false;
    if (!read_admit(node, conn, msg, &req->table, partition, req->fallback, &hints)) {
        return;
    }
    if (req->has_after && req->after.size > KITH_NAME_MAX) {
        core_refuse(node, conn, msg, KITH_EINVAL, "the name to start behind is too long");
        return;
    }
    struct pending *pending = read_begin(node, conn, msg, req->timeout_ms);
    if (!pending) {
        return;
    }
    node->scans++;
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_SCAN, partition);
    op->u.scan.group = req->group;
    op->u.scan.hints = hints;
    op->u.scan.has_after = req->has_after;
    op->u.scan.after = req->after;
    op->u.scan.max_rows = req->max_rows == 0 || req->max_rows > KITH_PAGE_ROWS_MAX
                              ? KITH_PAGE_ROWS_MAX
                              : req->max_rows;
    op->u.scan.max_bytes = req->max_bytes == 0 || req->max_bytes > KITH_PAGE_BYTES_MAX
                               ? KITH_PAGE_BYTES_MAX
                               : req->max_bytes;
}

void groups_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_groups_req *req = &msg->u.groups_req;
    bool hints = false;
    if (node->has_cluster && req->partition >= node->table->partitions) {
        core_refuse(node, conn, msg, KITH_EINVAL, "there is no such partition");
        return;
    }
    if (!read_admit(node, conn, msg, &req->table, req->partition, false, &hints)) {
        return;
    }
    struct pending *pending = read_begin(node, conn, msg, req->timeout_ms);
    if (pending) {
        node->scans++;
        struct kith_store_op *op = core_store(node, pending, KITH_STORE_GROUPS, req->partition);
        op->u.groups.volume = req->volume;
        op->u.groups.has_after = req->has_after;
        op->u.groups.after = req->after;
    }
}

void find_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_request_find_req *req = &msg->u.request_find_req;
    if (!conn_is_node(node, conn, msg)) {
        return;
    }
    if (!node->has_cluster) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has no cluster yet", node->address));
        return;
    }
    if (!names_sound(req->name_count, req->names)) {
        core_refuse(node, conn, msg, KITH_EINVAL, "names out of bounds");
        return;
    }
    struct pending *pending = read_begin(node, conn, msg, 0);
    if (!pending) {
        return;
    }
    uint32_t partition = kith_group_partition(&req->group, node->table->partitions);
    struct kith_store_op *op = core_store(node, pending, KITH_STORE_FIND, partition);
    op->u.find.group = req->group;
    op->u.find.hints = !table_holds(node, partition);
    op->u.find.request = req->request;
    op->u.find.name_count = req->name_count;
    op->u.find.names = req->names;
}

/* What anti-entropy asks: of owners, by owners; of those that are to own it as well, whose rows may
 * be old (aged.h). The sums and hashes are made with the secret. */
static bool tree_partition(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                           uint32_t partition)
{
    if (node->has_cluster && partition >= node->table->partitions) {
        core_refuse(node, conn, msg, KITH_EINVAL, "there is no such partition");
        return false;
    }
    return true;
}

static bool tree_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg,
                       const struct kith_table_id *table, uint32_t partition)
{
    return conn_is_node(node, conn, msg) && tree_partition(node, conn, msg, partition) &&
           (leftovers_open(node, table, partition) ||
            table_admit_holder(node, conn, msg, table, partition));
}

/* What a backup asks, of an owner (that those who ask are administrators the shell sees to). One that
 * has not got back all that it had, or may have old rows (aged.h), does not count as one. */
static bool backup_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_leaf_req *req = &msg->u.leaf_req;
    if (!req->sums) {
        return conn_is_node(node, conn, msg);
    }
    if (!tree_partition(node, conn, msg, req->partition) ||
        !table_admit(node, conn, msg, &req->table, req->partition)) {
        return false;
    }
    if (refill_wants(node, req->partition, false) || aged_wants(node, req->partition)) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has not got back all rows of partition %u yet",
                              node->address, req->partition));
        return false;
    }
    return true;
}

void sums_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_sums_req *req = &msg->u.sums_req;
    if (!tree_admit(node, conn, msg, &req->table, req->partition)) {
        return;
    }
    const struct conn *from = conn_find(node, conn);
    if (req->hurry && from->peer != KITH_NO_PEER) {
        exchange_hurry(node, req->partition, from->peer, req->chunks);
    }
    struct pending *pending = read_begin(node, conn, msg, 0);
    if (pending) {
        pending->u.read.root = req->root;
        pending->u.read.refilling = refill_wants(node, req->partition, req->chunks) ||
                                    (!req->chunks && aged_wants(node, req->partition));
        struct kith_store_op *op = core_store(node, pending, KITH_STORE_SUMS, req->partition);
        op->u.sums.chunks = req->chunks;
    }
}

static bool one_leaf(const struct kith_leaf_set *set)
{
    uint32_t count = 0;
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
        count += kith_leaf_in(set, leaf) ? 1 : 0;
    }
    return count == 1;
}

void leaf_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_leaf_req *req = &msg->u.leaf_req;
    const struct conn *from = conn_find(node, conn);
    bool client = !from || from->role != KITH_ROLE_NODE;
    if (client ? !backup_admit(node, conn, msg)
               : !tree_admit(node, conn, msg, &req->table, req->partition)) {
        return;
    }
    if (req->have_count > KITH_LEAF_HASHES_MAX) {
        core_refuse(node, conn, msg, KITH_EINVAL, "too many hashes");
        return;
    }
    if (req->part && (!req->sums || !one_leaf(&req->leaves))) {
        core_refuse(node, conn, msg, KITH_EINVAL, "parts are of one leaf, with its sum");
        return;
    }
    struct pending *pending = read_begin(node, conn, msg, 0);
    if (pending) {
        struct kith_store_op *op = core_store(node, pending, KITH_STORE_LEAF, req->partition);
        op->u.leaf.leaves = req->leaves;
        op->u.leaf.have_count = req->have_count;
        op->u.leaf.have = req->have;
        op->u.leaf.sums = req->sums;
        op->u.leaf.part = req->part;
        op->u.leaf.has_after = req->has_after;
        op->u.leaf.after = req->after;
        op->u.leaf.has_until = req->has_until;
        op->u.leaf.until = req->until;
        pending->u.read.root = req->root;
    }
}

void chunk_list_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_chunk_list_req *req = &msg->u.chunk_list_req;
    if (!tree_admit(node, conn, msg, &req->table, req->partition)) {
        return;
    }
    struct pending *pending = read_begin(node, conn, msg, 0);
    if (pending) {
        struct kith_store_op *op = core_store(node, pending, KITH_STORE_CHUNK_LIST, req->partition);
        op->u.chunk_list.leaves = req->leaves;
        op->u.chunk_list.has_after = req->has_after;
        op->u.chunk_list.after = req->after;
    }
}

/* The sums as they are sent: none where their root is the asker's. False: memory is short. */
static bool sums_encode(struct kith_node *node, const struct pending *pending,
                        const struct kith_sum sums[], uint32_t *ret_count,
                        const struct kith_checksum **ret_leaves)
{
    struct kith_sum sum = kith_tree_root(sums);
    struct kith_checksum root;
    kith_sum_encode(&sum, &root);
    if (kith_checksum_equal(&root, &pending->u.read.root)) {
        return true;
    }
    struct kith_checksum *leaves =
        kith_arena_alloc(&node->arena, KITH_TREE_LEAVES * sizeof *leaves);
    for (uint32_t i = 0; leaves && i < KITH_TREE_LEAVES; i++) {
        kith_sum_encode(&sums[i], &leaves[i]);
    }
    *ret_count = leaves ? KITH_TREE_LEAVES : 0;
    *ret_leaves = leaves;
    return leaves != NULL;
}

static void sums_answer(struct kith_node *node, const struct pending *pending,
                        const struct kith_store_done *done)
{
    struct kith_sums_res *res =
        &core_send(node, pending->conn, KITH_MSG_SUMS_RES, pending->msg_id)->u.sums_res;
    res->status = core_ok();
    res->refilling = pending->u.read.refilling;
    if (!sums_encode(node, pending, done->u.sums, &res->leaf_count, &res->leaves)) {
        res->status = core_status(KITH_ENOMEM, "out of memory");
    }
}

static void leaf_answer(struct kith_node *node, const struct pending *pending,
                        const struct kith_store_done *done)
{
    struct kith_leaf_res *res =
        &core_send(node, pending->conn, KITH_MSG_LEAF_RES, pending->msg_id)->u.leaf_res;
    res->status = core_ok();
    res->more = done->u.leaf.more;
    res->row_count = done->u.leaf.row_count;
    res->rows = done->u.leaf.rows;
    res->part = done->u.leaf.part;
    kith_sum_encode(&done->u.leaf.part_sum, &res->part_sum);
    if (!done->u.leaf.sums) {
        return;
    }
    struct kith_checksum *hashes =
        kith_arena_alloc(&node->arena, (res->row_count + 1u) * sizeof *hashes);
    for (uint32_t i = 0; hashes && i < res->row_count; i++) {
        hashes[i] = res->rows[i].hash;
    }
    res->hash_count = hashes ? res->row_count : 0;
    res->hashes = hashes;
    if (!hashes || (!res->more && !sums_encode(node, pending, done->u.leaf.sums, &res->sum_count,
                                               &res->sums))) {
        res->status = core_status(KITH_ENOMEM, "out of memory");
    }
}

static void chunk_list_answer(struct kith_node *node, const struct pending *pending,
                              const struct kith_store_done *done)
{
    struct kith_chunk_list_res *res =
        &core_send(node, pending->conn, KITH_MSG_CHUNK_LIST_RES, pending->msg_id)->u.chunk_list_res;
    res->status = core_ok();
    res->more = done->u.chunk_list.more;
    res->chunk_count = done->u.chunk_list.count;
    res->chunks = done->u.chunk_list.chunks;
}

static void groups_answer(struct kith_node *node, const struct pending *pending,
                          const struct kith_store_done *done)
{
    struct kith_groups_res *res =
        &core_send(node, pending->conn, KITH_MSG_GROUPS_RES, pending->msg_id)->u.groups_res;
    res->status = core_ok();
    res->more = done->u.groups.more;
    res->group_count = done->u.groups.count;
    res->groups = done->u.groups.groups;
}

static bool rows_fit(const struct kith_store_done *done)
{
    size_t size = 0;
    for (uint32_t i = 0; i < done->u.rows.row_count; i++) {
        size += done->u.rows.rows[i].state.size + done->u.rows.rows[i].name.size + 32;
    }
    return size <= KITH_ANSWER_BYTES_MAX;
}

void read_stored(struct kith_node *node, struct pending *pending,
                 const struct kith_store_done *done)
{
    core_stored_last(node, pending);
    if (pending->answered) {
        pending_end(node, pending);
        return;
    }
    if (done->err != KITH_OK) {
        pending_refuse(node, pending, done->err,
                       core_text(node, "node %s: %s", node->address, done->message));
    } else if (pending->asked == KITH_MSG_SUMS_REQ) {
        sums_answer(node, pending, done);
    } else if (pending->asked == KITH_MSG_LEAF_REQ) {
        leaf_answer(node, pending, done);
    } else if (pending->asked == KITH_MSG_CHUNK_LIST_REQ) {
        chunk_list_answer(node, pending, done);
    } else if (pending->asked == KITH_MSG_GROUPS_REQ) {
        groups_answer(node, pending, done);
    } else if (pending->asked == KITH_MSG_REQUEST_FIND_REQ) {
        struct kith_request_find_res *res =
            &core_send(node, pending->conn, KITH_MSG_REQUEST_FIND_RES, pending->msg_id)
                 ->u.request_find_res;
        res->status = core_ok();
        res->found = done->u.find.found;
        res->row_count = done->u.find.found ? done->u.find.row_count : 0;
        res->rows = done->u.find.rows;
    } else if (!rows_fit(done)) {
        pending_refuse(node, pending, KITH_ETOOBIG,
                       "the rows together are too large for one answer: ask for fewer");
    } else if (pending->asked == KITH_MSG_GET_REQ) {
        struct kith_get_res *res =
            &core_send(node, pending->conn, KITH_MSG_GET_RES, pending->msg_id)->u.get_res;
        res->status = core_ok();
        res->row_count = done->u.rows.row_count;
        res->rows = done->u.rows.rows;
    } else {
        struct kith_scan_res *res =
            &core_send(node, pending->conn, KITH_MSG_SCAN_RES, pending->msg_id)->u.scan_res;
        res->more = done->u.rows.more;
        res->status = core_ok();
        res->row_count = done->u.rows.row_count;
        res->rows = done->u.rows.rows;
    }
    pending_end(node, pending);
}
