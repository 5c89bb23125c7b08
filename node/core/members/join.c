/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * join.c - how a node comes to a cluster: init makes one, join asks a member of one.
 *
 *     INIT_REQ -> cluster, first table --------------------------+
 *     JOIN_CMD or --join -> connect -> HELLO -> JOIN_REQ         v
 *                              ^ retried    -> JOIN_RES -> install: TABLE, MEMBERS, CLUSTER on disk
 *                                                          in this order -> READY
 *
 * The cluster record is written last and is what counts at a start: a node that is killed in the
 * middle has no cluster and joins again; the members know it already and answer with the table. */
#include <string.h>

#include "core/internal.h"
#include "data/balance.h"

#define JOIN_RETRY_MS      250u   /* after "busy" or "not ready"; half as much more at random, so
                                     that two that were in each other's way do not meet again */
#define JOIN_RETRY_LONG_MS 5000u  /* after a refusal, for a node started with --join */
#define JOIN_CONTACT_MS    20000u /* a contact that has not answered by then is given up */
#define ADMIN_TIMEOUT_MS   60000u /* for an administrator who waits */

/* ---- Life ---- */

enum kith_err join_new(struct kith_node *node, const struct kith_node_options *options,
                       struct kith_bytes decide, struct kith_error *error)
{
    node->join = kith_calloc(1, sizeof *node->join);
    if (!node->join) {
        return kith_error_set(error, KITH_ENOMEM, "no memory for a node");
    }
    struct join_state *join = node->join;
    kith_proposer_init(&join->proposer, &node->uuid, node->incarnation);
    enum kith_err err = kith_acceptor_decode(&join->acceptor, decide);
    if (err == KITH_ENOMEM) {
        return kith_error_set(error, err, "no memory for a node");
    }
    /* its promises are lost: others decide, where there are others */
    bool others = node->has_cluster && node->table->member_count > 1;
    join->may_not_vote = (err != KITH_OK || node->refill.mute) && others;
    join->proposer_ms = UINT64_MAX;
    if (options->join && options->join[0] && !node->has_cluster) {
        if (strlen(options->join) >= sizeof join->through) {
            return kith_error_set(error, KITH_EINVAL, "the address to join through is too long");
        }
        memcpy(join->through, options->join, strlen(options->join) + 1);
        join->wanted = true;
        join->by_option = true;
    }
    return KITH_OK;
}

void join_free(struct kith_node *node)
{
    struct join_state *join = node->join;
    if (!join) {
        return;
    }
    kith_acceptor_release(&join->acceptor);
    kith_proposer_release(&join->proposer);
    kith_table_drop(join->table);
    kith_buf_release(&join->table_bytes);
    kith_buf_release(&join->members_bytes);
    kith_free(join);
}

static void admin_answer(struct kith_node *node, enum kith_err err, const char *message)
{
    struct pending *pending = pending_get(node, node->join->admin);
    node->join->admin = 0;
    if (pending) {
        pending_refuse(node, pending, err, message);
        pending_end(node, pending);
    }
}

/* ---- Install ---- */

static void install_end(struct kith_node *node)
{
    struct join_state *join = node->join;
    join->installing = false;
    kith_table_drop(join->table);
    join->table = NULL;
    kith_buf_release(&join->table_bytes);
    kith_buf_release(&join->members_bytes);
}

static void install_failed(struct kith_node *node, enum kith_err err)
{
    install_end(node);
    node->join->retry_ms = node->now_ms + JOIN_RETRY_LONG_MS;
    admin_answer(node, err, "the node cannot store its records");
}

static void install_done(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    struct join_state *join = node->join;
    if (err == KITH_OK) {
        err = table_use(node, join->table, kith_buf_bytes(&join->table_bytes));
    }
    if (err != KITH_OK) {
        install_failed(node, err);
        return;
    }
    node->cluster = join->cluster;
    node->has_cluster = true;
    struct kith_error ignored; /* what we have made ourselves just now */
    if (members_load(node, kith_buf_bytes(&join->members_bytes), &ignored) == KITH_OK) {
        node->members_dirty = false;
    }
    join->wanted = false;
    if (join->contact != 0) {
        core_close(node, join->contact, "joined");
        conn_remove(node, join->contact);
        join->contact = 0;
    }
    install_end(node);
    node_ready(node);
    admin_answer(node, KITH_OK, "");
}

