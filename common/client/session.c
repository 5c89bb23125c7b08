/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * session.c - the clocks that answers must cover: what this client wrote, and what it read.
 *
 * One mount always reads its own writes and never goes back in time (invariant 9). With R + W > N a
 * quorum read covers each quorum write by itself; the session guards what that does not: writes
 * that a stand-in took (sloppy quorum), reads of a state that only a minority has, and level ONE.
 * An entry is open until a read has seen the state on a majority of the owners.
 *
 * SETTLED. A read that began before may have its answers already, from a majority that was behind
 * then. So an entry that is settled still binds the requests that were submitted up to that moment.
 *
 * PAST. When the last of them has ended, it binds degraded answers alone: those of fewer owners than
 * meet a majority, when the rest cannot be reached. What is read from a majority at once begins here.
 * Of the rows that were read or written last there are KITH_SESSION_ROWS_MAX; past ones go first.
 *
 * LOST FOR GOOD. What was read from a minority may be destroyed (a power loss before its flush),
 * and then no answer can ever cover the entry. When all who may have it (owners, and those who
 * stand in for them) have answered a read at least twice, the first time in the first half of its
 * time, and none has it, that read ends in EIO at its
 * deadline and the entry goes: the loss is told once, in words, and the row can be read again as it
 * is. Until then a state may still be on its way. A round of answers says something only of an
 * entry that is as it was when the round was asked: one that a put of this mount has raised
 * meanwhile wants a state that the owners had not when they answered. So every change of an entry's
 * clock has a number, and the rounds that are counted together are all held against the same one.
 * Nor do they say anything for a while after a change of tables (CC_MOVED_MS): what was read from a
 * former owner, who was cut off from the others, is on its way from there.
 *
 * WHAT IS GONE. The owners forget what was deleted longer ago than a day (node/core/collect/reap.h), and
 * the row begins anew. So an entry has two clocks: one that answers must cover; and one of states
 * in which there was nothing, which they need not cover, but nothing that it covers may be there in
 * an answer that does not. And of contents that were seen an entry goes after half a day: who asked
 * later was told of the deletion.
 *
 * KEPT ROWS. A write that stand-ins took is where no read quorum looks until it has been handed
 * over. So the row is kept whole until W owners have it (the same reads that settle the entry), and
 * is merged into every answer meanwhile; a row that a page lacks is put into it.
 *
 * Two hash tables with chains: rows by (group, name), groups by group; a scan must know of rows
 * that its pages lack, so each group has the list of its rows. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "client/core.h"

#define BUCKETS 65536u /* about one row each at the limit; 1 MiB for both tables */

/* A clock whose memory is its own: it grows. Nearly all have one entry or two: those are in place. */
#define CLOCK_FEW 2u
struct own_clock {
    uint32_t count;
    struct kith_clock_entry few[CLOCK_FEW];
    struct kith_clock_entry *many; /* where there are more */
};

struct cc_session_entry {
    struct cc_session_entry *chain;
    struct cc_session_entry *older, *newer;
    struct cc_session_entry *group_prev, *group_next;
    struct cc_session_group *group;
    uint64_t hash;
    enum cc_session_age age;
    uint64_t settled;  /* CC_SESSION_SETTLED: binds requests up to this one only */
    uint64_t change;   /* the number of the last change of the clock */
    uint64_t noted_ms; /* the last time; the lists of open and of past ones go by it */
    uint32_t name_size;
    struct own_clock seen, gone;
    uint8_t *kept;                  /* an encoded row; NULL: none */
    size_t kept_size;
    uint8_t name[];
};

struct cc_session_group {
    struct cc_session_group *chain;
    struct kith_group group;
    struct cc_session_entry *entries[2]; /* those that bind any request; past ones */
};

enum kith_err cc_session_init(struct cc_session *session)
{
    session->bucket_count = BUCKETS;
    session->rows = kith_calloc(BUCKETS, sizeof(struct cc_session_entry *));
    session->groups = kith_calloc(BUCKETS, sizeof(struct cc_session_group *));
    return session->rows == NULL || session->groups == NULL ? KITH_ENOMEM : KITH_OK;
}

static uint64_t mix(uint64_t hash, const uint8_t *data, size_t size)
{
    /* FNV-1a (Fowler, Noll, Vo), folded at the end by the caller */
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

static uint64_t group_hash(const struct kith_group *group)
{
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), group->bytes, sizeof(group->bytes));
    return hash ^ (hash >> 32);
}

