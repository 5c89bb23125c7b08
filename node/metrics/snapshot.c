/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "metrics/snapshot.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

struct kith_snapshot *kith_snapshot_new(void)
{
    struct kith_snapshot *snapshot = kith_calloc(1, sizeof *snapshot);
    const struct kith_node_status none = {.cluster_name = "", .software = ""};
    if (snapshot != NULL) {
        snapshot->refs = 1;
        kith_snapshot_status(snapshot, &none);
    }
    return snapshot;
}

enum kith_err kith_snapshot_peers(struct kith_snapshot *snapshot, uint32_t count)
{
    snapshot->peers = kith_calloc(count + 1u, sizeof *snapshot->peers);
    snapshot->peer_count = snapshot->peers != NULL ? count : 0;
    return snapshot->peers != NULL ? KITH_OK : KITH_ENOMEM;
}

static const char *copy(char *into, size_t size, const char *text)
{
    (void)snprintf(into, size, "%s", text == NULL ? "" : text);
    return into;
}

void kith_snapshot_status(struct kith_snapshot *snapshot, const struct kith_node_status *status)
{
    struct kith_node_status *own = &snapshot->status;
    *own = *status;
    own->cluster_name =
        copy(snapshot->cluster_name, sizeof snapshot->cluster_name, status->cluster_name);
    own->software = copy(snapshot->software, sizeof snapshot->software, status->software);
    own->sweep.waits =
        copy(snapshot->sweep_waits, sizeof snapshot->sweep_waits, status->sweep.waits);
    own->sweep.reap_waits =
        copy(snapshot->reap_waits, sizeof snapshot->reap_waits, status->sweep.reap_waits);
}

struct kith_snapshot *kith_snapshot_hold(struct kith_snapshot *snapshot)
{
    (void)__atomic_add_fetch(&snapshot->refs, 1, __ATOMIC_RELAXED);
    return snapshot;
}

void kith_snapshot_drop(struct kith_snapshot *snapshot)
{
    if (snapshot != NULL && __atomic_sub_fetch(&snapshot->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        if (snapshot->table != NULL) {
            kith_table_drop(snapshot->table);
        }
        kith_free(snapshot->peers);
        kith_free(snapshot);
    }
}

const struct kith_peer_figures *kith_snapshot_peer(const struct kith_snapshot *snapshot,
                                                   const struct kith_uuid *uuid)
{
    for (uint32_t i = 0; i < snapshot->peer_count; i++) {
        if (kith_uuid_equal(&snapshot->peers[i].uuid, uuid)) {
            return &snapshot->peers[i];
        }
    }
    return NULL;
}

bool kith_snapshot_up(const struct kith_snapshot *snapshot, uint16_t member)
{
    const struct kith_uuid *uuid = &snapshot->table->members[member].uuid;
    const struct kith_peer_figures *peer = kith_snapshot_peer(snapshot, uuid);
    return kith_uuid_equal(uuid, &snapshot->status.node) || (peer != NULL && peer->up);
}

void kith_snapshot_health(const struct kith_snapshot *snapshot,
                          struct kith_snapshot_health *ret_health)
{
    const struct kith_table *table = snapshot->table;
    bool up[KITH_MEMBERS_MAX];
    memset(ret_health, 0, sizeof *ret_health);
    if (table == NULL) {
        return;
    }
    ret_health->partitions = table->partitions;
    ret_health->members = table->member_count;
    for (uint32_t i = 0; i < table->member_count; i++) {
        up[i] = kith_snapshot_up(snapshot, (uint16_t)i);
        ret_health->up += up[i] ? 1 : 0;
    }
    for (uint32_t p = 0; p < table->partitions; p++) {
        const uint16_t *owners = kith_table_owners(table, p);
        uint32_t count = 0;
        for (uint32_t i = 0; i < table->owner_slots; i++) {
            count += up[owners[i]] ? 1 : 0;
        }
        ret_health->whole += count == table->owner_slots ? 1 : 0;
        ret_health->below += count <= table->owner_slots / 2 ? 1 : 0;
        ret_health->lost += count == 0 ? 1 : 0;
    }
    ret_health->thin = ret_health->partitions - ret_health->whole - ret_health->below;
}
