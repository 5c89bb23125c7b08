/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * spread_world.h - a node (node_world.h) that coordinates writes of a group of which it is an owner,
 * among others that answer copies, are silent, or late; and what it asks of each. For
 * test_node_spread.c and test_node_zones.c; include it after cmocka.h. */
#ifndef KITH_TESTS_SPREAD_WORLD_H
#define KITH_TESTS_SPREAD_WORLD_H

#include <stdlib.h>

#include "core/internal.h"
#include "node_world.h"

#define NODES_MAX 9u /* by the byte of their uuids; 1 is the node that is tested */
#define EVENTS    1024u

enum mode {
    ALIVE,
    SILENT, /* connected, and says nothing */
    SLOW,   /* says that it lives, and answers no copy */
};

struct other {
    enum mode mode;
    uint64_t conn;
    uint32_t asked, custody; /* copies that were sent to it; with custody */
    bool may_wait;           /* the last one */
    uint32_t relays;         /* who were to get that one through it, and the last of them */
    uint8_t relay_to;
    uint64_t asked_id;       /* the last one that it has not answered; 0: none */
    uint64_t first_ms;       /* when the first was sent */
};

struct todo {
    enum { ANSWER, PONG, ROWS, NOTED } what;
    uint64_t conn, id;
};

struct cluster {
    struct world world;
    struct kith_group group; /* the node is an owner of it */
    uint32_t member_count;
    uint8_t owners[2];                /* the others */
    uint8_t rest[KITH_FALLBACKS_MAX]; /* who may stand in, in order */
    struct other others[NODES_MAX];
    struct todo todo[EVENTS];
    uint32_t todo_count;
    uint32_t notes, rereads;
    uint64_t begun_ms, ended_ms;
    struct kith_put_res res; /* texts and results are gone */
    uint32_t ends;
};

static inline uint8_t byte_of(const struct cluster *c, uint16_t member)
{
    return c->world.node->table->members[member].uuid.bytes[0];
}

/* The next group of which the node is an owner. */
static inline void choose_group(struct cluster *c)
{
    const struct kith_table *table = c->world.node->table;
    for (;;) {
        c->group.bytes[15]++;
        assert_true(c->group.bytes[15] != 0);
        uint32_t partition = kith_group_partition(&c->group, table->partitions);
        const uint16_t *owners = kith_table_owners(table, partition);
        uint16_t rest[KITH_FALLBACKS_MAX];
        uint32_t count = 0;
        for (uint32_t i = 0; i < table->owner_slots; i++) {
            if (byte_of(c, owners[i]) != 1 && count < 2) {
                c->owners[count++] = byte_of(c, owners[i]);
            }
        }
        if (!kith_table_owns(table, partition, c->world.node->self)) {
            continue;
        }
        count = kith_table_fallbacks(table, partition, KITH_FALLBACKS_MAX, rest);
        assert_int_equal(count, c->member_count - 3);
        for (uint32_t i = 0; i < count; i++) {
            c->rest[i] = byte_of(c, rest[i]);
        }
        return;
    }
}

static inline struct other *at_conn(struct cluster *c, uint64_t conn)
{
    for (uint32_t i = 2; i < NODES_MAX; i++) {
        if (c->others[i].conn == conn && conn != 0) {
            return &c->others[i];
        }
    }
    return NULL;
}

static inline void later(struct cluster *c, struct todo todo)
{
    assert_true(c->todo_count < EVENTS);
    c->todo[c->todo_count++] = todo;
}

static inline void look_sent(struct cluster *c, const struct kith_effect *effect)
{
    const struct kith_msg *msg = effect->msg;
    struct other *other = at_conn(c, effect->conn);
    if (msg->kind == KITH_MSG_PUT_RES) {
        c->res = msg->u.put_res;
        c->ends++;
        c->ended_ms = c->world.now_ms;
    } else if (other && msg->kind == KITH_MSG_REPLICATE_REQ) {
        other->first_ms = other->asked == 0 ? c->world.now_ms : other->first_ms;
        other->asked++;
        other->custody += msg->u.replicate_req.custody ? 1 : 0;
        other->asked_id = msg->id;
        other->may_wait = msg->u.replicate_req.may_wait;
        other->relays = msg->u.replicate_req.relay_count;
        for (uint32_t i = 0; i < other->relays; i++) {
            other->relay_to = msg->u.replicate_req.relays[i].node.bytes[0];
            assert_int_equal(msg->u.replicate_req.relays[i].id, msg->id);
        }
        assert_int_equal(msg->u.replicate_req.row_count, 1);
        assert_true(msg->u.replicate_req.rows[0].state.size > 0);
        if (other->mode == ALIVE) {
            later(c, (struct todo){ANSWER, effect->conn, msg->id});
        }
    } else if (other && msg->kind == KITH_MSG_PING && other->mode != SILENT) {
        later(c, (struct todo){PONG, effect->conn, 0});
    }
}

