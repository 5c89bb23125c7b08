/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * client_core.c - steps, requests and their timers.
 *
 * Every op in the active list is in the heap under the time when it wants to be driven again, at
 * the latest its deadline: so each ends by its deadline (invariant 8). An op is driven by its
 * timer, by an answer, and, when it says that it waits, by news of nodes. What is finished in a
 * step gets its DONE at the end of that step, in the order of finishing.
 *
 * Ops are pooled with their arenas: a request costs no allocation once the pool is warm. */
#include "client/client_core.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "client/core.h"
#include "client/hard.h"
#include "client/where.h"

#define OP_TIMEOUT_MS 10000u
#define HEDGE_MS      50u
#define DRIVE_ROUNDS  4u

/* ---- Draws, messages, effects ---- */

uint64_t cc_random(struct kith_client_core *core)
{
    /* splitmix64 (Vigna 2015) */
    core->random += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = core->random;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

struct kith_client_effect *cc_effect_new(struct kith_client_core *core)
{
    if (core->effect_count == core->effect_capacity) {
        uint32_t capacity = core->effect_capacity == 0 ? 64 : core->effect_capacity * 2;
        struct kith_client_effect *grown = kith_realloc(core->effects, capacity * sizeof(*grown));
        if (grown == NULL) {
            return NULL;
        }
        core->effects = grown;
        core->effect_capacity = capacity;
    }
    struct kith_client_effect *effect = &core->effects[core->effect_count++];
    memset(effect, 0, sizeof(*effect));
    return effect;
}

struct kith_msg *cc_message(struct kith_client_core *core, enum kith_msg_kind kind)
{
    struct kith_msg *msg = kith_arena_calloc(&core->step_arena, 1, sizeof(*msg));
    if (msg != NULL) {
        msg->kind = kind;
    }
    return msg;
}

/* An effect that finds no memory is a message that was lost: timers see to it. */
void cc_send(struct kith_client_core *core, uint64_t conn, const struct kith_msg *msg)
{
    struct kith_client_effect *effect = cc_effect_new(core);
    if (effect != NULL) {
        KITH_ASSERT((uint32_t)msg->kind < KITH_MSG_KINDS_MAX);
        core->counts.messages[msg->kind]++;
        effect->kind = KITH_CLIENT_EFFECT_SEND;
        effect->conn = conn;
        effect->msg = msg;
    }
}

void cc_effect_connect(struct kith_client_core *core, uint64_t conn, const char *address, bool bulk)
{
    struct kith_client_effect *effect = cc_effect_new(core);
    if (effect != NULL) {
        effect->kind = KITH_CLIENT_EFFECT_CONNECT;
        effect->conn = conn;
        effect->address = address;
        effect->bulk = bulk;
    }
}

void cc_effect_close(struct kith_client_core *core, uint64_t conn, const char *reason)
{
    struct kith_client_effect *effect = cc_effect_new(core);
    if (effect != NULL) {
        effect->kind = KITH_CLIENT_EFFECT_CLOSE;
        effect->conn = conn;
        effect->reason = reason;
    }
}

/* ---- The heap of timers ---- */

static void heap_place(struct kith_client_core *core, struct cc_op *op, uint32_t at)
{
    core->heap[at] = op;
    op->heap_at = at;
}

static void heap_fix(struct kith_client_core *core, struct cc_op *op)
{
    uint32_t at = op->heap_at;
    while (at > 0 && core->heap[(at - 1) / 2]->wake_ms > op->wake_ms) {
        heap_place(core, core->heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= core->heap_count) {
            break;
        }
        if (child + 1 < core->heap_count &&
            core->heap[child + 1]->wake_ms < core->heap[child]->wake_ms) {
            child++;
        }
        if (core->heap[child]->wake_ms >= op->wake_ms) {
            break;
        }
        heap_place(core, core->heap[child], at);
        at = child;
    }
    heap_place(core, op, at);
}

static void heap_remove(struct kith_client_core *core, struct cc_op *op)
{
    struct cc_op *last = core->heap[--core->heap_count];
    if (last != op) {
        heap_place(core, last, op->heap_at);
        heap_fix(core, last);
    }
}

/* ---- The life of an op ---- */

struct cc_op *cc_op_new(struct kith_client_core *core)
{
    struct cc_op *op = core->free_ops;
    if (op != NULL) {
        core->free_ops = op->next;
        struct kith_arena arena = op->arena;
        memset(op, 0, sizeof(*op));
        op->arena = arena;
        return op;
    }
    /* the ones that are done and not released, and the lingering, stand beside those under way */
    if (core->op_count == 4 * KITH_CLIENT_OPS_MAX) {
        return NULL;
    }
    op = kith_calloc(1, sizeof(*op));
    if (op == NULL) {
        return NULL;
    }
    kith_arena_init(&op->arena, CC_OP_ARENA_MAX);
    core->ops[core->op_count++] = op;
    return op;
}

static void op_let_go(struct cc_op *op)
{
    for (struct cc_held *held = op->held; held != NULL; held = held->next) {
        if (held->box != NULL) {
            kith_msg_box_drop(held->box);
        }
        kith_blob_drop(held->blob);
    }
    op->held = NULL;
    if (op->table != NULL) {
        kith_table_drop(op->table);
        op->table = NULL;
    }
}

void cc_op_recycle(struct kith_client_core *core, struct cc_op *op)
{
    if (op->kind == KITH_CLIENT_STATUS && op->u.status.door != NULL) {
        op->u.status.door->wanted--;
    }
    op_let_go(op);
    kith_arena_reset(&op->arena);
    op->next = core->free_ops;
    core->free_ops = op;
}

static void op_activate(struct kith_client_core *core, struct cc_op *op)
{
    op->active = true;
    op->prev = core->active_last;
    op->next = NULL;
    if (core->active_last != NULL) {
        core->active_last->next = op;
    } else {
        core->active = op;
    }
    core->active_last = op;
    op->heap_at = core->heap_count++;
    heap_fix(core, op);
}

static void op_deactivate(struct kith_client_core *core, struct cc_op *op)
{
    cc_ask_forget_all(core, op);
    if (op->prev != NULL) {
        op->prev->next = op->next;
    } else {
        core->active = op->next;
    }
    if (op->next != NULL) {
        op->next->prev = op->prev;
    } else {
        core->active_last = op->prev;
    }
    heap_remove(core, op);
    op->active = false;
}

void cc_op_finished(struct kith_client_core *core, struct cc_op *op)
{
    op->done_next = NULL;
    if (core->finished_last != NULL) {
        core->finished_last->done_next = op;
    } else {
        core->finished = op;
    }
    core->finished_last = op;
}

void cc_op_finish(struct kith_client_core *core, struct cc_op *op)
{
    KITH_ASSERT(!op->done);
    cc_watches_read(core, op);
    op->done = true;
    core->counts.requests[op->kind]++;
    core->counts.failed[op->kind] += op->result.err != KITH_OK ? 1 : 0;
    core->counts.degraded += op->result.err == KITH_OK && op->result.degraded ? 1 : 0;
    core->pending -= op->inner ? 0 : 1;
    if (!cc_hard_park(core, op)) {
        cc_op_finished(core, op);
    }
    if (op->lingers) {
        core->lingering++;
    } else {
        op_deactivate(core, op);
    }
}

void cc_op_fail(struct kith_client_core *core, struct cc_op *op, enum kith_err err,
                const char *format, ...)
{
    char text[CC_MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args); /* cut: it is for people */
    va_end(args);
    memcpy(op->message, text, sizeof(text));
    memset(&op->result, 0, sizeof(op->result));
    op->result.err = err;
    op->result.message = op->message;
    op->lingers = false;
    cc_op_finish(core, op);
}

void cc_op_end(struct kith_client_core *core, struct cc_op *op)
{
    KITH_ASSERT(op->lingers);
    op->lingers = false;
    core->lingering--;
    core->waiting_dirty = true;
    op_deactivate(core, op);
    if (op->released) {
        cc_op_recycle(core, op);
    }
}

uint32_t cc_op_left_ms(const struct kith_client_core *core, const struct cc_op *op)
{
    return core->now >= op->deadline_ms ? 1 : (uint32_t)(op->deadline_ms - core->now);
}

void cc_op_wake(struct kith_client_core *core, struct cc_op *op, uint64_t at_ms)
{
    if (at_ms <= core->now) {
        at_ms = core->now + 1; /* or a step would never end */
    }
    if (at_ms < op->wake_ms) {
        op->wake_ms = at_ms;
    }
}

/* Why it failed: in its own words where the op's message, of who failed last, is of this one. */
static const char *failure(const struct cc_op *op, const struct cc_rep *rep)
{
    const char *address = rep->peer->address;
    size_t length = strlen(address);
    bool last = strncmp(op->message, address, length) == 0 &&
                strncmp(op->message + length, ": ", 2) == 0;
    return last ? op->message + length + 2 : kith_err_text((int)rep->err);
}

/* What the replicas of an op said, for the message of a failure. */
static void op_why(const struct cc_op *op, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (uint32_t i = 0; i < op->rep_count && at + 1 < size; i++) {
        const struct cc_rep *rep = &op->reps[i];
        const char *what = rep->state == CC_REP_HAVE      ? "answered"
                           : rep->err != KITH_OK          ? failure(op, rep)
                           : rep->state == CC_REP_ASKED   ? "no answer"
                           : rep->peer->reason[0] != '\0' ? rep->peer->reason
                                                          : "not connected";
        int n =
            snprintf(text + at, size - at, "%s%s: %s", i > 0 ? ", " : "", rep->peer->address, what);
        at = n < 0 ? size : at + (size_t)n;
    }
}

static void op_deadline(struct kith_client_core *core, struct cc_op *op)
{
    if (op->done) {
        cc_op_end(core, op);
        return;
    }
    char why[CC_MESSAGE_SIZE];
    op_why(op, why, sizeof(why));
    uint32_t after_ms = (uint32_t)(op->deadline_ms - op->started_ms);
    bool sent = op->asks != NULL;
    for (uint32_t i = 0; i < op->rep_count; i++) {
        sent = sent || op->reps[i].state == CC_REP_HAVE || op->reps[i].err == KITH_ETIMEOUT;
    }
    enum kith_err err = sent ? KITH_ETIMEOUT : KITH_EUNREACH;
    if (op->kind == KITH_CLIENT_PUT) {
        cc_put_deadline(core, op, err, why);
    } else if (op->kind == KITH_CLIENT_CHUNK_PUT && op->u.chunk.sent > 0) {
        cc_op_fail(core, op, KITH_EUNKNOWN, "no quorum took the chunk within %u ms (%.180s)",
                   after_ms, why);
    } else if (cc_replicas_lost(core, op)) {
        cc_session_drop(&core->session,
                        op->kind == KITH_CLIENT_SCAN ? &op->u.scan.group : &op->u.get.group,
                        op->behind_row);
        cc_op_fail(core, op, KITH_EIO,
                   "what was written or read here before is on no owner any more (%.170s)", why);
    } else if (op->behind) {
        cc_op_fail(core, op, KITH_ETIMEOUT,
                   "the nodes that answer have not yet what was written or read here (%.170s)",
                   why);
    } else if (core->table == NULL) {
        kith_client_core_reasons(core, why, sizeof(why));
        cc_op_fail(core, op, err, "no node answered within %u ms (%.190s)", after_ms, why);
    } else {
        cc_op_fail(core, op, err, "not enough answers within %u ms (%.190s)", after_ms, why);
    }
}

void cc_drive(struct kith_client_core *core, struct cc_op *op)
{
    op->wake_ms = op->deadline_ms;
    op->waits = false;
    switch (op->kind) {
    case KITH_CLIENT_GET:
        cc_get_drive(core, op);
        break;
    case KITH_CLIENT_SCAN:
        cc_scan_drive(core, op);
        break;
    case KITH_CLIENT_GROUPS:
        cc_groups_drive(core, op);
        break;
    case KITH_CLIENT_PUT:
        cc_put_drive(core, op);
        break;
    case KITH_CLIENT_CHUNK_PUT:
        cc_chunk_put_drive(core, op);
        break;
    case KITH_CLIENT_CHUNK_GET:
        cc_chunk_get_drive(core, op);
        break;
    case KITH_CLIENT_CHUNK_SYNC:
        cc_sync_drive(core, op);
        break;
    case KITH_CLIENT_STATUS:
        cc_status_drive(core, op);
        break;
    case KITH_CLIENT_WHERE:
        cc_where_drive(core, op);
        break;
    }
    if (op->active) {
        heap_fix(core, op);
    }
}

void cc_op_lost(struct kith_client_core *core, struct cc_op *op, uint32_t rep)
{
    if (op->kind == KITH_CLIENT_CHUNK_SYNC) {
        op->u.sync.nodes[rep].state = CC_REP_FAILED;
    } else if (op->kind == KITH_CLIENT_STATUS) {
        op->u.status.sent = false;
    } else if (op->kind == KITH_CLIENT_WHERE) {
        cc_where_lost(op, rep);
    } else {
        cc_replica_failed(core, op, rep, KITH_ECLOSED, NULL);
    }
    cc_drive(core, op);
}

void cc_drive_waiting(struct kith_client_core *core)
{
    struct cc_op *next;
    for (struct cc_op *op = core->active; op != NULL; op = next) {
        next = op->next; /* driving an op ends no other */
        if (op->waits) {
            cc_drive(core, op);
        }
    }
}

/* ---- Events ---- */

/* The request is copied; its time begins. timeout_ms 0: the core's. */
static void op_begin(struct kith_client_core *core, struct cc_op *op, uint32_t timeout_ms)
{
    if (timeout_ms == 0) {
        timeout_ms = core->op_timeout_ms;
    }
    if (timeout_ms > KITH_TIMEOUT_MAX_MS) {
        timeout_ms = KITH_TIMEOUT_MAX_MS;
    }
    op->order = ++core->order;
    op->started_ms = core->now;
    op->deadline_ms = core->now + timeout_ms;
    op->wake_ms = op->deadline_ms;
    op->again_ms = CC_NEVER;
    op->pause_ms = CC_PAUSE_MIN_MS;
    core->pending += op->inner ? 0 : 1;
    op_activate(core, op);
    cc_drive(core, op);
}

/* NULL: *ret_err says why. */
static struct cc_op *op_copy(struct kith_client_core *core, const struct kith_client_op *from,
                             enum kith_err *ret_err)
{
    struct cc_op *op = cc_op_new(core);
    if (op == NULL) {
        *ret_err = KITH_ENOMEM;
        return NULL;
    }
    *ret_err = cc_submit_copy(core, op, from);
    if (*ret_err != KITH_OK) {
        op->kind = KITH_CLIENT_GET; /* it holds no door */
        cc_op_recycle(core, op);
        return NULL;
    }
    return op;
}

bool cc_op_begin_inner(struct kith_client_core *core, const struct kith_client_op *from)
{
    enum kith_err err;
    struct cc_op *op = op_copy(core, from, &err);
    if (op == NULL) {
        return false;
    }
    op->inner = true;
    op_begin(core, op, 0);
    return true;
}

bool cc_op_begin_anew(struct kith_client_core *core, const struct kith_client_op *from, uint64_t tag)
{
    enum kith_err err;
    struct cc_op *op = op_copy(core, from, &err);
    if (op == NULL) {
        return false;
    }
    op->tag = tag;
    op_begin(core, op, from->timeout_ms);
    return true;
}

static enum kith_err take_submit(struct kith_client_core *core,
                                 const struct kith_client_event *event)
{
    enum kith_err err;
    if (core->pending >= KITH_CLIENT_OPS_MAX) {
        return KITH_ELIMIT;
    }
    struct cc_op *op = op_copy(core, event->op, &err);
    if (op == NULL) {
        return err;
    }
    if (op->kind == KITH_CLIENT_GET || op->kind == KITH_CLIENT_SCAN) {
        core->levels |= 1u << op->level;
    }
    op->tag = event->tag;
    if (op->kind == KITH_CLIENT_STATUS && op->u.status.door != NULL) {
        op->u.status.door->wanted++;
        core->peers_wake_ms = core->now;
    }
    op_begin(core, op, event->op->timeout_ms);
    return KITH_OK;
}

static void take_cancel(struct kith_client_core *core, const struct kith_client_event *event)
{
    struct cc_op *next;
    for (struct cc_op *op = core->active; op != NULL; op = next) {
        next = op->next;
        if (op->done && event->all) {
            cc_op_end(core, op);
        } else if (!op->done && (event->all || (op->tag == event->tag && !op->inner))) {
            cc_op_fail(core, op, KITH_ECANCELED, "canceled");
        }
    }
    cc_hard_end(core, event->all, event->tag);
}

static void take_answer(struct kith_client_core *core, const struct kith_client_event *event)
{
    struct cc_ask ask;
    if (!cc_ask_take(core, event->conn, event->msg->id, &ask)) {
        cc_nodes_heard(core, event->conn); /* too late: the op has ended, or asked elsewhere */
        return;
    }
    cc_peer_answered(core, ask.through != NULL ? ask.through : ask.peer);
    struct cc_op *op = ask.op;
    if (op->kind == KITH_CLIENT_GET || op->kind == KITH_CLIENT_SCAN) {
        cc_view_answered(core, ask.peer, ask.sent_ms);
    }
    switch (op->kind) {
    case KITH_CLIENT_GET:
        cc_get_answer(core, op, ask.rep, event->msg, event->box);
        break;
    case KITH_CLIENT_SCAN:
        cc_scan_answer(core, op, ask.rep, event->msg, event->box);
        break;
    case KITH_CLIENT_GROUPS:
        cc_groups_answer(core, op, ask.rep, event->msg);
        break;
    case KITH_CLIENT_PUT:
        cc_put_answer(core, op, ask.rep, event->msg, event->box);
        break;
    case KITH_CLIENT_CHUNK_PUT:
        cc_chunk_put_answer(core, op, ask.rep, event->msg);
        break;
    case KITH_CLIENT_CHUNK_GET:
        cc_chunk_get_answer(core, op, ask.rep, event->msg);
        break;
    case KITH_CLIENT_CHUNK_SYNC:
        cc_sync_answer(core, op, ask.rep, event->msg);
        break;
    case KITH_CLIENT_STATUS:
        cc_status_answer(core, op, event->msg, event->box);
        break;
    case KITH_CLIENT_WHERE:
        cc_where_answer(core, op, ask.rep, event->msg, event->box);
        break;
    }
}

static enum kith_err take(struct kith_client_core *core, const struct kith_client_event *event)
{
    switch (event->kind) {
    case KITH_CLIENT_EVENT_TICK:
        break;
    case KITH_CLIENT_EVENT_OPENED:
        cc_nodes_opened(core, event->conn);
        break;
    case KITH_CLIENT_EVENT_CLOSED:
        cc_nodes_closed(core, event->conn, event->reason);
        break;
    case KITH_CLIENT_EVENT_MESSAGE:
        if (event->msg->kind == KITH_MSG_HELLO || event->msg->kind == KITH_MSG_TABLE_RES) {
            cc_nodes_message(core, event->conn, event->msg);
        } else if (event->msg->kind == KITH_MSG_WATCH_RES ||
                   event->msg->kind == KITH_MSG_WATCH_EVENT) {
            cc_watches_message(core, event->conn, event->msg);
        } else {
            take_answer(core, event);
        }
        break;
    case KITH_CLIENT_EVENT_SUBMIT:
        return take_submit(core, event);
    case KITH_CLIENT_EVENT_CANCEL:
        take_cancel(core, event);
        break;
    case KITH_CLIENT_EVENT_WATCH:
        return cc_watch_begin(core, event->tag, event->group);
    case KITH_CLIENT_EVENT_UNWATCH:
        cc_watch_end(core, event->tag, event->group);
        break;
    }
    return KITH_OK;
}

static void run_timers(struct kith_client_core *core)
{
    if (core->now >= core->peers_wake_ms) {
        cc_nodes_tick(core);
    }
    if (core->now >= core->watches.wake_ms) { /* first: reads that go out behind are covered */
        cc_watches_tick(core);
    }
    cc_hard_tick(core);
    while (core->heap_count > 0 && core->heap[0]->wake_ms <= core->now) {
        struct cc_op *op = core->heap[0];
        if (core->now >= op->deadline_ms) {
            op_deadline(core, op);
        } else {
            cc_drive(core, op);
        }
    }
    /* a bound, so that ops that open windows for each other cannot keep a step from ending */
    for (uint32_t round = 0; core->waiting_dirty && round < DRIVE_ROUNDS; round++) {
        core->waiting_dirty = false;
        cc_drive_waiting(core);
    }
}

/* A DONE that finds no memory stays for the next step, which is asked for at once. */
static void tell_finished(struct kith_client_core *core)
{
    while (core->finished != NULL) {
        struct cc_op *op = core->finished;
        struct kith_client_effect *effect = op->inner ? NULL : cc_effect_new(core);
        if (effect == NULL && !op->inner) {
            return;
        }
        core->finished = op->done_next;
        if (core->finished == NULL) {
            core->finished_last = NULL;
        }
        if (op->inner) {
            cc_twins_removed(core);
            cc_op_recycle(core, op);
            continue;
        }
        op->told = true;
        effect->kind = KITH_CLIENT_EFFECT_DONE;
        effect->tag = op->tag;
        effect->op_kind = op->kind;
        effect->result = &op->result;
        effect->done = (struct kith_client_done *)op;
    }
}

enum kith_err kith_client_core_step(struct kith_client_core *core,
                                    const struct kith_client_event *event,
                                    struct kith_client_effects *ret_effects)
{
    kith_arena_reset(&core->step_arena);
    core->effect_count = 0;
    if (event->mono_ms > core->now) {
        core->now = event->mono_ms;
    }
    core->random ^= event->random;
    cc_session_forget(&core->session, core->now, core->session_ms);
    enum kith_err err = take(core, event);
    run_timers(core);
    cc_twins_remove(core);
    cc_session_sweep(&core->session, core->active != NULL ? core->active->order : UINT64_MAX);
    bool told = cc_watches_tell(core); /* first: a read's callback finds its watch as it is now */
    if (told) {
        tell_finished(core);
    }
    ret_effects->count = core->effect_count;
    ret_effects->effects = core->effects;
    ret_effects->deadline_ms = core->peers_wake_ms;
    if (core->heap_count > 0 && core->heap[0]->wake_ms < ret_effects->deadline_ms) {
        ret_effects->deadline_ms = core->heap[0]->wake_ms;
    }
    if (core->watches.wake_ms < ret_effects->deadline_ms) {
        ret_effects->deadline_ms = core->watches.wake_ms;
    }
    uint64_t hard_ms = cc_hard_due(core);
    if (hard_ms < ret_effects->deadline_ms) {
        ret_effects->deadline_ms = hard_ms;
    }
    if (!told || core->finished != NULL || core->waiting_dirty) {
        ret_effects->deadline_ms = core->now;
    }
    return err;
}

void kith_client_core_release(struct kith_client_core *core, struct kith_client_done *done)
{
    struct cc_op *op = (struct cc_op *)done;
    KITH_ASSERT(op->told && !op->released);
    op->released = true;
    if (!op->lingers) {
        cc_op_recycle(core, op);
    }
}

/* ---- Making and ending ---- */

enum kith_err kith_client_core_new(const struct kith_client_core_options *options,
                                   struct kith_client_core **ret_core, struct kith_error *error)
{
    if ((uint32_t)options->read_level >= KITH_LEVELS ||
        (uint32_t)options->write_level >= KITH_LEVELS) {
        return kith_error_set(error, KITH_EINVAL, "there is no such level");
    }
    if (options->zone != NULL && strlen(options->zone) >= KITH_ZONE_SIZE) {
        return kith_error_set(error, KITH_EINVAL, "the zone's name is too long: %u bytes at most",
                              KITH_ZONE_SIZE - 1);
    }
    struct kith_client_core *core = kith_calloc(1, sizeof(*core));
    if (core == NULL) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    core->now = options->mono_ms;
    core->random = options->random[2] ^ options->random[3];
    core->client_id[0] = options->random[0];
    core->client_id[1] = options->random[1];
    core->op_timeout_ms = options->op_timeout_ms != 0 ? options->op_timeout_ms : OP_TIMEOUT_MS;
    core->session_ms = options->session_ms != 0 ? options->session_ms : KITH_SESSION_MS;
    core->hedge_ms = options->hedge_ms != 0 ? options->hedge_ms : HEDGE_MS;
    core->relay_min = options->relay_min != 0 ? options->relay_min : CC_RELAY_MIN;
    core->strict = options->strict;
    core->w_min = options->w_min;
    core->read_level = options->read_level;
    core->write_level = options->write_level;
    if (options->zone != NULL) {
        core->zone_given = true;
        (void)snprintf(core->zone, sizeof(core->zone), "%s", options->zone); /* checked above */
    }
    core->next_conn = 1;
    core->peers_wake_ms = core->now;
    core->watches.wake_ms = CC_NEVER;
    (void)snprintf(core->writer, sizeof(core->writer), "%s", /* cut to KITH_WRITER_MAX */
                   options->writer == NULL ? "" : options->writer);
    kith_arena_init(&core->step_arena, 0);
    core->ops = kith_calloc(4 * KITH_CLIENT_OPS_MAX, sizeof(struct cc_op *));
    core->heap = kith_calloc(4 * KITH_CLIENT_OPS_MAX, sizeof(struct cc_op *));
    enum kith_err err = core->ops == NULL || core->heap == NULL ? KITH_ENOMEM : KITH_OK;
    if (err == KITH_OK) {
        err = cc_session_init(&core->session);
    }
    if (err == KITH_OK) {
        err = cc_nodes_init(core, options->server_count, options->servers);
    }
    if (err != KITH_OK) {
        kith_client_core_free(core);
        return kith_error_set(error, err,
                              err == KITH_EINVAL
                                  ? "a client needs 1 to %u servers, each \"host:port\""
                                  : "out of memory for %u servers",
                              KITH_CLIENT_SERVERS_MAX);
    }
    *ret_core = core;
    return KITH_OK;
}

void kith_client_core_free(struct kith_client_core *core)
{
    if (core == NULL) {
        return;
    }
    for (uint32_t i = 0; i < core->op_count; i++) {
        op_let_go(core->ops[i]);
        kith_arena_release(&core->ops[i]->arena);
        kith_free(core->ops[i]);
    }
    cc_asks_release(core);
    cc_watches_release(core);
    cc_nodes_release(core);
    cc_session_release(&core->session);
    cc_twins_release(&core->twins);
    kith_arena_release(&core->step_arena);
    kith_free(core->effects);
    kith_free(core->ops);
    kith_free(core->heap);
    kith_free(core);
}

bool kith_client_core_ready(const struct kith_client_core *core)
{
    return core->table != NULL;
}

struct kith_table *kith_client_core_table(const struct kith_client_core *core)
{
    return core->table;
}

uint32_t kith_client_core_pending(const struct kith_client_core *core)
{
    return core->pending;
}

uint32_t kith_client_core_lingering(const struct kith_client_core *core)
{
    return core->lingering;
}
