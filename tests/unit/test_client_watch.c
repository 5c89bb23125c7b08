/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * test_client_watch.c - watches in the client's core (watch.c): when they are live, under which
 * number, and what is told; with epoch.h as the user's side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "client/epoch.h"
#include "lib/client_world.h"

#define TAGS    4u /* watches whose state is followed: tags 1 to TAGS */
#define LASTS   2900u /* ms that a promise counts: the lease less the margin for clocks */
#define ASKS_MS 65536u

struct follow { /* one watch, as the user sees it */
    struct kith_epoch epoch;
    uint32_t watched, breaks; /* effects */
    uint32_t changed;
    uint32_t name_count; /* of the last change */
    char names[64];
    uint32_t dones; /* requests that had ended when it broke last */
};

struct asked { /* one node */
    enum kith_err says;
    bool silent; /* does not answer; what it was asked last can be answered later */
    uint32_t asks;
    uint64_t id, conn, at_ms;
    uint64_t gap_ms; /* between the last two */
    struct kith_watch_req req;
    bool under_way;
    /* its own lease, of the watch that asked last */
    uint64_t lease_conn, lease_ms;
    bool begins; /* it says that the lease before is over: the asker slept */
};

struct watching {
    struct asked nodes[WORLD_NODES];
    struct follow follow[TAGS + 1];
    uint32_t asks;
    uint32_t changed, breaks; /* of all watches */
    uint16_t at[ASKS_MS]; /* asks by the millisecond, from when counting began */
    uint64_t from_ms;
};

static void answer(struct client_world *w, uint32_t node)
{
    struct watching *my = w->own;
    struct asked *asked = &my->nodes[node];
    struct kith_msg *msg = world_answer(w, asked->conn, KITH_MSG_WATCH_RES, asked->id);
    msg->u.watch_res.status.err = asked->says;
    msg->u.watch_res.status.message = "as scripted";
    if (asked->says == KITH_ESTALE) {
        msg->u.watch_res.table = world_keep_table(w, w->newer);
    }
    msg->u.watch_res.renewed =
        !asked->begins && asked->lease_conn == asked->conn && w->now <= asked->lease_ms;
    asked->lease_conn = asked->conn;
    asked->lease_ms = w->now + KITH_WATCH_LEASE_MS;
    asked->under_way = false;
}

static bool on_message(struct client_world *w, uint64_t conn, uint32_t node,
                       const struct kith_msg *msg)
{
    struct watching *my = w->own;
    struct asked *asked = &my->nodes[node];
    if (msg->kind != KITH_MSG_WATCH_REQ) {
        return false;
    }
    my->asks++;
    if (my->from_ms != 0 && w->now - my->from_ms < ASKS_MS) {
        my->at[w->now - my->from_ms]++;
    }
    asked->asks++;
    asked->gap_ms = w->now - asked->at_ms;
    asked->at_ms = w->now;
    asked->id = msg->id;
    asked->conn = conn;
    asked->req = msg->u.watch_req;
    asked->under_way = true;
    if (!asked->silent) {
        answer(w, node);
    }
    return true;
}

static void on_effect(struct client_world *w, const struct kith_client_effect *effect)
{
    struct watching *my = w->own;
    my->changed += effect->kind == KITH_CLIENT_EFFECT_CHANGED;
    my->breaks += effect->kind == KITH_CLIENT_EFFECT_WATCHED && effect->until_ms == 0;
    if (effect->tag > TAGS) {
        return;
    }
    assert_true(effect->tag != 0);
    struct follow *follow = &my->follow[effect->tag];
    if (effect->kind == KITH_CLIENT_EFFECT_WATCHED) {
        assert_true(effect->until_ms == 0 || effect->until_ms > w->now);
        follow->watched++;
        if (effect->until_ms == 0) {
            follow->breaks++;
            follow->dones = w->done_count;
        }
        kith_epoch_tell(&follow->epoch, effect->until_ms);
        return;
    }
    follow->changed++;
    follow->name_count = effect->name_count;
    follow->names[0] = '\0';
    for (uint32_t i = 0; i < effect->name_count; i++) {
        (void)strncat(follow->names, (const char *)effect->names[i].data, effect->names[i].size);
        (void)strcat(follow->names, " ");
    }
}

