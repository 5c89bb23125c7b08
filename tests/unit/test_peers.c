/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_peers.c - one core in a cluster of which it keeps connections to a few only: which are open,
 * which are made when they are needed, and who that is down is tried again. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

#define MEMBERS 40u /* a byte each, from 1; this node is 1 */

/* A network of members that are there or not, and answer pings. */
struct net {
    struct world world;
    bool away[MEMBERS + 1];
    uint64_t conns[MEMBERS + 1]; /* open ones, by member */
    uint32_t connects[MEMBERS + 1], pings[MEMBERS + 1];
    uint32_t told[MEMBERS + 1]; /* pings that bore news */
    uint32_t trying, trying_most; /* attempts that have not ended */
    uint64_t slow[MEMBERS + 1];   /* attempts to those who are away */
    bool hole;                    /* these never end by themselves */
};

static struct peer *peer_at(const struct net *net, uint8_t byte)
{
    struct kith_uuid uuid = uuid_of(byte);
    return peer_find(net->world.node, &uuid);
}

static uint8_t byte_of(const char *address)
{
    unsigned byte = 0;
    assert_int_equal(sscanf(address, "m:%u", &byte), 1);
    return (uint8_t)byte;
}

static void opened(struct net *net, uint8_t byte, uint64_t conn)
{
    char address[16];
    (void)snprintf(address, sizeof address, "m:%u", byte);
    struct kith_event event = {.kind = KITH_EVENT_OPENED, .conn = conn};
    struct kith_msg msg = {.kind = KITH_MSG_HELLO};
    net->conns[byte] = conn;
    step(&net->world, &event);
    msg.u.hello.protocol = kith_protocol_ours();
    msg.u.hello.role = KITH_ROLE_NODE;
    msg.u.hello.node = uuid_of(byte);
    msg.u.hello.incarnation = 1;
    msg.u.hello.address = address;
    msg.u.hello.software = "test";
    event.kind = KITH_EVENT_MESSAGE;
    event.msg = &msg;
    step(&net->world, &event);
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_PING;
    msg.u.ping.is_answer = true;
    step(&net->world, &event);
}

struct work {
    uint64_t opens[64], pings[64];
    uint8_t open_bytes[64], ping_bytes[64];
    uint32_t open_count, ping_count;
};

static void note(struct net *net, struct work *work)
{
    for (uint32_t i = 0; i < net->world.last.count; i++) {
        const struct kith_effect *effect = &net->world.last.effects[i];
        if (effect->kind == KITH_EFFECT_CONNECT) {
            uint8_t byte = byte_of(effect->address);
            net->connects[byte]++;
            if (net->away[byte]) {
                net->slow[byte] = effect->conn;
                net->trying++;
            } else {
                work->opens[work->open_count] = effect->conn;
                work->open_bytes[work->open_count++] = byte;
            }
            net->trying_most = net->trying > net->trying_most ? net->trying : net->trying_most;
        }
        for (uint8_t b = 2; b <= MEMBERS; b++) {
            bool his = net->conns[b] != 0 && effect->conn == net->conns[b];
            if (effect->kind == KITH_EFFECT_CLOSE && effect->conn == net->slow[b]) {
                net->slow[b] = 0;
                net->trying--;
            }
            if (his && effect->kind == KITH_EFFECT_CLOSE) {
                net->conns[b] = 0;
            } else if (his && effect->kind == KITH_EFFECT_SEND &&
                       effect->msg->kind == KITH_MSG_PING && !effect->msg->u.ping.is_answer) {
                net->pings[b]++;
                net->told[b] += effect->msg->u.ping.news_count > 0;
                work->pings[work->ping_count] = effect->conn;
                work->ping_bytes[work->ping_count++] = b;
            }
        }
    }
}

/* Attempts to reach who is away take 300 ms. */
static void pass(struct net *net, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += 20) {
        struct work work = {.open_count = 0};
        struct kith_event event = {.kind = KITH_EVENT_TICK};
        net->world.now_ms += 20;
        step(&net->world, &event);
        note(net, &work);
        for (uint32_t i = 0; i < work.open_count; i++) {
            opened(net, work.open_bytes[i], work.opens[i]);
        }
        struct kith_msg msg = {.kind = KITH_MSG_PING};
        msg.u.ping.is_answer = true;
        for (uint32_t i = 0; i < work.ping_count; i++) {
            if (!net->away[work.ping_bytes[i]] && net->conns[work.ping_bytes[i]] != 0) {
                event.kind = KITH_EVENT_MESSAGE;
                event.conn = work.pings[i];
                event.msg = &msg;
                step(&net->world, &event);
            }
        }
        for (uint8_t b = 2; b <= MEMBERS && !net->hole && net->world.now_ms % 300 < 20; b++) {
            if (net->slow[b] != 0) {
                event.kind = KITH_EVENT_CLOSED;
                event.conn = net->slow[b];
                net->slow[b] = 0;
                net->trying--;
                step(&net->world, &event);
            }
        }
    }
}