static uint64_t row_hash(const struct kith_group *group, struct kith_bytes name)
{
    uint64_t hash = mix(group_hash(group), name.data, name.size);
    return hash ^ (hash >> 32);
}

static struct cc_session_group **group_at(const struct cc_session *session,
                                          const struct kith_group *group)
{
    struct cc_session_group **at =
        &session->groups[group_hash(group) & (session->bucket_count - 1)];
    while (*at != NULL && kith_group_compare(&(*at)->group, group) != 0) {
        at = &(*at)->chain;
    }
    return at;
}

static struct kith_bytes entry_name(const struct cc_session_entry *entry)
{
    return kith_bytes_make(entry->name, entry->name_size);
}

static struct cc_session_entry **entry_at(const struct cc_session *session,
                                          const struct kith_group *group, struct kith_bytes name,
                                          uint64_t hash)
{
    struct cc_session_entry **at = &session->rows[hash & (session->bucket_count - 1)];
    while (*at != NULL && ((*at)->hash != hash || !kith_bytes_equal(entry_name(*at), name) ||
                           kith_group_compare(&(*at)->group->group, group) != 0)) {
        at = &(*at)->chain;
    }
    return at;
}

static struct cc_session_entry **group_first(const struct cc_session_entry *entry)
{
    return &entry->group->entries[entry->age == CC_SESSION_PAST ? 1 : 0];
}

static void lists_unlink(struct cc_session *session, struct cc_session_entry *entry)
{
    struct cc_session_list *list = &session->lists[entry->age];
    *(entry->older != NULL ? &entry->older->newer : &list->oldest) = entry->newer;
    *(entry->newer != NULL ? &entry->newer->older : &list->newest) = entry->older;
    *(entry->group_prev != NULL ? &entry->group_prev->group_next : group_first(entry)) =
        entry->group_next;
    if (entry->group_next != NULL) {
        entry->group_next->group_prev = entry->group_prev;
    }
}

/* As the newest. */
static void lists_link(struct cc_session *session, struct cc_session_entry *entry,
                       enum cc_session_age age)
{
    struct cc_session_list *list = &session->lists[age];
    entry->age = age;
    entry->noted_ms = session->now_ms;
    entry->older = list->newest;
    entry->newer = NULL;
    *(list->newest != NULL ? &list->newest->newer : &list->oldest) = entry;
    list->newest = entry;
    struct cc_session_entry **first = group_first(entry);
    entry->group_prev = NULL;
    entry->group_next = *first;
    if (*first != NULL) {
        (*first)->group_prev = entry;
    }
    *first = entry;
}

static void lists_move(struct cc_session *session, struct cc_session_entry *entry,
                       enum cc_session_age age)
{
    lists_unlink(session, entry);
    lists_link(session, entry, age);
}

static void kept_drop(struct cc_session *session, struct cc_session_entry *entry)
{
    session->kept_bytes -= entry->kept_size;
    kith_free(entry->kept);
    entry->kept = NULL;
    entry->kept_size = 0;
}

static void entry_drop(struct cc_session *session, struct cc_session_entry *entry)
{
    struct cc_session_group *group = entry->group;
    struct cc_session_entry **at =
        entry_at(session, &group->group, entry_name(entry), entry->hash);
    *at = entry->chain;
    lists_unlink(session, entry);
    if (group->entries[0] == NULL && group->entries[1] == NULL) {
        struct cc_session_group **group_slot = group_at(session, &group->group);
        KITH_ASSERT(*group_slot == group);
        *group_slot = group->chain;
        kith_free(group);
    }
    kept_drop(session, entry);
    kith_free(entry->seen.many);
    kith_free(entry->gone.many);
    kith_free(entry);
    session->count--;
}

void cc_session_release(struct cc_session *session)
{
    for (uint32_t age = 0; age < CC_SESSION_AGES; age++) {
        while (session->lists[age].oldest != NULL) {
            entry_drop(session, session->lists[age].oldest);
        }
    }
    kith_free(session->rows);
    kith_free(session->groups);
}

static struct cc_session_group *group_make(struct cc_session *session,
                                           const struct kith_group *group)
{
    struct cc_session_group **at = group_at(session, group);
    if (*at == NULL) {
        *at = kith_calloc(1, sizeof(**at));
        if (*at != NULL) {
            (*at)->group = *group;
        }
    }
    return *at;
}

