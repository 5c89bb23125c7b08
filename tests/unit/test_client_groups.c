/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * GROUPS: the lists of R owners as one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/client_world.h"

#define VOLUME 7u

/* What a node has: groups by their last byte. */
struct lists {
    const char *of[WORLD_NODES];
    uint32_t page; /* groups a page; 0: all */
    uint32_t volume, asked;
    bool unsorted;
};

static struct kith_group group(uint32_t volume, char last)
{
    uint8_t own[12] = {0};
    own[11] = (uint8_t)last;
    return kith_group_make(volume, own);
}

static bool answers(struct client_world *w, uint64_t conn, uint32_t node, const struct kith_msg *req)
{
    struct lists *lists = w->own;
    struct kith_group groups[16];
    uint32_t count = 0;
    if (req->kind != KITH_MSG_GROUPS_REQ) {
        return false;
    }
    const struct kith_groups_req *asked = &req->u.groups_req;
    assert_int_equal(asked->partition, 2);
    assert_int_equal(asked->volume, VOLUME);
    lists->asked++;
    struct kith_msg *msg = world_answer(w, conn, KITH_MSG_GROUPS_RES, req->id);
    msg->u.groups_res.status.message = "";
    for (const char *at = lists->of[node]; *at != '\0' && !msg->u.groups_res.more; at++) {
        struct kith_group one = group(lists->volume, *at);
        if (!asked->has_after || lists->unsorted || kith_group_compare(&one, &asked->after) > 0) {
            msg->u.groups_res.more = lists->page != 0 && count == lists->page;
            if (!msg->u.groups_res.more) {
                groups[count++] = one;
            }
        }
    }
    msg->u.groups_res.group_count = count;
    msg->u.groups_res.groups = world_keep(w, groups, count * sizeof groups[0]);
    return true;
}

/* All pages of it, as one text. */
static const char *listed(struct client_world *w, enum kith_err *ret_err)
{
    static char text[64];
    uint32_t size = 0;
    struct kith_client_op op = {.kind = KITH_CLIENT_GROUPS, .timeout_ms = 2000};
    op.u.groups.partition = 2;
    op.u.groups.volume = VOLUME;
    bool more = true;
    *ret_err = KITH_OK;
    while (more && *ret_err == KITH_OK) {
        uint64_t tag = world_submit(w, &op);
        for (uint32_t i = 0; i < 30 && world_done(w, tag) == NULL; i++) {
            world_pass(w, 100);
        }
        const struct kith_client_result *result = world_done(w, tag)->result;
        *ret_err = result->err;
        more = result->err == KITH_OK && result->u.groups.more;
        for (uint32_t i = 0; result->err == KITH_OK && i < result->u.groups.count; i++) {
            assert_int_equal(result->u.groups.partitions, WORLD_PARTITIONS);
            text[size++] = (char)result->u.groups.groups[i].bytes[KITH_GROUP_SIZE - 1];
            op.u.groups.after = result->u.groups.groups[i];
            op.u.groups.has_after = true;
        }
    }
    text[size] = '\0';
    return text;
}

static void test_merge(void **state)
{
    struct client_world *w = *state;
    struct lists lists = {.of = {"abdx", "acdz", "abcdxz"}, .volume = VOLUME};
    enum kith_err err;
    w->own = &lists;
    w->on_message = answers;
    for (lists.page = 0; lists.page < 5; lists.page++) {
        assert_string_equal(listed(w, &err), "abcdxz"); /* two know all together */
        assert_int_equal(err, KITH_OK);
    }
    lists = (struct lists){.of = {"", "", ""}, .volume = VOLUME};
    assert_string_equal(listed(w, &err), "");
    assert_int_equal(err, KITH_OK);
    assert_int_equal(lists.asked, 2);
}

/* Fewer than R owners are no answer; a third one stands for one that is silent. */
static void test_owners(void **state)
{
    struct client_world *w = *state;
    struct lists lists = {.of = {"ab", "abc", "abd"}, .volume = VOLUME};
    enum kith_err err;
    w->own = &lists;
    w->on_message = answers;
    world_set_mode(w, 0, FROZEN);
    assert_string_equal(listed(w, &err), "abcd");
    world_set_mode(w, 1, DEAD);
    assert_string_equal(listed(w, &err), "");
    assert_true(err == KITH_EUNREACH || err == KITH_ETIMEOUT);
}

/* Lists that are none: of another volume, or that would never end. */
static void test_bad(void **state)
{
    struct client_world *w = *state;
    struct lists lists = {.of = {"ab", "ab", "ab"}, .volume = VOLUME + 1};
    enum kith_err err;
    w->own = &lists;
    w->on_message = answers;
    (void)listed(w, &err);
    assert_int_not_equal(err, KITH_OK);
    lists.volume = VOLUME;
    lists.page = 1;
    lists.unsorted = true; /* "a" and more, whatever is asked */
    (void)listed(w, &err);
    assert_int_not_equal(err, KITH_OK);
    struct kith_client_op op = {.kind = KITH_CLIENT_GROUPS};
    op.u.groups.partition = WORLD_PARTITIONS;
    assert_int_equal(world_err(w, world_submit(w, &op)), KITH_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_merge, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_owners, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_bad, world_setup, world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
