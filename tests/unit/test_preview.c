/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * What a plan would do, in figures and on the screen; and how far a move is. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "ctl/plan/preview.h"
#include "ctl/plan/progress.h"
#include "ctl/screens/status.h"
#include "plan_view.h"

#define MIB (UINT64_C(1) << 20)

static struct kith_plan plan;

static void plan_is(struct kith_plan_change change)
{
    plan.count = 1;
    plan.changes[0] = change;
}

static void shows(const struct kith_view *view, bool force, const char *want)
{
    struct kith_preview preview;
    struct kith_error error;
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(kith_preview_make(view, &plan, force, 0, &preview, &error), KITH_OK);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_preview_print(&preview, view, &plan, out, false), KITH_OK);
    (void)fclose(out);
    assert_string_equal(text, want);
    free(text);
    json_t *json = kith_preview_json(&preview, view, &plan);
    assert_int_equal(json_array_size(json_object_get(json, "nodes")), preview.joint->member_count);
    json_decref(json);
    kith_preview_release(&preview);
}

/* Bytes that are received are sent, and nothing moves that need not. */
static void adds_up(const struct kith_view *view, const struct kith_plan_change *change)
{
    struct kith_preview preview;
    struct kith_error error;
    uint64_t receives = 0, sends = 0, data = 0;
    plan_is(*change);
    assert_int_equal(kith_preview_make(view, &plan, false, 0, &preview, &error), KITH_OK);
    uint32_t after = 0;
    for (uint32_t i = 0; i < preview.joint->member_count; i++) {
        const struct kith_preview_node *node = &preview.nodes[i];
        receives += node->receives;
        sends += node->sends;
        data += node->data_after;
        after += node->after;
        assert_int_equal(node->data_after, node->after * MIB);
    }
    assert_int_equal(receives, preview.bytes);
    assert_int_equal(preview.bytes, preview.moves * MIB);
    assert_true(sends <= receives && receives - sends <= preview.moves * 3); /* thirds, rounded */
    assert_int_equal(after, PARTITIONS * preview.joint->next_slots);
    assert_int_equal(data, after * MIB);
    assert_true(preview.least <= preview.moves);
    assert_int_equal(preview.short_owners, 0);
    assert_int_equal(preview.now.owners, 3);
    assert_int_equal(preview.now.zones, 2);
    kith_preview_release(&preview);
}

static void test_figures(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    const struct kith_plan_change changes[] = {change_join(5, "n5:7070", "lon", 2), change_leave(1),
                                               change_replace(2, 6, "n6:7070"), change_weight(1, 9),
                                               change_zone(4, "lon")};
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        adds_up(&view, &changes[i]);
    }
    /* only the replaced one's share moves */
    struct kith_preview preview;
    struct kith_error error;
    plan_is(change_replace(2, 6, "n6:7070"));
    assert_int_equal(kith_preview_make(&view, &plan, false, MIB, &preview, &error), KITH_OK);
    assert_int_equal(preview.moves, view.nodes[1].owned);
    assert_int_equal(preview.moves, preview.least);
    assert_int_equal(preview.seconds, view.nodes[1].owned); /* a MiB a second */
    kith_preview_release(&preview);
    plan.count = 0;
    kith_view_release(&view);
}

static void test_screen(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    plan_is(change_join(5, "n5:7070", "lon", 2));
    shows(&view, false,
          "table v1 -> v2   + node 55555555 at n5:7070 (zone lon, weight 2)\n"
          "NODE      ADDRESS  ZONE  PARTITIONS  DATA AFTER  RECEIVES  SENDS\n"
          "11111111  n1:7070  ams   43 -> 32    32 MiB      -         14 MiB\n"
          "22222222  n2:7070  ams   42 -> 32    32 MiB      -         13 MiB\n"
          "33333333  n3:7070  fra   43 -> 21    21 MiB      -         14 MiB\n"
          "44444444  n4:7070  fra   64 -> 43    43 MiB      -         21 MiB\n"
          "55555555  n5:7070  lon   0 -> 64     64 MiB      64 MiB    -\n"
          "Moves 64 of 192 replicas (the least possible: 64). Less than a minute at 50 MiB/s a "
          "node.\n"
          "Meanwhile every partition keeps 3 owners in 2 zones; afterwards it has 3 owners in 3 "
          "zones.\n"
          "Apply: kithctl plan apply 2\n");
    plan.count = 0;
    kith_view_release(&view);
}

