/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_swim.c - one core among members that a test speaks for: who is probed, suspected, refuted
 * and believed. Clusters of many: tests/sim/scale/. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

#define STEP_MS 20u

struct cluster {
    struct world world;
    uint64_t conns[5];       /* ours to node `byte` */
    uint8_t silent;          /* bit: this node answers nothing */
    uint8_t refuses;         /* bit: a helper that hears nothing of the target, either */
    uint32_t pings[5], asked[5]; /* PINGs and PROBE_REQs sent to node `byte` */
    uint32_t syncs[5];           /* MEMBERS_SYNCs with sums, unasked */
    uint32_t suspected[5], down[5], alive[5]; /* records of it that were sent */
    struct kith_uuid by[8];  /* who suspect, as was sent */
    uint32_t by_count;
};

static struct peer *peer_at(const struct cluster *cluster, uint8_t byte)
{
    struct kith_uuid uuid = uuid_of(byte);
    return peer_find(cluster->world.node, &uuid);
}

static struct kith_member_news news_of(uint8_t byte, uint64_t incarnation, uint64_t said,
                                       enum kith_liveness state, uint8_t by)
{
    struct kith_member_news news = {.uuid = uuid_of(byte),
                                    .incarnation = incarnation,
                                    .said = said,
                                    .state = state,
                                    .by = uuid_of(by),
                                    .address = "there:9",
                                    .software = "test"};
    news.check = swim_check(&news);
    return news;
}

/* What the last step sent is counted. */
static void note(struct cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->world.last.count; i++) {
        const struct kith_effect *effect = &cluster->world.last.effects[i];
        if (effect->kind != KITH_EFFECT_SEND) {
            continue;
        }
        for (uint8_t b = 2; b < 5; b++) {
            bool his = effect->conn == cluster->conns[b];
            cluster->pings[b] += his && effect->msg->kind == KITH_MSG_PING;
            cluster->asked[b] += his && effect->msg->kind == KITH_MSG_PROBE_REQ;
            cluster->syncs[b] += his && effect->msg->kind == KITH_MSG_MEMBERS_SYNC &&
                                 effect->msg->u.members_sync.sums.size > 0;
        }
        const struct kith_ping *ping = &effect->msg->u.ping;
        for (uint32_t k = 0; effect->msg->kind == KITH_MSG_PING && k < ping->news_count; k++) {
            const struct kith_member_news *news = &ping->news[k];
            uint8_t byte = news->uuid.bytes[0];
            assert_in_range(byte, 1, 4);
            assert_true(news->check == swim_check(news));
            cluster->alive[byte] += news->state == KITH_ALIVE;
            cluster->suspected[byte] += news->state == KITH_SUSPECT;
            cluster->down[byte] += news->state == KITH_DOWN;
            bool known = news->state != KITH_SUSPECT;
            for (uint32_t n = 0; n < cluster->by_count; n++) {
                known = known || kith_uuid_equal(&cluster->by[n], &news->by);
            }
            if (!known && cluster->by_count < 8) {
                cluster->by[cluster->by_count++] = news->by;
            }
        }
    }
}