static void install_members_stored(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    struct kith_buf buf;
    kith_buf_init(&buf);
    meta_encode_cluster(&node->join->cluster, &buf);
    if (err == KITH_OK) {
        err = buf.failed ? KITH_ENOMEM
                         : meta_put(node, KITH_META_CLUSTER, kith_buf_bytes(&buf), install_done, 0);
    }
    kith_buf_release(&buf);
    if (err != KITH_OK) {
        install_failed(node, err);
    }
}

static void install_table_stored(struct kith_node *node, uint64_t arg, enum kith_err err)
{
    (void)arg;
    if (err == KITH_OK) {
        err = meta_put(node, KITH_META_MEMBERS, kith_buf_bytes(&node->join->members_bytes),
                       install_members_stored, 0);
    }
    if (err != KITH_OK) {
        install_failed(node, err);
    }
}

/* Takes the reference to table over. ENOMEM, ELIMIT: nothing has begun. */
static enum kith_err install(struct kith_node *node, const struct kith_cluster *cluster,
                             struct kith_table *table, const struct kith_member_info *members,
                             uint32_t member_count)
{
    struct join_state *join = node->join;
    KITH_ASSERT(!join->installing && !node->has_cluster);
    kith_buf_init(&join->table_bytes);
    kith_buf_init(&join->members_bytes);
    kith_table_encode(table, &join->table_bytes);
    members_encode(members, member_count, &join->members_bytes);
    join->cluster = *cluster;
    join->table = table;
    join->installing = true;
    enum kith_err err = KITH_ENOMEM;
    if (!join->table_bytes.failed && !join->members_bytes.failed) {
        err = meta_put(node, KITH_META_TABLE, kith_buf_bytes(&join->table_bytes),
                       install_table_stored, 0);
    }
    if (err != KITH_OK) {
        install_end(node);
    }
    return err;
}

/* ---- Init ---- */

static const char *init_check(struct kith_node *node, const struct kith_init_req *req)
{
    uint32_t q = req->partitions;
    if ((q & (q - 1)) != 0 || q > KITH_PARTITIONS_MAX) {
        return core_text(node, "partitions must be a power of two, at most %u",
                         KITH_PARTITIONS_MAX);
    }
    if (req->replicas > KITH_REPLICAS_MAX) {
        return core_text(node, "replicas must be 1 to %u", KITH_REPLICAS_MAX);
    }
    if (req->weight > KITH_WEIGHT_MAX) {
        return core_text(node, "weight must be 1 to %u", KITH_WEIGHT_MAX);
    }
    if (req->name && strlen(req->name) >= sizeof node->cluster.name) {
        return "the cluster's name is too long: 63 bytes at most";
    }
    if (req->zone && strlen(req->zone) >= KITH_ZONE_SIZE) {
        return "the zone's name is too long: 31 bytes at most";
    }
    return NULL;
}

static void random_fill(struct kith_node *node, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) {
        uint64_t word = core_random(node);
        for (size_t k = 0; k < sizeof word && i + k < size; k++) {
            bytes[i + k] = (uint8_t)(word >> (8 * k));
        }
    }
}

static void identity_set(struct kith_node *node, const char *zone, uint32_t weight)
{
    if (zone && zone[0]) {
        memset(node->zone, 0, sizeof node->zone);
        memcpy(node->zone, zone, strlen(zone));
    }
    if (weight > 0) {
        node->weight = weight;
    }
}

static bool admin_admit(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    if (node->has_cluster) {
        core_refuse(node, conn, msg, KITH_EEXIST,
                    core_text(node, "node %s is in cluster \"%s\" already", node->address,
                              node->cluster.name));
        return false;
    }
    if (node->join->installing || node->join->admin != 0 || node->join->wanted || !node->serving) {
        core_refuse(node, conn, msg, KITH_EBUSY, "the node is starting or joining already");
        return false;
    }
    return true;
}

