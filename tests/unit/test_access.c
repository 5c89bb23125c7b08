/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_access.c - every kind of message against every role, and what clients' messages name against
 * what their certificates do. The lists here are written a second time on purpose: who adds a kind
 * decides it in both places. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "data/key.h"
#include "shell/access.h"

static const enum kith_msg_kind kinds[] = {
#define X(name, number, member, type) KITH_MSG_##name,
    KITH_MSG_MAP(X)
#undef X
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static const char *const for_clients[] = {
    "HELLO",     "TABLE_REQ",  "STATUS_REQ",    "PUT_REQ",       "GET_REQ",
    "SCAN_REQ",  "REPAIR_REQ", "CHUNK_PUT_REQ", "CHUNK_GET_REQ", "CHUNK_SYNC_REQ",
    "WATCH_REQ", "GROUPS_REQ", "EXPLAIN_REQ",
};
static const char *const for_admins_only[] = {"INIT_REQ", "JOIN_CMD", "PLAN_REQ", "REPAIR_CMD",
                                              "REVOKED_CMD"};
static const char *const for_admins_too[] = {"LEAF_REQ"}; /* who back up; nodes for anti-entropy */
static const char *const changing[] = {"PUT_REQ", "CHUNK_PUT_REQ"};
static const char *const between_nodes[] = {
    "REPLICATE_REQ", "REQUEST_FIND_REQ", "PING",     "PROBE_REQ",   "MEMBERS_SYNC",   "JOIN_REQ",
    "DECIDE",        "OFFER_REQ",        "SUMS_REQ", "CHUNK_LIST_REQ", "HANDOFF_REQ",
    "SWEEP_REQ",     "LEASE_REQ",        "REAP_REQ", "WATCH_EVENT",
};

static bool is_in(const char *name, const char *const list[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}
#define IN(name, list) is_in(name, list, sizeof(list) / sizeof((list)[0]))

static struct kith_cert_grant grant_of(enum kith_cert_role role)
{
    struct kith_cert_grant grant;
    memset(&grant, 0, sizeof grant);
    grant.role = role;
    grant.all_volumes = true;
    (void)snprintf(grant.name, sizeof grant.name, "anna");
    return grant;
}

/* A message of that kind that names volume 7 wherever it names one. */
static void fill(struct kith_msg *msg, enum kith_msg_kind kind, uint32_t volume,
                 struct kith_put_update *update, struct kith_chunk_id ids[2])
{
    static const uint8_t own[12], random[10];
    struct kith_group group = kith_group_make(volume, own);
    memset(msg, 0, sizeof *msg);
    memset(update, 0, sizeof *update);
    ids[0] = ids[1] = kith_chunk_id_make(volume, 1, random);
    msg->kind = kind;
    switch (kind) {
    case KITH_MSG_PUT_REQ:
        msg->u.put_req.group = group;
        msg->u.put_req.update_count = 1;
        msg->u.put_req.updates = update;
        update->refs = ids;
        update->ref_count = 2;
        break;
    case KITH_MSG_GET_REQ:
        msg->u.get_req.group = group;
        break;
    case KITH_MSG_SCAN_REQ:
        msg->u.scan_req.group = group;
        break;
    case KITH_MSG_REPAIR_REQ:
        msg->u.repair_req.group = group;
        break;
    case KITH_MSG_EXPLAIN_REQ:
        msg->u.explain_req.group = group;
        break;
    case KITH_MSG_WATCH_REQ:
        msg->u.watch_req.has_group = true;
        msg->u.watch_req.group = group;
        break;
    case KITH_MSG_GROUPS_REQ:
        msg->u.groups_req.volume = volume;
        break;
    case KITH_MSG_CHUNK_PUT_REQ:
        msg->u.chunk_put_req.id = ids[0];
        msg->u.chunk_put_req.refs = ids;
        msg->u.chunk_put_req.ref_count = 2;
        break;
    case KITH_MSG_CHUNK_GET_REQ:
        msg->u.chunk_get_req.id = ids[0];
        break;
    case KITH_MSG_CHUNK_SYNC_REQ:
        msg->u.chunk_sync_req.ids = ids;
        msg->u.chunk_sync_req.id_count = 2;
        break;
    default:
        break;
    }
}

static bool may(const struct kith_cert_grant *grant, enum kith_msg_kind kind, uint32_t volume)
{
    struct kith_msg msg;
    struct kith_put_update update;
    struct kith_chunk_id ids[2];
    struct kith_error error = {KITH_OK, ""};
    fill(&msg, kind, volume, &update, ids);
    enum kith_err err = kith_access_check(grant, &msg, &error);
    assert_true(err == KITH_OK || (err == KITH_EPERM && strstr(error.message, "'anna'")));
    return err == KITH_OK;
}

static void test_roles(void **state)
{
    (void)state;
    struct kith_cert_grant node = grant_of(KITH_CERT_NODE), admin = grant_of(KITH_CERT_ADMIN),
                           client = grant_of(KITH_CERT_CLIENT), nobody = grant_of(KITH_CERT_NODE);
    nobody.role = (enum kith_cert_role)0;
    for (size_t i = 0; i < KINDS; i++) {
        const char *name = kith_msg_kind_name(kinds[i]);
        size_t size = strlen(name);
        bool answer = size > 4 && strcmp(name + size - 4, "_RES") == 0;
        bool all = IN(name, for_clients), orders = IN(name, for_admins_only),
             inner = IN(name, between_nodes) || answer, both = IN(name, for_admins_too);
        if (all + orders + inner + both != 1) {
            fail_msg("%s: not decided here who may send it", name);
        }
        if (may(&client, kinds[i], 7) != all || may(&admin, kinds[i], 7) != (all || orders || both) ||
            may(&node, kinds[i], 7) != (all || inner || both)) {
            fail_msg("%s: decided otherwise in access.c", name);
        }
        assert_false(may(&nobody, kinds[i], 7));
    }
}

/* Kinds that there are none of, in the holes of the numbers and beyond. */
static void test_unknown_kinds(void **state)
{
    (void)state;
    struct kith_cert_grant node = grant_of(KITH_CERT_NODE);
    for (uint32_t number = 0; number < 2 * KITH_MSG_KINDS_MAX; number++) {
        bool known = false;
        for (size_t i = 0; i < KINDS; i++) {
            known = known || kinds[i] == (enum kith_msg_kind)number;
        }
        if (!known) {
            assert_false(may(&node, (enum kith_msg_kind)number, 7));
        }
    }
    assert_false(may(&node, (enum kith_msg_kind)UINT32_MAX, 7));
}

static void test_read_only(void **state)
{
    (void)state;
    struct kith_cert_grant client = grant_of(KITH_CERT_CLIENT);
    client.read_only = true;
    for (size_t i = 0; i < KINDS; i++) {
        const char *name = kith_msg_kind_name(kinds[i]);
        if (may(&client, kinds[i], 7) != (IN(name, for_clients) && !IN(name, changing))) {
            fail_msg("%s, by who may only read", name);
        }
    }
}

static void test_volumes(void **state)
{
    (void)state;
    struct kith_cert_grant client = grant_of(KITH_CERT_CLIENT), all = client,
                           admin = grant_of(KITH_CERT_ADMIN);
    client.all_volumes = false;
    client.volume_count = 2;
    client.volumes[0] = 7;
    client.volumes[1] = 9;
    static const char *const without[] = {"HELLO", "TABLE_REQ", "STATUS_REQ"};
    for (size_t i = 0; i < KINDS; i++) {
        const char *name = kith_msg_kind_name(kinds[i]);
        if (!IN(name, for_clients)) {
            continue;
        }
        bool names = !IN(name, without);
        assert_true(may(&client, kinds[i], 7));
        assert_true(may(&client, kinds[i], 9));
        if (may(&client, kinds[i], 8) == names || may(&client, kinds[i], 0) == names ||
            may(&all, kinds[i], KITH_VOLUME_CLUSTER) == names) {
            fail_msg("%s, of a foreign volume", name);
        }
        assert_true(may(&all, kinds[i], 8));
        assert_true(may(&admin, kinds[i], KITH_VOLUME_CLUSTER));
    }
}

/* One foreign name among others. */
static void test_each_name(void **state)
{
    (void)state;
    static const uint8_t random[10];
    struct kith_cert_grant client = grant_of(KITH_CERT_CLIENT);
    struct kith_msg msg;
    struct kith_put_update update;
    struct kith_chunk_id ids[2];
    struct kith_error error;
    client.all_volumes = false;
    client.volume_count = 1;
    client.volumes[0] = 7;
    static const enum kith_msg_kind with_ids[] = {KITH_MSG_PUT_REQ, KITH_MSG_CHUNK_PUT_REQ,
                                                  KITH_MSG_CHUNK_SYNC_REQ};
    for (size_t i = 0; i < 3; i++) {
        fill(&msg, with_ids[i], 7, &update, ids);
        assert_int_equal(kith_access_check(&client, &msg, &error), KITH_OK);
        ids[1] = kith_chunk_id_make(8, 1, random);
        assert_int_equal(kith_access_check(&client, &msg, &error), KITH_EPERM);
        assert_non_null(strstr(error.message, "is not for volume 8"));
    }
    fill(&msg, KITH_MSG_WATCH_REQ, 8, &update, ids);
    assert_int_equal(kith_access_check(&client, &msg, &error), KITH_EPERM);
    msg.u.watch_req.has_group = false; /* the lease of what is watched already */
    assert_int_equal(kith_access_check(&client, &msg, &error), KITH_OK);
}

/* Who greets as a node has a node's certificate. */
static void test_hello(void **state)
{
    (void)state;
    static const enum kith_cert_role roles[] = {KITH_CERT_NODE, KITH_CERT_ADMIN, KITH_CERT_CLIENT};
    for (size_t i = 0; i < 3; i++) {
        struct kith_cert_grant grant = grant_of(roles[i]);
        struct kith_msg msg = {.kind = KITH_MSG_HELLO};
        assert_int_equal(kith_access_check(&grant, &msg, NULL), KITH_OK);
        msg.u.hello.role = KITH_ROLE_NODE;
        assert_int_equal(kith_access_check(&grant, &msg, NULL), i == 0 ? KITH_OK : KITH_EPERM);
    }
}

static void test_calls(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        bool changes, kv, admin;
    } methods[] = {
        {"/kith.v1.Kv/Get", false, true, false},
        {"/kith.v1.Kv/Put", true, true, false},
        {"/kith.v1.Kv/Delete", true, true, false},
        {"/kith.v1.Kv/Scan", false, true, false},
        {"/kith.v1.Cluster/Status", false, false, false},
        {"/kith.v1.Cluster/Table", false, false, false},
        {"/kith.v1.Cluster/Initialize", true, false, true},
        {"/kith.v1.Cluster/Join", true, false, true},
    };
    struct kith_cert_grant client = grant_of(KITH_CERT_CLIENT), reader = client, files = client,
                           half = client, admin = grant_of(KITH_CERT_ADMIN);
    reader.read_only = true;
    files.all_volumes = half.all_volumes = false;
    files.volume_count = half.volume_count = 1;
    files.volumes[0] = KITH_VOLUME_FS;
    half.volumes[0] = KITH_VOLUME_KV;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        const char *method = methods[i].method;
        bool order = methods[i].admin, kv = methods[i].kv, changes = methods[i].changes;
        assert_int_equal(kith_access_check_call(&admin, method, NULL), KITH_OK);
        assert_int_equal(kith_access_check_call(&client, method, NULL) == KITH_OK, !order);
        assert_int_equal(kith_access_check_call(&reader, method, NULL) == KITH_OK, !changes);
        assert_int_equal(kith_access_check_call(&files, method, NULL) == KITH_OK, !order && !kv);
        assert_int_equal(kith_access_check_call(&half, method, NULL) == KITH_OK, !order && !kv);
    }
    static const char *const unknown[] = {"", "/kith.v1.Kv/", "/kith.v1.Kv/Get2",
                                          "/kith.v1.New/Get"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_int_equal(kith_access_check_call(&admin, unknown[i], NULL), KITH_EPERM);
    }
}

