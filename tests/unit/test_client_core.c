/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_core.c - the client's logic against three scripted nodes, without a network.
 *
 * The nodes answer by hand from small tables of rows; each can be alive, dead (connections are
 * refused) or frozen (connected, silent). Answers are given now with a box to hold, now without
 * (what the core keeps it must copy), and their memory is freed after the step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_core.h"

#define NODES      3u
#define ROWS       64u
#define PARTITIONS 4u
#define INBOX      4096u
#define DONES      8192u

enum mode { ALIVE, DEAD, FROZEN };

struct fake_row {
    char name[32];
    uint8_t state[512];
    size_t size;
};

struct fake_node {
    enum mode mode;
    enum kith_err put_err; /* what puts are answered; OK: they are carried out */
    bool put_silent;       /* carried out nowhere, never answered */
    bool put_mute;         /* carried out, never answered */
    uint32_t put_copies;   /* bits of the nodes that a put reaches */
    enum kith_err get_err;
    bool full_mute; /* answers digests only */
    bool stale; /* answers ESTALE with the newer table to the older one */
    enum kith_err chunk_err;
    bool chunk_damaged;
    bool sync_missing;
    uint32_t page_rows; /* rows a page; 0 = all */
    struct fake_row rows[ROWS];
    uint32_t row_count;
    uint64_t counter;
    /* what was seen */
    uint32_t puts, gets, digests, scans, chunk_puts, chunk_gets, syncs, repairs;
    struct kith_request_id last_request;
    bool last_retry;
    uint32_t last_repair_from;
    uint64_t last_put_ms;
};

struct conn {
    uint32_t node;
    bool open;
};

struct done {
    uint64_t tag;
    enum kith_client_kind kind;
    uint64_t at_ms;
    const struct kith_client_result *result;
    struct kith_client_done *done;
};

struct world {
    struct kith_client_core *core;
    uint64_t now;
    uint64_t deadline;
    struct fake_node nodes[NODES];
    struct conn conns[4096];
    struct {
        uint64_t conn;
        enum kith_client_event_kind kind;
        struct kith_msg_box *box;
    } inbox[INBOX];
    uint32_t head, tail;
    struct done dones[DONES];
    uint32_t done_count;
    struct kith_table *table, *newer;
    uint64_t tag;
    bool boxed;
    bool placeless; /* nobody can say where the last node listens */
};

static struct kith_uuid uuid_of(uint32_t node)
{
    struct kith_uuid uuid = {{0}};
    uuid.bytes[0] = 0xee;
    uuid.bytes[15] = (uint8_t)(node + 1);
    return uuid;
}

static struct kith_bytes text(const char *s)
{
    return kith_bytes_make(s, strlen(s));
}

static struct kith_table *make_table(uint64_t version)
{
    struct kith_member members[NODES];
    uint16_t owners[PARTITIONS * NODES];
    struct kith_uuid cluster = {{7}};
    struct kith_table *table = NULL;
    memset(members, 0, sizeof(members));
    for (uint32_t i = 0; i < NODES; i++) {
        members[i].uuid = uuid_of(i);
        members[i].weight = 1;
    }
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        for (uint32_t s = 0; s < NODES;
             s++) { /* every partition: 0 1 2; in the newer table 2 1 0 */
            owners[p * NODES + s] = (uint16_t)(version == 1 ? s : NODES - 1 - s);
        }
    }
    assert_int_equal(KITH_OK, kith_table_new(&cluster, 1, version, PARTITIONS, NODES, members,
                                             NODES, owners, &table));
    return table;
}

/* ---- Rows of the nodes ---- */

static struct fake_row *row_at(struct fake_node *node, struct kith_bytes name)
{
    for (uint32_t i = 0; i < node->row_count; i++) {
        if (kith_bytes_equal(text(node->rows[i].name), name)) {
            return &node->rows[i];
        }
    }
    return NULL;
}

