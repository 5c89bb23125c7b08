/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stddef.h>

#include "wire/wire_impl.h"

/* One line a field. T is the struct that the table describes. */
#define FIELD(n, t, member, ex, sz, mx, sb) \
    {n, t, offsetof(struct T, member), ex, sz, mx, sb, #member}
#define U32(n, member, max) FIELD(n, WIRE_U32, member, 0, 0, max, NULL)
#define U64(n, member) FIELD(n, WIRE_U64, member, 0, 0, 0, NULL)
#define BOOL(n, member) FIELD(n, WIRE_BOOL, member, 0, 0, 1, NULL)
#define U8(n, member) FIELD(n, WIRE_U8, member, 0, 0, UINT8_MAX, NULL)
#define FIXED64(n, member) FIELD(n, WIRE_FIXED64, member, 0, 0, 0, NULL)
#define ARRAY(n, member) FIELD(n, WIRE_ARRAY, member, 0, sizeof(((struct T *)0)->member), 0, NULL)
#define BYTES(n, member, max) FIELD(n, WIRE_BYTES, member, 0, 0, max, NULL)
#define STRING(n, member, max) FIELD(n, WIRE_STRING, member, 0, 0, max, NULL)
#define TEXT(n, member) FIELD(n, WIRE_TEXT, member, 0, sizeof(((struct T *)0)->member), 0, NULL)
#define SUB(n, member, desc) FIELD(n, WIRE_SUB, member, 0, 0, 0, &desc)
#define SUB_IF(n, member, has, desc) \
    FIELD(n, WIRE_SUB_IF, member, offsetof(struct T, has), 0, 0, &desc)
#define SUBS(n, member, cnt, max, desc) \
    FIELD(n, WIRE_SUBS, member, offsetof(struct T, cnt), 0, max, &desc)
#define ARRAYS(n, member, cnt, max) \
    FIELD(n, WIRE_ARRAYS, member, offsetof(struct T, cnt), sizeof(*((struct T *)0)->member), max, NULL)
#define BYTESES(n, member, cnt, max, each) \
    FIELD(n, WIRE_BYTESES, member, offsetof(struct T, cnt), each, max, NULL)

#define DESC(var, proto_name, lists, strings)                                              \
    _Static_assert(sizeof(var##_fields) / sizeof(var##_fields[0]) <=                           \
                       ((lists) ? WIRE_LIST_FIELDS_MAX : WIRE_FIELDS_MAX), "too many fields"); \
    static const struct wire_desc var##_desc = {                                               \
        proto_name, sizeof(struct T), sizeof(var##_fields) / sizeof(var##_fields[0]),      \
        lists, strings, var##_fields}
#define ADDRESS_MAX (KITH_ADDRESS_SIZE - 1)
#define ZONE_MAX (KITH_ZONE_SIZE - 1)
#define CLUSTER_NAME_MAX (sizeof(((struct kith_cluster *)0)->name) - 1)
#define ERR_MAX 255u /* numbers of err.h; one that a newer peer knows passes too */

#define T kith_status
static const struct wire_field status_fields[] = {
    U32(1, err, ERR_MAX), STRING(2, message, KITH_ERROR_MESSAGE_SIZE - 1)};
DESC(status, "Status", false, true);
#undef T

#define T kith_table_id
static const struct wire_field table_id_fields[] = {
    U64(1, epoch), U64(2, version), ARRAY(3, hash)};
DESC(table_id, "TableId", false, false);
#undef T

#define T kith_dot
static const struct wire_field dot_fields[] = {
    FIXED64(1, actor.run), U64(2, actor.epoch), U64(3, counter)};
DESC(dot, "Dot", false, false);
#undef T

#define T kith_member_info
static const struct wire_field member_fields[] = {
    ARRAY(1, uuid), U64(2, incarnation), TEXT(3, address), TEXT(4, zone),
    U32(5, weight, KITH_WEIGHT_MAX), BOOL(6, up), U64(7, seen_ms_ago), TEXT(8, software),
    U64(9, features)};
DESC(member, "MemberInfo", false, false);
#undef T

#define T kith_member_news
static const struct wire_field news_fields[] = {
    ARRAY(1, uuid), U64(2, incarnation), U64(3, said), U32(4, state, KITH_DOWN), ARRAY(5, by),
    STRING(6, address, ADDRESS_MAX), STRING(7, software, 31), FIXED64(8, check), U64(9, features)};
DESC(news, "MemberNews", false, true);
#undef T

#define T kith_hello
static const struct wire_field hello_fields[] = {
    U32(1, protocol.newest, UINT32_MAX), U64(2, protocol.features), U32(3, role, KITH_ROLE_NODE),
    ARRAY(4, cluster), ARRAY(5, node), U64(6, incarnation), STRING(7, address, ADDRESS_MAX),
    STRING(8, software, KITH_SOFTWARE_MAX), U32(9, protocol.oldest, UINT32_MAX)};
DESC(hello, "Hello", false, true);
#undef T

#define T kith_table_req
static const struct wire_field table_req_fields[] = {
    SUB(1, known, table_id_desc)};
DESC(table_req, "TableReq", false, false);
#undef T

#define T kith_table_res
static const struct wire_field table_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX),
    SUBS(3, members, member_count, KITH_MEMBERS_MAX, member_desc)};
DESC(table_res, "TableRes", true, true);
#undef T

#define T kith_put_update
static const struct wire_field put_update_fields[] = {
    BYTES(1, name, KITH_NAME_MAX), BYTES(2, context, KITH_ROW_STATE_MAX), BOOL(3, has_sibling),
    U8(4, kind), ARRAYS(5, refs, ref_count, KITH_REFS_MAX),
    BYTES(6, value, KITH_INLINE_VALUE_MAX)};
DESC(put_update, "PutUpdate", true, false);
#undef T

#define T kith_put_req
static const struct wire_field put_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS), ARRAY(3, request),
    BOOL(4, retry), U32(5, durability, KITH_DURABLE_DISK), U32(6, w, KITH_REPLICAS_MAX),
    ARRAY(7, group), BYTES(8, writer, KITH_WRITER_MAX),
    SUBS(9, updates, update_count, KITH_BATCH_MAX, put_update_desc),
    BOOL(10, strict), U32(11, w_min, KITH_REPLICAS_MAX), BOOL(12, fallback),
    U32(13, level, KITH_LEVELS - 1), STRING(14, zone, ZONE_MAX)};
