/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Time limits of connections: to be up, to end in order, and of reads that were put off; and when
 * certificates are looked at. gRPC's C
 * interface has no alarms, and a deadline of the call would end the stream; so one thread sleeps
 * until the next limit and cancels, or reads on. It runs no handler. Where there is a driver, he
 * reads on himself: under load a thread that wakes every few milliseconds costs more than it does.
 */
#include <string.h>
#include <time.h>

#include "rpc/rpc_impl.h"

static uint64_t now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u;
}

/* The connection with the nearest limit, or NULL. rpc->lock held. */
static struct rpc_conn *nearest(struct kith_rpc *rpc)
{
    struct rpc_conn *best = NULL;
    for (size_t i = 0; i < RPC_BUCKETS; i++) {
        for (struct rpc_conn *conn = rpc->buckets[i]; conn; conn = conn->next) {
            if (conn->limit_ms != 0 && (!best || conn->limit_ms < best->limit_ms)) {
                best = conn;
            }
        }
    }
    return best;
}

static void *run_timer(void *arg)
{
    struct kith_rpc *rpc = arg;
    pthread_mutex_lock(&rpc->lock);
    while (!rpc->timer_stop) {
        struct rpc_conn *conn = nearest(rpc);
        uint64_t at = conn ? conn->limit_ms : UINT64_MAX;
        uint64_t put_off = rpc->options.driven ? 0 : rpc->put_off_ms; /* the driver sees to it */
        at = put_off != 0 && put_off < at ? put_off : at;
        bool look = rpc->tls && rpc->tls_ms < at;
        at = look ? rpc->tls_ms : at;
        if (at == UINT64_MAX) {
            pthread_cond_wait(&rpc->timer_changed, &rpc->lock);
        } else if (at > now_ms()) {
            struct timespec until = {(time_t)(at / 1000u), (long)(at % 1000u) * 1000000};
            (void)pthread_cond_timedwait(&rpc->timer_changed, &rpc->lock, &until);
        } else if (look) {
            pthread_mutex_unlock(&rpc->lock);
            rpc_tls_look(rpc);
            pthread_mutex_lock(&rpc->lock);
            rpc->tls_ms = now_ms() + RPC_TLS_LOOK_MS;
        } else if (at == put_off) {
            rpc_read_late(rpc);
        } else {
            conn->limit_ms = 0;
            rpc_conn_hold(conn);
            pthread_mutex_unlock(&rpc->lock);
            rpc_conn_late(conn);
            rpc_conn_drop(conn);
            pthread_mutex_lock(&rpc->lock);
        }
    }
    pthread_mutex_unlock(&rpc->lock);
    return NULL;
}

int rpc_timer_start(struct kith_rpc *rpc)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&rpc->timer_changed, &attr);
    pthread_condattr_destroy(&attr);
    return pthread_create(&rpc->timer, NULL, run_timer, rpc);
}

void rpc_timer_stop(struct kith_rpc *rpc)
{
    pthread_mutex_lock(&rpc->lock);
    rpc->timer_stop = true;
    pthread_cond_signal(&rpc->timer_changed);
    pthread_mutex_unlock(&rpc->lock);
    pthread_join(rpc->timer, NULL);
    pthread_cond_destroy(&rpc->timer_changed);
    while (rpc->put_off) { /* streams that have ended before it looked at them */
        struct rpc_conn *conn = rpc->put_off;
        rpc->put_off = conn->next_put_off;
        rpc_conn_drop(conn);
    }
}

void rpc_timer_set(struct rpc_conn *conn, uint32_t after_ms)
{
    struct kith_rpc *rpc = conn->rpc;
    pthread_mutex_lock(&rpc->lock);
    conn->limit_ms = after_ms == 0 ? 0 : now_ms() + after_ms;
    if (after_ms != 0) {
        pthread_cond_signal(&rpc->timer_changed);
    }
    pthread_mutex_unlock(&rpc->lock);
}