/* Of nodes that are down: who is left out, what may be lost, and who only seems to be down. */
static void test_gone(void **state)
{
    (void)state;
    struct kith_view view;
    struct kith_preview preview;
    struct kith_error error;
    view_new(&view);
    view.nodes[0].custody = 3;
    plan_is(change_leave(4));
    view.nodes[3].up = false; /* not for us; others hear it */
    assert_int_equal(kith_preview_make(&view, &plan, false, 0, &preview, &error), KITH_OK);
    assert_int_equal(preview.gone, 0);
    assert_int_equal(preview.unclear, 1);
    kith_preview_release(&preview);
    view_down(&view, 4);
    assert_int_equal(kith_preview_make(&view, &plan, false, 0, &preview, &error), KITH_OK);
    assert_int_equal(preview.gone, 1);
    assert_int_equal(preview.unclear, 0);
    assert_int_equal(preview.short_owners, 0);
    assert_int_equal(preview.now.owners, 2);
    assert_int_equal(preview.custody, 3);
    kith_preview_release(&preview);
    view_down(&view, 3); /* most are up no more, but it is not staged to leave */
    assert_int_equal(kith_preview_make(&view, &plan, false, 0, &preview, &error), KITH_OK);
    assert_int_equal(preview.gone, 1);
    kith_preview_release(&preview);
    plan.count = 0;
    view_down(&view, 2);
    shows(&view, true,
          "table v1 -> v2 of epoch 2   - node 22222222 at n2:7070: it is down\n"
          "                            - node 33333333 at n3:7070: it is down\n"
          "                            - node 44444444 at n4:7070: it is down\n"
          "NODE      ADDRESS  ZONE  PARTITIONS  DATA AFTER  RECEIVES  SENDS\n"
          "11111111  n1:7070  ams   43 -> 64    43 MiB      -         -\n"
          "22222222  n2:7070  ams   42 -> 0     -           -         -\n"
          "33333333  n3:7070  fra   43 -> 0     -           -         -\n"
          "44444444  n4:7070  fra   64 -> 0     -           -         -\n"
          "Moves 21 of 64 replicas (the least possible: 21). Less than a minute at 50 MiB/s a "
          "node.\n"
          "22222222 is down and left out for good: how many writes it alone kept for others is not "
          "known.\n"
          "33333333 is down and left out for good: how many writes it alone kept for others is not "
          "known.\n"
          "44444444 is down and left out for good: how many writes it alone kept for others is not "
          "known.\n"
          "Nodes that are up keep 3 writes for others that count as copies.\n"
          "64 of 64 partitions keep fewer than 2 of their 3 owners (21 none at all): what was "
          "written there last may be lost.\n"
          "There will be fewer nodes than copies: 1 instead of 3.\n"
          "Meanwhile every partition keeps 0 owners in 0 zones; afterwards it has 1 owner in 1 "
          "zone.\n"
          "Apply: kithctl plan apply 2 --force --accept-loss\n");
    plan_is(change_weight(4, 2)); /* who is spoken of is to stay */
    assert_int_equal(kith_preview_make(&view, &plan, true, 0, &preview, &error), KITH_OK);
    assert_int_equal(preview.gone, 2);
    kith_preview_release(&preview);
    plan.count = 0;
    kith_view_release(&view);
}

/* The view of a joint table, in which node 1 leaves and node 4 is to be replaced by node 5. */
static void moving_new(struct kith_view *view)
{
    struct kith_preview preview;
    struct kith_error error;
    struct kith_view before;
    view_new(&before);
    view_down(&before, 4);
    plan.count = 2;
    plan.changes[0] = change_leave(1);
    plan.changes[1] = change_replace(4, 5, "n5:7070");
    assert_int_equal(kith_preview_make(&before, &plan, false, 0, &preview, &error), KITH_OK);
    plan.count = 0;
    memset(view, 0, sizeof(*view));
    (void)strcpy(view->name, "home");
    view->table = kith_table_hold(preview.joint);
    view->count = view->table->member_count;
    view->nodes = kith_calloc(view->count, sizeof(*view->nodes));
    view->hears = kith_calloc((size_t)view->count * view->count, sizeof(*view->hears));
    assert_true(view->nodes && view->hears);
    memset(view->hears, true, (size_t)view->count * view->count);
    for (uint32_t i = 0; i < view->count; i++) {
        struct kith_view_node *node = &view->nodes[i];
        *node = i < NODES ? before.nodes[i] : before.nodes[0];
        node->uuid = view->table->members[i].uuid;
        (void)snprintf(node->address, sizeof(node->address), "n%u:7070", i + 1);
        node->knows = view->table->id;
        node->owned = preview.nodes[i].before;
        node->move_flags = view->table->after[i].flags;
        for (uint32_t p = 0; p < PARTITIONS; p++) {
            node->gains += kith_table_holds(view->table, p, (uint16_t)i) &&
                           !kith_table_owns(view->table, p, (uint16_t)i);
        }
    }
    kith_preview_release(&preview);
    kith_view_release(&before);
}

