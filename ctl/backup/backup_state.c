/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/backup/backup_state.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "data/row.h"

#define SLOTS_FIRST 1024u

static const struct kith_checksum no_hash;

/* From this round on an owner is asked for everything at once, where it can be named: the answer is
 * complete then, however fast it changes. */
#define ROUND_ALL 2u
/* Pages in a row that bring no row but such as had come, changed, and end no leaf: it changes faster
 * than it can be read. */
#define PAGES_IDLE 16u

void kith_backup_state_init(struct kith_backup_state *state, uint32_t partition,
                            uint32_t partitions)
{
    memset(state, 0, sizeof *state);
    kith_arena_init(&state->arena, 0);
    state->partition = partition;
    state->partitions = partitions;
    state->named_max = KITH_LEAF_HASHES_MAX;
    state->last = &state->rows;
}

void kith_backup_state_release(struct kith_backup_state *state)
{
    kith_arena_release(&state->arena);
    kith_free(state->slots);
    memset(state, 0, sizeof *state);
}

/* ---- Rows by their names ---- */

static size_t slot_of(const struct kith_backup_state *state, const struct kith_group *group,
                      struct kith_bytes name)
{
    uint64_t seed = XXH3_64bits(group->bytes, sizeof group->bytes);
    return (size_t)XXH3_64bits_withSeed(name.data, name.size, seed) & (state->slot_count - 1);
}

static bool grow(struct kith_backup_state *state)
{
    size_t count = state->slot_count == 0 ? SLOTS_FIRST : 2 * state->slot_count;
    struct kith_backup_row **slots = kith_calloc(count, sizeof(struct kith_backup_row *));
    if (!slots) {
        return false;
    }
    kith_free(state->slots);
    state->slots = slots;
    state->slot_count = count;
    for (struct kith_backup_row *row = state->rows; row; row = row->next) {
        size_t slot = slot_of(state, &row->group, row->name);
        row->next_in_slot = slots[slot];
        slots[slot] = row;
    }
    return true;
}

/* Made where it is not there; NULL: memory is short. */
static struct kith_backup_row *row_at(struct kith_backup_state *state,
                                      const struct kith_group *group, struct kith_bytes name)
{
    if (state->row_count >= state->slot_count && !grow(state)) {
        return NULL;
    }
    size_t slot = slot_of(state, group, name);
    for (struct kith_backup_row *row = state->slots[slot]; row; row = row->next_in_slot) {
        if (kith_group_compare(&row->group, group) == 0 && kith_bytes_equal(row->name, name)) {
            return row;
        }
    }
    struct kith_backup_row *row = kith_arena_calloc(&state->arena, 1, sizeof *row);
    const uint8_t *copy = kith_arena_copy(&state->arena, name.data, name.size);
    if (!row || !copy) {
        return NULL;
    }
    const struct kith_key key = {*group, name};
    row->group = *group;
    row->name = kith_bytes_make(copy, name.size);
    row->leaf = kith_tree_leaf(&key);
    row->next_in_leaf = state->leaves[row->leaf];
    state->leaves[row->leaf] = row;
    row->next_in_slot = state->slots[slot];
    state->slots[slot] = row;
    *state->last = row;
    state->last = &row->next;
    state->row_count++;
    return row;
}

enum kith_err kith_backup_state_hold(struct kith_backup_state *state,
                                     const struct kith_group *group, struct kith_bytes name,
                                     const struct kith_checksum *hash, struct kith_bytes encoded)
{
    struct kith_backup_row *row = row_at(state, group, name);
    if (!row) {
        return KITH_ENOMEM;
    }
    state->held_rows += encoded.size > 0 ? 1 : 0;
    state->held_rows -= row->held.there ? 1 : 0;
    kith_sum_replace(&state->held_sum, row->held.there ? &row->held.hash : &no_hash,
                     encoded.size > 0 ? hash : &no_hash);
    row->held.there = encoded.size > 0;
    row->held.hash = *hash;
    row->held.state = encoded;
    return KITH_OK;
}

/* ---- The view ---- */

