/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * swim_sync.c - two members compare all their records, by sums, and exchange those that differ; see
 * swim.c. Checked by tests/unit/test_swim.c. */
#include <string.h>

#include "core/internal.h"

#define SYNC_MS 30000u /* between two with somebody at random; times sync_stretch() */
#define PULL_MS 3000u  /* at least between two because sums differ */

void swim_sums_make(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    if (swim->summed) {
        return;
    }
    memset(swim->sums, 0, sizeof swim->sums);
    swim->digest = 0;
    for (uint32_t i = 0; i < node->table->member_count; i++) {
        uint16_t index = node->peer_of_member[i];
        const struct peer *peer = index != KITH_NO_PEER ? &node->peers[index] : NULL;
        const struct kith_uuid *uuid = &node->table->members[i].uuid;
        uint8_t bytes[16 + 3 * 8];
        memcpy(bytes, uuid->bytes, 16);
        (void)swim_put_u64(bytes + 16, peer ? peer->info.incarnation : node->incarnation);
        (void)swim_put_u64(bytes + 24, peer ? peer->said : swim->said);
        (void)swim_put_u64(bytes + 32, peer ? (uint64_t)peer->live : KITH_ALIVE);
        uint64_t sum = swim_sum(bytes, sizeof bytes);
        swim->sums[uuid->bytes[0] % KITH_SYNC_SUMS] += sum;
        swim->digest += sum;
    }
    swim->summed = true;
}

static bool sync_send(struct kith_node *node, uint64_t conn, bool is_answer, bool with_sums,
                      const uint64_t *differs_from)
{
    struct swim *swim = &node->swim;
    swim_sums_make(node);
    uint8_t *sums = with_sums ? kith_arena_alloc(&node->arena, 8 * KITH_SYNC_SUMS) : NULL;
    struct kith_member_news *list = NULL;
    if (differs_from) {
        list = kith_arena_alloc(&node->arena, node->table->member_count * sizeof *list);
    }
    if ((with_sums && !sums) || (differs_from && !list)) {
        return false; /* another time */
    }
    uint32_t count = 0;
    for (uint32_t i = 0; differs_from && i < node->table->member_count; i++) {
        uint32_t at = node->table->members[i].uuid.bytes[0] % KITH_SYNC_SUMS;
        uint16_t index = node->peer_of_member[i];
        if (differs_from[at] == swim->sums[at]) {
            continue;
        }
        if (index == KITH_NO_PEER) {
            swim_record_self(node, &list[count++]);
        } else if (node->peers[index].info.address[0]) {
            swim_record(&node->peers[index], &list[count++]);
        }
    }
    struct kith_members_sync *sync =
        &core_send(node, conn, KITH_MSG_MEMBERS_SYNC, 0)->u.members_sync;
    sync->table = node->table->id;
    sync->is_answer = is_answer;
    for (uint32_t i = 0; with_sums && i < KITH_SYNC_SUMS; i++) {
        (void)swim_put_u64(sums + 8 * i, swim->sums[i]);
    }
    sync->sums = kith_bytes_make(sums, with_sums ? 8 * KITH_SYNC_SUMS : 0);
    sync->news = list;
    sync->news_count = count;
    return true;
}

void swim_sync(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    const struct kith_members_sync *sync = &msg->u.members_sync;
    if (!swim_active(node) || conn->peer == KITH_NO_PEER ||
        kith_table_id_compare(&sync->table, &node->table->id) != 0) {
        return;
    }
    bool with_sums = sync->sums.size == 8 * KITH_SYNC_SUMS;
    uint64_t theirs[KITH_SYNC_SUMS] = {0};
    for (uint32_t i = 0; with_sums && i < 8 * KITH_SYNC_SUMS; i++) {
        theirs[i / 8] = theirs[i / 8] << 8 | sync->sums.data[i];
    }
    swim_sums_make(node);
    bool same = memcmp(theirs, node->swim.sums, sizeof theirs) == 0;
    if (with_sums && !same) { /* before what he says is taken: he has not seen ours */
        (void)sync_send(node, conn->id, true, !sync->is_answer, theirs);
    }
    swim_news_take(node, sync->news, sync->news_count, true);
}

/* The sums of a ping's sender differ, and nothing is on its way that would explain it. */
void swim_digest_seen(struct kith_node *node, uint64_t conn, const struct kith_ping *ping)
{
    struct swim *swim = &node->swim;
    if (ping->digest == 0 || kith_table_id_compare(&ping->table, &node->table->id) != 0) {
        return;
    }
    swim_sums_make(node);
    bool quiet = swim->news_count == 0 && swim->self_sends == 0 && ping->news_count == 0;
    if (ping->digest != swim->digest && node->now_ms >= swim->pull_ms + (quiet ? 0 : 4 * PULL_MS)) {
        swim->pull_ms = node->now_ms + PULL_MS;
        (void)sync_send(node, conn, false, true, NULL);
    }
}

static uint32_t sync_stretch(const struct kith_node *node)
{
    uint32_t bits = swim_log2(node);
    return bits > 5 ? bits - 4 : 1;
}

uint64_t swim_syncs_tick(struct kith_node *node)
{
    struct swim *swim = &node->swim;
    uint64_t pause_ms = (uint64_t)SYNC_MS * sync_stretch(node);
    if (node->now_ms >= swim->sync_ms) {
        struct peer *peer = swim->sync_ms > 0 ? swim_anyone(node) : NULL;
        if (peer) {
            (void)sync_send(node, peer->conn, false, true, NULL);
        }
        uint64_t random = core_random(node);
        swim->sync_ms = node->now_ms + pause_ms / 2 + random % pause_ms;
    }
    return swim->sync_ms;
}
