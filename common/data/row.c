/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Merge and put. Clocks and siblings are sorted arrays, and so is every result: each function walks
 * its inputs side by side once. Most rows have one to three clock entries and no or one sibling;
 * what is the same as an input is borrowed from it, not copied. */
#include "data/row.h"

#include <string.h>

#include "base/assert.h"

int kith_actor_compare(const struct kith_actor *a, const struct kith_actor *b)
{
    if (a->run != b->run) {
        return a->run < b->run ? -1 : 1;
    }
    return (a->epoch > b->epoch) - (a->epoch < b->epoch);
}

int kith_dot_compare(const struct kith_dot *a, const struct kith_dot *b)
{
    int order = kith_actor_compare(&a->actor, &b->actor);
    return order != 0 ? order : (a->counter > b->counter) - (a->counter < b->counter);
}

bool kith_dot_equal(const struct kith_dot *a, const struct kith_dot *b)
{
    return kith_dot_compare(a, b) == 0;
}

/* ---- Clocks ---- */

uint64_t kith_clock_get(const struct kith_clock *clock, const struct kith_actor *actor)
{
    uint32_t low = 0, high = clock->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = kith_actor_compare(&clock->entries[middle].actor, actor);
        if (order == 0) {
            return clock->entries[middle].counter;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return 0;
}

bool kith_clock_covers(const struct kith_clock *clock, const struct kith_dot *dot)
{
    return dot->counter <= kith_clock_get(clock, &dot->actor);
}

/* What two clocks have to do with each other, and how many actors they name together. */
static enum kith_clock_order compare_clocks(const struct kith_clock *a, const struct kith_clock *b,
                                            uint32_t *ret_union_count)
{
    bool a_more = false, b_more = false;
    uint32_t i = 0, j = 0, count = 0;
    while (i < a->count && j < b->count) {
        const struct kith_clock_entry *x = &a->entries[i], *y = &b->entries[j];
        int order = kith_actor_compare(&x->actor, &y->actor);
        a_more = a_more || order < 0 || (order == 0 && x->counter > y->counter);
        b_more = b_more || order > 0 || (order == 0 && x->counter < y->counter);
        i += order <= 0;
        j += order >= 0;
        count++;
    }
    a_more = a_more || i < a->count;
    b_more = b_more || j < b->count;
    *ret_union_count = count + (a->count - i) + (b->count - j);
    if (a_more) {
        return b_more ? KITH_CLOCK_CONCURRENT : KITH_CLOCK_AFTER;
    }
    return b_more ? KITH_CLOCK_BEFORE : KITH_CLOCK_EQUAL;
}

enum kith_clock_order kith_clock_compare(const struct kith_clock *a, const struct kith_clock *b)
{
    uint32_t count;
    return compare_clocks(a, b, &count);
}

enum kith_err kith_clock_join(struct kith_arena *arena, const struct kith_clock *a,
                              const struct kith_clock *b, struct kith_clock *ret_clock)
{
    uint32_t count;
    enum kith_clock_order order = compare_clocks(a, b, &count);
    if (order != KITH_CLOCK_CONCURRENT) {
        *ret_clock = order == KITH_CLOCK_BEFORE ? *b : *a;
        return KITH_OK;
    }
    if (count > KITH_CLOCK_ENTRIES_MAX) {
        return KITH_ELIMIT;
    }
    struct kith_clock_entry *entries = kith_arena_alloc(arena, count * sizeof *entries);
    if (!entries) {
        return KITH_ENOMEM;
    }
    uint32_t i = 0, j = 0;
    for (uint32_t n = 0; n < count; n++) {
        int side = i == a->count   ? 1
                   : j == b->count ? -1
                                   : kith_actor_compare(&a->entries[i].actor, &b->entries[j].actor);
        entries[n] = side <= 0 ? a->entries[i] : b->entries[j];
        if (side == 0 && b->entries[j].counter > entries[n].counter) {
            entries[n].counter = b->entries[j].counter;
        }
        i += side <= 0;
        j += side >= 0;
    }
    ret_clock->count = count;
    ret_clock->entries = entries;
    return KITH_OK;
}

/* ---- Merge ---- */

/* Walks a clock beside siblings, both ascending: *at is where the last question ended. */
static bool covers_next(const struct kith_clock *clock, uint32_t *at, const struct kith_dot *dot)
{
    while (*at < clock->count && kith_actor_compare(&clock->entries[*at].actor, &dot->actor) < 0) {
        (*at)++;
    }
    return *at < clock->count && kith_actor_compare(&clock->entries[*at].actor, &dot->actor) == 0 &&
           dot->counter <= clock->entries[*at].counter;
}

struct merge_counts {
    uint32_t total;
    uint32_t from_a; /* in the result and in a */
    uint32_t from_b;
};

/* The siblings of the merge into `out`, ascending; only counted where out is NULL. */
static struct merge_counts merge_siblings(const struct kith_row *a, const struct kith_row *b,
                                          struct kith_sibling *out)
{
    struct merge_counts counts = {0, 0, 0};
    uint32_t i = 0, j = 0, at_a = 0, at_b = 0;
    while (i < a->sibling_count || j < b->sibling_count) {
        const struct kith_sibling *x = i < a->sibling_count ? &a->siblings[i] : NULL;
        const struct kith_sibling *y = j < b->sibling_count ? &b->siblings[j] : NULL;
        int side = !x ? 1 : !y ? -1 : kith_dot_compare(&x->dot, &y->dot);
        bool stays = side == 0 || (side < 0 ? !covers_next(&b->clock, &at_b, &x->dot)
                                            : !covers_next(&a->clock, &at_a, &y->dot));
        if (stays) {
            if (out) {
                out[counts.total] = side <= 0 ? *x : *y;
            }
            counts.total++;
            counts.from_a += side <= 0;
            counts.from_b += side >= 0;
        }
        i += side <= 0;
        j += side >= 0;
    }
    return counts;
}

enum kith_err kith_row_merge(struct kith_arena *arena, const struct kith_row *a,
                             const struct kith_row *b, struct kith_row *ret_row)
{
    struct kith_row row;
    enum kith_err err = kith_clock_join(arena, &a->clock, &b->clock, &row.clock);
    if (err != KITH_OK) {
        return err;
    }
    struct merge_counts counts = merge_siblings(a, b, NULL);
    row.sibling_count = counts.total;
    if (counts.total == counts.from_a && counts.total == a->sibling_count) {
        row.siblings = a->siblings;
    } else if (counts.total == counts.from_b && counts.total == b->sibling_count) {
        row.siblings = b->siblings;
    } else if (counts.total > KITH_SIBLINGS_MAX) {
        return KITH_ELIMIT;
    } else {
        struct kith_sibling *siblings = kith_arena_alloc(arena, counts.total * sizeof *siblings);
        if (!siblings) {
            return KITH_ENOMEM;
        }
        (void)merge_siblings(a, b, siblings);
        row.siblings = siblings;
    }
    *ret_row = row;
    return KITH_OK;
}

/* ---- Put ---- */

static bool update_is_sound(const struct kith_row_update *update)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < update->kept_count; i++) {
        if ((i != 0 && kith_dot_compare(&update->kept[i - 1].dot, &update->kept[i].dot) >= 0) ||
            !covers_next(&update->context, &at, &update->kept[i].dot)) {
            return false;
        }
    }
    return !update->has_sibling || update->writer.size <= KITH_WRITER_MAX;
}