static void view_set(struct kith_backup_state *state, struct kith_backup_row *row,
                     const struct kith_backup_version *to)
{
    struct kith_sum *sum = &state->sums[row->leaf];
    kith_sum_replace(sum, row->view.there ? &row->view.hash : &no_hash,
                     to->there ? &to->hash : &no_hash);
    state->counts[row->leaf] += (to->there ? 1u : 0u) - (row->view.there ? 1u : 0u);
    row->view = *to;
}

void kith_backup_state_begin(struct kith_backup_state *state)
{
    static const struct kith_backup_version none;
    for (struct kith_backup_row *row = state->rows; row; row = row->next) {
        /* what has no hash cannot be named, and is in no sum: it comes again */
        bool named = !kith_checksum_equal(&row->held.hash, &no_hash);
        view_set(state, row, named ? &row->held : &none);
        row->merged = none;
    }
}

/* With what is the same for all questions. */
static enum kith_err ask(struct kith_backup_state *state, const struct kith_backup_owner *owner,
                         struct kith_leaf_req *req, struct kith_leaf_res *res,
                         struct kith_error *error)
{
    struct kith_sum root = kith_tree_root(state->sums);
    req->sums = true;
    kith_sum_encode(&root, &req->root);
    memset(res, 0, sizeof *res);
    return owner->ask(owner->arg, req, res, error);
}

/* Of the leaves that are in the set from the first one on, as many as can be named: *ret_ask. */
static enum kith_err ask_leaves(struct kith_backup_state *state,
                                const struct kith_backup_owner *owner,
                                const struct kith_leaf_set *set, struct kith_leaf_set *ret_ask,
                                struct kith_leaf_res *res, struct kith_error *error)
{
    struct kith_leaf_req req;
    uint32_t count = 0;
    memset(&req, 0, sizeof req);
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
        if (kith_leaf_in(set, leaf) && count + state->counts[leaf] > state->named_max) {
            break;
        }
        if (kith_leaf_in(set, leaf)) {
            kith_leaf_add(&req.leaves, leaf);
            count += state->counts[leaf];
        }
    }
    struct kith_checksum *have = kith_malloc((count + 1u) * sizeof *have);
    if (!have) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
        struct kith_backup_row *row = state->leaves[leaf];
        for (; row && kith_leaf_in(&req.leaves, leaf); row = row->next_in_leaf) {
            if (row->view.there) {
                have[req.have_count++] = row->view.hash;
            }
        }
    }
    req.have = have;
    *ret_ask = req.leaves;
    enum kith_err err = ask(state, owner, &req, res, error);
    kith_free(have);
    return err;
}

static enum kith_err senseless(const struct kith_backup_state *state, struct kith_error *error)
{
    return kith_error_set(error, KITH_EFORMAT, "an answer for partition %u makes no sense",
                          state->partition);
}

/* Rows of an answer come into the view. */
static enum kith_err apply(struct kith_backup_state *state, const struct kith_leaf_set *asked,
                           const struct kith_leaf_res *res, struct kith_error *error)
{
    bool sound = res->hash_count == res->row_count && res->row_count <= KITH_LEAF_ROWS_MAX &&
                 (res->sum_count == 0 || res->sum_count == KITH_TREE_LEAVES) &&
                 (!res->more || res->row_count > 0);
    for (uint32_t i = 0; sound && i < res->row_count; i++) {
        const struct kith_leaf_row *from = &res->rows[i];
        const struct kith_key key = {from->group, from->name};
        sound = from->state.size > 0 && from->name.size <= KITH_NAME_MAX &&
                kith_group_partition(&from->group, state->partitions) == state->partition &&
                kith_leaf_in(asked, kith_tree_leaf(&key)) &&
                !kith_checksum_equal(&res->hashes[i], &no_hash);
        struct kith_backup_row *row = sound ? row_at(state, &from->group, from->name) : NULL;
        const uint8_t *copy =
            row ? kith_arena_copy(&state->arena, from->state.data, from->state.size) : NULL;
        if (sound && !copy) {
            return kith_error_set(error, KITH_ENOMEM, "out of memory");
        }
        if (sound) {
            struct kith_backup_version now = {true, res->hashes[i],
                                              kith_bytes_make(copy, from->state.size)};
            view_set(state, row, &now);
            state->bytes += from->name.size + from->state.size;
        }
    }
    return sound ? KITH_OK : senseless(state, error);
}