static struct pending *admin_begin(struct kith_node *node, uint64_t conn,
                                   const struct kith_msg *msg)
{
    struct pending *pending = pending_new(node, PENDING_ADMIN, conn, msg, ADMIN_TIMEOUT_MS);
    if (!pending) {
        core_refuse_full(node, conn, msg);
        return NULL;
    }
    node->join->admin = pending->id;
    return pending;
}

void join_init_req(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_init_req *req = &msg->u.init_req;
    if (!admin_admit(node, conn, msg)) {
        return;
    }
    const char *wrong = init_check(node, req);
    if (wrong) {
        core_refuse(node, conn, msg, KITH_EINVAL, wrong);
        return;
    }
    identity_set(node, req->zone, req->weight);
    struct kith_cluster cluster;
    memset(&cluster, 0, sizeof cluster);
    random_fill(node, cluster.uuid.bytes, sizeof cluster.uuid.bytes);
    random_fill(node, cluster.secret, sizeof cluster.secret);
    cluster.partitions = req->partitions ? req->partitions : KITH_PARTITIONS_DEFAULT;
    cluster.replicas = req->replicas ? req->replicas : KITH_REPLICAS_DEFAULT;
    if (req->name) {
        memcpy(cluster.name, req->name, strlen(req->name));
    }
    struct kith_member_info info;
    members_self(node, &info);
    struct kith_member self;
    memset(&self, 0, sizeof self);
    self.uuid = node->uuid;
    memcpy(self.zone, node->zone, sizeof self.zone);
    self.weight = node->weight;
    struct kith_table *table = NULL;
    enum kith_err err = kith_balance(NULL, &cluster.uuid, cluster.partitions, cluster.replicas,
                                     &self, 1, &table);
    if (err == KITH_OK && admin_begin(node, conn, msg)) {
        err = install(node, &cluster, table, &info, 1);
        if (err != KITH_OK) {
            admin_answer(node, err, "the cluster cannot be made");
        }
    } else if (err == KITH_OK) {
        kith_table_drop(table);
    } else {
        core_refuse(node, conn, msg, err, "the first table cannot be made");
    }
}

/* ---- Join ---- */

void join_cmd(struct kith_node *node, uint64_t conn, const struct kith_msg *msg)
{
    const struct kith_join_cmd *cmd = &msg->u.join_cmd;
    struct join_state *join = node->join;
    if (!admin_admit(node, conn, msg)) {
        return;
    }
    if (!cmd->through || !cmd->through[0] || strlen(cmd->through) >= sizeof join->through ||
        cmd->weight > KITH_WEIGHT_MAX || (cmd->zone && strlen(cmd->zone) >= KITH_ZONE_SIZE)) {
        core_refuse(node, conn, msg, KITH_EINVAL, "address, zone or weight out of bounds");
        return;
    }
    if (!admin_begin(node, conn, msg)) {
        return;
    }
    identity_set(node, cmd->zone, cmd->weight);
    memcpy(join->through, cmd->through, strlen(cmd->through) + 1);
    join->wanted = true;
    join->by_option = false;
    join->retry_ms = node->now_ms;
    join_tick(node);
}

static void contact_drop(struct kith_node *node, const char *why)
{
    struct join_state *join = node->join;
    if (join->contact != 0) {
        core_close(node, join->contact, why);
        conn_remove(node, join->contact);
        join->contact = 0;
    }
    join->asked = false;
}

/* Something went wrong: `again_ms` from now once more, or an end for who waits. */
static void join_failed(struct kith_node *node, enum kith_err err, const char *text, bool final)
{
    struct join_state *join = node->join;
    contact_drop(node, "joining failed");
    uint64_t random = core_random(node);
    uint64_t pause_ms = final ? JOIN_RETRY_LONG_MS : JOIN_RETRY_MS;
    join->retry_ms = node->now_ms + pause_ms + random % (pause_ms / 2);
    const char *message = core_text(node, "joining through %s: %s", join->through, text);
    if (strncmp(join->last, message, sizeof join->last - 1) != 0) {
        strncpy(join->last, message, sizeof join->last - 1);
        core_log(node, final ? LEVEL_ERROR : LEVEL_INFO, "%s", message);
    }
    if (final && !join->by_option) {
        join->wanted = false;
        admin_answer(node, err, message);
    }
}

