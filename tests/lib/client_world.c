/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client_world.c - see client_world.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/client_world.h"

const struct kith_group WORLD_GROUP = {{1, 2, 3}};

static void push(struct client_world *w, uint64_t conn, enum kith_client_event_kind kind)
{
    assert_true(w->tail - w->head < WORLD_INBOX);
    w->inbox[w->tail % WORLD_INBOX].conn = conn;
    w->inbox[w->tail % WORLD_INBOX].kind = kind;
    w->inbox[w->tail % WORLD_INBOX].box = NULL;
    w->tail++;
}

enum kith_err world_step(struct client_world *w, struct kith_client_event *event)
{
    struct kith_client_effects effects;
    event->mono_ms = w->now;
    event->random = w->now * 7919 + w->tail;
    enum kith_err err = kith_client_core_step(w->core, event, &effects);
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_client_effect *e = &effects.effects[i];
        if (e->kind == KITH_CLIENT_EFFECT_CONNECT) {
            assert_true(e->conn < WORLD_CONNS);
            w->conns[e->conn].node = (uint32_t)(e->address[1] - '0');
            w->conns[e->conn].open = w->nodes[w->conns[e->conn].node].mode != DEAD;
            push(w, e->conn,
                 w->conns[e->conn].open ? KITH_CLIENT_EVENT_OPENED : KITH_CLIENT_EVENT_CLOSED);
        } else if (e->kind == KITH_CLIENT_EFFECT_SEND) {
            world_node_receives(w, e->conn, e->msg);
        } else if (e->kind == KITH_CLIENT_EFFECT_CLOSE) {
            w->conns[e->conn].open = false;
        } else if (e->kind == KITH_CLIENT_EFFECT_WATCHED || e->kind == KITH_CLIENT_EFFECT_CHANGED) {
            assert_non_null(w->on_effect);
            w->on_effect(w, e);
        } else {
            struct world_done done = {e->tag, e->op_kind, w->now, e->result, e->done};
            assert_true(w->done_count < WORLD_DONES);
            w->dones[w->done_count++] = done;
        }
    }
    w->deadline = effects.deadline_ms;
    return err;
}

void world_deliver(struct client_world *w)
{
    while (w->head != w->tail) {
        struct kith_msg_box *box = w->inbox[w->head % WORLD_INBOX].box;
        struct kith_client_event event = {.kind = w->inbox[w->head % WORLD_INBOX].kind,
                                          .conn = w->inbox[w->head % WORLD_INBOX].conn,
                                          .reason = "connection refused"};
        w->head++;
        if (box != NULL) {
            w->boxed = !w->boxed;
            event.msg = &box->msg;
            event.box = w->boxed ? box : NULL;
        }
        assert_int_equal(KITH_OK, world_step(w, &event));
        if (box != NULL) {
            kith_msg_box_drop(box);
        }
    }
}

void world_pass(struct client_world *w, uint64_t ms)
{
    uint64_t until = w->now + ms;
    uint32_t ticks = 0;
    world_deliver(w);
    while (w->deadline <= until) {
        struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
        w->now = w->deadline > w->now ? w->deadline : w->now;
        assert_int_equal(KITH_OK, world_step(w, &event));
        world_deliver(w);
        assert_true(++ticks < 100000); /* it does not spin */
    }
    w->now = until;
}

void world_set_mode(struct client_world *w, uint32_t node, enum world_mode mode)
{
    w->nodes[node].mode = mode;
    for (uint32_t i = 1; i < WORLD_CONNS && mode == DEAD; i++) {
        if (w->conns[i].open && w->conns[i].node == node) {
            w->conns[i].open = false;
            push(w, i, KITH_CLIENT_EVENT_CLOSED);
        }
    }
    world_deliver(w);
}

static struct client_world *make(bool strict, uint32_t member_count, const char *own,
                                 const char *const *zones)
{
    static const char *const servers[] = {"n0:1", "n1:1"};
    struct client_world *w = calloc(1, sizeof(*w));
    struct kith_client_core_options options = {
        .server_count = 2, .servers = servers, .mono_ms = 1000, .random = {1, 2, 3, 4}};
    options.relay_min = 1;
    options.writer = "me@here";
    options.strict = strict;
    options.zone = own;
    assert_non_null(w);
    w->now = 1000;
    w->member_count = member_count;
    w->table = world_make_table(1, member_count, zones);
    w->newer = world_make_table(2, member_count, zones);
    for (uint32_t i = 0; i < WORLD_MEMBERS; i++) {
        w->nodes[i].put_copies = 7;
    }
    assert_int_equal(KITH_OK, kith_client_core_new(&options, &w->core, NULL));
    return w;
}

struct client_world *world_new(void)
{
    return make(false, WORLD_NODES, NULL, NULL);
}

struct client_world *world_new_zones(const char *own, const char *const zones[WORLD_MEMBERS])
{
    return make(false, WORLD_MEMBERS, own, zones);
}

void world_start(struct client_world *w)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_TICK};
    assert_int_equal(KITH_OK, world_step(w, &event));
    world_deliver(w);
    world_pass(w, 1);
}