static int setup(void **state)
{
    int code = world_setup(state);
    struct client_world *w = *state;
    w->own = calloc(1, sizeof(struct watching));
    w->on_message = on_message;
    w->on_effect = on_effect;
    return w->own == NULL ? -1 : code;
}

static int teardown(void **state)
{
    struct client_world *w = *state;
    free(w->own);
    return world_teardown(state);
}

static struct watching *of(struct client_world *w)
{
    return w->own;
}

static enum kith_err begin(struct client_world *w, uint64_t tag, const struct kith_group *group)
{
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_WATCH, .tag = tag, .group = group};
    enum kith_err err = world_step(w, &event);
    world_deliver(w);
    return err;
}

static void watch(struct client_world *w, uint64_t tag)
{
    assert_int_equal(KITH_OK, begin(w, tag, &WORLD_GROUP));
}

static void unwatch(struct client_world *w, uint64_t tag)
{
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_UNWATCH, .tag = tag};
    assert_int_equal(KITH_OK, world_step(w, &event));
}

/* What the user would be told now. */
static uint64_t epoch(struct client_world *w, uint64_t tag)
{
    return kith_epoch_at(&of(w)->follow[tag].epoch, w->now);
}

static void late_answer(struct client_world *w, uint32_t node)
{
    assert_true(of(w)->nodes[node].under_way);
    answer(w, node);
    world_deliver(w);
}

/* `names` blank-separated single letters; ended: says so. */
static void tell(struct client_world *w, uint32_t node, const struct kith_group *group,
                 const char *names, bool ended)
{
    struct kith_bytes list[8];
    uint32_t count = 0;
    struct kith_msg *msg =
        world_answer(w, of(w)->nodes[node].conn, KITH_MSG_WATCH_EVENT, 0);
    for (; names[count] != '\0'; count++) {
        list[count] = world_keep_bytes(w, kith_bytes_make(&names[count], 1));
    }
    msg->u.watch_event.group = *group;
    msg->u.watch_event.ended = ended;
    msg->u.watch_event.name_count = count;
    msg->u.watch_event.names = count > 0 ? world_keep(w, list, count * sizeof(list[0])) : NULL;
    world_deliver(w);
}

static uint64_t read_a(struct client_world *w)
{
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_int_equal(KITH_OK, world_err(w, tag));
    return tag;
}

/* A read that cannot go on before answer() and world_deliver are called. */
static uint64_t read_begin(struct client_world *w)
{
    struct kith_bytes names[] = {text("a")};
    struct kith_client_op op = {.kind = KITH_CLIENT_GET};
    op.u.get.group = WORLD_GROUP;
    op.u.get.name_count = 1;
    op.u.get.names = names;
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_SUBMIT, .op = &op, .tag = ++w->tag};
    assert_int_equal(KITH_OK, world_step(w, &event));
    return w->tag;
}

/* What lies in the inbox, kept back. */
struct held {
    uint32_t count;
    struct kith_msg_box *boxes[8];
    uint64_t conns[8];
};

static struct held hold(struct client_world *w)
{
    struct held held = {0};
    for (; w->head != w->tail; w->head++) {
        assert_true(held.count < 8);
        held.boxes[held.count] = w->inbox[w->head % WORLD_INBOX].box;
        held.conns[held.count++] = w->inbox[w->head % WORLD_INBOX].conn;
    }
    return held;
}

static void deliver_held(struct client_world *w, const struct held *held)
{
    for (uint32_t i = 0; i < held->count; i++, w->tail++) {
        w->inbox[w->tail % WORLD_INBOX].kind = KITH_CLIENT_EVENT_MESSAGE;
        w->inbox[w->tail % WORLD_INBOX].box = held->boxes[i];
        w->inbox[w->tail % WORLD_INBOX].conn = held->conns[i];
    }
    world_deliver(w);
}