DESC(put_req, "PutReq", true, true);
#undef T

#define T kith_put_result
static const struct wire_field put_result_fields[] = {
    SUB(1, dot, dot_desc), BYTES(2, context, KITH_ROW_STATE_MAX), FIXED64(3, time)};
DESC(put_result, "PutResult", false, false);
#undef T

#define T kith_put_res
static const struct wire_field put_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX),
    U32(3, copies, KITH_MEMBERS_MAX),
    SUBS(4, results, result_count, KITH_BATCH_MAX, put_result_desc),
    U32(5, owners, KITH_MEMBERS_MAX), BOOL(6, settled)};
DESC(put_res, "PutRes", true, true);
#undef T

#define T kith_get_req
static const struct wire_field get_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS), BOOL(3, digest),
    ARRAY(4, group), BYTESES(5, names, name_count, KITH_NAMES_MAX, KITH_NAME_MAX),
    BOOL(6, fallback)};
DESC(get_req, "GetReq", true, false);
#undef T

#define T kith_got_row
static const struct wire_field got_row_fields[] = {
    BYTES(1, name, KITH_NAME_MAX), ARRAY(2, hash), BYTES(3, state, KITH_ROW_STATE_MAX)};
DESC(got_row, "GotRow", false, false);
#undef T

#define T kith_get_res
static const struct wire_field get_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX),
    SUBS(3, rows, row_count, KITH_NAMES_MAX, got_row_desc)};
DESC(get_res, "GetRes", true, true);
#undef T

