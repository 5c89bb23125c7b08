/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node_spread.c - the copies of a write that a node coordinates (put_spread.c): who stands in
 * for owners that are late or silent, what counts, and what is done where too few are left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

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

static uint8_t byte_of(const struct cluster *c, uint16_t member)
{
    return c->world.node->table->members[member].uuid.bytes[0];
}

/* The next group of which the node is an owner. */
static void choose_group(struct cluster *c)
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

static struct other *at_conn(struct cluster *c, uint64_t conn)
{
    for (uint32_t i = 2; i < NODES_MAX; i++) {
        if (c->others[i].conn == conn && conn != 0) {
            return &c->others[i];
        }
    }
    return NULL;
}

static void later(struct cluster *c, struct todo todo)
{
    assert_true(c->todo_count < EVENTS);
    c->todo[c->todo_count++] = todo;
}

static void look_sent(struct cluster *c, const struct kith_effect *effect)
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

static void look(struct cluster *c)
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

static void says(struct cluster *c, uint64_t conn)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.is_answer = true;
    message(&c->world, conn, &msg);
    look(c);
}

/* The copy that was asked for is made. */
static void answers(struct cluster *c, uint64_t conn, uint64_t id)
{
    struct kith_msg msg = {.kind = KITH_MSG_REPLICATE_RES, .id = id};
    msg.u.replicate_res.status.message = "";
    at_conn(c, conn)->asked_id = 0;
    message(&c->world, conn, &msg);
    look(c);
}

static void stored(struct cluster *c, const struct todo *todo)
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

static void work(struct cluster *c)
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

static void pass(struct cluster *c, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 10) {
        tick(&c->world, 10);
        look(c);
        work(c);
    }
}

/* Members 1 to member_count; all are up but those of `down`, a bit each. */
static struct cluster *cluster_new(uint32_t member_count, uint32_t down)
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

static void cluster_free(struct cluster *c)
{
    kith_node_free(c->world.node);
    free(c);
}

static struct kith_msg request(const struct cluster *c, uint32_t w, bool strict)
{
    struct kith_msg msg = put_msg(&c->world, KITH_DURABLE_OS);
    msg.u.put_req.group = c->group;
    msg.u.put_req.w = w;
    msg.u.put_req.strict = strict;
    msg.u.put_req.timeout_ms = 5000;
    return msg;
}

static void put(struct cluster *c, const struct kith_msg *msg)
{
    c->begun_ms = c->world.now_ms;
    message(&c->world, 1, msg);
    look(c);
    put_done(&c->world, KITH_DURABLE_OS);
    look(c);
    work(c);
}

static void expect_ok(const struct cluster *c, uint32_t copies, uint32_t owners)
{
    assert_int_equal(c->ends, 1);
    assert_int_equal(c->res.status.err, KITH_OK);
    assert_int_equal(c->res.copies, copies);
    assert_int_equal(c->res.owners, owners);
}

/* Both owners are silent, and all who may stand in but one: the one that lives has it as soon as it
 * is known who does not, and nobody is asked twice. */
static void test_all_silent_but_one(void **state)
{
    (void)state;
    for (uint32_t alive = 0; alive < 4; alive++) {
        struct cluster *c = cluster_new(7, 0);
        for (uint8_t i = 2; i <= 7; i++) {
            c->others[i].mode = i == c->rest[alive] ? ALIVE : SILENT;
        }
        struct kith_msg msg = request(c, 2, false);
        put(c, &msg);
        pass(c, 2000);
        expect_ok(c, 2, 1);
        assert_in_range(c->ended_ms - c->begun_ms, KITH_STAND_IN_MS, 2 * KITH_STAND_IN_MS + 20);
        for (uint8_t i = 2; i <= 7; i++) {
            assert_true(c->others[i].asked <= 1);
        }
        assert_int_equal(c->others[c->rest[alive]].custody, 1);
        assert_int_equal(c->notes, 0);
        cluster_free(c);
    }
}

