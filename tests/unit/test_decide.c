/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Never two different tables for one version, and none that moves data while a node holds some:
 * random schedules of several proposers with loss, duplication, reordering and crashes (an acceptor
 * comes back with its durable bytes), and with writes wherever a node does not hold; and with a
 * network that has become stable, a decision. The seed of a failure is printed. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "core/table/decide.h"
#include "decide_tables.h"

#define WIRE_MAX     512u
#define VERSIONS_MAX 24u
#define SEEDS        4000u

/* ---- A small world ---- */

struct packet {
    uint32_t from, to;
    bool durable_wait; /* an answer that waits for its META_PUT; `to` gets it when that completes */
    struct kith_decide msg;
    uint8_t *table;
    uint8_t *record; /* with durable_wait: the acceptor's bytes */
    size_t record_size;
};

struct world_node {
    struct kith_uuid uuid;
    struct kith_acceptor acceptor;
    struct kith_proposer proposer;
    struct kith_table *table; /* durable */
    uint8_t *durable;         /* META_DECIDE */
    size_t durable_size;
    uint64_t incarnation;
    uint64_t timer_ms;
    uint32_t proposals;
    bool has_data;
};

struct world {
    uint64_t random;
    uint64_t now_ms;
    uint32_t count;
    bool stable;
    uint32_t crash, propose, loss, twice, silence; /* percent; differ from seed to seed */
    uint32_t write;                                /* per mille */
    struct world_node nodes[NODES_MAX];
    uint32_t packet_count;
    struct packet packets[WIRE_MAX];
    struct kith_checksum decided[VERSIONS_MAX]; /* by version */
    bool has_decided[VERSIONS_MAX];
    bool two_values, moved_data;
    uint32_t changes, changes_given_up;
};