static void test_progress(void **state)
{
    (void)state;
    struct kith_view view;
    struct kith_view before;
    char *text = NULL;
    size_t size = 0;
    moving_new(&view);
    moving_new(&before);
    view.nodes[0].hints = 12;
    view.nodes[1].move_complete = 2;
    view.nodes[2].move_complete = view.nodes[2].gains;
    view.nodes[2].moved = true;
    view.nodes[4].move_complete = 16;
    view.nodes[4].move_bytes = 16 * MIB;
    before.nodes[4].move_complete = 8;
    before.nodes[4].move_bytes = 8 * MIB;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_progress_print(&view, &before, 1000, out, false), KITH_OK);
    (void)fclose(out);
    assert_string_equal(text,
                        "table v2 moves data   39 of 107 replicas are there  "
                        "[#######-------------] 36.4%   16 MiB at "
                        "8.0 MiB/s   ETA 10 s\n"
                        "STATE  NODE      ADDRESS  PARTITIONS  MOVE             CAME    RATE\n"
                        "UP     11111111  n1:7070  43 -> 0     leaves           -       -\n"
                        "UP     22222222  n2:7070  42 -> 64    2 of 22          0 B     0 B/s\n"
                        "UP     33333333  n3:7070  43 -> 64    21 of 21         0 B     -\n"
                        "DOWN   44444444  n4:7070  64 -> 0     gone             -       -\n"
                        "UP     55555555  n5:7070  0 -> 64     joins, 16 of 64  16 MiB  8.0 MiB/s\n"
                        "Waits for 11111111, which hands over 12 writes that it keeps for others.\n"
                        "Waits for 22222222: 20 partitions are to come.\n"
                        "Waits for 55555555: 48 partitions are to come.\n"
                        "Give it up: kithctl plan revert\n");
    free(text);
    struct kith_progress progress = kith_progress_of(&view, &before, 1000);
    assert_int_equal(progress.awaited, 3);
    assert_int_equal(progress.rate, 8 * MIB);
    json_t *json = kith_progress_json(&view, NULL, 0);
    assert_int_equal(json_array_size(json_object_get(json, "nodes")), 5);
    json_decref(json);
    kith_view_release(&before);
    kith_view_release(&view);
}

/* Status, while it moves: every node that is not gone must hear of writes. */
static void test_status(void **state)
{
    (void)state;
    struct kith_view view;
    char *text = NULL;
    size_t size = 0;
    moving_new(&view);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_status_print(&view, out, false), KITH_OK);
    (void)fclose(out);
    assert_non_null(strstr(text, "  VERSION  MOVE\n"));
    assert_non_null(strstr(text, "  joins, 0 of 64\n"));
    assert_non_null(strstr(text, "  gone\n"));
    assert_non_null(strstr(text,
                           "Table v2 moves data: 0 of 107 replicas are there. See: kithctl plan "
                           "show\n"));
    assert_non_null(strstr(text, "44444444 is left out for good; nobody waits for it.\n"));
    free(text);
    json_t *json = kith_status_json(&view);
    assert_true(json_is_true(json_object_get(json, "moving")));
    json_decref(json);
    /* two of the next owners of all partitions are down: nothing has W of both any more */
    view.nodes[1].up = view.nodes[4].up = false;
    (void)kith_view_health(&view);
    assert_int_equal(view.health.unwritable, PARTITIONS);
    assert_true(view.health.unreadable < PARTITIONS);
    kith_view_release(&view);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures),  cmocka_unit_test(test_screen), cmocka_unit_test(test_gone),
        cmocka_unit_test(test_progress), cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
