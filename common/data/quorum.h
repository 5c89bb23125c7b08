/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * quorum.h - which owners are enough.
 *
 * A level says how many of a partition's owners a read or a write wants, and where they are. It
 * becomes a few sets of owners, and how many of each: a request is done when all of that is met.
 * Owners are numbered as the table has them, and a set of them is a mask: bit i is owner i. While
 * data moves all that is wanted of the next owners as well, and bit i is the holder i
 * (kith_table_holders, which has the owners first): of a write, so that they have it when they are
 * the owners; of a read, so that it meets one of those who know of it when they already are. Who
 * goes on asking the owners of before alone, cut off with them, would miss what the others have
 * acknowledged since.
 *
 * Pure values; any thread. DESIGN section 5. Checked by tests/unit/test_quorum.c. */
#ifndef KITH_DATA_QUORUM_H
#define KITH_DATA_QUORUM_H

#include "data/table.h"

/* Numbers on the wire: add at the end. */
enum kith_level {
    KITH_LEVEL_QUORUM = 0, /* a majority of all owners: the default, R + W > N */
    KITH_LEVEL_ONE,
    KITH_LEVEL_ALL,
    KITH_LEVEL_LOCAL_QUORUM, /* a majority of those in the caller's zone */
    KITH_LEVEL_EACH_QUORUM,  /* a majority of those in every zone that has some */
    KITH_LEVELS
};

#define KITH_QUORUM_SETS (2u * (KITH_REPLICAS_MAX + 1u))

struct kith_quorum {
    uint32_t set_count;
    struct {
        uint32_t owners; /* these, */
        uint32_t need;   /* and of them so many; there are as many */
    } sets[KITH_QUORUM_SETS];
};

/* What `level` asks of the owners of `partition`, and, while it moves, of the next ones: for a write
 * the same, for a read so many that one of them is among those of every write that the next ones
 * alone have taken (of ONE nobody: its reads meet nobody for sure). `zone`: the caller's; where none of them
 * is there, LOCAL_QUORUM is QUORUM. `write`: what LOCAL_QUORUM writes is at two owners at least,
 * wherever the second is, for a zone may have one alone, whose disk may fail. */
void kith_quorum_make(const struct kith_table *table, uint32_t partition, enum kith_level level,
                      const char *zone, bool write, struct kith_quorum *ret_quorum);
/* The same of the owners alone, whoever comes next. */
void kith_quorum_make_owners(const struct kith_table *table, uint32_t partition,
                             enum kith_level level, const char *zone, bool write,
                             struct kith_quorum *ret_quorum);

/* How many more are needed at least beside those of `have`; 0: they are enough. */
uint32_t kith_quorum_lacks(const struct kith_quorum *quorum, uint32_t have);
static inline bool kith_quorum_met(const struct kith_quorum *quorum, uint32_t have)
{
    return kith_quorum_lacks(quorum, have) == 0;
}
/* Those of `among`, and not of `have`, that help most towards it; none where it is met, or none of
 * them helps. */
uint32_t kith_quorum_helps(const struct kith_quorum *quorum, uint32_t have, uint32_t among);

/* "one", "quorum", "local-quorum", "each-quorum", "all"; EINVAL for other words. */
KITH_MUST_CHECK enum kith_err kith_level_parse(const char *text, enum kith_level *ret_level);
const char *kith_level_text(enum kith_level level);

#endif
