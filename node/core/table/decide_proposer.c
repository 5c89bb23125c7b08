/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * decide_proposer.c - the proposer: gathers a majority for the next table, ballot after ballot. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "core/table/decide.h"

static bool bit_get(const uint8_t *bits, uint16_t index)
{
    return (bits[index / 8] >> (index % 8) & 1) != 0;
}

static void bit_set(uint8_t *bits, uint16_t index)
{
    bits[index / 8] |= (uint8_t)(1u << index % 8);
}

static uint32_t bit_count(const uint8_t *bits, uint32_t count)
{
    uint32_t set = 0;
    for (uint32_t i = 0; i < count; i++) {
        set += bit_get(bits, (uint16_t)i);
    }
    return set;
}

/* A member that is gone for good has no vote: all who go by this table agree on who that is. */
static bool votes(const struct kith_proposer *proposer, uint16_t member)
{
    const struct kith_table *last = proposer->last;
    return !kith_table_is_joint(last) || (last->after[member].flags & KITH_MEMBER_GONE) == 0;
}

static uint32_t voters(const struct kith_proposer *proposer)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < proposer->last->member_count; i++) {
        count += votes(proposer, (uint16_t)i);
    }
    return count;
}

static uint32_t majority(const struct kith_proposer *proposer)
{
    return voters(proposer) / 2 + 1;
}

static void out_reset(const struct kith_proposer *proposer, struct kith_proposer_out *out)
{
    memset(out, 0, sizeof(*out));
    out->timer_ms = proposer->state == KITH_PROPOSER_IDLE ? UINT64_MAX : proposer->timer_ms;
}

void kith_proposer_init(struct kith_proposer *proposer, const struct kith_uuid *self,
                        uint64_t incarnation)
{
    memset(proposer, 0, sizeof(*proposer));
    kith_buf_init(&proposer->wanted);
    kith_buf_init(&proposer->unchanged);
    kith_buf_init(&proposer->value);
    proposer->self = *self;
    proposer->incarnation = incarnation;
}

void kith_proposer_release(struct kith_proposer *proposer)
{
    kith_buf_release(&proposer->wanted);
    kith_buf_release(&proposer->unchanged);
    kith_buf_release(&proposer->value);
    kith_table_drop(proposer->last);
    memset(proposer, 0, sizeof(*proposer));
}

/* Idle again. wanted and value stay, for what `out` points to, until the next start. */
static void finish(struct kith_proposer *proposer, struct kith_proposer_out *out,
                   enum kith_proposer_end end)
{
    proposer->state = KITH_PROPOSER_IDLE;
    kith_table_drop(proposer->last);
    proposer->last = NULL;
    out->end = end;
    out->timer_ms = UINT64_MAX;
}

static void fail(struct kith_proposer *proposer, struct kith_proposer_out *out, enum kith_err err,
                 const char *what)
{
    if (proposer->risked && err != KITH_ESTALE) {
        (void)snprintf(out->message, sizeof(out->message), "%s; the change may yet be decided",
                       what);
        err = KITH_EUNKNOWN;
    } else {
        (void)snprintf(out->message, sizeof(out->message), "%s", what);
    }
    out->err = err;
    finish(proposer, out, KITH_PROPOSER_FAILED);
}

/* What is put forward where the promises leave the choice. */
static const struct kith_buf *free_choice(const struct kith_proposer *proposer)
{
    return proposer->settles ? &proposer->unchanged : &proposer->wanted;
}

static void phase_begin(struct kith_proposer *proposer, enum kith_proposer_state state,
                        uint64_t now_ms, struct kith_proposer_out *out)
{
    bool accepting = state == KITH_PROPOSER_ACCEPTING;
    bool asking = state == KITH_PROPOSER_ASKING;
    proposer->state = state;
    proposer->timer_ms = now_ms + KITH_DECIDE_PHASE_MS;
    memset(proposer->yes, 0, sizeof(proposer->yes));
    memset(proposer->refused, 0, sizeof(proposer->refused));
    out->send = true;
    out->msg.phase = asking      ? KITH_DECIDE_ASK
                     : accepting ? KITH_DECIDE_ACCEPT
                                 : KITH_DECIDE_PREPARE;
    out->msg.status.message = "";
    out->msg.epoch = proposer->last->id.epoch;
    out->msg.version = proposer->last->id.version + 1;
    out->msg.ballot = proposer->ballot;
    out->msg.table = kith_buf_bytes(accepting ? &proposer->value : free_choice(proposer));
    out->timer_ms = proposer->timer_ms;
}

