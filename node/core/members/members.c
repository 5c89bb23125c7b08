/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * members.c - membership records: where each member listens.
 *
 * An address is only an attribute of a member. A record (uuid, incarnation, address) is made by the
 * node itself at each start, under a higher incarnation; the higher one wins everywhere, hellos and
 * news (swim.c) carry them, and all are kept on disk, so that a node that restarts finds the others
 * even when every port has changed but one. Zone and weight are the table's, and are not learnt here.
 *
 * The record on disk: u8 format, varint count, each: 16 uuid, varint incarnation, sized address;
 * and a checksum (meta_seal). */
#include <string.h>

#include "core/internal.h"

#define MEMBERS_FORMAT 1u

void members_self(const struct kith_node *node, struct kith_member_info *ret_info)
{
    memset(ret_info, 0, sizeof *ret_info);
    ret_info->uuid = node->uuid;
    ret_info->incarnation = node->incarnation;
    memcpy(ret_info->address, node->address, sizeof ret_info->address);
    memcpy(ret_info->zone, node->zone, sizeof ret_info->zone);
    memcpy(ret_info->software, node->software, sizeof ret_info->software);
    ret_info->features = kith_protocol_ours().features;
    ret_info->weight = node->weight;
    if (node->table && node->self != KITH_NO_MEMBER) {
        const struct kith_member *member = &node->table->members[node->self];
        memcpy(ret_info->zone, member->zone, sizeof ret_info->zone);
        ret_info->weight = member->weight;
    }
    ret_info->up = true;
}

static void text_set(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    length = length < size ? length : size - 1;
    memset(to, 0, size);
    memcpy(to, from, length);
}

/* One that says nothing of its software passes on what it has heard of another's address. */
static void runs(struct peer *peer, const char *software, uint64_t features)
{
    if (software[0]) {
        text_set(peer->info.software, sizeof peer->info.software, software);
        peer->info.features = features;
    }
}

void members_moved(struct kith_node *node, struct peer *peer, const struct kith_member_news *news)
{
    peer->info.incarnation = news->incarnation;
    text_set(peer->info.address, sizeof peer->info.address, news->address);
    runs(peer, news->software, news->features);
    node->members_dirty = true;
    peer_retry_now(node, peer);
}

void members_learn(struct kith_node *node, const struct kith_member_info *info)
{
    struct peer *peer = peer_find(node, &info->uuid);
    if (!peer || info->incarnation < peer->info.incarnation || !info->address[0]) {
        return;
    }
    runs(peer, info->software, info->features);
    if (info->incarnation > peer->info.incarnation) {
        struct kith_member_news news = {.incarnation = info->incarnation,
                                        .address = info->address,
                                        .software = info->software,
                                        .features = info->features};
        members_moved(node, peer, &news);
        swim_started_again(node, peer);
    }
}

static void member_fill(const struct kith_node *node, const struct peer *peer,
                        struct kith_member_info *ret_info)
{
    *ret_info = peer->info;
    ret_info->up = peer_alive(peer);
    ret_info->seen_ms_ago = peer->seen_ms > 0 ? node->now_ms - peer->seen_ms : UINT64_MAX;
}

uint32_t members_all(struct kith_node *node, const struct kith_member_info **ret_members)
{
    uint32_t count = node->peer_count + 1;
    struct kith_member_info *list = kith_arena_alloc(&node->arena, count * sizeof *list);
    *ret_members = list;
    if (!list) {
        return 0;
    }
    members_self(node, &list[0]);
    for (uint32_t i = 1; i < count; i++) {
        member_fill(node, &node->peers[i - 1], &list[i]);
    }
    return count;
}

static void members_saved(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    node->members_writing = false;
    node->members_dirty = node->members_dirty || err != KITH_OK;
}

void members_encode(const struct kith_member_info *infos, uint32_t count, struct kith_buf *buf)
{
    kith_buf_put_u8(buf, MEMBERS_FORMAT);
    kith_buf_put_varint(buf, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct kith_member_info *info = &infos[i];
        kith_buf_put(buf, info->uuid.bytes, sizeof info->uuid.bytes);
        kith_buf_put_varint(buf, info->incarnation);
        kith_buf_put_sized(buf, kith_bytes_make(info->address, strlen(info->address)));
    }
    meta_seal(buf);
}

void members_save(struct kith_node *node)
{
    if (!node->members_dirty || node->members_writing || !node->has_cluster) {
        return;
    }
    const struct kith_member_info *infos = NULL;
    uint32_t count = members_all(node, &infos);
    if (count == 0) {
        return; /* no memory: it stays dirty and a later step tries again */
    }
    struct kith_buf buf;
    kith_buf_init(&buf);
    members_encode(infos, count, &buf);
    if (!buf.failed && meta_put(node, KITH_META_MEMBERS, kith_buf_bytes(&buf), members_saved, 0) ==
                           KITH_OK) {
        node->members_dirty = false;
        node->members_writing = true;
    }
    kith_buf_release(&buf);
}

enum kith_err members_load(struct kith_node *node, struct kith_bytes bytes,
                           struct kith_error *error)
{
    if (bytes.size == 0) {
        return KITH_OK;
    }
    enum kith_err err = meta_unseal(&bytes);
    if (err != KITH_OK) {
        return kith_error_set(error, err, "the membership records are damaged");
    }
    struct kith_reader reader;
    kith_reader_init(&reader, bytes);
    if (kith_read_u8(&reader) != MEMBERS_FORMAT) {
        return kith_error_set(error, KITH_EVERSION, "the membership records have another format");
    }
    uint64_t count = kith_read_varint(&reader);
    for (uint64_t i = 0; i < count && !reader.failed; i++) {
        struct kith_member_info info;
        memset(&info, 0, sizeof info);
        const uint8_t *uuid = kith_read(&reader, sizeof info.uuid.bytes);
        info.incarnation = kith_read_varint(&reader);
        struct kith_bytes address = kith_read_sized(&reader, KITH_ADDRESS_SIZE - 1);
        if (uuid && address.size > 0) {
            memcpy(info.uuid.bytes, uuid, sizeof info.uuid.bytes);
            memcpy(info.address, address.data, address.size);
            members_learn(node, &info);
        }
    }
    if (!kith_reader_done(&reader)) {
        return kith_error_set(error, KITH_EFORMAT, "the membership records are malformed");
    }
    node->members_dirty = false;
    return KITH_OK;
}