/* A node that is only late is not replaced a second time: who stands in for it will answer. */
static void test_late(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    for (uint8_t i = 2; i <= 7; i++) {
        c->others[i].mode = SLOW;
    }
    struct kith_msg msg = request(c, 2, false);
    put(c, &msg);
    pass(c, 3000);
    uint32_t asked = 0;
    for (uint8_t i = 2; i <= 7; i++) {
        asked += c->others[i].asked;
    }
    assert_int_equal(c->ends, 0);
    assert_int_equal(asked, 4); /* each owner, and one for each: as many as there are */
    answers(c, c->others[c->rest[0]].conn, c->others[c->rest[0]].asked_id);
    expect_ok(c, 2, 1);
    cluster_free(c);
}

/* Each answer counts once, whoever was asked meanwhile; what comes after the end changes nothing.
 */
static void test_counted_once(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    for (uint8_t i = 2; i <= 7; i++) {
        c->others[i].mode = SLOW;
    }
    struct kith_msg msg = request(c, 3, false);
    put(c, &msg);
    pass(c, KITH_STAND_IN_MS + 20);
    struct other *first = &c->others[c->rest[0]];
    struct other *second = &c->others[c->rest[1]];
    assert_int_equal(first->custody, 1);
    assert_int_equal(second->custody, 1);
    uint64_t id = first->asked_id;
    answers(c, first->conn, id);
    answers(c, first->conn, id);
    answers(c, first->conn, id);
    assert_int_equal(c->ends, 0);
    struct other *owner = &c->others[c->owners[1]];
    answers(c, owner->conn, id);
    expect_ok(c, 3, 2);
    answers(c, second->conn, id);
    answers(c, c->others[c->owners[0]].conn, id);
    assert_int_equal(c->ends, 1);
    cluster_free(c);
}

/* An owner is down, and a plain hint for it was given beside the copies; then the other owner is
 * silent, and there is nobody else: the hint becomes custody, and counts then only. `slow`: its
 * first answer comes after the owner was given up. */
static void check_promoted(bool slow)
{
    struct cluster *c = cluster_new(4, 0);
    uint8_t down = c->owners[1];
    cluster_free(c);
    c = cluster_new(4, 1u << down);
    struct other *hinted = &c->others[c->rest[0]];
    c->others[c->owners[0]].mode = SILENT;
    hinted->mode = slow ? SLOW : ALIVE;
    struct kith_msg msg = request(c, 2, false);
    put(c, &msg);
    assert_int_equal(hinted->asked, 1);
    assert_int_equal(hinted->custody, 0);
    assert_int_equal(c->ends, 0);
    if (slow) {
        pass(c, 1000);
        assert_int_equal(c->ends, 0); /* nor is it thin: it may have it, too */
        assert_int_equal(c->notes, 0);
        hinted->mode = ALIVE;
        answers(c, hinted->conn, hinted->asked_id);
        assert_int_equal(c->ends, 0);
    }
    pass(c, 1000);
    assert_int_equal(hinted->asked, 2);
    assert_int_equal(hinted->custody, 1);
    assert_int_equal(c->notes, 0);
    expect_ok(c, 2, 1);
    cluster_free(c);
}

static void test_promoted(void **state)
{
    (void)state;
    check_promoted(false);
    check_promoted(true);
}

/* Nobody is left: it is noted, on the disk, before the answer; with w_min it is unknown. */
static void test_thin(void **state)
{
    (void)state;
    for (uint32_t w_min = 0; w_min <= 2; w_min++) {
        struct cluster *c = cluster_new(5, 0);
        for (uint8_t i = 2; i <= 5; i++) {
            c->others[i].mode = SILENT;
        }
        struct kith_msg msg = request(c, 2, false);
        msg.u.put_req.w_min = w_min;
        put(c, &msg);
        pass(c, 3000);
        assert_int_equal(c->ends, 1);
        assert_in_range(c->ended_ms - c->begun_ms, KITH_DOUBT_MS, KITH_DOUBT_MS + 400);
        assert_int_equal(c->notes, w_min == 2 ? 0 : 1);
        assert_int_equal(c->res.status.err, w_min == 2 ? KITH_EUNKNOWN : KITH_OK);
        if (w_min < 2) {
            expect_ok(c, 1, 1);
        }
        cluster_free(c);
    }
}