/* Who asks is told; the status is where each kind of answer has it. */
static void test_answers(void **state)
{
    (void)state;
    const struct kith_error error = {KITH_EPERM, "no"};
    for (size_t i = 0; i < KINDS; i++) {
        const char *name = kith_msg_kind_name(kinds[i]);
        struct kith_msg question, answer;
        memset(&question, 0, sizeof question);
        question.kind = kinds[i];
        question.id = 77;
        bool told = kith_access_answer(&question, &error, &answer);
        bool asks = (IN(name, for_clients) && strcmp(name, "HELLO") != 0 &&
                     strcmp(name, "REPAIR_REQ") != 0) ||
                    IN(name, for_admins_only) || IN(name, for_admins_too);
        assert_int_equal(told, asks);
        if (!told) {
            continue;
        }
        assert_int_equal(answer.id, 77);
        const struct kith_status *status = NULL;
        switch (answer.kind) {
        case KITH_MSG_TABLE_RES:
            status = &answer.u.table_res.status;
            break;
        case KITH_MSG_LEAF_RES:
            status = &answer.u.leaf_res.status;
            break;
        case KITH_MSG_STATUS_RES:
            status = &answer.u.status_res.status;
            break;
        case KITH_MSG_PUT_RES:
            status = &answer.u.put_res.status;
            break;
        case KITH_MSG_GET_RES:
            status = &answer.u.get_res.status;
            break;
        case KITH_MSG_SCAN_RES:
            status = &answer.u.scan_res.status;
            break;
        case KITH_MSG_CHUNK_RES:
            status = &answer.u.chunk_res.status;
            break;
        case KITH_MSG_CHUNK_SYNC_RES:
            status = &answer.u.chunk_sync_res.status;
            break;
        case KITH_MSG_WATCH_RES:
            status = &answer.u.watch_res.status;
            break;
        case KITH_MSG_GROUPS_RES:
            status = &answer.u.groups_res.status;
            break;
        case KITH_MSG_EXPLAIN_RES:
            status = &answer.u.explain_res.status;
            break;
        case KITH_MSG_ADMIN_RES:
            status = &answer.u.admin_res.status;
            break;
        case KITH_MSG_PLAN_RES:
            status = &answer.u.plan_res.status;
            break;
        case KITH_MSG_REPAIR_RES:
            status = &answer.u.repair_res.status;
            break;
        default:
            fail_msg("%s is answered with %s", name, kith_msg_kind_name(answer.kind));
        }
        assert_int_equal(status->err, KITH_EPERM);
        assert_string_equal(status->message, "no");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_roles),     cmocka_unit_test(test_unknown_kinds),
        cmocka_unit_test(test_read_only), cmocka_unit_test(test_volumes),
        cmocka_unit_test(test_each_name), cmocka_unit_test(test_hello),
        cmocka_unit_test(test_calls),     cmocka_unit_test(test_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