/* ---- When it is live ---- */

static void test_majority(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].silent = my->nodes[1].silent = my->nodes[2].silent = true;
    watch(w, 1);
    for (uint32_t i = 0; i < WORLD_NODES; i++) { /* all owners are asked, with all they must know */
        assert_int_equal(1, my->nodes[i].asks);
        assert_int_equal(KITH_WATCH_LEASE_MS, my->nodes[i].req.lease_ms);
        assert_int_equal(1, my->nodes[i].req.own); /* the world's random[0] */
        assert_int_equal(0, kith_group_compare(&WORLD_GROUP, &my->nodes[i].req.group));
        assert_int_equal(0, kith_table_id_compare(&w->table->id, &my->nodes[i].req.table));
    }
    uint64_t asked_ms = w->now;
    world_pass(w, 300);
    late_answer(w, 2);
    assert_int_equal(0, epoch(w, 1)); /* one is none */
    assert_int_equal(0, my->follow[1].watched);
    late_answer(w, 1);
    assert_int_equal(1, epoch(w, 1));
    /* counted from the asking, not from the answer */
    assert_int_equal(asked_ms + LASTS, atomic_load(&my->follow[1].epoch.until_ms));
}

static void test_own_is_half_of_request_ids(void **state)
{
    struct client_world *w = *state;
    struct kith_request_id id = kith_client_core_request_id(w->core);
    watch(w, 1);
    uint64_t half = 0;
    for (uint32_t i = 0; i < 8; i++) {
        half = half << 8 | id.bytes[i];
    }
    assert_int_equal(half, of(w)->nodes[0].req.own);
}

static void test_renewal_keeps_the_number(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w);
    for (uint32_t i = 0; i < 200; i++) {
        world_pass(w, 50);
        assert_int_equal(1, epoch(w, 1));
    }
    assert_int_equal(0, my->follow[1].breaks);
    for (uint32_t i = 0; i < WORLD_NODES; i++) { /* in 10 s: each 750 to 1025 ms */
        assert_in_range(my->nodes[i].asks, 10, 14);
    }
}

/* The end comes by the clock, before any tick sees to it. */
static void test_lapse(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].says = KITH_ENOTREADY;
    watch(w, 1);
    world_pass(w, 5000);
    my->nodes[1].silent = true;
    uint64_t until_ms = my->nodes[1].at_ms + LASTS;
    world_pass(w, until_ms - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    assert_int_equal(0, my->follow[1].breaks);
    w->now++;
    assert_int_equal(0, epoch(w, 1));
    world_pass(w, 0);
    assert_int_equal(1, my->follow[1].breaks); /* and is told in the same millisecond */
    my->nodes[1].silent = false;
    world_pass(w, 20000);
    assert_int_equal(2, epoch(w, 1));
}

/* Asked in time, answered too late: the node may have taken it after its lease was over. */
static void test_answer_after_the_end(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].says = KITH_ENOTREADY;
    watch(w, 1);
    uint64_t first_ms = my->nodes[1].at_ms;
    my->nodes[1].silent = true;
    /* the last ask before the end is answered right after it */
    world_pass(w, first_ms + LASTS - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    assert_true(my->nodes[1].asks >= 2 && my->nodes[1].at_ms < w->now);
    w->now++; /* no tick comes in between */
    uint64_t asked_ms = my->nodes[1].at_ms;
    late_answer(w, 1);
    assert_int_equal(1, my->follow[1].breaks);
    assert_int_equal(2, epoch(w, 1));
    /* the same a millisecond before the end goes on */
    assert_true(asked_ms + LASTS > w->now && my->nodes[1].at_ms > asked_ms);
    world_pass(w, asked_ms + LASTS - 1 - w->now);
    assert_int_equal(2, epoch(w, 1));
    late_answer(w, 1);
    w->now++;
    assert_int_equal(2, epoch(w, 1));
}