/* Keeps the rows in name order. */
static void row_set(struct fake_node *node, struct kith_bytes name, struct kith_bytes state)
{
    struct fake_row *row = row_at(node, name);
    if (row == NULL) {
        assert_true(node->row_count < ROWS && name.size < sizeof(row->name));
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

static struct kith_bytes row_state(const struct fake_row *row)
{
    return row == NULL ? kith_bytes_make(NULL, 0) : kith_bytes_make(row->state, row->size);
}

/* What `old` becomes by a put (value NULL: a delete) of node `actor`. */
static void row_put(struct fake_node *node, uint32_t actor, uint64_t counter, const char *name,
                    struct kith_bytes context, const char *value, struct kith_request_id request)
{
    struct kith_arena arena = {0};
    struct kith_row old, ctx, next;
    struct kith_buf buf;
    struct kith_row_update update = {0};
    struct kith_dot dot = {{100 + actor, 1}, counter};
    assert_int_equal(KITH_OK, kith_row_decode(&arena, row_state(row_at(node, text(name))), &old));
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

/* Writes on one node alone, over what is there. */
static void write_on(struct world *w, uint32_t node, const char *name, const char *value)
{
    struct kith_request_id request = {{9}};
    struct fake_node *n = &w->nodes[node];
    struct kith_bytes context = row_state(row_at(n, text(name)));
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

static void copy_row(struct world *w, uint32_t from, uint32_t to, const char *name)
{
    row_set(&w->nodes[to], text(name), row_state(row_at(&w->nodes[from], text(name))));
}

static void write_all(struct world *w, const char *name, const char *value)
{
    write_on(w, 0, name, value);
    copy_row(w, 0, 1, name);
    copy_row(w, 0, 2, name);
}

/* ---- The nodes ---- */

static struct kith_msg *answer(struct world *w, uint64_t conn, enum kith_msg_kind kind, uint64_t id)
{
    struct kith_msg_box *box = kith_msg_box_new(0);
    assert_non_null(box);
    assert_true(w->tail - w->head < INBOX);
    memset(&box->msg, 0, sizeof(box->msg));
    box->msg.kind = kind;
    box->msg.id = id;
    w->inbox[w->tail % INBOX].conn = conn;
    w->inbox[w->tail % INBOX].kind = KITH_CLIENT_EVENT_MESSAGE;
    w->inbox[w->tail % INBOX].box = box;
    w->tail++;
    return &box->msg;
}

static void *keep(struct world *w, const void *data, size_t size)
{
    struct kith_msg_box *box = w->inbox[(w->tail - 1) % INBOX].box;
    void *copy = kith_arena_copy(&box->arena, data, size);
    assert_non_null(copy);
    return copy;
}

static struct kith_bytes keep_bytes(struct world *w, struct kith_bytes bytes)
{
    return kith_bytes_make(keep(w, bytes.data, bytes.size), bytes.size);
}

static struct kith_bytes keep_table(struct world *w, const struct kith_table *table)
{
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(table, &buf);
    struct kith_bytes bytes = keep_bytes(w, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    return bytes;
}

static struct kith_got_row got(struct world *w, const struct fake_row *row, bool digest)
{
    struct kith_got_row g = {0};
    if (row != NULL) {
        g.hash = kith_checksum_of(row_state(row));
        if (!digest) {
            g.state = keep_bytes(w, row_state(row));
        }
    }
    return g;
}

static void node_hello(struct world *w, uint64_t conn, uint32_t node)
{
    struct kith_msg *msg = answer(w, conn, KITH_MSG_HELLO, 0);
    msg->u.hello.protocol = KITH_PROTOCOL_VERSION;
    msg->u.hello.role = KITH_ROLE_NODE;
    msg->u.hello.cluster = w->table->cluster;
    msg->u.hello.node = uuid_of(node);
    msg->u.hello.address = "";
    msg->u.hello.software = "";
}

static void node_table(struct world *w, uint64_t conn, const struct kith_msg *req, uint32_t node)
{
    struct kith_member_info members[NODES];
    const struct kith_table *table = w->nodes[node].stale ? w->newer : w->table;
    struct kith_msg *msg = answer(w, conn, KITH_MSG_TABLE_RES, req->id);
    memset(members, 0, sizeof(members));
    for (uint32_t i = 0; i < NODES; i++) {
        members[i].uuid = uuid_of(i);
        members[i].up = true;
        (void)snprintf(members[i].address, sizeof(members[i].address), "n%u:1", i);
    }
    if (w->placeless) {
        members[NODES - 1].address[0] = '\0';
    }
    msg->u.table_res.status.message = "";
    msg->u.table_res.table = keep_table(w, table);
    msg->u.table_res.member_count = NODES;
    msg->u.table_res.members = keep(w, members, sizeof(members));
}

static void node_get(struct world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct fake_node *node = &w->nodes[n];
    const struct kith_get_req *get = &req->u.get_req;
    struct kith_got_row rows[KITH_NAMES_MAX];
    node->gets += get->digest ? 0 : 1;
    node->digests += get->digest ? 1 : 0;
    if (node->full_mute && !get->digest) {
        return;
    }
    struct kith_msg *msg = answer(w, conn, KITH_MSG_GET_RES, req->id);
    msg->u.get_res.status.err = node->get_err;
    if (node->stale && get->table.version < w->newer->id.version) {
        msg->u.get_res.status.err = KITH_ESTALE;
        msg->u.get_res.table = keep_table(w, w->newer);
        return;
    }
    for (uint32_t i = 0; i < get->name_count; i++) {
        rows[i] = got(w, row_at(node, get->names[i]), get->digest);
    }
    msg->u.get_res.row_count = get->name_count;
    msg->u.get_res.rows = keep(w, rows, get->name_count * sizeof(rows[0]));
}

static void node_scan(struct world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct fake_node *node = &w->nodes[n];
    const struct kith_scan_req *scan = &req->u.scan_req;
    struct kith_got_row rows[ROWS];
    uint32_t count = 0;
    uint32_t max = node->page_rows == 0 ? ROWS : node->page_rows;
    max = scan->max_rows != 0 && scan->max_rows < max ? scan->max_rows : max;
    node->scans++;
    struct kith_msg *msg = answer(w, conn, KITH_MSG_SCAN_RES, req->id);
    for (uint32_t i = 0; i < node->row_count; i++) {
        if (scan->has_after && kith_bytes_compare(text(node->rows[i].name), scan->after) <= 0) {
            continue;
        }
        if (count == max) {
            msg->u.scan_res.more = true;
            break;
        }
        rows[count] = got(w, &node->rows[i], false);
        rows[count++].name = keep_bytes(w, text(node->rows[i].name));
    }
    msg->u.scan_res.row_count = count;
    msg->u.scan_res.rows = keep(w, rows, count * sizeof(rows[0]));
}

static void put_apply(struct world *w, uint32_t n, const struct kith_put_req *put,
                      const struct kith_put_update *update)
{
    struct fake_node *node = &w->nodes[n];
    char name[64] = "";
    char value[256] = "";
    memcpy(name, update->name.data, update->name.size);
    if (update->value.size > 0) {
        memcpy(value, update->value.data, update->value.size);
    }
    row_put(node, n, ++node->counter, name, update->context, update->has_sibling ? value : NULL,
            put->request);
    for (uint32_t to = 0; to < NODES; to++) {
        if (to != n && (node->put_copies & (1u << to)) != 0) {
            copy_row(w, n, to, name);
        }
    }
}

/* The row without the new sibling. */
static struct kith_bytes put_context(struct world *w, const struct fake_row *stored,
                                     uint64_t counter)
{
    struct kith_arena arena = {0};
    struct kith_row row;
    struct kith_sibling kept[16];
    struct kith_buf buf;
    uint32_t count = 0;
    assert_int_equal(KITH_OK, kith_row_decode(&arena, row_state(stored), &row));
    for (uint32_t i = 0; i < row.sibling_count; i++) {
        if (row.siblings[i].dot.counter != counter) {
            kept[count++] = row.siblings[i];
        }
    }
    row.siblings = kept;
    row.sibling_count = count;
    kith_buf_init(&buf);
    kith_row_encode(&row, &buf);
    struct kith_bytes bytes = keep_bytes(w, kith_buf_bytes(&buf));
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return bytes;
}

static void node_put(struct world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct fake_node *node = &w->nodes[n];
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
        struct kith_msg *msg = answer(w, conn, KITH_MSG_PUT_RES, req->id);
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
    struct kith_msg *msg = answer(w, conn, KITH_MSG_PUT_RES, req->id);
    memset(results, 0, sizeof(results));
    for (uint32_t i = 0; i < put->update_count; i++) {
        uint64_t counter = node->counter - put->update_count + i + 1;
        results[i].dot = (struct kith_dot){{100 + n, 1}, counter};
        results[i].context = put_context(w, row_at(node, put->updates[i].name), counter);
    }
    msg->u.put_res.copies = 2;
    msg->u.put_res.result_count = put->update_count;
    msg->u.put_res.results = keep(w, results, put->update_count * sizeof(results[0]));
}

static const char CHUNK[] = "the contents of a chunk";

static void node_chunk(struct world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    struct fake_node *node = &w->nodes[n];
    bool get = req->kind == KITH_MSG_CHUNK_GET_REQ;
    node->chunk_gets += get ? 1 : 0;
    node->chunk_puts += get ? 0 : 1;
    struct kith_msg *msg = answer(w, conn, KITH_MSG_CHUNK_RES, req->id);
    msg->u.chunk_res.status.err = node->chunk_err;
    msg->u.chunk_res.status.message = "as scripted";
    if (get && node->chunk_err == KITH_OK) {
        struct kith_blob *blob = kith_blob_new(sizeof(CHUNK));
        assert_non_null(blob);
        memcpy(blob->data, CHUNK, sizeof(CHUNK));
        msg->u.chunk_res.checksum = kith_checksum_of(kith_bytes_make(CHUNK, sizeof(CHUNK)));
        blob->data[0] ^= node->chunk_damaged ? 1 : 0;
        msg->u.chunk_res.chunk_size = sizeof(CHUNK);
        msg->u.chunk_res.payload = blob;
        w->inbox[(w->tail - 1) % INBOX].box->blob = blob; /* the box drops it */
    }
}

static void node_sync(struct world *w, uint64_t conn, const struct kith_msg *req, uint32_t n)
{
    const struct kith_chunk_sync_req *sync = &req->u.chunk_sync_req;
    struct kith_msg *msg = answer(w, conn, KITH_MSG_CHUNK_SYNC_RES, req->id);
    w->nodes[n].syncs++;
    if (w->nodes[n].stale && kith_table_id_compare(&sync->table, &w->newer->id) < 0) {
        msg->u.chunk_sync_res.status.err = KITH_ESTALE;
        return;
    }
    if (w->nodes[n].sync_missing) { /* the last of the list */
        msg->u.chunk_sync_res.missing_count = 1;
        msg->u.chunk_sync_res.missing =
            keep(w, &sync->ids[sync->id_count - 1], sizeof(sync->ids[0]));
    }
}

static void node_message(struct world *w, uint64_t conn, const struct kith_msg *req)
{
    uint32_t n = w->conns[conn].node;
    if (!w->conns[conn].open || w->nodes[n].mode != ALIVE) {
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
        struct kith_msg *msg = answer(w, conn, KITH_MSG_STATUS_RES, req->id);
        msg->u.status_res.status.message = "";
        msg->u.status_res.node.node = uuid_of(n);
        msg->u.status_res.node.cluster_name = "fake";
        msg->u.status_res.node.software = "x";
        break;
    }
    default:
        fail_msg("unexpected %s", kith_msg_kind_name(req->kind));
    }
}

/* ---- The world ---- */

static void push(struct world *w, uint64_t conn, enum kith_client_event_kind kind)
{
    assert_true(w->tail - w->head < INBOX);
    w->inbox[w->tail % INBOX].conn = conn;
    w->inbox[w->tail % INBOX].kind = kind;
    w->inbox[w->tail % INBOX].box = NULL;
    w->tail++;
}

static enum kith_err step(struct world *w, struct kith_client_event *event)
{
    struct kith_client_effects effects;
    event->mono_ms = w->now;
    event->random = w->now * 7919 + w->tail;
    enum kith_err err = kith_client_core_step(w->core, event, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_client_effect *e = &effects.effects[i];
        if (e->kind == KITH_CLIENT_EFFECT_CONNECT) {
            assert_true(e->conn < 4096);
            w->conns[e->conn].node = (uint32_t)(e->address[1] - '0');
            w->conns[e->conn].open = w->nodes[w->conns[e->conn].node].mode != DEAD;
            push(w, e->conn,
                 w->conns[e->conn].open ? KITH_CLIENT_EVENT_OPENED : KITH_CLIENT_EVENT_CLOSED);
        } else if (e->kind == KITH_CLIENT_EFFECT_SEND) {
            node_message(w, e->conn, e->msg);
        } else if (e->kind == KITH_CLIENT_EFFECT_CLOSE) {
            w->conns[e->conn].open = false;
        } else {
            struct done done = {e->tag, e->op_kind, w->now, e->result, e->done};
            assert_true(w->done_count < DONES);
            w->dones[w->done_count++] = done;
        }
    }
    w->deadline = effects.deadline_ms;
    return err;
}

static void deliver(struct world *w)
{
    while (w->head != w->tail) {
        struct kith_msg_box *box = w->inbox[w->head % INBOX].box;
        struct kith_client_event event = {.kind = w->inbox[w->head % INBOX].kind,
                                          .conn = w->inbox[w->head % INBOX].conn,
                                          .reason = "connection refused"};
        w->head++;
        if (box != NULL) {
            w->boxed = !w->boxed;
            event.msg = &box->msg;
            event.box = w->boxed ? box : NULL;
        }
        assert_int_equal(KITH_OK, step(w, &event));
        if (box != NULL) {
            kith_msg_box_drop(box);
        }
    }
}

/* Lets time pass, with ticks when the core asks for them. */
static void pass(struct world *w, uint64_t ms)
{
    uint64_t until = w->now + ms;
    uint32_t ticks = 0;
    deliver(w);
    while (w->deadline <= until) {
        struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
        w->now = w->deadline > w->now ? w->deadline : w->now;
        assert_int_equal(KITH_OK, step(w, &event));
        deliver(w);
        assert_true(++ticks < 100000); /* it does not spin */
    }
    w->now = until;
}

static void set_mode(struct world *w, uint32_t node, enum mode mode)
{
    w->nodes[node].mode = mode;
    for (uint32_t i = 1; i < 4096 && mode == DEAD; i++) {
        if (w->conns[i].open && w->conns[i].node == node) {
            w->conns[i].open = false;
            push(w, i, KITH_CLIENT_EVENT_CLOSED);
        }
    }
    deliver(w);
}

static struct world *world_new(void)
{
    static const char *const servers[] = {"n0:1", "n1:1"};
    struct world *w = calloc(1, sizeof(*w));
    struct kith_client_core_options options = {
        .server_count = 2, .servers = servers, .mono_ms = 1000, .random = {1, 2, 3, 4}};
    options.writer = "me@here";
    assert_non_null(w);
    w->now = 1000;
    w->table = make_table(1);
    w->newer = make_table(2);
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].put_copies = 7;
    }
    assert_int_equal(KITH_OK, kith_client_core_new(&options, &w->core, NULL));
    return w;
}

static void world_start(struct world *w)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
    assert_int_equal(KITH_OK, step(w, &event));
    deliver(w);
    pass(w, 1);
}

static int setup(void **state)
{
    struct world *w = world_new();
    world_start(w);
    assert_true(kith_client_core_ready(w->core));
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    while (w->head != w->tail) {
        if (w->inbox[w->head % INBOX].box != NULL) {
            kith_msg_box_drop(w->inbox[w->head % INBOX].box);
        }
        w->head++;
    }
    for (uint32_t i = 0; i < w->done_count; i++) {
        if (w->dones[i].done != NULL) {
            kith_client_core_release(w->core, w->dones[i].done);
        }
    }
    kith_client_core_free(w->core);
    kith_table_drop(w->table);
    kith_table_drop(w->newer);
    free(w);
    return 0;
}

static uint64_t submit(struct world *w, const struct kith_client_op *op)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = op, .tag = ++w->tag};
    assert_int_equal(KITH_OK, step(w, &event));
    deliver(w);
    return w->tag;
}

