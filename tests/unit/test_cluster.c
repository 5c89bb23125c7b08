/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Orders to a node that is only just starting. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ask/cluster.h"

/* A node that says of the first orders that it is starting. */
struct node {
    struct kith_rpc *rpc;
    pthread_mutex_t lock;
    /* protected by lock: */
    uint32_t orders, starting;
    enum kith_err then; /* what it says after that */
};

static void on_message(void *arg, uint64_t conn, struct kith_msg_box *box)
{
    struct node *node = arg;
    if (box->msg.kind == KITH_MSG_INIT_REQ) {
        struct kith_msg answer = {.kind = KITH_MSG_ADMIN_RES, .id = box->msg.id};
        pthread_mutex_lock(&node->lock);
        bool starts = node->orders++ < node->starting;
        answer.u.admin_res.status.err = starts ? KITH_ENOTREADY : node->then;
        pthread_mutex_unlock(&node->lock);
        answer.u.admin_res.status.message = starts ? "the node is starting" : "";
        if (kith_rpc_send(node->rpc, conn, &answer) != KITH_OK) {
            kith_rpc_close(node->rpc, conn, "the answer could not be sent");
        }
    }
    kith_msg_box_drop(box);
}

static void on_conn(void *arg, uint64_t conn)
{
    (void)arg;
    (void)conn;
}

static void on_closed(void *arg, uint64_t conn, const char *reason)
{
    (void)arg;
    (void)conn;
    (void)reason;
}

/* What the order ends with, *ret_orders: how often it was given. */
static enum kith_err ordered(uint32_t starting, enum kith_err then, uint64_t timeout_ms,
                             uint32_t *ret_orders, struct kith_error *error)
{
    struct node node = {.starting = starting, .then = then};
    struct kith_rpc_options options = {.threads = 1};
    struct kith_rpc_handlers handlers = {
        .arg = &node, .opened = on_conn, .message = on_message, .closed = on_closed};
    struct kith_link *link = NULL;
    struct kith_msg order = {.kind = KITH_MSG_INIT_REQ};
    char address[32];
    uint16_t port = 0;
    order.u.init_req.name = "home";
    order.u.init_req.zone = "";
    assert_int_equal(setenv("KITH_CERT", "", 1), 0);
    assert_int_equal(pthread_mutex_init(&node.lock, NULL), 0);
    assert_int_equal(kith_rpc_new(&options, &handlers, &node.rpc, error), KITH_OK);
    assert_int_equal(kith_rpc_listen(node.rpc, "127.0.0.1:0", &port, error), KITH_OK);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", port);
    assert_int_equal(kith_link_new(&link, error), KITH_OK);
    enum kith_err err = kith_ctl_order(link, address, &order, timeout_ms, error);
    kith_link_free(link);
    kith_rpc_free(node.rpc);
    *ret_orders = node.orders;
    pthread_mutex_destroy(&node.lock);
    return err;
}

static void test_starting(void **state)
{
    (void)state;
    struct kith_error error;
    uint32_t orders = 0;
    assert_int_equal(ordered(3, KITH_OK, 20000, &orders, &error), KITH_OK);
    assert_int_equal(orders, 4);
}

/* What else it says is told at once: something may have happened. */
static void test_refused(void **state)
{
    (void)state;
    struct kith_error error;
    uint32_t orders = 0;
    assert_int_equal(ordered(1, KITH_EBUSY, 20000, &orders, &error), KITH_EBUSY);
    assert_int_equal(orders, 2);
}

static void test_bounded(void **state)
{
    (void)state;
    struct kith_error error;
    uint32_t orders = 0;
    uint64_t begun_ms = kith_mono_ms();
    assert_int_equal(ordered(UINT32_MAX, KITH_OK, 2000, &orders, &error), KITH_ENOTREADY);
    assert_non_null(strstr(error.message, "the node is starting"));
    assert_true(orders >= 2);
    assert_true(kith_mono_ms() - begun_ms < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starting),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
