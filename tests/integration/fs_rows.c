/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * fs_rows.c - the rows of a filesystem in a cluster, as the tests of names look at them.
 *
 *     fs_rows SERVERS [contents]
 *
 * Goes down from the root and prints one line for each version of each row, then one for each row
 * of a shared inode that no name refers to ("orphan"), each name that refers to none ("dangling") and
 * each version that cannot be read ("malformed"). Rows in groups of their own are found by their names
 * only. Exit status 1: there are such.
 *
 * With "contents" there is also a line for each version of each file and name that it has met:
 *
 *     version PLACE winner|beside file BYTES      BYTES in hexadecimal digits, or "-" for none
 *     version PLACE winner|beside link PLACE
 *
 * PLACE is the path of a name, or :GROUP/ID of the row that links refer to. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client.h"
#include "fs/content/content.h"
#include "format/inode_format.h"
#include "format/rowname.h"

#define SERVERS_MAX 8u
#define FOUND_MAX   100000u /* rows of shared inodes, and references to them */
#define DEPTH_MAX   16u     /* directories within directories */
#define PATH_SIZE   4096u   /* bytes, with the NUL */

struct found {
    struct kith_group group;
    uint64_t id;
    char name[KITH_FS_NAME_MAX + 1]; /* of a reference */
};

static struct kith_client *client;
static struct kith_content_store *store; /* NULL: contents are not asked for */
static struct found rows[FOUND_MAX], names[FOUND_MAX];
static uint32_t row_count, name_count;
static bool bad; /* a version of a row cannot be read */

static void fail(const char *what, enum kith_err err)
{
    (void)fprintf(stderr, "fs_rows: %s: %s\n", what, kith_err_text((int)err));
    exit(2);
}

static void print_group(const struct kith_group *group)
{
    for (unsigned i = 4; i < 8; i++) {
        (void)printf("%02x", group->bytes[i]);
    }
}

static void note(struct found found[], uint32_t *count, const struct kith_group *group, uint64_t id,
                 struct kith_bytes name)
{
    if (*count == FOUND_MAX) {
        fail("too many links", KITH_ELIMIT);
    }
    found[*count].group = *group;
    found[*count].id = id;
    if (name.size > 0) {
        memcpy(found[*count].name, name.data, name.size);
    }
    (*count)++;
}

static void print_names(const struct kith_inode_record *record)
{
    for (uint32_t i = 0; i < record->name_count; i++) {
        (void)printf(" ");
        print_group(&record->names[i].group);
        (void)printf("/%.*s", (int)record->names[i].name.size,
                     (const char *)record->names[i].name.data);
    }
}

static void print_record(const struct kith_group *group, struct kith_bytes row,
                         const struct kith_sibling *sibling, const struct kith_inode_record *record)
{
    print_group(group);
    struct kith_rowname_parts parts;
    bool parsed = kith_rowname_parse(row, &parts) == KITH_OK;
    if (parsed && parts.kind == KITH_ROWNAME_SHARED) {
        (void)printf(" inode %016" PRIx64, parts.file_id);
    } else {
        (void)printf(" '%.*s'", (int)row.size, (const char *)row.data);
    }
    (void)printf(" %08" PRIx64 ".%" PRIu64 " %" PRIu64, sibling->dot.actor.run >> 32,
                 sibling->dot.counter, sibling->time);
    if (sibling->kind == KITH_SIBLING_MARK) {
        (void)printf(" mark\n");
        return;
    }
    (void)printf(" type %d id %016" PRIx64, (int)record->type, record->file_id);
    if (record->type == KITH_TYPE_LINK) {
        (void)printf(" in ");
        print_group(&record->link);
    }
    (void)printf(" contents %zu", record->contents.size);
    print_names(record);
    (void)printf("\n");
}

