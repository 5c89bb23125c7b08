/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * kv.c - the key-value door: get, put, delete, scan. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "ctl/ask/door.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "data/hlc.h"

static enum kith_err key_check(const char *key, struct kith_bytes *ret_key,
                               struct kith_error *error)
{
    *ret_key = kith_bytes_make(key, strlen(key));
    if (ret_key->size == 0 || ret_key->size > KITH_NAME_MAX) {
        return kith_error_set(error, KITH_EINVAL, "a key has 1 to %u bytes, this one %zu",
                              KITH_NAME_MAX, ret_key->size);
    }
    return KITH_OK;
}

static enum kith_err row_get(const struct kith_door *door, const struct kith_bytes *key,
                             struct kith_client_answer *answer, struct kith_error *error)
{
    struct kith_client_op op;
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_GET;
    op.timeout_ms = kith_door_left_ms(door);
    op.u.get.group = kith_group_of_kv(*key);
    op.u.get.name_count = 1;
    op.u.get.names = key;
    return kith_door_call(door->client, &op, answer, error);
}

static uint32_t version_count(const struct kith_row *row)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        count += row->siblings[i].kind == KITH_SIBLING_VALUE;
    }
    return count;
}

/* ---- get ---- */

static json_t *sibling_json(const struct kith_sibling *sibling)
{
    json_t *object = json_object();
    char time[KITH_FORMAT_SIZE];
    kith_format_time(kith_hlc_ms(sibling->time), time);
    if (!object || kith_json_bytes(object, "value", sibling->value) != KITH_OK ||
        kith_json_bytes(object, "writer", sibling->writer) != KITH_OK ||
        json_object_set_new(object, "time", json_string(time)) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* pick: the one to print, from 1; 0: all */
static int get_json(const struct kith_ctl_args *args, const struct kith_row *row, bool degraded,
                    uint64_t pick, struct kith_error *error)
{
    json_t *list = json_array();
    uint32_t count = version_count(row);
    uint32_t number = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (row->siblings[i].kind == KITH_SIBLING_VALUE && (++number == pick || pick == 0)) {
            (void)json_array_append_new(list, sibling_json(&row->siblings[i])); /* counted below */
        }
    }
    if (json_array_size(list) != (pick > 0 && count > 0 ? 1 : count)) {
        json_decref(list);
        list = NULL;
    }
    json_t *answer = json_pack("{s:b, s:o}", "degraded", degraded, "versions", list);
    answer = kith_json_named("key", args->positional[0], answer);
    if (kith_json_print(answer, error) != KITH_OK) {
        return kith_ctl_fail(args, error);
    }
    return count == 0 ? KITH_CTL_NO_KEY : count > 1 && pick == 0 ? KITH_CTL_SIBLINGS : KITH_CTL_OK;
}

static void siblings_list(const struct kith_ctl_args *args, const struct kith_row *row)
{
    (void)fprintf(stderr, "kithctl: get: '%s' has %u versions:\n", args->positional[0],
                  version_count(row));
    uint32_t number = 0;
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        const struct kith_sibling *sibling = &row->siblings[i];
        if (sibling->kind != KITH_SIBLING_VALUE) {
            continue;
        }
        char time[KITH_FORMAT_SIZE];
        char size[KITH_FORMAT_SIZE];
        kith_format_time(kith_hlc_ms(sibling->time), time);
        kith_format_bytes(sibling->value.size, size);
        (void)fprintf(stderr, "  %u  %s  %-8s  ", ++number, time, size);
        kith_print_escaped(stderr, sibling->writer); /* another's word, and maybe a terminal */
        (void)fputc('\n', stderr);
    }
    (void)fprintf(stderr, "Print one: kithctl get KEY --version K      "
                          "Keep one: kithctl get KEY --version K | kithctl put KEY\n");
}