#define T kith_scan_req
static const struct wire_field scan_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS), ARRAY(3, group),
    BOOL(4, has_after), BYTES(5, after, KITH_NAME_MAX), U32(6, max_rows, KITH_PAGE_ROWS_MAX),
    U32(7, max_bytes, KITH_PAGE_BYTES_MAX), BOOL(8, fallback)};
DESC(scan_req, "ScanReq", false, false);
#undef T

#define T kith_scan_res
static const struct wire_field scan_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX), BOOL(3, more),
    SUBS(4, rows, row_count, KITH_PAGE_ROWS_MAX, got_row_desc)};
DESC(scan_res, "ScanRes", true, true);
#undef T

#define T kith_repair_req
static const struct wire_field repair_req_fields[] = {
    ARRAY(1, group), ARRAY(2, from),
    BYTESES(3, names, name_count, KITH_NAMES_MAX, KITH_NAME_MAX)};
DESC(repair_req, "RepairReq", true, false);
#undef T

#define T kith_relay_to
static const struct wire_field relay_to_fields[] = {
    ARRAY(1, node), U64(2, id)};
DESC(relay_to, "RelayTo", false, false);
#undef T

#define T kith_chunk_put_req
static const struct wire_field chunk_put_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS), ARRAY(3, id),
    ARRAY(4, checksum), U32(5, durability, KITH_DURABLE_DISK),
    ARRAYS(6, refs, ref_count, KITH_REFS_MAX), BOOL(7, thin),
    SUBS(8, relays, relay_count, KITH_RELAY_TO_MAX, relay_to_desc)};
DESC(chunk_put_req, "ChunkPutReq", true, false);
#undef T

#define T kith_chunk_get_req
static const struct wire_field chunk_get_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS), ARRAY(3, id),
    U32(4, offset, KITH_CHUNK_MAX), U32(5, size, KITH_CHUNK_MAX), BOOL(6, refs)};
DESC(chunk_get_req, "ChunkGetReq", false, false);
#undef T

#define T kith_chunk_res
static const struct wire_field chunk_res_fields[] = {
    SUB(1, status, status_desc), ARRAY(2, checksum), U32(3, chunk_size, KITH_CHUNK_MAX),
    ARRAYS(4, refs, ref_count, KITH_REFS_MAX)};
DESC(chunk_res, "ChunkRes", true, true);
#undef T

#define T kith_chunk_sync_req
static const struct wire_field chunk_sync_req_fields[] = {
    U32(1, timeout_ms, KITH_TIMEOUT_MAX_MS), ARRAYS(2, ids, id_count, KITH_SYNC_IDS_MAX),
    SUB(3, table, table_id_desc), BOOL(4, lease)};
DESC(chunk_sync_req, "ChunkSyncReq", true, false);
#undef T

#define T kith_chunk_sync_res
static const struct wire_field chunk_sync_res_fields[] = {
    SUB(1, status, status_desc), ARRAYS(2, missing, missing_count, KITH_SYNC_IDS_MAX)};
DESC(chunk_sync_res, "ChunkSyncRes", true, true);
#undef T

#define T kith_replica_row
static const struct wire_field replica_row_fields[] = {
    BYTES(1, name, KITH_NAME_MAX), BYTES(2, state, KITH_ROW_STATE_MAX),
    SUB_IF(3, dot, has_dot, dot_desc)};
DESC(replica_row, "ReplicaRow", false, false);
#undef T

#define T kith_replicate_req
static const struct wire_field replicate_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS), ARRAY(3, request),
    U32(4, durability, KITH_DURABLE_DISK), BOOL(5, has_hint), ARRAY(6, hint_for), ARRAY(7, group),
    SUBS(8, rows, row_count, KITH_BATCH_MAX, replica_row_desc), BOOL(9, may_wait),
    BOOL(10, custody), BOOL(11, retry),
    SUBS(12, relays, relay_count, KITH_RELAY_TO_MAX, relay_to_desc)};
