/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * watching.h - a world (client_world.h) in which nodes answer WATCH_REQs as scripted, and what the
 * client's core tells of watches is followed: for test_client_watch.c and test_epoch.c.
 *
 * Include after cmocka.h. */
#ifndef KITH_TESTS_WATCHING_H
#define KITH_TESTS_WATCHING_H

#include <stdlib.h>
#include <string.h>

#include "client/epoch.h"
#include "lib/client_world.h"

#define TAGS    4u /* watches whose state is followed: tags 1 to TAGS */
#define LASTS   2900u /* ms that a promise counts: the lease less the margin for clocks */
#define ASKS_MS 65536u

struct follow { /* one watch, as the user sees it */
    struct kith_epoch epoch;
    uint32_t watched, breaks; /* effects */
    bool since_made; /* the number goes for requests since the watch was begun */
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
    /* its own lease */
    uint64_t lease_conn, lease_ms, session;
    bool begins; /* it says once that the lease before is over: the asker slept */
    uint32_t renewals; /* of the asks: those that asked for nothing */
    uint32_t ended;    /* groups that it was told are of no more use */
};

struct watching {
    struct asked nodes[WORLD_NODES];
    struct follow follow[TAGS + 1];
    uint32_t asks;
    uint32_t changed, breaks; /* of all watches */
    uint16_t at[ASKS_MS]; /* asks by the millisecond, from when counting began */
    uint64_t from_ms;
};

static inline void answer(struct client_world *w, uint32_t node)
{
    struct watching *my = w->own;
    struct asked *asked = &my->nodes[node];
    struct kith_msg *msg = world_answer(w, asked->conn, KITH_MSG_WATCH_RES, asked->id);
    msg->u.watch_res.status.err = asked->says;
    msg->u.watch_res.status.message = "as scripted";
    if (asked->says == KITH_ESTALE) {
        msg->u.watch_res.table = world_keep_table(w, w->newer);
    }
    if (asked->begins || asked->lease_conn != asked->conn || w->now > asked->lease_ms) {
        asked->session++;
        asked->begins = false;
    }
    msg->u.watch_res.session = asked->session;
    asked->lease_conn = asked->conn;
    asked->lease_ms = w->now + KITH_WATCH_LEASE_MS;
    asked->under_way = false;
}

static inline bool on_message(struct client_world *w, uint64_t conn, uint32_t node,
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
    asked->renewals += !asked->req.has_group;
    asked->ended += asked->req.ended_count;
    asked->under_way = true;
    if (!asked->silent) {
        answer(w, node);
    }
    return true;
}

static inline void on_effect(struct client_world *w, const struct kith_client_effect *effect)
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
        follow->since_made = effect->since_made;
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

static inline int setup(void **state)
{
    int code = world_setup(state);
    struct client_world *w = *state;
    w->own = calloc(1, sizeof(struct watching));
    w->on_message = on_message;
    w->on_effect = on_effect;
    return w->own == NULL ? -1 : code;
}

static inline int teardown(void **state)
{
    struct client_world *w = *state;
    free(w->own);
    return world_teardown(state);
}

static inline struct watching *of(struct client_world *w)
{
    return w->own;
}

static inline enum kith_err begin(struct client_world *w, uint64_t tag,
                                  const struct kith_group *group)
{
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_WATCH, .tag = tag, .group = group};
    enum kith_err err = world_step(w, &event);
    world_deliver(w);
    return err;
}

static inline void watch(struct client_world *w, uint64_t tag)
{
    assert_int_equal(KITH_OK, begin(w, tag, &WORLD_GROUP));
}

static inline void end(struct client_world *w, uint64_t tag, const struct kith_group *group)
{
    struct kith_client_event event = {
        .kind = KITH_CLIENT_EVENT_UNWATCH, .tag = tag, .group = group};
    assert_int_equal(KITH_OK, world_step(w, &event));
}

static inline void unwatch(struct client_world *w, uint64_t tag)
{
    end(w, tag, &WORLD_GROUP);
}

/* What the user would be told now. */
static inline uint64_t epoch(struct client_world *w, uint64_t tag)
{
    return kith_epoch_at(&of(w)->follow[tag].epoch, w->now);
}

static inline void late_answer(struct client_world *w, uint32_t node)
{
    assert_true(of(w)->nodes[node].under_way);
    answer(w, node);
    world_deliver(w);
}

/* `names` blank-separated single letters; ended: says so. */
static inline void tell(struct client_world *w, uint32_t node, const struct kith_group *group,
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

static inline uint64_t read_a(struct client_world *w)
{
    uint64_t tag = world_get(w, "a", KITH_LEVEL_QUORUM, 0);
    assert_int_equal(KITH_OK, world_err(w, tag));
    return tag;
}

/* A read that cannot go on before answer() and world_deliver are called. */
static inline uint64_t read_begin(struct client_world *w)
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

static inline struct held hold(struct client_world *w)
{
    struct held held = {0};
    for (; w->head != w->tail; w->head++) {
        assert_true(held.count < 8);
        held.boxes[held.count] = w->inbox[w->head % WORLD_INBOX].box;
        held.conns[held.count++] = w->inbox[w->head % WORLD_INBOX].conn;
    }
    return held;
}

static inline void deliver_held(struct client_world *w, const struct held *held)
{
    for (uint32_t i = 0; i < held->count; i++, w->tail++) {
        w->inbox[w->tail % WORLD_INBOX].kind = KITH_CLIENT_EVENT_MESSAGE;
        w->inbox[w->tail % WORLD_INBOX].box = held->boxes[i];
        w->inbox[w->tail % WORLD_INBOX].conn = held->conns[i];
    }
    world_deliver(w);
}

#define WATCH_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
