/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When to read on. gRPC announces window the moment a read begins on a stream that has received something
 * since the last announcement: a packet of its own, which wakes the other side for nothing; for small
 * messages that is as much work as the message. What is sent on the stream in between takes the
 * announcement along. So a read is put off
 *
 * - on a stream that this side opened, while no answer is outstanding on it: until the next send, or
 *   for RPC_PUT_OFF_MS, for what comes unasked;
 * - on one that was opened to a driver, until he has handled what he got, for he may have the answer by then;
 *   not in a swarm of events, where much at a time is worth more.
 *
 * A read that is put off counts as pending, like one under way. */
#include <time.h>

#include "rpc/rpc_impl.h"

/* HELLO, PING and DECIDE are not counted: their like need not come back, and a send resumes the read
 * anyhow. */
static bool is_question(enum kith_msg_kind kind)
{
    switch (kind) {
    case KITH_MSG_TABLE_REQ:
    case KITH_MSG_PUT_REQ:
    case KITH_MSG_GET_REQ:
    case KITH_MSG_SCAN_REQ:
    case KITH_MSG_CHUNK_SYNC_REQ:
    case KITH_MSG_REPLICATE_REQ:
    case KITH_MSG_REQUEST_FIND_REQ:
    case KITH_MSG_INIT_REQ:
    case KITH_MSG_JOIN_CMD:
    case KITH_MSG_JOIN_REQ:
    case KITH_MSG_STATUS_REQ:
        return true;
    default:
        return false;
    }
}

static bool is_answer(enum kith_msg_kind kind)
{
    switch (kind) {
    case KITH_MSG_TABLE_RES:
    case KITH_MSG_PUT_RES:
    case KITH_MSG_GET_RES:
    case KITH_MSG_SCAN_RES:
    case KITH_MSG_CHUNK_SYNC_RES:
    case KITH_MSG_REPLICATE_RES:
    case KITH_MSG_REQUEST_FIND_RES:
    case KITH_MSG_ADMIN_RES:
    case KITH_MSG_JOIN_RES:
    case KITH_MSG_STATUS_RES:
        return true;
    default:
        return false;
    }
}

void rpc_read_asked(struct rpc_conn *conn, enum kith_msg_kind kind)
{
    conn->unanswered += is_question(kind) ? 1 : 0;
}

void rpc_read_got(struct rpc_conn *conn, enum kith_msg_kind kind)
{
    if (!conn->is_server && is_answer(kind)) {
        pthread_mutex_lock(&conn->lock);
        conn->unanswered -= conn->unanswered > 0 ? 1 : 0; /* some come unasked */
        pthread_mutex_unlock(&conn->lock);
    }
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

/* Has the timer look at it at `due_ms` or before. */
static void put_off(struct rpc_conn *conn, uint64_t due_ms)
{
    struct kith_rpc *rpc = conn->rpc;
    pthread_mutex_lock(&rpc->lock);
    if (!conn->put_off) {
        rpc_conn_hold(conn);
        conn->put_off = true;
        conn->next_put_off = rpc->put_off;
        rpc->put_off = conn;
        if (rpc->put_off_ms == 0) {
            pthread_cond_signal(&rpc->timer_changed);
        }
        if (rpc->put_off_ms == 0 || rpc->put_off_ms > due_ms) {
            rpc->put_off_ms = due_ms; /* never before what the timer waits for: all wait as long */
        }
    }
    pthread_mutex_unlock(&rpc->lock);
}

void rpc_read_on(struct rpc_conn *conn)
{
    struct kith_rpc *rpc = conn->rpc;
    if (conn->is_server && rpc->options.driven && rpc->swarm == 0) {
        conn->next_unread = rpc->unread;
        rpc->unread = conn;
        return;
    }
    uint64_t due = now_ms() + RPC_PUT_OFF_MS;
    pthread_mutex_lock(&conn->lock);
    bool unread = !conn->is_server && conn->unanswered == 0 && conn->cls == KITH_RPC_ROWS &&
                  !conn->closing && !conn->over;
    conn->unread = unread;
    conn->due_ms = due;
    pthread_mutex_unlock(&conn->lock);
    if (unread) {
        put_off(conn, due);
    } else {
        rpc_read_start(conn);
    }
}

void rpc_read_resume(struct rpc_conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    bool unread = conn->unread;
    conn->unread = false;
    pthread_mutex_unlock(&conn->lock);
    if (unread) {
        rpc_read_start(conn);
    }
}

void rpc_read_all(struct kith_rpc *rpc)
{
    while (rpc->unread) {
        struct rpc_conn *conn = rpc->unread;
        rpc->unread = conn->next_unread;
        rpc_read_start(conn);
    }
}

/* When the read is due that is put off; 0 = none is. */
static uint64_t due_ms(struct rpc_conn *conn)
{
    pthread_mutex_lock(&conn->lock);
    uint64_t due = conn->unread ? conn->due_ms : 0;
    pthread_mutex_unlock(&conn->lock);
    return due;
}

void rpc_read_late(struct kith_rpc *rpc)
{
    struct rpc_conn *list = rpc->put_off;
    rpc->put_off = NULL;
    rpc->put_off_ms = 0;
    uint64_t now = now_ms();
    while (list) {
        struct rpc_conn *conn = list;
        list = conn->next_put_off;
        conn->put_off = false; /* from here on it may be on the next list */
        pthread_mutex_unlock(&rpc->lock);
        uint64_t due = due_ms(conn);
        if (due > now) { /* it has been read on, and put off again */
            put_off(conn, due);
        } else if (due != 0) {
            rpc_read_resume(conn);
        }
        rpc_conn_drop(conn);
        pthread_mutex_lock(&rpc->lock);
    }
}
