/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * quorum.c - see quorum.h. */
#include "data/quorum.h"

#include <string.h>

static void add(struct kith_quorum *quorum, uint32_t owners, uint32_t need)
{
    quorum->sets[quorum->set_count].owners = owners;
    quorum->sets[quorum->set_count].need = need;
    quorum->set_count++;
}

static uint32_t count_of(uint32_t owners)
{
    return (uint32_t)__builtin_popcount(owners);
}

static uint32_t majority_of(uint32_t owners)
{
    return count_of(owners) / 2 + 1;
}

/* Those among whom a majority is sought: the owners, or the next ones. */
struct side {
    const struct kith_table *table;
    const uint16_t *holders; /* of the partition */
    uint32_t count;
    uint32_t mask; /* of them */
    bool next;
    bool meets; /* enough to meet a majority will do */
};

static const char *zone_of(const struct side *side, uint32_t i)
{
    uint16_t member = side->holders[i];
    return side->next ? side->table->after[member].zone : side->table->members[member].zone;
}

static uint32_t in_zone(const struct side *side, const char *zone)
{
    uint32_t mask = 0;
    for (uint32_t i = 0; i < side->count; i++) {
        bool there = (side->mask >> i & 1u) != 0 && strcmp(zone_of(side, i), zone) == 0;
        mask |= there ? 1u << i : 0;
    }
    return mask;
}

static uint32_t most_of(const struct side *side, uint32_t owners)
{
    return side->meets ? count_of(owners) - majority_of(owners) + 1 : majority_of(owners);
}

static void side_add(struct kith_quorum *quorum, const struct side *side, enum kith_level level,
                     const char *zone, bool write)
{
    uint32_t all = side->mask;
    uint32_t near = level == KITH_LEVEL_LOCAL_QUORUM ? in_zone(side, zone) : 0;
    if (level == KITH_LEVEL_ONE) {
        add(quorum, all, 1);
    } else if (level == KITH_LEVEL_ALL) {
        add(quorum, all, count_of(all));
    } else if (near != 0 && near != all) {
        add(quorum, near, most_of(side, near));
        if (write && majority_of(near) < 2) {
            add(quorum, all, 2);
        }
    } else if (level == KITH_LEVEL_EACH_QUORUM) {
        uint32_t seen = 0;
        for (uint32_t i = 0; i < side->count; i++) {
            uint32_t there = (all >> i & 1u) != 0 ? in_zone(side, zone_of(side, i)) : 0;
            if (there != 0 && (seen & there) == 0) {
                add(quorum, there, most_of(side, there));
                seen |= there;
            }
        }
    } else {
        add(quorum, all, most_of(side, all));
    }
}

/* The sides of the partition's holders, which are written to `holders`. */
static struct side side_now(const struct kith_table *table, uint32_t partition,
                            uint16_t holders[KITH_HOLDERS_MAX])
{
    return (struct side){.table = table,
                         .holders = holders,
                         .count = kith_table_holders(table, partition, holders),
                         .mask = (1u << table->owner_slots) - 1u};
}

static struct side side_next(const struct side *now, uint32_t partition)
{
    struct side side = *now;
    const uint16_t *next = kith_table_next_owners(now->table, partition);
    side.next = true;
    side.mask = 0;
    for (uint32_t i = 0; i < side.count; i++) {
        for (uint32_t k = 0; k < side.table->next_slots; k++) {
            side.mask |= next[k] == side.holders[i] ? 1u << i : 0;
        }
    }
    return side;
}

void kith_quorum_make_owners(const struct kith_table *table, uint32_t partition,
                             enum kith_level level, const char *zone, bool write,
                             struct kith_quorum *ret_quorum)
{
    uint16_t holders[KITH_HOLDERS_MAX];
    struct side now = side_now(table, partition, holders);
    memset(ret_quorum, 0, sizeof *ret_quorum);
    side_add(ret_quorum, &now, level, zone, write);
}

void kith_quorum_make(const struct kith_table *table, uint32_t partition, enum kith_level level,
                      const char *zone, bool write, struct kith_quorum *ret_quorum)
{
    uint16_t holders[KITH_HOLDERS_MAX];
    struct side now = side_now(table, partition, holders);
    memset(ret_quorum, 0, sizeof *ret_quorum);
    side_add(ret_quorum, &now, level, zone, write);
    if (!kith_table_is_joint(table) || (level == KITH_LEVEL_ONE && !write)) {
        return;
    }
    struct side next = side_next(&now, partition);
    next.meets = !write;
    bool by_zone = level == KITH_LEVEL_LOCAL_QUORUM || level == KITH_LEVEL_EACH_QUORUM;
    if (next.mask != now.mask || by_zone) { /* else it stays where it is; a zone may change */
        side_add(ret_quorum, &next, level, zone, write);
    }
}

uint32_t kith_quorum_helps(const struct kith_quorum *quorum, uint32_t have, uint32_t among)
{
    uint32_t best = 0, best_sets = 0;
    for (uint32_t owner = 1; owner != 0 && owner < 1u << 31; owner <<= 1) {
        uint32_t sets = 0, beyond = 0;
        for (uint32_t s = 0; s < quorum->set_count; s++) {
            uint32_t owners = quorum->sets[s].owners;
            bool lacks = count_of(owners & have) < quorum->sets[s].need;
            sets += lacks && (owners & owner & among & ~have) != 0 ? 1 : 0;
            beyond |= owners;
        }
        if (sets > best_sets) {
            best = 0;
            best_sets = sets;
        }
        best |= sets > 0 && sets == best_sets ? owner : 0;
        if (owner > beyond) {
            break;
        }
    }
    return best;
}

/* One after the other, each the one that helps most: least for sets that lie apart or in each
 * other; of sets that overlap in another way it may be one too many. */
uint32_t kith_quorum_lacks(const struct kith_quorum *quorum, uint32_t have)
{
    if (quorum->set_count == 1) {
        uint32_t there = count_of(have & quorum->sets[0].owners);
        return there < quorum->sets[0].need ? quorum->sets[0].need - there : 0;
    }
    uint32_t count = 0;
    for (uint32_t helps = kith_quorum_helps(quorum, have, UINT32_MAX); helps != 0;
         helps = kith_quorum_helps(quorum, have, UINT32_MAX)) {
        have |= helps & (~helps + 1u);
        count++;
    }
    return count;
}

static const char *const texts[KITH_LEVELS] = {"quorum", "one", "all", "local-quorum",
                                               "each-quorum"};

enum kith_err kith_level_parse(const char *text, enum kith_level *ret_level)
{
    for (uint32_t i = 0; i < KITH_LEVELS; i++) {
        if (strcmp(text, texts[i]) == 0) {
            *ret_level = (enum kith_level)i;
            return KITH_OK;
        }
    }
    return KITH_EINVAL;
}

const char *kith_level_text(enum kith_level level)
{
    return (uint32_t)level < KITH_LEVELS ? texts[level] : "?";
}
