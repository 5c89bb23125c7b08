/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "shell/access.h"

#include <string.h>

#include "data/volume.h"

/* Who may send it. */
#define NODES   1u
#define ADMINS  2u
#define CLIENTS 4u
#define ANYBODY (NODES | ADMINS | CLIENTS)

static const struct {
    uint8_t who; /* 0: nobody */
    bool changes;
} rules[KITH_MSG_KINDS_MAX] = {
    /* what mounts and programs ask; nodes ask each other some of it, too */
    [KITH_MSG_HELLO] = {ANYBODY, false},
    [KITH_MSG_TABLE_REQ] = {ANYBODY, false},
    [KITH_MSG_STATUS_REQ] = {ANYBODY, false},
    [KITH_MSG_PUT_REQ] = {ANYBODY, true},
    [KITH_MSG_GET_REQ] = {ANYBODY, false},
    [KITH_MSG_SCAN_REQ] = {ANYBODY, false},
    [KITH_MSG_REPAIR_REQ] = {ANYBODY, false},
    [KITH_MSG_CHUNK_PUT_REQ] = {ANYBODY, true},
    [KITH_MSG_CHUNK_GET_REQ] = {ANYBODY, false},
    [KITH_MSG_CHUNK_SYNC_REQ] = {ANYBODY, false},
    [KITH_MSG_WATCH_REQ] = {ANYBODY, false},
    [KITH_MSG_GROUPS_REQ] = {ANYBODY, false},
    [KITH_MSG_EXPLAIN_REQ] = {ANYBODY, false},
    /* backups: of everything, plans included */
    [KITH_MSG_LEAF_REQ] = {NODES | ADMINS, false},
    /* orders */
    [KITH_MSG_INIT_REQ] = {ADMINS, true},
    [KITH_MSG_JOIN_CMD] = {ADMINS, true},
    [KITH_MSG_PLAN_REQ] = {ADMINS, true},
    [KITH_MSG_REPAIR_CMD] = {ADMINS, true},
    [KITH_MSG_REVOKED_CMD] = {ADMINS, true},
    /* between nodes: questions */
    [KITH_MSG_REPLICATE_REQ] = {NODES, true},
    [KITH_MSG_REQUEST_FIND_REQ] = {NODES, false},
    [KITH_MSG_PING] = {NODES, true},
    [KITH_MSG_PROBE_REQ] = {NODES, false},
    [KITH_MSG_MEMBERS_SYNC] = {NODES, true},
    [KITH_MSG_JOIN_REQ] = {NODES, true},
    [KITH_MSG_DECIDE] = {NODES, true},
    [KITH_MSG_OFFER_REQ] = {NODES, true},
    [KITH_MSG_SUMS_REQ] = {NODES, false},
    [KITH_MSG_CHUNK_LIST_REQ] = {NODES, false},
    [KITH_MSG_HANDOFF_REQ] = {NODES, true},
    [KITH_MSG_SWEEP_REQ] = {NODES, true},
    [KITH_MSG_LEASE_REQ] = {NODES, true},
    [KITH_MSG_REAP_REQ] = {NODES, true},
    /* answers, which nobody but a node is asked for */
    [KITH_MSG_TABLE_RES] = {NODES, false},
    [KITH_MSG_PUT_RES] = {NODES, false},
    [KITH_MSG_GET_RES] = {NODES, false},
    [KITH_MSG_SCAN_RES] = {NODES, false},
    [KITH_MSG_CHUNK_RES] = {NODES, false},
    [KITH_MSG_CHUNK_SYNC_RES] = {NODES, false},
    [KITH_MSG_REPLICATE_RES] = {NODES, false},
    [KITH_MSG_REQUEST_FIND_RES] = {NODES, false},
    [KITH_MSG_ADMIN_RES] = {NODES, false},
    [KITH_MSG_JOIN_RES] = {NODES, false},
    [KITH_MSG_STATUS_RES] = {NODES, false},
    [KITH_MSG_WATCH_RES] = {NODES, false},
    [KITH_MSG_WATCH_EVENT] = {NODES, false},
    [KITH_MSG_SUMS_RES] = {NODES, false},
    [KITH_MSG_LEAF_RES] = {NODES, false},
    [KITH_MSG_HANDOFF_RES] = {NODES, false},
    [KITH_MSG_CHUNK_LIST_RES] = {NODES, false},
    [KITH_MSG_REPAIR_RES] = {NODES, false},
    [KITH_MSG_PROBE_RES] = {NODES, false},
    [KITH_MSG_EXPLAIN_RES] = {NODES, false},
    [KITH_MSG_PLAN_RES] = {NODES, false},
    [KITH_MSG_OFFER_RES] = {NODES, false},
    [KITH_MSG_SWEEP_RES] = {NODES, false},
    [KITH_MSG_LEASE_RES] = {NODES, false},
    [KITH_MSG_REAP_RES] = {NODES, false},
    [KITH_MSG_GROUPS_RES] = {NODES, false},
};

