/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_leftovers.c - when a node offers what it has of partitions that it does not own, to whom,
 * and when it lets it go: with owners that are up, down, slow, or refuse. That the data really
 * comes to them is the simulator's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

#define OTHERS     6u /* and the node under test: more than twice N, so it does not own half of all */
#define NODES      (OTHERS + 2u) /* by their first byte, from 2 on */
#define PARTITIONS 8u
#define ITEMS      256u
#define STEP_MS    10u
#define PAUSE_MS   20000u /* after which it gives a slow owner up for a while */

struct item { /* what a step asked for */
    bool is_op;
    struct kith_store_op op;
    uint64_t conn;
    struct kith_msg msg;
};

struct cluster {
    struct world world;
    uint32_t left;        /* bit p: something of the partition is here, though others own it */
    uint32_t dropped;     /* bit p: it was here */
    uint64_t conn[NODES]; /* ours to the node; 0: it is down */
    bool takes[NODES];    /* it says that it has all */
    enum kith_err says[NODES];
    uint32_t offers[NODES]; /* questions to it, */
    uint32_t of[NODES];     /* and bit p: one of them was about this partition */
    uint32_t head, tail;
    struct item items[ITEMS];
};

static void happens(struct cluster *cluster, struct kith_event *event)
{
    step(&cluster->world, event);
    for (uint32_t i = 0; i < cluster->world.last.count; i++) {
        const struct kith_effect *effect = &cluster->world.last.effects[i];
        struct item *item = &cluster->items[cluster->tail % ITEMS];
        if (effect->kind == KITH_EFFECT_CONNECT) {
            cluster->world.peer_conn = effect->conn;
        }
        if (effect->kind != KITH_EFFECT_STORE && effect->kind != KITH_EFFECT_SEND) {
            continue;
        }
        assert_true(cluster->tail - cluster->head < ITEMS);
        cluster->tail++;
        item->is_op = effect->kind == KITH_EFFECT_STORE;
        item->conn = effect->conn;
        if (item->is_op) {
            item->op = *effect->op;
        } else {
            item->msg = *effect->msg;
        }
    }
}

static void arrives(struct cluster *cluster, uint64_t conn, const struct kith_msg *msg)
{
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = msg};
    happens(cluster, &event);
}

static void op_ends(struct cluster *cluster, const struct kith_store_op *op)
{
    static struct kith_sum sums[KITH_TREE_LEAVES];
    struct kith_store_done done = {
        .id = op->id, .message = "", .reached = KITH_DURABLE_DISK, .space = KITH_SPACE_WIDE};
    struct kith_event event = {.kind = KITH_EVENT_STORED, .done = &done};
    uint32_t bit = 1u << op->partition;
    memset(&sums[0], 0, sizeof sums[0]);
    if (op->kind == KITH_STORE_SUMS) {
        sums[0].low = (cluster->left & bit) != 0;
        done.u.sums = sums;
    } else if (op->kind == KITH_STORE_DROP) {
        cluster->dropped |= cluster->left & bit;
        cluster->left &= ~bit;
    }
    happens(cluster, &event);
}

static uint32_t node_of(const struct cluster *cluster, uint64_t conn)
{
    uint32_t node = 2;
    while (node < NODES && cluster->conn[node] != conn) {
        node++;
    }
    return node;
}

static void answer(struct cluster *cluster, uint32_t node, const struct kith_msg *msg)
{
    struct kith_msg res = {.kind = KITH_MSG_PING, .id = msg->id};
    if (msg->kind == KITH_MSG_OFFER_REQ) {
        res.kind = KITH_MSG_OFFER_RES;
        res.u.offer_res.status = (struct kith_status){.err = cluster->says[node], .message = ""};
        res.u.offer_res.done = cluster->takes[node] && cluster->says[node] == KITH_OK;
        if (cluster->says[node] != KITH_EPERM) { /* who does not know us names none */
            res.u.offer_res.table = msg->u.offer_req.table;
            res.u.offer_res.partition = msg->u.offer_req.partition;
        }
        cluster->offers[node]++;
        cluster->of[node] |= 1u << msg->u.offer_req.partition;
    } else if (msg->kind == KITH_MSG_PING && !msg->u.ping.is_answer) {
        res.u.ping.is_answer = true;
    } else {
        return;
    }
    arrives(cluster, cluster->conn[node], &res);
}

static void settle(struct cluster *cluster)
{
    while (cluster->head < cluster->tail) {
        struct item item = cluster->items[cluster->head % ITEMS];
        uint32_t node = node_of(cluster, item.conn);
        cluster->head++;
        if (item.is_op) {
            op_ends(cluster, &item.op);
        } else if (node < NODES) {
            answer(cluster, node, &item.msg);
        }
    }
}

static void pass(struct cluster *cluster, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += STEP_MS) {
        struct kith_event tick = {.kind = KITH_EVENT_TICK};
        cluster->world.now_ms += STEP_MS;
        happens(cluster, &tick);
        settle(cluster);
    }
}