/* A new ballot; an ASK has one too, to know its answers by. */
static void ballot_begin(struct kith_proposer *proposer, enum kith_proposer_state state,
                         uint64_t now_ms, struct kith_proposer_out *out)
{
    proposer->counter++;
    proposer->attempts++;
    proposer->ballot.round = proposer->counter << 32 | (proposer->incarnation & UINT32_MAX);
    proposer->ballot.proposer = proposer->self;
    memset(&proposer->best, 0, sizeof(proposer->best));
    kith_buf_clear(&proposer->value);
    phase_begin(proposer, state, now_ms, out);
}

/* The ballot is lost: a pause, longer each time, so that two proposers do not chase each other. */
static void pause_begin(struct kith_proposer *proposer, uint64_t now_ms, uint64_t random,
                        struct kith_proposer_out *out)
{
    uint32_t doublings = proposer->attempts < 7 ? proposer->attempts : 7;
    uint64_t pause_ms = (uint64_t)KITH_DECIDE_BACKOFF_MIN_MS << doublings;
    pause_ms = pause_ms < KITH_DECIDE_BACKOFF_MAX_MS ? pause_ms : KITH_DECIDE_BACKOFF_MAX_MS;
    proposer->state = KITH_PROPOSER_WAITING;
    proposer->timer_ms = now_ms + pause_ms / 2 + random % (pause_ms + 1);
    out->timer_ms = proposer->timer_ms;
}

/* What both kinds of start have in common; nothing has changed where it fails. */
static enum kith_err start_with(struct kith_proposer *proposer, struct kith_table *last,
                                struct kith_bytes next, uint64_t deadline_ms)
{
    if (kith_proposer_busy(proposer)) {
        return KITH_EBUSY;
    }
    if (kith_table_find(last, &proposer->self) == KITH_NO_MEMBER) {
        return KITH_EINVAL;
    }
    if (next.size > 0) {
        enum kith_err err = kith_decide_check(last, next, NULL);
        if (err != KITH_OK) {
            return err == KITH_ENOMEM ? err : KITH_EINVAL;
        }
    }
    kith_buf_clear(&proposer->unchanged);
    enum kith_err err = kith_decide_unchanged(last, &proposer->unchanged);
    kith_buf_clear(&proposer->wanted);
    kith_buf_put(&proposer->wanted, next.data, next.size);
    if (err != KITH_OK || proposer->wanted.failed) {
        return KITH_ENOMEM;
    }
    proposer->last = kith_table_hold(last);
    proposer->deadline_ms = deadline_ms;
    proposer->attempts = 0;
    proposer->unanimous = false;
    proposer->settles = next.size == 0;
    proposer->risked = false;
    proposer->why = KITH_OK;
    proposer->reason[0] = '\0';
    return KITH_OK;
}

enum kith_err kith_proposer_start(struct kith_proposer *proposer, struct kith_table *last,
                                  struct kith_bytes next, uint64_t now_ms, uint64_t deadline_ms,
                                  uint64_t random, struct kith_proposer_out *ret_out)
{
    (void)random; /* the first ballot need not wait */
    enum kith_err err = start_with(proposer, last, next, deadline_ms);
    if (err == KITH_OK) {
        out_reset(proposer, ret_out);
        ballot_begin(proposer, KITH_PROPOSER_PREPARING, now_ms, ret_out);
    }
    return err;
}

enum kith_err kith_proposer_start_change(struct kith_proposer *proposer, struct kith_table *last,
                                         struct kith_bytes next, uint64_t now_ms,
                                         uint64_t deadline_ms, uint64_t random,
                                         struct kith_proposer_out *ret_out)
{
    (void)random;
    if (next.size == 0) {
        return KITH_EINVAL;
    }
    enum kith_err err = start_with(proposer, last, next, deadline_ms);
    if (err == KITH_OK) {
        proposer->unanimous = true;
        out_reset(proposer, ret_out);
        ballot_begin(proposer, KITH_PROPOSER_ASKING, now_ms, ret_out);
    }
    return err;
}

/* The change is not put forward, or not again; but those that have promised it hold: from now on
 * anything that gets the instance decided will do. */
static void change_give_up(struct kith_proposer *proposer, enum kith_err why, const char *reason)
{
    if (proposer->unanimous) {
        proposer->unanimous = false;
        proposer->settles = true;
        proposer->why = why;
        (void)snprintf(proposer->reason, sizeof(proposer->reason), "%s", reason);
    }
}

/* Answers that are needed before the next phase: of a majority, which is what Paxos asks for, or of
 * all. A table that is accepted somewhere may be decided: all need not agree to it. */
static uint32_t answers_needed(const struct kith_proposer *proposer)
{
    bool all = proposer->state == KITH_PROPOSER_ASKING ||
               (proposer->state == KITH_PROPOSER_PREPARING && proposer->unanimous &&
                proposer->best.round == 0);
    return all ? voters(proposer) : majority(proposer);
}

