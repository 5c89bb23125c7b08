/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_chunk.c - chunks through the client's core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client_world.h"

static void test_chunk_put(void **state)
{
    struct client_world *w = *state;
    uint64_t tag = world_chunk_put(w, 0);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, w->nodes[0].chunk_puts);
    assert_int_equal(1, w->nodes[1].chunk_puts);
    assert_int_equal(1, w->nodes[2].chunk_puts); /* the third copy goes on after the answer */
    world_set_mode(w, 0, FROZEN);
    tag = world_chunk_put(w, 0);
    assert_int_equal(KITH_OK, world_err(w, tag)); /* no wait for the frozen one */
    w->nodes[1].chunk_err = KITH_ENOSPC;
    tag = world_chunk_put(w, 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag));
    w->nodes[2].chunk_err = KITH_ENOSPC;
    tag = world_chunk_put(w, 3000);
    assert_int_equal(KITH_ENOSPC, world_err(w, tag));
    for (uint32_t i = 0; i < 3 * 64;
         i++) { /* lingering ones are bounded, and end by their deadline */
        w->nodes[1].chunk_err = w->nodes[2].chunk_err = KITH_OK;
        tag = world_chunk_put(w, 3000);
    }
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(0, kith_client_core_pending(w->core));
}

static void take_in(struct client_world *w, uint64_t most_ms, uint32_t copies)
{
    uint64_t start = w->now;
    uint64_t tag = world_chunk_put(w, 10000);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 0, most_ms);
    assert_int_equal(copies, world_done(w, tag)->result->u.put.copies);
}

/* Fewer than W owners alive, and not strict: those that there are take it, flushed. */
static void test_chunk_put_thin(void **state)
{
    struct client_world *w = *state;
    world_set_mode(w, 0, DEAD);
    take_in(w, 10, 2);
    assert_int_equal(KITH_DURABLE_OS, w->nodes[2].chunk_durability);
    world_set_mode(w, 1, DEAD);
    take_in(w, 310, 1); /* it might be back at once */
    assert_int_equal(KITH_DURABLE_DISK, w->nodes[2].chunk_durability);
    take_in(w, 10, 1);
    struct kith_chunk_id id = world_chunk_id(0);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC};
    op.u.chunk_sync.id_count = 1;
    op.u.chunk_sync.ids = &id;
    uint64_t tag = world_submit(w, &op);
    world_pass(w, 10);
    assert_int_equal(0, world_done(w, tag)->result->u.chunk_sync.missing_count);
    w->nodes[2].sync_missing = true;
    tag = world_submit(w, &op);
    world_pass(w, 10);
    assert_int_equal(1, world_done(w, tag)->result->u.chunk_sync.missing_count);
    world_set_mode(w, 1, ALIVE);
    world_pass(w, 5000);
    take_in(w, 10, 2);
    assert_int_equal(KITH_DURABLE_OS, w->nodes[1].chunk_durability);
    w->nodes[1].chunk_err = KITH_ENOSPC; /* who is full takes none either */
    take_in(w, 10, 1);
    w->nodes[2].chunk_err = KITH_ENOSPC;
    tag = world_chunk_put(w, 3000);
    world_pass(w, 3500);
    assert_int_equal(KITH_ENOSPC, world_err(w, tag));
}

/* The same with nodes that are silent: none is waited for to the deadline. */
static void test_chunk_put_thin_silent(void **state)
{
    struct client_world *w = *state;
    take_in(w, 10, 2);
    world_set_mode(w, 0, FROZEN);
    world_set_mode(w, 1, FROZEN);
    take_in(w, 700, 1);
    take_in(w, 10, 1);
}

