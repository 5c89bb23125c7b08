/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node_zones.c - the copies of a write (test_node_spread.c) where owners are in other zones, too:
 * local and each-quorums, and copies that one owner passes on to the others of his zone (put_relay.c,
 * relay.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "spread_world.h"

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