static void comes_up(struct cluster *cluster, uint32_t node)
{
    struct kith_event event = {.kind = KITH_EVENT_ACCEPTED, .conn = 10u + node};
    char address[] = "there:?";
    address[6] = (char)('0' + node);
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    msg.u.hello.protocol = kith_protocol_ours();
    msg.u.hello.role = KITH_ROLE_NODE;
    msg.u.hello.node = uuid_of((uint8_t)node);
    msg.u.hello.incarnation = 1;
    msg.u.hello.address = address;
    msg.u.hello.software = "test";
    happens(cluster, &event);
    cluster->world.peer_conn = 0;
    arrives(cluster, 10u + node, &msg);
    for (uint32_t i = 0; i < 1000 && cluster->world.peer_conn == 0; i++) {
        pass(cluster, STEP_MS);
    }
    assert_true(cluster->world.peer_conn != 0);
    event.kind = KITH_EVENT_OPENED;
    event.conn = cluster->world.peer_conn;
    happens(cluster, &event);
    cluster->conn[node] = event.conn;
    arrives(cluster, event.conn, &msg);
    settle(cluster);
}

static void goes_down(struct cluster *cluster, uint32_t node)
{
    struct kith_event event = {.kind = KITH_EVENT_CLOSED, .conn = cluster->conn[node]};
    cluster->conn[node] = 0;
    happens(cluster, &event);
    event.conn = 10u + node;
    happens(cluster, &event);
    settle(cluster);
}

/* The partitions that the node owns; node 1 is the one under test. */
static uint32_t owned_by(const struct cluster *cluster, uint32_t node)
{
    const struct kith_table *table = cluster->world.node->table;
    struct kith_uuid uuid = uuid_of((uint8_t)node);
    uint32_t owned = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) {
        const uint16_t *owners = kith_table_owners(table, p);
        for (uint32_t i = 0; i < table->owner_slots; i++) {
            owned |= kith_uuid_equal(&table->members[owners[i]].uuid, &uuid) ? 1u << p : 0;
        }
    }
    return owned;
}

/* Something is left of all partitions that the node does not own, and all others are up but the one
 * that is returned: it owns the first of these partitions, and not all. */
static uint32_t cluster_new(struct cluster *cluster)
{
    memset(cluster, 0, sizeof *cluster);
    world_new(&cluster->world, OTHERS);
    exchange_stop(cluster->world.node);
    uint32_t not_ours = (1u << PARTITIONS) - 1;
    not_ours &= ~owned_by(cluster, 1);
    uint32_t away = 0, first = not_ours & (~not_ours + 1);
    for (uint32_t node = 2; node < NODES; node++) {
        uint32_t owned = owned_by(cluster, node) & not_ours;
        away = (owned & first) != 0 && owned != not_ours ? node : away;
        cluster->takes[node] = true;
    }
    assert_true(away != 0);
    for (uint32_t node = 2; node < NODES; node++) {
        if (node != away) {
            comes_up(cluster, node);
        }
    }
    pass(cluster, 1000); /* it has looked, and there was nothing */
    cluster->left = not_ours;
    return away;
}

/* What was put on its disk behind its back is found at the next start; here another table does. */
static void looks_anew(struct cluster *cluster)
{
    leftovers_table_changed(cluster->world.node);
}

static void forget_offers(struct cluster *cluster)
{
    memset(cluster->offers, 0, sizeof cluster->offers);
    memset(cluster->of, 0, sizeof cluster->of);
}

/* Of a partition whose owners are all up, it is with them at once, whatever is left of others; and
 * of those others the owners that are up have what is here. */
static void test_one_is_down(void **state)
{
    (void)state;
    static struct cluster cluster;
    uint32_t away = cluster_new(&cluster);
    uint32_t all = cluster.left, waits = all & owned_by(&cluster, away);
    looks_anew(&cluster);
    pass(&cluster, 5000);
    assert_int_equal(cluster.dropped, all & ~waits);
    assert_int_equal(cluster.left, waits);
    for (uint32_t node = 2; node < NODES; node++) {
        assert_int_equal(cluster.of[node], node == away ? 0 : all & owned_by(&cluster, node));
    }
    forget_offers(&cluster);
    pass(&cluster, 300000); /* and they are not asked again and again while he is away */
    for (uint32_t node = 2; node < NODES; node++) {
        assert_int_equal(cluster.offers[node], 0);
    }
    assert_int_equal(cluster.left, waits);
    kith_node_free(cluster.world.node);
}

/* The owner that was away comes back: it has what is left at once, and only then it goes from here.
 * What the others said before counts no more. */