/* Strict, and fewer than W owners alive: an error soon, not at the deadline; and a blip is none. */
static void test_chunk_put_short(void **state)
{
    struct client_world *w = *state;
    assert_int_equal(KITH_OK, world_err(w, world_chunk_put(w, 0)));
    world_set_mode(w, 0, DEAD);
    assert_int_equal(KITH_OK, world_err(w, world_chunk_put(w, 0)));
    world_set_mode(w, 1, DEAD);
    world_pass(w, 100);
    uint64_t start = w->now;
    uint64_t tag = world_chunk_put(w, 30000);
    world_pass(w, 5000);
    assert_int_equal(KITH_EUNKNOWN, world_err(w, tag)); /* the third has it */
    assert_in_range(world_done(w, tag)->at_ms - start, 2900, 3600);
    assert_non_null(strstr(world_done(w, tag)->result->message, "1 of the 2 owners"));
    world_set_mode(w, 2, DEAD);
    world_pass(w, 100);
    tag = world_chunk_put(w, 30000);
    world_pass(w, 3500);
    assert_int_equal(KITH_EUNREACH, world_err(w, tag));
    tag = world_chunk_put(w, 30000);
    world_set_mode(w, 0, ALIVE);
    world_set_mode(w, 1, ALIVE);
    world_set_mode(w, 2, ALIVE);
    world_pass(w, 5000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    /* one comes back while the pause before it is tried again is at its longest, another goes */
    world_set_mode(w, 1, DEAD);
    world_pass(w, 20000);
    world_set_mode(w, 1, ALIVE);
    world_set_mode(w, 0, DEAD);
    tag = world_chunk_put(w, 30000);
    world_pass(w, 3500);
    assert_int_equal(KITH_OK, world_err(w, tag));
}

static void test_chunk_get(void **state)
{
    struct client_world *w = *state;
    for (uint8_t i = 0; i < 9; i++) {
        uint64_t tag = world_chunk_get(w, i, 0);
        assert_int_equal(KITH_OK, world_err(w, tag));
        struct kith_blob *blob = world_done(w, tag)->result->u.chunk.payload;
        assert_memory_equal(WORLD_CHUNK, blob->data, WORLD_CHUNK_SIZE);
    }
    assert_int_equal(3, w->nodes[0].chunk_gets); /* the load spreads */
    assert_int_equal(3, w->nodes[1].chunk_gets);
    w->nodes[0].chunk_damaged = true;
    assert_int_equal(KITH_OK, world_err(w, world_chunk_get(w, 0, 0)));
    w->nodes[1].chunk_err = KITH_ENOTFOUND;
    assert_int_equal(KITH_OK, world_err(w, world_chunk_get(w, 0, 0)));
    w->nodes[2].chunk_err = KITH_ENOTFOUND;
    assert_int_equal(KITH_ECORRUPT, world_err(w, world_chunk_get(w, 0, 0)));
    w->nodes[0].chunk_err = KITH_ENOTFOUND;
    assert_int_equal(KITH_ENOTFOUND, world_err(w, world_chunk_get(w, 0, 0)));
    w->nodes[0].chunk_damaged = false;
    w->nodes[1].chunk_err = KITH_OK;
    world_pass(w, 60000);
    world_set_mode(w, 0, FROZEN);
    uint64_t start = w->now;
    uint64_t tag = world_chunk_get(w, 0, 0);
    world_pass(w, 1000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 300, 310);
}

static void test_chunk_sync(void **state)
{
    struct client_world *w = *state;
    struct kith_chunk_id ids[5];
    for (uint8_t i = 0; i < 5; i++) {
        ids[i] = world_chunk_id(i);
    }
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC};
    op.u.chunk_sync.id_count = 5;
    op.u.chunk_sync.ids = ids;
    struct world_done *done = world_done(w, world_submit(w, &op));
    assert_int_equal(KITH_OK, done->result->err);
    assert_int_equal(0, done->result->u.chunk_sync.missing_count);
    assert_int_equal(1, w->nodes[0].syncs); /* one message a node */
    w->nodes[0].sync_missing = w->nodes[1].sync_missing = true;
    done = world_done(w, world_submit(w, &op));
    assert_int_equal(1, done->result->u.chunk_sync.missing_count);
    assert_memory_equal(&ids[4], done->result->u.chunk_sync.missing, sizeof(ids[4]));
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].sync_missing = false;
        w->nodes[i].stale = true;
    }
    world_pass(w, 1000);
    done = world_done(w, world_submit(w, &op)); /* the owners are others: nothing counts */
    assert_int_equal(KITH_OK, done->result->err);
    assert_int_equal(5, done->result->u.chunk_sync.missing_count);
    done = world_done(w, world_submit(w, &op)); /* and the newer table was asked for */
    assert_int_equal(0, done->result->u.chunk_sync.missing_count);
}

