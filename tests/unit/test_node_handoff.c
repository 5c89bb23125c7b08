/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_node_handoff.c - when a node looks for what it keeps for others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/internal.h"
#include "node_world.h"

struct looks {
    uint32_t lists, pages;
};

/* Time passes; a partition has one row that is kept for somebody who is away. */
static struct looks pass(struct world *world, uint64_t ms)
{
    struct kith_store_hints hints = {.partition = 0, .count = 1, .custody = 1};
    struct looks looks = {0, 0};
    for (uint64_t at = 0; at < ms; at += 10) {
        struct kith_event tick = {.kind = KITH_EVENT_TICK};
        struct kith_event *event = &tick;
        struct kith_event stored = {.kind = KITH_EVENT_STORED};
        struct kith_store_done done;
        world->now_ms += 10;
        while (event) {
            step(world, event);
            event = NULL;
            for (uint32_t i = 0; i < world->last.count && !event; i++) {
                const struct kith_effect *effect = &world->last.effects[i];
                memset(&done, 0, sizeof done);
                if (effect->kind != KITH_EFFECT_STORE) {
                    continue;
                }
                done.id = effect->op->id;
                done.message = "";
                if (effect->op->kind == KITH_STORE_HINT_LIST) {
                    looks.lists++;
                    done.u.hint_list.count = 1;
                    done.u.hint_list.list = &hints;
                } else if (effect->op->kind == KITH_STORE_HINT_PAGE) {
                    looks.pages++; /* nothing in it is for him */
                } else {
                    continue;
                }
                stored.done = &done;
                event = &stored;
            }
        }
    }
    return looks;
}

/* Once every owner that is up has had his turn, it is at rest until the next look. */
static void test_rest(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    (void)pass(&world, KITH_HANDOFF_LOOK_MS);
    struct looks looks = pass(&world, 10 * KITH_HANDOFF_LOOK_MS);
    assert_in_range(looks.lists, 9, 11);
    assert_in_range(looks.pages, 9, 11); /* its own */
    kith_node_free(world.node);
}

/* Completes the operation at hand: a list of one partition, a page of a row and more, or an ACK. */
static void hints_done(struct world *world)
{
    struct kith_store_hints hints = {.partition = 0, .count = 9, .custody = 9};
    static const struct kith_leaf_row row = {.name = {(const uint8_t *)"a", 1},
                                             .state = {(const uint8_t *)"?", 1}};
    struct kith_store_done done;
    memset(&done, 0, sizeof done);
    done.id = world->hints_id;
    done.message = "";
    if (world->hints_kind == KITH_STORE_HINT_LIST) {
        done.u.hint_list.count = 1;
        done.u.hint_list.list = &hints;
    } else if (world->hints_kind == KITH_STORE_HINT_PAGE) {
        done.u.hint_page.more = true;
        done.u.hint_page.last_name = row.name;
        done.u.hint_page.row_count = 1;
        done.u.hint_page.rows = &row;
    }
    struct kith_event stored = {.kind = KITH_EVENT_STORED, .done = &done};
    run(world, &stored);
}

/* What was said to one page counts for no other, however late it comes. */
static void test_answer(void **state)
{
    (void)state;
    struct world world;
    world_new(&world, 2);
    uint64_t conn = peer_up(&world, 2);
    for (uint32_t i = 0; i < 100 && world.hints_kind != KITH_STORE_HINT_LIST; i++) {
        tick(&world, 100);
    }
    hints_done(&world);
    assert_int_equal(world.hints_kind, KITH_STORE_HINT_PAGE);
    hints_done(&world);
    assert_int_equal(world.handoffs, 1);
    struct kith_msg msg = {.kind = KITH_MSG_HANDOFF_RES, .id = world.handoff_id};
    msg.u.handoff_res.status.message = "";
    message(&world, conn, &msg);
    assert_int_equal(world.hints_kind, KITH_STORE_HINT_ACK);
    hints_done(&world);
    assert_int_equal(world.hints_kind, KITH_STORE_HINT_PAGE);
    hints_done(&world);
    assert_int_equal(world.handoffs, 2);
    message(&world, conn, &msg);
    assert_int_equal(world.hints_kind, KITH_STORE_HINT_PAGE);
    msg.id = world.handoff_id;
    message(&world, conn, &msg);
    assert_int_equal(world.hints_kind, KITH_STORE_HINT_ACK);
    kith_node_free(world.node);
}

/* What goes to another zone waits until the bound allows it; to the own zone it goes at once. */
static void test_zone_rate(void **state)
{
    (void)state;
    for (uint32_t far = 0; far < 2; far++) {
        struct world world;
        world_zones = far == 1 ? "aba" : "aab";
        world_new(&world, 2);
        world_zones = NULL;
        pace_set(&world.node->zone_pace, world.now_ms, 2);
        uint64_t conn = peer_up(&world, 2);
        for (uint32_t i = 0; i < 100 && world.hints_kind != KITH_STORE_HINT_LIST; i++) {
            tick(&world, 100);
        }
        hints_done(&world);
        hints_done(&world);
        assert_int_equal(world.handoffs, 1); /* two bytes, and no debt yet */
        struct kith_msg msg = {.kind = KITH_MSG_HANDOFF_RES, .id = world.handoff_id};
        msg.u.handoff_res.status.message = "";
        message(&world, conn, &msg);
        assert_int_equal(world.hints_kind, KITH_STORE_HINT_ACK);
        hints_done(&world);
        bool rests = world.hints_kind != KITH_STORE_HINT_PAGE;
        assert_int_equal(rests, far);
        for (uint32_t i = 0; i < 100 && world.hints_kind != KITH_STORE_HINT_PAGE; i++) {
            message(&world, conn, &(struct kith_msg){.kind = KITH_MSG_PING});
            tick(&world, 100);
        }
        assert_int_equal(world.hints_kind, KITH_STORE_HINT_PAGE);
        kith_node_free(world.node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rest),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_zone_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