/* clock[dot.actor] = dot.counter, in a new array. */
static enum kith_err clock_with(struct kith_arena *arena, const struct kith_clock *clock,
                                const struct kith_dot *dot, struct kith_clock *ret_clock)
{
    uint32_t at = 0;
    while (at < clock->count && kith_actor_compare(&clock->entries[at].actor, &dot->actor) < 0) {
        at++;
    }
    bool known =
        at < clock->count && kith_actor_compare(&clock->entries[at].actor, &dot->actor) == 0;
    KITH_ASSERT(!known || clock->entries[at].counter < dot->counter);
    uint32_t count = clock->count + !known;
    if (count > KITH_CLOCK_ENTRIES_MAX) {
        return KITH_ELIMIT;
    }
    struct kith_clock_entry *entries = kith_arena_alloc(arena, count * sizeof *entries);
    if (!entries) {
        return KITH_ENOMEM;
    }
    uint32_t rest = clock->count - at - known;
    if (at != 0) {
        memcpy(entries, clock->entries, at * sizeof *entries);
    }
    entries[at].actor = dot->actor;
    entries[at].counter = dot->counter;
    if (rest != 0) {
        memcpy(entries + at + 1, clock->entries + at + known, rest * sizeof *entries);
    }
    ret_clock->count = count;
    ret_clock->entries = entries;
    return KITH_OK;
}

/* `row`'s siblings with `fresh`, in a new array. */
static enum kith_err siblings_with(struct kith_arena *arena, const struct kith_sibling *fresh,
                                   struct kith_row *row)
{
    uint32_t count = row->sibling_count + 1;
    if (count > KITH_SIBLINGS_MAX) {
        return KITH_ELIMIT;
    }
    struct kith_sibling *siblings = kith_arena_alloc(arena, count * sizeof *siblings);
    if (!siblings) {
        return KITH_ENOMEM;
    }
    uint32_t at = 0;
    while (at < row->sibling_count && kith_dot_compare(&row->siblings[at].dot, &fresh->dot) < 0) {
        siblings[at] = row->siblings[at];
        at++;
    }
    siblings[at] = *fresh;
    for (uint32_t i = at; i < row->sibling_count; i++) {
        siblings[i + 1] = row->siblings[i];
    }
    row->sibling_count = count;
    row->siblings = siblings;
    return KITH_OK;
}