/* Strict: nobody stands in, whoever lives. */
static void test_strict(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    c->others[c->owners[0]].mode = c->others[c->owners[1]].mode = SILENT;
    struct kith_msg msg = request(c, 2, true);
    put(c, &msg);
    pass(c, 3000);
    assert_int_equal(c->ends, 1);
    assert_int_equal(c->res.status.err, KITH_EUNKNOWN);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(c->others[c->rest[i]].asked, 0);
    }
    cluster_free(c);
}

/* Where all is well nobody stands in, and nobody is asked for anything beside. */
static void test_well(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    struct kith_msg msg = request(c, 2, false);
    put(c, &msg);
    expect_ok(c, 2, 2);
    assert_int_equal(c->ended_ms, c->begun_ms);
    assert_int_equal(c->rereads, 0);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(c->others[c->rest[i]].asked, 0);
    }
    cluster_free(c);
}

/* ---- Zones ---- */

#define ZONED "aabbaab" /* of the members, by the bytes of their uuids */

static char zone_of(uint8_t byte)
{
    return ZONED[byte - 1];
}

/* The other owner in the node's zone ('a'), or in the other one; a partition that has both. */
static struct cluster *zoned(uint8_t *ret_near, uint8_t *ret_far)
{
    world_zones = ZONED;
    struct cluster *c = cluster_new(7, 0);
    world_zones = NULL;
    while (zone_of(c->owners[0]) == zone_of(c->owners[1])) {
        choose_group(c);
    }
    bool first = zone_of(c->owners[0]) == 'a';
    *ret_near = c->owners[first ? 0 : 1];
    *ret_far = c->owners[first ? 1 : 0];
    return c;
}

static struct kith_msg level_request(const struct cluster *c, enum kith_level level,
                                     const char *zone)
{
    struct kith_msg msg = request(c, 0, false);
    msg.u.put_req.level = level;
    msg.u.put_req.zone = zone;
    return msg;
}

/* A local quorum does not wait for another zone, and is no local quorum without its own. */
static void test_local_quorum(void **state)
{
    (void)state;
    uint8_t near, far;
    struct cluster *c = zoned(&near, &far);
    c->others[far].mode = SILENT;
    struct kith_msg msg = level_request(c, KITH_LEVEL_LOCAL_QUORUM, "a");
    put(c, &msg);
    expect_ok(c, 2, 2);
    assert_true(c->res.settled);
    assert_int_equal(c->ended_ms, c->begun_ms);
    assert_false(c->others[near].may_wait);
    assert_true(c->others[far].may_wait);
    assert_int_equal(c->others[far].asked, 1); /* it gets it all the same */
    cluster_free(c);

    c = zoned(&near, &far);
    c->others[near].mode = SILENT;
    msg = level_request(c, KITH_LEVEL_LOCAL_QUORUM, "a");
    put(c, &msg);
    pass(c, 100);
    assert_int_equal(c->ends, 0); /* the far one has it: that is not enough */
    pass(c, 1000);
    expect_ok(c, 3, 2);
    assert_false(c->res.settled);
    assert_in_range(c->ended_ms - c->begun_ms, KITH_STAND_IN_MS, KITH_STAND_IN_MS + 30);
    for (uint8_t i = 2; i <= 7; i++) { /* who stands in is in the zone, too */
        assert_true(c->others[i].custody == 0 || zone_of(i) == 'a');
    }
    cluster_free(c);
}

