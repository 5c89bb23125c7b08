/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client_nodes.c - the scripted nodes of client_world.h: their rows, and what they answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/client_world.h"

struct kith_uuid world_uuid(uint32_t node)
{
    struct kith_uuid uuid = {{0}};
    uuid.bytes[0] = 0xee;
    uuid.bytes[15] = (uint8_t)(node + 1);
    return uuid;
}

struct kith_table *world_make_table(uint64_t version, uint32_t member_count,
                                    const char *const *zones)
{
    struct kith_member members[WORLD_MEMBERS];
    uint16_t owners[WORLD_PARTITIONS * WORLD_NODES];
    struct kith_uuid cluster = {{7}};
    struct kith_table *table = NULL;
    memset(members, 0, sizeof(members));
    for (uint32_t i = 0; i < member_count; i++) {
        members[i].uuid = world_uuid(i);
        members[i].weight = 1;
        (void)snprintf(members[i].zone, sizeof(members[i].zone), "%s",
                       zones == NULL ? "" : zones[i]);
    }
    for (uint32_t p = 0; p < WORLD_PARTITIONS; p++) {
        for (uint32_t s = 0; s < WORLD_NODES; s++) {
            owners[p * WORLD_NODES + s] = (uint16_t)(version == 1 ? s : WORLD_NODES - 1 - s);
        }
    }
    assert_int_equal(KITH_OK, kith_table_new(&cluster, 1, version, WORLD_PARTITIONS, WORLD_NODES,
                                             members, member_count, owners, &table));
    return table;
}

/* ---- Rows of the nodes ---- */

struct world_row *world_row(struct world_node *node, struct kith_bytes name)
{
    for (uint32_t i = 0; i < node->row_count; i++) {
        if (kith_bytes_equal(text(node->rows[i].name), name)) {
            return &node->rows[i];
        }
    }
    return NULL;
}

/* Keeps the rows in name order. */
static void row_set(struct world_node *node, struct kith_bytes name, struct kith_bytes state)
{
    struct world_row *row = world_row(node, name);
    if (row == NULL) {
        assert_true(node->row_count < WORLD_ROWS && name.size < sizeof(row->name));
        uint32_t i = node->row_count++;
        while (i > 0 && kith_bytes_compare(text(node->rows[i - 1].name), name) > 0) {
            node->rows[i] = node->rows[i - 1];
            i--;
        }
        row = &node->rows[i];
        memset(row, 0, sizeof(*row));
        memcpy(row->name, name.data, name.size);
    }
    assert_true(state.size <= sizeof(row->state));
    memcpy(row->state, state.data, state.size);
    row->size = state.size;
}

struct kith_bytes world_row_state(const struct world_row *row)
{
    return row == NULL ? kith_bytes_make(NULL, 0) : kith_bytes_make(row->state, row->size);
}

