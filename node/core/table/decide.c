/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * decide.c - the acceptor: what a node has promised about the next table, in memory and as bytes.
 *
 * Record, canonical:
 *
 *     u8      format, ACCEPTOR_FORMAT
 *     u64     epoch, u64 version (LE) of the instance
 *     u64     round (LE) and 16 uuid of the promised ballot
 *     u64     round (LE) and 16 uuid of the accepted ballot
 *     u8      holds; not in format 1
 *     sized   accepted table
 *     16      XXH3-128 of all before */
#include "core/table/decide.h"

#include <string.h>

#include "base/assert.h"

#define ACCEPTOR_FORMAT   2u
#define ACCEPTOR_NO_HOLDS 1u /* the format before: whoever had promised anything held */

int kith_ballot_compare(const struct kith_ballot *a, const struct kith_ballot *b)
{
    if (a->round != b->round) {
        return a->round < b->round ? -1 : 1;
    }
    return kith_uuid_compare(&a->proposer, &b->proposer);
}

void kith_acceptor_init(struct kith_acceptor *acceptor)
{
    memset(acceptor, 0, sizeof(*acceptor));
}

void kith_acceptor_release(struct kith_acceptor *acceptor)
{
    kith_free(acceptor->table);
    memset(acceptor, 0, sizeof(*acceptor));
}

/* ---- Bytes ---- */

static void ballot_put(struct kith_buf *buf, const struct kith_ballot *ballot)
{
    kith_buf_put_u64(buf, ballot->round);
    kith_buf_put(buf, ballot->proposer.bytes, sizeof(ballot->proposer.bytes));
}

static void ballot_read(struct kith_reader *reader, struct kith_ballot *ballot)
{
    ballot->round = kith_read_u64(reader);
    const uint8_t *uuid = kith_read(reader, sizeof(ballot->proposer.bytes));
    if (uuid) {
        memcpy(ballot->proposer.bytes, uuid, sizeof(ballot->proposer.bytes));
    }
}

void kith_acceptor_encode(const struct kith_acceptor *acceptor, struct kith_buf *buf)
{
    size_t start = buf->size;
    kith_buf_put_u8(buf, ACCEPTOR_FORMAT);
    kith_buf_put_u64(buf, acceptor->epoch);
    kith_buf_put_u64(buf, acceptor->version);
    ballot_put(buf, &acceptor->promised);
    ballot_put(buf, &acceptor->accepted);
    kith_buf_put_u8(buf, acceptor->holds ? 1 : 0);
    kith_buf_put_sized(buf, kith_bytes_make(acceptor->table, acceptor->table_size));
    if (buf->failed) {
        return;
    }
    struct kith_checksum sum =
        kith_checksum_of(kith_bytes_make(buf->data + start, buf->size - start));
    kith_buf_put(buf, sum.bytes, sizeof(sum.bytes));
}

enum kith_err kith_acceptor_decode(struct kith_acceptor *acceptor, struct kith_bytes bytes)
{
    kith_acceptor_init(acceptor);
    if (bytes.size == 0) {
        return KITH_OK;
    }
    if (bytes.size < 1 + KITH_CHECKSUM_SIZE) {
        return KITH_EFORMAT;
    }
    if (bytes.data[0] != ACCEPTOR_FORMAT && bytes.data[0] != ACCEPTOR_NO_HOLDS) {
        return KITH_EVERSION;
    }
    struct kith_bytes body = kith_bytes_make(bytes.data, bytes.size - KITH_CHECKSUM_SIZE);
    struct kith_checksum sum = kith_checksum_of(body);
    if (memcmp(sum.bytes, body.data + body.size, KITH_CHECKSUM_SIZE) != 0) {
        return KITH_ECORRUPT;
    }
    struct kith_reader reader;
    struct kith_acceptor read;
    memset(&read, 0, sizeof(read));
    kith_reader_init(&reader, body);
    (void)kith_read_u8(&reader);
    read.epoch = kith_read_u64(&reader);
    read.version = kith_read_u64(&reader);
    ballot_read(&reader, &read.promised);
    ballot_read(&reader, &read.accepted);
    uint8_t holds =
        bytes.data[0] == ACCEPTOR_NO_HOLDS ? read.promised.round > 0 : kith_read_u8(&reader);
    read.holds = holds != 0;
    struct kith_bytes table = kith_read_sized(&reader, KITH_MESSAGE_MAX);
    if (!kith_reader_done(&reader) || holds > 1 || (table.size > 0) != (read.accepted.round > 0) ||
        kith_ballot_compare(&read.accepted, &read.promised) > 0) {
        return KITH_EFORMAT;
    }
    if (table.size > 0) {
        read.table = kith_malloc(table.size);
        if (!read.table) {
            return KITH_ENOMEM;
        }
        memcpy(read.table, table.data, table.size);
        read.table_size = table.size;
    }
    *acceptor = read;
    return KITH_OK;
}

