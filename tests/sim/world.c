/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * world.c - the processes: nodes and clients, their time, their starts and ends. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define WALL_MS UINT64_C(1795000000000)

uint64_t world_start_of(struct sim *sim, uint32_t entity)
{
    return entity < SIM_NODES_MAX ? sim->nodes[entity].start : 0;
}

bool world_alive(struct sim *sim, uint32_t entity, uint64_t start)
{
    return entity >= SIM_NODES_MAX || (sim->nodes[entity].up && sim->nodes[entity].start == start);
}

/* ---- nodes ---- */

uint64_t world_true_ms(const struct sim *sim)
{
    return WALL_MS + sim->now_us / 1000;
}

uint64_t world_wall_ms(const struct sim *sim, const struct sim_node *node)
{
    return WALL_MS + sim->now_us / 1000 + (uint64_t)node->skew_ms;
}

static void node_tick(struct sim *sim, struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->entity];
    /* else: an earlier one has been asked for since */
    if (!world_alive(sim, event->entity, event->start) || event->at_us != node->tick_us) {
        return;
    }
    if (faults_frozen(sim, event->entity, event)) {
        node->tick_us = sim->frozen_until_us[event->entity];
    } else {
        node->tick_us = UINT64_MAX;
        struct kith_event tick = {.kind = KITH_EVENT_TICK};
        world_node_step(sim, node, &tick, NULL);
    }
}

static void node_schedule(struct sim *sim, struct sim_node *node, uint64_t deadline_ms)
{
    if (deadline_ms == UINT64_MAX) {
        return;
    }
    uint64_t at = deadline_ms * 1000;
    at = at > sim->now_us + 100 ? at : sim->now_us + 100;
    if (at < node->tick_us) {
        node->tick_us = at;
        struct sim_event *event = sim_at(sim, at, node_tick);
        event->entity = node->index;
        event->start = node->start;
    }
}

void world_node_step(struct sim *sim, struct sim_node *node, struct kith_event *event,
                      struct kith_msg_box *box)
{
    struct kith_effects effects;
    event->mono_ms = sim->now_us / 1000;
    event->wall_ms = world_wall_ms(sim, node);
    event->random = sim_random(sim);
    if (kith_node_step(node->core, event, &effects) != KITH_OK) {
        sim_fail(sim, "node %u does not take an event", node->index);
        return;
    }
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_effect *effect = &effects.effects[i];
        switch (effect->kind) {
        case KITH_EFFECT_SEND:
            if (!sim->untold || effect->msg->kind != KITH_MSG_WATCH_EVENT) {
                net_send(sim, node->index, effect->conn, effect->msg);
            }
            break;
        case KITH_EFFECT_CONNECT:
            net_connect(sim, node->index, effect->conn, effect->address, effect->cls);
            break;
        case KITH_EFFECT_CLOSE:
            sim_trace(sim, "%u closes: %s", node->index, effect->reason);
            net_close(sim, node->index, effect->conn);
            break;
        case KITH_EFFECT_STORE:
            disk_submit(sim, node, effect->op, box);
            break;
        case KITH_EFFECT_LOG:
            sim_trace(sim, "%u log: %s", node->index, effect->text);
            break;
        case KITH_EFFECT_READY:
            node->ready = true;
            sim->secret = kith_bytes_make(sim->secret_bytes, sizeof sim->secret_bytes);
            memcpy(sim->secret_bytes, kith_node_secret(node->core).data, sizeof sim->secret_bytes);
            break;
        }
    }
    node_schedule(sim, node, effects.deadline_ms);
}