static void test_connection_lost(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    world_set_mode(w, 2, DEAD);
    assert_int_equal(1, epoch(w, 1)); /* two are left, and nothing was read */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(0, epoch(w, 1)); /* at once */
    assert_int_equal(1, my->follow[1].breaks);
    uint32_t asks = my->nodes[1].asks;
    w->nodes[1].mode = ALIVE;
    world_pass(w, 5000);
    assert_true(my->nodes[1].asks > asks);
    assert_int_equal(2, epoch(w, 1));
}

static void test_before_the_table(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    kith_client_core_free(w->core); /* one that knows nobody yet */
    static const char *const servers[] = {"n0:1"};
    struct kith_client_core_options options = {
        .server_count = 1, .servers = servers, .mono_ms = w->now, .random = {5, 6, 7, 8}};
    assert_int_equal(KITH_OK, kith_client_core_new(&options, &w->core, NULL));
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_WATCH, .tag = 1, .group = &WORLD_GROUP};
    assert_int_equal(KITH_OK, world_step(w, &event));
    assert_int_equal(0, my->asks);
    world_pass(w, 100);
    assert_int_equal(1, epoch(w, 1));
}

/* ---- What ends a number ---- */

/* An owner that answered a read leaves, two others promise: nobody may have told what it stores
 * from now on. One that answered none may leave. */
static void test_reader_leaves(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w); /* by 0 and 1 */
    world_set_mode(w, 2, DEAD);
    assert_int_equal(1, epoch(w, 1));
    w->nodes[2].mode = ALIVE;
    world_pass(w, 3000);
    assert_int_equal(1, epoch(w, 1)); /* and back */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(2, epoch(w, 1));
    assert_int_equal(1, my->follow[1].breaks);
    w->nodes[1].mode = ALIVE;
    world_pass(w, 3000);
    assert_int_equal(2, epoch(w, 1)); /* under this one nothing was read */
}

/* The set that slides: 0 and 1 promise and answer; 2 joins; 0 falls silent. There are two all the
 * time, and a change that 2 stored before and 0 stores after is told by none. */
static void test_sliding_set(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].silent = true;
    watch(w, 1);
    (void)read_a(w);
    assert_int_equal(1, epoch(w, 1));
    my->nodes[2].silent = false;
    world_pass(w, 2000);
    assert_int_equal(1, epoch(w, 1)); /* who joins breaks nothing */
    uint64_t end_ms = my->nodes[0].at_ms + LASTS;
    my->nodes[0].silent = true;
    world_pass(w, end_ms - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    w->now++; /* by the clock: though 1 and 2 promise, and no tick comes */
    assert_int_equal(0, epoch(w, 1));
    world_pass(w, 0);
    assert_int_equal(2, epoch(w, 1)); /* live at once, under another number */
}

/* The same where nothing was read: what is known without, as of what was just made, needs R that
 * have promised from then on. */
static void test_founders(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[2].silent = true;
    watch(w, 1);
    my->nodes[2].silent = false;
    world_pass(w, 2000);
    assert_int_equal(1, epoch(w, 1));
    uint64_t end_ms = my->nodes[0].at_ms + LASTS;
    my->nodes[0].silent = true;
    world_pass(w, end_ms - 1 - w->now);
    assert_int_equal(1, epoch(w, 1));
    w->now++; /* by the clock */
    assert_int_equal(0, epoch(w, 1));
    world_pass(w, 0);
    assert_int_equal(2, epoch(w, 1)); /* 1 and 2 */
    my->nodes[0].silent = false;
    world_pass(w, 11000);
    world_set_mode(w, 0, DEAD); /* who joined late may go */
    assert_int_equal(2, epoch(w, 1));
    world_set_mode(w, 2, DEAD);
    assert_int_equal(0, epoch(w, 1));
}

/* All three are founders of the second number (a read of too few ends the first): then one may go,
 * unless it answered a read, and what comes back is a founder no more. */