static void test_comes_back(void **state)
{
    (void)state;
    for (uint32_t lost = 0; lost < 2; lost++) {
        static struct cluster cluster;
        uint32_t away = cluster_new(&cluster);
        uint32_t all = cluster.left, waits = all & owned_by(&cluster, away);
        looks_anew(&cluster);
        pass(&cluster, 100000);
        assert_int_equal(cluster.left, waits);
        for (uint32_t node = 2; lost == 1 && node < NODES; node++) {
            cluster.takes[node] = node == away;
        }
        forget_offers(&cluster);
        comes_up(&cluster, away);
        pass(&cluster, 3000);
        assert_true((cluster.of[away] & waits) != 0);
        assert_int_equal(cluster.left, lost == 1 ? waits : 0);
        for (uint32_t node = 2; lost == 0 && node < NODES; node++) {
            assert_int_equal(cluster.of[node], waits & owned_by(&cluster, node));
        }
        kith_node_free(cluster.world.node);
    }
}

/* An owner that has taken what is here, goes, and comes back while another is away: from an old
 * copy of its disk, maybe. It is offered it again. */
static void test_comes_back_without(void **state)
{
    (void)state;
    static struct cluster cluster;
    uint32_t away = cluster_new(&cluster);
    uint32_t waits = cluster.left & owned_by(&cluster, away), other = 2;
    looks_anew(&cluster);
    pass(&cluster, 5000);
    while (other == away || (owned_by(&cluster, other) & waits) == 0) {
        other++;
    }
    goes_down(&cluster, other);
    pass(&cluster, 10000);
    forget_offers(&cluster);
    comes_up(&cluster, other);
    pass(&cluster, 3000);
    assert_int_equal(cluster.of[other], owned_by(&cluster, other) & waits);
    assert_int_equal(cluster.left, waits);
    kith_node_free(cluster.world.node);
}

/* One goes down while it still fetches: the partition waits for him, and holds up no other. */
static void test_goes_down_meanwhile(void **state)
{
    (void)state;
    static struct cluster cluster;
    uint32_t away = cluster_new(&cluster);
    uint32_t all = cluster.left, waits = all & owned_by(&cluster, away);
    comes_up(&cluster, away);
    cluster.takes[away] = false;
    looks_anew(&cluster);
    pass(&cluster, 3000);
    assert_int_equal(cluster.left, all); /* the first one is his, and he is not ready */
    assert_true(cluster.offers[away] > 1);
    goes_down(&cluster, away);
    pass(&cluster, 5000);
    assert_int_equal(cluster.left, waits);
    cluster.takes[away] = true;
    comes_up(&cluster, away);
    pass(&cluster, 3000);
    assert_int_equal(cluster.left, 0);
    kith_node_free(cluster.world.node);
}

/* Whoever is up and still fetches, or has no place for a guest now, is waited for, though another
 * owner is down; one that refuses is not. Nothing goes in any case. */
static void test_slow(void **state)
{
    (void)state;
    static const enum kith_err says[] = {KITH_OK, KITH_EBUSY, KITH_ENOTREADY, KITH_EPERM};
    for (uint32_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        static struct cluster cluster;
        uint32_t away = cluster_new(&cluster);
        uint32_t all = cluster.left, first = all & (~all + 1), slow = 2;
        while (slow == away || (owned_by(&cluster, slow) & first) == 0) {
            slow++;
        }
        uint32_t stays = all & (owned_by(&cluster, slow) | owned_by(&cluster, away));
        cluster.says[slow] = says[i];
        cluster.takes[slow] = false;
        looks_anew(&cluster);
        pass(&cluster, 5000);
        bool refuses = says[i] == KITH_EPERM;
        assert_int_equal(cluster.left, refuses ? stays : all);
        assert_int_equal(cluster.of[slow], refuses ? all & owned_by(&cluster, slow) : first);
        pass(&cluster, PARTITIONS * PAUSE_MS);
        assert_int_equal(cluster.left, stays);
        cluster.says[slow] = KITH_OK;
        cluster.takes[slow] = true;
        pass(&cluster, 90000); /* it is tried again without any sign from him */
        assert_int_equal(cluster.left, all & owned_by(&cluster, away));
        comes_up(&cluster, away);
        pass(&cluster, 3000);
        assert_int_equal(cluster.left, 0);
        kith_node_free(cluster.world.node);
    }
}

/* Owners may lose what they have taken: while one of them is away it is offered to the others once
 * in a while, as often as owners are compared. */
static void test_once_in_a_while(void **state)
{
    (void)state;
    static struct cluster cluster;
    uint32_t away = cluster_new(&cluster);
    uint32_t waits = cluster.left & owned_by(&cluster, away);
    looks_anew(&cluster);
    pass(&cluster, 5000);
    forget_offers(&cluster);
    pass(&cluster, KITH_EXCHANGE_MS);
    for (uint32_t node = 2; node < NODES; node++) {
        uint32_t owned = waits & owned_by(&cluster, node);
        assert_int_equal(cluster.of[node], node == away ? 0 : owned);
        assert_true(cluster.offers[node] <= 4 * PARTITIONS);
    }
    assert_int_equal(cluster.left, waits);
    kith_node_free(cluster.world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_is_down),
        cmocka_unit_test(test_comes_back),
        cmocka_unit_test(test_comes_back_without),
        cmocka_unit_test(test_goes_down_meanwhile),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_once_in_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