void world_start(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    struct kith_node_options options = {.address = node->address,
                                        .software = "sim",
                                        .zone = zones_name(sim, index),
                                        .scrub_ms = 3600000,
                                        .sweep_ms = sim->sweeps ? SWEEPS_GRACE_MS : 0,
                                        .join = node->join,
                                        .relay_min = 1,
                                        .keep_open = sim->few_open ? 1 : 0};
    struct kith_start start;
    memset(&start, 0, sizeof start);
    node->start++;
    node->stamped = 0;
    for (uint32_t i = 0; i < 4; i++) {
        start.random[i] = sim_random(sim);
    }
    start.mono_ms = sim->now_us / 1000;
    start.wall_ms = world_wall_ms(sim, node);
    for (uint8_t key = 1; key < KITH_META_KEYS; key++) {
        start.meta[key] = store_sim_get(&node->store, 'm', &key, 1);
    }
    if (sim->mutant == MUTANT_AGED_READ) {
        start.meta[KITH_META_ALIVE] = kith_bytes_make(NULL, 0);
    }
    start.has_data = store_sim_has_data(&node->store);
    uint64_t run = sim_random(sim) | 1;
    store_sim_start(&node->store, run);
    struct kith_error error;
    if (kith_node_new(&options, &start, &node->core, &error) != KITH_OK) {
        sim_fail(sim, "node %u does not start: %s", index, error.message);
        return;
    }
    node->up = true;
    node->tick_us = UINT64_MAX;
    sim_trace(sim, "%u starts", index);
    node_schedule(sim, node, 0);
}

static void node_restart(struct sim *sim, struct sim_event *event)
{
    if (!sim->nodes[event->entity].up && !sim->nodes[event->entity].held && !sim->failed) {
        world_start(sim, event->entity);
    }
}

/* The core is freed after the event at hand, which may still use it. */
static void node_bury(struct sim *sim, struct sim_event *event)
{
    (void)sim;
    kith_node_free((struct kith_node *)(void *)event->bytes);
    event->bytes = NULL;
}

bool world_may_lose_power(const struct sim *sim)
{
    return sim->newest && sim->newest->owner_slots > 1;
}

void world_crash(struct sim *sim, uint32_t index, bool power)
{
    struct sim_node *node = &sim->nodes[index];
    if (!node->up) {
        return;
    }
    sim->crashes++;
    sim->power_losses += power ? 1 : 0;
    sim_trace(sim, "%u %s", index, power ? "loses power" : "is killed");
    net_crashed(sim, index);
    node->up = false;
    sim->frozen_until_us[index] = 0;
    struct sim_event *bury = sim_at(sim, sim->now_us, node_bury);
    bury->bytes = (uint8_t *)(void *)node->core;
    node->core = NULL;
    store_sim_crash(&node->store, power);
    uint32_t delay = 20000 + sim_below(sim, 2000000);
    struct sim_event *event = sim_at(sim, sim->now_us + delay, node_restart);
    event->entity = index;
}

/* ---- clients ---- */

static void client_tick(struct sim *sim, struct sim_event *event)
{
    struct sim_client *client = &sim->clients[event->entity];
    uint32_t entity = SIM_NODES_MAX + client->index;
    if (event->at_us != client->tick_us) {
        return;
    }
    if (faults_frozen(sim, entity, event)) {
        client->tick_us = sim->frozen_until_us[entity];
    } else {
        client->tick_us = UINT64_MAX;
        struct kith_client_event tick = {.kind = KITH_CLIENT_EVENT_TICK};
        world_client_step(sim, client, &tick);
    }
}