enum kith_err kith_row_put(struct kith_arena *arena, const struct kith_row *row,
                           const struct kith_row_update *update, const struct kith_dot *dot,
                           uint64_t time, const struct kith_request_id *request,
                           struct kith_row *ret_row)
{
    if (!update_is_sound(update)) {
        return KITH_EINVAL;
    }
    if (update->has_sibling &&
        (update->value.size > KITH_INLINE_VALUE_MAX || update->ref_count > KITH_REFS_MAX)) {
        return KITH_ETOOBIG;
    }
    struct kith_row kept = {update->context, update->kept_count, update->kept};
    struct kith_row next;
    enum kith_err err = kith_row_merge(arena, row, &kept, &next);
    if (err != KITH_OK) {
        return err;
    }
    err = clock_with(arena, &next.clock, dot, &next.clock);
    if (err != KITH_OK) {
        return err;
    }
    if (update->has_sibling) {
        struct kith_sibling fresh = {
            .dot = *dot,
            .kind = update->kind,
            .request = *request,
            .time = time,
            .writer = update->writer,
            .ref_count = update->ref_count,
            .refs = update->refs,
            .value = update->value,
        };
        err = siblings_with(arena, &fresh, &next);
        if (err != KITH_OK) {
            return err;
        }
    }
    /* Merges may have made a row larger than it should be: then what makes it smaller is welcome.
     */
    size_t size = kith_row_encoded_size(&next);
    if (size > KITH_ROW_STATE_MAX && size >= kith_row_encoded_size(row)) {
        return KITH_ETOOBIG;
    }
    *ret_row = next;
    return KITH_OK;
}

/* ---- Looking at a row ---- */

const struct kith_sibling *kith_row_winner(const struct kith_row *row)
{
    const struct kith_sibling *winner = NULL;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        /* ascending by dot: among equal times the later one in the array has the higher dot */
        if (sibling->kind == KITH_SIBLING_VALUE && (!winner || sibling->time >= winner->time)) {
            winner = sibling;
        }
    }
    return winner;
}

const struct kith_sibling *kith_row_find(const struct kith_row *row, const struct kith_dot *dot)
{
    uint32_t low = 0, high = row->sibling_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = kith_dot_compare(&row->siblings[middle].dot, dot);
        if (order == 0) {
            return &row->siblings[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* ---- Copies ---- */

enum kith_err kith_clock_copy(struct kith_arena *arena, const struct kith_clock *clock,
                              struct kith_clock *ret_clock)
{
    const struct kith_clock_entry *entries =
        kith_arena_copy(arena, clock->entries, clock->count * sizeof *entries);
    if (!entries) {
        return KITH_ENOMEM;
    }
    ret_clock->count = clock->count;
    ret_clock->entries = entries;
    return KITH_OK;
}

enum kith_err kith_row_copy(struct kith_arena *arena, const struct kith_row *row,
                            struct kith_row *ret_row)
{
    struct kith_row copy = {.sibling_count = row->sibling_count};
    enum kith_err err = kith_clock_copy(arena, &row->clock, &copy.clock);
    if (err != KITH_OK) {
        return err;
    }
    struct kith_sibling *siblings =
        kith_arena_copy(arena, row->siblings, row->sibling_count * sizeof *siblings);
    if (!siblings) {
        return KITH_ENOMEM;
    }
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        struct kith_sibling *sibling = &siblings[i];
        sibling->writer.data = kith_arena_copy(arena, sibling->writer.data, sibling->writer.size);
        sibling->refs =
            kith_arena_copy(arena, sibling->refs, sibling->ref_count * sizeof *sibling->refs);
        sibling->value.data = kith_arena_copy(arena, sibling->value.data, sibling->value.size);
        if (!sibling->writer.data || !sibling->refs || !sibling->value.data) {
            return KITH_ENOMEM;
        }
    }
    copy.siblings = siblings;
    *ret_row = copy;
    return KITH_OK;
}

bool kith_row_is_gone(const struct kith_row *row)
{
    bool gone = row->clock.count > 0;
    for (uint32_t i = 0; i < row->sibling_count && gone; i++) {
        gone = row->siblings[i].kind == KITH_SIBLING_MARK;
    }
    return gone;
}
