/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Unary and server-streaming calls. Two batches are under way from the start: the request, and the
 * wait for the end of the call, by which we learn that a caller has gone. Answers leave one at a
 * time; the status is the last. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "rpc/rpc_impl.h"

#define METHOD_SIZE 128u

struct response {
    struct response *next;
    grpc_byte_buffer *bytes;
};

struct kith_rpc_call {
    struct kith_rpc *rpc;
    grpc_call *call;
    struct rpc_who *who; /* NULL: plain text */
    uint64_t id;
    struct kith_rpc_call *before, *next; /* rpc->lock, like the next */
    uint64_t checked;                    /* the caller was believed by that edition, too */
    gpr_timespec deadline;
    struct rpc_tag request_tag, close_tag, send_tag, status_tag;
    grpc_byte_buffer *request;
    int canceled;
    char method[METHOD_SIZE];

    pthread_mutex_t lock;
    /* protected by lock */
    uint32_t pending; /* batches, and the handler until it finishes */
    struct response *head, *tail;
    bool begun; /* initial metadata sent */
    bool sending;
    bool finishing;
    bool status_sent;
    bool gone; /* the caller */
    grpc_status_code status;
    char details[KITH_ERROR_MESSAGE_SIZE];
    void (*drained)(void *arg);
    void *drained_arg;
};

static void drop_responses(struct kith_rpc_call *call)
{
    while (call->head) {
        struct response *response = call->head;
        call->head = response->next;
        grpc_byte_buffer_destroy(response->bytes);
        kith_free(response);
    }
    call->tail = NULL;
}

static void list(struct kith_rpc *rpc, struct kith_rpc_call *call)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->calls++;
    call->id = ++rpc->next_id;
    call->before = rpc->last_call;
    *(rpc->last_call ? &rpc->last_call->next : &rpc->first_call) = call;
    rpc->last_call = call;
    pthread_mutex_unlock(&rpc->lock);
}

static void unlist(struct kith_rpc *rpc, struct kith_rpc_call *call)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->calls--;
    *(call->before ? &call->before->next : &rpc->first_call) = call->next;
    *(call->next ? &call->next->before : &rpc->last_call) = call->before;
    pthread_mutex_unlock(&rpc->lock);
}

static void done(struct kith_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    KITH_ASSERT(call->pending > 0);
    bool last = --call->pending == 0;
    pthread_mutex_unlock(&call->lock);
    if (!last) {
        return;
    }
    struct kith_rpc *rpc = call->rpc;
    unlist(rpc, call);
    drop_responses(call);
    if (call->request) {
        grpc_byte_buffer_destroy(call->request);
    }
    grpc_call_unref(call->call);
    rpc_who_drop(call->who);
    pthread_mutex_destroy(&call->lock);
    kith_free(call);
    rpc_live_drop(rpc);
}

/* Sends the next response, or the status, or tells that all has left. Nothing when one is under
 * way. */
static void advance(struct kith_rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (call->gone) {
        drop_responses(call);
    }
    struct response *response = call->sending ? NULL : call->head;
    bool status = !call->sending && !response && call->finishing && !call->status_sent;
    void (*drained)(void *) = NULL;
    if (!call->sending && !response && call->drained) {
        drained = call->drained;
        call->drained = NULL;
    }
    grpc_op ops[2];
    size_t count = 0;
    memset(ops, 0, sizeof ops);
    if ((response || status) && !call->begun) {
        call->begun = true;
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    }
    grpc_slice details = grpc_empty_slice();
    if (response) {
        call->head = response->next;
        call->tail = call->head ? call->tail : NULL;
        call->sending = true;
        call->pending++;
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = response->bytes;
    } else if (status) {
        call->status_sent = true;
        call->pending++;
        details = grpc_slice_from_copied_string(call->details);
        ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[count].data.send_status_from_server.status = call->status;
        ops[count++].data.send_status_from_server.status_details = &details;
    }
    pthread_mutex_unlock(&call->lock);
    if (drained) {
        drained(call->drained_arg);
    }
    if (response) {
        rpc_start(call->call, ops, count, &call->send_tag);
        grpc_byte_buffer_destroy(response->bytes);
        kith_free(response);
    } else if (status) {
        rpc_start(call->call, ops, count, &call->status_tag);
    }
    grpc_slice_unref(details);
}

static void on_sent(void *owner, bool ok)
{
    struct kith_rpc_call *call = owner;
    pthread_mutex_lock(&call->lock);
    call->sending = false;
    call->gone = call->gone || !ok;
    pthread_mutex_unlock(&call->lock);
    advance(call);
    done(call);
}

static void on_status(void *owner, bool ok)
{
    (void)ok;
    done(owner);
}

