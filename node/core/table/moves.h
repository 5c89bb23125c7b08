/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * moves.h - how data gets to other owners: a joint table is carried out (moves.c), and what is left
 * behind goes (leftovers.c). Part of internal.h. One thread. */
#ifndef KITH_CORE_MOVES_H
#define KITH_CORE_MOVES_H

#include "core/store.h"
#include "wire/msg.h"

struct kith_node;
struct pending;
struct conn;

/* ---- What a joint table moves: moves.c ---- */

struct moves {
    bool counted;  /* `gained` is known */
    bool synced;   /* all of that is here, and on disk */
    bool marking;  /* the record that says so is on its way to the disk */
    bool drained;  /* nothing is kept for others, as the list said last */
    uint32_t gained, complete; /* partitions */
    uint64_t bytes; /* that came for them */
    uint64_t settle_ms; /* the end is not proposed before */
    uint64_t turn; /* of tables; from here on another table changes nothing */
    uint64_t due_ms;
};

/* ---- What is left of partitions that this node does not own: leftovers.c ---- */

#define KITH_GUESTS 4u

enum leftover_phase { LEFT_IDLE, LEFT_LOOK_ROWS, LEFT_LOOK_CHUNKS, LEFT_OFFER, LEFT_DROP_ROWS,
                      LEFT_DROP_CHUNKS };

struct guest { /* a former owner of a partition of ours; asked_ms 0: none */
    uint32_t partition;
    uint16_t peer;
    bool flushing, flushed; /* all that he has is here, and on disk */
    bool told;              /* and he knows it, or will ask again */
    uint64_t asked_ms;      /* by him, last */
};

struct leftovers {
    enum leftover_phase phase;
    uint32_t partition; /* at work */
    uint32_t next;      /* to look at */
    bool found;         /* something that is to be looked at soon again, since partition 0 */
    bool again;         /* at once, after the last partition: an owner has come up meanwhile */
    uint32_t taken;     /* bit i: the owner in slot i has it all, */
    uint32_t refused;   /* or takes none of it */
    uint64_t pending;   /* of the operation that is out; 0: none is */
    uint64_t offered_ms, due_ms;
    uint64_t guests_ms; /* when guests are looked at next */
    uint64_t dropped;
    uint32_t waiting;   /* partitions that all owners have but those that are down; */
    uint8_t waits[KITH_PARTITIONS_MAX / 8]; /* bit p: it is one of these; */
    uint64_t anew_ms;   /* and when that is forgotten */
    struct guest guests[KITH_GUESTS];
};

/* ---- moves.c: a joint table is carried out ---- */

/* From the record of the last run of the daemon; empty: none. */
void moves_load(struct kith_node *node, struct kith_bytes record);
void moves_table_changed(struct kith_node *node);
/* Whether nothing is kept for others that counts as a copy, as was seen just now. */
void moves_hints(struct kith_node *node, bool none);
/* Whether what the owners of the partition had was compared with ours to the end, in these classes
 * (bits by enum exchange_class), so that nothing is missing here that enough of them had
 * acknowledged before. Its pairs begin with `first`. */
bool moves_compared(const struct kith_node *node, uint32_t partition, uint32_t first,
                    uint32_t classes);
/* Whether this node has done its part. */
bool moves_done(const struct kith_node *node);
/* Whether all have, as far as this node has heard. */
bool moves_complete(const struct kith_node *node);
void moves_heard(struct kith_node *node, uint16_t peer, const struct kith_ping *ping);
void moves_tick(struct kith_node *node);
uint64_t moves_due(const struct kith_node *node);

/* ---- leftovers.c: what is left of partitions that are others' ---- */

void leftovers_table_changed(struct kith_node *node);
void leftovers_stored(struct kith_node *node, struct pending *pending,
                      const struct kith_store_done *done);
/* Whether owners may ask for what is here of the partition. */
bool leftovers_open(const struct kith_node *node, const struct kith_table_id *named,
                    uint32_t partition);
void leftovers_taken(struct kith_node *node, uint16_t peer, const struct kith_offer_res *res);
/* Requests may go to the peer, and could not before. */
void leftovers_peer_up(struct kith_node *node, uint16_t peer);
/* What is here is looked through again: it has to be known which partitions are empty (aged.h). */
void leftovers_aged(struct kith_node *node);
/* The owner's side. The peer has rows of the partition that were perhaps deleted; where he is to
 * own it, they are looked at here. */
void leftovers_next_owner(struct kith_node *node, uint32_t partition, uint16_t peer);
void offer_req(struct kith_node *node, struct conn *conn, const struct kith_msg *msg);
void leftovers_tick(struct kith_node *node);
uint64_t leftovers_due(const struct kith_node *node);

#endif
