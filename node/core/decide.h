/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * decide.h - agreement on the next partition table: single-decree Paxos, one instance a version.
 *
 * An instance is (epoch, version): the table that follows (epoch, version - 1), decided among the
 * members of that table by a majority of them (1 -> 2 members needs the one, 2 -> 3 both). Every
 * member is an acceptor, any member may propose, and anyone may finish what another has started: a
 * proposer adopts the value accepted under the highest ballot that it hears of. Invariant: no two
 * different tables are ever decided for one instance. Lamport 2001, "Paxos Made Simple".
 *
 *     proposer                      acceptor (each member of the last table, the proposer's node
 * too) PREPARE(ballot, wanted)  ->   no ballot as high promised? promise it DURABLY, then
 *                              <-   PROMISE(accepted ballot, accepted table)
 *     majority: ACCEPT(ballot, highest accepted table, else the wanted one)
 *                              ->   no higher ballot promised? accept it DURABLY, then
 *                              <-   ACCEPTED
 *     majority: decided; DECIDED(table) to all
 *
 * Refusals. A PREPARE bears the table that its proposer wants, so that a node can object ("this
 * node has data") before anything is accepted anywhere: then nothing has happened. An answer with
 * status EREFUSED is an objection to the table, EBUSY says that a higher ballot is promised (it
 * stands in `accepted`), ENOTREADY that the node may not vote now; ESTALE is never sent: who is
 * behind is sent DECIDED with the newest table.
 *
 * Ballots never repeat: round = counter << 32 | the proposer's incarnation (which rises, durably,
 * with every start of its node), then the proposer's uuid. An acceptor promises a ballot once
 * only.
 *
 * Pure step functions: time and randomness come in, messages go out; no I/O. One thread. What is
 * returned points into the acceptor or proposer and stays valid until its next call.
 *
 * How node.c uses it:
 *   - at start: kith_acceptor_decode(META_DECIDE bytes); kith_proposer_init.
 *   - PREPARE or ACCEPT from a member (or from the own proposer): kith_acceptor_step.
 *       SEND_NOW: send the answer.
 *       SEND_DURABLE: META_PUT(DECIDE, kith_acceptor_encode), and send a copy of the answer when
 *       that is completed without error.
 *       SEND_TABLE: send DECIDED with the node's own table.
 *       FETCH: ask the sender for its table (TABLE_REQ) and send the answer (ENOTREADY).
 *   - PROMISE or ACCEPTED: kith_proposer_answer. Timer: kith_proposer_tick. What comes out: see
 *     kith_proposer_out.
 *   - DECIDED: adopt the table if it is newer and valid, make it durable (META_TABLE); then
 *     kith_proposer_learn. The acceptor needs no call: an instance that is not the one after the
 *     node's table is never voted on again, so META_TABLE must be durable before the node acts
 *     under a new table.
 * Checked by tests/unit/test_decide.c. */
#ifndef KITH_CORE_DECIDE_H
#define KITH_CORE_DECIDE_H

#include "wire/msg.h"

#define KITH_DECIDE_PHASE_MS       1000u /* without a majority by then: a new ballot, later */
#define KITH_DECIDE_BACKOFF_MIN_MS 20u   /* pause after a lost ballot; doubles, at random */
#define KITH_DECIDE_BACKOFF_MAX_MS 2000u

/* By round, then proposer; < 0, 0, > 0. */
int kith_ballot_compare(const struct kith_ballot *a, const struct kith_ballot *b);

/* ---- Acceptor ---- */

/* Zero-initialised is a valid one that has promised nothing. */
struct kith_acceptor {
    uint64_t epoch, version;     /* the instance that the rest belongs to; 0 = none */
    struct kith_ballot promised; /* round 0 = none */
    struct kith_ballot accepted; /* round 0 = none */
    uint8_t *table;              /* accepted, encoded; owned */
    size_t table_size;
};

void kith_acceptor_init(struct kith_acceptor *acceptor);
void kith_acceptor_release(struct kith_acceptor *acceptor);

/* The record for KITH_META_DECIDE, with a checksum. Check buf->failed. */
void kith_acceptor_encode(const struct kith_acceptor *acceptor, struct kith_buf *buf);
/* Into an initialised or released one. Empty bytes give one that has promised nothing. EFORMAT,
 * ECORRUPT, EVERSION, ENOMEM: it is then as after init, and the node must not vote (its promises
 * are lost). */
KITH_MUST_CHECK enum kith_err kith_acceptor_decode(struct kith_acceptor *acceptor,
                                                   struct kith_bytes bytes);

enum kith_acceptor_action {
    KITH_ACCEPTOR_SEND_NOW = 1, /* the answer promises nothing */
    KITH_ACCEPTOR_SEND_DURABLE, /* only when the acceptor's present state is durable */
    KITH_ACCEPTOR_SEND_TABLE,   /* the sender is behind: DECIDED with the node's table (answer is
                                   unset) */
    KITH_ACCEPTOR_FETCH, /* this node is behind: fetch the sender's table; send the answer now */
};

/* What the node is when it votes. */
struct kith_voter {
    const struct kith_table *table; /* the newest one that it knows, or NULL */
    struct kith_uuid self;
    bool may_vote; /* false: store new, restored or damaged, and no version learnt since */
};

/* Handles PREPARE or ACCEPT. `refuse`: the caller's objection to request->table, in words for
 * people, or NULL; it is passed over where that table is accepted here already (it may be
 * decided). The objection should be raised at PREPARE; raised at ACCEPT it may leave a table
 * accepted by few, which later proposals must then carry on with. The answer bears epoch, version
 * and ballot of the request. EINVAL for another phase; EFORMAT or ECORRUPT for a table that cannot
 * be read or does not follow the voter's: drop the message; ENOMEM: nothing changed. */
