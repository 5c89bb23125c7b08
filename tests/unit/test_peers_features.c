/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_peers_features.c - what all members have said that they can do: of nodes that are upgraded one
 * by one, heard of directly and through others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

static uint64_t features_now = 3; /* of whoever says hello next */

/* instead of the one in common/data/protocol_ours.c */
struct kith_protocol kith_protocol_ours(void)
{
    return (struct kith_protocol){2, 1, features_now};
}

static bool have(const struct world *world, uint64_t features)
{
    features_now = 3;
    return peers_have(world->node, features);
}

/* Node `from` tells that node `byte` has started again. */
static void started_again(struct world *world, uint64_t from, uint8_t byte, uint64_t incarnation,
                          const char *software, uint64_t features)
{
    struct kith_member_news news = {.uuid = uuid_of(byte),
                                    .incarnation = incarnation,
                                    .address = "there:9",
                                    .software = software,
                                    .features = features};
    struct kith_msg msg = {.kind = KITH_MSG_PING};
    news.check = swim_check(&news);
    msg.u.ping.is_answer = true;
    msg.u.ping.news_count = 1;
    msg.u.ping.news = &news;
    message(world, from, &msg);
}

static void test_all_have(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 3); /* and this node */
    assert_true(have(&world, 0));
    assert_false(have(&world, 1)); /* nobody was heard */
    features_now = 1;
    (void)peer_up(&world, 2);
    (void)peer_up(&world, 3);
    assert_false(have(&world, 1));
    uint64_t last = peer_up(&world, 4); /* as this node: all */
    assert_true(have(&world, 1));
    assert_false(have(&world, 2));
    assert_false(have(&world, 3));
    assert_false(have(&world, 4)); /* nor does this node */

    started_again(&world, last, 2, 2, "new", 3);
    assert_false(have(&world, 2));
    started_again(&world, last, 3, 2, "new", 3);
    assert_true(have(&world, 3));
    started_again(&world, last, 3, 3, "", 0); /* who tells that knows its address alone */
    assert_true(have(&world, 3));
    started_again(&world, last, 2, 1, "old", 0); /* that was before */
    assert_true(have(&world, 3));
    started_again(&world, last, 2, 3, "old", 1); /* the old release again */
    assert_true(have(&world, 1));
    assert_false(have(&world, 3));
    kith_node_free(world.node);
}

/* What a node says of itself and of others goes on with the news. */
static void test_told(void **state)
{
    (void)state;
    struct world world;
    struct kith_member_news news;
    struct kith_member_info info;
    world_new(&world, 1);
    features_now = 5;
    (void)peer_up(&world, 2);
    swim_record(&world.node->peers[0], &news);
    assert_int_equal(news.features, 5);
    uint64_t check = news.check;
    news.features = 4;
    assert_true(swim_check(&news) != check);
    features_now = 3;
    swim_record_self(world.node, &news);
    assert_int_equal(news.features, 3);
    members_self(world.node, &info);
    assert_int_equal(info.features, 3);
    kith_node_free(world.node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_have),
        cmocka_unit_test(test_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