DESC(replicate_req, "ReplicateReq", true, false);
#undef T

#define T kith_replicate_res
static const struct wire_field replicate_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX), ARRAY(3, node)};
DESC(replicate_res, "ReplicateRes", false, true);
#undef T

#define T kith_request_find_req
static const struct wire_field request_find_req_fields[] = {
    ARRAY(1, group), ARRAY(2, request),
    BYTESES(3, names, name_count, KITH_NAMES_MAX, KITH_NAME_MAX)};
DESC(request_find_req, "RequestFindReq", true, false);
#undef T

#define T kith_request_find_res
static const struct wire_field request_find_res_fields[] = {
    SUB(1, status, status_desc), BOOL(2, found),
    SUBS(3, rows, row_count, KITH_NAMES_MAX, replica_row_desc)};
DESC(request_find_res, "RequestFindRes", true, true);
#undef T

#define T kith_ping
static const struct wire_field ping_fields[] = {
    BOOL(1, is_answer), SUB(2, table, table_id_desc),
    U64(3, wall_ms),    SUBS(4, members, member_count, KITH_MEMBERS_MAX, member_desc),
    FIXED64(5, digest), SUBS(6, news, news_count, KITH_PING_NEWS_MAX, news_desc),
    U32(7, space, 255), BOOL(8, moved)};
DESC(ping, "Ping", true, false);
#undef T

#define T kith_probe_req
static const struct wire_field probe_req_fields[] = {
    ARRAY(1, target)};
DESC(probe_req, "ProbeReq", false, false);
#undef T

#define T kith_probe_res
static const struct wire_field probe_res_fields[] = {
    BOOL(1, alive)};
DESC(probe_res, "ProbeRes", false, false);
#undef T

#define T kith_members_sync
static const struct wire_field members_sync_fields[] = {
    SUB(1, table, table_id_desc), BOOL(2, is_answer), BYTES(3, sums, 8 * KITH_SYNC_SUMS),
    SUBS(4, news, news_count, KITH_MEMBERS_MAX, news_desc)};
DESC(members_sync, "MembersSync", true, false);
#undef T

#define T kith_init_req
static const struct wire_field init_req_fields[] = {
    STRING(1, name, CLUSTER_NAME_MAX), U32(2, partitions, KITH_PARTITIONS_MAX),
    U32(3, replicas, KITH_REPLICAS_MAX), STRING(4, zone, ZONE_MAX),
    U32(5, weight, KITH_WEIGHT_MAX)};
DESC(init_req, "InitReq", false, true);
#undef T

#define T kith_join_cmd
static const struct wire_field join_cmd_fields[] = {
    STRING(1, through, ADDRESS_MAX), STRING(2, zone, ZONE_MAX), U32(3, weight, KITH_WEIGHT_MAX)};
DESC(join_cmd, "JoinCmd", false, true);
#undef T

#define T kith_admin_res
static const struct wire_field admin_res_fields[] = {
    SUB(1, status, status_desc)};
DESC(admin_res, "AdminRes", false, true);
#undef T

#define T kith_revoked_cmd
static const struct wire_field revoked_cmd_fields[] = {BYTES(1, list, KITH_REVOKED_MAX)};
DESC(revoked_cmd, "RevokedCmd", false, false);
#undef T

#define T kith_join_req
static const struct wire_field join_req_fields[] = {
    SUB(1, member, member_desc)};
DESC(join_req, "JoinReq", false, false);
#undef T

#define T kith_cluster
static const struct wire_field cluster_fields[] = {
    ARRAY(1, uuid), TEXT(2, name), U32(3, partitions, KITH_PARTITIONS_MAX),
    U32(4, replicas, KITH_REPLICAS_MAX), ARRAY(5, secret)};
DESC(cluster, "ClusterInfo", false, false);
#undef T

#define T kith_join_res
static const struct wire_field join_res_fields[] = {
    SUB(1, status, status_desc), SUB(2, cluster, cluster_desc),
    BYTES(3, table, KITH_TABLE_BYTES_MAX),
    SUBS(4, members, member_count, KITH_MEMBERS_MAX, member_desc)};
