/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * decide.h - agreement on the next partition table: single-decree Paxos, one instance a version.
 *
 * An instance is (epoch, version): the table that follows (epoch, version - 1), decided among the
 * members of that table by a majority of them (1 -> 2 members needs the one, 2 -> 3 both; those
 * that a joint table calls gone are not counted). Every member is an acceptor, any may propose,
 * and anyone may finish what another has started: a proposer adopts the value accepted under the
 * highest ballot that it hears of. Invariant: no two different tables are ever decided for one
 * instance. Lamport 2001, "Paxos Made Simple".
 *
 *     proposer                      acceptor (each member of the last table, its own node too)
 *     PREPARE(ballot, wanted)  ->   no ballot as high promised? promise it DURABLY, then
 *                              <-   PROMISE(accepted ballot, accepted table)
 *     majority: ACCEPT(ballot, highest accepted table, else the wanted one)
 *                              ->   no higher ballot promised? accept it DURABLY, then
 *                              <-   ACCEPTED
 *     majority: decided; DECIDED(table) to all
 *
 * CHANGES. A table that moves data ("changes": it has other members or owners than the last one)
 * must not be decided while anybody holds data. So a proposer of a change
 *
 *     ASKs all members first           an OPINION promises nothing: an objection ("this node has
 *                                      data") ends it, and nothing has happened;
 *     puts it forward only when ALL    a member that has promised such a ballot HOLDS: its node
 *     have promised its first ballot   takes no write until the instance is decided.
 *
 * So where a change is accepted anywhere, all members hold and none has data; a majority may finish
 * it. A member stops holding only when the instance is decided, never because a ballot is given up:
 * one acceptance that nobody has heard of may be found and finished at any later time. Where the
 * change cannot be put forward after all (an objection that came late, a member that fell silent,
 * a lost ballot) its proposer goes on, with a majority, until the instance is decided: for what
 * the promises bring up, else for the table as it is under the next version. Any member that holds
 * may do the same. A ballot for an unchanged table makes nobody hold and meets no objection.
 * An acceptor that does not hold and objects accepts no change either: it had no say in it.
 *
 * Refusals. An answer with status EREFUSED is an objection to the table, EBUSY says that a higher
 * ballot is promised (it stands in `accepted`) or, to an ASK, that the member holds already;
 * ENOTREADY that the node may not vote now; ESTALE is never sent: who is behind is sent DECIDED
 * with the newest table.
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
 *   - ASK, PREPARE or ACCEPT from a member (or from the own proposer): kith_acceptor_step.
 *       SEND_NOW: send the answer.
 *       SEND_DURABLE: META_PUT(DECIDE, kith_acceptor_encode), and send a copy of the answer when
 *       that is completed without error.
 *       SEND_TABLE: send DECIDED with the node's own table.
 *       FETCH: ask the sender for its table (TABLE_REQ) and send the answer (ENOTREADY).
 *   - OPINION, PROMISE or ACCEPTED: kith_proposer_answer. Timer: kith_proposer_tick. What comes
 * out: see kith_proposer_out.
 *   - DECIDED: adopt the table if it is newer and valid, make it durable (META_TABLE); then
 *     kith_proposer_learn. The acceptor needs no call: an instance that is not the one after the
 *     node's table is never voted on again, so META_TABLE must be durable before the node acts
 *     under a new table.
 * Checked by tests/unit/test_decide.c and test_decide_rules.c. */
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
    bool holds;                  /* a ballot for a change was promised: no writes, see CHANGES */
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

/* Handles ASK, PREPARE or ACCEPT. `refuse`: the caller's objection to request->table, in words for
 * people, or NULL; it is passed over where the table is no change, where it is accepted here
 * already (it may be decided), and at ACCEPT where this acceptor holds. The answer bears epoch,
 * version and ballot of the request. EINVAL for another phase; EFORMAT or ECORRUPT for a table that
 * cannot be read or does not follow the voter's: drop the message; ENOMEM: nothing changed. */
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

/* Whether `next` may follow `last` only while nobody holds data: it has other members or owners
 * (weights and zones do not count), and neither begins nor ends a move (data/table.h, MOVES). */
bool kith_decide_changes(const struct kith_table *last, const struct kith_table *next);
/* `last` under the next version, appended encoded. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_decide_unchanged(const struct kith_table *last,
                                                    struct kith_buf *buf);

/* ---- Proposer ---- */

enum kith_proposer_state {
    KITH_PROPOSER_IDLE = 0,
    KITH_PROPOSER_ASKING, /* a change: for objections */
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
    struct kith_buf wanted;    /* empty: only to get the instance decided */
    struct kith_buf unchanged; /* put forward where `settles` */
    struct kith_buf value;     /* what this ballot asks to accept */
    struct kith_ballot ballot; /* of this attempt */
    struct kith_ballot best;   /* the highest accepted ballot among the promises */
    uint64_t counter;          /* the highest round counter used or heard of */
    uint64_t deadline_ms;      /* of the whole */
    uint64_t timer_ms;         /* of the phase or the pause */
    uint32_t attempts;
    bool unanimous;    /* a change that may still be put forward: all must promise */
    bool settles;      /* nothing wanted, or a change that may not be put forward (again) */
    bool risked;       /* an ACCEPT of the wanted table was sent: it may yet be decided */
    enum kith_err why; /* the change was given up: why */
    uint8_t yes[KITH_MEMBERS_MAX / 8];     /* members that agreed in this phase */
    uint8_t refused[KITH_MEMBERS_MAX / 8]; /* members that objected in this phase */
    char reason[256];                      /* `why` in words */
};

enum kith_proposer_end {
    KITH_PROPOSER_RUNNING = 0,
    KITH_PROPOSER_DECIDED, /* `table` is decided, `own` says whether it is the wanted one */
    KITH_PROPOSER_FAILED,  /* err, message */
};

/* What to do after a call, in this order. */
struct kith_proposer_out {
    bool send; /* send `msg` to every member of last(), the own node's acceptor included; */
    struct kith_decide msg;     /* a DECIDED to every member of the decided table as well */
    enum kith_proposer_end end; /* once it is not RUNNING the proposer is idle again */
    struct kith_bytes table;    /* DECIDED: encoded */
    bool own;
    /* FAILED: EREFUSED (objections; nothing happened), EUNREACH (not enough answered in time;
     * nothing happened), EBUSY (another change is being decided), EUNKNOWN (no majority answered in
     * time, and the wanted table may yet be decided), ESTALE (a later table is known) */
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

/* Proposes `next` (encoded, copied; no change; empty = the unchanged table) as the table after
 * `last` (held); finishes what was started. Ends by deadline_ms. EBUSY while one runs; EINVAL where
 * next may not follow last or self is no member of it; ENOMEM. `random`: 64 fresh bits, here and
 * below. */
KITH_MUST_CHECK enum kith_err kith_proposer_start(struct kith_proposer *proposer,
                                                  struct kith_table *last, struct kith_bytes next,
                                                  uint64_t now_ms, uint64_t deadline_ms,
                                                  uint64_t random,
                                                  struct kith_proposer_out *ret_out);
/* The same for a change: see CHANGES. It fails only before anything was promised, at the deadline
 * or when a later table is known; else it ends DECIDED, and where the table is not the wanted one
 * `why` and `reason` say for what the change was given up. */
KITH_MUST_CHECK enum kith_err kith_proposer_start_change(struct kith_proposer *proposer,
                                                         struct kith_table *last,
                                                         struct kith_bytes next, uint64_t now_ms,
                                                         uint64_t deadline_ms, uint64_t random,
                                                         struct kith_proposer_out *ret_out);
/* An OPINION, PROMISE or ACCEPTED from member `from`. What is old, foreign or malformed changes
 * nothing. ENOMEM. */
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