static void print_bytes(struct kith_bytes image)
{
    struct kith_content *content;
    enum kith_err err = kith_content_new(store, image, &content);
    if (err != KITH_OK) {
        fail("contents cannot be decoded", err);
    }
    size_t size = (size_t)kith_content_size(content), got = 0;
    uint8_t *data = malloc(size + 1);
    if (data == NULL) {
        fail("contents", KITH_ENOMEM);
    }
    err = kith_content_read(content, 0, data, size, &got);
    if (err != KITH_OK || got != size) {
        fail("contents cannot be read", err != KITH_OK ? err : KITH_EIO);
    }
    for (size_t i = 0; i < size; i++) {
        (void)printf("%02x", data[i]);
    }
    (void)printf("%s\n", size == 0 ? "-" : "");
    free(data);
    kith_content_free(content);
}

static void print_place(const struct kith_group *group, uint64_t id)
{
    (void)printf(":");
    print_group(group);
    (void)printf("/%016" PRIx64, id);
}

/* path: of the directory that the row is in. */
static void print_version(const struct kith_group *group, const char *path, struct kith_bytes row,
                          bool shared, bool winner, const struct kith_inode_record *record)
{
    if (record->type != KITH_TYPE_FILE && record->type != KITH_TYPE_LINK) {
        return;
    }
    (void)printf("version ");
    if (shared) {
        print_place(group, record->file_id);
    } else {
        (void)printf("%s/%.*s", path, (int)row.size, (const char *)row.data);
    }
    (void)printf(" %s %s ", winner ? "winner" : "beside",
                 record->type == KITH_TYPE_FILE ? "file" : "link");
    if (record->type == KITH_TYPE_FILE) {
        print_bytes(record->contents);
    } else {
        print_place(&record->link, record->file_id);
        (void)printf("\n");
    }
}

static void walk(const struct kith_group *group, const char *path, unsigned depth);

static void walk_down(const struct kith_group *group, const char *path, struct kith_bytes name,
                      const uint8_t dir_id[], unsigned depth)
{
    char below[PATH_SIZE];
    struct kith_group down = kith_group_make(kith_group_volume(group), dir_id);
    int size = snprintf(below, sizeof below, "%s/%.*s", path, (int)name.size,
                        (const char *)name.data);
    if (size < 0 || size >= (int)sizeof below) {
        fail("a path is too long", KITH_ELIMIT);
    }
    walk(&down, below, depth);
}

/* path: of the directory; NULL: the row is that of a shared inode, in a group of its own. */
static void take_row(const struct kith_group *group, const char *path,
                     const struct kith_client_row *row, unsigned depth)
{
    struct kith_rowname_parts parts;
    if (kith_rowname_parse(row->name, &parts) != KITH_OK || parts.kind >= KITH_ROWNAME_ATTR) {
        return;
    }
    const struct kith_sibling *winner = kith_row_winner(&row->row);
    for (uint32_t i = 0; i < row->row.sibling_count; i++) {
        const struct kith_sibling *sibling = &row->row.siblings[i];
        struct kith_inode_record record;
        struct kith_arena arena;
        kith_arena_init(&arena, 0);
        memset(&record, 0, sizeof record);
        enum kith_err err = sibling->kind == KITH_SIBLING_VALUE
                                ? kith_inode_record_decode(&arena, sibling->value, &record)
                                : KITH_OK;
        if (err != KITH_OK) {
            (void)printf("malformed %016" PRIx64 " '%.*s'\n", parts.file_id, (int)row->name.size,
                         (const char *)row->name.data);
            bad = true;
            continue;
        }
        print_record(group, row->name, sibling, &record);
        bool shared = parts.kind == KITH_ROWNAME_SHARED;
        if (store != NULL && sibling->kind == KITH_SIBLING_VALUE) {
            print_version(group, path, row->name, shared || path == NULL, sibling == winner,
                          &record);
        }
        if (shared && sibling == winner) {
            note(rows, &row_count, group, parts.file_id, kith_bytes_make(NULL, 0));
        } else if (record.type == KITH_TYPE_LINK) {
            note(names, &name_count, &record.link, record.file_id, row->name);
        } else if (record.type == KITH_TYPE_DIR && parts.kind == KITH_ROWNAME_ENTRY &&
                   depth < DEPTH_MAX) {
            walk_down(group, path, row->name, record.dir_id, depth + 1);
        }
        kith_arena_release(&arena);
    }
}