/* Borrowed from it. */
static struct kith_clock clock_of(struct own_clock *own)
{
    struct kith_clock clock = {own->count, own->many != NULL ? own->many : own->few};
    return clock;
}

static bool covers(const struct kith_clock *a, const struct kith_clock *b)
{
    enum kith_clock_order order = kith_clock_compare(a, b);
    return order == KITH_CLOCK_EQUAL || order == KITH_CLOCK_AFTER;
}

static void own_clear(struct own_clock *own)
{
    kith_free(own->many);
    own->many = NULL;
    own->count = 0;
}

/* It becomes the join of what it was and `clock`. */
static bool own_join(struct own_clock *own, const struct kith_clock *clock)
{
    struct kith_clock old = clock_of(own);
    if (covers(&old, clock)) {
        return true;
    }
    struct kith_arena arena;
    kith_arena_init(&arena, 0);
    struct kith_clock joined = *clock;
    bool ok = covers(clock, &old) || kith_clock_join(&arena, &old, clock, &joined) == KITH_OK;
    struct kith_clock_entry *many = own->many;
    if (ok && joined.count > CLOCK_FEW) {
        many = kith_realloc(own->many, joined.count * sizeof(*many));
        ok = many != NULL;
    }
    if (ok) {
        own->many = many;
        own->count = joined.count;
        memcpy(many != NULL ? many : own->few, joined.entries, joined.count * sizeof(*many));
    }
    kith_arena_release(&arena);
    return ok;
}

static struct cc_session_entry *entry_make(struct cc_session *session,
                                           const struct kith_group *group, struct kith_bytes name,
                                           uint64_t hash, enum cc_session_age age)
{
    struct cc_session_entry *entry = kith_calloc(1, sizeof(*entry) + name.size);
    struct cc_session_group *in = entry != NULL ? group_make(session, group) : NULL;
    if (in == NULL) {
        kith_free(entry);
        return NULL;
    }
    entry->hash = hash;
    entry->name_size = (uint32_t)name.size;
    if (name.size > 0) {
        memcpy(entry->name, name.data, name.size);
    }
    entry->group = in;
    entry->chain = session->rows[hash & (session->bucket_count - 1)];
    session->rows[hash & (session->bucket_count - 1)] = entry;
    lists_link(session, entry, age);
    session->count++;
    return entry;
}

/* One clock takes it up; what it covers of the other one is known by it. */
static bool entry_join(struct cc_session *session, struct cc_session_entry *entry,
                       const struct kith_clock *clock, bool gone)
{
    struct own_clock *to = gone ? &entry->gone : &entry->seen;
    struct own_clock *other = gone ? &entry->seen : &entry->gone;
    struct kith_clock before = clock_of(to), rest = clock_of(other);
    bool news = !covers(&before, clock) || (gone && rest.count > 0);
    if (!own_join(to, clock)) {
        return false;
    }
    if (other->count > 0 && covers(clock, &rest)) {
        own_clear(other);
    }
    entry->change = news ? ++session->changes : entry->change;
    return true;
}

static bool entry_note(struct cc_session *session, struct cc_session_entry *entry,
                       const struct kith_clock *clock, bool gone)
{
    if (entry == NULL || !entry_join(session, entry, clock, gone)) {
        return false;
    }
    if (session->count > KITH_SESSION_ROWS_MAX) {
        const struct cc_session_list *lists = session->lists;
        entry_drop(session, lists[CC_SESSION_PAST].oldest != NULL ? lists[CC_SESSION_PAST].oldest
                            : lists[CC_SESSION_SETTLED].oldest != NULL
                                ? lists[CC_SESSION_SETTLED].oldest
                                : lists[CC_SESSION_OPEN].oldest);
    }
    return true;
}

bool cc_session_note(struct cc_session *session, const struct kith_group *group,
                     struct kith_bytes name, const struct kith_clock *clock, bool gone)
{
    if (clock->count == 0) {
        return true;
    }
    uint64_t hash = row_hash(group, name);
    struct cc_session_entry *entry = *entry_at(session, group, name, hash);
    if (entry != NULL) {
        lists_move(session, entry, CC_SESSION_OPEN);
    } else {
        entry = entry_make(session, group, name, hash, CC_SESSION_OPEN);
    }
    return entry_note(session, entry, clock, gone);
}

