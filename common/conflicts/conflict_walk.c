/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "conflicts/conflict_walk.h"

#include <string.h>

#include "format/rowname.h"

#define DEPTH_MAX 4096u /* directories: no path that the kernel takes has more */

struct sub {
    struct sub *next;
    struct kith_group group;
    struct kith_bytes name;
};

/* A directory that is being read, in the one above. */
struct level {
    struct level *up;
    struct kith_group group;
    size_t path_size; /* of its path */
    bool has_after, more;
    struct kith_buf after;
    struct kith_arena arena; /* the page's directories, not gone through yet */
    struct sub *first, **last;
};

struct state {
    struct kith_client *client;
    struct kith_conflict_walk *walk;
    uint32_t volume; /* that all of it lies in */
    struct kith_buf path;
    struct level *top;
    uint32_t depth;
    struct kith_error *error;
};

/* kith_client_call with the message carried over. */
static enum kith_err call(struct state *state, const struct kith_client_op *op,
                          struct kith_client_answer *answer)
{
    enum kith_err err = kith_client_call(state->client, op, answer);
    if (err != KITH_OK) {
        const char *message = answer->result.message;
        return kith_error_set(state->error, err, "%s",
                              message && *message ? message : kith_err_text((int)err));
    }
    return KITH_OK;
}

static enum kith_err no_memory(struct kith_error *error)
{
    return kith_error_set(error, KITH_ENOMEM, "out of memory");
}

/* ---- Levels ---- */

static enum kith_err level_push(struct state *state, const struct kith_group *group)
{
    bool bad = state->depth == DEPTH_MAX;
    for (const struct level *level = state->top; level && !bad; level = level->up) {
        bad = kith_group_compare(&level->group, group) == 0;
    }
    if (bad) {
        state->walk->unread++;
        return KITH_OK;
    }
    struct level *level = kith_malloc(sizeof(*level));
    if (!level) {
        return no_memory(state->error);
    }
    memset(level, 0, sizeof(*level));
    level->up = state->top;
    level->group = *group;
    level->path_size = state->path.size;
    level->more = true;
    level->last = &level->first;
    kith_buf_init(&level->after);
    kith_arena_init(&level->arena, 0);
    state->top = level;
    state->depth++;
    state->walk->directories++;
    return KITH_OK;
}

static void level_pop(struct state *state)
{
    struct level *level = state->top;
    state->top = level->up;
    state->depth--;
    kith_buf_release(&level->after);
    kith_arena_release(&level->arena);
    kith_free(level);
}

static bool sub_add(const struct state *state, struct level *level,
                    const uint8_t dir_id[KITH_DIR_ID_SIZE], struct kith_bytes name)
{
    struct sub *sub = kith_arena_alloc(&level->arena, sizeof(*sub));
    void *copy = kith_arena_copy(&level->arena, name.data, name.size);
    if (!sub || !copy) {
        return false;
    }
    sub->next = NULL;
    sub->group = kith_group_make(state->volume, dir_id);
    sub->name = kith_bytes_make(copy, name.size);
    *level->last = sub;
    level->last = &sub->next;
    return true;
}

static void path_set(struct state *state, size_t size, struct kith_bytes name)
{
    state->path.size = size;
    if (size > 0) {
        kith_buf_put_u8(&state->path, '/');
    }
    kith_buf_put(&state->path, name.data, name.size);
}

/* ---- Names ---- */

/* The row that a name in the directory of that group refers to. */
static enum kith_err shared_get(struct state *state, const struct kith_group *dir,
                                const struct kith_inode_record *link,
                                struct kith_client_answer *answer)
{
    struct kith_client_op op;
    struct kith_rowname name;
    kith_versions_shared_row(dir, link, &name);
    struct kith_bytes bytes = kith_rowname_bytes(&name);
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_GET;
    op.u.get.group = link->link;
    op.u.get.name_count = 1;
    op.u.get.names = &bytes;
    enum kith_err err = call(state, &op, answer);
    state->walk->degraded = state->walk->degraded || answer->result.degraded;
    return err;
}

/* What is found is told; the directories among the versions are to be gone through, in the
 * directory `into` or, NULL, at once. `base`: the name. */
static enum kith_err versions_take(struct state *state, struct kith_bytes base,
                                   const struct kith_conflict *conflict, struct level *into)
{
    if (conflict->count > 1) {
        state->walk->conflicts++;
        if (!state->walk->found(state->walk->arg, kith_buf_bytes(&state->path), base, conflict)) {
            return no_memory(state->error);
        }
    }
    for (uint32_t i = 0; i < conflict->count; i++) {
        const struct kith_version *version = &conflict->versions[i];
        char made[KITH_FS_NAME_MAX + 1];
        struct kith_bytes name = base;
        if (version->record.type != KITH_TYPE_DIR) {
            continue;
        }
        if (i > 0) {
            size_t size =
                kith_conflict_name(base, version->sibling, KITH_CONFLICT_SUFFIX, false, made);
            name = kith_bytes_make(made, size);
        }
        if (into && !sub_add(state, into, version->record.dir_id, name)) {
            return no_memory(state->error);
        }
        if (!into && i == 0) { /* where the walk begins; another of its name is not below it */
            struct kith_group group = kith_group_make(state->volume, version->record.dir_id);
            return level_push(state, &group);
        }
    }
    return KITH_OK;
}