static void test_three_founders(void **state)
{
    struct client_world *w = *state;
    watch(w, 1);
    (void)world_get(w, "a", KITH_LEVEL_ONE, 0);
    assert_int_equal(2, epoch(w, 1));
    world_set_mode(w, 1, DEAD);
    assert_int_equal(2, epoch(w, 1));
    w->nodes[1].mode = ALIVE;
    world_pass(w, 5000);
    assert_int_equal(2, epoch(w, 1));
    world_set_mode(w, 2, DEAD);
    assert_int_equal(3, epoch(w, 1)); /* of 0 and 1 */
    w->nodes[2].mode = ALIVE;
    world_pass(w, 5000);
    (void)world_get(w, "a", KITH_LEVEL_ONE, 0);
    (void)read_a(w);
    assert_int_equal(4, epoch(w, 1)); /* of all */
    world_set_mode(w, 1, DEAD);
    assert_int_equal(5, epoch(w, 1));
}

/* Answered by one that promised nothing: the others never hear of what only it and a node that had
 * the change before will store. The watch breaks before the read's callback. */
static void test_read_by_stranger(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[1].says = KITH_ELIMIT;
    watch(w, 1);
    assert_int_equal(1, epoch(w, 1));
    uint64_t tag = read_a(w); /* by 0 and 1 */
    assert_int_equal(2, epoch(w, 1));
    assert_ptr_equal(&w->dones[my->follow[1].dones], world_done(w, tag));
    uint32_t pages = 0;
    (void)world_scan_all(w, 0, &pages);
    assert_int_equal(3, epoch(w, 1));
    /* another group, another matter */
    const struct kith_group other = {{9, 9}};
    assert_int_equal(KITH_OK, begin(w, 2, &other));
    (void)read_a(w);
    assert_int_equal(1, epoch(w, 2));
    world_set_mode(w, 1, DEAD);
    (void)read_a(w); /* by 0 and 2 */
    assert_int_equal(4, epoch(w, 1));
}

/* A promise that came while the read was under way is no older than the answer: unless it was asked
 * for first, then the node took it first. */
static void test_promise_within_a_read(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[1].silent = true;
    watch(w, 1);
    assert_int_equal(1, epoch(w, 1));
    uint64_t tag = read_begin(w); /* behind the question, before its answer */
    struct held held = hold(w);
    late_answer(w, 1); /* first, as they were asked */
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, epoch(w, 1));
    /* lost and back, with a read that began before: its answer may be older than the promise */
    my->nodes[1].silent = false;
    my->nodes[1].says = KITH_ENOTREADY;
    world_pass(w, 2200);
    assert_int_equal(2, epoch(w, 1));
    w->nodes[0].mode = FROZEN; /* so that the read waits for 1 */
    tag = read_begin(w);
    held = hold(w); /* and 1 takes long to answer it */
    w->nodes[0].mode = ALIVE;
    my->nodes[1].says = KITH_OK;
    world_pass(w, 1100);
    assert_int_equal(2, epoch(w, 1));
    assert_null(world_done(w, tag));
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(3, epoch(w, 1));
    (void)read_a(w); /* from now on it is one like the others */
    assert_int_equal(3, epoch(w, 1));
}

/* What fewer than R say is no ground for anything, nor is what began before the number. */
static void test_degraded_read(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    w->nodes[1].get_err = w->nodes[2].get_err = KITH_ENOTREADY;
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    world_pass(w, 3000);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_true(world_done(w, tag)->result->degraded);
    assert_int_equal(1, my->follow[1].breaks);
    assert_int_equal(2, epoch(w, 1));
    w->nodes[1].get_err = w->nodes[2].get_err = KITH_OK;
    (void)world_get(w, "a", KITH_LEVEL_ONE, 0);
    assert_int_equal(3, epoch(w, 1));
    unwatch(w, 1);
    my->nodes[1].says = KITH_ELIMIT;
    tag = read_begin(w);
    struct held held = hold(w);
    watch(w, 2);
    deliver_held(w, &held);
    assert_int_equal(KITH_OK, world_err(w, tag));
    assert_int_equal(1, epoch(w, 2));
    assert_int_equal(0, my->follow[2].breaks);
}