DESC(join_res, "JoinRes", true, true);
#undef T

#define T kith_ballot
static const struct wire_field ballot_fields[] = {
    U64(1, round), ARRAY(2, proposer)};
DESC(ballot, "Ballot", false, false);
#undef T

#define T kith_decide
static const struct wire_field decide_fields[] = {
    U32(1, phase, KITH_DECIDE_LAST), SUB(2, status, status_desc), U64(3, epoch),
    U64(4, version), SUB(5, ballot, ballot_desc), SUB(6, accepted, ballot_desc),
    BYTES(7, table, KITH_TABLE_BYTES_MAX)};
DESC(decide, "Decide", false, true);
#undef T

#define T kith_status_req
static const struct wire_field status_req_fields[] = {
    U32(1, unused, UINT32_MAX)};
DESC(status_req, "StatusReq", false, false);
#undef T

#define T kith_sweep_status
static const struct wire_field sweep_status_fields[] = {
    U64(1, condemned), U64(2, swept), U64(3, swept_bytes), U64(4, ms_ago), STRING(5, waits, 255),
    U64(6, reaped), U64(7, floors), U64(8, reap_ms_ago), STRING(9, reap_waits, 255)};
DESC(sweep_status, "SweepStatus", false, true);
#undef T

#define T kith_duration_bucket
static const struct wire_field duration_fields[] = {U64(1, up_to_ns), U64(2, count)};
DESC(duration, "DurationBucket", false, false);
#undef T

#define T kith_node_status
static const struct wire_field node_status_fields[] = {ARRAY(1, node),
                                                       ARRAY(2, cluster),
                                                       STRING(3, cluster_name, CLUSTER_NAME_MAX),
                                                       STRING(4, software, KITH_SOFTWARE_MAX),
                                                       SUB(5, table, table_id_desc),
                                                       U32(6, partitions, KITH_PARTITIONS_MAX),
                                                       U32(7, replicas, KITH_REPLICAS_MAX),
                                                       U64(8, rows),
                                                       U64(9, chunks),
                                                       U64(10, chunk_bytes),
                                                       U64(11, disk_total_bytes),
                                                       U64(12, disk_free_bytes),
                                                       U64(13, puts),
                                                       U64(14, gets),
                                                       U64(15, scans),
                                                       U64(16, uptime_ms),
                                                       U64(17, hints),
                                                       U64(18, hint_bytes),
                                                       U64(19, hint_oldest_ms),
                                                       U64(20, custody),
                                                       U64(21, thin_rows),
                                                       U64(22, row_bytes),
                                                       U32(23, pairs, UINT32_MAX),
                                                       U32(24, pairs_never, UINT32_MAX),
                                                       U64(25, pairs_oldest_ms),
                                                       U32(26, space, 255),
                                                       U32(27, move_gains, UINT32_MAX),
                                                       U32(28, move_complete, UINT32_MAX),
                                                       U64(29, move_bytes),
                                                       BOOL(30, moved),
                                                       SUB(31, sweep, sweep_status_desc),
                                                       U32(32, refill_total, UINT32_MAX),
                                                       U32(33, refill_left, UINT32_MAX),
                                                       U32(34, aged_left, UINT32_MAX),
                                                       U64(35, conflicts),
                                                       U64(36, disk_id),
                                                       U64(37, disk_room_bytes)};
DESC(node_status, "NodeStatus", false, true);
#undef T

#define T kith_status_res
static const struct wire_field status_res_fields[] = {
    SUB(1, status, status_desc), SUB(2, node, node_status_desc),
    SUBS(3, members, member_count, KITH_MEMBERS_MAX, member_desc),
    SUBS(4, read_times, read_time_count, KITH_DURATIONS_MAX, duration_desc),
    SUBS(5, write_times, write_time_count, KITH_DURATIONS_MAX, duration_desc)};