/* ---- Steps ---- */

enum kith_err kith_decide_check(const struct kith_table *last, struct kith_bytes bytes,
                                struct kith_table **ret_next)
{
    struct kith_table *next = NULL;
    enum kith_err err = kith_table_decode(bytes, &next);
    if (err != KITH_OK) {
        return err;
    }
    if (!kith_uuid_equal(&next->cluster, &last->cluster)) {
        err = KITH_ECLUSTER;
    } else if (next->id.epoch != last->id.epoch || next->id.version != last->id.version + 1 ||
               next->partitions != last->partitions || next->replicas != last->replicas) {
        err = KITH_EINVAL;
    }
    if (err == KITH_OK && ret_next) {
        *ret_next = next;
        return KITH_OK;
    }
    kith_table_drop(next);
    return err;
}

bool kith_decide_changes(const struct kith_table *last, const struct kith_table *next)
{
    if (kith_table_is_joint(last) || kith_table_is_joint(next)) {
        return !kith_table_follows(last, next);
    }
    if (next->member_count != last->member_count || next->owner_slots != last->owner_slots ||
        next->partitions != last->partitions) {
        return true;
    }
    for (uint32_t i = 0; i < last->member_count; i++) {
        if (!kith_uuid_equal(&next->members[i].uuid, &last->members[i].uuid)) {
            return true;
        }
    }
    size_t count = (size_t)last->partitions * last->owner_slots;
    return memcmp(next->owners, last->owners, count * sizeof *last->owners) != 0;
}

enum kith_err kith_decide_unchanged(const struct kith_table *last, struct kith_buf *buf)
{
    struct kith_table *next = NULL;
    enum kith_err err = kith_table_renumber(last, &next);
    if (err == KITH_OK) {
        kith_table_encode(next, buf);
        kith_table_drop(next);
    }
    KITH_ASSERT(err != KITH_EINVAL); /* last is a table */
    return buf->failed ? KITH_ENOMEM : err;
}

/* -1: the instance lies behind the table that the node knows; 0: it is the next; 1: beyond it. */
static int instance_compare(const struct kith_table *table, const struct kith_decide *request)
{
    if (request->epoch != table->id.epoch) {
        return request->epoch < table->id.epoch ? -1 : 1;
    }
    uint64_t next = table->id.version + 1;
    return request->version < next ? -1 : request->version > next;
}

static void answer_no(struct kith_decide *answer, enum kith_err err, const char *message,
                      enum kith_acceptor_action *ret_action)
{
    answer->status.err = err;
    answer->status.message = message;
    *ret_action = KITH_ACCEPTOR_SEND_NOW;
}

static bool holds_table(const struct kith_acceptor *acceptor, struct kith_bytes table)
{
    return acceptor->accepted.round > 0 &&
           kith_bytes_equal(kith_bytes_make(acceptor->table, acceptor->table_size), table);
}

/* Objections to the request that do not depend on promises; true: answered. */
static bool objection(const struct kith_acceptor *acceptor, const struct kith_voter *voter,
                      const struct kith_decide *request, bool changes, const char *refuse,
                      enum kith_acceptor_action *ret_action, struct kith_decide *answer)
{
    bool known = holds_table(acceptor, request->table);
    if (!voter->may_vote) {
        answer_no(answer, KITH_ENOTREADY,
                  "this node's store is new or was restored; it votes after the next table change",
                  ret_action);
    } else if (kith_table_find(voter->table, &voter->self) == KITH_NO_MEMBER) {
        answer_no(answer, KITH_ENOTREADY, "this node is no member of the table", ret_action);
    } else if (kith_table_find(voter->table, &request->ballot.proposer) == KITH_NO_MEMBER) {
        answer_no(answer, KITH_EREFUSED, "only members of the table may propose the next",
                  ret_action);
    } else if (refuse && changes && !known &&
               (request->phase != KITH_DECIDE_ACCEPT || !acceptor->holds)) {
        answer_no(answer, KITH_EREFUSED, refuse, ret_action);
    } else {
        return false;
    }
    return true;
}

/* Nobody objects: an ASK's answer. */
static void opinion(const struct kith_acceptor *acceptor, enum kith_acceptor_action *ret_action,
                    struct kith_decide *answer)
{
    *ret_action = KITH_ACCEPTOR_SEND_NOW;
    if (acceptor->holds) {
        answer->accepted = acceptor->promised;
        answer_no(answer, KITH_EBUSY, "another change of the table is being decided", ret_action);
    }
}