static void test_table_changes(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    world_pass(w, 500);
    uint32_t asks = my->asks;
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        w->nodes[i].stale = true;
    }
    (void)read_a(w); /* learns of the newer table */
    assert_int_equal(1, my->follow[1].breaks);
    assert_int_equal(2, epoch(w, 1)); /* asked again at once, by the new table */
    assert_int_equal(asks + 3, my->asks);
    assert_int_equal(0, kith_table_id_compare(&w->newer->id, &my->nodes[0].req.table));
}

static void test_stale(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].says = KITH_ESTALE;
    my->nodes[1].silent = my->nodes[2].silent = true;
    watch(w, 1);
    assert_int_equal(0, kith_table_id_compare(&w->newer->id, &my->nodes[0].req.table));
    assert_int_equal(0, epoch(w, 1));
    assert_int_equal(2, my->nodes[0].asks); /* stale still, of a table no newer: it passes */
    my->nodes[0].says = my->nodes[1].says = my->nodes[2].says = KITH_OK;
    my->nodes[1].silent = my->nodes[2].silent = false;
    world_pass(w, 1100);
    assert_int_equal(1, epoch(w, 1));
}

/* By its own clock the client is in time; but that stood still for as long as a lease and more. */
static void test_slept(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w);
    my->nodes[2].begins = true;
    world_pass(w, 1100);
    assert_int_equal(1, epoch(w, 1)); /* it had answered nothing */
    my->nodes[1].begins = true;
    world_pass(w, 1100);
    assert_int_equal(2, epoch(w, 1));
    assert_int_equal(1, my->follow[1].breaks);
    my->nodes[1].begins = my->nodes[2].begins = false;
    (void)read_a(w);
    world_pass(w, 5000);
    assert_int_equal(2, epoch(w, 1));
}

static void test_ended(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    watch(w, 1);
    (void)read_a(w);
    uint32_t asks = my->nodes[1].asks;
    my->nodes[1].silent = true;
    tell(w, 1, &WORLD_GROUP, "", true);
    assert_int_equal(0, my->follow[1].changed); /* "ended" is no change of any row */
    assert_int_equal(2, epoch(w, 1));
    world_pass(w, 100);
    assert_int_equal(asks + 1, my->nodes[1].asks); /* asked again soon */
    tell(w, 0, &WORLD_GROUP, "", true);
    assert_int_equal(0, epoch(w, 1));
    my->nodes[1].silent = false;
    tell(w, 2, &WORLD_GROUP, "x", true);
    assert_string_equal("x ", my->follow[1].names);
}

/* ---- Changes ---- */

static void test_changes(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    const struct kith_group other = {{9, 9}};
    watch(w, 1);
    assert_int_equal(KITH_OK, begin(w, 2, &other));
    watch(w, 3); /* the same group twice */
    tell(w, 2, &WORLD_GROUP, "xy", false);
    assert_int_equal(1, my->follow[1].changed);
    assert_string_equal("x y ", my->follow[1].names);
    assert_string_equal("x y ", my->follow[3].names);
    assert_int_equal(0, my->follow[2].changed);
    tell(w, 0, &other, "", false); /* any */
    assert_int_equal(1, my->follow[2].changed);
    assert_int_equal(0, my->follow[2].name_count);
    assert_int_equal(1, my->follow[1].changed);
    unwatch(w, 1);
    uint32_t watched = my->follow[1].watched;
    tell(w, 1, &WORLD_GROUP, "z", false);
    assert_string_equal("z ", my->follow[3].names);
    world_pass(w, 3000);
    assert_int_equal(1, my->follow[1].changed);
    assert_int_equal(watched, my->follow[1].watched);
    assert_int_equal(1, epoch(w, 3));
    unwatch(w, 3);
    unwatch(w, 2);
    uint32_t asks = my->asks;
    world_pass(w, 3000);
    assert_int_equal(asks, my->asks);
    unwatch(w, 2); /* nobody */
}