/* The caller's zone has one owner alone: a second copy is made wherever there is one. */
static void test_local_quorum_of_one(void **state)
{
    (void)state;
    uint8_t near, far;
    struct cluster *c = zoned(&near, &far);
    c->others[near].mode = SILENT;
    struct kith_msg msg = level_request(c, KITH_LEVEL_LOCAL_QUORUM, "b");
    put(c, &msg);
    expect_ok(c, 2, 2);
    assert_true(c->res.settled);
    cluster_free(c);
    c = zoned(&near, &far);
    c->others[far].mode = SILENT;
    msg = level_request(c, KITH_LEVEL_LOCAL_QUORUM, "b");
    put(c, &msg);
    assert_int_equal(c->ends, 0);
    pass(c, 1000);
    expect_ok(c, 3, 2);
    assert_false(c->res.settled);
    cluster_free(c);
}

static void test_each_quorum(void **state)
{
    (void)state;
    uint8_t near, far;
    for (uint32_t silent_one = 0; silent_one < 3; silent_one++) {
        struct cluster *c = zoned(&near, &far);
        c->others[near].mode = silent_one == 1 ? SILENT : ALIVE;
        c->others[far].mode = silent_one == 2 ? SILENT : ALIVE;
        struct kith_msg msg = level_request(c, KITH_LEVEL_EACH_QUORUM, "a");
        put(c, &msg);
        if (silent_one == 0) {
            expect_ok(c, 3, 3);
            assert_true(c->res.settled);
        } else {
            assert_int_equal(c->ends, 0);
            pass(c, 1000);
            expect_ok(c, 3, 2);
            assert_false(c->res.settled);
        }
        cluster_free(c);
    }
}

/* ---- Relays ---- */

/* Both other owners are in the other zone; *ret_relay is the one who gets it first. The client waits
 * for all three. */
static struct cluster *relayed(uint32_t w, uint8_t *ret_relay, uint8_t *ret_target)
{
    world_zones = "abbbbbb";
    struct cluster *c = cluster_new(7, 0);
    world_zones = NULL;
    c->world.node->relay_min = 1;
    c->others[c->owners[0]].mode = c->others[c->owners[1]].mode = SLOW;
    struct kith_msg msg = request(c, w, true);
    put(c, &msg);
    bool first = c->others[c->owners[0]].asked == 1;
    *ret_relay = c->owners[first ? 0 : 1];
    *ret_target = c->owners[first ? 1 : 0];
    assert_int_equal(c->others[*ret_relay].asked, 1);
    assert_int_equal(c->others[*ret_relay].relays, 1);
    assert_int_equal(c->others[*ret_relay].relay_to, *ret_target);
    assert_int_equal(c->others[*ret_target].asked, 0);
    return c;
}

/* What `of` answers comes over the connection of `by`. */
static void passes_back(struct cluster *c, uint8_t by, uint8_t of, uint64_t id, enum kith_err err)
{
    struct kith_msg msg = {.kind = KITH_MSG_REPLICATE_RES, .id = id};
    msg.u.replicate_res.status.err = err;
    msg.u.replicate_res.status.message = "";
    msg.u.replicate_res.node = uuid_of(of);
    message(&c->world, c->others[by].conn, &msg);
    look(c);
    work(c);
}

/* A relay's answer is its own; that of another is counted when it comes, from the relay, once. */
static void test_relay(void **state)
{
    (void)state;
    uint8_t relay, target;
    struct cluster *c = relayed(3, &relay, &target);
    uint64_t id = c->others[relay].asked_id;
    answers(c, c->others[relay].conn, id);
    assert_int_equal(c->ends, 0);
    passes_back(c, target, target, id, KITH_OK); /* nobody speaks for himself that way, */
    answers(c, c->others[target].conn, id);      /* nor has he been asked himself */
    answers(c, c->others[relay].conn, id);
    assert_int_equal(c->ends, 0);
    passes_back(c, relay, target, id, KITH_OK);
    expect_ok(c, 3, 3);
    pass(c, 2000);
    assert_int_equal(c->others[target].asked, 0);
    assert_int_equal(c->rereads, 0);
    cluster_free(c);
}

