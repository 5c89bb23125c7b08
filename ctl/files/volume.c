/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * volume.c - kithctl volume create, list and remove.
 *
 * A volume is there when its root directory has a row, which every client may read whose certificate names
 * the volume. Besides it is noted in the cluster's own volume, one row for each, for 'list' and so that two
 * names never share a number unnoticed: who made it and when is what that row's version says. The note comes
 * first and goes last: whatever breaks off in between, the same command again carries it to its end. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ask/door.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "ctl/report.h"
#include "data/hlc.h"
#include "data/volume.h"
#include "format/inode_format.h"
#include "format/rowname.h"
#include "format/versions.h"
#include "text/columns.h"

#define FORMAT 1 /* of a note */

static const uint8_t notes_own[12] = "volumes";

static struct kith_group notes_group(void)
{
    return kith_group_make(KITH_VOLUME_CLUSTER, notes_own);
}

static struct kith_bytes text_bytes(const char *text)
{
    return kith_bytes_make(text, strlen(text));
}

static enum kith_err no_memory(struct kith_error *error)
{
    return kith_error_set(error, KITH_ENOMEM, "out of memory");
}

/* ---- Rows ---- */

/* Every row of the group that has versions. strict: never on the word of too few nodes. */
static enum kith_err rows_each(const struct kith_door *door, const struct kith_group *group,
                               bool strict,
                               enum kith_err (*take)(void *arg, const struct kith_client_row *row,
                                                     struct kith_error *error),
                               void *arg, bool *ret_degraded, struct kith_error *error)
{
    struct kith_buf after;
    bool more = true, has_after = false;
    enum kith_err err = KITH_OK;
    kith_buf_init(&after);
    *ret_degraded = false;
    while (err == KITH_OK && more) {
        struct kith_client_op op;
        struct kith_client_answer answer;
        memset(&op, 0, sizeof op);
        op.kind = KITH_CLIENT_SCAN;
        op.timeout_ms = kith_door_left_ms(door);
        op.strict = strict;
        op.u.scan.group = *group;
        op.u.scan.has_after = has_after;
        op.u.scan.after = kith_buf_bytes(&after);
        err = kith_door_call(door->client, &op, &answer, error);
        const struct kith_client_result *result = &answer.result;
        for (uint32_t i = 0; err == KITH_OK && i < result->u.rows.row_count; i++) {
            err = take(arg, &result->u.rows.rows[i], error);
        }
        if (err == KITH_OK) {
            more = result->u.rows.more;
            has_after = true;
            *ret_degraded = *ret_degraded || result->degraded;
            kith_buf_clear(&after);
            kith_buf_put(&after, result->u.rows.last.data, result->u.rows.last.size);
            err = after.failed ? no_memory(error) : KITH_OK;
        }
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&after);
    return err;
}

/* What covers all that is known of the row. NULL data: memory was short. */
static bool context_make(struct kith_arena *arena, const struct kith_row *row,
                         struct kith_bytes *ret_context)
{
    struct kith_row clock = *row;
    struct kith_buf buf;
    clock.sibling_count = 0;
    clock.siblings = NULL;
    kith_buf_init(&buf);
    kith_row_encode(&clock, &buf);
    const void *copy = buf.failed ? NULL : kith_arena_copy(arena, buf.data, buf.size);
    *ret_context = kith_bytes_make(copy, buf.size);
    kith_buf_release(&buf);
    return copy != NULL;
}

/* A row without versions is empty but for its clock. */
static enum kith_err row_get(const struct kith_door *door, const struct kith_group *group,
                             struct kith_bytes name, struct kith_arena *arena,
                             struct kith_row *ret_row, struct kith_error *error)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_GET;
    op.timeout_ms = kith_door_left_ms(door);
    op.strict = true;
    op.u.get.group = *group;
    op.u.get.name_count = 1;
    op.u.get.names = &name;
    enum kith_err err = kith_door_call(door->client, &op, &answer, error);
    if (err == KITH_OK &&
        kith_row_copy(arena, &answer.result.u.rows.rows[0].row, ret_row) != KITH_OK) {
        err = no_memory(error);
    }
    kith_client_answer_release(&answer);
    return err;
}

