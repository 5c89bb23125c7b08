/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_identity.c - files that are replaced under a running process: what is sound is taken,
 * anything else leaves what was in use. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/certs.h"
#include "tls/identity.h"
#include "tls/pem_file.h"

#define PATHS       4
#define WAIT_MAX_MS 20000u

static struct certs ca;
static char folder[64], paths[PATHS][128], sent[128];
static struct kith_identity_files files;

static void put(int which, const struct kith_buf *pem)
{
    struct kith_error error;
    if (kith_pem_replace(paths[which], which == 1 ? KITH_PEM_SECRET : KITH_PEM_PUBLIC,
                         kith_buf_bytes(pem), &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
}

static int start(void **state)
{
    (void)state;
    static const char *const names[PATHS] = {"cert", "key", "ca", "crl"};
    (void)snprintf(folder, sizeof folder, "/tmp/test_identity.XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < PATHS; i++) {
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", folder, names[i]);
    }
    (void)snprintf(sent, sizeof sent, "%s/sent", folder);
    files = (struct kith_identity_files){paths[0], paths[1], paths[2], paths[3], NULL};
    certs_start(&ca, "home");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < PATHS; i++) {
        (void)unlink(paths[i]);
    }
    (void)unlink(sent);
    certs_stop(&ca);
    return rmdir(folder);
}

static void put_all(const struct certs_own *own)
{
    put(0, &own->cert);
    put(1, &own->key);
    put(2, &ca.cert);
    put(3, &ca.list);
}

static struct kith_follow *follow(void)
{
    struct kith_error error;
    struct kith_follow *made = NULL;
    if (kith_follow_new(&files, &made, &error) != KITH_OK) {
        fail_msg("%s", error.message);
    }
    return made;
}

/* The next look has been had. */
static void looked(struct kith_follow *by)
{
    const struct timespec pause = {0, 10000000};
    uint64_t end_ms = kith_mono_ms() + KITH_IDENTITY_LOOK_MS + 50;
    while (kith_mono_ms() < end_ms) {
        nanosleep(&pause, NULL);
    }
    kith_follow_look(by);
}

static void holds(struct kith_follow *by, const char *serial)
{
    const struct timespec pause = {0, 10000000};
    uint64_t end_ms = kith_mono_ms() + WAIT_MAX_MS;
    for (;;) {
        kith_follow_look(by);
        struct kith_identity *identity = kith_follow_take(by);
        bool good = strcmp(identity->own.serial, serial) == 0;
        kith_identity_drop(identity);
        if (good || kith_mono_ms() > end_ms) {
            assert_true(good);
            return;
        }
        nanosleep(&pause, NULL);
    }
}

static void test_renewed(void **state)
{
    (void)state;
    struct certs_own one, two, bad;
    struct certs other;
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &one);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 20, 0, &two);
    put_all(&one);
    struct kith_follow *by = follow();
    struct kith_identity *first = kith_follow_take(by);
    assert_string_equal(first->own.serial, one.says.serial);
    assert_int_equal(first->edition, 1);
    assert_int_equal(strlen(first->key_pem), one.key.size);

    put(0, &two.cert); /* half of it */
    looked(by);
    holds(by, one.says.serial);
    put(1, &two.key);
    holds(by, two.says.serial);
    struct kith_identity *second = kith_follow_take(by);
    assert_int_equal(second->edition, 2);
    assert_string_equal(first->own.serial, one.says.serial); /* who holds it has it */

    certs_start(&other, "home");
    certs_issue(&other, KITH_CERT_NODE, "oak", 10, 0, &bad);
    put(0, &bad.cert);
    put(1, &bad.key);
    looked(by);
    holds(by, two.says.serial);
    certs_own_release(&bad);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 1, (int64_t)time(NULL) - 2 * 86400,
                &bad); /* has ended */
    put(0, &bad.cert);
    put(1, &bad.key);
    looked(by);
    holds(by, two.says.serial);
    assert_int_equal(unlink(paths[1]), 0);
    looked(by);
    holds(by, two.says.serial);
    put_all(&one);
    holds(by, one.says.serial);
    kith_identity_drop(first);
    kith_identity_drop(second);
    kith_follow_free(by);
    certs_own_release(&bad);
    certs_own_release(&one);
    certs_own_release(&two);
    certs_stop(&other);
}

