/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_handoff.c - when a node looks for what it keeps for others. */
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