static enum kith_err rows_put(const struct kith_door *door, const struct kith_group *group,
                              const struct kith_put_update updates[], uint32_t count,
                              struct kith_error *error)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    memset(&op, 0, sizeof op);
    op.kind = KITH_CLIENT_PUT;
    op.timeout_ms = kith_door_left_ms(door);
    op.u.put.group = *group;
    op.u.put.durability = KITH_DURABLE_DISK;
    op.u.put.update_count = count;
    op.u.put.updates = updates;
    enum kith_err err = kith_door_call(door->client, &op, &answer, error);
    kith_client_answer_release(&answer);
    return err;
}

/* ---- The notes ---- */

struct volume {
    char name[KITH_VOLUME_NAME_SIZE];
    uint32_t number;
    uint64_t made_ms; /* 0: every cluster has it */
    char by[KITH_WRITER_MAX + 1];
};

/* Those that are noted, by name. */
struct volumes {
    struct kith_arena *arena;
    uint32_t count, room, unread;
    struct volume *list;
};

static enum kith_err volume_add(struct volumes *volumes, const struct volume *volume,
                                struct kith_error *error)
{
    if (volumes->count == volumes->room) {
        uint32_t room = volumes->room > 0 ? 2 * volumes->room : 16;
        struct volume *list = kith_arena_calloc(volumes->arena, room, sizeof *list);
        if (!list) {
            return no_memory(error);
        }
        if (volumes->count > 0) {
            memcpy(list, volumes->list, volumes->count * sizeof *list);
        }
        volumes->list = list;
        volumes->room = room;
    }
    volumes->list[volumes->count++] = *volume;
    return KITH_OK;
}

/* Its first version: two administrators may have made it at once. */
static enum kith_err note_take(void *arg, const struct kith_client_row *row,
                               struct kith_error *error)
{
    struct volumes *volumes = arg;
    const struct kith_sibling *first = NULL;
    struct volume volume;
    memset(&volume, 0, sizeof volume);
    for (uint32_t i = 0; i < row->row.sibling_count; i++) {
        const struct kith_sibling *sibling = &row->row.siblings[i];
        if (sibling->kind == KITH_SIBLING_VALUE && (!first || sibling->time < first->time)) {
            first = sibling;
        }
    }
    bool fits = row->name.size <= KITH_VOLUME_NAME_MAX;
    if (first && fits) {
        memcpy(volume.name, row->name.data, row->name.size);
        fits = strlen(volume.name) == row->name.size && kith_volume_name_fits(volume.name);
    }
    if (!first || !fits) {
        volumes->unread += first ? 1 : 0;
        return KITH_OK;
    }
    volume.number = kith_volume_number(volume.name);
    volume.made_ms = kith_hlc_ms(first->time);
    size_t size = first->writer.size < KITH_WRITER_MAX ? first->writer.size : KITH_WRITER_MAX;
    if (size > 0) {
        memcpy(volume.by, first->writer.data, size);
    }
    return volume_add(volumes, &volume, error);
}

static enum kith_err notes_read(const struct kith_door *door, bool strict, struct volumes *volumes,
                                bool *ret_degraded, struct kith_error *error)
{
    struct kith_group group = notes_group();
    enum kith_err err = rows_each(door, &group, strict, note_take, volumes, ret_degraded, error);
    return err == KITH_OK ? err : kith_error_wrap(error, "the list of volumes cannot be read");
}

