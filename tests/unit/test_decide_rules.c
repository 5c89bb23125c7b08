/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The single rules of decide.h: what an acceptor promises, accepts, objects to and holds; how a
 * proposer begins, gives a change up and ends. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#include "base/alloc.h"
#include "core/table/decide.h"
#include "decide_tables.h"

struct pair {
    struct kith_table *last;
    struct kith_buf next, other, change; /* the first two with the same owners */
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
    kith_buf_init(&pair->change);
    change_encode(pair->last, &pair->change);
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
    kith_buf_release(&pair->change);
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
    struct kith_decide answer = ask(&pair, KITH_DECIDE_PREPARE, 5, &pair.change, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_int_equal(action, KITH_ACCEPTOR_SEND_DURABLE);
    /* the same ballot again, and a lower one */
    answer = ask(&pair, KITH_DECIDE_PREPARE, 5, &pair.change, NULL, &action);
    assert_int_equal(answer.status.err, KITH_EBUSY);
    answer = ask(&pair, KITH_DECIDE_ACCEPT, 4, &pair.other, NULL, &action);
    assert_int_equal(answer.status.err, KITH_EBUSY);
    assert_int_equal(answer.accepted.round, 5);
    /* an objection comes before anything is accepted; what is accepted is not objected to */
    answer = ask(&pair, KITH_DECIDE_PREPARE, 6, &pair.change, "this node has data", &action);
    assert_int_equal(answer.status.err, KITH_EREFUSED);
    assert_string_equal(answer.status.message, "this node has data");
    assert_int_equal(action, KITH_ACCEPTOR_SEND_NOW);
    answer = ask(&pair, KITH_DECIDE_ACCEPT, 5, &pair.change, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    answer = ask(&pair, KITH_DECIDE_PREPARE, 7, &pair.change, "this node has data", &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_int_equal(answer.accepted.round, 5);
    assert_true(kith_bytes_equal(answer.table, kith_buf_bytes(&pair.change)));
    /* who may not vote does not */
    pair.voter.may_vote = false;
    answer = ask(&pair, KITH_DECIDE_PREPARE, 9, &pair.change, NULL, &action);
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
        uint8_t *copy = kith_malloc(size); /* of its own: reads past its end are seen */
        assert_non_null(copy);
        memcpy(copy, buf.data, size);
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

/* A ballot of three or two that wants the unchanged table, to its end. */
static void settles(struct pair *pair, struct kith_proposer *proposer,
                    struct kith_proposer_out *out)
{
    struct kith_table *next = NULL;
    assert_true(out->send && out->msg.phase == KITH_DECIDE_PREPARE);
    assert_int_equal(kith_decide_check(pair->last, out->msg.table, &next), KITH_OK);
    assert_false(kith_decide_changes(pair->last, next));
    kith_table_drop(next);
    answer_as(proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, out);
    answer_as(proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, out);
    assert_true(out->send && out->msg.phase == KITH_DECIDE_ACCEPT);
    answer_as(proposer, 0, KITH_DECIDE_ACCEPTED, KITH_OK, out);
    answer_as(proposer, 1, KITH_DECIDE_ACCEPTED, KITH_OK, out);
    assert_int_equal(out->end, KITH_PROPOSER_DECIDED);
    assert_false(out->own);
    assert_int_equal(kith_decide_check(pair->last, out->table, &next), KITH_OK);
    assert_false(kith_decide_changes(pair->last, next));
    kith_table_drop(next);
    assert_false(kith_proposer_busy(proposer));
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
    /* nothing wanted and nothing accepted: the table as it is */
    assert_int_equal(
        kith_proposer_start(&proposer, pair.last, kith_bytes_make(NULL, 0), 0, 5000, 1, &out),
        KITH_OK);
    settles(&pair, &proposer, &out);
    kith_proposer_release(&proposer);
    pair_end(&pair);
}

/* Members that are gone for good have no vote, and are not waited for: two are left of five. */
static void test_gone(void **state)
{
    (void)state;
    struct pair pair;
    struct kith_proposer proposer;
    struct kith_proposer_out out;
    struct kith_member left[2] = {member_make(0, 1), member_make(1, 1)};
    struct kith_uuid gone[3];
    struct kith_table *next = NULL, *joint = NULL;
    pair_start(&pair, 5);
    for (uint32_t i = 0; i < 3; i++) {
        gone[i] = member_make(i + 2, 1).uuid;
    }
    assert_int_equal(kith_balance(pair.last, NULL, 0, 0, left, 2, &next), KITH_OK);
    assert_int_equal(kith_table_move(pair.last, next, false, gone, 3, &joint), KITH_OK);
    joint->id.version = 1; /* that of answer_as's instance */
    kith_proposer_init(&proposer, &pair.voter.self, 3);
    for (uint32_t first = 0; first < 2; first++) { /* their word counts for nothing, or is none */
        struct kith_bytes none = kith_bytes_make(NULL, 0); /* as it is, under the next version */
        assert_int_equal(kith_proposer_start(&proposer, joint, none, 0, 5000, 1, &out), KITH_OK);
        answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
        for (uint32_t i = 2; i < 5 && first == 0; i++) {
            answer_as(&proposer, i, KITH_DECIDE_PROMISE, i == 3 ? KITH_EREFUSED : KITH_OK, &out);
        }
        assert_false(out.send);
        answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, &out);
        assert_true(out.send && out.msg.phase == KITH_DECIDE_ACCEPT);
        answer_as(&proposer, 1, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
        answer_as(&proposer, 2, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
        assert_int_equal(out.end, KITH_PROPOSER_RUNNING);
        answer_as(&proposer, 0, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
        assert_int_equal(out.end, KITH_PROPOSER_DECIDED);
    }
    kith_proposer_release(&proposer);
    kith_table_drop(joint);
    kith_table_drop(next);
    pair_end(&pair);
}

/* A pair, one that proposes to it, and the change to propose. */
static struct kith_bytes change_start(struct pair *pair, struct kith_proposer *proposer)
{
    pair_start(pair, 3);
    kith_proposer_init(proposer, &pair->voter.self, 3);
    return kith_buf_bytes(&pair->change);
}

/* A change asks first: an objection or silence then, and nothing was promised. */
static void test_change_asks(void **state)
{
    (void)state;
    struct pair pair;
    struct kith_proposer proposer;
    struct kith_proposer_out out;
    struct kith_bytes next = change_start(&pair, &proposer);
    static const enum kith_err ends[] = {KITH_EREFUSED, KITH_EBUSY, KITH_ENOTREADY};
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(kith_proposer_start_change(&proposer, pair.last, next, 0, 5000, 1, &out),
                         KITH_OK);
        assert_true(out.send && out.msg.phase == KITH_DECIDE_ASK);
        answer_as(&proposer, 0, KITH_DECIDE_OPINION, KITH_OK, &out);
        answer_as(&proposer, 1, KITH_DECIDE_OPINION, KITH_OK, &out);
        assert_false(out.send); /* a majority, and not all */
        answer_as(&proposer, 2, KITH_DECIDE_OPINION, ends[i], &out);
        if (ends[i] == KITH_ENOTREADY) { /* as good as no answer */
            assert_int_equal(out.end, KITH_PROPOSER_RUNNING);
            kith_proposer_tick(&proposer, KITH_DECIDE_PHASE_MS, 1, &out);
        }
        assert_int_equal(out.end, KITH_PROPOSER_FAILED);
        assert_int_equal(out.err, ends[i] == KITH_ENOTREADY ? KITH_EUNREACH : ends[i]);
        assert_false(out.send);
    }
    kith_proposer_release(&proposer);
    pair_end(&pair);
}

/* All must promise; when one does not, the others hold, and the unchanged table is decided. */
static void test_change_settles(void **state)
{
    (void)state;
    struct pair pair;
    struct kith_proposer proposer;
    struct kith_proposer_out out;
    struct kith_bytes next = change_start(&pair, &proposer);
    enum { ALL, REFUSED, SILENT, OUTBID, ENDS };
    for (uint32_t how = ALL; how < ENDS; how++) {
        assert_int_equal(kith_proposer_start_change(&proposer, pair.last, next, 0, 9000, 1, &out),
                         KITH_OK);
        for (uint32_t i = 0; i < 3; i++) {
            answer_as(&proposer, i, KITH_DECIDE_OPINION, KITH_OK, &out);
        }
        assert_true(out.send && out.msg.phase == KITH_DECIDE_PREPARE);
        assert_true(kith_bytes_equal(out.msg.table, next));
        answer_as(&proposer, 0, KITH_DECIDE_PROMISE, KITH_OK, &out);
        answer_as(&proposer, 1, KITH_DECIDE_PROMISE, KITH_OK, &out);
        assert_false(out.send); /* a majority, and not all */
        if (how == ALL) {
            answer_as(&proposer, 2, KITH_DECIDE_PROMISE, KITH_OK, &out);
            assert_true(out.send && kith_bytes_equal(out.msg.table, next));
            answer_as(&proposer, 0, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
            answer_as(&proposer, 1, KITH_DECIDE_ACCEPTED, KITH_OK, &out);
            assert_int_equal(out.end, KITH_PROPOSER_DECIDED); /* a majority decides */
            assert_true(out.own);
            continue;
        }
        if (how == SILENT) {
            kith_proposer_tick(&proposer, KITH_DECIDE_PHASE_MS, 1, &out);
        } else if (how == OUTBID) {
            struct kith_uuid from = member_make(2, 1).uuid;
            struct kith_decide answer = {.phase = KITH_DECIDE_PROMISE, .epoch = 1, .version = 2};
            answer.status = (struct kith_status){.err = KITH_EBUSY, .message = ""};
            answer.ballot = proposer.ballot;
            answer.accepted.round = proposer.ballot.round + (UINT64_C(1) << 32);
            assert_int_equal(kith_proposer_answer(&proposer, &from, &answer, 0, 1, &out), KITH_OK);
            kith_proposer_tick(&proposer, out.timer_ms, 1, &out);
        } else {
            answer_as(&proposer, 2, KITH_DECIDE_PROMISE, KITH_EREFUSED, &out);
            assert_string_equal(proposer.reason, "this node has data");
        }
        settles(&pair, &proposer, &out);
        assert_int_equal(proposer.why, how == REFUSED  ? KITH_EREFUSED
                                       : how == SILENT ? KITH_EUNREACH
                                                       : KITH_EBUSY);
    }
    kith_proposer_release(&proposer);
    pair_end(&pair);
}

/* Who has promised a change holds, across restarts, until the instance is decided. */
static void test_acceptor_holds(void **state)
{
    (void)state;
    struct pair pair;
    enum kith_acceptor_action action;
    struct kith_buf buf;
    struct kith_acceptor read;
    pair_start(&pair, 3);
    kith_buf_init(&buf);
    /* an ASK promises nothing, a ballot for an unchanged table does not hold, nor is it objected to
     */
    struct kith_decide answer = ask(&pair, KITH_DECIDE_ASK, 1, &pair.change, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_int_equal(action, KITH_ACCEPTOR_SEND_NOW);
    assert_int_equal(pair.acceptor.promised.round, 0);
    answer = ask(&pair, KITH_DECIDE_ASK, 1, &pair.change, "data", &action);
    assert_int_equal(answer.status.err, KITH_EREFUSED);
    answer = ask(&pair, KITH_DECIDE_PREPARE, 1, &pair.next, "data", &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_false(pair.acceptor.holds);
    /* nor does it accept a change: not all can have promised it */
    answer = ask(&pair, KITH_DECIDE_ACCEPT, 1, &pair.change, "data", &action);
    assert_int_equal(answer.status.err, KITH_EREFUSED);
    answer = ask(&pair, KITH_DECIDE_PREPARE, 2, &pair.change, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_true(pair.acceptor.holds);
    answer = ask(&pair, KITH_DECIDE_ASK, 3, &pair.change, NULL, &action);
    assert_int_equal(answer.status.err, KITH_EBUSY);
    answer = ask(&pair, KITH_DECIDE_PREPARE, 4, &pair.next, NULL, &action);
    assert_int_equal(answer.status.err, KITH_OK);
    assert_true(pair.acceptor.holds); /* no ballot ends it */
    kith_acceptor_encode(&pair.acceptor, &buf);
    assert_int_equal(kith_acceptor_decode(&read, kith_buf_bytes(&buf)), KITH_OK);
    assert_true(read.holds);
    kith_acceptor_release(&read);
    answer = ask(&pair, KITH_DECIDE_ACCEPT, 4, &pair.change, "data", &action);
    assert_int_equal(answer.status.err, KITH_OK);
    kith_buf_release(&buf);
    pair_end(&pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acceptor_rules), cmocka_unit_test(test_acceptor_record),
        cmocka_unit_test(test_acceptor_holds), cmocka_unit_test(test_proposer_ends),
        cmocka_unit_test(test_change_asks),    cmocka_unit_test(test_change_settles),
        cmocka_unit_test(test_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
