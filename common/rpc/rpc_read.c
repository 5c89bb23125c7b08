/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * When to read on. gRPC announces window the moment a read begins on a stream that has received
 * something since the last announcement: a packet of its own, which wakes the other side for
 * nothing; for small messages that is as much work as the message. What is sent on the stream in
 * between takes the announcement along. So a read is put off
 *
 * - on a stream that this side opened, while no answer is outstanding on it: until the next send,
 *   or for RPC_PUT_OFF_MS, for what comes unasked;
 * - on one that was opened to a driver, until he has handled what he got, for he may have the
 *   answer by then; and where one answer is missing, until that one is sent, or for RPC_PUT_OFF_MS:
 *   who asked one thing mostly waits for it before he asks another. Not in a swarm of events, where
 *   much at a time is worth more.
 *
 * A read that is put off counts as pending, like one under way. */
#include "base/clock.h"
#include "rpc/rpc_impl.h"

/* HELLO, PING and DECIDE are not counted: their like need not come back, and a send resumes the
 * read anyhow. */
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
    case KITH_MSG_WATCH_REQ:
    case KITH_MSG_SUMS_REQ:
    case KITH_MSG_LEAF_REQ:
    case KITH_MSG_CHUNK_LIST_REQ:
    case KITH_MSG_GROUPS_REQ:
    case KITH_MSG_EXPLAIN_REQ:
    case KITH_MSG_HANDOFF_REQ:
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
    case KITH_MSG_WATCH_RES:
    case KITH_MSG_SUMS_RES:
    case KITH_MSG_LEAF_RES:
    case KITH_MSG_CHUNK_LIST_RES:
    case KITH_MSG_GROUPS_RES:
    case KITH_MSG_EXPLAIN_RES:
    case KITH_MSG_HANDOFF_RES:
        return true;
    default:
        return false;
    }
}

/* Questions go to the server's side of a stream, answers come from there; what goes the other way
 * is not counted. Some answers come unasked. */
static void count(struct rpc_conn *conn, enum kith_msg_kind kind)
{
    if (is_question(kind)) {
        conn->unanswered++;
    } else if (is_answer(kind)) {
        conn->unanswered -= conn->unanswered > 0 ? 1 : 0;
    }
}

void rpc_read_sent(struct rpc_conn *conn, enum kith_msg_kind kind)
{
    if (conn->is_server == is_answer(kind)) {
        count(conn, kind);
    }
}

void rpc_read_got(struct rpc_conn *conn, enum kith_msg_kind kind)
{
    if (conn->is_server != is_answer(kind)) {
        pthread_mutex_lock(&conn->lock);
        count(conn, kind);
        pthread_mutex_unlock(&conn->lock);
    }
}

uint64_t rpc_late_ms(void)
{
    return kith_mono_ms() + RPC_PUT_OFF_MS;
}

static bool is_driver(struct kith_rpc *rpc)
{
    return pthread_equal(__atomic_load_n(&rpc->driver, __ATOMIC_RELAXED), pthread_self()) != 0;
}

void rpc_put_off(struct rpc_conn *conn, uint64_t due_ms)
{
    struct kith_rpc *rpc = conn->rpc;
    bool wake = false;
    pthread_mutex_lock(&rpc->lock);
    if (!conn->put_off) {
        rpc_conn_hold(conn);
        conn->put_off = true;
        conn->next_put_off = rpc->put_off;
        rpc->put_off = conn;
        bool first = rpc->put_off_ms == 0;
        if (first || rpc->put_off_ms > due_ms) { /* hardly ever the latter: all wait as long */
            __atomic_store_n(&rpc->put_off_ms, due_ms, __ATOMIC_RELAXED);
        }
        if (first && !rpc->options.driven) {
            pthread_cond_signal(&rpc->timer_changed);
        }
        wake = first && rpc->options.driven && !is_driver(rpc);
    }
    pthread_mutex_unlock(&rpc->lock);
    if (wake) {
        kith_rpc_wake(rpc); /* it may sleep for longer */
    }
}

/* Puts the read off where as many answers are outstanding as said, else begins it. */
static void read_or_wait(struct rpc_conn *conn, uint32_t unanswered)
{
    uint64_t due = rpc_late_ms();
    pthread_mutex_lock(&conn->lock);
    bool unread = conn->unanswered == unanswered && conn->cls == KITH_RPC_ROWS && !conn->closing &&
                  !conn->over;
    conn->unread = unread;
    conn->due_ms = due;
    pthread_mutex_unlock(&conn->lock);
    if (unread) {
        rpc_put_off(conn, due);
    } else {
        rpc_read_start(conn);
    }
}

void rpc_read_on(struct rpc_conn *conn)
{
    struct kith_rpc *rpc = conn->rpc;
    if (conn->is_server && rpc->options.driven && rpc->swarm == 0) {
        conn->next_unread = rpc->unread;
        rpc->unread = conn;
        return;
    }
    if (conn->is_server) {
        rpc_read_start(conn);
    } else {
        read_or_wait(conn, 0);
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
        read_or_wait(conn, 1);
    }
}

/* Does what is due on it; when it is to be looked at again, 0 = need not. */
static uint64_t look(struct rpc_conn *conn, uint64_t now)
{
    pthread_mutex_lock(&conn->lock);
    uint64_t read = conn->unread ? conn->due_ms : 0;
    uint64_t leave = conn->leave_ms;
    pthread_mutex_unlock(&conn->lock);
    if (leave != 0 && leave <= now) { /* which also reads on */
        rpc_send_late(conn);
        return 0;
    }
    if (read != 0 && read <= now) {
        rpc_read_resume(conn);
        read = 0;
    }
    return read == 0 || (leave != 0 && leave < read) ? leave : read;
}

void rpc_read_late(struct kith_rpc *rpc)
{
    struct rpc_conn *list = rpc->put_off;
    rpc->put_off = NULL;
    __atomic_store_n(&rpc->put_off_ms, 0, __ATOMIC_RELAXED);
    uint64_t now = kith_mono_ms();
    while (list) {
        struct rpc_conn *conn = list;
        list = conn->next_put_off;
        conn->put_off = false; /* from here on it may be on the next list */
        pthread_mutex_unlock(&rpc->lock);
        uint64_t due = look(conn, now);
        if (due != 0) { /* in between something was done, and something new put off */
            rpc_put_off(conn, due);
        }
        rpc_conn_drop(conn);
        pthread_mutex_lock(&rpc->lock);
    }
}

uint64_t rpc_read_drive(struct kith_rpc *rpc)
{
    uint64_t due = __atomic_load_n(&rpc->put_off_ms, __ATOMIC_RELAXED);
    if (due != 0 && due <= kith_mono_ms()) {
        pthread_mutex_lock(&rpc->lock);
        rpc_read_late(rpc);
        due = rpc->put_off_ms;
        pthread_mutex_unlock(&rpc->lock);
    }
    return due == 0 ? UINT64_MAX : due;
}
