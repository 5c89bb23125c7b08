/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/ask/greeting.h"

#include <string.h>
#include <sys/random.h>

#include "ctl/ask/own_cert.h"

enum kith_err kith_greeting_rpc(const struct kith_rpc_handlers *handlers, struct kith_rpc **ret_rpc,
                                struct kith_uuid *ret_self, struct kith_error *error)
{
    struct kith_rpc_options options;
    struct kith_identity_found identity;
    memset(&options, 0, sizeof options);
    options.threads = 1;
    enum kith_err err = kith_ctl_identity(&identity, &options.tls, error);
    if (err != KITH_OK) {
        return err;
    }
    if (getrandom(ret_self->bytes, sizeof ret_self->bytes, 0) != (ssize_t)sizeof ret_self->bytes) {
        return kith_error_set(error, KITH_EIO, "the system gives no random bytes");
    }
    return kith_rpc_new(&options, handlers, ret_rpc, error);
}

enum kith_err kith_greeting_send(struct kith_rpc *rpc, uint64_t conn, const struct kith_uuid *self)
{
    struct kith_msg hello;
    memset(&hello, 0, sizeof hello);
    hello.kind = KITH_MSG_HELLO;
    hello.u.hello.protocol = kith_protocol_ours();
    hello.u.hello.role = KITH_ROLE_CLIENT;
    hello.u.hello.node = *self;
    hello.u.hello.address = "";
    hello.u.hello.software = KITH_VERSION;
    return kith_rpc_send(rpc, conn, &hello);
}

bool kith_greeting_is(const struct kith_msg *msg, const char *address, struct kith_error *error)
{
    memset(error, 0, sizeof *error);
    if (msg->kind == KITH_MSG_HELLO) {
        struct kith_protocol ours = kith_protocol_ours();
        if (kith_protocol_common(&ours, &msg->u.hello.protocol) == 0) {
            char differ[KITH_PROTOCOL_DIFFER_SIZE];
            kith_protocol_differ(&ours, "this kithctl", &msg->u.hello.protocol, address, differ,
                                 sizeof differ);
            (void)kith_error_set(error, KITH_EVERSION, "%s", differ);
        }
        return true;
    }
    if (msg->kind == KITH_MSG_ADMIN_RES && msg->id == 0) {
        const struct kith_status *status = &msg->u.admin_res.status;
        (void)kith_error_set(error, status->err != KITH_OK ? status->err : KITH_ECLOSED, "%s: %s",
                             address, status->message ? status->message : "");
        return true;
    }
    return false;
}