/* What is here was all that the owner had. */
static bool roots_equal(const struct kith_leaf_res *res)
{
    return !res->more && res->sum_count == 0;
}

static bool leaf_same(const struct kith_backup_state *state, const struct kith_leaf_res *res,
                      uint32_t leaf)
{
    struct kith_sum sum;
    kith_sum_decode(&res->sums[leaf], &sum);
    return kith_sum_equal(&sum, &state->sums[leaf]);
}

/* The leaves that are not as the owner has them, by an answer with sums; false: none. */
static bool differing(const struct kith_backup_state *state, const struct kith_leaf_res *res,
                      struct kith_leaf_set *ret_set)
{
    bool any = false;
    memset(ret_set, 0, sizeof *ret_set);
    for (uint32_t leaf = 0; leaf < res->sum_count; leaf++) {
        if (!leaf_same(state, res, leaf)) {
            kith_leaf_add(ret_set, leaf);
            any = true;
        }
    }
    return any;
}

/* All of the leaf that the owner has is here, and more, or other rows: which ones is not told. They
 * come once more, all of them. */
static void forget(struct kith_backup_state *state, uint32_t leaf)
{
    static const struct kith_backup_version none;
    for (struct kith_backup_row *row = state->leaves[leaf]; row; row = row->next_in_leaf) {
        view_set(state, row, &none);
    }
}

/* ---- A leaf in parts ---- */

/* The leaf's rows in the view, in the order of their keys, as they were when it was begun with. */
struct parts {
    struct kith_backup_state *state;
    const struct kith_backup_owner *owner;
    uint32_t leaf;
    struct kith_backup_row **rows;
    size_t count, at, end; /* at, end: of the part at hand */
    struct kith_checksum *have;
    const struct kith_backup_row *after, *until; /* NULL: none */
    bool again; /* what was held of the part at hand is forgotten, and all of it comes */
};

static int by_key(const void *a, const void *b)
{
    const struct kith_backup_row *const *left = a, *const *right = b;
    int order = kith_group_compare(&(*left)->group, &(*right)->group);
    return order != 0 ? order : kith_bytes_compare((*left)->name, (*right)->name);
}

static enum kith_err parts_init(struct parts *parts, struct kith_backup_state *state,
                                const struct kith_backup_owner *owner, uint32_t leaf,
                                struct kith_error *error)
{
    memset(parts, 0, sizeof *parts);
    parts->state = state;
    parts->owner = owner;
    parts->leaf = leaf;
    parts->rows = kith_malloc((state->counts[leaf] + 1u) * sizeof(struct kith_backup_row *));
    parts->have = kith_malloc(state->named_max * sizeof *parts->have);
    if (!parts->rows || !parts->have) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    for (struct kith_backup_row *row = state->leaves[leaf]; row; row = row->next_in_leaf) {
        if (row->view.there) {
            parts->rows[parts->count++] = row;
        }
    }
    qsort(parts->rows, parts->count, sizeof(struct kith_backup_row *), by_key);
    return KITH_OK;
}

static void parts_release(struct parts *parts)
{
    kith_free(parts->rows);
    kith_free(parts->have);
}

static struct kith_key key_of(const struct kith_backup_row *row)
{
    return (struct kith_key){row->group, row->name};
}