KITH_MUST_CHECK enum kith_err
kith_acceptor_step(struct kith_acceptor *acceptor, const struct kith_voter *voter,
                   const struct kith_decide *request, const char *refuse,
                   enum kith_acceptor_action *ret_action, struct kith_decide *ret_answer);

/* Whether the table in bytes may follow `last`: same cluster, epoch, partitions and replicas,
 * version + 1. EFORMAT, ECORRUPT, EVERSION, ECLUSTER, EINVAL, ENOMEM. *ret_next (may be NULL) is
 * the caller's to drop. */
KITH_MUST_CHECK enum kith_err kith_decide_check(const struct kith_table *last,
                                                struct kith_bytes bytes,
                                                struct kith_table **ret_next);

/* ---- Proposer ---- */

enum kith_proposer_state {
    KITH_PROPOSER_IDLE = 0,
    KITH_PROPOSER_PREPARING,
    KITH_PROPOSER_ACCEPTING,
    KITH_PROPOSER_WAITING, /* between two ballots */
};

/* In place; zero-initialised is idle. Keep it for the life of the node: it remembers its rounds. */
struct kith_proposer {
    enum kith_proposer_state state;
    struct kith_uuid self;
    uint64_t incarnation;
    struct kith_table *last;   /* held; its members vote */
    struct kith_buf wanted;    /* empty: only finish what others started */
    struct kith_buf value;     /* what this ballot asks to accept */
    struct kith_ballot ballot; /* of this attempt */
    struct kith_ballot best;   /* the highest accepted ballot among the promises */
    uint64_t counter;          /* the highest round counter used or heard of */
    uint64_t deadline_ms;      /* of the whole */
    uint64_t timer_ms;         /* of the phase or the pause */
    uint32_t attempts;
    bool unanimous; /* see kith_proposer_need_all */
    bool risked;    /* an ACCEPT of the wanted table was sent: it may yet be decided */
    uint8_t yes[KITH_MEMBERS_MAX / 8];     /* members that agreed in this phase */
    uint8_t refused[KITH_MEMBERS_MAX / 8]; /* members that objected in this phase */
    char reason[256];                      /* the last objection */
};

enum kith_proposer_end {
    KITH_PROPOSER_RUNNING = 0,
    KITH_PROPOSER_DECIDED, /* `table` is decided, `own` says whether it is the wanted one */
    KITH_PROPOSER_NOTHING, /* nothing wanted and nothing to finish */
    KITH_PROPOSER_FAILED,  /* err, message */
};

/* What to do after a call, in this order. */
struct kith_proposer_out {
    bool send; /* send `msg` to every member of last(), the own node's acceptor included; */
    struct kith_decide msg;     /* a DECIDED to every member of the decided table as well */
    enum kith_proposer_end end; /* once it is not RUNNING the proposer is idle again */
    struct kith_bytes table;    /* DECIDED: encoded */
    bool own;
    /* FAILED: EREFUSED (objections; nothing happened), EUNREACH (no majority answered in time;
     * nothing happened), EUNKNOWN (the same, but the table may yet be decided), ESTALE (a later
     * table is known) */
    enum kith_err err;
    char message[320];
    uint64_t timer_ms; /* when tick wants to be called; UINT64_MAX = not at all */
};

void kith_proposer_init(struct kith_proposer *proposer, const struct kith_uuid *self,
                        uint64_t incarnation);
void kith_proposer_release(struct kith_proposer *proposer);
static inline bool kith_proposer_busy(const struct kith_proposer *proposer)
{
    return proposer->state != KITH_PROPOSER_IDLE;
}

/* Proposes `next` (encoded, copied; empty = only finish what was started) as the table after
 * `last` (held). Ends by deadline_ms. EBUSY while one runs; EINVAL where next may not follow last
 * or self is no member of it; ENOMEM. `random`: 64 fresh bits, here and below. */
KITH_MUST_CHECK enum kith_err kith_proposer_start(struct kith_proposer *proposer,
                                                  struct kith_table *last, struct kith_bytes next,
                                                  uint64_t now_ms, uint64_t deadline_ms,
                                                  uint64_t random,
                                                  struct kith_proposer_out *ret_out);
/* After a start, until its end: the wanted table is put forward only once every member has promised,
 * and one objection is enough to end it; for changes to which any single member may have to object. A
 * majority still decides, and finishes what is accepted already. */
void kith_proposer_need_all(struct kith_proposer *proposer);
/* A PROMISE or ACCEPTED from member `from`. What is old, foreign or malformed changes nothing.
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_proposer_answer(struct kith_proposer *proposer,
                                                   const struct kith_uuid *from,
                                                   const struct kith_decide *answer,
                                                   uint64_t now_ms, uint64_t random,
                                                   struct kith_proposer_out *ret_out);
/* Time has come to timer_ms, or any time. */
void kith_proposer_tick(struct kith_proposer *proposer, uint64_t now_ms, uint64_t random,
                        struct kith_proposer_out *ret_out);
/* The node has adopted `table` (by DECIDED or otherwise): a running proposal for its version or an
 * earlier one ends: DECIDED where it is this very instance, else FAILED with ESTALE. */
void kith_proposer_learn(struct kith_proposer *proposer, const struct kith_table *table,
                         struct kith_proposer_out *ret_out);

#endif