static void on_close(void *owner, bool ok)
{
    struct kith_rpc_call *call = owner;
    (void)ok;
    pthread_mutex_lock(&call->lock);
    call->gone = true;
    pthread_mutex_unlock(&call->lock);
    advance(call);
    done(call);
}

static void on_request(void *owner, bool ok)
{
    struct kith_rpc_call *call = owner;
    struct kith_rpc *rpc = call->rpc;
    struct kith_error error = {KITH_OK, ""};
    grpc_byte_buffer_reader reader;
    pthread_mutex_lock(&rpc->lock);
    bool full = rpc->calls > KITH_RPC_CALLS_MAX;
    bool stopping = rpc->stopping;
    pthread_mutex_unlock(&rpc->lock);
    if (stopping) {
        (void)kith_error_set(&error, KITH_ECLOSED, "the node is shutting down");
    } else if (full) {
        (void)kith_error_set(&error, KITH_ELIMIT, "more than %u calls are under way",
                             KITH_RPC_CALLS_MAX);
    } else if (!rpc->handlers.call || strncmp(call->method, "/kith.v1.", 9) != 0) {
        (void)kith_error_set(&error, KITH_EVERSION, "no method '%s' here", call->method);
    } else if (!ok || !call->request || !grpc_byte_buffer_reader_init(&reader, call->request)) {
        (void)kith_error_set(&error, KITH_EINVAL, "a call without a request");
    }
    if (error.code != KITH_OK) {
        kith_rpc_finish(call, kith_bytes_make(NULL, 0), &error);
        done(call);
        return;
    }
    grpc_slice bytes = grpc_byte_buffer_reader_readall(&reader);
    grpc_byte_buffer_reader_destroy(&reader);
    rpc_cork_enter();
    rpc->handlers.call(rpc->handlers.arg, call, call->method,
                       kith_bytes_make(GRPC_SLICE_START_PTR(bytes), GRPC_SLICE_LENGTH(bytes)));
    rpc_cork_leave();
    grpc_slice_unref(bytes);
    done(call);
}

void rpc_call_serve(struct kith_rpc *rpc, grpc_call *grpc, grpc_slice method,
                    gpr_timespec deadline, struct rpc_who *who)
{
    struct kith_rpc_call *call = kith_calloc(1, sizeof *call);
    if (!call) {
        grpc_call_cancel_with_status(grpc, GRPC_STATUS_RESOURCE_EXHAUSTED, "no memory", NULL);
        rpc_who_drop(who);
        grpc_call_unref(grpc);
        return;
    }
    call->rpc = rpc;
    call->call = grpc;
    call->who = who;
    call->deadline = deadline;
    call->pending = 3; /* request, close, handler */
    call->request_tag = rpc_tag_make(on_request, call);
    call->close_tag = rpc_tag_make(on_close, call);
    call->send_tag = rpc_tag_make(on_sent, call);
    call->status_tag = rpc_tag_make(on_status, call);
    (void)snprintf(call->method, sizeof call->method, "%.*s", (int)GRPC_SLICE_LENGTH(method),
                   (const char *)GRPC_SLICE_START_PTR(method));
    pthread_mutex_init(&call->lock, NULL);
    rpc_live_add(rpc);
    list(rpc, call);
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->canceled;
    rpc_start(grpc, &op, 1, &call->close_tag);
    memset(&op, 0, sizeof op);
    op.op = GRPC_OP_RECV_MESSAGE;
    op.data.recv_message.recv_message = &call->request;
    rpc_start(grpc, &op, 1, &call->request_tag);
}

/* The next one above that id whose caller is to be looked at; it does not end before `done`. */
static struct kith_rpc_call *next_suspect(struct kith_rpc *rpc, uint64_t above, uint64_t edition)
{
    struct kith_rpc_call *found = NULL;
    pthread_mutex_lock(&rpc->lock);
    for (struct kith_rpc_call *call = rpc->first_call; call && !found; call = call->next) {
        if (call->id > above && call->who && rpc_who_suspect(call->who, call->checked, edition)) {
            pthread_mutex_lock(&call->lock);
            found = call->pending > 0 ? call : NULL; /* else it is ending already */
            call->pending += found ? 1 : 0;
            pthread_mutex_unlock(&call->lock);
            call->checked = edition;
        }
    }
    pthread_mutex_unlock(&rpc->lock);
    return found;
}

void rpc_call_look(struct kith_rpc *rpc, const struct kith_identity *identity)
{
    uint64_t above = 0;
    for (;;) {
        struct kith_rpc_call *call = next_suspect(rpc, above, identity->edition);
        struct kith_error error;
        if (!call) {
            return;
        }
        above = call->id;
        if (rpc_who_check(call->who, identity, &error) != KITH_OK) {
            rpc_tls_log("a call of %s is ended: %s", call->method, error.message);
            grpc_call_cancel_with_status(call->call, GRPC_STATUS_UNAUTHENTICATED, error.message,
                                         NULL);
        }
        done(call);
    }
}

