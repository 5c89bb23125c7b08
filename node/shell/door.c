/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "shell/door_int.h"

#define KV "/kith.v1.Kv/"
#define CLUSTER "/kith.v1.Cluster/"

enum kith_err kith_door_new(const struct kith_door_options *options, struct kith_door **ret_door)
{
    struct kith_door *door = kith_calloc(1, sizeof *door);
    if (!door) {
        return KITH_ENOMEM;
    }
    door->options = *options;
    *ret_door = door;
    return KITH_OK;
}

void kith_door_free(struct kith_door *door)
{
    kith_free(door);
}

void door_fail(struct kith_rpc_call *call, enum kith_err err, const char *format, ...)
{
    struct kith_error error = {err, ""};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error.message, sizeof error.message, format, args);
    va_end(args);
    kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
}

/* ---- Cluster: the request is the message, and so is the answer ---- */

/* Every answer of this service begins with a status. */
static const struct kith_status *status_of(const struct kith_msg *msg)
{
    switch (msg->kind) {
    case KITH_MSG_STATUS_RES:
        return &msg->u.status_res.status;
    case KITH_MSG_TABLE_RES:
        return &msg->u.table_res.status;
    case KITH_MSG_ADMIN_RES:
        return &msg->u.admin_res.status;
    default:
        return NULL;
    }
}

static void on_answer(void *arg, const struct kith_msg *msg, const struct kith_error *error)
{
    struct kith_rpc_call *call = arg;
    if (!msg) {
        KITH_ASSERT(error && error->code != KITH_OK);
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), error);
        return;
    }
    const struct kith_status *status = status_of(msg);
    if (!status) {
        door_fail(call, KITH_EIO, "the node answered with %s", kith_msg_kind_name(msg->kind));
        return;
    }
    if (status->err != KITH_OK) {
        door_fail(call, status->err, "%s",
                  status->message && status->message[0] ? status->message
                                                        : kith_err_text((int)status->err));
        return;
    }
    struct kith_buf buf;
    struct kith_error wrong;
    kith_buf_init(&buf);
    if (!kith_buf_reserve(&buf, 1)) { /* an answer without fields still is one */
        door_fail(call, KITH_ENOMEM, "no memory for the answer");
    } else if (kith_wire_body_append(msg, &buf, &wrong) != KITH_OK) {
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &wrong);
    } else {
        kith_rpc_finish(call, kith_buf_bytes(&buf), NULL);
    }
    kith_buf_release(&buf);
}

static bool cluster(struct kith_door *door, struct kith_rpc_call *call, const char *method,
                    struct kith_bytes request)
{
    static const struct {
        const char *name;
        enum kith_msg_kind kind;
    } methods[] = {
        {"Status", KITH_MSG_STATUS_REQ},
        {"Table", KITH_MSG_TABLE_REQ},
        {"Initialize", KITH_MSG_INIT_REQ},
        {"Join", KITH_MSG_JOIN_CMD},
    };
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(method, methods[i].name) != 0) {
            continue;
        }
        struct kith_msg_box *box;
        struct kith_error error;
        if (kith_wire_body_unpack(methods[i].kind, request, &box, &error) != KITH_OK) {
            kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
        } else {
            door->options.submit(door->options.arg, box, on_answer, call);
        }
        return true;
    }
    return false;
}

void kith_door_call(struct kith_door *door, struct kith_rpc_call *call, const char *method,
                    struct kith_bytes request)
{
    bool known = false;
    if (strncmp(method, KV, sizeof KV - 1) == 0) {
        known = door_kv(door, call, method + sizeof KV - 1, request);
    } else if (strncmp(method, CLUSTER, sizeof CLUSTER - 1) == 0) {
        known = cluster(door, call, method + sizeof CLUSTER - 1, request);
    }
    if (!known) {
        door_fail(call, KITH_EVERSION, "no method '%s' here", method);
    }
}