static void walk(const struct kith_group *group, const char *path, unsigned depth)
{
    struct kith_client_op op = {.kind = KITH_CLIENT_SCAN, .strict = true};
    struct kith_client_answer answer;
    struct kith_buf after;
    bool more = true;
    kith_buf_init(&after);
    op.u.scan.group = *group;
    while (more) {
        enum kith_err err = kith_client_call(client, &op, &answer);
        if (err != KITH_OK) {
            fail("a directory cannot be read", err);
        }
        for (uint32_t i = 0; i < answer.result.u.rows.row_count; i++) {
            take_row(group, path, &answer.result.u.rows.rows[i], depth);
        }
        more = answer.result.u.rows.more;
        kith_buf_clear(&after);
        kith_buf_put(&after, answer.result.u.rows.last.data, answer.result.u.rows.last.size);
        op.u.scan.has_after = true;
        op.u.scan.after = kith_buf_bytes(&after);
        kith_client_answer_release(&answer);
    }
    kith_buf_release(&after);
}

/* A row in a group of its own: printed, and noted once. */
static void read_own(const struct found *name)
{
    struct kith_bytes self = kith_bytes_make(NULL, 0);
    struct kith_client_op op = {.kind = KITH_CLIENT_GET, .strict = true};
    struct kith_client_answer answer;
    op.u.get.group = name->group;
    op.u.get.name_count = 1;
    op.u.get.names = &self;
    enum kith_err err = kith_client_call(client, &op, &answer);
    if (err != KITH_OK) {
        fail("a row cannot be read", err);
    }
    const struct kith_row *row = &answer.result.u.rows.rows[0].row;
    if (kith_row_winner(row) != NULL) {
        take_row(&name->group, NULL, &answer.result.u.rows.rows[0], DEPTH_MAX);
        note(rows, &row_count, &name->group, name->id, self);
    }
    kith_client_answer_release(&answer);
}

static void open_store(void)
{
    struct kith_content_options options = {.client = client, .volume = KITH_VOLUME_FS};
    enum kith_err err = kith_content_store_new(&options, &store);
    if (err != KITH_OK) {
        fail("contents", err);
    }
}

static bool find(const struct found found[], uint32_t count, const struct found *one)
{
    for (uint32_t i = 0; i < count; i++) {
        if (found[i].id == one->id && kith_group_compare(&found[i].group, &one->group) == 0) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    const char *servers[SERVERS_MAX];
    struct kith_client_options options = {.servers = servers, .writer = "fs_rows"};
    struct kith_error error;
    for (char *at = argc >= 2 ? strtok(argv[1], ",") : NULL;
         at != NULL && options.server_count < SERVERS_MAX; at = strtok(NULL, ",")) {
        servers[options.server_count++] = at;
    }
    enum kith_err err = kith_client_open(&options, &client, &error);
    if (err != KITH_OK) {
        fail("the cluster cannot be reached", err);
    }
    if (argc == 3 && strcmp(argv[2], "contents") == 0) {
        open_store();
    }
    static const uint8_t root[KITH_DIR_ID_SIZE];
    struct kith_group group = kith_group_make(KITH_VOLUME_FS, root);
    walk(&group, "", 0);
    for (uint32_t i = 0; i < name_count; i++) {
        if (!find(rows, row_count, &names[i])) {
            read_own(&names[i]);
        }
        if (!find(rows, row_count, &names[i])) {
            (void)printf("dangling %s -> %016" PRIx64 "\n", names[i].name, names[i].id);
            bad = true;
        }
    }
    for (uint32_t i = 0; i < row_count; i++) {
        if (!find(names, name_count, &rows[i])) {
            (void)printf("orphan %016" PRIx64 "\n", rows[i].id);
            bad = true;
        }
    }
    if (store != NULL) {
        kith_content_store_free(store);
    }
    kith_client_close(client);
    return bad ? 1 : 0;
}