bool cc_session_settle(struct cc_session *session, const struct kith_group *group,
                       struct kith_bytes name, const struct kith_clock *clock, bool gone,
                       uint64_t order)
{
    uint64_t hash = row_hash(group, name);
    struct cc_session_entry *entry = *entry_at(session, group, name, hash);
    if (entry == NULL) {
        return clock->count == 0 ||
               entry_note(session, entry_make(session, group, name, hash, CC_SESSION_PAST), clock,
                          gone);
    }
    if (entry->age == CC_SESSION_OPEN) {
        entry->settled = order;
        lists_move(session, entry, CC_SESSION_SETTLED);
    } else if (entry->age == CC_SESSION_PAST) {
        lists_move(session, entry, CC_SESSION_PAST);
    }
    return clock->count == 0 || entry_join(session, entry, clock, gone);
}

void cc_session_sweep(struct cc_session *session, uint64_t order)
{
    const struct cc_session_list *settled = &session->lists[CC_SESSION_SETTLED];
    while (settled->oldest != NULL && settled->oldest->settled < order) {
        struct cc_session_entry *entry = settled->oldest;
        kept_drop(session, entry);
        lists_move(session, entry, CC_SESSION_PAST);
    }
}

static void forget(struct cc_session *session, enum cc_session_age age, uint64_t keep_ms)
{
    const struct cc_session_list *list = &session->lists[age];
    while (list->oldest != NULL && session->now_ms - list->oldest->noted_ms >= keep_ms) {
        entry_drop(session, list->oldest);
    }
}

void cc_session_forget(struct cc_session *session, uint64_t now_ms, uint64_t keep_ms)
{
    session->now_ms = now_ms;
    forget(session, CC_SESSION_OPEN, keep_ms);
    forget(session, CC_SESSION_PAST, keep_ms);
}

void cc_session_drop(struct cc_session *session, const struct kith_group *group,
                     struct kith_bytes name)
{
    struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    if (entry != NULL) {
        entry_drop(session, entry);
    }
}

/* CC_SESSION_ANY is before all that was ever settled. */
static bool binds(const struct cc_session_entry *entry, uint64_t order)
{
    return entry->age == CC_SESSION_OPEN || order == CC_SESSION_ANY ||
           (entry->age == CC_SESSION_SETTLED && order <= entry->settled);
}

bool cc_session_read(struct kith_client_core *core, const struct cc_op *op,
                     const struct kith_group *group, struct kith_bytes name,
                     const struct kith_row *row, uint32_t holders)
{
    bool gone = kith_row_is_gone(row);
    return cc_settled(core, op, holders)
               ? cc_session_settle(&core->session, group, name, &row->clock, gone, core->order)
               : cc_session_note(&core->session, group, name, &row->clock, gone);
}

bool cc_session_covered(const struct cc_session *session, uint64_t order,
                        const struct kith_group *group, struct kith_bytes name,
                        const struct kith_row *row)
{
    struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    if (entry == NULL || !binds(entry, order)) {
        return true;
    }
    struct kith_clock seen = clock_of(&entry->seen), gone = clock_of(&entry->gone);
    bool good = covers(&row->clock, &seen);
    bool anew = good && !covers(&row->clock, &gone);
    for (uint32_t i = 0; anew && i < row->sibling_count; i++) {
        good = good && !kith_clock_covers(&gone, &row->siblings[i].dot);
    }
    return good;
}

/* Too many bytes: the oldest go, of which then only the clock is known. */
static void kept_bound(struct cc_session *session)
{
    for (struct cc_session_entry *entry = session->lists[CC_SESSION_OPEN].oldest;
         entry != NULL && session->kept_bytes > CC_KEPT_MAX; entry = entry->newer) {
        kept_drop(session, entry);
    }
}

bool cc_session_keep(struct cc_session *session, const struct kith_group *group,
                     struct kith_bytes name, const struct kith_row *state)
{
    struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    if (entry == NULL) {
        return true; /* nothing was noted: a row without a clock */
    }
    struct kith_arena arena;
    struct kith_row old, merged;
    kith_arena_init(&arena, 0);
    enum kith_err err =
        kith_row_decode(&arena, kith_bytes_make(entry->kept, entry->kept_size), &old);
    if (err == KITH_OK) {
        err = kith_row_merge(&arena, &old, state, &merged);
    }
    size_t size = err == KITH_OK ? kith_row_encoded_size(&merged) : 0;
    uint8_t *bytes = size > 0 ? kith_malloc(size) : NULL;
    if (bytes != NULL) {
        (void)kith_row_write(&merged, bytes);
        kept_drop(session, entry);
        entry->kept = bytes;
        entry->kept_size = size;
        session->kept_bytes += size;
        kept_bound(session);
    }
    kith_arena_release(&arena);
    return bytes != NULL;
}