static uint64_t draw(struct world *world)
{
    uint64_t z = (world->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static bool chance(struct world *world, uint32_t percent)
{
    return draw(world) % 100 < percent;
}

static uint8_t *copy_of(const void *data, size_t size)
{
    uint8_t *copy = kith_malloc(size);
    assert_non_null(copy);
    if (size > 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

static bool node_holds(const struct world_node *node)
{
    return node->acceptor.holds && node->acceptor.version == node->table->id.version + 1;
}

static void packet_free(struct world *world, uint32_t index)
{
    kith_free(world->packets[index].table);
    kith_free(world->packets[index].record);
    world->packets[index] = world->packets[--world->packet_count];
}

static struct packet *packet_add(struct world *world, uint32_t from, uint32_t to,
                                 const struct kith_decide *msg)
{
    if (world->packet_count == WIRE_MAX) {
        packet_free(world, (uint32_t)(draw(world) % WIRE_MAX)); /* lost */
    }
    struct packet *packet = &world->packets[world->packet_count++];
    memset(packet, 0, sizeof(*packet));
    packet->from = from;
    packet->to = to;
    packet->msg = *msg;
    packet->msg.status.message = "";
    packet->table = copy_of(msg->table.data, msg->table.size);
    packet->msg.table.data = packet->table;
    return packet;
}

/* `last`: of the version before. */
static void note_decided(struct world *world, const struct kith_table *last,
                         struct kith_bytes bytes)
{
    struct kith_table *table = NULL;
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    uint64_t version = table->id.version;
    assert_true(version < VERSIONS_MAX);
    if (world->has_decided[version] &&
        !kith_checksum_equal(&world->decided[version], &table->id.hash)) {
        world->two_values = true;
    }
    if (!world->has_decided[version] && kith_decide_changes(last, table)) {
        world->changes++;
        for (uint32_t i = 0; i < world->count; i++) {
            world->moved_data = world->moved_data || world->nodes[i].has_data;
        }
    }
    world->has_decided[version] = true;
    world->decided[version] = table->id.hash;
    kith_table_drop(table);
}

static void out_handle(struct world *world, uint32_t index, const struct kith_proposer_out *out);

static void node_learn(struct world *world, uint32_t index, struct kith_bytes bytes)
{
    struct world_node *node = &world->nodes[index];
    struct kith_table *table = NULL;
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    if (kith_table_id_compare(&table->id, &node->table->id) <= 0) {
        kith_table_drop(table);
        return;
    }
    kith_table_drop(node->table);
    node->table = table;
    struct kith_proposer_out out;
    kith_proposer_learn(&node->proposer, table, &out);
    out_handle(world, index, &out);
}

static void out_handle(struct world *world, uint32_t index, const struct kith_proposer_out *out)
{
    struct world_node *node = &world->nodes[index];
    node->timer_ms = out->timer_ms;
    for (uint32_t to = 0; out->send && to < world->count; to++) {
        (void)packet_add(world, index, to, &out->msg);
    }
    if (out->end == KITH_PROPOSER_DECIDED) {
        bool change = node->proposer.why != KITH_OK; /* one that was put to the vote */
        world->changes_given_up += change && !out->own ? 1 : 0;
        note_decided(world, node->table, out->table);
        uint8_t *copy = copy_of(out->table.data, out->table.size);
        node_learn(world, index, kith_bytes_make(copy, out->table.size));
        kith_free(copy);
    }
}

static void world_start(struct world *world, uint64_t seed, uint32_t count)
{
    memset(world, 0, sizeof(*world));
    world->random = seed;
    world->count = count;
    world->crash = (uint32_t)(draw(world) % 3);
    world->propose = 1 + (uint32_t)(draw(world) % 8);
    world->loss = (uint32_t)(draw(world) % 20);
    world->twice = (uint32_t)(draw(world) % 20);
    world->silence = (uint32_t)(draw(world) % 101);
    world->write = (uint32_t)(draw(world) % 8);
    struct kith_member members[NODES_MAX] = {0};
    for (uint32_t i = 0; i < count; i++) {
        members[i] = member_make(i, 1);
    }
    struct kith_table *table = NULL;
    assert_int_equal(kith_balance(NULL, &cluster, 4, 3, members, count, &table), KITH_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct world_node *node = &world->nodes[i];
        node->uuid = members[i].uuid;
        node->table = kith_table_hold(table);
        node->incarnation = 1;
        node->timer_ms = UINT64_MAX;
        kith_acceptor_init(&node->acceptor);
        kith_proposer_init(&node->proposer, &node->uuid, node->incarnation);
    }
    kith_table_drop(table);
}

static void world_end(struct world *world)
{
    while (world->packet_count > 0) {
        packet_free(world, 0);
    }
    for (uint32_t i = 0; i < world->count; i++) {
        kith_acceptor_release(&world->nodes[i].acceptor);
        kith_proposer_release(&world->nodes[i].proposer);
        kith_table_drop(world->nodes[i].table);
        kith_free(world->nodes[i].durable);
    }
}

static void propose(struct world *world, uint32_t index)
{
    struct world_node *node = &world->nodes[index];
    if (kith_proposer_busy(&node->proposer) || node->table->id.version + 2 >= VERSIONS_MAX) {
        return;
    }
    struct kith_buf next;
    kith_buf_init(&next);
    bool change = !world->stable && chance(world, 60);
    if (change) {
        change_encode(node->table, &next);
    } else if (world->stable || !chance(world, 50)) { /* else: only to get something decided */
        next_encode(node->table, ++node->proposals * 10 + index, &next);
    }
    struct kith_proposer_out out;
    enum kith_err (*start)(struct kith_proposer *, struct kith_table *, struct kith_bytes, uint64_t,
                           uint64_t, uint64_t, struct kith_proposer_out *) =
        change ? kith_proposer_start_change : kith_proposer_start;
    assert_int_equal(start(&node->proposer, node->table, kith_buf_bytes(&next), world->now_ms,
                           world->now_ms + 60000, draw(world), &out),
                     KITH_OK);
    kith_buf_release(&next);
    out_handle(world, index, &out);
}

/* The daemon dies: its META_PUTs that are under way may have been stored or not. */
static void crash(struct world *world, uint32_t index)
{
    struct world_node *node = &world->nodes[index];
    for (uint32_t i = 0; i < world->packet_count;) {
        if (world->packets[i].durable_wait && world->packets[i].from == index) {
            packet_free(world, i);
        } else {
            i++;
        }
    }
    kith_acceptor_release(&node->acceptor);
    kith_proposer_release(&node->proposer);
    assert_int_equal(
        kith_acceptor_decode(&node->acceptor, kith_bytes_make(node->durable, node->durable_size)),
        KITH_OK);
    kith_proposer_init(&node->proposer, &node->uuid, ++node->incarnation);
    node->timer_ms = UINT64_MAX;
}

static void vote(struct world *world, const struct packet *packet)
{
    struct world_node *node = &world->nodes[packet->to];
    struct kith_voter voter = {node->table, node->uuid, true};
    enum kith_acceptor_action action;
    struct kith_decide answer;
    assert_int_equal(kith_acceptor_step(&node->acceptor, &voter, &packet->msg,
                                        node->has_data ? "data" : NULL, &action, &answer),
                     KITH_OK);
    struct kith_buf buf;
    kith_buf_init(&buf);
    if (action == KITH_ACCEPTOR_SEND_TABLE) {
        memset(&answer, 0, sizeof(answer));
        answer.phase = KITH_DECIDE_DECIDED;
        kith_table_encode(node->table, &buf);
        answer.table = kith_buf_bytes(&buf);
        (void)packet_add(world, packet->to, packet->from, &answer);
    } else if (action == KITH_ACCEPTOR_SEND_DURABLE) {
        kith_acceptor_encode(&node->acceptor, &buf);
        uint8_t *record = copy_of(buf.data, buf.size);
        struct packet *waiting = packet_add(world, packet->to, packet->from, &answer);
        waiting->durable_wait = true;
        waiting->record = record;
        waiting->record_size = buf.size;
    } else {
        (void)packet_add(world, packet->to, packet->from, &answer);
        if (action == KITH_ACCEPTOR_FETCH) { /* the sender's table comes */
            memset(&answer, 0, sizeof(answer));
            answer.phase = KITH_DECIDE_DECIDED;
            kith_table_encode(world->nodes[packet->from].table, &buf);
            answer.table = kith_buf_bytes(&buf);
            (void)packet_add(world, packet->from, packet->to, &answer);
        }
    }
    kith_buf_release(&buf);
}

static void deliver(struct world *world, uint32_t at)
{
    struct packet packet = world->packets[at];
    struct world_node *node = &world->nodes[packet.to];
    world->packets[at] = world->packets[--world->packet_count];
    struct kith_proposer_out out;
    switch (packet.msg.phase) {
    case KITH_DECIDE_ASK:
    case KITH_DECIDE_PREPARE:
    case KITH_DECIDE_ACCEPT:
        vote(world, &packet);
        break;
    case KITH_DECIDE_OPINION:
    case KITH_DECIDE_PROMISE:
    case KITH_DECIDE_ACCEPTED:
        assert_int_equal(kith_proposer_answer(&node->proposer, &world->nodes[packet.from].uuid,
                                              &packet.msg, world->now_ms, draw(world), &out),
                         KITH_OK);
        out_handle(world, packet.to, &out);
        break;
    case KITH_DECIDE_DECIDED:
        node_learn(world, packet.to, packet.msg.table);
        break;
    }
    kith_free(packet.table);
    kith_free(packet.record);
}

/* Completes the oldest META_PUT of the node of packet `at` (they complete in order). */
static void store(struct world *world, uint32_t at)
{
    struct packet *packet = &world->packets[at];
    struct world_node *node = &world->nodes[packet->from];
    kith_free(node->durable);
    node->durable = packet->record;
    node->durable_size = packet->record_size;
    packet->record = NULL;
    packet->durable_wait = false;
    if (!world->stable &&
        chance(world, 3 * world->crash)) { /* just after the promise of durability */
        crash(world, packet->from);
    }
}

/* Packets are not kept in order, so "in order" is: the record with the lowest promise first. */
static bool store_is_next(const struct world *world, uint32_t at)
{
    const struct packet *one = &world->packets[at];
    for (uint32_t i = 0; i < world->packet_count; i++) {
        const struct packet *other = &world->packets[i];
        if (i != at && other->durable_wait && other->from == one->from &&
            (other->msg.version < one->msg.version ||
             (other->msg.version == one->msg.version &&
              (kith_ballot_compare(&other->msg.ballot, &one->msg.ballot) < 0 ||
               (kith_ballot_compare(&other->msg.ballot, &one->msg.ballot) == 0 &&
                other->msg.phase < one->msg.phase))))) {
            return false;
        }
    }
    return true;
}

static void world_step(struct world *world)
{
    if (draw(world) % 1000 < world->write) {
        struct world_node *node = &world->nodes[draw(world) % world->count];
        node->has_data = node->has_data || !node_holds(node);
    }
    if (!world->stable && chance(world, world->crash)) {
        crash(world, (uint32_t)(draw(world) % world->count));
    }
    if (!world->stable && chance(world, world->propose)) {
        propose(world, (uint32_t)(draw(world) % world->count));
    }
    if (world->packet_count > 0 && (world->stable || !chance(world, 25))) {
        uint32_t at = (uint32_t)(draw(world) % world->packet_count);
        struct packet *packet = &world->packets[at];
        if (packet->durable_wait) {
            if (store_is_next(world, at)) {
                store(world, at);
            }
            return;
        }
        bool decided = packet->msg.phase == KITH_DECIDE_DECIDED;
        if (!world->stable && chance(world, decided ? world->silence : world->loss)) {
            packet_free(world, at);
            return;
        }
        if (!world->stable && chance(world, world->twice)) {
            (void)packet_add(world, packet->from, packet->to, &packet->msg);
            return;
        }
        deliver(world, at);
        return;
    }
    world->now_ms += 1 + draw(world) % 400;
    for (uint32_t i = 0; i < world->count; i++) {
        if (world->nodes[i].timer_ms <= world->now_ms) {
            struct kith_proposer_out out;
            kith_proposer_tick(&world->nodes[i].proposer, world->now_ms, draw(world), &out);
            out_handle(world, i, &out);
        }
    }
}

static void test_one_value_a_version(void **state)
{
    (void)state;
    static struct world world;
    uint32_t versions = 0, changes = 0, given_up = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        world_start(&world, seed, 1 + (uint32_t)(seed % NODES_MAX));
        for (uint32_t step = 0; step < 400; step++) {
            world_step(&world);
        }
        /* stable from now on: a proposal ends with a decision */
        world.stable = true;
        uint64_t version = 0;
        for (uint32_t i = 0; i < world.count; i++) {
            uint64_t known = world.nodes[i].table->id.version;
            version = known > version ? known : version;
        }
        uint32_t steps = 0;
        for (bool done = version + 2 >= VERSIONS_MAX; !done && steps < 20000; steps++) {
            propose(&world, 0);
            world_step(&world);
            done = world.nodes[0].table->id.version > version;
        }
        if (world.two_values || world.moved_data || steps == 20000) {
            print_error("seed %llu: %s\n", (unsigned long long)seed,
                        world.two_values   ? "two tables for one version"
                        : world.moved_data ? "a change while a node has data"
                                           : "no decision");
            fail();
        }
        changes += world.changes;
        given_up += world.changes_given_up;
        versions += (uint32_t)world.nodes[0].table->id.version - 1;
        world_end(&world);
    }
    assert_true(versions > SEEDS); /* the schedules were not so wild that nothing happened */
    assert_true(changes > SEEDS / 10);
    assert_true(given_up > SEEDS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_value_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
