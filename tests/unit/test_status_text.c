/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The status screen, letter by letter. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "ctl/screens/status.h"

#define NODES 4u

/* Four nodes, all up; node i is called by its first byte. */
static void view_new(struct kith_view *view)
{
    static const char *const zones[NODES] = {"ams", "ams", "fra", "fra"};
    struct kith_uuid cluster = {{9}};
    struct kith_member members[NODES];
    uint16_t owners[4 * 3];
    memset(members, 0, sizeof(members));
    memset(view, 0, sizeof(*view));
    for (uint32_t i = 0; i < NODES; i++) {
        memset(members[i].uuid.bytes, (int)(0x11 * (i + 1)), sizeof(members[i].uuid.bytes));
        (void)strcpy(members[i].zone, zones[i]);
        members[i].weight = 1;
    }
    for (uint32_t p = 0; p < 4; p++) {
        for (uint32_t k = 0; k < 3; k++) {
            owners[p * 3 + k] = (uint16_t)((p + k) % NODES);
        }
    }
    assert_int_equal(kith_table_new(&cluster, 1, 7, 4, 3, members, NODES, owners, &view->table),
                     KITH_OK);
    (void)strcpy(view->name, "home");
    view->count = NODES;
    view->nodes = kith_calloc(NODES, sizeof(*view->nodes));
    view->hears = kith_calloc((size_t)NODES * NODES, sizeof(*view->hears));
    assert_true(view->nodes && view->hears);
    memset(view->hears, true, (size_t)NODES * NODES);
    for (uint32_t i = 0; i < NODES; i++) {
        struct kith_view_node *node = &view->nodes[i];
        node->uuid = members[i].uuid;
        (void)strcpy(node->zone, zones[i]);
        (void)snprintf(node->address, sizeof(node->address), "10.0.%u.1%u:7070", i / 2 + 1,
                       i % 2 + 1);
        (void)strcpy(node->software, "kithd 0.1.0");
        node->up = node->agrees = true;
        node->owned = 3;
        node->knows = view->table->id;
        node->row_bytes = UINT64_C(12) << 30;
        node->chunk_bytes = UINT64_C(400) << 30;
        node->disk_total_bytes = UINT64_C(1000) << 30;
        node->disk_free_bytes = UINT64_C(390) << 30;
        node->pairs = 6;
        node->pairs_oldest_ms = 22 * 60000 + i;
        node->sweep_ms_ago = 6 * 60000 + i;
        node->condemned = 21;
        node->swept_bytes = UINT64_C(41) << 20;
    }
}

static void down(struct kith_view *view, uint32_t i)
{
    view->nodes[i].up = false;
    view->nodes[i].seen_ms_ago = 14 * 60000;
    (void)snprintf(view->nodes[i].error, sizeof(view->nodes[i].error), "%s: connection refused",
                   view->nodes[i].address);
    for (uint32_t k = 0; k < NODES; k++) {
        view->nodes[k].agrees = false;
        view->hears[k * NODES + i] = false;
        view->hears[i * NODES + k] = false;
    }
}

static void shows(struct kith_view *view, int health, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(kith_view_health(view), health);
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(kith_status_print(view, out, false), KITH_OK);
    (void)fclose(out);
    assert_string_equal(text, want);
    free(text);
    json_t *json = kith_status_json(view);
    assert_non_null(json);
    json_decref(json);
    kith_view_release(view);
}

static void test_healthy(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    shows(&view, KITH_CTL_OK,
          "Cluster home   table v7   N=3 R=2 W=2   4 partitions   health: healthy\n"
          "STATE  NODE      ADDRESS         ZONE  OWNS   DATA     DISK  HINTS  SEEN  VERSION\n"
          "UP     11111111  10.0.1.11:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     22222222  10.0.1.12:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     33333333  10.0.2.11:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     44444444  10.0.2.12:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "4 of 4 nodes up. Every file can be read and written.\n"
          "1.6 TiB of data; the disks of the nodes that are up hold 3.9 TiB, 60% full. Last full "
          "exchange 22 m ago.\n"
          "Sweep of what no file refers to: last 6 m ago; since the nodes' start 84 chunks "
          "condemned, 164 MiB deleted.\n");
}

static void sweep_shows(const struct kith_view *view, const char *want)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    kith_status_sweep_print(view, out);
    (void)fclose(out);
    assert_string_equal(text, want);
    free(text);
}