/* A later list is taken, an older one, an empty one and none are not. */
static void test_lists(void **state)
{
    (void)state;
    struct certs_own own, lost;
    struct kith_buf old, empty;
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &own);
    certs_issue(&ca, KITH_CERT_CLIENT, "anna", 10, 0, &lost);
    kith_buf_init(&old);
    kith_buf_init(&empty);
    kith_buf_put(&old, ca.list.data, ca.list.size);
    put_all(&own);
    struct kith_follow *by = follow();
    certs_revoke(&ca, lost.says.serial);
    put(3, &ca.list);
    looked(by);
    for (int i = 0; i < 4; i++) {
        struct kith_identity *identity = kith_follow_take(by);
        assert_true(kith_trust_revokes(identity->trust, lost.says.serial));
        kith_identity_drop(identity);
        if (i == 0) {
            put(3, &old);
        } else if (i == 1) {
            put(3, &empty);
        } else if (i == 2) {
            assert_int_equal(unlink(paths[3]), 0);
        }
        looked(by);
    }
    kith_follow_free(by);
    kith_buf_release(&old);
    certs_own_release(&own);
    certs_own_release(&lost);
}

static void put_sent(struct kith_bytes pem)
{
    struct kith_error error;
    assert_int_equal(kith_pem_replace(sent, KITH_PEM_PUBLIC, pem, &error), KITH_OK);
}

static bool revokes(struct kith_follow *by, const char *serial)
{
    struct kith_identity *identity = kith_follow_take(by);
    bool revoked = kith_trust_revokes(identity->trust, serial);
    kith_identity_drop(identity);
    return revoked;
}

/* A list that comes over the network: in use at once and after a new start; never an older one, nor one
 * that is not the authority's. */
static void test_sent(void **state)
{
    (void)state;
    struct certs_own own, lost, more;
    struct certs other;
    struct kith_buf old;
    struct kith_error error;
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &own);
    certs_issue(&ca, KITH_CERT_CLIENT, "lost", 10, 0, &lost);
    certs_issue(&ca, KITH_CERT_CLIENT, "more", 10, 0, &more);
    certs_start(&other, "home");
    put_all(&own);
    struct kith_follow *by = follow();
    assert_int_equal(kith_follow_list(by, kith_buf_bytes(&ca.list), &error), KITH_EINVAL);
    kith_follow_free(by);
    files.sent = sent;
    by = follow();
    certs_revoke(&ca, lost.says.serial);
    kith_buf_init(&old);
    kith_buf_put(&old, ca.list.data, ca.list.size);
    certs_revoke(&ca, more.says.serial);
    assert_int_equal(kith_follow_list(by, kith_buf_bytes(&ca.list), &error), KITH_OK);
    assert_true(revokes(by, lost.says.serial) && revokes(by, more.says.serial));
    assert_int_equal(kith_follow_list(by, kith_buf_bytes(&ca.list), &error), KITH_OK); /* again */
    assert_int_equal(kith_follow_list(by, kith_buf_bytes(&old), &error), KITH_EPERM);
    assert_non_null(strstr(error.message, "is older"));
    assert_int_equal(kith_follow_list(by, kith_buf_bytes(&other.list), &error), KITH_EPERM);
    assert_int_equal(kith_follow_list(by, kith_bytes_make("", 0), &error), KITH_EFORMAT);
    assert_int_equal(kith_follow_list(by, kith_bytes_make("junk", 4), &error), KITH_EFORMAT);
    kith_buf_put_u8(&ca.list, 0); /* a file with that would not be read again */
    assert_int_equal(kith_follow_list(by, kith_buf_bytes(&ca.list), &error), KITH_EFORMAT);
    ca.list.size--;
    assert_true(revokes(by, more.says.serial));
    kith_follow_free(by);
    by = follow(); /* the file of the others is still the oldest */
    assert_true(revokes(by, lost.says.serial) && revokes(by, more.says.serial));
    kith_follow_free(by);
    put_sent(kith_buf_bytes(&other.list)); /* the authority was another one */
    by = follow();
    assert_false(revokes(by, more.says.serial));
    kith_follow_free(by);
    put_sent(kith_bytes_make("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", 54));
    assert_int_equal(kith_follow_new(&files, &by, &error), KITH_EFORMAT); /* damaged */
    assert_int_equal(unlink(sent), 0);
    files.sent = NULL;
    certs_stop(&other);
    kith_buf_release(&old);
    certs_own_release(&own);
    certs_own_release(&lost);
    certs_own_release(&more);
}