/* A writer waits for the slowest node, but not for one that is frozen. */
static void test_chunk_brake(void **state)
{
    struct client_world *w = *state;
    world_set_mode(w, 2, FROZEN);
    for (uint32_t i = 0; i < 64; i++) {
        uint64_t tag = world_chunk_put(w, 0);
        world_pass(w, 1);
        assert_int_equal(KITH_OK, world_err(w, tag));
    }
    uint64_t start = w->now;
    uint64_t tag = world_chunk_put(w, 0);
    world_pass(w, 2000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_in_range(world_done(w, tag)->at_ms - start, 590, 610);
    tag = world_chunk_put(w, 0);
    world_pass(w, 2);
    assert_int_equal(KITH_OK, world_err(w, tag));
}

/* Who flushes for long is waited for; who is frozen holds nobody up for as much as a second. */
static void test_chunk_sync_silent(void **state)
{
    struct client_world *w = *state;
    struct kith_chunk_id id = world_chunk_id(0);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC, .timeout_ms = 10000};
    op.u.chunk_sync.id_count = 1;
    op.u.chunk_sync.ids = &id;
    w->nodes[1].sync_missing = true; /* so that the answer of the two others decides */
    w->nodes[0].sync_mute = true;
    uint64_t start = w->now;
    uint64_t tag = world_submit(w, &op);
    world_pass(w, 8000);
    assert_int_equal(1, world_done(w, tag)->result->u.chunk_sync.missing_count);
    assert_in_range(world_done(w, tag)->at_ms - start, 5000, 5010);

    world_set_mode(w, 0, FROZEN);
    start = w->now;
    tag = world_submit(w, &op);
    world_pass(w, 8000);
    assert_int_equal(1, world_done(w, tag)->result->u.chunk_sync.missing_count);
    assert_in_range(world_done(w, tag)->at_ms - start, 600, 610);

    start = w->now;
    tag = world_submit(w, &op); /* it is known to be silent */
    world_pass(w, 10);
    assert_int_equal(1, world_done(w, tag)->result->u.chunk_sync.missing_count);
    w->nodes[1].sync_missing = false;
    tag = world_submit(w, &op); /* after it was put again elsewhere */
    world_pass(w, 10);
    assert_int_equal(0, world_done(w, tag)->result->u.chunk_sync.missing_count);
}

/* ---- The table changes while a sync runs ---- */

#define NEW_OWNERS { 3, 4, 0 } /* 0 1 2 before */

struct late {
    uint64_t conn, id; /* node 1's answer that is on its way; 0: none yet */
    uint32_t asked[WORLD_MEMBERS];
};

static bool keep_sync(struct client_world *w, uint64_t conn, uint32_t node,
                      const struct kith_msg *msg)
{
    struct late *late = w->own;
    late->asked[node] += msg->kind == KITH_MSG_CHUNK_SYNC_REQ ? 1 : 0;
    if (node != 1 || msg->kind != KITH_MSG_CHUNK_SYNC_REQ || late->id != 0) {
        return false;
    }
    late->conn = conn;
    late->id = msg->id;
    return true;
}

static void move_owners(struct client_world *w)
{
    static const uint16_t of_each[WORLD_NODES] = NEW_OWNERS;
    uint16_t owners[WORLD_PARTITIONS * WORLD_NODES];
    for (uint32_t i = 0; i < WORLD_PARTITIONS * WORLD_NODES; i++) {
        owners[i] = of_each[i % WORLD_NODES];
    }
    struct kith_table *newer = NULL;
    assert_int_equal(kith_table_new(&w->table->cluster, 1, 2, WORLD_PARTITIONS, WORLD_NODES,
                                    w->table->members, w->member_count, owners, &newer),
                     KITH_OK);
    kith_table_drop(w->newer);
    w->newer = newer;
}

/* Who held a chunk by the old table counts for nothing by the new one: other nodes own it, and all of
 * them are asked. */
static void test_chunk_sync_moved(void **state)
{
    struct client_world *w = *state;
    struct late late = {0, 0, {0}};
    struct kith_chunk_id id = world_chunk_id(0);
    struct kith_client_op op = {.kind = KITH_CLIENT_CHUNK_SYNC, .timeout_ms = 10000};
    op.u.chunk_sync.id_count = 1;
    op.u.chunk_sync.ids = &id;
    move_owners(w);
    w->own = &late;
    w->on_message = keep_sync;
    w->nodes[2].sync_mute = w->nodes[3].sync_mute = w->nodes[4].sync_mute = true;
    uint64_t tag = world_submit(w, &op);
    assert_int_not_equal(late.id, 0);
    assert_null(world_done(w, tag)); /* of 0 alone it is known */
    for (uint32_t i = 0; i < WORLD_MEMBERS; i++) {
        w->nodes[i].stale = true;
    }
    (void)world_get(w, "a", KITH_LEVEL_QUORUM, 0); /* that brings the newer table */
    static const uint32_t asked[WORLD_MEMBERS] = {2, 1, 1, 1, 1};
    assert_memory_equal(late.asked, asked, sizeof asked); /* node 0 by each table */
    struct kith_msg *answer = world_answer(w, late.conn, KITH_MSG_CHUNK_SYNC_RES, late.id);
    answer->u.chunk_sync_res.missing_count = 0; /* it holds it, and owns it no more */
    world_pass(w, 1000);
    assert_null(world_done(w, tag));
    world_pass(w, 5000);
    struct world_done *done = world_done(w, tag);
    assert_non_null(done);
    assert_int_equal(done->result->err, KITH_OK);
    assert_int_equal(done->result->u.chunk_sync.missing_count, 1);
    w->nodes[3].sync_mute = false; /* it was put there since */
    tag = world_submit(w, &op);
    world_pass(w, 10);
    assert_int_equal(world_done(w, tag)->result->u.chunk_sync.missing_count, 0);
}