static bool may_volume(const struct kith_cert_grant *grant, uint32_t volume, uint32_t *ret_denied)
{
    if (volume != KITH_VOLUME_CLUSTER && kith_cert_has_volume(grant, volume)) {
        return true;
    }
    *ret_denied = volume;
    return false;
}

static bool may_group(const struct kith_cert_grant *grant, const struct kith_group *group,
                      uint32_t *ret_denied)
{
    return may_volume(grant, kith_group_volume(group), ret_denied);
}

static bool may_chunks(const struct kith_cert_grant *grant, const struct kith_chunk_id *ids,
                       uint32_t count, uint32_t *ret_denied)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!may_volume(grant, kith_chunk_id_volume(&ids[i]), ret_denied)) {
            return false;
        }
    }
    return true;
}

static bool may_put(const struct kith_cert_grant *grant, const struct kith_put_req *put,
                    uint32_t *ret_denied)
{
    bool may = may_group(grant, &put->group, ret_denied);
    for (uint32_t i = 0; may && i < put->update_count; i++) {
        may = may_chunks(grant, put->updates[i].refs, put->updates[i].ref_count, ret_denied);
    }
    return may;
}

static bool may_watch(const struct kith_cert_grant *grant, const struct kith_watch_req *watch,
                      uint32_t *ret_denied)
{
    return !watch->has_group || may_group(grant, &watch->group, ret_denied);
}

/* Whether a client may touch all that the message names. A kind that clients may send and that
 * stands not here names nothing. */
static bool may_touch(const struct kith_cert_grant *grant, const struct kith_msg *msg,
                      uint32_t *ret_denied)
{
    switch (msg->kind) {
    case KITH_MSG_PUT_REQ:
        return may_put(grant, &msg->u.put_req, ret_denied);
    case KITH_MSG_GET_REQ:
        return may_group(grant, &msg->u.get_req.group, ret_denied);
    case KITH_MSG_SCAN_REQ:
        return may_group(grant, &msg->u.scan_req.group, ret_denied);
    case KITH_MSG_REPAIR_REQ:
        return may_group(grant, &msg->u.repair_req.group, ret_denied);
    case KITH_MSG_EXPLAIN_REQ:
        return may_group(grant, &msg->u.explain_req.group, ret_denied);
    case KITH_MSG_WATCH_REQ:
        return may_watch(grant, &msg->u.watch_req, ret_denied);
    case KITH_MSG_GROUPS_REQ:
        return may_volume(grant, msg->u.groups_req.volume, ret_denied);
    case KITH_MSG_CHUNK_PUT_REQ:
        return may_chunks(grant, &msg->u.chunk_put_req.id, 1, ret_denied) &&
               may_chunks(grant, msg->u.chunk_put_req.refs, msg->u.chunk_put_req.ref_count,
                          ret_denied);
    case KITH_MSG_CHUNK_GET_REQ:
        return may_chunks(grant, &msg->u.chunk_get_req.id, 1, ret_denied);
    case KITH_MSG_CHUNK_SYNC_REQ:
        return may_chunks(grant, msg->u.chunk_sync_req.ids, msg->u.chunk_sync_req.id_count,
                          ret_denied);
    case KITH_MSG_HELLO:
    case KITH_MSG_TABLE_REQ:
    case KITH_MSG_STATUS_REQ:
        return true;
    default:
        *ret_denied = 0;
        return false;
    }
}

static uint8_t bit_of(enum kith_cert_role role)
{
    switch (role) {
    case KITH_CERT_NODE:
        return NODES;
    case KITH_CERT_ADMIN:
        return ADMINS;
    case KITH_CERT_CLIENT:
        return CLIENTS;
    }
    return 0;
}