static uint32_t open_count(const struct net *net)
{
    uint32_t count = 0;
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        count += net->conns[b] != 0;
    }
    return count;
}

static uint32_t kept_count(const struct net *net)
{
    uint32_t count = 0;
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        count += peer_at(net, b)->kept;
    }
    return count;
}

/* The node starts with a table of all and their addresses on its disk. */
static void net_new(struct net *net)
{
    memset(net, 0, sizeof *net);
    world_new(&net->world, 0);
    struct kith_table *table = NULL;
    struct kith_table *next = NULL;
    struct kith_member members[MEMBERS];
    struct kith_member_info infos[MEMBERS];
    memset(members, 0, sizeof members);
    memset(infos, 0, sizeof infos);
    for (uint8_t i = 0; i < MEMBERS; i++) {
        members[i].uuid = infos[i].uuid = uuid_of((uint8_t)(i + 1));
        members[i].weight = 1;
        infos[i].incarnation = 1;
        (void)snprintf(infos[i].address, sizeof infos[i].address, "m:%u", i + 1u);
    }
    struct kith_bytes old = {net->world.meta[KITH_META_TABLE],
                             net->world.meta_size[KITH_META_TABLE]};
    assert_int_equal(kith_table_decode(old, &table), KITH_OK);
    assert_int_equal(kith_balance(table, &table->cluster, 8, 3, members, MEMBERS, &next), KITH_OK);
    struct kith_buf buf;
    kith_buf_init(&buf);
    kith_table_encode(next, &buf);
    assert_true(buf.size <= META_MAX);
    memcpy(net->world.meta[KITH_META_TABLE], buf.data, buf.size);
    net->world.meta_size[KITH_META_TABLE] = buf.size;
    kith_buf_clear(&buf);
    members_encode(infos, MEMBERS, &buf);
    assert_true(buf.size <= META_MAX);
    memcpy(net->world.meta[KITH_META_MEMBERS], buf.data, buf.size);
    net->world.meta_size[KITH_META_MEMBERS] = buf.size;
    kith_buf_release(&buf);
    kith_table_drop(table);
    kith_table_drop(next);
    kith_node_free(net->world.node);
    start(&net->world);
}

/* Co-owners are connected at all times, others while they are probed: each once in a round. */
static void test_kept(void **state)
{
    (void)state;
    struct net net;
    net_new(&net);
    uint32_t kept = kept_count(&net);
    assert_in_range(kept, 1, 10);
    uint32_t most = 0;
    for (uint32_t i = 0; i < (MEMBERS + 10) * 1000 / 20; i++) {
        pass(&net, 20);
        most = open_count(&net) > most ? open_count(&net) : most;
    }
    assert_in_range(most, kept + 1, kept + 6 + KITH_RECONNECTS); /* at first it reaches nobody */
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        bool is_kept = peer_at(&net, b)->kept;
        assert_true(!is_kept || (net.conns[b] != 0 && peer_at(&net, b)->up));
        assert_in_range(net.connects[b], 1, is_kept ? 1 : 3); /* in a round and a bit */
        assert_true(net.pings[b] > 0);
        assert_int_equal(peer_at(&net, b)->live, KITH_ALIVE);
        assert_true(peer_alive(peer_at(&net, b)));
    }
    kith_node_free(net.world.node);
}

/* Somebody needs one that is not open. */
static void test_wanted(void **state)
{
    (void)state;
    struct net net;
    net_new(&net);
    pass(&net, 2000);
    uint8_t byte = 2;
    while (peer_at(&net, byte)->kept || net.conns[byte] != 0) {
        byte++;
    }
    assert_false(peer_want(net.world.node, peer_at(&net, byte)));
    pass(&net, 40);
    assert_true(peer_want(net.world.node, peer_at(&net, byte)));
    assert_true(peer_at(&net, byte)->up);
    for (uint32_t i = 0; i < 10; i++) {
        pass(&net, 1000);
        assert_true(peer_want(net.world.node, peer_at(&net, byte)));
    }
    uint32_t connects = net.connects[byte];
    assert_in_range(connects, 1, 2);
    pass(&net, KITH_IDLE_MS + 1200);
    assert_int_equal(net.conns[byte], 0);
    kith_node_free(net.world.node);
}