void world_client_step(struct sim *sim, struct sim_client *client, struct kith_client_event *event)
{
    struct kith_client_effects effects;
    event->mono_ms = sim->now_us / 1000;
    event->random = sim_random(sim);
    uint32_t entity = SIM_NODES_MAX + client->index;
    if (kith_client_core_step(client->core, event, &effects) != KITH_OK) {
        sim_fail(sim, "client %u does not take an event", client->index);
        return;
    }
    for (uint32_t i = 0; i < effects.count; i++) {
        const struct kith_client_effect *effect = &effects.effects[i];
        switch (effect->kind) {
        case KITH_CLIENT_EFFECT_SEND:
            net_send(sim, entity, effect->conn, effect->msg);
            break;
        case KITH_CLIENT_EFFECT_CONNECT:
            net_connect(sim, entity, effect->conn, effect->address, KITH_CONN_ROWS);
            break;
        case KITH_CLIENT_EFFECT_CLOSE:
            net_close(sim, entity, effect->conn);
            break;
        case KITH_CLIENT_EFFECT_DONE:
            scenario_done(sim, client->index, effect->tag, effect->op_kind, effect->result);
            kith_client_core_release(client->core, effect->done);
            break;
        case KITH_CLIENT_EFFECT_WATCHED:
        case KITH_CLIENT_EFFECT_CHANGED:
            watches_effect(sim, client->index, effect);
            break;
        }
    }
    uint64_t at = effects.deadline_ms == UINT64_MAX ? UINT64_MAX : effects.deadline_ms * 1000;
    at = at > sim->now_us + 100 ? at : sim->now_us + 100;
    if (at < client->tick_us) {
        client->tick_us = at;
        sim_at(sim, at, client_tick)->entity = client->index;
    }
}

void world_client_op(struct sim *sim, uint32_t index, const struct kith_client_op *op, uint64_t tag)
{
    struct kith_client_event submit = {.kind = KITH_CLIENT_EVENT_SUBMIT, .tag = tag, .op = op};
    world_client_step(sim, &sim->clients[index], &submit);
}

void world_client_watch(struct sim *sim, uint32_t index, uint32_t group, bool begin)
{
    struct sim_watch *watch = &sim->clients[index].watches[group];
    struct kith_client_event event = {.kind = KITH_CLIENT_EVENT_UNWATCH, .tag = watch->tag};
    struct kith_key key;
    sim_key(group * SIM_NAMES, &key);
    event.group = &key.group;
    if (begin) {
        sim->watch_tag++;
        event.kind = KITH_CLIENT_EVENT_WATCH;
        event.tag = sim->watch_tag;
    }
    kith_epoch_tell(&watch->epoch, 0);
    watch->tag = begin ? event.tag : 0;
    watch->since_made = 0;
    sim_trace(sim, "client %u %s group %u", index, begin ? "watches" : "no longer watches", group);
    world_client_step(sim, &sim->clients[index], &event);
}

void world_admin_ask(struct sim *sim, struct sim_node *node, struct kith_msg *asked)
{
    struct kith_event accepted = {.kind = KITH_EVENT_ACCEPTED, .conn = sim->conn_next};
    uint64_t conn = sim->conn_next;
    sim->conn_next++;
    world_node_step(sim, node, &accepted, NULL);
    struct kith_msg hello;
    memset(&hello, 0, sizeof hello);
    hello.kind = KITH_MSG_HELLO;
    hello.u.hello.protocol = kith_protocol_ours();
    hello.u.hello.address = "";
    hello.u.hello.software = "";
    struct kith_event event = {.kind = KITH_EVENT_MESSAGE, .conn = conn, .msg = &hello};
    world_node_step(sim, node, &event, NULL);
    asked->id = 1;
    event.msg = asked;
    world_node_step(sim, node, &event, NULL);
}

void world_admin_init(struct sim *sim)
{
    struct kith_msg msg;
    memset(&msg, 0, sizeof msg);
    msg.kind = KITH_MSG_INIT_REQ;
    msg.u.init_req.name = "sim";
    msg.u.init_req.partitions = SIM_PARTITIONS;
    msg.u.init_req.zone = "";
    world_admin_ask(sim, &sim->nodes[0], &msg);
}

/* ---- life ---- */