/* Small states go to everyone. */
static void test_relay_small(void **state)
{
    (void)state;
    uint8_t relay, target;
    struct cluster *c = relayed(3, &relay, &target);
    c->world.node->relay_min = KITH_RELAY_MIN;
    c->others[relay].asked = c->others[target].asked = 0;
    struct kith_msg msg = request(c, 3, true);
    put(c, &msg);
    assert_int_equal(c->others[relay].asked, 1);
    assert_int_equal(c->others[target].asked, 1);
    assert_int_equal(c->others[relay].relays, 0);
    cluster_free(c);
}

/* Where it is not passed on it is sent directly, and a late answer through the relay counts no second
 * time. how 0: the relay says so; 1: it refuses; 2: it is lost; 3: nothing comes back. */
static void test_relay_fails(void **state)
{
    (void)state;
    for (uint32_t how = 0; how < 4; how++) {
        uint8_t relay, target;
        struct cluster *c = relayed(how == 1 || how == 2 ? 2 : 3, &relay, &target);
        uint64_t id = c->others[relay].asked_id, begun_ms = c->world.now_ms;
        if (how == 0 || how == 3) {
            answers(c, c->others[relay].conn, id);
        }
        if (how == 0) {
            passes_back(c, relay, target, id, KITH_EUNREACH);
        } else if (how == 1) {
            passes_back(c, relay, 0, id, KITH_EREFUSED);
        } else if (how == 2) {
            struct kith_event event = {.kind = KITH_EVENT_CLOSED, .conn = c->others[relay].conn};
            run(&c->world, &event);
            look(c);
        }
        pass(c, how == 3 ? KITH_RELAY_MS + 2 * KITH_STAND_IN_MS : 20);
        assert_int_equal(c->rereads, 1);
        assert_int_equal(c->others[target].asked, 1);
        assert_int_equal(c->others[target].relays, 0);
        assert_in_range(c->others[target].first_ms - begun_ms, 0,
                        how == 3 ? KITH_RELAY_MS + KITH_STAND_IN_MS : 20);
        if (how == 3) { /* it is not waited for that way any more */
            passes_back(c, relay, target, id, KITH_OK);
            assert_int_equal(c->ends, 0);
        }
        answers(c, c->others[target].conn, id);
        expect_ok(c, how == 1 || how == 2 ? 2 : 3, how == 1 || how == 2 ? 2 : 3);
        cluster_free(c);
    }
}

/* The same when the client has his answer already: nobody waits, and the copy is made all the same. */
static void test_relay_lingers(void **state)
{
    (void)state;
    for (uint32_t how = 0; how < 3; how++) {
        uint8_t relay, target;
        struct cluster *c = relayed(1, &relay, &target);
        expect_ok(c, 1, 1);
        uint64_t id = c->others[relay].asked_id;
        answers(c, c->others[relay].conn, id);
        if (how == 0) {
            passes_back(c, relay, target, id, KITH_OK);
        } else if (how == 1) {
            passes_back(c, relay, target, id, KITH_EUNREACH);
        }
        pass(c, KITH_RELAY_MS + 50);
        assert_int_equal(c->others[target].asked, how == 0 ? 0 : 1);
        for (uint32_t i = 0; i < c->world.node->pending_fresh; i++) {
            assert_int_not_equal(c->world.node->pendings[i].kind, PENDING_PUT);
        }
        assert_int_equal(c->ends, 1);
        cluster_free(c);
    }
}

/* A copy from the first other owner, which is to be passed on to these. */
static void is_asked_to_relay(struct cluster *c, uint32_t count, const uint8_t bytes[])
{
    static struct kith_relay_to to[4]; /* what is passed on points to them, until the next step */
    static const struct kith_replica_row row = {.state = {(const uint8_t *)"as it is", 8}};
    struct kith_msg msg = {.kind = KITH_MSG_REPLICATE_REQ, .id = 77};
    memset(to, 0, sizeof to);
    for (uint32_t i = 0; i < count; i++) {
        to[i].node = uuid_of(bytes[i]);
        to[i].id = 77 + i;
    }
    msg.u.replicate_req.table = c->world.node->table->id;
    msg.u.replicate_req.timeout_ms = 1000;
    msg.u.replicate_req.group = c->group;
    msg.u.replicate_req.row_count = 1;
    msg.u.replicate_req.rows = &row;
    msg.u.replicate_req.relay_count = count;
    msg.u.replicate_req.relays = to;
    message(&c->world, c->others[c->owners[0]].conn, &msg);
}