/* What `old` becomes by a put (value NULL: a delete) of node `actor`. */
static void row_put(struct world_node *node, uint32_t actor, uint64_t counter, const char *name,
                    struct kith_bytes context, const char *value, struct kith_request_id request)
{
    struct kith_arena arena = {0};
    struct kith_row old, ctx, next;
    struct kith_buf buf;
    struct kith_row_update update = {0};
    struct kith_dot dot = {{100 + actor, 1}, counter};
    assert_int_equal(KITH_OK,
                     kith_row_decode(&arena, world_row_state(world_row(node, text(name))), &old));
    assert_int_equal(KITH_OK, kith_row_decode(&arena, context, &ctx));
    update.context = ctx.clock;
    update.kept = ctx.siblings;
    update.kept_count = ctx.sibling_count;
    update.has_sibling = value != NULL;
    update.value = text(value == NULL ? "" : value);
    assert_int_equal(KITH_OK,
                     kith_row_put(&arena, &old, &update, &dot, counter << 16, &request, &next));
    kith_buf_init(&buf);
    kith_row_encode(&next, &buf);
    row_set(node, text(name), kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

void world_write_on(struct client_world *w, uint32_t node, const char *name, const char *value)
{
    struct kith_request_id request = {{9}};
    struct world_node *n = &w->nodes[node];
    struct kith_bytes context = world_row_state(world_row(n, text(name)));
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_buf buf;
    assert_int_equal(KITH_OK, kith_row_decode(&arena, context, &row));
    row.sibling_count = 0; /* keeps none */
    kith_buf_init(&buf);
    if (row.clock.count > 0) {
        kith_row_encode(&row, &buf);
    }
    row_put(n, node, ++n->counter, name, kith_buf_bytes(&buf), value, request);
    kith_buf_release(&buf);
    kith_arena_release(&arena);
}

void world_copy_row(struct client_world *w, uint32_t from, uint32_t to, const char *name)
{
    row_set(&w->nodes[to], text(name), world_row_state(world_row(&w->nodes[from], text(name))));
}

void world_write_all(struct client_world *w, const char *name, const char *value)
{
    world_write_on(w, 0, name, value);
    world_copy_row(w, 0, 1, name);
    world_copy_row(w, 0, 2, name);
}

void world_lose_row(struct client_world *w, uint32_t node, const char *name)
{
    struct world_node *n = &w->nodes[node];
    struct world_row *row = world_row(n, text(name));
    assert_non_null(row);
    uint32_t at = (uint32_t)(row - n->rows);
    memmove(row, row + 1, (n->row_count - at - 1) * sizeof(*row));
    n->row_count--;
}

/* ---- What they answer ---- */

struct kith_msg *world_answer(struct client_world *w, uint64_t conn, enum kith_msg_kind kind,
                              uint64_t id)
{
    struct kith_msg_box *box = kith_msg_box_new(0);
    assert_non_null(box);
    assert_true(w->tail - w->head < WORLD_INBOX);
    memset(&box->msg, 0, sizeof(box->msg));
    box->msg.kind = kind;
    box->msg.id = id;
    w->inbox[w->tail % WORLD_INBOX].conn = conn;
    w->inbox[w->tail % WORLD_INBOX].kind = KITH_CLIENT_EVENT_MESSAGE;
    w->inbox[w->tail % WORLD_INBOX].box = box;
    w->tail++;
    return &box->msg;
}

void *world_keep(struct client_world *w, const void *data, size_t size)
{
    struct kith_msg_box *box = w->inbox[(w->tail - 1) % WORLD_INBOX].box;
    void *copy = kith_arena_copy(&box->arena, data, size);
    assert_non_null(copy);
    return copy;
}

struct kith_bytes world_keep_bytes(struct client_world *w, struct kith_bytes bytes)
{
    return kith_bytes_make(world_keep(w, bytes.data, bytes.size), bytes.size);
}

struct kith_bytes world_keep_table(struct client_world *w, const struct kith_table *table)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(table, &buf);
    struct kith_bytes bytes = world_keep_bytes(w, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    return bytes;
}

static struct kith_got_row got(struct client_world *w, const struct world_row *row, bool digest)
{
    struct kith_got_row g = {0};
    if (row != NULL) {
        g.hash = kith_checksum_of(world_row_state(row));
        if (!digest) {
            g.state = world_keep_bytes(w, world_row_state(row));
        }
    }
    return g;
}

static void node_hello(struct client_world *w, uint64_t conn, uint32_t node)
{
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_HELLO, 0);
    msg->u.hello.protocol = kith_protocol_ours();
    msg->u.hello.role = KITH_ROLE_NODE;
    msg->u.hello.cluster = w->table->cluster;
    msg->u.hello.node = world_uuid(node);
    msg->u.hello.address = "";
    msg->u.hello.software = "";
}

static void node_table(struct client_world *w, uint64_t conn, const struct kith_msg *req,
                       uint32_t node)
{
    struct kith_member_info members[WORLD_MEMBERS];
    const struct kith_table *table = w->nodes[node].stale ? w->newer : w->table;
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_TABLE_RES, req->id);
    memset(members, 0, sizeof(members));
    for (uint32_t i = 0; i < w->member_count; i++) {
        members[i].uuid = world_uuid(i);
        members[i].up = true;
        (void)snprintf(members[i].address, sizeof(members[i].address), "n%u:1", i);
    }
    if (w->placeless) {
        members[WORLD_NODES - 1].address[0] = '\0';
    }
    msg->u.table_res.status.message = "";
    msg->u.table_res.table = world_keep_table(w, table);
    msg->u.table_res.member_count = w->member_count;
    msg->u.table_res.members = world_keep(w, members, sizeof(members));
}

static void node_get(struct client_world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct world_node *node = &w->nodes[n];
    const struct kith_get_req *get = &req->u.get_req;
    struct kith_got_row rows[KITH_NAMES_MAX];
    node->gets += get->digest ? 0 : 1;
    node->digests += get->digest ? 1 : 0;
    if (node->full_mute && !get->digest) {
        return;
    }
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_GET_RES, req->id);
    msg->u.get_res.status.err = node->get_err;
    if (node->stale && get->table.version < w->newer->id.version) {
        msg->u.get_res.status.err = KITH_ESTALE;
        msg->u.get_res.table = world_keep_table(w, w->newer);
        return;
    }
    for (uint32_t i = 0; i < get->name_count; i++) {
        rows[i] = got(w, world_row(node, get->names[i]), get->digest);
    }
    msg->u.get_res.row_count = get->name_count;
    msg->u.get_res.rows = world_keep(w, rows, get->name_count * sizeof(rows[0]));
}