static struct done *find_done(struct world *w, uint64_t tag)
{
    struct done *found = NULL;
    for (uint32_t i = 0; i < w->done_count; i++) {
        if (w->dones[i].tag == tag) {
            assert_null(found); /* exactly one */
            found = &w->dones[i];
        }
    }
    return found;
}

static const struct kith_group GROUP = {{1, 2, 3}};

static uint64_t get(struct world *w, const char *name, enum kith_level level, uint32_t timeout_ms)
{
    struct kith_bytes names[] = {text(name)};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .level = level, .timeout_ms = timeout_ms};
    op.u.get.group = GROUP;
    op.u.get.name_count = 1;
    op.u.get.names = names;
    return submit(w, &op);
}

static uint64_t scan(struct world *w, const char *after, uint32_t max_rows, uint32_t timeout_ms);
static const char *scan_all(struct world *w, uint32_t max_rows, uint32_t *ret_pages);

static uint64_t put(struct world *w, const char *name, const char *value, uint32_t timeout_ms)
{
    struct kith_put_update update = {.name = text(name), .has_sibling = true, .value = text(value)};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = timeout_ms};
    op.u.put.group = GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    return submit(w, &op);
}

/* The values of a finished get's only row, joined with "+"; the test fails when it is not done or
 * failed. */
static const char *values(struct world *w, uint64_t tag)
{
    static char joined[256];
    struct done *done = find_done(w, tag);
    assert_non_null(done);
    assert_int_equal(KITH_OK, done->result->err);
    const struct kith_row *row = &done->result->u.rows.rows[0].row;
    joined[0] = '\0';
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        size_t at = strlen(joined);
        (void)snprintf(joined + at, sizeof(joined) - at, "%s%.*s", i > 0 ? "+" : "",
                       (int)row->siblings[i].value.size, (const char *)row->siblings[i].value.data);
    }
    return joined;
}

static enum kith_err err_of(struct world *w, uint64_t tag)
{
    struct done *done = find_done(w, tag);
    assert_non_null(done);
    return done->result->err;
}

/* ---- Reading ---- */