/* The one to print; NULL: several and none chosen. */
static const struct kith_sibling *version_pick(const struct kith_row *row, uint64_t pick)
{
    uint32_t number = 0;
    if (pick == 0 && version_count(row) > 1) {
        return NULL;
    }
    for (uint32_t i = 0; i < row->sibling_count; i++) {
        if (row->siblings[i].kind == KITH_SIBLING_VALUE && ++number >= pick) {
            return &row->siblings[i];
        }
    }
    return NULL;
}

static int get_print(const struct kith_ctl_args *args, const struct kith_row *row, uint64_t pick)
{
    struct kith_error error;
    if (version_count(row) == 0) {
        (void)kith_error_set(&error, KITH_ENOTFOUND, "no key '%s'", args->positional[0]);
        return kith_ctl_fail_as(args, &error, KITH_CTL_NO_KEY);
    }
    const struct kith_sibling *sibling = version_pick(row, pick);
    if (!sibling) {
        siblings_list(args, row);
        return KITH_CTL_SIBLINGS;
    }
    if (fwrite(sibling->value.data, 1, sibling->value.size, stdout) != sibling->value.size) {
        (void)kith_error_set(&error, KITH_EIO, "cannot write: %s", strerror(errno));
        return kith_ctl_fail(args, &error);
    }
    if (isatty(STDOUT_FILENO)) {
        (void)putchar('\n'); /* the prompt belongs on a line of its own; pipes get the raw bytes */
    }
    return KITH_CTL_OK;
}