const struct kith_cert *kith_rpc_call_who(const struct kith_rpc_call *call)
{
    return call->who ? &call->who->cert : NULL;
}

uint32_t kith_rpc_call_timeout_ms(const struct kith_rpc_call *call)
{
    gpr_timespec left = gpr_time_sub(gpr_convert_clock_type(call->deadline, GPR_CLOCK_MONOTONIC),
                                     gpr_now(GPR_CLOCK_MONOTONIC));
    int32_t ms = gpr_time_to_millis(left); /* saturates */
    return ms < 0 ? 0 : (uint32_t)ms > KITH_TIMEOUT_MAX_MS ? KITH_TIMEOUT_MAX_MS : (uint32_t)ms;
}

static bool queue_response(struct kith_rpc_call *call, struct kith_bytes bytes)
{
    struct response *response = kith_calloc(1, sizeof *response);
    if (!response) {
        return false;
    }
    grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes.data, bytes.size);
    response->bytes = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    if (call->tail) {
        call->tail->next = response;
    } else {
        call->head = response;
    }
    call->tail = response;
    return true;
}

bool kith_rpc_stream(struct kith_rpc_call *call, struct kith_bytes bytes)
{
    pthread_mutex_lock(&call->lock);
    KITH_ASSERT(!call->finishing);
    bool ok = !call->gone && queue_response(call, bytes);
    pthread_mutex_unlock(&call->lock);
    if (ok) {
        advance(call);
    }
    return ok;
}

void kith_rpc_when_drained(struct kith_rpc_call *call, void (*drained)(void *arg), void *arg)
{
    pthread_mutex_lock(&call->lock);
    KITH_ASSERT(!call->finishing && !call->drained);
    call->drained = drained;
    call->drained_arg = arg;
    /* drained may finish the call: it must outlive advance */
    call->pending++;
    pthread_mutex_unlock(&call->lock);
    advance(call);
    done(call);
}

static grpc_status_code status_of(enum kith_err err)
{
    switch (err) {
    case KITH_OK:
        return GRPC_STATUS_OK;
    case KITH_EINVAL:
    case KITH_EFORMAT:
        return GRPC_STATUS_INVALID_ARGUMENT;
    case KITH_ENOMEM:
    case KITH_ENOSPC:
    case KITH_ELIMIT:
    case KITH_ETOOBIG:
        return GRPC_STATUS_RESOURCE_EXHAUSTED;
    case KITH_ECORRUPT:
        return GRPC_STATUS_DATA_LOSS;
    case KITH_EVERSION:
        return GRPC_STATUS_UNIMPLEMENTED;
    case KITH_ECLUSTER:
    case KITH_EREFUSED:
    case KITH_EROFS:
    case KITH_EBUSY:
        return GRPC_STATUS_FAILED_PRECONDITION;
    case KITH_ESTALE:
        return GRPC_STATUS_ABORTED;
    case KITH_EUNKNOWN:
        return GRPC_STATUS_UNKNOWN;
    case KITH_ETIMEOUT:
        return GRPC_STATUS_DEADLINE_EXCEEDED;
    case KITH_EUNREACH:
    case KITH_ETOOFEW:
    case KITH_ENOTREADY:
    case KITH_ECLOSED:
        return GRPC_STATUS_UNAVAILABLE;
    case KITH_EIO:
        return GRPC_STATUS_INTERNAL;
    case KITH_ENOTFOUND:
        return GRPC_STATUS_NOT_FOUND;
    case KITH_EEXIST:
        return GRPC_STATUS_ALREADY_EXISTS;
    case KITH_ECANCELED:
        return GRPC_STATUS_CANCELLED;
    case KITH_EPERM:
        return GRPC_STATUS_PERMISSION_DENIED;
    }
    return GRPC_STATUS_UNKNOWN;
}

void kith_rpc_finish(struct kith_rpc_call *call, struct kith_bytes response,
                     const struct kith_error *error)
{
    pthread_mutex_lock(&call->lock);
    KITH_ASSERT(!call->finishing);
    call->status = status_of(error ? error->code : KITH_OK);
    if (call->status != GRPC_STATUS_OK) {
        (void)snprintf(call->details, sizeof call->details, "%s",
                       error->message[0] ? error->message : kith_err_text((int)error->code));
    } else if (response.data && !call->gone && !queue_response(call, response)) {
        call->status = GRPC_STATUS_RESOURCE_EXHAUSTED;
        (void)snprintf(call->details, sizeof call->details, "no memory for the answer");
    }
    call->finishing = true;
    pthread_mutex_unlock(&call->lock);
    advance(call);
    done(call);
}