DESC(status_res, "StatusRes", true, true);
#undef T

#define T kith_watch_req
static const struct wire_field watch_req_fields[] = {
    SUB(1, table, table_id_desc), ARRAY(2, group), U32(3, lease_ms, KITH_WATCH_LEASE_MAX_MS),
    U64(4, own), BOOL(5, has_group), ARRAYS(6, ended, ended_count, KITH_WATCH_ENDED_MAX)};
DESC(watch_req, "WatchReq", true, false);
#undef T

#define T kith_watch_res
static const struct wire_field watch_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX), U64(3, session)};
DESC(watch_res, "WatchRes", false, true);
#undef T

#define T kith_watch_event
static const struct wire_field watch_event_fields[] = {
    ARRAY(1, group), BOOL(2, ended), BYTESES(3, names, name_count, KITH_NAMES_MAX, KITH_NAME_MAX)};
DESC(watch_event, "WatchEvent", true, false);
#undef T

#define T kith_sums_req
static const struct wire_field sums_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, partition, KITH_PARTITIONS_MAX - 1), ARRAY(3, root),
    BOOL(4, chunks), BOOL(5, hurry)};
DESC(sums_req, "SumsReq", false, false);
#undef T

#define T kith_sums_res
static const struct wire_field sums_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX),
    ARRAYS(3, leaves, leaf_count, KITH_LEAF_SUMS_MAX), BOOL(4, refilling)};
DESC(sums_res, "SumsRes", true, true);
#undef T

#define T kith_key
static const struct wire_field leaf_key_fields[] = {ARRAY(1, group), BYTES(2, name, KITH_NAME_MAX)};
DESC(leaf_key, "LeafKey", false, false);
#undef T

#define T kith_leaf_req
static const struct wire_field leaf_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, partition, KITH_PARTITIONS_MAX - 1), ARRAY(3, leaves),
    ARRAYS(4, have, have_count, KITH_LEAF_HASHES_MAX), BOOL(5, sums), ARRAY(6, root),
    BOOL(7, part), SUB_IF(8, after, has_after, leaf_key_desc),
    SUB_IF(9, until, has_until, leaf_key_desc)};
DESC(leaf_req, "LeafReq", true, false);
#undef T

#define T kith_leaf_row
static const struct wire_field leaf_row_fields[] = {
    ARRAY(1, group), BYTES(2, name, KITH_NAME_MAX), BYTES(3, state, KITH_ROW_STATE_MAX)};
DESC(leaf_row, "LeafRow", false, false);
#undef T

#define T kith_leaf_res
static const struct wire_field leaf_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX), BOOL(3, more),
    SUBS(4, rows, row_count, KITH_LEAF_ROWS_MAX, leaf_row_desc),
    ARRAYS(5, hashes, hash_count, KITH_LEAF_ROWS_MAX),
    ARRAYS(6, sums, sum_count, KITH_LEAF_SUMS_MAX), BOOL(7, part), ARRAY(8, part_sum)};
DESC(leaf_res, "LeafRes", true, true);
#undef T

#define T kith_chunk_list_req
static const struct wire_field chunk_list_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, partition, KITH_PARTITIONS_MAX - 1), ARRAY(3, leaves),
    BOOL(4, has_after), ARRAY(5, after)};
DESC(chunk_list_req, "ChunkListReq", false, false);
#undef T

#define T kith_chunk_entry
static const struct wire_field chunk_entry_fields[] = {
    ARRAY(1, id), ARRAY(2, checksum), U32(3, size, KITH_CHUNK_MAX)};
DESC(chunk_entry, "ChunkEntry", false, false);
#undef T

#define T kith_chunk_list_res
static const struct wire_field chunk_list_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX), BOOL(3, more),
    SUBS(4, chunks, chunk_count, KITH_CHUNK_LIST_MAX, chunk_entry_desc)};
DESC(chunk_list_res, "ChunkListRes", true, true);
#undef T