/* Asks for what follows `after`: as much as can be named, or all of the part that was forgotten. */
static enum kith_err part_ask(struct parts *parts, struct kith_leaf_res *res,
                              struct kith_error *error)
{
    struct kith_leaf_req req;
    memset(&req, 0, sizeof req);
    if (!parts->again) {
        uint32_t named = 0;
        parts->end = parts->at;
        while (parts->end < parts->count && named < parts->state->named_max) {
            named += parts->rows[parts->end++]->view.there ? 1 : 0;
        }
        parts->until = parts->end < parts->count ? parts->rows[parts->end - 1] : NULL;
    }
    for (size_t i = parts->at; i < parts->end; i++) {
        if (parts->rows[i]->view.there) {
            parts->have[req.have_count++] = parts->rows[i]->view.hash;
        }
    }
    kith_leaf_add(&req.leaves, parts->leaf);
    req.have = parts->have;
    req.part = true;
    req.has_after = parts->after != NULL;
    req.has_until = parts->until != NULL;
    req.after = parts->after ? key_of(parts->after) : req.after;
    req.until = parts->until ? key_of(parts->until) : req.until;
    enum kith_err err = ask(parts->state, parts->owner, &req, res, error);
    if (err == KITH_OK && !res->part) {
        err = kith_error_set(error, KITH_EVERSION,
                             "%s: partition %u has more rows than a node of that version can be "
                             "asked for: upgrade it",
                             parts->owner->name, parts->state->partition);
    }
    if (err == KITH_OK) {
        err = apply(parts->state, &req.leaves, res, error);
    }
    return err;
}

/* The rows of an answer are in order and of the part that was asked for. */
static bool part_sound(const struct parts *parts, struct kith_backup_row *const came[],
                       uint32_t count)
{
    bool sound = true;
    for (uint32_t i = 0; i < count && sound; i++) {
        const struct kith_backup_row *before = i > 0 ? came[i - 1] : parts->after;
        sound = (!before || by_key(&before, &came[i]) < 0) &&
                (!parts->until || by_key(&came[i], &parts->until) <= 0);
    }
    return sound;
}

/* What is here of the part up to *end, by its sum: rows that were here, and those that came beside
 * them. *ret_end: where the part ends among the former. */
static struct kith_sum part_sum(const struct parts *parts, struct kith_backup_row *const came[],
                                uint32_t count, bool more, size_t *ret_end)
{
    struct kith_sum sum = {0, 0};
    uint32_t next = 0;
    size_t i = parts->at;
    for (; i < parts->end && (!more || by_key(&parts->rows[i], &came[count - 1]) <= 0); i++) {
        const struct kith_backup_row *row = parts->rows[i];
        for (; next < count && by_key(&came[next], &row) < 0; next++) {
            kith_sum_replace(&sum, &no_hash, &came[next]->view.hash);
        }
        next += next < count && came[next] == row ? 1 : 0;
        kith_sum_replace(&sum, &no_hash, row->view.there ? &row->view.hash : &no_hash);
    }
    for (; next < count; next++) {
        kith_sum_replace(&sum, &no_hash, &came[next]->view.hash);
    }
    *ret_end = i;
    return sum;
}

/* An answer came: verified, and gone on behind it; or all of the part is to come again. */
static enum kith_err part_take(struct parts *parts, const struct kith_leaf_res *res,
                               bool *ret_over, struct kith_error *error)
{
    static const struct kith_backup_version none;
    struct kith_backup_row *came[KITH_LEAF_ROWS_MAX];
    struct kith_sum sum;
    size_t end = 0;
    for (uint32_t i = 0; i < res->row_count; i++) {
        came[i] = row_at(parts->state, &res->rows[i].group, res->rows[i].name);
    }
    if (!part_sound(parts, came, res->row_count)) {
        return senseless(parts->state, error);
    }
    kith_sum_decode(&res->part_sum, &sum);
    struct kith_sum here = part_sum(parts, came, res->row_count, res->more, &end);
    *ret_over = false;
    if (!kith_sum_equal(&sum, &here)) {
        for (size_t i = parts->at; i < end; i++) {
            view_set(parts->state, parts->rows[i], &none);
        }
        for (uint32_t i = 0; i < res->row_count; i++) {
            view_set(parts->state, came[i], &none);
        }
        bool was = parts->again;
        parts->again = true;
        parts->end = end;
        parts->until = res->more ? came[res->row_count - 1] : parts->until;
        return was ? senseless(parts->state, error) : KITH_OK;
    }
    parts->again = false;
    parts->at = end;
    parts->after = res->more ? came[res->row_count - 1] : parts->until;
    *ret_over = !parts->after;
    return KITH_OK;
}

