/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * served.c - a table of KITH_SERVED_NOTED places, in sets of four: a request may stand in any of
 * the four of its set. Nothing is ever moved, and what was never answered makes room in time. */
#include "metrics/served.h"

#include <string.h>

#include "base/alloc.h"

#define WAYS 4u
#define SETS (KITH_SERVED_NOTED / WAYS)

struct noted {
    uint64_t conn, id;
    uint64_t begun_ns;
    enum kith_op op;
    bool used;
};

struct kith_served {
    struct kith_served_figures figures;
    struct noted table[KITH_SERVED_NOTED]; /* its memory is touched as far as it is used */
};

const char *kith_op_name(enum kith_op op)
{
    static const char *const names[] = {
#define X(name, label) label,
        KITH_OP_MAP(X)
#undef X
    };
    return names[op];
}

const char *kith_result_name(enum kith_result result)
{
    static const char *const names[] = {
#define X(name, label) label,
        KITH_RESULT_MAP(X)
#undef X
    };
    return names[result];
}

struct kith_served *kith_served_new(void)
{
    return kith_calloc(1, sizeof(struct kith_served));
}

void kith_served_free(struct kith_served *served)
{
    kith_free(served);
}

/* KITH_OPS: it is no request that is counted. */
static enum kith_op op_of(enum kith_msg_kind kind)
{
    switch (kind) {
    case KITH_MSG_PUT_REQ:
        return KITH_OP_PUT;
    case KITH_MSG_GET_REQ:
        return KITH_OP_GET;
    case KITH_MSG_SCAN_REQ:
        return KITH_OP_SCAN;
    case KITH_MSG_GROUPS_REQ:
        return KITH_OP_GROUPS;
    case KITH_MSG_CHUNK_PUT_REQ:
        return KITH_OP_CHUNK_PUT;
    case KITH_MSG_CHUNK_GET_REQ:
        return KITH_OP_CHUNK_GET;
    case KITH_MSG_CHUNK_SYNC_REQ:
        return KITH_OP_CHUNK_SYNC;
    case KITH_MSG_REPLICATE_REQ:
        return KITH_OP_REPLICATE;
    case KITH_MSG_HANDOFF_REQ:
        return KITH_OP_HANDOFF;
    case KITH_MSG_SUMS_REQ:
    case KITH_MSG_LEAF_REQ:
    case KITH_MSG_CHUNK_LIST_REQ:
        return KITH_OP_COMPARE;
    case KITH_MSG_WATCH_REQ:
        return KITH_OP_WATCH;
    default:
        return KITH_OPS;
    }
}

/* NULL: it is no answer to one of them. */
static const struct kith_status *status_of(const struct kith_msg *msg)
{
    switch (msg->kind) {
    case KITH_MSG_PUT_RES:
        return &msg->u.put_res.status;
    case KITH_MSG_GET_RES:
        return &msg->u.get_res.status;
    case KITH_MSG_SCAN_RES:
        return &msg->u.scan_res.status;
    case KITH_MSG_GROUPS_RES:
        return &msg->u.groups_res.status;
    case KITH_MSG_CHUNK_RES:
        return &msg->u.chunk_res.status;
    case KITH_MSG_CHUNK_SYNC_RES:
        return &msg->u.chunk_sync_res.status;
    case KITH_MSG_REPLICATE_RES:
        return &msg->u.replicate_res.status;
    case KITH_MSG_HANDOFF_RES:
        return &msg->u.handoff_res.status;
    case KITH_MSG_SUMS_RES:
        return &msg->u.sums_res.status;
    case KITH_MSG_LEAF_RES:
        return &msg->u.leaf_res.status;
    case KITH_MSG_CHUNK_LIST_RES:
        return &msg->u.chunk_list_res.status;
    case KITH_MSG_WATCH_RES:
        return &msg->u.watch_res.status;
    default:
        return NULL;
    }
}