bool join_is_contact(const struct kith_node *node, uint64_t conn)
{
    return conn != 0 && node->join->contact == conn;
}

void join_opened(struct kith_node *node, uint64_t conn)
{
    conn_hello(node, conn);
}

void join_hello(struct kith_node *node, struct conn *conn, const struct kith_hello *hello)
{
    struct join_state *join = node->join;
    if (join->asked) {
        return;
    }
    if (kith_uuid_is_nil(&hello->cluster)) {
        join_failed(node, KITH_ENOTREADY, "that node has no cluster either", false);
        return;
    }
    join->asked = true;
    struct kith_msg *msg = core_send(node, conn->id, KITH_MSG_JOIN_REQ, 1);
    members_self(node, &msg->u.join_req.member);
}

void join_closed(struct kith_node *node, uint64_t conn, const char *reason)
{
    if (join_is_contact(node, conn)) {
        node->join->contact = 0;
        join_failed(node, KITH_EUNREACH, reason ? reason : "the connection ended", false);
    }
}

enum kith_err join_res(struct kith_node *node, struct conn *conn, const struct kith_msg *msg)
{
    struct join_state *join = node->join;
    const struct kith_join_res *res = &msg->u.join_res;
    if (!join_is_contact(node, conn->id) || !join->asked || join->installing || node->has_cluster) {
        return KITH_OK;
    }
    switch (res->status.err) {
    case KITH_OK:
        break;
    case KITH_EREFUSED:
    case KITH_EINVAL:
    case KITH_ECLUSTER:
    case KITH_EVERSION:
    case KITH_ELIMIT:
        join_failed(node, res->status.err, res->status.message, true);
        return KITH_OK;
    default:
        join_failed(node, res->status.err, res->status.message, false);
        return KITH_OK;
    }
    struct kith_table *table = NULL;
    enum kith_err err = kith_table_decode(res->table, &table);
    if (err == KITH_ENOMEM) {
        return err;
    }
    if (err != KITH_OK || !kith_uuid_equal(&table->cluster, &res->cluster.uuid) ||
        kith_table_find(table, &node->uuid) == KITH_NO_MEMBER ||
        table->partitions != res->cluster.partitions || res->member_count > KITH_MEMBERS_MAX) {
        kith_table_drop(table);
        join_failed(node, KITH_EFORMAT, "the answer makes no sense", true);
        return KITH_OK;
    }
    err = install(node, &res->cluster, table, res->members, res->member_count);
    if (err != KITH_OK) {
        join_failed(node, err, "no memory", false);
    }
    return KITH_OK;
}

void join_tick(struct kith_node *node)
{
    struct join_state *join = node->join;
    if (!join->wanted || join->installing || !node->serving) {
        return;
    }
    if (!join->by_option && !pending_get(node, join->admin)) {
        contact_drop(node, "the administrator waits no longer");
        join->wanted = false;
        join->admin = 0;
        return;
    }
    if (join->contact != 0 && node->now_ms >= join->contact_since_ms + JOIN_CONTACT_MS) {
        join_failed(node, KITH_ETIMEOUT, "no answer", false);
    }
    if (join->contact != 0 || node->now_ms < join->retry_ms) {
        return;
    }
    struct conn *conn = conn_add(node, KITH_CONN_CORE_BASE + node->conn_next, true);
    if (!conn) {
        join->retry_ms = node->now_ms + JOIN_RETRY_LONG_MS;
        return;
    }
    node->conn_next++;
    join->contact = conn->id;
    join->contact_since_ms = node->now_ms;
    join->asked = false;
    core_connect(node, conn->id, join->through);
}

uint64_t join_due(const struct kith_node *node)
{
    const struct join_state *join = node->join;
    if (!join->wanted || join->installing || !node->serving) {
        return UINT64_MAX;
    }
    return join->contact != 0 ? join->contact_since_ms + JOIN_CONTACT_MS : join->retry_ms;
}
