/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * table.h - the partition table: which nodes own which partition.
 *
 * The ring is cut into `partitions` equal parts; each has `replicas` distinct owners (all members
 * where there are fewer). The table is ONE document named (epoch, version, hash): version v+1 is
 * computed from v by balance.h and decided by the members of v (node/core/table/decide.h); the highest
 * (epoch, version, hash) wins everywhere. It names members by uuid; where a member listens is not
 * in it (an address is only an attribute, see kith_member_info in wire/msg.h).
 *
 * MOVES. A table that moves data is followed by the one it moves to: it is JOINT. It has the owners
 * of the table before, who answer for the data, and, beside, those that are to own it next; its
 * members are those of both. What is written is written to both (kith_table_holders), so that
 * enough of each have it (kith_table_need). What is read is read from both, too (quorum.h): the
 * owners have it, and one of any majority of the next ones knows when they alone are asked already,
 * which owners that are cut off would not. Once the next owners hold everything (node/core/table/moves.h)
 * the table after that has them as its owners, or, where the move is given up, those of before.
 * table_move.c makes these tables.
 *
 * An immutable value with a reference count: readable from any thread. DESIGN section 4; DeCandia
 * et al. 2007, section 6.2, strategy 3. Checked by tests/unit/test_table.c, invariant 6. */
#ifndef KITH_DATA_TABLE_H
#define KITH_DATA_TABLE_H

#include "data/key.h"

#define KITH_REPLICAS_MAX     7u
#define KITH_REPLICAS_DEFAULT 3u
#define KITH_MEMBERS_MAX      1024u
#define KITH_ZONE_SIZE        32u /* bytes with the NUL */
#define KITH_WEIGHT_MAX       1000000u
#define KITH_NO_MEMBER        0xffffu

struct kith_member {
    struct kith_uuid uuid;
    char zone[KITH_ZONE_SIZE]; /* data centre; "" = the one nameless zone */
    uint32_t weight;           /* share of the data, relative; 1 to KITH_WEIGHT_MAX */
};

/* What a joint table says of a member beside. */
enum {
    KITH_MEMBER_JOINS = 1,  /* it owns nothing yet */
    KITH_MEMBER_LEAVES = 2, /* it is to own nothing; it stands in for nobody */
    KITH_MEMBER_GONE = 4,   /* it leaves and will not be heard of again: nobody waits for it */
};
struct kith_member_next {
    uint8_t flags;
    char zone[KITH_ZONE_SIZE]; /* as they will be */
    uint32_t weight;
};

/* Names a table; compared by epoch, then version, then hash. All zero = no table. */
struct kith_table_id {
    uint64_t epoch;   /* raised only by an operator's --force */
    uint64_t version; /* from 1 */
    struct kith_checksum hash;
};

struct kith_table {
    uint32_t refs; /* atomic */
    struct kith_uuid cluster;
    struct kith_table_id id; /* hash over the encoded document without it */
    uint32_t partitions;     /* a power of two */
    uint32_t replicas;       /* N as asked for */
    uint32_t member_count;
    const struct kith_member *members; /* ascending by uuid */
    uint32_t zones;                    /* distinct ones of the members */
    uint32_t owner_slots;              /* min(replicas, members that do not join) */
    const uint16_t *owners;            /* [partitions][owner_slots] indices into members, ascending
                                          preference: slot 0 is asked first */
    /* joint ones; else 0 and NULL */
    uint32_t next_slots;                  /* min(replicas, members that do not leave) */
    const uint16_t *next;                 /* [partitions][next_slots] */
    const struct kith_member_next *after; /* [member_count] */
};

#define KITH_HOLDERS_MAX (2u * KITH_REPLICAS_MAX)

/* A table over `members` (copied; sorted by uuid) with given owners (copied, [partitions][slots]
 * indices into `members` as given; the table's own follow the sorted order); computes the hash.
 * EINVAL when a member is named twice, an owner is out of range or twice in a partition, weights
 * or sizes are out of bounds. */