static void test_get_quorum(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "one");
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", values(w, tag));
    assert_false(find_done(w, tag)->result->degraded);
    assert_int_equal(1, w->nodes[0].gets);
    assert_int_equal(1, w->nodes[1].digests);
    assert_int_equal(0, w->nodes[1].gets + w->nodes[2].gets + w->nodes[2].digests);
    tag = get(w, "never", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("", values(w, tag));
    assert_true(kith_row_is_empty(&find_done(w, tag)->result->u.rows.rows[0].row));
    tag = get(w, "a", KITH_LEVEL_ALL, 0);
    assert_string_equal("one", values(w, tag));
}

static void test_get_mismatch(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "old");
    write_on(w, 1, "a", "new");
    assert_string_equal("new", values(w, get(w, "a", KITH_LEVEL_QUORUM, 0)));
    assert_int_equal(1, w->nodes[1].gets); /* the differing row in full */
    assert_int_equal(1, w->nodes[0].repairs);
    assert_int_equal(1, w->nodes[0].last_repair_from);
    assert_int_equal(0, w->nodes[1].repairs);
    /* concurrent: both siblings, and each learns from the other */
    write_on(w, 0, "b", "left");
    write_on(w, 1, "b", "right");
    assert_string_equal("left+right", values(w, get(w, "b", KITH_LEVEL_QUORUM, 0)));
    assert_int_equal(2, w->nodes[0].repairs);
    assert_int_equal(1, w->nodes[1].repairs);
    /* only the second has it */
    write_on(w, 1, "c", "lone");
    assert_string_equal("lone", values(w, get(w, "c", KITH_LEVEL_QUORUM, 0)));
}

/* The one that has the state falls silent after its digest, and the next is asked for a digest too:
 * the state comes from there, and never is the row said to be absent. */
static void test_get_digest_only(void **state)
{
    struct world *w = *state;
    write_on(w, 1, "a", "new");
    copy_row(w, 1, 2, "a");
    w->nodes[1].full_mute = true;
    uint64_t start = w->now;
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 5000);
    pass(w, 1000);
    assert_string_equal("new", values(w, tag));
    assert_in_range(find_done(w, tag)->at_ms - start, 50, 200);
}

static void test_get_many(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "1");
    write_all(w, "b", "2");
    write_on(w, 1, "b", "3");
    struct kith_bytes names[] = {text("a"), text("b"), text("z")};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = GROUP;
    op.u.get.name_count = 3;
    op.u.get.names = names;
    struct done *done = find_done(w, submit(w, &op));
    assert_int_equal(KITH_OK, done->result->err);
    assert_int_equal(3, done->result->u.rows.row_count);
    const struct kith_client_row *rows = done->result->u.rows.rows;
    assert_memory_equal("1", rows[0].row.siblings[0].value.data, 1);
    assert_memory_equal("3", rows[1].row.siblings[0].value.data, 1);
    assert_true(kith_row_is_empty(&rows[2].row));
}

static void test_frozen(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "one");
    set_mode(w, 0, FROZEN);
    uint64_t start = w->now;
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
    pass(w, 500);
    assert_string_equal("one", values(w, tag));
    assert_in_range(find_done(w, tag)->at_ms - start, 50, 60); /* one hedge */
    /* the second request comes before the node counts as slow, later ones do not ask it first */
    tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
    pass(w, 500);
    for (uint32_t i = 0; i < 6; i++) {
        start = w->now;
        tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
        uint64_t written = put(w, "b", "x", 0);
        pass(w, 7000);
        assert_string_equal("one", values(w, tag));
        assert_int_equal(start, find_done(w, tag)->at_ms);
        assert_int_equal(KITH_OK, err_of(w, written));
        assert_int_equal(start, find_done(w, written)->at_ms);
    }
    set_mode(w, 0, ALIVE); /* a probe finds it */
    pass(w, 40000);
    uint32_t before = w->nodes[0].gets;
    (void)get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_int_equal(before + 1, w->nodes[0].gets);
}

static void test_dead(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "one");
    set_mode(w, 0, DEAD);
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", values(w, tag)); /* at once */
    assert_false(find_done(w, tag)->result->degraded);
    assert_int_equal(KITH_OK, err_of(w, put(w, "a", "two", 0)));
    set_mode(w, 1, DEAD);
    assert_false(kith_client_core_writable(w->core, &GROUP));
    tag = get(w, "c", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("", values(w, tag));
    assert_true(find_done(w, tag)->result->degraded);
    set_mode(w, 2, DEAD);
    tag = get(w, "a", KITH_LEVEL_QUORUM, 2000);
    pass(w, 1999);
    assert_null(find_done(w, tag));
    pass(w, 1);
    assert_int_equal(KITH_EUNREACH, err_of(w, tag));
    /* all come back: the client finds them by itself */
    for (uint32_t i = 0; i < NODES; i++) {
        set_mode(w, i, ALIVE);
    }
    tag = get(w, "c", KITH_LEVEL_QUORUM, 0);
    pass(w, 3000);
    assert_string_equal("", values(w, tag));
    assert_true(kith_client_core_writable(w->core, &GROUP));
}

/* A node that is back is found before an answer degrades or a put is given up, not after the
 * back-off: nodes that are restarted one after the other never leave too few. */
static void test_restarted_in_turn(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "one");
    for (uint32_t turn = 0; turn < 6; turn++) {
        uint32_t back = turn % NODES, next = (turn + 1) % NODES;
        set_mode(w, back, DEAD);
        pass(w, 9000 + turn * 300); /* the back-off is at its longest, at any place in it */
        set_mode(w, back, ALIVE);
        pass(w, 60);
        set_mode(w, next, DEAD);
        uint64_t reads[2] = {get(w, "a", KITH_LEVEL_QUORUM, 0), scan(w, NULL, 0, 0)};
        uint64_t written = put(w, "a", "one", 0);
        pass(w, 10);
        for (uint32_t i = 0; i < 2; i++) {
            assert_int_equal(KITH_OK, err_of(w, reads[i]));
            assert_false(find_done(w, reads[i])->result->degraded);
        }
        assert_int_equal(KITH_OK, err_of(w, written));
        set_mode(w, next, ALIVE);
        pass(w, 5000);
    }
}

/* What asks for it is never answered by fewer than a quorum: it waits for one. */
static void test_strict(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "one");
    set_mode(w, 0, DEAD);
    set_mode(w, 1, DEAD);
    for (uint32_t i = 0; i < 4; i++) {
        struct kith_bytes names[] = {text("a")};
        struct kith_client_op op = {
            .kind = KITH_CLIENT_GET, .timeout_ms = 2000, .strict = i % 2 == 0};
        op.u.get.group = GROUP;
        op.u.get.name_count = 1;
        op.u.get.names = names;
        if (i >= 2) {
            memset(&op.u, 0, sizeof(op.u));
            op.kind = KITH_CLIENT_SCAN;
            op.u.scan.group = GROUP;
        }
        uint64_t tag = submit(w, &op);
        pass(w, 1999);
        if (!op.strict) {
            assert_int_equal(KITH_OK, err_of(w, tag));
            assert_true(find_done(w, tag)->result->degraded);
            continue;
        }
        assert_null(find_done(w, tag));
        pass(w, 1);
        assert_int_equal(KITH_ETIMEOUT, err_of(w, tag));
        tag = submit(w, &op);
        set_mode(w, 1, ALIVE);
        pass(w, 1999);
        assert_int_equal(KITH_OK, err_of(w, tag));
        assert_false(find_done(w, tag)->result->degraded);
        set_mode(w, 1, DEAD);
    }
}