struct kith_bytes cc_session_kept(const struct cc_session *session, uint64_t order,
                                  const struct kith_group *group, struct kith_bytes name)
{
    const struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    bool any = entry != NULL && entry->kept != NULL && binds(entry, order);
    return any ? kith_bytes_make(entry->kept, entry->kept_size) : kith_bytes_make(NULL, 0);
}

bool cc_session_is_gone(const struct cc_session *session, const struct kith_group *group,
                        struct kith_bytes name, const struct kith_dot *dot)
{
    struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    struct kith_clock none = {0, NULL};
    struct kith_clock gone = entry == NULL ? none : clock_of(&entry->gone);
    return kith_clock_covers(&gone, dot);
}

uint64_t cc_session_change(const struct cc_session *session, const struct kith_group *group,
                           struct kith_bytes name)
{
    const struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    return entry == NULL ? 0 : entry->change;
}

bool cc_session_wants(const struct cc_session *session, uint64_t order,
                      const struct kith_group *group, struct kith_bytes name)
{
    const struct cc_session_entry *entry = *entry_at(session, group, name, row_hash(group, name));
    return entry != NULL && entry->seen.count > 0 && binds(entry, order);
}

void cc_session_each(const struct cc_session *session, uint64_t order,
                     const struct kith_group *group, bool has_after, struct kith_bytes after,
                     bool has_last, struct kith_bytes last,
                     bool (*take)(void *arg, struct kith_bytes name), void *arg)
{
    const struct cc_session_group *in = *group_at(session, group);
    for (uint32_t i = 0; in != NULL && i < (order == CC_SESSION_ANY ? 2u : 1u); i++) {
        const struct cc_session_entry *entry = in->entries[i];
        for (; entry != NULL; entry = entry->group_next) {
            struct kith_bytes name = entry_name(entry);
            if (entry->seen.count > 0 && binds(entry, order) &&
                (!has_after || kith_bytes_compare(name, after) > 0) &&
                (!has_last || kith_bytes_compare(name, last) <= 0) && !take(arg, name)) {
                return;
            }
        }
    }
}

static int name_compare(const void *a, const void *b)
{
    return kith_bytes_compare(*(const struct kith_bytes *)a, *(const struct kith_bytes *)b);
}

enum kith_err cc_session_kept_names(const struct cc_session *session, uint64_t order,
                                    const struct kith_group *group, bool has_after,
                                    struct kith_bytes after, struct kith_arena *arena,
                                    struct kith_bytes **ret_names, uint32_t *ret_count)
{
    const struct cc_session_group *in = *group_at(session, group);
    struct kith_bytes *names = NULL;
    uint32_t count = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
        uint32_t at = 0;
        for (const struct cc_session_entry *entry = in == NULL ? NULL : in->entries[0];
             entry != NULL; entry = entry->group_next) {
            struct kith_bytes name = entry_name(entry);
            if (entry->kept == NULL || !binds(entry, order) ||
                (has_after && kith_bytes_compare(name, after) <= 0)) {
                continue;
            }
            if (pass == 1) {
                names[at].size = name.size;
                names[at].data = kith_arena_copy(arena, name.data, name.size);
                if (names[at].data == NULL) {
                    return KITH_ENOMEM;
                }
            }
            at++;
        }
        count = at;
        if (pass == 0 && count > 0) {
            names = kith_arena_calloc(arena, count, sizeof(*names));
        }
        if (count == 0 || names == NULL) {
            break;
        }
    }
    if (count > 0 && names == NULL) {
        return KITH_ENOMEM;
    }
    if (count > 1) {
        qsort(names, count, sizeof(*names), name_compare);
    }
    *ret_names = names;
    *ret_count = count;
    return KITH_OK;
}

static bool count_one(void *arg, struct kith_bytes name)
{
    (void)name;
    ++*(uint32_t *)arg;
    return true;
}

uint32_t cc_session_count(const struct cc_session *session, uint64_t order,
                          const struct kith_group *group, bool has_after, struct kith_bytes after,
                          bool has_last, struct kith_bytes last)
{
    uint32_t count = 0;
    cc_session_each(session, order, group, has_after, after, has_last, last, count_one, &count);
    return count;
}