int kith_ctl_get(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_bytes key;
    struct kith_door door;
    uint64_t pick = 0; /* none chosen */
    if (key_check(args->positional[0], &key, &error) != KITH_OK ||
        kith_ctl_number(args, "version", 1, UINT32_MAX, &pick, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    if (kith_door_open(args, kith_ctl_value(args, "level"), &door, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    struct kith_client_answer answer;
    int status = 0;
    if (row_get(&door, &key, &answer, &error) != KITH_OK) {
        status = kith_ctl_fail(args, &error);
    } else {
        const struct kith_row *row = &answer.result.u.rows.rows[0].row;
        uint32_t count = version_count(row);
        if (count > 0 && pick > count) {
            (void)kith_error_set(&error, KITH_EINVAL, "no version %llu: there %s %u",
                                 (unsigned long long)pick, count == 1 ? "is" : "are", count);
            status = kith_ctl_fail(args, &error);
        } else {
            status = args->json ? get_json(args, row, answer.result.degraded, pick, &error)
                                : get_print(args, row, pick);
        }
    }
    kith_client_answer_release(&answer);
    kith_client_close(door.client);
    return status;
}

/* ---- put and delete ---- */

static enum kith_err value_read(const struct kith_ctl_args *args, struct kith_buf *value,
                                struct kith_error *error)
{
    const char *path = kith_ctl_value(args, "file");
    if (args->count > 1) {
        kith_buf_put(value, args->positional[1], strlen(args->positional[1]));
    } else {
        bool standard = !path || strcmp(path, "-") == 0;
        FILE *file = standard ? stdin : fopen(path, "re");
        if (!file) {
            return kith_error_set(error, KITH_EIO, "%s: %s", path, strerror(errno));
        }
        char block[8192];
        size_t got = 0;
        do { /* one byte more than fits is enough to know */
            got = fread(block, 1, sizeof(block), file);
            kith_buf_put(value, block, got);
        } while (got > 0 && value->size <= KITH_INLINE_VALUE_MAX);
        bool bad = ferror(file) != 0;
        int number = errno;
        if (!standard) {
            (void)fclose(file); /* was only read */
        }
        if (bad) {
            return kith_error_set(error, KITH_EIO, "%s: %s", standard ? "standard input" : path,
                                  strerror(number));
        }
    }
    if (value->failed) {
        return kith_error_set(error, KITH_ENOMEM, "out of memory");
    }
    if (value->size > KITH_INLINE_VALUE_MAX) {
        return kith_error_set(error, KITH_ETOOBIG,
                              "the value is too large: at most %u bytes (larger ones go into files "
                              "of a mount)",
                              KITH_INLINE_VALUE_MAX);
    }
    return KITH_OK;
}

/* What the new state replaces: the clock of what is there now, none of its siblings kept. */
static enum kith_err context_read(const struct kith_door *door, const struct kith_bytes *key,
                                  struct kith_buf *context, struct kith_error *error)
{
    struct kith_client_answer answer;
    enum kith_err err = row_get(door, key, &answer, error);
    if (err == KITH_OK) {
        struct kith_row row = answer.result.u.rows.rows[0].row;
        row.sibling_count = 0;
        row.siblings = NULL;
        if (!kith_row_is_empty(&row)) {
            kith_row_encode(&row, context);
        }
        err = context->failed ? kith_error_set(error, KITH_ENOMEM, "out of memory") : KITH_OK;
    }
    kith_client_answer_release(&answer);
    return err;
}

static enum kith_err update_send(const struct kith_ctl_args *args, const struct kith_door *door,
                                 const struct kith_bytes *key, const struct kith_put_update *update,
                                 struct kith_error *error)
{
    struct kith_client_op op;
    struct kith_client_answer answer;
    memset(&op, 0, sizeof(op));
    op.kind = KITH_CLIENT_PUT;
    op.timeout_ms = kith_door_left_ms(door);
    op.u.put.group = kith_group_of_kv(*key);
    op.u.put.durability = kith_ctl_value(args, "disk") ? KITH_DURABLE_DISK : KITH_DURABLE_OS;
    op.u.put.update_count = 1;
    op.u.put.updates = update;
    enum kith_err err = kith_door_call(door->client, &op, &answer, error);
    if (err == KITH_OK && args->json) {
        json_t *object =
            json_pack("{s:s, s:i}", "result", "ok", "copies", (int)answer.result.u.put.copies);
        err = kith_json_print(kith_json_named("key", args->positional[0], object), error);
    }
    kith_client_answer_release(&answer);
    return err;
}

static int update_run(const struct kith_ctl_args *args, struct kith_bytes key,
                      struct kith_bytes value, bool has_value)
{
    struct kith_error error;
    struct kith_door door = {NULL, 0};
    struct kith_buf context;
    struct kith_put_update update;
    memset(&update, 0, sizeof(update));
    kith_buf_init(&context);
    enum kith_err err = kith_door_open(args, kith_ctl_value(args, "level"), &door, &error);
    if (err == KITH_OK && !kith_ctl_value(args, "blind")) {
        err = context_read(&door, &key, &context, &error);
    }
    if (err == KITH_OK) {
        update.name = key;
        update.context = kith_buf_bytes(&context);
        update.has_sibling = has_value;
        update.kind = KITH_SIBLING_VALUE;
        update.value = value;
        err = update_send(args, &door, &key, &update, &error);
    }
    kith_buf_release(&context);
    kith_client_close(door.client);
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}

int kith_ctl_put(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_bytes key;
    struct kith_buf value;
    enum kith_err err = key_check(args->positional[0], &key, &error);
    if (err == KITH_OK && args->count > 1 && kith_ctl_value(args, "file")) {
        err = kith_error_set(&error, KITH_EINVAL, "both a VALUE and --file are given");
    }
    if (err != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    kith_buf_init(&value);
    int status = value_read(args, &value, &error) == KITH_OK
                     ? update_run(args, key, kith_buf_bytes(&value), true)
                     : kith_ctl_fail(args, &error);
    kith_buf_release(&value);
    return status;
}

int kith_ctl_delete(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_bytes key;
    if (key_check(args->positional[0], &key, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    return update_run(args, key, kith_bytes_make(NULL, 0), false);
}

/* ---- scan ---- */

static enum kith_err group_parse(const char *text, struct kith_group *ret_group,
                                 struct kith_error *error)
{
    if (strncmp(text, "key:", 4) == 0) {
        struct kith_bytes key;
        enum kith_err err = key_check(text + 4, &key, error);
        if (err == KITH_OK) {
            *ret_group = kith_group_of_kv(key);
        }
        return err;
    }
    bool good = strlen(text) == 2 * KITH_GROUP_SIZE &&
                strspn(text, "0123456789abcdefABCDEF") == 2 * KITH_GROUP_SIZE;
    for (size_t i = 0; good && i < KITH_GROUP_SIZE; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], '\0'};
        ret_group->bytes[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    return good ? KITH_OK
                : kith_error_set(error, KITH_EINVAL,
                                 "'%s' is no group: write 32 hex digits, or key:KEY", text);
}

static enum kith_err row_print(const struct kith_client_row *row, json_t *list)
{
    const struct kith_sibling *winner = kith_row_winner(&row->row);
    char time[KITH_FORMAT_SIZE] = "-";
    uint64_t size = winner ? winner->value.size : 0;
    if (winner) {
        kith_format_time(kith_hlc_ms(winner->time), time);
    }
    if (list) {
        json_t *object = json_pack("{s:i, s:I, s:s}", "versions", (int)version_count(&row->row),
                                   "size", (json_int_t)size, "time", time);
        if (!object || kith_json_bytes(object, "name", row->name) != KITH_OK) {
            json_decref(object);
            return KITH_ENOMEM;
        }
        return json_array_append_new(list, object) == 0 ? KITH_OK : KITH_ENOMEM;
    }
    (void)printf("%8u  %8llu  %-20s  ", version_count(&row->row), (unsigned long long)size, time);
    kith_print_escaped(stdout, row->name);
    (void)putchar('\n');
    return KITH_OK;
}

/* At most `left` rows. */
static enum kith_err scan_pages(struct kith_client *client, const struct kith_group *group,
                                uint64_t left, json_t *list, struct kith_error *error)
{
    struct kith_buf after;
    kith_buf_init(&after);
    bool more = true;
    bool has_after = false;
    enum kith_err err = KITH_OK;
    while (err == KITH_OK && more && left > 0) {
        struct kith_client_op op;
        struct kith_client_answer answer;
        memset(&op, 0, sizeof(op));
        op.kind = KITH_CLIENT_SCAN;
        op.u.scan.group = *group;
        op.u.scan.has_after = has_after;
        op.u.scan.after = kith_buf_bytes(&after);
        err = kith_door_call(client, &op, &answer, error);
        if (err == KITH_OK) {
            for (uint32_t i = 0; i < answer.result.u.rows.row_count && left > 0; i++, left--) {
                err = err == KITH_OK ? row_print(&answer.result.u.rows.rows[i], list) : err;
            }
            more = answer.result.u.rows.more;
            has_after = true;
            kith_buf_clear(&after);
            kith_buf_put(&after, answer.result.u.rows.last.data, answer.result.u.rows.last.size);
            if (err != KITH_OK || after.failed) {
                err = kith_error_set(error, KITH_ENOMEM, "out of memory");
            }
        }
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&after);
    return err;
}

int kith_ctl_scan(const struct kith_ctl_args *args)
{
    struct kith_error error;
    struct kith_group group;
    struct kith_door door;
    uint64_t limit = UINT64_MAX;
    if (group_parse(args->positional[0], &group, &error) != KITH_OK ||
        kith_ctl_number(args, "limit", 0, UINT64_MAX, &limit, &error) != KITH_OK) {
        return kith_ctl_usage(args, &error);
    }
    if (kith_door_open(args, kith_ctl_value(args, "level"), &door, &error) != KITH_OK) {
        return kith_ctl_fail(args, &error);
    }
    json_t *list = args->json ? json_array() : NULL;
    if (!args->json) {
        (void)printf("VERSIONS      SIZE  TIME                  NAME\n");
    }
    enum kith_err err = scan_pages(door.client, &group, limit, list, &error);
    kith_client_close(door.client);
    if (err == KITH_OK && args->json) {
        err = kith_json_print(list, &error);
    } else {
        json_decref(list);
    }
    return err == KITH_OK ? KITH_CTL_OK : kith_ctl_fail(args, &error);
}