/* ---- Relays ---- */

/* The client is in the zone of the first owner, the other two are in another; *ret_relay is the one
 * who gets the next chunk first. */
static struct client_world *far_world(uint32_t *ret_relay, uint32_t *ret_target)
{
    static const char *const zones[WORLD_MEMBERS] = {"east", "west", "west", "west",
                                                     "east", "east", "west"};
    struct client_world *w = world_new_zones("east", zones);
    world_start(w);
    (void)world_chunk_put(w, 0); /* the connections are made */
    world_pass(w, 100);
    uint32_t before = w->nodes[1].relayed;
    assert_int_equal(KITH_OK, world_err(w, world_chunk_put(w, 0)));
    world_pass(w, 100);
    *ret_target = w->nodes[1].relayed > before ? 1 : 2;
    *ret_relay = 3 - *ret_target;
    for (uint32_t i = 0; i < 3; i++) {
        w->nodes[i].chunk_puts = w->nodes[i].relayed = 0;
    }
    return w;
}

static void far_end(struct client_world *w)
{
    void *state = w;
    assert_int_equal(0, world_teardown(&state));
}

static void test_relay(void **state)
{
    (void)state;
    uint32_t relay, target;
    struct client_world *w = far_world(&relay, &target);
    uint64_t tag = world_chunk_put(w, 0);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, w->nodes[0].chunk_puts);
    assert_int_equal(0, w->nodes[0].relayed);
    assert_int_equal(1, w->nodes[relay].chunk_puts);
    assert_int_equal(0, w->nodes[relay].relayed);
    assert_int_equal(1, w->nodes[target].chunk_puts); /* through the relay alone */
    assert_int_equal(1, w->nodes[target].relayed);
    world_pass(w, 2000);
    assert_int_equal(1, w->nodes[target].chunk_puts);
    w->nodes[target].chunk_err = KITH_ENOSPC; /* his own word, whichever way it comes */
    w->nodes[0].chunk_err = KITH_ENOSPC;
    tag = world_chunk_put(w, 3000);
    world_pass(w, 3000);
    assert_int_equal(KITH_ENOSPC, world_err(w, tag));
    assert_int_equal(2, w->nodes[target].chunk_puts);
    far_end(w);
}

/* how 0: the relay says that it cannot reach the other; 1: it says nothing of him; 2: it refuses
 * itself; 3: it is silent; 4: it dies. */
static void test_relay_fails(void **state)
{
    (void)state;
    for (uint32_t how = 0; how < 5; how++) {
        uint32_t relay, target;
        struct client_world *w = far_world(&relay, &target);
        w->nodes[relay].relay_cannot = how == 0;
        w->nodes[relay].relay_mute = how == 1 || how == 2;
        w->nodes[relay].chunk_err = how == 2 ? KITH_EREFUSED : KITH_OK;
        if (how == 3) {
            world_set_mode(w, relay, FROZEN);
        }
        uint64_t tag = world_chunk_put(w, 10000);
        if (how == 4) {
            w->nodes[relay].relay_mute = true;
            tag = world_chunk_put(w, 10000);
            world_set_mode(w, relay, DEAD);
        }
        world_pass(w, 900);
        assert_int_equal(KITH_OK, world_err(w, tag));
        assert_in_range(w->nodes[target].chunk_puts, 1, 2); /* 4: one of each */
        assert_int_equal(how == 4 ? 1 : 0, w->nodes[target].relayed);
        assert_int_equal(how == 4 ? 2 : 1, w->nodes[target].chunk_puts);
        far_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_chunk_put, world_setup_strict, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_put_thin, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_put_thin_silent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_put_short, world_setup_strict, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_get, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_brake, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_sync, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_sync_silent, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_chunk_sync_moved, world_setup_many, world_teardown),
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_relay_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