static void node_scan(struct client_world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct world_node *node = &w->nodes[n];
    const struct kith_scan_req *scan = &req->u.scan_req;
    struct kith_got_row rows[WORLD_ROWS];
    uint32_t count = 0;
    uint32_t max = node->page_rows == 0 ? WORLD_ROWS : node->page_rows;
    max = scan->max_rows != 0 && scan->max_rows < max ? scan->max_rows : max;
    node->scans++;
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_SCAN_RES, req->id);
    for (uint32_t i = 0; i < node->row_count; i++) {
        if (scan->has_after && kith_bytes_compare(text(node->rows[i].name), scan->after) <= 0) {
            continue;
        }
        if (count == max) {
            msg->u.scan_res.more = true;
            break;
        }
        rows[count] = got(w, &node->rows[i], false);
        rows[count++].name = world_keep_bytes(w, text(node->rows[i].name));
    }
    msg->u.scan_res.row_count = count;
    msg->u.scan_res.rows = world_keep(w, rows, count * sizeof(rows[0]));
}

static void put_apply(struct client_world *w, uint32_t n, const struct kith_put_req *put,
                      const struct kith_put_update *update)
{
    struct world_node *node = &w->nodes[n];
    char name[64] = "";
    char value[256] = "";
    memcpy(name, update->name.data, update->name.size);
    if (update->value.size > 0) {
        memcpy(value, update->value.data, update->value.size);
    }
    row_put(node, n, ++node->counter, name, update->context, update->has_sibling ? value : NULL,
            put->request);
    for (uint32_t to = 0; to < WORLD_NODES; to++) {
        if (to != n && (node->put_copies & (1u << to)) != 0) {
            world_copy_row(w, n, to, name);
        }
    }
}

/* The row without the new sibling. */
static struct kith_bytes put_context(struct client_world *w, const struct world_row *stored,
                                     uint64_t counter)
{
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_sibling kept[16];
    struct kith_buf buf;
    uint32_t count = 0;
    assert_int_equal(KITH_OK, kith_row_decode(&arena, world_row_state(stored), &row));
    for (uint32_t i = 0; i < row.sibling_count; i++) {
        if (row.siblings[i].dot.counter != counter) {
            kept[count++] = row.siblings[i];
        }
    }
    row.siblings = kept;
    row.sibling_count = count;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_bytes bytes = world_keep_bytes(w, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return bytes;
}

static void node_put(struct client_world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct world_node *node = &w->nodes[n];
    const struct kith_put_req *put = &req->u.put_req;
    struct kith_put_result results[8];
    node->puts++;
    node->last_request = put->request;
    node->last_retry = put->retry;
    node->last_put_ms = w->now;
    if (node->put_silent) {
        return;
    }
    if (node->put_err != KITH_OK) {
        struct kith_msg *msg = world_answer(w, conn, KITH_MSG_PUT_RES, req->id);
        msg->u.put_res.status.err = node->put_err;
        msg->u.put_res.status.message = "as scripted";
        return;
    }
    for (uint32_t i = 0; i < put->update_count; i++) {
        put_apply(w, n, put, &put->updates[i]);
    }
    if (node->put_mute) {
        return;
    }
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_PUT_RES, req->id);
    memset(results, 0, sizeof(results));
    for (uint32_t i = 0; i < put->update_count; i++) {
        uint64_t counter = node->counter - put->update_count + i + 1;
        results[i].dot = (struct kith_dot){{100 + n, 1}, counter};
        results[i].time = node->put_replaced ? 0 : w->now + 1;
        results[i].context = put_context(w, world_row(node, put->updates[i].name), counter);
    }
    msg->u.put_res.copies = 2;
    msg->u.put_res.owners = node->put_owners != 0
                                ? node->put_owners
                                : (uint32_t)__builtin_popcount(node->put_copies);
    msg->u.put_res.result_count = put->update_count;
    msg->u.put_res.results = world_keep(w, results, put->update_count * sizeof(results[0]));
}