#define T kith_groups_req
static const struct wire_field groups_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, timeout_ms, KITH_TIMEOUT_MAX_MS),
    U32(3, partition, KITH_PARTITIONS_MAX - 1), U32(4, volume, UINT32_MAX), BOOL(5, has_after),
    ARRAY(6, after)};
DESC(groups_req, "GroupsReq", false, false);
#undef T

#define T kith_groups_res
static const struct wire_field groups_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX), BOOL(3, more),
    ARRAYS(4, groups, group_count, KITH_GROUPS_MAX)};
DESC(groups_res, "GroupsRes", true, true);
#undef T
#define T kith_handoff_req
static const struct wire_field handoff_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, partition, KITH_PARTITIONS_MAX - 1),
    SUBS(3, rows, row_count, KITH_LEAF_ROWS_MAX, leaf_row_desc)};
DESC(handoff_req, "HandoffReq", true, false);
#undef T

#define T kith_handoff_res
static const struct wire_field handoff_res_fields[] = {
    SUB(1, status, status_desc), BYTES(2, table, KITH_TABLE_BYTES_MAX),
    U32(3, wait_ms, KITH_TIMEOUT_MAX_MS)};
DESC(handoff_res, "HandoffRes", false, true);
#undef T

#define T kith_sweep_chunk
static const struct wire_field sweep_chunk_fields[] = {ARRAY(1, id), FIXED64(2, stamp)};
DESC(sweep_chunk, "SweepChunk", false, false);
#undef T

#define T kith_sweep_req
static const struct wire_field sweep_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, step, KITH_SWEEP_CLEAR),
    U32(3, partition, KITH_PARTITIONS_MAX - 1),
    SUBS(4, chunks, chunk_count, KITH_SWEEP_MAX, sweep_chunk_desc)};
DESC(sweep_req, "SweepReq", true, false);
#undef T

#define T kith_sweep_res
static const struct wire_field sweep_res_fields[] = {
    SUB(1, status, status_desc), ARRAYS(2, kept, kept_count, KITH_SWEEP_MAX)};
DESC(sweep_res, "SweepRes", true, true);
#undef T

#define T kith_lease_req
static const struct wire_field lease_req_fields[] = {
    SUB(1, table, table_id_desc), ARRAYS(2, ids, id_count, KITH_SWEEP_MAX)};
DESC(lease_req, "LeaseReq", true, false);
#undef T

#define T kith_lease_res
static const struct wire_field lease_res_fields[] = {
    SUB(1, status, status_desc), ARRAYS(2, held, held_count, KITH_SWEEP_MAX),
    ARRAYS(3, gone, gone_count, KITH_SWEEP_MAX)};
DESC(lease_res, "LeaseRes", true, true);
#undef T

#define T kith_floor_entry
static const struct wire_field floor_entry_fields[] = {FIXED64(1, run), U64(2, counter)};
DESC(floor_entry, "FloorEntry", false, false);
#undef T

#define T kith_reap_req
static const struct wire_field reap_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, step, KITH_REAP_REMOVE),
    U32(3, partition, KITH_PARTITIONS_MAX - 1), FIXED64(4, stamp), FIXED64(5, run),
    SUBS(6, entries, entry_count, KITH_FLOOR_RUNS_MAX, floor_entry_desc),
    ARRAYS(7, sums, sum_count, KITH_LEAF_SUMS_MAX)};
DESC(reap_req, "ReapReq", true, false);
#undef T

#define T kith_reap_res
static const struct wire_field reap_res_fields[] = {
    SUB(1, status, status_desc), U8(2, verdict), FIXED64(3, run), BOOL(4, owes),
    SUBS(5, entries, entry_count, KITH_FLOOR_RUNS_MAX, floor_entry_desc), ARRAY(6, equal),
    U32(7, reaped, UINT32_MAX), BOOL(8, more)};
DESC(reap_res, "ReapRes", true, true);
#undef T

#define T kith_repair_cmd
static const struct wire_field repair_cmd_fields[] = {
    U32(1, action, KITH_SCRUB_STOP), U64(2, rate)};