static enum kith_err note_put(const struct kith_door *door, const char *name,
                              struct kith_error *error)
{
    struct kith_group group = notes_group();
    struct kith_put_update update;
    json_t *document = json_pack("{s:i, s:I}", "format", FORMAT, "number",
                                 (json_int_t)kith_volume_number(name));
    char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
    json_decref(document);
    if (!text) {
        return no_memory(error);
    }
    memset(&update, 0, sizeof update);
    update.name = text_bytes(name);
    update.has_sibling = true;
    update.kind = KITH_SIBLING_VALUE;
    update.value = text_bytes(text);
    enum kith_err err = rows_put(door, &group, &update, 1, error);
    free(text); /* of jansson */
    return err == KITH_OK ? err : kith_error_wrap(error, "the volume cannot be noted");
}

/* ---- Names and owners ---- */

static enum kith_err name_check(const char *name, struct kith_error *error)
{
    if (strcmp(name, "fs") == 0 || strcmp(name, "kv") == 0) {
        return kith_error_set(error, KITH_EINVAL,
                              "every cluster has '%s': it is neither made nor removed", name);
    }
    return kith_volume_name_fits(name)
               ? KITH_OK
               : kith_error_set(error, KITH_EINVAL, "'%.80s': " KITH_VOLUME_NAME_RULE, name);
}

static bool number_read(const char *text, uint32_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    unsigned long number = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;
    *ret_number = (uint32_t)number;
    return end && !*end && errno == 0 && number < UINT32_MAX;
}

/* "USER[:GROUP]", names or numbers; a user's own group where none is given. */
static enum kith_err owner_read(const char *text, uint32_t *uid, uint32_t *gid,
                                struct kith_error *error)
{
    char user[64];
    const char *colon = strchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : strlen(text);
    if (size == 0 || size >= sizeof user) {
        return kith_error_set(error, KITH_EINVAL, "--owner: '%.80s' is no USER[:GROUP]", text);
    }
    memcpy(user, text, size);
    user[size] = '\0';
    const struct passwd *known = getpwnam(user);
    if (known) {
        *uid = known->pw_uid;
        *gid = known->pw_gid;
    } else if (number_read(user, uid)) {
        *gid = *uid;
    } else {
        return kith_error_set(error, KITH_EINVAL, "--owner: there is no user '%s'", user);
    }
    const struct group *group = colon ? getgrnam(colon + 1) : NULL;
    if (group) {
        *gid = group->gr_gid;
    } else if (colon && !number_read(colon + 1, gid)) {
        return kith_error_set(error, KITH_EINVAL, "--owner: there is no group '%.80s'", colon + 1);
    }
    return KITH_OK;
}

/* ---- create ---- */

/* Whether it is noted; EEXIST: its number is another one's. */
static enum kith_err noted(const struct kith_door *door, const char *name, struct kith_arena *arena,
                           bool *ret_noted, struct kith_error *error)
{
    struct volumes volumes = {.arena = arena};
    bool degraded = false;
    enum kith_err err = notes_read(door, true, &volumes, &degraded, error);
    *ret_noted = false;
    for (uint32_t i = 0; err == KITH_OK && i < volumes.count; i++) {
        bool same = strcmp(volumes.list[i].name, name) == 0;
        *ret_noted = *ret_noted || same;
        if (!same && volumes.list[i].number == kith_volume_number(name)) {
            err = kith_error_set(error, KITH_EEXIST,
                                 "'%s' has the same number, %u, as the volume '%s': choose another "
                                 "name",
                                 name, volumes.list[i].number, volumes.list[i].name);
        }
    }
    return err;
}

static enum kith_err root_put(const struct kith_door *door, const char *name, uint32_t uid,
                              uint32_t gid, struct kith_error *error)
{
    struct kith_group group = kith_volume_root(kith_volume_number(name));
    struct kith_put_update update;
    struct kith_buf value;
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    kith_buf_init(&value);
    kith_root_record_encode(
        uid, gid, (struct kith_time){.sec = now.tv_sec, .nsec = (uint32_t)now.tv_nsec}, &value);
    memset(&update, 0, sizeof update);
    update.has_sibling = true;
    update.kind = KITH_SIBLING_VALUE;
    update.value = kith_buf_bytes(&value);
    enum kith_err err =
        value.failed ? no_memory(error) : rows_put(door, &group, &update, 1, error);
    kith_buf_release(&value);
    return err == KITH_OK ? err : kith_error_wrap(error, "its root directory cannot be made");
}