/* `dir`: the group that the row is in. */
static enum kith_err name_look(struct state *state, const struct kith_group *dir,
                               struct kith_bytes base, const struct kith_row *row,
                               struct level *into)
{
    struct kith_arena arena;
    struct kith_client_answer answer;
    struct kith_conflict conflict;
    struct kith_inode_record record;
    bool asked = false;
    state->walk->names++;
    if (kith_conflict_none(row)) {
        return KITH_OK;
    }
    const struct kith_sibling *winner = kith_versions_winner(row);
    kith_arena_init(&arena, 0);
    enum kith_err err = KITH_OK;
    if (winner && kith_inode_record_type(winner->value) == KITH_TYPE_LINK &&
        kith_inode_record_decode(&arena, winner->value, &record) == KITH_OK) {
        asked = true;
        err = shared_get(state, dir, &record, &answer);
    }
    if (err == KITH_OK) {
        err = kith_conflict_of(&arena, row, asked ? &answer.result.u.rows.rows[0].row : NULL,
                               &conflict);
        if (err == KITH_OK) {
            err = versions_take(state, base, &conflict, into);
        } else if (err == KITH_ENOMEM) {
            err = no_memory(state->error);
        } else { /* of a later format */
            state->walk->unread++;
            err = KITH_OK;
        }
    }
    if (asked) {
        kith_client_answer_release(&answer);
    }
    kith_arena_release(&arena);
    return err;
}

/* ---- Pages ---- */

static enum kith_err page_take(struct state *state, struct level *level,
                               const struct kith_client_result *page)
{
    enum kith_err err = KITH_OK;
    for (uint32_t i = 0; err == KITH_OK && i < page->u.rows.row_count; i++) {
        const struct kith_client_row *row = &page->u.rows.rows[i];
        struct kith_rowname_parts parts;
        if (kith_rowname_parse(row->name, &parts) == KITH_OK && parts.kind == KITH_ROWNAME_ENTRY) {
            path_set(state, level->path_size, row->name);
            err = name_look(state, &level->group, row->name, &row->row, level);
        }
    }
    level->more = page->u.rows.more;
    level->has_after = true;
    kith_buf_clear(&level->after);
    kith_buf_put(&level->after, page->u.rows.last.data, page->u.rows.last.size);
    state->walk->degraded = state->walk->degraded || page->degraded;
    return err == KITH_OK && (level->after.failed || state->path.failed) ? no_memory(state->error)
                                                                         : err;
}

static enum kith_err page_read(struct state *state, struct level *level)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    state->path.size = level->path_size;
    if (state->walk->step &&
        !state->walk->step(state->walk->arg, state->walk, kith_buf_bytes(&state->path))) {
        return kith_error_set(state->error, KITH_ECANCELED, "not wanted any more");
    }
    kith_arena_reset(&level->arena);
    level->first = NULL;
    level->last = &level->first;
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_SCAN;
    op.u.scan.group = level->group;
    op.u.scan.has_after = level->has_after;
    op.u.scan.after = kith_buf_bytes(&level->after);
    enum kith_err err = call(state, &op, &answer);
    if (err == KITH_OK) {
        err = page_take(state, level, &answer.result);
    }
    kith_client_answer_release(&answer);
    return err;
}

static enum kith_err levels_walk(struct state *state)
{
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && state->top) {
        struct level *level = state->top;
        if (level->first) {
            struct sub *sub = level->first;
            level->first = sub->next;
            path_set(state, level->path_size, sub->name);
            err = level_push(state, &sub->group);
        } else if (level->more) {
            err = page_read(state, level);
        } else {
            level_pop(state);
        }
    }
    return err;
}

/* ---- The beginning ---- */

static void begin(struct state *state, struct kith_client *client, const struct kith_group *dir,
                  struct kith_conflict_walk *walk, struct kith_error *error)
{
    memset(state, 0, sizeof(*state));
    state->client = client;
    state->volume = kith_group_volume(dir);
    state->walk = walk;
    state->error = error;
    walk->names = walk->directories = walk->conflicts = walk->unread = 0;
    walk->degraded = false;
    kith_buf_init(&state->path);
}

static enum kith_err end(struct state *state, enum kith_err err)
{
    if (err == KITH_OK) {
        err = levels_walk(state);
    }
    while (state->top) {
        level_pop(state);
    }
    kith_buf_release(&state->path);
    return err;
}

enum kith_err kith_conflict_walk_dir(struct kith_client *client, const struct kith_group *dir,
                                     struct kith_conflict_walk *walk, struct kith_error *error)
{
    struct state state;
    begin(&state, client, dir, walk, error);
    return end(&state, level_push(&state, dir));
}

enum kith_err kith_conflict_walk_name(struct kith_client *client, const struct kith_group *dir,
                                      struct kith_bytes name, struct kith_conflict_walk *walk,
                                      struct kith_error *error)
{
    struct state state;
    struct kith_client_op op;
    struct kith_client_answer answer;
    begin(&state, client, dir, walk, error);
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_GET;
    op.u.get.group = *dir;
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    enum kith_err err = call(&state, &op, &answer);
    if (err == KITH_OK) {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        err = kith_versions_winner(row)
                  ? name_look(&state, dir, name, row, NULL)
                  : kith_error_set(error, KITH_ENOTFOUND, "no such file");
    }
    kith_client_answer_release(&answer);
    return end(&state, err);
}
