/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * hard.c - a client that is hard: requests wait until the cluster answers.
 *
 * A request that would end because nodes cannot be reached, or do not answer, ends for nobody: it is
 * parked, and after a pause a request that is made from its copy takes its place under its tag, with
 * a deadline, an order and owners of its own, so that everything else in here is as it is for any
 * other. What a node has refused for good (no room, no permission, too large) ends as ever, and so
 * does what no owner has any more.
 *
 * A put keeps its request id. Where an attempt's outcome is unknown the next says so (`again` in
 * client.h): whichever of them are carried out, they are one write. A refusal of such a one says
 * nothing about the one before; it ends UNKNOWN all the same, for it is an answer, and others like
 * it would follow. Nodes know request ids for an hour: what was carried out before a longer absence
 * of them may stand there a second time afterwards, where it has been replaced meanwhile, as a
 * version beside the file.
 *
 * Requests that are soft (client.h) are never parked. When the client stops being hard, what is
 * parked ends with what it would have ended with. */
#include "client/hard.h"

#include "base/assert.h"
#include "client/core.h"

#define PAUSE_MS 250u /* between attempts of one request; they end sooner than by their deadline
                         where connections are turned down */

/* What asks after the nodes themselves, or for nobody who waits, ends by its deadline. */
static bool may_wait(const struct cc_op *op)
{
    return !op->soft && !op->inner && op->kind != KITH_CLIENT_STATUS &&
           op->kind != KITH_CLIENT_GROUPS && op->kind != KITH_CLIENT_WHERE;
}

/* Whether another attempt may end otherwise, with nobody doing anything but nodes coming back. */
static bool may_pass(const struct cc_op *op)
{
    switch (op->result.err) {
    case KITH_EUNREACH:
    case KITH_ETIMEOUT:
    case KITH_ENOTREADY:
    case KITH_ECLOSED:
        return true;
    case KITH_EUNKNOWN:
        return !op->refused;
    default:
        return false;
    }
}

bool cc_hard_park(struct kith_client_core *core, struct cc_op *op)
{
    if (!core->hard || !may_wait(op) || !may_pass(op)) {
        return false;
    }
    op->again_ms = core->now + PAUSE_MS;
    op->done_next = NULL;
    if (core->parked_last != NULL) {
        core->parked_last->done_next = op;
    } else {
        core->parked = op;
    }
    core->parked_last = op;
    core->parked_count++;
    core->pending++;
    return true;
}

static struct cc_op *unpark(struct kith_client_core *core)
{
    struct cc_op *op = core->parked;
    core->parked = op->done_next;
    if (core->parked == NULL) {
        core->parked_last = NULL;
    }
    core->parked_count--;
    core->pending--;
    return op;
}

/* The request as it was submitted; what it points to is the op's. */
static struct kith_client_op as_submitted(const struct cc_op *op)
{
    struct kith_client_op from = {.kind = op->kind,
                                  .timeout_ms = (uint32_t)(op->deadline_ms - op->started_ms),
                                  .level = op->level,
                                  .strict = op->strict};
    switch (op->kind) {
    case KITH_CLIENT_GET:
        from.u.get.group = op->u.get.group;
        from.u.get.name_count = op->u.get.name_count;
        from.u.get.names = op->u.get.names;
        break;
    case KITH_CLIENT_SCAN:
        from.u.scan.group = op->u.scan.group;
        from.u.scan.has_after = op->u.scan.has_after;
        from.u.scan.after = op->u.scan.after;
        from.u.scan.max_rows = op->u.scan.max_rows;
        break;
    case KITH_CLIENT_PUT:
        from.u.put.group = op->u.put.group;
        from.u.put.durability = op->u.put.durability;
        from.u.put.update_count = op->u.put.update_count;
        from.u.put.updates = op->u.put.updates;
        from.u.put.request = op->u.put.request;
        from.u.put.writer = op->u.put.writer;
        from.u.put.again = op->result.err == KITH_EUNKNOWN;
        break;
    case KITH_CLIENT_CHUNK_PUT:
        from.u.chunk_put.id = op->u.chunk.id;
        from.u.chunk_put.durability = op->u.chunk.durability;
        from.u.chunk_put.checksum = op->u.chunk.checksum;
        from.u.chunk_put.ref_count = op->u.chunk.ref_count;
        from.u.chunk_put.refs = op->u.chunk.refs;
        from.u.chunk_put.payload = op->u.chunk.payload;
        break;
    case KITH_CLIENT_CHUNK_GET:
        from.u.chunk_get.id = op->u.chunk.id;
        from.u.chunk_get.offset = op->u.chunk.offset;
        from.u.chunk_get.size = op->u.chunk.size;
        from.u.chunk_get.checksum = op->u.chunk.checksum;
        from.u.chunk_get.refs = op->u.chunk.with_refs;
        break;
    case KITH_CLIENT_CHUNK_SYNC:
        from.u.chunk_sync.id_count = op->u.sync.id_count;
        from.u.chunk_sync.ids = op->u.sync.ids;
        from.u.chunk_sync.lease = op->u.sync.lease;
        break;
    case KITH_CLIENT_GROUPS: /* never parked */
    case KITH_CLIENT_WHERE:
    case KITH_CLIENT_STATUS:
        break;
    }
    return from;
}

void cc_hard_end(struct kith_client_core *core, bool all, uint64_t tag)
{
    for (uint32_t left = core->parked_count; left > 0; left--) {
        struct cc_op *op = unpark(core);
        if (!all && op->tag != tag) {
            bool parked = cc_hard_park(core, op);
            KITH_ASSERT(parked);
            continue;
        }
        op->result.err = KITH_ECANCELED;
        op->result.message = "canceled";
        cc_op_finished(core, op);
    }
}

void cc_hard_tick(struct kith_client_core *core)
{
    while (core->parked != NULL && (!core->hard || core->parked->again_ms <= core->now)) {
        struct cc_op *op = unpark(core);
        if (!core->hard) {
            cc_op_finished(core, op);
            continue;
        }
        struct kith_client_op from = as_submitted(op);
        if (!cc_op_begin_anew(core, &from, op->tag)) { /* no memory now: it was not tried */
            bool parked = cc_hard_park(core, op);
            KITH_ASSERT(parked);
            continue;
        }
        cc_op_recycle(core, op);
    }
}

uint64_t cc_hard_due(const struct kith_client_core *core)
{
    if (core->parked == NULL) {
        return CC_NEVER;
    }
    return core->hard ? core->parked->again_ms : core->now;
}

void kith_client_core_hard(struct kith_client_core *core, bool hard)
{
    core->hard = hard;
}

uint32_t kith_client_core_parked(const struct kith_client_core *core, const char **ret_message)
{
    *ret_message = core->parked != NULL ? core->parked->result.message : "";
    return core->parked_count;
}