static enum kith_result result_of(enum kith_err err)
{
    switch (err) {
    case KITH_OK:
        return KITH_RESULT_OK;
    case KITH_ENOTFOUND:
        return KITH_RESULT_NOT_FOUND;
    case KITH_ESTALE:
        return KITH_RESULT_STALE;
    case KITH_ENOTREADY:
        return KITH_RESULT_NOT_READY;
    case KITH_EREFUSED:
    case KITH_EBUSY:
    case KITH_ELIMIT:
    case KITH_EPERM:
        return KITH_RESULT_REFUSED;
    case KITH_EUNREACH:
        return KITH_RESULT_UNREACHABLE;
    case KITH_EUNKNOWN:
    case KITH_ETIMEOUT:
        return KITH_RESULT_UNKNOWN;
    case KITH_ENOSPC:
        return KITH_RESULT_NO_SPACE;
    case KITH_ECORRUPT:
    case KITH_EFORMAT:
        return KITH_RESULT_CORRUPT;
    default:
        return KITH_RESULT_ERROR;
    }
}

bool kith_served_begins(enum kith_msg_kind kind)
{
    return op_of(kind) != KITH_OPS;
}

bool kith_served_ends(enum kith_msg_kind kind)
{
    struct kith_msg msg;
    msg.kind = kind;
    return status_of(&msg) != NULL;
}

static struct noted *set_of(struct kith_served *served, uint64_t conn, uint64_t id)
{
    uint64_t mixed = (id + conn * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);
    return &served->table[(mixed >> 40) % SETS * WAYS];
}

void kith_served_begin(struct kith_served *served, uint64_t conn, const struct kith_msg *msg,
                         uint64_t now_ns)
{
    enum kith_op op = op_of(msg->kind);
    if (op == KITH_OPS) {
        return;
    }
    struct noted *set = set_of(served, conn, msg->id);
    struct noted *into = &set[0];
    for (uint32_t i = 1; i < WAYS && into->used; i++) {
        if (!set[i].used || set[i].begun_ns < into->begun_ns) {
            into = &set[i];
        }
    }
    *into = (struct noted){conn, msg->id, now_ns, op, true};
    if (op == KITH_OP_CHUNK_PUT && msg->u.chunk_put_req.payload != NULL) {
        served->figures.bytes_in += msg->u.chunk_put_req.payload->size;
    }
}

void kith_served_end(struct kith_served *served, uint64_t conn, const struct kith_msg *msg,
                       uint64_t now_ns)
{
    const struct kith_status *status = status_of(msg);
    struct kith_served_figures *figures = &served->figures;
    if (status == NULL) {
        return;
    }
    struct noted *set = set_of(served, conn, msg->id);
    struct noted *noted = NULL;
    for (uint32_t i = 0; i < WAYS && noted == NULL; i++) {
        noted = set[i].used && set[i].conn == conn && set[i].id == msg->id ? &set[i] : NULL;
    }
    if (noted == NULL) {
        return;
    }
    noted->used = false;
    figures->counts[noted->op][result_of(status->err)]++;
    kith_histogram_add(&figures->durations[noted->op],
                       now_ns > noted->begun_ns ? now_ns - noted->begun_ns : 0);
    if (msg->kind == KITH_MSG_CHUNK_RES && msg->u.chunk_res.payload != NULL) {
        figures->bytes_out += msg->u.chunk_res.payload->size;
    }
    if (msg->kind == KITH_MSG_PUT_RES && status->err == KITH_OK &&
        msg->u.put_res.owners < msg->u.put_res.copies) {
        figures->stood_in++;
    }
}

const struct kith_served_figures *kith_served_figures(const struct kith_served *served)
{
    return &served->figures;
}

void kith_served_times(const struct kith_served_figures *figures, struct kith_histogram *ret_reads,
                       struct kith_histogram *ret_writes)
{
    static const struct kith_histogram none;
    *ret_reads = figures->durations[KITH_OP_GET];
    kith_histogram_since(ret_reads, &figures->durations[KITH_OP_SCAN], &none);
    *ret_writes = figures->durations[KITH_OP_PUT];
}