static void test_not_ready_has_no_vote(void **state)
{
    struct world *w = *state;
    write_on(w, 1, "a", "one");
    copy_row(w, 1, 2, "a");
    w->nodes[0].get_err = KITH_ENOTREADY;
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", values(w, tag));
    assert_false(find_done(w, tag)->result->degraded);
}

static void test_stale_table(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "one");
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].stale = true;
    }
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_string_equal("one", values(w, tag));
    assert_int_equal(2, kith_client_core_table(w->core)->id.version);
    assert_int_equal(1, w->nodes[2].gets); /* the first owner of the newer table */
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].stale = false;
        w->nodes[i].put_err = KITH_ESTALE; /* but no newer table: asked again, until the deadline */
    }
    tag = put(w, "a", "two", 1000);
    pass(w, 999);
    assert_null(find_done(w, tag));
    pass(w, 1);
    assert_int_equal(KITH_EUNREACH, err_of(w, tag));
}

/* ---- Writing ---- */

static void test_put_retry(void **state)
{
    struct world *w = *state;
    w->nodes[0].put_mute = true; /* carried out, the answer is lost */
    uint64_t start = w->now;
    uint64_t tag = put(w, "a", "one", 0);
    assert_false(w->nodes[0].last_retry);
    pass(w, 1000);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_in_range(find_done(w, tag)->at_ms - start, 400, 410);
    assert_true(w->nodes[1].last_retry);
    assert_memory_equal(&w->nodes[0].last_request, &w->nodes[1].last_request,
                        sizeof(w->nodes[0].last_request));
    /* the slow one is not asked first any more; a new put has a new id */
    struct kith_request_id first = w->nodes[1].last_request;
    tag = put(w, "b", "one", 0);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_memory_not_equal(&first, &w->nodes[1].last_request, sizeof(first));
}

/* A put that is carried out at two coordinators draws two dots. When what the answer told of has been
 * replaced, the other is no file that is back (invariant 9); while it has not, both are one write. */
static void test_put_twin(void **state)
{
    struct world *w = *state;
    w->nodes[0].put_mute = true; /* carried out there alone, and it ends */
    w->nodes[0].put_copies = 1;
    w->nodes[1].put_copies = 6;
    uint64_t tag = put(w, "a", "one", 0);
    set_mode(w, 0, DEAD);
    pass(w, 1000);
    assert_int_equal(KITH_OK, err_of(w, tag));
    const struct kith_client_result *written = find_done(w, tag)->result;
    struct kith_put_update update = {.name = text("a"),
                                     .context = written->u.put.results[0].context};
    for (uint32_t replaced = 0; replaced < 2; replaced++) {
        if (replaced == 1) {
            set_mode(w, 0, DEAD);
            struct kith_client_op removal = {.kind = KITH_CLIENT_PUT};
            removal.u.put.group = GROUP;
            removal.u.put.update_count = 1;
            removal.u.put.updates = &update;
            assert_int_equal(KITH_OK, err_of(w, submit(w, &removal)));
        }
        set_mode(w, 0, ALIVE);
        pass(w, 5000);
        set_mode(w, 2, DEAD); /* node 0 is one of those that answer */
        assert_string_equal(replaced == 1 ? "" : "one+one",
                            values(w, get(w, "a", KITH_LEVEL_QUORUM, 0)));
        uint32_t pages;
        assert_string_equal(replaced == 1 ? "" : "a ", scan_all(w, 0, &pages));
        set_mode(w, 2, ALIVE);
        pass(w, 5000);
    }
}

static void test_put_lost_connection(void **state)
{
    struct world *w = *state;
    w->nodes[0].put_silent = true;
    uint64_t start = w->now;
    uint64_t tag = put(w, "a", "one", 0);
    assert_null(find_done(w, tag));
    set_mode(w, 0, DEAD);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_int_equal(start, find_done(w, tag)->at_ms);
    assert_true(w->nodes[1].last_retry);
}

static void test_put_unknown(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].put_silent = true;
    }
    uint64_t tag = put(w, "a", "one", 3000);
    pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag));
    /* one may have it, the others refuse: still unknown */
    w->nodes[0].put_silent = false;
    w->nodes[0].put_mute = true;
    w->nodes[1].put_silent = w->nodes[2].put_silent = false;
    w->nodes[1].put_err = w->nodes[2].put_err = KITH_ENOSPC;
    pass(w, 60000);
    tag = put(w, "a", "one", 3000);
    pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag));
    /* the same with a verdict that ends it at once */
    w->nodes[1].put_err = w->nodes[2].put_err = KITH_ELIMIT;
    w->nodes[1].put_silent = w->nodes[2].put_silent = false;
    pass(w, 60000);
    tag = put(w, "a", "one", 3000);
    pass(w, 1000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag));
}

/* The user puts the same again under the same id: a retry from the first try on, and never refused. */
static void test_put_again(void **state)
{
    struct world *w = *state;
    struct kith_put_update update = {.name = text("a"), .has_sibling = true, .value = text("one")};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = 3000};
    op.u.put.group = GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    op.u.put.request = kith_client_core_request_id(w->core);
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].put_silent = true;
    }
    uint64_t tag = submit(w, &op);
    assert_false(w->nodes[0].last_retry);
    pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag));
    op.u.put.again = true;
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].put_silent = false;
        w->nodes[i].put_err = KITH_ENOSPC;
    }
    pass(w, 60000);
    tag = submit(w, &op);
    pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag));
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].put_err = KITH_OK;
        w->nodes[i].last_retry = false;
        memset(&w->nodes[i].last_request, 0, sizeof(w->nodes[i].last_request));
    }
    pass(w, 60000);
    assert_int_equal(KITH_OK, err_of(w, submit(w, &op)));
    uint32_t asked = 0;
    for (uint32_t i = 0; i < NODES; i++) {
        asked += w->nodes[i].last_retry && memcmp(&w->nodes[i].last_request, &op.u.put.request,
                                                  sizeof(op.u.put.request)) == 0;
    }
    assert_int_equal(1, asked);
}

static void test_put_refused(void **state)
{
    struct world *w = *state;
    w->nodes[0].put_err = KITH_ENOSPC; /* never refused while any node can take it */
    uint64_t tag = put(w, "a", "one", 0);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_false(w->nodes[1].last_retry);
    w->nodes[1].put_err = w->nodes[2].put_err = KITH_ENOSPC;
    tag = put(w, "a", "one", 0);
    assert_int_equal(KITH_ENOSPC, err_of(w, tag));
    w->nodes[0].put_err = w->nodes[1].put_err = w->nodes[2].put_err = KITH_ELIMIT;
    uint32_t before = w->nodes[0].puts + w->nodes[1].puts + w->nodes[2].puts;
    tag = put(w, "a", "one", 0);
    assert_int_equal(KITH_ELIMIT, err_of(w, tag));
    assert_int_equal(before + 1, w->nodes[0].puts + w->nodes[1].puts + w->nodes[2].puts);
    for (uint32_t i = 0; i < NODES; i++) {
        set_mode(w, i, DEAD);
    }
    tag = put(w, "a", "one", 1000);
    pass(w, 1000);
    assert_int_equal(KITH_EUNREACH, err_of(w, tag)); /* nothing was sent */
}

/* ---- The session ---- */