/* Enough have promised: ask them to accept the highest accepted table, else the free choice. */
static enum kith_err accept_begin(struct kith_proposer *proposer, uint64_t now_ms,
                                  struct kith_proposer_out *out)
{
    if (proposer->best.round == 0) {
        const struct kith_buf *choice = free_choice(proposer);
        kith_buf_clear(&proposer->value);
        kith_buf_put(&proposer->value, choice->data, choice->size);
        if (proposer->value.failed) {
            return KITH_ENOMEM;
        }
    }
    if (kith_bytes_equal(kith_buf_bytes(&proposer->value), kith_buf_bytes(&proposer->wanted))) {
        proposer->risked = true;
    }
    /* a change has this one ballot */
    change_give_up(proposer, KITH_EBUSY, "another change of the table came first");
    phase_begin(proposer, KITH_PROPOSER_ACCEPTING, now_ms, out);
    return KITH_OK;
}

static void decided(struct kith_proposer *proposer, struct kith_proposer_out *out)
{
    out->table = kith_buf_bytes(&proposer->value);
    out->own = kith_bytes_equal(out->table, kith_buf_bytes(&proposer->wanted));
    out->send = true;
    out->msg.phase = KITH_DECIDE_DECIDED;
    out->msg.status.message = "";
    out->msg.epoch = proposer->last->id.epoch;
    out->msg.version = proposer->last->id.version + 1;
    out->msg.ballot = proposer->ballot;
    out->msg.table = out->table;
    finish(proposer, out, KITH_PROPOSER_DECIDED);
}

/* Takes over the value of a promise when it was accepted under the highest ballot so far. */
static enum kith_err promise_note(struct kith_proposer *proposer, const struct kith_decide *answer,
                                  bool *ret_valid)
{
    *ret_valid = true;
    if (answer->accepted.round == 0 ||
        kith_ballot_compare(&answer->accepted, &proposer->best) <= 0) {
        return KITH_OK;
    }
    enum kith_err err = kith_decide_check(proposer->last, answer->table, NULL);
    if (err == KITH_ENOMEM) {
        return err;
    }
    if (err != KITH_OK) {
        *ret_valid = false; /* a promise that cannot be understood is none */
        return KITH_OK;
    }
    struct kith_buf copy;
    kith_buf_init(&copy);
    kith_buf_put(&copy, answer->table.data, answer->table.size);
    if (copy.failed) {
        kith_buf_release(&copy);
        return KITH_ENOMEM;
    }
    kith_buf_release(&proposer->value);
    proposer->value = copy;
    proposer->best = answer->accepted;
    return KITH_OK;
}

/* Another ballot is ahead, or somebody holds already. */
static void outbid(struct kith_proposer *proposer, const struct kith_decide *answer,
                   uint64_t now_ms, uint64_t random, struct kith_proposer_out *out)
{
    uint64_t heard = answer->accepted.round >> 32;
    proposer->counter = heard > proposer->counter ? heard : proposer->counter;
    if (proposer->state == KITH_PROPOSER_ASKING) {
        fail(proposer, out, KITH_EBUSY, "another change of the table is being decided");
    } else if (kith_ballot_compare(&answer->accepted, &proposer->ballot) > 0) {
        change_give_up(proposer, KITH_EBUSY, "another change of the table is being decided");
        pause_begin(proposer, now_ms, random, out);
    }
}

static void objected(struct kith_proposer *proposer, uint16_t member,
                     const struct kith_decide *answer, uint64_t now_ms, uint64_t random,
                     struct kith_proposer_out *out)
{
    if (answer->status.err == KITH_EBUSY) {
        outbid(proposer, answer, now_ms, random, out);
        return;
    }
    if (answer->status.err != KITH_EREFUSED) {
        return; /* cannot vote now: as good as no answer */
    }
    bit_set(proposer->refused, member);
    const char *message = answer->status.message ? answer->status.message : "";
    uint32_t count = proposer->last->member_count;
    if (voters(proposer) - bit_count(proposer->refused, count) >= answers_needed(proposer)) {
        return;
    }
    if (proposer->state == KITH_PROPOSER_PREPARING && proposer->unanimous) {
        change_give_up(proposer, KITH_EREFUSED, message);
        ballot_begin(proposer, KITH_PROPOSER_PREPARING, now_ms, out);
        return;
    }
    fail(proposer, out, KITH_EREFUSED, message);
}