static void test_sweep(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    (void)kith_view_health(&view);
    view.nodes[0].sweep_ms_ago = UINT64_MAX;
    (void)strcpy(view.nodes[1].sweep_waits, "node 10.0.1.13:7070 cannot be reached");
    sweep_shows(&view, "Sweep of what no file refers to: not all looked through yet; since the "
                       "nodes' start 84 chunks condemned, 164 MiB deleted. 22222222 waits: node "
                       "10.0.1.13:7070 cannot be reached.\n");
    for (uint32_t i = 0; i < NODES; i++) {
        view.nodes[i].condemned = i == 2 ? 1 : 0;
        view.nodes[i].swept_bytes = view.nodes[i].sweep_ms_ago = 0;
        view.nodes[i].sweep_waits[0] = '\0';
    }
    sweep_shows(&view, "Sweep of what no file refers to: last now; since the nodes' start 1 chunk "
                       "condemned, 0 B deleted.\n");
    view.nodes[1].reaped = 1200;
    view.nodes[2].reaped = 34;
    sweep_shows(&view, "Sweep of what no file refers to: last now; since the nodes' start 1 chunk "
                       "condemned, 0 B deleted, 1 234 copies of deleted names forgotten.\n");
    view.nodes[1].reaped = view.nodes[2].reaped = 0;
    view.nodes[2].condemned = 0;
    view.nodes[3].sweep_ms_ago = UINT64_MAX;
    sweep_shows(&view, ""); /* they have just started, or do not sweep */
    kith_view_release(&view);
}

/* Asked of a node that has left as well. */
static void test_stranger(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    view.stranger_count = 1;
    view.strangers = kith_calloc(1, sizeof(*view.strangers));
    assert_non_null(view.strangers);
    memset(view.strangers[0].uuid.bytes, 0x55, sizeof(view.strangers[0].uuid.bytes));
    (void)strcpy(view.strangers[0].address, "10.0.3.11:7070");
    for (uint32_t i = 0; i < NODES; i++) {
        view.nodes[i].condemned = view.nodes[i].swept_bytes = 0;
        view.nodes[i].sweep_ms_ago = UINT64_MAX;
    }
    shows(&view, KITH_CTL_OK,
          "Cluster home   table v7   N=3 R=2 W=2   4 partitions   health: healthy\n"
          "STATE  NODE      ADDRESS         ZONE  OWNS   DATA     DISK  HINTS  SEEN  VERSION\n"
          "UP     11111111  10.0.1.11:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     22222222  10.0.1.12:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     33333333  10.0.2.11:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     44444444  10.0.2.12:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "4 of 4 nodes up. Every file can be read and written.\n"
          "55555555 at 10.0.3.11:7070 is no member of this cluster any more: it left, or was "
          "replaced. Stop kithd there; to use it again start it with an empty directory, then: "
          "kithctl plan join 10.0.3.11:7070\n"
          "1.6 TiB of data; the disks of the nodes that are up hold 3.9 TiB, 60% full. Last full "
          "exchange 22 m ago.\n");
}

static void test_one_down(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    down(&view, 2);
    (void)strcpy(view.nodes[1].sweep_waits, "node 10.0.2.11:7070 cannot be reached");
    view.nodes[1].hints = 1204;
    view.nodes[1].hint_bytes = 38 << 20;
    view.nodes[1].hint_oldest_ms = 14 * 60000;
    view.nodes[3].pairs_never = 3;
    view.nodes[3].disk_free_bytes = UINT64_C(50) << 30;
    shows(
        &view, KITH_CTL_FAILED,
        "Cluster home   table v7   N=3 R=2 W=2   4 partitions   health: DEGRADED\n"
        "STATE  NODE      ADDRESS         ZONE  OWNS   DATA     DISK  HINTS  SEEN  VERSION\n"
        "UP     11111111  10.0.1.11:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
        "UP     22222222  10.0.1.12:7070  ams   25.0%  412 GiB  60%   1 204  now   0.1.0\n"
        "DOWN   33333333  10.0.2.11:7070  fra   25.0%  -        -     -      14 m  0.1.0\n"
        "UP     44444444  10.0.2.12:7070  fra   25.0%  412 GiB  94%   0      now   0.1.0\n"
        "3 of 4 nodes up. Every file can be read and written.\n"
        "Down: 10.0.2.11:7070: connection refused. Start kithd there again.\n"
        "22222222 holds 1 204 writes (38 MiB, the oldest of 14 m) for nodes that missed them.\n"
        "The disk of 44444444 is 94% full (50 GiB left): make room, or give it more.\n"
        "1.2 TiB of data; the disks of the nodes that are up hold 2.9 TiB, 72% full. 87.5% of the "
        "copies compared since the nodes' start.\n"
        "Sweep of what no file refers to: last 6 m ago; since the nodes' start 63 chunks "
        "condemned, 123 MiB deleted. 22222222 waits: node 10.0.2.11:7070 cannot be reached.\n");
}

static void test_refilling(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    view.nodes[1].refill_total = 3;
    view.nodes[1].refill_left = 2;
    view.nodes[1].aged_left = 4;
    shows(&view, KITH_CTL_FAILED,
          "Cluster home   table v7   N=3 R=2 W=2   4 partitions   health: DEGRADED\n"
          "STATE  NODE      ADDRESS         ZONE  OWNS   DATA     DISK  HINTS  SEEN  VERSION\n"
          "UP     11111111  10.0.1.11:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     22222222  10.0.1.12:7070  ams   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     33333333  10.0.2.11:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP     44444444  10.0.2.12:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "4 of 4 nodes up. Every file can be read and written.\n"
          "The disk of 22222222 has lost data: 2 of 3 partitions are not back yet, and not read "
          "there before. See: kithctl repair status\n"
          "22222222 was off for long, or has an older copy of its disk: 4 partitions are compared "
          "with other nodes first, and not read there before\n"
          "1.6 TiB of data; the disks of the nodes that are up hold 3.9 TiB, 60% full. Last full "
          "exchange 22 m ago.\n"
          "Sweep of what no file refers to: last 6 m ago; since the nodes' start 84 chunks "
          "condemned, 164 MiB deleted.\n");
}

