/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * metrics_world.h - a snapshot of a node of three, with names that have to be escaped; node 3 is
 * down. Include it after cmocka.h. */
#ifndef KITH_TESTS_METRICS_WORLD_H
#define KITH_TESTS_METRICS_WORLD_H

#include <stdio.h>
#include <string.h>

#include "data/balance.h"
#include "metrics/snapshot.h"

#define NASTY "z\"<b>\\\n'&"

static inline struct kith_snapshot *snapshot_make(uint32_t partitions, uint32_t members)
{
    struct kith_snapshot *snapshot = kith_snapshot_new();
    struct kith_uuid cluster = {{9}};
    struct kith_member list[8] = {0};
    uint16_t owners[4096 * 3];
    uint32_t slots = members < 3 ? members : 3;
    assert_non_null(snapshot);
    assert_true(partitions <= 4096 && members <= 8);
    assert_int_equal(kith_snapshot_peers(snapshot, members - 1), KITH_OK);
    for (uint32_t i = 0; i < members; i++) {
        list[i].uuid.bytes[0] = (uint8_t)(i + 1);
        list[i].weight = 1;
        (void)snprintf(list[i].zone, sizeof list[i].zone, "%s", "z<i>");
        if (i > 0) {
            struct kith_peer_figures *peer = &snapshot->peers[i - 1];
            peer->uuid = list[i].uuid;
            peer->member = true;
            peer->up = i != 2;
            peer->state = i != 2 ? KITH_ALIVE : KITH_DOWN;
            peer->seen_ms_ago = i != 2 ? 10 : 90000;
            peer->pairs = 2 * partitions;
            peer->oldest_ms_ago = UINT64_MAX;
            (void)snprintf(peer->address, sizeof peer->address, "node%u:7070", i + 1);
            (void)snprintf(peer->zone, sizeof peer->zone, "%s", NASTY);
        }
    }
    for (uint32_t p = 0; p < partitions; p++) {
        for (uint32_t i = 0; i < slots; i++) {
            owners[p * slots + i] = (uint16_t)((p + i) % members);
        }
    }
    assert_int_equal(kith_table_new(&cluster, 1, 7, partitions, 3, list, members, owners,
                                    &snapshot->table),
                     KITH_OK);
    struct kith_node_status status = {.cluster_name = "a \"<script>\" & b", .software = "kithd"};
    status.node = list[0].uuid;
    status.cluster = cluster;
    status.table = snapshot->table->id;
    status.hints = 5;
    status.hint_oldest_ms = 61500;
    status.uptime_ms = 1000;
    status.sweep.waits = "for <node>";
    status.sweep.ms_ago = UINT64_MAX;
    kith_snapshot_status(snapshot, &status);
    (void)snprintf(snapshot->address, sizeof snapshot->address, "node1:7070");
    (void)snprintf(snapshot->zone, sizeof snapshot->zone, "%s", NASTY);
    snapshot->mono_ms = 5000000;
    snapshot->wall_ms = UINT64_C(1795465037495);
    return snapshot;
}

#endif