static inline void look(struct cluster *c)
{
    for (uint32_t i = 0; i < c->world.last.count; i++) {
        const struct kith_effect *effect = &c->world.last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND) {
            look_sent(c, effect);
        } else if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_GET) {
            c->rereads++;
            later(c, (struct todo){ROWS, 0, effect->op->id});
        } else if (effect->kind == KITH_EFFECT_STORE && effect->op->kind == KITH_STORE_HINT_NOTE) {
            c->notes++;
            later(c, (struct todo){NOTED, 0, effect->op->id});
        }
    }
}

static inline void says(struct cluster *c, uint64_t conn)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.is_answer = true;
    message(&c->world, conn, &msg);
    look(c);
}

/* The copy that was asked for is made. */
static inline void answers(struct cluster *c, uint64_t conn, uint64_t id)
{
    struct kith_msg msg = {.kind = KITH_MSG_REPLICATE_RES, .id = id};
    msg.u.replicate_res.status.message = "";
    at_conn(c, conn)->asked_id = 0;
    message(&c->world, conn, &msg);
    look(c);
}

static inline void stored(struct cluster *c, const struct todo *todo)
{
    struct kith_got_row row = {.state = {(const uint8_t *)"as it is", 8}};
    struct kith_store_done done = {.id = todo->id, .message = "", .reached = KITH_DURABLE_DISK};
    if (todo->what == ROWS) {
        done.u.rows.row_count = 1;
        done.u.rows.rows = &row;
    }
    struct kith_event event = {.kind = KITH_EVENT_STORED, .done = &done};
    run(&c->world, &event);
    look(c);
}

static inline void work(struct cluster *c)
{
    for (uint32_t i = 0; i < c->todo_count; i++) {
        struct todo todo = c->todo[i];
        if (todo.what == ANSWER) {
            answers(c, todo.conn, todo.id);
        } else if (todo.what == PONG) {
            says(c, todo.conn);
        } else {
            stored(c, &todo);
        }
    }
    c->todo_count = 0;
}

static inline void pass(struct cluster *c, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 10) {
        tick(&c->world, 10);
        look(c);
        work(c);
    }
}

/* Members 1 to member_count; all are up but those of `down`, a bit each. */
static inline struct cluster *cluster_new(uint32_t member_count, uint32_t down)
{
    struct cluster *c = calloc(1, sizeof *c);
    assert_non_null(c);
    c->member_count = member_count;
    world_new(&c->world, member_count - 1);
    choose_group(c);
    for (uint8_t i = 2; i <= member_count; i++) {
        if ((down & (1u << i)) == 0) {
            c->others[i].conn = peer_up(&c->world, i);
        }
    }
    for (uint8_t i = 2; i <= member_count; i++) {
        if (c->others[i].conn != 0) {
            says(c, c->others[i].conn);
        }
    }
    c->todo_count = 0;
    return c;
}

static inline void cluster_free(struct cluster *c)
{
    kith_node_free(c->world.node);
    free(c);
}

static inline struct kith_msg request(const struct cluster *c, uint32_t w, bool strict)
{
    struct kith_msg msg = put_msg(&c->world, KITH_DURABLE_OS);
    msg.u.put_req.group = c->group;
    msg.u.put_req.w = w;
    msg.u.put_req.strict = strict;
    msg.u.put_req.timeout_ms = 5000;
    return msg;
}

static inline void put(struct cluster *c, const struct kith_msg *msg)
{
    c->begun_ms = c->world.now_ms;
    message(&c->world, 1, msg);
    look(c);
    put_done(&c->world, KITH_DURABLE_OS);
    look(c);
    work(c);
}

static inline void expect_ok(const struct cluster *c, uint32_t copies, uint32_t owners)
{
    assert_int_equal(c->ends, 1);
    assert_int_equal(c->res.status.err, KITH_OK);
    assert_int_equal(c->res.copies, copies);
    assert_int_equal(c->res.owners, owners);
}

#endif