static enum kith_err create(const struct kith_door *door, const char *name, uint32_t uid,
                            uint32_t gid, struct kith_arena *arena, struct kith_error *error)
{
    struct kith_group group = kith_volume_root(kith_volume_number(name));
    struct kith_row root;
    bool is_noted = false;
    enum kith_err err = noted(door, name, arena, &is_noted, error);
    if (err == KITH_OK) {
        err = row_get(door, &group, kith_bytes_make(NULL, 0), arena, &root, error);
    }
    bool there = err == KITH_OK && kith_versions_winner(&root);
    if (there && is_noted) {
        return kith_error_set(error, KITH_EEXIST, "there is a volume '%s' already", name);
    }
    if (err == KITH_OK && !is_noted) {
        err = note_put(door, name, error);
    }
    return err == KITH_OK && !there ? root_put(door, name, uid, gid, error) : err;
}

static enum kith_err made_print(const struct kith_ctl_args *args, const char *name,
                                struct kith_error *error)
{
    uint32_t number = kith_volume_number(name);
    if (args->json) {
        return kith_json_print(json_pack("{s:s, s:I}", "name", name, "number", (json_int_t)number),
                               error);
    }
    (void)printf("Made the volume '%s', number %u.\n"
                 "Mount it:                kithfs %s:/ DIR -o volume=%s\n"
                 "Confine a client to it:  kithctl cert client NAME --volume %s\n",
                 name, number, args->servers[0], name, name);
    return KITH_OK;
}

int kith_ctl_volume_create(const struct kith_ctl_args *args)
{
    const char *name = args->positional[0], *owner = kith_ctl_value(args, "owner");
    uint32_t uid = geteuid(), gid = getegid();
    struct kith_door door;
    struct kith_arena arena;
    struct kith_error error;
    if (name_check(name, &error) != KITH_OK ||
        (owner && owner_read(owner, &uid, &gid, &error) != KITH_OK)) {
        return kith_ctl_usage(args, &error);
    }
    enum kith_err err = kith_door_open(args, NULL, &door, &error);
    if (err == KITH_OK) {
        kith_arena_init(&arena, 0);
        err = create(&door, name, uid, gid, &arena, &error);
        kith_arena_release(&arena);
        kith_client_close(door.client);
    }
    if (err == KITH_OK) {
        err = made_print(args, name, &error);
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

/* ---- list ---- */

static enum kith_err list_print(const struct volumes *volumes, struct kith_error *error)
{
    static const char *const heads[] = {"NAME", "NUMBER", "MADE", "BY"};
    struct kith_columns columns;
    kith_columns_init(&columns, heads, 4);
    for (uint32_t i = 0; i < volumes->count; i++) {
        const struct volume *volume = &volumes->list[i];
        char number[16], made[KITH_FORMAT_SIZE] = "-", by[4 * KITH_WRITER_MAX + 1] = "-";
        struct kith_buf shown;
        (void)snprintf(number, sizeof number, "%u", volume->number);
        kith_buf_init(&shown);
        if (volume->made_ms > 0) {
            kith_format_time(volume->made_ms, made);
            kith_format_text(text_bytes(volume->by), &shown);
            (void)snprintf(by, sizeof by, "%.*s", (int)shown.size, (const char *)shown.data);
        }
        kith_buf_release(&shown);
        const char *const cells[] = {volume->name, number, made, by};
        kith_columns_add(&columns, KITH_COLOUR_NONE, cells);
    }
    bool good = kith_columns_print(&columns, stdout, kith_colours_shown(stdout));
    kith_columns_release(&columns);
    return good ? KITH_OK : no_memory(error);
}

static enum kith_err list_json(const struct volumes *volumes, struct kith_error *error)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < volumes->count; i++) {
        const struct volume *volume = &volumes->list[i];
        char made[KITH_FORMAT_SIZE];
        kith_format_time(volume->made_ms, made);
        bool ours = volume->made_ms == 0;
        (void)json_array_append_new( /* counted below */
            list, json_pack("{s:s, s:I, s:o, s:o}", "name", volume->name, "number",
                            (json_int_t)volume->number, "made",
                            ours ? json_null() : json_string(made), "by",
                            ours ? json_null() : kith_json_text(volume->by, strlen(volume->by))));
    }
    if (json_array_size(list) != volumes->count) {
        json_decref(list);
        list = NULL;
    }
    return kith_json_print(list ? json_pack("{s:o}", "volumes", list) : NULL, error);
}

