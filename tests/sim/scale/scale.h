/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * scale.h - many node cores in one process, without rows: what membership costs and how fast it is.
 *
 *     scale.c     what is measured
 *     world.c     network, nodes, their small records
 *     balance.c   the partition table alone
 *
 * The cores are the real ones, and messages go through the real codec; the network loses what it is
 * told to lose and delays the rest by 50 to 500 us, the disk keeps the small records only and takes
 * 1 ms. Deterministic for a seed. */
#ifndef KITH_SIM_SCALE_H
#define KITH_SIM_SCALE_H

#include "core/internal.h"
#include "data/balance.h"
#include "wire/wire.h"

#define SCALE_MAX        1000u
#define SCALE_PARTITIONS 1024u /* the default */
#define SCALE_REPLICAS   3u

struct scale_node {
    struct kith_node *core; /* NULL while it is away */
    struct kith_uuid uuid;
    bool silent;      /* away without power: whoever talks to it hears nothing at all */
    bool faulty;      /* what is said against it is no mistake */
    uint32_t port;    /* of its address */
    uint64_t held_us; /* frozen until then */
    uint64_t start, tick_us;
    uint32_t *links; /* of the connections that it opened, by number */
    uint32_t link_count, link_capacity;
    struct kith_buf meta[KITH_META_KEYS];
    uint64_t bytes; /* of membership, sent */
};

struct scale_link {
    uint32_t end[2]; /* who opened it; to whom */
    uint64_t conn;   /* the opener's number; the other's is that of the link + 1 */
    uint64_t start[2];
    uint32_t port;
    bool open, over;
};

struct scale_event {
    uint64_t at_us, number;
    enum { SCALE_TICK, SCALE_CONNECT, SCALE_MESSAGE, SCALE_CLOSED, SCALE_STORED } kind;
    uint32_t node, link, side;
    uint64_t start, id;
    bool sums; /* STORED: were asked for */
    uint8_t *bytes;
    size_t size;
};

struct scale {
    uint32_t count, loss; /* messages lost, per mille */
    bool split;           /* the first half and the second hear nothing of each other */
    uint64_t random, now_us, number;
    struct scale_node nodes[SCALE_MAX];
    uint32_t event_count, event_capacity;
    struct scale_event *events;
    uint32_t link_count, link_capacity;
    struct scale_link *links;
    uint64_t bytes, messages, other_bytes; /* of membership, of everything else */
    uint64_t downs; /* how often a node held one for down that is not faulty */
};

/* One of the world's members: weights 1, 2 and 4, three zones, each with all weights. */
struct kith_member scale_member(uint32_t index);
/* `count` nodes, all but the last one with a table of those on their disks; they start within a
 * second. The last one has an empty disk. */
void scale_init(struct scale *scale, uint32_t count, uint32_t loss, uint64_t seed);
void scale_release(struct scale *scale);
void scale_run(struct scale *scale, uint64_t ms);
/* `join`: through that node; or SCALE_MAX. */
void scale_start(struct scale *scale, uint32_t node, uint32_t join);
/* `power`: nobody is told, connections stay as they are; else they end. */
void scale_stop(struct scale *scale, uint32_t node, bool power);
/* What `node` has of the other; NULL: nothing. `node` is up. */
const struct peer *scale_peer(const struct scale *scale, uint32_t node, uint32_t of);
/* Gives the node a newer table, as if it had been decided. */
void scale_decide(struct scale *scale, uint32_t node, const struct kith_table *table);
uint32_t scale_below(struct scale *scale, uint32_t bound);

/* Prints the table of balance.c. False: a change moved more than it had to. */
bool scale_balance(void);

#endif