static void test_session_own_writes(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "old");
    w->nodes[0].put_copies = 1; /* acknowledged with a stand-in: no other owner has it */
    struct kith_bytes context = row_state(row_at(&w->nodes[0], text("a")));
    struct kith_put_update update = {
        .name = text("a"), .has_sibling = true, .value = text("mine"), .context = context};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT};
    op.u.put.group = GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    assert_int_equal(KITH_OK, err_of(w, submit(w, &op)));
    set_mode(w, 0, DEAD);
    enum kith_level levels[] = {KITH_LEVEL_QUORUM, KITH_LEVEL_ONE};
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t tag = get(w, "a", levels[i], 2000);
        pass(w, 2000);
        assert_int_equal(KITH_ETIMEOUT, err_of(w, tag)); /* never the older state */
    }
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 5000);
    pass(w, 1000);
    assert_null(find_done(w, tag));
    set_mode(w, 0, ALIVE);
    pass(w, 3999);
    assert_non_null(strstr(values(w, tag), "mine"));
}

static void test_session_reads(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "old");
    write_on(w, 0, "a", "new"); /* a put that has reached one owner */
    assert_string_equal("new", values(w, get(w, "a", KITH_LEVEL_QUORUM, 0)));
    set_mode(w, 0, DEAD);
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 3000);
    pass(w, 500);
    assert_null(find_done(w, tag));
    copy_row(w, 0, 1, "a"); /* the repair reaches another */
    pass(w, 2499);
    assert_string_equal("new", values(w, tag));
    /* on a majority: forgotten, an owner that is behind is outvoted again */
    copy_row(w, 0, 2, "a");
    assert_string_equal("new", values(w, get(w, "a", KITH_LEVEL_QUORUM, 0)));
}

/* ---- Scans ---- */

static void row_lose(struct world *w, uint32_t node, const char *name)
{
    struct fake_node *n = &w->nodes[node];
    struct fake_row *row = row_at(n, text(name));
    assert_non_null(row);
    uint32_t at = (uint32_t)(row - n->rows);
    memmove(row, row + 1, (n->row_count - at - 1) * sizeof(*row));
    n->row_count--;
}

static uint64_t scan(struct world *w, const char *after, uint32_t max_rows, uint32_t timeout_ms)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .timeout_ms = timeout_ms};
    op.u.scan.group = GROUP;
    op.u.scan.has_after = after != NULL;
    op.u.scan.after = text(after == NULL ? "" : after);
    op.u.scan.max_rows = max_rows;
    return submit(w, &op);
}

/* All names of the group, by pages. */
static const char *scan_all(struct world *w, uint32_t max_rows, uint32_t *ret_pages)
{
    static char names[512];
    char after[64] = "";
    bool has_after = false;
    names[0] = '\0';
    *ret_pages = 0;
    for (;;) {
        struct done *done = find_done(w, scan(w, has_after ? after : NULL, max_rows, 0));
        assert_non_null(done);
        assert_int_equal(KITH_OK, done->result->err);
        const struct kith_client_result *result = done->result;
        for (uint32_t i = 0; i < result->u.rows.row_count; i++) {
            size_t at = strlen(names);
            (void)snprintf(names + at, sizeof(names) - at, "%.*s ",
                           (int)result->u.rows.rows[i].name.size,
                           (const char *)result->u.rows.rows[i].name.data);
        }
        assert_true(max_rows == 0 || result->u.rows.row_count <= max_rows);
        ++*ret_pages;
        if (!result->u.rows.more) {
            return names;
        }
        assert_true(*ret_pages < 100);
        has_after = true;
        (void)snprintf(after, sizeof(after), "%.*s", (int)result->u.rows.last.size,
                       (const char *)result->u.rows.last.data);
    }
}

/* What was read from one owner that then lost it: told once, by a get and by a scan alike, never
 * passed over in silence, and no error for good. */
static void test_session_lost(void **state)
{
    struct world *w = *state;
    for (uint32_t i = 0; i < 4; i++) {
        const char *name = i < 2 ? "a" : "b"; /* b: on no page, a: on one that is older */
        bool scans = i % 2 == 1;
        if (i < 2) {
            write_all(w, name, "old");
        }
        write_on(w, 0, name, "new");
        (void)values(w, get(w, name, KITH_LEVEL_QUORUM, 0));
        if (i < 2) {
            copy_row(w, 1, 0, name); /* a power loss at node 0, before the flush */
        } else {
            row_lose(w, 0, name);
        }
        uint64_t tag =
            scans ? scan(w, NULL, 0, 2000) : get(w, name, KITH_LEVEL_QUORUM, 2000);
        pass(w, 1900);
        assert_null(find_done(w, tag));
        pass(w, 100);
        assert_int_equal(KITH_EIO, err_of(w, tag));
        assert_non_null(strstr(find_done(w, tag)->result->message, "on no owner any more"));
        tag = get(w, name, KITH_LEVEL_QUORUM, 2000);
        assert_string_equal(i < 2 ? "old" : "", values(w, tag));
    }
}

/* What lies in the inbox waits until what comes from now on was delivered. */
static void deliver_after(struct world *w, const struct kith_client_op *op)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = op, .tag = ++w->tag};
    uint32_t late = w->tail - w->head;
    assert_int_equal(KITH_OK, step(w, &event));
    for (uint32_t i = 0; i < late; i++) {
        assert_true(w->tail - w->head < INBOX);
        w->inbox[w->tail++ % INBOX] = w->inbox[w->head++ % INBOX];
    }
    deliver(w);
}

/* Rounds of answers that were given before the session came to want what they lack are no sign of a
 * loss: here two of them, each overtaken by the answer of a put (sim seed 4586). */
static void test_session_overtaken(void **state)
{
    struct world *w = *state;
    for (uint32_t scans = 0; scans < 2; scans++) {
        const char *name = scans == 0 ? "a" : "b";
        write_all(w, name, "old");
        w->nodes[0].put_copies = 1; /* acknowledged with a stand-in: no other owner has it */
        struct kith_bytes names[] = {text(name)};
        struct kith_client_op read = {.kind = KITH_CLIENT_GET, .timeout_ms = 2000};
        read.u.get.group = GROUP;
        read.u.get.name_count = 1;
        read.u.get.names = names;
        if (scans == 1) {
            memset(&read.u, 0, sizeof(read.u));
            read.kind = KITH_CLIENT_SCAN;
            read.u.scan.group = GROUP;
        }
        struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = &read};
        uint64_t tag = event.tag = ++w->tag;
        assert_int_equal(KITH_OK, step(w, &event));
        for (uint32_t round = 0; round < 2; round++) {
            struct kith_put_update update = {
                .name = text(name), .has_sibling = true, .value = text(round == 0 ? "one" : "two")};
            update.context = row_state(row_at(&w->nodes[0], text(name)));
            struct kith_client_op put = {.kind = KITH_CLIENT_PUT};
            put.u.put.group = GROUP;
            put.u.put.update_count = 1;
            put.u.put.updates = &update;
            deliver_after(w, &put);
            uint32_t asked = w->tail;
            while (round == 0 && w->tail == asked) { /* to the next round's asks */
                struct kith_client_event tick = {.kind = KITH_CLIENT_EVENT_TICK};
                w->now = w->deadline > w->now ? w->deadline : w->now;
                assert_int_equal(KITH_OK, step(w, &tick));
            }
        }
        set_mode(w, 0, DEAD);
        pass(w, 2000);
        assert_int_equal(KITH_ETIMEOUT, err_of(w, tag));
        set_mode(w, 0, ALIVE);
        pass(w, 3000);
        assert_non_null(strstr(values(w, get(w, name, KITH_LEVEL_QUORUM, 0)), "two"));
    }
}