void world_init(struct sim *sim)
{
    static const char *const servers[] = {"n0", "n1", "n2", "n3", "n4", "n5", "n6"};
    sim->conn_next = 1;
    sim->now_us = 1000000;
    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->index = i;
        node->store.sim = sim;
        node->store.node = i;
        node->skew_ms = (int64_t)sim_below(sim, 4000) - 2000;
        (void)snprintf(node->address, sizeof node->address, "n%u", i);
        node->join = i > 0 ? "n0" : NULL;
        if (i != sim->late) {
            world_start(sim, i);
        }
    }
    for (uint32_t i = 0; i < sim->client_count; i++) {
        struct sim_client *client = &sim->clients[i];
        client->index = i;
        client->tick_us = sim->now_us;
        struct kith_client_core_options options = {.server_count = sim->node_count,
                                                   .servers = servers,
                                                   .op_timeout_ms = 3000,
                                                   .relay_min = 1,
                                                   .session_ms =
                                                       sim->sweeps ? SWEEPS_SESSION_MS : 0,
                                                   .writer = "sim",
                                                   .strict = (sim->strict >> i & 1u) != 0,
                                                   .read_level = client->read_level,
                                                   .write_level = client->write_level,
                                                   .mono_ms = sim->now_us / 1000};
        if (sim->zones > 0 && i != ZONES_TOLD_NOT) {
            options.zone = zones_name(sim, SIM_NODES_MAX + i);
        }
        for (uint32_t k = 0; k < 4; k++) {
            options.random[k] = sim_random(sim);
        }
        struct kith_error error;
        enum kith_err err = kith_client_core_new(&options, &client->core, &error);
        KITH_ASSERT(err == KITH_OK);
        sim_at(sim, sim->now_us, client_tick)->entity = i;
    }
}

void world_release(struct sim *sim)
{
    while (sim->event_count > 0) {
        struct sim_event *event = sim_next(sim);
        if (event->fire == node_bury) {
            node_bury(sim, event);
        }
        sim_event_done(sim, event);
    }
    sim_events_release(sim);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        kith_node_free(sim->nodes[i].core);
        store_sim_release(&sim->nodes[i].store);
    }
    for (uint32_t i = 0; i < sim->client_count; i++) {
        kith_client_core_free(sim->clients[i].core);
        for (uint32_t k = 0; k < SIM_ROWS; k++) {
            sim_bytes_clear(&sim->clients[i].context[k]);
            sim_bytes_clear(&sim->clients[i].seen[k]);
            sim_bytes_clear(&sim->clients[i].gone[k]);
        }
    }
    watches_release(sim);
    kith_free(sim->links);
    kith_table_drop(sim->newest);
    oracle_release(&sim->oracle);
}

void world_run(struct sim *sim, uint64_t until_us)
{
    while (!sim->failed && sim->event_count > 0 && sim->events[0].at_us <= until_us) {
        struct sim_event *event = sim_next(sim);
        sim->now_us = event->at_us;
        event->fire(sim, event);
        sim_event_done(sim, event);
    }
    if (!sim->failed) {
        sim->now_us = until_us;
    }
}

bool world_in_cluster(const struct sim_node *node)
{
    uint8_t key = KITH_META_CLUSTER;
    return store_sim_get(&node->store, 'm', &key, 1).size > 0;
}

/* The first node is gone for good, and another has not heard that it is a member now: nobody but
 * its operator can tell it where the others are. */
static void join_elsewhere(struct sim *sim, uint32_t index)
{
    struct sim_node *node = &sim->nodes[index];
    for (uint32_t i = 1; i < sim->node_count; i++) {
        if (world_in_cluster(&sim->nodes[i])) {
            node->join = sim->nodes[i].address;
            world_crash(sim, index, false);
            return;
        }
    }
}

void world_heal(struct sim *sim)
{
    faults_end(sim);
    for (uint32_t i = 1; i < sim->node_count && !sim->failed; i++) {
        if (sim->gone && !world_in_cluster(&sim->nodes[0]) && !world_in_cluster(&sim->nodes[i])) {
            join_elsewhere(sim, i);
        }
    }
    for (uint32_t i = 0; i < sim->node_count && !sim->failed; i++) {
        if (!sim->nodes[i].up) {
            world_start(sim, i);
        }
    }
}