KITH_MUST_CHECK enum kith_err kith_table_new(const struct kith_uuid *cluster, uint64_t epoch,
                                             uint64_t version, uint32_t partitions,
                                             uint32_t replicas, const struct kith_member *members,
                                             uint32_t member_count, const uint16_t *owners,
                                             struct kith_table **ret_table);
struct kith_table *kith_table_hold(struct kith_table *table);
void kith_table_drop(struct kith_table *table);

int kith_table_id_compare(const struct kith_table_id *a, const struct kith_table_id *b);

/* The owners of `partition`, owner_slots of them. */
const uint16_t *kith_table_owners(const struct kith_table *table, uint32_t partition);
/* The index of a member, KITH_NO_MEMBER when it is none. */
uint16_t kith_table_find(const struct kith_table *table, const struct kith_uuid *uuid);
bool kith_table_owns(const struct kith_table *table, uint32_t partition, uint16_t member);

static inline bool kith_table_is_joint(const struct kith_table *table)
{
    return table->next_slots > 0;
}
/* The owners of `partition` to be, next_slots of them; joint tables only. */
const uint16_t *kith_table_next_owners(const struct kith_table *table, uint32_t partition);
/* Who takes what is written to `partition`, and is asked by reads: its owners in their order, then
 * those that are to own it. Returns how many. */
uint32_t kith_table_holders(const struct kith_table *table, uint32_t partition,
                            uint16_t ret_members[KITH_HOLDERS_MAX]);
bool kith_table_holds(const struct kith_table *table, uint32_t partition, uint16_t member);
/* How many holders must have a write so that, whoever they are, w of the owners have it, and w of
 * the next ones; w = 0: a majority of each; more than there are: all. */
uint32_t kith_table_need(const struct kith_table *table, uint32_t partition, uint32_t w);

/* Who stands in for owners of `partition` that cannot be reached, first choice first: up to `most`
 * of the members that hold it not and do not leave, those in zones without an owner first. The same
 * for everyone with this table, so that a reader asks where a writer went. Returns how many. */
uint32_t kith_table_fallbacks(const struct kith_table *table, uint32_t partition, uint32_t most,
                              uint16_t ret_members[]);

/* ---- Moves: table_move.c ---- */

/* The joint table after `last` (version + 1; where `force`, of the next epoch), which moves its
 * data to `next`: a table of the same partitions and replicas, as kith_balance makes it. `gone`
 * (may be NULL) names members that next has not, and nobody waits for. EINVAL where last is joint,
 * ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_table_move(const struct kith_table *last,
                                              const struct kith_table *next, bool force,
                                              const struct kith_uuid *gone, uint32_t gone_count,
                                              struct kith_table **ret_table);
/* The table after a joint one: with its next owners. EINVAL where it is not joint; ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_table_settle(const struct kith_table *joint,
                                                struct kith_table **ret_table);
/* The same with the owners of before: the move is given up. */
KITH_MUST_CHECK enum kith_err kith_table_revert(const struct kith_table *joint,
                                                struct kith_table **ret_table);
/* `last` under the next version. ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_table_renumber(const struct kith_table *last,
                                                  struct kith_table **ret_table);
/* Whether data stays readable when `next` follows `last`: it has the owners of last, or last is
 * joint and next has the owners that it moves to. */
bool kith_table_follows(const struct kith_table *last, const struct kith_table *next);

/* Canonical bytes, with a checksum at the end. Check buf->failed. */
void kith_table_encode(const struct kith_table *table, struct kith_buf *buf);
/* EFORMAT, ECORRUPT (checksum or hash), EVERSION, ENOMEM. */
KITH_MUST_CHECK enum kith_err kith_table_decode(struct kith_bytes bytes,
                                                struct kith_table **ret_table);

#endif