static void test_scan_pages(void **state)
{
    struct world *w = *state;
    uint32_t pages;
    assert_string_equal("", scan_all(w, 0, &pages));
    for (const char *name = "abcdefghijkl"; *name != '\0'; name++) {
        char one[2] = {*name, '\0'};
        write_all(w, one, "x");
    }
    write_on(w, 0, "bb", "only on 0");
    write_on(w, 1, "ee", "only on 1");
    write_on(w, 1, "c", NULL); /* deleted on one: the tombstone wins */
    static const char *const all = "a b bb d e ee f g h i j k l ";
    assert_string_equal(all, scan_all(w, 0, &pages));
    assert_int_equal(1, pages);
    assert_true(w->nodes[0].repairs > 0 && w->nodes[1].repairs > 0);
    for (uint32_t zero = 1; zero < 7; zero++) { /* pages that end at different names */
        for (uint32_t one = 1; one < 7; one++) {
            w->nodes[0].page_rows = zero;
            w->nodes[1].page_rows = one;
            assert_string_equal(all, scan_all(w, 0, &pages));
            assert_string_equal(all, scan_all(w, 3, &pages));
        }
    }
}

static void test_scan_session(void **state)
{
    struct world *w = *state;
    write_all(w, "a", "x");
    write_all(w, "z", "x");
    w->nodes[0].put_copies = 1 | 4; /* 0 and 2 have it */
    assert_int_equal(KITH_OK, err_of(w, put(w, "mine", "x", 0)));
    set_mode(w, 0, DEAD);
    uint32_t pages;
    assert_string_equal("a mine z ", scan_all(w, 0, &pages));
    set_mode(w, 2, DEAD); /* only 1 is left, which lacks it */
    uint64_t tag = scan(w, NULL, 0, 2000);
    pass(w, 2000);
    assert_int_equal(KITH_ETIMEOUT, err_of(w, tag));
    tag = scan(w, "n", 0, 2000); /* behind it: degraded, but not wrong */
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_true(find_done(w, tag)->result->degraded);
}

/* ---- Chunks ---- */

static struct kith_chunk_id chunk_id(uint8_t last)
{
    struct kith_chunk_id id = {{1, 2, 3}};
    id.bytes[KITH_CHUNK_ID_SIZE - 1] = last;
    return id;
}

static uint64_t chunk_put(struct world *w, uint32_t timeout_ms)
{
    struct kith_blob *blob = kith_blob_new(sizeof(CHUNK));
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_PUT, .timeout_ms = timeout_ms};
    assert_non_null(blob);
    memcpy(blob->data, CHUNK, sizeof(CHUNK));
    op.u.chunk_put.id = chunk_id(0);
    op.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(CHUNK, sizeof(CHUNK)));
    op.u.chunk_put.payload = blob;
    uint64_t tag = submit(w, &op);
    kith_blob_drop(blob);
    return tag;
}

static uint64_t chunk_get(struct world *w, uint8_t last, uint32_t timeout_ms)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_GET, .timeout_ms = timeout_ms};
    op.u.chunk_get.id = chunk_id(last);
    op.u.chunk_get.checksum = kith_checksum_of(kith_bytes_make(CHUNK, sizeof(CHUNK)));
    return submit(w, &op);
}

static void test_chunk_put(void **state)
{
    struct world *w = *state;
    uint64_t tag = chunk_put(w, 0);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_int_equal(1, w->nodes[0].chunk_puts);
    assert_int_equal(1, w->nodes[1].chunk_puts);
    assert_int_equal(1, w->nodes[2].chunk_puts); /* the third copy goes on after the answer */
    set_mode(w, 0, FROZEN);
    tag = chunk_put(w, 0);
    assert_int_equal(KITH_OK, err_of(w, tag)); /* no wait for the frozen one */
    w->nodes[1].chunk_err = KITH_ENOSPC;
    tag = chunk_put(w, 3000);
    pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag));
    w->nodes[2].chunk_err = KITH_ENOSPC;
    tag = chunk_put(w, 3000);
    assert_int_equal(KITH_ENOSPC, err_of(w, tag));
    for (uint32_t i = 0; i < 3 * 64;
         i++) { /* lingering ones are bounded, and end by their deadline */
        w->nodes[1].chunk_err = w->nodes[2].chunk_err = KITH_OK;
        tag = chunk_put(w, 3000);
    }
    pass(w, 3000);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_int_equal(0, kith_client_core_pending(w->core));
}

/* Fewer than W owners alive: an error soon, not at the deadline; and a blip is none. */
static void test_chunk_put_short(void **state)
{
    struct world *w = *state;
    assert_int_equal(KITH_OK, err_of(w, chunk_put(w, 0)));
    set_mode(w, 0, DEAD);
    assert_int_equal(KITH_OK, err_of(w, chunk_put(w, 0)));
    set_mode(w, 1, DEAD);
    pass(w, 100);
    uint64_t start = w->now;
    uint64_t tag = chunk_put(w, 30000);
    pass(w, 5000);
    assert_int_equal(KITH_EUNKNOWN, err_of(w, tag)); /* the third has it */
    assert_in_range(find_done(w, tag)->at_ms - start, 2900, 3600);
    assert_non_null(strstr(find_done(w, tag)->result->message, "1 of the 2 owners"));
    set_mode(w, 2, DEAD);
    pass(w, 100);
    tag = chunk_put(w, 30000);
    pass(w, 3500);
    assert_int_equal(KITH_EUNREACH, err_of(w, tag));
    tag = chunk_put(w, 30000);
    set_mode(w, 0, ALIVE);
    set_mode(w, 1, ALIVE);
    set_mode(w, 2, ALIVE);
    pass(w, 5000);
    assert_int_equal(KITH_OK, err_of(w, tag));
    /* one comes back while the pause before it is tried again is at its longest, another goes */
    set_mode(w, 1, DEAD);
    pass(w, 20000);
    set_mode(w, 1, ALIVE);
    set_mode(w, 0, DEAD);
    tag = chunk_put(w, 30000);
    pass(w, 3500);
    assert_int_equal(KITH_OK, err_of(w, tag));
}

static void test_chunk_get(void **state)
{
    struct world *w = *state;
    for (uint8_t i = 0; i < 9; i++) {
        uint64_t tag = chunk_get(w, i, 0);
        assert_int_equal(KITH_OK, err_of(w, tag));
        struct kith_blob *blob = find_done(w, tag)->result->u.chunk.payload;
        assert_memory_equal(CHUNK, blob->data, sizeof(CHUNK));
    }
    assert_int_equal(3, w->nodes[0].chunk_gets); /* the load spreads */
    assert_int_equal(3, w->nodes[1].chunk_gets);
    w->nodes[0].chunk_damaged = true;
    assert_int_equal(KITH_OK, err_of(w, chunk_get(w, 0, 0)));
    w->nodes[1].chunk_err = KITH_ENOTFOUND;
    assert_int_equal(KITH_OK, err_of(w, chunk_get(w, 0, 0)));
    w->nodes[2].chunk_err = KITH_ENOTFOUND;
    assert_int_equal(KITH_ECORRUPT, err_of(w, chunk_get(w, 0, 0)));
    w->nodes[0].chunk_err = KITH_ENOTFOUND;
    assert_int_equal(KITH_ENOTFOUND, err_of(w, chunk_get(w, 0, 0)));
    w->nodes[0].chunk_damaged = false;
    w->nodes[1].chunk_err = KITH_OK;
    pass(w, 60000);
    set_mode(w, 0, FROZEN);
    uint64_t start = w->now;
    uint64_t tag = chunk_get(w, 0, 0);
    pass(w, 1000);
    assert_int_equal(KITH_OK, err_of(w, tag));
    assert_in_range(find_done(w, tag)->at_ms - start, 300, 310);
}