/* All of a leaf that has more rows than can be named; *res is the last answer. */
static enum kith_err fetch_parts(struct kith_backup_state *state,
                                 const struct kith_backup_owner *owner, uint32_t leaf,
                                 struct kith_leaf_res *res, struct kith_error *error)
{
    struct parts parts;
    bool over = false;
    enum kith_err err = parts_init(&parts, state, owner, leaf, error);
    while (err == KITH_OK && !over) {
        err = part_ask(&parts, res, error);
        over = err == KITH_OK && roots_equal(res);
        if (err == KITH_OK && !over) {
            err = part_take(&parts, res, &over, error);
        }
    }
    parts_release(&parts);
    return err;
}

/* ---- All leaves ---- */

/* The first leaf of the set, where it has more rows than can be named; else KITH_TREE_LEAVES. */
static uint32_t large_leaf(const struct kith_backup_state *state, const struct kith_leaf_set *set)
{
    uint32_t leaf = 0;
    while (leaf < KITH_TREE_LEAVES && !kith_leaf_in(set, leaf)) {
        leaf++;
    }
    bool large = leaf < KITH_TREE_LEAVES && state->counts[leaf] > state->named_max;
    return large ? leaf : KITH_TREE_LEAVES;
}

/* Asks for those leaves, some at a time, until each is complete, or that is given up. The set becomes
 * that of the leaves that differ by the last answer; empty: what is here is what the owner had then. */
static enum kith_err fetch(struct kith_backup_state *state, const struct kith_backup_owner *owner,
                           struct kith_leaf_set *set, struct kith_error *error)
{
    struct kith_leaf_set left = *set, asked;
    struct kith_leaf_res res;
    bool more = true;
    for (uint32_t idle = 0; more && idle < PAGES_IDLE; idle++) {
        size_t rows = state->row_count;
        uint32_t large = large_leaf(state, &left);
        enum kith_err err = KITH_OK;
        if (large < KITH_TREE_LEAVES) {
            memset(&asked, 0, sizeof asked);
            kith_leaf_add(&asked, large);
            err = fetch_parts(state, owner, large, &res, error);
        } else {
            err = ask_leaves(state, owner, &left, &asked, &res, error);
            err = err == KITH_OK ? apply(state, &asked, &res, error) : err;
        }
        if (err != KITH_OK) {
            return err;
        }
        uint32_t end = KITH_TREE_LEAVES; /* those before it are complete */
        if (res.more) {
            const struct kith_leaf_row *row = &res.rows[res.row_count - 1];
            const struct kith_key key = {row->group, row->name};
            end = kith_tree_leaf(&key);
        }
        more = res.more;
        if (roots_equal(&res)) { /* nothing is left */
            memset(set, 0, sizeof *set);
            return KITH_OK;
        }
        bool ended = false;
        for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
            if (kith_leaf_in(&asked, leaf) && leaf < end) {
                left.bits[leaf / 8] = (uint8_t)(left.bits[leaf / 8] & ~(1u << leaf % 8));
                ended = true;
                if (res.sum_count > 0 && large == KITH_TREE_LEAVES &&
                    !leaf_same(state, &res, leaf)) {
                    forget(state, leaf);
                }
            }
            more = more || kith_leaf_in(&left, leaf);
        }
        idle = state->row_count > rows || ended ? 0 : idle;
    }
    if (!more) {
        (void)differing(state, &res, set);
    }
    return KITH_OK;
}

static bool is_empty(const struct kith_leaf_set *set)
{
    static const struct kith_leaf_set none;
    return memcmp(set, &none, sizeof none) == 0;
}

static uint64_t view_count(const struct kith_backup_state *state)
{
    uint64_t count = 0;
    for (uint32_t leaf = 0; leaf < KITH_TREE_LEAVES; leaf++) {
        count += state->counts[leaf];
    }
    return count;
}

/* ---- Merging ---- */

