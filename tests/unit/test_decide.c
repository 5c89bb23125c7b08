/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Never two different tables for one version: random schedules of several proposers with loss,
 * duplication, reordering and crashes (an acceptor comes back with its durable bytes); and with a
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
#include "core/decide.h"
#include "data/balance.h"

#define NODES_MAX    5u
#define WIRE_MAX     512u
#define VERSIONS_MAX 24u
#define SEEDS        4000u

static const struct kith_uuid cluster = {{0xc1}};

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
};

struct world {
    uint64_t random;
    uint64_t now_ms;
    uint32_t count;
    bool stable;
    uint32_t crash, propose, loss, twice, silence; /* percent; differ from seed to seed */
    struct world_node nodes[NODES_MAX];
    uint32_t packet_count;
    struct packet packets[WIRE_MAX];
    struct kith_checksum decided[VERSIONS_MAX]; /* by version */
    bool has_decided[VERSIONS_MAX];
    bool two_values;
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

static struct kith_member member_make(uint32_t index, uint32_t weight)
{
    struct kith_member member;
    memset(&member, 0, sizeof(member));
    member.uuid.bytes[0] = (uint8_t)(index + 1);
    member.weight = weight;
    return member;
}

/* A table after `last` that differs with `salt`. */
static void next_encode(const struct kith_table *last, uint32_t salt, struct kith_buf *buf)
{
    struct kith_member members[NODES_MAX];
    for (uint32_t i = 0; i < last->member_count; i++) {
        members[i] = last->members[i];
        members[i].weight = 1 + salt % KITH_WEIGHT_MAX;
    }
    struct kith_table *next = NULL;
    assert_int_equal(kith_balance(last, NULL, 0, 0, members, last->member_count, &next), KITH_OK);
    kith_table_encode(next, buf);
    kith_table_drop(next);
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

static void note_decided(struct world *world, struct kith_bytes bytes)
{
    struct kith_table *table = NULL;
    assert_int_equal(kith_table_decode(bytes, &table), KITH_OK);
    uint64_t version = table->id.version;
    assert_true(version < VERSIONS_MAX);
    if (world->has_decided[version] &&
        !kith_checksum_equal(&world->decided[version], &table->id.hash)) {
        world->two_values = true;
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
        note_decided(world, out->table);
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
    if (world->stable || !chance(world, 20)) { /* else: only finish what was started */
        next_encode(node->table, ++node->proposals * 10 + index, &next);
    }
    struct kith_proposer_out out;
    assert_int_equal(kith_proposer_start(&node->proposer, node->table, kith_buf_bytes(&next),
                                         world->now_ms, world->now_ms + 60000, draw(world), &out),
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
    assert_int_equal(
        kith_acceptor_step(&node->acceptor, &voter, &packet->msg, NULL, &action, &answer), KITH_OK);
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
    case KITH_DECIDE_PREPARE:
    case KITH_DECIDE_ACCEPT:
        vote(world, &packet);
        break;
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
    uint32_t versions = 0;
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
        if (world.two_values || steps == 20000) {
            print_error("seed %llu: %s\n", (unsigned long long)seed,
                        world.two_values ? "two tables for one version" : "no decision");
            fail();
        }
        versions += (uint32_t)world.nodes[0].table->id.version - 1;
        world_end(&world);
    }
    assert_true(versions > SEEDS); /* the schedules were not so wild that nothing happened */
}

/* ---- Single rules ---- */

struct pair {
    struct kith_table *last;
    struct kith_buf next, other;
    struct kith_acceptor acceptor;
    struct kith_voter voter;
};

static void pair_start(struct pair *pair, uint32_t count)
{
    struct kith_member members[NODES_MAX] = {0};
    memset(pair, 0, sizeof(*pair));
    for (uint32_t i = 0; i < count; i++) {
        members[i] = member_make(i, 1);
    }
    assert_int_equal(kith_balance(NULL, &cluster, 4, 3, members, count, &pair->last), KITH_OK);
    kith_buf_init(&pair->next);
    kith_buf_init(&pair->other);
    next_encode(pair->last, 7, &pair->next);
    next_encode(pair->last, 8, &pair->other);
    kith_acceptor_init(&pair->acceptor);
    pair->voter.table = pair->last;
    pair->voter.self = members[0].uuid;
    pair->voter.may_vote = true;
}

static void pair_end(struct pair *pair)
{
    kith_table_drop(pair->last);
    kith_buf_release(&pair->next);
    kith_buf_release(&pair->other);
    kith_acceptor_release(&pair->acceptor);
}

static struct kith_decide ask(struct pair *pair, enum kith_decide_phase phase, uint64_t round,
                              const struct kith_buf *table, const char *refuse,
                              enum kith_acceptor_action *ret_action)
{
    struct kith_decide request;
    struct kith_decide answer;
    memset(&request, 0, sizeof(request));
    memset(&answer, 0, sizeof(answer));
    request.phase = phase;
    request.epoch = 1;
    request.version = 2;
    request.ballot.round = round;
    request.ballot.proposer = pair->voter.self;
    request.table = kith_buf_bytes(table);
    assert_int_equal(
        kith_acceptor_step(&pair->acceptor, &pair->voter, &request, refuse, ret_action, &answer),
        KITH_OK);
    return answer;
}

static void test_acceptor_rules(void **state)
{
    (void)state;
    struct pair pair;
    enum kith_acceptor_action action;
    pair_start(&pair, 3);
    struct kith_decide answer = ask(&pair, KITH_DECIDE_PREPARE, 5, &pair.next, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_int_equal(action, KITH_ACCEPTOR_SEND_DURABLE);
    /* the same ballot again, and a lower one */
    answer = ask(&pair, KITH_DECIDE_PREPARE, 5, &pair.next, NULL, &action);
    assert_int_equal(answer.status.err, KITH_EBUSY);
    answer = ask(&pair, KITH_DECIDE_ACCEPT, 4, &pair.other, NULL, &action);
    assert_int_equal(answer.status.err, KITH_EBUSY);
    assert_int_equal(answer.accepted.round, 5);
    /* an objection comes before anything is accepted; what is accepted is not objected to */
    answer = ask(&pair, KITH_DECIDE_PREPARE, 6, &pair.next, "this node has data", &action);
    assert_int_equal(answer.status.err, KITH_EREFUSED);
    assert_string_equal(answer.status.message, "this node has data");
    assert_int_equal(action, KITH_ACCEPTOR_SEND_NOW);
    answer = ask(&pair, KITH_DECIDE_ACCEPT, 5, &pair.next, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    answer = ask(&pair, KITH_DECIDE_PREPARE, 7, &pair.next, "this node has data", &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_int_equal(answer.accepted.round, 5);
    assert_true(kith_bytes_equal(answer.table, kith_buf_bytes(&pair.next)));
    /* who may not vote does not */
    pair.voter.may_vote = false;
    answer = ask(&pair, KITH_DECIDE_PREPARE, 9, &pair.next, NULL, &action);
    assert_int_equal(answer.status.err, KITH_ENOTREADY);
    pair_end(&pair);
}

static void test_acceptor_record(void **state)
{
    (void)state;
    struct pair pair;
    enum kith_acceptor_action action;
    struct kith_buf buf;
    struct kith_acceptor read;
    pair_start(&pair, 2);
    (void)ask(&pair, KITH_DECIDE_ACCEPT, 5, &pair.next, NULL, &action);
    kith_buf_init(&buf);
    kith_acceptor_encode(&pair.acceptor, &buf);
    assert_int_equal(kith_acceptor_decode(&read, kith_buf_bytes(&buf)), KITH_OK);
    assert_int_equal(read.version, 2);
    assert_int_equal(read.accepted.round, 5);
    assert_int_equal(read.table_size, pair.next.size);
    assert_memory_equal(read.table, pair.next.data, pair.next.size);
    kith_acceptor_release(&read);
    for (size_t size = 1; size < buf.size; size++) {
        uint8_t *copy = copy_of(buf.data, size);
        assert_int_not_equal(kith_acceptor_decode(&read, kith_bytes_make(copy, size)), KITH_OK);
        kith_free(copy);
    }
    for (size_t bit = 0; bit < buf.size * 8; bit++) {
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(kith_acceptor_decode(&read, kith_buf_bytes(&buf)), KITH_OK);
        buf.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(kith_acceptor_decode(&read, kith_bytes_make(NULL, 0)), KITH_OK);
    kith_buf_release(&buf);
    pair_end(&pair);
}

static void answer_as(struct kith_proposer *proposer, uint32_t member, enum kith_decide_phase phase,
                      enum kith_err err, struct kith_proposer_out *out)
{
    struct kith_uuid from = member_make(member, 1).uuid;
    struct kith_decide answer;
    memset(&answer, 0, sizeof(answer));
    answer.phase = phase;
    answer.status.err = err;
    answer.status.message = err == KITH_OK ? "" : "this node has data";
    answer.epoch = 1;
    answer.version = 2;
    answer.ballot = proposer->ballot;
    assert_int_equal(kith_proposer_answer(proposer, &from, &answer, 0, 1, out), KITH_OK);
}

static void test_proposer_ends(void **state)
{
    (void)state;
    struct pair pair;
    struct kith_proposer proposer;
    struct kith_proposer_out out;
    pair_start(&pair, 2); /* 2 -> 3 needs both */
    kith_proposer_init(&proposer, &pair.voter.self, 3);
    struct kith_bytes next = kith_buf_bytes(&pair.next);
    assert_int_equal(kith_proposer_start(&proposer, pair.last, next, 0, 5000, 1, &out), KITH_OK);
    assert_int_equal(kith_proposer_start(&proposer, pair.last, next, 0, 5000, 1, &out), KITH_EBUSY);
    assert_int_equal(proposer.ballot.round & UINT32_MAX,
                     3); /* no start of a node repeats a round */
    answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
    assert_int_equal(out.end, KITH_PROPOSER_RUNNING);
    answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out); /* a duplicate is no second vote */
    assert_false(out.send);
    answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_EREFUSED, &out);
    assert_int_equal(out.end, KITH_PROPOSER_FAILED);
    assert_int_equal(out.err, KITH_EREFUSED);
    assert_string_equal(out.message, "this node has data");
    /* no answer: nothing happened, or unknown once an ACCEPT went out */
    assert_int_equal(kith_proposer_start(&proposer, pair.last, next, 0, 5000, 1, &out), KITH_OK);
    kith_proposer_tick(&proposer, 5000, 1, &out);
    assert_int_equal(out.err, KITH_EUNREACH);
    assert_int_equal(kith_proposer_start(&proposer, pair.last, next, 0, 5000, 1, &out), KITH_OK);
    answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
    answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, &out);
    assert_true(out.send && out.msg.phase == KITH_DECIDE_ACCEPT);
    kith_proposer_tick(&proposer, 5000, 1, &out);
    assert_int_equal(out.err, KITH_EUNKNOWN);
    /* nothing wanted and nothing accepted */
    assert_int_equal(
        kith_proposer_start(&proposer, pair.last, kith_bytes_make(NULL, 0), 0, 5000, 1, &out),
        KITH_OK);
    answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
    answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, &out);
    assert_int_equal(out.end, KITH_PROPOSER_NOTHING);
    assert_false(kith_proposer_busy(&proposer));
    kith_proposer_release(&proposer);
    pair_end(&pair);
}

/* A change to which any member may object: all must promise, one objection ends it; what is accepted
 * already goes on with a majority. */
static void test_proposer_needs_all(void **state)
{
    (void)state;
    struct pair pair;
    struct kith_proposer proposer;
    struct kith_proposer_out out;
    pair_start(&pair, 3);
    kith_proposer_init(&proposer, &pair.voter.self, 3);
    struct kith_bytes next = kith_buf_bytes(&pair.next);
    for (uint32_t refused = 0; refused < 2; refused++) {
        assert_int_equal(kith_proposer_start(&proposer, pair.last, next, 0, 5000, 1, &out),
                         KITH_OK);
        kith_proposer_need_all(&proposer);
        answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
        answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, &out);
        assert_false(out.send); /* a majority, and not all */
        answer_as(&proposer, 2, KITH_DECIDE_PROMISE, refused ? KITH_EREFUSED : KITH_OK, &out);
        assert_int_equal(out.send, refused == 0);
        if (refused == 0) {
            answer_as(&proposer, 0, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
            assert_int_equal(out.end, KITH_PROPOSER_RUNNING);
            answer_as(&proposer, 1, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
            assert_int_equal(out.end, KITH_PROPOSER_DECIDED); /* a majority decides */
        } else {
            assert_int_equal(out.err, KITH_EREFUSED);
        }
    }
    assert_int_equal(kith_proposer_start(&proposer, pair.last, next, 0, 5000, 1, &out), KITH_OK);
    answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
    answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, &out);
    assert_true(out.send); /* the next one need not */
    kith_proposer_release(&proposer);
    pair_end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_value_a_version),
        cmocka_unit_test(test_acceptor_rules),
        cmocka_unit_test(test_acceptor_record),
        cmocka_unit_test(test_proposer_ends),
        cmocka_unit_test(test_proposer_needs_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