/* The node starts, and of all that it knew only one is left: it is found, and with it the rest when
 * they come back; meanwhile a few at a time are tried. */
static void test_all_gone(void **state)
{
    (void)state;
    struct net net;
    net_new(&net);
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        net.away[b] = true;
    }
    pass(&net, 1200000); /* nobody helps to suspect: that takes long for each */
    uint32_t down = 0;
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        down += peer_at(&net, b)->live == KITH_DOWN ? 1 : 0;
    }
    assert_int_equal(down, MEMBERS - 1);
    net.trying_most = net.trying;
    memset(net.connects, 0, sizeof net.connects);
    pass(&net, 150000);
    assert_in_range(net.trying_most, 1, kept_count(&net) + KITH_RECONNECTS_ALONE);
    uint8_t last = MEMBERS;
    while (peer_at(&net, last)->kept) {
        last--;
    }
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        assert_true(net.connects[b] > 0); /* each of them, for ever */
    }
    net.away[last] = false;
    pass(&net, 100000);
    assert_true(net.pings[last] > 0); /* and is told that it was held for down */
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        net.away[b] = false;
    }
    pass(&net, 100000);
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        assert_true(!peer_at(&net, b)->kept || peer_at(&net, b)->up);
        assert_true(net.pings[b] > 0);
    }
    kith_node_free(net.world.node);
}

/* News has gone out often enough, to the same few:
 * whom a probe meets later is told all the same. */
static void test_met_by_chance(void **state)
{
    (void)state;
    struct net net;
    net_new(&net);
    pass(&net, 3000);
    uint8_t kept = 2, other = 2;
    while (!peer_at(&net, kept)->kept) {
        kept++;
    }
    while (peer_at(&net, other)->kept) {
        other++;
    }
    net.away[other] = true;
    struct kith_member_news news = {.uuid = uuid_of(other),
                                    .incarnation = 1,
                                    .state = KITH_DOWN,
                                    .by = uuid_of(kept),
                                    .address = "m:2",
                                    .software = ""};
    news.check = swim_check(&news);
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.is_answer = true;
    msg.u.ping.news_count = 1;
    msg.u.ping.news = &news;
    message(&net.world, net.conns[kept], &msg);
    assert_int_equal(peer_at(&net, other)->live, KITH_DOWN);
    pass(&net, 3000);
    assert_int_equal(net.world.node->swim.news_count, 0); /* so often it was told */
    memset(net.told, 0, sizeof net.told);
    pass(&net, 3000);
    uint32_t told = 0;
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        told += net.told[b];
        assert_true(!peer_at(&net, b)->kept || net.told[b] == 0);
    }
    assert_in_range(told, 1, 8);
    pass(&net, 6000);
    memset(net.told, 0, sizeof net.told);
    pass(&net, 6000);
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        assert_true(b == other || net.told[b] == 0); /* and then no more */
    }
    kith_node_free(net.world.node);
}

/* Whoever reaches nobody tries all, many at a time,
 * not one a second as they come up for a probe. */
static void test_alone(void **state)
{
    (void)state;
    for (uint32_t hole = 0; hole < 2; hole++) {
        struct net net;
        net_new(&net);
        uint8_t last = MEMBERS;
        while (peer_at(&net, last)->kept) {
            last--;
        }
        for (uint8_t b = 2; b <= MEMBERS; b++) {
            net.away[b] = b != last;
        }
        net.hole = hole != 0;
        uint64_t from = net.world.now_ms;
        while (!peer_at(&net, last)->up && net.world.now_ms - from < 60000) {
            pass(&net, 20);
        }
        assert_true(peer_at(&net, last)->up);
        assert_in_range(net.world.now_ms - from, 20, 12000);
        assert_in_range(net.trying_most, 4, KITH_RECONNECTS_ALONE + kept_count(&net) + 6);
        kith_node_free(net.world.node);
    }
}

/* Attempts that hear nothing at all hold the few places for long:
 * each has its turn all the same. */
static void test_all_silent(void **state)
{
    (void)state;
    struct net net;
    net_new(&net);
    for (uint8_t b = 2; b <= MEMBERS; b++) {
        net.away[b] = true;
        peer_at(&net, b)->live = KITH_DOWN;
    }
    net.hole = true;
    pass(&net, 60000); /* from here on with the longest back-off */
    for (uint32_t round = 0; round < 4; round++) {
        memset(net.connects, 0, sizeof net.connects);
        pass(&net, 150000);
        for (uint8_t b = 2; b <= MEMBERS; b++) {
            assert_in_range(net.connects[b], 1, 40);
        }
    }
    kith_node_free(net.world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_all_gone),
        cmocka_unit_test(test_met_by_chance),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_all_silent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