enum kith_err kith_proposer_answer(struct kith_proposer *proposer, const struct kith_uuid *from,
                                   const struct kith_decide *answer, uint64_t now_ms,
                                   uint64_t random, struct kith_proposer_out *ret_out)
{
    out_reset(proposer, ret_out);
    bool asking = proposer->state == KITH_PROPOSER_ASKING;
    bool preparing = proposer->state == KITH_PROPOSER_PREPARING;
    bool accepting = proposer->state == KITH_PROPOSER_ACCEPTING;
    if (!(asking && answer->phase == KITH_DECIDE_OPINION) &&
        !(preparing && answer->phase == KITH_DECIDE_PROMISE) &&
        !(accepting && answer->phase == KITH_DECIDE_ACCEPTED)) {
        return KITH_OK;
    }
    uint16_t member = kith_table_find(proposer->last, from);
    if (member == KITH_NO_MEMBER || !votes(proposer, member) || bit_get(proposer->yes, member) ||
        answer->epoch != proposer->last->id.epoch ||
        answer->version != proposer->last->id.version + 1 ||
        kith_ballot_compare(&answer->ballot, &proposer->ballot) != 0) {
        return KITH_OK;
    }
    if (answer->status.err != KITH_OK) {
        objected(proposer, member, answer, now_ms, random, ret_out);
        return KITH_OK;
    }
    if (preparing) {
        bool valid = false;
        enum kith_err err = promise_note(proposer, answer, &valid);
        if (err != KITH_OK || !valid) {
            return err;
        }
    }
    bit_set(proposer->yes, member);
    if (bit_count(proposer->yes, proposer->last->member_count) < answers_needed(proposer)) {
        return KITH_OK;
    }
    if (asking) {
        ballot_begin(proposer, KITH_PROPOSER_PREPARING, now_ms, ret_out);
        return KITH_OK;
    }
    if (accepting) {
        decided(proposer, ret_out);
        return KITH_OK;
    }
    enum kith_err err = accept_begin(proposer, now_ms, ret_out);
    if (err != KITH_OK) {
        pause_begin(proposer, now_ms, random,
                    ret_out); /* memory may be there for the next ballot */
    }
    return err;
}

static void too_few(const struct kith_proposer *proposer, char *text, size_t size)
{
    uint32_t count = voters(proposer);
    uint32_t needed = proposer->unanimous ? count : majority(proposer);
    (void)snprintf(text, size,
                   "table v%llu needs %u of %u members to agree, and not enough answered in time",
                   (unsigned long long)proposer->last->id.version + 1, needed, count);
}

/* Nobody else has answered in this phase. */
static void phase_late(struct kith_proposer *proposer, uint64_t now_ms, uint64_t random,
                       struct kith_proposer_out *out)
{
    char text[200];
    too_few(proposer, text, sizeof(text));
    if (proposer->state == KITH_PROPOSER_ASKING) {
        fail(proposer, out, KITH_EUNREACH, text); /* nobody has promised anything */
    } else if (proposer->unanimous) {
        change_give_up(proposer, KITH_EUNREACH, text); /* who has promised holds: no pause */
        ballot_begin(proposer, KITH_PROPOSER_PREPARING, now_ms, out);
    } else {
        pause_begin(proposer, now_ms, random, out);
    }
}

void kith_proposer_tick(struct kith_proposer *proposer, uint64_t now_ms, uint64_t random,
                        struct kith_proposer_out *ret_out)
{
    out_reset(proposer, ret_out);
    if (!kith_proposer_busy(proposer)) {
        return;
    }
    if (now_ms >= proposer->deadline_ms) {
        char text[200];
        too_few(proposer, text, sizeof(text));
        fail(proposer, ret_out, KITH_EUNREACH, text);
    } else if (now_ms >= proposer->timer_ms) {
        if (proposer->state == KITH_PROPOSER_WAITING) {
            ballot_begin(proposer, KITH_PROPOSER_PREPARING, now_ms, ret_out);
        } else {
            phase_late(proposer, now_ms, random, ret_out);
        }
    }
    if (kith_proposer_busy(proposer) && ret_out->timer_ms > proposer->deadline_ms) {
        ret_out->timer_ms = proposer->deadline_ms;
    }
}

void kith_proposer_learn(struct kith_proposer *proposer, const struct kith_table *table,
                         struct kith_proposer_out *ret_out)
{
    out_reset(proposer, ret_out);
    if (!kith_proposer_busy(proposer) ||
        kith_table_id_compare(&table->id, &proposer->last->id) <= 0) {
        return;
    }
    if (table->id.epoch != proposer->last->id.epoch ||
        table->id.version != proposer->last->id.version + 1) {
        fail(proposer, ret_out, KITH_ESTALE, "a later table has been decided meanwhile");
        return;
    }
    kith_buf_clear(&proposer->value);
    kith_table_encode(table, &proposer->value);
    if (proposer->value.failed) {
        fail(proposer, ret_out, KITH_ESTALE, "another node has finished the change");
        return;
    }
    ret_out->table = kith_buf_bytes(&proposer->value);
    ret_out->own = kith_bytes_equal(ret_out->table, kith_buf_bytes(&proposer->wanted));
    finish(proposer, ret_out, KITH_PROPOSER_DECIDED);
}
