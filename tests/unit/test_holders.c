/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_holders.c - how many connections of whom a node takes. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "shell/holders.h"

static struct kith_cert cert_of(enum kith_cert_role role, uint32_t number)
{
    struct kith_cert cert;
    memset(&cert, 0, sizeof cert);
    cert.grant.role = role;
    (void)snprintf(cert.grant.name, sizeof cert.grant.name, "holder%u", number);
    (void)snprintf(cert.serial, sizeof cert.serial, "5f0c%08x", number);
    return cert;
}

/* As many of that certificate as are taken, from that connection on. */
static uint32_t add(struct kith_holders *holders, uint64_t first, const struct kith_cert *cert,
                    uint32_t tries, const char *words)
{
    uint32_t count = 0;
    struct kith_error error;
    while (count < tries && kith_holders_add(holders, first + count, cert, &error) == KITH_OK) {
        count++;
    }
    if (count < tries && !strstr(error.message, words)) {
        fail_msg("'%s' does not say '%s'", error.message, words);
    }
    return count;
}

static void test_one(void **state)
{
    (void)state;
    struct kith_holders holders = {0};
    struct kith_cert anna = cert_of(KITH_CERT_CLIENT, 1), ben = cert_of(KITH_CERT_CLIENT, 2);
    assert_null(kith_holders_find(&holders, 1));
    kith_holders_remove(&holders, 1);
    assert_int_equal(add(&holders, 1, &anna, 1000, "'holder1' has 512 connections"), 512);
    assert_null(kith_holders_find(&holders, 513));
    assert_string_equal(kith_holders_find(&holders, 512)->name, "holder1");
    assert_int_equal(add(&holders, 1001, &ben, 10, ""), 10); /* another one is not hindered */
    kith_holders_remove(&holders, 7);
    kith_holders_remove(&holders, 7);
    assert_null(kith_holders_find(&holders, 7));
    assert_int_equal(add(&holders, 2001, &anna, 10, "has 512"), 1);
    for (uint64_t conn = 1; conn <= 2001; conn++) {
        kith_holders_remove(&holders, conn);
    }
    assert_int_equal(holders.conns.count, 0);
    assert_int_equal(holders.serials.count, 0);
    assert_int_equal(holders.clients, 0);
    assert_int_equal(add(&holders, 1, &anna, 1000, "has 512"), 512);
    for (uint64_t conn = 1; conn <= 512; conn++) {
        kith_holders_remove(&holders, conn);
    }
    kith_holders_release(&holders);
}

/* All clients together leave places to others. */
static void test_all(void **state)
{
    (void)state;
    struct kith_holders holders = {0};
    uint32_t count = 0;
    for (uint32_t i = 0; i < KITH_CONNS_MAX; i++) {
        struct kith_cert cert = cert_of(KITH_CERT_CLIENT, i);
        count += add(&holders, 1 + i, &cert, 1, "clients have 3072 connections");
    }
    assert_int_equal(count, KITH_CONNS_MAX - KITH_HOLDERS_KEPT);
    struct kith_cert admin = cert_of(KITH_CERT_ADMIN, 9), node = cert_of(KITH_CERT_NODE, 9);
    assert_int_equal(add(&holders, 10000, &admin, 1, ""), 1);
    assert_int_equal(add(&holders, 20000, &node, 2000, ""),
                     2000); /* the core has a limit of its own */
    for (uint64_t conn = 1; conn < 30000; conn++) {
        kith_holders_remove(&holders, conn);
    }
    assert_int_equal(holders.conns.count + holders.serials.count + holders.clients, 0);
    kith_holders_release(&holders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one),
        cmocka_unit_test(test_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