/* Where memory is short for telling a change, the number ends: then nothing is believed. */
static void test_short_of_memory(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    enum { MANY = 100 }; /* effects of one step: more than there was room for so far */
    for (uint64_t i = 0; i < MANY; i++) {
        watch(w, 1000 + i);
    }
    world_pass(w, 10);
    assert_int_equal(0, my->breaks);
    kith_alloc_fail_at(1);
    struct kith_bytes name = text("x");
    struct kith_msg msg = {.kind = KITH_MSG_WATCH_EVENT};
    msg.u.watch_event.group = WORLD_GROUP;
    msg.u.watch_event.name_count = 1;
    msg.u.watch_event.names = &name;
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_MESSAGE, .msg = &msg, .conn = my->nodes[0].conn};
    (void)world_step(w, &event);
    kith_alloc_fail_at(0);
    world_pass(w, 0);
    assert_int_equal(MANY - 1, my->changed); /* one has found no room */
    assert_int_equal(1, my->breaks);
}

/* ---- Asking ---- */

static void test_refused(void **state)
{
    static const enum kith_err errors[] = {KITH_ELIMIT, KITH_EINVAL};
    struct client_world *w = *state;
    struct watching *my = of(w);
    for (uint32_t i = 0; i < 2; i++) {
        my->nodes[0].says = errors[i];
        watch(w, 1);
        assert_int_equal(i + 1, epoch(w, 1));
        world_pass(w, 60000);
        assert_in_range(my->nodes[0].gap_ms, 9000, 10100); /* seldom, in the end */
        my->nodes[0].says = KITH_OK;
        world_pass(w, 20000);
        assert_in_range(my->nodes[0].gap_ms, 700, 1100);
        unwatch(w, 1);
        kith_epoch_tell(&my->follow[1].epoch, 0); /* the next is another watch */
    }
    my->nodes[0].says = KITH_ENOTREADY; /* that passes: as often as one renews */
    watch(w, 1);
    world_pass(w, 30000);
    assert_in_range(my->nodes[0].gap_ms, 900, 1100);
}

static void test_unanswered(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    my->nodes[0].silent = true;
    watch(w, 1);
    world_pass(w, 999);
    assert_int_equal(1, my->nodes[0].asks); /* never two at once */
    world_pass(w, 1);
    assert_int_equal(2, my->nodes[0].asks);
    world_pass(w, 1000);
    assert_int_equal(2, my->nodes[0].asks); /* then less often */
    world_pass(w, 60000);
    assert_in_range(my->nodes[0].gap_ms, 10000, 11100);
    /* an answer that comes at last counts for what it is worth, and starts it all again */
    uint32_t asks = my->nodes[0].asks;
    my->nodes[0].silent = false;
    late_answer(w, 0);
    world_pass(w, 1100);
    assert_true(my->nodes[0].asks > asks);
    assert_true(my->nodes[0].gap_ms < 12000);
    /* one that is not for what was asked last is none */
    my->nodes[0].silent = true;
    world_pass(w, 1100);
    world_set_mode(w, 1, DEAD);
    world_pass(w, LASTS);
    assert_int_equal(0, epoch(w, 1));
    uint64_t id = my->nodes[0].id;
    my->nodes[0].id -= UINT64_C(1) << 13; /* of another time */
    late_answer(w, 0);
    assert_int_equal(0, epoch(w, 1));
    /* nor one from elsewhere */
    my->nodes[0].id = id;
    my->nodes[0].under_way = true;
    uint64_t conn = my->nodes[0].conn;
    my->nodes[0].conn = my->nodes[2].conn;
    late_answer(w, 0);
    assert_int_equal(0, epoch(w, 1));
    my->nodes[0].conn = conn;
    my->nodes[0].under_way = true;
    late_answer(w, 0);
    assert_int_not_equal(0, epoch(w, 1));
}

