/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * zones.c - in which zone (data centre) this client is, and which nodes are near.
 *
 * It was told (the options), or it is where the member is that answers a TABLE_REQ fastest. The
 * fastest answer ever counts, so that load, or a cut, moves nobody; and another zone must be
 * faster by far, for within one house the times of two zones differ by chance. */
#include <string.h>

#include "client/core.h"

#define NEARER_BY_MS 2u /* and less than half: another house, not chance */

/* The fastest member of a zone; UINT32_MAX: none has answered. */
static uint32_t zone_rtt(const struct kith_client_core *core, const char *zone)
{
    uint32_t best_ms = UINT32_MAX;
    for (uint32_t i = 0; i < core->table->member_count; i++) {
        const struct cc_peer *peer = core->by_member[i];
        if (strcmp(core->table->members[i].zone, zone) == 0 && peer->rtt_known &&
            peer->rtt_ms < best_ms) {
            best_ms = peer->rtt_ms;
        }
    }
    return best_ms;
}

static void choose(struct kith_client_core *core)
{
    uint32_t now_ms = core->zone_known ? zone_rtt(core, core->zone) : UINT32_MAX;
    for (uint32_t i = 0; i < core->table->member_count; i++) {
        const struct cc_peer *peer = core->by_member[i];
        const char *zone = core->table->members[i].zone;
        if (!peer->rtt_known || strcmp(zone, core->zone) == 0) {
            core->zone_known = core->zone_known || peer->rtt_known;
            continue;
        }
        bool nearer = peer->rtt_ms + NEARER_BY_MS < now_ms && peer->rtt_ms < now_ms / 2;
        if (now_ms == UINT32_MAX || nearer) {
            memcpy(core->zone, zone, sizeof(core->zone));
            core->zone_known = true;
            now_ms = peer->rtt_ms;
        }
    }
}

void cc_zones_look(struct kith_client_core *core)
{
    if (core->table == NULL) {
        return;
    }
    if (!core->zone_given) {
        choose(core);
    }
    for (uint32_t i = 0; i < core->table->member_count; i++) {
        const char *zone = core->table->members[i].zone;
        core->by_member[i]->near = core->table->zones > 1 &&
                                   (core->zone_known || core->zone_given) &&
                                   strcmp(zone, core->zone) == 0;
    }
}

void cc_zones_asked(struct kith_client_core *core, struct cc_peer *peer)
{
    if (peer->rtt_since_ms == CC_NEVER) {
        peer->rtt_since_ms = core->now;
    }
}

void cc_zones_answered(struct kith_client_core *core, struct cc_peer *peer)
{
    uint64_t since_ms = peer->rtt_since_ms;
    peer->rtt_since_ms = CC_NEVER;
    if (since_ms == CC_NEVER) {
        return;
    }
    uint64_t took_ms = core->now - since_ms;
    if (took_ms > CC_RTT_MAX_MS || (peer->rtt_known && peer->rtt_ms <= took_ms)) {
        return;
    }
    peer->rtt_known = true;
    peer->rtt_ms = (uint32_t)took_ms;
    cc_zones_look(core);
}