/* To the others that a chunk put names: what each answers comes under his id. */
static void pass_on(struct client_world *w, uint64_t conn, const struct kith_chunk_put_req *req,
                    const struct world_node *relay)
{
    for (uint32_t i = 0; i < req->relay_count && !relay->relay_mute; i++) {
        for (uint32_t n = 0; n < w->member_count; n++) {
            struct kith_uuid uuid = world_uuid(n);
            if (!kith_uuid_equal(&uuid, &req->relays[i].node)) {
                continue;
            }
            bool passed = !relay->relay_cannot && w->nodes[n].mode == ALIVE;
            w->nodes[n].chunk_puts += passed ? 1 : 0;
            w->nodes[n].relayed += passed ? 1 : 0;
            struct kith_msg *msg =
                world_answer(w, conn, KITH_MSG_CHUNK_RES, req->relays[i].id);
            msg->u.chunk_res.status.err = passed ? w->nodes[n].chunk_err : KITH_EUNREACH;
            msg->u.chunk_res.status.message = "as scripted";
        }
    }
}

static void node_chunk(struct client_world *w, uint64_t conn, const struct kith_msg *req,
                       uint32_t n)
{
    struct world_node *node = &w->nodes[n];
    bool get = req->kind == KITH_MSG_CHUNK_GET_REQ;
    node->chunk_gets += get ? 1 : 0;
    node->chunk_puts += get ? 0 : 1;
    if (!get) {
        node->chunk_durability = req->u.chunk_put_req.durability;
        pass_on(w, conn, &req->u.chunk_put_req, node);
    }
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_CHUNK_RES, req->id);
    msg->u.chunk_res.status.err = node->chunk_err;
    msg->u.chunk_res.status.message = "as scripted";
    if (get && node->chunk_err == KITH_OK) {
        struct kith_blob *blob = kith_blob_new(WORLD_CHUNK_SIZE);
        assert_non_null(blob);
        memcpy(blob->data, WORLD_CHUNK, WORLD_CHUNK_SIZE);
        msg->u.chunk_res.checksum =
            kith_checksum_of(kith_bytes_make(WORLD_CHUNK, WORLD_CHUNK_SIZE));
        blob->data[0] ^= node->chunk_damaged ? 1 : 0;
        msg->u.chunk_res.chunk_size = WORLD_CHUNK_SIZE;
        msg->u.chunk_res.payload = blob;
        w->inbox[(w->tail - 1) % WORLD_INBOX].box->blob = blob; /* the box drops it */
    }
}

static void node_sync(struct client_world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    const struct kith_chunk_sync_req *sync = &req->u.chunk_sync_req;
    if (w->nodes[n].sync_mute) {
        return;
    }
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_CHUNK_SYNC_RES, req->id);
    w->nodes[n].syncs++;
    if (w->nodes[n].stale && kith_table_id_compare(&sync->table, &w->newer->id) < 0) {
        msg->u.chunk_sync_res.status.err = KITH_ESTALE;
        return;
    }
    if (w->nodes[n].sync_missing) { /* the last of the list */
        msg->u.chunk_sync_res.missing_count = 1;
        msg->u.chunk_sync_res.missing =
            world_keep(w, &sync->ids[sync->id_count - 1], sizeof(sync->ids[0]));
    }
}

void world_node_receives(struct client_world *w, uint64_t conn, const struct kith_msg *req)
{
    uint32_t n = w->conns[conn].node;
    if (!w->conns[conn].open || w->nodes[n].mode != ALIVE ||
        (w->on_message != NULL && w->on_message(w, conn, n, req))) {
        return;
    }
    switch (req->kind) {
    case KITH_MSG_HELLO:
        node_hello(w, conn, n);
        break;
    case KITH_MSG_TABLE_REQ:
        node_table(w, conn, req, n);
        break;
    case KITH_MSG_GET_REQ:
        node_get(w, conn, req, n);
        break;
    case KITH_MSG_SCAN_REQ:
        node_scan(w, conn, req, n);
        break;
    case KITH_MSG_PUT_REQ:
        node_put(w, conn, req, n);
        break;
    case KITH_MSG_REPAIR_REQ:
        w->nodes[n].repairs++;
        w->nodes[n].last_repair_from = req->u.repair_req.from.bytes[15] - 1u;
        break;
    case KITH_MSG_CHUNK_PUT_REQ:
    case KITH_MSG_CHUNK_GET_REQ:
        node_chunk(w, conn, req, n);
        break;
    case KITH_MSG_CHUNK_SYNC_REQ:
        node_sync(w, conn, req, n);
        break;
    case KITH_MSG_STATUS_REQ: {
        struct kith_msg *msg = world_answer(w, conn, KITH_MSG_STATUS_RES, req->id);
        msg->u.status_res.status.message = "";
        msg->u.status_res.node.node = world_uuid(n);
        msg->u.status_res.node.cluster_name = "fake";
        msg->u.status_res.node.software = "x";
        break;
    }
    default:
        fail_msg("unexpected %s", kith_msg_kind_name(req->kind));
    }
}