DESC(repair_cmd, "RepairCmd", false, false);
#undef T

#define T kith_repair_peer
static const struct wire_field repair_peer_fields[] = {
    ARRAY(1, peer), STRING(2, address, ADDRESS_MAX), BOOL(3, up), U32(4, pairs, UINT32_MAX),
    U32(5, compared, UINT32_MAX), U32(6, running, UINT32_MAX), U64(7, rows), U64(8, chunks),
    U64(9, bytes), U64(10, tree_bytes)};
DESC(repair_peer, "RepairPeer", false, true);
#undef T

#define T kith_repair_scrub
static const struct wire_field repair_scrub_fields[] = {
    BOOL(1, asked), U64(2, period_ms), U32(3, left, UINT32_MAX),
    U32(4, partitions, KITH_PARTITIONS_MAX), FIXED64(5, begun), FIXED64(6, ended), U64(7, rows),
    U64(8, chunks), U64(9, bytes), U64(10, damaged), U64(11, wrong),
    U64(12, eta_ms), U64(13, ended_damaged)};
DESC(repair_scrub, "RepairScrub", false, false);
#undef T

#define T kith_repair_res
static const struct wire_field repair_res_fields[] = {
    SUB(1, status, status_desc), BOOL(2, stopped), U64(3, rate), U64(4, since_ms), U64(5, found),
    U64(6, bad_rows), U64(7, bad_chunks), SUB(8, scrub, repair_scrub_desc),
    SUBS(9, peers, peer_count, KITH_MEMBERS_MAX, repair_peer_desc)};
DESC(repair_res, "RepairRes", true, true);
#undef T

#define T kith_explain_req
static const struct wire_field explain_req_fields[] = {
    ARRAY(1, group), BYTES(2, name, KITH_NAME_MAX)};
DESC(explain_req, "ExplainReq", false, false);
#undef T

#define T kith_explain_pair
static const struct wire_field explain_pair_fields[] = {
    ARRAY(1, node), U64(2, rows_ms_ago), U64(3, chunks_ms_ago)};
DESC(explain_pair, "ExplainPair", false, false);
#undef T

#define T kith_explain_res
static const struct wire_field explain_res_fields[] = {
    SUB(1, status, status_desc), SUBS(2, pairs, pair_count, KITH_REPLICAS_MAX, explain_pair_desc)};
DESC(explain_res, "ExplainRes", true, true);
#undef T

#define T kith_plan_req
static const struct wire_field plan_req_fields[] = {BYTES(1, table, KITH_TABLE_BYTES_MAX)};
DESC(plan_req, "PlanReq", false, false);
#undef T

#define T kith_plan_res
static const struct wire_field plan_res_fields[] = {SUB(1, status, status_desc),
                                                    BYTES(2, table, KITH_TABLE_BYTES_MAX)};
DESC(plan_res, "PlanRes", false, true);
#undef T

#define T kith_offer_req
static const struct wire_field offer_req_fields[] = {
    SUB(1, table, table_id_desc), U32(2, partition, KITH_PARTITIONS_MAX - 1),
    SUB(3, member, member_desc)};
DESC(offer_req, "OfferReq", false, false);
#undef T

#define T kith_offer_res
static const struct wire_field offer_res_fields[] = {
    SUB(1, status, status_desc), SUB(2, table, table_id_desc),
    U32(3, partition, KITH_PARTITIONS_MAX - 1), BOOL(4, done)};
DESC(offer_res, "OfferRes", false, true);
#undef T

static const struct wire_desc *const descs[] = {
#define X(name, number, member, type) [number] = &member##_desc,
    KITH_MSG_MAP(X)
#undef X
};

const struct wire_desc *wire_desc_of(enum kith_msg_kind kind)
{
    return (size_t)kind < sizeof descs / sizeof descs[0] ? descs[kind] : NULL;
}

/* All members of a union begin where it does. */
void *wire_body_of(struct kith_msg *msg)
{
    return &msg->u;
}