int kith_ctl_volume_list(const struct kith_ctl_args *args)
{
    static const struct volume ours[] = {{.name = "fs", .number = KITH_VOLUME_FS},
                                         {.name = "kv", .number = KITH_VOLUME_KV}};
    struct kith_door door;
    struct kith_arena arena;
    struct kith_error error;
    struct volumes volumes = {.arena = &arena};
    bool degraded = false;
    enum kith_err err = kith_door_open(args, NULL, &door, &error);
    if (err != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    kith_arena_init(&arena, 0);
    for (uint32_t i = 0; err == KITH_OK && i < 2; i++) {
        err = volume_add(&volumes, &ours[i], &error);
    }
    if (err == KITH_OK) {
        err = notes_read(&door, false, &volumes, &degraded, &error);
    }
    kith_client_close(door.client);
    if (err == KITH_OK) {
        err = args->json ? list_json(&volumes, &error) : list_print(&volumes, &error);
    }
    if (err == KITH_OK && degraded) {
        kith_report_warning(args->json, "too few nodes answered to be sure: there may be others; "
                                        "see: kithctl status");
    }
    if (err == KITH_OK && volumes.unread > 0) {
        kith_report_warning(args->json, "%u notes cannot be understood (written by a later version?)",
                            volumes.unread);
    }
    kith_arena_release(&arena);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

/* ---- remove ---- */

/* What lies in the root's group: names, of which the first is kept, and the root's own rows, as they are
 * to be deleted. */
struct content {
    struct kith_arena *arena;
    uint64_t names;
    char first[KITH_FS_NAME_MAX + 1];
    uint32_t own;
    struct kith_put_update updates[KITH_BATCH_MAX];
};

static enum kith_err content_take(void *arg, const struct kith_client_row *row,
                                  struct kith_error *error)
{
    struct content *content = arg;
    struct kith_rowname_parts parts;
    bool known = kith_rowname_parse(row->name, &parts) == KITH_OK;
    if (known && parts.base.size == 0 && parts.kind != KITH_ROWNAME_SHARED) {
        struct kith_put_update *update = &content->updates[content->own];
        const void *name = kith_arena_copy(content->arena, row->name.data, row->name.size);
        if (content->own == KITH_BATCH_MAX) {
            return kith_error_set(error, KITH_EREFUSED,
                                  "its root has more than %u attributes: mount it and remove them",
                                  KITH_BATCH_MAX);
        }
        memset(update, 0, sizeof *update);
        update->name = kith_bytes_make(name, row->name.size);
        if (!name || !context_make(content->arena, &row->row, &update->context)) {
            return no_memory(error);
        }
        content->own++;
        return KITH_OK;
    }
    bool entry = !known || parts.kind == KITH_ROWNAME_ENTRY || parts.kind == KITH_ROWNAME_SHARED;
    if (entry && !kith_row_is_gone(&row->row)) { /* what was renamed leaves a mark */
        size_t size = row->name.size < KITH_FS_NAME_MAX ? row->name.size : KITH_FS_NAME_MAX;
        if (known && parts.kind == KITH_ROWNAME_ENTRY && !content->first[0]) {
            memcpy(content->first, row->name.data, size);
        }
        content->names++;
    }
    return KITH_OK;
}

static enum kith_err content_read(const struct kith_door *door, const char *name,
                                  struct content *content, struct kith_error *error)
{
    struct kith_group group = kith_volume_root(kith_volume_number(name));
    struct kith_buf first;
    bool degraded = false;
    content->names = content->own = 0;
    content->first[0] = '\0';
    enum kith_err err = rows_each(door, &group, true, content_take, content, &degraded, error);
    if (err != KITH_OK || content->names == 0) {
        return err;
    }
    kith_buf_init(&first);
    kith_format_text(text_bytes(content->first), &first);
    err = kith_error_set(error, KITH_EREFUSED,
                         "there is something in it (%llu names in its root%s%.*s): mount it (kithfs "
                         "HOST:/ DIR -o volume=%s), and remove that first",
                         (unsigned long long)content->names, first.size > 0 ? ", such as " : "",
                         first.size < 80 ? (int)first.size : 80, (const char *)first.data, name);
    kith_buf_release(&first);
    return err;
}

/* The root goes first: mounts refuse to make anything in a directory without a row. What one of them has
 * put there meanwhile is met by the second look, and gets its root back. */
static enum kith_err root_remove(const struct kith_door *door, const char *name,
                                 struct content *content, struct kith_error *error)
{
    struct kith_group group = kith_volume_root(kith_volume_number(name));
    enum kith_err err = content_read(door, name, content, error);
    if (err == KITH_OK && content->own > 0) {
        err = rows_put(door, &group, content->updates, content->own, error);
    }
    if (err != KITH_OK) {
        return err;
    }
    err = content_read(door, name, content, error);
    struct kith_error again;
    if (err == KITH_EREFUSED && root_put(door, name, geteuid(), getegid(), &again) != KITH_OK) {
        return kith_error_set(error, again.code,
                              "something was put into it meanwhile, so it stays, but %.300s; again: "
                              "kithctl volume create %s",
                              again.message, name);
    }
    return err;
}

static enum kith_err volume_remove(const struct kith_door *door, const char *name,
                                   struct kith_arena *arena, struct kith_error *error)
{
    struct kith_group group = kith_volume_root(kith_volume_number(name)), notes = notes_group();
    struct kith_row root, note;
    struct content *content = kith_arena_calloc(arena, 1, sizeof *content);
    if (!content) {
        return no_memory(error);
    }
    content->arena = arena;
    enum kith_err err = row_get(door, &notes, text_bytes(name), arena, &note, error);
    if (err == KITH_OK) {
        err = row_get(door, &group, kith_bytes_make(NULL, 0), arena, &root, error);
    }
    bool is_noted = err == KITH_OK && !kith_row_is_gone(&note) && !kith_row_is_empty(&note);
    if (err == KITH_OK && !is_noted && !kith_versions_winner(&root)) {
        return kith_error_set(error, KITH_ENOTFOUND,
                              "there is no volume '%s'; those that there are: kithctl volume list",
                              name);
    }
    if (err == KITH_OK) {
        err = root_remove(door, name, content, error);
    }
    if (err == KITH_OK && is_noted) {
        struct kith_put_update update;
        memset(&update, 0, sizeof update);
        update.name = text_bytes(name);
        err = context_make(arena, &note, &update.context)
                  ? rows_put(door, &notes, &update, 1, error)
                  : no_memory(error);
    }
    return err;
}

int kith_ctl_volume_remove(const struct kith_ctl_args *args)
{
    const char *name = args->positional[0];
    struct kith_door door;
    struct kith_arena arena;
    struct kith_error error;
    if (name_check(name, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    enum kith_err err = kith_door_open(args, NULL, &door, &error);
    if (err == KITH_OK) {
        kith_arena_init(&arena, 0);
        err = volume_remove(&door, name, &arena, &error);
        kith_arena_release(&arena);
        kith_client_close(door.client);
    }
    if (err == KITH_OK && args->json) {
        err = kith_json_print(json_pack("{s:s}", "removed", name), &error);
    } else if (err == KITH_OK) {
        (void)printf("Removed the volume '%s'.\n", name);
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