/* Messages to be answered, as far as those who got them answer. */
static void answer(struct cluster *cluster)
{
    uint64_t conns[64], ids[64];
    enum kith_msg_kind kinds[64];
    uint32_t count = 0;
    for (uint32_t i = 0; i < cluster->world.last.count && count < 64; i++) {
        const struct kith_effect *effect = &cluster->world.last.effects[i];
        bool asks = effect->kind == KITH_EFFECT_SEND &&
                    ((effect->msg->kind == KITH_MSG_PING && !effect->msg->u.ping.is_answer) ||
                     effect->msg->kind == KITH_MSG_PROBE_REQ);
        if (asks) {
            conns[count] = effect->conn;
            ids[count] = effect->msg->id;
            kinds[count] = effect->msg->kind;
            count++;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct kith_msg msg = {.kind = kinds[i], .id = ids[i]};
        for (uint8_t b = 2; b < 5; b++) {
            if (conns[i] != cluster->conns[b] || (cluster->silent & 1u << b)) {
                continue;
            }
            if (kinds[i] == KITH_MSG_PING) {
                msg.u.ping.is_answer = true;
            } else {
                msg.kind = KITH_MSG_PROBE_RES;
                msg.u.probe_res.alive = !(cluster->refuses & 1u << b);
            }
            message(&cluster->world, conns[i], &msg);
            note(cluster);
        }
    }
}

static void pass(struct cluster *cluster, uint64_t ms)
{
    for (uint64_t at = 0; at < ms; at += STEP_MS) {
        tick(&cluster->world, STEP_MS);
        note(cluster);
        answer(cluster);
    }
}

static void tell(struct cluster *cluster, uint8_t from, const struct kith_member_news *news)
{
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.is_answer = true;
    msg.u.ping.news_count = 1;
    msg.u.ping.news = news;
    message(&cluster->world, cluster->conns[from], &msg);
    note(cluster);
}

static void cluster_new(struct cluster *cluster)
{
    memset(cluster, 0, sizeof *cluster);
    world_new(&cluster->world, 3);
    for (uint8_t b = 2; b < 5; b++) {
        cluster->conns[b] = peer_up(&cluster->world, b);
    }
    pass(cluster, 6000);
    for (uint8_t b = 2; b < 5; b++) {
        assert_true(peer_at(cluster, b)->up);
        assert_int_equal(peer_at(cluster, b)->live, KITH_ALIVE);
    }
}

/* Until node `byte` is held for `live`; the time that it took, at most `ms`. */
static uint64_t until(struct cluster *cluster, uint8_t byte, enum kith_liveness live, uint64_t ms)
{
    uint64_t from = cluster->world.now_ms;
    while (peer_at(cluster, byte)->live != live) {
        pass(cluster, STEP_MS);
        if (cluster->world.now_ms - from > ms) {
            fail_msg("node %u is not held for %d after %llu ms", byte, (int)live,
                     (unsigned long long)ms);
        }
    }
    return cluster->world.now_ms - from;
}

/* Nobody answers for it, and others say so: suspected within a round, down within some seconds, and
 * both are told, with the name of who says it. */
static void test_dead(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    cluster.silent = 1u << 4;
    cluster.refuses = 1u << 2 | 1u << 3;
    uint32_t asked = cluster.asked[2] + cluster.asked[3];
    (void)until(&cluster, 4, KITH_SUSPECT, 5000);
    assert_int_equal(cluster.asked[2] + cluster.asked[3] - asked, 2);
    assert_int_equal(cluster.world.node->swim.health, 0); /* its helpers saw nothing, either */
    uint64_t alone = until(&cluster, 4, KITH_DOWN, 20000);
    assert_in_range(alone, 9000, 16000); /* nobody else has said it: the longest time */
    pass(&cluster, 1000);
    assert_true(cluster.suspected[4] > 0 && cluster.down[4] > 0);
    assert_int_equal(cluster.by_count, 1);
    assert_memory_equal(&cluster.by[0], &cluster.world.node->uuid, 16);
    uint32_t down = cluster.down[4];
    pass(&cluster, 5000);
    assert_in_range(cluster.down[4], down, down + 4); /* told enough */
    kith_node_free(cluster.world.node);
}

/* Who is reached through others only is held for alive, by everybody;
 * but nothing is routed there. */
static void test_indirect(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    cluster.silent = 1u << 4;
    uint32_t alive = cluster.alive[4];
    for (uint32_t i = 0; i < 30; i++) {
        pass(&cluster, 1000);
        assert_int_equal(peer_at(&cluster, 4)->live, KITH_ALIVE);
        assert_true(i < 3 || !peer_at(&cluster, 4)->up);
    }
    assert_int_equal(cluster.suspected[4] + cluster.down[4], 0);
    assert_int_equal(cluster.alive[4], alive);
    assert_true(cluster.asked[2] > 0 && cluster.asked[3] > 0);
    kith_node_free(cluster.world.node);
}

/* Others that suspect it, too, make it shorter; the same one again does not. */
static void test_confirmed(void **state)
{
    (void)state;
    uint64_t took[4];
    for (uint32_t confirms = 0; confirms < 4; confirms++) {
        struct cluster cluster;
        cluster_new(&cluster);
        cluster.silent = 1u << 4;
        cluster.refuses = 1u << 2 | 1u << 3;
        (void)until(&cluster, 4, KITH_SUSPECT, 5000);
        for (uint8_t i = 0; i < confirms; i++) {
            uint8_t by = i == 0 ? 2 : i == 1 ? 2 : 3; /* the second time the same one */
            struct kith_member_news news = news_of(4, 1, 0, KITH_SUSPECT, by);
            tell(&cluster, 2, &news);
        }
        took[confirms] = until(&cluster, 4, KITH_DOWN, 20000);
        pass(&cluster, 500);
        assert_true(cluster.by_count >= (confirms == 0 ? 1u : confirms == 3 ? 3u : 2u));
        kith_node_free(cluster.world.node);
    }
    assert_true(took[1] < took[0] - 2000);
    assert_in_range(took[2], took[1] - 500, took[1] + 500);
    assert_in_range(took[3], 2500, 3600);
}

/* It says itself that it lives: believed, and told on; what was said before counts no more. */
static void test_refuted(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    struct kith_member_news news = news_of(4, 1, 0, KITH_DOWN, 2);
    tell(&cluster, 2, &news);
    assert_int_equal(peer_at(&cluster, 4)->live, KITH_DOWN);
    assert_true(peer_at(&cluster, 4)->up); /* it answers: what others say changes no routes */
    pass(&cluster, 1500);
    assert_true(cluster.down[4] > 0);
    news = news_of(4, 1, 1, KITH_ALIVE, 0);
    tell(&cluster, 4, &news);
    assert_int_equal(peer_at(&cluster, 4)->live, KITH_ALIVE);
    news = news_of(4, 1, 0, KITH_DOWN, 2);
    tell(&cluster, 2, &news);
    assert_int_equal(peer_at(&cluster, 4)->live, KITH_ALIVE);
    pass(&cluster, 1000);
    assert_true(cluster.alive[4] > 0);
    news = news_of(4, 2, 0, KITH_ALIVE, 0); /* another start, elsewhere */
    tell(&cluster, 2, &news);
    assert_string_equal(peer_at(&cluster, 4)->info.address, "there:9");
    assert_int_equal(peer_at(&cluster, 4)->said, 0);
    kith_node_free(cluster.world.node);
}

/* This node is suspected: it says with a higher number that it lives, and doubts its own health. */
static void test_refutes(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    uint64_t incarnation = cluster.world.node->incarnation;
    struct kith_member_news news = news_of(1, incarnation, 0, KITH_SUSPECT, 2);
    tell(&cluster, 2, &news);
    assert_int_equal(cluster.world.node->swim.said, 1);
    assert_true(cluster.world.node->swim.health > 0);
    pass(&cluster, 1000);
    assert_true(cluster.alive[1] > 0);
    assert_int_equal(cluster.suspected[1] + cluster.down[1], 0);
    tell(&cluster, 2, &news); /* of old */
    assert_int_equal(cluster.world.node->swim.said, 1);
    news = news_of(1, incarnation, 7, KITH_DOWN, 2);
    tell(&cluster, 2, &news);
    assert_int_equal(cluster.world.node->swim.said, 8);
    assert_int_equal(cluster.world.node->incarnation, incarnation);
    pass(&cluster, 9000);
    assert_int_equal(cluster.world.node->swim.health, 0); /* answers bring it back */
    kith_node_free(cluster.world.node);
}

/* The store is an older copy: the node takes a later start than others know, on disk first. */
static void test_outdated(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    uint64_t incarnation = cluster.world.node->incarnation;
    struct kith_member_news news = news_of(1, incarnation + 5, 3, KITH_DOWN, 2);
    tell(&cluster, 2, &news);
    assert_int_equal(cluster.world.node->incarnation, incarnation + 6);
    assert_int_equal(cluster.world.meta[KITH_META_NODE][16], incarnation + 6);
    pass(&cluster, 1000);
    assert_true(cluster.alive[1] > 0);
    kith_node_free(cluster.world.node);
}

/* What does not add up, is of nobody or absurd changes nothing and is not told on. */
static void test_unsound(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    for (uint32_t i = 0; i < 8; i++) {
        struct kith_member_news news = news_of(4, 1, 0, KITH_DOWN, 2);
        news.incarnation += i == 0 ? 1 : 0; /* a flipped bit, of any field */
        news.said += i == 1 ? 1 : 0;
        news.state = i == 2 ? KITH_SUSPECT : news.state;
        news.by.bytes[3] ^= i == 3 ? 4 : 0;
        news.address = i == 4 ? "there:8" : news.address;
        news.uuid = i == 5 ? uuid_of(9) : news.uuid; /* of no member */
        news.incarnation = i == 6 ? UINT64_C(1) << 60 : news.incarnation;
        news.said = i == 7 ? UINT64_MAX : news.said;
        if (i >= 5) {
            news.check = swim_check(&news);
        }
        tell(&cluster, 2, &news);
        assert_int_equal(peer_at(&cluster, 4)->live, KITH_ALIVE);
        assert_int_equal(peer_at(&cluster, 4)->info.incarnation, 1);
        assert_int_equal(cluster.world.node->swim.news_count, 0);
    }
    assert_int_equal(cluster.world.node->swim.unsound, 7);
    struct kith_member_news news = news_of(1, UINT64_MAX, 0, KITH_DOWN, 2);
    tell(&cluster, 2, &news);
    assert_true(cluster.world.node->incarnation < 10);
    kith_node_free(cluster.world.node);
}

/* Asked for another member it pings that one, and says what it heard,
 * or in time that it did not. */
static void test_helps(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    for (uint32_t silent = 0; silent < 2; silent++) {
        cluster.silent = silent ? 1u << 4 : 0;
        struct kith_msg msg = {.kind = KITH_MSG_PROBE_REQ, .id = 55};
        msg.u.probe_req.target = uuid_of(4);
        uint32_t pings = cluster.pings[4];
        message(&cluster.world, 10 + 2, &msg); /* on node 2's own connection */
        note(&cluster);
        assert_int_equal(cluster.pings[4], pings + 1);
        const struct kith_msg *res = NULL;
        if (!silent) {
            msg.kind = KITH_MSG_PING;
            msg.u.ping.is_answer = true;
            message(&cluster.world, cluster.conns[4], &msg);
            res = sent(&cluster.world, KITH_MSG_PROBE_RES);
        }
        for (uint32_t i = 0; i < 25 && !res; i++) {
            tick(&cluster.world, STEP_MS);
            res = sent(&cluster.world, KITH_MSG_PROBE_RES);
        }
        assert_non_null(res);
        assert_int_equal(res->id, 55);
        assert_int_equal(res->u.probe_res.alive, silent == 0);
    }
    kith_node_free(cluster.world.node);
}

/* Sums that differ lead to a comparison; who is said to be down there has a say before. */
static void test_sync(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    msg.u.ping.table = table_id(&cluster.world);
    msg.u.ping.digest = cluster.world.node->swim.digest;
    assert_true(msg.u.ping.digest != 0);
    message(&cluster.world, 10 + 2, &msg);
    assert_null(sent(&cluster.world, KITH_MSG_MEMBERS_SYNC));
    msg.u.ping.digest++;
    message(&cluster.world, 10 + 2, &msg);
    const struct kith_msg *sync = sent(&cluster.world, KITH_MSG_MEMBERS_SYNC);
    assert_non_null(sync);
    assert_int_equal(sync->u.members_sync.sums.size, 8 * KITH_SYNC_SUMS);
    assert_int_equal(sync->u.members_sync.news_count, 0);
    uint8_t sums[8 * KITH_SYNC_SUMS];
    memcpy(sums, sync->u.members_sync.sums.data, sizeof sums);
    message(&cluster.world, 10 + 2, &msg); /* not with every ping */
    assert_null(sent(&cluster.world, KITH_MSG_MEMBERS_SYNC));

    struct kith_member_news news = news_of(4, 1, 0, KITH_DOWN, 3);
    sums[8 * 4] ^= 1; /* the group of node 4 */
    msg.kind = KITH_MSG_MEMBERS_SYNC;
    memset(&msg.u, 0, sizeof msg.u);
    msg.u.members_sync.table = table_id(&cluster.world);
    msg.u.members_sync.is_answer = true;
    msg.u.members_sync.sums = kith_bytes_make(sums, sizeof sums);
    msg.u.members_sync.news_count = 1;
    msg.u.members_sync.news = &news;
    message(&cluster.world, 10 + 2, &msg);
    sync = sent(&cluster.world, KITH_MSG_MEMBERS_SYNC); /* ours of that group, and no more */
    assert_non_null(sync);
    assert_true(sync->u.members_sync.is_answer);
    assert_int_equal(sync->u.members_sync.sums.size, 0);
    assert_int_equal(sync->u.members_sync.news_count, 1);
    assert_int_equal(sync->u.members_sync.news[0].uuid.bytes[0], 4);
    assert_int_equal(peer_at(&cluster, 4)->live, KITH_SUSPECT);
    kith_node_free(cluster.world.node);
}

/* A node that stood still suspects nobody for it, and is slower to suspect for a while. */
static void test_paused(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    for (uint32_t i = 0; i < 5; i++) {
        tick(&cluster.world, 30000);
        note(&cluster);
        assert_true(cluster.world.node->swim.health > 0);
        answer(&cluster);
        pass(&cluster, 3000);
    }
    assert_int_equal(cluster.suspected[2] + cluster.suspected[3] + cluster.suspected[4], 0);
    assert_true(peer_at(&cluster, 4)->up);
    kith_node_free(cluster.world.node);
}

/* News goes with answers as long as it is told, but is not told less often to others for it. */
static void test_answers(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    struct kith_member_news news = news_of(4, 1, 0, KITH_DOWN, 2);
    tell(&cluster, 2, &news);
    uint32_t sends = peer_at(&cluster, 4)->sends;
    assert_true(sends > 0);
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    for (uint32_t i = 0; i < 3 * sends; i++) {
        message(&cluster.world, 10 + 3, &msg); /* on node 3's own connection */
        const struct kith_msg *res = sent(&cluster.world, KITH_MSG_PING);
        assert_non_null(res);
        assert_int_equal(res->u.ping.news_count, 1);
    }
    assert_int_equal(peer_at(&cluster, 4)->sends, sends);
    kith_node_free(cluster.world.node);
}

/* With somebody at random all is compared every half minute, though nothing seems to differ. */
static void test_full_sync(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    pass(&cluster, 600000);
    uint32_t all = 0;
    for (uint8_t b = 2; b < 5; b++) {
        assert_true(cluster.syncs[b] > 0);
        all += cluster.syncs[b];
    }
    assert_in_range(all, 600000 / 45000, 600000 / 15000);
    kith_node_free(cluster.world.node);
}

/* Nobody answers, and no helper says that it hears nothing, either: this node doubts itself, and is
 * slow to suspect the next one. */
static void test_doubts_itself(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_new(&cluster);
    cluster.silent = 1u << 2 | 1u << 3 | 1u << 4;
    uint64_t from = cluster.world.now_ms;
    uint32_t suspects = 0;
    while (suspects < 3 && cluster.world.now_ms - from < 60000) {
        pass(&cluster, STEP_MS);
        suspects = 0;
        for (uint8_t b = 2; b < 5; b++) {
            suspects += peer_at(&cluster, b)->live != KITH_ALIVE;
        }
    }
    assert_in_range(cluster.world.now_ms - from, 7000, 40000); /* in good health: 3000 to 5000 */
    assert_true(cluster.world.node->swim.health > 2);
    kith_node_free(cluster.world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dead),     cmocka_unit_test(test_indirect),
        cmocka_unit_test(test_confirmed), cmocka_unit_test(test_refuted),
        cmocka_unit_test(test_refutes),  cmocka_unit_test(test_outdated),
        cmocka_unit_test(test_unsound),  cmocka_unit_test(test_helps),
        cmocka_unit_test(test_sync),     cmocka_unit_test(test_paused),
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_full_sync), cmocka_unit_test(test_doubts_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