static const struct kith_replicate_res *passed_back(const struct cluster *c, uint64_t id)
{
    for (uint32_t i = 0; i < c->world.last.count; i++) {
        const struct kith_effect *effect = &c->world.last.effects[i];
        if (effect->kind == KITH_EFFECT_SEND && effect->msg->kind == KITH_MSG_REPLICATE_RES &&
            effect->msg->id == id) {
            return &effect->msg->u.replicate_res;
        }
    }
    return NULL;
}

/* This node is the relay: it answers for itself when its own copy is stored, and for others what they
 * have said, or that they cannot be reached. */
static void test_is_relay(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(7, 0);
    uint8_t target = c->owners[1];
    const uint8_t to[] = {target, 99};
    c->others[target].mode = SLOW;
    is_asked_to_relay(c, 2, to);
    const struct kith_replicate_res *res = passed_back(c, 78);
    assert_non_null(res); /* nobody knows 99 */
    assert_int_equal(res->status.err, KITH_EUNREACH);
    assert_int_equal(res->node.bytes[0], 99);
    assert_null(passed_back(c, 77));
    look(c);
    assert_int_equal(c->others[target].asked, 1);
    assert_int_equal(c->others[target].relays, 0);
    answers(c, c->others[target].conn, c->others[target].asked_id);
    res = passed_back(c, 77);
    assert_non_null(res);
    assert_int_equal(res->status.err, KITH_OK);
    assert_int_equal(res->node.bytes[0], target);
    is_asked_to_relay(c, 1, to);
    look(c);
    struct kith_event event = {.kind = KITH_EVENT_CLOSED, .conn = c->others[target].conn};
    run(&c->world, &event);
    tick(&c->world, 10);
    res = passed_back(c, 77);
    assert_non_null(res);
    assert_int_equal(res->status.err, KITH_EUNREACH);
    assert_int_equal(res->node.bytes[0], target);
    cluster_free(c);
}

/* With nobody left of the zone, and few elsewhere, it is thin like any other; strict ones are
 * refused before anything happens. */
static void test_zone_alone(void **state)
{
    (void)state;
    for (uint32_t strict = 0; strict < 2; strict++) {
        uint8_t near, far;
        struct cluster *c = zoned(&near, &far);
        for (uint8_t i = 2; i <= 7; i++) {
            c->others[i].mode = SILENT;
        }
        struct kith_msg msg = level_request(c, KITH_LEVEL_LOCAL_QUORUM, "a");
        put(c, &msg);
        pass(c, 3000);
        expect_ok(c, 1, 1);
        assert_int_equal(c->notes, 1);
        msg = level_request(c, KITH_LEVEL_EACH_QUORUM, "a");
        msg.u.put_req.strict = strict == 1;
        c->ends = 0;
        message(&c->world, 1, &msg); /* all are known to be down */
        look(c);
        assert_int_equal(c->ends, strict);
        assert_int_equal(c->res.status.err, strict == 1 ? KITH_EUNREACH : KITH_OK);
        cluster_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_well),
        cmocka_unit_test(test_all_silent_but_one),
        cmocka_unit_test(test_late),
        cmocka_unit_test(test_counted_once),
        cmocka_unit_test(test_promoted),
        cmocka_unit_test(test_thin),
        cmocka_unit_test(test_strict),
        cmocka_unit_test(test_local_quorum),
        cmocka_unit_test(test_local_quorum_of_one),
        cmocka_unit_test(test_each_quorum),
        cmocka_unit_test(test_zone_alone),
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_relay_small),
        cmocka_unit_test(test_relay_fails),
        cmocka_unit_test(test_relay_lingers),
        cmocka_unit_test(test_is_relay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