/* Whatever there is of them, the cluster is as healthy as it was. */
static void test_conflicts(void **state)
{
    (void)state;
    static const char *const lines[] = {"",
                                        "1 file in conflict (kithctl conflicts).\n",
                                        "1 236 files in conflict (kithctl conflicts).\n"};
    static const uint64_t sums[] = {0, 1, 1236};
    for (uint32_t i = 0; i < 3; i++) {
        struct kith_view view;
        char want[2000];
        view_new(&view);
        view.nodes[1].conflicts = i > 0 ? 1 : 0;
        view.nodes[3].conflicts = i > 1 ? 1235 : 0;
        json_t *json = kith_status_json(&view);
        assert_non_null(json);
        json_t *node = json_array_get(json_object_get(json, "nodes"), 1);
        assert_int_equal(json_integer_value(json_object_get(json, "conflicts")), sums[i]);
        assert_int_equal(json_integer_value(json_object_get(node, "conflicts")), i > 0 ? 1 : 0);
        json_decref(json);
        view.nodes[3].up = false; /* what it told once is told by another owner */
        assert_int_equal(kith_view_conflicts(&view), i > 0 ? 1 : 0);
        view.nodes[3].up = true;
        (void)snprintf(
            want, sizeof(want),
            "Cluster home   table v7   N=3 R=2 W=2   4 partitions   health: healthy\n"
            "STATE  NODE      ADDRESS         ZONE  OWNS   DATA     DISK  HINTS  SEEN  VERSION\n"
            "UP     11111111  10.0.1.11:7070  ams   25.0%%  412 GiB  60%%   0      now   0.1.0\n"
            "UP     22222222  10.0.1.12:7070  ams   25.0%%  412 GiB  60%%   0      now   0.1.0\n"
            "UP     33333333  10.0.2.11:7070  fra   25.0%%  412 GiB  60%%   0      now   0.1.0\n"
            "UP     44444444  10.0.2.12:7070  fra   25.0%%  412 GiB  60%%   0      now   0.1.0\n"
            "4 of 4 nodes up. Every file can be read and written.\n%s"
            "1.6 TiB of data; the disks of the nodes that are up hold 3.9 TiB, 60%% full. Last "
            "full exchange 22 m ago.\n"
            "Sweep of what no file refers to: last 6 m ago; since the nodes' start 84 chunks "
            "condemned, 164 MiB deleted.\n",
            lines[i]);
        shows(&view, KITH_CTL_OK, want);
    }
}

static void test_below(void **state)
{
    (void)state;
    struct kith_view view;
    view_new(&view);
    down(&view, 0);
    down(&view, 1);
    view.nodes[0].silent = true;
    (void)strcpy(view.nodes[0].error, "10.0.1.11:7070: no answer within 1000 ms");
    view.hears[2 * NODES + 3] = false;
    shows(&view, KITH_CTL_BELOW,
          "Cluster home   table v7   N=3 R=2 W=2   4 partitions   health: BELOW QUORUM\n"
          "STATE   NODE      ADDRESS         ZONE  OWNS   DATA     DISK  HINTS  SEEN  VERSION\n"
          "SILENT  11111111  10.0.1.11:7070  ams   25.0%  -        -     -      14 m  0.1.0\n"
          "DOWN    22222222  10.0.1.12:7070  ams   25.0%  -        -     -      14 m  0.1.0\n"
          "UP      33333333  10.0.2.11:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "UP      44444444  10.0.2.12:7070  fra   25.0%  412 GiB  60%   0      now   0.1.0\n"
          "2 of 4 nodes up.\n"
          "2 of 4 partitions (50.0% of the files) have fewer than 2 owners up: they can be "
          "read, maybe not as written last, and written on fewer copies; strict mounts do "
          "neither.\n"
          "The other files can be read and written.\n"
          "Not answering: 10.0.1.11:7070: no answer within 1000 ms. Is kithd stopped, or its "
          "machine off, cut off or overloaded?\n"
          "Down: 10.0.1.12:7070: connection refused. Start kithd there again.\n"
          "33333333 does not hear 44444444: is it starting, or the network cut between them?\n"
          "824 GiB of data; the disks of the nodes that are up hold 1.9 TiB, 60% full. Last full "
          "exchange 22 m ago.\n"
          "Sweep of what no file refers to: last 6 m ago; since the nodes' start 42 chunks "
          "condemned, 82 MiB deleted.\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_healthy),
                                       cmocka_unit_test(test_one_down),
                                       cmocka_unit_test(test_refilling),
                                       cmocka_unit_test(test_conflicts),
                                       cmocka_unit_test(test_below),
                                       cmocka_unit_test(test_sweep),
                                       cmocka_unit_test(test_stranger)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