enum kith_err kith_access_check(const struct kith_cert_grant *grant, const struct kith_msg *msg,
                                struct kith_error *error)
{
    uint32_t kind = (uint32_t)msg->kind, denied = 0;
    uint8_t who = kind < KITH_MSG_KINDS_MAX ? rules[kind].who : 0;
    const char *role = kith_cert_role_name(grant->role);
    if ((who & bit_of(grant->role)) == 0) {
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' does not allow %s",
                              role, grant->name, kith_msg_kind_name(msg->kind));
    }
    if (msg->kind == KITH_MSG_HELLO && msg->u.hello.role == KITH_ROLE_NODE &&
        grant->role != KITH_CERT_NODE) {
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' is no node's", role,
                              grant->name);
    }
    if (grant->role != KITH_CERT_CLIENT) {
        return KITH_OK;
    }
    if (rules[kind].changes && grant->read_only) {
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' is for reading only",
                              role, grant->name);
    }
    if (!may_touch(grant, msg, &denied)) {
        char volume[KITH_VOLUME_TEXT_SIZE];
        kith_volume_text(denied, volume);
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' is not for volume %s",
                              role, grant->name, volume);
    }
    return KITH_OK;
}

/* ---- Calls ---- */

static const struct {
    const char *method;
    uint8_t who;
    bool changes;
    bool kv; /* touches the volumes of the key-value door */
} calls[] = {
    {"/kith.v1.Kv/Get", ANYBODY, false, true},
    {"/kith.v1.Kv/Put", ANYBODY, true, true},
    {"/kith.v1.Kv/Delete", ANYBODY, true, true},
    {"/kith.v1.Kv/Scan", ANYBODY, false, true},
    {"/kith.v1.Cluster/Status", ANYBODY, false, false},
    {"/kith.v1.Cluster/Table", ANYBODY, false, false},
    {"/kith.v1.Cluster/Initialize", ADMINS, true, false},
    {"/kith.v1.Cluster/Join", ADMINS, true, false},
};

enum kith_err kith_access_check_call(const struct kith_cert_grant *grant, const char *method,
                                     struct kith_error *error)
{
    const char *role = kith_cert_role_name(grant->role);
    size_t at = 0;
    while (at < sizeof calls / sizeof calls[0] && strcmp(calls[at].method, method) != 0) {
        at++;
    }
    if (at == sizeof calls / sizeof calls[0] || (calls[at].who & bit_of(grant->role)) == 0) {
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' does not allow %.64s",
                              role, grant->name, method);
    }
    if (calls[at].changes && grant->read_only) {
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' is for reading only",
                              role, grant->name);
    }
    if (calls[at].kv && !(kith_cert_has_volume(grant, KITH_VOLUME_KV) &&
                          kith_cert_has_volume(grant, KITH_VOLUME_KV_BUCKETS))) {
        return kith_error_set(error, KITH_EPERM, "the certificate of %s '%s' is not for volume kv",
                              role, grant->name);
    }
    return KITH_OK;
}

/* ---- Refusals ---- */

bool kith_access_answer(const struct kith_msg *question, const struct kith_error *error,
                        struct kith_msg *ret_answer)
{
    static const struct {
        enum kith_msg_kind question, answer;
    } answers[] = {
        {KITH_MSG_TABLE_REQ, KITH_MSG_TABLE_RES},
        {KITH_MSG_STATUS_REQ, KITH_MSG_STATUS_RES},
        {KITH_MSG_PUT_REQ, KITH_MSG_PUT_RES},
        {KITH_MSG_GET_REQ, KITH_MSG_GET_RES},
        {KITH_MSG_SCAN_REQ, KITH_MSG_SCAN_RES},
        {KITH_MSG_CHUNK_PUT_REQ, KITH_MSG_CHUNK_RES},
        {KITH_MSG_CHUNK_GET_REQ, KITH_MSG_CHUNK_RES},
        {KITH_MSG_CHUNK_SYNC_REQ, KITH_MSG_CHUNK_SYNC_RES},
        {KITH_MSG_WATCH_REQ, KITH_MSG_WATCH_RES},
        {KITH_MSG_GROUPS_REQ, KITH_MSG_GROUPS_RES},
        {KITH_MSG_EXPLAIN_REQ, KITH_MSG_EXPLAIN_RES},
        {KITH_MSG_LEAF_REQ, KITH_MSG_LEAF_RES},
        {KITH_MSG_INIT_REQ, KITH_MSG_ADMIN_RES},
        {KITH_MSG_JOIN_CMD, KITH_MSG_ADMIN_RES},
        {KITH_MSG_PLAN_REQ, KITH_MSG_PLAN_RES},
        {KITH_MSG_REPAIR_CMD, KITH_MSG_REPAIR_RES},
        {KITH_MSG_REVOKED_CMD, KITH_MSG_ADMIN_RES},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        if (answers[i].question == question->kind) {
            memset(ret_answer, 0, sizeof *ret_answer);
            ret_answer->kind = answers[i].answer;
            ret_answer->id = question->id;
            /* every answer begins with it (msg.h) */
            ret_answer->u.admin_res.status = (struct kith_status){error->code, error->message};
            return true;
        }
    }
    return false;
}