/* What is sound, but somebody else's: a running node does not become a client by a copied file. */
static void test_somebody_else(void **state)
{
    (void)state;
    struct certs_own own, another, elm;
    struct certs other;
    struct kith_buf both, mine;
    certs_start(&other, "work");
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &own);
    certs_issue(&ca, KITH_CERT_NODE, "elm", 10, 0, &elm);
    kith_buf_init(&both);
    kith_buf_put(&both, ca.cert.data, ca.cert.size);
    kith_buf_put(&both, other.cert.data, other.cert.size);
    mine = ca.cert;
    ca.cert = both; /* both authorities are trusted */
    put_all(&own);
    struct kith_follow *by = follow();
    for (int i = 0; i < 2; i++) {
        certs_issue(i == 0 ? &ca : &other, i == 0 ? KITH_CERT_ADMIN : KITH_CERT_NODE, "oak", 10, 0,
                    &another);
        put_all(&another);
        looked(by);
        holds(by, own.says.serial);
        certs_own_release(&another);
    }
    put_all(&elm); /* another name is one's own affair */
    holds(by, elm.says.serial);
    kith_follow_free(by);
    ca.cert = mine;
    kith_buf_release(&both);
    certs_own_release(&own);
    certs_own_release(&elm);
    certs_stop(&other);
}

static size_t log_has(const char *path, const char *words)
{
    char text[8192];
    size_t count = 0;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (const char *at = text; (at = strstr(at, words)) != NULL; at++) {
        count++;
    }
    return count;
}

/* The log is told once when the own certificate ends soon, by who runs for some seconds, and at
 * once of a new one that does; not of one with time left. */
static void test_warned(void **state)
{
    (void)state;
    struct certs_own soon, later, sooner;
    struct kith_error error;
    char path[160];
    const struct timespec pause = {0, 20000000};
    (void)snprintf(path, sizeof path, "%s.log", folder);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 29, 0, &soon);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 31, 0, &later);
    certs_issue(&ca, KITH_CERT_NODE, "oak", 1, 0, &sooner);
    assert_int_equal(kith_log_open(path, &error), KITH_OK);
    put_all(&soon);
    struct kith_follow *by = follow();
    looked(by);
    assert_int_equal(log_has(path, " ends in "), 0); /* kithctl has ended by now */
    uint64_t end_ms = kith_mono_ms() + WAIT_MAX_MS;
    while (log_has(path, "node 'oak' in ") < 1 && kith_mono_ms() < end_ms) {
        kith_follow_look(by);
        nanosleep(&pause, NULL);
    }
    assert_int_equal(log_has(path, "ends in 28 days: 'kithctl cert node oak --renew'"), 1);
    looked(by);
    assert_int_equal(log_has(path, " ends in "), 1);
    put_all(&later);
    holds(by, later.says.serial);
    looked(by);
    assert_int_equal(log_has(path, " ends in "), 1);
    put_all(&sooner);
    holds(by, sooner.says.serial);
    assert_int_equal(log_has(path, "ends in 23 hours"), 1);
    assert_int_equal(kith_log_open(NULL, &error), KITH_OK);
    assert_int_equal(unlink(path), 0);
    kith_follow_free(by);
    certs_own_release(&soon);
    certs_own_release(&later);
    certs_own_release(&sooner);
}

static void refused(enum kith_err code, const char *words)
{
    struct kith_error error;
    struct kith_follow *made = NULL;
    assert_int_equal(kith_follow_new(&files, &made, &error), code);
    assert_null(made);
    if (!strstr(error.message, words)) {
        fail_msg("'%s' does not say '%s'", error.message, words);
    }
}

static void test_start(void **state)
{
    (void)state;
    struct certs_own own, other;
    certs_issue(&ca, KITH_CERT_NODE, "oak", 10, 0, &own);
    certs_issue(&ca, KITH_CERT_NODE, "elm", 10, 0, &other);
    for (int i = 0; i < PATHS; i++) {
        put_all(&own);
        assert_int_equal(unlink(paths[i]), 0);
        refused(KITH_ENOTFOUND, paths[i]);
    }
    put_all(&own);
    assert_int_equal(chmod(paths[1], 0640), 0);
    refused(KITH_EPERM, "chmod 600");
    put(1, &other.key);
    refused(KITH_EINVAL, "not that of the certificate");
    put_all(&own);
    put(2, &own.cert);
    refused(KITH_EINVAL, paths[2]);
    put_all(&own);
    put(0, &ca.cert);
    put(1, &ca.key);
    refused(KITH_EPERM, paths[0]);
    struct kith_buf zero;
    kith_buf_init(&zero);
    kith_buf_put(&zero, own.cert.data, own.cert.size);
    kith_buf_put(&zero, "\0x", 2);
    put_all(&own);
    put(0, &zero);
    refused(KITH_EFORMAT, "zero byte");
    put_all(&own);
    files.crl = NULL;
    kith_follow_free(follow());
    files.ca = NULL;
    refused(KITH_EINVAL, "go together");
    files.ca = paths[2];
    files.crl = paths[3];
    kith_buf_release(&zero);
    certs_own_release(&own);
    certs_own_release(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),  cmocka_unit_test(test_renewed),
        cmocka_unit_test(test_lists),  cmocka_unit_test(test_sent),
        cmocka_unit_test(test_somebody_else),
        cmocka_unit_test(test_warned),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