static void prepare(struct kith_acceptor *acceptor, const struct kith_decide *request, bool changes,
                    enum kith_acceptor_action *ret_action, struct kith_decide *answer)
{
    /* strictly higher: a ballot is promised once, so no majority can be counted twice */
    if (kith_ballot_compare(&request->ballot, &acceptor->promised) <= 0) {
        answer->accepted = acceptor->promised;
        answer_no(answer, KITH_EBUSY, "a higher ballot is promised", ret_action);
        return;
    }
    acceptor->promised = request->ballot;
    acceptor->holds = acceptor->holds || changes;
    answer->accepted = acceptor->accepted;
    answer->table = kith_bytes_make(acceptor->table, acceptor->table_size);
    *ret_action = KITH_ACCEPTOR_SEND_DURABLE;
}

static enum kith_err accept_table(struct kith_acceptor *acceptor, const struct kith_decide *request,
                                  bool changes, enum kith_acceptor_action *ret_action,
                                  struct kith_decide *answer)
{
    if (kith_ballot_compare(&request->ballot, &acceptor->promised) < 0) {
        answer->accepted = acceptor->promised;
        answer_no(answer, KITH_EBUSY, "a higher ballot is promised", ret_action);
        return KITH_OK;
    }
    if (!holds_table(acceptor, request->table)) {
        uint8_t *copy = kith_malloc(request->table.size);
        if (!copy) {
            return KITH_ENOMEM;
        }
        memcpy(copy, request->table.data, request->table.size);
        kith_free(acceptor->table);
        acceptor->table = copy;
        acceptor->table_size = request->table.size;
    }
    acceptor->promised = request->ballot;
    acceptor->accepted = request->ballot;
    acceptor->holds = acceptor->holds || changes;
    answer->accepted = request->ballot;
    *ret_action = KITH_ACCEPTOR_SEND_DURABLE;
    return KITH_OK;
}

/* 0: not a phase that is answered. */
static enum kith_decide_phase answer_phase(enum kith_decide_phase phase)
{
    switch (phase) {
    case KITH_DECIDE_ASK:
        return KITH_DECIDE_OPINION;
    case KITH_DECIDE_PREPARE:
        return KITH_DECIDE_PROMISE;
    case KITH_DECIDE_ACCEPT:
        return KITH_DECIDE_ACCEPTED;
    default:
        return 0;
    }
}

/* Whether the table of the request may follow the voter's, and whether it is a change. */
static enum kith_err request_check(const struct kith_voter *voter,
                                   const struct kith_decide *request, bool *ret_changes)
{
    *ret_changes = false;
    if (request->phase == KITH_DECIDE_PREPARE && request->table.size == 0) {
        return KITH_OK; /* only to finish what others started */
    }
    struct kith_table *next = NULL;
    enum kith_err err = kith_decide_check(voter->table, request->table, &next);
    if (err != KITH_OK) {
        return err == KITH_ENOMEM || err == KITH_ECORRUPT ? err : KITH_EFORMAT;
    }
    *ret_changes = kith_decide_changes(voter->table, next);
    kith_table_drop(next);
    return KITH_OK;
}

enum kith_err kith_acceptor_step(struct kith_acceptor *acceptor, const struct kith_voter *voter,
                                 const struct kith_decide *request, const char *refuse,
                                 enum kith_acceptor_action *ret_action,
                                 struct kith_decide *ret_answer)
{
    struct kith_decide answer;
    memset(&answer, 0, sizeof(answer));
    answer.phase = answer_phase(request->phase);
    if (answer.phase == 0) {
        return KITH_EINVAL;
    }
    answer.status.message = "";
    answer.epoch = request->epoch;
    answer.version = request->version;
    answer.ballot = request->ballot;
    int order = voter->table ? instance_compare(voter->table, request) : 1;
    if (order < 0) {
        *ret_action = KITH_ACCEPTOR_SEND_TABLE;
        return KITH_OK;
    }
    if (order > 0) {
        answer_no(&answer, KITH_ENOTREADY, "this node does not know the table before", ret_action);
        *ret_action = KITH_ACCEPTOR_FETCH;
        *ret_answer = answer;
        return KITH_OK;
    }
    bool changes = false;
    enum kith_err err = request_check(voter, request, &changes);
    if (err != KITH_OK) {
        return err;
    }
    if (acceptor->epoch != request->epoch || acceptor->version != request->version) {
        /* The next instance: what was promised in an earlier one is decided. */
        kith_acceptor_release(acceptor);
        acceptor->epoch = request->epoch;
        acceptor->version = request->version;
    }
    if (!objection(acceptor, voter, request, changes, refuse, ret_action, &answer)) {
        if (request->phase == KITH_DECIDE_ASK) {
            opinion(acceptor, ret_action, &answer);
        } else if (request->phase == KITH_DECIDE_PREPARE) {
            prepare(acceptor, request, changes, ret_action, &answer);
        } else {
            err = accept_table(acceptor, request, changes, ret_action, &answer);
        }
    }
    if (err == KITH_OK) {
        *ret_answer = answer;
    }
    return err;
}
