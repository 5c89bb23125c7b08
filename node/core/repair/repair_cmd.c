/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * repair_cmd.c - what an administrator asks of anti-entropy and of the scrub (kithctl repair,
 * kithctl scrub): does it, and answers with how far they are. */
#include <string.h>

#include "core/internal.h"

static void carry_out(struct kith_node *node, const struct kith_repair_cmd *cmd)
{
    switch (cmd->action) {
    case KITH_REPAIR_STATUS:
        return;
    case KITH_REPAIR_START:
        core_log(node, LEVEL_INFO, "everything is compared with the other owners: as asked for");
        exchange_start(node);
        return;
    case KITH_REPAIR_STOP:
        core_log(node, LEVEL_WARN, "nothing is compared with other owners any more: as asked for");
        exchange_stop(node);
        return;
    case KITH_REPAIR_LIMIT:
        core_log(node, LEVEL_INFO, "anti-entropy may move %llu bytes a second (0: no bound)",
                 (unsigned long long)cmd->rate);
        pace_set(&node->pace, node->now_ms, cmd->rate);
        return;
    case KITH_SCRUB_START:
    case KITH_SCRUB_STOP:
        scrub_ask(node, cmd->action == KITH_SCRUB_START);
        return;
    }
}

void repair_cmd(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    if (!node->has_cluster) {
        core_refuse(node, conn, msg, KITH_ENOTREADY,
                    core_text(node, "node %s has no cluster yet", node->address));
        return;
    }
    struct pending *pending = pending_new(node, PENDING_STATUS, conn, msg, KITH_READ_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return;
    }
    carry_out(node, &msg->u.repair_cmd);
    (void)core_store(node, pending, KITH_STORE_COUNT, 0);
}

/* Until the end of the pass, as it went so far; one that nobody asked for is spread over its
 * period. */
static uint64_t scrub_eta_ms(const struct kith_node *node)
{
    const struct scrub *scrub = &node->scrub;
    uint64_t passed = node->wall_ms - scrub->begun_wall_ms;
    uint32_t all = node->table->partitions;
    if (scrub->left == 0 || scrub->left > all || node->wall_ms < scrub->begun_wall_ms) {
        return 0;
    }
    if (!scrub->asked) {
        return scrub->period_ms / all * scrub->left;
    }
    return scrub->left == all ? 0 : passed / (all - scrub->left) * scrub->left;
}

/* One for each other owner of what is held here; fewer when memory is short. */
static uint32_t peers_list(struct kith_node *node, const struct kith_repair_peer **ret_peers)
{
    const struct exchanges *exchanges = &node->exchanges;
    struct kith_repair_peer *peers =
        kith_arena_calloc(&node->arena, node->peer_count + 1u, sizeof *peers);
    uint32_t count = 0;
    for (uint32_t i = 0; peers && i < EXCHANGE_CLASSES * exchanges->pair_count; i++) {
        const struct exchange_pair *pair = &exchanges->pairs[i];
        if (pair->peer == KITH_NO_PEER) {
            continue;
        }
        struct kith_repair_peer *peer = &peers[pair->peer];
        peer->pairs++;
        peer->running += pair->out ? 1 : 0;
        peer->compared += pair->whole_ms > 0 && pair->whole_ms >= exchanges->round_ms ? 1 : 0;
        *(i < exchanges->pair_count ? &peer->rows : &peer->chunks) += pair->brought;
        peer->bytes += pair->bytes;
        peer->tree_bytes += pair->tree_bytes;
    }
    for (uint32_t i = 0; peers && i < node->peer_count; i++) {
        if (peers[i].pairs > 0) {
            peers[i].peer = node->peers[i].uuid;
            peers[i].address = node->peers[i].info.address;
            peers[i].up = node->peers[i].up;
            peers[count++] = peers[i];
        }
    }
    *ret_peers = peers;
    return count;
}

void repair_answer(struct kith_node *node, const struct pending *pending,
                   const struct kith_store_counts *counts)
{
    const struct scrub *scrub = &node->scrub;
    struct kith_repair_res *res =
        &core_send(node, pending->conn, KITH_MSG_REPAIR_RES, pending->msg_id)->u.repair_res;
    res->status = core_ok();
    res->stopped = node->exchanges.stopped;
    res->rate = node->pace.rate;
    res->since_ms = node->now_ms - node->exchanges.round_ms;
    res->found = node->exchanges.damaged;
    res->bad_rows = counts->bad_rows;
    res->bad_chunks = counts->bad_chunks;
    res->scrub.asked = scrub->asked;
    res->scrub.period_ms = scrub->period_ms;
    res->scrub.left = scrub->left;
    res->scrub.partitions = node->table->partitions;
    res->scrub.begun = scrub->begun_wall_ms;
    res->scrub.ended = scrub->ended_wall_ms;
    res->scrub.rows = scrub->rows;
    res->scrub.chunks = scrub->chunk_count;
    res->scrub.bytes = scrub->bytes;
    res->scrub.damaged = scrub->damaged;
    res->scrub.wrong = scrub->wrong;
    res->scrub.ended_damaged = scrub->ended_damaged;
    res->scrub.eta_ms = scrub_eta_ms(node);
    res->peer_count = peers_list(node, &res->peers);
}