static int set_up(void **state, bool strict, uint32_t member_count)
{
    struct client_world *w = make(strict, member_count, NULL, NULL);
    world_start(w);
    assert_true(kith_client_core_ready(w->core));
    *state = w;
    return 0;
}

int world_setup(void **state)
{
    return set_up(state, false, WORLD_NODES);
}

int world_setup_strict(void **state)
{
    return set_up(state, true, WORLD_NODES);
}

int world_setup_many(void **state)
{
    return set_up(state, false, WORLD_MEMBERS);
}

int world_teardown(void **state)
{
    struct client_world *w = *state;
    while (w->head != w->tail) {
        if (w->inbox[w->head % WORLD_INBOX].box != NULL) {
            kith_msg_box_drop(w->inbox[w->head % WORLD_INBOX].box);
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

uint64_t world_submit(struct client_world *w, const struct kith_client_op *op)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = op, .tag = ++w->tag};
    assert_int_equal(KITH_OK, world_step(w, &event));
    world_deliver(w);
    return w->tag;
}

struct world_done *world_done(struct client_world *w, uint64_t tag)
{
    struct world_done *found = NULL;
    for (uint32_t i = 0; i < w->done_count; i++) {
        if (w->dones[i].tag == tag) {
            assert_null(found); /* exactly one */
            found = &w->dones[i];
        }
    }
    return found;
}

uint64_t world_get(struct client_world *w, const char *name, enum kith_level level,
                   uint32_t timeout_ms)
{
    struct kith_bytes names[] = {text(name)};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .level = level, .timeout_ms = timeout_ms};
    op.u.get.group = WORLD_GROUP;
    op.u.get.name_count = 1;
    op.u.get.names = names;
    return world_submit(w, &op);
}

uint64_t world_put(struct client_world *w, const char *name, const char *value, uint32_t timeout_ms)
{
    struct kith_put_update update = {.name = text(name), .has_sibling = true, .value = text(value)};
    struct kith_client_op op = {.kind = KITH_CLIENT_PUT, .timeout_ms = timeout_ms};
    op.u.put.group = WORLD_GROUP;
    op.u.put.update_count = 1;
    op.u.put.updates = &update;
    return world_submit(w, &op);
}

const char *world_values(struct client_world *w, uint64_t tag)
{
    static char joined[256];
    struct world_done *done = world_done(w, tag);
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

enum kith_err world_err(struct client_world *w, uint64_t tag)
{
    struct world_done *done = world_done(w, tag);
    assert_non_null(done);
    return done->result->err;
}

uint64_t world_scan(struct client_world *w, const char *after, uint32_t max_rows,
                    uint32_t timeout_ms)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .timeout_ms = timeout_ms};
    op.u.scan.group = WORLD_GROUP;
    op.u.scan.has_after = after != NULL;
    op.u.scan.after = text(after == NULL ? "" : after);
    op.u.scan.max_rows = max_rows;
    return world_submit(w, &op);
}

const char *world_scan_all(struct client_world *w, uint32_t max_rows, uint32_t *ret_pages)
{
    static char names[512];
    char after[64] = "";
    bool has_after = false;
    names[0] = '\0';
    *ret_pages = 0;
    for (;;) {
        struct world_done *done =
            world_done(w, world_scan(w, has_after ? after : NULL, max_rows, 0));
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
void world_submit_overtaking(struct client_world *w, const struct kith_client_op *op)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = op, .tag = ++w->tag};
    uint32_t late = w->tail - w->head;
    assert_int_equal(KITH_OK, world_step(w, &event));
    for (uint32_t i = 0; i < late; i++) {
        assert_true(w->tail - w->head < WORLD_INBOX);
        w->inbox[w->tail++ % WORLD_INBOX] = w->inbox[w->head++ % WORLD_INBOX];
    }
    world_deliver(w);
}

struct kith_chunk_id world_chunk_id(uint8_t last)
{
    struct kith_chunk_id id = {{1, 2, 3}};
    id.bytes[KITH_CHUNK_ID_SIZE - 1] = last;
    return id;
}

uint64_t world_chunk_put(struct client_world *w, uint32_t timeout_ms)
{
    struct kith_blob *blob = kith_blob_new(WORLD_CHUNK_SIZE);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_PUT, .timeout_ms = timeout_ms};
    assert_non_null(blob);
    memcpy(blob->data, WORLD_CHUNK, WORLD_CHUNK_SIZE);
    op.u.chunk_put.id = world_chunk_id(0);
    op.u.chunk_put.checksum = kith_checksum_of(kith_bytes_make(WORLD_CHUNK, WORLD_CHUNK_SIZE));
    op.u.chunk_put.payload = blob;
    uint64_t tag = world_submit(w, &op);
    kith_blob_drop(blob);
    return tag;
}

uint64_t world_chunk_get(struct client_world *w, uint8_t last, uint32_t timeout_ms)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_GET, .timeout_ms = timeout_ms};
    op.u.chunk_get.id = world_chunk_id(last);
    op.u.chunk_get.checksum = kith_checksum_of(kith_bytes_make(WORLD_CHUNK, WORLD_CHUNK_SIZE));
    return world_submit(w, &op);
}