/* As many as there may be: they fall in no step with each other, and no burst is without bound. */
static void test_many(void **state)
{
    struct client_world *w = *state;
    struct watching *my = of(w);
    uint32_t most = 0;
    uint32_t ticks = 0;
    my->from_ms = w->now;
    for (uint64_t i = 0; i < KITH_WATCHES_MAX; i++) {
        struct kith_group group = {{(uint8_t)(i >> 8), (uint8_t)i, 7}};
        assert_int_equal(KITH_OK, begin(w, 1 + i, &group));
    }
    assert_int_equal(KITH_ELIMIT, begin(w, 5000, &WORLD_GROUP));
    assert_int_equal(3 * KITH_WATCHES_MAX, my->asks);
    world_pass(w, 10000);
    for (uint32_t i = 5000; i < 10000; i++) {
        most = my->at[i] > most ? my->at[i] : most;
        ticks += my->at[i] > 0;
    }
    assert_in_range(most, 1, 256);  /* of 3072 in a second; even would be 77 each 25 ms */
    assert_in_range(ticks, 20, 201); /* 40 a second */
    for (uint64_t tag = 1; tag <= TAGS; tag++) {
        assert_int_equal(1, epoch(w, tag));
    }
    for (uint32_t i = 0; i < KITH_WATCHES_MAX; i++) { /* each change to its own watch */
        struct kith_group group = {{(uint8_t)(i >> 8), (uint8_t)i, 7}};
        tell(w, 1, &group, "x", false);
        assert_int_equal(i + 1, my->changed);
    }
    assert_int_equal(1, my->follow[TAGS].changed);
    /* a node comes back: all are asked, not in one step */
    my->from_ms = w->now + 1;
    memset(my->at, 0, sizeof(my->at));
    world_set_mode(w, 2, DEAD);
    w->nodes[2].mode = ALIVE;
    uint32_t asks = my->nodes[2].asks;
    world_pass(w, 200);
    assert_in_range(my->nodes[2].asks, asks + KITH_WATCHES_MAX, UINT32_MAX);
    for (uint32_t i = 0; i < 200; i++) {
        assert_in_range(my->at[i], 0, 256);
    }
    unwatch(w, 77);
    assert_int_equal(KITH_OK, begin(w, 5000, &WORLD_GROUP));
}

/* ---- epoch.h ---- */

static void test_epoch(void **state)
{
    (void)state;
    struct kith_epoch epoch = {0};
    assert_int_equal(0, kith_epoch_at(&epoch, 0));
    kith_epoch_tell(&epoch, 100);
    assert_int_equal(1, kith_epoch_at(&epoch, 99));
    assert_int_equal(0, kith_epoch_at(&epoch, 100));
    kith_epoch_tell(&epoch, 200); /* goes on */
    kith_epoch_tell(&epoch, 150); /* for less */
    assert_int_equal(1, kith_epoch_at(&epoch, 149));
    assert_int_equal(0, kith_epoch_at(&epoch, 150));
    kith_epoch_tell(&epoch, 0);
    assert_int_equal(0, kith_epoch_at(&epoch, 1));
    kith_epoch_tell(&epoch, 0);
    kith_epoch_tell(&epoch, 300);
    assert_int_equal(2, kith_epoch_at(&epoch, 299));
}

int main(void)
{
#define WATCH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        WATCH_TEST(test_majority),
        WATCH_TEST(test_own_is_half_of_request_ids),
        WATCH_TEST(test_renewal_keeps_the_number),
        WATCH_TEST(test_lapse),
        WATCH_TEST(test_answer_after_the_end),
        WATCH_TEST(test_connection_lost),
        WATCH_TEST(test_before_the_table),
        WATCH_TEST(test_reader_leaves),
        WATCH_TEST(test_sliding_set),
        WATCH_TEST(test_founders),
        WATCH_TEST(test_three_founders),
        WATCH_TEST(test_read_by_stranger),
        WATCH_TEST(test_promise_within_a_read),
        WATCH_TEST(test_degraded_read),
        WATCH_TEST(test_table_changes),
        WATCH_TEST(test_stale),
        WATCH_TEST(test_slept),
        WATCH_TEST(test_ended),
        WATCH_TEST(test_changes),
        WATCH_TEST(test_short_of_memory),
        WATCH_TEST(test_refused),
        WATCH_TEST(test_unanswered),
        WATCH_TEST(test_many),
        cmocka_unit_test(test_epoch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