/* Of a row that two owners have in different states. */
static enum kith_err merge_states(struct kith_backup_state *state, struct kith_backup_row *row)
{
    struct kith_arena arena;
    struct kith_row a, b, both;
    struct kith_buf buf;
    kith_arena_init(&arena, 0);
    kith_buf_init(&buf);
    enum kith_err err = kith_row_decode(&arena, row->merged.state, &a);
    if (err == KITH_OK) {
        err = kith_row_decode(&arena, row->view.state, &b);
    }
    if (err == KITH_OK) {
        err = kith_row_merge(&arena, &a, &b, &both);
    }
    if (err == KITH_OK) {
        kith_row_encode(&both, &buf);
        err = buf.failed ? KITH_ENOMEM : KITH_OK;
    }
    if (err == KITH_OK && kith_bytes_equal(kith_buf_bytes(&buf), row->view.state)) {
        row->merged = row->view;
    } else if (err == KITH_OK && !kith_bytes_equal(kith_buf_bytes(&buf), row->merged.state)) {
        const uint8_t *copy = kith_arena_copy(&state->arena, buf.data, buf.size);
        err = copy ? KITH_OK : KITH_ENOMEM;
        row->merged.hash = no_hash; /* no owner has had it like this */
        row->merged.state = kith_bytes_make(copy, buf.size);
    }
    kith_buf_release(&buf);
    kith_arena_release(&arena);
    return err;
}

static enum kith_err merge_view(struct kith_backup_state *state, struct kith_error *error)
{
    for (struct kith_backup_row *row = state->rows; row; row = row->next) {
        if (!row->view.there) {
            continue;
        }
        if (!row->merged.there) {
            row->merged = row->view;
        } else if (!kith_checksum_equal(&row->merged.hash, &row->view.hash)) {
            enum kith_err err = merge_states(state, row);
            if (err != KITH_OK) {
                return kith_error_set(error, err, "partition %u: two states of a row: %s",
                                      state->partition, kith_err_text((int)err));
            }
        }
    }
    return KITH_OK;
}

enum kith_err kith_backup_state_take(struct kith_backup_state *state,
                                     const struct kith_backup_owner *owner, bool *ret_settled,
                                     struct kith_error *error)
{
    struct kith_leaf_set set, asked;
    struct kith_leaf_res res;
    memset(&set, 0, sizeof set);
    enum kith_err err = ask_leaves(state, owner, &set, &asked, &res, error); /* the sums alone */
    if (err == KITH_OK) {
        err = apply(state, &asked, &res, error);
    }
    if (err == KITH_OK) {
        (void)differing(state, &res, &set);
    }
    for (uint32_t round = 0; err == KITH_OK && !is_empty(&set) && round < KITH_BACKUP_ROUNDS;
         round++) {
        if (round >= ROUND_ALL && view_count(state) <= state->named_max) {
            memset(&set, 0xff, sizeof set);
        }
        err = fetch(state, owner, &set, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    *ret_settled = is_empty(&set);
    return merge_view(state, error);
}

/* ---- What came of it ---- */

bool kith_backup_row_changed(const struct kith_backup_row *row)
{
    if (row->held.there != row->merged.there) {
        return true;
    }
    return row->held.there && (!kith_checksum_equal(&row->held.hash, &row->merged.hash) ||
                               !kith_bytes_equal(row->held.state, row->merged.state));
}

void kith_backup_state_held(const struct kith_backup_state *state, uint64_t *ret_rows,
                            struct kith_checksum *ret_root)
{
    *ret_rows = state->held_rows;
    kith_sum_encode(&state->held_sum, ret_root);
}

void kith_backup_state_root(const struct kith_backup_state *state, bool held, uint64_t *ret_rows,
                            struct kith_checksum *ret_root)
{
    struct kith_sum sum = {0, 0};
    *ret_rows = 0;
    for (const struct kith_backup_row *row = state->rows; row; row = row->next) {
        const struct kith_backup_version *version = held ? &row->held : &row->merged;
        if (version->there) {
            kith_sum_replace(&sum, &no_hash, &version->hash);
            ++*ret_rows;
        }
    }
    kith_sum_encode(&sum, ret_root);
}