static void test_chunk_sync(void **state)
{
    struct world *w = *state;
    struct kith_chunk_id ids[5];
    for (uint8_t i = 0; i < 5; i++) {
        ids[i] = chunk_id(i);
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC};
    op.u.chunk_sync.id_count = 5;
    op.u.chunk_sync.ids = ids;
    struct done *done = find_done(w, submit(w, &op));
    assert_int_equal(KITH_OK, done->result->err);
    assert_int_equal(0, done->result->u.chunk_sync.missing_count);
    assert_int_equal(1, w->nodes[0].syncs); /* one message a node */
    w->nodes[0].sync_missing = w->nodes[1].sync_missing = true;
    done = find_done(w, submit(w, &op));
    assert_int_equal(1, done->result->u.chunk_sync.missing_count);
    assert_memory_equal(&ids[4], done->result->u.chunk_sync.missing, sizeof(ids[4]));
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].sync_missing = false;
        w->nodes[i].stale = true;
    }
    pass(w, 1000);
    done = find_done(w, submit(w, &op)); /* the owners are others: nothing counts */
    assert_int_equal(KITH_OK, done->result->err);
    assert_int_equal(5, done->result->u.chunk_sync.missing_count);
    done = find_done(w, submit(w, &op)); /* and the newer table was asked for */
    assert_int_equal(0, done->result->u.chunk_sync.missing_count);
}

/* ---- The rest ---- */

static void test_status(void **state)
{
    struct world *w = *state;
    struct kith_client_op op = {.kind = KITH_CLIENT_STATUS};
    struct done *done = find_done(w, submit(w, &op));
    assert_int_equal(KITH_OK, done->result->err);
    assert_string_equal("fake", done->result->u.status->node.cluster_name);
    char address[8];
    for (uint32_t i = 0; i < NODES; i++) {
        (void)snprintf(address, sizeof(address), "n%u:1", i);
        op.u.status.address = address;
        uint64_t tag = submit(w, &op);
        pass(w, 100);
        done = find_done(w, tag);
        assert_non_null(done);
        struct kith_uuid uuid = uuid_of(i);
        assert_memory_equal(&uuid, &done->result->u.status->node.node, sizeof(uuid));
    }
    set_mode(w, 2, DEAD);
    pass(w, 1000);
    uint64_t tag = submit(w, &op);
    pass(w, 3000);
    assert_int_equal(KITH_EUNREACH, err_of(w, tag));
    assert_string_equal("n2:1: connection refused", find_done(w, tag)->result->message);
}

static void test_before_table(void **state)
{
    struct world *w = world_new();
    *state = w;
    for (uint32_t i = 0; i < NODES; i++) {
        w->nodes[i].mode = DEAD;
    }
    world_start(w);
    uint64_t tag = get(w, "a", KITH_LEVEL_QUORUM, 500);
    pass(w, 500);
    assert_int_equal(KITH_EUNREACH, err_of(w, tag));
    char reasons[128];
    kith_client_core_reasons(w->core, reasons, sizeof(reasons));
    assert_string_equal("n0:1: connection refused, n1:1: connection refused", reasons);
    w->nodes[1].mode = w->nodes[2].mode = ALIVE;
    tag = get(w, "a", KITH_LEVEL_QUORUM, 5000);
    pass(w, 5000);
    assert_string_equal("", values(w, tag));
}

/* A member so new that nobody knows where it listens: asked for until somebody does. */
static void test_placeless(void **state)
{
    struct world *w = world_new();
    *state = w;
    w->placeless = true;
    world_start(w);
    uint64_t tag = get(w, "a", KITH_LEVEL_ALL, 5000);
    pass(w, 2000);
    assert_null(find_done(w, tag));
    w->placeless = false;
    pass(w, 1500);
    assert_string_equal("", values(w, tag));
}

static void test_limits(void **state)
{
    struct world *w = *state;
    struct kith_bytes names[] = {text("a")};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .timeout_ms = 5000};
    op.u.get.names = names;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = &op};
    assert_int_equal(KITH_EINVAL, step(w, &event)); /* no name */
    op.u.get.name_count = 1;
    names[0].size = KITH_NAME_MAX + 1;
    assert_int_equal(KITH_EINVAL, step(w, &event));
    names[0].size = 1;
    for (uint32_t i = 0; i < NODES; i++) {
        set_mode(w, i, FROZEN);
    }
    for (uint32_t i = 0; i < KITH_CLIENT_OPS_MAX; i++) {
        event.tag = ++w->tag;
        assert_int_equal(KITH_OK, step(w, &event));
    }
    assert_int_equal(KITH_ELIMIT, step(w, &event));
    struct kith_client_event cancel = {.kind = KITH_CLIENT_EVENT_CANCEL, .tag = w->tag};
    assert_int_equal(KITH_OK, step(w, &cancel));
    assert_int_equal(1, w->done_count);
    assert_int_equal(KITH_ECANCELED, err_of(w, w->tag));
    cancel.all = true;
    assert_int_equal(KITH_OK, step(w, &cancel));
    assert_int_equal(KITH_CLIENT_OPS_MAX, w->done_count);
    assert_int_equal(0, kith_client_core_pending(w->core));
}

static uint64_t draw(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

/* Nodes die, freeze and come back at random: every request ends once, by its deadline. */
static void test_random(void **state)
{
    struct world *w = *state;
    uint64_t seed = 42;
    uint64_t until[512];
    uint64_t tags[512];
    for (uint32_t i = 0; i < 512; i++) {
        uint64_t node = draw(&seed) % NODES;
        if (draw(&seed) % 8 == 0) {
            set_mode(w, (uint32_t)node, (enum mode)(draw(&seed) % 3));
        }
        uint32_t timeout_ms = 1 + (uint32_t)(draw(&seed) % 3000);
        uint64_t what = draw(&seed) % 5;
        until[i] = w->now + timeout_ms;
        tags[i] = what == 0   ? get(w, "r", KITH_LEVEL_QUORUM, timeout_ms)
                  : what == 1 ? put(w, "r", "v", timeout_ms)
                  : what == 2 ? scan(w, NULL, 0, timeout_ms)
                  : what == 3 ? chunk_put(w, timeout_ms)
                              : chunk_get(w, (uint8_t)i, timeout_ms);
        for (uint32_t n = 0; n < NODES; n++) {
            w->nodes[n].row_count = i % 16 == 0 ? 0 : w->nodes[n].row_count; /* bounded siblings */
        }
        uint64_t ms = draw(&seed) % 200;
        pass(w, ms);
    }
    pass(w, 10000);
    for (uint32_t i = 0; i < 512; i++) {
        struct done *done = find_done(w, tags[i]);
        assert_non_null(done);
        assert_true(done->at_ms <= until[i]);
    }
    assert_int_equal(0, kith_client_core_pending(w->core));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_get_quorum, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get_mismatch, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get_digest_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_get_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_frozen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restarted_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strict, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_ready_has_no_vote, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stale_table, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_retry, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_again, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_twin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_lost_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_put_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_own_writes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_reads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_lost, setup, teardown),
        cmocka_unit_test_setup_teardown(test_session_overtaken, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan_pages, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scan_session, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_put, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_put_short, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_get, setup, teardown),
        cmocka_unit_test_setup_teardown(test_chunk_sync, setup, teardown),
        cmocka_unit_test_setup_teardown(test_status, setup, teardown),
        cmocka_unit_test_teardown(test_before_table, teardown),
        cmocka_unit_test_teardown(test_placeless, teardown),
        cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
